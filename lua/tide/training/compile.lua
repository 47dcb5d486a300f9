--- What `compile` makes of losses and metrics once the shapes of targets and predictions are known
--- (Keras' keras/src/trainers/compile_utils.py).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local losses = require "tide.losses"
local metrics = require "tide.metrics"
local none = require "tide.none"
local ops = require "tide.ops"
local structure = require "tide.data.structure"
local tensors = require "tide.training.tensors"

local Layer = require "tide.layers.base"
local mask_of = Layer.mask_of

local compile = {}

-- A name, function, object or `{ "name", option = ... }`, as opposed to a list or a table by
-- output.
local function is_one(v)
  if type(v) ~= "table" or getmetatable(v) ~= nil then
    return true
  end
  return v.class_name ~= nil or (type(v[1]) == "string" and check.has_string_key(v))
end

local function is_nothing(v)
  return v == nil or v == false or v == none
end

-- One entry per output from a value, a list or a table by name. `each`: a single value stands for
-- all outputs.
local function per_output(given, n, names, what, single)
  local out = {}
  if is_nothing(given) then
    return out
  elseif single(given) then
    for i = 1, n do
      out[i] = given
    end
  elseif given[1] ~= nil or next(given) == nil or not check.has_string_key(given) then
    if #given ~= n then
      errors.raise("compile", "%s has %d entr%s, the model %d output%s", what, #given,
        #given == 1 and "y" or "ies", n, n == 1 and "" or "s")
    end
    for i = 1, n do
      out[i] = given[i]
    end
  else
    local known = {}
    for i, name in ipairs(names) do
      known[name] = i
    end
    for name, v in pairs(given) do
      if not known[name] and not (n == 1 and #names == 0) then
        errors.raise(
          "compile", "%s names the output '%s', which the model does not have; outputs are %s%s",
          what, tostring(name), table.concat(names, ", "), check.did_you_mean(name, names))
      end
      out[known[name] or 1] = v
    end
  end
  return out
end

-- ---- losses ----

local Loss = {}
Loss.__index = Loss

local function choose_loss(v, y_true, y_pred)
  if type(v) == "string" and (v:lower() == "crossentropy" or v:lower() == "ce") then
    local kind = metrics.kind_of(y_true, y_pred)
    v = kind == "binary" and "binary_crossentropy" or kind == "sparse"
      and "sparse_categorical_crossentropy"
      or "categorical_crossentropy"
  end
  return losses.get(v)
end

--- The losses of a model. `build` runs at the first batch.
function compile.loss(given, weights)
  return setmetatable({ given = given, weights = weights, built = false, trackers = {} }, Loss)
end

-- Losses whose targets and predictions meet element by element.
local elementwise = {}
for name in
  ([[MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredLogarithmicError
    Huber LogCosh KLDivergence Poisson CosineSimilarity Hinge SquaredHinge CategoricalHinge
    BinaryCrossentropy BinaryFocalCrossentropy]]):gmatch "%S+"
do
  elementwise[name] = true
end

-- Refuses targets that the loss of an output cannot mean; once, at the first batch.
local function check_targets(loss, y_true, y_pred, output)
  local kind = loss._class_name and loss:_class_name()
  if not (core.is_tensor(y_true) and core.is_tensor(y_pred)) then
    return
  end
  local a, b = y_true.shape, y_pred.shape
  if elementwise[kind] then
    local rank = math.max(#a, #b)
    for i = 1, #a == #b and rank or 0 do
      if a[i] ~= b[i] and a[i] ~= 1 and b[i] ~= 1 then
        errors.raise(
          "fit",
          "the targets of output '%s' do not fit its predictions under the loss %s (expected %s, \z
          got %s)",
          output, loss.name, tostring(b), tostring(a))
      end
    end
    if kind:find "^Binary" and y_true.size > 0 and y_true.dtype ~= "bool" then
      local low, high = tensors.number(ops.min(y_true)), tensors.number(ops.max(y_true))
      if low < 0 or high > 1 then
        errors.raise(
          "fit",
          "the targets of output '%s' go from %g to %g, but %s takes probabilities, 0 to 1%s",
          output, low, high, loss.name,
            low == 1 and high == 2 and "; labels 1 and 2 become 0 and 1 by y - 1"
            or "; labels of several classes need sparse_categorical_crossentropy and an output of \z
              one unit per class")
      end
    end
  elseif kind == "SparseCategoricalCrossentropy" then
    if #a == #b and a[#a] ~= 1 then
      errors.raise(
        "fit",
        "the targets of output '%s' have shape %s, but %s takes one label per prediction \z
        (predictions %s)%s",
        output, tostring(a), loss.name, tostring(b),
          a == b and "; one-hot targets need categorical_crossentropy" or "")
    elseif y_true.dtype:find "float" and y_true.size > 0
      and not ops.all(ops.equal(y_true, ops.floor(y_true))) then
      errors.raise(
        "fit",
        "the targets of output '%s' must be whole numbers, labels from 1, for %s (got %s between \z
        %g and %g)",
        output, loss.name, y_true.dtype, tensors.number(ops.min(y_true)),
          tensors.number(ops.max(y_true)))
    end
  end
end

--- Numbers of the outputs that have a loss, ascending.
function Loss:indices(n, names)
  local given, out = per_output(self.given, n, names, "loss", is_one), {}
  for i = 1, n do
    if not is_nothing(given[i]) then
      out[#out + 1] = i
    end
  end
  return out
end

--- @param y_true table list of targets
--- @param y_pred table list of predictions
--- @param names table names of the outputs
function Loss:build(y_true, y_pred, names)
  local n = #y_pred
  local given = per_output(self.given, n, names, "loss", is_one)
  local weights = per_output(self.weights, n, names, "loss_weights", function(v)
    return type(v) == "number"
  end)
  self.parts, self.trackers = {}, {}
  for i = 1, n do
    if not is_nothing(given[i]) then
      if y_true[i] == nil then
        errors.raise("fit", "there is a loss for output %d (%s), but no targets", i,
          names[i] or "?")
      end
      local loss = choose_loss(given[i], y_true[i], y_pred[i])
      check_targets(loss, y_true[i], y_pred[i], names[i] or i)
      self.parts[#self.parts + 1] = { index = i, loss = loss,
        weight = type(weights[i]) == "number" and weights[i] or nil,
        name = names[i] or loss.name }
    end
  end
  if #self.parts == 0 then
    errors.raise("fit", "no output has a loss")
  end
  if #self.parts > 1 then
    for i, part in ipairs(self.parts) do
      self.trackers[i] = metrics.Mean { name = part.name .. "_loss" }
      self.trackers[i]._direction = "down"
    end
  end
  self.only = n == 1 and #self.parts == 1 and self.parts[1] or nil
  self.built = true
end

--- The weighted sum of all losses.
--- @param weights table|nil list of sample weights per output (false: none)
function Loss:compute(y_true, y_pred, weights)
  local only = self.only
  if only then
    local p = y_pred[1]
    local value = only.loss(y_true[1], p, weights and weights[1] or nil, mask_of(p))
    return only.weight and ops.multiply(value, only.weight) or value
  end
  local total
  for k, part in ipairs(self.parts) do
    local i = part.index
    local p = y_pred[i]
    local value = part.loss(y_true[i], p, weights and weights[i] or nil, mask_of(p))
    local tracker = self.trackers[k]
    if tracker then
      tracker:update_state(tensors.number(value), p.shape[1])
    end
    if part.weight then
      value = ops.multiply(value, part.weight)
    end
    total = total and ops.add(total, value) or value
  end
  return total
end

-- ---- metrics ----

local Metrics = {}
Metrics.__index = Metrics

local function choose_metric(v, y_true, y_pred)
  local name = type(v) == "string" and v:lower()
  if name == "accuracy" or name == "acc" then
    local kind = metrics.kind_of(y_true, y_pred)
    local c = kind == "binary" and metrics.BinaryAccuracy or kind == "sparse"
      and metrics.SparseCategoricalAccuracy
      or metrics.CategoricalAccuracy
    return c { name = v }
  elseif name == "crossentropy" or name == "ce" then
    local kind = metrics.kind_of(y_true, y_pred)
    local c = kind == "binary" and metrics.BinaryCrossentropy or kind == "sparse"
      and metrics.SparseCategoricalCrossentropy
      or metrics.CategoricalCrossentropy
    return c { name = v }
  end
  return metrics.get(v)
end

--- The metrics of a model: without and with sample weights.
function compile.metrics(plain, weighted)
  for what, v in pairs { metrics = plain, weighted_metrics = weighted } do
    if not is_nothing(v) and (type(v) ~= "table" or getmetatable(v) ~= nil) then
      errors.raise("compile", "%s must be a list or a table by output, got %s", what, check.show(v))
    end
  end
  return setmetatable({ given = { plain, weighted }, built = false, entries = {} }, Metrics)
end

local function as_list(v)
  if is_one(v) then
    return { v }
  end
  return v
end

-- Metrics of one kind, as lists per output.
local function lists_per_output(given, n, names, what)
  local out = {}
  if is_nothing(given) or next(given) == nil then
    return out
  elseif n == 1 and not (check.has_string_key(given) and not is_one(given) and given[1] == nil) then
    local flat = {}
    for _, v in ipairs(as_list(given)) do
      for _, m in ipairs(as_list(v)) do
        flat[#flat + 1] = m
      end
    end
    return { flat }
  elseif is_one(given) then
    errors.raise("compile", "%s must be a list", what)
  elseif given[1] == nil or #given == n then
    local each = per_output(given, n, names, what, function()
      return false
    end)
    for i = 1, n do
      if not is_nothing(each[i]) then
        out[i] = as_list(each[i])
      end
    end
    return out
  end
  errors.raise("compile",
    "%s has %d entr%s, the model %d outputs; give one entry per output, or a table by output name",
    what, #given, #given == 1 and "y" or "ies", n)
end

function Metrics:build(y_true, y_pred, names)
  local n = #y_pred
  self.entries = {}
  local counts = {}
  local function unique(name)
    local k = counts[name]
    counts[name] = (k or 0) + 1
    return k and name .. "_" .. k or name
  end
  for pass, what in ipairs { "metrics", "weighted_metrics" } do
    local each = lists_per_output(self.given[pass], n, names, what)
    for i = 1, n do
      for _, v in ipairs(each[i] or {}) do
        if y_true[i] == nil then
          errors.raise("fit", "there is a metric for output %d (%s), but no targets", i,
            names[i] or "?")
        end
        local m = choose_metric(v, y_true[i], y_pred[i])
        local name = n > 1 and names[i] and names[i] .. "_" .. m.name or m.name
        if pass == 2 and counts[name] then
          name = n > 1 and names[i] and names[i] .. "_weighted_" .. m.name or "weighted_" .. m.name
        end
        self.entries[#self.entries + 1] = { metric = m, index = i, weighted = pass == 2,
          name = unique(name),
          of_output = n > 1 }
      end
    end
  end
  self.built = true
end

function Metrics:update(y_true, y_pred, weights)
  local entries = self.entries
  for k = 1, #entries do
    local e = entries[k]
    local i = e.index
    local p = y_pred[i]
    e.metric:update_state(y_true[i], p, e.weighted and weights and weights[i] or nil, mask_of(p))
  end
end

--- Values by name, into `out`.
function Metrics:results(out)
  for _, e in ipairs(self.entries) do
    local v = e.metric:result()
    -- a metric that gives several values by name
    if type(v) == "table" and getmetatable(v) == nil then
      for name, x in pairs(v) do
        out[name] = tensors.number(x)
      end
    else
      out[e.name] = type(v) == "userdata" and v.size == 1 and v:item() or v
    end
  end
end

function Metrics:reset()
  for _, e in ipairs(self.entries) do
    e.metric:reset_state()
  end
end

compile.structure = structure
return compile

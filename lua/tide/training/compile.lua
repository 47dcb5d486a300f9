--- What `compile` makes of losses and metrics once the shapes of targets and predictions are known
--- (Keras' keras/src/trainers/compile_utils.py).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local formulas = require "tide.losses.functions"
local losses = require "tide.losses"
local metrics = require "tide.metrics"
local ops = require "tide.ops"
local registry = require "tide.registry"
local tensors = require "tide.training.tensors"

local Layer = require "tide.layers.base"
local parts = require "tide.parts"
local mask_of = Layer.mask_of

local compile = {}

local is_one, is_nothing = registry.is_one, registry.is_nothing

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
    for _, name in ipairs(check.sorted_keys(given)) do
      if not known[name] and not (n == 1 and #names == 0) then
        errors.raise(
          "compile", "%s names the output '%s', which the model does not have; outputs are %s%s",
          what, tostring(name), table.concat(names, ", "), check.did_you_mean(name, names))
      end
      out[known[name] or 1] = given[name]
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

-- What is wrong with the shape of targets whose predictions have axes that nothing has flattened.
local function flatten_hint(a, b)
  return #b > #a and #b > 2
    and "; is a Flatten or a pooling layer missing before the last layer?" or ""
end

local function same_shape(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] and a[i] ~= 1 and b[i] ~= 1 then
      return false
    end
  end
  return true
end

-- Refuses targets that the loss of an output cannot mean; once, at the first batch.
local function check_targets(loss, y_true, y_pred, output, what)
  if not (core.is_tensor(y_true) and core.is_tensor(y_pred)) then
    return
  end
  local a, b, targets = y_true.shape, y_pred.shape, loss.targets
  if targets == "labels" then
    local want, axis = {}, loss.axis or -1
    for i = 1, #b do
      if i ~= (axis < 0 and #b + 1 + axis or axis) then
        want[#want + 1] = b[i]
      end
    end
    local given = table.move(a, 1, #a, 1, {})
    if #given == #b and given[#given] == 1 then
      given[#given] = nil
    end
    if list.new(given) ~= list.new(want) then
      errors.raise(what,
        "the targets of output '%s' do not fit its predictions %s under the loss %s, which takes \z
        one label per prediction (expected %s, got %s)%s", output, tostring(b), loss.name,
        tostring(list.new(want)), tostring(a),
        a == b and "; one-hot targets need categorical_crossentropy" or flatten_hint(a, b))
    elseif y_true.dtype:find "float" and y_true.size > 0
      and not ops.all(ops.equal(y_true, ops.floor(y_true))) then
      errors.raise(what,
        "the targets of output '%s' must be whole numbers, labels from 1, for %s (got %s between \z
        %g and %g)",
        output, loss.name, y_true.dtype, tensors.number(ops.min(y_true)),
          tensors.number(ops.max(y_true)))
    end
  elseif targets then
    local short, long = #a < #b and a or b, #a < #b and b or a
    local one_less = #long == #short + 1 and long[#long] == 1
      and list.new(table.move(long, 1, #short, 1, {})) == short
    if not one_less and #a > 0 and #b > 0
      and (#a ~= #b or targets == "one_hot" and a ~= b or not same_shape(a, b)) then
      errors.raise(what,
        "the targets of output '%s' do not fit its predictions under the loss %s (expected %s, \z
        got %s)%s",
        output, loss.name, tostring(b), tostring(a),
        targets == "one_hot" and #a <= #b and (#a < #b or a[#a] == 1) and #b <= 2
          and "; labels that are numbers need sparse_categorical_crossentropy"
          or flatten_hint(a, b))
    end
    if targets == "binary" and y_true.size > 0 and y_true.dtype ~= "bool" then
      local low, high = tensors.number(ops.min(y_true)), tensors.number(ops.max(y_true))
      if low < 0 or high > 1 then
        errors.raise(what,
          "the targets of output '%s' go from %g to %g, but %s takes probabilities, 0 to 1%s",
          output, low, high, loss.name,
            low == 1 and high == 2 and "; labels 1 and 2 become 0 and 1 by y - 1"
            or "; labels of several classes need sparse_categorical_crossentropy and an output of \z
              one unit per class")
      end
    end
  end
end

-- The loss or metric of one output. Errors name it and the shapes that it was given: the functions
-- that call it are frames that tide.errors knows.
local Part = {}
Part.__index = Part

function Part:_label(level)
  local output = self.output and ("output '%s'"):format(self.output) or nil
  if not self.metric then
    return output or "loss"
  end
  return ("%smetric %s%s"):format(output and output .. " > " or "", self.name,
    level and tensors.frame_shapes(level + 1) or "")
end

local function loss_of(part, y_true, y_pred, weight)
  local _ <close> = parts.enter "loss"
  local value = part.loss(y_true, y_pred, weight, mask_of(y_pred))
  return value
end
errors.layer_frames[loss_of] = true

local function update_metric(part, y_true, y_pred, weight)
  local _ <close> = parts.enter "metrics"
  part.metric:update_state(y_true, y_pred, weight, mask_of(y_pred))
  return nil
end
errors.layer_frames[update_metric] = true

-- Targets that the first batch had and this one has not.
local function no_targets(part)
  errors.raise("compute_loss", "there is a loss for output %d (%s), but no targets (y)", part.index,
    part.name)
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
--- @param what string the method that asks, for errors
function Loss:build(y_true, y_pred, names, what)
  local n = #y_pred
  local given = per_output(self.given, n, names, "loss", is_one)
  local weights = per_output(self.weights, n, names, "loss_weights", function(v)
    return type(v) == "number"
  end)
  self.parts, self.trackers = {}, {}
  for i = 1, n do
    if not is_nothing(given[i]) then
      if y_true[i] == nil then
        errors.raise(what, "there is a loss for output %d (%s), but no targets (y)", i,
          names[i] or "?")
      end
      local loss = choose_loss(given[i], y_true[i], y_pred[i])
      check_targets(loss, y_true[i], y_pred[i], names[i] or i, what)
      self.parts[#self.parts + 1] = setmetatable({ index = i, loss = loss,
        weight = type(weights[i]) == "number" and weights[i] or nil,
        name = names[i] or loss.name, output = names[i] }, Part)
    end
  end
  if #self.parts == 0 then
    errors.raise(what, "no output has a loss")
  end
  if #self.parts > 1 then
    for i, part in ipairs(self.parts) do
      self.trackers[i] = metrics.Mean { name = part.name .. "_loss" }
      self.trackers[i].direction = "down"
    end
  end
  self.only = n == 1 and #self.parts == 1 and self.parts[1] or nil
  self.built = true
end

-- Looks at what a data source brings, at its first batch: whether the targets fit the predictions
-- (an earlier source's did, or none was tried), and at all labels once: one out of range is named
-- where it stands in a person's own data, not in a shuffled batch. Where masks or class weights may
-- hide labels, batches tell.
local function check_source(self, y_true, y_pred)
  local source = self.source
  self.source, source.checked = nil, true
  local y, w = source.groups[2].leaves, source.groups[3].leaves
  for _, part in ipairs(self.parts) do
    local i = part.index
    if y_true[i] ~= nil then
      check_targets(part.loss, y_true[i], y_pred[i], part.output or i, self.asks)
    end
    if part.loss.targets == "labels" and #y == #y_pred and y[i] and not source.class_weight
      and not mask_of(y_pred[i]) then
      formulas.check_labels(y[i], y_pred[i], part.loss, w[i] or nil)
    end
  end
end

--- The weighted sum of all losses; `quiet`: the means of several losses do not hear of it.
--- @param weights table|nil list of sample weights per output (false: none)
function Loss:compute(y_true, y_pred, weights, quiet)
  if self.source then
    check_source(self, y_true, y_pred)
  end
  local only = self.only
  if only then
    local y = y_true[1]
    if y == nil then
      no_targets(only)
    end
    local value = loss_of(only, y, y_pred[1], weights and weights[1] or nil)
    return only.weight and ops.multiply(value, only.weight) or value
  end
  local total
  for k, part in ipairs(self.parts) do
    local i = part.index
    local p = y_pred[i]
    if y_true[i] == nil then
      no_targets(part)
    end
    local value = loss_of(part, y_true[i], p, weights and weights[i] or nil)
    local tracker = not quiet and self.trackers[k]
    if tracker then
      tracker:_take(value, p.shape[1])
    end
    if part.weight then
      value = ops.multiply(value, part.weight)
    end
    total = tensors.plus(total, value)
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
      errors.raise("compile", "%s must be a list or a table by output (got %s)", what,
        check.show(v))
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

--- @param taken table names that logs have already
function Metrics:build(y_true, y_pred, names, what, taken)
  local n = #y_pred
  self.entries = {}
  local counts = {}
  for _, name in ipairs(taken) do
    counts[name] = 1
  end
  local function unique(name)
    local k = counts[name]
    counts[name] = (k or 0) + 1
    return k and name .. "_" .. k or name
  end
  for pass, kind in ipairs { "metrics", "weighted_metrics" } do
    local each = lists_per_output(self.given[pass], n, names, kind)
    for i = 1, n do
      for _, v in ipairs(each[i] or {}) do
        if y_true[i] == nil then
          errors.raise(what, "there is a metric for output %d (%s), but no targets (y)", i,
            names[i] or "?")
        end
        local m = choose_metric(v, y_true[i], y_pred[i])
        local name = n > 1 and names[i] and names[i] .. "_" .. m.name or m.name
        if pass == 2 and counts[name] then
          name = n > 1 and names[i] and names[i] .. "_weighted_" .. m.name or "weighted_" .. m.name
        end
        self.entries[#self.entries + 1] = setmetatable({ metric = m, index = i,
          weighted = pass == 2, name = unique(name), of_output = n > 1, output = names[i] }, Part)
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
    update_metric(e, y_true[i], y_pred[i], e.weighted and weights and weights[i] or nil)
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

return compile

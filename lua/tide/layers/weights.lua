--- The weights of layers: making, finding, reading and setting them, and what depends on them
--- (losses, trainable).
--
-- A weight is a plain tensor; its facts stand in a record of the layer that made it. Nothing
-- follows `pairs`: records keep their order, sub-layers the order of their creation.
-- `tide.layers.base` installs all this in Layer.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

return function(Layer)

-- ---- weights ----

local weight_args = check.args("add_weight", {
  { "shape", "shape", nil, "shape of the weight; a scalar without it" },
  { "initializer", "initializer", nil, "glorot_uniform for floats, zeros for others" },
  { "dtype", "dtype", nil, "the layer's by default" },
  { "trainable", "bool", true },
  { "autocast", "bool", true },
  { "regularizer", "regularizer" },
  { "constraint", "constraint" },
  { "aggregation", "string", "none" },
  { "name", "string", nil, "weight by default" },
})

--- Makes a weight of this layer: a tensor that requires a gradient if it is trainable.
--- @return userdata tensor
function Layer:add_weight(...)
  local o = weight_args:construct(...)
  local dtype = o.dtype or self.dtype
  local initializer = o.initializer
    or require("tide.initializers").get(
      dtype:find("float", 1, true) and "glorot_uniform" or "zeros")
  local shape = o.shape or {}
  for i = 1, #shape do
    if shape[i] == none or shape[i] < 0 then
      errors.raise("add_weight", "every size of the weight '%s' must be known, got %s",
        o.name or "weight", list.format(shape))
    end
  end
  local tensor = initializer(table.move(shape, 1, #shape, 1, {}), dtype)
  if not core.is_tensor(tensor) or not list.equal(tensor.shape, shape) then
    errors.raise("add_weight", "the initializer of '%s' must return a tensor of shape %s, got %s",
      o.name or "weight", list.format(shape), check.show(tensor))
  end
  self:_track(tensor, o)
  return tensor
end

-- Records a tensor as a weight of this layer.
function Layer:_track(tensor, o)
  local records = self._weights
  records[#records + 1] = {
    tensor = tensor, name = o.name or "weight", trainable = o.trainable ~= false,
      regularizer = o.regularizer, constraint = o.constraint }
  if o.trainable ~= false then
    tensor:requires_grad_(self._trainable)
  end
  if o.regularizer then
    Layer.penalties = Layer.penalties + 1
  end
  return tensor
end

local function each_tracked(v, key, seen, found)
  if type(v) == "userdata" then
    if v ~= none and not seen[v] and v.requires_grad then
      seen[v] = true
      found.tensors[#found.tensors + 1] = { key = key, tensor = v }
    end
  elseif type(v) == "table" and v ~= none and not seen[v] then
    seen[v] = true
    local m = getmetatable(v)
    if m and v.kind == "layer" and v._id then
      found.layers[#found.layers + 1] = { key = key, layer = v }
    elseif m and v.kind == "metric" then
      found.metrics[#found.metrics + 1] = { key = key, metric = v }
    elseif m == nil or list.is(v) then
      for k, x in pairs(v) do
        each_tracked(x, key .. "." .. tostring(k), seen, found)
      end
    end
  end
end

-- Layers, variables and metrics reachable from the fields, layers in order of creation, the others
-- by field name.
function Layer:_tracked()
  local seen, found = { [self] = true }, { layers = {}, tensors = {}, metrics = {} }
  for _, record in ipairs(self._weights) do
    seen[record.tensor] = true
  end
  local keys = {}
  for k in next, self do
    -- fields that open with an underscore are Tide's own
    if type(k) == "string" and k:byte() ~= 95 then
      keys[#keys + 1] = k
    end
  end
  table.sort(keys)
  for _, k in ipairs(keys) do
    each_tracked(rawget(self, k), k, seen, found)
  end
  table.sort(found.layers, function(a, b)
    return a.layer._id < b.layer._id
  end)
  return found
end

-- Sub-layers as { key, layer }: the key is the component of weight paths, stable from process to
-- process.
function Layer:_children()
  return self:_tracked().layers
end

-- This layer and all below it, each once, parents first.
function Layer:_flat(out, seen)
  out, seen = out or {}, seen or {}
  if not seen[self] then
    seen[self] = true
    out[#out + 1] = self
    for _, child in ipairs(self:_children()) do
      child.layer:_flat(out, seen)
    end
  end
  return out
end

-- Weight records of this layer alone, as Keras: trainable ones, others, then variables found in
-- fields.
function Layer:_own_records()
  local out = {}
  for _, want in ipairs { true, false } do
    for _, r in ipairs(self._weights) do
      if r.trainable == want then
        out[#out + 1] = r
      end
    end
  end
  for _, e in ipairs(self:_tracked().tensors) do
    out[#out + 1] = { tensor = e.tensor, name = e.key, trainable = true }
  end
  return out
end

--- All weights with their facts, in Keras' order, each once:
--- `{ tensor, name, path, trainable, regularizer, constraint, layer }`.
function Layer:_records(prefix, out, seen)
  prefix, out, seen = prefix or "", out or {}, seen or {}
  for _, r in ipairs(self:_own_records()) do
    if not seen[r.tensor] then
      seen[r.tensor] = true
      out[#out + 1] = { tensor = r.tensor, name = r.name, path = prefix .. r.name,
        trainable = r.trainable and self._trainable, regularizer = r.regularizer,
          constraint = r.constraint, layer = self }
    end
  end
  for _, child in ipairs(self:_children()) do
    if not seen[child.layer] then
      seen[child.layer] = true
      child.layer:_records(prefix .. child.key .. "/", out, seen)
    end
  end
  return out
end

local function tensors(self, want)
  local out = {}
  for _, r in ipairs(self:_records()) do
    if want == nil or r.trainable == want then
      out[#out + 1] = r.tensor
    end
  end
  return list.new(out)
end

local function get_trainable(self)
  return tensors(self, true)
end
local function get_non_trainable(self)
  return tensors(self, false)
end
local function get_weights(self)
  return tensors(self)
end

local function get_losses(self)
  if Layer.penalties == 0 then
    return list.new {}
  end
  local out = {}
  for _, layer in ipairs(self:_flat()) do
    for _, l in ipairs(rawget(layer, "_losses") or {}) do
      out[#out + 1] = l
    end
  end
  for _, r in ipairs(self:_records()) do
    if r.regularizer and r.trainable then
      out[#out + 1] = r.regularizer(r.tensor)
    end
  end
  return list.new(out)
end

local function set_trainable(self, value)
  if type(value) ~= "boolean" then
    errors.raise(getmetatable(self).__name, "trainable must be true or false, got %s",
      check.show(value))
  end
  for _, layer in ipairs(self:_flat()) do
    rawset(layer, "_trainable", value)
    for _, r in ipairs(layer:_own_records()) do
      if r.trainable then
        r.tensor:requires_grad_(value)
      end
    end
  end
end

local function first_node(self, side)
  local node = rawget(self, "_nodes") and self._nodes[1]
  if not node then
    errors.raise(self:_label(), "has no %s yet: it was never called on a symbolic tensor", side)
  end
  return node[side]
end

class.properties(Layer, {
  weights = get_weights, variables = get_weights,
  trainable_weights = get_trainable, trainable_variables = get_trainable,
  non_trainable_weights = get_non_trainable, non_trainable_variables = get_non_trainable,
  losses = get_losses,
  trainable = function(self) return self._trainable end,
  path = function(self) return rawget(self, "_path") or self.name end,
  compute_dtype = function(self) return self.dtype end,
  variable_dtype = function(self) return self.dtype end,
  input = function(self) return first_node(self, "input") end,
  output = function(self) return first_node(self, "output") end,
  metrics = function(self)
    local out = {}
    for _, layer in ipairs(self:_flat()) do
      for _, m in ipairs(layer:_tracked().metrics) do
        out[#out + 1] = m.metric
      end
    end
    return list.new(out)
  end,
}, { trainable = set_trainable })

--- The values of all weights, in Keras' order.
--- @return table list of tensors, copies
function Layer:get_weights()
  local out = {}
  for i, w in ipairs(self.weights) do
    out[i] = ops.copy(w:detach())
  end
  return list.new(out)
end

--- Sets all weights; numbers and shapes must agree.
--- @param values table list of tensors or nested tables of numbers, in Keras' order
function Layer:set_weights(values)
  local records = self:_records()
  if not check.is_list(values) then
    errors.raise("set_weights", "takes a list of tensors, got %s", check.show(values))
  end
  if #values ~= #records then
    errors.raise("set_weights", "%s has %d weights, got %d values%s", self:_label(), #records,
      #values, #records == 0 and not self.built and "; the layer is not built yet" or "")
  end
  local converted = {}
  for i, r in ipairs(records) do
    local v = ops.convert_to_tensor(values[i], { dtype = r.tensor.dtype })
    if v.shape ~= r.tensor.shape then
      errors.raise("set_weights", "weight %d (%s) has shape %s, the value has %s", i, r.path,
        tostring(r.tensor.shape), tostring(v.shape))
    end
    converted[i] = v
  end
  for i, r in ipairs(records) do
    Layer.assign(r.tensor, converted[i])
  end
end

--- Writes a tensor's values into a weight, without recording gradients.
function Layer.assign(weight, value)
  core.no_grad(weight.copy_, weight, value)
end

--- The number of elements of all weights.
function Layer:count_params()
  local n = 0
  for _, w in ipairs(self.weights) do
    n = n + w.size
  end
  return n
end

--- Adds a penalty (0-d tensor, or a list of them) to `losses`, until the next call.
function Layer:add_loss(loss)
  Layer.penalties = Layer.penalties + 1
  local own = rawget(self, "_losses")
  if not own then
    own = {}
    rawset(self, "_losses", own)
  end
  for _, l in ipairs(type(loss) == "table" and loss or { loss }) do
    own[#own + 1] = l
  end
end

-- Forgets the losses of the last call. The layers below are looked up again only when layers were
-- made since.
function Layer:_clear_losses()
  local known = rawget(self, "_known")
  if not known or known.created ~= Layer.created then
    known = self:_flat()
    known.created = Layer.created
    rawset(self, "_known", known)
  end
  for i = 1, #known do
    if rawget(known[i], "_losses") then
      rawset(known[i], "_losses", nil)
    end
  end
end

end

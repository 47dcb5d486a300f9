--- Sequential: layers one after another, built as soon as the input's shape is known.
local base = require "tide.layers.base"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local list = require "tide.list"
local Model = require "tide.models.model"
local none = require "tide.none"
local object = require "tide.object"
local registry = require "tide.registry"
local symbolic = require "tide.graph.symbolic"

local function run(self, x)
  if self._rank and type(x) == "table" and getmetatable(x) == nil then
    if x[1] == nil or #x > 1 then
      errors.raise(self:_label(), "takes one input, got a table of %d%s", #x, symbolic.pair_hint(x))
    end
    x = x[1]
  end
  local rank = self._rank
  if rank and x.ndim ~= rank then
    x = symbolic.adjust_rank(self:_label(), self._in.name, x, self._in.shape)
  end
  local fns = self._chain
  for i = 1, #fns do
    x = fns[i](x)
  end
  return x
end

-- The shape of the input, if a first layer tells it.
local function known_shape(self)
  if self._input then
    return self._input.batch_shape
  end
  local first = self._chain[1]
  if not first then
    return nil
  end
  if first._given_shape then
    return first._given_shape
  elseif first._inputs then
    return first._inputs[1].shape
  elseif first.is_model and first._chain then
    return rawget(first, "_in") and first._in.shape or known_shape(first)
  end
end

-- Takes a layer (or an Input) in; builds as far as is known.
local function append(self, layer)
  if symbolic.is(layer) then
    layer = layer._node and layer._node.layer
  end
  if not base.is_layer(layer) then
    errors.raise("Sequential", "takes layers, got %s%s", check.show(layer),
      class.is_class(layer)
        and "; a class makes a layer when it is called: " .. layer.__name .. " { ... }" or "")
  end
  if getmetatable(layer).__name == "InputLayer" then
    if #self._chain > 0 or self._input then
      errors.raise("Sequential", "an Input can only come first")
    end
    rawset(self, "_input", layer)
    return
  end
  for _, other in ipairs(self._chain) do
    if other.name == layer.name then
      errors.raise("Sequential", "two layers are named '%s'; names must be unique in a model",
        layer.name)
    end
  end
  self._chain[#self._chain + 1] = layer
end

local function rebuild(self)
  local first = self._chain[1]
  if first and not first.keeps_dtype then
    rawset(self, "dtype", first.dtype) -- what comes in is cast once, to what the first layer takes
  end
  rawset(self, "built", false)
  rawset(self, "_in", nil)
  rawset(self, "_out", nil)
  local shape = known_shape(self)
  if shape and #self._chain > 0 then
    self:build(shape)
  end
end

--- Layers in a row: `tide.Sequential { layers.Dense { 64, activation = "relu", input_shape = { 10 }
--- }, layers.Dense { 10 } }`. `tide.Input { 10 }` may come first instead of `input_shape`; without
--- either, the first call builds the model.
local Sequential = base.derive(Model, "Sequential", {
  args = { { "layers", "list", nil, "layers in order" } },
  list_first = true,
  supports_masking = true,
  init = function(self, o)
    rawset(self, "layers", nil)
    rawset(self, "_chain", {})
    for _, layer in ipairs(o.layers or {}) do
      append(self, layer)
    end
    rebuild(self)
  end,
  build = function(self, shape)
    if not shape then
      errors.raise(self:_label(), "needs the shape of its input to be built")
    elseif #self._chain == 0 then
      errors.raise(
        self:_label(), "has no layers; model:add(layer) or Sequential { layer, ... } gives it some")
    end
    local input = list.copy(shape)
    if #self._chain == 0 then
      errors.raise(
        self:_label(),
        "has no layers; give it some: tide.Sequential { layer, ... }, or model:add(layer)")
    elseif not self._input and not self._chain[1]._given_shape then
      input[1] = none
    end
    local x = symbolic.new(input, self._input and self._input.dtype or self.dtype,
      self.name .. "_input")
    rawset(self, "_in", x)
    rawset(self, "_rank", self._chain[1].takes == "tensor" and #input or false)
    for _, layer in ipairs(self._chain) do
      x = layer(x)
    end
    rawset(self, "_out", x)
  end,
  call = run,
  compute_output_shape = function(self, shape)
    for _, layer in ipairs(self._chain) do
      shape = layer:compute_output_shape(shape)
    end
    return shape
  end,
  compute_output_dtype = function(self, dtype)
    for _, layer in ipairs(self._chain) do
      dtype = layer:compute_output_dtype(dtype)
    end
    return dtype
  end,
  compute_mask = function()
    return nil
  end,
})

--- Adds a layer at the end.
function Sequential:add(layer)
  append(self, layer)
  rebuild(self)
  return self
end

--- Takes the last layer off and returns it.
function Sequential:pop()
  local layer = table.remove(self._chain)
  if not layer then
    errors.raise("pop", "the model has no layers")
  end
  rebuild(self)
  return layer
end

function Sequential:_children()
  local out = {}
  for i, layer in ipairs(self._chain or {}) do
    out[i] = { key = layer.name, layer = layer }
  end
  return out
end

local function end_of(self, field)
  local x = rawget(self, field)
  if not x then
    errors.raise(self:_label(), "is not built yet: give input_shape, add a tide.Input, or call it")
  end
  return x
end
local get = Sequential._get
get.input = function(self) return end_of(self, "_in") end
get.output = function(self) return end_of(self, "_out") end
get.inputs = function(self) return list.new { end_of(self, "_in") } end
get.outputs = function(self) return list.new { end_of(self, "_out") } end
get.input_names = function(self) return list.new { end_of(self, "_in").name } end
get.output_names = function(self)
  return list.new { self._chain[#self._chain].name }
end

function Sequential:get_config()
  local layers = {}
  if self._input then
    layers[1] = object.serialize(self._input)
  end
  for _, layer in ipairs(self._chain) do
    layers[#layers + 1] = object.serialize(layer)
  end
  return { name = self.name, trainable = self._trainable, dtype = self.dtype, layers = layers,
    build_input_shape = rawget(self, "_in") and self._in.shape:totable() or nil }
end

function Sequential._from_config(c, config)
  local layers = {}
  for i, entry in ipairs(config.layers or {}) do
    layers[i] = registry.resolve("layer", entry, "from_config")
  end
  local model = c { layers, name = config.name, dtype = config.dtype, trainable = config.trainable }
  if not model.built and config.build_input_shape and #layers > 0 then
    model:build(list.copy(config.build_input_shape))
  end
  return model
end

return Sequential

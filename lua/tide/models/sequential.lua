--- Sequential: layers one after another, built as soon as the input's shape is known.
local S = require "tide.private"
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
local tracking = require "tide.layers.tracking"

local function run(self, x)
  local own = self[S]
  if own.rank and type(x) == "table" and getmetatable(x) == nil then
    if x[1] == nil or #x > 1 then
      errors.raise(self:_label(), "takes one input, got a table of %d%s", #x, symbolic.pair_hint(x))
    end
    x = x[1]
  end
  local rank = own.rank
  if rank and x.ndim ~= rank then
    x = symbolic.adjust_rank(self:_label(), own.into.name, x, own.into.shape)
  end
  local fns = own.chain
  for i = 1, #fns do
    x = fns[i](x)
  end
  return x
end

-- The shape of the input, if a first layer tells it.
local function known_shape(self)
  if self[S].input then
    return self[S].input.batch_shape
  end
  local first = self[S].chain[1]
  if not first then
    return nil
  end
  if first[S].given_shape then
    return first[S].given_shape
  elseif first[S].inputs then
    return first[S].inputs[1].shape
  elseif first.is_model and first[S].chain then
    return first[S].into and first[S].into.shape or known_shape(first)
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
    if #self[S].chain > 0 or self[S].input then
      errors.raise("Sequential", "an Input can only come first")
    end
    self[S].input = layer
    return
  end
  for _, other in ipairs(self[S].chain) do
    if other.name == layer.name then
      errors.raise("Sequential", "two layers are named '%s'; names must be unique in a model",
        layer.name)
    end
  end
  self[S].chain[#self[S].chain + 1] = layer
end

local function rebuild(self)
  local first = self[S].chain[1]
  if first and not first.keeps_dtype then
    self.dtype = first.dtype -- what comes in is cast once, to what the first layer takes
  end
  self.built = false
  tracking.changed(self)
  self[S].into = nil
  self[S].out = nil
  local shape = known_shape(self)
  if shape and #self[S].chain > 0 then
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
    self[S].chain = {}
    for _, layer in ipairs(o.layers or {}) do
      append(self, layer)
    end
    rebuild(self)
  end,
  build = function(self, shape)
    if not shape then
      errors.raise(self:_label(), "needs the shape of its input to be built")
    elseif #self[S].chain == 0 then
      errors.raise(
        self:_label(), "has no layers; model:add(layer) or Sequential { layer, ... } gives it some")
    end
    local input = list.copy(shape)
    if #self[S].chain == 0 then
      errors.raise(
        self:_label(),
        "has no layers; give it some: tide.Sequential { layer, ... }, or model:add(layer)")
    elseif not self[S].input and not self[S].chain[1][S].given_shape then
      input[1] = none
    end
    local x = symbolic.new(input, self[S].input and self[S].input.dtype or self.dtype,
      self.name .. "_input")
    self[S].into = x
    self[S].rank = self[S].chain[1].takes == "tensor" and #input or false
    for _, layer in ipairs(self[S].chain) do
      x = layer(x)
    end
    self[S].out = x
  end,
  call = run,
  compute_output_shape = function(self, shape)
    for _, layer in ipairs(self[S].chain) do
      shape = layer:compute_output_shape(shape)
    end
    return shape
  end,
  compute_output_dtype = function(self, dtype)
    for _, layer in ipairs(self[S].chain) do
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
  local layer = table.remove(self[S].chain)
  if not layer then
    errors.raise("pop", "the model has no layers")
  end
  rebuild(self)
  return layer
end

function Sequential:_parts()
  local out = {}
  for i, layer in ipairs(self[S].chain or {}) do
    out[i] = { key = layer.name, layer = layer }
  end
  return out
end

local function end_of(self, field)
  local x = self[S][field]
  if not x then
    errors.raise(self:_label(), "is not built yet: give input_shape, add a tide.Input, or call it")
  end
  return x
end
local get = Sequential._get
get.input = function(self) return end_of(self, "into") end
get.output = function(self) return end_of(self, "out") end
get.inputs = function(self) return list.new { end_of(self, "into") } end
get.outputs = function(self) return list.new { end_of(self, "out") } end
get.input_names = function(self) return list.new { end_of(self, "into").name } end
get.output_names = function(self)
  return list.new { self[S].chain[#self[S].chain].name }
end

function Sequential:get_config()
  local layers = {}
  if self[S].input then
    layers[1] = object.serialize(self[S].input)
  end
  for _, layer in ipairs(self[S].chain) do
    layers[#layers + 1] = object.serialize(layer)
  end
  return { name = self.name, trainable = self[S].trainable, dtype = self.dtype, layers = layers,
    build_input_shape = self[S].into and self[S].into.shape:totable() or nil }
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

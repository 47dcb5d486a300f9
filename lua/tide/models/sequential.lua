--- Sequential: layers one after another, built as soon as the input's shape is known.
--
-- It is a graph with one input, which grows at its end: `graph` holds the input, the output and
-- one node per layer. What runs is the list of functions that tide.graph.fuse makes of the nodes,
-- made at the first call after a change.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local form = require "tide.graph.form"
local fuse = require "tide.graph.fuse"
local list = require "tide.list"
local Model = require "tide.models.model"
local names = require "tide.graph.names"
local none = require "tide.none"
local object = require "tide.object"
local rebuild = require "tide.graph.rebuild"
local registry = require "tide.registry"
local shared = require "tide.shared"
local symbolic = require "tide.graph.symbolic"
local tracking = require "tide.layers.tracking"

-- The functions to run in order, for models that were built or grew since the last call.
local function settle(self)
  local g, fns = self[S].graph, {}
  for i, call in ipairs(fuse.calls(g.nodes, g.outputs)) do
    fns[i] = call.fn
  end
  self[S].fns = fns
  return fns
end

local function run(self, x)
  local own = self[S]
  if own.rank and type(x) == "table" and getmetatable(x) == nil then
    if x[1] == nil or #x > 1 then
      errors.raise(self:_label(), "takes one input (got a table of %d)%s", #x,
        symbolic.pair_hint(x))
    end
    x = x[1]
  end
  local rank = own.rank
  if own.whole then
    x = symbolic.as_declared(self, own.graph.input.name, x, own.graph.input)
  end
  if rank and x.ndim ~= rank then
    local input = own.graph.input
    x = symbolic.adjust_rank(self:_label(), input.name, x, input.shape)
  end
  local fns = own.fns or settle(self)
  for i = 1, #fns do
    x = fns[i](x)
  end
  return x
end

-- The shape of the input, if a first layer tells it.
local function known_shape(self)
  local first = self[S].list[1]
  while first do
    if first[S].given_shape then
      return first[S].given_shape
    elseif first[S].graph then
      return symbolic.is(first.input) and first.input.shape or nil
    elseif first[S].input then
      return first[S].input.batch_shape
    end
    first = first[S].list and first[S].list[1]
  end
end

-- The dtype of the input, if it is not declared: text where the first layer takes strings.
local function input_dtype(self)
  local first = self[S].list[1]
  while first do
    local g = first[S].graph
    local input = g and symbolic.is(g.input) and g.input or first[S].input
    if first:_takes(1) == "strings" or input and input.dtype == "string" then
      return "string"
    end
    first = first[S].list and first[S].list[1]
  end
  return self.dtype
end

-- The symbolic tensor that the model's InputLayer stands for: the person's own Input, or one made
-- for the shape.
local function input_of(self, shape)
  local layer = self[S].input
  if not layer then
    local InputLayer = registry.find("layer", "InputLayer")
    layer = InputLayer { batch_shape = shape, dtype = input_dtype(self),
      name = self.name .. "_input" }
    self[S].input = layer
  end
  local nodes = layer[S].nodes
  return nodes and nodes[1].output or symbolic.input(layer, layer.dtype)
end

-- Calls a layer on what the last one gave. The frame is the model's, so that errors name it.
local function grow(self, layer)
  local g = self[S].graph
  local y = layer(g.output)
  local nodes = layer[S].nodes
  g.nodes[#g.nodes + 1] = nodes[#nodes]
  g.output, g.outputs[1] = y, y
  self[S].fns = false
end
errors.layer_frames[grow] = true

-- What comes in is cast once, to what the first layer takes.
local function take_dtype(self)
  local first = self[S].list[1]
  if first and not first.keeps_dtype then
    self.dtype, self[S].compute = first.dtype, nil
  end
  self[S].rank = first and first.takes == "tensor" and self[S].graph
    and #self[S].graph.input.shape or false
  local input = self[S].graph and self[S].graph.input
  self[S].whole = input and symbolic.is_declared(input)
end

-- Takes a layer (or an Input) in.
local function append(self, layer)
  if symbolic.is(layer) then
    layer = layer._node and layer._node.layer
  end
  if not base.is_layer(layer) then
    errors.raise("Sequential", "takes layers (got %s)%s", check.show(layer),
      class.is_class(layer)
        and "; a class makes a layer when it is called: " .. layer.__name .. " { ... }" or "")
  end
  if class.is(layer, registry.find("layer", "InputLayer")) then
    if #self[S].list > 0 or self[S].input then
      errors.raise("Sequential", "an Input can only come first")
    end
    self[S].input = layer
    self[S].declared = true
    return
  end
  names.take(self[S].names, layer, "Sequential")
  self[S].list[#self[S].list + 1] = layer
  tracking.changed(self)
end

local function drop_last(self)
  local layer = table.remove(self[S].list)
  self[S].names[layer.name] = nil
  tracking.changed(self)
  return layer
end

-- Builds as far as is known.
local function build_known(self)
  take_dtype(self)
  if #self[S].list == 0 then
    return
  end
  local shape = self[S].input and self[S].input.batch_shape or known_shape(self)
  if shape then
    self:build(shape)
  end
end

--- Layers in a row: `tide.Sequential { layers.Dense { 64, activation = "relu", input_shape = { 10 }
--- }, layers.Dense { 10 } }`. `tide.Input { 10 }` may come first instead of `input_shape`; without
--- either, the first call builds the model.
---
---     tide.Sequential({ tide.layers.Dense(3) })(tide.ones { 2, 4 }).shape   --> { 2, 3 }
local Sequential = base.derive(Model, "Sequential", {
  args = { { "layers", "list", nil, "layers in order" } },
  list_first = true,
  supports_masking = true,
  init = function(self, o)
    self[S].list = {}
    self[S].names = {}
    self[S].input = false
    self[S].fns = false
    self[S].rank = false
    for _, layer in ipairs(o.layers or {}) do
      append(self, layer)
    end
    build_known(self)
  end,
  build = function(self, shape)
    if not shape then
      errors.raise(self:_label(), "needs the shape of its input to be built")
    elseif #self[S].list == 0 then
      errors.raise(
        self:_label(), "has no layers; model:add(layer) or Sequential { layer, ... } gives it some")
    end
    local input = list.copy(shape)
    if not self[S].input and not self[S].list[1][S].given_shape then
      input[1] = none
    end
    local x = input_of(self, input)
    self[S].graph = { input = x, output = x, inputs = { x }, outputs = { x },
      keys = { x.name }, nodes = {} }
    take_dtype(self)
    for _, layer in ipairs(self[S].list) do
      local ok, e = pcall(grow, self, layer)
      if not ok then
        rebuild.forget(self[S].graph.nodes)
        self[S].graph = nil
        error(e, 0)
      end
    end
  end,
  call = run,
  compute_output_shape = function(self, shape)
    for _, layer in ipairs(self[S].list) do
      shape = layer:compute_output_shape(shape)
    end
    return shape
  end,
  compute_output_dtype = function(self, dtype)
    for _, layer in ipairs(self[S].list) do
      dtype = layer:compute_output_dtype(dtype)
    end
    return dtype
  end,
  compute_mask = function()
    return nil
  end,
})

Sequential.graph_kind = "sequential"

-- The layers forget their calls in this model, which is built at its next call.
local function take_down(self)
  local g = self[S].graph
  if g then
    rebuild.forget(g.nodes)
  end
  self[S].graph, self[S].fns = nil, false
  self.built, self[S].plain = false, false
  if not self[S].declared then
    self[S].input = false
  end
end

local REBUILD = { "rebuild", "bool", true, "false: the model is built anew at its next call" }
object.declare(Sequential, "Sequential", {
  add = { { "layer", "any", check.required, "a layer, or a tide.Input as the first" }, REBUILD },
  pop = { REBUILD },
})

--- Adds a layer at the end. A built model keeps its input, its layers' outputs and its weights.
--- @param layer table a layer, or a tide.Input as the first
--- @param rebuild_now boolean|nil `rebuild`; false: the model is built anew at its next call (true)
--- @return table the model
function Sequential:add(layer, rebuild_now)
  if not class.is(self, Sequential) then
    errors.raise("add", "is a method: write model:add(...) with a colon")
  end
  for _, inside in ipairs(base.is_layer(layer) and layer:_flat() or {}) do
    if rawequal(inside, self) then
      errors.raise("add", "%s cannot stand inside of itself", self:_label())
    end
  end
  append(self, layer)
  if rebuild_now == false then
    take_down(self)
  elseif not self.built then
    build_known(self)
  elseif #self[S].list > 0 then
    local ok, e = pcall(grow, self, self[S].list[#self[S].list])
    if not ok then
      drop_last(self)
      error(e, 0)
    end
  end
  return self
end

--- Takes the last layer off and returns it.
--- @param rebuild_now boolean|nil `rebuild`; false: the model is built anew at its next call (true)
--- @return table layer
function Sequential:pop(rebuild_now)
  if #self[S].list == 0 then
    errors.raise("pop", "the model has no layers")
  end
  local layer = drop_last(self)
  local g = self[S].graph
  if g then
    local node = table.remove(g.nodes)
    g.output = #g.nodes > 0 and g.nodes[#g.nodes].output or g.input
    g.outputs[1] = g.output
    rebuild.forget { node }
    self[S].fns = false
  end
  if #self[S].list == 0 or rebuild_now == false then -- what comes next begins the model anew
    take_down(self)
  end
  take_dtype(self)
  return layer
end

-- What hangs on the first layer, after another one was put there.
function Sequential:_refresh()
  take_dtype(self)
end

function Sequential:_parts()
  return names.parts(self[S].list)
end

local function graph_of(self)
  local g = self[S].graph
  if not g then
    errors.raise(self:_label(), "is not built yet: give input_shape, add a tide.Input, or call it")
  end
  return g
end
local get = Sequential._get
get.input = function(self) return graph_of(self).input end
get.output = function(self) return graph_of(self).output end
get.inputs = function(self) return list.new { graph_of(self).input } end
get.outputs = function(self) return list.new { graph_of(self).output } end
get.input_names = function(self) return list.new { graph_of(self).input.name } end
get.output_names = function(self)
  return list.new { self[S].list[#self[S].list].name }
end

function Sequential:get_config()
  local _ <close> = shared.writing()
  local layers = {}
  if self[S].declared then
    layers[1] = object.serialize(self[S].input)
  end
  for _, layer in ipairs(self[S].list) do
    layers[#layers + 1] = object.serialize(layer)
  end
  local g = self[S].graph
  return { name = self.name, trainable = self[S].trainable, dtype = self.dtype, layers = layers,
    build_input_shape = g and g.input.shape:totable() or nil,
    built_inside = g and (self[S].around or "") ~= "" or nil }
end

function Sequential._from_config(c, config)
  config = shared.link(config)
  local layers = {}
  if config.layers ~= nil and type(config.layers) ~= "table" then
    errors.raise("from_config", "the layers of a Sequential must be a list (got %s)",
      check.show(config.layers))
  end
  for i, entry in ipairs(config.layers or {}) do
    entry = config.build_input_shape and form.waiting(entry) or entry
    layers[i] = registry.resolve("layer", entry, "from_config")
  end
  local model = c { layers, name = config.name, dtype = config.dtype, trainable = config.trainable }
  if not model.built and config.build_input_shape and #layers > 0 then
    model:build(list.copy(config.build_input_shape))
  end
  return model
end

return Sequential

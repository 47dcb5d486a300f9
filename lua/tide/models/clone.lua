--- clone_model (Keras' keras/src/models/cloning.py): the architecture again, with new layers.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local functional = require "tide.models.functional"
local graph = require "tide.graph"
local rebuild = require "tide.graph.rebuild"
local Sequential = require "tide.models.sequential"
local symbolic = require "tide.graph.symbolic"

local args = check.args("clone_model", {
  { "model", "any", check.required, "the model" },
  { "input_tensors", "any", nil, "symbolic tensors in the place of the model's inputs",
    dict = true },
  { "clone_function", "callable", nil, "function(layer): what stands for it in the clone" },
  { "call_function", "callable", nil, "function(layer, ...): calls a layer of the clone; of \z
    functional models" },
  { "recursive", "bool", false, "models inside are cloned layer by layer too" },
})

local function copy_of(layer)
  return getmetatable(layer).from_config(layer:get_config())
end

local clone

-- What gives each layer its one clone, also where several models hold it.
local function cloner(o, cache)
  local make = o.clone_function or copy_of
  return function(layer)
    local there = cache[layer]
    if there then
      return there
    elseif o.recursive and graph.kind(layer) then
      there = clone(layer, { clone_function = o.clone_function, recursive = true,
        call_function = graph.kind(layer) == "functional" and o.call_function or nil }, cache)
    else
      there = make(layer)
      if not base.is_layer(there) then
        errors.raise("clone_model", "clone_function must return a layer (got %s for %s)",
          check.show(there), layer:_label())
      end
    end
    cache[layer] = there
    return there
  end
end

local function check_inputs(model, given, like)
  local want, got = symbolic.flatten(like), symbolic.flatten(given)
  if symbolic.is(like) and check.is_plain(given) and #given == 1 then
    given = given[1]
  end
  if #want ~= #got or symbolic.is(like) ~= symbolic.is(given) then
    errors.raise("clone_model", "input_tensors must have the structure of the inputs of %s \z
      (expected %d symbolic tensor%s, got %s)", model:_label(), #want, #want == 1 and "" or "s",
      symbolic.is(given) and 1 or #got > 0 and #got or check.show(given))
  end
  return given, got
end

local function clone_sequential(model, o, for_layer)
  if o.call_function then
    errors.raise("clone_model", "call_function serves functional models; the layers of a \z
      Sequential are not called one by one")
  end
  local layers, own = {}, model[S]
  local input
  if o.input_tensors ~= nil then
    local flat = symbolic.flatten { o.input_tensors }
    input = flat[1]
    if #flat ~= 1 then
      errors.raise("clone_model", "input_tensors must hold one symbolic tensor (got %s)",
        #flat > 0 and #flat or check.show(o.input_tensors))
    end
  elseif own.declared then
    input = functional.Input { batch_shape = own.input.batch_shape, dtype = own.input.dtype,
      name = own.input.name }
  end
  for i, layer in ipairs(own.list) do
    layers[i] = for_layer(layer)
  end
  if input then
    local node = input._node
    local stands = node and node.layer and #node.inputs == 0
    table.insert(layers, 1, stands and input or functional.Input { batch_shape = input.shape,
      dtype = input.dtype })
  end
  return getmetatable(model) { layers, name = model.name, trainable = own.trainable }
end

local function clone_functional(model, o, for_layer)
  local g = graph.of(model)
  local inputs, flat
  if o.input_tensors ~= nil then
    inputs, flat = check_inputs(model, o.input_tensors, g.input)
  else
    local at = {}
    flat = {}
    for i, x in ipairs(g.inputs) do
      flat[i] = functional.Input { batch_shape = x.shape, dtype = x.dtype, name = x.name }
      at[x] = flat[i]
    end
    inputs = symbolic.map(g.input, function(x) return at[x] end)
  end
  local outputs = rebuild.outputs(g, flat, for_layer, o.call_function)
  local kind = getmetatable(model)
  local out = (kind._of_graph and #kind._of_graph > 0 and functional.Functional or kind) {
    inputs = inputs, outputs = outputs, name = model.name }
  out[S].trainable = model[S].trainable -- the model's own; each layer has its own
  return out
end

function clone(model, o, cache)
  local kind = graph.kind(model)
  local by_hand = o.clone_function or o.input_tensors ~= nil or o.call_function or o.recursive
  local out
  if not kind or not by_hand then
    if not kind and (o.clone_function or o.input_tensors ~= nil or o.call_function) then
      errors.raise("clone_model", "%s serve Sequential and functional models (got a model of the \z
        class %s)", "clone_function, input_tensors and call_function", getmetatable(model).__name)
    end
    out = copy_of(model)
  else
    local for_layer = cloner(o, cache)
    out = (class.is(model, Sequential) and clone_sequential or clone_functional)(model, o,
      for_layer)
  end
  local compiled = rawget(model, "optimizer") and model[S].compile_options
    and model:get_compile_config()
  if compiled then
    out:compile_from_config(compiled)
  end
  return out
end

--- A model of the same architecture with new weights, compiled as the model is.
---
--- `clone_function(layer)` gives the layer that stands for each of a Sequential or functional
--- model: a new one of other options, or the layer itself, which is then shared.
--- `call_function(layer, ...)` calls the layers of a functional model's clone. Keras:
--- models.clone_model.
---
---     tide.models.clone_model(model)(x).shape   --> { 6, 3 }
---     local half = tide.models.clone_model(model, { clone_function = function(layer)
---       return layer:clone { name = layer.name, dtype = "float64" }
---     end })
---     half.layers[1].dtype   --> "float64"
--- @param model table
--- @param o table|nil input_tensors, clone_function, call_function, recursive (false)
--- @return table model
return function(...)
  local o = args:call(...)
  if not base.is_layer(o.model) then
    errors.raise("clone_model", "takes a model (got %s)", check.show(o.model))
  end
  return clone(o.model, o, {})
end

--- Names of the layers of one model, each once.
local S = require "tide.private"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"

local names = {}

-- Gives a layer whose name was automatic the next one that is free.
local function rename(taken, layer)
  local prefix = class.snake(getmetatable(layer).__name)
  local name
  repeat
    name = object.auto_name(prefix)
  until not taken[name]
  layer.name = name
  local input = #(layer[S].nodes or {}) == 1 and layer[S].nodes[1]
  if input and #input.inputs == 0 then -- the tensor that an InputLayer stands for has its name
    rawset(input.outputs[1], "name", name)
  end
end

--- Notes a layer's name in `taken` (name -> layer). Of two equal names the automatic one gives way;
--- two that a person or a file gave raise.
--- @param taken table
--- @param layer table
--- @param owner string who asks, for messages
function names.take(taken, layer, owner)
  local other = taken[layer.name]
  if other and other ~= layer and layer[S].numbered then
    rename(taken, layer)
  elseif other and other ~= layer and other[S].numbered then
    rename(taken, other)
    taken[other.name] = other
  elseif other == layer then
    errors.raise(owner, "the layer '%s' is in it already; a functional model may call one layer \z
      several times", layer.name)
  elseif other then
    errors.raise(owner, "two layers are named '%s'; names must be unique in a model", layer.name)
  end
  taken[layer.name] = layer
end

--- The name, or the first of name_1, name_2, ... that is not in `taken`; notes it there.
---
---     require("tide.graph.names").free({ add = true }, "add")   --> "add_1"
function names.free(taken, name)
  local k, out = 0, name
  while taken[out] do
    k = k + 1
    out = name .. "_" .. k
  end
  taken[out] = true
  return out
end

--- Layers in order, with their names as components of weight paths: what `_parts` of models gives.
function names.parts(layers)
  local out = {}
  for i, layer in ipairs(layers or {}) do
    out[i] = { key = layer.name, layer = layer }
  end
  return out
end

return names

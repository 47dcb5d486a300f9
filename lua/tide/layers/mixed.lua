--- Layers that compute in another dtype than their weights have: Keras' mixed policies.
--
-- Such a layer's `call` gets, in the layer's place, a stand-in that is the layer but for its
-- weights, which come in the dtype of the computation, as Keras' autocast gives them. The casts are
-- recorded, so gradients arrive in the weights' own dtype. Weights that are not trained, or whose
-- add_weight says `autocast = false`, and those in lists, come as they are.
local S = require "tide.private"
local core = require "tide.core"
local ops = require "tide.ops"
local tracking = require "tide.layers.tracking"

local mixed = {}

-- What a weight is in the other dtype. Recorded casts serve the call in which they were made,
-- others until the weight changes.
local function cast(own, weight, dtype)
  local made, call = own.casts[weight], core.call_number()
  local recording = core.grad_mode() and weight.requires_grad
  if made and made.recorded == recording and (not recording or made.call == call and call)
    and made.version == weight:version() then
    return made.tensor
  end
  local y = ops.cast(weight, dtype)
  if not recording then
    core.scope_leave(y) -- later calls use it
  end
  own.casts[weight] = { tensor = y, version = weight:version(true), recorded = recording,
    call = call }
  return y
end

-- The weights that are cast: a set.
local function weights_of(layer, own)
  local found = tracking.of(layer)
  if own.cast_found ~= found or own.cast_count ~= #own.weights then
    own.cast_found, own.cast_count = found, #own.weights
    own.casts, own.cast_set = setmetatable({}, { __mode = "k" }), {}
    for _, r in ipairs(layer:_own_records()) do
      if r.trainable and r.autocast ~= false and r.tensor.dtype:find("float", 1, true) then
        own.cast_set[r.tensor] = true
      end
    end
  end
  return own.cast_set
end

--- What is `layer` to those who read it, but for the fields that `get(key)` gives.
function mixed.in_place_of(layer, get)
  local class = getmetatable(layer)
  return setmetatable({}, setmetatable({
    super = class, __name = class.__name, __call = class.__call, __tostring = class.__tostring,
    __index = function(_, key) return get(key) end,
    __newindex = function(_, key, value) layer[key] = value end,
    __pairs = function() return pairs(layer) end,
  }, { __index = class }))
end

--- What stands for `layer` in its `call`.
function mixed.stand_in(layer)
  local own = layer[S]
  return mixed.in_place_of(layer, function(key)
    local v = layer[key]
    if type(v) == "userdata" and weights_of(layer, own)[v] then
      return cast(own, v, layer.compute_dtype)
    end
    return v
  end)
end

return mixed

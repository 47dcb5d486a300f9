--- Tide: deep learning in Lua. One lazy table: namespaces and daily names load on first access.
local check = require "tide.check"
local errors = require "tide.errors"

local tide = { _VERSION = "Tide 0.1.0", version = "0.1.0" }

-- Namespaces: field -> module.
local namespaces = {}
for name in ([[layers models optimizers losses metrics callbacks initializers regularizers
  constraints activations ops random datasets preprocessing utils saving plot
  image]]):gmatch "%S+" do
  namespaces[name] = "tide." .. name
end
namespaces.class = "tide.class"

-- Daily names: field -> { module, field }.
local daily = {
  none = { "tide.none" },
  Sequential = { "tide.models", "Sequential" },
  Model = { "tide.models", "Model" },
  Input = { "tide.models", "Input" },
  Layer = { "tide.layers", "Layer" },
  load_model = { "tide.saving", "load_model" },
  seed = { "tide.utils", "set_random_seed" },
  set_random_seed = { "tide.utils", "set_random_seed" },
}
for name in ("grad value_and_grad no_grad enable_grad custom_gradient scope"):gmatch "%S+" do
  daily[name] = { "tide.tensor.autograd", name }
end
for name in ("config profile help set_default_device"):gmatch "%S+" do
  daily[name] = { "tide.runtime", name }
end
-- What the C core offers under the same name.
for name in (
  [[tensor zeros ones full is_tensor memory memory_limit set_threads get_threads]]):gmatch "%S+" do
  daily[name] = { "tide.core", name }
end
daily.arange = { "tide.ops", "arange" }

--- All names of this table, sorted; for completion.
function tide.names()
  local out = {}
  for _, t in ipairs { namespaces, daily } do
    for k in pairs(t) do
      out[#out + 1] = k
    end
  end
  table.sort(out)
  return out
end

setmetatable(tide, {
  __name = "tide",
  __names = tide.names,
  __tostring = function()
    return tide._VERSION
  end,
  __index = function(_, key)
    local module = namespaces[key]
    local value
    if module then
      value = require(module)
      if getmetatable(value) == nil then
        require("tide.registry").sealed(module, value)
      end
    else
      local place = daily[key]
      if place then
        value = require(place[1])
        if place[2] then
          value = value[place[2]]
        end
      end
    end
    if value == nil then
      errors.raise("tide", "unknown name '%s'%s", tostring(key),
        check.did_you_mean(key, tide.names()))
    end
    rawset(tide, key, value)
    return value
  end,
})

return tide

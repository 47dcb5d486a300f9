--- Tide: deep learning in Lua. One lazy table: namespaces and daily names load on first access.
local _, file = ...
if _VERSION ~= "Lua 5.4" then
  error("tide: needs Lua 5.4 (got " .. _VERSION .. "); its own program is build/tide", 0)
end

-- The first of Tide's modules comes from this file's folder, whatever stands before it on
-- package.path; the others come from where that one looks.
local folder = type(file) == "string" and file:match "^(.*)init%.lua$"
local env = folder and loadfile and not package.loaded["tide.env"] and loadfile(folder .. "env.lua")
if env then
  package.loaded["tide.env"] = env("tide.env", folder .. "env.lua")
end
require "tide.env"

local namespace = require "tide.namespace"

local tide = { _VERSION = "Tide 0.1.0", version = "0.1.0" }

-- Fields that are modules.
local modules = {}
for name in ([[layers models optimizers losses metrics callbacks initializers regularizers
  constraints activations ops random datasets preprocessing tokenizers utils saving plot
  audio backend config data distribute dtype_policies feature_column image class
  tree]]):gmatch "%S+" do
  modules[name] = { "tide." .. name }
end

-- Daily names: field -> { module, field }.
modules.none = { "tide.none" }
for field, place in pairs {
  Sequential = "tide.models", Model = "tide.models", Input = "tide.models",
  Layer = "tide.layers", load_model = "tide.saving", set_random_seed = "tide.utils",
  arange = "tide.ops",
} do
  modules[field] = place
end
modules.KeyValueCache = "tide.layers.cache"
modules.jacobian = "tide.tensor.derivatives"
modules.hessian = "tide.tensor.derivatives"
modules.save = "tide.saving.tensors"
modules.load = "tide.saving.tensors"
modules.seed = { "tide.utils", "set_random_seed" }
for name in ("grad value_and_grad no_grad enable_grad custom_gradient jvp scope"):gmatch "%S+" do
  modules[name] = "tide.tensor.autograd"
end
for name in ("checkpoint remat RematScope"):gmatch "%S+" do
  modules[name] = "tide.layers.checkpoint"
end
modules.profile = "tide.profiler"
for name in ("deterministic device help set_default_device set_threads"):gmatch "%S+" do
  modules[name] = "tide.runtime"
end
-- What the C core offers under the same name.
for name in (
  [[tensor zeros ones full is_tensor memory memory_limit get_threads]]):gmatch "%S+" do
  modules[name] = "tide.core"
end

--- All names of this table, sorted; for completion.
function tide.names()
  return namespace.names(tide)
end

-- Functions of tensors stand on tide.ops, but for those used daily.
local function elsewhere(name)
  return type(name) == "string" and namespace.has(tide.ops, name) and "; it is tide.ops." .. name
    or nil
end

return namespace.new("tide", tide, { members = {}, modules = modules, elsewhere = elsewhere,
  __tostring = function()
    return tide._VERSION
  end })

--- Callbacks under Keras' names.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"
local registry = require "tide.registry"

local modules = {
  Callback = "tide.callbacks.base", CallbackList = "tide.callbacks.base",
  ProgbarLogger = "tide.callbacks.progbar_logger",
  BackupAndRestore = "tide.callbacks.backup", CheckpointManager = "tide.callbacks.manager",
  SwapEMAWeights = "tide.callbacks.averages",
  StochasticWeightAveraging = "tide.callbacks.averages",
  NaNGuard = "tide.callbacks.nan_guard", TensorBoard = "tide.callbacks.tensorboard",
  PlotHistory = "tide.callbacks.reports", ProgressFile = "tide.callbacks.reports",
  RemoteMonitor = "tide.callbacks.remote_monitor",
}
for _, name in ipairs { "EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau",
  "LearningRateScheduler", "History", "LambdaCallback", "TerminateOnNaN", "CSVLogger" } do
  modules[name] = "tide.callbacks.classes"
end

local ns

--- A callback from an object, a class, a name, `{ "name", option = ... }`, a table of hooks, or a
--- function of (epoch, logs) called at the end of each epoch.
--- @param v any
--- @return table callback
local function get(v)
  if type(v) == "function" then
    return ns.LambdaCallback { on_epoch_end = v }
  elseif check.is_plain(v) and v[1] == nil and v.class_name == nil then
    return ns.LambdaCallback(v)
  end
  local found = registry.resolve("callback", v, "callback")
  if class.is_class(found) or type(found) ~= "table" or not found.set_model then
    errors.raise("callback", "takes a callback (got %s)", check.show(v))
  end
  return found
end

ns = object.namespace("tide.callbacks", "callback", { modules = modules, get = get,
  aliases = { OrbaxCheckpoint = "CheckpointManager" },
  bases = { Callback = true, CallbackList = true } })
return ns

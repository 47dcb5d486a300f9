--- Callbacks under Keras' names.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local registry = require "tide.registry"

local base = require "tide.callbacks.base"

local modules, names = { Callback = "tide.callbacks.base", CallbackList = "tide.callbacks.base" },
  {}
for _, name in ipairs { "EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau",
  "LearningRateScheduler", "History", "LambdaCallback",
  "TerminateOnNaN", "CSVLogger" } do
  modules[name] = "tide.callbacks.classes"
  names[#names + 1] = name
end
modules.ProgbarLogger = "tide.callbacks.progbar_logger"
names[#names + 1] = "ProgbarLogger"
table.sort(names)

local ns = registry.namespace("tide.callbacks", "callback", modules)

--- Names of the classes, sorted.
rawset(ns, "class_names", names)

--- A callback from an object, a class, a name, `{ "name", option = ... }`, a table of hooks, or a
--- function of (epoch, logs) called at the end of each epoch.
--- @param v any
--- @return table callback
rawset(ns, "get", function(v)
  if type(v) == "function" then
    return ns.LambdaCallback { on_epoch_end = v }
  elseif check.is_plain(v) and v[1] == nil and v.class_name == nil then
    return ns.LambdaCallback(v)
  end
  local found = registry.resolve("callback", v, "callback")
  if class.is_class(found) or type(found) ~= "table" or not found.set_model then
    errors.raise("callback", "expected a callback, got %s", check.show(v))
  end
  return found
end)

rawset(ns, "CallbackList", base.CallbackList)
return ns

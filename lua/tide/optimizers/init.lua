--- Optimizers under Keras' names; strings are the lower-cased class names.
---
--- Example:
---   local adam = tide.optimizers.Adam { learning_rate = 1e-3, clipnorm = 1 }
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local registry = require "tide.registry"

local base = require "tide.optimizers.base"
local classes = require "tide.optimizers.classes"

local modules, aliases, names = { Optimizer = "tide.optimizers",
  schedules = "tide.optimizers.schedules" }, {}, {}
for name in pairs(classes) do
  modules[name] = "tide.optimizers"
  aliases[name:lower()] = name
  names[#names + 1] = name
end
table.sort(names)

local ns = registry.namespace(
  "tide.optimizers", "optimizer", modules, aliases, { schedules = true })
rawset(ns, "Optimizer", base.Optimizer)
for name, c in pairs(classes) do
  rawset(ns, name, c)
end
--- Names of the classes, sorted.
rawset(ns, "class_names", names)

--- An optimizer from a name, `{ "name", option = ... }`, an object, a class or a configuration.
--- @param v any
--- @return table optimizer
rawset(ns, "get", function(v)
  local found = registry.resolve("optimizer", v, "optimizer")
  if class.is_class(found) or type(found) ~= "table" or found.kind ~= "optimizer" then
    errors.raise("optimizer", "expected an optimizer, got %s", check.show(v))
  end
  return found
end)

return ns

--- Optimizers under Keras' names; strings are the lower-cased class names.
---
---      local adam = tide.optimizers.Adam { learning_rate = 1e-3, clipnorm = 1 }
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"
local registry = require "tide.registry"

local base = require "tide.optimizers.base"
local classes = require "tide.optimizers.classes"
local groups = require "tide.optimizers.groups"
local lbfgs = require "tide.optimizers.lbfgs"
local rules = require "tide.optimizers.rules"
local wrappers = require "tide.optimizers.wrappers"

--- An optimizer from a name, `{ "name", option = ... }`, an object, a class or a configuration.
--- @param v any
--- @return table optimizer
local function get(v)
  local found = registry.resolve("optimizer", v, "optimizer")
  if class.is_class(found) or type(found) ~= "table" or found.kind ~= "optimizer"
    or not found._apply then
    errors.raise("optimizer", "takes an optimizer (got %s)", check.show(v))
  end
  return found
end

local members, aliases = { Optimizer = base.Optimizer, layerwise_groups = groups.layerwise }, {}
for _, family in ipairs { classes, rules, wrappers, lbfgs } do
  for name, c in pairs(family) do
    members[name], aliases[name:lower()] = c, name
  end
end

return object.namespace("tide.optimizers", "optimizer", { members = members, aliases = aliases,
  get = get, bases = { Optimizer = true, schedules = true, OptimizerMap = true,
    LossScaleOptimizer = true, MultiOptimizer = true, Lookahead = true, LBFGS = true },
  modules = { schedules = { "tide.optimizers.schedules" } } })

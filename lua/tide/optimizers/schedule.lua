--- The base of learning rate schedules, and how their classes are made.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"
local registry = require "tide.registry"
local tensors = require "tide.training.tensors"

local schedule = { classes = {} }
local classes = schedule.classes

--- The base class of schedules. Own ones define `call(self, step)`.
---
---     local Falling = tide.optimizers.schedules.LearningRateSchedule:extend("Falling", {
---       call = function(self, step) return 1 / (step + 1) end })
---     Falling()(1)   --> 0.5
local Schedule = object.class("LearningRateSchedule", nil, { kind = "schedule",
  methods = { __call = { { "step", "data", check.required, "steps done" } } } })
Schedule.__eq = object.equal
classes.LearningRateSchedule = Schedule

--- The rate after `step` steps.
--- @param step number
--- @return number
function Schedule:__call(step)
  return tensors.number(self:call(tensors.number(step)))
end

--- Makes a class; `name` comes last of its options, or at `rows.name_at`.
function schedule.define(name, rows, default_name, call, init)
  table.insert(rows, rows.name_at or #rows + 1,
    { "name", "string", default_name, "shown in messages" })
  local c = object.class(name, Schedule, { rows = rows, init = init })
  c.call = call
  classes[name] = c
end

--- A schedule from a configuration, `{ "name", option = ... }`, an object or a function.
function schedule.get(v)
  if type(v) == "function" then
    return v
  end
  local found = registry.resolve("schedule", v, "schedule")
  if class.is_class(found) or type(found) ~= "table" or found.kind ~= "schedule" then
    errors.raise("schedule", "takes a learning rate schedule (got %s)", check.show(v))
  end
  return found
end

return schedule

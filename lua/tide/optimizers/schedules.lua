--- Learning rate schedules: objects called with the number of steps done that return the rate, a
--- Lua number. Keras' keras/src/optimizers/schedules; those beside them stand in pieces.lua.
---
---      local schedules = tide.optimizers.schedules
---      local rate = schedules.ExponentialDecay { 0.1, decay_steps = 100, decay_rate = 0.9 }
---      print(rate(100)) --> 0.09
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"
local schedule = require "tide.optimizers.schedule"

local define = schedule.define

local RATE = { "initial_learning_rate", "number", check.required, "rate at step 0" }
local STEPS = { "decay_steps", "number", check.required, "steps of the decay", above = 0 }
local DECAY_RATE = { "decay_rate", "number", check.required, "factor" }
local STAIRCASE = { "staircase", "bool", false, "only at whole multiples of decay_steps" }

local function progress(self, step)
  local p = step / self.decay_steps
  return self.staircase and math.floor(p) or p
end

--     tide.optimizers.schedules.ExponentialDecay { 0.1, 1000, 0.5 }(1000)   --> 0.05
define("ExponentialDecay", { RATE, STEPS, DECAY_RATE, STAIRCASE }, "ExponentialDecay",
  function(self, step)
  return self.initial_learning_rate * self.decay_rate ^ progress(self, step)
end)

--     tide.optimizers.schedules.InverseTimeDecay { 0.1, 1000, 1 }(1000)   --> 0.05
define("InverseTimeDecay", { RATE, STEPS, DECAY_RATE, STAIRCASE }, "InverseTimeDecay",
  function(self, step)
  return self.initial_learning_rate / (1 + self.decay_rate * progress(self, step))
end)

--     tide.optimizers.schedules.PiecewiseConstantDecay { { 100, 200 }, { 1, 0.5, 0.1 } }(150)
--     --> 0.5
define("PiecewiseConstantDecay", {
  { "boundaries", "list", check.required, "steps at which the rate changes, ascending" },
  { "values", "list", check.required, "rates, one more than boundaries" },
}, "PiecewiseConstant", function(self, step)
  for i, boundary in ipairs(self.boundaries) do
    if step <= boundary then
      return self.values[i]
    end
  end
  return self.values[#self.values]
end, function(self)
  if #self.values ~= #self.boundaries + 1 then
    errors.raise("PiecewiseConstantDecay",
      "values must have one entry more than boundaries (got %d and %d)", #self.values,
        #self.boundaries)
  end
  for _, group in ipairs { self.boundaries, self.values } do
    for i, v in ipairs(group) do
      if type(v) ~= "number" then
        errors.raise("PiecewiseConstantDecay", "boundaries and values must be numbers (got %s)",
          check.show(v))
      elseif group == self.boundaries and i > 1 and v <= group[i - 1] then
        errors.raise("PiecewiseConstantDecay", "boundaries must ascend (%s follows %s)", v,
          group[i - 1])
      end
    end
  end
end)

--     tide.optimizers.schedules.PolynomialDecay { 0.1, 1000, 0.01 }(500)   --> 0.055
define("PolynomialDecay", {
  RATE, STEPS,
  { "end_learning_rate", "number", 0.0001, "rate at the end" },
  { "power", "number", 1.0, "power of the polynomial" },
  { "cycle", "bool", false, "begin again after decay_steps" },
}, "PolynomialDecay", function(self, step)
  local steps = self.decay_steps
  if self.cycle then
    steps = steps * (step == 0 and 1 or math.ceil(step / steps))
  else
    step = math.min(step, steps)
  end
  local span = self.initial_learning_rate - self.end_learning_rate
  return span * (1 - step / steps) ^ self.power + self.end_learning_rate
end)

--- Half a cosine (Loshchilov and Hutter 2017), after a linear warm-up.
--     tide.optimizers.schedules.CosineDecay { 0.1, 1000 }(500)   --> 0.05
define("CosineDecay", {
  name_at = 4,
  RATE, STEPS,
  { "alpha", "number", 0.0, "share of the rate that remains" },
  { "warmup_target", "number", nil, "rate at the end of the warm-up" },
  { "warmup_steps", "number", 0, "steps of the warm-up", min = 0 },
}, "CosineDecay", function(self, step)
  local from = self.initial_learning_rate
  if self.warmup_target then
    step = math.min(step, self.decay_steps + self.warmup_steps)
    if step < self.warmup_steps then
      return (self.warmup_target - from) * step / self.warmup_steps + from
    end
    step, from = step - self.warmup_steps, self.warmup_target
  else
    step = math.min(step, self.decay_steps)
  end
  local cosine = 0.5 * (1 + math.cos(math.pi * step / self.decay_steps))
  return from * ((1 - self.alpha) * cosine + self.alpha)
end)

--- Cosines that begin again, each t_mul times as long and m_mul times as high (Loshchilov and
--- Hutter 2017).
--     tide.optimizers.schedules.CosineDecayRestarts { 0.1, 1000 }(500)   --> 0.05
define("CosineDecayRestarts", {
  RATE,
  { "first_decay_steps", "number", check.required, "steps of the first period", above = 0 },
  { "t_mul", "number", 2.0, "growth of the periods", above = 0 },
  { "m_mul", "number", 1.0, "factor of the rate at each restart" },
  { "alpha", "number", 0.0, "share of the rate that remains" },
}, "SGDRDecay", function(self, step)
  local done = step / self.first_decay_steps
  local restart
  if self.t_mul == 1 then
    restart = math.floor(done)
    done = done - restart
  else
    restart = math.floor(math.log(1 - done * (1 - self.t_mul)) / math.log(self.t_mul) + 1e-12)
    done = (done - (1 - self.t_mul ^ restart) / (1 - self.t_mul)) / self.t_mul ^ restart
  end
  local cosine = 0.5 * self.m_mul ^ restart * (1 + math.cos(math.pi * done))
  return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)
end)

require "tide.optimizers.pieces"

return object.namespace("tide.optimizers.schedules", "schedule", { members = schedule.classes,
  get = schedule.get,
  bases = { LearningRateSchedule = true } })

--- Schedules made of others, and those that PyTorch's users know: warm-up, one cycle, cycles,
--- ramps, steps, sequences and products. Each is called with the number of steps done.
local check = require "tide.check"
local errors = require "tide.errors"
local schedule = require "tide.optimizers.schedule"

local define = schedule.define

local RATE = { "initial_learning_rate", "number", check.required, "rate that is multiplied",
  min = 0 }

-- A schedule from what a person or a file gives, a number standing for itself.
local function inner(owner, v)
  if type(v) == "number" then
    if not (v >= 0 and v < math.huge) then
      errors.raise(owner, "a rate must be a finite number from 0 (got %s)", check.show(v))
    end
    return v
  end
  return schedule.get(v)
end

local function rate_at(v, step)
  return type(v) == "number" and v or v(step)
end

local function ascending(owner, what, values, least)
  for i, v in ipairs(values) do
    if math.type(v) ~= "integer" or v < least then
      errors.raise(owner, "%s must be integers from %d (got %s)", what, least, check.show(v))
    elseif i > 1 and v <= values[i - 1] then
      errors.raise(owner, "%s must ascend (%s follows %s)", what, v, values[i - 1])
    end
  end
end

-- Half a cosine, or a line, from `a` to `b`.
local function between(anneal, a, b, share)
  if anneal == "cos" then
    return b + (a - b) / 2 * (1 + math.cos(math.pi * share))
  end
  return a + (b - a) * share
end

--- A line from `start` to the first rate of any schedule (or to a number), which then begins.
--     tide.optimizers.schedules.Warmup { 0.1, 100 }(50)   --> 0.05
define("Warmup", {
  { "after", "any", check.required, "schedule or number that follows" },
  { "warmup_steps", "int", check.required, "steps of the rise", min = 1 },
  { "start", "number", 0.0, "rate at step 0", min = 0 },
}, "Warmup", function(self, step)
  if step >= self.warmup_steps then
    return rate_at(self.after, step - self.warmup_steps)
  end
  return self.start + (rate_at(self.after, 0) - self.start) * step / self.warmup_steps
end, function(self)
  self.after = inner("Warmup", self.after)
end)

--- Up to the greatest rate and down again, once (Smith and Topin 2018), as PyTorch's OneCycleLR.
--     tide.optimizers.schedules.OneCycle { 1, 100 }(0)   --> 0.04
define("OneCycle", {
  { "max_learning_rate", "number", check.required, "the greatest rate", min = 0 },
  { "total_steps", "int", check.required, "steps of the whole cycle", min = 2 },
  { "pct_start", "number", 0.3, "share of the steps that rise", min = 0, max = 1 },
  { "anneal_strategy", "string", "cos", "shape of the parts", enum = { "cos", "linear" } },
  { "div_factor", "number", 25.0, "the greatest rate over the first", above = 0 },
  { "final_div_factor", "number", 1e4, "the first rate over the last", above = 0 },
  { "three_phase", "bool", false, "down as long as up, then to the last rate" },
}, "OneCycle", function(self, step)
  local top, last = self.max_learning_rate, self.total_steps - 1
  local first = top / self.div_factor
  local least = first / self.final_div_factor
  step = math.min(step, last)
  local rise = self.pct_start * self.total_steps
  local phases = self.three_phase
    and { { rise - 1, first, top }, { 2 * rise - 2, top, first }, { last, first, least } }
    or { { rise - 1, first, top }, { last, top, least } }
  local from = 0
  for i, phase in ipairs(phases) do
    if step <= phase[1] or i == #phases then
      return between(self.anneal_strategy, phase[2], phase[3],
        phase[1] == from and 1 or (step - from) / (phase[1] - from))
    end
    from = phase[1]
  end
end)

--- Between two rates, again and again (Smith 2017), as PyTorch's CyclicLR.
--     tide.optimizers.schedules.Cyclic { 0, 1, 10 }(5)   --> 0.5
define("Cyclic", {
  { "base_learning_rate", "number", check.required, "the smallest rate", min = 0 },
  { "max_learning_rate", "number", check.required, "the greatest rate", min = 0 },
  { "step_size_up", "int", 2000, "steps of the rise", min = 1 },
  { "step_size_down", "int", nil, "steps of the fall (as many)", min = 1 },
  { "mode", "string", "triangular", "how the height changes",
    enum = { "triangular", "triangular2", "exp_range" } },
  { "gamma", "number", 1.0, "factor of the height per step, of exp_range", above = 0 },
}, "Cyclic", function(self, step)
  local up = self.step_size_up
  local total = up + (self.step_size_down or up)
  local cycle = math.floor(step / total)
  local place, share = step / total - cycle, up / total
  local height = place <= share and place / share or (place - 1) / (share - 1)
  local scale = self.mode == "triangular2" and 0.5 ^ cycle
    or self.mode == "exp_range" and self.gamma ^ step or 1
  return self.base_learning_rate
    + (self.max_learning_rate - self.base_learning_rate) * height * scale
end)

--- A line from one share of the rate to another, as PyTorch's LinearLR.
--     tide.optimizers.schedules.LinearRamp { 1, 10, 0.5 }(5)   --> 0.75
define("LinearRamp", {
  RATE,
  { "total_steps", "int", 5, "steps of the line", min = 1 },
  { "start_factor", "number", 1 / 3, "share at step 0", min = 0 },
  { "end_factor", "number", 1.0, "share at the end", min = 0 },
}, "LinearRamp", function(self, step)
  return self.initial_learning_rate * between("linear", self.start_factor, self.end_factor,
    math.min(step, self.total_steps) / self.total_steps)
end)

--- A share of the rate for some steps, then the rate, as PyTorch's ConstantLR.
--     tide.optimizers.schedules.ConstantStart { 1, 10, 0.5 }(9)   --> 0.5
define("ConstantStart", {
  RATE,
  { "total_steps", "int", 5, "steps with the share", min = 0 },
  { "factor", "number", 1 / 3, "the share", min = 0 },
}, "ConstantStart", function(self, step)
  return self.initial_learning_rate * (step < self.total_steps and self.factor or 1)
end)

--- The rate times `gamma` after every `step_size` steps, as PyTorch's StepLR.
--     tide.optimizers.schedules.StepDecay { 1, 10, 0.5 }(20)   --> 0.25
define("StepDecay", {
  RATE,
  { "step_size", "int", check.required, "steps of one rate", min = 1 },
  { "gamma", "number", 0.1, "factor of each fall", min = 0 },
}, "StepDecay", function(self, step)
  return self.initial_learning_rate * self.gamma ^ (step // self.step_size)
end)

--- The rate times `gamma` at each milestone, as PyTorch's MultiStepLR.
--     tide.optimizers.schedules.MultiStepDecay { 1, { 10, 30 }, 0.5 }(10)   --> 0.5
define("MultiStepDecay", {
  RATE,
  { "milestones", "list", check.required, "steps from which the rate is lower, ascending" },
  { "gamma", "number", 0.1, "factor of each fall", min = 0 },
}, "MultiStepDecay", function(self, step)
  local n = 0
  for _, m in ipairs(self.milestones) do
    n = n + (step >= m and 1 or 0)
  end
  return self.initial_learning_rate * self.gamma ^ n
end, function(self)
  ascending("MultiStepDecay", "milestones", self.milestones, 1)
end)

local function all(owner, given)
  if #given == 0 then
    errors.raise(owner, "schedules must hold at least one schedule (got none)")
  end
  local out = {}
  for i, v in ipairs(given) do
    out[i] = inner(owner, v)
  end
  return out
end

--- One schedule after the other, each beginning at its milestone with step 0, as PyTorch's
--- SequentialLR.
--     tide.optimizers.schedules.Sequential { { 0.1, 0.2 }, { 10 } }(10)   --> 0.2
define("Sequential", {
  { "schedules", "list", check.required, "schedules or numbers, in order" },
  { "milestones", "list", check.required, "first steps of the second schedule and on" },
}, "Sequential", function(self, step)
  local k = 1
  while self.milestones[k] and step >= self.milestones[k] do
    k = k + 1
  end
  return rate_at(self.schedules[k], step - (self.milestones[k - 1] or 0))
end, function(self)
  self.schedules = all("Sequential", self.schedules)
  ascending("Sequential", "milestones", self.milestones, 1)
  if #self.milestones ~= #self.schedules - 1 then
    errors.raise("Sequential", "milestones must be one fewer than schedules (expected %d, got %d)",
      #self.schedules - 1, #self.milestones)
  end
end)

--- The product of schedules: the first gives the rate, the others, made with a rate of 1, are
--- factors. As PyTorch's ChainedScheduler.
--     tide.optimizers.schedules.Chained { { { "StepDecay", 0.1, 10, 0.5 }, 0.5 } }(0)   --> 0.05
define("Chained", {
  { "schedules", "list", check.required, "schedules or numbers" },
}, "Chained", function(self, step)
  local out = 1
  for _, s in ipairs(self.schedules) do
    out = out * rate_at(s, step)
  end
  return out
end, function(self)
  self.schedules = all("Chained", self.schedules)
end)

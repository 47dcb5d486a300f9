--- Optimizers whose steps are composed of ops, parameter by parameter. Formulas and defaults of
--- Adafactor, Lamb, Muon and ScheduleFreeAdamW are Keras', those of RAdam and Rprop PyTorch's; the
--- others follow their papers.
local base = require "tide.optimizers.base"
local object = require "tide.object"
local ops = require "tide.ops"
local patterns = require "tide.patterns"
local tensors = require "tide.training.tensors"

local Optimizer = base.Optimizer
local rules = {}

local add, sub, mul, div = ops.add, ops.subtract, ops.multiply, ops.divide

local RATE = { "learning_rate", "any", 0.001, "step size: a number, a schedule or a function" }
local BETA_1 = { "beta_1", "number", 0.9, "decay of the mean gradient", min = 0, below = 1 }
local BETA_2 = { "beta_2", "number", 0.999, "decay of the mean square", min = 0, below = 1 }
local function epsilon(value)
  return { "epsilon", "number", value, "keeps the division finite", min = 0 }
end

local function define(name, own, slots, step, init)
  local c = object.class(name, Optimizer, { rows = base.rows(own), init = init })
  c.slot_names = slots
  c._call = Optimizer._call
  c.update_step = step
  rules[name] = c
  return c
end

-- A running mean of `value` with the share `beta` that stays, in place.
local function blend(mean, value, beta)
  mean:assign(add(mean, mul(sub(value, mean), 1 - beta)))
  return mean
end

local function norm(x)
  return math.sqrt(tensors.number(ops.sum(ops.square(x))))
end

local function rms(x)
  return math.sqrt(tensors.number(ops.mean(ops.square(x))))
end

local function zeros(shape, v)
  return ops.zeros(shape, { dtype = v.dtype, device = v.device })
end

--- Adafactor (Shazeer and Stern 2018): the mean squares of matrices are kept by row and column.
---     tide.optimizers.Adafactor { 0.01 }.learning_rate   --> 0.01
local Adafactor = define("Adafactor", {
  RATE,
  { "beta_2_decay", "number", -0.8, "power of the step in the decay of the mean square" },
  { "epsilon_1", "number", 1e-30, "added to squared gradients", min = 0 },
  { "epsilon_2", "number", 1e-3, "least root mean square of a parameter", min = 0 },
  { "clip_threshold", "number", 1.0, "greatest root mean square of a step", above = 0 },
  { "relative_step", "bool", true, "a rate that is a number falls with 1 / sqrt(step)" },
}, {}, function(self, g, v, rate, slots)
  local t = self:_number() + 1
  -- with a schedule, too, the rate is limited so: Keras' rho
  local alpha = math.max(self.epsilon_2, rms(v)) * math.min(rate, 1 / math.sqrt(t))
  local beta = 1 - t ^ self.beta_2_decay
  local square = add(ops.square(g), self.epsilon_1)
  local mean = slots.velocity
  if v.ndim >= 2 then
    local r = blend(slots.r, ops.mean(square, { axis = -1 }), beta)
    local c = blend(slots.c, ops.mean(square, { axis = -2 }), beta)
    local share = div(r, ops.mean(r, { axis = -1, keepdims = true }))
    mean:assign(mul(ops.expand_dims(share, { axis = -1 }), ops.expand_dims(c, { axis = -2 })))
  else
    blend(mean, square, beta)
  end
  local u = div(g, ops.sqrt(mean))
  v:assign(sub(v, mul(u, alpha / math.max(1, rms(u) / self.clip_threshold))))
end)
function Adafactor._slot_list()
  local function without(back)
    return function(v)
      local shape = v.shape:totable()
      if #shape < 2 then -- not used; Keras' files hold such a number
        return ops.zeros({}, { dtype = "int32" })
      end
      table.remove(shape, #shape - back)
      return zeros(shape, v)
    end
  end
  return { { "r", without(0) }, { "c", without(1) }, { "velocity", 0 } }
end

-- Adam's means, brought to what they would be without their beginning at zero; the second's root.
local function unbiased(self, m, v)
  local t = self:_number() + 1
  return div(m, 1 - self.beta_1 ^ t),
    add(ops.sqrt(div(v, 1 - self.beta_2 ^ t)), self.epsilon)
end

--- Lamb (You et al. 2020): Adam's step, as long as the parameter by its norm.
---     tide.optimizers.Lamb { 0.01 }.learning_rate   --> 0.01
define("Lamb", { RATE, BETA_1, BETA_2, epsilon(1e-7) }, { "momentum", "velocity" },
  function(self, g, v, rate, slots)
  local m, root = unbiased(self, blend(slots.momentum, g, self.beta_1),
    blend(slots.velocity, ops.square(g), self.beta_2))
  local update = div(m, root)
  local w, u = norm(v), norm(update)
  v:assign(sub(v, mul(update, rate * (w > 0 and u > 0 and w / u or 1))))
end)

--- Muon (Jordan et al. 2024): the momentum of matrices is made orthogonal; all other parameters,
--- embeddings and the layers that `exclude_layers` names (regular expressions, those with a `%` Lua
--- patterns, that fit a part of the path) are stepped by AdamW.
---     tide.optimizers.Muon { 0.02, exclude_layers = { "^output/" } }.momentum   --> 0.95
local Muon = define("Muon", {
  RATE,
  { "adam_beta_1", "number", 0.9, "AdamW's decay of the mean gradient", min = 0, below = 1 },
  { "adam_beta_2", "number", 0.999, "AdamW's decay of the mean square", min = 0, below = 1 },
  { "adam_weight_decay", "number", 0.004, "decay of what AdamW steps", min = 0, none = true },
  epsilon(1e-7),
  { "weight_decay", "number", 0.004, "decay of what Muon steps", min = 0, none = true },
  { "clipnorm", "number", nil, "limit of the norm of each gradient", above = 0 },
  { "clipvalue", "number", nil, "limit of each element of the gradients", above = 0 },
  { "global_clipnorm", "number", nil, "limit of the norm over all gradients", above = 0 },
  { "use_ema", "bool", false, "keep a moving average of the weights" },
  { "ema_momentum", "number", 0.99, "share of the average that stays", min = 0, max = 1 },
  { "ema_overwrite_frequency", "int", nil, "steps after which the weights become their average",
    min = 1 },
  { "loss_scale_factor", "number", nil, "the loss is multiplied by it, the gradients divided",
    above = 0 },
  { "gradient_accumulation_steps", "int", nil, "batches whose gradients are averaged into one step",
    min = 2 },
  { "name", "string", nil, "shown in messages" },
  { "exclude_layers", "list", nil, "patterns of the paths that AdamW steps" },
  { "exclude_embeddings", "bool", true, "AdamW steps embeddings" },
  { "muon_a", "number", 3.4445, "factor of the matrix in the iteration" },
  { "muon_b", "number", -4.7750, "factor of its third power" },
  { "muon_c", "number", 2.0315, "factor of its fifth power" },
  { "adam_lr_ratio", "number", 1, "AdamW's rate, as a multiple" },
  { "momentum", "number", 0.95, "share of the momentum that stays", min = 0, max = 1 },
  { "ns_steps", "int", 5, "iterations (Newton and Schulz)", min = 0 },
  { "nesterov", "bool", true, "look ahead" },
  { "rms_rate", "number", 0.2, "root mean square of a step over the rate; false: as it comes",
    none = true },
}, {}, function(self, g, v, rate, slots)
  local m = slots.momentum
  if slots.velocity then
    local t = self:_number() + 1
    blend(m, g, self.adam_beta_1)
    blend(slots.velocity, ops.square(g), self.adam_beta_2)
    local alpha = rate * self.adam_lr_ratio * math.sqrt(1 - self.adam_beta_2 ^ t)
      / (1 - self.adam_beta_1 ^ t)
    v:assign(sub(v, div(mul(m, alpha), add(ops.sqrt(slots.velocity), self.epsilon))))
    return
  end
  m:assign(add(g, mul(m, self.momentum)))
  local x = self.nesterov and add(g, mul(m, self.momentum)) or m
  local rows, columns = v.shape[1], v.shape[2]
  if rows > columns then
    x = ops.transpose(x)
  end
  x = mul(x, 1 / (norm(x) + 1e-7))
  for _ = 1, self.ns_steps do
    local a = ops.matmul(x, ops.transpose(x))
    local b = add(mul(a, self.muon_b), mul(ops.matmul(a, a), self.muon_c))
    x = add(mul(x, self.muon_a), ops.matmul(b, x))
  end
  if rows > columns then
    x = ops.transpose(x)
  end
  if self.rms_rate then
    rate = rate * math.sqrt(math.max(rows, columns)) * self.rms_rate
  end
  v:assign(sub(v, mul(x, rate)))
end, function(self)
  self._exclusions, self._by_adam = {}, {}
  for i, pattern in ipairs(self.exclude_layers or {}) do
    self._exclusions[i] = patterns.compile("Muon", pattern)
  end
end)

local function goes_to_adam(self, i)
  local path = self:_path(i)
  if self._params[i].ndim ~= 2 or self.exclude_embeddings and path:lower():find "embedding" then
    return true
  end
  for _, fits in ipairs(self._exclusions) do
    if fits(path) then
      return true
    end
  end
  return false
end

-- Whether AdamW steps the parameter of this number.
local function by_adam(self, i)
  local known = self._by_adam[i]
  if known == nil then
    known = goes_to_adam(self, i)
    self._by_adam[i] = known
  end
  return known
end
function Muon:_slot_list()
  return { { "momentum", 0 }, { "velocity", function(v, i)
    return by_adam(self, i) and zeros(v.shape, v)
  end } }
end
function Muon:_decay_of(place, decay)
  local part = self._part
  if not by_adam(self, place) then
    return decay
  elseif part and part.excluded then
    return nil
  end
  return part and part.group.weight_decay or self.adam_weight_decay
end

--- AdamW without a schedule (Defazio et al. 2024): the parameters stand between the sequence that
--- is stepped and its mean.
---     tide.optimizers.ScheduleFreeAdamW().learning_rate   --> 0.0025
local ScheduleFree = define("ScheduleFreeAdamW", {
  { "learning_rate", "any", 0.0025, "step size: a number, a schedule or a function" },
  { "beta_1", "number", 0.9, "share of the mean in the parameters", above = 0, below = 1 },
  BETA_2, epsilon(1e-8),
  { "warmup_steps", "int", 0, "steps over which the rate rises", min = 0 },
}, {}, function(self, g, v, rate, slots)
  local t, beta = self:_number() + 1, self.beta_1
  if self.warmup_steps > 0 then
    rate = rate * math.min(t / self.warmup_steps, 1)
  end
  local z, square = slots.momentum, blend(slots.velocity, ops.square(g), self.beta_2)
  local mean = div(sub(v, mul(z, 1 - beta)), beta)
  local root = add(ops.sqrt(div(square, 1 - self.beta_2 ^ t)), self.epsilon)
  z:assign(sub(z, div(mul(g, rate), root)))
  mean = add(mul(mean, 1 - 1 / t), mul(z, 1 / t))
  v:assign(add(mul(z, 1 - beta), mul(mean, beta)))
end)
function ScheduleFree._slot_list()
  return { { "momentum", function(v) return ops.copy(v:detach()) end }, { "velocity", 0 } }
end

--- Adam whose rate is rectified while the mean square is uncertain (Liu et al. 2020).
---     tide.optimizers.RAdam { 0.01 }.learning_rate   --> 0.01
define("RAdam", { RATE, BETA_1, BETA_2, epsilon(1e-8) }, { "momentum", "velocity" },
  function(self, g, v, rate, slots)
  local t, b2 = self:_number() + 1, self.beta_2
  local m = blend(slots.momentum, g, self.beta_1)
  local square = blend(slots.velocity, ops.square(g), b2)
  local fixed = 1 - b2 ^ t
  local most = 2 / (1 - b2) - 1
  local rho = most - 2 * t * b2 ^ t / fixed
  local step = rate / (1 - self.beta_1 ^ t)
  if rho <= 5 then
    v:assign(sub(v, mul(m, step)))
    return
  end
  local sure = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
  v:assign(sub(v, div(mul(m, step * sure * math.sqrt(fixed)),
    add(ops.sqrt(square), self.epsilon))))
end)

--- Steps by signs alone, each element with its own size (Riedmiller and Braun 1993); for whole data
--- sets, not for batches. The learning rate is the size of the first step.
---     tide.optimizers.Rprop().learning_rate   --> 0.01
local Rprop = define("Rprop", {
  { "learning_rate", "any", 0.01, "size of the first step" },
  { "eta_minus", "number", 0.5, "factor where the sign changed", above = 0, below = 1 },
  { "eta_plus", "number", 1.2, "factor where it did not", above = 1 },
  { "min_step", "number", 1e-6, "smallest step", min = 0 },
  { "max_step", "number", 50.0, "greatest step", above = 0 },
}, {}, function(self, g, v, _, slots)
  local turn = ops.sign(mul(g, slots.previous))
  local factor = ops.where(ops.greater(turn, 0), self.eta_plus,
    ops.where(ops.less(turn, 0), self.eta_minus, 1))
  local size = slots.step_size
  size:assign(ops.clip(mul(size, ops.cast(factor, v.dtype)), self.min_step, self.max_step))
  g = ops.where(ops.less(turn, 0), ops.zeros_like(g), g)
  v:assign(sub(v, mul(ops.sign(g), size)))
  slots.previous:assign(g)
end)
function Rprop:_slot_list()
  return { { "previous", 0 }, { "step_size", self:_current_rate() } }
end

--- Adam whose mean square moves by steps as large as the squared gradient (Zaheer et al. 2018).
---     tide.optimizers.Yogi().epsilon   --> 0.001
local Yogi = define("Yogi", {
  { "learning_rate", "any", 0.01, "step size: a number, a schedule or a function" },
  BETA_1, BETA_2, epsilon(1e-3),
  { "initial_accumulator_value", "number", 1e-6, "where both means begin", min = 0 },
}, {}, function(self, g, v, rate, slots)
  local square = ops.square(g)
  local mean = slots.velocity
  mean:assign(sub(mean, mul(mul(ops.sign(sub(mean, square)), square), 1 - self.beta_2)))
  local m, root = unbiased(self, blend(slots.momentum, g, self.beta_1), mean)
  v:assign(sub(v, mul(div(m, root), rate)))
end)
function Yogi:_slot_list()
  local first = self.initial_accumulator_value
  return { { "momentum", first }, { "velocity", first } }
end

--- Adam by the gradient's distance from its mean (Zhuang et al. 2020).
---     tide.optimizers.AdaBelief().epsilon   --> 1e-16
define("AdaBelief", { RATE, BETA_1, BETA_2, epsilon(1e-16) }, { "momentum", "variance" },
  function(self, g, v, rate, slots)
  local m = blend(slots.momentum, g, self.beta_1)
  local variance = slots.variance
  variance:assign(add(blend(variance, ops.square(sub(g, m)), self.beta_2), self.epsilon))
  local mean, root = unbiased(self, m, variance)
  v:assign(sub(v, mul(div(mean, root), rate)))
end)

--- Momentum with a rate of its own per parameter, by the norms of parameter and gradient (You et
--- al. 2017). Here weight_decay is the factor of an L2 penalty, part of the gradient.
---     tide.optimizers.LARS { 0.1, weight_decay = 1e-4 }.trust_coefficient   --> 0.001
local LARS = define("LARS", {
  { "learning_rate", "any", 0.01, "step size: a number, a schedule or a function" },
  { "momentum", "number", 0.9, "share of the velocity that stays", min = 0, max = 1 },
  { "trust_coefficient", "number", 0.001, "share of its norm that a parameter moves", above = 0 },
  { "nesterov", "bool", false, "look ahead" },
  epsilon(1e-8),
}, { "momentum" }, function(self, g, v, rate, slots, _, decay)
  local w, size = norm(v), norm(g)
  local trust = w > 0 and size > 0
    and self.trust_coefficient * w / (size + (decay or 0) * w + self.epsilon) or 1
  if decay then
    g = add(g, mul(v, decay))
  end
  local m = slots.momentum
  local step = mul(g, rate * trust)
  m:assign(add(mul(m, self.momentum), step))
  v:assign(sub(v, self.nesterov and add(mul(m, self.momentum), step) or m))
end)
LARS.decays_itself = true

return rules

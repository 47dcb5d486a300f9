--- The optimizers, each one call of its multi-tensor op (src/ops/optim.c) per step. Formulas and
--- defaults are Keras'.
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"

local base = require "tide.optimizers.base"
local Optimizer = base.Optimizer
local classes = {}

local RATE = { "learning_rate", "any", 0.001, "step size: a number, a schedule or a function" }
local BETA_1 = { "beta_1", "number", 0.9, "decay of the mean gradient", min = 0, below = 1 }
local BETA_2 = { "beta_2", "number", 0.999, "decay of the mean square", min = 0, below = 1 }
local EPSILON = { "epsilon", "number", 1e-7, "keeps the division finite", min = 0 }

local function define(name, own, slots, call, init)
  local c = object.class(name, Optimizer, { rows = base.rows(own), init = init })
  c.slot_names = slots
  c._call = call
  classes[name] = c
  return c
end

--- Stochastic gradient descent, with momentum (Sutskever et al. 2013).
--     tide.optimizers.SGD { 0.1, momentum = 0.9, nesterov = true }.learning_rate   --> 0.1
local SGD = define("SGD", {
  { "learning_rate", "any", 0.01, "step size: a number, a schedule or a function" },
  { "momentum", "number", 0.0, "share of the velocity that stays", min = 0, max = 1 },
  { "nesterov", "bool", false, "look ahead" },
}, { "momentum" }, function(self, grads, places, o)
  local p, m, touched = self:_lists(places, self.momentum ~= 0 and "momentum", "touched")
  o.momentum, o.nesterov = self.momentum, self.nesterov
  core.ops.sgd_step_(p, grads, m, touched, o)
end)
function SGD:_slot_list()
  return self.momentum ~= 0 and { { "momentum", 0 } } or {}
end

local function adam_slots(self)
  local out = { { "momentum", 0 }, { "velocity", 0 } }
  if self.amsgrad then
    out[3] = { "velocity_hat", 0 }
  end
  return out
end

local function adam_call(self, grads, places, o)
  local p, m, v, hat, touched = self:_lists(places, "momentum", "velocity",
    self.amsgrad and "velocity_hat", "touched")
  o.step, o.beta_1, o.beta_2, o.epsilon, o.amsgrad = self:_number() + 1, self.beta_1, self.beta_2,
    self.epsilon, self.amsgrad
  core.ops.adam_step_(p, grads, m, v, hat, touched, o)
end

local AMSGRAD = { "amsgrad", "bool", false,
  "use the largest mean square so far (Reddi et al. 2018)" }

--- Adam (Kingma and Ba 2015).
--     tide.optimizers.Adam { 1e-3, clipnorm = 1 }.learning_rate   --> 0.001
local Adam = define("Adam", { RATE, BETA_1, BETA_2, EPSILON, AMSGRAD }, {}, adam_call)
Adam._slot_list = adam_slots
Adam.keras = { blocks = { velocity_hat = true } }

--- Adam with decoupled weight decay (Loshchilov and Hutter 2019).
--     tide.optimizers.AdamW { weight_decay = 0.01 }.learning_rate   --> 0.001
local AdamW = object.class("AdamW", Adam, {
  rows = base.rows { RATE, { "weight_decay", "number", 0.004, "decoupled decay", min = 0 }, BETA_1,
    BETA_2, EPSILON, AMSGRAD },
  init = function(self)
    if not self.weight_decay then
      errors.raise("AdamW", "weight_decay must be a number; Adam is the optimizer without it")
    end
  end,
})
classes.AdamW = AdamW

--- RMSprop (Tieleman and Hinton 2012; Graves 2013 when centered).
--     tide.optimizers.RMSprop { rho = 0.95 }.learning_rate   --> 0.001
local RMSprop = define("RMSprop", {
  RATE,
  { "rho", "number", 0.9, "decay of the mean square", min = 0, max = 1 },
  { "momentum", "number", 0.0, "share of the velocity that stays", min = 0, max = 1 },
  EPSILON,
  { "centered", "bool", false, "subtract the squared mean gradient" },
}, {}, function(self, grads, places, o)
  local p, v, m, mean, touched = self:_lists(places, "velocity", self.momentum > 0 and "momentum",
    self.centered and "average_gradient", "touched")
  o.rho, o.momentum, o.epsilon, o.centered = self.rho, self.momentum, self.epsilon, self.centered
  core.ops.rmsprop_step_(p, grads, v, m, mean, touched, o)
end)
RMSprop.keras = { blocks = true }
function RMSprop:_slot_list()
  local out = { { "velocity", 0 } }
  if self.momentum > 0 then
    out[#out + 1] = { "momentum", 0 }
  end
  if self.centered then
    out[#out + 1] = { "average_gradient", 0 }
  end
  return out
end

--- Adagrad (Duchi et al. 2011).
--     tide.optimizers.Adagrad { 0.01 }.learning_rate   --> 0.01
local Adagrad = define("Adagrad", {
  RATE,
  { "initial_accumulator_value", "number", 0.1, "where the sums of squares begin", min = 0 },
  EPSILON,
}, {}, function(self, grads, places, o)
  local p, a, touched = self:_lists(places, "accumulator", "touched")
  o.epsilon = self.epsilon
  core.ops.adagrad_step_(p, grads, a, touched, o)
end)
function Adagrad:_slot_list()
  return { { "accumulator", self.initial_accumulator_value } }
end

--- Adam by the largest gradient (Kingma and Ba 2015, section 7).
--     tide.optimizers.Adamax().learning_rate   --> 0.001
define("Adamax", { RATE, BETA_1, BETA_2, EPSILON }, { "momentum", "norm" },
  function(self, grads, places, o)
  local p, m, u, touched = self:_lists(places, "momentum", "norm", "touched")
  o.step, o.beta_1, o.beta_2, o.epsilon = self:_number() + 1, self.beta_1, self.beta_2,
    self.epsilon
  core.ops.adamax_step_(p, grads, m, u, touched, o)
end)

--- Adam with Nesterov momentum (Dozat 2016).
--     tide.optimizers.Nadam().learning_rate   --> 0.001
local Nadam = define("Nadam", { RATE, BETA_1, BETA_2, EPSILON }, { "momentum", "velocity" },
  function(self, grads, places, o)
  local p, m, v, touched = self:_lists(places, "momentum", "velocity", "touched")
  local t = self:_number() + 1
  o.step, o.beta_1, o.beta_2, o.epsilon = t, self.beta_1, self.beta_2, self.epsilon
  o.u_product = self._next_product
  core.ops.nadam_step_(p, grads, m, v, touched, o)
end, function(self)
  self._u_product = 1.0
end)
function Nadam:_run(grads, places, scale)
  local t = self:_number() + 1
  self._next_product = self._u_product * self.beta_1 * (1 - 0.5 * 0.96 ^ t)
  Optimizer._run(self, grads, places, scale)
  self._u_product = self._next_product
end
-- The product goes on with each step.
function Nadam._steps_by_host()
  return true
end
function Nadam:_numbers()
  local t = Optimizer._numbers(self)
  t.u_product = self._u_product
  return t
end
function Nadam:_set_numbers(t)
  Optimizer._set_numbers(self, t)
  self._u_product = tonumber(t.u_product) or self._u_product
end

--- Adadelta (Zeiler 2012).
--     tide.optimizers.Adadelta().learning_rate   --> 0.001
define("Adadelta", { RATE, { "rho", "number", 0.95, "decay of both means", min = 0, max = 1 },
  EPSILON }, { "accumulated_grad", "accumulated_delta_var" }, function(self, grads, places, o)
    local p, a, d, touched = self:_lists(places, "accumulated_grad", "accumulated_delta_var",
      "touched")
    o.rho, o.epsilon = self.rho, self.epsilon
    core.ops.adadelta_step_(p, grads, a, d, touched, o)
  end)

--- Lion: steps by the sign of the momentum (Chen et al. 2023).
--     tide.optimizers.Lion().learning_rate   --> 0.001
define("Lion", {
  RATE,
  { "beta_1", "number", 0.9, "mixes the step", above = 0, max = 1 },
  { "beta_2", "number", 0.99, "decay of the momentum", min = 0, max = 1 },
}, { "momentum" }, function(self, grads, places, o)
  local p, m, touched = self:_lists(places, "momentum", "touched")
  o.beta_1, o.beta_2 = self.beta_1, self.beta_2
  core.ops.lion_step_(p, grads, m, touched, o)
end)

--- Follow the regularized leader (McMahan et al. 2013).
--     tide.optimizers.Ftrl().learning_rate   --> 0.001
local Ftrl = define("Ftrl", {
  RATE,
  { "learning_rate_power", "number", -0.5, "how the rate falls", max = 0 },
  { "initial_accumulator_value", "number", 0.1, "where the sums of squares begin", min = 0 },
  { "l1_regularization_strength", "number", 0.0, "L1 penalty", min = 0 },
  { "l2_regularization_strength", "number", 0.0, "L2 penalty", min = 0 },
  { "l2_shrinkage_regularization_strength", "number", 0.0, "L2 penalty on the gradient", min = 0 },
  { "beta", "number", 0.0, "added to the L2 penalty, over the rate" },
}, {})
Ftrl._call = Optimizer._call
function Ftrl:_slot_list()
  return { { "accumulator", self.initial_accumulator_value }, { "linear", 0 } }
end
function Ftrl:update_step(g, v, rate, slots)
  local power, l1 = -self.learning_rate_power, self.l1_regularization_strength
  local l2 = self.l2_regularization_strength + self.beta / (2 * rate)
  local accumulator, linear = slots.accumulator, slots.linear
  local new = ops.add(accumulator, ops.square(g))
  local raised = ops.power(new, power)
  local sigma = ops.divide(ops.subtract(raised, ops.power(accumulator, power)), rate)
  local shrunk = ops.add(g, ops.multiply(v, 2 * self.l2_shrinkage_regularization_strength))
  linear:assign(ops.add(linear, ops.subtract(shrunk, ops.multiply(sigma, v))))
  local quadratic = ops.add(ops.divide(raised, rate), 2 * l2)
  v:assign(ops.divide(ops.subtract(ops.clip(linear, -l1, l1), linear), quadratic))
  accumulator:assign(new)
end

return classes

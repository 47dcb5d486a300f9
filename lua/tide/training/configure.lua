--- compile: optimizer, losses and metrics of a model, checked by name at once, built at the first
--- batch.
local S = require "tide.private"
local check = require "tide.check"
local errors = require "tide.errors"
local losses = require "tide.losses"
local metrics = require "tide.metrics"
local naming = require "tide.metrics.naming"
local none = require "tide.none"
local object = require "tide.object"
local optimizers = require "tide.optimizers"
local registry = require "tide.registry"

local compile = require "tide.training.compile"
local steps = require "tide.training.steps"

local configure = {}

local compile_args = check.args("compile", {
  { "optimizer", "any", "rmsprop", "name, { name, option = ... } or object" },
  { "loss", "any", nil, "one, a list per output, or a table by output name", dict = true },
  { "loss_weights", "any", nil, "factors of the losses", dict = true },
  { "metrics", "any", nil, "list, list of lists per output, or a table by output name",
    dict = true },
  { "weighted_metrics", "any", nil, "metrics that sample weights weigh", dict = true },
  { "run_eagerly", "bool", false, "no step is recorded and replayed; see explain_plan" },
  { "steps_per_execution", "int", 1, "recorded", min = 1 },
  { "jit_compile", "any", "auto", "recorded" },
  { "auto_scale_loss", "bool", true, "scale the loss under the policy mixed_float16" },
})

-- Names that stand for one of several classes, by the shapes of the first batch.
local by_shape = { accuracy = true, acc = true, crossentropy = true, ce = true }

-- What follows a hole in a list would be left out without a word.
local function refuse_holes(what, v, depth)
  depth = depth or 1
  if check.is_plain(v) and depth <= 16 then -- deeper it holds itself, which is told elsewhere
    local hole = check.hole(v)
    if hole then
      errors.raise("compile", "entry %d of %s is nil (expected a list without holes); leave it \z
        out, or give false for an output without one", hole, what)
    end
    for _, x in ipairs(v) do
      refuse_holes(what, x, depth + 1)
    end
  end
end

-- The objects that names, classes and configurations mean, made once; what cannot be right is
-- refused now, not at the first batch.
local function made(get, v, what)
  return registry.map(v, function(one)
    return type(one) == "string" and by_shape[one:lower()] and one or get(one)
  end, what)
end

local function metric(v)
  local m = metrics.get(v)
  if m.name == "loss" then
    errors.raise("compile", "'loss' is what logs call the loss, a metric needs another name \z
      (expected { ..., name = \"...\" }, got %s)", check.show(v))
  end
  return m
end

local function check_loss_weights(v)
  for _, w in pairs(check.is_list(v) and v or { v }) do
    if type(w) ~= "number" and w ~= false and w ~= none then
      errors.raise("compile", "loss_weights must be numbers (got %s)", check.show(w))
    end
  end
end

-- `compile { "adam", "mse" }`: an optimizer is no list of names, so the list holds the arguments.
local function positional(v)
  if not check.is_plain(v) or #v < 2 or type(v[2]) == "number" then
    return false
  end
  for k in pairs(v) do
    if type(k) == "string" then
      return false
    end
  end
  return true
end

-- Whether the model or a layer of it has the policy mixed_float16.
local function computes_in_float16(model)
  for _, layer in ipairs(model:_flat()) do
    if layer.dtype_policy == "mixed_float16" then
      return true
    end
  end
  return model.dtype_policy == "mixed_float16"
end

--- Chooses optimizer, loss and metrics.
---
---     model:compile { optimizer = { "adam", learning_rate = 1e-3 }, loss = "mse",
---       metrics = { "mae" } }
function configure.compile(self, ...)
  local first = ...
  local o
  if select("#", ...) > 1 and check.is_plain(first) and type(first[1]) == "string" then
    o = compile_args:call(optimizers.get(first), select(2, ...))
  elseif select("#", ...) == 1 and positional(first) then
    return configure.compile(self, table.unpack(first))
  else
    o = compile_args:call(...)
  end
  local loss = made(losses.get, o.loss, "loss")
  for _, what in ipairs { "loss", "metrics", "weighted_metrics" } do
    refuse_holes(what, o[what])
  end
  check_loss_weights(o.loss_weights)
  naming.note { o.metrics or false, o.weighted_metrics or false }
  local plain, weighted = made(metric, o.metrics, "metrics"),
    made(metric, o.weighted_metrics, "weighted_metrics")
  local T = steps.state {
    loss = loss ~= nil and compile.loss(loss, o.loss_weights) or nil,
    metrics = (plain ~= nil or weighted ~= nil) and compile.metrics(plain, weighted) or nil,
  }
  local optimizer = optimizers.get(o.optimizer)
  if o.auto_scale_loss and computes_in_float16(self)
    and optimizer:_class_name() ~= "LossScaleOptimizer"
    and not optimizer._evaluates then -- LBFGS compares losses as they are
    optimizer = optimizers.LossScaleOptimizer { optimizer, name = "loss_scale_optimizer" }
    optimizer._automatic = true -- configurations hold the one inside
  end
  steps.use_optimizer(self, T, optimizer)
  self.loss = o.loss
  self.compiled = true
  self.stop_training = false
  self.run_eagerly = o.run_eagerly
  self.steps_per_execution = o.steps_per_execution
  self.jit_compile = o.jit_compile
  self[S].compile_options = o
  self[S].training = T
  self[S].plans = nil -- what was recorded hangs on what was compiled before
end

local kinds = { loss = "loss", metrics = "metric", weighted_metrics = "metric" }

--- What compile was given, as plain data; nil before compile.
function configure.get_compile_config(self)
  local o = self[S].compile_options
  if not o then
    return nil
  end
  local out = {}
  for k, v in pairs(o) do
    out[k] = object.serialize(kinds[k] and object.declared(kinds[k], v) or v)
  end
  local optimizer = self.optimizer
  out.optimizer = object.serialize(optimizer._automatic and optimizer.inner_optimizer or optimizer)
  return out
end

--- compile with what get_compile_config returned.
function configure.compile_from_config(self, config)
  if not check.is_plain(config) then
    errors.raise("compile_from_config", "takes what get_compile_config returned (got %s)",
      check.show(config))
  end
  local o = {}
  for k, v in pairs(config) do
    if v ~= none then
      o[k] = v
    end
  end
  self:compile(o)
end

return configure

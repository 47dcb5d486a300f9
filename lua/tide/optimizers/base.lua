--- The base of all optimizers: options, slots, clipping, decay, gradient accumulation, moving
--- averages (Keras' keras/src/optimizers/base_optimizer.py). A step is one call of a multi-tensor
--- op for all parameters; a second one where some are excluded from weight decay.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local foreign = require "tide.foreign"
local groups = require "tide.optimizers.groups"
local list = require "tide.list"
local masters = require "tide.optimizers.masters"
local object = require "tide.object"
local ops = require "tide.ops"
local patterns = require "tide.patterns"
local tensors = require "tide.training.tensors"

local base = {}

--- Options that all optimizers take, after their own.
base.OPTIONS = {
  { "weight_decay", "number", nil, "decoupled decay: w = w - learning_rate * weight_decay * w",
    min = 0 },
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
  { "groups", "list", nil, "parameters with a rate or decay of their own; see \z
    tide.optimizers.Optimizer", own = true },
  { "name", "string", nil, "shown in messages" },
}

--- Rows of an optimizer: its own, then the common ones, less those it names itself.
function base.rows(own)
  local seen, out = {}, {}
  for _, row in ipairs(own) do
    seen[row[1]] = true
    out[#out + 1] = row
  end
  for _, row in ipairs(base.OPTIONS) do
    if not seen[row[1]] then
      out[#out + 1] = row
    end
  end
  return out
end

--- The base class of optimizers. Own ones define `update_step(self, gradient, variable,
--- learning_rate, slots)`, where `slots` holds what `slot_names` lists, and change tensors in place
--- (`tide.ops` and `variable:assign`).
---
--- `groups` gives some parameters a rate or a weight decay of their own: a list of
--- `{ which, learning_rate = , rate_factor = , weight_decay = }`, where `which` is a pattern that
--- fits a part of the parameter's path (a regular expression; with a `%` a Lua pattern), a layer,
--- or a function of path and parameter; the first that fits counts. `learning_rate` (a number or a
--- schedule) takes the place of the optimizer's, `rate_factor` multiplies it, `weight_decay = 0`
--- switches the decay off. Clipping by the norm over all gradients stays over all of them.
---
---     local o = tide.optimizers.AdamW { 1e-3, groups = {
---       { "bias$", weight_decay = 0 }, { "^backbone/", rate_factor = 0.1 } } }
---     o.groups[2].rate_factor   --> 0.1
---
---     local Descent = tide.optimizers.Optimizer:extend("Descent", {
---       update_step = function(self, gradient, w, rate) w:assign(w - gradient * rate) end })
---     Descent(0.1).learning_rate   --> 0.1
--- @class tide.Optimizer
local Optimizer = object.class("Optimizer", nil, {
  kind = "optimizer",
  methods = {
    apply = { { "grads", "data", check.required, "gradients; false where there is none" },
      { "trainable_variables", "any", nil, "their parameters" } },
    apply_gradients = {
      { "grads_and_vars", "data", check.required, "{ gradient, parameter } each" } },
    build = { { "variables", "data", check.required, "the parameters" },
      { "info", "any", nil, "path and constraint of each" } },
    exclude_from_weight_decay = { { "var_list", "list", nil, "parameters" },
      { "var_names", "list", nil, "patterns of their paths" } },
    scale_loss = { { "loss", "data", check.required, "the loss" } },
    set_weights = { { "weights", "data", check.required, "all state tensors, in order" } },
    finalize_variable_values = { { "var_list", "any", nil, "recorded; all parameters are meant" } },
  },
  rows = base.rows { { "learning_rate", "any", 0.01,
    "step size: a number, a schedule or a function" } },
  init = function(self)
    self.name = self.name or object.auto_name(class.snake(self:_class_name()))
    self._iterations = 0
    local clips = (self.clipnorm and 1 or 0) + (self.clipvalue and 1 or 0) + (
      self.global_clipnorm and 1 or 0)
    if clips > 1 then
      errors.raise(
        self:_class_name(), "only one of clipnorm, clipvalue and global_clipnorm can be given")
    end
    self.groups = groups.checked(self.groups, self:_class_name())
    self.built, self.strategy, self._factor, self._part = false, false, false, false
    self._noted = false -- of a step that is recorded: the part of each call of an op
    self._slots, self._excluded, self._options = {}, {}, {}
  end,
})
Optimizer._keeps = { build = true, step = true }
base.Optimizer = Optimizer
Optimizer._foreign = foreign.optimizer

class.properties(Optimizer, {
  learning_rate = function(self)
    return self:_current_rate()
  end,
  iterations = function(self)
    self:_settled()
    return self:_number()
  end,
  variables = function(self)
    return list.new(self:_all_variables())
  end,
})

local readonly = { iterations = true, variables = true }

function Optimizer:_store(o)
  local rate = o.learning_rate
  o.learning_rate = nil
  object.Object._store(self, o)
  self:_set_rate(rate)
  o.learning_rate = rate
end

function Optimizer.__newindex(self, key, value)
  if key == "learning_rate" then
    self:_set_rate(value)
  elseif readonly[key] then
    errors.raise(self:_class_name(), "'%s' cannot be assigned", key)
  else
    local c = getmetatable(self)
    class.check_field(c, key, c.args.names)
    rawset(self, key, value)
  end
end

--- How Keras' files hold the state: `blocks`, the set of slots (or true, all) that stand one after
--- the other, each over all parameters; the others stand parameter by parameter.
Optimizer.keras = {}

--- Names of the state tensors per parameter; `initial` value of each in `slot_values`.
Optimizer.slot_names = {}

-- ---- counting ----

-- Steps so far, those of bad losses that nobody has taken back yet among them: the op does
-- (training/steps.lua).
function Optimizer:_number()
  local n = self._iterations
  return self.gradient_accumulation_steps and n // self.gradient_accumulation_steps or n
end

-- Takes them back.
function Optimizer:_settled()
  if self._settle then -- a compiled model's
    self._settle()
  end
end

-- Whether the class' step is more than one op, so that a bad loss must be known before.
function Optimizer:_steps_by_host()
  return self._call == Optimizer._call
end

-- ---- learning rate ----

local function is_schedule(v)
  return type(v) == "function" or (type(v) == "table" and v.kind == "schedule")
end

function Optimizer:_set_rate(v)
  if check.is_plain(v) then
    v = require("tide.optimizers.schedules").get(v)
  end
  if core.is_tensor(v) then
    v = v:item()
  end
  if type(v) == "number" then
    if v ~= v or v == math.huge or v < 0 then
      errors.raise(self:_class_name(), "learning_rate must be a finite number from 0 (got %s)",
        check.show(v))
    end
    if rawget(self, "_rate") and type(self._rate) == "table" then
      errors.raise(
        self:_class_name(),
        "the learning rate follows %s and cannot be set; give the optimizer a number instead",
          tostring(self._rate))
    end
  elseif not is_schedule(v) then
    errors.raise(
      self:_class_name(), "learning_rate must be a number, a schedule or a function (got %s)",
      check.show(v))
  end
  rawset(self, "_rate", v)
end

function Optimizer:_current_rate()
  local rate = self._rate
  if type(rate) == "number" then
    return rate
  elseif type(rate) == "table" then
    return rate(self._iterations)
  end
  return tensors.number(rate(self._iterations))
end

-- ---- variables ----

local function zeros_like(v, value)
  if value and value ~= 0 then
    return ops.full(v.shape, value, { dtype = v.dtype })
  end
  return ops.zeros(v.shape, { dtype = v.dtype })
end

-- State outlives the scope in which it was made.
local function beyond_scopes(list_of)
  for _, t in ipairs(list_of) do
    if core.is_tensor(t) then
      core.scope_leave(t)
    end
  end
  return list_of
end

-- One tensor of `value` (0) per parameter; a function of parameter and number gives the tensor, or
-- false for none.
local function like_all(self, value)
  local out = {}
  for i, v in ipairs(self._stepped) do
    if type(value) == "function" then
      out[i] = value(v, i)
    else
      out[i] = zeros_like(v, value)
    end
  end
  return beyond_scopes(out)
end

-- Notes the parameters and what is known of them.
function Optimizer:_take(variables, info)
  if type(variables) ~= "table" then
    self:_refuse_list("variables", variables)
  elseif info ~= nil and type(info) ~= "table" then
    errors.raise(self:_class_name(), "info must be a list of tables, one per variable (got %s)",
      check.show(info))
  end
  local n = #variables
  self._params, self._index, self._info = {}, {}, info or {}
  if not info and self._records then -- a compiled model knows paths and constraints
    local known = {}
    for _, r in ipairs(self._records()) do
      known[r.tensor] = r
    end
    for i = 1, n do
      self._info[i] = known[variables[i]] or {}
    end
  end
  self._empty = {} -- a slot that the options do not use
  for i = 1, n do
    local v = variables[i]
    if type(v) ~= "userdata" then
      errors.raise(self:_class_name(), "variables must be tensors (got %s as number %d)",
        check.show(v), i)
    end
    self._params[i] = v
    self._index[v] = i
    self._empty[i] = false
  end
end

-- The path of a parameter, as a person saw it in `weight.path`; "" of others.
function Optimizer:_path(i)
  local info = self._info[i]
  return info and not info.tensor and info.path or self._params[i].path or info and info.path or ""
end

--- Makes the state for these parameters. `info[i]` may hold `path` and `constraint` of a parameter.
--- @param variables table list of tensors
--- @param info table|nil
function Optimizer:build(variables, info)
  if self.built then
    return
  end
  self:_take(variables, info)
  local n = #variables
  self._stepped, self._halved = masters.make(self._params)
  self._dtypes = nil
  for _, slot in ipairs(self:_slot_list()) do
    self._slots[slot[1]] = like_all(self, slot[2])
  end
  self._touched = {}
  for i = 1, n do
    local v = variables[i]
    self._touched[i] = v.ndim == 2 and ops.zeros({ v.shape[1] }, { dtype = "uint8" }) or false
  end
  if self.use_ema then
    self._average = like_all(self)
  end
  if self.gradient_accumulation_steps then
    self._sums = like_all(self)
  end
  self._split = groups.split(self)
  self.built = true
end

--- The slots in use: list of { name, initial value }, or a function of parameter and number in its
--- place, which gives the tensor or false.
function Optimizer:_slot_list()
  local out = {}
  for i, name in ipairs(self.slot_names) do
    out[i] = { name, self.slot_values and self.slot_values[name] or 0 }
  end
  return out
end

-- Keras' order: per parameter its slots, after the iteration and the learning rate; averages and
-- accumulators first.
function Optimizer:_all_variables()
  self:_settled()
  local out = { core.tensor(self._iterations, { dtype = "int64" }) }
  if type(self._rate) == "number" then
    out[2] = core.tensor(self._rate)
  end
  if self.built then
    for _, group in ipairs { self._average or {}, self._sums or {} } do
      table.move(group, 1, #group, #out + 1, out)
    end
    local slots = self:_slot_list()
    for i = 1, #self._params do
      for _, slot in ipairs(slots) do
        out[#out + 1] = self._slots[slot[1]][i] or nil
      end
    end
  end
  return out
end

--- State by parameter for files: list of { slot = name, index = parameter's number, tensor }.
function Optimizer:_state()
  local out = {}
  if not self.built then
    return out
  end
  local function put(name, group)
    for i = 1, #self._params do
      out[#out + 1] = group[i] and { slot = name, index = i, tensor = group[i] } or nil
    end
  end
  for _, slot in ipairs(self:_slot_list()) do
    put(slot[1], self._slots[slot[1]])
  end
  if self._average then
    put("average", self._average)
  end
  if self._sums then
    put("gradient_accumulator", self._sums)
  end
  for k, i in ipairs(self._halved and self._halved.places or {}) do
    out[#out + 1] = { slot = "master", index = i, tensor = self._halved.masters[k] }
  end
  return out
end

--- Numbers beside the tensors, for files.
function Optimizer:_numbers()
  self:_settled()
  return { iterations = self._iterations,
    learning_rate = type(self._rate) == "number" and self._rate or nil }
end

-- Marks the rows whose slots say that they once had a gradient: the steps of sparse gradients visit
-- no others. Steps by update_step have none.
local function mark_touched(self)
  for i = 1, self.built and self._call ~= Optimizer._call and #self._params or 0 do
    local touched, any = self._touched[i], nil
    for _, slot in ipairs(touched and self:_slot_list() or {}) do
      local moved = ops.any(ops.not_equal(self._slots[slot[1]][i], 0), { axis = 2 })
      any = any and ops.logical_or(any, moved) or moved
    end
    if any then
      touched:assign(ops.cast(any, "uint8"))
    end
  end
end

--- Puts the numbers back, after the tensors of `_state`.
function Optimizer:_set_numbers(t)
  self:_settled()
  self._iterations = math.tointeger(t.iterations) or 0
  if type(t.learning_rate) == "number" and type(self._rate) == "number" then
    rawset(self, "_rate", t.learning_rate)
  end
  mark_touched(self)
end

--- Excludes parameters from weight decay, before the optimizer is built.
--- @param variables table|nil list of tensors
--- @param names table|nil list of regular expressions (those with a `%` Lua patterns) that fit a
---   part of the parameters' paths
function Optimizer:exclude_from_weight_decay(variables, names)
  if self.built then
    errors.raise(
      self:_class_name(), "exclude_from_weight_decay must come before the optimizer is built")
  end
  for i, v in ipairs { variables or {}, names or {} } do
    if type(v) ~= "table" then
      errors.raise(self:_class_name(), "%s to exclude must be a list (got %s)",
        i == 1 and "variables" or "names", check.show(v))
    end
  end
  for _, v in ipairs(variables or {}) do
    self._excluded[v] = true
  end
  local fits = {}
  for i, pattern in ipairs(names or {}) do
    fits[i] = patterns.compile("exclude_from_weight_decay", pattern)
  end
  self._excluded_names = fits
end

require("tide.optimizers.step")(Optimizer, like_all)

-- ---- the rest of Keras' interface ----

function Optimizer:_overwrite_with_average()
  for i = 1, #self._params do
    self._stepped[i]:assign(self._average[i])
  end
  if self._halved then
    masters.round(self._halved)
  end
end

--- With use_ema, the parameters become their moving average; fit does it at its end.
function Optimizer:finalize_variable_values()
  if self.use_ema and self.built then
    self:_overwrite_with_average()
  end
end

--- The loss times `loss_scale_factor`.
function Optimizer:scale_loss(loss)
  if self.loss_scale_factor then
    return ops.multiply(loss, self.loss_scale_factor)
  end
  return loss
end

--- Sets all state tensors, in the order of `variables`.
function Optimizer:set_weights(weights)
  if not self.built then
    errors.raise(self:_class_name(), "set_weights needs an optimizer that was built")
  end
  local all = self:_all_variables()
  if #weights ~= #all then
    errors.raise(self:_class_name(),
      "set_weights takes another number of tensors (expected %d, got %d)", #all, #weights)
  end
  local first = 2
  local numbers = { iterations = math.tointeger(tensors.number(weights[1])) }
  if type(self._rate) == "number" then
    numbers.learning_rate, first = tensors.number(weights[2]), 3
  end
  for i = first, #all do
    local w = tensors.of(weights[i])
    if tostring(w.shape) ~= tostring(all[i].shape) then
      errors.raise(self:_class_name(), "set_weights: tensor %d has another shape (expected %s, \z
        got %s)", i, tostring(all[i].shape), tostring(w.shape))
    end
  end
  for i = first, #all do
    all[i]:assign(weights[i])
  end
  self:_set_numbers(numbers)
end

--- The options as plain data, the learning rate as it was given.
function Optimizer:get_config()
  local out = object.Object.get_config(self)
  out.learning_rate = object.serialize(self._rate)
  return out
end

return base

--- Optimizers that hold others: LossScaleOptimizer, MultiOptimizer and Lookahead. The state of
--- those inside stands in files behind the wrapper's own.
local check = require "tide.check"
local core = require "tide.core"
local distribute = require "tide.distribute"
local errors = require "tide.errors"
local none = require "tide.none"
local object = require "tide.object"
local ops = require "tide.ops"
local path_map = require "tide.path_map"
local registry = require "tide.registry"

local base = require "tide.optimizers.base"
local masters = require "tide.optimizers.masters"
local Optimizer = base.Optimizer

local wrappers = {}

local NAME = { "name", "string", nil, "shown in messages" }

-- The optimizer that a person or a file means; `refused`: classes that cannot stand there.
local function inner_of(owner, v, refused)
  local o = registry.resolve("optimizer", v, owner)
  if type(o) ~= "table" or o.kind ~= "optimizer" or not o._apply then
    errors.raise(owner, "takes an optimizer (got %s)", check.show(v))
  end
  local name, refuses = o:_class_name(), o._evaluates
  for _, other in ipairs(refused) do
    refuses = refuses or other == name
  end
  if refuses then
    errors.raise(owner, "%s cannot stand inside (expected an optimizer of another class)", name)
  end
  return o
end

-- What all wrappers share. `_inners`: the optimizers inside, in order; `_shares[k]`: the numbers of
-- the parameters of each, among all.
local Wrapper = object.class("Wrapper", Optimizer, { rows = { NAME },
  init = function(self)
    self._inners, self._shares = {}, {}
  end })

function Wrapper:_set_rate(v)
  if v ~= nil then
    self._inners[1].learning_rate = v
  end
end
function Wrapper:_current_rate()
  return self._inners[1]:_current_rate()
end
function Wrapper:_number()
  return self._inners[1]:_number()
end
function Wrapper._steps_by_host()
  return true
end
function Wrapper:_takes_rows()
  for _, inner in ipairs(self._inners) do
    if not inner:_takes_rows() then
      return false
    end
  end
  return true
end

-- The number of the inner optimizer that steps a parameter.
function Wrapper._choose()
  return 1
end

function Wrapper:build(variables, info)
  if self.built then
    return
  end
  self:_take(variables, info)
  self._touched, self._local = {}, {}
  local chosen = {}
  for i = 1, #variables do
    chosen[i] = self:_choose(i)
  end
  for k, inner in ipairs(self._inners) do
    local own, known, share = {}, {}, {}
    for i, v in ipairs(variables) do
      if chosen[i] == k then
        share[#share + 1] = i
        own[#own + 1], known[#known + 1] = v, self._info[i] or {}
        self._local[i] = { k, #own }
      end
    end
    self._shares[k] = share
    if #own > 0 then
      inner:build(own, known)
    end
  end
  for _, slot in ipairs(self:_slot_list()) do
    self._slots[slot[1]] = {}
    for i, v in ipairs(variables) do
      self._slots[slot[1]][i] = slot[2](v, i)
    end
  end
  self.built = true
end

--- Numbers of the wrapper itself in Keras' files: list of { name, value, dtype }.
function Wrapper:_own_numbers()
  return { { "iteration", self._iterations, "int32" }, { "learning_rate", 0.0, "float32" } }
end

--- Takes them back.
function Wrapper:_set_own_numbers(t)
  self._iterations = math.tointeger(t.iteration) or 0
end

function Wrapper:_all_variables()
  local out = {}
  for i, n in ipairs(self:_own_numbers()) do
    out[i] = core.tensor(n[2], { dtype = n[3] })
  end
  for i = 1, self.built and #self._params or 0 do
    for _, slot in ipairs(self:_slot_list()) do
      out[#out + 1] = self._slots[slot[1]][i]
    end
  end
  for _, inner in ipairs(self._inners) do
    local own = inner:_all_variables()
    table.move(own, 1, #own, #out + 1, out)
  end
  return out
end

function Wrapper:_state()
  local out = Optimizer._state(self)
  for k, inner in ipairs(self._inners) do
    for _, s in ipairs(inner.built and inner:_state() or {}) do
      out[#out + 1] = { slot = ("%d.%s"):format(k, s.slot), index = self._shares[k][s.index],
        tensor = s.tensor }
    end
  end
  return out
end

function Wrapper:_numbers()
  local out = { iterations = self._iterations, own = {}, inner = {} }
  for _, n in ipairs(self:_own_numbers()) do
    out.own[n[1]] = n[2]
  end
  for k, inner in ipairs(self._inners) do
    out.inner[k] = inner:_numbers()
  end
  return out
end

function Wrapper:_set_numbers(t)
  self:_set_own_numbers(t.own or {})
  for k, inner in ipairs(self._inners) do
    inner:_set_numbers(t.inner and t.inner[k] or {})
  end
end

-- Sets all state tensors in order: the wrapper's, then those of each inside.
function Wrapper:set_weights(weights)
  if not self.built then
    errors.raise(self:_class_name(), "set_weights needs an optimizer that was built")
  end
  local all = self:_all_variables()
  if #weights ~= #all then
    errors.raise(self:_class_name(),
      "set_weights takes another number of tensors (expected %d, got %d)", #all, #weights)
  end
  local numbers, at = {}, 0
  for i, n in ipairs(self:_own_numbers()) do
    numbers[n[1]], at = weights[i]:item(), i
  end
  self:_set_own_numbers(numbers)
  for i = 1, #self._params * #self:_slot_list() do
    at = at + 1
    all[#self:_own_numbers() + i]:assign(weights[at])
  end
  for _, inner in ipairs(self._inners) do
    local n = #inner:_all_variables()
    if inner.built then
      inner:set_weights(table.move(weights, at + 1, at + n, 1, {}))
    end
    at = at + n
  end
end

function Wrapper:exclude_from_weight_decay(variables, names)
  for _, inner in ipairs(self._inners) do
    inner:exclude_from_weight_decay(variables, names)
  end
end
function Wrapper:finalize_variable_values()
  for _, inner in ipairs(self._inners) do
    inner:finalize_variable_values()
  end
end
function Wrapper:scale_loss(loss)
  return self._inners[1]:scale_loss(loss)
end
function Wrapper:get_config()
  return object.config(self, self.args)
end

-- A step of the one inside; gradients are divided by `factor`.
local function pass_on(self, inner, grads, places, factor)
  inner._factor = factor or self._factor
  if self.strategy then
    inner.strategy = self.strategy
  end
  local ok, e = pcall(inner._apply, inner, grads, places)
  inner._factor = false
  if not ok then
    error(e, 0)
  end
end

local function wrapper(name, rows, init)
  local c = object.class(name, Wrapper, { rows = rows, init = init })
  wrappers[name] = c
  return c
end

--- Scales the loss so that small gradients do not vanish in float16, as Keras does: halves the
--- scale where a gradient is infinite or NaN and leaves that step out, and doubles it after
--- `dynamic_growth_steps` finite ones. `compile` wraps the optimizer of models under
--- "mixed_float16" so, unless `auto_scale_loss = false`.
---     tide.optimizers.LossScaleOptimizer { "adam", 1024 }.dynamic_scale   --> 1024.0
local LossScale = wrapper("LossScaleOptimizer", {
  { "inner_optimizer", "any", check.required, "the optimizer that steps" },
  { "initial_scale", "number", 2.0 ^ 15, "the first scale", above = 0 },
  { "dynamic_growth_steps", "int", 2000, "finite steps after which the scale doubles", min = 1 },
  NAME,
}, function(self)
  self.inner_optimizer = inner_of("LossScaleOptimizer", self.inner_optimizer,
    { "LossScaleOptimizer" })
  self.inner_optimizer.loss_scale_factor = nil -- it would be scaled twice
  self._inners[1] = self.inner_optimizer
  self.dynamic_scale, self.step_counter = self.initial_scale, 0
end)

function LossScale:_own_numbers()
  local out = Wrapper._own_numbers(self)
  out[3] = { "step_counter", self.step_counter, "int32" }
  out[4] = { "dynamic_scale", self.dynamic_scale, "float32" }
  return out
end
function LossScale:_set_own_numbers(t)
  Wrapper._set_own_numbers(self, t)
  self.step_counter = math.tointeger(t.step_counter) or 0
  self.dynamic_scale = tonumber(t.dynamic_scale) or self.initial_scale
end
function LossScale:scale_loss(loss)
  return ops.multiply(loss, self.dynamic_scale)
end

-- A step that is left out for what is not finite.
function LossScale:_left_out()
  self.step_counter, self.dynamic_scale = 0, self.dynamic_scale / 2
end

local function finite(grads)
  local present, kinds = {}, {}
  for _, g in ipairs(grads) do
    if g and g ~= none then
      present[#present + 1] = g
      kinds[g.dtype] = kinds[g.dtype] or {}
      table.insert(kinds[g.dtype], g)
    end
  end
  local sum = 0
  for _, some in pairs(kinds) do
    sum = sum + core.ops.global_norm_(some):item()
  end
  if sum - sum == 0 then
    return true
  end
  for _, g in ipairs(present) do -- the squares of finite ones may overflow
    if not ops.all(ops.isfinite(ops.multiply(g, 1))) then
      return false
    end
  end
  return true
end

function LossScale:_apply(grads, places)
  local _ <close> = core.recording(false)
  local good = finite(grads)
  local strategy = distribute.of(self)
  if strategy then -- all processes go the same way
    local guard = core.tensor { 0.0, good and 0 or 1, 0 }
    strategy:agree(guard)
    good = guard[2] == 0
  end
  if not good then
    return self:_left_out()
  end
  pass_on(self, self.inner_optimizer, grads, places, self.dynamic_scale)
  self.step_counter = self.step_counter + 1
  if self.step_counter >= self.dynamic_growth_steps then
    self.step_counter, self.dynamic_scale = 0, self.dynamic_scale * 2
  end
end

--- Goes back half of the way after every few steps: slow weights follow those that the optimizer
--- steps (Zhang et al. 2019).
---     tide.optimizers.Lookahead { "adam" }.sync_period   --> 6
local Lookahead = wrapper("Lookahead", {
  { "inner_optimizer", "any", check.required, "the optimizer that steps" },
  { "sync_period", "int", 6, "steps after which the weights go back to the slow ones", min = 1 },
  { "slow_step_size", "number", 0.5, "share of the way that the slow weights follow", above = 0,
    max = 1 },
  NAME,
}, function(self)
  self.inner_optimizer = inner_of("Lookahead", self.inner_optimizer,
    { "LossScaleOptimizer", "MultiOptimizer", "Lookahead" })
  self._inners[1] = self.inner_optimizer
end)

function Lookahead:_slot_list()
  return { { "slow", function(_, i)
    return ops.copy(self.inner_optimizer._stepped[i]:detach())
  end } }
end

function Lookahead:_apply(grads, places)
  local inner = self.inner_optimizer
  local before = inner:_number()
  pass_on(self, inner, grads, places)
  local n = inner:_number()
  if n == before or n % self.sync_period ~= 0 then
    return
  end
  local _ <close> = core.recording(false)
  for i, slow in ipairs(self._slots.slow) do
    local fast = inner._stepped[i]
    slow:assign(ops.add(slow, ops.multiply(ops.subtract(fast, slow), self.slow_step_size)))
    fast:assign(slow)
  end
  if inner._halved then
    masters.round(inner._halved)
  end
end

--- Which optimizer steps which parameters, by patterns of their paths (`weight.path`) that must
--- fit the whole path (regular expressions, those with a `%` Lua patterns; a key that is the path
--- itself goes before them); `default_optimizer` steps the rest. `map[pattern] = optimizer` adds
--- one, nil takes it out; `map[path]` and `map(path)` give the optimizer of a path.
---     tide.optimizers.OptimizerMap { "sgd", { ["encoder/.*"] = tide.optimizers.Adam() } }
local OptimizerMap = object.class("OptimizerMap", nil, { kind = "optimizer", rows = {
  { "default_optimizer", "any", check.required, "optimizer of all other parameters" },
  { "optimizer_map", "any", nil, "optimizers by pattern", dict = true },
}, init = function(self)
  rawset(self, "default_optimizer", inner_of("OptimizerMap", self.default_optimizer, {}))
  path_map.begin(self, "optimizer_map")
end })
path_map.install(OptimizerMap, "optimizer_map", "an optimizer", function(_, optimizer)
  return inner_of("OptimizerMap", optimizer, { "LossScaleOptimizer", "MultiOptimizer" })
end, function(self) return rawget(self, "default_optimizer") end)
wrappers.OptimizerMap = OptimizerMap

--- Several optimizers, each for its own parameters: by an OptimizerMap, or a function of path and
--- parameter that returns an optimizer.
---     tide.optimizers.MultiOptimizer { tide.optimizers.OptimizerMap { "sgd",
---       { ["encoder/.*"] = tide.optimizers.Adam() } } }
local Multi = wrapper("MultiOptimizer", {
  { "optimizer_map", "any", check.required, "an OptimizerMap, or a function" },
  { "loss_scale_factor", "number", nil, "the loss is multiplied by it, the gradients divided",
    above = 0 },
  NAME,
}, function(self)
  local map = self.optimizer_map
  if check.is_plain(map) then
    map = registry.resolve("optimizer", map, "MultiOptimizer")
    self.optimizer_map = map
  end
  if type(map) == "table" and getmetatable(map) == OptimizerMap then
    for _, pattern in ipairs(check.sorted_keys(map.optimizer_map)) do
      self:_number_of(map.optimizer_map[pattern])
    end
    self:_number_of(map.default_optimizer)
  elseif type(map) ~= "function" then
    errors.raise("MultiOptimizer", "optimizer_map must be an OptimizerMap or a function (got %s)",
      check.show(map))
  end
end)

-- The number of an optimizer among those inside, which it joins.
function Multi:_number_of(o)
  for k, inner in ipairs(self._inners) do
    if rawequal(inner, o) then
      return k
    end
  end
  self._inners[#self._inners + 1] = inner_of("MultiOptimizer", o,
    { "LossScaleOptimizer", "MultiOptimizer" })
  o.loss_scale_factor = nil -- the wrapper scales
  return #self._inners
end
function Multi:_choose(i)
  return self:_number_of(self.optimizer_map(self:_path(i), self._params[i]))
end

--- The optimizers inside, in order.
function Multi:optimizers()
  return table.move(self._inners, 1, #self._inners, 1, {})
end

local function no_rate()
  errors.raise("MultiOptimizer", "there are several learning rates; read and set those of the \z
    optimizers inside (optimizer:optimizers())")
end
function Multi._set_rate(_, v)
  return v ~= nil and no_rate()
end
Multi._current_rate = no_rate
function Multi:_number()
  return self._iterations
end
Multi.scale_loss = Optimizer.scale_loss

function Multi:_apply(grads, places)
  local own, at = {}, {}
  for k = 1, #self._inners do
    own[k], at[k] = {}, {}
  end
  for i = 1, #grads do
    local where = self._local[places and places[i] or i]
    local k = where[1]
    if grads[i] and grads[i] ~= none then
      table.insert(own[k], grads[i])
      table.insert(at[k], where[2])
    end
  end
  for k, inner in ipairs(self._inners) do
    if #own[k] > 0 then
      pass_on(self, inner, own[k], at[k], self._factor or self.loss_scale_factor)
    end
  end
  self._iterations = self._iterations + 1
end

return wrappers

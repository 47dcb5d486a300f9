--- The base of all metrics, and the reductions Sum, Mean and MeanMetricWrapper.
---
--- State accumulates in small tensors where the values are; nothing is read back before `result`.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local foreign = require "tide.foreign"
local list = require "tide.list"
local object = require "tide.object"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"

local loss_base = require "tide.losses.base"
local same_rank = tensors.same_rank

local base = {}

--- Options of every metric.
base.NAMES = { { "name", "string", nil, "shown in logs" }, { "dtype", "dtype", nil,
  "dtype of the state" } }

--- What metrics of targets and predictions take.
base.PAIRS = { update_state = {
  { "y_true", "data", check.required, "targets" },
  { "y_pred", "data", nil, "predictions" },
  { "sample_weight", "any", nil, "one weight per sample, or per value" },
  { "mask", "any", nil, "what is false does not count" },
} }

--- The base class of metrics. Own ones define `update_state(self, y_true, y_pred, sample_weight)`
--- and `result(self)`; state is made in `init` by `self:add_variable{ shape = {}, name = "..." }`
--- and set to zero between epochs.
---
---     local Count = tide.metrics.Metric:extend("Count", {
---       init = function(self) self.n = 0 end,
---       update_state = function(self, y_true) self.n = self.n + #y_true end,
---       result = function(self) return self.n end,
---       reset_state = function(self) self.n = 0 end,
---     })
--- @class tide.Metric
local Metric = object.class("Metric", nil, {
  kind = "metric",
  rows = {},
  named = base.NAMES,
  init = function(self)
    self.name = self.name or object.auto_name(class.snake(self:_class_name()))
    self.dtype = self.dtype or "float32"
  end,
  methods = { update_state = base.PAIRS.update_state, result = {}, reset_state = {} },
})
class.properties(Metric, {
  variables = function(self)
    return list.new(self:_all_variables())
  end,
})
Metric._keeps = { update_state = true, reset_state = true }
base.Metric = Metric
Metric._foreign = foreign.metric

--- What is better, for callbacks that watch the metric: "up" or "down"; false where nobody said.
Metric.direction = false

-- `init` of a person's metric may come before add_variable's list exists.
local function tracked(self)
  local v = rawget(self, "_variables")
  if not v then
    v = {}
    rawset(self, "_variables", v)
  end
  return v
end

function Metric:_all_variables()
  return table.move(tracked(self), 1, #tracked(self), 1, {})
end

local variable_args = check.args("add_variable", {
  { "shape", "shape", {}, "shape" },
  { "initializer", "any", nil, "zeros when left out" },
  { "dtype", "dtype", nil, "the metric's dtype when left out" },
  { "name", "string", nil, "name" },
})

--- Makes a state variable, a tensor of zeros unless an initializer is given.
function Metric:add_variable(...)
  local o = variable_args:construct(...)
  local dtype = o.dtype or self.dtype or "float32"
  local v
  if o.initializer and o.initializer ~= "zeros" then
    v = require("tide.initializers").get(o.initializer)(o.shape, dtype)
  else
    v = ops.zeros(o.shape, { dtype = dtype })
  end
  core.scope_leave(v)
  local all = tracked(self)
  all[#all + 1] = v
  return v
end

Metric.add_weight = Metric.add_variable

--- Sets the state back to what it was before the first update.
function Metric:reset_state()
  for _, v in ipairs(tracked(self)) do
    v:assign(ops.zeros_like(v))
  end
end

--- Takes in a batch.
function Metric:update_state()
  errors.raise(
    self:_class_name(), "a metric defines update_state(self, y_true, y_pred, sample_weight)")
end

--- The value over all batches since the last reset: a number, or a tensor where there are several.
function Metric:result()
  errors.raise(self:_class_name(), "a metric defines result(self)")
end

--- update_state, then result.
function Metric:__call(...)
  self:update_state(...)
  return self:result()
end

--- A tensor without history, so that accumulating it keeps no graph alive.
local function plain(v, what)
  if not core.is_tensor(v) then
    return tensors.of(v, nil, what)
  end
  return v.requires_grad and v:detach() or v
end
base.plain = plain

-- ---- reductions ----

-- Axes low..high of a tensor.
local function axes(low, high)
  local out = {}
  for i = low, high do
    out[#out + 1] = i
  end
  return out
end

-- Values and weights, one per sample (Keras' reduce_to_samplewise_values).
local function samplewise(values, weight, reduce, dtype)
  if weight ~= nil then
    weight = tensors.of(weight, dtype, "sample_weight")
    values, weight = same_rank(values, weight)
    local rank = weight.ndim
    tensors.fit_weight(weight, values.shape)
    if values.ndim > rank then
      values = reduce(values, { axis = axes(rank + 1, values.ndim) })
    end
    weight = ops.broadcast_to(weight, values.shape)
    values = ops.multiply(values, weight)
    if rank > 1 then
      weight = reduce(weight, { axis = axes(2, rank) })
    end
  end
  if values.ndim > 1 then
    values = reduce(values, { axis = axes(2, values.ndim) })
  end
  return values, weight
end

-- The sums of a reduction stand on the device of the values: { total, weights }, made at the first
-- batch behind a reset. What is known without looking at a tensor, how many values there were and
-- numbers that a person gave, is added up here.
local function clear(self)
  self._total, self._count, self._sums = 0.0, 0.0, nil
end

--- Adds factor * sum(values), and sum(weights) to the count, without reading either.
local function tally(self, values, weights, factor)
  local sums = self._sums
  if not sums then
    sums = ops.zeros({ 2 }, { dtype = "float64", device = values.device })
    core.scope_leave(sums) -- later calls add to it
    self._sums = sums
  end
  core.ops.tally_(sums, values, weights, factor or 1)
end

-- Total and count, read from the device.
local function read(self)
  local sums = self._sums
  if not sums then
    return self._total, self._count
  end
  sums = sums:tolist()
  return self._total + sums[1], self._count + sums[2]
end

-- What a reduction of values takes.
local VALUES = { update_state = {
  { "values", "data", check.required, "the values" },
  { "sample_weight", "any", nil, "one weight per value, or per sample" },
} }

--- Sum of all values.
--     tide.metrics.Sum()({ 1, 3, 5, 7 })   --> 16
local Sum = object.class("Sum", Metric, {
  methods = VALUES,
  rows = { { "name", "string", "sum", "shown in logs" },
    { "dtype", "dtype", nil, "dtype of the state" } },
  init = clear,
})
base.Sum = Sum
Sum.reset_state = clear

function Sum:update_state(values, sample_weight)
  values = tensors.of(plain(values, "values"), self.dtype)
  values = samplewise(values, sample_weight, ops.sum, self.dtype)
  tally(self, values)
end

function Sum:result()
  return (read(self))
end

function Sum:_all_variables()
  return { core.tensor(read(self), { dtype = self.dtype }) }
end

--- Mean of all values, weighted by sample weights.
--     tide.metrics.Mean()({ 1, 3, 5, 7 })   --> 4
local Mean = object.class("Mean", Metric, {
  methods = VALUES,
  rows = { { "name", "string", "mean", "shown in logs" },
    { "dtype", "dtype", nil, "dtype of the state" } },
  init = clear,
})
base.Mean = Mean
Mean.reset_state = clear

-- `n` values whose mean is the only element of `value`.
function Mean:_take(value, n)
  tally(self, value, nil, n)
  self._count = self._count + n
end

-- As _take, of a loss: `guard` notes a bad one (tally_loss_).
function Mean:_take_loss(loss, n, guard)
  local sums = self._sums
  if not sums then
    sums = ops.zeros({ 2 }, { dtype = "float64", device = loss.device })
    core.scope_leave(sums)
    self._sums = sums
  end
  core.ops.tally_loss_(sums, guard, loss, n)
  self._count = self._count + n
end

function Mean:update_state(values, sample_weight)
  if type(values) == "number" and type(sample_weight) ~= "userdata"
    and type(sample_weight) ~= "table" then
    local w = sample_weight or 1
    self._total, self._count = self._total + values * w, self._count + w
    return
  end
  values = tensors.of(plain(values, "values"), self.dtype)
  local n
  values, n = samplewise(values, sample_weight, ops.mean, self.dtype)
  tally(self, values, n)
  if n == nil then
    self._count = self._count + (values.ndim > 0 and values.shape[1] or 1)
  end
end

function Mean:result()
  local total, count = read(self)
  if count == 0 then
    return 0.0
  end
  return total / count
end

function Mean:_all_variables()
  local total, count = read(self)
  return { core.tensor(total, { dtype = self.dtype }), core.tensor(count, { dtype = self.dtype }) }
end

--- Mean of a function of (y_true, y_pred, options) with one value per sample.
--     tide.metrics.MeanMetricWrapper {
--       function(a, b) return (a - b):abs() end }({ 1, 2 }, { 1, 4 })
--     --> 1
local Wrapper = object.class("MeanMetricWrapper", Mean, {
  methods = base.PAIRS,
  rows = { { "fn", "callable", check.required, "function of (y_true, y_pred)" } },
  named = { { "name", "string", nil, "shown in logs" },
    { "direction", "enum", nil, "what is better", of = "up|down", own = true } },
  init = function(self)
    if not self.direction and self.fn and require("tide.losses").class_of(self.fn) then
      self.direction = "down"
    end
  end,
})
base.MeanMetricWrapper = Wrapper

--- @param mask any|nil what is false does not count
function Wrapper:update_state(y_true, y_pred, sample_weight, mask)
  y_true, y_pred = plain(y_true, "y_true"), plain(y_pred, "y_pred")
  local f = self._formula
  local values
  if (sample_weight ~= nil or mask ~= nil) and tensors.numbers[self.targets]
    and core.is_tensor(y_true) and core.is_tensor(y_pred) then
    y_true, y_pred = tensors.per_place(y_true, y_pred)
  end
  if f then
    values = f(y_true, y_pred, self, sample_weight, mask)
  else
    values = self.fn(y_true, y_pred)
  end
  if type(values) == "number" then
    return Mean.update_state(self, values)
  elseif not core.is_tensor(values) then
    errors.raise(self.name,
      "a metric must return a tensor with one value per sample, or a number (got %s)",
      check.show(values))
  elseif sample_weight == nil and mask == nil and values.ndim == 1 then -- the everyday case
    tally(self, values)
    self._count = self._count + #values
    return
  end
  if mask ~= nil then
    sample_weight = loss_base.apply_mask(sample_weight, mask, self.dtype, "sum")
  end
  Mean.update_state(self, values, sample_weight)
end

return base

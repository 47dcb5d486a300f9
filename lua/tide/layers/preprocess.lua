--- Preprocessing layers that learn from data: what they know is set by `adapt`, not by training.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

local preprocess = {}

local EPSILON = 1e-7 -- Keras' fuzz factor: the smallest divisor

-- The kept axes of an input of this rank, from 1 and in order.
local function kept_axes(self, shape)
  local out = {}
  for i, axis in ipairs(type(self.axis) == "table" and self.axis or { self.axis }) do
    local at = axis < 0 and #shape + 1 + axis or axis
    if at < 1 or at > #shape then
      errors.raise("Normalization", "axis %d does not exist in the input's shape %s", axis,
        list.format(shape))
    elseif shape[at] == none then
      errors.raise("Normalization", "axis %d of the input must be known (got the shape %s)", axis,
        list.format(shape))
    end
    out[i] = at
  end
  table.sort(out)
  return out
end

-- Given statistics as a tensor that broadcasts with the input: their axes are the last of the kept
-- ones.
local function spread(self, v, what)
  local t = ops.convert_to_tensor(v, { dtype = self.dtype })
  if t.ndim > #self[S].kept_axes then
    errors.raise("Normalization", "the %s has %d axes, more than the %d of axis", what, t.ndim,
      #self[S].kept_axes)
  end
  local shape = {}
  for i = 1, #self[S].broadcast do
    shape[i] = 1
  end
  for i = 1, t.ndim do
    local at = self[S].kept_axes[#self[S].kept_axes - t.ndim + i]
    shape[at] = t.shape[i]
    if t.shape[i] ~= 1 and t.shape[i] ~= self[S].broadcast[at] then
      errors.raise("Normalization", "the %s has shape %s, which does not fit axis %d of length %d",
        what, tostring(t.shape), at, self[S].broadcast[at])
    end
  end
  return ops.broadcast_to(ops.reshape(t, shape), self[S].broadcast)
end

-- What `adapt` goes through: function() -> a batch or nil, and the first batch.
local function batches(data)
  if core.is_tensor(data) then
    data = { data }
  elseif type(data) == "table" and type(data.iter) == "function" then
    local pass = data:iter()
    data = function()
      return (pass())
    end
  elseif type(data) == "table" and not core.is_tensor(data[1]) then
    data = { ops.convert_to_tensor(data) }
  elseif type(data) ~= "table" and type(data) ~= "function" then
    errors.raise(
      "adapt", "the data must be a tensor, a list of batches, or an iterator of batches (got %s)",
      check.show(data))
  end
  local i = 0
  local function next_batch()
    i = i + 1
    local x = type(data) == "function" and data() or (type(data) == "table" and data[i]) or nil
    if x ~= nil and not core.is_tensor(x) then
      x = ops.convert_to_tensor(x)
    end
    return x
  end
  local first = next_batch()
  if first == nil then
    errors.raise("adapt", "the data hold no batch")
  end
  return next_batch, first
end

--- Shifts and scales inputs to mean 0 and variance 1, feature by feature along `axis` (tide.none:
--- one mean for all).
--
-- The statistics are learnt by `layer:adapt(data)` before training, or given as `mean` and
-- `variance`. `invert` turns normalized values back. Input (batch, ...), output of the same shape,
-- in the layer's dtype. As Keras' Normalization.
--
--     tide.layers.Normalization { mean = 1, variance = 4 }(tide.tensor { { 3 } })   --> { { 1 } }
preprocess.Normalization = base.derive(base, "Normalization", {
  takes = "tensor",
  args = {
    { "axis", "axes", -1, "axes that have statistics of their own; 2 is the first after the batch",
      batch = false, none = true },
    { "mean", "any", nil, "known means: a number, or a list for the axes" },
    { "variance", "any", nil, "known variances" },
    { "invert", "bool", false, "from normalized values to the original ones" },
  },
  supports_masking = true,
  init = function(self)
    if (self.mean == nil) ~= (self.variance == nil) then
      errors.raise("Normalization", "mean and variance are given together or not at all")
    end
    self[S].given = { mean = self.mean, variance = self.variance }
  end,
  build = function(self, shape)
    local kept = kept_axes(self, shape)
    local sizes, broadcast = {}, {}
    for i = 1, #shape do
      broadcast[i] = 1
    end
    for i, at in ipairs(kept) do
      if at == 1 then
        errors.raise(
          "Normalization", "axis 1 is the batch; the first axis after it is 2 (shape %s)",
          list.format(shape))
      end
      sizes[i], broadcast[at] = shape[at], shape[at]
    end
    self[S].kept_axes = kept
    self[S].broadcast = broadcast
    if self[S].given.mean ~= nil then
      self.mean = spread(self, self[S].given.mean, "mean")
      self.variance = spread(self, self[S].given.variance, "variance")
      return
    end
    self.adapt_mean = self:add_weight {
      sizes, name = "mean", initializer = "zeros", trainable = false }
    self.adapt_variance = self:add_weight {
      sizes, name = "variance", initializer = "ones", trainable = false }
    self.count = self:add_weight {
      {}, name = "count", dtype = "int32", initializer = "zeros", trainable = false }
    -- views: what is written into the weights shows in them
    self.mean = ops.reshape(self.adapt_mean, broadcast)
    self.variance = ops.reshape(self.adapt_variance, broadcast)
  end,
  call = function(self, x)
    if x.dtype ~= self.dtype then
      x = ops.cast(x, self.dtype)
    end
    local stddev = ops.maximum(ops.sqrt(self.variance), EPSILON)
    local y = self.invert and self.mean + x * stddev or (x - self.mean) / stddev
    return self[S].compute and ops.cast(y, self.compute_dtype) or y
  end,
  compute_output_shape = function(_, shape)
    return shape
  end,
})
local Normalization = preprocess.Normalization

--- Learns the means and variances of data and forgets what was known before.
--- @param data any a tensor (samples, ...), a list of batches, a data set with `iter`, or a
---   function that gives batches
function Normalization:adapt(data)
  if self[S].given.mean ~= nil then
    errors.raise("adapt", "%s has its mean and variance from its options", self:_label())
  end
  local next_batch, x = batches(data)
  if not self.built then
    local shape = x.shape:totable()
    shape[1] = none
    self:build(list.new(shape))
  end
  local mean, variance, total
  repeat
    local axes, count, kept = {}, 1, {}
    for _, at in ipairs(self[S].kept_axes) do
      kept[at] = true
    end
    if x.ndim ~= #self[S].broadcast then
      errors.raise("adapt", "%s takes data of %d axes (got the shape %s)", self:_label(),
        #self[S].broadcast, tostring(x.shape))
    end
    for at = 1, x.ndim do
      if not kept[at] then
        axes[#axes + 1], count = at, count * x.shape[at]
      elseif x.shape[at] ~= self[S].broadcast[at] then
        errors.raise("adapt", "axis %d of the data has length %d, %s was built for %d", at,
          x.shape[at], self:_label(), self[S].broadcast[at])
      end
    end
    if count > 0 then
      x = ops.cast(x, "float64")
      local m, v = ops.mean(x, { axis = axes }), ops.var(x, { axis = axes })
      if not total then
        mean, variance, total = m, v, count
      else
        -- the pooled variance of two groups
        local share = count / (total + count)
        local middle = mean * (1 - share) + m * share
        variance = (variance + ops.square(mean - middle)) * (1 - share) + (
          v + ops.square(m - middle)) * share
        mean, total = middle, total + count
      end
    end
    x = next_batch()
  until x == nil
  if not total then
    errors.raise("adapt", "the data are empty")
  end
  self.adapt_mean:assign(ops.cast(mean, self.dtype))
  self.adapt_variance:assign(ops.cast(variance, self.dtype))
end

--- What was learnt holds already: the means that calls use are those that `adapt` writes. Keras'
--- name.
function Normalization:finalize_state() end -- luacheck: ignore self

--- The options, with the statistics as they were given (adapted ones are weights).
function Normalization:get_config()
  local out = base.get_config(self)
  for _, key in ipairs { "mean", "variance" } do
    local v = self[S].given[key]
    out[key] = core.is_tensor(v) and v:tolist() or v
  end
  return out
end

return preprocess

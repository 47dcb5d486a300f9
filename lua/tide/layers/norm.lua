--- Normalization layers. The arithmetic is in fused ops; axes count from 1 (the batch) or from the
--- end.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

local norm = {}

local HALF = { float16 = true, bfloat16 = true }
local EPSILON = 1e-7 -- Keras' fuzz factor, where masked sums are divided

local function same_shape(_, shape)
  return shape
end

local function axis_row(default)
  return { "axis", "axes", default or -1, "axis of the features; 2 is the first after the batch",
    batch = false }
end

-- The rows that center, scale and their weights share.
local function affine_rows(more)
  local out = {
    { "center", "bool", true, "add beta" },
    { "scale", "bool", true, "multiply by gamma" },
    { "beta_initializer", "initializer", "zeros" },
    { "gamma_initializer", "initializer", "ones" },
  }
  for _, row in ipairs(more or {}) do
    out[#out + 1] = row
  end
  for _, name in ipairs { "beta_regularizer", "gamma_regularizer" } do
    out[#out + 1] = { name, "regularizer" }
  end
  for _, name in ipairs { "beta_constraint", "gamma_constraint" } do
    out[#out + 1] = { name, "constraint" }
  end
  return table.unpack(out)
end

-- The axis or axes of a layer as ops take them.
local function plain_axis(self)
  return type(self.axis) == "table" and self.axis:totable() or self.axis
end

-- Sizes of the given axes, which must be known.
local function sizes_of(self, shape, axes)
  local out = {}
  for i, axis in ipairs(type(axes) == "table" and axes or { axes }) do
    local at = axis < 0 and #shape + 1 + axis or axis
    if at < 1 or at > #shape then
      errors.raise(getmetatable(self).__name, "axis %d does not exist in the input's shape %s",
        axis, list.format(shape))
    end
    if at == 1 then
      errors.raise(getmetatable(self).__name,
        "axis %d is the batch; the first axis after it is 2 (shape %s)", axis, list.format(shape))
    end
    if shape[at] == none then
      errors.raise(getmetatable(self).__name,
        "axis %d of the input must be known (got the shape %s)", axis, list.format(shape))
    end
    out[i] = shape[at]
  end
  return out
end

local function add_affine(self, sizes)
  if self.scale then
    self.gamma = self:add_weight { sizes, name = "gamma", initializer = self.gamma_initializer,
      regularizer = self.gamma_regularizer, constraint = self.gamma_constraint }
  end
  if self.center then
    self.beta = self:add_weight { sizes, name = "beta", initializer = self.beta_initializer,
      regularizer = self.beta_regularizer, constraint = self.beta_constraint }
  end
end

local in_torch = { links = function(self)
  return links.list(links.one("weight", self.gamma), links.one("bias", self.beta))
end }

-- ---- batch ----

local batch_normalization, batch_train = ops.batch_normalization, core.ops.batch_norm_train_

local function others(rank, axis)
  local at = axis < 0 and rank + 1 + axis or axis
  local out = {}
  for i = 1, rank do
    if i ~= at then
      out[#out + 1] = i
    end
  end
  return out
end

-- Moments over everything but the features, of the steps that a mask keeps.
local function masked_moments(x, mask, axes)
  local kept = ops.cast(ops.broadcast_to(ops.expand_dims(mask, -1), x.shape), x.dtype)
  local weight = ops.sum(kept, { axis = axes, keepdims = true }) + EPSILON
  local mean = ops.sum(x * kept, { axis = axes, keepdims = true }) / weight
  local variance = ops.sum(ops.square((x - mean) * kept), { axis = axes, keepdims = true }) / weight
  return ops.reshape(mean, { -1 }), ops.reshape(variance, { -1 })
end

local function blend(old, new, momentum)
  old:assign(old * momentum + ops.cast(new:detach(), old.dtype) * (1 - momentum))
end

-- Batch renormalization (Ioffe 2017): the batch's statistics corrected toward the moving ones,
-- within limits.
local function renormalize(self, mean, variance)
  local stats = self.renorm_mean.dtype
  mean, variance = ops.cast(mean, stats), ops.cast(variance, stats)
  local stddev = ops.sqrt(variance + self.epsilon)
  local steady = ops.maximum(self.renorm_stddev, math.sqrt(self.epsilon))
  local r, d = stddev:detach() / steady, (mean:detach() - self.renorm_mean) / steady
  local clip = self.renorm_clipping or {}
  if clip.rmin then
    r = ops.maximum(r, clip.rmin)
  end
  if clip.rmax then
    r = ops.minimum(r, clip.rmax)
  end
  if clip.dmax then
    d = ops.clip(d, -clip.dmax, clip.dmax)
  end
  blend(self.renorm_mean, mean, self.renorm_momentum)
  blend(self.renorm_stddev, stddev, self.renorm_momentum)
  blend(self.moving_mean, mean, self.momentum)
  blend(self.moving_stddev, stddev, self.momentum)
  self.moving_variance:assign(ops.relu(ops.square(self.moving_stddev) - self.epsilon))
  local gamma, beta = r, d
  if self.gamma then
    local own = ops.cast(self.gamma, stats)
    gamma, beta = r * own, d * own
  end
  if self.beta then
    beta = beta + ops.cast(self.beta, stats)
  end
  return gamma, beta
end

-- The layer and a relu or relu6 behind it: one op where it trains.
local function clipped(self, x, kind)
  if self.renorm or not (base.is_training() and self[S].trainable) then
    return ops[kind](self(x))
  end
  return (batch_train(x, self.gamma, self.beta, self.moving_mean, self.moving_variance,
    self[S][kind]))
end

local batch_rows = {
  { "axis", "axis", -1, "axis of the features", batch = false },
  { "momentum", "number", 0.99, "share of the old running statistics", min = 0, max = 1 },
  { "epsilon", "number", 0.001, "added to the variance", min = 0 },
  affine_rows {
    { "moving_mean_initializer", "initializer", "zeros" },
    { "moving_variance_initializer", "initializer", "ones" },
  },
}
for _, row in ipairs {
  { "renorm", "bool", false, "batch renormalization" },
  { "renorm_clipping", "table", nil, "limits rmin, rmax, dmax of the corrections" },
  { "renorm_momentum", "number", 0.99, "momentum of the renormalization's statistics" },
  { "synchronized", "bool", false, "statistics over all workers" },
} do
  batch_rows[#batch_rows + 1] = row
end

--- Normalizes each feature over the batch; running statistics serve when not training, or when
--- frozen.
--
-- Weights gamma, beta, moving_mean, moving_variance. As Keras' BatchNormalization (Ioffe and
-- Szegedy 2015).
--     tide.layers.BatchNormalization()(tide.ones { 8, 3 }).shape   --> { 8, 3 }
norm.BatchNormalization = base.derive(base, "BatchNormalization", {
  takes = "tensor",
  args = batch_rows,
  supports_masking = true,
  init = function(self)
    self[S].train_options = { axis = self.axis, epsilon = self.epsilon, momentum = self.momentum }
    for _, kind in ipairs { "relu", "relu6" } do
      self[S][kind] = { axis = self.axis, epsilon = self.epsilon, momentum = self.momentum,
        activation = kind }
    end
    if self.renorm_clipping then
      check.refuse_unknown("renorm_clipping", self.renorm_clipping, { "rmin", "rmax", "dmax" },
        "key")
    end
  end,
  build = function(self, shape)
    local sizes = sizes_of(self, shape, self.axis)
    add_affine(self, sizes)
    -- in two bytes a hundredth of a step is lost
    local wide = HALF[self.dtype] and "float32" or nil
    local function statistic(name, initializer)
      self[name] = self:add_weight {
        sizes, name = name, initializer = initializer, trainable = false, dtype = wide,
      }
    end
    statistic("moving_mean", self.moving_mean_initializer)
    statistic("moving_variance", self.moving_variance_initializer)
    if self.renorm then
      local function deviation(s, dtype)
        return ops.sqrt(self.moving_variance_initializer(s, dtype))
      end
      statistic("moving_stddev", deviation)
      statistic("renorm_mean", self.moving_mean_initializer)
      statistic("renorm_stddev", deviation)
    end
  end,
  call = function(self, x, o)
    if not (o.training and self[S].trainable) then
      return batch_normalization(
        x, self.moving_mean, self.moving_variance, self.axis, self.beta, self.gamma, self.epsilon)
    end
    if not self.renorm and o.mask == nil then
      return (batch_train(x, self.gamma, self.beta, self.moving_mean, self.moving_variance,
        self[S].train_options))
    end
    local axes = others(x.ndim, self.axis)
    local mean, variance
    if o.mask ~= nil then
      mean, variance = masked_moments(x, o.mask, axes)
    else
      mean, variance = ops.moments(x, axes)
    end
    local gamma, beta = self.gamma, self.beta
    if self.renorm then
      gamma, beta = renormalize(self, mean, variance)
    else
      blend(self.moving_mean, mean, self.momentum)
      blend(self.moving_variance, variance, self.momentum)
    end
    return batch_normalization(x, mean, variance, self.axis, beta, gamma, self.epsilon)
  end,
  torch = { links = function(self)
    return not self.renorm and links.list(in_torch.links(self),
      links.one("running_mean", self.moving_mean), links.one("running_var", self.moving_variance))
      or nil
  end },
  -- What a convolution in front needs to do the layer's work in prediction (see tide.graph.fuse):
  -- mean, variance, offset, scale and what is added to the variance; nil where it cannot.
  _folds = function(self, rank)
    if (self.axis == -1 or self.axis == rank) and not base.is_training() then
      return self.moving_mean, self.moving_variance, self.beta, self.gamma, self.epsilon
    end
  end,
  -- The layer and a plain relu or relu6 behind it, in one op (see tide.graph.fuse).
  fuse = { relu = function(self, x)
    if not (base.is_training() and self[S].trainable) then
      return batch_normalization(
        x, self.moving_mean, self.moving_variance, self.axis, self.beta, self.gamma, self.epsilon,
        true)
    end
    return clipped(self, x, "relu")
  end, relu6 = function(self, x)
    return clipped(self, x, "relu6")
  end },
  compute_output_shape = same_shape,
})

-- ---- layer, group, RMS, unit ----

local layer_normalization, group_normalization, rms_normalization =
  ops.layer_normalization, ops.group_normalization, ops.rms_normalization

--- Normalizes each sample over the given axes. Weights gamma and beta have those axes' shape.
--     tide.layers.LayerNormalization()(tide.tensor { { 1, 3 } })   --> { { -0.9995, 0.9995 } }
norm.LayerNormalization = base.derive(base, "LayerNormalization", {
  takes = "tensor",
  args = { axis_row(), { "epsilon", "number", 0.001, "added to the variance", min = 0 },
    affine_rows() },
  supports_masking = true,
  init = function(self)
    self[S].options = { axis = plain_axis(self), epsilon = self.epsilon }
  end,
  build = function(self, shape)
    local axes = type(self.axis) == "table" and self.axis:totable() or { self.axis }
    for i, axis in ipairs(axes) do
      axes[i] = axis < 0 and #shape + 1 + axis or axis
    end
    table.sort(axes)
    add_affine(self, sizes_of(self, shape, axes))
  end,
  call = function(self, x)
    return layer_normalization(x, self.gamma, self.beta, self[S].options)
  end,
  torch = in_torch,
  compute_output_shape = same_shape,
})

--- Normalizes each sample over its other axes within groups of channels (Wu and He 2018); groups =
--- -1: one per channel.
--     tide.layers.GroupNormalization { 2 }(tide.ones { 1, 3, 4 }).shape   --> { 1, 3, 4 }
norm.GroupNormalization = base.derive(base, "GroupNormalization", {
  takes = "tensor",
  args = {
    { "groups", "int", 32, "number of groups" },
    { "axis", "axis", -1, "axis of the channels", batch = false },
    { "epsilon", "number", 0.001, "added to the variance", min = 0 },
    affine_rows(),
  },
  supports_masking = true,
  build = function(self, shape)
    local channels = sizes_of(self, shape, self.axis)[1]
    local groups = self.groups == -1 and channels or self.groups
    if groups < 1 or channels % groups ~= 0 then
      errors.raise("GroupNormalization",
        "groups must divide the channels (got %d groups and %d channels)", groups, channels)
    end
    self[S].options = { groups = groups, axis = self.axis, epsilon = self.epsilon }
    add_affine(self, { channels })
  end,
  call = function(self, x)
    return group_normalization(x, self.gamma, self.beta, self[S].options)
  end,
  torch = in_torch,
  compute_output_shape = same_shape,
})

--- Normalizes each sample and channel over the other axes (Ulyanov et al. 2016): groups of one
--- channel each. Weights gamma and beta have the channels' shape. The arithmetic is that of torch's
--- InstanceNorm without running statistics; the options are GroupNormalization's.
--     tide.layers.InstanceNormalization()(tide.ones { 1, 3, 4 }).shape   --> { 1, 3, 4 }
norm.InstanceNormalization = base.derive(base, "InstanceNormalization", {
  takes = "tensor",
  args = {
    { "axis", "axis", -1, "axis of the channels", batch = false },
    { "epsilon", "number", 0.001, "added to the variance", min = 0 },
    affine_rows(),
  },
  supports_masking = true,
  build = function(self, shape)
    local channels = sizes_of(self, shape, self.axis)[1]
    self[S].options = { groups = channels, axis = self.axis, epsilon = self.epsilon }
    add_affine(self, { channels })
  end,
  call = function(self, x)
    return group_normalization(x, self.gamma, self.beta, self[S].options)
  end,
  compute_output_shape = same_shape,
})

--- Divides by a power of the squares in neighbouring channels (Krizhevsky et al. 2012):
--- `x / (k + alpha * mean)^beta`, mean over `size` channels around each, zeros beyond the ends. As
--- torch.nn.LocalResponseNorm.
--     tide.layers.LocalResponseNormalization { 2 }(tide.ones { 1, 3, 4 }).shape   --> { 1, 3, 4 }
norm.LocalResponseNormalization = base.derive(base, "LocalResponseNormalization", {
  takes = "tensor",
  args = {
    { "size", "int", check.required, "how many channels count", min = 1 },
    { "alpha", "number", 1e-4, "factor of the mean" },
    { "beta", "number", 0.75, "exponent" },
    { "k", "number", 1, "added to the mean" },
    { "data_format", "enum", "channels_last", "where the channels are",
      of = "channels_last|channels_first" },
  },
  supports_masking = true,
  build = function(self, shape)
    local channels = sizes_of(self, shape, self.data_format == "channels_first" and 2 or -1)[1]
    -- (channels, channels): 1 / size where the one is in the window of the other
    local ones = ops.ones({ channels, channels }, { dtype = self.dtype })
    local before, after = self.size // 2, (self.size - 1) // 2
    self[S].window = ops.tril(ops.triu(ones, -after), before) / self.size
  end,
  call = function(self, x)
    local first = self.data_format == "channels_first"
    local squares = ops.square(first and ops.moveaxis(x, 2, -1) or x)
    local mean = ops.matmul(squares, ops.cast(self[S].window, x.dtype))
    mean = first and ops.moveaxis(mean, -1, 2) or mean
    return x / (mean * self.alpha + self.k) ^ self.beta
  end,
  compute_output_shape = same_shape,
})

--- Divides by the root of the mean square over the given axes and multiplies by a learned scale.
--     tide.layers.RMSNormalization()(tide.tensor { { 3, 3 } })   --> { { 1, 1 } }
norm.RMSNormalization = base.derive(base, "RMSNormalization", {
  takes = "tensor",
  args = { axis_row(), { "epsilon", "number", 1e-6, "added to the mean square", min = 0 } },
  supports_masking = true,
  init = function(self)
    self[S].options = { axis = plain_axis(self), epsilon = self.epsilon }
  end,
  build = function(self, shape)
    self.scale = self:add_weight {
      sizes_of(self, shape, self.axis), name = "scale", initializer = "ones" }
  end,
  call = function(self, x)
    return rms_normalization(x, self.scale, self[S].options)
  end,
  torch = { links = function(self)
    return { links.one("weight", self.scale) }
  end },
  compute_output_shape = same_shape,
})

--- Divides by the Euclidean norm over the given axes.
--     tide.layers.UnitNormalization()(tide.tensor { { 3, 4 } })   --> { { 0.6, 0.8 } }
norm.UnitNormalization = base.derive(base, "UnitNormalization", {
  takes = "tensor",
  args = { axis_row() },
  supports_masking = true,
  init = function(self)
    self[S].options = { axis = plain_axis(self), order = 2, epsilon = 1e-12 }
  end,
  build = function(self, shape)
    sizes_of(self, shape, self.axis)
  end,
  call = function(self, x)
    return ops.normalize(x, self[S].options)
  end,
  compute_output_shape = same_shape,
})

return norm

--- Convolutions over 1 to 3 spatial axes: plain, transposed, depthwise and separable. Kernels are
--- stored as Keras stores them.
local S = require "tide.private"
local activations = require "tide.activations"
local base = require "tide.layers.base"
local core = require "tide.core"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local list = require "tide.list"
local lora = require "tide.layers.lora"
local none = require "tide.none"
local ops = require "tide.ops"
local spatial = require "tide.layers.spatial"

local conv_op, transpose_op, depthwise_op, separable_op = ops.conv, ops.conv_transpose,
  ops.depthwise_conv, ops.separable_conv
local conv_norm = core.ops.conv_norm_
local required = spatial.required

local conv = {}

local function rows_of(...)
  local out = {}
  for _, row in ipairs { ... } do
    out[#out + 1] = row
  end
  return out
end

local function filters()
  return { "filters", "int", required, "channels of the result", min = 1 }
end
local function kernel_size(n)
  return { "kernel_size", "ints", required, "extents of the kernel", n = n }
end
local function strides(n) return { "strides", "ints", 1, "step per spatial axis", n = n } end
local function dilation(n)
  return { "dilation_rate", "ints", 1, "distance of neighbouring taps", n = n }
end
local function padding(of) return { "padding", "enum", "valid", "border rule", of = of } end
local activation = { "activation", "activation", nil, "applied to the result" }
local use_bias = { "use_bias", "bool", true, "add a bias" }
local multiplier = { "depth_multiplier", "int", 1, "results per input channel", min = 1 }

-- Initializer, regularizer and constraint of each kernel, in Keras' order.
local function weight_rows(...)
  local kernels = { ... }
  local out = {}
  for _, k in ipairs(kernels) do
    out[#out + 1] = { k .. "_initializer", "initializer", "glorot_uniform" }
  end
  out[#out + 1] = { "bias_initializer", "initializer", "zeros" }
  for _, k in ipairs(kernels) do
    out[#out + 1] = { k .. "_regularizer", "regularizer" }
  end
  out[#out + 1] = { "bias_regularizer", "regularizer" }
  out[#out + 1] = { "activity_regularizer", "regularizer" }
  for _, k in ipairs(kernels) do
    out[#out + 1] = { k .. "_constraint", "constraint" }
  end
  out[#out + 1] = { "bias_constraint", "constraint" }
  return table.unpack(out)
end

-- How older files of Keras hold the layers: `reorder` gives a kernel of Keras 1 its axes of today.
-- Theano's convolutions turned the kernel around.
local function keras_of(rank, reorder)
  return { older = function(layer, values, version, backend)
    local kernel = values[1]
    if not kernel then
      return values
    end
    if version == 1 and reorder then
      kernel = reorder(layer, kernel)
    end
    if backend == "theano" then
      for axis = 1, rank do
        kernel = kernel:flip(axis)
      end
    end
    local out = table.move(values, 1, #values, 1, {})
    out[1] = kernel
    return out
  end }
end

local function channels_first(layer)
  return layer.data_format == "channels_first"
end

-- Kernels of Keras 1 with their axes of today, by rank.
local reorder = {
  function(layer, kernel) -- (length, 1, in, out), or (out, in, length, 1)
    local s = kernel.shape
    if #s ~= 4 then
      return kernel
    elseif not (s[1] == layer.kernel_size[1] and s[2] == 1 and s[4] == layer.filters) then
      kernel = kernel:transpose { 3, 4, 2, 1 }
    end
    return kernel:reshape { kernel.shape[1], kernel.shape[3], kernel.shape[4] }
  end,
  function(layer, kernel)
    return channels_first(layer) and kernel:transpose { 3, 4, 2, 1 } or kernel
  end,
  function(layer, kernel)
    return channels_first(layer) and kernel:transpose { 3, 4, 5, 2, 1 } or kernel
  end,
}

local function reorder_transposed(layer, kernel)
  return kernel:transpose(channels_first(layer) and { 3, 4, 1, 2 } or { 1, 2, 4, 3 })
end

-- Everything that each call hands to the op, made once.
local function prepare(self)
  local own = self[S]
  own.strides = spatial.scalar(self.strides)
  own.dilation = spatial.scalar(self.dilation_rate)
  local fused = self.activation and activations.fused(self.activation)
    or (self.activation == nil and "linear") or nil
  own.fused = fused or "linear"
  own.next = not fused and self.activation
  local stretched, dilated = false, false
  for i = 1, #self.strides do
    stretched = stretched or self.strides[i] > 1
    dilated = dilated or self.dilation_rate[i] > 1
  end
  if stretched and dilated then
    errors.raise(getmetatable(self).__name,
      "strides and dilation_rate cannot both be above 1 (got %s and %s)", tostring(self.strides),
        tostring(self.dilation_rate))
  end
end

local function add_bias(self, n)
  if self.use_bias then
    self.bias = self:add_weight { { n }, name = "bias", initializer = self.bias_initializer,
      regularizer = self.bias_regularizer, constraint = self.bias_constraint }
  else
    self.bias = false
  end
end

local function add_kernel(self, field, name, shape)
  self[field] = self:add_weight { shape, name = field, initializer = self[name .. "_initializer"],
    regularizer = self[name .. "_regularizer"], constraint = self[name .. "_constraint"] }
end

local function sizes_and(self, ...)
  local out = table.move(self.kernel_size, 1, #self.kernel_size, 1, {})
  for _, n in ipairs { ... } do
    out[#out + 1] = n
  end
  return out
end

local function brief(self)
  local size = table.concat(self.kernel_size, "x")
  return self.filters and self.filters .. " " .. size or size
end

local function windows_of(self, shape, rank, channels, expected)
  local batch, sizes, given = spatial.parts(self, shape, rank)
  if expected and given ~= none and given ~= expected then
    errors.raise("conv", "input has %d channels, kernel expects %d (input %s)", given, expected,
      list.format(shape))
  end
  for i = 1, rank do
    sizes[i] = spatial.windows(
      self, sizes[i], self.kernel_size[i], self.strides[i], self.padding, self.dilation_rate[i])
  end
  return spatial.join(self, batch, sizes, channels)
end

local in_torch = { links = function(self)
  return links.list(links.convolution("weight", self.kernel), links.one("bias", self.bias))
end }

-- ---- plain ----

local function plain_call(self, x)
  local own = self[S]
  local y = conv_op(x, self.kernel, own.strides, own.padding, nil, own.dilation, self.bias,
    self.groups, own.fused)
  if own.next then
    return own.next(y)
  end
  return y
end

-- The convolution by `kernel` and a normalization and activation behind it (see tide.graph.fuse).
local function fold(self, x, kernel, groups, padding_, norm, kind)
  local own = self[S]
  local rank = #self.strides + 2
  if not kernel or own.fused ~= "linear" or own.next or own.lora or x.dtype ~= "float32"
    or kernel.dtype ~= "float32" or x.ndim ~= rank or channels_first(self) then
    return nil
  end
  local mean, variance, offset, scale, epsilon = norm:_folds(rank)
  if not mean or mean.dtype ~= "float32" then
    return nil
  end
  return conv_norm(x, kernel, self.bias, mean, variance, offset, scale, epsilon, own.strides,
    padding_, own.dilation, groups, kind)
end

local function plain_fold(self, x, norm, kind)
  return fold(self, x, self.kernel, self.groups, self[S].padding, norm, kind)
end

for rank = 1, 3 do
  local name = "Conv" .. rank .. "D"
  --- Convolution: (batch, ..., channels) becomes (batch, ..., filters). As Keras' Conv1D, Conv2D,
  --- Conv3D.
  --
  --     tide.layers.Conv2D { 16, 3, padding = "same" }(tide.ones { 1, 8, 8, 3 }).shape
  --     --> { 1, 8, 8, 16 }
  conv[name] = base.derive(base, name, lora.extend({
    takes = "tensor",
    args = rows_of(filters(), kernel_size(rank), strides(rank),
      padding(rank == 1 and "valid|same|causal" or "valid|same"), spatial.data_format,
        dilation(rank), { "groups", "int", 1, "independent groups of channels", min = 1 },
        activation,
      use_bias, weight_rows "kernel"),
    supports_masking = rank == 1,
    rank = rank,
    keras = keras_of(rank, reorder[rank]),
    init = function(self)
      prepare(self)
      self[S].padding = self.padding
      if self.filters % self.groups ~= 0 then
        errors.raise(name, "filters must be a multiple of groups (got %d and %d)", self.filters,
          self.groups)
      end
    end,
    build = function(self, shape)
      local channels = spatial.channels(self, shape, rank)
      if channels % self.groups ~= 0 then
        errors.raise(name, "the %d channels of the input are not a multiple of groups = %d",
          channels, self.groups)
      end
      self[S].channels = channels
      add_kernel(self, "kernel", "kernel", sizes_and(self, channels // self.groups, self.filters))
      add_bias(self, self.filters)
    end,
    torch = in_torch,
    call = spatial.either(rank, plain_call),
    _fold = plain_fold,
    compute_output_shape = function(self, shape)
      return windows_of(self, shape, rank, self.filters, self[S].channels)
    end,
    compute_mask = function()
      return nil
    end,
    _brief = brief,
  }, "kernel"))
end

-- ---- transposed ----

local function transposed_call(self, x)
  local own = self[S]
  local y = transpose_op(x, self.kernel, own.strides, self.padding, own.output_padding, nil,
    own.dilation, self.bias, own.fused)
  if own.next then
    return own.next(y)
  end
  return y
end

-- Keras' size of a transposed convolution along one axis.
local function stretched(n, kernel, stride, rule, extra, rate)
  if n == none then
    return none
  end
  kernel = (kernel - 1) * rate + 1
  if not extra then
    return rule == "same" and n * stride or n * stride + math.max(kernel - stride, 0)
  end
  if rule == "same" then
    return (n - 1) * stride + kernel - 2 * (kernel // 2) + extra
  end
  return (n - 1) * stride + kernel + extra
end

for rank = 1, 3 do
  local name = "Conv" .. rank .. "DTranspose"
  local output_padding = {
    "output_padding", "ints", nil, "extra size per axis, below the stride", n = rank, min = 0 }
  local rest = rank == 3 and { spatial.data_format, output_padding }
    or { output_padding, spatial.data_format }
  --- Transposed convolution: what a convolution's gradient does, mostly used to enlarge.
  --     tide.layers.Conv2DTranspose { 4, 3, strides = 2, padding = "same" }(
  --       tide.ones { 1, 5, 5, 2 }).shape
  --     --> { 1, 10, 10, 4 }
  conv[name] = base.derive(base, name, {
    takes = "tensor",
    args = rows_of(filters(), kernel_size(rank), strides(rank), padding "valid|same", rest[1],
      rest[2], dilation(rank), activation, use_bias, weight_rows "kernel"),
    rank = rank,
    keras = keras_of(rank, rank == 2 and reorder_transposed or nil),
    init = function(self)
      prepare(self)
      for i = 1, self.output_padding and rank or 0 do
        if self.output_padding[i] >= self.strides[i] then
          errors.raise(name, "output_padding must be below the stride (got %s and %s)",
            tostring(self.output_padding), tostring(self.strides))
        end
      end
      self[S].output_padding = self.output_padding and self.output_padding:totable()
    end,
    build = function(self, shape)
      local channels = spatial.channels(self, shape, rank)
      self[S].channels = channels
      add_kernel(self, "kernel", "kernel", sizes_and(self, self.filters, channels))
      add_bias(self, self.filters)
    end,
    torch = in_torch,
    call = spatial.either(rank, transposed_call),
    compute_output_shape = function(self, shape)
      local batch, sizes = spatial.parts(self, shape, rank)
      for i = 1, rank do
        sizes[i] = stretched(sizes[i], self.kernel_size[i], self.strides[i], self.padding,
          self.output_padding and self.output_padding[i], self.dilation_rate[i])
      end
      return spatial.join(self, batch, sizes, self.filters)
    end,
    _brief = brief,
  })
end

-- ---- depthwise and separable ----

local function depthwise_call(self, x)
  local own = self[S]
  local y = depthwise_op(x, self.kernel, own.strides, self.padding, nil, own.dilation,
    self.bias, own.fused)
  if own.next then
    return own.next(y)
  end
  return y
end

-- The kernel (k..., C, M) is that of a convolution in C groups.
local function depthwise_fold(self, x, norm, kind)
  local shape = self.kernel and self.kernel.shape
  if not shape then
    return nil
  end
  local n = #shape
  local channels = shape[n - 1]
  local flat = table.move(shape, 1, n - 2, 1, {})
  flat[n - 1], flat[n] = 1, channels * shape[n]
  return fold(self, x, ops.reshape(self.kernel, flat), channels, self.padding, norm, kind)
end

local function separable_call(self, x)
  local own = self[S]
  local y = separable_op(x, self.depthwise_kernel, self.pointwise_kernel, own.strides,
    self.padding, nil, own.dilation, self.bias, own.fused)
  if own.next then
    return own.next(y)
  end
  return y
end

local function ones_and(rank, ...)
  local out = {}
  for i = 1, rank do
    out[i] = 1
  end
  for _, n in ipairs { ... } do
    out[#out + 1] = n
  end
  return out
end

for rank = 1, 2 do
  local rule = rank == 1 and "valid|same|causal" or "valid|same"
  local depthwise = "DepthwiseConv" .. rank .. "D"
  --- Convolution of each channel with `depth_multiplier` kernels of its own.
  --     tide.layers.DepthwiseConv2D { 3, depth_multiplier = 2 }(tide.ones { 1, 8, 8, 3 }).shape
  --     --> { 1, 6, 6, 6 }
  conv[depthwise] = base.derive(base, depthwise, {
    takes = "tensor",
    args = rows_of(kernel_size(rank), strides(rank), padding(rule), multiplier, spatial.data_format,
      dilation(rank), activation, use_bias, weight_rows "depthwise"),
    rank = rank,
    keras = keras_of(rank),
    init = prepare,
    build = function(self, shape)
      local channels = spatial.channels(self, shape, rank)
      self[S].channels = channels
      add_kernel(self, "kernel", "depthwise", sizes_and(self, channels, self.depth_multiplier))
      add_bias(self, channels * self.depth_multiplier)
    end,
    torch = { links = function(self)
      return links.list(links.depthwise("weight", self.kernel), links.one("bias", self.bias))
    end },
    call = spatial.either(rank, depthwise_call),
    _fold = depthwise_fold,
    compute_output_shape = function(self, shape)
      local channels = spatial.channels(self, shape, rank)
      return windows_of(self, shape, rank, channels * self.depth_multiplier, self[S].channels)
    end,
    _brief = brief,
  })

  local separable = "SeparableConv" .. rank .. "D"
  --- A depthwise convolution, then a 1x1 convolution that mixes the channels.
  --     tide.layers.SeparableConv2D { 4, 3 }(tide.ones { 1, 8, 8, 3 }).shape   --> { 1, 6, 6, 4 }
  conv[separable] = base.derive(base, separable, {
    takes = "tensor",
    args = rows_of(filters(), kernel_size(rank), strides(rank), padding(rule), spatial.data_format,
      dilation(rank), multiplier, activation, use_bias, weight_rows("depthwise", "pointwise")),
    rank = rank,
    keras = keras_of(rank),
    init = prepare,
    build = function(self, shape)
      local channels = spatial.channels(self, shape, rank)
      self[S].channels = channels
      add_kernel(self, "depthwise_kernel", "depthwise",
        sizes_and(self, channels, self.depth_multiplier))
      add_kernel(self, "pointwise_kernel", "pointwise",
        ones_and(rank, channels * self.depth_multiplier, self.filters))
      add_bias(self, self.filters)
    end,
    torch = { links = function(self) -- as two modules
      return links.list(links.depthwise("depthwise.weight", self.depthwise_kernel),
        links.convolution("pointwise.weight", self.pointwise_kernel),
        links.one("pointwise.bias", self.bias))
    end },
    call = spatial.either(rank, separable_call),
    compute_output_shape = function(self, shape)
      return windows_of(self, shape, rank, self.filters, self[S].channels)
    end,
    _brief = brief,
  })
end

return conv

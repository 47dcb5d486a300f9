--- Activation layers.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local list = require "tide.list"
local none = require "tide.none"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local ops = require "tide.ops"
local random = require "tide.random"

local activation = {}

local function same_shape(_, shape)
  return shape
end

--- Applies an activation by name or function.
--     tide.layers.Activation { "relu" }(tide.tensor { -1, 2 })   --> { 0, 2 }
activation.Activation = base.derive(base, "Activation", {
  takes = "tensor",
  args = { { "activation", "activation", check.required, "name or function" } },
  supports_masking = true,
  call = function(self, x)
    return self.activation(x)
  end,
  fuse_as = function(self)
    return self.activation == ops.relu and "relu" or self.activation == ops.relu6 and "relu6" or nil
  end,
  compute_output_shape = same_shape,
  _brief = function(self)
    return require("tide.activations").name_of(self.activation) or ""
  end,
})

--- max(x, 0), with slope below `threshold` and an upper limit.
--     tide.layers.ReLU { max_value = 6 }(tide.tensor { -1, 2, 8 })   --> { 0, 2, 6 }
activation.ReLU = base.derive(base, "ReLU", {
  takes = "tensor",
  args = {
    { "max_value", "number", nil, "upper limit", min = 0 },
    { "negative_slope", "number", 0, "slope below the threshold", min = 0 },
    { "threshold", "number", 0, "where the identity begins", min = 0 },
  },
  supports_masking = true,
  init = function(self)
    local plain = not self.max_value and self.negative_slope == 0 and self.threshold == 0
    self[S].options = not plain and { max_value = self.max_value,
      negative_slope = self.negative_slope, threshold = self.threshold }
  end,
  call = function(self, x)
    if self[S].options then
      return ops.relu(x, self[S].options)
    end
    return ops.relu(x)
  end,
  fuse_as = function(self)
    local o = self[S].options
    if o and o.max_value == 6 and o.negative_slope == 0 and o.threshold == 0 then
      return "relu6"
    end
    return not o and "relu" or nil
  end,
  compute_output_shape = same_shape,
})

--- x above zero, `negative_slope * x` below. The layer's default slope is 0.3, as in Keras.
--     tide.layers.LeakyReLU { 0.1 }(tide.tensor { -1, 2 })   --> { -0.1, 2 }
activation.LeakyReLU = base.derive(base, "LeakyReLU", {
  takes = "tensor",
  args = { { "negative_slope", "number", 0.3, "slope below zero", min = 0 } },
  supports_masking = true,
  call = function(self, x)
    return ops.leaky_relu(x, self.negative_slope)
  end,
  compute_output_shape = same_shape,
})

--- max(x, 0) + alpha * min(x, 0) with a learned alpha per feature, shared along `shared_axes`.
--     tide.layers.PReLU()(tide.tensor { { -1, 2 } })   --> { { 0, 2 } }
activation.PReLU = base.derive(base, "PReLU", {
  takes = "tensor",
  args = {
    { "alpha_initializer", "initializer", "zeros" },
    { "alpha_regularizer", "regularizer" },
    { "alpha_constraint", "constraint" },
    { "shared_axes", { "axes", "list" }, nil, "axes with one alpha; 2 is the first after the batch",
      batch = false },
  },
  supports_masking = true,
  build = function(self, shape)
    local sizes = table.move(shape, 2, #shape, 1, {})
    local shared = self.shared_axes
    for _, axis in ipairs(type(shared) == "number" and { shared } or shared or {}) do
      sizes[(axis < 0 and #shape + 1 + axis or axis) - 1] = 1
    end
    for i, n in ipairs(sizes) do
      if n == none then
        errors.raise("PReLU", "axis %d of the input must be known or shared (got %s)", i + 1,
          list.format(shape))
      end
    end
    self.alpha = self:add_weight { sizes, name = "alpha", initializer = self.alpha_initializer,
      regularizer = self.alpha_regularizer, constraint = self.alpha_constraint }
  end,
  torch = { links = function(self)
    return { links.flat("weight", self.alpha) }
  end },
  call = function(self, x)
    return ops.relu(x) - self.alpha * ops.relu(-x)
  end,
  compute_output_shape = same_shape,
})

--- x above zero, alpha * (exp(x) - 1) below.
--     tide.layers.ELU()(tide.tensor { -1, 2 })   --> { -0.63212, 2 }
activation.ELU = base.derive(base, "ELU", {
  takes = "tensor",
  args = { { "alpha", "number", 1, "limit of the negative part" } },
  supports_masking = true,
  call = function(self, x)
    return ops.elu(x, self.alpha)
  end,
  compute_output_shape = same_shape,
})

--- Softmax over an axis (or several); `mask` (a bool tensor of the input's shape) leaves elements
--- out.
--     tide.layers.Softmax()(tide.tensor { { 0, 0 } })   --> { { 0.5, 0.5 } }
activation.Softmax = base.derive(base, "Softmax", {
  takes = "tensor",
  args = { { "axis", "axes", -1, "axis of the probabilities" } },
  supports_masking = true,
  call = function(self, x, o)
    if o.mask ~= nil then
      x = x + (1 - ops.cast(o.mask, x.dtype)) * -1e9
    end
    return ops.softmax(x, { axis = self.axis })
  end,
  compute_output_shape = same_shape,
})

--- Softmax of the negated input over an axis: the smallest element gets the most. As
--- torch.nn.Softmin.
--     tide.layers.Softmin()(tide.tensor { { 0, 0 } })   --> { { 0.5, 0.5 } }
activation.Softmin = base.derive(base, "Softmin", {
  takes = "tensor",
  args = { { "axis", "axes", -1, "axis of the probabilities" } },
  supports_masking = true,
  call = function(self, x)
    return ops.softmax(-x, { axis = self.axis })
  end,
  compute_output_shape = same_shape,
})

-- The size of an option's axis, and where it is.
local function axis_of(self, shape)
  local at = self.axis < 0 and #shape + 1 + self.axis or self.axis
  if at < 1 or at > #shape then
    errors.raise(getmetatable(self).__name, "axis %d does not exist in the input's shape %s",
      self.axis, list.format(shape))
  end
  return at, shape[at]
end

--- relu(x) and relu(-x), joined along an axis, which becomes twice as long (Shang et al. 2016).
--     tide.layers.CReLU()(tide.tensor { { -1, 2 } })   --> { { 0, 2, 1, 0 } }
activation.CReLU = base.derive(base, "CReLU", {
  takes = "tensor",
  args = { { "axis", "axis", -1, "axis along which the two are joined", batch = false } },
  supports_masking = true,
  call = function(self, x)
    axis_of(self, x.shape)
    return ops.concatenate({ ops.relu(x), ops.relu(-x) }, self.axis)
  end,
  compute_output_shape = function(self, shape)
    local out = list.copy(shape)
    local at, size = axis_of(self, shape)
    out[at] = size == none and none or 2 * size
    return out
  end,
})

--- x above zero; below, x times a slope that is drawn for each element from [lower, upper] in
--- training, and is their mean otherwise (Xu et al. 2015). As torch.nn.RReLU.
--     tide.layers.RReLU { 0.1, 0.3 }(tide.tensor { -1, 2 })   --> { -0.2, 2 }
activation.RReLU = base.derive(base, "RReLU", {
  takes = "tensor",
  args = {
    { "lower", "number", 1 / 8, "smallest slope below zero", min = 0 },
    { "upper", "number", 1 / 3, "largest slope below zero", min = 0 },
    { "seed", "int", nil, "own random stream" },
  },
  supports_masking = true,
  init = function(self)
    if self.lower > self.upper then
      errors.raise("RReLU", "lower must be at most upper (got %s and %s)", self.lower, self.upper)
    end
    self[S].generator = self.seed and random.SeedGenerator(self.seed)
  end,
  call = function(self, x, o)
    if not o.training then
      return ops.leaky_relu(x, (self.lower + self.upper) / 2)
    end
    local slope = random.uniform(x.shape, { minval = self.lower, maxval = self.upper,
      dtype = x.dtype, seed = self[S].generator or nil })
    return ops.relu(x) - slope * ops.relu(-x)
  end,
  compute_output_shape = same_shape,
})

--- The first half of an axis times the sigmoid of the second (Dauphin et al. 2017). As
--- torch.nn.GLU.
--     tide.layers.GatedLinearUnit()(tide.tensor { { 4, 0 } })   --> { { 2 } }
activation.GatedLinearUnit = base.derive(base, "GatedLinearUnit", {
  takes = "tensor",
  args = { { "axis", "axis", -1, "axis that is halved", batch = false } },
  supports_masking = true,
  call = function(self, x)
    axis_of(self, x.shape)
    return ops.glu(x, self.axis)
  end,
  compute_output_shape = function(self, shape)
    local out = list.copy(shape)
    local at, size = axis_of(self, shape)
    if size ~= none and size % 2 ~= 0 then
      errors.raise("GatedLinearUnit", "axis %d must be even to be halved (got the shape %s)",
        self.axis, list.format(shape))
    end
    out[at] = size == none and none or size // 2
    return out
  end,
})

return activation

--- Dense layers of another kind: TernaryDense, by Keras' names and options, and Maxout.
local activations = require "tide.activations"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.layers.core"
local none = require "tide.none"
local ops = require "tide.ops"

local linear = ops.linear
local dense = {}

local UNITS = { "units", "int", check.required, "width of the output", min = 1 }

local function rows(first)
  for _, row in ipairs {
    { "use_bias", "bool", true, "add a bias" },
    { "kernel_initializer", "initializer", "glorot_uniform" },
    { "bias_initializer", "initializer", "zeros" },
    { "kernel_regularizer", "regularizer" },
    { "bias_regularizer", "regularizer" },
    { "activity_regularizer", "regularizer" },
    { "kernel_constraint", "constraint" },
    { "bias_constraint", "constraint" },
  } do
    first[#first + 1] = row
  end
  return first
end

local function brief(self)
  return tostring(self.units)
end

--- A dense layer that computes with the signs of its kernel alone: -1, 0 where an element is no
--- larger than `threshold`, and 1.
--
-- Without a threshold it is half of the mean of |kernel|, and the product is multiplied by that
-- mean (Ma et al. 2024, BitNet b1.58). The kernel is trained as it is: its gradient passes the
-- signs unchanged. As Keras' TernaryDense.
--     tide.layers.TernaryDense { 4 }(tide.ones { 2, 3 }).shape   --> { 2, 4 }
dense.TernaryDense = base.derive(base, "TernaryDense", {
  takes = "tensor",
  args = rows { UNITS,
    { "threshold", "number", nil, "elements up to it count as 0; half of the mean by default",
      min = 0 },
    { "activation", "activation", nil, "applied to the result; linear by default" } },
  supports_masking = true,
  build = function(self, shape)
    core.affine(self, shape, self.units)
  end,
  call = function(self, x)
    local kernel = self.kernel
    local size = ops.abs(kernel)
    local mean = not self.threshold and ops.mean(size)
    local signs = ops.sign(kernel)
      * ops.cast(ops.greater(size, self.threshold or mean * 0.5), kernel.dtype)
    local used = kernel + ops.stop_gradient(signs - kernel)
    local fused = self.activation and activations.fused(self.activation)
    local y = linear(x, mean and used * mean or used, self.bias, fused or nil)
    if self.activation and not fused then
      return self.activation(y)
    end
    return y
  end,
  compute_output_shape = core.affine_shape,
  _brief = brief,
})

--- The largest of `pieces` dense layers, element by element (Goodfellow et al. 2013).
--
-- kernel is (in, pieces * units), bias (pieces * units): the layers stand one after the other, as
-- in Torch7's nn.Maxout.
--     tide.layers.Maxout { 4 }(tide.ones { 2, 3 }).shape   --> { 2, 4 }
dense.Maxout = base.derive(base, "Maxout", {
  takes = "tensor",
  args = rows { UNITS,
    { "pieces", "int", 4, "how many layers there are to choose from", min = 1 } },
  supports_masking = true,
  build = function(self, shape)
    core.affine(self, shape, self.pieces * self.units)
  end,
  call = function(self, x)
    local y = linear(x, self.kernel, self.bias)
    local shape = {}
    for i = 1, x.ndim - 1 do
      shape[i] = x.shape[i]
    end
    local n = #shape
    if shape[1] == none then
      shape[1] = -1
    end
    shape[n + 1], shape[n + 2] = self.pieces, self.units
    return ops.max(ops.reshape(y, shape), -2)
  end,
  compute_output_shape = core.affine_shape,
  _brief = brief,
})

return dense

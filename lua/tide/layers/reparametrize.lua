--- Layers around a layer whose kernel they normalize: SpectralNormalization, by Keras' names and
--- options, and WeightNormalization.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local mixed = require "tide.layers.mixed"
local ops = require "tide.ops"
local wrap = require "tide.layers.wrap"

local reparametrize = {}

-- The field of a built layer's kernel.
local function kernel_field(self)
  for _, key in ipairs { "kernel", "embeddings" } do
    if core.is_tensor(self.layer[key]) then
      return key
    end
  end
  errors.raise(self:_label(), "needs a layer with a kernel or embeddings (got %s)",
    self.layer:_label())
end

local function call(self, x, o)
  return self.layer(x, { training = o.training, mask = o.mask == nil and false or o.mask })
end

local function inner_shape(self, shape)
  return self.layer:compute_output_shape(shape)
end

local function brief(self)
  return getmetatable(self.layer).__name
end

-- The record of a weight of the layer inside.
local function record_of(layer, tensor)
  for _, r in ipairs(layer:_own_records()) do
    if rawequal(r.tensor, tensor) then
      return r
    end
  end
end

--- A layer whose kernel (or table of an Embedding) is divided by its largest singular value in each
--- step of training (Miyato et al. 2018).
--
-- The singular value is followed by `power_iterations` steps of the power method from the vector of
-- the step before, the weight vector_u. The kernel itself is overwritten. As Keras'
-- SpectralNormalization.
--     tide.layers.SpectralNormalization { tide.layers.Dense { 4 } }(tide.ones { 2, 3 }).shape
--     --> { 2, 4 }
reparametrize.SpectralNormalization = base.derive(wrap.Wrapper, "SpectralNormalization", {
  takes = "tensor",
  args = { { "layer", "any", check.required, "the layer inside" },
    { "power_iterations", "int", 1, "steps of the power method per call", min = 1 } },
  supports_masking = true,
  build = function(self)
    local kernel = self.layer[kernel_field(self)]
    self.vector_u = self:add_weight { { 1, kernel.shape[-1] }, name = "vector_u",
      initializer = { "truncated_normal", stddev = 0.02 }, trainable = false, dtype = kernel.dtype }
  end,
  call = function(self, x, o)
    if o.training then
      core.no_grad(self._normalize, self)
    end
    return call(self, x, o)
  end,
  -- One step: what Keras does where the kernel is all 0, too: nothing.
  _normalize = function(self)
    local kernel = self.layer[kernel_field(self)]
    local w = ops.reshape(kernel, { -1, kernel.shape[-1] })
    local options = { axis = { 1, 2 }, order = 2, epsilon = 1e-7 }
    local u, v = self.vector_u, nil
    for _ = 1, self.power_iterations do
      v = ops.normalize(ops.matmul(u, ops.transpose(w)), options)
      u = ops.normalize(ops.matmul(v, w), options)
    end
    local some = ops.any(ops.not_equal(w, 0), { axis = { 1, 2 }, keepdims = true })
    local sigma = ops.matmul(ops.matmul(v, w), ops.transpose(u))
    self.vector_u:assign(ops.where(some, u, self.vector_u))
    kernel:assign(ops.reshape(w / ops.where(some, sigma, 1), kernel.shape:totable()))
  end,
  -- As in Keras, the kernel is among the wrapper's own weights as well.
  _own_records = function(self)
    local out = base._own_records(self)
    if self.built then
      table.insert(out, 1, record_of(self.layer, self.layer[kernel_field(self)]))
    end
    return out
  end,
  compute_output_shape = inner_shape,
  _brief = brief,
})

--- A layer whose kernel is taken apart into directions and lengths (Salimans and Kingma 2016): for
--- each feature of the result, `kernel = g * v / |v|`.
--
-- v stands in the layer's own weight, g (one per feature) in the wrapper's, which begins with |v|:
-- the layer computes what it did without. As torch.nn.utils.weight_norm.
--     tide.layers.WeightNormalization { tide.layers.Dense { 4 } }(tide.ones { 2, 3 }).shape
--     --> { 2, 4 }
reparametrize.WeightNormalization = base.derive(wrap.Wrapper, "WeightNormalization", {
  takes = "tensor",
  args = { { "layer", "any", check.required, "the layer inside" } },
  supports_masking = true,
  build = function(self)
    local layer, key = self.layer, kernel_field(self)
    local v = layer[key]
    local axes = {}
    for i = 1, v.ndim - 1 do
      axes[i] = i
    end
    self.g = self:add_weight { { v.shape[-1] }, name = "g", dtype = v.dtype,
      initializer = function()
        return core.no_grad(ops.sqrt, ops.sum(ops.square(v), { axis = axes }))
      end }
    -- the layer inside reads, in place of its kernel, the one that is made of v and g
    local under = layer[S].stand_in or layer
    local function get(name)
      if name ~= key then
        return under[name]
      end
      local direction = layer[key]
      local size = ops.sum(ops.square(direction), { axis = axes, keepdims = true })
      local kernel = direction * (self.g * ops.rsqrt(size))
      return layer[S].compute and ops.cast(kernel, layer[S].compute) or kernel
    end
    local inside, stand_in = layer.call, mixed.in_place_of(layer, get)
    layer[S].call = function(_, ...) return inside(stand_in, ...) end
  end,
  call = call,
  compute_output_shape = inner_shape,
  _brief = brief,
})

return reparametrize

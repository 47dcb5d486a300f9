--- Layers that act in training only, by noise, and ActivityRegularization.
local S = require "tide.private"
local autograd = require "tide.tensor.autograd"
local base = require "tide.layers.base"
local core = require "tide.core"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local random = require "tide.random"
local spatial = require "tide.layers.spatial"

local regularize = {}

local function same_shape(_, shape)
  return shape
end

local rate = { "rate", "number", spatial.required, "share of the elements dropped", min = 0,
  max = 1 }
local seed = { "seed", "int", nil, "own random stream" }
local noise_shape = { "noise_shape", "shape", nil,
  "shape of the mask; sizes of 1 share it, none is the input's own" }

-- A noise shape with the input's sizes in place of unknown ones; nil where there is none.
local function concrete(shape, x)
  local out = {}
  for i = 1, shape and #shape or 0 do
    out[i] = (shape[i] == none or shape[i] == -1) and x.shape[i] or shape[i]
  end
  return shape and out
end

-- Defines a layer that returns `noisy(self, x)` in training, unless the option `amount`, its first,
-- is 0.
local function define(name, def)
  local amount, noisy = def.args[1][1], def.noisy
  def.noisy = nil
  def.supports_masking = true
  def.compute_output_shape = def.compute_output_shape or same_shape
  function def.init(self)
    self[S].generator = self.seed and random.SeedGenerator(self.seed)
  end
  function def.call(self, x, o)
    if not o.training or self[amount] == 0 then
      return x
    end
    return noisy(self, x)
  end
  def.takes = "tensor"
  regularize[name] = base.derive(base, name, def)
end

local dropout_op = ops.dropout

local function dropout(self, x, shape)
  return dropout_op(x, self.rate, shape, self[S].generator and self[S].generator:next() or nil)
end

--- Sets a share of the elements to 0 and divides the others by `1 - rate`, in training (Srivastava
--- et al. 2014).
--     tide.layers.Dropout { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
define("Dropout", {
  args = { rate, noise_shape, seed },
  keeps_dtype = true,
  noisy = function(self, x)
    return dropout(self, x, concrete(self.noise_shape, x))
  end,
  _brief = function(self)
    return list.number("%g", self.rate)
  end,
})

for rank = 1, 3 do
  --- Dropout of whole channels.
  --     tide.layers.SpatialDropout2D { 0.5 }(tide.ones { 1, 2, 2, 1 }).shape   --> { 1, 2, 2, 1 }
  define("SpatialDropout" .. rank .. "D", {
    keras = { config = function(_, config)
      config.trainable = nil -- Keras' classes do not take it
      return config
    end },
    args = rank == 1 and { rate, seed } or { rate, spatial.data_format, seed },
    keeps_dtype = true,
    noisy = function(self, x)
      spatial.check_rank(self, x, rank)
      local shape = x.shape
      local mask = { shape[1] }
      for i = 2, rank + 2 do
        mask[i] = 1
      end
      local channels = self.data_format == "channels_first" and 2 or rank + 2
      mask[channels] = shape[channels]
      return dropout(self, x, mask)
    end,
    compute_output_shape = function(self, shape)
      spatial.parts(self, shape, rank)
      return shape
    end,
  })
end

--- Dropout that keeps mean and variance of self-normalizing networks (Klambauer et al. 2017).
--     tide.layers.AlphaDropout { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
define("AlphaDropout", {
  args = { { "rate", "number", spatial.required, "share of the elements dropped", min = 0,
    below = 1 }, noise_shape, seed },
  noisy = function(self, x)
    return random.alpha_dropout(x, self.rate, concrete(self.noise_shape, x),
      self[S].generator or nil)
  end,
})

local function normal(self, x, mean, stddev)
  return random.normal(x.shape, { mean = mean, stddev = stddev, dtype = x.dtype,
    seed = self[S].generator or nil })
end

--- Multiplies by normal noise of mean 1 and standard deviation sqrt(rate / (1 - rate)).
--     tide.layers.GaussianDropout { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
define("GaussianDropout", {
  args = { { "rate", "number", spatial.required, "as Dropout's rate", min = 0, below = 1 }, seed },
  noisy = function(self, x)
    return x * normal(self, x, 1, math.sqrt(self.rate / (1 - self.rate)))
  end,
})

--- Adds normal noise of mean 0.
--     tide.layers.GaussianNoise { 0.1 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
define("GaussianNoise", {
  args = { { "stddev", "number", spatial.required, "standard deviation of the noise", min = 0 },
    seed },
  noisy = function(self, x)
    return x + normal(self, x, 0, self.stddev)
  end,
})

--- Drops whole samples, as the residual branch of a block (Huang et al. 2016): each with
--- probability `rate` and alone (`mode = "row"`), or all of a batch at once ("batch"); what stays
--- is divided by 1 - rate, in training. As torchvision's StochasticDepth.
--     tide.layers.StochasticDepth { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
define("StochasticDepth", {
  args = { rate, { "mode", "enum", "row", "what is dropped together", of = "row|batch" }, seed },
  keeps_dtype = true,
  noisy = function(self, x)
    local shape = { self.mode == "row" and x.shape[1] or 1 }
    for i = 2, x.ndim do
      shape[i] = 1
    end
    return dropout(self, x, shape)
  end,
  _brief = function(self)
    return list.number("%g", self.rate)
  end,
})

local reversed = autograd.custom_gradient(function(x, factor)
  return x, function(dy)
    return dy * -factor
  end
end)

--- Returns its input; its gradient goes on times `-factor` (Ganin and Lempitsky 2015).
--     tide.layers.GradientReversal()(tide.tensor { 1, 2 })   --> { 1, 2 }
regularize.GradientReversal = base.derive(base, "GradientReversal", {
  takes = "tensor",
  args = { { "factor", "number", 1, "of the gradient, negated" } },
  supports_masking = true,
  keeps_dtype = true,
  call = function(self, x)
    return core.is_tensor(x) and reversed(x, self.factor) or x
  end,
  compute_output_shape = same_shape,
})

--- Returns its input and adds a penalty on it: l1 * sum |x| + l2 * sum x^2, per sample.
--     tide.layers.ActivityRegularization { l2 = 0.1 }(tide.ones { 2, 3 }).shape   --> { 2, 3 }
regularize.ActivityRegularization = base.derive(base, "ActivityRegularization", {
  takes = "tensor",
  args = { { "l1", "number", 0, nil, min = 0 }, { "l2", "number", 0, nil, min = 0 } },
  supports_masking = true,
  init = function(self)
    self.activity_regularizer = require("tide.regularizers").L1L2 { l1 = self.l1, l2 = self.l2 }
  end,
  call = function(_, x)
    return x
  end,
  compute_output_shape = same_shape,
  get_config = function(self)
    local config = base.get_config(self)
    config.activity_regularizer = nil
    return config
  end,
})

return regularize

--- Layers that act in training only, by noise, and ActivityRegularization.
local base = require "tide.layers.base"
local none = require "tide.none"
local ops = require "tide.ops"
local random = require "tide.random"
local spatial = require "tide.layers.spatial"

local regularize = {}

local function same_shape(_, shape)
  return shape
end

local rate = { "rate", "number", spatial.required, "share of the elements dropped", min = 0, max = 1 }
local seed = { "seed", "int", nil, "own random stream" }
local noise_shape = { "noise_shape", "shape", nil, "shape of the mask; sizes of 1 share it, none is the input's own" }

-- A noise shape with the input's sizes in place of unknown ones.
local function concrete(shape, x)
  local out = {}
  for i = 1, #shape do
    out[i] = (shape[i] == none or shape[i] == -1) and x.shape[i] or shape[i]
  end
  return out
end

-- A generator of its own if the layer has a seed.
local function seeded(self)
  rawset(self, "_generator", self.seed and random.SeedGenerator(self.seed) or nil)
end

local dropout = ops.dropout

--- Sets a share of the elements to 0 and divides the others by `1 - rate`, in training (Srivastava et al. 2014).
--     tide.layers.Dropout { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
regularize.Dropout = base.derive(base, "Dropout", {
  args = { rate, noise_shape, seed },
  supports_masking = true,
  keeps_dtype = true,
  init = seeded,
  call = function(self, x, o)
    if not o.training or self.rate == 0 then
      return x
    end
    local noise = self.noise_shape and concrete(self.noise_shape, x) or nil
    return dropout(x, self.rate, noise, self._generator and self._generator:next() or nil)
  end,
  compute_output_shape = same_shape,
  _brief = function(self)
    return ("%g"):format(self.rate)
  end,
})

for rank = 1, 3 do
  local name = "SpatialDropout" .. rank .. "D"
  --- Dropout of whole channels.
  --     tide.layers.SpatialDropout2D { 0.5 }(tide.ones { 1, 2, 2, 1 }).shape   --> { 1, 2, 2, 1 }
  regularize[name] = base.derive(base, name, {
    args = rank == 1 and { rate, seed } or { rate, spatial.data_format, seed },
    supports_masking = true,
    keeps_dtype = true,
    init = seeded,
    call = function(self, x, o)
      if not o.training or self.rate == 0 then
        return x
      end
      spatial.check_rank(self, x, rank)
      local shape = x.shape
      local mask = { shape[1] }
      for i = 2, rank + 2 do
        mask[i] = 1
      end
      local channels = self.data_format == "channels_first" and 2 or rank + 2
      mask[channels] = shape[channels]
      return dropout(x, self.rate, mask, self._generator and self._generator:next() or nil)
    end,
    compute_output_shape = function(self, shape)
      spatial.parts(self, shape, rank)
      return shape
    end,
  })
end

--- Dropout that keeps mean and variance of self-normalizing networks (Klambauer et al. 2017).
--     tide.layers.AlphaDropout { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
regularize.AlphaDropout = base.derive(base, "AlphaDropout", {
  args = { { "rate", "number", spatial.required, "share of the elements dropped", min = 0, below = 1 }, noise_shape, seed },
  supports_masking = true,
  init = seeded,
  call = function(self, x, o)
    if not o.training or self.rate == 0 then
      return x
    end
    return random.alpha_dropout(x, self.rate, self.noise_shape and concrete(self.noise_shape, x) or nil, self._generator)
  end,
  compute_output_shape = same_shape,
})

--- Multiplies by normal noise of mean 1 and standard deviation sqrt(rate / (1 - rate)).
--     tide.layers.GaussianDropout { 0.5 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
regularize.GaussianDropout = base.derive(base, "GaussianDropout", {
  args = { { "rate", "number", spatial.required, "as Dropout's rate", min = 0, below = 1 }, seed },
  supports_masking = true,
  init = seeded,
  call = function(self, x, o)
    if not o.training or self.rate == 0 then
      return x
    end
    return x * random.normal(x.shape, { mean = 1, stddev = math.sqrt(self.rate / (1 - self.rate)), dtype = x.dtype,
      seed = self._generator })
  end,
  compute_output_shape = same_shape,
})

--- Adds normal noise of mean 0.
--     tide.layers.GaussianNoise { 0.1 }(tide.ones { 1, 2 })   --> { { 1, 1 } }
regularize.GaussianNoise = base.derive(base, "GaussianNoise", {
  args = { { "stddev", "number", spatial.required, "standard deviation of the noise", min = 0 }, seed },
  supports_masking = true,
  init = seeded,
  call = function(self, x, o)
    if not o.training or self.stddev == 0 then
      return x
    end
    return x + random.normal(x.shape, { mean = 0, stddev = self.stddev, dtype = x.dtype, seed = self._generator })
  end,
  compute_output_shape = same_shape,
})

--- Returns its input and adds a penalty on it: l1 * sum |x| + l2 * sum x^2, per sample.
--     tide.layers.ActivityRegularization { l2 = 0.1 }(tide.ones { 2, 3 }).shape   --> { 2, 3 }
regularize.ActivityRegularization = base.derive(base, "ActivityRegularization", {
  args = { { "l1", "number", 0, nil, min = 0 }, { "l2", "number", 0, nil, min = 0 } },
  supports_masking = true,
  init = function(self)
    rawset(self, "activity_regularizer", require("tide.regularizers").L1L2 { l1 = self.l1, l2 = self.l2 })
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

for _, c in pairs(regularize) do
  c.takes = "tensor"
end

return regularize

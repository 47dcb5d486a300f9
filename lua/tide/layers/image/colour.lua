--- Layers that change the colours of pictures: brightness, contrast, hue and their like, grey,
--- blurred and sharpened pictures, and histograms that are spread evenly.
--
-- Numbers are drawn per picture, in tensors of Keras' names and shapes; what is done with them is
-- one op in C per layer (`recolor_` and its like). Labels, boxes and masks stay as they are.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local image = require "tide.layers.image.base"
local list = require "tide.list"
local ops = require "tide.ops"
local random = require "tide.random"

local colour = {}

local raw = core.ops

-- A choice as a tensor (batch, ...): one for all pictures stands for each.
local function per_picture(v, x, width)
  v = core.is_tensor(v) and v or ops.convert_to_tensor(v)
  v = ops.cast(ops.reshape(v, { -1, width }), x.dtype)
  local n = x.shape[1]
  return v.shape[1] == 1 and n ~= 1 and ops.broadcast_to(v, { n, width }) or v
end

-- x with other colours by one number per picture, or two tensors of them.
local function recolored(self, x, how, amounts, more)
  local v = per_picture(amounts, x, 1)
  if more then
    v = ops.concatenate({ v, per_picture(more, x, 1) }, { axis = 2 })
  end
  return raw.recolor_(x, v, { how = how, low = self.value_range[1], high = self.value_range[2] })
end

local function rgb(self, info)
  if info.channels ~= 3 then
    errors.raise(self:_label(), "takes pictures of 3 channels (got the shape %s)",
      list.format(info.shape))
  end
end

-- Numbers (batch) between the ends of the option `factor`.
local function factors(self, info, seeds)
  return image.uniform({ info.batch }, self.factor[1], self.factor[2], seeds)
end

-- Which pictures something happens to, (batch) bool: with a probability between the ends of the
-- option `factor`, which is drawn itself.
local function chosen(self, info, seeds)
  local probability = factors(self, info, seeds)
  return ops.less(image.uniform({ info.batch }, 0, 1, seeds), probability)
end
colour.chosen = chosen

local required = { "factor", "any", check.required, "a number, or the two ends of a range" }

-- Defines a layer with the options `factor` (within these limits) and value_range.
local function define(name, def)
  local least, most = table.unpack(def.limits, 1, 2)
  def.limits = nil
  local init = def.init
  function def.init(self)
    if least then
      image.range(self, "factor", least, most)
    end
    image.check_values(self)
    if init then
      init(self)
    end
  end
  colour[name] = image.derive(name, def)
end

--- Adds one number to all colours of a picture: a share of value_range between the ends of
--- `factor`, within -1 and 1; a number means from -factor to factor. Colours stay in value_range.
--- Keras' RandomBrightness.
---
---     tide.layers.RandomBrightness { { 0.2, 0.2 } }(tide.ones { 1, 1, 1 })   --> { { { 52 } } }
define("RandomBrightness", {
  args = { required, image.value_range, image.seed },
  limits = { -1, 1 },
  _draw = function(self, info, seeds)
    local share = image.uniform({ info.batch, 1, 1, 1 }, self.factor[1], self.factor[2], seeds)
    return { rgb_delta = share * (self.value_range[2] - self.value_range[1]) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "brightness", t.rgb_delta)
  end,
})

--- Moves colours away from the mean of their channel, or toward it: by a factor between
--- 1 - low and 1 + high, `factor` being { low, high }, each from 0 to 1, or high alone. Keras'
--- RandomContrast.
---
---     tide.layers.RandomContrast { 0.9 }(tide.ones { 2, 2, 3 }):max()   --> 1
define("RandomContrast", {
  args = { required, image.value_range, image.seed },
  limits = { 0, 1 },
  _draw = function(self, info, seeds)
    return { contrast_factor = image.uniform({ info.batch, 1, 1, 1 }, 1 - self.factor[1],
      1 + self.factor[2], seeds) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "contrast", t.contrast_factor)
  end,
})

--- Turns the hue of all pixels by up to half a turn: by `factor` / 2, drawn between its ends,
--- either way. Keras' RandomHue.
---
---     tide.layers.RandomHue { 0.2 }(tide.ones { 1, 1, 3 })   --> { { { 1, 1, 1 } } }
define("RandomHue", {
  args = { required, image.value_range, "data_format", image.seed },
  limits = { 0, 1 },
  _draw = function(self, info, seeds)
    rgb(self, info)
    local turned = ops.greater(image.uniform({ info.batch }, 0, 1, seeds), 0.5)
    local by = factors(self, info, seeds) * 0.5
    return { factor = ops.where(turned, -by, by) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "hue", t.factor)
  end,
})

--- Multiplies the saturation of all pixels by factor / (1 - factor): 0.5 changes nothing, 0 gives
--- grey, 1 the purest colours. Keras' RandomSaturation.
---
---     tide.layers.RandomSaturation { { 0, 0 } }(tide.tensor { { { 9, 3, 6 } } }):min()   --> 9
define("RandomSaturation", {
  args = { required, image.value_range, "data_format", image.seed },
  limits = { 0, 1 },
  _draw = function(self, info, seeds)
    rgb(self, info)
    local share = factors(self, info, seeds)
    return { factor = share / (1 - share + 1e-7) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "saturation", t.factor)
  end,
})

--- Blends pictures with their grey form, of which `factor` is the share, from 0 to 1. Keras'
--- RandomColorDegeneration.
---
---     tide.layers.RandomColorDegeneration { 0.5 }(tide.ones { 4, 4, 3 }).shape   --> { 4, 4, 3 }
define("RandomColorDegeneration", {
  args = { required, image.value_range, "data_format", image.seed },
  limits = { -1, 1 },
  _draw = function(self, info, seeds)
    rgb(self, info)
    return { factor = image.uniform({ info.batch, 1, 1, 1 }, self.factor[1], self.factor[2],
      seeds) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "degenerate", t.factor)
  end,
})

--- Blurs pictures a little (factor 0), leaves them (0.5) or sharpens them (1). Keras'
--- RandomSharpness.
---
---     tide.layers.RandomSharpness { { 0.5, 0.5 } }(tide.ones { 2, 2, 3 }):max()   --> 1
define("RandomSharpness", {
  args = { required, image.value_range, "data_format", image.seed },
  limits = { 0, 1 },
  _draw = function(self, info, seeds)
    return { factor = factors(self, info, seeds) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "sharpen", per_picture(t.factor, x, 1) * 2)
  end,
})

--- Makes pictures of three channels grey, each with probability `factor`. Keras' RandomGrayscale.
---
---     tide.layers.RandomGrayscale { 1 }(tide.zeros { 1, 1, 3 })   --> { { { 0, 0, 0 } } }
colour.RandomGrayscale = image.derive("RandomGrayscale", {
  args = {
    { "factor", "number", 0.5, "probability", min = 0, max = 1 },
    "data_format", image.seed,
  },
  _draw = function(self, info, seeds)
    rgb(self, info)
    local u = image.uniform({ info.batch, 1, 1, 1 }, 0, 1, seeds)
    return { should_apply = ops.less(u, self.factor) }
  end,
  _images = function(_, x, t)
    return raw.recolor_(x, per_picture(t.should_apply, x, 1), { how = "grayscale" })
  end,
})

--- Inverts pictures, each with a probability that is drawn between the ends of `factor`. Keras'
--- RandomInvert.
---
---     tide.layers.RandomInvert { { 1, 1 } }(tide.ones { 1, 1, 3 })   --> { { { 254, 254, 254 } } }
define("RandomInvert", {
  args = {
    { "factor", "any", 1.0, "a probability, or the two ends of its range" },
    image.value_range, image.seed, "data_format",
  },
  limits = { 0, 1 },
  _draw = function(self, info, seeds)
    return { apply_inversion = chosen(self, info, seeds) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "invert", t.apply_inversion)
  end,
})

--- Leaves of each byte of a colour only the highest bits, `factor` of them: whole numbers from 1 to
--- 8, drawn below the upper end of a range. Keras' RandomPosterization.
---
---     tide.layers.RandomPosterization { { 1, 1 } }(tide.tensor { { { 200 } } }):max()   --> 128
define("RandomPosterization", {
  args = { required, image.value_range, "data_format", image.seed },
  limits = { 1, 8 },
  init = function(self)
    for i, v in ipairs(self.factor) do
      self.factor[i] = math.tointeger(v) or errors.raise("RandomPosterization",
        "factor must be whole numbers of bits (got %s)", check.show(v))
    end
  end,
  _draw = function(self, info, seeds)
    local low, high = self.factor[1], self.factor[2]
    if low == high then
      return { shift_factor = ops.full({ info.batch }, 8 - low, { dtype = "uint8" }) }
    end
    local bits = random.randint({ info.batch }, low, high, { seed = seeds, dtype = "int32" })
    return { shift_factor = ops.cast(8 - bits, "uint8") }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "posterize", t.shift_factor)
  end,
})

-- An option from 0 to 1, as Keras' Solarization reads it: its number is the upper end.
local function share(self, key)
  local v = self[key]
  if type(v) == "number" and v < 0 then
    errors.raise("Solarization", "%s must lie within 0 and 1 (got %g)", key, v)
  end
  image.range(self, key, 0, 1)
  if self[key][1] < 0 or self[key][2] > 1 then
    errors.raise("Solarization", "%s must lie within 0 and 1 (got %s)", key, check.show(v))
  end
end

--- Adds a number to all colours and turns those from a threshold on round (255 - colour). Both are
--- shares of 255, drawn between the ends of `addition_factor` and `threshold_factor` or between 0
--- and a number. Keras' Solarization.
---
---     tide.layers.Solarization()(tide.tensor { { { 10, 250 } } })   --> { { { 245, 5 } } }
define("Solarization", {
  args = {
    { "addition_factor", "any", 0.0, "a number, or the two ends of a range" },
    { "threshold_factor", "any", 0.0, "a number, or the two ends of a range" },
    image.value_range, image.seed,
  },
  limits = {},
  init = function(self)
    share(self, "addition_factor")
    share(self, "threshold_factor")
  end,
  _draw = function(self, info, seeds)
    local function between(ends)
      return image.uniform({ info.batch, 1, 1, 1 }, ends[1] * 255, ends[2] * 255, seeds)
    end
    return { additions = between(self.addition_factor),
      thresholds = between(self.threshold_factor) }
  end,
  _images = function(self, x, t)
    return recolored(self, x, "solarize", t.additions, t.thresholds)
  end,
})

--- Stretches each channel of a picture over the whole of value_range, in use and in training; a
--- channel of one colour stays. Keras' AutoContrast.
---
---     tide.layers.AutoContrast()(tide.tensor { { { 10 }, { 20 } } })   --> { { { 0 }, { 255 } } }
define("AutoContrast", {
  args = { image.value_range },
  limits = {}, always = true,
  _images = function(self, x)
    return raw.recolor_(x, { how = "autocontrast", low = self.value_range[1],
      high = self.value_range[2] })
  end,
})

--- Spreads the colours of each channel evenly, by one histogram of the whole batch, as Keras'
--- Equalization does: a picture alone has its own.
---
---     tide.layers.Equalization()(tide.tensor { { { 10 }, { 20 } } })   --> { { { 0 }, { 255 } } }
define("Equalization", {
  args = {
    image.value_range, { "bins", "int", 256, "of the histogram", min = 1, max = 1048576 },
    "data_format",
  },
  limits = {},
  _images = function(self, x)
    return raw.equalize_(x, { bins = self.bins, low = self.value_range[1],
      high = self.value_range[2] })
  end,
})

--- Spreads the colours of each channel evenly within tiles of a picture, in use and in training;
--- between the tiles' middles tables are interpolated. `clip_limit` times the mean count is the
--- most that a bin of a histogram may hold, 0 sets no limit. Keras'
--- ContrastLimitedAdaptiveHistogramEqualization (Zuiderveld 1994).
---
---     tide.layers.ContrastLimitedAdaptiveHistogramEqualization()(tide.zeros { 9, 9, 3 })
define("ContrastLimitedAdaptiveHistogramEqualization", {
  args = {
    image.value_range, { "clip_limit", "number", 4.0, "times the mean count; 0: none" },
    { "tile_grid_size", "ints", { 8, 8 }, "tiles down and across", n = 2, min = 1,
      max = 4096 },
    "data_format",
  },
  limits = {}, always = true,
  _images = function(self, x)
    return raw.equalize_tiles_(x, { clip_limit = self.clip_limit, tiles = self.tile_grid_size,
      low = self.value_range[1], high = self.value_range[2] })
  end,
})

-- An odd number, or two of them: the sizes of a kernel.
local function odd_sizes(self, key)
  local v = self[key]
  v = list.is(v) and v:totable() or v
  local pair = type(v) == "number" and { v, v } or v
  for i = 1, 2 do
    local n = check.is_plain(pair) and #pair == 2 and math.tointeger(pair[i])
    if not n or n < 1 or n % 2 == 0 then
      errors.raise(getmetatable(self).__name, "%s must be an odd number, or two of them (got %s)",
        key, check.show(v))
    end
  end
  self[key] = { math.tointeger(pair[1]), math.tointeger(pair[2]) }
end

--- Blurs pictures by a Gaussian kernel, each with a probability that is drawn between the ends of
--- `factor`. The deviations down and across are drawn between the ends of `sigma`, one pair for the
--- batch. Keras' RandomGaussianBlur.
---
---     tide.layers.RandomGaussianBlur { kernel_size = 5 }(tide.zeros { 4, 4, 3 }):max()   --> 0
define("RandomGaussianBlur", {
  args = {
    { "factor", "any", 1.0, "a probability, or the two ends of its range" },
    { "kernel_size", "any", 3, "an odd number, or two: down and across" },
    { "sigma", "any", 1.0, "deviation in pixels, from 0 to 1, or the two ends of its range" },
    image.value_range, "data_format", image.seed,
  },
  limits = { 0, 1 },
  init = function(self)
    odd_sizes(self, "kernel_size")
    image.range(self, "sigma", 0, 1)
  end,
  _draw = function(self, info, seeds)
    return { should_apply_blur = chosen(self, info, seeds),
      blur_factor = image.uniform({ 2 }, self.sigma[1], self.sigma[2], seeds) + 1e-6 }
  end,
  _images = function(self, x, t)
    local low, high = self.value_range[1], self.value_range[2]
    local y = ops.image.gaussian_blur(x, { kernel_size = self.kernel_size,
      sigma = ops.cast(t.blur_factor, x.dtype) })
    return ops.clip(ops.where(ops.reshape(t.should_apply_blur, { -1, 1, 1, 1 }), y, x), low, high)
  end,
})

return colour

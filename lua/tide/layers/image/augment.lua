--- Layers that are made of others: RandomColorJitter, RandAugment, AugMix.
--
-- The layers inside draw from the seeds of the outer one, and are no fields of it: files hold its
-- options alone.
local S = require "tide.private"
local image = require "tide.layers.image.base"
local ops = require "tide.ops"
local random = require "tide.random"

local augment = {}

-- A layer inside, which computes as the outer one does.
local function inner(self, name, options)
  options.dtype = self[S].compute or self.dtype
  options.data_format, options.bounding_box_format = self.data_format, self.bounding_box_format
  return require("tide.layers")[name](options)
end

-- ---- RandomColorJitter ----

local PARTS = {
  { "brightness_factor", "RandomBrightness" },
  { "contrast_factor", "RandomContrast" },
  { "saturation_factor", "RandomSaturation" },
  { "hue_factor", "RandomHue" },
}

--- Changes brightness, contrast, saturation and hue, one after the other, those of which a factor
--- is given: as RandomBrightness, RandomContrast, RandomSaturation and RandomHue take it. Keras'
--- RandomColorJitter.
---
---     tide.layers.RandomColorJitter { hue_factor = 1 }(tide.ones { 1, 1, 3 }):max()   --> 1
augment.RandomColorJitter = image.derive("RandomColorJitter", {
  args = {
    image.value_range,
    { "brightness_factor", "any", nil, "as RandomBrightness takes it; unchanged without" },
    { "contrast_factor", "any", nil, "as RandomContrast takes it" },
    { "saturation_factor", "any", nil, "as RandomSaturation takes it" },
    { "hue_factor", "any", nil, "as RandomHue takes it" },
    image.seed, "data_format",
  },
  init = function(self)
    image.check_values(self)
    self[S].parts = {}
    for _, part in ipairs(PARTS) do
      local key, name = part[1], part[2]
      if self[key] ~= nil then
        local layer = inner(self, name, { factor = self[key], value_range = self.value_range })
        self[key] = layer.factor
        table.insert(self[S].parts, { key = key, layer = layer })
      end
    end
  end,
  _draw = function(self, info, seeds)
    local t = {}
    for _, part in ipairs(self[S].parts) do
      t[part.key] = part.layer:_draw(info, seeds)
    end
    return t
  end,
  _images = function(self, x, t)
    for _, part in ipairs(self[S].parts) do
      x = part.layer:_images(x, t[part.key])
    end
    return x
  end,
})

-- ---- RandAugment and AugMix ----

-- The layers inside by Keras' names, each with its class and the options that hold the factor;
-- true: value_range too.
local PALETTE = {
  random_shear = { "RandomShear", { "x_factor", "y_factor" } },
  random_translation = { "RandomTranslation", { "height_factor", "width_factor" } },
  random_rotation = { "RandomRotation", { "factor" } },
  random_brightness = { "RandomBrightness", { "factor" }, true },
  random_color_degeneration = { "RandomColorDegeneration", { "factor" }, true },
  random_contrast = { "RandomContrast", { "factor" }, true },
  random_sharpness = { "RandomSharpness", { "factor" }, true },
  random_posterization = { "RandomPosterization", {}, true },
  solarization = { "Solarization", { "addition_factor", "threshold_factor" }, true },
  auto_contrast = { "AutoContrast", {}, true },
  equalization = { "Equalization", {}, true },
}
local RAND_AUGMENT = { "random_shear", "random_translation", "random_rotation",
  "random_brightness", "random_color_degeneration", "random_contrast", "random_sharpness",
  "random_posterization", "solarization", "auto_contrast", "equalization" }
local AUG_MIX = { "random_shear", "random_translation", "random_rotation", "random_posterization",
  "solarization", "auto_contrast", "equalization" }
local AUG_MIX_ALL = table.move({ "random_brightness", "random_color_degeneration",
  "random_contrast", "random_sharpness" }, 1, 4, #AUG_MIX + 1, { table.unpack(AUG_MIX) })

-- The layers of these names, with the outer layer's factor.
local function palette(self, names)
  local out = {}
  for _, name in ipairs(names) do
    local class, factors, colours = table.unpack(PALETTE[name], 1, 3)
    local options = { value_range = colours and self.value_range or nil }
    for _, key in ipairs(factors) do
      options[key] = { self.factor[1], self.factor[2] }
    end
    if options.x_factor or options.height_factor or class == "RandomRotation" then
      options.interpolation = self.interpolation
    elseif name == "random_posterization" then
      options.factor = math.max(1, math.floor(8 * self.factor[2]))
    end
    out[name] = inner(self, class, options)
  end
  return out
end

local factor = { "factor", "any", 0.5, "how strong: from 0 to 1, or the two ends of a range" }
local interpolation = { "interpolation", "enum", "bilinear", "between pixels",
  of = "bilinear|nearest" }

-- The numbers of a small tensor, or of a list.
local function list_of(v)
  return type(v) == "table" and v or v:tolist()
end

-- `method` of each layer that RandAugment chose, one after the other.
local function each_chosen(self, method, x, t)
  for _, i in ipairs(list_of(t.layer_idxes)) do
    local name = RAND_AUGMENT[i]
    local layer = self[S].parts[name]
    x = layer[method](layer, x, t.transforms[name])
  end
  return x
end

--- Changes a batch by `num_ops` of eleven layers, drawn anew for each batch: shear, translation,
--- rotation, brightness, grey, contrast, sharpness, posterization, solarization, autocontrast and
--- equalization, each as strong as `factor` allows (Cubuk et al. 2019). Boxes and masks go with the
--- pictures. Keras' RandAugment.
---
---     tide.layers.RandAugment { seed = 1 }(tide.ones { 2, 8, 8, 3 }).shape   --> { 2, 8, 8, 3 }
augment.RandAugment = image.derive("RandAugment", {
  args = {
    image.value_range, { "num_ops", "int", 2, "how many layers change a batch", min = 0 },
    factor, interpolation, image.seed, "data_format",
  },
  init = function(self)
    image.check_values(self)
    image.range(self, "factor", 0, 1)
    self[S].parts = palette(self, RAND_AUGMENT)
  end,
  _draw = function(self, info, seeds)
    local chosen = self.num_ops == 0 and {}
      or random.randint({ self.num_ops }, 1, #RAND_AUGMENT + 1, { seed = seeds })
    local transforms = {}
    for _, i in ipairs(list_of(chosen)) do
      local name = RAND_AUGMENT[i]
      transforms[name] = transforms[name] or self[S].parts[name]:_draw(info, seeds)
    end
    return { layer_idxes = chosen, transforms = transforms }
  end,
  _images = function(self, x, t)
    return each_chosen(self, "_images", x, t)
  end,
  _masks = function(self, x, t)
    return each_chosen(self, "_masks", x, t)
  end,
  _boxes = function(self, data, t)
    return each_chosen(self, "_boxes", data, t)
  end,
})

-- `method` along each of AugMix's chains, from x, and all of them with x mixed by their weights.
local function mixed_chains(self, method, x, t)
  local weights, own = list_of(t.chain_mixing_weights), t.weight_sample
  local sum = ops.zeros_like(x)
  for i, chain in ipairs(t.chain_transforms) do
    local y = x
    for _, step in ipairs(chain) do
      local layer = self[S].parts[step.layer_name]
      y = layer[method](layer, y, step.transformation)
    end
    sum = sum + y * weights[i]
  end
  return x * own + sum * (1 - own)
end

--- Mixes pictures with forms of them that chains of layers made (Hendrycks et al. 2019): of
--- `num_chains` chains, each of `chain_depth` steps at most, weights are drawn from a Dirichlet
--- distribution, the share of the picture itself from Beta(alpha, alpha). `all_ops` adds
--- brightness, grey, contrast and sharpness to shear, translation, rotation, posterization,
--- solarization, autocontrast and equalization. Masks go with the pictures. Keras' AugMix.
---
---     tide.layers.AugMix { seed = 1 }(tide.ones { 2, 8, 8, 3 }).shape   --> { 2, 8, 8, 3 }
augment.AugMix = image.derive("AugMix", {
  args = {
    image.value_range, { "num_chains", "int", 3, "chains that are mixed", min = 1 },
    { "chain_depth", "int", 3, "steps of a chain at most", min = 0 },
    { "factor", "any", 0.3, factor[4] },
    { "alpha", "number", 1.0, "parameter of the Dirichlet and Beta distributions", above = 0 },
    { "all_ops", "bool", true, "whether colours change too" }, interpolation, image.seed,
    "data_format",
  },
  init = function(self)
    image.check_values(self)
    image.range(self, "factor", 0, 1)
    self[S].names = self.all_ops and AUG_MIX_ALL or AUG_MIX
    self[S].parts = palette(self, self[S].names)
  end,
  _draw = function(self, info, seeds)
    local names, steps = self[S].names, self.num_chains * self.chain_depth
    local weights = random.gamma({ self.num_chains }, self.alpha, { seed = seeds })
    local t = { chain_mixing_weights = weights / weights:sum(), chain_transforms = {},
      weight_sample = random.beta({ 1 }, self.alpha, self.alpha, { seed = seeds })[1] }
    -- the number behind the last name is a step that does nothing
    local drawn = steps == 0 and {}
      or random.randint({ steps }, 1, #names + 2, { seed = seeds }):tolist()
    for i = 1, self.num_chains do
      local chain = {}
      for k = 1, self.chain_depth do
        local name = names[drawn[(i - 1) * self.chain_depth + k]]
        chain[#chain + 1] = name and { layer_name = name,
          transformation = self[S].parts[name]:_draw(info, seeds) } or nil
      end
      t.chain_transforms[i] = chain
    end
    return t
  end,
  _images = function(self, x, t)
    return ops.clip(mixed_chains(self, "_images", x, t), self.value_range[1], self.value_range[2])
  end,
  _masks = function(self, x, t)
    return mixed_chains(self, "_masks", x, t)
  end,
})

return augment

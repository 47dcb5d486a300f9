--- Layers that are made of others: RandomColorJitter, RandAugment, AugMix.
--
-- The layers inside draw from the seeds of the outer one, and are no fields of it: files hold its
-- options alone.
local S = require "tide.private"
local colour = require "tide.layers.image.colour"
local image = require "tide.layers.image.base"

local augment = {}

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
        local layer = colour[name] { self[key], value_range = self.value_range,
          dtype = self[S].compute or self.dtype }
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

return augment

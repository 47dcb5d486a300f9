-- What layers that change pictures cost: milliseconds of one thread for a batch of 32 of 224 x
-- 224, the least of three, as spec/bench/augment_peer.py prints of Keras' in a graph of TensorFlow.
-- `build/tide spec/bench/augment.lua`.
local tide = require "tide"
local core = require "tide.core"
local L = tide.layers

core.set_threads(1)
local x = tide.random.uniform({ 32, 224, 224, 3 }, { maxval = 255, seed = 1 })

local rows = {
  { "RandomBrightness", { 0.5 } }, { "RandomContrast", { 0.5 } }, { "RandomHue", { 0.5 } },
  { "RandomSaturation", { 0.5 } }, { "RandomColorDegeneration", { 0.5 } },
  { "RandomSharpness", { 0.5 } }, { "RandomGrayscale", { 0.5 } }, { "RandomInvert", {} },
  { "RandomPosterization", { { 2, 6 } } }, { "Solarization", { 0.5, 0.5 } }, { "AutoContrast", {} },
  { "Equalization", {} }, { "ContrastLimitedAdaptiveHistogramEqualization", {} },
  { "RandomGaussianBlur", {} }, { "RandomColorJitter", { brightness_factor = 0.5,
    contrast_factor = 0.5, saturation_factor = 0.5, hue_factor = 0.5 } },
  { "RandomErasing", {} }, { "CutMix", {} }, { "MixUp", {} }, { "RandAugment", {} },
  { "AugMix", {} },
}
for _, row in ipairs(rows) do
  local layer, best = L[row[1]](row[2]), math.huge
  for _ = 1, 3 do
    local start = os.clock()
    layer(x, { training = true })
    best = math.min(best, os.clock() - start)
  end
  print(("%s %.1f"):format(row[1], best * 1000))
end

-- Few pictures, many faces: RandAugment and MixUp change each batch of a Dataset anew before fit
-- sees it. The pictures are discs, squares, rings and crosses of all colours, drawn here; of the
-- 100 per kind that there are to learn from, no epoch shows the same.
--
--     build/tide examples/augment_pictures.lua [epochs] [pictures per kind]      (a few seconds)
local tide = require "tide"
local layers, ops, random = tide.layers, tide.ops, tide.random
local Dataset = tide.data.Dataset
local epochs, per_kind = tonumber(arg[1]) or 40, tonumber(arg[2]) or 100
local SIDE, KINDS = 24, { "disc", "square", "ring", "cross" }

tide.seed(3)

-- Pictures (n, SIDE, SIDE, 3) of colours from 0 to 255, and their kinds from 1 to 4.
local function draw(n)
  local function numbers(low, high)
    return random.uniform({ n, 1, 1, 1 }, { minval = low, maxval = high })
  end
  local across = ops.reshape(ops.arange(0, SIDE, { dtype = "float32" }), { 1, 1, SIDE, 1 })
  local down = ops.reshape(ops.arange(0, SIDE, { dtype = "float32" }), { 1, SIDE, 1, 1 })
  local size = numbers(4, 8)
  local x = ops.abs(across - numbers(9, 15)) / size -- 1 at the edge of the figure
  local y = ops.abs(down - numbers(9, 15)) / size
  local far, side = ops.sqrt(x * x + y * y), ops.maximum(x, y)
  local figures = { ops.less(far, 1), ops.less(side, 0.9),
    ops.logical_and(ops.less(far, 1.1), ops.greater(far, 0.6)),
    ops.logical_and(ops.less(side, 1.1), ops.less(ops.minimum(x, y), 0.3)) }
  local kinds = ops.arange(0, n, { dtype = "int32" }) % #KINDS + 1
  local shown = ops.zeros { n, SIDE, SIDE, 1 }
  for k, figure in ipairs(figures) do
    shown = shown + ops.cast(figure, "float32")
      * ops.cast(ops.equal(ops.reshape(kinds, { n, 1, 1, 1 }), k), "float32")
  end
  local function colours(low, high)
    return random.uniform({ n, 1, 1, 3 }, { minval = low, maxval = high })
  end
  local pictures = shown * colours(130, 255) + (1 - shown) * colours(0, 100)
  pictures = pictures + random.normal({ n, SIDE, SIDE, 3 }, { stddev = 15 })
  return ops.clip(pictures, 0, 255), kinds
end

local x, kinds = draw(per_kind * #KINDS)
local x_test, kinds_test = draw(400)
local y = ops.one_hot(kinds, #KINDS)

-- A batch is a table by name, and so is what each layer makes of it: labels are mixed as the
-- pictures are.
local augment = layers.RandAugment { num_ops = 2, factor = 0.3, seed = 1 }
local mix = layers.MixUp { alpha = 0.2, seed = 2 }
local batches = Dataset.from_tensor_slices({ images = x, labels = y })
  :shuffle(#x, { seed = 4 }):batch(40):map(augment):map(mix)
  :map(function(batch) return batch.images, batch.labels end)
  :prefetch(2)

local first = batches:take(1):get_single_element()
print("a mixed batch: " .. tostring(first.shape))

local function convolution(filters)
  return layers.Conv2D { filters, 3, padding = "same", activation = "relu" }
end
local model = tide.Sequential {
  layers.Input { SIDE, SIDE, 3 }, layers.Rescaling { 1 / 255 },
  convolution(16), layers.MaxPooling2D { 2 }, convolution(32), layers.MaxPooling2D { 2 },
  convolution(32), layers.BatchNormalization(), layers.Flatten(),
  layers.Dense { #KINDS, activation = "softmax" } }
model:compile { optimizer = { "adam", learning_rate = 3e-3 }, loss = "categorical_crossentropy",
  metrics = { "accuracy" } }
model:fit(batches, { epochs = epochs, verbose = 2 })

local result = model:evaluate(x_test, ops.one_hot(kinds_test, #KINDS),
  { verbose = 0, return_dict = true })
print(("of pictures that it never saw: %.0f%% right"):format(100 * result.accuracy))

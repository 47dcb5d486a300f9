-- What layers of colours and mixtures draw, what they carry along, and where they act. Values stand
-- in image_colours_spec.lua.
local expect = require "spec.support.expect"
local tide = require "tide"
local L, ops, random = tide.layers, tide.ops, tide.random

local function pictures(n)
  return random.uniform({ n or 4, 8, 10, 3 }, { maxval = 255, seed = 5 })
end

local function same(a, b)
  return tide.ops.all(ops.equal(a, b))
end

-- One layer of each class, strong enough to change what it gets.
local makes = {
  RandomBrightness = { 0.5 }, RandomContrast = { 0.9 }, RandomHue = { 0.9 },
  RandomSaturation = { 0.9 }, RandomColorDegeneration = { 0.9 }, RandomSharpness = { 0.9 },
  RandomGrayscale = { 0.5 }, RandomInvert = { 1 }, RandomPosterization = { 4 },
  Solarization = { 0.5, 0.5 }, RandomErasing = {}, CutMix = {}, MixUp = {},
  RandomColorJitter = { brightness_factor = 0.5, contrast_factor = 0.5, saturation_factor = 0.5,
    hue_factor = 0.5 },
}

local function make(name, seed)
  local options = { seed = seed }
  for k, v in pairs(makes[name]) do
    options[k] = v
  end
  return L[name](options)
end

local names = {}
for name in pairs(makes) do
  names[#names + 1] = name
end
table.sort(names)

for _, name in ipairs(names) do
  describe(name, function()
    it("draws the same for the same seed on any number of threads, and goes on", function()
      local x, got = pictures(), {}
      local core = require "tide.core"
      local before = core.get_threads()
      for i, threads in ipairs { 1, 4 } do
        core.set_threads(threads)
        local layer = make(name, 7)
        got[i] = { layer(x), layer(x) }
      end
      core.set_threads(before)
      assert.is_true(same(got[1][1], got[2][1]))
      assert.is_true(same(got[1][2], got[2][2]))
      assert.is_false(same(got[1][1], got[1][2]))
      assert.is_false(same(got[1][1], x))
    end)

    it("leaves pictures alone outside of training, in models too", function()
      local x, layer = pictures(), make(name, 7)
      assert.is_true(same(layer(x, { training = false }), x))
      local model = tide.Sequential { L.Input { 8, 10, 3 }, layer }
      assert.is_true(same(model:predict(x, { verbose = 0 }), x))
      assert.is_false(same(model(x, { training = true }), x))
    end)

    it("takes one picture, whole numbers and channels that stand first", function()
      local layer = make(name, 7)
      local one = ops.cast(pictures(1)[1], "uint8")
      local y = layer(one)
      assert.same({ 8, 10, 3 }, y.shape:totable())
      assert.equal("float32", y.dtype)
      local options = { seed = 7, data_format = "channels_first" }
      for k, v in pairs(makes[name]) do
        options[k] = v
      end
      local x = pictures()
      local turned = L[name](options)(ops.moveaxis(x, -1, 2))
      if name ~= "RandomErasing" then -- its noise is drawn in the order of the axes
        expect.close(ops.moveaxis(turned, 2, -1):tolist(), make(name, 7)(x):tolist(), 1e-5, 1e-4)
      end
    end)

    it("computes in other float types", function()
      local x = pictures()
      local wide = make(name, 7)(x)
      local options = { seed = 7, dtype = "float64" }
      for k, v in pairs(makes[name]) do
        options[k] = v
      end
      local y = L[name](options)(x)
      assert.equal("float64", y.dtype)
      if name ~= "RandomErasing" then
        -- colours on the edge of a step may fall on its other side
        local far = ops.greater(ops.abs(y - ops.cast(wide, "float64")), 0.01)
        assert.is_true(ops.sum(ops.cast(far, "int32")) <= 3)
      end
    end)
  end)
end

describe("what goes with pictures", function()
  local data = {
    images = pictures(), labels = ops.one_hot(tide.tensor({ 1, 2, 3, 1 }, { dtype = "int32" }), 3),
    bounding_boxes = { boxes = random.uniform { 4, 2, 4 }, labels = ops.ones { 4, 2 } },
    segmentation_masks = ops.cast(ops.greater(pictures(), 100), "float32"), more = "kept" }

  it("stays as it is where colours change", function()
    local out = L.RandomBrightness { 0.5, bounding_box_format = "rel_xyxy" }(data)
    assert.is_false(same(out.images, data.images))
    assert.is_true(same(out.labels, data.labels))
    assert.is_true(same(out.segmentation_masks, data.segmentation_masks))
    assert.is_true(same(out.bounding_boxes.boxes, data.bounding_boxes.boxes))
    assert.equal("kept", out.more)
  end)

  it("is mixed by MixUp: labels, masks, and the boxes of both", function()
    local layer = L.MixUp { 0.5, seed = 1, bounding_box_format = "rel_xyxy" }
    local t = L.MixUp { 0.5, seed = 1 }:get_random_transformation(data)
    local out = layer(data)
    local w, order = t.mix_weight:reshape { 4, 1 }, t.permutation_order
    local others = ops.take(data.labels, order, { axis = 1 })
    expect.close(out.labels:tolist(), (w * data.labels + (1 - w) * others):tolist(), 1e-6, 1e-6)
    expect.close(out.labels:sum(2):tolist(), { 1, 1, 1, 1 }, 1e-6, 1e-6)
    w = w:reshape { 4, 1, 1, 1 }
    local masks = data.segmentation_masks
    expect.close(out.segmentation_masks:tolist(),
      (w * masks + (1 - w) * ops.take(masks, order, { axis = 1 })):tolist(), 1e-6, 1e-6)
    local boxes = data.bounding_boxes.boxes
    assert.same({ 4, 4, 4 }, out.bounding_boxes.boxes.shape:totable())
    assert.same({ 4, 4 }, out.bounding_boxes.labels.shape:totable())
    assert.is_true(same(out.bounding_boxes.boxes, ops.concatenate({ boxes,
      ops.take(boxes, order, { axis = 1 }) }, { axis = 2 })))
  end)

  it("is cut by CutMix with the pictures, labels by the share of the pixels", function()
    local layer = L.CutMix { seed = 3 }
    local given = { images = data.images, labels = data.labels,
      segmentation_masks = data.segmentation_masks[{ {}, {}, {}, { 1, 1 } }] }
    local t = L.CutMix { seed = 3 }:get_random_transformation(given)
    local out = layer(given)
    assert.same({ 4, 8, 10, 1 }, out.segmentation_masks.shape:totable())
    expect.close(out.labels:sum(2):tolist(), { 1, 1, 1, 1 }, 1e-6, 1e-6)
    -- each pixel is one of the two pictures'
    local others = ops.take(given.images, t.permutation_order, { axis = 1 })
    local own = ops.equal(out.images, given.images)
    assert.is_true(ops.all(ops.logical_or(own, ops.equal(out.images, others))))
    local boxes = t.boxes:tolist()
    for i, weight in ipairs(t.mix_weight:tolist()) do
      local b = boxes[i]
      assert.is_true(math.abs(weight - 1 + (b[3] - b[1]) * (b[4] - b[2]) / 80) < 1e-5)
    end
    expect.raises("boxes cannot be cut with the pictures; leave them out, or take MixUp", function()
      L.CutMix { bounding_box_format = "rel_xyxy" }(data)
    end)
  end)

  it("may be whole numbers, of which mixtures are floats", function()
    local out = L.MixUp() { images = data.images, labels = tide.tensor({ 1, 2, 3, 4 }, {
      dtype = "int32" }) }
    assert.same({ 4 }, out.labels.shape:totable())
    assert.equal("float32", out.labels.dtype)
  end)
end)

describe("RandomErasing", function()
  it("erases boxes of the given size, with noise within the range of colours", function()
    local x = ops.ones { 64, 20, 20, 1 } * -1
    local y = L.RandomErasing { { 1, 1 }, scale = { 0.25, 0.25 }, seed = 1 }(x)
    local changed = ops.sum(ops.cast(ops.not_equal(y, x), "int32"), { axis = { 2, 3, 4 } })
    for _, n in ipairs(changed:tolist()) do
      assert.is_true(n >= 81 and n <= 100, n) -- half of each side, not on whole pixels
    end
    local inside = y[ops.not_equal(y, x)]
    assert.is_true(inside:min() >= 0 and inside:max() <= 255)
  end)

  it("spares pictures as often as factor says", function()
    local x = ops.zeros { 400, 4, 4, 1 }
    local y = L.RandomErasing { { 0.25, 0.25 }, scale = { 1, 1 }, fill_value = 9, seed = 2 }(x)
    local share = (y:max { axis = { 2, 3, 4 } } / 9):mean()
    assert.is_true(share > 0.17 and share < 0.33, share)
  end)
end)

describe("layers of colours", function()
  it("draw as Keras' do, within their limits", function()
    local data = ops.zeros { 500, 1, 1, 3 }
    local function ends(layer, key)
      local v = layer:get_random_transformation(data)[key]
      return v:min(), v:max()
    end
    local low, high = ends(L.RandomBrightness { { -0.25, 0.5 }, value_range = { -1, 1 } },
      "rgb_delta")
    assert.is_true(low >= -0.5 and low < -0.4 and high <= 1 and high > 0.9)
    low, high = ends(L.RandomContrast { 0.5 }, "contrast_factor")
    assert.is_true(low >= 1 and low < 1.1 and high <= 1.5 and high > 1.4)
    low, high = ends(L.RandomHue { 0.5 }, "factor")
    assert.is_true(low >= -0.25 and low < -0.2 and high <= 0.25 and high > 0.2)
    low, high = ends(L.RandomPosterization { { 2, 6 } }, "shift_factor")
    assert.equal(3, low)
    assert.equal(6, high)
    low, high = ends(L.Solarization { 0.5, { 0.5, 1 } }, "additions")
    assert.is_true(low >= 0 and low < 12 and high <= 127.5 and high > 115)
    low, high = ends(L.Solarization { 0.5, { 0.5, 1 } }, "thresholds")
    assert.is_true(low >= 127.5 and low < 140 and high <= 255 and high > 243)
  end)

  it("take a transformation of one number for all pictures", function()
    local x = ops.zeros { 3, 1, 1, 1 }
    local y = L.RandomBrightness { 1 }:transform_images(x, { rgb_delta = { { { 7 } } } })
    assert.same({ 7, 7, 7 }, y:reshape({ -1 }):tolist())
  end)

  it("say what is wrong", function()
    for _, row in ipairs {
      { function() L.RandomBrightness { 2 } end,
        "RandomBrightness: factor must be a number, or two, within -1 and 1 (got 2)" },
      { function() L.RandomHue { "x" } end,
        "RandomHue: factor must be a number, or two, within 0 and 1 (got 'x')" },
      { function() L.RandomHue { 0.5 }(ops.zeros { 2, 4, 4, 1 }) end,
        "takes pictures of 3 channels (got the shape [2, 4, 4, 1])" },
      { function() L.RandomPosterization { 2.5 } end, "factor must be whole numbers of bits" },
      { function() L.Solarization { 1.5 } end, "addition_factor must be a number, or two" },
      { function() L.Solarization { -0.5 } end, "addition_factor must lie within 0 and 1" },
      { function() L.AutoContrast { value_range = { 1 } } end,
        "value_range must be two numbers, the smaller first (got [1])" },
      { function() L.AutoContrast { value_range = { 1, 1 } } end, "value_range must be two" },
      { function() L.Equalization { bins = 0 } end, "bins" },
      { function() L.ContrastLimitedAdaptiveHistogramEqualization { tile_grid_size = { 0, 1 } } end,
        "tile_grid_size" },
      { function() L.RandomErasing { fill_value = "x" } end,
        "fill_value must be a number, or one per channel (got 'x')" },
      { function() L.RandomErasing { fill_value = { 1, 2 } }(ops.zeros { 4, 4, 3 }) end,
        "fill_value must have one number per channel (expected 3, got 2)" },
      { function() L.MixUp { 0 } end, "alpha" },
      { function() L.CutMix { 2 } end, "factor must be a number, or two, within 0 and 1 (got 2)" },
      { function() L.RandomContrast { 0.5 }(ops.zeros { 4, 4 }) end, "images must have the shape" },
      { function()
        L.RandomBrightness { 1 }:transform_images(ops.zeros { 3, 1, 1, 1 }, {
          rgb_delta = tide.tensor { 1, 2 } })
      end, "amounts has the wrong shape (expected [3, 1], got [2, 1])" },
    } do
      expect.raises(row[2], row[1])
    end
  end)

  it("work in Dataset:map, on tables by name too", function()
    local ds = tide.data.Dataset.from_tensor_slices({ images = pictures(8),
      labels = ops.one_hot(ops.ones({ 8 }, { dtype = "int32" }), 2) })
    local n = 0
    for batch in ds:batch(4):map(L.RandomInvert { 1 }):map(L.MixUp()):iter() do
      assert.same({ 4, 8, 10, 3 }, batch.images.shape:totable())
      assert.same({ 4, 2 }, batch.labels.shape:totable())
      n = n + 1
    end
    assert.equal(2, n)
  end)

  it("let gradients through", function()
    local x = pictures(2):requires_grad_(true)
    for _, layer in ipairs { L.RandomContrast { 0.5 }, L.RandomHue { 0.5 }, L.MixUp(),
      L.RandomSharpness { 0.9 }, L.CutMix() } do
      local dx = require("tide.core").gradients(layer(x):sum(), { x })[1]
      assert.same({ 2, 8, 10, 3 }, dx.shape:totable())
      assert.is_true(ops.any(ops.not_equal(dx, 0)))
    end
  end)
end)

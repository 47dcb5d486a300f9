-- Layers of pictures beside Keras' (spec/ref/image_layers.lua), by the choices that Keras made;
-- what they do with one picture, with what goes along, outside of training, with seeds, threads,
-- files and bad input.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local ref = dofile "spec/ref/image_layers.lua"

local L, ops = tide.layers, tide.ops

local function tensor(d)
  return ops.reshape(core.tensor(d.data, { dtype = d.dtype }), d.shape)
end

local function compare(got, want, what)
  assert.equal(want.dtype, got.dtype, what)
  assert.same(want.shape, { table.unpack(got.shape) }, what)
  expect.close(ops.reshape(got, { -1 }):tolist(), want.data, 1e-4, 2e-3, what)
end

local function made(case)
  local o = { bounding_box_format = case.format }
  for k, v in pairs(case.options) do
    o[k] = v
  end
  return L[case.class](o)
end

local function choices(case)
  local t = {}
  for k, v in pairs(case.chosen) do
    t[k] = type(v) == "table" and v.data and tensor(v) or v
  end
  return t
end

local boxes = tide.utils.bounding_boxes

local function data_of(case)
  local x, m = tensor(ref.images), tensor(ref.masks)
  if case.options.data_format == "channels_first" then
    x, m = ops.moveaxis(x, -1, 2), ops.moveaxis(m, -1, 2)
  end
  return x, m, { labels = tensor(ref.labels),
    boxes = boxes.convert_format(tensor(ref.boxes), "xyxy", case.format, 7, 9) }
end

for i, case in ipairs(ref) do
  describe(("layers.%s (case %d, %s)"):format(case.class, i, case.format), function()
    it("does to images, masks, boxes and labels what Keras does", function()
      local layer, t = made(case), choices(case)
      local x, m, given = data_of(case)
      if case.images then
        compare(layer:transform_images(x, t, true), case.images, "images")
        compare(layer:transform_segmentation_masks(m, t, true), case.masks, "masks")
      end
      local done = layer:transform_bounding_boxes(given, t, true)
      compare(done.boxes, case.boxes, "boxes")
      compare(done.labels, case.labels, "labels")
    end)
  end)
end

local RANDOM = {
  { "RandomCrop", { 4, 5 } }, { "RandomFlip", {} }, { "RandomRotation", { 0.3 } },
  { "RandomTranslation", { 0.3, 0.3 } }, { "RandomZoom", { 0.3 } },
  { "RandomShear", { 0.3, 0.2 } }, { "RandomPerspective", {} }, { "RandomElasticTransform", {} },
}

local function with(options, more)
  local o = {}
  for _, t in ipairs { options, more } do
    for k, v in pairs(t) do
      o[k] = v
    end
  end
  return o
end

describe("random layers of pictures", function()
  local x = tensor(ref.images)

  for _, row in ipairs(RANDOM) do
    local name, options = row[1], row[2]
    it(name .. ": equal seeds give equal pictures, on one thread and on two", function()
      local function run(threads)
        local before = tide.get_threads()
        tide.set_threads(threads)
        local layer = L[name](with(options, { seed = 7 }))
        local many = ops.concatenate { x, x, x, x }
        local a, b = layer(many), layer(many)
        tide.set_threads(before)
        return a, b
      end
      local a, b = run(1)
      local c, d = run(2)
      expect.close(a:tolist(), c:tolist(), 0, 0)
      expect.close(b:tolist(), d:tolist(), 0, 0)
      assert.is_false(ops.all(a:equal(b)), "the second batch is drawn anew")
      local other = L[name](with(options, { seed = 8 }))(ops.concatenate { x, x, x, x })
      assert.is_false(ops.all(a:equal(other)))
    end)

    it(name .. ": outside of training nothing is drawn", function()
      local layer = L[name](options)
      local y = layer(x, { training = false })
      if name ~= "RandomCrop" then
        assert.is_true(ops.all(y:equal(x)))
      else
        expect.close(y:tolist(), ops.image.resize(x, { 4, 5 },
          { crop_to_aspect_ratio = true }):tolist(), 0, 0)
      end
      local model = tide.Sequential { tide.Input { 7, 9, 2 }, L[name](options) }
      expect.close(model(x):tolist(), y:tolist(), 0, 0)
    end)

    it(name .. ": one picture is a batch of one, channels may come first", function()
      local one = L[name](with(options, { seed = 5 }))(x[1])
      local batch = L[name](with(options, { seed = 5 }))(x[{ { 1, 1 } }])
      expect.close(one:tolist(), batch[1]:tolist(), 0, 0)
      local first = L[name](with(options, { seed = 5, data_format = "channels_first" }))(
        ops.moveaxis(x, -1, 2))
      local last = L[name](with(options, { seed = 5 }))(x)
      expect.close(ops.moveaxis(first, 2, -1):tolist(), last:tolist(), 0, 0)
    end)

    it(name .. ": goes through a .keras file and through Tide's own", function()
      local layer = L[name](with(options, { seed = 5, bounding_box_format = "rel_xyxy" }))
      local model = tide.Sequential { tide.Input { 7, 9, 2 }, layer }
      local want = L[name](with(options, { seed = 5 }))(x)
      local folder = expect.folder()
      for _, file in ipairs { "m.keras", "m.safetensors" } do
        model:save(folder .. "/" .. file)
        local again = tide.load_model(folder .. "/" .. file).layers[1]
        assert.equal("rel_xyxy", again.bounding_box_format)
        expect.close(again(x):tolist(), want:tolist(), 0, 0, file)
      end
      os.execute("rm -rf " .. folder)
    end)
  end

  it("stand in models that train, where they act", function()
    local model = tide.Sequential { tide.Input { 7, 9, 2 }, L.RandomFlip { seed = 1 },
      L.RandomRotation { 0.1, seed = 2 }, L.Flatten(), L.Dense { 1 } }
    model:compile { optimizer = "sgd", loss = "mse" }
    local history = model:fit(x / 200, tide.zeros { 2, 1 }, { epochs = 2, verbose = 0 })
    assert.equal(2, #history.history.loss)
    assert.same({ 2, 1 }, { table.unpack(model:predict(x, { verbose = 0 }).shape) })
  end)

  it("act in the map of a data set", function()
    local flip = L.RandomFlip { "horizontal", seed = 1 }
    local ds = tide.data.Dataset.from_tensor_slices(x):batch(2):map(function(v) return flip(v) end)
    local got = 0
    for v in ds:iter() do
      got = got + 1
      assert.same({ 2, 7, 9, 2 }, { table.unpack(v.shape) })
    end
    assert.equal(1, got)
  end)
end)

describe("what goes with pictures", function()
  local x = tensor(ref.images)

  it("may be lists of unlike numbers of boxes; other entries stay", function()
    local out = L.RandomFlip { "horizontal", bounding_box_format = "xyxy" } {
      images = x, labels = { 1, 2 }, id = "a", bounding_boxes = {
        boxes = { { { 1, 1, 2, 2 }, { 0, 0, 3, 3 } }, { { 2, 2, 4, 4 } } },
        labels = { { 3, 4 }, { 5 } } } }
    assert.equal("a", out.id)
    assert.same({ 1, 2 }, out.labels:tolist())
    assert.same({ 2, 2, 4 }, { table.unpack(out.bounding_boxes.boxes.shape) })
    assert.same({ { 3, 4 }, { 5, -1 } }, out.bounding_boxes.labels:tolist())
  end)

  it("follows RandomCrop by its own offsets", function()
    local layer = L.RandomCrop { 4, 5, bounding_box_format = "xyxy" }
    local out = layer:transform_bounding_boxes({ boxes = core.tensor { { { 3, 2, 6, 5 } } },
      labels = core.tensor({ { 1 } }, { dtype = "int32" }) },
      { 1, 3, input_shape = { 1, 7, 9, 2 } }, true)
    assert.same({ { { 0, 1, 3, 4 } } }, out.boxes:tolist())
    local y = layer:transform_images(x, { 1, 3, input_shape = { 2, 7, 9, 2 } }, true)
    expect.close(y:tolist(), x[{ {}, { 2, 5 }, { 4, 8 } }]:tolist(), 0, 0)
  end)

  it("is one sample where the picture is one", function()
    local out = L.RandomRotation { { 0.25, 0.25 }, bounding_box_format = "xyxy" } {
      images = tide.ones { 5, 5, 1 }, labels = 3,
      bounding_boxes = { boxes = { { 0, 0, 2, 4 } }, labels = { 1 } },
      segmentation_masks = tide.ones { 5, 5, 1 } }
    assert.same({ 5, 5, 1 }, { table.unpack(out.images.shape) })
    assert.same({ 1, 4 }, { table.unpack(out.bounding_boxes.boxes.shape) })
    assert.same({ 5, 5, 1 }, { table.unpack(out.segmentation_masks.shape) })
  end)

  it("goes through a Pipeline, whose layers a file keeps", function()
    local pipeline = L.Pipeline { { L.RandomFlip { seed = 1, bounding_box_format = "xyxy" },
      L.Resizing { 4, 4, bounding_box_format = "xyxy" } } }
    local out = pipeline { images = x, bounding_boxes = {
      boxes = tensor(ref.boxes), labels = tensor(ref.labels) } }
    assert.same({ 2, 4, 4, 2 }, { table.unpack(out.images.shape) })
    local again = L.Pipeline.from_config(pipeline:get_config())
    expect.close(again(x):tolist(), L.Pipeline { { L.RandomFlip { seed = 1 },
      L.Resizing { 4, 4 } } }(x):tolist(), 0, 0)
  end)
end)

describe("layers of pictures in half precision", function()
  -- a row of pixels whose values repeat, each of which a half holds
  local line = ops.reshape(tide.arange(0, 3000) % 100, { 1, 1, 3000, 1 })

  for _, dtype in ipairs { "float16", "bfloat16" } do
    it("find pixels far from the origin exactly: " .. dtype, function()
      local x = ops.cast(line, dtype)
      local function moved(images)
        return ops.cast(ops.image.affine_transform(images, { 1, 0, 1000.3, 0, 1, 0, 0, 0 },
          { interpolation = "nearest", fill_mode = "reflect" }), "float32"):ravel():tolist()
      end
      assert.same(moved(ops.cast(x, "float32")), moved(x))
      local at = ops.reshape(tide.arange(2000, 2999), { 1, -1 })
      assert.same(ops.cast(line, "float32"):ravel()[{ { 2001, 2999 } }]:tolist(),
        ops.cast(ops.image.map_coordinates(ops.reshape(x, { 3000 }), at, 1), "float32"):tolist())
    end)
  end
end)

describe("layers of pictures on batches without pictures", function()
  local none = tide.zeros { 0, 4, 5, 3 }

  it("give batches without pictures, and without boxes", function()
    for name, o in pairs { RandomFlip = {}, RandomRotation = { 0.1 }, RandomZoom = { 0.1 },
      RandomTranslation = { 0.1, 0.1 }, RandomShear = { 0.1 }, RandomPerspective = {},
      CenterCrop = { 4, 5 }, RandomCrop = { 4, 5 }, Resizing = { 4, 5 } } do
      o.bounding_box_format = "xyxy"
      local y = L[name](o) { images = none, bounding_boxes = { boxes = tide.zeros { 0, 2, 4 },
        labels = tide.zeros { 0, 2 } } }
      assert.same({ 0, 4, 5, 3 }, { table.unpack(y.images.shape) }, name)
      assert.same({ 0, 2, 4 }, { table.unpack(y.bounding_boxes.boxes.shape) }, name)
    end
    assert.same({ 0, 4, 5, 3 }, { table.unpack(L.RandomElasticTransform()(none).shape) })
  end)
end)

describe("boxes in lists", function()
  local function resized(images, list, labels)
    return L.Resizing { 4, 4, bounding_box_format = "xyxy" } { images = images,
      bounding_boxes = { boxes = list, labels = labels } }.bounding_boxes
  end

  it("may be none at all, in a picture and in a batch", function()
    local of_batch = resized(tide.ones { 2, 8, 8, 1 }, { {}, {} }, { {}, {} })
    assert.same({ 2, 0, 4 }, { table.unpack(of_batch.boxes.shape) })
    assert.same({ 2, 0 }, { table.unpack(of_batch.labels.shape) })
    assert.same({ 0, 4 }, { table.unpack(resized(tide.ones { 8, 8, 1 }, {}, {}).boxes.shape) })
  end)

  it("have their own labels, one or several", function()
    local x, one = tide.ones { 2, 8, 8, 1 }, { 0, 0, 4, 4 }
    local y = resized(x, { { one }, { one, one } }, { { { 1, 0 } }, { { 0, 1 }, { 1, 0 } } })
    assert.same({ { { 1, 0 }, { -1, -1 } }, { { 0, 1 }, { 1, 0 } } }, y.labels:tolist())
    local ok, e = pcall(resized, x, { { one }, { one, one } }, { { 1, 5 }, { 2, 3 } })
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find("(picture 1: boxes 1, labels 2)", 1, true), tostring(e))
  end)
end)

describe("boxes with a label per class", function()
  it("lose all of them where nothing of the box is left", function()
    local y = L.RandomTranslation { { 0, 0 }, { -0.5, -0.5 }, bounding_box_format = "xyxy" } {
      images = tide.zeros { 1, 4, 8, 1 }, bounding_boxes = { boxes = { { { 0, 0, 3, 2 },
        { 4, 1, 7, 3 } } }, labels = { { { 1, 0, 0 }, { 0, 0, 1 } } } } }
    assert.same({ { { 0, 0, 0, 2 }, { 0, 1, 3, 3 } } }, y.bounding_boxes.boxes:tolist())
    assert.same({ { { -1, -1, -1 }, { 0, 0, 1 } } }, y.bounding_boxes.labels:tolist())
  end)
end)

describe("layers of pictures refuse", function()
  local x = tensor(ref.images)
  local function says(text, f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
  end

  it("what is no picture, boxes without a format, and wrong options, by one error", function()
    local flip = L.RandomFlip()
    says("(height, width, channels)", flip, tide.zeros { 3, 3 })
    says("a table with images among it", flip,
      { image = x })
    says("set bounding_box_format", flip, { images = x,
      bounding_boxes = { boxes = { { { 0, 0, 1, 1 } } }, labels = { { 1 } } } })
    says("bounding_boxes must be { boxes = ..., labels = ... }", flip, { images = x,
      bounding_boxes = { boxes = { { { 0, 0, 1, 1 } } } } })
    says("(batch, boxes, 4)", flip, { images = x,
      bounding_boxes = { boxes = { { { 0, 0, 1 } } }, labels = { { 1 } } } })
    says("factor", L.RandomFlip, { factor = 1 })
    says("factor must be a number, or two, within -1 and 1", L.RandomRotation, { 1.5 })
    says("height_factor must be a number, or two, within -1 and 1", L.RandomTranslation,
      { { 0.1, 2 }, 0.1 })
    says("height_factor must be above -1", L.RandomZoom, { { -1, 0.5 } })
    says("x_factor must be a number, or two", L.RandomShear, { -0.5 })
    says("scale must be a number from 0 to 1", L.RandomPerspective, { scale = 2 })
    says("fill_mode must be", L.RandomRotation, { 0.1, fill_mode = "mirror" })
    says("height is missing", L.Resizing, {})
    says("exclude each other", L.Resizing { 2, 2, crop_to_aspect_ratio = true,
      pad_to_aspect_ratio = true }, x)
    says("boxes cannot follow", L.RandomElasticTransform { bounding_box_format = "xyxy" },
      { images = x, bounding_boxes = { boxes = tensor(ref.boxes), labels = tensor(ref.labels) } })
    says("gaussian_blur: sigma must be two numbers above 0", ops.image.gaussian_blur, x, 3,
      { "wide", 1 })
    says("axis 3, which is not among spatial_dims, keeps its extent (expected", function()
      ops.image.scale_and_translate(tide.ones { 1, 2, 2 }, { 1, 3, 4 }, 1, 0, 2, "linear")
    end)
    says("needs the height and the width of the picture (got 'high' and 2)", boxes.convert_format,
      { { 1, 2, 3, 4 } }, "xyxy", "rel_xyxy", "high", 2)
    says("labels must have one or more numbers for each box (boxes [2, 4], labels [3])",
      boxes.clip_to_image_size, { boxes = { { 1, 2, 3, 4 }, { 1, 2, 3, 4 } },
        labels = { 1, 2, 3 } }, 5, 5)
    says("the labels of boxes [1, 1, 4] must have one or more numbers for each box (got [1, 2])",
      flip, { images = x, bounding_boxes = { boxes = tide.zeros { 1, 1, 4 },
        labels = tide.zeros { 1, 2 } } })
    says("boxes1 and boxes2 differ in their batch", boxes.compute_iou, tide.zeros { 2, 1, 4 },
      tide.zeros { 3, 1, 4 }, "xyxy")
    says("entry 1 of layers must be a layer", L.Pipeline, { { "flip" } })
  end)
end)

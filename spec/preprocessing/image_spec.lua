-- Pictures against Pillow, TensorFlow, SciPy and Keras (spec/ref/make_images.py).
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local ops = require "tide.ops"
local ref = require "spec.ref.images.values"

local pictures = tide.preprocessing.image
local folder = "spec/ref/images/"
local blob = assert(io.open(folder .. "values.bin", "rb")):read "a"

local function value(name)
  local v = assert(ref.values[name], name)
  local n = v[1] == "float32" and 4 or 1
  for _, d in ipairs(v[2]) do
    n = n * d
  end
  return core.from_bytes(v[1], v[2], blob:sub(v[3] + 1, v[3] + n))
end

local function equal(name, got)
  local want = value(name)
  assert.equal(tostring(want.shape), tostring(got.shape), name)
  assert.equal(want.dtype, got.dtype, name)
  assert.is_true(want:tobytes() == got:tobytes(), name .. ": values differ")
end

local function near(name, got, tolerance)
  local want = value(name)
  assert.equal(tostring(want.shape), tostring(got.shape), name)
  assert.equal(want.dtype, got.dtype, name)
  local a, b, worst = want:tobytes(), got:tobytes(), 0
  for i = 1, #a, 4 do
    local off = math.abs(("<f"):unpack(a, i) - ("<f"):unpack(b, i))
    worst = off <= worst and worst or off -- NaN stays
  end
  assert.is_true(worst <= tolerance, ("%s: differs by %g, at most %g allowed"):format(name, worst,
    tolerance))
end

local message = expect.message

local function bytes_of(name)
  local f <close> = assert(io.open(folder .. name, "rb"))
  return f:read "a"
end

describe("load_img", function()
  for _, file in ipairs(ref.files) do
    it("decodes " .. file .. " in every colour mode exactly as Pillow", function()
      for _, mode in ipairs { "grayscale", "rgb", "rgba" } do
        equal("decode " .. file .. " " .. mode,
          pictures.load_img(folder .. file, { color_mode = mode }))
      end
    end)
  end

  it("keeps the high byte of 16-bit samples", function()
    for _, name in ipairs { "grey16.png", "rgb16.png" } do
      equal("high byte " .. name, tide.image.decode(bytes_of(name)))
    end
  end)

  it("scales PNM of any depth to bytes", function()
    for _, name in ipairs { "low.pgm", "wide.ppm", "odd.pgm" } do
      equal("pnm " .. name, tide.image.decode(bytes_of(name)))
    end
  end)

  -- Numbers of grey16.png as zlib gives them; resized by Pillow's formulas in Python's doubles.
  it("keeps the numbers of grey pictures of 16 bits in grayscale", function()
    local x = pictures.load_img(folder .. "grey16.png", { color_mode = "grayscale" })
    assert.equal("int32", x.dtype)
    assert.equal("[9, 11, 1]", tostring(x.shape))
    assert.equal(3352258, x:sum())
    assert.same({ 1704, 37530, 38811, 31567, 20586 }, x[{ 1, { 1, 5 }, 1 }]:tolist())
    assert.equal(21300, x[{ 9, 11, 1 }])
    local a = pictures.img_to_array(x)
    assert.equal("float32", a.dtype)
    assert.equal(37530, a[{ 1, 2, 1 }])
    for method, want in pairs {
      nearest = { { 6246, 55934, 12224, 50746 }, { 63629, 1254, 57632, 18618 },
        { 43846, 64697, 33031, 18441 } },
      bilinear = { { 36136, 40855, 31106, 35437 }, { 44109, 36874, 40406, 32153 },
        { 32309, 35843, 27896, 21999 } },
    } do
      local y = pictures.load_img(folder .. "grey16.png", { color_mode = "grayscale",
        target_size = { 3, 4 }, interpolation = method })
      assert.same(want, y[{ {}, {}, 1 }]:tolist())
    end
    local bytes = pictures.load_img(folder .. "odd.pgm", { color_mode = "grayscale" })
    assert.equal("int32", bytes.dtype) -- 0..1000 of the file become 0..65535, as in Pillow
    assert.equal("uint8", pictures.load_img(folder .. "grey16.png").dtype)
  end)

  it("keeps them in batches from folders too", function()
    local root = expect.name()
    os.execute(("mkdir -p %s/a && cp %sgrey16.png %s/a/"):format(root, folder, root))
    local it = pictures.ImageDataGenerator {}:flow_from_directory(root, { target_size = { 9, 11 },
      color_mode = "grayscale", class_mode = tide.none, verbose = false })
    local x = it:next()
    assert.equal(1704, x[{ 1, 1, 1, 1 }])
    assert.equal(3352258, x:cast("int64"):sum())
    local small = pictures.ImageDataGenerator {}:flow_from_directory(root, {
      target_size = { 3, 4 }, color_mode = "grayscale", class_mode = tide.none, verbose = false,
      interpolation = "bilinear" }):next()
    assert.equal(36136, small[{ 1, 1, 1, 1 }])
    os.execute("rm -r " .. root)
  end)

  it("turns pictures as their EXIF orientation says, if asked", function()
    for k = 1, 8 do
      equal("upright " .. k, pictures.load_img(folder .. "turn" .. k .. ".jpg", { upright = true }))
    end
    assert.equal("[12, 17, 3]", tostring(pictures.load_img(folder .. "turn6.jpg").shape))
  end)

  it("brings every frame of an animation to target_size", function()
    local x = pictures.load_img(
      "spec/ref/pictures/gif_frames_1.gif",
        { frames = "all", target_size = { 8, 9 }, interpolation = "bilinear" })
    assert.equal("[3, 8, 9, 3]", tostring(x.shape))
    local one = pictures.load_img(
      "spec/ref/pictures/gif_frames_1.gif", { target_size = { 8, 9 }, interpolation = "bilinear" })
    assert.is_true(ops.copy(x[1]):tobytes() == one:tobytes())
    assert.equal("[1, 29, 37, 3]", tostring(pictures.load_img(folder .. "rgb.png",
      { frames = "all" }).shape))
  end)

  it("resizes exactly as Pillow by every filter", function()
    for name in pairs(ref.values) do
      local filter, h, w, mode = name:match "^pillow (%l+) (%d+)x(%d+) (%l+)$"
      if filter then
        equal(name, pictures.load_img(folder .. "rgba.png",
          { color_mode = mode, target_size = { h // 1, w // 1 }, interpolation = filter }))
      end
      filter = name:match "^pillow (%l+) keep$"
      if filter then
        equal(name, pictures.load_img(folder .. "rgb.png",
          { target_size = { 20, 11 }, interpolation = filter, keep_aspect_ratio = true }))
      end
    end
  end)

  it("refuses what is no picture, by name", function()
    local name = os.tmpname()
    local function with(bytes)
      local f <close> = assert(io.open(name, "wb"))
      f:write(bytes)
      f:close()
      return message(pictures.load_img, name)
    end
    assert.truthy(with(""):find(name .. ": is empty", 1, true))
    assert.truthy(with("hello there, this is text"):find("no picture of a known format", 1, true))
    assert.truthy(with("II*\0......."):find("is a tiff picture, which is not read", 1, true))
    for _, file in ipairs { "rgb.png", "q75.jpg", "rgb.bmp", "rgb.ppm", "progressive.jpg",
      "../pictures/gif_plain.gif", "../pictures/bmp_rle8.bmp", "../pictures/pnm_p2.pgm" } do
      local b = bytes_of(file)
      assert.truthy(with(b:sub(1, #b // 2)):find("truncated", 1, true), file)
    end
    os.remove(name)
    assert.truthy(message(pictures.load_img,
      "/no/such.png"):find("load_img: /no/such.png: cannot be opened", 1, true))
    assert.truthy(message(pictures.load_img, "spec"):find("not a regular file", 1, true))
  end)

  it("refuses pictures over the limits before it takes memory", function()
    local b = bytes_of "rgb.png"
    local wide = b:sub(1, 16) .. string.pack(">I4I4", 100000, 100000) .. b:sub(25)
    assert.is_false(pcall(tide.image.decode, wide))
    assert.truthy(message(pictures.load_img, folder .. "rgb.png",
      { max_pixels = 1000 }):find("at most 1000 pixels", 1, true))
    assert.truthy(message(tide.image.decode,
      "P6\n16000 16000\n255\n"):find("at most 100000000 pixels", 1, true))
    local gif = bytes_of "../pictures/gif_frames_1.gif"
    assert.truthy(message(tide.image.decode,
      gif:sub(1, 6) .. "\255\255\255\255" .. gif:sub(11)):find("too large", 1, true))
    local all = tide.image.decode(gif, { color_mode = "rgb", frames = "all", max_pixels = 945 })
    assert.equal("[3, 15, 21, 3]", tostring(all.shape))
    assert.truthy(message(tide.image.decode, gif,
      { frames = "all", max_pixels = 944 }):find("3 frames of 15 x 21", 1, true))
  end)
end)

describe("save_img", function()
  it("writes PNG, BMP and PPM that read back unchanged, and JPEG that is near", function()
    local x = pictures.load_img(folder .. "rgb.png")
    for _, format in ipairs { "png", "bmp", "ppm" } do
      local name = expect.name("." .. format)
      pictures.save_img(name, x, { scale = false })
      assert.is_true(x:tobytes() == pictures.load_img(name):tobytes(), format)
      os.remove(name)
    end
    local y = tide.image.decode(tide.image.encode(x, "jpeg", { quality = 95 }))
    assert.is_true(ops.mean(ops.abs(ops.cast(x, "float32") - ops.cast(y, "float32"))):item() < 12)
  end)

  it("keeps alpha in PNG and BMP", function()
    local x = pictures.load_img(folder .. "rgba.png", { color_mode = "rgba" })
    for _, format in ipairs { "png", "bmp" } do
      assert.is_true(x:tobytes() == tide.image.decode(tide.image.encode(x, format)):tobytes(),
        format)
    end
  end)

  it("drops alpha for JPEG and names the formats it knows", function()
    local x = pictures.load_img(folder .. "rgba.png", { color_mode = "rgba" })
    assert.equal("[29, 37, 3]", tostring(tide.image.decode(tide.image.encode(x, "jpeg")).shape))
    assert.truthy(message(pictures.save_img, "/tmp/x.xyz", x):find("cannot tell the format", 1,
      true))
  end)
end)

describe("img_to_array and array_to_img", function()
  it("convert as Keras", function()
    equal("array_to_img scaled", pictures.array_to_img(value "array"))
    equal(
      "array_to_img plain",
      pictures.array_to_img(pictures.img_to_array(pictures.load_img(folder .. "rgb.png")),
        { scale = false }))
    local a = pictures.img_to_array(
      pictures.load_img(folder .. "rgb.png"), { data_format = "channels_first" })
    assert.equal("[3, 29, 37]", tostring(a.shape))
    assert.equal("float32", a.dtype)
    equal("array_to_img plain", pictures.array_to_img(a, "channels_first", false))
  end)

  it("refuse wrong ranks and channels", function()
    assert.truthy(message(pictures.array_to_img, ops.zeros { 4, 4 }):find("3 axes", 1, true))
    assert.truthy(message(pictures.array_to_img, ops.zeros { 4, 4, 2 }):find("1, 3 or 4 channels",
      1, true))
  end)
end)

describe("resize", function()
  it("equals tf.image.resize by every method, with and without antialias", function()
    local x = value "tf input"
    for name in pairs(ref.values) do
      local method, antialias, h, w = name:match "^tf (%w+) (%l+) (%d+)x(%d+)$"
      if method and method ~= "gaussian" and method ~= "mitchellcubic" then
        near(name, tide.image.resize(x, { h // 1, w // 1 },
          { interpolation = method, antialias = antialias == "true" }), 1.5e-4)
      elseif method then
        near(name, core.image.resize(x, h // 1, w // 1, method, antialias == "true"), 1.5e-4)
      end
    end
  end)

  it("cuts and resizes as Keras' smart_resize", function()
    near("smart 10x10", pictures.smart_resize(value "tf input", { 10, 10 }), 1e-4)
    near("smart 8x21", pictures.smart_resize(value "tf input", { 8, 21 }), 1e-4)
  end)
end)

describe("ImageDataGenerator's transformations", function()
  it("equal Keras' apply_transform on twenty fixed ones", function()
    assert.equal(20, #ref.transforms)
    for i, case in ipairs(ref.transforms) do
      local g = pictures.ImageDataGenerator(case[1])
      equal("transform " .. i, g:apply_transform(value "transform input", case[2]))
      equal("transform grey " .. i, g:apply_transform(value "transform grey", case[2]))
    end
  end)

  it("take channels first", function()
    local g = pictures.ImageDataGenerator { data_format = "channels_first" }
    local x = ops.copy(ops.transpose(value "transform input", { 3, 1, 2 }))
    equal("transform channels_first", g:apply_transform(x, ref.transforms[6][2]))
  end)

  it("standardize and fit as Keras", function()
    local batch = value "batch"
    local g = pictures.ImageDataGenerator {
      rescale = 1 / 255, samplewise_center = true, samplewise_std_normalization = true }
    near("standardize samplewise", g:standardize(batch[2]), 2e-6)
    g = pictures.ImageDataGenerator {
      featurewise_center = true, featurewise_std_normalization = true, rescale = 1 / 255 }
    g:fit(batch)
    near("fit mean", g.mean, 1e-6)
    near("fit std", g.std, 1e-6)
    near("standardize featurewise", g:standardize(batch[3]), 1e-5)
  end)

  it("whiten as Keras", function()
    local x = value "zca input"
    local g = pictures.ImageDataGenerator {
      featurewise_center = true, zca_whitening = true, zca_epsilon = 1e-2 }
    g:fit(x)
    near("zca matrix", g.zca_whitening_matrix, 1e-5)
    near("standardize zca", g:standardize(x[4]), 2e-4)
    local y = ops.reshape(g:standardize(x), { 40, 18 })
    local c = ops.matmul(ops.transpose(y), y) / 40 -- uncorrelated, of variance 1
    assert.is_true(ops.max(ops.abs(c - ops.eye(18))):item() < 1e-3)
    g:fit(x[{ { 1, 7 } }]) -- fewer pictures than values: every one is as far from the mean
    local z = ops.reshape(g:standardize(x[{ { 1, 7 } }]), { 7, 18 })
    local n = ops.sum(z * z, { axis = 2 }):tolist()
    for i = 2, 7 do
      assert.is_true(math.abs(n[i] - n[1]) < 1e-2)
    end
  end)

  it("are drawn within their ranges and repeat under a seed", function()
    local g = pictures.ImageDataGenerator {
      rotation_range = 30, width_shift_range = 0.25, height_shift_range = { 2, 5 }, shear_range = 4,
      zoom_range = { 0.5, 0.75 }, channel_shift_range = 9, brightness_range = { 1.5, 2 },
        horizontal_flip = true }
    local flips = 0
    for seed = 1, 200 do
      local p = g:get_random_transform({ 40, 80, 3 }, seed)
      assert.is_true(math.abs(p.theta) <= 30 and math.abs(p.ty) <= 20 and math.abs(p.shear) <= 4)
      assert.is_true(math.abs(p.tx) == 2 or math.abs(p.tx) == 5)
      assert.is_true(p.zx >= 0.5 and p.zx <= 0.75 and p.zy >= 0.5 and p.zy <= 0.75 and p.zx ~= p.zy)
      assert.is_true(math.abs(p.channel_shift_intensity) <= 9 and p.brightness >= 1.5
        and p.brightness <= 2)
      assert.is_false(p.flip_vertical)
      flips = flips + (p.flip_horizontal and 1 or 0)
      assert.same(p, g:get_random_transform({ 40, 80, 3 }, seed))
    end
    assert.is_true(flips > 70 and flips < 130)
  end)

  it("refuse misspelt parameters and impossible options", function()
    local g = pictures.ImageDataGenerator {}
    assert.truthy(message(g.apply_transform, g, value "transform input",
      { thetta = 3 }):find("did you mean 'theta'", 1, true))
    assert.truthy(message(pictures.ImageDataGenerator,
      { zoom_range = { 1, 2, 3 } }):find("zoom_range must be two numbers", 1, true))
    assert.truthy(message(pictures.ImageDataGenerator,
      { interpolation_order = 6 }):find("interpolation_order", 1, true))
    assert.truthy(message(pictures.ImageDataGenerator,
      { validation_split = 1 }):find("between 0 and 1", 1, true))
  end)
end)

describe("random_* and apply_*", function()
  it("equal the generator's transformations", function()
    local x = value "transform input"
    local p = ref.transforms[6][2]
    equal("transform 6", pictures.apply_affine_transform(x,
      { theta = p.theta, tx = p.tx, ty = p.ty, shear = p.shear, zx = p.zx, zy = p.zy, row_axis = 1,
        col_axis = 2, channel_axis = 3 }))
    local first = ops.copy(ops.transpose(x, { 3, 1, 2 }))
    equal("transform channels_first", pictures.apply_affine_transform(first, p.theta, p.tx, p.ty,
      p.shear, p.zx, p.zy))
    equal("transform 19", pictures.apply_brightness_shift(x, 0.37, false))
  end)

  it("change pictures at random, keep their shape, repeat under a seed", function()
    local x = value "transform input"
    for name, arguments in pairs { random_rotation = { 40 }, random_shift = { 0.3, 0.3 },
      random_shear = { 30 }, random_zoom = { { 0.5, 0.9 } } } do
      local function run(seed)
        local a = { x, table.unpack(arguments) }
        a[#a + 1] = { row_axis = 1, col_axis = 2, channel_axis = 3, seed = seed }
        return pictures[name](table.unpack(a))
      end
      local y = run(3)
      assert.equal(tostring(x.shape), tostring(y.shape))
      assert.is_true(y:tobytes() == run(3):tobytes(), name)
      assert.is_false(y:tobytes() == run(4):tobytes(), name)
    end
    local y = pictures.random_channel_shift(x, 50, { channel_axis = 3, seed = 5 })
    assert.is_false(x:tobytes() == y:tobytes())
    assert.is_false(x:tobytes() == pictures.random_brightness(x, { 0.2, 0.5 },
      { seed = 1 }):tobytes())
    assert.truthy(message(pictures.random_rotation, x, 3,
      { row_axis = 1, col_axis = 1, channel_axis = 3 }):find("row_axis", 1, true))
  end)
end)

--- Reading, writing, converting and resizing pictures.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"

local files = {}
local image = core.image

local channels_of = { grayscale = 1, rgb = 3, rgba = 4 }
files.channels_of = channels_of
files.interpolations = "nearest|bilinear|bicubic|box|hamming|lanczos"
local methods = "bilinear|nearest|bicubic|area|lanczos3|lanczos5|gaussian|mitchellcubic"
files.methods = methods

--- A tensor from what a person gives, in float32 and without gaps.
function files.floats(x)
  if not core.is_tensor(x) then
    x = core.tensor(x, { dtype = "float32" })
  end
  if x.dtype ~= "float32" then
    x = ops.cast(x, "float32")
  end
  if x.requires_grad then
    x = x:detach()
  end
  return x:is_contiguous() and x or ops.copy(x)
end
local floats = files.floats

--- (..., C, H, W) as (..., H, W, C), copied, and back.
function files.to_last(x)
  return ops.copy(ops.transpose(x, x.ndim == 4 and { 1, 3, 4, 2 } or { 2, 3, 1 }))
end
function files.to_first(x)
  return ops.copy(ops.transpose(x, x.ndim == 4 and { 1, 4, 2, 3 } or { 3, 1, 2 }))
end

local size_row = function(name, default, doc)
  return { name, "ints", default, doc, n = 2 }
end
files.size_row = size_row

local load_args = check.args("load_img", {
  { "path", "string", check.required, "a file" },
  { "color_mode", "enum", "rgb", "channels of the picture", of = "rgb|grayscale|rgba" },
  size_row("target_size", nil, "{ height, width }; as stored by default"),
  { "interpolation", "enum", "nearest", "how Pillow resizes", of = files.interpolations },
  {
    "keep_aspect_ratio", "bool", false,
    "cut the largest centred part of the target's aspect ratio first" },
}, { named = {
  { "upright", "bool", false, "turn the picture as its EXIF orientation says" },
  { "max_pixels", "int", nil, "largest area that is read; 100,000,000 by default", min = 1 },
  { "frames", "enum", "first", "of an animated GIF", of = "first|all" },
} })

--- Reads a picture: JPEG, PNG, GIF, BMP, TGA, PSD, HDR or PNM, told by its content. Resizes as
--- Pillow, grey values as Pillow's "L". Grey PNG and PGM of 16 bits keep their numbers, 0 to 65535,
--- in grayscale; elsewhere 16-bit samples keep their high byte (Pillow saturates in rgb). Sides
--- over 16,384 and areas over `max_pixels` are refused before memory is taken. Of an animation
--- the first frame; `frames = "all"` gives them all, composed. Keras: keras.utils.load_img.
--- @param path string
--- @return userdata uint8 tensor (height, width, 1, 3 or 4), with frames = "all" (frames, height,
---   width, channels); int32 for grey of 16 bits
--- @usage local x = tide.preprocessing.image.load_img("cat.jpg", { target_size = { 150, 150 } })
function files.load_img(...)
  local o = load_args:call(...)
  local x = image.load(o.path, { channels = channels_of[o.color_mode], upright = o.upright,
    max_pixels = o.max_pixels, frames = o.frames == "all",
    wide = o.color_mode == "grayscale" }, "load_img")
  local s = o.target_size
  if s and (s[1] ~= x.shape[-3] or s[2] ~= x.shape[-2]) then
    if x.ndim == 3 then
      return image.fit(x, s[1], s[2], o.interpolation, o.keep_aspect_ratio)
    end
    local fitted = {}
    for i = 1, #x do
      fitted[i] = image.fit(ops.copy(x[i]), s[1], s[2], o.interpolation, o.keep_aspect_ratio)
    end
    x = ops.stack(fitted, { axis = 1 })
  end
  return x
end

--- A picture from the bytes of a file, as load_img reads it; without color_mode with the channels
--- that the file has.
--- @param bytes string
--- @param o table|nil { color_mode, upright = false, max_pixels, frames = "first" or "all" }
--- @return userdata uint8 tensor (height, width, channels), with frames = "all" (frames, height,
---   width, channels)
---     tide.image.decode(bytes, { color_mode = "grayscale" }).shape   --> { 2, 2, 1 }
function files.decode(bytes, o)
  o = check.options("decode", o, { { "color_mode", "enum", nil, "channels",
    of = "rgb|grayscale|rgba" }, { "upright", "bool", false },
      { "max_pixels", "int", nil, min = 1 }, { "frames", "enum", "first", of = "first|all" } })
  if type(bytes) ~= "string" then
    errors.raise("decode", "the first argument must be the bytes of a picture (got %s)",
      check.show(bytes))
  end
  return image.decode(bytes, { channels = channels_of[o.color_mode], upright = o.upright,
    max_pixels = o.max_pixels, frames = o.frames == "all" })
end

--- What the first bytes of a file say it is: "png", "jpeg", "bmp", "psd", "hdr", "pnm", "tga",
--- "gif", "webp", "tiff" or nil.
---
---     local grey = tide.zeros({ 2, 2, 1 }, { dtype = "uint8" })
---     tide.image.format(tide.image.encode(grey, "bmp"))   --> "bmp"
--- @param bytes string
function files.format(bytes)
  if type(bytes) ~= "string" then
    errors.raise("format", "takes the bytes of a file (got %s)", type(bytes))
  end
  return image.format(bytes)
end

local array_args = check.args("img_to_array", {
  { "img", "tensor", check.required, "a picture" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
  { "dtype", "dtype", "float32", "dtype of the result" },
})

--- A picture as numbers: (height, width, channels), or (channels, height, width) with data_format =
--- "channels_first". A picture without a channel axis gets one. Values are not scaled. Keras:
--- keras.utils.img_to_array.
---     local a = tide.preprocessing.image.img_to_array(tide.image.load "cat.jpg")
function files.img_to_array(...)
  local o = array_args:call(...)
  local x = core.is_tensor(o.img) and o.img or core.tensor(o.img)
  if x.ndim == 2 then
    x = ops.reshape(x, { x.shape[1], x.shape[2], 1 })
  elseif x.ndim ~= 3 then
    errors.raise("img_to_array", "a picture has 2 or 3 axes (got %s)", tostring(x.shape))
  end
  if o.data_format == "channels_first" then
    x = files.to_first(x)
  end
  return x.dtype == o.dtype and ops.copy(x) or ops.cast(x, o.dtype)
end

local img_args = check.args("array_to_img", {
  { "x", "tensor", check.required, "numbers" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
  { "scale", "bool", true, "stretch so that the least value is 0 and the largest 255" },
  { "dtype", "dtype", nil, "of the computation; float32" },
})

local function to_picture(x, data_format, scale, where)
  x = floats(x)
  if x.ndim ~= 3 then
    errors.raise(where, "a picture has 3 axes (got %s)", tostring(x.shape))
  end
  if data_format == "channels_first" then
    x = files.to_last(x)
  end
  local c = x.shape[3]
  if c ~= 1 and c ~= 3 and c ~= 4 then
    errors.raise(where, "a picture has 1, 3 or 4 channels (got %d in %s)", c, tostring(x.shape))
  end
  return image.to_picture(x, scale)
end

--- Numbers as a picture. With `scale` (the default) the least value becomes 0 and the largest 255;
--- without it values are cut to 0..255. Fractions are cut off. Keras: keras.utils.array_to_img.
--- @return userdata uint8 tensor (height, width, channels)
---     tide.preprocessing.image.array_to_img(tide.ones { 4, 4, 3 }).dtype   --> "uint8"
function files.array_to_img(...)
  local o = img_args:call(...)
  return to_picture(o.x, o.data_format, o.scale, "array_to_img")
end

local save_args = check.args("save_img", {
  { "path", "string", check.required, "the file" },
  { "x", "tensor", check.required, "a picture or numbers" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
  { "file_format", "string", nil, "png, jpeg, bmp, ppm; told by the path's ending by default" },
  { "scale", "bool", true, "stretch numbers to 0..255, pictures too" },
}, { named = { { "quality", "int", 75, "of JPEG", min = 1, max = 100 } } })

local formats = { png = "png", jpg = "jpeg", jpeg = "jpeg", bmp = "bmp", ppm = "pnm", pgm = "pnm",
  pnm = "pnm" }

--- A picture (uint8, channels last) as the bytes of a file.
---
---     local grey = tide.zeros({ 2, 2, 1 }, { dtype = "uint8" })
---     tide.image.format(tide.image.encode(grey, "png"))   --> "png"
--- @param x userdata
--- @param format string "png", "jpeg", "bmp", "ppm"
--- @param o table|nil `quality` of JPEG, 1..100, 75 by default
function files.encode(x, format, o)
  o = check.options("encode", o, { { "quality", "int", 75, "of JPEG", min = 1, max = 100 } })
  local f = formats[format]
  if not f then
    errors.raise("encode", "unknown picture format %s (expected png, jpeg, bmp or ppm)",
      check.show(format))
  end
  if f == "jpeg" and x.shape[3] == 4 then
    x = image.convert(x, 3)
  end
  return image.encode(f, x:is_contiguous() and x or ops.copy(x), o.quality)
end

--- Writes a picture or an array as a file, atomically. JPEG has no transparency: an alpha channel
--- is dropped. Keras: keras.utils.save_img, whose `scale = true` stretches the values to 0..255.
--- @usage tide.preprocessing.image.save_img("out.png", x, { scale = false })
function files.save_img(...)
  local o = save_args:call(...)
  local format = (o.file_format or o.path:match "%.(%w+)$" or ""):lower()
  if not formats[format] then
    errors.raise("save_img",
      "%s: cannot tell the format from the name; give file_format = \"png\", \"jpeg\", \"bmp\" or \z
        \"ppm\"", o.path)
  end
  local bytes = files.encode(
    to_picture(o.x, o.data_format, o.scale, "save_img"), format, { quality = o.quality })
  files.write(o.path, bytes)
end

--- Replaces a file by these bytes, or leaves it as it was and raises.
function files.write(path, bytes)
  core.write_file(path, bytes)
end

local resize_args = check.args("resize", {
  { "x", "tensor", check.required, "one picture (H, W, C) or several (N, H, W, C)" },
  size_row("size", check.required, "{ height, width }"),
  { "interpolation", "enum", "bilinear", "method", of = methods },
  { "antialias", "bool", false, "widen the kernel when shrinking" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
})

local function resized(x, size, method, antialias)
  local single, dtype = x.ndim == 3, x.dtype
  if single then
    x = ops.reshape(x, { 1, x.shape[1], x.shape[2], x.shape[3] })
  end
  local y = image.resize(floats(x), size[1], size[2], method, antialias)
  if single then
    y = ops.reshape(y, { size[1], size[2], y.shape[4] })
  end
  return method == "nearest" and dtype ~= "float32" and ops.cast(y, dtype) or y
end

--- Resizes pictures as TensorFlow's tf.image.resize; the result is float32 ("nearest" keeps the
--- dtype). No gradient.
---     tide.image.resize(tide.ones { 8, 8, 3 }, { 4, 4 }, { interpolation = "lanczos3" }).shape
---     --> { 4, 4, 3 }
function files.resize(...)
  local o = resize_args:call(...)
  local x = core.is_tensor(o.x) and o.x or core.tensor(o.x)
  if x.ndim ~= 3 and x.ndim ~= 4 then
    errors.raise("resize", "pictures have 3 axes, batches 4 (got %s)", tostring(x.shape))
  end
  local first = o.data_format == "channels_first"
  local y = resized(first and files.to_last(x) or x, o.size, o.interpolation, o.antialias)
  return first and files.to_first(y) or y
end

local smart_args = check.args("smart_resize", {
  { "x", "tensor", check.required, "one picture (H, W, C) or several (N, H, W, C)" },
  size_row("size", check.required, "{ height, width }"),
  { "interpolation", "enum", "bilinear", "method", of = methods },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
})

--- Resizes without distortion: the largest centred part of the target's aspect ratio is cut out,
--- then resized as tf.image.resize does. Keras: keras.preprocessing.image.smart_resize.
--- @return userdata float32 (size[1], size[2], C), or with a batch axis in front
---     tide.preprocessing.image.smart_resize(tide.ones { 8, 8, 3 }, { 4, 6 }).shape
---     --> { 4, 6, 3 }
function files.smart_resize(...)
  local o = smart_args:call(...)
  local x = core.is_tensor(o.x) and o.x or core.tensor(o.x)
  if x.ndim ~= 3 and x.ndim ~= 4 then
    errors.raise("smart_resize", "pictures have 3 axes, batches 4 (got %s)", tostring(x.shape))
  end
  local first = o.data_format == "channels_first"
  if first then
    x = files.to_last(x)
  end
  local h, w = x.shape[-3], x.shape[-2]
  local th, tw = o.size[1], o.size[2]
  local ch = math.max(1, math.min(h, math.floor(w * th / tw)))
  local cw = math.max(1, math.min(w, math.floor(h * tw / th)))
  local top, left = (h - ch) // 2, (w - cw) // 2
  local part = { { top + 1, top + ch }, { left + 1, left + cw }, {} }
  if x.ndim == 4 then
    table.insert(part, 1, {})
  end
  local y = resized(x[part], o.size, o.interpolation, false)
  return first and files.to_first(y) or y
end

return files

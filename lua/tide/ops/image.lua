--- Functions of pictures, as keras.ops.image has them: one, (height, width, channels), or a batch.
--
-- Whatever `data_format` is, the work is done on batches with the channels last. Resampling,
-- projections, sampling and colours are ops of the core; the rest is put together from those.
-- Where Keras' backends differ, the number is TensorFlow's, but for `map_coordinates`, whose modes
-- are those that its documentation draws (JAX and SciPy do so).
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local image = {}

local required = check.required
local IMAGES = { "images", "tensor", required, "(height, width, channels), or a batch of them" }
local FORMAT = { "data_format", "enum", "channels_last", "where the channels are",
  of = "channels_last|channels_first" }
local INTERPOLATION = { "interpolation", "enum", "bilinear", "between pixels",
  of = "bilinear|nearest" }
local FILL_MODE = { "fill_mode", "enum", "constant", "what lies outside",
  of = "constant|nearest|wrap|reflect" }
local FILL_VALUE = { "fill_value", "number", 0, "of the mode constant" }

-- ---- batches with the channels last ----

local to_last = { [4] = { 1, 3, 4, 2 }, [5] = { 1, 3, 4, 5, 2 } }
local to_first = { [4] = { 1, 4, 2, 3 }, [5] = { 1, 5, 2, 3, 4 } }

-- `f` on a batch with the channels last, whose result goes back to the form of `x`. `rank`: axes
-- of a batch.
local function on_batch(where, x, data_format, f, rank)
  rank = rank or 4
  if x.ndim ~= rank and x.ndim ~= rank - 1 then
    errors.raise(where, "images have the wrong number of axes (expected %d, or %d with a batch, \z
      got %d: %s)", rank - 1, rank, x.ndim, tostring(x.shape))
  end
  local single = x.ndim < rank
  x = single and ops.expand_dims(x, 1) or x
  local first = data_format == "channels_first"
  local y = f(first and ops.transpose(x, to_last[rank]) or x)
  if first and y.ndim == rank then
    y = ops.transpose(y, to_first[rank])
  elseif first and y.ndim == rank + 1 then -- (N, H, W, C, n)
    y = ops.transpose(y, { 1, 4, 2, 3, 5 })
  end
  return single and ops.squeeze(y, { axis = 1 }) or y
end

local float_of, is_float, part = common.float_of, common.is_float, common.parts
local limits = { uint8 = { 0, 255 }, int8 = { -128, 127 }, int32 = { -2 ^ 31, 2 ^ 31 - 1 },
  bool = { 0, 1 } }

-- Floats in the dtype that `like` has: rounded, and as far as that goes, if these are integers.
local function back(y, like, low, high)
  if is_float(like) then
    return y.dtype == like.dtype and y or ops.cast(y, like.dtype)
  end
  local range = limits[like.dtype]
  low, high = low or range and range[1], high or range and range[2]
  y = ops.round(y)
  y = low and ops.minimum(ops.maximum(y, low), high) or y
  return ops.cast(y, like.dtype)
end

-- ---- sizes ----

-- The place that keeps the proportions of `height` to `width` of a size: a height and a width.
local function proportional(height, width, size)
  return width * size[1] // size[2], height * size[2] // size[1]
end

-- The middle of pictures in the proportions of `size`.
local function cropped(x, size)
  local height, width = x.shape[2], x.shape[3]
  local h, w = proportional(height, width, size)
  h, w = math.max(math.min(height, h), 1), math.max(math.min(width, w), 1)
  return part(x, { 0, (height - h) // 2, (width - w) // 2, 0 }, { x.shape[1], h, w, x.shape[4] })
end

-- Pictures with margins on two sides, so that they have the proportions of `size`.
local function padded(x, size, value)
  local height, width = x.shape[2], x.shape[3]
  local h, w = proportional(height, width, size)
  local top, left = math.max(h - height, 0) // 2, math.max(w - width, 0) // 2
  return (top > 0 or left > 0) and ops.pad(x, { { 0, 0 }, { top, top }, { left, left }, { 0, 0 } },
    { constant_values = value }) or x
end

local function nearest(x, axis, size)
  local n = x.shape[axis]
  local at = {}
  for i = 1, size do
    at[i] = math.min((2 * i - 1) * n // (2 * size), n - 1) + 1
  end
  return ops.take(x, core.tensor(at, { dtype = "int64" }), axis)
end

local methods = { bilinear = "linear", bicubic = "cubic" }

local resize_args = check.args("resize", { IMAGES,
  { "size", "ints", required, "height and width of the result", n = 2, min = 1 },
  { "interpolation", "enum", "bilinear", "the kernel",
    of = "bilinear|nearest|lanczos3|lanczos5|bicubic|area" },
  { "antialias", "bool", false, "whether the kernel grows where pictures shrink" },
  { "crop_to_aspect_ratio", "bool", false, "cut off what has other proportions" },
  { "pad_to_aspect_ratio", "bool", false, "add margins in place of stretching" },
  { "fill_mode", "enum", "constant", "of the margins", of = "constant" },
  { "fill_value", "number", 0, "of the margins" }, FORMAT })

--- Pictures in another size. Centres of pixels lie at halves; integers are rounded and stay
--- integers. Bicubic is Keys' kernel with a = -0.5.
---
---     tide.ops.image.resize(tide.ones { 2, 4, 6, 3 }, { 8, 3 }).shape   --> { 2, 8, 3, 3 }
function image.resize(...)
  local o = resize_args:call(...)
  local size = o.size
  if o.crop_to_aspect_ratio and o.pad_to_aspect_ratio then
    errors.raise("resize", "crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other")
  end
  return on_batch("resize", o.images, o.data_format, function(x)
    if x.shape[2] == 0 or x.shape[3] == 0 then
      errors.raise("resize", "images have no pixels (got %s)", tostring(x.shape))
    end
    x = o.crop_to_aspect_ratio and cropped(x, size)
      or o.pad_to_aspect_ratio and padded(x, size, o.fill_value) or x
    local y = x
    for i = 1, 2 do
      local n = x.shape[i + 1]
      if n ~= size[i] and o.interpolation == "nearest" then
        y = nearest(y, i + 1, size[i])
      elseif n ~= size[i] then
        y = ops.resample_(y, { axis = i + 1, size = size[i], scale = size[i] / n,
          method = methods[o.interpolation] or o.interpolation, antialias = o.antialias })
      end
    end
    return y.dtype == x.dtype and y or back(y, x)
  end)
end

local METHODS = { linear = "linear", bilinear = "linear", trilinear = "linear", cubic = "cubic",
  bicubic = "cubic", tricubic = "cubic", lanczos3 = "lanczos3", lanczos5 = "lanczos5" }
local translate_args = check.args("scale_and_translate", {
  { "images", "tensor", required, "a tensor of any axes" },
  { "output_shape", "shape", required, "shape of the result" },
  { "scale", "any", required, "factor per axis of spatial_dims" },
  { "translation", "any", required, "shift per axis of spatial_dims, in places of the result" },
  { "spatial_dims", "axes", required, "axes that are stretched" },
  { "method", "enum", required, "the kernel",
    of = "linear|bilinear|trilinear|cubic|bicubic|tricubic|lanczos3|lanczos5" },
  { "antialias", "bool", true, "whether the kernel grows where axes shrink" } })

--- A tensor stretched and moved along some axes: element i of the result is what lies at
--- (i + 0.5 - translation) / scale - 0.5; 0 where that is outside. Factors are above 0.
---
---     tide.ops.scale_and_translate({ 1, 2, 3 }, { 3 }, 1, 1, 1, "linear")   --> { 0, 1, 2 }
function image.scale_and_translate(...)
  local o = translate_args:call(...)
  local x = o.images
  local axes = type(o.spatial_dims) == "table" and o.spatial_dims or { o.spatial_dims }
  local function numbers(key)
    local v = core.is_tensor(o[key]) and ops.reshape(o[key], { -1 }):tolist() or o[key]
    v = type(v) == "number" and { v } or v
    if type(v) ~= "table" or #v ~= #axes then
      errors.raise("scale_and_translate", "%s must be one number for each of %d axes (got %s)",
        key, #axes, check.show(o[key]))
    end
    return v
  end
  local scale, translation = numbers "scale", numbers "translation"
  if #o.output_shape ~= x.ndim then
    errors.raise("scale_and_translate", "output_shape must have an entry for each axis of %s (got \z
      %s)", tostring(x.shape), check.show(o.output_shape))
  end
  local y = float_of(x)
  local stretched = {}
  for i, axis in ipairs(axes) do
    local at = common.axis_of("scale_and_translate", axis, x.ndim)
    stretched[at] = true
    y = ops.resample_(y, { axis = at, size = o.output_shape[at], scale = scale[i],
      shift = translation[i], method = METHODS[o.method], antialias = o.antialias })
  end
  for at = 1, x.ndim do
    if not stretched[at] and o.output_shape[at] ~= x.shape[at] then
      errors.raise("scale_and_translate", "axis %d, which is not among spatial_dims, keeps its \z
        extent (expected %d, got %d)", at, x.shape[at], o.output_shape[at])
    end
  end
  if not is_float(x) and #axes > 0 then
    return back(y, x, x:min(), x:max())
  end
  return back(y, x)
end

local function offset(name)
  return { name, "int", nil, "pixels; two of each three are given" }
end

-- Of `before`, `after` and the size that is left, the two that are given say the third.
local function two_of(where, names, before, after, target)
  if (before and 1 or 0) + (after and 1 or 0) + (target and 1 or 0) ~= 2 then
    errors.raise(where, "exactly two of %s must be given (got %s, %s and %s)", names,
      check.show(before), check.show(after), check.show(target))
  end
end

local pad_args = check.args("pad_images", { IMAGES, offset "top_padding", offset "left_padding",
  offset "bottom_padding", offset "right_padding", offset "target_height", offset "target_width",
  FORMAT })

--- Pictures with margins of 0. Two of top, bottom and target_height are given, and two of left,
--- right and target_width.
---
---     tide.ops.image.pad_images(tide.ones { 2, 2, 1 }, 1, 1, 1, 2).shape   --> { 4, 5, 1 }
function image.pad_images(...)
  local o = pad_args:call(...)
  return on_batch("pad_images", o.images, o.data_format, function(x)
    local margins = { { 0, 0 } }
    for i, names in ipairs { { "top_padding", "bottom_padding", "target_height" },
      { "left_padding", "right_padding", "target_width" } } do
      local before, after, target = o[names[1]], o[names[2]], o[names[3]]
      two_of("pad_images", table.concat(names, ", "), before, after, target)
      before = before or target - after - x.shape[i + 1]
      after = after or target - before - x.shape[i + 1]
      if before < 0 or after < 0 then
        errors.raise("pad_images", "%s and %s must be 0 or more (got %d and %d)", names[1],
          names[2], before, after)
      end
      margins[i + 1] = { before, after }
    end
    margins[4] = { 0, 0 }
    return ops.pad(x, margins)
  end)
end

local crop_args = check.args("crop_images", { IMAGES, offset "top_cropping",
  offset "left_cropping", offset "bottom_cropping", offset "right_cropping",
  offset "target_height", offset "target_width", FORMAT })

--- A part of pictures. Two of top, bottom and target_height are given, and two of left, right and
--- target_width.
---
---     tide.ops.image.crop_images(tide.ones { 5, 4, 1 }, 1, 1, 2, 1).shape   --> { 2, 2, 1 }
function image.crop_images(...)
  local o = crop_args:call(...)
  return on_batch("crop_images", o.images, o.data_format, function(x)
    local start, size = { 0, 0, 0, 0 }, { x.shape[1], 0, 0, x.shape[4] }
    for i, names in ipairs { { "top_cropping", "bottom_cropping", "target_height" },
      { "left_cropping", "right_cropping", "target_width" } } do
      local before, after, target = o[names[1]], o[names[2]], o[names[3]]
      local n = x.shape[i + 1]
      two_of("crop_images", table.concat(names, ", "), before, after, target)
      before = before or n - target - after
      target = target or n - after - before
      if before < 0 or target < 0 or before + target > n then
        errors.raise("crop_images", "the part must lie in the pictures %s (got %d from %d)",
          tostring(x.shape), target, before)
      end
      start[i + 1], size[i + 1] = before, target
    end
    return part(x, start, size)
  end)
end

-- ---- projections and sampling ----

-- In which positions are counted: halves have no whole numbers beyond 2048, or 256.
local function place_dtype(x)
  return x.dtype == "float64" and "float64" or "float32"
end

local function projected(x, transforms, o)
  local dtype = place_dtype(x)
  local y = ops.project_(ops.cast(x, dtype), ops.cast(transforms, dtype),
    { size = { x.shape[2], x.shape[3] }, interpolation = o.interpolation,
      fill_mode = o.fill_mode, fill_value = o.fill_value })
  return back(y, x)
end

local affine_args = check.args("affine_transform", { IMAGES,
  { "transform", "tensor", required, "a0, a1, a2, b0, b1, b2, c0, c1: (8) or (batch, 8)" },
  INTERPOLATION, FILL_MODE, FILL_VALUE, FORMAT })

--- Pictures under a projection: the pixel (x, y) of the result is what the picture has at
--- ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1. The gradient is that
--- of the pictures.
---
---     tide.ops.affine_transform({ { { 5 }, { 6 }, { 7 } } }, { 1, 0, 1, 0, 1, 0, 0, 0 })
---       :ravel()   --> { 6, 7, 0 }
function image.affine_transform(...)
  local o = affine_args:call(...)
  local t = o.transform
  if t.ndim ~= 1 and t.ndim ~= 2 or t.shape[t.ndim] ~= 8 then
    errors.raise("affine_transform", "transform has the wrong shape (expected (8) or (batch, 8), \z
      got %s)", tostring(t.shape))
  end
  t = t.ndim == 1 and ops.expand_dims(t, 1) or t
  return on_batch("affine_transform", o.images, o.data_format, function(x)
    return projected(x, t, o)
  end)
end

-- The projections that take `ends` to `starts`, each (batch, 4, 2): (batch, 8).
function image.homographies(starts, ends)
  local batch = starts.shape[1]
  local ones, zeros = ops.ones({ batch, 4, 1 }, { dtype = ends.dtype }),
    ops.zeros({ batch, 4, 3 }, { dtype = ends.dtype })
  local sx, sy = starts[{ {}, {}, { 1 } }], starts[{ {}, {}, { 2 } }]
  local rows = ops.stack({
    ops.concatenate({ ends, ones, zeros, -sx * ends }, { axis = 3 }),
    ops.concatenate({ zeros, ends, ones, -sy * ends }, { axis = 3 }),
  }, { axis = 3 })
  local out = ops.solve(ops.reshape(rows, { batch, 8, 8 }), ops.reshape(starts, { batch, 8, 1 }))
  return ops.reshape(out, { batch, 8 })
end

local function points(name)
  return { name, "tensor", required, "four points (x, y): (4, 2) or (batch, 4, 2)" }
end
local perspective_args = check.args("perspective_transform", { IMAGES, points "start_points",
  points "end_points", INTERPOLATION, FILL_VALUE, FORMAT })

--- Pictures seen so that four points of them come to lie elsewhere: what is at `start_points` comes
--- to `end_points`, in pixels (x, y).
---
---     tide.ops.perspective_transform(tide.ones { 4, 4, 1 }, tide.random.uniform { 4, 2 },
---       tide.random.uniform { 4, 2 }).shape   --> { 4, 4, 1 }
function image.perspective_transform(...)
  local o = perspective_args:call(...)
  local at = {}
  for i, key in ipairs { "start_points", "end_points" } do
    local p = ops.cast(o[key], place_dtype(o[key]))
    if p.ndim ~= 2 and p.ndim ~= 3 or p.shape[-1] ~= 2 or p.shape[-2] ~= 4 then
      errors.raise("perspective_transform", "%s have the wrong shape (expected (4, 2) or (batch, \z
        4, 2), got %s)", key, tostring(p.shape))
    end
    at[i] = p.ndim == 2 and ops.expand_dims(p, 1) or p
  end
  if at[1].shape[1] ~= at[2].shape[1] then
    errors.raise("perspective_transform", "start_points and end_points differ in shape (start \z
      %s, end %s)", tostring(o.start_points.shape), tostring(o.end_points.shape))
  end
  o.fill_mode = "constant"
  return on_batch("perspective_transform", o.images, o.data_format, function(x)
    return projected(x, image.homographies(at[1], at[2]), o)
  end)
end

-- x (N, d1, ..., dk, C) at coordinates (N, k, P): (N, P, C).
local function sampled(x, coordinates, o)
  local dtype = place_dtype(x)
  local y = ops.sample_(ops.cast(x, dtype), ops.cast(coordinates, dtype),
    { interpolation = o.interpolation, fill_mode = o.fill_mode, fill_value = o.fill_value })
  return back(y, x)
end

local map_args = check.args("map_coordinates", {
  { "inputs", "tensor", required, "(d1, ..., dk)" },
  { "coordinates", "tensor", required, "(k, ...), from 0" },
  { "order", "int", required, "0: the nearest element, 1: linear between elements", min = 0,
    max = 1 },
  { "fill_mode", "enum", "constant", "what lies outside",
    of = "constant|nearest|wrap|mirror|reflect" }, FILL_VALUE })

--- Elements of a tensor at coordinates between its positions. Beyond the edge of abcd: constant
--- kkkk, nearest aaaa|abcd|dddd, wrap abcd|abcd|abcd, reflect dcba|abcd|dcba, mirror
--- dcb|abcd|cba. Both inputs have gradients. As SciPy's map_coordinates up to order 1.
---
---     tide.ops.image.map_coordinates({ 1, 2, 4 }, { { 0.5, 2, 3 } }, 1)   --> { 1.5, 4, 0 }
function image.map_coordinates(...)
  local o = map_args:call(...)
  local x, at = o.inputs, float_of(o.coordinates)
  if at.ndim < 2 or at.shape[1] ~= x.ndim then
    errors.raise("map_coordinates", "coordinates have the wrong shape (expected (%d, ...), got \z
      %s)", x.ndim, tostring(at.shape))
  elseif x.ndim > 6 then
    errors.raise("map_coordinates", "inputs have the wrong number of axes (expected 1 to 6, got \z
      %d)", x.ndim)
  end
  local shape, batch = common.shape_of(at), { 1 }
  table.move(common.shape_of(x), 1, x.ndim, 2, batch)
  batch[#batch + 1] = 1
  o.interpolation = o.order == 0 and "nearest" or "bilinear"
  local count = at.shape[1]
  local y = sampled(ops.reshape(x, batch), ops.reshape(at, { 1, count, -1 }), o)
  return ops.reshape(y, table.move(shape, 2, #shape, 1, {}))
end

-- ---- blurring ----

-- The Gaussian of `size` places and a standard deviation, which may be a tensor: (size), sum 1.
local function gaussian(size, sigma, dtype)
  local x = ops.arange_(size, -(size - 1) / 2, 1, { dtype = dtype })
  local weights = ops.exp(ops.square(x / sigma) * -0.5)
  return weights / ops.sum(weights)
end

-- Each channel convolved with `down` along the height and with `across` along the width.
local function separable(x, down, across, padding)
  local channels = x.shape[4]
  local function along(y, weights, shape)
    return ops.depthwise_conv(y, ops.broadcast_to(ops.reshape(weights, shape),
      { shape[1], shape[2], channels, 1 }), { padding = padding })
  end
  return along(along(x, down, { down.shape[1], 1, 1, 1 }), across, { 1, across.shape[1], 1, 1 })
end

local blur_args = check.args("gaussian_blur", { IMAGES,
  { "kernel_size", "ints", { 3, 3 }, "height and width of the kernel", n = 2, min = 1 },
  { "sigma", "any", { 1, 1 }, "standard deviations along the width and the height" }, FORMAT })

--- Pictures convolved with a Gaussian; zeros lie around them. `sigma` is { along x, along y }.
---
---     tide.ops.image.gaussian_blur(tide.ones { 5, 5, 1 })[{ 3, 3, 1 }]   --> 1
function image.gaussian_blur(...)
  local o = blur_args:call(...)
  local sigma = o.sigma
  if core.is_tensor(sigma) and sigma.size == 2 then
    sigma = { ops.reshape(sigma, { 2 })[{ { 1 } }], ops.reshape(sigma, { 2 })[{ { 2 } }] }
  elseif type(sigma) == "number" then
    sigma = { sigma, sigma }
  end
  for i = 1, 2 do
    local v = type(sigma) == "table" and #sigma == 2 and sigma[i]
    if not core.is_tensor(v) and not (type(v) == "number" and v > 0) then
      errors.raise("gaussian_blur", "sigma must be two numbers above 0 (got %s)",
        check.show(o.sigma))
    end
  end
  return on_batch("gaussian_blur", o.images, o.data_format, function(x)
    local y = float_of(x)
    return back(separable(y, gaussian(o.kernel_size[1], sigma[2], y.dtype),
      gaussian(o.kernel_size[2], sigma[1], y.dtype), "same"), x)
  end)
end

local elastic_args = check.args("elastic_transform", { IMAGES,
  { "alpha", "number", 20, "strength, in pixels" },
  { "sigma", "number", 5, "smoothness of the field", above = 0 }, INTERPOLATION,
  { "fill_mode", "enum", "reflect", "what lies outside",
    of = "constant|nearest|wrap|reflect|mirror" }, FILL_VALUE,
  { "seed", "any", nil, "a number or a SeedGenerator" }, FORMAT })

--- Pictures whose pixels are moved by a smooth random field: normal numbers of deviation `sigma`,
--- blurred by a Gaussian of that width, times `alpha` (Simard et al. 2003). Height and width have
--- fields of their own.
---
---     tide.ops.image.elastic_transform(tide.ones { 8, 8, 3 }).shape   --> { 8, 8, 3 }
function image.elastic_transform(...)
  local o = elastic_args:call(...)
  local random = require "tide.random"
  local seeds = type(o.seed) == "number" and random.SeedGenerator(math.tointeger(o.seed)) or o.seed
  return on_batch("elastic_transform", o.images, o.data_format, function(x)
    local batch, height, width = x.shape[1], x.shape[2], x.shape[3]
    local flat = { batch, 1, height * width }
    local dtype = place_dtype(x)
    local weights = gaussian(6 * (o.sigma // 1 | 0) | 1, o.sigma, dtype)
    local function field(start, shape)
      local d = random.normal({ batch, height, width, 1 }, { stddev = o.sigma, dtype = dtype,
        seed = seeds })
      d = separable(d, weights, weights, "same") * o.alpha
      return ops.reshape(ops.squeeze(d, { axis = 4 }) + ops.reshape(start, shape), flat)
    end
    local at = ops.concatenate({ field(ops.arange_(height, 0, 1, { dtype = dtype }), { 1, -1, 1 }),
      field(ops.arange_(width, 0, 1, { dtype = dtype }), { 1, 1, -1 }) }, { axis = 2 })
    return ops.reshape(sampled(x, at, o), x.shape)
  end)
end

local sobel_args = check.args("sobel_edges", { IMAGES, FORMAT })

--- The Sobel filters' derivatives along the height and the width, as a last axis of 2; the border
--- is mirrored.
---
---     tide.ops.image.sobel_edges(tide.ones { 4, 5, 3 }).shape   --> { 4, 5, 3, 2 }
function image.sobel_edges(...)
  local o = sobel_args:call(...)
  return on_batch("sobel_edges", o.images, o.data_format, function(x)
    local height, width = x.shape[2], x.shape[3]
    local p = ops.pad(float_of(x), { { 0, 0 }, { 1, 1 }, { 1, 1 }, { 0, 0 } }, "reflect")
    local function at(i, j)
      return part(p, { 0, i, j, 0 }, { x.shape[1], height, width, x.shape[4] })
    end
    local down = at(2, 0) + at(2, 1) * 2 + at(2, 2) - at(0, 0) - at(0, 1) * 2 - at(0, 2)
    local across = at(0, 2) + at(1, 2) * 2 + at(2, 2) - at(0, 0) - at(1, 0) * 2 - at(2, 0)
    return ops.stack({ down, across }, { axis = -1 })
  end)
end

local ssim_args = check.args("ssim", {
  { "image1", "tensor", required, "(height, width, channels), or a batch of them" },
  { "image2", "tensor", required, "of the same shape" },
  { "max_val", "number", 1, "the largest value that a pixel may have" },
  { "filter_size", "int", 11, "size of the Gaussian window", min = 1 },
  { "filter_sigma", "number", 1.5, "its standard deviation", above = 0 },
  { "k1", "number", 0.01, "steadies luminance" }, { "k2", "number", 0.03, "steadies contrast" },
  FORMAT })

--- The structural similarity of pictures, one number each, 1 for equal ones (Wang et al. 2004).
---
---     tide.ops.image.ssim(tide.ones { 16, 16, 3 }, tide.ones { 16, 16, 3 })   --> 1
function image.ssim(...)
  local o = ssim_args:call(...)
  local one, two = float_of(o.image1), float_of(o.image2)
  if one.shape ~= two.shape then
    errors.raise("ssim", "the images differ in shape (image1 %s, image2 %s)", tostring(one.shape),
      tostring(two.shape))
  end
  local function index(x, y)
    local weights = gaussian(o.filter_size, o.filter_sigma, x.dtype)
    local function mean(v)
      return separable(v, weights, weights, "valid")
    end
    local c1, c2 = (o.k1 * o.max_val) ^ 2, (o.k2 * o.max_val) ^ 2
    local mx, my = mean(x), mean(y)
    local vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    local map = (mx * my * 2 + c1) * (both * 2 + c2)
      / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return ops.mean(map, { axis = { 2, 3, 4 } })
  end
  local out = on_batch("ssim", one, o.data_format, function(x)
    local y
    on_batch("ssim", two, o.data_format, function(v)
      y = v
      return v
    end)
    if x.shape[2] < o.filter_size or x.shape[3] < o.filter_size then
      errors.raise("ssim", "images are smaller than the window (expected %d or more, got %s)",
        o.filter_size, tostring(one.shape))
    end
    return index(x, y)
  end)
  return back(out, o.image1)
end

-- ---- colours ----

local function colour_args(name)
  return check.args(name, { IMAGES, FORMAT })
end

local grey_args = colour_args "rgb_to_grayscale"

--- Pictures of one channel: 0.2989 red + 0.587 green + 0.114 blue. What has one channel stays;
--- integers are cut, as in Keras.
---
---     tide.ops.image.rgb_to_grayscale(tide.ones { 2, 2, 3 }).shape   --> { 2, 2, 1 }
function image.rgb_to_grayscale(...)
  local o = grey_args:call(...)
  return on_batch("rgb_to_grayscale", o.images, o.data_format, function(x)
    if x.shape[4] == 1 then
      return x
    elseif x.shape[4] ~= 3 then
      errors.raise("rgb_to_grayscale", "images must have 3 channels, or 1 (got %s)",
        tostring(o.images.shape))
    end
    local y = float_of(x)
    y = ops.matmul(y, core.tensor({ { 0.2989 }, { 0.587 }, { 0.114 } }, { dtype = y.dtype }))
    return y.dtype == x.dtype and y or ops.cast(y, x.dtype)
  end)
end

local function colours(name, op, o)
  if not is_float(o.images) then
    errors.raise(name, "images must hold floats (got %s)", o.images.dtype)
  end
  return on_batch(name, o.images, o.data_format, op)
end

local hsv_args = colour_args "rgb_to_hsv"

--- Hue, saturation and value, from 0 to 1, of red, green and blue from 0 to 1.
---
---     tide.ops.image.rgb_to_hsv({ { { 1, 0, 0 } } }):ravel()   --> { 0, 1, 1 }
function image.rgb_to_hsv(...)
  return colours("rgb_to_hsv", ops.rgb_to_hsv_, hsv_args:call(...))
end

local rgb_args = colour_args "hsv_to_rgb"

--- Red, green and blue from 0 to 1 of hue, saturation and value.
---
---     tide.ops.image.hsv_to_rgb({ { { 0, 1, 1 } } }):ravel()   --> { 1, 0, 0 }
function image.hsv_to_rgb(...)
  return colours("hsv_to_rgb", ops.hsv_to_rgb_, rgb_args:call(...))
end

return image

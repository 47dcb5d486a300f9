--- Transformations of one picture, drawn or given. Keras:
--- keras._legacy.preprocessing.image.random_* and apply_*.
--
-- As in Keras the axes are arguments and the channels come first by default (`row_axis = 2`,
-- `col_axis = 3`, `channel_axis = 1`, counted from 1); a picture (height, width, channels) wants
-- `row_axis = 1, col_axis = 2, channel_axis = 3`.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.preprocessing.image.files"
local origin = require "tide.origin"

local transforms = {}
local image = core.image

local axes = {
  { "row_axis", "axis", 2, "axis of the rows" },
  { "col_axis", "axis", 3, "axis of the columns" },
  { "channel_axis", "axis", 1, "axis of the channels" },
}
local filling = {
  { "fill_mode", "enum", "nearest", "what lies outside", of = "nearest|constant|reflect|wrap" },
  { "cval", "number", 0.0, "value outside with fill_mode = \"constant\"" },
}

local function args(name, first, last)
  local rows = {}
  for _, group in ipairs { { { "x", "tensor", check.required, "one picture, three axes" } }, first,
    axes, filling, last } do
    table.move(group, 1, #group, #rows + 1, rows)
  end
  return check.args(name, rows, { named = { { "seed", "int", nil, "repeats a draw" } } })
end

--- 64 bits for the draws of one call: from `seed`, else from Tide's generator.
function transforms.draw_seed(seed)
  if seed then
    return image.sample_seed(seed, 0, 0)
  end
  return core.draw_seed "preprocessing.image"
end

local function drawn(options, o, h, w)
  return image.draw(options, h, w, transforms.draw_seed(o.seed))
end

-- Brings x to (H, W, C), applies f, brings it back.
local function with_axes(o, where, f)
  local x = files.floats(o.x)
  if x.ndim ~= 3 then
    errors.raise(where, "x is one picture with 3 axes (got %s)", tostring(x.shape))
  end
  local function at(axis)
    return axis < 0 and axis + 4 or axis
  end
  local r, c, k = at(o.row_axis), at(o.col_axis), at(o.channel_axis)
  if r == c or c == k or r == k or (k ~= 1 and k ~= 3) or r > c then
    errors.raise(
      where, "row_axis, col_axis and channel_axis must be 1, 2, 3 or 2, 3, 1 (got %d, %d, %d)",
      o.row_axis, o.col_axis, o.channel_axis)
  end
  local first = k == 1
  local y = f(first and files.to_last(x) or x)
  return first and files.to_first(y) or y
end

local function random(name, first, ranges)
  local table_of = args(name, first, {
    { "interpolation_order", "int", 1, "of the spline: 0 nearest, 1 linear, to 5", min = 0,
      max = 5 },
  })
  return origin.here(function(...)
    local o = table_of:call(...)
    return with_axes(o, name, function(x)
      local g = ranges(o)
      g.fill_mode, g.cval, g.interpolation_order = o.fill_mode, o.cval, o.interpolation_order
      return image.transform(g, drawn(g, o, x.shape[1], x.shape[2]), x)
    end)
  end, { args = table_of })
end

--- Turns a picture by an angle drawn from -rg..rg degrees.
---     tide.preprocessing.image.random_rotation(tide.ones { 8, 8, 3 }, 20, 1, 2, 3).shape
---     --> { 8, 8, 3 }
transforms.random_rotation = random(
  "random_rotation", { { "rg", "number", check.required, "degrees" } }, function(o)
  return { rotation_range = o.rg }
end)

--- Moves a picture by up to wrg of its width and hrg of its height.
---
---     tide.preprocessing.image.random_shift(tide.ones { 8, 8, 3 }, 0.1, 0.1, 1, 2, 3).shape
---     --> { 8, 8, 3 }
transforms.random_shift = random(
  "random_shift", { { "wrg", "number", check.required, "fraction of the width" },
    { "hrg", "number", check.required, "fraction of the height" } }, function(o)
  if math.abs(o.wrg) >= 1 or math.abs(o.hrg) >= 1 then
    errors.raise("random_shift", "wrg and hrg are fractions below 1 (got %s, %s)", o.wrg, o.hrg)
  end
  return { width_shift_range = o.wrg + 0.0, height_shift_range = o.hrg + 0.0 }
end)

--- Shears a picture by an angle drawn from -intensity..intensity degrees.
---
---     tide.preprocessing.image.random_shear(tide.ones { 8, 8, 3 }, 10, 1, 2, 3).shape
---     --> { 8, 8, 3 }
transforms.random_shear = random(
  "random_shear", { { "intensity", "number", check.required, "degrees" } }, function(o)
  return { shear_range = o.intensity }
end)

--- Zooms rows and columns by factors drawn from zoom_range = { low, high }.
---
---     tide.preprocessing.image.random_zoom(tide.ones { 8, 8, 3 }, { 0.8, 1.2 }, 1, 2, 3).shape
---     --> { 8, 8, 3 }
transforms.random_zoom = random(
  "random_zoom", { { "zoom_range", "list", check.required, "{ low, high }" } }, function(o)
  if #o.zoom_range ~= 2 then
    errors.raise("random_zoom", "zoom_range must be { low, high } (got %s)",
      check.show(o.zoom_range))
  end
  return { zoom_range = { o.zoom_range[1], o.zoom_range[2] } }
end)

local affine_args = check.args("apply_affine_transform", {
  { "x", "tensor", check.required, "one picture" }, { "theta", "number", 0, "degrees" },
    { "tx", "number", 0, "pixels along the rows" },
  { "ty", "number", 0, "pixels along the columns" }, { "shear", "number", 0, "degrees" },
    { "zx", "number", 1, "zoom" },
  { "zy", "number", 1, "zoom" }, axes[1], axes[2], axes[3], filling[1], filling[2],
  { "order", "int", 1, "of the spline: 0 nearest, 1 linear, to 5", min = 0, max = 5 },
})

--- Rotation, shift, shear and zoom in one resample about the centre; the matrix is Keras', the
--- resample SciPy's.
---     tide.preprocessing.image.apply_affine_transform(tide.ones { 8, 8, 3 }, { theta = 30,
---       row_axis = 1, col_axis = 2, channel_axis = 3 }).shape
---     --> { 8, 8, 3 }
function transforms.apply_affine_transform(...)
  local o = affine_args:call(...)
  return with_axes(o, "apply_affine_transform", function(x)
    return image.transform({ fill_mode = o.fill_mode, cval = o.cval,
      interpolation_order = o.order },
        { theta = o.theta, tx = o.tx, ty = o.ty, shear = o.shear, zx = o.zx, zy = o.zy }, x)
  end)
end

local shift_args = check.args(
  "apply_channel_shift", { { "x", "tensor", check.required, "one picture" },
    { "intensity", "number", check.required, "what is added" },
    { "channel_axis", "axis", 1, "axis of the channels" } })

--- Adds `intensity` to every channel, cut to the picture's own least and largest value.
---
---     tide.preprocessing.image.apply_channel_shift({ { { 1, 2 } } }, 0, 3)   --> { { { 1, 2 } } }
function transforms.apply_channel_shift(...)
  local o = shift_args:call(...)
  return image.transform({}, { channel_shift_intensity = o.intensity }, files.floats(o.x))
end

local random_shift_args = check.args(
  "random_channel_shift", { { "x", "tensor", check.required, "one picture" },
    { "intensity_range", "number", check.required, "the shift is drawn from plus or minus this" },
  { "channel_axis", "axis", 1, "axis of the channels" } },
    { named = { { "seed", "int", nil, "repeats a draw" } } })

--- As apply_channel_shift, by a shift drawn from -intensity_range..intensity_range.
---
---     tide.preprocessing.image.random_channel_shift(tide.ones { 8, 8, 3 }, 0.2, 3).shape
---     --> { 8, 8, 3 }
function transforms.random_channel_shift(...)
  local o = random_shift_args:call(...)
  local x = files.floats(o.x)
  local g = { channel_shift_range = o.intensity_range }
  return image.transform({}, { channel_shift_intensity = drawn(g, o, 1, 1).channel_shift_intensity
    or 0 }, x)
end

local bright_args = check.args(
  "apply_brightness_shift", { { "x", "tensor", check.required, "one picture (H, W, C)" },
  { "brightness", "number", check.required, "1 leaves it as it is" },
    { "scale", "bool", true, "stretch to 0..255 first" } })

--- Pillow's brightness of a picture (height, width, 1, 3 or 4): 0 is black, 1 the picture, more is
--- brighter.
---     tide.preprocessing.image.apply_brightness_shift(tide.ones { 8, 8, 3 }, 1.5).shape
---     --> { 8, 8, 3 }
function transforms.apply_brightness_shift(...)
  local o = bright_args:call(...)
  local x = files.floats(o.x)
  if o.scale then
    x = files.floats(files.array_to_img(x))
  end
  return image.transform({}, { brightness = o.brightness }, x)
end

local random_bright_args = check.args(
  "random_brightness", { { "x", "tensor", check.required, "one picture (H, W, C)" },
  { "brightness_range", "list", check.required, "{ low, high }" },
    { "scale", "bool", true, "stretch to 0..255 first" } },
  { named = { { "seed", "int", nil, "repeats a draw" } } })

--- As apply_brightness_shift, by a factor drawn from brightness_range = { low, high }.
---
---     tide.preprocessing.image.random_brightness(tide.ones { 8, 8, 3 }, { 0.5, 1.5 }).shape
---     --> { 8, 8, 3 }
function transforms.random_brightness(...)
  local o = random_bright_args:call(...)
  if #o.brightness_range ~= 2 then
    errors.raise("random_brightness", "brightness_range must be { low, high } (got %s)",
      check.show(o.brightness_range))
  end
  local g = { brightness_range = { o.brightness_range[1], o.brightness_range[2] } }
  return transforms.apply_brightness_shift(o.x, drawn(g, o, 1, 1).brightness, o.scale)
end

return transforms

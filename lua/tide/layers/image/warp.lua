--- Pictures turned, moved, zoomed, sheared, seen from elsewhere, and distorted.
--
-- Each layer chooses, for each picture of a batch, a projection from the pixels of the result to
-- those of the picture (see ops.image.affine_transform). Masks are sampled at the nearest pixel.
local boxes = require "tide.ops.boxes"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local image = require "tide.layers.image.base"
local none = require "tide.none"
local ops = require "tide.ops"
local pictures = require "tide.ops.image"

local warp = {}

local FILL_MODE = { "fill_mode", "enum", "reflect", "what lies outside of the picture",
  of = "reflect|wrap|constant|nearest" }
local INTERPOLATION = { "interpolation", "enum", "bilinear", "between pixels",
  of = "bilinear|nearest" }
local FILL_VALUE = { "fill_value", "number", 0, "of the mode constant" }

local function columns(x, n)
  return table.unpack(ops.split(x, n or 4, { axis = -1 }))
end

local function joined(...)
  return ops.concatenate({ ... }, { axis = -1 })
end

local function of_batch(n, value)
  return ops.full({ n, 1 }, value)
end

-- Defines a layer whose choices `t` mean the projections `matrix(self, t, x)`, (batch, 8).
local function define(name, def)
  local matrix = def.matrix
  def.matrix = nil
  local function warped(self, x, t, interpolation)
    return ops.image.affine_transform(x, matrix(self, t, x), { interpolation = interpolation,
      fill_mode = self.fill_mode, fill_value = self.fill_value })
  end
  function def._images(self, x, t)
    return warped(self, x, t, self.interpolation)
  end
  function def._masks(self, x, t)
    return warped(self, x, t, "nearest")
  end
  warp[name] = image.derive(name, def)
end

-- Boxes as corners, changed by `f`, cut at the picture's border, in the layer's format again.
local function moved(self, data, height, width, f)
  local format = self.bounding_box_format
  data = boxes.convert_format(data, format, "xyxy", height, width)
  data = boxes.clip_to_image_size({ boxes = f(data.boxes), labels = data.labels }, height, width)
  return boxes.convert_format(data, "xyxy", format, height, width)
end

-- ---- rotation ----

-- Rotations by `angle` degrees, (batch), about the middle of pictures.
local function rotations(angle, height, width)
  angle = ops.expand_dims(angle, -1) * (math.pi / 180)
  local cos, sin = ops.cos(angle), ops.sin(angle)
  local cx, cy = (width - 1) / 2, (height - 1) / 2
  return joined(cos, -sin, cx - cos * cx + sin * cy, sin, cos, cy - sin * cx - cos * cy,
    of_batch(angle.shape[1], 0), of_batch(angle.shape[1], 0))
end

--- Turns pictures, each by an angle from `factor`: a share of the full circle, f for -f to f, or
--- { low, high }. Positive angles turn counter-clockwise. Keras' RandomRotation, but that boxes
--- keep their format, where Keras takes xyxy for granted.
---
---     tide.layers.RandomRotation { 0.1 }(tide.ones { 2, 4, 4, 3 }).shape   --> { 2, 4, 4, 3 }
define("RandomRotation", {
  args = { { "factor", "any", check.required, "share of the full circle" }, FILL_MODE,
    INTERPOLATION, image.seed, FILL_VALUE, "data_format" },
  init = function(self)
    image.range(self, "factor", -1, 1)
  end,
  _draw = function(self, info, seeds)
    local angle = image.uniform({ info.batch }, self.factor[1] * 360, self.factor[2] * 360, seeds)
    return { angle = angle, image_height = info.height, image_width = info.width,
      batch_size = info.batch,
      rotation_matrix = rotations(angle, info.height, info.width) }
  end,
  matrix = function(_, t)
    return t.rotation_matrix
  end,
  _boxes = function(self, data, t)
    local height, width = t.image_height, t.image_width
    return moved(self, data, height, width, function(x)
      return boxes.affine_transform(x, t.angle, 0, 0, 1, 0, 0, height, width)
    end)
  end,
})

-- ---- translation ----

--- Moves pictures, each by shares of its height and width from `height_factor` and `width_factor`:
--- f for -f to f, or { low, high }; negative ones move up and left. Keras' RandomTranslation.
---
---     tide.layers.RandomTranslation { 0.1, 0.1 }(tide.ones { 4, 4, 3 }).shape   --> { 4, 4, 3 }
define("RandomTranslation", {
  args = { { "height_factor", "any", check.required, "share of the height" },
    { "width_factor", "any", check.required, "share of the width" }, FILL_MODE, INTERPOLATION,
    image.seed, FILL_VALUE, "data_format" },
  init = function(self)
    image.ends(self, "height_factor", -1, 1)
    image.ends(self, "width_factor", -1, 1)
  end,
  _draw = function(self, info, seeds)
    local function share(key)
      local low, high = image.ends(self, key, -1, 1)
      return image.uniform({ info.batch, 1 }, low, high, seeds)
    end
    local down = share "height_factor" * info.height
    return { translations = joined(share "width_factor" * info.width, down),
      input_shape = info.shape }
  end,
  matrix = function(_, t)
    local dx, dy = columns(t.translations, 2)
    local zero, one = ops.zeros_like(dx), ops.ones_like(dx)
    return joined(one, zero, -dx, zero, one, -dy, zero, zero)
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    return moved(self, data, height, width, function(x)
      local dx, dy = columns(ops.expand_dims(t.translations, 2), 2)
      return x + joined(dx, dy, dx, dy)
    end)
  end,
})

-- ---- zoom ----

local function zooms(t, height, width)
  local zx, zy = t.width_zoom, t.height_zoom
  local zero = ops.zeros_like(zx)
  return joined(zx, zero, (1 - zx) * ((width - 1) / 2), zero, zy, (1 - zy) * ((height - 1) / 2),
    zero, zero)
end

--- Zooms pictures about their middle, each by factors from `height_factor` and `width_factor`: f
--- for -f to f, or { low, high }; positive ones zoom out. Without a width_factor proportions stay.
--- Keras' RandomZoom.
---
---     tide.layers.RandomZoom { 0.1 }(tide.ones { 2, 4, 4, 3 }).shape   --> { 2, 4, 4, 3 }
define("RandomZoom", {
  args = { { "height_factor", "any", check.required, "share of the height" },
    { "width_factor", "any", nil, "share of the width; height_factor's when left out" }, FILL_MODE,
    INTERPOLATION, image.seed, FILL_VALUE, "data_format" },
  init = function(self)
    for _, key in ipairs { "height_factor", "width_factor" } do
      local low = self[key] ~= nil and image.ends(self, key, -1, 1)
      if low == -1 then
        errors.raise("RandomZoom", "%s must be above -1, where nothing is left (got %s)", key,
          check.show(self[key]))
      end
    end
  end,
  _draw = function(self, info, seeds)
    local function zoom(key)
      local low, high = image.ends(self, key, -1, 1)
      return image.uniform({ info.batch, 1 }, 1 + low, 1 + high, seeds)
    end
    local height = zoom "height_factor"
    return { height_zoom = height, input_shape = info.shape,
      width_zoom = self.width_factor ~= nil and zoom "width_factor" or height }
  end,
  matrix = function(_, t, x)
    return zooms(t, x.shape[2], x.shape[3])
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    local format = self.bounding_box_format
    data = boxes.convert_format(data, format, "xyxy", height, width)
    local zx, _, left, _, zy, top = columns(ops.expand_dims(zooms(t, height, width), 2), 8)
    -- what is seen, from `left` and `top`, is as wide and high as this
    local across, down = zx * width, zy * height
    local a, b, c, d = columns(data.boxes)
    local function share(v, from, size)
      return ops.minimum(ops.maximum(v - from, 0), size) / size
    end
    data = boxes.clip_to_image_size({ labels = data.labels, boxes = joined(share(a, left, across),
      share(b, top, down), share(c, left, across), share(d, top, down)) },
      { bounding_box_format = "rel_xyxy" })
    return boxes.convert_format(data, "rel_xyxy", format, height, width)
  end,
})

-- ---- shear ----

--- Shears pictures, each by factors from `x_factor` and `y_factor`, within 0 and 1: f for -f to f,
--- or { low, high }, of which both signs occur. Keras' RandomShear.
---
---     tide.layers.RandomShear { 0.1, 0.1 }(tide.ones { 2, 4, 4, 3 }).shape   --> { 2, 4, 4, 3 }
define("RandomShear", {
  args = { { "x_factor", "any", 0, "of the height, along the width" },
    { "y_factor", "any", 0, "of the width, along the height" }, INTERPOLATION, FILL_MODE,
    FILL_VALUE, "data_format", image.seed },
  init = function(self)
    for _, key in ipairs { "x_factor", "y_factor" } do
      image.ends(self, key, type(self[key]) == "number" and self[key] < 0 and 0 or -1, 1)
    end
  end,
  _draw = function(self, info, seeds)
    local shape = { info.batch, 1 }
    local sign = ops.where(ops.greater(image.uniform(shape, 0, 1, seeds), 0.5), -1.0, 1.0)
    local function factor(key)
      local low, high = image.ends(self, key, -1, 1)
      return image.uniform(shape, low, high, seeds)
    end
    local down, across = factor "y_factor", factor "x_factor"
    return { shear_factor = joined(across, down) * sign, input_shape = info.shape }
  end,
  matrix = function(_, t)
    local sx, sy = columns(t.shear_factor, 2)
    local zero, one = ops.zeros_like(sx), ops.ones_like(sx)
    return joined(one, sx, zero, sy, one, zero, zero, zero)
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    local format = self.bounding_box_format
    data = boxes.convert_format(data, format, "rel_xyxy", height, width)
    local a, b, c, d = columns(data.boxes)
    local sx, sy = columns(ops.expand_dims(t.shear_factor, 2), 2)
    -- of the two corners of a side, the one that comes to lie farther out
    local left = ops.less(sx, 0)
    a, c = a - sx * ops.where(left, b, d), c - sx * ops.where(left, d, b)
    local down = ops.greater(sy, 0)
    b, d = b - sy * ops.where(down, c, a), d - sy * ops.where(down, a, c)
    data = boxes.clip_to_image_size({ boxes = joined(a, b, c, d), labels = data.labels },
      { bounding_box_format = "rel_xyxy" })
    return boxes.convert_format(data, "rel_xyxy", format, height, width)
  end,
})

-- ---- perspective ----

-- Whether each picture is changed: with a probability between the ends of `factor`. (batch).
local function chosen(self, info, seeds)
  local p = image.uniform({ info.batch }, self.factor[1], self.factor[2], seeds)
  return ops.less(image.uniform({ info.batch }, 0, 1, seeds), p)
end

local function only(mask, y, x)
  return ops.where(ops.reshape(mask, { -1, 1, 1, 1 }), y, x)
end

local function seen(self, x, t, interpolation)
  local y = ops.image.perspective_transform(x, t.start_points, t.end_points, interpolation,
    self.fill_value)
  return only(t.apply_perspective, y, x)
end

--- Shows pictures as if seen from elsewhere: each, with a probability from `factor`, with its
--- corners moved by up to `scale` / 2 of their coordinates. Keras' RandomPerspective, but that
--- boxes keep their format.
---
---     tide.layers.RandomPerspective { 0.5 }(tide.ones { 2, 4, 4, 3 }).shape   --> { 2, 4, 4, 3 }
warp.RandomPerspective = image.derive("RandomPerspective", {
  args = { { "factor", "any", 1, "probability: f for 0 to f, or { low, high }" },
    { "scale", "number", 1, "how far corners move", min = 0, max = 1 }, INTERPOLATION, FILL_VALUE,
    image.seed, "data_format" },
  init = function(self)
    image.range(self, "factor", 0, 1)
  end,
  _draw = function(self, info, seeds)
    local apply = chosen(self, info, seeds)
    local factor = image.uniform({ info.batch, 4, 2 }, -self.scale / 2, self.scale / 2, seeds)
    local right, low = info.width - 1, info.height - 1
    local start = ops.broadcast_to(core.tensor { { { 0, 0 }, { right, 0 }, { 0, low },
      { right, low } } }, { info.batch, 4, 2 })
    return { apply_perspective = apply, start_points = start, end_points = start + start * factor,
      input_shape = info.shape }
  end,
  _images = function(self, x, t)
    return seen(self, x, t, self.interpolation)
  end,
  _masks = function(self, x, t)
    return seen(self, x, t, "nearest")
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    return moved(self, data, height, width, function(x)
      -- the projection the other way: from the picture to the result
      local p = ops.expand_dims(pictures.homographies(t.end_points, t.start_points), 2)
      local a0, a1, a2, b0, b1, b2, c0, c1 = columns(p, 8)
      local a, b, c, d = columns(x)
      local u, v = joined(a, c, a, c), joined(b, b, d, d)
      local k = c0 * u + c1 * v + 1
      u, v = (a0 * u + a1 * v + a2) / k, (b0 * u + b1 * v + b2) / k
      local function least(y)
        return ops.min(y, { axis = -1, keepdims = true })
      end
      local function most(y)
        return ops.max(y, { axis = -1, keepdims = true })
      end
      return ops.where(ops.reshape(t.apply_perspective, { -1, 1, 1 }),
        joined(least(u), least(v), most(u), most(v)), x)
    end)
  end,
})

-- ---- elastic ----

local function distorted(self, x, t, interpolation)
  local alpha, sigma = self:get_elastic_transform_params(x.shape[2], x.shape[3],
    t.distortion_factor)
  if sigma <= 0 then
    return x
  end
  local y = ops.image.elastic_transform(x, alpha, sigma, { interpolation = interpolation,
    fill_mode = self.fill_mode, fill_value = self.fill_value, seed = t.seed })
  return only(t.apply_transform, y, x)
end

--- Distorts pictures by a smooth random field, each with a probability from `factor`; the strength
--- comes from `scale`, one for a batch. Masks are distorted by the same field; boxes cannot follow.
--- Keras' RandomElasticTransform.
---
---     tide.layers.RandomElasticTransform { 0.5 }(tide.ones { 4, 4, 3 }).shape   --> { 4, 4, 3 }
local Elastic = image.derive("RandomElasticTransform", {
  args = { { "factor", "any", 1, "probability: f for 0 to f, or { low, high }" },
    { "scale", "any", 1, "strength: f for 0 to f, or { low, high }" }, INTERPOLATION,
    { "fill_mode", "enum", "reflect", "what lies outside of the picture",
      of = "reflect|wrap|constant|nearest|mirror" }, FILL_VALUE, image.value_range, image.seed,
    "data_format" },
  init = function(self)
    image.range(self, "factor", 0, 1)
    image.range(self, "scale", 0, 1)
    image.check_values(self)
  end,
  _draw = function(self, info, seeds)
    if self.scale[2] == 0 or self.factor[2] == 0 then
      return nil
    end
    local apply = chosen(self, info, seeds)
    local factor = image.uniform({ 1 }, self.scale[1], self.scale[2], seeds)
    return { apply_transform = apply, distortion_factor = factor[1],
      seed = seeds and seeds:next() or core.draw_seed "RandomElasticTransform" & 0x3FFFFFFF }
  end,
  _images = function(self, x, t)
    local y = distorted(self, x, t, self.interpolation)
    return ops.minimum(ops.maximum(y, self.value_range[1]), self.value_range[2])
  end,
  _masks = function(self, x, t)
    return distorted(self, x, t, "nearest")
  end,
  _boxes = function(self)
    errors.raise(self:_label(), "distorts pictures freely, and boxes cannot follow; leave \z
      bounding_boxes out")
  end,
})
warp.RandomElasticTransform = Elastic

--- The strength of the field, in pixels, and its smoothness, for pictures of this size.
--- @return number alpha, number sigma
function Elastic.get_elastic_transform_params(self, height, width, factor)
  for i, v in ipairs { height or none, width or none, factor or none } do
    if type(v) ~= "number" then
      errors.raise(self:_label(), "%s must be a number (got %s)",
        ({ "height", "width", "factor" })[i], check.show(v))
    end
  end
  return math.max(height, width) * 0.1 * factor, math.min(height, width) * 0.05 * factor
end

return warp

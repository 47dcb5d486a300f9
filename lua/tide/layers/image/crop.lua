--- Pictures in another size: Resizing, CenterCrop, RandomCrop.
local boxes = require "tide.ops.boxes"
local check = require "tide.check"
local image = require "tide.layers.image.base"
local ops = require "tide.ops"

local crop = {}

local HEIGHT = { "height", "int", check.required, "of the result, in pixels", min = 1 }
local WIDTH = { "width", "int", check.required, "of the result, in pixels", min = 1 }

local function same_size(self)
  return self.height, self.width
end

local function columns(x)
  return table.unpack(ops.split(x, 4, { axis = -1 }))
end

local function joined(...)
  return ops.concatenate({ ... }, { axis = -1 })
end

local function with(data, corners)
  return { boxes = corners, labels = data.labels }
end

-- Corners (xyxy) times factors, moved back.
local function placed(x, across, down, left, top)
  local a, b, c, d = columns(x)
  return joined(a * across - left, b * down - top, c * across - left, d * down - top)
end

-- ---- Resizing ----

-- Where a pixel of a picture comes to lie: factors along the width and the height, and offsets.
local function stretch(self, height, width)
  local across, down = self.width / width, self.height / height
  if self.pad_to_aspect_ratio then
    local scale = math.min(across, down)
    return scale, scale, -((self.width - width * scale) // 2),
      -((self.height - height * scale) // 2)
  elseif self.crop_to_aspect_ratio then
    local scale = math.max(across, down)
    return scale, scale, (width * scale - self.width) // 2, (height * scale - self.height) // 2
  end
  return across, down, 0, 0
end

local function resized(self, x, interpolation)
  return ops.image.resize(x, { self.height, self.width }, { interpolation = interpolation,
    antialias = self.antialias, crop_to_aspect_ratio = self.crop_to_aspect_ratio,
    pad_to_aspect_ratio = self.pad_to_aspect_ratio, fill_mode = self.fill_mode,
    fill_value = self.fill_value })
end

--- Pictures in another size, in training and outside of it; integers are rounded and stay integers.
--- Masks are resized by the nearest pixel, boxes move along. Keras' Resizing.
---
---     tide.layers.Resizing { 4, 6 }(tide.ones { 2, 8, 8, 3 }).shape   --> { 2, 4, 6, 3 }
crop.Resizing = image.derive("Resizing", {
  args = { HEIGHT, WIDTH,
    { "interpolation", "enum", "bilinear", "the kernel",
      of = "bilinear|nearest|bicubic|lanczos3|lanczos5|area" },
    { "crop_to_aspect_ratio", "bool", false, "cut off what has other proportions" },
    { "pad_to_aspect_ratio", "bool", false, "add margins in place of stretching" },
    { "fill_mode", "enum", "constant", "of the margins", of = "constant" },
    { "fill_value", "number", 0, "of the margins" },
    { "antialias", "bool", false, "whether the kernel grows where pictures shrink" },
    "data_format",
  },
  always = true, keeps_integers = true,
  _size = same_size,
  _draw = function(_, info)
    return { height = info.height, width = info.width }
  end,
  _images = function(self, x)
    return resized(self, x, self.interpolation)
  end,
  _masks = function(self, x)
    return resized(self, x, "nearest")
  end,
  _boxes = function(self, data, t)
    local format = self.bounding_box_format
    local function all(value)
      return ops.all(ops.equal(data.boxes, value), { axis = -1, keepdims = true })
    end
    local none = ops.logical_or(all(-1), all(0))
    local x = boxes.convert_format(data.boxes, format, "xyxy", t.height, t.width)
    data = boxes.clip_to_image_size(with(data, placed(x, stretch(self, t.height, t.width))),
      self.height, self.width)
    data.boxes = ops.where(none, 0, data.boxes)
    return boxes.convert_format(data, "xyxy", format, self.height, self.width)
  end,
})

-- ---- CenterCrop ----

-- The part of a picture that is cut out: top, left, height, width.
local function middle(self, height, width)
  local h, w = self.height, self.width
  if h > height or w > width then -- the largest of these proportions, which is stretched
    h = math.max(math.min(height, width * self.height // self.width), 1)
    w = math.max(math.min(width, height * self.width // self.height), 1)
  end
  return (height - h) // 2, (width - w) // 2, h, w
end

-- A part of pictures (batch, height, width, channels), in the size of the layer.
local function cut(self, x, top, left, height, width)
  if top ~= 0 or left ~= 0 or height ~= x.shape[2] or width ~= x.shape[3] then
    x = x[{ {}, { top + 1, top + height }, { left + 1, left + width } }]
  end
  return (height ~= self.height or width ~= self.width)
    and ops.image.resize(x, { self.height, self.width }) or x
end

-- Boxes in such a part; `data` has corners.
local function cut_boxes(self, data, top, left, height, width)
  local x = boxes.crop(data.boxes, top, left, height, width)
  x = placed(x, self.width / width, self.height / height, 0, 0)
  data = boxes.clip_to_image_size(with(data, x), self.height, self.width)
  return boxes.convert_format(data, "xyxy", self.bounding_box_format, self.height, self.width)
end

--- The middle of pictures, in training and outside of it; of pictures that are smaller, the largest
--- part of these proportions, stretched. Keras' CenterCrop.
---
---     tide.layers.CenterCrop { 4, 4 }(tide.ones { 2, 8, 6, 3 }).shape   --> { 2, 4, 4, 3 }
crop.CenterCrop = image.derive("CenterCrop", {
  args = { HEIGHT, WIDTH, "data_format" },
  always = true,
  _size = same_size,
  _draw = function(_, info)
    return { input_shape = info.shape }
  end,
  _images = function(self, x)
    return cut(self, x, middle(self, x.shape[2], x.shape[3]))
  end,
  _masks = function(self, x)
    return self:_images(ops.cast(x, self.compute_dtype))
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    data = boxes.convert_format(data, self.bounding_box_format, "xyxy", height, width)
    return cut_boxes(self, data, middle(self, height, width))
  end,
})

-- ---- RandomCrop ----

-- The part of a picture at a place, as far as the picture goes.
local function part_at(self, height, width, t)
  local top, left = t[1], t[2]
  return top, left, math.min(self.height, height - top), math.min(self.width, width - left)
end

--- In training, a part of pictures at a random place, the same for a whole batch; outside of
--- training, and of pictures that are not larger, the largest part of these proportions, stretched.
--- Keras' RandomCrop, but that boxes move by the crop's own offsets, which Keras exchanges, and
--- that pictures have the crop's size outside of training too, as its documentation says.
---
---     tide.layers.RandomCrop { 4, 4 }(tide.ones { 2, 8, 6, 3 }).shape   --> { 2, 4, 4, 3 }
crop.RandomCrop = image.derive("RandomCrop", {
  args = { HEIGHT, WIDTH, image.seed, "data_format" },
  always = true,
  _size = same_size,
  _draw = function(self, info, seeds, training)
    local height, width = info.height, info.width
    if training and height > self.height and width > self.width then
      local u = image.uniform({ 2 }, 0, 1, seeds):tolist()
      return { math.floor(u[1] * (height - self.height + 1)),
        math.floor(u[2] * (width - self.width + 1)), input_shape = info.shape }
    end
    local h = math.max(math.min(height, width * self.height // self.width), 1)
    local w = math.max(math.min(width, height * self.width // self.height), 1)
    return { (height - h) // 2, (width - w) // 2, input_shape = info.shape, rest = not training
      and { h, w } or nil }
  end,
  _images = function(self, x, t)
    if t.rest then
      return cut(self, x, t[1], t[2], t.rest[1], t.rest[2])
    end
    return cut(self, x, part_at(self, x.shape[2], x.shape[3], t))
  end,
  _masks = function(self, x, t)
    return self:_images(ops.cast(x, self.compute_dtype), t)
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    data = boxes.convert_format(data, self.bounding_box_format, "xyxy", height, width)
    if t.rest then
      return cut_boxes(self, data, t[1], t[2], t.rest[1], t.rest[2])
    end
    return cut_boxes(self, data, part_at(self, height, width, t))
  end,
})

return crop

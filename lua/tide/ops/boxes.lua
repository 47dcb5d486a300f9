--- Boxes around things in pictures, as Keras' utils.bounding_boxes: other formats, clipping,
--- overlap, and deltas to anchors.
--
-- Boxes are tensors (..., 4), or, where Keras takes a dictionary, `{ boxes = ..., labels = ... }`.
-- Coordinates are in pixels with their origin at 0, x along the width; in formats that begin with
-- `rel_` they are shares of the width and the height. A label of -1 is a box that is none.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"

local boxes_of = {}

local EPSILON = 1e-7 -- Keras' fuzz factor

-- ---- formats ----

-- The columns of each format as corners x1, y1, x2, y2, and back; `across` says which columns run
-- along the width.
local formats = {
  xyxy = { across = { true, false, true, false },
    to = function(a, b, c, d) return a, b, c, d end,
    from = function(a, b, c, d) return a, b, c, d end },
  yxyx = { across = { false, true, false, true },
    to = function(a, b, c, d) return b, a, d, c end,
    from = function(a, b, c, d) return b, a, d, c end },
  xywh = { across = { true, false, true, false },
    to = function(x, y, w, h) return x, y, x + w, y + h end,
    from = function(a, b, c, d) return a, b, c - a, d - b end },
  center_xywh = { across = { true, false, true, false },
    to = function(x, y, w, h)
      w, h = w / 2, h / 2
      return x - w, y - h, x + w, y + h
    end,
    from = function(a, b, c, d) return a + (c - a) / 2, b + (d - b) / 2, c - a, d - b end },
}
formats.center_yxhw = { across = { false, true, false, true },
  to = function(y, x, h, w) return formats.center_xywh.to(x, y, w, h) end,
  from = function(...)
    local x, y, w, h = formats.center_xywh.from(...)
    return y, x, h, w
  end }

local FORMATS = "xyxy|yxyx|xywh|center_xywh|center_yxhw|rel_xyxy|rel_yxyx|rel_xywh|\z
  rel_center_xywh"

local function format(key, default, doc)
  return { key, "enum", default, doc or "format of the boxes", of = FORMATS }
end

-- A format's name as it stands in the table, and whether it counts in shares of the picture.
local function format_of(name)
  return name:gsub("^rel_", ""), name:sub(1, 4) == "rel_"
end

local function columns(boxes)
  return table.unpack(ops.split(boxes, 4, { axis = -1 }))
end

local function joined(...)
  return ops.concatenate({ ... }, { axis = -1 })
end

local function as_boxes(owner, key, v, dtype)
  local t = core.is_tensor(v) and v or type(v) == "table" and getmetatable(v) == nil
    and core.tensor(v) or v
  local shape = type(t) ~= "string" and type(t) ~= "number" and t ~= nil and t.shape
  if not shape or shape[#shape] ~= 4 then
    errors.raise(owner, "%s must be boxes, with a last axis of 4 (got %s)", key, check.show(v))
  end
  return dtype and t.dtype ~= dtype and ops.cast(t, dtype) or t
end

-- `{ boxes, labels }` with other boxes, and perhaps other labels.
local function with(data, boxes, labels)
  local out = {}
  for k, v in pairs(data) do
    out[k] = v
  end
  out.boxes, out.labels = boxes, labels == nil and data.labels or labels
  return out
end

local function convert(owner, boxes, source, target, height, width, dtype)
  if check.is_plain(boxes) and boxes.boxes ~= nil then
    return with(boxes, convert(owner, boxes.boxes, source, target, height, width, dtype))
  end
  local from, from_shares = format_of(source)
  local to, to_shares = format_of(target)
  boxes = as_boxes(owner, "boxes", boxes, dtype)
  local function is_size(v)
    return type(v) == "number" or core.is_tensor(v)
  end
  if (from_shares or to_shares) and not (is_size(height) and is_size(width)) then
    errors.raise(owner, "from %s to %s needs the height and the width of the picture (got %s and \z
      %s)", source, target, check.show(height), check.show(width))
  elseif from == to and from_shares == to_shares then
    return boxes
  end
  local function scaled(name, f, ...)
    local out = { ... }
    for i, across in ipairs(formats[name].across) do
      out[i] = f(out[i], across and width or height)
    end
    return table.unpack(out)
  end
  local a, b, c, d = formats[from].to(columns(boxes))
  if from_shares and not to_shares then
    a, b, c, d = scaled("xyxy", ops.multiply, a, b, c, d)
  end
  a, b, c, d = formats[to].from(a, b, c, d)
  if to_shares and not from_shares then
    a, b, c, d = scaled(to, ops.divide, a, b, c, d)
  end
  return joined(a, b, c, d)
end

local BOXES = { "boxes", "any", check.required, "boxes (..., 4), or { boxes = ..., labels = ... }",
  dict = true }
local HEIGHT = { "height", "any", nil, "of the picture, in pixels" }
local WIDTH = { "width", "any", nil, "of the picture, in pixels" }
local FORMAT = format("bounding_box_format", "xyxy")

local convert_args = check.args("convert_format", { BOXES,
  format("source", check.required), format("target", check.required, "format that they get"),
  HEIGHT, WIDTH, { "dtype", "dtype", "float32", "of the result" } })

--- Boxes in another format: xyxy, yxyx, xywh, center_xywh, center_yxhw, and rel_xyxy, rel_yxyx,
--- rel_xywh, rel_center_xywh, whose numbers are shares of the picture's width and height.
---
---     tide.utils.bounding_boxes.convert_format({ { 1, 2, 4, 8 } }, "xyxy", "xywh")
---     --> { { 1, 2, 3, 6 } }
--- @return any boxes of the same shape; a table, if one was given
function boxes_of.convert_format(...)
  local o = convert_args:call(...)
  return convert("convert_format", o.boxes, o.source, o.target, o.height, o.width, o.dtype)
end

-- ---- clipping, cropping, padding ----

local function only(owner, given, ...)
  for i = 1, select("#", ...) do
    if given == select(i, ...) then
      return
    end
  end
  errors.raise(owner, "bounding_box_format must be %s (got %s); convert_format gives it",
    table.concat({ ... }, " or "), check.show(given))
end

-- Corners within a picture.
local function clipped(height, width, a, b, c, d)
  local function within(x, most)
    return ops.minimum(ops.maximum(x, 0), most)
  end
  return within(a, width), within(b, height), within(c, width), within(d, height)
end

local clip_args = check.args("clip_to_image_size", {
  { "bounding_boxes", "table", check.required, "{ boxes = ..., labels = ... }", dict = true },
  HEIGHT, WIDTH, FORMAT })

--- Boxes with their corners moved into the picture; the labels of boxes of which nothing is left
--- become -1; a box may have several, in a last axis. Formats: xyxy and rel_xyxy.
---
---     local clip = tide.utils.bounding_boxes.clip_to_image_size
---     clip({ boxes = { { -1, 2, 9, 4 } } }, 5, 5).boxes
---     --> { { 0, 2, 5, 4 } }
--- @return table boxes and labels
function boxes_of.clip_to_image_size(...)
  local o = clip_args:call(...)
  local data, height, width = o.bounding_boxes, o.height, o.width
  only("clip_to_image_size", o.bounding_box_format, "xyxy", "rel_xyxy")
  if o.bounding_box_format == "rel_xyxy" then
    height, width = 1, 1
  elseif height == nil or width == nil then
    errors.raise("clip_to_image_size", "boxes in pixels need the height and the width of the \z
      picture (got %s and %s)", check.show(height), check.show(width))
  end
  local boxes = as_boxes("clip_to_image_size", "boxes", data.boxes)
  local a, b, c, d = clipped(height, width, columns(boxes))
  local labels = data.labels
  if labels ~= nil then
    labels = core.is_tensor(labels) and labels or core.tensor(labels)
    local there = ops.greater((c - a) * (d - b), 0) -- (..., 1)
    if labels.ndim == boxes.ndim - 1 then
      there = ops.squeeze(there, { axis = -1 })
    end
    local fits = labels.ndim == there.ndim
    for i = 1, fits and boxes.ndim - 1 or 0 do
      fits = fits and labels.shape[i] == boxes.shape[i]
    end
    if not fits then
      errors.raise("clip_to_image_size", "labels must have one or more numbers for each box \z
        (boxes %s, labels %s)", tostring(boxes.shape), tostring(labels.shape))
    end
    labels = ops.where(there, labels, -1)
  end
  return with(data, joined(a, b, c, d), labels)
end

local function offset(key)
  return { key, "any", check.required, "in pixels" }
end

-- Boxes whose corners lie `top` pixels lower and `left` pixels farther right.
local function moved(owner, boxes, top, left)
  local a, b, c, d = columns(as_boxes(owner, "boxes", boxes))
  return a + left, b + top, c + left, d + top
end

local crop_args = check.args("crop", { BOXES, offset "top", offset "left",
  { "height", "any", check.required, "of what is cropped" },
  { "width", "any", check.required, "of what is cropped" }, FORMAT })

--- Boxes (xyxy) in the part of a picture that begins at (`top`, `left`) and has `height` and
--- `width`.
---
---     tide.utils.bounding_boxes.crop({ { 10, 20, 50, 60 } }, 10, 20, 40, 30)
---     --> { { 0, 10, 30, 40 } }
function boxes_of.crop(...)
  local o = crop_args:call(...)
  only("crop", o.bounding_box_format, "xyxy")
  return joined(clipped(o.height, o.width, moved("crop", o.boxes, -o.top, -o.left)))
end

local pad_args = check.args("pad", { BOXES, offset "top", offset "left", HEIGHT, WIDTH, FORMAT })

--- Boxes (xyxy) in a picture that got `top` rows above and `left` columns before.
---
---     tide.utils.bounding_boxes.pad({ { 1, 2, 3, 4 } }, 10, 20)   --> { { 21, 12, 23, 14 } }
function boxes_of.pad(...)
  local o = pad_args:call(...)
  only("pad", o.bounding_box_format, "xyxy")
  return joined(moved("pad", o.boxes, o.top, o.left))
end

-- ---- affine maps ----

-- The 2 rows of the matrix that takes points of pictures to where the picture's affine map puts
-- them, (batch, 2, 3): the inverse of rotation * shear * scale about the centre. Parameters are
-- tensors (batch), angles in degrees, centres and translations shares of the sizes.
local function matrix(p)
  local function radians(x)
    return x * (math.pi / 180)
  end
  local angle, sx, sy = radians(-p.angle), radians(-p.shear_x), radians(-p.shear_y)
  local across, down = p.width - 1, p.height - 1
  local cx, cy = p.center_x * across, p.center_y * down
  local px, py = cx - p.translate_x * across, cy - p.translate_y * down
  local a = ops.cos(angle - sy) / ops.cos(sy)
  local b = a * ops.tan(sx) + ops.sin(angle)
  local c = -ops.sin(angle - sy) / ops.cos(sy)
  local d = ops.cos(angle) - c * ops.tan(sx)
  local a0, a1, b0, b1 = d * p.scale, -b * p.scale, -c * p.scale, a * p.scale
  local rows = ops.stack({ a0, a1, cx - a0 * px - a1 * py, b0, b1, cy - b0 * px - b1 * py },
    { axis = -1 })
  return ops.reshape(rows, { -1, 2, 3 })
end

local function parameter(key, doc)
  return { key, "any", check.required, doc .. ", a number or one per picture" }
end

local affine_args = check.args("affine_transform", { BOXES,
  parameter("angle", "degrees"), parameter("translate_x", "share of the width"),
  parameter("translate_y", "share of the height"), parameter("scale", "factor"),
  parameter("shear_x", "degrees"), parameter("shear_y", "degrees"),
  { "height", "any", check.required, "of the picture" },
  { "width", "any", check.required, "of the picture" },
  { "center_x", "any", nil, "share of the width, 0.5 when left out" },
  { "center_y", "any", nil, "share of the height, 0.5 when left out" }, FORMAT })

--- The upright boxes (xyxy) around what an affine map of the picture makes of boxes: (N, 4), or
--- (batch, N, 4) with parameters of each picture.
---
---     tide.utils.bounding_boxes.affine_transform({ { 1, 2, 3, 4 } }, 0, 0, 0, 1, 0, 0, 9, 9)
---     --> { { 1, 2, 3, 4 } }
function boxes_of.affine_transform(...)
  local o = affine_args:call(...)
  only("affine_transform", o.bounding_box_format, "xyxy")
  local boxes = as_boxes("affine_transform", "boxes", o.boxes)
  boxes = boxes.dtype:find "float" and boxes or ops.cast(boxes, "float32")
  if boxes.ndim ~= 2 and boxes.ndim ~= 3 then
    errors.raise("affine_transform", "boxes have the wrong shape (expected (N, 4) or (batch, N, \z
      4), got %s)", tostring(boxes.shape))
  end
  local shape = boxes.shape
  local batch = boxes.ndim == 3 and shape[1] or 1
  local p = { center_x = o.center_x or 0.5, center_y = o.center_y or 0.5, height = o.height,
    width = o.width }
  for _, key in ipairs { "angle", "translate_x", "translate_y", "scale", "shear_x", "shear_y" } do
    local v = o[key]
    v = core.is_tensor(v) and v or core.tensor(v)
    p[key] = ops.broadcast_to(ops.cast(v, boxes.dtype), { batch })
  end
  local a, b, c, d = columns(boxes.ndim == 3 and boxes or ops.expand_dims(boxes, 1))
  -- all corners of all boxes: (batch, N * 4, 2)
  local x = ops.concatenate({ a, c, c, a }, { axis = -1 })
  local y = ops.concatenate({ b, b, d, d }, { axis = -1 })
  local m = matrix(p)
  local function mapped(row)
    local function of(column)
      return m[{ {}, { row }, { column } }]
    end
    return x * of(1) + y * of(2) + of(3)
  end
  local u, v = mapped(1), mapped(2)
  local function least(t)
    return ops.min(t, { axis = -1, keepdims = true })
  end
  local function most(t)
    return ops.max(t, { axis = -1, keepdims = true })
  end
  return ops.reshape(joined(least(u), least(v), most(u), most(v)), shape)
end

-- ---- overlap ----

local function sizes_of(image_shape, owner)
  if image_shape == nil then
    return nil, nil
  elseif #image_shape < 2 then
    errors.raise(owner, "image_shape must be { height, width, channels } (got %s)",
      check.show(image_shape))
  end
  return image_shape[1], image_shape[2]
end

local function in_format(owner, key, boxes, source, target, image_shape)
  local _, shares = format_of(source)
  if shares and image_shape == nil then
    errors.raise(owner, "boxes in shares of the picture need image_shape = { height, width, \z
      channels }")
  end
  local height, width = sizes_of(image_shape, owner)
  boxes = as_boxes(owner, key, boxes, "float32")
  return convert(owner, boxes, source, target, height, width, "float32")
end

local BOXES1 = { "boxes1", "any", check.required, "boxes" }
local BOXES2 = { "boxes2", "any", check.required, "boxes" }
local FORMAT_DUE = format("bounding_box_format", check.required)
local IMAGE_SHAPE = { "image_shape", "shape", nil, "height, width, channels" }

local iou_args = check.args("compute_iou", { BOXES1, BOXES2, FORMAT_DUE,
  { "use_masking", "bool", false, "give mask_val where a box has only negative numbers" },
  { "mask_val", "number", -1, "what masked pairs get" }, IMAGE_SHAPE })

--- The share of their union that each pair of boxes has in common: boxes (M, 4) or (batch, M, 4)
--- and (N, 4) or (batch, N, 4) give (M, N) or (batch, M, N).
---
---     tide.utils.bounding_boxes.compute_iou({ { 0, 0, 2, 2 } }, { { 1, 0, 3, 2 } }, "xyxy")
---     --> { { 1 / 3 } }
function boxes_of.compute_iou(...)
  local o = iou_args:call(...)
  local function corners(key)
    local boxes = in_format("compute_iou", key, o[key], o.bounding_box_format, "yxyx",
      o.image_shape)
    if boxes.ndim ~= 2 and boxes.ndim ~= 3 then
      errors.raise("compute_iou", "%s has the wrong shape (expected (N, 4) or (batch, N, 4), got \z
        %s)", key, tostring(boxes.shape))
    end
    return boxes
  end
  local one, two = corners "boxes1", corners "boxes2"
  if one.ndim == 3 and two.ndim == 3 and one.shape[1] ~= two.shape[1]
    and one.shape[1] ~= 1 and two.shape[1] ~= 1 then
    errors.raise("compute_iou", "boxes1 and boxes2 differ in their batch (boxes1 %s, boxes2 %s)",
      tostring(one.shape), tostring(two.shape))
  end
  local function turned(x) -- (..., N, 1) as (..., 1, N)
    return ops.swapaxes(x, -1, -2)
  end
  local a1, b1, c1, d1 = columns(one)
  local a2, b2, c2, d2 = columns(two)
  local height = ops.minimum(c1, turned(c2)) - ops.maximum(a1, turned(a2))
  local width = ops.minimum(d1, turned(d2)) - ops.maximum(b1, turned(b2))
  local common = ops.maximum(height, 0) * ops.maximum(width, 0)
  local area = (c1 - a1) * (d1 - b1) + turned((c2 - a2) * (d2 - b2)) - common
  local out = common / (area + EPSILON)
  if not o.use_masking then
    return out
  end
  local function absent(boxes)
    return ops.less(ops.max(boxes, { axis = -1, keepdims = true }), 0)
  end
  return ops.where(ops.logical_or(absent(one), turned(absent(two))), o.mask_val, out)
end

local ciou_args = check.args("compute_ciou", { BOXES1, BOXES2, FORMAT_DUE, IMAGE_SHAPE })

--- The complete IoU of boxes (..., 4) and (..., 4), one number for each pair in their order:
--- overlap less penalties on the distance of the centres and on other proportions (Zheng et al.
--- 2020).
---
---     local ciou = tide.utils.bounding_boxes.compute_ciou
---     ciou({ { 0, 0, 2, 2 } }, { { 0, 0, 2, 2 } }, "xyxy"):round(3)   --> { 1 }
function boxes_of.compute_ciou(...)
  local o = ciou_args:call(...)
  local function corners(key)
    return columns(in_format("compute_ciou", key, o[key], o.bounding_box_format, "xyxy",
      o.image_shape))
  end
  local a1, b1, c1, d1 = corners "boxes1"
  local a2, b2, c2, d2 = corners "boxes2"
  local width1, height1 = c1 - a1, d1 - b1 + EPSILON
  local width2, height2 = c2 - a2, d2 - b2 + EPSILON
  local common = ops.maximum(ops.minimum(c1, c2) - ops.maximum(a1, a2), 0)
    * ops.maximum(ops.minimum(d1, d2) - ops.maximum(b1, b2), 0)
  local union = width1 * height1 + width2 * height2 - common + EPSILON
  local iou = common / (union + EPSILON)
  local hull = ops.square(ops.maximum(c1, c2) - ops.minimum(a1, a2))
    + ops.square(ops.maximum(d1, d2) - ops.minimum(b1, b2)) + EPSILON
  local apart = ops.square((a1 + c1) / 2 - (a2 + c2) / 2)
    + ops.square((b1 + d1) / 2 - (b2 + d2) / 2)
  local v = ops.square(ops.arctan(width2 / height2) - ops.arctan(width1 / height1))
    * (4 / math.pi ^ 2)
  local alpha = v / (v - iou + (1 + EPSILON))
  return ops.squeeze(iou - (apart / hull + v * alpha), { axis = -1 })
end

-- ---- deltas to anchors ----

local function delta_args(name, second, encoding)
  return check.args(name, { { "anchors", "any", check.required, "boxes (N, 4)", dict = true },
    second, format("anchor_format", check.required, "format of the anchors"),
    format("box_format", check.required),
    { encoding, "enum", "center_yxhw", "in which deltas are counted",
      of = "center_yxhw|center_xywh" },
    { "variance", "list", nil, "four numbers that the deltas are divided by" }, IMAGE_SHAPE })
end

local function variance_of(owner, v)
  if v ~= nil then
    v = core.is_tensor(v) and v or core.tensor(v)
    if v.ndim ~= 1 or v.shape[1] ~= 4 then
      errors.raise(owner, "variance must be four numbers (got %s)", tostring(v.shape))
    end
  end
  return v
end

local function halves(x)
  return table.unpack(ops.split(x, 2, { axis = -1 }))
end

local encode_args = delta_args("encode_box_to_deltas", { "boxes", "any", check.required,
  "boxes (N, 4) or (batch, N, 4)" }, "encoding_format")

--- What a detector learns: where boxes lie and how large they are, each by its anchor. The centre's
--- distance in sizes of the anchor, and the logarithm of the sizes' ratio, over `variance`.
---
---     local encode = tide.utils.bounding_boxes.encode_box_to_deltas
---     encode({ { 0, 0, 4, 4 } }, { { 1, 0, 5, 4 } }, "xyxy", "xyxy")   --> { { 0, 0.25, 0, 0 } }
function boxes_of.encode_box_to_deltas(...)
  local o = encode_args:call(...)
  local owner = "encode_box_to_deltas"
  local variance = variance_of(owner, o.variance)
  local function sized(key, name)
    local at, size = halves(in_format(owner, key, o[key], name, o.encoding_format,
      o.image_shape))
    return at, ops.maximum(size, EPSILON)
  end
  local anchor, anchor_size = sized("anchors", o.anchor_format)
  local box, box_size = sized("boxes", o.box_format)
  local deltas = joined((box - anchor) / anchor_size, ops.log(box_size / anchor_size))
  return variance and deltas / variance or deltas
end

local decode_args = delta_args("decode_deltas_to_boxes", { "boxes_delta", "any", check.required,
  "deltas (N, 4) or (batch, N, 4)", dict = true }, "encoded_format")

--- The boxes that deltas to anchors mean: the inverse of encode_box_to_deltas. Anchors and deltas
--- may be tables by level.
---
---     local decode = tide.utils.bounding_boxes.decode_deltas_to_boxes
---     decode({ { 0, 0, 4, 4 } }, { { 0, 0.25, 0, 0 } }, "xyxy", "xyxy")   --> { { 1, 0, 5, 4 } }
function boxes_of.decode_deltas_to_boxes(...)
  local o = decode_args:call(...)
  local owner = "decode_deltas_to_boxes"
  local variance = variance_of(owner, o.variance)
  local height, width = sizes_of(o.image_shape, owner)
  local function decoded(anchors, deltas)
    deltas = as_boxes(owner, "boxes_delta", deltas)
    local at, size = halves(in_format(owner, "anchors", anchors, o.anchor_format,
      o.encoded_format, o.image_shape))
    local shift, growth = halves(variance and deltas * variance or deltas)
    local boxes = joined(shift * size + at, ops.exp(growth) * size)
    return convert(owner, boxes, o.encoded_format, o.box_format, height, width, "float32")
  end
  if check.is_plain(o.anchors) and check.has_string_key(o.anchors) then
    local out = {}
    for level, anchors in pairs(o.anchors) do
      out[level] = decoded(anchors, o.boxes_delta[level])
    end
    return out
  end
  return decoded(o.anchors, o.boxes_delta)
end

return require("tide.namespace").new("tide.utils.bounding_boxes", boxes_of)

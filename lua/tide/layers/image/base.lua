--- What all layers that change pictures share: their inputs, their random choices, and what goes
--- with the pictures.
--
-- Such a layer is called on pictures (height, width, channels) or a batch of them, or on a table
-- `{ images =, labels =, bounding_boxes = { boxes =, labels = }, segmentation_masks = }`, of which
-- it returns another; what else stands in the table stays as it is. Called by itself it acts as in
-- training, as Keras' do; in `predict` and `evaluate` random ones do nothing.
--
-- A call has two steps. `get_random_transformation` makes the choices for a batch, a table of
-- tensors, one entry per picture; `transform_images`, `transform_labels`,
-- `transform_bounding_boxes` and `transform_segmentation_masks` carry them out, each of them a
-- public method. A class gives:
--
--   _draw(self, info, seeds, training)   the choices: a table, or nil for none. info: batch,
--                              height, width, channels, shape, data; `seeds` goes to tide.random's
--                              functions (`image.uniform`)
--   _images(self, x, t)        x (batch, height, width, channels), whatever data_format is, in the
--                              compute dtype
--   _masks, _labels, _boxes    the same for what goes with them, where it changes; _boxes gets
--                              { boxes (batch, n, 4) in the layer's format, labels } and t
--   _size(self, height, width) sizes of the result, where they are others
--   always                     true: acts outside of training too
--   keeps_integers             true: integers are not cast to the compute dtype
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local object = require "tide.object"
local ops = require "tide.ops"
local random = require "tide.random"
local shapes = require "tide.layers.shapes"
local spatial = require "tide.layers.spatial"

local image = {}

local BOX_FORMATS = "xyxy|yxyx|xywh|center_xywh|center_yxhw|rel_xyxy|rel_yxyx|rel_xywh|\z
  rel_center_xywh"

-- ---- rows and values of options ----

--- The row of the option seed.
image.seed = { "seed", "int", nil, "own random stream" }
--- The row of the option value_range.
image.value_range = { "value_range", "any", { 0, 255 }, "least and largest value of a pixel" }

--- An option that is one number or the two ends of a range, as `{ low, high }`: `v` means the range
--- from -v to v, as far as the limits allow. Kept in the field of that name.
--- @param self table the layer
--- @param key string name of the option
--- @param least number
--- @param most number
function image.range(self, key, least, most)
  local v = self[key]
  v = list.is(v) and v:totable() or v
  local low, high = v, v
  if check.is_plain(v) and #v == 2 then
    low, high = v[1], v[2]
  elseif type(v) == "number" then
    low, high = math.max(-math.abs(v), least), math.abs(v)
  end
  if type(low) ~= "number" or type(high) ~= "number" or type(v) == "number"
    and (v < least or v > most) or low > most or high < least or low ~= low or high ~= high then
    errors.raise(getmetatable(self).__name, "%s must be a number, or two, within %g and %g (got \z
      %s)", key, least, most, check.show(v))
  end
  self[key] = { math.min(low, high), math.max(low, high) }
  return self[key]
end

--- The ends of a range as `range` reads it, both within the limits, without keeping them.
--- @return number low, number high
function image.ends(self, key, least, most)
  local v = self[key]
  v = list.is(v) and v:totable() or v
  local low, high = v, v
  if check.is_plain(v) and #v == 2 then
    low, high = v[1], v[2]
  elseif type(v) == "number" then
    low, high = -math.abs(v), math.abs(v)
  end
  if type(low) ~= "number" or type(high) ~= "number" or not (math.min(low, high) >= least
    and math.max(low, high) <= most) then
    errors.raise(getmetatable(self).__name, "%s must be a number, or two, within %g and %g (got \z
      %s)", key, least, most, check.show(v))
  end
  return math.min(low, high), math.max(low, high)
end

--- Checks the option value_range.
function image.check_values(self)
  local v = self.value_range
  v = list.is(v) and v:totable() or v
  if not (check.is_plain(v) and #v == 2 and type(v[1]) == "number" and type(v[2]) == "number"
    and v[1] < v[2]) then
    errors.raise(getmetatable(self).__name, "value_range must be two numbers, the smaller first \z
      (got %s)", check.show(v))
  end
  self.value_range = { v[1], v[2] }
end

--- Uniform numbers in [low, high), of the shape, by the layer's seeds.
function image.uniform(shape, low, high, seeds)
  return random.uniform(shape, { minval = low, maxval = high, seed = seeds })
end

--- Pixels of one range of values in another.
--- @param x userdata
--- @param from table two numbers
--- @param to table two numbers
function image.in_range(x, from, to)
  if from[1] == to[1] and from[2] == to[2] then
    return x
  end
  return (x - from[1]) / (from[2] - from[1]) * (to[2] - to[1]) + to[1]
end

-- ---- inputs ----

local AXES = 8 -- that a tensor has at most; a table may hold itself

-- Numbers as a tensor: whole ones of labels stay whole.
local function as_numbers(v, dtype)
  return core.tensor(list.is(v) and v:totable() or v, { dtype = dtype })
end

local function all_whole(v, depth)
  depth = depth or 1
  if type(v) ~= "table" or depth > AXES then
    return math.type(v) == "integer"
  end
  for _, x in ipairs(v) do
    if not all_whole(x, depth + 1) then
      return false
    end
  end
  return true
end

-- Lists of lists of boxes, or of their labels, as long as the longest of them.
local function filled(v, longest, with)
  local out = {}
  for i, one in ipairs(v) do
    out[i] = table.move(one, 1, #one, 1, {})
    for k = #one + 1, longest do
      out[i][k] = with
    end
  end
  return out
end

-- What stands for the label, or the labels, of a box that is none.
local function no_label(labels)
  for _, of_picture in ipairs(labels) do
    local first = of_picture[1]
    if first ~= nil then
      return check.is_plain(first) and filled({ {} }, #first, -1)[1] or -1
    end
  end
  return -1
end

-- `bounding_boxes` as tensors. Pictures may have unlike numbers of boxes where these are given as
-- lists: missing ones have the corners 0 and the label -1.
local function as_boxes(self, v)
  if not check.is_plain(v) or v.boxes == nil or v.labels == nil then
    errors.raise(self:_label(), "bounding_boxes must be { boxes = ..., labels = ... } (got %s)",
      check.show(v))
  end
  local out, boxes, labels, none = {}, v.boxes, v.labels, nil
  for k, x in pairs(v) do
    out[k] = x
  end
  if check.is_plain(boxes) and not core.is_tensor(boxes[1]) then
    if check.is_plain(boxes[1]) and (check.is_plain(boxes[1][1]) or #boxes[1] == 0) then
      local longest = 0
      for i, one in ipairs(boxes) do
        longest = math.max(longest, #one)
        local own = check.is_plain(labels) and labels[i]
        if check.is_plain(own) and #own ~= #one then
          errors.raise(self:_label(), "each box needs its labels (picture %d: boxes %d, labels %d)",
            i, #one, #own)
        end
      end
      none = longest == 0 and { #boxes, 0, 4 }
      boxes = filled(boxes, longest, { 0, 0, 0, 0 })
      labels = check.is_plain(labels) and filled(labels, longest, no_label(labels)) or labels
    end
    none = none or #boxes == 0 and { 0, 4 }
    out.boxes = none and core.zeros(none) or as_numbers(boxes, "float32")
  end
  if none and check.is_plain(labels) then
    out.labels = core.zeros({ table.unpack(none, 1, #none - 1) }, { dtype = "int32" })
  elseif check.is_plain(labels) then
    out.labels = as_numbers(labels, all_whole(labels) and "int32" or nil)
  end
  local shape, of_labels = out.boxes.shape, out.labels.shape
  if not shape or #shape < 2 or #shape > 3 or shape[#shape] ~= 4 then
    errors.raise(self:_label(), "boxes have the wrong shape (expected (boxes, 4) or (batch, \z
      boxes, 4), got %s)", shape and tostring(shape) or check.show(out.boxes))
  end
  local fits = of_labels and (#of_labels == #shape - 1 or #of_labels == #shape)
  for i = 1, fits and #shape - 1 or 0 do
    local free = not shape[i] or not of_labels[i] -- extents that are not known yet
    fits = fits and (free or of_labels[i] == shape[i])
  end
  if not fits then
    errors.raise(self:_label(), "the labels of boxes %s must have one or more numbers for each \z
      box (got %s)", tostring(shape), of_labels and tostring(of_labels)
        or check.show(out.labels))
  end
  return out
end

-- The inputs as tensors.
local function read(self, x)
  local out = {}
  for k, v in pairs(x) do
    if k == "bounding_boxes" then
      out[k] = as_boxes(self, v)
    elseif type(v) == "number" or check.is_plain(v) and not core.is_tensor(v[1]) and #v > 0
      or list.is(v) then
      out[k] = as_numbers(v, k ~= "images" and all_whole(v) and "int32" or nil)
    else
      out[k] = v
    end
  end
  if out.images == nil then
    errors.raise(self:_label(), "takes pictures, or a table with images among it (got the names \z
      %s)", table.concat(check.sorted_keys(x), ", "))
  end
  return out
end

-- Sizes of pictures of this shape: { batch, height, width, channels, single, shape }.
local function info_of(self, shape)
  if type(shape) ~= "table" then
    errors.raise(self:_label(), "takes pictures, and the transformation that \z
      get_random_transformation gave for them (got no shape)")
  end
  local n, first = #shape, self.data_format == "channels_first"
  if n ~= 3 and n ~= 4 then
    errors.raise(self:_label(), "images must have the shape %s, or that with a batch first (got \z
      %s)", first and "(channels, height, width)" or "(height, width, channels)",
      list.format(shape))
  end
  local at = first and n - 1 or n - 2
  return { single = n == 3, batch = n == 4 and shape[1] or 1, height = shape[at],
    width = shape[at + 1], channels = shape[first and n - 2 or n], shape = shape }
end

--- Height and width of pictures of this shape.
function image.sizes(self, shape)
  local info = info_of(self, shape)
  return info.height, info.width
end

-- ---- the class ----

local DATA = { "data", "any", check.required, "pictures, or a table with images among it",
  dict = true }
local TRANSFORMATION = { "transformation", "table", nil, "what get_random_transformation gave",
  dict = true }
local TRAINING = { "training", "bool", true, "whether random layers act" }

local Image = base.derive(base, "BaseImagePreprocessingLayer", {
  takes = "images", acts_alone = true,
  args = {
    { "factor", "any", nil, "of layers that have one" },
    { "bounding_box_format", "enum", nil, "how boxes are written; needed where there are any",
      of = BOX_FORMATS },
    spatial.data_format,
  },
  init = function(self)
    if self.factor ~= nil and not self._has_factor then
      errors.raise(getmetatable(self).__name, "takes no factor (got %s)", check.show(self.factor))
    end
    self[S].generator = self.seed and random.SeedGenerator(self.seed) or nil
  end,
})
image.Image = Image
Image.always, Image.keeps_integers, Image._has_factor = false, false, false
object.declare(Image, "layer", {
  get_random_transformation = { DATA, TRAINING,
    { "seed", "any", nil, "a number or a SeedGenerator, in place of the layer's own" } },
  transform_images = { { "images", "any", check.required }, TRANSFORMATION, TRAINING },
  transform_labels = { { "labels", "any", check.required }, TRANSFORMATION, TRAINING },
  transform_bounding_boxes = { { "bounding_boxes", "any", check.required, dict = true },
    TRANSFORMATION, TRAINING },
  transform_segmentation_masks = { { "segmentation_masks", "any", check.required },
    TRANSFORMATION, TRAINING },
})

-- Symbolic tensors are objects.
local function check_pictures(self, x)
  if not core.is_tensor(x) and (type(x) ~= "table" or check.is_plain(x)) then
    errors.raise(self:_label(), "takes pictures as a tensor (got %s)", check.show(x))
  end
end

-- What a class may give; nothing changes by itself.
function Image._draw()
  return {}
end
function Image._images(_, x)
  return x
end
function Image._masks(_, x)
  return x
end
function Image._labels(_, labels)
  return labels
end
function Image._boxes(_, boxes)
  return boxes
end
function Image._size(_, height, width)
  return height, width
end

--- The choices for these pictures: a table, or nil where the layer does nothing.
--- @param data any pictures, or a table with images among it
--- @param training boolean|nil true when left out
--- @param seed any a number or a SeedGenerator in place of the layer's own
--- @return table|nil transformation
function Image:get_random_transformation(data, training, seed)
  if training == false and not self.always then
    return nil
  end
  local images = check.is_plain(data) and data.images or data
  check_pictures(self, images)
  local info = info_of(self, images.shape)
  info.data = check.is_plain(data) and data or { images = data }
  if type(seed) == "number" then
    seed = random.SeedGenerator(seed)
  end
  return self:_draw(info, seed or self[S].generator or nil, training ~= false)
end

local function acts(self, transformation, training)
  if transformation ~= nil and not check.is_plain(transformation) then
    errors.raise(self:_label(), "takes the table that get_random_transformation gave (got %s)",
      check.show(transformation))
  end
  return (training ~= false or self.always) and transformation ~= nil
end

-- `f` on pictures as a batch with the channels last.
local function on_batch(self, f, x, t)
  check_pictures(self, x)
  local info = info_of(self, x.shape)
  local first = self.data_format == "channels_first"
  x = info.single and ops.expand_dims(x, 1) or x
  x = f(self, first and spatial.last(x, 2) or x, t)
  x = first and spatial.first(x, 2) or x
  return info.single and ops.squeeze(x, { axis = 1 }) or x
end

--- The pictures, (batch, ...) or one, as the transformation changes them.
function Image:transform_images(images, transformation, training)
  check_pictures(self, images)
  if not self.keeps_integers and images.dtype ~= self.compute_dtype then
    images = ops.cast(images, self.compute_dtype)
  end
  return acts(self, transformation, training)
    and on_batch(self, self._images, images, transformation) or images
end

--- The masks (batch, height, width, channels), or one, as the pictures were changed.
function Image:transform_segmentation_masks(masks, transformation, training)
  return acts(self, transformation, training)
    and on_batch(self, self._masks, masks, transformation) or masks
end

--- The labels as the pictures were changed.
function Image:transform_labels(labels, transformation, training)
  return acts(self, transformation, training) and self:_labels(labels, transformation) or labels
end

--- The boxes, { boxes (batch, n, 4), labels }, as the pictures were changed.
function Image:transform_bounding_boxes(boxes, transformation, training)
  return acts(self, transformation, training) and self:_boxes(boxes, transformation) or boxes
end

-- `f` on what goes with one picture, as a batch of one.
local function single(f, x)
  if check.is_plain(x) then
    local out = {}
    for k, v in pairs(x) do
      out[k] = ops.expand_dims(v, 1)
    end
    out = f(out)
    for k, v in pairs(out) do
      out[k] = ops.squeeze(v, { axis = 1 })
    end
    return out
  end
  return ops.squeeze(f(ops.expand_dims(x, 1)), { axis = 1 })
end

function Image:call(x, o)
  local data = check.is_plain(x) and x or { images = x }
  local info = info_of(self, data.images.shape)
  local training = o.training or false
  local t = self:get_random_transformation(data, training)
  local out = {}
  for k, v in pairs(data) do
    out[k] = v
  end
  out.images = self:transform_images(data.images, t, training)
  local function with(key, method)
    local v = data[key]
    if v == nil then
      return
    end
    local function f(one)
      return method(self, one, t, training)
    end
    if info.single and acts(self, t, training) then
      out[key] = single(f, v)
    else
      out[key] = f(v)
    end
  end
  if data.bounding_boxes and not self.bounding_box_format then
    errors.raise(self:_label(), "there are bounding boxes, but not how they are written; set \z
      bounding_box_format = 'xyxy'")
  end
  with("bounding_boxes", self.transform_bounding_boxes)
  with("labels", self.transform_labels)
  with("segmentation_masks", self.transform_segmentation_masks)
  return data == x and out or out.images
end

-- Inputs as a person writes them (see tide.layers.inputs).
Image._read = read

local function resized(self, shape)
  local info = info_of(self, shape)
  local height, width = self:_size(info.height, info.width)
  local out = list.copy(shape)
  local at = self.data_format == "channels_first" and #shape - 1 or #shape - 2
  out[at], out[at + 1] = height, width
  return out
end

--- The shapes of the result, or of all parts of it.
Image.compute_output_shape = shapes.checked(function(self, shape)
  if type(shape.images) ~= "table" then
    return resized(self, shape)
  end
  local out = {}
  for k, v in pairs(shape) do
    out[k] = (k == "images" or k == "segmentation_masks") and resized(self, v) or v
  end
  return out
end)

--- Makes a class of this family.
--- @param name string
--- @param def table as Layer.derive takes it, with what stands at the top of this file
function image.derive(name, def)
  for i, row in ipairs(def.args) do -- the rows of the base by their names
    def.args[i] = type(row) == "string" and Image.args.index[row] or row
  end
  local out = base.derive(Image, name, def)
  out._has_factor = out.args.index.factor ~= Image.args.index.factor
  return out
end

return image

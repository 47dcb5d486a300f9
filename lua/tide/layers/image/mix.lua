--- Layers that put pictures together: RandomErasing, CutMix, MixUp.
--
-- A blend is one op in C (`blend_`): inside a box of each picture, some of another one. Boxes are
-- (batch, 4): left, top, right and bottom in pixels.
local check = require "tide.check"
local colour = require "tide.layers.image.colour"
local core = require "tide.core"
local errors = require "tide.errors"
local image = require "tide.layers.image.base"
local list = require "tide.list"
local ops = require "tide.ops"
local random = require "tide.random"

local mix = {}

local raw = core.ops

local function numbers(v, dtype)
  return v and ops.cast(core.is_tensor(v) and v or ops.convert_to_tensor(v), dtype)
end

-- Inside the boxes, or all over without, weight * x + (1 - weight) * other[order].
local function blended(x, other, order, weights, boxes)
  weights = numbers(weights, x.dtype)
  return raw.blend_(x, other, order, weights and ops.reshape(weights, { -1 }),
    numbers(boxes, x.dtype))
end

-- Boxes whose sides are these shares (batch) of the pictures', at any place: (batch, 4).
local function draw_boxes(info, across, down, seeds)
  local function ends(length, share)
    local inside = share * length
    local first = image.uniform({ info.batch }, 0, 1, seeds) * (length - inside)
    return first, first + inside
  end
  local left, right = ends(info.width, across)
  local top, bottom = ends(info.height, down)
  return ops.stack({ left, top, right, bottom }, { axis = 2 })
end

-- What Keras calls batch_masks: whether a pixel lies in its picture's box, where a person gave it.
local function given_masks(t, x)
  local masks = t.batch_masks
  return masks and (core.is_tensor(masks) and masks or ops.convert_to_tensor(masks, {
    dtype = "bool" })) and ops.broadcast_to(masks, x.shape)
end

--- Fills a box of each picture with `fill_value` (a number, or one per channel) or, without, with
--- normal noise, limited to value_range: with a probability that is drawn between the ends of
--- `factor`. The squares of the box's sides are shares of the picture's, drawn between the ends of
--- `scale`. Keras' RandomErasing.
---
---     tide.layers.RandomErasing { fill_value = 1 }(tide.ones { 4, 4, 3 }):min()   --> 1
mix.RandomErasing = image.derive("RandomErasing", {
  args = {
    { "factor", "any", 1.0, "a probability, or the two ends of its range" },
    { "scale", "any", { 0.02, 0.33 }, "share of the picture, or the two ends of its range" },
    { "fill_value", "any", nil, "a number, or one per channel; noise without" },
    image.value_range, image.seed, "data_format",
  },
  init = function(self)
    image.range(self, "factor", 0, 1)
    image.range(self, "scale", 0, 1)
    image.check_values(self)
    local v = self.fill_value
    v = list.is(v) and v:totable() or v
    local fits = v == nil or type(v) == "number" or check.is_plain(v) and #v > 0
    for i = 1, fits and type(v) == "table" and #v or 0 do
      fits = fits and type(v[i]) == "number"
    end
    if not fits then
      errors.raise("RandomErasing", "fill_value must be a number, or one per channel (got %s)",
        check.show(v))
    end
    self.fill_value = v
  end,
  _draw = function(self, info, seeds)
    local low, high = self.value_range[1], self.value_range[2]
    local share = image.uniform({ 2, info.batch }, math.max(self.scale[1], 0), self.scale[2], seeds)
    share = ops.sqrt(share)
    local boxes = draw_boxes(info, share[1], share[2], seeds)
    local chosen = colour.chosen(self, info, seeds)
    local fill = self.fill_value
    if fill == nil then
      fill = random.normal({ info.batch, info.height, info.width, info.channels },
        { seed = seeds }) * high
    else
      if type(fill) == "table" and #fill ~= info.channels then
        errors.raise(self:_label(), "fill_value must have one number per channel (expected %d, \z
          got %d)", info.channels, #fill)
      end
      fill = ops.convert_to_tensor(fill, { dtype = "float32" })
    end
    return { apply_erasing = chosen, boxes = boxes, fill_value = ops.clip(fill, low, high) }
  end,
  _images = function(_, x, t)
    local masks = given_masks(t, x)
    local fill, chosen = numbers(t.fill_value, x.dtype), t.apply_erasing
    if masks then
      chosen = ops.reshape(numbers(chosen, "bool"), { -1, 1, 1, 1 })
      return ops.where(ops.logical_and(masks, chosen), fill, x)
    end
    if fill.ndim < 4 then -- one colour: a row of it serves all
      fill = ops.broadcast_to(fill, { 1, 1, x.shape[3], x.shape[4] })
    end
    -- the box of a picture that is spared is empty
    local boxes = ops.where(ops.expand_dims(numbers(chosen, "bool"), -1), t.boxes, 0)
    return blended(x, fill, nil, nil, boxes)
  end,
})

-- Labels (batch, ...) mixed as the pictures were: the weight is the share of their own.
local function mixed_labels(labels, t)
  local float = labels.dtype:find "float" and labels.dtype or "float32"
  labels = ops.cast(labels, float)
  local shape = { -1 }
  for i = 2, labels.ndim do
    shape[i] = 1
  end
  local own = ops.reshape(numbers(t.mix_weight, float), shape)
  return own * labels + (1 - own) * ops.take(labels, t.permutation_order, { axis = 1 })
end

--- Puts a box of another picture of the batch into each, and mixes the labels by the boxes' areas
--- (Yun et al. 2019). A picture's share of its own is drawn from Beta(a, a), a between the ends of
--- `factor`. Masks go with the pictures; boxes cannot. A picture alone stays as it is. Keras'
--- CutMix.
---
---     tide.layers.CutMix() { images = tide.ones { 2, 4, 4, 3 } }.images:min()   --> 1
mix.CutMix = image.derive("CutMix", {
  args = {
    { "factor", "any", 1.0, "parameter of the Beta distribution, or the two ends of its range" },
    image.seed, "data_format",
  },
  init = function(self)
    image.range(self, "factor", 0, 1)
  end,
  _draw = function(self, info, seeds)
    if info.single then
      return nil
    end
    local alpha = image.uniform({}, self.factor[1], self.factor[2], seeds) + 1e-6
    local own = random.beta({ info.batch }, alpha, alpha, { seed = seeds })
    local side = ops.sqrt(1 - own)
    local boxes = draw_boxes(info, side, side, seeds)
    local left, top, right, bottom = table.unpack(ops.unstack(boxes, { axis = 2 }))
    local order = random.shuffle(ops.arange(1, info.batch + 1, { dtype = "int32" }),
      { seed = seeds })
    return { permutation_order = order, boxes = boxes, mix_weight = 1
      - (right - left) * (bottom - top) / (info.width * info.height) }
  end,
  _images = function(_, x, t)
    local masks = given_masks(t, x)
    if masks then
      return ops.where(masks, ops.take(x, t.permutation_order, { axis = 1 }), x)
    end
    return blended(x, x, t.permutation_order, nil, t.boxes)
  end,
  _masks = function(self, x, t)
    return self:_images(x, t)
  end,
  _labels = function(_, labels, t)
    return mixed_labels(labels, t)
  end,
  _boxes = function(self)
    errors.raise(self:_label(), "bounding boxes cannot be cut with the pictures; leave them out, \z
      or take MixUp")
  end,
})

--- Blends each picture with another of the batch, and their labels and masks alike (Zhang et al.
--- 2017); a picture gets the boxes of both. The share of its own is drawn from Beta(alpha, alpha).
--- Keras' MixUp.
---
---     tide.layers.MixUp() { images = tide.ones { 2, 4, 4, 3 } }.images:min()   --> 1
mix.MixUp = image.derive("MixUp", {
  args = {
    { "alpha", "number", 0.2, "parameter of the Beta distribution", above = 0 },
    "data_format", image.seed,
  },
  _draw = function(self, info, seeds)
    local order = random.shuffle(ops.arange(1, info.batch + 1, { dtype = "int64" }),
      { seed = seeds })
    return { permutation_order = order,
      mix_weight = random.beta({ info.batch }, self.alpha, self.alpha, { seed = seeds }) }
  end,
  _images = function(_, x, t)
    return blended(x, x, t.permutation_order, t.mix_weight)
  end,
  _masks = function(self, x, t)
    return self:_images(x, t)
  end,
  _labels = function(_, labels, t)
    return mixed_labels(labels, t)
  end,
  _boxes = function(_, data, t)
    local out = {}
    for k, v in pairs(data) do
      out[k] = v
    end
    for _, k in ipairs { "boxes", "labels" } do
      out[k] = ops.concatenate({ data[k], ops.take(data[k], t.permutation_order, { axis = 1 }) },
        { axis = 2 })
    end
    return out
  end,
})

return mix

--- RandomFlip: pictures in a mirror.
local boxes = require "tide.ops.boxes"
local image = require "tide.layers.image.base"
local ops = require "tide.ops"

local flip = {}

-- Boxes (rel_xyxy) in a mirror.
local function mirrored(x, across)
  local a, b, c, d = table.unpack(ops.split(x, 4, { axis = -1 }))
  if across then
    a, c = 1 - c, 1 - a
  else
    b, d = 1 - d, 1 - b
  end
  return ops.concatenate({ a, b, c, d }, { axis = -1 })
end

--- Mirrors pictures, each with probability 1/2: left to right ("horizontal"), upside down
--- ("vertical"), or both at once ("horizontal_and_vertical"). Boxes and masks go with them. Keras'
--- RandomFlip.
---
---     tide.layers.RandomFlip { "vertical" }(tide.ones { 4, 4, 3 }).shape   --> { 4, 4, 3 }
flip.RandomFlip = image.derive("RandomFlip", {
  args = {
    { "mode", "enum", "horizontal_and_vertical", "which way",
      of = "horizontal_and_vertical|horizontal|vertical" },
    image.seed, "data_format",
  },
  _draw = function(_, info, seeds)
    local u = image.uniform({ info.batch, 1, 1, 1 }, 0, 1, seeds)
    return { flips = ops.less_equal(u, 0.5), input_shape = info.shape }
  end,
  _images = function(self, x, t)
    local y = x
    if self.mode ~= "vertical" then
      y = ops.flip(y, { axis = 3 })
    end
    if self.mode ~= "horizontal" then
      y = ops.flip(y, { axis = 2 })
    end
    return ops.where(t.flips, y, x)
  end,
  _masks = function(self, x, t)
    return self:_images(ops.cast(x, self.compute_dtype), t)
  end,
  _boxes = function(self, data, t)
    local height, width = image.sizes(self, t.input_shape)
    local format = self.bounding_box_format
    data = boxes.convert_format(data, format, "rel_xyxy", height, width)
    local flips = ops.squeeze(t.flips, { axis = -1 })
    for _, mode in ipairs { "horizontal", "vertical" } do
      if self.mode:find(mode, 1, true) then
        local y = mirrored(data.boxes, mode == "horizontal")
        data = { boxes = ops.where(flips, y, data.boxes), labels = data.labels }
      end
    end
    -- as in Keras: shares are cut where pixels would be, so that only labels of empty boxes change
    data = boxes.clip_to_image_size(data, height, width, "xyxy")
    return boxes.convert_format(data, "rel_xyxy", format, height, width)
  end,
})

return flip

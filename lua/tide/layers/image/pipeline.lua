--- Pipeline, layers one after the other, and MaxNumBoundingBoxes.
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local image = require "tide.layers.image.base"
local list = require "tide.list"
local ops = require "tide.ops"

local pipeline = {}

--- Layers one after the other, as one: what augments pictures, in a `map` or inside a model. It has
--- no weights of its own and is no model. Called by itself it acts as in training. Keras' Pipeline.
---
---     tide.layers.Pipeline { { tide.layers.Rescaling { 2 } } }(tide.ones { 2 })   --> { 2, 2 }
pipeline.Pipeline = base.derive(base, "Pipeline", {
  takes = "images", acts_alone = true,
  keras = { config = function(_, config)
    return { layers = config.layers, name = config.name } -- Keras' class takes nothing else
  end },
  args = { { "layers", "list", check.required, "the layers, in order" } },
  init = function(self)
    for i, layer in ipairs(self.layers) do
      if not base.is_layer(layer) then
        errors.raise("Pipeline", "entry %d of layers must be a layer (got %s)", i,
          check.show(layer))
      end
    end
  end,
  call = function(self, x, o)
    for _, layer in ipairs(self.layers) do
      x = layer(x, { training = o.training })
    end
    return x
  end,
  compute_output_shape = function(self, shape)
    for _, layer in ipairs(self.layers) do
      shape = layer:compute_output_shape(shape)
    end
    return shape
  end,
  _read = image.Image._read,
})

-- An axis of boxes or labels cut or filled up to n.
local function fitted(x, n, value)
  local have = x.shape[2]
  if have > n then
    return x[{ {}, { 1, n } }]
  end
  local margins = { { 0, 0 }, { 0, n - have } }
  for i = 3, x.ndim do
    margins[i] = { 0, 0 }
  end
  return have < n and ops.pad(x, margins, { constant_values = value }) or x
end

--- Gives every picture the same number of boxes and labels: more are cut off, missing ones have
--- `fill_value` everywhere. Pictures stay as they are. Keras' MaxNumBoundingBoxes.
---
---     local fit = tide.layers.MaxNumBoundingBoxes { 2, bounding_box_format = "xyxy" }
pipeline.MaxNumBoundingBoxes = image.derive("MaxNumBoundingBoxes", {
  args = { { "max_number", "int", check.required, "boxes of each picture", min = 1 },
    { "fill_value", "int", -1, "of missing boxes and labels" } },
  always = true, keeps_integers = true,
  _boxes = function(self, data)
    return { boxes = fitted(data.boxes, self.max_number, self.fill_value),
      labels = fitted(data.labels, self.max_number, self.fill_value) }
  end,
  compute_output_shape = function(self, shape)
    if type(shape.bounding_boxes) ~= "table" then
      return shape
    end
    local out = {}
    for k, v in pairs(shape) do
      out[k] = v
    end
    out.bounding_boxes = {}
    for k, v in pairs(shape.bounding_boxes) do
      out.bounding_boxes[k] = list.copy(v)
      out.bounding_boxes[k][2] = self.max_number
    end
    return out
  end,
})

return pipeline

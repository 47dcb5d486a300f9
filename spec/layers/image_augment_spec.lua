-- RandAugment and AugMix: what Keras' give for the same transformations
-- (spec/ref/keras_augment.py).
local tide = require "tide"
local ref = require "spec.ref.keras_augment"

-- Lists of numbers as tensors, as a layer's own transformations have them; names and lists of
-- tables as they are.
local function tensors(v, key)
  if type(v) ~= "table" or key == "layer_idxes" or key == "input_shape" then
    return v
  end
  local first = v[1]
  while type(first) == "table" and first[1] ~= nil do
    first = first[1]
  end
  if type(first) == "number" or type(first) == "boolean" then
    return tide.tensor(v)
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = tensors(x, k)
  end
  return out
end

describe("layers that mix other layers", function()
  for i, c in ipairs(ref.cases) do
    it(("%d: %s gives Keras' values"):format(i, c.name), function()
      local x, want = tide.tensor(ref.x), tide.tensor(c.y)
      local y = tide.layers[c.name](c.options):transform_images(x, tensors(c.t))
      local off = tide.ops.abs(y - want):reshape({ -1 }):tolist()
      local n = 0
      for _, v in ipairs(off) do
        n = n + (v > 0.02 and 1 or 0)
      end
      -- numbers on the edge of a step (posterization, equalization) may fall on either side
      assert(n <= 6, ("%d of %d numbers differ"):format(n, #off))
    end)
  end
end)

-- Layers that change colours and mix pictures, and so their ops recolor_, equalize_,
-- equalize_tiles_ and blend_, beside Keras: spec/ref/keras_image_layers.py writes what they give.
local tide = require "tide"
local L, ops = tide.layers, tide.ops

local ref = require "spec.ref.keras_image_layers"

local function tensor(v)
  local flat = {}
  for i, x in ipairs(v.data) do
    if v.dtype == "bool" then
      flat[i] = x ~= 0
    else
      flat[i] = x
    end
  end
  return ops.reshape(tide.tensor(flat, { dtype = v.dtype }), v.shape)
end

-- Numbers of the results that are not those expected: how many, and the first.
local function unlike(expected, y, tolerance)
  local n, first = 0, nil
  assert.equal(#expected, y.size)
  for i, v in ipairs(ops.reshape(y, { -1 }):tolist()) do
    local off = math.abs(v - expected[i])
    if off > tolerance + 1e-6 * math.abs(v) or off ~= off then
      n, first = n + 1, first or ("element %d: %s for %s"):format(i, v, expected[i])
    end
  end
  return n, first
end

-- Layers whose results are steps: a number that lies on the edge of one may fall on either side.
local steps = { Equalization = true, RandomPosterization = true, Solarization = true,
  ContrastLimitedAdaptiveHistogramEqualization = true }

describe("layers of colours", function()
  for i, c in ipairs(ref.cases) do
    it(("%d: %s gives Keras' values"):format(i, c.name), function()
      local layer = L[c.name](c.options)
      local x = tensor(ref.pictures[c.x])
      local range = c.options.value_range or { 0, 255 }
      local y
      if c.t then
        local t = {}
        for k, v in pairs(c.t) do
          t[k] = tensor(v)
        end
        y = layer:transform_images(x, t)
        if c.labels then
          local mixed = layer:transform_labels(tensor(c.labels), t)
          assert.equal(0, (unlike(c.mixed, mixed, 1e-6)))
        end
      else
        y = layer(x, { training = c.training })
      end
      assert.same(x.shape, y.shape)
      local n, first = unlike(c.y, y, 4e-5 * (range[2] - range[1]))
      assert.is_true(n <= (steps[c.name] and 2 or 0), ("%d differ; %s"):format(n, first or ""))
    end)
  end
end)

describe("models of these layers that Keras wrote", function()
  local expect = require "spec.support.expect"
  local names = { "image_layers", "image_mixes" }

  for _, name in ipairs(names) do
    it("predict what they do there, and go through a file of Tide's: " .. name, function()
      local x = tensor(ref.x)
      local model = tide.load_model("spec/fixtures/keras/" .. name .. ".keras")
      local folder = expect.folder()
      model:save(folder .. "/again.keras")
      local again = tide.load_model(folder .. "/again.keras")
      os.execute("rm -r " .. folder)
      for _, m in ipairs { model, again } do
        -- a stretched colour on the edge of a bin moves its tile's table by one count
        local n, first = unlike(ref.files[name], m:predict(x, { verbose = 0 }), 3)
        assert.equal(0, n, first)
      end
      for i, layer in ipairs(model.layers) do
        local a, b = layer:get_config(), again.layers[i]:get_config()
        a.name, b.name = nil, nil
        assert.same(a, b)
      end
    end)
  end

  it("change pictures in training as they do there", function()
    local model = tide.load_model "spec/fixtures/keras/image_layers.keras"
    local n, first = unlike(ref.files.trained, model(tensor(ref.x), { training = true }), 0.01)
    assert.is_true(n <= 8, ("%d differ; %s"):format(n, first or ""))
  end)
end)

-- Layers that are options of other layers of one model: saved once, loaded as one, in Tide's files
-- and in those of the real Keras (spec/ref/keras_shared.py).
local expect = require "spec.support.expect"
local tide = require "tide"
local layers = tide.layers

local temporary = expect.name

local TransposedOf = tide.Layer:extend("TransposedOf", { args = { { "to", "layer" } },
  call = function(self, x) return x:matmul(self.to.kernel:transpose()) end })

local function wave(shape, k)
  local n = 1
  for _, d in ipairs(shape) do
    n = n * d
  end
  local values = {}
  for i = 1, n do
    values[i] = math.sin(0.7 * (i - 1) + k)
  end
  return tide.tensor(values):reshape(shape)
end

local build = {}

function build.graph()
  local x = tide.Input { 4, name = "x" }
  local a = layers.Dense { 3, name = "a", activation = "tanh" }
  local b = layers.Dense { 2, name = "b" }
  local h = b(a(x))
  return tide.Model { x, TransposedOf { a, name = "ta" }(TransposedOf { b, name = "tb" }(h)),
    name = "graph" }
end

function build.row()
  local d = layers.Dense { 4, name = "d" }
  return tide.Sequential { { tide.Input { 3, 4, name = "x" },
    layers.TimeDistributed { d, name = "steps" }, d }, name = "row" }
end

local function filled(name)
  local model = build[name]()
  for k, w in ipairs(model.weights) do
    w:assign(wave(w.shape:totable(), k - 1) * 0.4)
  end
  return model
end

local function run(model)
  local shape = model.inputs[1].shape:totable()
  shape[1] = 2
  return model(wave(shape, 0))
end

-- The layer that the model has in two places.
local function pair(model)
  if model.name:find "^graph" then
    return model:get_layer("ta").to, model:get_layer "a"
  end
  return model.layers[1].layer, model.layers[2]
end

local function check(model, row, apart)
  local shapes = {}
  for i, w in ipairs(model.weights) do
    shapes[i] = w.shape:totable()
  end
  assert.same(apart and row.apart or row.weights, shapes)
  expect.close(run(model), row.y, 1e-5, 1e-6)
  assert.equal(not apart, rawequal(pair(model)))
end

describe("a layer in several places of a model", function()
  for _, row in ipairs(require "spec.ref.keras_shared") do
    it("is one, " .. row.name .. " computing what Keras does", function()
      check(filled(row.name), row)
    end)

    it("is one when " .. row.name .. " is read from Keras' files", function()
      local stem = "spec/fixtures/keras/shared_" .. row.name
      if row.name == "graph" then
        check(tide.load_model(stem .. ".keras"), row)
      end
      check(tide.load_model(stem .. ".h5"), row, true) -- two layers of equal weights, as in Keras
      local model = build[row.name]()
      model:load_weights(stem .. ".weights.h5")
      check(model, row)
    end)

    it("is saved once and read as one, " .. row.name .. " in all formats", function()
      local model = filled(row.name)
      for _, ending in ipairs { ".keras", ".h5", ".safetensors" } do
        local path = temporary(ending)
        model:save(path)
        local again = tide.load_model(path)
        os.remove(path)
        check(again, row)
        again:compile { optimizer = "sgd", loss = "mse" }
        again:fit(run(again), run(again), { verbose = 0, epochs = 1 })
        assert.is_true(rawequal(pair(again)))
      end
      for _, ending in ipairs { ".weights.h5", ".safetensors" } do
        local path, other = temporary(ending), build[row.name]()
        model:save_weights(path)
        other:load_weights(path)
        os.remove(path)
        check(other, row)
      end
    end)

    it("is one in a clone and in what JSON and a configuration make of " .. row.name, function()
      local model = filled(row.name)
      local config = model:get_config()
      local made = { tide.models.clone_model(model), tide.models.model_from_json(model:to_json()),
        getmetatable(model).from_config(config), getmetatable(model).from_config(config) }
      for _, other in ipairs(made) do
        local a, b = pair(other)
        assert.is_true(rawequal(a, b))
        assert.is_false(rawequal(a, (pair(model))))
        other:set_weights(model:get_weights())
        check(other, row)
      end
      assert.is_false(rawequal((pair(made[3])), (pair(made[4]))))
    end)
  end

  it("has no number where it stands in one place only", function()
    local model = tide.Sequential { tide.Input { 3, 4 },
      layers.TimeDistributed { layers.Dense { 2 } } }
    assert.is_nil(model:to_json():find "shared_object_id")
    assert.is_nil(layers.TimeDistributed({ layers.Dense { 2 } }):get_config().layer
      .shared_object_id)
  end)

  it("may be the option of a model's layer inside another model", function()
    local x = tide.Input { 4 }
    local a = layers.Dense { 3 }
    local h = a(x)
    local z = tide.Input { 3 }
    local inner = tide.Model { z, TransposedOf { a }(z) }
    local model = tide.Model { x, inner(h) }
    for _, ending in ipairs { ".keras", ".safetensors" } do
      local path = temporary(ending)
      model:save(path)
      local again = tide.load_model(path)
      os.remove(path)
      assert.equal(2, #again.weights)
      expect.close(again(tide.ones { 2, 4 }), model(tide.ones { 2, 4 }))
    end
  end)
end)

describe("a weight that is an option of another layer", function()
  local OfWeight = tide.Layer:extend("OfWeight", { args = { "kernel" }, call = function(self, x)
    return x:matmul(self.kernel:transpose())
  end })

  it("is one tensor again in what files, clones and JSON give", function()
    local x = tide.Input { 4 }
    local a = layers.Dense { 3, name = "a" }
    local h = a(x)
    local model = tide.Model { x, OfWeight { a.kernel, name = "t" }(h) }
    assert.equal(2, #model.weights)
    local made = { tide.models.clone_model(model), tide.models.model_from_json(model:to_json()) }
    for _, ending in ipairs { ".keras", ".h5", ".safetensors" } do
      local path = temporary(ending)
      model:save(path)
      made[#made + 1] = tide.load_model(path)
      expect.close(made[#made](tide.ones { 2, 4 }), model(tide.ones { 2, 4 }))
      os.remove(path)
    end
    for _, other in ipairs(made) do
      assert.equal(2, #other.weights)
      assert.is_true(rawequal(other:get_layer("t").kernel, other:get_layer("a").kernel))
      assert.is_false(rawequal(a.kernel, other:get_layer("a").kernel))
      other:compile { optimizer = "sgd", loss = "mse" }
      other:fit(tide.ones { 2, 4 }, tide.zeros { 2, 4 }, { verbose = 0 })
      assert.is_true(rawequal(other:get_layer("t").kernel, other:get_layer("a").kernel))
    end
  end)

  it("that the layer made itself is saved by its values", function()
    local Own = tide.Layer:extend("OwnWeightAsOption", { args = { "scale" },
      build = function(self) self.scale = self:add_weight { shape = { 2 } } end,
      call = function(self, x) return x * self.scale end })
    local model = tide.Sequential { tide.Input { 2 }, Own() }
    assert.equal(2, #model.layers[1]:get_config().scale)
    for _, ending in ipairs { ".keras", ".safetensors" } do
      local path = temporary(ending)
      model:save(path)
      expect.close(tide.load_model(path)(tide.ones { 1, 2 }), model(tide.ones { 1, 2 }))
      os.remove(path)
    end
  end)

  it("of a layer that the model does not have is a weight of its own", function()
    local other = layers.Dense { 3 }
    other:build { tide.none, 2 }
    local model = tide.Sequential { tide.Input { 3 }, OfWeight { other.kernel, name = "t" } }
    local path = temporary ".safetensors"
    model:save(path)
    local again = tide.load_model(path)
    os.remove(path)
    assert.equal(1, #again.trainable_weights)
    expect.close(again(tide.ones { 1, 3 }), model(tide.ones { 1, 3 }))
  end)
end)

describe("a layer of one's own that fails while its model is loaded", function()
  it("is named, not the file", function()
    local broken
    local Fails = tide.Layer:extend("FailsWhenLoaded", { call = function(self, x)
      return broken and self.nothing.at or x
    end })
    local x = tide.Input { 4 }
    local model = tide.Model { x, Fails { name = "late" }(layers.Dense { 2 }(x)) }
    for _, ending in ipairs { ".safetensors", ".keras" } do
      broken = false
      local path = temporary(ending)
      model:save(path)
      broken = true
      expect.raises("the code of late (FailsWhenLoaded) failed while the model was made again",
        function() tide.load_model(path) end)
      os.remove(path)
    end
  end)
end)

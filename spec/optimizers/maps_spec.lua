-- Optimizers that choose weights by regular expressions, in files of the real Keras: training goes
-- on as it does there (spec/ref/keras_maps.py).
local expect = require "spec.support.expect"
local tide = require "tide"
local rows = require "spec.ref.keras_maps"
local given = table.remove(rows, 1)
local x, y = tide.tensor(given.x), tide.tensor(given.y)

local function train(m)
  return m:fit(x, y, { batch_size = 4, epochs = 3, shuffle = false, verbose = 0 }).loss:totable()
end

describe("a model that Keras trained", function()
  for _, row in ipairs(rows) do
    it("trains on in Tide: " .. row.name, function()
      local m = tide.load_model("spec/fixtures/maps/" .. row.name .. ".keras")
      assert.equal(9, m.optimizer.iterations)
      expect.close(train(m), row.losses, 2e-5, 2e-4)
      for i, w in ipairs(m:get_weights()) do
        expect.close(w, row.weights[i], 1e-4, 1e-3)
      end
    end)

    it("goes through Tide's own files: " .. row.name, function()
      local m = tide.load_model("spec/fixtures/maps/" .. row.name .. ".keras")
      local others = {}
      for _, ending in ipairs { ".keras", ".safetensors" } do
        local path = expect.name(ending)
        m:save(path)
        others[#others + 1] = tide.load_model(path)
        os.remove(path)
      end
      local losses = train(m)
      for _, other in ipairs(others) do
        assert.same(losses, train(other))
        assert.same(m.optimizer:get_config(), other.optimizer:get_config())
      end
    end)
  end
end)

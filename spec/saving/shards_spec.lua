-- Weights and optimizer in shards (`save_weights(max_shard_size)`), those of the real Keras
-- (spec/ref/keras_shards.py) and Tide's own.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local json = require "tide.utils.json"
local keras = require "tide.saving.keras"
local layers = tide.layers
local given = require("spec.ref.keras_shards")[1]
local x, y = tide.tensor(given.x), tide.tensor(given.y)

local function model()
  local m = tide.Sequential { tide.Input { 4 }, layers.Dense { 6, activation = "tanh" },
    layers.BatchNormalization(), layers.Dense { 5 }, layers.Dense { 2 } }
  m:compile { tide.optimizers.Adam { 0.05 }, "mse" }
  return m
end

local function train(m)
  return m:fit(x, y, { batch_size = 8, epochs = 3, shuffle = false, verbose = 0 })
    .loss:totable()
end

describe("shards", function()
  it("of Keras give the model back, and its training goes on", function()
    local m = model()
    m:load_weights "spec/fixtures/shards/keras.weights.json"
    expect.close(m:predict(x, { verbose = 0 }), given.predicted, 1e-6, 1e-5)
    assert.equal(3, m.optimizer.iterations)
    expect.close(train(m), given.losses, 1e-6, 1e-4)
  end)

  it("come back with the optimizer's state, cut where the size says", function()
    local folder = expect.folder()
    local path = folder .. "/m.weights.json"
    local m = model()
    train(m)
    m:save_weights(path, { max_shard_size = 3e-7 })
    local index = json.decode(expect.read(path))
    local total, count = 0, 0
    for _, name in ipairs(core.listdir(folder)) do
      if name:find "%.h5$" then
        count = count + 1
        local bytes = 0
        for _, e in ipairs((keras.read_hdf5(folder .. "/" .. name))) do
          bytes = bytes + e.tensor.size * (e.tensor.dtype:find "64" and 8 or 4)
        end
        total = total + bytes
        assert.is_true(bytes <= 300, name)
      end
    end
    assert.is_true(count >= 4)
    assert.equal(index.metadata.total_size, total)
    local again = model()
    again:load_weights(path)
    assert.same(train(m), train(again))
    for i, w in ipairs(m.weights) do
      assert.same(w:tolist(), again.weights[i]:tolist())
    end
    os.remove(folder .. "/m_00001.weights.h5")
    expect.raises("m_00001.weights.h5", again.load_weights, again, path)
    os.execute("rm -r " .. folder)
  end)
end)

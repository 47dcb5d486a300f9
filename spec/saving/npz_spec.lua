-- Weights as NumPy's archives, both ways: those of the real Keras (spec/ref/keras_npz.py), and what
-- is wrong with files.
local expect = require "spec.support.expect"
local tide = require "tide"
local layers = tide.layers
local given = require("spec.ref.keras_npz")[1]
local FILES = "spec/fixtures/npz/"

local function model(o)
  local x = tide.Input { 6, 4, name = "x" }
  local h = layers.Conv1D { 5, 3, activation = "relu", name = "conv" }(x)
  h = layers.BatchNormalization { name = "norm" }(h)
  h = layers.LSTM { 4, name = "lstm" }(h)
  return tide.Model { x, layers.Dense { o and o.units or 2, name = "out" }(h) }
end

describe("weights in .npz files", function()
  for _, name in ipairs { "by_order.npz", "by_path.npz" } do
    it("of Keras load: " .. name, function()
      local m = model()
      m:load_weights(FILES .. name)
      expect.close(m:predict(tide.tensor(given.x), { verbose = 0 }), given.y, 1e-6, 1e-5)
    end)
  end

  it("come back, in a model whose layers are numbered otherwise too", function()
    local path = expect.name ".npz"
    local function plain(units)
      return tide.Sequential { tide.Input { 3 }, layers.Dense { 4 }, layers.BatchNormalization(),
        layers.Dropout { 0.5 }, layers.Dense { units or 2, dtype = "float64" } }
    end
    local m, other = plain(), plain()
    m:save_weights(path)
    other:load_weights(path)
    for i, w in ipairs(m.weights) do
      assert.same(w:tolist(), other.weights[i]:tolist())
    end
    local held = tide.load(path)
    assert.same(m.weights[1]:tolist(), held[m.weights[1].path]:tolist())
    local wide = plain(5)
    wide:load_weights(path, { skip_mismatch = true }) -- warns
    assert.same(m.weights[1]:tolist(), wide.weights[1]:tolist())
    os.remove(path)
  end)

  it("say what does not fit", function()
    local m = model { units = 3 }
    local before = m:get_weights()
    expect.raises("by_path.npz: out/", m.load_weights, m, FILES .. "by_path.npz")
    for i, w in ipairs(m.weights) do
      assert.same(before[i]:tolist(), w:tolist())
    end
    m:load_weights(FILES .. "by_order.npz", { skip_mismatch = true }) -- warns
    assert.same(before[#before]:tolist(), m.weights[#before]:tolist())
    local few = tide.Sequential { tide.Input { 4 }, layers.Dense { 2 } }
    expect.raises("has shape [5], the model has [2]", few.load_weights, few,
      FILES .. "by_order.npz")
    expect.raises("hold weights only", function() m:save "m.npz" end)
    expect.raises("hold weights only", tide.load_model, "m.npz")
    local halves = tide.Sequential { tide.Input { 4 }, layers.Dense { 2, dtype = "bfloat16" } }
    expect.raises("bfloat16", halves.save_weights, halves, expect.name ".npz")
  end)
end)

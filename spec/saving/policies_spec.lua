-- Keras' DTypePolicyMap with several policies, one for each path or pattern of paths
-- (spec/ref/keras_policies.py).
local expect = require "spec.support.expect"
local tide = require "tide"
local json = require "tide.utils.json"
local core = require "tide.core"
local given = require("spec.ref.keras_policies")[1]
local FILES = "spec/fixtures/keras/"

-- The layers with weights, by paths as Keras gives them.
local function by_path(layer, path, out)
  for _, child in ipairs(layer:_children()) do
    local at = (path and path .. "/" or "") .. child.layer.name
    out[at] = child.layer
    by_path(child.layer, at, out)
  end
  return out
end

describe("a DTypePolicyMap", function()
  it("gives each layer its own policy", function()
    local m = tide.load_model(FILES .. "policies.keras")
    local layers = by_path(m, nil, {})
    local checked = 0
    for path, want in pairs(given.dtypes) do
      if #layers[path]:_own_records() > 0 then -- dtypes of those that hold others change nothing
        assert.same(want, { layers[path].compute_dtype, layers[path].dtype }, path)
        checked = checked + 1
      end
    end
    assert.equal(9, checked)
    for i, w in ipairs(m.weights) do
      assert.equal(given.weights[i], w.dtype)
    end
    expect.close(m(tide.tensor(given.x)), given.y, 5e-3, 2e-2)
    local path = expect.name ".keras"
    m:save(path)
    local again = tide.load_model(path)
    os.remove(path)
    assert.same(m(tide.tensor(given.x)):tolist(), again(tide.tensor(given.x)):tolist())
    for i, w in ipairs(again.weights) do
      assert.equal(given.weights[i], w.dtype)
    end
  end)

  it("that gives a part of a layer another policy than the layer is refused", function()
    expect.raises("gives 'heads/query' the policy bfloat16, which in Tide has that of 'heads'",
      tide.load_model, FILES .. "policies_inside.keras")
  end)

  it("whose patterns are ambiguous or none is refused", function()
    local z = core.zip_open(FILES .. "policies.keras")
    local text, weights = core.zip_read(z, "config.json"), core.zip_read(z, "model.weights.h5")
    local path = expect.name ".keras"
    local function with(pattern)
      local changed = text:gsub('"inner/%.%*"', function() return json.encode(pattern) end)
      assert.are_not.equal(text, changed)
      core.zip_write(path, { { "config.json", changed }, { "model.weights.h5", weights } })
      return tide.load_model(path)
    end
    expect.raises("fits several patterns of a DTypePolicyMap", with, "both/forward_gru/.*")
    expect.raises("is no regular expression", with, "(")
    assert.equal("float32", with("nothing").layers[3].layers[1].dtype)
    os.remove(path)
  end)
end)

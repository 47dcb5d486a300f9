-- Keras' DTypePolicyMap with several policies, one for each path or pattern of paths
-- (spec/ref/keras_policies.py).
local expect = require "spec.support.expect"
local tide = require "tide"
local json = require "tide.utils.json"
local core = require "tide.core"
local refs = require "spec.ref.keras_policies"
local given = refs[1]
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

  for k = 2, #refs do
    local row = refs[k]
    it("gives parts of layers and layers of a Sequential model theirs: " .. row.name, function()
      local x = tide.tensor(row.x)
      local m = tide.load_model(FILES .. row.name .. ".keras")
      local function check(model, what)
        local layers = {}
        for _, layer in ipairs(model:_flat()) do
          layers[layer.path] = layer
        end
        for path, want in pairs(row.dtypes) do
          if #layers[path]:_own_records() > 0 then
            assert.same(want, { layers[path].compute_dtype, layers[path].dtype }, what .. path)
          end
        end
        for i, w in ipairs(model.weights) do
          assert.equal(row.weights[i], w.dtype)
          assert.equal(row.paths[i], w.path)
        end
        expect.close(model(x):cast "float32", row.y, 2e-2, 2e-2, what)
      end
      check(m, "read ")
      for _, ending in ipairs { ".keras", ".safetensors" } do
        local path = expect.name(ending)
        m:save(path)
        local again = tide.load_model(path)
        os.remove(path)
        check(again, ending .. " ")
        assert.same(m(x):tolist(), again(x):tolist())
      end
    end)
  end

  it("is made in Lua, and takes patterns by assignment", function()
    local D = tide.dtype_policies
    local map = D.DTypePolicyMap { "float32", { ["heads/query"] = "mixed_bfloat16" } }
    map["a/.*"] = D.DTypePolicy "float64"
    assert.same({ 2, "float64", "float32", "mixed_bfloat16" },
      { #map, map["a/b"], map["b"], map("heads/query") })
    expect.raises("'a/.*' has a policy already", function() map["a/.*"] = "float16" end)
    expect.raises("takes policies", function() map["b"] = "float31" end)
    expect.raises("default_policy cannot be a DTypePolicyMap", D.DTypePolicyMap, map)
    map["a/.*"] = nil
    local heads = tide.layers.MultiHeadAttention { 2, 3, name = "heads", dtype = map }
    heads(tide.ones { 1, 2, 4 }, tide.ones { 1, 2, 4 })
    assert.same({ "bfloat16", "float32" }, { heads.query_dense.compute_dtype,
      heads.key_dense.compute_dtype })
    local again = tide.layers.MultiHeadAttention.from_config(heads:get_config())
    assert.same({ "heads/query", 1 }, { next(again.dtype_policy.policy_map) and "heads/query",
      #again.dtype_policy })
    assert.equal(heads.dtype_policy, D.get(map))
    assert.equal("bfloat16", D.DTypePolicy("mixed_bfloat16").compute_dtype)
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
    expect.raises("'both/forward_gru/gru_cell' fits several patterns", with, "both/forward_gru/.*")
    expect.raises("is no regular expression", with, "(")
    assert.equal("float32", with("nothing").layers[3].layers[1].dtype)
    os.remove(path)
  end)
end)

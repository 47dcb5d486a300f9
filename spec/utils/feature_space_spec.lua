-- FeatureSpace beside Keras: spec/ref/feature_space.py writes what Keras' gives.
local tide = require "tide"
local expect = require "spec.support.expect"
local ref = require "spec.ref.feature_space"
local FS = tide.utils.FeatureSpace

local spaces = {
  ["all kinds by name"] = function()
    return FS { { age = "float_normalized", height = "float_discretized",
      job = "string_categorical",
      code = "integer_categorical" }, crosses = { { "job", "code" } }, crossing_dim = 16,
      num_discretization_bins = 5 }
  end,
  ["hashes and scales"] = function()
    return FS { { age = FS.float_rescaled { 0.01, -0.5 }, height = "float", job = "string_hashed",
      code = "integer_hashed" }, crosses = { { "job", "code" }, { "code", "job" } },
      crossing_dim = 6, hashing_dim = 7 }
  end,
  options = function()
    return FS { { job = FS.string_categorical { max_tokens = 3, num_oov_indices = 1 },
      code = FS.integer_categorical { num_oov_indices = 2 },
      height = FS.float_discretized { num_bins = 3 } },
      crosses = { FS.cross { { "job", "height" }, 9 } } }
  end,
  ["a layer of one's own"] = function()
    return FS { { height = FS.feature { "float32", tide.layers.Rescaling { 0.5, offset = 1 },
      "float" }, age = "float" } }
  end,
  ["by name"] = function()
    return FS { { age = "float_normalized", job = FS.string_categorical { output_mode = "int" },
      code = FS.integer_hashed { 5, "int" } },
      crosses = { FS.cross { { "job", "code" }, 11, "int" } }, output_mode = "dict" }
  end,
}

local function near(want, got, at, shift)
  if type(want) == "table" then
    for k, v in pairs(want) do
      assert.is_not_nil(got[k], at .. "." .. tostring(k))
      near(v, got[k], at .. "." .. tostring(k), shift)
    end
  else
    assert.is_true(math.abs(want + shift - got) < 1e-4 * (1 + math.abs(want)),
      ("%s: %s for %s"):format(at, tostring(got), want))
  end
end

-- Numbers count from 1 here; floating columns are Keras'.
local function check(name, y)
  local want = ref[name]
  if tide.is_tensor(y) then
    return near(want, y:tolist(), name, 0)
  end
  for k, v in pairs(want) do
    near(v, y[k]:tolist(), name .. "." .. k, y[k].dtype:find "^int" and 1 or 0)
  end
end

describe("FeatureSpace", function()
  for name, make in pairs(spaces) do
    it("encodes as Keras': " .. name, function()
      local space = make()
      space:adapt(ref.data)
      check(name, space(ref.new))
    end)

    it("learns from batches as from all at once: " .. name, function()
      local space = make()
      local rows = {}
      for i = 1, 40, 8 do
        local row = {}
        for k, v in pairs(ref.data) do
          row[k] = table.move(v, i, i + 7, 1, {})
        end
        rows[#rows + 1] = row
      end
      if name ~= "all kinds by name" and name ~= "options" then -- quantiles of batches differ
        space:adapt(rows)
        check(name, space(ref.new))
      end
    end)

    it("is the same from its files: " .. name, function()
      local space = make()
      space:adapt(ref.data)
      for _, ending in ipairs { ".keras", ".safetensors" } do
        local path = os.tmpname() .. ending
        space:save(path)
        check(name, tide.load_model(path)(ref.new))
        os.remove(path)
      end
    end)
  end

  it("takes one row, and gives it without a batch", function()
    local space = spaces["hashes and scales"]()
    local row, y = {}, space(ref.new)
    for k, v in pairs(ref.new) do
      row[k] = v[1]
    end
    assert.same(y[1]:tolist(), space(row):tolist())
  end)

  it("stands in a functional model that trains, and in its files", function()
    local space = spaces["all kinds by name"]()
    space:adapt(ref.data)
    local y = tide.layers.Dense(1)(space:get_encoded_features())
    local model = tide.Model { inputs = space:get_inputs(), outputs = y }
    model:compile { optimizer = { "adam", learning_rate = 0.05 }, loss = "mse" }
    local columns = { age = ref.data.age, height = ref.data.height, job = ref.data.job,
      code = ref.data.code }
    local target = tide.tensor(ref.data.age):reshape { 40, 1 } / 50
    local h = model:fit(columns, target, { epochs = 30, verbose = 0 })
    assert.is_true(h.history.loss[30] < 0.2 * h.history.loss[1])
    local path = os.tmpname() .. ".keras"
    model:save(path)
    assert.same(model:predict(columns):tolist(), tide.load_model(path):predict(columns):tolist())
    os.remove(path)
  end)

  it("refuses what is no feature, and names the column that is missing", function()
    expect.raises("the feature 'a' has an unknown kind (expected one of float,", function()
      FS { { a = "flaot" } }
    end)
    expect.raises("a cross names the feature 'b', which is none (expected one of a)", function()
      FS { { a = "float" }, crosses = { { "a", "b" } } }
    end)
    expect.raises("the feature 'job' has not learnt yet; call adapt first", function()
      FS { { job = "string_categorical" } } { job = { "x" } }
    end)
    expect.raises("the column 'job' is missing (got age)", function()
      FS { { age = "float", job = "string_hashed" } } { age = { 1 } }
    end)
    expect.raises("use output_mode = 'dict'", function()
      FS { { job = FS.string_hashed { 3, "int" } } } { job = { "x" } }
    end)
  end)
end)

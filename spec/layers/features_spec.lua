-- DenseFeatures and SequenceFeatures beside TensorFlow's: spec/ref/feature_columns.py writes what
-- these give. The tables of vectors are sin(0.7 i), row by row.
local tide = require "tide"
local expect = require "spec.support.expect"
local ref = require "spec.ref.feature_columns"
local L, fc = tide.layers, tide.feature_column

local age, pair = fc.numeric_column "age", fc.numeric_column("pair", 2)
local job = fc.categorical_column_with_hash_bucket("job", 7)
local words = fc.categorical_column_with_vocabulary_list("words", { "a", "b", "c" })
local day = fc.categorical_column_with_identity("day", 7)
local ages = fc.bucketized_column(age, { 18, 31, 65 })
local pairs_ = fc.bucketized_column(pair, { 0, 3 })
local weighted = fc.weighted_categorical_column(words, "weight")
local indicator = fc.indicator_column

local function sines(shape)
  return (tide.arange(0, shape[1] * shape[2], 1, "float32") * 0.7):sin():reshape(shape)
end

local function embedded(column, dimension, combiner, max_norm)
  return fc.embedding_column(column, dimension, combiner, { max_norm = max_norm,
    initializer = sines })
end

local cases = {
  ["numeric"] = { age, pair },
  ["bucketized"] = { ages, pairs_ },
  ["hash"] = { indicator(job), indicator(fc.categorical_column_with_hash_bucket("code", 9)) },
  ["vocabulary"] = { indicator(words) },
  ["vocabulary, unknown hashed"] = { indicator(fc.categorical_column_with_vocabulary_list("words",
    { "a", "b", "c" }, { num_oov_buckets = 3 })) },
  ["vocabulary, unknown given"] = { indicator(fc.categorical_column_with_vocabulary_list("words",
    { "a", "b" }, { default_value = 2 })) },
  ["vocabulary of numbers"] = { indicator(fc.categorical_column_with_vocabulary_list("code",
    { 7, 12, 3 })) },
  ["identity"] = { indicator(day) },
  ["weighted"] = { indicator(weighted) },
  ["crossed"] = { indicator(fc.crossed_column({ "job", "words" }, 11)) },
  ["crossed numbers"] = { indicator(fc.crossed_column({ "code", "job" }, 13)) },
  ["crossed columns"] = { indicator(fc.crossed_column({ ages, "job", day }, 17)) },
  ["crossed crosses"] = { indicator(fc.crossed_column({ fc.crossed_column({ "job", "words" }, 5),
    ages }, 19)) },
  ["crossed key"] = { indicator(fc.crossed_column({ "job", "words" }, 11, { hash_key = 99 })) },
  ["embedding mean"] = { embedded(words, 3) },
  ["embedding sum"] = { embedded(words, 3, "sum") },
  ["embedding sqrtn"] = { embedded(words, 3, "sqrtn") },
  ["embedding weighted"] = { embedded(weighted, 2) },
  ["embedding weighted sqrtn"] = { embedded(weighted, 2, "sqrtn") },
  ["embedding norm"] = { embedded(words, 3, "sum", 0.5) },
  ["embedding of bins"] = { embedded(pairs_, 2) },
  ["all"] = { age, ages, indicator(day), embedded(job, 2),
    indicator(fc.crossed_column({ "job", "words" }, 4)) },
}

-- The data, with whole numbers of days from 1.
local function features()
  local out = {}
  for k, v in pairs(ref.data) do
    out[k] = v
  end
  out.code = tide.tensor(ref.data.code, { dtype = "int64" })
  out.day = tide.tensor(ref.data.day, { dtype = "int64" }) + 1
  return out
end

local function near(want, got, at)
  if type(want) == "table" then
    assert.equal(#want, #got, at)
    for i, v in ipairs(want) do
      near(v, got[i], at .. "." .. i)
    end
  else
    assert.is_true(math.abs(want - got) < 1e-4 * (1 + math.abs(want)),
      ("%s: %s for %s"):format(at, tostring(got), want))
  end
end

describe("DenseFeatures", function()
  for name, columns in pairs(cases) do
    it("gives TensorFlow's numbers: " .. name, function()
      near(ref[name], L.DenseFeatures { columns }(features()):tolist(), name)
    end)
  end

  it("stands in a functional model over inputs by name, which trains and goes through files",
    function()
      local inputs = { age = tide.Input { 1, name = "age" },
        job = tide.Input { 1, dtype = "string", name = "job" } }
      local dense = L.DenseFeatures { { age, indicator(job), fc.embedding_column(job, 2) } }
      local model = tide.Model { inputs = inputs, outputs = L.Dense(1)(dense(inputs)) }
      model:compile { optimizer = { "adam", learning_rate = 0.1 }, loss = "mse" }
      local x = { age = { 0.31, 0.17, 0.64, 0.9 }, job = ref.data.job }
      local h = model:fit(x, tide.tensor { { 1 }, { 2 }, { 3 }, { 4 } }, { epochs = 60,
        verbose = 0 })
      assert.is_true(h.history.loss[60] < 0.2 * h.history.loss[1])
      for _, ending in ipairs { ".keras", ".safetensors" } do
        local path = os.tmpname() .. ending
        model:save(path)
        assert.same(model:predict(x):tolist(), tide.load_model(path):predict(x):tolist())
        os.remove(path)
      end
    end)

  it("shares a table between the columns of shared_embeddings", function()
    local both = fc.shared_embeddings({ fc.categorical_column_with_identity("from", 4),
      fc.categorical_column_with_identity("to", 4) }, 3)
    local dense = L.DenseFeatures { both }
    local y = dense { from = { 1, 2 }, to = { 2, 1 } }
    assert.equal(1, #dense.weights)
    assert.same(y[{ 1, { 1, 3 } }]:tolist(), y[{ 2, { 4, 6 } }]:tolist())
  end)

  it("refuses what is no dense column, what is missing and what is out of range", function()
    expect.raises("column 1 must be dense: numeric, bucketized, indicator or embedding (got job)",
      function() L.DenseFeatures { { job } } end)
    expect.raises("the feature 'age' is missing (got job)", function()
      L.DenseFeatures { { age } } { job = { "a" } }
    end)
    expect.raises("element 2 is out of range (expected 1..7, got 9)", function()
      L.DenseFeatures { { indicator(day) } } { day = { 1, 9 } }
    end)
    expect.raises("takes a table of features by name", function()
      L.DenseFeatures { { age } }(tide.ones { 2, 1 })
    end)
    expect.raises("must have a weight for each value (expected 4, got 3)", function()
      L.DenseFeatures { { indicator(weighted) } } { words = { { "a", "b" }, { "a", "b" } },
        weight = { 1, 2, 3 } }
    end)
    expect.raises("boundaries must be numbers that rise (got 1 at position 2)", function()
      fc.bucketized_column(age, { 2, 1 })
    end)
    expect.raises("takes a categorical column (got", function()
      indicator(age)
    end)
  end)
end)

describe("SequenceFeatures", function()
  local steps = fc.sequence_categorical_column_with_vocabulary_list("words", { "a", "b", "c" })

  local hashed = fc.sequence_categorical_column_with_hash_bucket("words", 5)
  local numbered = fc.sequence_categorical_column_with_identity("code", 13)
  local sequences = {
    ["sequence indicator"] = { indicator(steps) }, ["sequence embedding"] = { embedded(steps, 2) },
    ["sequence hash"] = { indicator(hashed) }, ["sequence identity"] = { embedded(numbered, 3) },
    ["sequence numeric"] = { fc.sequence_numeric_column "weight" },
    ["sequence rows"] = { fc.sequence_numeric_column("weight", 3) },
    ["sequence together"] = { indicator(steps), embedded(hashed, 2) },
  }

  it("gives TensorFlow's numbers and lengths", function()
    for name, columns in pairs(sequences) do
      local x = features()
      if name == "sequence identity" then -- which counts from 1
        x.code = tide.ops.where(tide.ops.less(x.code, 0), -1, x.code + 1)
      end
      local y, n = L.SequenceFeatures { columns } (x)
      near(ref[name][1], y:tolist(), name)
      assert.same(ref[name][2], n:tolist(), name)
    end
  end)

  it("takes columns as a file's configuration has them, and refuses what is none", function()
    local function plain(v)
      local out = {}
      for k, x in pairs(v) do
        out[k] = type(x) == "table" and plain(x) or x
      end
      return out
    end
    local weekday = fc.categorical_column_with_identity("day", 7)
    local a, b = table.unpack(fc.shared_embeddings({ fc.categorical_column_with_identity("from", 7),
      fc.categorical_column_with_identity("to", 7) }, 2))
    local made = { fc.bucketized_column(fc.numeric_column "age", { 20, 40 }),
      indicator(fc.crossed_column({ weekday, "job" }, 9)),
      indicator(fc.weighted_categorical_column(weekday, "w")), a, b }
    local x = { age = { 31, 50 }, day = { 1, 7 }, job = { "cook", "" }, w = { 0.5, 2 },
      from = { 1, 2 }, to = { 3, 4 } }
    tide.seed(1)
    local one = L.DenseFeatures { made }
    local want = one(x):tolist()
    tide.seed(1)
    local other = L.DenseFeatures { plain(made) }
    assert.same(want, other(x):tolist())
    assert.equal(#one.weights, #other.weights)
    for _, bad in ipairs { { kind = "zzz", name = "x" }, { kind = "numeric" },
      { kind = 3, name = "x" },
      { kind = "numeric", name = "x" }, { kind = "indicator", name = "x" },
      { kind = "numeric", name = "x", key = "x", shape = "no" },
      { kind = "indicator", name = "x", categorical_column = { kind = "identity", name = "y" } },
      { kind = "embedding", name = "x", dimension = 0, categorical_column = plain(weekday) },
      { kind = "crossed", name = "x", keys = { {}, {} } } } do
      for _, f in ipairs { fc.make_parse_example_spec,
        function(v) L.DenseFeatures { v } (x) end } do
        local ok, e = pcall(f, { bad })
        assert.is_false(ok)
        assert.is_true(require("tide.errors").is(e), tostring(e))
      end
    end
    local changed = fc.numeric_column "age"
    changed.kind = "zzz"
    expect.raises("takes a list of columns", function() fc.make_parse_example_spec { changed } end)
  end)

  it("refuses columns that are of no sequence, as DenseFeatures those that are", function()
    expect.raises("must be one of a sequence", function() L.SequenceFeatures { { age } } end)
    expect.raises("which SequenceFeatures takes", function()
      L.DenseFeatures { { indicator(steps) } }
    end)
  end)
end)

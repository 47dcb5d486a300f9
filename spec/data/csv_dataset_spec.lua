-- make_csv_dataset: the batches that TensorFlow's makes of the same files
-- (spec/ref/csv_dataset.py).
local columns = require "tide.data.tables.columns"
local expect = require "spec.support.expect"
local tide = require "tide"
local reference = require "spec.ref.csv_dataset"
local make = tide.data.make_csv_dataset

local function files(texts)
  local folder, out = expect.folder(), {}
  for i, text in ipairs(texts) do
    out[i] = ("%s/%d.csv"):format(folder, i - 1)
    expect.write(out[i], text)
  end
  return out, folder
end

local function with(o, more)
  local out = {}
  for _, t in ipairs { o, more or {} } do
    for k, v in pairs(t) do
      out[k] = v
    end
  end
  return out
end

local function plain(v)
  return { dtype = columns.dtype(v), values = columns.values(v) }
end

local function batches(ds)
  local out = {}
  for x, y in ds:iter() do
    local by_name = {}
    for k, v in pairs(x) do
      by_name[k] = plain(v)
    end
    out[#out + 1] = { x = by_name, y = y and plain(y) or nil }
  end
  return out
end

describe("make_csv_dataset", function()
  for i, case in ipairs(reference) do
    it(("makes TensorFlow's batches: %d, %s"):format(i, case.name), function()
      local paths = files(case.files)
      local ds = make(paths, case.batch, with(case.options, { shuffle = false }))
      local got = batches(case.take and ds:take(case.take) or ds)
      -- float32 has its own digits
      for b, batch in ipairs(case.batches) do
        for _, part in ipairs { "x", "y" } do
          local want = part == "x" and batch.x or batch.y and { y = batch.y } or {}
          for name, column in pairs(want) do
            local mine = part == "x" and got[b].x[name] or got[b].y
            assert.equal(column.dtype, mine.dtype)
            expect.close(mine.values, column.values, 0, column.dtype == "float32" and 1e-7 or 0)
          end
        end
        assert.equal(batch.y == nil, got[b].y == nil)
      end
      assert.equal(#case.batches, #got)
    end)
  end

  it("shuffles by a seed, and goes on at any batch", function()
    local rows = {}
    for i = 1, 40 do
      rows[i] = i .. ",t" .. i
    end
    local _, folder = files { "n,s\n" .. table.concat(rows, "\n"), "n,s\n100,x\n101,y\n" }
    local function dataset(seed)
      return make(folder .. "/*.csv", 7, { num_epochs = 1, shuffle_seed = seed, label_name = "s" })
    end
    local want = batches(dataset(3))
    assert.same(want, batches(dataset(3)))
    assert.is_false(pcall(assert.same, want, batches(dataset(4))))
    local seen = 0
    for _, b in ipairs(want) do
      seen = seen + #b.y.values
    end
    assert.equal(42, seen)
    for n = 0, #want do
      local ds = dataset(3)
      for _ = 1, n do
        ds:next()
      end
      local other = dataset(3)
      other:restore(ds:state())
      assert.same(table.move(want, n + 1, #want, 1, {}), batches(other))
    end
  end)

  it("feeds fit", function()
    local paths = files { "a,b,y\n" .. ("1,2,3\n2,0,2\n"):rep(8) }
    local ds = make(paths, 4, { label_name = "y", num_epochs = 1,
      column_defaults = { 0.0, 0.0, 0.0 } })
    local a, b = tide.Input { 1, name = "a" }, tide.Input { 1, name = "b" }
    local model = tide.Model { inputs = { a = a, b = b },
      outputs = tide.layers.Dense { 1 } (tide.layers.Concatenate {} { a, b }) }
    model:compile { optimizer = "sgd", loss = "mse" }
    assert.equal(2, #model:fit(ds:map(function(x, y)
      return { a = x.a:reshape { -1, 1 }, b = x.b:reshape { -1, 1 } }, y
    end), { epochs = 2, verbose = 0 }).history.loss)
  end)

  it("says what does not fit", function()
    local paths, folder = files { "a,b\n1,2\n3,4,5\n", "a,c\n1,2\n" }
    local function says(part, ...)
      expect.has(expect.message(make, ...), part)
    end
    says("no file fits", folder .. "/x*", 2)
    says("names other columns than " .. paths[1] .. " (expected a, b, got a, c)", paths, 2)
    says("line 3: the row has 3 fields (expected 2)", paths[1], 2)
    says("did you mean 'b'", paths[2]:gsub("1.csv", "0.csv"), 2, { label_name = "bb",
      column_defaults = { 0, 0 } })
    says("select_columns must be different columns (got 'z')", paths[1], 2,
      { select_columns = { "z" } })
    says("column_defaults must be one per column that is taken (expected 2, got 1)", paths[1], 2,
      { column_defaults = { 0 } })
    says("needs column_names", paths[1], 2, { header = false })
  end)

  it("reads text of other encodings", function()
    local function words(bytes, encoding)
      local paths = files { bytes }
      local ds = make(paths[1], 2, { num_epochs = 1, shuffle = false,
        encoding = encoding })
      return ds:next().word
    end
    assert.same({ "Käse", "über" }, words("word,n\nK\xe4se,1\n\xfcber,2\n", "latin-1"))
    assert.same({ "Käse", "über" }, words("word,n\nKäse,1\nüber,2\n", "utf-8"))
    assert.same({ "é", "b" }, words(("word,n\né,1\nb,2\n"):gsub(utf8.charpattern, function(c)
      return string.pack("<I2", utf8.codepoint(c))
    end), "utf-16-le"))
    expect.raises("encoding must be", words, "word,n\na,1\n", "ebcdic")
  end)

  it("names its own way to leave damaged rows out", function()
    local paths = files { "a,b\n1,2\n3,x\n5,6\n" }
    local o = { num_epochs = 1, shuffle = false, column_defaults = { "int64", "int64" } }
    expect.raises("make_csv_dataset: " .. paths[1] .. ": line 3: field 2 is no int64 (got 'x'); \z
      ignore_errors = true leaves such rows out", function()
      make(paths[1], 2, o):as_list()
    end)
    o.ignore_errors = true
    assert.same({ 1, 5 }, make(paths[1], 2, o):next().a:tolist())
  end)
end)

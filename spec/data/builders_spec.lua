-- Data sets from folders, series and other data sources: Keras' builders (spec/ref/keras_data.py),
-- and files that keep elements.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"
local reference = require "spec.ref.keras_data"

local D, utils = tide.data.Dataset, tide.utils

local function plain(v)
  return core.is_tensor(v) and v:tolist() or v
end

local function elements(ds)
  local out = {}
  local pass <close> = ds:iter()
  local function add(...)
    local row = {}
    for k = 1, select("#", ...) do
      row[k] = plain((select(k, ...)))
    end
    out[#out + 1] = row[1] ~= nil and row or nil
    return row[1] ~= nil
  end
  while add(pass()) do -- luacheck: ignore 542
  end
  return out
end

local function options(o)
  local out = {}
  for k, v in pairs(o) do
    out[k] = v == "none" and tide.none or v
  end
  return out
end

describe("timeseries_dataset_from_array", function()
  for _, case in ipairs(reference) do
    if case.series then
      it("gives Keras' windows: " .. require("tide.utils.json").encode(case), function()
        local x = tide.arange(0, 20, 1, { dtype = "int64" })
        local data = case.columns == 1 and x or tide.ops.stack({ x, x * 10 }, { axis = 2 })
        local o = options(case.series)
        o.data = data
        o.targets = case.targets > 0 and (x * 100)[{ { 1, case.targets } }] or tide.none
        assert.same(case.elements, elements(utils.timeseries_dataset_from_array(o)))
      end)
    end
  end

  it("shuffles by the seed and says what is wrong", function()
    local x = tide.arange(0, 20, 1, { dtype = "int64" })
    local o = { x, tide.none, 2, shuffle = true, seed = 3 }
    local a = elements(utils.timeseries_dataset_from_array(o))
    assert.same(a, elements(utils.timeseries_dataset_from_array(o)))
    o.shuffle = false
    assert.not_same(a, elements(utils.timeseries_dataset_from_array(o)))
    expect.has(expect.message(utils.timeseries_dataset_from_array, x, tide.none, 30),
      "there is no window of 30 steps, 1 apart, in 20 steps")
  end)
end)

describe("split_dataset", function()
  for _, case in ipairs(reference) do
    if case.split then
      it("cuts where Keras cuts", function()
        local x = tide.arange(0, 11, 1, { dtype = "int64" })
        local left, right = utils.split_dataset(x, case.split)
        assert.same(case.left, left:as_list())
        assert.same(case.right, right:as_list())
      end)
    end
  end

  it("shuffles once, so that the parts do not overlap", function()
    local left, right = utils.split_dataset(D.range(20), { left_size = 0.5, shuffle = true,
      seed = 1 })
    local seen = {}
    for _ = 1, 2 do
      for _, part in ipairs { left, right } do
        for x in part:iter() do
          seen[x] = (seen[x] or 0) + 1
        end
      end
    end
    for x = 0, 19 do
      assert.equal(2, seen[x])
    end
    expect.has(expect.message(utils.split_dataset, D.range(4), { left_size = 1.5 }),
      "left_size must be a share between 0 and 1 (got 1.5)")
  end)

  it("has an inverse of packing", function()
    local x, y, w = tide.ones { 2 }, tide.zeros { 2 }, tide.ones { 2 }
    local a, b, c = utils.unpack_x_y_sample_weight(utils.pack_x_y_sample_weight(x, y, w))
    assert.is_true(rawequal(a, x) and rawequal(b, y) and rawequal(c, w))
    assert.is_true(rawequal(x, utils.pack_x_y_sample_weight(x)))
    assert.equal(2, select("#", utils.unpack_x_y_sample_weight { x, y }) - 1)
  end)
end)

describe("text_dataset_from_directory", function()
  local folder
  setup(function()
    folder = expect.folder()
    for _, class in ipairs { "neg", "pos" } do
      core.mkdirs(folder .. "/" .. class)
      for i = 1, 10 do
        expect.write(("%s/%s/%02d.txt"):format(folder, class, i), class .. " text " .. i)
      end
    end
    expect.write(folder .. "/pos/other.doc", "no text")
  end)

  it("gives texts and labels in Keras' order, cut into parts", function()
    local ds = utils.text_dataset_from_directory(folder, { shuffle = false, batch_size = 8,
      verbose = false })
    assert.same({ "neg", "pos" }, ds.class_names:totable())
    assert.equal(20, #ds.file_paths)
    local x, y = ds:skip(1):next()
    assert.same({ "neg text 9", "neg text 10", "pos text 1" }, { x[1], x[2], x[3] })
    assert.same({ 1, 1, 2, 2, 2, 2, 2, 2 }, y:tolist())
    local train, val = utils.text_dataset_from_directory(folder, { validation_split = 0.25,
      subset = "both", seed = 4, verbose = false, label_mode = "categorical", max_length = 3 })
    assert.same({ 15, 5 }, { #train.file_paths, #val.file_paths })
    x, y = val:next()
    assert.same({ 5, 2 }, y.shape:totable())
    assert.equal(3, #x[1])
    local seen = {}
    for _, part in ipairs { train, val } do
      for _, path in ipairs(part.file_paths) do
        assert.is_nil(seen[path])
        seen[path] = true
      end
    end
  end)

  it("goes on from any batch", function()
    local function make()
      return utils.text_dataset_from_directory(folder, { seed = 2, batch_size = 3,
        verbose = false })
    end
    local want = elements(make())
    local ds, other = make(), make()
    ds:next()
    ds:next()
    other:restore(ds:state())
    assert.same(table.move(want, 3, #want, 1, {}), elements(other))
  end)

  it("says what is missing", function()
    expect.has(expect.message(utils.text_dataset_from_directory, folder .. "/pos",
      { verbose = false, labels = tide.none, class_names = { "a" } }),
      "class_names needs labels = \"inferred\"")
    expect.has(expect.message(utils.text_dataset_from_directory, folder,
      { verbose = false, class_names = { "what" } }), "class_names holds 'what'")
  end)
end)

describe("other sources", function()
  it("are the elements of a Dataset: pictures, sequences, functions, coroutines", function()
    local flow = tide.preprocessing.image.ImageDataGenerator { horizontal_flip = true }:flow(
      tide.random.uniform { 6, 4, 4, 3 }, tide.tensor { 1, 2, 3, 4, 5, 6 },
      { batch_size = 2, seed = 3 })
    local x, y = D.from_generator(flow):map(function(a, b) return a / 2, b end):next()
    assert.same({ 2, 4, 4, 3 }, x.shape:totable())
    assert.equal(2, #y)
    local sequence = setmetatable({ get = function(_, i) return i, i * i end },
      { __len = function() return 5 end })
    local ds = D.from_generator(sequence)
    assert.equal(5, #ds)
    assert.same({ { 1, 1 }, { 4, 16 } }, { ds:as_list()[1], ds:as_list()[4] })
    assert.equal(5, #ds:shuffle(5, { seed = 1 }):as_list())
    local n = 0
    local counting = D.from_generator(function()
      n = n + 1
      return n <= 3 and n or nil
    end)
    assert.same({ 1, 2, 3 }, counting:as_list())
    assert.same({ 7, 8 }, D.from_generator(coroutine.create(function()
      coroutine.yield(7)
      coroutine.yield(8)
    end)):as_list())
  end)

  it("of pictures go on from any batch", function()
    local pictures = tide.random.uniform { 9, 4, 4, 3 }
    local function make()
      return D.from_generator(tide.preprocessing.image.ImageDataGenerator {
        rotation_range = 20 }:flow(pictures, { batch_size = 2, seed = 3 })):map(function(x)
          return x * 2
        end)
    end
    local want = elements(make())
    for at = 0, #want - 1 do
      local ds, other = make(), make()
      for _ = 1, at do
        ds:next()
      end
      other:restore(ds:state())
      assert.same(table.move(want, at + 1, #want, 1, {}), elements(other), at)
    end
  end)
end)

describe("files of elements", function()
  local function make()
    return D.range(30):map(function(x)
      return x, tide.full({ x % 3 }, x, { dtype = "int32" }), "s" .. x, { a = x / 2, b = x > 3 }
    end)
  end

  it("keep what was saved, dtypes too", function()
    local want = elements(make())
    for _, compression in ipairs { "none", "gzip", "zlib" } do
      local folder = expect.folder()
      make():save(folder, { compression = compression })
      local ds = D.load(folder)
      assert.equal(30, #ds)
      assert.same(#want, #elements(ds))
      local x, t, s, d = ds:skip(7):next()
      assert.same({ 7, { 7 }, "s7", 3.5, true }, { x, t:tolist(), s, d.a, d.b })
      assert.equal("int32", t.dtype)
      for at = 0, 30, 7 do
        local one, other = D.load(folder), D.load(folder)
        for _ = 1, at do
          one:next()
        end
        other:restore(one:state())
        assert.equal(30 - at, #elements(other))
      end
    end
    local folder = expect.folder()
    D.from_tensor_slices(tide.tensor({ 1, 2 }, { dtype = "uint8" })):save(folder)
    assert.equal("uint8", D.load(folder):batch(2):next().dtype)
  end)

  it("stand beside each other where a function says which, and are read as another says", function()
    local folder = expect.folder()
    local function third(x)
      return x % 3
    end
    D.range(10):save(folder, { shard_func = third, compression = "gzip" })
    local ds = D.load(folder)
    assert.equal(10, #ds)
    assert.same({ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, ds:as_list()) -- one of each in turn
    local function one_by_one(files)
      return files:flat_map(function(file)
        return file
      end)
    end
    assert.same({ 0, 3, 6, 9, 1, 4, 7, 2, 5, 8 },
      D.load(folder, { reader_func = one_by_one }):as_list())
    local function mixed(files)
      return files:shuffle(3, { seed = 4 }):interleave(function(file)
        return file
      end, 2)
    end
    local readers = { one_by_one, mixed, false }
    for _, reader in ipairs(readers) do
      local function make_again()
        return D.load(folder, { reader_func = reader or nil })
      end
      local want = make_again():as_list()
      for at = 0, 10 do
        local one, other = make_again(), make_again()
        for _ = 1, at do
          one:next()
        end
        other:restore(one:state())
        assert.same(table.move(want, at + 1, 10, 1, {}), other:as_list(), at)
      end
    end
    D.range(0):save(folder, { shard_func = third })
    assert.same({}, D.load(folder):as_list())
    for value, text in pairs { [0.5] = "got 0.5", [-1] = "got -1", ["a"] = 'got "a"' } do
      expect.has(expect.message(function()
        D.range(2):save(folder, { shard_func = function() return value end })
      end), "Dataset.save", "shard_func must give a whole number from 0", text)
    end
    expect.has(expect.message(function()
      D.range(2000):save(folder, { shard_func = function(x) return x end })
    end), "shard_func gives too many numbers (expected 1024 at most)")
    expect.has(expect.message(D.load, folder, { reader_func = function() return 1 end }),
      "takes data sets (got 1)")
    expect.write(folder .. "/data.json",
      '{"format":1,"elements":2,"shards":[{"number":-1,"elements":2}]}')
    expect.has(expect.message(D.load, folder), "does not describe the elements of a data set")
  end)

  it("keep what the first pass made, also for another data set of the same stages", function()
    local made, path = 0, expect.name()
    local function cached()
      return D.range(9):map(function(x)
        made = made + 1
        return x * 2
      end):cache(path)
    end
    local ds = cached()
    local half = ds:iter()
    for _ = 1, 4 do
      half()
    end
    half:close() -- a pass that was left leaves no file
    assert.is_false(core.file_exists(path .. ".elements"))
    assert.equal(9, #ds:as_list())
    made = 0
    assert.equal(9, #ds:as_list())
    assert.equal(9, #cached():as_list())
    assert.equal(0, made)
    local other = cached()
    other:next()
    local again = cached()
    again:restore(other:state())
    assert.same({ 2, 4, 6, 8, 10, 12, 14, 16 }, again:as_list())
    local folder = expect.folder()
    assert.same({ 0, 1 }, D.range(2):snapshot(folder):as_list())
    assert.same({ 0, 1 }, D.range(2):snapshot(folder):as_list())
  end)

  it("that are damaged are refused", function()
    local folder = expect.folder()
    make():save(folder)
    local path = folder .. "/data.elements"
    local bytes = expect.read(path)
    expect.write(path, bytes:sub(1, 300) .. string.char(bytes:byte(301) ~ 1) .. bytes:sub(302))
    local ds = D.load(folder)
    expect.has(expect.message(ds.as_list, ds), path, "checksum")
    expect.write(path, require("tide.utils.events").record "something else")
    expect.has(expect.message(function() D.load(folder):as_list() end), "is no file of elements")
    expect.write(folder .. "/data.json", "{}")
    expect.has(expect.message(D.load, folder), "does not describe the elements of a data set")
  end)
end)

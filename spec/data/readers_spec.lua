-- Readers of records: what TensorFlow finds in the same files (spec/ref/tf_readers.py), and what
-- they say of damaged ones.
local expect = require "spec.support.expect"
local tide = require "tide"
local stage = require "tide.data.stage"
local data = tide.data
local reference = require "spec.ref.records"

local FOLDER = "spec/ref/records/"

local function hex(v)
  return type(v) == "string" and (v:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end)) or v
end

local function elements(ds)
  local out = {}
  local pass <close> = ds:iter()
  local function add(...)
    local row = {}
    for k = 1, select("#", ...) do
      row[k] = hex((select(k, ...)))
    end
    out[#out + 1] = row[1] ~= nil and row or nil
    return row[1] ~= nil
  end
  while add(pass()) do -- luacheck: ignore 542
  end
  return out
end

local function make(text)
  return assert(load("return " .. text, "=" .. text, "t", { data = data, F = function(name)
    return FOLDER .. name
  end }))()
end

local function file(bytes)
  local path = expect.name()
  expect.write(path, bytes)
  return path
end

describe("a reader of records", function()
  for _, case in ipairs(reference) do
    it("finds what TensorFlow finds, and goes on at any record: " .. case.lua, function()
      assert.same(case.elements, elements(make(case.lua)))
      for n = 0, #case.elements do
        local ds = make(case.lua)
        for _ = 1, n do
          ds:next()
        end
        local other = make(case.lua)
        other:next()
        other:restore(ds:state())
        assert.same(table.move(case.elements, n + 1, #case.elements, 1, {}), elements(other))
      end
    end)
  end

  it("goes on in the middle of large files, packed or not", function()
    local path, packed = expect.name(), FOLDER .. "somegzip.tfrecord"
    local writer = data.TFRecordWriter(path)
    local want = {}
    for i = 1, 2500 do
      want[i] = ("%d "):format(i):rep(i % 37)
      writer:write(want[i])
    end
    writer:close()
    for _, n in ipairs { 0, 1, 511, 512, 513, 1024, 2499, 2500 } do
      local ds = data.TFRecordDataset(path)
      for _ = 1, n do
        ds:next()
      end
      local other = data.TFRecordDataset(path)
      other:restore(ds:state())
      assert.same(table.move(want, n + 1, #want, 1, {}), other:as_list())
    end
    local ds = data.TFRecordDataset({ packed, path, packed }, { compression_type = "" })
    assert.error_matches(function() ds:as_list() end, "somegzip.tfrecord: record 1")
  end)

  it("keeps records whole that are shorter and longer than what is read at a time", function()
    local path, lines, bad = expect.name(), expect.name(), expect.name()
    local writer, want, all = data.TFRecordWriter(path), {}, {}
    for i = 1, 400 do
      local n = i % 50 == 0 and 300000 + i or i % 7 == 0 and 50000 + i or i % 11
      want[i] = ("%d,"):format(i):rep(n // 4 + 1):sub(1, n)
      writer:write(want[i])
    end
    writer:close()
    expect.write(lines, table.concat(want, "\r\n") .. "\n")
    local bytes, at, kept = expect.read(path), 1, {}
    for i, text in ipairs(want) do -- every third one is damaged
      local whole = bytes:sub(at, at + #text + 15)
      at = at + #whole
      all[i] = i % 3 == 0 and whole:sub(1, -2) .. string.char(whole:byte(-1) ~ 1) or whole
      kept[#kept + 1] = i % 3 ~= 0 and text or nil
    end
    expect.write(bad, table.concat(all))
    for _, n in ipairs { 1, 33, 400 } do
      local function joined(ds)
        local out = {}
        for batch in ds:batch(n):iter() do
          table.move(batch, 1, #batch, #out + 1, out)
        end
        return out
      end
      assert.same(want, joined(data.TFRecordDataset(path)))
      assert.same(want, joined(data.TextLineDataset(lines)))
      local ds = data.TFRecordDataset(bad, { on_error = "skip" })
      assert.same(kept, joined(ds))
      assert.equal(133, ds.skipped)
      ds = data.TFRecordDataset(path, { max_record_bytes = 1000, on_error = "skip" })
      for _, text in ipairs(joined(ds)) do
        assert.is_true(#text <= 1000)
      end
      assert.equal(64, ds.skipped)
    end
  end)

  it("reads several files in turn", function()
    local a, b = file "1\n2\n3\n", file "x\ny\n"
    assert.same({ "1", "x", "2", "y", "3" },
      data.TextLineDataset({ a, b }, { num_parallel_reads = 2 }):as_list())
    assert.same({ "1", "2", "3", "x", "y" },
      data.TextLineDataset(data.Dataset.from_tensor_slices { a, b }):as_list())
  end)
end)

describe("CsvDataset", function()
  it("takes a text for an empty field, which has the column's default", function()
    local path = file "1,NA\nNA,x\n,\n"
    assert.same({ { 1, "none" }, { -1, "x" }, { -1, "none" } },
      data.CsvDataset(path, { -1, "none" }, { na_value = "NA" }):as_list())
    expect.has(expect.message(function()
      data.CsvDataset(path, { "int64", "string" }, { na_value = "NA" }):as_list()
    end), "line 1: field 2 is empty (expected a value)")
  end)
end)

describe("what a column or a reader may hold", function()
  it("is checked as it is read: whole numbers by their dtype, with the line", function()
    for dtype, c in pairs { int32 = { "-2147483648", "2147483647", "2147483648" },
      int64 = { "-9223372036854775808", "9223372036854775807", "9223372036854775808" },
      uint8 = { "0", "255", "256" }, int8 = { "-128", "127", "-129" }, bool = { "0", "1", "2" } } do
      local path = file(("x,%s\ny,%s\nz,%s\n"):format(table.unpack(c)))
      local ds = data.CsvDataset(path, { "string", dtype }, { on_error = "skip" })
      assert.same({ { "x", math.tointeger(c[1]) }, { "y", math.tointeger(c[2]) } }, ds:as_list())
      expect.has(ds.bad_files[path], ("line 3: field 2 is no %s"):format(dtype))
      expect.has(ds.bad_files[path], ("(got '%s')"):format(c[3]))
    end
  end)

  it("is as long as max_record_bytes says, however short; longer ones may be left out", function()
    for _, long in ipairs { 11, 5000, 300000, 1200000 } do
      local text = ("1\n%s\n2\n"):format(("9"):rep(long))
      local ds = data.TextLineDataset(file(text), { max_record_bytes = 10, on_error = "skip" })
      assert.same({ "1", "2" }, ds:as_list())
      assert.equal(1, ds.skipped)
      ds = data.TextLineDataset(file(text), { max_record_bytes = 10 })
      expect.has(expect.message(ds.as_list, ds), "line 2: it is longer than the 10 bytes allowed")
      ds = data.TextLineDataset(file(text), { max_record_bytes = long })
      assert.equal(3, #ds:as_list())
      local path = expect.name()
      local writer = data.TFRecordWriter(path)
      for line in text:gmatch "%d+" do
        writer:write(line)
      end
      writer:close()
      ds = data.TFRecordDataset(path, { max_record_bytes = 10, on_error = "skip" })
      assert.same({ "1", "2" }, ds:as_list())
    end
    local ds = data.CsvDataset(file "1,2\n1234567,23456\n3,4\n", { "int64", "int64" },
      { max_record_bytes = 10, on_error = "skip" })
    assert.same({ { 1, 2 }, { 3, 4 } }, ds:as_list())
  end)
end)

describe("a damaged file", function()
  local function says(ds, ...)
    local text = expect.message(ds.as_list, ds)
    for _, part in ipairs { ... } do
      expect.has(text, part)
    end
  end

  local good
  setup(function()
    local path = expect.name()
    local writer <close> = data.TFRecordWriter(path)
    for i = 1, 5 do
      writer:write("record " .. i)
    end
    writer:close()
    good = expect.read(path)
  end)

  it("of records names the file and the record", function()
    local flipped = good:sub(1, 40) .. "\xff" .. good:sub(42)
    local path = file(flipped)
    says(data.TFRecordDataset(path), path, "record 2: the checksum of its data differs (expected ")
    local ds = data.TFRecordDataset(path, { on_error = "skip" })
    assert.same({ "record 1", "record 3", "record 4", "record 5" }, ds:as_list())
    assert.equal(1, ds.skipped)
    assert.matches("record 2", ds.bad_files[path])
    path = file("\xff" .. good:sub(2))
    says(data.TFRecordDataset(path), path, "record 1: the checksum of its length differs")
    path = file(good:sub(1, -3))
    says(data.TFRecordDataset(path), path,
      "record 5: the file ends in it (expected 24 bytes, got 22)")
    assert.same(4, #data.TFRecordDataset(path, { on_error = "skip" }):as_list())
    path = file(good:sub(1, 5))
    says(data.TFRecordDataset(path), "record 1: the file ends in its length")
    -- what stands before the damage comes first
    ds = data.TFRecordDataset(file(good:sub(1, -3)))
    for i = 1, 4 do
      assert.equal("record " .. i, ds:next())
    end
    expect.has(expect.message(ds.next, ds), "record 5")
  end)

  it("is told of once: a place saved behind what was said goes on there", function()
    local flipped = good:sub(1, 40) .. "\xff" .. good:sub(42)
    local first = good:sub(1, 12) .. "\xff" .. good:sub(14)
    for text, want in pairs { [flipped] = { "record 1", false, "record 3" },
      [first] = { false, "record 2", "record 3" },
      [good:sub(1, -3)] = { "record 1", "record 2", "record 3", "record 4", false } } do
      local ds = data.TFRecordDataset(file(text))
      local function meets(iterator, from, to)
        for i = from, to do
          local ok, v = pcall(iterator.next, iterator)
          assert.same({ want[i] and true or false, want[i] }, { ok, ok and v })
        end
      end
      local first_one = stage.open(ds, 1)
      for i = 1, #want do
        meets(first_one, i, i)
        local other = stage.open(ds, 1)
        other:restore(first_one:state())
        meets(other, i + 1, #want)
      end
      local given = {}
      for _, v in ipairs(want) do
        given[#given + 1] = v or nil
      end
      assert.same(given, ds:ignore_errors():take(#given):as_list())
    end
  end)

  it("of rows may be damaged in its header", function()
    local path = file "a,\"b\"c\n1,2\n"
    says(data.CsvDataset(path, { "int64", "int64" }, { header = true }), "line 1: characters")
    local ds = data.CsvDataset(path, { "int64", "int64" }, { header = true, on_error = "skip" })
    assert.same({ { 1, 2 } }, ds:as_list())
    assert.equal(1, ds.skipped)
  end)

  it("cannot ask for memory that it does not fill", function()
    local events = require "tide.utils.events"
    local length = string.pack("<i8", 1 << 40)
    local path = file(length .. events.record(length):sub(21 - 0, 24) .. ("x"):rep(100))
    says(data.TFRecordDataset(path), "record 1")
    says(data.TextLineDataset(file(("x"):rep(5000)), { max_record_bytes = 1000 }),
      "line 1: it is longer than the 1000 bytes allowed")
    says(data.TFRecordDataset(file(good), { max_record_bytes = 4 }),
      "record 1: 8 bytes are more than the 4 allowed")
  end)

  it("that is packed says so", function()
    local packed = expect.read(FOLDER .. "lines.txt.gz")
    says(data.TextLineDataset(file(packed:sub(1, -9)), { compression_type = "GZIP" }),
      "the packed data end early")
    says(data.TextLineDataset(file("plain"), { compression_type = "GZIP" }),
      "the packed data are damaged")
    says(data.TextLineDataset(file(packed), { compression_type = "ZLIB" }), "damaged")
    says(data.FixedLengthRecordDataset(file "abcde", 2), "record 3: the file ends in it")
  end)

  it("of CSV names the line, and rows are left out on demand", function()
    local path = file "1,2\n3\n4,x\n5,\"6\n7,8\n"
    local kinds = { "int64", "int64" }
    says(data.CsvDataset(path, kinds), path, "line 2: the row has 1 fields (expected 2)")
    local ds = data.CsvDataset(path, kinds, { on_error = "skip" })
    assert.same({ { 1, 2 } }, ds:as_list())
    assert.equal(3, ds.skipped)
    says(data.CsvDataset(file "1,2\n4,x\n", kinds), "line 2: field 2 is no int64 (got 'x')")
    says(data.CsvDataset(file "1,2\n5,\"6\n", kinds), "line 2: a quote is not closed")
    says(data.CsvDataset(file "1,\"2\"3\n", kinds), "line 1: characters follow a closing quote")
    says(data.CsvDataset(file "1,a\"b\n", { "int64", "string" }),
      "line 1: a quote stands within an unquoted field")
    says(data.CsvDataset(file "1,\n", kinds), "line 1: field 2 is empty (expected a value)")
  end)

  it("or one that is not there is named", function()
    says(data.TextLineDataset("no/such/file"), "no/such/file: cannot be opened: No such file")
    says(data.TextLineDataset("spec"), "spec: cannot be opened: is a folder, not a regular file")
    expect.has(expect.message(data.TextLineDataset, 3), "filenames must be a path")
    expect.has(expect.message(data.TFRecordDataset, "x", { compression_type = "BZ2" }),
      "compression_type must be \"\", \"GZIP\" or \"ZLIB\" (got 'bz2')")
  end)

  it("is left behind by ignore_errors, wherever it is cut", function()
    assert.equal(0, #data.TextLineDataset("no/such/file"):ignore_errors():as_list())
    assert.same({ "a", "b" }, data.TextLineDataset({ "no/such/file", file "a\nb\n" })
      :ignore_errors():as_list())
    local path = os.tmpname()
    local writer = data.TFRecordWriter(path)
    writer:write "one" writer:write "two" writer:close()
    local whole = io.open(path, "rb"):read "a"
    for cut = 1, #whole do
      local out <close> = io.open(path, "wb")
      out:write(whole:sub(1, #whole - cut))
      out:flush()
      assert.is_true(#data.TFRecordDataset(path):ignore_errors():as_list() < 2)
    end
    os.remove(path)
  end)

  it("of CSV loses its row whole, wherever a block ends", function()
    local path = file(("1,2\n"):rep(65535) .. '3"44,55\n7,8\n')
    local rows = data.CsvDataset(path, { -1, -1 }, { on_error = "skip" }):as_list()
    assert.equal(65536, #rows)
    assert.same({ 7, 8 }, rows[65536])
    says(data.CsvDataset(file 'a,b"c\n1,2\n', { "int64", "int64" }, { header = true }), "line 1")
  end)
end)

describe("a TFRecordWriter", function()
  it("that nobody holds any more writes what it has", function()
    local path = expect.name()
    data.TFRecordWriter(path):write "kept"
    collectgarbage()
    collectgarbage()
    assert.same({ "kept" }, data.TFRecordDataset(path):as_list())
  end)
end)

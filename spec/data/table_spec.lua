-- Tables: what pandas reads in the same files and computes of the same rows (spec/ref/tables.py),
-- streaming in constant memory, data sets of tables, and what damaged files say.
local columns = require "tide.data.tables.columns"
local expect = require "spec.support.expect"
local tide = require "tide"
local reference = require "spec.ref.tables"
local Table = tide.data.table
local none = tide.none

local function file(text, ending)
  local path = expect.name() .. (ending or ".csv")
  expect.write(path, text)
  return path
end

-- Passes where a column is of the dtype, and holds the values to the last bit (or within 1e-12,
-- where they were computed).
local function same(want, got, what, rtol)
  assert.equal(want.dtype, columns.dtype(got), what .. ": dtype")
  local values = columns.values(got)
  assert.equal(#want.values, #values, what .. ": rows")
  for i, v in ipairs(want.values) do
    local x = values[i]
    local fits = x == v or x ~= x and v ~= v or rtol and type(x) == "number"
      and math.abs(x - v) <= rtol * math.max(math.abs(v), 1)
    if not fits then
      error(("%s, row %d: expected %s, got %s"):format(what, i, tostring(v), tostring(x)), 0)
    end
  end
end

local function same_table(want, got, what)
  for name, column in pairs(want) do
    assert.truthy(got._values[name], what .. ": no column " .. name)
    same(column, got:column(name), what .. ", " .. name, 1e-12)
  end
  local n = 0
  for _ in pairs(want) do
    n = n + 1
  end
  assert.equal(n, #got.columns, what .. ": columns")
end

describe("table.read_csv", function()
  for _, case in ipairs(reference.files) do
    it("finds what pandas finds: " .. case.name, function()
      local t = Table.read_csv(file(case.data), case.options)
      assert.same(case.names, table.move(t.columns, 1, #t.columns, 1, {}))
      for i, name in ipairs(case.names) do
        same(case.columns[i], t:column(name), name)
      end
    end)
  end

  it("reads the same packed, and however the bytes fall into its buffer", function()
    local rows = {}
    for i = 1, 60000 do
      rows[i] = ("%d,\"n\"\"%d\n\",%.17g"):format(i, i % 97, i / 7)
    end
    local text = "i,s,x\n" .. table.concat(rows, "\r\n")
    local path = file(text)
    local t = Table(path)
    assert.equal(60000, #t)
    for _, i in ipairs { 1, 17, 30000, 59999, 60000 } do
      assert.same({ i = i, s = ("n\"%d\n"):format(i % 97), x = i / 7 }, t[i])
    end
    local packed = expect.name() .. ".csv.gz"
    t:write_csv(packed)
    local again = Table(packed)
    assert.same(t.i:tolist(), again.i:tolist())
    assert.same(t.x:tolist(), again.x:tolist())
    assert.same(t.s, again.s)
    -- UTF-16: pairs that a buffer's end cuts
    local wide = { "\xff\xfe" }
    for _, c in utf8.codes("s\n" .. ("x😀é\n"):rep(70000)) do
      wide[#wide + 1] = c < 0x10000 and string.pack("<I2", c)
        or string.pack("<I2I2", 0xd800 + (c - 0x10000 >> 10), 0xdc00 + (c - 0x10000 & 0x3ff))
    end
    local s = Table(file(table.concat(wide))).s
    assert.equal(70000, #s)
    for i = 1, #s do
      assert(s[i] == "x😀é", i)
    end
  end)

  it("names file, line and column of what is wrong", function()
    local function says(text, o, ...)
      local path = file(text)
      local message = expect.message(Table.read_csv, path, o or {})
      expect.has(message, "read_csv: " .. path)
      for _, part in ipairs { ... } do
        expect.has(message, part)
      end
    end
    says("a,b\n1,2\n3,4,5\n", nil, "line 3: the row has too many fields (expected 2, got 3)",
      "on_error = \"skip\"")
    says("a\n1\nx\n", { dtypes = { a = "int64" } }, "line 3: column 'a' is no int64 (got 'x')")
    says("a,b\n1,\n", { dtypes = { b = "int32" } }, "line 2: column 'b' has no value (expected a \z
      value: int64)")
    says("a\n300\n", { dtypes = { a = "uint8" } })
    says("a\n\"x\n", nil, "a quote is not closed")
    says("a\n\xff\n", nil, "line 2: column 'a' is not UTF-8", "latin-1")
    says("\xff\xfea\0\n\0\0\xdc\n\0", nil, "byte 7: half a pair of UTF-16 stands alone")
    says("\xff\xfea\0\n\0x", nil, "UTF-16 ends in a character")
    says("", nil, "holds no rows (expected a header)")
    says("a\n1\n", { select = { "aa" } }, "has no column 'aa'", "did you mean 'a'")
    expect.has(expect.message(Table.read_csv, file "a\n1\n", { columns = {} }),
      "columns must name all columns")
    says("x\n" .. ("y"):rep(700000), { max_record_bytes = 1000 },
      "line 2: the row is longer than the 1000 bytes allowed")
    expect.has(expect.message(Table.read_csv, "/no/such.csv"), "/no/such.csv: cannot be opened")
    expect.has(expect.message(Table.read_csv, file "a\n", { encoding = "ebcdic" }),
      "encoding must be \"utf-8\"")
  end)

  it("counts the rows that it leaves out", function()
    local t = Table.read_csv(file "a,b\n1,2,3\n4,5\n\"x\n6,7\n", { on_error = "skip" })
    assert.same({ 4 }, t.a:tolist())
    assert.equal(2, t.skipped)
  end)
end)

describe("a table", function()
  local t
  setup(function()
    t = Table(file(reference.csv))
  end)

  it("groups as pandas does", function()
    for name, want in pairs(reference.results) do
      local by, what = name:match "^([kg,]+) (%a+)$"
      if by and what ~= "x" and what ~= "size" then
        local groups = t:group_by((function()
          local out = {}
          for key in by:gmatch "%a" do
            out[#out + 1] = key
          end
          return out
        end)())
        local got = want.x and groups[what](groups, "x", "i") or groups[what](groups, "i")
        same_table(want, got, name)
      end
    end
    same_table(reference.results["k size"], t:group_by("k"):size(), "size")
    for _, name in ipairs { "k", "i" } do -- of i many values are equally frequent
      same_table(reference.results["counts of " .. name], t:value_counts(name), name)
    end
    local both = t:group_by("k"):aggregate { x = { "sum", "max" }, i = "mean",
      n = function(part) return #part end }
    assert.same({ "k", "i", "n", "x_sum", "x_max" }, table.move(both.columns, 1, 5, 1, {}))
    same(reference.results["k sum"].x, both.x_sum, "x_sum", 1e-12)
    assert.same(t:group_by("k"):size():column("size"):tolist(), both.n:tolist())
  end)

  it("sorts, filters and describes as pandas does", function()
    local r = reference.results
    same_table(r["sort k x"], t:sort("k", "x"), "k x")
    same_table(r["sort x down"], t:sort("x", { descending = true }), "x down")
    same_table(r["sort f down, i"], t:sort({ "f", "i" }, { descending = { true, false } }), "f i")
    same_table(r["sort k down, g"], t:sort({ "k", "g" }, { descending = { true, false } }), "k g")
    same_table(r.filter, t:filter(function(row) return row.x > 0 and row.i < 10 end), "filter")
    same_table(r.filter, t:filter(t.x:greater(0) & t.i:less(10)), "mask")
    same_table(r.drop_missing, t:drop_missing(), "drop_missing")
    same_table(r.fill, t:fill_missing { x = -1, k = "none" }, "fill")
    same_table(r.describe, t:describe { columns = { "x", "i" } }, "describe")
  end)

  it("is written so that it reads back the same", function()
    local all = t:with("s", function(row) return row.k and row.k .. ",\"\n" or none end)
      :with("y", t.x:cast "float32")
    local path = expect.name() .. ".tsv"
    all:write_csv(path)
    local again = Table(path, { dtypes = { y = "float32" } })
    for _, name in ipairs(all.columns) do
      same({ dtype = columns.dtype(all[name]), values = columns.values(all[name]) }, again[name],
        name)
    end
    path = expect.name() .. ".jsonl"
    all:write_json_lines(path)
    again = Table(path)
    for _, name in ipairs { "k", "x", "i", "f", "s" } do
      same({ dtype = columns.dtype(all[name]), values = columns.values(all[name]) }, again[name],
        name)
    end
  end)

  it("is made of columns and of rows", function()
    local a = Table { x = { 1, 2.5, none }, name = { "p", none, "q" }, ok = { true, false, true } }
    assert.same({ "name", "ok", "x" }, table.move(a.columns, 1, 3, 1, {}))
    assert.same({ name = "string", ok = "bool", x = "float64" }, a.dtypes)
    assert.same({ "p", false, "q" }, a.name)
    local b = Table { { x = 1, name = "p" }, { name = "q" } }
    assert.equal("q", b[2].name)
    assert.truthy(b[2].x ~= b[2].x)
    local c = Table({ { 1, "u" }, { 2, "v" } },
      { columns = { "n", "s" }, dtypes = { n = "int32" } })
    assert.equal("int32", c.n.dtype)
    assert.same({ "u", "v" }, c.s)
    assert.same({ "false", "1" }, columns.of({ false, 1 }, 2, "x", "t", "string"))
    local function says(part, ...)
      expect.has(expect.message(Table, ...), part)
    end
    says("columns must have one length (expected 2 rows as 'a' has, got 1 in 'b')",
      { a = { 1, 2 }, b = { 1 } })
    says("holds values of several kinds ('x' in row 2)", { a = { 1, "x" } })
    says("column 'a' must hold numbers, booleans or texts (got {} in row 1)", { a = { {}, 1 } })
    says("row 2 has a column that was not named", { { a = 1 }, { b = 1 } }, { columns = { "a" } })
    says("holds numbers that int8 does not (from 1 to 300)", { a = { 1, 300 } },
      { dtypes = { a = "int8" } })
    says("delimiter is an option of files", { a = { 1 } }, { delimiter = ";" })
  end)

  it("is cut, joined and changed without changing the one it was made of", function()
    local a = Table { x = { 1, 2, 3 }, s = { "a", "b", "c" } }
    assert.same({ 3, 1 }, a:take({ -1, 1 }).x:tolist())
    assert.same({ "b", "c" }, a:tail(2).s)
    assert.same({ 2 }, a:rows(2, 2).x:tolist())
    assert.equal(0, #a:rows(3, 2))
    assert.equal(0, #a:filter(function() return false end))
    assert.same({ 1, 2, 3, 1, 2, 3 }, a:concat(a).x:tolist())
    assert.same({ "s" }, table.move(a:drop("x").columns, 1, 1, 1, {}))
    assert.same({ 1, 2, 3 }, a:rename({ x = "y" }).y:tolist())
    assert.same({ 2, 4, 6 }, a:with("x", function(row) return row.x * 2 end).x:tolist())
    assert.same({ 1, 2, 3 }, a.x:tolist())
    assert.same({ 3, 2 }, table.move(a.shape, 1, 2, 1, {}))
    assert.same({ { x = 1, s = "a" } }, a:head(1):tolist())
    assert.same({ { 1, 2 } }, Table({ a = { 1 }, b = { 2 } }):to_tensor():tolist())
    assert.same({ "b", "a" }, Table({ s = { "a", "b", "b" } }):value_counts("s").s)
    expect.has(expect.message(a.select, a, "y"), "there is no column 'y'")
    expect.has(expect.message(a.with, a, "z", { 1 }), "expected 3, got 1")
    expect.has(expect.message(function() return a:group_by("s"):sum("s") end),
      "the column 's' holds texts, which have no sum")
  end)

  it("prints its columns in line", function()
    local a = Table { n = { 1, 20 }, s = { "äö\n", none }, x = { 0.5, none } }
    assert.equal(" n  s       x\n 1  äö\\n  0.5\n20  -       -\n[2 rows, 3 columns]", tostring(a))
    local long = Table { i = tide.arange(1, 101):cast "int64" }
    assert.equal("  i\n  1\n  2\n  3\n  4\n  5\n…\n 96\n 97\n 98\n 99\n100\n[100 rows, 1 column]",
      tostring(long))
    local wide = {}
    for i = 1, 40 do
      wide[("column_%02d"):format(i)] = { i }
    end
    expect.has(tostring(Table(wide)), "…\n[1 row, 40 columns, 31 not shown: column_10, column_11")
  end)

  it("splits into rows for training and testing", function()
    local a = Table { i = tide.arange(100):cast "int64" }:with("k", function(row)
      return row.i < 20 and "few" or "many"
    end)
    local train, test = a:split(0.25, { seed = 5 })
    assert.equal(75, #train)
    local all = train:concat(test):sort "i"
    assert.same(a.i:tolist(), all.i:tolist())
    assert.same(test.i:tolist(), select(2, a:split(0.25, { seed = 5 })).i:tolist())
    assert.is_false(columns.values(test.i)[1] == 75 and columns.values(test.i)[2] == 76)
    local _, last = a:split(10, { shuffle = false })
    assert.same({ 90, 91 }, last:head(2).i:tolist())
    local _, even = a:split(0.25, { seed = 1, stratify = "k" })
    assert.same({ 20, 5 }, even:value_counts("k").count:tolist())
  end)
end)

describe("table.stream and chunks", function()
  local path, rows
  setup(function()
    rows = {}
    for i = 1, 5000 do
      rows[i] = ("%d,%.3f,%s"):format(i, i / 8, i % 3 == 0 and "c" or i % 3 == 1 and "a" or "b")
    end
    path = file("i,x,k\n" .. table.concat(rows, "\n") .. "\n")
  end)

  it("give the rows in pieces", function()
    local n, sum = 0, 0
    for part in Table.chunks(path, 700) do
      n, sum = n + #part, sum + part.i:sum()
      assert.equal("float64", part.x.dtype)
    end
    assert.equal(5000, n)
    assert.equal(5000 * 5001 // 2, sum)
  end)

  it("give batches, and go on at any of them", function()
    local function make()
      return Table.stream(path, { target = "k", batch_size = 900, features = { "i", "x" } })
    end
    local ds = make()
    assert.same({ "a", "b", "c" }, table.move(ds.class_names, 1, 3, 1, {}))
    local want = {}
    for x, y in ds:iter() do
      want[#want + 1] = { x.i:tolist(), y:tolist() }
    end
    assert.equal(6, #want)
    for n = 0, 6 do
      ds = make()
      for _ = 1, n do
        ds:next()
      end
      local other, got = make(), {}
      other:restore(ds:state())
      for x, y in other:iter() do
        got[#got + 1] = { x.i:tolist(), y:tolist() }
      end
      assert.same(table.move(want, n + 1, #want, 1, {}), got)
    end
  end)

  it("say which line does not fit the kinds of the first rows", function()
    local bad = file("i\n" .. ("1\n"):rep(50) .. "2.5\n")
    expect.has(expect.message(function()
      for _ in Table.chunks(bad, { infer_rows = 10 }) do end -- luacheck: ignore 542
    end), "line 52: column 'i' is no int64 (got '2.5')")
    for part in Table.chunks(bad, { infer_rows = 10, dtypes = { i = "float64" } }) do
      assert.equal(51, #part)
    end
  end)

  it("take no memory that grows with the file", function()
    local big = expect.name() .. ".csv"
    local f = assert(io.open(big, "w"))
    f:write "i,x,k\n"
    for _ = 1, 40 do
      f:write(table.concat(rows, "\n"), "\n")
    end
    f:close()
    local function peak()
      collectgarbage()
      local most, n = 0, 0
      for x in Table.stream(big, { target = "k", batch_size = 1000 }):iter() do
        n = n + x.i.shape[1]
        most = math.max(most, collectgarbage "count" + tide.memory().live_bytes / 1024)
      end
      return most, n
    end
    local base = collectgarbage "count" + tide.memory().live_bytes / 1024
    local most, n = peak()
    assert.equal(200000, n)
    assert.is_true(most - base < 8000, most - base)
  end)
end)

describe("table:to_dataset", function()
  local t
  setup(function()
    t = Table { x = { 1.5, 2.5, 3.5, 4.5, 5.5 }, n = { 1, 2, 3, 4, 5 },
      s = { "a", none, "b", "a", "b" }, y = { "no", "yes", "no", "yes", "no" },
      w = { 1, 1, 2, 2, 3 } }
  end)

  it("gives inputs by name, labels from 1 and weights", function()
    local ds = t:to_dataset { target = "y", sample_weight = "w", batch_size = 2 }
    assert.equal(3, #ds)
    local x, y, w = ds:next()
    assert.equal("float32", x.x.dtype)
    assert.equal("int64", x.n.dtype)
    assert.same({ "a", "" }, x.s)
    assert.same({ 1, 2 }, y:tolist())
    assert.same({ 1, 1 }, w:tolist())
    assert.same({ "no", "yes" }, table.move(ds.class_names, 1, 2, 1, {}))
    x, y = t:to_dataset({ target = { "x", "n" }, features = { "s" }, drop_remainder = true,
      batch_size = 3 }):next()
    assert.same({ "a", "", "b" }, x.s)
    assert.same({ 1.5, 2.5, 3.5 }, y.x:tolist())
    expect.has(expect.message(t.to_dataset, t, { target = "z" }), "there is no column 'z'")
    expect.has(expect.message(t.to_dataset, t, { target = "y", matrix = true }),
      "the column 's' holds texts, which a matrix cannot")
  end)

  it("shuffles by a seed and feeds fit", function()
    local o = { target = "y", features = { "x", "n" }, matrix = true, shuffle = true, seed = 3,
      batch_size = 2 }
    local a, b = t:to_dataset(o):as_list(), t:to_dataset(o):as_list()
    assert.same(a[1][1]:tolist(), b[1][1]:tolist())
    local model = tide.Sequential { tide.layers.Dense { 2, activation = "softmax" } }
    model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
    local history = model:fit(t:to_dataset(o), { epochs = 2, verbose = 0 })
    assert.equal(2, #history.history.loss)
  end)

  it("feeds FeatureSpace", function()
    local FeatureSpace = tide.utils.FeatureSpace
    local space = FeatureSpace { features = { s = "string_categorical", x = "float_normalized" },
      output_mode = "concat" }
    local ds = t:to_dataset { features = { "s", "x" }, batch_size = 5 }
    space:adapt(ds)
    for x in ds:iter() do
      assert.same({ 5, 5 }, table.move(space(x).shape, 1, 2, 1, {}))
    end
  end)
end)

describe("table.read_json_lines", function()
  it("makes a table of objects", function()
    local path = file('{"b": 1, "a": "x"}\n\n{"a": null, "b": 2.5, "c": true}\r\n{}\n', ".jsonl")
    local t = Table(path)
    assert.same({ "a", "b", "c" }, table.move(t.columns, 1, 3, 1, {}))
    assert.same({ "x", false, false }, t.a)
    same({ dtype = "float64", values = { 1, 2.5, 0 / 0 } }, t.b, "b")
    assert.same({ "b" }, table.move(Table(path, { select = { "b" } }).columns, 1, 1, 1, {}))
    assert.equal(1, #Table(path, { rows = 1 }))
  end)

  it("names the line that is none", function()
    for _, bad in ipairs { "[1]", "{", "3", '{"a": [1]}', '{"a": {"b": 1}}' } do
      local path = file('{"a": 1}\n' .. bad .. "\n", ".jsonl")
      expect.has(expect.message(Table, path), path .. ": line 2: ")
      local t = Table(path, { on_error = "skip" })
      assert.equal(1, #t)
      assert.equal(1, t.skipped)
    end
  end)
end)

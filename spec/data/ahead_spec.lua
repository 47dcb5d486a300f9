-- What worker threads make ahead of the step: batches of rows, windows, records. The same elements
-- in the same order for any number of threads, from any place, and no thread that is left behind.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local D = tide.data.Dataset

local function plain(...)
  local out = { ... }
  for k, v in ipairs(out) do
    out[k] = core.is_tensor(v) and v:tobytes()
      or type(v) == "table" and (v.a and plain(v.a, v.b) or table.concat(v, "|")) or v
  end
  return out
end

local function elements(ds)
  local out = {}
  local pass <close> = ds:iter()
  while true do
    local row = plain(pass())
    if row[1] == nil then
      return out
    end
    out[#out + 1] = row
  end
end

-- The threads of this process, without those of passes that nobody holds; nil where the system
-- does not tell.
local function threads()
  collectgarbage()
  collectgarbage()
  local f <close> = io.open "/proc/self/status"
  return f and tonumber(f:read("a"):match "Threads:%s*(%d+)")
end

local function with_threads(n, f)
  local before = tide.get_threads()
  tide.set_threads(n)
  local ok, e = pcall(f)
  tide.set_threads(before)
  assert(ok, e)
end

-- Rows wide enough that a batch goes to the workers.
local wide = tide.arange(60 * 5000):reshape { 60, 5000 }
local labels, words = tide.arange(60), {}
for i = 1, 60 do
  words[i] = "row " .. i
end
local long = expect.name()
do
  local writer <close> = tide.data.TFRecordWriter(long)
  for i = 1, 2500 do
    writer:write(("record %d "):format(i):rep(i % 7 + 1))
  end
end
local rows = expect.name()
do
  local f <close> = assert(io.open(rows, "w"))
  for i = 1, 2500 do
    f:write(i, ",", i / 4, ",\"text ", i, "\",\n")
  end
end

local pipelines = {
  ["shuffled rows"] = function(n)
    return D.from_tensor_slices(wide, labels, words):shuffle(20, { seed = 3 }):batch(8):prefetch(n)
  end,
  ["rows by name, again and again"] = function(n)
    return D.from_tensor_slices({ a = wide, b = words }):shuffle(60, { seed = 3 }):rep(2)
      :batch(7, { drop_remainder = true }):prefetch(n)
  end,
  ["a prefetch within rounds"] = function(n)
    return D.from_tensor_slices(wide):shuffle(60, { seed = 3 }):batch(8):prefetch(n):rep(2)
  end,
  ["windows"] = function(n)
    return tide.utils.timeseries_dataset_from_array(wide, labels, 4,
      { sequence_stride = 2, sampling_rate = 3, batch_size = 5, shuffle = true, seed = 2 })
      :prefetch(n)
  end,
  ["records"] = function(n)
    return tide.data.TFRecordDataset { long, long }:batch(100):prefetch(n)
  end,
  ["rows of a table"] = function(n)
    return tide.data.CsvDataset(rows, { "int64", "float32", "string", "none" }):batch(99)
      :prefetch(n)
  end,
}

describe("what is made ahead", function()
  for name, make in pairs(pipelines) do
    it("is what one thread makes, for any number of threads: " .. name, function()
      local want
      with_threads(1, function()
        want = elements(make(0))
      end)
      assert(#want > 5)
      for _, n in ipairs { 1, 4 } do
        with_threads(n, function()
          for _, depth in ipairs { 0, 1, 3, -1 } do
            assert.same(want, elements(make(depth)))
          end
        end)
      end
    end)

    it("goes on anywhere: " .. name, function()
      local want = elements(make(2))
      local ds = make(2)
      for n = 0, #want - 1, math.max(1, #want // 9) do
        local other = make(2)
        other:restore(ds:state())
        assert.same(table.move(want, n + 1, #want, 1, {}), elements(other))
        for _ = 1, math.max(1, #want // 9) do
          ds:next()
        end
      end
    end)

    it("ends with the pass, with the loop that is left, and with the collector: " .. name,
      function()
        local before = threads()
        if not before then
          return
        end
        elements(make(2))
        assert.equal(before, threads())
        local most = before
        for _ in make(2):iter() do
          most = math.max(most, threads())
        end
        assert(most > before)
        for _ in make(2):iter() do -- luacheck: ignore 512
          break
        end
        assert.equal(before, threads())
        local ds = make(2)
        ds:next()
        ds:next()
        ds = nil -- luacheck: ignore 311
        assert.equal(before, threads())
      end)
  end

  it("says of a damaged record what is wrong, or leaves it out, wherever it stands", function()
    local f <close> = assert(io.open(long, "rb"))
    local bytes = f:read "a"
    local at = bytes:find("record 1700 ", 1, true)
    local path = expect.name()
    expect.write(path, bytes:sub(1, at) .. "X" .. bytes:sub(at + 2))
    local ds = tide.data.TFRecordDataset(path)
    local n = 0
    expect.raises("record 1700: the checksum of its data differs", function()
      for _ in ds:iter() do
        n = n + 1
      end
    end)
    assert.equal(1699, n)
    ds = tide.data.TFRecordDataset(path, { on_error = "skip" })
    assert.equal(2499, #ds:as_list())
    assert.equal(1, ds.skipped)
  end)

  it("takes part in fit without being asked", function()
    local before, most = threads(), 0
    if not before then
      return
    end
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 5000 } } }
    model:compile { loss = "mse" }
    model:fit(D.from_tensor_slices(wide, labels):shuffle(60):batch(8), { epochs = 2, verbose = 0,
      callbacks = { tide.callbacks.LambdaCallback { on_train_batch_end = function()
        most = math.max(most, threads())
      end } } })
    assert(most > before)
    assert.equal(before, threads())
  end)
end)

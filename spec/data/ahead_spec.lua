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

  it("begins the next epoch during the last batches of one, which changes no bit", function()
    local makers = {
      function()
        return D.from_tensor_slices(wide, labels):shuffle(60, { seed = 5 }):batch(8)
          :map(function(x, y) return x, y * 2 end)
      end,
      function()
        return tide.preprocessing.image.ImageDataGenerator { horizontal_flip = true,
          rotation_range = 20 }:flow(tide.random.uniform({ 20, 16, 16, 3 }, { seed = 1 }),
          tide.arange(20), { batch_size = 6, seed = 4 })
      end,
    }
    for _, make in ipairs(makers) do
      local want = {}
      local source = make()
      for epoch = 1, 3 do
        for x, y in source:iter() do
          want[#want + 1] = epoch .. x:tobytes() .. y:tobytes()
        end
      end
      source:close()
      local function walk(source2, first, left_at)
        local out = {}
        for epoch = first, 3 do
          local step = source2:iter()
          local pass = type(step) == "table" and step or source2
          if type(step) == "table" then
            step:ahead(1)
          end
          if epoch < 3 then
            pass:another()
          end
          for x, y in step do
            out[#out + 1] = epoch .. x:tobytes() .. y:tobytes()
            if #out == left_at then
              local state = type(step) == "table" and step:state() or source2:state()
              pass:close()
              return out, state, epoch
            end
          end
        end
        source2:close()
        return out
      end
      assert.same(want, (walk(make(), 1)))
      assert.equal(0, tide.data.threads())
      for at = 1, #want - 1 do
        local out, state, epoch = walk(make(), 1, at)
        assert.equal(0, tide.data.threads())
        assert.same(table.move(want, 1, at, 1, {}), out)
        local again = make()
        again:restore(state)
        if at % (#want // 3) > 0 then -- what is left of the pass, then the others
          local rest = walk(again, epoch)
          assert.same(table.move(want, at + 1, #want, 1, {}), rest, at)
        end
        again:close()
        assert.equal(0, tide.data.threads())
      end
    end
  end)

  it("leaves no thread behind an error, a stop, or the last epoch of fit", function()
    for _, stop in ipairs { "error", "stop", "none" } do
      for at = 6, 9 do
        local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 5000 } } }
        model:compile { loss = "mse" }
        local n = 0
        pcall(model.fit, model, D.from_tensor_slices(wide, labels):shuffle(60):batch(8),
          { epochs = 3, verbose = 0, callbacks = { { on_train_batch_end = function(self)
            n = n + 1
            if n == at and stop == "error" then
              error "stop"
            elseif n == at and stop == "stop" then
              self.model.stop_training = true
            end
          end } } })
        assert.equal(0, tide.data.threads(), stop)
        assert.is_true(n >= at)
      end
    end
  end)
end)

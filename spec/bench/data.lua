-- What a no-op element of a Dataset and a record of TFRecordDataset cost: nanoseconds of wall time,
-- the best of three. `build/tide spec/bench/data.lua make SMALL BIG` writes the files of records,
-- `... SMALL BIG` prints lines `name nanoseconds`, as spec/bench/tf_data.py does of tf.data.
local core = require "tide.core"
local tide = require "tide"
local D = tide.data.Dataset
local N = 30000

if arg[1] == "make" then
  for i, text in ipairs { ("abcdefghij"):rep(10), ("abcdefghij"):rep(5000) } do
    local writer <close> = tide.data.TFRecordWriter(arg[i + 1])
    for _ = 1, i == 1 and N or 2000 do
      writer:write(text)
    end
  end
  return
end

local function best(name, n, make)
  local ds, t = make(), math.huge
  for _ = 1, 3 do
    local start = core.now()
    for _ in ds:iter() do -- luacheck: ignore 542
    end
    t = math.min(t, core.now() - start)
  end
  print(("%s %.1f"):format(name, t / n * 1e9))
end

local function same(x)
  return x
end

best("range", N, function() return D.range(N) end)
best("map", N, function() return D.range(N):map(same) end)
best("map_x10", N, function()
  local ds = D.range(N)
  for _ = 1, 10 do
    ds = ds:map(same)
  end
  return ds
end)
best("map_batch", N, function() return D.range(N):map(same):batch(100) end)
best("batch", N, function() return D.range(N):batch(100) end)
best("shuffle_batch", N, function() return D.range(N):shuffle(1000):batch(100) end)
local x, y = tide.ones { N, 10 }, tide.ones { N }
best("slices_shuffle_batch", N, function()
  return D.from_tensor_slices(x, y):shuffle(N):batch(100)
end)
best("record_100B", N, function() return tide.data.TFRecordDataset(arg[1]) end)
best("record_100B_batch", N, function() return tide.data.TFRecordDataset(arg[1]):batch(100) end)
best("record_50kB", 2000, function() return tide.data.TFRecordDataset(arg[2]) end)
best("record_50kB_batch", 2000, function() return tide.data.TFRecordDataset(arg[2]):batch(10) end)

-- Batches of 128 windows of 24 steps of a series: per batch.
local series, targets = tide.random.normal { 100000, 8 }, tide.random.normal { 100000 }
local sequence = tide.preprocessing.sequence
local function windows(name, g)
  best(name, #g, function() return g end)
end
windows("timeseries", sequence.TimeseriesGenerator { series, targets, length = 24,
  batch_size = 128 })
windows("timeseries_drawn", sequence.TimeseriesGenerator { series, targets, length = 48,
  sampling_rate = 2, batch_size = 128, shuffle = true })
windows("sequence", sequence.SequenceGenerator { series, targets = targets, length = 24,
  batch_size = 128 })

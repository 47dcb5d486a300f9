--- What data sets may cost.
--
--   data.lua [--epochs N] [--files N] [--mb N]
--
-- epochs: each kind of pipeline is gone through N times (10); in the second half of them the memory
-- of the process, its threads and descriptors do not grow.
-- files: a folder of N files (1,000,000) is made, listed and shuffled within --mb (200) megabytes
-- more than the process had, and removed again.
local common = require "spec.soak.common"
local tide = require "tide"
local o = common.arguments()
local D = tide.data.Dataset

-- A number of /proc/self/status: kilobytes, or a count.
local function status(name)
  local f <close> = assert(io.open "/proc/self/status")
  return tonumber(f:read("a"):match(name .. ":%s*(%d+)"))
end

local folder = common.folder()

-- ---- pipelines ----

local function write(name, lines)
  local f <close> = assert(io.open(folder .. "/" .. name, "w"))
  for i = 1, lines do
    f:write(i, ",", i / 4, ",\"text ", i, "\"\n")
  end
  return folder .. "/" .. name
end

local rows = write("rows.csv", 20000)
local records = folder .. "/records"
do
  local writer <close> = tide.data.TFRecordWriter(records)
  for i = 1, 20000 do
    writer:write(("record %d "):format(i):rep(i % 30 + 1))
  end
end
local x, y = tide.random.normal { 4000, 400 }, tide.arange(4000)
local texts = {}
for i = 1, 2000 do
  texts[i] = ("word%d "):format(i % 50):rep(i % 20 + 1)
end
local generator = tide.preprocessing.text.TextGenerator { maxlen = 12, word_dropout = 0.1 }
local pictures = tide.random.uniform({ 200, 32, 32, 3 }, { maxval = 255 })

local pipelines = {
  rows = D.from_tensor_slices(x, y):shuffle(4000, { seed = 1 }):batch(64):prefetch(2),
  elements = D.from_tensor_slices(x, y):shuffle(100):map(function(a, b)
    return a * 2, b
  end):batch(32),
  records = tide.data.TFRecordDataset(records):shuffle(1000):batch(100):prefetch(1),
  lines = tide.data.TextLineDataset(rows):batch(100),
  table = tide.data.make_csv_dataset(rows, 100, { num_epochs = 1 }),
  windows = tide.utils.timeseries_dataset_from_array(x, y, 12, { batch_size = 64, shuffle = true }),
  series = tide.preprocessing.sequence.SequenceGenerator { x, length = 12, shuffle = true },
  texts = generator:flow(texts, y[{ { 1, 2000 } }], { batch_size = 32 }),
  pictures = tide.preprocessing.image.ImageDataGenerator { rotation_range = 20 }
    :flow(pictures, { batch_size = 32 }),
  cached = D.range(5000):map(function(v)
    return tide.full({ 10 }, v)
  end):cache(folder .. "/cache"):batch(50),
}

local function descriptors()
  return #common.names "/proc/self/fd"
end

local names = {}
for name in pairs(pipelines) do
  names[#names + 1] = name
end
table.sort(names)
for _, name in ipairs(names) do
  local ds, base, n = pipelines[name], nil, 0
  local epochs = o.epochs or 10
  for epoch = 1, epochs do
    for _ in ds:iter() do
      n = n + 1
    end
    collectgarbage()
    collectgarbage()
    local now = { memory = status "VmRSS", threads = status "Threads", files = descriptors() }
    if epoch == epochs // 2 then
      base = now
    elseif epoch == epochs and base then
      common.check(now.memory <= base.memory + 4096, ("%s: %d kB behind %d passes, %d behind half")
        :format(name, now.memory, epochs, base.memory))
      common.check(now.threads <= base.threads, name .. ": threads are left behind")
      common.check(now.files <= base.files, name .. ": descriptors are left behind")
      print(("%-10s %6d elements, %7d kB behind half of the passes, %7d behind %d"):format(name, n,
        base.memory, now.memory, epochs))
    end
  end
  if ds.close then
    ds:close()
  end
end
pipelines, pictures, x, y, texts = nil, nil, nil, nil, nil -- luacheck: ignore 311
collectgarbage()

-- ---- a folder of very many files ----

local count, most = o.files or 1000000, o.mb or 200
assert(os.execute(("mkdir %s/many && cd %s/many && seq -f %%07.0f.txt 1 %d | xargs touch"):format(
  folder, folder, count)))
local before = status "VmRSS"
local reset <close> = io.open("/proc/self/clear_refs", "w") -- the peak begins anew
if reset then
  reset:write "5"
  reset:flush()
end
local ds = D.list_files(folder .. "/many/*.txt", { seed = 1 })
local n, first = 0, nil
for path in ds:iter() do
  n, first = n + 1, first or path
end
local peak = status "VmHWM" - before
common.check(n == count, ("%d files were found of %d"):format(n, count))
common.check(first ~= folder .. "/many/0000001.txt", "the files are not shuffled")
common.check(peak <= most * 1024, ("%d kB for a list of %d files (at most %d MB)"):format(peak, n,
  most))
print(("%d files listed and shuffled within %.0f MB"):format(n, peak / 1024))
os.execute("rm -r " .. folder)
common.finish()

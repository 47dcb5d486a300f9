-- From records in a file to batches for fit, by tide.data.Dataset: reading, taking apart, leaving
-- out what is damaged, shuffling, batches of one length. Then the place in the data is written
-- down, and another data set goes on from there with the very next batch.
--
--     build/tide examples/pipeline.lua [epochs] [records]      (ten seconds)
local tide = require "tide"
local layers, data = tide.layers, tide.data
local epochs, records = tonumber(arg[1]) or 6, tonumber(arg[2]) or 4000

tide.seed(1)

-- Records: a label and a walk of 5 to 20 steps; label 2 drifts upwards. One of them is damaged.
local path = "walks.tfrecord"
local writer = data.TFRecordWriter(path)
math.randomseed(7)
for _ = 1, records do
  local label, at, steps = math.random(2), 0.0, {}
  for i = 1, math.random(5, 20) do
    at = at + (math.random() - 0.5) + (label == 2 and 0.1 or 0)
    steps[i] = string.pack("<f", at)
  end
  writer:write(string.pack("<i4", label) .. table.concat(steps))
end
writer:close()
local file <close> = assert(io.open(path, "r+b"))
file:seek("set", 30)
file:write "\0\0\0\0"
file:close()

local function pipeline()
  local source = data.TFRecordDataset(path, { on_error = "skip" })
  local walks = source:map(function(record)
    local label = string.unpack("<i4", record)
    local walk = { string.unpack("<" .. ("f"):rep((#record - 4) // 4), record, 5) }
    walk[#walk] = nil -- where unpack ended
    return tide.tensor(walk):reshape { -1, 1 }, label
  end)
  local batches = walks:shuffle(1000, { seed = 2 }):bucket_by_sequence_length({
    function(walk) return #walk end, { 10, 15 }, { 64, 64, 64 }, drop_remainder = true })
  return batches, source
end

local batches, source = pipeline()
for x, y in batches:take(3):iter() do
  print(("batch of %d walks, %d steps, labels %s"):format(#x, x.shape[2], y.dtype))
end

local model = tide.Sequential {
  layers.Input { tide.none, 1 }, layers.GRU { 16 }, layers.Dense { 1, activation = "sigmoid" } }
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "binary_crossentropy",
  metrics = { "accuracy" } }
model:fit(batches:map(function(x, y) return x, (y - 1):reshape { -1, 1 }:cast "float32" end),
  { epochs = epochs, verbose = 2 })
print("left out: " .. source.bad_files[path])

-- The place in the data: five batches, then the rest of the pass by another data set.
local one, other = pipeline(), pipeline()
local first = one:iter()
for _ = 1, 5 do
  first()
end
one:save_position("place.safetensors")
other:load_position("place.safetensors")
local same, n = true, 0
local rest = other:iter()
for x in first do
  same = same and tide.ops.all(x:equal((rest())))
  n = n + 1
end
print(same and ("the same %d batches follow"):format(n) or "other batches follow")
batches:explain { elements = 20 }

-- Mutated JSON, safetensors, IDX and NumPy files, models, weights, indices of shards and
-- checkpoints in Tide's own format: each is read or refused by one error, never anything else.
-- lua5.4 spec/fuzz/readers.lua --seconds 10; TIDE_FUZZ_SEED repeats a run
local tide = require "tide"
local core = require "tide.core"
local edits = require "spec.support.json_edits"
local errors = require "tide.errors"
local json = require "tide.utils.json"

local seconds = tonumber(arg[1] == "--seconds" and arg[2] or os.getenv "TIDE_FUZZ_SECONDS") or 10
local seed = math.tointeger(tonumber(os.getenv "TIDE_FUZZ_SEED") or os.time())
math.randomseed(seed)
local memory = io.open("/dev/shm/tide.fuzz", "wb") -- writing to a disk takes longer than reading
if memory then
  memory:close()
  os.remove "/dev/shm/tide.fuzz"
end
local given = os.tmpname()
os.remove(given)
local path = memory and "/dev/shm/" .. given:match "[^/]*$" or given

local function write(s, to)
  local f = assert(io.open(to or path, "wb"))
  f:write(s)
  f:close()
end
local function read(from)
  local f = assert(io.open(from, "rb"))
  local s = f:read "a"
  f:close()
  return s
end

core.safetensors_write(path, { { "w", core.tensor { { 1, 2 }, { 3, 4 } } },
  { "b", core.tensor({ 1, 0 }, { dtype = "bool" }) }, { "e", core.zeros { 0, 2 } } },
    { note = "x" })
local made = read(path)
os.remove(path)
local by_hand =
  '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offs\z
  ets":[8,9]}}'

local function read_safetensors()
  local file <close>, entries = core.safetensors_open(path)
  for i = 1, #entries do
    core.safetensors_read(file, i)
  end
end
local function read_idx()
  core.idx_read(path)
end
local function read_json(s)
  core.json_encode(core.json_decode(s))
end

local words = { "0", "-1", "9999999999999999999", "18446744073709551615", "4611686018427387904",
  "1e400", "\"", "[", "]", "{", "}", ",",
  "\0", "\xff", "F64", "BOOL", "F4", "null", "__metadata__" }

local function mutate(s)
  for _ = 1, math.random(1, 4) do
    local kind, at = math.random(6), math.random(#s + 1)
    if kind == 1 then
      s = s:sub(1, at - 1) .. string.char(math.random(0, 255)) .. s:sub(at + 1)
    elseif kind == 2 then
      s = s:sub(1, at - 1)
    elseif kind == 3 then
      s = s:sub(1, at - 1) .. words[math.random(#words)] .. s:sub(at)
    elseif kind == 4 then
      s = s:sub(1, at - 1) .. s:sub(at + math.random(0, 8))
    elseif kind == 5 then
      local from = math.random(#s + 1)
      s = s:sub(1, at - 1) .. s:sub(from, from + math.random(0, 16)) .. s:sub(at)
    elseif #s >= at and s:sub(at, at):match "%d" then
      s = s:sub(1, at - 1) .. math.random(0, 9) .. s:sub(at + 1)
    end
    if #s == 0 then
      s = " "
    end
  end
  return s
end

-- A file of Tide's own with another description, or another text of the whole header.
local function described(bytes)
  local n = ("<I8"):unpack(bytes)
  local text = bytes:sub(9, 8 + n)
  if math.random(3) == 1 then
    text = mutate((text:gsub(',"crc32[^"]*":"%x*"', "")))
  else
    local header = json.decode(text)
    local meta = header.__metadata__
    header.__metadata__ = { tide = edits.random(meta.tide) } -- without the checksums
    text = json.encode(header)
  end
  return ("<I8"):pack(#text) .. text .. bytes:sub(9 + n)
end

local function small()
  return tide.Sequential { tide.layers.Dense { 3, input_shape = { 4 }, activation = "relu" },
    tide.layers.BatchNormalization {}, tide.layers.Dropout { 0.5, seed = 1 },
    tide.layers.Dense { 2 } }
end
local x, y = tide.ones { 8, 4 }, tide.ones { 8, 2 }
local function trained()
  local model = small()
  model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
  model:fit(x, y, { verbose = 0, batch_size = 4, shuffle = false })
  return model
end
local model = trained()
local st, shards = path .. ".safetensors",
  path .. ".weights.json"
model:save(st)
local whole_model = read(st)
model:save_weights(shards)
local index = read(shards)
local part = path .. "_00000.weights.h5"
local backup = path .. ".backup"
local function fit(epochs)
  local m = small()
  m:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
  m:fit(x, y, { verbose = 0, batch_size = 4, shuffle = false, epochs = epochs,
    callbacks = { tide.callbacks.BackupAndRestore { backup, delete_checkpoint = false } } })
end
fit(1)
local checkpoint = read(backup .. "/latest.safetensors")

local function load_model(s)
  write(s, st)
  tide.load_model(st)
end
local function load_weights(s)
  write(s, st)
  model:load_weights(st)
end
local function load_index(s)
  write(s, shards)
  model:load_weights(shards)
end
local function resume(s)
  write(s, backup .. "/latest.safetensors")
  fit(2)
end
local function load_npy(s)
  write(s, path .. ".npy")
  pcall(tide.load, path .. ".npy", { mmap = true })
  tide.load(path .. ".npy")
end
local function load_npz(s)
  write(s, path .. ".npz")
  tide.load(path .. ".npz")
end

-- What stands in the files of data sets, and tables.
local numpy = require "tide.datasets.numpy"
local function unpickle(s)
  numpy.unpickle(s, path, "fuzz")
end
local function load_table(ending)
  return function(s)
    write(s, path .. ending)
    tide.data.table(path .. ending)
  end
end

-- Sounds: what the header says, a part, all.
local function load_sound(s)
  write(s, path .. ".wav")
  pcall(tide.audio.info, path .. ".wav")
  pcall(tide.audio.load, path .. ".wav", { offset = 0.0005, duration = 0.001, dtype = "int32" })
  tide.audio.load(path .. ".wav", math.random(4) == 1 and { sample_rate = 4000 } or {})
end

local corpus = {
  { made, read_safetensors },
  { string.pack("<I8", #by_hand) .. by_hand .. ("\1"):rep(9), read_safetensors },
  { string.pack(">BBBBI4I4", 0, 0, 8, 2, 2, 3) .. "abcdef", read_idx },
  { string.pack(">BBBBI4", 0, 0, 11, 1, 3) .. "abcdef", read_idx },
  { '{"a":[1,2.5e3,null,true,"\\u00e9\\n"],"b":{"c":{}},"d":-0}', read_json },
  { whole_model, load_model, true }, { whole_model, load_weights, true },
  { index, function(s) load_index(math.random(2) == 1 and edits.random(index) or s) end },
  { checkpoint, resume, true },
}
corpus[#corpus + 1] = { read "spec/ref/datasets/cifar-100-python/test", unpickle }
corpus[#corpus + 1] = { "\x80\2cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\z
  \x87R(K\1K\2\x85cnumpy\ndtype\nU\2O8K\0K\1\x87R(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff\z
  K?tb\x89](](K\1M\0\1e](K\3eetb.", unpickle }
corpus[#corpus + 1] = { "a,b,c\n1,x,2.5\n2,\"y,\"\"z\",\n,NA,1e9\n", load_table ".csv" }
corpus[#corpus + 1] = { "\xff\xfea\0,\0b\0\n\0\x31\0,\0=\xd8\0\xde\n\0", load_table ".csv" }
corpus[#corpus + 1] = { '{"a": 1, "b": "x"}\n{"a": 2.5, "b": null}\n', load_table ".jsonl" }
for _, name in ipairs { "empty", "fortran_big", "half", "int16", "scalar", "uint32", "kinds/U3",
  "kinds/big_U3_fortran", "kinds/S4", "kinds/u8", "kinds/big_i8" } do
  corpus[#corpus + 1] = { read("spec/fixtures/numpy/" .. name .. ".npy"), load_npy }
end
corpus[#corpus + 1] = { read "spec/fixtures/numpy/list.npz", load_npz }
corpus[#corpus + 1] = { read "spec/fixtures/numpy/names.npz", load_npz }
local wave = tide.ops.sin(tide.ops.arange(24)):reshape { 12, 2 }
for _, encoding in ipairs { "pcm_u8", "pcm_16", "pcm_24", "pcm_32", "float_32", "float_64",
  "a_law", "mu_law" } do
  local bytes = tide.audio.encode(wave, 8000, { format = "wav", encoding = encoding })
  corpus[#corpus + 1] = { bytes, load_sound }
end
local warn = io.stderr
rawset(io, "stderr", { write = function() end }) -- what loading says is of no interest here

local calls, accepted, slowest, stop = 0, 0, 0, os.time() + seconds
while os.time() < stop do
  local entry = corpus[math.random(#corpus)]
  local s = (entry[3] and math.random(8) > 1 and described or mutate)(entry[1])
  write(s)
  local begun = os.clock()
  local ok, e = pcall(entry[2], s)
  slowest = math.max(slowest, os.clock() - begun)
  calls = calls + 1
  if ok then
    accepted = accepted + 1
  else
    if not errors.is(e) or #e.message == 0 then
      write(s, os.getenv "TIDE_FUZZ_LAST" or "readers.last")
      warn:write("not an error of Tide's own: ", tostring(e), "\n")
      os.exit(1)
    end
  end
  if calls % 500 == 0 then
    collectgarbage()
  end
end
os.remove(path)
for _, file in ipairs { st, shards, part, path .. ".npy", path .. ".npz", path .. ".csv",
  path .. ".jsonl", path .. ".wav",
  backup .. "/latest.safetensors", backup } do
  os.remove(file)
end
print(("readers: %d inputs, %d accepted, slowest %.2f s, peak %d MiB, seed %d"):format(calls,
  accepted, slowest, read "/proc/self/status":match "VmHWM:%s*(%d+)" // 1024, seed))

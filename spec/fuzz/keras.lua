-- Damages .keras and .h5 files and loads them: whatever happens must be a model or one error. `make
-- fuzz` runs it under the sanitizers; a crash of tide-hdf5 is an error like others here (libhdf5
-- has known defects: that is why it runs apart), and is counted. Prints how many inputs were tried;
-- the input that breaks Tide itself is left in build/fuzz/keras.last.
local seconds = tonumber(os.getenv "TIDE_FUZZ_SECONDS") or 10
for i = 1, #arg do
  if arg[i] == "--seconds" then
    seconds = tonumber(arg[i + 1]) or seconds
  end
end

local core = require "tide.core"
local edits = require "spec.support.json_edits"
local keras = require "tide.saving.keras"

local seed = tonumber(os.getenv "TIDE_FUZZ_SEED") or os.time()
math.randomseed(seed)
print("seed " .. seed)

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local folder = "spec/fixtures/keras/"
local names = { "cnn.keras", "min_sequential.keras", "min_functional.keras", "min_compiled.keras",
  "min_keras2_entries.keras", "zoo_graph.keras", "zoo_1d.keras", "cnn.h5", "min_legacy_model.h5",
    "zoo_graph.h5", "opt_adam.keras", "fn.keras" }
local corpus, archives = {}, {}
for _, name in ipairs(names) do
  corpus[#corpus + 1] = read(folder .. name)
  if name:find "%.keras$" then
    local z = core.zip_open(folder .. name)
    archives[#archives + 1] = {
      config = core.zip_read(z, "config.json"), weights = core.zip_read(z, "model.weights.h5") }
  end
end

local interesting = { "\0", "\255", "\127", "\128", "\0\0\0\0", "\255\255\255\255",
  "\255\255\255\255\255\255\255\127", "PK" }

-- Damages bytes in one to four places.
local function damage(s)
  for _ = 1, math.random(4) do
    local n = #s
    if n == 0 then
      return "x"
    end
    local at, kind = math.random(n), math.random(6)
    if kind == 1 then
      s = s:sub(1, at - 1) .. string.char(math.random(0, 255)) .. s:sub(at + 1)
    elseif kind == 2 then
      local piece = interesting[math.random(#interesting)]
      s = s:sub(1, at - 1) .. piece .. s:sub(at + #piece)
    elseif kind == 3 and math.random(8) == 1 then
      s = s:sub(1, at)
    elseif kind == 4 then
      local len = math.random(16)
      s = s:sub(1, at - 1) .. s:sub(at + len)
    elseif kind == 5 then
      local from = math.random(n)
      s = s:sub(1, at - 1) .. s:sub(from, from + math.random(64)) .. s:sub(at)
    else
      local byte = s:byte(at)
      s = s:sub(1, at - 1) .. string.char(byte ~ (1 << math.random(0, 7))) .. s:sub(at + 1)
    end
  end
  return s
end

os.execute "mkdir -p build/fuzz"
local path = os.getenv "TIDE_FUZZ_LAST" or "build/fuzz/keras.last"

local function now()
  local f = io.open "/proc/uptime"
  local t = f:read "n"
  f:close()
  return t
end

-- Warnings of the loader are not of interest here.
local stderr = io.stderr
rawset(io, "stderr", { write = function() end })

local tried, loaded, refused, crashed, slowest = 0, 0, 0, 0, 0
local stop = now() + seconds
while now() < stop do
  if math.random(2) == 1 then
    write(path, damage(corpus[math.random(#corpus)]))
  else
    local a = archives[math.random(#archives)]
    local config = math.random(3) > 1 and edits.random(a.config) or damage(a.config)
    core.zip_write(path, { { "config.json", config },
      { "model.weights.h5", math.random(4) == 1 and damage(a.weights) or a.weights } })
  end
  local trace
  local begun = now()
  local ok, e = xpcall(keras.load_model, function(m)
    trace = debug.traceback()
    return m
  end, path)
  tried = tried + 1
  slowest = math.max(slowest, now() - begun)
  if ok then
    loaded = loaded + 1
  else
    refused = refused + 1
    local text = tostring(e)
    crashed = crashed + (text:find("program crashed", 1, true) and 1 or 0)
    -- tide-hdf5's own code is instrumented too
    if text:find("Sanitizer", 1, true) or text:find("runtime error:", 1, true) then
      crashed = crashed + 1
      if text:find("src/hdf5/", 1, true) then
        stderr:write("in tide-hdf5: ", text, "\nthe file is ", path, "\n")
        os.exit(1)
      end
    end
    if type(e) == "string" or text:find "stack overflow" then -- a mistake of Lua, not a message
      stderr:write("not a message for a person: ", text, "\nthe file is ", path, "\n", trace, "\n")
      os.exit(1)
    end
  end
end
local peak = read("/proc/self/status"):match "VmHWM:%s*(%d+)"
os.remove(path)
print(
  (
  "%d inputs: %d loaded, %d refused (%d of them crashed tide-hdf5), slowest %.1f s, \z
  peak %d MiB"):format(
  tried, loaded, refused, crashed, slowest, peak // 1024))
assert(tonumber(peak) < 2 * 1024 * 1024, "more than 2 GiB of memory were used")

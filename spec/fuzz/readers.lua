-- Mutated JSON, safetensors and IDX files: each is read or refused by one error, never anything
-- else. lua5.4 spec/fuzz/readers.lua --seconds 10; TIDE_FUZZ_SEED repeats a run
local core = require "tide.core"
local errors = require "tide.errors"

local seconds = tonumber(arg[1] == "--seconds" and arg[2] or os.getenv "TIDE_FUZZ_SECONDS") or 10
local seed = math.tointeger(tonumber(os.getenv "TIDE_FUZZ_SEED") or os.time())
math.randomseed(seed)
local path = os.tmpname()

local function write(s, to)
  local f = assert(io.open(to or path, "wb"))
  f:write(s)
  f:close()
end

core.safetensors_write(path, { { "w", core.tensor { { 1, 2 }, { 3, 4 } } },
  { "b", core.tensor({ 1, 0 }, { dtype = "bool" }) }, { "e", core.zeros { 0, 2 } } },
    { note = "x" })
local f = assert(io.open(path, "rb"))
local made = f:read "a"
f:close()
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

local corpus = {
  { made, read_safetensors },
  { string.pack("<I8", #by_hand) .. by_hand .. ("\1"):rep(9), read_safetensors },
  { string.pack(">BBBBI4I4", 0, 0, 8, 2, 2, 3) .. "abcdef", read_idx },
  { string.pack(">BBBBI4", 0, 0, 11, 1, 3) .. "abcdef", read_idx },
  { '{"a":[1,2.5e3,null,true,"\\u00e9\\n"],"b":{"c":{}},"d":-0}', read_json },
}
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

local calls, accepted, stop = 0, 0, os.time() + seconds
while os.time() < stop do
  local entry = corpus[math.random(#corpus)]
  local s = mutate(entry[1])
  write(s)
  local ok, e = pcall(entry[2], s)
  calls = calls + 1
  if ok then
    accepted = accepted + 1
  else
    if not errors.is(e) or #e.message == 0 then
      write(s, os.getenv "TIDE_FUZZ_LAST" or "readers.last")
      error("not an error of Tide's own: " .. tostring(e), 0)
    end
  end
  if calls % 500 == 0 then
    collectgarbage()
  end
end
os.remove(path)
print(("readers: %d inputs, %d accepted, seed %d"):format(calls, accepted, seed))

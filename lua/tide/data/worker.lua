-- The program of a worker process of Dataset:map: reads messages (a length of 8 bytes, then so many
-- bytes) and answers each. The first says where modules are, the second is the function, each
-- further one a seed and an element. An answer is "y" and the parts of an element, or "n" and what
-- went wrong. It ends when its input does.
if ... then
  return {} -- it was required: a program runs without arguments
end
local input, output = io.stdin, io.stdout

local function receive()
  local head = input:read(8)
  if not head or #head < 8 then
    os.exit(true)
  end
  local n = string.unpack("<i8", head)
  return n == 0 and "" or input:read(n)
end

local function answer(text)
  output:write(string.pack("<i8", #text), text)
  output:flush()
end

output:setvbuf("full", 1 << 16)
io.output(io.stderr) -- what the function prints is no answer
function print(...) -- luacheck: ignore
  local out = table.pack(...)
  for i = 1, out.n do
    out[i] = tostring(out[i])
  end
  io.write(table.concat(out, "\t"), "\n")
end

package.path, package.cpath = string.unpack("<s8s8", receive())
local tide = require "tide"
local encode = require "tide.data.encode"
local send = require "tide.data.send"
tide.set_threads(1)
setmetatable(_G, { __index = function(_, name)
  error(("the global '%s' is not there in worker processes; make it a local"):format(
    tostring(name)), 2)
end })

local ok, f = pcall(send.unpack, receive())
answer(ok and "y" or "n" .. tostring(f))

local function told(e)
  return tostring(e)
end

local function parts(first, ...)
  if first == nil then
    error("the function gave nothing (expected the parts of an element)", 0)
  end
  return encode.element(first, ...)
end

while true do
  local task = receive()
  tide.seed((string.unpack("<i8", task)))
  local done, text = xpcall(function()
    return parts(f(encode.parts(task:sub(9), "map")))
  end, told)
  answer((done and "y" or "n") .. text)
end

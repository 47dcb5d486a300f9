--- What several specs ask for: numbers within a stated tolerance, the message of a call that must
--- fail, and small helpers.
-- Each raises where what it expects is not so.
local differences = require "spec.support.differences"

local expect = {}

local function plain(v)
  if type(v) == "userdata" then
    return v.ndim == 0 and v:item() or v:tolist()
  end
  return v
end

--- Passes where |got - want| <= atol + rtol |want| (1e-6 and 1e-5 where none are given) for every
--- number of nested tables, tensors or numbers with the same keys; NaN equals NaN alone. One number
--- stands for a list of one.
function expect.close(got, want, atol, rtol, at)
  got, want, at = plain(got), plain(want), at or ""
  if type(want) == "table" and type(got) == "number" and #want == 1 then
    want = want[1]
  end
  if type(want) == "table" then
    if type(got) ~= "table" or #got ~= #want then
      error(("%s: expected %d entries, got %s"):format(at, #want,
        type(got) == "table" and #got or tostring(got)), 0)
    end
    for k in pairs(got) do
      assert(want[k] ~= nil, ("%s: unexpected entry '%s'"):format(at, k))
    end
    for k, v in pairs(want) do
      expect.close(got[k], v, atol, rtol, ("%s[%s]"):format(at, k))
    end
    return
  end
  if type(got) ~= "number" or type(want) ~= "number" then
    if got ~= want then
      error(("%s: expected %s, got %s"):format(at, want, got), 0)
    end
    return
  end
  local both_nan = got ~= got and want ~= want
  local fits = both_nan or got == want
    or math.abs(got - want) <= (atol or 1e-6) + (rtol or 1e-5) * math.abs(want)
  if not fits then
    error(("%s: expected %.9g, got %.9g"):format(at, want, got), 0)
  end
  if differences.on then
    differences.note(got, want, rtol or 1e-5, atol or 1e-6, at)
  end
end

--- As `close`, of a tensor (or a number) and the flat list of what a peer has in its places.
function expect.elements(what, got, want, rtol, atol)
  local flat = type(got) == "number" and { got } or got:ravel():tolist()
  assert(#flat == #want, ("%s has %d elements, the peer %d"):format(what, #flat, #want))
  for i, w in ipairs(want) do
    expect.close(flat[i] + 0.0, w + 0.0, atol, rtol, ("%s[%d]"):format(what, i))
  end
end

--- The message of a call that must fail.
function expect.message(f, ...)
  local ok, e = pcall(f, ...)
  if ok then
    error("the call did not fail", 2)
  end
  return tostring(e)
end

--- Passes where `text` holds `part`, to the letter.
function expect.has(text, part)
  if not text:find(part, 1, true) then
    error(("expected '%s' in: %s"):format(part, text), 2)
  end
end

--- Passes where the call fails with a message that holds `part`.
function expect.raises(part, f, ...)
  expect.has(expect.message(f, ...), part)
end

--- A tensor of numbers spread over [-1, 1], the same at every run; `seed` chooses among several.
function expect.numbers(shape, seed, dtype)
  local core = require "tide.core"
  local n, out = 1, {}
  for _, d in ipairs(shape) do
    n = n * d
  end
  for i = 1, n do
    out[i] = ((i + 5.1 * seed) * 0.6180339887498949 % 1) * 2 - 1
  end
  return core.ops.reshape(core.tensor(out, { dtype = dtype or "float32" }), shape)
end

--- The bytes of a file.
function expect.read(path)
  local f <close> = assert(io.open(path, "rb"))
  return f:read "a"
end

--- Makes a file of these bytes; returns its path.
function expect.write(path, bytes)
  local f <close> = assert(io.open(path, "wb"))
  f:write(bytes)
  return path
end

local here = io.popen("pwd"):read "l"

--- The tide program under test, wherever it is called.
expect.program = os.getenv "TIDE_INSTALLED" == "1" and "tide"
  or ("%s/%s/tide"):format(here, os.getenv "TIDE_BUILD" or "build")

--- A word of the shell that means this text.
function expect.quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The tide program as a word of the shell.
expect.command = expect.quoted(expect.program)

--- Lua that finds the Tide under test, for the shell.
expect.lua = os.getenv "TIDE_INSTALLED" == "1" and "lua5.4"
  or ("LUA_PATH=%s LUA_CPATH=%s lua5.4"):format(
    expect.quoted(("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(here, here)),
    expect.quoted(("%s/%s/lib/?.so;;"):format(here, os.getenv "TIDE_BUILD" or "build")))

--- A new name in the folder of temporary files, with nothing there.
function expect.name(extension)
  local name = os.tmpname()
  os.remove(name)
  return name .. (extension or "")
end

--- Makes a new empty folder; returns its path.
function expect.folder()
  local name = expect.name()
  assert(os.execute("mkdir " .. name))
  return name
end

return expect

--- Elements as texts: what cache, snapshot and save keep in files of records.
---
--- A file is one of TFRecord's, so that every element has a checksum. Its first record names the
--- format and the dtypes of numbers; each further one is an element: the number of its parts, then
--- values, each a letter and what it stands for, all little-endian.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local events = require "tide.utils.events"
local list = require "tide.list"

local encode = {}

local MAGIC = "tide.data.elements 1\n"

-- ---- values ----

local DEEPEST = 200 -- tables within tables

local function put(out, v, depth)
  local t = math.type(v) or type(v)
  if t == "integer" then
    out[#out + 1] = string.pack("<c1i8", "i", v)
  elseif t == "float" then
    out[#out + 1] = string.pack("<c1d", "d", v)
  elseif t == "boolean" then
    out[#out + 1] = v and "y" or "n"
  elseif t == "string" then
    out[#out + 1] = string.pack("<c1s8", "s", v)
  elseif t == "userdata" then
    out[#out + 1] = string.pack("<c1s1B", "t", v.dtype, v.ndim)
    for _, n in ipairs(v.shape) do
      out[#out + 1] = string.pack("<i8", n)
    end
    out[#out + 1] = string.pack("<s8", v:tobytes())
  elseif t == "table" and (getmetatable(v) == nil or list.is(v)) then
    if depth > DEEPEST then
      errors.raise(nil, "an element has more than %d tables within each other", DEEPEST)
    end
    local keys = check.sorted_keys(v)
    out[#out + 1] = string.pack("<c1I4", "m", #keys)
    for _, k in ipairs(keys) do
      put(out, k, depth + 1)
      put(out, v[k], depth + 1)
    end
  else
    errors.raise(nil, "an element with %s in it cannot be kept in a file", check.show(v))
  end
end

local get

local readers = {
  i = function(text, at)
    return string.unpack("<i8", text, at)
  end,
  d = function(text, at)
    return string.unpack("<d", text, at)
  end,
  y = function(_, at)
    return true, at
  end,
  n = function(_, at)
    return false, at
  end,
  s = function(text, at)
    return string.unpack("<s8", text, at)
  end,
  t = function(text, at)
    local dtype, rank
    dtype, rank, at = string.unpack("<s1B", text, at)
    local shape = {}
    for a = 1, rank do
      shape[a], at = string.unpack("<i8", text, at)
    end
    local bytes
    bytes, at = string.unpack("<s8", text, at)
    return core.from_bytes(dtype, shape, bytes), at
  end,
  m = function(text, at, depth)
    local n
    n, at = string.unpack("<I4", text, at)
    local out = {}
    for _ = 1, n do
      local k, v
      k, at = get(text, at, depth + 1)
      v, at = get(text, at, depth + 1)
      out[k] = v
    end
    return out, at
  end,
}

function get(text, at, depth)
  local read = readers[text:sub(at, at)]
  if not read or depth > DEEPEST + 1 then
    error("no value", 0)
  end
  return read(text, at + 1, depth)
end

--- The parts of an element as a text.
function encode.element(...)
  local n = select("#", ...)
  local out = { string.pack("<I2", n) }
  for k = 1, n do
    put(out, (select(k, ...)), 1)
  end
  return table.concat(out)
end

local function parts_of(text)
  local n, at = string.unpack("<I2", text)
  local out = {}
  for k = 1, n do
    out[k], at = get(text, at, 1)
  end
  assert(at == #text + 1 and n > 0, "bytes are left")
  return out, n
end

--- The parts of the element that a text is.
--- @param path string names the file in errors
function encode.parts(text, path)
  local ok, out, n = pcall(parts_of, text)
  if not ok then
    errors.raise(nil, "%s: an element is damaged (%s)", path, tostring(out))
  end
  return table.unpack(out, 1, n)
end

-- ---- files ----

local Writer = {}
Writer.__index = Writer

--- Writes a file of elements, which is there when `finish` was called.
--- @param packed integer 0, 1: gzip, 2: zlib
function encode.writer(path, packed)
  return setmetatable({ stream = core.stream_open(path, packed or 0), waiting = {}, bytes = 0 },
    Writer)
end

local function flush(self)
  core.stream_write(self.stream, table.concat(self.waiting))
  self.waiting, self.bytes = {}, 0
end

local function add(self, text)
  self.waiting[#self.waiting + 1] = events.record(text)
  self.bytes = self.bytes + #text
  if self.bytes > 1 << 20 then
    flush(self)
  end
end

--- Adds an element. Before the first, `dtypes`: those of numbers by part.
function Writer:add(dtypes, ...)
  if not self.begun then
    self.begun = true
    add(self, MAGIC .. encode.element(dtypes))
  end
  add(self, encode.element(...))
end

function Writer:finish()
  if not self.begun then
    add(self, MAGIC .. encode.element {})
  end
  flush(self)
  core.stream_commit(self.stream)
  self.stream = nil
end

local Reader = {}
Reader.__index = Reader

--- Reads a file of elements: `next()` gives parts, nil at the end; `dtypes`.
--- @param where string names what reads, in errors
function encode.reader(path, where, packed)
  local self = setmetatable({ path = path, where = where, at = 0, count = 0,
    records = core.records_open(where, path, { format = 0, packed = packed or 0 }) }, Reader)
  local head, n, _, why = core.records_read(self.records, where, 1, false)
  if why ~= "" then
    errors.raise(where, "%s: %s", path, why)
  elseif n == 0 or head[1]:sub(1, #MAGIC) ~= MAGIC then
    errors.raise(where, "%s is no file of elements; Dataset.save writes them", path)
  end
  self.dtypes = encode.parts(head[1]:sub(#MAGIC + 1), path)
  return self
end

-- Whether there is an element behind those handed out.
local function more(self)
  if self.at >= self.count and not self.failed then
    local values, count, _, why = core.records_read(self.records, self.where, 256, false)
    self.values, self.count = values, count
    self.at, self.failed = 0, why ~= "" and why or nil
  end
  if self.at >= self.count and self.failed then
    local why = self.failed
    self.failed = nil
    errors.raise(self.where, "%s: %s", self.path, why)
  end
  return self.at < self.count
end

function Reader:next()
  if not more(self) then
    return nil
  end
  self.at = self.at + 1
  return encode.parts(self.values[self.at], self.path)
end

--- Passes over n elements.
function Reader:skip(n)
  while n > 0 and more(self) do
    local step = math.min(n, self.count - self.at)
    self.at, n = self.at + step, n - step
  end
end

return encode

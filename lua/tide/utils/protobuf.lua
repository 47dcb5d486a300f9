--- The bytes of protobuf's fields, for the messages that others read, and the fields in bytes.
local protobuf = {}

local function varint(n)
  local out = {}
  repeat
    local low = n & 0x7f
    n = n >> 7
    out[#out + 1] = string.char(n ~= 0 and low | 0x80 or low)
  until n == 0
  return table.concat(out)
end

--- A field that is an integer (or a boolean or an enum, as one).
function protobuf.integer(field, v)
  return varint(field << 3) .. varint(v)
end

--- A field that is a double.
function protobuf.double(field, v)
  return varint(field << 3 | 1) .. string.pack("<d", v)
end

--- A field that is a string, bytes or a message.
function protobuf.bytes(field, s)
  return varint(field << 3 | 2) .. varint(#s) .. s
end

-- ---- reading ----

--- The varint at `at`, and the place behind it; nil where there is none before `last` ends.
function protobuf.varint(text, at, last)
  local v, shift = 0, 0
  for i = at, math.min(at + 9, last) do
    local byte = text:byte(i)
    v = v | (byte & 0x7f) << shift
    if byte < 0x80 then
      return v, i + 1
    end
    shift = shift + 7
  end
end

--- Walks over the fields in text[first..last]: number, kind (0 varint, 1 eight bytes, 2 text, 5
--- four bytes), and the value of a varint or the first and last byte of what it is. Raises a string
--- where the bytes are no fields.
function protobuf.fields(text, first, last)
  local at = first
  return function()
    if at > last then
      return nil
    end
    local tag, from = protobuf.varint(text, at, last)
    local kind, size = tag and tag & 7, nil
    if kind == 0 then
      local v, behind = protobuf.varint(text, from, last)
      at = behind or error("a number is cut off", 0)
      return tag >> 3, kind, v
    elseif kind == 2 then
      size, from = protobuf.varint(text, from, last)
    end
    size = kind == 1 and 8 or kind == 5 and 4 or kind == 2 and size or -1
    if size < 0 or size > last - from + 1 then
      error(kind == 2 and "a field is longer than what holds it" or "a field of no known kind", 0)
    end
    at = from + size
    return tag >> 3, kind, from, at - 1
  end
end

return protobuf

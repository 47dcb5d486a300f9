--- The bytes of protobuf's fields, for the messages that others read.
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

return protobuf

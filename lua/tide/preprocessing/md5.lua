--- MD5 (RFC 1321): a hash that is the same everywhere, for words; not for keeping secrets.
local K, S = {}, { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } }
for i = 1, 64 do
  K[i] = math.floor(math.abs(math.sin(i)) * 2 ^ 32)
end

local function left(x, n)
  return (x << n | x >> (32 - n)) & 0xffffffff
end

--- The four 32-bit words of the hash, in its order of bytes little-endian each.
--- @param s string
--- @return integer, integer, integer, integer
return function(s)
  local a0, b0, c0, d0 = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476
  local text = s .. "\x80" .. ("\0"):rep((55 - #s) % 64) .. ("<I8"):pack(#s * 8)
  for at = 1, #text, 64 do
    local m = { ("<" .. ("I4"):rep(16)):unpack(text, at) }
    local a, b, c, d = a0, b0, c0, d0
    for i = 0, 63 do
      local round = i // 16 + 1
      local f, g
      if round == 1 then
        f, g = b & c | ~b & d, i
      elseif round == 2 then
        f, g = d & b | ~d & c, (5 * i + 1) % 16
      elseif round == 3 then
        f, g = b ~ c ~ d, (3 * i + 5) % 16
      else
        f, g = c ~ (b | ~d & 0xffffffff), 7 * i % 16
      end
      f = (f + a + K[i + 1] + m[g + 1]) & 0xffffffff
      a, d, c = d, c, b
      b = (b + left(f, S[round][i % 4 + 1])) & 0xffffffff
    end
    a0, b0 = (a0 + a) & 0xffffffff, (b0 + b) & 0xffffffff
    c0, d0 = (c0 + c) & 0xffffffff, (d0 + d) & 0xffffffff
  end
  return a0, b0, c0, d0
end

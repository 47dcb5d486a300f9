--- Random numbers of the data sets that Tide makes: the same on every machine for a seed, whatever
--- else draws.
local numpy = require "tide.datasets.numpy"
local stage = require "tide.data.stage"

local Draws = {}
Draws.__index = Draws

--- @param seed integer|nil another one in every run where it is left out
local function new(seed)
  return setmetatable({ next = numpy.twister(seed or stage.new_seed("datasets")) }, Draws)
end

--- A number in [low, high).
function Draws:uniform(low, high)
  local v = (self.next() >> 5) * 67108864.0 + (self.next() >> 6) -- 53 bits
  return (low or 0) + v / 9007199254740992.0 * ((high or 1) - (low or 0))
end

--- A whole number from 1 to n.
function Draws:below(n)
  local most = 0x100000000 // n * n
  local v
  repeat
    v = self.next()
  until v < most
  return v % n + 1
end

function Draws:pick(list)
  return list[self:below(#list)]
end

--- A normal number (Box and Muller 1958).
function Draws:normal(mean, deviation)
  local u, v = 1 - self:uniform(), self:uniform()
  return (mean or 0) + (deviation or 1) * math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
end

--- The numbers 1..n in any order.
function Draws:order(n)
  local out = {}
  for i = 1, n do
    out[i] = i
  end
  for i = n, 2, -1 do
    local j = self:below(i)
    out[i], out[j] = out[j], out[i]
  end
  return out
end

return new

-- map with functions that draw: random layers, SeedGenerators, and the global generator stand where
-- they stood when a pass goes on in another process.
local tide = require "tide"

local D, L = tide.data.Dataset, tide.layers

local function rest(ds)
  local out = {}
  for x in ds:iter() do
    out[#out + 1] = x:tolist()
  end
  return out
end

local pictures = tide.arange(12 * 4 * 4):reshape { 12, 4, 4, 1 }

local functions = {
  ["a random layer"] = function()
    local flip = L.RandomFlip { seed = 1 }
    return function(x)
      return flip(x, { training = true })
    end
  end,
  ["layers within others, in tables and functions"] = function()
    local held = { L.Pipeline { { L.RandomFlip { seed = 1 },
      L.RandomBrightness { 0.5, seed = 2 } } } }
    local function inner(x)
      return held[1](x, { training = true })
    end
    return function(x)
      return inner(x)
    end
  end,
  ["a SeedGenerator"] = function()
    local seeds = tide.random.SeedGenerator(5)
    return function(x)
      return x + tide.random.uniform({ 1 }, { seed = seeds })
    end
  end,
  ["the global generator"] = function()
    return function(x)
      return x + tide.random.uniform { 1 }
    end
  end,
}

describe("map with a function that draws", function()
  for name, make in pairs(functions) do
    it("goes on with the numbers that were next: " .. name, function()
      local function new()
        return D.from_tensor_slices(pictures):map(make()):batch(2)
      end
      for n = 0, 5 do
        tide.seed(3)
        local ds = new()
        for _ = 1, n do
          ds:next()
        end
        local state = ds:state()
        local want = {}
        for _ = n + 1, 6 do
          want[#want + 1] = ds:next():tolist()
        end
        tide.seed(n > 0 and 99 or 3) -- before the first element nobody knows that it will draw
        local other = new()
        other:restore(state)
        assert.same(want, rest(other))
      end
    end)
  end
end)

--- The seeds that a model's layers have drawn, which tell where its random numbers are.
local S = require "tide.private"
local class = require "tide.class"
local random = require "tide.random"

local seeds = {}

-- The seed generators of a model's layers in order, those in fields of a person's own among them:
-- how many seeds each has given is a part of where training stands.
local function generators(model)
  local out = {}
  for _, layer in ipairs(model:_flat()) do
    out[#out + 1] = layer[S].generator or nil
    local own
    for k, v in next, layer do
      if type(v) == "table" and type(k) == "string" and class.is(v, random.SeedGenerator) then
        own = own or {}
        own[#own + 1] = k
      end
    end
    if own then
      table.sort(own)
    end
    for _, k in ipairs(own or {}) do
      out[#out + 1] = layer[k]
    end
  end
  return out
end

--- How many seeds each seed generator of the model's layers has given; nil where there are none.
function seeds.counts_of(model)
  local out = {}
  for i, g in ipairs(generators(model)) do
    out[i] = g.count
  end
  return #out > 0 and out or nil
end

--- Sets these numbers; those of another model are left alone.
function seeds.set_counts(model, counts)
  local list = generators(model)
  if type(counts) ~= "table" or #counts ~= #list then
    return
  end
  for i, g in ipairs(list) do
    g.count = math.type(counts[i]) == "integer" and counts[i] or g.count
  end
end

return seeds

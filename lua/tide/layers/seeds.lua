--- The seeds that a model's layers have drawn, which tell where its random numbers are.
local S = require "tide.private"
local check = require "tide.check"
local class = require "tide.class"
local random = require "tide.random"

local seeds = {}

local DEEPEST, MOST = 16, 1000 -- of what is looked through for a function's generators

local generators

local function reach(v, out, seen, depth)
  local t = type(v)
  if t ~= "function" and t ~= "table" or seen[v] or depth > DEEPEST then
    return
  end
  seen[v] = true
  if t == "function" then
    for i = 1, MOST do
      local name, x = debug.getupvalue(v, i)
      if not name then
        break
      elseif name ~= "_ENV" then
        reach(x, out, seen, depth + 1)
      end
    end
  elseif class.is(v, random.SeedGenerator) then
    out[#out + 1] = v
  elseif rawget(v, S) and type(v._flat) == "function" then
    table.move(generators(v), 1, #generators(v), #out + 1, out)
  elseif getmetatable(v) == nil then
    local keys = check.sorted_keys(v)
    for i = 1, math.min(MOST, #keys) do
      reach(v[keys[i]], out, seen, depth + 1)
    end
  end
end

--- The seed generators that a function draws from, as far as it holds them: its own, and those of
--- layers and models, in tables and in functions too. In order.
function seeds.reached_by(f)
  local out = {}
  reach(f, out, {}, 1)
  return out
end

-- The seed generators of a model's layers in order, those in fields of a person's own among them:
-- how many seeds each has given is a part of where training stands.
function generators(model)
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

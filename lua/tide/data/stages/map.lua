--- The stage map: a function of each element, in the main thread or in worker processes.
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local seeds = require "tide.layers.seeds"
local stage = require "tide.data.stage"
local transform = require "tide.data.stages.transform"

local counted, results = transform.counted, transform.results

local Map = transform.iterator "map"

function Map:begin()
  self.f, self.dtypes = self.o.map_func, {}
  -- what the lowest of maps that read one another reads, and the others below this one
  local below = self.input
  self.source, self.below = below, {}
  if class.is(below, Map) then
    self.source = below.source
    self.below = table.move(below.below, 1, #below.below, 1, {})
    table.insert(self.below, below)
  end
end

-- Counts an image; numbers and texts are what they are.
local function image(self, first, ...)
  local t = select("#", ...) == 0 and type(first)
  if t == "number" or t == "string" then
    self.n = self.n + 1
    return first
  end
  return counted(self, results(self, first, ...))
end

-- Notes whether the first call drew from the global generator.
local function noted(self, seed, stream, offset, ...)
  local a, b, c = core.generator()
  self.draws = a ~= seed or b ~= stream or c ~= offset
  return ...
end

-- Between reading an element and giving its image the count says which it is.
local function mapped(self, first, ...)
  if first == nil then
    return nil
  end
  self.parts = 1 + select("#", ...)
  if self.draws == nil then
    local seed, stream, offset = core.generator()
    return image(self, noted(self, seed, stream, offset, self.f(first, ...)))
  end
  return image(self, self.f(first, ...))
end

-- Elements of up to three parts, which are nearly all, go without lists of arguments.
function Map:next()
  local parts = self.parts
  if not parts or parts > 3 then
    return mapped(self, self.input:next())
  end
  local x, y, z, more = self.input:next()
  if x == nil then
    return nil
  elseif y == nil then
    return image(self, self.f(x))
  elseif more ~= nil then
    errors.raise(nil, "the elements differ in their parts (expected %d)", parts)
  elseif z == nil then
    return image(self, self.f(x, y))
  end
  return image(self, self.f(x, y, z))
end

-- Whether elements of one part have come, so that what a map keeps of the first is known.
local function is_single(self)
  return self.parts == 1 and self.draws ~= nil
end

local function differ(self)
  errors.raise(nil, "the elements differ in their parts (expected 1, got more from %s)",
    self.node._stage.name)
end

-- The image of an element of one part that has one part.
local function single(self, x)
  local y, more = self.f(x)
  local t = type(y)
  if more ~= nil then
    differ(self)
  elseif t == "number" or t == "string" then
    self.n = self.n + 1
    return y
  end
  return (image(self, y))
end

-- Elements that come in blocks go through all maps without a call of `next`: one after the other,
-- for functions may draw random numbers.
function Map:collect(column, count, size)
  local source, below, f = self.source, self.below, self.f
  local direct = source.collect == stage.Blocks.collect and is_single(self)
  for k = 1, #below do
    direct = direct and is_single(below[k])
  end
  if not direct then
    return stage.Iterator.collect(self, column, count, size)
  end
  local depth = #below
  while count < size and (source.at < source.count or source:refill()) do
    local values, at = source.values, source.at
    for i = at + 1, math.min(source.count, at + size - count) do
      local x = values[i]
      source.at, source.n = i, source.n + 1
      for k = 1, depth do
        x = single(below[k], x)
      end
      local y, more = f(x) -- `single`, without its call
      local t = type(y)
      if more ~= nil then
        differ(self)
      elseif t == "number" or t == "string" then
        self.n = self.n + 1
      else
        y = image(self, y)
      end
      count = count + 1
      column[count] = y
    end
  end
  return count
end

function Map:dtype(k)
  return self.dtypes[k]
end

-- Where random numbers stand that the function draws: what layers and SeedGenerators in its
-- upvalues have given, and, where it draws from that, the global generator.
function Map:save()
  local counts = {}
  for i, g in ipairs(seeds.reached_by(self.f)) do
    counts[i] = g.count
  end
  if #counts == 0 and not self.draws then
    return nil
  end
  return { counts = counts, global = self.draws and { core.generator() } or nil }
end

function Map:load(s)
  local own = seeds.reached_by(self.f)
  if type(s) ~= "table" or type(s.counts) ~= "table" or #s.counts ~= #own then
    return
  end
  for i, g in ipairs(own) do
    g.count = math.type(s.counts[i]) == "integer" and s.counts[i] or g.count
  end
  if type(s.global) == "table" then
    self.draws = true
    core.generator(table.unpack(s.global))
  end
end

-- What changes elements one by one, in the main thread, has nothing under way itself.
function Map:draining()
  return self.input:draining()
end

stage.define("map", { open = Map, spec = transform.nothing })

-- The same in worker processes.
stage.define("parallel_map", { draws = true, spec = transform.nothing, open = function(node, pass)
  return require "tide.data.stages.parallel"(node, pass)
end })

return Map

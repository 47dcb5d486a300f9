--- cache in memory: the first pass keeps what comes, later ones give it again.
---
--- What is kept comes from one and the same pass of the stages below, whichever pass asks first, so
--- that another process finds the same elements when it makes them again: a place is a number.
local elements = require "tide.data.elements"
local order = require "tide.data.order"
local stage = require "tide.data.stage"

local Cache = stage.iterator "cache"

function Cache:start()
  local node = self.node
  self.kept = node._kept
  if not (self.kept and self.kept.whole) then
    self.input = stage.open(node._inputs[1], 0)
    self.inputs = { self.input }
    self.kept = { dtypes = {} }
  end
end

local function keep(self, first, ...)
  local kept = self.kept
  if first == nil then
    kept.whole = true
    self.node._kept = kept
    return nil
  end
  self.n = self.n + 1
  if self.n == 1 then
    for k = 1, select("#", ...) + 1 do
      kept.dtypes[k] = self.input:dtype(k)
    end
  end
  kept[self.n] = elements.pack(first, ...)
  return first, ...
end

function Cache:next()
  local kept = self.kept
  if kept.whole then
    local v = kept[self.n + 1]
    if v == nil then
      return nil
    end
    self.n = self.n + 1
    return elements.parts(v)
  end
  return keep(self, self.input:next())
end

function Cache:dtype(k)
  return self.kept.dtypes[k]
end

function Cache:state()
  return { n = self.n }
end

-- Makes the elements up to the place again, unless they are kept in this process.
function Cache:restore(s)
  if self.kept.whole then
    self.n = s.n
    return
  end
  for _ = 1, s.n do
    if self:next() == nil then
      break
    end
  end
end

stage.define("cache", { open = Cache,
  order = function(node) -- rows of a store are in memory already; the order of the first pass stays
    return order.open(node._inputs[1], 0)
  end })

return true

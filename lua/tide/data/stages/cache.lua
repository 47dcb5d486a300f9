--- cache, in memory or in a file, snapshot and load: the first pass keeps what comes, later ones
--- give it again.
---
--- What is kept comes from one and the same pass of the stages below, whichever pass asks first, so
--- that another process finds the same elements when it makes them again: a place is a number.
local core = require "tide.core"
local elements = require "tide.data.elements"
local encode = require "tide.data.encode"
local order = require "tide.data.order"
local stage = require "tide.data.stage"

-- ---- where elements are kept: in memory ----

local Memory = {}
Memory.__index = Memory

local function memory(node)
  return node._kept
end

function Memory.new()
  return setmetatable({ dtypes = {} }, Memory)
end

function Memory:add(dtypes, ...)
  self.dtypes = dtypes
  self[#self + 1] = elements.pack(...)
end

function Memory:whole(node)
  node._kept = self
end

function Memory:open(at)
  local n = at
  local kept = self
  return { dtypes = kept.dtypes, next = function()
    n = n + 1
    return elements.parts(kept[n])
  end }
end

-- ---- in a file ----

local File = {}
File.__index = File

local function file(node)
  if core.file_exists(node._path) then
    return setmetatable({ path = node._path, where = node._stage.name, packed = node._packed },
      File)
  end
end

function File.new(node)
  local folder = node._path:match "^(.*)/[^/]*$"
  if folder and folder ~= "" then
    core.mkdirs(folder)
  end
  return setmetatable({ path = node._path, writer = encode.writer(node._path, node._packed) }, File)
end

function File:add(dtypes, ...)
  self.writer:add(dtypes, ...)
end

function File:whole()
  self.writer:finish()
  self.writer = nil
end

function File:open(at)
  local reader = encode.reader(self.path, self.where, self.packed)
  reader:skip(at)
  return reader
end

-- ---- the stage ----

local Cache = stage.iterator "cache"

function Cache:start()
  local node = self.node
  local find = node._path and file or memory
  local kept = find(node)
  if kept then
    self.reader = kept:open(0)
    self.kept = kept
  else
    self.input = stage.open(node._inputs[1], 0)
    self.inputs = { self.input }
    self.dtypes = {}
  end
end

local function keep(self, first, ...)
  if not self.filling then -- made late, so that a pass that is only looked at leaves no file
    self.filling = self.node._path and File.new(self.node) or Memory.new()
  end
  if first == nil then
    self.filling:whole(self.node)
    self.over = true
    return nil
  end
  self.n = self.n + 1
  if self.n == 1 then
    for k = 1, select("#", ...) + 1 do
      self.dtypes[k] = self.input:dtype(k) or false
    end
  end
  self.filling:add(self.dtypes, first, ...)
  return first, ...
end

local function counted(self, first, ...)
  if first ~= nil then
    self.n = self.n + 1
  end
  return first, ...
end

function Cache:next()
  if self.reader then
    return counted(self, self.reader:next())
  elseif self.over then
    return nil
  end
  return keep(self, self.input:next())
end

function Cache:dtype(k)
  return (self.reader or self).dtypes[k] or nil
end

function Cache:state()
  return { n = self.n }
end

-- Makes the elements up to the place again, unless they are kept already.
function Cache:restore(s)
  if self.reader then
    self.reader = self.kept:open(s.n)
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
  end,
  ordered = function(node) -- rows that a function of a person makes are kept
    return order.store(node).gather ~= nil
  end })

-- In files even rows of a store are kept.
stage.define("cache_file", { open = Cache })

-- ---- load ----

local Load = stage.iterator "load"

function Load:start()
  self.reader = encode.reader(self.node._path, "Dataset.load", self.node._packed)
end

function Load:next()
  return counted(self, self.reader:next())
end

function Load:dtype(k)
  return self.reader.dtypes[k] or nil
end

function Load:save()
  return self.n
end

function Load:load(s)
  self.reader:skip(s)
end

stage.define("load", { open = Load, cardinality = function(node)
  return node._count
end, spec = function() end })

return true

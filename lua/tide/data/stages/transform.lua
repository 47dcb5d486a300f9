--- Stages that change elements one by one: flat_map, interleave, filter, take_while, scan,
--- enumerate, unbatch, unique, ignore_errors, prefetch; map has a file of its own.
local check = require "tide.check"
local core = require "tide.core"
local elements = require "tide.data.elements"
local errors = require "tide.errors"
local list = require "tide.list"
local stage = require "tide.data.stage"

local UNKNOWN = stage.UNKNOWN
local is_tensor = core.is_tensor

local function unknown()
  return UNKNOWN
end

local function nothing() end

-- An iterator class with one input.
local function iterator(name)
  local c = stage.iterator(name)
  function c:start()
    self.input = stage.open(self.node._inputs[1], self.pass)
    self.inputs = { self.input }
    if self.begin then
      self:begin()
    end
  end
  return c
end

local function counted(self, first, ...)
  if first ~= nil then
    self.n = self.n + 1
  end
  return first, ...
end

-- What a function gave, made uniform; it must give something.
local function results(self, first, ...)
  local what = self.node._stage.name
  local more = select("#", ...)
  if first == nil then
    errors.raise(nil, "the function gave nothing (expected the parts of an element)")
  elseif more == 0 then
    local v, dtype = elements.clean(first, what)
    self.dtypes[1] = dtype
    return v
  end
  local out = { first, ... }
  for k = 1, more + 1 do
    if out[k] == nil then
      errors.raise(nil, "the function gave nil as part %d of %d", k, more + 1)
    end
    out[k], self.dtypes[k] = elements.clean(out[k], what)
  end
  return table.unpack(out, 1, more + 1)
end

-- ---- filter, take_while ----

-- Whether a predicate holds: a boolean, or a tensor of one.
local function holds(v)
  if is_tensor(v) and v.size == 1 then
    v = v:item()
  end
  if v == true or v == false then
    return v
  elseif v == 0 or v == 1 then
    return v == 1
  end
  errors.raise(nil, "the predicate must give true or false (got %s)", check.show(v))
end

local Filter = iterator "filter"

local function kept(self, first, ...)
  if first == nil then
    return nil
  end
  self.n = self.n + 1 -- those read
  if holds(self.o.predicate(first, ...)) then
    return first, ...
  end
  return self:next()
end

function Filter:next()
  return kept(self, self.input:next())
end

function Filter:_label()
  return ("filter, element %d"):format(self.n)
end

stage.define("filter", { open = Filter, cardinality = unknown })

local TakeWhile = iterator "take_while"

local function before(self, first, ...)
  if first == nil or not holds(self.o.predicate(first, ...)) then
    self.over = true
    return nil
  end
  return counted(self, first, ...)
end

function TakeWhile:next()
  if self.over then
    return nil
  end
  return before(self, self.input:next())
end

function TakeWhile:save()
  return self.over or false
end

function TakeWhile:load(s)
  self.over = s
end

stage.define("take_while", { open = TakeWhile, cardinality = unknown })

-- ---- scan ----

local Scan = iterator "scan"

function Scan:begin()
  self.value, self.dtypes = self.o.initial_state, {}
end

local function scanned(self, first, ...)
  if first == nil then
    errors.raise(nil, "the function gave no state (expected the new state, then the parts of an \z
      element)")
  end
  self.value = first
  return counted(self, results(self, ...))
end

local function scan(self, first, ...)
  if first == nil then
    return nil
  end
  return scanned(self, self.o.scan_func(self.value, first, ...))
end

function Scan:next()
  return scan(self, self.input:next())
end

function Scan:dtype(k)
  return self.dtypes[k]
end

function Scan:save()
  return elements.freeze({ self.value }, 1)
end

function Scan:load(s)
  self.value = elements.thaw(s)[1]
end

stage.define("scan", { open = Scan, spec = nothing })

-- ---- enumerate ----

local Enumerate = iterator "enumerate"

local function numbered(self, first, ...)
  if first == nil then
    return nil
  end
  local n = self.n
  self.n = n + 1
  return self.o.start + n, first, ...
end

function Enumerate:next()
  return numbered(self, self.input:next())
end

function Enumerate:dtype(k)
  return k == 1 and "int64" or self.input:dtype(k - 1)
end

stage.define("enumerate", { open = Enumerate,
  spec = function(node)
    local inner = stage.spec(node._inputs[1])
    return inner and table.move(inner, 1, #inner, 2,
      { { shape = list.new {}, dtype = "int64" } })
  end })

-- ---- data sets inside of elements ----

-- One open data set: the element that it comes from, its node, its iterator.
local function open_inner(self, packed, number)
  local node = stage.inner(self, number, self.o.map_func, elements.parts(packed))
  return { from = packed, number = number, node = node,
    it = stage.open(node, stage.mix(self.pass, number)) }
end

local function freeze_inner(inner)
  local out = stage.freeze(inner.node, inner.it)
  out.from, out.number = elements.freeze({ inner.from }, 1), inner.number
  return out
end

local function thaw_inner(self, s)
  local packed = elements.thaw(s.from)[1]
  local node = stage.inner(self, s.number, self.o.map_func, elements.parts(packed))
  return { from = packed, number = s.number, node = node,
    it = stage.thaw(node, stage.mix(self.pass, s.number), s) }
end

local function packed(first, ...)
  if first ~= nil then
    return elements.pack(first, ...)
  end
end

-- Keeps the dtypes of an element of n parts that `it` has just given: `it` may end, and the pass
-- may be restored, before they are asked for.
local function keep_dtypes(self, it, n)
  if self.kept_of ~= it then
    self.kept_of, self.kept = it, {}
    for k = 1, n do
      self.kept[k] = it:dtype(k) or false
    end
  end
end

local function kept_dtype(self, k)
  return self.kept and self.kept[k] or nil
end

local FlatMap = iterator "flat_map"

function FlatMap:begin()
  self.read = 0
end

local function flat(self, first, ...)
  if first ~= nil then
    keep_dtypes(self, self.inner.it, select("#", first, ...))
    self.n = self.n + 1
    return first, ...
  end
  self.inner.it:close()
  self.inner = nil
  return self:next()
end

function FlatMap:next()
  if not self.inner then
    local v = packed(self.input:next())
    if v == nil then
      return nil
    end
    self.read = self.read + 1
    self.inner = open_inner(self, v, self.read)
  end
  return flat(self, self.inner.it:next())
end

function FlatMap:dtype(k)
  return self.inner and self.inner.it:dtype(k) or kept_dtype(self, k)
end

function FlatMap:save()
  return { read = self.read, inner = self.inner and freeze_inner(self.inner), kept = self.kept }
end

function FlatMap:load(s)
  self.read, self.kept = s.read, s.kept
  self.inner = s.inner and thaw_inner(self, s.inner)
end

function FlatMap:close()
  if self.inner then
    self.inner.it:close()
  end
  stage.Iterator.close(self)
end

stage.define("flat_map", { open = FlatMap, draws = true, cardinality = unknown, spec = nothing })

-- Cycles over several open data sets, a block of elements from each.
local Interleave = iterator "interleave"

function Interleave:begin()
  self.read, self.at, self.block, self.open, self.slots = 0, 1, 0, 0, {}
  self.cycle = self.o.cycle_length
end

local function advance(self)
  self.block = 0
  self.at = self.at % self.cycle + 1
end

local function taken(self, first, ...)
  if first ~= nil then
    self.last = self.slots[self.at].it
    keep_dtypes(self, self.last, select("#", first, ...))
    self.block = self.block + 1
    if self.block == self.o.block_length then
      advance(self)
    end
    self.n = self.n + 1
    return first, ...
  end
  self.slots[self.at].it:close()
  self.slots[self.at] = nil
  self.open = self.open - 1
  advance(self)
  return self:next()
end

function Interleave:next()
  while self.open > 0 or not self.over do
    local slot = self.slots[self.at]
    if slot then
      return taken(self, slot.it:next())
    elseif self.over then
      advance(self)
    else
      local v = packed(self.input:next())
      if v == nil then
        self.over = true
      else
        self.read = self.read + 1
        self.slots[self.at] = open_inner(self, v, self.read)
        self.open = self.open + 1
      end
    end
  end
end

function Interleave:dtype(k)
  return self.last and self.last:dtype(k) or kept_dtype(self, k)
end

function Interleave:save()
  local slots = {}
  for i = 1, self.cycle do
    if self.slots[i] then
      slots[#slots + 1] = { i, freeze_inner(self.slots[i]) }
    end
  end
  return { read = self.read, at = self.at, block = self.block, over = self.over or false,
    slots = slots, kept = self.kept }
end

function Interleave:load(s)
  self.read, self.at, self.block, self.over = s.read, s.at, s.block, s.over
  self.kept = s.kept
  for _, pair in ipairs(s.slots) do
    self.slots[pair[1]] = thaw_inner(self, pair[2])
    self.open = self.open + 1
  end
end

function Interleave:close()
  for _, slot in pairs(self.slots) do
    slot.it:close()
  end
  stage.Iterator.close(self)
end

stage.define("interleave", { open = Interleave, draws = true, cardinality = unknown,
  spec = nothing })

-- ---- unbatch ----

local Unbatch = iterator "unbatch"

local function begin_rows(self, first, ...)
  if first == nil then
    return false
  end
  local parts, n = { first, ... }, nil
  for k, v in ipairs(parts) do
    local rows = elements.rows(v)
    if not rows or n and rows ~= n then
      errors.raise(nil, "the parts of a batch must have the same number of samples (part %d is %s)",
        k, is_tensor(v) and "a tensor " .. tostring(v.shape) or check.show(v))
    end
    n = rows
    self.dtypes[k] = elements.dtypes(v)
  end
  self.parts, self.rows, self.at = parts, n, 0
  return true
end

function Unbatch:begin()
  self.rows, self.at, self.dtypes = 0, 0, {}
end

function Unbatch:next()
  while self.at >= self.rows do
    if not begin_rows(self, self.input:next()) then
      return nil
    end
  end
  self.at = self.at + 1
  self.n = self.n + 1
  local out, parts = {}, self.parts
  for k = 1, #parts do
    out[k] = elements.row(parts[k], self.at)
  end
  return table.unpack(out)
end

function Unbatch:dtype(k)
  return self.dtypes[k]
end

function Unbatch:save()
  local left = self.at < self.rows
  return { at = self.at, rows = self.rows,
    parts = left and elements.freeze({ elements.pack(table.unpack(self.parts)) }, 1) or nil }
end

function Unbatch:load(s)
  if s.parts then
    begin_rows(self, elements.parts(elements.thaw(s.parts)[1]))
    self.at = s.at
  end
end

stage.define("unbatch", { open = Unbatch,
  cardinality = function(node)
    local spec, n = stage.spec(node._inputs[1]), stage.cardinality(node._inputs[1])
    local first = spec and spec[1]
    local rows = first and first.shape and math.type(first.shape[1]) == "integer" and first.shape[1]
    return n >= 0 and rows and n * rows or n == 0 and 0 or UNKNOWN
  end,
  spec = function(node)
    local inner = stage.spec(node._inputs[1])
    if not inner then
      return nil
    end
    local out = {}
    for k, s in ipairs(inner) do
      out[k] = elements.unbatched(s)
    end
    return out
  end })

-- ---- unique ----

local Unique = iterator "unique"

function Unique:begin()
  self.seen = {}
end

local function fresh(self, first, ...)
  if first == nil then
    return nil
  end
  local key = elements.key(first, ...)
  if self.seen[key] then
    return self:next()
  end
  self.seen[key] = true
  return counted(self, first, ...)
end

function Unique:next()
  return fresh(self, self.input:next())
end

function Unique:save()
  local out = {}
  for k in pairs(self.seen) do
    out[#out + 1] = k
  end
  return out
end

function Unique:load(s)
  for _, k in ipairs(s) do
    self.seen[k] = true
  end
end

stage.define("unique", { open = Unique, cardinality = unknown })

-- ---- ignore_errors ----

local Ignore = iterator "ignore_errors"

local function tried(self, ok, first, ...)
  if ok then
    return counted(self, first, ...)
  elseif tostring(first):find("interrupted", 1, true)
    or tostring(first):find("not enough memory", 1, true) then
    error(first, 0)
  end
  self.skipped = self.skipped + 1
  self.node.skipped = self.node.skipped + 1
  if self.o.log_warning then
    errors.warn("ignore_errors: %s", tostring(first))
  end
  return self:next()
end

function Ignore:begin()
  self.skipped = 0
end

function Ignore:next()
  return tried(self, xpcall(self.input.next, stage.explain_error, self.input))
end

stage.define("ignore_errors", { open = Ignore, cardinality = unknown })

-- ---- prefetch ----

local Prefetch = iterator "prefetch"

local AUTOTUNED = 2 -- elements that AUTOTUNE keeps under way

function Prefetch:begin()
  local n = self.o.buffer_size
  self.input:ahead(n < 0 and AUTOTUNED or n)
end

function Prefetch:next()
  return counted(self, self.input:next())
end

function Prefetch:collect(column, count, size)
  local n = self.input:collect(column, count, size)
  self.n = self.n + n - count
  return n
end

function Prefetch:draining()
  return self.input:draining()
end

stage.define("prefetch", { open = Prefetch })

return { iterator = iterator, counted = counted, results = results, unknown = unknown,
  packed = packed, holds = holds, nothing = nothing }

--- Stages that collect elements: batch, padded_batch, ragged_batch, rebatch, window,
--- group_by_window (of which bucket_by_sequence_length is made).
local check = require "tide.check"
local core = require "tide.core"
local elements = require "tide.data.elements"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local order = require "tide.data.order"
local stage = require "tide.data.stage"
local strings = require "tide.strings"
local transform = require "tide.data.stages.transform"

local iterator, packed = transform.iterator, transform.packed
local UNKNOWN = stage.UNKNOWN
local is_tensor = core.is_tensor

-- ---- batch ----

local function batches(n, o)
  return o.drop_remainder and n // o.batch_size or (n + o.batch_size - 1) // o.batch_size
end

local function batch_spec(node)
  local inner = stage.spec(node._inputs[1])
  if not inner then
    return nil
  end
  local out, o = {}, node._o
  for k, s in ipairs(inner) do
    out[k] = elements.batched(s, o.drop_remainder and o.batch_size or nil)
  end
  return out
end

-- Up to `size` elements as columns by part. Returns how many, and how many parts.
local function collect(self, size)
  local input, columns, count, parts = self.input, {}, 0, nil
  while count < size do
    if parts == 1 then -- nearly all, without lists of arguments
      count = input:collect(columns[1], count, size)
      break
    end
    local n = elements.push(columns, count + 1, input:next())
    if n == 0 or columns[1][count + 1] == nil then
      break
    elseif parts and n ~= parts then
      errors.raise(nil, "the elements of a batch differ in their parts (expected %d, got %d)",
        parts, n)
    end
    parts = n
    count = count + 1
  end
  return count, columns, parts
end

local Batch = iterator "batch"

-- Batches of a size; `Batch.join` makes one part's batch.
function Batch:next()
  local size = self.o.batch_size
  if self.over then
    return nil
  end
  local count, columns, parts = collect(self, size)
  self.over = count < size
  if count == 0 or count < size and self.o.drop_remainder then
    return nil
  end
  for k = 1, parts do
    columns[k] = self:join(columns[k], count, k)
  end
  self.n = self.n + 1
  return table.unpack(columns, 1, parts)
end

function Batch:join(column, count, k)
  return elements.stack(column, count, self.input:dtype(k), nil)
end

function Batch.dtype() end

function Batch:save()
  return self.over or false
end

function Batch:load(s)
  self.over = s
end

stage.define("batch", {
  open = function(node, pass)
    local input = node._inputs[1]
    if stage.ordered(input) and order.store(input).gather then
      return order.batches(node, pass)
    end
    return Batch(node, pass)
  end,
  cardinality = stage.counted(batches), spec = batch_spec })

-- ---- padded_batch, ragged_batch ----

-- Sizes of an element's part; nil for single numbers and texts.
local function shape_of(v)
  if is_tensor(v) then
    return v.shape
  elseif type(v) == "table" and strings.is(v) then
    return strings.shape(v)
  end
end

local function largest(column, count, given)
  local rank = #shape_of(column[1])
  local out = {}
  if given and #given ~= rank then
    errors.raise(nil, "padded_shapes must have one size per axis (expected %d, got %s)", rank,
      tostring(list.new(given)))
  end
  for a = 1, rank do
    local fixed = given and given[a]
    fixed = math.type(fixed) == "integer" and fixed >= 0 and fixed or nil
    out[a] = fixed or 0
    for i = 1, count do
      local shape = shape_of(column[i])
      if not shape or #shape ~= rank then
        errors.raise(nil, "the elements of a batch differ in rank (expected %d, got %s as element \z
          %d)", rank, shape and tostring(#shape) or check.show(column[i]), i)
      elseif fixed and shape[a] > fixed then
        errors.raise(nil, "element %d is larger than padded_shapes says (expected %s, got %s)", i,
          tostring(list.new(given)), tostring(shape))
      elseif not fixed and shape[a] > out[a] then
        out[a] = shape[a]
      end
    end
  end
  return out
end

local function pad_text(v, shape, depth, value)
  local out = {}
  for i = 1, shape[depth] do
    local x = v and v[i]
    out[i] = depth == #shape and (x or value) or depth < #shape and pad_text(x, shape, depth + 1,
      value) or nil
  end
  return out
end

-- One part of `count` elements, brought to one shape by `value` behind.
local function pad(column, count, dtype, given, value)
  local first = column[1]
  if type(first) == "table" and not strings.is(first) then
    local out = {}
    for _, k in ipairs(check.sorted_keys(first)) do
      local inner = {}
      for i = 1, count do
        inner[i] = column[i][k]
      end
      out[k] = pad(inner, count, type(dtype) == "table" and dtype[k] or nil,
        type(given) == "table" and given[k] or nil,
        type(value) == "table" and value[k] or type(value) ~= "table" and value or nil)
    end
    return out
  elseif not shape_of(first) then
    return elements.stack(column, count, dtype, nil)
  end
  local shape = largest(column, count, given)
  if not is_tensor(first) then
    local out = {}
    for i = 1, count do
      out[i] = pad_text(column[i], shape, 1, value or "")
    end
    return out
  end
  for i = 1, count do
    local v = column[i]
    if v.dtype ~= first.dtype then
      errors.raise(nil, "the elements of a batch differ in dtype (expected %s, got %s as element \z
        %d)", first.dtype, v.dtype, i)
    end
  end
  return core.data_pad(column, shape, core.tensor({ value or 0 }, { dtype = first.dtype }))
end

local Padded = stage.iterator("padded_batch", Batch)

-- An option for part k: one value stands for all parts, a list of one per part.
local function per_part(v, k, is_one)
  if v == nil or v == none then
    return nil
  elseif is_one(v) then
    return v
  end
  local x = v[k]
  return x ~= none and x ~= false and x or nil
end

-- A list of sizes is one shape; a list of lists is one per part.
local function is_shape(v)
  if type(v) ~= "table" then
    return true
  end
  for k, x in pairs(v) do
    if type(k) ~= "number" or type(x) == "table" and x ~= none then
      return false
    end
  end
  return true
end

local function is_value(v)
  return type(v) ~= "table"
end

function Padded:join(column, count, k)
  return pad(column, count, self.input:dtype(k), per_part(self.o.padded_shapes, k, is_shape),
    per_part(self.o.padding_values, k, is_value))
end

local function unknown_sizes(spec)
  if type(spec.dtype) == "string" then
    local shape = {}
    for a = 1, #(spec.shape or {}) do
      shape[a] = none
    end
    return { shape = list.new(shape), dtype = spec.dtype }
  end
  local out = {}
  for k, s in next, spec do
    out[k] = unknown_sizes(s)
  end
  return out
end

stage.define("padded_batch", { open = Padded, cardinality = stage.counted(batches),
  spec = function(node)
    local inner, o = stage.spec(node._inputs[1]), node._o
    if not inner then
      return nil
    end
    local out = {}
    for k, s in ipairs(inner) do
      local given = per_part(o.padded_shapes, k, is_shape)
      s = given and s.shape and { shape = list.new(table.move(given, 1, #given, 1, {})),
        dtype = s.dtype } or unknown_sizes(s)
      out[k] = elements.batched(s, o.drop_remainder and o.batch_size or nil)
    end
    return out
  end })

local Ragged = stage.iterator("ragged_batch", Batch)

-- Parts with axes are padded and say how long each element was.
function Ragged:join(column, count, k)
  local first = column[1]
  if not shape_of(first) then
    return pad(column, count, self.input:dtype(k))
  end
  local lengths = {}
  for i = 1, count do
    local shape = shape_of(column[i])
    lengths[i] = shape and shape[1] or 0
  end
  return { values = pad(column, count, self.input:dtype(k)),
    lengths = core.tensor(lengths, { dtype = "int64" }) }
end

stage.define("ragged_batch", { open = Ragged, cardinality = stage.counted(batches),
  spec = transform.nothing })

-- ---- rebatch ----

-- Rows of the batches that come, cut into other sizes; sizes go round.
local Rebatch = iterator "rebatch"

function Rebatch:begin()
  local size = self.o.batch_size
  self.sizes = type(size) == "table" and size or { size }
  self.held, self.rows = {}, 0 -- batches that are not used up, and their rows in all
end

local function hold(self, first, ...)
  if first == nil then
    self.over = true
    return
  end
  local parts = { first, ... }
  local n = elements.rows(first)
  for k = 1, #parts do
    if not n or elements.rows(parts[k]) ~= n then
      errors.raise(nil, "takes batches (part %d of an element has no axis of samples, or another \z
        number of them)", k)
    end
  end
  parts.rows = n
  self.held[#self.held + 1] = parts
  self.rows = self.rows + n
end

function Rebatch:next()
  local size = self.sizes[self.n % #self.sizes + 1]
  while self.rows < size and not self.over do
    hold(self, self.input:next())
  end
  if self.rows == 0 or self.rows < size and self.o.drop_remainder then
    return nil
  end
  size = math.min(size, self.rows)
  local columns, left, held = {}, size, self.held
  while left > 0 do
    local b = held[1]
    local n = math.min(left, b.rows)
    for k = 1, #b do
      columns[k] = columns[k] or {}
      table.insert(columns[k], n == b.rows and b[k] or elements.slice(b[k], 1, n))
      b[k] = n < b.rows and elements.slice(b[k], n + 1, b.rows - n) or b[k]
    end
    b.rows = b.rows - n
    left = left - n
    if b.rows == 0 then
      table.remove(held, 1)
    end
  end
  self.rows = self.rows - size
  for k = 1, #columns do
    columns[k] = elements.join(columns[k])
  end
  self.n = self.n + 1
  return table.unpack(columns)
end

function Rebatch.dtype() end

function Rebatch:save()
  local out = {}
  for i, b in ipairs(self.held) do
    out[i] = elements.pack(table.unpack(b, 1, #b))
  end
  return { held = elements.freeze(out, #out), over = self.over or false }
end

function Rebatch:load(s)
  for _, v in ipairs(elements.thaw(s.held)) do
    hold(self, elements.parts(v))
  end
  self.over = s.over
end

stage.define("rebatch", { open = Rebatch,
  cardinality = function(node)
    local inner = stage.cardinality(node._inputs[1])
    return inner < 0 and inner or inner == 0 and 0 or UNKNOWN
  end,
  spec = function(node)
    local inner = stage.spec(node._inputs[1])
    if not inner then
      return nil
    end
    local out, o = {}, node._o
    for k, s in ipairs(inner) do
      out[k] = elements.batched(elements.unbatched(s),
        o.drop_remainder and type(o.batch_size) == "number" and o.batch_size or nil)
    end
    return out
  end })

-- ---- window ----

local Window = iterator "window"

function Window:begin()
  self.buffer = {}
  self.shift = self.o.shift or self.o.size
  self.span = (self.o.size - 1) * self.o.stride + 1
end

function Window:next()
  local buffer = self.buffer
  while #buffer < self.span and not self.over do
    local v = packed(self.input:next())
    if v == nil then
      self.over = true
    else
      buffer[#buffer + 1] = v
    end
  end
  if #buffer == 0 or self.o.drop_remainder and #buffer < self.span then
    return nil
  end
  local columns, count = {}, 0
  for i = 1, #buffer, self.o.stride do
    count = count + 1
    elements.push(columns, count, elements.parts(buffer[i]))
  end
  local have = #buffer
  for _ = have + 1, self.shift do -- what lies between two windows
    self.over = self.over or self.input:next() == nil
    if self.over then
      break
    end
  end
  self.buffer = table.move(buffer, self.shift + 1, have, 1, {})
  self.n = self.n + 1
  for k = 1, #columns do
    local dtype = self.input:dtype(k)
    columns[k] = elements.collected(columns[k], { dtype })
  end
  return table.unpack(columns)
end

function Window.dtype() end

function Window:save()
  return { buffer = elements.freeze(self.buffer, #self.buffer), over = self.over or false }
end

function Window:load(s)
  self.buffer, self.over = elements.thaw(s.buffer), s.over
end

stage.define("window", { open = Window, spec = transform.nothing,
  cardinality = stage.counted(function(n, o)
    local shift, span = o.shift or o.size, (o.size - 1) * o.stride + 1
    if o.drop_remainder then
      return n < span and 0 or (n - span) // shift + 1
    end
    return (n + shift - 1) // shift
  end) })

-- ---- group_by_window ----

local Group = iterator "group_by_window"

function Group:begin()
  self.groups, self.read, self.flushed = {}, 0, 0
end

local function whole_key(v)
  if is_tensor(v) then
    v = v:item()
  end
  local key = math.tointeger(v)
  if not key then
    errors.raise(nil, "key_func must give a whole number (got %s)", check.show(v))
  end
  return key
end

local function size_of(self, key)
  local o = self.o
  local size = o.window_size or o.window_size_func(key)
  if not math.tointeger(size) or size < 1 then
    errors.raise(nil, "the size of a window must be a whole number from 1 (got %s)",
      check.show(size))
  end
  return size
end

-- The data set of a group's elements, reduced.
local function reduce(self, key, values, dtypes, number)
  local node = stage.inner(self, number, self.o.reduce_func, key,
    elements.collected(values, dtypes))
  return { key = key, values = values, dtypes = dtypes, number = number, node = node }
end

local function open(self, inner)
  inner.it = stage.open(inner.node, stage.mix(self.pass, inner.number))
  self.inner = inner
end

local function flush(self, key)
  local values = self.groups[key]
  self.groups[key] = nil
  self.flushed = self.flushed + 1
  open(self, reduce(self, key, values, self.dtypes, self.flushed))
end

local function assigned(self, first, ...)
  if first == nil then
    self.over = true
    return
  end
  if not self.dtypes then
    self.dtypes = {}
    for k = 1, select("#", ...) + 1 do
      self.dtypes[k] = self.input:dtype(k)
    end
  end
  local key = whole_key(self.o.key_func(first, ...))
  local group = self.groups[key] or {}
  self.groups[key] = group
  group[#group + 1] = elements.pack(first, ...)
  if #group >= size_of(self, key) then
    flush(self, key)
  end
end

local function given(self, first, ...)
  if first ~= nil then
    self.n = self.n + 1
    return first, ...
  end
  self.inner.it:close()
  self.inner = nil
  return self:next()
end

-- What is left at the end comes by key, the lowest first.
function Group:next()
  while not self.inner do
    if self.over then
      local keys = {}
      for key in pairs(self.groups) do
        keys[#keys + 1] = key
      end
      if #keys == 0 then
        return nil
      end
      table.sort(keys)
      flush(self, keys[1])
    else
      assigned(self, self.input:next())
    end
  end
  return given(self, self.inner.it:next())
end

function Group:dtype(k)
  return self.inner and self.inner.it:dtype(k)
end

function Group:save()
  local groups, inner = {}, self.inner
  for key, values in pairs(self.groups) do
    groups[#groups + 1] = { key, elements.freeze(values, #values) }
  end
  local out = { groups = groups, dtypes = self.dtypes, over = self.over or false,
    flushed = self.flushed }
  if inner then
    out.inner = stage.freeze(inner.node, inner.it)
    out.key, out.number = inner.key, inner.number
    out.values = elements.freeze(inner.values, #inner.values)
  end
  return out
end

function Group:load(s)
  self.dtypes, self.over, self.flushed = s.dtypes, s.over, s.flushed
  for _, pair in ipairs(s.groups) do
    self.groups[pair[1]] = elements.thaw(pair[2])
  end
  if s.inner then
    local inner = reduce(self, s.key, elements.thaw(s.values), s.dtypes, s.number)
    inner.it = stage.thaw(inner.node, stage.mix(self.pass, s.number), s.inner)
    self.inner = inner
  end
end

function Group:close()
  if self.inner then
    self.inner.it:close()
  end
  stage.Iterator.close(self)
end

stage.define("group_by_window", { open = Group, draws = true, cardinality = transform.unknown,
  spec = transform.nothing })

return true

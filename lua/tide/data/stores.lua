--- Stores: rows that can be read in any order (see order.lua).
local check = require "tide.check"
local core = require "tide.core"
local elements = require "tide.data.elements"
local list = require "tide.list"
local ops = require "tide.ops"
local strings = require "tide.strings"
local structure = require "tide.data.structure"

local stores = {}

-- ---- rows of tensors and texts ----

local Slices = {}
Slices.__index = Slices

-- Rows of a lone part without axes, numbers or texts, as a list.
local function numbers_or_texts(self, count, first, order)
  local v = self.list[1]
  if strings.is(v) then
    return first and strings.rows(v, first, count) or strings.rows(v, 1, count, order:tolist())
  end
  return (first and elements.slice(v, first, count) or elements.gather(v, order)):tolist()
end

--- @param parts table list of batches with the same number of rows
--- @param n integer rows
function stores.slices(parts, n)
  local self = setmetatable({ list = parts, n = n }, Slices)
  local only = #parts == 1 and parts[1]
  self.single = core.is_tensor(only) and only
  if self.single and only.ndim == 1 or type(only) == "table" and type(only[1]) == "string" then
    self.values = numbers_or_texts
  end
  return self
end

function Slices:parts(i)
  local single = self.single
  if single then
    return single[i]
  end
  local out, parts = {}, self.list
  for k = 1, #parts do
    out[k] = elements.row(parts[k], i)
  end
  return table.unpack(out, 1, #parts)
end

-- The tensors of a part, in order.
local function tensors_of(v, out)
  if core.is_tensor(v) then
    out[#out + 1] = v
  elseif type(v) == "table" and not strings.is(v) then
    for _, k in ipairs(check.sorted_keys(v)) do
      tensors_of(v[k], out)
    end
  end
end

function Slices:begin(order, workers)
  if not self.tensors then
    self.tensors = {}
    for _, v in ipairs(self.list) do
      tensors_of(v, self.tensors)
    end
  end
  return core.gather(workers, order, self.tensors)
end

-- A batch of part v; `made` are the batches of the tensors, taken in order.
local function put_together(v, order, numbers, made)
  if core.is_tensor(v) then
    made.at = made.at + 1
    return made[made.at]
  elseif strings.is(v) then
    return elements.gather(v, order, numbers)
  end
  local out = {}
  for _, k in ipairs(check.sorted_keys(v)) do
    out[k] = put_together(v[k], order, numbers, made)
  end
  return out
end

function Slices:gather(order, job)
  local out, numbers = {}, {}
  local made = job and { at = 0, core.gather_wait(job) }
  for k, v in ipairs(self.list) do
    out[k] = made and put_together(v, order, numbers, made) or elements.gather(v, order, numbers)
  end
  return table.unpack(out, 1, #self.list)
end

function Slices:span(first, count)
  local out = {}
  for k, v in ipairs(self.list) do
    out[k] = elements.slice(v, first, count)
  end
  return table.unpack(out, 1, #self.list)
end

function Slices:dtype(k)
  return elements.dtypes(self.list[k])
end

function Slices:spec()
  local out = {}
  for k, v in ipairs(self.list) do
    out[k] = elements.unbatched(elements.spec(v))
  end
  return out
end

-- ---- names of files in one block ----

local Names = {}
Names.__index = Names

--- @param block userdata what core.names_at reads
--- @param n integer names
function stores.names(block, n)
  return setmetatable({ block = block, n = n }, Names)
end

function Names:parts(i)
  return core.names_at(self.block, i)
end

function Names:gather(order)
  local out = order:tolist()
  for k = 1, #out do
    out[k] = core.names_at(self.block, out[k])
  end
  return out
end

function Names:span(first, count)
  local out = {}
  for k = 1, count do
    out[k] = core.names_at(self.block, first + k - 1)
  end
  return out
end

function Names:values(count, first, order)
  return first and self:span(first, count) or self:gather(order)
end

function Names.dtype() end

function Names.spec()
  return { elements.unbatched(elements.spec { "" }) }
end

-- ---- ranges ----

local Range = {}
Range.__index = Range

--- Numbers start, start + step, ...: n of them.
function stores.range(start, step, n, dtype)
  return setmetatable({ start = start, step = step, n = n, type = dtype }, Range)
end

function Range:parts(i)
  return self.start + (i - 1) * self.step
end

function Range:gather(order)
  return ops.add(ops.multiply(ops.subtract(order, 1), self.step), self.start):cast(self.type)
end

function Range:span(first, count)
  return self:gather(ops.arange(first, first + count, 1, { dtype = "int64" }))
end

function Range:values(count, first, order)
  local numbers = order and order:tolist()
  local out, start, step = {}, self.start, self.step
  for k = 1, count do
    out[k] = start + ((numbers and numbers[k] or first + k - 1) - 1) * step
  end
  return out
end

function Range:dtype()
  return self.type
end

function Range:spec()
  return { { shape = list.new {}, dtype = self.type } }
end

-- ---- whatever has get(i) and a length ----

local Sequence = {}
Sequence.__index = Sequence

--- @param source table `get(i)` gives the parts of element i, from 1
function stores.sequence(source, n)
  return setmetatable({ source = source, n = n }, Sequence)
end

local function cleaned(first, ...)
  if select("#", ...) == 0 then
    return (elements.clean(first, "get"))
  end
  local out, n = { first, ... }, select("#", ...) + 1
  while n > 1 and out[n] == nil do -- no targets, no weights
    n = n - 1
  end
  for k = 1, n do
    out[k] = elements.clean(out[k], "get")
  end
  return table.unpack(out, 1, n)
end

function Sequence:parts(i)
  return cleaned(self.source:get(i))
end

function Sequence.dtype() end
function Sequence.spec() end

-- ---- windows over an array ----

local Windows = {}
Windows.__index = Windows

--- Rows are windows: `length` steps of the arrays from row starts[i] on, `rate` apart; targets,
--- where there are any, are the rows at the window's beginning.
--- @param data table list of batches
--- @param targets table list of batches, or empty
--- @param starts userdata int64 (n), numbers of rows from 1
function stores.windows(data, targets, starts, length, rate)
  return setmetatable({ data = data, targets = targets, starts = starts, n = #starts,
    steps = ops.arange(0, length * rate, rate, { dtype = "int64" }),
    length = length }, Windows)
end

-- The tensors that rows are taken of, those of windows first; nil where targets are texts.
local function of_windows(self)
  if self.tensors == nil then
    self.tensors = table.move(self.data, 1, #self.data, 1, {})
    for _, v in ipairs(self.targets) do
      self.tensors = self.tensors and core.is_tensor(v) and self.tensors or false
      if self.tensors then
        table.insert(self.tensors, v)
      end
    end
  end
  return self.tensors
end

function Windows:begin(order, workers)
  local starts = ops.batch_gather(self.starts, order, { count = #order })
  local tensors = of_windows(self)
  return tensors and core.gather(workers, starts, tensors, self.steps, #self.data)
end

function Windows:gather(order, job)
  job = job or self:begin(order)
  if job then
    return core.gather_wait(job)
  end
  local starts = ops.batch_gather(self.starts, order, { count = #order })
  local n = #order
  local at = ops.reshape(ops.add(ops.reshape(starts, { n, 1 }), self.steps), { n * self.length })
  local out = {}
  for k, v in ipairs(self.data) do
    local rows = ops.batch_gather(v, at, { count = n * self.length })
    local shape = { n, self.length }
    table.move(v.shape, 2, #v.shape, 3, shape)
    out[k] = ops.reshape(rows, shape)
  end
  local numbers = {}
  for _, v in ipairs(self.targets) do
    out[#out + 1] = elements.gather(v, starts, numbers)
  end
  return table.unpack(out)
end

function Windows:span(first, count)
  return self:gather(ops.arange(first, first + count, 1, { dtype = "int64" }))
end

local function rows_of(...)
  local out = { ... }
  for k = 1, #out do
    out[k] = elements.row(out[k], 1)
  end
  return table.unpack(out)
end

function Windows:parts(i)
  return rows_of(self:span(i, 1))
end

function Windows:dtype(k)
  local v = self.data[k] or self.targets[k - #self.data]
  return elements.dtypes(v)
end

function Windows:spec()
  local out = {}
  for k, v in ipairs(self.data) do
    out[k] = elements.batched(elements.unbatched(elements.spec(v)), self.length)
  end
  for _, v in ipairs(self.targets) do
    out[#out + 1] = elements.unbatched(elements.spec(v))
  end
  return out
end

--- The number of rows of parts, all the same; raises otherwise.
function stores.rows(parts, where, errors)
  local n
  for k, v in ipairs(parts) do
    local rows = elements.rows(v)
    if not rows then
      errors.raise(where, "part %d has no axis of samples, or parts of different length in it (%s)",
        k, core.is_tensor(v) and "shape " .. tostring(v.shape) or structure.kind(v) or type(v))
    elseif n and rows ~= n then
      errors.raise(where, "all parts must have the same number of samples (part 1 has %d, part %d \z
        %d)", n, k, rows)
    end
    n = rows
  end
  return n
end

return stores

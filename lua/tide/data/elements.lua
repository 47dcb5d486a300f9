--- Elements of data sets: one or several parts, each a Lua value (number, boolean, string), a
--- tensor, or a list or a table by name of such. Parts travel as several Lua values.
---
--- Values that come from a person's function are made uniform once (`clean`): nested tables of
--- numbers become tensors, tensors without axes numbers. A batch of a part is made by `stack`, and
--- taken apart by `slice`.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local strings = require "tide.strings"
local structure = require "tide.data.structure"

local elements = {}

local is_tensor = core.is_tensor
local kind_of = structure.kind

-- ---- values of a person's ----

-- Whether a list that begins with a number, a boolean or text holds other things than those.
local function is_mixed(v)
  local first = type(v[1])
  if first ~= "number" and first ~= "boolean" and first ~= "string" then
    return false
  end
  for _, x in next, v do
    if type(x) ~= first then
      return true
    end
  end
  return false
end

local DEEPEST = 16 -- tables in tables; one may hold itself

-- A table as a part: numbers become a tensor; lists and tables by name are made uniform inside.
local function clean_table(v, what, depth)
  if depth > DEEPEST then
    errors.raise(what, "the tables of a part are nested too deeply (expected at most %d levels)",
      DEEPEST)
  end
  if getmetatable(v) ~= nil and not list.is(v) then
    return v -- a data set: what window gives
  end
  local kind = kind_of(v)
  if kind == "leaf" and not is_mixed(v) then
    return strings.is(v) and strings.check(v, what) or core.tensor(v)
  elseif kind == nil or next(v) == nil then
    errors.raise(what, "a part must be a tensor, a number, a boolean, a string, or a table of \z
      such (got %s)", check.show(v))
  end
  local out = {}
  for _, k in ipairs(check.sorted_keys(v)) do
    out[k] = elements.clean(v[k], what, depth + 1)
  end
  return out
end

--- One part made uniform.
--- @param what string names the source in errors
--- @return any value, string|nil dtype of a tensor without axes that became a number
function elements.clean(v, what, depth)
  local t = type(v)
  if t == "number" or t == "string" or t == "boolean" then
    return v
  elseif t == "userdata" and is_tensor(v) then
    if v.ndim == 0 then
      return v:item(), v.dtype
    end
    return v
  elseif t == "table" and v ~= none then
    return clean_table(v, what, depth or 1)
  end
  errors.raise(what, "a part must be a tensor, a number, a boolean, a string, or a table of such \z
    (got %s)", check.show(v))
end

-- ---- batches ----

local function kind_name(v)
  return is_tensor(v) and "a tensor " .. tostring(v.shape) or check.show(v)
end

-- The dtype that Lua numbers make: integers int64, floats float32, booleans bool.
local function dtype_of(values, n, what)
  local dtype, differs = core.data_kind(values, n)
  if differs then
    errors.raise(what, "the elements of a batch differ in kind (expected %s, got %s as element \z
      %d)", kind_name(values[1]), kind_name(values[differs]), differs)
  end
  return dtype
end

local function stack_tensors(values, n, what)
  local first = values[1]
  local shape, dtype = first.shape, first.dtype
  for i = 2, n do
    local v = values[i]
    if not is_tensor(v) or v.shape ~= shape or v.dtype ~= dtype then
      errors.raise(what, "the elements of a batch differ (expected %s %s, got %s as element %d); \z
        padded_batch brings shapes to one size", dtype, kind_name(first),
        is_tensor(v) and v.dtype .. " " .. kind_name(v) or kind_name(v), i)
    end
  end
  return ops.stack(values)
end

--- The values of one part of n elements as a batch: numbers and tensors become a tensor with an
--- axis in front, texts a list, tables are stacked entry by entry.
--- @param values table list of n
--- @param dtype string|table|nil of numbers, by structure; told by the numbers where left out
--- @param what string names the stage in errors
function elements.stack(values, n, dtype, what)
  local first = values[1]
  local t = type(first)
  if t == "userdata" then
    return stack_tensors(values, n, what)
  elseif t == "number" or t == "boolean" then
    return core.tensor(values, { dtype = dtype or dtype_of(values, n, what) })
  elseif t == "string" or strings.is(first) then
    for i = 2, n do
      if type(values[i]) ~= t or t == "table" and not strings.is(values[i]) then
        errors.raise(what, "the elements of a batch differ in kind (expected text, got %s as \z
          element %d)", kind_name(values[i]), i)
      end
    end
    return values
  elseif t ~= "table" or getmetatable(first) ~= nil then
    errors.raise(what, "cannot make a batch of %s; flat_map takes windows apart",
      kind_name(first))
  end
  local out = {}
  for _, k in ipairs(check.sorted_keys(first)) do
    local column = {}
    for i = 1, n do
      local v = values[i]
      v = type(v) == "table" and v[k]
      if v == nil or v == false and type(first[k]) ~= "boolean" then
        errors.raise(what, "element %d of a batch has no part %s", i, check.show(k))
      end
      column[i] = v
    end
    out[k] = elements.stack(column, n, type(dtype) == "table" and dtype[k] or nil, what)
  end
  return out
end

--- How many samples a batch of a part holds; nil where it has no axis of samples.
function elements.rows(v)
  if is_tensor(v) or strings.is(v) then
    return structure.samples(v)
  elseif type(v) == "table" and getmetatable(v) == nil then
    local n
    for _, x in next, v do
      local rows = elements.rows(x)
      if not rows or n and rows ~= n then
        return nil
      end
      n = rows
    end
    return n
  end
end

--- Sample i of a batch of a part.
function elements.row(v, i)
  if is_tensor(v) or strings.is(v) then
    return v[i]
  end
  local out = {}
  for k, x in next, v do
    out[k] = elements.row(x, i)
  end
  return out
end

--- Samples of a batch of a part: first..first + count - 1.
function elements.slice(v, first, count)
  if is_tensor(v) then
    return v[{ { first, first + count - 1 } }]
  elseif strings.is(v) then
    return strings.rows(v, first, count)
  end
  local out = {}
  for k, x in next, v do
    out[k] = elements.slice(x, first, count)
  end
  return out
end

--- Samples of a batch of a part by an int64 tensor of numbers from 1; `numbers` is the same as a
--- list, made when text needs it.
function elements.gather(v, order, numbers)
  if is_tensor(v) then
    return ops.batch_gather(v, order, { count = #order })
  elseif strings.is(v) then
    numbers[1] = numbers[1] or order:tolist()
    return strings.rows(v, 1, #order, numbers[1])
  end
  local out = {}
  for k, x in next, v do
    out[k] = elements.gather(x, order, numbers)
  end
  return out
end

--- Batches of one part joined along their first axis.
function elements.join(batches, what)
  local first = batches[1]
  if #batches == 1 then
    return first
  elseif is_tensor(first) then
    return ops.concatenate(batches, { axis = 1 })
  elseif strings.is(first) then
    return strings.join(batches)
  end
  local out = {}
  for k in next, first do
    local column = {}
    for i, b in ipairs(batches) do
      column[i] = b[k]
    end
    out[k] = elements.join(column, what)
  end
  return out
end

-- ---- specifications ----

--- The dtypes of the numbers in the rows of a batch, by structure; nil for text.
function elements.dtypes(v)
  if is_tensor(v) then
    return v.dtype
  elseif type(v) == "table" and not strings.is(v) and getmetatable(v) == nil then
    local out = {}
    for k, x in next, v do
      out[k] = elements.dtypes(x)
    end
    return out
  end
end

--- What describes a part: { shape, dtype }, lists and tables by name of such; "dataset" for one.
--- @param dtype string|table|nil dtypes of numbers, by structure
function elements.spec(v, dtype)
  local t = type(v)
  if t == "number" or t == "boolean" then
    return { shape = list.new {}, dtype = type(dtype) == "string" and dtype
      or t == "boolean" and "bool" or math.type(v) == "float" and "float32" or "int64" }
  elseif strings.is(v) then
    return { shape = strings.shape(v), dtype = "string" }
  elseif is_tensor(v) then
    return { shape = list.copy(v.shape), dtype = v.dtype }
  elseif type(v) == "table" and getmetatable(v) == nil then
    local out = {}
    for k, x in next, v do
      out[k] = elements.spec(x, type(dtype) == "table" and dtype[k] or nil)
    end
    return out
  end
  return { dtype = class.is_class(getmetatable(v)) and "dataset" or "any" }
end

--- The specs of batches whose rows are described; `n`: their size, none where it varies.
function elements.batched(spec, n)
  if spec.dtype and type(spec.dtype) == "string" then
    if not spec.shape then
      return spec
    end
    local shape = { n or none }
    table.move(spec.shape, 1, #spec.shape, 2, shape)
    return { shape = list.new(shape), dtype = spec.dtype }
  end
  local out = {}
  for k, s in next, spec do
    out[k] = elements.batched(s, n)
  end
  return out
end

--- The specs of the rows of batches that are described.
function elements.unbatched(spec)
  if spec.dtype and type(spec.dtype) == "string" then
    local shape = spec.shape
    return shape and { shape = list.new(table.move(shape, 2, #shape, 1, {})), dtype = spec.dtype }
      or spec
  end
  local out = {}
  for k, s in next, spec do
    out[k] = elements.unbatched(s)
  end
  return out
end

-- ---- several parts as one value ----

--- Parts as one Lua value, which `parts` gives back: itself where it is one.
function elements.pack(first, ...)
  if select("#", ...) == 0 then
    return first
  end
  return setmetatable({ first, n = 1 + select("#", ...), ... }, elements.Parts)
end

-- Marks several parts, which no value of a person's is.
elements.Parts = { __name = "parts" }

--- The parts of what `pack` made.
function elements.parts(v)
  if getmetatable(v) == elements.Parts then
    return table.unpack(v, 1, v.n)
  end
  return v
end

-- ---- keys ----

local function key(out, v)
  local t = math.type(v) or type(v)
  if t == "userdata" then
    out[#out + 1] = v.dtype .. tostring(v.shape) .. v:tobytes()
  elseif t == "table" then
    out[#out + 1] = "{"
    for _, k in ipairs(check.sorted_keys(v)) do
      key(out, k)
      key(out, v[k])
    end
    out[#out + 1] = "}"
  elseif t == "float" then
    out[#out + 1] = string.pack("<c1d", "f", v)
  else
    local text = tostring(v)
    out[#out + 1] = t:sub(1, 1):upper() .. #text .. ":" .. text
  end
end

--- A string that two elements share exactly when they are equal.
function elements.key(first, ...)
  if type(first) == "string" and select("#", ...) == 0 then
    return "s" .. first
  end
  local out = {}
  for k = 1, select("#", ...) + 1 do
    key(out, (select(k, first, ...)))
  end
  return table.concat(out)
end

-- ---- states ----

-- A value as plain data and tensors: data sets of collected elements among them.
local function freeze(v)
  if type(v) ~= "table" or list.is(v) then
    return v
  elseif getmetatable(v) == elements.Parts then
    local out = { parts = v.n }
    for k = 1, v.n do
      out[k] = freeze(v[k])
    end
    return out
  elseif getmetatable(v) ~= nil then
    if v._count then -- in a file
      return { file = v._path, packed = v._packed, count = v._count }
    elseif not v._elements then
      errors.raise("state", "an element that is a data set of a person's own cannot be kept in a \z
        state; take it apart (flat_map) before the stage that collects it")
    end
    return { memory = elements.freeze(v._elements, #v._elements), dtypes = v._dtypes }
  end
  local out = {}
  for k, x in next, v do
    out[k] = freeze(x)
  end
  return { table = out }
end

local function thaw(v)
  if type(v) ~= "table" or list.is(v) then
    return v
  elseif v.table then
    local out = {}
    for k, x in next, v.table do
      out[k] = thaw(x)
    end
    return out
  elseif v.memory then
    return elements.collected(elements.thaw(v.memory), v.dtypes)
  elseif v.file then
    return elements.stored(v.file, v.packed, v.count)
  end
  local out = { n = v.parts }
  for k = 1, v.parts do
    out[k] = thaw(v[k])
  end
  return setmetatable(out, elements.Parts)
end

--- A list of n packed elements as plain data and tensors, for a state.
function elements.freeze(values, n)
  local out = {}
  for i = 1, n do
    out[i] = freeze(values[i])
  end
  return out
end

--- The list that `freeze` was given.
function elements.thaw(values)
  local out = {}
  for i, v in ipairs(values) do
    out[i] = thaw(v)
  end
  return out
end

--- Appends the parts of element i to lists by part. Returns how many parts there are.
function elements.push(columns, i, ...)
  local n = select("#", ...)
  for k = 1, n do
    local column = columns[k]
    if not column then
      column = {}
      columns[k] = column
    end
    column[i] = (select(k, ...))
  end
  return n
end

return elements

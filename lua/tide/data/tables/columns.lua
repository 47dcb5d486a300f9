--- Columns of tables: a tensor with one axis, or a list of texts in which `false` is a missing one.
--- Numbers that are missing are NaN.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"
local ops = require "tide.ops"

local columns = {}

local KINDS = { string = "s", bool = "b", float16 = "f", bfloat16 = "f", float32 = "f",
  float64 = "f", int8 = "i", int16 = "i", int32 = "i", int64 = "i", uint8 = "i" }
columns.KINDS = KINDS

--- The dtype of a column: a tensor's, or "string".
function columns.dtype(v)
  return core.is_tensor(v) and v.dtype or "string"
end

function columns.size(v)
  return core.is_tensor(v) and v.shape[1] or #v
end

--- A column of another dtype; numbers that do not fit raise.
--- @param v userdata|table
--- @param name string of the column, for messages
--- @param path string|nil of its file
function columns.cast(v, dtype, name, where, path)
  local old = columns.dtype(v)
  if old == dtype then
    return v
  elseif dtype == "string" or old == "string" then
    errors.raise(where, "column '%s' cannot become %s (it is %s)", name, dtype, old)
  end
  local out = v:cast(dtype)
  if KINDS[dtype] == "i" then
    local whole = KINDS[old] ~= "f" or ops.all(ops.equal(v, ops.floor(v)))
    local back = whole and out:cast(old)
    if not back or not ops.all(ops.equal(back, v)) then
      errors.raise(where, "%scolumn '%s' holds numbers that %s does not (from %s to %s)",
        path and path .. ": " or "", name, dtype, tostring(ops.min(v)), tostring(ops.max(v)))
    end
  end
  return out
end

local function is_missing(v)
  return v == nil or v == none
end

-- The kind of a Lua value: "i", "f", "b" or "s".
local function kind_of(v, name, row, where)
  local t = type(v)
  local kind = math.type(v) == "integer" and "i" or t == "number" and "f" or t == "boolean" and "b"
    or t == "string" and "s"
  if not kind then
    errors.raise(where, "column '%s' must hold numbers, booleans or texts (got %s in row %d)", name,
      check.show(v), row)
  end
  return kind
end

-- Numbers with NaN where they are missing, as float64.
local function with_gaps(values, n)
  local out = {}
  for i = 1, n do
    local v = values[i]
    out[i] = is_missing(v) and 0 / 0 or v == true and 1 or v == false and 0 or v
  end
  return core.tensor(out, { dtype = "float64" })
end

local function texts(values, n, as_text)
  local out = {}
  for i = 1, n do
    local v = values[i]
    out[i] = not (is_missing(v) or v == false and not as_text) and tostring(v)
  end
  return out
end

--- A column of n Lua values, in which nil and tide.none (and false among texts) are missing:
--- whole numbers are int64, others float64, booleans bool, texts a list. Missing values among
--- numbers and booleans make it float64.
--- @param values table
--- @param n integer
--- @param dtype string|nil what it must be; "string" takes numbers as they print
function columns.of(values, n, name, where, dtype)
  if dtype == "string" then
    return texts(values, n, true)
  end
  local kind, gaps, any = nil, false, false
  for i = 1, n do
    local v = values[i]
    if is_missing(v) or v == false and kind == "s" then
      gaps = true
    else
      local now = kind_of(v, name, i, where)
      if kind == nil then
        kind = now
      elseif kind == "b" and now == "s" and not any then -- false before texts: a missing one
        kind, gaps = "s", true
      end
      any = any or v == true
      if now ~= kind then
        local numbers = (kind == "i" or kind == "f") and (now == "i" or now == "f")
        if not numbers then
          errors.raise(where, "column '%s' holds values of several kinds (%s in row %d); dtypes = \z
            { [%q] = \"string\" } takes them as texts", name, check.show(v), i, name)
        end
        kind = "f"
      end
    end
  end
  if kind == "s" then
    return texts(values, n)
  elseif n == 0 then
    return core.zeros({ 0 }, { dtype = dtype or "float64" })
  end
  local out
  if kind == nil or gaps then
    out = with_gaps(values, n)
  else
    out = core.tensor(table.move(values, 1, n, 1, {}),
      { dtype = kind == "i" and "int64" or kind == "b" and "bool" or "float64" })
  end
  return dtype and columns.cast(out, dtype, name, where) or out
end

--- What a person gives as a column: a tensor with one axis, or a list of Lua values.
function columns.given(v, name, where, dtype)
  if core.is_tensor(v) then
    if v.ndim ~= 1 then
      errors.raise(where, "column '%s' must have one axis (got %s)", name, tostring(v.shape))
    end
    return dtype and columns.cast(v, dtype, name, where) or v
  elseif type(v) ~= "table" or v == none then
    errors.raise(where, "column '%s' must be a tensor or a list (got %s)", name, check.show(v))
  end
  local n = 0
  for k in pairs(v) do
    if math.type(k) ~= "integer" or k < 1 then
      errors.raise(where, "column '%s' must be a list (got the key %s)", name, check.show(k))
    end
    n = math.max(n, k)
  end
  for i = 1, n do
    if v[i] == nil then
      errors.raise(where, "column '%s' has nil in row %d (expected a value, or tide.none for a \z
        missing one)", name, i)
    end
  end
  return columns.of(v, n, name, where, dtype)
end

--- The rows with these numbers, a list or an int64 tensor.
function columns.take(v, order)
  if core.is_tensor(v) then
    if type(order) == "table" then
      if #order == 0 then
        return core.zeros({ 0 }, { dtype = v.dtype })
      end
      order = core.tensor(order, { dtype = "int64" })
    end
    return order.size == 0 and core.zeros({ 0 }, { dtype = v.dtype }) or v[order]
  end
  local out = {}
  local numbers = core.is_tensor(order) and order:tolist() or order
  for i = 1, #numbers do
    out[i] = v[numbers[i]]
  end
  return out
end

--- Rows first..last.
function columns.slice(v, first, last)
  if core.is_tensor(v) then
    return last < first and core.zeros({ 0 }, { dtype = v.dtype }) or v[{ { first, last } }]
  end
  return table.move(v, first, last, 1, {})
end

--- One below the other; texts and numbers do not mix.
function columns.join(parts)
  if core.is_tensor(parts[1]) then
    return #parts == 1 and parts[1] or ops.concatenate(parts, { axis = 1 })
  end
  local out = {}
  for _, part in ipairs(parts) do
    table.move(part, 1, #part, #out + 1, out)
  end
  return out
end

--- The values as Lua values: `false` for a missing text, NaN for a missing number.
function columns.values(v)
  return core.is_tensor(v) and v:tolist() or v
end

--- Numbers 1..k of the sorted different values, 0 for a missing one; the values, k. Sorting and
--- grouping by them is sorting and grouping by the column.
function columns.codes(v)
  local values = columns.values(v)
  local code, different = {}, {}
  for i = 1, #values do
    local x = values[i]
    if x == x and x ~= false and code[x] == nil or x == false and core.is_tensor(v) then
      if code[x] == nil then
        code[x] = 0
        different[#different + 1] = x
      end
    end
  end
  table.sort(different, function(a, b)
    if type(a) == "boolean" then
      return not a and b
    end
    return a < b
  end)
  for k, x in ipairs(different) do
    code[x] = k
  end
  local out = {}
  for i = 1, #values do
    local x = values[i]
    out[i] = x == x and code[x] or 0
  end
  return out, different
end

return columns

--- Tables: named columns of one length, each a tensor with one axis or a list of texts. What a
--- method makes is a new table; columns are shared, never written.
local check = require "tide.check"
local class = require "tide.class"
local columns = require "tide.data.tables.columns"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local options = require "tide.data.tables.options"

local required = check.required

--- Makes a table of a file (its ending says what it is: .csv, .tsv, .jsonl or .ndjson, each perhaps
--- with .gz behind it), of columns by name (tensors with one axis, lists of numbers, booleans or
--- texts) or of a list of rows. Missing values are tide.none (in rows: absent); they become NaN
--- among numbers and `false` in lists of texts. Further options are those of `read_csv`.
---
---     local t = tide.data.table { name = { "a", "b", "c" }, size = { 3, 1, 2 } }
---     t:sort("size"):column "name"   --> { "b", "c", "a" }
local Table = class.strict(class.new "Table")

--- A table of columns that are what they should be.
--- @param names table list
--- @param values table column by name
--- @param n integer rows
function Table._make(names, values, n)
  return setmetatable({ _names = names, _values = values, _n = n }, Table)
end

-- ---- making ----

-- Rows (tables by name, or lists where the names of the columns are given) as columns.
local function of_rows(rows, given, dtypes, where)
  local names, seen = {}, {}
  for _, name in ipairs(given or {}) do
    names[#names + 1], seen[name] = name, {}
  end
  for i, row in ipairs(rows) do
    if not check.is_plain(row) then
      errors.raise(where, "rows must be tables (got %s in row %d)", check.show(row), i)
    end
    for _, k in ipairs(check.sorted_keys(row)) do
      local name = math.type(k) == "integer" and given and given[k] or k
      if type(name) ~= "string" then
        errors.raise(where, "the value %s of row %d has no name; columns = { ... } names them",
          check.show(k), i)
      elseif not seen[name] then
        if given then
          errors.raise(where, "row %d has a column that was not named (expected %s, got %s)", i,
            table.concat(given, ", "), name)
        end
        names[#names + 1], seen[name] = name, {}
      end
      seen[name][i] = row[k]
    end
  end
  if not given then
    table.sort(names)
  end
  local values = {}
  for _, name in ipairs(names) do
    values[name] = columns.of(seen[name], #rows, name, where, dtypes[name])
  end
  return Table._make(names, values, #rows)
end

local function of_columns(data, given, dtypes, where)
  local names = given or check.sorted_keys(data)
  local values, n = {}, nil
  for _, name in ipairs(names) do
    if data[name] == nil then
      errors.raise(where, "there is no column '%s' (got %s)", name,
        table.concat(check.sorted_keys(data), ", "))
    end
    values[name] = columns.given(data[name], name, where, dtypes[name])
    local size = columns.size(values[name])
    n = n or size
    if size ~= n then
      errors.raise(where, "columns must have one length (expected %d rows as '%s' has, got %d in \z
        '%s')", n, names[1], size, name)
    end
  end
  return Table._make(table.move(names, 1, #names, 1, {}), values, n or 0)
end

--- Checks a list of names of columns, and that of their dtypes.
function Table._check_names(names, where)
  local seen = {}
  for i, name in ipairs(names) do
    if type(name) ~= "string" or name == "" then
      errors.raise(where, "columns must be names (got %s as number %d)", check.show(name), i)
    elseif seen[name] then
      errors.raise(where, "the column '%s' is there twice", name)
    end
    seen[name] = true
  end
end

local DTYPE = { "dtypes", "dtype" }

--- dtypes by column, checked: one for all columns, or a table by name.
function Table._check_dtypes(dtypes, where)
  if type(dtypes) == "string" then
    local one = dtypes == "string" and dtypes or check.convert(DTYPE, dtypes) or dtypes
    dtypes = setmetatable({}, { __index = function()
      return one
    end })
    if not columns.KINDS[one] then
      errors.raise(where, "dtypes must be dtypes of columns (got %q)", one)
    end
    return dtypes
  end
  local out = {}
  for _, name in ipairs(check.sorted_keys(dtypes or {})) do
    local dtype = dtypes[name]
    local real = dtype == "string" and dtype or check.convert(DTYPE, dtype)
    if not columns.KINDS[real] then
      errors.raise(where, "the dtype of column '%s' must be \"string\", \"bool\", an integer or a \z
        float (got %s)", tostring(name), check.show(dtype))
    end
    out[name] = real
  end
  return out
end

local OF_VALUES = { data = true, columns = true, dtypes = true }
local args = check.args("table", {
  { "data", "any", required, "a path; columns by name; or a list of rows", dict = true },
}, { named = options.join(options.shared, options.csv, options.whole) })

function Table:_init(...)
  local o = args:call(...)
  local data, where = o.data, "table"
  local made
  if type(data) == "string" then
    made = require("tide.data.tables.read").file(o)
  else
    local last = select(select("#", ...), ...)
    for _, k in ipairs(last ~= data and check.is_plain(last) and check.sorted_keys(last) or {}) do
      if type(k) == "string" and not OF_VALUES[k] then
        errors.raise(where, "%s is an option of files (the data are %s)", k, check.show(data))
      end
    end
    if o.columns then
      Table._check_names(o.columns, where)
    end
    local dtypes = Table._check_dtypes(o.dtypes, where)
    if class.is(data, Table) then
      made = data
    elseif not check.is_plain(data) then
      errors.raise(where, "takes a path, columns by name or a list of rows (got %s)",
        check.show(data))
    elseif #data > 0 or next(data) == nil then
      made = of_rows(data, o.columns, dtypes, where)
    else
      made = of_columns(data, o.columns, dtypes, where)
    end
  end
  self._names, self._values, self._n = made._names, made._values, made._n
  self.skipped = made.skipped
end

-- ---- looking ----

function Table:__len()
  return self._n
end

class.properties(Table, {
  --- Names of the columns, in their order.
  columns = function(self)
    return list.copy(self._names)
  end,
  --- { rows, columns }
  shape = function(self)
    return list.new { self._n, #self._names }
  end,
  --- dtype by column; "string" for texts.
  dtypes = function(self)
    local out = {}
    for name, v in pairs(self._values) do
      out[name] = columns.dtype(v)
    end
    return out
  end,
})

local named = Table.__index

-- A column by its name, a row by its number (a table by name); methods and fields come first.
function Table.__index(self, key)
  local values = rawget(self, "_values")
  if math.type(key) == "integer" and values then
    local n = rawget(self, "_n")
    key = key < 0 and n + 1 + key or key
    if key < 1 or key > n then
      return nil
    end
    local out = {}
    for name, v in pairs(values) do
      out[name] = v[key]
    end
    return out
  end
  if values and Table[key] == nil and not Table._get[key] and values[key] ~= nil then
    return values[key]
  end
  return named(self, key)
end

--- Raises unless there is such a column.
function Table:_need(name, where)
  local v = self._values[name]
  if v == nil then
    errors.raise(where, "there is no column %s%s (there are %s)", check.show(name),
      type(name) == "string" and check.did_you_mean(name, self._names) or "",
      table.concat(self._names, ", "))
  end
  return v
end

--- A column: a tensor with one axis, or a list of texts.
---
---     tide.data.table({ x = { 1, 2 } }):column("x"):sum()   --> 3
--- @param name string
function Table:column(name)
  return self:_need(name, "table:column")
end

-- A list of names, given as one or as several arguments.
local function names_given(self, where, first, ...)
  local names = type(first) == "table" and table.move(first, 1, #first, 1, {}) or { first, ... }
  for _, name in ipairs(names) do
    self:_need(name, where)
  end
  Table._check_names(names, where)
  return names
end

-- These columns, with each column's values made anew by `f`.
function Table:_with(names, n, f)
  local values = {}
  for _, name in ipairs(names) do
    values[name] = f and f(self._values[name]) or self._values[name]
  end
  return Table._make(names, values, n)
end

--- These columns alone, in this order.
---
---     tide.data.table({ x = { 1 }, y = { 2 } }):select("y").columns   --> { "y" }
--- @param ... string names, or a list of them
--- @return Table
function Table:select(...)
  return self:_with(names_given(self, "table:select", ...), self._n)
end

--- All columns but these.
---
---     tide.data.table({ x = { 1 }, y = { 2 } }):drop("y").columns   --> { "x" }
--- @param ... string names, or a list of them
--- @return Table
function Table:drop(...)
  local out, kept = {}, {}
  for _, name in ipairs(names_given(self, "table:drop", ...)) do
    out[name] = true
  end
  for _, name in ipairs(self._names) do
    kept[#kept + 1] = not out[name] and name or nil
  end
  return self:_with(kept, self._n)
end

--- Other names of columns.
---
---     tide.data.table({ x = { 1 } }):rename({ x = "size" }).columns   --> { "size" }
--- @param new table name by name
--- @return Table
function Table:rename(new)
  check.refuse_unknown("table:rename", new, self._names, "column")
  local names, values = {}, {}
  for i, name in ipairs(self._names) do
    names[i] = new[name] or name
    values[names[i]] = self._values[name]
  end
  Table._check_names(names, "table:rename")
  return Table._make(names, values, self._n)
end

--- The rows with these numbers, in this order.
---
---     tide.data.table({ x = { 1, 2, 3 } }):take({ 3, 1 }):column("x"):tolist()   --> { 3, 1 }
--- @param order table|userdata list or tensor of row numbers from 1, negative from the end
--- @return Table
function Table:take(order)
  local n, numbers = self._n, {}
  for i, k in ipairs(core.is_tensor(order) and order:tolist() or order) do
    numbers[i] = math.tointeger(k) or 0
    numbers[i] = numbers[i] < 0 and n + 1 + numbers[i] or numbers[i]
    if numbers[i] < 1 or numbers[i] > n then
      errors.raise("table:take", "there is no row %s (expected 1 to %d)", check.show(k), n)
    end
  end
  return self:_ordered(numbers)
end

-- The same of numbers that are known to be right.
function Table:_ordered(numbers)
  local n = core.is_tensor(numbers) and numbers.shape[1] or #numbers
  local order = n > 0 and not core.is_tensor(numbers)
    and core.tensor(numbers, { dtype = "int64" }) or numbers
  return self:_with(self._names, n, function(v)
    return columns.take(v, core.is_tensor(v) and order or numbers)
  end)
end

--- Rows first..last, negative from the end, clamped as string.sub does.
---
---     #tide.data.table({ x = { 1, 2, 3 } }):rows(2, -1)   --> 2
--- @param first integer
--- @param last integer|nil the last row
--- @return Table
function Table:rows(first, last)
  local n = self._n
  first = first < 0 and math.max(n + 1 + first, 1) or math.max(first, 1)
  last = last or n
  last = last < 0 and n + 1 + last or math.min(last, n)
  return self:_with(self._names, math.max(last - first + 1, 0), function(v)
    return columns.slice(v, first, last)
  end)
end

local count_args = check.args("table:head", { { "n", "int", 5, "rows", min = 0 } })

--- The first rows.
---
---     #tide.data.table({ x = { 1, 2, 3 } }):head(2)   --> 2
--- @return Table
function Table:head(...)
  return self:rows(1, math.min(count_args:call(...).n, self._n))
end

local tail_args = count_args:extend("table:tail", {})

--- The last rows.
---
---     tide.data.table({ x = { 1, 2, 3 } }):tail(1):column("x"):tolist()   --> { 3 }
--- @return Table
function Table:tail(...)
  return self:rows(self._n + 1 - math.min(tail_args:call(...).n, self._n), self._n)
end

--- Row by row: `for i, row in t:iter() do`, a row being a table by name.
---
---     for i, row in tide.data.table({ x = { 1, 2 } }):iter() do end
function Table:iter()
  local lists = {}
  for _, name in ipairs(self._names) do
    lists[name] = columns.values(self._values[name])
  end
  local i, n, names = 0, self._n, self._names
  return function()
    i = i + 1
    if i > n then
      return nil
    end
    local row = {}
    for k = 1, #names do
      row[names[k]] = lists[names[k]][i]
    end
    return i, row
  end
end

--- The rows as a list of tables by name.
---
---     tide.data.table({ x = { 1 } }):tolist()   --> { { x = 1 } }
function Table:tolist()
  local out = {}
  for i, row in self:iter() do
    out[i] = row
  end
  return out
end

--- The rows that a function of a row says yes to, or a mask of bools (`t.x:greater(3)`).
---
---     local t = tide.data.table { x = { 1, 5, 9 } }
---     #t:filter(t.x:greater(3))   --> 2
---     #t:filter(function(row) return row.x < 6 end)   --> 2
--- @param which function|userdata|table
--- @return Table
function Table:filter(which)
  local numbers = {}
  if core.is_tensor(which) or check.is_plain(which) then
    local mask = core.is_tensor(which) and which or core.tensor(which)
    if mask.dtype ~= "bool" or mask.ndim ~= 1 or mask.shape[1] ~= self._n then
      errors.raise("table:filter", "takes a function, or a mask of %d bools (got %s %s)", self._n,
        mask.dtype, tostring(mask.shape))
    end
    return self:_ordered((ops.nonzero(mask)):cast "int64")
  elseif type(which) ~= "function" then
    errors.raise("table:filter", "takes a function, or a mask of %d bools (got %s)", self._n,
      check.show(which))
  end
  for i, row in self:iter() do
    if which(row) then
      numbers[#numbers + 1] = i
    end
  end
  return self:_ordered(numbers)
end

local sort_args = check.args("table:sort", {
  { "by", "any", required, "a column, or a list of them, the first being the most important" },
}, { named = {
  { "descending", "any", false, "the largest first: a boolean, or one per column" } } })

--- The rows in order of one or several columns; equal ones stay as they stood, missing values come
--- last.
---
---     tide.data.table({ x = { 2, 3, 1 } }):sort("x"):column("x"):tolist()   --> { 1, 2, 3 }
--- @param ... string names, or a list of them; then options
--- @return Table
function Table:sort(first, ...)
  local rest = { ... }
  local last = type(rest[#rest]) == "table" and table.remove(rest) or {}
  if type(first) == "string" and #rest > 0 then
    first = { first, table.unpack(rest) }
  end
  local o = sort_args:call(first, last)
  local by = names_given(self, "table:sort", o.by)
  local order
  for i = #by, 1, -1 do
    local v = self._values[by[i]]
    local descending = o.descending
    if type(descending) == "table" then
      descending = descending[i]
    end
    local key = v
    if not core.is_tensor(v) or v.dtype == "bool" then
      local codes, different = columns.codes(v)
      for k = 1, #codes do
        codes[k] = codes[k] == 0 and (descending and -1 or #different + 1) or codes[k]
      end
      key = #codes > 0 and core.tensor(codes, { dtype = "int64" }) or core.zeros({ 0 })
    end
    if descending then
      key = columns.KINDS[key.dtype] == "f" and -key or -1 - key:cast "int64"
    end
    if order then
      key = columns.take(key, order)
    end
    local now = ops.argsort(key)
    order = order and order[now] or now
  end
  if not order or self._n == 0 then
    return self:_with(self._names, self._n)
  end
  return self:_ordered(order:cast "int64")
end

--- A further column, or another in the place of one that is there: values, or a function of a row.
---
---     local t = tide.data.table { x = { 1, 2 } }
---     t:with("twice", function(row) return 2 * row.x end):column("twice"):tolist()   --> { 2, 4 }
--- @param name string
--- @param v table|userdata|function|number|string|boolean one value stands in every row
--- @return Table
function Table:with(name, v)
  local where = "table:with"
  Table._check_names({ name }, where)
  local made
  if type(v) == "function" then
    local values = {}
    for i, row in self:iter() do
      local x = v(row)
      values[i] = core.is_tensor(x) and x:item() or x
    end
    made = columns.of(values, self._n, name, where)
  elseif type(v) == "table" and v ~= none or core.is_tensor(v) then
    made = columns.given(v, name, where)
  else
    local values = {}
    for i = 1, self._n do
      values[i] = v
    end
    made = columns.of(values, self._n, name, where)
  end
  if columns.size(made) ~= self._n and #self._names > 0 then
    errors.raise(where, "column '%s' must have as many rows as the table (expected %d, got %d)",
      name, self._n, columns.size(made))
  end
  local names = table.move(self._names, 1, #self._names, 1, {})
  if not self._values[name] then
    names[#names + 1] = name
  end
  local out = self:_with(self._names, columns.size(made))
  out._names, out._values[name] = names, made
  return out
end

--- The rows of this table, then those of others with the same columns.
---
---     local t = tide.data.table { x = { 1, 2 } }
---     #t:concat(t)   --> 4
--- @param ... Table
--- @return Table
function Table:concat(...)
  local parts, n = { self, ... }, 0
  for _, part in ipairs(parts) do
    if not class.is(part, Table) then
      errors.raise("table:concat", "takes tables (got %s)", check.show(part))
    end
    n = n + part._n
  end
  local values = {}
  for _, name in ipairs(self._names) do
    local pieces = {}
    for i, part in ipairs(parts) do
      local v = part:_need(name, "table:concat")
      local a, b = columns.dtype(self._values[name]), columns.dtype(v)
      if a ~= b then
        errors.raise("table:concat", "the column '%s' differs in dtype (expected %s, got %s in \z
          table %d)", name, a, b, i)
      end
      pieces[i] = v
    end
    values[name] = columns.join(pieces)
  end
  return Table._make(self._names, values, n)
end

local drop_args = check.args("table:drop_missing", {
  { "columns", "list", nil, "that are looked at; all when left out" } })

--- The rows without missing values.
---
---     #tide.data.table({ x = { 1, tide.none } }):drop_missing()   --> 1
--- @return Table
function Table:drop_missing(...)
  local names = drop_args:call(...).columns
  names = names and names_given(self, "table:drop_missing", names) or self._names
  local lists, numbers = {}, {}
  for k, name in ipairs(names) do
    local v = self._values[name]
    lists[k] = core.is_tensor(v) and (columns.KINDS[v.dtype] == "f" and v:tolist()) or v
    lists[k] = not core.is_tensor(lists[k]) and lists[k] or nil
  end
  for i = 1, self._n do
    local whole = true
    for k = 1, #names do
      local x = lists[k]
      x = x and x[i]
      whole = whole and (lists[k] == nil or x ~= false and x == x)
    end
    numbers[#numbers + 1] = whole and i or nil
  end
  return self:_ordered(numbers)
end

--- Missing values replaced: by one value, or by one per column.
---
---     local t = tide.data.table { x = { 1, tide.none } }
---     t:fill_missing(0).x:tolist()   --> { 1, 0 }
--- @param value number|string|table a number for columns of numbers, a text for others, or by name
--- @return Table
function Table:fill_missing(value)
  local values = {}
  if type(value) == "table" then
    check.refuse_unknown("table:fill_missing", value, self._names, "column")
  end
  for _, name in ipairs(self._names) do
    local v = self._values[name]
    local fill = value
    if type(value) == "table" then
      fill = value[name]
    end
    if core.is_tensor(v) and type(fill) == "number" and columns.KINDS[v.dtype] == "f" then
      v = ops.where(ops.isnan(v), core.tensor(fill, { dtype = v.dtype }), v)
    elseif not core.is_tensor(v) and type(fill) == "string" then
      local out = {}
      for i = 1, #v do
        out[i] = v[i] or fill
      end
      v = out
    elseif type(value) == "table" and fill ~= nil
      and (core.is_tensor(v) ~= (type(fill) == "number")) then
      errors.raise("table:fill_missing", "the column '%s' is %s (got %s)", name, columns.dtype(v),
        check.show(fill))
    end
    values[name] = v
  end
  return Table._make(self._names, values, self._n)
end

--- The different values of a column, sorted, missing ones left out.
---
---     tide.data.table({ x = { "b", "a", "b" } }):unique "x"   --> { "a", "b" }
--- @param name string
function Table:unique(name)
  local _, different = columns.codes(self:_need(name, "table:unique"))
  return different
end

Table._names_given = names_given

return Table

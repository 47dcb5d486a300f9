--- Groups of rows and what is computed of them: `group_by`, `describe`, `value_counts`.
local check = require "tide.check"
local class = require "tide.class"
local columns = require "tide.data.tables.columns"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local Table = require "tide.data.tables.table"


--- Groups of a table's rows, which `table:group_by` makes: `sum`, `mean`, `aggregate` and so on.
---
---     local t = tide.data.table { kind = { "a", "b", "a" }, x = { 1, 2, 3 } }
---     #t:group_by("kind")   --> 2
local Groups = class.strict(class.new "Groups")

-- Numbers of groups by row, in the order of the keys (0: a key is missing), and how many.
local function number_groups(self, by)
  local ids, n = {}, 1
  for i = 1, self._n do
    ids[i] = 1
  end
  for _, name in ipairs(by) do
    local codes, different = columns.codes(self._values[name])
    local wide, seen, there = #different, {}, {}
    for i = 1, #ids do
      local id = ids[i]
      id = id > 0 and codes[i] > 0 and (id - 1) * wide + codes[i] or 0
      ids[i] = id
      if id > 0 and not seen[id] then
        seen[id], there[#there + 1] = true, id
      end
    end
    table.sort(there)
    for k, id in ipairs(there) do
      seen[id] = k
    end
    for i = 1, #ids do
      ids[i] = ids[i] > 0 and seen[ids[i]] or 0
    end
    n = #there
  end
  return ids, n
end

function Groups:_init(t, by)
  self._table, self._by = t, by
  local ids, n = number_groups(t, by)
  local rows, first, kept, last = {}, {}, {}, {}
  for i = 1, #ids do
    local id = ids[i]
    if id > 0 then
      rows[#rows + 1], kept[#kept + 1] = i, id
      first[id], last[id] = first[id] or i, i
    end
  end
  self._n, self._rows, self._first, self._last = n, rows, first, last
  self._ids = #kept > 0 and core.tensor(kept, { dtype = "int64" })
    or core.zeros({ 0 }, { dtype = "int64" })
end

function Groups:__len()
  return self._n
end

function Groups:__tostring()
  return ("groups by %s, %d of %d rows"):format(table.concat(self._by, ", "), self._n,
    self._table._n)
end

-- The values of a column of numbers that are there, and the groups they belong to.
local function values_of(self, name)
  local v = columns.take(self._table._values[name], self._rows)
  local ids = self._ids
  if v.dtype == "bool" then
    v = v:cast "int64"
  elseif columns.KINDS[v.dtype] == "f" then
    v = v:cast "float64"
    local there = ops.logical_not(ops.isnan(v))
    if not ops.all(there) then
      v, ids = v[there], ids[there]
    end
  else
    v = v:cast "int64"
  end
  return v, ids
end

local NAN = core.tensor(0 / 0, { dtype = "float64" })

local function zeros(n, dtype)
  return core.zeros({ n }, { dtype = dtype })
end

-- What is computed of a column: function of the values that are there, their groups, how many
-- groups.
local aggregates = {}

function aggregates.sum(v, ids, n)
  return v.size == 0 and zeros(n, v.dtype) or ops.segment_sum(v, ids, n)
end

function aggregates.count(v, ids, n)
  return aggregates.sum(ops.ones_like(v):cast "int64", ids, n)
end

function aggregates.mean(v, ids, n)
  return aggregates.sum(v:cast "float64", ids, n) / aggregates.count(v, ids, n):cast "float64"
end

-- NaN where a group has no values; whole numbers stay whole where all groups have some.
local function extreme(f)
  return function(v, ids, n)
    local counts = aggregates.count(v, ids, n)
    if v.size > 0 and ops.all(ops.greater(counts, 0)) then
      return f(v, ids, n)
    end
    local out = v.size == 0 and zeros(n, "float64") or f(v, ids, n):cast "float64"
    return ops.where(ops.greater(counts, 0), out, NAN)
  end
end

aggregates.min = extreme(ops.segment_min)
aggregates.max = extreme(ops.segment_max)

-- With n - 1 in the denominator, from the distances to the means.
function aggregates.var(v, ids, n)
  v = v:cast "float64"
  local counts = aggregates.count(v, ids, n):cast "float64"
  local distance = v.size > 0 and v - ops.take(aggregates.mean(v, ids, n), ids) or v
  local squares = aggregates.sum(distance * distance, ids, n)
  return ops.where(ops.greater(counts, 1), squares / (counts - 1), NAN)
end

function aggregates.std(v, ids, n)
  return ops.sqrt(aggregates.var(v, ids, n))
end

function aggregates.median(v, ids, n)
  v = v:cast "float64"
  local values, numbers, of = v:tolist(), ids:tolist(), {}
  for i = 1, #values do
    of[numbers[i]] = of[numbers[i]] or {}
    table.insert(of[numbers[i]], values[i])
  end
  local out = {}
  for g = 1, n do
    local x = of[g] or {}
    table.sort(x)
    local half = #x // 2
    out[g] = #x == 0 and 0 / 0 or #x % 2 == 1 and x[half + 1] or (x[half] + x[half + 1]) / 2
  end
  return n > 0 and core.tensor(out, { dtype = "float64" }) or zeros(0, "float64")
end

local KEPT = { first = "_first", last = "_last" } -- these take any column, as it stands

-- One aggregate of one column.
local function compute(self, name, what, where)
  local v = self._table:_need(name, where)
  if KEPT[what] then
    return columns.take(v, self[KEPT[what]])
  elseif what == "count" and not core.is_tensor(v) then
    local there = {}
    for i, row in ipairs(self._rows) do
      there[i] = v[row] and 1 or 0
    end
    return aggregates.sum(#there > 0 and core.tensor(there, { dtype = "int64" })
      or zeros(0, "int64"), self._ids, self._n)
  elseif not aggregates[what] then
    errors.raise(where, "there is no aggregate %s%s (there are count, first, last, max, mean, \z
      median, min, std, sum, var)", check.show(what),
      type(what) == "string" and check.did_you_mean(what, check.sorted_keys(aggregates)) or "")
  elseif not core.is_tensor(v) then
    errors.raise(where, "the column '%s' holds texts, which have no %s", name, what)
  end
  local values, ids = values_of(self, name)
  return aggregates[what](values, ids, self._n)
end

-- The keys of the groups as the first columns of a table.
local function keys(self)
  local names, values = {}, {}
  for i, name in ipairs(self._by) do
    names[i] = name
    values[name] = columns.take(self._table._values[name], self._first)
  end
  return names, values
end

--- Several aggregates at once: by column the name of one ("sum", "mean", "count", "min", "max",
--- "std", "var", "median", "first", "last") or a list of them, whose columns are then called
--- `column_aggregate`. A function of the group's table is one too: its name is the column's.
---
---     local t = tide.data.table { kind = { "a", "b", "a" }, x = { 1, 2, 3 } }
---     local sums = t:group_by("kind"):aggregate { x = { "sum", "max" } }
---     sums.x_sum:tolist()   --> { 4, 2 }
--- @param what table
--- @return Table
function Groups:aggregate(what)
  local where = "groups:aggregate"
  if not check.is_plain(what) or next(what) == nil then
    errors.raise(where, "takes aggregates by column (got %s)", check.show(what))
  end
  local names, values = keys(self)
  local function add(name, v)
    if values[name] ~= nil then
      errors.raise(where, "the column '%s' would be there twice", name)
    end
    names[#names + 1], values[name] = name, v
  end
  for _, name in ipairs(check.sorted_keys(what)) do
    local one = what[name]
    if type(one) == "function" then
      local made = {}
      for g, part in self:iter() do
        local v = one(part)
        made[g] = core.is_tensor(v) and v:item() or v
      end
      add(name, columns.of(made, self._n, name, where))
    elseif type(one) == "table" then
      for _, each in ipairs(one) do
        add(name .. "_" .. tostring(each), compute(self, name, each, where))
      end
    else
      add(name, compute(self, name, one, where))
    end
  end
  return Table._make(names, values, self._n)
end

-- The same aggregate of the columns that are named, or of all that have numbers.
local function of_all(self, what, ...)
  local given = { ... }
  given = type(given[1]) == "table" and given[1] or given
  local names, values = keys(self)
  local chosen = #given > 0 and given or {}
  for _, name in ipairs(#given == 0 and self._table._names or {}) do
    local v = self._table._values[name]
    if not values[name] and (core.is_tensor(v) or what == "count" or KEPT[what]) then
      chosen[#chosen + 1] = name
    end
  end
  for _, name in ipairs(chosen) do
    names[#names + 1], values[name] = name, compute(self, name, what, "groups:" .. what)
  end
  return Table._make(names, values, self._n)
end

--- Sums of the columns that are named, or of all that have numbers, by group; so are mean, count
--- (values that are not missing), min, max, std and var (n - 1 in the denominator), median, first
--- and last. Missing values are left out.
---
---     local t = tide.data.table { kind = { "a", "b", "a" }, x = { 1, 2, 3 } }
---     t:group_by("kind"):sum():column("x"):tolist()   --> { 4, 2 }
--- @param ... string names of columns
--- @return Table
function Groups:sum(...)
  return of_all(self, "sum", ...)
end

for _, what in ipairs { "mean", "count", "min", "max", "std", "var", "median", "first", "last" } do
  Groups[what] = function(self, ...)
    return of_all(self, what, ...)
  end
end

--- How many rows each group has, in the column `size`.
---
---     local t = tide.data.table { kind = { "a", "b", "a" } }
---     t:group_by("kind"):size():column("size"):tolist()   --> { 2, 1 }
--- @return Table
function Groups:size()
  local names, values = keys(self)
  names[#names + 1] = "size"
  values.size = aggregates.count(self._ids, self._ids, self._n)
  return Table._make(names, values, self._n)
end

--- Group by group: `for g, part in groups:iter() do`, the rows of each as a table.
---
---     local t = tide.data.table { kind = { "a", "b", "a" } }
---     for g, part in t:group_by("kind"):iter() do end
function Groups:iter()
  local of = {}
  for i, id in ipairs(self._ids:tolist()) do
    of[id] = of[id] or {}
    table.insert(of[id], self._rows[i])
  end
  local g = 0
  return function()
    g = g + 1
    if g <= self._n then
      return g, self._table:_ordered(of[g])
    end
  end
end

--- Rows with equal values in these columns together, in the order of the values; rows where one is
--- missing are left out.
---
---     local t = tide.data.table { kind = { "a", "b", "a" }, x = { 1, 2, 3 } }
---     t:group_by("kind"):mean("x"):column("x"):tolist()   --> { 2, 2 }
--- @param ... string names, or a list of them
--- @return Groups
function Table:group_by(...)
  local by = self:_names_given("table:group_by", ...)
  if #by == 0 then
    errors.raise("table:group_by", "takes at least one column")
  end
  return Groups(self, by)
end

--- The different values of a column and how often each is there, the most frequent first, and of
--- equally frequent ones those that come first in the table.
---
---     local t = tide.data.table { kind = { "b", "a", "b" } }
---     t:value_counts("kind"):column("count"):tolist()   --> { 2, 1 }
--- @param name string
--- @return Table
function Table:value_counts(name)
  self:_need(name, "table:value_counts")
  local groups, order = Groups(self, { name }), {}
  for i = 1, groups._n do
    order[i] = i
  end
  table.sort(order, function(a, b)
    return groups._first[a] < groups._first[b]
  end)
  local t = groups:size():take(order)
  return t:rename({ size = name == "count" and "size" or "count" }):sort(
    name == "count" and "size" or "count", { descending = true })
end

-- ---- describe ----

local STATISTICS = { "count", "mean", "std", "min", "25%", "50%", "75%", "max" }
local describe_args = check.args("table:describe", {
  { "columns", "list", nil, "that are described; all with numbers when left out" } })

local function statistics(v)
  v = v:cast "float64"
  if columns.KINDS[v.dtype] == "f" then
    v = v[ops.logical_not(ops.isnan(v))]
  end
  local n = v.size
  if n == 0 then
    return { 0, 0 / 0, 0 / 0, 0 / 0, 0 / 0, 0 / 0, 0 / 0, 0 / 0 }
  end
  local mean = v:mean()
  local distance = v - mean
  local sorted = ops.sort(v)
  local function quantile(q) -- between its neighbours
    local at = 1 + q * (n - 1)
    local low = math.floor(at)
    local a, b = sorted[low], sorted[math.min(low + 1, n)]
    return a + (b - a) * (at - low)
  end
  return { n, mean:item(), n > 1 and math.sqrt((distance * distance):sum():item() / (n - 1))
    or 0 / 0, sorted[1], quantile(0.25), quantile(0.5), quantile(0.75), sorted[n] }
end

--- Count (of what is not missing), mean, standard deviation (n - 1 in the denominator), least,
--- quartiles and largest of each column of numbers, one statistic per row.
---
---     local t = tide.data.table { x = { 1, 2, 3, 4 } }
---     t:describe():column("x")[2]   --> 2.5
--- @return Table
function Table:describe(...)
  local o = describe_args:call(...)
  local names = { "statistic" }
  local values = { statistic = table.move(STATISTICS, 1, #STATISTICS, 1, {}) }
  for _, name in ipairs(o.columns or self._names) do
    local v = self:_need(name, "table:describe")
    if core.is_tensor(v) and v.dtype ~= "bool" then
      names[#names + 1] = name
      values[name] = core.tensor(statistics(v), { dtype = "float64" })
    elseif o.columns then
      errors.raise("table:describe", "the column '%s' has no numbers (it is %s)", name,
        columns.dtype(v))
    end
  end
  return Table._make(names, values, #STATISTICS)
end

Table.Groups = Groups

return Table

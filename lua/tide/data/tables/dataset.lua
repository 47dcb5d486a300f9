--- Tables as data sets of batches, in memory or streaming from a file; splitting.
local check = require "tide.check"
local columns = require "tide.data.tables.columns"
local core = require "tide.core"
local Dataset = require "tide.data.whole"
local errors = require "tide.errors"
local list = require "tide.list"
local ops = require "tide.ops"
local options = require "tide.data.tables.options"
local read = require "tide.data.tables.read"
local stage = require "tide.data.stage"
local Table = require "tide.data.tables.table"


-- ---- batches ----

local batch_rows = {
  { "target", "any", nil, "the column that is to be predicted, or a list of several" },
  { "features", "list", nil, "columns that are inputs; all others when left out" },
  { "sample_weight", "string", nil, "the column of weights" },
  { "batch_size", "int", 32, "rows of an element", min = 1 },
  { "drop_remainder", "bool", false, "a last batch that is not full is left out" },
  { "dtype", "dtype", "float32", "of columns of floats" },
  { "matrix", "bool", false, "the inputs are one tensor (rows, features) and no table by name" },
}
local dataset_args = check.args("table:to_dataset", batch_rows, { named = {
  { "shuffle", "bool", false, "another order in every pass" },
  { "seed", "int", nil, "of the order" },
} })

-- Which columns are inputs, targets and weights.
local function roles(names, o, where)
  local there, role = {}, {}
  for _, name in ipairs(names) do
    there[name] = true
  end
  local function need(name)
    if not there[name] then
      errors.raise(where, "there is no column %s%s (there are %s)", check.show(name),
        type(name) == "string" and check.did_you_mean(name, names) or "",
        table.concat(names, ", "))
    end
  end
  local targets = type(o.target) == "table" and o.target or { o.target }
  for _, name in ipairs(targets) do
    need(name)
    role[name] = "target"
  end
  if o.sample_weight then
    need(o.sample_weight)
    if not o.target then
      errors.raise(where, "sample_weight needs a target")
    end
    role[o.sample_weight] = "weight"
  end
  local features = o.features
  if features then
    for _, name in ipairs(features) do
      need(name)
    end
  else
    features = {}
    for _, name in ipairs(names) do
      features[#features + 1] = not role[name] and name or nil
    end
  end
  if #features == 0 then
    errors.raise(where, "there are no columns left for inputs")
  end
  return features, targets
end

-- A column as a part of a batch: floats of one dtype, texts without holes.
local function part(v, dtype)
  if core.is_tensor(v) then
    return columns.KINDS[v.dtype] == "f" and v:cast(dtype) or v
  end
  local out = {}
  for i = 1, #v do
    out[i] = v[i] or ""
  end
  return out
end

-- Texts as labels from 1, in the order of the classes.
local function labels(v, classes, name, where)
  local number, out = {}, {}
  for i, text in ipairs(classes) do
    number[text] = i
  end
  for i = 1, #v do
    out[i] = number[v[i]]
    if not out[i] then
      errors.raise(where, "the target '%s' is %s in row %d (expected one of %s)", name,
        v[i] and check.show(v[i]) or "missing", i, table.concat(classes, ", ", 1,
          math.min(#classes, 10)))
    end
  end
  return core.tensor(out, { dtype = "int64" })
end

-- Inputs, targets and weights of a table, each as a whole.
local function parts_of(t, o, plan, where)
  local x = {}
  for _, name in ipairs(plan.features) do
    local v = part(t._values[name], o.dtype)
    if o.matrix then
      if not core.is_tensor(v) then
        errors.raise(where, "the column '%s' holds texts, which a matrix cannot; features = { ... \z
          } names columns of numbers", name)
      end
      v = v:cast(o.dtype)
    end
    x[o.matrix and #x + 1 or name] = v
  end
  if o.matrix then
    x = ops.stack(x, 2)
  end
  local y
  for _, name in ipairs(plan.targets) do
    local v = t._values[name]
    v = core.is_tensor(v) and part(v, o.dtype) or labels(v, plan.classes[name], name, where)
    y = #plan.targets == 1 and v or y or {}
    if #plan.targets > 1 then
      y[name] = v
    end
  end
  return x, y, o.sample_weight and part(t._values[o.sample_weight], o.dtype) or nil
end

local function classes_of(t, targets)
  local out = {}
  for _, name in ipairs(targets) do
    if not core.is_tensor(t._values[name]) then
      local _, different = columns.codes(t._values[name])
      out[name] = different
    end
  end
  return out
end

-- The classes of the only target, as a field that a person reads.
local function class_names(plan)
  local one = #plan.targets == 1 and plan.classes[plan.targets[1]]
  return one and list.copy(one) or nil
end

--- The rows as a data set of batches (inputs, target): inputs are a table by name (what
--- FeatureSpace and models with named inputs take), or one matrix with `matrix = true`. Floats
--- become float32; missing texts are empty. A target of texts becomes labels from 1 in the sorted
--- order of its values, which are the data set's `class_names`.
---
---     local t = tide.data.table { x = { 1.5, 2.5, 3.5 }, y = { "no", "yes", "no" } }
---     local ds = t:to_dataset { target = "y", batch_size = 2 }
---     ds.class_names   --> { "no", "yes" }
---     for inputs, label in ds:iter() do end
--- @return Dataset
function Table:to_dataset(...)
  local where = "table:to_dataset"
  local o = dataset_args:construct(...)
  local plan = {}
  plan.features, plan.targets = roles(self._names, o, where)
  plan.classes = classes_of(self, plan.targets)
  local parts = table.pack(parts_of(self, o, plan, where))
  while parts[parts.n] == nil do
    parts.n = parts.n - 1
  end
  local ds = Dataset.from_tensor_slices(table.unpack(parts, 1, parts.n))
  if o.shuffle then
    ds = ds:shuffle(math.max(self._n, 1), { seed = o.seed })
  end
  ds = ds:batch(o.batch_size, { drop_remainder = o.drop_remainder })
  ds.class_names = class_names(plan)
  return ds
end

-- ---- streaming ----

local Rows = stage.iterator "table_rows"

function Rows:start()
  self.file, self.at = nil, nil
end

local function open(self)
  if not self.file then
    local node = self.node
    self.file = read.csv_file(setmetatable({}, { __index = node._o.file }), "table.stream")
    self.file.kinds = node._kinds
    if self.at then
      if not self.file:rewind(self.at) then
        errors.raise("table.stream", "%s ends before the place that was left (expected %d bytes)",
          node._o.file.path, self.at.bytes)
      end
    end
  end
  return self.file
end

function Rows:next()
  local file, o, node = open(self), self.o, self.node
  if self.ended then
    return nil
  end
  local values, n, _, ended = file:read(file.kinds, o.batch_size)
  node.skipped = file.skipped
  self.ended = ended
  if n == 0 or o.drop_remainder and n < o.batch_size then
    self.ended = true
    return nil
  end
  self.n = self.n + 1
  return parts_of(file:table(values, n), o, node._plan, "table.stream")
end

function Rows:save()
  return { at = self.file and self.file:place() or self.at, ended = self.ended or false }
end

function Rows:load(s)
  self.at, self.ended = s.at, s.ended
end

function Rows._label()
  return "table.stream"
end

function Rows:close()
  self.file = nil
end

stage.define("table_rows", { open = Rows,
  cardinality = function()
    return stage.UNKNOWN
  end,
  spec = function()
    return nil
  end })

local stream_args = check.args("table.stream", { options.PATH },
  { named = options.join(batch_rows, options.shared, options.csv, options.look) })

--- A CSV file as a data set of batches that are read when they are due: memory does not grow with
--- the file. Options are those of `chunks` and of `to_dataset`; the classes of a target of texts
--- are found by one pass over the file.
---
---     local path = os.tmpname()
---     local f = io.open(path, "w") f:write "x,y\n1,2\n3,4\n5,6\n" f:close()
---     local ds = tide.data.table.stream(path, { target = "y", batch_size = 2 })
---     for inputs, y in ds:iter() do end
--- @return Dataset
function Table.stream(...)
  local where = "table.stream"
  local o = stream_args:construct(...)
  local file = read.csv_file(o, where)
  file:settle(o.infer_rows)
  local plan = {}
  plan.features, plan.targets = roles(o.select or file.names, o, where)
  plan.classes = {}
  for _, name in ipairs(plan.targets) do -- its classes are those of the whole file
    local kind
    for i, other in ipairs(file.names) do
      kind = other == name and file.kinds:sub(i, i) or kind
    end
    if kind == "s" then
      local seen, found = {}, {}
      local pass = read.csv_file(setmetatable({ select = { name } }, { __index = o }), where)
      pass.kinds = pass.kinds:gsub("[^x]", "s")
      repeat
        local values, n, _, ended = pass:read(pass.kinds, 65536)
        for _, v in ipairs(n > 0 and pass:table(values, n)._values[name] or {}) do
          if v and not seen[v] then
            seen[v], found[#found + 1] = true, v
          end
        end
      until ended or n == 0
      table.sort(found)
      plan.classes[name] = found
    end
  end
  local settled = { file = o }
  for _, key in ipairs { "batch_size", "drop_remainder", "dtype", "matrix", "sample_weight" } do
    settled[key] = o[key]
  end
  return Dataset("table_rows", {}, settled, { _kinds = file.kinds, _plan = plan, skipped = 0,
    class_names = class_names(plan) })
end

-- ---- splitting ----

local split_args = check.args("table:split", {
  { "test_size", "number", 0.25, "share of the rows that are for testing, or how many", min = 0 },
}, { named = {
  { "shuffle", "bool", true, "the rows are drawn; else the last ones are for testing" },
  { "seed", "int", nil, "of the draw" },
  { "stratify", "string", nil, "the column whose values have the same shares in both" },
} })

-- How many of n rows are for testing.
local function share(size, n)
  return size < 1 and math.floor(size * n + 0.5) or math.min(math.floor(size), n)
end

--- Two tables: rows for training and rows for testing.
---
---     local t = tide.data.table { x = { 1, 2, 3, 4 } }
---     local train, test = t:split(0.25, { seed = 1 })
---     #train   --> 3
--- @return Table train
--- @return Table test
function Table:split(...)
  local o = split_args:call(...)
  local n = self._n
  local order = {}
  for i = 1, n do
    order[i] = i
  end
  if o.shuffle and n > 0 then
    order = require("tide.random").shuffle(core.tensor(order, { dtype = "int64" }),
      { seed = o.seed }):tolist()
  elseif o.stratify then
    errors.raise("table:split", "stratify needs shuffle = true")
  end
  local test_n = share(o.test_size, n)
  local is_test = {}
  if o.stratify then
    local codes, different = columns.codes(self:_need(o.stratify, "table:split"))
    local rows = {}
    for k = 0, #different do
      rows[k] = {}
    end
    for _, i in ipairs(order) do
      table.insert(rows[codes[i]], i)
    end
    for k = 0, #different do
      local wanted = o.test_size < 1 and share(o.test_size, #rows[k])
        or math.floor(test_n * #rows[k] / n + 0.5)
      for i = 1, wanted do
        is_test[rows[k][i]] = true
      end
    end
  else
    for i = n - test_n + 1, n do
      is_test[order[i]] = true
    end
  end
  local train, test = {}, {}
  for _, i in ipairs(order) do
    table.insert(is_test[i] and test or train, i)
  end
  return self:_ordered(train), self:_ordered(test)
end

--- The rows in another order.
---
---     #tide.data.table({ x = { 1, 2, 3 } }):shuffle(7)   --> 3
--- @param seed integer|nil
--- @return Table
function Table:shuffle(seed)
  return (self:split(0, { seed = seed }))
end

--- Columns of numbers side by side as one tensor (rows, columns).
---
---     tide.data.table({ x = { 1, 2 }, y = { 3, 4 } }):to_tensor().shape   --> { 2, 2 }
--- @param names table|nil columns; all when left out
--- @param dtype string|nil float32 when left out
function Table:to_tensor(names, dtype)
  local where = "table:to_tensor"
  local out = {}
  for i, name in ipairs(names or self._names) do
    local v = self:_need(name, where)
    if not core.is_tensor(v) then
      errors.raise(where, "the column '%s' holds texts; name columns of numbers", name)
    end
    out[i] = v:cast(dtype or "float32")
  end
  if #out == 0 then
    errors.raise(where, "there are no columns")
  end
  return ops.stack(out, 2)
end

return Table

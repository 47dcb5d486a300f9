--- Sources in memory: tensors and their rows, ranges, counters, random numbers, generators.
local check = require "tide.check"
local core = require "tide.core"
local elements = require "tide.data.elements"
local errors = require "tide.errors"
local order = require "tide.data.order"
local stage = require "tide.data.stage"
local stores = require "tide.data.stores"
local structure = require "tide.data.structure"
local strings = require "tide.strings"

local sources = {}

local INFINITE, UNKNOWN = stage.INFINITE, stage.UNKNOWN

-- ---- rows of a store ----

local function store_order(node)
  return order.all(node._store.n)
end

local function store_size(node)
  return node._store.n
end

local function store_spec(node)
  return node._store:spec()
end

for _, name in ipairs { "from_tensor_slices", "range", "from_sequence", "list_files",
  "timeseries_dataset_from_array" } do
  stage.define(name, { order = store_order, cardinality = store_size, spec = store_spec })
end

local DEEPEST = 16 -- tables in tables; one may hold itself

-- A part as a batch. A list of Lua numbers keeps them: whole ones stay integers.
local function as_batch(v, where, depth)
  if (depth or 1) > DEEPEST then
    errors.raise(where, "the tables of a part are nested too deeply (expected at most %d levels)",
      DEEPEST)
  end
  if type(v) == "table" and structure.kind(v) == "leaf" and not strings.is(v) then
    local whole = true
    for i = 1, #v do
      whole = whole and math.type(v[i]) == "integer"
    end
    return core.tensor(v, whole and #v > 0 and { dtype = "int64" } or nil)
  elseif check.is_list(v) and not strings.is(v)
    or check.is_plain(v) and structure.kind(v) == "dict" then
    local out = {}
    for _, k in ipairs(check.sorted_keys(v)) do
      out[k] = as_batch(v[k], where, (depth or 1) + 1)
    end
    return out
  elseif strings.is(v) and type(v) == "table" then
    return strings.check(v, where)
  elseif core.is_tensor(v) then
    return v
  end
  errors.raise(where, "takes tensors, lists and tables by name of such (got %s)", check.show(v))
end

--- The store of from_tensor_slices.
function sources.slices(...)
  local where = "from_tensor_slices"
  local parts = {}
  for k = 1, select("#", ...) do
    local v = select(k, ...)
    parts[k] = as_batch(v, where)
    if type(v) == "table" and next(v) == nil then
      errors.raise(where, "part %d is an empty table (expected rows)", k)
    end
  end
  if #parts == 0 then
    errors.raise(where, "takes at least one part (got none)")
  end
  return stores.slices(parts, stores.rows(parts, where, errors))
end

-- ---- one element ----

local One = stage.iterator "from_tensors"

function One:next()
  if self.n > 0 then
    return nil
  end
  self.n = 1
  return elements.parts(self.node._element)
end

stage.define("from_tensors", { open = One,
  cardinality = function()
    return 1
  end,
  spec = function(node)
    local out = {}
    for k, v in ipairs { elements.parts(node._element) } do
      out[k] = elements.spec(v)
    end
    return out
  end })

--- The element of from_tensors.
function sources.element(...)
  local out = {}
  for k = 1, select("#", ...) do
    out[k] = elements.clean((select(k, ...)), "from_tensors")
  end
  if #out == 0 then
    errors.raise("from_tensors", "takes at least one part (got none)")
  end
  return elements.pack(table.unpack(out))
end

-- ---- elements that a stage has collected ----

local Memory = stage.iterator "memory"

function Memory:next()
  local v = self.node._elements[self.n + 1]
  if v == nil then
    return nil
  end
  self.n = self.n + 1
  return elements.parts(v)
end

function Memory:dtype(k)
  local dtypes = self.node._dtypes
  return dtypes and dtypes[k]
end

stage.define("memory", { open = Memory,
  cardinality = function(node)
    return #node._elements
  end,
  spec = function(node)
    local first = node._elements[1]
    if first == nil then
      return nil
    end
    local out = {}
    for k, v in ipairs { elements.parts(first) } do
      out[k] = elements.spec(v, node._dtypes and node._dtypes[k])
    end
    return out
  end })

-- ---- numbers without end ----

local int64_scalar = { shape = require("tide.list").new {}, dtype = "int64" }

local function endless(name, next_value, draws)
  local Iterator = stage.iterator(name)
  Iterator.next = next_value
  function Iterator:dtype()
    return self.o.dtype or "int64"
  end
  stage.define(name, { open = Iterator, draws = draws,
    cardinality = function()
      return INFINITE
    end,
    spec = function()
      return { int64_scalar }
    end })
end

endless("counter", function(self)
  local n = self.n
  self.n = n + 1
  return self.o.start + n * self.o.step
end)

-- As TensorFlow's: numbers of 32 bits in int64.
endless("random", function(self)
  local n = self.n
  self.n = n + 1
  local pass = self.o.rerandomize_each_iteration and self.pass or 0
  return core.image.sample_seed(self.node.seed, pass, n) >> 32
end, true)

-- ---- generators ----

local Generator = stage.iterator "from_generator"

function Generator:start()
  self.over = false
end

local function first_of(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

-- Steps of a coroutine that has been begun and gave these values first.
local function of_coroutine(co, first)
  return function()
    if first then
      local values = first
      first = nil
      return table.unpack(values, 1, values.n)
    elseif coroutine.status(co) == "dead" then
      return nil
    end
    return first_of(coroutine.resume(co))
  end
end

local function field(v, name)
  local ok, f = pcall(function()
    return v[name]
  end)
  return ok and type(f) == "function" and f or nil
end

local resumable = {} -- what the step functions of objects can do beside: step -> { state, restore }
setmetatable(resumable, { __mode = "k" })

local step_of

-- What a function is: it may yield elements, give a function (or another iterator) that does, or
-- give one element per call.
local function of_function(f)
  local co = coroutine.create(f)
  local values = table.pack(first_of(coroutine.resume(co)))
  if coroutine.status(co) ~= "dead" then
    return of_coroutine(co, values), co
  end
  local v = values[1]
  local t = type(v)
  if t == "function" then
    local control = values[3]
    local state = values[2]
    return function()
      local out = table.pack(v(state, control))
      control = out[1]
      return table.unpack(out, 1, out.n)
    end
  elseif t == "thread" or t == "table" and (field(v, "next") or field(v, "iter")) then
    return step_of(v)
  end
  local once = values
  return function()
    if once then
      local held = once
      once = nil
      return table.unpack(held, 1, held.n)
    end
    return f()
  end
end

-- A function that gives the next element of what a person gave.
function step_of(v)
  if type(v) == "function" then
    return of_function(v)
  elseif type(v) == "thread" then
    return of_coroutine(v), v
  end
  local iter, next_element = field(v, "iter"), field(v, "next")
  local step
  if iter then
    step = iter(v)
  else
    step = function()
      return next_element(v)
    end
  end
  local state, restore = field(v, "state"), field(v, "restore")
  if state and restore then
    resumable[v] = true
  end
  return step
end

local function cleaned(self, first, ...)
  if first == nil then
    self.over = true
    return nil
  end
  self.n = self.n + 1
  if select("#", ...) == 0 then
    local v, dtype = elements.clean(first, "from_generator")
    self.dtypes[1] = dtype
    return v
  end
  local out, n = { first, ... }, select("#", ...) + 1
  while out[n] == nil do -- no targets, no weights
    n = n - 1
  end
  for k = 1, n do
    out[k], self.dtypes[k] = elements.clean(out[k], "from_generator")
  end
  return table.unpack(out, 1, n)
end

function Generator:next()
  if self.over then
    return nil
  elseif not self.step then
    self.dtypes = {}
    self.step, self.running = step_of(self.node._generator)
  end
  return cleaned(self, self.step())
end

function Generator:dtype(k)
  return self.dtypes and self.dtypes[k]
end

function Generator:save()
  local v = self.node._generator
  local out = { over = self.over }
  if self.step and resumable[v] then
    out.own = v:state()
  end
  return out
end

-- An object goes where it said; a function is run again and its elements so far are dropped.
function Generator:load(s)
  local v, n = self.node._generator, self.n
  if s.own ~= nil and field(v, "restore") then
    v:restore(s.own)
    self.over = s.over
    return
  end
  self.n = 0
  for _ = 1, n do
    if self:next() == nil then
      errors.raise("from_generator", "the generator gave %d elements (expected the %d that it had \z
        given before)", self.n, n)
    end
  end
  self.over = s.over
end

function Generator:close()
  local step = self.step
  local co = self.running
  self.step, self.running, self.over = nil, nil, true
  if co and co ~= self.node._generator and coroutine.status(co) == "suspended" then
    first_of(coroutine.close(co))
  end
  if type(step) == "table" and field(step, "close") then
    step:close()
  end
end

stage.define("from_generator", { open = Generator,
  cardinality = function(node)
    local v = node._generator
    local m = getmetatable(v)
    if type(v) == "table" and type(m) == "table" and m.__len and field(v, "iter") then
      return #v or UNKNOWN
    end
    return UNKNOWN
  end,
  spec = function() end })

return sources

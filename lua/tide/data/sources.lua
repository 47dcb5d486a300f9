--- What makes a data set of other things: the functions Dataset.from_tensor_slices, range, zip and
--- so on.
local check = require "tide.check"
local Dataset = require "tide.data.dataset"
local core = require "tide.core"
local errors = require "tide.errors"
local listing = require "tide.utils.listing"
local methods = require "tide.data.methods"
local sources = require "tide.data.stages.sources"
local stores = require "tide.data.stores"

local required, SEED, NAME = check.required, methods.SEED, methods.NAME
local need_dataset, is_dataset = methods.need_dataset, methods.is_dataset
local refuse_self = methods.refuse_self

--- One element of these parts.
---
---     tide.data.Dataset.from_tensors({ 1, 2 }):get_single_element()   --> { 1, 2 }
--- @return Dataset
function Dataset.from_tensors(...)
  refuse_self((...), "Dataset.from_tensors")
  return Dataset("from_tensors", {}, nil, { _element = sources.element(...) })
end

--- The rows of tensors, lists of texts, or tables of such, as elements; several arguments are
--- several parts. Whole Lua numbers of a list stay integers (int64 in batches).
---
---     local ds = tide.data.Dataset.from_tensor_slices({ { 1, 2 }, { 3, 4 } }, { "a", "b" })
---     for x, name in ds:iter() do end
--- @return Dataset
function Dataset.from_tensor_slices(...)
  refuse_self((...), "Dataset.from_tensor_slices")
  return Dataset("from_tensor_slices", {}, nil, { _store = sources.slices(...) })
end

local range_args = check.args("Dataset.range", {
  { "start", "number", required, "the first number; the end, if it is alone" },
  { "stop", "number", nil, "where it ends before" }, { "step", "number", nil, "1 when left out" },
}, { named = { { "output_type", "dtype", nil, "int64 when left out" }, NAME } })

--- Numbers from `start` (0) in steps (1) up to before `stop`, as in NumPy; int64.
---
---     tide.data.Dataset.range(2, 8, 2):as_list()   --> { 2, 4, 6 }
--- @return Dataset
function Dataset.range(...)
  refuse_self((...), "Dataset.range")
  local o = range_args:call(...)
  local start, stop, step = o.start, o.stop, o.step or 1
  if stop == nil then
    start, stop = 0, start
  end
  if step == 0 then
    errors.raise("Dataset.range", "step must not be 0")
  end
  local dtype = o.output_type or "int64"
  if dtype:find "int" then
    start, stop, step = math.tointeger(start), math.tointeger(stop), math.tointeger(step)
    if not (start and stop and step) then
      errors.raise("Dataset.range",
        "start, stop and step must be whole numbers (got %s, %s, %s); output_type = \"float32\" \z
        takes others", check.show(o.start), check.show(o.stop), check.show(o.step))
    end
  else
    start, step = start + 0.0, step + 0.0
  end
  local n = math.tointeger(math.ceil((stop - start) / step))
  if not n then
    errors.raise("Dataset.range", "has no end that can be counted (got %s, %s, %s); counter gives \z
      numbers without end", check.show(start), check.show(stop), check.show(step))
  end
  n = math.max(0, n)
  return Dataset("range", {}, o, { _store = stores.range(start, step, n, dtype) })
end

local counter_args = check.args("Dataset.counter", {
  { "start", "number", 0, "the first number" }, { "step", "number", 1, "from one to the next" },
  { "dtype", "dtype", "int64", "of the numbers" }, NAME })

--- Numbers without end.
---
---     tide.data.Dataset.counter(5):take(2):as_list()   --> { 5, 6 }
--- @return Dataset
function Dataset.counter(...)
  refuse_self((...), "Dataset.counter")
  local o = counter_args:call(...)
  if o.dtype:find "int" then
    local start, step = math.tointeger(o.start), math.tointeger(o.step)
    if not start or not step then
      errors.raise("Dataset.counter", "start and step must be whole numbers of %s (got %s and %s)",
        o.dtype, check.show(o.start), check.show(o.step))
    end
    o.start, o.step = start, step
  else
    o.start, o.step = o.start + 0.0, o.step + 0.0
  end
  return Dataset("counter", {}, o)
end

local random_args = check.args("Dataset.random", { SEED,
  { "rerandomize_each_iteration", "bool", nil, "other numbers in every pass" }, NAME })

--- Random whole numbers from 0 to 2^32 - 1 without end.
---
---     #tide.data.Dataset.random { seed = 1 }:take(3):as_list()   --> 3
--- @return Dataset
function Dataset.random(...)
  refuse_self((...), "Dataset.random")
  return Dataset("random", {}, random_args:call(...))
end

local generator_args = check.args("Dataset.from_generator", {
  { "generator", "any", required,
    "a function that yields elements, gives one per call, or gives an iterator; a coroutine; an \z
    object with iter(), next(), or get(i) and a length" },
  { "output_types", "any", nil, "not used: elements tell their own", dict = true },
  { "output_shapes", "any", nil, "not used: elements tell their own", dict = true },
  { "args", "list", nil, "what the function is called with" },
  { "output_signature", "any", nil, "not used: elements tell their own", dict = true }, NAME })

--- What a function, a coroutine or an object gives. A function may yield elements
--- (`coroutine.yield`), give one element per call and nil at the end, or give a function that does
--- so, which begins anew in every pass. Sequences (`#` and `get(i)`) and the iterators of
--- ImageDataGenerator are objects; their elements are batches. After `restore` functions are run
--- again up to the place; objects with state() and restore(s) go there.
---
---     tide.data.Dataset.from_generator(function()
---       for i = 1, 3 do coroutine.yield(i) end end):as_list()   --> { 1, 2, 3 }
--- @return Dataset
function Dataset.from_generator(...)
  refuse_self((...), "Dataset.from_generator")
  local o = generator_args:call(...)
  local v, args = o.generator, o.args
  if is_dataset(v) then
    return v
  elseif args and type(v) == "function" then
    local f = v
    v = function()
      return f(table.unpack(args))
    end
  end
  local t = type(v)
  local function has(name)
    local ok, f = pcall(function()
      return v[name]
    end)
    return ok and type(f) == "function"
  end
  if t == "table" and has "get" and not has "iter" then
    local n = #v
    return Dataset("from_sequence", {}, nil, { _store = stores.sequence(v, n) })
  elseif t ~= "function" and t ~= "thread"
    and not (t == "table" and (has "iter" or has "next")) then
    errors.raise("Dataset.from_generator", "takes a function, a coroutine or an object that \z
      has iter, next or get (got %s)", check.show(v))
  end
  return Dataset("from_generator", {}, nil, { _generator = v })
end

-- ---- several data sets ----

--- Elements that join those of several data sets, all parts in order; it ends with the shortest.
---
---     local Dataset = tide.data.Dataset
---     for a, b in Dataset.zip(Dataset.range(3), Dataset.range(5, 8)):iter() do end
--- @return Dataset
function Dataset.zip(...)
  refuse_self((...), "Dataset.zip")
  local inputs = { ... }
  if #inputs == 1 and check.is_plain(inputs[1]) then
    inputs = table.move(inputs[1], 1, #inputs[1], 1, {})
  end
  if #inputs == 0 then
    errors.raise("Dataset.zip", "takes data sets (got none)")
  end
  for _, v in ipairs(inputs) do
    need_dataset(v, "Dataset.zip")
  end
  return Dataset("zip", inputs)
end

local function inputs_of(list, where)
  local out = {}
  for i, v in ipairs(list) do
    out[i] = need_dataset(v, where)
  end
  if #out == 0 then
    errors.raise(where, "takes a list of data sets (got an empty one)")
  end
  return out
end

local sample_args = check.args("Dataset.sample_from_datasets", {
  { "datasets", "list", required, "data sets" },
  { "weights", "any", nil, "share of each; equal when left out" }, SEED,
  { "stop_on_empty_dataset", "bool", false, "end with the first that ends" },
  { "rerandomize_each_iteration", "bool", nil, "another order in every pass, unless false" } })

--- Elements of several data sets, each drawn from one of them by chance.
---
---     local Dataset = tide.data.Dataset
---     #Dataset.sample_from_datasets({ Dataset.range(3), Dataset.range(4) }):as_list()   --> 7
--- @return Dataset
function Dataset.sample_from_datasets(...)
  local o = sample_args:call(...)
  local inputs = inputs_of(o.datasets, "Dataset.sample_from_datasets")
  local given = core.is_tensor(o.weights) and o.weights:tolist() or o.weights
  local weights = {}
  for i = 1, #inputs do
    local w = given == nil and 1 / #inputs or type(given) == "table" and given[i]
    if type(w) ~= "number" or w < 0 or w ~= w or w == math.huge
      or type(given) == "table" and #given ~= #inputs then
      errors.raise("Dataset.sample_from_datasets",
        "weights must be a list of one number per data set (expected %d, got %s)", #inputs,
        check.show(o.weights))
    end
    weights[i] = w
  end
  o.datasets, o.weights = nil, weights
  return Dataset("sample_from_datasets", inputs, o)
end

local choose_args = check.args("Dataset.choose_from_datasets", {
  { "datasets", "list", required, "data sets" },
  { "choice_dataset", "any", required, "a data set of numbers from 1: whose turn it is" },
  { "stop_on_empty_dataset", "bool", true, "end when the one whose turn it is has ended" } })

--- Elements of several data sets in the turn that another one says, by numbers from 1.
---
---     local Dataset = tide.data.Dataset
---     Dataset.choose_from_datasets({ Dataset.range(2), Dataset.range(5, 9) },
---       Dataset.from_tensor_slices { 2, 1, 2 }):as_list()   --> { 5, 0, 6 }
--- @return Dataset
function Dataset.choose_from_datasets(...)
  local o = choose_args:call(...)
  local inputs = inputs_of(o.datasets, "Dataset.choose_from_datasets")
  inputs[#inputs + 1] = need_dataset(o.choice_dataset, "choose_from_datasets")
  o.datasets, o.choice_dataset = nil, nil
  return Dataset("choose_from_datasets", inputs, o)
end

-- ---- files ----

local files_args = check.args("Dataset.list_files", {
  { "file_pattern", { "string", "list" }, required,
    "a path with * ? [a-z] in the names, or a list of such" },
  { "shuffle", "bool", nil, "another order in every pass, unless false" }, SEED, NAME })

--- The paths of the files that a pattern means, in random order unless `shuffle = false`; sorted
--- then.
---
---     pcall(tide.data.Dataset.list_files, "no/such/*.txt")   --> false
--- @return Dataset
function Dataset.list_files(...)
  refuse_self((...), "Dataset.list_files")
  local o = files_args:call(...)
  local patterns = type(o.file_pattern) == "table" and o.file_pattern or { o.file_pattern }
  local block, n
  if #patterns == 1 and type(patterns[1]) == "string" then
    block, n = listing.block(patterns[1], "list_files")
  end
  local paths = {}
  for _, pattern in ipairs(block and {} or patterns) do
    local found = listing.glob(pattern, "list_files")
    paths = #patterns == 1 and found or table.move(found, 1, #found, #paths + 1, paths)
  end
  n = n or #paths
  if n == 0 then
    errors.raise("Dataset.list_files", "no file fits %s", check.show(o.file_pattern))
  end
  table.sort(paths)
  local ds = block and Dataset("list_files", {}, nil, { _store = stores.names(block, n) })
    or Dataset.from_tensor_slices(paths)
  return o.shuffle ~= false and ds:shuffle(n, { seed = o.seed }) or ds
end

return true

--- What makes one data set of another: the methods of Dataset.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local Dataset = require "tide.data.dataset"
local elements = require "tide.data.elements"
local errors = require "tide.errors"
local send = require "tide.data.send"
local stage = require "tide.data.stage"

require "tide.data.stages.batch"
require "tide.data.stages.cache"
require "tide.data.stages.combine"
require "tide.data.stages.order"
require "tide.data.stages.map"
require "tide.data.stages.transform"

local required = check.required

--- The value that stands for "as many as are good", as tf.data.AUTOTUNE.
local AUTOTUNE = -1

local NAME = { "name", "string", nil, "of the stage; not used" }
local PARALLEL = { "num_parallel_calls", "int", nil, "worker processes; AUTOTUNE: as many as \z
  Tide has threads", min = AUTOTUNE }
local DETERMINISTIC = { "deterministic", "bool", nil, "the order is always kept" }
local SEED = { "seed", "int", nil, "repeats what is drawn; by tide.seed when left out" }
local DROP = { "drop_remainder", "bool", false, "leave out a last batch that is smaller" }
local SIZE = { "batch_size", "int", required, "elements of a batch", min = 1 }

local function is_dataset(v)
  return class.is(v, Dataset)
end

local function need_dataset(v, where)
  if not is_dataset(v) then
    errors.raise(where, "takes data sets (got %s)", check.show(v))
  end
  return v
end

-- Raises where a function of Dataset is called as a method of it.
local function refuse_self(v, where)
  check.refuse_colon(where, v)
  if v == Dataset then
    errors.raise(where, "is called with a dot and not with a colon: %s(...)", where)
  end
end

-- ---- functions of elements ----

local map_args = check.args("Dataset.map", {
  { "map_func", "callable", required, "takes the parts of an element and gives those of another" },
  PARALLEL, DETERMINISTIC, { "synchronous", "bool", nil, "not used" },
  { "use_unbounded_threadpool", "bool", false, "not used" }, NAME })

--- Every element as a function makes it: it takes the parts and returns parts. tf.data's map.
---
--- With `num_parallel_calls` it runs in so many processes of this program, ahead of what asks; the
--- order and the results are those of one process. The function is sent with what it holds:
--- numbers, texts, plain tables, tensors and other such functions; modules go by name. What cannot
--- be sent is an error. Elements should take longer than sending them does.
---
---     local ds = tide.data.Dataset.range(3):map(function(x) return x * 2 end)
---     ds:skip(2):get_single_element()   --> 4
--- @return Dataset
function Dataset:map(...)
  local o = map_args:call(...)
  if o.num_parallel_calls and o.num_parallel_calls ~= 0 then
    send.pack(o.map_func, "Dataset.map") -- says now what cannot be sent
    return Dataset._with(self, "parallel_map", o)
  end
  return Dataset._with(self, "map", o)
end

local flat_args = check.args("Dataset.flat_map", {
  { "map_func", "callable", required, "takes the parts of an element, gives a data set" }, NAME })

--- The elements of the data sets that a function gives, one data set after the other.
---
---     local Dataset = tide.data.Dataset
---     #tide.data.Dataset.range(3):flat_map(function(n)
---       return tide.data.Dataset.range(n) end):as_list()   --> 3
--- @return Dataset
function Dataset:flat_map(...)
  return Dataset._with(self, "flat_map", flat_args:call(...))
end

local interleave_args = check.args("Dataset.interleave", {
  { "map_func", "callable", required, "takes the parts of an element and gives a data set" },
  { "cycle_length", "int", nil, "data sets that are open at a time, 16 when left out",
    min = AUTOTUNE },
  { "block_length", "int", nil, "elements of one before the next", min = 1 },
  PARALLEL, DETERMINISTIC, NAME })

--- The elements of the data sets that a function gives, blocks from `cycle_length` of them in turn.
---
---     tide.data.Dataset.range(2):interleave(function(n)
---       return tide.data.Dataset.range(n * 10, n * 10 + 2) end, 2):as_list()
---       --> { 0, 10, 1, 11 }
--- @return Dataset
function Dataset:interleave(...)
  local o = interleave_args:call(...)
  o.block_length = o.block_length or 1
  if not o.cycle_length or o.cycle_length == AUTOTUNE then
    o.cycle_length = 16
  elseif o.cycle_length < 1 then
    errors.raise("Dataset.interleave", "cycle_length must be an integer at least 1 (got %d)",
      o.cycle_length)
  end
  return Dataset._with(self, "interleave", o)
end

local filter_args = check.args("Dataset.filter", {
  { "predicate", "callable", required, "takes the parts, gives true for those that stay" }, NAME })

--- The elements for which a function gives true.
---
---     tide.data.Dataset.range(6):filter(function(x) return x % 2 == 0 end):as_list()
---       --> { 0, 2, 4 }
--- @return Dataset
function Dataset:filter(...)
  return Dataset._with(self, "filter", filter_args:call(...))
end

local take_while_args = check.args("Dataset.take_while", {
  { "predicate", "callable", required, "takes the parts, gives false where it ends" }, NAME })

--- The elements before the first for which a function gives false.
---
---     tide.data.Dataset.range(9):take_while(function(x) return x < 2 end):as_list()   --> { 0, 1 }
--- @return Dataset
function Dataset:take_while(...)
  return Dataset._with(self, "take_while", take_while_args:call(...))
end

local scan_args = check.args("Dataset.scan", {
  { "initial_state", "any", required, "what the function gets first", dict = true },
  { "scan_func", "callable", required,
    "takes the state and the parts, gives the new state and the parts of an element" }, NAME })

--- Elements made by a function that also hands on a state.
---
---     tide.data.Dataset.range(1, 4):scan(0, function(s, x) return s + x, s + x end):as_list()
---       --> { 1, 3, 6 }
--- @return Dataset
function Dataset:scan(...)
  return Dataset._with(self, "scan", scan_args:call(...))
end

local reduce_args = check.args("Dataset.reduce", {
  { "initial_state", "any", required, "what the function gets first", dict = true },
  { "reduce_func", "callable", required, "takes the state and the parts, gives the new state" },
  NAME })

--- The state that a function leaves after all elements.
---
---     tide.data.Dataset.range(5):reduce(0, function(sum, x) return sum + x end)   --> 10
function Dataset:reduce(...)
  local o = reduce_args:call(...)
  local value = o.initial_state
  local function step(first, ...)
    if first == nil then
      return false
    end
    value = o.reduce_func(value, first, ...)
    return true
  end
  local pass <close> = self:iter()
  while step(pass()) do -- luacheck: ignore 542
  end
  return value
end

--- What a function of the data set gives, so that calls can be chained.
---
---     tide.data.Dataset.range(4):apply(function(ds) return ds:take(1) end):as_list()   --> { 0 }
--- @param transformation_func function takes the data set
function Dataset:apply(transformation_func)
  if not check.types.callable(transformation_func) then
    errors.raise("Dataset.apply", "transformation_func must be a function (got %s)",
      check.show(transformation_func))
  end
  return transformation_func(self)
end

-- ---- order ----

local shuffle_args = check.args("Dataset.shuffle", {
  { "buffer_size", "int", required, "elements among which is drawn", min = 1 }, SEED,
  { "reshuffle_each_iteration", "bool", true, "another order in every pass" }, NAME })

--- Elements in random order: each is drawn uniformly among `buffer_size` that were read ahead. The
--- order depends on the seed and the number of the pass only.
---
---     #tide.data.Dataset.range(4):shuffle(4, { seed = 1 }):as_list()   --> 4
--- @return Dataset
function Dataset:shuffle(...)
  return Dataset._with(self, "shuffle", shuffle_args:call(...))
end

local rep_args = check.args("Dataset.rep", {
  { "count", "int", nil, "rounds; without end when left out or -1" }, NAME })

--- The elements again and again; TensorFlow's `repeat`, which is a word of Lua.
---
---     tide.data.Dataset.range(2):rep(2):as_list()   --> { 0, 1, 0, 1 }
--- @return Dataset
function Dataset:rep(...)
  return Dataset._with(self, "rep", rep_args:call(...))
end
Dataset["repeat"] = Dataset.rep

local COUNT = { "count", "int", required, "elements; -1: all", min = -1 }
local take_args = check.args("Dataset.take", { COUNT, NAME })
local skip_args = check.args("Dataset.skip", { COUNT, NAME })

--- The first elements.
---
---     tide.data.Dataset.range(9):take(2):as_list()   --> { 0, 1 }
--- @return Dataset
function Dataset:take(...)
  return Dataset._with(self, "take", take_args:call(...))
end

--- The elements without the first ones.
---
---     tide.data.Dataset.range(4):skip(2):as_list()   --> { 2, 3 }
--- @return Dataset
function Dataset:skip(...)
  return Dataset._with(self, "skip", skip_args:call(...))
end

local shard_args = check.args("Dataset.shard", {
  { "num_shards", "int", required, "how many parts there are", min = 1 },
  { "index", "int", required, "number of this one, from 1", min = 1 }, NAME })

--- Every `num_shards`-th element, from number `index` (from 1) on.
---
---     tide.data.Dataset.range(6):shard(3, 1):as_list()   --> { 0, 3 }
--- @return Dataset
function Dataset:shard(...)
  local o = shard_args:call(...)
  if o.index > o.num_shards then
    errors.raise("Dataset.shard", "index must be an integer from 1 to %d (got %d)", o.num_shards,
      o.index)
  end
  return Dataset._with(self, "shard", o)
end

local enumerate_args = check.args("Dataset.enumerate", {
  { "start", "int", 1, "the first number", counts = true }, NAME })

--- Elements with their number, from 1, as a part in front.
---
---     for i, x in tide.data.Dataset.range(5, 7):enumerate():iter() do end
--- @return Dataset
function Dataset:enumerate(...)
  return Dataset._with(self, "enumerate", enumerate_args:call(...))
end

local unique_args = check.args("Dataset.unique", { NAME })

--- Each element once, where it comes first.
---
---     tide.data.Dataset.from_tensor_slices { 3, 1, 3 }:unique():as_list()   --> { 3, 1 }
--- @return Dataset
function Dataset:unique(...)
  return Dataset._with(self, "unique", unique_args:call(...))
end

local ignore_args = check.args("Dataset.ignore_errors", {
  { "log_warning", "bool", false, "say on standard error what was left out" }, NAME })

--- Leaves out elements that cannot be made; the field `skipped` counts them.
---
---     local ds = tide.data.Dataset.range(3):map(function(x) return x == 1 and nil or x end)
---     ds:ignore_errors():as_list()   --> { 0, 2 }
--- @return Dataset
function Dataset:ignore_errors(...)
  return Dataset._with(self, "ignore_errors", ignore_args:call(...), { skipped = 0 })
end

local prefetch_args = check.args("Dataset.prefetch", {
  { "buffer_size", "int", required, "elements made ahead; AUTOTUNE", min = AUTOTUNE }, NAME })

--- Makes elements ahead where worker threads or processes make them.
---
---     tide.data.Dataset.range(3):prefetch(2):as_list()   --> { 0, 1, 2 }
--- @return Dataset
function Dataset:prefetch(...)
  return Dataset._with(self, "prefetch", prefetch_args:call(...))
end

local cache_args = check.args("Dataset.cache", {
  { "filename", "string", "", "in memory when left out; else files that begin with this path" },
  NAME })

--- Keeps the elements of the first pass for the later ones.
---
---     tide.data.Dataset.range(3):cache():as_list()   --> { 0, 1, 2 }
--- @return Dataset
function Dataset:cache(...)
  local o = cache_args:call(...)
  if o.filename and o.filename ~= "" then
    return Dataset._with(self, "cache_file", o, { _path = o.filename .. ".elements" })
  end
  return Dataset._with(self, "cache", o)
end

local snapshot_args = check.args("Dataset.snapshot", {
  { "path", "string", required, "folder of the file" },
  { "compression", "enum", "auto", "of the file", of = "auto|gzip|snappy|none" },
  { "reader_func", "callable", nil, "not used" }, { "shard_func", "callable", nil, "not used" },
  NAME })

--- As `cache(filename)`, in a folder that several data sets share: a file per chain of stages.
---
---     local folder = os.tmpname() .. ".snapshots"
---     tide.data.Dataset.range(3):snapshot(folder):as_list()   --> { 0, 1, 2 }
--- @return Dataset
function Dataset:snapshot(...)
  local o = snapshot_args:call(...)
  local name = ("%08x.elements"):format(core.crc32c(stage.signature(self)))
  return Dataset._with(self, "cache_file", o, { _path = o.path .. "/" .. name,
    _packed = o.compression == "gzip" and 1 or 0 })
end

local with_options_args = check.args("Dataset.with_options", {
  { "options", "any", nil, "nothing is set by them", dict = true }, NAME })

--- No options: tf.data's have no meaning here.
---
---     next(tide.data.Dataset.range(3):options())   --> nil
--- @return table empty
function Dataset.options()
  return {}
end

--- A number that data sets share which are made by the same stages with the same plain options.
---
---     local ds = tide.data.Dataset.range(3)
---     ds:fingerprint() == ds:fingerprint()   --> true
--- @return integer
function Dataset:fingerprint()
  local out = {}
  local function add(node)
    out[#out + 1] = node._stage.name
    for _, k in ipairs(check.sorted_keys(node._o)) do
      local v = node._o[k]
      if type(v) ~= "table" and type(v) ~= "function" and type(v) ~= "userdata" then
        out[#out + 1] = ("%s=%s"):format(k, tostring(v))
      end
    end
    out[#out + 1] = node._store and tostring(node._store.n) or nil
    for _, input in ipairs(node._inputs) do
      add(input)
    end
    out[#out + 1] = ")"
  end
  add(self)
  return core.crc32c(table.concat(out, " "))
end

--- The data set itself: tf.data's options have no meaning here.
---
---     tide.data.Dataset.range(3):with_options {}:cardinality()   --> 3
--- @return Dataset
function Dataset:with_options(...)
  with_options_args:call(...)
  return self
end

-- ---- batches ----

local batch_args = check.args("Dataset.batch", { SIZE, DROP, PARALLEL, DETERMINISTIC, NAME })

--- Batches of elements: numbers and tensors become a tensor with an axis in front, texts a list.
---
---     #tide.data.Dataset.range(5):batch(2)   --> 3
--- @return Dataset
function Dataset:batch(...)
  return Dataset._with(self, "batch", batch_args:call(...))
end

local padded_args = check.args("Dataset.padded_batch", { SIZE,
  { "padded_shapes", "any", nil, "sizes by axis, none: the largest of the batch; a list of them \z
    by part", dict = true },
  { "padding_values", "any", nil, "0 and \"\" when left out; a list by part", dict = true }, DROP,
  NAME })

--- Batches of elements of different sizes, brought to one size by values behind.
---
---     local ds = tide.data.Dataset.range(1, 3):map(function(n) return tide.ones { n } end)
---     ds:padded_batch(2):get_single_element()   --> { { 1, 0 }, { 1, 1 } }
--- @return Dataset
function Dataset:padded_batch(...)
  return Dataset._with(self, "padded_batch", padded_args:call(...))
end

local ragged_args = check.args("Dataset.ragged_batch", { SIZE, DROP,
  { "row_splits_dtype", "string", "int64", "not used" }, NAME })

--- As padded_batch; parts with axes become { values, lengths }.
---
---     local ds = tide.data.Dataset.range(1, 3):map(function(n) return tide.ones { n } end)
---     ds:ragged_batch(2):get_single_element().lengths   --> { 1, 2 }
--- @return Dataset
function Dataset:ragged_batch(...)
  return Dataset._with(self, "ragged_batch", ragged_args:call(...))
end

local unbatch_args = check.args("Dataset.unbatch", { NAME })

--- The samples of batches as elements.
---
---     tide.data.Dataset.range(3):batch(2):unbatch():as_list()   --> { 0, 1, 2 }
--- @return Dataset
function Dataset:unbatch(...)
  return Dataset._with(self, "unbatch", unbatch_args:call(...))
end

local rebatch_args = check.args("Dataset.rebatch", {
  { "batch_size", { "int", "ints" }, required, "a size, or a list of sizes in turn", min = 1 },
  DROP, NAME })

--- Batches of other sizes from the samples of batches.
---
---     #tide.data.Dataset.range(6):batch(2):rebatch(3):as_list()   --> 2
--- @return Dataset
function Dataset:rebatch(...)
  return Dataset._with(self, "rebatch", rebatch_args:call(...))
end

local window_args = check.args("Dataset.window", {
  { "size", "int", required, "elements of a window", min = 1 },
  { "shift", "int", nil, "elements from one window to the next; `size` when left out", min = 1 },
  { "stride", "int", 1, "elements from one of a window to its next", min = 1 }, DROP, NAME })

--- Windows of elements, each part a data set; flat_map and batch make tensors of them.
---
---     local ds = tide.data.Dataset.range(4):window(2, 1, { drop_remainder = true })
---     #ds:flat_map(function(w) return w:batch(2) end):as_list()   --> 3
--- @return Dataset
function Dataset:window(...)
  return Dataset._with(self, "window", window_args:call(...))
end

local group_args = check.args("Dataset.group_by_window", {
  { "key_func", "callable", required, "takes the parts, gives a whole number" },
  { "reduce_func", "callable", required, "takes a key and a data set, gives a data set" },
  { "window_size", "int", nil, "elements of a group", min = 1 },
  { "window_size_func", "callable", nil, "takes a key, gives the size" }, NAME })

--- Elements in groups by a key; each full group is a data set that a function changes.
---
---     local ds = tide.data.Dataset.range(4):group_by_window(function(x) return x % 2 end,
---       function(_, group) return group:batch(2) end, 2)
---     #ds:as_list()   --> 2
--- @return Dataset
function Dataset:group_by_window(...)
  local o = group_args:call(...)
  if (o.window_size == nil) == (o.window_size_func == nil) then
    errors.raise("Dataset.group_by_window", "takes either window_size or window_size_func (got %s)",
      o.window_size and "both" or "none")
  end
  return Dataset._with(self, "group_by_window", o)
end

local bucket_args = check.args("Dataset.bucket_by_sequence_length", {
  { "element_length_func", "callable", required, "takes the parts, gives the length" },
  { "bucket_boundaries", "ints", required, "lengths at which a bucket begins, rising" },
  { "bucket_batch_sizes", "ints", required, "one more than boundaries" },
  { "padded_shapes", "any", nil, "as of padded_batch", dict = true },
  { "padding_values", "any", nil, "as of padded_batch", dict = true },
  { "pad_to_bucket_boundary", "bool", false, "pad to the boundary less one, not to the longest" },
  { "no_padding", "bool", false, "all of a bucket have one length" }, DROP, NAME })

-- Shapes of which the unknown sizes are a bucket's.
local function bounded(shapes, spec, size)
  local out = {}
  for k, s in ipairs(spec) do
    local given = shapes and (type(shapes[k]) == "table" and shapes[k] or #spec == 1 and shapes)
    out[k] = {}
    for a = 1, #s.shape do
      local n = given and given[a] or s.shape[a]
      out[k][a] = math.type(n) == "integer" and n >= 0 and n or size
    end
  end
  return out
end

--- Batches of elements of about the same length, so that little is padded. tf.data's
--- bucket_by_sequence_length.
---
---     local ds = tide.data.Dataset.range(1, 5):map(function(n) return tide.ones { n } end)
---     #ds:bucket_by_sequence_length(function(x) return #x end, { 3 }, { 2, 2 }):as_list()   --> 2
--- @return Dataset
function Dataset:bucket_by_sequence_length(...)
  local o = bucket_args:call(...)
  local bounds, sizes = o.bucket_boundaries, o.bucket_batch_sizes
  if #sizes ~= #bounds + 1 then
    errors.raise("Dataset.bucket_by_sequence_length", "bucket_batch_sizes must be one more than \z
      bucket_boundaries (expected %d, got %d)", #bounds + 1, #sizes)
  end
  local function bucket(...)
    local n = o.element_length_func(...)
    n = core.is_tensor(n) and n:item() or n
    for i, b in ipairs(bounds) do
      if n < b then
        return i
      end
    end
    return #bounds + 1
  end
  local function batches(key, group)
    if o.no_padding then
      return group:batch(sizes[key], { drop_remainder = o.drop_remainder })
    end
    local shapes = o.padded_shapes
    if o.pad_to_bucket_boundary then
      if key > #bounds then
        errors.raise("Dataset.bucket_by_sequence_length",
          "an element is as long as the last boundary, %d, or longer; with \z
          pad_to_bucket_boundary it must be shorter", bounds[#bounds])
      end
      local spec = {}
      for k, v in ipairs { elements.parts(group._elements[1]) } do
        spec[k] = elements.spec(v)
        for a = 1, #(spec[k].shape or {}) do
          spec[k].shape[a] = -1
        end
      end
      shapes = bounded(shapes, spec, bounds[key] - 1)
    end
    return group:padded_batch { sizes[key], padded_shapes = shapes,
      padding_values = o.padding_values, drop_remainder = o.drop_remainder }
  end
  return self:group_by_window { bucket, batches, window_size_func = function(key)
    return sizes[key]
  end }
end

-- ---- several data sets ----

local concatenate_args = check.args("Dataset.concatenate", {
  { "dataset", "any", required, "whose elements follow" }, NAME })

--- The elements of this data set, then those of another.
---
---     local Dataset = tide.data.Dataset
---     tide.data.Dataset.range(2):concatenate(tide.data.Dataset.range(1)):as_list()
---       --> { 0, 1, 0 }
--- @return Dataset
function Dataset:concatenate(...)
  need_dataset(self, "Dataset.concatenate")
  local other = concatenate_args:call(...).dataset
  return Dataset("concatenate", { self, need_dataset(other, "Dataset.concatenate") })
end

local reject_args = check.args("Dataset.rejection_resample", {
  { "class_func", "callable", required, "takes the parts, gives a label from 1" },
  { "target_dist", "any", required, "wanted share of each class" },
  { "initial_dist", "any", nil, "the shares that come; counted when left out" }, SEED, NAME })

local function shares(v, where)
  v = core.is_tensor(v) and v:tolist() or v
  local sum = 0
  for _, x in ipairs(check.is_list(v) and v or {}) do
    sum = sum + (type(x) == "number" and x >= 0 and x or 0 / 0)
  end
  if sum <= 0 or sum ~= sum then
    errors.raise("Dataset.rejection_resample", "%s must be a list of shares (got %s)", where,
      check.show(v))
  end
  local out = {}
  for i, x in ipairs(v) do
    out[i] = x / sum
  end
  return out
end

--- Leaves elements out so that classes come in wanted shares; the class is a part in front.
---
---     local ds = tide.data.Dataset.range(20):rejection_resample(function(x)
---       return x < 15 and 1 or 2 end, { 0.5, 0.5 }, { seed = 1 })
---     ds:next()
--- @return Dataset
function Dataset:rejection_resample(...)
  local o = reject_args:call(...)
  o.target_dist = shares(o.target_dist, "target_dist")
  o.initial_dist = o.initial_dist and shares(o.initial_dist, "initial_dist")
  if o.initial_dist and #o.initial_dist ~= #o.target_dist then
    errors.raise("Dataset.rejection_resample", "initial_dist and target_dist must have one length \z
      (expected %d, got %d)", #o.target_dist, #o.initial_dist)
  end
  return Dataset._with(self, "rejection_resample", o)
end

-- ---- results ----

local single_args = check.args("Dataset.get_single_element", { NAME })

--- The parts of the only element; raises where there are none or several.
---
---     tide.data.Dataset.range(3):batch(3):get_single_element()   --> { 0, 1, 2 }
function Dataset:get_single_element(...)
  single_args:call(...)
  local pass <close> = self:iter()
  local element = table.pack(pass())
  if element[1] == nil then
    errors.raise("Dataset.get_single_element", "the data set has no element (expected one)")
  elseif pass() ~= nil then
    errors.raise("Dataset.get_single_element", "the data set has several elements (expected one)")
  end
  return table.unpack(element, 1, element.n)
end

--- All elements of one pass as a list; those of several parts are lists of parts.
---
---     tide.data.Dataset.range(3):as_list()   --> { 0, 1, 2 }
--- @return table
function Dataset:as_list()
  local out = {}
  local function add(first, ...)
    if first == nil then
      return false
    end
    out[#out + 1] = select("#", ...) == 0 and first or { first, ... }
    return true
  end
  local pass <close> = self:iter()
  while add(pass()) do -- luacheck: ignore 542
  end
  return out
end

return { AUTOTUNE = AUTOTUNE, need_dataset = need_dataset, is_dataset = is_dataset, SEED = SEED,
  NAME = NAME, PARALLEL = PARALLEL, stage = stage, refuse_self = refuse_self }

--- Helpers that Keras keeps in keras.utils: windows over a series, parts of a data set, the parts
--- of a batch.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local Dataset = require "tide.data.whole"
local errors = require "tide.errors"
local ops = require "tide.ops"
local stores = require "tide.data.stores"
local strings = require "tide.strings"
local structure = require "tide.data.structure"

local helpers = {}

local series_args = check.args("timeseries_dataset_from_array", {
  { "data", "any", check.required, "steps along the first axis" },
  { "targets", "any", check.required, "one per step, or none: the target of a window is that of \z
    its first step", none = true },
  { "sequence_length", "int", check.required, "steps of a window", min = 1 },
  { "sequence_stride", "int", 1, "steps from one window to the next", min = 1 },
  { "sampling_rate", "int", 1, "steps from one of a window to its next", min = 1 },
  { "batch_size", "int", 128, "windows per batch; none: single windows", min = 1, none = true },
  { "shuffle", "bool", false, "another order in every pass" },
  { "seed", "int", nil, "repeats the order" },
  { "start_index", "int", nil, "number of the first step that is used, from 1", min = 1 },
  { "end_index", "int", nil, "number of the last step that is used, included", min = 1 },
  { "format", "enum", "tf", "not used", of = "tf|grain" },
})

local function as_part(v)
  return (strings.is(v) or core.is_tensor(v)) and v or core.tensor(v)
end

--- Windows over a series in batches: x (batch, sequence_length, ...), and y if there are targets.
--- Window i begins at step start_index + i * sequence_stride; its target is that of its first step.
--- Keras: keras.utils.timeseries_dataset_from_array.
---
---     local ds = tide.utils.timeseries_dataset_from_array({ 1, 2, 3, 4 }, tide.none, 2)
---     ds:next()   --> { { 1, 2 }, { 2, 3 }, { 3, 4 } }
--- @return Dataset
function helpers.timeseries_dataset_from_array(...)
  local where = "timeseries_dataset_from_array"
  local o = series_args:call(...)
  local data = as_part(o.data)
  local n = structure.samples(data)
  if not n or strings.is(data) then
    errors.raise(where, "data must be a tensor with an axis of steps (got %s)", check.show(o.data))
  end
  local first, last = o.start_index or 1, o.end_index or n
  if first > n or last > n or first > last then
    errors.raise(where, "start_index and end_index must be steps of the data, in order \z
      (expected 1 to %d, got %d and %d)", n, first, last)
  end
  local rate, length = o.sampling_rate, o.sequence_length
  -- Keras: as many starts as there are whole windows, and no more than targets
  local count = last - first + 1 - (length - 1) * rate
  local targets = {}
  if o.targets ~= nil then
    local t = as_part(o.targets)
    targets[1] = t
    count = math.min(count, (structure.samples(t) or 0) - first + 1)
  end
  count = count > 0 and (count - 1) // o.sequence_stride + 1 or 0
  if count < 1 then
    errors.raise(where, "there is no window of %d steps, %d apart, in %d steps", length, rate,
      last - first + 1)
  end
  local starts = ops.arange(first, first + count * o.sequence_stride, o.sequence_stride,
    { dtype = "int64" })
  local ds = Dataset("timeseries_dataset_from_array", {}, nil,
    { _store = stores.windows({ data }, targets, starts, length, rate) })
  if o.shuffle then
    ds = ds:shuffle(math.max(count, 1), { seed = o.seed })
  end
  return o.batch_size and ds:batch(o.batch_size) or ds
end

-- ---- parts of a data set ----

local split_args = check.args("split_dataset", {
  { "dataset", "any", check.required, "a Dataset, tensors, or a list of tensors", dict = true },
  { "left_size", "number", nil, "share (a float below 1) or number of the first part", min = 0 },
  { "right_size", "number", nil, "share or number of the second part", min = 0 },
  { "shuffle", "bool", false, "first shuffle all elements" },
  { "seed", "int", nil, "repeats the order" },
  { "preferred_backend", "string", nil, "not used" },
})

-- How many elements a size means.
local function count_of(v, n, name)
  if v == nil then
    return nil
  elseif math.type(v) == "integer" then
    if v <= 0 or v >= n then
      errors.raise("split_dataset", "%s must be a number of elements between 0 and %d (got %d)",
        name, n, v)
    end
    return v
  elseif v <= 0 or v >= 1 then
    errors.raise("split_dataset", "%s must be a share between 0 and 1 (got %s)", name,
      check.show(v))
  end
  return v
end

--- Two data sets, the first elements and the last ones. Keras: keras.utils.split_dataset.
---
---     local ds = tide.data.Dataset.range(10)
---     local left, right = tide.utils.split_dataset(ds, { left_size = 0.8 })
---     #left   --> 8
--- @return Dataset, Dataset
function helpers.split_dataset(...)
  local o = split_args:call(...)
  local ds = o.dataset
  if not class.is(ds, Dataset) then
    ds = type(ds) == "table" and not strings.is(ds) and structure.kind(ds) == "list"
      and Dataset.from_tensor_slices(table.unpack(ds)) or Dataset.from_tensor_slices(ds)
  end
  if o.left_size == nil and o.right_size == nil then
    errors.raise("split_dataset", "takes left_size or right_size (got none)")
  end
  local n = ds:cardinality()
  if n == -1 then
    errors.raise("split_dataset", "the data set has no end")
  elseif n < 0 then
    n = 0
    for _ in ds:iter() do
      n = n + 1
    end
  end
  local left, right = count_of(o.left_size, n, "left_size"), count_of(o.right_size, n, "right_size")
  if type(left) == "number" and math.type(left) == "float" and type(right) == "number"
    and math.type(right) == "float" and left + right > 1 then
    errors.raise("split_dataset", "left_size and right_size are more than all (got %s and %s)",
      check.show(left), check.show(right))
  end
  -- Keras rounds both
  local function whole(v)
    return v and (math.type(v) == "integer" and v or math.tointeger(math.floor(v * n + 0.5)))
  end
  left, right = whole(left), whole(right)
  left = left or n - right
  right = right or n - left
  if left + right > n then
    errors.raise("split_dataset", "left_size and right_size are more than all (expected at most \z
      %d elements, got %d)", n, left + right)
  elseif left == 0 or right == 0 then
    errors.raise("split_dataset", "one of the parts would be empty (%d and %d of %d elements)",
      left, right, n)
  end
  if o.shuffle then
    ds = ds:shuffle(n, { seed = o.seed, reshuffle_each_iteration = false })
  end
  return ds:take(left), ds:skip(n - right)
end

-- ---- parts of a batch ----

--- The parts of a batch as one value: x alone, or a list of x, y and sample_weight. Keras:
--- keras.utils.pack_x_y_sample_weight.
---
---     #tide.utils.pack_x_y_sample_weight(tide.ones { 2 }, tide.ones { 2 })   --> 2
function helpers.pack_x_y_sample_weight(x, y, sample_weight)
  if y == nil and sample_weight == nil then
    return structure.kind(x) == "list" and { x } or x
  elseif sample_weight == nil then
    return { x, y }
  end
  return { x, y == nil and false or y, sample_weight }
end

--- x, y and sample_weight of a batch: the inverse of pack_x_y_sample_weight. Keras:
--- keras.utils.unpack_x_y_sample_weight.
---
---     local x, y = tide.utils.unpack_x_y_sample_weight { tide.ones { 2 }, tide.zeros { 2 } }
function helpers.unpack_x_y_sample_weight(data)
  if type(data) ~= "table" or structure.kind(data) ~= "list" then
    return data
  elseif #data > 3 or #data == 0 then
    errors.raise("unpack_x_y_sample_weight", "the data must be x, { x }, { x, y } or { x, y, \z
      sample_weight } (got %d parts)", #data)
  end
  return data[1], data[2] or nil, data[3] or nil
end

return helpers

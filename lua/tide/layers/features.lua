--- DenseFeatures and SequenceFeatures: the columns of tide.feature_column as one tensor, as
--- TensorFlow's layers by these names (Keras 2).
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local encode = require "tide.layers.encode"
local errors = require "tide.errors"
local list = require "tide.list"
local made = require "tide.layers.columns"
local none = require "tide.none"
local ops = require "tide.ops"
local strings = require "tide.strings"

local features = {}

-- ---- reading features ----

local function feature(self, x, key)
  local v = x[key]
  if v == nil then
    local names = {}
    for k in pairs(x) do
      names[#names + 1] = tostring(k)
    end
    table.sort(names)
    errors.raise(self:_label(), "the feature '%s' is missing (got %s)", key,
      table.concat(names, ", "))
  end
  return v
end

-- The numbers of a numeric column: (batch, width), or (batch, steps, width).
local function numbers(self, c, x)
  local v = feature(self, x, c.key)
  if not core.is_tensor(v) then
    errors.raise(self:_label(), "the feature '%s' must be numbers (got %s)", c.key, check.show(v))
  end
  v = v.ndim == 0 and ops.reshape(v, { 1 }) or v
  v = ops.cast(v, c.dtype)
  if c.default_value then
    v = ops.where(ops.isnan(v), c.default_value, v)
  end
  if c.normalizer_fn then
    v = c.normalizer_fn(v)
    if not core.is_tensor(v) then
      errors.raise(self:_label(), "normalizer_fn of '%s' must give a tensor (got %s)", c.name,
        check.show(v))
    end
  end
  local rows = v.shape[1] or 1
  local steps = c.sequence and v.ndim > 1 and v.shape[2] or nil
  local want = rows * (steps or 1) * c.width
  if v.size ~= want and not (c.sequence and rows > 0 and v.size % (rows * c.width) == 0) then
    errors.raise(self:_label(), "the feature '%s' has the wrong shape (expected %d numbers in \z
      each row, got the shape %s)", c.key, c.width, tostring(v.shape))
  end
  return ops.reshape(v, c.sequence and { rows, rows > 0 and -1 or steps or 1, c.width }
    or { rows, c.width })
end

-- The values of a feature in rows: a flat list of strings or an int64 tensor, rows, their length,
-- and where a value is missing.
local function values(self, key, x)
  local v = feature(self, x, key)
  local flat, shape = encode.flat(v, strings)
  local rows = shape[1] or 1
  local width = 1
  for i = 2, #shape do
    width = width * shape[i]
  end
  local missing
  if core.is_tensor(flat) then
    missing = ops.equal(flat, -1)
  else
    local out = {}
    for i, s in ipairs(flat) do
      out[i] = s == ""
    end
    missing = #out > 0 and core.tensor(out, { dtype = "bool" }) or ops.zeros({ 0 },
      { dtype = "bool" })
  end
  return flat, rows, width, missing
end

local of_kind = {}

-- The numbers of a categorical column: int64 (batch, n), 0 where there is none; and weights.
local function ids_of(self, c, x)
  return of_kind[c.kind](self, c, x)
end

local function placed(ids, missing, rows, width)
  return ops.reshape(ops.where(missing, 0, ids), { rows, width })
end

function of_kind.identity(self, c, x)
  local flat, rows, width, missing = values(self, c.key, x)
  if not core.is_tensor(flat) then
    errors.raise(self:_label(), "the feature '%s' must be whole numbers (got text)", c.key)
  end
  local outside = ops.logical_and(ops.logical_or(ops.less(flat, 1), ops.greater(flat, c.size)),
    ops.logical_not(missing))
  if c.default_value then
    flat = ops.where(outside, c.default_value, flat)
  elseif flat.size > 0 and ops.any(outside) then
    encode.check_range(self, ops.where(missing, 1, flat), 1, c.size)
  end
  return placed(flat, missing, rows, width)
end

function of_kind.hash(self, c, x)
  local flat, rows, width, missing = values(self, c.key, x)
  return placed(core.hash_bins(flat, c.size) + 1, missing, rows, width)
end

function of_kind.vocabulary(self, c, x)
  local flat, rows, width, missing = values(self, c.key, x)
  local index = self[S].index[c]
  if not index then
    index = {}
    for i, v in ipairs(c.vocabulary_list) do
      index[v] = i
    end
    self[S].index[c] = index
  end
  if type(next(index)) == "string" == core.is_tensor(flat) then
    errors.raise(self:_label(), "the feature '%s' must be %s, as its vocabulary", c.key,
      core.is_tensor(flat) and "text" or "whole numbers")
  end
  local n, others = #c.vocabulary_list, c.num_oov_buckets
  -- with no numbers for the unknown, theirs is the default, or nothing
  local ids = core.vocabulary_ids(flat, index, others > 0 and n + 1 or c.default_value or 0,
    math.max(others, 1))
  return placed(ids, missing, rows, width)
end

function of_kind.bucketized(self, c, x)
  local v = numbers(self, c.source_column, x)
  local bins = encode.whole(ops.digitize(v, core.tensor(c.boundaries, { dtype = "float32" })))
  return bins + ops.reshape(ops.arange(0, v.shape[2] * c.bins, c.bins, "int64"), { 1, -1 })
end

function of_kind.weighted(self, c, x)
  local ids = ids_of(self, c.categorical_column, x)
  local w = ops.cast(feature(self, x, c.weight_feature_key), "float32")
  if w.size ~= ids.size then
    errors.raise(self:_label(), "the feature '%s' must have a weight for each value (expected %d, \z
      got %d)", c.weight_feature_key, ids.size, w.size)
  end
  return ids, ops.reshape(w, ids.shape)
end

-- What of a cross is hashed, in rows: all values of a feature, for TensorFlow takes "" and -1 for
-- values there, or the numbers of a column, as TensorFlow's.
local function crossable(self, k, x)
  if type(k) == "string" then
    local flat, rows, width = values(self, k, x)
    return flat, rows, width, ops.zeros({ rows * width }, { dtype = "bool" })
  end
  local ids = ids_of(self, k, x)
  local flat = ops.reshape(ids, { -1 })
  return flat - 1, ids.shape[1], ids.shape[2], ops.equal(flat, 0)
end

-- All combinations of a row's values, the last key's running fastest.
function of_kind.crossed(self, c, x)
  local parts, rows, total = {}, nil, 1
  for i, k in ipairs(c.keys) do
    local flat, n, width, missing = crossable(self, k, x)
    if rows and n ~= rows then
      errors.raise(self:_label(), "the features of '%s' must have as many rows (expected %d, got \z
        %d)", c.name, rows, n)
    end
    rows, total = n, total * width
    parts[i] = { flat, width, missing }
  end
  if total == 0 then -- a feature without values
    return ops.zeros({ rows, 0 }, { dtype = "int64" })
  end
  local each, lost = total, nil
  local flat = {}
  for i, p in ipairs(parts) do
    each = each // p[2]
    -- places of the values, (rows, total)
    local at = ops.mod(ops.floor_divide(ops.arange(0, total, 1, "int64"), each), p[2])
    local places = ops.reshape(ops.reshape(ops.arange(0, rows * p[2], p[2], "int64"), { -1, 1 })
      + ops.reshape(at, { 1, -1 }), { -1 }) + 1
    local gone = ops.take(p[3], places)
    lost = lost and ops.logical_or(lost, gone) or gone
    if core.is_tensor(p[1]) then
      flat[i] = ops.take(p[1], places)
    else
      local out = {}
      for j, at_j in ipairs(places:tolist()) do
        out[j] = p[1][at_j]
      end
      flat[i] = out
    end
  end
  return placed(core.cross_bins(flat, c.size, c.hash_key) + 1, lost, rows, total)
end

-- ---- dense columns ----

local dense = {}

function dense.numeric(self, c, x)
  return numbers(self, c, x)
end

function dense.bucketized(self, c, x)
  return encode.ids(of_kind.bucketized(self, c, x), "count", c.width, "float32")
end

function dense.indicator(self, c, x)
  local ids, weights = ids_of(self, c.categorical_column, x)
  return encode.ids(ids, "count", c.width, "float32", weights)
end

-- The vectors of a row's values, joined by their weights.
local combine = {
  sum = function(sum) return sum end,
  mean = function(sum, w) return sum / ops.sum(w, { axis = 2 }) end,
  sqrtn = function(sum, w) return sum / ops.sqrt(ops.sum(ops.square(w), { axis = 2 })) end,
}

local function vectors(self, c, ids)
  local v = ops.embedding(self[S].tables[c.table], ops.maximum(ids, 1), 1)
  if c.max_norm then
    local norm = ops.sqrt(ops.sum(ops.square(v), { axis = -1, keepdims = true }))
    v = v * ops.minimum(1, c.max_norm / ops.maximum(norm, 1e-12))
  end
  return v
end

function dense.embedding(self, c, x)
  local ids, weights = ids_of(self, c.categorical_column, x)
  local w = ops.cast(ops.greater(ids, 0), "float32")
  if weights then
    w = w * (c.combiner == "sum" and weights or ops.maximum(weights, 0))
  end
  w = ops.expand_dims(w, -1)
  local sum = ops.sum(vectors(self, c, ids) * w, { axis = 2 })
  local any = ops.greater(ops.sum(ops.abs(w), { axis = 2 }), 0)
  return ops.where(any, combine[c.combiner](sum, ops.where(ops.expand_dims(any, 2), w, 1)), 0)
end

-- ---- the layers ----

local function by_name(given, label, sequence)
  local columns = made.of(given) and { given } or given
  if not check.is_list(columns) or #columns == 0 then
    errors.raise(label, "feature_columns must be a list of dense columns (got %s)",
      check.show(given))
  end
  local out, seen = {}, {}
  for i, v in ipairs(columns) do
    local c = made.of(v)
    out[i] = c
    if not c or not dense[c.kind] then
      errors.raise(label, "column %d must be dense: numeric, bucketized, indicator or embedding \z
        (got %s)%s", i, c and c.name or check.show(v), c and of_kind[c.kind]
          and "; indicator_column and embedding_column make dense ones of categorical ones" or "")
    end
    local inner = c.categorical_column or c
    if (inner.sequence or false) ~= sequence then
      errors.raise(label, "the column '%s' %s", c.name, sequence
        and "must be one of a sequence (sequence_numeric_column and its kin)"
        or "is one of a sequence, which SequenceFeatures takes")
    elseif seen[c.name] then
      errors.raise(label, "two columns are named '%s'", c.name)
    end
    seen[c.name] = true
  end
  table.sort(out, function(a, b) return a.name < b.name end)
  return out
end

local function width_of(columns)
  local out = 0
  for _, c in ipairs(columns) do
    out = out + c.width
  end
  return out
end

local function build(self)
  local own = self[S]
  own.tables = {}
  for _, c in ipairs(own.columns) do
    if c.kind == "embedding" and not own.tables[c.table] then
      own.tables[c.table] = self:add_weight { { c.categorical_column.size, c.dimension },
        name = c.table .. "_weights", trainable = c.trainable,
        initializer = c.initializer or require("tide.initializers").TruncatedNormal { 0,
          1 / math.sqrt(c.dimension) } }
    end
  end
end

local args = { { "feature_columns", "any", check.required, "a dense column, or a list of them" },
  { "trainable", "bool", true } }

--- Features by name as one tensor (batch, width): dense columns of tide.feature_column, joined in
--- the order of their names. TensorFlow's (Keras 2's) DenseFeatures.
--     tide.layers.DenseFeatures { tide.feature_column.numeric_column "age" } { age = { 31, 40 } }
--     --> { { 31 }, { 40 } }
features.DenseFeatures = base.derive(base, "DenseFeatures", {
  takes = "features", keeps_dtype = true, opaque = true,
  args = args,
  init = function(self)
    self[S].columns, self[S].index = by_name(self.feature_columns, "DenseFeatures", false), {}
  end,
  build = build,
  call = function(self, x)
    local out = {}
    for i, c in ipairs(self[S].columns) do
      out[i] = dense[c.kind](self, c, x)
    end
    return #out == 1 and out[1] or ops.concatenate(out, 2)
  end,
  compute_output_shape = function(self, shapes)
    local _, shape = next(shapes)
    return list.new { shape and shape[1] or none, width_of(self[S].columns) }
  end,
})

-- How many steps each row of a column's feature has: those up to its last value.
local function lengths_of(self, c, x)
  local _, rows, width, missing = values(self, c.categorical_column.key, x)
  local steps = ops.reshape(ops.arange(1, width + 1, 1, "int64"), { 1, -1 })
  return width > 0 and ops.max(ops.where(ops.reshape(missing, { rows, width }), 0, steps),
    { axis = 2 }) or ops.zeros({ rows }, { dtype = "int64" })
end

local sequence = {}

function sequence.numeric(self, c, x)
  local v = numbers(self, c, x)
  return v, ops.full({ v.shape[1] }, v.shape[2], { dtype = "int64" })
end

function sequence.indicator(self, c, x)
  local ids = ids_of(self, c.categorical_column, x)
  return ops.one_hot(ids, c.width), lengths_of(self, c, x)
end

function sequence.embedding(self, c, x)
  local ids = ids_of(self, c.categorical_column, x)
  local here = ops.expand_dims(ops.cast(ops.greater(ids, 0), "float32"), -1)
  return vectors(self, c, ids) * here, lengths_of(self, c, x)
end

--- Features of sequences by name as one tensor (batch, steps, width), and the length of each row:
--- sequence columns of tide.feature_column, joined in the order of their names. TensorFlow's
--- (Keras 2's) SequenceFeatures.
--     tide.layers.SequenceFeatures { tide.feature_column.sequence_numeric_column "price" } {
--       price = { { 1, 2 } } }   --> { { { 1 }, { 2 } } }
features.SequenceFeatures = base.derive(base, "SequenceFeatures", {
  takes = "features", keeps_dtype = true, opaque = true,
  args = args,
  init = function(self)
    self[S].columns, self[S].index = by_name(self.feature_columns, "SequenceFeatures", true), {}
  end,
  build = build,
  call = function(self, x)
    local out, lengths, steps = {}, nil, nil
    for i, c in ipairs(self[S].columns) do
      local n
      out[i], n = sequence[c.kind](self, c, x)
      if steps and out[i].shape[2] ~= steps then
        errors.raise(self:_label(), "the feature of '%s' must have as many steps (expected %d, \z
          got %d)", c.name, steps, out[i].shape[2])
      end
      steps, lengths = out[i].shape[2], lengths and ops.maximum(lengths, n) or n
    end
    return #out == 1 and out[1] or ops.concatenate(out, 3), lengths
  end,
})

return features

--- tide.feature_column: how the columns of a table become numbers, as TensorFlow's
--- tf.feature_column.
--
-- A column is a plain table, made by the functions here: dense ones (`numeric_column`,
-- `bucketized_column`, `indicator_column`, `embedding_column`, `shared_embeddings`) are what
-- `layers.DenseFeatures` joins; categorical ones number values from 1, and 0 is nothing. In text
-- columns "" and in columns of whole numbers -1 stand for a value that is missing, as in
-- TensorFlow. Hashes, names and the order of columns are TensorFlow's.
---
---     local fc = tide.feature_column
---     local age, job = fc.numeric_column "age",
---       fc.categorical_column_with_hash_bucket("job", { hash_bucket_size = 5 })
---     tide.layers.DenseFeatures { { age, fc.indicator_column(job) } } { age = { 31 },
---       job = { "cook" } }   --> { { 31, 0, 1, 0, 0, 0 } }
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local made = require "tide.layers.columns"
local object = require "tide.object"
local strings = require "tide.strings"

local columns = {}

local required = check.required

-- ---- making columns ----

local function define(name, ...)
  columns[name] = made.define(name, ...)
end

local key = { "key", "string", required, "name of the feature" }

--- Numbers as they are, (batch, product of shape). TensorFlow: numeric_column.
---     tide.feature_column.numeric_column("age").width   --> 1
define("numeric_column", "numeric", { key,
  { "shape", "any", 1, "numbers in each row: a count, or a list of them" },
  { "default_value", "number", nil, "in place of NaN" },
  { "dtype", "dtype", "float32" },
  { "normalizer_fn", "callable", nil, "function of the tensor" },
}, function(o, owner)
  local width = 1
  for _, d in ipairs(type(o.shape) == "table" and o.shape or { o.shape }) do
    if not math.tointeger(d) or d < 1 then
      errors.raise(owner, "shape must be whole numbers from 1 (got %s)", check.show(o.shape))
    end
    width = width * math.tointeger(d)
    if width > 1 << 31 or width < 1 or d > 1 << 31 then
      errors.raise(owner, "shape has too many elements (got %s)", check.show(o.shape))
    end
  end
  o.width = width
end)

--- The bins of a numeric column between boundaries, a place for each. TensorFlow:
--- bucketized_column.
---     local fc = tide.feature_column
---     fc.bucketized_column(fc.numeric_column "age", { 18, 65 }).width   --> 3
define("bucketized_column", "bucketized", {
  { "source_column", "any", required, "a numeric column" },
  { "boundaries", "list", required, "numbers between the bins, from low to high" },
}, function(o, owner)
  local source = made.of(o.source_column)
  if not source or source.kind ~= "numeric" then
    errors.raise(owner, "takes a numeric column (got %s)", check.show(o.source_column))
  end
  o.source_column = source
  for i, b in ipairs(o.boundaries) do
    if type(b) ~= "number" or i > 1 and b <= o.boundaries[i - 1] then
      errors.raise(owner, "boundaries must be numbers that rise (got %s at position %d)",
        check.show(b), i)
    end
  end
  o.name = source.name .. "_bucketized"
  o.bins = #o.boundaries + 1
  o.width, o.size = source.width * o.bins, source.width * o.bins
end)

-- The number of what a column lacks is one of its own.
local function check_default(o, owner)
  if o.default_value and o.default_value > o.size then
    errors.raise(owner, "default_value is out of range (expected 1..%d, got %d)", o.size,
      o.default_value)
  end
end

--- Whole numbers 1..num_buckets as they are. TensorFlow: categorical_column_with_identity, whose
--- numbers begin at 0.
---     tide.feature_column.categorical_column_with_identity("day", 7).size   --> 7
define("categorical_column_with_identity", "identity", { key,
  { "num_buckets", "int", required, "largest number", min = 1 },
  { "default_value", "int", nil, "in place of numbers out of range, which raise otherwise",
    min = 1 },
}, function(o, owner)
  o.size = o.num_buckets
  check_default(o, owner)
end)

--- Text or whole numbers by their hash. TensorFlow: categorical_column_with_hash_bucket.
---     tide.feature_column.categorical_column_with_hash_bucket("job", 9).size   --> 9
define("categorical_column_with_hash_bucket", "hash", { key,
  { "hash_bucket_size", "int", required, "number of bins", min = 1 },
  { "dtype", "enum", "string", "of the feature", of = "string|int64|int32" },
}, function(o)
  o.size = o.hash_bucket_size
end)

local function vocabulary(o, owner)
  local index = {}
  if #o.vocabulary_list == 0 then
    errors.raise(owner, "the vocabulary is empty (expected at least one term)")
  end
  for i, v in ipairs(o.vocabulary_list) do
    v = type(v) == "number" and math.tointeger(v) or v
    if type(v) ~= "string" and math.type(v) ~= "integer"
      or type(v) ~= type(o.vocabulary_list[1]) then
      errors.raise(owner, "the vocabulary must be all text or all whole numbers (got %s at \z
        position %d)", check.show(v), i)
    elseif index[v] then
      errors.raise(owner, "the vocabulary holds %s twice (positions %d and %d)", check.show(v),
        index[v], i)
    end
    index[v] = i
  end
  if o.num_oov_buckets > 0 and o.default_value then
    errors.raise(owner, "default_value and num_oov_buckets exclude each other")
  end
  o.size = #o.vocabulary_list + o.num_oov_buckets
  check_default(o, owner)
end

local unknown_rows = {
  { "default_value", "int", nil, "number of what the vocabulary lacks, which is nothing otherwise",
    min = 1 },
  { "num_oov_buckets", "int", 0, "numbers of what the vocabulary lacks, by its hash", min = 0 },
}

--- Values by their place in a list. TensorFlow: categorical_column_with_vocabulary_list.
---     tide.feature_column.categorical_column_with_vocabulary_list("job", { "cook" }).size   --> 1
define("categorical_column_with_vocabulary_list", "vocabulary", { key,
  { "vocabulary_list", "list", required, "the values in order" },
  { "dtype", "enum", nil, "of the feature", of = "string|int64|int32" },
  unknown_rows[1], unknown_rows[2],
}, vocabulary)

--- Text by its line in a file. TensorFlow: categorical_column_with_vocabulary_file.
--- @usage local job = fc.categorical_column_with_vocabulary_file("job", "jobs.txt")
define("categorical_column_with_vocabulary_file", "vocabulary", { key,
  { "vocabulary_file", "string", required, "path of a file with a value in each line" },
  { "vocabulary_size", "int", nil, "lines that count; all by default", min = 1 },
  unknown_rows[2], unknown_rows[1],
  { "dtype", "enum", "string", "of the feature", of = "string|int64|int32" },
}, function(o, owner)
  local terms = {}
  local text = strings.without_mark(core.read_file(o.vocabulary_file)):gsub("\n$", "")
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    line = line:gsub("\r$", "")
    if o.dtype ~= "string" then
      local n = math.tointeger(tonumber(line))
      if not n then
        errors.raise(owner, "%s: line %d is no whole number (got '%s')", o.vocabulary_file,
          #terms + 1, line:sub(1, 40))
      end
      line = n
    end
    terms[#terms + 1] = line
    if #terms == o.vocabulary_size then
      break
    end
  end
  if o.vocabulary_size and #terms < o.vocabulary_size then
    errors.raise(owner, "%s: vocabulary_size is more than its lines (expected at most %d, got %d)",
      o.vocabulary_file, #terms, o.vocabulary_size)
  end
  o.vocabulary_list = terms
  vocabulary(o, owner)
end)

--- A categorical column whose values weigh what another feature says. TensorFlow:
--- weighted_categorical_column.
---     local fc = tide.feature_column
---     local word = fc.categorical_column_with_hash_bucket("word", 9)
---     fc.weighted_categorical_column(word, "count").name   --> "word_weighted_by_count"
define("weighted_categorical_column", "weighted", {
  { "categorical_column", "any", required, "the values" },
  { "weight_feature_key", "string", required, "name of the feature that holds the weights" },
}, function(o, owner)
  o.categorical_column = made.categorical(owner, o.categorical_column)
  o.name = ("%s_weighted_by_%s"):format(o.categorical_column.name, o.weight_feature_key)
  o.size = o.categorical_column.size
end)

--- Combinations of features, by name, and of categorical columns, by their hash. TensorFlow:
--- crossed_column.
---     tide.feature_column.crossed_column({ "job", "town" }, 100).name   --> "job_X_town"
define("crossed_column", "crossed", {
  { "keys", "list", required, "names of features and categorical columns, at least two" },
  { "hash_bucket_size", "int", required, "number of bins", min = 1 },
  { "hash_key", "int", nil, "key of the hash; TensorFlow's own by default" },
}, function(o, owner)
  if #o.keys < 2 then
    errors.raise(owner, "keys must be at least two (got %d)", #o.keys)
  end
  -- crosses of crosses are crosses of their keys
  local flat, names = {}, {}
  for _, k in ipairs(o.keys) do
    if type(k) ~= "string" then
      k = made.categorical(owner, k)
      if k.kind == "weighted" then
        errors.raise(owner, "the weights of '%s' have no place in a cross; give the column \z
          that it weighs", k.name)
      elseif k.kind == "hash" then
        errors.raise(owner, "the hashes of '%s' cannot be hashed again; give the feature's name",
          k.name)
      end
    end
    table.move(type(k) == "table" and k.kind == "crossed" and k.keys or { k }, 1,
      type(k) == "table" and k.kind == "crossed" and #k.keys or 1, #flat + 1, flat)
  end
  for i, k in ipairs(flat) do
    names[i] = type(k) == "string" and k or k.name
  end
  if #flat > 64 then
    errors.raise(owner, "keys must be at most 64 (got %d)", #flat)
  end
  table.sort(names)
  -- columns are hashed before features, whose values TensorFlow has in tensors of another kind
  local ordered = {}
  for _, type_ in ipairs { "table", "string" } do
    for _, k in ipairs(flat) do
      ordered[#ordered + 1] = type(k) == type_ and k or nil
    end
  end
  o.keys, o.name, o.size = ordered, table.concat(names, "_X_"), o.hash_bucket_size
end)

--- Rows with a place for each value of a categorical column: how often it stands in the row.
--- TensorFlow: indicator_column.
---     local fc = tide.feature_column
---     fc.indicator_column(fc.categorical_column_with_identity("day", 7)).width   --> 7
define("indicator_column", "indicator", {
  { "categorical_column", "any", required, "the values" },
}, function(o, owner)
  local c = made.categorical(owner, o.categorical_column)
  o.categorical_column = c
  o.name, o.width = c.name .. "_indicator", c.size
end)

local embedding_rows = {
  { "dimension", "int", required, "length of each vector", min = 1 },
  { "combiner", "enum", "mean", "how the vectors of a row become one", of = "mean|sum|sqrtn" },
  { "initializer", "initializer", nil, "TruncatedNormal of 1 / sqrt(dimension) by default" },
  { "max_norm", "number", nil, "longer vectors are shortened to it", above = 0 },
  { "trainable", "bool", true },
}

--- The values of a categorical column as learnt vectors. TensorFlow: embedding_column.
---     local fc = tide.feature_column
---     fc.embedding_column(fc.categorical_column_with_identity("day", 7), 2).width   --> 2
define("embedding_column", "embedding", {
  { "categorical_column", "any", required, "the values" }, table.unpack(embedding_rows),
}, function(o, owner)
  local c = made.categorical(owner, o.categorical_column)
  o.categorical_column = c
  o.name, o.width, o.table = c.name .. "_embedding", o.dimension, c.name .. "_embedding"
end)

local shared_args = check.args("shared_embeddings", {
  { "categorical_columns", "list", required, "columns of the same values" },
  table.unpack(embedding_rows),
})
--- Embedding columns that share one table: a list, in the order of the given columns. TensorFlow:
--- shared_embeddings.
---     local fc = tide.feature_column
---     local from = fc.categorical_column_with_identity("from", 7)
---     local to = fc.categorical_column_with_identity("to", 7)
---     fc.shared_embeddings({ from, to }, 2)[2].table   --> "from_to_shared_embedding"
columns.shared_embeddings = object.name_function(function(...)
  local o = shared_args:call(...)
  local names, out, given = {}, {}, {}
  for i, c in ipairs(o.categorical_columns) do
    c = made.categorical("shared_embeddings", c)
    given[i] = c
    if c.size ~= given[1].size then
      errors.raise("shared_embeddings", "the columns must have as many values (expected %d as \z
        '%s' has, got %d in '%s')", given[1].size, given[1].name, c.size, c.name)
    end
    names[i] = c.name
  end
  table.sort(names)
  for i, c in ipairs(given) do
    out[i] = columns.embedding_column(c, { dimension = o.dimension, combiner = o.combiner,
      initializer = o.initializer, max_norm = o.max_norm, trainable = o.trainable })
    out[i].name = c.name .. "_shared_embedding"
    out[i].table = table.concat(names, "_") .. "_shared_embedding"
  end
  return out
end, "feature_column.shared_embeddings", shared_args)

-- ---- sequences ----

-- A column of a kind whose rows are steps in time, for layers.SequenceFeatures.
local function sequence(name, of)
  local args = check.args(name, made.rows(of))
  columns[name] = object.name_function(function(...)
    local o = columns[of](...)
    o.sequence = true
    return o
  end, "feature_column." .. name, args)
end

--- Whole numbers step by step, for layers.SequenceFeatures. TensorFlow:
--- sequence_categorical_column_with_identity.
---     tide.feature_column.sequence_categorical_column_with_identity("page", 9).size   --> 9
sequence("sequence_categorical_column_with_identity", "categorical_column_with_identity")
--- Values by their hash, step by step, for layers.SequenceFeatures. TensorFlow:
--- sequence_categorical_column_with_hash_bucket.
---     tide.feature_column.sequence_categorical_column_with_hash_bucket("page", 9).size   --> 9
sequence("sequence_categorical_column_with_hash_bucket", "categorical_column_with_hash_bucket")
--- Values by their place in a list, step by step, for layers.SequenceFeatures. TensorFlow:
--- sequence_categorical_column_with_vocabulary_list.
---     tide.feature_column.sequence_categorical_column_with_vocabulary_list("page", { "a" }).size
---     --> 1
sequence("sequence_categorical_column_with_vocabulary_list",
  "categorical_column_with_vocabulary_list")
--- Values by their line in a file, step by step, for layers.SequenceFeatures. TensorFlow:
--- sequence_categorical_column_with_vocabulary_file.
--- @usage local c = fc.sequence_categorical_column_with_vocabulary_file("page", "pages.txt")
sequence("sequence_categorical_column_with_vocabulary_file",
  "categorical_column_with_vocabulary_file")
--- Numbers step by step, (batch, steps, width), for layers.SequenceFeatures. TensorFlow:
--- sequence_numeric_column.
---     tide.feature_column.sequence_numeric_column("price").width   --> 1
sequence("sequence_numeric_column", "numeric_column")

-- ---- what columns read ----

-- Adds the features that a column reads: name -> dtype and length.
local function add_features(c, out)
  if c.kind == "numeric" then
    out[c.key] = { dtype = c.dtype, shape = c.width, default_value = c.default_value }
  elseif c.kind == "bucketized" then
    add_features(c.source_column, out)
  elseif c.kind == "crossed" then
    for _, k in ipairs(c.keys) do
      if type(k) == "string" then
        out[k] = out[k] or { dtype = "string" }
      else
        add_features(k, out)
      end
    end
  elseif c.categorical_column then
    add_features(c.categorical_column, out)
    if c.weight_feature_key then
      out[c.weight_feature_key] = { dtype = "float32" }
    end
  else
    local first = c.vocabulary_list and c.vocabulary_list[1]
    out[c.key] = { dtype = c.kind == "identity" and "int64" or c.dtype
      or math.type(first) and "int64" or "string" }
  end
  return out
end

--- The features that columns read: name -> { dtype, shape }, a shape being there where each row has
--- as many values. TensorFlow: make_parse_example_spec.
---     local fc = tide.feature_column
---     fc.make_parse_example_spec({ fc.numeric_column "age" }).age.dtype   --> "float32"
--- @param feature_columns table list of columns
columns.make_parse_example_spec = object.name_function(function(feature_columns)
  if not check.is_list(feature_columns) then
    errors.raise("make_parse_example_spec", "takes a list of columns (got %s)",
      check.show(feature_columns))
  end
  local out = {}
  for _, v in ipairs(feature_columns) do
    local c = made.of(v)
    if not c then
      errors.raise("make_parse_example_spec", "takes a list of columns (got %s in it)",
        check.show(v))
    end
    add_features(c, out)
  end
  return out
end, "feature_column.make_parse_example_spec")

return require("tide.namespace").new("tide.feature_column", columns)

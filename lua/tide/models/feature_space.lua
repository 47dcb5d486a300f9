--- FeatureSpace: the columns of a table, each encoded by a layer of its own and joined, as Keras'
--- utils.FeatureSpace.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local functional = require "tide.models.functional"
local Model = require "tide.models.model"
local object = require "tide.object"
local ops = require "tide.ops"
local strings = require "tide.strings"
local symbolic = require "tide.graph.symbolic"

local layers -- tide.layers, which knows this module; loaded at first use
local function layer(name, options)
  layers = layers or require "tide.layers"
  return layers[name](options)
end

-- ---- kinds of features ----

-- A feature is { dtype, preprocessor, output_mode }. What its layer numbers counts from 0 unless a
-- person gets the numbers: inside, hashes and places are then Keras'.
local function feature(dtype, preprocessor, output_mode)
  return { dtype = dtype, preprocessor = preprocessor, output_mode = output_mode }
end

local mode_row = { "output_mode", "enum", "one_hot", "rows with a place for each, or numbers",
  of = "one_hot|int" }
local name_row = { "name", "string", nil, "name of the layer, before _preprocessor" }
local token_rows = {
  { "max_tokens", "int", nil, "most values, the unknown ones included" },
  { "num_oov_indices", "int", 1, "numbers of unknown values", min = 0 }, mode_row, name_row,
}
local bin_rows = { { "num_bins", "int", check.required, "number of bins", min = 1 }, mode_row,
  name_row }

-- name -> { rows of the options, dtype, class, the options that are the class' own }
local kinds = {
  float = { { name_row }, "float32", "Identity", nil },
  float_rescaled = { { { "scale", "number", 1.0, "factor" }, { "offset", "number", 0.0, "added" },
    name_row }, "float32", "Rescaling", { "scale", "offset" } },
  float_normalized = { { name_row }, "float32", "Normalization", {} },
  float_discretized = { {
    { "num_bins", "int", nil, "number of bins to learn", min = 1 },
    { "bin_boundaries", "list", nil, "numbers between the bins" }, mode_row, name_row },
    "float32", "Discretization", { "num_bins", "bin_boundaries" } },
  integer_categorical = { token_rows, "int64", "IntegerLookup",
    { "max_tokens", "num_oov_indices" } },
  string_categorical = { token_rows, "string", "StringLookup",
    { "max_tokens", "num_oov_indices" } },
  integer_hashed = { bin_rows, "int64", "Hashing", { "num_bins" } },
  string_hashed = { bin_rows, "string", "Hashing", { "num_bins" } },
}

local function make(name, o)
  local _, dtype, class_name, keys = table.unpack(kinds[name], 1, 4)
  local options = { name = (o.name or object.auto_name(name)) .. "_preprocessor" }
  for _, key in ipairs(keys or {}) do
    options[key] = o[key]
  end
  local mode = o.output_mode or "float"
  if mode == "one_hot" then
    options.zero_based = true
  end
  return feature(dtype, layer(class_name, options), mode)
end

-- ---- the space ----

local function sorted(t)
  local out = {}
  for k in pairs(t) do
    out[#out + 1] = k
  end
  table.sort(out)
  return out
end

-- How many places the rows of a layer's numbers have.
local function places_of(v)
  local sizes = v.num_tokens or v.num_bins
  if v.vocabulary_size then
    sizes = v:vocabulary_size()
  end
  local boundaries = rawget(v, "bin_boundaries")
  return boundaries and #boundaries + 1 or sizes
end

local prepare

--- The columns of a table, each encoded by a layer of its own, and joined.
---
--- `features`: for each column, by its name, a kind ("float", "float_rescaled", "float_normalized",
--- "float_discretized", "integer_categorical", "string_categorical", "integer_hashed",
--- "string_hashed") or what the functions by these names give, with options. `crosses` adds
--- combinations of columns. The space is called on a table of columns, lists or tensors;
--- `get_inputs()` and `get_encoded_features()` are the ends of a functional model over it. As
--- Keras: in one row the columns stand in the order of their names, then the crosses.
---
---     local space = tide.utils.FeatureSpace { { age = "float", job = "string_hashed" },
---       hashing_dim = 4 }
---     space({ age = { 31, 40 }, job = { "smith", "cook" } }).shape   --> { 2, 5 }
local FeatureSpace = base.derive(Model, "FeatureSpace", {
  init = function(self)
    prepare(self)
  end,
  args = {
    { "features", "table", check.required, "the features by name: names of kinds, or features" },
    { "output_mode", "enum", "concat", "all features in one row, or a table by name",
      of = "concat|dict" },
    { "crosses", "list", nil, "lists of the names of features that are crossed, or crosses" },
    { "crossing_dim", "int", 32, "places of a cross", min = 1 },
    { "hashing_dim", "int", 32, "bins of the kinds integer_hashed and string_hashed", min = 1 },
    { "num_discretization_bins", "int", 32, "bins of the kind float_discretized", min = 1 },
    { "adapted", "bool", false, "its layers know what they learn", own = true },
  },
})

local defaults = { integer_hashed = "hashing_dim", string_hashed = "hashing_dim",
  float_discretized = "num_discretization_bins" }

-- What stands for a feature, as a feature.
local function as_feature(self, name, v)
  if type(v) == "string" then
    if not kinds[v] then
      errors.raise("FeatureSpace", "the feature '%s' has an unknown kind (expected one of %s, got \z
        '%s')", name, table.concat(sorted(kinds), ", "), v)
    end
    return make(v, { name = name, num_bins = self[defaults[v]], num_oov_indices = 1, scale = 1.0,
      offset = 0.0, output_mode = v:find "^float" and v ~= "float_discretized" and "float"
        or "one_hot" })
  elseif check.is_plain(v) and base.is_layer(v.preprocessor) and type(v.dtype) == "string" then
    return feature(v.dtype, v.preprocessor, v.output_mode)
  end
  errors.raise("FeatureSpace", "the feature '%s' must be the name of a kind, or what \z
    FeatureSpace.float and its kin give (got %s)", name, check.show(v))
end

local function as_cross(self, v)
  local names = check.is_list(v) and #v > 0 and v or check.is_plain(v) and v.feature_names
  if not check.is_list(names) or #names < 2 then
    errors.raise("FeatureSpace",
      "a cross must be a list of at least two names of features (got %s)",
      check.show(v))
  end
  for _, name in ipairs(names) do
    if not self.features[name] then
      errors.raise("FeatureSpace", "a cross names the feature '%s', which is none (expected one \z
        of %s)", tostring(name), table.concat(sorted(self.features), ", "))
    end
  end
  return { feature_names = names, crossing_dim = v.crossing_dim or self.crossing_dim,
    output_mode = v.output_mode or "one_hot", name = table.concat(names, "_X_") }
end

function prepare(self)
  if next(self.features) == nil then
    errors.raise("FeatureSpace", "features must name at least one")
  end
  for name in pairs(self.features) do
    if type(name) ~= "string" then
      errors.raise("FeatureSpace", "features must be a table by name (got the name %s)",
        check.show(name))
    end
  end
  local features, crosses = {}, {}
  for _, name in ipairs(sorted(self.features)) do
    features[name] = as_feature(self, name, self.features[name])
  end
  self.features = features
  for i, v in ipairs(self.crosses or {}) do
    crosses[i] = as_cross(self, v)
  end
  self.crosses = crosses
  local own = self[S]
  own.crossers, own.inputs = {}, {}
  for _, c in ipairs(crosses) do
    own.crossers[c.name] = layer("HashedCrossing", { c.crossing_dim, name = c.name,
      zero_based = c.output_mode == "one_hot" })
  end
  for name, f in pairs(features) do
    own.inputs[name] = functional.Input { 1, dtype = f.dtype, name = name }
  end
  if self.adapted then
    self:get_encoded_features()
  end
end

class.properties(FeatureSpace, {
  -- The layers of the features and of the crosses, by name.
  preprocessors = function(self)
    local out = {}
    for name, f in pairs(self.features) do
      out[name] = f.preprocessor
    end
    return out
  end,
  crossers = function(self) return self[S].crossers end,
})

-- Whether a layer has something to learn: what its options give stays.
local function learns(v)
  local own = v[S]
  return type(v.adapt) == "function" and not own.fixed and not (own.given and own.given.mean)
    and not (rawget(v, "bin_boundaries") and not own.summary)
end

-- A column as a layer takes it: a last axis of 1.
local function as_column(v, name, dtype)
  if core.is_tensor(v) then
    return v.ndim == 0 and ops.reshape(v, { 1, 1 }) or v.ndim == 1 and ops.expand_dims(v, -1) or v
  elseif type(v) == "table" and strings.is(v) then
    return strings.in_rank(v, { 0, 1 }) or v
  elseif type(v) == "string" then
    return { { v } }
  elseif type(v) == "number" or type(v) == "table" then
    return as_column(core.tensor(v, { dtype = dtype == "int64" and dtype or "float64" }), name)
  end
  errors.raise("FeatureSpace", "the column '%s' must be a tensor or a list (got %s)", name,
    check.show(v))
end

local function column_of(row, name, dtype)
  local v = type(row) == "table" and row[name]
  if v == nil or v == false then
    errors.raise("FeatureSpace", "the column '%s' is missing (got %s)", name,
      type(row) == "table" and getmetatable(row) == nil
        and table.concat(sorted(row), ", ") or check.show(row))
  end
  return as_column(v, name, dtype)
end

-- The tables of columns that data hold, as a list: batches of a data set, or one table.
local function tables_of(data)
  if type(data) == "function" or type(data) == "table" and type(data.iter) == "function" then
    local out = {}
    for row in type(data) == "function" and data or data:iter() do
      out[#out + 1] = row
    end
    return out
  elseif check.is_plain(data) and #data > 0 then
    return data
  elseif check.is_plain(data) then
    return { data }
  end
  errors.raise("adapt", "the data must be a table of columns, a list of such tables, a data set \z
    or a function that gives them (got %s)", check.show(data))
end

--- Has every feature learn what it must from data.
--- @param data any a table of columns by name; a list of such tables, a data set or a function that
---   gives them
function FeatureSpace:adapt(data)
  local rows = tables_of(data)
  for _, name in ipairs(sorted(self.features)) do
    local f = self.features[name]
    if learns(f.preprocessor) then
      local i = 0
      f.preprocessor:adapt(function()
        i = i + 1
        if rows[i] ~= nil then
          local x = column_of(rows[i], name, f.dtype)
          return core.is_tensor(x) and f.dtype ~= "string" and ops.cast(x, f.dtype) or x
        end
      end)
    end
  end
  self.adapted = true
  self[S].encoded = nil
  self:get_encoded_features()
end

--- The inputs of a functional model over the columns: a table by name.
function FeatureSpace:get_inputs()
  return self[S].inputs
end

local function encode(name, x, v, mode)
  if mode ~= "one_hot" then
    return x
  end
  local places = places_of(v)
  if not places then
    errors.raise("FeatureSpace", "the layer of '%s' does not say how many places its numbers \z
      have; use output_mode = 'int'", name)
  end
  return layer("CategoryEncoding", { places, zero_based = v.zero_based or v.mask_token ~= nil })(x)
end

--- The encoded features, symbolic: one tensor (batch, places), or a table by name.
function FeatureSpace:get_encoded_features()
  local own = self[S]
  if own.encoded then
    return own.encoded
  elseif not self.adapted then
    for name, f in pairs(self.features) do
      if learns(f.preprocessor) then
        errors.raise("FeatureSpace", "the feature '%s' has not learnt yet; call adapt first", name)
      end
    end
  end
  local found, out, names = {}, {}, sorted(self.features)
  for _, name in ipairs(names) do
    local f = self.features[name]
    found[name] = f.preprocessor(own.inputs[name])
    out[name] = encode(name, found[name], f.preprocessor, f.output_mode)
  end
  local crosses = {}
  for _, c in ipairs(self.crosses) do
    local columns = {}
    for i, name in ipairs(c.feature_names) do
      local v = self.features[name].preprocessor
      -- Keras' numbers make Keras' hashes
      columns[i] = v.zero_based == false and v.mask_token == nil and found[name] - 1 or found[name]
    end
    out[c.name] = encode(c.name, own.crossers[c.name](columns), own.crossers[c.name],
      c.output_mode)
    crosses[#crosses + 1] = c.name
  end
  if self.output_mode == "concat" then
    table.sort(crosses)
    table.move(crosses, 1, #crosses, #names + 1, names)
    local joined = {}
    for i, name in ipairs(names) do
      local x = out[name]
      if not x.dtype:find("float", 1, true) then
        errors.raise("FeatureSpace", "the feature '%s' is not encoded (its dtype is %s), so that \z
          it cannot be joined; use output_mode = 'dict'", name, x.dtype)
      end
      joined[i] = x
    end
    out = #joined == 1 and joined[1] or layer("Concatenate", {})(joined)
  end
  own.encoded = out
  own.model = functional.Functional { inputs = own.inputs, outputs = out }
  if not self.built then
    self.built = true
    self:_settle()
  end
  return out
end

-- Takes the axis of 1 away that a single row got.
local function without_batch(v)
  if core.is_tensor(v) then
    return ops.squeeze(v, { axis = 1 })
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = without_batch(x)
  end
  return out
end

function FeatureSpace:call(columns)
  self:get_encoded_features()
  local row, single = {}, false
  for _, name in ipairs(sorted(self.features)) do
    local v = type(columns) == "table" and columns[name]
    single = single or type(v) == "string" or type(v) == "number"
      or core.is_tensor(v) and v.ndim == 0
    row[name] = symbolic.is(v) and v or column_of(columns, name, self.features[name].dtype)
  end
  local out = self[S].model(row)
  return single and without_batch(out) or out
end

-- ---- features with options ----

local function constructor(name)
  local args = check.args("FeatureSpace." .. name, kinds[name][1])
  return object.name_function(function(...)
    return make(name, args:construct(...))
  end, "FeatureSpace." .. name, args)
end

--- A feature of numbers as they are.
FeatureSpace.float = constructor "float"
--- A feature of numbers times `scale`, with `offset` added, by a layer Rescaling.
FeatureSpace.float_rescaled = constructor "float_rescaled"
--- A feature of numbers of mean 0 and variance 1, learnt by adapt, by a layer Normalization.
FeatureSpace.float_normalized = constructor "float_normalized"
--- A feature of the bins of numbers, given or learnt by adapt, by a layer Discretization.
FeatureSpace.float_discretized = constructor "float_discretized"
--- A feature of whole numbers by a vocabulary learnt by adapt, by a layer IntegerLookup.
FeatureSpace.integer_categorical = constructor "integer_categorical"
--- A feature of text by a vocabulary learnt by adapt, by a layer StringLookup.
FeatureSpace.string_categorical = constructor "string_categorical"
--- A feature of whole numbers by their hash, by a layer Hashing.
FeatureSpace.integer_hashed = constructor "integer_hashed"
--- A feature of text by its hash, by a layer Hashing.
FeatureSpace.string_hashed = constructor "string_hashed"

local feature_args = check.args("FeatureSpace.feature", {
  { "dtype", "enum", check.required, "of the column", of = "float32|int64|int32|string" },
  { "preprocessor", "layer", check.required, "the layer that encodes it" },
  { "output_mode", "enum", check.required, "what the layer gives, and what is made of it",
    of = "float|int|one_hot" },
})
--- A feature that a layer of one's choice encodes: `FeatureSpace.feature { "string",
--- layers.TextVectorization { output_mode = "tf_idf" }, "float" }`.
FeatureSpace.feature = object.name_function(function(...)
  local o = feature_args:construct(...)
  return feature(o.dtype, o.preprocessor, o.output_mode)
end, "FeatureSpace.feature", feature_args)

local cross_args = check.args("FeatureSpace.cross", {
  { "feature_names", "list", check.required, "the features that are crossed" },
  { "crossing_dim", "int", check.required, "places of the cross", min = 1 }, mode_row,
})
--- A cross of features, with a size of its own.
FeatureSpace.cross = object.name_function(function(...)
  local o = cross_args:construct(...)
  return { feature_names = o.feature_names, crossing_dim = o.crossing_dim,
    output_mode = o.output_mode }
end, "FeatureSpace.cross", cross_args)

return { FeatureSpace = FeatureSpace }

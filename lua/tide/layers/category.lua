--- Layers of categories that need no vocabulary: CategoryEncoding, Hashing, HashedCrossing and
--- Discretization, as Keras' by the same names.
--
-- What they number counts from 1, and 0 is nothing; `zero_based = true`, which layers from Keras'
-- files have, counts from 0. The columns of rows with a place for each are Keras'.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local encode = require "tide.layers.encode"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local quantiles = require "tide.layers.quantiles"
local sources = require "tide.layers.sources"
local strings = require "tide.strings"

local required = check.required
local sparse, zero_based = encode.last_rows()
local category = {}

-- ---- CategoryEncoding ----

--- Rows with a place for each category: integers 1..num_tokens in (..., n) become (...,
--- num_tokens).
--
-- `output_mode`: "multi_hot" (1 where a number stands in the row), "count" (how often; with
-- `layer(x, { count_weights = w })` what each counts), "one_hot" (a place of its own for each
-- element; a last axis of 1 goes). 0 is nothing, but for one_hot, which refuses it.
--     tide.layers.CategoryEncoding { 4 }(tide.tensor({ { 1, 3 } }, { dtype = "int32" }))
--     --> { { 1, 0, 1, 0 } }
category.CategoryEncoding = base.derive(base, "CategoryEncoding", {
  inputs = { "x", "count_weights" },
  takes = { x = "whole", count_weights = "tensor" },
  keeps_dtype = true, opaque = true,
  args = {
    { "num_tokens", "int", required, "number of categories", min = 1 },
    encode.mode_row("multi_hot", "multi_hot|one_hot|count|binary"),
    encode.last_rows(),
  },
  init = encode.init,
  call = function(self, x, weights)
    if weights and self.output_mode ~= "count" then
      errors.raise(self:_label(), "count_weights go with output_mode = 'count' alone (got '%s')",
        self.output_mode)
    elseif weights and not list.equal(weights.shape, x.shape) then
      errors.raise(self:_label(), "count_weights must have the shape of the input (expected %s, \z
        got %s)", tostring(x.shape), tostring(weights.shape))
    end
    local ids, shift = encode.whole(x), self.zero_based and 1 or 0
    local first = (self.zero_based or self.output_mode ~= "one_hot") and 0 or 1
    encode.check_range(self, ids, first, self.num_tokens - shift)
    return encode.ids(shift > 0 and ids + shift or ids, self.output_mode, self.num_tokens,
      self.compute_dtype, weights)
  end,
  compute_output_shape = function(self, shape)
    return encode.shape(self.output_mode, shape, self.num_tokens)
  end,
  keras = { names_inputs = true },
  _brief = function(self)
    return tostring(self.num_tokens)
  end,
})

-- ---- hashes ----

-- Bins 0.. as this layer numbers them: with a mask 0 is the mask and nothing else, as Keras has it.
local function binned(self, bins, shape, mask)
  local ids = ops.reshape(bins, shape)
  local int = self.output_mode == "int"
  local masked = self[S].masks
  if mask then
    ids = ops.where(ops.reshape(mask, shape), -1, ids)
  end
  -- as places: Keras' numbers + 1
  ids = ids + (masked and 2 or 1)
  if int then
    return (masked or self.zero_based) and ids - 1 or ids
  end
  return encode.ids(ids, self.output_mode, self.num_bins, self.compute_dtype)
end

-- Where an element is the value that stands for nothing, which is of the elements' kind.
local function mask_of(self, x)
  local value, numbers = self.mask_value, core.is_tensor(x)
  if (type(value) == "number") ~= numbers and #x > 0 then
    errors.raise(self:_label(), "mask_value must be of the values' kind (expected %s, got %s)",
      numbers and "a whole number" or "text", check.show(value))
  elseif numbers then
    return ops.equal(x, value)
  end
  local out = {}
  for i, v in ipairs(x) do
    out[i] = v == value
  end
  return #out > 0 and core.tensor(out, { dtype = "bool" }) or nil
end

--- Text or whole numbers by their hash into bins 1..num_bins: FarmHash's Fingerprint64, or SipHash
--- under the key `salt` (a whole number, or two), as Keras.
--
-- `mask_value`: the value that stands for nothing; its bin is 0 and the others are 1..num_bins - 1,
-- Keras' numbers. `output_mode`: "int", "one_hot", "multi_hot", "count".
--     tide.layers.Hashing { 3 }({ "A", "B", "C" })   --> { 2, 1, 2 }
category.Hashing = base.derive(base, "Hashing", {
  takes = "values", keeps_dtype = true, opaque = true,
  args = {
    { "num_bins", "int", required, "number of bins, that of the mask included", min = 1 },
    { "mask_value", "any", nil, "the value that stands for nothing: text or a whole number" },
    { "salt", "any", nil, "key of the hash: a whole number, or a list of two" },
    encode.mode_row("int", "int|one_hot|multi_hot|count"),
    encode.last_rows(),
  },
  init = function(self)
    encode.init(self)
    self[S].key = encode.salt(self)
    local value = self.mask_value
    if value ~= nil and type(value) ~= "string" then
      self.mask_value = math.tointeger(value) or errors.raise("Hashing",
        "mask_value must be text or a whole number (got %s)", check.show(value))
    end
    self[S].masks = value ~= nil and self.num_bins > 1
  end,
  call = function(self, x)
    local flat, shape = encode.flat(x, strings)
    local key = self[S].key or {}
    local masked = self[S].masks
    local bins = core.hash_bins(flat, self.num_bins - (masked and 1 or 0), key[1], key[2])
    return binned(self, bins, shape, masked and mask_of(self, flat))
  end,
  compute_output_shape = function(self, shape)
    return encode.shape(self.output_mode, shape, self.num_bins)
  end,
  compute_output_dtype = encode.dtype,
  keras = { config = function(self, config)
    config.salt = self[S].key or config.salt
    config.dtype = self.output_mode == "int" and "int64" or config.dtype
    return config
  end, options = function(options)
    options.dtype = options.output_mode ~= "int" and options.output_mode ~= nil and options.dtype
      or nil
    return options
  end },
  _brief = function(self)
    return tostring(self.num_bins)
  end,
})

--- Combinations of values by their hash into bins 1..num_bins: a list of columns, each text or
--- whole numbers of shape (batch) or (batch, 1), as Keras (and TensorFlow's sparse crosses).
--
-- `output_mode`: "int" or "one_hot".
--     tide.layers.HashedCrossing { 5 }({ { "A", "B" }, tide.tensor({ 101, 102 },
--       { dtype = "int32" }) }).shape   --> { 2 }
category.HashedCrossing = base.derive(base, "HashedCrossing", {
  takes = "columns", keeps_dtype = true, opaque = true,
  args = {
    { "num_bins", "int", required, "number of bins", min = 1 },
    encode.mode_row("int", "int|one_hot"),
    encode.last_rows(),
  },
  init = function(self)
    encode.init(self)
    self[S].masks = false
  end,
  call = function(self, columns)
    local flat, shape = {}, nil
    if #columns > 64 then
      errors.raise(self:_label(), "takes at most 64 columns (got %d)", #columns)
    end
    for i, column in ipairs(columns) do
      local own
      flat[i], own = encode.flat(column, strings)
      shape = shape or own
      if #own > 2 or #own == 2 and own[2] ~= 1 then
        errors.raise(self:_label(), "column %d has the wrong axes (expected (), (batch) or \z
          (batch, 1), got the shape %s)", i, list.format(own))
      elseif not list.equal(own, shape) then
        errors.raise(self:_label(), "column %d must have the shape of the first (expected %s, got \z
          %s)", i, list.format(shape), list.format(own))
      end
    end
    return binned(self, core.cross_bins(flat, self.num_bins), shape)
  end,
  compute_output_shape = function(self, shapes)
    return encode.shape(self.output_mode, shapes[1], self.num_bins)
  end,
  compute_output_dtype = encode.dtype,
  keras = { config = function(self, config)
    config.dtype = self.output_mode == "int" and "int64" or config.dtype
    config.trainable = nil
    return config
  end, options = function(options)
    options.dtype = options.output_mode == "one_hot" and options.dtype or nil
    return options
  end },
  _brief = function(self)
    return tostring(self.num_bins)
  end,
})

-- ---- Discretization ----

-- Options that say both how many bins there are and where are those of a layer that has learnt.
local function learnt(options)
  local out = {}
  for k, v in pairs(options) do
    out[k] = v
  end
  local at, bins = out.bin_boundaries, out.num_bins
  out.learnt = at ~= nil and at ~= none and bins ~= nil and bins ~= none or nil
  return out
end

--- Numbers by the bin between boundaries in which they fall: 1..#bin_boundaries + 1. A number that
--- is a boundary belongs to the bin above it.
--
-- The boundaries are given, or learnt by `layer:adapt(data)`: quantiles that cut the data into
-- `num_bins` bins of the same number, to within `epsilon`. `output_mode`: "int", "one_hot",
-- "multi_hot", "count". As Keras.
--     tide.layers.Discretization { { 0, 1, 2 } }(tide.tensor { -0.5, 0, 5 })   --> { 1, 2, 4 }
category.Discretization = base.derive(base, "Discretization", {
  takes = "tensor", opaque = true,
  args = {
    { "bin_boundaries", "any", nil, "numbers between the bins, from low to high" },
    { "num_bins", "int", nil, "number of bins to learn", min = 1 },
    { "epsilon", "number", 0.01, "largest error of a learnt quantile, as a share", above = 0 },
    encode.mode_row("int", "int|one_hot|multi_hot|count"),
    sparse, zero_based,
    { "learnt", "bool", false, "the boundaries were learnt: adapt may learn others", own = true },
  },
  init = function(self)
    encode.init(self)
    local given = self.bin_boundaries
    if given == nil and self.num_bins == nil then
      errors.raise("Discretization", "bin_boundaries or num_bins must be given")
    elseif given ~= nil and self.num_bins ~= nil and not self.learnt then
      errors.raise("Discretization", "bin_boundaries and num_bins exclude each other (got both)")
    end
    if given ~= nil then
      local t = core.tensor(given, { dtype = "float32" })
      if t.ndim ~= 1 then
        errors.raise("Discretization",
          "bin_boundaries must be a list of numbers (got the shape %s)",
          tostring(t.shape))
      end
      for i = 2, t.shape[1] do
        if t[i - 1] > t[i] or t[i] ~= t[i] or t[i - 1] ~= t[i - 1] then
          errors.raise("Discretization", "bin_boundaries must rise (got %s after %s)",
            tostring(given[i]), tostring(given[i - 1]))
        end
      end
      self.bin_boundaries = t:tolist()
    end
  end,
  call = function(self, x)
    local at = self.bin_boundaries
    if at == nil then
      errors.raise(self:_label(), "it has no boundaries yet: give bin_boundaries or call adapt")
    end
    local ids = ops.digitize(x, #at > 0 and core.tensor(at, { dtype = "float32" })
      or ops.zeros { 0 })
    ids = encode.whole(ids)
    if self.output_mode == "int" and self.zero_based then
      ids = ids - 1
    end
    return encode.ids(ids, self.output_mode, #at + 1, self.compute_dtype)
  end,
  compute_output_shape = function(self, shape)
    local at = self.bin_boundaries
    return encode.shape(self.output_mode, shape, at and #at + 1 or self.num_bins)
  end,
  compute_output_dtype = encode.dtype,
  keras = { config = function(_, config)
    config.trainable = nil -- which Keras' class does not take
    return config
  end, options = function(options)
    return learnt(options)
  end },
})
local Discretization = category.Discretization

function Discretization._from_config(c, config)
  return base._from_config(c, type(config) == "table" and learnt(config) or config)
end

function Discretization:get_config()
  return learnt(base.get_config(self))
end

--- Takes a batch into what the boundaries are learnt from; `adapt` does it for all batches, then
--- `finalize_state` finds the boundaries.
function Discretization:update_state(batch)
  local own = self[S]
  own.summary = quantiles.merge(quantiles.of(ops.cast(batch, "float32"), self.epsilon),
    own.summary, self.epsilon)
end

--- Finds the boundaries of what was seen.
function Discretization:finalize_state()
  if self.num_bins ~= nil and self[S].summary then
    local found = quantiles.boundaries(self[S].summary, self.num_bins)
    if found[#found] ~= found[#found] then -- NaN stands last
      errors.raise("adapt", "the data of %s hold NaN for more than one bin", self:_label())
    end
    self.bin_boundaries = found
  end
end

--- Forgets what was seen.
function Discretization:reset_state()
  self[S].summary = nil
end

--- Learns the boundaries of data and forgets those it had.
--- @param data any a tensor, a list of batches, a data set, or a function that gives batches
--- @param o table|nil steps: most batches to look at
function Discretization:adapt(data, o)
  if self.num_bins == nil then
    errors.raise("adapt", "%s has its boundaries from its options; num_bins lets it learn them",
      self:_label())
  end
  self:reset_state()
  for x in sources.batches(data, o, "tensors") do
    self:update_state(x)
  end
  self:finalize_state()
end

return category

--- Where a token stands and what it is: ReversibleEmbedding (Keras), and KerasHub's layers of
--- positions by its names, options and numbers.
--
-- Positions count from 1, the first step being 1; a KeyValueCache that serves the call says where
-- its steps begin.
local S = require "tide.private"
local base = require "tide.layers.base"
local caches = require "tide.layers.cache"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local list = require "tide.list"
local ops = require "tide.ops"

local required = check.required
local reshape = ops.reshape

local embedding = {}

local function same_shape(_, shape)
  return shape
end

-- ---- ReversibleEmbedding ----

local Embedding = require("tide.layers.core").Embedding

local function look_up(self, x, o)
  if not o.reverse then
    return Embedding.call(self, x)
  end
  local dtype = self.reverse_dtype or self.compute_dtype
  local table_ = self.reverse_embeddings or ops.transpose(self.embeddings)
  if x.shape[x.ndim] ~= self.output_dim then
    errors.raise(self:_label(), "the input does not fit the vectors (expected a last axis of %d, \z
      got the shape %s)", self.output_dim, list.format(x.shape))
  end
  local y = ops.matmul(ops.cast(x, dtype), ops.cast(table_, dtype))
  local cap = self.logit_soft_cap
  return cap and ops.tanh(y / cap) * cap or y
end

--- An Embedding that also leads back, from vectors to a score (logit) of each id, as models of
--- language end (Press and Wolf 2017).
--
-- `layer(ids)` as Embedding; `layer(x, { reverse = true })`: (..., output_dim) becomes (...,
-- input_dim), by the table itself or, with `tie_weights = false`, by one of its own. As Keras'
-- ReversibleEmbedding.
--     tide.layers.ReversibleEmbedding { 100, 8 }(tide.ones { 1, 2, 8 }, { reverse = true }).shape
--     --> { 1, 2, 100 }
embedding.ReversibleEmbedding = base.derive(Embedding, "ReversibleEmbedding", {
  args = {
    { "input_dim", "int", required, "number of ids", min = 1 },
    { "output_dim", "int", required, "length of each vector", min = 1 },
    { "tie_weights", "bool", true, "the way back uses the same table" },
    { "embeddings_initializer", "initializer", "uniform" },
    { "embeddings_regularizer", "regularizer" },
    { "embeddings_constraint", "constraint" },
    { "mask_zero", "bool", false, "0 is padding: a row of its own, and masked" },
    { "reverse_dtype", "dtype", nil, "dtype of the way back; that of the computation by default" },
    { "logit_soft_cap", "number", nil, "scores become cap * tanh(scores / cap)", above = 0 },
  },
  build = function(self)
    self.reverse_embeddings = not self.tie_weights and self:add_weight {
      { self.output_dim, self.input_dim }, name = "reverse_embeddings",
      initializer = self.embeddings_initializer, autocast = false }
  end,
  call_options = { reverse = true },
  call = function(self, x, o)
    local mask = self.mask_zero and not o.reverse and ops.not_equal(x, 0)
    local y = look_up(self, x, o)
    return mask and base.set_mask(y, mask) or y
  end,
  sets_mask = true,
})
embedding.ReversibleEmbedding._custom_shape = false -- `reverse` changes it

-- ---- positions ----

-- The positions of the steps of a call: a tensor (1 or batch, steps) from the option, or nil and
-- the number of steps before them.
local function places_of(self, o, steps)
  if o.positions ~= nil and o.positions ~= false then
    local at = o.positions
    if not core.is_tensor(at) and not check.is_list(at) then
      errors.raise(self:_label(), "positions must be a tensor or a list of numbers (got %s)",
        check.show(at))
    end
    at = ops.convert_to_tensor(at)
    if at.ndim == 1 then
      at = ops.expand_dims(at, 1)
    end
    if at.ndim ~= 2 or at.shape[2] ~= steps then
      errors.raise(self:_label(), "positions must have one value per step (expected [%d] or \z
        [batch, %d], got %s)", steps, steps, list.format(at.shape))
    end
    return at
  end
  local first = o.start_index
  if first == nil then
    return nil, caches.start(self, steps)
  end
  local n = core.is_tensor(first) and first.size == 1 and first:item() or first
  n = math.tointeger(n)
  if not n or n < 1 then
    errors.raise(self:_label(), "start_index must be an integer at least 1 (got %s)",
      check.show(o.start_index))
  end
  return nil, n - 1
end

-- Positions less 1, as numbers of this dtype: (1 or batch, steps).
local function distances(self, o, steps, dtype)
  local at, before = places_of(self, o, steps)
  if at then
    return ops.cast(at, dtype) - 1
  end
  return ops.expand_dims(ops.arange(before, before + steps, 1, dtype), 1)
end

-- Angles are found in float32 at least.
local function wide(dtype)
  return dtype == "float64" and dtype or "float32"
end

local POSITIONS = { start_index = true, positions = true }

local function check_call(self, x)
  if x.ndim < 2 then
    errors.raise(self:_label(), "the input has the wrong axes (expected (batch, ..., steps, \z
      features), got the shape %s)", list.format(x.shape))
  end
end

-- How Keras' files hold the options of a call that name positions.
local counted = { call_counts = POSITIONS, package = "keras_hub" }

--- A trained vector for each position, (batch, steps, features) as the input, of which only the
--- shape counts (Devlin et al. 2019).
--
-- Options of a call: `start_index`, the position of the first step (1); `positions`, those of all
-- steps, (steps) or (batch, steps). As KerasHub's PositionEmbedding, where positions count from 0.
--     tide.layers.PositionEmbedding { 16 }(tide.ones { 2, 5, 8 }).shape   --> { 2, 5, 8 }
embedding.PositionEmbedding = base.derive(base, "PositionEmbedding", {
  takes = "tensor",
  args = {
    { "sequence_length", "int", required, "number of positions", min = 1 },
    { "initializer", "initializer", "glorot_uniform", "of the table" },
  },
  keras = counted,
  build = function(self, shape)
    local width = shape[#shape]
    if #shape < 2 or math.type(width) ~= "integer" then
      errors.raise(self:_label(), "the last axis of the input must be known (got the shape %s)",
        list.format(shape))
    end
    self.position_embeddings = self:add_weight { { self.sequence_length, width },
      name = "embeddings", initializer = self.initializer }
  end,
  call_options = POSITIONS,
  call = function(self, x, o)
    check_call(self, x)
    local steps = x.shape[x.ndim - 1]
    local at, before = places_of(self, o, steps)
    local y
    if at then
      y = ops.embedding(self.position_embeddings, at, 1)
    else
      if before + steps > self.sequence_length then
        errors.raise(self:_label(), "the input goes beyond the positions that there are (expected \z
          at most %d, got %d)", self.sequence_length, before + steps)
      end
      y = self.position_embeddings[{ { before + 1, before + steps } }]
    end
    return ops.broadcast_to(y, x.shape)
  end,
  torch = { links = function(self) -- as an nn.Embedding of positions
    return links.list(links.one("weight", self.position_embeddings))
  end },
  compute_output_shape = same_shape,
  _brief = function(self)
    return tostring(self.sequence_length)
  end,
})

--- Puts a trained vector before the steps, (batch, steps, features) becomes (batch, steps + 1,
--- features): what a transformer makes of it stands for the whole (Devlin et al. 2019, Dosovitskiy
--- et al. 2021).
--     tide.layers.ClassToken()(tide.ones { 2, 5, 8 }).shape   --> { 2, 6, 8 }
embedding.ClassToken = base.derive(base, "ClassToken", {
  takes = "tensor",
  args = { { "initializer", "initializer", "zeros", "of the vector" } },
  build = function(self, shape)
    local width = shape[#shape]
    if #shape ~= 3 or math.type(width) ~= "integer" then
      errors.raise(self:_label(), "the input has the wrong axes (expected (batch, steps, \z
        features), got the shape %s)", list.format(shape))
    end
    self.class_token = self:add_weight { { 1, 1, width }, name = "class_token",
      initializer = self.initializer }
  end,
  call = function(self, x)
    local rows = ops.zeros_like(ops.sum(x, 2, { keepdims = true })) -- the batch may not be known
    return ops.concatenate({ rows + self.class_token, x }, 2)
  end,
  compute_output_shape = function(_, shape)
    local out = list.copy(shape)
    out[2] = math.type(out[2]) == "integer" and out[2] + 1 or out[2]
    return out
  end,
})

--- Sines and cosines of the positions, with wavelengths that grow from 2 pi to `max_wavelength`: as
--- large as the input, to which it is added (Vaswani et al. 2017).
--
-- Options of a call: `start_index` and `positions`, as of PositionEmbedding. As KerasHub's
-- SinePositionEncoding.
--     tide.layers.SinePositionEncoding()(tide.ones { 1, 1, 2 })   --> { { { 0, 1 } } }
embedding.SinePositionEncoding = base.derive(base, "SinePositionEncoding", {
  takes = "tensor",
  args = { { "max_wavelength", "number", 10000, "the longest wavelength, in 2 pi steps",
    above = 0 } },
  keras = counted,
  call_options = POSITIONS,
  call = function(self, x, o)
    check_call(self, x)
    local shape, dtype = x.shape, wide(x.dtype)
    local width, scales, odd = shape[x.ndim], {}, {}
    for i = 0, width - 1 do
      scales[i + 1] = self.max_wavelength ^ (-2 * (i // 2) / width)
      odd[i + 1] = i % 2 == 1
    end
    local at = ops.expand_dims(distances(self, o, shape[x.ndim - 1], dtype), -1)
      * ops.convert_to_tensor(scales, { dtype = dtype })
    local y = ops.where(ops.convert_to_tensor(odd), ops.cos(at), ops.sin(at))
    return ops.broadcast_to(ops.cast(y, x.dtype), shape)
  end,
  compute_output_shape = same_shape,
})

-- ---- rotary ----

local rope = {}

function rope.linear(self, bases)
  for i, v in ipairs(bases) do
    bases[i] = v / self.scaling_factor
  end
end

function rope.dynamic(self, bases, width)
  local by = self.scaling_factor ^ (width / math.max(1, width - 2))
  for i, v in ipairs(bases) do
    bases[i] = v / by
  end
end

-- Peng et al. 2023: waves that are long beside the lengths known from training are stretched, short
-- ones stay, and between them both are mixed.
function rope.yarn(self, bases, width)
  local function dimension(turns)
    return width * math.log(self.original_max_position_embeddings / (turns * 2 * math.pi))
      / (2 * math.log(self.max_wavelength))
  end
  local low, high = dimension(self.beta_fast), dimension(self.beta_slow)
  if self.truncate then
    low, high = math.floor(low), math.ceil(high)
  end
  low, high = math.max(low, 0), math.min(high, width - 1)
  for i in ipairs(bases) do
    local v = self.max_wavelength ^ (-2 * (i - 1) / width)
    local share = math.min(math.max((i - 1 - low) / math.max(high - low, 0.001), 0), 1)
    bases[i] = v / self.scaling_factor * share + v * (1 - share)
  end
end

-- The axes as positive numbers.
local function rotary_axes(self, rank)
  local s, f = self.sequence_axis, self.feature_axis
  s, f = s < 0 and rank + 1 + s or s, f < 0 and rank + 1 + f or f
  if s < 2 or f < 2 or s > rank or f > rank or s == f then
    errors.raise(self:_label(), "sequence_axis and feature_axis must be two axes after the batch \z
      (got %d and %d of %d)", self.sequence_axis, self.feature_axis, rank)
  end
  return s, f
end

--- Turns pairs of features by angles that grow with the position, so that products of queries and
--- keys know how far apart they are (Su et al. 2021).
--
-- Feature i and feature i + width / 2 are a pair. Options of a call: `start_index` and `positions`,
-- as of PositionEmbedding. `rope_type`: how `scaling_factor` stretches the waves: "linear" (all),
-- "dynamic" (by the base), "yarn" (the long ones). As KerasHub's RotaryEmbedding.
--     tide.layers.RotaryEmbedding()(tide.ones { 1, 2, 2 })
--     --> { { { 1, 1 }, { -0.30117, 1.38177 } } }
embedding.RotaryEmbedding = base.derive(base, "RotaryEmbedding", {
  takes = "tensor",
  args = {
    { "max_wavelength", "number", 10000, "the longest wavelength, in 2 pi steps", above = 0 },
    { "scaling_factor", "number", 1.0, "how much waves are stretched", above = 0 },
    { "rope_type", "enum", "linear", "which waves are stretched", of = "linear|dynamic|yarn" },
    { "beta_fast", "number", 32.0, "of yarn: waves with more turns stay", above = 0 },
    { "beta_slow", "number", 1.0, "of yarn: waves with fewer turns are stretched", above = 0 },
    { "original_max_position_embeddings", "int", 4096, "of yarn: the length known from training",
      min = 1 },
    { "truncate", "bool", true, "of yarn: limits at whole features" },
    { "sequence_axis", "axis", 2, "axis of the steps" },
    { "feature_axis", "axis", -1, "axis of the features" },
    { "denominator_dim", "int", nil, "the width that exponents count by; the features' by default",
      min = 1 },
  },
  keras = counted,
  call_options = POSITIONS,
  call = function(self, x, o)
    check_call(self, x)
    local rank = x.ndim
    local steps, features = rotary_axes(self, rank)
    local plain = steps == 2 and features == rank
    if not plain then
      x = ops.moveaxis(x, { features, steps }, { -1, 2 })
    end
    local shape = x.shape
    local width, dtype = shape[rank], wide(x.dtype)
    if width % 2 ~= 0 then
      errors.raise(self:_label(), "the features must come in pairs (expected an even number, got \z
        %d)", width)
    end
    local bases = {}
    for i = 0, width // 2 - 1 do
      bases[i + 1] = self.max_wavelength ^ (-2 * i / (self.denominator_dim or width))
    end
    rope[self.rope_type](self, bases, width)
    local at = distances(self, o, shape[2], dtype)
    local wanted = { at.shape[1], shape[2] }
    for i = 3, rank - 1 do
      wanted[i] = 1
    end
    wanted[rank] = width // 2
    at = reshape(ops.expand_dims(at, -1) * ops.convert_to_tensor(bases, { dtype = dtype }), wanted)
    local factor = self.rope_type == "yarn" and 0.1 * math.log(self.scaling_factor) + 1 or 1
    local cos = ops.cast(ops.cos(at) * factor, x.dtype)
    local sin = ops.cast(ops.sin(at) * factor, x.dtype)
    local a, b = table.unpack(ops.split(x, 2, -1))
    local y = ops.concatenate({ a * cos - b * sin, b * cos + a * sin }, -1)
    return plain and y or ops.moveaxis(y, { -1, 2 }, { features, steps })
  end,
  compute_output_shape = same_shape,
})

-- ---- both ----

--- The sum of a vector for each token and one for each position: (batch, steps) of ids become
--- (batch, steps, embedding_dim).
--
-- `token_embedding` is a ReversibleEmbedding, `position_embedding` a PositionEmbedding; ids and
-- masks as of Embedding, options of a call as of PositionEmbedding. A functional model that leads
-- back to ids has these two as layers of its own instead: in files, as in Keras', a layer inside
-- another is none of the model's. As KerasHub's TokenAndPositionEmbedding.
--     tide.layers.TokenAndPositionEmbedding { 100, 16, 8 }(
--       tide.tensor({ { 1, 5, 3 } }, { dtype = "int32" })).shape   --> { 1, 3, 8 }
embedding.TokenAndPositionEmbedding = base.derive(base, "TokenAndPositionEmbedding", {
  takes = "tensor",
  args = {
    { "vocabulary_size", "int", required, "number of ids", min = 1 },
    { "sequence_length", "int", required, "number of positions", min = 1 },
    { "embedding_dim", "int", required, "length of each vector", min = 1 },
    { "tie_weights", "bool", true, "the way back to scores uses the same table" },
    { "embeddings_initializer", "initializer", "uniform" },
    { "mask_zero", "bool", false, "0 is padding: a row of its own, and masked" },
    { "zero_row", "bool", false, "0 is an id with a row of its own, not masked", own = true },
    { "zero_based", "bool", false, "ids count from 0", own = true },
  },
  keras = counted,
  keeps_dtype = true,
  init = function(self)
    local o = { dtype = self.dtype_policy, trainable = self[S].trainable }
    self.supports_masking, self.makes_mask = self.mask_zero, self.mask_zero
    self.token_embedding = embedding.ReversibleEmbedding { self.vocabulary_size,
      self.embedding_dim, self.tie_weights, self.embeddings_initializer,
      mask_zero = self.mask_zero, zero_row = self.zero_row, zero_based = self.zero_based,
      name = "token_embedding", dtype = o.dtype, trainable = o.trainable }
    self.position_embedding = embedding.PositionEmbedding { self.sequence_length,
      self.embeddings_initializer, name = "position_embedding", dtype = o.dtype,
      trainable = o.trainable }
  end,
  build = function(self, shape)
    self.token_embedding:build(shape)
    local full = list.copy(shape)
    full[#full + 1] = self.embedding_dim
    self.position_embedding:build(full)
  end,
  call_options = POSITIONS,
  call = function(self, x, o)
    local y = self.token_embedding(x)
    return y + self.position_embedding(y, { start_index = o.start_index, positions = o.positions })
  end,
  compute_mask = function(self, x)
    return self.mask_zero and ops.not_equal(x, 0) or nil
  end,
  compute_output_shape = function(self, shape)
    local out = list.copy(shape)
    out[#out + 1] = self.embedding_dim
    return out
  end,
  _brief = function(self)
    return ("%d, %d x %d"):format(self.vocabulary_size, self.sequence_length, self.embedding_dim)
  end,
})

return embedding

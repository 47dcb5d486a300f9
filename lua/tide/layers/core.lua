--- Dense, Embedding, and the layers without arithmetic of their own: Identity, Lambda, Masking,
--- Rescaling, InputLayer.
local S = require "tide.private"
local activations = require "tide.activations"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local list = require "tide.list"
local lora = require "tide.layers.lora"
local none = require "tide.none"
local ops = require "tide.ops"

local required = check.required
local linear, embedding = ops.linear, ops.embedding

local core = {}

-- ---- Dense ----

--- Makes the kernel (features, `width`) and the bias of a layer that has Dense's options.
function core.affine(self, shape, width)
  local features = shape[#shape]
  if #shape < 2 or features == none then
    errors.raise(
      getmetatable(self).__name,
      "the last axis of the input must be known and follow a batch axis (got the shape %s)",
        list.format(shape))
  end
  self.kernel = self:_make_weight { shape = { features, width }, name = "kernel",
    initializer = self.kernel_initializer, regularizer = self.kernel_regularizer,
    constraint = self.kernel_constraint }
  if self.use_bias then
    self.bias = self:_make_weight { shape = { width }, name = "bias",
      initializer = self.bias_initializer, regularizer = self.bias_regularizer,
      constraint = self.bias_constraint }
  else
    self.bias = false
  end
end

--- The shape of such a layer's result.
function core.affine_shape(self, shape)
  local features = shape[#shape]
  if features == nil then
    errors.raise(self:_label(), "needs an axis of features (got the shape [])")
  elseif self.built and features ~= none and features ~= self.kernel.shape[1] then
    errors.raise("linear", "input has %d features, kernel expects %d (input %s, kernel %s)",
      features, self.kernel.shape[1], list.format(shape), tostring(self.kernel.shape))
  end
  local out = list.copy(shape)
  out[#out] = self.units
  return out
end

-- The four calls of a Dense, chosen at build: is there a bias, does the op apply the activation
-- itself?
local function dense_plain(self, x)
  return linear(x, self.kernel, self.bias)
end

local function dense_fused(self, x)
  return linear(x, self.kernel, self.bias, self[S].fused)
end

local function dense_then(self, x)
  return self.activation(linear(x, self.kernel, self.bias))
end

-- What a class of one's own reaches as `layers.Dense.call(self, x)`.
local function dense(self, x)
  return self[S].apply(self, x)
end

--- A fully connected layer: `activation(x @ kernel + bias)` over the last axis.
--
-- Input (batch, ..., in), output (batch, ..., units). kernel is (in, units), bias (units). As
-- Keras' Dense.
--
--     tide.layers.Dense { 64, activation = "relu" }(tide.ones { 2, 10 }).shape   --> { 2, 64 }
core.Dense = base.derive(base, "Dense", lora.extend({
  takes = "tensor",
  args = {
    { "units", "int", required, "width of the output", min = 1 },
    { "activation", "activation", nil, "applied to the result; linear by default" },
    { "use_bias", "bool", true, "add a bias" },
    { "kernel_initializer", "initializer", "glorot_uniform" },
    { "bias_initializer", "initializer", "zeros" },
    { "kernel_regularizer", "regularizer" },
    { "bias_regularizer", "regularizer" },
    { "activity_regularizer", "regularizer" },
    { "kernel_constraint", "constraint" },
    { "bias_constraint", "constraint" },
  },
  supports_masking = true,
  init = function(self, o)
    local activation = o.activation
    local fused = activation and activations.fused(activation)
    self[S].fused = fused
    local call = fused and fused ~= "linear" and dense_fused
      or (activation == nil or fused == "linear"
        or activations.name_of(activation) == "linear") and dense_plain
      or dense_then
    self[S].apply = call
    if getmetatable(self).call == dense then
      self.call = call
    end
  end,
  build = function(self, shape)
    core.affine(self, shape, self.units)
  end,
  call = dense,
  torch = { links = function(self)
    return links.list(links.linear("weight", self.kernel), links.one("bias", self.bias))
  end },
  compute_output_shape = core.affine_shape,
  _brief = function(self)
    return tostring(self.units)
  end,
}, "kernel"))

-- ---- Embedding ----

local function look_up(self, x)
  local y = embedding(self.embeddings, x, self[S].base)
  return self[S].compute and ops.cast(y, self[S].compute) or y
end

-- The rows and, of the factors, no more than what they need.
local function look_up_both(self, x, a, product)
  local first = self[S].base
  return ops.cast(ops.cast(embedding(self.embeddings, x, first), "float32")
    + product(embedding(a, x, first)), self.compute_dtype)
end

--- A table of vectors looked up by id: (batch, ...) of integers becomes (batch, ..., output_dim).
--
-- Ids run from 1 to input_dim. With `mask_zero` or `zero_row` they run from 0 to input_dim - 1 and
-- the first row belongs to 0; `mask_zero` also masks the zeros. `zero_based`: Keras' ids.
--     tide.layers.Embedding { 100, 8 }(tide.tensor({ { 1, 5, 3 } }, { dtype = "int32" })).shape
--     --> { 1, 3, 8 }
core.Embedding = base.derive(base, "Embedding", lora.extend({
  takes = "tensor",
  args = {
    { "input_dim", "int", required, "number of ids", min = 1 },
    { "output_dim", "int", required, "length of each vector", min = 1 },
    { "embeddings_initializer", "initializer", "uniform" },
    { "embeddings_regularizer", "regularizer" },
    { "embeddings_constraint", "constraint" },
    { "mask_zero", "bool", false, "0 is padding: a row of its own, and masked" },
    { "weights", "any", nil, "initial table" },
    { "zero_row", "bool", false, "0 is an id with a row of its own, not masked", own = true },
    { "zero_based", "bool", false, "ids count from 0", own = true },
  },
  init = function(self, o)
    self[S].initial = o.weights
    self.makes_mask = self.mask_zero
    self.supports_masking = self.mask_zero
    self[S].base = (self.mask_zero or self.zero_row or self.zero_based) and 0 or 1
  end,
  build = function(self)
    self.embeddings = self:add_weight { { self.input_dim, self.output_dim }, name = "embeddings",
      initializer = self[S].initial or self.embeddings_initializer,
        regularizer = self.embeddings_regularizer,
      constraint = self.embeddings_constraint, autocast = false } -- rows are cast, not the table
    self[S].initial = nil -- a table given once need not live twice
  end,
  torch = { links = function(self)
    return { links.one("weight", self.embeddings) }
  end },
  call = look_up,
  lora_calls = { [look_up] = look_up_both },
  keeps_dtype = true,
  compute_mask = function(self, x)
    return self.mask_zero and ops.not_equal(x, 0) or nil
  end,
  compute_output_shape = function(self, shape)
    local out = list.copy(shape)
    out[#out + 1] = self.output_dim
    return out
  end,
  _brief = function(self)
    return self.input_dim .. " x " .. self.output_dim
  end,
}, "embeddings", 8))

-- ---- without weights ----

local function same_shape(_, shape)
  return shape
end
core.same_shape = same_shape

local function same_dtype(_, dtype)
  return dtype
end

--- Returns its input.
--     tide.layers.Identity()(tide.tensor { 1, 2 })   --> { 1, 2 }
core.Identity = base.derive(base, "Identity", {
  args = {},
  supports_masking = true,
  keeps_dtype = true,
  call = function(_, x)
    return x
  end,
  compute_output_shape = same_shape,
  compute_output_dtype = same_dtype,
})

--- Any function as a layer: `Lambda { function(x) return x ^ 2 end }`, or by the name `fn`.
--
-- `mask`: a mask, or a function (x, mask) of one. `arguments`: a table given to the function after
-- its input. A model with a Lambda can only be loaded where the function is given again, for files
-- hold no code.
--     tide.layers.Lambda { function(x) return x * 2 end }(tide.tensor { 1, 2 })   --> { 2, 4 }
core.Lambda = base.derive(base, "Lambda", {
  args = {
    { "fn", "callable", required, "function of the input" },
    {
      "output_shape", "any", nil,
      "shape of the result, or a function of the input's shape; found by running otherwise" },
    { "mask", "any", nil, "mask of the result, or a function (x, mask)" },
    { "arguments", "table", nil, "given to the function after its input" },
  },
  keeps_dtype = true,
  keras = {
    config = function(layer)
      errors.raise(
        "save",
        "the layer '%s' is a Lambda: its function is code, which files do not hold; make it a \z
        class with tide.Layer:extend", layer.name)
    end,
    options = function(options, _, refuse, custom)
      if type(custom[options.name]) ~= "function" then
        refuse("the layer Lambda '%s' holds Python code; Tide never runs code from a file (give a \z
          Lua function: custom_objects = { [\"%s\"] = f })", options.name, options.name)
      end
      return { custom[options.name], name = options.name }
    end,
  },
  init = function(self)
    self.supports_masking = self.mask ~= nil
    self.makes_mask = self.mask ~= nil
  end,
  call = function(self, x)
    return self.fn(x, self.arguments)
  end,
  compute_mask = function(self, x, mask)
    if type(self.mask) == "function" then
      return self.mask(x, mask)
    end
    return self.mask
  end,
  compute_output_shape = function(self, shape)
    local given = self.output_shape
    if type(given) == "function" then
      return list.copy(given(shape))
    elseif given then
      return table.move(given, 1, #given, 2, list.new { shape[1] })
    end
    return base.compute_output_shape(self, shape)
  end,
})
core.Lambda._custom_shape = false -- its dtype is found by running, and with it the shape

--- Masks the steps of (batch, steps, features) whose features all equal `mask_value`, and zeroes
--- them.
--     tide.layers.Masking { 0 }(tide.ones { 1, 3, 2 }).shape   --> { 1, 3, 2 }
core.Masking = base.derive(base, "Masking", {
  takes = "tensor",
  args = { { "mask_value", "number", 0, "value that marks a missing step" } },
  supports_masking = true,
  init = function(self)
    self.makes_mask = true
  end,
  sets_mask = true,
  call = function(self, x)
    local kept = self:compute_mask(x)
    return base.set_mask(x * ops.cast(ops.expand_dims(kept, -1), x.dtype), kept)
  end,
  compute_mask = function(self, x)
    return ops.any(ops.not_equal(x, self.mask_value), { axis = -1 })
  end,
  compute_output_shape = same_shape,
})

--- `x * scale + offset`; scale and offset may be lists along the last axis.
--     tide.layers.Rescaling { 1 / 255 }(tide.tensor { 0, 255 })   --> { 0, 1 }
core.Rescaling = base.derive(base, "Rescaling", {
  takes = "tensor",
  args = {
    { "scale", "any", required, "factor, or one per channel" },
    { "offset", "any", 0, "added afterwards" },
  },
  supports_masking = true,
  init = function(self)
    for _, key in ipairs { "scale", "offset" } do
      local v = self[key]
      if type(v) ~= "number" and type(v) ~= "table" then
        errors.raise("Rescaling", "%s must be a number or a list of numbers (got %s)", key,
          check.show(v))
      end
      self[S][key] = type(v) == "number" and v
        or ops.convert_to_tensor(v, { dtype = self.compute_dtype })
    end
    self[S].shifts = self.offset ~= 0
  end,
  call = function(self, x)
    if x.dtype ~= self.compute_dtype then
      x = ops.cast(x, self.compute_dtype)
    end
    x = x * self[S].scale
    if self[S].shifts then
      return x + self[S].offset
    end
    return x
  end,
  compute_output_shape = same_shape,
})

--- The layer that stands for an input of a functional model; `tide.Input` makes it.
---
---     #tide.layers.InputLayer({ 4 }).batch_shape   --> 2
core.InputLayer = base.derive(base, "InputLayer", {
  args = {
    { "shape", "shape", nil, "shape without the batch" },
    { "batch_size", "int" },
    { "batch_shape", "shape", nil, "shape with the batch" },
    { "dtype", "input_dtype", "float32", "dtype of what comes in, or string" },
  },
  list_first = true,
  supports_masking = true,
  keeps_dtype = true,
  keras = {
    config = function(_, config)
      return { batch_shape = config.batch_shape, dtype = config.dtype, name = config.name,
        sparse = false, ragged = false, optional = false }
    end,
    options = function(options, config, refuse)
      for _, k in ipairs { "sparse", "ragged" } do
        if config[k] == true then
          refuse("the input '%s' is %s, which Tide does not have", options.name, k)
        end
      end
      options.batch_shape = options.batch_shape or options.batch_input_shape
      options.batch_input_shape = nil
      if not options.batch_shape then
        refuse("the input '%s' has no shape", options.name)
      end
      return options
    end,
  },
  init = function(self)
    self.built = true
    self:_settle()
    if not self.batch_shape then
      if not self.shape and self.dtype ~= "string" then
        errors.raise("Input", "needs a shape: tide.Input { 28, 28, 1 }")
      end
      local shape = list.new { self.batch_size or none }
      table.move(self.shape or {}, 1, #(self.shape or {}), 2, shape)
      self.batch_shape = shape
    end
    self.shape = nil
    self.batch_size = nil
  end,
  call = function(_, x)
    return x
  end,
  compute_output_shape = same_shape,
  compute_output_dtype = same_dtype,
})

return core

--- TransformerEncoder and TransformerDecoder, by KerasHub's names, options, numbers and places in
--- files: blocks of attention and of two dense layers, each with a residual, a normalization and
--- dropout.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"
local masks = require "tide.layers.masks"

local required = check.required

local transformer = {}

local rows = {
  { "intermediate_dim", "int", required, "width between the two dense layers", min = 1 },
  { "num_heads", "int", required, "number of heads, each as wide as the features / num_heads",
    min = 1 },
  { "dropout", "number", 0, "share dropped of scores and of what each part gives", min = 0,
    max = 1 },
  { "activation", "activation", "relu", "between the two dense layers" },
  { "layer_norm_epsilon", "number", 1e-5, "added to variances", min = 0 },
  { "kernel_initializer", "initializer", "glorot_uniform" },
  { "bias_initializer", "initializer", "zeros" },
  { "normalize_first", "bool", false, "normalize what goes into each part, not what leaves it" },
}

-- The fields of the layers inside, and their names in files.
local function fields_of(parts)
  local out = {}
  for _, part in ipairs(parts) do
    for _, field in ipairs { part .. "_layer", part .. "_layer_norm", part .. "_dropout" } do
      out[field] = "_" .. field
    end
  end
  for _, field in ipairs { "layer_norm", "intermediate_dense", "output_dense", "dropout" } do
    out["feedforward_" .. field] = "_feedforward_" .. field
  end
  return out
end

-- Puts a layer of this class, with its own options, in the field.
local function put(self, field, class, options, ...)
  options.name, options.dtype, options.trainable = options.name or field, self.dtype_policy,
    self[S].trainable
  local layer = require("tide.layers")[class](options)
  self[field] = layer
  if select("#", ...) > 0 then
    layer:build(...)
  end
end

local function initialized(self, options)
  options.kernel_initializer, options.bias_initializer = self.kernel_initializer,
    self.bias_initializer
  return options
end

-- Attention from x of this shape to a value of that one, its normalization and dropout. `name`: of
-- the attention.
local function put_attention(self, part, name, shape, value)
  local width = shape[#shape]
  if #shape ~= 3 or math.type(width) ~= "integer" then
    errors.raise(self:_label(), "the input has the wrong axes (expected (batch, steps, features), \z
      got the shape %s)", list.format(shape))
  elseif width < self.num_heads then
    errors.raise(self:_label(), "num_heads must be at most the features (expected at most %d, got \z
      %d)", width, self.num_heads)
  end
  local heads = { self.num_heads, width // self.num_heads, dropout = self.dropout, name = name }
  put(self, part .. "_layer", "MultiHeadAttention", initialized(self, heads), shape, value)
  put(self, part .. "_layer_norm", "LayerNormalization", { epsilon = self.layer_norm_epsilon },
    shape)
  put(self, part .. "_dropout", "Dropout", { self.dropout })
end

local function put_norm(self, shape)
  put(self, "feedforward_layer_norm", "LayerNormalization", { epsilon = self.layer_norm_epsilon },
    shape)
end

local function put_dense(self, shape)
  put(self, "feedforward_intermediate_dense", "Dense", initialized(self, { self.intermediate_dim,
    activation = self.activation }), shape)
  local inside = list.copy(shape)
  inside[3] = self.intermediate_dim
  put(self, "feedforward_output_dense", "Dense", initialized(self, { shape[3] }), inside)
end

-- x and what `run` makes of it, with the part's normalization and dropout.
local function residual(self, part, x, run)
  local norm, dropout = self[part .. "_layer_norm"], self[part .. "_dropout"]
  local y, more
  if self.normalize_first then
    y, more = run(norm(x))
    return x + dropout(y), more
  end
  y, more = run(x)
  return norm(dropout(y) + x), more
end

local function feedforward(self, x)
  return (residual(self, "feedforward", x, function(y)
    return self.feedforward_output_dense(self.feedforward_intermediate_dense(y))
  end))
end

-- A mask of the call with this number of axes, or nil.
local function mask_option(self, o, name, axes)
  local mask = masks.bool(o[name])
  if mask and mask.ndim ~= axes then
    errors.raise(self:_label(), "%s has the wrong axes (expected %s, got the shape %s)", name,
      axes == 2 and "(batch, steps)" or "(batch, steps of the query, steps of the value)",
      list.format(mask.shape))
  end
  return mask
end

local function same_shape(_, shape)
  return shape
end

-- ---- encoder ----

local ENCODER_OPTIONS = { padding_mask = true, attention_mask = true,
  return_attention_scores = true, cache = true }

--- A block of a transformer that looks at all steps (Vaswani et al. 2017): attention of x to
--- itself, then two dense layers.
--
-- (batch, steps, features), as the result. Options of a call: `padding_mask`, (batch, steps), true
-- where a step counts, in place of the mask that x brings; `attention_mask`, (batch, steps, steps),
-- true where a query may look; `return_attention_scores`: the weights as a second result. As
-- KerasHub's TransformerEncoder.
--     tide.layers.TransformerEncoder { 16, 2 }(tide.ones { 1, 5, 8 }).shape   --> { 1, 5, 8 }
transformer.TransformerEncoder = base.derive(base, "TransformerEncoder", {
  takes = "tensor",
  args = rows,
  supports_masking = true,
  keras = { package = "keras_hub", fields = fields_of { "self_attention" } },
  build = function(self, shape)
    put_attention(self, "self_attention", "self_attention_layer", shape, shape)
    put_norm(self, shape)
    put_dense(self, shape)
    put(self, "feedforward_dropout", "Dropout", { self.dropout })
  end,
  call_options = ENCODER_OPTIONS,
  call = function(self, x, o)
    local own = base.mask_of(x)
    local padding = mask_option(self, o, "padding_mask", 2) or o.mask
    local given = { attention_mask = mask_option(self, o, "attention_mask", 3), query_mask = own,
      value_mask = masks.both(padding, own and padding ~= own and own),
      return_attention_scores = o.return_attention_scores }
    local y, weights = residual(self, "self_attention", x, function(z)
      return self.self_attention_layer(z, z, given)
    end)
    return feedforward(self, y), weights
  end,
  compute_output_shape = same_shape,
  _brief = function(self)
    return ("%d, %d heads"):format(self.intermediate_dim, self.num_heads)
  end,
})
transformer.TransformerEncoder._custom_shape = false -- return_attention_scores adds a result

-- ---- decoder ----

local DECODER_OPTIONS = { decoder_padding_mask = true, decoder_attention_mask = true,
  encoder_padding_mask = true, encoder_attention_mask = true, use_causal_mask = true, cache = true }

-- KerasHub hands its caches on as tensors.
for _, name in ipairs { "self_attention_cache", "self_attention_cache_update_index",
  "cross_attention_cache", "cross_attention_cache_update_index" } do
  DECODER_OPTIONS[name] = "give it cache = tide.KeyValueCache { length }, which serves both \z
    attentions and counts the steps"
end

local function check_encoder(self, encoder)
  local wanted = self.cross_attention_layer ~= nil
  if wanted ~= (encoder ~= nil and encoder ~= false) then
    errors.raise(self:_label(), wanted
      and "was built with an encoder's sequence (got a decoder's alone)"
      or "was built without an encoder's sequence (got two sequences)")
  end
end

-- The mask of an input: the explicit one, or what the input brings.
local function padding_of(self, o, name, input)
  local mask = mask_option(self, o, name, 2)
  return mask or o.mask and o.mask[input] or false
end

--- A block of a transformer that writes (Vaswani et al. 2017): attention of x to its steps so far,
--- perhaps attention to what an encoder gave, then two dense layers.
--
-- `layer(decoder_sequence)` or `layer(decoder_sequence, encoder_sequence)`, always the same way,
-- both (batch, steps, features); the result as the first. Options of a call:
-- `decoder_padding_mask` and `encoder_padding_mask`, (batch, steps), true where a step counts, in
-- place of the masks that these bring; `decoder_attention_mask` and `encoder_attention_mask`,
-- (batch, steps, steps of the value), true where a query may look; `use_causal_mask` (true): no
-- query looks ahead; `cache`: a tide.KeyValueCache, for calls step by step, which both attentions
-- use. As KerasHub's TransformerDecoder.
--     tide.layers.TransformerDecoder { 16, 2 }(tide.ones { 1, 5, 8 }, tide.ones { 1, 7, 4 }).shape
--     --> { 1, 5, 8 }
transformer.TransformerDecoder = base.derive(base, "TransformerDecoder", {
  inputs = { "decoder_sequence", "encoder_sequence" },
  takes = { decoder_sequence = "tensor", encoder_sequence = "tensor" },
  args = rows,
  supports_masking = true,
  keras = {
    package = "keras_hub",
    fields = fields_of { "self_attention", "cross_attention" },
    config = function(layer, config)
      for i, name in ipairs { "decoder_sequence_shape", "encoder_sequence_shape" } do
        local shape = (layer[S].build_shapes or {})[i]
        config[name] = shape and shape:totable() or require "tide.none"
      end
      return config
    end,
  },
  build = function(self, shape, encoder)
    put_attention(self, "self_attention", "self_attention", shape, shape)
    if encoder then
      put_attention(self, "cross_attention", "cross_attention", shape, encoder)
    end
    put_dense(self, shape)
    put_norm(self, shape)
    put(self, "feedforward_dropout", "Dropout", { self.dropout })
  end,
  call_options = DECODER_OPTIONS,
  call = function(self, x, encoder, o)
    check_encoder(self, encoder)
    local causal = o.use_causal_mask
    local own = { attention_mask = mask_option(self, o, "decoder_attention_mask", 3),
      query_mask = false, use_causal_mask = causal == nil or causal,
      value_mask = padding_of(self, o, "decoder_padding_mask", "decoder_sequence") }
    x = residual(self, "self_attention", x, function(y)
      return self.self_attention_layer(y, y, own)
    end)
    if encoder then
      local cross = { attention_mask = mask_option(self, o, "encoder_attention_mask", 3),
        query_mask = false,
        value_mask = padding_of(self, o, "encoder_padding_mask", "encoder_sequence") }
      x = residual(self, "cross_attention", x, function(y)
        return self.cross_attention_layer(y, encoder, cross)
      end)
    end
    return feedforward(self, x)
  end,
  compute_output_shape = same_shape,
  _brief = function(self)
    return ("%d, %d heads"):format(self.intermediate_dim, self.num_heads)
  end,
})

return transformer

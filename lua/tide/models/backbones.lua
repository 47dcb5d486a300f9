--- Whole architectures by KerasHub's names and options, whose checkpoints `tide.saving.load_torch`
--- reads by its ready maps: GPT2Backbone, BertBackbone, ViTBackbone.
--
-- Each is a functional model without a head: its layers are found by KerasHub's names
-- (`model:get_layer "token_embedding"`), and what follows is put on `model.outputs`.
local check = require "tide.check"
local errors = require "tide.errors"
local functional = require "tide.models.functional"

local required = check.required

local backbones = {}

-- What sizes all of them; `more`: rows of the architecture's own. No dtype: policies are the
-- layers', set for all by tide.config.set_dtype_policy.
local function sizes(before, more)
  local rows = {}
  table.move(before, 1, #before, 1, rows)
  table.move({
    { "num_layers", "int", required, "number of blocks", min = 1 },
    { "num_heads", "int", required, "heads of attention in each block", min = 1 },
    { "hidden_dim", "int", required, "width of what passes from block to block", min = 1 },
  }, 1, 3, #rows + 1, rows)
  return table.move(more, 1, #more, #rows + 1, rows)
end

local function check_heads(owner, o)
  if o.hidden_dim % o.num_heads ~= 0 then
    errors.raise(owner, "hidden_dim must be a multiple of num_heads (got %d and %d)", o.hidden_dim,
      o.num_heads)
  end
end

local vocabulary = { { "vocabulary_size", "int", required, "number of ids", min = 1 } }

-- Rows of models that read ids.
local function text_rows(length, epsilon, activation, more)
  local rows = {
    { "intermediate_dim", "int", required, "width inside each block", min = 1 },
    { "dropout", "number", 0.1, "share dropped", min = 0, max = 1 },
    { "max_sequence_length", "int", length, "number of positions", min = 1 },
    { "activation", "activation", activation, "inside each block" },
    { "layer_norm_epsilon", "number", epsilon, "added to variances", min = 0 },
    { "padding_mask", "bool", true, "the model takes a padding_mask, true where a step counts" },
    { "zero_based", "bool", true, "ids count from 0, as those of checkpoints" },
    { "name", "string" },
  }
  return sizes(vocabulary, table.move(more or {}, 1, #(more or {}), #rows + 1, rows))
end

local function normal()
  return require("tide.initializers").RandomNormal { 0, 0.02 }
end

local function ids_input(name)
  return functional.Input { require "tide.none", dtype = "int32", name = name }
end

-- The inputs of a model of text, by name, and ids embedded with their positions.
local function embedded(o, more)
  local L = require "tide.layers"
  local inputs = { token_ids = ids_input "token_ids" }
  inputs.padding_mask = o.padding_mask and ids_input "padding_mask" or nil
  local tokens = L.ReversibleEmbedding { o.vocabulary_size, o.hidden_dim, name = "token_embedding",
    embeddings_initializer = normal(), zero_row = not o.zero_based, zero_based = o.zero_based }(
    inputs.token_ids)
  local parts = { tokens, L.PositionEmbedding { o.max_sequence_length, initializer = normal(),
    name = "position_embedding" }(tokens) }
  for _, part in ipairs(more and more(inputs) or {}) do
    parts[#parts + 1] = part
  end
  return inputs, L.Add { name = "embeddings_add" }(parts)
end

-- x through the blocks, "transformer_layer_0" and so on.
local function blocks(x, o, class, options, call)
  local L = require "tide.layers"
  for i = 0, o.num_layers - 1 do
    local own = { o.intermediate_dim, o.num_heads, dropout = o.dropout, activation = o.activation,
      layer_norm_epsilon = o.layer_norm_epsilon, kernel_initializer = normal(),
      name = "transformer_layer_" .. i }
    for k, v in pairs(options) do
      own[k] = v
    end
    x = L[class](own)(x, call)
  end
  return x
end

-- ---- GPT-2 ----

local gpt2_args = check.args("GPT2Backbone", text_rows(1024, 1e-5, { "gelu", approximate = true }))

--- GPT-2 (Radford et al. 2019) without its head: ids become a vector per step, each of which knows
--- the steps before it. A model of `{ token_ids, padding_mask }`, both (batch, steps); the result
--- is (batch, steps, hidden_dim).
---
--- `model:get_layer "token_embedding"(model.outputs[1], { reverse = true })` leads on to the scores
--- of the next id, as in GPT-2. The small model has `{ 50257, 12, 12, 768, 3072 }`; checkpoints of
--- Hugging Face are read by `tide.saving.load_torch(model, path, { map = "gpt2" })`. As KerasHub's
--- GPT2Backbone.
---
---     local gpt2 = tide.models.GPT2Backbone { 50, 2, 2, 8, 16, padding_mask = false }
---     gpt2({ token_ids = tide.tensor({ { 3, 0, 7 } }, { dtype = "int32" }) }).shape
---     --> { 1, 3, 8 }
--- @return table a functional model
function backbones.GPT2Backbone(...)
  local o = gpt2_args:construct(...)
  check_heads("GPT2Backbone", o)
  local L = require "tide.layers"
  local inputs, x = embedded(o)
  x = L.Dropout { o.dropout, name = "embeddings_dropout" }(x)
  x = blocks(x, o, "TransformerDecoder", { normalize_first = true },
    { decoder_padding_mask = inputs.padding_mask })
  x = L.LayerNormalization { epsilon = o.layer_norm_epsilon, name = "layer_norm" }(x)
  return functional.Functional { inputs = inputs, outputs = x, name = o.name }
end

-- ---- BERT ----

local bert_args = check.args("BertBackbone", text_rows(512, 1e-12, "gelu", {
  { "num_segments", "int", 2, "kinds of segments (token types)", min = 1 },
}))

--- BERT (Devlin et al. 2019) without its heads. A model of `{ token_ids, segment_ids, padding_mask
--- }`, all (batch, steps); segments count from 0. The results are `sequence_output`, (batch, steps,
--- hidden_dim), and `pooled_output`, (batch, hidden_dim), made of the first step.
---
--- The base model has `{ 30522, 12, 12, 768, 3072 }`; checkpoints of Hugging Face are read by
--- `tide.saving.load_torch(model, path, { map = "bert" })`. As KerasHub's BertBackbone.
---
---     local bert = tide.models.BertBackbone { 50, 2, 2, 8, 16 }
---     local ids = tide.tensor({ { 3, 0, 7 } }, { dtype = "int32" })
---     local y = bert { token_ids = ids, segment_ids = ids * 0, padding_mask = ids * 0 + 1 }
---     y.pooled_output.shape   --> { 1, 8 }
--- @return table a functional model
function backbones.BertBackbone(...)
  local o = bert_args:construct(...)
  check_heads("BertBackbone", o)
  local L = require "tide.layers"
  local inputs, x = embedded(o, function(inputs)
    inputs.segment_ids = ids_input "segment_ids"
    return { L.Embedding { o.num_segments, o.hidden_dim, embeddings_initializer = normal(),
      zero_based = true, name = "segment_embedding" }(inputs.segment_ids) }
  end)
  x = L.LayerNormalization { epsilon = o.layer_norm_epsilon, name = "embeddings_layer_norm" }(x)
  x = L.Dropout { o.dropout, name = "embeddings_dropout" }(x)
  x = blocks(x, o, "TransformerEncoder", {}, { padding_mask = inputs.padding_mask })
  local pooled = L.Dense { o.hidden_dim, activation = "tanh", kernel_initializer = normal(),
    name = "pooled_dense" }(x[{ {}, 1 }])
  return functional.Functional { inputs = inputs, name = o.name,
    outputs = { sequence_output = x, pooled_output = pooled } }
end

-- ---- ViT ----

local vit_args = check.args("ViTBackbone", sizes({
  { "image_shape", "shape", required, "height, width and channels, each known" },
  { "patch_size", { "int", "shape" }, required, "height and width of a patch" },
}, {
  { "mlp_dim", "int", required, "width inside each block", min = 1 },
  { "dropout_rate", "number", 0, "share dropped", min = 0, max = 1 },
  { "layer_norm_epsilon", "number", 1e-6, "added to variances", min = 0 },
  { "use_class_token", "bool", true, "a trained vector stands before those of the patches" },
  { "use_patch_bias", "bool", true, "patches get a bias" },
  { "activation", "activation", "gelu", "inside each block" },
  { "name", "string" },
}))

--- A vision transformer (Dosovitskiy et al. 2021) without its head: a picture, (batch, height,
--- width, channels), becomes a vector for each patch, (batch, patches, hidden_dim), behind one for
--- the whole picture.
---
--- The base model has `{ { 224, 224, 3 }, 16, 12, 12, 768, 3072 }`; checkpoints of Hugging Face,
--- whose `layer_norm_epsilon` is 1e-12, are read by `tide.saving.load_torch(model, path, { map =
--- "vit" })`. As KerasHub's ViTBackbone.
---
---     local vit = tide.models.ViTBackbone { { 8, 8, 3 }, 4, 2, 2, 8, 16 }
---     vit(tide.ones { 1, 8, 8, 3 }).shape   --> { 1, 5, 8 }
--- @return table a functional model
function backbones.ViTBackbone(...)
  local o = vit_args:construct(...)
  check_heads("ViTBackbone", o)
  local L = require "tide.layers"
  local shape, patch = o.image_shape, o.patch_size
  patch = type(patch) == "number" and { patch, patch } or patch
  for i = 1, 2 do
    if #shape ~= 3 or #patch ~= 2 or math.type(shape[i]) ~= "integer" or shape[i] < patch[i] then
      errors.raise("ViTBackbone", "image_shape must be (height, width, channels), at least as \z
        large as a patch (got %s and %s)", check.show(shape), check.show(o.patch_size))
    end
  end
  local picture = functional.Input { shape = shape, name = "images" }
  local x = L.Conv2D { o.hidden_dim, patch, strides = patch, use_bias = o.use_patch_bias,
    name = "patch_embedding" }(picture)
  x = L.Reshape { -1, o.hidden_dim, name = "patches" }(x)
  if o.use_class_token then
    x = L.ClassToken { name = "class_token" }(x)
  end
  x = L.Add { name = "embeddings_add" } { x, L.PositionEmbedding { x.shape[2],
    initializer = normal(), name = "position_embedding" }(x) }
  x = L.Dropout { o.dropout_rate, name = "embeddings_dropout" }(x)
  o.intermediate_dim, o.dropout = o.mlp_dim, o.dropout_rate
  x = blocks(x, o, "TransformerEncoder", { normalize_first = true })
  x = L.LayerNormalization { epsilon = o.layer_norm_epsilon, name = "layer_norm" }(x)
  return functional.Functional { inputs = picture, outputs = x, name = o.name }
end

return backbones

--- Ready maps for checkpoints of Hugging Face's transformers: where GPT-2, BERT and ViT keep the
--- weights of the layers that tide.models.GPT2Backbone and its siblings make.
---
--- An architecture says `prefix`, which stands before the names in files of models with a head;
--- `names`, pairs of a Lua pattern and what it becomes, for names that versions of the library
--- spell otherwise; `buffers`, patterns of tensors that are no weights; `parts`, what is outside
--- the blocks; and `block(at)`, what is in one, by paths below the block's.
local errors = require "tide.errors"
local check = require "tide.check"
local links = require "tide.layers.links"
local ops = require "tide.ops"
local plan = require "tide.saving.torch.plan"
local state = require "tide.saving.torch.state"

local maps = {}

-- The link of one weight with one tensor, in the layout of `by`, a function of tide.layers.links.
local function one(weight, name, by, ...)
  local link = by and by(name, true, ...) or links.one(name, true)
  return { names = { name }, weights = { weight }, read = link.read, write = link.write }
end

-- A kernel of these many axes that is kept as a matrix (inputs, outputs): `inputs` axes are inputs.
local function matrix(name, _, inputs)
  return links.one(name, true, nil, function(t)
    local rows = 1
    for i = 1, inputs do
      rows = rows * t.shape[i]
    end
    return ops.reshape(t, { rows, t.size // math.max(rows, 1) })
  end)
end

local function flat(name)
  return links.flat(name, true)
end

-- A tensor with an axis of one in front.
local function behind_one(name)
  return links.one(name, true, nil, function(t)
    return ops.expand_dims(t, 1)
  end)
end

-- Query, key and value in one tensor, side by side along its last axis.
local function joined(kind, name)
  local weights = {}
  for i, part in ipairs { "query", "key", "value" } do
    weights[i] = part .. "_dense/" .. kind
  end
  return { names = { name }, weights = weights,
    read = function(t)
      return table.unpack(ops.split(t, 3, -1))
    end,
    write = function(...)
      local parts = {}
      for i, t in ipairs { ... } do
        parts[i] = kind == "bias" and ops.reshape(t, { -1 })
          or ops.reshape(t, { t.shape[1], -1 })
      end
      return ops.concatenate(parts, -1)
    end }
end

local known = {}

known.gpt2 = {
  title = "GPT2Backbone",
  prefix = "transformer.",
  names = {},
  buffers = { "^h%.%d+%.attn%.bias$", "^h%.%d+%.attn%.masked_bias$" },
  parts = { token_embedding = "wte", position_embedding = "wpe", layer_norm = "ln_f" },
  block = function(i)
    local at = "h." .. i
    local function dense(name) -- their Conv1D keeps (inputs, outputs)
      return { one("kernel", at .. name .. ".weight"), one("bias", at .. name .. ".bias") }
    end
    return {
      self_attention_layer = { joined("kernel", at .. ".attn.c_attn.weight"),
        joined("bias", at .. ".attn.c_attn.bias"),
        one("output_dense/kernel", at .. ".attn.c_proj.weight", matrix, 2),
        one("output_dense/bias", at .. ".attn.c_proj.bias") },
      self_attention_layer_norm = at .. ".ln_1",
      feedforward_layer_norm = at .. ".ln_2",
      feedforward_intermediate_dense = dense ".mlp.c_fc",
      feedforward_output_dense = dense ".mlp.c_proj",
    }
  end,
}

-- Attention whose projections are modules of their own; `out`: the name of the last.
local function attention_of(at, out, query, key, value)
  local all = {}
  for part, name in pairs { query = query, key = key, value = value } do
    all[#all + 1] = one(part .. "_dense/kernel", at .. name .. ".weight", links.linear, 1)
    all[#all + 1] = one(part .. "_dense/bias", at .. name .. ".bias", flat)
  end
  all[#all + 1] = one("output_dense/kernel", out .. ".weight", links.linear, 2)
  all[#all + 1] = one("output_dense/bias", out .. ".bias")
  return all
end

known.bert = {
  title = "BertBackbone",
  prefix = "bert.",
  names = { { "LayerNorm%.gamma$", "LayerNorm.weight" }, { "LayerNorm%.beta$", "LayerNorm.bias" } },
  buffers = { "^embeddings%.position_ids$", "^embeddings%.token_type_ids$" },
  parts = { token_embedding = "embeddings.word_embeddings",
    position_embedding = "embeddings.position_embeddings",
    segment_embedding = "embeddings.token_type_embeddings",
    embeddings_layer_norm = "embeddings.LayerNorm", pooled_dense = "pooler.dense" },
  block = function(i)
    local at = "encoder.layer." .. i
    return {
      self_attention_layer = attention_of(at .. ".attention.self.",
        at .. ".attention.output.dense", "query", "key", "value"),
      self_attention_layer_norm = at .. ".attention.output.LayerNorm",
      feedforward_layer_norm = at .. ".output.LayerNorm",
      feedforward_intermediate_dense = at .. ".intermediate.dense",
      feedforward_output_dense = at .. ".output.dense",
    }
  end,
}

known.vit = {
  title = "ViTBackbone",
  prefix = "vit.",
  names = { -- version 5 of the library
    { "^layers%.(%d+)%.attention%.q_proj", "encoder.layer.%1.attention.attention.query" },
    { "^layers%.(%d+)%.attention%.k_proj", "encoder.layer.%1.attention.attention.key" },
    { "^layers%.(%d+)%.attention%.v_proj", "encoder.layer.%1.attention.attention.value" },
    { "^layers%.(%d+)%.attention%.o_proj", "encoder.layer.%1.attention.output.dense" },
    { "^layers%.(%d+)%.mlp%.fc1", "encoder.layer.%1.intermediate.dense" },
    { "^layers%.(%d+)%.mlp%.fc2", "encoder.layer.%1.output.dense" },
    { "^layers%.(%d+)%.layernorm_", "encoder.layer.%1.layernorm_" },
  },
  buffers = { "^embeddings%.mask_token$" },
  parts = { patch_embedding = "embeddings.patch_embeddings.projection",
    class_token = { one("class_token", "embeddings.cls_token") },
    position_embedding = { one("embeddings", "embeddings.position_embeddings", behind_one) },
    layer_norm = "layernorm", pooler = "pooler.dense" },
  block = function(i)
    local at = "encoder.layer." .. i
    return {
      self_attention_layer = attention_of(at .. ".attention.attention.",
        at .. ".attention.output.dense", "query", "key", "value"),
      self_attention_layer_norm = at .. ".layernorm_before",
      feedforward_layer_norm = at .. ".layernorm_after",
      feedforward_intermediate_dense = at .. ".intermediate.dense",
      feedforward_output_dense = at .. ".output.dense",
    }
  end,
}

local function architecture(name, owner)
  return known[name] or errors.raise(owner, "unknown map '%s'%s; ready maps are %s", name,
    check.did_you_mean(name, check.sorted_keys(known)),
    table.concat(check.sorted_keys(known), ", "))
end

--- The state by the names of the model without a head, and a function that tells which names may
--- be left over: buffers, and heads where there is a prefix.
function maps.state(name, from, owner)
  local a = architecture(name, owner)
  local with_head = false
  for _, e in ipairs(from.entries) do
    with_head = with_head or e.name:sub(1, #a.prefix) == a.prefix
  end
  local inside = {}
  local view = state.renamed(from, function(there)
    local new = there
    if with_head and there:sub(1, #a.prefix) == a.prefix then
      new = there:sub(#a.prefix + 1)
    end
    for _, pair in ipairs(a.names) do
      new = new:gsub(pair[1], pair[2])
    end
    inside[new] = not with_head or new ~= there or inside[new]
    return new
  end)
  return view, function(left)
    for _, pattern in ipairs(a.buffers) do
      if left:find(pattern) then
        return true
      end
    end
    return not inside[left]
  end
end

--- The map as a table for this model: its paths, and modules' names or links.
function maps.expand(name, model, owner)
  local a = architecture(name, owner)
  local paths, out, blocks = plan.units(model, nil, owner).at, {}, 0
  for path in pairs(paths) do
    local above, own = path:match "^(.-)([^/]*)$"
    local i = own:match "^transformer_layer_(%d+)$"
    if i then
      blocks = blocks + 1
      for part, value in pairs(a.block(i)) do
        out[path .. "/" .. part] = value
      end
    elseif a.parts[own] and not above:find "transformer_layer_%d" then
      out[path] = a.parts[own]
    end
  end
  if blocks == 0 then
    errors.raise(owner, "the map '%s' is for models with the layers that tide.models.%s makes; %s \z
      has none named transformer_layer_0", name, a.title, model:_label())
  end
  return out
end

return maps

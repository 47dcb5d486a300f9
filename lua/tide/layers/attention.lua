--- Attention: MultiHeadAttention, GroupQueryAttention, Attention and AdditiveAttention, by Keras'
--- names, options and numbers.
--
-- A query looks at the keys that no mask hides from it. As in Keras, one that sees none gives the
-- mean of all values, but zero where the weights are returned or dropped. The layers of several
-- heads project query, key and value with layers of their own (EinsumDense), whose names and places
-- are Keras'.
local S = require "tide.private"
local base = require "tide.layers.base"
local caches = require "tide.layers.cache"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local list = require "tide.list"
local masks = require "tide.layers.masks"
local none = require "tide.none"
local ops = require "tide.ops"
local random = require "tide.random"

local required = check.required
local both, product_of, position_mask = masks.both, masks.product_of, masks.places
local reshape, transpose = ops.reshape, ops.transpose
local attention_op = core.ops.attention_ -- no matrix of scores

local attention = {}

local dropout = { "dropout", "number", 0, "share of the scores dropped", min = 0, max = 1 }
local seed = { "seed", "int", nil, "own random stream" }

-- The score of what a mask hides.
local function hidden_of(dtype)
  return dtype == "float16" and -3e4 or -1e9
end

local function misfit(self, query, value, key)
  errors.raise(self:_label(), "query, value and key do not fit together (query %s, value %s, \z
    key %s)", list.format(query), list.format(value), list.format(key))
end

-- Weights from scores (..., T, S), zero where a mask hides a key, and those that act: some dropped
-- in training.
local function weights_of(self, scores, mask, o)
  if mask then
    scores = ops.where(mask, scores, hidden_of(scores.dtype))
  end
  local weights = ops.softmax(scores)
  if mask then -- also of a query that sees nothing
    weights = ops.where(mask, weights, 0)
  end
  if o.training and self.dropout > 0 then
    local generator = self[S].generator
    return weights, ops.dropout(weights, self.dropout, nil, generator and generator:next() or nil)
  end
  return weights, weights
end

-- ---- several heads ----

-- Rows that both layers of several heads end with.
local function head_rows(rows)
  for _, row in ipairs {
    { "sliding_window", "int", nil, "positions to each side that a query sees, its own counted",
      min = 1 },
    { "flash_attention", "bool", nil, "true: only the fused op, never the matrix of scores" },
    { "kernel_initializer", "initializer", "glorot_uniform" },
    { "bias_initializer", "initializer", "zeros" },
    { "kernel_regularizer", "regularizer" },
    { "bias_regularizer", "regularizer" },
    { "activity_regularizer", "regularizer", nil, "penalty on the projections and the output" },
    { "kernel_constraint", "constraint" },
    { "bias_constraint", "constraint" },
    { "use_gate", "bool", false, "a sigmoid of the query scales what the heads give" },
    seed,
  } do
    rows[#rows + 1] = row
  end
  return rows
end

local CALL_OPTIONS = { cache = true, attention_mask = true, query_mask = true, value_mask = true,
  key_mask = true, return_attention_scores = true, use_causal_mask = true }

local letters = "abcdefghijklmnopqrstuvwxyz"

-- The layer of a projection that sums the last `summed` of `rank` axes and adds axes of the sizes
-- `added`.
local function project(self, name, rank, summed, added, activation)
  local free = letters:sub(1, rank - summed)
  local inside = letters:sub(rank - summed + 1, rank)
  local outside = letters:sub(rank + 1, rank + #added)
  local shape = list.new {}
  for i = 1, rank - summed - 1 do
    shape[i] = none
  end
  table.move(added, 1, #added, #shape + 1, shape)
  local o = { ("%s%s,%s%s->%s%s"):format(free, inside, inside, outside, free, outside), shape,
    name = name, bias_axes = self.use_bias and outside or nil, dtype = self.dtype_policy,
    trainable = self[S].trainable }
  for _, key in ipairs { "kernel_initializer", "bias_initializer", "kernel_regularizer",
    "bias_regularizer", "kernel_constraint", "bias_constraint", "activity_regularizer" } do
    o[key] = self[key]
  end
  if name == "attention_output" then
    o.activity_regularizer = nil -- the layer's own output is penalized
  end
  o.activation = activation
  return require("tide.layers.einsum").EinsumDense(o)
end

-- `axes` of an input of this rank as positive numbers, in order.
local function attention_axes(self, rank)
  local given, out, seen = self.attention_axes, {}, {}
  if given == nil then
    for i = 2, rank - 1 do
      out[i - 1] = i
    end
    return out
  end
  for i, axis in ipairs(type(given) == "number" and { given } or given) do
    out[i] = axis < 0 and rank + 1 + axis or axis
    if out[i] < 2 or out[i] >= rank or seen[out[i]] then
      errors.raise(self:_label(), "attention_axes must name axes between the batch and the \z
        features, each once (got %s, inputs have %d axes)", check.show(given), rank)
    end
    seen[out[i]] = true
  end
  return out
end

-- The order of axes that brings (batch, ..., heads, width) to (batches, attended, heads, width),
-- and how many of its axes are batches.
local function order_of(axes, rank)
  local attended, order = {}, { 1 }
  for _, axis in ipairs(axes) do
    attended[axis] = true
  end
  for axis = 2, rank - 2 do
    order[#order + 1] = not attended[axis] and axis or nil
  end
  local batches = #order
  table.move(axes, 1, #axes, batches + 1, order)
  order[rank - 1], order[rank] = rank - 1, rank
  return order, batches
end

-- (batch, ..., heads, width) as (batches, attended, heads, width); and the shape before its axes
-- were joined.
local function joined(x, order, batches)
  x = transpose(x, order)
  local shape, rank = x.shape, #order
  return reshape(x, { product_of(shape, 1, batches), product_of(shape, batches + 1, rank - 2),
    shape[rank - 1], shape[rank] }), shape
end

local function inverse(order)
  local out = {}
  for i, axis in ipairs(order) do
    out[axis] = i
  end
  return out
end

-- The weights, and what the heads give: q (B, T, N, H), k and v (B, S, G, H).
local function scored(self, q, k, v, mask, o)
  local groups = q.shape[3] // k.shape[3]
  if groups > 1 then
    k, v = ops["repeat"](k, groups, 3), ops["repeat"](v, groups, 3)
  end
  q = transpose(q * q.shape[4] ^ -0.5, { 1, 3, 2, 4 })
  local weights, acting = weights_of(self, ops.matmul(q, transpose(k, { 1, 3, 4, 2 })), mask, o)
  return transpose(ops.matmul(acting, transpose(v, { 1, 3, 2, 4 })), { 1, 3, 2, 4 }), weights
end

local function check_inputs(self, query, value, key)
  local q, v, k = query.shape, value.shape, key.shape
  local fits = #q == self[S].rank and #q == #v and #v == #k and q[1] == v[1]
  for i = 1, fits and #v - 1 or 0 do
    fits = fits and v[i] == k[i]
  end
  if not fits then
    misfit(self, q, v, k)
  end
end

local digits = { bfloat16 = 1, float16 = 1, float32 = 2, float64 = 3 }

-- Projections with policies of their own (DTypePolicyMap) meet in the widest of their dtypes, as
-- Keras promotes them.
local function in_one_dtype(q, k, v)
  if q.dtype == k.dtype and k.dtype == v.dtype then
    return q, k, v
  end
  local widest = q.dtype
  for _, x in ipairs { k, v } do
    local more = digits[x.dtype] - digits[widest]
    widest = more > 0 and x.dtype or more == 0 and x.dtype ~= widest and "float32" or widest
  end
  return ops.cast(q, widest), ops.cast(k, widest), ops.cast(v, widest)
end

-- What the heads give, and the weights where they are asked for: q (B, T, N, H), k and v (B, S, G,
-- H), `mask` of the scores, `query_mask` (B, T); before the first query are `offset` keys.
local function heads_of(self, q, k, v, mask, query_mask, offset, o)
  q, k, v = in_one_dtype(q, k, v)
  local causal, window = o.use_causal_mask or false, self.sliding_window
  local by_query = query_mask and reshape(query_mask, { q.shape[1], q.shape[2], 1, 1 })
  if o.return_attention_scores then
    mask = both(mask, position_mask(causal, window, q.shape[2], k.shape[2], offset))
    return scored(self, q, k, v, both(mask, by_query and transpose(by_query, { 1, 3, 2, 4 })), o)
  end
  local rate = o.training and self.dropout or 0
  local generator = rate > 0 and self[S].generator
  local y = attention_op(q, k, v, nil, mask, q.shape[4] ^ -0.5, causal, window or 0, 0, offset,
    rate, generator and generator:next() or nil)
  if by_query and rate > 0 then
    y = ops.where(by_query, y, 0)
  elseif by_query then -- a query that is masked sees all alike
    local groups = q.shape[3] // k.shape[3]
    local all = ops.mean(v, 2, { keepdims = true })
    y = ops.where(by_query, y, groups > 1 and ops["repeat"](all, groups, 3) or all)
  end
  return y
end

-- `heads_of` with the keys and values of earlier calls.
local function cached_heads(self, query, value, key, o, cache)
  local t, causal = query.shape[2], o.use_causal_mask
  if o.training then
    errors.raise(self:_label(), "a cache serves predictions alone (got a call in training)")
  elseif query.ndim ~= 3 then
    errors.raise(self:_label(), "a cache takes other axes (expected (batch, steps, features), got \z
      the shape %s)", list.format(query.shape))
  elseif causal and value.shape[2] ~= t then
    errors.raise(self:_label(), "a cache grows by a key for each query (expected %d, got %d)", t,
      value.shape[2])
  elseif self.sliding_window and not causal then
    errors.raise(self:_label(), "sliding_window with a cache needs use_causal_mask (got none)")
  end
  local query_mask, mask = masks.steps(self, query, value, key, o)
  key = key or value
  local q, offset = self.query_dense(query), 0
  local k, v
  if causal then
    k, v, mask, offset = caches.add(cache, self, self.key_dense(key), self.value_dense(value), mask)
    if o.attention_mask ~= nil or query_mask or o.return_attention_scores then
      local known = { {}, { 1, offset + t } } -- what comes later is not seen anyway
      k, v, mask = k[known], v[known], mask and mask[known]
    end
  else
    k, v = caches.keep(cache, self, key, value, self.key_dense, self.value_dense)
  end
  local b, n = k.shape[1], k.shape[2]
  mask = both(masks.explicit(self, o.attention_mask, { b, q.shape[3], t, n }, 1),
    mask and reshape(mask, { b, 1, 1, n }))
  return heads_of(self, q, k, v, mask, query_mask, offset, o)
end

-- `heads_of` of what the call brings: (batch, ..., heads, width).
local function own_heads(self, query, value, key, o)
  local axes, rank = self[S].axes, query.ndim
  local q, k, v = self.query_dense(query), self.key_dense(key or value), self.value_dense(value)
  local order, batches, shape, source
  if rank > 3 or #axes > 1 then
    order, batches = order_of(axes, rank + 1)
    q, shape = joined(q, order, batches)
    k, source = joined(k, order, batches)
    v = joined(v, order, batches)
  else
    shape, source, batches = q.shape, k.shape, 1
  end
  local full = table.move(shape, 1, batches, 1, {}) -- the shape of the scores
  full[#full + 1] = shape[rank]
  table.move(shape, batches + 1, rank - 1, #full + 1, full)
  table.move(source, batches + 1, rank - 1, #full + 1, full)
  local mask = masks.explicit(self, o.attention_mask, full, #axes)
  local query_mask, seen
  if rank == 3 then
    query_mask, seen = masks.steps(self, query, value, key, o)
    mask = both(mask, seen and reshape(seen, { seen.shape[1], 1, 1, seen.shape[2] }))
  elseif #axes > 1 and (o.use_causal_mask or self.sliding_window) then
    errors.raise(self:_label(), "%s needs one attended axis (got %d)",
      o.use_causal_mask and "use_causal_mask" or "sliding_window", #axes)
  end
  local y, weights = heads_of(self, q, k, v, mask, query_mask, 0, o)
  if order then
    local apart = table.move(shape, 1, rank, 1, {})
    apart[rank + 1] = y.shape[4]
    y = transpose(reshape(y, apart), inverse(order))
    weights = weights and reshape(weights, full)
  end
  return y, weights
end

local function call(self, query, value, key, o)
  if value == nil or value == false then
    errors.raise(self:_label(), "takes a query and a value (got the query alone)")
  end
  check_inputs(self, query, value, key or value)
  if o.cache ~= nil and not caches.is(o.cache) then
    errors.raise(self:_label(), "cache must be a KeyValueCache (got %s)", check.show(o.cache))
  end
  if self.flash_attention and o.return_attention_scores then
    errors.raise(self:_label(), "flash_attention keeps no scores to return; leave it out, or \z
      return_attention_scores")
  end
  local cache = caches.current()
  local attend = cache and cached_heads or own_heads
  local y, weights = attend(self, query, value, key, o, cache)
  if self.use_gate then
    local gate = self.gate_dense(query)
    y = y * (gate.dtype == y.dtype and gate or ops.cast(gate, y.dtype))
  end
  y = self.output_dense(y)
  if weights then
    return y, weights
  end
  return y
end

-- Makes the projections: query, key, perhaps the gate, value, output, in Keras' order. `heads`: of
-- the query, of key and value; `widths`: of query and key, of the value.
local function build(self, query, value, key, heads, widths)
  key = key or value
  if value == nil then
    errors.raise(self:_label(), "takes a query and a value (got the query alone)")
  end
  local rank = #query
  local fits = rank >= 3 and #value == rank and #key == rank
  for i = 2, fits and rank - 1 or 0 do
    fits = fits and value[i] == key[i]
  end
  if not fits then
    misfit(self, query, value, key)
  end
  self[S].rank, self[S].axes = rank, attention_axes(self, rank)
  self.query_dense = project(self, "query", rank, 1, { heads[1], widths[1] })
  self.key_dense = project(self, "key", rank, 1, { heads[2], widths[1] })
  if self.use_gate then
    self.gate_dense = project(self, "gate", rank, 1, { heads[1], widths[2] },
      "sigmoid")
    self.gate_dense:build(query)
  end
  self.value_dense = project(self, "value", rank, 1, { heads[2], widths[2] })
  local out = self.output_shape or { query[rank] }
  self.output_dense = project(self, "attention_output", rank + 1, 2, out)
  self.query_dense:build(query)
  self.key_dense:build(key)
  self.value_dense:build(value)
  local inside = table.move(query, 1, rank - 1, 1, list.new {})
  inside[rank], inside[rank + 1] = heads[1], widths[2]
  self.output_dense:build(inside)
end

local function init(self)
  self[S].generator = self.seed and random.SeedGenerator(self.seed)
end

local lora_parts = { query = "query_dense", key = "key_dense", value = "value_dense",
  output = "output_dense" }

--- LoRA on some of the projections, by default those of query and value (Hu et al. 2021); options
--- beside `parts` are those of Dense's `enable_lora`.
---
---     local layer = tide.layers.MultiHeadAttention { 2, 3 }
---     layer:build({ tide.none, 5, 4 }, { tide.none, 5, 4 })
---     layer:enable_lora(4, { parts = { "query", "value" }, lora_alpha = 8 })
--- @param rank integer
--- @param o table|nil parts: some of "query", "key", "value", "output"
local function enable_lora(self, rank, o)
  local options = {}
  for k, v in pairs(o or {}) do
    options[k] = v
  end
  local parts = options.parts or { "query", "value" }
  options.parts = nil
  if not self.built then
    errors.raise("enable_lora", "%s has no weights yet; build it or call it first", self:_label())
  end
  for _, part in ipairs(check.is_list(parts) and parts or { parts }) do
    if not lora_parts[part] then
      errors.raise("enable_lora", "parts names no projection of %s (expected some of query, key, \z
        value, output, got %s)", self:_label(), check.show(part))
    end
    self[lora_parts[part]]:enable_lora(rank, options)
  end
end

-- Defines a layer of several heads.
local function define(name, def)
  def._fields = { "output_dense" } -- which is near an option
  def.inputs = { "query", "value", "key" }
  def.takes = { query = "tensor", value = "tensor", key = "tensor" }
  def.supports_masking = true
  def.call, def.enable_lora, def.call_options = call, enable_lora, CALL_OPTIONS
  function def.compute_output_shape(self, query)
    local out = list.copy(query)
    if self.output_shape then
      table.move(self.output_shape, 1, #self.output_shape, #query, out)
    end
    return out
  end
  attention[name] = base.derive(base, name, def)
  attention[name]._custom_shape = false -- return_attention_scores tells how many results there are
end

--- Attention of several heads (Vaswani et al. 2017): each looks from its projection of the query at
--- its projection of the keys, and gives the sum of its projection of the values.
--
-- `layer(query, value)` or `layer(query, value, key)`, then perhaps options: `attention_mask`
-- (bool, true where a query may look; (T, S), (batch, T, S) or (batch, heads, T, S)),
-- `use_causal_mask` (no query looks ahead), `return_attention_scores` (the weights, (batch, heads,
-- T, S), as a second result). Masks of query, value and key count, too. query (batch, T, features),
-- value and key (batch, S, features); the result (batch, T, features of the query, or
-- `output_shape`). `cache`: a tide.KeyValueCache, for calls step by step.
-- `attention_axes`: the axes attended, all between batch and features by default. As Keras'
-- MultiHeadAttention.
--     tide.layers.MultiHeadAttention { 2, 8 }(tide.ones { 1, 5, 4 }, tide.ones { 1, 7, 4 }).shape
--     --> { 1, 5, 4 }
define("MultiHeadAttention", {
  args = head_rows {
    { "num_heads", "int", required, "number of heads", min = 1 },
    { "key_dim", "int", required, "width of each head's query and key", min = 1 },
    { "value_dim", "int", nil, "width of each head's value; key_dim by default", min = 1 },
    dropout,
    { "use_bias", "bool", true, "the projections add a bias" },
    { "output_shape", { "int", "shape" }, nil, "sizes of the result after the steps; the query's \z
      by default" },
    { "attention_axes", { "axes", "list" }, nil, "axes attended; 2 is the first after the batch",
      batch = false },
  },
  init = function(self)
    init(self)
    if type(self.output_shape) == "number" then
      self.output_shape = list.new { self.output_shape }
    end
  end,
  build = function(self, query, value, key)
    local n = self.num_heads
    build(self, query, value, key, { n, n }, { self.key_dim, self.value_dim or self.key_dim })
  end,
  keras = {
    fields = { gate_dense = "_gate_dense" },
    config = function(layer, config)
      config.value_dim = layer.value_dim or layer.key_dim
      return config
    end,
  },
  torch = { whole = true, links = function(self)
    if self.use_gate then
      return nil
    end
    local parts, kernels, biases = { self.query_dense, self.key_dense, self.value_dense }, {}, {}
    for i, part in ipairs(parts) do
      kernels[i], biases[i] = part.kernel, part.bias or nil
    end
    local one = kernels[1].shape[1] == kernels[2].shape[1]
      and kernels[1].shape[1] == kernels[3].shape[1]
    return links.list(
      one and links.stacked("in_proj_weight", kernels, 1) or links.list(
        links.linear("q_proj_weight", kernels[1]), links.linear("k_proj_weight", kernels[2]),
        links.linear("v_proj_weight", kernels[3])),
      #biases > 0 and links.stacked("in_proj_bias", biases, 0) or nil,
      links.linear("out_proj.weight", self.output_dense.kernel, 2),
      links.one("out_proj.bias", self.output_dense.bias))
  end },
  _brief = function(self)
    return self.num_heads .. " x " .. self.key_dim
  end,
})

--- Attention of several heads in which groups of query heads share a head of key and value (Ainslie
--- et al. 2023).
--
-- Called as MultiHeadAttention: `layer(query, value, key, options)`; query (batch, T, features),
-- value and key (batch, S, features), result (batch, T, features of the query). As Keras'
-- GroupQueryAttention.
--     tide.layers.GroupQueryAttention { 8, 4, 2 }(tide.ones { 1, 5, 4 }, tide.ones { 1, 7, 4 })
--       .shape   --> { 1, 5, 4 }
define("GroupQueryAttention", {
  args = head_rows {
    { "head_dim", "int", required, "width of each head", min = 1 },
    { "num_query_heads", "int", required, "number of heads of the query", min = 1 },
    { "num_key_value_heads", "int", required, "number of heads of key and value", min = 1 },
    dropout,
    { "use_bias", "bool", true, "the projections add a bias" },
  },
  init = function(self)
    init(self)
    if self.num_query_heads % self.num_key_value_heads ~= 0 then
      errors.raise("GroupQueryAttention", "num_query_heads must be a multiple of \z
        num_key_value_heads (got %d and %d)", self.num_query_heads, self.num_key_value_heads)
    end
  end,
  build = function(self, query, value, key)
    if #query ~= 3 then
      errors.raise(self:_label(), "the query has the wrong axes (expected (batch, steps, \z
        features), got the shape %s)", list.format(query))
    end
    build(self, query, value, key, { self.num_query_heads, self.num_key_value_heads },
      { self.head_dim, self.head_dim })
  end,
  keras = {
    path = "grouped_query_attention",
    fields = { query_dense = "_query_dense", key_dense = "_key_dense", gate_dense = "_gate_dense",
      value_dense = "_value_dense", output_dense = "_output_dense" },
  },
  _brief = function(self)
    return ("%d / %d x %d"):format(self.num_query_heads, self.num_key_value_heads, self.head_dim)
  end,
})

-- ---- one head ----

local LIST_OPTIONS = { return_attention_scores = true, use_causal_mask = true, cache = false }

local function check_list(self, inputs)
  if type(inputs[1]) ~= "table" and type(inputs[1]) ~= "userdata" or #inputs < 2 or #inputs > 3 then
    errors.raise(self:_label(), "takes a list { query, value } or { query, value, key } (got %s)",
      #inputs > 0 and "a list of " .. #inputs or check.show(inputs))
  end
end

-- Shapes of query, value and key, which must agree where the scores need it.
local function check_shapes(self, q, v, k)
  local n = #q
  local fits = n >= 2 and #v == n and #k == n and q[n] == k[n] and v[n - 1] == k[n - 1]
  for i = 1, fits and n - 2 or 0 do
    fits = fits and q[i] == v[i] and v[i] == k[i]
  end
  if not fits then
    misfit(self, q, v, k)
  end
end

local function attend(self, inputs, o)
  check_list(self, inputs)
  local q, v = inputs[1], inputs[2]
  local k = inputs[3] or v
  check_shapes(self, q.shape, v.shape, k.shape)
  local scores = self:_scores(q, k)
  local given = o.mask or {}
  if type(given) ~= "table" then
    errors.raise(self:_label(), "takes a list of masks { query, value } (got %s)",
      check.show(given))
  end
  local query_mask = masks.step(self, "query", given[1], q)
  local mask = masks.step(self, "value", given[2], v)
  mask = mask and ops.expand_dims(mask, 2)
  if o.use_causal_mask then
    mask = both(mask, position_mask(true, nil, q.shape[q.ndim - 1], v.shape[v.ndim - 1])[{ 1 }])
  end
  if mask then -- scores are lowered, not replaced, as in Keras
    scores = ops.where(mask, scores,
      scores - (scores.dtype == "float16" and 65504 or 1e9))
  end
  local _, acting = weights_of(self, scores, nil, o)
  local y = ops.matmul(acting, v)
  if query_mask then
    y = ops.where(ops.expand_dims(query_mask, -1), y, 0)
  end
  if o.return_attention_scores then
    return y, acting
  end
  return y
end

local function list_init(self)
  self[S].generator = self.seed and random.SeedGenerator(self.seed)
end

local function define_list(name, def)
  def.takes = "list"
  def.supports_masking = true
  def.call, def.call_options = attend, LIST_OPTIONS
  def.init = list_init
  function def.compute_output_shape(self, shapes)
    if #shapes < 2 then
      errors.raise(self:_label(),
        "takes the shapes of query and value, and of key if there is one (got %d)", #shapes)
    end
    local out = list.copy(shapes[1])
    out[#out] = shapes[2][#shapes[2]]
    return out
  end
  function def.compute_mask(_, _, mask)
    return type(mask) == "table" and mask[1] or nil
  end
  attention[name] = base.derive(base, name, def)
  attention[name]._custom_shape = false -- return_attention_scores tells how many results there are
end

--- Attention by dot products (Luong et al. 2015): `softmax(query key') value`.
--
-- `layer { query, value }` or `layer { query, value, key }`, then perhaps options:
-- `return_attention_scores` (the weights as a second result), `use_causal_mask`. query (batch, T,
-- width), value and key (batch, S, width); the result (batch, T, width of value). `mask`: a list of
-- masks of query and value; the result is zero where the query's is false. `score_mode` "concat":
-- the sum of `tanh(query + key)`. As Keras' Attention.
--     tide.layers.Attention() { tide.ones { 1, 5, 4 }, tide.ones { 1, 7, 4 } }.shape
--     --> { 1, 5, 4 }
define_list("Attention", {
  args = {
    { "use_scale", "bool", false, "a trained number scales the scores" },
    { "score_mode", "enum", "dot", "how query and key make a score", of = "dot|concat" },
    dropout, seed,
  },
  build = function(self, shapes)
    check_list(self, shapes)
    self.scale = self.use_scale
      and self:add_weight { {}, name = "scale", initializer = "ones" }
    self.concat_score_weight = self.score_mode == "concat"
      and self:add_weight { {}, name = "concat_score_weight", initializer = "ones" }
  end,
  _scores = function(self, q, k)
    if self.score_mode == "dot" then
      local scores = ops.matmul(q, ops.swapaxes(k, -2, -1))
      return self.scale and scores * self.scale or scores
    end
    local sum = ops.expand_dims(q, -2) + ops.expand_dims(k, -3)
    sum = ops.tanh(self.scale and sum * self.scale or sum)
    return ops.sum(sum, -1) * self.concat_score_weight
  end,
})

--- Additive attention (Bahdanau et al. 2015): the score is the sum of `scale * tanh(query + key)`.
--
-- Called as Attention: `layer { query, value }` or `layer { query, value, key }`. As Keras'
-- AdditiveAttention.
--     tide.layers.AdditiveAttention() { tide.ones { 1, 5, 4 }, tide.ones { 1, 7, 4 } }.shape
--     --> { 1, 5, 4 }
define_list("AdditiveAttention", {
  args = { { "use_scale", "bool", true, "trained weights scale the features" }, dropout, seed },
  build = function(self, shapes)
    check_list(self, shapes)
    local width = shapes[1][#shapes[1]]
    if self.use_scale and width == none then
      errors.raise(self:_label(), "the last axis of the query must be known (got the shape %s)",
        list.format(shapes[1]))
    end
    self.scale = self.use_scale
      and self:add_weight { { width }, name = "scale", initializer = "glorot_uniform" }
  end,
  _scores = function(self, q, k)
    local sum = ops.tanh(ops.expand_dims(q, -2) + ops.expand_dims(k, -3))
    return ops.sum(self.scale and sum * self.scale or sum, -1)
  end,
})

return attention

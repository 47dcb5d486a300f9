-- Attention layers and EinsumDense against the real Keras' numbers (spec/ref/attention.py), and
-- what only Tide's own words can say: dropout, masks that travel, errors.
local core = require "tide.core"
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local ops = require "tide.ops"
local tide = require "tide"

local L = tide.layers
local reference = dofile "spec/ref/attention.lua"

local near = expect.elements

local masks = {
  right = function(i, s, t) return s < t - i % t end,
  left = function(i, s, t) return s >= (i + 1) % t end,
  all = function(i) return i > 0 end,
}

local function mask_of(kind, shape)
  local out = {}
  for i = 0, shape[1] - 1 do
    out[i + 1] = {}
    for s = 0, shape[2] - 1 do
      out[i + 1][s + 1] = masks[kind](i, s, shape[2])
    end
  end
  return tide.tensor(out)
end

local function scores_mask(shape)
  local n, flat = 1, {}
  for _, d in ipairs(shape) do
    n = n * d
  end
  for i = 0, n - 1 do
    flat[i + 1] = (i * i + i // 3) % 4 ~= 1
  end
  return tide.tensor(flat):reshape(shape)
end

local function options_of(row)
  local out = {}
  for k, v in pairs(row.args) do
    if type(v) == "table" then
      local copy = {}
      for i, n in ipairs(v) do
        copy[i] = n == "none" and tide.none or n
      end
      v = copy
    end
    out[k] = v
  end
  return out
end

local function run(row)
  local layer = L[row.class](options_of(row))
  local x = {}
  for i, shape in ipairs(row.inputs) do
    x[i] = formula.input("real", shape, i - 1)
    x[i].requires_grad = true
  end
  local options = { use_causal_mask = row.causal, return_attention_scores = row.scores,
    attention_mask = row.attention and scores_mask(row.attention) or nil }
  if row.masks then
    options.mask = {}
    for i, kind in ipairs(row.masks) do
      options.mask[i] = kind and mask_of(kind, row.inputs[i]) or false
    end
  end
  local function call()
    if row.class == "EinsumDense" then
      return { layer(x[1], options) }
    elseif row.class:find "Query" or row.class:find "Multi" then
      return { layer(x[1], x[2], x[3], options) }
    end
    return { layer(x, options) }
  end
  call()
  local start = {}
  assert.are.equal(#row.weights, #layer.weights)
  for i, w in ipairs(layer.weights) do
    assert.are.same(row.weights[i], w.shape:totable())
    start[i] = formula.weight(w, false, i - 1)
  end
  layer:set_weights(start)
  local out, loss
  local wrt = table.move(x, 1, #x, 1, {})
  table.move(layer.trainable_weights, 1, #layer.trainable_weights, #wrt + 1, wrt)
  local grads = tide.grad(function()
    out, loss = call(), 0
    for i, y in ipairs(out) do
      loss = loss + ops.sum(y * formula.input("real", row.shapes[i], 4 + i))
    end
    for _, l in ipairs(layer.losses) do
      loss = loss + l
    end
    return loss
  end, wrt)
  assert.are.equal(#row.shapes, #out)
  for i, y in ipairs(out) do
    assert.are.same(row.shapes[i], y.shape:totable())
    near("y" .. i, y, row.y[i], 1e-5, 2e-5)
  end
  for i, want in ipairs(row.g) do
    near("gradient " .. i, grads[i] or ops.zeros(wrt[i].shape), want, 5e-5, 2e-4)
  end
  if row.losses then
    local sum, want = 0, 0
    for _, l in ipairs(layer.losses) do
      sum = sum + l:item()
    end
    for _, l in ipairs(row.losses) do
      want = want + l
    end
    assert.near(want, sum, 1e-4 * want)
  end
end

local function shown(v)
  if type(v) ~= "table" then
    return tostring(v)
  end
  local keys, out = {}, {}
  for k in pairs(v) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do
    out[i] = (type(k) == "number" and "" or k .. "=") .. shown(v[k])
  end
  return "{" .. table.concat(out, ",") .. "}"
end

describe("attention layers beside Keras", function()
  for i, row in ipairs(reference.rows) do
    it(("%d: %s %s %s%s"):format(i, row.class, shown(row.args), shown(row.inputs),
      row.masks and " masks " .. shown(row.masks) or ""), function()
        run(row)
      end)
  end
end)

local function same(a, b)
  return a.shape == b.shape and ops.all(a:equal(b))
end

-- A call of several heads with all that makes it differ, in float64.
local function heads(options)
  local layer = L.MultiHeadAttention { 2, 3, value_dim = 2, use_gate = true, dtype = "float64",
    sliding_window = options.window }
  local q = formula.input("real", { 2, 4, 3 }, 0):cast "float64"
  local v = formula.input("real", { 2, 5, 3 }, 1):cast "float64"
  layer:build(q.shape, v.shape)
  local start = {}
  for i, w in ipairs(layer.weights) do
    start[i] = formula.weight(w, false, i - 1)
  end
  layer:set_weights(start)
  return layer, q, v
end

describe("attention layers", function()
  local q, v

  before_each(function()
    q, v = formula.input("real", { 2, 3, 4 }, 0), formula.input("real", { 2, 5, 4 }, 1)
  end)

  it("read the files of Keras, and write files that give the same", function()
    local ids = tide.tensor({ { 1, 5, 3, 0, 0, 0 }, { 8, 2, 2, 4, 7, 0 } }, { dtype = "int32" })
    local other = formula.input("real", { 2, 4, 5 }, 3)
    for _, ending in ipairs { ".keras", ".h5" } do
      local model = tide.load_model("spec/fixtures/keras/attention" .. ending)
      local function check(what, m)
        local x, scores = table.unpack(m { ids, other })
        near(what .. " result", x, reference.files[1], 1e-5, 2e-5)
        near(what .. " scores", scores, reference.files[2], 1e-5, 2e-5)
      end
      check("read" .. ending, model)
      for _, own in ipairs { ".keras", ".h5", ".safetensors" } do
        local path = os.tmpname() .. own
        model:save(path)
        local again = tide.load_model(path)
        os.remove(path)
        check("written" .. own, again)
      end
    end
  end)

  it("have the gradients of central differences", function()
    for _, options in ipairs { {}, { use_causal_mask = true }, { window = 2 },
      { return_attention_scores = true } } do
      local layer, a, b = heads(options)
      options.window = nil
      local variables = layer.trainable_weights:totable()
      variables[#variables + 1], variables[#variables + 2] = a, b
      for _, x in ipairs(variables) do
        x:requires_grad_(true)
      end
      local function loss()
        local y, scores = layer(a, b, options)
        local sum = ops.sum(y * formula.input("real", { 2, 4, 3 }, 5):cast "float64")
        return scores and sum + ops.sum(scores * scores) or sum
      end
      local grads = tide.grad(loss, variables)
      for k, x in ipairs(variables) do
        local flat, shape, want = x:ravel():tolist(), x.shape, {}
        for i, at in ipairs(flat) do
          local function moved(by)
            flat[i] = at + by
            tide.no_grad(x.copy_, x, tide.tensor(flat, { dtype = "float64" }):reshape(shape))
            return tide.no_grad(loss):item()
          end
          want[i] = (moved(1e-6) - moved(-1e-6)) / 2e-6
          moved(0)
          flat[i] = at
        end
        near("variable " .. k, grads[k], want, 1e-5, 1e-6)
      end
    end
  end)

  it("drop scores in training alone, and give the scores before", function()
    for _, make in ipairs { function(o) return L.MultiHeadAttention { 2, 8, dropout = o } end,
      function(o) return L.GroupQueryAttention { 8, 4, 2, dropout = o, seed = 3 } end } do
      local layer = make(0.5)
      local plain = make(0)
      local a = layer(q, v)
      plain:build(q.shape, v.shape)
      plain:set_weights(layer:get_weights())
      near("at rest", plain(q, v), a:ravel():tolist(), 1e-6, 1e-6)
      assert.is_true(same(layer(q, v), a))
      local b, scores = layer(q, v, { training = true, return_attention_scores = true })
      assert.is_false(same(b, a))
      near("scores", scores:sum(-1), ops.ones({ scores.size // 5 }):tolist(), 1e-6, 1e-6)
      assert.is_false(same(layer(q, v, { training = true }), b))
    end
    local layer = L.Attention { dropout = 0.5 }
    local _, scores = layer({ q, v }, { training = true, return_attention_scores = true })
    local share = ops.mean(ops.cast(ops.equal(scores, 0), "float32")):item()
    assert.is_true(share > 0.2 and share < 0.8)
  end)

  it("draw nothing where nothing is dropped, in gradients neither", function()
    tide.seed(3)
    local x = tide.random.normal({ 2, 5, 2, 4 }, { seed = 5 }):requires_grad_(true)
    local before = { core.generator() }
    tide.grad(ops.dot_product_attention(x, x, x):sum(), { x })
    assert.same(before, { core.generator() })
  end)

  it("drop the same weights with and without the matrix of scores, and in gradients", function()
    local mask = tide.tensor { { true, true, false, true, true }, { false, false, false, false,
      false } }
    for _, options in ipairs { {}, { use_causal_mask = true }, { value_mask = mask },
      { query_mask = tide.tensor { { true, false, true }, { true, true, true } } },
      { attention_mask = scores_mask { 2, 3, 5 } } } do
      local made = {}
      for i, scores in ipairs { true, false } do
        local layer = L.GroupQueryAttention { 3, 4, 2, dropout = 0.4, seed = 9,
          sliding_window = options.use_causal_mask and 2 or nil }
        layer:build(q.shape, v.shape)
        for k, w in ipairs(layer.weights) do
          w:assign(formula.weight(w, false, k - 1))
        end
        local o = { training = true, return_attention_scores = scores }
        for key, value in pairs(options) do
          o[key] = value
        end
        q.requires_grad, v.requires_grad = true, true
        local grads = tide.grad(function()
          made[i] = { (layer(q, v, o)) }
          return ops.sum(made[i][1] * formula.input("real", { 2, 3, 4 }, 5))
        end, { q, v, layer.weights[1], layer.weights[3], layer.weights[5] })
        table.move(grads, 1, 5, 2, made[i])
      end
      for k, x in ipairs(made[1]) do
        near("part " .. k, made[2][k], ops.ravel(x):tolist(), 1e-5, 1e-6)
      end
    end
  end)

  it("take the masks that inputs bring, and hand the query's on", function()
    local ids = tide.tensor({ { 1, 2, 0, 0 }, { 3, 1, 2, 0 } }, { dtype = "int32" })
    local x = L.Embedding { 4, 4, mask_zero = true } (ids)
    local mask = ids:not_equal(0)
    for _, layer in ipairs { L.MultiHeadAttention { 2, 3 }, L.GroupQueryAttention { 3, 4, 2 } } do
      local y = layer(x, x)
      assert.is_true(same(tide.Layer.mask_of(y), mask))
      local plain = ops.copy(x:detach())
      assert.is_false(same(layer(plain, plain), y))
      assert.is_true(same(layer(plain, plain, { mask = { mask, mask } }), y))
      assert.is_true(same(layer(plain, plain, { query_mask = mask, value_mask = mask }), y))
      local both = ops.logical_and(mask:reshape { 2, 4, 1 }, mask:reshape { 2, 1, 4 })
      near("explicit", layer(plain, plain, { attention_mask = both }), y:ravel():tolist(), 1e-6,
        1e-6)
      near("numbers", layer(plain, plain, { attention_mask = both:cast "int32" }),
        y:ravel():tolist(), 1e-6, 1e-6)
    end
    local y = L.Attention() { x, x }
    assert.is_true(same(tide.Layer.mask_of(y), mask))
    assert.are.equal(0, ops.abs(y[{ 1, { 3, 4 } }]):sum():item())
  end)

  it("leave masks where they are, as functional models of Keras do", function()
    -- Keras 3.15 on TensorFlow: the mean over [1, 2, 0, 0] after attention to the same tensor
    local functional = { -0.42782027, -0.13671589, 0.3546776, 0.32646757 }
    local eager = { -0.21391013, 0.1725316, 0.30621415, -0.00870775 }
    local ids = tide.tensor({ { 1, 2, 0, 0 }, { 3, 1, 2, 0 } }, { dtype = "int32" })
    local embedding = L.Embedding { 5, 4, mask_zero = true }
    local attention, mean = L.MultiHeadAttention { 1, 3 }, L.GlobalAveragePooling1D()
    local i = tide.Input { 4, dtype = "int32" }
    local h = embedding(i)
    local model = tide.Model { inputs = i, outputs = { attention(h, h), mean(h) } }
    embedding.weights[1]:assign(formula.weight(embedding.weights[1], false, 0))
    expect.close(model(ids)[2][1], functional, 1e-6)
    local x = embedding(ids)
    attention(x, x)
    expect.close(mean(x)[1], functional, 1e-6)
    expect.close(mean(x, { mask = false })[1], eager, 1e-6)
  end)

  it("stand in models, with options and several results", function()
    local a, b = tide.Input { tide.none, 4 }, tide.Input { 5, 4 }
    local y, scores = L.MultiHeadAttention { 2, 3, output_shape = 7 } (a, b,
      { return_attention_scores = true })
    assert.are.same({ tide.none, tide.none, 7 }, y.shape:totable())
    assert.are.same({ tide.none, 2, tide.none, 5 }, scores.shape:totable())
    local z = L.Attention() { y, L.EinsumDense { "abc,cd->abd", { 5, 7 } } (b) }
    local model = tide.Model { { a, b }, { z, scores } }
    local out = model { q, v }
    assert.are.same({ 2, 3, 7 }, out[1].shape:totable())
    assert.are.same({ 2, 2, 3, 5 }, out[2].shape:totable())
    local mask = tide.Input { 3, 5, dtype = "bool" }
    local masked = L.MultiHeadAttention { 2, 3 } (tide.Input { 3, 4 }, b, { attention_mask = mask })
    assert.are.same({ tide.none, 3, 4 }, masked.shape:totable())
    local layer = L.MultiHeadAttention { 2, 3, output_shape = { 2, 2 } }
    assert.are.same({ tide.none, 3, 2, 2 },
      layer:compute_output_shape({ tide.none, 3, 4 }, { tide.none, 5, 4 }):totable())
    assert.is_true(same(layer { query = q, value = v }, layer(q, v)))
  end)

  it("take memory by the length, not by its square", function()
    local function bytes(n)
      local x = ops.ones { 1, n, 2, 8 }
      x.requires_grad = true
      collectgarbage()
      core.memory_reset_peak()
      local before = core.memory().live_bytes
      local y = ops.dot_product_attention(x, x, x, { is_causal = true })
      ops.sum(y):backward()
      return core.memory().peak_bytes - before
    end
    bytes(512)
    local short, long = bytes(512), bytes(4096)
    assert.is_true(long < 9 * short, ("%d and %d bytes"):format(short, long))
    assert.is_true(long < 4096 * 4096)
    local layer = L.MultiHeadAttention { 1, 8, dropout = 0.1, use_bias = false }
    local function dropped(n)
      local x = ops.ones { 1, n, 8 }
      collectgarbage()
      core.memory_reset_peak()
      local before = core.memory().live_bytes
      tide.grad(function()
        return ops.sum(layer(x, x, { use_causal_mask = true, training = true }))
      end, layer.trainable_weights:totable())
      return core.memory().peak_bytes - before
    end
    dropped(512)
    short, long = dropped(512), dropped(2048)
    assert.is_true(long < 5 * short, ("%d and %d bytes"):format(short, long))
    assert.is_true(long < 2048 * 2048)
  end)

  it("give the same bits for any number of threads", function()
    local function with(threads)
      tide.set_threads(threads)
      local x = formula.input("real", { 2, 150, 4, 8 }, 0)
      local y = formula.input("real", { 2, 150, 2, 8 }, 1)
      x.requires_grad, y.requires_grad = true, true
      local z = core.ops.attention_(x, y, y, nil, nil, 0.3, true, 0, 0, 0, 0.2, 7)
      ops.sum(z * z):backward()
      return { z, x.grad, y.grad }
    end
    local before = tide.get_threads()
    local one, two = with(1), with(2)
    tide.set_threads(before)
    for i = 1, 3 do
      assert.is_true(same(one[i], two[i]))
    end
  end)

  it("draw kernels by the numbers of inputs and outputs of the equation", function()
    local layer = L.EinsumDense { "abc,cde->abde", { tide.none, 50, 40 } }
    layer(tide.ones { 1, 2, 10 })
    local limit = math.sqrt(6 / (10 + 2000))
    local most = ops.max(ops.abs(layer.kernel))
    assert.is_true(most <= limit and most > 0.9 * limit)
  end)

  it("refuse what does not fit, each with one clear error", function()
    local mha = L.MultiHeadAttention { 2, 3 }
    local function refused(says, f, ...)
      expect.raises(says, f, ...)
    end
    refused("takes a query and a value (got the query alone)", mha, q)
    refused("query, value and key do not fit together (query [2, 3, 4], value [3, 5, 4]", mha, q,
      tide.ones { 3, 5, 4 })
    refused("query, value and key do not fit together", mha, q, v, tide.ones { 2, 4, 4 })
    refused("query, value and key do not fit together", mha, tide.ones { 2, 4 }, tide.ones { 2, 4 })
    refused("attention_mask has the wrong shape (expected one that broadcasts to [2, 2, 3, 5], \z
      got [2, 5, 3])", mha, q, v, { attention_mask = ops.ones { 2, 5, 3 } })
    refused("attention_mask has the wrong shape", mha, q, v, { attention_mask = ops.ones { 5 } })
    refused("the mask of value must have one value per step (expected the shape [2, 5], got \z
      [2, 3])",
      mha, q, v, { value_mask = ops.ones { 2, 3 } })
    refused("the mask of query must have one value per step", mha, q, v,
      { mask = { ops.ones { 2, 5 } } })
    refused("a call has no option 'causal'", mha, q, v, { causal = true })
    refused("a call has no option 'use_causal_masks'; did you mean 'use_causal_mask'?", mha, q, v,
      { use_causal_masks = true })
    refused("num_query_heads must be a multiple of num_key_value_heads (got 4 and 3)",
      L.GroupQueryAttention, { 3, 4, 3 })
    refused("num_heads must be an integer at least 1 (got 0)", L.MultiHeadAttention, { 0, 3 })
    refused("sliding_window must be an integer at least 1 (got 0)", L.MultiHeadAttention,
      { 1, 3, sliding_window = 0 })
    refused("flash_attention keeps no scores",
      L.MultiHeadAttention { 1, 3, flash_attention = true }, q, v,
      { return_attention_scores = true })
    refused("attention_axes must name axes between the batch and the features",
      L.MultiHeadAttention { 1, 3, attention_axes = { 2, 3 } }, q, v)
    refused("use_causal_mask needs one attended axis (got 2)", L.MultiHeadAttention { 1, 3 },
      tide.ones { 1, 2, 3, 4 }, tide.ones { 1, 2, 3, 4 }, { use_causal_mask = true })
    refused("the query has the wrong axes", L.GroupQueryAttention { 3, 4, 2 },
      tide.ones { 1, 2, 3, 4 }, tide.ones { 1, 2, 3, 4 })
    local one = L.Attention()
    refused("takes a list of tensors", one, q)
    refused("takes a list { query, value } or { query, value, key } (got a list of 1)", one, { q })
    refused("query, value and key do not fit together", one, { q, tide.ones { 2, 5, 3 } })
    refused("the mask of value must have one value per step", one, { q, v },
      { mask = { false, ops.ones { 2, 3 } } })
    refused("the equation has no form that it takes", L.EinsumDense, { "ab,bc", 3 })
    refused("the axis 'd' of the result is in neither operand", L.EinsumDense, { "ab,bc->ad", 3 })
    refused("the axis 'd' of the kernel is in neither input nor result", L.EinsumDense,
      { "ab,bd->ab", 3 })
    refused("the axis 'x' of bias_axes is not in the result", L.EinsumDense,
      { "ab,bc->ac", 3, bias_axes = "x" })
    refused("the input does not fit the equation 'ab,bc->ac' (expected 2 axes, got the shape \z
      [2, 3, 4])", L.EinsumDense { "ab,bc->ac", 3 }, q)
    refused("output_shape does not fit the equation 'abc,cd->abd' (expected 2 sizes, got [3])",
      L.EinsumDense { "abc,cd->abd", 3 }, q)
    refused("the axis 'b' has two sizes (the input 3, output_shape 5)",
      L.EinsumDense { "abc,cd->abd", { 5, 3 } }, q)
    refused("the size of the axis 'd' must be known", L.EinsumDense { "abc,cd->abd",
      { tide.none, tide.none } }, q)
  end)

  it("refuse a key or value of another dtype than the query", function()
    local query, half = ops.zeros { 1, 2, 2, 3 }, ops.zeros({ 1, 2, 2, 3 }, { dtype = "float16" })
    expect.raises("key has another dtype than query (expected float32, got float16)",
      ops.dot_product_attention, query, half, query)
    expect.raises("value has another dtype than query (expected float32, got float16)",
      ops.dot_product_attention, query, query, half)
  end)
end)

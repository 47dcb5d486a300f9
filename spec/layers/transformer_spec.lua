-- Layers of positions and transformer blocks against the real KerasHub's and Keras' numbers
-- (spec/ref/transformer.py), and what only Tide's own words can say: steps with a cache, errors.
local core = require "tide.core"
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local keras = require "tide.saving.keras"
local ops = require "tide.ops"
local tide = require "tide"

local L = tide.layers
local reference = dofile "spec/ref/transformer.lua"

local near = expect.elements

local function values(x)
  return ops.ravel(x):tolist()
end

local seen = {
  right = function(i, s, t) return s < t - i % t end,
  left = function(i, s, t) return s >= (i + 1) % t end,
}

local function mask_of(kind, shape)
  local n, flat = 1, {}
  for _, d in ipairs(shape) do
    n = n * d
  end
  for i = 0, n - 1 do
    flat[i + 1] = seen[kind] and seen[kind](i // shape[2], i % shape[2], shape[2])
      or not seen[kind] and (i * i + i // 3) % 4 ~= 1
  end
  return tide.tensor(flat):reshape(shape)
end

-- Token ids from 0, as the reference has them.
local function ids_of(shape, n, k)
  local flat = {}
  local size = shape[1] * shape[2]
  for i = 0, size - 1 do
    flat[i + 1] = math.floor((math.sin(i * 2.3 + k) + 1) * 0.4999 * n)
  end
  return tide.tensor(flat, { dtype = "int32" }):reshape(shape)
end

local function options_of(row)
  local out = { zero_based = row.ids and true or nil }
  for k, v in pairs(row.args) do
    out[k] = v
  end
  return out
end

local function filled(layer)
  for i, w in ipairs(layer.weights) do
    w:assign(formula.weight(w, false, i - 1))
  end
end

local function inputs_of(row, dtype)
  local x = {}
  for i, shape in ipairs(row.inputs) do
    x[i] = row.ids and ids_of(shape, row.ids, i - 1) or formula.input("real", shape, i - 1)
    x[i] = not row.ids and dtype and x[i]:cast(dtype) or x[i]
    if row.implicit and row.implicit[i] then
      tide.Layer.set_mask(x[i], mask_of(row.implicit[i], { shape[1], shape[2] }))
    end
  end
  return x
end

local function call_of(row)
  local o = {}
  for k, v in pairs(row.call or {}) do
    o[k] = v
  end
  for k, m in pairs(row.masks or {}) do
    o[k] = mask_of(m[1], m[2])
  end
  return o
end

-- The layer of a row with its weights, its inputs, and what calls it.
local function made(row, dtype)
  local o = options_of(row)
  o.dtype = dtype
  local layer, x, call = L[row.class](o), inputs_of(row, dtype), call_of(row)
  local function run()
    if row.inputs[2] then
      return { layer(x[1], x[2], call) }
    end
    return { layer(x[1], call) }
  end
  run()
  filled(layer)
  return layer, x, run
end

local function loss_of(row, out, x, dtype)
  local loss = row.ids and 0 or ops.sum(x[1]) * 0 -- of which some depend by their shape alone
  for i, y in ipairs(out) do
    local factor = formula.input("real", row.shapes[i], 4 + i)
    loss = loss + ops.sum(y * (dtype and factor:cast(dtype) or factor))
  end
  return loss
end

local function variables(row, layer, x)
  local out = row.ids and {} or table.move(x, 1, #x, 1, {})
  for _, t in ipairs(out) do
    t.requires_grad = true
  end
  return table.move(layer.trainable_weights, 1, #layer.trainable_weights, #out + 1, out)
end

local function title(i, row)
  local keys = {}
  for k, v in pairs(row.args) do
    keys[#keys + 1] = k .. "=" .. tostring(v)
  end
  for _, group in ipairs { row.call or {}, row.masks or {} } do
    for k in pairs(group) do
      keys[#keys + 1] = k
    end
  end
  table.sort(keys)
  return ("%d: %s %s%s"):format(i, row.class, table.concat(keys, " "),
    row.implicit and " with masks" or "")
end

describe("layers of positions and transformer blocks beside KerasHub:", function()
  for i, row in ipairs(reference.rows) do
    it(title(i, row), function()
      local layer, x, run = made(row)
      local shapes = {}
      for k, w in ipairs(layer.weights) do
        shapes[k] = w.shape:totable()
      end
      assert.are.same(row.weights, shapes)
      local wrt, out = variables(row, layer, x), nil
      local grads = tide.grad(function()
        out = run()
        return loss_of(row, out, x)
      end, wrt)
      assert.are.equal(#row.shapes, #out)
      for k, y in ipairs(out) do
        assert.are.same(row.shapes[k], y.shape:totable())
        near("y" .. k, y, row.y[k], 1e-5, 2e-5)
      end
      for k, want in ipairs(row.g) do
        near("gradient " .. k, grads[k] or ops.zeros(wrt[k].shape), want, 5e-5, 2e-4)
      end
    end)

    it(title(i, row) .. ", in float64, has the gradients of central differences", function()
      local layer, x, run = made(row, "float64")
      local wrt = variables(row, layer, x)
      if #wrt == 0 then
        return
      end
      local grads = tide.grad(function() return loss_of(row, run(), x, "float64") end, wrt)
      local function loss()
        return tide.no_grad(function() return loss_of(row, run(), x, "float64"):item() end)
      end
      for k, t in ipairs(wrt) do
        local flat, shape, g = values(t), t.shape, values(grads[k] or ops.zeros(t.shape))
        for place = 1, #flat, math.max(1, #flat // 3) do
          local at = flat[place]
          local function moved(by)
            flat[place] = at + by
            tide.no_grad(t.copy_, t, tide.tensor(flat, { dtype = "float64" }):reshape(shape))
            return loss()
          end
          local want = (moved(1e-6) - moved(-1e-6)) / 2e-6
          moved(0)
          assert.near(want, g[place], 1e-5 + 1e-5 * math.abs(want))
        end
      end
    end)

    it(title(i, row) .. ", goes through its configuration and a mixed policy", function()
      local layer, _, run = made(row)
      local want = run()[1]
      local again = L[row.class].from_config(layer:get_config())
      assert.are.same(layer:get_config().dtype, again:get_config().dtype)
      local x, call = inputs_of(row), call_of(row)
      local function result(l)
        if row.inputs[2] then
          return (l(x[1], x[2], call))
        end
        return (l(x[1], call))
      end
      result(again)
      filled(again)
      near("of the configuration", result(again), values(want), 0, 0)
      local o = options_of(row)
      o.dtype = "mixed_bfloat16"
      local half = L[row.class](o)
      result(half)
      filled(half)
      for _, w in ipairs(half.weights) do
        assert.are.equal("float32", w.dtype)
      end
      local y = result(half)
      assert.are.equal("bfloat16", y.dtype)
      near("in halves", y:cast "float32", values(want), 0.05, 0.08)
    end)
  end
end)

local function close(got, want)
  assert.are.same(want.shape:totable(), got.shape:totable())
  local d = ops.max(ops.abs(got:detach() - want:detach())):item()
  assert.is_true(d < 3e-6, ("the largest difference is %g"):format(d))
end

local function in_parts(f, x, ends)
  local out, from = {}, 1
  for i, to in ipairs(ends) do
    out[i] = f(x[{ {}, { from, to } }])
    from = to + 1
  end
  return ops.concatenate(out, 2)
end

describe("transformer layers", function()
  it("read the files of KerasHub, and write files that give the same", function()
    local ids = tide.tensor({ { 1, 5, 3, 0, 0, 0 }, { 8, 2, 2, 4, 7, 0 } }, { dtype = "int32" })
    local more = formula.input("real", { 2, 4, 5 }, 3)
    local model = tide.load_model "spec/fixtures/keras/transformer.keras"
    near("read", model { ids, more }, reference.files, 1e-5, 2e-5)
    for _, ending in ipairs { ".keras", ".h5", ".safetensors" } do
      local path = os.tmpname() .. ending
      model:save(path)
      local again = tide.load_model(path)
      os.remove(path)
      near("written" .. ending, again { ids, more }, reference.files, 1e-5, 2e-5)
    end
  end)

  it("stand in files as KerasHub writes them", function()
    local function layers_of(path)
      local archive, out = core.zip_open(path), {}
      for _, entry in ipairs(keras.member(archive, "config.json").config.layers) do
        out[entry.name] = entry
      end
      return out
    end
    local theirs = layers_of "spec/fixtures/keras/transformer.keras"
    local path = os.tmpname() .. ".keras"
    tide.load_model("spec/fixtures/keras/transformer.keras"):save(path)
    local ours, n = layers_of(path), 0
    os.remove(path)
    for name, want in pairs(theirs) do
      local got = ours[name]
      if tostring(want.registered_name):find "^keras_hub>" then
        n = n + 1
        assert.are.equal(want.class_name, got.class_name)
        assert.are.equal(want.registered_name, got.registered_name)
        for key, v in pairs(want.config) do
          if v ~= tide.none then
            assert.is_not_nil(got.config[key], name .. " lacks " .. key)
          end
          if type(v) ~= "table" then
            assert.are.equal(v, got.config[key], name .. ": " .. key)
          end
        end
        for key in pairs(got.config) do
          assert.is_not_nil(want.config[key], name .. " has " .. key)
        end
        assert.are.equal(want.inbound_nodes[1].kwargs.start_index,
          got.inbound_nodes[1].kwargs.start_index)
      end
    end
    assert.are.equal(7, n)
  end)

  it("write step by step with a cache what they write at once", function()
    local input, source = tide.Input({ tide.none }, { dtype = "int32" }), tide.Input { 4, 6 }
    local embed = L.TokenAndPositionEmbedding { 11, 9, 8 }
    local x = embed(input)
    local y = L.TransformerDecoder { 12, 2, normalize_first = true } (x)
    y = L.RotaryEmbedding()(y) + L.SinePositionEncoding()(y) + L.PositionEmbedding { 9 } (y)
    local writer = tide.Model { input,
      embed.token_embedding(L.TransformerDecoder { 12, 2 } (y), { reverse = true }) }
    local translator = tide.Model { { input, source }, L.TransformerDecoder { 12, 2 } (x, source) }
    local ids = tide.random.randint({ 2, 9 }, 1, 12)
    local from = formula.input("real", { 2, 4, 6 }, 1)
    for _, ends in ipairs { { 9 }, { 4, 5, 6, 9 }, { 1, 2, 3, 4, 5, 6, 7, 8, 9 } } do
      local cache = tide.KeyValueCache { 9 }
      close(in_parts(function(part) return writer(part, { cache = cache }) end, ids, ends),
        writer(ids))
      cache:reset()
      close(in_parts(function(part)
        return translator({ part, from }, { cache = cache })
      end, ids, ends), translator { ids, from })
    end
  end)

  it("remember padded steps of a prompt", function()
    local layer, cache = L.TransformerDecoder { 12, 2 }, tide.KeyValueCache { 6 }
    local x = formula.input("real", { 2, 6, 4 }, 0)
    local mask = tide.tensor { { false, true, true, true, true, true },
      { true, true, true, true, true, true } }
    local all = layer(x, { decoder_padding_mask = mask })
    local first, rest = { {}, { 1, 4 } }, { {}, { 5, 6 } }
    layer(x[first], { cache = cache, decoder_padding_mask = mask[first] })
    close(layer(x[rest], { cache = cache }), ops.copy(all[rest]))
  end)

  it("drop in training alone", function()
    for _, make in ipairs { L.TransformerEncoder, L.TransformerDecoder } do
      local layer, plain = make { 12, 2, 0.4 }, make { 12, 2 }
      local x = formula.input("real", { 2, 6, 4 }, 0)
      plain(x)
      local y = layer(x)
      plain:set_weights(layer:get_weights())
      close(y, plain(x))
      local d = ops.abs(layer(x, { training = true }) - y)
      assert.is_true(ops.max(d):item() > 0.01)
    end
  end)

  it("count ids and positions from 1, and make no mask of what was led back", function()
    local layer = L.ReversibleEmbedding { 5, 3 }
    local ids = tide.tensor({ { 1, 5 } }, { dtype = "int32" })
    local y = layer(ids)
    near("rows", y, values(layer.embeddings[tide.tensor({ 1, 5 }, { dtype = "int32" })]), 0, 0)
    near("scores", layer(y, { reverse = true }), values(ops.matmul(y[1],
      ops.transpose(layer.embeddings))), 1e-6, 1e-7)
    local masked = L.ReversibleEmbedding { 5, 3, mask_zero = true }
    y = masked(tide.tensor({ { 1, 0 } }, { dtype = "int32" }))
    assert.are.same({ { true, false } }, tide.Layer.mask_of(y):tolist())
    assert.is_nil(tide.Layer.mask_of(masked(y, { reverse = true })))
    local both = L.TokenAndPositionEmbedding { 5, 4, 3, mask_zero = true }
    y = both(tide.tensor({ { 1, 0 } }, { dtype = "int32" }))
    assert.are.same({ { true, false } }, tide.Layer.mask_of(y):tolist())
    local places, x = L.PositionEmbedding { 4 }, ops.ones { 1, 2, 3 }
    near("start", places(x, { start_index = 2 }), values(places(x, { positions = { 2, 3 } })), 0, 0)
    near("first", places(x), values(places.position_embeddings[{ { 1, 2 } }]), 0, 0)
  end)

  it("take part in LoRA", function()
    local layer = L.ReversibleEmbedding { 5, 4 }
    local ids = tide.tensor({ { 1, 5 } }, { dtype = "int32" })
    layer(ids)
    layer:enable_lora(2, { b_initializer = "ones" })
    local sum = layer.embeddings
      + ops.matmul(layer.lora_embeddings_a, layer.lora_embeddings_b)
    near("scores", layer(ops.ones { 1, 1, 4 }, { reverse = true }),
      values(ops.matmul(ops.ones { 1, 4 }, ops.transpose(sum))), 1e-5, 1e-6)
    near("rows", layer(ids), values(ops.take(sum, tide.tensor({ 1, 5 }, { dtype = "int32" }), 1)),
      1e-5, 1e-6)
  end)

  it("refuse options of a call that they do not have", function()
    local ids = tide.tensor({ { 1, 2 } }, { dtype = "int32" })
    expect.raises("a call has no option 'revers'; did you mean 'reverse'?",
      L.ReversibleEmbedding { 5, 3 }, tide.ones { 1, 2, 3 }, { revers = true })
    local both = L.TokenAndPositionEmbedding { 5, 4, 3 }
    expect.raises("a call has no option 'position'; did you mean 'positions'?", both, ids,
      { position = { 1, 2 } })
    expect.raises("ids[1, 1] is not a whole number (expected 1..4)", both, ids,
      { positions = { 1.5, 2 } })
    expect.raises("positions must be a tensor or a list of numbers (got 'x')", both, ids,
      { positions = "x" })
    assert.same({ 1, 2, 3 }, both(ids, { positions = { 1.0, 2.0 } }).shape:totable())
  end)

  it("refuse what does not fit, each with one clear error", function()
    local x, e = ops.ones { 2, 3, 4 }, ops.ones { 2, 5, 4 }
    local refused = expect.raises
    refused("num_heads must be at most the features (expected at most 4, got 5)",
      L.TransformerEncoder { 8, 5 }, x)
    refused("num_heads must be an integer at least 1 (got 0)", L.TransformerDecoder, { 8, 0 })
    refused("the input has the wrong axes (expected (batch, steps, features), got the shape \z
      [2, 4])", L.TransformerEncoder { 8, 2 }, ops.ones { 2, 4 })
    local encoder, decoder = L.TransformerEncoder { 8, 2 }, L.TransformerDecoder { 8, 2 }
    refused("padding_mask has the wrong axes (expected (batch, steps), got the shape [3])", encoder,
      x, { padding_mask = { true, true, false } })
    refused("the mask of value must have one value per step (expected the shape [2, 3], got \z
      [2, 2])", encoder, x, { padding_mask = { { true, true }, { true, false } } })
    refused("attention_mask has the wrong axes (expected (batch, steps of the query, steps of the \z
      value), got the shape [3, 3])", encoder, x, { attention_mask = ops.ones { 3, 3 } })
    refused("attention_mask has the wrong shape", encoder, x,
      { attention_mask = ops.ones { 2, 3, 4 } })
    refused("a call has no option 'padding_masks'; did you mean 'padding_mask'?", encoder, x,
      { padding_masks = true })
    decoder(x)
    refused("was built without an encoder's sequence (got two sequences)", decoder, x, e)
    local two = L.TransformerDecoder { 8, 2 }
    two(x, e)
    refused("was built with an encoder's sequence (got a decoder's alone)", two, x)
    refused("encoder_attention_mask has the wrong axes", two, x, e,
      { encoder_attention_mask = ops.ones { 3, 5 } })
    refused("a call has no option 'self_attention_cache'; give it cache = tide.KeyValueCache", two,
      x, e, { self_attention_cache = x })
    refused("the cache is too short (expected a length of at least 3, got 2)", decoder, x,
      { cache = tide.KeyValueCache { 2 } })
    local places = L.PositionEmbedding { 4 }
    refused("the input goes beyond the positions that there are (expected at most 4, got 5)",
      places, e)
    refused("the input goes beyond the positions that there are (expected at most 4, got 6)",
      places, x, { start_index = 4 })
    refused("start_index must be an integer at least 1 (got 0)", places, x, { start_index = 0 })
    refused("positions must have one value per step (expected [3] or [batch, 3], got [1, 2])",
      places, x, { positions = { 1, 2 } })
    refused("the last axis of the input must be known", L.PositionEmbedding { 4 },
      tide.Input { 3, tide.none })
    refused("the features must come in pairs (expected an even number, got 3)",
      L.RotaryEmbedding(), ops.ones { 2, 3, 3 })
    refused("sequence_axis and feature_axis must be two axes after the batch (got 2 and 2 of 3)",
      L.RotaryEmbedding { feature_axis = 2 }, x)
    refused("rope_type", L.RotaryEmbedding, { rope_type = "linea" })
    refused("the input does not fit the vectors (expected a last axis of 3, got the shape \z
      [2, 3, 4])", L.ReversibleEmbedding { 5, 3 }, x, { reverse = true })
  end)
end)

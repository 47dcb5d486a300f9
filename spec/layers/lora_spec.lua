-- LoRA beside the real Keras: spec/ref/lora.py made the numbers and the files.
local tide = require "tide"
local rows = require "spec.ref.lora"

local L = tide.layers
local folder = "spec/fixtures/keras/"

local reference = {}
for _, row in ipairs(rows) do
  reference[row.name] = row
end

local function model(shape, layers, dtype)
  return tide.Sequential { tide.Input { shape = shape, dtype = dtype }, table.unpack(layers) }
end

local function first(m) return m.layers[1] end

-- name -> function returning the model, and the one that picks the layer with LoRA
local makers = {
  dense = function()
    return model({ 5 }, { L.Dense { 4, activation = "tanh", kernel_regularizer = "l2" },
      L.Dense { 3 } }), first
  end,
  einsum_dense = function()
    return model({ 4, 3 }, { L.EinsumDense { "abc,cde->abde", { tide.none, 2, 5 },
      bias_axes = "de" } }), first
  end,
  embedding = function()
    return model({ 6 }, { L.Embedding { 9, 4, mask_zero = true }, L.Dense { 2 } }, "int32"), first
  end,
  conv1d = function()
    return model({ 7, 4 }, { L.Conv1D { 6, 3, groups = 2, padding = "causal",
      activation = "relu" } }), first
  end,
  conv2d = function()
    return model({ 6, 6, 3 }, { L.Conv2D { 4, 3, strides = 2 }, L.Flatten(), L.Dense { 2 } }),
      first
  end,
  conv3d = function()
    return model({ 4, 4, 4, 2 }, { L.Conv3D { 3, 2 } }), first
  end,
  attention = function()
    local x = tide.Input { 5, 4 }
    local m = tide.Model { inputs = x,
      outputs = L.MultiHeadAttention { 2, 3, name = "attention" }(x, x) }
    return m, function(one) return one:get_layer("attention").query_dense end
  end,
}

local function data(row)
  return tide.tensor(row.x, { dtype = row.name == "embedding" and "int32" or nil }),
    tide.tensor(row.y)
end

-- The largest difference, beside the largest number where that is above 1.
local function near(want, got, tolerance, what)
  want = tide.tensor(want)
  local d = tide.ops.max(tide.ops.abs(got - want)):item()
    / math.max(1, tide.ops.max(tide.ops.abs(want)):item())
  assert.is_true(d <= tolerance, ("%s: %g"):format(what, d))
end

-- A model as Keras trained it, and its row.
local function prepared(name)
  local row = reference[name]
  local m, pick = makers[name]()
  local layer = pick(m)
  layer:enable_lora(2, { lora_alpha = row.alpha })
  m:set_weights(row.start)
  return m, layer, row
end

describe("enable_lora", function()
  for name in pairs(makers) do
    it("gives " .. name .. " Keras' weights, results and training", function()
      local m, layer, row = prepared(name)
      local names, trainable = {}, {}
      for i, r in ipairs(layer:_own_records()) do
        names[i] = r.name
        trainable[#trainable + 1] = r.trainable and r.name or nil
      end
      assert.same(row.names, names)
      assert.same(row.trainable, trainable)
      assert.equal(#row.trainable, #layer.trainable_weights)
      local x, y = data(row)
      near(row.out, m(x), 1e-5, "result")
      m:compile { optimizer = tide.optimizers.Adam { 0.05 }, loss = "mse" }
      local h = m:fit(x, y, { batch_size = 4, epochs = 3, shuffle = false, verbose = 0 })
      for i, loss in ipairs(row.losses) do
        assert.near(loss, h.history.loss[i], 2e-5 * math.abs(loss))
      end
      for i, w in ipairs(m.weights) do
        -- adding to all keys changes no weight of attention: the gradient of their bias is noise
        local noise = name == "attention" and w == m:get_layer("attention").key_dense.bias
        near(row.end_[i], w:detach(), noise and 0.1 or 2e-5, "weight " .. i)
      end
      near(row.after, m:predict(x, { verbose = 0 }), 2e-5, "result after training")
    end)
  end

  it("changes no result while b is zero, and trains no frozen weight", function()
    local m, pick = makers.conv2d()
    local x = data(reference.conv2d)
    local before, kernel = m(x):detach(), pick(m).kernel
    local was = tide.ops.copy(kernel:detach())
    pick(m):enable_lora(3)
    near(before:tolist(), m(x):detach(), 1e-6, "result")
    assert.is_false(kernel.requires_grad)
    m.trainable = false
    m.trainable = true
    assert.is_false(kernel.requires_grad)
    assert.is_true(pick(m).lora_kernel_a.requires_grad)
    m:compile { optimizer = "sgd", loss = "mse" }
    m:fit(x, tide.zeros { 8, 2 }, { verbose = 0 })
    assert.equal(0, tide.ops.max(tide.ops.abs(kernel - was)):item())
  end)

  it("is what lora_rank asks for at building", function()
    local layer = L.Dense { 4, lora_rank = 2, lora_alpha = 8 }
    layer:build { tide.none, 3 }
    assert.is_true(layer.lora_enabled)
    assert.same({ { 3, 4 }, { 4 }, { 3, 2 }, { 2, 4 } }, { layer.weights[1].shape:totable(),
      layer.weights[2].shape:totable(), layer.weights[3].shape:totable(),
      layer.weights[4].shape:totable() })
    local config = layer:get_config()
    assert.same({ 2, 8 }, { config.lora_rank, config.lora_alpha })
    assert.is_nil(L.Dense({ 4 }):get_config().lora_rank)
  end)

  it("takes initializers of both factors", function()
    local layer = L.Embedding { 5, 3 }
    layer:build { tide.none, 2 }
    layer:enable_lora(2, { lora_alpha = 6, a_initializer = "ones", b_initializer = "ones" })
    local was = layer.embeddings[{ 2 }]
    local y = layer(tide.tensor({ { 2, 5 } }, { dtype = "int32" }))
    near((was + 6):tolist(), y[{ 1, 1 }]:detach(), 1e-6, "row")
  end)

  it("computes in the half of a mixed policy, the factors in float32", function()
    for _, dtype in ipairs { "mixed_bfloat16", "bfloat16" } do
      local layer = L.Dense { 4, dtype = dtype }
      layer:build { tide.none, 8 }
      layer:enable_lora(2, { b_initializer = "ones" })
      local x = tide.ones { 2, 8 }
      local y = layer(x)
      assert.equal("bfloat16", y.dtype)
      assert.equal("float32", layer.lora_kernel_a.dtype)
      local sum = tide.ops.cast(layer.kernel, "float32")
        + layer.lora_kernel_a:matmul(layer.lora_kernel_b)
      near(x:matmul(sum):tolist(), tide.ops.cast(y, "float32"):detach(), 0.05, dtype)
    end
  end)

  it("follows weights that change, outside of recording too", function()
    local layer = L.Dense { 2, use_bias = false }
    layer:build { tide.none, 2 }
    layer:enable_lora(1)
    layer:set_weights { { { 1, 2 }, { 3, 4 } }, { { 1 }, { 1 } }, { { 0, 0 } } }
    local x = tide.ones { 1, 2 }
    tide.no_grad(function()
      assert.same({ { 4, 6 } }, layer(x):tolist())
      layer.lora_kernel_b:assign { { 1, 2 } }
      assert.same({ { 6, 10 } }, layer(x):tolist())
      layer.kernel:assign { { 0, 0 }, { 0, 0 } }
      assert.same({ { 2, 4 } }, layer(x):tolist())
    end)
  end)

  it("keeps float64 weights as they are", function()
    local dense = L.Dense { 4, dtype = "float64" }
    local x = tide.random.normal({ 3, 5 }, { dtype = "float64" })
    local before = dense(x):tolist()
    dense:enable_lora(2)
    assert.same(before, dense(x):tolist())
  end)

  it("computes on after a scope in which it was called", function()
    local dense = L.Dense { 4 }
    local x = tide.ones { 2, 3 }
    local before = dense(x):tolist()
    dense:enable_lora(2)
    tide.no_grad(function()
      do
        local _ <close> = tide.scope()
        dense(x)
      end
      assert.same(before, dense(x):tolist())
    end)
  end)

  it("serves the projections of attention that are named", function()
    local layer = L.MultiHeadAttention { 2, 3 }
    layer:build({ tide.none, 5, 4 }, { tide.none, 5, 4 })
    layer:enable_lora(2)
    assert.is_true(layer.query_dense.lora_enabled)
    assert.is_false(layer.key_dense.lora_enabled)
    assert.is_true(layer.value_dense.lora_enabled)
    layer:enable_lora(1, { parts = { "output" }, lora_alpha = 4 })
    assert.same({ 1, 4 }, { layer.output_dense.lora_rank, layer.output_dense.lora_alpha })
    assert.error_matches(function() layer:enable_lora(1, { parts = { "gate" } }) end,
      "enable_lora: parts names no projection")
  end)

  it("refuses what cannot have it", function()
    local layer = L.Dense { 4 }
    assert.error_matches(function() layer:enable_lora(2) end, "has no weights yet")
    layer:build { tide.none, 3 }
    assert.error_matches(function() layer:enable_lora(0) end, "rank must be")
    layer:enable_lora(2)
    assert.error_matches(function() layer:enable_lora(2) end, "has LoRA already %(of rank 2%)")
    local bound = L.Dense { 4, kernel_constraint = "non_neg" }
    bound:build { tide.none, 3 }
    assert.error_matches(function() bound:enable_lora(2) end, "has a kernel_constraint")
    local early = L.Dense { 4, kernel_constraint = "non_neg", lora_rank = 2 }
    assert.error_matches(function() early:build { tide.none, 3 } end, "has a kernel_constraint")
  end)
end)

describe("files of models with LoRA", function()
  local function temporary(extension)
    return os.tmpname() .. extension
  end

  for name, file in pairs { dense = "lora_dense", conv2d = "lora_conv" } do
    it("Keras' files of " .. name .. " give what they give in Keras", function()
      local row = reference[name]
      local x = data(row)
      local merged = tide.load_model(folder .. file .. ".keras")
      near(row.loaded, merged(x), 2e-5, ".keras")
      -- Keras' Dense forgets its lora_alpha here, its convolutions keep it
      assert.same({ 2, row.alpha }, { first(merged).lora_rank, first(merged).lora_alpha })
      assert.equal(0, tide.ops.max(tide.ops.abs(first(merged).lora_kernel_b)):item())
      assert.is_true(tide.ops.max(tide.ops.abs(first(merged).lora_kernel_a)):item() > 0)
      near(row.after, tide.load_model(folder .. file .. ".h5")(x), 2e-5, ".h5")
      local m = prepared(name)
      m:load_weights(folder .. file .. ".weights.h5")
      near(row.loaded, m(x), 2e-5, ".weights.h5")
    end)

    it("those that Tide writes of " .. name .. " hold what Keras' hold", function()
      local m, _, row = prepared(name)
      m:set_weights(row.end_)
      local keras = require "tide.saving.keras"
      for _, extension in ipairs { ".weights.h5", ".h5" } do
        local path = temporary(extension)
        if extension == ".h5" then m:save(path) else m:save_weights(path) end
        local function by_name(p)
          local out = {}
          for _, e in ipairs((keras.read_hdf5(p))) do
            local key = e.name:gsub("conv2d_%d+", "conv2d"):gsub("dense_(%d+)", "dense")
            if not key:find "optimizer" then
              out[#out + 1] = e.tensor
            end
          end
          return out
        end
        local want, got = by_name(folder .. file .. extension), by_name(path)
        os.remove(path)
        assert.equal(#want, #got)
        for i = 1, #want do
          near(want[i]:tolist(), got[i], 2e-5, extension .. " " .. i)
        end
      end
    end)
  end

  it("hold the sum (.keras), or weight and factors (.safetensors)", function()
    local m, _, row = prepared "einsum_dense"
    local x = data(row)
    local want = m(x):tolist()
    for extension, parts in pairs { [".keras"] = false, [".safetensors"] = true } do
      local path = temporary(extension)
      m:save(path)
      local again = tide.load_model(path)
      os.remove(path)
      near(want, again(x), 1e-5, extension)
      local b = tide.ops.max(tide.ops.abs(first(again).lora_kernel_b)):item()
      assert.equal(parts, b > 0)
      assert.equal(1, first(again).lora_alpha)
    end
  end)

  it("know of the projections of attention that have it", function()
    local m, _, row = prepared "attention"
    local x = data(row)
    local path = temporary ".safetensors"
    m:compile { optimizer = "adam", loss = "mse" }
    m:fit(x, tide.tensor(row.y), { verbose = 0 })
    local want = m(x):tolist()
    m:save(path)
    local again = tide.load_model(path)
    os.remove(path)
    near(want, again(x), 1e-6, "result")
    assert.equal(1, again.optimizer.iterations)
  end)

  it("hold the factors alone, for a model without them too", function()
    local m, _, row = prepared "conv2d"
    local x, path = data(row), temporary ".safetensors"
    m:save_lora_weights(path)
    assert.error_matches(function() m:save_lora_weights(path, { overwrite = false }) end,
      "exists already")
    local other = makers.conv2d()
    other:set_weights { row.start[1], row.start[2], row.start[5], row.start[6] }
    other:load_lora_weights(path)
    assert.equal(row.alpha, first(other).lora_alpha)
    near(row.out, other(x), 1e-5, "result")
    local before = first(m).lora_kernel_b:tolist()
    first(m).lora_kernel_b:assign(tide.ops.zeros_like(first(m).lora_kernel_b))
    m:load_lora_weights(path)
    assert.same(before, first(m).lora_kernel_b:tolist())
    local dense = makers.dense()
    assert.error_matches(function() dense:load_lora_weights(path) end, "does not fit")
    assert.error_matches(function() dense:save_lora_weights(path) end, "no layer of .* has LoRA")
    assert.error_matches(function() m:save_lora_weights "x.h5" end, "must end in .safetensors")
    local larger = makers.conv2d()
    first(larger):enable_lora(3)
    assert.error_matches(function() larger:load_lora_weights(path) end,
      "LoRA of another rank %(expected 3, got 2%)")
    larger:save_weights(path)
    assert.error_matches(function() m:load_lora_weights(path) end, "holds no factors of LoRA")
    os.remove(path)
  end)
end)

-- Models whose weights are float16 or bfloat16. Sums are float32's, slots and masters too, so that
-- training follows float32's run as closely as the format allows. The values of the step are
-- PyTorch's (2.15, CPU, modules of the dtype, no autocast).
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, layers, optimizers = tide.ops, tide.layers, tide.optimizers

local halves = { "float16", "bfloat16" }

local function half(x, dtype, grad)
  return tide.tensor(x, { dtype = dtype, requires_grad = grad })
end

local function wide(x)
  return x:cast "float64"
end

-- The numbers (i * step) % size + first, over scale, in rows.
local function pattern(rows, cols, step, size, first, scale)
  local out = {}
  for i = 1, rows do
    out[i] = {}
    for j = 1, cols do
      out[i][j] = (((i - 1) * cols + j - 1) * step % size + first) / scale
    end
  end
  return out
end

describe("a step in half precision", function()
  it("has PyTorch's results and gradients", function()
    local want = {
      float16 = {
        y = { { -0.0181884765625, 0.041900634765625 }, { -0.1634521484375, 0.2117919921875 },
          { 0.560546875, -0.1807861328125 }, { -0.120361328125, 0.1561279296875 } },
        loss = 0.1356201171875,
        w1 = {
          { 0.0093231201171875, 0.00176239013671875, 0.000606536865234375, -0.0132293701171875 },
          { 0.03619384765625, -0.04693603515625, -0.020263671875, 0.0005245208740234375 },
          { 0.026275634765625, -0.033721923828125, -0.0156707763671875, -0.00077056884765625 },
        },
        b1 = { -0.03973388671875, 0.05279541015625, 0.018402099609375, -0.00518035888671875 },
        w2 = { { -0.10760498046875, -0.06427001953125 }, { 0.0921630859375, 0.029296875 },
          { -0.030426025390625, 0.0218048095703125 }, { 0.1331787109375, 0.037506103515625 } },
        b2 = { 0.189697265625, 0.057342529296875 },
      },
      bfloat16 = {
        y = { { -0.017822265625, 0.041015625 }, { -0.1640625, 0.2119140625 },
          { 0.55859375, -0.1806640625 }, { -0.12060546875, 0.15625 } },
        loss = 0.1357421875,
        w1 = { { 0.00927734375, 0.0015869140625, 0.000457763671875, -0.0133056640625 },
          { 0.0361328125, -0.046875, -0.0201416015625, 0.0006256103515625 },
          { 0.0262451171875, -0.03369140625, -0.015625, -0.000701904296875 } },
        b1 = { -0.03955078125, 0.052734375, 0.018310546875, -0.00531005859375 },
        w2 = { { -0.107421875, -0.064453125 }, { 0.09228515625, 0.0294189453125 },
          { -0.030517578125, 0.02197265625 }, { 0.1337890625, 0.037353515625 } },
        b2 = { 0.189453125, 0.05712890625 },
      },
    }
    for _, d in ipairs(halves) do
      local x, t = half(pattern(4, 3, 1, 7, -3, 4), d), half(pattern(4, 2, 3, 5, -2, 4), d)
      local w1 = half(pattern(3, 4, 5, 11, -5, 8), d, true)
      local w2 = half(pattern(4, 2, 3, 7, -3, 8), d, true)
      local b1, b2 = half({ -1 / 16, 0, 1 / 16, 1 / 8 }, d, true), half({ 0, 1 / 8 }, d, true)
      local y = ops.matmul((ops.matmul(x, w1) + b1):tanh(), w2) + b2
      local loss = ops.mean(ops.square(y - t))
      loss:backward()
      -- two roundings of values below 1/2, since here each op rounds once
      local atol = d == "float16" and 2 ^ -11 or 2 ^ -8
      expect.close(wide(y), want[d].y, atol, 0)
      expect.close(wide(loss), want[d].loss, atol, 0)
      for name, g in pairs { w1 = w1.grad, b1 = b1.grad, w2 = w2.grad, b2 = b2.grad } do
        assert.equal(d, g.dtype)
        expect.close(wide(g), want[d][name], atol, 0, name)
      end
    end
  end)
end)

describe("an optimizer of half parameters", function()
  local made = {
    SGD = { 0.1 },
    Momentum = { 0.1, momentum = 0.9, nesterov = true, of = "SGD" },
    Adam = { 0.01 },
    Amsgrad = { 0.01, amsgrad = true, of = "Adam" },
    AdamW = { 0.01 },
    RMSprop = { 0.01, momentum = 0.5, centered = true },
    Adagrad = { 0.1 },
    Adamax = { 0.01 },
    Nadam = { 0.01 },
    Adadelta = { 1 },
    Lion = { 0.01 },
    Ftrl = { 0.1 },
    Clipped = { 0.01, global_clipnorm = 0.5, weight_decay = 0.1, of = "Adam" },
    Averaged = { 0.1, use_ema = true, ema_overwrite_frequency = 3, of = "SGD" },
    Gathered = { 0.1, gradient_accumulation_steps = 2, of = "SGD" },
  }

  it("steps as in float32, and rounds", function()
    for name, options in pairs(made) do
      local class = optimizers[options.of or name]
      options.of = nil
      for _, d in ipairs(halves) do
        local whole = tide.tensor({ { 1, -2 }, { 0.5, 3 } }, { requires_grad = true })
        local small = half({ { 1, -2 }, { 0.5, 3 } }, d, true)
        local a, b = class(options), class(options)
        for step = 1, 7 do
          local g = { { 0.25 * step, -0.5 }, { 1 / 64, step % 2 == 0 and 2 or -1 } }
          a:apply({ tide.tensor(g) }, { whole })
          b:apply({ half(g, d) }, { small })
          assert.equal(d, small.dtype)
          expect.close(wide(small), wide(whole:cast(d)), 0, 0, name .. " " .. d)
        end
      end
    end
  end)

  it("loses no step that is smaller than the spacing of the weights", function()
    for _, d in ipairs(halves) do
      local w = half({ 1 }, d, true)
      local sgd = optimizers.SGD { 1e-4 }
      for _ = 1, 100 do
        sgd:apply({ half({ 1 }, d) }, { w })
      end
      expect.close(wide(w), wide(half({ 0.99 }, d)), 0, 0)
    end
  end)

  it("follows what somebody else writes to them", function()
    for _, d in ipairs(halves) do
      local w = half({ 1, 2 }, d, true)
      local sgd = optimizers.SGD { 1e-4 }
      sgd:apply({ half({ 1, 1 }, d) }, { w })
      w:assign(half({ 4, 2 }, d))
      for _ = 1, 9 do
        sgd:apply({ half({ 1, 1 }, d) }, { w })
      end
      -- the second element stood at the value assigned, so its master goes on
      expect.close(wide(w), wide(half({ 4 - 9e-4, 2 - 1e-3 }, d)), 0, 0)
    end
  end)
end)

local function mlp(d)
  tide.seed(7)
  local model = tide.Sequential {
    layers.Dense { 32, activation = "relu", input_shape = { 10 }, dtype = d },
    layers.Dense { 3, dtype = d },
  }
  local x = tide.random.normal { 128, 10 }
  return model, x, ops.argmax(x[{ {}, { 1, 3 } }], { axis = 2 })
end

local function cnn(d)
  tide.seed(7)
  local model = tide.Sequential {
    tide.Input { { 12, 12, 1 }, dtype = d },
    layers.Conv2D { 8, 3, activation = "relu", dtype = d },
    layers.BatchNormalization { dtype = d },
    layers.MaxPooling2D { dtype = d },
    layers.Conv2D { 8, 3, use_bias = false, dtype = d },
    layers.BatchNormalization { dtype = d },
    layers.Activation { "relu", dtype = d },
    layers.Dropout { 0.1, dtype = d },
    layers.GlobalAveragePooling2D { dtype = d },
    layers.LayerNormalization { dtype = d },
    layers.Dense { 3, dtype = d },
  }
  local x = tide.random.normal { 64, 12, 12, 1 }
  local thirds = {}
  for i = 1, 3 do
    thirds[i] = ops.mean(x[{ {}, { 4 * i - 3, 4 * i } }], { axis = { 2, 3, 4 } })
  end
  return model, x, ops.argmax(ops.stack(thirds, { axis = 2 }), { axis = 2 })
end

local function losses_of(make, d)
  local model, x, y = make(d)
  local loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true }
  model:compile { optimizer = optimizers.Adam { 0.01 }, loss = loss }
  local history = model:fit(x, y, { epochs = 5, batch_size = 32, verbose = 0, shuffle = false })
  return history.history.loss, model, x, y
end

describe("a model in half precision", function()
  it("trains as in float32: a perceptron and a small convolutional network", function()
    for _, make in ipairs { mlp, cnn } do
      local want = losses_of(make, "float32")
      assert.is_true(want[5] < 0.9 * want[1])
      for _, d in ipairs(halves) do
        local got, model, x = losses_of(make, d)
        -- from seed to seed float16 is off by up to 0.8% after five epochs, whatever the engine
        expect.close(got, want, 0, d == "float16" and 0.01 or 0.02)
        for _, w in ipairs(model.trainable_weights) do
          assert.equal(d, w.dtype)
        end
        for _, w in ipairs(model.non_trainable_weights) do
          assert.equal("float32", w.dtype) -- running statistics
        end
        assert.equal(d, model:predict(x, { verbose = 0 }).dtype)
      end
    end
  end)

  it("goes on from a file with the masters it had", function()
    for _, d in ipairs(halves) do
      local _, model, x, y = losses_of(mlp, d)
      local path = os.tmpname() .. ".safetensors"
      model:save(path)
      local again = tide.load_model(path)
      os.remove(path)
      for _, m in ipairs { model, again } do
        m:fit(x, y, { epochs = 2, batch_size = 32, verbose = 0, shuffle = false })
      end
      for i, w in ipairs(model.weights) do
        assert.equal(w:tobytes(), again.weights[i]:tobytes())
      end
    end
  end)
end)

describe("random numbers in half precision", function()
  it("are float32's, rounded, and keep off the upper limit", function()
    for _, d in ipairs(halves) do
      for _, name in ipairs { "normal", "truncated_normal" } do
        local got = tide.random[name]({ 1000 }, { seed = 3, dtype = d })
        expect.close(wide(got), wide(tide.random[name]({ 1000 }, { seed = 3 }):cast(d)), 0, 0)
      end
      local u = tide.random.uniform({ 20000 }, { seed = 3, dtype = d })
      assert.equal(d, u.dtype)
      assert.is_true(wide(u):max():item() < 1)
      assert.is_true(wide(u):min():item() >= 0)
    end
  end)
end)

describe("the tape of a model in half precision", function()
  local kinds = {
    convolutional = {
      { 32, 16, 16, 3 },
      function(d)
        return {
          layers.Conv2D { 8, 3, activation = "relu", padding = "same", dtype = d },
          layers.BatchNormalization { dtype = d },
          layers.MaxPooling2D { 2, dtype = d },
          layers.Conv2D { 16, 3, activation = "gelu", padding = "same", dtype = d },
          layers.LayerNormalization { dtype = d },
          layers.Dropout { 0.25, dtype = d },
          layers.Flatten { dtype = d },
          layers.Dense { 10, activation = "softmax", dtype = d },
        }
      end,
    },
    dense = {
      { 256, 64 },
      function(d)
        return {
          layers.Dense { 256, activation = "relu", dtype = d },
          layers.LayerNormalization { dtype = d },
          layers.Dense { 256, activation = "gelu", dtype = d },
          layers.Dense { 10, activation = "softmax", dtype = d },
        }
      end,
    },
  }
  -- Bytes that live when a forward pass has been recorded, beyond those before it.
  local function recorded(kind, d)
    local shape, made = kind[1], kind[2](d)
    local model, x = tide.Sequential(made), tide.zeros(shape):cast(d)
    model(x)
    collectgarbage()
    collectgarbage()
    local before = tide.memory().live_bytes
    local y = model(x, { training = true })
    collectgarbage()
    collectgarbage()
    assert.equal(d, y.dtype)
    return tide.memory().live_bytes - before
  end

  it("holds half of the bytes of float32's", function()
    for name, kind in pairs(kinds) do
      local whole = recorded(kind, "float32")
      for _, d in ipairs(halves) do
        local share = recorded(kind, d) / whole
        assert.is_true(share < 0.52, name .. " " .. d .. ": " .. share)
      end
    end
  end)
end)

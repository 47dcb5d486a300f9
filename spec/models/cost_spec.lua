-- summary { batch }: what is foreseen beside what the allocator measures, and multiply-accumulates
-- beside PyTorch's count (spec/ref/macs.py).
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local L = tide.layers
local S = require "tide.private"

local function quiet() end

local function clean()
  collectgarbage()
  collectgarbage()
  core.memory_trim()
  return core.memory().live_bytes
end

local function compiled(model, optimizer, loss)
  model:compile { optimizer = optimizer, loss = loss }
  return model
end

-- name -> how to make the model, shape of a sample, outputs, batch
local models = {
  mlp = { function()
    return compiled(tide.Sequential { tide.Input { 784 }, L.Dense { 256, activation = "relu" },
      L.Dropout(0.2), L.Dense { 128, activation = "tanh" }, L.Dense { 10 } }, "adam", "mse")
  end, { 784 }, 10, 256 },
  cnn = { function()
    return compiled(tide.Sequential { tide.Input { 24, 24, 3 },
      L.Conv2D { 16, 3, activation = "relu" }, L.MaxPooling2D(),
      L.Conv2D { 32, 3, activation = "relu" }, L.BatchNormalization(), L.MaxPooling2D(),
      L.Flatten(), L.Dense { 10 } }, "adam", "mse")
  end, { 24, 24, 3 }, 10, 64 },
  lstm = { function()
    return compiled(tide.Sequential { tide.Input { 40, 16 }, L.LSTM { 32, return_sequences = true },
      L.LSTM(32), L.Dense(10) }, "rmsprop", "mse")
  end, { 40, 16 }, 10, 64 },
  gru = { function()
    return compiled(tide.Sequential { tide.Input { 40, 16 }, L.GRU(48), L.Dense(10) },
      "sgd", "mse")
  end, { 40, 16 }, 10, 64 },
  transformer = { function()
    local x = tide.Input { 48, 64 }
    local h = L.TransformerEncoder { 128, 4, dropout = 0.1 }(x)
    h = L.TransformerEncoder { 128, 4 }(h)
    return compiled(tide.Model { inputs = x,
      outputs = L.Dense(10)(L.GlobalAveragePooling1D()(h)) }, "adamw", "mse")
  end, { 48, 64 }, 10, 32 },
  residual = { function()
    local x = tide.Input { 20, 20, 16 }
    local h = x
    for _ = 1, 3 do
      local k = L.Conv2D { 16, 3, padding = "same", use_bias = false }(h)
      h = L.Add() { h, L.ReLU()(L.BatchNormalization()(k)) }
    end
    return compiled(tide.Model { inputs = x,
      outputs = L.Dense(10)(L.GlobalAveragePooling2D()(h)) }, { "sgd", momentum = 0.9 }, "mse")
  end, { 20, 20, 16 }, 10, 64 },
  own = { function()
    local Own = tide.Model:extend("CostOwn", {
      init = function(self) self.a, self.b = L.Dense { 300, activation = "gelu" }, L.Dense(10) end,
      call = function(self, x) return self.b(tide.ops.sin(self.a(x))) end })
    local model = Own()
    model(tide.ones { 1, 64 })
    return compiled(model, "adam", "mse")
  end, { 64 }, 10, 400 },
}

describe("model:summary { batch }", function()
  for name, case in pairs(models) do
    it("foresees within 10% what training and predicting take: " .. name, function()
      local make, shape, outputs, batch = table.unpack(case)
      make() -- what only a first model makes
      local before = clean()
      local model = make()
      rawset(model, "run_eagerly", true) -- a plan takes less
      local costs = model:summary { batch = batch, print_fn = quiet }
      local x = tide.random.normal { batch, table.unpack(shape) }
      clean()
      core.memory_reset_peak()
      for _ = 1, 3 do
        model:predict_on_batch(x)
        core.step_end()
      end
      local predicted = core.memory().peak_bytes - before
      local y = tide.random.normal { batch, outputs }
      clean()
      core.memory_reset_peak()
      for _ = 1, 4 do
        model:train_on_batch(x, y)
        core.step_end()
      end
      local trained = core.memory().peak_bytes - before
      expect.close(costs.training, trained, 4096, 0.1)
      -- a product of an engine may lay a weight out anew
      local largest = 0
      for _, w in ipairs(model.weights) do
        largest = math.max(largest, w.nbytes)
      end
      assert.is_true(costs.prediction >= 0.9 * (predicted - largest) - 4096, name)
      assert.is_true(costs.prediction <= 1.1 * predicted + 4096, name)
      assert.is_true(costs.training > costs.prediction)
    end)
  end

  it("serves layers of all kinds", function()
    local cases = require "spec.support.layer_cases"
    for i = 1, #cases, 23 do
      local row = cases[i]
      local layer, shapes = row[3](L), row[4]
      local several, inputs = type(shapes[1]) == "table", {}
      for k, shape in ipairs(several and shapes or { shapes }) do
        inputs[k] = tide.Input { shape = table.move(shape, 2, #shape, 1, {}),
          dtype = row[5].ids and "int32" or "float32" }
      end
      local x = several and inputs or inputs[1]
      local model = tide.Model { inputs = x, outputs = layer(x) }
      local ok, e = pcall(model.summary, model, { batch = 3, print_fn = quiet })
      assert.is_true(ok, row[1] .. ": " .. tostring(e))
    end
  end)

  it("counts multiply-accumulates as PyTorch does", function()
    local ref = {}
    for _, row in ipairs(require "spec.ref.macs") do
      ref[row.name] = row
    end
    local x = tide.Input { 12, 24 }
    for name, model in pairs {
      mlp = tide.Sequential { tide.Input { 30 }, L.Dense { 50, activation = "relu" }, L.Dense(7) },
      cnn = tide.Sequential { tide.Input { 16, 16, 3 }, L.Conv2D { 8, 3, activation = "relu" },
        L.MaxPooling2D(), L.Conv2D { 16, 3, strides = 2, padding = "same", groups = 2 },
        L.Flatten(), L.Dense(10) },
      attention = tide.Model { inputs = x, outputs = L.MultiHeadAttention { 4, 8 }(x, x) },
    } do
      local row = ref[name]
      assert.equal(row.macs, model:summary({ batch = row.batch, print_fn = quiet }).macs, name)
    end
    local lstm = tide.Sequential { tide.Input { 5, 3 }, L.LSTM(4) }
    assert.equal(2 * 5 * (3 + 4) * 16, lstm:summary({ batch = 2, print_fn = quiet }).macs)
  end)

  it("tells of each layer what it computes and keeps", function()
    local model = tide.Sequential { tide.Input { 32 }, L.Dense(64), L.Flatten(), L.Dense(16) }
    local costs = model:summary { batch = 256, print_fn = quiet }
    local a, flat, b = table.unpack(model.layers)
    assert.equal(256 * 32 * 64, costs.layers[a].macs)
    assert.equal(256 * 64 * 4, costs.layers[a].activations)
    assert.equal(0, costs.layers[flat].activations)
    assert.equal(256 * 16 * 4, costs.layers[b].activations)
    assert.equal(256 * (64 + 16) * 4, costs.activations)
    assert.equal(256 * (32 + 64 + 16) * 4, costs.layers[b].peak)
    local text = {}
    model:summary { batch = 256, print_fn = function(line) text[#text + 1] = line end }
    text = table.concat(text, "\n")
    expect.has(text, "524,288")
    expect.has(text, "For a batch of 256: 786,432 multiply-accumulates, 80.00 KB kept")
    expect.has(text, "Peak memory: training ")
  end)

  it("changes nothing: no weights, no states, no compiled parts, no random numbers", function()
    local model = models.cnn[1]()
    local T = model[S].training
    local weights, generator = {}, { core.generator() }
    for i, w in ipairs(model:get_weights()) do
      weights[i] = w:tobytes()
    end
    local live = clean()
    model:summary { batch = 8, print_fn = quiet }
    assert.same(generator, { core.generator() })
    for i, w in ipairs(model:get_weights()) do
      assert.equal(weights[i], w:tobytes())
    end
    assert.is_false(model.optimizer.built)
    assert.is_false(T.loss.built)
    assert.equal("cpu", tide.ones({ 1 }).device)
    assert.is_true(math.abs(clean() - live) < 4096)
    assert.equal(0, core.memory("meta").live_bytes)
    model:fit(tide.ones { 4, 24, 24, 3 }, tide.ones { 4, 10 }, { verbose = 0 })
  end)

  it("asks for what it cannot know", function()
    local Own = tide.Model:extend("CostUnbuilt", { call = function(_, x) return x end })
    local model = Own()
    expect.has(expect.message(model.summary, model, { batch = 3 }), "is not built yet")
    assert.equal(0, model:summary({ batch = 3, shape = { 3, 4 }, print_fn = quiet }).macs)
    model = tide.Sequential { L.Dense(5), L.Dense(3) }
    assert.equal((4 * 5 + 5 * 3 + 8) * 4 > 0, model:summary({ batch = 2, shape = { 2, 4 },
      print_fn = quiet }).weights > 0)
    assert.is_false(model.built)
    model = tide.Sequential { tide.Input { tide.none, 4 }, L.LSTM(2) }
    expect.has(expect.message(model.summary, model, { batch = 3 }), "size 2 of the input")
    assert.equal(3 * 7 * 6 * 8, model:summary({ batch = 3, shape = { 3, 7, 4 },
      print_fn = quiet }).macs)
    expect.has(expect.message(model.summary, model, { batches = 3 }), "did you mean 'batch'?")
  end)
end)

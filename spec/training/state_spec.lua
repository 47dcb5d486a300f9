--- What a training step reads and leaves: the sums of loss and metrics, and steps that a bad loss
--- leaves out.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local function captured(f)
  local said = {}
  local old = io.stderr
  io.stderr = { write = function(_, ...) -- luacheck: ignore
    said[#said + 1] = table.concat { ... }
  end }
  local ok, e = pcall(f)
  io.stderr = old -- luacheck: ignore
  assert(ok, e)
  return table.concat(said)
end

describe("the sums of loss and metrics", function()
  it("are read when shown: a step on a device reads nothing", function()
    local _ <close> = tide.device "test"
    local m = tide.Sequential { tide.Input { 3 }, layers.Dense { 4, activation = "tanh" },
      layers.Dense { 2 } }
    m:compile { optimizer = "adam",
      loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true },
      metrics = { "accuracy", "sparse_categorical_crossentropy" } }
    local x = tide.random.normal { 48, 3 }
    local y = tide.tensor(ops.add(ops.cast(ops.greater(x[{ {}, 1 }], 0), "int32"), 1))
    local function reads(n)
      local before = core.device_info "test".copies_out
      m:fit(x[{ { 1, n } }], y[{ { 1, n } }], { verbose = 0, batch_size = 4, shuffle = false })
      return core.device_info "test".copies_out - before
    end
    reads(8)
    assert.equal(reads(8), reads(48))
  end)

  it("of thresholds are read when shown too, and NaNs are counted where they are", function()
    local _ <close> = tide.device "test"
    local auc, recall = tide.metrics.AUC { name = "auc" }, tide.metrics.Recall()
    local nan = 0 / 0
    local y, p = tide.tensor { 0, 1, 1, 0 }, tide.tensor { 0.1, 0.8, nan, 0.6 }
    auc:update_state(y, p)
    recall:update_state(y, p)
    local before = core.device_info "test".copies_out
    auc:update_state(y, p)
    recall:update_state(y, p)
    assert.equal(before, core.device_info "test".copies_out)
    local said = captured(function()
      assert.equal(1, auc:result()) -- of 0.1, 0.8 and 0.6
      assert.equal(1, recall:result())
      auc:result()
    end)
    assert.matches("^tide: auc: 2 of 8 scores are NaN; they do not count\ntide: recall", said)
  end)

  it("are exact to the last bit of float64", function()
    -- 1000 times a float32 is none: sums of a batch were rounded to one
    local values = tide.full({ 1000 }, 0.1, { dtype = "float32" })
    local one = values[1]
    local mean, sum = tide.metrics.Mean(), tide.metrics.Sum()
    mean:update_state(values)
    sum:update_state(values)
    assert.equal(one, mean:result())
    assert.is_true(math.abs(sum:result() - 1000 * one) < 1e-12)
    mean:update_state(values, tide.full({ 1000 }, 2))
    mean:update_state(2)
    mean:update_state(4, 5)
    assert.is_true(math.abs(mean:result() - (3000 * one + 22) / 3006) < 1e-15)
    mean:reset_state()
    assert.equal(0, mean:result())
    mean:update_state(tide.tensor({ true, false, true, true }))
    assert.equal(0.75, mean:result())
    mean:update_state(tide.tensor({ 1, 2 }, { dtype = "float16" }))
    assert.equal(1, mean:result())
    local long = tide.ones { 100001 }
    sum:reset_state()
    sum:update_state(long)
    assert.equal(100001, sum:result())
  end)

  it("give hinge its targets without looking", function()
    local hinge = tide.losses.Hinge()
    -- 1 - t p for t = -1, 1: Keras
    expect.close(hinge({ { 0, 1 } }, { { 0.5, 0.25 } }), (1.5 + 0.75) / 2)
    expect.close(hinge({ { -1, 1 } }, { { 0.5, 0.25 } }), (1.5 + 0.75) / 2)
    expect.close(hinge({ { 2, 1 } }, { { 0.5, 0.25 } }), (0 + 0.75) / 2)
  end)
end)

describe("a loss that is NaN or infinite", function()
  local function model(optimizer, o)
    local m = tide.Sequential { tide.Input { 2 },
      layers.Dense { 1, kernel_initializer = "ones" } }
    m:compile { optimizer = optimizer(o or {}), loss = "mse" }
    return m
  end
  local good = { { { 1, 2 } }, { { -1, 3 } }, { { 2, 0.5 } }, { { 0.25, -1 } } }
  local target = tide.tensor { { 0.5 } }

  -- What training on these batches leaves: weights, slots, count of steps.
  local function left(m, batches)
    for _, b in ipairs(batches) do
      m:train_on_batch(tide.tensor(b), target)
    end
    local out = { iterations = m.optimizer.iterations }
    for i, w in ipairs(m.weights) do
      out[i] = w:tolist()
    end
    for _, s in ipairs(m.optimizer:_state()) do
      out[#out + 1] = s.tensor:tolist()
    end
    return out
  end

  for _, name in ipairs { "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "Nadam",
    "Adadelta", "Lion", "Ftrl" } do
    for label, o in pairs { plain = {}, clipped = { global_clipnorm = 1 }, averaged = {
      use_ema = true }, accumulated = { gradient_accumulation_steps = 2 } } do
      it(("leaves weights, slots and counts of %s (%s) as if it had not been"):format(name, label),
        function()
          local optimizer = tide.optimizers[name]
          local bad = { { 0 / 0, 1 } }
          local inf = { { math.huge, 1 } }
          local said = captured(function()
            assert.same(left(model(optimizer, o), good),
              left(model(optimizer, o), { bad, good[1], inf, bad, good[2], good[3], bad, good[4],
                bad }))
          end)
          expect.has(said, "tide: the loss of a batch is nan; its step is not applied\n")
        end)
    end
  end

  it("is left out in the middle of an epoch too, and rows of tables that lag with it", function()
    local function embedded()
      local input = tide.Input { 1, dtype = "int32" }
      local scale = tide.Input { 1 }
      local e = layers.Flatten()(layers.Embedding { 3000, 8,
        embeddings_initializer = tide.initializers.RandomUniform { seed = 3 } }(input))
      local m = tide.Model { inputs = { input, scale },
        outputs = layers.Multiply() { layers.Dense { 1, kernel_initializer = "ones" }(e), scale } }
      m:compile { optimizer = tide.optimizers.Adam { 0.1 }, loss = "mse" }
      return m
    end
    local ids = tide.tensor({ { 1 }, { 2 }, { 3 }, { 2 }, { 1 }, { 4 } }, { dtype = "int32" })
    local fine = tide.ones { 6, 1 }
    local m, n = embedded(), embedded()
    m:fit({ ids, fine }, fine, { batch_size = 1, shuffle = false, verbose = 0, epochs = 2 })
    local with_bad = tide.tensor({ { 1 }, { 2 }, { 9 }, { 3 }, { 2 }, { 1 }, { 9 }, { 4 } },
      { dtype = "int32" })
    local scale = tide.tensor { { 1 }, { 1 }, { 0 / 0 }, { 1 }, { 1 }, { 1 }, { math.huge }, { 1 } }
    captured(function()
      n:fit({ with_bad, scale }, tide.ones { 8, 1 },
        { batch_size = 1, shuffle = false, verbose = 0, epochs = 2 })
    end)
    assert.equal(12, n.optimizer.iterations)
    for i, w in ipairs(m.weights) do
      assert.same(w:tolist(), n.weights[i]:tolist())
    end
  end)

  it("is said once a fit, and iterations are right whenever they are read", function()
    local m = model(tide.optimizers.SGD)
    local x = tide.tensor { good[1][1], { 0 / 0, 1 }, good[2][1], { math.huge, 1 }, good[3][1] }
    local seen = {}
    local said = captured(function()
      m:fit(x, tide.zeros { 5, 1 }, { batch_size = 1, shuffle = false, verbose = 0, epochs = 2,
        callbacks = { { on_train_batch_end = function() seen[#seen + 1] = m.optimizer.iterations
        end } } })
    end)
    assert.equal("tide: the loss of a batch is nan; its step is not applied\n", said)
    assert.same({ 1, 1, 2, 2, 3, 4, 4, 5, 5, 6 }, seen)
    assert.equal(6, m.optimizer.iterations)
    said = captured(function()
      m:fit(x[{ { 3, 4 } }], tide.zeros { 2, 1 }, { batch_size = 1, shuffle = false, verbose = 0 })
    end)
    assert.matches("the loss of a batch is inf; its step is not applied", said)
    assert.equal(7, m.optimizer.iterations)
  end)

  it("counts once where a callback evaluates in the middle", function()
    local m = model(tide.optimizers.Adam)
    local x = tide.tensor { good[1][1], { 0 / 0, 1 }, good[2][1] }
    captured(function()
      m:fit(x, tide.zeros { 3, 1 }, { batch_size = 1, shuffle = false, verbose = 0, callbacks = {
        { on_train_batch_end = function()
          m:evaluate(tide.ones { 2, 2 }, tide.ones { 2, 1 }, { verbose = 0 })
        end } } })
    end)
    assert.equal(2, m.optimizer.iterations)
    m:evaluate(tide.tensor { { 0 / 0, 1 } }, tide.ones { 1, 1 }, { verbose = 0 })
    assert.equal(2, m.optimizer.iterations)
  end)
end)

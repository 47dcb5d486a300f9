-- model:find_lr and model:find_batch_size. The losses of the range test are those of real Keras,
-- step by step (spec/ref/surgery.py).
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local L = tide.layers
local ref = {}
for _, row in ipairs(require "spec.ref.surgery") do
  ref[row.name] = row
end

local function sequential()
  return tide.Sequential { tide.Input { 3 }, L.Dense { 4, activation = "relu" }, L.Dense(2) }
end

local function functional()
  local x = tide.Input { 3 }
  local h = L.Dense { 4, activation = "tanh" }(x)
  local block = tide.Sequential { tide.Input { 4 }, L.Dense(5), L.Dense(4) }
  return tide.Model { inputs = x, outputs = L.Dense(2)(L.Add() { h, block(h) }) }
end

-- Everything by which a fit could differ.
local function state(model)
  local out = { generator = { core.generator() }, weights = {}, slots = {} }
  for i, w in ipairs(model:get_weights()) do
    out.weights[i] = w:tobytes()
  end
  out.built = model.optimizer.built
  for i, s in ipairs(model.optimizer:_state()) do
    out.slots[i] = s.tensor:tobytes()
  end
  out.iterations, out.rate = model.optimizer.iterations, model.optimizer._rate
  return out
end

describe("model:find_lr", function()
  for name, case in pairs {
    sgd = { sequential, "sgd", "mse", 1e-4, 10, 60, 6, 0.98 },
    adam = { functional, "adam", "mae", 1e-6, 1, 40, 8, 0.9 },
  } do
    it("sees the losses that Keras sees, and suggests the same rate: " .. name, function()
      local row, model = ref[name], case[1]()
      model:set_weights(row.weights)
      model:compile { optimizer = case[2], loss = case[3] }
      local found = model:find_lr(row.x, row.y, { min_lr = case[4], max_lr = case[5],
        steps = case[6], batch_size = case[7], smoothing = case[8], shuffle = false, verbose = 0 })
      assert.equal(#row.losses, #found.loss)
      expect.close(found.loss:totable(), row.losses, 1e-5, 1e-3)
      expect.close(found.smoothed:totable(), row.smoothed, 1e-5, 1e-3)
      expect.close(found.lr:totable(), row.rates, 0, 1e-6)
      expect.close(found.suggestion, row.suggestion, 0, 1e-6)
    end)
  end

  it("leaves model, optimizer and random numbers as they were, bit for bit", function()
    local x, y = tide.random.normal { 40, 3 }, tide.random.normal { 40, 2 }
    local model = tide.Sequential { tide.Input { 3 }, L.Dense(4), L.BatchNormalization(),
      L.Dropout(0.5), L.Dense(2) }
    model:compile { optimizer = tide.optimizers.Adam { 0.01, use_ema = true }, loss = "mse",
      metrics = { "mae" } }
    model:fit(x, y, { epochs = 2, verbose = 0 })
    local before = state(model)
    model:find_lr(x, y, { steps = 30, batch_size = 8, verbose = 0 })
    assert.same(before, state(model))
  end)

  it("leaves a model unbuilt, and a fit that follows as it would have been", function()
    local x, y = tide.random.normal { 40, 3 }, tide.random.normal { 40, 2 }
    local function make()
      tide.seed(5)
      local model = tide.Sequential { L.Dense(4), L.Dropout(0.5), L.Dense(2) }
      model:compile { optimizer = { "adam", learning_rate = tide.optimizers.schedules
        .ExponentialDecay { 0.1, 10, 0.9 } }, loss = "mse" }
      return model
    end
    local tried, other = make(), make()
    tide.seed(9)
    tried:find_lr(x, y, { steps = 12, verbose = 0 })
    assert.is_false(tried.built)
    assert.equal(0, #tried.weights)
    local a = tried:fit(x, y, { epochs = 3, verbose = 0 })
    tide.seed(9)
    assert.is_true(a.loss == other:fit(x, y, { epochs = 3, verbose = 0 }).loss)
    for i, w in ipairs(tried:get_weights()) do
      assert.equal(other:get_weights()[i]:tobytes(), w:tobytes())
    end
  end)

  local O = tide.optimizers
  for name, make in pairs {
    schedule = function() return O.SGD { O.schedules.CosineDecay { 0.1, 100 } } end,
    scaled = function() return O.LossScaleOptimizer { O.Adam(0.01) } end,
    accumulating = function() return O.Adam { 0.01, gradient_accumulation_steps = 3 } end,
    averaging = function() return O.Adam { 0.01, use_ema = true, ema_overwrite_frequency = 4 } end,
    Lookahead = function() return O.Lookahead { "adam" } end,
    LBFGS = function() return O.LBFGS { 0.5 } end,
    Muon = function() return O.Muon(0.01) end,
    Adafactor = function() return O.Adafactor(0.01) end,
    ScheduleFreeAdamW = function() return O.ScheduleFreeAdamW(0.01) end,
    groups = function() return O.Adam { 0.01, groups = { { "bias", learning_rate = 0.1 } } } end,
  } do
    it("puts every kind of optimizer back, as do the other trials: " .. name, function()
      tide.seed(3) -- a sweep of LBFGS over other data may end at its first rate
      local x, y = tide.random.normal { 24, 3 }, tide.random.normal { 24, 2 }
      local model = tide.Sequential { tide.Input { 3 }, L.Dense(4), L.BatchNormalization(),
        L.Dropout(0.3), L.Dense(2) }
      model:compile { optimizer = make(), loss = "mse" }
      model:fit(x, y, { epochs = 2, batch_size = 8, verbose = 0 })
      local before = state(model)
      assert.truthy(#model:find_lr(x, y, { steps = 15, batch_size = 8, verbose = 0 }).lr > 1)
      assert.same(before, state(model))
      assert.equal(8, (model:find_batch_size(x, y, { max = 8 })))
      model:summary { batch = 8, print_fn = function() end }
      assert.same(before, state(model))
      model:fit(x, y, { batch_size = 8, verbose = 0 })
    end)
  end

  it("serves steps of one's own, with all that they change", function()
    local Own = tide.Model:extend("FindLrOwn", {
      init = function(self)
        self.dense, self.count, self.other = L.Dense(2), 0, tide.optimizers.Adam(0.1)
        self.tracker = tide.metrics.Mean { name = "loss_of_mine" }
      end,
      call = function(self, x) return self.dense(x) end,
      train_step = function(self, x, y)
        self.count = self.count + 1
        local loss, grads = tide.value_and_grad(function()
          return ((self(x, { training = true }) - y) ^ 2):mean()
        end, self.trainable_weights)
        self.optimizer:apply(grads, self.trainable_weights)
        self.other:apply(grads, self.trainable_weights)
        self.tracker:update_state(loss)
        return { loss_of_mine = self.tracker:result() }
      end })
    local model = Own()
    model(tide.ones { 1, 3 })
    model:compile { optimizer = "sgd", loss = "mse" }
    local before = state(model)
    local x, y = tide.random.normal { 40, 3 }, tide.random.normal { 40, 2 }
    before.generator = { core.generator() }
    local found = model:find_lr(x, y, { steps = 20, monitor = "loss_of_mine", verbose = 0 })
    assert.is_true(#found.loss > 2)
    assert.same(before, state(model))
    assert.equal(0, model.count)
    assert.is_false(model.other.built)
    expect.has(expect.message(model.find_lr, model, x, y,
      { steps = 5, monitor = "los", verbose = 0 }), "the logs have no number 'los'")
    assert.same(before, state(model))
  end)

  it("takes data sources, plots, and ends where the loss or the data do", function()
    local x, y = tide.random.normal { 40, 3 }, tide.random.normal { 40, 2 }
    local model = sequential()
    model:compile { optimizer = "sgd", loss = "mse" }
    local i = 0
    local found = model:find_lr(function()
      i = i + 1
      if i <= 7 then
        return x, y
      end
    end, { verbose = 0 })
    assert.equal(7, #found.lr)
    assert.equal("the data ended", found.stopped)
    found = model:find_lr(x, y, { min_lr = 1e-3, max_lr = 1e6, steps = 60, verbose = 0 })
    assert.is_true(#found.lr < 60)
    assert.truthy(found.suggestion)
    assert.truthy(tostring(found:plot()):find "smoothed")
    local path = os.tmpname() .. ".svg"
    assert.equal(path, found:plot { file = path })
    os.remove(path)
    assert.truthy(tostring(found):find "falls fastest")
  end)

  it("refuses what cannot be tried", function()
    local model = sequential()
    expect.has(expect.message(model.find_lr, model, tide.ones { 2, 3 }, tide.ones { 2, 2 }),
      "is not compiled")
    model:compile { optimizer = "sgd", loss = "mse" }
    expect.has(expect.message(model.find_lr, model, tide.ones { 2, 3 }, tide.ones { 2, 2 },
      { min_lr = 1, max_lr = 0.1 }), "max_lr must be larger than min_lr (got 0.1")
    expect.has(expect.message(model.find_lr, model, tide.ones { 2, 3 }, tide.ones { 2, 2 },
      { step = 3 }), "unknown option 'step'; did you mean 'steps'?")
  end)
end)

describe("model:find_batch_size", function()
  local function make()
    local model = tide.Sequential { tide.Input { 64 }, L.Dense { 256, activation = "relu" },
      L.Dropout(0.2), L.BatchNormalization(), L.Dense(10) }
    model:compile { optimizer = "adam", loss = "mse" }
    return model
  end

  it("finds the largest batch that trains within a limit", function()
    local x, y = tide.random.normal { 64, 64 }, tide.random.normal { 64, 10 }
    local model = make()
    local before = state(model)
    local limit = core.memory().live_bytes + 4 * 2 ^ 20
    local n, report = model:find_batch_size(x, y, { memory = limit, max = 1e6 // 1 })
    assert.is_true(n > 64)
    assert.same(before, state(model))
    assert.is_true(report.peak <= limit)
    assert.equal(limit, report.limit)
    for _, t in ipairs(report.tried) do
      assert.equal(t.batch <= n, t.fits)
    end
    assert.equal(0, core.memory().limit_bytes)
    -- as fit sees it: somewhat fewer fit, twice as many do not
    local function trains(size)
      local m = make()
      collectgarbage()
      collectgarbage()
      core.memory_trim()
      core.memory_limit(limit // 1)
      local big_x, big_y = tide.zeros { size, 64 }, tide.zeros { size, 10 }
      local ok = pcall(m.fit, m, big_x, big_y, { batch_size = size, epochs = 3, verbose = 0 })
      core.memory_limit(0)
      return ok
    end
    assert.is_true(trains(n - n // 8))
    assert.is_false(trains(2 * n))
  end)

  it("stops at the samples there are, takes the limit that is set, and predictions", function()
    local x, y = tide.random.normal { 20, 64 }, tide.random.normal { 20, 10 }
    local model = make()
    assert.equal(20, (model:find_batch_size(x, y)))
    core.memory_limit(core.memory().live_bytes + 3 * 2 ^ 20)
    local _, report = model:find_batch_size(x, y, { max = 4 })
    assert.equal(core.memory().limit_bytes, report.limit)
    local trained = model:find_batch_size(x, y, { max = 1 << 11, steps = 2 })
    local predicted = model:find_batch_size(x, { training = false, max = 1 << 11, steps = 1 })
    core.memory_limit(0)
    assert.is_true(predicted > trained)
  end)

  it("says where nothing fits, and raises what is no lack of memory", function()
    local model = make()
    local x, y = tide.ones { 4, 64 }, tide.ones { 4, 10 }
    expect.has(expect.message(model.find_batch_size, model, x, y, { memory = 1000 }),
      "not even a batch of 1 fits")
    assert.equal(0, core.memory().limit_bytes)
    expect.has(expect.message(model.find_batch_size, model, tide.ones { 4, 63 }, y), "63")
    expect.has(expect.message(model.find_batch_size, model, x, y, { min = 5, max = 4 }),
      "max must be at least min")
  end)
end)

--- Strategies: what stands between gradients and the step, wherever the step is asked for.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local layers = tide.layers

-- Averages with gradients that another process would have sent, and counts.
local Pair = tide.distribute.Strategy:extend("SpecPair", {
  args = { "other" },
  init = function(self)
    self.calls, self.agreed = 0, 0
  end,
  reduce_gradients = function(self, grads, variables)
    assert(not core.grad_mode())
    self.calls = self.calls + 1
    self.shapes = {}
    local out = {}
    for i, g in ipairs(grads) do
      self.shapes[i] = tostring(variables[i].shape)
      out[i] = g and (g + self.other) / 2
    end
    return out
  end,
  agree = function(self, guard)
    self.agreed = self.agreed + 1
    self.bad = guard[2]
  end,
})

-- y = x w without bias, w = 1, 1; the loss of x = {1, 2} against 0 is 9, its gradient 2 * 3 * x =
-- {6, 12}.
local function model(spec)
  local c = spec and tide.Sequential:extend("SpecPairNet", spec) or tide.Sequential
  local m = c { tide.Input { 2 },
    layers.Dense { 1, use_bias = false, kernel_initializer = "ones" } }
  m:compile { optimizer = tide.optimizers.SGD { 0.1 }, loss = "mse" }
  m.optimizer.strategy = Pair { other = 4 }
  return m
end
local x, y = tide.tensor { { 1, 2 } }, tide.zeros { 1, 1 }

local function kernel(m) return m.layers[1].kernel end

describe("a strategy", function()
  it("is asked in fit, train_on_batch and where gradients are applied by hand", function()
    local m = model()
    m:fit(x, y, { verbose = 0 })
    expect.close(kernel(m), { { 0.5 }, { 0.2 } }) -- 1 - 0.1 (6 + 4) / 2, 1 - 0.1 (12 + 4) / 2
    assert.same({ 1, 1, 0 }, { m.optimizer.strategy.calls, m.optimizer.strategy.agreed,
      m.optimizer.strategy.bad })
    assert.same({ "[2, 1]" }, m.optimizer.strategy.shapes)
    m = model()
    m:train_on_batch(x, y)
    expect.close(kernel(m), { { 0.5 }, { 0.2 } })
    assert.equal(1, m.optimizer.strategy.calls)

    m = model()
    local w = kernel(m)
    local _, grads = tide.value_and_grad(function() return (m(x) * m(x)):sum() end, { w })
    m.optimizer:apply(grads, { w })
    expect.close(w, { { 0.5 }, { 0.2 } })
    m.optimizer:apply_gradients { { tide.tensor { { 6 }, { 12 } }, w } }
    expect.close(w, { { 0 }, { -0.6 } })
    assert.equal(2, m.optimizer.strategy.calls)
  end)

  it("is asked in training steps of one's own", function()
    local m = model { train_step = function(self, a, b)
      local w = self.trainable_weights
      local loss, grads = tide.value_and_grad(function()
        return ((self(a) - b) * (self(a) - b)):sum()
      end, w)
      self.optimizer:apply(grads, w)
      return { loss = loss }
    end }
    m:fit(x, y, { verbose = 0, epochs = 2 })
    assert.equal(2, m.optimizer.strategy.calls)
    expect.close(kernel(m), { { 0.5 - 0.05 * (2 * 0.9 + 4) }, { 0.2 - 0.05 * (4 * 0.9 + 4) } })
  end)

  it("sees the sums where gradients are accumulated, once per step", function()
    local m = model()
    m:compile { optimizer = tide.optimizers.SGD { 0.1, gradient_accumulation_steps = 2 },
      loss = "mse" }
    local s = Pair { other = 4 }
    m.optimizer.strategy = s
    m:fit(tide.tensor { { 1, 2 }, { 1, 2 } }, tide.zeros { 2, 1 }, { verbose = 0, batch_size = 1 })
    assert.equal(1, s.calls)
    -- (12 + 4) / 2 / 2 and (24 + 4) / 2 / 2
    expect.close(kernel(m), { { 1 - 0.1 * 4 }, { 1 - 0.1 * 7 } })
  end)

  it("lets a step that another process leaves out be left out here too", function()
    local m = model()
    function m.optimizer.strategy.agree(_, guard)
      guard[2] = 1
      guard[1] = guard[1] + 1
    end
    m:train_on_batch(x, y) -- says so
    expect.close(kernel(m), { { 1 }, { 1 } })
    assert.equal(0, m.optimizer.iterations)
  end)

  it("is the default's until set, and gradients of tables are dense for it", function()
    local s = Pair { other = 0 }
    local was = tide.distribute.set_strategy(s)
    assert.equal(s, tide.distribute.get_strategy())
    local m = tide.Sequential { tide.Input { 1, dtype = "int32" },
      layers.Embedding { 3, 2, embeddings_initializer = "zeros" } }
    m:compile { optimizer = tide.optimizers.SGD { 1.0 }, loss = "mse" }
    local ok, why = pcall(m.fit, m, tide.tensor({ { 2 } }, { dtype = "int32" }),
      tide.ones { 1, 1, 2 }, { verbose = 0 })
    tide.distribute.set_strategy(was)
    assert(ok, why)
    assert.equal(1, s.calls)
    -- the gradient of a place is 2 (0 - 1) / 2, halved
    expect.close(m.layers[1].embeddings, { { 0, 0 }, { 0.5, 0.5 }, { 0, 0 } })
    assert.equal("Strategy", tostring(was))
  end)

  it("says what it did wrong", function()
    local function fails(says, what)
      local m = model()
      m.optimizer.strategy = what
      local ok, why = pcall(m.train_on_batch, m, x, y)
      assert.is_false(ok)
      expect.has(tostring(why), says)
    end
    fails("expected an object with reduce_gradients, got 3", 3)
    fails("expected a list of 1, got one of 0", { reduce_gradients = function() return {} end,
      agree = function() end })
    fails("entry 1: got false", { reduce_gradients = function() return { false } end,
      agree = function() end })
    local ok, why = pcall(tide.distribute.set_strategy, {})
    assert.is_false(ok)
    expect.has(tostring(why), "set_strategy: takes a strategy")
  end)
end)

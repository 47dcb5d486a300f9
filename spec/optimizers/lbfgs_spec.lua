local expect = require "spec.support.expect"
local tide = require "tide"
local ops, LBFGS = tide.ops, tide.optimizers.LBFGS

local peer = {}
for _, run in ipairs(require("spec.ref.torch_optimizers")[1].minima) do
  peer[run.name] = run
end

-- Rosenbrock's function in four variables: the first three, and those that follow them.
local function pick(from)
  local rows = {}
  for i = 1, 3 do
    rows[i] = { 0, 0, 0, 0 }
    rows[i][i + from] = 1
  end
  return tide.tensor(rows, { dtype = "float64" })
end
local A, B = pick(0), pick(1)
local function rosenbrock()
  local x = tide.tensor({ -1.2, 1.0, -0.5, 0.8 }, { dtype = "float64", requires_grad = true })
  local calls = 0
  return x, function()
    calls = calls + 1
    local a, b = ops.matmul(A, x), ops.matmul(B, x)
    return ops.sum((b - a ^ 2) ^ 2 * 100 + (a * -1 + 1) ^ 2)
  end, function() return calls end
end

describe("tide.optimizers.LBFGS", function()
  for name, options in pairs {
    wolfe = { line_search_fn = "strong_wolfe", max_iter = 4 },
    ["short history"] = { line_search_fn = "strong_wolfe", max_iter = 3, history_size = 2 },
    ["fixed rate"] = { 0.002, max_iter = 5 },
    whole = { line_search_fn = "strong_wolfe", max_iter = 20 },
  } do
    it("goes PyTorch's way on Rosenbrock's function: " .. name, function()
      local x, f, calls = rosenbrock()
      local o = LBFGS(options)
      for k, want in ipairs(peer[name].points) do
        expect.close(o:step(f, { x }), peer[name].losses[k], 1e-8, 1e-5, "loss, step " .. k)
        expect.close(x, want, 1e-6, 1e-5, "step " .. k)
        assert.equal(peer[name].evaluations[k], calls())
      end
    end)
  end

  it("takes several variables, and leaves those without a gradient", function()
    local a = tide.tensor({ { 3.0, -2.0 }, { 1.0, 5.0 } }, { requires_grad = true })
    local b = tide.tensor({ 4.0 }, { requires_grad = true })
    local c = tide.tensor({ 7.0 }, { requires_grad = true })
    local o = LBFGS { line_search_fn = "strong_wolfe" }
    for _ = 1, 3 do
      o:step(function() return ops.sum((a - 1) ^ 2) + ops.sum((b + 2) ^ 4) end, { a, b, c })
    end
    expect.close(a, { { 1, 1 }, { 1, 1 } }, 1e-4)
    expect.close(b, { -2 }, 0.05)
    assert.same({ 7.0 }, c:tolist())
  end)

  local function net()
    tide.seed(4)
    local m = tide.Sequential { tide.Input { 3 }, tide.layers.Dense { 4, activation = "tanh" },
      tide.layers.Dense { 1 } }
    m:compile { LBFGS { line_search_fn = "strong_wolfe", max_iter = 3, history_size = 5 }, "mse" }
    return m
  end
  local x, y = expect.numbers({ 12, 3 }, 1), expect.numbers({ 12, 1 }, 2)

  it("steps in fit as it does by hand", function()
    local m, other = net(), net()
    local losses = m:fit(x, y, { batch_size = 12, epochs = 4, shuffle = false, verbose = 0 }).loss
    local o = other.optimizer
    for k = 1, 4 do
      local loss = o:step(function()
        return ops.mean((other(x) - y) ^ 2)
      end, other.trainable_weights)
      expect.close(losses[k], loss, 1e-7)
    end
    for i, w in ipairs(m.weights) do
      expect.close(w, other.weights[i]:tolist(), 1e-6)
    end
    assert.is_true(losses[4] < 0.8 * losses[1])
    assert.equal(m.optimizer.iterations, o.iterations)
  end)

  it("is not shared by several processes", function()
    local m = net()
    m.optimizer.strategy = tide.distribute.Strategy:extend("SpecAlone", {
      agree = function() end, reduce = function(_, grads) return grads end })()
    assert.error_matches(function() m:train_on_batch(x, y) end, "cannot be shared by several")
  end)

  it("goes on from files with equal bits", function()
    local m = net()
    m:fit(x, y, { batch_size = 6, epochs = 2, verbose = 0 })
    local others = { net() }
    others[1]:set_weights(m:get_weights())
    others[1].optimizer:build(others[1].trainable_weights)
    others[1].optimizer:set_weights(m.optimizer.variables)
    for _, ending in ipairs { ".keras", ".safetensors", ".h5" } do
      local path = expect.name(ending)
      m:save(path)
      others[#others + 1] = tide.load_model(path)
      os.remove(path)
    end
    for _ = 1, 3 do
      m:train_on_batch(x, y)
      for _, other in ipairs(others) do
        other:train_on_batch(x, y)
      end
    end
    for _, other in ipairs(others) do
      for k, w in ipairs(m.weights) do
        assert.same(w:tolist(), other.weights[k]:tolist())
      end
      assert.equal(m.optimizer.iterations, other.optimizer.iterations)
    end
    local o = net().optimizer
    o:build(m.trainable_weights)
    assert.error_matches(function() o:set_weights { 1, 2, 3 } end, "expected 2 or 7, got 3")
    local variables = m.optimizer.variables:totable()
    variables[3] = tide.zeros { 2, 3 }
    assert.error_matches(function() o:set_weights(variables) end, "expected changes of shape")
  end)

  it("leaves what is frozen between steps as it is, and goes on", function()
    tide.seed(1)
    local model = tide.Sequential { tide.Input { 6 }, tide.layers.Dense { 8, activation = "tanh" },
      tide.layers.Dense { 3 } }
    model:compile { optimizer = LBFGS { max_iter = 3 }, loss = "mse" }
    local data, wanted = tide.random.normal { 8, 6 }, tide.random.normal { 8, 3 }
    local loss = model:train_on_batch(data, wanted)
    for i = 1, 2 do
      model.layers[i].trainable = false
      local before = ops.copy(model.layers[i].kernel)
      local less = model:train_on_batch(data, wanted)
      assert.is_true(less < loss)
      assert.is_true(ops.all(before:equal(model.layers[i].kernel)))
      loss, model.layers[i].trainable = less, true
    end
    assert.is_true(model:train_on_batch(data, wanted) < loss)
  end)

  it("says what it needs", function()
    local w = tide.tensor({ 1.0 }, { requires_grad = true })
    local o = LBFGS()
    assert.error_matches(function() o:step(function() return w end) end, "needs the variables")
    assert.error_matches(function() o:step(function() return 3 end, { w }) end,
      "must return a loss that depends")
    assert.error_matches(function() o:apply({ w }, { w }) end, "optimizer:step")
    assert.error_matches(function()
      o:step(function() return w * tide.ones { 2 } end, { w })
    end, "must return one number")
    assert.error_matches(function() tide.optimizers.Lookahead { LBFGS() } end,
      "LBFGS cannot stand inside")
    assert.error_matches(function()
      tide.optimizers.MultiOptimizer { function() return o end }:build { w }
    end, "LBFGS cannot stand inside")
    assert.same(o:get_config(), tide.optimizers.get({ class_name = "LBFGS",
      config = o:get_config() }):get_config())
  end)
end)

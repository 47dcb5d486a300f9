local expect = require "spec.support.expect"
local tide = require "tide"
local optimizers, layers = tide.optimizers, tide.layers

local given = require("spec.ref.optimizers")[1]
local beside = require("spec.ref.torch_optimizers")[1]
local PATHS = { { path = "kernel" }, { path = "bias" } }

local function start()
  return { tide.tensor(given.start[1]), tide.tensor(given.start[2]) }
end

local function net(policy)
  tide.seed(1)
  local o = { dtype = policy }
  return tide.Sequential { tide.Input { 3 },
    layers.Dense { 4, activation = "tanh", name = "a", dtype = o.dtype },
    layers.Dense { 2, name = "b", dtype = o.dtype } }
end

local x, y = tide.ones { 8, 3 }, tide.ones { 8, 2 }

describe("tide.optimizers.LossScaleOptimizer", function()
  it("scales, skips and doubles as Keras does", function()
    local o, plain = optimizers.LossScaleOptimizer { optimizers.Adam { 0.05 }, 1024, 3 },
      optimizers.Adam { 0.05 }
    local vs, ws = start(), start()
    o:build(vs, PATHS)
    -- Keras: halved at each step that is not finite, doubled after 3 that are
    local want = { 1024, 1024, 2048, 1024, 1024, 1024, 2048, 1024, 512, 512 }
    for k = 1, 10 do
      local bad = k == 4 or k >= 8 and k < 10
      local scale = o:scale_loss(tide.tensor(1.0)):item()
      local g, raw = {}, {}
      for i = 1, 2 do
        raw[i] = tide.tensor(given.grads[k][i])
        g[i] = raw[i] * scale
      end
      if bad then
        g[2] = g[2] * (k == 8 and math.huge or 0 / 0)
      else
        plain:apply(raw, ws)
      end
      o:apply(g, vs)
      assert.equal(want[k], o.dynamic_scale)
      assert.same(ws[1]:tolist(), vs[1]:tolist())
    end
    assert.equal(7, o.iterations)
    assert.equal(1, o.step_counter)
  end)

  it("is what compile makes of the optimizer under mixed_float16", function()
    local model = net "mixed_float16"
    model:compile { "sgd", "mse" }
    assert.equal("LossScaleOptimizer", getmetatable(model.optimizer).__name)
    assert.equal("loss_scale_optimizer", model.optimizer.name)
    assert.equal("SGD", model:get_compile_config().optimizer.class_name)
    model:train_on_batch(x, y)
    assert.equal(1, model.optimizer.iterations)
    model.optimizer.learning_rate = 0.25
    assert.equal(0.25, model.optimizer.learning_rate)
    -- gradients beyond float16's range
    model.optimizer.dynamic_scale = 2.0 ^ 30
    local before = model:get_weights()[1]:tolist()
    model:train_on_batch(x, y)
    assert.equal(2.0 ^ 29, model.optimizer.dynamic_scale)
    assert.same(before, model:get_weights()[1]:tolist())
    for _, ending in ipairs { ".keras", ".safetensors" } do
      local path = expect.name(ending)
      model:save(path)
      local again = tide.load_model(path)
      os.remove(path)
      assert.equal(2.0 ^ 29, again.optimizer.dynamic_scale)
      assert.equal(1, again.optimizer.iterations)
    end
    model:compile { optimizer = "sgd", loss = "mse", auto_scale_loss = false }
    assert.equal("SGD", getmetatable(model.optimizer).__name)
    model = net "mixed_bfloat16"
    model:compile { "sgd", "mse" }
    assert.equal("SGD", getmetatable(model.optimizer).__name)
  end)
end)

describe("tide.optimizers.Lookahead", function()
  it("follows its paper for 20 steps", function()
    local o = optimizers.Lookahead { optimizers.SGD { 0.1, momentum = 0.9 }, 5 }
    local vs = start()
    for k, g in ipairs(given.grads) do
      o:apply({ tide.tensor(g[1]), tide.tensor(g[2]) }, vs)
      for i = 1, 2 do
        expect.close(vs[i], beside.lookahead.values[k][i], 5e-6, 2e-6, "step " .. k)
      end
    end
  end)
end)

describe("tide.optimizers.MultiOptimizer", function()
  local map = optimizers.OptimizerMap

  it("steps each parameter by its own optimizer", function()
    local by_map = map { optimizers.SGD { 0.1 }, { ["ker.*"] = optimizers.Adam { 0.05 } } }
    local sgd, adam = optimizers.SGD { 0.1 }, optimizers.Adam { 0.05 }
    local function choose(path)
      return path == "kernel" and adam or sgd
    end
    for _, chosen in ipairs { by_map, choose } do
      local o = optimizers.MultiOptimizer { chosen }
      local vs, ws = start(), start()
      o:build(vs, PATHS)
      local one, two = optimizers.Adam { 0.05 }, optimizers.SGD { 0.1 }
      for _, g in ipairs(given.grads) do
        local a, b = tide.tensor(g[1]), tide.tensor(g[2])
        o:apply({ a, b }, vs)
        one:apply({ a }, { ws[1] })
        two:apply({ b }, { ws[2] })
      end
      assert.same(ws[1]:tolist(), vs[1]:tolist())
      assert.same(ws[2]:tolist(), vs[2]:tolist())
      assert.equal(20, o.iterations)
      assert.equal(2, #o:optimizers())
    end
  end)

  it("finds optimizers by whole paths", function()
    local adam, sgd, last = optimizers.Adam(), optimizers.SGD(), optimizers.RMSprop()
    local m = map { last, { ["encoder/layer_0/dense"] = adam, ["encoder/.*"] = sgd } }
    assert.equal(adam, m "encoder/layer_0/dense")
    assert.equal(sgd, m "encoder/layer_0/query")
    assert.equal(last, m "my_encoder/x")
    m:set("encoder/.*_1", adam)
    assert.error_matches(function() m "encoder/layer_1" end, "several patterns")
    assert.error_matches(function() m:set("encoder/.*", adam) end, "has an optimizer already")
    assert.error_matches(function() m:set("[", adam) end, "no regular expression")
  end)

  it("refuses what cannot be", function()
    local multi = optimizers.MultiOptimizer { map { "sgd" } }
    assert.error_matches(function() return multi.learning_rate end, "several learning rates")
    assert.error_matches(function() map { "sgd", { x = multi } } end, "cannot stand inside")
    assert.error_matches(function()
      optimizers.LossScaleOptimizer { optimizers.LossScaleOptimizer { "sgd" } }
    end, "cannot stand inside")
    assert.error_matches(function() optimizers.MultiOptimizer { 3 } end, "OptimizerMap or a func")
    assert.error_matches(function() optimizers.get(map { "sgd" }) end, "takes an optimizer")
  end)
end)

describe("optimizers that hold others", function()
  local makers = {
    function() return optimizers.LossScaleOptimizer { "adam", 1024, 3 } end,
    function()
      return optimizers.LossScaleOptimizer { optimizers.Lookahead { "adam", 2 }, 1024, 3 }
    end,
    function() return optimizers.Lookahead { optimizers.Nadam { 0.1 }, 2 } end,
    function()
      return optimizers.MultiOptimizer { optimizers.OptimizerMap {
        optimizers.SGD { 0.1, momentum = 0.9 }, { ["(.*/)?a/.*"] = optimizers.Adam { 0.01 } } } }
    end,
  }
  for i, make in ipairs(makers) do
    it("go on from files with equal bits, case " .. i, function()
      local model = net()
      model:compile { make(), "mse" }
      model:fit(x, y, { batch_size = 4, epochs = 2, verbose = 0 })
      local others = {}
      for _, ending in ipairs { ".keras", ".safetensors", ".h5" } do
        local path = expect.name(ending)
        model:save(path)
        others[#others + 1] = tide.load_model(path)
        os.remove(path)
      end
      for _ = 1, 3 do
        model:train_on_batch(x, y)
        for _, other in ipairs(others) do
          other:train_on_batch(x, y)
        end
      end
      for _, other in ipairs(others) do
        for k, w in ipairs(model.weights) do
          assert.same(w:tolist(), other.weights[k]:tolist())
        end
        assert.equal(#model.optimizer.variables, #other.optimizer.variables)
      end
      local again = make()
      again:build(model.trainable_weights, { { path = "a/kernel" }, { path = "a/bias" },
        { path = "b/kernel" }, { path = "b/bias" } })
      again:set_weights(model.optimizer.variables)
      assert.equal(model.optimizer.iterations, again.iterations)
    end)
  end
end)

-- Targets, weights and results of models with several outputs; the numbers are Keras' (3.15, JAX).
local expect = require "spec.support.expect"
local tide = require "tide"
local layers = tide.layers

local x = tide.arange(12):cast("float32"):reshape { 6, 2 } / 10
local y = tide.tensor { { 0 }, { 1 }, { 0 }, { 1 }, { 1 }, { 0 } }
local y2 = tide.arange(12):cast("float32"):reshape { 6, 2 } / 7

local function a(input)
  return layers.Dense { 1, activation = "sigmoid", name = "a", kernel_initializer = "ones" }(input)
end

local function one()
  local i = tide.Input { 2 }
  return tide.Model { i, a(i) }
end

local function two()
  local i = tide.Input { 2 }
  return tide.Model { i, { a(i), layers.Dense { 2, name = "b", kernel_initializer = "ones" }(i) } }
end

local function fit(model, targets, compile, options)
  compile.optimizer = { "sgd", learning_rate = 0.1 }
  model:compile(compile)
  local o = { batch_size = 2, shuffle = false, verbose = 0 }
  for k, v in pairs(options or {}) do
    o[k] = v
  end
  return model:fit(x, targets, o)
end

local function raises(text, ...)
  local ok, e = pcall(fit, ...)
  assert.is_false(ok)
  assert.truthy(tostring(e):find(text, 1, true), tostring(e))
end

describe("a model of two outputs", function()
  it("evaluates to loss, losses per output, then metrics by name", function()
    local model = two()
    fit(model, { y, y2 }, { loss = "mse", metrics = { { "mae", "acc" }, { "mse" } } })
    local values = { model:evaluate(x, { y, y2 }, { batch_size = 4, verbose = 0 }) }
    expect.close(values, { 0.34524, 0.29557, 0.04968, 0.5, 0.47902, 0.04968 }, 1e-5, 1e-4)
  end)

  it("takes the targets of those outputs alone that have a loss", function()
    local want = { tide.none, "mse" }
    expect.close(fit(two(), { y2 }, { loss = want }).loss[1], 0.11294, 1e-5, 1e-4)
    expect.close(fit(two(), y2, { loss = want }).loss[1], 0.11294, 1e-5, 1e-4)
    expect.close(fit(two(), { y, y2 }, { loss = want }).loss[1], 0.11294, 1e-5, 1e-4)
  end)

  it("takes sample weights of some outputs", function()
    local w = tide.arange(6):cast "float32"
    for _, given in ipairs { { w, tide.none }, { w, false }, { a = w } } do
      local h = fit(two(), { y, y2 }, { loss = "mse" }, { sample_weight = given })
      expect.close({ h.a_loss[1], h.b_loss[1] }, { 0.89096, 0.11294 }, 1e-5, 1e-4)
    end
    local h = fit(two(), { y2, y2 }, { loss = { tide.none, "mse" } },
      { sample_weight = { false, w } })
    local equal = fit(two(), { y2, y2 }, { loss = { tide.none, "mse" } },
      { sample_weight = { b = w } })
    assert.equal(equal.loss[1], h.loss[1])
  end)

  it("refuses parts that belong to no output", function()
    raises("y has 3 parts, the model 2 outputs", two(), { y, y2, y }, { loss = "mse" })
    raises("y has 1 part, the model 2 outputs", two(), { y }, { loss = "mse" })
    raises("y names the output 'c'", two(), { a = y, c = y2 }, { loss = "mse" })
    raises("sample_weight names the output 'c'", two(), { y, y2 }, { loss = "mse" },
      { sample_weight = { c = tide.ones { 6 } } })
    raises("sample_weight has 1 part", two(), { y, y2 }, { loss = "mse" },
      { sample_weight = { tide.ones { 6 } } })
    raises("needs a model with one output", two(), { y, y2 }, { loss = "mse" },
      { class_weight = { [1] = 2 } })
  end)

  it("tells a callback that less of an output's loss is better", function()
    local model = two()
    local stop = tide.callbacks.EarlyStopping { monitor = "val_b_loss", patience = 1 }
    fit(model, { y, y2 }, { loss = "mse" },
      { epochs = 2, validation_split = 0.5, callbacks = { stop } })
    assert.equal("number", type(stop.best))
  end)
end)

describe("a model of one output", function()
  it("evaluates to loss, then metrics in the order of compile", function()
    local model = one()
    fit(model, y, { loss = "bce", metrics = { "mse", "acc" } })
    expect.close({ model:evaluate(x, y, { verbose = 0 }) }, { 0.81882, 0.2899, 0.5 }, 1e-5, 1e-4)
  end)

  it("takes its targets in a list or by name, and no others", function()
    for _, targets in ipairs { { y }, { a = y } } do
      expect.close(fit(one(), targets, { loss = "bce" }).loss[1], 0.84149, 1e-5, 1e-4)
    end
    raises("y names the output 'z', which the model does not have; outputs are a", one(), { z = y },
      { loss = "bce" })
    raises("y has 2 parts, the model 1 output", one(), { y, y2 }, { loss = "bce" })
  end)

  it("refuses sample weights beside class weights, as Keras", function()
    raises("cannot both be given", one(), y, { loss = "bce" },
      { class_weight = { [1] = 2 }, sample_weight = tide.ones { 6 } })
  end)
end)

describe("errors of data", function()
  it("name the method that was called", function()
    local model = one()
    model:compile { optimizer = "sgd", loss = "mse" }
    for _, name in ipairs { "fit", "evaluate", "predict" } do
      local ok, e = pcall(model[name], model)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(name .. ": x is missing", 1, true), tostring(e))
    end
  end)

  it("refuse loss weights that are no numbers when the model is compiled", function()
    local ok, e = pcall(two().compile, two(), "adam", "mse", { "accuracy" })
    assert.is_false(ok)
    assert.truthy(tostring(e):find("loss_weights must be numbers (got 'accuracy')", 1, true),
      tostring(e))
  end)

  it("add up losses of several float dtypes and penalties of others, and step them all", function()
    for _, make in ipairs {
      function() return tide.optimizers.SGD { 0.01 } end,
      function() return tide.optimizers.Adam { 0.01, weight_decay = 0.1 } end,
      function() return tide.optimizers.SGD { 0.01, global_clipnorm = 1 } end,
      function() return tide.optimizers.Adam { 0.01, gradient_accumulation_steps = 2 } end,
      function() return tide.optimizers.SGD { 0.01, momentum = 0.9, use_ema = true } end,
      function() return tide.optimizers.LossScaleOptimizer { "sgd" } end,
    } do
      local function run(dtype)
        local input = tide.Input { 3 }
        local wide = layers.Dense { 1, dtype = dtype, kernel_initializer = "ones",
          kernel_regularizer = tide.regularizers.L2 { 0.5 } }(input)
        local narrow = layers.Dense { 1, kernel_initializer = "ones" }(input)
        local model = tide.Model { inputs = input, outputs = { wide, narrow } }
        model:compile { optimizer = make(), loss = "mse" }
        local target, loss = tide.zeros { 2, 1 }, nil
        for i = 1, 3 do
          loss = model:train_on_batch(tide.ones { 2, 3 }, { target, target })
          loss = type(loss) == "table" and loss[1] or loss
          if i == 1 then
            assert.near(9 + 9 + 0.5 * 3, loss, 1e-5)
          end
        end
        assert.equal(dtype, model.weights[1].dtype)
        return model, loss
      end
      local mixed, loss = run "float64"
      local plain, other = run "float32"
      assert.near(other, loss, 1e-4)
      for i, w in ipairs(plain.weights) do
        expect.close(mixed.weights[i]:cast "float32", w, 1e-5)
      end
    end
  end)
end)

local expect = require "spec.support.expect"
local tide = require "tide"
local optimizers = tide.optimizers
local schedules = optimizers.schedules

local rows = require "spec.ref.optimizers"
local given = rows[1]

local function start()
  return { tide.tensor(given.start[1], { requires_grad = true }),
    tide.tensor(given.start[2], { requires_grad = true }) }
end
local PATHS = { { path = "kernel" }, { path = "bias" } }

describe("tide.optimizers", function()
  for i = 2, #rows do
    local r = rows[i]
    it(("%s equals Keras for 12 steps, row %d"):format(r.optimizer, i), function()
      local o = optimizers[r.optimizer](r.args)
      local vs = start()
      if r.exclude then
        o:exclude_from_weight_decay(nil, r.exclude)
      end
      o:build(vs, PATHS)
      for k, g in ipairs(given.grads) do
        o:apply({ tide.tensor(g[1]), tide.tensor(g[2]) }, vs)
        -- Keras takes powers of beta in float32, which is worth some 1e-5 of a step
        expect.close(vs[1], r.values[k][1], 5e-6, 2e-6, "kernel, step " .. k)
        expect.close(vs[2], r.values[k][2], 5e-6, 2e-6, "bias, step " .. k)
      end
      if r.finalize then
        o:finalize_variable_values()
        expect.close(vs[1], r.values[13][1], 5e-6, 2e-6)
      end
      assert.equal(r.iterations, o.iterations)
    end)
  end

  it("has a row for every class", function()
    local seen = {}
    for i = 2, #rows do
      seen[rows[i].optimizer] = true
    end
    for _, name in ipairs(optimizers.class_names) do
      assert(seen[name], name .. " has no row in spec/ref/optimizers.py")
    end
  end)

  it("applies sparse gradients of embeddings as dense ones", function()
    for _, name in ipairs { "SGD", "Adam", "RMSprop", "Adagrad" } do
      local tables = {}
      for _, sparse in ipairs { true, false } do
        local t = tide.tensor({ { 1, 2 }, { 3, 4 }, { 5, 6 } },
          { dtype = "float32", requires_grad = true })
        local o = optimizers[name] { learning_rate = 0.1 }
        for step = 1, 4 do
          local ids = tide.tensor({ step % 3 + 1, 1 }, { dtype = "int64" })
          local loss = tide.ops.sum(tide.ops.embedding(t, ids) ^ 2)
          o:apply(require("tide.core").gradients(loss, { t }, { sparse = sparse }), { t })
        end
        tables[#tables + 1] = t:tolist()
      end
      expect.close(tables[1], tables[2], 1e-6, 1e-6, name)
    end
  end)

  it("takes optimizers of one's own", function()
    local Sign = optimizers.Optimizer:extend("Sign", {
      args = { { "learning_rate", 0.5 } },
      update_step = function(_, gradient, variable, rate)
        variable:copy_(variable - tide.ops.sign(gradient) * rate)
      end,
    })
    local v = tide.tensor({ 1.0, 2.0 }, { requires_grad = true })
    Sign():apply({ tide.tensor { 3.0, -1.0 } }, { v })
    expect.close(v, { 0.5, 2.5 })
  end)

  -- A model whose table has gradients by rows; `ids` of a batch.
  local layers = tide.layers
  local function table_model(optimizer)
    tide.seed(1)
    local model = tide.Sequential { tide.Input { 2, dtype = "int32" }, layers.Embedding { 10, 3 },
      layers.Flatten(), layers.Dense { 1 } }
    model:compile { optimizer = optimizer, loss = "mse" }
    return model
  end
  local function ids(a, b)
    return tide.tensor({ { a, b } }, { dtype = "int32" })
  end
  local one = tide.tensor { { 1 } }

  for _, name in ipairs(optimizers.class_names) do
    it(name .. " goes on from a file with the rows that had gradients before", function()
      local path = os.tmpname()
      local model = table_model { name, learning_rate = 0.1 }
      for _ = 1, 3 do
        model:train_on_batch(ids(1, 2), one)
      end
      local others = {}
      for i, ending in ipairs { ".safetensors", ".keras" } do
        model:save(path .. ending)
        others[i] = tide.load_model(path .. ending)
        os.remove(path .. ending)
      end
      os.remove(path)
      for _ = 1, 3 do
        model:train_on_batch(ids(4, 5), one)
        for _, other in ipairs(others) do
          other:train_on_batch(ids(4, 5), one)
        end
      end
      for _, other in ipairs(others) do
        assert.same(model.layers[1].embeddings:tolist(), other.layers[1].embeddings:tolist())
      end
    end)
  end

  it("keeps rows moving that had a dense gradient before sparse ones", function()
    local results = {}
    for k, sparse in ipairs { true, false } do
      local t = tide.ones({ 6, 2 }, { requires_grad = true })
      local o = optimizers.Adam { 0.1 }
      for step = 1, 4 do
        local at = step == 1 and { 1, 2, 3 } or { 5 }
        local loss = tide.ops.sum(tide.ops.embedding(t, tide.tensor(at, { dtype = "int64" })))
        o:apply(require("tide.core").gradients(loss, { t }, { sparse = sparse and step > 1 }),
          { t })
      end
      results[k] = t:tolist()
    end
    assert.same(results[2], results[1])
  end)

  it("lets update_step of a class that extends Adam take the place of Adam's step", function()
    local Still = optimizers.Adam:extend("Still", {
      update_step = function(_, gradient, variable, rate, slots)
        slots.momentum:copy_(gradient)
        variable:copy_(variable - gradient * rate)
      end,
    })
    local model = table_model(Still { 1 })
    local before = model.layers[1].embeddings:tolist()
    model:train_on_batch(ids(1, 2), one)
    local after = model.layers[1].embeddings:tolist()
    assert.same(before[3], after[3])
    assert.not_same(before[1], after[1])
    local v = tide.tensor { 1.0, 2.0 }
    Still { 0.5 }:apply({ tide.tensor { 2.0, -2.0 } }, { v })
    expect.close(v, { 0, 3 })
  end)

  it("skips parameters without a gradient and refuses when none has one", function()
    local vs = start()
    local o = optimizers.SGD { learning_rate = 1 }
    o:apply({ false, tide.tensor { 1, 1, 1, 1 } }, vs)
    expect.close(vs[1], given.start[1])
    expect.close(vs[2], { given.start[2][1] - 1, given.start[2][2] - 1, given.start[2][3] - 1,
      given.start[2][4] - 1 })
    assert.error_matches(function()
      o:apply({ false, false }, vs)
    end, "no gradient for any parameter")
    assert.error_matches(function() o:apply { false } end,
      "one gradient per parameter %(expected 2, got 1%)")
    assert.error_matches(function()
      o:apply({ tide.tensor(1.0) }, { tide.tensor(1.0) })
    end, "is not one of those")
  end)

  it("has a learning rate that can be read and set, unless a schedule gives it", function()
    local o = optimizers.Adam()
    expect.close(o.learning_rate, 0.001)
    o.learning_rate = 0.5
    expect.close(o.learning_rate, 0.5)
    assert.error_matches(function() o.learning_rate = "fast" end, "learning_rate must be a number")
    assert.error_matches(function() o.iterations = 3 end, "cannot be assigned")
    o = optimizers.SGD { schedules.ExponentialDecay { 1.0, 10, 0.5 } }
    assert.error_matches(function() o.learning_rate = 0.1 end, "cannot be set")
    o = optimizers.SGD { function() return 0.25 end }
    expect.close(o.learning_rate, 0.25)
  end)

  it("refuses options that contradict each other", function()
    assert.error_matches(function()
      optimizers.SGD { clipnorm = 1, clipvalue = 1 }
    end, "only one of clipnorm")
    assert.error_matches(function() optimizers.SGD { momentum = 2 } end, "from 0 to 1")
    assert.error_matches(function()
      optimizers.SGD { gradient_accumulation_steps = 1 }
    end, "at least 2")
    assert.error_matches(function() optimizers.AdamW { weight_decay = false } end, "weight_decay")
    assert.error_matches(function() optimizers.get "adma" end, "did you mean 'adam'")
  end)

  it("gives its state as variables and takes it back", function()
    local function train(o, vs, from, to)
      for k = from, to do
        o:apply({ tide.tensor(given.grads[k][1]), tide.tensor(given.grads[k][2]) }, vs)
      end
    end
    local a, va = optimizers.Adam { 0.05 }, start()
    train(a, va, 1, 6)
    local b, vb = optimizers.Adam { 0.05 }, { tide.tensor(va[1]), tide.tensor(va[2]) }
    b:build(vb)
    b:set_weights(a.variables)
    assert.equal(6, b.iterations)
    train(a, va, 7, 12)
    train(b, vb, 7, 12)
    assert.same(va[1]:tolist(), vb[1]:tolist())
    assert.equal(2 + 4, #a.variables)
  end)

  it("gives every optimizer back from its configuration", function()
    for _, name in ipairs(optimizers.class_names) do
      local made = optimizers[name] { name = "x" }
      assert.same(made:get_config(), optimizers.get({ class_name = name,
        config = made:get_config() }):get_config())
    end
    local o = optimizers.SGD { schedules.CosineDecay { 0.1, 100 }, name = "s" }
    local again = optimizers.get { class_name = "SGD", config = o:get_config() }
    expect.close(again.learning_rate, 0.1)
  end)
end)

describe("tide.optimizers.schedules", function()
  local cases = require "spec.ref.schedules"
  for i, r in ipairs(cases) do
    it(("%s equals Keras, row %d"):format(r.schedule, i), function()
      local s = schedules[r.schedule](r.args)
      for k, step in ipairs(r.steps) do
        expect.close(s(step), r.values[k], 1e-7, 2e-5, "step " .. step)
      end
    end)
  end

  it("has a row for every class", function()
    local seen = {}
    for _, r in ipairs(cases) do
      seen[r.schedule] = true
    end
    for _, name in ipairs(schedules.class_names) do
      assert(seen[name], name .. " has no row in spec/ref/optimizers.py")
    end
  end)

  it("refuses lists that do not fit", function()
    assert.error_matches(function()
      schedules.PiecewiseConstantDecay { { 1, 2 }, { 1, 2 } }
    end, "one entry more")
    assert.error_matches(function()
      schedules.PiecewiseConstantDecay { { 2, 1 }, { 1, 2, 3 } }
    end, "must ascend")
    assert.error_matches(function() schedules.CosineDecay { 0.1, 0 } end, "above 0")
  end)
end)

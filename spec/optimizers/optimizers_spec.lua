local expect = require "spec.support.expect"
local tide = require "tide"
local optimizers = tide.optimizers
local schedules = optimizers.schedules

local rows = require "spec.ref.optimizers"
local given = rows[1]
local beside = require("spec.ref.torch_optimizers")[1]

local function start()
  return { tide.tensor(given.start[1], { requires_grad = true }),
    tide.tensor(given.start[2], { requires_grad = true }) }
end
local PATHS = { { path = "kernel" }, { path = "bias" } }

describe("tide.optimizers", function()
  for i = 2, #rows do
    local r = rows[i]
    it(("%s equals Keras for 20 steps, row %d"):format(r.optimizer, i), function()
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
        expect.close(vs[1], r.values[21][1], 5e-6, 2e-6)
      end
      assert.equal(r.iterations, o.iterations)
    end)
  end

  for i, r in ipairs(beside.rows) do
    it(("%s equals its peer for 20 steps, row %d"):format(r.optimizer, i), function()
      local o = optimizers[r.optimizer](r.args)
      local vs = start()
      o:build(vs, PATHS)
      for k, g in ipairs(given.grads) do
        o:apply({ tide.tensor(g[1]), tide.tensor(g[2]) }, vs)
        expect.close(vs[1], r.values[k][1], 5e-6, 2e-6, "kernel, step " .. k)
        expect.close(vs[2], r.values[k][2], 5e-6, 2e-6, "bias, step " .. k)
      end
    end)
  end

  it("has a row for every class", function()
    local seen = {}
    for _, group in ipairs { rows, beside.rows } do
      for _, row in ipairs(group) do
        seen[row.optimizer or 1] = true
      end
    end
    for _, name in ipairs(optimizers.class_names) do
      assert(seen[name], name .. " has no row in spec/ref/optimizers.py")
    end
  end)

  describe("groups", function()
    local schedule = schedules.StepDecay { 0.02, 1000 }
    local layers = tide.layers

    it("equal PyTorch's parameter groups for 20 steps", function()
      for _, which in ipairs { "^ker", function(path) return path == "kernel" end } do
        for _, rate in ipairs { { learning_rate = 0.02 }, { rate_factor = 0.4 },
          { learning_rate = schedule } } do
          local o = optimizers.AdamW { 0.05, weight_decay = 0.1, groups = {
            { which }, { "bias", weight_decay = 0 } } }
          for k, v in pairs(rate) do
            o.groups[1][k] = v
          end
          local vs = start()
          o:build(vs, PATHS)
          for k, g in ipairs(given.grads) do
            o:apply({ tide.tensor(g[1]), tide.tensor(g[2]) }, vs)
            expect.close(vs[1], beside.grouped.values[k][1], 5e-6, 2e-6, "kernel, step " .. k)
            expect.close(vs[2], beside.grouped.values[k][2], 5e-6, 2e-6, "bias, step " .. k)
          end
        end
      end
    end)

    local function net()
      tide.seed(4)
      return tide.Sequential { tide.Input { 3 }, layers.Dense { 3, name = "first" },
        layers.Dense { 2, name = "second" }, layers.Dense { 1, name = "third" } }
    end

    it("take layers, and rates that fall layer by layer", function()
      local model = net()
      local before = model:get_weights()
      model:compile { loss = "mse", optimizer = optimizers.SGD { 0.1, groups = {
        { model.layers[1], learning_rate = 0 }, { model.layers[2], rate_factor = 0.5 } } } }
      local x, y = tide.ones { 4, 3 }, tide.ones { 4, 1 }
      model:train_on_batch(x, y)
      local plain = net()
      plain:compile { loss = "mse", optimizer = optimizers.SGD { 0.1 } }
      plain:train_on_batch(x, y)
      local after, all = model:get_weights(), plain:get_weights()
      assert.same(before[1]:tolist(), after[1]:tolist())
      expect.close(after[3] - before[3], ((all[3] - before[3]) * 0.5):tolist(), 1e-6, 1e-6)
      assert.same(all[5]:tolist(), after[5]:tolist())
      assert.same({ { layer = "first", rate_factor = 0.25 },
        { layer = "second", rate_factor = 0.5 }, { layer = "third", rate_factor = 1.0 } },
        optimizers.layerwise_groups(model, 0.5))
    end)

    it("come back from files", function()
      local model = net()
      model:compile { loss = "mse", optimizer = optimizers.AdamW { 0.1, groups = {
        { model.layers[1], learning_rate = schedule }, { "bias", weight_decay = 0 } } } }
      local x, y = tide.ones { 4, 3 }, tide.ones { 4, 1 }
      model:train_on_batch(x, y)
      local others = {}
      for _, ending in ipairs { ".safetensors", ".keras" } do
        local path = os.tmpname() .. ending
        model:save(path)
        others[#others + 1] = tide.load_model(path)
        os.remove(path)
      end
      model:train_on_batch(x, y)
      for _, again in ipairs(others) do
        assert.same(model.optimizer:get_config(), again.optimizer:get_config())
        again:train_on_batch(x, y)
        for i, w in ipairs(model:get_weights()) do
          assert.same(w:tolist(), again:get_weights()[i]:tolist())
        end
      end
    end)

    it("that cannot be are refused", function()
      local function refused(group, text)
        assert.error_matches(function() optimizers.SGD { groups = { group } } end, text)
      end
      refused({ "a", rate = 2 }, "has no 'rate'")
      refused({ "[" }, "no regular expression")
      refused({ learning_rate = 1 }, "must name its parameters once")
      refused({ 3 }, "begins with a pattern")
      refused({ "a", learning_rate = -1 }, "finite number from 0 or a schedule")
      refused({ "a", weight_decay = -1 }, "finite number from 0")
      refused("a", "a group is")
      assert.error_matches(function() optimizers.layerwise_groups(net(), 0) end, "above 0")
    end)
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

  for i, r in ipairs(beside.schedules) do
    it(("%s equals PyTorch for 100 steps, row %d"):format(r.schedule, i), function()
      local s = schedules[r.schedule](r.args)
      for step = 0, 99 do
        expect.close(s(step), r.values[step + 1], 1e-9, 1e-7, "step " .. step)
      end
    end)
  end

  it("that hold others equal PyTorch for 100 steps", function()
    local all = {
      warm = schedules.Warmup { schedules.CosineDecay { 0.1, 100 }, 20 },
      sequence = schedules.Sequential { { 0.01, schedules.ExponentialDecay { 0.1, 1, 0.9 },
        schedules.StepDecay { 0.1, 10, 0.5 } }, { 12, 50 } },
      chain = schedules.Chained { { schedules.StepDecay { 0.1, 30, 0.5 },
        schedules.ExponentialDecay { 1, 1, 0.97 }, schedules.LinearRamp { 1, 10, 0.25 } } },
    }
    for name, s in pairs(all) do
      local again = schedules.get(tide.optimizers.SGD { s }:get_config().learning_rate)
      for step = 0, 99 do
        local want = beside[name].values[step + 1]
        expect.close(s(step), want, 1e-9, 1e-7, name .. ", step " .. step)
        expect.close(again(step), want, 1e-9, 1e-7, name .. " again, step " .. step)
      end
    end
  end)

  it("has a row for every class", function()
    local seen = { Warmup = true, Sequential = true, Chained = true }
    for _, group in ipairs { cases, beside.schedules } do
      for _, r in ipairs(group) do
        seen[r.schedule] = true
      end
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
    assert.error_matches(function() schedules.Sequential { { 1, 2 }, {} } end, "one fewer")
    assert.error_matches(function() schedules.Sequential { { 1, 2 }, { 0 } } end, "integers from 1")
    assert.error_matches(function() schedules.Chained { {} } end, "at least one schedule")
    assert.error_matches(function() schedules.MultiStepDecay { 1, { 3, 2 } } end, "must ascend")
    assert.error_matches(function() schedules.Warmup { "linear", 3 } end, "unknown schedule")
    assert.error_matches(function() schedules.StepLR { 1, 3 } end, "StepDecay")
  end)
end)

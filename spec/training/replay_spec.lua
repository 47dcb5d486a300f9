-- Steps that repeat are replayed by plans (src/plan.c, lua/tide/training/replay.lua): with the same
-- bits, and noticed when what they hang on changes.
local S = require "tide.private"
local core = require "tide.core"
local tide = require "tide"
local replay = require "tide.training.replay"
local cases = require "spec.support.layer_cases"
local L = tide.layers

-- Steps run eagerly until the result is closed.
local function eagerly()
  local was = replay.on
  replay.on = false
  return setmetatable({}, { __close = function() replay.on = was end })
end

-- The specs of a block replay, whatever TIDE_PLAN says.
local function replaying()
  local was
  setup(function() was, replay.on = replay.on, true end)
  teardown(function() replay.on = was end)
end

local function data(shape, o, seed)
  if type(shape[1]) == "table" then
    local out = {}
    for i, s in ipairs(shape) do
      out[i] = data(s, o, seed + i)
    end
    return out
  end
  tide.seed(seed)
  return o.ids and tide.random.randint(shape, 1, o.ids + 1, { dtype = "int32" })
    or tide.random.normal(shape)
end

local function input_of(shape, o)
  if type(shape[1]) == "table" then
    local out = {}
    for i, s in ipairs(shape) do
      out[i] = input_of(s, o)
    end
    return out
  end
  return tide.Input { batch_shape = shape, dtype = o.ids and "int32" or "float32" }
end

-- A model of the one layer of a case; nil where its class makes none.
local function model_of(case)
  tide.seed(7)
  local input = input_of(case[4], case[5])
  local ok, model = pcall(function()
    return tide.Model { inputs = input, outputs = case[3](L)(input) }
  end)
  return ok and model or nil
end

-- How many plans the model has.
local function plans(model, kind)
  local n = 0
  for name, room in pairs(model[S].plans or {}) do
    n = n + (name:sub(1, #kind) == kind and #core.plans_facts(room.set) or 0)
  end
  return n
end

local function why(model)
  local out = {}
  for name, room in pairs(model[S].plans or {}) do
    out[#out + 1] = name .. ": " .. tostring(room.why)
  end
  return table.concat(out, "; ")
end

-- The bits of tensors in any structure.
local function bits(v)
  if type(v) == "userdata" then
    return { v.dtype, tostring(v.shape), v:tolist() }
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = bits(x)
  end
  return out
end

-- Why a layer's step may run eagerly.
local reasons = { "function of your own", "has a mask", "by the program", "hands out what it is",
  "runs nothing", "changes in the step", "draws seeds", "looks at values", "outlives the step" }

-- Checks that a model has a plan, or a reason to have none; returns whether it has.
local function planned(name, model, kind)
  if plans(model, kind) > 0 then
    return true
  end
  local text, known = why(model), false
  for _, reason in ipairs(reasons) do
    known = known or text:find(reason, 1, true) ~= nil
  end
  assert.is_true(known, name .. ": " .. text)
  return false
end

describe("a plan of predicting", function()
  replaying()
  it("gives the bits of the eager step, for every layer", function()
    local n = 0
    for _, case in ipairs(cases) do
      local model = model_of(case)
      for i = 1, model and 4 or 0 do
        local x = data(case[4], case[5], i)
        local want
        do
          local _ <close> = eagerly()
          want = model:predict_on_batch(x)
        end
        assert.are.same(bits(want), bits(model:predict_on_batch(x)), case[1])
      end
      n = n + (model and planned(case[1], model, "predict") and 1 or 0)
    end
    -- not those that hand out what they are given, or a part of it, nor random layers, which
    -- draw seeds of their own
    assert.is_true(n > 0.75 * #cases, n)
  end)
end)

-- What a few steps of training, testing and predicting come to. `at(i)` is called before step i.
local function trained(make, shape, o, at)
  local model, said = make(), {}
  for i = 1, at and 11 or 5 do
    if at then
      at(model, i)
    end
    local x = data(shape, o, i)
    tide.seed(i)
    local y = model:predict_on_batch(x)
    if type(y) ~= "userdata" then
      y = y[1]
    end
    local t = tide.random.normal(y.shape)
    said[#said + 1] = { model:train_on_batch(x, t) }
    said[#said + 1] = { model:test_on_batch(x, t) }
  end
  for _, r in ipairs(model:_saved()) do
    said[#said + 1] = bits(r.tensor)
  end
  said[#said + 1] = { core.generator() }
  return said, model
end

local function both(make, shape, o, at)
  local want
  do
    local _ <close> = eagerly()
    want = trained(make, shape, o, at)
  end
  local got, model = trained(make, shape, o, at)
  return want, got, model
end

describe("plans of training", function()
  replaying()
  it("give the bits of the eager step, for every layer", function()
    local n = 0
    for _, case in ipairs(cases) do
      local function make()
        tide.seed(7)
        local input = input_of(case[4], case[5])
        local y = case[3](L)(input)
        if type(y) == "table" and not y.shape then
          y = y[1]
        end
        local last = L.Dense(2)
        local model = tide.Model { inputs = input, outputs = last(y) }
        model:compile { optimizer = { "sgd", 0.01 }, loss = "mse", metrics = { "mae" } }
        return model
      end
      local ok, want, got, model = pcall(both, make, case[4], case[5])
      if ok then -- not where a Dense cannot follow
        assert.are.same(want, got, case[1])
        n = n + (planned(case[1], model, "train") and 1 or 0)
      end
    end
    assert.is_true(n > 0.8 * #cases, n)
  end)

  it("give the bits of the eager step, for every optimizer, schedule and data order", function()
    local resume = require "spec.support.resume_cases"
    for _, case in ipairs(resume.cases) do
      local want
      do
        local _ <close> = eagerly()
        want = resume.train(case)
      end
      assert.is_true(want == resume.train(case), case.name)
    end
  end)
end)

-- ---- what is noticed ----

local replaced -- objects of the model that was made last
local function small()
  tide.seed(5)
  replaced = { tide.metrics.MeanAbsoluteError {}, tide.losses.MeanSquaredError {} }
  local model = tide.Sequential { tide.Input { 4 },
    L.Dense { 5, activation = "tanh", kernel_regularizer = tide.regularizers.L2 { 0.1 } },
    L.BatchNormalization { center = false, scale = false }, L.Dropout { 0.25 }, L.Dense { 3 } }
  model:compile { optimizer = { "adam", 0.05 }, loss = replaced[2], metrics = { replaced[1] } }
  return model
end
local FORM, NONE = { 6, 4 }, {}

describe("plans notice", function()
  replaying()
  -- what is done before the steps 5 and 8, at which all is replayed; some build new plans then
  local changes = {
    ["nothing"] = function() end,
    ["new values of weights"] = function(m)
      local w = m:get_weights()
      w[1] = w[1] * 2
      m:set_weights(w)
    end,
    ["weights written in place"] = function(m)
      m.layers[1].kernel:assign(m.layers[1].kernel * 0.5)
    end,
    ["a frozen layer"] = function(m, i) m.layers[1].trainable = i == 8 end,
    ["a weight replaced"] = function(m)
      m.layers[1]:replace_weight("bias", tide.ones { 5 })
      m:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
    end,
    ["another rate"] = function(m, i) m.optimizer.learning_rate = i * 0.01 end,
    ["another optimizer"] = function(m) m.optimizer = tide.optimizers.SGD { 0.1 } end,
    ["another loss"] = function(m) m:compile { optimizer = "sgd", loss = "mae" } end,
    ["statistics that are frozen"] = function(m, i) m.layers[2].trainable = i == 8 end,
    ["other metrics of the same form"] = function(m, i)
      m:compile { optimizer = "sgd", loss = "mse", metrics = { i == 5 and "mse"
        or tide.metrics.RootMeanSquaredError() } }
    end,
    ["another dropout"] = function(m, i) m.layers[3].rate = 0.1 * i end,
    ["another regularizer"] = function(m, i) m.layers[1].kernel_regularizer.l2 = 0.1 * i end,
    ["another momentum of statistics"] = function(m, i) m.layers[2].momentum = 0.1 * i end,
    ["another epsilon"] = function(m) m.layers[2].epsilon = 0.5 end,
    ["a seed"] = function(_, i) tide.seed(i * 11) end,
    ["clipping"] = function(m) m.optimizer.clipnorm = 0.01 end,
    ["averages"] = function(m) m.optimizer.use_ema = true end,
    ["another layer"] = function(m)
      m:add(L.Dense { 2 })
      m:compile { optimizer = "sgd", loss = "mse", metrics = { "mae" } }
    end,
    ["a layer less"] = function(m)
      m:pop()
      m:compile { optimizer = "sgd", loss = "mse", metrics = { "mae" } }
    end,
    ["run_eagerly"] = function(m)
      m:compile { optimizer = "sgd", loss = "mse", run_eagerly = true }
    end,
    ["a hook on a weight"] = function(m)
      m.layers[1].kernel:register_hook(function(g) return g * 2 end)
    end,
    ["a function in the place of a metric's"] = function()
      local m = replaced[1]
      local before = m.update_state
      function m.update_state(_, y, p)
        before(m, y * 2, p)
      end
    end,
    ["a function in the place of a loss's"] = function()
      replaced[2].call = function(_, y, p) return (y - p):abs() end
    end,
    ["a profile"] = function(m)
      tide.profile(function() m:predict_on_batch(tide.ones(FORM)) end, { print = false })
    end,
  }
  for name, change in pairs(changes) do
    it(name, function()
      local want, got, model = both(small, FORM, NONE, function(m, i)
        if i == 5 or i == 8 then
          change(m, i)
        end
      end)
      assert.are.same(want, got)
      assert.is_true(plans(model, "predict") > 0 or name == "run_eagerly"
        or name == "a hook on a weight", why(model))
    end)
  end

  it("an activation of a person's, which may look at values", function()
    local calls = 0
    local model = tide.Sequential { tide.Input { 4 }, L.Dense { 2, activation = function(x)
      calls = calls + 1
      return x
    end } }
    local before = calls
    for _ = 1, 7 do
      model:predict_on_batch(tide.ones { 2, 4 })
    end
    assert.are.equal(7, calls - before)
    assert.matches("function of your own", tostring(model:explain_plan()))
  end)

  it("layers of a person's", function()
    local Own = tide.Layer:extend("ReplayOwn", { call = function(self, x)
      self.n = (self.n or 0) + 1
      return x * 2
    end })
    local model = tide.Sequential { tide.Input { 4 }, Own() }
    local before = model.layers[1].n or 0
    for _ = 1, 7 do
      model:predict_on_batch(tide.ones { 2, 4 })
    end
    assert.are.equal(before + 7, model.layers[1].n)
  end)

  it("an option that nobody gave at first", function()
    local function run()
      tide.seed(4)
      local metric = tide.metrics.Precision {}
      local model = tide.Sequential { tide.Input { 4 }, L.Dense { 3, activation = "sigmoid" } }
      model:compile { optimizer = "sgd", loss = "mse", metrics = { metric } }
      local x, y, said = tide.random.normal { 6, 4 }, tide.ones { 6, 3 }, {}
      for i = 1, 12 do
        metric.class_id = i > 8 and 2 or nil
        said[i] = { model:test_on_batch(x, y) }
      end
      return said
    end
    local want
    do
      local _ <close> = eagerly()
      want = run()
    end
    assert.are.same(want, run())
  end)

  it("a change between two forms of data", function()
    local function run()
      local model, said = small(), {}
      local function steps(n, shape)
        for i = 1, n do
          local x = data(shape, NONE, i)
          local y = tide.random.normal { shape[1], 3 }
          said[#said + 1] = { model:train_on_batch(x, y) }
          said[#said + 1] = { model:test_on_batch(x, y) }
          said[#said + 1] = bits(model:predict_on_batch(x))
        end
      end
      steps(4, { 6, 4 })
      model.layers[2].epsilon, model.layers[3].rate = 0.5, 0.7
      steps(4, { 5, 4 })
      steps(4, { 6, 4 })
      return said
    end
    local want
    do
      local _ <close> = eagerly()
      want = run()
    end
    assert.are.same(want, run())
  end)

  it("how its data lie in memory", function()
    local function run()
      tide.seed(4)
      local x = tide.Input { 37, 19 }
      local model = tide.Model { inputs = x, outputs = L.GlobalAveragePooling1D()(x) }
      local out = {}
      for i = 1, 8 do
        local turned = tide.ops.transpose(tide.random.normal { 6, 19, 37 }, { axes = { 1, 3, 2 } })
        local wide = tide.random.normal { 6, 37, 500 }[{ {}, {}, { 1, 19 } }]
        out[2 * i - 1] = bits(model:predict_on_batch(turned))
        out[2 * i] = bits(model:predict_on_batch(i > 4 and wide or turned))
      end
      return out, model
    end
    local want
    do
      local _ <close> = eagerly()
      want = run()
    end
    local got, model = run()
    assert.are.same(want, got)
    assert.are.equal(1, plans(model, "predict"))
  end)

  it("results that lie on its data", function()
    local x = tide.Input { 4 }
    local model = tide.Model { inputs = x, outputs = { L.Dense(2)(x), L.Reshape { { 2, 2 } }(x) } }
    for _ = 1, 8 do
      local given = tide.ones { 3, 4 }
      local y = model:predict_on_batch(given)
      given:fill_(7)
      assert.are.equal(7, y[2][{ 1, 1, 1 }])
    end
    assert.matches("hands out what it is given", why(model))
  end)

  it("the same tensor as input and as a weight", function()
    local model = tide.Sequential { tide.Input { 4 }, L.Dense { 4, use_bias = false } }
    local kernel = model.layers[1].kernel:detach()
    for _ = 1, 5 do
      model:predict_on_batch(kernel)
    end
    local x = tide.random.normal { 4, 4 }
    assert.are.same(bits(tide.no_grad(model, x)), bits(model:predict_on_batch(x)))
  end)
end)

describe("a step that is replayed", function()
  replaying()
  local function ready(options)
    tide.seed(3)
    local model = tide.Sequential { tide.Input { 4 }, L.Dense { 8, activation = "relu" },
      L.BatchNormalization(), L.Dense { 3, name = "scores" } }
    model:compile { optimizer = { "sgd", 0.1 }, metrics = { "accuracy" },
      loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true } }
    local x, y = tide.random.normal { 6, 4 }, tide.random.randint({ 6 }, 1, 4)
    for _ = 1, 5 do
      model:train_on_batch(x, y)
    end
    assert.is_true(options == "eager" or plans(model, "train") == 1, why(model))
    return model, x, y
  end

  it("raises what the eager step raises, and has changed as much", function()
    local function wrong()
      local model, x, y = ready(replay.on or "eager")
      local ok, e = pcall(model.train_on_batch, model, x, tide.full({ 6 }, 9, { dtype = "int64" }))
      assert.is_false(ok)
      local weights = bits(model:get_weights():totable())
      return { tostring(e), weights, { model:train_on_batch(x, y) }, bits(model.weights:totable()) }
    end
    local want
    do
      local _ <close> = eagerly()
      want = wrong()
    end
    assert.are.same(want, wrong())
  end)

  it("leaves a bad loss out", function()
    local model, x, y = ready()
    local before = model.optimizer.iterations
    local kernel = bits(model.layers[1].kernel)
    model:train_on_batch(x * (0 / 0), y)
    assert.are.same(kernel, bits(model.layers[1].kernel))
    assert.are.equal(before, model.optimizer.iterations)
  end)

  -- but for the rounding of the allocator, which is up to a quarter of a block
  it("takes no memory that the eager step does not take", function()
    local function peak()
      local model = ready(replay.on or "eager")
      local x, y = tide.random.normal { 500, 4 }, tide.random.randint({ 500 }, 1, 4)
      for _ = 1, 4 do
        model:train_on_batch(x, y)
      end
      core.collect()
      core.memory_reset_peak()
      local live = core.memory().live_bytes
      for _ = 1, 3 do
        model:train_on_batch(x, y)
        core.collect()
      end
      return core.memory().peak_bytes - live, core.memory().live_bytes - live
    end
    local want, left
    do
      local _ <close> = eagerly()
      want, left = peak()
    end
    local got, left_now = peak()
    assert.is_true(got <= want * 1.1, ("%d, eagerly %d"):format(got, want))
    assert.are.equal(left, left_now)
  end)

  it("counts once for a metric that two outputs have", function()
    local function run()
      tide.seed(4)
      local x, metric = tide.Input { 4 }, tide.metrics.MeanAbsoluteError { name = "shared" }
      local model = tide.Model { inputs = x, outputs = { L.Dense(2)(x), L.Dense(2)(x) } }
      model:compile { optimizer = "sgd", loss = { "mse", "mse" },
        metrics = { { metric }, { metric } } }
      local a, b, said = tide.ones { 6, 4 }, tide.ones { 6, 2 }, {}
      for i = 1, 6 do
        said[2 * i - 1] = { model:train_on_batch(a, { b, b }) }
        said[2 * i] = { model:test_on_batch(a, { b, b }) }
      end
      return said
    end
    local want
    do
      local _ <close> = eagerly()
      want = run()
    end
    assert.are.same(want, run())
  end)

  it("keeps no results of the steps that were noted", function()
    local x = tide.Input { 4 }
    local model = tide.Model { inputs = x, outputs = { L.Dense(50)(x), L.Dense(50)(x) } }
    model:compile { optimizer = "sgd", loss = { "mse", "mse" }, metrics = { { "mae" }, { "mae" } } }
    local a, b = tide.ones { 6, 4 }, tide.ones { 6, 50 }
    local function step()
      model:train_on_batch(a, { b, b })
      model:predict_on_batch(a)
      core.collect()
      return core.memory().live_tensors
    end
    local first, last = step(), nil
    for _ = 1, 6 do
      last = step()
    end
    assert.are.equal(1, plans(model, "predict"), why(model))
    assert.are.equal(1, plans(model, "train"), why(model))
    assert.are.equal(first, last)
  end)

  it("says of what is no tensor what the eager step says", function()
    local model, x = ready()
    local released = tide.ones { 6, 4 }
    core.release(released)
    for _, wrong in ipairs { io.stdout, released } do
      for _, method in ipairs { "predict_on_batch", "train_on_batch", "test_on_batch" } do
        local function said()
          return tostring(select(2, pcall(model[method], model, wrong, x)))
        end
        local got = said()
        local _ <close> = eagerly()
        assert.are.equal(said(), got)
      end
    end
  end)

  it("runs eagerly where memory is short, and says so", function()
    local model, x, y = ready()
    local big = tide.random.normal { 600, 4 }
    for _ = 1, 4 do
      model:predict_on_batch(big)
    end
    local live = core.memory().live_bytes
    local _ <close> = setmetatable({}, { __close = function() core.memory_limit(0) end })
    core.memory_limit(live + 1000)
    assert.is_false(pcall(model.predict_on_batch, model, big))
    core.memory_limit(0)
    assert.is_true(pcall(model.train_on_batch, model, x, y))
  end)

  it("needs no metrics", function()
    tide.seed(2)
    local model = tide.Sequential { tide.Input { 4 }, L.Dense { 2 } }
    model:compile { optimizer = "adam", loss = "mse" }
    for _ = 1, 5 do
      model:train_on_batch(tide.ones { 3, 4 }, tide.ones { 3, 2 })
    end
    assert.are.equal(1, plans(model, "train"), why(model))
  end)

  it("is one of at most 8 forms", function()
    local model = ready()
    for n = 1, 12 do
      for _ = 1, 4 do
        model:predict_on_batch(tide.ones { n, 4 })
      end
    end
    assert.are.equal(8, plans(model, "predict"))
    assert.matches("more than 8 forms", tostring(model:explain_plan()))
  end)

  it("has several inputs and outputs, weights of samples and validation", function()
    local function run()
      tide.seed(4)
      local a, b = tide.Input { 3, name = "a" }, tide.Input { 2, name = "b" }
      local x = L.Concatenate() { L.Dense { 4 } (a), b }
      local model = tide.Model { inputs = { a = a, b = b },
        outputs = { L.Dense { 2, name = "p" } (x), L.Dense { 1, name = "q" } (x) } }
      model:compile { optimizer = "adam", loss = { "mse", "mae" }, loss_weights = { 1, 0.5 },
        weighted_metrics = { { "mae" }, { "mse" } } }
      local xs = { a = tide.random.normal { 50, 3 }, b = tide.random.normal { 50, 2 } }
      local y = { tide.random.normal { 50, 2 }, tide.random.normal { 50, 1 } }
      local h = model:fit(xs, y, { epochs = 4, batch_size = 8, verbose = 0,
        sample_weight = tide.random.uniform { 50 }, validation_data = { xs, y } })
      local out = {}
      for k, v in pairs(h.history) do
        out[k] = v:totable()
      end
      for _ = 1, 4 do
        out[#out + 1] = bits(model:predict(xs))
      end
      return { out, bits(model.weights:totable()) }, model
    end
    local want
    do
      local _ <close> = eagerly()
      want = run()
    end
    local got, model = run()
    assert.are.same(want, got)
    assert.is_true(plans(model, "train") > 0, why(model))
    assert.is_true(plans(model, "test") > 0, why(model))
    assert.is_true(plans(model, "predict") > 0, why(model))
  end)
end)

describe("what layers keep of their weights", function()
  replaying()
  it("is made anew when these change: casts of a mixed policy, the sum of LoRA", function()
    for _, policy in ipairs { "mixed_bfloat16", "lora" } do
      tide.seed(9)
      local dense = L.Dense { 3, dtype = policy ~= "lora" and policy or nil }
      local model = tide.Sequential { tide.Input { 4 }, dense }
      if policy == "lora" then
        dense:enable_lora(2)
      end
      local x = tide.random.normal { 2, 4 }
      for _ = 1, 3 do
        for _ = 1, 8 do
          local want
          do
            local _ <close> = eagerly()
            want = bits(model:predict_on_batch(x))
          end
          assert.are.same(want, bits(model:predict_on_batch(x)), policy)
        end
        assert.are.equal(1, plans(model, "predict"), policy .. ": " .. why(model))
        for _, w in ipairs(model.weights) do
          w:assign(tide.random.normal(w.shape))
        end
      end
    end
  end)
end)

describe("compile", function()
  replaying()
  it("forgets what was recorded, however often it is called", function()
    tide.seed(3)
    local model = tide.Sequential { tide.Input { 4 }, L.Dense { 3, activation = "softmax" } }
    local x, y = tide.random.normal { 12, 4 }, tide.ops.one_hot(tide.ops.arange(12) % 3, 3)
    local live
    for i = 1, 20 do
      model:compile { optimizer = "adam", loss = "categorical_crossentropy",
        metrics = { "accuracy" } }
      for _ = 1, 4 do
        model:train_on_batch(x, y)
      end
      assert.is_true(plans(model, "train") > 0, why(model))
      core.collect()
      core.collect()
      live = live or core.memory().live_tensors
      assert.are.equal(live, core.memory().live_tensors, "after compile " .. i)
    end
  end)
end)

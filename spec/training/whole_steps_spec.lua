-- Training steps that are one plan, the optimizer's step its end: the bits of the eager step for
-- every optimizer, option and dtype; what is changed between two steps is heard.
local S = require "tide.private"
local core = require "tide.core"
local tide = require "tide"
local replay = require "tide.training.replay"
local L, optimizers = tide.layers, tide.optimizers
local schedules = optimizers.schedules

local function eagerly()
  local was = replay.on
  replay.on = false
  return setmetatable({}, { __close = function() replay.on = was end })
end

local function replaying()
  local was
  setup(function() was, replay.on = replay.on, true end)
  teardown(function() replay.on = was end)
end

local function plans(model, kind)
  local n = 0
  for name, room in pairs(model[S].plans or {}) do
    n = n + (name:match "^%a+" == kind and #core.plans_facts(room.set) or 0)
  end
  return n
end

local function why(model) return tostring(model:explain_plan()) end

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

-- A small model; `o`: dtype, constraint, network.
local function made(optimizer, o)
  tide.seed(3)
  local model = (o.network or function()
    return tide.Sequential { tide.Input { 6 },
      L.Dense { 8, activation = "relu", dtype = o.dtype, kernel_constraint = o.constraint },
      L.Dropout { 0.3, dtype = o.dtype }, L.Dense { 3, dtype = o.dtype } }
  end)()
  model:compile { optimizer = type(optimizer) == "function" and optimizer(model) or optimizer,
    metrics = { "accuracy" }, auto_scale_loss = false,
    loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true } }
  return model
end

-- What steps of training come to: what they say, the weights, the optimizer's state. `at(model, i)`
-- comes before step i.
local function trained(optimizer, o, at)
  local model, said = made(optimizer, o), {}
  for i = 1, o.steps or 9 do
    if at then
      at(model, i)
    end
    tide.seed(i)
    local x = o.input and o.input() or tide.random.normal { 7, 6 }
    local y = tide.random.randint({ 7 }, 1, 4)
    x = i == o.bad and x * (0 / 0) or x
    said[#said + 1] = table.concat({ model:train_on_batch(x, y) }, " ")
  end
  said.weights = bits(model.weights:totable())
  said.state = bits(model.optimizer.variables:totable())
  said.number = model.optimizer.iterations
  return said, model
end

local function both(optimizer, o, at)
  local want
  do
    local _ <close> = eagerly()
    want = trained(optimizer, o, at)
  end
  local got, model = trained(optimizer, o, at)
  return want, got, model
end

-- Checks that the bits are the same, and that the step is one plan, or why not.
local function check(optimizer, o, at, reason)
  local want, got, model = both(optimizer, o, at)
  assert.are.same(want, got)
  if reason then
    assert.matches(reason, why(model), 1, true)
    assert.are.equal(0, plans(model, "train"), why(model))
  else
    assert.is_true(plans(model, "train") > 0, why(model))
    assert.are.equal(0, plans(model, "gradients"), why(model))
  end
end

-- optimizers whose step is one op
local ONE = { "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "Adadelta", "Lion" }

describe("a training step of one plan", function()
  replaying()
  for _, dtype in ipairs { "float32", "float64", "bfloat16", "float16" } do
    it("has the bits of the eager one, for every optimizer, in " .. dtype, function()
      for _, name in ipairs(ONE) do
        check({ name, 0.01 }, { dtype = dtype })
      end
    end)
  end

  local options = {
    ["momentum"] = { "SGD", 0.05, momentum = 0.9, nesterov = true },
    ["all of RMSprop"] = { "RMSprop", momentum = 0.5, centered = true },
    ["amsgrad and decay"] = { "Adam", amsgrad = true, weight_decay = 0.01 },
    ["a limit of each norm"] = { "Adam", clipnorm = 0.01 },
    ["a limit of each element"] = { "SGD", 0.1, clipvalue = 0.01 },
    ["a limit of the norm over all"] = { "Adam", global_clipnorm = 0.01 },
    ["averages"] = { "Adam", 0.01, use_ema = true, ema_momentum = 0.8 },
    ["a scaled loss"] = { "SGD", 0.1, loss_scale_factor = 64 },
    ["a schedule"] = function()
      return optimizers.Adam { schedules.Warmup { schedules.StepDecay { 0.1, 2 }, 3 } }
    end,
    ["a rate that is a function"] = function()
      return optimizers.SGD { function(step) return 0.1 / (step + 1) end }
    end,
    ["groups"] = function()
      return optimizers.AdamW { 0.01, groups = { { "bias$", weight_decay = 0 },
        { "dense", rate_factor = 0.5 },
        { "kernel", learning_rate = schedules.StepDecay { 0.1, 3 } } } }
    end,
    ["layers that are left out of decay"] = function()
      local o = optimizers.AdamW { 0.01 }
      o:exclude_from_weight_decay(nil, { "bias" })
      return o
    end,
  }
  for name, optimizer in pairs(options) do
    it("has the bits of the eager one, with " .. name, function()
      for _, dtype in ipairs { "float32", "bfloat16" } do
        check(optimizer, { dtype = dtype })
      end
    end)
  end

  it("has the bits of the eager one, with a constraint", function()
    check({ "Adam", 0.1 }, { constraint = "max_norm" })
  end)

  it("has the bits of the eager one, with two dtypes of weights", function()
    check({ "Adam", 0.1, use_ema = true }, { network = function()
      return tide.Sequential { tide.Input { 6 }, L.Dense { 8, dtype = "float64" }, L.Dense { 3 } }
    end })
  end)

  it("has the bits of the eager one, with tables of rows", function()
    local function network(rows)
      return function()
        return tide.Sequential { tide.Input { shape = { 4 }, dtype = "int32" },
          L.Embedding { rows, 8 }, L.Flatten(), L.Dense { 3 } }
      end
    end
    for _, rows in ipairs { 20, 9000 } do -- rows of the large one lag behind
      for _, optimizer in ipairs { "adam", "sgd", "rmsprop", { "adam", weight_decay = 0.1 } } do
        check(optimizer, { network = network(rows), steps = 20, input = function()
          return tide.random.randint({ 7, 4 }, 1, rows + 1, { dtype = "int32" })
        end })
      end
    end
  end)

  it("leaves a bad loss out, and counts it not", function()
    for _, optimizer in ipairs { { "Adam", 0.01 }, { "Adam", 0.01, use_ema = true } } do
      for _, bad in ipairs { 1, 2, 7 } do
        check(optimizer, { bad = bad })
      end
    end
  end)

  it("hears what a person changes between two steps", function()
    local changes = {
      function(m, i) m.optimizer.learning_rate = 0.01 * i end,
      function(m, i)
        m.optimizer.learning_rate = i < 7 and 0.1 or schedules.StepDecay { 0.1, 3 }
      end,
      function(m, i) m.optimizer.weight_decay = i > 6 and 0.1 or nil end,
      function(m, i) m.optimizer.clipnorm = i > 6 and 0.01 or nil end,
      function(m, i) m.optimizer.use_ema = i > 6 end,
      function(m, i) m.optimizer.beta_1 = i > 6 and 0.5 or 0.9 end,
      function(m, i)
        local k = m.layers[1].kernel
        k:assign(k * (i % 2 == 0 and 0.5 or 1))
      end,
      function(m, i) m.optimizer.gradient_accumulation_steps = i > 6 and 2 or nil end,
      function(m, i)
        if i == 7 then
          m.optimizer = optimizers.SGD { 0.1 }
        end
      end,
    }
    for _, dtype in ipairs { "float32", "bfloat16" } do
      for k, change in ipairs(changes) do
        local want, got, model = both({ "Adam", 0.05 }, { dtype = dtype, steps = 12 }, change)
        assert.are.same(want, got, "change " .. k)
        assert.is_true(plans(model, "train") > 0 or k == 8, why(model))
      end
    end
  end)

  it("hears the rate of a group", function()
    check(function()
      return optimizers.SGD { 0.01, groups = { { "bias", learning_rate = 0.1 } } }
    end, {}, function(m, i)
      m.optimizer.groups[1].learning_rate = 0.1 * i
    end)
  end)

  it("goes on from weights and state that were set", function()
    local want, got, model = both({ "Adam", 0.05 }, { steps = 12 }, function(m, i)
      if i == 7 then
        local all = {}
        for k, v in ipairs(m.optimizer.variables) do
          all[k] = k == 1 and tide.tensor(3, { dtype = "int64" }) or v * 0.5
        end
        m.optimizer:set_weights(all)
      end
    end)
    assert.are.same(want, got)
    assert.are.equal(1, plans(model, "train"), why(model))
  end)

  it("says why the optimizer's step is none of it", function()
    check({ "Nadam", 0.01 }, {}, nil, "more than its op")
    check({ "Lamb", 0.01 }, {}, nil, "more than its op")
    check({ "Adam", gradient_accumulation_steps = 2 }, {}, nil, "accumulated")
    check({ "Adam", use_ema = true, ema_overwrite_frequency = 3 }, {}, nil, "overwrite")
    check(function() return optimizers.Lookahead { "adam", 3 } end, {}, nil, "scales the loss")
  end)

  it("writes nothing where a metric cannot take the batch", function()
    local function run()
      local model = made({ "Adam", 0.05 }, {})
      local x, y = tide.random.normal { 7, 6 }, tide.ones({ 7 }, { dtype = "int32" })
      for _ = 1, 6 do
        model:train_on_batch(x, y)
      end
      local ok, e = pcall(model.train_on_batch, model, x, y * 9)
      assert.is_false(ok)
      return { (tostring(e):gsub("dense_%d+", "")), bits(model.weights:totable()),
        { model:train_on_batch(x, y) } }
    end
    local want
    do
      local _ <close> = eagerly()
      want = run()
    end
    assert.are.same(want, run())
  end)
end)

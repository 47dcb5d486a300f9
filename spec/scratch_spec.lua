-- One class of each kind, written in a module of its own, is all that it takes: help, completion,
-- compile by name, training, saving and loading know it.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local source = [=[
local tide = require "tide"
local scratch = {}

--- Scales by a learned factor per feature.
---
---     local y = scratch.ScratchScale { 3 }(tide.ones { 1, 2 })
scratch.Layer = tide.Layer:extend("ScratchScale", {
  args = { { "start", "number", 1, "where the factors begin" },
    { "initializer", "initializer", "ScratchInitializer", "of what is added to it" },
    { "regularizer", "regularizer", "ScratchRegularizer" },
    { "constraint", "constraint", "ScratchConstraint" },
    { "activation", "activation", "scratch_activation" } },
  build = function(self, shape)
    self.scale = self:add_weight { name = "scale", shape = { shape[#shape] },
      initializer = self.initializer, regularizer = self.regularizer,
      constraint = self.constraint }
  end,
  call = function(self, x) return self.activation(x * (self.scale + self.start)) end,
})

--- Draws nothing: one value everywhere.
scratch.Initializer = tide.initializers.Initializer:extend("ScratchInitializer", {
  args = { { "value", "number", 0.25, "the value" } },
  call = function(self, shape, dtype)
    return tide.full(shape, self.value, { dtype = dtype })
  end,
})

--- A hundredth of the sum.
scratch.Regularizer = tide.regularizers.Regularizer:extend("ScratchRegularizer", {
  call = function(_, w) return w:sum() * 0.01 end,
})

--- Values up to a limit.
scratch.Constraint = tide.constraints.Constraint:extend("ScratchConstraint", {
  args = { { "most", "number", 0.5, "the limit" } },
  call = function(self, w) return w:minimum(self.most) end,
})

--- Twice the input.
scratch.activation = tide.activations.register("scratch_activation", function(x) return x * 2 end)

--- The mean of distances, to a power.
scratch.Loss = tide.losses.Loss:extend("ScratchLoss", {
  args = { { "power", "number", 1, "the power" } },
  targets = "values",
  call = function(self, y_true, y_pred) return ((y_pred - y_true):abs() ^ self.power):mean(-1) end,
})

--- How many samples were seen.
scratch.Metric = tide.metrics.Metric:extend("ScratchMetric", {
  direction = "up",
  init = function(self) self.total = self:add_variable { shape = {}, name = "total" } end,
  update_state = function(self, y_true) self.total:copy_(self.total + #y_true) end,
  result = function(self) return self.total:item() end,
})

--- Steps by the sign of the gradient, with a memory.
scratch.Optimizer = tide.optimizers.Optimizer:extend("ScratchOptimizer", {
  args = { "learning_rate", { "keep", "number", 0.5, "share of the memory that stays" } },
  slot_names = { "memory" },
  update_step = function(self, gradient, variable, learning_rate, slots)
    slots.memory:copy_(slots.memory * self.keep + gradient:sign())
    variable:copy_(variable - slots.memory * learning_rate)
  end,
})

--- The rate, halved every `every` steps.
scratch.Schedule = tide.optimizers.schedules.LearningRateSchedule:extend("ScratchSchedule", {
  args = { { "rate", "number", 0.125, "at first" }, { "every", "int", 4, "steps" } },
  call = function(self, step) return self.rate * 0.5 ^ (step // self.every) end,
})

--- Counts the epochs.
scratch.Callback = tide.callbacks.Callback:extend("ScratchCallback", {
  init = function(self) self.count = 0 end,
  on_epoch_end = function(self) self.count = self.count + 1; scratch.epochs = self.count end,
})

return scratch
]=]

describe("a class of each kind in a module of its own", function()
  local folder = os.tmpname()
  os.remove(folder)
  local path, scratch = package.path, nil
  local x = tide.random.normal({ 8, 2 }, { seed = 1 })
  local y = tide.random.normal({ 8, 2 }, { seed = 2 })

  setup(function()
    core.mkdirs(folder)
    local f = assert(io.open(folder .. "/scratch_module.lua", "w"))
    f:write(source)
    f:close()
    package.path = folder .. "/?.lua;" .. path
    scratch = require "scratch_module"
  end)
  teardown(function()
    package.path = path
    os.remove(folder .. "/scratch_module.lua")
    os.remove(folder)
  end)

  local function model()
    local m = tide.Sequential { tide.layers.get { "ScratchScale", 2, input_shape = { 2 } } }
    m:compile { optimizer = { "ScratchOptimizer", { "ScratchSchedule", every = 6 } },
      loss = { "ScratchLoss", power = 2 }, metrics = { "scratch_metric" } }
    return m
  end

  it("is found by name and trains", function()
    local m = model()
    -- (0.25 + 2) x * 2
    assert.near(4.5 * x[{ 1, 1 }], m(x):tolist()[1][1], 1e-5)
    local h = m:fit(x, y, { epochs = 2, batch_size = 4, verbose = 0,
      callbacks = { "ScratchCallback" } })
    assert.equal(8, h.scratch_metric[2])
    assert.equal(2, scratch.epochs)
    assert.equal(0.125, m.optimizer.learning_rate)
    assert.near(0.01 * m.weights[1]:sum():item(), m.losses[1]:item(), 1e-6)
    for _, v in ipairs(m.weights[1]:tolist()) do
      assert.is_true(v <= 0.5)
    end
    local stop = tide.callbacks.EarlyStopping { monitor = "scratch_metric" }
    m:fit(x, y, { epochs = 1, verbose = 0, callbacks = { stop } }) -- it knows which way is better
  end)

  for _, form in ipairs { ".safetensors", ".keras" } do
    it("goes through " .. form .. " with all that belongs to it", function()
      local m = model()
      m:fit(x, y, { epochs = 1, batch_size = 4, verbose = 0 })
      local at = folder .. "/model" .. form
      m:save(at)
      local again = tide.load_model(at)
      os.remove(at)
      assert.same(m(x):tolist(), again(x):tolist())
      local layer = again.layers[1]
      assert.equal(scratch.Layer, getmetatable(layer))
      assert.equal(m.layers[1].initializer, layer.initializer)
      assert.equal(scratch.Constraint, getmetatable(layer.constraint))
      assert.equal(scratch.activation, layer.activation)
      assert.equal(scratch.Optimizer, getmetatable(again.optimizer))
      assert.equal(2, again.optimizer.iterations)
      assert.equal(6, again.optimizer:get_config().learning_rate.config.every)
      -- both go on alike
      m:fit(x, y, { epochs = 1, verbose = 0, shuffle = false })
      local h = again:fit(x, y, { epochs = 1, verbose = 0, shuffle = false })
      assert.same(m.weights[1]:tolist(), again.weights[1]:tolist())
      assert.equal(8, h.scratch_metric[1])
    end)
  end

  it("has help, and its names and options are completed", function()
    local help, complete = require "tide.help", require "tide.repl.complete"
    for kind, says in pairs { Layer = "Scales by a learned factor", Loss = "power = 1",
      Metric = "How many samples", Optimizer = "keep = 0.5", Schedule = "every = 4",
      Callback = "Counts the epochs", Initializer = "value = 0.25", Regularizer = "A hundredth",
      Constraint = "most = 0.5" } do
      local text = help.text(scratch[kind], kind)
      assert.truthy(text:find(says, 1, true), kind .. ": " .. text)
    end
    local env = { tide = tide, scratch = scratch }
    for before, name in pairs { ['m:compile { loss = "'] = "ScratchLoss",
      ['m:compile { optimizer = "'] = "ScratchOptimizer", ['m:compile { metrics = { "'] =
        "ScratchMetric", ['tide.layers.get("'] = "ScratchScale", ['f { activation = "'] =
        "scratch_activation", ['f { kernel_initializer = "'] = "ScratchInitializer",
      ['f { kernel_regularizer = "'] = "ScratchRegularizer",
      ['f { kernel_constraint = "'] = "ScratchConstraint", ['m:fit(x, { callbacks = { "'] =
        "ScratchCallback" } do
      assert.same({ name }, complete.words(name:sub(1, 8), before, env), before)
    end
    assert.same({ "power = " }, complete.options("po", "scratch.Loss { ", env))
  end)

  it("is suggested for a name that is nearly its own", function()
    local why = expect.message(tide.losses.get, "ScratchLos")
    assert.truthy(why:find("did you mean 'ScratchLoss'?", 1, true), why)
  end)
end)

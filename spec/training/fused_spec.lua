-- Gradients that only the optimizer reads and that a plan does not make (src/fuse.c): the product
-- of two factors moves the weight piece by piece, with the bits of the eager step.
local S = require "tide.private"
local core = require "tide.core"
local tide = require "tide"
local replay = require "tide.training.replay"
local L = tide.layers

local function eagerly()
  local was = replay.on
  replay.on = false
  return setmetatable({}, { __close = function() replay.on = was end })
end

-- How many gradients the plan of training does not make.
local function fused(model)
  for name, room in pairs(model[S].plans or {}) do
    local facts = core.plans_facts(room.set)
    if name:match "^train" and #facts > 0 then
      return facts[1].fused, facts[1].arena
    end
  end
  return nil, tostring(model:explain_plan())
end

local function dense(o)
  return function()
    local options = { activation = o.activation, use_bias = o.use_bias,
      kernel_regularizer = o.regularizer }
    local first, rest = { 211 }, { 257 }
    for k, v in pairs(options) do
      first[k], rest[k] = v, v
    end
    return tide.Sequential { tide.Input { 230 }, L.Dense(first), L.Dense(rest), L.Dense { 3 } }
  end
end

-- Weights and optimizer's state after some steps, and the model.
local function trained(optimizer, make, batch)
  tide.seed(3)
  local model = make()
  model:compile { optimizer = optimizer, metrics = { "accuracy" },
    loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true } }
  local said = {}
  for i = 1, 7 do
    tide.seed(i)
    local x, y = tide.random.normal { batch, 230 }, tide.random.randint({ batch }, 1, 4)
    said[i] = table.concat({ model:train_on_batch(i == 6 and x * (0 / 0) or x, y) }, " ")
  end
  local state = {}
  for _, list in ipairs { model.weights, model.optimizer.variables } do
    for _, w in ipairs(list) do
      state[#state + 1] = w.ndim > 0 and w:detach():copy() or w
    end
  end
  return said, model, state
end

local function check(optimizer, make, batch, expected)
  local want, first, state
  do
    local _ <close> = eagerly()
    want, first, state = trained(optimizer, make, batch)
  end
  assert.is_nil(fused(first))
  local got, model, now = trained(optimizer, make, batch)
  local what = optimizer[1] .. " " .. tostring(model.layers[1].activation)
  assert.are.same(want, got, what)
  assert.are.equal(#state, #now)
  for i = 1, #state do
    local differ = tide.ops.any(tide.ops.not_equal(state[i], now[i]))
    assert.is_false(differ, ("%s: tensor %d"):format(what, i))
  end
  local n, why = fused(model)
  assert.are.equal(core.own_products() and expected or 0, n, why)
  return model
end

describe("a gradient that only the optimizer reads", function()
  local was
  setup(function() was, replay.on = replay.on, true end)
  teardown(function() replay.on = was end)

  it("is not made, for every optimizer", function()
    for _, optimizer in ipairs { { "SGD", 0.1 }, { "SGD", 0.1, momentum = 0.9 }, { "Adam", 0.01 },
      { "Adam", 0.01, amsgrad = true }, { "AdamW", 0.01 }, { "RMSprop", 0.01 },
      { "RMSprop", momentum = 0.5, centered = true }, { "Adagrad" }, { "Adamax" }, { "Adadelta" },
      { "Lion", 0.01 }, { "Adam", 0.01, clipvalue = 1e-3, weight_decay = 0.1 },
      { "SGD", 0.1, loss_scale_factor = 8 }, { "Adam", 0.01, use_ema = true },
      { "AdamW", 0.01, groups = { { "bias$", weight_decay = 0 } } } } do
      check(optimizer, dense { activation = "relu" }, 9, 2)
    end
  end)

  it("is not made, for every activation, with and without a bias", function()
    for _, activation in ipairs { "linear", "relu", "relu6", "sigmoid", "tanh", "elu", "gelu",
      "silu" } do
      check({ "Adam", 0.01 }, dense { activation = activation }, 5, 2)
      check({ "Adam", 0.01 }, dense { activation = activation, use_bias = false }, 40, 2)
    end
  end)

  it("is made where norms are limited, something is added, or its factors are larger", function()
    check({ "Adam", clipnorm = 0.01 }, dense {}, 9, 0)
    check({ "Adam", global_clipnorm = 0.01 }, dense {}, 9, 0)
    check({ "Adam", 0.01 }, dense { regularizer = "l2" }, 9, 0)
    check({ "Adam", 0.01 }, dense { activation = "relu" }, 300, 0)
    check({ "Adam", 0.01 }, function()
      local x, twice = tide.Input { 230 }, L.Dense { 230, activation = "tanh" }
      return tide.Model { inputs = x, outputs = L.Dense(3)(twice(twice(x))) }
    end, 9, 0)
  end)

  it("takes less room than one that is made", function()
    local function arena(optimizer)
      return select(2, fused(select(2, trained(optimizer, dense { activation = "relu" }, 9))))
    end
    local less, more = arena { "Adam", 0.01 }, arena { "Adam", 0.01, clipnorm = 1 }
    assert.is_true(not core.own_products() or less < more / 2, less .. " " .. more)
  end)
end)

-- fit that Ctrl-C ends and `resume = true` continues: as if it had never ended, bit for bit.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers = tide.layers

tide.seed(1)
local X = tide.random.normal { 44, 5 }
local Y = tide.random.randint({ 44 }, 1, 4)

local function build()
  tide.seed(3)
  local model = tide.Sequential {
    layers.Dense { 8, activation = "relu", input_shape = { 5 } },
    layers.BatchNormalization(),
    layers.Dropout { 0.3 },
    layers.Dense { 3, activation = "softmax" },
  }
  model:compile { optimizer = { "adam", learning_rate = 0.01 },
    loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
  return model
end

local function plain(list)
  local out = {}
  for i, t in ipairs(list) do
    out[i] = type(t) == "userdata" and (t.ndim == 0 and t:item() or t:tolist()) or t
  end
  return out
end

local function state(model, history)
  local out = { weights = plain(model:get_weights()), optimizer = plain(model.optimizer.variables),
    logs = {} }
  for name, l in pairs(history.history) do
    out.logs[name] = l:totable()
  end
  out.epochs, out.generator = history.epoch:totable(), { core.generator() }
  return out
end

-- Presses Ctrl-C at every `at`-th batch of a kind, or once at the first that `at` holds of.
local function presser(at, hook)
  local n = 0
  return { [hook or "on_train_batch_end"] = function()
    n = n + 1
    if at[n] then
      core.interrupted(true)
    end
  end }
end

-- Trains to the end, however often it is interrupted; between, does what a person may do.
local function train(model, options, between)
  local history, times = model:fit(X, Y, options), 0
  while history.stopped == "interrupt" do
    times = times + 1
    if between then
      between(model, history)
    end
    history = model:fit { resume = true }
  end
  return history, times
end

local function look(model)
  model:evaluate(X, Y, { verbose = 0 })
  model:predict(X, { verbose = 0 })
  tide.random.normal { 3 }
end

describe("model:fit { resume = true }", function()
  local function options(callbacks)
    return { epochs = 3, batch_size = 8, verbose = 0, validation_split = 0.2,
      callbacks = callbacks }
  end
  local model = build()
  local want = state(model, model:fit(X, Y, options()))

  for at = 1, 15 do
    it("equals a run that was not interrupted, stopped after batch " .. at, function()
      local m = build()
      local h, times = train(m, options { presser { [at] = true } }, look)
      assert.equal(1, times)
      assert.is_nil(h.stopped)
      assert.same(want, state(m, h))
    end)
  end

  it("equals it after an interrupt in the middle of validation, and after several", function()
    local m = build()
    local h, times = train(m, options { presser({ [1] = true, [3] = true, [5] = true },
      "on_test_batch_end") }, look)
    assert.equal(3, times)
    assert.same(want, state(m, h))
    m = build()
    h, times = train(m, options { presser { true, true, nil, true, true } }, look)
    assert.equal(4, times)
    assert.same(want, state(m, h))
  end)

  it("gives callbacks the state of the batch back, and judges no half epoch", function()
    local function callbacks(name, more)
      return { tide.callbacks.EarlyStopping { monitor = "val_loss", patience = 1,
        restore_best_weights = true },
          tide.callbacks.ReduceLROnPlateau { monitor = "loss", patience = 1, factor = 0.5 },
        tide.callbacks.CSVLogger { name }, more }
    end
    local one, two = os.tmpname(), os.tmpname()
    local function options_of(name, more)
      local o = options(callbacks(name, more))
      o.epochs = 8
      return o
    end
    local m = build()
    local expected = state(m, m:fit(X, Y, options_of(one)))
    for at = 1, 8 do
      m = build()
      local h, times = train(m, options_of(two, presser { [at] = true }), look)
      assert.equal(1, times)
      assert.same(expected, state(m, h))
      assert.equal(expect.read(one), expect.read(two))
    end
    os.remove(one)
    os.remove(two)
  end)

  it("undoes what closing does to the weights, not what a person does", function()
    local function ema()
      local m = build()
      m:compile { optimizer = { "sgd", learning_rate = 0.1, use_ema = true },
        loss = "sparse_categorical_crossentropy" }
      return m
    end
    local m = ema()
    local expected = state(m, m:fit(X, Y, options()))
    m = ema()
    assert.same(expected, state(m, (train(m, options { presser { [4] = true } }))))
    m = build()
    local seen
    train(m, options { presser { [4] = true }, { on_train_end = function()
      seen = m.optimizer.learning_rate
    end } }, function()
      m.optimizer.learning_rate = 0.5
    end)
    assert.equal(0.5, seen)
  end)

  it("goes on with a generator where it stood, and with more epochs", function()
    local function batches()
      return coroutine.wrap(function()
        for i = 0, 1000 do
          local at = i % 5 * 8
          coroutine.yield(X[{ { at + 1, at + 8 } }], Y[{ { at + 1, at + 8 } }])
        end
      end)
    end
    local m = build()
    local expected = state(m, m:fit(batches(), { epochs = 4, steps_per_epoch = 3, verbose = 0 }))
    m = build()
    local h = m:fit(batches(), { epochs = 2, steps_per_epoch = 3, verbose = 0,
      callbacks = presser { [4] = true } })
    assert.equal("interrupt", h.stopped)
    assert.same({ 1, 2 }, h.epoch:totable())
    h = m:fit { resume = true, epochs = 4 }
    assert.same(expected, state(m, h))
  end)

  it("begins on_train_resume with the place, and leaves the first history as it was", function()
    local m, places = build(), {}
    local callbacks = { presser { [7] = true }, { on_train_resume = function(place)
      places[#places + 1] = place
    end,
      on_train_begin = function() places[#places + 1] = "begin" end } }
    local first = m:fit(X, Y, options(callbacks))
    assert.equal("interrupt", first.stopped)
    assert.equal(2, #first.loss)
    local second = m:fit { resume = true }
    assert.same({ "begin", { epoch = 2, batch = 2 } }, places)
    assert.equal(2, #first.loss)
    assert.equal(3, #second.loss)
  end)

  it("says when there is nothing to go on with, and what may be given", function()
    local m = build()
    assert.error_matches(function() m:fit { resume = true } end, "nothing to resume")
    m:fit(X, Y, options())
    assert.error_matches(function() m:fit { resume = true } end, "nothing to resume")
    m:fit(X, Y, options { presser { true } })
    assert.error_matches(function()
      m:fit { resume = true, batch_size = 4 }
    end, "leave out 'batch_size'")
    assert.error_matches(function() m:fit(X, Y, { resume = true }) end, "leave out the data")
    assert.equal(3, #m:fit({ resume = true }).loss)
    m:fit(X, Y, options { presser { true } })
    m:compile { loss = "mse" }
    assert.error_matches(function() m:fit { resume = true } end, "nothing to resume")
  end)
end)

-- Callbacks that keep, average and choose: the checkpoint manager, averages of weights, and what
-- the watching ones watch.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers, callbacks = tide.layers, tide.callbacks

local X, Y = tide.tensor { { 1 }, { 2 }, { 3 }, { 4 } }, tide.tensor { { 2 }, { 4 }, { 6 }, { 8 } }

local function model(o)
  local m = tide.Sequential { layers.Dense { 1, use_bias = false, input_shape = { 1 } } }
  m:set_weights { { { 0.0 } } }
  o = o or {}
  o[1], o.learning_rate = o[1] or "sgd", 0.01
  m:compile { optimizer = o, loss = "mse" }
  return m
end

local function fit(m, o)
  o.verbose, o.shuffle = 0, false
  return m:fit(X, Y, o)
end

local function weight(m)
  return m:get_weights()[1]:item()
end

local dir
before_each(function()
  dir = expect.folder()
end)
after_each(function()
  os.execute("rm -r " .. dir)
end)

describe("CheckpointManager", function()
  it("keeps the last few and the best one", function()
    local m = model()
    local rate = { 0.01, 0.02, 5, 0.01, 0.01 }
    local manager = callbacks.CheckpointManager { dir, monitor = "loss", max_to_keep = 2 }
    local h = fit(m, { epochs = 5, batch_size = 2, callbacks = { manager,
      callbacks.LearningRateScheduler { function(epoch) return rate[epoch] end } } })
    assert.is_true(h.loss[2] < h.loss[1] and h.loss[2] < h.loss[3])
    assert.same({ "best.safetensors", "epoch-0004.safetensors", "epoch-0005.safetensors" },
      (core.listdir(dir)))
    assert.equal(dir .. "/epoch-0005.safetensors", manager:latest())
    assert.equal(h.loss[2], manager.best)
    local best = model()
    best:load_weights(manager:best_path())
    local again = model()
    fit(again, { epochs = 2, batch_size = 2, callbacks = {
      callbacks.LearningRateScheduler { function(epoch) return rate[epoch] end } } })
    assert.equal(weight(again), weight(best))
  end)

  it("goes on from the last, and from the one before where that is damaged", function()
    local want = model()
    fit(want, { epochs = 4, batch_size = 1 })
    local function manager()
      return callbacks.CheckpointManager { dir, save_freq = 3, max_to_keep = 3 }
    end
    local first = manager()
    assert.is_nil(first:latest())
    pcall(fit, model(), { epochs = 4, batch_size = 1, resume = first:latest(), callbacks = { first,
      { on_epoch_begin = function(epoch) if epoch == 4 then error "crash" end end } } })
    assert.same({ "epoch-0002-batch-000002.safetensors", "epoch-0003-batch-000001.safetensors",
      "epoch-0003-batch-000004.safetensors" }, (core.listdir(dir)))
    local again = model()
    fit(again, { epochs = 4, batch_size = 1, resume = manager():latest() })
    assert.equal(weight(want), weight(again))
    expect.write(dir .. "/epoch-0003-batch-000004.safetensors", "no")
    again = model()
    fit(again, { epochs = 4, batch_size = 1, resume = manager():latest() })
    assert.equal(weight(want), weight(again))
  end)

  it("saves only the best, or only weights, and is OrbaxCheckpoint too", function()
    assert.equal(callbacks.CheckpointManager, callbacks.OrbaxCheckpoint)
    fit(model(), { epochs = 3, callbacks = { callbacks.OrbaxCheckpoint { dir, monitor = "loss",
      save_best_only = true, max_to_keep = 9, initial_value_threshold = 1e-9 } } })
    assert.same({}, (core.listdir(dir)))
    local manager = callbacks.CheckpointManager { dir, save_weights_only = true }
    local m = model()
    fit(m, { epochs = 2, callbacks = { manager } })
    local other = model()
    other:load_weights(manager:latest())
    assert.equal(weight(m), weight(other))
    expect.raises("is no checkpoint of a training", function()
      fit(model(), { resume = manager:latest() })
    end)
  end)

  it("refuses what means nothing", function()
    expect.raises("save_freq must be", function()
      callbacks.CheckpointManager { dir, save_freq = "batch" }
    end)
    expect.raises("directory must be", function() callbacks.CheckpointManager { "" } end)
    expect.raises("max_to_keep", function()
      callbacks.CheckpointManager { dir, max_to_keep = 0 }
    end)
  end)
end)

describe("a function of the logs", function()
  local function gap(logs)
    return logs.val_loss and logs.val_loss - logs.loss
  end

  it("is watched as a name is", function()
    local seen = {}
    local stop = callbacks.EarlyStopping { mode = "min", patience = 1, monitor = function(logs)
      seen[#seen + 1] = gap(logs)
      return ({ 3, 2, 2.5, 2.7, 9 })[#seen]
    end }
    local h = fit(model(), { epochs = 9, validation_data = { X, Y }, callbacks = { stop } })
    assert.equal(3, #h.loss)
    assert.equal(h.val_loss[3] - h.loss[3], seen[3])
    assert.equal(2, stop.best)
    local m = model()
    fit(m, { epochs = 4, callbacks = { callbacks.ReduceLROnPlateau { patience = 1, factor = 0.5,
      mode = "max", monitor = function(logs) return -1 - logs.loss * 0 end } } })
    assert.equal(0.01 / 8, m.optimizer.learning_rate)
    fit(model(), { epochs = 3, callbacks = { callbacks.ModelCheckpoint {
      dir .. "/{epoch}.safetensors", save_best_only = true, mode = "max",
      monitor = function(logs) return logs.loss end } } })
    assert.same({ "1.safetensors" }, (core.listdir(dir)))
  end)

  it("says its direction, and gives a number", function()
    expect.raises("say mode = 'max' or mode = 'min'", function()
      fit(model(), { callbacks = { callbacks.EarlyStopping { monitor = gap } } })
    end)
    expect.raises("monitor must return a number", function()
      fit(model(), { callbacks = { callbacks.EarlyStopping { mode = "min", monitor = function()
        return "low"
      end } } })
    end)
    expect.raises("monitor", function() callbacks.EarlyStopping { monitor = 3 } end)
  end)
end)

describe("StochasticWeightAveraging", function()
  it("ends with the mean of the epochs' weights", function()
    local m, seen = model(), {}
    fit(m, { epochs = 6, batch_size = 2, callbacks = {
      callbacks.StochasticWeightAveraging { start_epoch = 2, swa_freq = 2, swa_lr = 0.005 },
      { on_epoch_end = function(epoch) seen[epoch] = weight(m) end } } })
    expect.close(weight(m), (seen[2] + seen[4] + seen[6]) / 3, 1e-6)
    assert.equal(0.005, m.optimizer.learning_rate)
    m = model()
    fit(m, { epochs = 1, callbacks = { callbacks.StochasticWeightAveraging() } })
    local plain = model()
    fit(plain, { epochs = 1 })
    assert.equal(weight(plain), weight(m))
  end)

  it("means halves in float32", function()
    local m = tide.Sequential { tide.layers.Dense { 1, input_shape = { 2 }, dtype = "bfloat16" } }
    m:compile { { "sgd", learning_rate = 0 }, "mse" }
    local w = m.weights[1]
    m:fit(tide.ones { 2, 2 }, tide.ones { 2, 1 }, { epochs = 4, verbose = 0, callbacks = {
      { on_epoch_end = function(epoch) -- 1, and three times the next bfloat16
        w:assign(tide.ops.full_like(w, epoch == 1 and 1 or 1.0078125))
      end }, callbacks.StochasticWeightAveraging { start_epoch = 1 } } })
    assert.equal("bfloat16", w.dtype)
    assert.same({ { 1.0078125 }, { 1.0078125 } }, w:tolist()) -- of 1.005859
  end)
end)

describe("SwapEMAWeights", function()
  -- numbers of Keras 3.15: full data of this file, batches of 2, momentum 0.9
  local loss = { 27.5625, 13.992276191711426, 7.103267192840576 }
  local val_loss = { 25.738170623779297, 22.288570404052734, 18.14694595336914 }
  local at_end = { [false] = { 0.5749999284744263, 0.9846873879432678, 1.2765898704528809 },
    [true] = { 0.14750003814697266, 0.2761062979698181, 0.44449591636657715 } }

  for _, on_epoch in ipairs { false, true } do
    it("validates with the averages; swap_on_epoch = " .. tostring(on_epoch), function()
      local m, seen = model { use_ema = true, ema_momentum = 0.9 }, {}
      local h = fit(m, { epochs = 3, batch_size = 2, validation_data = { X, Y }, callbacks = {
        callbacks.SwapEMAWeights { swap_on_epoch = on_epoch },
        { on_epoch_end = function(epoch) seen[epoch] = weight(m) end } } })
      expect.close(h.loss:totable(), loss)
      expect.close(h.val_loss:totable(), val_loss)
      expect.close(seen, at_end[on_epoch])
      expect.close(weight(m), 0.44449592)
    end)
  end

  it("ends with the averages where a callback stops it", function()
    local m = model { use_ema = true, ema_momentum = 0.9 }
    fit(m, { epochs = 3, batch_size = 2, callbacks = { callbacks.SwapEMAWeights {
      swap_on_epoch = true }, { on_epoch_end = function(epoch)
        m.stop_training = epoch == 2
      end } } })
    expect.close(weight(m), 0.2761062979698181)
  end)

  it("wants an optimizer that keeps averages", function()
    expect.raises("the optimizer keeps no averages (expected use_ema = true)", function()
      fit(model(), { callbacks = { callbacks.SwapEMAWeights() } })
    end)
  end)
end)

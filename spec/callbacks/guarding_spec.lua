-- NaNGuard names where the first NaN stands; PlotHistory and ProgressFile tell others.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local json = require "tide.utils.json"
local layers, callbacks = tide.layers, tide.callbacks

local X, Y = tide.ones { 12, 2 }, tide.ones { 12, 1 }

local function own(name, f)
  return tide.Layer:extend(name, { call = function(_, x) return f(x) end })
end
local Log = own("SpecLog", function(x) return tide.ops.log(x - 1) end)
local Sqrt = own("SpecSqrt", tide.ops.sqrt)

local function model(between)
  tide.seed(1)
  return tide.Sequential { layers.Dense { 3, kernel_initializer = "ones", input_shape = { 2 } },
    between or layers.BatchNormalization(), layers.Dense { 1 } }
end

-- Trains with a guard of these options; returns the guard, the history and the model.
local function guarded(m, o, x, optimizer, y)
  m:compile { optimizer = optimizer or "adam", loss = "mse" }
  local guard = callbacks.NaNGuard(o or {})
  local h = m:fit(x or X, y or Y, { batch_size = 4, epochs = 2, verbose = 0, shuffle = false,
    callbacks = { guard } })
  return guard, h, m
end

local function with_bad_row(v)
  local x = X:copy()
  x[7] = tide.full({ 2 }, v)
  return x
end

describe("NaNGuard", function()
  it("names the sample in the data", function()
    local guard, h = guarded(model(), {}, with_bad_row(0 / 0))
    assert.same({ place = "data", name = "x", kind = "NaN", sample = 3, epoch = 1, batch = 2 },
      guard.found)
    assert.equal("callback", h.stopped)
    local y = Y:copy()
    y[2] = 1 / 0
    guard = guarded(model(), {}, nil, nil, y)
    assert.same({ place = "data", name = "y", kind = "infinity", sample = 2, epoch = 1,
      batch = 1 }, guard.found)
  end)

  it("names layer and op of the forward pass, and raises", function()
    local m = model(Log { name = "inner" })
    m:compile { loss = "mse" }
    local guard = callbacks.NaNGuard { "raise" }
    expect.raises("epoch 1, batch 1: NaN in the forward pass: the op log of inner (SpecLog)",
      function()
        m:fit(X * 0, Y, { verbose = 0, callbacks = { guard } })
      end)
    assert.equal("log", guard.found.op)
    assert.equal("forward", guard.found.place)
  end)

  it("names the op of the loss", function()
    local m = model()
    m:compile { loss = function(_, y_pred) return tide.ops.log(y_pred * 0 - 1) end }
    local guard = callbacks.NaNGuard()
    m:fit(X, Y, { verbose = 0, callbacks = { guard } })
    assert.equal("loss", guard.found.place)
    assert.equal("log", guard.found.op)
  end)

  it("names the weight with the gradient, and puts the weights back", function()
    local guard, _, m = guarded(model(Sqrt()), {}, X * 0)
    assert.equal("gradient", guard.found.place)
    assert.equal("infinity", guard.found.kind)
    assert.matches("bias$", guard.found.name)
    for _, w in ipairs(m:get_weights()) do
      assert.is_true(tide.ops.all(tide.ops.isfinite(w)))
    end
    assert.equal(0, m.optimizer.iterations)
  end)

  it("names weights that were bad before", function()
    local m = model()
    local weights = m:get_weights()
    weights[#weights] = tide.tensor { 0 / 0 }
    m:set_weights(weights)
    local guard = guarded(m, {})
    assert.equal("weights", guard.found.place)
    assert.matches("bias$", guard.found.name)
  end)

  it("goes on as if the batch had not been, moving statistics too", function()
    local x = with_bad_row(0 / 0)
    local _, h, m = guarded(model(), { "rollback" }, x)
    assert.is_nil(h.stopped)
    local want = model()
    want:compile { optimizer = "adam", loss = "mse" }
    for _ = 1, 2 do
      for _, at in ipairs { 1, 9 } do
        want:train_on_batch(X[{ { at, at + 3 } }], Y[{ { at, at + 3 } }])
      end
    end
    for i, w in ipairs(want:get_weights()) do
      assert.same(w:tolist(), m:get_weights()[i]:tolist())
    end
    assert.equal(4, m.optimizer.iterations)
  end)

  it("cuts the learning rate, and gives up in the end", function()
    local x = with_bad_row(0 / 0)
    local _, h, m = guarded(model(), { "reduce_lr", factor = 0.25 }, x, { "sgd",
      learning_rate = 0.16 })
    expect.close(m.optimizer.learning_rate, 0.01)
    assert.is_nil(h.stopped)
    _, h = guarded(model(), { "rollback", max_times = 1 }, x)
    assert.equal("callback", h.stopped)
  end)

  it("changes nothing where all is finite", function()
    local function run(more)
      tide.seed(3)
      local m = tide.Sequential { layers.Dense { 4, input_shape = { 2 } }, layers.Dropout { 0.5 },
        layers.Dense { 1 } }
      m:compile { optimizer = "adam", loss = "mse" }
      local h = m:fit(X, Y, { batch_size = 4, epochs = 3, verbose = 0, callbacks = { more } })
      return h.loss:totable()
    end
    assert.same(run(nil), run(callbacks.NaNGuard()))
  end)

  it("refuses what means nothing", function()
    expect.raises("action", function() callbacks.NaNGuard { "panic" } end)
    expect.raises("factor", function() callbacks.NaNGuard { "reduce_lr", factor = 2 } end)
  end)
end)

describe("files for others", function()
  local dir
  setup(function()
    dir = expect.folder()
  end)
  teardown(function()
    os.execute("rm -r " .. dir)
  end)

  local function fit(o)
    local m = model()
    m:compile { optimizer = "sgd", loss = "mse" }
    o.verbose, o.batch_size = 0, 4
    return m:fit(X, Y, o)
  end

  it("are learning curves, as PNG or SVG", function()
    local png, svg = dir .. "/c.png", dir .. "/c.svg"
    local at = {}
    fit { epochs = 3, validation_split = 0.34, callbacks = { callbacks.PlotHistory { png },
      callbacks.PlotHistory { svg, freq = 2 },
      { on_epoch_end = function(epoch) at[epoch] = core.file_exists(svg) end } } }
    assert.same({ false, true, true }, at)
    assert.equal("png", tide.image.format(expect.read(png)))
    local text = expect.read(svg)
    expect.has(text, "<svg")
    expect.has(text, "val_loss")
    expect.raises("cannot write 'curves.gif'", function() callbacks.PlotHistory "curves.gif" end)
  end)

  it("are the progress as JSON", function()
    local name = dir .. "/p.json"
    local seen = {}
    local h = fit { epochs = 2, callbacks = { callbacks.ProgressFile { name, freq = 2 },
      { on_train_batch_end = function(batch)
        if batch == 2 then
          seen[#seen + 1] = json.decode(expect.read(name))
        end
      end } } }
    assert.equal(2, #seen)
    assert.same({ "training", 2, 2, 2, 3 }, { seen[2].state, seen[2].epoch, seen[2].epochs,
      seen[2].batch, seen[2].batches })
    assert.is_true(seen[2].remaining >= 0 and seen[2].seconds >= 0)
    local last = json.decode(expect.read(name))
    assert.same({ "finished", 2, 0 }, { last.state, last.epoch, last.remaining })
    assert.equal(h.loss[2], last.logs.loss)
  end)

  it("end no training where they cannot be written", function()
    local h = fit { epochs = 3, callbacks = { callbacks.ProgressFile "/no/such/p.json",
      callbacks.PlotHistory "/no/such/c.svg" } }
    assert.equal(3, #h.loss)
  end)
end)

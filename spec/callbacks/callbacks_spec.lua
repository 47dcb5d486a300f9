local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers, callbacks = tide.layers, tide.callbacks

local X, Y = tide.tensor { { 1 }, { 2 }, { 3 }, { 4 } }, tide.tensor { { 2 }, { 4 }, { 6 }, { 8 } }

local function model(rate)
  local m = tide.Sequential { layers.Dense { 1, use_bias = false, input_shape = { 1 } } }
  m:set_weights { { { 0.0 } } }
  m:compile { optimizer = { "sgd", learning_rate = rate or 0.01 }, loss = "mse",
    metrics = { "mae" } }
  return m
end

local function fit(m, o)
  o.verbose = o.verbose or 0
  o.shuffle = false
  return m:fit(X, Y, o)
end

-- Values of a monitored quantity, one per epoch, fed to a callback without training.
local function feed(callback, name, values, m)
  m = m or { stop_training = false, optimizer = tide.optimizers.SGD { 1.0 } }
  if getmetatable(m) == nil then
    m.get_weights, m.set_weights = function() return {} end, function() end
  end
  callback:set_params {}
  callback:set_model(m)
  if callback.on_train_begin then
    callback:on_train_begin {}
  end
  for epoch, v in ipairs(values) do
    callback:on_epoch_end(epoch, { [name] = v })
    if m.stop_training then
      return epoch
    end
  end
end

local dir
setup(function()
  dir = expect.folder()
end)
teardown(function()
  os.execute("rm -r " .. dir)
end)

-- Standard output of a function.
local function printed(f)
  local name = dir .. "/out"
  local old = io.stdout
  local file = assert(io.open(name, "w"))
  io.stdout = file -- luacheck: ignore
  local ok, e = pcall(f)
  io.stdout = old -- luacheck: ignore
  file:close()
  assert(ok, e)
  local s = assert(io.open(name)):read "a"
  return s
end

describe("hooks", function()
  it("run in Keras' order, with epochs and batches from 1", function()
    local log = {}
    local hooks = {}
    for _, hook in ipairs(require("tide.callbacks.base").HOOKS) do
      if hook ~= "on_batch_begin" and hook ~= "on_batch_end" then
        hooks[hook] = function(n)
          log[#log + 1] = hook:sub(4) .. (type(n) == "number" and n or "")
        end
      end
    end
    local m = model()
    fit(m, { epochs = 2, batch_size = 2, validation_data = { X, Y }, callbacks = { hooks } })
    assert.equal(
      "train_begin epoch_begin1 train_batch_begin1 train_batch_end1 train_batch_begin2 \z
      train_batch_end2 test_begin "
      .. "test_batch_begin1 test_batch_end1 test_batch_begin2 test_batch_end2 test_end epoch_end1",
        table.concat(log, " ", 1, 13))
    assert.equal("train_end", log[#log])
    log = {}
    m:predict(X, { callbacks = { hooks } })
    assert.equal("predict_begin predict_batch_begin1 predict_batch_end1 predict_end",
      table.concat(log, " "))
  end)

  it("of classes see the model, the parameters and the logs; on_batch_end is on_train_batch_end",
    function()
    local seen = {}
    local Watch = callbacks.Callback:extend("Watch", {
      on_batch_end = function(self, batch, logs)
        seen[#seen + 1] = { batch, logs.loss, self.params.epochs, self.model ~= nil }
      end,
    })
    fit(model(), { epochs = 1, batch_size = 2, callbacks = { Watch() } })
    assert.equal(2, #seen)
    assert.equal(1, seen[2][3])
    expect.close(seen[1][2], (4 + 16) / 2)
    assert.is_true(seen[1][4])
  end)

  it("cost nothing where nobody defines them", function()
    local list = callbacks.CallbackList.new({ callbacks.History() }, {}, {})
    assert.is_nil(list.active.on_train_batch_end)
    assert.is_true(list:uses "on_epoch_end")
  end)

  it("may stop training, and the history says so", function()
    local h = fit(model(), { epochs = 9, callbacks = { callbacks.Callback:extend("StopAtTwo", {
      on_epoch_end = function(self, epoch) self.model.stop_training = epoch == 2 end,
    })() } })
    assert.equal(2, #h.loss)
    assert.equal("callback", h.stopped)
    assert.same({ 1, 2 }, h.epoch:totable())
    assert.equal(h.loss[2], h.loss[-1])
  end)
end)

describe("EarlyStopping", function()
  it("stops after patience epochs without improvement", function()
    assert.equal(5, feed(callbacks.EarlyStopping { patience = 2 }, "val_loss",
      { 3, 2, 1, 1.5, 1.2, 0.5 }))
    assert.equal(2, feed(callbacks.EarlyStopping {}, "val_loss", { 1, 1, 1 }))
    assert.equal(4, feed(callbacks.EarlyStopping { monitor = "acc", mode = "max", patience = 2 },
      "acc", { 0.5, 0.9, 0.8, 0.9 }))
    assert.equal(4, feed(callbacks.EarlyStopping { min_delta = 0.5, patience = 2 }, "val_loss",
      { 3, 2, 1.8, 1.6, 0 }))
    assert.is_nil(feed(callbacks.EarlyStopping { start_from_epoch = 5 }, "val_loss",
      { 1, 2, 3, 4, 5 }))
    assert.equal(2, feed(callbacks.EarlyStopping { baseline = 0.1, patience = 2 }, "val_loss",
      { 3, 3, 3 }))
  end)

  it("brings back the best weights", function()
    local m = model(0.2) -- diverges
    local h = fit(m, { epochs = 4, callbacks = { callbacks.EarlyStopping { monitor = "loss",
      patience = 2, restore_best_weights = true } } })
    assert(h.loss[3] > h.loss[1])
    local best = 1
    for i, v in ipairs(h.loss) do
      best = v < h.loss[best] and i or best
    end
    local again = model(0.2)
    fit(again, { epochs = best })
    expect.close(m:get_weights()[1], again:get_weights()[1])
  end)

  it("finds the direction of compiled metrics, and asks for the mode of others", function()
    local stop = callbacks.EarlyStopping { monitor = "mae" }
    fit(model(), { callbacks = { stop } })
    assert.is_true(stop._better(1, 2))
    assert.error_matches(function()
      fit(model(), { callbacks = { callbacks.EarlyStopping { monitor = "val_strange" } } })
    end, "say mode = 'max' or mode = 'min'")
  end)
end)

describe("ReduceLROnPlateau and LearningRateScheduler", function()
  it("lower the rate on a plateau, wait for the cooldown and keep the minimum", function()
    local m = { optimizer = tide.optimizers.SGD { 1.0 } }
    local c = callbacks.ReduceLROnPlateau {
      monitor = "loss", factor = 0.1, patience = 1, cooldown = 1, min_lr = 0.05 }
    local rates = {}
    c:set_model(m)
    c:on_train_begin()
    for epoch, v in ipairs { 1, 1, 1, 1, 1, 1 } do
      c:on_epoch_end(epoch, { loss = v })
      rates[epoch] = m.optimizer.learning_rate
    end
    expect.close(rates, { 1, 0.1, 0.05, 0.05, 0.05, 0.05 }, 1e-9)
  end)

  it("set the rate of each epoch, and log it", function()
    local h = fit(model(), { epochs = 3,
      callbacks = { callbacks.LearningRateScheduler { function(epoch, rate)
        return rate / epoch
      end } } })
    expect.close(h.learning_rate, { 0.01, 0.005, 0.005 / 3 })
    assert.error_matches(function()
      fit(model(), { callbacks = { callbacks.LearningRateScheduler { function()
        return "x"
      end } } })
    end, "schedule must return a number")
  end)
end)

describe("ModelCheckpoint", function()
  it("writes each epoch under a name made of the logs", function()
    local m = model()
    local h = fit(m, { epochs = 2,
      callbacks = {
        callbacks.ModelCheckpoint { dir .. "/deep/m-{epoch:02d}-{loss:.2f}.safetensors" } } })
    local name = ("%s/deep/m-02-%.2f.safetensors"):format(dir, h.loss[2])
    expect.close(tide.load_model(name):get_weights()[1], m:get_weights()[1], 0, 0)
    assert.is_true(core.file_exists(("%s/deep/m-01-%.2f.safetensors"):format(dir, h.loss[1])))
  end)

  it("keeps the best only, never a NaN, and writes weights or every n batches", function()
    local written = {}
    local m = { optimizer = tide.optimizers.SGD { 1.0 }, save_weights = function(_, p)
      written[#written + 1] = p
    end }
    local c = callbacks.ModelCheckpoint {
      "w-{epoch}.safetensors", monitor = "loss", save_best_only = true, save_weights_only = true }
    feed(c, "loss", { 3, 4, 2, 0 / 0, 1 }, m)
    assert.same({ "w-1.safetensors", "w-3.safetensors", "w-5.safetensors" }, written)
    written = {}
    c = callbacks.ModelCheckpoint {
      "b-{batch}.safetensors", save_weights_only = true, save_freq = 2 }
    c._save = function(_, _, batch) written[#written + 1] = ("b-%d.safetensors"):format(batch) end
    fit(model(), { epochs = 1, batch_size = 1, callbacks = { c } })
    assert.same({ "b-2.safetensors", "b-4.safetensors" }, written)
  end)

  it("refuses paths that fit no format, and names that are not logged", function()
    assert.error_matches(function() callbacks.ModelCheckpoint { "m.txt" } end, "must end in one of")
    assert.error_matches(function()
      callbacks.ModelCheckpoint { "m.safetensors", save_freq = "batch" }
    end, "save_freq must be")
    assert.error_matches(function()
      fit(model(), { callbacks = { callbacks.ModelCheckpoint { dir .. "/{los}.safetensors" } } })
    end, "names 'los', which is not logged; did you mean 'loss'")
  end)
end)

describe("CSVLogger", function()
  it("has columns of a validation only where there is one", function()
    local function first_line(o)
      o.callbacks = { callbacks.CSVLogger { dir .. "/columns.csv" } }
      fit(model(), o)
      return assert(io.open(dir .. "/columns.csv")):read()
    end
    assert.equal("epoch,loss,mae", first_line { epochs = 2 })
    assert.equal("epoch,loss,mae,val_loss,val_mae",
      first_line { epochs = 2, validation_data = { X, Y }, validation_freq = 2 })
  end)
end)

describe("CSVLogger on a disk that is full", function()
  local function said(f)
    local script = expect.name ".lua"
    expect.write(script, "local tide = require 'tide'\n" .. f)
    local pipe = io.popen(("sh -c %s 2>&1"):format(expect.quoted("ulimit -f 1; " .. expect.lua
      .. " " .. script)))
    local text = pipe:read "a"
    pipe:close()
    os.remove(script)
    return text
  end

  local training = [[
    local m = tide.Sequential { tide.layers.Dense { 1, input_shape = { 1 } } }
    m:compile { optimizer = "sgd", loss = "mse" }
    local h = m:fit(tide.ones { 4, 1 }, tide.ones { 4, 1 }, { epochs = 3, verbose = 0,
      callbacks = { tide.callbacks.CSVLogger { %q } } })
    print(#h.loss, "epochs")
  ]]

  it("says so and goes on training", function()
    local text = said(training:format "/dev/full")
    expect.has(text, "tide: CSVLogger: /dev/full: cannot write: No space left on device; training "
      .. "goes on, the rows are kept until there is room\n")
    expect.has(text, "tide: CSVLogger: /dev/full lacks its last 3 rows, which could not be written")
    expect.has(text, "3\tepochs")
    expect.raises("cannot write: No such file", function()
      fit(model(), { callbacks = { callbacks.CSVLogger "/no/such/folder/log.csv" } })
    end)
  end)

  it("keeps whole rows, and all of them once there is room", function()
    local name = dir .. "/late.csv"
    local c = callbacks.CSVLogger { name }
    c:set_params {}
    c:on_train_begin()
    c:on_epoch_end(1, { loss = 1 })
    for epoch = 2, 3 do -- the second and the third row find no room
      core.io_fault("write", 1, "nospace")
      c:on_epoch_end(epoch, { loss = epoch })
      assert.equal("epoch,loss\n1,1\n", expect.read(name))
    end
    core.io_fault("write", 0)
    c:on_epoch_end(4, { loss = 4 })
    c:on_train_end()
    assert.equal("epoch,loss\n1,1\n2,2\n3,3\n4,4\n", expect.read(name))
    os.remove(name)
  end)

  it("and a limit of a file's size end neither the process nor a save's old file", function()
    local name = dir .. "/limited.csv"
    local text = said(training:format(name) .. ([[
      local big = tide.Sequential { tide.layers.Dense { 400, input_shape = { 1 } } }
      for _, path in ipairs { "w.safetensors", "w.keras", "w.h5" } do
        path = %q .. "/" .. path
        print(path, pcall(big.save, big, path))
      end
      local core = require "tide.core"
      print(pcall(core.append_file, %q, ("x"):rep(5000)))
      io.stdout:write "alive"
    ]]):format(dir, name))
    local _, n = text:gsub("File too large", "")
    assert.equal(4, n, text)
    expect.has(text, "alive")
    assert.equal("epoch,loss\n1,", expect.read(name):sub(1, 13))
    os.execute("rm -f " .. dir .. "/w.* " .. name)
  end)

  it("cuts a half row when training goes on after a pause", function()
    local name = dir .. "/resumed.csv"
    local c = callbacks.CSVLogger { name }
    c:set_params {}
    c:on_train_begin()
    c:on_epoch_end(1, { loss = 1 })
    local f = io.open(name, "a")
    f:write "2,0."
    f:close()
    c:on_train_resume()
    c:on_epoch_end(2, { loss = 2 })
    c:on_train_end()
    assert.equal("epoch,loss\n1,1\n2,2\n", expect.read(name))
    os.remove(name)
  end)
end)

describe("CSVLogger, TerminateOnNaN, LambdaCallback", function()
  it("write a header and one line per epoch, and go on when appending", function()
    local name = dir .. "/log.csv"
    local c = callbacks.CSVLogger { name }
    c:set_params { validation = true }
    c:set_model {}
    c:on_train_begin()
    c:on_epoch_end(1, { loss = 0.5, acc = 1 })
    c:on_epoch_end(2, { loss = 0.25, acc = 1, val_loss = 2, extra = 3 })
    c:on_train_end()
    local function content()
      return io.open(name):read "a"
    end
    assert.equal("epoch,acc,loss,val_acc,val_loss\n1,1,0.5,NA,NA\n2,1,0.25,NA,2\n", content())
    c = callbacks.CSVLogger { name, append = true }
    c:on_train_begin()
    c:on_epoch_end(3, { loss = 0.125, val_loss = 1 })
    c:on_train_end()
    assert.equal("\n3,0.125,1\n", content():sub(-11))
  end)

  it("stop at a loss that is NaN, or raise", function()
    local function diverge(o)
      local m = model()
      return m:fit(tide.tensor { { 1 }, { 0 / 0 }, { 1 } }, tide.tensor { { 1 }, { 1 }, { 1 } },
        { batch_size = 1, shuffle = false, verbose = 0, epochs = 3,
          callbacks = { callbacks.TerminateOnNaN(o or {}) } })
    end
    local h
    assert.matches("Batch 2: invalid loss, terminating training", printed(function()
      h = diverge()
    end))
    assert.equal(1, #h.loss)
    assert.error_matches(function() diverge { raise_error = true } end, "the loss of batch 2 is")
  end)

  it("take any hook by name, and refuse others", function()
    assert.error_matches(function()
      callbacks.LambdaCallback { on_epoch_finish = print }
    end, "unknown option 'on_epoch_finish'")
    local n = 0
    fit(model(), { epochs = 2, callbacks = { callbacks.LambdaCallback { on_test_begin = function()
      n = n + 1
    end } },
      validation_data = { X, Y } })
    assert.equal(2, n)
  end)
end)

describe("values that are absent or NaN", function()
  it("save nothing and count nothing in epochs without validation", function()
    local saved, m = {}, model()
    local old = m.save
    rawset(m, "save", function(_, path) saved[#saved + 1] = path end)
    local stop = callbacks.EarlyStopping { patience = 3, min_delta = 1e9, mode = "min" }
    local h = fit(m, { epochs = 6, validation_data = { X, Y }, validation_freq = 2, callbacks = {
      callbacks.ModelCheckpoint { dir .. "/{epoch}.safetensors", save_best_only = true }, stop } })
    assert.same({ dir .. "/2.safetensors", dir .. "/4.safetensors", dir .. "/6.safetensors" },
      saved)
    assert.equal(6, #h.loss)
    assert.equal(3, #h.val_loss)
    assert.equal(2, stop.wait)
    saved = {}
    fit(m, { epochs = 4, validation_data = { X, Y }, validation_freq = 2, callbacks = {
      callbacks.ModelCheckpoint { dir .. "/{val_loss:.1f}.safetensors" } } })
    assert.equal(2, #saved)
    rawset(m, "save", old)
  end)

  it("are never the best", function()
    local nan = 0 / 0
    local stop = callbacks.EarlyStopping { monitor = "loss", patience = 2,
      restore_best_weights = true }
    assert.equal(5, feed(stop, "loss", { nan, 3, 2, nan, nan, 1 }))
    assert.equal(2, stop.best)
    assert.equal(3, stop.best_epoch)
    local only = callbacks.EarlyStopping { monitor = "loss", patience = 9,
      restore_best_weights = true }
    feed(only, "loss", { nan, nan })
    assert.is_nil(only.best_weights)
    local reduce = callbacks.ReduceLROnPlateau { monitor = "loss", patience = 2 }
    feed(reduce, "loss", { nan, 3, 2.5 })
    assert.equal(2.5, reduce.best)
    local kept = callbacks.ModelCheckpoint { dir .. "/nan.safetensors", monitor = "loss",
      save_best_only = true }
    feed(kept, "loss", { nan, nan })
    assert.is_nil(kept.best)
    assert.is_nil(io.open(dir .. "/nan.safetensors"))
  end)
end)

describe("names of metrics", function()
  it("may hold any character in a path", function()
    local function named(name)
      return tide.metrics.MeanAbsoluteError { name = name }
    end
    for _, name in ipairs { "my-mae", "a b", "top:1", "m{x}", "50%" } do
      local m = model()
      m:compile { loss = "mse", metrics = { named(name) } }
      local paths = {}
      rawset(m, "save", function(_, path) paths[#paths + 1] = path end)
      local h = fit(m, { callbacks = { callbacks.ModelCheckpoint { dir .. "/{epoch:03d}-{"
        .. name .. ":.3f}-{" .. name .. "}.safetensors" } } })
      assert.equal(("%s/001-%.3f-%s.safetensors"):format(dir, h[name][1], h[name][1]), paths[1])
    end
  end)

  it("are not 'loss', nor the name of another value", function()
    expect.raises("'loss' is what logs call the loss", function()
      model():compile { loss = "mse", metrics = { tide.metrics.Mean { name = "loss" } } }
    end)
    local Mine = tide.Model:extend("SpecNamedLoss", {
      init = function(self)
        self.dense = layers.Dense { 1 }
        self.seen = tide.metrics.Mean { name = "loss" }
      end,
      call = function(self, x) return self.dense(x) end,
    })
    local m = Mine()
    m:compile { loss = "mse" }
    expect.raises("named 'loss'", function() fit(m, {}) end)
    local a = tide.Input { 1 }
    local two = tide.Model { inputs = a, outputs = { layers.Dense { 1, name = "p" }(a),
      layers.Dense { 1, name = "p_q" }(a) } }
    two:compile { loss = "mse", metrics = { {
      tide.metrics.MeanSquaredError { name = "q_loss" } }, {} } }
    local h = two:fit(X, { Y, Y }, { verbose = 0 })
    assert.is_truthy(h.p_loss and h.p_q_loss and h.p_q_loss_1)
  end)
end)

describe("lists with holes", function()
  it("are refused with the place, for what follows would be left out", function()
    expect.raises("entry 1 of the list is nil", function()
      fit(model(), { callbacks = { nil, function() end } })
    end)
    for what, v in pairs { metrics = { nil, "mae" }, loss = { nil, "mse" },
      weighted_metrics = { { nil, "mae" } } } do
      expect.raises("entry 1 of " .. what .. " is nil", function()
        model():compile { loss = what ~= "loss" and "mse" or nil, [what] = v }
      end)
    end
  end)
end)

describe("what a callback asks of its model", function()
  it("leaves the metrics of the epoch alone", function()
    local function run(callback)
      local m = model()
      local h = fit(m, { epochs = 2, batch_size = 1, callbacks = { callback } })
      return { h.loss, h.mae }
    end
    local want = run(nil)
    local far = X * 100
    for _, ask in ipairs {
      function(m) m:evaluate(far, Y, { verbose = 0 }) end,
      function(m) m:test_on_batch(far, Y) end,
      function(m) m:predict(far) end,
      function(m) m:evaluate(far, Y, { verbose = 0, callbacks = { { on_test_batch_end = function()
        m:test_on_batch(far, Y)
      end } } }) end,
    } do
      local seen = tide.callbacks.Callback:extend("SpecAsks", {
        on_train_batch_end = function(self) ask(self.model) end,
        on_epoch_end = function(self) ask(self.model) end,
      })
      assert.same(want, run(seen()))
    end
  end)
end)

describe("the order of hooks", function()
  it("is that of the callbacks, under either name", function()
    local order = {}
    fit(model(), { callbacks = {
      { on_batch_end = function() order[#order + 1] = "first" end },
      { on_train_batch_end = function() order[#order + 1] = "second" end },
      { on_batch_begin = function() order[#order + 1] = "begin" end },
    } })
    assert.same({ "begin", "first", "second" }, order)
  end)
end)

describe("the progress bar", function()
  local Progbar = require "tide.training.progbar"

  it("formats times and values as Keras does", function()
    assert.equal(" 2s/step", Progbar.format_time(2.2, "step"))
    assert.equal(" 13ms/step", Progbar.format_time(0.0131, "step"))
    assert.equal(" 250us/step", Progbar.format_time(0.00025, "step"))
    assert.equal("12s", Progbar.format_eta(12.7))
    assert.equal("1:05", Progbar.format_eta(65))
    assert.equal("1:02:03", Progbar.format_eta(3723))
    assert.equal("0.9123", Progbar.format_value(0.91234))
    assert.equal("1.0000e-03", Progbar.format_value(0.001))
    assert.equal(" - accuracy: 0.5000 - loss: 2.0000 - val_loss: 1.0000",
      Progbar.metrics_text { loss = 2.0, val_loss = 1.0, accuracy = 0.5 })
  end)

  it("is one line per epoch where there is no terminal, nothing with verbose = 0", function()
    local text = printed(function() fit(model(), { epochs = 2, batch_size = 2, verbose = 2 }) end)
    local line = "2/2 %- %d+s %- %d+[mu]?s/step %- loss: %d+%.%d+ %- mae: %d+%.%d+\n"
    assert.matches("^Epoch 1/2\n" .. line .. "Epoch 2/2\n2/2 %- ", text)
    assert.equal("", printed(function() fit(model(), { epochs = 2 }) end))
    assert.matches("^2/2 %- %d+s",
      printed(function() model():evaluate(X, Y, { batch_size = 2, verbose = 2 }) end))
    assert.equal("", printed(function() model():predict(X) end))
  end)

  it("is redrawn in place on a terminal", function()
    local text = printed(function()
      local bar = Progbar.new { target = 10, verbose = 1, out = io.stdout }
      bar.utf8 = false
      bar:due(5)
      bar:update { loss = 1 }
      bar:due(10)
      bar:finish { loss = 1 }
    end)
    assert.matches("\r 5/10 =========>%.%.%.%.%.%.%.%.%.%. %d+s .-/step %- loss: 1%.0000", text)
    assert.matches("\r10/10 ==================== %d+s .-/step %- loss: 1%.0000 *\n$", text)
  end)
end)

describe("tide.callbacks", function()
  it("makes every class by name, with its options", function()
    for _, name in ipairs(callbacks.class_names) do
      local given = { filename = "x.svg", filepath = "x.safetensors", backup_dir = "x",
        directory = "x", schedule = function(_, r)
        return r
      end }
      local c = callbacks[name]
      local args = { name }
      for _, row in ipairs(c.args.rows) do
        args[row[1]] = given[row[1]]
      end
      assert.equal(name, getmetatable(callbacks.get(#c.args.rows > 0 and next(args, 1) and args
        or c)).__name)
    end
    assert.error_matches(function() callbacks.get "EarlyStop" end, "unknown callback")
  end)
end)

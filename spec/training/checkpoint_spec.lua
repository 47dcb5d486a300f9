-- fit that goes on from a file in another process, or from a new model: as if it had never been
-- interrupted, bit for bit.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers, callbacks = tide.layers, tide.callbacks

tide.seed(1)
local X = tide.random.normal { 44, 5 }
local Y = tide.random.randint({ 44 }, 1, 4)

local function plain(v)
  if type(v) == "userdata" then
    return v.ndim == 0 and v:item() or v:tolist()
  elseif type(v) == "table" then
    local out = {}
    for i, t in ipairs(v) do
      out[i] = plain(t)
    end
    return out
  end
  return v
end

-- A model with everything that has a state: seeded and unseeded noise, moving statistics.
local function build(o)
  o = o or {}
  tide.seed(3)
  local model = tide.Sequential {
    layers.Dense { 8, activation = "relu", input_shape = not o.late and { 5 } or nil,
      dtype = o.dtype },
    layers.BatchNormalization(),
    layers.Dropout { 0.3, seed = 7 },
    layers.GaussianNoise { 0.1 },
    layers.Dense { 3, activation = "softmax" },
  }
  model:compile { optimizer = o.optimizer or { "adam", learning_rate = 0.01 },
    loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
  return model
end

local function state(model, history)
  local out = { weights = plain(model:get_weights()), optimizer = plain(model.optimizer.variables),
    logs = {}, epochs = history.epoch:totable(), generator = { core.generator() } }
  for name, l in pairs(history.history) do
    out.logs[name] = l:totable()
  end
  return out
end

local function crash(at)
  local n = 0
  return { on_train_batch_end = function()
    n = n + 1
    if n == at then
      error("crash", 0)
    end
  end }
end

-- Trains with a crash at batch `at`, then goes on with a new model and another generator.
local function crashed(at, make, options, source)
  local dir = expect.name()
  local function run(more)
    local model, o = make(), options()
    o.callbacks = o.callbacks or {}
    table.insert(o.callbacks, callbacks.BackupAndRestore { dir, save_freq = 1 })
    table.insert(o.callbacks, more)
    if source then
      return model, model:fit(source(), o)
    end
    return model, model:fit(X, Y, o)
  end
  local ok, e = pcall(run, crash(at))
  assert(not ok and tostring(e):find "crash", e)
  tide.seed(99)
  local before = make
  make = function()
    local m = before()
    tide.seed(99)
    return m
  end
  local model, history = run()
  assert.is_false(core.file_exists(dir .. "/latest.safetensors"))
  os.remove(dir)
  return state(model, history)
end

local function straight(make, options, source)
  local model = make()
  if source then
    return state(model, model:fit(source(), options()))
  end
  return state(model, model:fit(X, Y, options()))
end

local function options()
  return { epochs = 3, batch_size = 8, verbose = 0, validation_split = 0.2 }
end

describe("fit that goes on from a checkpoint", function()
  it("equals a run that was not interrupted, after any batch", function()
    local want = straight(build, options)
    for at = 2, 15 do
      assert.same(want, crashed(at, build, options), "crash at batch " .. at)
    end
  end)

  it("of a model that the first batch builds", function()
    local function late()
      return build { late = true }
    end
    assert.same(straight(late, options), crashed(8, late, options))
  end)

  it("with every optimizer", function()
    for _, name in ipairs(tide.optimizers.class_names) do
      local function make()
        return build { optimizer = { name } }
      end
      if pcall(make) then
        local want = straight(make, options)
        assert.same(want, crashed(4, make, options), name)
        assert.same(want, crashed(11, make, options), name)
      end
    end
  end)

  it("with averages, accumulation, clipping, decay, schedules and halves", function()
    local decay = tide.optimizers.schedules.ExponentialDecay
    for i, o in ipairs {
      { optimizer = { "sgd", learning_rate = 0.1, momentum = 0.9, use_ema = true,
        ema_overwrite_frequency = 4 } },
      { optimizer = { "adamw", gradient_accumulation_steps = 3, global_clipnorm = 0.5 } },
      { optimizer = function()
        return tide.optimizers.RMSprop { decay { 0.05, decay_steps = 3, decay_rate = 0.7 } }
      end },
      { dtype = "mixed_bfloat16" }, { dtype = "bfloat16" },
    } do
      local given = o.optimizer
      local function make()
        return build { dtype = o.dtype,
          optimizer = type(given) == "function" and given() or given }
      end
      local want = straight(make, options)
      for _, at in ipairs { 3, 8, 12 } do
        assert.same(want, crashed(at, make, options), "case " .. i)
      end
    end
  end)

  it("with callbacks that remember", function()
    local function with()
      local o = options()
      o.epochs = 8
      o.callbacks = { callbacks.EarlyStopping { monitor = "val_loss", patience = 2,
        restore_best_weights = true },
        callbacks.ReduceLROnPlateau { monitor = "loss", patience = 1, factor = 0.5 } }
      return o
    end
    local want = straight(build, with)
    for _, at in ipairs { 5, 10, 13 } do
      assert.same(want, crashed(at, build, with))
    end
  end)

  it("with averages of the weights, and a guard", function()
    local function make()
      return build { optimizer = { "sgd", learning_rate = 0.05, use_ema = true } }
    end
    local function with()
      local o = options()
      o.epochs = 5
      o.callbacks = { callbacks.SwapEMAWeights { swap_on_epoch = true }, callbacks.NaNGuard(),
        callbacks.StochasticWeightAveraging { start_epoch = 2 } }
      return o
    end
    local want = straight(make, with)
    for _, at in ipairs { 5, 6, 11, 15, 24 } do
      assert.same(want, crashed(at, make, with), "crash at batch " .. at)
    end
  end)

  it("keeps the rows of a CSVLogger", function()
    local name = expect.name ".csv"
    local function with()
      local o = options()
      o.callbacks = { callbacks.CSVLogger { name } }
      return o
    end
    straight(build, with)
    local want = expect.read(name)
    crashed(9, build, with)
    assert.equal(want, expect.read(name))
    os.remove(name)
  end)

  it("with epochs of so many steps, and orders of whole batches", function()
    for _, shuffle in ipairs { true, false, "batch" } do
      local function steps()
        return { epochs = 4, batch_size = 8, steps_per_epoch = 4, verbose = 0, shuffle = shuffle }
      end
      local want = straight(build, steps)
      for at = 2, 16, 3 do
        assert.same(want, crashed(at, build, steps))
      end
    end
  end)

  it("from a source that says where it is", function()
    local function source()
      local at = 0
      local s = {}
      function s.iter()
        return function()
          if at % 6 == 5 then
            at = at + 1
            return nil
          end
          at = at + 1
          local first = at % 6 * 4 + 1
          return X[{ { first, first + 7 } }], Y[{ { first, first + 7 } }]
        end
      end
      function s.state()
        return { at = at }
      end
      function s.restore(_, t)
        at = t.at
      end
      return s
    end
    local function plain_options()
      return { epochs = 3, verbose = 0 }
    end
    local want = straight(build, plain_options, source)
    for at = 2, 14, 3 do
      assert.same(want, crashed(at, build, plain_options, source))
    end
  end)

  it("from pictures in random order and form", function()
    tide.seed(5)
    local pictures, labels = tide.random.uniform { 20, 6, 6, 1 }, tide.random.randint({ 20 }, 1, 3)
    local function make()
      tide.seed(3)
      local m = tide.Sequential { layers.Flatten { input_shape = { 6, 6, 1 } },
        layers.Dense { 2, activation = "softmax" } }
      m:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy" }
      return m
    end
    local function source()
      return tide.preprocessing.image.ImageDataGenerator { rotation_range = 30,
        horizontal_flip = true }:flow(pictures, labels, { batch_size = 5, seed = 11 })
    end
    local function some()
      return { epochs = 3, verbose = 0 }
    end
    local want = straight(make, some, source)
    for _, at in ipairs { 2, 4, 5, 7, 11 } do
      assert.same(want, crashed(at, make, some, source), "crash at batch " .. at)
    end
  end)

  it("keeps a loss that was left out as it counted", function()
    local bad = X:copy()
    bad[3] = tide.full({ 5 }, 0 / 0)
    local function make()
      return build { optimizer = tide.optimizers.SGD {
        tide.optimizers.schedules.ExponentialDecay { 0.05, decay_steps = 3, decay_rate = 0.7 } } }
    end
    local function run(at, dir)
      local m = make()
      tide.seed(4)
      local ok, h = pcall(m.fit, m, bad, Y, { epochs = 2, batch_size = 8, shuffle = false,
        verbose = 0, callbacks = { callbacks.BackupAndRestore { dir, save_freq = 1 },
          crash(at) } })
      return ok and state(m, h)
    end
    local dir = expect.name()
    local want = run(0, dir)
    run(4, dir)
    local got = run(0, dir)
    os.remove(dir)
    assert.equal(plain(want.optimizer)[1], plain(got.optimizer)[1])
    assert.same(want.generator, got.generator)
  end)

  it("with several optimizers in the model and a step of its own", function()
    local Two = tide.Model:extend("SpecTwoOptimizers", {
      init = function(self)
        self.a, self.b = layers.Dense { 4 }, layers.Dense { 1 }
        self.second = tide.optimizers.Adam { 0.05 }
        self.seeds = tide.random.SeedGenerator(4)
      end,
      call = function(self, x)
        return self.b(tide.random.dropout(self.a(x), 0.2, nil, self.seeds))
      end,
      train_step = function(self, x)
        local y = self(x, { training = true })
        local loss = tide.ops.mean(tide.ops.square(y))
        local a, b = self.a.trainable_variables, self.b.trainable_variables
        local all = {}
        for _, v in ipairs(a) do all[#all + 1] = v end
        for _, v in ipairs(b) do all[#all + 1] = v end
        local g = core.gradients(loss, all)
        self.optimizer:apply({ g[1], g[2] }, a)
        self.second:apply({ g[3], g[4] }, b)
        return { loss = loss:detach() }
      end,
    })
    local function make()
      tide.seed(3)
      local m = Two()
      m:compile { optimizer = "sgd" }
      return m
    end
    local function some()
      return { epochs = 3, batch_size = 8, verbose = 0 }
    end
    local want = straight(make, some)
    for _, at in ipairs { 2, 6, 7, 15 } do
      assert.same(want, crashed(at, make, some), "crash at batch " .. at)
    end
  end)
end)

describe("a checkpoint", function()
  local function saved(o)
    local dir = expect.name()
    pcall(function()
      local m = build(o)
      m:fit(X, Y, { epochs = 3, batch_size = 8, verbose = 0, callbacks = {
        callbacks.BackupAndRestore { dir, save_freq = 2 }, crash(4) } })
    end)
    return dir .. "/latest.safetensors", dir
  end

  it("says what does not fit", function()
    local path, dir = saved()
    local function fit(m, o)
      o.verbose, o.resume = 0, o.resume or path
      return m:fit(X, Y, o)
    end
    expect.raises("there is no checkpoint /no/such", function()
      fit(build(), { resume = "/no/such" })
    end)
    expect.raises("batch_size = 8, got 4", function() fit(build(), { batch_size = 4 }) end)
    expect.raises("shuffle = true, got false", function()
      fit(build(), { batch_size = 8, shuffle = false })
    end)
    expect.raises("the model has another optimizer (expected Adam, got SGD)", function()
      fit(build { optimizer = "sgd" }, { batch_size = 8 })
    end)
    expect.raises("the model has other weights", function()
      local m = tide.Sequential { layers.Dense { 3, input_shape = { 5 } } }
      m:compile { optimizer = "adam", loss = "mse" }
      fit(m, { batch_size = 8 })
    end)
    expect.raises("the model has other metrics (expected accuracy, got none)", function()
      local m = build()
      m:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy" }
      fit(m, { batch_size = 8 })
    end)
    local weights = dir .. "/w.safetensors"
    build():save_weights(weights)
    expect.raises("is no checkpoint of a training", function()
      fit(build(), { resume = weights })
    end)
    local text = expect.read(path)
    expect.write(path, text:sub(1, -20) .. "x" .. text:sub(-18))
    expect.raises("damaged", function() fit(build(), { batch_size = 8 }) end)
    expect.write(path, text:sub(1, #text // 2))
    assert.is_false((pcall(fit, build(), { batch_size = 8 })))
    os.execute("rm -r " .. dir)
  end)

  it("is taken by resume, with more epochs and more callbacks", function()
    local path, dir = saved()
    local began = 0
    local Began = callbacks.Callback:extend("SpecBegan", { on_train_begin = function()
      began = began + 1
    end })
    local h = build():fit(X, Y, { epochs = 5, batch_size = 8, verbose = 0, resume = path,
      callbacks = { Began() } })
    assert.same({ 1, 2, 3, 4, 5 }, h.epoch:totable())
    assert.equal(1, began)
    os.execute("rm -r " .. dir)
  end)

  it("needs a source that can say where it is", function()
    local dir = expect.name()
    expect.raises("a function or coroutine cannot say where it is", function()
      build():fit(function() return X, Y end, { steps_per_epoch = 2, verbose = 0,
        callbacks = { callbacks.BackupAndRestore { dir } } })
    end)
  end)

  it("stays the one before where the last is damaged", function()
    local dir = expect.name()
    local function run(at)
      local m = build()
      local o = options()
      o.callbacks = { callbacks.BackupAndRestore { dir, save_freq = 1, double_checkpoint = true },
        crash(at) }
      return m, m:fit(X, Y, o)
    end
    local want = straight(build, options)
    pcall(run, 7)
    local latest = dir .. "/latest.safetensors"
    expect.write(latest, expect.read(latest):sub(1, -9))
    assert.same(want, state(run(0)))
    os.execute("rm -rf " .. dir)
  end)

  it("refuses options that mean nothing", function()
    expect.raises("save_freq must be", function()
      callbacks.BackupAndRestore { "d", save_freq = "batch" }
    end)
    expect.raises("save_freq must be", function()
      callbacks.BackupAndRestore { "d", save_freq = 0 }
    end)
    expect.raises("backup_dir must be", function() callbacks.BackupAndRestore { "" } end)
  end)
end)

describe("deterministic mode", function()
  local script = [[
    local tide = require "tide"
    local dir, mode, stop = %q, %s, %s
    if mode then tide.config.enable_op_determinism() end
    tide.seed(1)
    local m = tide.Sequential { tide.layers.Dense { 3, input_shape = { 4 } },
      tide.layers.Dropout { 0.5 } }
    m:compile { optimizer = "adam", loss = "mse" }
    local n = 0
    local ok, e = pcall(m.fit, m, tide.random.normal { 8, 4 }, tide.zeros { 8, 3 }, {
      batch_size = 2, verbose = 0, epochs = 2, callbacks = {
        tide.callbacks.BackupAndRestore { dir, save_freq = 1, delete_checkpoint = false },
        { on_train_batch_end = function()
          n = n + 1
          if n == stop then error("stopped", 0) end
        end } } })
    print(ok, ok and "" or e)]]
  local function run(dir, mode, stop, environment)
    local pipe = io.popen(("env %s %s -e %s 2>&1"):format(environment or "", expect.lua,
      expect.quoted(script:format(dir, mode, stop))))
    local said = pipe:read "a"
    pipe:close()
    return said
  end

  it("goes on only where the bits can be kept", function()
    local dir = expect.name()
    expect.has(run(dir, true, 4), "stopped")
    local said = run(dir, true, 0, "TIDE_ENGINE=plain")
    expect.has(said, "deterministic mode cannot keep its bits here (expected engines = '")
    expect.has(said, "latest.safetensors")
    if core.cpu_level ~= "c" then
      expect.has(run(dir, true, 0, "TIDE_CPU=c"), "deterministic mode cannot keep its bits here")
    end
    assert.matches("^true", run(dir, false, 0, "TIDE_ENGINE=plain"))
    os.execute("rm -r " .. dir)
    expect.has(run(dir, true, 4), "stopped")
    assert.matches("^true", run(dir, true, 0))
    os.execute("rm -r " .. dir)
  end)
end)

describe("a process that is ended in fit", function()
  -- A script that trains, is ended by `signal` at batch `at`, and prints what it came to.
  local script = [[
    local tide = require "tide"
    local layers, dir, signal, at = tide.layers, %q, %q, %d
    tide.seed(1)
    local X, Y = tide.random.normal { 44, 5 }, tide.random.randint({ 44 }, 1, 4)
    local model = tide.Sequential { layers.Dense { 8, activation = "relu" },
      layers.BatchNormalization(), layers.Dropout { 0.3 },
      layers.Dense { 3, activation = "softmax" } }
    model:compile { optimizer = "nadam", loss = "sparse_categorical_crossentropy",
      metrics = { "accuracy" } }
    local stat, n = io.open "/proc/self/stat", 0
    local pid = stat:read "n"
    local h = model:fit(X, Y, { epochs = 3, batch_size = 8, verbose = 0, callbacks = {
      tide.callbacks.BackupAndRestore { dir, save_freq = signal == "TERM" and 1000 or 1 },
      { on_train_batch_end = function()
        n = n + 1
        if n == at then os.execute("kill -" .. signal .. " " .. pid) end
      end } } })
    print(h.stopped, h.loss, h.accuracy, tide.random.normal { 3 })
    for _, w in ipairs(model:get_weights()) do print(w) end]]

  local function run(dir, signal, at)
    local pipe = io.popen(("env %s -e %s 2>/dev/null"):format(expect.lua,
      expect.quoted(script:format(dir, signal, at))))
    local said = pipe:read "a"
    pipe:close()
    return said
  end

  it("by kill -9 or SIGTERM goes on in the next", function()
    local dir = expect.name()
    local want = run(dir, "0", 0)
    expect.has(want, "nil")
    for _, signal in ipairs { "KILL", "TERM" } do
      local said = run(dir, signal, 9)
      assert.matches(signal == "KILL" and "^$" or "^termination\t", said)
      assert.is_true(core.file_exists(dir .. "/latest.safetensors"))
      assert.equal(want, run(dir, "0", 0))
    end
    os.remove(dir)
  end)
end)

local expect = require "spec.support.expect"
local tide = require "tide"
local layers = tide.layers

local rows = require "spec.ref.training"
local data = {}
for k, v in pairs(rows[1]) do
  data[k] = tide.tensor(v, { dtype = k == "labels" and "int32" or "float32" })
end
local ref = {}
for i = 2, #rows do
  ref[rows[i].name] = rows[i]
end

local SPARSE = "sparse_categorical_crossentropy"
local ADAM = { "adam", learning_rate = 0.01 }

local function classifier(o)
  return tide.Sequential {
    layers.Dense { 8, activation = "relu", input_shape = { 5 }, kernel_regularizer = o and o.kernel,
      activity_regularizer = o and o.output },
    layers.Dense { 3, activation = "softmax" },
  }
end

local function run(name, model, compile, x, y, options)
  local r = ref[name]
  model:set_weights(r.start)
  model:compile(compile)
  options.batch_size, options.shuffle, options.verbose = 8, false, 0
  local history = model:fit(x, y, options)
  for k, values in pairs(r.history) do
    expect.close(history[k], values, 1e-5, 1e-5, k)
  end
  local results = model:evaluate(x, y, { batch_size = 8, verbose = 0, return_dict = true })
  for k, v in pairs(r.evaluate) do
    expect.close(results[k], v, 1e-5, 1e-5, "evaluate " .. k)
  end
  for i, w in ipairs(model:get_weights()) do
    expect.close(w, r.end_[i], 2e-5, 1e-5, "weight " .. i)
  end
end

describe("model:fit equals Keras' run", function()
  it("of a classifier with labels", function()
    run("sparse", classifier(), { optimizer = ADAM, loss = SPARSE, metrics = { "accuracy" } },
      data.x, data.labels, { epochs = 4 })
  end)

  it("with a validation split", function()
    run("split", classifier(), { optimizer = { "sgd", learning_rate = 0.1, momentum = 0.9 },
      loss = SPARSE, metrics = { "accuracy" } },
      data.x, data.labels, { epochs = 4, validation_split = 0.25 })
  end)

  it("with sample weights and weighted metrics", function()
    run("sample_weight", classifier(), { optimizer = ADAM, loss = SPARSE, metrics = { "accuracy" },
      weighted_metrics = { "accuracy" } },
      data.x, data.labels, { epochs = 3, sample_weight = data.w })
  end)

  it("with class weights by label", function()
    run("class_weight", classifier(), { optimizer = ADAM, loss = SPARSE }, data.x, data.labels,
      { epochs = 3, class_weight = { [1] = 1.0, [2] = 2.0, [3] = 0.5 } })
  end)

  it("with penalties on weights and outputs", function()
    run("regularized", classifier { kernel = { "l2", l2 = 0.01 }, output = { "l1", l1 = 0.01 } },
      { optimizer = ADAM, loss = SPARSE },
      data.x, data.labels, { epochs = 3 })
  end)

  it("of a binary classifier", function()
    local model = tide.Sequential {
      layers.Dense { 4, activation = "tanh", input_shape = { 5 } },
        layers.Dense { 1, activation = "sigmoid" } }
    run("binary", model, { optimizer = { "rmsprop", learning_rate = 0.01 },
      loss = "binary_crossentropy", metrics = { "accuracy", "mae" } },
      data.x, data.bits, { epochs = 3 })
  end)

  local function two_outputs()
    local a, b = tide.Input { 5, name = "a" }, tide.Input { 3, name = "b" }
    local h = layers.Dense { 6, activation = "relu" }(layers.Concatenate()({ a, b }))
    return tide.Model { inputs = { a, b },
      outputs = { layers.Dense { 3, activation = "softmax", name = "kind" }(h),
        layers.Dense { 2, name = "place" }(h) } }
  end

  it("of two inputs and two outputs, in lists", function()
    run("two_outputs", two_outputs(), { optimizer = ADAM, loss = { SPARSE, "mse" },
      loss_weights = { 1.0, 0.5 }, metrics = { { "accuracy" }, { "mae" } } }, { data.x, data.x2 },
        { data.labels, data.target }, { epochs = 3 })
  end)

  it("of two inputs and two outputs, by name", function()
    run("two_outputs", two_outputs(), { optimizer = ADAM, loss = { kind = SPARSE, place = "mse" },
      loss_weights = { kind = 1.0, place = 0.5 },
      metrics = { kind = { "accuracy" }, place = { "mae" } } }, { a = data.x, b = data.x2 },
        { kind = data.labels, place = data.target },
      { epochs = 3 })
  end)

  it("with gradients accumulated over two batches", function()
    run("accumulate", classifier(), { optimizer = { "sgd", learning_rate = 0.2,
      gradient_accumulation_steps = 2 }, loss = SPARSE },
      data.x, data.labels, { epochs = 3 })
  end)

  it("with a learning rate schedule", function()
    local rate = tide.optimizers.schedules.ExponentialDecay { 0.5, 3, 0.5 }
    run("schedule", classifier(), { optimizer = { "sgd", learning_rate = rate }, loss = SPARSE },
      data.x, data.labels, { epochs = 3 })
  end)

  it("in 20 calls of train_on_batch", function()
    local r, model = ref.train_on_batch, classifier()
    model:set_weights(r.start)
    model:compile { optimizer = ADAM, loss = SPARSE }
    for i, want in ipairs(r.losses) do
      local k = (i - 1) % 5 * 8
      local loss = model:train_on_batch(
        data.x[{ { k + 1, k + 8 } }], data.labels[{ { k + 1, k + 8 } }])
      expect.close(loss, want, 1e-5, 1e-5, "step " .. i)
    end
    for i, w in ipairs(model:get_weights()) do
      expect.close(w, r.end_[i], 2e-5)
    end
  end)
end)

local function small(compile)
  local model = tide.Sequential { layers.Dense { 2, input_shape = { 3 } } }
  model:set_weights { { { 1, 0 }, { 0, 1 }, { 0.5, 0.5 } }, { 0, 0 } }
  model:compile(compile or { optimizer = { "sgd", learning_rate = 0.1 }, loss = "mse" })
  return model
end
local X = tide.tensor { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 }, { 1, 0, 1 }, { 2, 2, 2 } }
local Y = tide.tensor { { 0, 1 }, { 1, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } }

describe("data sources of fit", function()
  local want
  setup(function()
    local model = small()
    model:fit(X, Y, { epochs = 2, batch_size = 2, shuffle = false, verbose = 0 })
    want = model:get_weights()[1]:tolist()
  end)

  local function gives(x, y, options)
    local model = small()
    options = options or {}
    options.epochs, options.verbose = options.epochs or 2, 0
    model:fit(x, y, options)
    expect.close(model:get_weights()[1], want)
  end
  local cuts = { { 1, 2 }, { 3, 4 }, { 5, 5 } }
  local function batch(i)
    return X[{ cuts[i] }], Y[{ cuts[i] }]
  end

  it("are nested tables of numbers", function()
    gives(X:tolist(), Y:tolist(), { batch_size = 2, shuffle = false })
  end)

  it("are functions, which begin again after the nil that ends an epoch", function()
    local i = 0
    gives(function()
      i = i + 1
      if i > 3 then
        i = 0
        return nil
      end
      return batch(i)
    end)
  end)

  it("are functions without end, cut by steps_per_epoch", function()
    local i = 0
    gives(function()
      i = i % 3 + 1
      return batch(i)
    end, nil, { steps_per_epoch = 3 })
  end)

  it("are coroutines", function()
    gives(coroutine.create(function()
      for _ = 1, 2 do
        for i = 1, 3 do
          coroutine.yield(batch(i))
        end
      end
    end), nil, { steps_per_epoch = 3 })
  end)

  it("are sequences with get and #, and data sets with iter", function()
    local Sequence = setmetatable({}, { __len = function() return 3 end })
    function Sequence:get(i) -- luacheck: ignore
      return batch(i)
    end
    gives(Sequence, nil, { shuffle = false })
    gives({
      iter = function()
        local i = 0
        return function()
          i = i + 1
          if i <= 3 then
            return batch(i)
          end
        end
      end,
    })
  end)

  local function sequence(n, ended)
    local S = setmetatable({ on_epoch_end = ended }, { __len = function() return n end })
    function S:get(i) -- luacheck: ignore
      return batch((i - 1) % 3 + 1)
    end
    return S
  end

  -- Batches of each epoch, the history, and what was said on stderr.
  local function epochs(source, options)
    local model, counts, closed = small(), {}, 0
    options.verbose, options.callbacks = 0, { {
      on_epoch_begin = function(e) counts[e] = 0 end,
      on_train_batch_end = function() counts[#counts] = counts[#counts] + 1 end,
      on_train_end = function() closed = closed + 1 end,
    } }
    local old, said = io.stderr, {}
    io.stderr = { write = function(_, text) said[#said + 1] = text end } -- luacheck: ignore
    local ok, h = pcall(model.fit, model, source, options)
    io.stderr = old -- luacheck: ignore
    assert(ok, h)
    assert.equal(1, closed)
    return counts, h, table.concat(said)
  end

  it("go round where they can: every epoch has its steps", function()
    for _, make in ipairs {
      function() return sequence(3) end,
      function()
        return { iter = function()
          local i = 0
          return function()
            i = i + 1
            if i <= 3 then
              return batch(i)
            end
          end
        end }
      end,
      function()
        local i = 0
        return function()
          i = i % 4 + 1
          if i < 4 then
            return batch(i)
          end
        end
      end,
    } do
      for _, steps in ipairs { 2, 3, 4, 7 } do
        local counts, h, said = epochs(make(), { epochs = 3, steps_per_epoch = steps })
        assert.same({ steps, steps, steps }, counts)
        assert.equal(3, #h.loss)
        assert.equal("", said)
      end
    end
    local counts = epochs(sequence(3), { epochs = 2, steps_per_epoch = 5, shuffle = false })
    assert.same({ 5, 5 }, counts)
    local model, seen = small(), 0
    model:fit(X, Y, { batch_size = 2, epochs = 3, steps_per_epoch = 4, verbose = 0, callbacks = { {
      on_train_batch_end = function() seen = seen + 1 end } } })
    assert.equal(12, seen)
  end)

  it("end training in order where they end for good", function()
    local function five()
      for i = 1, 5 do
        coroutine.yield(batch((i - 1) % 3 + 1))
      end
    end
    for _, make in ipairs {
      function() return coroutine.wrap(five) end,
      function() return coroutine.create(five) end,
      function()
        local f = coroutine.wrap(five)
        local done
        return function()
          if not done then
            local x, y = f()
            done = x == nil
            return x, y
          end
        end
      end,
    } do
      local counts, h, said = epochs(make(), { epochs = 9 })
      assert.same({ 5 }, counts)
      assert.equal(1, #h.loss)
      assert.equal("data", h.stopped)
      expect.has(said, "the data ended with epoch 1")
      counts, h, said = epochs(make(), { epochs = 9, steps_per_epoch = 3 })
      assert.same({ 3, 2 }, counts)
      assert.equal(2, #h.loss)
      assert.equal("data", h.stopped)
      expect.has(said, "after 2 of 3 steps of epoch 2")
    end
    local failing = coroutine.wrap(function()
      coroutine.yield(batch(1))
      error("a fault of its own")
    end)
    expect.raises("a fault of its own", function()
      small():fit(failing, { epochs = 2, verbose = 0 })
    end)
    local _, h, said = epochs(X, { y = Y, epochs = 3, validation_data = coroutine.wrap(five) })
    assert.equal(1, #h.val_loss)
    assert.equal(3, #h.loss)
    expect.has(said, "the validation data ended before epoch 2")
  end)

  it("of the kind of a Sequence are told of the end of every epoch, also the last", function()
    local ends = 0
    local source = sequence(3, function() ends = ends + 1 end)
    small():fit(source, { epochs = 3, verbose = 0 })
    assert.equal(3, ends)
    small():fit(source, { epochs = 2, steps_per_epoch = 2, verbose = 0 })
    assert.equal(5, ends)
    small():evaluate(source, { verbose = 0 })
    small():predict(source, { verbose = 0 })
    assert.equal(7, ends)
  end)

  it("say where they are and go back there", function()
    local adapter = require "tide.data.adapter"
    local function rest(source)
      local out = {}
      for x in function() return source:next() end do
        out[#out + 1] = x:tolist()
      end
      return out
    end
    local walked = { iter = function(self)
      return function()
        self.at = (self.at or 0) + 1
        return self.at <= 4 and tide.full({ 1, 1 }, self.at) or nil
      end
    end, state = function(self) return { at = self.at } end,
    restore = function(self, s) self.at = s.at end }
    for _, make in ipairs {
      function() return adapter.arrays { x = X, y = Y, batch_size = 1, shuffle = true } end,
      function() return adapter.arrays { x = X, y = Y, batch_size = 2, shuffle = "batch" } end,
      function() return adapter.arrays { x = X, y = Y, batch_size = 2 } end,
      function() return adapter.new { x = sequence(4), shuffle = true } end,
      function() return adapter.new { x = walked } end,
    } do
      tide.seed(3)
      local source = make()
      source:begin(1)
      source:next()
      source:next()
      local state = source:state()
      local left = rest(source)
      assert.is_true(#left > 0)
      tide.seed(4)
      local before = { require("tide.core").generator() }
      source = make()
      source:restore(state)
      assert.same(before, { require("tide.core").generator() })
      assert.same(left, rest(source))
    end
    expect.raises("cannot say where it is", function()
      adapter.new { x = function() end }:state()
    end)
  end)

  it("go on over epochs with steps_per_epoch", function()
    local model = small()
    local seen = {}
    model:fit(X, Y, { batch_size = 1, epochs = 2, steps_per_epoch = 2, shuffle = false, verbose = 0,
      callbacks = {
      { on_train_batch_end = function(b) seen[#seen + 1] = b end } } })
    assert.same({ 1, 2, 1, 2 }, seen)
    assert.equal(4, model.optimizer.iterations)
  end)

  it("are shuffled anew each epoch, repeatably by seed, each sample once", function()
    local function order()
      tide.seed(5)
      local seen = {}
      local model = tide.Model:extend("Recorder", {
        init = function(self) self.d = layers.Dense { 1 } end,
        call = function(self, x) return self.d(x) end,
        train_step = function(_, x) seen[#seen + 1] = x[1][1] return { loss = 0 } end,
      })()
      model:compile { optimizer = "sgd", loss = "mse" }
      model:fit(tide.tensor { { 1 }, { 2 }, { 3 }, { 4 }, { 5 }, { 6 } }, tide.zeros { 6, 1 },
        { batch_size = 1, epochs = 2, verbose = 0 })
      return seen
    end
    local a, b = order(), order()
    assert.same(a, b)
    local first, second = { table.unpack(a, 1, 6) }, { table.unpack(a, 7, 12) }
    assert.not_same(first, second)
    table.sort(first)
    assert.same({ 1, 2, 3, 4, 5, 6 }, first)
  end)
end)

describe("the training loop", function()
  it("evaluates as several values, predicts what the model gives, in batches", function()
    local model = small { optimizer = "sgd", loss = "mse", metrics = { "mae", "mse" } }
    local loss, mae, mse = model:evaluate(X, Y, { batch_size = 2, verbose = 0 })
    local p = model:predict(X, { batch_size = 2 })
    expect.close(loss, ((p - Y) ^ 2):mean())
    expect.close(mse, loss)
    expect.close(mae, (p - Y):abs():mean())
    expect.close(p, model(X))
    assert.same({ 5, 2 }, p.shape:totable())
    expect.close(model:predict_on_batch(X), p)
    assert.equal(nil, p.grad)
    assert.is_false(p.requires_grad)
  end)

  it("chooses accuracy and crossentropy by the shapes", function()
    local model = tide.Sequential {
      layers.Dense { 3, activation = "softmax", input_shape = { 3 } } }
    model:compile { optimizer = "sgd", loss = "crossentropy", metrics = { "acc", "ce" } }
    model:fit(X, tide.tensor({ 1, 2, 3, 1, 2 }, { dtype = "int32" }), { verbose = 0 })
    assert.same({ "loss", "acc", "ce" }, model.metrics_names:totable())
    assert.equal("SparseCategoricalAccuracy", getmetatable(model.metrics[2]).__name)
  end)

  it("finds, resets and shows the metrics and losses in fields of an own model", function()
    local Tracked = tide.Model:extend("TracksItself", {
      init = function(self)
        self.loss_fn = tide.losses.MeanSquaredError()
        self.loss_tracker = tide.metrics.Mean { name = "loss" }
        self.parts = { extra = tide.metrics.Sum { name = "batches" } }
        self.d = layers.Dense { 1, kernel_initializer = "zeros" }
      end,
      call = function(self, x) return self.d(x) end,
      train_step = function(self, x, y)
        self.loss_tracker:update_state(self.loss_fn(y, self(x, { training = true })))
        self.parts.extra:update_state(1)
        return { loss = self.loss_tracker:result(), batches = self.parts.extra:result() }
      end,
      test_step = function(self, _, y)
        self.loss_tracker:update_state(self.loss_fn(y, y + 3))
        return { loss = self.loss_tracker:result() }
      end,
    })
    local model = Tracked()
    model:compile { optimizer = "sgd" }
    local names = {}
    for i, metric in ipairs(model.metrics) do
      names[i] = metric.name
    end
    assert.same({ "loss", "loss", "batches" }, names) -- as Keras: what compile made comes first
    local x, y = tide.ones { 6, 2 }, tide.tensor { { 1 }, { 1 }, { 2 }, { 2 }, { 3 }, { 3 } }
    local history = model:fit(x, y, { batch_size = 2, epochs = 3, shuffle = false, verbose = 0,
      validation_data = { x, y } })
    expect.close(history.loss, { 14 / 3, 14 / 3, 14 / 3 }) -- (1 + 4 + 9) / 3, anew in each epoch
    assert.same({ 3, 3, 3 }, history.batches:totable())
    assert.same({ 9, 9, 9 }, history.val_loss:totable())
    assert.equal(9, (model:evaluate(x, y, { verbose = 0 })))
  end)

  it("runs a model's own train_step, test_step, predict_step and compute_loss", function()
    local Own = tide.Model:extend("OwnStep", {
      init = function(self) self.d = layers.Dense { 2, kernel_initializer = "ones" } end,
      call = function(self, x) return self.d(x) end,
      train_step = function(self, x, y, w)
        self.calls = (self.calls or 0) + 1
        local logs = tide.Model.train_step(self, x, y, w)
        logs.extra = self.calls
        return logs
      end,
      predict_step = function(self, x) return self(x) * 0 end,
      compute_loss = function(self, x, y, y_pred, w)
        return tide.Model.compute_loss(self, x, y, y_pred, w) * 2
      end,
    })
    local model = Own()
    model:compile { optimizer = { "sgd", learning_rate = 0 }, loss = "mse" }
    local h = model:fit(X, Y, { epochs = 1, batch_size = 2, verbose = 0, shuffle = false })
    assert.equal(3, h.extra[1])
    expect.close(h.loss[1], 2 * ((model(X) - Y) ^ 2):mean(), 1e-4)
    expect.close(model:predict(X), tide.zeros { 5, 2 })
    expect.close(model:evaluate(X, Y, { verbose = 0 }), h.loss[1], 1e-4)
  end)

  it("lets a step of one's own compute the loss by name and apply gradients, constraints included",
    function()
    local Own = tide.Model:extend("OwnApply", {
      init = function(self)
        self.d = layers.Dense { 2, kernel_constraint = "non_neg", kernel_initializer = "ones" }
      end,
      call = function(self, x)
        return self.d(x)
      end,
      train_step = function(self, x, y)
        local loss, grads = tide.value_and_grad(function()
          return self:compute_loss { x = x, y = y, y_pred = self(x, { training = true }) }
        end, self.trainable_weights)
        self.optimizer:apply(grads, self.trainable_weights)
        return { loss = loss }
      end,
    })
    local model = Own()
    model:compile { optimizer = { "sgd", learning_rate = 1.0 }, loss = "mse" }
    local h = model:fit(X, Y, { epochs = 1, batch_size = 5, verbose = 0, shuffle = false })
    expect.close(h.loss[1], ((X:sum { axis = 2, keepdims = true } - Y) ^ 2):mean(), 1e-4)
    expect.close(model:get_weights()[1], { { 0, 0 }, { 0, 0 }, { 0, 0 } })
  end)

  it("keeps metrics found in the model's fields, and sets them back each epoch", function()
    local Own = tide.Model:extend("OwnMetric", {
      init = function(self)
        self.d = layers.Dense { 2 }
        self.seen = tide.metrics.Sum { name = "seen" }
      end,
      call = function(self, x)
        return self.d(x)
      end,
      train_step = function(self, x, y, w)
        self.seen:update_state(tide.tensor(#x + 0.0))
        return tide.Model.train_step(self, x, y, w)
      end,
    })
    local model = Own()
    model:compile { optimizer = "sgd", loss = "mse" }
    local h = model:fit(X, Y, { epochs = 2, verbose = 0 })
    expect.close(h.seen, { 5, 5 })
  end)

  it("does not apply the step of a batch whose loss is NaN", function()
    local model = small()
    local before = model:get_weights()[1]:tolist()
    local h = model:fit(tide.tensor { { 0 / 0, 0, 0 } }, tide.tensor { { 0, 0 } }, { verbose = 0 })
    assert(h.loss[1] ~= h.loss[1])
    expect.close(model:get_weights()[1], before)
    assert.equal(0, model.optimizer.iterations)
  end)

  it("leaves grad mode and weights whole when a batch raises", function()
    local model = small()
    local before = model:get_weights()[1]:tolist()
    assert.has_error(function()
      model:fit(tide.zeros { 2, 4 }, tide.zeros { 2, 2 }, { verbose = 0 })
    end)
    assert.has_error(function() model:evaluate(X, tide.zeros { 5, 3 }, { verbose = 0 }) end)
    expect.close(model:get_weights()[1], before)
    assert.is_true(require("tide.core").grad_mode())
  end)

  it("stops after the batch on an interrupt and returns the history", function()
    local core = require "tide.core"
    local model = small()
    local closed = false
    local h = model:fit(X, Y, { epochs = 5, batch_size = 1, verbose = 0, callbacks = { {
      on_train_batch_end = function(batch) if batch == 2 then core.interrupted(true) end end,
      on_train_end = function() closed = true end,
    } } })
    assert.equal("interrupt", h.stopped)
    assert.equal(2, model.optimizer.iterations)
    assert.is_true(closed)
    assert.equal(1, #h.loss)
    assert.is_false(core.interrupted())
  end)

  it("sees a Ctrl-C, gives the history back, and leaves the signal as it was", function()
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write(([[
      package.path, package.cpath = %q, %q
      local tide = require "tide"
      local pid = io.open("/proc/self/stat"):read "n"
      local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 2 } } }
      model:compile { optimizer = "sgd", loss = "mse" }
      local x, y = tide.zeros { 64, 2 }, tide.zeros { 64, 1 }
      local h = model:fit(x, y, { epochs = 1000000, verbose = 0, callbacks = function(epoch)
        if epoch == 3 then io.popen(("kill -INT %%d"):format(pid)):close() end
      end })
      print(h.stopped, #h.loss, (require("tide.core").interrupted()))
    ]]):format(package.path, package.cpath))
    f:close()
    local p = assert(io.popen("timeout 20 lua5.4 " .. name .. " 2>&1"))
    assert.equal("interrupt\t3\tfalse\n", p:read "a")
    p:close()
    os.remove(name)
  end)

  it("begins where initial_epoch says and validates when it should", function()
    local model = small()
    local epochs = {}
    local h = model:fit(X, Y, { epochs = 5, initial_epoch = 2, verbose = 0,
      validation_data = { X, Y }, validation_freq = { 4 }, callbacks = function(epoch)
        epochs[#epochs + 1] = epoch
      end })
    assert.same({ 3, 4, 5 }, epochs)
    assert.equal(1, #h.val_loss)
    assert.same({ 3, 4, 5 }, h.epoch:totable())
    for freq, times in pairs { [2.0] = 2, [{ 1.0, 3.0, 4.0 }] = 3 } do -- whole floats
      assert.equal(times, #model:fit(X, Y, { epochs = 4, verbose = 0, validation_data = { X, Y },
        validation_freq = freq }).val_loss)
    end
  end)

  it("keeps no tensors from batch to batch", function()
    local model = small { optimizer = "adam", loss = "mse", metrics = { "mae" } }
    model:fit(X, Y, { epochs = 2, verbose = 0 })
    collectgarbage()
    local before = tide.memory()
    model:fit(X, Y, { epochs = 30, batch_size = 1, verbose = 0 })
    collectgarbage()
    local after = tide.memory()
    assert.equal(before.live_tensors, after.live_tensors)
    assert.equal(before.live_nodes, after.live_nodes)
  end)

  it("reports wrong arguments before the first batch", function()
    local model = small()
    local cases = {
      { function() model:fit(X, Y[{ { 1, 3 } }]) end, "x has 5, y has 3" },
      { function()
        model:fit(X, Y, { epoch = 2 })
      end, "unknown option 'epoch'; did you mean 'epochs'" }, { function()
        model:fit(X, Y, { batch_size = 0 })
      end, "batch_size must be an integer at least 1" }, { function()
        model:fit(X, Y, { validation_split = 1 })
      end, "validation_split must be a number at least 0 and below 1" }, { function()
        model:fit(X, Y, { validation_data = {}, verbose = 0 })
      end, "validation_data must be { x, y }" }, { function()
        model:fit(X, Y, { validation_split = 0.9 })
      end, "leaves the training set empty" }, { function()
        model:fit(X, Y, { verbose = 3 })
      end, "must be 0, 1, 2 or \"auto\"" }, { function() model:fit() end, "x is missing" },
      { function() model:fit(X) end, "no targets" },
      { function()
        model:fit(X, Y, { callbacks = { "EarlyStoping" } })
      end, "did you mean 'EarlyStopping'" }, { function()
        model:compile { loss = "mze" }
      end, "unknown loss 'mze'" }, { function()
        model:compile { optimizer = "adm", loss = "mse" }
      end, "unknown optimizer 'adm'; did you mean 'adam'" }, { function()
        model:compile { loss = "mse", metrics = { "acurracy" } }
      end, "unknown metric" }, { function()
        model:compile { loss = "mse", metrics = "mae" }
      end, "metrics must be a list" }, { function()
        tide.Sequential({ layers.Dense { 1, input_shape = { 3 } } }):fit(X, Y)
      end, "is not compiled" }, { function()
        model:fit(function() return nil end, nil, { verbose = 0 })
      end, "the data gave no batch in epoch 1" }, { function()
        model:fit(function() return X, Y end, Y)
      end, "come from the data source itself" }, { function()
        model:fit(X, Y, { class_weight = { [9] = 1.0 } })
      end, "which is no label" },
    }
    for i, case in ipairs(cases) do
      local ok, e = pcall(case[1])
      assert(not ok, "case " .. i .. " did not raise")
      assert(tostring(e):find(case[2], 1, true), ("case %d: %s"):format(i, tostring(e)))
    end
  end)
end)

describe("compile", function()
  it("takes its arguments in a list, and results by name print", function()
    local function dense()
      return tide.Sequential { tide.Input { 2 }, layers.Dense { 1, kernel_initializer = "ones" } }
    end
    local slow = { "sgd", learning_rate = 0.01 }
    local forms = {
      function(m) m:compile { "sgd", "mse", { 1 }, { "mae" } } end,
      function(m) m:compile { slow, "mse", loss_weights = { 1 }, metrics = { "mae" } } end,
      function(m) m:compile(tide.optimizers.SGD(), "mse", { 1 }, { "mae" }) end,
    }
    local x, y = tide.ones { 4, 2 }, tide.zeros { 4, 1 }
    for _, compile in ipairs(forms) do
      local m = dense()
      compile(m)
      local logs = m:evaluate(x, y, { verbose = 0, return_dict = true })
      assert.equal("{ loss = 4, mae = 2 }", tostring(logs))
      assert.equal(0.01, m.optimizer.learning_rate)
    end
    local m = dense()
    m:compile { "adam", 0.5 } -- a name and the optimizer's own arguments
    assert.equal(0.5, m.optimizer.learning_rate)
  end)
end)

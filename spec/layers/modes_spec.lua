--- Modes of a coroutine: recording, and the training mode of a layer's call. Whatever leaves them,
--- and however, nothing stays behind; and nothing that was made once makes later calls slower.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local function leaf(...)
  return tide.tensor({ ... }, { requires_grad = true })
end

local Yields = tide.Layer:extend("ModeYields", {
  call = function(self, x, o)
    self.seen = o.training
    coroutine.yield(o.training)
    return x
  end,
})

local function in_coroutine(f, ...)
  local co = coroutine.create(f)
  return co, select(2, assert(coroutine.resume(co, ...)))
end

local function drops(x)
  return x:min():item() == 0
end

describe("the training mode of a call", function()
  it("is that of its coroutine, also while it waits and when it is given up", function()
    local layer, dropout, x = Yields(), layers.Dropout { 0.5 }, tide.ones { 1, 1000 }
    local co, training = in_coroutine(function()
      layer(tide.ones { 1 }, { training = true })
      return drops(dropout(x))
    end)
    assert.is_true(training)
    assert.is_false(drops(dropout(x)))
    assert.is_false(tide.Layer.is_training())
    assert.is_false(tide.Layer.is_calling())
    local model = tide.Sequential { tide.Input { 1000 }, layers.Dropout { 0.5 } }
    assert.is_true(drops(model(x, { training = true })))
    assert.is_false(select(2, assert(coroutine.resume(co))))
    for _ = 1, 200 do -- each at the place of one that is gone
      in_coroutine(function()
        assert(not tide.Layer.is_calling() and core.grad_mode())
        local _ <close> = core.recording(false)
        layer(tide.ones { 1 }, { training = true })
      end)
    end
    collectgarbage()
    assert.is_false(drops(dropout(x)))
  end)

  it("goes on where the coroutine goes on", function()
    local Net = tide.Model:extend("ModeNet", {
      init = function(self)
        self.wait, self.drop = Yields(), layers.Dropout { 0.5 }
      end,
      call = function(self, x) return self.drop(self.wait(x)) end,
    })
    local net, x = Net(), tide.ones { 1, 1000 }
    local trains = in_coroutine(function() return drops(net(x, { training = true })) end)
    local infers = in_coroutine(function() return drops(net(x)) end)
    local _, a = coroutine.resume(trains)
    local _, b = coroutine.resume(infers)
    assert.is_true(a)
    assert.is_false(b)
  end)

  it("ends with an error", function()
    local Fails = tide.Layer:extend("ModeFails", { call = function() error "no" end })
    local fails, x = Fails(), tide.ones { 1, 1000 }
    assert.is_false(pcall(fails, x, { training = true }))
    assert.is_false(tide.Layer.is_calling())
    local co = coroutine.create(function() fails(x, { training = true }) end)
    assert.is_false(coroutine.resume(co))
    assert.is_false(tide.Layer.is_calling())
    assert.is_false(drops(layers.Dropout { 0.5 }(x)))
    coroutine.close(co)
    assert.is_false(tide.Layer.is_calling())
  end)
end)

describe("recording", function()
  it("is that of its coroutine; no_grad and value_and_grad can be yielded through", function()
    local w = leaf(3)
    local co = in_coroutine(function()
      return core.no_grad(function(a)
        coroutine.yield()
        assert(not core.grad_mode())
        local loss, grads = tide.value_and_grad(function()
          coroutine.yield()
          return (w * w):sum()
        end, { w })
        assert(not core.grad_mode())
        return a, loss:item(), grads[1]:item()
      end, "given"), core.grad_mode()
    end)
    assert.is_true(core.grad_mode())
    assert.is_true((w * 2).requires_grad)
    assert(coroutine.resume(co))
    assert.is_false(core.no_grad(core.grad_mode))
    local got = table.pack(coroutine.resume(co))
    assert.same({ true, "given", true, n = 3 }, got)
    local values = {}
    for v in coroutine.wrap(function()
      tide.no_grad(function()
        for i = 1, 3 do
          coroutine.yield((w * i).requires_grad)
        end
      end)
    end) do
      values[#values + 1] = v
      assert.is_true((w * 2).requires_grad)
    end
    assert.same({ false, false, false }, values)
  end)

  it("is brought back where a to-be-closed value is closed, also of a coroutine", function()
    local co = in_coroutine(function()
      local _ <close> = core.recording(false)
      coroutine.yield()
    end)
    assert.is_true(core.grad_mode())
    coroutine.close(co)
    assert.is_true(core.grad_mode())
    do
      local _ <close> = core.recording(false)
      in_coroutine(function() assert(core.grad_mode()) end)
      assert.is_false(core.grad_mode())
    end
    assert.is_true(core.grad_mode())
  end)

  it("keeps the graph of a gradient inside a function whose gradient is asked for", function()
    local w, x = leaf(3), tide.tensor { 2 }
    local function inner(v) return (w * v * v):sum() end
    local _, grads = tide.value_and_grad(function()
      local g = tide.grad(inner)(x)
      return w:sum() + (g * g):sum()
    end, { w })
    expect.close(grads[1], { 97 }) -- w + (2 w x)^2, as JAX gives it
    _, grads = tide.value_and_grad(function()
      local v = leaf(2)
      local g = tide.grad(inner(v), { v })[1]
      local _, h = tide.value_and_grad(function() return inner(v) end, { v })
      return (g * h[1]):sum()
    end, { w })
    expect.close(grads[1], { 96 })
    _, grads = tide.value_and_grad(function()
      local g = tide.grad(inner, nil, { create_graph = false })(x)
      return w:sum() + (g * g):sum()
    end, { w })
    expect.close(grads[1], { 1 })
    assert.is_false(tide.grad(inner)(x).requires_grad)
    tide.value_and_grad(function()
      assert.is_false(tide.no_grad(function() return tide.grad(inner)(x).requires_grad end))
      return w:sum()
    end, { w })
  end)

  it("of a walk is its own when a hook runs another coroutine", function()
    local x = leaf(2)
    local y = x * x
    local co = coroutine.wrap(function()
      tide.no_grad(coroutine.yield)
    end)
    y:register_hook(function() co() end)
    local g = tide.grad((y * y):sum(), { x }, { create_graph = true })[1]
    expect.close(g, { 32 }) -- d x^4 = 4 x^3
    expect.close(tide.grad(g:sum(), { x })[1], { 48 })
    y = x * x
    y:register_hook(function()
      coroutine.wrap(function() tide.no_grad(coroutine.yield) end)()
    end)
    y:sum():backward()
    assert.is_true(core.grad_mode())
    expect.close(x.grad, { 4 })
  end)

  it("comes back after whatever ends fit, evaluate, predict and train_step", function()
    local function model(metrics)
      local m = tide.Sequential { tide.Input { 2 }, layers.Dense { 1 } }
      m:compile { loss = "mse", metrics = metrics }
      return m
    end
    local x, y = tide.ones { 4, 2 }, tide.ones { 4, 1 }
    local m = model { function() error "no" end }
    assert.is_false(pcall(m.train_step, m, x, y))
    assert.is_true(core.grad_mode())
    m = model()
    local bad = tide.ones { 4, 3 }
    for _, call in ipairs {
      function() m:fit(bad, y, { verbose = 0 }) end,
      function() m:evaluate(bad, y, { verbose = 0 }) end,
      function() m:predict(bad) end,
      function() m:train_on_batch(bad, y) end,
    } do
      assert.is_false(coroutine.resume(coroutine.create(call)))
      assert.is_true(core.grad_mode())
      assert.is_false(tide.Layer.is_calling())
    end
    local waits = { on_test_batch_begin = coroutine.yield, on_train_batch_begin = coroutine.yield,
      on_predict_batch_begin = coroutine.yield }
    for _, name in ipairs { "fit", "evaluate", "predict" } do
      local co = in_coroutine(function()
        m[name](m, x, name ~= "predict" and y or nil, { verbose = 0, callbacks = { waits } })
      end)
      assert.is_true(core.grad_mode())
      local w = leaf(1, 2)
      ops.sum(w * w):backward()
      expect.close(w.grad, { 2, 4 })
      if name ~= "evaluate" then -- one is left waiting, the others end
        assert(coroutine.resume(co))
        assert.equal("dead", coroutine.status(co))
      end
    end
    local again = m:fit(x, y, { verbose = 0, epochs = 2 })
    assert.equal(2, #again.loss)
  end)
end)

describe("the device of a coroutine", function()
  local home = core.default_device()
  local other = home == "cpu" and "test" or "cpu"

  it("ends with its block, however that is left", function()
    do
      local _ <close> = tide.device(other)
      assert.equal(other, tide.zeros({ 2 }).device)
      do
        local _ <close> = tide.device(home)
        assert.equal(home, tide.random.normal({ 2 }).device)
      end
      assert.equal(other, tide.tensor({ 1, 2 }).device)
    end
    assert.equal(home, tide.zeros({ 2 }).device)
    assert.is_false(pcall(function()
      local _ <close> = tide.device(other)
      error "no"
    end))
    assert.equal(home, tide.zeros({ 2 }).device)
    local ok, why = pcall(tide.device, "nowhere")
    assert.is_false(ok)
    expect.has(tostring(why), "device: no device 'nowhere' here")
    assert.equal(home, tide.zeros({ 2 }).device)
  end)

  it("is its own: no other sees it, and one that is given up takes it along", function()
    local function place() return tide.zeros({ 1 }).device end
    local co = in_coroutine(function()
      assert(place() == home)
      local _ <close> = tide.device(other)
      coroutine.yield()
      assert(place() == other)
      coroutine.yield()
    end)
    assert.equal(home, place())
    do
      local _ <close> = tide.device(other)
      assert.equal(home, (select(2, in_coroutine(place))))
      assert(coroutine.resume(co))
      assert.equal(other, place())
    end
    assert.equal(home, place())
    assert.is_false(coroutine.resume(coroutine.create(function()
      local _ <close> = tide.device(other)
      error "no"
    end)))
    assert.equal(home, place())
    for _ = 1, 200 do
      in_coroutine(function()
        assert(place() == home)
        local _ <close> = tide.device(other)
        coroutine.yield(place())
      end)
    end
    collectgarbage()
    assert.equal(home, place())
  end)

  it("goes before the state's, which new ones begin with", function()
    local co = in_coroutine(function()
      local _ <close> = tide.device(home)
      coroutine.yield()
      return tide.zeros({ 1 }).device
    end)
    assert.equal(home, tide.set_default_device(other))
    local mine, its = tide.zeros({ 1 }).device, select(2, in_coroutine(function()
      return tide.zeros({ 1 }).device
    end))
    local _, stays = coroutine.resume(co)
    assert.equal(other, tide.set_default_device(home))
    assert.same({ other, other, home }, { mine, its, stays })
  end)

  it("is again the walk's behind a hook that made tensors elsewhere in a coroutine", function()
    local _ <close> = tide.device(other)
    local x = leaf(2, 3)
    local y = x * x
    local places = {}
    y:register_hook(function()
      coroutine.wrap(function()
        local _ <close> = tide.device(home)
        coroutine.yield()
      end)()
      places[1] = tide.zeros({ 1 }).device
    end)
    ops.var(y):backward()
    assert.equal(other, places[1])
    assert.equal(other, x.grad.device)
    assert.equal(other, tide.zeros({ 1 }).device)
  end)
end)

describe("deterministic mode", function()
  local generator
  before_each(function()
    generator = { core.generator(0, 0, 0, false) } -- a program that has seeded nothing
  end)
  after_each(function()
    core.generator(table.unpack(generator))
    tide.config.enable_op_determinism(false)
  end)

  local function on() return tide.config.is_op_determinism_enabled() end

  local function draws()
    local rows = tide.ones { 4, 2 }
    local m = tide.Sequential { tide.Input { 2 }, layers.Dense { 1, kernel_initializer = "zeros" } }
    m:compile { loss = "mse", optimizer = "sgd" }
    return {
      random_normal = function() return tide.random.normal { 2 } end,
      random_permutation = function() return tide.random.shuffle(rows) end,
      dropout = function() return layers.Dropout { 0.5 }(rows, { training = true }) end,
      weights = function() return layers.Dense { 3 }:build { 2, 2 } end,
      shuffle = function() m:fit(rows, tide.ones { 4, 1 }, { verbose = 0 }) end,
      SeedGenerator = function() return tide.random.SeedGenerator() end,
      picture = function()
        return tide.preprocessing.image.random_rotation(tide.ones { 4, 4, 1 }, 30,
          { row_axis = 1, col_axis = 2, channel_axis = 3 })
      end,
    }
  end

  it("refuses what draws before any seed was given, and nothing else", function()
    for name, draw in pairs(draws()) do
      local _ <close> = tide.deterministic()
      local ok, why = pcall(draw)
      assert.is_false(ok, name)
      expect.has(tostring(why), "draws random numbers in deterministic mode before any seed was "
        .. "given (expected tide.seed(n) first, got none)")
    end
    for name, draw in pairs(draws()) do
      assert.is_true(pcall(draw), name)
    end
    core.generator(0, 0, 0, false)
    local _ <close> = tide.deterministic()
    expect.has(tostring(select(2, pcall(tide.random.normal, { 2 }))), "random_normal: draws")
    expect.has(tostring(select(2, pcall(tide.random.SeedGenerator))), "SeedGenerator: draws")
    assert.is_true(tide.random.normal({ 2 }, { seed = 3 }):equal(
      tide.random.normal({ 2 }, { seed = 3 })):all())
    assert.equal(4, (tide.random.SeedGenerator(4)).seed)
    local dense = layers.Dense { 3, kernel_initializer = "zeros" }
    assert.equal(0, dense(tide.ones { 1, 2 }):sum():item())
    assert.same({ 0, 0, 0, false }, { core.generator() })
    tide.seed(0)
    for name, draw in pairs(draws()) do
      assert.is_true(pcall(draw), name)
    end
  end)

  it("draws what is drawn outside of it", function()
    tide.seed(7)
    local outside = tide.random.normal({ 5 }):tobytes()
    local _ <close> = tide.deterministic()
    tide.seed(7)
    assert.equal(outside, tide.random.normal({ 5 }):tobytes())
  end)

  it("ends with the block, however that is left; calls and other modes leave it on", function()
    assert.is_false(on())
    do
      local _ <close> = tide.deterministic()
      do
        local _ <close> = tide.deterministic()
        assert.is_true(tide.no_grad(on))
      end
      tide.grad(function(x) return assert(on() and x * x) end)(leaf(1)[1])
      local Sees = tide.Layer:extend("ModeSees", {
        call = function(self, x)
          self.saw = on()
          return x
        end,
      })
      local layer = Sees()
      layer(tide.ones { 1 }, { training = true })
      assert.is_true(layer.saw and on())
    end
    assert.is_false(on())
    assert.is_false(pcall(function()
      local _ <close> = tide.deterministic()
      error "no"
    end))
    assert.is_false(on())
  end)

  it("is its own: no other sees it, and one that is given up takes it along", function()
    local co = in_coroutine(function()
      local _ <close> = tide.deterministic()
      coroutine.yield()
      assert(on())
      tide.random.normal { 2 }
    end)
    assert.is_false(on())
    tide.random.normal { 2 }
    local ok, why = coroutine.resume(co)
    assert.is_false(ok)
    expect.has(tostring(why), "before any seed was given")
    do
      local _ <close> = tide.deterministic()
      assert.is_false((select(2, in_coroutine(on))))
    end
    for _ = 1, 200 do
      in_coroutine(function()
        assert(not on())
        local _ <close> = tide.deterministic()
        coroutine.yield()
      end)
    end
    collectgarbage()
    assert.is_false(on())
  end)

  it("is switched for all coroutines", function()
    local co = in_coroutine(function()
      coroutine.yield()
      return on()
    end)
    assert.is_false(tide.config.enable_op_determinism())
    assert.is_true(on() and (select(2, in_coroutine(on))))
    assert.is_true(select(2, coroutine.resume(co)))
    assert.is_false(pcall(tide.random.normal, { 2 }))
    do
      local _ <close> = tide.deterministic()
    end
    assert.is_true(on())
    assert.is_true(tide.config.enable_op_determinism(false))
    assert.is_false(on())
    expect.has(tostring(select(2, pcall(tide.config.enable_op_determinism, 1))),
      "enable_op_determinism: on must be a boolean (got 1)")
  end)
end)

describe("masks and dtypes", function()
  it("go together: a mask travels with the tensor that is cast", function()
    local embed = layers.Embedding { 4, 2, mask_zero = true, dtype = "float64" }
    local ids = tide.tensor({ { 1, 2, 0, 0 } }, { dtype = "int32" })
    local embedded = embed(ids)
    local mean = layers.GlobalAveragePooling1D()(embedded)
    assert.equal("float32", mean.dtype)
    local rows = embed.embeddings:tolist()
    expect.close(mean, { { (rows[2][1] + rows[3][1]) / 2, (rows[2][2] + rows[3][2]) / 2 } })
  end)

  it("of a layer inside are those that it says, whatever was made before", function()
    local Net = tide.Model:extend("ModeDtypes", {
      init = function(self)
        self.wide, self.narrow = layers.Dense { 2, dtype = "float64" }, layers.Dense { 2 }
      end,
      call = function(self, x)
        return self.narrow(self.wide(x)), self.wide(x)
      end,
    })
    local narrow, wide = Net()(tide.ones { 1, 2 })
    assert.equal("float32", narrow.dtype)
    assert.equal("float64", wide.dtype)
  end)

  it("that were made once cost later calls nothing", function()
    local model = tide.Sequential { tide.Input { 4 }, layers.Dense { 4, activation = "relu" },
      layers.BatchNormalization(), layers.Dense { 4 }, layers.Dense { 1 } }
    local x = tide.ones { 2, 4 }
    local sethook = debug.sethook
    local function calls()
      local n = 0
      sethook(function() n = n + 1 end, "c")
      model(x)
      sethook()
      return n
    end
    -- what a process that made nothing else needs is known from one of its own
    local pipe = io.popen(expect.command .. " -e " .. expect.quoted [[
      local tide = require "tide"
      local layers = tide.layers
      local model = tide.Sequential { tide.Input { 4 }, layers.Dense { 4, activation = "relu" },
        layers.BatchNormalization(), layers.Dense { 4 }, layers.Dense { 1 } }
      local x = tide.ones { 2, 4 }
      local function calls()
        local n = 0
        debug.sethook(function() n = n + 1 end, "c")
        model(x)
        debug.sethook()
        return n
      end
      calls()
      print(calls())]])
    local alone = pipe:read "n"
    pipe:close()
    calls()
    assert.equal(alone, calls())
    layers.Masking()(tide.ones { 1, 2, 2 })
    tide.Input { 2, dtype = "int32" }
    layers.Dense { 1, dtype = "float64", kernel_regularizer = "l2" }(tide.ones { 1, 2 })
    layers.ActivityRegularization { l2 = 1 }(tide.ones { 1, 2 })
    assert.equal(alone, calls())
  end)
end)

describe("losses of layers", function()
  it("are those of the last call, also where a layer takes another's place", function()
    local Adds = tide.Layer:extend("ModeAdds", {
      call = function(self, x)
        self:add_loss(x:sum())
        return x
      end,
    })
    local Net = tide.Model:extend("ModeHead", {
      init = function(self) self.head = Adds() end,
      call = function(self, x, o) return o.skip and x or self.head(x) end,
    })
    local net, other = Net(), Adds()
    net(tide.ones { 1, 2 })
    net.head = other
    for n = 1, 3 do
      net(tide.ones { n, 2 })
      assert.equal(1, #net.losses)
      assert.equal(2 * n, net.losses[1]:item())
    end
    net(tide.ones { 1, 2 }, { skip = true })
    assert.equal(0, #net.losses)
    net:add_loss(ops.sum(tide.ones { 3 }))
    assert.equal(1, #net.losses)
  end)
end)

-- What all objects with options have in common: rows, named options of methods, configurations,
-- classes of one's own, names.
local expect = require "spec.support.expect"
local object = require "tide.object"
local registry = require "tide.registry"
local tide = require "tide"

local message = expect.message
local function says(text, f, ...)
  local why = message(f, ...)
  assert.truthy(why:find(text, 1, true), why)
end

describe("an object that is called", function()
  local y, p, w = { { 1, 2 }, { 3, 4 } }, { { 1, 4 }, { 3, 8 } }, { 1, 0 }

  it("takes named options last", function()
    local mse = tide.losses.MeanSquaredError()
    -- ((0 + 4) / 2 * 1 + (0 + 16) / 2 * 0) / 2
    assert.equal(1, mse(y, p, { sample_weight = w }):item())
    assert.equal(1, mse { y_true = y, y_pred = p, sample_weight = w }:item())
    assert.equal(1, mse(y, { p[1], p[2], sample_weight = w }):item())
    assert.equal(1, mse(y, p, w):item())
    assert.equal(5, mse(y, p, {}):item())
  end)
  it("does so in classes of one's own", function()
    local Mine = tide.losses.Loss:extend("NamedOptionsLoss", {
      call = function(_, a, b) return (a - b):abs():mean(-1) end })
    assert.equal(0.5, Mine()(y, p, { sample_weight = w }):item())
    local seen
    local M = tide.metrics.Metric:extend("NamedOptionsMetric", {
      update_state = function(_, a, b, weight, mask) seen = { a, b, weight, mask } end,
      result = function() return 1 end })
    M():update_state(1, 2, { mask = 4, sample_weight = 3 })
    assert.same({ 1, 2, 3, 4 }, seen)
    M()(1, 2, { sample_weight = 5 })
    assert.same({ 1, 2, 5 }, seen)
  end)
  it("takes them in metrics, schedules, initializers, regularizers, constraints", function()
    local m = tide.metrics.MeanSquaredError()
    m:update_state(y, p, { sample_weight = w })
    assert.equal(2, m:result())
    local mean = tide.metrics.Mean()
    mean:update_state({ 1, 3 }, { sample_weight = { 3, 1 } })
    assert.equal(1.5, mean:result())
    local decay = tide.optimizers.schedules.ExponentialDecay { 0.5, 10, 0.5 }
    assert.equal(0.25, decay { step = 10 })
    assert.equal("float64", tide.initializers.Ones()({ 2 }, { dtype = "float64" }).dtype)
    assert.equal(0.5, tide.regularizers.L2 { 0.5 } { x = tide.tensor { 1, 0 } }:item())
    assert.same({ 0, 2 }, tide.constraints.NonNeg() { w = tide.tensor { -1, 2 } }:tolist())
  end)
  it("refuses names that it does not have, and suggests", function()
    says("unknown option 'sample_weigth'; did you mean 'sample_weight'?",
      tide.losses.MeanSquaredError(), y, p, { sample_weigth = w })
    says("unknown option 'wieght'", function()
      tide.metrics.Mean():update_state({ 1 }, { wieght = 1 })
    end)
    says("'sample_weight' is given twice", tide.losses.MeanSquaredError(), y, p, w,
      { sample_weight = w })
  end)
end)

describe("an activation", function()
  local x = tide.tensor { -1, 2 }
  it("takes its options in a table", function()
    local f = tide.activations.get { "leaky_relu", negative_slope = 0.5 }
    assert.same({ -0.5, 2 }, f(x):tolist())
    assert.same({ -0.5, 2 }, tide.activations.get { "leaky_relu", 0.5 }(x):tolist())
    assert.equal(tide.activations.relu, tide.activations.get { "relu" })
    says("unknown option 'negative_slop'; did you mean 'negative_slope'?",
      tide.activations.get, { "leaky_relu", negative_slop = 0.5 })
  end)
  it("goes through a layer's configuration with them", function()
    local layer = tide.layers.Dense { 1, activation = { "leaky_relu", negative_slope = 0.5 },
      kernel_initializer = "ones" }
    assert.same({ { -1.5 } }, layer({ { -1, -2 } }):tolist())
    local config = layer:get_config()
    assert.same({ class_name = "leaky_relu", config = { negative_slope = 0.5 },
      kind = "activation" }, config.activation)
    local again = tide.layers.Dense.from_config(config)
    assert.same({ { -1.5 } }, again({ { -1, -2 } }):tolist())
    assert.equal(layer.activation, again.activation)
  end)
  it("has its name whatever ran before", function()
    local ops = tide.ops
    for _, name in ipairs { "mish", "tanh_shrink", "exponential" } do
      local d = tide.layers.Dense { 1, activation = ops[name == "exponential" and "exp" or name] }
      assert.equal(name, d:get_config().activation)
    end
  end)
  it("of one's own is found by the name it is registered with", function()
    local f = tide.activations.register("squash_for_spec", function(t) return t / (1 + t:abs()) end)
    local d = tide.layers.Dense { 1, activation = "squash_for_spec" }
    assert.equal(f, d.activation)
    assert.equal("squash_for_spec", d:get_config().activation)
  end)
end)

describe("a metric", function()
  it("makes its state by any initializer", function()
    local M = tide.metrics.Metric:extend("OnesForSpec", {
      init = function(self)
        self.v = self:add_variable { shape = { 2 }, initializer = "ones" }
      end })
    assert.same({ 1, 1 }, M().v:tolist())
    assert.equal("float32", M().v.dtype)
  end)
end)

describe("equality", function()
  it("compares tensors by their elements", function()
    local init = tide.initializers
    local a, b = tide.tensor { 1, 2 }, tide.tensor { 1, 3 }
    assert.is_false(init.Constant { a } == init.Constant { b })
    assert.is_true(init.Constant { a } == init.Constant { tide.tensor { 1, 2 } })
    assert.is_false(init.Constant { a } == init.Constant { a:cast "float64" })
    assert.is_true(tide.constraints.MaxNorm { 3 } == tide.constraints.MaxNorm { 3 })
    assert.is_false(tide.constraints.MaxNorm { 3 } == tide.constraints.MaxNorm { 2 })
  end)
end)

describe("a configuration", function()
  it("keeps the dtype of tensors", function()
    local init = tide.initializers
    local c = init.Constant { tide.tensor({ 1, 2 }, { dtype = "float64" }) }
    local again = init.Constant.from_config(c:get_config())
    assert.equal("float64", again.value.dtype)
    assert.is_true(c == again)
    assert.same({ 1, 2 }, init.Constant { tide.tensor { 1, 2 } }:get_config().value)
  end)
  it("keeps the dtype of constants in a graph, in every file", function()
    local x = tide.Input { 2, dtype = "float64" }
    local m = tide.Model { inputs = x,
      outputs = x + tide.tensor({ 1, 2 }, { dtype = "float64" }) }
    local one = tide.ones({ 1, 2 }, { dtype = "float64" })
    for _, form in ipairs { ".safetensors", ".keras", ".h5" } do
      local path = os.tmpname() .. form
      m:save(path)
      local y = tide.load_model(path)(one)
      os.remove(path)
      assert.equal("float64", y.dtype)
      assert.same({ { 2, 3 } }, y:tolist())
    end
    local i = tide.Input { 2, dtype = "int64" }
    local whole = tide.Model { inputs = i,
      outputs = i * tide.tensor({ 3, 4 }, { dtype = "int64" }) }
    local y = tide.models.clone_model(whole)(tide.tensor({ { 1, 2 } }, { dtype = "int64" }))
    assert.equal("int64", y.dtype)
    assert.same({ { 3, 8 } }, y:tolist())
  end)
  it("says none for what is switched off, and takes it back", function()
    local loss = tide.losses.MeanSquaredError { reduction = tide.none }
    assert.equal("none", loss:get_config().reduction)
    local f = tide.metrics.R2Score { class_aggregation = tide.none }
    assert.equal(tide.none, f:get_config().class_aggregation)
    assert.is_nil(tide.metrics.R2Score.from_config(f:get_config()).class_aggregation)
  end)
  it("keeps what autocast is", function()
    assert.is_false(tide.layers.Dense { 4, autocast = false }:get_config().autocast)
  end)
end)

describe("a class of one's own", function()
  it("leaves Tide's of the same name alone, and is found by its own in files", function()
    local Mine = tide.Layer:extend("Dense", { args = { "units" },
      call = function(self, x) return x * self.units end })
    finally(function() registry.custom("layer").Dense = nil end)
    local path = os.tmpname() .. ".safetensors"
    tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 } } }:save(path)
    assert.equal(tide.layers.Dense, getmetatable(tide.load_model(path).layers[1]))
    for _, form in ipairs { ".safetensors", ".keras" } do
      path = os.tmpname() .. form
      local x = tide.Input { 2 }
      for _, m in ipairs { tide.Sequential { Mine { 3, input_shape = { 2 } } },
        tide.Model { inputs = x, outputs = Mine { 3 }(x) } } do
        m:save(path)
        local model = tide.load_model(path)
        assert.equal(Mine, getmetatable(model.layers[#model.layers]))
        assert.same({ { 3, 6 } }, model({ { 1, 2 } }):tolist())
        os.remove(path)
      end
    end
  end)
  it("keeps the options of its base by name", function()
    local Mine = tide.initializers.RandomNormal:extend("ShiftedForSpec", { args = { "shift" } })
    local a = Mine { 3, stddev = 0 }
    assert.equal(3, a.shift)
    assert.same({ 0, 0 }, a({ 2 }):tolist())
    assert.is_true(a == Mine.from_config(a:get_config()))
  end)
  it("runs the base's init first", function()
    local order = {}
    local A = tide.callbacks.Callback:extend("FirstForSpec",
      { init = function() order[#order + 1] = "a" end })
    A:extend("SecondForSpec", { init = function() order[#order + 1] = "b" end })()
    assert.same({ "a", "b" }, order)
  end)
end)

describe("a metric given as a class", function()
  it("is made once, so that its log has its name", function()
    local made = 0
    local Count = tide.metrics.Metric:extend("CountForSpec", {
      init = function(self) self.n = 0; made = made + 1 end,
      update_state = function(self, y) self.n = self.n + #y end,
      result = function(self) return self.n end,
      reset_state = function(self) self.n = 0 end,
    })
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 1 } } }
    model:compile { optimizer = "sgd", loss = "mse", metrics = { Count } }
    local h = model:fit({ { 1 }, { 2 } }, { { 1 }, { 2 } }, { epochs = 1, verbose = 0 })
    assert.equal(1, made)
    assert.equal(2, h.count_for_spec[1])
  end)
end)

describe("names of functions", function()
  it("come from one table", function()
    assert.equal("huber", object.name_of(tide.losses.huber))
    assert.equal("relu", object.name_of(tide.ops.relu))
    assert.is_nil(object.name_of(print))
  end)
end)

describe("a setting that changes between two steps", function()
  local function stepped(o, change)
    local w = tide.tensor({ 0.0 }, { requires_grad = true })
    o:apply({ tide.tensor { 10.0 } }, { w })
    change(o)
    o:apply({ tide.tensor { 10.0 } }, { w })
    return w:tolist()[1]
  end
  local SGD = tide.optimizers.SGD
  it("holds from the next step on", function()
    assert.equal(-11, stepped(SGD { 1.0 }, function(o) o.clipvalue = 1 end))
    assert.equal(-11, stepped(SGD { 1.0, clipvalue = 5 }, function(o) o.clipvalue = 6 end))
    assert.equal(-11, stepped(SGD { 1.0 }, function(o) o.clipnorm = 1 end))
    -- -10, then -10 * (1 - 0.5) - 10
    assert.equal(-15, stepped(SGD { 1.0 }, function(o) o.weight_decay = 0.5 end))
    -- velocity begins at the second step
    assert.equal(-20, stepped(SGD { 1.0 }, function(o) o.momentum = 0.5 end))
    -- -10; the second gradient waits for a third
    assert.equal(-10, stepped(SGD { 1.0 }, function(o) o.gradient_accumulation_steps = 3 end))
  end)
  it("does so for the average of weights", function()
    local w = tide.tensor({ 0.0 }, { requires_grad = true })
    local o = SGD { 1.0 }
    o:apply({ tide.tensor { 10.0 } }, { w })
    o.use_ema = true
    o:apply({ tide.tensor { 10.0 } }, { w })
    o:finalize_variable_values()
    assert.equal(-20, w:tolist()[1])
  end)
  it("does so for a loss", function()
    local loss = tide.losses.SparseCategoricalCrossentropy()
    local p = { { 0.25, 0.75 } }
    assert.is_near(0.287682, loss({ 2 }, p):item(), 1e-5)
    loss.from_logits = true
    assert.is_near(0.474077, loss({ 2 }, p):item(), 1e-5) -- log(1 + exp(-0.5))
  end)
  it("does so for a model's optimizer", function()
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 1 }, use_bias = false,
      kernel_initializer = "zeros" } }
    model:compile { optimizer = SGD { 0.0 }, loss = "mse" }
    model:fit({ { 1 } }, { { 1 } }, { verbose = 0 })
    model.optimizer = SGD { 0.5 }
    model:fit({ { 1 } }, { { 1 } }, { verbose = 0 })
    assert.same({ { 1 } }, model.weights[1]:tolist()) -- 0 + 0.5 * 2
    model.optimizer = "sgd"
    model:train_on_batch({ { 1 } }, { { 1 } })
    assert.equal("SGD", model.optimizer:_class_name())
  end)
end)

describe("of several unknown names", function()
  local function first(f, ...)
    local why = message(f, ...)
    assert.truthy(why:find("'aa'", 1, true), why)
  end
  it("the first by name is refused", function()
    local many = {}
    for _, k in ipairs { "zz", "mm", "cc", "bb", "qq", "aa", "xx" } do
      many[k] = 1
    end
    first(tide.losses.MeanSquaredError, many)
    first(tide.losses.MeanSquaredError(), 1, 2, many)
    first(tide.plot.lines, { { 1, 2 } }, many)
    first(tide.ops.meshgrid, tide.arange(2), tide.arange(2), many)
    first(tide.ops.trapezoid, many)
    first(tide.value_and_grad, function() return tide.ones {} end, {}, many)
    first(tide.ops.rearrange, tide.ones { 2, 2 }, "a b -> b a", many)
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 1 } } }
    model:compile { loss = { zz = "mse", aa = "mse", mm = "mse" } }
    first(model.fit, model, { { 1 } }, { { 1 } }, { epochs = 1, verbose = 0 })
  end)
end)

describe("what a class says of Keras' files", function()
  local weights = require "tide.saving.keras.weights"
  local function path(form)
    return os.tmpname() .. form
  end
  it("is where its weights stand", function()
    local Attend = tide.Layer:extend("AttendForSpec", { args = { "units" },
      keras = { path = "attend", group = function(name)
        return name:match "^query" and "query_dense" or name:match "^cell" and "cell"
      end },
      build = function(self)
        for _, name in ipairs { "query_kernel", "scale", "cell_kernel", "query_bias" } do
          self:add_weight { name = name, shape = { self.units } }
        end
      end,
      call = function(_, x) return x end })
    local model = tide.Sequential { Attend { 2, input_shape = { 3 } } }
    local found = {}
    for _, place in ipairs(weights.places(model)) do
      local names = {}
      for i, r in ipairs(place.records) do
        names[i] = r.name
      end
      found[#found + 1] = place.path .. ": " .. table.concat(names, " ")
    end
    assert.same({ ": ", "/layers/attend: scale",
      "/layers/attend/query_dense: query_kernel query_bias",
      "/layers/attend/cell: cell_kernel" }, found)
  end)
  it("is how its configuration looks there", function()
    local L = tide.layers
    local x = tide.Input { 2, 4 }
    local y = L.SpatialDropout1D { 0.5 }(L.UpSampling1D { 2 }(x))
    y = L.Dense { 1, activation = { "leaky_relu", negative_slope = 0.5 },
      kernel_initializer = "ones" }(y)
    local model, at = tide.Model { inputs = x, outputs = y }, path ".keras"
    model:save(at)
    local again = tide.load_model(at)
    local data = -tide.ones { 1, 2, 4 }
    assert.same(model(data):tolist(), again(data):tolist())
    assert.equal(-2, again(data):tolist()[1][1][1])
    os.remove(at)
    local celu = tide.Sequential { L.Dense { 1, activation = { "celu", alpha = 2 },
      input_shape = { 1 } } }
    says("Keras' files cannot hold the activation 'celu' with the option 'alpha'", celu.save, celu,
      at)
    at = path ".safetensors"
    celu:save(at)
    data = tide.tensor { { -1 } }
    assert.same(celu(data):tolist(), tide.load_model(at)(data):tolist())
    os.remove(at)
  end)
end)

describe("a layer's inputs", function()
  local Two = tide.Layer:extend("TwoInputsForSpec", { inputs = { "x", "states" },
    takes = { x = "tensor", states = "list" }, supports_masking = true,
    call = function(self, x, states, o)
      self.seen = o.mask
      return states and x + states[1] or x
    end })
  it("are what the class says of each", function()
    local two = Two()
    assert.same({ 3 }, two(tide.tensor { 1 }, { tide.tensor { 2 }, tide.tensor { 5 } }):tolist())
    says("states takes a list of tensors (got a tensor", two, tide.tensor { 1 }, tide.tensor { 2 })
    says("x takes a tensor (got a list of 1)", two, { tide.tensor { 1 } })
  end)
  it("have their masks by name", function()
    local two, a, b = Two(), tide.ones { 2 }, tide.ones { 2 }
    local mask = tide.tensor { true, false }
    tide.Layer.set_mask(a, mask)
    local y = two(a, { b })
    assert.same({ x = mask }, two.seen)
    assert.equal(mask, tide.Layer.mask_of(y))
    tide.Layer.set_mask(b, mask)
    two(tide.ones { 2 }, { b })
    assert.same({ states = { mask } }, two.seen)
  end)
  it("may be text", function()
    local Length = tide.Layer:extend("LengthForSpec", { takes = "strings", keeps_dtype = true,
      build = function(self, shape) self.shape = shape end,
      call = function(_, words)
        local out = {}
        for i, w in ipairs(words) do
          out[i] = #w
        end
        return tide.tensor(out)
      end })
    local length = Length()
    assert.same({ 1, 3 }, length({ "a", "bcd" }):tolist())
    assert.same({ 2 }, { table.unpack(length.shape) })
    says("takes a string or a list of strings (got a tensor", length, tide.ones { 2 })
    says("takes a tensor (got 'a')", tide.layers.Dense { 1 }, "a")
  end)
end)

describe("methods of optimizers and models", function()
  it("take named options", function()
    local w = tide.tensor({ 1.0 }, { requires_grad = true })
    local o = tide.optimizers.SGD { 1.0 }
    o:apply({ tide.tensor { 2 } }, { trainable_variables = { w } })
    assert.same({ -1 }, w:tolist())
    says("unknown option 'variabels'", o.apply, o, { tide.tensor { 2 } }, { variabels = { w } })
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 1 }, name = "first" } }
    assert.equal(model.layers[1], model:get_layer { name = "first" })
    assert.equal(model.layers[1], model:get_layer { index = 1 })
    assert.equal(model.layers[1], model:get_layer "first")
    model:set_weights { weights = { { { 3 } }, { 1 } } }
    assert.same({ { 7 } }, model({ { 2 } }):tolist())
  end)
  it("are completed", function()
    local complete = require "tide.repl.complete"
    local env = { loss = tide.losses.MeanSquaredError(), o = tide.optimizers.SGD(),
      m = tide.metrics.Mean() }
    assert.same({ "sample_weight = " }, complete.options("sam", "loss(y, p, { ", env))
    assert.same({ "sample_weight = " }, complete.options("sam", "m:update_state(y, { ", env))
    assert.same({ "trainable_variables = " }, complete.options("tr", "o:apply(g, { ", env))
  end)
end)

describe("an option that is a named function", function()
  it("comes back from the configuration", function()
    local metric = tide.metrics.MeanMetricWrapper { tide.losses.mean_squared_error, name = "own" }
    assert.equal("mean_squared_error", metric:get_config().fn)
    local again = tide.metrics.MeanMetricWrapper.from_config(metric:get_config())
    again:update_state({ { 1, 2 } }, { { 1, 4 } })
    assert.equal(2, tonumber(again:result()))
    assert.equal(tide.activations.relu,
      tide.layers.Lambda { tide.activations.relu }:clone().fn)
    local function halved(x) return x / 2 end
    tide.activations.register("object_spec_halved", halved)
    assert.equal(halved, tide.layers.Lambda { halved }:clone().fn)
    says("fn must be a function", tide.layers.Lambda.from_config, { fn = "no_function" })
    says("clone: takes a table of options by name (got 3)", function()
      tide.layers.Dense { 2 }:clone(3)
    end)
  end)
end)

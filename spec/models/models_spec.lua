local expect = require "spec.support.expect"
local tide = require "tide"
local layers, ops, none = tide.layers, tide.ops, tide.none
local list = require "tide.list"
local S = require "tide.private"

local message = expect.message

local has = expect.has

local function distance(a, b)
  return ops.max(ops.abs(a - b)):item()
end

before_each(function()
  tide.Layer.reset_names()
  tide.seed(1)
end)

describe("Sequential", function()
  local function two()
    return tide.Sequential {
      layers.Dense { 4, activation = "relu", input_shape = { 3 } },
      layers.Dense { 2 },
    }
  end

  it("is built at once when the input's shape is known", function()
    local model = two()
    assert.is_true(model.built)
    assert.equal(26, model:count_params())
    assert.equal("[none, 2]", tostring(model.output_shape))
    assert.equal("[5, 2]", tostring(model(tide.ones { 5, 3 }).shape))
  end)

  it("takes an Input first, and layers one by one", function()
    local model = tide.Sequential()
    model:add(tide.Input { 3 })
    model:add(layers.Dense { 4 })
    model:add(layers.Dense { 2 })
    assert.equal(26, model:count_params())
    assert.equal(2, #model.layers)
    assert.equal("dense_1", model:pop().name)
    assert.equal("[none, 4]", tostring(model.output_shape))
  end)

  it("waits for the first call otherwise", function()
    local model = tide.Sequential { layers.Dense { 4 }, layers.Dense { 2 } }
    assert.is_false(model.built)
    has(message(function() return model.output end), "not built yet")
    model(tide.ones { 2, 3 })
    assert.equal(26, model:count_params())
    assert.equal("[7, 2]", tostring(model(tide.ones { 7, 3 }).shape))
  end)

  it("computes what its layers compute", function()
    local model = two()
    local x = tide.random.normal { 5, 3 }
    local expected = model.layers[2](model.layers[1](x))
    assert.equal(0, distance(expected, model(x)))
  end)

  it("refuses what is no layer, and equal names", function()
    has(message(function()
      return tide.Sequential { layers.Dense { 2 }, 5 }
    end), "Sequential: takes layers (got 5")
    has(message(function()
      return tide.Sequential { layers.Dense { 2, name = "a" }, layers.Dense { 2, name = "a" } }
    end), "two layers are named 'a'")
  end)

  it("takes numbers and lists for tensors", function()
    assert.equal("[2, 2]", tostring(two()({ { 1, 2, 3 }, { 4, 5, 6 } }).shape))
  end)

  it("nests", function()
    local model = tide.Sequential { two(), layers.Dense { 1 } }
    assert.equal("[4, 1]", tostring(model(tide.ones { 4, 3 }).shape))
    assert.equal("sequential/dense/kernel", model:_records()[1].path)
  end)

  it("goes through its configuration", function()
    local model = two()
    local again = tide.Sequential.from_config(model:get_config())
    again:set_weights(model:get_weights())
    local x = tide.random.normal { 5, 3 }
    assert.equal(0, distance(model(x), again(x)))
    assert.equal(model.name, again.name)
  end)
end)

describe("functional models", function()
  it("share layers", function()
    local shared = layers.Dense { 4 }
    local a, b = tide.Input { 3 }, tide.Input { 3 }
    local model = tide.Model {
      inputs = { a, b }, outputs = layers.Subtract()({ shared(a), shared(b) }) }
    assert.equal(16, model:count_params())
    local x = tide.random.normal { 2, 3 }
    assert.equal(0, ops.max(ops.abs(model { x, x })):item())
  end)

  it("take and give tables by name", function()
    local a, b = tide.Input { 3, name = "a" }, tide.Input { 2, name = "b" }
    local joined = layers.Concatenate()({ a, b })
    local model = tide.Model {
      inputs = { a = a, b = b },
      outputs = { sum = ops.sum(joined, 2), width = layers.Dense { 4 }(joined) },
    }
    local y = model { a = tide.ones { 2, 3 }, b = tide.ones { 2, 2 } }
    assert.same({ 5, 5 }, y.sum:tolist())
    assert.equal("[2, 4]", tostring(y.width.shape))
    has(message(model, { a = tide.ones { 2, 3 } }), "the input 'b' is missing")
  end)

  it("gives a tensor where its outputs are a list of one", function()
    local m = tide.Sequential { tide.Input { 2 }, layers.Dense { 3 } }
    local cut = tide.Model { inputs = m.inputs, outputs = m.outputs }
    local x = tide.ones { 4, 2 }
    assert.same(m(x):tolist(), cut(x):tolist())
    assert.same(m(x):tolist(), cut:predict(x, { verbose = 0 }):tolist())
    local again = tide.Model.from_config(cut:get_config())
    assert.same({ 1, 3 }, again(tide.ones { 1, 2 }).shape:totable())
    assert.is_true(rawequal(cut.output, m.output))
  end)

  it("give lists for lists", function()
    local x = tide.Input { 3 }
    local model = tide.Model { inputs = x, outputs = { x * 2, layers.Dense { 1 }(x) } }
    local y = model(tide.ones { 4, 3 })
    assert.equal(2, #y)
    assert.equal("[4, 3]", tostring(y[1].shape))
  end)

  it("record ops and arithmetic on symbolic tensors", function()
    local x = tide.Input { 4 }
    local y = (x * 2 + 1):reshape { -1, 2, 2 }
    assert.equal("[none, 2, 2]", tostring(y.shape))
    local z = ops.mean(-y, { axis = { 2, 3 } }) / x[{ {}, 1 }]
    local model = tide.Model { inputs = x, outputs = z }
    local got = model { { 1, 2, 3, 4 } }
    assert.is_true(math.abs(got[1] + 6) < 1e-6)
  end)

  it("serve as layers of other models", function()
    local x = tide.Input { 3 }
    local inner = tide.Model { inputs = x, outputs = layers.Dense { 4 }(x), name = "inner" }
    local z = tide.Input { 3 }
    local outer = tide.Model { inputs = z, outputs = layers.Dense { 2 }(inner(z)) }
    assert.equal("[5, 2]", tostring(outer(tide.ones { 5, 3 }).shape))
    assert.equal(26, outer:count_params())
    assert.equal(inner, outer:get_layer "inner")
  end)

  it("give the layers between input and output, and reach inside", function()
    local x = tide.Input { 3 }
    local h = layers.Dense { 4, name = "hidden" }(x)
    local model = tide.Model { inputs = x, outputs = layers.Dense { 2, name = "last" }(h) }
    local names = {}
    for i, layer in ipairs(model.layers) do
      names[i] = layer.name
    end
    assert.same({ "input_layer", "hidden", "last" }, names)
    local features = tide.Model { inputs = model.input, outputs = model:get_layer("hidden").output }
    assert.equal("[2, 4]", tostring(features(tide.ones { 2, 3 }).shape))
    has(message(model.get_layer, model, "hiden"), "did you mean 'hidden'")
    assert.equal("last", model:get_layer({ index = 3 }).name)
  end)

  it("say when the graph is not connected", function()
    local a, b = tide.Input { 3, name = "a" }, tide.Input { 3, name = "b" }
    has(message(function()
      return tide.Model { inputs = a, outputs = a + b }
    end), "'b' is needed but is no input")
    has(message(function()
      return tide.Model { inputs = tide.ones { 2 }, outputs = a }
    end), "inputs must be symbolic")
  end)

  it("go through their configuration, shared layers and ops included", function()
    local a, b = tide.Input { 3, name = "a" }, tide.Input { 3, name = "b" }
    local shared = layers.Dense { 4, activation = "tanh" }
    local y = layers.Add()({ shared(a) * 2, shared(b) })
    local model = tide.Model {
      inputs = { a, b }, outputs = { y, ops.concatenate({ a, b }, { axis = 2 }) } }
    local again = tide.models.clone_model(model)
    again:set_weights(model:get_weights())
    local x = { tide.random.normal { 2, 3 }, tide.random.normal { 2, 3 } }
    assert.equal(0, distance(model(x)[1], again(x)[1]))
    assert.equal(0, distance(model(x)[2], again(x)[2]))
    assert.equal(#model.layers, #again.layers)
  end)

  it("go through JSON", function()
    local x = tide.Input { 4, 4, 1 }
    local y = layers.Conv2D { 2, 3, padding = "same", kernel_regularizer = "l2" }(x)
    y = layers.Flatten()(layers.ReLU()(y) * 2)
    local model = tide.Model {
      inputs = { image = x }, outputs = layers.Dense { 2, activation = "softmax" }(y), name = "j" }
    local again = tide.models.model_from_json(model:to_json())
    again:set_weights(model:get_weights())
    local data = { image = tide.random.normal { 2, 4, 4, 1 } }
    assert.equal(0, distance(model(data), again(data)))
    assert.equal("j", again.name)
    assert.equal(model:to_json(), again:to_json())
    local plain = tide.Sequential { layers.Dense { 3, use_bias = false, input_shape = { 2 } } }
    assert.equal(plain:to_json(), tide.models.model_from_json(plain:to_json()):to_json())
  end)

  it("free what no later step needs", function()
    local x = tide.Input { 1000 }
    local y = x
    for _ = 1, 30 do
      y = y + 1
    end
    local model = tide.Model { inputs = x, outputs = { y, y * 2 } }
    local steps = 0
    for _, step in ipairs(model[S].program.steps) do
      steps = steps + step.released
    end
    assert.equal(30, steps) -- all but the two outputs, the input among them
  end)
end)

describe("errors of models", function()
  it("name the model, the layer, the op and the shapes", function()
    local model = tide.Sequential {
      layers.Dense { 8, input_shape = { 10 } }, layers.Dense { 2 }, name = "mnist" }
    local ok, e = pcall(model, tide.ones { 4, 11 })
    assert.is_false(ok)
    assert.equal('model "mnist" > dense (Dense 8)', e.path)
    assert.equal("linear", e.op)
    has(
      tostring(e),
      'model "mnist" > dense (Dense 8): linear: input has 11 features, kernel expects 10 '
      .. "(input [4, 11], kernel [10, 8])")
  end)

  it("come when the model is built, where the shapes are known then", function()
    has(message(function()
      return tide.Sequential {
        layers.Dense { 3, input_shape = { 4 } }, layers.Reshape { 2, 2 }, name = "m" }
    end), 'model "m" > reshape (Reshape 2x2): ')
    local x = tide.Input { 8, 8, 3 }
    has(message(layers.Conv2D { 4, 9 }, x),
      "conv2d (Conv2D 4 9x9): Conv2D: a window of 9 does not fit into an axis of size 8")
    local shared = layers.Dense { 4, name = "shared" }
    shared(tide.Input { 3 })
    has(message(shared, tide.Input { 5 }),
      "shared (Dense 4): linear: input has 5 features, kernel expects 3")
    has(message(layers.Add(), { tide.Input { 2 }, tide.Input { 3 } }), "do not fit together")
  end)

  it("leave nothing stale behind", function()
    local model = tide.Sequential {
      layers.Dropout { 0.5, input_shape = { 3 } }, layers.Dense { 2 } }
    pcall(model, tide.ones { 2, 4 }, { training = true })
    assert.is_false(tide.Layer.is_training())
    local x = tide.ones { 4, 3 }
    assert.equal(0, distance(model(x), model(x)))
  end)

  it("name the option, and what was meant", function()
    has(message(layers.Dense, { 64, activaton = "relu" }),
      "Dense: unknown option 'activaton'; did you mean 'activation'?")
    has(message(layers.Conv2D, { 3 }), "Conv2D: kernel_size is missing")
    has(message(layers.Concatenate, { axis = 1 }),
      "Concatenate: axis must be an axis other than the batch")
    has(message(function() return layers.Dens end), "did you mean 'Dense'")
  end)
end)

describe("layers of your own", function()
  it("are built, tracked, counted and saved by name", function()
    local Linear = tide.Layer:extend("SpecLinear", {
      args = { "units", "scale" },
      init = function(self, o)
        self.factor = o.scale or 1
      end,
      build = function(self, shape)
        self.w = self:add_weight { name = "w", shape = { shape[#shape], self.units } }
      end,
      call = function(self, x)
        return x:matmul(self.w) * self.factor
      end,
    })
    local layer = Linear { 4, scale = 2 }
    assert.equal("[2, 4]", tostring(layer(tide.ones { 2, 3 }).shape))
    assert.equal(12, layer:count_params())
    assert.equal("spec_linear", layer.name)
    assert.equal(2, layer:get_config().scale)
    local again = layers.deserialize(layers.serialize(layer))
    assert.equal(4, again.units)
    local x = tide.Input { 3 }
    assert.equal("[none, 4]", tostring(Linear({ 4 })(x).shape))
  end)

  it("run the base class' init and build by themselves", function()
    local trace = {}
    local A = tide.Layer:extend("SpecA", { args = { "n" },
      init = function()
        trace[#trace + 1] = "A.init"
      end, build = function()
        trace[#trace + 1] = "A.build"
      end, call = function(_, x) return x end })
    local B = A:extend("SpecB", { args = { "m" },
      init = function()
        trace[#trace + 1] = "B.init"
      end, build = function() trace[#trace + 1] = "B.build" end })
    local b = B { 1, n = 2 }
    b(tide.ones { 1 })
    assert.same({ "A.init", "B.init", "A.build", "B.build" }, trace)
    assert.equal(2, b.n)
    local Wide = layers.Dense:extend("SpecWide", { args = { "units" }, call = function(self, x)
      return layers.Dense.call(self, x) * 2
    end })
    assert.equal("[2, 3]", tostring(Wide({ 3 })(tide.ones { 2, 4 }).shape))
  end)

  it("find layers, variables and lists of them in their fields", function()
    local Block = tide.Model:extend("SpecBlock", {
      init = function(self)
        self.blocks = {}
        for i = 1, 3 do
          self.blocks[i] = layers.Dense { 2 }
        end
        self.head = layers.Dense { 1 }
        self.offset = tide.zeros({ 1 }, { requires_grad = true })
      end,
      call = function(self, x)
        for _, block in ipairs(self.blocks) do
          x = block(x)
        end
        return self.head(x) + self.offset
      end,
    })
    local model = Block()
    model(tide.ones { 4, 2 })
    assert.equal(9, #model.weights)
    assert.equal(9, #model.trainable_weights)
    assert.equal(4, #model.layers)
    local paths = {}
    for i, r in ipairs(model:_records()) do
      paths[i] = r.path
    end
    assert.same({ "offset", "blocks.1/kernel", "blocks.1/bias", "blocks.2/kernel", "blocks.2/bias",
      "blocks.3/kernel", "blocks.3/bias", "head/kernel", "head/bias" }, paths)
  end)

  it("build the layers inside from a shape alone", function()
    local Net = tide.Model:extend("SpecNet", {
      init = function(self) self.dense = layers.Dense { 3 } end,
      call = function(self, x) return self.dense(x) end,
    })
    local net = Net()
    net:build { none, 4 }
    assert.equal(15, net:count_params())
    assert.equal("[2, 3]", tostring(net(tide.ones { 2, 4 }).shape))
  end)

  it("need the sizes of their weights", function()
    local layer = tide.Layer:extend("SpecSizeless", { call = function(_, x) return x end })()
    local text = "every size of the weight 'w' must be known (got "
    has(message(layer.add_weight, layer, { name = "w", shape = { 2, -1 } }), text .. "[2, -1]")
    has(message(layer.add_weight, layer, { name = "w", shape = { none, 2 } }), text .. "[none, 2]")
  end)

  it("protect what belongs to every layer", function()
    local layer = layers.Dense { 2 }
    has(message(function() layer.weights = {} end), "'weights' belongs to every layer")
    has(message(function() layer.get_config = 1 end), "'get_config' belongs to every layer")
  end)

  it("get several inputs and options", function()
    local seen
    local Mix = tide.Layer:extend("SpecMix", { inputs = { "query", "value" },
      call = function(_, query, value, o)
        seen = o
        return query + value
      end })
    local a, b = tide.ones { 2 }, tide.ones { 2 }
    local mix = Mix()
    assert.same({ 2, 2 }, mix(a, b):tolist())
    assert.is_false(seen.training)
    assert.same({ 2, 2 }, mix(a, b, { training = true, flavour = "x" }):tolist())
    assert.is_true(seen.training)
    assert.equal("x", seen.flavour)
    assert.same({ 2, 2 }, mix({ query = a, value = b }):tolist())
    has(message(mix, a, b, a), "takes 2 inputs")
  end)

  it("pass the training mode on to the layers inside", function()
    local seen = {}
    local Probe = tide.Layer:extend("SpecProbe", { call = function(_, x, o)
      seen[#seen + 1] = o.training
      return x
    end })
    local Outer = tide.Layer:extend("SpecOuter", {
      init = function(self) self.probe = Probe() end,
      call = function(self, x) return self.probe(self.probe(x), { training = false }) end,
    })
    local outer = Outer()
    outer(tide.ones { 1 }, { training = true })
    outer(tide.ones { 1 })
    assert.same({ true, false, false, false }, seen)
  end)

  it("collect losses of activations and weights", function()
    local layer = layers.Dense {
      2, kernel_regularizer = "l2", activity_regularizer = { "l1", l1 = 1 },
        kernel_initializer = "ones", use_bias = false }
    layer(tide.ones { 4, 3 })
    layer(tide.ones { 4, 3 }) -- each outermost call starts anew
    assert.equal(2, #layer.losses)
    assert.is_true(math.abs(layer.losses[1]:item() - 6) < 1e-5) -- 4 * 2 * 3 / 4
    assert.is_true(math.abs(layer.losses[2]:item() - 0.06) < 1e-6)
    local inactive = layers.ActivityRegularization { l2 = 1 }
    inactive(tide.ones { 2, 2 })
    assert.is_true(math.abs(inactive.losses[1]:item() - 2) < 1e-6)
  end)

  it("freeze and thaw", function()
    local model = tide.Sequential {
      layers.Dense { 2, input_shape = { 3 } }, layers.BatchNormalization() }
    assert.equal(4, #model.trainable_weights)
    assert.equal(2, #model.non_trainable_weights)
    model.layers[1].trainable = false
    assert.equal(2, #model.trainable_weights)
    assert.is_false(model.layers[1].kernel.requires_grad)
    model.trainable = true
    assert.equal(4, #model.trainable_weights)
    assert.is_false(model.layers[2].moving_mean.requires_grad)
  end)

  it("check weights that are set", function()
    local layer = layers.Dense { 2 }
    has(message(layer.set_weights, layer, { tide.ones { 3, 2 } }),
      "has 0 weights (got 1 values); the layer is not built yet")
    layer:build { none, 3 }
    has(message(layer.set_weights, layer, { tide.ones { 2, 2 }, tide.ones { 2 } }),
      "weight 1 (kernel) has shape [3, 2], the value has [2, 2]")
    layer:set_weights { { { 1, 2 }, { 3, 4 }, { 5, 6 } }, { 7, 8 } }
    assert.same({ { 16, 20 } }, layer({ { 1, 1, 1 } }):tolist())
  end)
end)

describe("layers in training", function()
  it("Dropout keeps the mean and drops its share", function()
    local x = tide.ones { 100, 100 }
    local y = layers.Dropout { 0.3 }(x, { training = true })
    assert.is_true(math.abs(ops.mean(y):item() - 1) < 0.03)
    assert.is_true(math.abs(ops.mean(ops.cast(ops.equal(y, 0), "float32")):item() - 0.3) < 0.03)
    local columns = layers.Dropout { 0.5, noise_shape = { none, 1 } }(
      x, { training = true }):tolist()
    for i = 1, 100 do
      assert.equal(columns[i][1], columns[i][100])
    end
  end)

  it("SpatialDropout drops whole channels", function()
    local y = layers.SpatialDropout2D { 0.5 }(tide.ones { 8, 4, 4, 16 }, { training = true })
    local sums = ops.sum(y, { axis = { 2, 3 } }):tolist()
    for _, row in ipairs(sums) do
      for _, v in ipairs(row) do
        assert.is_true(v == 0 or v == 32)
      end
    end
  end)

  it("noise has the stated deviation", function()
    local zero, one = tide.zeros { 100, 100 }, tide.ones { 100, 100 }
    local function deviation(t)
      return math.sqrt(ops.mean(ops.square(t - ops.mean(t))):item())
    end
    assert.is_true(math.abs(deviation(layers.GaussianNoise { 0.4 }(zero,
      { training = true })) - 0.4) < 0.02)
    assert.is_true(math.abs(deviation(layers.GaussianDropout { 0.2 }(one,
      { training = true })) - 0.5) < 0.02)
    local selu = layers.AlphaDropout { 0.2 }(tide.random.normal { 100, 100 }, { training = true })
    assert.is_true(math.abs(deviation(selu) - 1) < 0.05)
  end)

  it("with a seed of their own repeat themselves, call by call", function()
    local a, b = layers.Dropout { 0.5, seed = 3 }, layers.Dropout { 0.5, seed = 3 }
    local x = tide.ones { 50 }
    local first, second = a(x, { training = true }), a(x, { training = true })
    assert.not_same(first:tolist(), second:tolist())
    assert.same(first:tolist(), b(x, { training = true }):tolist())
  end)

  it("BatchNormalization moves its statistics, unless frozen", function()
    local layer = layers.BatchNormalization { momentum = 0.9 }
    local x = tide.tensor { { 1, 10 }, { 3, 30 } }
    layer(x, { training = true })
    local mean = layer.moving_mean:tolist()
    assert.is_true(math.abs(mean[1] - 0.2) < 1e-6 and math.abs(mean[2] - 2) < 1e-5)
    local variance = layer.moving_variance:tolist()
    assert.is_true(math.abs(variance[1] - 1) < 1e-6 and math.abs(variance[2] - 10.9) < 1e-5)
    layer.trainable = false
    layer(x, { training = true })
    assert.same(mean, layer.moving_mean:tolist())
  end)

  it("BatchNormalization leaves masked steps out", function()
    local x = tide.tensor { { { 1 }, { 5 } }, { { 3 }, { 100 } } }
    local layer = layers.BatchNormalization { momentum = 0 }
    layer(x, { training = true, mask = tide.tensor { { true, true }, { true, false } } })
    assert.is_true(math.abs(layer.moving_mean:tolist()[1] - 3) < 1e-4)
  end)
end)

describe("masks", function()
  local mask_of = tide.Layer.mask_of

  it("come from Embedding and Masking and travel", function()
    local embedding = layers.Embedding { 5, 3, mask_zero = true }
    local ids = tide.tensor({ { 1, 0 }, { 4, 2 } }, { dtype = "int32" })
    local y = layers.Dense { 2 }(layers.Dropout { 0.1 }(embedding(ids)))
    assert.same({ { true, false }, { true, true } }, mask_of(y):tolist())
    local x = tide.tensor { { { 0, 0 }, { 1, 0 } } }
    local masked = layers.Masking()(x)
    assert.same({ { false, true } }, mask_of(masked):tolist())
    assert.is_nil(mask_of(layers.Conv1D { 2, 1 }(masked)))
  end)

  it("reach call as o.mask and change GlobalAveragePooling1D", function()
    local x = layers.Masking()(tide.tensor { { { 2, 4 }, { 0, 0 }, { 4, 6 } } })
    assert.same({ { 3, 5 } }, layers.GlobalAveragePooling1D()(x):tolist())
  end)

  it("travel through models", function()
    local model = tide.Sequential {
      layers.Embedding { 5, 3, mask_zero = true }, layers.GlobalAveragePooling1D() }
    local ids = tide.tensor({ { 1, 0, 2 } }, { dtype = "int32" })
    local rows = model.layers[1](ids):tolist()[1]
    local y = model(ids):tolist()[1]
    for i = 1, 3 do
      assert.is_true(math.abs(y[i] - (rows[1][i] + rows[3][i]) / 2) < 1e-6)
    end
  end)

  it("merge by or", function()
    local a = layers.Masking()(tide.tensor { { { 0 }, { 1 } } })
    local b = layers.Masking()(tide.tensor { { { 0 }, { 0 } } })
    assert.same({ { false, true } }, mask_of(layers.Add()({ a, b })):tolist())
    assert.is_nil(mask_of(layers.Add()({ a, tide.ones { 1, 2, 1 } })))
    assert.same({ { false, true, false, false } },
      mask_of(layers.Concatenate { axis = 2 }({ a, b })):tolist())
  end)
end)

describe("Embedding", function()
  it("counts ids from 1, and from 0 with mask_zero, zero_row or zero_based", function()
    local one = layers.Embedding { 3, 2 }
    one:build { none, 1 }
    one:set_weights { { { 1, 1 }, { 2, 2 }, { 3, 3 } } }
    assert.same({ { 1, 1 }, { 3, 3 } }, one(tide.tensor({ 1, 3 }, { dtype = "int32" })):tolist())
    for _, option in ipairs { "mask_zero", "zero_row", "zero_based" } do
      local zero = layers.Embedding { 3, 2, [option] = true }
      zero:build { none, 1 }
      zero:set_weights { { { 1, 1 }, { 2, 2 }, { 3, 3 } } }
      assert.same({ { 1, 1 }, { 3, 3 } }, zero(tide.tensor({ 0, 2 }, { dtype = "int32" })):tolist())
    end
    assert.truthy(message(one, tide.tensor({ 1, 4 }, { dtype = "int32" })):find("4", 1, true))
    local zero = message(one, tide.tensor({ 1, 0 }, { dtype = "int32" }))
    assert.truthy(zero:find("mask_zero = true", 1, true) and zero:find("zero_row = true", 1, true),
      zero)
  end)
end)

describe("merging functions", function()
  it("are the layers applied at once", function()
    local a, b = tide.tensor { { 1, 2 } }, tide.tensor { { 3, 5 } }
    assert.same({ { 4, 7 } }, layers.add({ a, b }):tolist())
    assert.same({ { -2, -3 } }, layers.subtract({ a, b }):tolist())
    assert.same({ { 3, 10 } }, layers.multiply({ a, b }):tolist())
    assert.same({ { 2, 3.5 } }, layers.average({ a, b }):tolist())
    assert.same({ { 3, 5 } }, layers.maximum({ a, b }):tolist())
    assert.same({ { 1, 2 } }, layers.minimum({ a, b }):tolist())
    assert.same({ { 1, 2, 3, 5 } }, layers.concatenate({ a, b }):tolist())
    assert.same({ { 13 } }, layers.dot({ a, b }, { axes = 2 }):tolist())
  end)
end)

describe("the lists that models return", function()
  it("stand wherever lists of one's own do", function()
    local a, b = tide.Input { 4 }, tide.Input { 4 }
    local outputs = { layers.Dense { 3 }(a), layers.Dense { 3 }(b) }
    local m = tide.Model { inputs = { a, b }, outputs = outputs }
    local x = { tide.ones { 2, 4 }, tide.random.normal { 2, 4 } }
    local y = m(x)
    local again = tide.Model { inputs = m.inputs, outputs = m.outputs }(x)
    assert.same(y[2]:tolist(), again[2]:tolist())
    local joined = tide.Model { inputs = m.inputs, outputs = ops.concatenate(m.outputs, -1) }(x)
    assert.same(ops.concatenate(y, -1):tolist(), joined:tolist())
    assert.same({ 2, 6 }, layers.Concatenate()(m:predict(x, { verbose = 0 })).shape)
    assert.equal(2, #m(m.inputs))
    local first = tide.Sequential { layers.Dense { 3 }, layers.Dense { 2 } }
    assert.equal(2, #tide.Sequential(first.layers).layers)
  end)
end)

describe("model:summary", function()
  it("draws Keras' table", function()
    local model = tide.Sequential {
      layers.Dense { 4, input_shape = { 3 } }, layers.BatchNormalization(), name = "m" }
    local lines = {}
    model:summary { print_fn = function(line) lines[#lines + 1] = line end }
    assert.equal('Model: "m"', lines[1])
    has(lines[3], "Layer (type)")
    has(lines[5], "dense (Dense)")
    has(lines[5], "[none, 4]")
    has(lines[5], "16")
    assert.equal(" Total params: 32 (128.00 B)", lines[#lines - 2])
    assert.equal(" Trainable params: 24 (96.00 B)", lines[#lines - 1])
    assert.equal(" Non-trainable params: 8 (32.00 B)", lines[#lines])
    assert.equal(tostring(model), table.concat(lines, "\n"))
  end)

  it("counts what the optimizer keeps, as Keras does after the first step", function()
    local model = tide.Sequential {
      tide.Input { 4 }, layers.Dense { 3 }, layers.BatchNormalization(),
    }
    for _, optimizer in ipairs { "adam", tide.optimizers.SGD { momentum = 0.9, use_ema = true } } do
      model:compile { optimizer, loss = "mse" }
      assert.is_nil(tostring(model):find("Optimizer params", 1, true))
      model:fit(tide.ones { 4, 4 }, tide.ones { 4, 3 }, { verbose = 0 })
      has(tostring(model), " Total params: 71 (288.00 B)\n") -- Keras 3.15 on TensorFlow
      has(tostring(model), " Optimizer params: 44 (180.00 B)")
    end
  end)

  it("shows connections of graphs, nested models and what is trainable", function()
    local x = tide.Input { 3, name = "x" }
    local inner = tide.Sequential {
      layers.Dense { 3, input_shape = { 3 }, name = "deep" }, name = "inner" }
    local model = tide.Model { inputs = x, outputs = layers.Add()({ inner(x), x * 2 }) }
    local lines = {}
    model:summary { expand_nested = true, show_trainable = true, print_fn = function(line)
      lines[#lines + 1] = line
    end }
    local text = table.concat(lines, "\n")
    has(text, "Connected to")
    has(text, "inner, multiply")
    has(text, "  deep (Dense)")
    has(text, "multiply (op)")
  end)
end)

describe("dtypes", function()
  it("of inputs are cast once, to what the model declares", function()
    local model = tide.Sequential { layers.Dense { 2, input_shape = { 3 } } }
    assert.equal("float32", model(tide.ones({ 1, 3 }, { dtype = "float64" })).dtype)
    local x = tide.Input { 3, dtype = "float64" }
    local double = tide.Model { inputs = x, outputs = layers.Dense({ 2, dtype = "float64" })(x) }
    assert.equal("float64", double(tide.ones { 1, 3 }).dtype)
  end)

  it("of layers may differ inside a model", function()
    local model = tide.Sequential {
      layers.Dense { 2, input_shape = { 3 }, dtype = "float64" }, layers.Dense { 2 },
        layers.Dense { 1, dtype = "float64" },
    }
    assert.equal("float64", model(tide.ones { 1, 3 }).dtype)
    assert.equal("float64", model.weights[1].dtype)
    assert.equal("float32", model.weights[3].dtype)
  end)

  it("of integers stay: images need no cast", function()
    local model = tide.Sequential {
      layers.Rescaling { 1 / 255, input_shape = { 2 } }, layers.Dense { 1 } }
    assert.equal("float32", model(tide.ones({ 1, 2 }, { dtype = "uint8" })).dtype)
  end)
end)

describe("the call of a built layer", function()
  it("makes no table", function()
    if os.getenv "TIDE_COVERAGE" then
      pending "counting lines takes memory"
    end
    local model = tide.Sequential {
      layers.Dense { 4, activation = "relu", input_shape = { 3 } }, layers.Dense { 2 } }
    local x = tide.ones { 2, 3 }
    model(x)
    -- what grows per call is handles of tensors; tables would add at least 56 bytes each
    collectgarbage "collect"
    collectgarbage "stop"
    local before = collectgarbage "count"
    for _ = 1, 1000 do
      model(x, tide.Layer.TRAIN)
    end
    local model_bytes = (collectgarbage "count" - before) * 1024 / 1000
    collectgarbage "collect"
    before = collectgarbage "count"
    collectgarbage "stop"
    for _ = 1, 1000 do
      ops.linear(ops.linear(x, model.layers[1].kernel), model.layers[2].kernel)
    end
    local op_bytes = (collectgarbage "count" - before) * 1024 / 1000
    collectgarbage "restart"
    -- layers of other dtypes, made by other specs, take the longer path
    assert.is_true(model_bytes < op_bytes + 200,
      ("%g bytes per call, its ops alone %g"):format(model_bytes, op_bytes))
  end)
end)

describe("shapes of models", function()
  it("compare with lists", function()
    local model = tide.Sequential { layers.Dense { 4, input_shape = { 3 } } }
    assert.is_true(model.input_shape == list.new { none, 3 })
    assert.is_true(model.output_shape == list.new { none, 4 })
    assert.equal(4, model.output_shape[-1])
  end)
end)

describe("the options of a call", function()
  it("can be walked", function()
    local seen = {}
    local Walk = tide.Layer:extend("SpecWalk", { call = function(_, x, o)
      for k, v in pairs(o) do
        seen[k] = v
      end
      return x
    end })
    Walk()(tide.ones { 1 }, { training = true })
    assert.same({ training = true }, seen)
    Walk()(tide.ones { 1 })
    assert.same({ training = false }, seen)
  end)
end)

describe("a model class of one's own made of inputs and outputs", function()
  local steps = 0
  local Own = tide.Model:extend("OwnGraph", {
    args = { { "scale", "number", 1 } },
    train_step = function(self, x, y, w)
      steps = steps + 1
      return tide.Model.train_step(self, x, y, w)
    end,
    twice = function(self, x) return self(x) * (2 * self.scale) end,
  })
  local function parts()
    local i = tide.Input { 3 }
    return i, tide.layers.Dense { 2 } (i)
  end
  local x = tide.ones { 4, 3 }

  it("is functional, and has its own methods, options and steps", function()
    local i, o = parts()
    for _, m in ipairs { Own(i, o), Own { inputs = i, outputs = o }, Own { i, o },
      Own(i, o, { scale = 3, name = "mine" }) } do
      assert.same({ 4, 2 }, m(x).shape:totable())
      assert.equal("OwnGraph", getmetatable(m).__name)
      assert.same((m(x) * 2 * m.scale):tolist(), m:twice(x):tolist())
      steps = 0
      m:compile { optimizer = "sgd", loss = "mse" }
      m:fit(x, tide.ones { 4, 2 }, { epochs = 2, batch_size = 2, verbose = 0 })
      assert.equal(4, steps)
    end
    local Kin = Own:extend("OwnGraphKin", { thrice = function(self, v) return self(v) * 3 end })
    local kin = Kin(i, o)
    assert.same((kin(x) * 2):tolist(), kin:twice(x):tolist())
    assert.same((kin(x) * 3):tolist(), kin:thrice(x):tolist())
  end)

  it("is what a file of it becomes", function()
    local i, o = parts()
    local m = Own(i, o, { scale = 3 })
    local folder = expect.folder()
    for _, path in ipairs { folder .. "/m.safetensors", folder .. "/m.keras" } do
      m:save(path)
      local again = tide.load_model(path)
      assert.same(m:twice(x):tolist(), again:twice(x):tolist())
      assert.equal(3, again.scale)
    end
    os.execute("rm -r " .. folder)
  end)

  it("with a call of its own takes no graph", function()
    local Called = tide.Model:extend("OwnCall", { call = function(_, v) return v end })
    local i, o = parts()
    expect.raises("takes no positional arguments", Called, i, o)
  end)
end)

describe("tide.Model.from_config", function()
  it("makes functional and Sequential models", function()
    local i = tide.Input { 3 }
    local m = tide.Model { inputs = i, outputs = tide.layers.Dense { 2 } (i) }
    local x = tide.ones { 4, 3 }
    assert.same({ 4, 2 }, tide.Model.from_config(m:get_config())(x).shape:totable())
    local s = tide.Sequential { tide.layers.Dense { 5, input_shape = { 3 } } }
    assert.same({ 4, 5 }, tide.Model.from_config(s:get_config())(x).shape:totable())
    assert.equal(4, tide.layers.Dense:from_config(tide.layers.Dense { 4 }:get_config()).units)
  end)
end)

describe("an Input of whole numbers", function()
  it("casts the floats that Lua's numbers make, in both kinds of models", function()
    local i = tide.Input { 1, dtype = "int32" }
    local m = tide.Model { inputs = i, outputs = tide.ops.one_hot(i, 3) }
    assert.same({ { { 1, 0, 0 } }, { { 0, 1, 0 } } }, m(tide.tensor { { 1 }, { 2 } }):tolist())
    local j = tide.Input { 2 }
    local two = tide.Model { inputs = { i, j },
      outputs = tide.layers.Concatenate() { tide.ops.cast(tide.ops.squeeze(tide.ops.one_hot(i, 3),
        2), "float32"), j } }
    local y = two { tide.tensor { { 2 } }, tide.tensor { { 5, 6 } } }
    assert.same({ { 0, 1, 0, 5, 6 } }, y:tolist())
    local s = tide.Sequential { tide.Input { 2, dtype = "int32" },
      tide.layers.Lambda { function(v) return tide.ops.cast(v // 2, "float32") end } }
    assert.same({ { 2, 3 } }, s(tide.tensor { { 5, 7 } }):tolist())
  end)
end)

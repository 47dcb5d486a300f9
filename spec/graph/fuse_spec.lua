-- Two layers in one call: only where the class of the first says so, and with the same numbers.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers, ops, none = tide.layers, tide.ops, tide.none

local message, has = expect.message, expect.has

before_each(function()
  tide.Layer.reset_names()
  tide.seed(1)
end)

-- A relu that the layer before does not know: it must run by itself.
local OwnReLU = layers.ReLU:extend("SpecOwnReLU", {
  call = function(_, x) return ops.relu(x) end,
})

-- Calls of each op while f runs.
local function counts(f)
  core.profile_start()
  local ok, e = pcall(f)
  local profile = core.profile_stop()
  assert.is_true(ok, e)
  local out = {}
  for _, row in ipairs(profile) do
    out[row.name] = row.calls
  end
  return out
end

local function two_inputs(join, relu)
  local a, b = tide.Input { 2 }, tide.Input { 2 }
  return tide.Model { inputs = { a, b }, outputs = relu(join { a, b }) }
end

describe("a relu behind a normalization or an addition", function()
  local function build(relu)
    local input = tide.Input { 6, 6, 4 }
    local x = layers.Conv2D { 4, 3, padding = "same" }(input)
    x = relu()(layers.BatchNormalization()(x))
    local y = relu()(layers.BatchNormalization()(layers.Conv2D { 4, 3, padding = "same" }(x)))
    local z = relu()(layers.Add() { x, y })
    local sum = layers.Add() { z, x, y }
    local last = relu()(layers.Add() { relu()(sum), sum })
    return tide.Model { inputs = input, outputs = layers.Dense { 2 }(layers.Flatten()(last)) }
  end

  it("runs in one op, in prediction and training", function()
    local x = tide.random.normal { 5, 6, 6, 4 }
    local one, two = build(layers.ReLU), build(OwnReLU)
    for _, o in ipairs { tide.Layer.INFER, tide.Layer.TRAIN } do
      assert.equal(1, counts(function() one(x, o) end).relu) -- of the sum that is read twice
      assert.equal(5, counts(function() two(x, o) end).relu)
    end
  end)

  it("gives the same numbers in one op as in two, in prediction and training", function()
    local one, two = build(layers.ReLU), build(OwnReLU)
    two:set_weights(one:get_weights())
    local x, y = tide.random.normal { 5, 6, 6, 4 }, tide.random.normal { 5, 2 }
    local function same()
      local a, b = one:predict_on_batch(x), two:predict_on_batch(x)
      assert.equal(0, ops.max(ops.abs(a - b)):item())
      assert.is_true(ops.max(ops.abs(a)):item() > 0)
    end
    same()
    for _, model in ipairs { one, two } do
      model:compile { optimizer = tide.optimizers.SGD { 0.05 }, loss = "mse" }
      model:fit(x, y, { epochs = 3, verbose = 0, shuffle = false, batch_size = 5 })
    end
    same()
    for i, w in ipairs(one:get_weights()) do
      assert.equal(0, ops.max(ops.abs(w - two:get_weights()[i])):item(), "weight " .. i)
    end
  end)

  it("may be an Activation", function()
    local m = two_inputs(layers.Add(), layers.Activation { "relu" })
    local x = { tide.tensor { { -3, 1 } }, tide.ones { 1, 2 } }
    assert.is_nil(counts(function() assert.same({ { 0, 2 } }, m(x):tolist()) end).relu)
    m = two_inputs(layers.Add(), layers.Activation { "tanh" })
    assert.equal(1, counts(function() m(x) end).tanh)
  end)

  it("goes together in a Sequential, however it grows", function()
    local m = tide.Sequential { layers.BatchNormalization { input_shape = { 3 } } }
    local x = tide.tensor { { -1, 0, 2 } }
    m(x)
    m:add(layers.ReLU())
    assert.is_nil(counts(function() m(x) end).relu)
    assert.same({ 0, 0, m.layers[1](x):tolist()[1][3] }, m(x):tolist()[1])
    m:pop()
    assert.same(m.layers[1](x):tolist(), m(x):tolist())
    m:add(layers.ReLU { max_value = 1 })
    assert.equal(1, counts(function() m(x) end).relu)
  end)

  it("runs by itself where masks travel, and only there", function()
    local m = two_inputs(layers.Add(), layers.ReLU())
    local x = { tide.tensor { { -1, 2 } }, tide.tensor { { 0, 1 } } }
    local masked = layers.Masking()(tide.tensor { { { 0 }, { 1 } } })
    assert.same({ { false, true } }, tide.Layer.mask_of(masked):tolist())
    assert.is_nil(counts(function() assert.same({ { 0, 3 } }, m(x):tolist()) end).relu)
    local steps = tide.Input { 2, 1 }
    local path = tide.Sequential {
      layers.Masking(), layers.BatchNormalization(), layers.ReLU(),
      layers.GlobalAveragePooling1D() }
    path(tide.ones { 1, 2, 1 })
    path.layers[2]:set_weights { { 1 }, { 0 }, { 0 }, { 1 - 0.001 } }
    local y
    assert.equal(1, counts(function() y = path(tide.tensor { { { 0 }, { 3 } } }) end).relu)
    assert.is_true(math.abs(y:item() - 3) < 1e-5) -- the mask has come through
    assert.equal("[none, 1]", tostring(path(steps).shape))
  end)

  it("is named by its layer in errors", function()
    local x = tide.Input { 3 }
    local m = tide.Model { inputs = x, name = "m",
      outputs = layers.ReLU()(layers.BatchNormalization({ name = "bn" })(x)) }
    has(message(m, tide.ones { 2, 4 }),
      'model "m" > bn (BatchNormalization): batch_normalization: ')
  end)
end)

describe("a convolution with a normalization behind it", function()
  local function build(last)
    local input = tide.Input { 9, 8, 3 }
    local x = layers.Conv2D { 16, 3, padding = "same", use_bias = false }(input)
    x = layers.ReLU { max_value = 6 }(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D { 3, strides = 2, padding = "same" }(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(layers.Conv2D { 24, 1 }(x))
    x = last(layers.BatchNormalization()(layers.Conv2D { 16, 3, padding = "same" }(x)))
    return tide.Model { inputs = input, outputs = x }
  end
  local function drawn(model)
    for _, w in ipairs(model.weights) do
      local spreads = w.path:find "variance"
      w:assign(tide.random.uniform(w.shape, { minval = spreads and 0.5 or -0.4, maxval = 0.6 }))
    end
    return model
  end
  local function one_by_one(model, x)
    return tide.no_grad(function()
      for i = 2, #model.layers do
        x = model.layers[i](x)
      end
      return x
    end)
  end

  it("is one op in prediction, which sees every change of a weight", function()
    local model = drawn(build(layers.Activation { "tanh" }))
    local x = tide.random.normal { 2, 9, 8, 3 }
    local seen
    local function same()
      local n = counts(function() seen = model:predict_on_batch(x) end)
      assert.same({ 4, nil, nil, 1 }, { n.conv_norm_, n.conv, n.relu, n.tanh })
      local want = one_by_one(model, x)
      assert.is_true(ops.max(ops.abs(seen - want)):item() < 1e-5)
      return want:tobytes()
    end
    local before = same()
    for i = 1, #model.weights do
      local w = model.weights[i]
      w:assign(w * 0.5)
      local now = same()
      assert.is_true(now ~= before, w.path)
      before = now
    end
    local weights = model:get_weights()
    drawn(model)
    assert.is_true(same() ~= before)
    model:set_weights(weights)
    assert.equal(before, same())
  end)

  it("runs by itself where something is recorded or trained, and where channels stand first",
    function()
      local model = drawn(build(layers.ReLU()))
      local x = tide.random.normal { 2, 9, 8, 3 }
      assert.is_nil(counts(function() model(x) end).conv_norm_)
      assert.is_nil(counts(function()
        tide.no_grad(function() return model(x, { training = true }) end)
      end).conv_norm_)
      local first = tide.Sequential { tide.Input { 2, 5, 5 },
        layers.Conv2D { 4, 3, data_format = "channels_first" },
        layers.BatchNormalization { axis = 2 } }
      assert.is_nil(counts(function()
        first:predict_on_batch(tide.ones { 1, 2, 5, 5 })
      end).conv_norm_)
    end)

  it("is named by its layer in errors", function()
    local input = tide.Input { none, none, 3 }
    local model = tide.Model { inputs = input, name = "m", outputs = layers.BatchNormalization()(
      layers.Conv2D({ 4, 3, name = "c" })(input)) }
    has(message(model.predict_on_batch, model, tide.ones { 1, 2, 2, 3 }),
      'model "m" > c (Conv2D 4 3x3): conv_norm_: spatial axis 1 is shorter')
  end)
end)

describe("a class", function()
  local x = { tide.ones { 1, 2 }, tide.ones { 1, 2 } }

  it("that replaces call is not joined with what stands behind it", function()
    local Half = layers.Add:extend("SpecHalfAdd", {
      call = function(_, xs) return (xs[1] + xs[2]) * 0.5 end })
    assert.same({ { 1, 1 } }, two_inputs(Half(), layers.ReLU())(x):tolist())
    local Below = Half:extend("SpecBelowHalf", { args = {} })
    assert.same({ { 1, 1 } }, two_inputs(Below(), layers.ReLU())(x):tolist())
    local Ten = layers.BatchNormalization:extend("SpecTen", {
      call = function(_, v) return v * 10 end })
    local m = tide.Sequential { Ten { input_shape = { 2 } }, layers.ReLU() }
    assert.same({ { 10, 10 } }, m(x[1]):tolist())
    local add = layers.Add()
    add.call = function(_, xs) return xs[1] end
    assert.same({ { 1, 1 } }, two_inputs(add, layers.ReLU())(x):tolist())
  end)

  it("of the name ReLU is no relu by that", function()
    local Own = tide.Layer.derive(tide.Layer, "ReLU", { call = function(_, v) return v * 10 end })
    assert.same({ { 20, 20 } }, two_inputs(layers.Add(), Own())(x):tolist())
    local Sub = layers.ReLU:extend("SpecSubReLU", { call = function(_, v) return v * 10 end })
    assert.same({ { 20, 20 } }, two_inputs(layers.Add(), Sub())(x):tolist())
  end)

  it("that keeps call is joined as its base is", function()
    local Named = layers.Add:extend("SpecNamedAdd", {})
    local m = two_inputs(Named(), layers.ReLU())
    assert.is_nil(counts(function() assert.same({ { 2, 2 } }, m(x):tolist()) end).relu)
  end)

  it("may declare what it joins itself", function()
    local seen = 0
    local Twice = tide.Layer:extend("SpecTwice", {
      call = function(_, v) return v * 2 end,
      fuse = { relu = function(_, v)
        seen = seen + 1
        return ops.relu(v * 2)
      end },
    })
    local m = tide.Sequential { Twice { input_shape = { 2 } }, layers.ReLU() }
    assert.same({ { 0, 4 } }, m(tide.tensor { { -1, 2 } }):tolist())
    assert.equal(1, seen)
  end)
end)

describe("layers that are not joined", function()
  it("have a penalty, other limits, another dtype, or more than one reader", function()
    local function relus(join, relu)
      local m = two_inputs(join, relu)
      return counts(function() m { tide.ones { 1, 2 }, tide.ones { 1, 2 } } end).relu
    end
    assert.equal(1, relus(layers.Add { activity_regularizer = "l2" }, layers.ReLU()))
    assert.equal(1, relus(layers.Add(), layers.ReLU { activity_regularizer = "l2" }))
    assert.equal(1, relus(layers.Add(), layers.ReLU { max_value = 6 }))
    assert.equal(1, relus(layers.Add(), layers.ReLU { dtype = "float64" }))
    local a = tide.Input { 2 }
    local sum = layers.Add() { a, a }
    local m = tide.Model { inputs = a, outputs = { layers.ReLU()(sum), sum } }
    assert.same({ { -2, 4 } }, m(tide.tensor { { -1, 2 } })[2]:tolist())
  end)
end)

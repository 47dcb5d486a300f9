-- A Sequential is a graph with one input that grows at its end.
local expect = require "spec.support.expect"
local S = require "tide.private"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local message, has = expect.message, expect.has

before_each(function()
  tide.Layer.reset_names()
  tide.seed(1)
end)

local function same(a, b)
  assert.same(a:tolist(), b:tolist())
end

describe("Sequential by add", function()
  it("keeps its input, its nodes and the outputs of its layers", function()
    local m = tide.Sequential()
    m:add(layers.Dense { 4, input_shape = { 3 } })
    local input, inner = m.input, m.layers[1].output
    for _ = 1, 9 do
      m:add(layers.Dense { 4 })
    end
    assert.equal(input, m.input)
    assert.equal(inner, m.layers[1].output)
    local nodes = 0
    for _, layer in ipairs(m.layers) do
      nodes = nodes + #layer[S].nodes
    end
    assert.equal(10, nodes)
    local cut = tide.Model { inputs = m.inputs, outputs = m.layers[1].output }
    local x = tide.random.normal { 2, 3 }
    same(m.layers[1](x), cut(x))
    local middle = tide.Model { inputs = m.inputs, outputs = m.layers[5].output }
    local y = x
    for i = 1, 5 do
      y = m.layers[i](y)
    end
    same(y, middle(x))
  end)

  it("grows after it has run, with the weights that it has", function()
    local m = tide.Sequential { layers.Dense { 4, input_shape = { 3 } } }
    local x = tide.random.normal { 2, 3 }
    local first = m(x)
    m:add(layers.ReLU())
    same(ops.relu(first), m(x))
    m:add(layers.Dense { 2 })
    assert.equal("[none, 2]", tostring(m.output_shape))
    same(m.layers[3](ops.relu(first)), m(x))
    assert.equal(4, #m.weights)
  end)

  it("takes back what does not fit", function()
    local m = tide.Sequential { layers.Dense { 4, input_shape = { 3 } }, name = "m" }
    has(message(m.add, m, layers.Reshape { 3, 2 }), 'model "m" > reshape (Reshape 3x2): ')
    assert.equal(1, #m.layers)
    m:add(layers.Reshape { 2, 2 })
    assert.equal("[5, 2, 2]", tostring(m(tide.ones { 5, 3 }).shape))
  end)

  it("can be tried again after layers that did not fit together", function()
    local first = layers.Dense { 4 }
    local m = tide.Sequential { first, layers.Reshape { 3 } }
    has(message(m, tide.ones { 2, 3 }), "elements do not fit into")
    assert.is_false(m.built)
    assert.equal(0, #first[S].nodes)
    m:pop()
    assert.equal("[2, 4]", tostring(m(tide.ones { 2, 3 }).shape))
    assert.equal(first.output, m.output)
  end)

  it("that calls have built is built anew after all its layers were popped", function()
    local m = tide.Sequential { layers.Dense { 2 } }
    m(tide.ones { 2, 3 })
    m:pop()
    has(message(m, tide.ones { 2, 3 }), "has no layers")
    m:add(layers.Dense { 4, kernel_initializer = "ones" })
    same(tide.full({ 2, 4 }, 5), m(tide.ones { 2, 5 }))
    same(tide.full({ 1, 4 }, 5), m(tide.ones { 1, 5 }))
  end)

  it("loses its last layer by pop, and all of them", function()
    local m = tide.Sequential { layers.Dense { 4, input_shape = { 3 } }, layers.Dense { 2 } }
    local input, last = m.input, m.layers[2]
    assert.equal(last, m:pop())
    assert.equal(0, #last[S].nodes)
    assert.equal(input, m.input)
    assert.equal(m.layers[1].output, m.output)
    m:add(last)
    assert.equal("[none, 2]", tostring(m.output_shape))
    m:pop()
    m:pop()
    assert.is_false(m.built)
    has(message(m.pop, m), "has no layers")
    m:add(layers.Dense { 2, input_shape = { 7 } })
    assert.equal("[none, 7]", tostring(m.input_shape))
  end)

  it("has the Input that a person gave", function()
    local x = tide.Input { 3, name = "x" }
    local m = tide.Sequential { x, layers.Dense { 2 } }
    assert.equal(x, m.input)
    assert.same({ "x" }, m.input_names)
    m:pop()
    m:add(layers.Dense { 5 })
    assert.equal(x, m.input)
    local both = tide.Model { inputs = x, outputs = { m.output, x * 2 } }
    assert.equal(2, #both(tide.ones { 1, 3 }))
  end)

  it("keeps a batch size that was given, and no other", function()
    local fixed = tide.Sequential { layers.Dense { 4, batch_input_shape = { 6, 3 } } }
    assert.equal("[6, 4]", tostring(fixed.output_shape))
    local free = tide.Sequential { layers.Dense { 4 } }
    free(tide.ones { 6, 3 })
    assert.equal("[none, 4]", tostring(free.output_shape))
    free:build { 9, 3 }
    assert.equal("[none, 4]", tostring(free.output_shape))
  end)

  it("nests and shares layers", function()
    local inner = tide.Sequential { layers.Dense { 4, input_shape = { 3 } } }
    local outer = tide.Sequential { inner, layers.Dense { 2 } }
    assert.equal("[none, 3]", tostring(outer.input_shape))
    local late = tide.Sequential { tide.Sequential { tide.Sequential { layers.Dense { 4 } } } }
    assert.is_false(late.built)
    assert.equal("[2, 4]", tostring(late(tide.ones { 2, 3 }).shape))
    local again = tide.Sequential(inner.layers)
    assert.equal(inner.layers[1], again.layers[1])
    assert.equal("[2, 4]", tostring(again(tide.ones { 2, 3 }).shape))
  end)

  -- Turns of the virtual machine that n layers cost, in hundreds.
  local function turns(f)
    local n = 0
    debug.sethook(function() n = n + 1 end, "", 100)
    f()
    debug.sethook()
    return n
  end

  it("costs the same for each layer, however many there are", function()
    local model = tide.Sequential { tide.Input { 2 } }
    local function add(n)
      for _ = 1, n do
        model:add(layers.Dense(2))
      end
    end
    add(100)
    local first = turns(function() add(200) end)
    add(2000)
    local last = turns(function() add(200) end)
    assert.is_true(first > 100 and last < first * 1.2, ("%d, then %d"):format(first, last))
  end)

  it("refuses holes in its list, with their place", function()
    local normalize = false
    has(message(function()
      return tide.Sequential {
        tide.Input { 4 }, normalize and layers.BatchNormalization() or nil, layers.Dense { 2 } }
    end), "Sequential: layers must be a list without holes (got ")
    has(message(tide.Sequential, { { layers.Dense { 2 }, nil, layers.Dense { 3 } } }),
      "Sequential: layers must be a list without holes (got ")
    has(message(function()
      return tide.Sequential { layers.Dense { 2 }, false }
    end), "takes layers (got false")
  end)

  it("refuses itself, and what holds it", function()
    local model = tide.Sequential { layers.Dense { 2 } }
    expect.raises('add: model "sequential" cannot stand inside of itself', model.add, model, model)
    expect.raises("cannot stand inside of itself", model.add, model,
      layers.TimeDistributed { tide.Sequential { layers.Dense { 2 }, model } })
    assert.equal(1, #model.layers)
  end)
end)

describe("a model cut out of a Sequential", function()
  it("is saved, loaded and cloned", function()
    local m = tide.Sequential()
    m:add(layers.Dense { 4, input_shape = { 3 } })
    m:add(layers.Dense { 2 })
    local cut = tide.Model { inputs = m.inputs, outputs = m.layers[1].output }
    local x = tide.random.normal { 2, 3 }
    local clone = tide.models.clone_model(cut)
    clone:set_weights(cut:get_weights())
    same(cut(x), clone(x))
    for _, ending in ipairs { ".safetensors", ".keras", ".h5" } do
      local path = os.tmpname() .. ending
      cut:save(path)
      local loaded = tide.load_model(path)
      os.remove(path)
      same(cut(x), loaded(x))
      assert.equal("sequential_input", loaded.layers[1].name)
    end
  end)
end)

describe("names of layers in a model", function()
  local function saved()
    local path = os.tmpname() .. ".safetensors"
    tide.Sequential({ layers.Dense { 4, input_shape = { 3 } } }):save(path)
    return path
  end

  it("that are automatic avoid those in use", function()
    local path = saved()
    tide.Layer.reset_names() -- as another process would begin
    local m = tide.load_model(path)
    os.remove(path)
    m:add(layers.Dense { 2 })
    assert.equal("dense", m.layers[1].name)
    assert.equal("dense_1", m.layers[2].name)
    local top = layers.Dense { 1 }
    tide.Layer.reset_names()
    local f = tide.Model { inputs = m.input, outputs = top(layers.Dense { 3 }(m.output)) }
    local seen = {}
    for _, layer in ipairs(f.layers) do
      assert.is_nil(seen[layer.name])
      seen[layer.name] = true
    end
    assert.truthy(seen.dense)
  end)

  it("that a person gave raise when they are equal", function()
    local x = tide.Input { 2 }
    has(message(function()
      return tide.Model { inputs = x,
        outputs = layers.Dense({ 2, name = "a" })(layers.Dense({ 2, name = "a" })(x)) }
    end), "two layers are named 'a'")
    local m = tide.Sequential { layers.Dense { 2, name = "a", input_shape = { 2 } } }
    has(message(m.add, m, layers.Dense { 2, name = "a" }), "two layers are named 'a'")
    assert.equal(1, #m.layers)
    local auto = tide.Sequential { layers.Dense { 2 }, layers.Dense { 2, name = "dense_1" } }
    auto:add(layers.Dense { 2 })
    assert.equal(3, #auto.layers)
    assert.not_equal("dense_1", auto.layers[3].name)
  end)

  it("go with the tensor of an input", function()
    local a = tide.Input { 2 }
    tide.Layer.reset_names()
    local b = tide.Input { 2 }
    local m = tide.Model { inputs = { a, b }, outputs = a + b }
    assert.same({ "input_layer", "input_layer_1" }, m.input_names)
    same(tide.tensor { { 3, 3 } },
      m { input_layer = tide.ones { 1, 2 }, input_layer_1 = tide.full({ 1, 2 }, 2) })
  end)
end)

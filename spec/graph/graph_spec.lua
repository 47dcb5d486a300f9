-- model:graph(): the same nodes for every kind of model.
local expect = require "spec.support.expect"
local S = require "tide.private"
local tide = require "tide"
local run = require "spec.support.graph_run"
local core = require "tide.core"
local layers, ops, none = tide.layers, tide.ops, tide.none

local message, has = expect.message, expect.has

before_each(function()
  tide.Layer.reset_names()
  tide.seed(1)
end)

-- What a graph is but for its input's name.
local function outline(g)
  local out = {}
  for i, node in ipairs(g.nodes) do
    local from, shapes, weights = {}, {}, {}
    for k, v in ipairs(node.inputs) do
      from[k] = v.node == g.nodes[1].name and "input" or v.node
    end
    for k, v in ipairs(node.outputs) do
      shapes[k] = v.dtype .. " " .. tostring(v.shape)
    end
    for k, w in ipairs(node.weights) do
      weights[k] = w.name .. " " .. tostring(w.tensor.shape)
    end
    out[i] = table.concat({ i == 1 and "input" or node.name, node.class or node.op,
      table.concat(from, "+"), table.concat(shapes, "+"), table.concat(weights, "+") }, " | ")
  end
  return out
end

local Net = tide.Model:extend("SpecGraphNet", {
  init = function(self)
    self.first, self.second = layers.Dense { 4 }, layers.Dense { 2, activation = "softmax" }
  end,
  call = function(self, x) return self.second(self.first(x)) end,
})

describe("model:graph", function()
  it("is the same for Sequential, functional and traced models", function()
    local want = {
      "input | InputLayer |  | float32 [none, 3] | ",
      "dense | Dense | input | float32 [none, 4] | dense/kernel [3, 4]+dense/bias [4]",
      "dense_1 | Dense | dense | float32 [none, 2] | dense_1/kernel [4, 2]+dense_1/bias [2]",
    }
    assert.same(want, outline(tide.Sequential {
      layers.Dense { 4, input_shape = { 3 } }, layers.Dense { 2, activation = "softmax" },
    }:graph()))
    tide.Layer.reset_names()
    local x = tide.Input { 3 }
    local h = layers.Dense { 4 }(x)
    assert.same(want, outline(tide.Model { inputs = x,
      outputs = layers.Dense { 2, activation = "softmax" }(h) }:graph()))
    tide.Layer.reset_names()
    local own = Net()
    own(tide.ones { 7, 3 })
    assert.same(want, outline(own:graph()))
    assert.same(want, outline(own:graph())) -- tracing leaves nothing behind
    assert.is_nil(own.first[S].nodes)
  end)

  it("has ops, shared layers, several inputs and outputs", function()
    local a, b = tide.Input { 3, name = "a" }, tide.Input { none, name = "b", dtype = "int32" }
    local shared = layers.Dense { 3 }
    local y = shared(shared(a)) * 2
    local m = tide.Model { inputs = { a, b }, outputs = { y = y, n = ops.sum(b, -1) } }
    local g = m:graph()
    local names = {}
    for i, node in ipairs(g.nodes) do
      names[i] = node.name
    end
    table.sort(names)
    assert.same({ "a", "b", "dense", "dense_1", "multiply", "sum" }, names)
    assert.equal(2, #g.inputs)
    assert.same({ "sum", "multiply" }, { g.outputs[1].node, g.outputs[2].node }) -- by name
    assert.equal("int32", g.inputs[2].dtype)
    assert.equal("[none, none]", tostring(g.inputs[2].shape))
    for _, node in ipairs(g.nodes) do
      if node.op == "multiply" then
        assert.equal(2, node.args[2])
        assert.equal("dense_1", node.args[1].node)
      end
    end
    has(tostring(g), "  multiply (multiply) [none, 3] <- dense_1")
  end)

  it("opens layers into operators that compute the same", function()
    local inner = tide.Sequential { layers.Dense { 5, activation = "relu", input_shape = { 16 } } }
    local m = tide.Sequential {
      layers.Conv2D { 4, 3, input_shape = { 6, 6, 3 } }, layers.BatchNormalization(),
      layers.ReLU(), layers.MaxPooling2D { 2 }, layers.Flatten(), layers.Dropout { 0.5 }, inner,
      layers.RepeatVector { 2 }, layers.Dense { 3, activation = "softmax" } }
    local g = m:graph { ops = true }
    local x = tide.random.normal { 2, 6, 6, 3 }
    local seen = {}
    for i = 2, #g.nodes do
      seen[#seen + 1] = g.nodes[i].name
    end
    local y = run(g, { x })[1]
    assert.is_true(ops.max(ops.abs(y - m(x))):item() < 1e-6)
    assert.equal("conv2d/conv", seen[1])
    local weights = 0
    for _, node in ipairs(g.nodes) do
      weights = weights + #node.weights
    end
    assert.equal(#m.weights, weights)
    assert.same({ "sequential/dense/kernel", "sequential/dense/bias" }, (function()
      for _, node in ipairs(g.nodes) do
        if node.name == "sequential/dense/linear" then
          local names = {}
          for k, w in ipairs(node.weights) do
            names[k] = w.name
          end
          table.sort(names, function(p, q) return p > q end)
          return names
        end
      end
    end)())
  end)

  it("opens layers of every family", function()
    local L = layers
    for _, case in ipairs {
      { L.Conv1D { 3, 2 }, { 6, 4 } }, { L.MaxPooling1D { 2 }, { 6, 3 } },
      { L.Conv2D { 3, 2, data_format = "channels_first" }, { 3, 6, 6 } },
      { L.Conv2DTranspose { 3, 2 }, { 6, 6, 4 } }, { L.Conv3D { 2, 2 }, { 4, 4, 4, 2 } },
      { L.DepthwiseConv2D { 3 }, { 6, 6, 4 } }, { L.SeparableConv2D { 3, 3 }, { 6, 6, 4 } },
      { L.AveragePooling2D { 2 }, { 6, 6, 4 } }, { L.GlobalMaxPooling2D(), { 6, 6, 4 } },
      { L.AdaptiveAveragePooling2D { 2 }, { 6, 6, 4 } }, { L.LayerNormalization(), { 4 } },
      { L.GroupNormalization { 2 }, { 6, 6, 4 } }, { L.RMSNormalization(), { 4 } },
      { L.UnitNormalization(), { 4 } }, { L.SpatialDropout2D { 0.5 }, { 6, 6, 4 } },
      { L.Reshape { 2, 2 }, { 4 } }, { L.Reshape { -1, 2 }, { 4 } },
      { L.Permute { 2, 1 }, { 4, 3 } },
      { L.ZeroPadding2D { 1 }, { 6, 6, 4 } }, { L.Cropping2D { 1 }, { 6, 6, 4 } },
      { L.UpSampling2D { 2 }, { 6, 6, 4 } }, { L.PReLU(), { 4 } }, { L.Softmax(), { 4 } },
      { L.Flatten { data_format = "channels_first" }, { 3, 6, 6 } }, { L.Rescaling { 2 }, { 4 } },
      { L.Lambda { function(x) return x * 2 end }, { 4 } }, { L.Identity(), { 4 } },
      { L.GlobalAveragePooling1D(), { 3, 4 } },
    } do
      local m = tide.Sequential { tide.Input { shape = case[2] }, case[1] }
      assert.equal(tostring(m.output_shape), tostring(m:graph({ ops = true }).outputs[1].shape),
        tostring(case[1]))
    end
  end)

  it("has masks among its values", function()
    local words = tide.tensor({ { 1, 2, 0 }, { 3, 0, 0 } }, { dtype = "int32" })
    local text = tide.Sequential { tide.Input { 3, dtype = "int32" },
      layers.Embedding { 5, 4, mask_zero = true }, layers.Dropout { 0.5 },
      layers.GlobalAveragePooling1D(), layers.Dense { 2 } }
    local steps = tide.Sequential { tide.Input { 3, 4 }, layers.Masking(), layers.Activation "relu",
      layers.GlobalAveragePooling1D() }
    local x = tide.random.normal { 2, 3, 4 }
    x[{ 1, 3 }] = 0
    x[{ 2, { 2, 3 } }] = 0
    for model, data in pairs { [text] = words, [steps] = x } do
      local g = model:graph { ops = true }
      local want, got = model(data), run(g, { data })[1]
      assert.is_true(ops.max(ops.abs(want - got)):item() < 1e-6)
    end
    local names = {}
    for _, node in ipairs(text:graph({ ops = true }).nodes) do
      names[node.op or "input"] = true
    end
    assert.is_true(names.not_equal, "what makes the mask is a node")
    assert.equal(3, #tide.Sequential({ layers.Masking { input_shape = { 3, 4 } },
      layers.ReLU() }):graph().nodes)
  end)

  it("names weights that a model of one's own uses itself", function()
    local Own = tide.Model:extend("SpecGraphOwn", {
      init = function(self) self.w = tide.ones({ 3, 2 }, { requires_grad = true }) end,
      call = function(self, x) return x:matmul(self.w) + 1 end,
    })
    local own = Own()
    own:build { none, 3 }
    local g = own:graph()
    assert.same({ "matmul", "add" }, { g.nodes[2].op, g.nodes[3].op })
    assert.equal("w", g.nodes[2].weights[1].name)
    assert.equal(own.w, g.nodes[2].weights[1].tensor)
  end)

  it("follows calls of several inputs and lists of them", function()
    local Mix = tide.Model:extend("SpecGraphMix", { inputs = { "query", "value" },
      init = function(self) self.dense = layers.Dense { 3 } end,
      call = function(self, query, value) return self.dense(query) * value end })
    local mix = Mix()
    mix(tide.ones { 5, 2 }, tide.ones { 5, 3 })
    local g = mix:graph()
    assert.same({ "input_1", "input_2", "dense", "multiply" }, { g.nodes[1].name, g.nodes[2].name,
      g.nodes[3].name, g.nodes[4].name })
    assert.equal("[none, 3]", tostring(g.inputs[2].shape))
    local Words = tide.Model:extend("SpecGraphWords", {
      init = function(self) self.table = layers.Embedding { 10, 4 } end,
      call = function(self, ids) return ops.mean(self.table(ids), 2) end })
    g = Words():graph { shape = { none, none }, dtype = "int32", ops = true }
    assert.same({ "embedding", "mean" }, { g.nodes[2].op, g.nodes[3].op })
    assert.equal("[none, 4]", tostring(g.outputs[1].shape))
    local Pair = tide.Model:extend("SpecGraphPair", {
      call = function(_, xs) return { xs[1] + xs[2], xs[1] } end })
    local pair = Pair()
    pair { tide.ones { 5, 2 }, tide.ones { 5, 2 } }
    g = pair:graph()
    assert.same({ 2, 2, "add", "input_1" }, { #g.inputs, #g.outputs, g.outputs[1].node,
      g.outputs[2].node })
  end)

  it("says what it needs", function()
    has(message(function() return Net():graph() end), "give the shape: model:graph { shape = ")
    assert.equal(3, #Net():graph({ shape = { none, 3 } }).nodes)
    has(message(function() return tide.Sequential({ layers.Dense { 2 } }):graph() end),
      "is not built yet")
    local Reads = tide.Model:extend("SpecGraphReads", {
      call = function(_, x) return x[{ 1, 1 }] > 0 and x or -x end })
    local reads = Reads()
    reads(tide.ones { 2, 2 })
    has(message(reads.graph, reads), "has no values to compare")
    assert.equal("[4, 2]", tostring(Net()(tide.ones { 4, 3 }).shape)) -- nothing stays behind
    assert.equal(1, #layers.Dense({ 2 })(tide.Input { 2 })._node.layer[S].nodes)
  end)
end)

describe("a graph in files", function()
  local function round(model, ending)
    local path = os.tmpname() .. ending
    model:save(path)
    local again = tide.load_model(path)
    os.remove(path)
    return again
  end

  it("keeps the dtype and shape of constants", function()
    local x = tide.Input { 2, dtype = "float64" }
    local y = x + tide.tensor({ 1, 2 ^ 53 + 2 }, { dtype = "float64" })
    local ids = ops.take(y, tide.tensor({ 2, 1 }, { dtype = "int64" }), { axis = 2, base = 1 })
    local model = tide.Model { inputs = x, outputs = { y, ids } }
    local data = tide.tensor({ { 0, 0 } }, { dtype = "float64" })
    local want = model(data)
    local again = round(model, ".safetensors")
    for i = 1, 2 do
      assert.equal("float64", again(data)[i].dtype)
      assert.same(want[i]:tolist(), again(data)[i]:tolist())
    end
    local sum = tide.Model { inputs = x, outputs = y }
    for _, ending in ipairs { ".keras", ".h5" } do
      local loaded = round(sum, ending)(data)
      assert.equal("float64", loaded.dtype)
      assert.same(want[1]:tolist(), loaded:tolist())
    end
  end)

  it("may begin at an inner tensor of another model", function()
    local m = tide.Sequential { layers.Dense { 4, input_shape = { 3 } }, layers.Dense { 2 } }
    local tail = tide.Model { inputs = m.layers[1].output, outputs = m.output }
    assert.equal(1, #tail.layers)
    assert.equal(2, #tail.weights)
    local x = tide.random.normal { 2, 4 }
    for _, ending in ipairs { ".safetensors", ".keras", ".h5" } do
      assert.same(tail(x):tolist(), round(tail, ending)(x):tolist())
    end
    assert.same(m.layers[2](x):tolist(), tail(x):tolist())
  end)

  it("is read in any order of its entries, and says what is not connected", function()
    local x = tide.Input { 3 }
    local y = x
    for _ = 1, 50 do
      y = layers.Dense { 3 }(y)
    end
    local model = tide.Model { inputs = x, outputs = y }
    local config, reversed = model:get_config(), {}
    for i, entry in ipairs(config.layers) do
      reversed[#config.layers + 1 - i] = entry
    end
    config.layers = reversed
    local again = tide.models.model_from_config { class_name = "Functional", config = config }
    again:set_weights(model:get_weights())
    local data = tide.random.normal { 2, 3 }
    assert.same(model(data):tolist(), again(data):tolist())
    table.remove(config.layers, 1)
    has(message(tide.models.model_from_config, { class_name = "Functional", config = config }),
      "which it does not have")
  end)
end)

describe("a .safetensors model", function()
  it("cannot ask for more memory than its weights explain", function()
    local path = os.tmpname() .. ".safetensors"
    tide.Sequential({ layers.Dense { 4, input_shape = { 3 } } }):save(path)
    local metadata
    do
      local file <close>, _, found = core.safetensors_open(path)
      assert.truthy(file)
      metadata = found
    end
    local text, n = metadata.tide:gsub('"units":4', '"units":400000000')
    assert.equal(1, n)
    core.safetensors_write(path, { { "dense/kernel", tide.ones { 3, 4 } },
      { "dense/bias", tide.ones { 4 } } }, { format = "tide", tide = text })
    has(message(tide.load_model, path), "not enough memory")
    assert.equal(0, core.memory().limit_bytes)
    os.remove(path)
  end)
end)

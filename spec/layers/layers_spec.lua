local expect = require "spec.support.expect"
local tide = require "tide"
local namespace = require "tide.namespace"
local registry = require "tide.registry"
local none = require "tide.none"
local list = require "tide.list"
local cases = require "spec.support.layer_cases"
local run_graph = require "spec.support.graph_run"
local reference = dofile "spec/ref/layers.lua"
local torch_reference = dofile "spec/ref/torch_layers.lua"

local layers, ops = tide.layers, tide.ops

-- What a row's options may hold; another key would be a check that is never made.
local keys = { keras = true, gives = true, ids = true, training = true, no_config = true,
  no_grad = true, torch = true, weights = true }

local function reference_of(case)
  return case[5].gives or reference[case[1]] or torch_reference[case[1]]
end

-- ---- the formulas of make_layers.py ----

local function fill(shape, f)
  local n = 1
  for _, s in ipairs(shape) do
    n = n * s
  end
  local values = {}
  for i = 0, n - 1 do
    values[i + 1] = f(i)
  end
  return values
end

local function shaped(values, shape, dtype)
  return ops.reshape(tide.tensor(values, { dtype = dtype }), shape)
end

local function ramp(shape, k, dtype)
  return shaped(fill(shape, function(i) return math.sin(i * 0.7 + 0.3 + k) end), shape, dtype)
end

local function weight(record, k)
  local shape = record.tensor.shape:totable()
  local positive = record.name:find "variance" or record.name:find "stddev"
  return shaped(fill(shape, function(i)
    local v = math.sin(i * 1.3 + k) * 0.5
    if record.tensor.dtype:find "int" then
      return 0
    end
    return positive and math.abs(v) + 0.5 or v
  end), shape, record.tensor.dtype)
end

local function input_of(case, dtype)
  local shape, o = case[4], case[5]
  if o.ids then
    return shaped(fill(shape, function(i) return i % o.ids + 1 end), shape, "int32")
  elseif type(shape[1]) == "table" then
    local out = {}
    for k, s in ipairs(shape) do
      out[k] = ramp(s, k - 1, dtype)
    end
    return out
  end
  return ramp(shape, 0, dtype)
end

local function set_weights(layer)
  local values = {}
  for k, record in ipairs(layer:_records()) do
    values[k] = weight(record, k - 1)
  end
  layer:set_weights(values)
end

local function flat(y)
  return ops.reshape(y, { -1 }):tolist()
end

local function shapes_with_none(shape)
  if type(shape[1]) == "table" then
    local out = {}
    for i, s in ipairs(shape) do
      out[i] = shapes_with_none(s)
    end
    return out
  end
  local out = list.copy(shape)
  out[1] = none
  return out
end

-- The layer on float64 data, with the given dtype of weights.
local function made(case, dtype)
  local layer = case[3](layers)
  if dtype then
    local config = layer:get_config()
    local function with(c)
      c.dtype = c.dtype and dtype
      for k, v in pairs(c) do
        if v == none then
          c[k] = nil
        elseif type(v) == "table" then -- a layer inside, or a list of them
          for _, inside in ipairs(v.config and { v } or v) do
            with(type(inside) == "table" and inside.config or {})
          end
        end
      end
    end
    with(config)
    if case[5].no_config then
      rawset(layer, "dtype", dtype)
    else
      layer = getmetatable(layer).from_config(config)
    end
  end
  return layer
end

-- Layers that go over the steps of a batch whose size they must know to be opened.
local whole_batch = {}
for name in ([[SimpleRNN LSTM GRU RNN Bidirectional TimeDistributed ConvLSTM1D ConvLSTM2D
  ConvLSTM3D]]):gmatch "%w+" do
  whole_batch[name] = true
end

for _, case in ipairs(cases) do
  local id, o = case[1], case[5]
  local call = { training = o.training or false }
  describe("layers." .. case[2] .. " (" .. id .. ")", function()
    local ref = reference_of(case)

    it("gives its peer's result, shape and number of parameters", function()
      local layer = case[3](layers)
      local x = input_of(case, "float32")
      layer(x)
      set_weights(layer)
      local y = layer(x, call)
      assert.equal(list.format(ref.shape), tostring(y.shape))
      assert.equal(ref.params, layer:count_params())
      expect.close(flat(y), ref.values, 1e-5, 2e-5, id)
    end)

    it("opens into operators that compute the same", function()
      local layer, data = case[3](layers), input_of(case, "float32")
      local several = type(data) == "table"
      local inputs = {}
      for k, x in ipairs(several and data or { data }) do
        inputs[k] = tide.Input { dtype = x.dtype, batch_shape = whole_batch[case[2]]
          and x.shape:totable() or shapes_with_none(x.shape) }
      end
      local model = tide.Model { inputs, layer(several and inputs or inputs[1]) }
      set_weights(layer)
      local g = model:graph { ops = true }
      for _, node in ipairs(g.nodes) do
        assert.is_true(node.op ~= nil or node.class == "InputLayer", node.name)
      end
      local got = run_graph(g, several and data or { data })[1]
      expect.close(flat(got), flat(model(data)), 1e-6, 1e-6, id)
    end)

    it("knows the shape of its result beforehand", function()
      local layer = case[3](layers)
      local shape = shapes_with_none(case[4])
      layer:build(shape)
      local out = layer:compute_output_shape(shape)
      local expected = list.copy(ref.shape)
      expected[1] = none
      assert.equal(tostring(expected), list.format(out))
    end)

    if not o.no_config then
      it("goes through its configuration", function()
        local layer = case[3](layers)
        local x = input_of(case, "float32")
        layer(x)
        set_weights(layer)
        local config = layer:get_config()
        local again = registry.resolve("layer", { class_name = case[2], config = config })
        assert.equal(layer.name, again.name)
        again(x)
        set_weights(again)
        expect.close(flat(again(x, call)), flat(layer(x, call)), 0, 0, id)
      end)
    end

    if ref and ref.grads then
      it("gives PyTorch's gradients of its inputs and weights", function()
        local layer, x = made(case, "float64"), input_of(case, "float64")
        layer(x)
        set_weights(layer)
        local variables = {}
        for _, v in ipairs(type(x) == "table" and x or { x }) do
          if v.dtype == "float64" then
            variables[#variables + 1] = v:requires_grad_(true)
          end
        end
        for _, r in ipairs(layer:_records()) do
          variables[#variables + 1] = r.tensor
        end
        assert.equal(#ref.grads, #variables)
        local _, grads = tide.value_and_grad(function()
          local y = layer(x, call)
          return ops.sum(y * ramp(y.shape:totable(), 2, "float64"))
        end, variables)
        for k, v in ipairs(variables) do
          expect.close(flat(grads[k] or ops.zeros_like(v)), ref.grads[k], 1e-6, 2e-6,
            id .. " variable " .. k)
        end
      end)
    end

    if not o.no_grad then
      it("has the gradient of central differences", function()
        local layer = made(case, "float64")
        local x = input_of(case, "float64")
        layer(x)
        set_weights(layer)
        local list_input = type(x) == "table"
        local variables = layer.trainable_weights:totable()
        for _, v in ipairs(list_input and x or { x }) do
          if v.dtype == "float64" then
            v:requires_grad_(true)
            variables[#variables + 1] = v
          end
        end
        local function loss()
          local y = layer(x, call)
          return ops.sum(y * ramp(y.shape:totable(), 2, "float64"))
        end
        assert(#variables > 0, "nothing to differentiate: the row says no_grad")
        local _, grads = tide.value_and_grad(loss, variables)
        local step = 1e-6
        for k, v in ipairs(variables) do
          local analytic = grads[k] and flat(grads[k])
          local shape = v.shape:totable()
          local values = flat(v)
          local numeric = {}
          for i = 1, #values do
            local original = values[i]
            values[i] = original + step
            tide.no_grad(v.copy_, v, shaped(values, shape, "float64"))
            local up = tide.no_grad(loss):item()
            values[i] = original - step
            tide.no_grad(v.copy_, v, shaped(values, shape, "float64"))
            local down = tide.no_grad(loss):item()
            values[i] = original
            numeric[i] = (up - down) / (2 * step)
          end
          tide.no_grad(v.copy_, v, shaped(values, shape, "float64"))
          analytic = analytic or fill({ #values }, function() return 0 end)
          expect.close(analytic, numeric, 1e-5, 1e-3, id .. " variable " .. k)
        end
      end)
    end
  end)
end

describe("the table of layers", function()
  it("has a row for each layer", function()
    -- tested with models, with layers of one's own, in recurrent_spec.lua, attention_spec.lua,
    -- transformer_spec.lua, category_spec.lua, features_spec.lua and audio/spectra_spec.lua
    local rows = { InputLayer = true, Wrapper = true, SimpleRNNCell = true, LSTMCell = true,
      GRUCell = true, StackedRNNCells = true, MultiHeadAttention = true,
      GroupQueryAttention = true, PositionEmbedding = true, SinePositionEncoding = true,
      RotaryEmbedding = true, TokenAndPositionEmbedding = true, TransformerEncoder = true,
      TransformerDecoder = true, CategoryEncoding = true, Discretization = true, Hashing = true,
      HashedCrossing = true, IntegerLookup = true, StringLookup = true, TextVectorization = true,
      DenseFeatures = true, SequenceFeatures = true, MFCC = true }
    for _, case in ipairs(cases) do
      rows[case[2]] = true
    end
    for _, name in ipairs(namespace.names(layers)) do
      assert.is_true(rows[name] == true, "spec/support/layer_cases.lua has no row for " .. name)
    end
  end)

  it("has a reference for each row", function()
    local of = {}
    for _, case in ipairs(cases) do
      assert.is_table(reference_of(case), case[1])
      assert.is_string(case[5].keras or case[5].torch, case[1])
      of[case[1]] = true
      for key in pairs(case[5]) do
        assert.is_true(keys[key], case[1] .. ": nothing reads " .. key)
      end
    end
    local files = { ["layers.lua"] = reference, ["torch_layers.lua"] = torch_reference }
    for file, values in pairs(files) do
      for id in pairs(values) do
        assert.is_true(of[id], "spec/ref/" .. file .. " has values for no row: " .. id)
      end
    end
  end)
end)

describe("layers.Normalization", function()
  local data = { { 0, 7, 4 }, { 2, 9, 6 }, { 0, 7, 4 }, { 2, 9, 6 } }

  it("learns means and variances of a tensor, of batches and of an iterator alike", function()
    local x = tide.tensor(data)
    local function batches()
      local i = 0
      return function()
        i = i + 1
        return i <= 4 and x[{ { i, i } }] or nil
      end
    end
    for _, given in ipairs { x, data, { x[{ { 1, 3 } }], x[{ { 4, 4 } }] }, batches(),
      { iter = batches } } do
      local layer = layers.Normalization()
      layer:adapt(given)
      expect.close(flat(layer(tide.tensor { { 0, 7, 4 }, { 2, 9, 6 } })), { -1, -1, -1, 1, 1, 1 },
        1e-6, 0, "outputs")
      expect.close(flat(layer.adapt_mean), { 1, 8, 5 }, 1e-6, 0, "mean")
      expect.close(flat(layer.variance), { 1, 1, 1 }, 1e-6, 0, "variance")
    end
  end)

  it("turns normalized values back with invert", function()
    local layer = layers.Normalization { invert = true }
    layer:adapt(tide.tensor(data))
    expect.close(flat(layer(tide.tensor { { 1, 2, 3 } })), { 2, 10, 8 }, 1e-6, 0, "outputs")
  end)

  it("keeps one mean for all with axis none, and forgets when it adapts again", function()
    local layer = layers.Normalization { axis = tide.none }
    layer:adapt(tide.tensor { 1, 2, 3 })
    layer:adapt(tide.tensor { 10, 20 })
    expect.close(flat(layer(tide.tensor { 10 })), { -1 }, 1e-6, 0, "outputs")
  end)

  it("names what does not fit", function()
    local message = expect.message
    assert.truthy(message(layers.Normalization, { mean = 1 }):find("given together", 1, true))
    assert.truthy(message(function() layers.Normalization({ axis = 1 }) end):find("batch", 1, true))
    assert.truthy(message(function()
      layers.Normalization({ mean = { 1, 2 }, variance = { 1, 2 } })(tide.ones { 2, 3 })
    end)
      :find("does not fit axis 2 of length 3", 1, true))
    local layer = layers.Normalization()
    layer:adapt(tide.ones { 2, 3 })
    assert.truthy(message(layer.adapt, layer, tide.ones { 2, 4 }):find("length 4", 1, true))
    assert.truthy(message(layer.adapt, layer, function() end):find("no batch", 1, true))
    local given = layers.Normalization { mean = 1, variance = 1 }
    assert.truthy(message(given.adapt, given, tide.ones { 2, 3 }):find("from its options", 1, true))
  end)
end)

describe("layers of whole numbers and names", function()
  it("UpSampling2D rounds as Keras does", function()
    for _, dtype in ipairs { "int32", "uint8", "int64" } do
      local x = tide.arange(4):cast(dtype):reshape { 1, 2, 2, 1 }
      local y = layers.UpSampling2D { 2, interpolation = "bilinear" }(x)
      assert.equal(dtype, y.dtype)
      assert.same({ 0, 0, 1, 1, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3 }, y:reshape({ -1 }):tolist())
    end
    assert.equal("int32", layers.UpSampling2D { 2, interpolation = "bicubic" }(
      tide.Input { 2, 2, 1, dtype = "int32" }).dtype)
  end)

  it("a name holds no '/'", function()
    for _, make in ipairs { function() layers.Dense { 1, name = "a/b" } end,
      function() tide.Sequential { name = "a/b" } end,
      function() tide.Input { 2, name = "a/b" } end } do
      assert.truthy(expect.message(make):find("name must hold no '/'", 1, true))
    end
  end)
end)

describe("each class of layers", function()
  it("says what it takes, but those that take anything", function()
    local any = {}
    for _, name in ipairs(require("tide.namespace").names(layers)) do
      local c = layers[name]
      if tide.class.is_class(c) and not c._custom and not c.takes then
        any[#any + 1] = name
      end
    end
    assert.same({ "Identity", "InputLayer", "Lambda", "Wrapper" }, any)
  end)
end)

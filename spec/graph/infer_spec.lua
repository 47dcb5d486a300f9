-- Shapes of calls whose inputs have unknown sizes.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local layers, ops, none = tide.layers, tide.ops, tide.none

local message, has = expect.message, expect.has

local function shape(x)
  return tostring(x.shape)
end

describe("a layer whose shapes are found", function()
  it("keeps its states and statistics, whatever the call reads", function()
    local x = tide.Input { batch_shape = { 2, 5, 3 } }
    local mask = ops.any(ops.not_equal(x, 0), -1)
    for _, layer in ipairs { layers.BatchNormalization(), layers.GRU { 3, stateful = true },
      layers.RNN { { layers.LSTMCell(2), layers.GRUCell(2) }, stateful = true },
      layers.SpectralNormalization { layers.Dense(3) } } do
      layer:build { 2, 5, 3 }
      local before = {}
      for i, w in ipairs(layer:_saved()) do
        before[i] = w.tensor:tolist()
      end
      local states = layer.stateful and layer:reset_state()
      layer(x, { mask = mask, training = true })
      for i, w in ipairs(layer:_saved()) do
        assert.same(before[i], w.tensor:tolist(), w.path)
      end
      assert.is_nil(states)
    end
  end)
end)

describe("shapes of ops on symbolic tensors", function()
  local x = tide.Input { none, none, 3 }

  it("know what is known and nothing else", function()
    assert.equal("[none, none, none, 3]", shape(ops.max_pool(x, 4)))
    assert.equal("[none, none, none, 3]", shape(ops.max_pool(x, 100, { strides = 2 })))
    assert.equal("[none, none, none, 8]", shape(ops.conv(x, tide.ones { 7, 7, 3, 8 })))
    assert.equal("[none, 3]", shape(ops.mean(x, { axis = { 2, 3 } })))
    assert.equal("[none, none, none]", shape(ops.argmax(x, -1)))
    assert.equal("int64", ops.argmax(x, -1).dtype)
    assert.equal("[none, 6]", shape(x:reshape { -1, 6 }))
    assert.equal("[none, 3, none, none]", shape(ops.transpose(x, { 1, 4, 2, 3 })))
    assert.equal("[none, none, none, 5]", shape(ops.concatenate({ x, x }, -1)[{ "...", { 1, 5 } }]))
    assert.equal("[none, none, none, 3]", shape(x[{ {}, { 1, 10 } }])) -- ten, if there are ten
    local fixed = tide.Input { batch_shape = { 4, 8, 3 } }
    assert.equal("[4, 2, 3]", shape(ops.max_pool(fixed, 4)))
    assert.equal("[4, 3, 8]", shape(ops.transpose(fixed, { 1, 3, 2 })))
  end)

  it("cost no memory and no computation", function()
    local big = tide.Input { 1000, 1000, 64 }
    core.profile_start()
    local y = ops.relu(ops.conv(big, tide.ones { 3, 3, 64, 64 })) * 2 + 1
    local calls = {}
    for _, row in ipairs(core.profile_stop()) do
      calls[row.name] = row.calls
    end
    assert.equal("[none, 998, 998, 64]", shape(y))
    assert.same({ nil, nil, nil }, { calls.conv, calls.relu, calls.multiply })
  end)

  it("come from small tensors where elements are read", function()
    assert.equal("bool", ops.any(ops.isnan(x)).dtype)
    local Count = tide.Layer:extend("SpecReads", { call = function(_, v)
      return ops.sum(v):item() > 1e9 and v or v * 2
    end })
    assert.equal("[none, none, none, 3]", shape(Count()(x)))
  end)

  it("call what does not fit by its name", function()
    has(message(x.matmul, x, tide.ones { 4, 2 }),
      "differ (expected 3, got 4; x1 [none, none, none, 3], x2 [4, 2])")
  end)

  it("take unknown sizes in lists of sizes", function()
    local v = tide.Input { 4, 6 }
    local y = v:reshape { v.shape[1], 24 }
    assert.equal("[none, 24]", shape(y))
    local m = tide.Model { inputs = v, outputs = y }
    local data = tide.random.normal { 5, 4, 6 }
    for _, model in ipairs { m, tide.models.clone_model(m),
      tide.models.model_from_json(m:to_json()) } do
      assert.same({ 5, 24 }, model(data).shape)
    end
    has(message(v.reshape, v, { 1, 1, 1, none }), "reshape: size 4 is unknown")
  end)

  it("of a person's own layers keep what the layers make on their first call", function()
    local Table = tide.Layer:extend("SpecTable", { call = function(self, v)
      self.table = self.table or ops.arange(3, { dtype = "float32" })
      return v + self.table
    end })
    local layer = Table()
    assert.equal("[none, 3]", shape(layer(tide.Input { 3 })))
    assert.equal("cpu", layer.table.device)
    local Net = tide.Model:extend("SpecInferNet", {
      init = function(self)
        self.conv, self.dense = layers.Conv2D { 4, 3 }, layers.Dense { 2 }
      end,
      call = function(self, v) return self.dense(self.conv(v)) end,
    })
    local net = Net()
    net:build { none, none, none, 3 }
    assert.equal("cpu", net.dense.kernel.device)
    assert.equal(122, net:count_params())
    assert.equal("[none, none, none, 2]", shape(net(x)))
  end)
end)

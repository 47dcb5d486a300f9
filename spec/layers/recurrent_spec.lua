-- Recurrent layers and their wrappers against the real Keras' numbers (spec/ref/recurrent.py), and
-- what only Tide's own words can say: states, dropout, errors.
local core = require "tide.core"
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local list = require "tide.list"
local ops = require "tide.ops"
local tide = require "tide"

local L = tide.layers

local near = expect.elements

local function build(spec)
  if spec.class == nil then
    local out = {}
    for i, one in ipairs(spec) do
      out[i] = build(one)
    end
    return out
  end
  local args = {}
  for k, v in pairs(spec.args) do
    if type(v) == "table" and (v.class or type(v[1]) == "table") then
      v = build(v)
    elseif v == "none" then
      v = tide.none
    end
    args[k] = v
  end
  return L[spec.class](args)
end

local masks = {
  right = function(i, s, t) return s < t - i % t end,
  left = function(i, s, t) return s >= i % t end,
  middle = function(i, s) return (s + i) % 3 ~= 1 end,
  all = function(i) return i > 0 end,
}

local function mask_of(kind, shape)
  local out = {}
  for i = 0, shape[1] - 1 do
    out[i + 1] = {}
    for s = 0, shape[2] - 1 do
      out[i + 1][s + 1] = masks[kind](i, s, shape[2])
    end
  end
  return tide.tensor(out)
end

local function flatten(v, out)
  if type(v) == "userdata" then
    out[#out + 1] = v
  else
    for _, x in ipairs(v) do
      flatten(x, out)
    end
  end
  return out
end

local function run(row)
  local layer = build(row.layer)
  local x = formula.input("real", row.shape, 0)
  local wrt = { x }
  local options = { mask = row.mask and mask_of(row.mask, row.shape), training = row.training }
  if row.states then
    options.initial_state = {}
    for i, shape in ipairs(row.states) do
      wrt[i + 1] = formula.input("real", shape, i)
      options.initial_state[i] = wrt[i + 1]
    end
  end
  for _, t in ipairs(wrt) do
    t.requires_grad = true
  end
  layer:build(x.shape:totable())
  local start = {}
  for i, w in ipairs(layer.weights) do
    start[i] = formula.weight(w, row.layer.args.layer and i == #layer.weights
      and row.layer.args.layer.class == "BatchNormalization", i - 1)
  end
  layer:set_weights(start)
  for _ = 2, row.calls do
    layer(x, options)
  end
  local out = flatten({ layer(x, options) }, {})
  assert.are.equal(#row.shapes, #out)
  local loss = 0
  for i, y in ipairs(out) do
    assert.are.same(row.shapes[i], y.shape:totable())
    near("y" .. i, y, row.y[i], 1e-5, 2e-5)
    loss = loss + ops.sum(y * formula.input("real", row.shapes[i], 4 + i))
  end
  table.move(layer.trainable_weights, 1, #layer.trainable_weights, #wrt + 1, wrt)
  local grads = core.gradients(loss, wrt)
  for i, want in ipairs(row.g) do
    near("gradient " .. i, grads[i] or ops.zeros(wrt[i].shape), want, 5e-5, 2e-4)
  end
end

local function shown(v)
  if type(v) ~= "table" then
    return tostring(v)
  end
  local keys, out = {}, {}
  for k in pairs(v) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do
    out[i] = (type(k) == "number" and "" or k .. "=") .. shown(v[k])
  end
  return "{" .. table.concat(out, ",") .. "}"
end

describe("recurrent layers beside Keras", function()
  for i, row in ipairs(dofile "spec/ref/recurrent.lua") do
    it(("%d: %s %s %s"):format(i, row.layer.class, shown(row.layer.args), row.mask or ""),
      function()
        run(row)
      end)
  end
end)

local function same(a, b)
  return list.equal(a.shape, b.shape) and ops.all(a:equal(b))
end

describe("recurrent layers", function()
  local x

  before_each(function()
    x = formula.input("real", { 2, 4, 3 }, 0)
  end)

  it("take the states of one layer as the start of another, in models and in their files",
    function()
      local source, target = tide.Input { 5, 3 }, tide.Input { tide.none, 2 }
      local _, h, c = L.LSTM { 4, return_state = true, name = "encoder" } (source)
      local y = L.LSTM { 4, return_sequences = true, name = "decoder" } (target,
        { initial_state = { h, c } })
      local model = tide.Model { { source, target }, L.Dense { 2 } (y) }
      assert.are.same({ tide.none, tide.none, 2 }, model.output.shape:totable())
      local a, b = formula.input("real", { 2, 5, 3 }, 1), formula.input("real", { 2, 6, 2 }, 2)
      local want = model { a, b }
      assert.are.same({ 2, 6, 2 }, want.shape:totable())
      local _, h1, c1 = model:get_layer "encoder" (a)
      local direct = model:get_layer "decoder" (b, { initial_state = { h1, c1 } })
      near("decoder", model.layers[#model.layers](direct), want:ravel():tolist(), 1e-6, 1e-6)
      for _, ending in ipairs { ".keras", ".safetensors" } do
        local path = os.tmpname() .. ending
        model:save(path)
        local again = tide.load_model(path)
        os.remove(path)
        assert.is_true(same(again { a, b }, want), ending)
      end
    end)

  it("keep states between batches when stateful, until they are reset", function()
    local layer = L.GRU { 3, stateful = true }
    local first = layer(x)
    assert.is_false(same(layer(x), first))
    assert.are.equal(1, #layer.states)
    layer:reset_state()
    assert.is_true(same(layer(x), first))
    layer:reset_states()
    assert.are.same({ { 0, 0, 0 }, { 0, 0, 0 } }, layer.states[1]:tolist())
    expect.raises("is stateful: every batch must have the size of the first one", layer,
      ops.concatenate { x, x })
    expect.raises("a stateful layer needs a fixed batch size", L.GRU { 3, stateful = true },
      tide.Input { 4, 3 })
    local half = ops.cast(x, "float32")
    local whole = L.LSTM { 2, return_sequences = true }
    local parts = L.LSTM { 2, return_sequences = true, stateful = true }
    whole:build(x.shape)
    parts:build(x.shape)
    parts:set_weights(whole:get_weights())
    local a, b = parts(half[{ {}, { 1, 2 } }]), parts(half[{ {}, { 3, 4 } }])
    near("two halves", ops.concatenate({ a, b }, 2), whole(x):ravel():tolist(), 1e-6, 1e-6)
  end)

  it("that are stateful go on from step to step within TimeDistributed", function()
    local given = tide.random.normal { 2, 3, 4, 5 }
    local layer = L.TimeDistributed { L.GRU { 2, stateful = true } }
    local y = layer(given)
    layer.layer:reset_state()
    for t = 1, 3 do
      assert.is_true(same(layer.layer(given[{ {}, t }]), y[{ {}, t }]))
    end
  end)

  it("drop all where a share is 1", function()
    local ones, on = tide.ones { 1, 3, 2 }, { training = true }
    local function made(name, o) -- Keras gives the same
      o[1], o.kernel_initializer = 2, "ones"
      return L[name](o)(ones, on):tolist()
    end
    local y = tide.tensor(2.0):tanh():item()
    assert.same({ { 0, 0 } }, made("SimpleRNN", { dropout = 1 }))
    assert.same({ { 0, 0 } }, made("LSTM", { dropout = 1, recurrent_dropout = 1 }))
    assert.same({ { 0, 0 } }, made("GRU", { dropout = 1 }))
    assert.same({ { y, y } }, made("SimpleRNN", { recurrent_dropout = 1 }))
  end)

  it("drop the same features and states at all steps of a sequence, anew for each", function()
    for _, name in ipairs { "SimpleRNN", "LSTM", "GRU" } do
      local cell = L[name .. "Cell"] { 4, dropout = 0.5, recurrent_dropout = 0.5, seed = 3 }
      local ones = ops.ones { 64, 8 }
      local states = cell:get_initial_state(64)
      local a = cell(ones, states, { training = true })
      assert.is_true(same(cell(ones, states, { training = true }), a))
      assert.is_false(same(cell(ones, states), a))
      cell:reset_dropout_mask()
      assert.is_false(same(cell(ones, states, { training = true }), a))
      local layer = L[name] { 4, dropout = 0.5, recurrent_dropout = 0.25, return_sequences = true }
      local many = ops.ones { 64, 5, 8 }
      local b = layer(many, { training = true })
      assert.is_false(same(layer(many, { training = true }), b))
      assert.is_true(same(layer(many), layer(many)))
    end
    -- a share of the input: with an identity for a kernel the first step shows the dropped features
    local layer = L.SimpleRNN { 16, activation = tide.none, dropout = 0.25,
      kernel_initializer = "identity", recurrent_initializer = "zeros", return_sequences = true }
    local y = layer(ops.ones { 200, 3, 16 }, { training = true })
    local dropped = y:equal(0):sum()
    assert.is_true(math.abs(dropped / y.size - 0.25) < 0.03)
    assert.is_true(same(y[{ {}, 1 }], y[{ {}, 3 }]))
    near("kept", y:max(), { 4 / 3 }, 1e-6, 0)
  end)

  it("run cells of one's own, with lists of states", function()
    local Cell = tide.Layer:extend("CountingCell", {
      args = { "units" }, inputs = { "x", "states" },
      init = function(self) self.state_size = { self.units, 1 } end,
      build = function(self, shape)
        self.w = self:add_weight { name = "w", shape = { shape[2], self.units } }
      end,
      call = function(self, v, states)
        local h = states[1] + v:matmul(self.w)
        return h, { h, states[2] + 1 }
      end,
    })
    local layer = L.RNN { Cell { 2 }, return_state = true }
    local y, h, n = layer(x)
    near("sum", y, x:sum { axis = 2 }:matmul(layer.cell.w):ravel():tolist(), 1e-5, 1e-6)
    assert.is_true(same(h, y))
    assert.are.same({ { 4 }, { 4 } }, n:tolist())
    assert.are.equal(1, #layer.weights)
    local again = L.RNN.from_config(layer:get_config())
    again:build(x.shape)
    again:set_weights(layer:get_weights())
    assert.is_true(same(again(x), y))
  end)

  it("refuse what does not fit, naming it", function()
    expect.raises("a layer is a name, an object", L.RNN, { 3 })
    expect.raises("must have state_size", L.RNN, { L.Dense { 2 } })
    expect.raises("needs at least one cell", L.StackedRNNCells, { {} })
    local stacked = L.StackedRNNCells { L.GRUCell { 2 }, L.GRUCell { 3 } }
    assert.same({ 2, 3 }, stacked.state_size)
    expect.raises("expected (batch, steps, features), got the shape [2, 3]",
      L.LSTM { 2 }, ops.ones { 2, 3 })
    expect.raises("needs at least one step (got the shape [2, 0, 3])", L.LSTM { 2 },
      ops.ones { 2, 0, 3 })
    expect.raises("the mask must have one value per step (expected the shape [2, 4], got [2, 3])",
      L.GRU { 2 }, x, { mask = ops.ones({ 2, 3 }, { dtype = "bool" }) })
    local h = ops.zeros { 2, 2 }
    expect.raises("initial_state must hold the cell's states (expected 2, got 1)", L.LSTM { 2 }, x,
      { initial_state = { h } })
    expect.raises("state 2 has the wrong shape (expected [2, 2], got [2, 3])", L.LSTM { 2 }, x,
      { initial_state = { h, ops.zeros { 2, 3 } } })
    expect.raises("takes its input and a list of its states (expected 2, got 1)",
      L.LSTMCell { 2 }, ops.ones { 2, 3 }, { h })
    expect.raises("units must be an integer at least 1", L.LSTM, { 0 })
    expect.raises("the last axis of the input must be known", L.LSTM { 2 },
      tide.Input { 4, tide.none })
    expect.raises("takes a recurrent layer, which has go_backwards", L.Bidirectional,
      { L.Dense { 2 } })
    expect.raises("the layers must run in different directions", L.Bidirectional,
      { L.GRU { 2 }, backward_layer = L.GRU { 2 } })
    expect.raises("the layers differ in return_state", L.Bidirectional,
      { L.GRU { 2 }, backward_layer = L.GRU { 2, go_backwards = true, return_state = true } })
    expect.raises("expected (batch, steps, ...), got the shape [2, 3]",
      L.TimeDistributed { L.Dense { 2 } }, ops.ones { 2, 3 })
    expect.raises("steps (TimeDistributed): needs at least one step (got the shape [2, 0, 3])",
      L.TimeDistributed { L.BatchNormalization(), name = "steps" }, ops.ones { 2, 0, 3 },
      { training = true })
    expect.raises("the mask must begin with the batch and the steps",
      L.TimeDistributed { L.Dense { 2 } }, x, { mask = ops.ones({ 2, 3 }, { dtype = "bool" }) })
    expect.raises("expected (batch, steps, rows, columns, channels)", L.ConvLSTM2D { 2, 3 },
      tide.Input { 4, 8, 3 })
  end)

  it("hand masks on where they give sequences", function()
    local ids = tide.tensor({ { 1, 2, 0, 0 }, { 3, 1, 2, 0 } }, { dtype = "int32" })
    local embedded = L.Embedding { 4, 3, mask_zero = true } (ids)
    local y = L.LSTM { 2, return_sequences = true } (embedded)
    local kept = tide.Layer.mask_of(y)
    assert.are.same({ { true, true, false, false }, { true, true, true, false } }, kept:tolist())
    assert.is_nil(tide.Layer.mask_of(L.LSTM { 2 } (embedded)))
    assert.is_true(same(y[{ 1, 2 }], y[{ 1, 4 }]))
    local both = L.Bidirectional { L.GRU { 2, return_sequences = true } } (embedded)
    assert.are.same(kept:tolist(), tide.Layer.mask_of(both):tolist())
    assert.are.equal(0, both[{ 1, { 3, 4 } }]:abs():sum():item())
  end)
end)

describe("the op of whole sequences", function()
  it("gives what the steps give, with every option that it knows", function()
    local x = formula.input("real", { 3, 5, 2 }, 0)
    local mask = mask_of("middle", { 3, 5 })
    for _, name in ipairs { "SimpleRNN", "LSTM", "GRU" } do
      for _, o in ipairs { {}, { return_sequences = true, return_state = true },
        { go_backwards = true, return_sequences = true }, { zero_output_for_mask = true },
        { activation = "relu" }, { use_bias = false, return_state = true },
        name == "GRU" and { reset_after = false } or { activation = tide.none } } do
        local options = { 4 }
        for k, v in pairs(o) do
          options[k] = v
        end
        local op = L[name](options)
        local plain = L[name .. "Cell"]:extend("Plain" .. name, {}) -- a class of one's own
        local inside = { 4 }
        for _, key in ipairs { "activation", "use_bias", "reset_after" } do
          inside[key] = o[key]
        end
        plain = L.RNN { plain(inside), return_sequences = o.return_sequences,
          return_state = o.return_state, go_backwards = o.go_backwards,
          zero_output_for_mask = o.zero_output_for_mask }
        op:build(x.shape)
        plain:build(x.shape)
        plain:set_weights(op:get_weights())
        for _, m in ipairs { false, mask } do
          local a, b = { op(x, { mask = m }) }, { plain(x, { mask = m }) }
          for i = 1, #a do
            near(name .. " " .. i, a[i], b[i]:ravel():tolist(), 1e-5, 1e-6)
          end
        end
      end
    end
  end)

  it("is asked for by use_cudnn = true, and refused where it cannot serve", function()
    local x = ops.ones { 2, 3, 2 }
    assert.are.same({ 2, 4 }, L.LSTM { 4, use_cudnn = true } (x).shape:totable())
    expect.raises("no op computes the whole sequence with these options", L.LSTM { 4,
      use_cudnn = true, activation = "gelu" }, x)
    local layer = L.GRU { 4, use_cudnn = true, recurrent_dropout = 0.5 }
    assert.are.same({ 2, 4 }, layer(x).shape:totable())
    expect.raises("no op computes the whole sequence", layer, x, { training = true })
  end)
end)

describe("a wide recurrent layer over a few samples", function()
  local threads = core.get_threads()
  after_each(function()
    core.set_threads(threads)
  end)
  for _, name in ipairs { "SimpleRNN", "LSTM", "GRU" } do
    it("gives one and two threads the same bits, and what more samples give: " .. name, function()
      tide.seed(4)
      local layer, x = L[name] { 250 }, tide.random.normal { 5, 7, 20 }
      core.set_threads(1)
      local all, alone = layer(x), layer(x[{ { 1, 2 } }])
      near("of more", alone, all[{ { 1, 2 } }]:ravel():tolist(), 1e-5, 1e-5)
      core.set_threads(2)
      assert.are.same(alone:tolist(), layer(x[{ { 1, 2 } }]):tolist())
    end)
  end
end)

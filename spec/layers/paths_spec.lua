-- Paths of weights against the real Keras (spec/ref/keras_paths.py).
local tide = require "tide"
local L = tide.layers
local wanted = require("spec.ref.keras_paths")[1]

local Own = tide.Model:extend("PathsOwn", {
  init = function(self)
    self.a = L.Dense(3)
    self.b = tide.Sequential { L.Dense(2) }
    self.c = L.LSTM(2)
  end,
  call = function(self, x) return self.c(tide.ops.expand_dims(self.b(self.a(x)), 2)) end,
})
local Around = tide.Model:extend("PathsAround", {
  init = function(self)
    self.m = Own { name = "own" }
    self.w = self:add_weight { { 2 }, name = "w" }
  end,
  call = function(self, x) return self.m(x) end,
})
local Block = tide.Layer:extend("PathsBlock", {
  init = function(self)
    self.d = L.Dense(2)
    self.w = self:add_weight { { 2 }, name = "w" }
  end,
  build = function(self, shape)
    self.v = self:add_weight { { 3 }, name = "v" }
    self.d:build(shape)
  end,
  call = function(self, x) return self.d(x) end,
})

local function called(model)
  model(tide.ones { 1, 4 })
  return model
end
local function built(layer)
  layer:build { tide.none, 4 }
  return layer
end
local function functional(f, name, shape)
  local x = tide.Input { shape = shape or { 4 } }
  return tide.Model { x, f(x), name = name }
end
local function chain()
  return tide.Sequential { L.Dense(2), L.Dense(1), name = "in" }
end

local models = {
  sequential = function() return tide.Sequential { tide.Input { 4 }, L.Dense(3), L.Dense(2) } end,
  built = function() return built(tide.Sequential { L.Dense(3), L.Dense(2), name = "s" }) end,
  called = function() return called(tide.Sequential { L.Dense(3), L.Dense(2), name = "s" }) end,
  functional = function()
    return functional(function(x)
      return L.Dense { 1, name = "out" }(L.BatchNormalization()(L.Dense(3)(x)))
    end)
  end,
  ["in functional"] = function()
    return functional(function(x)
      return L.Dense(1)(tide.Sequential { tide.Input { 4 }, L.Dense(3), name = "inner" }(x))
    end, "outer")
  end,
  ["late in functional"] = function()
    return functional(function(x)
      return L.Dense(1)(tide.Sequential { L.Dense(3), name = "inner" }(x))
    end, "outer")
  end,
  ["functional in functional"] = function()
    return functional(function(x) return functional(L.Dense(3), "inner")(x) end, "outer")
  end,
  own = function() return called(Own { name = "own" }) end,
  ["own in own"] = function() return called(Around { name = "nn" }) end,
  ["own layer"] = function()
    return tide.Sequential { tide.Input { 4 }, Block { name = "blk" }, L.Dense(1) }
  end,
  ["own layer in functional"] = function() return functional(Block { name = "q" }) end,
  ["own layer late"] = function()
    return functional(function(x)
      return tide.Sequential { L.Dense(2), Block { name = "z" }, name = "zz" }(x)
    end)
  end,
  composite = function()
    return functional(function(x)
      return { L.Bidirectional { L.GRU(2), name = "bi" }(x),
        L.TimeDistributed { L.Dense(2), name = "td" }(x),
        L.MultiHeadAttention { 2, 3, name = "mha" }(x, x),
        L.RNN { { L.LSTMCell(2), L.GRUCell(3) }, name = "rnn" }(x), L.SimpleRNN(2)(x) }
    end, nil, { 5, 4 })
  end,
  ["sequential in sequential"] = function()
    return tide.Sequential { tide.Input { 4 }, L.Dense(3), chain() }
  end,
  ["late in sequential"] = function()
    return built(tide.Sequential { L.Dense(3), chain(), name = "ss" })
  end,
  ["built before"] = function()
    return built(tide.Sequential { built(L.Dense { 3, name = "sh" }), name = "pre" })
  end,
}

describe("weight.path", function()
  for name, paths in pairs(wanted) do
    it("is Keras': " .. name, function()
      tide.utils.clear_session()
      local got = {}
      for i, w in ipairs(models[name]().weights) do
        got[i] = w.path
      end
      assert.same(paths, got)
    end)
  end

  it("stays in what a configuration makes again", function()
    for name, make in pairs(models) do
      if not name:find "^own" and name ~= "built before" then
        local model, got = make(), {}
        for i, w in ipairs(getmetatable(model).from_config(model:get_config()).weights) do
          got[i] = w.path
        end
        for i, w in ipairs(model.weights) do
          assert.equal(w.path, got[i], name)
        end
      end
    end
  end)

  it("stays where a weight is replaced, and where a build failed before", function()
    local Failing = tide.Layer:extend("PathsFailing", {
      build = function(self)
        self.w = self:add_weight { { 2 }, name = "w" }
        if not self.ready then
          error "not yet"
        end
      end,
      call = function(self, x) return x * self.w end,
    })
    local inner = Failing { name = "f" }
    local outer = tide.Sequential { inner, name = "outer" }
    assert.is_false(pcall(outer, tide.ones { 1, 2 }))
    rawset(inner, "ready", true)
    outer(tide.ones { 1, 2 })
    assert.equal("outer/f/w", inner.w.path)
    assert.equal("outer/f/w", inner:replace_weight("w", tide.zeros { 2 }).path)
    assert.equal("alone/kernel", built(L.Dense { 2, name = "alone" }).kernel.path)
  end)
end)

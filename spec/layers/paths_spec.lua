-- Paths of weights against the real Keras (spec/ref/keras_paths.py).
local expect = require "spec.support.expect"
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
local function built(layer, shape)
  layer:build { tide.none, table.unpack(shape or { 4 }) }
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

-- Models inside of layers and models that are built with them, or were built before.
local nested = {
  ["late in TimeDistributed"] = function()
    return functional(function(x) return L.TimeDistributed { chain(), name = "td" }(x) end, nil,
      { 5, 4 })
  end,
  ["late in TimeDistributed twice"] = function()
    return built(tide.Sequential { L.TimeDistributed { L.TimeDistributed { tide.Sequential {
      L.Dense(2), chain(), name = "two" } } }, name = "out" }, { 3, 5, 4 })
  end,
  ["built before TimeDistributed"] = function()
    return functional(function(x) return L.TimeDistributed { built(chain()), name = "td" }(x) end,
      nil, { 5, 4 })
  end,
  ["in Bidirectional in TimeDistributed"] = function()
    return functional(function(x)
      return L.TimeDistributed { tide.Sequential { L.Bidirectional { L.RNN { { L.LSTMCell(2),
        L.GRUCell(3) } }, name = "both" }, L.Dense(1), name = "part" }, name = "td" }(x)
    end, "m", { 3, 5, 4 })
  end,
  ["built before in Sequential"] = function()
    return built(tide.Sequential { L.Dense(4), built(chain()), name = "ss" })
  end,
  ["functional in TimeDistributed"] = function()
    return functional(function(x)
      return L.TimeDistributed { functional(function(y)
        return tide.Sequential { L.Dense(2), name = "deep" }(y)
      end, "inner"), name = "td" }(x)
    end, nil, { 5, 4 })
  end,
  ["spectral"] = function()
    return functional(function(x)
      return L.SpectralNormalization { L.Dense { 2, name = "d" }, name = "sn" }(x)
    end)
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

  local function paths_of(model)
    local out = {}
    for i, w in ipairs(model.weights) do
      out[i] = w.path:gsub("_%d+", "")
    end
    local layers = {}
    for i, layer in ipairs(model:_flat()) do
      layers[i] = layer.path:gsub("_%d+", "")
    end
    table.sort(layers)
    return table.move(layers, 1, #layers, #out + 1, out)
  end

  it("stays in what a configuration makes again, and in clones", function()
    for _, group in ipairs { models, nested } do
      for name, make in pairs(group) do
        if not name:find "^own" and not name:find "^built before" then
          local model = make()
          local want = paths_of(model)
          assert.same(want, paths_of(getmetatable(model).from_config(model:get_config())), name)
          assert.same(want, paths_of(tide.models.clone_model(model)), name)
        end
      end
    end
  end)

  it("stays in files, of a model that was built part by part too", function()
    for _, group in ipairs { models, nested } do
      for name, make in pairs(group) do
        local model = make()
        local want = paths_of(model)
        for _, extension in ipairs { ".safetensors", ".keras", ".h5" } do
          if extension ~= ".h5" or require("tide.graph").kind(model) then
            local file = expect.name(extension)
            model:save(file)
            local again = tide.load_model(file)
            os.remove(file)
            assert.same(want, paths_of(again), name .. extension)
          end
        end
      end
    end
  end)

  it("is left alone by what a file says of other models", function()
    local paths = require "tide.layers.paths"
    local model = built(tide.Sequential { L.Dense(2), name = "s" })
    for _, kept in ipairs { { 2 }, { 1, "a" }, { 3, "a" }, { 0, "a", 2, "b" }, { "x", "a", 2, "b" },
      { 2, 7 }, "no", 5, { 1 << 62, "a", 1 << 62, "b" }, { -1, "a", 3, "b" } } do
      paths.restore(model, kept)
      assert.equal("s/dense/kernel", (model.weights[1].path:gsub("_%d+", "")))
    end
    paths.restore(model, { 1, "", 1, "t" })
    assert.equal("t/dense/kernel", (model.weights[1].path:gsub("_%d+", "")))
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

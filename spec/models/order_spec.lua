-- The order of layers and weights in models, against the real Keras: spec/ref/order.py, where the
-- same models stand in Python.
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local function dense(name, units)
  return layers.Dense { units or 2, name = name }
end

local function inp(name)
  return tide.Input { 4, name = name }
end

local function model(inputs, outputs)
  return tide.Model { inputs = inputs, outputs = outputs }
end

local build = {}

function build.depths()
  local x = inp "x"
  local a = dense "a" (x)
  local b = dense "b" (a)
  return model(x, { dense "c" (b), dense "d" (a) })
end

function build.shallow_first()
  local x = inp "x"
  local a = dense "a" (x)
  local d = dense "d" (x)
  return model(x, { d, dense "c" (dense "b" (a)) })
end

function build.side()
  local x = inp "x"
  local e = dense "e" (x)
  local a = layers.BatchNormalization { name = "a" } (dense "b" (x))
  return model(x, { late = dense "f" (a), branch = e, mid = a })
end

function build.shared()
  local x, y = inp "x", inp "y"
  local s, t = dense("s", 4), dense("t", 4)
  return model({ x, y }, { dense "o" (s(t(s(x)))), dense "p" (t(y)) })
end

function build.skip()
  local x = inp "x"
  local a = dense("a", 4)(x)
  local b = dense("b", 4)(a)
  local c = layers.Add { name = "add" } { b, dense("short", 4)(x) }
  return model(x, layers.Concatenate { name = "cat" } { c, dense "e" (x), a })
end

function build.operators()
  local x, y = inp "x", inp "y"
  local a = dense("a", 4)(x)
  local z = ops.concatenate { a * 2, dense("b", 4)(y) }
  return model({ y, x }, { dense "c" (z), dense "d" (a + x) })
end

function build.nested()
  local i = inp "i"
  local u = dense "u" (i)
  local inner = tide.Model { inputs = i, outputs = { dense "v" (u),
    layers.BatchNormalization { name = "w" } (dense "z" (dense "y" (u))) }, name = "inner" }
  local seq = tide.Sequential { { tide.Input { 4 }, dense("q", 4),
    layers.BatchNormalization { name = "r" } }, name = "seq" }
  local x = inp "x"
  local got = inner(seq(x))
  local again = inner(x)[1]
  return model(x, { dense "last" (got[2]), dense "early" (got[1]), again })
end

function build.unused()
  local x, y, n = inp "x", inp "y", inp "n"
  return model({ n, x, y }, { dense "a" (y), dense "b" (dense "c" (x)) })
end

function build.cut()
  local x = inp "x"
  local a = dense("a", 4)(x)
  local b = dense("b", 4)(a)
  local c = dense "c" (b)
  return model(a, { dense "d" (a), c })
end

function build.diamond()
  local x = inp "x"
  local left = dense("l2", 3)(dense("l1", 3)(x))
  local right = dense("r3", 3)(dense("r2", 3)(dense("r1", 3)(x)))
  local m = layers.Multiply { name = "m" } { left, right }
  return model(x, { m, dense "tail" (left) })
end

local function fields(list, field)
  local out = {}
  for i, v in ipairs(list) do
    out[i] = v[field]
  end
  return out
end

-- Names with their layers' only: the reference leaves out in which models these stand.
local function paths(list)
  local out = fields(list, "path")
  for i, path in ipairs(out) do
    out[i] = path:match "[^/]+/[^/]+$"
  end
  return out
end

-- The data sets of the .weights.h5 file that the model writes, with their shapes.
local function file(m)
  local path = os.tmpname() .. ".weights.h5"
  m:save_weights(path)
  local out = {}
  for _, e in ipairs(require("tide.saving.keras").read_hdf5(path)) do
    out[#out + 1] = { e.name:gsub("^/", ""), e.tensor.shape:totable() }
    out[#out][3] = nil
  end
  os.remove(path)
  table.sort(out, function(a, b) return a[1] < b[1] end)
  return out
end

describe("the order of layers and weights is Keras'", function()
  for _, row in ipairs(require "spec.ref.order") do
    it("in the model " .. row.model, function()
      local m = build[row.model]()
      assert.same(row.layers, fields(m.layers, "name"))
      assert.same(row.weights, paths(m.weights))
      assert.same(row.trainable, paths(m.trainable_weights))
      assert.same(row.frozen, paths(m.non_trainable_weights))
      for i, w in ipairs(m:get_weights()) do
        assert.same(m.weights[i].shape, w.shape)
      end
      assert.same(row.file, file(m))
    end)
  end
end)

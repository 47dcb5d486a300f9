-- Layers in fields stand in the order in which Keras takes note of them (spec/ref/assigned.py).
local tide = require "tide"
local rows = require "spec.ref.assigned"

local function dense(name)
  return tide.layers.Dense { 1, name = name }
end

-- The same assignments as there.
local makers = {
  other_order = function(s)
    local x, y = dense "x", dense "y"
    s.y = y
    s.x = x
  end,
  grown_list = function(s)
    s.items = {}
    s.head = dense "head"
    table.insert(s.items, dense "i1")
    table.insert(s.items, dense "i2")
    s.tail = dense "tail"
  end,
  shared = function(s)
    local x = dense "x"
    s.list = { dense "l1", x }
    s.x = x
    s.dict = { q = dense "q", b = dense "b" }
  end,
  inserted = function(s)
    s.list = { dense "1", dense "2" }
    s.head = dense "h"
    table.insert(s.list, 1, dense "0")
  end,
  grown_dict = function(s)
    s.dict = {}
    s.head = dense "h"
    s.dict.z = dense "z"
    s.dict.a = dense "a"
  end,
  nested = function(s)
    s.n = { { dense "n1" }, { k = dense "k", a = { dense "ka" } } }
    s.o = dense "o"
  end,
  options = function(s)
    s.third = dense "third"
  end,
}

local function names(m)
  local out = {}
  for i, l in ipairs(m.layers) do
    out[i] = l.name
  end
  return out
end

describe("layers in fields", function()
  for _, row in ipairs(rows) do
    it("have Keras' order: " .. row.name, function()
      local options = row.name == "options"
      local M = tide.Model:extend("SpecAssigned_" .. row.name, { init = makers[row.name],
        args = options and { "first", "second" } or {}, call = function(_, x) return x end })
      local second, first = dense "second", dense "first"
      local m = options and M { first, second } or M()
      for _, l in ipairs(m.layers) do
        l:build { tide.none, 2 }
      end
      assert.same(row.layers, names(m))
      assert.equal(#row.weights, #m.weights)
      for i, path in ipairs(row.weights) do -- "layer/weight"
        local layer = m.layers[(i + 1) // 2]
        assert.equal(path, layer.name .. "/" .. m.weights[i].name)
        assert.is_true(rawequal(m.weights[i], layer.weights[(i - 1) % 2 + 1]))
      end
    end)
  end

  it("that are assigned again come last, and those taken away are gone", function()
    local M = tide.Model:extend("SpecAssignedAgain", { init = function(s)
      s.a, s.b = dense "a1", dense "b"
      s.a = dense "a2"
    end, call = function(_, x) return x end })
    local m = M()
    assert.same({ "b", "a2" }, names(m))
    m.b = nil
    m.c = dense "c"
    assert.same({ "a2", "c" }, names(m))
  end)
end)

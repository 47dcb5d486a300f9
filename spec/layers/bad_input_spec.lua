-- Wrong options and wrong inputs of every layer: each ends in one error of Tide's own, never in an
-- error of Lua, and a layer that refused an input serves a right one afterwards.
local tide = require "tide"
local errors = require "tide.errors"
local namespace = require "tide.namespace"
local cases = require "spec.support.layer_cases"
local layers, ops, none = tide.layers, tide.ops, tide.none

local odd_values = { -1, 0, 0.5, 3, 2 ^ 53, 1e308, 0 / 0,
  "relu", "", "glorot_uniform", true, false, none, {}, { 1 }, { 0 },
  { -2, 3 }, { 2, 3, 4, 5 }, { { 1, 2 }, { 3, 4 } }, { a = 1 }, { "l2", l2 = -1 }, function() end,
    { class_name = "Nothing" },
  print, tide.ones { 2 } }

local odd_inputs = {
  function() return tide.ones {} end,
  function() return tide.ones { 3 } end,
  function() return tide.ones { 2, 3 } end,
  function() return tide.ones { 2, 3, 4 } end,
  function() return tide.ones { 0, 3 } end,
  function() return tide.ones { 2, 0, 4 } end,
  function() return tide.ones { 2, 1, 1, 1 } end,
  function() return tide.ones { 1, 2, 3, 4, 5 } end,
  function() return tide.ones { 1, 1, 1, 1, 1, 1, 1, 1 } end,
  function() return tide.ones({ 2, 3 }, { dtype = "int32" }) end,
  function() return tide.ones({ 2, 3 }, { dtype = "bool" }) end,
  function() return tide.ones({ 2, 3 }, { dtype = "float64" }) end,
  function() return {} end,
  function() return { tide.ones { 2 } } end,
  function() return { tide.ones { 2, 3 }, tide.ones { 3, 2 } } end,
  function() return { tide.ones { 2, 3 }, "x" } end,
  function() return "text" end,
  function() return 3 end,
  function() return { { 1, 2 }, { 3 } } end,
  function() return nil end,
  function() return { a = tide.ones { 2 } } end,
  function() return layers.Identity() end,
  function() return tide.Input { 3 } end,
  function() return tide.Input { none, none, 3 } end,
}

-- Lua's own errors are strings that open with a place in Tide's files.
local function check(what, ok, e)
  if not ok then
    assert.is_true(errors.is(e), what .. ": " .. tostring(e))
    assert.is_true(#e.message > 0, what)
  end
end

describe("bad input", function()
  for _, name in ipairs(namespace.names(layers)) do
    it("is refused by " .. name, function()
      local class = layers[name]
      for i, value in ipairs(odd_values) do
        check(name .. " first option " .. i, pcall(class, { value }))
        for _, key in ipairs(class.args.names) do
          local row = class.args.index[key]
          if row[2] ~= "any" then
            local options = {}
            for _, first in ipairs(class.args.rows) do
              if first[4] and tostring(first[3]) == "required" then
                options[first[1]] = 2
              end
            end
            options[key] = value
            check(name .. " option " .. key .. " " .. i, pcall(class, options))
          end
        end
        check(name .. " unknown option", pcall(class, { nonsense = value }))
      end
    end)
  end

  local seen = { Lambda = true } -- what its function does is the person's affair
  for _, case in ipairs(cases) do
    if not seen[case[2]] then
      seen[case[2]] = true
      it("is refused by the call of " .. case[2], function()
        for i, make in ipairs(odd_inputs) do
          local layer = case[3](layers)
          check(case[2] .. " input " .. i, pcall(layer, make()))
          check(case[2] .. " input in training " .. i, pcall(layer, make(), { training = true }))
        end
        local layer = case[3](layers)
        local function right()
          if type(case[4][1]) == "table" then
            local out = {}
            for k, shape in ipairs(case[4]) do
              out[k] = tide.ones(shape)
            end
            return out
          end
          return tide.ones(case[4], { dtype = case[5] and case[5].ids and "int32" or "float32" })
        end
        local y = layer(right(), { training = false }) -- called alone, some layers draw
        for i, make in ipairs(odd_inputs) do
          check(case[2] .. " built, input " .. i, pcall(layer, make()))
        end
        assert.is_false(tide.Layer.is_calling())
        local again = layer(right(), { training = false })
        assert.equal(tostring(y.shape), tostring(again.shape))
        if case[2] ~= "BatchNormalization" then
          assert.is_true(ops.all(ops.equal(y, again)))
        end
      end)
    end
  end
end)

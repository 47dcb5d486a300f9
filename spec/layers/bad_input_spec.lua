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

  -- Every method that a person may call, once for each function, on layers that are built.
  local knot, deep = {}, {}
  knot[1], deep.a = knot, deep
  local odd_arguments = { 3, -1, 2 ^ 53, 0 / 0, math.maxinteger, "x", "", true, none, {}, { {} },
    { 1, 2 }, { "a" }, { 2, 3, 1.5 }, { { 2, 4 }, { 2, 4 } }, { a = 1 }, knot, deep, function() end,
    coroutine.create(print), io.stdout, tide.ones { 2, 3 }, tide.tensor(1.0), tide.zeros { 0, 3 },
    layers.Dense { 2 }, layers.Dense, { tostring }, { none, 3 }, tide.Input { 4 } }
  local tried = {}
  local function methods_of(object, left_out)
    local out, class = {}, getmetatable(object)
    while type(class) == "table" do
      for name, f in pairs(class) do
        if type(name) == "string" and not name:find "^_" and type(f) == "function"
          and not tried[f] and not left_out[name] and object[name] == f then
          tried[f], out[#out + 1] = true, name
        end
      end
      class = rawget(class, "super")
    end
    table.sort(out)
    return out
  end

  -- Calls the methods of what `make` gives with arguments that they cannot mean.
  local function try_methods(what, make, left_out)
    for _, name in ipairs(methods_of(make(), left_out)) do
      for _, first in ipairs { false, { 2, 4 }, tide.ones { 2, 4 } } do
        local object = make()
        for i = 0, #odd_arguments do
          local told = ("%s:%s %d"):format(what, name, i)
          if first then
            check(told, pcall(object[name], object, first, odd_arguments[i]))
          else
            check(told, pcall(object[name], object, odd_arguments[i]))
          end
        end
      end
    end
  end

  it("is refused by the methods of layers", function()
    -- `call` is reached through the layer, which looks at its inputs
    local left_out = { call = true }
    local known = { Lambda = true }
    for _, case in ipairs(cases) do
      if not known[case[2]] then
        known[case[2]] = true
        try_methods(case[2], function()
          local layer = case[3](layers)
          pcall(function()
            if type(case[4][1]) ~= "table" then
              layer(tide.ones(case[4], { dtype = case[5] and case[5].ids and "int32" or nil }))
            end
          end)
          return layer
        end, left_out)
      end
    end
  end)

  it("is refused by the methods of models", function()
    local function compiled(model)
      model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
      return model
    end
    local written = { save = true, save_weights = true, export = true, summary = true,
      call = true, fit = true, evaluate = true, explain_plan = true } -- files, and what prints
    try_methods("Sequential", function()
      return compiled(tide.Sequential { tide.Input { 4 }, layers.Dense { 3 }, layers.Dense { 2 } })
    end, written)
    try_methods("Model", function()
      local a, b = tide.Input { 4 }, tide.Input { 3 }
      return compiled(tide.Model { inputs = { a, b },
        outputs = layers.Concatenate() { layers.Dense { 3 }(a), b } })
    end, written)
  end)

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

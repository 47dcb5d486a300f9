-- Every method of every object that a person may hold, given kinds that it cannot mean: each call
-- ends, or raises one error of Tide's own, never one of Lua's.
local tide = require "tide"
local errors = require "tide.errors"
local namespace = require "tide.namespace"
local cases = require "spec.support.layer_cases"
local layers, none = tide.layers, tide.none

local knot, deep = {}, {} -- tables that hold themselves
knot[1], deep.a = knot, deep
local odd = { 3, -1, 2 ^ 53, 0 / 0, math.maxinteger, "x", "", true, none, {}, { {} }, { 1, 2 },
  { "a" }, { 2, 3, 1.5 }, { { 2, 4 }, { 2, 4 } }, { a = 1 }, knot, deep, function() end,
  coroutine.create(print), io.stdout, tide.ones { 2, 3 }, tide.tensor(1.0), tide.zeros { 0, 3 },
  layers.Dense { 2 }, layers.Dense, { tostring }, { none, 3 }, tide.Input { 4 } }

-- Not called: what is reached through the object, which looks at what it is given (`call`), or by
-- training alone (`update_step`, `on_train_begin`); what writes files or prints.
local left_out = {}
for name in ([[call update_step save save_weights export summary explain_plan
  fit evaluate]]):gmatch "%S+" do
  left_out[name] = true
end

local tried = {} -- functions, which many classes share
local function methods_of(object)
  local out, class = {}, getmetatable(object)
  while type(class) == "table" do
    for name, f in pairs(class) do
      if type(name) == "string" and not name:find "^_" and type(f) == "function"
        and not name:find "^on_" and not tried[f] and not left_out[name]
        and object[name] == f then
        tried[f], out[#out + 1] = true, name
      end
    end
    class = rawget(class, "super")
  end
  table.sort(out)
  return out
end

-- Calls the methods of what `make` gives.
local function try(what, make)
  for _, name in ipairs(methods_of(make())) do
    for _, first in ipairs { false, { 2, 4 }, tide.ones { 2, 4 } } do
      local object = make()
      for i = 0, #odd do
        local ok, e
        if first then
          ok, e = pcall(object[name], object, first, odd[i])
        else
          ok, e = pcall(object[name], object, odd[i])
        end
        assert.is_true(ok or errors.is(e),
          ("%s:%s %d: %s"):format(what, name, i, tostring(e)))
      end
    end
  end
end

-- An object of a class that may need options.
local function made(class)
  for _, args in ipairs { {}, { 2 }, { "f" }, { 0.5 }, { 0.1, 10 }, { 0.1, 10, 0.5 }, { "adam" },
    { num_classes = 3 }, { num_classes = 3, target_class_ids = { 1 } }, { function() end },
    { { 1, 2 }, { 0.1, 0.2, 0.3 } } } do
    local ok, v = pcall(class, args)
    if ok then
      return v
    end
  end
end

describe("methods given a wrong kind", function()
  local known = { Lambda = true } -- what its function does is the person's affair
  it("of layers", function()
    for _, case in ipairs(cases) do
      if not known[case[2]] then
        known[case[2]] = true
        try(case[2], function()
          local layer = case[3](layers)
          if type(case[4][1]) ~= "table" then
            pcall(layer, tide.ones(case[4], { dtype = case[5].ids and "int32" or nil }))
          end
          return layer
        end)
      end
    end
  end)

  it("of models", function()
    local function compiled(model)
      model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
      return model
    end
    try("Sequential", function()
      return compiled(tide.Sequential { tide.Input { 4 }, layers.Dense { 3 }, layers.Dense { 2 } })
    end)
    try("Model", function()
      local a, b = tide.Input { 4 }, tide.Input { 3 }
      return compiled(tide.Model { inputs = { a, b },
        outputs = layers.Concatenate() { layers.Dense { 3 }(a), b } })
    end)
  end)

  for _, space in ipairs { "optimizers", "optimizers.schedules", "metrics", "losses", "callbacks",
    "initializers", "regularizers", "constraints" } do
    it("of " .. space, function()
      local home = tide
      for name in space:gmatch "[^.]+" do
        home = home[name]
      end
      for _, name in ipairs(namespace.names(home)) do
        local class = home[name]
        if tide.class.is_class(class) and made(class) then
          try(name, function() return made(class) end)
        end
      end
    end)
  end
end)

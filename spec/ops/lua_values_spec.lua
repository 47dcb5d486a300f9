-- Every function of tide.ops that is written in Lua beside values of NumPy and torch
-- (spec/ref/lua_ops.lua) and of Keras (image_ops.lua), its gradients beside central differences;
-- and the gate: one without a case, or without help, fails.
local differences = require "spec.support.differences"
local core = require "tide.core"
local tide = require "tide"
local help = require "tide.help"
local ops = tide.ops
local ref = dofile "spec/ref/lua_ops.lua"
local pictures = dofile "spec/ref/image_ops.lua"
table.move(pictures, 1, #pictures, #ref + 1, ref)
for name, d in pairs(pictures.inputs) do
  ref.inputs[name] = d
end

local is_float = { float32 = true, float64 = true }

-- A tensor of an entry's data.
local function tensor(d)
  return core.ops.reshape(core.tensor(d.data, { dtype = d.dtype }), d.shape)
end

-- The inputs as tensors; `changed` replaces the data of one.
local function inputs(changed, data)
  local out = {}
  for name, d in pairs(ref.inputs) do
    local flat = name == changed and data or d.data
    out[name] = tensor { data = flat, shape = d.shape, dtype = d.dtype }
  end
  return out
end

-- The call's results as a list; a table of tensors is several, a table of numbers one.
local function call(text, names)
  local env = setmetatable({ ops = ops, math = math }, { __index = names })
  local got = table.pack(assert(load("return " .. text, "=" .. text, "t", env))())
  local out = {}
  for i = 1, got.n do
    local v = got[i]
    if type(v) == "table" and core.is_tensor(v[1]) then
      table.move(v, 1, #v, #out + 1, out)
    elseif type(v) == "table" then
      out[#out + 1] = core.tensor({ table.unpack(v) }, { dtype = "float64" })
    else
      out[#out + 1] = v
    end
  end
  return out
end

local function flat(v, out)
  if core.is_tensor(v) then
    v = v.ndim == 0 and v:item() or v:tolist()
  end
  if type(v) ~= "table" then
    out[#out + 1] = v
  else
    for i = 1, #v do
      flat(v[i], out)
    end
  end
  return out
end

local function shape_of(v)
  return core.is_tensor(v) and { table.unpack(v.shape) } or {}
end

local function near(got, want, rtol, atol, at)
  local fits = got == want or got ~= got and want ~= want
  if type(got) == "number" and type(want) == "number" then
    fits = fits or math.abs(got - want) <= atol + rtol * math.abs(want)
  end
  assert.is_true(fits, ("%s: expected %s, got %s"):format(at, tostring(want), tostring(got)))
  if differences.on and type(got) == "number" and type(want) == "number" then
    differences.note(got, want, rtol, atol, at)
  end
end

-- The results as one number, each element with a weight of its own.
local function weighted(results)
  local total = 0
  for k, r in ipairs(results) do
    if core.is_tensor(r) and is_float[r.dtype] then
      local weights = {}
      for i = 1, r.size do
        weights[i] = ((i + 7.3 * k) * 0.6180339887498949) % 1 - 0.4
      end
      local w = core.tensor(weights, { dtype = r.dtype })
      total = core.ops.sum(r * core.ops.reshape(w, r.shape)) + total
    end
  end
  return total
end

local function check_gradient(case)
  for name, d in pairs(ref.inputs) do
    if d.dtype == "float64" and case.call:find("%f[%w_]" .. name .. "%f[^%w_]") then
      local names = inputs()
      names[name]:requires_grad_(true)
      local y = weighted(call(case.call, names))
      assert.is_true(core.is_tensor(y), "no result holds floats: say why")
      local g = y.requires_grad and core.gradients(y, { names[name] })[1]
      local got = g and flat(g, {}) or {}
      for i = 1, #d.data do
        local function at(step)
          local data = table.move(d.data, 1, #d.data, 1, {})
          data[i] = data[i] + step
          return flat(weighted(call(case.call, inputs(name, data))), {})[1]
        end
        local want = (at(1e-6) - at(-1e-6)) / 2e-6
        near(got[i] or 0, want, 1e-3, 1e-5, ("gradient of %s, element %d"):format(name, i))
      end
    end
  end
end

local seen = {}
for _, case in ipairs(ref) do
  seen[case.op] = true
  describe(case.call, function()
    it("gives the values of " .. case.by, function()
      local results = call(case.call, inputs())
      assert.are.equal(#case.results, #results)
      for k, want in ipairs(case.results) do
        assert.are.same(want.shape, shape_of(results[k]))
        local got = flat(results[k], {})
        local single = want.dtype == "float32"
          or core.is_tensor(results[k]) and results[k].dtype == "float32"
        assert.are.equal(#want.data, #got)
        for i, v in ipairs(want.data) do
          near(got[i], v, single and 1e-5 or 1e-9, single and 1e-6 or 1e-9,
            ("result %d, element %d"):format(k, i))
        end
      end
    end)
    if not case.why then
      it("has the gradient of central differences", function()
        check_gradient(case)
      end)
    end
  end)
end

describe("the gate", function()
  it("finds a case, a text and arguments of every function that is written in Lua", function()
    local lacking = {}
    for _, name in ipairs(ops.names()) do
      local f = ops[name]
      if require("tide.origin").of(f) ~= f then
        if not seen[name] then
          lacking[#lacking + 1] = name .. " (case)"
        end
        local text = help.text(f, name)
        if not text or not text:match "^[^\n]*\n\n.*%a%a" then
          lacking[#lacking + 1] = name .. " (text)"
        end
        if #ops.arguments(name) == 0 then
          lacking[#lacking + 1] = name .. " (arguments)"
        end
      end
    end
    assert.are.equal("", table.concat(lacking, ", "))
  end)
end)

-- Products beyond the case rows: strided operands, einsum, tensordot, second derivatives of chains
-- of fused ops.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local runner = require "spec.support.op_runner"
local ops = tide.ops
local refs = dofile "spec/ref/linear.lua"

local function tensor(d, dtype)
  local parts = {}
  for i, v in ipairs(d.data) do
    parts[i] = string.pack("<d", v)
  end
  local t = core.from_bytes("float64", d.shape, table.concat(parts))
  return dtype and t:cast(dtype) or t
end

local function numbers(shape, seed, dtype)
  return expect.numbers(shape, seed, dtype or "float64")
end

local function check_ref(key, f)
  local ref = refs[key]
  local xs = {}
  for i, d in ipairs(ref.inputs) do
    xs[i] = tensor(d)
  end
  local got = f(table.unpack(xs))
  assert.are.same(ref.outputs[1].shape, { table.unpack(got.shape) })
  expect.close(got, tensor(ref.outputs[1]), 1e-12, 1e-12)
end

describe("matmul", function()
  it("reads transposed and strided operands as they lie", function()
    for _, dtype in ipairs { "float32", "float64" } do
      local a, b = numbers({ 40, 30 }, 1, dtype), numbers({ 40, 50 }, 2, dtype)
      local want = ops.matmul(ops.copy(a:transpose()), b)
      expect.close(ops.matmul(a:transpose(), b), want, 1e-5, 1e-5)
      local wide = numbers({ 80, 90 }, 3, dtype)
      local part = wide[{ { 1, 80, 2 }, { 1, 90, 3 } }]
      local copy = ops.copy(part)
      local product = ops.matmul(copy, copy:transpose())
      expect.close(ops.matmul(part, copy:transpose()), product, 1e-5, 1e-5)
      expect.close(ops.matmul(part:transpose(), b), ops.matmul(ops.copy(part:transpose()), b), 1e-5,
        1e-5)
    end
  end)

  it("multiplies a batch whose batch axes are permuted or repeated", function()
    local a, b = numbers({ 3, 2, 4, 5 }, 1), numbers({ 5, 6 }, 2)
    local turned = a:transpose { 2, 1, 3, 4 }
    expect.close(ops.matmul(turned, b), ops.matmul(ops.copy(turned), b), 1e-12, 1e-12)
    local repeated = ops.broadcast_to(numbers({ 1, 4, 5 }, 3), { 3, 4, 5 })
    expect.close(ops.matmul(repeated, b), ops.matmul(ops.copy(repeated), b), 1e-12, 1e-12)
  end)

  it("sums nothing to zero", function()
    expect.close(ops.matmul(tide.zeros { 2, 0 }, tide.zeros { 0, 3 }), tide.zeros { 2, 3 }, 0, 0)
    assert.are.same({ 0, 3 }, { table.unpack(ops.matmul(tide.zeros { 0, 2 },
      tide.zeros { 2, 3 }).shape) })
  end)

  it("has the gradient of a transposed operand", function()
    local a, b = numbers({ 4, 3 }, 1), numbers({ 4, 5 }, 2)
    a:requires_grad_(true)
    local g = core.gradients(ops.matmul(a:transpose(), b):sum(), { a })[1]
    expect.close(g, ops.broadcast_to(ops.sum(b, { axis = 2, keepdims = true }), { 4, 3 }), 1e-12,
      1e-12)
  end)
end)

describe("einsum", function()
  local keys = {}
  for key in pairs(refs) do
    if key:find "^einsum, " then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    it("computes " .. key:sub(9), function()
      check_ref(key, function(...)
        return ops.einsum(key:sub(9), ...)
      end)
    end)
  end

  it("has the gradient of its product", function()
    local a, b = numbers({ 2, 3, 4 }, 1), numbers({ 2, 4, 5 }, 2)
    a:requires_grad_(true)
    b:requires_grad_(true)
    local w = numbers({ 2, 3, 5 }, 3)
    local by_einsum = core.gradients((ops.einsum("bij,bjk->bik", a, b) * w):sum(), { a, b })
    local by_matmul = core.gradients((ops.matmul(a, b) * w):sum(), { a, b })
    expect.close(by_einsum[1], by_matmul[1], 1e-12, 1e-12)
    expect.close(by_einsum[2], by_matmul[2], 1e-12, 1e-12)
  end)

  local function says(text, ...)
    local ok, err = pcall(ops.einsum, ...)
    assert.is_false(ok)
    assert.truthy(tostring(err):find(text, 1, true), tostring(err))
  end
  it("says what does not fit", function()
    local a = numbers({ 2, 3 }, 1)
    says('the equation "ij,jk->ik" names 2 operands, 1 tensors are given', "ij,jk->ik", a)
    says('term "ijk" does not fit its tensor (expected 3 axes, got 2)', "ijk->i", a)
    says('axis "j" has two extents (3 and 2)', "ij,jk->ik", a, a)
    says('the result names axis "k", which no operand has', "ij->k", a)
    says('axis "i" has two extents in one tensor (2 and 3)', "ii->", a)
    says("an equation holds letters", "i1->i", a)
    says("the equation comes first (got userdata)", a)
  end)
end)

describe("tensordot (tensordot_ in C)", function()
  for key, axes in pairs { ["two axes"] = 2, ["one axis"] = 1, ["no axis"] = 0,
    named = { { 1, 3 }, { 3, 1 } } } do
    it("pairs " .. key, function()
      check_ref("tensordot, " .. key, function(a, b)
        return ops.tensordot(a, b, axes)
      end)
    end)
  end

  it("refuses axes that do not pair", function()
    local ok, err = pcall(ops.tensordot, numbers({ 2, 3 }, 1), numbers({ 2, 3 }, 2), 1)
    assert.is_false(ok)
    local says = "paired axes differ in extent (expected 3, got 2; x1 [2, 3], x2 [2, 3])"
    assert.truthy(tostring(err):find(says, 1, true), tostring(err))
  end)
end)

describe("chains of fused ops", function()
  -- the sum of weighted first derivatives, and its derivative by central differences
  local function check_second(f, xs)
    local function first(values, record)
      for _, x in ipairs(values) do
        x:requires_grad_(true)
      end
      local y = f(table.unpack(values))
      local grads = core.gradients(
        (y * numbers(y.shape, 7)):sum(), values, { create_graph = record })
      local total
      for i, g in ipairs(grads) do
        local s = (g * numbers(g.shape, 10 + i)):sum()
        total = total and total + s or s
      end
      return total
    end
    local second = core.gradients(first(xs, true), xs)
    for i, x in ipairs(xs) do
      local flat, got = runner.flat_of(x), runner.flat_of(second[i])
      for k = 1, #flat, 3 do
        local function at(d)
          local moved = { table.unpack(flat) }
          moved[k] = moved[k] + d
          local values = { table.unpack(xs) }
          values[i] = ops.reshape(tide.tensor(moved, { dtype = "float64" }), x.shape)
          return first(values, false):item()
        end
        local want = (at(1e-5) - at(-1e-5)) / 2e-5
        local near = math.abs(got[k] - want) <= 1e-5 + 1e-3 * math.abs(want)
        assert.is_true(near, ("input %d, element %d: %g, expected %g"):format(i, k, got[k], want))
      end
    end
  end

  it("has second derivatives through two linear layers", function()
    check_second(function(x, w, v)
      return ops.linear(ops.linear(x, w, { activation = "sigmoid" }), v, { activation = "tanh" })
    end, { numbers({ 2, 3 }, 1), numbers({ 3, 4 }, 2), numbers({ 4, 2 }, 3) })
  end)

  it("has second derivatives through two convolutions", function()
    check_second(function(x, w, v)
      return ops.conv(ops.conv(x, w, { activation = "tanh", padding = "same" }), v,
        { activation = "tanh" })
    end, { numbers({ 1, 4, 4, 2 }, 1), numbers({ 2, 2, 2, 3 }, 2), numbers({ 1, 1, 3, 2 }, 3) })
  end)
end)

-- keras.ops' functions of control, and grids of coordinates. Expected values are worked out by
-- hand.
local expect = require "spec.support.expect"
local tide = require "tide"
local ops = tide.ops

local raises = expect.raises
local function near(got, want)
  expect.close(got, want, 1e-6, 1e-6)
end

describe("ops.cond and ops.switch", function()
  it("call one branch", function()
    local function yes() return "yes" end
    local function no() return "no" end
    for _, condition in ipairs { true, 1, tide.tensor { 2 }, tide.tensor { true } } do
      assert.equal("yes", ops.cond(condition, yes, no))
    end
    for _, condition in ipairs { false, 0, tide.tensor { 0 }, tide.tensor { false } } do
      assert.equal("no", ops.cond(condition, yes, no))
    end
    raises("a condition must be a boolean or a tensor of one element (got a tensor [2])", ops.cond,
      tide.ones { 2 }, yes, no)
  end)

  it("count branches from 1 and keep to the first and the last", function()
    local branches = { function(x) return x + 1 end, function(x) return x * 10 end }
    assert.equal(6, ops.switch(1, branches, 5))
    assert.equal(50, ops.switch(tide.tensor({ 2 }, { dtype = "int32" }), branches, 5))
    assert.equal(50, ops.switch(9, branches, 5))
    assert.equal(6, ops.switch(-3, branches, 5))
    raises("branches must be a list of functions", ops.switch, 1, {})
  end)
end)

describe("ops.while_loop and ops.fori_loop", function()
  it("repeat", function()
    local i, product = ops.while_loop(function(i) return i <= 5 end, function(i, p)
      return i + 1, p * i
    end, { 1, 1 })
    assert.equal(6, i)
    assert.equal(120, product)
    local few = ops.while_loop(function()
      return true
    end, function(k) return k + 1 end, 0, { maximum_iterations = 7 })
    assert.equal(7, few)
    near(ops.while_loop(function(x)
      return x:sum():less(10)
    end, function(x) return x * 2 end, tide.ones { 2 }), { 8, 8 })
    assert.equal(0 + 1 + 2 + 3, ops.fori_loop(0, 4, function(k, v) return v + k end, 0))
    assert.equal("as it was", ops.fori_loop(3, 3, error, "as it was"))
  end)
end)

describe("ops.scan and ops.map", function()
  it("carry a value over the first axis and stack what is given out", function()
    local function add(carry, x)
      return carry + x, carry * 10
    end
    local last, ys = ops.scan(add, tide.tensor(0), tide.tensor { 1, 2, 3 })
    near(last, 6)
    near(ys, { 0, 10, 30 })
    last, ys = ops.scan(add, tide.tensor(0), { 1, 2, 3 }, { reverse = true })
    near(last, 6)
    near(ys, { 50, 30, 0 })
    last, ys = ops.scan(function(c) return c * 2 end, 1, nil, { length = 5 })
    assert.equal(32, last)
    assert.is_nil(ys)
    near(ops.scan(function(c, x)
      return c + x[1] * x[2]
    end, tide.tensor(0), { tide.tensor { 1, 2 }, tide.tensor { 3, 4 } }), 11)
    raises("needs a tensor with at least one axis", ops.scan, add, 0, tide.tensor(1))
    raises("xs must be a tensor or a list of tensors (got true)", ops.scan, add, 0, true)
  end)

  it("carry gradients", function()
    local x = tide.tensor({ 1, 2, 3 }, { requires_grad = true })
    ops.scan(function(c, v) return c * v end, tide.tensor(1), x):backward()
    near(x.grad, { 6, 3, 2 })
  end)

  it("stack the results for every slice, each of several apart", function()
    near(ops.map(function(row) return row:sum() end, tide.tensor { { 1, 2 }, { 3, 4 } }), { 3, 7 })
    local squares, doubles = ops.map(function(v) return v * v, v * 2 end, { 1, 2, 3 })
    near(squares, { 1, 4, 9 })
    near(doubles, { 2, 4, 6 })
    near(ops.vectorized_map(function(v) return v + 1 end, tide.tensor { 1, 2 }), { 2, 3 })
  end)
end)

describe("ops.meshgrid", function()
  it("gives the coordinates of a grid, by columns and rows or by axes", function()
    local x, y = ops.meshgrid(tide.tensor { 1, 2, 3 }, { 4, 5 })
    near(x, { { 1, 2, 3 }, { 1, 2, 3 } })
    near(y, { { 4, 4, 4 }, { 5, 5, 5 } })
    local i, j, k = ops.meshgrid({ 1, 2 }, { 3, 4, 5 }, { 6 }, { indexing = "ij" })
    near(i, { { { 1 }, { 1 }, { 1 } }, { { 2 }, { 2 }, { 2 } } })
    near(j, { { { 3 }, { 4 }, { 5 } }, { { 3 }, { 4 }, { 5 } } })
    near(k, { { { 6 }, { 6 }, { 6 } }, { { 6 }, { 6 }, { 6 } } })
    raises([[indexing must be "xy" or "ij" (got 'yx')]], ops.meshgrid, { 1 }, { indexing = "yx" })
  end)
end)

describe("utils.normalize", function()
  it("scales rows to length 1 by any order; rows of zeros stay", function()
    near(tide.utils.normalize { { 3, 4 }, { 0, 0 } }, { { 0.6, 0.8 }, { 0, 0 } })
    near(tide.utils.normalize({ { 3, 4 }, { 1, 0 } }, 1, 1), { { 0.75, 1 }, { 0.25, 0 } })
    assert.equal("float32", tide.utils.normalize(tide.ones({ 2 }, { dtype = "int32" })).dtype)
  end)
end)

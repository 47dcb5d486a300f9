-- Gradients where a function has a corner, a pole under a root, or an infinity: the finite ones
-- that training needs. PyTorch's values where it has one.
local expect = require "spec.support.expect"
local tide = require "tide"
local ops, layers, losses = tide.ops, tide.layers, tide.losses

local inf, nan = math.huge, 0 / 0

-- The gradient of the sum of f(x), in both float dtypes.
local function gradient(want, f, x, tolerance)
  for _, dtype in ipairs { "float32", "float64" } do
    local v = tide.tensor(x, { dtype = dtype, requires_grad = true })
    ops.sum(f(v)):backward()
    assert(v.grad, "no gradient")
    expect.close(v.grad, want, tolerance or 1e-6, 1e-5, dtype)
  end
end

describe("the gradient of a norm", function()
  for _, order in ipairs { 0, 0.5, 1, 1.5, 2, 3, inf, -inf, -1, -2 } do
    it(("of order %s is 0 at a zero vector"):format(order), function()
      gradient({ 0, 0 }, function(x) return ops.norm(x, order) end, { 0, 0 })
      local zero = { { 0, 0 }, { 0, 0 } }
      gradient(zero, function(x) return ops.norm(x, order, 2) end, zero)
    end)
  end
  it("is 0 at a zero row, and the other rows' is theirs", function()
    local x = { { 0, 0 }, { 3, 4 } }
    gradient({ { 0, 0 }, { 0.6, 0.8 } }, function(v) return ops.norm(v, { axis = 2 }) end, x)
    gradient({ { 0, 0 }, { 0.6, 0.8 } }, ops.norm, x)
    gradient({ { 0, 0 }, { 0.6, 0.8 } }, function(v) return ops.norm(v, "fro", { 1, 2 }) end, x)
    gradient({ { 0, 0 }, { 0.4448514, 0.7908470 } }, function(v) return ops.norm(v, 3, 2) end, x)
    gradient({ { 0, 0 }, { 0, 1 } }, function(v) return ops.norm(v, inf, 2) end, x)
  end)
  it("is 0 at an element that is 0, of orders below 1 too", function()
    gradient({ 0, 1 }, function(v) return ops.norm(v, 0.5) end, { 0, 4 })
    gradient({ 0, 0.6, -0.8 }, ops.norm, { 0, 3, -4 })
    gradient({ 0, 0 }, function(v) return ops.norm(v, -2) end, { 0, 4 })
  end)
  it("of matrices is 0 at the zero matrix", function()
    local zero = { { 0, 0 }, { 0, 0 } }
    for _, order in ipairs { 1, -1, inf, -inf, "fro" } do
      gradient(zero, function(v) return ops.norm(v, order, { 1, 2 }) end, zero)
    end
  end)
  it("of second order is finite too", function()
    local x = tide.tensor({ 0, 0 }, { requires_grad = true })
    local g = tide.grad(ops.norm(x), { x }, { create_graph = true })
    ops.sum(g[1]):backward()
    expect.close(x.grad, { 0, 0 })
  end)
end)

describe("the gradient of a deviation", function()
  it("of equal numbers is 0", function()
    for _, f in ipairs { ops.std, ops.var, ops.nanstd, ops.nanvar } do
      gradient({ 0, 0, 0 }, f, { 2, 2, 2 })
      gradient({ 0 }, f, { 2 })
    end
    local want = { { 0, 0 }, { -0.5, 0.5 } }
    gradient(want, function(v) return ops.std(v, 2) end, { { 2, 2 }, { 1, 3 } })
    gradient(want, function(v) return ops.nanstd(v, 2) end, { { 2, nan }, { 1, 3 } })
  end)
  it("in layers of constant features is finite", function()
    for _, layer in ipairs {
      layers.LayerNormalization {}, layers.GroupNormalization { 1 }, layers.BatchNormalization {},
      layers.UnitNormalization {}, layers.RMSNormalization {},
    } do
      for _, value in ipairs { 0, 3 } do
        local x = tide.full({ 2, 4 }, value)
        x.requires_grad = true
        local y = layer(x, { training = true })
        ops.sum(y * tide.tensor { { 1, 2, 3, 4 }, { 2, 0, 1, 5 } }):backward()
        assert.is_true(ops.all(ops.isfinite(x.grad)))
      end
    end
  end)
end)

describe("vectors of length 0", function()
  it("are normalized to 0 with a finite gradient, in every order", function()
    for _, order in ipairs { 1, 2, 3, inf } do
      local function f(x) return ops.normalize(x, { axis = 2, order = order }) end
      assert.same({ { 0, 0 } }, f(tide.tensor { { 0, 0 } }):tolist())
      gradient({ { 1e7, 1e7 } }, f, { { 0, 0 } }, 1e-5)
      local x = tide.tensor({ { 3, 4 } }, { requires_grad = true })
      f(x):sum():backward()
      assert.is_true(ops.all(ops.isfinite(x.grad)))
    end
  end)
  it("are divided by the largest element in the order of infinity", function()
    expect.close(ops.normalize({ { 3, -4 } }, { axis = 2, order = inf }), { { 0.75, -1 } })
    expect.close(ops.normalize({ { 3, -4 } }, { axis = 2, order = 3 }),
      { { 0.6669717, -0.8892957 } })
  end)
  it("have a cosine of 0 with any other, and a finite gradient", function()
    local one, zero = tide.tensor { { 1, 0 } }, { { 0, 0 } }
    gradient({ { -1e7, 0 } }, function(x) return losses.cosine_similarity(one, x) end, zero)
    one = tide.zeros { 1, 2 }
    gradient(zero, function(x) return losses.cosine_similarity(one, x) end, zero)
    gradient(zero, function(x) return ops.cdist(x, one:cast(x.dtype)) end, zero)
  end)
end)

describe("the gradient of a determinant", function()
  it("of a singular matrix is its cofactors", function()
    gradient({ { 4, -2 }, { -2, 1 } }, ops.det, { { 1, 2 }, { 2, 4 } })
    gradient({ { 1 } }, ops.det, { { 0 } })
    gradient({ { -3, 6, -3 }, { 6, -12, 6 }, { -3, 6, -3 } }, ops.det,
      { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } }, 1e-5)
    gradient({ { 0, 0, 0 }, { 0, 0, 0 }, { 0, -4, 2 } }, ops.det,
      { { 2, 1, 2 }, { 0, 1, 2 }, { 0, 0, 0 } })
  end)
  it("is 0 where the rank is less by two", function()
    gradient({ { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } }, ops.det,
      { { 1, 2, 3 }, { 2, 4, 6 }, { 3, 6, 9 } })
    gradient({ { 0, 0 }, { 0, 0 } }, ops.det, { { 0, 0 }, { 0, 0 } })
  end)
  it("of several is each one's own", function()
    gradient({ { { 4, -3 }, { -2, 1 } }, { { 4, -2 }, { -2, 1 } } }, ops.det,
      { { { 1, 2 }, { 3, 4 } }, { { 1, 2 }, { 2, 4 } } })
  end)
  it("has a derivative where the matrix is regular", function()
    local x = tide.tensor({ { 1, 2 }, { 3, 4 } }, { dtype = "float64", requires_grad = true })
    local g = tide.grad(ops.det(x), { x }, { create_graph = true })[1]
    ops.sum(g * tide.tensor({ { 1, 0 }, { 0, 0 } }, { dtype = "float64" })):backward()
    expect.close(x.grad, { { 0, 0 }, { 0, 1 } })
  end)
  it("raises for the logarithm of a singular one", function()
    local x = tide.tensor({ { 1, 2 }, { 2, 4 } }, { requires_grad = true })
    local sign, log = ops.slogdet(x)
    expect.close(sign, 0)
    expect.close(log, -inf)
    expect.raises("singular", function() log:backward() end)
  end)
end)

describe("the gradient of a function of two numbers", function()
  local function of_first(f, other)
    return function(x) return f(x, tide.tensor(other, { dtype = x.dtype })) end
  end
  local function of_second(f, other)
    return function(x) return f(tide.tensor(other, { dtype = x.dtype }), x) end
  end
  it("takes its sign from a zero in copysign", function()
    gradient({ 1, -1, -1, 1 }, of_first(ops.copysign, { 0, -0.0, 0, -0.0 }), { 2, 2, -2, -2 })
    gradient({ 0, 0 }, of_first(ops.copysign, { 1, -1 }), { 0, 0 })
  end)
  it("is a half each of equal infinities in logaddexp", function()
    for _, f in ipairs { ops.logaddexp, ops.logaddexp2 } do
      gradient({ 0.5, 0.5, 1, 0 }, of_first(f, { -inf, inf, -inf, inf }), { -inf, inf, inf, -inf })
      gradient({ 0.5, 0.5, 0, 1 }, of_second(f, { -inf, inf, inf, -inf }), { -inf, inf, -inf, inf })
    end
  end)
  it("neither overflows nor vanishes in arctan2 and hypot", function()
    for _, s in ipairs { 1e-30, 1, 1e30 } do
      gradient({ 0.5 / s }, of_first(ops.arctan2, { s }), { s }, 0)
      gradient({ -0.5 / s }, of_second(ops.arctan2, { s }), { s }, 0)
      gradient({ 0.6 }, of_first(ops.hypot, { 4 * s }), { 3 * s })
    end
    gradient({ 0, 0 }, of_first(ops.arctan2, { 0, 0 }), { 0, 2 })
    gradient({ 0 }, of_second(ops.arctan2, { 0 }), { 0 })
    gradient({ 0 }, of_first(ops.hypot, { 0 }), { 0 })
    gradient({ 0 }, of_second(ops.hypot, { 0 }), { 0 })
  end)
  it("is shared by equal numbers in maximum, minimum, fmax and fmin", function()
    for _, f in ipairs { ops.maximum, ops.minimum, ops.fmax, ops.fmin } do
      gradient({ 0.5, 0.5 }, of_first(f, { 3, 0 }), { 3, 0 })
      gradient({ 0.5, 0.5 }, of_second(f, { 3, 0 }), { 3, 0 })
    end
    gradient({ 1, 0, 1 }, of_first(ops.fmax, { nan, 5, 1 }), { 3, nan, 2 })
    gradient({ 1, 0, 0 }, of_first(ops.fmin, { nan, 5, 1 }), { 3, nan, 2 })
  end)
  it("is the logarithm of the other in xlogy, also at 0", function()
    gradient({ math.log(2), 0, 0 }, of_first(ops.xlogy, { 2, 0, inf }), { 0, 0, 0 })
    gradient({ 0, 1.5 }, of_second(ops.xlogy, { 0, 3 }), { 0, 2 })
    expect.close(ops.xlogy({ 0, 0, 0, 0, 2 }, { 0, -1, inf, 1, 0 }), { 0, 0, 0, 0, -inf })
  end)
  it("is 0, not missing, where a function is made of steps", function()
    for _, f in ipairs { ops.floor_divide, ops.heaviside, ops.nextafter } do
      gradient({ 0, 0 }, of_first(f, { 2, 2 }), { 1, 5 })
      gradient({ 0, 0 }, of_second(f, { 1, 5 }), { 2, 2 })
    end
    gradient({ { 0, 0 }, { 0, 0 } }, of_first(ops.floor_divide, { 2, 2 }), { { 1, 5 }, { 1, 5 } })
    gradient({ 0 }, of_second(ops.copysign, { 1, 5 }), { 2 })
    for _, f in ipairs { ops.floor, ops.ceil, ops.round, ops.trunc, ops.sign } do
      gradient({ 0, 0 }, f, { 1.5, -0.5 })
    end
  end)
  it("is the product of the other factors in scatter_update", function()
    local ix = tide.tensor({ { 1 }, { 1 }, { 2 } }, { dtype = "int32" })
    gradient({ 6, 0, 1 }, function(x)
      return ops.scatter_update(x, ix, tide.tensor({ 2, 3, 0 }, { dtype = x.dtype }), "mul")
    end, { 0, 5, 0 })
    gradient({ 0, 14, 5 }, function(u)
      return ops.scatter_update(tide.tensor({ 7, 5, 1 }, { dtype = u.dtype }), ix, u, "mul")
    end, { 2, 0, 4 })
    gradient({ 0, 0, 5 }, function(u)
      return ops.scatter_update(tide.tensor({ 7, 5, 1 }, { dtype = u.dtype }), ix, u, "mul")
    end, { 0, 0, 4 })
  end)
end)

-- Factorizations by the library's LAPACK and by Tide's own kernels: the same numbers, pivots, signs
-- and errors, whichever serves.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local ops = tide.ops
local all = table.concat(core.engines(), " ")

after_each(function()
  core.engines(all)
end)

-- What f gives by each engine, Tide's own first; what it raises as text.
local function both(f)
  local out = {}
  for i, engines in ipairs { "plain", all } do
    core.engines(engines)
    local results = table.pack(pcall(f))
    out[i] = results[1] and table.move(results, 2, results.n, 1, {}) or tostring(results[2])
  end
  core.engines(all)
  return out[1], out[2]
end

local function same(what, f, tolerance)
  local own, theirs = both(f)
  assert.equal(type(own), type(theirs), what)
  if type(own) == "string" then
    assert.equal(own, theirs, what)
    return
  end
  for i, x in ipairs(own) do
    local a, b = ops.cast(x, "float64"), ops.cast(theirs[i], "float64")
    assert.equal(x.dtype, theirs[i].dtype)
    local scale = math.max(1, ops.max(ops.abs(a)):item())
    local most = ops.max(ops.abs(a - b)):item()
    assert.is_true(most <= tolerance * scale, ("%s, result %d: %g"):format(what, i, most))
  end
end

local function matrices(shape, dtype)
  tide.seed(shape[#shape])
  return tide.random.normal(shape, { dtype = dtype })
end

describe("LAPACK and Tide's own kernels agree:", function()
  -- below and from the size from which the library serves, in one call and by panels
  for _, shape in ipairs { { 63, 63 }, { 64, 64 }, { 3, 97, 97 }, { 800, 800 } } do
    for _, dtype in ipairs { "float64", "float32" } do
      local n = shape[#shape]
      it(("%s of %s"):format(dtype, table.concat(shape, " x ")), function()
        local x = matrices(shape, dtype)
        local near = dtype == "float64" and 1e-9 or 2e-5
        same("lu_factor", function() return ops.lu_factor(x) end, near)
        same("slogdet", function() return ops.slogdet(x) end, near)
        same("det", function() return ops.det(x / n ^ 0.5) end, near * 100)
        same("inv", function() return ops.inv(x) end, near * 100)
        local b = matrices({ table.unpack(shape, 1, #shape - 1) }, dtype)
        same("solve", function() return ops.solve(x, b) end, near * 100)
        same("solve, columns", function()
          return ops.solve(x, ops.stack({ b, b * 2, b + 1 }, -1))
        end, near * 100)
        local definite = ops.matmul(x, ops.swapaxes(x, -1, -2)) + ops.eye(n, { dtype = dtype }) * n
        same("cholesky", function() return ops.cholesky(definite) end, near)
        same("cholesky, upper", function() return ops.cholesky(definite, true) end, near)
      end)
    end
  end

  it("right sides of no columns, writing nothing", function()
    local x = ops.eye(64) + tide.zeros { 2000, 64, 64 }
    for _, engines in ipairs { "plain", all } do
      core.engines(engines)
      local y = ops.solve(x, tide.zeros { 2000, 64, 0 })
      assert.same({ 2000, 64, 0 }, { y.shape[1], y.shape[2], y.shape[3] })
    end
    for i = 1, 200 do
      assert.equal(0, ops.sum(tide.zeros { i * 7 }):item())
    end
  end)

  it("what is singular, not definite, or no number", function()
    local x = matrices { 2, 330, 330 }
    x[2] = 0
    same("inv", function() return ops.inv(x) end, 0)
    same("solve", function() return ops.solve(x, tide.ones { 2, 330 }) end, 0)
    same("det", function() return ops.det(x / 330 ^ 0.5) end, 1e-4)
    same("slogdet", function()
      local sign, logarithm = ops.slogdet(x)
      return sign, ops.isneginf(logarithm), ops.take(logarithm, { 1 }, 1)
    end, 1e-4)
    same("cholesky", function() return ops.cholesky(x[2]) end, 0)
    local unknown = ops.full({ 70, 70 }, 0 / 0)
    for _, engines in ipairs { "plain", all } do
      core.engines(engines)
      local d = ops.det(unknown)
      assert.is_true(d ~= d or d:item() ~= d:item())
      expect.raises("matrix 1 of x is not positive definite", ops.cholesky, unknown)
    end
  end)
end)

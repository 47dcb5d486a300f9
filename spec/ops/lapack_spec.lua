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
        local columns = matrices(#shape == 2 and { n, 150 } or { 3, n, 150 }, dtype)
        same("solve columns", function() return ops.solve(x, columns) end, near * 100)
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

  -- what follows from the parts: signs and bases of equal values are nobody's
  local function rebuilt(what, x, make, tolerance)
    local own, theirs = both(function()
      return make(x)
    end)
    for i, parts in ipairs { own, theirs } do
      assert.equal("table", type(parts), tostring(parts))
      local again, q, values = table.unpack(parts)
      local name = ("%s, engine %d"):format(what, i)
      local scale = math.max(1, ops.max(ops.abs(x)):item())
      assert.is_true(ops.max(ops.abs(again - x)):item() <= tolerance * scale, name)
      local unit = ops.matmul(ops.swapaxes(q, -1, -2), q)
      assert.is_true(ops.max(ops.abs(unit - ops.eye(unit.shape[-1], { dtype = x.dtype }))):item()
        <= tolerance, name .. " is not orthogonal")
      if values then
        local far = ops.max(ops.abs(values - own[3])):item()
        assert.is_true(far <= tolerance * math.max(1, ops.max(ops.abs(own[3])):item()), name)
      end
    end
  end

  for _, shape in ipairs { { 64, 64 }, { 2, 90, 70 }, { 2, 70, 90 }, { 333, 80 }, { 80, 200 } } do
    for _, dtype in ipairs { "float64", "float32" } do
      it(("qr and svd of %s of %s"):format(dtype, table.concat(shape, " x ")), function()
        local x = matrices(shape, dtype)
        local near = dtype == "float64" and 1e-12 or 2e-5
        for _, mode in ipairs { "reduced", "complete" } do
          same("qr " .. mode, function() return ops.qr(x, { mode = mode }) end, near * 10)
          rebuilt("qr " .. mode, x, function()
            local q, r = ops.qr(x, { mode = mode })
            return ops.matmul(q, r), q
          end, near * 10)
        end
        for _, full in ipairs { true, false } do
          rebuilt("svd", x, function()
            local u, s, vh = ops.svd(x, full)
            local k = s.shape[-1]
            local parts = ops.matmul(u[{ "...", { 1, k } }] * ops.expand_dims(s, -2),
              vh[{ "...", { 1, k }, {} }])
            return parts, u, s
          end, near * 30)
          rebuilt("svd, right", x, function()
            local u, s, vh = ops.svd(x, full)
            local k = s.shape[-1]
            return ops.matmul(u[{ "...", { 1, k } }] * ops.expand_dims(s, -2),
              vh[{ "...", { 1, k }, {} }]), ops.swapaxes(vh, -1, -2)
          end, near * 30)
        end
        local b = matrices({ table.unpack(shape, 1, #shape - 1) }, dtype)
        same("lstsq", function() return ops.lstsq(x, b) end, near * 1000)
        same("pinv", function() return ops.pinv(x) end, near * 1000)
      end)
    end
  end

  for _, n in ipairs { 64, 65, 130, 300, 900 } do
    it(("eigh of %d rows, equal eigenvalues too"):format(n), function()
      local x = matrices({ n, n }, "float64")
      x = (x + ops.transpose(x)) / n ^ 0.5
      local function parts(y)
        local w, v = ops.eigh(y)
        return ops.matmul(v * ops.expand_dims(w, -2), ops.transpose(v)), v, w
      end
      rebuilt("eigh", x, parts, 1e-11)
      local q = ops.qr(x)
      local few = ops.arange(n) % 3
      rebuilt("eigh of three values", ops.matmul(q * ops.expand_dims(few:cast "float64", -2),
        ops.transpose(q)), parts, 1e-11)
      rebuilt("eigh of nothing but zeros", x * 0, parts, 1e-11)
      rebuilt("eigh of a diagonal", ops.diag(ops.arange(n):cast "float64"), parts, 1e-10)
    end)
  end

  -- Beyond one call of the library (conquer.c): equal values, zeros, and parts that do not meet.
  -- Tide's own kernels would take minutes; the factors must be what they are.
  for _, n in ipairs { 600, 1100 } do
    it(("singular and eigenvalues of %d rows, joined from halves"):format(n), function()
      local eye = ops.eye(n, { dtype = "float64" })
      local function near(what, a, b)
        local most = ops.max(ops.abs(a - b)):item()
        assert.is_true(most <= 1e-12, ("%s: %g"):format(what, most)) -- NaN fails
      end
      local function check(what, x)
        local y = x + ops.transpose(x)
        local w, v = ops.eigh(y)
        assert.is_true(ops.all(w[{ { 2, n } }]:greater_equal(w[{ { 1, n - 1 } }])), what)
        near("eigh of " .. what, ops.matmul(v * w, ops.transpose(v)), y)
        near("eigenvectors of " .. what, ops.matmul(ops.transpose(v), v), eye)
        local u, s, vh = ops.svd(x)
        assert.is_true(ops.all(s[{ { 2, n } }]:less_equal(s[{ { 1, n - 1 } }])), what)
        assert.is_true(ops.min(s):item() >= 0, what)
        near("svd of " .. what, ops.matmul(u * s, vh), x)
        near("left vectors of " .. what, ops.matmul(ops.transpose(u), u), eye)
        near("right vectors of " .. what, ops.matmul(vh, ops.transpose(vh)), eye)
      end
      local x = matrices({ n, n }, "float64") / n ^ 0.5
      check("any numbers", x)
      if n == 600 then
        check("ones", ops.ones({ n, n }, "float64") / n)
        check("two diagonals", ops.eye(n, { dtype = "float64", k = 1 }) - 2 * eye)
        check("rank 3", ops.matmul(x[{ {}, { 1, 3 } }], x[{ { 1, 3 } }]))
        check("columns of zeros", x * ops.cast(ops.arange(n):less(n // 2 + 7), "float64"))
        check("nothing", x * 0)
      end
    end)
  end

  it("of less than full rank, by the values and what they make", function()
    local x = ops.matmul(matrices({ 150, 20 }, "float64"), matrices({ 20, 100 }, "float64"))
    same("matrix_rank", function() return tide.tensor(ops.matrix_rank(x)) end, 0)
    same("svd, values", function() return ops.svd(x, { compute_uv = false }) end, 1e-12)
    rebuilt("svd", x, function()
      local u, s, vh = ops.svd(x)
      return ops.matmul(u[{ {}, { 1, 100 } }] * s, vh), u, s
    end, 1e-11)
    rebuilt("qr", x, function()
      local q, r = ops.qr(x)
      return ops.matmul(q, r), q
    end, 1e-11)
    same("lstsq", function() return ops.lstsq(x, ops.ones { 150 }) end, 1e-9)
  end)

  it("what is no number in what is to be taken apart", function()
    local x = matrices({ 2, 70, 70 }, "float32")
    x[{ 2, 3, 4 }] = 0 / 0
    for _, engines in ipairs { "plain", all } do
      core.engines(engines)
      expect.raises("matrix 2 of x holds NaN or infinity", ops.eigh, x)
      expect.raises("matrix 2 of x holds NaN or infinity", ops.svd, x)
      for _, bad in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
        for _, shape in ipairs { { 1, 1 }, { 3, 1 }, { 1, 3 }, { 3, 3 }, { 70, 70 } } do
          local y = ops.ones(shape)
          y[{ 1, 1 }] = bad
          expect.raises("matrix 1 of x holds NaN or infinity", ops.svd, y)
        end
      end
    end
  end)
end)

describe("QR of more columns than the library takes at once", function()
  it("gives factors whose product is the matrix", function()
    local x = matrices({ 64, 98000 }, "float32")
    local q, r = ops.linalg.qr(x)
    assert.is_true(ops.max(ops.abs(q:matmul(r) - x)):item() < 1e-4)
  end)
end)

--- Functions of matrices made of the core's factorizations. Names and arguments are keras.ops';
--- matrices stand in the last two
--- axes, one after the other.
local check = require "tide.check"
local common = require "tide.ops.common"
local errors = require "tide.errors"

local ops = require("tide.core").ops
local linalg = {}

local float_of, required = common.float_of, check.required

local function matrix_args(name, ...)
  return check.args(name, { { "x", "tensor", required, "matrices (..., m, n)" }, ... })
end

-- An argument of matrices, in floats.
local function matrices(where, x, square)
  x = float_of(x)
  if x.ndim < 2 then
    errors.raise(where, "needs matrices in the last two axes (expected 2 axes or more, got %s)",
      tostring(x.shape))
  elseif square and x.shape[-1] ~= x.shape[-2] then
    errors.raise(where, "needs square matrices (expected [..., n, n], got %s)", tostring(x.shape))
  end
  return x
end

local function turned(x)
  return ops.swapaxes(x, -1, -2)
end

-- Rounding of one operation in x's dtype.
local function epsilon(x)
  return x.dtype == "float64" and 2.220446049250313e-16 or 1.1920928955078125e-07
end

local svd_args = matrix_args("svd", { "full_matrices", "bool", true, "square bases of both sides" },
  { "compute_uv", "bool", true, "false: singular values alone" })

--- Singular value decomposition x = u diag(s) vh: u with the left vectors as columns, s falling, vh
--- with the right vectors as
--- rows. With `compute_uv = false` s alone. Differentiable; the vectors with `full_matrices =
--- false`. Keras: ops.svd.
--- @usage local u, s, vh = tide.ops.svd(tide.tensor { { 3, 0 }, { 0, 4 } })   -- s: 4 3
function linalg.svd(...)
  local o = svd_args:call(...)
  local u, s, vh = ops.svd_(matrices("svd", o.x), o.compute_uv and o.full_matrices)
  if o.compute_uv then
    return u, s, vh
  end
  return s
end

-- Singular values of x.
local function values(x)
  local _, s = ops.svd_(x, false)
  return s
end
linalg._values = values

local logdet_args = matrix_args "logdet"

--- Logarithm of the determinant of positive definite matrices. Keras: ops.logdet.
--- @usage local y = tide.ops.logdet(tide.tensor { { 4, 0 }, { 0, 1 } })   -- log 4
function linalg.logdet(...)
  local l = ops.cholesky(matrices("logdet", logdet_args:call(...).x, true))
  return 2 * ops.sum(ops.log(ops.diagonal(l, 0, -2, -1)), -1)
end

local cholesky_inverse_args = matrix_args("cholesky_inverse", { "upper", "bool", false,
  "x is U, not L" })

--- The inverse of L L' (of U' U with `upper`) from its Cholesky factor. Keras:
--- ops.cholesky_inverse.
--- @usage local y = tide.ops.cholesky_inverse(tide.tensor { { 2 } })   -- {{0.25}}
function linalg.cholesky_inverse(...)
  local o = cholesky_inverse_args:call(...)
  local x = matrices("cholesky_inverse", o.x, true)
  local eye = ops.broadcast_to(ops.diag(ops.fill_({ x.shape[-1] }, 1, { dtype = x.dtype })),
    common.shape_of(x))
  local half = ops.solve_triangular(o.upper and turned(x) or x, eye, { lower = true })
  return ops.matmul(turned(half), half)
end

-- The pseudo-inverse in three parts, V, 1 / s as a column and U': singular values up to rcond times
-- the largest count as 0.
local function pseudo_inverse(x, rcond)
  local u, s, vh = ops.svd_(x, false)
  local kept = ops.greater(s, ops.max(s, -1, { keepdims = true }) * rcond)
  local inverse = ops.where(kept, 1 / ops.where(kept, s, 1), 0)
  return turned(vh), ops.expand_dims(inverse, -1), turned(u)
end

local pinv_args = matrix_args("pinv", { "rcond", "number", nil,
  "share of the largest singular value that counts as 0", min = 0 })

--- The Moore-Penrose inverse. `rcond`: by default 10 max(m, n) roundings of the dtype, as JAX.
--- Keras: ops.pinv.
--- @usage local y = tide.ops.pinv(tide.tensor { { 2 }, { 0 } })   -- {{0.5, 0}}
function linalg.pinv(...)
  local o = pinv_args:call(...)
  local x = matrices("pinv", o.x)
  if x.size == 0 then
    return turned(x)
  end
  local v, s, ut = pseudo_inverse(x,
    o.rcond or 10 * math.max(x.shape[-1], x.shape[-2]) * epsilon(x))
  return ops.matmul(v, s * ut)
end

local lstsq_args = check.args("lstsq", {
  { "a", "tensor", required, "(..., m, n)" },
  { "b", "tensor", required, "(..., m) or (..., m, k)" },
  { "rcond", "number", nil, "share of the largest singular value that counts as 0", min = 0 },
})

--- The x with the least |a x - b|, of several the shortest. `rcond`: by default max(m, n)
--- roundings. Keras: ops.lstsq.
--- @usage local x = tide.ops.lstsq(tide.tensor { { 1 }, { 1 } }, tide.tensor { 1, 3 })   -- 2
function linalg.lstsq(...)
  local o = lstsq_args:call(...)
  local a, b = matrices("lstsq", o.a), float_of(o.b)
  local vector = b.ndim == a.ndim - 1
  if not (vector or b.ndim == a.ndim) or b.shape[vector and -1 or -2] ~= a.shape[-2] then
    errors.raise("lstsq",
      "b does not fit a (expected [..., m] or [..., m, k] for a of [..., m, n], got a %s and b %s)",
      tostring(a.shape), tostring(b.shape))
  elseif a.size == 0 then
    errors.raise("lstsq", "needs a with at least one row and column (got %s)", tostring(a.shape))
  end
  local v, s, ut = pseudo_inverse(a,
    o.rcond or math.max(a.shape[-1], a.shape[-2]) * epsilon(a))
  local y = ops.matmul(v, s * ops.matmul(ut, vector and ops.expand_dims(b, -1) or b))
  return vector and ops.squeeze(y, -1) or y
end

local rank_args = matrix_args("matrix_rank", { "tol", "number", nil,
  "singular values up to it count as 0", min = 0 })

--- How many singular values lie above `tol`, by default max(m, n) roundings of the largest. Keras:
--- ops.matrix_rank.
--- @usage local r = tide.ops.matrix_rank(tide.tensor { { 1, 2 }, { 2, 4 } })   -- 1
function linalg.matrix_rank(...)
  local o = rank_args:call(...)
  local x = matrices("matrix_rank", o.x)
  local s = values(x)
  if s.shape[-1] == 0 then
    return ops.count_nonzero(s, -1)
  end
  local tol = o.tol or ops.max(s, -1, { keepdims = true }) * (math.max(x.shape[-1],
    x.shape[-2]) * epsilon(x))
  return ops.count_nonzero(ops.greater(s, tol), -1)
end

local power_args = matrix_args("matrix_power", { "n", "int", required,
  "how often; negative: of the inverse" })

--- Square matrices multiplied by themselves n times. NumPy: linalg.matrix_power.
--- @usage local y = tide.ops.matrix_power(tide.tensor { { 2 } }, 3)   -- {{8}}
function linalg.matrix_power(...)
  local o = power_args:call(...)
  local x = matrices("matrix_power", o.x, true)
  if o.n == math.mininteger then
    errors.raise("matrix_power", "n is too large (got %d)", o.n)
  end
  local n, y = math.abs(o.n), nil
  x = o.n < 0 and ops.inv(x) or x
  while n > 0 do -- by squares
    if n % 2 == 1 then
      y = y and ops.matmul(y, x) or x
    end
    n = n // 2
    x = n > 0 and ops.matmul(x, x) or x
  end
  if not y then
    local eye = ops.diag(ops.fill_({ x.shape[-1] }, 1, { dtype = x.dtype }))
    y = ops.copy(ops.broadcast_to(eye, common.shape_of(x)))
  end
  return y
end

local cdist_args = check.args("cdist", { { "x", "tensor", required, "(..., m, d)" }, { "y",
  "tensor", required, "(..., n, d)" } })

--- Euclidean distances of every row of x to every row of y, (..., m, n). The gradient at distance 0
--- is 0. Keras: ops.cdist.
--- @usage local d = tide.ops.cdist(tide.tensor { { 0, 0 } }, tide.tensor { { 3, 4 } })   -- {{5}}
function linalg.cdist(...)
  local o = cdist_args:call(...)
  local x, y = matrices("cdist", o.x), matrices("cdist", o.y)
  if x.shape[-1] ~= y.shape[-1] then
    errors.raise("cdist", "rows of x and y differ in length (got %s and %s)", tostring(x.shape),
      tostring(y.shape))
  end
  return ops.vector_norm_(ops.expand_dims(x, -2) - ops.expand_dims(y, -3), { axis = -1 })
end

return linalg

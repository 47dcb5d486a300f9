--- Order statistics, sums that pass over NaN, differences and windows, written with the core's ops. Names and arguments are
--- keras.ops'.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local statistics = {}

local function tensor(x)
  return core.is_tensor(x) and x or core.tensor(x)
end

local function float_of(x)
  x = tensor(x)
  return x.dtype:find "float" and x or x:cast "float32"
end

-- The axes of `axis` (nil: all) last and joined to one; also the shape that keepdims gives.
local function lines(where, x, axis)
  local gone, kept, order, n = {}, {}, {}, 0
  local axes = axis == nil and {} or type(axis) == "table" and axis or { axis }
  for _, a in ipairs(axes) do
    local i = a < 0 and a + x.ndim + 1 or a
    if i < 1 or i > x.ndim then
      errors.raise(where, "no axis %d in a tensor of %d axes (expected 1..%d or -1..%d)", a, x.ndim, x.ndim, -x.ndim)
    end
    gone[i] = true
  end
  local shape, ones = {}, {}
  for i = 1, x.ndim do
    if axis ~= nil and not gone[i] then
      kept[#kept + 1], order[#order + 1] = x.shape[i], i
    end
    ones[i] = axis ~= nil and not gone[i] and x.shape[i] or 1
  end
  for i = 1, x.ndim do
    if axis == nil or gone[i] then
      order[#order + 1] = i
      n = n == 0 and x.shape[i] or n * x.shape[i]
    end
  end
  for i, d in ipairs(kept) do
    shape[i] = d
  end
  shape[#shape + 1] = x.ndim == 0 and 1 or n
  return x:transpose(order):reshape(shape), kept, ones
end

local quantile_args = check.args("quantile", {
  { "x", "tensor", check.required },
  { "q", "any", check.required, "one probability, or a list or tensor of them" },
  { "axis", "axes" },
  { "method", "enum", "linear", of = "linear|lower|higher|midpoint|nearest" },
  { "keepdims", "bool", false },
})

-- Percents as shares.
local function hundredths(where, q)
  q = core.is_tensor(q) and q:tolist() or q
  if type(q) == "number" then
    return q / 100
  elseif type(q) ~= "table" then
    errors.raise(where, "q must be a number or a list of numbers (got %s)", check.show(q))
  end
  local out = {}
  for i, v in ipairs(q) do
    if type(v) ~= "number" then
      errors.raise(where, "q must be a number or a list of numbers (got %s)", check.show(v))
    end
    out[i] = v / 100
  end
  return out
end

-- One quantile of sorted lines (..., n), with the last axis gone.
local function quantile_of(sorted, q, method)
  local n = sorted.shape[-1]
  local at = q * (n - 1)
  local low, high = math.floor(at), math.ceil(at)
  if method == "nearest" then
    local near = math.floor(at + 0.5)
    if at + 0.5 == near and near % 2 == 1 then
      near = near - 1 -- halves to even, as NumPy
    end
    low, high = near, near
  elseif method == "lower" then
    high = low
  elseif method == "higher" then
    low = high
  end
  local function item(i)
    return ops.take(sorted, core.tensor(i, { dtype = "int64" }), { axis = -1, base = 0 })
  end
  local a = item(low)
  if low == high then
    return a
  end
  local b = item(high)
  local t = method == "midpoint" and 0.5 or at - low
  return a + (b - a) * t
end

-- NaN sorts last: a line that holds one has NaN as its largest element and as every quantile.
local function with_nan(y, sorted)
  local top = ops.take(sorted, core.tensor(sorted.shape[-1], { dtype = "int64" }), { axis = -1 })
  return ops.where(ops.isnan(top), 0 / 0, y)
end

local function quantiles(where, o)
  local x, kept, ones = lines(where, float_of(o.x), o.axis)
  if x.shape[-1] == 0 then
    errors.raise(where, "no element to choose from in %s", tostring(o.x.shape))
  end
  local sorted = ops.sort(x)
  local list = type(o.q) == "table" and o.q or core.is_tensor(o.q) and o.q.ndim > 0 and o.q:tolist() or nil
  local shape = o.keepdims and ones or kept
  local out = {}
  for i, q in ipairs(list or { core.is_tensor(o.q) and o.q:item() or o.q }) do
    if type(q) ~= "number" or not (q >= 0 and q <= 1) then
      errors.raise(where, "q must lie in [0, 1] (got %s)", tostring(q))
    end
    out[i] = with_nan(quantile_of(sorted, q, o.method), sorted):reshape(shape)
  end
  return list and ops.stack(out, { axis = 1 }) or out[1]
end

--- The value below which a fraction q of the elements over axes lies; several for a list of fractions, as a new first axis.
--- `method`: between two elements "linear", "lower", "higher", "midpoint" or "nearest". Keras: ops.quantile.
--- @usage local q = tide.ops.quantile(tide.tensor { 1, 2, 3, 4 }, 0.5)   -- 2.5
function statistics.quantile(...)
  return quantiles("quantile", quantile_args:call(...))
end

--- As quantile, q in percent. Keras: ops.percentile.
function statistics.percentile(...)
  local o = quantile_args:call(...)
  o.q = hundredths("percentile", o.q)
  return quantiles("percentile", o)
end

local median_args = check.args("median", { { "x", "tensor", check.required }, { "axis", "axes" }, { "keepdims", "bool", false } })

--- The middle element over axes, the mean of the middle two of an even number. Keras: ops.median.
--- @usage local m = tide.ops.median(tide.tensor { 3, 1, 2 })   -- 2
function statistics.median(...)
  local o = median_args:call(...)
  o.q, o.method = 0.5, "linear"
  return quantiles("median", o)
end

-- -- NaN counts for nothing -------------------------------------------------------------------------------------------

local over_args = check.args("nansum", { { "x", "tensor", check.required }, { "axis", "axes" }, { "keepdims", "bool", false } })

local function without_nan(x, value)
  return ops.where(ops.isnan(x), value, x)
end
local function reduce(f, x, o)
  return f(x, { axis = o.axis, keepdims = o.keepdims })
end
local function present(x, o)
  return ops.sum(ops.logical_not(ops.isnan(x)):cast(x.dtype), { axis = o.axis, keepdims = o.keepdims })
end

--- Sum over axes, NaN as 0. Keras: ops.nansum.
function statistics.nansum(...)
  local o = over_args:call(...)
  return reduce(ops.sum, without_nan(o.x, 0), o)
end

--- Product over axes, NaN as 1. Keras: ops.nanprod.
function statistics.nanprod(...)
  local o = over_args:call(...)
  return reduce(ops.prod, without_nan(o.x, 1), o)
end

for name, limit in pairs { max = -math.huge, min = math.huge } do
  statistics["nan" .. name] = function(...)
    local o = over_args:call(...)
    local y = reduce(ops[name], without_nan(o.x, limit), o)
    return ops.where(ops.equal(present(o.x, o), 0), 0 / 0, y)
  end
  statistics["nanarg" .. name] = function(...)
    local o = over_args:call(...)
    return reduce(ops["arg" .. name], without_nan(o.x, limit), o)
  end
end

--- Mean over axes of the elements that are numbers. Keras: ops.nanmean.
function statistics.nanmean(...)
  local o = over_args:call(...)
  return reduce(ops.sum, without_nan(o.x, 0), o) / present(o.x, o)
end

--- Variance over axes of the elements that are numbers. Keras: ops.nanvar.
function statistics.nanvar(...)
  local o = over_args:call(...)
  local kept = { axis = o.axis, keepdims = true }
  local mean = reduce(ops.sum, without_nan(o.x, 0), kept) / present(o.x, kept)
  return reduce(ops.sum, without_nan(ops.square(o.x - mean), 0), o) / present(o.x, o)
end

--- Standard deviation over axes of the elements that are numbers. Keras: ops.nanstd.
function statistics.nanstd(...)
  return ops.sqrt(statistics.nanvar(...))
end

for name, value in pairs { cumsum = 0, cumprod = 1 } do
  statistics["nan" .. name] = function(x, ...)
    return ops[name](without_nan(tensor(x), value), ...)
  end
end

-- Quantiles of lines with different numbers of numbers: one line after the other.
local function nan_quantiles(where, o)
  local x, kept, ones = lines(where, float_of(o.x), o.axis)
  local rows, out = x:reshape { -1, x.shape[-1] }, {}
  for i = 1, rows.shape[1] do
    local row = ops.squeeze(ops.slice(rows, { i, 1 }, { 1, -1 }), 1)
    row = ops.boolean_mask(row, ops.logical_not(ops.isnan(row)))
    if row.size == 0 then
      out[i] = core.tensor(0 / 0, { dtype = x.dtype })
    else
      out[i] = quantile_of(ops.sort(row), o.q, o.method)
    end
  end
  return ops.stack(out):reshape(o.keepdims and ones or kept)
end

--- Quantile over axes of the elements that are numbers. Keras: ops.nanquantile.
function statistics.nanquantile(...)
  return nan_quantiles("nanquantile", quantile_args:call(...))
end

--- Percentile over axes of the elements that are numbers. Keras: ops.nanpercentile.
function statistics.nanpercentile(...)
  local o = quantile_args:call(...)
  o.q = hundredths("nanpercentile", o.q)
  return nan_quantiles("nanpercentile", o)
end

--- Median over axes of the elements that are numbers. Keras: ops.nanmedian.
function statistics.nanmedian(...)
  local o = median_args:call(...)
  o.q, o.method = 0.5, "linear"
  return nan_quantiles("nanmedian", o)
end

-- -- sums and differences ---------------------------------------------------------------------------------------------

local average_args = check.args("average", { { "x", "tensor", check.required }, { "axis", "axes" }, { "weights", "tensor" } })

--- Mean over axes, weighted. Weights with one axis go along `axis`. Keras: ops.average.
--- @usage local a = tide.ops.average(tide.tensor { 1, 3 }, { weights = { 3, 1 } })   -- 1.5
function statistics.average(...)
  local o = average_args:call(...)
  if not o.weights then
    return ops.mean(o.x, { axis = o.axis, keepdims = false })
  end
  local w = float_of(o.weights)
  if w.ndim == 1 and o.x.ndim > 1 then
    if math.type(o.axis) ~= "integer" then
      errors.raise("average", "weights of one axis need an axis")
    end
    local shape, a = {}, o.axis < 0 and o.axis + o.x.ndim + 1 or o.axis
    for i = 1, o.x.ndim do
      shape[i] = i == a and -1 or 1
    end
    w = w:reshape(shape)
  end
  w = ops.broadcast_to(w, o.x.shape)
  return reduce(ops.sum, o.x * w, { axis = o.axis, keepdims = false }) / reduce(ops.sum, w, { axis = o.axis, keepdims = false })
end

--- Largest minus smallest element over axes. Keras: ops.ptp.
function statistics.ptp(...)
  local o = over_args:call(...)
  return reduce(ops.max, o.x, o) - reduce(ops.min, o.x, o)
end

local diff_args = check.args("diff", { { "a", "tensor", check.required }, { "n", "int", 1, min = 0 }, { "axis", "axis", -1 } })

--- Differences of neighbours along an axis, n times over. Keras: ops.diff.
--- @usage local d = tide.ops.diff(tide.tensor { 1, 4, 9 })   -- 3 5
function statistics.diff(...)
  local o = diff_args:call(...)
  local x = o.a
  if x.ndim < math.abs(o.axis) then
    errors.raise("diff", "no axis %d in a tensor of %d axes", o.axis, x.ndim)
  end
  local axis = o.axis < 0 and o.axis + x.ndim + 1 or o.axis
  for _ = 1, o.n do
    local start, size = {}, {}
    for i = 1, x.ndim do
      start[i], size[i] = 1, i == axis and math.max(0, x.shape[i] - 1) or x.shape[i]
    end
    local head = ops.slice(x, start, size)
    start[axis] = math.min(2, x.shape[axis] + 1)
    x = ops.subtract(ops.slice(x, start, size), head)
  end
  return x
end

local trapezoid_args = check.args("trapezoid", {
  { "y", "tensor", check.required },
  { "x", "tensor" },
  { "dx", "number", 1 },
  { "axis", "axis", -1 },
})

--- Area under y by the trapezoid rule, at places x or at steps dx. Keras: ops.trapezoid.
function statistics.trapezoid(...)
  local o = trapezoid_args:call(...)
  local n = o.y.shape[o.axis]
  local y = ops.moveaxis(o.y, o.axis, -1)
  local start, size = {}, {}
  for i = 1, y.ndim do
    start[i], size[i] = 1, i == y.ndim and n - 1 or y.shape[i]
  end
  local left = ops.slice(y, start, size)
  start[y.ndim] = 2
  local right = ops.slice(y, start, size)
  local step = o.dx
  if o.x then
    step = o.x.ndim == 1 and statistics.diff(o.x) or statistics.diff(ops.moveaxis(o.x, o.axis, -1))
  end
  return ops.sum((left + right) * step * 0.5, -1)
end

local vander_args = check.args("vander", { { "x", "tensor", check.required }, { "N", "int" }, { "increasing", "bool", false } })

--- Powers of x as columns, falling. Keras: ops.vander.
function statistics.vander(...)
  local o = vander_args:call(...)
  local n = o.N or o.x.shape[1]
  if o.x.ndim ~= 1 then
    errors.raise("vander", "x must have one axis (got %s)", tostring(o.x.shape))
  end
  local powers = ops.arange_(n, o.increasing and 0 or n - 1, o.increasing and 1 or -1, { dtype = o.x.dtype })
  return ops.power(o.x:expand_dims(2), powers)
end

--- Cross product of vectors of three numbers along the last axis. Keras: ops.cross.
--- @usage local z = tide.ops.cross(tide.tensor { 1, 0, 0 }, tide.tensor { 0, 1, 0 })   -- 0 0 1
function statistics.cross(x1, x2)
  x1, x2 = tensor(x1), tensor(x2)
  if x1.shape[-1] ~= 3 or x2.shape[-1] ~= 3 then
    errors.raise("cross", "the last axes must have length 3 (got %s and %s)", tostring(x1.shape), tostring(x2.shape))
  end
  local function turned(x, by)
    return ops.roll(x, { by }, { axis = -1 })
  end
  return turned(x1, -1) * turned(x2, -2) - turned(x1, -2) * turned(x2, -1)
end

--- Kronecker product. Keras: ops.kron.
function statistics.kron(x1, x2)
  x1, x2 = tensor(x1), tensor(x2)
  local n = math.max(x1.ndim, x2.ndim)
  local a, b, out = {}, {}, {}
  for i = 1, n do
    local i1, i2 = i - n + x1.ndim, i - n + x2.ndim
    local p, q = i1 > 0 and x1.shape[i1] or 1, i2 > 0 and x2.shape[i2] or 1
    a[2 * i - 1], a[2 * i], b[2 * i - 1], b[2 * i], out[i] = p, 1, 1, q, p * q
  end
  return (x1:reshape(a) * x2:reshape(b)):reshape(out)
end

local histogram_args = check.args("histogram", {
  { "x", "tensor", check.required },
  { "bins", "int", 10, min = 1 },
  { "range", "any" },
})

--- How many elements fall into each of so many equal bins, and the edges of the bins. Keras: ops.histogram.
function statistics.histogram(...)
  local o = histogram_args:call(...)
  local x = ops.ravel(float_of(o.x))
  local low, high = 0.0, 1.0
  if o.range then
    if type(o.range) ~= "table" or type(o.range[1]) ~= "number" or type(o.range[2]) ~= "number" then
      errors.raise("histogram", "range must be a list of two numbers (got %s)", check.show(o.range))
    end
    low, high = o.range[1], o.range[2]
  elseif x.size > 0 then
    low, high = ops.min(x):item(), ops.max(x):item()
  end
  if low == high then
    low, high = low - 0.5, high + 0.5
  end
  local edges = ops.arange_(o.bins + 1, low, (high - low) / o.bins, { dtype = x.dtype })
  local inside = ops.logical_and(ops.greater_equal(x, low), ops.less_equal(x, high))
  local bin = ops.minimum(ops.digitize(ops.boolean_mask(x, inside), edges) - 1, o.bins)
  return ops.bincount(ops.maximum(bin, 1), nil, o.bins), edges
end

-- -- windows ----------------------------------------------------------------------------------------------------------

local function window(n, f)
  if not math.tointeger(n) or n < 0 then
    errors.raise("window", "x, its length, must be a whole number from 0 (got %s)", check.show(n))
  end
  local out = {}
  for i = 0, n - 1 do
    out[i + 1] = n == 1 and 1 or f(i, n - 1)
  end
  return core.tensor(out, { dtype = "float32" })
end

--- The triangular window of n numbers. Keras: ops.bartlett.
function statistics.bartlett(n)
  return window(n, function(i, m)
    return 1 - math.abs(2 * i / m - 1)
  end)
end

--- The Blackman window of n numbers. Keras: ops.blackman.
function statistics.blackman(n)
  return window(n, function(i, m)
    return 0.42 - 0.5 * math.cos(2 * math.pi * i / m) + 0.08 * math.cos(4 * math.pi * i / m)
  end)
end

--- The Hamming window of n numbers. Keras: ops.hamming.
function statistics.hamming(n)
  return window(n, function(i, m)
    return 0.54 - 0.46 * math.cos(2 * math.pi * i / m)
  end)
end

--- The Hann window of n numbers. Keras: ops.hanning.
function statistics.hanning(n)
  return window(n, function(i, m)
    return 0.5 - 0.5 * math.cos(2 * math.pi * i / m)
  end)
end

-- The modified Bessel function of order 0 by its series: terms (x^2 / 4)^k / (k!)^2 until they no longer count.
local function bessel(x)
  local q, term, sum, k = x * x / 4, 1, 1, 0
  repeat
    k = k + 1
    term = term * q / (k * k)
    sum = sum + term
  until term ~= term or term <= sum * 1e-17
  return sum
end

--- The Kaiser window of n numbers. Keras: ops.kaiser.
function statistics.kaiser(n, beta)
  if type(beta) ~= "number" then
    errors.raise("kaiser", "beta must be a number (got %s)", check.show(beta))
  end
  local whole = bessel(beta)
  return window(n, function(i, m)
    local r = 2 * i / m - 1
    return bessel(beta * math.sqrt(1 - r * r)) / whole
  end)
end

return statistics

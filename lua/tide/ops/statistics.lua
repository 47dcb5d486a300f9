--- Order statistics, sums that pass over NaN, differences, written with the core's ops. Names and
--- arguments are keras.ops'.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local statistics = {}

local tensor, float_of, is_float, axis_of = common.tensor, common.float_of, common.is_float,
  common.axis_of
local required = check.required

-- The axes of `axis` (nil: all) last and joined to one; also the shape without them, and the shape
-- that keepdims gives.
local function lines(where, x, axis)
  local gone = common.axes_of(where, axis, x.ndim)
  local kept, order, ones, n = {}, {}, {}, 1
  for i = 1, x.ndim do
    if not gone[i] then
      kept[#kept + 1], order[#order + 1] = x.shape[i], i
    end
    ones[i] = gone[i] and 1 or x.shape[i]
  end
  for i = 1, x.ndim do
    if gone[i] then
      order[#order + 1] = i
      n = n * x.shape[i]
    end
  end
  local shape = table.move(kept, 1, #kept, 1, {})
  shape[#shape + 1] = n
  return x:transpose(order):reshape(shape), kept, ones
end

local function quantile_arguments(name)
  return check.args(name, {
    { "x", "tensor", required },
    { "q", "any", required, "one probability (or percentage), or a list or tensor of them" },
    { "axis", "axes" },
    { "method", "enum", "linear", of = "linear|lower|higher|midpoint|nearest" },
    { "keepdims", "bool", false },
  })
end
local quantile_args, percentile_args = quantile_arguments "quantile",
  quantile_arguments "percentile"
local nanquantile_args, nanpercentile_args = quantile_arguments "nanquantile",
  quantile_arguments "nanpercentile"

-- The probabilities of an argument q, each from 0 to `most` (1, or 100 for percents) and divided by
-- it, and whether there are several.
local function shares(where, q, most)
  local given = core.is_tensor(q) and q:tolist() or q
  local list = type(given) == "number" and { given } or given
  if not check.is_list(list) or #list == 0 then
    errors.raise(where, "q must be a number or a list of numbers from 0 to %d (got %s)", most,
      check.show(q))
  end
  local out = {}
  for i, v in ipairs(list) do
    if type(v) ~= "number" or not (v >= 0 and v <= most) then
      errors.raise(where, "q must lie in [0, %d] (got %s)", most, check.show(v))
    end
    out[i] = v / most
  end
  return out, type(given) ~= "number"
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
  local stays = ops.logical_and(ops.isinf(a), ops.not_equal(b, -a)) -- where a + (b - a) t is NaN
  return ops.where(stays, a, a + (b - a) * t)
end

-- NaN sorts last: a line that holds one has NaN as its largest element and as every quantile.
local function with_nan(y, sorted)
  local top = ops.take(sorted, core.tensor(sorted.shape[-1], { dtype = "int64" }), { axis = -1 })
  return ops.where(ops.isnan(top), 0 / 0, y)
end

local function quantiles(where, o, most)
  local qs, several = shares(where, o.q, most)
  local x, kept, ones = lines(where, float_of(o.x), o.axis)
  if x.shape[-1] == 0 then
    errors.raise(where, "no element to choose from in %s", tostring(o.x.shape))
  end
  local sorted = ops.sort(x)
  local shape = o.keepdims and ones or kept
  local out = {}
  for i, q in ipairs(qs) do
    out[i] = with_nan(quantile_of(sorted, q, o.method), sorted):reshape(shape)
  end
  return several and ops.stack(out, { axis = 1 }) or out[1]
end

--- The value below which a fraction q of the elements over axes lies; several for a list of
--- fractions, as a new first axis. `method`: between two elements "linear", "lower", "higher",
--- "midpoint" or "nearest". Keras: ops.quantile.
--- @usage local q = tide.ops.quantile(tide.tensor { 1, 2, 3, 4 }, 0.5)   -- 2.5
function statistics.quantile(...)
  return quantiles("quantile", quantile_args:call(...), 1)
end

--- As quantile, q in percent. Keras: ops.percentile.
function statistics.percentile(...)
  return quantiles("percentile", percentile_args:call(...), 100)
end

local function over(name, ...)
  return check.args(name, { { "x", "tensor", required }, { "axis", "axes" },
    { "keepdims", "bool", false }, ... })
end
local median_args, nanmedian_args = over "median", over "nanmedian"

--- The middle element over axes, the mean of the middle two of an even number. Keras: ops.median.
--- @usage local m = tide.ops.median(tide.tensor { 3, 1, 2 })   -- 2
function statistics.median(...)
  local o = median_args:call(...)
  o.q, o.method = 0.5, "linear"
  return quantiles("median", o, 1)
end

-- -- NaN counts for nothing ------------------------------------------------------------------

local function without_nan(x, value)
  return ops.where(ops.isnan(x), value, x)
end
local function reduce(f, x, o)
  return f(x, { axis = o.axis, keepdims = o.keepdims })
end
-- How many elements over the axes are numbers.
local function present(x, o)
  return reduce(ops.sum, ops.cast(ops.logical_not(ops.isnan(x)), x.dtype), o)
end

for name, value in pairs { sum = 0, prod = 1 } do
  local args = over("nan" .. name, { "dtype", "dtype" })
  --- Sum or product over axes, NaN as 0 or 1. Keras: ops.nansum, nanprod.
  statistics["nan" .. name] = function(...)
    local o = args:call(...)
    local x = o.dtype and o.x:cast(o.dtype) or o.x
    return reduce(ops[name], is_float(x) and without_nan(x, value) or x, o)
  end
end

for name, limit in pairs { max = -math.huge, min = math.huge } do
  local args = over("nan" .. name, { "initial", "number" })
  local arg_args = check.args("nanarg" .. name, { { "x", "tensor", required }, { "axis", "axis" },
    { "keepdims", "bool", false } })
  --- Largest or smallest of the elements over axes that are numbers; NaN where there is none.
  --- Keras: ops.nanmax, nanmin.
  statistics["nan" .. name] = function(...)
    local o = args:call(...)
    local all = { axis = o.axis, keepdims = o.keepdims, initial = o.initial }
    if not is_float(o.x) then
      return ops[name](o.x, all)
    end
    local y = ops[name](without_nan(o.x, limit), all)
    return o.initial and y or ops.where(ops.equal(present(o.x, o), 0), 0 / 0, y)
  end
  --- Position of the largest or smallest of the elements that are numbers; 0, none, where there is
  --- none. Keras: ops.nanargmax, nanargmin.
  statistics["nanarg" .. name] = function(...)
    local o = arg_args:call(...)
    if not is_float(o.x) then
      return reduce(ops["arg" .. name], o.x, o)
    end
    local at = reduce(ops["arg" .. name], without_nan(o.x, limit), o)
    return ops.where(ops.equal(present(o.x, o), 0), core.tensor(0, { dtype = "int64" }),
      tensor(at, "int64"))
  end
end

local nanmean_args, nanvar_args, nanstd_args = over "nanmean", over "nanvar", over "nanstd"

--- Mean over axes of the elements that are numbers. Keras: ops.nanmean.
function statistics.nanmean(...)
  local o = nanmean_args:call(...)
  local x = float_of(o.x)
  return reduce(ops.sum, without_nan(x, 0), o) / present(x, o)
end

-- Distances from the mean, 0 for NaN: before the square, whose derivative at NaN would be NaN.
local function deviations(x, o)
  local kept = { axis = o.axis, keepdims = true }
  local mean = reduce(ops.sum, without_nan(x, 0), kept) / present(x, kept)
  return without_nan(x - mean, 0)
end

--- Variance over axes of the elements that are numbers. Keras: ops.nanvar.
function statistics.nanvar(...)
  local o = nanvar_args:call(...)
  local x = float_of(o.x)
  return reduce(ops.sum, ops.square(deviations(x, o)), o) / present(x, o)
end

--- Standard deviation over axes of the elements that are numbers. Keras: ops.nanstd.
function statistics.nanstd(...)
  local o = nanstd_args:call(...)
  local x = float_of(o.x)
  return reduce(ops.vector_norm_, deviations(x, o), o) / ops.sqrt(present(x, o))
end

for name, value in pairs { cumsum = 0, cumprod = 1 } do
  local args = check.args(
    "nan" .. name, { { "x", "tensor", required }, { "axis", "axis" }, { "dtype", "dtype" } })
  --- Running sums or products along an axis, NaN as 0 or 1. Keras: ops.nancumsum, nancumprod.
  statistics["nan" .. name] = function(...)
    local o = args:call(...)
    local x = o.dtype and o.x:cast(o.dtype) or o.x
    return ops[name](is_float(x) and without_nan(x, value) or x, { axis = o.axis })
  end
end

-- Quantiles of lines with different numbers of numbers: one line after the other.
local function nan_quantiles(where, o, most)
  local qs, several = shares(where, o.q, most)
  local x, kept, ones = lines(where, float_of(o.x), o.axis)
  local rows, out = x:reshape { -1, math.max(1, x.shape[-1]) }, {}
  if x.shape[-1] == 0 then
    errors.raise(where, "no element to choose from in %s", tostring(o.x.shape))
  end
  for k = 1, #qs do
    out[k] = {}
  end
  for i = 1, rows.shape[1] do
    local row = ops.squeeze(common.part(rows, 1, i, i), 1)
    row = ops.boolean_mask(row, ops.logical_not(ops.isnan(row)))
    local sorted = row.size > 0 and ops.sort(row)
    for k, q in ipairs(qs) do
      out[k][i] = sorted and quantile_of(sorted, q, o.method)
        or core.tensor(0 / 0, { dtype = x.dtype })
    end
  end
  for k = 1, #qs do
    local y = #out[k] > 0 and ops.stack(out[k]) or core.zeros({ 0 }, { dtype = x.dtype })
    out[k] = y:reshape(o.keepdims and ones or kept)
  end
  return several and ops.stack(out, { axis = 1 }) or out[1]
end

--- Quantile over axes of the elements that are numbers. Keras: ops.nanquantile.
function statistics.nanquantile(...)
  return nan_quantiles("nanquantile", nanquantile_args:call(...), 1)
end

--- Percentile over axes of the elements that are numbers. Keras: ops.nanpercentile.
function statistics.nanpercentile(...)
  return nan_quantiles("nanpercentile", nanpercentile_args:call(...), 100)
end

--- Median over axes of the elements that are numbers. Keras: ops.nanmedian.
function statistics.nanmedian(...)
  local o = nanmedian_args:call(...)
  o.q, o.method = 0.5, "linear"
  return nan_quantiles("nanmedian", o, 1)
end

-- -- sums and differences --------------------------------------------------------------------

local average_args = check.args(
  "average", { { "x", "tensor", required }, { "axis", "axes" }, { "weights", "tensor" } })

--- Mean over axes, weighted. Weights with one axis go along `axis`. Keras: ops.average.
--- @usage local a = tide.ops.average(tide.tensor { 1, 3 }, { weights = { 3, 1 } })   -- 1.5
function statistics.average(...)
  local o = average_args:call(...)
  if not o.weights then
    return ops.mean(o.x, { axis = o.axis, keepdims = false })
  end
  local x, w = float_of(o.x), o.weights
  w = is_float(w) and w or w:cast(x.dtype)
  if w.ndim == 1 and x.ndim > 1 then
    if math.type(o.axis) ~= "integer" then
      errors.raise("average", "weights of one axis need one axis (got %s)", check.show(o.axis))
    end
    local shape, a = {}, axis_of("average", o.axis, x.ndim)
    for i = 1, x.ndim do
      shape[i] = i == a and -1 or 1
    end
    w = w:reshape(shape)
  end
  w = ops.broadcast_to(w, common.shape_of(x))
  local all = { axis = o.axis, keepdims = false }
  return reduce(ops.sum, x * w, all) / reduce(ops.sum, w, all)
end

local ptp_args = over "ptp"

--- Largest minus smallest element over axes. Keras: ops.ptp.
function statistics.ptp(...)
  local o = ptp_args:call(...)
  return ops.subtract(tensor(reduce(ops.max, o.x, o), o.x.dtype),
    tensor(reduce(ops.min, o.x, o), o.x.dtype))
end

local diff_args = check.args(
  "diff", { { "a", "tensor", required }, { "n", "int", 1, min = 0 }, { "axis", "axis", -1 } })

local function differences(where, x, n, along)
  local axis = axis_of(where, along, x.ndim)
  for _ = 1, math.min(n, x.shape[axis]) do -- nothing is left behind so many
    local length = x.shape[axis]
    local head, tail = common.part(x, axis, 1, math.max(0, length - 1)),
      common.part(x, axis, math.min(2, length + 1), length)
    x = x.dtype == "bool" and ops.logical_xor(tail, head) or ops.subtract(tail, head)
  end
  return x
end

--- Differences of neighbours along an axis, n times over. Keras: ops.diff.
--- @usage local d = tide.ops.diff(tide.tensor { 1, 4, 9 })   -- 3 5
function statistics.diff(...)
  local o = diff_args:call(...)
  return differences("diff", o.a, o.n, o.axis)
end

local trapezoid_args = check.args("trapezoid", {
  { "y", "tensor", required },
  { "x", "tensor" },
  { "dx", "number", 1 },
  { "axis", "axis", -1 },
})

--- Area under y by the trapezoid rule, at places x or at steps dx. Keras: ops.trapezoid.
function statistics.trapezoid(...)
  local o = trapezoid_args:call(...)
  local y = float_of(o.y)
  y = ops.moveaxis(y, axis_of("trapezoid", o.axis, y.ndim), -1)
  local n = y.shape[-1]
  local left, right = common.part(y, y.ndim, 1, math.max(0, n - 1)),
    common.part(y, y.ndim, math.min(2, n + 1), n)
  local step = o.dx
  if o.x then
    local x = is_float(o.x) and o.x or o.x:cast(y.dtype)
    step = x.ndim == 1 and differences("trapezoid", x, 1, 1) or differences("trapezoid",
      ops.moveaxis(x, axis_of("trapezoid", o.axis, x.ndim), -1), 1, -1)
  end
  return ops.sum((left + right) * step * 0.5, -1)
end

local vander_args = check.args("vander", { { "x", "tensor", required }, { "N", "int", min = 0 },
  { "increasing", "bool", false } })

--- Powers of x as columns, falling. Keras: ops.vander.
function statistics.vander(...)
  local o = vander_args:call(...)
  local x = o.x.dtype == "bool" and tensor(o.x:cast "int32", "int32") or o.x
  common.needs_axes("vander", "x", x, 1, 1)
  local n = o.N or x.shape[1]
  local powers = ops.arange_(
    n, o.increasing and 0 or n - 1, o.increasing and 1 or -1, { dtype = x.dtype })
  return ops.power(x:expand_dims(2), powers)
end

local cross_args = check.args("cross", {
  { "x1", "tensor", required },
  { "x2", "tensor", required },
  { "axisa", "axis", -1, "axis of x1 that holds the vectors" },
  { "axisb", "axis", -1, "axis of x2 that holds the vectors" },
  { "axisc", "axis", -1, "axis of the result that will hold them" },
  { "axis", "axis", nil, "in place of the three" },
})

--- Cross product of vectors of three numbers along the last axis. Keras: ops.cross.
--- @usage local z = tide.ops.cross(tide.tensor { 1, 0, 0 }, tide.tensor { 0, 1, 0 })   -- 0 0 1
function statistics.cross(...)
  local o = cross_args:call(...)
  local a = ops.moveaxis(o.x1, axis_of("cross", o.axis or o.axisa, o.x1.ndim), -1)
  local b = ops.moveaxis(o.x2, axis_of("cross", o.axis or o.axisb, o.x2.ndim), -1)
  local p, q = a.shape[-1], b.shape[-1]
  if (p ~= 2 and p ~= 3) or (q ~= 2 and q ~= 3) then
    errors.raise("cross", "vectors must have 2 or 3 numbers (got %s and %s)", tostring(o.x1.shape),
      tostring(o.x2.shape))
  end
  local function item(x, i)
    if i > x.shape[-1] then
      return 0
    end
    return tensor(ops.squeeze(common.part(x, x.ndim, i, i), -1), x.dtype)
  end
  local function component(i, j)
    return tensor(ops.subtract(ops.multiply(item(a, i), item(b, j)),
      ops.multiply(item(a, j), item(b, i))), a.dtype)
  end
  if p == 2 and q == 2 then -- plane vectors: the component out of the plane
    return component(1, 2)
  end
  local y = ops.stack({ component(2, 3), component(3, 1), component(1, 2) }, -1)
  return ops.moveaxis(y, -1, axis_of("cross", o.axis or o.axisc, y.ndim))
end

local kron_args = check.args("kron", { { "x1", "tensor", required }, { "x2", "tensor", required } })

--- Kronecker product: every element of x1 times the whole of x2. Keras: ops.kron.
--- @usage local k = tide.ops.kron(tide.tensor { 1, 2 }, tide.tensor { 1, 10 })   -- 1 10 2 20
function statistics.kron(...)
  local o = kron_args:call(...)
  local x1, x2 = o.x1, o.x2
  local n = math.max(x1.ndim, x2.ndim)
  if n == 0 then
    return ops.multiply(x1, x2)
  elseif n > 4 then
    errors.raise("kron", "takes tensors of at most 4 axes (got %s and %s)", tostring(x1.shape),
      tostring(x2.shape))
  end
  local a, b, out = {}, {}, {}
  for i = 1, n do
    local i1, i2 = i - n + x1.ndim, i - n + x2.ndim
    local p, q = i1 > 0 and x1.shape[i1] or 1, i2 > 0 and x2.shape[i2] or 1
    a[2 * i - 1], a[2 * i], b[2 * i - 1], b[2 * i], out[i] = p, 1, 1, q, p * q
  end
  return ops.multiply(x1:reshape(a), x2:reshape(b)):reshape(out)
end

local histogram_args = check.args("histogram", {
  { "x", "tensor", required },
  { "bins", "int", 10, min = 1, max = 1 << 24 },
  { "range", "list" },
})

--- How many elements fall into each of so many equal bins, and the edges of the bins. Keras:
--- ops.histogram.
function statistics.histogram(...)
  local o = histogram_args:call(...)
  local x = ops.ravel(float_of(o.x))
  local low, high = 0.0, 1.0
  if o.range then
    low, high = o.range[1], o.range[2]
    local pair = check.is_list(o.range) and #o.range == 2
    local numbers = pair and type(low) == "number" and type(high) == "number"
    local ascends = numbers and low <= high -- neither is NaN
    if not ascends then
      errors.raise("histogram", "range must be a list of two rising numbers (got %s)",
        check.show(o.range))
    end
  elseif x.size > 0 then
    low, high = ops.min(x):item(), ops.max(x):item()
  end
  if low - low ~= 0 or high - high ~= 0 then
    errors.raise("histogram", "the range must be finite (got %s to %s)", tostring(low),
      tostring(high))
  elseif low == high then
    low, high = low - 0.5, high + 0.5
  end
  local edges = ops.arange_(o.bins + 1, low, (high - low) / o.bins, { dtype = x.dtype })
  local inside = ops.logical_and(ops.greater_equal(x, low), ops.less_equal(x, high))
  local bin = ops.minimum(ops.digitize(ops.boolean_mask(x, inside), edges) - 1, o.bins)
  return ops.bincount(ops.maximum(bin, 1), nil, o.bins), edges
end

return statistics

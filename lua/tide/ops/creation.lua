--- Tensors made of numbers that follow a rule: ranges, grids, identities. Values are NumPy's
--- (`arange(5)` is 0..4).
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = core.ops

local creation = {}

local WIDEST = 2 ^ 62 -- differences of whole numbers up to it are whole numbers of Lua

-- A whole number as an integer, nil for others.
local function whole(x)
  local i = math.tointeger(x)
  return i and x >= -WIDEST and x <= WIDEST and i or nil
end

local arange_args = check.args("arange", {
  { "start", "number" },
  { "stop", "number" },
  { "step", "number", 1 },
  { "dtype", "dtype" },
})

-- start, start + step, ... in float64 or int64, then in `dtype`.
local function counted(n, start, step, dtype)
  return ops.arange_(n, start, step, { dtype = dtype })
end

--- `arange(stop)` or `arange(start, stop, step)`: values from start (0), before stop. int32 for
--- whole numbers (int64 where they do not fit), else float32.
--- Keras: ops.arange.
--- @usage local x = tide.ops.arange(1, 6)   -- 1 2 3 4 5
function creation.arange(...)
  local o = arange_args:call(...)
  local start, stop, step = o.start, o.stop, o.step
  if start == nil then
    errors.raise("arange", "stop is missing")
  elseif stop == nil then
    start, stop = 0, start
  end
  if step == 0 then
    errors.raise("arange", "step must not be 0")
  end
  local dtype, first, last, by = o.dtype, whole(start), whole(stop), whole(step)
  local n
  if first and last and by then -- in integers: floats would round from 2^53 on
    local span = last - first
    n = (span < 0) ~= (by < 0) and 0 or span // by + (span % by ~= 0 and 1 or 0)
    local low, high = first, last - 1
    if by < 0 then
      low, high = last + 1, first
    end
    local wide = high >= 1 << 31 or low < -(1 << 31)
    dtype = dtype or (wide and "int64" or "int32")
  else
    n = (stop - start) / step
    if n == 0 and stop ~= start and 1 / n > 0 then -- one step goes past stop, an infinite one too
      n, step = 1, 1
    end
    n = n == n and n < 2 ^ 53 and math.max(0, math.ceil(n)) or 0 / 0
    dtype = dtype or "float32"
  end
  if n ~= n or n > 2 ^ 40 then
    errors.raise("arange", "the range %s..%s by %s is too long", tostring(start), tostring(stop),
      tostring(step))
  end
  n = math.tointeger(n)
  if by and dtype == "int64" and math.max(math.abs(first), math.abs(by)) > 2 ^ 53 then
    local places = ops.multiply(counted(n, 0, 1, dtype), core.tensor(by, { dtype = dtype }))
    return ops.add(places, core.tensor(first, { dtype = dtype })) -- a float may not hold them
  end
  return counted(n, start, step, dtype)
end

local linspace_args = check.args("linspace", {
  { "start", "tensor", check.required },
  { "stop", "tensor", check.required },
  { "num", "int", 50, min = 0 },
  { "endpoint", "bool", true },
  { "retstep", "bool", false },
  { "dtype", "dtype" },
  { "axis", "axis", 1 },
})

local float_of = common.float_of

-- Numbers in the dtype asked for, if any; an integer one must hold them.
local function as(where, y, dtype)
  if not dtype then
    return y
  elseif not dtype:find("float", 1, true) and not ops.all(ops.isfinite(y)) then
    errors.raise(where, "%s cannot hold infinities and NaN; give finite ends, or a float dtype",
      dtype)
  end
  return y:cast(dtype)
end

-- `num` values from start to stop along `axis`, changed by `f`; the first and the last are `ends`,
-- if given, exactly. Also the step.
local function spaced(where, start, stop, o, ends, f)
  local span = stop - start
  local parts = o.endpoint and o.num - 1 or o.num
  local step = span / math.max(1, parts)
  local index = counted(o.num, 0, 1, span.dtype)
  for _ = 1, span.ndim do
    index = index:expand_dims(-1)
  end
  local y = start + index * step
  if f then
    y = f(y)
  end
  if ends then
    y = ops.where(ops.equal(index, 0), ends[1], y)
  end
  if ends and o.endpoint and o.num > 1 then
    y = ops.where(ops.equal(index, o.num - 1), ends[2], y)
  end
  local axis = common.axis_of(where, o.axis, y.ndim)
  if axis ~= 1 then
    y = y:moveaxis(1, axis)
  end
  return y, step
end

-- The ends as floats. Powers between them are counted in float64, so that the last digits of
-- float32 and whole numbers come out.
local function ends_of(o)
  return float_of(o.start), float_of(o.stop)
end

--- `num` evenly spaced values from start to stop, stop included unless `endpoint = false`. Keras:
--- ops.linspace.
function creation.linspace(...)
  local o = linspace_args:call(...)
  local start, stop = ends_of(o)
  local y, step = spaced("linspace", start, stop, o, { start, stop })
  y = as("linspace", y, o.dtype)
  if o.retstep then
    return y, step
  end
  return y
end

local logspace_args = check.args("logspace", {
  { "start", "tensor", check.required },
  { "stop", "tensor", check.required },
  { "num", "int", 50, min = 0 },
  { "endpoint", "bool", true },
  { "base", "number", 10 },
  { "dtype", "dtype" },
  { "axis", "axis", 1 },
})

--- `base` to the power of evenly spaced exponents. Keras: ops.logspace.
function creation.logspace(...)
  local o = logspace_args:call(...)
  local start, stop = ends_of(o)
  local function power(exponents)
    return ops.power(core.tensor(o.base, { dtype = "float64" }), exponents)
  end
  local y = spaced("logspace", start:cast "float64", stop:cast "float64", o, nil, power)
  return as("logspace", y, o.dtype or (start + stop).dtype)
end

local geomspace_args = check.args("geomspace", {
  { "start", "tensor", check.required },
  { "stop", "tensor", check.required },
  { "num", "int", 50, min = 0 },
  { "endpoint", "bool", true },
  { "dtype", "dtype" },
  { "axis", "axis", 1 },
})

--- Values whose neighbours have one common ratio, from start to stop. Keras: ops.geomspace.
function creation.geomspace(...)
  local o = geomspace_args:call(...)
  local start, stop = ends_of(o)
  local dtype = o.dtype or (start + stop).dtype
  start, stop = start:cast "float64", stop:cast "float64"
  local sign = ops.sign(start)
  local function power(exponents)
    return ops.power(core.tensor(10, { dtype = "float64" }), exponents) * sign
  end
  local y = spaced("geomspace", ops.log10(start * sign), ops.log10(stop * sign), o,
    { start, stop }, power)
  return as("geomspace", y, dtype)
end

local function eye_arguments(name)
  return check.args(name, {
    { "N", "int", check.required, "rows", min = 0 },
    { "M", "int", nil, "columns; as many as rows by default", min = 0 },
    { "k", "int", 0, "which diagonal" },
    { "dtype", "dtype", "float32" },
  })
end
local eye_args, tri_args = eye_arguments "eye", eye_arguments "tri"

--- Ones on the k-th diagonal (k > 0 above the main one), zeros elsewhere. Keras: ops.eye.
--- @usage local i = tide.ops.eye(3)
function creation.eye(...)
  local o = eye_args:call(...)
  local x = core.zeros({ o.N, o.M or o.N }, { dtype = o.dtype })
  x:diagonal(o.k, 1, 2):copy_(1) -- a view: nothing but the result is ever made
  return x
end

local identity_args = check.args(
  "identity", { { "n", "int", check.required, "rows", min = 0 }, { "dtype", "dtype", "float32" } })

--- The identity matrix of n rows. Keras: ops.identity.
--- @usage local i = tide.ops.identity(2)   -- {{1, 0}, {0, 1}}
function creation.identity(...)
  local o = identity_args:call(...)
  return creation.eye(o.n, { dtype = o.dtype })
end

--- Ones at and below the k-th diagonal. Keras: ops.tri.
--- @usage local t = tide.ops.tri(2)   -- {{1, 0}, {1, 1}}
function creation.tri(...)
  local o = tri_args:call(...)
  return core.ones({ o.N, o.M or o.N }, { dtype = o.dtype }):tril(o.k)
end

--- Grids of coordinates of one-axis tensors; `indexing` "xy" (default) or "ij". Several results.
--- Keras: ops.meshgrid.
--- @usage local gx, gy = tide.ops.meshgrid(tide.arange(3), tide.arange(2))
function creation.meshgrid(...)
  local xs = table.pack(...)
  local indexing = "xy"
  local last = xs[xs.n]
  if check.is_plain(last) and check.has_string_key(last) then
    check.refuse_unknown("meshgrid", last, { "indexing" })
    indexing = last.indexing
    xs.n = xs.n - 1
  end
  if indexing ~= "xy" and indexing ~= "ij" then
    errors.raise("meshgrid", 'indexing must be "xy" or "ij" (got %s)', check.show(indexing))
  end
  local order, flat, shape, out = {}, {}, {}, {}
  for i = 1, xs.n do
    if xs[i] == nil then
      errors.raise("meshgrid", "argument %d must be a tensor (got nil)", i)
    end
    order[i], flat[i] = i, ops.ravel(common.tensor(xs[i]))
  end
  if xs.n > 8 then
    errors.raise("meshgrid", "takes at most 8 tensors (got %d)", xs.n)
  elseif indexing == "xy" and xs.n > 1 then
    order[1], order[2] = 2, 1
  end
  for axis = 1, xs.n do
    shape[axis] = #flat[order[axis]]
  end
  for axis = 1, xs.n do
    local i = order[axis]
    local view = {}
    for a = 1, xs.n do
      view[a] = a == axis and #flat[i] or 1
    end
    out[i] = flat[i]:reshape(view):broadcast_to(shape):copy()
  end
  return table.unpack(out, 1, xs.n)
end

return creation

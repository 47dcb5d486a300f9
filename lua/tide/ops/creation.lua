--- Tensors made of numbers that follow a rule: ranges, grids, identities. Values are NumPy's (`arange(5)` is 0..4).
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = core.ops

local creation = {}

local function whole(x)
  return math.type(x) == "integer" or (math.type(x) == "float" and x == math.floor(x) and math.abs(x) < 2 ^ 53)
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
  local dtype = o.dtype
  if not dtype then
    local ints = whole(start) and whole(stop) and whole(step)
    local wide = ints and (math.max(start, stop) > 2 ^ 31 or math.min(start, stop) < -2 ^ 31)
    dtype = ints and (wide and "int64" or "int32") or "float32"
  end
  local n = (stop - start) / step
  n = n == n and n < 2 ^ 53 and math.max(0, math.ceil(n)) or 0 / 0
  if n ~= n or n > 2 ^ 40 or not math.tointeger(n) then
    errors.raise("arange", "the range %s..%s by %s is too long", tostring(start), tostring(stop), tostring(step))
  end
  if dtype == "int64" and math.type(start) == "integer" and math.abs(start) > 2 ^ 53 then
    return counted(math.tointeger(n), 0, step, dtype) + start -- which a float may not hold
  end
  return counted(math.tointeger(n), start, step, dtype)
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

-- `num` values from start to stop along `axis`; also the step.
local function spaced(where, start, stop, o)
  local span = stop - start
  local parts = o.endpoint and o.num - 1 or o.num
  local step = span / math.max(1, parts)
  local index = counted(o.num, 0, 1, span.dtype)
  for _ = 1, span.ndim do
    index = index:expand_dims(-1)
  end
  local y = start + index * step
  if o.endpoint and o.num > 1 then -- the last value exactly
    y = ops.where(ops.equal(index, o.num - 1), stop, y)
  end
  local axis = common.axis_of(where, o.axis, y.ndim)
  if axis ~= 1 then
    y = y:moveaxis(1, axis)
  end
  return y, step
end

--- `num` evenly spaced values from start to stop, stop included unless `endpoint = false`. Keras: ops.linspace.
function creation.linspace(...)
  local o = linspace_args:call(...)
  local y, step = spaced("linspace", float_of(o.start), float_of(o.stop), o)
  if o.dtype then
    y = y:cast(o.dtype)
  end
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
  local y = ops.power(o.base, (spaced("logspace", float_of(o.start), float_of(o.stop), o)))
  return o.dtype and y:cast(o.dtype) or y
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
  local start, stop = float_of(o.start), float_of(o.stop)
  local sign = ops.sign(start)
  local y = (spaced("geomspace", (start * sign):log(), (stop * sign):log(), o)):exp() * sign
  return o.dtype and y:cast(o.dtype) or y
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

local identity_args = check.args("identity", { { "n", "int", check.required, "rows", min = 0 }, { "dtype", "dtype", "float32" } })

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

--- Grids of coordinates of one-axis tensors; `indexing` "xy" (default) or "ij". Several results. Keras: ops.meshgrid.
--- @usage local gx, gy = tide.ops.meshgrid(tide.arange(3), tide.arange(2))
function creation.meshgrid(...)
  local xs = table.pack(...)
  local indexing = "xy"
  local last = xs[xs.n]
  if check.is_plain(last) and check.has_string_key(last) then
    for key in pairs(last) do
      if key ~= "indexing" then
        errors.raise("meshgrid", "unknown option '%s'%s", tostring(key), check.did_you_mean(tostring(key), { "indexing" }))
      end
    end
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

--- Tensors made of numbers that follow a rule: ranges, grids, identities. Values are NumPy's (`arange(5)` is 0..4).
local check = require "tide.check"
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
  { "dtype", "string" },
})

-- start, start + step, ... in float64 or int64, then in `dtype`.
local function counted(n, start, step, dtype)
  return ops.arange_(n, start, step, { dtype = dtype })
end

--- `arange(stop)` or `arange(start, stop, step)`: values from start (0), before stop. int32 for whole numbers, else float32.
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
  local dtype = o.dtype or (whole(start) and whole(stop) and whole(step) and "int32" or "float32")
  local n = math.max(0, math.ceil((stop - start) / step))
  if n ~= n or n > 2 ^ 40 then
    errors.raise("arange", "the range %s..%s by %s is too long", tostring(start), tostring(stop), tostring(step))
  end
  return counted(math.tointeger(n), start, step, dtype)
end

local linspace_args = check.args("linspace", {
  { "start", "any" },
  { "stop", "any" },
  { "num", "int", 50, min = 0 },
  { "endpoint", "bool", true },
  { "retstep", "bool", false },
  { "dtype", "string" },
  { "axis", "int", 1 },
})

local function float_of(x)
  x = core.is_tensor(x) and x or core.tensor(x)
  return x.dtype:find "float" and x or x:cast "float32"
end

-- `num` values from start to stop along `axis`; also the step.
local function spaced(start, stop, o)
  start, stop = float_of(start), float_of(stop)
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
  if o.axis ~= 1 then
    y = y:moveaxis(1, o.axis)
  end
  return y, step
end

--- `num` evenly spaced values from start to stop, stop included unless `endpoint = false`. Keras: ops.linspace.
function creation.linspace(...)
  local o = linspace_args:call(...)
  if o.start == nil or o.stop == nil then
    errors.raise("linspace", "start and stop are missing")
  end
  local y, step = spaced(o.start, o.stop, o)
  if o.dtype then
    y = y:cast(o.dtype)
  end
  if o.retstep then
    return y, step
  end
  return y
end

local logspace_args = check.args("logspace", {
  { "start", "any" },
  { "stop", "any" },
  { "num", "int", 50, min = 0 },
  { "endpoint", "bool", true },
  { "base", "number", 10 },
  { "dtype", "string" },
  { "axis", "int", 1 },
})

--- `base` to the power of evenly spaced exponents. Keras: ops.logspace.
function creation.logspace(...)
  local o = logspace_args:call(...)
  local y = ops.power(o.base, (spaced(o.start, o.stop, o)))
  return o.dtype and y:cast(o.dtype) or y
end

local geomspace_args = check.args("geomspace", {
  { "start", "any" },
  { "stop", "any" },
  { "num", "int", 50, min = 0 },
  { "endpoint", "bool", true },
  { "dtype", "string" },
  { "axis", "int", 1 },
})

--- Values whose neighbours have one common ratio, from start to stop. Keras: ops.geomspace.
function creation.geomspace(...)
  local o = geomspace_args:call(...)
  local start, stop = float_of(o.start), float_of(o.stop)
  local sign = ops.sign(start)
  local y = (spaced((start * sign):log(), (stop * sign):log(), o)):exp() * sign
  return o.dtype and y:cast(o.dtype) or y
end

local eye_args = check.args("eye", {
  { "N", "int", nil, min = 0 },
  { "M", "int", nil, min = 0 },
  { "k", "int", 0 },
  { "dtype", "string", "float32" },
})

--- Ones on the k-th diagonal (k > 0 above the main one), zeros elsewhere. Keras: ops.eye.
--- @usage local i = tide.ops.eye(3)
function creation.eye(...)
  local o = eye_args:call(...)
  if o.N == nil then
    errors.raise("eye", "N is missing")
  end
  local rows = counted(o.N, 0, 1, "int64"):expand_dims(2)
  local columns = counted(o.M or o.N, 0, 1, "int64"):expand_dims(1)
  return ops.equal(columns - rows, o.k):cast(o.dtype)
end

--- The identity matrix of n rows. Keras: ops.identity.
function creation.identity(n, dtype)
  return creation.eye(n, { dtype = type(dtype) == "table" and dtype.dtype or dtype or "float32" })
end

--- Ones at and below the k-th diagonal. Keras: ops.tri.
function creation.tri(...)
  local o = eye_args:call(...)
  local rows = counted(o.N, 0, 1, "int64"):expand_dims(2)
  local columns = counted(o.M or o.N, 0, 1, "int64"):expand_dims(1)
  return ops.less_equal(columns - rows, o.k):cast(o.dtype)
end

--- Grids of coordinates of one-axis tensors; `indexing` "xy" (default) or "ij". Several results. Keras: ops.meshgrid.
--- @usage local gx, gy = tide.ops.meshgrid(tide.arange(3), tide.arange(2))
function creation.meshgrid(...)
  local xs = table.pack(...)
  local indexing = "xy"
  if type(xs[xs.n]) == "table" and xs[xs.n].indexing then
    indexing = xs[xs.n].indexing
    xs.n = xs.n - 1
  end
  if indexing ~= "xy" and indexing ~= "ij" then
    errors.raise("meshgrid", 'indexing must be "xy" or "ij" (got %s)', tostring(indexing))
  end
  local order = {}
  for i = 1, xs.n do
    order[i] = i
  end
  if indexing == "xy" and xs.n > 1 then
    order[1], order[2] = 2, 1
  end
  local shape, flat = {}, {}
  for i = 1, xs.n do
    flat[i] = (core.is_tensor(xs[i]) and xs[i] or core.tensor(xs[i])):reshape { -1 }
  end
  for axis = 1, xs.n do
    shape[axis] = #flat[order[axis]]
  end
  local out = {}
  for axis = 1, xs.n do
    local i = order[axis]
    local view = {}
    for a = 1, xs.n do
      view[a] = a == axis and #flat[i] or 1
    end
    out[i] = flat[i]:reshape(view):broadcast_to(shape)
  end
  return table.unpack(out, 1, xs.n)
end

return creation

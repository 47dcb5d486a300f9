--- Functions of tide.ops made of a few of the core's ops each: norms, correlations, sums by segment. Names and arguments are
--- keras.ops'.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"

local ops = core.ops
local products = {}

local function tensor(x)
  return core.is_tensor(x) and x or core.tensor(x)
end

local function float_of(x)
  x = tensor(x)
  return x.dtype:find "float" and x or x:cast "float32"
end

local norm_args = check.args("norm", {
  { "x", "tensor" },
  { "ord", "any" },
  { "axis", "any" },
  { "keepdims", "bool", false },
})

--- Length of vectors along axis, or of all elements; for two axes the norm of matrices. `ord`: 2 by default, any number,
--- math.huge or -math.huge; for matrices "fro", 1, -1, math.huge or -math.huge. Keras: ops.norm.
--- @usage local n = tide.ops.norm(tide.tensor { 3, 4 })   -- 5
function products.norm(...)
  local o = norm_args:call(...)
  local x, ord, axis = ops.abs(float_of(o.x)), o.ord, o.axis
  local kept = { keepdims = o.keepdims }
  if ord == nil or (ord == "fro" and (type(axis) == "table" and #axis == 2 or axis == nil and x.ndim == 2)) then
    return ops.sqrt(ops.sum(x * x, axis, kept))
  end
  if axis == nil and x.ndim == 2 then
    axis = { 1, 2 }
  end
  if type(axis) == "table" and #axis == 2 then
    local rows, columns = axis[1], axis[2]
    rows, columns = rows < 0 and rows + x.ndim + 1 or rows, columns < 0 and columns + x.ndim + 1 or columns
    if ord ~= 1 and ord ~= -1 and ord ~= math.huge and ord ~= -math.huge then
      errors.raise("norm", "ord of matrices must be 'fro', 1, -1, math.huge or -math.huge (got %s)", check.show(ord))
    end
    local over, other = rows, columns
    if ord == math.huge or ord == -math.huge then
      over, other = columns, rows
    end
    local y = ops.sum(x, over, { keepdims = true })
    y = ord > 0 and ops.max(y, other, { keepdims = true }) or ops.min(y, other, { keepdims = true })
    return o.keepdims and y or ops.squeeze(y, { axis = { rows, columns } })
  end
  if type(ord) ~= "number" then
    errors.raise("norm", "ord of vectors must be a number (got %s)", check.show(ord))
  elseif ord == math.huge then
    return ops.max(x, axis, kept)
  elseif ord == -math.huge then
    return ops.min(x, axis, kept)
  elseif ord == 0 then
    return ops.sum(ops.cast(ops.not_equal(x, 0), x.dtype), axis, kept)
  elseif ord == 1 then
    return ops.sum(x, axis, kept)
  elseif ord == 2 then
    return ops.sqrt(ops.sum(x * x, axis, kept))
  end
  return ops.sum(x ^ ord, axis, kept) ^ (1 / ord)
end

local pair_args = check.args("xlogy", { { "x1", "tensor" }, { "x2", "tensor" } })

--- x1 log x2, and 0 where x1 is 0. Keras: ops.xlogy.
function products.xlogy(...)
  local o = pair_args:call(...)
  local x, y = float_of(o.x1), float_of(o.x2)
  local zero = ops.equal(x, 0)
  return ops.where(zero, 0, x * ops.log(ops.where(zero, 1, y)))
end

local psnr_args = check.args("psnr", { { "x1", "tensor" }, { "x2", "tensor" }, { "max_val", "number" } })

--- Peak signal-to-noise ratio in decibels, of signals whose largest value is max_val. Keras: ops.psnr.
function products.psnr(...)
  local o = psnr_args:call(...)
  local a, b = float_of(o.x1), float_of(o.x2)
  if a.shape ~= b.shape then
    errors.raise("psnr", "the shapes must be equal (got %s and %s)", tostring(a.shape), tostring(b.shape))
  end
  local d = a - b
  return 20 * math.log(o.max_val, 10) - 10 * ops.log10(ops.mean(d * d))
end

local corrcoef_args = check.args("corrcoef", { { "x", "tensor" } })

--- Correlations of the rows of x, each a variable. Keras: ops.corrcoef.
function products.corrcoef(...)
  local x = float_of(corrcoef_args:call(...).x)
  if x.ndim > 2 then
    errors.raise("corrcoef", "x must have at most 2 axes (got %s)", tostring(x.shape))
  end
  local rows = x.ndim == 2 and x or x:reshape { 1, -1 }
  local d = rows - ops.mean(rows, 2, { keepdims = true })
  d = d / ops.sqrt(ops.sum(d * d, 2, { keepdims = true }))
  local y = ops.clip(ops.matmul(d, ops.transpose(d)), -1, 1)
  return x.ndim == 2 and y or y:reshape {}
end

local function broadcast(where, a, b)
  local out, n = {}, math.max(#a, #b)
  for i = 1, n do
    local p, q = a[i - n + #a] or 1, b[i - n + #b] or 1
    if p ~= q and p ~= 1 and q ~= 1 then
      errors.raise(where, "shapes %s and %s do not broadcast (extents %s and %s meet)", list.format(a), list.format(b),
        tostring(p), tostring(q))
    end
    out[i] = p == 1 and q or p
  end
  return list.new(out)
end

--- The shape to which two shapes broadcast. Keras: ops.broadcast_shapes.
--- @usage local s = tide.ops.broadcast_shapes({ 5, 3 }, { 1, 3 })   -- [5, 3]
function products.broadcast_shapes(shape1, shape2)
  if type(shape1) ~= "table" or type(shape2) ~= "table" then
    errors.raise("broadcast_shapes", "takes two shapes (got %s and %s)", check.show(shape1), check.show(shape2))
  end
  local a, b = {}, {}
  for i = 1, #shape1 do
    a[i] = shape1[i]
  end
  for i = 1, #shape2 do
    b[i] = shape2[i]
  end
  return broadcast("broadcast_shapes", a, b)
end

local segment_args = check.args("segment_sum", {
  { "data", "tensor" },
  { "segment_ids", "tensor" },
  { "num_segments", "int", min = 1 },
  { "sorted", "bool", false },
})

--- Sums of the rows of data that have the same id; ids count from 1. `num_segments`: the largest id by default.
--- Keras: ops.segment_sum.
--- @usage local s = tide.ops.segment_sum(tide.tensor { 1, 2, 4 }, { 1, 1, 2 })   -- 3 4
function products.segment_sum(...)
  local o = segment_args:call(...)
  local data = tensor(o.data)
  local ids = core.is_tensor(o.segment_ids) and o.segment_ids or core.tensor(o.segment_ids, { dtype = "int64" })
  if ids.ndim ~= 1 or ids.shape[1] ~= data.shape[1] then
    errors.raise("segment_sum", "segment_ids must name one segment for each row of data (expected [%s], got %s)",
      tostring(data.shape[1]), tostring(ids.shape))
  end
  local shape = { o.num_segments or ops.max(ids) }
  for i = 2, data.ndim do
    shape[i] = data.shape[i]
  end
  return ops.scatter(ops.expand_dims(ids, 2), data, shape)
end

return products

--- Functions of tide.ops made of a few of the core's ops each: norms, correlations, sums by
--- segment. Names and arguments are keras.ops'.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"

local ops = core.ops
local products = {}

local tensor, float_of, axis_of = common.tensor, common.float_of, common.axis_of

local norm_args = check.args("norm", {
  { "x", "tensor", check.required },
  { "ord", { "number", "string" } },
  { "axis", "axes" },
  { "keepdims", "bool", false },
})

--- Length of vectors along axis, or of all elements; for two axes the norm of matrices. `ord`: 2 by
--- default, any number, math.huge or -math.huge; for matrices "fro", "nuc" (sum of singular
--- values), 2 and -2 (the largest and least), 1, -1, math.huge or -math.huge. Keras: ops.norm.
--- @usage local n = tide.ops.norm(tide.tensor { 3, 4 })   -- 5
function products.norm(...)
  local o = norm_args:call(...)
  local x, ord, axis = float_of(o.x), o.ord, o.axis
  if type(axis) == "table" then
    local _, axes = common.axes_of("norm", axis, x.ndim)
    if #axes == 0 or #axes > 2 then
      errors.raise("norm", "axis must be one axis or two (got %s)", check.show(axis))
    end
    axis = #axes == 1 and axes[1] or axes
  end
  if ord == nil or (ord == "fro" and (type(axis) == "table" and #axis == 2 or axis == nil
    and x.ndim == 2)) then
    return ops.vector_norm_(x, { axis = axis, keepdims = o.keepdims })
  end
  if axis == nil and x.ndim == 2 then
    axis = { 1, 2 }
  end
  if type(axis) == "table" and #axis == 2 then
    local rows, columns = axis[1], axis[2]
    rows, columns = rows < 0 and rows + x.ndim + 1 or rows,
      columns < 0 and columns + x.ndim + 1 or columns
    if ord == 2 or ord == -2 or ord == "nuc" then
      local _, s = ops.svd_(ops.moveaxis(x, { rows, columns }, { -2, -1 }), false)
      local y = ord == 2 and ops.max(s, -1) or ord == -2 and ops.min(s, -1) or ops.sum(s, -1)
      local places = { math.min(rows, columns), math.max(rows, columns) }
      return o.keepdims and ops.expand_dims(y, places) or y
    elseif ord ~= 1 and ord ~= -1 and ord ~= math.huge and ord ~= -math.huge then
      errors.raise("norm", "ord of matrices must be 'fro', 'nuc', 1, -1, 2, -2, math.huge or "
        .. "-math.huge (got %s)", check.show(ord))
    end
    local over, other = rows, columns
    if ord == math.huge or ord == -math.huge then
      over, other = columns, rows
    end
    local y = ops.sum(ops.abs(x), over, { keepdims = true })
    y = ord > 0 and ops.max(y, other, { keepdims = true }) or ops.min(y, other, { keepdims = true })
    return o.keepdims and y or ops.squeeze(y, { axis = { rows, columns } })
  end
  if type(ord) ~= "number" then
    errors.raise("norm", "ord of vectors must be a number (got %s)", check.show(ord))
  end
  return ops.vector_norm_(x, { ord = ord, axis = axis, keepdims = o.keepdims })
end

local pair_args = check.args(
  "xlogy", { { "x1", "tensor", check.required }, { "x2", "tensor", check.required } })

--- x1 log x2, and 0 where x1 is 0. Keras: ops.xlogy.
function products.xlogy(...)
  local o = pair_args:call(...)
  local x, y = float_of(o.x1), float_of(o.x2)
  local zero = ops.logical_or(ops.less_equal(y, 0), ops.equal(y, math.huge)) -- no product with 0
  return x * ops.log(ops.where(ops.logical_and(ops.equal(x, 0), zero), 1, y))
end

local psnr_args = check.args("psnr", {
  { "x1", "tensor", check.required },
  { "x2", "tensor", check.required },
  { "max_val", "number", check.required, above = 0 },
})

--- Peak signal-to-noise ratio in decibels, of signals whose largest value is max_val. Keras:
--- ops.psnr.
function products.psnr(...)
  local o = psnr_args:call(...)
  local a, b = float_of(o.x1), float_of(o.x2)
  if a.shape ~= b.shape then
    errors.raise("psnr", "the shapes must be equal (got %s and %s)", tostring(a.shape),
      tostring(b.shape))
  end
  local d = a - b
  return 20 * math.log(o.max_val, 10) - 10 * ops.log10(ops.mean(d * d))
end

local corrcoef_args = check.args("corrcoef", { { "x", "tensor", check.required } })

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
      errors.raise(where, "shapes %s and %s do not broadcast (extents %s and %s meet)",
        list.format(a), list.format(b), tostring(p), tostring(q))
    end
    out[i] = p == 1 and q or p
  end
  return list.new(out)
end

--- The shape to which two shapes broadcast. Keras: ops.broadcast_shapes.
--- @usage local s = tide.ops.broadcast_shapes({ 5, 3 }, { 1, 3 })   -- [5, 3]
function products.broadcast_shapes(shape1, shape2)
  if type(shape1) ~= "table" or type(shape2) ~= "table" then
    errors.raise("broadcast_shapes", "takes two shapes (got %s and %s)", check.show(shape1),
      check.show(shape2))
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

-- Rows of a segmented reduction: data, ids as tensors of integers, and the number of segments.
local function segments(where, args, ...)
  local o = args:call(...)
  local data = tensor(o.data)
  local ids = tensor(ops.cast(common.whole_of(where, "segment_ids", o.segment_ids), "int64"),
    "int64")
  if data.ndim == 0 or ids.ndim ~= 1 or ids.shape[1] ~= data.shape[1] then
    errors.raise(
      where, "segment_ids must name one segment for each row of data (expected [%s], got %s)",
        tostring(data.shape[1] or "rows"), tostring(ids.shape))
  end
  local n = o.num_segments or (ids.size == 0 and 0 or ops.max(ids))
  if ids.size > 0 and (ops.min(ids) < 1 or ops.max(ids) > n) then
    errors.raise(where, "segment_ids must be 1 to %d (got %d to %d)", n, ops.min(ids), ops.max(ids))
  end
  return data, ids, n
end

local function segment_args(name)
  return check.args(name, {
    { "data", "tensor", check.required },
    { "segment_ids", "tensor", check.required, whole = true },
    { "num_segments", "int", min = 1 },
    { "sorted", "bool", false },
  })
end

local sum_args = segment_args "segment_sum"

--- Sums of the rows of data that have the same id; ids count from 1. `num_segments`: the largest id
--- by default. Keras: ops.segment_sum.
--- @usage local s = tide.ops.segment_sum(tide.tensor { 1, 2, 4 }, { 1, 1, 2 })   -- 3 4
function products.segment_sum(...)
  local data, ids, n = segments("segment_sum", sum_args, ...)
  local shape = { n }
  for i = 2, data.ndim do
    shape[i] = data.shape[i]
  end
  return ops.scatter(ops.expand_dims(ids, 2), data, shape)
end

-- The rows of each segment side by side, the free places holding `empty`, then reduced.
local function reduce_segments(reduce, empty, data, ids, n)
  local counts = ops.bincount(ids:cast "int64", { minlength = n }):cast "int64"
  local widest = n > 0 and math.max(1, ops.max(counts)) or 1
  local j = ops.cumsum(ops.ones({ 1, widest }, { dtype = "int64" }), 2)
  local starts = ops.cumsum(counts) - counts
  local there = ops.less_equal(j, ops.expand_dims(counts, 2))
  local at = ops.where(there, ops.expand_dims(starts, 2) + j, 1)
  local rows = ops.take(ops.take(data, ops.argsort(ids), 1), at, 1)
  for _ = 2, data.ndim do
    there = ops.expand_dims(there, -1)
  end
  return reduce(ops.where(there, rows, core.tensor(empty, { dtype = data.dtype })), 2)
end

-- What empty segments hold: the identity of the reduction.
local LOWEST = { int8 = -128, uint8 = 0, int32 = -2147483648, int64 = math.mininteger,
  bool = false }
local HIGHEST = { int8 = 127, uint8 = 255, int32 = 2147483647, int64 = math.maxinteger,
  bool = true }

for _, spec in ipairs {
  { "segment_max", ops.max, LOWEST, -math.huge },
  { "segment_min", ops.min, HIGHEST, math.huge },
  { "segment_prod", ops.prod, {}, 1 },
} do
  local name, reduce, limits, empty = spec[1], spec[2], spec[3], spec[4]
  local args = segment_args(name)
  --- Largest or smallest elements, or products, of the rows of data that have the same id, from 1;
  --- empty segments hold the reduction's identity (-inf, inf, 1). Keras: ops.segment_max,
  --- segment_min, segment_prod.
  products[name] = function(...)
    local data, ids, n = segments(name, args, ...)
    local nothing = limits[data.dtype]
    if nothing == nil then
      nothing = empty
    end
    return reduce_segments(reduce, nothing, data, ids, n)
  end
end

local partition_args = check.args("argpartition", {
  { "x", "tensor", check.required },
  { "kth", "int", check.required },
  { "axis", "axis", -1, none = true },
})

--- Positions that put the kth smallest element (from 1) of each line in its place, smaller ones
--- before, larger ones after. `axis` nil or tide.none: the flattened tensor. The order within both
--- sides is the rising one. Keras: ops.argpartition.
--- @usage local p = tide.ops.argpartition(tide.tensor { 7, 1, 5 }, 2)   -- 2 3 1
function products.argpartition(...)
  local o = partition_args:call(...)
  local x, axis = tensor(o.x), o.axis
  if axis == nil then
    x, axis = ops.ravel(x), 1
  end
  axis = axis_of("argpartition", axis, x.ndim)
  local n = x.shape[axis]
  if o.kth > n or o.kth < -n or o.kth == 0 then
    errors.raise("argpartition", "kth must be 1 to %s, or from the end -1 to -%s (got %d)",
      tostring(n), tostring(n), o.kth)
  end
  return ops.argsort(x, axis)
end

local attention_args = check.args("dot_product_attention", {
  { "query", "tensor", check.required },
  { "key", "tensor", check.required },
  { "value", "tensor", check.required },
  { "bias", "tensor" },
  { "mask", "tensor" },
  { "scale", "number" },
  { "is_causal", "bool", false },
  { "flash_attention", "bool" },
  { "attn_logits_soft_cap", "number", above = 0 },
})

-- What is added to scores, or hides them, with four axes and this dtype.
local function of_scores(name, x, dtype)
  if x == nil then
    return nil
  end
  x = tensor(x)
  if x.ndim > 4 then
    errors.raise(name, "%s has too many axes (expected at most 4, got %s)",
      dtype == "bool" and "mask" or "bias", tostring(x.shape))
  elseif x.ndim < 4 then
    local shape = { 1, 1, 1, 1 }
    x = ops.reshape(x, table.move(x.shape, 1, x.ndim, 5 - x.ndim, shape))
  end
  return x.dtype == dtype and x or x:cast(dtype)
end

--- softmax(query key' scale + bias) value per head, in tiles, without the matrix of scores. query
--- (batch, T, heads, width); key and value (batch, S, groups, width), where each group serves
--- heads / groups heads. `mask`: bool, true
--- where a query may look, broadcast to (batch, heads, T, S); `is_causal`: no query looks ahead;
--- `scale`: 1 / sqrt(width) by default. Keras: ops.dot_product_attention (Vaswani et al. 2017;
--- groups: Ainslie et al. 2023).
--- @return tide.Tensor (batch, T, heads, width of value)
function products.dot_product_attention(...)
  local o = attention_args:call(...)
  local name = "dot_product_attention"
  local q, k, v = float_of(o.query), float_of(o.key), float_of(o.value)
  if q.ndim ~= 4 then
    errors.raise(name, "query has the wrong axes (expected (batch, steps, heads, width), got the \z
      shape %s)", list.format(q.shape))
  end
  local cap = o.attn_logits_soft_cap or 0
  local y = ops.attention_(q, k, v, of_scores(name, o.bias and float_of(o.bias), q.dtype),
    of_scores(name, o.mask, "bool"), o.scale or q.shape[q.ndim] ^ -0.5, o.is_causal, 0, cap)
  return y
end

return products

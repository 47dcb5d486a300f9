--- Splitting, joining, masks and rearrangements that give several tensors or read shapes, written with the core's ops.
--- Names and arguments are keras.ops'; positions and axes count from 1.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local arrays = {}

local function tensor(x)
  return core.is_tensor(x) and x or core.tensor(x)
end

local function axis_of(where, axis, ndim)
  local a = axis < 0 and axis + ndim + 1 or axis
  if a < 1 or a > ndim then
    errors.raise(where, "no axis %d in a tensor of %d axes (expected 1..%d, or -1..%d from the end)", axis, ndim, ndim, -ndim)
  end
  return a
end

-- Positions first..last of one axis: a view.
local function part(x, axis, first, last)
  local start, shape = {}, {}
  for i = 1, x.ndim do
    start[i] = i == axis and first or 1
    shape[i] = i == axis and last - first + 1 or x.shape[i]
  end
  return ops.slice(x, start, shape)
end

-- -- several results --------------------------------------------------------------------------------------------------

local split_args = check.args("split", {
  { "x", "tensor", check.required },
  { "indices_or_sections", "any" },
  { "axis", "axis", 1 },
})

local function pieces(where, x, sections, axis, uneven)
  local n = x.shape[axis]
  local cuts = {}
  if type(sections) == "number" then
    local k = math.tointeger(sections)
    if not k or k < 1 then
      errors.raise(where, "indices_or_sections must be a whole number of at least 1, or a list (got %s)", tostring(sections))
    elseif n % k ~= 0 and not uneven then
      errors.raise(where, "axis %d of length %d does not split into %d equal parts", axis, n, k)
    end
    local at = 0
    for i = 1, k - 1 do
      at = at + n // k + (i <= n % k and 1 or 0)
      cuts[i] = at
    end
  elseif type(sections) == "table" then
    for i, c in ipairs(sections) do
      if not math.tointeger(c) then
        errors.raise(where, "indices_or_sections must be a list of whole numbers (got %s)", check.show(c))
      end
      cuts[i] = c < 0 and math.max(0, n + c) or math.min(c, n)
    end
  else
    errors.raise(where, "indices_or_sections must be a number or a list (got %s)", type(sections))
  end
  local out, from = {}, 0
  cuts[#cuts + 1] = n
  for i, to in ipairs(cuts) do
    out[i] = part(x, axis, from + 1, math.max(from, to))
    from = to
  end
  return out
end

--- Parts of x along an axis: so many equal ones, or cut after the positions of a list. A list of views. Keras: ops.split.
--- @usage local parts = tide.ops.split(tide.arange(6), { 2, 5 })   -- 0 1 | 2 3 4 | 5
function arrays.split(...)
  local o = split_args:call(...)
  return pieces("split", o.x, o.indices_or_sections, axis_of("split", o.axis, o.x.ndim))
end

--- As split, the first parts one longer where the length does not divide. Keras: ops.array_split.
--- @usage local parts = tide.ops.array_split(tide.arange(5), 2)   -- 0 1 2 | 3 4
function arrays.array_split(...)
  local o = split_args:call(...)
  return pieces("array_split", o.x, o.indices_or_sections, axis_of("array_split", o.axis, o.x.ndim), true)
end

for name, axis in pairs { vsplit = 1, hsplit = 2, dsplit = 3 } do
  arrays[name] = function(x, sections)
    x = tensor(x)
    return pieces(name, x, sections, axis_of(name, name == "hsplit" and x.ndim == 1 and 1 or axis, x.ndim))
  end
end

--- The slices of x along an axis, as a list of views without it. Keras: ops.unstack.
--- @usage local rows = tide.ops.unstack(tide.ones { 2, 3 })   -- two tensors of 3
function arrays.unstack(x, num, axis)
  x = tensor(x)
  if type(num) == "table" then
    num, axis = num.num, num.axis
  end
  axis = axis_of("unstack", axis or 1, x.ndim)
  if num and num ~= x.shape[axis] then
    errors.raise("unstack", "axis %d has another length than num (expected %d, got %d)", axis, num, x.shape[axis])
  end
  local out = {}
  for i = 1, x.shape[axis] do
    out[i] = ops.squeeze(part(x, axis, i, i), axis)
  end
  return out
end

--- Positions of the elements other than 0: one tensor per axis. Keras: ops.nonzero.
--- @usage local rows, columns = tide.ops.nonzero(tide.tensor { { 0, 1 }, { 2, 0 } })   -- 1 2, 2 1
function arrays.nonzero(x)
  x = tensor(x)
  local at = ops.nonzero_(x)
  local out = {}
  for i = 1, x.ndim do
    out[i] = ops.squeeze(part(at, 2, i, i), 2)
  end
  return table.unpack(out)
end

-- -- joining ----------------------------------------------------------------------------------------------------------

local function at_least(x, ndim)
  x = tensor(x)
  if x.ndim >= ndim then
    return x
  end
  if ndim == 3 then
    return x:reshape { x.ndim == 2 and x.shape[1] or 1, x.ndim > 0 and x.shape[-1] or 1, 1 }
  end
  return x:reshape(ndim == 2 and { 1, x.size } or { 1 })
end

local function tensors(where, xs)
  if not check.is_list(xs) or #xs == 0 then
    errors.raise(where, "xs must be a list of tensors (got %s)", check.show(xs))
  end
  return xs
end

local function joined(where, xs, ndim, axis)
  local out = {}
  tensors(where, xs)
  for i, x in ipairs(xs) do
    out[i] = at_least(x, ndim)
  end
  return ops.concatenate(out, { axis = axis })
end

--- Tensors joined as rows. Keras: ops.vstack.
function arrays.vstack(xs)
  return joined("vstack", xs, 2, 1)
end

--- Tensors joined along the second axis (one-axis tensors along their only one). Keras: ops.hstack.
function arrays.hstack(xs)
  return joined("hstack", xs, 1, tensor(tensors("hstack", xs)[1]).ndim < 2 and 1 or 2)
end

--- Tensors joined along the third axis. Keras: ops.dstack.
function arrays.dstack(xs)
  return joined("dstack", xs, 3, 3)
end

--- One-axis tensors as columns, matrices beside each other. Keras: ops.column_stack.
function arrays.column_stack(xs)
  local out = {}
  tensors("column_stack", xs)
  for i, x in ipairs(xs) do
    x = tensor(x)
    out[i] = x.ndim == 1 and x:expand_dims(2) or x
  end
  return ops.concatenate(out, { axis = 2 })
end

local append_args = check.args("append", { { "x1", "tensor", check.required }, { "x2", "tensor" }, { "axis", "axis" } })

--- x2 joined to the end of x1 along an axis, or both flattened. Keras: ops.append.
function arrays.append(...)
  local o = append_args:call(...)
  if not o.axis then
    return ops.concatenate({ ops.ravel(o.x1), ops.ravel(o.x2) }, { axis = 1 })
  end
  return ops.concatenate({ o.x1, o.x2 }, { axis = o.axis })
end

-- -- rearrangement ----------------------------------------------------------------------------------------------------

--- Columns in reverse order. Keras: ops.fliplr.
function arrays.fliplr(x)
  return ops.flip(x, 2)
end

--- Rows in reverse order. Keras: ops.flipud.
function arrays.flipud(x)
  return ops.flip(x, 1)
end

local rot90_args = check.args("rot90", { { "array", "tensor", check.required }, { "k", "int", 1 }, { "axes", "axes", { 1, 2 } } })

--- x turned k times by 90 degrees from the first of two axes toward the second. Keras: ops.rot90.
--- @usage local y = tide.ops.rot90(tide.tensor { { 1, 2 }, { 3, 4 } })   -- {{2, 4}, {1, 3}}
function arrays.rot90(...)
  local o = rot90_args:call(...)
  local x, k = o.array, o.k % 4
  if type(o.axes) == "number" or #o.axes ~= 2 then
    errors.raise("rot90", "axes must be two axes (got %s)", check.show(o.axes))
  end
  local a, b = axis_of("rot90", o.axes[1], x.ndim), axis_of("rot90", o.axes[2], x.ndim)
  if k == 0 then
    return x
  elseif k == 2 then
    return ops.flip(x, { a, b })
  elseif k == 1 then
    return ops.swapaxes(ops.flip(x, b), a, b)
  end
  return ops.flip(ops.swapaxes(x, a, b), b)
end

--- A matrix with the flattened x on its k-th diagonal. Keras: ops.diagflat.
function arrays.diagflat(x, k)
  return ops.diag(ops.ravel(x), type(k) == "table" and k.k or k or 0)
end

local trace_args = check.args("trace", {
  { "x", "tensor", check.required },
  { "offset", "int", 0 },
  { "axis1", "axis", 1 },
  { "axis2", "axis", 2 },
})

--- Sum of a diagonal. Keras: ops.trace.
function arrays.trace(...)
  local o = trace_args:call(...)
  return ops.sum(ops.diagonal(o.x, o.offset, o.axis1, o.axis2), -1)
end

local repeat_args = check.args("repeat", { { "x", "tensor", check.required }, { "repeats", "any" }, { "axis", "axis" } })

--- Every element so many times along an axis; `repeats` may be a list, one count per element. Keras: ops.repeat.
--- @usage local y = tide.ops["repeat"](tide.tensor { 1, 2 }, { 2, 1 })   -- 1 1 2
arrays["repeat"] = function(...)
  local o = repeat_args:call(...)
  local repeats = core.is_tensor(o.repeats) and o.repeats:tolist() or o.repeats
  if type(repeats) ~= "table" then
    return ops.rep(o.x, repeats, o.axis)
  end
  local x = o.axis and o.x or ops.ravel(o.x)
  local axis = axis_of("repeat", o.axis or 1, x.ndim)
  if #repeats == 1 then
    return ops.rep(x, repeats[1], axis)
  elseif #repeats ~= x.shape[axis] then
    errors.raise("repeat", "repeats needs one count per element of axis %d (expected %d, got %d)", axis, x.shape[axis], #repeats)
  end
  local at = {}
  for i, n in ipairs(repeats) do
    for _ = 1, n do
      at[#at + 1] = i
    end
  end
  return ops.take(x, core.tensor(at, { dtype = "int64" }), axis)
end

-- -- choosing ---------------------------------------------------------------------------------------------------------

--- Element by element from the first of `choicelist` whose condition is true, else `default` (0). Keras: ops.select.
function arrays.select(condlist, choicelist, default)
  if type(default) == "table" then
    default = default.default
  end
  tensors("select", condlist)
  tensors("select", choicelist)
  if #condlist ~= #choicelist or #condlist == 0 then
    errors.raise("select", "needs as many choices as conditions, at least one (expected %d, got %d)", #condlist, #choicelist)
  end
  local y = default or 0
  for i = #condlist, 1, -1 do
    y = ops.where(condlist[i], choicelist[i], y)
  end
  return y
end

--- Is each element of x1 among those of x2? Keras: ops.isin.
function arrays.isin(x1, x2, options)
  x1, x2 = tensor(x1), ops.ravel(tensor(x2))
  if x2.size == 0 then
    return ops.logical_and(ops.equal(x1, x1), false)
  end
  local sorted = ops.sort(x2)
  local at = ops.minimum(ops.searchsorted(sorted, x1, { base = 0 }), x2.size - 1)
  local found = ops.equal(ops.take(sorted, at, { base = 0 }), x1)
  return type(options) == "table" and options.invert and ops.logical_not(found) or found
end

local unique_args = check.args("unique", {
  { "x", "tensor", check.required },
  { "sorted", "bool", true },
  { "return_inverse", "bool", false },
  { "return_counts", "bool", false },
})

--- The different elements of x in rising order; with `return_inverse` the position of each element of x among them, with
--- `return_counts` how often each occurs. Keras: ops.unique.
--- @usage local values, counts = tide.ops.unique(tide.tensor { 3, 1, 3 }, { return_counts = true })
function arrays.unique(...)
  local o = unique_args:call(...)
  local x = ops.ravel(o.x)
  local n = x.size
  local order = ops.argsort(x)
  local sorted = ops.take(x, order)
  if n == 0 then
    return sorted
  end
  local changes = ops.not_equal(part(sorted, 1, 2, n), part(sorted, 1, 1, n - 1))
  local fresh = ops.concatenate({ core.tensor({ true }, { dtype = "bool" }), changes }, { axis = 1 })
  local starts = ops.flatnonzero(fresh)
  local out = { ops.take(sorted, starts) }
  if o.return_inverse then
    local number = ops.cumsum(fresh:cast "int64")
    local inverse = ops.scatter(order:expand_dims(2), number, { n })
    out[#out + 1] = inverse:reshape(o.x.shape)
  end
  if o.return_counts then
    local ends = ops.concatenate({ part(starts, 1, 2, starts.size), core.tensor({ n + 1 }, { dtype = "int64" }) }, { axis = 1 })
    out[#out + 1] = ends - starts
  end
  return table.unpack(out)
end

--- Positions per axis of positions in the flattened tensor: one tensor per axis. Keras: ops.unravel_index.
function arrays.unravel_index(indices, shape)
  if type(shape) ~= "table" then
    errors.raise("unravel_index", "shape must be a list of extents (got %s)", check.show(shape))
  end
  local rest = ops.cast(tensor(indices), "int64") - 1
  rest = tensor(rest)
  local out = {}
  for i = #shape, 1, -1 do
    out[i] = ops.mod(rest, shape[i]) + 1
    rest = ops.floor_divide(rest, shape[i])
  end
  return table.unpack(out, 1, #shape)
end

--- 1 for every id that occurs along an axis. `base` as in one_hot. Keras: ops.multi_hot.
function arrays.multi_hot(x, num_classes, options)
  if type(num_classes) == "table" then
    options, num_classes = num_classes, num_classes.num_classes
  end
  x, options = core.is_tensor(x) and x or core.tensor(x, { dtype = "int64" }), type(options) == "table" and options or {}
  local hot = ops.one_hot(x, num_classes, { dtype = options.dtype, base = options.base })
  return ops.max(hot, x.ndim == 0 and {} or x.ndim)
end

--- Is each target among the k largest predictions of its row? Keras: ops.in_top_k.
--- @usage local hit = tide.ops.in_top_k(tide.tensor({ 2 }, { dtype = "int32" }), tide.tensor { { 0.1, 0.7, 0.2 } }, 1)   -- true
function arrays.in_top_k(targets, predictions, k)
  if not math.tointeger(k) then
    errors.raise("in_top_k", "k must be a whole number (got %s)", check.show(k))
  end
  predictions = tensor(predictions)
  local own = ops.take_along_axis(predictions, ops.expand_dims(ops.cast(tensor(targets), "int64"), -1), -1)
  local above = ops.sum(ops.greater(predictions, own), -1)
  return ops.logical_and(ops.less(above, k), ops.isfinite(ops.squeeze(own, -1)))
end

-- -- values as they are ------------------------------------------------------------------------------------------------

--- Cast that keeps to the limits of the dtype. Keras: ops.saturate_cast.
function arrays.saturate_cast(x, dtype)
  local limits = { int8 = { -128, 127 }, uint8 = { 0, 255 }, int32 = { -2147483648, 2147483647 } }
  local l = limits[type(dtype) == "table" and dtype.dtype or dtype]
  return ops.cast(l and ops.clip(x, l[1], l[2]) or x, dtype)
end

--- Are all elements of two tensors close? A Lua boolean. Keras: ops.allclose.
function arrays.allclose(...)
  return ops.all(ops.isclose(...))
end

--- The number of axes. Keras: ops.ndim.
function arrays.ndim(x)
  return tensor(x).ndim
end

--- The number of elements, or the extent of an axis. Keras: ops.size.
function arrays.size(x, axis)
  x = tensor(x)
  return axis and x.shape[axis] or x.size
end

--- A tensor of numbers, nested tables or another tensor. Keras: ops.array.
function arrays.array(x, dtype)
  local t = tensor(x)
  return dtype and t:cast(type(dtype) == "table" and dtype.dtype or dtype) or t
end

--- The part that a key selects, as `x[key]`. Keras: ops.get_item.
function arrays.get_item(x, key)
  return tensor(x)[key]
end

return arrays

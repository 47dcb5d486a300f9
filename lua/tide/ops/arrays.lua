--- Splitting, joining, masks and rearrangements that give several tensors or read shapes, written
--- with the core's ops. Names and arguments are keras.ops'; positions and axes count from 1.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local arrays = {}

local tensor, axis_of, part, tensors = common.tensor, common.axis_of, common.part, common.tensors
local required = check.required
local MOST_PARTS = 1000000 -- of a tensor; a larger number is a slip

local function one(name, ...)
  return check.args(name, { { "x", "tensor", required }, ... })
end

-- -- several results -------------------------------------------------------------------------

local split_args = one("split", { "indices_or_sections", "any" }, { "axis", "axis", 1 })
local array_split_args = one("array_split", { "indices_or_sections", "any" }, { "axis", "axis", 1 })

local function pieces(where, x, sections, axis, uneven)
  local n = x.shape[axis]
  local cuts = {}
  if core.is_tensor(sections) then
    sections = sections:tolist()
  end
  if type(sections) == "number" then
    local k = math.tointeger(sections)
    if not k or k < 1 or k > MOST_PARTS then
      errors.raise(
        where, "indices_or_sections must be a whole number of 1 to %d, or a list (got %s)",
        MOST_PARTS, tostring(sections))
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
      c = check.whole(c)
      if not c then
        errors.raise(where, "indices_or_sections must be a list of whole numbers (got %s)",
          check.show(sections[i]))
      end
      cuts[i] = c < 0 and math.max(0, n + c) or math.min(c, n)
    end
  else
    errors.raise(where, "indices_or_sections must be a number or a list (got %s)",
      check.show(sections))
  end
  local out, from = {}, 0
  cuts[#cuts + 1] = n
  for i, to in ipairs(cuts) do
    out[i] = part(x, axis, from + 1, math.max(from, to))
    from = to
  end
  return out
end

--- Parts of x along an axis: so many equal ones, or cut after the positions of a list. A list of
--- views. Keras: ops.split.
--- @usage local parts = tide.ops.split(tide.arange(6), { 2, 5 })   -- 0 1 | 2 3 4 | 5
function arrays.split(...)
  local o = split_args:call(...)
  return pieces("split", o.x, o.indices_or_sections, axis_of("split", o.axis, o.x.ndim))
end

--- As split, the first parts one longer where the length does not divide. Keras: ops.array_split.
--- @usage local parts = tide.ops.array_split(tide.arange(5), 2)   -- 0 1 2 | 3 4
function arrays.array_split(...)
  local o = array_split_args:call(...)
  return pieces("array_split", o.x, o.indices_or_sections, axis_of("array_split", o.axis, o.x.ndim),
    true)
end

for name, axis in pairs { vsplit = 1, hsplit = 2, dsplit = 3 } do
  local args = one(name, { "indices_or_sections", "any" })
  --- Parts of x along its first (vsplit), second (hsplit) or third axis (dsplit). Keras:
  --- ops.vsplit, hsplit, dsplit.
  arrays[name] = function(...)
    local o = args:call(...)
    local along = name == "hsplit" and o.x.ndim == 1 and 1 or axis
    return pieces(name, o.x, o.indices_or_sections, axis_of(name, along, o.x.ndim))
  end
end

local unstack_args = one("unstack", { "num", "int" }, { "axis", "axis", 1 })

--- The slices of x along an axis, as a list of views without it. Keras: ops.unstack.
--- @usage local rows = tide.ops.unstack(tide.ones { 2, 3 })   -- two tensors of 3
function arrays.unstack(...)
  local o = unstack_args:call(...)
  local x, axis = o.x, axis_of("unstack", o.axis, o.x.ndim)
  if o.num and o.num ~= x.shape[axis] then
    errors.raise("unstack", "axis %d has another length than num (expected %d, got %d)", axis,
      o.num, x.shape[axis])
  end
  local out = {}
  for i = 1, x.shape[axis] do
    out[i] = tensor(ops.squeeze(part(x, axis, i, i), axis), x.dtype)
  end
  return out
end

local nonzero_args = one "nonzero"

--- Positions of the elements other than 0: one tensor per axis. Keras: ops.nonzero.
--- @usage local rows, columns = tide.ops.nonzero(tide.tensor { { 0, 1 }, { 2, 0 } })   -- 1 2, 2 1
function arrays.nonzero(...)
  local x = nonzero_args:call(...).x
  local at = ops.nonzero_(x)
  local out = {}
  for i = 1, x.ndim do
    out[i] = ops.squeeze(part(at, 2, i, i), 2)
  end
  return table.unpack(out)
end

-- -- joining ---------------------------------------------------------------------------------

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

local function joined(where, xs, ndim, axis)
  local out = {}
  for i, x in ipairs(tensors(where, "xs", xs)) do
    out[i] = at_least(x, ndim)
  end
  return ops.concatenate(out, { axis = axis })
end

local function list_args(name)
  return check.args(name, { { "xs", "any", required, "a list of tensors" } })
end
local vstack_args, hstack_args, dstack_args = list_args "vstack", list_args "hstack",
  list_args "dstack"
local columns_args = list_args "column_stack"

--- Tensors joined as rows. Keras: ops.vstack.
function arrays.vstack(...)
  return joined("vstack", vstack_args:call(...).xs, 2, 1)
end

--- Tensors joined along the second axis (one-axis tensors along their only one). Keras: ops.hstack.
function arrays.hstack(...)
  local xs = tensors("hstack", "xs", hstack_args:call(...).xs)
  return joined("hstack", xs, 1, tensor(xs[1]).ndim < 2 and 1 or 2)
end

--- Tensors joined along the third axis. Keras: ops.dstack.
function arrays.dstack(...)
  return joined("dstack", dstack_args:call(...).xs, 3, 3)
end

--- One-axis tensors as columns, matrices beside each other. Keras: ops.column_stack.
function arrays.column_stack(...)
  local out = {}
  for i, x in ipairs(tensors("column_stack", "xs", columns_args:call(...).xs)) do
    x = tensor(x)
    out[i] = x.ndim == 1 and x:expand_dims(2) or x
  end
  return ops.concatenate(out, { axis = 2 })
end

local append_args = check.args(
  "append", { { "x1", "tensor", check.required }, { "x2", "tensor", required },
  { "axis", "axis" } })

--- x2 joined to the end of x1 along an axis, or both flattened. Keras: ops.append.
function arrays.append(...)
  local o = append_args:call(...)
  if not o.axis then
    return ops.concatenate({ ops.ravel(o.x1), ops.ravel(o.x2) }, { axis = 1 })
  end
  return ops.concatenate({ o.x1, o.x2 }, { axis = o.axis })
end

-- -- rearrangement ---------------------------------------------------------------------------

local fliplr_args, flipud_args = one "fliplr", one "flipud"

--- Columns in reverse order. Keras: ops.fliplr.
function arrays.fliplr(...)
  return ops.flip(fliplr_args:call(...).x, 2)
end

--- Rows in reverse order. Keras: ops.flipud.
function arrays.flipud(...)
  return ops.flip(flipud_args:call(...).x, 1)
end

local rot90_args = check.args(
  "rot90", { { "array", "tensor", check.required }, { "k", "int", 1 },
  { "axes", "axes", { 1, 2 } } })

--- x turned k times by 90 degrees from the first of two axes toward the second. Keras: ops.rot90.
--- @usage local y = tide.ops.rot90(tide.tensor { { 1, 2 }, { 3, 4 } })   -- {{2, 4}, {1, 3}}
function arrays.rot90(...)
  local o = rot90_args:call(...)
  local x, k = o.array, o.k % 4
  if type(o.axes) == "number" or #o.axes ~= 2 then
    errors.raise("rot90", "axes must be two axes (got %s)", check.show(o.axes))
  end
  local a, b = axis_of("rot90", o.axes[1], x.ndim), axis_of("rot90", o.axes[2], x.ndim)
  if a == b then
    errors.raise("rot90", "axes must be two different axes (got %d twice)", a)
  end
  if k == 0 then
    return x
  elseif k == 2 then
    return ops.flip(x, { a, b })
  elseif k == 1 then
    return ops.swapaxes(ops.flip(x, b), a, b)
  end
  return ops.flip(ops.swapaxes(x, a, b), b)
end

local diagflat_args = one("diagflat", { "k", "int", 0 })

--- A matrix with the flattened x on its k-th diagonal. Keras: ops.diagflat.
function arrays.diagflat(...)
  local o = diagflat_args:call(...)
  return ops.diag(ops.ravel(o.x), o.k)
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

local repeat_args = one("repeat", { "repeats", "any", required }, { "axis", "axis" })

--- Every element so many times along an axis; `repeats` may be a list, one count per element.
--- Keras: ops.repeat.
--- @usage local y = tide.ops["repeat"](tide.tensor { 1, 2 }, { 2, 1 })   -- 1 1 2
arrays["repeat"] = function(...)
  local o = repeat_args:call(...)
  if type(o.repeats) == "number" then
    return ops.rep(o.x, o.repeats, o.axis)
  elseif not core.is_tensor(o.repeats) and not check.is_list(o.repeats) then
    errors.raise("repeat", "repeats must be a whole number or a list of them (got %s)",
      check.show(o.repeats))
  end
  local counts = ops.cast(ops.ravel(common.whole_of("repeat", "repeats", o.repeats)), "int64")
  local x = o.axis and o.x or ops.ravel(o.x)
  local axis = axis_of("repeat", o.axis or 1, x.ndim)
  if counts.size == 1 then
    return ops.rep(x, counts[1], axis)
  elseif counts.size ~= x.shape[axis] then
    errors.raise("repeat", "repeats needs one count per element of axis %d (expected %d, got %d)",
      axis, x.shape[axis], counts.size)
  elseif counts.size > 0 and ops.min(counts) < 0 then
    errors.raise("repeat", "repeats must not be negative (got %d)", ops.min(counts))
  end
  local places = ops.arange_(ops.sum(counts), 0, 1, { dtype = "int64" })
  return ops.take(x, ops.searchsorted(ops.cumsum(counts), places, "right"), axis)
end

-- -- choosing --------------------------------------------------------------------------------

local select_args = check.args("select", {
  { "condlist", "any", required, "a list of conditions" },
  { "choicelist", "any", required, "a list of tensors, one per condition" },
  { "default", "any", 0 },
})

--- Element by element from the first of `choicelist` whose condition is true, else `default` (0).
--- Keras: ops.select.
function arrays.select(...)
  local o = select_args:call(...)
  local conditions, choices = tensors("select", "condlist", o.condlist),
    tensors("select", "choicelist", o.choicelist)
  if #conditions ~= #choices then
    errors.raise("select", "needs as many choices as conditions (expected %d, got %d)", #conditions,
      #choices)
  end
  local y = o.default
  for i = #conditions, 1, -1 do
    y = ops.where(conditions[i], choices[i], y)
  end
  return y
end

local isin_args = check.args("isin", {
  { "x1", "tensor", required },
  { "x2", "tensor", required },
  { "assume_unique", "bool", false, "kept for Keras" },
  { "invert", "bool", false },
})

--- Is each element of x1 among those of x2? Keras: ops.isin.
function arrays.isin(...)
  local o = isin_args:call(...)
  local x1, x2 = o.x1, ops.ravel(o.x2)
  if x2.size == 0 then
    return o.invert and ops.equal(x1, x1) or ops.not_equal(x1, x1)
  end
  local sorted = ops.sort(x2)
  local at = ops.minimum(ops.searchsorted(sorted, x1, { base = 0 }), x2.size - 1)
  local found = ops.equal(ops.take(sorted, at, { base = 0 }), x1)
  return o.invert and ops.logical_not(found) or found
end

local unique_args = one(
  "unique", { "sorted", "bool", true, "kept for Keras: results are always sorted" },
    { "return_index", "bool", false }, { "return_inverse", "bool", false },
    { "return_counts", "bool", false },
  { "axis", "axis" }, { "size", "int", nil,
    "length of the result: cut, or filled up with fill_value", min = 0 },
  { "fill_value", "number", nil, "what fills up; the smallest value by default" })

-- Rows (n, m) in rising order, the first columns first: positions from 1. Stable sorts from the
-- last column on.
local function rows_in_order(rows)
  local order = ops.arange_(rows.shape[1], 1, 1, { dtype = "int64" })
  for column = rows.shape[2], 1, -1 do
    local key = ops.take(ops.squeeze(part(rows, 2, column, column), 2), order)
    order = ops.take(order, ops.argsort(key))
  end
  return order
end

-- The first `size` entries, or all and then `fill`.
local function sized(x, size, fill)
  local n = x.shape[1]
  if size <= n then
    return part(x, 1, 1, size)
  end
  local shape = common.shape_of(x)
  shape[1] = size - n
  local rest = core.is_tensor(fill) and ops.broadcast_to(fill, shape)
    or core.full(shape, fill, { dtype = x.dtype })
  return ops.concatenate({ x, rest }, { axis = 1 })
end

--- The different elements of x in rising order, NaN once, or its different slices along `axis`;
--- then, where asked for, the position of the first of each in x, the position of each element of x
--- among them, and how often each occurs. Keras: ops.unique.
--- @usage local values, counts = tide.ops.unique(tide.tensor { 3, 1, 3 }, { return_counts = true })
function arrays.unique(...)
  local o = unique_args:call(...)
  local x, shape = ops.ravel(o.x), common.shape_of(o.x)
  local axis = o.axis and axis_of("unique", o.axis, o.x.ndim)
  if axis then
    x, shape = ops.moveaxis(o.x, axis, 1), { o.x.shape[axis] }
  end
  local n = x.shape[1]
  local rows = axis and x:reshape { n, n > 0 and x.size // n or 1 }
  local order = rows and rows_in_order(rows) or ops.argsort(x)
  local sorted = ops.take(x, order, 1)
  local fresh = core.ones({ n }, { dtype = "bool" })
  if n > 1 then
    local next, last = part(sorted, 1, 2, n), part(sorted, 1, 1, n - 1)
    local changes = ops.not_equal(next, last)
    if common.is_float(x) then -- of several NaN, which stand last, one
      local both = ops.logical_and(ops.isnan(next), ops.isnan(last))
      changes = ops.logical_and(changes, ops.logical_not(both))
    end
    changes = rows and ops.any(changes:reshape { n - 1, -1 }, 2) or changes
    fresh = ops.concatenate({ part(fresh, 1, 1, 1), changes }, { axis = 1 })
  end
  local starts = ops.flatnonzero(fresh)
  local values = ops.take(sorted, starts, 1)
  local out = { values }
  if o.return_index then
    out[#out + 1] = ops.take(order, starts)
  end
  if o.return_inverse then
    local inverse = ops.scatter(order:expand_dims(2), ops.cumsum(fresh:cast "int64"), { n })
    out[#out + 1] = inverse:reshape(shape)
  end
  if o.return_counts then
    local ends = ops.concatenate(
      { starts, core.tensor({ n + 1 }, { dtype = "int64" }) }, { axis = 1 })
    out[#out + 1] = part(ends, 1, 2, starts.size + 1) - starts
  end
  if o.size then
    local fill = o.fill_value
    if fill == nil then
      fill = values.shape[1] > 0 and part(values, 1, 1, 1) or 0
    end
    out[1] = sized(values, o.size, fill)
    local at = o.return_index and 2
    if at then
      out[at] = sized(out[at], o.size, n > 0 and part(out[at], 1, 1, 1) or 0)
    end
    if o.return_counts then
      out[#out] = sized(out[#out], o.size, 0)
    end
  end
  for i, y in ipairs(out) do
    out[i] = i == 1 and axis and ops.moveaxis(y, 1, axis) or y
  end
  return table.unpack(out)
end

local unravel_args = check.args(
  "unravel_index", { { "indices", "any", required }, { "shape", "ints", required, min = 0 } })

--- Positions per axis of positions in the flattened tensor: one tensor per axis. Keras:
--- ops.unravel_index.
--- @usage local row, column = tide.ops.unravel_index({ 5 }, { 2, 3 })   -- 2, 2
function arrays.unravel_index(...)
  local o = unravel_args:call(...)
  local whole = common.whole_of("unravel_index", "indices", o.indices)
  local indices = tensor(ops.cast(whole, "int64"), "int64")
  local size = 1
  for _, d in ipairs(o.shape) do
    size = size * d
  end
  if indices.size > 0 and (ops.min(indices) < 1 or ops.max(indices) > size) then
    errors.raise("unravel_index", "indices must be 1 to %d, the elements of %s (got %d to %d)",
      size, tostring(o.shape), ops.min(indices), ops.max(indices))
  end
  local rest, out = tensor(indices - 1, "int64"), {}
  for i = #o.shape, 1, -1 do
    out[i] = ops.mod(rest, o.shape[i]) + 1
    rest = tensor(ops.floor_divide(rest, o.shape[i]), "int64")
  end
  return table.unpack(out, 1, #o.shape)
end

local multi_hot_args = check.args("multi_hot", {
  { "inputs", "any", required },
  { "num_classes", "int", required, min = 0 },
  { "axis", "axis", -1, "place of the classes" },
  { "dtype", "dtype", "float32" },
  { "sparse", "bool", false, "kept for Keras: must be false" },
  { "base", "int", 1, "number of the first class" },
})

--- 1 for every id that occurs along the last axis, 0 for the other classes. Keras: ops.multi_hot.
--- @usage local y = tide.ops.multi_hot({ { 1, 3 } }, 3)   -- {{1, 0, 1}}
function arrays.multi_hot(...)
  local o = multi_hot_args:call(...)
  if o.sparse then
    errors.raise("multi_hot", "sparse must be false (got true): Tide has no sparse results of ops")
  end
  local x = common.whole_of("multi_hot", "inputs", o.inputs)
  local hot = ops.one_hot(x, o.num_classes, { dtype = o.dtype, base = o.base })
  local axis = axis_of("multi_hot", o.axis, math.max(1, x.ndim))
  if x.ndim > 0 then
    hot = x.shape[-1] > 0 and ops.max(hot, x.ndim) or ops.sum(hot, x.ndim):cast(o.dtype)
  end
  return axis == hot.ndim and hot or ops.moveaxis(hot, -1, axis)
end

local top_args = check.args("in_top_k", {
  { "targets", "any", required },
  { "predictions", "tensor", required },
  { "k", "int", required },
})

--- Is each target among the k largest predictions of its row? Keras: ops.in_top_k.
--     tide.ops.in_top_k(tide.tensor({ 2 }, { dtype = "int32" }), { { 0.1, 0.7, 0.2 } }, 1)
--       --> { true }
function arrays.in_top_k(...)
  local o = top_args:call(...)
  local targets, predictions = common.whole_of("in_top_k", "targets", o.targets), o.predictions
  if predictions.ndim ~= 2 or targets.ndim ~= 1 or targets.shape[1] ~= predictions.shape[1] then
    errors.raise(
      "in_top_k",
      "needs one target per row of predictions (expected [n] and [n, classes], got %s and %s)",
        tostring(targets.shape), tostring(predictions.shape))
  end
  local own = ops.take_along_axis(predictions, ops.expand_dims(ops.cast(targets, "int64"), -1), -1)
  local above = ops.sum(ops.greater(predictions, own), -1)
  return ops.logical_and(ops.less(above, o.k), ops.isfinite(ops.squeeze(own, -1)))
end

-- -- values as they are ----------------------------------------------------------------------

local LIMITS = { int8 = { -128, 127 }, uint8 = { 0, 255 }, int32 = { -2147483648, 2147483647 } }
local saturate_args = one("saturate_cast", { "dtype", "dtype", required })

--- Cast that keeps to the limits of the dtype. Keras: ops.saturate_cast.
function arrays.saturate_cast(...)
  local o = saturate_args:call(...)
  local limits = LIMITS[o.dtype]
  return ops.cast(limits and o.x.dtype ~= "bool" and ops.clip(o.x, limits[1], limits[2]) or o.x,
    o.dtype)
end

local allclose_args = check.args("allclose", {
  { "x1", "tensor", required },
  { "x2", "tensor", required },
  { "rtol", "number", 1e-5, "relative tolerance" },
  { "atol", "number", 1e-8, "absolute tolerance" },
  { "equal_nan", "bool", false, "is NaN close to NaN?" },
})

--- Are all elements of two tensors close? A Lua boolean. Keras: ops.allclose.
function arrays.allclose(...)
  local o = allclose_args:call(...)
  return ops.all(ops.isclose(o.x1, o.x2, o.rtol, o.atol, o.equal_nan))
end

local ndim_args, size_args = one "ndim", one("size", { "axis", "axis" })

--- The number of axes. Keras: ops.ndim.
function arrays.ndim(...)
  return ndim_args:call(...).x.ndim
end

--- The number of elements, or the extent of an axis. Keras: ops.size.
function arrays.size(...)
  local o = size_args:call(...)
  return o.axis and o.x.shape[axis_of("size", o.axis, o.x.ndim)] or o.x.size
end

local array_args, item_args = one("array", { "dtype", "dtype" }),
  one("get_item", { "key", "any", required })

--- A tensor of numbers, nested tables or another tensor. Keras: ops.array.
function arrays.array(...)
  local o = array_args:call(...)
  return o.dtype and o.x:cast(o.dtype) or o.x
end

--- The part that a key selects, as `x[key]`. Keras: ops.get_item.
function arrays.get_item(...)
  local o = item_args:call(...)
  return o.x[o.key]
end

return arrays

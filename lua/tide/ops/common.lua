--- What the functions of tide.ops that are written in Lua share: arguments as tensors, axes, parts
--- along an axis.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local common = {}

--- A tensor of a tensor, a number or nested tables. Ops give Lua values where a result has no axes
--- and no float dtype;
--- `dtype` makes a tensor of that dtype of them again.
function common.tensor(x, dtype)
  return core.is_tensor(x) and x or core.tensor(x, dtype and { dtype = dtype } or nil)
end
local tensor = common.tensor

--- Whether a tensor holds floats.
function common.is_float(x)
  return x.dtype:find("float", 1, true) ~= nil
end
local is_float = common.is_float

--- A tensor of floats: integers and bools become float32.
function common.float_of(x)
  x = tensor(x)
  return is_float(x) and x or x:cast "float32"
end

--- An argument that must be a tensor of whole numbers; nested tables become int64.
function common.whole_of(where, name, x)
  x = core.is_tensor(x) and x or core.tensor(x, { dtype = "int64" })
  if is_float(x) then
    errors.raise(where,
      "%s must hold whole numbers (expected an integer dtype, got %s); cast it, e.g. to int32",
        name, x.dtype)
  end
  return x
end

--- An axis counted from 1 of a tensor with `ndim` axes.
function common.axis_of(where, axis, ndim)
  local a = axis < 0 and axis + ndim + 1 or axis
  if a < 1 or a > ndim then
    if ndim == 0 then
      errors.raise(where, "no axis %d in a tensor without axes", axis)
    end
    errors.raise(where,
      "no axis %d in a tensor of %d axes (expected 1..%d, or -1..%d from the end)", axis, ndim,
        ndim, -ndim)
  end
  return a
end
local axis_of = common.axis_of

--- The axes of an `axis` argument (nil: all) as a set and as a list counted from 1.
function common.axes_of(where, axis, ndim)
  local set, out = {}, {}
  if axis == nil then
    for i = 1, ndim do
      set[i], out[i] = true, i
    end
    return set, out
  end
  for _, a in ipairs(type(axis) == "table" and axis or { axis }) do
    local i = axis_of(where, a, ndim)
    if set[i] then
      errors.raise(where, "axis %d is named twice", i)
    end
    set[i], out[#out + 1] = true, i
  end
  return set, out
end

--- Positions first..last of one axis: a view.
function common.part(x, axis, first, last)
  local start, shape = {}, {}
  for i = 1, x.ndim do
    start[i] = i == axis and first or 1
    shape[i] = i == axis and last - first + 1 or x.shape[i]
  end
  return ops.slice(x, start, shape)
end

--- The part of each axis that begins behind `start` elements and has `size` of them, `step` apart
--- (1 where there are no steps): a view.
function common.parts(x, start, size, step)
  local entries = {}
  for i = 1, #start do
    local by = step and step[i] or 1
    entries[i] = { start[i] + 1, start[i] + by * (size[i] - 1) + 1, by }
  end
  return x[entries]
end

--- A list of tensors with at least one, as it was given.
function common.tensors(where, name, xs)
  if not check.is_list(xs) or #xs == 0 then
    errors.raise(where, "%s must be a list of tensors (got %s)", name, check.show(xs))
  end
  return xs
end

--- Refuses a tensor with another number of axes.
function common.needs_axes(where, name, x, least, most)
  most = most or math.huge
  if x.ndim < least or x.ndim > most then
    local want = least == most and tostring(least) or most == math.huge and "at least " .. least
      or least .. " to " .. most
    errors.raise(where, "%s has the wrong number of axes (expected %s, got %d: %s)", name, want,
      x.ndim, tostring(x.shape))
  end
end

--- A plain copy of a shape.
function common.shape_of(x)
  local out = {}
  for i = 1, x.ndim do
    out[i] = x.shape[i]
  end
  return out
end

return common

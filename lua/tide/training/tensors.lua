--- Small helpers on tensors that losses, metrics and the training loop share.
local core = require "tide.core"
local errors = require "tide.errors"
local check = require "tide.check"

local tensors = {}
local ops = require "tide.ops"

local floats = { float32 = true, float64 = true, float16 = true, bfloat16 = true }

--- Whether `v` is a tensor.
function tensors.is(v)
  return core.is_tensor(v)
end

--- The tensor itself, or a tensor of the Lua value that an op gave for an integer result without
--- axes.
function tensors.hold(v, dtype)
  return core.is_tensor(v) and v or core.tensor(v, { dtype = dtype })
end

--- Whether a dtype name is a floating one.
function tensors.is_float(dtype)
  return floats[dtype] or false
end

--- A tensor from a tensor, number or nested table; cast when `dtype` is given and differs.
--- @param what string|nil names the value in the error
function tensors.of(v, dtype, what)
  local t = type(v)
  if t == "userdata" and core.is_tensor(v) then
    if dtype and v.dtype ~= dtype then
      return tensors.hold(ops.cast(v, dtype), dtype)
    end
    return v
  elseif t == "number" or t == "boolean" or check.is_list(v) then
    return core.tensor(v, dtype and { dtype = dtype } or nil)
  end
  errors.raise(what or "tensor", "expected a tensor, a number or a nested table of numbers, got %s",
    check.show(v))
end

--- A floating tensor: what is not floating becomes float32.
function tensors.floating(v, what)
  local t = tensors.of(v, nil, what)
  if not floats[t.dtype] then
    return ops.cast(t, "float32")
  end
  return t
end

local LAST = { axis = -1 }

--- Keras' squeeze_or_expand_to_same_rank: one extra axis of length 1 at the end is added or
--- removed.
--- @param expand_rank_1 boolean|nil false: vectors are never expanded
function tensors.same_rank(a, b, expand_rank_1)
  local ra, rb = a.ndim, b.ndim
  if ra == rb then
    return a, b
  elseif ra == rb + 1 then
    if a.shape[ra] == 1 then
      if rb == 1 and expand_rank_1 ~= false then
        b = ops.expand_dims(b, LAST)
      else
        a = tensors.hold(ops.squeeze(a, LAST), a.dtype)
      end
    end
  elseif rb == ra + 1 then
    if b.shape[rb] == 1 then
      if ra == 1 and expand_rank_1 ~= false then
        a = ops.expand_dims(a, LAST)
      else
        b = tensors.hold(ops.squeeze(b, LAST), b.dtype)
      end
    end
  end
  return a, b
end

--- Writes values into a tensor in place, without recording.
function tensors.assign(t, v)
  local before = core.grad_mode(false)
  local ok, e = pcall(t.copy_, t, v)
  core.grad_mode(before)
  if not ok then
    error(e, 0)
  end
end

--- x / y, and 0 where y is 0.
function tensors.divide_no_nan(x, y)
  local zero = ops.equal(y, 0)
  return ops.where(zero, 0, ops.divide(x, ops.where(zero, 1, y)))
end

--- A Lua number from a number or a one-element tensor.
function tensors.number(v)
  if type(v) == "userdata" then
    return v:item()
  end
  return v
end

return tensors

--- Small helpers on tensors that losses, metrics and the training loop share.
local core = require "tide.core"
local errors = require "tide.errors"
local check = require "tide.check"
local strings = require "tide.strings"

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
  elseif t == "number" or t == "boolean" or check.is_list(v) and not strings.is(v) then
    return core.tensor(v, dtype and { dtype = dtype } or nil)
  end
  errors.raise(what or "tensor", "takes a tensor, a number or a nested table of numbers (got %s)",
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

local function fits(weight, values)
  for i = 1, #weight do
    if weight[i] ~= 1 and weight[i] ~= values[i] then
      return false
    end
  end
  return true
end

--- A weight of the rank of what it weighs: one per sample stands for all values of that sample, so
--- axes of length 1 are added behind (and surplus ones taken away), never before.
--- @param shape table shape of the values that are weighed
--- @param what string|nil names the weights in the error
function tensors.fit_weight(weight, shape, what)
  local given = weight.shape
  local have, rank = #given, #shape
  if have == rank and fits(given, shape) or have == 0 or rank == 0 then
    return weight
  end
  local to = table.move(given, 1, math.min(have, rank), 1, {})
  for i = have + 1, rank do
    to[i] = 1
  end
  for i = rank + 1, have do
    if given[i] ~= 1 then
      to[1] = -1 -- fits nothing
    end
  end
  if not fits(to, shape) then
    errors.raise(what or "sample_weight",
      "the weights do not fit the values that they weigh (expected one per sample, or the shape \z
      %s or its first axes, got %s)", tostring(shape), tostring(given))
  end
  return ops.reshape(weight, to)
end

--- Targets and predictions of one rank, one of them a single number, or an error with both shapes.
--- @param owner string names the loss or metric in the error
function tensors.pair(y_true, y_pred, owner)
  local a, b = y_true.ndim, y_pred.ndim
  if a ~= b then
    local t, p = y_true, y_pred
    y_true, y_pred = tensors.same_rank(t, p)
    if y_true.shape ~= y_pred.shape and a ~= 0 then
      errors.raise(owner, "targets and predictions differ in rank (expected y_true %s, got %s)",
        tostring(p.shape), tostring(t.shape))
    end
  end
  return y_true, y_pred
end

--- Targets and predictions with an axis of length 1 behind, where one of them has it or both are
--- vectors: formulas that average over the last axis then give one value per place, which weights
--- and masks can weigh.
function tensors.per_place(y_true, y_pred)
  local a, b = y_true.ndim, y_pred.ndim
  if a == 1 and b == 1 then
    return ops.expand_dims(y_true, LAST), ops.expand_dims(y_pred, LAST)
  elseif b == a + 1 and a > 0 and y_pred.shape[b] == 1 then
    return ops.expand_dims(y_true, LAST), y_pred
  elseif a == b + 1 and b > 0 and y_true.shape[a] == 1 then
    return y_true, ops.expand_dims(y_pred, LAST)
  end
  return y_true, y_pred
end

--- Kinds of targets (field `targets` of losses and metrics) that are one number per place.
tensors.numbers = { values = true, binary = true, margins = true }

--- The shapes of the second and third argument of the function at `level` of the stack, this
--- function being level 1: targets and predictions, for errors.
function tensors.frame_shapes(level)
  local _, y_true = debug.getlocal(level, 2)
  local _, y_pred = debug.getlocal(level, 3)
  if tensors.is(y_true) and tensors.is(y_pred) then
    return (" (y_true %s, y_pred %s)"):format(tostring(y_true.shape), tostring(y_pred.shape))
  end
  return ""
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

--- A loss added to what there is, or the loss: outputs and penalties of several float dtypes make
--- one number, of the widest.
--- @param total userdata|nil
function tensors.plus(total, loss)
  if not total then
    return loss
  elseif total.dtype ~= loss.dtype then
    local dtype = (total.dtype == "float64" or loss.dtype == "float64") and "float64" or "float32"
    total, loss = ops.cast(total, dtype), ops.cast(loss, dtype)
  end
  return ops.add(total, loss)
end

return tensors

--- The incomplete gamma function, complex numbers as pairs of their parts, and directional
--- derivatives. Names and arguments are keras.ops'.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local special = {}

local required = check.required

-- Two floating arguments in one dtype and of one shape.
local function matched(where, names, a, b)
  a, b = common.float_of(a), common.float_of(b)
  if a.dtype ~= b.dtype then
    errors.raise(where, "%s and %s differ in dtype (got %s and %s)", names[1], names[2], a.dtype,
      b.dtype)
  end
  local ok, shape = pcall(function()
    return common.shape_of(core.tensor(ops.equal(a, b), { dtype = "bool" }))
  end)
  if not ok then
    errors.raise(where, "%s and %s do not broadcast (got %s and %s)", names[1], names[2],
      tostring(a.shape), tostring(b.shape))
  end
  return ops.broadcast_to(a, shape), ops.broadcast_to(b, shape)
end

local gammainc_args = check.args("gammainc", { { "a", "tensor", required, "exponents, 0 or more" },
  { "x", "tensor", required, "upper limits, 0 or more" } })

--- The regularized lower incomplete gamma function, the integral of t^(a - 1) e^-t from 0 to x over
--- that to infinity. Both broadcast; where one is below 0 it is NaN. It has a gradient for x, none
--- for a. Keras: ops.gammainc, SciPy: special.gammainc.
--- @usage local p = tide.ops.gammainc({ 1 }, { 1 })   -- 0.63212
function special.gammainc(...)
  local o = gammainc_args:call(...)
  return ops.gammainc_(matched("gammainc", { "a", "x" }, o.a, o.x))
end

local polar_args = check.args("polar", { { "abs_", "tensor", required, "absolute values" },
  { "angle", "tensor", required, "angles in radians" } })

--- Complex numbers by absolute value and angle: the real part and the imaginary one, two tensors.
--- Keras: ops.polar.
--- @usage local re, im = tide.ops.polar({ 2 }, { math.pi / 2 })   -- 0 and 2
function special.polar(...)
  local o = polar_args:call(...)
  local r, angle = matched("polar", { "abs_", "angle" }, o.abs_, o.angle)
  return r * ops.cos(angle), r * ops.sin(angle)
end

local complex_args = check.args("view_as_complex", { { "x", "tensor", required, "(..., 2)" } })

--- The complex numbers whose parts stand side by side in the last axis, of length 2: the real parts
--- and the imaginary ones, two views. Keras: ops.view_as_complex.
--- @usage local re, im = tide.ops.view_as_complex { { 1, 2 }, { 3, 4 } }   -- 1 3 and 2 4
function special.view_as_complex(...)
  local x = common.float_of(complex_args:call(...).x)
  if x.ndim == 0 or x.shape[-1] ~= 2 then
    errors.raise("view_as_complex", "the last axis holds real and imaginary parts (expected \z
      [..., 2], got %s)", tostring(x.shape))
  end
  local n = x.ndim
  return ops.squeeze(common.part(x, n, 1, 1), n), ops.squeeze(common.part(x, n, 2, 2), n)
end

--- Real and imaginary parts side by side in a new last axis of length 2. `x`: a list of two
--- tensors, as fft takes them, or one of real numbers. Keras: ops.view_as_real.
--- @usage local y = tide.ops.view_as_real { tide.tensor { 1, 3 }, tide.tensor { 2, 4 } }
--- -- {{1, 2}, {3, 4}}
function special.view_as_real(x)
  local re, im = x, nil
  if core.is_tensor(x) then
    re = common.float_of(x)
    im = core.zeros(common.shape_of(re), { dtype = re.dtype })
  elseif check.is_list(x) and #x == 2 and core.is_tensor(x[1]) and core.is_tensor(x[2]) then
    re, im = common.float_of(x[1]), common.float_of(x[2])
    if re.shape ~= im.shape or re.dtype ~= im.dtype then
      errors.raise("view_as_real", "the parts of x differ (real %s %s, imaginary %s %s)", re.dtype,
        tostring(re.shape), im.dtype, tostring(im.shape))
    end
  else
    errors.raise("view_as_real",
      "x must be a tensor, or a list of two, the real and the imaginary part (got %s)",
      check.show(x))
  end
  return ops.stack({ re, im }, re.ndim + 1)
end

return special

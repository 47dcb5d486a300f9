--- Windows, as numbers of a length. Names and arguments are keras.ops'.
local check = require "tide.check"
local core = require "tide.core"

local ops = core.ops
local windows = {}

-- Arguments of a window: Keras calls the length x.
local function arguments(name, ...)
  return check.args(name, { { "x", "int", check.required, "the number of elements", min = 0 },
    ... })
end

-- f of the positions 0, 1, ... n - 1, computed in float64; a window of one element is 1.
local function window(n, f)
  local y = n == 1 and core.ones({ 1 }) or f(ops.arange_(n, 0, 1, { dtype = "float64" }),
    math.max(1, n - 1))
  return ops.cast(y, "float32")
end

-- a0 - a1 cos(2 pi i / m) + a2 cos(4 pi i / m)
local function cosines(n, a0, a1, a2)
  return window(n, function(i, m)
    local y = a0 - a1 * ops.cos(i * (2 * math.pi / m))
    return a2 and y + a2 * ops.cos(i * (4 * math.pi / m)) or y
  end)
end

local bartlett_args, blackman_args = arguments "bartlett", arguments "blackman"
local hamming_args, hanning_args = arguments "hamming", arguments "hanning"
local kaiser_args = arguments("kaiser", { "beta", "number", check.required,
  "shape: 0 is the rectangle" })

--- The triangular window of x numbers. Keras: ops.bartlett.
--- @usage local w = tide.ops.bartlett(3)   -- 0 1 0
function windows.bartlett(...)
  return window(bartlett_args:call(...).x, function(i, m)
    return 1 - ops.abs(i * (2 / m) - 1)
  end)
end

--- The Blackman window of x numbers. Keras: ops.blackman.
--- @usage local w = tide.ops.blackman(5)   -- 0 0.34 1 0.34 0
function windows.blackman(...)
  return cosines(blackman_args:call(...).x, 0.42, 0.5, 0.08)
end

--- The Hamming window of x numbers. Keras: ops.hamming.
--- @usage local w = tide.ops.hamming(3)   -- 0.08 1 0.08
function windows.hamming(...)
  return cosines(hamming_args:call(...).x, 0.54, 0.46)
end

--- The Hann window of x numbers. Keras: ops.hanning.
--- @usage local w = tide.ops.hanning(3)   -- 0 1 0
function windows.hanning(...)
  return cosines(hanning_args:call(...).x, 0.5, 0.5)
end

-- exp(-x) I0(x) for x >= 0: Abramowitz and Stegun's polynomials would give 7 digits; the series in
-- x^2 / 4 and, beyond 18, the
-- asymptotic one in 1 / x give all of float64. Written with ops, so that gradients pass.
local function bessel_scaled(x)
  local small = ops.minimum(x, 18)
  local q, term, sum = small * small / 4, nil, nil
  for k = 64, 1, -1 do -- Horner: 1 + q/1 (1 + q/4 (1 + q/9 (...)))
    term = term and 1 + q * term / (k * k) or 1 + q / (k * k)
  end
  local inverse = 1 / ops.maximum(x, 18)
  for k = 20, 1, -1 do
    local f = (2 * k - 1) ^ 2 / (8 * k)
    sum = sum and 1 + inverse * sum * f or 1 + inverse * f
  end
  return ops.where(ops.less(x, 18), term * ops.exp(-small), sum * ops.sqrt(inverse / (2 * math.pi)))
end

local i0_args = check.args("i0", { { "x", "tensor", check.required } })

--- The modified Bessel function of the first kind of order 0. Keras: ops.i0.
--- @usage local y = tide.ops.i0(tide.tensor { 0, 1 })   -- 1 1.26607
function windows.i0(...)
  local x = i0_args:call(...).x
  local size = ops.abs(x.dtype:find("float", 1, true) and x or x:cast "float32")
  return bessel_scaled(size) * ops.exp(size)
end

--- The Kaiser window of x numbers: I0(beta sqrt(1 - r^2)) / I0(beta), r from -1 to 1. Keras:
--- ops.kaiser.
--- @usage local w = tide.ops.kaiser(3, 0)   -- 1 1 1
function windows.kaiser(...)
  local o = kaiser_args:call(...)
  local beta = math.abs(o.beta)
  return window(o.x, function(i, m)
    local r = i * (2 / m) - 1
    local s = beta * ops.sqrt(ops.maximum(1 - r * r, 0))
    return bessel_scaled(s) * ops.exp(s - beta) / bessel_scaled(core.tensor(beta,
      { dtype = "float64" }))
  end)
end

return windows

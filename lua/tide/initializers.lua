--- Initializers: objects called with a shape and a dtype that return a new tensor. Names, options
--- and formulas are Keras'.
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local random = require "tide.random"
local registry = require "tide.registry"
local windows = require "tide.windows"

--- The base class of initializers. Own ones define `call(self, shape, dtype)`, which returns a new
--- tensor.
---
---     local Twos = tide.initializers.Initializer:extend("Twos", {
---       call = function(self, shape, dtype) return tide.full(shape, 2) end })
---     Twos()({ 2 })   --> { 2, 2 }
local Initializer = object.class("Initializer", nil, { kind = "initializer", methods = { __call = {
  { "shape", "data", check.required, "shape of the tensor" },
  { "dtype", "dtype", nil, "float32 when left out" },
} } })
Initializer.__eq = object.equal

function Initializer:__call(shape, dtype)
  return self:call(shape, dtype)
end

local initializers, aliases = { Initializer = Initializer }, {}
local define = object.family(Initializer, initializers, aliases)

local seed = { "seed", "int", nil, "own random stream; the global one by default" }

--- Zeros.
--     tide.initializers.Zeros()({ 2 })   --> { 0, 0 }
define("Zeros", {}, function(_, shape, dtype)
  return ops.zeros(shape, { dtype = dtype or "float32" })
end, { "zero" })

--- Ones.
--     tide.initializers.Ones()({ 2 })   --> { 1, 1 }
define("Ones", {}, function(_, shape, dtype)
  return ops.ones(shape, { dtype = dtype or "float32" })
end, { "one" })

--- A number, or a tensor of the weight's shape.
--     tide.initializers.Constant { 0.5 }({ 2 })   --> { 0.5, 0.5 }
define("Constant", { { "value", "any", 0, "number, or a tensor of the shape" } },
  function(self, shape, dtype)
  if type(self.value) == "number" then
    return ops.full(shape, self.value, { dtype = dtype or "float32" })
  end
  return ops.copy(ops.broadcast_to(ops.convert_to_tensor(self.value,
    { dtype = dtype or "float32" }), shape))
end)

--- Normal draws.
--     tide.initializers.RandomNormal { stddev = 0.1 }({ 2, 3 }).shape   --> { 2, 3 }
define("RandomNormal", { { "mean", "number", 0 }, { "stddev", "number", 0.05, nil, min = 0 },
  seed }, function(self, shape, dtype)
    return random.normal(shape, { mean = self.mean, stddev = self.stddev, dtype = dtype,
      seed = self.seed })
  end, { "normal" })

--- Uniform draws from [minval, maxval).
--     tide.initializers.RandomUniform { -1, 1 }({ 2, 3 }).shape   --> { 2, 3 }
define("RandomUniform", { { "minval", "number", -0.05 }, { "maxval", "number", 0.05 }, seed },
  function(self, shape, dtype)
    return random.uniform(shape, { minval = self.minval, maxval = self.maxval, dtype = dtype,
      seed = self.seed })
  end, { "uniform" })

--- Normal draws no farther than two deviations from the mean.
--     tide.initializers.TruncatedNormal()({ 2, 3 }).shape   --> { 2, 3 }
define("TruncatedNormal", { { "mean", "number", 0 }, { "stddev", "number", 0.05, nil, min = 0 },
  seed }, function(self, shape, dtype)
    return random.truncated_normal(
      shape, { mean = self.mean, stddev = self.stddev, dtype = dtype, seed = self.seed })
  end)

local function product_of(shape, axes)
  local n, rank = 1, #shape
  for _, a in ipairs(type(axes) == "table" and axes or { axes }) do
    n = n * shape[a < 0 and rank + 1 + a or a]
  end
  return n
end

--- Fan-in and fan-out of a kernel shape: (in, out), (receptive..., in, out).
local function compute_fans(shape, input_axes, output_axes)
  local n = #shape
  local fan_in, fan_out
  if n == 0 then
    fan_in, fan_out = 1, 1
  elseif n == 1 then
    fan_in, fan_out = shape[1], shape[1]
  else
    local receptive = 1
    for i = 1, n - 2 do
      receptive = receptive * shape[i]
    end
    fan_in, fan_out = receptive * shape[n - 1], receptive * shape[n]
  end
  if input_axes then
    fan_in = product_of(shape, input_axes)
  end
  if output_axes then
    fan_out = product_of(shape, output_axes)
  end
  return fan_in, fan_out
end

-- The standard deviation of a unit normal cut at two deviations.
local TRUNCATED_STDDEV = 0.87962566103423978

local function variance_scaling(self, shape, dtype)
  local fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
  local fan = self.mode == "fan_in" and fan_in or self.mode == "fan_out" and fan_out
    or (fan_in + fan_out) / 2
  local scale = self.scale / math.max(1, fan)
  if self.distribution == "uniform" then
    local limit = math.sqrt(3 * scale)
    return random.uniform(shape, { minval = -limit, maxval = limit, dtype = dtype,
      seed = self.seed })
  elseif self.distribution == "untruncated_normal" then
    return random.normal(shape, { mean = 0, stddev = math.sqrt(scale), dtype = dtype,
      seed = self.seed })
  end
  return random.truncated_normal(shape,
    { mean = 0, stddev = math.sqrt(scale) / TRUNCATED_STDDEV, dtype = dtype, seed = self.seed })
end

local input_axes = { "input_axes", { "int", "list" }, nil, "axes that make the fan-in",
  counts = true }
local output_axes = { "output_axes", { "int", "list" }, nil, "axes that make the fan-out",
  counts = true }

--- Draws whose variance is scale / n, n chosen by `mode`.
--     tide.initializers.VarianceScaling { 2, mode = "fan_in" }({ 4, 2 }).shape   --> { 4, 2 }
define("VarianceScaling", {
  { "scale", "number", 1, nil, above = 0 },
  { "mode", "enum", "fan_in", nil, of = "fan_in|fan_out|fan_avg" },
  { "distribution", "enum", "truncated_normal", nil,
    of = "truncated_normal|untruncated_normal|uniform|normal" },
  seed, input_axes, output_axes,
}, variance_scaling)

local scaled = {
  GlorotNormal = { 1, "fan_avg", "truncated_normal" }, GlorotUniform = { 1, "fan_avg", "uniform" },
  HeNormal = { 2, "fan_in", "truncated_normal" }, HeUniform = { 2, "fan_in", "uniform" },
  LecunNormal = { 1, "fan_in", "truncated_normal" }, LecunUniform = { 1, "fan_in", "uniform" },
}

--- Draws scaled by the numbers of inputs and outputs: Glorot (Glorot and Bengio 2010), He (He et
--- al. 2015), LeCun (LeCun et al. 1998); normal ones are truncated at two deviations.
--     tide.initializers.GlorotUniform()({ 4, 2 }).shape   --> { 4, 2 }
for name, rule in pairs(scaled) do
  local c = define(name, { seed, input_axes, output_axes }, variance_scaling)
  c.scale, c.mode, c.distribution = table.unpack(rule)
end

-- Orthonormal rows by Gram-Schmidt in halves, so that nearly all of it is matrix products; each
-- half is projected twice so that rounding does not spoil orthogonality. This is the Q of a QR
-- factorisation whose R has a positive diagonal.
local function orthonormal_rows(a)
  local m = a.shape[1]
  if m == 1 then
    return a / ops.sqrt(ops.sum(a * a))
  end
  local half = m // 2
  local q = orthonormal_rows(a[{ { 1, half } }])
  local columns = ops.transpose(q)
  local rest = a[{ { half + 1, m } }]
  for _ = 1, 2 do
    rest = rest - ops.matmul(ops.matmul(rest, columns), q)
  end
  return ops.concatenate({ q, orthonormal_rows(rest) }, { axis = 1 })
end

--- A matrix with orthogonal rows or columns (Saxe et al. 2014).
--     tide.initializers.Orthogonal()({ 4, 2 }).shape   --> { 4, 2 }
define("Orthogonal", { { "gain", "number", 1 }, seed }, function(self, shape, dtype)
  if #shape < 2 then
    errors.raise("Orthogonal", "the shape must have at least two axes (got %s)", check.show(shape))
  end
  local rows = 1
  for i = 1, #shape - 1 do
    rows = rows * shape[i]
  end
  local cols = shape[#shape]
  local a = random.normal(
    { math.min(rows, cols), math.max(rows, cols) }, { dtype = "float64", seed = self.seed })
  local q = orthonormal_rows(a)
  if rows > cols then
    q = ops.transpose(q)
  end
  return ops.cast(ops.reshape(q, shape) * self.gain, dtype or "float32")
end, { "OrthogonalInitializer" })

--- Ones on the main diagonal, times `gain`.
--     tide.initializers.Identity()({ 2, 2 })   --> { { 1, 0 }, { 0, 1 } }
define("Identity", { { "gain", "number", 1 } }, function(self, shape, dtype)
  if #shape ~= 2 then
    errors.raise("Identity", "only makes matrices (got the shape %s)", check.show(shape))
  end
  return ops.eye(shape[1], shape[2], { dtype = dtype or "float32" }) * self.gain
end, { "IdentityInitializer" })

--- The kernel of a short-time Fourier transform by convolution, its real or imaginary side: shape
--- (frame length, 1, bins).
--     tide.initializers.STFT { "real" }({ 5, 1, 8 }).shape   --> { 5, 1, 8 }
define("STFT", {
  { "side", "enum", "real", "part of the transform", of = "real|imag" },
  { "window", { "enum", "list" }, "hann", "name, list of values, or none",
    of = windows.names, none = true },
  { "scaling", "enum", "density", "L2 (density) or L1 (spectrum) norm of the window",
    of = "density|spectrum", none = true },
  { "periodic", "bool", false },
}, function(self, shape, dtype)
  if #shape ~= 3 then
    errors.raise("STFT",
      "the shape is wrong (expected { frame length, 1, bins }, got %s)", check.show(shape))
  end
  local frame, bins = shape[1], shape[3]
  local window, scaling = nil, 1
  if self.window then
    -- Keras hands `periodic` to SciPy's `fftbins`.
    window = type(self.window) == "table" and self.window
      or windows.values(self.window, frame, self.periodic)
    if #window ~= frame then
      errors.raise("STFT", "the window has %d values (expected the frame length %d)", #window,
        frame)
    end
    local total = 0
    for i = 1, frame do
      total = total + (self.scaling == "density" and window[i] ^ 2 or math.abs(window[i]))
    end
    scaling = self.scaling == "density" and math.sqrt(total) or self.scaling == "spectrum"
      and total or 1
  end
  -- exp(-2 pi i t f / n), by whole numbers of 2 pi / n: exact angles
  local n = math.max(1, 2 * (bins - 1))
  local t = ops.reshape(ops.arange(frame, { dtype = "int64" }), { frame, 1, 1 })
  local angle = ops.cast(ops.mod(t * ops.arange(bins, { dtype = "int64" }), n), "float64")
    * (2 * math.pi / n)
  local values = self.side == "real" and ops.cos(angle) or -ops.sin(angle)
  if window then
    window = ops.convert_to_tensor(window, { dtype = "float64" }) / scaling
    values = values * ops.reshape(window, { frame, 1, 1 })
  end
  local kernel = ops.cast(values, dtype or "float32")
  return ops.copy(ops.broadcast_to(kernel, shape))
end, { "STFTInitializer" })

--- An initializer from a name, a configuration, an object, a function of (shape, dtype) or a tensor
--- of values.
local function get(v)
  if type(v) == "userdata" then
    return function(shape, dtype)
      if tostring(v.shape) ~= check.show(shape) then
        errors.raise("initializer", "the given tensor has shape %s, the weight %s",
          tostring(v.shape), check.show(shape))
      end
      return ops.copy(ops.cast(v, dtype or v.dtype))
    end
  end
  return registry.resolve("initializer", v, "initializer")
end

return object.namespace("tide.initializers", "initializer", { members = initializers,
  aliases = aliases, bases = { Initializer = true }, get = get,
  extra = { compute_fans = compute_fans } })

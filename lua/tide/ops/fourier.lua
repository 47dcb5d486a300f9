--- Fourier transforms of pairs of real and imaginary parts, as keras.ops has them: of any length in
--- n log n steps (kernels/cpu/fourier.h), along one axis at a time; gradients of any order pass.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local fourier = {}

local required = check.required
-- The parts of an argument: a list of two tensors of one shape.
local function parts(where, x, axes)
  if not check.is_list(x) or #x ~= 2 then
    errors.raise(where, "x must be a list of two tensors, the real and the imaginary part (got %s)",
      check.show(x))
  end
  local re, im = common.float_of(x[1]), common.float_of(x[2])
  if re.shape ~= im.shape then
    errors.raise(where, "the parts of x differ in shape (real %s, imaginary %s)",
      tostring(re.shape), tostring(im.shape))
  elseif re.dtype ~= im.dtype then
    errors.raise(where, "the parts of x differ in dtype (real %s, imaginary %s)", re.dtype,
      im.dtype)
  end
  common.needs_axes(where, "x", re, axes)
  for i = 1, axes do
    if re.shape[-i] == 0 then
      errors.raise(where, "no element to transform in %s", tostring(re.shape))
    end
  end
  return re, im
end

local function pair_args(name, ...)
  return check.args(name, { { "x", "any", required, "{ real part, imaginary part }" }, ... })
end

-- Both last axes, one after the other; `o` holds for both.
local function plane(re, im, o)
  re, im = ops.fft_(re, im, o)
  o.axis = -2
  return ops.fft_(re, im, o)
end

local fft_args, fft2_args, ifft2_args = pair_args "fft", pair_args "fft2", pair_args "ifft2"

--- The discrete Fourier transform along the last axis of { real, imaginary }: two tensors. Keras:
--- ops.fft.
--- @usage local re, im = tide.ops.fft { tide.tensor { 1, 2 }, tide.tensor { 0, 0 } }   -- 3 -1, 0 0
function fourier.fft(...)
  local re, im = parts("fft", fft_args:call(...).x, 1)
  return ops.fft_(re, im)
end

--- The transform along the last two axes. Keras: ops.fft2.
--- @usage local re, im = tide.ops.fft2 { { { 1, 1 } }, { { 0, 0 } } }   -- {{2, 0}}, {{0, 0}}
function fourier.fft2(...)
  local re, im = parts("fft2", fft2_args:call(...).x, 2)
  return plane(re, im, {})
end

--- The inverse of fft2. Keras: ops.ifft2.
--- @usage local re, im = tide.ops.ifft2 { { { 1, 1 } }, { { 0, 0 } } }   -- {{1, 0}}, {{0, 0}}
function fourier.ifft2(...)
  local re, im = parts("ifft2", ifft2_args:call(...).x, 2)
  return plane(re, im, { inverse = true, scale = 1 / math.sqrt(re.shape[-1] * re.shape[-2]) })
end

-- x with its last axis cut or filled with zeros to a length.
local function of_length(x, n)
  local had = x.shape[-1]
  if had > n then
    return common.part(x, x.ndim, 1, n)
  elseif had == n then
    return x
  end
  local margins = {}
  for i = 1, x.ndim do
    margins[i] = { 0, i == x.ndim and n - had or 0 }
  end
  return ops.pad(x, margins)
end

local length_row = { "fft_length", "int", nil, "length to cut or fill to with zeros", min = 1 }
local rfft_args = check.args("rfft", { { "x", "tensor", required }, length_row })
local irfft_args = pair_args("irfft", length_row)

--- The transform of real numbers along the last axis: n / 2 + 1 frequencies, two tensors. Keras:
--- ops.rfft.
--- @usage local re, im = tide.ops.rfft(tide.tensor { 1, 2, 3 })   -- 6 -1.5, 0 0.866
function fourier.rfft(...)
  local o = rfft_args:call(...)
  local x = common.float_of(o.x)
  common.needs_axes("rfft", "x", x, 1)
  local n = o.fft_length or x.shape[-1]
  if n == 0 then
    errors.raise("rfft", "no element to transform in %s", tostring(x.shape))
  end
  return ops.rfft_(of_length(x, n))
end

-- The real numbers of length n whose transform begins with re + i im.
local function real_inverse(re, im, n)
  local kept = n // 2 + 1
  return ops.irfft_(of_length(re, kept), of_length(im, kept), n, { scale = 1 / n })
end

--- The inverse of rfft: real numbers of length fft_length, by default 2 (frequencies - 1). Keras:
--- ops.irfft.
--- @usage local x = tide.ops.irfft { tide.tensor { 3, -1 }, tide.tensor { 0, 0 } }   -- 1 2
function fourier.irfft(...)
  local o = irfft_args:call(...)
  local re, im = parts("irfft", o.x, 1)
  return real_inverse(re, im, o.fft_length or math.max(1, 2 * (re.shape[-1] - 1)))
end

-- -- short-time transforms -------------------------------------------------------------------

local function short_rows(first)
  return {
    first,
    { "sequence_length", "int", required, "length of a frame", min = 1 },
    { "sequence_stride", "int", required, "from one frame to the next", min = 1 },
    { "fft_length", "int", required, "length of the transforms", min = 1 },
  }
end
local window_row = { "window", "any", "hann",
  '"hann", "hamming", a tensor of sequence_length numbers or tide.none', none = true }
local center_row = { "center", "bool", true,
  "frames are centred on their places; the ends are mirrored" }

local stft_rows = short_rows { "x", "tensor", required, "(..., n)" }
stft_rows[5], stft_rows[6] = window_row, center_row
local stft_args = check.args("stft", stft_rows)
local istft_rows = short_rows { "x", "any", required,
  "{ real part, imaginary part } (..., frames, frequencies)" }
istft_rows[5], istft_rows[6], istft_rows[7] = { "length", "int", nil, "length of the result",
  min = 1 }, window_row, center_row
local istft_args = check.args("istft", istft_rows)

--- The window of a frame in the middle of fft_length zeros, for who makes spectra.
--- @param o table sequence_length, fft_length, window
function fourier.window_of(where, o, dtype)
  local n, all = o.sequence_length, o.fft_length
  if all < n then
    errors.raise(where, "fft_length must be at least sequence_length (expected %d, got %d)", n, all)
  end
  local w = o.window
  if w == nil then -- Keras: the whole of fft_length
    return ops.fill_({ all }, 1, { dtype = dtype })
  elseif w == "hann" or w == "hamming" then
    local a = w == "hann" and 0.5 or 0.54
    w = a - (1 - a) * ops.cos(ops.arange_(n, 0, 1, { dtype = "float64" }) * (2 * math.pi / n))
    w = n == 1 and ops.fill_({ 1 }, 1) or w
  elseif core.is_tensor(w) or check.is_list(w) then
    w = common.float_of(w)
    if w.ndim ~= 1 or w.shape[1] ~= n then
      errors.raise(where, "window must have sequence_length numbers (expected [%d], got %s)", n,
        tostring(w.shape))
    end
  else
    errors.raise(where, "window must be 'hann', 'hamming', a tensor or tide.none (got %s)",
      check.show(w))
  end
  local before = (all - n) // 2
  return ops.pad(ops.cast(w, dtype), { { before, all - n - before } })
end

--- Transforms of windowed frames: two tensors (..., frames, fft_length / 2 + 1). Keras: ops.stft.
--- @usage local re, im = tide.ops.stft(tide.ones { 16 }, 8, 4, 8)
function fourier.stft(...)
  local o = stft_args:call(...)
  local x = common.float_of(o.x)
  common.needs_axes("stft", "x", x, 1)
  local w = fourier.window_of("stft", o, x.dtype)
  if o.center then
    local margins = {}
    for i = 1, x.ndim do
      margins[i] = { 0, 0 }
    end
    margins[x.ndim] = { o.fft_length // 2, o.fft_length // 2 }
    x = ops.pad(x, margins, "reflect")
  end
  local frames = require("tide.ops.sequences").extract_sequences(x, o.fft_length, o.sequence_stride)
  return ops.rfft_(frames * w)
end

local SHIFTS = 16 -- parts of a frame that are added one by one

-- Frames (..., count, n), `step` apart, added where they overlap: (..., n + step (count - 1)).
local function overlapped(frames, step)
  local shape = common.shape_of(frames)
  local count, n = shape[#shape - 1], shape[#shape]
  local whole, parts_of = n + step * (count - 1), (n + step - 1) // step
  local lead = frames.size // (count * n)
  local y
  if parts_of <= SHIFTS then -- part p of frame i stands in row i + p of rows of `step`
    frames = of_length(frames, parts_of * step):reshape { lead, count, parts_of, step }
    for p = 1, parts_of do
      local row = ops.pad(frames[{ {}, {}, p }], { { 0, 0 }, { p - 1, parts_of - p }, { 0, 0 } })
      y = y and y + row or row
    end
    y = common.part(y:reshape { lead, (count + parts_of - 1) * step }, 2, 1, whole)
  else
    local starts = ops.expand_dims(ops.arange_(count, 1, step, { dtype = "int64" }), 2)
    local places = starts + ops.arange_(n, 0, 1, { dtype = "int64" })
    y = ops.transpose(ops.scatter(ops.reshape(places, { count * n, 1 }),
      ops.transpose(frames:reshape { lead, count * n }), { whole, lead }))
  end
  shape[#shape] = nil
  shape[#shape] = whole
  return y:reshape(shape)
end

--- The sequence whose stft is { real, imaginary }: frames added where they overlap, divided by the
--- sum of the squared windows.
--- Keras: ops.istft.
--- @usage local y = tide.ops.istft({ tide.ops.stft(tide.ones { 16 }, 8, 4, 8) }, 8, 4, 8)   -- ones
function fourier.istft(...)
  local o = istft_args:call(...)
  local re, im = parts("istft", o.x, 2)
  local w = fourier.window_of("istft", o, re.dtype)
  local n, step, count = o.fft_length, o.sequence_stride, re.shape[-2]
  local whole = n + step * (count - 1)
  local added = overlapped(real_inverse(re, im, n) * w, step)
  local weights = overlapped(ops.broadcast_to(w * w, { count, n }), step)
  local y = added / ops.where(ops.greater(weights, 1e-10), weights, 1)
  local first = o.center and n // 2 or 0
  local last = o.length and math.min(whole, first + o.length) or o.center and whole - n // 2
    or whole
  return common.part(y, y.ndim, math.min(first, whole) + 1, math.max(first, last))
end

return fourier

--- Fourier transforms of pairs of real and imaginary parts, as keras.ops has them, made of products
--- with matrices of cosines and
--- sines: gradients of any order pass. A length is cut into its factors (Cooley and Tukey 1965); a
--- prime costs its square.
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = core.ops
local fourier = {}

local required = check.required
local DIRECT = 32 -- up to this length one product is made

-- The factor of n to transform by one product: n itself, or the largest of at most DIRECT; n if
-- none is.
local function factor(n)
  if n > DIRECT then
    for f = DIRECT, 2, -1 do
      if n % f == 0 then
        return f
      end
    end
  end
  return n
end

-- cos and sin of 2 pi (i j mod period) / period for i < rows, j < columns; exact angles, computed
-- in float64.
local function waves(rows, columns, period, dtype)
  local i = ops.arange_(rows, 0, 1, { dtype = "int64" }):expand_dims(2)
  local j = ops.arange_(columns, 0, 1, { dtype = "int64" }):expand_dims(1)
  local angle = ops.cast(ops.mod(i * j, period), "float64") * (2 * math.pi / period)
  return ops.cast(ops.cos(angle), dtype), ops.cast(ops.sin(angle), dtype)
end

-- The transform of re + i im along the last axis with exp(-+ 2 pi i j k / n); inverse without its
-- factor 1 / n.
local function transform(re, im, inverse)
  local n = re.shape[-1]
  local a = factor(n)
  local sign = inverse and -1 or 1
  local b = n // a
  local shape = common.shape_of(re)
  if b > 1 then -- j = b ja + jb, k = ka + a kb: first over ja
    shape[#shape], shape[#shape + 1] = a, b
    re, im = ops.swapaxes(re:reshape(shape), -1, -2), ops.swapaxes(im:reshape(shape), -1, -2)
  end
  local c, s = waves(a, a, a, re.dtype)
  s = s * sign
  re, im = ops.matmul(re, c) + ops.matmul(im, s), ops.matmul(im, c) - ops.matmul(re, s)
  if b == 1 then
    return re, im
  end
  c, s = waves(b, a, n, re.dtype) -- (jb, ka)
  s = s * sign
  re, im = re * c + im * s, im * c - re * s
  re, im = transform(ops.swapaxes(re, -1, -2), ops.swapaxes(im, -1, -2), inverse) -- (ka, kb)
  shape[#shape] = nil
  shape[#shape] = n
  return ops.swapaxes(re, -1, -2):reshape(shape), ops.swapaxes(im, -1, -2):reshape(shape)
end

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

-- Both last axes, one after the other.
local function plane(re, im, inverse)
  re, im = transform(re, im, inverse)
  re, im = transform(ops.swapaxes(re, -1, -2), ops.swapaxes(im, -1, -2), inverse)
  return ops.swapaxes(re, -1, -2), ops.swapaxes(im, -1, -2)
end

local fft_args, fft2_args, ifft2_args = pair_args "fft", pair_args "fft2", pair_args "ifft2"

--- The discrete Fourier transform along the last axis of { real, imaginary }: two tensors. Keras:
--- ops.fft.
--- @usage local re, im = tide.ops.fft { tide.tensor { 1, 2 }, tide.tensor { 0, 0 } }   -- 3 -1, 0 0
function fourier.fft(...)
  local re, im = parts("fft", fft_args:call(...).x, 1)
  return transform(re, im)
end

--- The transform along the last two axes. Keras: ops.fft2.
--- @usage local re, im = tide.ops.fft2 { { { 1, 1 } }, { { 0, 0 } } }   -- {{2, 0}}, {{0, 0}}
function fourier.fft2(...)
  local re, im = parts("fft2", fft2_args:call(...).x, 2)
  return plane(re, im)
end

--- The inverse of fft2. Keras: ops.ifft2.
--- @usage local re, im = tide.ops.ifft2 { { { 1, 1 } }, { { 0, 0 } } }   -- {{1, 0}}, {{0, 0}}
function fourier.ifft2(...)
  local re, im = parts("ifft2", ifft2_args:call(...).x, 2)
  local n = re.shape[-1] * re.shape[-2]
  re, im = plane(re, im, true)
  return re / n, im / n
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

-- Of real numbers: the n / 2 + 1 frequencies that are not conjugates of others. Those of an even
-- length come from one transform of half the length, in which the elements at odd places are the
-- imaginary parts (Sorensen et al. 1987).
local function real_transform(x)
  local n = x.shape[-1]
  local half, kept = n // 2, n // 2 + 1
  if factor(n) == n then
    local c, s = waves(n, kept, n, x.dtype)
    return ops.matmul(x, c), -ops.matmul(x, s)
  elseif n % 2 == 1 then
    local re, im = transform(x, ops.zeros_like(x))
    return common.part(re, x.ndim, 1, kept), common.part(im, x.ndim, 1, kept)
  end
  local shape = common.shape_of(x)
  shape[#shape], shape[#shape + 1] = half, 2
  local pairs_of = x:reshape(shape)
  shape[#shape] = nil
  local re, im = transform(common.part(pairs_of, #shape + 1, 1, 1):reshape(shape),
    common.part(pairs_of, #shape + 1, 2, 2):reshape(shape))
  -- frequency `half` is frequency 0 again; behind it those of the conjugates, from the end
  re = ops.concatenate({ re, common.part(re, x.ndim, 1, 1) }, x.ndim)
  im = ops.concatenate({ im, common.part(im, x.ndim, 1, 1) }, x.ndim)
  local back_re, back_im = ops.flip(re, -1), ops.flip(im, -1)
  local even_re, even_im = (re + back_re) * 0.5, (im - back_im) * 0.5
  local odd_re, odd_im = (im + back_im) * 0.5, (back_re - re) * 0.5
  local c, s = waves(2, kept, n, x.dtype)
  c, s = common.part(c, 1, 2, 2):reshape { kept }, common.part(s, 1, 2, 2):reshape { kept }
  return even_re + odd_re * c + odd_im * s, even_im + odd_im * c - odd_re * s
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
  return real_transform(of_length(x, n))
end

-- The real numbers of length n whose transform begins with re + i im.
local function real_inverse(re, im, n)
  local kept = n // 2 + 1
  re, im = of_length(re, kept), of_length(im, kept)
  local c, s = waves(kept, n, n, re.dtype)
  -- frequencies between the first and the middle stand for their conjugates too
  local frequency = ops.arange_(kept, 0, 1, { dtype = "int64" })
  local single = ops.logical_or(ops.equal(frequency, 0), ops.equal(frequency * 2, n))
  local weight = ops.cast(ops.where(single, 1, 2), re.dtype) / n
  return ops.matmul(re * weight, c) - ops.matmul(im * weight, s)
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

-- The window of a frame in the middle of fft_length zeros.
local function window_of(where, o, dtype)
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
  local w = window_of("stft", o, x.dtype)
  if o.center then
    local margins = {}
    for i = 1, x.ndim do
      margins[i] = { 0, 0 }
    end
    margins[x.ndim] = { o.fft_length // 2, o.fft_length // 2 }
    x = ops.pad(x, margins, "reflect")
  end
  local frames = require("tide.ops.sequences").extract_sequences(x, o.fft_length, o.sequence_stride)
  return real_transform(frames * w)
end

--- The sequence whose stft is { real, imaginary }: frames added where they overlap, divided by the
--- sum of the squared windows.
--- Keras: ops.istft.
--- @usage local y = tide.ops.istft({ tide.ops.stft(tide.ones { 16 }, 8, 4, 8) }, 8, 4, 8)   -- ones
function fourier.istft(...)
  local o = istft_args:call(...)
  local re, im = parts("istft", o.x, 2)
  local w = window_of("istft", o, re.dtype)
  local n, step, count = o.fft_length, o.sequence_stride, re.shape[-2]
  local whole = n + step * (count - 1)
  local frames = real_inverse(re, im, n) * w
  -- places of the elements of all frames in the sequence
  local starts = ops.expand_dims(ops.arange_(count, 1, step, { dtype = "int64" }), 2)
  local places = ops.reshape(starts + ops.arange_(n, 0, 1, { dtype = "int64" }), { count * n, 1 })
  local shape = common.shape_of(frames)
  local lead = 1
  for i = 1, #shape - 2 do
    lead = lead * shape[i]
  end
  local flat = ops.transpose(frames:reshape { lead, count * n })
  local added = ops.transpose(ops.scatter(places, flat, { whole, lead }))
  local weights = ops.scatter(places, ops.ravel(ops.broadcast_to(w * w, { count, n })), { whole })
  local y = added / ops.where(ops.greater(weights, 1e-10), weights, 1)
  local first = o.center and n // 2 or 0
  local last = o.length and math.min(whole, first + o.length) or o.center and whole - n // 2
    or whole
  y = common.part(y, 2, math.min(first, whole) + 1, math.max(first, last))
  shape[#shape] = nil
  shape[#shape] = y.shape[2]
  return y:reshape(shape)
end

return fourier

--- Features of sound as TensorFlow's tf.signal and Keras make them: the mel scale, cosine
--- transforms, cepstral coefficients. Gradients pass.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = core.ops

local features = {}
local required = check.required

-- ---- mel scale ----

-- O'Shaughnessy's formula, 2595 log10(1 + f / 700), as HTK has it.
local function mel_of(hertz)
  return 1127 * math.log(1 + hertz / 700)
end

local mel_args = check.args("linear_to_mel_weight_matrix", {
  { "num_mel_bins", "int", 20, "columns: bands", min = 1, max = 1 << 12 },
  { "num_spectrogram_bins", "int", 129, "rows: frequencies from 0 to half the rate", min = 2,
    max = 1 << 20 },
  { "sample_rate", "number", 8000, "samples per second", above = 0 },
  { "lower_edge_hertz", "number", 125, "where the lowest band begins", min = 0 },
  { "upper_edge_hertz", "number", 3800, "where the highest band ends", above = 0 },
  { "dtype", "dtype", "float32", "of the result" },
})

--- The matrix (num_spectrogram_bins, num_mel_bins) that sums the frequencies of a spectrum in bands
--- of the mel scale: triangles of height 1, straight on the mel scale, each from the middle of the
--- one before to the middle of the next; the lowest frequency counts nowhere. TensorFlow:
--- tf.signal.linear_to_mel_weight_matrix.
---
---     tide.audio.linear_to_mel_weight_matrix(4, 9).shape   --> { 9, 4 }
--- @return userdata
function features.linear_to_mel_weight_matrix(...)
  local o = mel_args:call(...)
  local bins, bands, low, high = o.num_spectrogram_bins, o.num_mel_bins, o.lower_edge_hertz,
    o.upper_edge_hertz
  if bins > (1 << 26) // bands then
    errors.raise("linear_to_mel_weight_matrix",
      "%d bins in %d bands are more than a matrix may hold (expected %d elements or fewer)", bins,
      bands, 1 << 26)
  end
  if low >= high then
    errors.raise("linear_to_mel_weight_matrix",
      "upper_edge_hertz must be above lower_edge_hertz (got %s and %s)", tostring(high),
      tostring(low))
  end
  local first = mel_of(low)
  local width = (mel_of(high) - first) / (bands + 1)
  local mel = {}
  for i = 1, bins do
    mel[i] = { mel_of((i - 1) * o.sample_rate / 2 / (bins - 1)) }
  end
  mel = core.tensor(mel, { dtype = "float64" })
  local place = (mel - first) / width -- band k rises from k - 1 to k and falls to k + 1
  local middle = ops.arange_(bands, 1, 1, { dtype = "int64" }):cast "float64"
  local m = ops.maximum(1 - ops.abs(place - middle), 0)
  m = ops.where(ops.equal(mel, 0), 0, m)
  return ops.cast(m, o.dtype)
end

-- ---- cosine transforms ----

--- The matrix (n, n) of a cosine transform along a last axis, in float64: type and norm as SciPy
--- has them.
function features.cosines(n, kind, norm)
  local j = ops.arange_(n, 0, 1, { dtype = "int64" }):expand_dims(2) -- the input's
  local k = ops.arange_(n, 0, 1, { dtype = "int64" }):expand_dims(1) -- the result's
  local step, period -- exact angles: whole numbers of 2 pi / period
  if kind == 1 then
    step, period = j * k, 2 * (n - 1)
  elseif kind == 2 then
    step, period = (j * 2 + 1) * k, 4 * n
  elseif kind == 3 then
    step, period = j * (k * 2 + 1), 4 * n
  else
    step, period = (j * 2 + 1) * (k * 2 + 1), 8 * n
  end
  local m = ops.cos(ops.cast(ops.mod(step, period), "float64") * (2 * math.pi / period)) * 2
  if kind == 1 then -- both ends once
    local ends = ops.logical_or(ops.equal(j, 0), ops.equal(j, n - 1))
    return ops.where(ends, m / 2, m)
  elseif not norm then
    return kind == 3 and ops.where(ops.equal(j, 0), m / 2, m) or m
  end
  m = m * math.sqrt(1 / (2 * n))
  local first = kind == 2 and k or kind == 3 and j
  return first and ops.where(ops.equal(first, 0), m * math.sqrt(0.5), m) or m
end

local function dct_rows(x)
  return {
    x,
    { "type", "int", 2, "1 to 4", min = 1, max = 4 },
    { "n", "int", nil, "length to cut or fill to with zeros", min = 1, max = 1 << 20 },
    { "axis", "int", -1, "the last one" },
    { "norm", "enum", nil, "ortho: an orthogonal matrix", of = "ortho", none = true },
  }
end
local dct_args = check.args("dct", dct_rows { "x", "tensor", required, "(..., n)" })
local idct_args = check.args("idct", dct_rows { "x", "tensor", required, "(..., n)" })

local function transform(where, o, kind)
  local x = core.is_tensor(o.x) and o.x or core.tensor(o.x)
  x = x.dtype:find("float", 1, true) and x or ops.cast(x, "float32")
  local n = o.n or x.shape[-1]
  if x.ndim == 0 or n == 0 then
    errors.raise(where, "no element to transform in %s", tostring(x.shape))
  elseif o.axis ~= -1 and o.axis ~= x.ndim then
    errors.raise(where, "axis must be the last one (expected -1, got %d)", o.axis)
  elseif kind == 1 and (n < 2 or o.norm) then
    errors.raise(where, n < 2 and "type 1 needs two elements or more" or "type 1 has no norm")
  end
  local m = ops.cast(features.cosines(n, kind, o.norm), x.dtype)
  local had = x.shape[-1]
  if had < n then -- zeros behind x: their rows do not count
    m = m[{ { 1, had } }]
  elseif had > n then
    x = x[{ "...", { 1, n } }]
  end
  return ops.matmul(x, m)
end

--- The discrete cosine transform along the last axis, of type 1 to 4; type 2 is y[k] = 2 sum of
--- x[j] cos(pi k (2 j + 1) / 2 n). TensorFlow: tf.signal.dct.
---
---     tide.audio.dct { 1, 2, 3 }   --> { 12, -3.4641, 0 }
--- @return userdata
function features.dct(...)
  local o = dct_args:call(...)
  return transform("dct", o, o.type)
end

--- The inverse of dct of the same type, without its factor 1 / 2n (1 / (2n - 2) for type 1) unless
--- norm = "ortho". TensorFlow: tf.signal.idct.
---
---     tide.audio.idct({ 12, -3.4641, 0 }) / 6   --> { 1, 2, 3 }
--- @return userdata
function features.idct(...)
  local o = idct_args:call(...)
  return transform("idct", o, ({ 1, 3, 2, 4 })[o.type])
end

local mfcc_args = check.args("mfccs_from_log_mel_spectrograms", {
  { "log_mel_spectrograms", "tensor", required, "(..., bands)" },
})

--- Mel-frequency cepstral coefficients (..., bands) of logarithms of mel spectrograms (..., bands):
--- their cosine transform of type 2, scaled as HTK does; the first 13 are what is used mostly.
--- TensorFlow: tf.signal.mfccs_from_log_mel_spectrograms.
---
---     tide.audio.mfccs_from_log_mel_spectrograms(tide.zeros { 5, 40 }).shape   --> { 5, 40 }
--- @return userdata
function features.mfccs_from_log_mel_spectrograms(...)
  local x = mfcc_args:call(...).log_mel_spectrograms
  x = core.is_tensor(x) and x or core.tensor(x)
  return features.dct(x) * math.sqrt(1 / (2 * x.shape[-1]))
end

return features

--- Spectra of sound: STFTSpectrogram, whose transform is a convolution that may be trained,
--- MelSpectrogram, and MFCC on top of it.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local features = require "tide.audio.features"
local fourier = require "tide.ops.fourier"
local initializers = require "tide.initializers"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local windows = require "tide.windows"

local audio = {}

local EPSILON = 1e-7 -- Keras' fuzz factor
-- What a frame may hold, and how many bands it may become: a layer makes tables of these when it
-- is made, as from a file.
local FRAME, BANDS = 1 << 20, 4096

-- The smallest power of two that is at least n.
local function power_of_two(n)
  local p = 1
  while p < n do
    p = p * 2
  end
  return p
end

-- ---- STFTSpectrogram ----

--- Spectra of frames of a signal, by a convolution whose kernels are windowed waves of all
--- frequencies; as weights they may be trained, or kept by `trainable = false`.
---
--- Input (batch, time, channels), floats; output (batch, frames, channels * bins), or with
--- `expand_dims` (batch, frames, bins, channels); with "channels_first" (batch, channels, time),
--- (batch, channels * bins, frames) and (batch, channels, frames, bins). There are fft_length / 2
--- + 1 bins, in mode "stft" twice as many: real parts, then imaginary parts.
---
--- Modes: "log" of the magnitude, "magnitude", "psd" (power; both sides of the spectrum in one),
--- "real", "imag", "angle", "stft". As Keras' STFTSpectrogram.
---
---     tide.layers.STFTSpectrogram { "psd", 8 }(tide.ones { 1, 16, 1 }).shape   --> { 1, 3, 5 }
audio.STFTSpectrogram = base.derive(base, "STFTSpectrogram", {
  takes = "tensor",
  args = {
    { "mode", "enum", "log", "what the result is",
      of = "log|magnitude|psd|real|imag|angle|stft" },
    { "frame_length", "int", 256, "samples of a frame", min = 1, max = FRAME },
    { "frame_step", "int", nil, "from one frame to the next; half of frame_length by default",
      min = 1 },
    { "fft_length", "int", nil, "the power of two that holds a frame by default", min = 1,
      max = FRAME },
    { "window", { "enum", "list" }, "hann", "a name, frame_length values, or none",
      of = windows.names, none = true },
    { "periodic", "bool", false, "the window's period is frame_length, not one less" },
    { "scaling", "enum", "density", "L2 (density) or L1 (spectrum) norm of the window, or none",
      of = "density|spectrum", none = true },
    { "padding", "enum", "valid", "border rule", of = "valid|same" },
    { "expand_dims", "bool", false, "frames and bins have axes of their own" },
    { "data_format", "enum", "channels_last", "order of the axes",
      of = "channels_last|channels_first" },
  },
  init = function(self)
    if self.frame_step and self.frame_step > self.frame_length then
      errors.raise("STFTSpectrogram", "frame_step must be at most frame_length (expected %d, got \z
        %d)", self.frame_length, self.frame_step)
    elseif self.fft_length and self.fft_length < self.frame_length then
      errors.raise("STFTSpectrogram", "fft_length must be at least frame_length (expected %d, got \z
        %d)", self.frame_length, self.fft_length)
    elseif type(self.window) == "table" and #self.window ~= self.frame_length then
      errors.raise("STFTSpectrogram", "window must have frame_length values (expected %d, got %d)",
        self.frame_length, #self.window)
    end
    self[S].step = self.frame_step or math.max(1, self.frame_length // 2)
    local bins = (self.fft_length or power_of_two(self.frame_length)) // 2 + 1
    local sides = {}
    for i = 1, bins do
      sides[i] = i > 1 and i < bins and 2 or 1
    end
    self[S].bins, self[S].sides = bins, core.tensor(sides)
  end,
  build = function(self)
    for _, side in ipairs { "real", "imag" } do
      if self.mode ~= (side == "real" and "imag" or "real") then
        self[side .. "_kernel"] = self:add_weight {
          { self.frame_length, 1, self[S].bins }, name = side .. "_kernel",
          initializer = initializers.STFT { side, self.window == nil and none or self.window,
            self.scaling == nil and none or self.scaling, self.periodic } }
      end
    end
  end,
  call = function(self, x)
    if not x.dtype:find("float", 1, true) then
      errors.raise("STFTSpectrogram", "the input must hold floats (got %s)", x.dtype)
    elseif x.ndim ~= 3 then
      errors.raise("STFTSpectrogram", "the input must have three axes (expected %s, got %s)",
        self.data_format == "channels_last" and "(batch, time, channels)"
          or "(batch, channels, time)", tostring(x.shape))
    end
    local last = self.data_format == "channels_last"
    local channels, time = x.shape[last and 3 or 2], x.shape[last and 2 or 3]
    if not last or channels ~= 1 then -- the channels become further signals
      x = ops.reshape(last and ops.swapaxes(x, 2, 3) or x, { -1, time, 1 })
    end
    local function apply(kernel) -- (batch * channels, frames, bins)
      return kernel and ops.conv(x, ops.cast(kernel, x.dtype), { strides = self[S].step,
        padding = self.padding })
    end
    local mode = self.mode
    local re, im = apply(self.real_kernel), apply(self.imag_kernel)
    local y
    if mode == "real" or mode == "imag" then
      y = re or im
    elseif mode == "angle" then
      y = ops.arctan2(im, re)
    elseif mode == "stft" then
      y = ops.concatenate({ re, im }, { axis = 3 })
    else
      y = ops.square(re) + ops.square(im)
    end
    if mode == "psd" then -- what lies between the ends stands for its conjugate, too
      y = y * self[S].sides:cast(y.dtype)
    elseif mode == "log" or mode == "magnitude" then
      y = ops.sqrt(ops.maximum(y, EPSILON))
      y = mode == "log" and ops.log(ops.maximum(y, EPSILON)) or y
    end
    if last and channels == 1 then
      return self.expand_dims and ops.expand_dims(y, 4) or y
    end
    local frames, bins = y.shape[2], y.shape[3]
    y = ops.reshape(y, { -1, channels, frames, bins })
    if last then
      y = ops.transpose(y, self.expand_dims and { 1, 3, 4, 2 } or { 1, 3, 2, 4 })
      return self.expand_dims and y or ops.reshape(y, { -1, frames, channels * bins })
    end
    return self.expand_dims and y
      or ops.reshape(ops.swapaxes(y, 3, 4), { -1, channels * bins, frames })
  end,
  compute_output_shape = function(self, shape)
    if #shape ~= 3 then
      errors.raise("STFTSpectrogram", "the input must have three axes (got %s)",
        list.format(shape))
    end
    local last = self.data_format == "channels_last"
    local channels, time = shape[last and 3 or 2], shape[last and 2 or 3]
    local bins = self[S].bins * (self.mode == "stft" and 2 or 1)
    local step = self[S].step
    local frames = none
    if time ~= none then
      frames = self.padding == "same" and (time + step - 1) // step
        or (time - self.frame_length) // step + 1
      if frames < 1 then
        errors.raise("STFTSpectrogram", "%d samples hold no frame (expected %d or more)", time,
          self.frame_length)
      end
    end
    local wide = channels == none and none or channels * bins
    if self.expand_dims then
      return list.new(last and { shape[1], frames, bins, channels }
        or { shape[1], channels, frames, bins })
    end
    return list.new(last and { shape[1], frames, wide } or { shape[1], wide, frames })
  end,
})

-- ---- MelSpectrogram ----

-- Options of the layers that begin with a mel spectrogram.
local function mel_rows(...)
  local rows = { ... }
  for _, row in ipairs {
    { "fft_length", "int", 2048, "length of the transforms", min = 1, max = FRAME },
    { "sequence_stride", "int", 512, "from one frame to the next", min = 1 },
    { "sequence_length", "int", nil, "samples of a frame; fft_length by default", min = 1,
      max = FRAME },
    { "window", "any", "hann", '"hann", "hamming", sequence_length values, or none', none = true },
    { "sampling_rate", "number", 16000, "samples per second", above = 0 },
    { "num_mel_bins", "int", 128, "bands", min = 1, max = BANDS },
    { "min_freq", "number", 20.0, "hertz where the lowest band begins", min = 0 },
    { "max_freq", "number", nil, "where the highest ends; half of sampling_rate by default",
      above = 0 },
    { "power_to_db", "bool", true, "the result is in decibels" },
    { "top_db", "number", 80.0, "decibels below the loudest of the batch that are kept",
      min = 0 },
    { "mag_exp", "number", 2.0, "exponent of the magnitudes: 1 energy, 2 power" },
    { "min_power", "number", 1e-10, "least power in decibels", above = 0 },
    { "ref_power", "number", 1.0, "what 0 decibels are" },
  } do
    rows[#rows + 1] = row
  end
  return rows
end

-- Whether the op that makes spectra in one pass takes frames of this length.
local function in_one_pass(n)
  local rest = n // 2
  for f = 2, 31 do
    while rest > 1 and rest % f == 0 do
      rest = rest // f
    end
  end
  return n % 2 == 0 and n <= 1 << 14 and rest == 1
end

local function mel_init(self)
  local where = getmetatable(self).__name
  self.sequence_length = self.sequence_length or self.fft_length
  self.max_freq = self.max_freq or self.sampling_rate // 2
  if self.fft_length < self.sequence_length then
    errors.raise(where, "fft_length must be at least sequence_length (expected %d, got %d)",
      self.sequence_length, self.fft_length)
  elseif self.min_freq >= self.max_freq then
    errors.raise(where, "max_freq must be above min_freq (got %s and %s)",
      tostring(self.max_freq), tostring(self.min_freq))
  end
  local own, dtype = self[S], self.compute_dtype == "float64" and "float64" or "float32"
  own.matrix = features.linear_to_mel_weight_matrix(self.num_mel_bins, self.fft_length // 2 + 1,
    self.sampling_rate, self.min_freq, self.max_freq, dtype)
  own.window = in_one_pass(self.fft_length) and fourier.window_of(where, self, dtype)
end

local function decibels(x, least)
  return ops.log10(ops.maximum(x, least)) * 10
end

-- Powers by bands, (..., bands, frames), in float32 or float64.
local function mel_powers(self, x)
  local own = self[S]
  local dtype = own.matrix.dtype
  x = x.dtype == dtype and x or ops.cast(x, dtype)
  if own.window then
    return core.ops.mel_(x, own.window, own.matrix, self.sequence_stride,
      { exponent = self.mag_exp })
  end
  local re, im = ops.stft(x, self.sequence_length, self.sequence_stride, self.fft_length,
    { window = self.window == nil and none or self.window })
  local power = ops.square(re) + ops.square(im)
  if self.mag_exp ~= 2 then
    power = ops.power(ops.sqrt(power), self.mag_exp)
  end
  return ops.swapaxes(ops.matmul(power, own.matrix), -1, -2)
end

local function in_decibels(self, x)
  x = decibels(x, self.min_power)
    - 10 * math.log(math.max(math.abs(self.ref_power), self.min_power), 10)
  return ops.maximum(x, ops.max(x) - self.top_db)
end

-- The shape of what has `rows` rows per frame.
local function framed(self, shape, rows)
  local n = #shape
  if n == 0 then
    errors.raise(getmetatable(self).__name, "the input must have an axis of samples (got %s)",
      list.format(shape))
  end
  local out = {}
  for i = 1, n - 1 do
    out[i] = shape[i]
  end
  out[n] = rows
  local time = shape[n]
  out[n + 1] = time == none and none
    or (time + self.fft_length // 2 * 2 - self.fft_length) // self.sequence_stride + 1
  return list.new(out)
end

--- Spectra of frames of a signal in bands of the mel scale, as a rule in decibels: input (samples)
--- or (batch, samples), output (num_mel_bins, frames) or (batch, num_mel_bins, frames). Frames are
--- centred on their places, the ends are mirrored. As Keras' MelSpectrogram.
---
---     tide.layers.MelSpectrogram { num_mel_bins = 80, sampling_rate = 8000,
---       sequence_stride = 128, fft_length = 2048 }(tide.ones { 2, 16000 }).shape --> {2, 80, 126}
audio.MelSpectrogram = base.derive(base, "MelSpectrogram", {
  takes = "tensor",
  args = mel_rows(),
  init = mel_init,
  call = function(self, x)
    x = mel_powers(self, x)
    x = self.power_to_db and in_decibels(self, x) or x
    return ops.cast(x, self.compute_dtype)
  end,
  compute_output_shape = function(self, shape)
    return framed(self, shape, self.num_mel_bins)
  end,
})

local matrix_args = check.args("linear_to_mel_weight_matrix", {
  { "num_mel_bins", "int", 20, "columns: bands", min = 1, max = BANDS },
  { "num_spectrogram_bins", "int", 129, "rows: frequencies from 0 to half the rate", min = 2,
    max = FRAME },
  { "sampling_rate", "number", 8000, "samples per second", above = 0 },
  { "lower_edge_hertz", "number", 125, "where the lowest band begins", min = 0 },
  { "upper_edge_hertz", "number", 3800, "where the highest band ends", above = 0 },
  { "dtype", "dtype", "float32", "of the result" },
})

--- The matrix that sums frequencies in bands: tide.audio.linear_to_mel_weight_matrix with Keras'
--- names.
--- @usage local m = tide.layers.MelSpectrogram():linear_to_mel_weight_matrix(4, 9)   -- [9, 4]
--- @return userdata (num_spectrogram_bins, num_mel_bins)
function audio.MelSpectrogram.linear_to_mel_weight_matrix(_, ...)
  local o = matrix_args:call(...)
  return features.linear_to_mel_weight_matrix(o.num_mel_bins, o.num_spectrogram_bins,
    o.sampling_rate, o.lower_edge_hertz, o.upper_edge_hertz, o.dtype)
end

-- ---- MFCC ----

--- Mel-frequency cepstral coefficients: the first `num_mfcc` of the cosine transform of a mel
--- spectrogram's bands. Input (samples) or (batch, samples), output (num_mfcc, frames) or (batch,
--- num_mfcc, frames).
---
--- The spectrogram is MelSpectrogram's, in decibels, or with `power_to_db = false` the natural
--- logarithm of its powers. norm = "ortho" scales as torchaudio and librosa do, "htk" as tf.signal.
---
---     tide.layers.MFCC { 13, fft_length = 512 }(tide.ones { 2, 4000 }).shape   --> { 2, 13, 8 }
audio.MFCC = base.derive(base, "MFCC", {
  takes = "tensor",
  args = mel_rows({ "num_mfcc", "int", 13, "coefficients that are kept", min = 1 },
    { "norm", "enum", "ortho", "scale of the cosine transform; none: SciPy's without one",
      of = "ortho|htk", none = true }),
  init = function(self)
    mel_init(self)
    if self.num_mfcc > self.num_mel_bins then
      errors.raise("MFCC", "num_mfcc must be at most num_mel_bins (expected %d, got %d)",
        self.num_mel_bins, self.num_mfcc)
    end
    local m = features.cosines(self.num_mel_bins, 2, self.norm == "ortho")
    m = self.norm == "htk" and m * math.sqrt(1 / (2 * self.num_mel_bins)) or m
    m = m[{ {}, { 1, self.num_mfcc } }]
    self[S].cosines = ops.copy(ops.cast(ops.transpose(m), self[S].matrix.dtype))
  end,
  call = function(self, x)
    x = mel_powers(self, x)
    x = self.power_to_db and in_decibels(self, x) or ops.log(ops.maximum(x, self.min_power))
    return ops.cast(ops.matmul(self[S].cosines, x), self.compute_dtype)
  end,
  compute_output_shape = function(self, shape)
    return framed(self, shape, self.num_mfcc)
  end,
})

return audio

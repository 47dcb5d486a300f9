--- Panels of sound: waves, and spectrograms in colours.
local core = require "tide.core"
local errors = require "tide.errors"

local ops = require "tide.ops"
local sound = {}

local POINTS = 1000 -- of a wave: more are shown by their extremes
local COLUMNS = 1600 -- of a spectrogram

local function tensor_of(where, x)
  x = core.is_tensor(x) and x:detach() or core.tensor(x)
  if x.size == 0 then
    errors.raise(where, "there is nothing to show (got %s)", tostring(x.shape))
  end
  return ops.cast(x, "float32")
end

-- The points of one channel: as they are, or the least and the largest of each stretch.
local function points(x, rate)
  local n, line = x.size, {}
  local step = (n + POINTS - 1) // POINTS
  if n <= 2 * POINTS then
    for i, y in ipairs(x:tolist()) do
      line[i] = { (i - 1) / rate, y }
    end
  else
    local whole = n // step
    x = ops.reshape(x[{ { 1, whole * step } }], { whole, step })
    local low, high = ops.min(x, { axis = 2 }):tolist(), ops.max(x, { axis = 2 }):tolist()
    for i = 1, whole do
      local t = ((i - 1) * step + step / 2) / rate
      line[#line + 1], line[#line + 2] = { t, low[i] }, { t, high[i] }
    end
  end
  local finite = {}
  for _, p in ipairs(line) do
    finite[#finite + 1] = p[2] - p[2] == 0 and p or nil
  end
  return finite
end

--- The panel of a wave (samples) or (samples, channels), over seconds.
function sound.wave(where, x, o)
  x = tensor_of(where, x)
  if x.ndim > 2 then
    errors.raise(where, "takes samples of one channel or more (expected (samples, channels), \z
      got %s)", tostring(x.shape))
  end
  x = x.ndim == 2 and x or ops.reshape(x, { x.size, 1 })
  local lines = {}
  for c = 1, x.shape[2] do
    lines[c] = points(ops.copy(x[{ {}, c }]), o.sample_rate or 1)
    lines[c].name = x.shape[2] > 1 and "channel " .. c or nil
  end
  return { title = o.title, xlabel = o.sample_rate and "seconds" or "samples", lines = lines }
end

-- Colours from dark to bright, by 256 steps.
local function palette()
  local stops = { { 0, 0, 4 }, { 81, 18, 124 }, { 183, 55, 121 }, { 252, 137, 97 },
    { 252, 253, 191 } }
  local rows = {}
  for i = 0, 255 do
    local at = i / 255 * (#stops - 1)
    local k = math.min(math.floor(at), #stops - 2)
    rows[i + 1] = {}
    for c = 1, 3 do
      rows[i + 1][c] = math.floor(stops[k + 1][c] + (at - k) * (stops[k + 2][c] - stops[k + 1][c])
        + 0.5)
    end
  end
  return core.tensor(rows, { dtype = "uint8" })
end

-- Decibels of the spectra of samples: (bins, frames).
local function decibels(x, fft_length)
  local step = math.max(fft_length // 4, (x.size + COLUMNS - 1) // COLUMNS)
  if x.size <= fft_length // 2 then -- the mirrored ends need as many samples
    x = ops.pad(x, { { 0, fft_length // 2 + 1 - x.size } })
  end
  local re, im = ops.stft(x, fft_length, step, fft_length)
  local db = ops.log(ops.maximum(ops.square(re) + ops.square(im), 1e-10)) * (10 / math.log(10))
  db = ops.maximum(db, ops.max(db) - 80)
  return ops.transpose(db)
end

--- The panel of a spectrogram: (bins, frames), or samples of which it is made.
function sound.spectrogram(where, x, o)
  x = tensor_of(where, x)
  if x.ndim == 2 and x.shape[2] == 1 then
    x = ops.reshape(x, { x.shape[1] })
  elseif x.ndim > 2 then
    errors.raise(where, "takes (bins, frames), or samples (got %s)", tostring(x.shape))
  end
  local rate, samples = o.sample_rate, x.ndim == 1 and x.size
  x = samples and decibels(x, o.fft_length) or x
  local rows, columns = x.shape[1], x.shape[2]
  if columns > 2 * COLUMNS then
    local every = (columns + COLUMNS - 1) // COLUMNS
    x = x[{ {}, { 1, columns, every } }]
  end
  x = x[{ { rows, 1, -1 } }] -- low frequencies below
  local finite = ops.isfinite(x)
  local low, high = ops.min(ops.where(finite, x, math.huge)), ops.max(ops.where(finite, x,
    -math.huge))
  low, high = low:item(), high:item()
  local scale = high > low and high < math.huge and 255 / (high - low) or 0
  local share = ops.where(finite, (x - (low < math.huge and low or 0)) * scale, 0)
  local index = ops.cast(ops.round(share), "int64") + 1
  local seconds = rate and samples and samples / rate
  local hertz = rate and samples and rate / 2
  local picture = ops.take(palette(), index, 1)
  if not o.file then -- a terminal keeps the proportions
    picture = core.image.fit(ops.copy(picture), 240, 480, "bilinear", false)
  end
  return { title = o.title, picture = picture,
    extent = { 0, seconds or columns, 0, hertz or rows },
    xlabel = seconds and "seconds" or "frames",
    note = seconds and ("0 to %.3g seconds, 0 to %.6g hertz from below"):format(seconds, hertz)
      or ("%d frames, %d bins from below"):format(columns, rows) }
end

return sound

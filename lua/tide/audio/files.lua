--- Reading and writing sound files, and other sampling rates. WAV is read and written by Tide; what
--- else libsndfile knows (FLAC, Ogg, AIFF, AU, CAF, MP3) by libsndfile, other rates come from
--- libsamplerate; both are opened when they are needed (Debian: libsndfile1, libsamplerate0).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"

local files = {}
local sound = core.sound
local required = check.required

-- Order of libsamplerate's converters.
local qualities = { best = 0, medium = 1, fastest = 2, hold = 3, linear = 4 }
files.qualities = qualities
local quality_row = { "quality", "enum", "best",
  "how other rates are made: band-limited, the last sample held, or straight lines",
  of = "best|medium|fastest|hold|linear" }

-- A path or the bytes of a file: no path holds a zero byte, and every sound file does.
local function source_of(where, source, always)
  if type(source) ~= "string" then
    errors.raise(where, "source must be a path or the bytes of a file (got %s)",
      check.show(source))
  end
  return source, always or source:find("\0", 1, true) ~= nil
end

--- Samples (samples, channels) at another rate, in their own dtype.
local function at_rate(where, x, from, to, quality)
  if from == to then
    return x
  end
  local dtype = x.dtype
  local y = sound.resample(dtype == "float32" and x or ops.cast(x, "float32"), where, from, to,
    qualities[quality])
  return dtype == "float32" and y or ops.cast(y, dtype)
end

local rate_row = { "sample_rate", "int", nil, "samples per second; as stored by default", min = 1 }
local load_rows = {
  rate_row,
  { "mono", "bool", false, "one channel, the mean of all" },
  { "dtype", "enum", "float32", "floats of -1 to 1, or whole numbers as they are stored",
    of = "float32|float64|int32" },
  { "offset", "number", 0, "seconds to leave out", min = 0 },
  { "duration", "number", nil, "seconds to read at most; all by default", min = 0 },
  quality_row,
}

-- Reads what load and decode read.
local function read(where, source, o, always)
  local bytes
  source, bytes = source_of(where, source, always)
  if o.dtype == "int32" and (o.mono or o.sample_rate) then
    errors.raise(where, "%s needs floats (dtype is int32)",
      o.mono and "mono" or "another sample_rate")
  end
  local x, rate = sound.load(source, bytes, where, o.dtype, o.offset, o.duration)
  if o.mono and x.shape[2] > 1 then
    x = ops.mean(x, { axis = 2, keepdims = true })
  end
  return at_rate(where, x, rate, o.sample_rate or rate, o.quality), o.sample_rate or rate
end

local load_args = check.args("audio.load", {
  { "source", "any", required, "a path, or the bytes of a file" },
}, { named = load_rows })
local decode_args = check.args("audio.decode", {
  { "bytes", "any", required, "the bytes of a file" },
}, { named = load_rows })

--- Reads a sound: samples (samples, channels) and how many there are per second.
---
--- WAV files (RIFF, RF64; whole numbers of 8 to 32 bits, floats, A-law, mu-law) are read by Tide,
--- as tf.audio.decode_wav reads those of 16 bits; what else libsndfile knows by libsndfile. A file
--- that ends early is refused. `dtype = "int32"` gives whole numbers as they are stored.
---
---     local x, rate = tide.audio.load("word.wav", { sample_rate = 16000, mono = true })
--- @param source string a path, or the bytes of a file
--- @return userdata, integer samples, and their rate
function files.load(...)
  local o = load_args:call(...)
  return read("audio.load", o.source, o)
end

--- Reads a sound from the bytes of a file, as `tide.audio.load` does. TensorFlow:
--- tf.audio.decode_wav.
---
---     local x, rate = tide.audio.decode(tide.audio.encode({ 0, 0.5, -1 }, 8000))
--- @param bytes string
--- @return userdata, integer samples (samples, channels), and their rate
function files.decode(...)
  local o = decode_args:call(...)
  return read("audio.decode", o.bytes, o, true)
end

local info_args = check.args("audio.info", {
  { "source", "any", required, "a path, or the bytes of a file" },
})

--- What the header of a sound file says: `format`, `encoding`, `sample_rate`, `channels`,
--- `samples` (per channel), `duration` in seconds and, where samples have a fixed size, `bits`.
---
---     tide.audio.info(tide.audio.encode({ 0, 0.5, -1 }, 8000)).samples   --> 3
--- @param source string a path, or the bytes of a file
--- @return table
function files.info(...)
  local source, bytes = source_of("audio.info", info_args:call(...).source)
  return sound.info(source, bytes, "audio.info")
end

-- ---- writing ----

-- Endings of names -> format, and what a format stores by default.
local formats = { wav = "wav", wave = "wav", flac = "flac", ogg = "ogg", oga = "ogg", opus = "ogg",
  aiff = "aiff", aif = "aiff", au = "au", snd = "au", caf = "caf", mp3 = "mp3" }
local encodings = { ogg = "vorbis", mp3 = "mpeg_3" }

-- Samples as the core takes them.
local function samples_of(where, x)
  x = core.is_tensor(x) and x or core.tensor(x)
  if x.ndim ~= 1 and x.ndim ~= 2 then
    errors.raise(where, "x must have one or two axes (expected (samples, channels), got %s)",
      tostring(x.shape))
  end
  x = x.ndim == 1 and ops.reshape(x, { x.shape[1], 1 }) or x
  if x.dtype == "float32" or x.dtype == "float64" or x.dtype == "int32" then
    return x
  elseif x.dtype == "bool" then
    errors.raise(where, "x holds bools (expected floats or whole numbers)")
  end
  local y = ops.cast(x, x.dtype:find "int" and "int32" or "float32")
  if x.dtype:find "int" and x.size > 0 and not ops.all(ops.equal(ops.cast(y, x.dtype), x)) then
    errors.raise(where, "x holds whole numbers beyond 32 bits")
  end
  return y
end

local encoding_row = { "encoding", "enum", nil, "how samples are stored; by the format: pcm_16, \z
  vorbis or mpeg_3", of = "pcm_u8|pcm_s8|pcm_16|pcm_24|pcm_32|float_32|float_64|a_law|mu_law|\z
  vorbis|opus|mpeg_3|alac_16|alac_24" }
local encode_args = check.args("audio.encode", {
  { "x", "any", required, "(samples) or (samples, channels)" },
  { "sample_rate", "int", required, "samples per second", min = 1, max = 2147483647 },
}, { named = { { "format", "enum", "wav", "kind of file", of = "wav|flac|ogg|aiff|au|caf|mp3" },
  encoding_row } })
local save_args = check.args("audio.save", {
  { "path", "string", required, "its ending tells the format: .wav, .flac, .ogg, .opus, .aiff, \z
    .au, .caf, .mp3" },
  { "x", "any", required, "(samples) or (samples, channels)" },
  { "sample_rate", "int", required, "samples per second", min = 1, max = 2147483647 },
}, { named = { encoding_row } })

--- The bytes of a sound file. Floats beyond -1 to 1 are clipped where whole numbers are stored and
--- rounded to the nearest; whole numbers are stored as they are. WAV is made by Tide, the others by
--- libsndfile. TensorFlow: tf.audio.encode_wav.
---
---     #tide.audio.encode({ 0, 0.5, -1 }, 8000)   --> 50
--- @param x any (samples) or (samples, channels)
--- @param sample_rate integer
--- @return string
function files.encode(...)
  local o = encode_args:call(...)
  return sound.encode(samples_of("audio.encode", o.x), "audio.encode", o.format,
    o.encoding or encodings[o.format] or "pcm_16", o.sample_rate)
end

--- Writes a sound file, whole or not at all; its format is told by the ending of its name, its
--- samples are stored as in `tide.audio.encode`.
---
---     tide.audio.save("word.wav", x, 16000, { encoding = "pcm_24" })
--- @param path string
--- @param x any (samples) or (samples, channels)
--- @param sample_rate integer
function files.save(...)
  local o = save_args:call(...)
  local ending = (o.path:match "%.(%w+)$" or ""):lower()
  local format = formats[ending]
  if not format then
    errors.raise("audio.save", "cannot write '%s' (expected a name that ends in .wav, .flac, \z
      .ogg, .opus, .aiff, .au, .caf or .mp3)", o.path)
  end
  local encoding = o.encoding or ending == "opus" and "opus" or encodings[format] or "pcm_16"
  sound.encode(samples_of("audio.save", o.x), "audio.save", format, encoding, o.sample_rate,
    o.path)
end

local resample_args = check.args("audio.resample", {
  { "x", "any", required, "(samples) or (samples, channels), floats" },
  { "from", "int", required, "samples per second that x has", min = 1 },
  { "to", "int", required, "samples per second of the result", min = 1 },
}, { named = { quality_row } })

--- A sound at another sampling rate: ceil(samples * to / from) samples, by libsamplerate. No
--- gradients pass.
---
---     tide.audio.resample(tide.zeros { 100 }, 8000, 16000).shape   --> { 200 }
--- @param x any (samples) or (samples, channels), floats
--- @param from integer
--- @param to integer at most 256 times as many or as few
--- @return userdata
function files.resample(...)
  local o = resample_args:call(...)
  local x = core.is_tensor(o.x) and o.x or core.tensor(o.x)
  if not x.dtype:find "^float" and not x.dtype:find "^bfloat" then
    errors.raise("audio.resample", "x must hold floats (got %s)", x.dtype)
  end
  local flat = x.ndim == 1
  local dtype = x.dtype
  x = samples_of("audio.resample", x.requires_grad and x:detach() or x)
  x = at_rate("audio.resample", x, o.from, o.to, o.quality)
  x = x.dtype == dtype and x or ops.cast(x, dtype)
  return flat and ops.reshape(x, { x.shape[1] }) or x
end

return files

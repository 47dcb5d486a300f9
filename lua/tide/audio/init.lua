--- Sound: reading and writing files, other sampling rates, and features: the mel scale, cosine
--- transforms, cepstral coefficients. Spectra are tide.ops.stft, and layers.
local features = require "tide.audio.features"
local files = require "tide.audio.files"

return require("tide.namespace").new("tide.audio", {
  load = files.load,
  save = files.save,
  decode = files.decode,
  encode = files.encode,
  info = files.info,
  resample = files.resample,
  linear_to_mel_weight_matrix = features.linear_to_mel_weight_matrix,
  dct = features.dct,
  idct = features.idct,
  mfccs_from_log_mel_spectrograms = features.mfccs_from_log_mel_spectrograms,
})

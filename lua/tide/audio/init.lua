--- Sound: reading and writing files, other sampling rates.
local files = require "tide.audio.files"

return require("tide.namespace").new("tide.audio", {
  load = files.load,
  save = files.save,
  decode = files.decode,
  encode = files.encode,
  info = files.info,
  resample = files.resample,
})

--- Pictures without Keras' names: `tide.image.load`, `save`, `decode`, `encode`, `resize`, `format`.
local files = require "tide.preprocessing.image.files"

return {
  load = files.load_img,
  save = files.save_img,
  decode = files.decode,
  encode = files.encode,
  resize = files.resize,
  smart_resize = files.smart_resize,
  format = files.format,
}

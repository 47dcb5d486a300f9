--- Pictures without Keras' names: `tide.image.load`, `save`, `decode`, `encode`, `resize`,
--- `format`, `show`.
local check = require "tide.check"
local core = require "tide.core"
local files = require "tide.preprocessing.image.files"

local show_args = check.args("image.show", {
  { "x", "any", check.required, "a picture, several (N, H, W, C), or a list of pictures" },
  { "mode", "enum", "auto", "how; what the terminal offers by default",
    of = "auto|kitty|sixel|blocks|plain" },
  { "width", "int", nil, "columns of the terminal to fill at most; 80 or what there is", min = 1 },
  { "columns", "int", nil, "pictures per row of a grid; about a square by default", min = 1 },
  { "scale", "bool", false, "stretch the values: the least black, the largest white" },
}, { named = { { "out", "any", nil, "a file to write to; io.stdout" } } })

--- Shows a picture in the terminal: by kitty's protocol, as sixel, in half blocks of 24-bit colour,
--- or in plain characters, whichever the terminal offers (environment variables, else the terminal
--- is asked once). Bytes count as 0..255, floats of at most 1 as 0..1.
--- @param x any (H, W), (H, W, C), a batch (N, H, W, C), or a list of pictures of any sizes
--- @usage tide.image.show(tide.image.load "cat.jpg")
local function show(...)
  local o = show_args:call(...)
  local picture = require "tide.plot.picture"
  local x, p = o.x
  if core.is_tensor(x) and x.ndim ~= 4 then
    p = picture.rgb("image.show", x, o.scale)
  elseif core.is_tensor(x) or (type(x) == "table" and core.is_tensor(x[1])) then
    p = picture.grid("image.show", x, o.columns, o.scale)
  else
    p = picture.rgb("image.show", x, o.scale)
  end
  local out = o.out or io.stdout
  out:write(picture.text("image.show", p, o.mode, o.width), "\n")
  out:flush()
end

return require("tide.namespace").new("tide.image", {
  show = show,
  load = files.load_img,
  save = files.save_img,
  decode = files.decode,
  encode = files.encode,
  resize = files.resize,
  smart_resize = files.smart_resize,
  format = files.format,
})

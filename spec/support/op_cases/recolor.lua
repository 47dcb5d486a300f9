-- Values are in spec/layers/image_colours_spec.lua, beside Keras; here are gradients, engines and
-- wrong calls.
local floats = { float32 = "float32", float64 = "float64" }
local picture = { shape = { 2, 3, 4, 3 }, from = 0.05, to = 0.95 }
local unit = { low = 0, high = 1 }
local values = "spec/layers/image_colours_spec.lua"

local rows = {}
local function add(row)
  rows[#rows + 1] = row
end

local amounts = { brightness = { 0.3, -0.2 }, contrast = { 0.5, 1.3 }, degenerate = { 0.25, 0.9 },
  grayscale = { 1, 0 }, invert = { 0, 1 }, hue = { 0.21, -0.4 }, saturation = { 0.4, 1.1 },
  sharpen = { 0.3, 1.6 }, posterize = { 3, 6 }, solarize = { { 20, 200 }, { 0, 100 } } }
local names = {}
for how in pairs(amounts) do
  names[#names + 1] = how
end
table.sort(names)

for _, how in ipairs(names) do
  local numbers = {}
  for i, v in ipairs(amounts[how]) do
    numbers[i] = type(v) == "table" and v or { v }
  end
  local steps = how == "posterize" or how == "solarize"
  add { op = "recolor_", label = how, grad = not steps and { 1 } or false,
    why = steps and "jumps, between which it is straight" or nil, gradgrad = not steps,
    options = { how = how, low = 0, high = 1 },
    inputs = { picture, { values = numbers, dtype = "float64" } } }
end
add { op = "recolor_", label = "autocontrast", grad = false,
  why = "an end of the range has two sides",
  options = { how = "autocontrast", low = 0, high = 1 }, inputs = { picture, false } }
add { op = "recolor_", spec = values }
add { op = "recolor_", label = "wrong calls", options = { how = "brightness" }, dtypes = floats,
  inputs = { picture, { values = { { 1 }, { 2 } }, dtype = "float64" } }, grad = { 1 },
  empty = { inputs = { { 0, 2, 2, 3 }, { 0, 1 } }, output = { 0, 2, 2, 3 } }, errors = {
    { inputs = { { shape = { 2, 3, 3 } }, { shape = { 2, 1 } } },
      says = "x has the wrong number of axes (expected (N, H, W, C), got [2, 3, 3])" },
    { inputs = { picture, { shape = { 3, 1 } } },
      says = "amounts has the wrong shape (expected [2, 1], got [3, 1])" },
    { inputs = { picture, false }, says = "amounts are missing" },
    { inputs = { { shape = { 2, 3, 4, 2 } }, { shape = { 2, 1 } } }, options = { how = "hue" },
      says = "x has no three channels (expected RGB, got 2)" },
    { inputs = { picture, { shape = { 2, 1 } } }, options = { low = 1, high = 1 },
      says = "the range of colours is empty (got 1 to 1)" },
  } }

add { op = "equalize_", spec = values }
add { op = "equalize_", label = "wrong calls", options = unit, inputs = { picture }, grad = false,
  why = "a histogram has no gradient", errors = {
    { inputs = { picture }, options = { bins = 0 },
      says = "bins is out of range (expected 1 to 1048576, got 0)" },
  } }
add { op = "equalize_tiles_", spec = values }
add { op = "equalize_tiles_", label = "wrong calls", grad = false,
  options = { tiles = { 2, 3 }, low = 0, high = 1 }, inputs = { picture },
  why = "a histogram has no gradient", errors = {
    { inputs = { picture }, options = { tiles = { 0, 1 } },
      says = "tiles must be 1 to 4096 (got 0)" },
    { inputs = { picture }, options = { tiles = { 1 } },
      says = "tiles must be two numbers, down and across (got 1)" },
  } }

local order = { values = { 2, 1 }, dtype = "int32" }
local weights = { values = { 0.25, 0.75 }, dtype = "float64" }
local boxes = { values = { { 0.5, 1, 3, 3 }, { 0, 0, 2.5, 1.5 } }, dtype = "float64" }
add { op = "blend_", spec = values }
add { op = "blend_", label = "all inputs", grad = { 1, 2, 4 }, gradgrad = true,
  inputs = { picture, { shape = { 2, 3, 4, 3 }, from = 1, to = 2 }, order, weights, boxes },
  errors = {
    { inputs = { picture, { shape = { 2, 3, 4, 1 } }, false, false, false },
      says = "other does not fit x (expected [2, 3, 4, 3], got [2, 3, 4, 1])" },
    { inputs = { picture, picture, { values = { 2, 3 }, dtype = "int32" }, false, false },
      says = "3" },
    { inputs = { picture, picture, { values = { 1.0, 2.0 }, dtype = "float32" }, false, false },
      says = "order must hold whole numbers" },
    { inputs = { picture, picture, { values = { 1 }, dtype = "int32" }, false, false },
      says = "order has the wrong shape (expected [2], got [1])" },
  } }
add { op = "blend_", label = "weights alone", grad = { 1, 2 },
  inputs = { picture, picture, false, weights, false } }
add { op = "blend_", label = "a row in boxes", grad = { 1, 2 },
  inputs = { picture, { shape = { 1, 1, 4, 3 } }, false, false, boxes } }

return rows

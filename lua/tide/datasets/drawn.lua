--- Pictures and sounds that Tide draws: digits, shapes for detection and segmentation, tones like
--- spoken digits.
local check = require "tide.check"
local core = require "tide.core"
local draws = require "tide.datasets.draws"
local list = require "tide.list"
local ops = require "tide.ops"

local drawn = {}

local SEED = { "seed", "int", nil, "of all that is drawn; another one in every run when left out",
  min = 0, max = 0xffffffff }

-- ---- digits ----

-- Strokes of each digit in a square from (-1, -1), above on the left, to (1, 1): lists of x, y.
local function arc(x, y, rx, ry, from, to)
  local out = {}
  for k = 0, 8 do
    local a = math.rad(from + (to - from) * k / 8)
    out[#out + 1], out[#out + 2] = x + rx * math.cos(a), y + ry * math.sin(a)
  end
  return out
end

local function join(...)
  local out = {}
  for _, part in ipairs { ... } do
    table.move(part, 1, #part, #out + 1, out)
  end
  return out
end

local STROKES = {
  { arc(0, 0, 0.6, 0.9, 0, 360) },
  { { -0.35, -0.5, 0.1, -0.9, 0.1, 0.9 } },
  { join(arc(0, -0.4, 0.55, 0.5, 190, 390), { -0.6, 0.9, 0.65, 0.9 }) },
  { join(arc(0, -0.45, 0.5, 0.45, 210, 450), arc(0, 0.45, 0.6, 0.45, 270, 510)) },
  { { 0.25, 0.9, 0.25, -0.9, -0.6, 0.3, 0.65, 0.3 } },
  { join({ 0.55, -0.9, -0.45, -0.9, -0.5, -0.1 }, arc(0, 0.35, 0.6, 0.5, 230, 510)) },
  { join({ 0.35, -0.9, -0.3, -0.3 }, arc(0, 0.4, 0.55, 0.5, 200, 560)) },
  { { -0.6, -0.9, 0.6, -0.9, -0.1, 0.9 } },
  { arc(0, -0.45, 0.45, 0.42, 90, 450), arc(0, 0.42, 0.55, 0.48, 270, 630) },
  { join(arc(0, -0.4, 0.55, 0.5, 360, 0), { 0.5, -0.4, 0.3, 0.9 }) },
}
local DIGITS = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" }

-- Pictures of one digit: nearness of every pixel to the nearest stroke, each picture turned,
-- sheared, stretched and moved in its own way. `ways` has a row of six numbers per picture: the
-- matrix from the square to the picture and the place.
local function render(strokes, ways, thickness, size)
  local n = #ways
  local a = core.tensor(ways):reshape { n, 6, 1 }
  local grid = {}
  for r = 0, size - 1 do
    for c = 0, size - 1 do
      local at = r * size + c + 1
      grid[1] = grid[1] or {}
      grid[2] = grid[2] or {}
      grid[1][at], grid[2][at] = (c + 0.5) / size * 2 - 1, (r + 0.5) / size * 2 - 1
    end
  end
  local px, py = core.tensor { grid[1] }, core.tensor { grid[2] }
  local function place(x, y)
    return a[{ {}, 1 }] * x + a[{ {}, 2 }] * y + a[{ {}, 5 }],
      a[{ {}, 3 }] * x + a[{ {}, 4 }] * y + a[{ {}, 6 }]
  end
  local nearest
  for _, s in ipairs(strokes) do
    for k = 1, #s - 3, 2 do
      local x1, y1 = place(s[k], s[k + 1])
      local x2, y2 = place(s[k + 2], s[k + 3])
      local dx, dy = x2 - x1, y2 - y1
      local t = ops.clip(((px - x1) * dx + (py - y1) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
      local ex, ey = px - x1 - t * dx, py - y1 - t * dy
      local d = ex * ex + ey * ey
      nearest = nearest and ops.minimum(nearest, d) or d
    end
  end
  local edge = core.tensor(thickness):reshape { n, 1 }
  return ops.clip((edge - ops.sqrt(nearest)) * (size / 2) + 0.5, 0, 1)
end

local digits_args = check.args("digits", {
  { "n_samples", "int", 1000, "pictures", min = 1 },
  { "size", "int", 28, "pixels of a side", min = 8, max = 256 },
  { "noise", "number", 0.05, "standard deviation of what is added, of the whole range", min = 0 },
  SEED })

--- Digits as if written by hand: strokes of ten figures, each picture turned, stretched and moved
--- in its own way, with lines of its own width and noise.
---
---     local x, y, names = tide.datasets.digits { 20, seed = 1 }
---     x.shape   --> { 20, 28, 28 }
--- @return userdata x (n_samples, size, size) uint8
--- @return userdata y (n_samples) int64, labels from 1: 1 is the digit 0
--- @return table class_names "0" to "9"
function drawn.digits(...)
  local o = digits_args:construct(...)
  local draw = draws(o.seed)
  local labels, of = {}, {}
  for k = 1, 10 do
    of[k] = { rows = {}, ways = {}, thickness = {} }
  end
  for i = 1, o.n_samples do
    local k = (i - 1) % 10 + 1
    labels[i] = k
    local turn, shear = draw:uniform(-0.25, 0.25), draw:uniform(-0.25, 0.25)
    local wide, high = draw:uniform(0.5, 0.75), draw:uniform(0.6, 0.8)
    local c, s = math.cos(turn), math.sin(turn)
    local g = of[k]
    g.rows[#g.rows + 1] = i
    g.ways[#g.ways + 1] = { c * wide, (c * shear - s) * high, s * wide, (s * shear + c) * high,
      draw:uniform(-0.15, 0.15), draw:uniform(-0.12, 0.12) }
    g.thickness[#g.thickness + 1] = draw:uniform(0.06, 0.13)
  end
  local parts, rows = {}, {}
  for k = 1, 10 do
    if #of[k].rows > 0 then
      parts[#parts + 1] = render(STROKES[k], of[k].ways, of[k].thickness, o.size)
      table.move(of[k].rows, 1, #of[k].rows, #rows + 1, rows)
    end
  end
  -- rows[i] is the picture's own number; then any order
  local back, order = {}, draw:order(o.n_samples)
  for i, row in ipairs(rows) do
    back[row] = i
  end
  local take, y = {}, {}
  for i, row in ipairs(order) do
    take[i], y[i] = back[row], labels[row]
  end
  local x = ops.concatenate(parts, { axis = 1 })[core.tensor(take, { dtype = "int64" })]
  if o.noise > 0 then
    x = x + require("tide.random").normal(x.shape:totable(), { stddev = o.noise,
      seed = draw.next() & 0x7fffffff })
  end
  x = ops.round(ops.clip(x, 0, 1) * 255):cast "uint8"
  return x:reshape { o.n_samples, o.size, o.size }, core.tensor(y, { dtype = "int64" }),
    list.copy(DIGITS)
end

-- ---- shapes ----

local SHAPES = { "circle", "square", "triangle" }

-- Whether a shape of radius r about (0, 0) covers a point.
local covers = {
  function(x, y, r) return x * x + y * y <= r * r end,
  function(x, y, r) return math.abs(x) <= r and math.abs(y) <= r end,
  function(x, y, r) return y <= r and y >= -r and math.abs(x) <= (y + r) / 2 end,
}

local shapes_args = check.args("shapes", {
  { "n_samples", "int", 100, "pictures", min = 1 },
  { "size", "int", 64, "pixels of a side", min = 16, max = 512 },
  { "max_shapes", "int", 3, "in a picture, one at least", min = 1, max = 16 },
  { "noise", "number", 8, "standard deviation of what is added, of 255", min = 0 }, SEED })

--- Pictures of circles, squares and triangles in their own colours before a background, with boxes
--- for detection and masks for segmentation. A later shape may hide a part of an earlier one; boxes
--- are of the whole shapes.
---
---     local x, boxes, masks, names = tide.datasets.shapes { 4, seed = 1 }
---     x.shape   --> { 4, 64, 64, 3 }
--- @return userdata x (n_samples, size, size, 3) uint8
--- @return table targets `boxes` (n_samples, max_shapes, 4) float32: left, top, right, bottom in
---   pixels; `labels` (n_samples, max_shapes) int64 from 1; where there is no shape, all are 0
--- @return userdata masks (n_samples, size, size) uint8: 0 background, else the label
--- @return table class_names
function drawn.shapes(...)
  local o = shapes_args:construct(...)
  local draw, size = draws(o.seed), o.size
  local pixels, masks, boxes, labels = {}, {}, {}, {}
  local char = string.char
  for i = 1, o.n_samples do
    local color, mask = {}, {}
    local back = { draw:uniform(0, 90), draw:uniform(0, 90), draw:uniform(0, 90) }
    for at = 1, size * size do
      color[at], mask[at] = back, 0
    end
    boxes[i], labels[i] = {}, {}
    local count = draw:below(o.max_shapes)
    for k = 1, o.max_shapes do
      if k > count then
        boxes[i][k], labels[i][k] = { 0, 0, 0, 0 }, 0
      else
        local kind = draw:below(#SHAPES)
        local r = draw:uniform(size / 10, size / 5)
        local cx, cy = draw:uniform(r, size - r), draw:uniform(r, size - r)
        local own = { draw:uniform(110, 255), draw:uniform(110, 255), draw:uniform(110, 255) }
        own[draw:below(3)] = draw:uniform(0, 60)
        boxes[i][k], labels[i][k] = { cx - r, cy - r, cx + r, cy + r }, kind
        for row = math.floor(cy - r), math.min(math.floor(cy + r), size - 1) do
          for column = math.floor(cx - r), math.min(math.floor(cx + r), size - 1) do
            if covers[kind](column + 0.5 - cx, row + 0.5 - cy, r) then
              local at = row * size + column + 1
              color[at], mask[at] = own, kind
            end
          end
        end
      end
    end
    local bytes = {}
    for at = 1, size * size do
      local c = color[at]
      bytes[at] = char(c[1] // 1 | 0, c[2] // 1 | 0, c[3] // 1 | 0)
    end
    pixels[i] = table.concat(bytes)
    masks[i] = table.concat(mask):gsub("%d", function(digit)
      return char(digit)
    end)
  end
  local shape = { o.n_samples, size, size, 3 }
  local x = core.from_bytes("uint8", shape, table.concat(pixels))
  if o.noise > 0 then
    x = ops.round(ops.clip(x:cast "float32" + require("tide.random").normal(shape,
      { stddev = o.noise, seed = draw.next() & 0x7fffffff }), 0, 255)):cast "uint8"
  end
  return x, { boxes = core.tensor(boxes), labels = core.tensor(labels, { dtype = "int64" }) },
    core.from_bytes("uint8", { o.n_samples, size, size }, table.concat(masks)), list.copy(SHAPES)
end

-- ---- tones ----

local WORDS = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine" }

-- Of each word its sounds: share of its time, noise (0 to 1), and the first two formants in Hz at
-- its beginning and end.
local SOUNDS = {
  { { 1, 0.7, 300, 2000, 300, 2000 }, { 2, 0, 350, 2100, 450, 1500 }, { 2, 0, 500, 900, 400,
    800 } },
  { { 2, 0, 300, 700, 650, 1100 }, { 2, 0, 650, 1100, 300, 1400 } },
  { { 1, 1, 2000, 3000, 1500, 2500 }, { 3, 0, 320, 1000, 300, 850 } },
  { { 1, 0.9, 1500, 2800, 500, 1600 }, { 3, 0, 420, 1300, 280, 2300 } },
  { { 1, 0.8, 1200, 2600, 500, 900 }, { 3, 0, 550, 850, 480, 1200 } },
  { { 1, 0.8, 1200, 2600, 700, 1200 }, { 2, 0, 750, 1200, 350, 2000 }, { 1, 0.6, 400, 1500, 300,
    1500 } },
  { { 2, 1, 2500, 3500, 2500, 3500 }, { 1, 0, 400, 1950, 400, 1950 }, { 2, 1, 2500, 3500, 2500,
    3500 } },
  { { 1, 1, 2500, 3500, 2500, 3500 }, { 2, 0, 550, 1750, 500, 1200 }, { 2, 0, 500, 1400, 300,
    1500 } },
  { { 3, 0, 500, 1850, 320, 2200 }, { 1, 0.9, 1800, 3200, 1800, 3200 } },
  { { 1, 0, 280, 1500, 600, 1300 }, { 2, 0, 750, 1200, 380, 1950 }, { 1, 0, 300, 1450, 280,
    1450 } },
}

local tones_args = check.args("tones", {
  { "n_samples", "int", 100, "sounds", min = 1 },
  { "sample_rate", "int", 8000, "numbers per second", min = 2000, max = 96000 },
  { "seconds", "number", 0.5, "of each", above = 0.05, max = 10 },
  { "noise", "number", 0.01, "standard deviation of what is added", min = 0 }, SEED })

-- One sound: voiced parts are a pitch's waves through two formants, others noise about them.
local function speak(sounds, o, draw)
  local n = math.floor(o.seconds * o.sample_rate + 0.5)
  local rate, pi2 = o.sample_rate, 2 * math.pi
  local pitch, loud = draw:uniform(90, 220), draw:uniform(0.4, 0.9)
  local scale = draw:uniform(0.92, 1.08) -- of a throat
  local length = math.floor(n * draw:uniform(0.6, 0.85))
  local first = math.floor((n - length) * draw:uniform())
  local whole = 0
  for _, s in ipairs(sounds) do
    whole = whole + s[1]
  end
  local out, phase, a, b = {}, 0, 0, 0
  for i = 1, n do
    out[i] = 0.0
  end
  local from = first
  for _, s in ipairs(sounds) do
    local count = math.floor(length * s[1] / whole)
    for k = 0, count - 1 do
      local t = k / count
      phase = phase + pi2 * pitch * (1 - 0.15 * (from + k - first) / length) / rate
      a = a + pi2 * scale * (s[3] + (s[5] - s[3]) * t) / rate
      b = b + pi2 * scale * (s[4] + (s[6] - s[4]) * t) / rate
      local pulse = 0.5 + 0.5 * math.cos(phase)
      pulse = pulse * pulse * pulse
      local hiss = draw:uniform(-1, 1)
      local voice = pulse * (math.cos(a) + 0.6 * math.cos(b))
      local edge = math.min(1, 8 * t, 8 * (1 - t)) * loud * 0.5
      out[from + k + 1] = edge * ((1 - s[2]) * voice + s[2] * hiss * (0.6 + 0.4 * math.cos(b)))
    end
    from = from + count
  end
  if o.noise > 0 then
    for i = 1, n do
      out[i] = math.max(-1, math.min(1, out[i] + draw:normal(0, o.noise)))
    end
  end
  return out
end

--- Sounds like spoken digits: sequences of two or three parts with the formants of "zero" to
--- "nine", each with a pitch, a throat, a speed and a loudness of its own, and noise.
---
---     local waves, y, names, sample_rate = tide.datasets.tones { 10, seed = 1 }
---     waves.shape   --> { 10, 4000 }
--- @return userdata waves (n_samples, seconds * sample_rate) float32 in [-1, 1]
--- @return userdata y (n_samples) int64, labels from 1: 1 is "zero"
--- @return table class_names
--- @return integer sample_rate
function drawn.tones(...)
  local o = tones_args:construct(...)
  local draw = draws(o.seed)
  local waves, y = {}, {}
  local order = draw:order(o.n_samples)
  for i = 1, o.n_samples do
    y[i] = (order[i] - 1) % 10 + 1
    waves[i] = speak(SOUNDS[y[i]], o, draw)
  end
  return core.tensor(waves), core.tensor(y, { dtype = "int64" }), list.copy(WORDS), o.sample_rate
end

return drawn

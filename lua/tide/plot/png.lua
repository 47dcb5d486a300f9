--- Figures as PNG: drawn into bytes here, encoded by libpng.
local core = require "tide.core"
local figure = require "tide.plot.figure"
local font = require "tide.plot.font"

local png = {}

--- The figure as a uint8 tensor [height, width, 3].
function png.render(fig, width, height)
  local columns, rows
  width, height, columns, rows = figure.size(fig, width, height)
  local lines = {} -- rows of pixels, made when first drawn on
  local function dot(x, y, rgb)
    if x >= 0 and x < width and y >= 0 and y < height then
      local line = lines[y]
      if not line then
        line = {}
        for i = 1, width do
          line[i] = "\255\255\255"
        end
        lines[y] = line
      end
      line[x + 1] = rgb
    end
  end
  local function bytes(c)
    return string.char(c[1], c[2], c[3])
  end
  local canvas = {}
  function canvas.rect(x, y, w, h, c)
    local rgb = bytes(c)
    for j = math.floor(y), math.floor(y + h) - 1 do
      for i = math.floor(x), math.floor(x + w) - 1 do
        dot(i, j, rgb)
      end
    end
  end
  function canvas.line(x1, y1, x2, y2, c, w)
    local rgb, steps = bytes(c), math.ceil(math.max(math.abs(x2 - x1), math.abs(y2 - y1), 1))
    for k = 0, steps do
      local x, y = math.floor(x1 + (x2 - x1) * k / steps + 0.5),
        math.floor(y1 + (y2 - y1) * k / steps + 0.5)
      for i = 0, w - 1 do
        for j = 0, w - 1 do
          dot(x + i, y + j, rgb)
        end
      end
    end
  end
  function canvas.text(x, y, s, anchor, c)
    s = s:gsub("[\xC2-\xF4][\x80-\xBF]*", "?")
    local rgb, w = bytes(c), 6 * #s
    x = math.floor(anchor == "end" and x - w or anchor == "middle" and x - w / 2 or x)
    y = math.floor(y) - 8
    for k = 1, #s do
      local glyph = font[s:byte(k)] or font[63]
      for i, column in ipairs(glyph) do
        for j = 0, 6 do
          if column >> j & 1 == 1 then
            dot(x + 6 * (k - 1) + i - 1, y + j, rgb)
          end
        end
      end
    end
  end
  function canvas.image(x, y, w, h, p)
    local tw, th = math.max(1, math.floor(w)), math.max(1, math.floor(h))
    if tw ~= p.shape[2] or th ~= p.shape[1] then
      p = core.image.fit(p, th, tw, tw > p.shape[2] and "nearest" or "box", false)
    end
    local data = p:tobytes()
    for j = 0, th - 1 do
      for i = 0, tw - 1 do
        local at = (j * tw + i) * 3
        dot(math.floor(x) + i, math.floor(y) + j, data:sub(at + 1, at + 3))
      end
    end
  end
  figure.draw(fig, canvas, width, height, columns, rows)
  local white, out = ("\255\255\255"):rep(width), {}
  for y = 0, height - 1 do
    out[y + 1] = lines[y] and table.concat(lines[y]) or white
  end
  return core.from_bytes("uint8", { height, width, 3 }, table.concat(out))
end

--- Writes the figure to a file, whole or not at all.
function png.write(fig, path, width, height)
  core.write_file(path, core.image.encode("png", png.render(fig, width, height)))
end

return png

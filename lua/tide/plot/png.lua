--- Figures as PNG: drawn into bytes here, encoded by libpng.
local core = require "tide.core"
local errors = require "tide.errors"
local figure = require "tide.plot.figure"
local font = require "tide.plot.font"

local png = {}

--- The figure as a uint8 tensor [height, width, 3].
function png.render(fig, width, height)
  width, height = width or 420 * math.max(1, #fig.panels), height or 320
  local pixel = {}
  for i = 0, width * height - 1 do
    pixel[i] = "\255\255\255"
  end
  local function dot(x, y, rgb)
    if x >= 0 and x < width and y >= 0 and y < height then
      pixel[y * width + x] = rgb
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
      local x, y = math.floor(x1 + (x2 - x1) * k / steps + 0.5), math.floor(y1 + (y2 - y1) * k / steps + 0.5)
      for i = 0, w - 1 do
        for j = 0, w - 1 do
          dot(x + i, y + j, rgb)
        end
      end
    end
  end
  function canvas.text(x, y, s, anchor, c)
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
  figure.draw(fig, canvas, width, height)
  return core.from_bytes("uint8", { height, width, 3 }, table.concat(pixel, "", 0, width * height - 1))
end

--- Writes the figure to a file.
function png.write(fig, path, width, height)
  local encoded = core.image.encode("png", png.render(fig, width, height))
  local file, why = io.open(path, "wb")
  if not file then
    errors.raise("plot", "cannot write '%s': %s", path, why)
  end
  file:write(encoded)
  file:close()
end

return png

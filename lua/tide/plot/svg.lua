--- Figures as SVG text: the same numbers give the same bytes.
local core = require "tide.core"
local figure = require "tide.plot.figure"
local picture = require "tide.plot.picture"
local printable = require "tide.printable"

local svg = {}

local function escape(s)
  return (printable.name(s):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
    ['"'] = "&quot;" }))
end

local function color(c)
  return ("#%02x%02x%02x"):format(c[1], c[2], c[3])
end

local HEAD =
  '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" \z
  font-family="sans-serif" '
  .. 'font-size="12">'
local LINE =
  '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%d" \z
  stroke-linecap="round"/>'
local RECT = '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>'
local IMAGE = '<image x="%.1f" y="%.1f" width="%.1f" height="%.1f" preserveAspectRatio="none" '
  .. 'style="image-rendering:pixelated" href="data:image/png;base64,%s"/>'

--- The figure as a string.
function svg.render(fig, width, height)
  local _ <close> = core.decimal_point()
  local columns, rows
  width, height, columns, rows = figure.size(fig, width, height)
  local out = { HEAD:format(width, height, width, height),
    '<rect width="100%" height="100%" fill="white"/>' }
  local canvas = {}
  function canvas.line(x1, y1, x2, y2, c, w)
    out[#out + 1] = LINE:format(x1, y1, x2, y2, color(c), w)
  end
  function canvas.rect(x, y, w, h, c)
    out[#out + 1] = RECT:format(x, y, w, h, color(c))
  end
  function canvas.text(x, y, s, anchor, c)
    out[#out + 1] = ('<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>'):format(
      x, y, anchor, color(c), escape(s))
  end
  function canvas.image(x, y, w, h, p)
    out[#out + 1] = IMAGE:format(x, y, w, h, picture.base64(core.image.encode("png", p)))
  end
  figure.draw(fig, canvas, width, height, columns, rows)
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

--- Writes the figure to a file, whole or not at all.
function svg.write(fig, path, width, height)
  core.write_file(path, svg.render(fig, width, height))
end

return svg

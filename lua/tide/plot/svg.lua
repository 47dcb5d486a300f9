--- Figures as SVG text: the same numbers give the same bytes.
local errors = require "tide.errors"
local figure = require "tide.plot.figure"

local svg = {}

local function escape(s)
  return (s:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local function color(c)
  return string.format("#%02x%02x%02x", c[1], c[2], c[3])
end

--- The figure as a string.
function svg.render(fig, width, height)
  width, height = width or 420 * math.max(1, #fig.panels), height or 320
  local out = {
    string.format('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">',
      width, height, width, height),
    '<rect width="100%" height="100%" fill="white"/>',
  }
  local canvas = {
    line = function(x1, y1, x2, y2, c, w)
      out[#out + 1] = string.format('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%d" stroke-linecap="round"/>',
        x1, y1, x2, y2, color(c), w)
    end,
    rect = function(x, y, w, h, c)
      out[#out + 1] = string.format('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>', x, y, w, h, color(c))
    end,
    text = function(x, y, s, anchor, c)
      out[#out + 1] = string.format('<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>', x, y, anchor, color(c), escape(s))
    end,
  }
  figure.draw(fig, canvas, width, height)
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

--- Writes the figure to a file.
function svg.write(fig, path, width, height)
  local file, why = io.open(path, "wb")
  if not file then
    errors.raise("plot", "cannot write '%s': %s", path, why)
  end
  file:write(svg.render(fig, width, height))
  file:close()
end

return svg

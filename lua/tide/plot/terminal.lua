--- Figures and pictures as text: braille dots for curves, half blocks for pictures; plain characters where the terminal is not
-- UTF-8.
local core = require "tide.core"
local errors = require "tide.errors"
local figure = require "tide.plot.figure"

local terminal = {}

local function utf8_terminal()
  local locale = os.getenv "LC_ALL" or os.getenv "LC_CTYPE" or os.getenv "LANG" or ""
  return locale:upper():find "UTF%-?8" ~= nil
end

local function colored(options)
  if options and options.color ~= nil then
    return options.color
  end
  return core.terminal(1) and not os.getenv "NO_COLOR" and os.getenv "TERM" ~= "dumb"
end

-- Dots of one braille cell: [row][column].
local BRAILLE = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } }

local function panel_lines(panel, width, height, o)
  local fancy, color = utf8_terminal(), colored(o)
  local sx, sy = fancy and 2 or 1, fancy and 4 or 1
  local xlo, xhi, ylo, yhi = figure.extent(panel)
  local cell, owner = {}, {}
  local function dot(x, y, who)
    if x < 0 or y < 0 or x >= width * sx or y >= height * sy then
      return
    end
    local at = (y // sy) * width + x // sx
    if fancy then
      cell[at] = (cell[at] or 0) | BRAILLE[y % 4 + 1][x % 2 + 1]
    else
      cell[at] = ("*+ox#@"):sub((who - 1) % 6 + 1, (who - 1) % 6 + 1)
    end
    owner[at] = who
  end
  local function X(x)
    return (x - xlo) / (xhi - xlo) * (width * sx - 1)
  end
  local function Y(y)
    return (yhi - y) / (yhi - ylo) * (height * sy - 1)
  end
  for _, b in ipairs(panel.bars or {}) do
    for x = math.floor(X(b[1])), math.max(math.floor(X(b[1])), math.floor(X(b[2])) - 1) do
      for y = math.floor(Y(b[3]) + 0.5), math.floor(Y(0)) do
        dot(x, y, 1)
      end
    end
  end
  for i, line in ipairs(panel.lines or {}) do
    for j = 1, #line do
      local a, b = line[math.max(1, j - 1)], line[j]
      local x1, y1, x2, y2 = X(a[1]), Y(a[2]), X(b[1]), Y(b[2])
      local steps = math.max(1, math.ceil(math.max(math.abs(x2 - x1), math.abs(y2 - y1))))
      for k = 0, steps do
        dot(math.floor(x1 + (x2 - x1) * k / steps + 0.5), math.floor(y1 + (y2 - y1) * k / steps + 0.5), i)
      end
    end
  end
  local _, ystep = figure.ticks(ylo, yhi, 5)
  local out = {}
  if panel.title then
    out[1] = string.rep(" ", 10) .. panel.title
  end
  for row = 0, height - 1 do
    local text = {}
    local label = ""
    if row == 0 or row == height - 1 or row == height // 2 then
      label = figure.label(yhi - (yhi - ylo) * row / math.max(1, height - 1), (ystep or 1) / 10)
    end
    text[1] = string.format("%9s %s", label:sub(1, 9), fancy and "│" or "|")
    for col = 0, width - 1 do
      local at = row * width + col
      local c = cell[at]
      local s = c and (fancy and utf8.char(0x2800 + c) or c) or " "
      if c and color then
        local rgb = figure.colors[(owner[at] - 1) % #figure.colors + 1]
        s = string.format("\27[38;2;%d;%d;%dm%s\27[0m", rgb[1], rgb[2], rgb[3], s)
      end
      text[#text + 1] = s
    end
    out[#out + 1] = table.concat(text)
  end
  out[#out + 1] = string.rep(" ", 10) .. (fancy and "└" or "+") .. string.rep(fancy and "─" or "-", width)
  local function end_label(x)
    return x == math.floor(x) and ("%.0f"):format(x) or figure.label(x, xhi - xlo > 10 and 1 or 0.1)
  end
  local left, right = end_label(xlo), end_label(xhi)
  out[#out + 1] = string.rep(" ", 11) .. left .. string.rep(" ", math.max(1, width - #left - #right)) .. right
  if panel.lines and #panel.lines > 1 then
    local names = {}
    for i, line in ipairs(panel.lines) do
      local mark = fancy and "━" or ("*+ox#@"):sub((i - 1) % 6 + 1, (i - 1) % 6 + 1)
      if color then
        local rgb = figure.colors[(i - 1) % #figure.colors + 1]
        mark = string.format("\27[38;2;%d;%d;%dm%s\27[0m", rgb[1], rgb[2], rgb[3], mark)
      end
      names[#names + 1] = mark .. " " .. (line.name or i)
    end
    out[#out + 1] = string.rep(" ", 11) .. table.concat(names, "   ")
  end
  return out
end

-- Columns that a line of text takes: escape sequences take none.
local function width_of(line)
  return utf8.len((line:gsub("\27%[[%d;]*m", ""))) or #line
end

-- Panels in a row: equally many lines each, the lines joined.
local function beside(blocks, width)
  local out = {}
  for i = 1, #blocks[1] do
    local parts = {}
    for k, block in ipairs(blocks) do
      local line = block[i] or ""
      parts[k] = k < #blocks and line .. (" "):rep(width - width_of(line)) or line
    end
    out[i] = table.concat(parts)
  end
  return out
end

--- The figure as text, panels below each other, or side by side where the terminal is wide enough.
--- @param options table|nil { width = 60, height = 12, color, side_by_side, columns }: width and height of a panel
function terminal.render(fig, options)
  local o = options or {}
  local _, columns = core.terminal(1)
  columns = o.columns or columns
  local n = o.side_by_side and #fig.panels > 1 and columns >= 34 * #fig.panels and #fig.panels or 1
  local width = o.width or math.max(20, math.min(60, columns // n - 14))
  local out = {}
  for i = 1, #fig.panels, n do
    local blocks = {}
    for k = i, math.min(#fig.panels, i + n - 1) do
      blocks[#blocks + 1] = panel_lines(fig.panels[k], width, o.height or 12, o)
    end
    local lines = n > 1 and beside(blocks, width + 13) or blocks[1]
    table.move(lines, 1, #lines, #out + 1, out)
  end
  return table.concat(out, "\n")
end

--- A picture as half blocks (two pixels per character), or as shades of characters.
function terminal.picture(image, options)
  local o = options or {}
  if not core.is_tensor(image) then
    image = core.tensor(image)
  end
  if image.ndim == 3 and image.shape[3] == 1 then
    image = image:reshape { image.shape[1], image.shape[2] }
  end
  if image.ndim ~= 2 and not (image.ndim == 3 and image.shape[3] >= 3) then
    errors.raise("picture", "expected a picture (H, W), (H, W, 1) or (H, W, 3) (got %s)", tostring(image.shape))
  end
  local scale = 1
  if image.dtype:find "float" and image:max():item() <= 1 then
    scale = 255
  end
  local p = image:cast("float32"):tolist()
  local h, w = #p, #p[1]
  local step = math.max(1, math.ceil(w / (o.width or 60)))
  local function at(i, j)
    local v = p[math.min(i, h)][j]
    if type(v) == "table" then
      return math.floor(v[1] * scale), math.floor(v[2] * scale), math.floor(v[3] * scale)
    end
    v = math.max(0, math.min(255, math.floor(v * scale)))
    return v, v, v
  end
  local out = {}
  local color, fancy = colored(o), utf8_terminal()
  for i = 1, h, 2 * step do
    local line = {}
    for j = 1, w, step do
      local r, g, b = at(i, j)
      local r2, g2, b2 = at(i + step, j)
      if i + step > h then
        r2, g2, b2 = 0, 0, 0
      end
      if color and fancy then
        line[#line + 1] = string.format("\27[38;2;%d;%d;%d;48;2;%d;%d;%dm▀", r, g, b, r2, g2, b2)
      else
        local shade = (r + g + b + r2 + g2 + b2) / 6
        local ramp = " .:-=+*#%@"
        local k = math.min(#ramp, 1 + math.floor(shade / 256 * #ramp))
        line[#line + 1] = ramp:sub(k, k)
      end
    end
    out[#out + 1] = table.concat(line) .. (color and fancy and "\27[0m" or "")
  end
  return table.concat(out, "\n")
end

return terminal

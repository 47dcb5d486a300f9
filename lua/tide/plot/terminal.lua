--- Figures and pictures as text: braille dots for curves, half blocks for pictures; plain
--- characters where the terminal is not
-- UTF-8.
local core = require "tide.core"
local figure = require "tide.plot.figure"
local picture = require "tide.plot.picture"
local printable = require "tide.printable"
local screen = require "tide.screen"

local terminal = {}

local function colored(options)
  if options and options.color ~= nil then
    return options.color
  end
  return core.terminal(1) and not os.getenv "NO_COLOR" and os.getenv "TERM" ~= "dumb"
end

-- Dots of one braille cell: [row][column].
local BRAILLE = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } }

local function panel_lines(panel, width, height, o)
  local fancy, color = screen.utf8(), colored(o)
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
        dot(math.floor(x1 + (x2 - x1) * k / steps + 0.5),
          math.floor(y1 + (y2 - y1) * k / steps + 0.5), i)
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
        local rgb = panel.lines and panel.lines[owner[at]] and panel.lines[owner[at]].rgb
          or figure.colors[(owner[at] - 1) % #figure.colors + 1]
        s = string.format("\27[38;2;%d;%d;%dm%s\27[0m", rgb[1], rgb[2], rgb[3], s)
      end
      text[#text + 1] = s
    end
    out[#out + 1] = table.concat(text)
  end
  out[#out + 1] = string.rep(" ", 10) .. (fancy and "└" or "+")
    .. string.rep(fancy and "─" or "-", width)
  local function end_label(x)
    return x == math.floor(x) and ("%.0f"):format(x) or figure.label(x, xhi - xlo > 10 and 1 or 0.1)
  end
  local left, right = end_label(xlo), end_label(xhi)
  out[#out + 1] = string.rep(" ", 11) .. left
    .. string.rep(" ", math.max(1, width - #left - #right)) .. right
  if panel.lines and #panel.lines > 1 then
    local names = {}
    for i, line in ipairs(panel.lines) do
      if line.name then
        local mark = fancy and "━" or ("*+ox#@"):sub((i - 1) % 6 + 1, (i - 1) % 6 + 1)
        if color then
          local rgb = figure.colors[(i - 1) % #figure.colors + 1]
          mark = string.format("\27[38;2;%d;%d;%dm%s\27[0m", rgb[1], rgb[2], rgb[3], mark)
        end
        names[#names + 1] = mark .. " " .. printable.name(line.name)
      end
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

-- Cells with numbers, shaded where there is colour.
local function heat_lines(panel, o)
  local color, width, label = colored(o), 4, 4
  for i, row in ipairs(panel.heat) do
    label = math.max(label, utf8.len(panel.row_names[i]) or #panel.row_names[i])
    for _, cell in ipairs(row) do
      width = math.max(width, #cell[2] + 1)
    end
  end
  local function fit(s, n, right)
    local len = utf8.len(s) or #s
    if len > n then
      s, len = s:sub(1, n), n
    end
    return right and (" "):rep(n - len) .. s or s .. (" "):rep(n - len)
  end
  local out = {}
  if panel.title then
    out[1] = (" "):rep(label + 1) .. panel.title
  end
  local head = { (" "):rep(label) }
  for _, name in ipairs(panel.column_names) do
    head[#head + 1] = fit(name:sub(1, width - 1), width, true)
  end
  out[#out + 1] = table.concat(head)
  for i, row in ipairs(panel.heat) do
    local parts = { fit(panel.row_names[i], label) }
    for _, cell in ipairs(row) do
      local text = fit(cell[2], width, true)
      if color then
        local c, ink = figure.shade(cell[1]), cell[1] > 0.5 and "255;255;255" or "40;40;40"
        text = ("\27[48;2;%d;%d;%d;38;2;%sm%s\27[0m"):format(c[1], c[2], c[3], ink, text)
      end
      parts[#parts + 1] = text
    end
    out[#out + 1] = table.concat(parts) .. (panel.row_ends and "  " .. panel.row_ends[i] or "")
  end
  return out
end

-- A panel with names fit for a terminal.
local function clean(panel)
  local out = {}
  for k, v in pairs(panel) do
    out[k] = type(v) == "string" and printable.name(v) or v
  end
  for _, k in ipairs { "row_names", "column_names", "row_ends" } do
    local names = {}
    for i, name in ipairs(panel[k] or {}) do
      names[i] = printable.name(tostring(name))
    end
    out[k] = panel[k] and names
  end
  return out
end

local function lines_of(panel, width, height, o)
  panel = clean(panel)
  if panel.text then
    return panel.text(screen.utf8(), colored(o))
  elseif panel.heat then
    return heat_lines(panel, o)
  elseif panel.picture then
    local text = terminal.picture("images", panel.picture, o)
    local out = panel.title and { panel.title, text } or { text }
    out[#out + 1] = panel.note
    return out
  end
  return panel_lines(panel, width, height, o)
end

--- The figure as text, panels below each other, or side by side where the terminal is wide enough.
--- @param options table|nil { width = 60, height = 12, color, side_by_side, columns }: width and
---   height of a panel
function terminal.render(fig, options)
  local _ <close> = core.decimal_point()
  local o = options or {}
  local _, columns = core.terminal(1)
  columns = o.columns or columns
  local n = o.side_by_side and #fig.panels > 1 and columns >= 34 * #fig.panels and #fig.panels or 1
  local width = o.width or math.max(20, math.min(60, columns // n - 14))
  local out = {}
  for i = 1, #fig.panels, n do
    local blocks = {}
    for k = i, math.min(#fig.panels, i + n - 1) do
      blocks[#blocks + 1] = lines_of(fig.panels[k], width, o.height or 12, o)
    end
    local lines = n > 1 and beside(blocks, width + 13) or blocks[1]
    table.move(lines, 1, #lines, #out + 1, out)
  end
  local text = table.concat(out, "\n")
  printable.drawn = text
  return text
end

--- A picture as text: by default half blocks in colour, or shades of characters where there is no
--- colour.
--- @param options table|nil { width, mode, color }
function terminal.picture(where, p, options)
  local o = options or {}
  local mode = o.mode
  if not mode or mode == "auto" then
    if o.color == nil and core.terminal(1) then
      mode = "auto"
    else
      mode = colored(o) and screen.utf8() and "blocks" or "plain"
    end
  end
  return picture.text(where, p, mode, o.width or mode ~= "auto" and 60 or nil)
end

return terminal

--- From panels of lines and bars to drawing primitives, which every backend knows: line, rect,
--- text.
local core = require "tide.core"

local figure = {}

--- Round numbers that cover lo..hi, about `count` of them: 1, 2 or 5 times a power of ten apart.
function figure.ticks(lo, hi, count)
  local span = hi - lo
  if span <= 0 then
    return { lo }
  end
  local step = 10 ^ math.floor(math.log(span / count, 10))
  for _, m in ipairs { 1, 2, 5, 10 } do
    if span / (step * m) <= count then
      step = step * m
      break
    end
  end
  local out = {}
  for k = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9) do
    out[#out + 1] = k * step
  end
  return out, step
end

--- A tick's text with as many digits as the step needs.
function figure.label(v, step)
  local _ <close> = core.decimal_point()
  if math.abs(v) >= 1e6 or (step and step < 1e-5) then
    return string.format("%.3g", v)
  end
  local digits = step and math.max(0, -math.floor(math.log(step, 10) + 1e-9)) or 3
  local text = string.format("%." .. math.tointeger(digits) .. "f", v)
  return text:find "[1-9]" and text or (text:gsub("^%-", "")) -- no "-0.0"
end

--- The extent of a panel's data: xlo, xhi, ylo, yhi, with some air above and below.
function figure.extent(panel)
  if panel.extent then
    return table.unpack(panel.extent)
  end
  local xlo, xhi, ylo, yhi = math.huge, -math.huge, math.huge, -math.huge
  for _, line in ipairs(panel.lines or {}) do
    for _, p in ipairs(line) do
      xlo, xhi, ylo, yhi = math.min(xlo, p[1]), math.max(xhi, p[1]), math.min(ylo, p[2]),
        math.max(yhi, p[2])
    end
  end
  for _, b in ipairs(panel.bars or {}) do
    xlo, xhi, ylo, yhi = math.min(xlo, b[1]), math.max(xhi, b[2]), math.min(ylo, 0),
      math.max(yhi, b[3])
  end
  if xlo > xhi then
    xlo, xhi, ylo, yhi = 0, 1, 0, 1
  end
  if xlo == xhi then
    xlo, xhi = xlo - 0.5, xhi + 0.5
  end
  if ylo == yhi then
    ylo, yhi = ylo - 0.5, yhi + 0.5
  elseif panel.yrange then
    ylo, yhi = panel.yrange[1], panel.yrange[2]
  elseif not panel.bars then
    local air = (yhi - ylo) * 0.05
    ylo, yhi = ylo - air, yhi + air
  end
  return xlo, xhi, ylo, yhi
end

figure.colors = { { 31, 119, 180 }, { 255, 127, 14 }, { 44, 160, 44 }, { 214, 39, 40 },
  { 148, 103, 189 }, { 140, 86, 75 } }

--- Panels per row, and the size of a file's picture: each panel is 420 x 320 unless it or the
--- caller says otherwise.
function figure.size(fig, width, height)
  local columns = math.max(1, math.min(fig.columns or 3, #fig.panels))
  local rows = math.max(1, (#fig.panels + columns - 1) // columns)
  local w, h = 420, 320
  for _, panel in ipairs(fig.panels) do
    w, h = math.max(w, panel.width or 0), math.max(h, panel.height or 0)
  end
  if #fig.panels == 1 and fig.panels[1].width then
    w, h = fig.panels[1].width, fig.panels[1].height
  end
  return math.floor(width or columns * w), math.floor(height or rows * h), columns, rows
end

local black, grey, light = { 40, 40, 40 }, { 110, 110, 110 }, { 228, 228, 228 }

local function axes(panel, canvas, left, right, top, bottom)
  local xlo, xhi, ylo, yhi = figure.extent(panel)
  local function X(x)
    return left + (x - xlo) / (xhi - xlo) * (right - left)
  end
  local function Y(y)
    return bottom - (y - ylo) / (yhi - ylo) * (bottom - top)
  end
  local xs, xstep = figure.ticks(xlo, xhi, math.max(2, math.min(6, (right - left) // 60)))
  local ys, ystep = figure.ticks(ylo, yhi, 6)
  if panel.picture then
    canvas.image(left, top, right - left, bottom - top, panel.picture)
  end
  for _, v in ipairs(ys) do
    canvas.line(panel.picture and left - 4 or left, Y(v), panel.picture and left or right, Y(v),
      light, 1)
    canvas.text(left - 6, Y(v) + 4, figure.label(v, ystep), "end", grey)
  end
  for _, v in ipairs(xs) do
    canvas.line(X(v), bottom, X(v), bottom + 4, grey, 1)
    canvas.text(X(v), bottom + 16, figure.label(v, xstep), "middle", grey)
  end
  canvas.line(left, top, left, bottom, black, 1)
  canvas.line(left, bottom, right, bottom, black, 1)
  for _, b in ipairs(panel.bars or {}) do
    canvas.rect(X(b[1]), Y(b[3]), math.max(1, X(b[2]) - X(b[1]) - 1), Y(0) - Y(b[3]),
      figure.colors[1])
  end
  local shown = 0
  for i, line in ipairs(panel.lines or {}) do
    local rgb = line.rgb or figure.colors[(i - 1) % #figure.colors + 1]
    for j = 2, #line do
      canvas.line(X(line[j - 1][1]), Y(line[j - 1][2]), X(line[j][1]), Y(line[j][2]), rgb,
        line.rgb and 1 or 2)
    end
    if #line <= 30 and not line.rgb then
      for _, p in ipairs(line) do
        canvas.rect(X(p[1]) - 2, Y(p[2]) - 2, 5, 5, rgb)
      end
    end
    if line.name and #panel.lines > 1 then
      shown = shown + 1
      local width = 7 * (utf8.len(line.name) or #line.name)
      local low = panel.legend == "bottom"
      local y = low and bottom - 10 - 15 * (#panel.lines - i) or top + 6 + 15 * shown
      local x = math.max(left + 4, right - 24 - width)
      canvas.line(x, y - 4, x + 18, y - 4, rgb, 2)
      canvas.text(x + 24, y, line.name, "start", black)
    end
  end
end

--- The colour of a share 0..1: white to dark blue.
function figure.shade(v)
  return { math.floor(247 - 239 * v + 0.5), math.floor(251 - 170 * v + 0.5),
    math.floor(255 - 99 * v + 0.5) }
end

-- Cells with numbers: panel.heat = { rows of { value, text } }, row_names, column_names; values are
-- shares 0..1.
local function heat(panel, canvas, left, right, top, bottom)
  local n, m = #panel.heat, #panel.heat[1]
  local w, h = (right - left) / m, (bottom - top) / n
  for i, row in ipairs(panel.heat) do
    for j, cell in ipairs(row) do
      canvas.rect(left + (j - 1) * w, top + (i - 1) * h, math.max(1, w - 1), math.max(1, h - 1),
        figure.shade(cell[1]))
      if #cell[2] * 7 < w and h > 12 then
        local rgb = cell[1] > 0.5 and { 255, 255, 255 } or black
        canvas.text(left + (j - 0.5) * w, top + (i - 0.5) * h + 4, cell[2], "middle", rgb)
      end
    end
    if h > 10 or i % math.ceil(10 / h) == 1 then
      canvas.text(left - 6, top + (i - 0.5) * h + 4, panel.row_names[i]:sub(1, 8), "end", grey)
    end
  end
  for j = 1, m do
    local name = panel.column_names[j]:sub(1, math.max(1, w // 7))
    if w > 10 or j % math.ceil(20 / w) == 1 then
      canvas.text(left + (j - 0.5) * w, bottom + 16, name, "middle", grey)
    end
  end
end

--- Draws the figure with a backend's `line(x1, y1, x2, y2, rgb, width)`, `rect(x, y, w, h, rgb)`,
--- `text(x, y, s, anchor, rgb)`,
-- `image(x, y, w, h, picture)` in pixels, origin top left. Panels stand in rows of `columns`; a
-- panel holds lines and bars over axes, cells (heat), a picture (with `extent` between axes), or
-- draws itself (`draw(canvas, left, top)`).
function figure.draw(fig, canvas, width, height, columns, rows)
  local w, h = width / columns, height / rows
  for k, panel in ipairs(fig.panels) do
    local x0, y0 = (k - 1) % columns * w, (k - 1) // columns * h
    if panel.draw then
      panel.draw(canvas, x0, y0)
    elseif panel.picture and not panel.extent then
      local top = panel.title and 30 or 4
      local p = panel.picture
      local by = math.min((w - 8) / p.shape[2], (h - top - 4) / p.shape[1])
      canvas.image(x0 + (w - p.shape[2] * by) / 2, y0 + top, p.shape[2] * by, p.shape[1] * by, p)
      for i, text in ipairs(panel.texts or {}) do
        local place = panel.places[i]
        canvas.text(x0 + (w - p.shape[2] * by) / 2 + place[1] * by, y0 + top + place[2] * by, text,
          "start", black)
      end
    else
      local left, right, top, bottom = x0 + 58, x0 + w - 14, y0 + 30, y0 + h - 44
      if panel.heat then
        heat(panel, canvas, left, right, top, bottom)
      else
        axes(panel, canvas, left, right, top, bottom)
      end
      if panel.xlabel then
        canvas.text((left + right) / 2, bottom + 34, panel.xlabel, "middle", black)
      end
    end
    if panel.title then
      canvas.text(x0 + w / 2, y0 + 18, panel.title, "middle", black)
    end
  end
end

return figure

--- From panels of lines and bars to drawing primitives, which every backend knows: line, rect, text.
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
  if math.abs(v) >= 1e6 or (step and step < 1e-5) then
    return string.format("%.3g", v)
  end
  local digits = step and math.max(0, -math.floor(math.log(step, 10) + 1e-9)) or 3
  return string.format("%." .. math.tointeger(digits) .. "f", v)
end

--- The extent of a panel's data: xlo, xhi, ylo, yhi, with some air above and below.
function figure.extent(panel)
  local xlo, xhi, ylo, yhi = math.huge, -math.huge, math.huge, -math.huge
  for _, line in ipairs(panel.lines or {}) do
    for _, p in ipairs(line) do
      xlo, xhi, ylo, yhi = math.min(xlo, p[1]), math.max(xhi, p[1]), math.min(ylo, p[2]), math.max(yhi, p[2])
    end
  end
  for _, b in ipairs(panel.bars or {}) do
    xlo, xhi, ylo, yhi = math.min(xlo, b[1]), math.max(xhi, b[2]), math.min(ylo, 0), math.max(yhi, b[3])
  end
  if xlo > xhi then
    xlo, xhi, ylo, yhi = 0, 1, 0, 1
  end
  if xlo == xhi then
    xlo, xhi = xlo - 0.5, xhi + 0.5
  end
  if ylo == yhi then
    ylo, yhi = ylo - 0.5, yhi + 0.5
  elseif not panel.bars then
    local air = (yhi - ylo) * 0.05
    ylo, yhi = ylo - air, yhi + air
  end
  return xlo, xhi, ylo, yhi
end

figure.colors = { { 31, 119, 180 }, { 255, 127, 14 }, { 44, 160, 44 }, { 214, 39, 40 }, { 148, 103, 189 }, { 140, 86, 75 } }

--- Draws the figure with a backend's `line(x1, y1, x2, y2, rgb, width)`, `rect(x, y, w, h, rgb)`, `text(x, y, s, anchor, rgb)`
-- in pixels, origin top left. Panels stand side by side.
function figure.draw(fig, canvas, width, height)
  local n = math.max(1, #fig.panels)
  local black, grey, light = { 40, 40, 40 }, { 110, 110, 110 }, { 228, 228, 228 }
  for k, panel in ipairs(fig.panels) do
    local left, right = (k - 1) * width / n + 58, k * width / n - 14
    local top, bottom = 30, height - 44
    local xlo, xhi, ylo, yhi = figure.extent(panel)
    local function X(x)
      return left + (x - xlo) / (xhi - xlo) * (right - left)
    end
    local function Y(y)
      return bottom - (y - ylo) / (yhi - ylo) * (bottom - top)
    end
    local xs, xstep = figure.ticks(xlo, xhi, 6)
    local ys, ystep = figure.ticks(ylo, yhi, 6)
    for _, v in ipairs(ys) do
      canvas.line(left, Y(v), right, Y(v), light, 1)
      canvas.text(left - 6, Y(v) + 4, figure.label(v, ystep), "end", grey)
    end
    for _, v in ipairs(xs) do
      canvas.line(X(v), bottom, X(v), bottom + 4, grey, 1)
      canvas.text(X(v), bottom + 16, figure.label(v, xstep), "middle", grey)
    end
    canvas.line(left, top, left, bottom, black, 1)
    canvas.line(left, bottom, right, bottom, black, 1)
    if panel.title then
      canvas.text((left + right) / 2, 18, panel.title, "middle", black)
    end
    if panel.xlabel then
      canvas.text((left + right) / 2, bottom + 34, panel.xlabel, "middle", black)
    end
    for _, b in ipairs(panel.bars or {}) do
      canvas.rect(X(b[1]), Y(b[3]), math.max(1, X(b[2]) - X(b[1]) - 1), Y(0) - Y(b[3]), figure.colors[1])
    end
    for i, line in ipairs(panel.lines or {}) do
      local rgb = figure.colors[(i - 1) % #figure.colors + 1]
      for j = 2, #line do
        canvas.line(X(line[j - 1][1]), Y(line[j - 1][2]), X(line[j][1]), Y(line[j][2]), rgb, 2)
      end
      if #line <= 30 then
        for _, p in ipairs(line) do
          canvas.rect(X(p[1]) - 2, Y(p[2]) - 2, 5, 5, rgb)
        end
      end
      if line.name and #panel.lines > 1 then
        local y = top + 6 + 15 * i
        canvas.line(right - 110, y - 4, right - 92, y - 4, rgb, 2)
        canvas.text(right - 86, y, line.name, "start", black)
      end
    end
  end
end

return figure

--- Pictures of training: learning curves, confusion tables, histograms, images. One call draws in the terminal, or into an SVG
-- or PNG file (`{ file = "x.svg" }`, chosen by extension).
local core = require "tide.core"
local errors = require "tide.errors"

local plot = {}

local writers = { svg = "tide.plot.svg", png = "tide.plot.png" }

-- Shows a figure: as text (returned object prints), or in options.file.
local function show(where, figure, options)
  local file = options and options.file
  if not file then
    return require("tide.plot.terminal").render(figure, options)
  end
  local extension = file:match "%.(%w+)$"
  local writer = extension and writers[extension:lower()]
  if not writer then
    errors.raise(where, "cannot write '%s' (expected a name that ends in .svg or .png)", file)
  end
  require(writer).write(figure, file)
  return file
end

local function numbers(where, x)
  if core.is_tensor(x) then
    return x:reshape({ -1 }):tolist()
  elseif type(x) == "table" then
    return x
  end
  errors.raise(where, "expected a tensor or a list of numbers (got %s)", type(x))
end

--- Lines over common axes. `series` is a list of { name, ys } or { name, ys, xs }.
--- @param options table|nil { title, xlabel, ylabel, file, width, height, color }
--- @usage print(tide.plot.lines({ { "loss", { 3, 2, 1.5 } } }, { title = "loss" }))
function plot.lines(series, options)
  local o = options or {}
  local lines = {}
  for i, s in ipairs(series) do
    local ys = numbers("lines", s[2])
    local xs = s[3] and numbers("lines", s[3]) or nil
    local line = { name = s[1] }
    for k, y in ipairs(ys) do
      if y == y and y ~= math.huge and y ~= -math.huge then
        line[#line + 1] = { xs and xs[k] or k, y }
      end
    end
    lines[i] = line
  end
  return show("lines", { panels = { { title = o.title, xlabel = o.xlabel, ylabel = o.ylabel, lines = lines } } }, o)
end

--- Learning curves of `fit`: one panel per quantity, training and validation together.
--- @param history table what `fit` returned
--- @param options table|nil { file, width, height }
function plot.history(history, options)
  local logs = history.history or history
  local names = {}
  for name in pairs(logs) do
    if type(name) == "string" and not name:find "^val_" then
      names[#names + 1] = name
    end
  end
  table.sort(names, function(a, b)
    return (a == "loss" and "" or a) < (b == "loss" and "" or b)
  end)
  local panels = {}
  for _, name in ipairs(names) do
    local lines = {}
    for _, key in ipairs { name, "val_" .. name } do
      if logs[key] then
        local line = { name = key }
        for epoch = 1, #logs[key] do
          local y = logs[key][epoch]
          if type(y) == "number" and y == y and y ~= math.huge and y ~= -math.huge then
            line[#line + 1] = { epoch, y }
          end
        end
        lines[#lines + 1] = line
      end
    end
    panels[#panels + 1] = { title = name, xlabel = "epoch", lines = lines }
  end
  return show("history", { panels = panels }, options)
end

--- Counts of values in equal bins.
--- @param options table|nil { bins = 30, title, file }
function plot.histogram(x, options)
  local o = options or {}
  local values = numbers("histogram", x)
  local lo, hi = math.huge, -math.huge
  for _, v in ipairs(values) do
    if v == v then
      lo, hi = math.min(lo, v), math.max(hi, v)
    end
  end
  if lo >= hi then
    lo, hi = lo - 0.5, hi + 0.5
  end
  local n, bars = o.bins or 30, {}
  for i = 1, n do
    bars[i] = { lo + (hi - lo) * (i - 1) / n, lo + (hi - lo) * i / n, 0 }
  end
  for _, v in ipairs(values) do
    if v == v then
      local i = math.min(n, 1 + math.floor((v - lo) / (hi - lo) * n))
      bars[i][3] = bars[i][3] + 1
    end
  end
  return show("histogram", { panels = { { title = o.title, xlabel = o.xlabel, ylabel = "count", bars = bars } } }, o)
end

--- A confusion matrix as a text table: rows are the true classes, with the share that was right at the end.
--- @param matrix userdata [n, n] counts, as tide.utils.confusion_matrix gives
--- @param names table|nil class names
function plot.confusion_table(matrix, names)
  local m = core.is_tensor(matrix) and matrix:tolist() or matrix
  local n, width, label = #m, 5, 4
  for i = 1, n do
    label = math.max(label, #tostring(names and names[i] or i))
    for j = 1, n do
      width = math.max(width, #string.format("%d", m[i][j]) + 1)
    end
  end
  local out = {}
  local head = { string.rep(" ", label) }
  for j = 1, n do
    head[#head + 1] = string.format("%" .. width .. "s", tostring(names and names[j] or j):sub(1, width - 1))
  end
  out[1] = table.concat(head) .. "   right"
  for i = 1, n do
    local row, total = { string.format("%-" .. label .. "s", tostring(names and names[i] or i)) }, 0
    for j = 1, n do
      total = total + m[i][j]
      row[#row + 1] = string.format("%" .. width .. "s", m[i][j] == 0 and "." or string.format("%d", m[i][j]))
    end
    row[#row + 1] = total > 0 and string.format("  %5.1f%%", 100 * m[i][i] / total) or "       -"
    out[#out + 1] = table.concat(row)
  end
  return table.concat(out, "\n")
end

--- A picture as text of half blocks: (H, W), (H, W, 1) or (H, W, 3), bytes 0..255 or floats 0..1 (or 0..255).
--- @param options table|nil { width = 60, color = nil } colour by default where the terminal has it
function plot.picture(image, options)
  return require("tide.plot.terminal").picture(image, options)
end

return plot

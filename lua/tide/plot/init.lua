--- Pictures of training: learning curves, confusion matrices, ROC and precision over recall,
--- histograms of weights and
-- gradients, images, the model's graph. One call draws in the terminal (a text that is printed:
-- braille and 24-bit colour, plain characters where there are none), or into an SVG or PNG file (`{
-- file = "x.svg" }`, chosen by extension).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local plot = {}

local writers = { svg = "tide.plot.svg", png = "tide.plot.png" }

-- Options of each function beside those that all take, as rows of tide.check.
local LIST, BINS = { "names", "list", nil, "of the classes" },
  { "bins", "int", 30, "number of bars", min = 1 }
local XLABEL, YLABEL = { "xlabel", "string", nil, "under the axis" },
  { "ylabel", "string", nil, "beside the axis" }
local LAYER = { "layer", "string", nil, "only weights whose path holds it" }
local RATE = { "sample_rate", "number", nil, "samples per second, for the axes", above = 0 }
local SCALE = { "scale", "bool", false, "stretch values to 0..255" }
local own = {
  lines = { XLABEL, YLABEL }, histogram = { BINS, XLABEL }, weights = { BINS, LAYER },
  gradients = { BINS, LAYER, { "sample_weight", "any", nil, "of the loss" } },
  roc = { LIST }, precision_recall = { LIST }, confusion_matrix = { LIST }, history = {},
  images = { { "columns", "int", nil, "pictures per row", min = 1 },
    { "titles", "list", nil, "one text per picture" }, SCALE },
  model = { { "show_shapes", "bool", false, "sizes in the boxes" },
    { "show_layer_names", "bool", true, "names in the boxes" } },
  picture = { SCALE },
  wave = { RATE }, spectrogram = { RATE,
    { "fft_length", "int", 512, "samples of a frame, where x is samples", min = 2 } },
}
local common = {
  { "title", "string", nil, "above the figure" }, { "file", "string", nil, ".svg or .png" },
  { "width", "number", nil, "of the figure", above = 0 },
  { "height", "number", nil, "of the figure", above = 0 },
  { "color", "bool", nil, "by default where the terminal has it" },
  { "mode", "string", nil, "how the terminal shows pictures" },
}

-- The options of a call, checked.
local function given(where, options)
  local rows = table.move(own[where], 1, #own[where], 1, {})
  return check.options(where, options, table.move(common, 1, #common, #rows + 1, rows))
end

-- Shows a figure: as text (returned object prints), or in options.file.
local function show(where, figure, options)
  local _ <close> = core.decimal_point()
  local file = options and options.file
  if not file then
    return require("tide.plot.terminal").render(figure, options)
  end
  local extension = file:match "%.(%w+)$"
  local writer = extension and writers[extension:lower()]
  if not writer then
    errors.raise(where, "cannot write '%s' (expected a name that ends in .svg or .png)", file)
  end
  require(writer).write(figure, file, options.width, options.height)
  return file
end

local function need_model(where, model)
  if type(model) ~= "table" or not model.is_model then
    errors.raise(where, "takes a model (got %s)", check.show(model))
  end
end

local function need_pictures(where, x, what)
  if not core.is_tensor(x) and type(x) ~= "table" then
    errors.raise(where, "takes %s, a tensor or nested lists (got %s)", what, check.show(x))
  end
end

local function numbers(where, x)
  if core.is_tensor(x) then
    return x:reshape({ -1 }):tolist()
  elseif type(x) == "table" then
    return x
  end
  errors.raise(where, "takes a tensor or a list of numbers (got %s)", type(x))
end

--- Lines over common axes. `series` is a list of { name, ys } or { name, ys, xs }, or the numbers
--- of one line.
--- @param options table|nil { title, xlabel, ylabel, file, width, height, color }
--- @usage print(tide.plot.lines({ { "loss", { 3, 2, 1.5 } } }, { title = "loss" }))
function plot.lines(series, options)
  local o = given("lines", options)
  local lines = {}
  if core.is_tensor(series) or type(series) == "table" and type(series[1]) == "number" then
    series = { { nil, series } }
  elseif type(series) ~= "table" then
    errors.raise("lines", "takes numbers, or a list of { name, ys } (got %s)",
      check.show(series))
  end
  for i, s in ipairs(series) do
    if type(s) ~= "table" or s[2] == nil then
      errors.raise("lines", "series %d must be { name, ys } or { name, ys, xs } (got %s)", i,
        check.show(s))
    end
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
  return show("lines", { panels = { { title = o.title, xlabel = o.xlabel, ylabel = o.ylabel,
    lines = lines } } }, o)
end

--- Learning curves of `fit`: one panel per quantity, training and validation together.
---
---     print(tide.plot.history(model:fit(x, y, { epochs = 3, verbose = 0 })))
--- @param history table what `fit` returned
--- @param options table|nil { file, width, height }
function plot.history(history, options)
  local o = given("history", options)
  local logs = type(history) == "table" and (history.history or history)
  if type(logs) ~= "table" then
    errors.raise("history", "takes what fit returned, or lists of numbers by name (got %s)",
      check.show(history))
  end
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
      if logs[key] ~= nil then
        if type(logs[key]) ~= "table" then
          errors.raise("history", "'%s' must be a list of numbers, one per epoch (got %s)", key,
            check.show(logs[key]))
        end
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
  return show("history", { panels = panels }, o)
end

-- Bars of counts of values in equal bins.
local function bars_of(values, n)
  local lo, hi = math.huge, -math.huge
  for _, v in ipairs(values) do
    if v == v and v ~= math.huge and v ~= -math.huge then
      lo, hi = math.min(lo, v), math.max(hi, v)
    end
  end
  if lo > hi then
    lo, hi = 0, 0
  end
  if lo == hi then
    lo, hi = lo - 0.5, hi + 0.5
  end
  local bars = {}
  for i = 1, n do
    bars[i] = { lo + (hi - lo) * (i - 1) / n, lo + (hi - lo) * i / n, 0 }
  end
  for _, v in ipairs(values) do
    if v >= lo and v <= hi then
      local i = math.min(n, 1 + math.floor((v - lo) / (hi - lo) * n))
      bars[i][3] = bars[i][3] + 1
    end
  end
  return bars
end

--- Counts of values in equal bins.
---
---     print(tide.plot.histogram(tide.random.normal { 1000 }, { bins = 20 }))
--- @param options table|nil { bins = 30, title, xlabel, file }
function plot.histogram(x, options)
  local o = given("histogram", options)
  local bars = bars_of(numbers("histogram", x), o.bins)
  return show("histogram", { panels = { { title = o.title, xlabel = o.xlabel, ylabel = "count",
    bars = bars } } }, o)
end

-- Histograms of tensors by name, one panel each.
local function histograms(where, named, o)
  local panels = {}
  for _, one in ipairs(named) do
    panels[#panels + 1] = { title = one[1], ylabel = "count",
      bars = bars_of(numbers(where, one[2]), o.bins) }
  end
  if #panels == 0 then
    errors.raise(where, "the model has no weights%s",
      o.layer and " in layers named like '" .. o.layer .. "'" or "; build it first")
  end
  return show(where, { panels = panels }, o)
end

local function chosen(path, o)
  return not o.layer or path:find(o.layer, 1, true)
end

--- Histograms of a model's weights, one for each, by layer.
--- @param options table|nil { bins = 30, layer = part of a path, file }
--- @usage tide.plot.weights(model, { file = "weights.svg" })
function plot.weights(model, options)
  need_model("weights", model)
  local o, named = given("weights", options), {}
  for _, r in ipairs(model:_records()) do
    if chosen(r.path, o) and r.tensor.dtype:find "float" then
      named[#named + 1] = { r.path, r.tensor:detach() }
    end
  end
  return histograms("weights", named, o)
end

--- Histograms of the loss' gradients by a compiled model's weights, on one batch.
--- @param options table|nil { bins = 30, layer = part of a path, file, sample_weight }
--- @usage print(tide.plot.gradients(model, x[{ { 1, 4 } }], y[{ { 1, 4 } }]))
function plot.gradients(model, x, y, options)
  need_model("gradients", model)
  if x == nil then
    errors.raise("gradients", "x is missing (the inputs of a batch)")
  end
  local o, named, params, paths = given("gradients", options), {}, {}, {}
  x, y = core.is_tensor(x) and x or type(x) == "table" and not core.is_tensor(x[1])
    and core.tensor(x) or x, (core.is_tensor(y) or y == nil) and y or core.tensor(y)
  do
    local _ <close> = core.recording(true)
    local loss = model:compute_loss {
      x = x, y = y, y_pred = model(x, { training = true }), sample_weight = o.sample_weight }
    for _, r in ipairs(model:_records()) do
      if r.trainable and chosen(r.path, o) then
        params[#params + 1], paths[#paths + 1] = r.tensor, r.path
      end
    end
    for i, g in ipairs(core.gradients(loss, params)) do
      named[i] = { paths[i], g:detach() }
    end
  end
  return histograms("gradients", named, o)
end

--- The receiver operating characteristic of scores, with the area under it; one curve per class
--- where y_score has several columns.
--- @param y_true any labels 0 and 1; with several columns labels from 1 or one-hot rows
--- @param y_score any scores (n), (n, 1) or (n, classes)
--- @param options table|nil { names, title, file, width, height }
--- @usage print(tide.plot.roc(y_test, model:predict(x_test)))
function plot.roc(y_true, y_score, options)
  local o = given("roc", options)
  local _ <close> = core.decimal_point()
  local lines = require("tide.plot.curves").roc(y_true, y_score, o.names)
  for _, line in ipairs(lines) do
    line.name = ("%sAUC %.3f"):format(line.name and line.name .. ": " or "", line.auc)
  end
  lines[#lines + 1] = { { 0, 0 }, { 1, 1 }, rgb = { 170, 170, 170 } }
  return show("roc", { panels = { { title = o.title or "ROC", xlabel = "false positive rate",
    ylabel = "true positive rate", lines = lines, yrange = { 0, 1 }, legend = "bottom" } } }, o)
end

--- Precision over recall, with the average precision; arguments as of `roc`.
--- @usage tide.plot.precision_recall(y_test, model:predict(x_test), { file = "pr.png" })
function plot.precision_recall(y_true, y_score, options)
  local o = given("precision_recall", options)
  local _ <close> = core.decimal_point()
  local lines = require("tide.plot.curves").precision_recall(y_true, y_score, o.names)
  for _, line in ipairs(lines) do
    line.name = ("%sAP %.3f"):format(line.name and line.name .. ": " or "", line.average_precision)
  end
  local title = o.title or #lines == 1 and "precision over recall, " .. lines[1].name
    or "precision over recall"
  return show("precision_recall", { panels = { { title = title, xlabel = "recall",
    ylabel = "precision", lines = lines, yrange = { 0, 1 }, legend = "bottom" } } }, o)
end

-- The rows of a square matrix of numbers.
local function square(where, matrix)
  local m = core.is_tensor(matrix) and matrix:tolist() or matrix
  local n = type(m) == "table" and #m or 0
  for i = 1, math.max(n, 1) do
    local row = n > 0 and m[i]
    if type(row) ~= "table" or #row ~= n or type(row[1]) ~= "number" then
      errors.raise(where, "takes a square matrix of counts (got %s)", check.show(matrix))
    end
  end
  return m
end

-- A count, or a share with two digits.
local function count(v)
  return v == math.floor(v) and ("%.0f"):format(v) or ("%.2f"):format(v)
end

--- A confusion matrix as shaded cells: rows are the true classes, columns the predicted ones;
--- shades are shares of the row.
--- @param matrix userdata [n, n] counts, as tide.utils.confusion_matrix gives
--- @param options table|nil { names, title, file }
---     local m = tide.utils.confusion_matrix(y, model:predict(x):argmax(-1))
---     print(tide.plot.confusion_matrix(m))
function plot.confusion_matrix(matrix, options)
  local o = given("confusion_matrix", options)
  local _ <close> = core.decimal_point()
  local m = square("confusion_matrix", matrix)
  local cells, names, ends = {}, {}, {}
  for i, row in ipairs(m) do
    local total = 0
    for _, v in ipairs(row) do
      total = total + v
    end
    cells[i], names[i] = {}, tostring(o.names and o.names[i] or i)
    for j, v in ipairs(row) do
      cells[i][j] = { total > 0 and v / total or 0, v == 0 and "." or count(v) }
    end
    ends[i] = total > 0 and ("%5.1f%%"):format(100 * row[i] / total) or "    -"
  end
  return show("confusion_matrix", { panels = { { title = o.title, xlabel = "predicted",
    heat = cells, row_names = names, column_names = names, row_ends = ends } } }, o)
end

--- Pictures in a grid: a tensor (N, H, W) or (N, H, W, C), or a list of pictures; bytes 0..255,
--- floats 0..1 or 0..255.
--- @param options table|nil { columns, titles = list of texts (files only), title, scale = stretch
---   each to 0..255, file, width,
--- mode = how the terminal shows them, as tide.image.show }
--- @usage print(tide.plot.images(tide.random.uniform { 4, 8, 8, 3 }, { columns = 2 }))
function plot.images(x, options)
  need_pictures("images", x, "pictures")
  local o = given("images", options)
  local picture = require "tide.plot.picture"
  local p, places, columns = picture.grid("images", x, o.columns, o.scale,
    o.titles and o.file and 14 or 2)
  local by = math.max(1, 420 // p.shape[2])
  local panel = { picture = p, title = o.title, width = p.shape[2] * by + 8,
    height = p.shape[1] * by + (o.title and 38 or 12) }
  if o.titles and o.file then
    local texts = {}
    for i, place in ipairs(places) do
      local h = (p.shape[1] + 14) // ((#places + columns - 1) // columns) - 14
      texts[i] = tostring(o.titles[i] or "")
      place[2] = place[2] + h + 11
    end
    panel.texts, panel.places, panel.height = texts, places, panel.height + 14 * by
  end
  return show("images", { panels = { panel } }, o)
end

--- A wave over seconds, a line per channel; of long ones the extremes of each stretch.
--- @param x any (samples) or (samples, channels)
--- @param options table|nil { sample_rate, title, file, width, height }
--- @usage print(tide.plot.wave(tide.ops.sin(tide.arange(400) * 0.1), { sample_rate = 8000 }))
function plot.wave(x, options)
  need_pictures("wave", x, "samples")
  local o = given("wave", options)
  return show("wave", { panels = { require("tide.plot.sound").wave("wave", x, o) } }, o)
end

--- A spectrogram in colours, low frequencies below: of samples in decibels down to 80 below the
--- loudest, or a matrix (bins, frames) as layers.MelSpectrogram and layers.MFCC give.
--- @param x any (samples), (samples, 1) or (bins, frames)
--- @param options table|nil { sample_rate, fft_length = 512, title, file, width, height, mode = how
---   the terminal shows it }
--- @usage print(tide.plot.spectrogram(tide.ops.sin(tide.arange(4000) * 0.1)))
function plot.spectrogram(x, options)
  need_pictures("spectrogram", x, "samples, or a matrix (bins, frames)")
  local o = given("spectrogram", options)
  local panel = require("tide.plot.sound").spectrogram("spectrogram", x, o)
  return show("spectrogram", { panels = { panel } }, o)
end

--- The model's graph: layers as boxes, from the inputs down.
--- @param options table|nil { show_shapes = false, show_layer_names = true, file }
--- @usage print(tide.plot.model(model, { show_shapes = true }))
function plot.model(model, options)
  local o = given("model", options)
  return show("model", { panels = { require("tide.plot.graph").panel(model, o) } }, o)
end

local MODEL = { "model", "any", check.required, "a model" }
local SHAPES = { "show_shapes", "bool", false, "shapes of the results" }
local DTYPE = { "show_dtype", "bool", false, "dtypes of the results" }
local RANKDIR = { "rankdir", "enum", "TB", "where the graph grows to", of = "TB|LR|BT|RL" }
local NESTED = { "expand_nested", "bool", false, "layers of models inside in place of these" }
local DPI = { "dpi", "int", 200, "dots per inch", min = 1 }
local ACTIVATIONS = { "show_layer_activations", "bool", false, "activations of layers" }
local TRAINABLE = { "show_trainable", "bool", false, "whether layers train" }
local SPLINES = { "splines", "enum", "ortho", "how Graphviz leads edges",
  of = "ortho|curved|polyline|spline|line" }

local plot_model_args = check.args("plot_model", { MODEL,
  { "to_file", "string", "model.png", "ends in .png or .svg" }, SHAPES, DTYPE,
  { "show_layer_names", "bool", false, "names beside the classes" }, RANKDIR, NESTED, DPI,
  ACTIVATIONS, TRAINABLE, SPLINES })
local dot_args = check.args("model_to_dot", { MODEL, SHAPES, DTYPE,
  { "show_layer_names", "bool", true, "names beside the classes" }, RANKDIR, NESTED, DPI,
  { "subgraph", "bool", false, "a cluster, to stand in a graph of one's own" }, ACTIVATIONS,
  TRAINABLE, SPLINES })

--- Writes the model's graph into a file and returns its name. Keras: keras.utils.plot_model
--- (without graphviz: from the inputs down, with straight edges).
--- @usage tide.utils.plot_model(model, { to_file = "model.svg", show_shapes = true })
function plot.plot_model(...)
  local o = plot_model_args:call(...)
  need_model("plot_model", o.model)
  if o.rankdir ~= "TB" then
    errors.raise("plot_model", "draws from the inputs down alone (expected rankdir \"TB\", got \z
      %s); model_to_dot writes the others, for Graphviz", check.show(o.rankdir))
  end
  local panel = require("tide.plot.graph").panel(o.model, o)
  local size = o.dpi / 200
  return show("plot_model", { panels = { panel } }, { file = o.to_file,
    width = size ~= 1 and panel.width * size or nil,
    height = size ~= 1 and panel.height * size or nil })
end

--- The model's graph as text in the DOT language, which Graphviz draws. Keras:
--- keras.utils.model_to_dot, whose result has this text.
---
---     tide.utils.model_to_dot(model):match "^%w+"   --> "digraph"
--- @param model table
--- @param o table|nil show_shapes, show_dtype, show_layer_names (true), rankdir ("TB", "LR", "BT",
---   "RL"), expand_nested, dpi (200), subgraph, show_layer_activations, show_trainable, splines
---   ("ortho", "curved", "polyline", "spline", "line")
--- @return string
function plot.model_to_dot(...)
  local o = dot_args:call(...)
  need_model("model_to_dot", o.model)
  return require("tide.plot.dot").of(o.model, o)
end

--- A confusion matrix as a text table: rows are the true classes, with the share that was right at
--- the end.
---
---     local counts = tide.utils.confusion_matrix({ 1, 2, 2 }, { 1, 2, 1 })
---     print(tide.plot.confusion_table(counts))
--- @param matrix userdata [n, n] counts, as tide.utils.confusion_matrix gives
--- @param names table|nil class names
function plot.confusion_table(matrix, names)
  local m = square("confusion_table", matrix)
  local _ <close> = core.decimal_point()
  local n, width, label = #m, 5, 4
  for i = 1, n do
    label = math.max(label, #tostring(names and names[i] or i))
    for j = 1, n do
      width = math.max(width, #count(m[i][j]) + 1)
    end
  end
  local out = {}
  local head = { string.rep(" ", label) }
  for j = 1, n do
    head[#head + 1] = string.format(
      "%" .. width .. "s", tostring(names and names[j] or j):sub(1, width - 1))
  end
  out[1] = table.concat(head) .. "   right"
  for i = 1, n do
    local row, total = { string.format("%-" .. label .. "s", tostring(names and names[i] or i)) }, 0
    for j = 1, n do
      total = total + m[i][j]
      row[#row + 1] = string.format(
        "%" .. width .. "s", m[i][j] == 0 and "." or count(m[i][j]))
    end
    row[#row + 1] = total > 0 and string.format("  %5.1f%%", 100 * m[i][i] / total) or "       -"
    out[#out + 1] = table.concat(row)
  end
  return table.concat(out, "\n")
end

--- A picture as text: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), bytes 0..255 or floats 0..1 (or
--- 0..255).
---
---     print(tide.plot.picture(tide.random.uniform { 8, 8, 3 }))
--- @param options table|nil { width = 60, color = nil, mode } colour by default where the terminal
---   has it
function plot.picture(image, options)
  need_pictures("picture", image, "a picture")
  local o = given("picture", options)
  local picture = require "tide.plot.picture"
  return require("tide.plot.terminal").picture("picture", picture.rgb("picture", image, o.scale), o)
end

return require("tide.namespace").new("tide.plot", plot)

--- The summary table of a model, drawn as Keras draws it.
local S = require "tide.private"
local core = require "tide.core"
local list = require "tide.list"
local graph = require "tide.graph"
local none = require "tide.none"
local screen = require "tide.screen"
local symbolic = require "tide.graph.symbolic"
local printable = require "tide.printable"

local summary = {}

local function commas(n)
  local s = tostring(n)
  local out = s:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (out:gsub("^,", ""))
end

local sizes = { float64 = 8, int64 = 8, float32 = 4, int32 = 4, float16 = 2, bfloat16 = 2 }

local function bytes(n)
  local units = { "B", "KB", "MB", "GB", "TB" }
  local i = 1
  while n >= 1024 and i < #units do
    n = n / 1024
    i = i + 1
  end
  local _ <close> = core.decimal_point()
  return ("%.2f %s"):format(n, units[i])
end

local function shape_text(spec)
  if symbolic.is(spec) then
    return list.format(spec.shape)
  elseif type(spec) == "table" then
    local parts = {}
    for _, s in ipairs(symbolic.flatten(spec)) do
      parts[#parts + 1] = list.format(s.shape)
    end
    return table.concat(parts, ", ")
  end
  return "?"
end

local function output_shape(layer)
  local nodes = layer[S].nodes
  if nodes then
    return shape_text(nodes[1].output)
  elseif layer.is_model and graph.of(layer) then
    return shape_text(layer.output)
  elseif layer.built and layer._custom_shape and layer[S].build_shape then
    local ok, shape = pcall(layer.compute_output_shape, layer, layer[S].build_shape)
    if ok and type(shape) == "table" then
      local out = list.copy(shape)
      if type(out[1]) ~= "table" then
        out[1] = none
        return list.format(out)
      end
    end
  end
  return "?"
end

-- Where each layer's first call takes its inputs from.
local function connections(model)
  local g = graph.of(model)
  if not g then
    return nil
  end
  local of, straight, previous = {}, #g.inputs == 1 and #g.outputs == 1, g.inputs[1]
  for _, node in ipairs(g.nodes) do
    straight = straight and #node.inputs == 1 and node.inputs[1] == previous and #node.outputs == 1
    previous = node.outputs[1]
    local key = node.layer or node
    if not of[key] then
      local parts = {}
      for _, x in ipairs(node.inputs) do
        parts[#parts + 1] = x._node and (x._node.layer and x._node.layer.name or x._node.op)
          or x.name
      end
      of[key] = table.concat(parts, ", ")
    end
  end
  return not straight and of or nil
end

-- What a layer costs, as text: multiply-accumulates, bytes kept, peak.
local function cost_cells(costs, layer)
  local c = costs and costs.layers[layer]
  if not c then
    return "-", "-", "-"
  end
  return commas(c.macs), bytes(c.activations), bytes(c.peak)
end

local function rows_of(model, o, indent, out, links, costs)
  local children = {}
  local g = graph.kind(model) == "functional" and graph.of(model)
  if g then
    local seen = {}
    for _, x in ipairs(g.inputs) do
      local layer = x._node and x._node.layer
      if layer and #x._node.inputs == 0 then
        children[#children + 1] = layer
        seen[layer] = true
      end
    end
    for _, node in ipairs(g.nodes) do
      local item = node.layer or node
      if not seen[item] then
        seen[item] = true
        children[#children + 1] = item
      end
    end
  else
    for _, child in ipairs(model:_children()) do
      children[#children + 1] = child.layer
    end
  end
  for _, layer in ipairs(children) do
    if layer.op then
      out[#out + 1] = { indent .. layer.op .. " (op)", shape_text(layer.results[1]), "0",
        links and links[layer] or "", "", "-", "-", "-" }
    else
      local params = layer.built and commas(layer:count_params())
        or (next(layer[S].weights) and "?" or "0 (unbuilt)")
      local macs, kept, peak = cost_cells(costs, layer)
      out[#out + 1] = { indent .. layer.name .. " (" .. getmetatable(layer).__name .. ")",
        output_shape(layer), params, links and links[layer] or "",
          layer[S].trainable and (#layer.weights > 0 and "Y" or "-") or "N", macs, kept, peak,
          name = layer.name }
      if o.expand_nested and layer.is_model then
        rows_of(layer, o, indent .. "  ", out, nil, costs)
      end
    end
  end
  return out
end

local function pad(text, width, right)
  local n = utf8.len(text) or #text
  if n > width then
    return text:sub(1, width - 1) .. "…"
  end
  return right and (" "):rep(width - n) .. text or text .. (" "):rep(width - n)
end

-- The corners, crossings and bars of the table where the locale has no others.
local plain = { ["┏"] = "+", ["┳"] = "+", ["┓"] = "+", ["┡"] = "+", ["╇"] = "+", ["┩"] = "+",
  ["├"] = "+", ["┼"] = "+", ["┤"] = "+", ["└"] = "+", ["┴"] = "+", ["┘"] = "+", ["━"] = "=",
  ["─"] = "-", ["┃"] = "|", ["│"] = "|", ["…"] = "~" }

-- Narrows the widest columns until the table has at most `columns` characters, as far as that goes.
local function narrow(widths, columns)
  local total = 1
  for _, w in ipairs(widths) do
    total = total + w + 3
  end
  while total > columns do
    local widest = 1
    for i, w in ipairs(widths) do
      widest = w > widths[widest] and i or widest
    end
    if widths[widest] <= 8 then
      return
    end
    widths[widest] = widths[widest] - 1
    total = total - 1
  end
end

local function rule(left, fill, mid, right, widths)
  local parts = {}
  for i, w in ipairs(widths) do
    parts[i] = fill:rep(w + 2)
  end
  return left .. table.concat(parts, mid) .. right
end

local function line(cells, widths, bar)
  local parts = {}
  for i, w in ipairs(widths) do
    parts[i] = " " .. pad(cells[i], w, cells.right and cells.right[i] or i == 3) .. " "
  end
  return bar .. table.concat(parts, bar) .. bar
end

-- Rows between two layer names.
local function ranged(rows, range)
  local out, inside = {}, false
  for _, row in ipairs(rows) do
    inside = inside or (row.name and row.name:find(range[1]) ~= nil)
    if inside then
      out[#out + 1] = row
    end
    if inside and row.name and row.name:find(range[2]) then
      break
    end
  end
  return out
end

-- What the model costs, below the table.
local function totals(costs)
  return { (" For a batch of %d: %s multiply-accumulates, %s kept for the gradient"):format(
    costs.batch, commas(costs.macs), bytes(costs.activations)),
    (" Peak memory: training %s (weights %s, optimizer %s), prediction %s"):format(
      bytes(costs.training), bytes(costs.weights), bytes(costs.optimizer),
      bytes(costs.prediction)) }
end

--- The table as text.
--- @param model table
--- @param o table options of Model:summary
--- @param costs table|nil what tide.models.cost found
function summary.text(model, o, costs)
  local links = connections(model)
  local rows = rows_of(model, o, "", {}, links, costs)
  if o.layer_range then
    rows = ranged(rows, o.layer_range)
  end
  local columns = { 1, 2, 3 }
  local heads = { "Layer (type)", "Output Shape", "Param #", "Connected to", "Trainable",
    "MACs", "Kept", "Peak" }
  if links then
    columns[#columns + 1] = 4
  end
  if o.show_trainable then
    columns[#columns + 1] = 5
  end
  if costs then
    table.move({ 6, 7, 8 }, 1, 3, #columns + 1, columns)
  end
  local least = { 30, 22, 13, 18, 9, 9, 9, 9 }
  local widths, shown = {}, { heads }
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      row[i] = printable.name(cell)
    end
    shown[#shown + 1] = row
  end
  local most = o.line_length and math.max(12, o.line_length // #columns - 3) or 44
  for i, c in ipairs(columns) do
    widths[i] = o.line_length and math.min(least[c], most) or least[c]
    for _, row in ipairs(shown) do
      widths[i] = math.min(math.max(widths[i], utf8.len(row[c]) or #row[c]), most)
    end
  end
  local columns_shown = not o.line_length and screen.columns()
  if columns_shown then
    narrow(widths, columns_shown)
  end
  local function cells(row)
    local out = { right = {} }
    for i, c in ipairs(columns) do
      out[i], out.right[i] = row[c], c == 3 or c > 5
    end
    return out
  end
  local out = { ("Model: \"%s\""):format(printable.name(model.name)),
    rule("┏", "━", "┳", "┓", widths),
    line(cells(heads), widths, "┃"), rule("┡", "━", "╇", "┩", widths) }
  for i, row in ipairs(rows) do
    out[#out + 1] = line(cells(row), widths, "│")
    if i < #rows then
      out[#out + 1] = rule("├", "─", "┼", "┤", widths)
    end
  end
  out[#out + 1] = rule("└", "─", "┴", "┘", widths)
  local count, size = { [true] = 0, [false] = 0 }, { [true] = 0, [false] = 0 }
  for _, r in ipairs(model:_records()) do
    local n = r.tensor.size
    count[r.trainable] = count[r.trainable] + n
    size[r.trainable] = size[r.trainable] + n * (sizes[r.tensor.dtype] or 1)
  end
  local optimizer = rawget(model, "optimizer")
  local kept, kept_size = 0, 0
  if optimizer and optimizer.built then
    for _, v in ipairs(optimizer.variables) do
      kept = kept + v.size
      kept_size = kept_size + v.nbytes
    end
  end
  out[#out + 1] = (" Total params: %s (%s)"):format(commas(count[true] + count[false] + kept),
    bytes(size[true] + size[false] + kept_size))
  out[#out + 1] = (" Trainable params: %s (%s)"):format(commas(count[true]), bytes(size[true]))
  out[#out + 1] = (" Non-trainable params: %s (%s)"):format(
    commas(count[false]), bytes(size[false]))
  if kept > 0 then
    out[#out + 1] = (" Optimizer params: %s (%s)"):format(commas(kept), bytes(kept_size))
  end
  if costs then
    table.move(totals(costs), 1, 2, #out + 1, out)
  end
  local text = table.concat(out, "\n")
  return screen.utf8() and text or (text:gsub(utf8.charpattern, plain))
end

return summary

--- A model's graph: its layers and operators as boxes, in layers from the inputs down.
local errors = require "tide.errors"
local layers = require "tide.plot.layers"
local list = require "tide.list"
local model_graph = require "tide.graph"
local object = require "tide.object"
local printable = require "tide.printable"

local graph = {}

local function shape_of(values)
  local parts = {}
  for i, v in ipairs(values) do
    parts[i] = list.format(v.shape)
  end
  return table.concat(parts, ", ")
end

-- The model's graph; nil where it is not built, or where its call cannot be traced.
local function graph_of(model)
  local ok, g = pcall(model_graph.describe, model, {})
  return ok and g or nil
end

-- The activation of a layer as a name.
local function activation_of(layer)
  local v = object.serialize(layer.activation)
  return type(v) == "string" and v or type(v) == "table" and v.class_name or "a function"
end

--- Boxes of text and edges between them, in order of execution. Of models whose graph is not known
--- the layers alone, those of a Sequential in their row.
--- @return table nodes { lines, class }, table edges { from, to }
function graph.of(model, o)
  if type(model) ~= "table" or not model._children then
    errors.raise("plot.model", "takes a model (got %s)", type(model))
  end
  local nodes, edges = {}, {}
  local function add(name, class, node)
    local lines = {}
    local layer = node and node.layer
    local shape = node and node.outputs and shape_of(node.outputs)
    if o.show_layer_names ~= false and name ~= class then
      lines[1] = printable.name(name) .. " (" .. class .. ")"
    else
      lines[1] = class
    end
    if o.show_layer_activations and layer and layer.activation then
      lines[#lines + 1] = "activation: " .. activation_of(layer)
    end
    if o.show_shapes and shape and shape ~= "" then
      lines[#lines + 1] = shape
    end
    if o.show_dtype and node and node.outputs and node.outputs[1] then
      lines[#lines + 1] = node.outputs[1].dtype
    end
    if o.show_trainable and layer then
      lines[#lines + 1] = layer.trainable and "trainable" or "not trainable"
    end
    nodes[#nodes + 1] = { lines = lines, class = class }
    return #nodes
  end
  -- The boxes of a graph; `into`: the boxes that lead to its inputs, of a model inside. Gives the
  -- boxes of its outputs.
  local function add_graph(g, into)
    local boxes, k = {}, 0 -- name of a node -> its boxes, one for each result
    for _, node in ipairs(g.nodes) do
      local from, seen = {}, {}
      for i, v in ipairs(node.inputs) do
        from[i] = boxes[v.node][v.output] or boxes[v.node][1]
      end
      local inner = o.expand_nested and node.layer and node.layer.is_model and graph_of(node.layer)
      if into and #node.inputs == 0 and node.class == "InputLayer" then
        k = k + 1
        boxes[node.name] = { into[k] or into[1] }
      elseif inner then
        boxes[node.name] = add_graph(inner, from)
      else
        local at = add(node.name, node.class or node.op, node)
        boxes[node.name] = { at }
        for _, b in ipairs(from) do
          if not seen[b] then
            seen[b] = true
            edges[#edges + 1] = { b, at }
          end
        end
      end
    end
    local out = {}
    for i, v in ipairs(g.outputs) do
      out[i] = boxes[v.node][v.output] or boxes[v.node][1]
    end
    return out
  end
  local g = graph_of(model)
  if g then
    add_graph(g)
  end
  for _, child in ipairs(g and {} or model:_children()) do
    local layer = child.layer
    local at = add(layer.name, getmetatable(layer).__name, { layer = layer })
    if model_graph.kind(model) == "sequential" and at > 1 then
      edges[#edges + 1] = { at - 1, at }
    end
  end
  if #nodes == 0 then
    errors.raise("plot.model", "the model has no layers yet; build it first")
  end
  return nodes, edges
end

local function widest(lines)
  local n = 0
  for _, s in ipairs(lines) do
    n = math.max(n, utf8.len(s) or #s)
  end
  return n
end

local fills = { { 225, 236, 247 }, { 253, 235, 218 }, { 226, 243, 226 }, { 248, 224, 224 },
  { 237, 229, 245 }, { 236, 231, 228 } }

-- The same class has the same colour everywhere: a hash of its name.
local function fill_of(class)
  local h = 0
  for i = 1, #class do
    h = (h * 31 + class:byte(i)) % 1000003
  end
  return class == "InputLayer" and { 245, 245, 245 } or fills[h % #fills + 1]
end

local GAP, ROW, LEADING = 24, 34, 16

--- The panel that draws itself on a canvas of pixels.
function graph.panel(model, o)
  local nodes, edges = graph.of(model, o)
  local widths, tallest = {}, 0
  for i, node in ipairs(nodes) do
    widths[i] = 7 * widest(node.lines) + 20
    tallest = math.max(tallest, #node.lines)
  end
  local rank, x, chains, count, width = layers.layout(widths, edges, GAP)
  local box = tallest * LEADING + 10
  local function top(v)
    return 10 + (rank[v] - 1) * (box + ROW)
  end
  local frame, line = { 90, 90, 90 }, { 120, 120, 120 }
  local panel = { width = math.ceil(width + 20),
    height = math.ceil(count * (box + ROW) - ROW + 20) }
  function panel.draw(canvas, left, up)
    left = left + 10
    for _, chain in ipairs(chains) do
      for k = 2, #chain do
        local a, b = chain[k - 1], chain[k]
        local x1, y1, x2, y2 = left + x[a], up + top(a) + box, left + x[b], up + top(b)
        canvas.line(x1, y1, x2, y2, line, 1)
        if not nodes[b] then -- past the boxes of a layer edges run straight down
          canvas.line(x2, y2, x2, y2 + box, line, 1)
        end
      end
      local last = chain[#chain]
      local tx, ty = left + x[last], up + top(last)
      canvas.line(tx - 4, ty - 6, tx, ty - 1, line, 1)
      canvas.line(tx + 4, ty - 6, tx, ty - 1, line, 1)
    end
    for i, node in ipairs(nodes) do
      local bx, by, w = left + x[i] - widths[i] / 2, up + top(i), widths[i]
      canvas.rect(bx, by, w, box, fill_of(node.class))
      canvas.line(bx, by, bx + w, by, frame, 1)
      canvas.line(bx, by + box, bx + w, by + box, frame, 1)
      canvas.line(bx, by, bx, by + box, frame, 1)
      canvas.line(bx + w, by, bx + w, by + box, frame, 1)
      for k, s in ipairs(node.lines) do
        local offset = (box - #node.lines * LEADING) / 2
        canvas.text(bx + w / 2, by + offset + k * LEADING - 4, s, "middle", { 40, 40, 40 })
      end
    end
  end
  function panel.text(fancy, color)
    return graph.text(nodes, edges, fancy, color)
  end
  return panel
end

-- Sides of a cell that a line leaves by, as bits: up 1, down 2, left 4, right 8.
local JOINTS = { [1] = "│", [2] = "│", [3] = "│", [4] = "─", [8] = "─", [12] = "─", [5] = "┘",
  [9] = "└", [6] = "┐", [10] = "┌", [7] = "┤", [11] = "├", [13] = "┴", [14] = "┬", [15] = "┼" }
local PLAIN = { [1] = "|", [2] = "|", [3] = "|", [4] = "-", [8] = "-", [12] = "-" }

--- The graph as lines of characters.
function graph.text(nodes, edges, fancy, color)
  local widths, tallest = {}, 0
  for i, node in ipairs(nodes) do
    widths[i] = widest(node.lines) + 4
    tallest = math.max(tallest, #node.lines)
  end
  local rank, x, chains, count, width = layers.layout(widths, edges, 2)
  local box, between = tallest + 2, 3
  local height = count * (box + between) - between
  local cells, sides = {}, {}
  for r = 0, height - 1 do
    cells[r], sides[r] = {}, {}
  end
  local function column(v)
    return math.floor(x[v])
  end
  local function top(v)
    return (rank[v] - 1) * (box + between)
  end
  local function join(r, c, bits)
    sides[r][c] = (sides[r][c] or 0) | bits
  end
  -- from the cell below row `from` - 1 to the cell above row `to` + 1
  local function down(c, from, to)
    for r = from, to do
      join(r, c, 3)
    end
  end
  for _, chain in ipairs(chains) do
    for k = 2, #chain do
      local a, b = chain[k - 1], chain[k]
      local c1, c2, from = column(a), column(b), top(a) + box
      local middle = from + 1
      if not nodes[a] then
        down(c1, top(a), from - 1)
      end
      if c1 == c2 then
        down(c1, from, from + between - 1)
      else
        down(c1, from, middle - 1)
        join(middle, c1, 1 | (c2 > c1 and 8 or 4))
        for c = math.min(c1, c2) + 1, math.max(c1, c2) - 1 do
          join(middle, c, 12)
        end
        join(middle, c2, 2 | (c2 > c1 and 4 or 8))
        down(c2, middle + 1, from + between - 1)
      end
      if nodes[b] then
        cells[from + between - 1][c2] = fancy and "▼" or "v"
      end
    end
  end
  for i, node in ipairs(nodes) do
    local left, r0, w = column(i) - widths[i] // 2, top(i), widths[i]
    left = math.max(0, left)
    for k = 0, box - 1 do
      local edge = k == 0 or k == box - 1
      local text = not edge and (node.lines[k - (tallest - #node.lines) // 2] or "") or ""
      local room = w - 2 - (utf8.len(text) or #text)
      local inner = edge and (fancy and "─" or "-"):rep(w - 2)
        or (" "):rep(room // 2) .. text .. (" "):rep(room - room // 2)
      local a = edge and (fancy and (k == 0 and "┌" or "└") or "+") or (fancy and "│" or "|")
      local z = edge and (fancy and (k == 0 and "┐" or "┘") or "+") or (fancy and "│" or "|")
      local c = left
      for _, code in utf8.codes(a .. inner .. z) do
        cells[r0 + k][c] = utf8.char(code)
        c = c + 1
      end
      if color and not edge and text ~= "" then
        cells[r0 + k][left + 1 + room // 2] = "\27[1m" .. cells[r0 + k][left + 1 + room // 2]
        local last = left + 1 + room // 2 + (utf8.len(text) or #text) - 1
        cells[r0 + k][last] = cells[r0 + k][last] .. "\27[0m"
      end
    end
  end
  local out = {}
  for r = 0, height - 1 do
    local line = {}
    for c = 0, math.ceil(width) + 1 do
      local s = sides[r][c]
      line[#line + 1] = cells[r][c] or s and ((fancy and JOINTS or PLAIN)[s] or "+") or " "
    end
    out[#out + 1] = (table.concat(line):gsub("%s+$", ""))
  end
  return out
end

return graph

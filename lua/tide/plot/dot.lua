--- A model's graph as text in the DOT language, which Graphviz draws.
local graph = require "tide.plot.graph"
local printable = require "tide.printable"

local dot = {}

-- A text in quotes; lines of a box are joined by the language's own mark of a line's end.
local function quoted(lines)
  local out = {}
  for i, line in ipairs(lines) do
    out[i] = printable.name(line):gsub("[\\\"]", "\\%0")
  end
  return '"' .. table.concat(out, "\\n") .. '"'
end

--- @param model table
--- @param o table options of tide.utils.model_to_dot
--- @return string
function dot.of(model, o)
  local nodes, edges = graph.of(model, o)
  local out = { o.subgraph and "subgraph " .. quoted { "cluster_" .. model.name } .. " {"
    or "digraph " .. quoted { model.name } .. " {",
    ("  graph [rankdir=%s, dpi=%d, splines=%s];"):format(o.rankdir, o.dpi, o.splines),
    "  node [shape=box];" }
  for i, node in ipairs(nodes) do
    out[#out + 1] = ("  n%d [label=%s];"):format(i, quoted(node.lines))
  end
  for _, e in ipairs(edges) do
    out[#out + 1] = ("  n%d -> n%d;"):format(e[1], e[2])
  end
  out[#out + 1] = "}"
  return table.concat(out, "\n")
end

return dot

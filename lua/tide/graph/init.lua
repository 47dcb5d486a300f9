--- What a model's graph is, for all who read it: summary, plots, files, cloning, `model:graph()`.
local S = require "tide.private"
local errors = require "tide.errors"
local fuse = require "tide.graph.fuse"
local list = require "tide.list"
local names = require "tide.graph.names"
local none = require "tide.none"
local order = require "tide.graph.order"
local symbolic = require "tide.graph.symbolic"
local printable = require "tide.printable"

local graph = {}

--- "sequential" or "functional" where that alone makes the model; nil for classes of one's own.
--- @param model table
function graph.kind(model)
  local class = getmetatable(model)
  return model.is_model and (not class._custom or class._of_graph)
    and fuse.of_class(class, "graph_kind") or nil
end

--- The graph of a Sequential or functional model: `{ input, output: symbolic tensors as they were
--- declared, inputs, outputs: flat lists of them, keys: names of the inputs, nodes: in order }`;
--- nil where there is none (yet).
--- @param model table
function graph.of(model)
  return fuse.of_class(getmetatable(model), "graph_kind") and model[S].graph or nil
end

--- The layers of a Sequential or functional model in Keras' order; none of other models.
--- @param model table
function graph.layers(model)
  local out = {}
  for i, child in ipairs(graph.kind(model) and model:_parts() or {}) do
    out[i] = child.layer
  end
  return out
end

-- A shape, or a structure of shapes, with any batch size.
local function free(shape)
  if type(shape[1]) == "table" and shape[1] ~= none or #shape == 0 and next(shape) ~= nil then
    local out = {}
    for k, v in pairs(shape) do
      out[k] = free(v)
    end
    return out
  end
  local out = list.copy(shape)
  if #out > 0 then
    out[1] = none
  end
  return out
end

-- The shapes of what a model's call takes: given, or those that it was built for.
local function shapes_of(model, given)
  local n = model._input_names and #model._input_names or 1
  if given then
    return n == 1 and { given, n = 1 } or table.move(given, 1, n, 1, { n = n })
  end
  local built = model[S].build_shapes
  if not built then
    errors.raise(model:_label(), "graph: the model is not built yet; call it on a batch first, or \z
      give the shape: model:graph { shape = { tide.none, 28, 28, 1 } }")
  end
  local out = { n = n }
  for i = 1, n do
    out[i] = built[i] and free(built[i])
  end
  return out
end

-- The graph of any model, found by calling it on symbolic tensors.
local function traced(model, o)
  local g = graph.of(model)
  local args
  if g then
    local like = {}
    for _, x in ipairs(g.inputs) do
      like[x] = symbolic.new(x.shape, x.dtype, x.name)
    end
    args = { symbolic.map(g.input, function(x) return like[x] end), n = 1 }
  else
    args = shapes_of(model, o.shape)
    for i = 1, args.n do
      args[i] = args[i] and symbolic.argument(model, i, args[i], o.dtype)
    end
    local flat = symbolic.flatten(args)
    for i, x in ipairs(flat) do
      x.name = #flat == 1 and "input" or "input_" .. i
    end
  end
  local inputs = symbolic.flatten(args)
  local outputs = symbolic.flatten { symbolic.trace(model, args, o.ops) }
  return { inputs = inputs, outputs = outputs,
    nodes = order.between(inputs, outputs, model:_label()) }
end

local Graph = { __name = "tide.graph" }
Graph.__index = Graph

-- The description of a graph: nodes and values as plain tables.
local function described(model, g)
  local values, nodes, taken, path = {}, {}, {}, {}
  for _, r in ipairs(model:_records()) do
    path[r.tensor] = r
  end
  local function value(x)
    return values[x]
  end
  local function add(node, results)
    for i, x in ipairs(results) do
      values[x] = { node = node.name, output = i, shape = list.copy(x.shape), dtype = x.dtype }
      node.outputs[i] = values[x]
    end
    nodes[#nodes + 1] = node
  end
  for _, x in ipairs(g.inputs) do
    local layer = x._node and #x._node.inputs == 0 and x._node.layer or nil
    add({ name = names.free(taken, x.name), class = "InputLayer", layer = layer, inputs = {},
      outputs = {}, args = { n = 0 }, weights = {} }, { x })
  end
  local function tensors(v, out)
    if type(v) == "userdata" and path[v] then
      out[#out + 1] = { name = path[v].path, tensor = v, trainable = path[v].trainable }
    elseif type(v) == "table" and getmetatable(v) == nil then
      for _, x in pairs(v) do
        tensors(x, out)
      end
    end
  end
  for _, made in ipairs(g.nodes) do
    local layer = made.layer
    local node = { layer = layer, op = made.op, class = layer and getmetatable(layer).__name,
      inputs = {}, outputs = {}, args = { n = made.args.n }, weights = {}, within = made.within,
      name = names.free(taken, layer and layer.name
        or (made.within and made.within .. "/" or "") .. made.op) }
    for i, x in ipairs(made.inputs) do
      node.inputs[i] = value(x)
    end
    for i = 1, made.args.n do
      node.args[i] = symbolic.map(made.args[i], value)
      if not layer then
        tensors(made.args[i], node.weights)
      end
    end
    for _, r in ipairs(layer and layer:_records() or {}) do
      node.weights[#node.weights + 1] = { name = layer.name .. "/" .. r.path, tensor = r.tensor,
        trainable = r.trainable }
    end
    table.sort(node.weights, function(a, b)
      return not layer and a.name < b.name
    end)
    add(node, made.outputs)
  end
  local out = { name = model.name, nodes = nodes, inputs = {}, outputs = {} }
  for i, x in ipairs(g.inputs) do
    out.inputs[i] = value(x)
  end
  for i, x in ipairs(g.outputs) do
    out.outputs[i] = value(x)
  end
  return setmetatable(out, Graph)
end

--- One line per node: its name, what it is, shapes of its results, where its inputs come from.
function Graph:__tostring()
  local lines = { ("graph of \"%s\""):format(printable.name(self.name)) }
  for _, node in ipairs(self.nodes) do
    local shapes, from = {}, {}
    for i, v in ipairs(node.outputs) do
      shapes[i] = list.format(v.shape)
    end
    for i, v in ipairs(node.inputs) do
      from[i] = printable.name(v.node)
    end
    lines[#lines + 1] = ("  %s (%s) %s%s"):format(printable.name(node.name), node.class or node.op,
      table.concat(shapes, ", "), #from > 0 and " <- " .. table.concat(from, ", ") or "")
  end
  return table.concat(lines, "\n")
end

--- The graph of a model, as `model:graph` gives it.
--- @param model table
--- @param o table `ops`, `shape`, `dtype`
function graph.describe(model, o)
  local g = not o.ops and graph.of(model) or nil
  if not g and graph.kind(model) and not graph.of(model) then
    errors.raise(model:_label(),
      "graph: is not built yet: give input_shape, add a tide.Input, or call it")
  end
  return described(model, g or traced(model, o))
end

return graph

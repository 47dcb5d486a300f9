--- Runs the calls of a model's graph again, with other layers or other inputs: cloning, replacing a
--- layer, forgetting what is no part of a model any more.
local S = require "tide.private"
local symbolic = require "tide.graph.symbolic"

local rebuild = {}

local function plain_call(layer, ...)
  return layer(...)
end

--- The outputs that a graph gives for other inputs, in the structure of its own.
--- @param g table a graph as tide.graph.of gives it
--- @param inputs table list of symbolic tensors, one for each of `g.inputs`
--- @param layer_for function the layer that stands for one of the graph's
--- @param call function|nil calls a layer: `call(layer, ...)`
--- @return any outputs, table the nodes that were made, in order
function rebuild.outputs(g, inputs, layer_for, call)
  call = call or plain_call
  local at, made = {}, {}
  for i, x in ipairs(g.inputs) do
    at[x] = inputs[i]
  end
  local function now(x)
    return at[x]
  end
  for _, node in ipairs(g.nodes) do
    local args = { n = node.args.n }
    for i = 1, args.n do
      args[i] = symbolic.map(node.args[i], now)
    end
    local results
    if node.layer then
      results = table.pack(call(layer_for(node.layer), table.unpack(args, 1, args.n)))
    else
      results = table.pack(symbolic.op(node.op, table.unpack(args, 1, args.n)))
    end
    local was = symbolic.flatten(node.results)
    for i, x in ipairs(symbolic.flatten(results)) do
      at[was[i]] = x
      made[#made + 1] = x._node and made[#made] ~= x._node and x._node or nil
    end
  end
  return symbolic.map(g.output, now), made
end

--- Layers forget calls that are no part of a model any more.
--- @param nodes table list of nodes
function rebuild.forget(nodes)
  local gone = {}
  for _, node in ipairs(nodes) do
    gone[node] = true
  end
  for _, node in ipairs(nodes) do
    local own = node.layer and node.layer[S].nodes
    for i = own and #own or 0, 1, -1 do
      if gone[own[i]] then
        table.remove(own, i)
      end
    end
  end
end

return rebuild

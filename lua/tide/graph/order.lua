--- Nodes between symbolic inputs and outputs: an order in which they can run, and the order in
--- which Keras lists their layers.
--
-- Graphs may be deep, so walks use a stack of their own.
local S = require "tide.private"
local errors = require "tide.errors"
local symbolic = require "tide.graph.symbolic"

local order = {}

--- Nodes between inputs and outputs, each after those it needs, in order of creation where there is
--- a choice.
--- @param inputs table list of symbolic tensors
--- @param outputs table list of symbolic tensors
--- @param name string who asks, for messages
--- @return table list of nodes
function order.between(inputs, outputs, name)
  local given, done, out = {}, {}, {}
  for _, x in ipairs(inputs) do
    given[x] = true
  end
  for _, output in ipairs(outputs) do
    local stack = { { output } }
    while #stack > 0 do
      local entry = stack[#stack]
      local x, node = entry[1], entry[1]._node
      if given[x] or not node or done[node] then
        if not given[x] and not node then
          errors.raise(name, "the tensor '%s' is made by no layer", x.name)
        end
        stack[#stack] = nil
      elseif node.layer and #node.inputs == 0 then
        errors.raise(
          name, "the graph is not connected: '%s' is needed but is no input of the model", x.name)
      else
        entry[2] = (entry[2] or 0) + 1
        local need = node.inputs[entry[2]]
        if need then
          stack[#stack + 1] = { need }
        else
          done[node] = true
          out[#out + 1] = node
          stack[#stack] = nil
        end
      end
    end
  end
  return out
end

-- ---- Keras' order ----
--
-- The order of layers decides that of weights, and weight groups in Keras' files are numbered in
-- it.

-- What an entry is made of: a layer, an op node, or an input that no InputLayer stands for.
local function maker(node)
  return symbolic.is(node) and node or node.layer or node
end

--- Layers and op nodes of a functional model in the order that Keras gives them: by depth from the
--- outputs, then by when a depth-first walk first met them.
--- @param g table { inputs, outputs }, lists of symbolic tensors
--- @return table list of layers, op nodes and inputs
function order.makers(g)
  local index, met, done, nodes = {}, 0, {}, {}
  local given = {}
  for _, x in ipairs(g.inputs) do
    given[x] = #x._node.inputs == 0 and x._node or x
  end
  for _, output in ipairs(g.outputs) do
    local stack = { { output } }
    while #stack > 0 do
      local top = stack[#stack]
      local node = given[top[1]] or top[1]._node
      if not top[2] then
        if done[node] then
          stack[#stack] = nil
          goto continue
        end
        if not index[maker(node)] then
          index[maker(node)] = met
          met = met + 1
        end
        top[2] = 0
      end
      top[2] = top[2] + 1
      do
        local need = not given[top[1]] and node.inputs[top[2]]
        if need then
          stack[#stack + 1] = { need }
        else
          if not done[node] then
            done[node] = true
            nodes[#nodes + 1] = node
          end
          stack[#stack] = nil
        end
      end
      ::continue::
    end
  end
  local depth, own = {}, {}
  for i = #nodes, 1, -1 do
    local node = nodes[i]
    local d = math.max(depth[node] or 0, own[maker(node)] or 0)
    own[maker(node)], depth[node] = d, d
    for _, x in ipairs(symbolic.is(node) and {} or node.inputs) do
      local from = given[x] or x._node
      depth[from] = math.max(d + 1, depth[from] or 0)
    end
  end
  local out = {}
  for m in pairs(own) do
    out[#out + 1] = m
  end
  for _, x in ipairs(g.inputs) do
    local m = maker(given[x])
    if not own[m] then
      own[m], index[m] = 0, -1
      out[#out + 1] = m
    end
  end
  table.sort(out, function(a, b)
    if own[a] ~= own[b] then
      return own[a] > own[b]
    end
    return index[a] < index[b]
  end)
  return out
end

--- The layers of a functional model in Keras' order; inputs that are not connected come first among
--- the last.
--- @param inputs table list of symbolic tensors
--- @param outputs table list of symbolic tensors
--- @return table list of layers, Input layers among them
function order.layers(inputs, outputs)
  local out = {}
  for _, maker_ in ipairs(order.makers { inputs = inputs, outputs = outputs }) do
    out[#out + 1] = rawget(maker_, S) and maker_ or nil
  end
  return out
end

return order

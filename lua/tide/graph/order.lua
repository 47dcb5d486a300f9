--- Nodes between symbolic inputs and outputs, in an order in which they can run.
--
-- Graphs may be deep, so walks use a stack of their own.
local errors = require "tide.errors"

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

return order

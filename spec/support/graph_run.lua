--- Runs a graph of operators, as `model:graph { ops = true }` describes it, by calling each op.
local core = require "tide.core"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"

--- @param g table
--- @param inputs table list of tensors
--- @return table list of the outputs
return function(g, inputs)
  local values = {}
  for i, x in ipairs(g.inputs) do
    values[x] = inputs[i]
  end
  -- An argument with its tensors in it; an unknown size is that of the first tensor's axis.
  local function fill(v, first)
    if type(v) ~= "table" or v == none then
      return v
    elseif v.node and v.output then
      return values[v]
    elseif getmetatable(v) ~= nil and not list.is(v) then
      return v
    end
    local out = {}
    for k, part in pairs(v) do
      out[k] = part == none and first.shape[k] or fill(part, first)
    end
    return out
  end
  for _, node in ipairs(g.nodes) do
    if node.op then
      local args = {}
      for k = 1, node.args.n do
        args[k] = fill(node.args[k], args[1])
      end
      local f = node.op == "getitem" and function(x, key) return x[key] end
        or core.ops[node.op] or ops[node.op]
      local out = table.pack(f(table.unpack(args, 1, node.args.n)))
      for k, value in ipairs(node.outputs) do
        values[value] = out[k]
      end
    end
  end
  local out = {}
  for i, y in ipairs(g.outputs) do
    out[i] = values[y]
  end
  return out
end

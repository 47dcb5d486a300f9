--- What a model's graph is, for all who read it: summary, plots, files, cloning.
local S = require "tide.private"
local fuse = require "tide.graph.fuse"

local graph = {}

--- "sequential" or "functional" where that alone makes the model; nil for classes of one's own.
--- @param model table
function graph.kind(model)
  local class = getmetatable(model)
  return model.is_model and not class._custom and fuse.of_class(class, "graph_kind") or nil
end

--- The graph of a Sequential or functional model: `{ input, output: symbolic tensors as they were
--- declared, inputs, outputs: flat lists of them, keys: names of the inputs, nodes: in order }`;
--- nil where there is none (yet).
--- @param model table
function graph.of(model)
  return fuse.of_class(getmetatable(model), "graph_kind") and model[S].graph or nil
end

return graph

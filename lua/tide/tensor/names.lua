--- Names of weights: `tensor.name` and `tensor.path`. What layers say of their weights and states
--- stands here beside the tensors, and keeps neither them nor the layers alive.
local names = {}

local weak_keys, weak = { __mode = "k" }, { __mode = "kv" }
local name_of, owner_of = setmetatable({}, weak_keys), setmetatable({}, weak)

--- Says of a tensor which layer's it is and by what name.
function names.give(tensor, name, owner)
  name_of[tensor], owner_of[tensor] = name, owner
end

--- The layer whose weight a tensor is, and its name there; nil of other tensors, and of weights
--- whose layer is gone.
function names.owner(tensor)
  return owner_of[tensor], name_of[tensor]
end

--- Whether a tensor was given a name.
function names.has(tensor)
  return name_of[tensor] ~= nil
end

--- The field `name` or `path` of a tensor; nil of one that is nobody's weight.
function names.get(tensor, field)
  local name, owner = name_of[tensor], owner_of[tensor]
  if name and owner and field == "path" then
    return owner.path .. "/" .. name
  end
  return name
end

return names

--- Names of weights: `tensor.name` and `tensor.path`. What layers say of their weights and states
--- stands here beside the tensors, and keeps neither them nor the layers alive.
local names = {}

local weak_keys, weak = { __mode = "k" }, { __mode = "kv" }
local name_of, owner_of = setmetatable({}, weak_keys), setmetatable({}, weak)
local around_of = setmetatable({}, weak_keys)

--- Says of a tensor which layer's it is and by what name. `around`: the path of what stood around
--- the layer then; nil: of what stood around it when it was built.
function names.give(tensor, name, owner, around)
  name_of[tensor], owner_of[tensor], around_of[tensor] = name, owner, around
end

--- What `give` said stood around a tensor's layer.
function names.around(tensor)
  return around_of[tensor]
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
    local around = around_of[tensor]
    local path = not around and owner.path or around ~= "" and around .. "/" .. owner.name
      or owner.name
    return path .. "/" .. name
  end
  return name
end

return names

--- Where layers and weights stand: Keras' paths.
--
-- A layer that is built while others are being built or called for the first time stands inside of
-- them: its path is theirs and its name. So the layers of a Sequential model and of a model of
-- one's own begin with the model's name, those of a functional model, which are built when they
-- are called on symbolic tensors, do not.
local paths = {}

local innermost = setmetatable({}, { __mode = "k" }) -- coroutine -> the layer that is open there

local Open = {}

function Open.__close(open)
  innermost[open.thread] = open.before
end

--- The layer is open until what is returned is closed; nil where it is the innermost one already.
function paths.enter(layer)
  local thread = coroutine.running()
  local before = innermost[thread]
  if before and rawequal(before.layer, layer) then
    return nil
  end
  local open = setmetatable({ thread = thread, before = before, layer = layer,
    path = (before and before.path .. "/" or "") .. layer.name }, Open)
  innermost[thread] = open
  return open
end

--- The path of what stands around a layer now, without the layer; "" where nothing does.
function paths.around(layer)
  local open = innermost[coroutine.running()]
  if open and rawequal(open.layer, layer) then
    open = open.before
  end
  return open and open.path or ""
end

--- The path of a name below `around`.
function paths.join(around, name)
  return around ~= "" and around .. "/" .. name or name
end

return paths

--- Where layers and weights stand: Keras' paths.
--
-- A layer that is built while others are being built or called for the first time stands inside of
-- them: its path is theirs and its name. So the layers of a Sequential model and of a model of
-- one's own begin with the model's name, those of a functional model, which are built when they
-- are called on symbolic tensors, do not.
-- Files keep what stood around each layer: what was built alone before it came into a model, or
-- late within it, is not told by a configuration.
local S = require "tide.private"
local check = require "tide.check"
local names = require "tide.tensor.names"

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

-- The layers of a model in the order of its weights, each once, parents first.
local function walk(layer, out)
  if not out[layer] then
    out[layer], out[#out + 1] = true, layer
    for _, child in ipairs(layer:_children()) do
      walk(child.layer, out)
    end
  end
  return out
end

--- What stands around the layers of a model, for a file: a list of how many layers in a row, what
--- is around them, and so on.
function paths.kept(model)
  local out, last = {}, nil
  for _, layer in ipairs(walk(model, {})) do
    local around = layer[S].around or ""
    if around == last then
      out[#out - 1] = out[#out - 1] + 1
    else
      out[#out + 1], out[#out + 2], last = 1, around, around
    end
  end
  return out
end

-- A layer, and those of its weights that were made where it was built, stand in another place.
local function move(layer, around)
  local was = layer[S].around or ""
  if was == around then
    return
  end
  layer[S].around = around
  for _, group in ipairs { layer[S].weights, layer[S].states or {} } do
    for _, r in ipairs(group) do
      if names.around(r.tensor) == was then
        names.give(r.tensor, r.name, layer, around)
      end
    end
  end
end

--- Puts the layers of a model that was made from a file where `kept` says; what does not tell of as
--- many layers changes nothing.
--- @param kept any
function paths.restore(model, kept)
  local at = {}
  for i = 1, check.is_plain(kept) and #kept or 0, 2 do
    local n, around = kept[i], kept[i + 1]
    if math.type(n) ~= "integer" or type(around) ~= "string" then
      return
    end
    at[#at + 1] = { n = n, around = around }
  end
  local layers, from = walk(model, {}), 0
  for _, run in ipairs(at) do
    run.from, from = from + 1, from + run.n
    if run.n < 1 or from > #layers then
      return
    end
  end
  for _, run in ipairs(from == #layers and at or {}) do
    for i = run.from, run.from + run.n - 1 do
      move(layers[i], run.around)
    end
  end
end

return paths

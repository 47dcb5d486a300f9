--- Layers that stand in several places of one configuration: in a model's graph and among the
--- options of another layer. As in Keras, each of their entries gets the same `shared_object_id`,
--- and what is made of such a configuration has one layer in all these places.
local errors = require "tide.errors"

local shared = {}

local writing = setmetatable({}, { __mode = "k" }) -- coroutine -> the configuration being written

local Written = {}
function Written.__close(w)
  writing[w.by] = nil
end

--- Until the value returned is closed, entries that are written belong to one configuration; nil
--- where they do already.
function shared.writing()
  local by = coroutine.running()
  if not writing[by] then
    writing[by] = setmetatable({ by = by, entries = {}, count = 0 }, Written)
    return writing[by]
  end
end

--- Notes that `entry` was written for `layer`; from its second entry on they have a number, and the
--- shape that the layer was built for: another layer may use its weights before it is called.
--- @param shape table|nil
--- @return table entry
function shared.note(layer, entry, shape)
  local w = writing[coroutine.running()]
  local first = w and w.entries[layer]
  if first then
    if not first.shared_object_id then
      w.count = w.count + 1
      first.shared_object_id = w.count
    end
    entry.shared_object_id = first.shared_object_id
    if shape and not first.build_config then
      first.build_config = { input_shape = shape }
    end
    entry.build_config = first.build_config
  elseif w then
    w.entries[layer] = entry
  end
  return entry
end

local linked = setmetatable({}, { __mode = "k" }) -- descriptions of models that were gone through

local DEEPEST = 500 -- tables in tables, models in models among them

local function link(v, cells, inside)
  inside = inside + 1
  if inside > DEEPEST then
    errors.raise("from_config", "the configuration holds itself, or tables too deep in one another")
  end
  local out
  for k, x in next, v do
    local y = type(x) == "table" and getmetatable(x) == nil and link(x, cells, inside) or x
    if y ~= x then
      out = out or {}
      out[k] = y
    end
  end
  local id = v.class_name ~= nil and v.config ~= nil and v.shared_object_id
  if not out and not id then
    linked[v] = inside > 1 and v.layers ~= nil or nil
    return v
  end
  out = out or {}
  for k, x in next, v do
    out[k] = out[k] == nil and x or out[k]
  end
  if id then
    cells[id] = cells[id] or {}
    out.shared_object_id, out.shared_object = nil, cells[id]
  end
  linked[out] = inside > 1 and out.layers ~= nil or nil
  return out
end

--- A configuration whose entries of one number hold one table, `shared_object`, in which the object
--- that is made first stays for the others.
--- @param config table
function shared.link(config)
  return linked[config] and config or link(config, {}, 0)
end

return shared

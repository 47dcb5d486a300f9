--- Layers of a model by name, path, number, pattern.
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"

local find = {}

--- All layers inside a model, at any depth, each once, with their paths: list of
--- { layer, path, owner }. A component of a path is a layer's name.
function find.all(model)
  local out, seen = {}, { [model] = true }
  local function walk(owner, prefix)
    for _, child in ipairs(owner:_children()) do
      local layer = child.layer
      if not seen[layer] then
        seen[layer] = true
        local path = prefix .. layer.name
        out[#out + 1] = { layer = layer, path = path, owner = owner }
        walk(layer, path .. "/")
      end
    end
  end
  walk(model, "")
  return out
end

local function names_of(model)
  local out = {}
  for i, child in ipairs(model:_children()) do
    out[i] = child.layer.name
  end
  return out
end

--- One layer of a model: by its name, by its path where it stands in a model inside
--- ("encoder/dense"), by its number, or the layer itself.
--- @param who string the method that asks, for messages
--- @return table layer, table model or layer in which it stands
function find.one(who, model, which)
  if base.is_layer(which) then
    for _, e in ipairs(find.all(model)) do
      if rawequal(e.layer, which) then
        return e.layer, e.owner
      end
    end
    errors.raise(who, "%s is no layer of %s", which:_label(), model:_label())
  elseif math.type(which) == "integer" then
    return model:get_layer { index = which }, model
  elseif type(which) ~= "string" then
    errors.raise(who, "takes a layer, or its name or number (got %s)", check.show(which))
  end
  local owner, layer = model, nil
  for name in which:gmatch "[^/]+" do
    owner, layer = layer or model, nil
    for _, child in ipairs(owner:_children()) do
      layer = layer or child.layer.name == name and child.layer or nil
    end
    if not layer then
      local known = names_of(owner)
      errors.raise(who, "no layer of %s is named '%s'%s (the layers are %s)", owner:_label(), name,
        check.did_you_mean(name, known), table.concat(known, ", "))
    end
  end
  if not layer then
    errors.raise(who, "takes the name of a layer (got %s)", check.show(which))
  end
  return layer, owner
end

-- A shell's pattern as one of Lua: `*` is any text, `?` one character.
local function as_lua(pattern)
  return "^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
    .. "$"
end

--- The layers inside a model that patterns, layers or a function choose, at any depth. A pattern is
--- a shell's, of a layer's name, or of its path where it holds a `/`.
--- @param which any a pattern, a layer, `function(layer, path)`, or a list of these; nil: all
--- @return table list of layers; raises where one of `which` chooses none
function find.matching(who, model, which)
  local all, out, seen = find.all(model), {}, {}
  local function take(layer)
    if not seen[layer] then
      seen[layer] = true
      out[#out + 1] = layer
    end
  end
  local function choose(one)
    local fits
    if type(one) == "function" then
      fits = one
    elseif type(one) == "string" then
      local pattern, by_path = as_lua(one), one:find("/", 1, true)
      fits = function(layer, path)
        return (by_path and path or layer.name):find(pattern) ~= nil
      end
    elseif math.type(one) == "integer" or base.is_layer(one) then
      return take((find.one(who, model, one)))
    else
      errors.raise(who, "takes patterns of layers' names, layers, numbers or a function (got %s)",
        check.show(one))
    end
    local any = false
    for _, e in ipairs(all) do
      if fits(e.layer, e.path) then
        any = true
        take(e.layer)
      end
    end
    if not any then
      local known = {}
      for i, e in ipairs(all) do
        known[i] = e.layer.name
      end
      errors.raise(who, "%s fits no layer of %s%s (the layers are %s)", check.show(one),
        model:_label(), type(one) == "string" and check.did_you_mean(one, known) or "",
        table.concat(known, ", "))
    end
  end
  if which == nil then
    for _, e in ipairs(all) do
      take(e.layer)
    end
  elseif check.is_plain(which) or list.is(which) then
    for _, one in ipairs(which) do
      choose(one)
    end
  else
    choose(which)
  end
  return list.new(out)
end

return find

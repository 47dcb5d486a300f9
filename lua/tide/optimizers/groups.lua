--- Parameter groups: parameters with a rate or a weight decay of their own, and those that are left
--- out of decay.
local check = require "tide.check"
local errors = require "tide.errors"
local patterns = require "tide.patterns"

local groups = {}

local KEYS = { pattern = "string", layer = "string", match = "function", learning_rate = false,
  rate_factor = "number", weight_decay = "number" }

-- The name of what chooses the parameters, and how it stands in a configuration.
local function chooser(owner, which)
  local t = type(which)
  if t == "string" then
    return "pattern", which
  elseif t == "function" then
    return "match", which
  elseif t == "table" and which.kind == "layer" then
    return "layer", which.name
  end
  errors.raise(owner, "a group begins with a pattern of paths, a layer or a function (got %s)",
    check.show(which))
end

local function checked(g, owner)
  if not check.is_plain(g) then
    errors.raise(owner, "a group is { which, learning_rate = , weight_decay = } (got %s)",
      check.show(g))
  end
  local out, choosers = {}, 0
  for k, v in pairs(g) do
    local key, value = k, v
    if k == 1 then
      key, value = chooser(owner, v)
    elseif k == "layer" and type(v) == "table" then
      key, value = chooser(owner, v)
    elseif KEYS[k] == nil then
      errors.raise(owner, "a group has no '%s'%s", tostring(k),
        check.did_you_mean(tostring(k), check.sorted_keys(KEYS)))
    end
    if KEYS[key] and type(value) ~= KEYS[key] then
      errors.raise(owner, "%s of a group must be a %s (got %s)", key, KEYS[key], check.show(value))
    elseif KEYS[key] == "number" and not (value >= 0 and value < math.huge) then
      errors.raise(owner, "%s of a group must be a finite number from 0 (got %s)", key,
        check.show(value))
    elseif key == "pattern" then
      patterns.compile(owner, value)
    elseif key == "learning_rate" then
      if check.is_plain(value) then
        value = require("tide.optimizers.schedules").get(value)
      end
      if not (type(value) == "number" and value >= 0 and value < math.huge)
        and not (type(value) == "table" and value.kind == "schedule") then
        errors.raise(owner, "learning_rate of a group must be a finite number from 0 or a \z
          schedule (got %s)", check.show(value))
      end
    end
    if key == "pattern" or key == "layer" or key == "match" then
      choosers = choosers + 1
    end
    out[key] = value
  end
  if choosers ~= 1 then
    errors.raise(owner, "a group must name its parameters once: by a pattern, a layer or a \z
      function (got %d ways)", choosers)
  end
  return out
end

--- What a person gave as `groups`, by name and checked; nil stays nil.
function groups.checked(given, owner)
  if given == nil then
    return nil
  end
  local out = {}
  for i, g in ipairs(given) do
    out[i] = checked(g, owner)
  end
  return out
end

-- A function of path and tensor that tells whether a parameter belongs to a group.
local function membership(g)
  if g.pattern then
    local fits = patterns.compile("groups", g.pattern)
    return function(path)
      return fits(path)
    end
  elseif g.layer then
    local inside = "/" .. g.layer .. "/"
    return function(path)
      return ("/" .. path):find(inside, 1, true) ~= nil
    end
  end
  return g.match
end

local function is_excluded(self, i, path)
  if self._excluded[self._params[i]] then
    return true
  end
  for _, fits in ipairs(self._excluded_names or {}) do
    if fits(path) then
      return true
    end
  end
  return false
end

--- The parameters of a built optimizer by group and decay: list of { group, excluded, members };
--- nil where all are stepped alike. `given`: a person gave groups.
function groups.split(self)
  local out, by_key, belongs = { given = self.groups ~= nil }, {}, {}
  for k, g in ipairs(self.groups or {}) do
    belongs[k] = membership(g)
  end
  for i = 1, #self._params do
    local info = self._info[i]
    local path = info and (info.inside or info.path) or ""
    local found = 0
    for k = 1, #belongs do
      if belongs[k](path, self._params[i]) then
        found = k
        break
      end
    end
    local excluded = is_excluded(self, i, path)
    local key = 2 * found + (excluded and 1 or 0)
    if not by_key[key] then
      by_key[key] = { group = self.groups and self.groups[found] or {}, excluded = excluded,
        members = {} }
      out[#out + 1] = by_key[key]
    end
    by_key[key].members[i] = true
  end
  if #out == 1 and not out[1].excluded and next(out[1].group) == nil then
    return nil
  end
  return out
end

--- The decay of a parameter in its group, `decay` being the optimizer's; nil: none.
local function decay_of(part, decay)
  if part.excluded then
    return nil
  end
  decay = part.group.weight_decay or decay
  return decay ~= 0 and decay or nil
end

--- The rate of a part, `rate` being the optimizer's.
function groups.rate(self, part, rate)
  local own = part.group.learning_rate or rate
  own = type(own) == "number" and own or own(self._iterations)
  return own * (part.group.rate_factor or 1)
end

--- Calls the optimizer's step for each group with gradients.
--- @param o table the options of the step; rate and decay are those outside of groups
function groups.each(self, grads, places, o)
  local rate, decay = o.learning_rate, o.weight_decay
  for _, part in ipairs(self._split) do
    local g, p = {}, {}
    for i = 1, #grads do
      local place = places and places[i] or i
      if part.members[place] then
        g[#g + 1], p[#p + 1] = grads[i], place
      end
    end
    if #g > 0 then
      o.learning_rate = groups.rate(self, part, rate)
      o.weight_decay = decay_of(part, decay)
      self._part = part
      self:_calls(g, p, o)
    end
  end
end

--- Groups by depth (layer-wise rate decay): the last layer with weights keeps the optimizer's rate,
--- each one before has `decay` times that of the one behind it. Models inside count layer by layer.
---
---     #tide.optimizers.layerwise_groups(tide.Sequential { tide.Input { 4 },
---       tide.layers.Dense { 3 }, tide.layers.Dense { 2 } }, 0.5)   --> 2
---
--- @param model table
--- @param decay number factor from layer to layer
--- @return table groups for the option of that name
function groups.layerwise(model, decay)
  local where = "layerwise_groups"
  if type(model) ~= "table" or not model.is_model then
    errors.raise(where, "takes a model (got %s)", check.show(model))
  elseif type(decay) ~= "number" or not (decay > 0 and decay < math.huge) then
    errors.raise(where, "decay must be a number above 0 (got %s)", check.show(decay))
  end
  local found = {}
  local function visit(layer)
    for _, child in ipairs(layer.layers) do
      if child.is_model then
        visit(child)
      elseif #child.trainable_weights > 0 then
        found[#found + 1] = child
      end
    end
  end
  visit(model)
  local out = {}
  for i, layer in ipairs(found) do
    out[i] = { layer = layer.name, rate_factor = decay ^ (#found - i) }
  end
  return out
end

return groups

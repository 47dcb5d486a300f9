--- Which tensor of a state dict goes to which weight: units are the parts of a model that a module
--- of PyTorch stands for, with the links that their classes tell (tide.layers.links).
local check = require "tide.check"
local errors = require "tide.errors"
local links = require "tide.layers.links"
local ops = require "tide.ops"

local plan = {}

-- Whether the map has something for what lies below this path.
local function mapped_below(map, path)
  if type(map) == "table" then
    for key in pairs(map) do
      if type(key) == "string" and key:sub(1, #path + 1) == path .. "/" then
        return true
      end
    end
  end
  return false
end

local function own_links(layer)
  local out = {}
  for _, r in ipairs(layer:_own_records()) do
    out[#out + 1] = links.one(r.name, r.tensor)
  end
  return out
end

local function visit(layer, path, map, out, seen)
  if seen[layer] then
    return
  end
  seen[layer] = true
  local fact = layer.torch
  local there = fact.links and layer.built
    and not (fact.whole and mapped_below(map, path)) and fact.links(layer)
  local unit = { path = path, layer = layer, links = there or own_links(layer) }
  out.layers[#out.layers + 1] = unit
  out.at[path] = unit
  if #unit.links > 0 then
    out[#out + 1] = unit
  end
  for _, child in ipairs(there and fact.whole and {} or layer:_children()) do
    visit(child.layer, (path == "" and "" or path .. "/") .. child.key, map, out, seen)
  end
end

--- The units of a model: a list of { path, layer, links }; `at[path]` finds them, `weights[path]`
--- the tensors of weights. `owner`: who asks, for messages.
function plan.units(model, map, owner)
  local out = { owner = owner, layers = {}, at = {}, weights = {}, paths = {} }
  visit(model, "", map, out, {})
  for _, r in ipairs(model:_records()) do
    out.weights[r.path], out.paths[r.tensor] = r.tensor, r.path
  end
  return out
end

-- ---- names ----

-- The full name of a link's i-th tensor in the module `prefix`.
local function full_name(link, i, prefix, level)
  local name = link.names[i]
  if link.level then
    name = name:format(link.level + (level or 0))
  end
  return prefix == "" and name or prefix .. "." .. name
end

-- The unit's links with full names.
local function named(unit, prefix, level)
  local out = {}
  for k, link in ipairs(unit.links) do
    local names = {}
    for i in ipairs(link.names) do
      names[i] = full_name(link, i, prefix, level)
    end
    out[k] = { names = names, tensors = link.tensors, read = link.read, write = link.write }
  end
  return out
end

local function dots(path)
  return (path:gsub("/", "."))
end

-- Refuses names and values that a person's map cannot have for the path.
local function check_given(units, path, given, names)
  local owner = ("%s: the map's '%s'"):format(units.owner, path)
  local options = {}
  for key, v in pairs(given) do
    if key ~= 1 then -- a module's name
      options[key] = v
    end
  end
  check.refuse_unknown(owner, options, names)
  for _, key in ipairs { "read", "write" } do
    local f = given[key]
    if f ~= nil and type(f) ~= "function" then
      errors.raise(owner, "%s must be a function (got %s)", key, check.show(f))
    end
  end
  local level = given.level
  if level ~= nil and (math.type(level) ~= "integer" or level < 0) then
    errors.raise(owner, "level must be an integer at least 0 (got %s)", check.show(level))
  end
end

-- A link of a person's own, whose weights are given by their paths below the layer's.
local function own_link(units, path, given)
  check_given(units, path, given, { "names", "weights", "read", "write" })
  local out = { names = {}, tensors = {}, read = given.read, write = given.write }
  for i, name in ipairs(given.names or {}) do
    out.names[i] = name
  end
  for i, weight in ipairs(given.weights or {}) do
    local full = (path == "" and "" or path .. "/") .. weight
    out.tensors[i] = units.weights[full] or errors.raise(units.owner,
      "the map's '%s' names the weight '%s', which the model does not have", path, full)
  end
  if #out.names == 0 or #out.tensors == 0 then
    errors.raise(units.owner, "the map's '%s' must have names and weights (got %d and %d)", path,
      #out.names, #out.tensors)
  end
  local function same(...)
    return ...
  end
  out.read, out.write = out.read or same, out.write or not given.read and same or nil
  return out
end

-- The links that a value of the map gives to a unit.
local function mapped(units, unit, value)
  if type(value) == "string" then
    return named(unit, value)
  elseif type(value) ~= "table" then
    errors.raise(units.owner, "the map must hold modules' names, { name, level = n } or links \z
      (got %s for '%s')", check.show(value), unit.path)
  elseif type(value[1]) == "string" then
    check_given(units, unit.path, value, { "level" })
    return named(unit, value[1], value.level)
  end
  local out = {}
  for i, given in ipairs(value.names and { value } or value) do
    out[i] = own_link(units, unit.path, given)
  end
  return out
end

-- Single weights whose tensors the map names.
local function rename(units, unit, found, map)
  for _, link in ipairs(found) do
    local path = #link.tensors == 1 and units.paths[link.tensors[1]]
    local name = path and type(map) == "table" and map[path]
    if name and (type(name) ~= "string" or #link.names > 1) then
      errors.raise(units.owner, "the map's '%s' must be a tensor's name, and the weight one \z
        tensor (got %s, %d of them); map the layer '%s'", path, check.show(name), #link.names,
        unit.path)
    end
    link.names[1] = name or link.names[1]
  end
  return found
end

-- What a table has for the path, or for the nearest layer that holds it, the rest behind a dot.
local function look_up(map, path)
  if map[path] ~= nil then
    return map[path]
  end
  local above, rest = path, ""
  while above ~= "" do
    local parent, key = above:match "^(.*)/([^/]*)$"
    above, rest = parent or "", rest == "" and (key or above) or (key or above) .. "." .. rest
    if type(map[above]) == "string" then
      return map[above] == "" and rest or map[above] .. "." .. rest
    end
  end
end

local function check_map(units, map)
  local known = {}
  for path in pairs(units.at) do
    known[#known + 1] = path
  end
  for path in pairs(units.weights) do
    known[#known + 1] = path
  end
  table.sort(known)
  for key in pairs(map) do
    if not units.at[key] and not units.weights[key] then
      errors.raise(units.owner, "the map names '%s', which is no layer or weight of the model%s",
        tostring(key), check.did_you_mean(key, known))
    end
  end
end

--- All links of a model with full names: by the map (a table or a function), else by the layers'
--- own paths.
function plan.by_map(units, map)
  if type(map) == "table" then
    check_map(units, map)
  end
  local out = {}
  local visited = type(map) == "function" and units.layers or units
  for _, unit in ipairs(visited) do
    local value
    if type(map) == "function" then
      value = map(unit.path, unit.layer)
    elseif map then
      value = look_up(map, unit.path)
    end
    local found = rename(units, unit, value ~= nil and mapped(units, unit, value)
      or named(unit, dots(unit.path)), map)
    for _, link in ipairs(found) do
      link.unit = unit
      out[#out + 1] = link
    end
  end
  -- layers without links of their own, whose map holds some for the layers in it
  for _, unit in ipairs(type(map) == "table" and units.layers or {}) do
    if #unit.links == 0 and type(map[unit.path]) == "table" then
      for _, link in ipairs(mapped(units, unit, map[unit.path])) do
        link.unit = unit
        out[#out + 1] = link
      end
    end
  end
  return plan.once(out)
end

--- Leaves out links whose weights others, which stand later, have too: those of a person's own win.
function plan.once(all)
  local owner = {}
  for i, link in ipairs(all) do
    for _, t in ipairs(link.tensors) do
      owner[t] = i
    end
  end
  local out = {}
  for i, link in ipairs(all) do
    local mine = #link.tensors == 0
    for _, t in ipairs(link.tensors) do
      mine = mine or owner[t] == i
    end
    out[#out + 1] = mine and link or nil
  end
  return out
end

-- ---- shapes ----

--- The shapes that a link's tensors have in PyTorch, or nil where it cannot be told.
function plan.shapes(link)
  if not link.write then
    return nil
  end
  local there = {}
  for i, t in ipairs(link.tensors) do
    there[i] = ops.zeros(t.shape, { dtype = t.dtype, device = "meta" })
  end
  local out = table.pack(link.write(table.unpack(there)))
  for i = 1, out.n do
    out[i] = out[i].shape:totable()
  end
  return out
end

local function shape_text(shape)
  return "[" .. table.concat(shape, ", ") .. "]"
end
plan.shape_text = shape_text

-- ---- matching without a map ----

-- What a unit asks of a module: its tensors' names and shapes, as text.
local function signature(unit)
  local out = {}
  for _, link in ipairs(unit.links) do
    local shapes = plan.shapes(link)
    for i, name in ipairs(link.names) do
      out[#out + 1] = name:gsub("%%d", "0") .. shape_text(shapes[i])
    end
  end
  table.sort(out)
  return table.concat(out, " ")
end

-- The modules of a state that may hold what a unit asks for: list of { prefix, level }.
local function candidates(state, unit)
  local link = unit.links[1]
  local first = link.names[1]
  local pattern = first:gsub("[%-%.%+%*%?%[%]%^%$%(%)]", "%%%0"):gsub("%%d", "(%%d+)")
  local wanted = {}
  for _, l in ipairs(unit.links) do
    local shapes = plan.shapes(l)
    for i in ipairs(l.names) do
      wanted[#wanted + 1] = { l, i, shape_text(shapes[i]) }
    end
  end
  local out = {}
  for _, e in ipairs(state.entries) do
    local prefix, level = e.name:match("^(.-)%.?" .. pattern .. "$")
    if prefix and (prefix == "" or e.name:sub(#prefix + 1, #prefix + 1) == ".") then
      level = link.level and tonumber(level) - link.level or 0
      local fits, names = level >= 0, {}
      for _, w in ipairs(wanted) do
        local name = full_name(w[1], w[2], prefix, level)
        local at = state.index[name]
        names[name] = true
        fits = fits and at and shape_text(state.entries[at].shape) == w[3] or false
      end
      out[#out + 1] = fits and { prefix = prefix, level = link.level and level or nil,
        names = names } or nil
    end
  end
  return out
end

-- Whether a module's own tensors are those that the candidate names and no others.
local function exact(state, c)
  for _, e in ipairs(state.entries) do
    local name = e.name:sub(1, #c.prefix) == c.prefix
      and e.name:sub(#c.prefix + 1):match(c.prefix == "" and "^([^.]+)$" or "^%.([^.]+)$")
    if name and not c.names[e.name] and name ~= "num_batches_tracked"
      and (not c.level or name:find("_l" .. c.level, 1, true)) then
      return false
    end
  end
  return true
end

local function without_numbers(prefix)
  return (("." .. prefix .. "."):gsub("%.%d+%f[.]", ".#"))
end

-- Why the order of these modules is not known; nil where it is.
local function unordered(state, found)
  for i = 2, state.ordered and 0 or #found do
    if without_numbers(found[i].prefix) ~= without_numbers(found[1].prefix) then
      return ("the modules %s and %s may be either of them"):format(found[1].prefix,
        found[i].prefix)
    end
  end
end

--- Finds the module of each unit by names, else by shapes and order. Raises where more than one way
--- fits.
function plan.automatic(units, state)
  local groups, order, named_so, wanted, all = {}, {}, 0, 0, {}
  for _, unit in ipairs(units) do
    for _, link in ipairs(named(unit, dots(unit.path))) do
      link.unit = unit
      all[#all + 1] = link
      for _, name in ipairs(link.names) do
        named_so = named_so + (state.index[name] and 1 or 0)
        wanted = wanted + 1
      end
    end
  end
  if named_so == wanted then
    return all
  end
  for _, unit in ipairs(units) do
    local key = signature(unit)
    if not groups[key] then
      groups[key], order[#order + 1] = {}, key
    end
    table.insert(groups[key], unit)
  end
  local out = {}
  for _, key in ipairs(order) do
    local group, found = groups[key], {}
    for _, c in ipairs(candidates(state, group[1])) do
      found[#found + 1] = exact(state, c) and c or nil
    end
    local problem
    if #found ~= #group then
      problem = ("the state dict has %d modules that fit"):format(#found)
    else
      problem = #group > 1 and unordered(state, found)
    end
    if problem and named_so > 0 then
      return all -- meant by name; the caller tells what is missing
    elseif problem then
      local names = {}
      for i, unit in ipairs(group) do
        names[i] = unit.path == "" and "the model" or unit.path
      end
      errors.raise("load_torch", "%s: no module can be told for %d layers with %s (%s): %s; give \z
        map, a table of layers' paths and modules' names", state.where, #group, key,
        table.concat(names, ", ", 1, math.min(#names, 5)), problem)
    end
    for i, unit in ipairs(group) do
      for _, link in ipairs(named(unit, found[i].prefix, found[i].level)) do
        link.unit = unit
        out[#out + 1] = link
      end
    end
  end
  return out
end

return plan

--- Namespaces: tables whose names load their values when first read, and which refuse what they do
--- not have.
--
--   local layers = namespace.new("tide.layers", { get = get }, {
--     modules = { Dense = "tide.layers.core" }, aliases = { Convolution2D = "Conv2D" },
--   })
--
-- `layers.Dense` loads the module and takes its field. An unknown name raises, says what was meant
-- and, of few names, which there are. `pairs` gives the listed names in their order.
local errors = require "tide.errors"

local namespace = {}

-- The state of a namespace is its metatable.
local function state(ns)
  local s = getmetatable(ns)
  return type(s) == "table" and s.__index == namespace.index and s or nil
end

-- What stands in a module: `place` is its name, the value being its field `key`, or a list of its
-- name and the field's (without one, the module itself).
local function load(place, key)
  if type(place) == "string" then
    local v = require(place)[key]
    assert(v ~= nil, place .. " does not define " .. tostring(key))
    return v
  end
  local v = require(place[1])
  if place[2] then
    return v[place[2]]
  elseif type(v) == "table" and getmetatable(v) == nil then
    return namespace.new(place[1], v)
  end
  return v
end

--- The `__index` of every namespace.
function namespace.index(ns, key)
  local s = getmetatable(ns)
  local real = s.aliases[key] or key
  local v = rawget(ns, real)
  if v == nil then
    local place = s.modules[real] or s.hidden[real]
    if place then
      v = load(place, real)
    elseif s.load then
      v = s.load(real)
    end
  end
  if v == nil then
    local names = namespace.names(ns)
    local hint = s.elsewhere and s.elsewhere(key)
      or require("tide.foreign").hint(s.__name, key, names)
    errors.raise(s.__name, "unknown name '%s'%s%s", tostring(key), hint,
      #names <= 8 and (" (there are %s)"):format(table.concat(names, ", ")) or "")
  end
  rawset(ns, key, v)
  return v
end

local function each(ns)
  local names, i = namespace.names(ns), 0
  return function()
    i = i + 1
    if names[i] then
      return names[i], ns[names[i]]
    end
  end
end

local function text(ns)
  return getmetatable(ns).__name .. ": " .. table.concat(namespace.names(ns), ", ")
end

local EMPTY = {}

--- Makes a namespace of a table.
--- @param name string as messages write it
--- @param t table what is there already; listed, unless `members` or `names` say otherwise
--- @param o table|nil `members`: listed values by name, put into `t`; `modules`: name -> module
---   whose field of that name is meant, or { module, field }, or { module } for the module itself;
---   `hidden`: the same, unlisted; `load`: function of a name that gives a value or nil; `names`:
---   function that gives the listed names in place of those of members and modules; `aliases`: name
---   -> name; `elsewhere`: function of an unknown name that says where it is, "; it is …", or nil;
---   `__tostring`
--- @return table t
function namespace.new(name, t, o)
  o = o or EMPTY
  local listed = {}
  for k, v in pairs(o.members or t) do
    listed[#listed + 1] = k
    t[k] = v
  end
  for k in pairs(o.modules or EMPTY) do
    if not (o.members or t)[k] then
      listed[#listed + 1] = k
    end
  end
  return setmetatable(t, { __name = name, __index = namespace.index, __pairs = each,
    __tostring = o.__tostring or text, __names = namespace.names, listed = listed,
    list = o.names or false, modules = o.modules or EMPTY, hidden = o.hidden or EMPTY,
    aliases = o.aliases or EMPTY, elsewhere = o.elsewhere or false, load = o.load or false })
end

--- The listed names, sorted; aliases and helpers like `get` are left out.
function namespace.names(ns)
  local s = state(ns)
  if s.list then
    return s.list(ns)
  elseif not s.sorted then
    table.sort(s.listed)
    s.sorted = true
  end
  return table.move(s.listed, 1, #s.listed, 1, {})
end

--- Whether `v` is a namespace.
function namespace.is(v)
  return type(v) == "table" and state(v) ~= nil
end

--- The aliases: name -> listed name.
function namespace.aliases(ns)
  return state(ns).aliases
end

--- Whether a name is listed, an alias of one, or a hidden one.
function namespace.has(ns, name)
  local s = state(ns)
  if not s.known then
    s.known = {}
    for _, group in ipairs { s.aliases, s.hidden } do
      for k in pairs(group) do
        s.known[k] = true
      end
    end
    for _, k in ipairs(namespace.names(ns)) do
      s.known[k] = true
    end
  end
  return s.known[name] or false
end

return namespace

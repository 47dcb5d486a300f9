--- Namespaces: name -> class or function, loaded on first access, with Keras' aliases and custom
--- registrations.
--
--   local layers = registry.namespace("tide.layers", "layer",
--     { Dense = "tide.layers.core", ... }, { Convolution2D = "Conv2D" })
--
-- `layers.Dense` loads the module and takes its field. An unknown name raises and suggests. Strings
-- in any of Keras' spellings ("Dense", "dense") are resolved by `registry.find`.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"

local registry = { namespaces = {} }

local Namespace = { __name = "tide.namespace" }

local state = setmetatable({}, { __mode = "k" })

function Namespace.__index(ns, key)
  local s = state[ns]
  local real = s.aliases[key] or key
  local v = rawget(ns, real)
  if v == nil then
    local module = s.modules[real]
    if module then
      v = require(module)
      if type(v) == "table" and not s.whole[real] then
        v = v[real]
      end
      assert(v ~= nil, module .. " does not define " .. tostring(real))
    end
  end
  if v == nil and rawget(ns, "get") then -- Keras' pair in every namespace of objects
    if key == "deserialize" then
      v = rawget(ns, "get")
    elseif key == "serialize" then
      v = require("tide.object").serialize
    end
  end
  if v == nil then
    errors.raise(s.name, "unknown name '%s'%s", tostring(key),
      check.did_you_mean(key, registry.names(ns)))
  end
  rawset(ns, key, v)
  return v
end

function Namespace.__pairs(ns)
  local names, i = registry.names(ns), 0
  return function()
    i = i + 1
    if names[i] then
      return names[i], ns[names[i]]
    end
  end
end

function Namespace.__tostring(ns)
  return state[ns].name .. ": " .. table.concat(registry.names(ns), ", ")
end

--- The table itself, reading an unknown name from which raises, says what was meant and, of few
--- names, which there are.
--- @param name string as messages write it
--- @param t table functions by name
--- @param elsewhere table|nil name -> module that has it, loaded when first used
function registry.sealed(name, t, elsewhere)
  elsewhere = elsewhere or {}
  return setmetatable(t, {
    __name = name,
    __index = function(_, key)
      if elsewhere[key] then
        t[key] = require(elsewhere[key])[key]
        return t[key]
      end
      local names = {}
      for _, group in ipairs { t, elsewhere } do
        for k in pairs(group) do
          names[#names + 1] = k
        end
      end
      table.sort(names)
      errors.raise(name, "unknown name '%s'%s%s", tostring(key), check.did_you_mean(key, names),
        #names <= 8 and (" (there are %s)"):format(table.concat(names, ", ")) or "")
    end,
  })
end

--- Makes a namespace.
--- @param name string as messages write it
--- @param kind string what it holds ("layer", "loss"), the key for registry.find
--- @param modules table name -> module whose field of that name is meant
--- @param aliases table|nil name -> name
--- @param whole table|nil names whose module itself is the value
function registry.namespace(name, kind, modules, aliases, whole)
  local ns = setmetatable({}, Namespace)
  local s = { name = name, kind = kind, modules = modules, aliases = aliases or {},
    whole = whole or {}, custom = {} }
  state[ns] = s
  if kind then
    registry.namespaces[kind] = ns
  end
  return ns
end

--- All names of a namespace, aliases left out, sorted.
function registry.names(ns)
  local s, seen, out = state[ns], {}, {}
  for _, group in ipairs { s.modules, s.custom } do
    for k in pairs(group) do
      if not seen[k] then
        seen[k] = true
        out[#out + 1] = k
      end
    end
  end
  table.sort(out)
  return out
end

--- Names that `require` of the module table would load, for gates and completion.
function registry.modules(ns)
  return state[ns].modules
end

local home = { layer = "tide.layers", optimizer = "tide.optimizers", loss = "tide.losses",
  metric = "tide.metrics", callback = "tide.callbacks", initializer = "tide.initializers",
    regularizer = "tide.regularizers",
  constraint = "tide.constraints", activation = "tide.activations",
    schedule = "tide.optimizers.schedules",
  model = "tide.models" }

Namespace.__names = registry.names -- for completion at the prompt

--- Registers a class made by a person under its name, so that names and files find it.
--- @param kind string "layer", "model", ...
function registry.register(kind, name, value)
  local custom = registry.custom(kind)
  custom[name] = value
end

local custom_by_kind = {}

--- The custom registrations of a kind: name -> class.
function registry.custom(kind)
  custom_by_kind[kind] = custom_by_kind[kind] or {}
  return custom_by_kind[kind]
end

-- snake_case -> name of a class or function; a class wins over a function of the same name.
local function snake_names(ns)
  local s = state[ns]
  if not s.snake then
    s.snake = {}
    for _, real in ipairs(registry.names(ns)) do
      local key = class.snake(real)
      if real ~= key or not s.snake[key] then
        s.snake[key] = real
      end
    end
    for alias, real in pairs(s.aliases) do
      s.snake[class.snake(alias)] = s.snake[class.snake(alias)] or real
    end
  end
  return s.snake
end

-- The class behind a name that means a function too (`mean_squared_error`, MeanSquaredError), where
-- options are given.
local function with_options(kind, name, found)
  local ns = registry.namespaces[kind]
  if class.is_class(found) or not ns then
    return found
  end
  local real = state[ns].aliases[name] or name
  local other = snake_names(ns)[class.snake(real)]
  return other and class.is_class(ns[other]) and ns[other] or found
end

--- The class or function that a name means, in CapWords or snake_case, or nil.
function registry.lookup(kind, name)
  local custom = custom_by_kind[kind]
  if custom and custom[name] then
    return custom[name]
  end
  local ns = registry.namespaces[kind]
    or (home[kind] and require(home[kind]) and registry.namespaces[kind])
  if not ns then
    return nil
  end
  local s = state[ns]
  if s.modules[name] or s.aliases[name] then
    return ns[name]
  end
  local snake = snake_names(ns)
  local real = snake[name] or snake[name:lower()]
  if real then
    return ns[real]
  elseif kind == "layer" then -- models are layers too, and register themselves when loaded
    require "tide.models"
    return registry.custom("layer")[name]
  end
end

--- As lookup, but raises for an unknown name and suggests.
--- @param owner string|nil the function that complains
function registry.find(kind, name, owner)
  local v = registry.lookup(kind, name)
  if v ~= nil then
    return v
  end
  local ns = registry.namespaces[kind]
  local names = ns and registry.names(ns) or {}
  for k in pairs(registry.custom(kind)) do
    names[#names + 1] = k
  end
  if ns and state[ns].snake then
    for k in pairs(state[ns].snake) do
      names[#names + 1] = k
    end
  end
  table.sort(names)
  local loading = owner == "from_config" or owner == "load_model"
  errors.raise(owner or kind, "unknown %s '%s'%s%s", kind, tostring(name), check.did_you_mean(name,
    names),
    loading and "; make a class of your own with extend first, or give it in custom_objects" or "")
end

--- Raises: `v` is nothing that could stand for an object of this kind.
function registry.refuse(kind, v, owner)
  errors.raise(owner or kind,
    '%s %s is a name, an object, a function or { "name", option = value }, got %s',
    kind:find "^[aeiou]" and "an" or "a", kind, check.show(v))
end

--- An object from what a person or a file writes: an object itself, a name, `{ "name", option = ...
--- }`, a class, or `{ class_name = "...", config = {...} }`. Functions are returned as they are.
--- @param kind string
--- @param v any
--- @param owner string|nil
function registry.resolve(kind, v, owner)
  local t = type(v)
  if t == "string" then
    local found = registry.find(kind, v, owner)
    if class.is_class(found) then
      return found()
    end
    return found
  elseif t == "function" then
    return v
  elseif class.is_class(v) then
    return v()
  elseif check.is_plain(v) then
    if type(v[1]) == "string" then
      local found = with_options(kind, v[1], registry.find(kind, v[1], owner))
      local rest = {}
      for k, x in pairs(v) do
        if math.type(k) == "integer" then
          if k > 1 then
            rest[k - 1] = x
          end
        else
          rest[k] = x
        end
      end
      if not class.is_class(found) then
        if next(rest) ~= nil then
          errors.raise(owner or kind, "'%s' is a function and takes no options here", v[1])
        end
        return found
      end
      return found(rest)
    elseif type(v.class_name) == "string" then
      local found = registry.find(kind, v.class_name, owner)
      if class.is_class(found) then
        if found.from_config then
          return found.from_config(v.config or {}, found)
        end
        return found(v.config or {})
      end
      return found
    end
    registry.refuse(kind, v, owner)
  elseif t == "table" then
    return v
  end
  registry.refuse(kind, v, owner)
end

--- Kinds of objects that configurations hold; the first that knows a name wins.
registry.configurable = {
  "layer", "initializer", "regularizer", "constraint", "schedule", "optimizer", "loss", "metric" }

--- The kind of object that a class name means, or nil.
function registry.kind_of(class_name)
  for _, kind in ipairs(registry.configurable) do
    if registry.lookup(kind, class_name) then
      return kind
    end
  end
end

--- A configuration's value with its objects made again: every `{ class_name, config }` inside that
--- names a known class.
function registry.revive(v)
  if not check.is_plain(v) then
    return v
  elseif type(v.class_name) == "string" and type(v.config) == "table" then
    local kind = v.kind or registry.kind_of(v.class_name)
    if not kind then
      errors.raise(
        "from_config", "unknown class '%s'; define it with extend or give it in custom_objects",
        v.class_name)
    end
    return registry.resolve(kind, v, "from_config")
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = registry.revive(x)
  end
  return out
end

--- What compile takes, as files can hold it: `{ "name", option = ... }` as the object that it
--- means, in lists and tables by output too, and Tide's own functions as their names.
function registry.objects(kind, v)
  if type(v) == "function" then
    local object = require "tide.training.object"
    return object.is_named(v) and object.function_name(v) or v
  elseif not check.is_plain(v) or v.class_name ~= nil then
    return v
  elseif type(v[1]) == "string" and check.has_string_key(v) then
    return registry.resolve(kind, v)
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = registry.objects(kind, x)
  end
  return out
end

return registry

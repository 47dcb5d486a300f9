--- Names of classes and functions by kind ("layer", "loss", ...): those of Tide's namespaces and
--- those that a person's `extend` adds, in any of Keras' spellings ("Dense", "dense").
--
-- A name of Tide's own means Tide's class; a person's class of the same name is found by the name
-- that files give it, "Custom>Dense".
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local namespace = require "tide.namespace"
local none = require "tide.none"

local registry = {}

-- kind -> module whose value is the kind's namespace, loaded when a name of the kind is looked up
local home = { layer = "tide.layers", optimizer = "tide.optimizers", loss = "tide.losses",
  metric = "tide.metrics", callback = "tide.callbacks", initializer = "tide.initializers",
  regularizer = "tide.regularizers", constraint = "tide.constraints",
  activation = "tide.activations", schedule = "tide.optimizers.schedules",
  dtype_policy = "tide.dtype_policies" }

local CUSTOM = "Custom>"
local custom_by_kind = {}
local snakes = {} -- kind -> { snake_case name -> name }

local opened = {} -- kind -> its namespace

--- The namespace of a kind, or nil.
function registry.namespace(kind)
  local ns = opened[kind]
  if ns == nil and home[kind] then
    ns = require(home[kind])
    opened[kind] = ns
  end
  return ns
end

--- Registers a class or function made by a person under its name, so that names and files find it.
--- @param kind string "layer", "loss", ...
function registry.register(kind, name, value)
  registry.custom(kind)[name] = value
end

--- The custom registrations of a kind: name -> class.
function registry.custom(kind)
  local t = custom_by_kind[kind]
  if not t then
    t = {}
    custom_by_kind[kind] = t
  end
  return t
end

--- The name by which files find a person's class again ("Custom>Linear"); nil for Tide's own.
function registry.registered_name(kind, name, c)
  return kind and registry.custom(kind)[name] == c and CUSTOM .. name or nil
end

-- snake_case -> name of a class or function; a class wins over a function of the same name.
local function snake_names(kind, ns)
  local out = snakes[kind]
  if not out then
    out = {}
    for _, real in ipairs(namespace.names(ns)) do
      local key = class.snake(real)
      if real ~= key or not out[key] then
        out[key] = real
      end
    end
    for alias, real in pairs(namespace.aliases(ns)) do
      out[class.snake(alias)] = out[class.snake(alias)] or real
    end
    snakes[kind] = out
  end
  return out
end

-- The class behind a name that means a function too (`mean_squared_error`, MeanSquaredError), where
-- options are given.
local function class_behind(kind, name, found)
  local ns = registry.namespace(kind)
  if class.is_class(found) or not ns then
    return found
  end
  local real = namespace.aliases(ns)[name] or name
  local other = snake_names(kind, ns)[class.snake(real)]
  return other and class.is_class(ns[other]) and ns[other] or found
end

--- The class or function that a name means, in CapWords or snake_case, or nil.
function registry.lookup(kind, name)
  local ns = registry.namespace(kind)
  if ns and namespace.has(ns, name) then
    return ns[name]
  end
  local custom = custom_by_kind[kind]
  if name:sub(1, #CUSTOM) == CUSTOM then
    return custom and custom[name:sub(#CUSTOM + 1)]
  elseif custom and custom[name] then
    return custom[name]
  end
  local snake = ns and snake_names(kind, ns) or {}
  local real = snake[name] or snake[name:lower()]
  if real then
    return ns[real]
  end
  for _, own in ipairs(check.sorted_keys(custom or {})) do
    if class.snake(own) == name then
      return custom[own]
    end
  end
end

--- As lookup, but raises for an unknown name and suggests.
--- @param owner string|nil the function that complains
function registry.find(kind, name, owner)
  local v = registry.lookup(kind, name)
  if v ~= nil then
    return v
  end
  local ns = registry.namespace(kind)
  local names = ns and namespace.names(ns) or {}
  for k in pairs(registry.custom(kind)) do
    names[#names + 1] = k
  end
  for k in pairs(ns and snake_names(kind, ns) or {}) do
    names[#names + 1] = k
  end
  table.sort(names)
  local loading = owner == "from_config" or owner == "load_model"
  errors.raise(owner or kind, "unknown %s '%s'%s%s", kind, tostring(name), check.did_you_mean(name,
    names),
    loading and "; make a class of your own with extend first, or give it in custom_objects" or "")
end

--- The class or function that a configuration `{ class_name, registered_name, config }` means.
function registry.named_by(kind, v, owner)
  local given = v.registered_name
  local own = type(given) == "string" and given:sub(1, #CUSTOM) == CUSTOM
    and registry.lookup(kind, given)
  return own or registry.find(kind, v.class_name, owner)
end

--- Raises: `v` is nothing that could stand for an object of this kind.
function registry.refuse(kind, v, owner)
  errors.raise(owner or kind,
    '%s %s is a name, an object, a function or { "name", option = value } (got %s)',
    kind:find "^[aeiou]" and "an" or "a", kind, check.show(v))
end

-- ---- one, or several ----

--- Whether `v` stands for nothing: nil, false or none.
function registry.is_nothing(v)
  return v == nil or v == false or v == none
end

--- Whether `v` is one object as a person writes it (a name, an object, a function,
--- `{ "name", option = ... }`, a configuration), and no list of objects or table by name.
function registry.is_one(v)
  return not check.is_plain(v) or v.class_name ~= nil
    or (type(v[1]) == "string" and check.has_string_key(v))
end

-- Losses or metrics stand in lists or tables by output; what is nested deeper holds itself.
local DEEPEST = 16

--- The same structure with `f` of each object in it; what stands for nothing stays.
--- @param what string names the structure in errors
function registry.map(v, f, what, depth)
  depth = depth or 1
  if depth > DEEPEST then
    errors.raise(what, "is nested deeper than %d tables, or holds itself (got %s)", DEEPEST,
      check.show(v))
  elseif registry.is_nothing(v) then
    return v
  elseif registry.is_one(v) then
    return f(v)
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = registry.map(x, f, what, depth + 1)
  end
  return out
end

-- A function with options given to it, where the kind's namespace knows how (`with_options`).
local function configured(kind, name, f, options, owner)
  local ns = registry.namespace(kind)
  local with = ns and rawget(ns, "with_options")
  if with then
    return with(name, f, options)
  elseif next(options) ~= nil then
    errors.raise(owner or kind, "'%s' is a function and takes no options here", name)
  end
  return f
end

local CALLED = { initializer = true, regularizer = true, constraint = true } -- what layers call

local function callable(v)
  local m = getmetatable(v)
  return type(m) == "table" and m.__call ~= nil
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
      local found = class_behind(kind, v[1], registry.find(kind, v[1], owner))
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
      return class.is_class(found) and found(rest) or configured(kind, v[1], found, rest, owner)
    elseif type(v.class_name) == "string" then
      local cell = v.shared_object -- see tide.shared
      if cell and cell.object then
        return cell.object
      end
      local found = registry.named_by(kind, v, owner)
      if class.is_class(found) then
        local made = found.from_config(v.config or {}, found)
        if cell then
          cell.object = made
          local build = check.is_plain(v.build_config) and v.build_config.input_shape
          if build and not made.built then
            made:build(build)
          end
        end
        return made
      end
      return configured(kind, v.class_name, found, v.config or {}, owner)
    end
    registry.refuse(kind, v, owner)
  elseif t == "table" and (not CALLED[kind] or callable(v)) then
    return v
  end
  registry.refuse(kind, v, owner)
end

--- Kinds of objects that configurations hold; the first that knows a name wins: CosineSimilarity is
--- a loss where nothing says that it is a layer, Sequential a layer and no schedule.
registry.configurable = {
  "loss", "layer", "initializer", "regularizer", "constraint", "schedule", "optimizer", "metric" }

--- The kind of object that a class name means, or nil.
function registry.kind_of(class_name)
  for _, kind in ipairs(registry.configurable) do
    if registry.lookup(kind, class_name) then
      return kind
    end
  end
end

return registry

--- What losses, metrics, optimizers, schedules and callbacks have in common: constructors of one
--- table, configurations,
-- and classes made by a person with `extend`.
--
--   local Huber = object.class("Huber", Loss, {
--     rows = { { "delta", "number", 1.0, "..." } },
--     init = function(self, o) end,
--   })
--
-- A class' options are its own rows, then its ancestors'. Checked values land in the instance; the
-- `init` functions run from the base to the class itself.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local none = require "tide.none"
local origin = require "tide.origin"
local registry = require "tide.registry"

local object = {}

local Object = class.new("Object")
object.Object = Object
Object._rows, Object._named = {}, {}

-- Rows of an ancestor that the class does not redefine.
local function inherit(own, base)
  local seen, out = {}, {}
  for _, row in ipairs(own) do
    seen[row[1]] = true
    out[#out + 1] = row
  end
  for _, row in ipairs(base) do
    if not seen[row[1]] then
      out[#out + 1] = row
    end
  end
  return out
end

--- Makes a class.
--- @param name string
--- @param base table|nil a class made here
--- @param spec table `rows` (positional arguments in Keras' order; nil: the base's), `named` (by
---   name only), `init`, `kind`
function object.class(name, base, spec)
  local c = class.new(name, base or Object)
  local own = spec.rows
  local before = c.super
  c._rows = own or before._rows
  c._named = inherit(spec.named or {}, before._named)
  c.kind = spec.kind or before.kind
  c.init = spec.init or false
  local positional, named = {}, {}
  for _, row in ipairs(c._rows) do
    positional[row[1]] = true
  end
  for _, row in ipairs(c._named) do
    if not positional[row[1]] then
      named[#named + 1] = row
    end
  end
  c._args = check.args(name, c._rows, { named = named })
  return c
end

function Object:_init(...)
  local o = self._args:construct(...)
  for k, v in pairs(o) do
    self[k] = v
  end
  self:_prepare(o)
end

-- The `init` functions, base first.
function Object:_prepare(o)
  local chain, c = {}, getmetatable(self)
  while c do
    chain[#chain + 1] = rawget(c, "init") or nil
    c = rawget(c, "super")
  end
  for i = #chain, 1, -1 do
    chain[i](self, o)
  end
end

--- The name of the instance's class.
function Object:_class_name()
  return getmetatable(self).__name
end

local function_names = setmetatable({}, { __mode = "k" })
local places = setmetatable({}, { __mode = "k" })

--- A value as plain data (strings, numbers, booleans, tables); objects become `{ class_name, config
--- }`.
function object.serialize(v)
  local t = type(v)
  if v == none then
    return nil
  elseif t == "table" then
    if v.get_config then
      return { class_name = getmetatable(v).__name, config = v:get_config(), kind = v.kind }
    end
    local out = {}
    for k, x in pairs(v) do
      out[k] = x == none and none or object.serialize(x) -- a list keeps its places
    end
    return out
  elseif t == "userdata" then
    return v:tolist()
  elseif t == "function" then
    return function_names[v] or v -- a file cannot hold the function itself: saving says so
  end
  return v
end

--- Remembers the public name of a function, so that configurations can name it.
function object.name_function(f, name, args)
  function_names[f] = name
  places[f] = { origin.line(), args }
  return f
end

--- Where a function named here is defined, "@path:line", and its argument table; nil for others.
function object.place_of(f)
  if places[f] then
    return places[f][1], places[f][2]
  end
end

--- The public name of a function, or "function".
function object.function_name(f)
  return function_names[f] or "function"
end

--- Whether configurations can name `f`.
function object.is_named(f)
  return function_names[f] ~= nil
end

--- The options as plain data; giving them to the class makes an equal object.
function Object:get_config()
  local out = {}
  for _, name in ipairs(self._args.names) do
    local v = rawget(self, name)
    if v ~= nil then
      out[name] = object.serialize(v)
    end
  end
  return out
end

--- An object from what `get_config` returned. Called as `Class.from_config(config)` or with the
--- class as second argument.
function Object.from_config(config, c)
  return c(config)
end

--- Makes a class of one's own: `Loss:extend("Mine", { args = { "delta" }, call = function(self,
--- y_true, y_pred) ... end })`. `args` orders the positional arguments (names, or `{ name, default
--- }`); values land in the instance and in `get_config`. `init(self, o)` runs after the base's.
--- Everything else becomes a method. The name is registered for loading.
--- @return table class
function Object:extend(name, spec)
  if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
    errors.raise("extend", "the class name must be an identifier, got %s", check.show(name))
  end
  spec = spec or {}
  local rows = {}
  for _, a in ipairs(spec.args or {}) do
    rows[#rows + 1] = type(a) == "table" and { a[1], "any", a[2] } or { a, "any" }
  end
  local c = object.class(name, self, { rows = spec.args and rows or nil,
    named = spec.args and self._rows or nil, init = spec.init })
  for k, v in pairs(spec) do
    if k ~= "args" and k ~= "init" then
      if k:sub(1, 1) == "_" and k:sub(1, 2) ~= "__" and self[k] ~= nil then
        errors.raise("extend", "'%s' belongs to %s and cannot be replaced", k, self.__name)
      end
      c[k] = v
    end
  end
  if c.kind then
    registry.register(c.kind, name, c)
  end
  return c
end

local counters = {}

--- Keras' automatic names: adam, adam_1, adam_2.
function object.auto_name(base)
  local n = counters[base] or 0
  counters[base] = n + 1
  return n == 0 and base or base .. "_" .. n
end

--- Forgets the automatic names given so far.
function object.reset_names()
  counters = {}
end

function Object:__tostring()
  local c = getmetatable(self)
  return self.name and ("%s (%s)"):format(self.name, c.__name) or c.__name
end

return object

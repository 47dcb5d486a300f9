--- Objects made of their options: initializers, regularizers, constraints and whatever else is a
--- value with a configuration.
--
-- `object.class(kind, name, rows, base)` makes a class whose constructor checks its options by
-- `rows` (see check.lua) and stores them in the object; get_config gives them back, from_config
-- makes the object again.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local none = require "tide.none"
local registry = require "tide.registry"

local object = {}
local is_tensor = require("tide.core").is_tensor
local DEEPEST = 100 -- tables in tables

--- A value as it stands in a configuration: objects as { class_name, config }, named functions as
--- their names.
function object.serialize(v, depth)
  depth = type(depth) == "number" and depth or 1
  if depth > DEEPEST then
    errors.raise("serialize", "a table that holds itself has no configuration")
  end
  local t = type(v)
  if t == "function" then
    return require("tide.activations").name_of(v) or v
  elseif t == "table" and v ~= none then
    if class.is_class(v) then
      return v.__name
    end
    if v.get_config then
      -- their names coincide
      local kind = (v.kind == "loss" or v.kind == "metric") and v.kind or nil
      return { class_name = getmetatable(v).__name, config = v:get_config(), kind = kind }
    end
    local out = {}
    for k, x in pairs(v) do
      out[k] = object.serialize(x, depth + 1)
    end
    return out
  elseif is_tensor(v) then
    return v:tolist()
  end
  return v
end

--- The options of `self` that its argument table declares, as a configuration.
function object.config(self, args)
  local out = {}
  for _, name in ipairs(args.names) do
    local v = rawget(self, name)
    if v == nil then
      local default = args.index[name][3]
      if default ~= nil and default ~= none then
        out[name] = none
      end
    else
      out[name] = object.serialize(v)
    end
  end
  return out
end

local Object = class.new("Object")
object.Object = Object

function Object:_init(...)
  for k, v in pairs(self.args:construct(...)) do
    rawset(self, k, v)
  end
  if self.init then
    self:init()
  end
end

--- The options of the object by name.
function Object:get_config()
  return object.config(self, self.args)
end

function Object:__tostring()
  local out = {}
  for _, name in ipairs(self.args.names) do
    if rawget(self, name) ~= nil and rawget(self, name) ~= self.args.index[name][3] then
      out[#out + 1] = name .. " = " .. check.show(self[name])
    end
  end
  return getmetatable(self).__name .. (#out > 0 and " { " .. table.concat(out, ", ") .. " }" or "")
end

function Object.__eq(a, b)
  return getmetatable(a) == getmetatable(b) and tostring(a) == tostring(b)
end

--- Makes a class of a person's own and registers its name for loading.
--- @param name string
--- @param def table `args`: names of the positional options; methods; `init(self)` runs after the
---   options are stored
function Object:extend(name, def)
  local rows = {}
  for i, arg in ipairs(def.args or {}) do
    rows[i] = type(arg) == "table" and arg or { arg, "any" }
  end
  local c = object.class(self.kind, name, rows, self)
  for k, v in pairs(def) do
    if k ~= "args" then
      c[k == "call" and "__call" or k] = v
    end
  end
  registry.register(self.kind, name, c)
  return c
end

--- Makes a class of objects.
--- @param kind string registry kind ("initializer")
--- @param name string
--- @param rows table argument rows
--- @param base table|nil
function object.class(kind, name, rows, base)
  local c = class.new(name, base or Object)
  c.kind = kind
  c.args = check.args(name, rows)
  c.from_config = function(config)
    return c(config)
  end
  return c
end

return object

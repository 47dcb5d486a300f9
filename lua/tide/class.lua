--- Single inheritance with callable classes.
--
-- `class.new(name, base)` makes a class: a table that is its instances' metatable. Calling it makes
-- an instance and runs `_init(self, ...)`. Metamethods are inherited by copying (Lua looks them up
-- rawly), methods by `__index`. A class with `_get`/`_set` (tables of property functions,
-- inherited) gives its instances computed fields. `_foreign`, a table of functions, is asked last:
-- names that other libraries have, which raise and say what stands for them here.
local origin = require "tide.origin"

local class = {}

local function class_tostring(c)
  return "class " .. c.__name
end

local function construct(c, ...)
  local self = setmetatable({}, c)
  c._init(self, ...)
  return self
end

local function plain_new(c, ...)
  return c._new(c, ...)
end

-- Fields of an instance that its class computes: methods first, then properties.
local function make_index(c)
  return function(self, key)
    local v = c[key]
    if v ~= nil then
      return v
    end
    local get = c._get[key]
    if get then
      return get(self)
    end
    local foreign = c._foreign
    return foreign and foreign[key]
  end
end

--- Makes a class.
--- @param name string shown by tostring and in messages
--- @param base table|nil the class to inherit from
--- @return table class with fields `__name`, `super`
function class.new(name, base)
  local c = { __name = name, super = base, _new = base and base._new or construct }
  c._place = origin.line()
  if base then
    for k, v in pairs(base) do
      if type(k) == "string" and k:sub(1, 2) == "__" and k ~= "__index" and k ~= "__name" then
        c[k] = v
      end
    end
    if base._get then
      c._get = setmetatable({}, { __index = base._get })
    end
    if base._set then
      c._set = setmetatable({}, { __index = base._set })
    end
  end
  c.__index = c._get and make_index(c) or c
  return setmetatable(c, { __index = base, __call = plain_new, __tostring = class_tostring,
    __name = "class" })
end

--- Gives a class computed fields: `get[name](self)`; names without a setter cannot be assigned.
function class.properties(c, get, set)
  c._get = c._get or {}
  c._set = c._set or {}
  for k, v in pairs(get) do
    c._get[k] = v
  end
  for k, v in pairs(set or {}) do
    c._set[k] = v
  end
  c.__index = make_index(c)
end

--- Whether `v` is a class made here.
function class.is_class(v)
  local m = getmetatable(v)
  return type(m) == "table" and m.__name == "class"
end

--- Whether `v` is an instance of `c` or of a class that inherits from it.
function class.is(v, c)
  if type(v) ~= "table" then
    return false
  end
  local m = getmetatable(v)
  while m do
    if m == c then
      return true
    end
    m = type(m) == "table" and rawget(m, "super") or nil
  end
  return false
end

--- Keras' snake_case of a class name: `Conv2DTranspose` is `conv2d_transpose`.
function class.snake(name)
  local s = name:gsub("[^%w_]", "")
  s = s:gsub("(.)(%u%l+)", "%1_%2")
  s = s:gsub("(%l)(%u)", "%1_%2")
  return s:lower()
end

return class

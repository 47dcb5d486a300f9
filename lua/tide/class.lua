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

-- Instances of classes that say `_roomy` have many fields: their table need not grow for them.
local function construct(c, ...)
  local self = setmetatable(c._roomy and { _1 = nil, _2 = nil, _3 = nil, _4 = nil, _5 = nil,
    _6 = nil, _7 = nil, _8 = nil, _9 = nil } or {}, c)
  c._init(self, ...)
  return self
end

local function plain_new(c, ...)
  return c._new(c, ...)
end

-- ---- names that nearly exist ----

local kin = setmetatable({}, { __mode = "k" }) -- root of a strict family -> its classes

-- Whether a name is another one and more: `train_steps`, `calls`, `models` are names of their own;
-- `fitt` and `fitx` are none: words do not end so.
local function extends(name, other)
  if #name <= #other or name:sub(1, #other) ~= other then
    return false
  end
  local rest = name:sub(#other + 1)
  return #rest > 1 or not rest:find "%l" or rest:find "[sdry]" and rest ~= other:sub(-1)
end

-- The method that an absent name of an instance of `c` was probably meant to be, among those of all
-- classes of its kind; nil for what is a name of another of them, or opens with one.
local function near_method(c, key)
  local distance, kind = require("tide.names").distance, c.kind
  local most = #key < 6 and 1 or 2
  local best, least
  for other in pairs(kin[c._strict]) do
    local mine = rawget(other, "kind") == kind or class.inherits(c, other)
    local get = mine and rawget(other, "_get")
    if get and rawget(get, key) or mine and rawget(other, key) ~= nil then
      return nil
    end
    for name, v in next, mine and other or {} do
      if type(v) == "function" and type(name) == "string" and name:byte() == key:byte()
        and not extends(key, name) then
        local d = math.abs(#name - #key) <= most and distance(key, name) or 3
        if d <= most and (not least or d < least or d == least and name < best) then
          best, least = name, d
        end
      end
    end
  end
  return best
end

-- Reads a name that an instance of `c` does not have. In Tide's own classes a name that is nearly a
-- method raises and says which was meant; classes of a person's own may have any fields. `absent`:
-- the names that were read before, and rightly are none.
local function missing(c, key, absent)
  if type(key) ~= "string" or #key < 4 or key:byte() == 95 or c._custom then
    return nil
  end
  local near = near_method(c, key)
  if near then
    require("tide.errors").raise(c.__name, "no method or field '%s'; did you mean '%s'?", key, near)
  end
  absent[key] = true
end

local written = setmetatable({}, { __mode = "k" }) -- class -> new fields that were written

--- Refuses a new field of an instance of one of Tide's own classes whose name is nearly that of an
--- option: `optimizer.lr = 0.1`, `layer.trainible = false` would change nothing.
---
---     pcall(tide.class.check_field, tide.layers.Dense, "unitz", { "units" })   --> false
--- @param c table class
--- @param key any name of the field
--- @param names table names of the options; the class' list `_fields` names fields that are none
function class.check_field(c, key, names)
  local known = written[c]
  if not known then
    known = {}
    for _, group in ipairs { names, c._fields or {} } do
      for _, name in ipairs(group) do
        known[name] = true
      end
    end
    written[c] = known
  end
  if known[key] or type(key) ~= "string" or key:byte() == 95 or c._custom then
    return
  end
  local near = require("tide.names").suggest(key, names)
  if near and not extends(key, near) then
    require("tide.errors").raise(c.__name, "has no option '%s'; did you mean '%s'? A \z
      field of your own of that name is set by rawset(object, '%s', value)", key, near, key)
  end
  known[key] = true
end

-- Fields of an instance that its class computes: methods first, then properties.
local function make_index(c)
  local absent = {}
  return function(self, key)
    local v = c[key]
    if v ~= nil then
      return v
    end
    local gets = c._get
    local get = gets and gets[key]
    if get then
      return get(self)
    elseif absent[key] then
      return nil
    end
    local foreign = c._foreign
    v = foreign and foreign[key]
    if v == nil and c._strict then
      return missing(c, key, absent)
    end
    return v
  end
end

--- Makes a family of classes strict: reading a name that is nearly a method of one of them raises
--- and says which was meant: `model:complie {}`. Other absent names stay nil, so do names that open
--- with an underscore, short ones, and any in classes that a person made (`_custom`).
---
---     local Root = tide.class.strict(tide.class.new "Root")
---     tide.class.is_class(Root)   --> true
--- @param root table a class without a base; holds for its subclasses too
--- @return table root
function class.strict(root)
  kin[root] = setmetatable({ [root] = true }, { __mode = "k" })
  root._strict = root
  root.__index = make_index(root)
  return root
end

--- Makes a class.
---
---     local Point = tide.class.new "Point"
---     function Point:_init(x) self.x = x end
---     Point(3).x   --> 3
--- @param name string shown by tostring and in messages
--- @param base table|nil the class to inherit from
--- @return table class with fields `__name`, `super`
function class.new(name, base)
  if type(name) ~= "string" then
    error(("class: takes a name (got %s)"):format(type(name)), 2)
  end
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
  local root = base and base._strict
  if root then
    kin[root][c] = true
  end
  c.__index = (c._get or root) and make_index(c) or c
  return setmetatable(c, { __index = base, __call = plain_new, __tostring = class_tostring,
    __name = "class" })
end

--- Gives a class computed fields: `get[name](self)`; names without a setter cannot be assigned.
---
---     local Point = tide.class.new "Point"
---     function Point:_init(x) self.x = x end
---     tide.class.properties(Point, { twice = function(self) return 2 * self.x end })
---     Point(3).twice   --> 6
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
---
---     tide.class.is_class(tide.layers.Dense)   --> true
function class.is_class(v)
  local m = getmetatable(v)
  return type(m) == "table" and m.__name == "class"
end

--- Whether the class `c` is `base` or inherits from it.
---
---     tide.class.inherits(tide.layers.Dense, tide.Layer)   --> true
function class.inherits(c, base)
  while c do
    if c == base then
      return true
    end
    c = rawget(c, "super")
  end
  return false
end

--- Whether `v` is an instance of `c` or of a class that inherits from it.
---
---     tide.class.is(tide.layers.Dense(2), tide.Layer)   --> true
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

local snakes = {} -- name -> its snake_case

--- Keras' snake_case of a class name: `Conv2DTranspose` is `conv2d_transpose`.
---
---     tide.class.snake "Conv2DTranspose"   --> "conv2d_transpose"
function class.snake(name)
  local s = snakes[name]
  if not s then
    s = name:gsub("[^%w_]", "")
    s = s:gsub("(.)(%u%l+)", "%1_%2")
    s = s:gsub("(%l)(%u)", "%1_%2"):lower()
    snakes[name] = s
  end
  return s
end

return class

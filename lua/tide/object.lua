--- Objects made of their options: initializers, regularizers, constraints, losses, metrics,
--- optimizers, schedules, callbacks, and whatever else is a value with a configuration.
--
--   local Huber = object.class("Huber", Loss, {
--     rows = { { "delta", "number", 1.0, "where the quadratic part ends" } },
--     init = function(self, o) end,
--   })
--
-- The constructor checks its arguments by `Class.args` (see check.lua) and stores the values in the
-- object, then the `init` functions run, from the base to the class itself. get_config gives the
-- options back, from_config makes the object again. Methods that `methods` declares take a final
-- table of named options, wherever a class defines them.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local namespace = require "tide.namespace"
local none = require "tide.none"
local origin = require "tide.origin"
local registry = require "tide.registry"

local object = {}
local core = require "tide.core"
local printable = require "tide.printable"
local shared = require "tide.shared"
local weight_names = require "tide.tensor.names"
local is_tensor = core.is_tensor
local DEEPEST = 100 -- tables in tables

-- ---- names of functions ----

local names = setmetatable({}, { __mode = "k" })
local waiting = {} -- functions that name functions, run when an unknown one is asked for

--- Gives a function its public name, so that configurations can name it.
--- @param args table|nil its argument table; help takes its text where the main chunk stands now
--- @return function f
function object.name_function(f, name, args)
  names[f] = name
  return args and origin.here(f, { args = args }) or f
end

--- Has `f` run before the first function without a name is looked up: it names a family whose
--- functions are loaded late.
function object.name_later(f)
  waiting[#waiting + 1] = f
end

--- The public name of a function, or nil.
function object.name_of(f)
  local name = names[f]
  while not name and #waiting > 0 do
    table.remove(waiting)()
    name = names[f]
  end
  return name
end

-- ---- automatic names ----

local counters = {}

--- Keras' automatic names: adam, adam_1, adam_2.
function object.auto_name(base)
  local n = counters[base] or 0
  counters[base] = n + 1
  return n == 0 and base or base .. "_" .. n
end

--- Starts the numbering of names anew.
function object.reset_names()
  counters = {}
end

-- ---- configurations ----

local function values_of(tensor)
  local value = tensor:tolist()
  if tensor.dtype == "float32" or tensor.dtype == "bool" then
    return value
  end
  return { class_name = "__tensor__", config = { value = value, dtype = tensor.dtype } }
end

--- A value as it stands in a configuration, plain data: objects as { class_name, config, kind },
--- named functions as their names, tensors as nested lists (of another dtype than a list would get:
--- as { class_name = "__tensor__", config = { value, dtype } }), weights of a built layer as that
--- layer and the weight's name, none as none.
--- @param v any
--- @param depth integer|function|nil how deep `v` stands; or what writes the layer of a weight
function object.serialize(v, depth)
  local write = type(depth) == "function" and depth or object.serialize
  depth = type(depth) == "number" and depth or 1
  if depth > DEEPEST then
    errors.raise("serialize", "a table that holds itself has no configuration")
  end
  local t = type(v)
  if t == "function" then
    return object.name_of(v) or v -- a file cannot hold the function itself: saving says so
  elseif t == "table" and v ~= none then
    if class.is_class(v) then
      return v.__name
    elseif v.get_config then
      local c = getmetatable(v)
      local name = v._class_name and v:_class_name() or c.__name
      local entry = { class_name = name, config = v:get_config(), kind = v.kind,
        registered_name = registry.registered_name(v.kind, c.__name, c) }
      if v.kind == "layer" then
        local shape = v._built_for and v:_built_for()
        return shared.note(v, entry, shape)
      end
      return entry
    end
    local out = {}
    for k, x in pairs(v) do
      out[k] = object.serialize(x, depth + 1)
    end
    return out
  elseif is_tensor(v) then
    local owner, name = weight_names.owner(v)
    if owner and owner:_built_for() then
      local entry = write(owner)
      entry.build_config = entry.build_config or { input_shape = owner:_built_for() }
      return { class_name = "__weight__", config = { layer = entry, name = name } }
    end
    return values_of(v)
  end
  return v
end

--- The weight that a configuration means, of the layer that was made for it.
function object.weight(config, layer)
  local build = check.is_plain(config.layer.build_config) and config.layer.build_config.input_shape
  if build and not layer.built then
    layer:build(build)
  end
  for _, r in ipairs(layer:_own_records()) do
    if r.name == config.name then
      return r.tensor
    end
  end
  errors.raise("from_config", "the layer '%s' has no weight '%s', which another layer takes",
    layer.name, tostring(config.name))
end

--- A configuration's value with its objects made again: every `{ class_name, config }` inside that
--- names a known class, and tensors.
function object.revive(v, depth)
  depth = depth or 1
  if depth > DEEPEST then
    errors.raise("from_config", "the configuration holds itself, or tables too deep in one another")
  elseif not check.is_plain(v) then
    return v
  elseif type(v.class_name) == "string" and type(v.config) == "table" then
    if v.class_name == "__tensor__" then
      return core.tensor(v.config.value, { dtype = v.config.dtype })
    elseif v.class_name == "__weight__" then
      return object.weight(v.config, registry.resolve("layer", v.config.layer, "from_config"))
    end
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
    out[k] = object.revive(x, depth + 1)
  end
  return out
end

--- What compile takes, as files can hold it: `{ "name", option = ... }` as the object that it
--- means, in lists and tables by output too, and named functions as their names.
function object.declared(kind, v)
  return registry.map(v, function(one)
    if type(one) == "function" then
      return object.name_of(one) or one
    elseif check.is_plain(one) and one.class_name == nil then
      return registry.resolve(kind, one)
    end
    return one
  end, kind)
end

-- The value of an option of an object; a family may keep some elsewhere than in its fields
-- (`_option(self, name)`).
local function option_of(self, name)
  local elsewhere = self._option
  return elsewhere and elsewhere(self, name) or rawget(self, name)
end

--- The options of `self` that its argument table declares, as a configuration. An option that is
--- switched off, its default being something, is none.
function object.config(self, args)
  local out = {}
  for _, name in ipairs(args.names) do
    local v = option_of(self, name)
    if v == nil then
      local default = args.index[name][3]
      if default ~= nil and default ~= none and default ~= check.required then
        out[name] = none
      end
    else -- a weight of its own, where `build` keeps it under the option's name, is its values
      out[name] = is_tensor(v) and rawequal(weight_names.owner(v), self) and values_of(v)
        or object.serialize(v)
    end
  end
  return out
end

--- Whether two options are the same: objects and lists by what they hold, tensors by dtype and
--- elements.
function object.same(a, b)
  if rawequal(a, b) then
    return true
  elseif type(a) ~= type(b) then
    return false
  elseif is_tensor(a) then
    return is_tensor(b) and a.dtype == b.dtype and a.shape == b.shape
      and object.same(a:tolist(), b:tolist())
  elseif type(a) ~= "table" or getmetatable(a) ~= getmetatable(b) then
    return a == b
  elseif getmetatable(a) ~= nil then
    return a == b
  end
  for k, v in pairs(a) do
    if not object.same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

--- Whether two objects have one class and the same options: `__eq` of objects without state.
function object.equal(a, b)
  local c = getmetatable(a)
  if c ~= getmetatable(b) then
    return false
  end
  for _, name in ipairs(c.args.names) do
    if not object.same(option_of(a, name), option_of(b, name)) then
      return false
    end
  end
  return true
end

-- ---- methods that take named options ----

local arguments = setmetatable({}, { __mode = "k" }) -- method -> its argument table

--- The argument table of a method that was declared here; nil for others.
function object.arguments(f)
  return arguments[f]
end

-- The method as it is called: a final table of named options becomes values in their order. It is
-- on the way of every step of training: up to four values are looked at without counting them.
local function with_options(f, args)
  local function method(self, a, b, c, d, ...)
    local e = ...
    local last = e
    if last == nil then last = d end
    if last == nil then last = c end
    if last == nil then last = b end
    if last == nil then last = a end
    if type(last) == "table" and getmetatable(last) == nil then
      local n = e ~= nil and 5 or d ~= nil and 4 or c ~= nil and 3 or b ~= nil and 2 or 1
      if check.has_string_key(last) or next(last) == nil and args:is_option(n) then
        local given = { a, b, c, d, ... }
        return f(self, args:values(table.unpack(given, 1, n)))
      end
    end
    return f(self, a, b, c, d, ...)
  end
  arguments[method] = args
  return origin.wraps(method, f)
end

-- The method as it is called where it takes nothing: what is given is refused, not forgotten.
local function without_options(f, args)
  local function method(self, ...)
    for i = 1, select("#", ...) do
      local v = select(i, ...)
      if v ~= nil then
        errors.raise(args.owner, "takes no arguments (got %s)", check.show(v))
      end
    end
    return f(self)
  end
  arguments[method] = args
  return origin.wraps(method, f)
end

local keeping = setmetatable({}, { __mode = "k" }) -- methods that do

-- The method, which keeps tensors in its object: those outlive the scope in which it is called
-- (tide.scope).
local function outside_scopes(f)
  local function method(...)
    local _ <close> = core.scope_pause()
    return f(...)
  end
  keeping[method] = true
  return origin.wraps(method, f)
end

-- Assignment to a class: declared methods learn to take options, those of `_keeps` to keep tensors.
local function define(c, key, value)
  local args = type(value) == "function" and not arguments[value] and c._methods[key]
  if args and #args.names == 0 and not origin.is_wrapper(value)
    and #origin.parameters(value) > 1 then
    args = nil -- a method of that name in a person's class, which takes something
  end
  local wrap = args and (#args.names == 0 and without_options or with_options)
  if c._keeps[key] and type(value) == "function" and not arguments[value]
    and not keeping[value] then
    value = outside_scopes(value)
  end
  rawset(c, key, wrap and wrap(value, args) or value)
end

--- Declares the arguments of methods, for a class and those that inherit from it.
--- @param methods table name -> rows of check.args; without rows the method takes nothing
function object.declare(c, owner, methods)
  local own = setmetatable({}, { __index = c._methods })
  for name, rows in pairs(methods) do
    own[name] = check.args(name == "__call" and owner or name, rows)
  end
  rawset(c, "_methods", own)
end

-- ---- classes ----

local Object = class.strict(class.new("Object"))
object.Object = Object
Object.args = check.args("Object", {})
Object._inits, Object._methods = {}, {}
Object._keeps = {} -- name of a method -> true
object.declare(Object, "Object", { get_config = {} })
getmetatable(Object).__newindex = define

-- Rows of `base` that `own` does not redefine, after those.
local function inherit(own, base)
  local seen, out = {}, {}
  for _, group in ipairs { own, base } do
    for _, row in ipairs(group) do
      if not seen[row[1]] then
        seen[row[1]] = true
        out[#out + 1] = row
      end
    end
  end
  return out
end

-- Rows of check.args from what a person writes: names, `{ name, default }`, or rows. A name that
-- the base has means the base's row.
local function rows_of(given, base)
  local rows = {}
  for i, a in ipairs(given) do
    rows[i] = type(a) ~= "table" and (base.index[a] or { a, "any" }) or check.is_type(a[2]) and a
      or { a[1], "any", a[2] }
  end
  return rows
end

--- Makes a class.
--- @param name string
--- @param base table|nil a class made here
--- @param spec table|nil `kind`; `rows`: positional options in Keras' order (nil: the base's);
---   `named`: options by name only, those of the base with them; `args`, in place of both:
---   positional options as `extend` takes them, all of the base's staying by name; `list_first`:
---   the first option can only be a list; `init(self, o)`; `methods`: name -> rows of methods that
---   take named options
--- @return table class
function object.class(name, base, spec)
  spec = spec or {}
  local c = class.new(name, base or Object)
  local before = c.super
  getmetatable(c).__newindex = define
  rawset(c, "kind", spec.kind or before.kind)
  local above = before.args
  local rows = spec.args and rows_of(spec.args, above) or spec.rows
  local by_name = spec.args and inherit(above.rows, above.named)
    or inherit(spec.named or {}, above.named)
  local positional, named = {}, {}
  for _, row in ipairs(rows or above.rows) do
    positional[row[1]] = true
  end
  for _, row in ipairs(by_name) do
    if not positional[row[1]] then
      named[#named + 1] = row
    end
  end
  rawset(c, "args", check.args(name, rows or above.rows, { named = named,
    list_first = spec.list_first or (not rows and above.list_first) }))
  local inits = table.move(before._inits, 1, #before._inits, 1, {})
  inits[#inits + 1] = spec.init
  rawset(c, "_inits", inits)
  if spec.methods then
    object.declare(c, c.kind or name, spec.methods)
  end
  rawset(c, "from_config", function(config, second) -- with a colon the class comes first
    config = rawequal(config, c) and second ~= nil and second or config
    if type(config) ~= "table" then
      errors.raise(c.__name, "from_config takes a table of options (got %s)", check.show(config))
    end
    return c._from_config(c, config)
  end)
  return c
end

-- A new field whose name is nearly that of an option is refused: it would change nothing.
function Object.__newindex(self, key, value)
  local c = getmetatable(self)
  class.check_field(c, key, c.args.names)
  rawset(self, key, value)
end

function Object:_init(...)
  local c = getmetatable(self)
  local o = c.args:construct(...)
  c._store(self, o)
  local inits = c._inits
  for i = 1, #inits do
    inits[i](self, o)
  end
end

-- Keeps the checked options; families that keep more replace it.
function Object:_store(o)
  for k, v in pairs(o) do
    rawset(self, k, v)
  end
end

--- The name of the instance's class.
function Object:_class_name()
  return getmetatable(self).__name
end

--- The options by name, as plain data; giving them to the class makes an equal object.
function Object:get_config()
  return object.config(self, self.args)
end

--- The function whose public name stands in a configuration, or nil.
function object.function_named(name)
  for _, kind in ipairs { "activation", "loss", "metric" } do
    local f = registry.lookup(kind, name)
    if type(f) == "function" and object.name_of(f) == name then
      return f
    end
  end
end

local callables = setmetatable({}, { __mode = "k" }) -- Args -> names of options that are functions

local function callables_of(args)
  local found = callables[args]
  if not found then
    found = {}
    for name, row in pairs(args.index) do
      found[#found + 1] = row[2] == "callable" and name or nil
    end
    callables[args] = found
  end
  return found
end

-- How `Class.from_config(config)` makes an object.
function Object._from_config(c, config)
  local o = object.revive(config)
  for _, name in ipairs(callables_of(c.args)) do
    if type(o[name]) == "string" then
      o[name] = object.function_named(o[name]) or o[name]
    end
  end
  return c(o)
end

--- One line: its name and class, or the class with the options that are not the defaults.
function Object:__tostring()
  local c = getmetatable(self)
  if rawget(self, "name") then
    return ("%s (%s)"):format(printable.name(self.name), c.__name)
  end
  local out = {}
  for _, name in ipairs(self.args.names) do
    local v = option_of(self, name)
    if v ~= nil and v ~= self.args.index[name][3] then
      out[#out + 1] = name .. " = " .. check.show(v)
    end
  end
  return c.__name .. (#out > 0 and " { " .. table.concat(out, ", ") .. " }" or "")
end

--- Raises unless `name` can be the name of a class.
function object.check_name(name)
  if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
    errors.raise("extend", "the class name must be an identifier (got %s)", check.show(name))
  end
end

--- Gives a class what its definition holds: methods, facts, from_config(config).
--- @param skip table set of keys that are none
--- @return table class
function object.fill(c, def, skip)
  for k, v in pairs(def) do
    if k == "from_config" then
      c._from_config = function(_, config) return v(config) end
    elseif not skip[k] then
      c[k] = v
    end
  end
  return c
end

--- Makes a class of one's own: `Loss:extend("Mine", { args = { "delta" }, call = function(self,
--- y_true, y_pred) ... end })`. `args` orders the positional options (names, `{ name, default }`,
--- or rows of tide.check), whose values land in the object and in `get_config`; the base's options
--- stay, by name. `init(self, o)` runs after the base's. Everything else becomes a method or a fact
--- of the class. The name is registered for loading.
--- @param name string
--- @param def table|nil
--- @return table class
function Object:extend(name, def)
  object.check_name(name)
  def = def or {}
  for k in pairs(def) do
    if type(k) == "string" and k:sub(1, 1) == "_" and k:sub(1, 2) ~= "__" and self[k] ~= nil then
      errors.raise("extend", "'%s' belongs to %s and cannot be replaced", k, self.__name)
    end
  end
  local c = object.fill(object.class(name, self, { args = def.args, init = def.init }), def,
    { args = true, init = true })
  rawset(c, "_custom", true)
  c.args.own = true -- messages about its arguments say how a class declares them
  if c.kind then
    registry.register(c.kind, name, c)
  end
  return c
end

-- ---- namespaces of objects ----

--- What makes the classes of a family: a function of (name, rows, call, aliases) that puts the
--- class into `members` and its snake_case name among the aliases.
--- @param base table the family's base class
function object.family(base, members, aliases)
  return function(name, rows, call, extra)
    local c = object.class(name, base, { rows = rows })
    c.call = call
    members[name] = c
    aliases[class.snake(name)] = name
    for _, alias in ipairs(extra or {}) do
      aliases[alias] = name
    end
    return c
  end
end

--- The namespace of a kind: its classes and functions, `get` (an object from what a person writes),
--- Keras' `serialize` and `deserialize`, `class_names` (sorted, the bases left out) and
--- `register(name, f)`, which gives a function of one's own a name that files can hold.
--- @param name string
--- @param kind string
--- @param o table `members`: values by name; `modules`, `aliases`: see namespace.new; `bases`: set
---   of names of classes that are no objects themselves; `get`; `extra`: unlisted values
function object.namespace(name, kind, o)
  local members, bases = o.members or {}, o.bases or {}
  local t = o.extra or {}
  t.get, t.deserialize, t.serialize = o.get, o.get, object.serialize
  t.class_names = {}
  for _, group in ipairs { members, o.modules or {} } do
    for k, v in pairs(group) do
      if not bases[k] and (group ~= members or class.is_class(v)) then
        t.class_names[#t.class_names + 1] = k
      end
    end
  end
  table.sort(t.class_names)
  --- Names a function of one's own: strings and files find it by that name.
  function t.register(own, f)
    if type(own) ~= "string" or type(f) ~= "function" and not class.is_class(f) then
      errors.raise("register", "takes a name and a function or a class (got %s and %s)",
        check.show(own), check.show(f))
    elseif type(f) == "function" then
      object.name_function(f, own)
    end
    registry.register(kind, own, f)
    return f
  end
  return namespace.new(name, t, { members = members, modules = o.modules, hidden = o.hidden,
    aliases = o.aliases, load = o.load, names = o.names })
end

return object

--- Argument tables: one declaration per class or function, from which come positional order,
--- defaults, type checks,
-- messages, help, completion and configurations.
--
--   local args = check.args("Dense", {
--     { "units", "int", check.required, "width of the output", min = 1 },
--     { "activation", "activation", nil, "applied to the result" },
--     { "padding", "enum", "valid", "border rule", of = "valid|same" },
--   })
--   local o = args:construct(...)   -- constructors: one table, or values and a last table
--   local o = args:call(...)        -- functions and methods (interface §2)
--
-- A row is { name, type, default, doc, fields... }. A nil default means that the option may be
-- absent; `none = true` allows tide.none or false beside a default. `dict = true`: the value may be
-- a table by name. `min`, `max`, `above`: limits of numbers. `counts = true`: values count from 1
-- in Tide and from 0 in Keras; `own = true`: an option that Keras does not have. Types: any int
-- number bool string enum function callable table list dict shape ints (n = how many) axis axes
-- tensor dtype data, or a list of them, and what check.types holds beside (initializer, activation,
-- ...: resolved by their namespaces).
local none = require "tide.none"
local errors = require "tide.errors"
local values = require "tide.values"

-- What a value is stands in tide.values; `check` offers it all.
local check = { none = none }
for name, v in pairs(values) do
  check[name] = v
end
local required, is_plain, convert = check.required, check.is_plain, check.convert
local has_string_key, positions, types = check.has_string_key, check.positions, check.types

-- ---- argument tables ----

local Args = {}
Args.__index = Args

--- Declares the arguments of a class or function.
--- @param owner string the name that messages carry
--- @param rows table positional arguments in Keras' order
--- @param o table|nil `named`: rows that are given by name only; `list_first`: the first argument
---   can only be a list;
---   `rest`: unknown names are kept in the result's field of that name instead of refused
function check.args(owner, rows, o)
  o = o or {}
  local self = setmetatable(
    { owner = owner, rows = rows, named = o.named or {}, list_first = o.list_first, rest = o.rest,
      index = {}, names = {} }, Args)
  for _, group in ipairs { rows, self.named } do
    for _, row in ipairs(group) do
      assert(types[row[2]] or type(row[2]) == "table", row[1])
      if not self.index[row[1]] then
        self.index[row[1]] = row
        self.names[#self.names + 1] = row[1]
      end
    end
  end
  return self
end

--- The same table for another owner (`Conv1D` and `Conv2D` share rows but not names).
function Args:extend(owner, rows, o)
  o = o or {}
  local all = table.move(self.rows, 1, #self.rows, 1, {})
  table.move(rows, 1, #rows, #all + 1, all)
  local named = table.move(self.named, 1, #self.named, 1, {})
  table.move(o.named or {}, 1, #(o.named or {}), #named + 1, named)
  return check.args(owner, all, { named = named, list_first = o.list_first or self.list_first,
    rest = o.rest or self.rest })
end

function Args:_unknown(name)
  local near = check.did_you_mean(name, self.names)
  errors.raise(self.owner, "unknown option '%s'%s", tostring(name),
    near == "" and self.own and "; the class names its options in extend: args = { \"units\", … }"
      or near)
end

function Args:_put(given, i, v)
  local row = self.rows[i]
  if not row then
    if #self.rows == 0 then
      errors.raise(self.owner, "takes no positional arguments (got %d)%s", i,
        self.own and "; the class names its options in extend: args = { \"units\", … }" or "")
    end
    errors.raise(self.owner,
      "takes at most %d positional argument%s (expected %s, got %d)", #self.rows,
      #self.rows == 1 and "" or "s", table.concat(self:positional(), ", "), i)
  end
  given[row[1]] = v
end

--- The argument table by which a function reads its arguments, found among its upvalues: of
--- several, the one of its name. For help and completion; nil where there is none, or the host has
--- no debug library.
--- @param f function
--- @param name string|nil
function check.arguments(f, name)
  local only, n = nil, 0
  for i = 1, debug and 255 or 0 do
    local key, v = debug.getupvalue(f, i)
    if key == nil then
      break
    elseif getmetatable(v) == Args then
      if v.owner == name then
        return v
      end
      only, n = v, n + 1
    end
  end
  return n == 1 and only or nil
end

--- Names of the positional arguments, in order.
function Args:positional()
  local out = {}
  for i, row in ipairs(self.rows) do
    out[i] = row[1]
  end
  return out
end

-- The options of `t`: its array part, from position `first`, and its string keys.
function Args:_merge(given, t, first)
  local plain = next(given) == nil -- names alone, as most are
  for i, v in next, t do
    if type(i) == "string" then
      if plain then
        given[i] = v
      end
    elseif math.type(i) == "integer" and i > 0 then
      if plain then
        plain = false
        for k in next, given do
          given[k] = nil
        end
      end
      self:_put(given, first + i - 1, v)
    else
      errors.raise(self.owner, "options are named by strings (got the key %s)", check.show(i))
    end
  end
  if plain then
    return
  end
  for k, v in next, t do
    if type(k) == "string" then
      if given[k] ~= nil then
        errors.raise(self.owner, "'%s' is given twice, by position and by name", k)
      end
      given[k] = v
    end
  end
end

--- Refuses a namespace as the first argument, which is what a colon makes of it:
--- `tide.layers:Dense(4)`.
local function refuse_colon(owner, first)
  local m = type(first) == "table" and getmetatable(first)
  if type(m) == "table" and rawget(m, "__names") then
    errors.raise(owner, "is called with a dot and not with a colon: %s.name(...)", m.__name)
  end
end

check.refuse_colon = refuse_colon

-- Finds once which arguments must be given, which have a value by default, and which `none` and
-- false do not switch off.
local function sort_rows(self)
  local required_names, defaults, needs = {}, {}, {}
  for _, name in ipairs(self.names) do
    local row = self.index[name]
    local default = row[3]
    if default == required then
      required_names[#required_names + 1] = name
    elseif default ~= nil and default ~= none then
      defaults[#defaults + 1] = name
    end
    needs[name] = not (default == nil or row.none or default == none)
  end
  self.required, self.defaults, self.needs = required_names, defaults, needs
end

-- An empty table with room for the names that arguments have most often, so that it need not grow.
local function with_room(self)
  if not self.needs then
    sort_rows(self)
  end
  local n = #self.required + #self.defaults
  return n > 7 and { _1 = nil, _2 = nil, _3 = nil, _4 = nil, _5 = nil, _6 = nil, _7 = nil, _8 = nil,
    _9 = nil }
    or n > 1 and { _1 = nil, _2 = nil, _3 = nil, _4 = nil, _5 = nil } or {}
end

--- Arguments of a constructor (interface §1) as a table of checked values.
function Args:construct(...)
  local n = select("#", ...)
  local given = with_room(self)
  local last = n > 0 and select(n, ...) or nil
  refuse_colon(self.owner, (...))
  if n == 1 and is_plain(last) then
    if self.list_first and #last > 0 and not is_plain(last[1]) then
      given[self.rows[1][1]] = positions(last)
      local named = {}
      for k, v in pairs(last) do
        if type(k) == "string" then
          named[k] = v
        end
      end
      self:_merge(given, named, 1)
    else
      self:_merge(given, last, 1)
    end
  else
    local options = n > 1 and is_plain(last) and (has_string_key(last) or next(last) == nil)
    for i = 1, options and n - 1 or n do
      local v = select(i, ...)
      if v ~= nil then
        self:_put(given, i, v)
      end
    end
    if options then
      self:_merge(given, last, n)
    end
  end
  return self:_fill(given)
end

-- Whether every key is the name of an argument: `fit(generator, { epochs = 3 })` has no dictionary
-- of targets.
function Args:_names_arguments(t)
  for k in pairs(t) do
    if not self.index[k] then
      return false
    end
  end
  return true
end

local collects = { shape = true, axes = true, tensor = true, list = true, ints = true,
  data = true }

--- Arguments of a function or method (interface §2) as a table of checked values.
function Args:call(...)
  local n = select("#", ...)
  refuse_colon(self.owner, (...))
  local given = {}
  for i = 1, n do
    local v = select(i, ...)
    local row = self.rows[i]
    if is_plain(v) and has_string_key(v) then
      local dictionary = row and row.dict
        and (i < n or (v[row[1]] == nil and #v == 0 and not self:_names_arguments(v)))
      if dictionary then
        given[row[1]] = v
      elseif i == n then
        if row and collects[row[2]] and #v > 0 then
          given[row[1]] = positions(v)
          local named = {}
          for k, x in pairs(v) do
            if type(k) == "string" then
              named[k] = x
            end
          end
          v = named
        end
        self:_merge(given, v, i)
      else
        errors.raise(
          self.owner, "named arguments come last (got a table with names as argument %d of %d)", i,
          n)
      end
    elseif i == n and is_plain(v) and next(v) == nil and not (row and collects[row[2]]) then
      break -- empty options
    elseif v ~= nil then
      self:_put(given, i, v)
    end
  end
  return self:_fill(given)
end

--- Whether an empty table as last argument, number `n`, is empty options and no value.
function Args:is_option(n)
  local row = self.rows[n]
  return row == nil or not collects[row[2]]
end

--- Arguments of a method as Lua values in the order of the rows, then of the named ones.
function Args:values(...)
  local o, out = self:call(...), {}
  for i, name in ipairs(self.names) do
    out[i] = o[name]
  end
  return table.unpack(out, 1, #self.names)
end

-- The value of a default. Tables and tensors are made anew for each call, since whoever gets one
-- may change it; other values are converted once.
local function default_of(row)
  local default = row[3]
  if row._kept ~= nil and row._kept_of == default then
    return row._kept
  end
  local x, expected = convert(row, default)
  assert(x ~= nil, expected)
  local t = type(x)
  if t ~= "table" and t ~= "userdata" then
    row._kept, row._kept_of = x, default
  end
  return x
end

-- Raises what is wrong first, in the order of the names.
function Args:_refuse(given)
  for _, name in ipairs(self.names) do
    local v, row = given[name], self.index[name]
    if v == nil then
      if row[3] == required then
        errors.raise(self.owner, "%s is missing (%s)", name, row[4] or "required")
      end
    elseif v ~= none and (v ~= false or row[2] == "bool") or self.needs[name] then
      local x, expected, hint = convert(row, v)
      if x == nil then
        errors.raise(self.owner, "%s must be %s (got %s)%s", name, expected, check.show(v),
          hint or "")
      end
    end
  end
end

-- As complete, in the table itself.
function Args:_fill(given)
  local index, rest, unknown, off = self.index, nil, nil, nil
  if not self.needs then
    sort_rows(self)
  end
  for k, v in next, given do
    if not index[k] then
      if self.rest then
        rest = rest or {}
        rest[k], given[k] = v, nil
      elseif not unknown or tostring(k) < tostring(unknown) then
        unknown = k
      end
    end
  end
  if unknown ~= nil then
    self:_unknown(unknown)
  elseif rest then
    given[self.rest] = rest
  end
  local needs = self.needs
  for name, v in next, given do
    local row = index[name]
    if v ~= none and (v ~= false or row[2] == "bool") or needs[name] then
      local x = convert(row, v)
      if x == nil then
        self:_refuse(given)
      end
      given[name] = x
    else
      off = off or {}
      given[name], off[name] = nil, true -- it stands for nothing
    end
  end
  local due = self.required
  for i = 1, #due do
    if given[due[i]] == nil and not (off and off[due[i]]) then
      self:_refuse(given)
    end
  end
  local defaults = self.defaults
  for i = 1, #defaults do
    local name = defaults[i]
    if given[name] == nil and not (off and off[name]) then
      local row = index[name]
      local kept = row._kept
      if kept == nil or row._kept_of ~= row[3] then
        kept = default_of(row)
      end
      given[name] = kept
    end
  end
  return given
end

--- Checks values by name, converts them and fills in the defaults; `given` is left alone. Of
--- several mistakes the same one is
--- always named: unknown names first, by name, then the arguments in their order.
function Args:complete(given)
  local out = {}
  for k, v in next, given do
    out[k] = v
  end
  return self:_fill(out)
end

--- The arguments as text, one per line: name, default, meaning.
function Args:help()
  local out, width = {}, 0
  for i, name in ipairs(self.names) do
    local row = self.index[name]
    local default = row[3] == required and "required" or row[3] == nil and "none"
      or check.show(row[3])
    out[i] = ("  %s = %s"):format(name, default)
    width = math.max(width, #out[i] <= 36 and #out[i] or 0)
  end
  for i, name in ipairs(self.names) do
    local doc = self.index[name][4]
    out[i] = doc and ("%-" .. width .. "s    %s"):format(out[i], doc) or out[i]
  end
  return table.concat(out, "\n")
end

--- The keys of a table in the order of their texts.
function check.sorted_keys(t)
  local out = {}
  for k in pairs(t) do
    out[#out + 1] = k
  end
  table.sort(out, function(a, b)
    local x, y = tostring(a), tostring(b)
    return x < y or x == y and type(a) < type(b)
  end)
  return out
end

--- Raises if a table holds a name that is not among `listed`, always the same one of several.
--- @param owner string what complains
--- @param given table
--- @param listed table a sequence of names
--- @param what string|nil what the names are, "option" by default
function check.refuse_unknown(owner, given, listed, what)
  if not is_plain(given) then
    errors.raise(owner, "%ss must be a table (got %s)", what or "option", check.show(given))
  end
  local known = {}
  for _, name in ipairs(listed) do
    known[name] = true
  end
  for _, k in ipairs(check.sorted_keys(given)) do
    if not known[k] then
      errors.raise(owner, "unknown %s '%s'%s", what or "option", tostring(k),
        check.did_you_mean(k, listed))
    end
  end
end

--- Shorthand for one table of options: checks `o` (a table or nil) against `rows`.
function check.options(owner, o, rows)
  if o ~= nil and not is_plain(o) then
    errors.raise(owner, "options must be a table (got %s)", check.show(o))
  end
  return check.args(owner, rows):complete(o or {})
end

return check

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
local list = require "tide.list"
local names = require "tide.names"
local printable = require "tide.printable"

local check = { none = none }

--- Default of an option that must be given.
check.required = setmetatable({}, { __tostring = function() return "required" end })
local required = check.required

check.did_you_mean = names.did_you_mean

-- ---- values ----

--- A value for a message: numbers and strings as written, tables as lists, others by type.
function check.show(v)
  local t = type(v)
  if t == "string" then
    return #v > 40 and ("%q"):format(printable.text(v:sub(1, 37)) .. "...")
      or ("'%s'"):format(printable.name(v))
  elseif math.type(v) == "float" then
    return list.number("%s", v)
  elseif t == "number" or t == "boolean" or t == "nil" or v == none then
    return tostring(v)
  elseif t == "table" then
    local m = getmetatable(v)
    if m == nil then
      return #v > 0 and list.format(v) or (next(v) == nil and "{}" or "a table")
    elseif type(m) == "table" and type(m.__name) == "string" and rawget(m, "__names") then
      return "the namespace " .. m.__name -- its text lists what is in it
    end
    return tostring(v)
  elseif t == "userdata" and pcall(function() return v.shape end) and v.shape then
    return "a tensor " .. tostring(v.shape)
  elseif t == "userdata" and tostring(v) == "tensor (released)" then
    return "a tensor that was released"
  end
  return "a " .. t
end

--- Whether `v` is a table without a metatable: options or a list, never an object.
function check.is_plain(v)
  return type(v) == "table" and getmetatable(v) == nil
end
local is_plain = check.is_plain

local function has_string_key(t)
  for k in pairs(t) do
    if type(k) == "string" then
      return true
    end
  end
  return false
end
check.has_string_key = has_string_key

--- A number as an integer if it is whole, else nil.
local function whole(v)
  return type(v) == "number" and math.tointeger(v) or nil
end
check.whole = whole

local function is_list(v)
  return type(v) == "table" and (getmetatable(v) == nil or list.is(v)) and v ~= none
end
check.is_list = is_list

-- A copy of what stands at positions: of a table with holes `#` may be any number.
local function positions(t)
  local out = {}
  for k, v in next, t do
    if math.type(k) == "integer" and k > 0 then
      out[k] = v
    end
  end
  return out
end

--- The first place of a list at which there is nothing while something stands behind it; nil where
--- the list is whole.
function check.hole(t)
  local n, top = 0, 0
  for k in next, t do
    if math.type(k) == "integer" and k > 0 then
      n = n + 1
      top = k > top and k or top
    end
  end
  if n ~= top then
    for i = 1, top do
      if rawget(t, i) == nil then
        return i
      end
    end
  end
end

-- Each type: function(value, row) -> converted value, or nil and what was expected.
local types = {}
check.types = types

function types.any(v)
  return v
end

-- What a method takes as it is: a tensor, numbers, anything; literal data in a table.
types.data = types.any

--- Whether the values of an option count from 1 in Tide: axes, and what its row says so of.
function check.counts(row)
  local t = row[2]
  for _, one in ipairs(type(t) == "table" and t or { t }) do
    if one == "axis" or one == "axes" then
      return true
    end
  end
  return row.counts or false
end

--- Whether `t` names a type, or several.
function check.is_type(t)
  return type(t) == "table" or types[t] ~= nil
end

local function limits(v, row)
  if not (row.min and v < row.min or row.max and v > row.max or row.above and v <= row.above
    or row.below and v >= row.below) then
    return v
  end
  local what = row[2] == "int" and "an integer" or "a number"
  if row.min and row.max then
    return nil, ("%s from %s to %s"):format(what, row.min, row.max)
  end
  local bounds = {}
  for _, bound in ipairs { { "min", "at least" }, { "above", "above" }, { "max", "at most" },
    { "below", "below" } } do
    if row[bound[1]] then
      bounds[#bounds + 1] = ("%s %s"):format(bound[2], row[bound[1]])
    end
  end
  return nil, what .. " " .. table.concat(bounds, " and ")
end

function types.int(v, row)
  local n = whole(v)
  if not n then
    return nil, "an integer"
  end
  return limits(n, row)
end

function types.number(v, row)
  if type(v) ~= "number" then
    return nil, "a number"
  end
  if v ~= v then
    return nil, "a number that is not NaN"
  end
  return limits(v, row)
end

function types.bool(v)
  if type(v) ~= "boolean" then
    return nil, "true or false"
  end
  return v
end

function types.string(v)
  if type(v) ~= "string" then
    return nil, "a string"
  end
  return v
end

function types.enum(v, row)
  if not row._set then
    row._set, row._names = {}, {}
    for name in row.of:gmatch("[^|]+") do
      row._set[name] = name
      row._names[#row._names + 1] = name
    end
  end
  local hit = type(v) == "string" and (row._set[v] or row._set[v:lower()])
  if hit then
    return hit
  end
  return nil, "'" .. table.concat(row._names, "', '") .. "'",
    type(v) == "string" and check.did_you_mean(v, row._names)
end

types["function"] = function(v)
  if type(v) ~= "function" then
    return nil, "a function"
  end
  return v
end

function types.callable(v)
  local m = getmetatable(v)
  if type(v) == "function" or (type(m) == "table" and m.__call) then
    return v
  end
  return nil, "a function or a callable object"
end

function types.table(v)
  if type(v) ~= "table" then
    return nil, "a table"
  end
  return v
end

function types.dict(v)
  if type(v) ~= "table" then
    return nil, "a table by name"
  end
  return v
end

function types.list(v)
  if not is_list(v) then
    return nil, "a list"
  end
  local hole = check.hole(v)
  if hole then
    return nil, "a list without holes", ("; entry %d is nil, leave it out"):format(hole)
  end
  return v
end

function types.shape(v)
  if not is_list(v) then
    return nil, "a shape, a list of sizes"
  end
  local out = {}
  for i = 1, #v do
    local n = v[i]
    if n ~= none and n ~= false then
      n = whole(n)
      if not n or n < -1 then
        return nil, "a shape, a list of sizes"
      end
      out[i] = n
    else
      out[i] = none
    end
  end
  return list.new(out)
end

--- One integer, or a list of `row.n` of them; one stands for all.
function types.ints(v, row)
  local n = row.n
  local what = n and n > 1 and ("an integer or a list of %d integers"):format(n)
    or "an integer or a list of integers"
  local low = row.min or 1
  if low > math.mininteger then
    what = what .. (", each at least %d"):format(low)
  end
  local one = whole(v)
  if one then
    if one < low then
      return nil, what
    end
    local out = {}
    for i = 1, n or 1 do
      out[i] = one
    end
    return list.new(out)
  end
  if not is_list(v) or (n and #v ~= n) then
    return nil, what
  end
  local out = {}
  for i = 1, #v do
    out[i] = whole(v[i])
    if not out[i] or out[i] < low then
      return nil, what
    end
  end
  return list.new(out)
end

--- An axis counted from 1, or from the end by negative numbers. `row.batch = false`: axis 1, the
--- batch, is refused.
function types.axis(v, row)
  local n = whole(v)
  if not n or n == 0 then
    if type(v) == "userdata" then
      return nil, "an axis", "; a call in the middle of arguments needs parentheses"
    end
    return nil, "an axis from 1, or negative from the end"
  end
  if row.batch == false and n == 1 then
    return nil, "an axis other than the batch; axis 1 is the batch, the first axis after it is 2"
  end
  return n
end

function types.axes(v, row)
  if type(v) == "number" then
    return types.axis(v, row)
  end
  if not is_list(v) then
    return nil, "an axis or a list of axes"
  end
  local out = {}
  for i = 1, #v do
    local a, why, hint = types.axis(v[i], row)
    if not a then
      return nil, why, hint
    end
    out[i] = a
  end
  return list.new(out)
end

function types.tensor(v, row)
  local t = type(v)
  local core = require "tide.core"
  local meta = t == "table" and getmetatable(v)
  if core.is_tensor(v) or meta and type(meta) == "table" and rawget(meta, "__tide_op") then
    return v
  elseif t == "number" or t == "boolean" or t == "table"
    and (meta == nil or list.is(v) and v ~= none) then
    return core.tensor(v, row.whole and { dtype = "int64" } or nil)
  end
  return nil, "a tensor"
end

local dtypes = { f16 = "float16", f32 = "float32", f64 = "float64", bf16 = "bfloat16", i8 = "int8",
  u8 = "uint8", i32 = "int32", i64 = "int64", bool = "bool" }
local dtype_names = { "float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32",
  "int64", "bool" }
for _, name in ipairs(dtype_names) do
  dtypes[name] = name
end

-- policy -> dtype of the computation, where that of the weights is float32
check.mixed = { mixed_float16 = "float16", mixed_bfloat16 = "bfloat16" }

--- The name of a policy: a dtype, or one of the mixed ones.
function types.policy(v)
  if check.mixed[v] then
    return v
  end
  local dtype, expected, near = types.dtype(v)
  return dtype, not dtype and "a policy: mixed_bfloat16, mixed_float16, or " .. expected or nil,
    near
end

function types.dtype(v)
  if dtypes[v] then
    return dtypes[v]
  end
  return nil, "a dtype: " .. table.concat(dtype_names, ", "),
    type(v) == "string" and check.did_you_mean(v, dtype_names)
end

--- The dtype of a model's input: of a tensor, or "string".
function types.input_dtype(v)
  if v == "string" then
    return v
  end
  local dtype, expected, near = types.dtype(v)
  return dtype, expected and expected .. ", string", near
end

--- Declares a type whose values are resolved by a namespace: names, configurations, objects,
--- functions.
--- @param name string the type
--- @param module string module with `get(value)` returning the object, or raising
function check.resolved(name, module)
  types[name] = function(v)
    return require(module).get(v)
  end
end

check.resolved("activation", "tide.activations")
check.resolved("initializer", "tide.initializers")
check.resolved("regularizer", "tide.regularizers")
check.resolved("constraint", "tide.constraints")
check.resolved("layer", "tide.layers")

local function convert(row, v)
  local t = row[2]
  if type(t) == "table" then
    local expected, hint = {}, nil
    for _, one in ipairs(t) do
      local ok, why, more = types[one](v, row)
      if ok ~= nil then
        return ok
      end
      expected[#expected + 1] = why
      hint = hint or more
    end
    return nil, table.concat(expected, " or "), hint
  end
  return types[t](v, row)
end

-- ---- argument tables ----

local Args = {}
Args.__index = Args

--- The argument tables made so far, by the name of what takes them; the first of a name. For
--- completion at the prompt.
check.tables = {}

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
  check.tables[owner] = check.tables[owner] or self
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
  for i, v in next, t do
    if math.type(i) == "integer" and i > 0 then
      self:_put(given, first + i - 1, v)
    elseif type(i) ~= "string" then
      errors.raise(self.owner, "options are named by strings (got the key %s)", check.show(i))
    end
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

-- An empty table with room for n names, so that it need not grow.
local function with_room(n)
  return n > 8 and { _1 = nil, _2 = nil, _3 = nil, _4 = nil, _5 = nil, _6 = nil, _7 = nil, _8 = nil,
    _9 = nil } or {}
end

--- Arguments of a constructor (interface §1) as a table of checked values.
function Args:construct(...)
  local n = select("#", ...)
  local given = with_room(#self.names)
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
    return tostring(a) < tostring(b)
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

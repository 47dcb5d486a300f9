--- What a layer is called on: what it may be, by what the layer's class says (`takes`), as tensors,
--- and its shapes.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local ops = require "tide.ops"
local strings = require "tide.strings"

local inputs = {}

local function number_table(t)
  local v = t[1]
  for _ = 1, 8 do -- axes that a tensor has at most; a table may hold itself
    if type(v) ~= "table" or getmetatable(v) ~= nil then
      break
    end
    v = v[1]
  end
  return type(v) == "number" or type(v) == "boolean"
end

-- ---- options of a call ----

local NONE = {}
local known_options = setmetatable({}, { __mode = "k" }) -- class -> set; false: any

-- The options that the class says, with its `call_options`, that the `call` beside it takes: name
-- -> true, false (not even where all do), or what to say of it. Of a person's own `call` nothing is
-- known.
local function options_of(class)
  local found = known_options[class]
  local c = found == nil and class or nil
  while c and found == nil do
    found = rawget(c, "call_options")
    if found == nil and rawget(c, "call") ~= nil then
      found = not c._custom and NONE
    end
    c = rawget(c, "super")
  end
  found = found == nil and NONE or found
  known_options[class] = found
  return found
end

--- Refuses options of a call, beside training, mask and cache, that the layer does not take.
--- @param o table the options as they were given, those that are inputs left out
function inputs.check_options(self, o)
  local known = options_of(getmetatable(self))
  for key in pairs(known and o or NONE) do
    if type(known[key]) == "string" then -- what is called so elsewhere
      errors.raise(self:_label(), "a call has no option '%s'; %s", key, known[key])
    end
    if key ~= "training" and key ~= "mask" and not known[key]
      and (key ~= "cache" or known.cache == false) then
      local names = { "training", "mask" }
      for name, takes in pairs(known) do
        names[#names + 1] = takes == true and name or nil
      end
      errors.raise(self:_label(), "a call has no option '%s'%s", tostring(key),
        check.did_you_mean(key, names))
    end
  end
end

-- ---- what it may be ----

-- What input number `i` may be. `takes` of a class says it: "tensor", "list" (of tensors),
-- "strings" (text, or a list of it, handed on as it is), "whole" (whole numbers), "values" (text or
-- whole numbers), "columns" (a list of values), "features" (a table by name of tensors, text and
-- lists of numbers), "images" (a tensor, or a table by name that the class reads by its `_read`),
-- nothing (anything but text); a table says it by the names of the inputs.
local function takes_of(self, i)
  local takes = self.takes
  if type(takes) == "table" then
    return takes[self._input_names[i]]
  end
  return takes
end

local taken = { tensor = "takes a tensor (got %s)", list = "takes a list of tensors (got %s)",
  strings = "takes a string or a list of strings (got %s)",
  whole = "takes a tensor of whole numbers (got %s)",
  values = "takes text or whole numbers (got %s)",
  columns = "takes a list of at least two columns, each text or whole numbers (got %s)",
  features = "takes a table of features by name (got %s)",
  images = "takes a tensor, or a table with images among it (got %s)" }
-- Which of them read text, beside "strings", and which read numbers as whole ones.
local reads_text = { values = true, columns = true, features = true }
local reads_whole = { whole = true, values = true, columns = true }

local function refuse_input(self, x, i)
  local what = check.show(x)
  if type(x) == "table" and getmetatable(x) == nil then
    what = #x > 0 and ("a list of %d"):format(#x) or next(x) == nil and "an empty list"
      or "a table by name"
  end
  local name = self._input_names and self._input_names[i]
  errors.raise(self:_label(), (name and name .. " " or "") .. taken[takes_of(self, i) or "tensor"],
    what)
end

inputs.takes, inputs.reads_text = takes_of, reads_text

-- Numbers as int64, which refuses what is none.
local function as_whole(x)
  return ops.convert_to_tensor(x, { dtype = "int64" })
end

local function all_whole(x, depth)
  depth = depth or 1
  if type(x) ~= "table" or depth > 8 then -- axes that a tensor has at most
    return math.type(x) == "integer"
  end
  for i = 1, #x do
    if not all_whole(x[i], depth + 1) then
      return false
    end
  end
  return true
end

-- Numbers with all their digits.
local function as_numbers(x)
  return ops.convert_to_tensor(x, { dtype = all_whole(x) and "int64" or "float64" })
end

--- Input number `i` of a layer: numbers and nested tables of numbers become tensors of the layer's
--- dtype; lists of tensors stay lists.
local function as_input(self, x, i, inside)
  if inside and inside > 8 then
    errors.raise(self:_label(), "takes lists that are nested no deeper than 8 (got %s)",
      check.show(x))
  end
  local t, takes = type(x), takes_of(self, i)
  if takes == "features" and not inside then
    if t ~= "table" or getmetatable(x) ~= nil or not check.has_string_key(x) then
      refuse_input(self, x, i)
    end
    local out = {}
    for k, v in pairs(x) do
      out[k] = (type(v) == "number" or type(v) == "table" and not strings.is(v))
        and as_numbers(list.is(v) and v:totable() or v) or as_input(self, v, i, 1)
    end
    return out
  elseif takes == "images" and check.is_plain(x) and check.has_string_key(x) then
    return self:_read(x)
  elseif takes == "columns" and not inside then
    if t ~= "table" or getmetatable(x) ~= nil or #x < 2 then
      refuse_input(self, x, i)
    end
    local out = {}
    for k, v in ipairs(x) do
      out[k] = as_input(self, v, i, 1)
    end
    return out
  elseif t == "userdata" and core.is_tensor(x)
    and (inside or takes ~= "list" and takes ~= "strings") then
    return x
  elseif reads_text[takes] and strings.is(x)
    or (takes == "strings" or takes == "values") and strings.is_empty(x) then
    return strings.check(x, self:_label())
  elseif reads_whole[takes] and (t == "number" or t == "table" and number_table(x)) then
    return as_whole(list.is(x) and x:totable() or x)
  elseif takes == "strings" then
    if not strings.is(x) then
      refuse_input(self, x, i)
    end
    return strings.check(x, self:_label())
  elseif self.is_model and not takes and strings.is(x) then -- its layers see to it
    return x
  elseif t == "number" or t == "boolean" then
    return ops.convert_to_tensor(x, { dtype = t == "number" and self.compute_dtype or nil })
  elseif t == "table" then
    if getmetatable(x) ~= nil and not list.is(x) then
      if takes then
        refuse_input(self, x, i)
      end
      return x
    elseif number_table(x) and (takes ~= "list" or inside) then
      return ops.convert_to_tensor(list.is(x) and x:totable() or x,
        { dtype = self.compute_dtype })
    elseif takes and (takes ~= "list" or inside or #x == 0) then
      refuse_input(self, x, i)
    end
    local out = {}
    for k, v in pairs(x) do
      out[k] = as_input(self, v, i, (inside or 0) + 1)
    end
    return out
  end
  refuse_input(self, x, i)
end
inputs.as_input = as_input

--- The shape of a tensor, or the shapes of a list or table of them.
local function shape_of(x)
  if type(x) == "userdata" then
    return list.copy(x.shape)
  elseif strings.is(x) then
    return strings.shape(x)
  elseif type(x) == "table" and getmetatable(x) == nil then
    local out = {}
    for k, v in pairs(x) do
      out[k] = shape_of(v)
    end
    return out
  end
  return x and x.shape
end
inputs.shape_of = shape_of

return inputs

--- What checkpoints keep of an object's fields: what its class declares (`_keeps`), checked as it
--- is read.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"

local kept = {}

--- Whether `a` is a tensor of the dtype and shape of the tensor `b`.
function kept.same_kind(a, b)
  return core.is_tensor(a) and core.is_tensor(b) and a.dtype == b.dtype and a.shape == b.shape
end
local same_kind = kept.same_kind

local function each(test)
  return function(v)
    if type(v) ~= "table" or v == none then
      return false
    end
    for _, x in pairs(v) do
      if not test(x) then
        return false
      end
    end
    return true
  end
end

-- A list of what passes.
local function list_of(test)
  local all = each(test)
  return function(v)
    if not all(v) then
      return false
    end
    local n = 0
    for k in pairs(v) do
      n = n + 1
      if math.type(k) ~= "integer" then
        return false
      end
    end
    return n == #v
  end
end

local function by_name(test)
  local all = each(test)
  return function(v)
    if not all(v) then
      return false
    end
    for k in pairs(v) do
      if type(k) ~= "string" then
        return false
      end
    end
    return true
  end
end

local function is(kind)
  return function(v)
    return type(v) == kind
  end
end

local function is_count(v)
  return math.type(v) == "integer" and v >= 0
end

-- Kind -> { test, its name }.
local KINDS = {
  number = { is "number", "a number" }, count = { is_count, "an integer from 0" },
  flag = { is "boolean", "true or false" }, string = { is "string", "a string" },
  names = { list_of(is "string"), "a list of strings" },
  numbers = { list_of(is "number"), "a list of numbers" },
  values = { by_name(is "number"), "numbers by name" },
  curves = { by_name(list_of(is "number")), "lists of numbers by name" },
  plain = { each(function(v) return type(v) ~= "table" and type(v) ~= "userdata" end),
    "a table of strings and numbers" },
  tensors = { list_of(core.is_tensor), "a list of tensors" },
  groups = { list_of(list_of(core.is_tensor)), "lists of tensors" },
}

--- What the class of an object says that it keeps (`_keeps`), and those of its bases: field ->
--- kind, a `?` behind it where the field may be absent, or { kind, like = function of the object
--- that gives the tensors whose shapes these have }. Then whether it keeps other fields as well, as
--- a person's class does.
--- @return table, boolean
function kept.of(object)
  local out, open = {}, false
  local c = getmetatable(object)
  while c do
    for name, kind in pairs(rawget(c, "_keeps") or {}) do
      out[name] = out[name] or kind
    end
    open = open or rawget(c, "_custom") or rawget(c, "_keeps_all") or false
    c = rawget(c, "super")
  end
  return out, open
end

-- Whether these tensors have the shapes and dtypes of those, lists in lists one by one.
local function alike(values, like)
  if #values ~= #like then
    return false
  end
  for i, v in ipairs(values) do
    if core.is_tensor(v) and not same_kind(v, like[i])
      or type(v) == "table" and #v > 0 and not alike(v, like[i]) then
      return false
    end
  end
  return true
end

--- Raises unless the fields of a file are what the object's class says.
--- @param values table field -> value
--- @param object table
--- @param where string the file
function kept.check(values, object, where)
  local kinds, open = kept.of(object)
  local owner = ("%s: %s"):format(where, getmetatable(object).__name)
  for _, name in ipairs(check.sorted_keys(kinds)) do
    local kind, like = kinds[name], nil
    if type(kind) == "table" then
      kind, like = kind[1], kind.like
    end
    local optional = kind:sub(-1) == "?"
    local rule, v = KINDS[optional and kind:sub(1, -2) or kind], values[name]
    if v == nil and not optional then
      errors.raise("fit", "%s: the field %s is missing (expected %s)", owner, name, rule[2])
    elseif v ~= nil and not rule[1](v) then
      errors.raise("fit", "%s: the field %s is damaged (expected %s, got %s)", owner, name, rule[2],
        check.show(v))
    elseif v ~= nil and like and not alike(v, like(object)) then
      errors.raise("fit", "%s: the field %s is damaged (expected %s of the shapes of the weights)",
        owner, name, rule[2])
    end
  end
  for name in pairs(values) do
    if not kinds[name] and not open then
      errors.raise("fit", "%s: there is no field %s", owner, check.show(name))
    end
  end
end

--- The names of an object's options and of what the loop sets, which a file does not hold.
function kept.options_of(v)
  local out = { model = true, params = true }
  local args = getmetatable(v).args
  for name in pairs(args and args.names or {}) do
    out[name] = true
  end
  return out
end

--- What is left out of an object's fields in files: options, what the loop sets, and of classes
--- that say what they keep, all else.
function kept.left_out(object)
  local kinds, open = kept.of(object)
  local out = kept.options_of(object)
  for name in next, object do
    out[name] = out[name] or not open and not kinds[name] or nil
  end
  return out
end

return kept

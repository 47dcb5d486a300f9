--- Data of several parts: a tensor or text, a list of them, or a table by name. Flattened in order
--- (names sorted, or in the order that is given) and put together again.
local check = require "tide.check"
local errors = require "tide.errors"
local none = require "tide.none"
local strings = require "tide.strings"
local tensors = require "tide.training.tensors"

local structure = {}

-- Whether a table holds numbers or booleans, and no parts of which `false` is one that is missing.
local function is_numbers(v)
  local first = v[1]
  if first == false then
    for i = 2, #v do
      if type(v[i]) == "userdata" or type(v[i]) == "table" then
        return false
      end
    end
  end
  for _ = 1, 8 do -- axes that a tensor has at most; a table may hold itself
    if type(first) ~= "table" then
      break
    end
    first = first[1]
  end
  return type(first) == "number" or type(first) == "boolean"
end

--- "leaf" (a tensor, a nested table of numbers, or text: strings or lists of them), "list", "dict",
--- "other", or nil for nil and false.
--- @param order table|nil names of the parts: where they are several, a list of as many texts is no
--- text with one axis more
function structure.kind(v, order)
  local t = type(v)
  if v == nil or v == false or v == none then
    return nil
  elseif t == "userdata" or t == "number" or t == "boolean" or t == "string" then
    return "leaf"
  elseif t ~= "table" then
    return "other"
  elseif v[1] == nil and next(v) ~= nil then
    return "dict"
  elseif is_numbers(v) then
    return "leaf"
  elseif strings.is(v) then
    return order and #order > 1 and #v == #order and type(v[1]) == "table" and "list" or "leaf"
  end
  return "list"
end

--- Names of a table by name, sorted; or `order` if it names the same.
function structure.names(t, order)
  local names = check.sorted_keys(t)
  if order and #order == #names then
    for _, name in ipairs(order) do
      if t[name] == nil then
        return names
      end
    end
    return order
  end
  return names
end

-- A part as a tensor, or the text that it is.
local function leaf(v, what)
  return strings.is(v) and strings.check(v, what) or tensors.of(v, nil, what)
end

--- How many samples a part has; nil where it has no axis of samples.
function structure.samples(v)
  if type(v) == "userdata" then
    return v.ndim > 0 and v.shape[1] or nil
  end
  return type(v) == "table" and #v or nil
end

--- Samples first..last of a part.
function structure.slice(v, first, last)
  return type(v) == "table" and strings.rows(v, first, last - first + 1) or v[{ { first, last } }]
end

--- The leaves as a list of tensors and texts, and what `pack` needs to put them together again.
--- `false` and none in a list are parts that are missing: `false` among the leaves.
--- @param what string names the data in errors
--- @param order table|nil names of the parts in order
function structure.flatten(v, what, order)
  local kind = structure.kind(v, order)
  if kind == nil then
    return {}, nil
  elseif kind == "leaf" or kind == "other" then
    return { leaf(v, what) }, "leaf"
  elseif kind == "list" then
    local out = {}
    for i = 1, #v do
      out[i] = structure.kind(v[i]) ~= nil and leaf(v[i], what)
    end
    return out, "list"
  end
  local names, out = structure.names(v, order), {}
  for i, name in ipairs(names) do
    if type(name) ~= "string" then
      errors.raise(what, "a table by name has the key %s", tostring(name))
    end
    out[i] = leaf(v[name], what)
  end
  return out, names
end

--- Leaves put together as `flatten` found them.
function structure.pack(leaves, plan)
  if plan == nil then
    return nil
  elseif plan == "leaf" then
    return leaves[1]
  elseif plan == "list" then
    return table.move(leaves, 1, #leaves, 1, {})
  end
  local out = {}
  for i, name in ipairs(plan) do
    out[name] = leaves[i]
  end
  return out
end

--- The first part of a structure, or nil.
function structure.first(v, order)
  if type(v) == "userdata" or strings.is(v) then
    return v
  elseif type(v) == "table" then
    if v[1] ~= nil then
      return v[1]
    end
    return v[structure.names(v, order)[1]]
  end
end

return structure

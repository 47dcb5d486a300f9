--- What `adapt` learns from: a tensor or text, a list of batches, a data set, or a function that
--- gives batches; one batch after the other.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local ops = require "tide.ops"
local strings = require "tide.strings"

local sources = {}

local adapt_args = check.args("adapt", {
  { "data", "any", check.required, "a tensor or text, batches in a list, a data set, a function" },
  { "steps", "int", nil, "most batches to look at", min = 1 },
})

-- One batch as it is read.
local function batch_of(x, kind)
  if kind == "text" or kind == "lines" then
    if strings.is(x) then
      return strings.check(x, "adapt")
    end
  elseif core.is_tensor(x) then
    return x
  elseif type(x) == "number" or type(x) == "table" and not strings.is(x)
    and (getmetatable(x) == nil or list.is(x)) then
    return ops.convert_to_tensor(list.is(x) and x:totable() or x,
      { dtype = kind == "whole" and "int64" or nil })
  end
  errors.raise("adapt", "a batch must be %s (got %s)",
    (kind == "text" or kind == "lines") and "text" or kind == "whole" and "whole numbers"
      or "a tensor", check.show(x))
end
sources.batch_of = batch_of

-- Whether text stands in one row, (batch) or (batch, 1).
local function is_row(data)
  local first = strings.is(data) and data[1]
  local deep = type(first) == "table"
  for i = 1, deep and #data or 0 do
    deep = deep and type(data[i]) == "table" and #data[i] == 1 and type(data[i][1]) == "string"
  end
  return first and (type(first) ~= "table" or deep)
end

-- Whether a plain list is one batch by itself.
local function is_one(data, kind)
  return data[1] ~= nil and not core.is_tensor(data[1]) and type(data[1]) ~= "table"
    or kind == "text" and strings.is(data) or kind == "lines" and is_row(data)
end

--- An iterator over the batches, and whether they stream (from a data set or a function); raises
--- where there is none.
--- @param data any
--- @param o table|nil steps
--- @param kind string "tensors", "whole" (whole numbers), "text" or "lines" (text in one row)
function sources.batches(data, o, kind)
  o = adapt_args:call(data, o)
  local next_one
  if core.is_tensor(data) or type(data) == "string" then
    data = { data }
  elseif type(data) == "table" and type(data.iter) == "function" then
    next_one = data:iter()
  elseif type(data) == "table" and is_one(data, kind) then
    data = { data }
  elseif type(data) == "table" and type(data[1]) == "table" and not strings.is(data[1])
    and not core.is_tensor(data[1][1]) then
    data = { data } -- numbers in lists
  elseif type(data) ~= "table" and type(data) ~= "function" then
    errors.raise("adapt", "the data must be a tensor, a list of batches, or an iterator of \z
      batches (got %s)", check.show(data))
  end
  local i, steps = 0, o.steps or math.huge
  if type(data) == "function" then
    next_one = data
  end
  return function()
    i = i + 1
    if i > steps then
      return nil
    end
    local x
    if next_one then
      x = next_one()
    else
      x = data[i]
    end
    if x == nil then
      if i == 1 then
        errors.raise("adapt", "the data hold no batch")
      end
      return nil
    end
    return batch_of(x, kind)
  end, next_one ~= nil
end

return sources

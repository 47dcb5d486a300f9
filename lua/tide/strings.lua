--- Text as a part of data: a string, or a list of strings, whose first axis is that of the samples;
--- lists of such lists have more axes. There are no tensors of strings: layers that say
--- `takes = "strings"` read them, models and data hand them on.
---
---     require("tide.strings").shape { "to", "be" }   --> { 2 }
local errors = require "tide.errors"
local list = require "tide.list"

local strings = {}

local DEEPEST = 8 -- axes; a table may hold itself

--- Whether a value is text: a string, or a list whose first element is text.
function strings.is(v)
  for _ = 1, DEEPEST do
    if type(v) ~= "table" or getmetatable(v) ~= nil and not list.is(v) then
      break
    end
    v = v[1]
  end
  return type(v) == "string"
end

--- Whether a value is a list of no text: an empty one, or lists of such.
function strings.is_empty(v)
  for _ = 1, DEEPEST do
    if type(v) ~= "table" or getmetatable(v) ~= nil and not list.is(v) then
      return false
    elseif next(v) == nil or list.is(v) and #v == 0 then
      return true
    end
    v = v[1]
  end
  return false
end

--- The text of a file without the mark of UTF-8 that some editors put in front of it.
function strings.without_mark(s)
  return (s:gsub("^\xef\xbb\xbf", ""))
end

--- The shape of text, by its first elements.
--- @return table list
function strings.shape(v)
  local out = {}
  while type(v) == "table" do
    out[#out + 1] = #v
    v = v[1]
  end
  return list.new(out)
end

local function check_level(v, shape, depth, what)
  for i = 1, #v do
    local x = v[i]
    local as_text = depth == #shape
    if as_text ~= (type(x) == "string")
      or not as_text and (type(x) ~= "table" or #x ~= shape[depth + 1]) then
      errors.raise(what, "text must be strings in lists of one length (expected %s, got %s at \z
        position %d)", as_text and "a string" or ("a list of %d"):format(shape[depth + 1]),
        type(x) == "table" and ("a list of %d"):format(#x) or type(x) == "string" and "a string"
          or tostring(x), i)
    elseif not as_text then
      check_level(x, shape, depth + 1, what)
    end
  end
end

--- The text itself, if all of it is strings and lists of one length; raises otherwise.
--- @param what string names it in the error
function strings.check(v, what)
  if type(v) == "table" then
    check_level(v, strings.shape(v), 1, what)
  end
  return v
end

--- Samples first..first + count - 1, or those with the numbers that stand there in `order`.
--- @param order table|nil list of sample numbers
function strings.rows(v, first, count, order)
  if not order then
    return table.move(v, first, first + count - 1, 1, {})
  end
  local out = {}
  for i = 1, count do
    out[i] = v[order[first + i - 1]]
  end
  return out
end

--- Batches of text as one.
function strings.join(batches)
  local out = {}
  for _, b in ipairs(batches) do
    table.move(b, 1, #b, #out + 1, out)
  end
  return out
end

--- Some text of this shape.
function strings.sample(shape, depth)
  depth = depth or 1
  if depth > #shape then
    return "a"
  end
  local out = {}
  for i = 1, shape[depth] do
    out[i] = strings.sample(shape, depth + 1)
  end
  return out
end

-- Text with a last axis of 1 more, or less.
local function with_last(v, more)
  if type(v) == "string" then
    return { v }
  elseif not more and type(v[1]) == "string" then
    return v[1]
  end
  local out = {}
  for i, x in ipairs(v) do
    out[i] = with_last(x, more)
  end
  return out
end

--- Text in the rank of a model's input: a last axis of 1 is added or taken away, as for tensors;
--- nil where that does not give the rank.
--- @param want table shape of the input
function strings.in_rank(v, want)
  local shape, rank = strings.shape(v), #want
  if #shape == rank then
    return v
  elseif #shape > 0 and #shape == rank - 1 and want[rank] == 1 then
    return with_last(v, true)
  elseif #shape == rank + 1 and shape[#shape] == 1 then
    return with_last(v, false)
  elseif #shape == rank + 1 and shape[1] == 1 then
    return v[1]
  end
end

return strings

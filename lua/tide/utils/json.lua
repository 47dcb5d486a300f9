--- JSON: strict on reading (no duplicate keys, bounded depth and size), sorted keys on writing;
--- null is tide.none.
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"

local json = {}

--- Text of a value: tables with elements 1..n are arrays, others objects.
--- @param v any
--- @return string
function json.encode(v)
  return core.json_encode(v, none)
end

--- Text of a value for a file: raises where json.decode would refuse it, for its depth or its size.
--- @param v any
--- @param what string names the text in errors
--- @return string
function json.written(v, what)
  local text = json.encode(v)
  json.decode(text, what)
  return text
end

-- Why JSON does not have a value, or nil; not of what is inside a table.
local function refused(v)
  local t = math.type(v) or type(v)
  if t == "function" then
    return "a Lua function"
  elseif t == "float" and (v ~= v or v == math.huge or v == -math.huge) then
    return "the number " .. v
  elseif t == "string" and not utf8.len(v) then
    return "a string that is not UTF-8"
  elseif t == "table" and v ~= none then
    local keys, strings = 0, 0
    for k in pairs(v) do
      keys = keys + 1
      strings = strings + (type(k) == "string" and 1 or 0)
    end
    if strings < keys and (strings > 0 or keys ~= #v) then
      return "a table with holes, or with positions and names"
    end
  elseif t == "userdata" or t == "thread" then
    return "a " .. t
  end
end

--- The first value that JSON does not have, depth first in sorted order: its path and what it is;
--- nil where there is none.
--- @param v any
--- @param at string|nil the path of `v` itself
--- @return string|nil path
--- @return string|nil what
function json.unwritable(v, at)
  local why = refused(v)
  if why then
    return at or "", why
  elseif type(v) ~= "table" or v == none then
    return nil
  end
  local keys = {}
  for k in pairs(v) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, k in ipairs(keys) do
    local path, what = json.unwritable(v[k], at and at .. "." .. k or tostring(k))
    if path then
      return path, what
    end
  end
end

--- Raises where the configuration of a model holds what a file cannot.
--- @param v any the configuration
--- @param label string the model, in the message
function json.check(v, label)
  local at, what = json.unwritable(v)
  if at then
    errors.raise("save", "%s holds %s (%s), which a file cannot hold%s", label, what, at,
      what == "a Lua function" and "; use a name, or a class made with extend" or "")
  end
end

--- The value that a text holds; raises for what is not JSON.
--- @param text string
--- @param what string|nil names the text in errors
function json.decode(text, what)
  return core.json_decode(text, none, what)
end

return json

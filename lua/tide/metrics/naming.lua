--- The names of functions that are metrics: Python's functions know theirs, Lua's stand in
--- variables. A function is named after the variable or field that holds it where compile is
--- called: a local or an upvalue of the callers, a field of a table in one, a global.
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"

local naming = {}

local known = setmetatable({}, { __mode = "k" }) -- function -> name
local MANY = 512 -- fields of a table that are looked at

-- The least name of a field of a table that holds `f`.
local function field_of(t, f)
  local best, n = nil, 0
  for k, v in next, t do
    n = n + 1
    if rawequal(v, f) and type(k) == "string" and (not best or k < best) then
      best = k
    elseif n > MANY then
      break
    end
  end
  return best
end

-- The name under which one variable holds `f`, directly or in a table.
local function held(name, v, f)
  if rawequal(v, f) then
    return name:sub(1, 1) ~= "(" and name or nil
  end
  return type(v) == "table" and (check.is_plain(v) or name == "_ENV") and field_of(v, f) or nil
end

local function among_variables(get, a, f)
  local inside
  for i = 1, 255 do
    local name, v = get(a, i)
    if not name then
      break
    elseif rawequal(v, f) and name:sub(1, 1) ~= "(" then
      return name
    end
    inside = inside or held(name, v, f)
  end
  return inside
end

local function search(f)
  if not debug then
    return nil
  end
  local level = 3
  while true do
    local info = debug.getinfo(level, "fS")
    if not info then
      return nil
    elseif not errors.is_own_source(info.source) and info.what ~= "C" then
      local name = among_variables(function(l, i) return debug.getlocal(l + 2, i) end, level, f)
        or among_variables(debug.getupvalue, info.func, f)
      if name then
        return name
      end
    end
    level = level + 1
  end
end

--- Notes the names of the functions among what compile was given, as long as the variables can be
--- seen.
--- @param given any a function, or lists and tables of them
function naming.note(given, depth)
  depth = depth or 1
  if type(given) == "function" then
    known[given] = known[given] or search(given)
  elseif type(given) == "table" and depth < 4 and (check.is_plain(given) or list.is(given)) then
    for _, v in next, given do
      naming.note(v, depth + 1)
    end
  end
end

--- The name that was noted for a function; nil where none was found.
function naming.of(f)
  return known[f]
end

return naming

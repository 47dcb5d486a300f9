--- The lists that Tide returns (shapes, layers, history): ordinary Lua sequences that also take
--- negative indices, print,
-- and compare by value with `==`.
local none = require "tide.none"
local printable = require "tide.printable"

local list = {}

local meta = { __name = "tide.list", __tide_list = true }
list.meta = meta

local methods = {}

function meta.__index(t, k)
  if math.type(k) == "integer" and k < 0 then
    return rawget(t, #t + 1 + k)
  end
  return methods[k]
end

function meta.__call(t)
  local name = debug and debug.getinfo(1, "n").name -- nil of a tail call
  require("tide.errors").raise("list", "%s is a field and cannot be called (it is %s); write x.%s \z
    without ()", name or "this", tostring(t), name or "shape")
end

function meta.__eq(a, b)
  if rawequal(a, none) or rawequal(b, none) or #a ~= #b then
    return false
  end
  for i = 1, #a do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end

--- A number by a format of string.format, with a point in every locale.
function list.number(fmt, v)
  return (fmt:format(v):gsub("[^%w%.+-]+", "."))
end

local function show(v, depth)
  if type(v) == "string" then
    return string.format("%q", printable.text(v))
  elseif type(v) == "table" and getmetatable(v) == nil then
    return list.format(v, depth + 1)
  elseif math.type(v) == "float" then
    return list.number("%.6g", v)
  end
  return tostring(v)
end

--- A sequence as text: `[1, 2, none]`. What is nested deeper than eight lists (or in itself) is
--- left out.
function list.format(t, depth)
  depth = depth or 1
  if depth > 8 then
    return "[...]"
  end
  local out, n = {}, #t
  for i = 1, n > 1000000 and 8 or n do -- a table with holes may have any length
    out[i] = show(t[i], depth)
  end
  if #out < n then
    out[#out + 1] = "..."
  end
  return "[" .. table.concat(out, ", ") .. "]"
end

meta.__tostring = list.format

function meta.__concat(a, b)
  return tostring(a) .. tostring(b)
end

--- A plain Lua copy of the list.
function methods:totable()
  return table.move(self, 1, #self, 1, {})
end

--- Turns a sequence into a list, in place.
--- @param t table|nil a sequence; a new one when left out
--- @return table t
function list.new(t)
  return setmetatable(t or {}, meta)
end

--- A list holding a copy of the sequence `t`.
function list.copy(t)
  return setmetatable(table.move(t, 1, #t, 1, {}), meta)
end

local dict = { __name = "tide.dict" }

function dict.__tostring(t)
  local names, out = {}, {}
  for k in pairs(t) do
    names[#names + 1] = tostring(k)
  end
  table.sort(names)
  for i, k in ipairs(names) do
    out[i] = k .. " = " .. show(t[k], 1)
  end
  return "{ " .. table.concat(out, ", ") .. " }"
end

--- Values by name that print in the order of their names: metrics, logs.
--- @param t table string keys
--- @return table t
function list.dict(t)
  return setmetatable(t, dict)
end

--- Whether `v` is a list made by this module.
function list.is(v)
  return getmetatable(v) == meta
end

--- Whether two sequences hold equal elements, nested sequences included.
function list.equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" or a == none or b == none then
    return a == b
  end
  if #a ~= #b then
    return false
  end
  for i = 1, #a do
    if not list.equal(a[i], b[i]) then
      return false
    end
  end
  return true
end

list.meta = meta

return list

--- JSON: strict on reading (no duplicate keys, bounded depth and size), sorted keys on writing; null is tide.none.
local core = require "tide.core"
local none = require "tide.none"

local json = {}

--- Text of a value: tables with elements 1..n are arrays, others objects.
--- @param v any
--- @return string
function json.encode(v)
  return core.json_encode(v, none)
end

--- The value that a text holds; raises for what is not JSON.
--- @param text string
--- @param what string|nil names the text in errors
function json.decode(text, what)
  return core.json_decode(text, none, what)
end

return json

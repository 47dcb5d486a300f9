--- Files by patterns: `*` and `?` stand for characters of one name, `[a-z]` for one of a set.
local core = require "tide.core"
local errors = require "tide.errors"

local listing = {}

-- A pattern of one name as a pattern of Lua's.
local function to_lua(name)
  local out, i = { "^" }, 1
  while i <= #name do
    local c = name:sub(i, i)
    local close = c == "[" and name:find("]", i + 2, true)
    if c == "*" then
      out[#out + 1] = ".*"
    elseif c == "?" then
      out[#out + 1] = "."
    elseif c == "\\" and i < #name then
      i = i + 1
      out[#out + 1] = "%" .. name:sub(i, i)
    elseif close then
      local set = name:sub(i + 1, close - 1):gsub("^!", "^"):gsub("[%%%]]", "%%%0")
      out[#out + 1] = "[" .. set .. "]"
      i = close
    else
      out[#out + 1] = c:find "%w" and c or "%" .. c
    end
    i = i + 1
  end
  out[#out + 1] = "$"
  return table.concat(out)
end

--- Paths of files that fit, sorted name by name. A path without signs is itself, if it is there.
--- @param pattern string
--- @param where string names what asks, in errors
function listing.glob(pattern, where)
  if pattern == "" then
    errors.raise(where, "the pattern is empty (expected a path)")
  end
  if not pattern:find "[%*%?%[]" then
    return core.file_exists(pattern) and { pattern } or {}
  end
  local found = { pattern:sub(1, 1) == "/" and "/" or "" }
  local parts = {}
  for part in pattern:gmatch "[^/]+" do
    parts[#parts + 1] = part
  end
  for depth, part in ipairs(parts) do
    local last, out = depth == #parts, {}
    for _, folder in ipairs(found) do
      if not part:find "[%*%?%[]" then
        if not last or core.file_exists(folder .. part) then
          out[#out + 1] = folder .. part .. (last and "" or "/")
        end
      else
        local lua = to_lua(part)
        local ok, names, kinds = pcall(core.listdir, folder == "" and "." or folder, where)
        for i, name in ipairs(ok and names or {}) do
          local fits = name:find(lua) and (name:sub(1, 1) ~= "." or part:sub(1, 1) == ".")
          if fits and (last and kinds[i] ~= "directory" or not last and kinds[i] ~= "file") then
            out[#out + 1] = folder .. name .. (last and "" or "/")
          end
        end
      end
    end
    found = out
  end
  return found
end

return listing

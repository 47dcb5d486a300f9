--- What the terminal can show.
local core = require "tide.core"

local screen = {}

--- Whether the locale says UTF-8; elsewhere pictures are made of plain characters.
--- @param env function|nil name -> value, os.getenv by default
function screen.utf8(env)
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local v = (env or os.getenv)(name)
    if v and v ~= "" then
      return v:lower():gsub("-", ""):find("utf8", 1, true) ~= nil
    end
  end
  return false
end

--- Columns of the terminal that standard output is; nil where it is none.
function screen.columns()
  local is, columns = core.terminal(1)
  return is and columns or nil
end

return screen

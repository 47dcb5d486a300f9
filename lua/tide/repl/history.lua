--- The history of the prompt: a private file in $XDG_STATE_HOME/tide, one entry a line, blocks as
--- one entry. Sessions append under a lock, so that two of them keep each other's lines.
local core = require "tide.core"

local history = {}

local limit = 10000

--- Where the history stands: $XDG_STATE_HOME/tide/history, or ~/.local/state/tide/history. nil
--- without a home.
---@return string|nil path
---@return string|nil folder
function history.path()
  local state = os.getenv "XDG_STATE_HOME"
  if not state or not state:find "^/" then
    local home = os.getenv "HOME"
    if not home or home == "" then
      return nil
    end
    state = home .. "/.local/state"
  end
  return state .. "/tide/history", state .. "/tide"
end

local function escaped(entry)
  return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n"))
end

local function plain(line)
  return (line:gsub("\\(.)", function(c)
    return c == "n" and "\n" or c
  end))
end

--- Reads the entries, oldest first; cuts the file when it has grown past twice the limit.
---@return string[]
function history.load()
  local path = history.path()
  local ok, text = pcall(core.read_file, path or "")
  if not ok then
    return {}
  end
  local entries = {}
  for line in text:gmatch "[^\n]+" do
    entries[#entries + 1] = plain(line)
  end
  local surplus = #entries - limit
  if surplus > 0 then
    entries = table.move(entries, surplus + 1, #entries, 1, {})
    if surplus > limit then
      local lines = {}
      for i, entry in ipairs(entries) do
        lines[i] = escaped(entry) .. "\n"
      end
      pcall(core.write_file, path, table.concat(lines)) -- a full disk: it is cut another time
    end
  end
  return entries
end

--- Adds an entry to the file. Returns nil and why when that is not possible.
---@param terminal table
---@param entry string
function history.append(terminal, entry)
  local path, folder = history.path()
  if not path then
    return nil, "no home folder"
  end
  local ok, why = terminal.makedirs(folder)
  if not ok then
    return nil, why
  end
  return terminal.append(path, escaped(entry) .. "\n")
end

return history

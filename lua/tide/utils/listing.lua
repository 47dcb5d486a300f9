--- Files of folders: by patterns (`*` and `?` stand for characters of one name, `[a-z]` for one of
--- a set), and by endings, in Keras' order: folder by folder by their paths, names sorted by bytes.
local check = require "tide.check"
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

-- Leaves those of a folder's paths in the list whose names, from `at` on, fit a pattern: files
-- where they are the last part, else folders. `kinds`: a letter of each.
local function fitting(paths, kinds, at, pattern, dotted, last)
  local n, unfit = 0, last and 100 or 102 -- d: no folder; f: no file
  for i = 1, #paths do
    local path = paths[i]
    if path:find(pattern, at) and (dotted or path:byte(at) ~= 46) and kinds:byte(i) ~= unfit then
      n = n + 1
      paths[n] = path
    end
  end
  for i = #paths, n + 1, -1 do
    paths[i] = nil
  end
end

--- Paths of files that fit, sorted name by name. A path without signs is itself, if it is there.
--- @param pattern string
--- @param where string names what asks, in errors
function listing.glob(pattern, where)
  if type(pattern) ~= "string" then
    errors.raise(where, "a pattern must be a string (got %s)", check.show(pattern))
  elseif pattern == "" then
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
        local ok, paths, kinds = pcall(core.listdir, folder == "" and "." or folder, where, folder)
        fitting(ok and paths or {}, kinds, #folder + 1, lua, part:sub(1, 1) == ".", last)
        if #found == 1 and last then -- perhaps very many: no list beside it
          out = ok and paths or {}
        else
          for _, path in ipairs(ok and paths or {}) do
            out[#out + 1] = last and path or path .. "/"
          end
        end
      end
    end
    found = out
  end
  return found
end

--- Of a pattern with signs in its last name alone: the paths that fit in one block (core.names_at),
--- and how many; nil of others. A million paths are no million strings so.
function listing.block(pattern, where)
  local folder, name = pattern:match "^(.*/)([^/]+)$"
  folder, name = folder or "", name or pattern
  if folder:find "[%*%?%[]" or not name:find "[%*%?%[]" then
    return nil
  end
  local ok, block = pcall(core.names_list, folder == "" and "." or folder, where, folder)
  if not ok then
    return nil
  end
  local lua, at, dotted = to_lua(name), #folder + 1, name:sub(1, 1) == "."
  return block, core.names_keep(block, function(path, kind)
    return kind ~= "d" and kind ~= "l" and path:find(lua, at) ~= nil
      and (dotted or path:byte(at) ~= 46)
  end)
end

-- ---- by endings ----

--- Whether a name ends in one of `endings`, in upper or lower case.
function listing.ends(name, endings)
  name = name:lower()
  for _, e in ipairs(endings) do
    if name:sub(-#e) == e then
      return true
    end
  end
  return false
end

local function hidden(name)
  return name:sub(1, 1) == "."
end

--- Names of the folders in a folder, sorted; links to folders are folders, hidden ones are not.
function listing.folders(root, where)
  local names = {}
  local entries, kinds = core.listdir(root, where)
  for i, name in ipairs(entries) do
    if not hidden(name) and (kinds[i] == "directory" or kinds[i] == "link") then
      names[#names + 1] = name
    end
  end
  return names
end

--- Files below `root` as paths relative to it, with a slash in front. Links to folders are entered
--- if asked, hidden folders are not.
--- @param other table|nil endings that are counted
--- @return table, integer how many end in one of `other`, string|nil the first of them
function listing.below(root, endings, follow_links, where, other)
  local folders, out, left, first = {}, {}, 0, nil
  local function walk(sub, depth)
    local names, kinds = core.listdir(root .. sub, where)
    folders[#folders + 1] = { sub, names, kinds }
    for i, name in ipairs(names) do
      if (kinds[i] == "directory" or (kinds[i] == "link" and follow_links)) and depth < 64
        and not hidden(name) then
        walk(sub .. "/" .. name, depth + 1)
      end
    end
  end
  walk("", 0)
  table.sort(folders, function(a, b)
    return a[1] < b[1]
  end)
  for _, f in ipairs(folders) do
    for i, name in ipairs(f[2]) do
      if f[3][i] == "file" and listing.ends(name, endings) then
        out[#out + 1] = f[1] .. "/" .. name
      elseif other and f[3][i] == "file" and listing.ends(name, other) then
        left, first = left + 1, first or f[1] .. "/" .. name
      end
    end
  end
  return out, left, first
end

return listing

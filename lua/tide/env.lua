--- The globals that Tide's modules see: those that were there when Tide was loaded. Hosts take
--- `require`, `io`, `os` and others away from their scripts afterwards, as games and editors do;
--- what is loaded later must still find them.
--
-- A searcher of its own loads the modules named `tide.*` in this environment: from the folder that
-- this file stands in, then from the entries of `package.path` and `package.cpath`. Lua's default
-- entries for the working folder are left out, for anybody's files may lie there; all else about
-- `require` stays as it is. What a host may replace on purpose (`print`) is looked up in the
-- host's globals.
local _, file = ...

local env = setmetatable({}, { __index = _G })
for name in ([[require io os package debug load loadfile dofile collectgarbage assert error
  getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset select setmetatable tonumber
  tostring type xpcall coroutine math string table utf8]]):gmatch "%w+" do
  env[name] = _G[name]
end

local package, loadfile, error, ipairs, pcall = package, loadfile, error, ipairs, pcall
local concat, type = table.concat, type

local folder = type(file) == "string" and file:match "^(.*)tide[/\\]env%.lua$"
local own = folder and ("%s?.lua;%s?/init.lua;"):format(folder, folder) or ""

local in_working_folder = { ["./?.lua"] = true, ["./?/init.lua"] = true, ["./?.so"] = true }

-- The entries of a path that lead elsewhere than Lua's default ones for the working folder.
local function elsewhere(path)
  local kept = {}
  for entry in path:gmatch "[^;]+" do
    kept[#kept + 1] = not in_working_folder[entry] and entry or nil
  end
  return concat(kept, ";")
end

local function not_loaded(name, path, message)
  error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, message), 0)
end

local function not_found(name, tried)
  error(("module '%s' not found:\n\t%s"):format(name, tried), 0)
end

local search

-- What the searchers behind this one find: the standard ones, and a host's own. nil, text: nothing.
local function behind(name)
  local past, tried = false, {}
  for _, searcher in ipairs(package.searchers) do
    local loader, extra
    if past then
      loader, extra = searcher(name)
    end
    if type(loader) == "function" then
      return loader, extra
    end
    tried[#tried + 1] = loader
    past = past or searcher == search
  end
  return nil, concat(tried, "\n\t")
end

local function core(name)
  local path, tried = package.searchpath(name, elsewhere(package.cpath))
  if not path then
    not_found(name, tried)
  end
  local open, message = package.loadlib(path, "luaopen_tide_core")
  return open or not_loaded(name, path, message), path
end

function search(name)
  if name ~= "tide" and name:sub(1, 5) ~= "tide." or not loadfile then
    return nil
  elseif name == "tide.core" then
    return core(name)
  end
  local path, cpath = package.path, package.cpath
  local found = package.searchpath(name, own .. elsewhere(path))
  if found then
    local chunk, message = loadfile(found, "bt", env)
    return chunk or not_loaded(name, found, message), found
  end
  package.path, package.cpath = elsewhere(path), elsewhere(cpath)
  local ok, loader, extra = pcall(behind, name)
  package.path, package.cpath = path, cpath
  if not ok then
    error(loader, 0)
  end
  return loader or not_found(name, extra), extra
end

-- Behind package.preload; loaded again, it takes its own place.
local searchers = package.searchers
for i, searcher in ipairs(searchers) do
  if searcher == searchers.tide then
    searchers[i], searchers.tide = search, search
  end
end
if searchers.tide ~= search then
  table.insert(searchers, 2, search)
  searchers.tide = search
end

return env

--- The globals that Tide's modules see: those that were there when Tide was loaded. Hosts take
--- `require`, `io`, `os` and others away from their scripts afterwards, as games and editors do;
--- what is loaded later must still find them.
--
-- A searcher of its own loads the modules named `tide.*` in this environment, from where
-- `package.path` has them; all else about `require` stays as it is. What a host may replace on
-- purpose (`print`) is looked up in the host's globals.
local env = setmetatable({}, { __index = _G })
for name in ([[require io os package debug load loadfile dofile collectgarbage assert error
  getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset select setmetatable tonumber
  tostring type xpcall coroutine math string table utf8]]):gmatch "%w+" do
  env[name] = _G[name]
end

local package, loadfile, error = package, loadfile, error

local function search(name)
  if name:sub(1, 5) ~= "tide." or not loadfile then
    return nil
  end
  local path = package.searchpath(name, package.path)
  if not path then
    return nil -- the searchers behind say where they looked
  end
  local chunk, message = loadfile(path, "bt", env)
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, message), 0)
  end
  return chunk, path
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

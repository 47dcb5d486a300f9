-- Runs before the specs. Loads Tide and its core once: busted unloads what a spec file loads, and a second copy of the Lua
-- modules beside the one C module would make classes of the same name that are not the same. What does not load here fails
-- in the specs that need it, by name.
for _, name in ipairs { "tide", "tide.core" } do
  pcall(require, name)
end

-- What Tide loads lazily must also be there before the first file, for the same reason.
local files = io.popen "find lua/tide -name '*.lua' -not -path '*/repl/*' 2>/dev/null | LC_ALL=C sort"
for path in files:lines() do
  pcall(require, (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")))
end
files:close()

-- `make coverage`: the counts are written by the output handler when the suite ends.
local prefix = os.getenv "TIDE_COVERAGE"
if prefix then
  require("spec.support.coverage").start(prefix)
end

-- Runs before the specs. Loads all of Tide once: busted unloads what a spec file loads, and a
-- second copy of a Lua module beside the first would make classes of the same name that are not the
-- same. What does not load here fails in the specs that need it, by name.
-- SPEC_ALONE=1 (`make specs-alone`): one file per process, whose modules load when they are used,
-- as they do in a person's program.
if os.getenv "SPEC_ALONE" == "1" then
  return
end
pcall(require, "tide.core")
pcall(require, "tide")
local files = io.popen "find lua/tide -name '*.lua' 2>/dev/null | sort"
for path in files:lines() do
  local name = path:match("^lua/(.*)%.lua$"):gsub("/", "."):gsub("%.init$", "")
  if not name:find "^tide%.cli" and not name:find "^tide%.repl" then
    pcall(require, name)
  end
end
files:close()
if os.getenv "SPEC_MODES" == "1" then -- `make specs-modes`
  require "spec.support.modes_first"
end

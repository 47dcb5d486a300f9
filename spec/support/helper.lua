-- Runs before the specs. Loads Tide and its core once: busted unloads what a spec file loads, and a second copy of the Lua
-- modules beside the one C module would make classes of the same name that are not the same. What does not load here fails
-- in the specs that need it, by name.
for name in ([[tide tide.core tide.models.symbolic tide.models.summary tide.training.loop tide.saving tide.saving.safetensors
  tide.datasets tide.utils tide.utils.json]]):gmatch "%S+" do
  pcall(require, name)
end
local ok, registry = pcall(require, "tide.registry")
if ok then -- what namespaces load when a name is first asked for
  for _, name in ipairs { "layers", "optimizers", "losses", "metrics", "callbacks", "initializers", "regularizers", "constraints" } do
    local found, ns = pcall(require, "tide." .. name)
    for _, module in pairs(found and registry.modules(ns) or {}) do
      pcall(require, module)
    end
  end
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

--- The C core, as Tide's searcher finds it. A file of this name stands here for the searchers that
--- a module of Tide's meets where it is the first of them that a process loads: they would go on
--- to a core.lua of the working folder before they look for the C module.
local env = require "tide.env"
local name = ...
local open, path = env.package.searchers.tide(name)
return open(name, path)

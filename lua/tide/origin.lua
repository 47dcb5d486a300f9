--- Where the functions that people call are really written: a wrapper stands for the function
--- behind it, a function made in a loop stands at the line that made it. Help, completion and
--- `name??` ask here, nobody else.
local origin = {}

local behind = setmetatable({}, { __mode = "k" }) -- wrapper -> function, or a function's place
local places = setmetatable({}, { __mode = "k" }) -- function -> { place, args, op }

--- Where the main chunk that is running stands, "@path:line"; nil where the host has no debug
--- library.
function origin.line()
  local getinfo = debug and debug.getinfo
  for level = 3, getinfo and 14 or 2 do
    local info = getinfo(level, "Sl")
    if not info then
      return nil
    elseif info.what == "main" then
      return info.source .. ":" .. info.currentline
    end
  end
end

--- Says that `wrapper` does what `f` does, and returns it.
--- @param wrapper function
--- @param f function|table the function, or { module, name } of one that is loaded when asked for
function origin.wraps(wrapper, f)
  behind[wrapper] = f
  return wrapper
end

--- Whether a function stands for another.
function origin.is_wrapper(f)
  return behind[f] ~= nil
end

--- Says that `f` is documented where the main chunk stands now, and returns it.
--- @param f function
--- @param facts table|nil `args`: its argument table (tide.check); `op`: the op of the core whose
---   arguments it takes; `name`: its name
function origin.here(f, facts)
  places[f] = { place = origin.line(), args = facts and facts.args, op = facts and facts.op }
  return f
end

--- The function that does the work of `f`: itself where it is no wrapper.
function origin.of(f)
  for _ = 1, 8 do
    local inner = behind[f]
    if type(inner) == "table" then
      local module = require(inner[1])
      inner = module[inner[2]]
    end
    if inner == nil then
      return f
    end
    f = inner
  end
  return f
end

--- The names of the parameters of a function written in Lua, "..." last where it takes more; none
--- where the host has no debug library.
--- @return table
function origin.parameters(f)
  local info = debug and debug.getinfo(f, "u")
  local names = {}
  for i = 1, info and info.nparams or 0 do
    names[i] = debug.getlocal(f, i)
  end
  if info and info.isvararg then
    names[#names + 1] = "..."
  end
  return names
end

--- What `here` noted of a function, or nil.
function origin.place(f)
  return places[f]
end

return origin

--- Error values: tables with fields `op`, `status`, `message`, `within`, `path`, `at`, and a
--- `__tostring` that joins them.
--
-- The layer path is put together here, on the failing path only: the Lua frames are walked and each
-- frame of `Layer.__call` gives its layer. Nothing is kept while things work, so nothing is stale
-- after a pcall or in a coroutine.
local printable = require "tide.printable"

local errors = {}

local Error = { __name = "tide.error" }
Error.__index = Error
errors.Error = Error

--- Functions whose frames carry a part of a model as their first local, by whose `_label(level)`
--- errors name it: `Layer.__call` and `Layer.build`, losses, metrics.
errors.layer_frames = {}

--- Functions of tide.ops that are written in Lua: function -> name. Their frames say which of them
--- was called, where an op of the core that it is made of complains.
errors.op_frames = setmetatable({}, { __mode = "k" })

function Error:__tostring()
  local text = self.message
  local path = self.path or ""
  -- a layer or loss that complains about itself is already the last part of the path
  if self.op and self.op ~= "" and path:gsub("%s*%b()$", ""):sub(-#self.op) ~= self.op
    and path:sub(-#self.op) ~= self.op then
    text = self.op .. ": " .. text
  end
  if self.within then
    text = self.within .. ": " .. text
  end
  if self.path and self.path ~= "" then
    text = self.path .. ": " .. text
  end
  if self.at then
    text = self.at .. ": " .. text
  end
  return printable.text(text) -- labels and places may come from files, too
end

function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

local home = debug.getinfo(1, "S").source:match("^(.*)errors%.lua$") or "@"

--- Whether a function's source, as debug.getinfo gives it, is Tide's own.
function errors.is_own_source(source)
  return source:sub(1, #home) == home
end

--- The path of layers being called, outermost first: `model "mnist" > dense_1 (Dense 64)`; nil
--- outside of layers.
function errors.path()
  local frames = errors.layer_frames
  local out, level, last = {}, 2, nil
  while true do
    local info = debug.getinfo(level, "f")
    if not info then
      break
    end
    if frames[info.func] then
      local _, layer = debug.getlocal(level, 1)
      if layer ~= last and type(layer) == "table" then
        table.insert(out, 1, layer:_label(level + 1))
        last = layer
      end
    end
    level = level + 1
  end
  if #out == 0 then
    return nil
  end
  return table.concat(out, " > ")
end

--- The layer whose call or build is running, innermost; nil outside of layers.
function errors.layer()
  local level = 2
  while true do
    local info = debug.getinfo(level, "f")
    if not info then
      return nil
    elseif errors.layer_frames[info.func] then
      local _, layer = debug.getlocal(level, 1)
      return type(layer) == "table" and layer or nil
    end
    level = level + 1
  end
end

--- Where the person's own code stands: the innermost frame outside of lua/tide, as `file:line`.
function errors.at()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then
      return nil
    end
    if info.currentline > 0 and info.source:sub(1, #home) ~= home then
      return info.short_src .. ":" .. info.currentline
    end
    level = level + 1
  end
end

-- The function of tide.ops written in Lua that is being called, innermost, unless it is `op` itself
-- or a layer is nearer.
local function within(op)
  local level = 3
  while true do
    local info = debug.getinfo(level, "f")
    if not info or errors.layer_frames[info.func] then
      return nil
    end
    local name = errors.op_frames[info.func]
    if name then
      return name ~= op and name or nil
    end
    level = level + 1
  end
end

--- Makes an error value; path and place are those of the caller.
--- @param op string|nil the function, op or class that complains
--- @param message string what is wrong, expected and got, and the remedy
--- @param status string|nil "invalid argument" by default
function errors.new(op, message, status)
  local outer = within(op)
  if outer and op and op:sub(-1) == "_" then -- a private op of the core: what was called says more
    op, outer = outer, nil
  end
  return setmetatable({
    op = op,
    status = status or "invalid argument",
    message = printable.text(message),
    within = outer,
    path = errors.path(),
    at = errors.at(),
  }, Error)
end

--- Raises `op: message`, the message formatted as by string.format.
function errors.raise(op, fmt, ...)
  local core = package.loaded["tide.core"]
  local _ <close> = core and core.decimal_point()
  local message = select("#", ...) > 0 and fmt:format(...) or fmt
  error(errors.new(op, message), 0)
end

--- Says on standard error what a person should know and what is no error, in a line that begins
--- with "tide: ".
function errors.warn(fmt, ...)
  local core = package.loaded["tide.core"]
  local _ <close> = core and core.decimal_point()
  io.stderr:write("tide: " .. printable.text(fmt:format(...)) .. "\n")
end

--- Whether `e` is an error value of Tide.
function errors.is(e)
  return getmetatable(e) == Error
end

--- What pcall gave; missing memory is raised again: who tries a name and goes on without it must
--- not take that for an answer.
function errors.tried(ok, ...)
  if not ok and tostring((...)):find("not enough memory", 1, true) then
    error((...), 0)
  end
  return ok, ...
end

return errors

--- Making what a file describes: whatever is wrong with the description is one error that names the
--- file, and it cannot ask for more memory than the file's weights explain.
local core = require "tide.core"
local errors = require "tide.errors"

local guard = {}

-- What making a model may take beside eight times the file's own tensors (initializers work on
-- copies).
local ROOM = 40 << 20
--- The same where the model is called once besides.
guard.CALLED = 256 << 20

-- What a failure of plain Lua becomes: one in the code of a person's own layer is not the file's.
local function told(e)
  local layer = not errors.is(e) and errors.layer()
  if not layer or not getmetatable(layer)._custom then
    return e
  end
  return errors.new("load_model", ("the code of %s failed while the model was made again: %s; a \z
    layer among its options is made anew from its configuration, and is not built: it is not the \z
    one in the model"):format(layer:_label(), tostring(e)))
end

--- Runs `f` and returns what it returns.
--- @param where string the file
--- @param bytes integer of its tensors
--- @param what string what a description is that no check words, "the description is damaged"
--- @param room integer|nil more than making the model takes
--- @param f function
function guard.run(where, bytes, what, room, f, ...)
  local memory = core.memory()
  local before = memory.limit_bytes
  local limit = memory.live_bytes + (room or ROOM) + 8 * bytes
  core.memory_limit(before > 0 and math.min(before, limit) or limit)
  local results = table.pack(xpcall(f, told, ...))
  core.memory_limit(before)
  if results[1] then
    return table.unpack(results, 2, results.n)
  end
  local e = results[2]
  if errors.is(e) then
    error(e, 0)
  end
  errors.raise("load_model", "%s: %s (%s)", where, what, (tostring(e):gsub("^[^:]*:%d+: ", "")))
end

return guard

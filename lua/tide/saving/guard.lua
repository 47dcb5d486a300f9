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
  return errors.new("load_model", ("the code of %s failed while the model was made again: %s")
    :format(layer:_label(), tostring(e)))
end

-- An error that names the file: what plain Lua says is put behind `what`; what ended the work is no
-- word about the file.
local function named(e, op, where, what)
  local text = tostring(e)
  if text:find("interrupted!", 1, true) or not errors.is(e) and text:find "not enough memory" then
    return e
  elseif not errors.is(e) then
    return errors.new(op, ("%s: %s (%s)"):format(where, what, (text:gsub("^[^:]*:%d+: ", ""))))
  elseif text:find(where, 1, true) then
    return e
  end
  e.at = nil -- the new one says it
  return errors.new(op, ("%s: %s"):format(where, tostring(e)), e.status)
end

--- Runs `f` and returns what it returns; every error names the file.
--- @param op string the function that reads
--- @param where string the file
--- @param what string what a description is that no check words, "the description is damaged"
--- @param f function
function guard.read(op, where, what, f, ...)
  local results = table.pack(xpcall(f, told, ...))
  if results[1] then
    return table.unpack(results, 2, results.n)
  end
  error(named(results[2], op, where, what), 0)
end

--- The same, with no more memory than the file's tensors explain.
--- @param where string the file
--- @param bytes integer of its tensors
--- @param what string
--- @param room integer|nil more than making the model takes
--- @param f function
function guard.run(where, bytes, what, room, f, ...)
  local memory = core.memory()
  local before = memory.limit_bytes
  local limit = memory.live_bytes + (room or ROOM) + 8 * bytes
  core.memory_limit(before > 0 and math.min(before, limit) or limit)
  local results = table.pack(pcall(guard.read, "load_model", where, what, f, ...))
  core.memory_limit(before)
  if results[1] then
    return table.unpack(results, 2, results.n)
  end
  error(results[2], 0)
end

return guard

--- Which frames of a traceback are Tide's own, and tracebacks without them.
local frames = {}

-- The folder of Tide's Lua modules. Tracebacks show a long path by its last characters, after
-- "...".
local home = debug.getinfo(1, "S").source:match "^@(.*/)repl/[^/]*$"

--- Whether a line of a traceback is a frame of Tide's Lua modules.
---@param line string
---@return boolean
function frames.inner(line)
  local path = line:match "^%s*(.-):"
  local rest = path and path:match "^%.%.%.(.*)$"
  if not home or not path then
    return false
  elseif not rest then
    return path:sub(1, #home) == home
  end
  local at = 0
  repeat -- where the folder's name may end in what is left of the path
    at = rest:find("/", at + 1, true)
    if at and at > 1 and home:sub(-at) == rest:sub(1, at) and home:sub(-at):find "tide/$" then
      return true
    end
  until not at
  return false
end

--- A traceback in which one line stands for each run of frames of Tide and of the C between them.
---@param traceback string
---@param remedy string where the frames are shown
---@return string
function frames.folded(traceback, remedy)
  local out, run, last = {}, {}, 0 -- last: position in `run` of its last frame of Tide
  local function close()
    if last > 0 then
      local frame = last == 1 and "frame" or "frames"
      out[#out + 1] = ("\t... %d %s of Tide (%s)"):format(last, frame, remedy)
    end
    table.move(run, last + 1, #run, #out + 1, out)
    run, last = {}, 0
  end
  local started
  for line in traceback:gmatch "[^\n]*" do
    if started and line:find "^%s*%[C%]: in " then
      run[#run + 1] = line
    elseif started and last == #run and last > 0 and line:find "^%s*%(%.%.%.tail calls" then
      run[#run + 1] = line
      last = #run
    elseif started and frames.inner(line) then
      run[#run + 1] = line
      last = #run
    else
      close()
      started = started or line == "stack traceback:"
      out[#out + 1] = line
    end
  end
  close()
  return table.concat(out, "\n")
end

--- What a method of Tide that was called with a dot says of itself: it has no `self`. nil for other
--- messages.
---@param message string
---@return string|nil
function frames.without_self(message)
  local place = message:match "^([^\n]-:)%d+: attempt to index a nil value %(local 'self'%)"
  return place and frames.inner(place)
    and "a method is called with a colon: write x:method(...)" or nil
end

return frames

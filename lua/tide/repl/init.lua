--- The prompt. `repl.run` reads, runs and prints until the end of input; at a terminal with editing, completion and a
--- history, elsewhere line by line without any ornament.
local chunk = require "tide.repl.chunk"
local complete = require "tide.repl.complete"
local history = require "tide.repl.history"
local show = require "tide.repl.show"

local repl = {}

local Session = {}
Session.__index = Session

--- A session over an input: its environment, what it printed last, whether it may use the terminal.
---@param o { terminal: table, plain?: boolean, out?: file*, err?: file* }
function repl.session(o)
  local self = setmetatable({ terminal = o.terminal, plain = o.plain }, Session)
  self.out, self.err = o.out or io.stdout, o.err or io.stderr
  self.env, self.declare = chunk.session(_G)
  for i = 1, 9 do
    self.declare("_" .. i)
  end
  self.declare "_"
  self.entries, self.failed = 0, false
  self.colour = not self.plain and not os.getenv "NO_COLOR" and os.getenv "TERM" ~= "dumb"
  return self
end

function Session:paint(code, text)
  return self.colour and ("\27[%sm%s\27[0m"):format(code, text) or text
end

-- Traceback without the prompt's own frames and without the call of `error` itself.
local function trimmed(traceback)
  local lines = {}
  for line in traceback:gmatch "[^\n]+" do
    if line:find("tide/repl/init.lua", 1, true) then
      break
    end
    lines[#lines + 1] = line
  end
  while #lines > 0 and (lines[#lines]:find "^%s*%[C%]: in function 'xpcall'" or lines[#lines]:find "in main chunk$") do
    lines[#lines] = nil
  end
  if lines[2] and lines[2]:find "%[C%]: in function 'error'" then
    table.remove(lines, 2)
  end
  return #lines > 1 and table.concat(lines, "\n") or ""
end

local function handler(e)
  local kind = type(e)
  local message = kind == "string" and e
    or (getmetatable(e) or {}).__tostring and tostring(e)
    or kind == "nil" and "nil"
    or ("(error object is a %s value)"):format(kind)
  return { message = message, traceback = debug.traceback("", 2), value = e }
end

function Session:report(message, traceback)
  self.failed = true
  self.out:flush()
  self.err:write(self:paint("31", message), "\n")
  local rest = traceback and trimmed(traceback) or ""
  if rest ~= "" then
    self.err:write(self:paint("2", rest), "\n")
  end
  self.err:flush()
end

--- Prints results and keeps them as `_` and `_1`, `_2`, ...
function Session:results(values, hushed)
  if values.n == 0 then
    return
  end
  for i = 1, 9 do
    self.env["_" .. i] = values[i]
  end
  self.env._ = values[1]
  if hushed then
    return
  end
  local width = self.plain and 80 or (self.terminal.size())
  local ok, text = xpcall(show.values, handler, values, { width = width })
  if ok then
    self.out:write(text, "\n")
  else
    self:report(text.message, text.traceback)
  end
end

--- Runs one complete input that compiled.
function Session:run(f, hushed)
  local started = self.terminal.clock()
  local values = table.pack(xpcall(f, handler))
  local took = self.terminal.clock() - started
  if values[1] then
    self:results(table.pack(table.unpack(values, 2, values.n)), hushed)
  else
    self:report(values[2].message, values[2].traceback)
  end
  if took > 0.1 and not self.plain then
    local text = took < 60 and ("%.2f s"):format(took) or ("%d min %d s"):format(took // 60, took % 60)
    self.out:write(self:paint("2", text), "\n")
  end
  self.out:flush()
end

-- One line from the input: the text; nil at the end; false after Ctrl-C.
function Session:read(prompt)
  if not self.plain then
    return self.terminal.readline(prompt)
  end
  return io.read "L"
end

--- Reads lines until they are a whole chunk. Returns the source, its function or the message why it does not compile.
function Session:block()
  local source
  while true do
    local line = self:read(source and "  ..> " or "tide> ")
    if not line then
      if line == nil and source and source:find "%S" then
        return source, nil, self.message
      end
      return line
    end
    line = line:gsub("\n$", "")
    source = source and source .. "\n" .. line or line
    if not source:find "%S" then
      return ""
    end
    local f, message, incomplete = chunk.compile(source, ("=[%d]"):format(self.entries + 1), self.env, self.declare)
    if f or not incomplete then
      return source, f, message
    end
    self.message = message
  end
end

--- One turn: reads, runs, prints. Returns false at the end of input.
function Session:turn()
  local source, f, message = self:block()
  if source == nil then
    return false
  end
  if not source or source == "" then
    return true
  end
  self.entries = self.entries + 1
  if not self.plain and source ~= self.last and not source:find "^%s" then
    self.terminal.remember(source)
    history.append(self.terminal, source)
    self.last = source
  end
  if f then
    self:run(f, source:find ";%s*$" ~= nil)
  else
    self:report(message)
  end
  return true
end

--- Runs the startup file ($XDG_CONFIG_HOME/tide/init.lua) in the session, if there is one.
function Session:startup()
  local config = os.getenv "XDG_CONFIG_HOME"
  if not config or not config:find "^/" then
    config = (os.getenv "HOME" or "") .. "/.config"
  end
  local path = config .. "/tide/init.lua"
  local file = io.open(path, "r")
  if not file then
    return
  end
  file:close()
  local f, message = loadfile(path, "t", self.env)
  if f then
    self:run(f, true)
  else
    self:report(message)
  end
end

--- The prompt of the tide program, on standard input. Returns true when no input failed, or at a terminal always.
---@param o? { no_rc?: boolean }
function repl.run(o)
  local terminal = require "tide.repl.terminal"
  local plain = not (terminal.isatty(0) and terminal.isatty(1))
  local self = repl.session { terminal = terminal, plain = plain }
  _G.tide = _G.tide or require "tide"
  if not plain then
    self.out:write(_G.tide._VERSION, " on ", _VERSION, "; Ctrl-D leaves\n")
    for _, entry in ipairs(history.load(terminal)) do
      terminal.remember(entry)
      self.last = entry
    end
    terminal.completer(function(word, before)
      return complete.words(word, before, self.env)
    end)
    if not (o and o.no_rc) then
      self:startup()
    end
  end
  while true do
    -- an interrupt can come between two inputs too
    local ok, more = xpcall(self.turn, handler, self)
    if not ok then
      self:report(more.message, more.traceback)
    elseif not more then
      break
    end
  end
  if not plain then
    self.out:write "\n"
  end
  return not plain or not self.failed
end

return repl

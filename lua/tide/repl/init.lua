--- The prompt. `repl.run` reads, runs and prints until the end of input; at a terminal with
--- editing, completion and a history, elsewhere line by line without any ornament.
local chunk = require "tide.repl.chunk"
local commands = require "tide.repl.commands"
local complete = require "tide.repl.complete"
local explain = require "tide.repl.explain"
local history = require "tide.repl.history"
local show = require "tide.repl.show"
local unset = require "tide.repl.unset"

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
  self.entries, self.failed, self.worked, self.known = 0, false, {}, {}
  for k in next, _G do
    self.known[k] = true
  end
  self.colour = not self.plain and not os.getenv "NO_COLOR" and os.getenv "TERM" ~= "dumb"
  return self
end

function Session:paint(code, text)
  return self.colour and ("\27[%sm%s\27[0m"):format(code, text) or text
end

local function handler(e)
  return { message = explain.message(e), traceback = debug.traceback("", 2), value = e }
end

--- Prints an error: what was raised, where it stands in what was typed, a hint, the frames between.
---@param failure { message: string, traceback?: string }
---@param source? string what was typed
---@param name? string its chunk name as messages show it
function Session:report(failure, source, name)
  self.failed = true
  self.out:flush()
  self.err:write(self:paint("31", failure.message), "\n")
  local parts = { source and explain.place(failure.message, source, name),
    explain.hint(failure.message, self.env, source) }
  for i = 1, 2 do
    if parts[i] then
      self.err:write(parts[i], "\n")
    end
  end
  if failure.traceback then
    self.last_traceback = failure.message .. failure.traceback
    local rest = explain.trimmed(failure.traceback)
    if rest ~= "" then
      self.err:write(self:paint("2", rest), "\n")
    end
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
  local ok, text = self.terminal.guarded(show.values, handler, values, { width = width })
  if ok then
    self.out:write(text, "\n")
  else
    self:report(text)
  end
end

--- Runs one complete input that compiled.
---@param f function
---@param o { hushed?: boolean, source?: string, name?: string, command?: boolean }
function Session:run(f, o)
  local started = self.terminal.clock()
  local values = table.pack(self.terminal.guarded(f, handler, o.command and self or nil))
  local took = self.terminal.clock() - started
  if values[1] then
    if not o.command then
      self.worked[#self.worked + 1] = o.source
      self:results(table.pack(table.unpack(values, 2, values.n)), o.hushed)
    end
  else
    local failure = values[2]
    if o.command and type(failure.value) == "string" and not failure.value:find "^%S+:%d+:" then
      failure.traceback = nil -- the command itself said what is wrong
    end
    local core = require "tide.core" -- what was cut short may not have closed what it opened
    core.watch_interrupts "end"
    self:report(failure, o.source, o.name)
  end
  if took > 0.1 and not self.plain and not o.command then
    self.out:write(self:paint("2", show.duration(took)), "\n")
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

--- Reads lines until they are a whole chunk. Returns the source, its function or the message why it
--- does not compile, and whether it is a command of the prompt.
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
    local command = not source:find "\n" and commands.parse(source, self.env)
    if command then
      return source, command, nil, true
    end
    local f, message, incomplete = chunk.compile(source, ("=[%d]"):format(self.entries + 1),
      self.env, self.declare)
    if f or not incomplete then
      return source, f, message
    end
    self.message = message
  end
end

--- One turn: reads, runs, prints. Returns false at the end of input.
function Session:turn()
  local source, f, message, command = self:block()
  if source == nil then
    return false
  end
  if not source or source == "" then
    return true
  end
  self.entries = self.entries + 1
  if not self.plain and source ~= self.last and not source:find "^%s" then
    self.terminal.remember(source)
    local kept, why = history.append(self.terminal, source)
    if not kept and not self.told then
      self.told = true
      self.err:write("tide: the history is not kept: ", why, "\n")
    end
    self.last = source
  end
  local name = ("[%d]"):format(self.entries)
  if f then
    unset.typed("=" .. name, source)
    self:run(f, { hushed = source:find ";%s*$" ~= nil, source = source, name = name,
      command = command })
  else
    self:report({ message = message }, source, name)
  end
  return not self.leaving
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
    self:run(f, { hushed = true })
  else
    self:report { message = message }
  end
end

--- The prompt of the tide program, on standard input. Returns true when no input failed, or at a
--- terminal always.
---@param o? { no_rc?: boolean }
function repl.run(o)
  local terminal = require "tide.repl.terminal"
  local plain = not (terminal.isatty(0) and terminal.isatty(1))
  _G.tide = _G.tide or require "tide"
  _G.help = _G.help or commands.help
  local self = repl.session { terminal = terminal, plain = plain }
  terminal.unguarded()
  if not plain then
    self.out:write(_G.tide._VERSION, " on ", _VERSION, "; ? for help, Ctrl-D leaves\n")
    for _, entry in ipairs(history.load()) do
      terminal.remember(entry)
      self.last = entry
    end
    terminal.completer(function(word, before)
      if word == "" and not before:find "%S" then
        return { "\t" } -- indents
      end
      return complete.words(word, before, self.env)
    end)
    if not (o and o.no_rc) then
      self:startup()
    end
  end
  while true do
    -- a mistake of the prompt's own must not end it
    local ok, more = xpcall(self.turn, handler, self)
    if not ok then
      self:report(more)
    elseif not more then
      break
    end
  end
  if not plain and not self.leaving then
    self.out:write "\n"
  end
  return not plain or not self.failed
end

return repl

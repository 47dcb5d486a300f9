--- A program at a terminal, typed at by a spec: `session.new { program, arguments... }`, then
--- `type`, `wait`, `screen`.
local screen = require "spec.support.screen"

local Session = {}
Session.__index = Session

local pty

-- The C module is made where it is needed: it is no part of what is built or installed.
local function library()
  if not pty then
    local path = os.tmpname()
    local include = io.popen "pkg-config --cflags lua5.4 2>/dev/null":read "l" or ""
    local ok = os.execute(
      ("env -u LD_PRELOAD ${CC:-cc} -shared -fPIC -O1 %s -o %s spec/support/pty.c"):format(
      include, path))
    pty = ok and package.loadlib(path, "luaopen_pty")
    os.remove(path)
    assert(pty, "spec/support/pty.c cannot be compiled")
    pty = pty()
  end
  return pty
end

--- @param o table the program and its arguments; `columns` (80), `rows` (24), `env` (list of
---   "NAME=value"), `patience`
---   (about the seconds that `wait` waits, 20)
function Session.new(o)
  local self = setmetatable(
    { columns = o.columns or 80, rows = o.rows or 24, patience = o.patience or 20 }, Session)
  self.view, self.log, self.mark = screen.new(self.columns, self.rows), {}, 1
  self.raw = ""
  self.pty = library().open(self.columns, self.rows, o.env or {}, table.unpack(o))
  return self
end

--- Takes in what the program writes within some milliseconds. Returns false once it has ended.
--- `marked` is then "h" where the program asked for marks around pasted texts, "l" where it does no
--- longer.
function Session:take(milliseconds)
  local bytes = self.pty:read(milliseconds)
  if bytes then
    local kept = bytes:gsub("\27%[%?2004[hl]", "") -- no part of what is shown
    self.raw = self.raw .. kept
    self.marked = (bytes:match ".*\27%[%?2004([hl])") or self.marked
    self.view:write(kept)
  end
  return bytes ~= nil
end

--- Sends keys, as they are.
function Session:type(keys)
  self.mark = #self.raw + 1
  self.pty:write(keys)
end

--- Waits until what came since the last `type` matches, or, given a function, until that returns
--- something of the session. Returns what matched; raises with the screen when the program ends or
--- is silent too long. Time in which this process itself stands still does not count.
function Session:wait(pattern, why)
  local looks = 0
  while true do
    local found
    if type(pattern) == "function" then
      found = pattern(self)
    else
      found = self.raw:match(pattern, self.mark)
    end
    if found then
      return found
    end
    local had = #self.raw
    local alive = self:take(50)
    looks = looks + (#self.raw > had and 0.1 or 1)
    if not alive or looks > self.patience * 20 then
      error(("%s%s\n--- the screen:\n%s\n---"):format(alive and "waited in vain for "
        or "the program ended before ", why or tostring(pattern), self:screen()), 2)
    end
  end
end

--- Waits until the program has written its prompt and reads keys.
function Session:ready(prompt)
  prompt = prompt or "tide> "
  self:wait(function(s)
    return s.raw:find("\n", s.mark, true) and s.raw:sub(-#prompt) == prompt and s.pty:raw()
  end, "the prompt " .. prompt)
end

--- Waits until the screen holds a text.
function Session:shows(text)
  self:wait(function(s)
    return s:screen():find(text, 1, true)
  end, text)
end

--- Types a line and waits for the next prompt. Returns what was printed between, without the time
--- that the line took: on a machine that is busy with other things every line may take long.
function Session:enter(line, prompt)
  prompt = prompt or "tide> "
  self:type(line .. "\n")
  -- the line comes back as it is typed; the answer begins after the end of that line
  self:wait(function(s)
    local at = s.raw:find("\n", s.mark, true)
    for _ in line:gmatch "\n" do
      at = at and s.raw:find("\n", at + 1, true)
    end
    if at and s.raw:find(prompt, at, true) and s.raw:sub(-#prompt) == prompt and s.pty:raw() then
      s.answer = s.raw:sub(at + 1, -#prompt - 1)
      return true
    end
  end, "the prompt after " .. line)
  local answer = self.answer:gsub("\r", ""):gsub("\27%[2m(%d+%.%d+ s)\27%[0m\n$", "%1\n")
  return (answer:gsub("%f[^\0\n]%d+%.%d+ s\n$", ""))
end

--- What the terminal shows.
function Session:screen()
  return self.view:text()
end

--- Sends a signal by its number.
function Session:signal(number)
  self.pty:signal(number)
end

--- Waits for the end; returns the exit status, or minus the signal.
function Session:finish()
  local looks = 0
  while self:take(50) and looks < self.patience * 20 do
    looks = looks + 1
  end
  return self.pty:close()
end

return Session

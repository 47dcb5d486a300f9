-- The prompt at a terminal: what a person types, and what the screen shows.
local Session = require "spec.support.session"

local expect = require "spec.support.expect"

local program = expect.program

local INT = 2
local home, s

local function start(o)
  o = o or {}
  local env = { "TERM=xterm", "LC_ALL=C.UTF-8", "HOME=" .. home, "XDG_STATE_HOME=" .. home,
    "XDG_CONFIG_HOME=" .. home }
  for _, e in ipairs(o.env or {}) do
    env[#env + 1] = e
  end
  local session = Session.new {
    program, o.option or "--no-rc", env = env, columns = o.columns, rows = o.rows }
  session:ready()
  return session
end

local function finish(session)
  session:type "\4"
  return session:finish()
end

setup(function()
  home = expect.folder()
  os.execute("mkdir " .. home .. "/tide")
  s = start { env = { "NO_COLOR=1" } }
end)
teardown(function()
  if s then
    assert.equal(0, finish(s))
  end
  os.execute("rm -rf " .. home)
end)

-- Types a line that prints "go" and then runs on, and presses Ctrl-C there. `times` presses, the
-- later ones when the screen shows what `between` says.
local function interrupted(line, times, between)
  s:type(line .. "\n")
  s:wait "\ngo\r"
  s:signal(INT)
  for _ = 2, times or 1 do
    s:wait(between)
    s:signal(INT)
  end
  s:wait "interrupted!"
  s:ready()
  assert.equal("42\n", s:enter "6 * 7")
end

describe("the prompt", function()
  it("prints values, keeps them, keeps locals, is hushed", function()
    assert.equal("42\n", s:enter "6 * 7")
    assert.equal("43\n", s:enter "_ + 1")
    assert.equal("1\t2\n", s:enter "1, 2")
    assert.equal("2\n", s:enter "_2")
    assert.equal("", s:enter "local kept = 5;")
    assert.equal("5\n", s:enter "kept")
    assert.equal("", s:enter "kept + 1;")
    assert.equal("6\n", s:enter "_")
    assert.matches("^1%. 2%. ?\n", (s:enter("tide.tensor { 1, 2 }"):gsub("[%[%],]", "")))
  end)

  it("takes a block as one entry of the history, and finds entries by their beginning", function()
    s:type "for i = 1, 2 do\n"
    s:ready "  ..> "
    s:type "print('round', i) end\n"
    s:wait "round\t2\r\n"
    s:ready()
    assert.equal("other\n", s:enter "'other'")
    s:type "for\27[A"
    s:wait "print%('round', i%) end"
    s:type "\n"
    s:wait "round\t2\r\n"
    s:ready()
    s:type "\18'oth" -- Ctrl-R
    s:wait "'other'"
    s:type "\n"
    s:wait "\nother\r\n"
    s:ready()
    local f = assert(io.open(home .. "/tide/history"))
    assert.truthy(f:read("a"):find("\nfor i = 1, 2 do\\nprint('round', i) end\n'other'\n", 1, true))
    f:close()
    assert.matches("^%-rw%-%-%-%-%-%-%-", io.popen("ls -l " .. home .. "/tide/history"):read "a")
  end)

  it("completes fields, methods, namespaces, commands", function()
    local function completes(keys, expected)
      s:type(keys .. "\t")
      s:shows("tide> " .. expected)
      s:type "\3"
      s:ready()
    end
    completes("string.form", "string.format(")
    completes("tide.layers.GlobalAveragePooling1", "tide.layers.GlobalAveragePooling1D")
    s:enter "net = tide.Sequential { tide.layers.Dense { 3, input_shape = { 2 } } };"
    completes("net:summ", "net:summary(")
    s:enter "t = tide.ones { 2 };"
    completes("t:cumpr", "t:cumprod(")
    completes("%thr", "%threads")
  end)

  it("takes a tab with only blanks before it as a tab", function()
    s:type "do\n"
    s:ready "  ..> "
    s:type "\tif true then\n"
    s:ready "  ..> "
    s:type "\t \tprint 'in' end end\n"
    s:wait "\nin\r\n"
    s:ready()
    assert.not_matches("string%.", s.raw:sub(s.mark))
  end)

  it("takes a pasted text as it is: no completion, no keys", function()
    assert.equal("h", s.marked)
    s:type "\27[200~#'\tstring.form\t\1x'\n\27[201~"
    s:wait "\n14\r\n"
    s:ready()
    s:type "xs = string.form\t"
    s:shows "tide> xs = string.format("
    s:type "\3"
    s:ready()
    assert.equal("h", s.marked)
    s:type "io.read();\n" -- what runs may read: no marks there
    s:wait(function()
      return s.marked == "l"
    end, "the end of marks")
    s:type "line\n"
    s:ready()
    assert.equal("42\n", s:enter "6 * 7")
  end)

  it("forgets a paste that Ctrl-C ends, and passes other keys on", function()
    s:type "\27[200~half"
    s:shows "tide> half"
    s:type "\3"
    s:ready()
    s:type "ys = string.form\t"
    s:shows "tide> ys = string.format("
    s:type "\3"
    s:ready()
    assert.equal("42\n", s:enter "6 * 8\27[D\27[C\1277")
  end)

  it("reads whole characters where the locale names none", function()
    local other = start { env = { "LC_ALL=C" } }
    assert.equal("6\tä€\n", other:enter "#'ä€x', 'ä€'")
    finish(other)
  end)

  it("explains an error in place, and keeps the whole traceback", function()
    assert.equal(
      "[%d]:1: attempt to call a nil value (global 'prnt')\n  prnt(1)\n  ^\n\z
      did you mean 'print'?\n",
      (s:enter("prnt(1)"):gsub("%d+%]", "%%d]", 1)))
    assert.matches("main chunk.*%.%.%. %d+ frames of Tide %(%%bt all shows them%)", s:enter "%bt")
    assert.matches("repl/init%.lua", s:enter "%bt all")
  end)

  it("gives help, and finds names", function()
    assert.matches("units", s:enter "? tide.layers.Dense")
    assert.matches("units", s:enter "tide.layers.Dense?")
    assert.matches("layers/core%.lua:%d+.*\nend\n$", s:enter "tide.layers.Dense??")
    assert.matches("tide%.layers%.BatchNormalization", s:enter "? *norm*")
  end)

  it("runs the shell and the commands", function()
    assert.equal("there\n", s:enter "!echo there")
    assert.matches("Lua +%d", s:enter "%mem")
    assert.matches("net +Sequential", s:enter "%who")
    assert.equal("2\n", s:enter "%threads 2")
    assert.matches("^3\n%S+ [mun]?s\n$", s:enter "%time 1 + 2")
    assert.matches("no command %%nosuch", s:enter "%nosuch")
  end)
end)

describe("Ctrl-C at the prompt", function()
  it("drops a half-typed line", function()
    s:type "half of a line\3"
    s:ready()
    assert.equal("42\n", s:enter "6 * 7")
  end)

  it("ends what runs: a loop, coroutines, a generator, tensor code, a long product, the shell",
    function()
    interrupted "print 'go' while true do end"
    interrupted "print 'go' coroutine.wrap(function() while true do end end)()"
    interrupted "print 'go' local g = coroutine.wrap(function() while true do coroutine.yield(1) \z
      end end) while true do g() end"
    interrupted "print 'go' while true do tide.ones { 300, 300 }:exp():sum() end"
    interrupted "local a = tide.zeros { 4000, 4000 } print 'go' for i = 1, 1000 do a:matmul(a) end"
    interrupted(
      "print 'go' local co = coroutine.create(function() coroutine.wrap(function() while true do \z
      end end)() end) "
      .. "while true do assert(coroutine.resume(co)) end")
  end)

  it("ends fit after the batch; %resume goes on; a second one ends it at once, also in a generator",
    function()
    s:enter "x, y = tide.random.normal { 64, 2 }, tide.random.normal { 64, 3 };"
    s:enter "net:compile { optimizer = 'adam', loss = 'mse' };"
    s:enter "say = function() if not said then said = true print 'go' end end;"
    s:type "h = net:fit(x, y, { epochs = 1e6, verbose = 0, callbacks = { { on_train_batch_end = \z
      say } } })\n"
    s:wait "\ngo\r"
    s:signal(INT)
    s:ready()
    assert.equal("interrupt\ttrue\n", s:enter "h.stopped, #h.loss > 0")
    s:type "said = nil %resume\n"
    s:ready()
    s:enter "said = nil"
    s:type "%resume\n"
    s:wait "\ngo\r"
    s:signal(INT)
    s:wait "History"
    s:ready()
    assert.equal("interrupt\ttrue\n", s:enter "_.stopped, #_.loss >= #h.loss")
    s:enter "pressed = require('tide.core').interrupted;"
    interrupted(
      "net:fit(function() print 'go' repeat until pressed() print 'seen' while true do end end, "
      .. "{ steps_per_epoch = 9 })", 2, "seen\r")
    assert.equal("true\n", s:enter "tide.ops.all(tide.ops.isfinite(net:predict(x)))")
    assert.equal("1\n", s:enter "#net:fit(x, y, { verbose = 0 }).loss")
    assert.matches("nothing to resume", s:enter "net:fit { resume = true }")
  end)

  it("ends the program at the third within two seconds, where nothing else is reached", function()
    local other = start()
    other:type "('x'):rep(20), print 'go', ('x'):rep(400):find(('x*'):rep(50) .. 'y')\n"
    other:wait "\ngo\r"
    local presses = 0
    repeat -- signals that come while it does not run are one
      other:signal(INT)
      presses = presses + 1
    until not other:take(20) or presses > 500
    assert.is_true(presses >= 3)
    assert.equal(-INT, other:finish())
  end)

  local count = tonumber(os.getenv "TIDE_PRESSES" or 100)
  it(("leaves prompt and model whole at %d random moments"):format(count), function()
    s:enter "net:compile { optimizer = 'adam', loss = 'mse', metrics = { 'mae' } };"
    s:enter "early = tide.callbacks.EarlyStopping { 'loss', patience = 1000, restore_best_weights \z
      = true };"
    s:enter(
      "go = function() return net:fit(x, y, { epochs = 100000, verbose = 1, batch_size = 4, \z
      validation_split = 0.25, "
      .. "callbacks = early }) end;")
    s:enter "made = coroutine.wrap(function() while true do coroutine.yield(x, y) end end);"
    local lines = { "go()", "%resume", "net:fit(made, { steps_per_epoch = 1000000, verbose = 2 })",
      "while true do net:evaluate(x, y) end",
      "while true do net:train_on_batch(x, y) end", "%timeit net:predict(x)" }
    local random = 12345
    for i = 1, count do
      s:type(lines[i % #lines + 1] .. "\n")
      random = (random * 1103515245 + 12345) % 2147483648
      local moment = random // 65536 % 120
      for _ = 0, moment // 10 do
        s:take(moment % 10 + 1)
      end
      s:signal(INT)
      if i % 3 == 0 then
        s:take(moment % 5)
        s:signal(INT)
      end
      -- it came before the line ran, or while it did; in the first case the line runs on
      local n = 0
      s:wait(function()
        n = n + 1
        if n % 40 == 0 then
          s:signal(INT)
        end
        return s.raw:sub(-6) == "tide> " and s.pty:raw() and s.raw:find("\n", s.mark, true)
      end, "the prompt after press " .. i)
      repeat -- a press that came too late for the line is answered by another prompt
        local before = #s.raw
        s:take(40)
      until #s.raw == before
      -- a press in the middle of the typed line leaves its rest on the next one: Ctrl-U clears it
      s:type "\21"
      -- what is still to be said of a line before comes before this one's answer
      local check = i % 5 == 0
        and "tide.ops.all(tide.ops.isfinite(net:predict(x, { verbose = 0 })))" or "true"
      s:type(("%s and 'whole' .. %d\n"):format(check, i))
      s:wait(("whole%d\r?\n"):format(i), "the answer after press " .. i)
      s:ready()
    end
    assert.matches("true\n$", s:enter "net:fit(x, y, { verbose = 0 }).loss[1] < 1e3")
    assert.equal("42\n", s:enter "6 * 7")
  end)
end)

describe("fit { plot = true }", function()
  local code = [[
    local tide = require "tide"
    tide.seed(1)
    local x = tide.random.normal { 200, 3 }
    local net = tide.Sequential { tide.layers.Dense { 1, input_shape = { 3 } } }
    net:compile { optimizer = "sgd", loss = "mse", metrics = { "mae" } }
    net:fit(x, x:sum(2, { keepdims = true }),
      { epochs = 3, validation_split = 0.2, plot = 0, batch_size = 16 })
    print "over"]]
  local name
  setup(function()
    name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write(code)
    f:close()
  end)
  teardown(function()
    os.remove(name)
  end)

  local function count(text, pattern)
    return select(2, text:gsub(pattern, ""))
  end

  it("draws the curves above the bar, in one place", function()
    for columns = 40, 120, 40 do
      local other = Session.new {
        program, name, columns = columns, rows = 40, env = { "TERM=xterm", "LC_ALL=C.UTF-8" } }
      other:finish()
      local shown = other:screen()
      assert.matches("━ loss   ━ val_loss", shown)
      local dots = 0
      for _, c in utf8.codes(shown) do
        dots = dots + (c > 0x2800 and c < 0x2900 and 1 or 0)
      end
      assert.is_true(dots > 10)
      assert.equal(1, count(shown, "━ loss"), shown)
      assert.equal(1, count(shown, "━ mae"))
      assert.equal(1, count(shown, "Epoch %d/3"))
      assert.matches("\nEpoch 3/3\n10/10 [━ ]+%d+s [^\n]*\nover$", shown)
      assert.equal(columns >= 80, shown:find "loss +mae" ~= nil)
      -- values are left out whole
      local loss = columns < 80 and "" or " %- loss: [%d.]+"
      assert.matches("step" .. loss .. "[^\n]*\nover$", shown)
      assert.not_matches("step[^\n]* %- ?%a*:? ?\nover$", shown)
    end
  end)

  it("prints lines and one plain figure where there is no terminal", function()
    local p = io.popen("LC_ALL=C " .. expect.command .. " " .. name .. " 2>&1 </dev/null")
    local out = p:read "a"
    p:close()
    assert.not_matches("[\27\r\128-\255]", out)
    assert.equal(3, count(out, "10/10 %- %d+s"))
    assert.equal(1, count(out, "%* loss   %+ val_loss"))
    assert.matches("|[ *+]*%*", out)
    assert.matches("over\n$", out)
  end)
end)

describe("the program at a terminal", function()
  it("draws the summary no wider than it is, in plain characters where the locale has no others",
    function()
    local code = "tide.Sequential { tide.Input { 4 }, tide.layers.Dense(3) }:summary()"
    for columns, locale in pairs { [60] = "C.UTF-8", [50] = "C" } do
      local other = Session.new { program, "-e", code, columns = columns,
        env = { "TERM=xterm", "LC_ALL=" .. locale } }
      other:finish()
      local shown, bar = other:screen(), locale == "C" and "|" or "│"
      local row = ("\n| dense %(Dense%) +| %[none, 3%] +| +15 |\n"):gsub("|", bar)
      assert.matches(row, shown)
      assert.equal(locale == "C", shown:find "\n%+=+%+=+%+=+%+\n" ~= nil)
    end
  end)

  it("runs the startup file, and not with --no-rc", function()
    local f = assert(io.open(home .. "/tide/init.lua", "w"))
    f:write "started = 'yes'\n"
    f:close()
    local other = start { option = "-i" }
    assert.equal("yes\n", other:enter "started")
    assert.equal(0, finish(other))
    other = start()
    assert.equal("nil\n", other:enter "started")
    finish(other)
  end)

  it("colours errors, not with NO_COLOR or a dumb terminal", function()
    local other = start()
    assert.matches("\27%[31m", other:enter "error 'x'")
    finish(other)
    other = start { env = { "TERM=dumb" } }
    assert.not_matches("\27", other:enter "error 'x'")
    assert.is_nil(other.marked) -- nor marks around pasted texts
    finish(other)
    assert.not_matches("\27%[3", s:enter "error 'x'")
  end)

  for name, number in pairs { HUP = 1, QUIT = 3, ABRT = 6, USR1 = 10, USR2 = 12, PIPE = 13,
    ALRM = 14, TERM = 15, XCPU = 24, VTALRM = 26, PROF = 27, ["64"] = 64 } do
    it("leaves the terminal as it was when it is ended by signal " .. name, function()
      -- a suite that runs in the background was told to ignore SIGINT and SIGQUIT
      local script = ("ulimit -c 0; env --default-signal %s --no-rc; echo status $?; \z
        stty -a | grep -o '[-]*icanon'; echo over"):format(expect.command)
      local other = Session.new { "sh", "-c", script,
        env = { "TERM=xterm", "LC_ALL=C.UTF-8", "XDG_STATE_HOME=" .. home } }
      other:ready()
      local pid = other:enter "io.open('/proc/self/stat'):read 'n'":match "%d+"
      other:type "6 *"
      other:shows "tide> 6 *"
      os.execute(("kill -%s %s"):format(name, pid))
      other:wait "over\r"
      local said = other.raw:sub(other.mark)
      assert.matches(("status %d\r"):format(128 + number), said)
      assert.matches("\nicanon", said)
      other:finish()
    end)
  end

  it("leaves ignored what was ignored: nohup's SIGHUP", function()
    local other = Session.new { "sh", "-c", "trap '' HUP; exec " .. expect.command .. " --no-rc",
      env = { "TERM=xterm", "LC_ALL=C.UTF-8", "XDG_STATE_HOME=" .. home } }
    other:ready()
    other:type "6 *"
    other:shows "tide> 6 *"
    other:signal(1)
    other:type " 7\n"
    other:wait "\n42\r"
    other:ready()
    assert.equal(0, finish(other))
  end)

  it("leaves the terminal as it was when it is stopped at the prompt", function()
    local other = start()
    other:type "6 *"
    other:shows "tide> 6 *"
    other:signal(20) -- SIGTSTP
    other:wait(function(o) return not o.pty:raw() end, "the terminal as it was")
    other:wait(function(o) -- a SIGCONT that comes before the program has stopped is lost
      return o.pty:raw() or o:signal(18)
    end, "keys again")
    other:type " 7\n"
    other:wait "\n42\r"
    other:ready()
    other:signal(28) -- SIGWINCH, at an empty line
    assert.equal("43\n", other:enter "_ + 1")
    assert.equal(0, finish(other))
  end)
end)

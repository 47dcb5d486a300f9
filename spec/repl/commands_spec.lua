-- Commands, help and the explanation of errors at the prompt.
local expect = require "spec.support.expect"
local commands = require "tide.repl.commands"
local explain = require "tide.repl.explain"
local help = require "tide.help"
local chunk = require "tide.repl.chunk"

-- What a command writes in a session with these variables.
local function output(line, env)
  local written = {}
  local session = {
    env = env or {},
    declare = function() end,
    known = {},
    worked = { "local kept = 1" },
    terminal = { clock = os.clock },
    out = {
      write = function(_, ...)
        written[#written + 1] = table.concat { ... }
      end,
      flush = function() end,
    },
    results = function(_, values)
      written[#written + 1] = "result " .. tostring(values[1]) .. "\n"
    end,
  }
  for k in pairs(_G) do
    session.known[k] = true
  end
  local f = assert(commands.parse(line), line)
  f(session)
  return table.concat(written), session
end

describe("repl.commands.parse", function()
  it("leaves Lua to Lua", function()
    for _, line in ipairs { "x % 2", "a = b", "print '?'", "f(x)", "-- ?", "x ~= y" } do
      assert.is_nil(commands.parse(line), line)
    end
  end)

  it("knows every command of its list by %help", function()
    local text = output "%help"
    for name, entry in pairs(commands.list) do
      assert.truthy(text:find("%" .. name .. " " .. entry[1], 1, true), name)
      assert.equal("function", type(entry[3]))
    end
    assert.equal(text, output "?")
  end)

  it("times code and shows its result", function()
    assert.matches("^result 3\n[%d.e+-]+ [num]?s\n$", (output "%time 1 + 2"))
    assert.matches("^[%d.e+-]+ [num]?s ± .* a run, best .*%(7 rounds of %d+%)\n$",
      (output "%timeit 1 + 2"))
  end)

  it("lists what the session made, not what Lua has", function()
    local text = output("%who", { n = 1, t = { 1, 2 }, _1 = 5 })
    assert.equal("n                number     1\nt                table      { 1, 2 }\n", text)
  end)

  it("saves inputs that worked, and runs them again", function()
    local name = os.tmpname()
    local _, session = output("%save " .. name)
    local globals = {}
    session.env = chunk.session(globals)
    commands.parse("%load " .. name)(session)
    assert.equal(1, session.env.kept)
    os.remove(name)
  end)

  it("saves what commands ran too", function()
    local name, script = os.tmpname(), os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write "ran = (ran or '') .. ... .. '!'"
    file:close()
    local _, session = output("%run " .. script .. " word", { tide = require "tide" })
    commands.parse "%time timed = ran"(session)
    commands.parse "%seed 7"(session)
    commands.parse("%save " .. name)(session)
    session.env = chunk.session { tide = require "tide", assert = assert, loadfile = loadfile }
    commands.parse("%load " .. name)(session)
    assert.equal("word!", session.env.ran)
    assert.equal("word!", session.env.timed)
    assert.equal(7, (require("tide.core").generator()))
    os.remove(name)
    os.remove(script)
  end)

  it("profiles code: ops, then lines of Lua", function()
    local old, lines = print, {}
    _G.print, _G.tide = function(text) lines[#lines + 1] = text end, require "tide"
    local line = "%prof for i = 1, 30000 do local _ = tide.ones { 2 } end"
    local ok, text = pcall(output, line, { tide = _G.tide })
    _G.print = old
    assert.is_true(ok, text)
    assert.matches("^op +calls", lines[1])
    assert.matches("^fill_ +30000 ", lines[2])
    assert.matches("^ *[%d.]+ %%  %S+:%d+\n", text)
    assert.error_matches(function() output("%prof error 'x'", { error = error }) end, "x")
    _G.tide = nil
  end)

  it("draws values and histories", function()
    _G.tide = require "tide"
    local figure = output("%plot curve", { curve = { 1, 3, 2 } })
    assert.matches(" 3.10 |", (figure:gsub("│", "|"))) -- ASCII where the locale is not UTF-8
    local history = { history = { loss = { 3, 2, 1 } }, epoch = { 1, 2, 3 } }
    assert.matches("loss", (output("%plot", { _ = history })))
    assert.has_error(function() output "%plot nothing" end, "say what to draw")
    _G.tide = nil
  end)

  it("edits the last input and runs it, and runs scripts with arguments", function()
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write "ran = ... .. '!'"
    file:close()
    local env = {}
    output("%run " .. name .. " word", env)
    assert.equal("word!", env.ran)
    os.remove(name)
    local old = os.getenv
    os.getenv = function(key) -- luacheck: ignore 122
      return key == "VISUAL" and "sed -i 's/local kept = 1/return 41 + 1/'" or old(key)
    end
    local ok, text = pcall(output, "%edit")
    os.getenv = old -- luacheck: ignore 122
    assert.is_true(ok, text)
    assert.equal("result 42\n", text)
  end)

  it("takes help, exit and quit for what they say, unless they are the session's own", function()
    for _, line in ipairs { "exit", "quit", " exit() ", "quit()" } do
      local session = {}
      commands.parse(line, {})(session)
      assert.is_true(session.leaving)
      assert.is_nil(commands.parse(line, { exit = 1, quit = 2 }))
      assert.is_nil(commands.parse(line))
    end
    assert.equal(commands.list.help[3], commands.parse("help", { help = commands.help }))
    assert.is_nil(commands.parse("help", { help = 1 }))
    assert.is_nil(commands.parse("help(x)", { help = commands.help }))
  end)

  it("names what was meant, and what stands for a name of another library", function()
    assert.has_error(function() output "%hlep" end,
      "no command %hlep; did you mean %help? %help lists them")
    assert.has_error(function() output "? Dens" end,
      "nothing is known of 'Dens'; did you mean 'Dense'? (? *Dens* searches)")
    assert.error_matches(function() output "? GradientTape" end,
      "'GradientTape'; in Tide: tide.value_and_grad")
    assert.error_matches(function() output "? tide.utils.get_file" end,
      "'tide.utils.get_file'; Tide does not have it yet")
  end)

  it("refuses what it does not know", function()
    assert.has_error(function() output "%nosuch" end, "no command %nosuch; %help lists them")
    assert.has_error(function() output "!exit 3" end, "the command ended with status 3")
    assert.has_error(function() output "%time" end, "say what to time")
    assert.error_matches(function()
      output "? nothing_at_all"
    end, "nothing is known of 'nothing_at_all'")
  end)

  it("reloads a module in place and keeps the old one on failure", function()
    package.preload["spec.reloaded"] = function() return { new = true } end
    local old = { old = true }
    package.loaded["spec.reloaded"] = old
    local env = { m = old }
    output("%reload spec.reloaded", env)
    assert.is_true(env.m.new)
    package.preload["spec.reloaded"] = function() error "broken" end
    assert.error_matches(function() output "%reload spec.reloaded" end, "broken")
    assert.is_true(package.loaded["spec.reloaded"].new)
    package.preload["spec.reloaded"], package.loaded["spec.reloaded"] = nil, nil
  end)
end)

describe("a line at the prompt", function()
  it("says how long it took, only when it was long", function()
    local now, written = 0, {}
    local session = require("tide.repl").session {
      terminal = {
        clock = function() return now end,
        size = function() return 80 end,
        guarded = function(f, handler, ...) return xpcall(f, handler, ...) end,
      },
      out = {
        write = function(_, ...) written[#written + 1] = table.concat { ... } end,
        flush = function() end,
      },
    }
    session.colour = false
    local function run(seconds)
      written = {}
      session:run(function() now = now + seconds return 7 end, { source = "7" })
      return table.concat(written)
    end
    assert.equal("7\n", run(0.09))
    assert.equal("7\n0.11 s\n", run(0.11))
    assert.equal("7\n1 min 5 s\n", run(65))
  end)
end)

describe("repl.history", function()
  it("keeps the last entries and cuts the file when it is twice too long", function()
    local history = require "tide.repl.history"
    local path, old = history.path, os.tmpname()
    history.path = function() return old end
    local function written(n)
      local file = assert(io.open(old, "w"))
      for i = 1, n do
        file:write("line ", i, "\\nof \\\\two\n")
      end
      file:close()
    end
    written(10002)
    local entries = history.load()
    assert.equal(10000, #entries)
    assert.equal("line 3\nof \\two", entries[1])
    assert.equal("line 1\\nof \\\\two", expect.read(old):match "^[^\n]*")
    written(20001)
    entries = history.load()
    assert.equal("line 20001\nof \\two", entries[10000])
    assert.equal("line 10002\\nof \\\\two", expect.read(old):match "^[^\n]*")
    history.path = path
    os.remove(old)
  end)
end)

describe("repl.help", function()
  it("shows the comment and the parameters of a function", function()
    local text = help.text(explain.hint, "explain.hint")
    assert.matches("^explain%.hint%(message, env, source%)\n\n\"did you mean", text)
    assert.matches("@param env table", text)
  end)

  it("shows an op's arguments, defaults and whether it has a gradient", function()
    local tide = require "tide"
    local text = help.text(tide.ops.softmax, "softmax")
    assert.matches("ops.softmax%(x, %[axis%]%)", text)
    assert.matches("\n  axis%s+axes = %-1%s+axes that sum to one", text)
    assert.matches("Differentiable", text)
  end)

  it("shows the source with its place", function()
    local text = help.source(explain.hint)
    assert.matches("^%-%- .*explain%.lua:%d+\n%-%-%- \"did you mean", text)
    assert.matches("\nend$", text)
    assert.is_nil(help.source(print))
  end)

  it("shows the source of a class: where it is made, and its methods there", function()
    local dense = help.source(require("tide").layers.Dense)
    assert.matches("^%-%- .*core%.lua:%d+\n%-%-%- A fully connected", dense)
    assert.matches("\ncore%.Dense = base%.derive.*  build = function.*\n}, \"kernel\"%)%)\n", dense)
    assert.matches("\n}, \"kernel\"%)%)\n\n.*\nlocal function dense", dense)
    assert.equal(dense, help.source(require("tide").layers.Dense(2)))
    local early = help.source(require("tide").callbacks.EarlyStopping)
    assert.matches('object%.class%("EarlyStopping".*:on_train_begin%(.*:on_epoch_end%(', early)
  end)

  it("paints source, losing none of it", function()
    local source = help.source(explain.hint)
    local painted = help.painted(source)
    assert.equal(source, (painted:gsub("\27%[%d+m", "")))
    assert.truthy(painted:find("\27[1mlocal\27[0m", 1, true))
    assert.equal('x = \27[32m"if"\27[0m \27[2m-- end\27[0m', help.painted 'x = "if" -- end')
  end)

  it("finds names by pattern, also those that nobody used yet", function()
    local found = " " .. table.concat(help.search "*eye*", " ") .. " "
    assert.truthy(found:find(" tide.ops.eye ", 1, true))
    assert.truthy(table.concat(help.search "*fit", " "):find("Model:fit", 1, true))
    found = table.concat(help.search "*equential", " ")
    assert.equal("tide.Sequential", found:match "tide%.Sequential")
    assert.same({}, help.search "nothing*at*all")
  end)
end)

describe("repl.explain", function()
  it("puts a caret under the word that a message names", function()
    assert.equal("  x = ) 2\n      ^", explain.place("[1]:1: unexpected symbol near ')'", "x = ) 2",
      "[1]"))
    assert.equal("  local y = foo(1)\n            ^",
      explain.place("[2]:2: attempt to call a nil value (global 'foo')",
        "-- two lines\nlocal y = foo(1)", "[2]"))
    assert.is_nil(explain.place("elsewhere.lua:1: no", "x", "[1]"))
  end)

  it("puts the caret where the compiler stopped, not at an earlier place of the word", function()
    assert.equal("  f { t.a { 1 } t.b }\n                ^",
      explain.place("[1]:1: '}' expected near 't'", "f { t.a { 1 } t.b }", "[1]"))
    assert.equal("  x = { a, a a }\n             ^",
      explain.place("[1]:2: '}' expected near 'a'", "y = 1\nx = { a, a a }", "[1]"))
    assert.equal("  x = = 2\n      ^",
      explain.place("[1]:1: unexpected symbol near '='", "x = = 2", "[1]"))
  end)

  it("tells of names without quotes that are nil where a string is meant", function()
    assert.equal('relu is nil here; such names are strings: activation = "relu"',
      explain.unquoted("m = Dense { 4, activation = ", "relu"))
    assert.matches('optimizer = "adam"', explain.unquoted("m:compile { optimizer = ", "adam"))
    assert.matches('loss = "mse"', explain.unquoted("m:compile { loss = ", "mse"))
    assert.matches('kernel_initializer = "zeros"',
      explain.unquoted("Dense { 4, kernel_initializer = ", "zeros"))
    assert.matches('reduction = "sum"', explain.unquoted("losses.Huber {\n  reduction = ", "sum"))
    assert.matches("in Lua it is written true", explain.unquoted("x = ", "True"))
    for before, word in pairs { ["activation = "] = "nothing", ["x = "] = "relu",
      ["activation = f("] = "relu", ["activation = x, "] = "relu" } do
      assert.is_nil(explain.unquoted(before, word))
    end
  end)

  it("suggests a near name", function()
    local env = setmetatable({}, { __index = _G })
    assert.equal("did you mean 'print'?",
      explain.hint("[1]:1: attempt to call a nil value (global 'prnt')", env))
    assert.is_nil(explain.hint("[1]:1: something else", {}))
    env.t = require("tide").ones { 2 }
    assert.equal("did you mean 'reshape'?",
      explain.hint("[1]:1: attempt to call a nil value (method 'reshap')", env, "t:reshap(3)"))
    assert.is_nil(explain.hint("[1]:1: attempt to call a nil value (method 'reshap')", env,
      "f():reshap(3)"))
  end)

  it("tells any error value", function()
    assert.equal("nil", explain.message(nil))
    assert.equal("(error object is a table value)", explain.message {})
    assert.equal("told", explain.message(setmetatable({}, { __tostring = function()
      return "told"
    end })))
  end)

  it("folds Tide's frames, and the C between them, into a line", function()
    local frames = require "tide.repl.frames"
    local home = debug.getinfo(frames.inner, "S").source:match "^@(.*)repl/"
    local text = "x.lua:1: no\nstack traceback:\n\t[C]: in function 'error'\n\t" .. home
      .. "layers/base.lua:3: in f\n\t[C]: in function 'pcall'\n\t..."
      .. home:sub(-9) .. "a.lua:9: in g\n\t(...tail calls...)\n\t[C]: in function 'pcall'\n\t\z
      mine.lua:4: in h\n\t[C]: in method 'matmul'\n\tmine.lua:5: in main chunk\n\t[C]: in ?"
    assert.equal("x.lua:1: no\nstack traceback:\n\t... 5 frames of Tide (so)\n\t[C]: in \z
      function 'pcall'\n\tmine.lua:4: in h\n\t[C]: in method 'matmul'\n\tmine.lua:5: in main \z
      chunk\n\t[C]: in ?", frames.folded(text, "so"))
    assert.is_false(frames.inner "\t/elsewhere/tide/a.lua:3: in f")
  end)

  it("says of a method that was called with a dot that a colon is due", function()
    local frames = require "tide.repl.frames"
    local dense = require("tide").layers.Dense(2)
    local _, e = pcall(dense.get_config)
    assert.equal("a method is called with a colon: write x:method(...)", explain.hint(e, {}))
    assert.matches("%(local 'self'%); a method is called with a colon[^\n]*\nstack traceback:\n",
      explain.of_script(e .. "\nstack traceback:\n\t[C]: in ?"))
    assert.is_nil(frames.without_self "mine.lua:1: attempt to index a nil value (local 'self')")
  end)

  it("drops the prompt's own frames", function()
    local trace =
      "stack traceback:\n\t[C]: in function 'error'\n\t[1]:1: in global 'f'\n\t[1]:1: in main \z
      chunk\n"
      .. "\t[C]: in function 'xpcall'\n\t/x/lua/tide/repl/init.lua:9: in method 'run'"
    assert.equal("stack traceback:\n\t[1]:1: in global 'f'", explain.trimmed(trace))
  end)
end)

-- Commands, help and the explanation of errors at the prompt.
local commands = require "tide.repl.commands"
local explain = require "tide.repl.explain"
local help = require "tide.repl.help"
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
    assert.matches("^[%d.e+-]+ [num]?s ± .* a run, best .*%(7 rounds of %d+%)\n$", (output "%timeit 1 + 2"))
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

  it("refuses what it does not know", function()
    assert.has_error(function() output "%nosuch" end, "no command %nosuch; %help lists them")
    assert.has_error(function() output "!exit 3" end, "the command ended with status 3")
    assert.has_error(function() output "%time" end, "say what to time")
    assert.error_matches(function() output "? nothing_at_all" end, "nothing is known of 'nothing_at_all'")
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
    assert.matches("\n  axis%s+axis = %-1%s+axis that sums to one", text)
    assert.matches("Differentiable", text)
  end)

  it("shows the source with its place", function()
    local text = help.source(explain.hint)
    assert.matches("^%-%- .*explain%.lua:%d+\n%-%-%- \"did you mean", text)
    assert.matches("\nend$", text)
    assert.is_nil(help.source(print))
  end)

  it("paints source, losing none of it", function()
    local source = help.source(explain.hint)
    local painted = help.painted(source)
    assert.equal(source, (painted:gsub("\27%[%d+m", "")))
    assert.truthy(painted:find("\27[1mlocal\27[0m", 1, true))
    assert.equal('x = \27[32m"if"\27[0m \27[2m-- end\27[0m', help.painted 'x = "if" -- end')
  end)

  it("finds names by pattern", function()
    local found = table.concat(help.search "*equential", " ")
    assert.equal("tide.Sequential", found:match "tide%.Sequential")
    assert.same({}, help.search "nothing*at*all")
  end)
end)

describe("repl.explain", function()
  it("puts a caret under the word that a message names", function()
    assert.equal("  x = ) 2\n      ^", explain.place("[1]:1: unexpected symbol near ')'", "x = ) 2", "[1]"))
    assert.is_nil(explain.place("[1]:1: unexpected symbol near '='", "x = = 2", "[1]"))
    assert.equal("  local y = foo(1)\n            ^",
      explain.place("[2]:2: attempt to call a nil value (global 'foo')", "-- two lines\nlocal y = foo(1)", "[2]"))
    assert.is_nil(explain.place("elsewhere.lua:1: no", "x", "[1]"))
  end)

  it("suggests a near name", function()
    local env = setmetatable({}, { __index = _G })
    assert.equal("did you mean 'print'?", explain.hint("[1]:1: attempt to call a nil value (global 'prnt')", env))
    assert.is_nil(explain.hint("[1]:1: something else", {}))
    env.t = require("tide").ones { 2 }
    assert.equal("did you mean 'reshape'?",
      explain.hint("[1]:1: attempt to call a nil value (method 'reshap')", env, "t:reshap(3)"))
    assert.is_nil(explain.hint("[1]:1: attempt to call a nil value (method 'reshap')", env, "f():reshap(3)"))
  end)

  it("tells any error value", function()
    assert.equal("nil", explain.message(nil))
    assert.equal("(error object is a table value)", explain.message {})
    assert.equal("told", explain.message(setmetatable({}, { __tostring = function() return "told" end })))
  end)

  it("drops the prompt's own frames", function()
    local trace = "stack traceback:\n\t[C]: in function 'error'\n\t[1]:1: in global 'f'\n\t[1]:1: in main chunk\n"
      .. "\t[C]: in function 'xpcall'\n\t/x/lua/tide/repl/init.lua:9: in method 'run'"
    assert.equal("stack traceback:\n\t[1]:1: in global 'f'", explain.trimmed(trace))
  end)
end)

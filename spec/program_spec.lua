-- The tide program from outside: options, exit status, what it prints and where.
local expect = require "spec.support.expect"

local program, quoted = expect.command, expect.quoted

-- Runs the program: what it printed on both outputs, and its exit status.
local function run(arguments, input, prefix)
  local errors = os.tmpname()
  local feed = input and ("printf %s " .. quoted((input:gsub("\\", "\\\\"):gsub("%%",
    "%%%%"))) .. " | ") or ""
  local command = ("%s%s %s %s 2>%s%s"):format(
    feed, prefix or "", program, arguments, errors, input and "" or " </dev/null")
  local pipe = assert(io.popen(command))
  local out = pipe:read "a"
  local _, _, status = pipe:close()
  local file = assert(io.open(errors))
  local err = file:read "a"
  file:close()
  os.remove(errors)
  return out, err, status
end

local function with_script(code, f)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(code)
  file:close()
  local ok, e = pcall(f, name)
  os.remove(name)
  assert(ok, e)
end

describe("tide", function()
  it("prints its version and its help", function()
    assert.matches("^Tide %d+%.%d+%.%d+ on Lua 5%.4", (run "--version"))
    assert.matches("^usage: tide", (run "--help"))
  end)

  it("refuses an option that does not exist, with the usage", function()
    local out, err, status = run "--nonsense"
    assert.equal("", out)
    assert.matches("--nonsense.*usage: tide", err)
    assert.equal(1, status)
    assert.equal(1, select(3, run "-e"))
  end)

  it("runs a line with tide at hand", function()
    local out, _, status = run "-e 'print(tide.version, 1 + 1)'"
    assert.matches("^%d+%.%d+%.%d+\t2\n$", out)
    assert.equal(0, status)
  end)

  it("runs a script with arg and its arguments", function()
    with_script(
      "print(arg[0] == ..., select('#', ...), arg[1], arg[2], arg[-1] ~= nil) print(tide)",
      function(name)
      local out = run(("%s %s 'b c'"):format(name, name))
      assert.equal(("true\t2\t%s\tb c\ttrue\nnil\n"):format(name), out)
    end)
  end)

  it("requires a module into a global, also one of another name", function()
    assert.equal("aaa\tnil\n", (run "-l tide.list -l s=string -e 'print(s.rep([[a]], 3), list)'"))
    assert.equal("0.1.0\n", (run "-l t=tide -e 'print(t.version)'"))
  end)

  it("runs standard input as a script, also named -", function()
    assert.equal("3\n", (run("", "print(1 + 2)\n")))
    assert.equal("x\n", (run("- x", "print(...)\n")))
  end)

  it("points out names without quotes that are nil where a string is meant, once each", function()
    local code = [[
local tide = require "tide"
local layers = tide.layers
local last
for _ = 1, 2 do
  last = tide.Sequential {
    layers.Conv2D { 4, 3, activation = relu,
      padding = same, use_bias = False, input_shape = { 8, 8, 1 } },
    layers.Flatten(),
    layers.Dense { 2, kernel_initializer = zeros } }
  last:compile { optimizer = adam, loss = "mse", metrics = { accuracy, mse } }
end
sum = (sum or 0) + 1 -- a global of one's own
zeros = zeros or 3
if DEBUG or adam then print "never" end
local options = { level = LEVEL, activation = own }
print(sum, zeros, options.level)
return function() return relu end
]]
    with_script(code, function(name)
      local out, err, status = run(name)
      assert.equal("1\t3\tnil\n", out)
      assert.equal(0, status)
      local at = "tide: " .. name .. ":"
      assert.equal(table.concat({
        at .. '6: relu is nil here; such names are strings: activation = "relu"',
        at .. '7: same is nil here; such names are strings: padding = "same"',
        at .. "7: False is nil here; in Lua it is written false",
        at .. '9: zeros is nil here; such names are strings: kernel_initializer = "zeros"',
        at .. '10: adam is nil here; such names are strings: optimizer = "adam"',
        at .. '10: accuracy is nil here; such names are strings: metrics = { "accuracy" }',
        at .. '10: mse is nil here; such names are strings: metrics = { "mse" }',
      }, "\n") .. "\n", err)
    end)
    with_script("t = { relu, None, x = True } print(#t)", function(name)
      assert.equal("", select(2, run(name))) -- Tide is not even loaded
    end)
    local _, err = run("-e 'tide.layers.Dense { 1, activation = tanh, use_bias = True }'")
    assert.equal("tide: -e:1: tanh is nil here; such names are strings: activation = \"tanh\"\n"
      .. "tide: -e:1: True is nil here; in Lua it is written true\n", err)
    _, err = run("", 'tide = require "tide"\nd = tide.layers.Dense { 1, activation = tanh }\n')
    assert.matches("^tide: stdin:2: tanh is nil here", err)
  end)

  it("tells a failing script what a global was meant to be", function()
    local _, err = run("", 'local tide = require "tide"\nprint(Dense { 1 })\n')
    assert.matches("global 'Dense'%); did you mean 'tide.layers.Dense'%?\n", err)
    _, err = run("", "pritn(1)\n")
    assert.matches("global 'pritn'%); did you mean 'print'%?\n", err)
  end)

  it("answers a failing script with a traceback and status 1", function()
    with_script("local function f() error 'boom' end\nf()", function(name)
      local out, err, status = run(name)
      assert.equal("", out)
      assert.matches("^tide: .*:1: boom\nstack traceback:.*in main chunk", err)
      assert.equal(1, status)
    end)
    assert.equal(1, select(3, run "/nowhere/no.lua"))
    assert.equal(1, select(3, run "-e 'x ='"))
  end)

  it("folds Tide's own frames in the traceback, but with TIDE_TRACEBACK", function()
    local code = "local tide = require 'tide'\n\z
      local f = tide.layers.Lambda(function() error 'mine' end)\nf(tide.ones { 1 })"
    with_script(code, function(name)
      local _, err = run(name)
      assert.matches(":2: mine\nstack traceback:\n.*\t%.%.%. %d+ frames? of Tide \z
        %(TIDE_TRACEBACK=1 shows them%)\n\t[^\n]*:3: in main chunk\n\t%[C%]: in %?\n$", err)
      assert.not_matches("layers/base", err)
      _, err = run(name, nil, "TIDE_TRACEBACK=1 ")
      assert.matches("layers/base", err)
    end)
  end)

  it("prints an error object by its __tostring", function()
    local _,
      err = run [[-e 'error(setmetatable({}, { __tostring = function() return "told" end }))']]
    assert.matches("^tide: told", err)
  end)

  it("opens its own state in generational mode", function()
    assert.equal("generational\n", (run [[-e 'print(collectgarbage "generational")']]))
  end)

  it("finds Tide from any folder", function()
    local command = "cd / && env -u LUA_PATH -u LUA_CPATH %s -e 'print(tide.version)' </dev/null"
    local pipe = io.popen(command:format(program))
    assert.matches("^%d", pipe:read "a")
    pipe:close()
  end)

  it("ends a script at Ctrl-C, also inside a coroutine", function()
    local code = [[io.stdout:write("go\n") io.stdout:flush()
      local co = coroutine.wrap(function() while true do end end) co()]]
    with_script(code, function(name)
      local session = require("spec.support.session").new { expect.program, name }
      session:wait "go\r"
      session:signal(2)
      session:wait "tide: .*interrupted!"
      assert.equal(1, session:finish())
    end)
  end)
end)

describe("the prompt without a terminal", function()
  local function lines(text)
    return (run("-i", text))
  end

  it("prints the values of expressions and nothing else", function()
    assert.equal("2\n", lines "1 + 1\n")
    assert.equal("1\tx\n", lines "1, 'x'\n")
    assert.equal("", lines "local y = 3\n")
    assert.equal("nil\n", lines "nil\n")
    assert.equal("3\n", lines "= 1 + 2\n")
  end)

  it("keeps locals from line to line, shared with closures", function()
    assert.equal(
      "2\n2\n", lines "local n = 0\nlocal function up() n = n + 1 end\nup() up()\nn\nn\n")
    assert.equal("nil\t1\n", lines "local a, b <const> = nil, 1\na, b\n")
    assert.equal("5\n", lines "local print = 5\nprint\n")
  end)

  it("reads blocks of several lines", function()
    assert.equal("1\n2\n", lines "for i = 1, 2 do\nprint(i)\nend\n")
    assert.equal("3\n", lines "1 +\n2\n")
    assert.equal("a\nb\n", lines "[[a\nb]]\n")
  end)

  it("keeps results as _ and is hushed by a semicolon", function()
    assert.equal("7\n7\n14\n", lines "7\n_\n_ + 7\n")
    assert.equal("9\n", lines "9;\n_\n")
    assert.equal("1\t2\n2\n", lines "1, 2\n_2\n")
  end)

  it("goes on after an error and says so in its status", function()
    local out, err, status = run("-i", "error 'boom'\n1 +\n\n* 2\n3\n")
    assert.equal("3\n", out)
    assert.matches("boom", err)
    assert.not_matches("repl/init.lua", err)
    assert.equal(1, status)
  end)

  it("names a block that never ends", function()
    local _, err, status = run("-i", "for i = 1, 2 do\n")
    assert.matches("'end' expected .*near <eof>", err)
    assert.equal(1, status)
  end)

  it("writes neither banner nor colour", function()
    assert.not_matches("\27", lines "error 'x'\n1\n")
  end)
end)

describe("output that cannot be written", function()
  it("is an error of the tide program", function()
    local pipe = io.popen("{ " .. expect.command .. " -e 'print(1)' >/dev/full; echo $?; } 2>&1")
    local text = pipe:read "a"
    pipe:close()
    assert.equal("tide: standard output cannot be written: No space left on device\n1\n", text)
  end)
end)

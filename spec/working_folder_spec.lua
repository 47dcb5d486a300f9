-- Nothing of Tide is looked up in the working folder, where anybody's files may lie: an unpacked
-- download with a tide/core.lua in it is read, not run.
local expect = require "spec.support.expect"

describe("a working folder with modules of Tide's names", function()
  local folder
  local own = [[print "RUN FROM THE WORKING FOLDER" os.exit(9)]]

  setup(function()
    folder = expect.folder()
    assert(os.execute(("mkdir -p %s/tide/cli %s/tide/repl"):format(folder, folder)))
    for _, file in ipairs { "core", "env", "namespace", "layers", "list", "nothing", "cli/evil",
      "cli/doctor", "cli/inspect", "repl/init", "repl/frames", "repl/terminal", "init" } do
      expect.write(("%s/tide/%s.lua"):format(folder, file), own)
    end
    expect.write(folder .. "/tide/core.so", "no shared object")
    expect.write(folder .. "/tide.so", "no shared object")
    expect.write(folder .. "/mine.lua", "return 'mine'")
  end)

  teardown(function()
    os.execute("rm -r " .. folder)
  end)

  -- What a command of the shell says in that folder.
  local function run(command, ...)
    local pipe = io.popen(("cd %s && %s 2>&1"):format(folder, command:format(...)))
    local text = pipe:read "a"
    pipe:close()
    return text
  end

  local function tide(arguments)
    return run("env -u LUA_PATH -u LUA_CPATH %s %s </dev/null", expect.command, arguments)
  end

  local function lua(code, front)
    local path, cpath = expect.lua:match "^LUA_PATH='(.-)' LUA_CPATH='(.-)'"
    if not path then -- what is installed is tested
      path, cpath = package.path, package.cpath
    end
    return run("LUA_PATH='%s%s' LUA_CPATH='%s%s' lua5.4 -e %s", front and "./?.lua;./?/init.lua;"
      or "", path, front and "./?.so;" or "", cpath, expect.quoted(code))
  end

  local uses = [[print(tide.ones { 2 }.ndim, tide.layers.Dense)]]

  it("is not run by the program, whatever it is asked for", function()
    local there = folder .. "/tide.lua"
    for _, file in ipairs { there, false } do -- with a tide.lua, then with a folder tide alone
      if file then
        expect.write(file, own)
      end
      assert.equal("1\tclass Dense\n", tide("-e " .. expect.quoted(uses)))
      expect.write(folder .. "/script.lua", [[local tide = require "tide" ]] .. uses)
      assert.equal("1\tclass Dense\n", tide "script.lua")
      assert.equal("1\n", tide "-l t=tide -e 'print(t.ones(1).ndim)'")
      expect.has(tide "inspect mine.lua", "tide inspect: ")
      expect.has(tide "doctor", "lib/tide/core.so")
      expect.has(tide "train mine.lua", "tide train: ")
      expect.has(tide "evil", "cannot open evil")
      expect.has(tide "-e 'error {}'", "tide: ")
      os.remove(there)
    end
  end)

  it("is not run by the prompt", function()
    local function prompt(lines)
      return run("printf '%%s' %s | env -u LUA_PATH -u LUA_CPATH HOME=%s %s -i",
        expect.quoted(lines), folder, expect.command)
    end
    assert.equal("1\nmine\t./mine.lua\n", prompt "tide.ones({ 2 }).ndim\nrequire 'mine'\n")
    expect.has(prompt "require 'tide.nothing'\n", "module 'tide.nothing' not found")
  end)

  it("is not run by plain Lua once Tide's own first module is", function()
    local code = [[local tide = require "tide" ]] .. uses
    assert.equal("1\tclass Dense\n", lua(code))
    assert.matches("^class Dense\n$", lua [[print(require("tide.layers").Dense)]])
    assert.matches("^table: ", lua [[print(require "tide.core")]])
    expect.has(lua [[require "tide" require "tide.nothing"]], "module 'tide.nothing' not found")
    assert.equal("mine\n", lua [[require "tide" print((require "mine"))]])
    -- `luarocks path` puts the working folder first, where Lua itself would find a module tide
    assert(os.rename(folder .. "/tide/init.lua", folder .. "/tide/other.lua"))
    local said = lua(code, true)
    assert(os.rename(folder .. "/tide/other.lua", folder .. "/tide/init.lua"))
    assert.equal("1\tclass Dense\n", said)
  end)

  it("may hold modules of the person's own, also under LUA_PATH's relative entries", function()
    assert.equal("mine\n", tide "-e 'print((require [[mine]]))'")
    assert(os.execute(("mkdir -p %s/more/tide && echo 'return 8' >%s/more/tide/eight.lua"):format(
      folder, folder)))
    assert.equal("8\n", run("LUA_PATH='more/?.lua;;' %s -e 'print((require [[tide.eight]]))'",
      expect.command))
    local pipe = io.popen("LUA_PATH='./lua/?.lua;./lua/?/init.lua' LUA_CPATH=" ..
      expect.quoted(package.cpath) .. [[ lua5.4 -e 'print(require("tide").layers.Dense)' 2>&1]])
    assert.equal("class Dense\n", pipe:read "a")
    pipe:close()
  end)

  it("leaves a host's own searchers to be asked", function()
    assert.equal("made\n", lua [[
      local function mine(name)
        return name:find "made" and function() return "made" end or nil
      end
      require "tide"
      table.insert(package.searchers, mine)
      print((require "tide.made"))]])
  end)
end)

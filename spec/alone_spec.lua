--- Every module of lua/tide loads first in a process of its own: none depends on what another one
--- did when it was loaded before.
local expect = require "spec.support.expect"

describe("each module of lua/tide", function()
  it("can be the first that a process loads", function()
    local files = io.popen "find lua/tide -name '*.lua' | sort"
    local script, names = {}, {}
    for path in files:lines() do
      local name = path:match("^lua/(.*)%.lua$"):gsub("/", "."):gsub("%.init$", "")
      names[#names + 1] = name
      script[#script + 1] = ("%s -e %s 2>&1 || echo FAILED %s"):format(expect.lua,
        expect.quoted(("require %q"):format(name)), name)
    end
    files:close()
    assert.is_true(#names > 100)
    local pipe = io.popen(table.concat(script, "\n"))
    local said = pipe:read "a"
    pipe:close()
    assert.equal("", said)
  end)
end)

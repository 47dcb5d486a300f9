-- README.md and `make help` say what is so: programs run as they stand, commands and files that are
-- named are there.
local expect = require "spec.support.expect"

local readme, makefile = expect.read "README.md", expect.read "Makefile"

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  local _, _, status = pipe:close()
  return text, status
end

describe("README.md", function()
  it("has programs that run as they stand, in a folder of their own", function()
    local folder, n = expect.folder(), 0
    for code in readme:gmatch "\n```lua\n(.-)\n```" do
      n = n + 1
      expect.write(folder .. "/first.lua", code)
      local command = "cd %s && %s first.lua 2>&1 </dev/null"
      local text, status = output(command:format(folder, expect.command))
      assert.equal(0, status, text)
      assert.matches("Epoch 30/30\n", text)
      local accuracy = tonumber(text:match "\n[%d.]+\t([%d.]+)\n")
      assert.is_true(accuracy and accuracy > 0.9, text)
    end
    os.execute("rm -r " .. folder)
    assert.equal(1, n)
  end)

  it("names commands of make that there are", function()
    local seen = 0
    for before, target in readme:gmatch "([`\n(])make ([%l-]+)" do
      seen = seen + 1
      target = target == "-s" and readme:match("make %-s ([%l-]+)") or target
      assert.truthy(makefile:find("\n" .. target .. ":", 1, true), before .. "make " .. target)
    end
    assert.is_true(seen >= 8)
  end)

  it("names files that there are", function()
    local missing, seen = {}, 0
    for name in readme:gmatch "[`(]([%w_./<>-]+)[`)]" do
      name = name:gsub("<family>", "conv")
      if name:find "^%.?%l+/[%w_]" and not name:find "^build/" then
        seen = seen + 1
        local f = io.open(name)
        missing[#missing + 1] = not f and name or nil
        if f then
          f:close()
        end
      end
    end
    assert.equal("", table.concat(missing, " "))
    assert.is_true(seen >= 20)
  end)
end)

describe("make help", function()
  it("names every command", function()
    local help = output "MAKEFLAGS= make -s help"
    for target in makefile:match("\n%.PHONY: (all [^\n]*)"):gmatch "%S+" do
      if target ~= "all" and target ~= "FORCE" and target ~= "format-check" then
        assert.truthy(help:find("make " .. target, 1, true), target)
      end
    end
  end)
end)

describe("SECURITY.md", function()
  it("names specs and commands that are there for every promise", function()
    local security = expect.read "SECURITY.md"
    assert.truthy(readme:find("](SECURITY.md)", 1, true))
    local promises = 0
    for row in security:gmatch "\n(| [^|]+ | [^|\n]*spec/[^|\n]* |)" do
      promises = promises + 1
      for path in row:gmatch "`(spec/[%w_/.]+)`" do
        assert.truthy(io.open(path), path)
      end
      for target in row:gmatch "`make ([%l-]+)" do
        assert.truthy(makefile:find("\n" .. target .. ":", 1, true), target)
      end
      for parts in row:gmatch 'ONLY="?([%l ]+)' do
        for part in parts:gmatch "%l+" do
          assert.truthy(makefile:match("\nSOAK = [^\n]*%f[%w]" .. part), part)
        end
      end
    end
    local rows = select(2, security:gsub("\n|[^\n]+|%f[\n]", "")) -- with two heads of two lines
    assert.equal(rows - 4, promises)
  end)
end)

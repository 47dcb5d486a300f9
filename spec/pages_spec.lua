-- The pages for newcomers say what is so: every program in them runs as it stands, in a folder of
-- its own, and what the page shows as its output is what it prints, numbers within a twentieth.
local expect = require "spec.support.expect"

-- The programs of a page in order: { code, output = the text block right after it, or nil }.
local function programs(text)
  local out = {}
  for kind, body in text:gmatch "\n```(%l+)\n(.-)\n```" do
    if kind == "lua" then
      out[#out + 1] = { body }
    elseif kind == "text" and #out > 0 then
      out[#out].output = body
    end
  end
  return out
end

local function close(a, b)
  return math.abs(a - b) <= math.max(math.abs(a), math.abs(b)) * 0.05
end

-- Lines compared with their numbers apart. `shown` is the end of what is printed.
local function same(shown, printed)
  local want, got = {}, {}
  for line in (shown .. "\n"):gmatch "(.-)\n" do
    want[#want + 1] = line
  end
  for line in printed:gmatch "(.-)\n" do
    got[#got + 1] = line
  end
  for i, line in ipairs(want) do
    local other = got[#got - #want + i] or ""
    assert.equal((line:gsub("%-?%d+%.?%d*", "#")), (other:gsub("%-?%d+%.?%d*", "#")))
    local numbers = other:gmatch "%-?%d+%.?%d*"
    for number in line:gmatch "%-?%d+%.?%d*" do
      local n = tonumber(numbers())
      assert.is_true(close(tonumber(number), n), ("%s, printed %s"):format(line, other))
    end
  end
end

for page, count in pairs { ["first-steps"] = 3, ["coming-from-keras"] = 1,
  ["coming-from-pytorch"] = 1 } do
  describe("docs/" .. page .. ".md", function()
    local list = programs(expect.read("docs/" .. page .. ".md"))
    it("has its programs", function()
      assert.equal(count, #list)
    end)
    for i, program in ipairs(list) do
      it("prints what it says, program " .. i, function()
        local folder = expect.folder()
        expect.write(folder .. "/program.lua", program[1])
        local pipe = assert(io.popen(("cd %s && %s program.lua 2>&1 </dev/null"):format(folder,
          expect.command)))
        local text = pipe:read "a"
        local _, _, status = pipe:close()
        os.execute("rm -r " .. folder)
        assert.equal(0, status, text)
        assert.is_truthy(program.output, "the page shows no output")
        same(program.output, text)
      end)
    end
  end)
end

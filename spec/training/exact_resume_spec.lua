-- 10 + 10 steps in two processes are the 20 steps of one, bit for bit: every optimizer, wrapper and
-- schedule, averages, accumulation, half precision, callbacks, orders of data, augmentation
-- (spec/support/resume_cases.lua).
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local cases = require("spec.support.resume_cases").cases

describe("10 steps and 10 in another process", function()
  local folder = expect.name()
  core.mkdirs(folder)
  for _, what in ipairs { "straight", "first", "second" } do
    os.execute(("%s spec/support/resume_cases.lua %s %s"):format(expect.lua, what, folder))
  end

  local function said(i, what)
    return expect.read(("%s/%d.%s"):format(folder, i, what))
  end

  for i, c in ipairs(cases) do
    it("equal 20: " .. c.name, function()
      local want = said(i, "straight")
      assert.matches("^%-?0x", want)
      assert.matches("^error: stopped", said(i, "first"))
      assert.is_true(want == said(i, "second"), "they differ")
    end)
  end

  it("have every optimizer among them", function()
    local names = {}
    for _, c in ipairs(cases) do
      local o = c.make().optimizer
      names[getmetatable(o).__name] = true
    end
    for _, name in ipairs(tide.optimizers.class_names) do
      assert.is_true(names[name] or name == "OptimizerMap", name) -- a MultiOptimizer holds that
    end
    os.execute("rm -rf " .. folder)
  end)
end)

-- The fuzzers of Lua programs, briefly: `make fuzz` runs them for long and under the sanitizers,
-- `make engines` the second one at every set of instructions, `make fuzz-ops` the third.
local core = require "tide.core"
local fuzz = require "spec.fuzz.arguments"
local shapes = require "spec.fuzz.engines"
local calls = require "spec.fuzz.ops"

describe("functions called with arguments that nobody should give", function()
  it("answer with a value or a clear error, and keep their state", function()
    local made, complaints = fuzz.run { calls = 20000, seed = 7 }
    assert.equal(20000, made)
    assert.equal("", table.concat(complaints, "\n"))
  end)

  it("leave no tensor behind", function()
    fuzz.run { calls = 5000, seed = 11 } -- fills what is kept of numbers
    local before = core.memory().live_tensors
    fuzz.run { calls = 5000, seed = 11 }
    assert.equal(before, core.memory().live_tensors)
  end)

  it("are all that the core exports", function()
    local called = {}
    for _, name in ipairs(fuzz.targets()) do
      called[name] = true
    end
    for _, op in ipairs(core.op_names()) do
      if not core.op_info(op).private and core.ops[op] then
        assert.is_true(called["ops." .. op], op)
      end
    end
  end)
end)

describe("random shapes", function()
  it("have the same values and gradients from every engine, at every call", function()
    local compared, complaints, refused = shapes.run { cases = 60, seed = 5 }
    assert.equal("", table.concat(complaints, "\n"))
    assert.equal(60, compared)
    assert.equal(0, refused)
  end)
end)

describe("random calls of ops", function()
  it("have the values and gradients of slow forms, through views, in every dtype and engine",
    function()
    local compared, complaints = calls.run { cases = 400, seed = 3 }
    assert.equal("", table.concat(complaints, "\n"))
    assert.equal(400, compared)
  end)
end)

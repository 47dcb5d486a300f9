-- Every op's case rows (spec/support/op_cases), and the gate: an op without a row, a text or a
-- declared dtype fails. TIDE_OPS=softmax,sum runs the rows of these ops only.
local core = require "tide.core"
local runner = require "spec.support.op_runner"

local only
if os.getenv "TIDE_OPS" then
  only = {}
  for name in os.getenv("TIDE_OPS"):gmatch "[^,%s]+" do
    only[name] = true
  end
end

local rows = runner.rows()

for _, row in ipairs(rows) do
  if not row.spec and (not only or only[row.op]) then
    describe(row.op .. (row.label and ", " .. row.label or ""), function()
      for _, check in ipairs(runner.checks(row)) do
        it(check[1], check[2])
      end
    end)
  end
end

if not only then
  describe("the gate", function()
    local has, typed, valued = {}, {}, {}
    for _, row in ipairs(rows) do
      has[row.op] = true
      valued[row.op] = valued[row.op] or row.ref or row.outputs or row.expect or row.expect_all
        or row.examples or row.spec
      typed[row.op] = typed[row.op] or row.dtypes or row.spec
    end

    it("finds a case row for every op", function()
      local missing = {}
      for _, name in ipairs(core.op_names()) do
        if core.ops[name] and not core.op_info(name).private and not has[name] then
          missing[#missing + 1] = name
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds values to compare for every op", function()
      local missing = {}
      for op in pairs(has) do
        if not valued[op] then
          missing[#missing + 1] = op
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds a text for every op and every argument", function()
      local missing = {}
      for _, name in ipairs(core.op_names()) do
        local info = core.op_info(name)
        if core.ops[name] and not info.private then
          if info.doc == "" then
            missing[#missing + 1] = name
          end
          for _, a in ipairs(info.args) do
            if not a.shape and a.doc == "" and not a.name:find "_$" then
              missing[#missing + 1] = name .. "." .. a.name
            end
          end
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds the dtypes of every op declared", function()
      local missing = {}
      for _, name in ipairs(core.op_names()) do
        if has[name] and not core.op_info(name).private and not typed[name] then
          missing[#missing + 1] = name
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds two threads at work in Tide's kernel of every op", function()
      assert.are.equal("", table.concat(runner.unshared(), " "))
    end)

    it("finds every spec that a row names, and the op's name in it", function()
      for _, row in ipairs(rows) do
        if row.spec then
          local f = assert(io.open(row.spec), row.spec .. " does not exist")
          local text = f:read "a"
          f:close()
          assert(text:find(row.op, 1, true), row.spec .. " does not name " .. row.op)
        end
      end
    end)
  end)
end

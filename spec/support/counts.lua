-- Prints how many ops the core exports, and how many case rows and derived checks they have.
local core = require "tide.core"
local runner = require "spec.support.op_runner"

local exported, differentiable = 0, 0
for _, name in ipairs(core.op_names()) do
  local info = core.op_info(name)
  if core.ops[name] and not info.private then
    exported = exported + 1
    differentiable = differentiable + (info.differentiable and 1 or 0)
  end
end
local rows, checks = runner.rows(), 0
for _, row in ipairs(rows) do
  checks = checks + #runner.checks(row)
end
print(("%6d ops exported, %d of them differentiable"):format(exported, differentiable))
print(("%6d case rows, %d checks derived from them"):format(#rows, checks))

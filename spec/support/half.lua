-- What specs of float16 and bfloat16 share.
local assert = require "luassert"
local expect = require "spec.support.expect"
local tide = require "tide"
local ops = tide.ops

local half = { formats = { "float16", "bfloat16" } }

function half.half(x, dtype, grad)
  return tide.tensor(x, { dtype = dtype, requires_grad = grad })
end

-- As float64, so that nothing is rounded on the way out.
function half.wide(x)
  return x:cast "float64"
end

-- f of halves is f of the same numbers in float32, rounded once, and so is its gradient; `units`:
-- how many units of the format a value may be off, beside the largest of its tensor, or beside
-- `least`: a tensor of few numbers may hold but what two larger ones leave.
function half.rounds_once(name, f, inputs, d, units, least)
  local unit = (d == "float16" and 2 ^ -11 or 2 ^ -8) * (units or 1)
  local small, whole = {}, {}
  for i, v in ipairs(inputs) do
    small[i] = half.half(v:cast(d), d, true)
    whole[i] = tide.tensor(v:cast(d):cast "float32", { requires_grad = true })
  end
  local y, z = f(table.unpack(small)), f(table.unpack(whole))
  local places = ops.reshape(ops.arange(z.size):cast "float32", z.shape)
  local dy = (ops.mod(places, 7) * 0.25 - 0.5):cast(d)
  local got = tide.grad(y, small, { gradient = dy })
  local want = tide.grad(z, whole, { gradient = dy:cast "float32" })
  table.insert(got, 1, y:detach())
  table.insert(want, 1, z:detach())
  for i = 1, #want do
    assert.equal(d, got[i].dtype, name)
    if want[i].size > 0 then
      local off = (got[i]:cast "float32" - want[i]):abs():max():item()
      local most = unit * math.max(want[i]:abs():max():item(), least or 0) + 1e-7
      expect.close(off, 0, most, 0, name .. " " .. d .. " " .. i)
    end
  end
end

return half

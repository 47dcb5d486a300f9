-- Time and memory of an LSTM, forward and backward, by the number of steps: 128 features, 128
-- units, one sample, the last step's output.
--
--   make bench ROWS=steps
local core = require "tide.core"
local tide = require "tide"

local ops = tide.ops

tide.seed(0)
print("  steps         ms      MB   bytes a step and unit")
for _, n in ipairs { 100, 1000, 10000 } do
  local layer = tide.layers.LSTM { 128 }
  local x = tide.random.normal { 1, n, 128 }
  layer(x)
  local weights = layer.trainable_weights:totable()
  local best
  collectgarbage()
  local before = core.memory().live_bytes
  core.memory_reset_peak()
  for _ = 1, 5 do
    collectgarbage()
    local t = core.now()
    local _ = tide.grad(function() return (ops.sum(layer(x))) end, weights)
    best = math.min(best or math.huge, core.now() - t)
  end
  local bytes = core.memory().peak_bytes - before
  print(("%7d %10.1f %7.1f %8.1f"):format(n, best * 1e3, bytes / 2 ^ 20, bytes / n / 128))
end

-- Time and memory of MultiHeadAttention, forward and backward, by the length N: a causal layer of 4
-- heads of 32, one sample, with and without dropout, and beside it the same with the matrix of
-- scores (return_attention_scores) as far as that fits in a gigabyte.
--
--   make bench ROWS=attention
local core = require "tide.core"
local tide = require "tide"

local ops = tide.ops
local HEADS, WIDTH = 4, 32

-- Milliseconds, and megabytes at the peak beyond what there was.
local function measure(n, rate, scores)
  local layer = tide.layers.MultiHeadAttention { HEADS, WIDTH, dropout = rate }
  local x = tide.random.normal { 1, n, HEADS * WIDTH }
  local o = { use_causal_mask = true, training = true, return_attention_scores = scores }
  layer(x, x, o)
  local weights = layer.trainable_weights:totable()
  local best
  collectgarbage()
  core.memory_reset_peak()
  local before, begun = core.memory().live_bytes, core.now()
  for _ = 1, 5 do
    collectgarbage()
    local t = core.now()
    local _ = tide.grad(function() return (ops.sum((layer(x, x, o)))) end, weights)
    t = core.now() - t
    best = math.min(best or t, t)
    if core.now() - begun > 1 then
      break
    end
  end
  return best * 1e3, (core.memory().peak_bytes - before) / 2 ^ 20
end

tide.seed(0)
print("      N      fused ms      MB   dropout ms      MB   matrix ms      MB")
for _, n in ipairs { 128, 256, 512, 1024, 2048, 4096, 8192, 16384 } do
  local ms, mb = measure(n, 0, false)
  local dropped_ms, dropped_mb = measure(n, 0.1, false)
  local matrix = { "-", "-" }
  if 5 * HEADS * n * n * 4 < 2 ^ 30 then
    local a, b = measure(n, 0, true)
    matrix = { ("%.1f"):format(a), ("%.1f"):format(b) }
  end
  print(("%7d %13.1f %7.1f %12.1f %7.1f %11s %7s"):format(n, ms, mb, dropped_ms, dropped_mb,
    matrix[1], matrix[2]))
end

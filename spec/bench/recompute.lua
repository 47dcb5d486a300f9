--- Peak memory of the gradient of a chain of layers, with and without recomputation:
---     build/tide spec/bench/recompute.lua [layers] [batch] [width]
local core = require "tide.core"
local tide = require "tide"

local LAYERS, BATCH, WIDTH = tonumber(arg[1]) or 1000, tonumber(arg[2]) or 1024,
  tonumber(arg[3]) or 64

tide.seed(1)
local layers = {}
for i = 1, LAYERS do
  layers[i] = tide.layers.Dense { WIDTH, "tanh" }
  layers[i]:build { BATCH, WIDTH }
end
local x = tide.random.normal { BATCH, WIDTH }
local weights = {}
for _, layer in ipairs(layers) do
  table.move(layer.trainable_weights, 1, 2, #weights + 1, weights)
end

-- The chain in so many pieces; 1: nothing is computed again.
local function run(pieces)
  local y, at = x, 0
  for i = 1, pieces do
    local from, to = at + 1, i * LAYERS // pieces
    at = to
    local function piece(v)
      for k = from, to do
        v = layers[k](v)
      end
      return v
    end
    y = (pieces > 1 and tide.checkpoint(piece) or piece)(y)
  end
  return core.gradients((y * y):sum(), weights)
end

print(("%d layers of %d, batches of %d"):format(LAYERS, WIDTH, BATCH))
print("| pieces | peak MB | seconds | gradients |")
print("|--------|---------|---------|-----------|")
local want
for _, pieces in ipairs { 1, 10, 32, 100 } do
  collectgarbage()
  collectgarbage()
  core.memory_reset_peak()
  local before, begun = core.memory().live_bytes, core.now()
  local grads = run(pieces)
  local took = core.now() - begun
  local peak = (core.memory().peak_bytes - before) / 2 ^ 20
  want = want or grads
  local equal = true
  for i, g in ipairs(grads) do
    equal = equal and tide.ops.all(tide.ops.equal(g, want[i]))
  end
  print(("| %6d | %7.1f | %7.2f | %-9s |"):format(pieces, peak, took,
    equal and "the same" or "other"))
end

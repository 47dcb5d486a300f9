--- How the cost of a training step (Adam, `train_on_batch`) grows: one table for each kind of size.
---
---     make bench ROWS=growth [PARTS="depth vocabulary"] [THREADS=1] [BENCH_SECONDS=0.3]
---
--- ms: of one step, the best of many; MB: what a step holds at its peak beyond what there was
--- before it; made: seconds to make and build the model; first: seconds of its first three steps,
--- in which plans are made. slope: the exponent of the growth of ms from the line above, its last
--- column that of MB; 1 is in proportion. With one thread the time is the processor's, which other
--- programs change little.
package.path = arg[0]:gsub("spec/bench/[^/]*$", "?.lua;") .. package.path
local core = require "tide.core"
local tide = require "tide"
local L = tide.layers

local o = { seconds = "0.3", parts = "batch width depth attention lstm vocabulary parameters" }
for i = 1, #arg, 2 do
  o[arg[i]:match "^%-%-(%a+)$" or "?"] = arg[i + 1]
end
local SECONDS = math.min(tonumber(o.seconds), 2)
local clock = core.get_threads() == 1 and os.clock or core.now

local function floats(...)
  return tide.random.normal { ... }
end
local function whole(most, ...)
  return tide.random.randint({ ... }, 1, most + 1, { dtype = "int32" })
end

-- Layers one after the other.
local function chain(shape, layers, dtype)
  table.insert(layers, 1, tide.Input { shape = shape, dtype = dtype })
  return tide.Sequential(layers)
end

local classes = tide.losses.SparseCategoricalCrossentropy { from_logits = true }

-- part: what is varied, its sizes, and of a size: a function that makes the model, inputs, targets
-- and the loss ("mse" if none).
local parts = {
  batch = { "a step of 784-256-256-10 by the batch", { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512 },
    function(n)
      return function()
        return chain({ 784 }, { L.Dense { 256, "relu" }, L.Dense { 256, "relu" }, L.Dense(10) })
      end, floats(n, 784), whole(10, n), classes
    end },
  width = { "three dense layers by their width, batch 64",
    { 16, 32, 64, 128, 256, 512, 1024, 2048 }, function(n)
      return function()
        return chain({ n }, { L.Dense { n, "relu" }, L.Dense { n, "relu" }, L.Dense(n) })
      end, floats(64, n), floats(64, n)
    end },
  depth = { "dense layers of 32 by their number, batch 32",
    { 1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000 }, function(n)
      return function()
        local layers = {}
        for i = 1, n do
          layers[i] = L.Dense { 32, "tanh" }
        end
        return chain({ 32 }, layers)
      end, floats(32, 32), floats(32, 32)
    end },
  attention = { "causal self-attention of 4 heads of 16 by the length, batch 1",
    { 64, 128, 256, 512, 1024, 2048, 4096 }, function(n)
      return function()
        local x = tide.Input { n, 64 }
        return tide.Model { x, L.MultiHeadAttention { 4, 16 } (x, x, { use_causal_mask = true }) }
      end, floats(1, n, 64), floats(1, n, 64)
    end },
  lstm = { "an LSTM of 64 by the length, batch 4", { 16, 32, 64, 128, 256, 512, 1024, 2048, 4096 },
    function(n)
      return function()
        return chain({ n, 32 }, { L.LSTM(64), L.Dense(1) })
      end, floats(4, n, 32), floats(4, 1)
    end },
  vocabulary = { "an Embedding of width 8 by its rows, 64 texts of 16 words",
    { 1e4, 1e5, 1e6, 1e7 }, function(n)
      n = math.tointeger(n)
      return function()
        return chain({ 16 }, { L.Embedding { n, 8 }, L.GlobalAveragePooling1D(), L.Dense(1) },
          "int32")
      end, whole(n, 64, 16), floats(64, 1)
    end },
  parameters = { "two dense layers by all their parameters, batch 1",
    { 1e3, 1e4, 1e5, 1e6, 1e7 }, function(n)
      local width = (n / 2) ^ 0.5 // 1 | 0
      return function()
        return chain({ width }, { L.Dense { width, "relu" }, L.Dense(width) })
      end, floats(1, width), floats(1, width)
    end },
}

-- What a size costs: ms, MB, seconds of making, seconds of the first steps.
local function measure(make, x, y, loss)
  collectgarbage()
  collectgarbage()
  tide.seed(1)
  local t = clock()
  local model = make()
  model:compile { optimizer = tide.optimizers.Adam { 1e-3 }, loss = loss or "mse" }
  local made = clock() - t
  t = clock()
  for _ = 1, 3 do
    model:train_on_batch(x, y)
  end
  local first = clock() - t
  collectgarbage()
  local before = core.memory().live_bytes
  core.memory_reset_peak()
  model:train_on_batch(x, y)
  local bytes = core.memory().peak_bytes - before
  local best, begun, steps = math.huge, core.now(), 0
  while core.now() - begun < SECONDS or steps < 5 do
    t = clock()
    for _ = 1, 4 do -- more than the grain of the processor's clock
      model:train_on_batch(x, y)
    end
    best, steps = math.min(best, (clock() - t) / 4), steps + 1
  end
  return best * 1e3, bytes / 2 ^ 20, made, first
end

local function slope(now, before, n, m)
  return before and before > 0 and now > 0
    and ("%.2f"):format(math.log(now / before) / math.log(n / m)) or "-"
end

io.stdout:setvbuf "line"
tide.seed(0)
for name in o.parts:gmatch "%S+" do
  local part = parts[name] or error(("there is no part '%s'"):format(name), 0)
  print(("%s: %s; threads: %d"):format(name, part[1], core.get_threads()))
  print(("%10s %10s %7s %9s %7s %8s %8s"):format("size", "ms", "slope", "MB", "slope", "made s",
    "first s"))
  local before = {}
  for _, n in ipairs(part[2]) do
    local ms, mb, made, first = measure(part[3](n))
    print(("%10d %10.4f %7s %9.2f %7s %8.3f %8.3f"):format(n // 1, ms,
      slope(ms, before.ms, n, before.n), mb, slope(mb, before.mb, n, before.n), made, first))
    before = { ms = ms, mb = mb, n = n }
  end
end

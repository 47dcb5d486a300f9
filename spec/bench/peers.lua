--- The peers' workloads on Tide, through its public interface: `peers.lua WORKLOAD [--seconds S]`
--- prints one JSON line.
--
-- The same models, data sizes, optimizer (Adam 1e-3) and steady state as the peers: two epochs of
-- warm-up, then whole epochs for at least S seconds; the best epoch counts. A `NAME_bN` row times
-- one prediction of a batch of N; `NAME_token` a step of writing with a cache (the mean of a text
-- of full length, one sample); `NAME_after` the row after masks and integer inputs were made.
package.path = arg[0]:gsub("spec/bench/[^/]*$", "?.lua;") .. package.path
local tide = require "tide"
local core = require "tide.core"
local rows = require "spec.bench.rows"
local ops = tide.ops

local workload, seconds = arg[1], 6
for i = 2, #arg do
  if arg[i] == "--seconds" then
    seconds = tonumber(arg[i + 1])
  end
end

-- `NAME_after`: the same row once masks, integer inputs and penalties were made in the process.
local name = workload:gsub("_after$", "")
if name ~= workload then
  require "spec.support.modes_first"
end
local base, batch1 = name:match "^(.-)_b(%d+)$"
local writes = name:match "^(.-)_token$"
base = base or writes or name
if not rows.build[base] then
  error("unknown workload " .. tostring(workload), 0)
end
tide.seed(0)
local model = rows.build[base]()
local params = 0
for _, w in ipairs(model.trainable_weights) do
  params = params + w.size
end

local batch, best, median, first
local times = {}
local function report(per)
  table.sort(times)
  best, median = times[1] / per, times[#times // 2 + 1] / per
end

-- The next tokens of a text of one sample, until it is `length` long.
local function write(cache, length)
  cache:reset()
  local next_one = tide.ones({ 1, 1 }, { dtype = "int32" })
  for _ = 1, length do
    next_one = ops.argmax(model(next_one, { cache = cache }), -1)
  end
end

if batch1 or writes then
  batch = tonumber(batch1) or 1
  local x = rows.data[base](batch)
  local length = x.shape[2]
  local cache = tide.KeyValueCache { length }
  local call = writes and function() tide.no_grad(write, cache, length) end
    or function() model:predict_on_batch(x) end
  local t0 = core.now()
  call()
  first = core.now() - t0
  for _ = 1, writes and 1 or 20 do
    call()
  end
  t0 = core.now()
  while core.now() - t0 < seconds or #times < 10 do
    local t = core.now()
    call()
    times[#times + 1] = core.now() - t
  end
  report(writes and length or 1)
else
  local per
  batch, per = table.unpack(rows.train[base])
  local x, y = rows.data[base](batch * per)
  rows.compile(base, model)
  local function epoch()
    local t = core.now()
    model:fit(x, y, { batch_size = batch, epochs = 1, verbose = 0 })
    return core.now() - t
  end
  first = epoch()
  epoch()
  local t0 = core.now()
  while core.now() - t0 < seconds or #times < 3 do
    times[#times + 1] = epoch()
  end
  report(per)
end

local _, peak = core.resident()
print(string.format(
  '{"backend": "tide", "workload": "%s", "import_s": 0, "params": %d, "first_s": %.2f, "batch": \z
    %d, "ms": %.4f, "median_ms": %.4f, "per_s": %.1f, "peak_mb": %d}',
  workload, params, first, batch, best * 1e3, median * 1e3, batch / best, peak // (1024 * 1024)))

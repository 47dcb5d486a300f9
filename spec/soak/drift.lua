--- Long runs: after a warm-up neither tensors, nor their bytes, nor Lua's memory, nor the resident
--- set may grow.
--
--   drift.lua [--runs N] [--seconds S] [--seed N] [--only NAME]
--
-- Every run is one thing done N times (20,000 at `make soak`), in rounds of a tenth. After the
-- rounds the counts of tensors and of their bytes are those after the third; Lua's memory and the
-- resident set of the last rounds are no larger than those of the middle ones by more than is said.
package.path = "./?.lua;" .. package.path
local common = require "spec.soak.common"
local o = common.arguments()
local tide, core = require "tide", require "tide.core"
local L, ops = tide.layers, tide.ops

local function resident() -- in kilobytes
  return tonumber(common.read("/proc/self/status"):match "VmRSS:%s*(%d+)")
end
local function descriptors()
  return #common.names "/proc/self/fd"
end

local function small()
  local m = tide.Sequential { L.Dense { 8, activation = "relu", input_shape = { 8 } },
    L.Dropout { 0.1 }, L.Dense { 2 } }
  m:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
  return m
end

tide.seed(1)
local x, y = tide.random.normal { 64, 8 }, tide.random.normal { 64, 2 }
local pictures = tide.random.normal { 4, 8, 8, 3 }
local folder = common.folder()
local runs = {}

-- Each: how many steps one turn counts for, and the turn.
runs.fit = { 16, function()
  runs.model = runs.model or small()
  runs.model:fit(x, y, { batch_size = 4, verbose = 0 })
end }
runs["train_on_batch"] = { 1, function()
  runs.model = runs.model or small()
  runs.model:train_on_batch(x, y)
end }
runs["a loop by hand"] = { 1, function()
  runs.w = runs.w or tide.random.normal { 8, 2 }
  runs.w.requires_grad = true
  local loss = ((x:matmul(runs.w) - y) ^ 2):mean()
  loss:backward()
  tide.no_grad(function()
    runs.w:subtract_(0.01 * runs.w.grad)
    runs.w.grad = nil
  end)
end }
runs["models made and dropped"] = { 20, function()
  local m = tide.Sequential { L.Conv2D { 4, 3, input_shape = { 8, 8, 3 } }, L.Flatten {},
    L.Dense { 2 } }
  m:compile { optimizer = "sgd", loss = "mse" }
  m:train_on_batch(pictures, y[{ { 1, 4 } }])
end }
runs["hooks"] = { 1, function()
  local a = tide.tensor { 1, 2, 3 }
  a.requires_grad = true
  local b = a * 2
  b:register_hook(function(g) return g + 0 * b:detach() end)
  ops.sum(b * b):backward()
end }
runs["generators"] = { 20, function()
  local n = 0
  local made = coroutine.wrap(function()
    while true do
      n = n + 1
      coroutine.yield(x, y)
    end
  end)
  runs.model = runs.model or small()
  runs.model:fit(made, { steps_per_epoch = 2, epochs = 1, verbose = 0 })
end }
runs["errors"] = { 1, function()
  assert(not pcall(ops.matmul, x, x))
  assert(not pcall(ops.reshape, x, { 3, 3 }))
  assert(not pcall(function() return x[{ 99, 1 }] end))
end }
runs["saves and loads"] = { 50, function()
  runs.model = runs.model or small()
  for _, name in ipairs { "m.safetensors", "m.keras" } do
    runs.model:save(folder .. "/" .. name)
    tide.load_model(folder .. "/" .. name)
  end
  local f = io.open(folder .. "/bad.safetensors", "wb")
  f:write(common.read(folder .. "/m.safetensors"):sub(1, 700))
  f:close()
  assert(not pcall(tide.load_model, folder .. "/bad.safetensors"))
end }
runs["coroutines that die"] = { 1, function()
  local co = coroutine.create(function()
    tide.no_grad(function()
      local a = x * 2
      coroutine.yield(a)
    end)
  end)
  coroutine.resume(co)
end }

local names = {}
for name, run in pairs(runs) do
  names[#names + 1] = (not o.only or name:find(o.only)) and type(run) == "table" and name or nil
end
table.sort(names)

local steps = o.runs or 20000
local each = o.seconds and o.seconds / #names
print(("what is done                steps  tensors     bytes  Lua kB  resident kB"))
for _, name in ipairs(names) do
  local counts, turn = table.unpack(runs[name])
  local per_round = math.max(1, steps // counts // 10)
  local begun, done = core.now(), 0
  local at = {}
  for round = 1, 10 do
    local late = each and os.clock() + each / 10 -- of the processor: others may have it meanwhile
    local n = 0
    repeat
      turn()
      n = n + 1
    until n >= per_round or late and os.clock() > late
    done = done + n * counts
    collectgarbage()
    core.collect() -- circles through the tape, too
    local m = core.memory()
    at[round] = { m.live_tensors, m.live_bytes, collectgarbage "count", resident(), descriptors() }
  end
  local first, last = at[4], at[10]
  local function grown(i)
    -- the least of three: what is not yet freed comes and goes
    local middle, late = math.huge, math.huge
    for round = 4, 6 do
      middle = math.min(middle, at[round][i])
    end
    for round = 8, 10 do
      late = math.min(late, at[round][i])
    end
    return late - middle
  end
  print(("%-24s %8d %+8d %+9d %+7.1f %+12d   (%.0f s)"):format(name, done, last[1] - first[1],
    last[2] - first[2], grown(3), grown(4), core.now() - begun))
  common.check(last[1] <= first[1], name .. ": tensors are left")
  common.check(last[2] <= first[2], name .. ": bytes of tensors are left")
  common.check(grown(3) <= 16, ("%s: Lua's memory has grown by %.1f kB"):format(name, grown(3)))
  common.check(grown(4) <= 1024, ("%s: the resident set has grown by %d kB"):format(name, grown(4)))
  common.check(last[5] <= first[5], name .. ": descriptors are left open")
  runs.model, runs.w = nil, nil
end
os.execute("rm -rf " .. folder)
common.finish()

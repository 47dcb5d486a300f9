--- What a step costs, in numbers that no other program on the machine changes: `make instructions`.
---
--- Per step of small programs: instructions (valgrind's callgrind, plain engine, level c, one
--- thread), new tensors and bytes of Lua's memory (with the collector stopped), and blocks asked of
--- the system. Each is held against its bound, a tenth above what it was when it was stored,
--- instructions a half, for when the collector runs is a matter of time: a change that costs more
--- raises it on purpose, by `--store`, or is mended.
---
---     build/tide spec/bench/instructions.lua [--store] [ROW ...]
local FILE = "spec/bench/instructions.txt"
local MARGIN = { instructions = 1.5, bytes = 1.1, tensors = 1, blocks = 1 }
local LEAST = { instructions = 500, bytes = 64, tensors = 0, blocks = 5 }
local KINDS = { "instructions", "tensors", "bytes", "blocks" }

-- ---- the programs: each gives a function that does one step ----

local function classifier(tide, o)
  local L = tide.layers
  local m = tide.Sequential { tide.Input { 8 }, L.Dense { 16, activation = "relu" },
    L.Dense { 16, activation = "relu" }, L.Dense { 4 } }
  o = o or {}
  m:compile { optimizer = o.optimizer or "adam", metrics = { "accuracy" },
    run_eagerly = o.run_eagerly,
    loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true } }
  return m, tide.random.normal { 32, 8 }, tide.ones({ 32 }, { dtype = "int32" })
end

local programs = {
  { "op", 8000, function(tide)
    local x, y = tide.ones { 8 }, tide.ones { 8 }
    return function()
      local _ = x + y
    end
  end },
  { "recorded_op", 8000, function(tide)
    local x = tide.ones({ 8 }, { requires_grad = true })
    return function()
      local _ = x * 2
    end
  end },
  { "index", 8000, function(tide)
    local x = tide.ones { 8, 8 }
    return function()
      local _ = x[{ {}, 2 }]
    end
  end },
  { "backward_of_100_ops", 150, function(tide)
    local x = tide.ones({ 8 }, { requires_grad = true })
    return function()
      local y = x
      for _ = 1, 50 do
        y = (y * 0.5):tanh()
      end
      tide.grad(y:sum(), { x })
    end
  end },
  { "tensor_of_1000_numbers", 200, function(tide)
    local list = {}
    for i = 1, 1000 do
      list[i] = i / 7
    end
    return function()
      local _ = tide.tensor(list):tolist()
    end
  end },
  { "train_on_batch", 400, function(tide)
    local m, x, y = classifier(tide)
    return function()
      m:train_on_batch(x, y)
    end
  end },
  { "train_on_batch_eager", 300, function(tide)
    local m, x, y = classifier(tide, { run_eagerly = true })
    return function()
      m:train_on_batch(x, y)
    end
  end },
  { "step_of_fit", 12, function(tide) -- 50 batches
    local m = classifier(tide)
    local x, y = tide.random.normal { 1600, 8 }, tide.ones({ 1600 }, { dtype = "int32" })
    return function()
      m:fit(x, y, { batch_size = 32, verbose = 0 })
    end
  end },
  { "prediction", 4000, function(tide)
    local m, x = classifier(tide)
    x = x[{ { 1, 1 } }]
    return function()
      m:predict_on_batch(x)
    end
  end },
  { "lstm_step", 300, function(tide)
    local L = tide.layers
    local m = tide.Sequential { tide.Input { 6, 4 }, L.LSTM(8), L.Dense(1) }
    m:compile { optimizer = "sgd", loss = "mse" }
    local x, y = tide.random.normal { 4, 6, 4 }, tide.random.normal { 4, 1 }
    return function()
      m:train_on_batch(x, y)
    end
  end },
  { "convolution_step", 300, function(tide)
    local L = tide.layers
    local m = tide.Sequential { tide.Input { 6, 6, 2 }, L.Conv2D { 4, 3, activation = "relu" },
      L.BatchNormalization(), L.MaxPooling2D(), L.Flatten(), L.Dropout(0.2), L.Dense(2) }
    m:compile { optimizer = "adam", loss = "mse" }
    local x, y = tide.random.normal { 4, 6, 6, 2 }, tide.random.normal { 4, 2 }
    return function()
      m:train_on_batch(x, y)
    end
  end },
  { "layer_made_and_built", 200, function(tide)
    return function()
      tide.Sequential { tide.Input { 8 }, tide.layers.Dense(4) }
    end
  end },
}

local by_name = {}
for i, p in ipairs(programs) do
  by_name[p[1]] = i
end

-- ---- one program, in a process of its own ----

if arg[1] == "--run" then
  local tide, core = require "tide", require "tide.core"
  local p, times = programs[by_name[arg[2]]], math.tointeger(arg[3])
  tide.seed(1)
  local step = p[3](tide)
  for _ = 1, 8 do -- plans are made, caches are full
    step()
  end
  for _ = 1, times do
    step()
  end
  if arg[4] == "count" then
    collectgarbage()
    collectgarbage()
    step()
    collectgarbage "stop"
    local before, held = core.memory(), collectgarbage "count"
    step()
    local bytes, after = (collectgarbage "count" - held) * 1024, core.memory()
    collectgarbage "restart"
    for _ = 1, 200 do
      step()
    end
    local blocks = core.memory().system_allocs
    for _ = 1, 200 do
      step()
    end
    print(after.live_tensors - before.live_tensors, bytes // 1 | 0,
      core.memory().system_allocs - blocks)
  end
  return
end

-- ---- all of them ----

local tide_program = arg[-1] or "build/tide"
local SETTINGS = "TIDE_CPU=c TIDE_ENGINE=plain OMP_NUM_THREADS=1 "

local function output(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "a"
  pipe:close()
  return text
end

local function instructions(name, times)
  local text = output(SETTINGS .. "valgrind --tool=callgrind --callgrind-out-file=/dev/null "
    .. ("%s spec/bench/instructions.lua --run %s %d"):format(tide_program, name, times))
  return math.tointeger(text:match "Collected : (%d+)") or error(text, 0)
end

local function measure(p)
  local few, many = instructions(p[1], p[2] // 2), instructions(p[1], p[2] // 2 + p[2])
  local text = output(SETTINGS .. ("%s spec/bench/instructions.lua --run %s %d count"):format(
    tide_program, p[1], p[2]))
  local tensors, bytes, blocks = text:match "^(%d+)%s+(%d+)%s+(%d+)"
  if not tensors then
    error(text, 0)
  end
  return { instructions = (many - few) // p[2], tensors = math.tointeger(tensors),
    bytes = math.tointeger(bytes), blocks = math.tointeger(blocks) }
end

local stored = {}
for line in io.lines(FILE) do
  local name, rest = line:match "^([%w_]+)%s+(.*)$"
  if name then
    stored[name] = {}
    for k, v in rest:gmatch "(%a+)=(%d+)" do
      stored[name][k] = math.tointeger(v)
    end
  end
end

local store, wanted = false, {}
for _, a in ipairs(arg) do
  if a == "--store" then
    store = true
  else
    wanted[a] = by_name[a] or error(("there is no row '%s'"):format(a), 0)
  end
end

local passed, failed = 0, 0
for _, p in ipairs(programs) do
  if not next(wanted) or wanted[p[1]] then
    local got, parts = measure(p), {}
    local bound = stored[p[1]] or {}
    for i, k in ipairs(KINDS) do
      local most = bound[k] and math.max(bound[k] * MARGIN[k], bound[k] + LEAST[k])
      local good = store or most and got[k] <= most
      passed, failed = passed + (good and 1 or 0), failed + (good and 0 or 1)
      parts[i] = ("%s %d%s"):format(k, got[k], good and ""
        or (" (at most %s)"):format(most and ("%d"):format(most // 1 | 0) or "what is stored"))
    end
    print(("  %-24s %s"):format(p[1], table.concat(parts, ", ")))
    stored[p[1]] = store and got or bound
  end
end
if store then
  local f = assert(io.open(FILE, "w"))
  f:write("per step at level c, plain engine, one thread: make instructions\n")
  for _, p in ipairs(programs) do
    local s, parts = stored[p[1]], {}
    for i, k in ipairs(KINDS) do
      parts[i] = ("%s=%d"):format(k, s and s[k] or 0)
    end
    f:write(("%-24s %s\n"):format(p[1], table.concat(parts, " ")))
  end
  f:close()
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and 0 or 1, true)

-- Memory over long runs, each in a process of its own: after a warm-up the resident set stays
-- within one percent, and at the end no tensor is alive. What each run printed is shown where it
-- fails.
local expect = require "spec.support.expect"

local program = expect.command
-- builds that keep what is freed, and runs that count lines
local hostile = os.getenv "TIDE_HARD" == "1" or os.getenv "TIDE_COVERAGE"
  or (os.getenv "LD_PRELOAD" or ""):find "asan"

-- Resident kilobytes, and a report at three moments of a loop: `at(i, first, last)` in its body,
-- `done()` after all is let go.
local prelude = [[
local tide = require "tide"
local core, layers = require "tide.core", tide.layers
local function resident()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s*(%d+) kB"
    if kb then return tonumber(kb) end
  end
end
local warm
local function at(i, first, last)
  if i == first then warm = resident() end
  if i == last then print("resident", warm, resident()) end
end
local function done()
  collectgarbage() collectgarbage()
  print("live", tide.memory().live_tensors)
end
tide.seed(1)
]]

local function measured(code)
  local name = expect.write(os.tmpname(), prelude .. code)
  local pipe = assert(io.popen(program .. " " .. name .. " 2>&1 </dev/null"))
  local out = pipe:read "a"
  local ok = pipe:close()
  os.remove(name)
  assert(ok, out)
  return out
end

local function steady(code)
  local out = measured(code)
  local before, after = out:match "resident%s+(%d+)%s+(%d+)"
  assert(before, out)
  if not hostile then
    assert(after - before <= before / 100,
      ("%d kB after the warm-up, %d kB after 10,000 steps more"):format(before, after))
  end
  assert.equal("0", out:match "live%s+(%d+)")
end

describe("the resident set", function()
  it("stays over 10,000 training steps", function()
    steady [[
      do
        local x, y = tide.random.normal { 8000, 8 }, tide.random.normal { 8000, 2 }
        local first = layers.Dense { 16, activation = "relu", input_shape = { 8 } }
        local model = tide.Sequential { first, layers.Dropout { 0.1 },
          layers.Dense { 2 } }
        model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
        local function each(epoch) at(epoch, 12, 22) end
        model:fit(x, y, { batch_size = 8, epochs = 22, verbose = 0, callbacks = each })
        assert(model.optimizer.iterations == 22000)
      end
      done()
    ]]
  end)

  it("stays over 10,000 calls of predict", function()
    steady [[
      do
        local x = tide.random.normal { 4, 8 }
        local first = layers.Dense { 16, activation = "relu", input_shape = { 8 } }
        local model = tide.Sequential { first, layers.Dense { 2 } }
        for i = 1, 12000 do
          model:predict(x, { verbose = 0 })
          at(i, 2000, 12000)
        end
      end
      done()
    ]]
  end)

  it("stays over 10,000 steps of a loop written by hand, without a word to the collector",
    function()
    steady [[
      do
        local x, y = tide.random.normal { 64, 32 }, tide.random.normal { 64, 1 }
        local w = tide.random.normal { 32, 1 }
        w:requires_grad_(true)
        for i = 1, 60000 do
          local loss = ((x:matmul(w) - y) ^ 2):mean()
          loss:backward()
          tide.no_grad(function()
            w:subtract_(0.01 * w.grad)
            w.grad = nil
          end)
          -- Lua's own collector takes its first full turns within 35,000 steps
          at(i, 50000, 60000)
        end
      end
      done()
    ]]
  end)

  it("of a program that only asks for Tide is below 30 MB", function()
    local out = measured [[print("resident", resident(), 0)]]
    if not hostile then
      assert(tonumber(out:match "resident%s+(%d+)") < 30 * 1024, out)
    end
  end)
end)

-- What the allocator counts, limits and gives back; each in a process of its own, whose statistics
-- nothing else moves.
describe("the allocator", function()
  it("counts and limits the work space of kernels", function()
    measured [[
      local x = tide.random.normal { 1000000 }
      tide.memory_limit(14e6) -- x, its result, and two times 4 bytes an element
      local ok, err = pcall(tide.ops.sort, x)
      assert(not ok)
      err = tostring(err)
      assert(err:find("sort: not enough memory for work space", 1, true), err)
      tide.memory_limit(60e6)
      core.memory_reset_peak()
      local before = tide.memory()
      tide.ops.sort(x)
      collectgarbage()
      local after = tide.memory()
      assert(after.live_bytes == before.live_bytes)
      assert(after.live_storages == before.live_storages)
      assert(after.peak_bytes >= 16e6, after.peak_bytes)
    ]]
  end)

  it("is refused nothing for what the collector has not looked at", function()
    measured [[
      collectgarbage("incremental", 1000, 100) -- it hardly looks by itself
      tide.memory_limit(100e6)
      for i = 1, 10 do -- what is dropped is more than half of the limit
        local x = tide.zeros { 15000000 }
        x = nil
        local y = tide.ones { 15000000 }
      end
      local x = tide.ones { 5000000 }
      for i = 1, 10 do
        x = x + 1
      end
      assert(x[1] == 11)
      local y = tide.ones({ 2500000 }, { requires_grad = true })
      local function circle() -- what only a function holds
        local a = y * 2
        local b = a:exp()
        a:register_hook(function() return b end)
      end
      for i = 1, 10 do circle() end
      tide.seed(3)
      local want = tide.random.normal({ 4 }):tolist()
      tide.seed(3)
      local a, b = tide.zeros { 5000000 }, nil
      a = nil
      b = tide.random.normal { 5000000 }
      for i = 1, 4 do assert(b[i] == want[i], i) end
      local ok, err = pcall(tide.zeros, { 30000000 })
      assert(not ok and tostring(err):find "needs 120.0 MB", err)
    ]]
  end)

  it("gives a sort of one line the work space of one thread, of however many", function()
    measured [[
      local x = tide.random.normal { 1000000 }
      tide.set_threads(1024)
      tide.memory_limit(60e6)
      local y = tide.ops.sort(x)
      assert(y[1] <= y[2] and y[-2] <= y[-1])
      local top = tide.ops.top_k(x, { k = 100 })
      assert(top[1] == y[-1] and top[100] == y[-100])
    ]]
  end)

  it("lets go first of idle blocks whose size was asked for longest ago", function()
    if hostile then return end
    measured [[
      do
        local t = {}
        for i = 1, 10 do t[i] = tide.zeros { 8 << 20 } end
      end
      collectgarbage() collectgarbage()
      assert(tide.memory().cached_bytes >= 320 << 20)
      local function of_another_size()
        local t <close> = tide.zeros { 10 << 20 }
      end
      of_another_size()
      local before = tide.memory()
      for _ = 1, 10 do of_another_size() end
      local after = tide.memory()
      assert(after.system_allocs == before.system_allocs)
      assert(after.cached_bytes <= after.peak_bytes)
    ]]
  end)

  it("holds no more than the limit, idle blocks included", function()
    if hostile then return end
    measured [[
      for _ = 1, 3 do local t <close> = tide.zeros { 8 << 20 } end
      do local t <close> = tide.zeros { 5 << 20 } end
      tide.memory_limit(40 << 20)
      assert(tide.memory().cached_bytes <= 40 << 20)
      do
        local t <close> = tide.zeros { 7 << 20 }
        local m = tide.memory()
        assert(m.live_bytes + m.cached_bytes <= 40 << 20, m.live_bytes + m.cached_bytes)
      end
      core.memory_trim()
      assert(tide.memory().cached_bytes == 0)
    ]]
  end)
end)

describe("the collector", function()
  it("lets a loop written by hand grow by some 32 MB, not by 256", function()
    if hostile then return end
    measured [[
      local x, y = tide.random.normal { 1600, 1600 }, 0
      local live = core.memory().live_bytes
      core.memory_reset_peak()
      for i = 1, 200 do y = x * 0.5 + i end -- two times 10 MB, each a temporary
      assert(core.memory().peak_bytes - live < 100e6, core.memory().peak_bytes - live)
      x, y = tide.random.normal { 400, 400 }, 0
      collectgarbage()
      core.memory_reset_peak()
      live = core.memory().live_bytes
      for i = 1, 2000 do y = x * 0.5 + i end -- two times 640 KB
      assert(core.memory().peak_bytes - live < 100e6, core.memory().peak_bytes - live)
    ]]
  end)
end)

-- Weights in the layout of the library's convolutions.
describe("kept weights", function()
  local has_onednn = require("tide.core").onednn_info():find "^oneDNN"
  local convolutions = [[
    local n, kernels = 40, {}
    local x = tide.random.normal { 1, 8, 8, 128 }
    for i = 1, n do kernels[i] = tide.random.normal { 3, 3, 128, 1024 } end -- 4.7 MB each
    local function pass()
      tide.no_grad(function()
        for i = 1, n do local y <close> = tide.ops.conv(x, kernels[i], { padding = "same" }) end
      end)
    end
    pass()
    local m = core.memory()
  ]]

  it("are those of a whole model: 190 MB are laid out once, not at each call", function()
    if not has_onednn or hostile then return end
    measured(convolutions .. [[
      local before = core.engine_stats().weight_reorders
      assert(m.kept_bytes >= n * 9 * 128 * 1024 * 4, m.kept_bytes)
      pass() pass()
      assert(core.engine_stats().weight_reorders == before)
    ]])
  end)

  it("go with the weights, with memory_trim, and before a tensor is refused", function()
    if not has_onednn or hostile then return end
    measured(convolutions .. [[
      kernels[n], n = nil, n - 1
      collectgarbage() collectgarbage()
      assert(core.memory().kept_bytes < m.kept_bytes)
      core.memory_trim()
      assert(core.memory().kept_bytes == 0)
      pass()
      m = core.memory()
      assert(m.kept_bytes > 180e6)
      core.memory_limit(m.live_bytes + m.kept_bytes)
      local t = tide.zeros { 1 << 20 }
      assert(core.memory().kept_bytes < m.kept_bytes)
      pass() -- as many as there is room for
      m = core.memory()
      assert(m.kept_bytes > 0 and m.live_bytes + m.kept_bytes <= m.limit_bytes)
    ]])
  end)
end)

-- oneDNN throws where an allocation of its own fails, and above it there is only C.
describe("a convolution for which memory runs out", function()
  it("is right or an error that says so, whichever allocation fails", function()
    if hostile then return end
    local folder = expect.folder()
    local include = io.popen "pkg-config --cflags lua5.4 2>/dev/null":read "l" or ""
    local compile = "${CC:-cc} -std=gnu11 -shared -fPIC -O1 %s spec/soak/faults.c -o %s/faults.so"
    assert(os.execute(compile:format(include, folder)))
    local script = ("TIDE_FAULTS=%s/faults.so TIDE_PROGRAM=%s %s spec/soak/memory.lua"):format(
      folder, expect.command, expect.command)
    local pipe = io.popen(script .. " --task convolution --seconds 60 --seed 1 2>&1")
    local said = pipe:read "a"
    pipe:close()
    os.execute("rm -r " .. folder)
    assert.matches("\nconvolution +%d+ +%d+ +%d+ +%d+ +0\n", said)
    assert.matches("\n1 passed, 0 failed\n$", said)
  end)
end)

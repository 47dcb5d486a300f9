-- Memory over long runs, each in a process of its own: after a warm-up the resident set stays within one percent, and at the
-- end no tensor is alive. What each run printed is shown where it fails.
local expect = require "spec.support.expect"

local program = expect.command
-- builds that keep what is freed, and runs that count lines
local hostile = os.getenv "TIDE_HARD" == "1" or os.getenv "TIDE_COVERAGE"
  or (os.getenv "LD_PRELOAD" or ""):find "asan"

-- Resident kilobytes, and a report at three moments of a loop: `at(i, first, last)` in its body, `done()` after all is let go.
local prelude = [[
local tide = require "tide"
local layers = tide.layers
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
    assert(after - before <= before / 100, ("%d kB after the warm-up, %d kB after 10,000 steps more"):format(before, after))
  end
  assert.equal("0", out:match "live%s+(%d+)")
end

describe("the resident set", function()
  it("stays over 10,000 training steps", function()
    steady [[
      do
        local x, y = tide.random.normal { 8000, 8 }, tide.random.normal { 8000, 2 }
        local model = tide.Sequential { layers.Dense { 16, activation = "relu", input_shape = { 8 } }, layers.Dropout { 0.1 },
          layers.Dense { 2 } }
        model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
        model:fit(x, y, { batch_size = 8, epochs = 16, verbose = 0, callbacks = function(epoch) at(epoch, 6, 16) end })
        assert(model.optimizer.iterations == 16000)
      end
      done()
    ]]
  end)

  it("stays over 10,000 calls of predict", function()
    steady [[
      do
        local x = tide.random.normal { 4, 8 }
        local model = tide.Sequential { layers.Dense { 16, activation = "relu", input_shape = { 8 } }, layers.Dense { 2 } }
        for i = 1, 12000 do
          model:predict(x, { verbose = 0 })
          at(i, 2000, 12000)
        end
      end
      done()
    ]]
  end)

  it("stays over 10,000 steps of a loop written by hand, without a word to the collector", function()
    steady [[
      do
        local x, y = tide.random.normal { 64, 32 }, tide.random.normal { 64, 1 }
        local w = tide.random.normal { 32, 1 }
        w:requires_grad_(true)
        for i = 1, 35000 do
          local loss = ((x:matmul(w) - y) ^ 2):mean()
          loss:backward()
          tide.no_grad(function()
            w:subtract_(0.01 * w.grad)
            w.grad = nil
          end)
          at(i, 25000, 35000) -- Lua's own collector takes its first full turns between 7,500 and 15,000 steps
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

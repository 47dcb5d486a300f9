-- 10 + 10 steps in two processes are the 20 steps of one, bit for bit: every optimizer, wrapper and
-- schedule, averages, accumulation, half precision, callbacks, orders of data, augmentation
-- (spec/support/resume_cases.lua).
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local cases = require("spec.support.resume_cases").cases

describe("10 steps and 10 in another process", function()
  local folder = expect.name()
  core.mkdirs(folder)
  for _, what in ipairs { "straight", "first", "second" } do
    os.execute(("%s spec/support/resume_cases.lua %s %s"):format(expect.lua, what, folder))
  end

  local function said(i, what)
    return expect.read(("%s/%d.%s"):format(folder, i, what))
  end

  for i, c in ipairs(cases) do
    it("equal 20: " .. c.name, function()
      local want = said(i, "straight")
      assert.matches("^%-?0x", want)
      assert.matches("^error: stopped", said(i, "first"))
      assert.is_true(want == said(i, "second"), "they differ")
    end)
  end

  it("have every optimizer among them", function()
    local names = {}
    for _, c in ipairs(cases) do
      local o = c.make().optimizer
      names[getmetatable(o).__name] = true
    end
    for _, name in ipairs(tide.optimizers.class_names) do
      assert.is_true(names[name] or name == "OptimizerMap", name) -- a MultiOptimizer holds that
    end
    os.execute("rm -rf " .. folder)
  end)
end)

describe("resuming from the checkpoint of the last epoch", function()
  it("gives what the training came to, averages of weights too", function()
    local folder = expect.folder()
    local x, y = tide.random.normal { 16, 3 }, tide.random.normal { 16, 1 }
    local function run()
      tide.seed(5)
      local m = tide.Sequential { tide.layers.Dense { 1, input_shape = { 3 } } }
      m:compile { loss = "mse", optimizer = tide.optimizers.SGD { 0.05, momentum = 0.9,
        use_ema = true, gradient_accumulation_steps = 3 } }
      local manager = tide.callbacks.CheckpointManager { folder, save_freq = "epoch" }
      local history = m:fit(x, y, { epochs = 3, batch_size = 4, verbose = 0,
        resume = manager:latest() or false, callbacks = { manager } })
      return m.weights[1]:tolist(), m.weights[2]:tolist(), history.history.loss:totable()
    end
    assert.same({ run() }, { run() })
    os.execute("rm -rf " .. folder)
  end)
end)

-- Training that a crash ends and that goes on where it was: the end is bit for bit that of a run
-- without a crash. Between two processes it is the same: run the script again.
local tide = require "tide"
local layers = tide.layers

tide.seed(1)
local x = tide.random.uniform { 512, 2 }
local y = (x * x):sum { axis = 2, keepdims = true }

local function model()
  local made = tide.Sequential {
    layers.Dense { 32, activation = "relu", input_shape = { 2 } },
    layers.Dropout { 0.1 },
    layers.Dense { 1 },
  }
  made:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "mse" }
  return made
end

-- One run of the script; `crash_at`: the epoch in which it dies.
local function run(folder, crash_at)
  tide.seed(2)
  local m = model()
  local manager = tide.callbacks.CheckpointManager { folder, monitor = "loss", save_freq = 5,
    max_to_keep = 3 }
  local history = m:fit(x, y, { epochs = 8, verbose = 0, resume = manager:latest(), callbacks = {
    manager,
    { on_train_batch_end = function(batch)
      if batch == 8 and crash_at == #m.history.epoch + 1 then
        error("the power is gone", 0)
      end
    end },
  } })
  return history.loss[-1]
end

local whole = run("whole", nil)
print(select(2, pcall(run, "crashed", 6)))
local again = run("crashed", nil)
print(("loss without a crash %.9f, with one %.9f"):format(whole, again))
print(whole == again and "equal to the last bit" or "they differ")

--- What must go on exactly: rows of { name, make = function that gives a compiled model, and,
--- where they differ from the common ones, `options` of fit, `callbacks`, `source` }. Each row is
--- 20 steps: 4 epochs of 5 batches.
local tide = require "tide"
local layers, optimizers, callbacks = tide.layers, tide.optimizers, tide.callbacks
local schedules = optimizers.schedules

local X, Y, pictures
local function data()
  if not X then
    tide.seed(1)
    X, Y = tide.random.normal { 40, 6 }, tide.random.randint({ 40 }, 1, 4)
    pictures = tide.random.uniform { 40, 6, 6, 1 }
  end
  return X, Y
end

-- Everything that has a state: seeded and unseeded noise, moving statistics, half precision.
local function network(o)
  return tide.Sequential {
    layers.Dense { 8, activation = "relu", input_shape = { 6 }, dtype = o.dtype,
      kernel_constraint = o.constraint },
    layers.BatchNormalization { dtype = o.dtype },
    layers.Dropout { 0.3, seed = 7, dtype = o.dtype },
    layers.GaussianNoise { 0.1, dtype = o.dtype },
    layers.Dense { 3, activation = "softmax", dtype = o.dtype == "float64" and o.dtype or nil },
  }
end

local function model(optimizer, o)
  o = o or {}
  return function()
    tide.seed(3)
    local m = (o.network or network)(o)
    m:compile { optimizer = type(optimizer) == "function" and optimizer(m) or optimizer,
      loss = "sparse_categorical_crossentropy", metrics = { "accuracy" },
      auto_scale_loss = o.scale }
    return m
  end
end

local cases = {}
local function case(name, optimizer, o)
  o = o or {}
  cases[#cases + 1] = { name = name, make = o.make or model(optimizer, o), options = o.options,
    callbacks = o.callbacks, source = o.source }
end

-- every optimizer by its name, and some of the options that change their state
local own = { LBFGS = true, LossScaleOptimizer = true, MultiOptimizer = true, OptimizerMap = true,
  Lookahead = true }
for _, name in ipairs(optimizers.class_names) do
  if not own[name] then
    case(name, { name })
  end
end
case("SGD with momentum", { "SGD", 0.05, momentum = 0.9, nesterov = true })
case("RMSprop with all", { "RMSprop", momentum = 0.5, centered = true })
case("Adam with amsgrad", { "Adam", amsgrad = true, weight_decay = 0.01, clipnorm = 0.5 })
case("Muon with patterns", { "Muon", 0.02, exclude_layers = { "^dense_\\d+/" } })
case("ScheduleFreeAdamW with a warm-up", { "ScheduleFreeAdamW", warmup_steps = 12 })
case("weights of a constraint", { "Adam", 0.1 }, { constraint = "max_norm" })

-- averages, accumulation, groups
case("averages", { "SGD", 0.1, momentum = 0.9, use_ema = true, ema_overwrite_frequency = 3 })
case("accumulation", { "AdamW", gradient_accumulation_steps = 3, global_clipnorm = 0.5 })
case("accumulation and averages", { "Nadam", gradient_accumulation_steps = 4, use_ema = true })
case("groups", function()
  return optimizers.AdamW { 0.01, groups = { { "bias$", weight_decay = 0 },
    { "dense", rate_factor = 0.5 }, { "norm", learning_rate = schedules.StepDecay { 0.1, 3 } } } }
end)
case("layer-wise rates", function(m)
  return optimizers.Adam { 0.01, groups = optimizers.layerwise_groups(m, 0.5) }
end)

-- optimizers that hold others
case("loss scaling", function()
  return optimizers.LossScaleOptimizer { "adam", 1024, 3 }
end)
case("lookahead", function() return optimizers.Lookahead { optimizers.Nadam { 0.05 }, 3 } end)
case("loss scaling of lookahead", function()
  return optimizers.LossScaleOptimizer { optimizers.Lookahead { "adam", 4 }, 2.0 ^ 20, 5 }
end)
case("several optimizers by map", function()
  return optimizers.MultiOptimizer { optimizers.OptimizerMap { optimizers.Muon { 0.01 },
    { ["dense(_\\d+)?/.*"] = optimizers.Nadam { 0.01 },
      [".*norm.*"] = optimizers.SGD { 0.1, momentum = 0.5 } } } }
end)
case("several optimizers by function", function()
  local a, b = optimizers.Adam { 0.01 }, optimizers.Rprop()
  return optimizers.MultiOptimizer { function(path)
    return path:find "kernel" and a or b
  end }
end)
case("LBFGS", function()
  return optimizers.LBFGS { 0.5, max_iter = 3, history_size = 4, line_search_fn = "strong_wolfe" }
end)
case("LBFGS without line search", function()
  return optimizers.LBFGS { 0.1, max_iter = 2, history_size = 3 }
end)

-- schedules
for name, make in pairs {
  ExponentialDecay = function() return schedules.ExponentialDecay { 0.05, 3, 0.7 } end,
  Warmup = function() return schedules.Warmup { schedules.CosineDecay { 0.1, 10 }, 7 } end,
  OneCycle = function() return schedules.OneCycle { 0.1, 20 } end,
  Cyclic = function() return schedules.Cyclic { 0.01, 0.1, 4, mode = "triangular2" } end,
  Sequential = function()
    return schedules.Sequential { { schedules.LinearRamp { 0.1, 5 },
      schedules.CosineDecayRestarts { 0.1, 4 } }, { 6 } }
  end,
  Chained = function()
    return schedules.Chained { { schedules.StepDecay { 0.1, 4, 0.5 },
      schedules.Cyclic { 0.5, 1, 3 } } }
  end,
  ["a function"] = function()
    return function(step) return 0.1 / (1 + step) end
  end,
} do
  case("schedule: " .. name, function() return optimizers.SGD { make(), momentum = 0.9 } end)
end
table.sort(cases, function(a, b) return a.name < b.name end)

-- precision
for _, dtype in ipairs { "mixed_bfloat16", "bfloat16", "float64", "mixed_float16", "float16" } do
  case(dtype, { "Adam", 0.01 }, { dtype = dtype })
end
for _, dtype in ipairs { "mixed_bfloat16", "mixed_float16", "bfloat16" } do
  case(dtype .. " by several optimizers", function()
    return optimizers.MultiOptimizer { optimizers.OptimizerMap { optimizers.ScheduleFreeAdamW {
      0.01, warmup_steps = 12 }, { [".*kernel"] = optimizers.Muon { 0.01 },
      [".*norm.*"] = optimizers.SGD { schedules.CosineDecay { 0.1, 20 }, momentum = 0.5 } } } }
  end, { dtype = dtype })
  case(dtype .. " by ScheduleFreeAdamW", { "ScheduleFreeAdamW", 0.05, warmup_steps = 7 },
    { dtype = dtype })
  case(dtype .. " by LBFGS", function() -- parameters of two dtypes
    return optimizers.LBFGS { 0.5, max_iter = 3, history_size = 4,
      line_search_fn = "strong_wolfe" }
  end, { dtype = dtype })
  case(dtype .. " by scaled lookahead", function()
    return optimizers.LossScaleOptimizer { optimizers.Lookahead { optimizers.Lamb { 0.01 }, 3 },
      256, 4 }
  end, { dtype = dtype })
end
case("mixed_float16 without scaling", { "SGD", 0.1 }, { dtype = "mixed_float16", scale = false })

-- callbacks
local function with(list, options)
  return { callbacks = list, options = options }
end
case("SwapEMAWeights", { "SGD", 0.05, use_ema = true }, with(function()
  return { callbacks.SwapEMAWeights { swap_on_epoch = true } }
end))
case("SwapEMAWeights of optimizers inside of others", function()
  return optimizers.LossScaleOptimizer { optimizers.Lookahead {
    optimizers.SGD { 0.05, use_ema = true, ema_momentum = 0.5 }, 3 }, 64, 5 }
end, with(function() return { callbacks.SwapEMAWeights { swap_on_epoch = true } } end))
case("SwapEMAWeights of several optimizers", function()
  return optimizers.MultiOptimizer { optimizers.OptimizerMap { optimizers.SGD { 0.05 },
    { [".*kernel"] = optimizers.Adam { 0.01, use_ema = true } } } }
end, with(function() return { callbacks.SwapEMAWeights() } end))
case("StochasticWeightAveraging", { "SGD", 0.05 }, with(function()
  return { callbacks.StochasticWeightAveraging { start_epoch = 2, swa_lr = 0.01 } }
end))
case("EarlyStopping and ReduceLROnPlateau", { "Adam", 0.05 }, with(function()
  return { callbacks.EarlyStopping { monitor = "val_loss", patience = 1,
    restore_best_weights = true },
      callbacks.ReduceLROnPlateau { monitor = function(logs)
        return logs.loss - 0.1 * logs.accuracy
      end, mode = "min", patience = 1, factor = 0.5 } }
end, { validation_split = 0.2 }))
case("LearningRateScheduler", { "Adam", 0.05 }, with(function()
  return { callbacks.LearningRateScheduler { function(_, rate) return rate * 0.7 end } }
end))
case("NaNGuard", { "RAdam", 0.05 }, with(function()
  return { callbacks.NaNGuard { "rollback", keep_freq = 3 } }
end))

-- data
case("orders of whole batches", { "adam" }, { options = { shuffle = "batch" } })
case("no order of its own", { "adam" }, { options = { shuffle = false } })
case("weights of samples and classes", { "adam" }, { options = {
  class_weight = { 1.0, 2.0, 0.5 } } })
case("epochs of so many steps", { "adam" }, { options = { steps_per_epoch = 4, epochs = 5 } })
case("augmentation by a generator", { "adam" }, { network = function()
  return tide.Sequential { layers.Flatten { input_shape = { 6, 6, 1 } },
    layers.Dense { 3, activation = "softmax" } }
end, source = function()
  local _, y = data()
  return tide.preprocessing.image.ImageDataGenerator { rotation_range = 30,
    horizontal_flip = true }:flow(pictures, y, { batch_size = 8, seed = 11 })
end, options = { batch_size = false } })
case("recurrent layers with dropout and states", { "adam" }, { network = function()
  return tide.Sequential { tide.Input { 6 }, layers.Reshape { { 3, 2 } },
    layers.LSTM { 4, dropout = 0.2, recurrent_dropout = 0.2, return_sequences = true },
    layers.GRU { 4, dropout = 0.1 }, layers.Dense { 3, activation = "softmax" } }
end })
case("attention with dropout", { "adam" }, { network = function()
  local input = tide.Input { 6 }
  local x = layers.Reshape { { 3, 2 } }(input)
  x = layers.MultiHeadAttention { 2, 3, dropout = 0.3 }(x, x)
  return tide.Model { input, layers.Dense { 3, activation = "softmax" }(layers.Flatten()(x)) }
end })

-- ---- running ----

local run = {}
run.cases = cases

local function plain(v)
  return v.ndim == 0 and { v:item() } or v:reshape { -1 }:tolist()
end

-- What a run came to: every bit of weights, optimizer, history and generator as text.
local function told(m, history)
  local out = {}
  local function add(v)
    if type(v) == "table" then
      for _, x in ipairs(v) do
        add(x)
      end
    else
      out[#out + 1] = type(v) == "number" and ("%a"):format(v) or tostring(v)
    end
  end
  for _, t in ipairs(m:get_weights()) do
    add(plain(t))
  end
  out[#out + 1] = "optimizer"
  for _, t in ipairs(m.optimizer.variables) do
    add(plain(t))
  end
  local names = {}
  for name in pairs(history.history) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = name
    add(history.history[name]:totable())
  end
  add { require("tide.core").generator() }
  return table.concat(out, " ")
end

--- Trains a case. `stop`: raise after so many steps. Returns what it came to.
--- @param folder string|nil of the checkpoint, which is written after every step
function run.train(c, folder, stop)
  local x, y = data()
  local m = c.make()
  local o = { epochs = 4, batch_size = 8, verbose = 0 }
  for k, v in pairs(c.options or {}) do
    o[k] = v or nil
  end
  if o.validation_split then
    o.batch_size = 7
  end
  o.callbacks = c.callbacks and c.callbacks() or {}
  if folder then
    table.insert(o.callbacks, callbacks.BackupAndRestore { folder, save_freq = 1 })
  end
  if stop then
    local n = 0
    table.insert(o.callbacks, { on_train_batch_end = function()
      n = n + 1
      if n > stop then -- the checkpoint holds the step before
        error("stopped", 0)
      end
    end })
  end
  if c.source then
    x, y = c.source()
  end
  local history = y and m:fit(x, y, o) or m:fit(x, o)
  return told(m, history)
end

-- As a program: `resume_cases.lua straight|first|second FOLDER` runs all cases, the second halves
-- in the other order, and writes what each came to.
local what, folder = table.unpack(arg or {})
if what == "straight" or what == "first" or what == "second" then
  for k = 1, #cases do
    local i = what == "second" and #cases + 1 - k or k
    local backup = ("%s/%d"):format(folder, i)
    local ok, text = pcall(run.train, cases[i], what ~= "straight" and backup or nil,
      what == "first" and 10 or nil)
    local f <close> = assert(io.open(("%s/%d.%s"):format(folder, i, what), "w"))
    f:write(ok and "" or "error: ", tostring(text))
  end
end

return run

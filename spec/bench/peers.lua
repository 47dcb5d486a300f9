--- The peers' workloads on Tide, through its public interface: `peers.lua WORKLOAD [--seconds S]`
--- prints one JSON line.
--
-- The same models, data sizes, optimizer (Adam 1e-3) and steady state as the peers: two epochs of
-- warm-up, then whole epochs for at least S seconds; the best epoch counts. A `NAME_bN` row times
-- one prediction of a batch of N; `NAME_after` the row after masks and integer inputs were made.
local tide = require "tide"
local core = require "tide.core"
local layers, ops = tide.layers, tide.ops
local Input, Sequential = tide.Input, tide.Sequential

local workload, seconds = arg[1], 6
for i = 2, #arg do
  if arg[i] == "--seconds" then
    seconds = tonumber(arg[i + 1])
  end
end

-- name: batch, batches in an epoch
local train = {
  mlp_small = { 32, 500 },
  mlp_mid = { 128, 60 },
  cnn = { 128, 20 },
  resnet20 = { 64, 6 },
  recsys = { 1024, 40 },
  autoencoder = { 128, 8 },
}
local regression = { recsys = true, autoencoder = true }

local function conv(x, filters, size, strides)
  return layers.Conv2D { filters, size, strides = strides or 1, padding = "same",
    use_bias = false }(x)
end
local function norm(x)
  return layers.BatchNormalization()(x)
end

local build = {}

local function mlp(width)
  return Sequential {
    Input { 784 },
    layers.Dense { width, activation = "relu" },
    layers.Dense { width, activation = "relu" },
    layers.Dense { 10 },
  }
end
function build.mlp_small()
  return mlp(64)
end
function build.mlp_mid()
  return mlp(1024)
end
function build.cnn()
  return Sequential {
    Input { 28, 28, 1 },
    layers.Conv2D { 32, 3, activation = "relu" },
    layers.MaxPooling2D(),
    layers.Conv2D { 64, 3, activation = "relu" },
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dense { 128, activation = "relu" },
    layers.Dropout { 0.5 },
    layers.Dense { 10 },
  }
end
function build.resnet20()
  local input = Input { 32, 32, 3 }
  local x = layers.ReLU()(norm(conv(input, 16, 3)))
  local channels = 16
  for stage, filters in ipairs { 16, 32, 64 } do
    for block = 1, 3 do
      local strides = block == 1 and stage > 1 and 2 or 1
      local y = layers.ReLU()(norm(conv(x, filters, 3, strides)))
      y = norm(conv(y, filters, 3))
      local skip = x
      if channels ~= filters or strides ~= 1 then
        skip = norm(conv(x, filters, 1, strides))
      end
      x = layers.ReLU()(layers.Add() { y, skip })
      channels = filters
    end
  end
  return tide.Model {
    inputs = input, outputs = layers.Dense { 10 }(layers.GlobalAveragePooling2D()(x)) }
end
function build.recsys()
  local input = Input { 2, dtype = "int32" }
  local user = layers.Embedding { 100000, 32 }(input[{ {}, 1 }])
  local item = layers.Embedding { 50000, 32 }(input[{ {}, 2 }])
  local x = layers.Concatenate() { user, item }
  x = layers.Dense { 64, activation = "relu" }(layers.Dense { 128, activation = "relu" }(x))
  return tide.Model { inputs = input, outputs = layers.Dense { 1 }(x) }
end
function build.autoencoder()
  return Sequential {
    Input { 28, 28, 1 },
    layers.Conv2D { 16, 3, strides = 2, padding = "same", activation = "relu" },
    layers.Conv2D { 32, 3, strides = 2, padding = "same", activation = "relu" },
    layers.Conv2DTranspose { 16, 3, strides = 2, padding = "same", activation = "relu" },
    layers.Conv2DTranspose { 1, 3, strides = 2, padding = "same", activation = "sigmoid" },
  }
end

local function floats(...)
  return tide.random.uniform { ... }
end
local function labels(n, classes)
  return tide.random.randint({ n }, 1, classes + 1)
end
local data = {
  mlp_small = function(n)
    return floats(n, 784), labels(n, 10)
  end,
  cnn = function(n)
    return floats(n, 28, 28, 1), labels(n, 10)
  end,
  resnet20 = function(n)
    return floats(n, 32, 32, 3), labels(n, 10)
  end,
  recsys = function(n)
    return ops.stack({ labels(n, 100000), labels(n, 50000) }, { axis = 2 }), floats(n, 1)
  end,
  autoencoder = function(n)
    local x = floats(n, 28, 28, 1)
    return x, x
  end,
}
data.mlp_mid = data.mlp_small

-- `NAME_after`: the same row once masks, integer inputs and penalties were made in the process.
local name = workload:gsub("_after$", "")
if name ~= workload then
  require "spec.support.modes_first"
end
local base, batch1 = name:match "^(.-)_b(%d+)$"
base = base or name
if not build[base] then
  error("unknown workload " .. tostring(workload), 0)
end
tide.seed(0)
local model = build[base]()
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

if batch1 then
  batch = tonumber(batch1)
  local x = data[base](batch)
  local t0 = core.now()
  model:predict_on_batch(x)
  first = core.now() - t0
  for _ = 1, 20 do
    model:predict_on_batch(x)
  end
  t0 = core.now()
  while core.now() - t0 < seconds or #times < 10 do
    local t = core.now()
    model:predict_on_batch(x)
    times[#times + 1] = core.now() - t
  end
  report(1)
else
  local per
  batch, per = table.unpack(train[base])
  local x, y = data[base](batch * per)
  model:compile {
    optimizer = tide.optimizers.Adam { 1e-3 },
    loss = regression[base] and "mse"
      or tide.losses.SparseCategoricalCrossentropy { from_logits = true },
    metrics = regression[base] and {} or { "accuracy" },
  }
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

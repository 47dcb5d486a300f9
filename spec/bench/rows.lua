--- The models of the speed rows, as their users write them, and random data for them. They are the
--- peers' models: the same layers, parameter counts and batches.
local tide = require "tide"
local layers, ops = tide.layers, tide.ops
local Input, Sequential = tide.Input, tide.Sequential

local rows = {}

--- name: batch, batches in an epoch
rows.train = {
  mlp_small = { 32, 500 },
  mlp_mid = { 128, 60 },
  cnn = { 128, 20 },
  resnet20 = { 64, 6 },
  mobilenet = { 16, 6 },
  unet = { 16, 6 },
  lstm = { 64, 12 },
  gru = { 64, 12 },
  encoder = { 32, 12 },
  gpt = { 8, 6 },
  recsys = { 1024, 40 },
  autoencoder = { 128, 8 },
}
--- Rows whose loss is the mean squared error; the others' is the cross-entropy of logits.
rows.regression = { recsys = true, autoencoder = true }

local function conv(x, filters, size, strides)
  return layers.Conv2D { filters, size, strides = strides or 1, padding = "same",
    use_bias = false }(x)
end
local function norm(x)
  return layers.BatchNormalization()(x)
end

--- Functions that make the model of each row.
local build = {}
rows.build = build

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
--- `rate`: of the dropout.
function build.cnn(rate)
  return Sequential {
    Input { 28, 28, 1 },
    layers.Conv2D { 32, 3, activation = "relu" },
    layers.MaxPooling2D(),
    layers.Conv2D { 64, 3, activation = "relu" },
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dense { 128, activation = "relu" },
    layers.Dropout { rate or 0.5 },
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
-- MobileNetV2 at half its width: {expansion, filters, strides} of each inverted block.
function build.mobilenet()
  local function relu6(x)
    return layers.ReLU { max_value = 6 }(x)
  end
  local input = Input { 96, 96, 3 }
  local x, channels = relu6(norm(conv(input, 16, 3, 2))), 16
  for _, block in ipairs {
    { 1, 8, 1 }, { 6, 16, 2 }, { 6, 16, 1 }, { 6, 24, 2 }, { 6, 24, 1 }, { 6, 48, 2 }, { 6, 48, 1 },
    { 6, 80, 2 },
  } do
    local expansion, filters, strides = table.unpack(block)
    local y = expansion > 1 and relu6(norm(conv(x, channels * expansion, 1))) or x
    y = relu6(norm(layers.DepthwiseConv2D { 3, strides = strides, padding = "same",
      use_bias = false }(y)))
    y = norm(conv(y, filters, 1))
    x = strides == 1 and channels == filters and layers.Add() { x, y } or y
    channels = filters
  end
  x = layers.GlobalAveragePooling2D()(relu6(norm(conv(x, 320, 1))))
  return tide.Model { inputs = input, outputs = layers.Dense { 10 }(x) }
end
function build.unet()
  local function double(x, filters)
    for _ = 1, 2 do
      x = layers.Conv2D { filters, 3, padding = "same", activation = "relu" }(x)
    end
    return x
  end
  local function up(x, skip, filters)
    local wide = layers.Conv2DTranspose { filters, 2, strides = 2 }(x)
    return double(layers.Concatenate() { wide, skip }, filters)
  end
  local input = Input { 64, 64, 3 }
  local a = double(input, 16)
  local b = double(layers.MaxPooling2D()(a), 32)
  local middle = double(layers.MaxPooling2D()(b), 64)
  local x = up(up(middle, b, 32), a, 16)
  return tide.Model { inputs = input, outputs = layers.Conv2D { 4, 1 }(x) }
end
-- `depth` blocks of attention and two dense layers, normalized before.
local function transformer(x, width, heads, depth, causal)
  for _ = 1, depth do
    local y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention { heads, width // heads } (y, y, { use_causal_mask = causal })
    y = layers.Dense { 4 * width, activation = "gelu" } (layers.LayerNormalization()(x))
    x = x + layers.Dense { width } (y)
  end
  return layers.LayerNormalization()(x)
end
local function embedded(ids, vocabulary, length, width)
  local x = layers.Embedding { vocabulary, width } (ids)
  return x + layers.PositionEmbedding { length } (x)
end
function build.encoder()
  local ids = Input { 64, dtype = "int32" }
  local x = transformer(embedded(ids, 10000, 64, 128), 128, 4, 2, false)
  return tide.Model { ids, layers.Dense { 2 } (layers.GlobalAveragePooling1D()(x)) }
end
function build.gpt()
  local ids = Input { 128, dtype = "int32" }
  local x = transformer(embedded(ids, 256, 128, 256), 256, 8, 4, true)
  return tide.Model { ids, layers.Dense { 256 } (x) }
end
for row, class in pairs { lstm = "LSTM", gru = "GRU" } do
  build[row] = function()
    return Sequential {
      Input { 64, dtype = "int32" },
      layers.Embedding { 10000, 128 },
      layers[class] { 128 },
      layers.Dense { 2 },
    }
  end
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
local function labels(n, classes, ...)
  return tide.random.randint({ n, ... }, 1, classes + 1)
end
--- Functions that make n random samples of each row, and their targets.
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
  mobilenet = function(n)
    return floats(n, 96, 96, 3), labels(n, 10)
  end,
  unet = function(n)
    return floats(n, 64, 64, 3), labels(n, 4, 64, 64)
  end,
  lstm = function(n)
    return labels(n, 10000, 64), labels(n, 2)
  end,
  gpt = function(n)
    return labels(n, 256, 128), labels(n, 256, 128)
  end,
  recsys = function(n)
    return ops.stack({ labels(n, 100000), labels(n, 50000) }, { axis = 2 }), floats(n, 1)
  end,
  autoencoder = function(n)
    local x = floats(n, 28, 28, 1)
    return x, x
  end,
}
data.mlp_mid, data.gru, data.encoder = data.mlp_small, data.lstm, data.lstm
rows.data = data

--- Compiles a model of a row: Adam 1e-3, the row's loss, accuracy where there are classes. `o`:
--- further arguments of compile.
function rows.compile(name, model, o)
  local regression = rows.regression[name]
  local args = {
    optimizer = tide.optimizers.Adam { 1e-3 },
    loss = regression and "mse" or tide.losses.SparseCategoricalCrossentropy { from_logits = true },
    metrics = regression and {} or { "accuracy" },
  }
  for k, v in pairs(o or {}) do
    args[k] = v
  end
  model:compile(args)
end

return rows

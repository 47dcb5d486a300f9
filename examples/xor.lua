-- XOR: the smallest problem that needs a hidden layer.
local tide = require "tide"
local layers = tide.layers

tide.seed(3)
local x = tide.tensor { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } }
local y = tide.tensor { { 0 }, { 1 }, { 1 }, { 0 } }

local model = tide.Sequential {
  layers.Dense { 8, activation = "tanh", input_shape = { 2 } },
  layers.Dense { 1, activation = "sigmoid" },
}
model:compile { optimizer = { "adam", learning_rate = 0.05 }, loss = "binary_crossentropy",
  metrics = { "accuracy" } }
model:fit(x, y, { epochs = 300, batch_size = 4, verbose = 0 })

local p = model:predict(x, { verbose = 0 })
for i = 1, #x do
  print(("%d xor %d = %.3f"):format(x[{ i, 1 }], x[{ i, 2 }], p[{ i, 1 }]))
end

-- A convolutional autoencoder: pictures squeezed to 7x7 and drawn again.
-- `build/tide examples/autoencoder.lua [epochs [pictures]]`
local tide = require "tide"
local layers = tide.layers

local epochs, pictures = tonumber(arg and arg[1]) or 3, tonumber(arg and arg[2]) or 10000
tide.seed(1)
local x_train, _, x_test = tide.datasets.fashion_mnist {}
local function prepare(x, n)
  return x[{ { 1, n } }]:cast("float32"):reshape { -1, 28, 28, 1 } / 255
end
local x, test = prepare(x_train, pictures), prepare(x_test, 500)

local model = tide.Sequential {
  tide.Input { 28, 28, 1 },
  layers.Conv2D { 16, 3, strides = 2, padding = "same", activation = "relu" },
  layers.Conv2D { 8, 3, strides = 2, padding = "same", activation = "relu" },
  layers.Conv2DTranspose { 16, 3, strides = 2, padding = "same", activation = "relu" },
  layers.Conv2DTranspose { 1, 3, strides = 2, padding = "same", activation = "sigmoid" },
}
model:compile { optimizer = "adam", loss = "mse" }
model:fit(x, x, { epochs = epochs, batch_size = 128, validation_data = { test, test } })

local drawn = model:predict(test[{ { 1, 2 } }], { verbose = 0 })
for i = 1, 2 do
  print(tide.plot.picture(test[i] * 255))
  print(tide.plot.picture(drawn[i] * 255))
end

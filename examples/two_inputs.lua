-- A functional model with two inputs and two outputs: a house's numbers and its district give its
-- price and whether it sells.
local tide = require "tide"
local layers = tide.layers

tide.seed(1)
local n = 1000
local numbers = tide.random.uniform { n, 3 }
local district = tide.random.randint({ n }, 1, 6)
local price = numbers:sum { axis = 2, keepdims = true } + 0.3 * district:cast("float32"):reshape {
  n, 1 }
local sells = price:greater(2.4):cast "float32"

local a = tide.Input { 3, name = "numbers" }
local b = tide.Input { 1, dtype = "int32", name = "district" }
local place = layers.Flatten()(layers.Embedding { 5, 4 }(b))
local x = layers.Concatenate() { a, place }
x = layers.Dense { 32, activation = "relu" }(x)
local model = tide.Model {
  inputs = { a, b },
  outputs = {
    price = layers.Dense { 1, name = "price" }(x),
    sells = layers.Dense { 1, activation = "sigmoid", name = "sells" }(x),
  },
}
model:compile {
  optimizer = { "adam", learning_rate = 0.01 },
  loss = { price = "mse", sells = "binary_crossentropy" },
  loss_weights = { price = 1, sells = 0.5 },
  metrics = { sells = { "accuracy" } },
}
local history = model:fit(
  { numbers, district:reshape { n, 1 } }, { price = price, sells = sells },
  { epochs = 20, verbose = 0 })
print(model)
print(("loss %.3f -> %.3f"):format(history.history.loss[1], history.history.loss[-1]))

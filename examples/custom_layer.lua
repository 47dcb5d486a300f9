-- A layer of one's own: a dense layer whose output is scaled by a learned gate.
local tide = require "tide"
local layers = tide.layers

local Gated = tide.Layer:extend("Gated", {
  args = { "units" },
  build = function(self, shape)
    local n = shape[#shape]
    self.kernel = self:add_weight { name = "kernel", shape = { n, self.units } }
    self.gate = self:add_weight { name = "gate", shape = { n, self.units } }
  end,
  call = function(self, x)
    return x:matmul(self.kernel) * x:matmul(self.gate):sigmoid()
  end,
})

tide.seed(1)
local x = tide.random.normal { 256, 4 }
local y = (x[{ {}, { 1 } }] * x[{ {}, { 2 } }]):sigmoid()

local model = tide.Sequential {
  tide.Input { 4 }, Gated { 16 }, layers.Dense { 1, activation = "sigmoid" } }
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "mse" }
local history = model:fit(x, y, { epochs = 30, verbose = 0 })
print(model)
print(("loss %.4f -> %.4f"):format(history.history.loss[1], history.history.loss[-1]))

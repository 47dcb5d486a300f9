-- A training step of one's own: fit keeps its loop, callbacks and metrics; the step adds noise to
-- the inputs and clips gradients.
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local Noisy = tide.Model:extend("Noisy", {
  init = function(self)
    self.hidden = layers.Dense { 32, activation = "relu" }
    self.out = layers.Dense { 1 }
  end,
  call = function(self, x)
    return self.out(self.hidden(x))
  end,
  train_step = function(self, x, y, sample_weight)
    local noisy = x + 0.05 * tide.random.normal(x.shape)
    local loss, grads = tide.value_and_grad(function()
      return self:compute_loss {
        x = x, y = y, y_pred = self(noisy, { training = true }), sample_weight = sample_weight }
    end, self.trainable_weights)
    for i, g in ipairs(grads) do
      grads[i] = ops.clip(g, -1, 1)
    end
    self.optimizer:apply(grads, self.trainable_weights)
    return { loss = loss }
  end,
})

tide.seed(1)
local x = tide.random.uniform { 512, 2 }
local y = (x * x):sum { axis = 2, keepdims = true }
local model = Noisy()
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "mse" }
local history = model:fit(x, y, { epochs = 20, verbose = 0 })
print(("loss %.4f -> %.4f"):format(history.history.loss[1], history.history.loss[-1]))

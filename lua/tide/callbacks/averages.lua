--- Callbacks that put averages of the weights in their place.
local errors = require "tide.errors"
local ops = require "tide.ops"
local object = require "tide.object"

local base = require "tide.callbacks.base"
local masters = require "tide.optimizers.masters"

-- ---- SwapEMAWeights ----

--- Evaluates, validates and predicts with the optimizer's moving averages (`use_ema = true`) in
--- place of the weights, which come back afterwards. With `swap_on_epoch` the averages stand there
--- from the end of each epoch to the beginning of the next, for callbacks that save.
--     local c = tide.callbacks.SwapEMAWeights { swap_on_epoch = true }
local Swap = object.class("SwapEMAWeights", base.Callback, {
  rows = { { "swap_on_epoch", "bool", false, "averages also at the end of epochs" } },
})

-- The optimizers that keep averages: the model's, or those inside of it.
local function averaging(self)
  local out = {}
  local function add(optimizer)
    if rawget(optimizer, "use_ema") then
      out[#out + 1] = optimizer
    end
    for _, inner in ipairs(rawget(optimizer, "_inners") or {}) do
      add(inner)
    end
  end
  if type(self.model.optimizer) == "table" then
    add(self.model.optimizer)
  end
  if #out == 0 then
    errors.raise("SwapEMAWeights", "the optimizer keeps no averages (expected use_ema = true)")
  end
  return out
end

local function put(optimizer, values)
  for i, t in ipairs(optimizer._stepped) do
    t:assign(values[i])
  end
  if optimizer._halved then
    masters.round(optimizer._halved)
  end
end

-- The averages in; the weights wait in `_weights`.
local function swap_in(self)
  if self._weights then
    return
  end
  local kept = {}
  for k, optimizer in ipairs(averaging(self)) do
    kept[k] = {}
    if optimizer.built and optimizer._average then
      for i, t in ipairs(optimizer._stepped) do
        kept[k][i] = t:detach():copy()
      end
      put(optimizer, optimizer._average)
    end
  end
  self._weights = kept
end

local function swap_out(self)
  for k, optimizer in ipairs(self._weights and averaging(self) or {}) do
    if #self._weights[k] > 0 then
      put(optimizer, self._weights[k])
    end
  end
  self._weights = nil
end

Swap._keeps = { _weights = { "groups?", like = function(self)
  local out = {}
  for k, optimizer in ipairs(averaging(self)) do
    out[k] = optimizer._stepped or {}
  end
  return out
end } }

function Swap:on_train_begin()
  averaging(self)
  self._weights = nil
end

function Swap:on_epoch_begin()
  swap_out(self)
end

function Swap:on_epoch_end()
  if self.swap_on_epoch then
    swap_in(self)
  end
end

-- fit ends with the averages.
function Swap:on_train_end()
  self._weights = nil
end

Swap.on_test_begin, Swap.on_predict_begin = swap_in, swap_in
Swap.on_test_end, Swap.on_predict_end = swap_out, swap_out

-- ---- StochasticWeightAveraging ----

--- Ends with the mean of the weights after each epoch from `start_epoch` on, moving statistics of
--- normalizations among them (Izmailov et al. 2018). `swa_lr` is the learning rate from then on.
--     local c = tide.callbacks.StochasticWeightAveraging { start_epoch = 10, swa_lr = 0.05 }
local Average = object.class("StochasticWeightAveraging", base.Callback, {
  rows = {
    { "start_epoch", "int", 10, "first epoch whose weights count", min = 1 },
    { "swa_freq", "int", 1, "epochs from one that counts to the next", min = 1 },
    { "swa_lr", "number", nil, "learning rate from the first epoch on", above = 0 },
  },
})
Average._whole_epochs = true

local function floating(model)
  local out = {}
  for _, t in ipairs(model.weights) do
    out[#out + 1] = t.dtype:find "float" and t or nil
  end
  return out
end

-- Means of halves are float32: what one of many adds would be lost in a half.
local function wide(t)
  return (t.dtype == "float16" or t.dtype == "bfloat16") and ops.cast(t, "float32") or t
end

Average._keeps = { _counted = "count", _means = { "tensors?", like = function(self)
  local out = {}
  for i, t in ipairs(floating(self.model)) do
    out[i] = wide(t:detach())
  end
  return out
end } }

function Average:on_train_begin()
  self._means, self._counted = nil, 0
end

function Average:on_epoch_begin(epoch)
  if self.swa_lr and epoch >= self.start_epoch then
    self.model.optimizer.learning_rate = self.swa_lr
  end
end

function Average:on_epoch_end(epoch)
  if epoch < self.start_epoch or (epoch - self.start_epoch) % self.swa_freq ~= 0 then
    return
  end
  self._means = self._means or {}
  for i, t in ipairs(floating(self.model)) do
    local now = wide(t:detach())
    local mean = self._means[i]
    self._means[i] = mean and ops.add(mean, ops.divide(ops.subtract(now, mean), self._counted + 1))
      or now:copy()
  end
  self._counted = self._counted + 1
end

function Average:on_train_end()
  for i, t in ipairs(self._means and floating(self.model) or {}) do
    t:assign(ops.cast(self._means[i], t.dtype))
  end
end

return { SwapEMAWeights = Swap, StochasticWeightAveraging = Average }

--- NaNGuard: finds where the first NaN or infinity of training comes from.
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local seed_counts = require "tide.layers.seeds"
local structure = require "tide.data.structure"
local tensors = require "tide.training.tensors"

local base = require "tide.callbacks.base"
local steps = require "tide.training.steps"

--- Watches loss and weights of every batch. At the first NaN or infinity it says where that stands:
--- in the data (which sample), in the weights (which), in the forward pass or the loss (layer and
--- op), or in a gradient (of which weight); `guard.found` holds `{ epoch, batch, place, name, op,
--- sample }`. Weights, states and the optimizer go back to what they were at the last copy, which
--- is made every `keep_freq` batches. Then training stops (`action = "stop"`), raises ("raise"),
--- goes on with the next batch ("rollback"), or does so with the learning rate times `factor`
--- ("reduce_lr"); after `max_times` it stops.
--- A callback for finding faults: it waits for the loss of every batch.
--     local c = tide.callbacks.NaNGuard { "reduce_lr", factor = 0.1 }
local Guard = object.class("NaNGuard", base.Callback, {
  rows = {
    { "action", "enum", "stop", "what happens then", of = "stop|raise|rollback|reduce_lr" },
    { "factor", "number", 0.5, "new learning rate / old one", above = 0, below = 1 },
    { "keep_freq", "int", 1, "batches from copy to copy of the weights", min = 1 },
    { "max_times", "int", 10, "how often training goes on", min = 1 },
  },
})
Guard.lazy_logs = true
Guard._keeps = { found = "plain?", _times = "count", _since = "count", _epoch = "count?" }

local function finite(t)
  return not tensors.is_float(t.dtype) or t.size == 0 or ops.all(ops.isfinite(t))
end

-- What a tensor that is not finite holds.
local function kind(t)
  return ops.any(ops.isnan(t)) and "NaN" or "infinity"
end

-- ---- copies ----

-- Tensors that a step writes to.
local function written(model, T)
  local out = {}
  for i, r in ipairs(model:_saved()) do
    out[i] = r.tensor
  end
  for _, s in ipairs(T.optimizer:_state()) do
    out[#out + 1] = s.tensor
  end
  return out
end

local function keep(self)
  local T = self.model[S].training
  local copies = {}
  for i, t in ipairs(written(self.model, T)) do
    copies[i] = { t, t:detach():copy() }
  end
  self._copy = setmetatable({ copies = copies, numbers = T.optimizer:_numbers(),
    built = T.optimizer.built }, { __name = "copy" }) -- an object, which no checkpoint holds
end

local function put_back(self)
  local optimizer = self.model[S].training.optimizer
  local known = {}
  for _, pair in ipairs(self._copy.copies) do
    pair[1]:assign(pair[2])
    known[pair[1]] = true
  end
  if optimizer.built and not self._copy.built then -- the first step made the slots
    for _, s in ipairs(optimizer:_state()) do
      if s.slot ~= "master" and not known[s.tensor] then
        s.tensor:zero_()
      end
    end
  end
  local rate = optimizer:_numbers().learning_rate
  self._copy.numbers.learning_rate = rate
  optimizer:_set_numbers(self._copy.numbers)
end

-- ---- looking ----

local names -- function of the core -> op's name
local function op_names()
  if not names then
    names = {}
    for name, f in pairs(core.ops) do
      if type(f) == "function" then
        names[f] = name:gsub("_+$", "")
      end
    end
  end
  return names
end

-- Runs f; returns what it returned, and the op and the layer whose result was the first that is not
-- finite.
local function traced(f)
  local known, found = op_names(), nil
  local function look()
    local info = debug.getinfo(2, "fr")
    local name = not found and known[info.func]
    for i = 1, name and info.ntransfer or 0 do
      local _, v = debug.getlocal(2, info.ftransfer + i - 1)
      if type(v) == "userdata" and core.is_tensor(v) and not finite(v) then
        local layer = errors.layer()
        found = { op = name, kind = kind(v), layer = layer and layer:_label() }
        break
      end
    end
  end
  local hook, mask, count = debug.gethook()
  debug.sethook(look, "r")
  local results = table.pack(pcall(f))
  debug.sethook(hook, mask, count)
  if not results[1] then
    error(results[2], 0)
  end
  return found, table.unpack(results, 2, results.n)
end

local function bad_sample(t)
  if t.ndim == 0 then
    return nil
  end
  local bad = ops.logical_not(ops.isfinite(t)):reshape { t.shape[1], -1 }
  return tensors.number(ops.argmax(ops.cast(ops.any(bad, { axis = 2 }), "int32"), { axis = 1 }))
end

local function in_data(batch)
  for i, what in ipairs { "x", "y", "sample_weight" } do
    local v = batch[i]
    local leaves = v ~= nil and structure.flatten(v, what) or {}
    for k = 1, #leaves do
      local t = leaves[k]
      if type(t) == "userdata" and not finite(t) then
        return { place = "data", name = #leaves > 1 and ("%s[%d]"):format(what, k) or what,
          kind = kind(t), sample = bad_sample(t) }
      end
    end
  end
end

local function in_weights(model)
  for _, r in ipairs(model:_saved()) do
    if not finite(r.tensor:detach()) then
      return { place = "weights", name = r.path, kind = kind(r.tensor:detach()) }
    end
  end
end

-- Runs the batch again; the last weights get their gradients first.
local function in_step(model, T, batch)
  local x, y, w = batch[1], batch[2], batch[3]
  local y_pred, loss
  local found
  found, y_pred = traced(function()
    return model(x, { training = true })
  end)
  if found then
    found.place, found.name = "forward", found.layer
    return found
  elseif T.own_step then
    return nil
  end
  found, loss = traced(function()
    return T.own_loss and model:compute_loss(x, y, y_pred, w, true)
      or steps.compute_loss(model, x, y, y_pred, w)
  end)
  if found then
    found.place, found.name = "loss", found.layer
    return found
  end
  local records = {}
  for _, r in ipairs(model:_records()) do
    records[#records + 1] = r.trainable and r or nil
  end
  local params = {}
  for i, r in ipairs(records) do
    params[i] = r.tensor
  end
  local grads = core.gradients(loss, params)
  for i = #grads, 1, -1 do
    if grads[i] and type(grads[i]) == "userdata" and not finite(grads[i]) then
      return { place = "gradient", name = records[i].path, kind = kind(grads[i]) }
    end
  end
end

local function look(self)
  local model = self.model
  local T = model[S].training
  local found = in_data(self._batch) or in_weights(model)
  if found then
    return found
  end
  local generator, seeds = { core.generator() }, seed_counts.counts_of(model)
  core.generator(table.unpack(self._generator))
  seed_counts.set_counts(model, self._seeds)
  local _ <close> = core.recording(true)
  local ok, got = pcall(in_step, model, T, self._batch)
  core.generator(table.unpack(generator))
  seed_counts.set_counts(model, seeds)
  return ok and got or { place = "step", kind = "NaN or infinity" }
end

local function told(found)
  local what = found.kind .. " in "
  if found.place == "data" then
    return what .. "the data: " .. found.name
      .. (found.sample and (", sample %d of the batch"):format(found.sample) or "")
  elseif found.place == "weights" then
    return what .. "the weights, before the batch: " .. found.name
  elseif found.place == "gradient" then
    return what .. "the gradient of " .. found.name
  elseif found.place == "step" then
    return what .. "what the optimizer's step wrote, and not in the batch run again"
  end
  return ("%sthe %s: the op %s%s"):format(what,
    found.place == "loss" and "loss" or "forward pass", found.op,
    found.name and " of " .. found.name or "")
end

-- ---- hooks ----

-- Called with the parts of each batch before its step.
function Guard:_take_batch(x, y, w)
  -- an object, which no checkpoint holds
  self._batch = setmetatable({ x, y, w }, { __name = "batch" })
end

function Guard:on_train_begin()
  self.found, self._times, self._since, self._copy = nil, 0, 0, nil
end

function Guard:on_train_resume()
  self._since, self._copy = 0, nil
end

function Guard:on_epoch_begin(epoch)
  self._epoch = epoch
end

function Guard:on_train_batch_begin()
  local T = self.model[S].training
  if self.model.built and (not self._copy or self._since >= self.keep_freq) then
    keep(self)
    self._since = 0
  end
  self._since = self._since + 1
  self._generator, self._seeds = { core.generator() }, seed_counts.counts_of(self.model)
  T.bad = nil
end

-- Whether the loss of the batch, or what the step wrote, is not finite.
local function bad(self, logs)
  local T = self.model[S].training
  local guard = T.guard and T.guard:tolist()
  if guard and (guard[2] ~= 0 or T.bad and guard[1] == 0) then
    return true
  elseif T.own_step and type(logs.loss) == "number" and logs.loss - logs.loss ~= 0 then
    return true
  end
  local params = {}
  for _, r in ipairs(self.model:_records()) do
    params[#params + 1] = r.trainable and tensors.is_float(r.tensor.dtype) and r.tensor or nil
  end
  local norm = #params > 0 and tensors.number(core.ops.global_norm_(params)) or 0
  return norm - norm ~= 0 and in_weights(self.model) ~= nil
end

function Guard:on_train_batch_end(batch, logs)
  if not bad(self, logs) then
    return
  end
  local T = self.model[S].training
  steps.settle(T)
  if self._copy then
    put_back(self)
  end
  local found = look(self)
  if self._copy then
    put_back(self) -- looking moves statistics
  end
  found.epoch, found.batch = self._epoch, batch
  self.found, self._times = found, self._times + 1
  local text = ("epoch %d, batch %d: %s"):format(self._epoch or 1, batch, told(found))
  if self.action == "raise" then
    errors.raise("NaNGuard", "%s", text)
  elseif self.action == "stop" or self._times > self.max_times or not self._copy then
    errors.warn("NaNGuard: %s; training stops", text)
    self.model.stop_training = true
  elseif self.action == "reduce_lr" then
    T.optimizer.learning_rate = T.optimizer.learning_rate * self.factor
    errors.warn("NaNGuard: %s; training goes on with the learning rate %s", text,
      tostring(T.optimizer.learning_rate))
  else
    errors.warn("NaNGuard: %s; training goes on with the next batch", text)
  end
end

function Guard:on_train_end()
  self._copy, self._batch = nil, nil
end

return { NaNGuard = Guard }

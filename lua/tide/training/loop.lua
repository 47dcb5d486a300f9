--- compile, fit, evaluate, predict and their on-batch forms: the functions behind the methods of
--- tide.Model (Keras' keras/src/trainers/trainer.py).
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local origin = require "tide.origin"
local list = require "tide.list"
local ops = require "tide.ops"
local strings = require "tide.strings"
local structure = require "tide.data.structure"

local adapter = require "tide.data.adapter"
local callbacks_base = require "tide.callbacks.base"
local pass = require "tide.training.pass"
local steps = require "tide.training.steps"
local Model = require "tide.models.model"

local loop = {}

for name, f in pairs(require "tide.training.configure") do
  loop[name] = f
end
loop.fit = require("tide.training.fit").fit

local data_rows = pass.data_rows

-- ---- evaluate ----

-- Values in Keras' order: loss, metrics of a model with one output, losses per output, then the
-- rest, metrics per output among them, by name.
local function names_in_order(self, logs)
  local out, done = {}, {}
  local function put(name)
    if logs[name] ~= nil and not done[name] then
      done[name] = true
      out[#out + 1] = name
    end
  end
  put "loss"
  for _, m in ipairs(loop.named_metrics(self)) do
    if not m.of_output then
      put(m.name)
    end
  end
  local rest = {}
  for name in pairs(logs) do
    rest[#rest + 1] = name
  end
  table.sort(rest)
  for _, name in ipairs(rest) do
    put(name)
  end
  return out
end

-- The values of logs in that order, which is kept as long as the names are the same.
local function in_order(self, logs)
  local T = self[S].training
  local left, out = 0, {}
  for _ in next, logs do
    left = left + 1
  end
  for i, name in ipairs(T.order or {}) do
    out[i] = logs[name]
    left = left - (logs[name] ~= nil and 1 or 0)
  end
  if left ~= 0 or not T.order then
    T.order = names_in_order(self, logs)
    for i, name in ipairs(T.order) do
      out[i] = logs[name]
    end
  end
  return table.unpack(out, 1, #T.order)
end

local evaluate_args = check.args("evaluate", {
  data_rows[1], data_rows[2],
  { "batch_size", "int", nil, "samples per step, 32 by default", min = 1 },
  { "verbose", "any", "auto", "0: silent, 1: progress bar, 2: one line" },
  { "sample_weight", "any", nil, "weight of each sample", dict = true },
  { "steps", "int", nil, "number of batches", min = 1 },
  { "callbacks", "any", nil, "list of callbacks" },
  { "return_dict", "bool", false, "a table by name instead of several values" },
})

--- Loss and metrics on data, as several values in the order of compile.
---
---     local loss, accuracy = model:evaluate(x_test, y_test)
function loop.evaluate(self, ...)
  local o = evaluate_args:call(...)
  local T = steps.of(self, "evaluate")
  local inner = pass.inner(self, T)
  pass.refresh(self, T, "evaluate")
  local source = adapter.new {
    x = pass.as_leaf(o.x), y = pass.as_leaf(o.y), sample_weight = pass.as_leaf(o.sample_weight),
      batch_size = o.batch_size, owner = "evaluate",
    input_names = pass.input_names(self), output_names = T.names }
  if source.batches == 0 then
    errors.raise("evaluate", "there are no samples")
  end
  local verbose = pass.resolve_verbose(o.verbose)
  local cb = pass.make_callbacks(self, callbacks_base.collect(o.callbacks),
    { epochs = 1, steps = o.steps or source.batches, verbose = verbose })
  self.stop_evaluating = false
  local _ <close> = core.scope_pause()
  local _ <close> = core.recording(false)
  local _ <close> = pass.guard(T, inner)
  local _ <close> = adapter.closing(source)
  adapter.check_end(source, o.steps, "evaluate", "steps")
  local logs = pass.evaluate(self, T, source, o.steps, cb)
  if o.return_dict then
    return list.dict(logs)
  end
  return in_order(self, logs)
end

-- ---- predict ----

local predict_args = check.args("predict", {
  data_rows[1],
  { "batch_size", "int", nil, "samples per step, 32 by default", min = 1 },
  { "verbose", "any", "auto", "0: silent, 1: progress bar, 2: one line" },
  { "steps", "int", nil, "number of batches", min = 1 },
  { "callbacks", "any", nil, "list of callbacks" },
})

local function join(batches)
  if #batches == 1 then
    return batches[1]
  end
  return strings.is(batches[1]) and strings.join(batches)
    or ops.concatenate(batches, { axis = 1 })
end

--- The outputs for inputs, batch by batch, joined.
---
---     local probabilities = model:predict(x_new)
--- @return any outputs a tensor, or the structure of the model's outputs
function loop.predict(self, ...)
  local o = predict_args:call(...)
  local x = pass.as_leaf(o.x)
  local source = adapter.new { x = x, batch_size = o.batch_size, owner = "predict",
    input_names = pass.input_names(self) }
  local verbose = o.verbose == "auto" and (core.terminal(1) and 1 or 0)
    or pass.resolve_verbose(o.verbose)
  local cb = pass.make_callbacks(self, callbacks_base.collect(o.callbacks),
    { epochs = 1, steps = o.steps or source.batches, verbose = verbose,
      delay = o.verbose == "auto" and 2 or nil })
  self.stop_predicting = false
  local pause <close> = core.scope_pause()
  local _ <close> = core.recording(false)
  local _ <close> = adapter.closing(source)
  adapter.check_end(source, o.steps, "predict", "steps")
  cb:run("on_predict_begin", {})
  source:begin(1)
  local parts, plan, names, seen = {}, nil, nil, 0
  local predict_step = self.predict_step ~= Model.predict_step and self.predict_step
    or steps.predict
  while not o.steps or seen < o.steps do
    local bx, by, bw = source:next()
    if bx == nil then
      break
    end
    seen = seen + 1
    if cb:uses "on_predict_batch_begin" then
      cb:run("on_predict_batch_begin", seen, {})
    end
    local out = predict_step(self, bx, by, bw)
    names = names or pass.output_names(self) -- known once it was called
    local leaves
    leaves, plan = structure.flatten(out, "output", names)
    for i, t in ipairs(leaves) do
      parts[i] = parts[i] or {}
      parts[i][seen] = t
    end
    if cb:uses "on_predict_batch_end" then
      cb:run("on_predict_batch_end", seen, { outputs = out })
    end
    bx, by, bw, out, leaves = nil, nil, nil, nil, nil -- luacheck: ignore
    core.step_end(true)
    if self.stop_predicting then
      break
    end
  end
  if seen == 0 and source.n == 0 then -- none in, none out
    local leaves
    leaves, plan = structure.flatten(predict_step(self, x), "output", pass.output_names(self))
    for i, t in ipairs(leaves) do
      parts[i] = { t }
    end
  elseif seen == 0 then
    errors.raise("predict", "there are no samples")
  end
  source:finish()
  local joined = {}
  for i, batches in ipairs(parts) do
    joined[i] = join(batches)
  end
  cb:run("on_predict_end", {})
  if pause then
    core.scope_end(pause)
    for _, y in ipairs(joined) do
      core.scope_note(y)
    end
  end
  return structure.pack(joined, plan)
end

-- ---- single batches ----

local batch_rows = { data_rows[1], data_rows[2],
  { "sample_weight", "any", nil, "weight of each sample", dict = true } }

local train_args = check.args("train_on_batch", {
  batch_rows[1], batch_rows[2], batch_rows[3],
  { "class_weight", "any", nil, "weights by label", dict = true },
  { "return_dict", "bool", false, "a table by name instead of several values" },
})
local test_args = check.args("test_on_batch", {
  batch_rows[1], batch_rows[2], batch_rows[3],
  { "return_dict", "bool", false, "a table by name instead of several values" },
})

local function on_batch(self, o, name, grad)
  local method = name == "train_step" and "train_on_batch" or "test_on_batch"
  local T = steps.of(self, method)
  local inner = pass.inner(self, T)
  local found = pass.refresh(self, T, method, true)
  local x, y, w = pass.as_leaf(o.x), pass.as_leaf(o.y), pass.as_leaf(o.sample_weight)
  if o.class_weight ~= nil then
    w = pass.class_weights(T, o.class_weight, y):of(y, w)
  end
  local _ <close> = core.recording(grad)
  local _ <close> = pass.guard(T, inner)
  steps.reset_metrics(self, found)
  local own = pass.stepper(self, T, name)(x, y, w)
  local logs = pass.epoch_logs(self, own)
  steps.settle(T)
  core.step_end(true) -- a step may take but some microseconds
  if o.return_dict then
    return list.dict(logs)
  end
  return in_order(self, logs)
end

--- One step on one batch; returns loss and metrics of the batch.
function loop.train_on_batch(self, ...)
  return on_batch(self, train_args:call(...), "train_step", true)
end

--- Loss and metrics of one batch.
function loop.test_on_batch(self, ...)
  return on_batch(self, test_args:call(...), "test_step", false)
end

--- The outputs for one batch.
function loop.predict_on_batch(self, x)
  local _ <close> = core.recording(false)
  local step = self.predict_step ~= Model.predict_step and self.predict_step or steps.predict
  local y = step(self, pass.as_leaf(x))
  core.step_end(true)
  return y
end

-- ---- what models may replace ----

--- One training step; models may define their own, which returns values by name for the logs.
--- @return table logs
function loop.train_step(self, x, y, sample_weight)
  local T = steps.of(self, "train_step")
  steps.train(self, T, x, y, sample_weight)
  return steps.results(self)
end

--- One test step.
--- @return table logs
function loop.test_step(self, x, y, sample_weight)
  local T = steps.of(self, "test_step")
  steps.test(self, T, x, y, sample_weight)
  return steps.results(self)
end

--- The outputs for a batch.
function loop.predict_step(self, x)
  return steps.predict(self, x)
end

-- Arguments by position, or by name in one table.
local function named_or_not(f)
  return origin.here(function(self, x, ...)
    if select("#", ...) == 0 and check.is_plain(x) and x.y_pred ~= nil then
      return f(self, x.x, x.y, x.y_pred, x.sample_weight, x.training)
    end
    return f(self, x, ...)
  end)
end

--- The loss of a batch: the compiled losses plus what layers and regularizers add; models may
--- define their own.
---
---     local loss = model:compute_loss { x = x, y = y, y_pred = model(x) }
loop.compute_loss = named_or_not(steps.compute_loss)

--- Updates the compiled metrics and returns all values by name.
loop.compute_metrics = named_or_not(steps.compute_metrics)
loop.get_metrics_result = steps.results

--- Sets the compiled metrics and the mean of the loss to nothing; fit does it before each epoch.
function loop.reset_metrics(self)
  steps.reset_metrics(self)
end

--- Kept for programs that call it; Tide has nothing to make.
function loop.make_train_function(self)
  return function(x, y, w)
    return self:train_step(x, y, w)
  end
end

loop.named_metrics = pass.named_metrics

return loop

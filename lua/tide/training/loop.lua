--- compile, fit, evaluate, predict and their on-batch forms: the functions behind the methods of tide.Model (Keras'
--- keras/src/trainers/trainer.py).
---
--- The path of a batch is short on purpose: data, step, one young collection, one look at Ctrl-C; logs are made only for
--- callbacks that ask for them, and the progress bar asks only when it draws.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local losses = require "tide.losses"
local ops = require "tide.ops"
local structure = require "tide.training.structure"

local adapter = require "tide.training.data_adapter"
local callbacks_base = require "tide.callbacks.base"
local steps = require "tide.training.steps"
local Model = require "tide.models.model"

local loop = {}

for name, f in pairs(require "tide.training.configure") do
  loop[name] = f
end

-- ---- preparation ----

local function output_names(self)
  local ok, names = pcall(function()
    return self.output_names
  end)
  if ok and type(names) == "table" then
    return table.move(names, 1, #names, 1, {})
  end
  return {}
end

local function input_names(self)
  local ok, names = pcall(function()
    return self.input_names
  end)
  return ok and type(names) == "table" and table.move(names, 1, #names, 1, {}) or nil
end

-- Things that hold for one fit or evaluate and may have changed since the last.
local function refresh(self, T)
  T.params, T.layers, T.extra, T.bad = nil, nil, nil, nil
  T.names = output_names(self)
  T.own_loss = self.compute_loss ~= Model.compute_loss
  T.own_metrics = self.compute_metrics ~= Model.compute_metrics
end

-- Whether the targets are 0 and 1, by the loss.
local binary_losses = { BinaryCrossentropy = true, BinaryFocalCrossentropy = true, Hinge = true, SquaredHinge = true }
local function is_binary(T)
  local given = T.loss and T.loss.given
  if given == nil or (check.is_plain(given) and not (type(given[1]) == "string" and check.has_string_key(given))) then
    return false
  end
  local ok, l = pcall(losses.get, given)
  return ok and binary_losses[getmetatable(l).__name] or false
end

local function class_weights(T, given, y)
  if given == nil then
    return nil
  end
  local classes
  local binary = is_binary(T)
  if type(y) == "userdata" and not binary and y.size > 0 then
    if y.ndim > 1 and y.shape[-1] > 1 then
      classes = y.shape[-1]
    else
      local top = ops.max(y)
      classes = math.floor(type(top) == "userdata" and top:item() or top)
    end
  end
  return adapter.class_weight(given, binary, classes)
end

local function as_leaf(v)
  if structure.kind(v) == "leaf" and type(v) ~= "userdata" then
    return core.tensor(v)
  end
  return v
end

-- Restores what a fit or evaluate changes, however it ends.
local Guard = {}
function Guard.__close(g)
  if g.state then -- the last batch's tensors hold its graph
    g.state.y_list, g.state.p_list, g.state.w_list = {}, {}, {}
  end
  if g.watching then
    core.watch_interrupts(false)
  end
  core.grad_mode(g.grad_mode)
end

local function guard(grad, watch, state)
  local g = setmetatable({ grad_mode = core.grad_mode(grad), watching = watch, state = state }, Guard)
  if watch then
    core.watch_interrupts(true)
  end
  return g
end

local function resolve_verbose(verbose)
  if verbose == "auto" or verbose == nil then
    return core.terminal(1) and 1 or 2
  elseif verbose == true then
    return 1
  elseif verbose == false then
    return 0
  elseif verbose ~= 0 and verbose ~= 1 and verbose ~= 2 then
    errors.raise("verbose", 'must be 0, 1, 2 or "auto", got %s', check.show(verbose))
  end
  return verbose
end

-- The list that runs the callbacks: a person's, history, progress.
local function make_callbacks(self, given, o)
  local all = callbacks_base.collect(given)
  local history
  if o.verbose ~= 0 then
    all[#all + 1] = require("tide.callbacks").ProgbarLogger()
  end
  if o.history then -- last: it sees what the others add to the logs
    history = require("tide.callbacks").History()
    all[#all + 1] = history
  end
  return callbacks_base.CallbackList.new(all, self, o), history
end

-- Logs for callbacks at the end of a batch: a fresh table, or, if all who listen read them only when they draw, a stand-in.
local function batch_logs(self, users)
  for _, c in ipairs(users or {}) do
    if not c._lazy_logs then
      return nil
    end
  end
  return setmetatable({}, {
    __index = function(_, name)
      return steps.results(self)[name]
    end,
    __pairs = function()
      return pairs(steps.results(self))
    end,
  })
end

-- What a person's own step returned, or the metrics where it is the same.
local function epoch_logs(self, own)
  if type(own) == "table" then
    local out = {}
    for k, v in pairs(own) do
      out[k] = type(v) == "userdata" and v.size == 1 and v:item() or v
    end
    local known = steps.results(self)
    for k in pairs(out) do
      if known[k] == nil or (k == "loss" and self._training.tracker._count == 0) then
        return out
      end
    end
    for k in pairs(known) do
      if out[k] == nil and k ~= "loss" then
        return out
      end
    end
    if out.loss == nil then
      known.loss = nil
    end
    return known
  end
  return steps.results(self)
end

-- ---- one pass over data ----

-- Runs batches until `limit` steps are done or the data end. `step(x, y, w)` returns logs or nil; `phase` is "train" or "test".
-- Returns the logs of a person's own step and how many batches ran; nil, why: stopped.
local function run_batches(self, source, limit, step, phase, cb)
  local active = cb.active
  local before, after = active["on_" .. phase .. "_batch_begin"], active["on_" .. phase .. "_batch_end"]
  local lazy = after and batch_logs(self, after)
  local begin_hook, end_hook = "on_" .. phase .. "_batch_begin", "on_" .. phase .. "_batch_end"
  local stop_field = phase == "train" and "stop_training" or "stop_evaluating"
  local interrupted, step_end = core.interrupted, core.step_end
  local seen, own = 0, nil
  while not limit or seen < limit do
    local x, y, w = source:next()
    if x == nil then
      break
    end
    seen = seen + 1
    if before then
      cb:run(begin_hook, seen, {})
    end
    own = step(x, y, w)
    if after then
      local logs = own and epoch_logs(self, own) or lazy or steps.results(self)
      for i = 1, #after do
        local c = after[i]
        c[end_hook](c, seen, logs)
      end
    end
    x, y, w = nil, nil, nil -- luacheck: ignore
    step_end()
    if rawget(self, stop_field) then
      return own, seen, "callback"
    elseif interrupted() then
      return own, seen, "interrupt"
    end
  end
  return own, seen
end

local function stepper(self, T, name)
  local method = self[name]
  if method ~= Model[name] then
    return function(x, y, w)
      if not self.built then -- a step of one's own may ask for the weights before it calls the model
        pcall(core.no_grad, self, x)
      end
      return method(self, x, y, w)
    end
  end
  local run = name == "train_step" and steps.train or steps.test
  return function(x, y, w)
    run(self, T, x, y, w)
  end
end

-- ---- fit ----

local data_rows = {
  { "x", "any", nil, "inputs: tensors, nested tables, a data set, a sequence or a function", dict = true },
  { "y", "any", nil, "targets", dict = true },
}

local fit_args = check.args("fit", {
  data_rows[1], data_rows[2],
  { "batch_size", "int", nil, "samples per step, 32 by default", min = 1 },
  { "epochs", "int", 1, "passes over the data, those of initial_epoch included", min = 0 },
  { "verbose", "any", "auto", "0: silent, 1: progress bar, 2: one line per epoch" },
  { "callbacks", "any", nil, "list of callbacks" },
  { "validation_split", "number", 0.0, "share of the data, the last, kept for validation", min = 0, below = 1 },
  { "validation_data", "any", nil, "{ x, y } or { x, y, sample_weight }, or a data source" },
  { "shuffle", "any", true, "new order every epoch; \"batch\": of whole batches" },
  { "class_weight", "any", nil, "weights by label", dict = true },
  { "sample_weight", "any", nil, "weight of each sample", dict = true },
  { "initial_epoch", "int", 0, "epochs already done", min = 0 },
  { "steps_per_epoch", "int", nil, "batches per epoch", min = 1 },
  { "validation_steps", "int", nil, "batches per validation", min = 1 },
  { "validation_batch_size", "int", nil, "batch_size when left out", min = 1 },
  { "validation_freq", "any", 1, "validate every n epochs, or in the listed ones" },
})

local function validates(epoch, freq)
  if math.type(freq) == "integer" and freq > 0 then
    return epoch % freq == 0
  elseif check.is_list(freq) then
    for _, e in ipairs(freq) do
      if e == epoch then
        return true
      end
    end
    return false
  end
  errors.raise("fit", "validation_freq must be a number of epochs or a list of epochs, got %s", check.show(freq))
end

-- Splits validation data as a person gives them.
local function validation_triple(v)
  if adapter.is_stream(v) then
    return { x = v }
  elseif not check.is_list(v) or #v < 1 or #v > 3 then
    errors.raise("fit", "validation_data must be { x, y } or { x, y, sample_weight }, or a data source, got %s", check.show(v))
  end
  return { x = v[1], y = v[2], sample_weight = v[3] }
end

local evaluate_pass

local function fit_epochs(self, T, o, source, validation, cb, history)
  local logs_of_last
  local step = stepper(self, T, "train_step")
  local started, used = false, 0
  for epoch = o.initial_epoch + 1, o.epochs do
    steps.reset_metrics(self)
    cb:run("on_epoch_begin", epoch, {})
    -- with steps_per_epoch the data go on where the last epoch ended
    if not o.steps_per_epoch or not started or (source.batches and used >= source.batches) then
      source:begin(epoch)
      started, used = true, 0
    end
    local limit = o.steps_per_epoch
    local own, seen, stopped = run_batches(self, source, limit, step, "train", cb)
    used = used + seen
    if seen == 0 then
      errors.raise("fit", "the data gave no batch in epoch %d%s", epoch,
        source.once and "; a function or coroutine that ended must begin again when it is called in the next epoch" or "")
    elseif limit and seen < limit and not stopped then
      io.stderr:write(("tide: fit: the data ended after %d of %d steps of epoch %d\n"):format(seen, limit, epoch))
      used = math.huge
      started = false
    end
    local logs = epoch_logs(self, own)
    if validation and stopped ~= "interrupt" and validates(epoch, o.validation_freq) then
      local before = core.grad_mode(false)
      local values = evaluate_pass(self, T, validation, o.validation_steps, cb)
      core.grad_mode(before)
      for k, v in pairs(values) do
        logs["val_" .. k] = v
      end
    end
    cb:run("on_epoch_end", epoch, logs)
    logs_of_last = logs
    if not stopped and core.interrupted() then
      stopped = "interrupt"
    end
    if stopped or rawget(self, "stop_training") then
      history.stopped = stopped or "callback"
      break
    end
  end
  return logs_of_last
end

--- Trains the model.
---
--- Example:
---   local history = model:fit(x, y, { epochs = 10, batch_size = 32, validation_split = 0.1 })
---   print(history.loss[-1])
--- @return table history `history.loss` and so on are lists with one value per epoch; `history.stopped` says why it ended early
function loop.fit(self, ...)
  local o = fit_args:call(...)
  local T = steps.of(self, "fit")
  refresh(self, T)
  local x, y, w = as_leaf(o.x), as_leaf(o.y), as_leaf(o.sample_weight)
  local weights = class_weights(T, o.class_weight, y)
  local val
  if o.validation_data ~= nil then
    val = validation_triple(o.validation_data)
  elseif o.validation_split > 0 then
    if adapter.is_stream(x) then
      errors.raise("fit", "validation_split needs tensors, not a data source")
    end
    local first, last = adapter.split(x, y, w, o.validation_split, input_names(self), T.names)
    x, y, w = first[1], first[2] or nil, first[3] or nil
    val = { x = last[1], y = last[2] or nil, sample_weight = last[3] or nil }
  end
  local source = adapter.new { x = x, y = y, sample_weight = w, batch_size = o.batch_size, shuffle = o.shuffle,
    class_weight = weights,
    input_names = input_names(self), output_names = T.names }
  if source.batches == 0 then
    errors.raise("fit", "there are no samples")
  end
  local validation
  if val then
    val.batch_size = o.validation_batch_size or o.batch_size
    val.input_names, val.output_names = input_names(self), T.names
    validation = adapter.new(val)
  end
  local steps_total = o.steps_per_epoch or source.batches
  local cb, history = make_callbacks(self, o.callbacks, { epochs = o.epochs, steps = steps_total,
    verbose = resolve_verbose(o.verbose),
    history = true, force_bar = o.verbose == 1 and os.getenv "TIDE_BAR" ~= nil })
  rawset(self, "stop_training", false)
  rawset(self, "stop_evaluating", false)
  local _ <close> = guard(true, true, T)
  cb:run("on_train_begin", {})
  local logs = fit_epochs(self, T, o, source, validation, cb, history)
  if T.optimizer.use_ema and T.params then
    T.optimizer:finalize_variable_values()
  end
  cb:run("on_train_end", logs or {})
  return history
end

-- ---- evaluate ----

function evaluate_pass(self, T, source, limit, cb)
  steps.reset_metrics(self)
  cb:run("on_test_begin", {})
  source:begin(1)
  local own, seen = run_batches(self, source, limit, stepper(self, T, "test_step"), "test", cb)
  if seen == 0 then
    errors.raise("evaluate", "the data gave no batch")
  end
  local logs = epoch_logs(self, own)
  cb:run("on_test_end", logs)
  return logs
end

-- Values in Keras' order: loss, metrics, losses per output, then the rest by name.
local function in_order(self, logs)
  local out, done = {}, {}
  local function put(name)
    if logs[name] ~= nil and not done[name] then
      done[name] = true
      out[#out + 1] = logs[name]
    end
  end
  put "loss"
  for _, m in ipairs(loop.named_metrics(self)) do
    put(m.name)
  end
  local rest = {}
  for name in pairs(logs) do
    rest[#rest + 1] = name
  end
  table.sort(rest)
  for _, name in ipairs(rest) do
    put(name)
  end
  return table.unpack(out)
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
--- Example:
---   local loss, accuracy = model:evaluate(x_test, y_test)
function loop.evaluate(self, ...)
  local o = evaluate_args:call(...)
  local T = steps.of(self, "evaluate")
  refresh(self, T)
  local source = adapter.new { x = as_leaf(o.x), y = as_leaf(o.y), sample_weight = as_leaf(o.sample_weight),
    batch_size = o.batch_size,
    input_names = input_names(self), output_names = T.names }
  if source.batches == 0 then
    errors.raise("evaluate", "there are no samples")
  end
  local verbose = resolve_verbose(o.verbose)
  local cb = make_callbacks(self, o.callbacks, { epochs = 1, steps = o.steps or source.batches, verbose = verbose })
  rawset(self, "stop_evaluating", false)
  local _ <close> = guard(false, false, T)
  local logs = evaluate_pass(self, T, source, o.steps, cb)
  if o.return_dict then
    return logs
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
  return ops.concatenate(batches, { axis = 1 })
end

--- The outputs for inputs, batch by batch, joined.
---
--- Example:
---   local probabilities = model:predict(x_new)
--- @return any outputs a tensor, or the structure of the model's outputs
function loop.predict(self, ...)
  local o = predict_args:call(...)
  local x = as_leaf(o.x)
  local source = adapter.new { x = x, batch_size = o.batch_size, input_names = input_names(self) }
  local verbose = o.verbose == "auto" and (core.terminal(1) and 1 or 0) or resolve_verbose(o.verbose)
  local cb = make_callbacks(self, o.callbacks, { epochs = 1, steps = o.steps or source.batches, verbose = verbose,
    delay = o.verbose == "auto" and 2 or nil })
  rawset(self, "stop_predicting", false)
  local _ <close> = guard(false, false)
  cb:run("on_predict_begin", {})
  source:begin(1)
  local parts, plan, seen = {}, nil, 0
  local predict_step = self.predict_step ~= Model.predict_step and self.predict_step or steps.predict
  while not o.steps or seen < o.steps do
    local bx, by, bw = source:next()
    if bx == nil then
      break
    end
    seen = seen + 1
    cb:run("on_predict_batch_begin", seen, {})
    local out = predict_step(self, bx, by, bw)
    local leaves
    leaves, plan = structure.flatten(out, "output", output_names(self))
    for i, t in ipairs(leaves) do
      parts[i] = parts[i] or {}
      parts[i][seen] = t
    end
    if cb:uses "on_predict_batch_end" then
      cb:run("on_predict_batch_end", seen, { outputs = out })
    end
    bx, by, bw, out, leaves = nil, nil, nil, nil, nil -- luacheck: ignore
    core.step_end(true)
    if rawget(self, "stop_predicting") then
      break
    end
  end
  if seen == 0 then
    errors.raise("predict", "there are no samples")
  end
  local joined = {}
  for i, batches in ipairs(parts) do
    joined[i] = join(batches)
  end
  cb:run("on_predict_end", {})
  return structure.pack(joined, plan)
end

-- ---- single batches ----

local batch_rows = { data_rows[1], data_rows[2], { "sample_weight", "any", nil, "weight of each sample", dict = true } }

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
  local T = steps.of(self, name == "train_step" and "train_on_batch" or "test_on_batch")
  refresh(self, T)
  local x, y, w = as_leaf(o.x), as_leaf(o.y), as_leaf(o.sample_weight)
  if o.class_weight ~= nil then
    if w ~= nil then
      errors.raise("train_on_batch", "sample_weight and class_weight cannot both be given")
    end
    w = class_weights(T, o.class_weight, y):of(y)
  end
  local _ <close> = guard(grad, false, T)
  steps.reset_metrics(self)
  local own = stepper(self, T, name)(x, y, w)
  local logs = epoch_logs(self, own)
  core.step_end()
  if o.return_dict then
    return logs
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
  local _ <close> = guard(false, false)
  local step = self.predict_step ~= Model.predict_step and self.predict_step or steps.predict
  local y = step(self, as_leaf(x))
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
  return function(self, x, ...)
    if select("#", ...) == 0 and check.is_plain(x) and x.y_pred ~= nil then
      return f(self, x.x, x.y, x.y_pred, x.sample_weight, x.training)
    end
    return f(self, x, ...)
  end
end

--- The loss of a batch: the compiled losses plus what layers and regularizers add; models may define their own.
---
--- Example:
---   local loss = model:compute_loss { x = x, y = y, y_pred = model(x) }
loop.compute_loss = named_or_not(steps.compute_loss)

--- Updates the compiled metrics and returns all values by name.
loop.compute_metrics = named_or_not(steps.compute_metrics)
loop.get_metrics_result = steps.results
loop.reset_metrics = steps.reset_metrics

--- Applies the gradients of a loss with the compiled optimizer; for training steps of one's own.
function loop.minimize(self, loss)
  local T = steps.of(self, "minimize")
  steps.minimize(self, T, loss)
end

--- Kept for programs that call it; Tide has nothing to make.
function loop.make_train_function(self)
  return function(x, y, w)
    return self:train_step(x, y, w)
  end
end

--- Metrics with the names they have in logs: list of { name, metric }.
function loop.named_metrics(self)
  local T = rawget(self, "_training")
  local out = {}
  if T then
    out[1] = { name = "loss", metric = T.tracker }
    for _, e in ipairs(T.metrics and T.metrics.entries or {}) do
      out[#out + 1] = { name = e.name, metric = e.metric }
    end
    for _, m in ipairs(T.loss and T.loss.trackers or {}) do
      out[#out + 1] = { name = m.name, metric = m }
    end
  end
  for _, m in ipairs(steps.extra_metrics(self, T)) do
    out[#out + 1] = { name = m.name, metric = m }
  end
  return out
end

class.properties(Model, {
  metrics = function(self)
    local out = {}
    for i, m in ipairs(loop.named_metrics(self)) do
      out[i] = m.metric
    end
    return list.new(out)
  end,
  metrics_names = function(self)
    local out = {}
    for i, m in ipairs(loop.named_metrics(self)) do
      out[i] = m.name
    end
    return list.new(out)
  end,
})

return loop

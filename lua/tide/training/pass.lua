--- One pass over data, as fit and evaluate make it, and what both prepare for it.
---
--- The path of a batch is short on purpose: data, step, one young collection, one look at Ctrl-C;
--- logs are made only for callbacks that ask for them, and the progress bar asks only when it
--- draws.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local registry = require "tide.registry"
local strings = require "tide.strings"
local structure = require "tide.data.structure"

local adapter = require "tide.data.adapter"
local callbacks_base = require "tide.callbacks.base"
local pause = require "tide.training.pause"
local steps = require "tide.training.steps"
local Model = require "tide.models.model"

local pass = {}

--- Rows of the argument tables of fit, evaluate and predict.
pass.data_rows = {
  { "x", "any", nil, "inputs: tensors, nested tables, a data set, a sequence or a function",
    dict = true },
  { "y", "any", nil, "targets", dict = true },
}

-- ---- preparation ----

--- Names of the model's outputs, as a plain list.
function pass.output_names(self)
  local ok, names = pcall(function()
    return self.output_names
  end)
  if ok and type(names) == "table" then
    return table.move(names, 1, #names, 1, {})
  end
  return {}
end

--- Names of the model's inputs; nil where it has none.
function pass.input_names(self)
  local ok, names = pcall(function()
    return self.input_names
  end)
  return ok and type(names) == "table" and table.move(names, 1, #names, 1, {}) or nil
end

--- Forgets what holds for one fit or evaluate and may have changed since the last. `method`: who
--- asks, for errors. `kept`: what hangs on the weights holds as long as the model's are the same.
--- @return table the metrics in the model's fields
function pass.refresh(self, T, method, kept)
  local found = self:_kept()
  local records = found.records
  steps.settle(T)
  T.method, T.bad = method, nil
  kept = kept and T.records == records and self.optimizer == T.optimizer
  if self.optimizer ~= T.optimizer then
    steps.use_optimizer(self, T, self.optimizer)
  end
  if not kept then
    T.params, T.layers, T.order, T.guard = nil, nil, nil, nil
    T.names, T.records = pass.output_names(self), records
  end
  T.own_loss = self.compute_loss ~= Model.compute_loss
  T.own_step = self.train_step ~= Model.train_step
  T.own_metrics = self.compute_metrics ~= Model.compute_metrics
  return found.metrics
end

-- What the targets of the only loss are, and the axis of its classes; nil where that is not known.
local function targets_of(T)
  local given = T.loss and T.loss.given
  if check.is_plain(given) and #given == 1 and not check.has_string_key(given) then
    given = given[1]
  end
  if type(given) == "table" and registry.is_one(given) then
    return given.targets, given.axis
  end
end

--- Weights by label for targets `y`, as data.adapter makes them; nil if none are given.
function pass.class_weights(T, given, y)
  if given == nil then
    return nil
  end
  local targets, axis = targets_of(T)
  return adapter.class_weight(given, targets, axis, y)
end

--- A tensor where a number or a nested table of numbers was given; else the value itself.
function pass.as_leaf(v)
  if type(v) ~= "userdata" and structure.kind(v) == "leaf" and not strings.is(v) then
    return core.tensor(v)
  end
  return v
end

-- Restores what a fit or evaluate changes in the training state, however it ends.
local Guard = {}
function Guard.__close(g)
  if g.inner then -- the metrics of the epoch, in which a callback evaluated
    pause.put_metrics(g.inner.metrics)
    g.state.method, g.state.bad = g.inner.method, g.inner.bad
  else
    g.state.running = nil
  end
  -- the last batch's tensors hold its graph
  g.state.y_list, g.state.p_list, g.state.w_list = {}, {}, {}
end

local WEAK = { __mode = "v" }

--- What a fit or evaluate takes over from the one that runs already, whose callback calls it or
--- which waits in another coroutine; nil where none runs. Comes before `pass.refresh`.
function pass.inner(self, T)
  local other = T.running and T.running[1]
  steps.settle(T)
  return other and coroutine.status(other) ~= "dead"
    and { metrics = pause.take_metrics(pass.named_metrics(self)), method = T.method, bad = T.bad }
    or nil
end

--- The model of the training state `state` counts as running until the returned value is closed;
--- `inner`: what `pass.inner` gave.
function pass.guard(state, inner)
  if not inner then -- a coroutine that is given up runs no more
    state.running = setmetatable({ (coroutine.running()) }, WEAK)
  end
  return setmetatable({ state = state, inner = inner }, Guard)
end

--- 0, 1 or 2 from what a person gave.
function pass.resolve_verbose(verbose)
  if verbose == "auto" or verbose == nil then
    return core.terminal(1) and 1 or 2
  elseif verbose == true then
    return 1
  elseif verbose == false then
    return 0
  elseif verbose ~= 0 and verbose ~= 1 and verbose ~= 2 then
    errors.raise("verbose", 'must be 0, 1, 2 or "auto" (got %s)', check.show(verbose))
  end
  return verbose
end

--- The list that runs the callbacks: a person's (objects, as callbacks.base.collect makes them),
--- progress, history.
function pass.make_callbacks(self, given, o)
  local all = table.move(given, 1, #given, 1, {})
  local history
  if o.plot and o.verbose ~= 0 then
    all[#all + 1] = require("tide.plot.live").LivePlot {
      seconds = o.plot ~= true and o.plot or nil }
  elseif o.verbose ~= 0 then
    all[#all + 1] = require("tide.callbacks").ProgbarLogger()
  end
  if o.history then -- last: it sees what the others add to the logs
    history = require("tide.callbacks").History()
    all[#all + 1] = history
  end
  return callbacks_base.CallbackList.new(all, self, o), history
end

-- Logs for callbacks at the end of a batch: a fresh table, or, if all who listen read them only
-- when they draw, a stand-in.
local function batch_logs(self, users)
  for _, c in ipairs(users or {}) do
    if not c.lazy_logs then
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

--- What a person's own step returned, or the metrics where it is the same.
function pass.epoch_logs(self, own)
  if type(own) == "table" then
    local out = {}
    for k, v in pairs(own) do
      out[k] = type(v) == "userdata" and v.size == 1 and v:item() or v
    end
    local known = steps.results(self)
    for k in pairs(out) do
      if known[k] == nil or (k == "loss" and self[S].training.tracker._count == 0) then
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

--- Metrics with the names they have in logs: list of { name, metric, of_output = whether it is one
--- output's of several }.
function pass.named_metrics(self)
  local T = self[S].training
  local out = {}
  if T then
    out[1] = { name = "loss", metric = T.tracker }
    for _, e in ipairs(T.metrics and T.metrics.entries or {}) do
      out[#out + 1] = { name = e.name, metric = e.metric, of_output = e.of_output }
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

-- ---- one pass over data ----

--- Runs batches until `limit` steps are done or the data end, `seen` of them being done already.
--- `step(x, y, w)` returns logs or nil; `phase` is "train" or "test". Returns the logs of a
--- person's own step, how many batches are done, and why it stopped before ("callback",
--- "interrupt"; nil: it did not). `each(seen, own)` is called when all callbacks have seen a batch.
function pass.run_batches(self, source, limit, step, phase, cb, seen, each)
  local active = cb.active
  local before, after = active["on_" .. phase .. "_batch_begin"],
    active["on_" .. phase .. "_batch_end"]
  local lazy = after and batch_logs(self, after)
  local begin_hook, end_hook = "on_" .. phase .. "_batch_begin", "on_" .. phase .. "_batch_end"
  local stop_field = phase == "train" and "stop_training" or "stop_evaluating"
  local interrupted, step_end = core.interrupted, core.step_end
  local own
  local compiled = self[S].training
  if compiled and compiled.loss and source.groups and not source.checked then
    compiled.loss.source, compiled.loss.asks = source, phase == "train" and "fit" or "evaluate"
  end
  seen = seen or 0
  local takers = phase == "train" and #cb.takers or 0
  while not limit or seen < limit do
    local x, y, w = source:next()
    if x == nil then
      break
    end
    seen = seen + 1
    for i = 1, takers do
      cb.takers[i]:_take_batch(x, y, w)
    end
    if before then
      cb:run(begin_hook, seen, {})
    end
    own = step(x, y, w)
    if after then
      local logs = own and pass.epoch_logs(self, own) or lazy or steps.results(self)
      for i = 1, #after do
        local c = after[i]
        c[end_hook](c, seen, logs)
      end
    end
    x, y, w = nil, nil, nil -- luacheck: ignore
    step_end()
    if each then
      each(seen, own)
    end
    if self[stop_field] then
      return own, seen, "callback"
    elseif interrupted() then
      return own, seen, "interrupt"
    end
  end
  return own, seen
end

--- The function that runs one batch: the model's own `train_step` or `test_step`, or the compiled
--- one.
function pass.stepper(self, T, name)
  local method = self[name]
  if method ~= Model[name] then
    return function(x, y, w)
      -- a step of one's own may ask for the weights before it calls the model
      if not self.built then
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

--- One pass over validation data: resets the metrics, returns the logs. `what` tells why it stopped
--- early, if it did.
function pass.evaluate(self, T, source, limit, cb)
  steps.reset_metrics(self)
  cb:run("on_test_begin", {})
  source:begin(1)
  local own, seen, stopped = pass.run_batches(self, source, limit,
    pass.stepper(self, T, "test_step"), "test", cb)
  if seen == 0 then
    errors.raise("evaluate", "the data gave no batch")
  end
  source:finish()
  local logs = pass.epoch_logs(self, own)
  cb:run("on_test_end", logs)
  return logs, stopped
end

return pass

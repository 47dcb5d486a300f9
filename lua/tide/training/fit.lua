--- model:fit: the epochs, the callbacks around them, the end by Ctrl-C and the way on from there.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local adapter = require "tide.data.adapter"
local callbacks_base = require "tide.callbacks.base"
local checkpoint = require "tide.training.checkpoint"
local pass = require "tide.training.pass"
local pause = require "tide.training.pause"
local steps = require "tide.training.steps"

local fit = {}

local fit_args = check.args("fit", {
  pass.data_rows[1], pass.data_rows[2],
  { "batch_size", "int", nil, "samples per step, 32 by default", min = 1 },
  { "epochs", "int", 1, "passes over the data, those of initial_epoch included", min = 0 },
  { "verbose", "any", "auto", "0: silent, 1: progress bar, 2: one line per epoch" },
  { "callbacks", "any", nil, "list of callbacks" },
  { "validation_split", "number", 0.0, "share of the data, the last, kept for validation", min = 0,
    below = 1 },
  { "validation_data", "any", nil, "{ x, y } or { x, y, sample_weight }, or a data source" },
  { "shuffle", "any", true, "new order every epoch; \"batch\": of whole batches" },
  { "class_weight", "any", nil, "weights by label", dict = true },
  { "sample_weight", "any", nil, "weight of each sample", dict = true },
  { "initial_epoch", "int", 0, "epochs already done", min = 0 },
  { "steps_per_epoch", "int", nil, "batches per epoch", min = 1 },
  { "validation_steps", "int", nil, "batches per validation", min = 1 },
  { "validation_batch_size", "int", nil, "batch_size when left out", min = 1 },
  { "validation_freq", "any", 1, "validate every n epochs, or in the listed ones" },
}, { named = {
  { "plot", { "bool", "number" }, false,
    "draw the learning curves while it trains; a number: seconds between drawings" },
  { "profile", "string", nil, "file to write a trace of ops and layers to, for Perfetto" },
  { "resume", { "bool", "string" }, false,
    "true: go on with the fit that Ctrl-C ended, from its next batch; a path: from that file" },
} })

local function validates(epoch, freq)
  if type(freq) == "number" and math.tointeger(freq) and freq > 0 then
    return epoch % freq == 0
  elseif check.is_list(freq) then
    for _, e in ipairs(freq) do
      if e == epoch then
        return true
      end
    end
    return false
  end
  errors.raise("fit", "validation_freq must be a number of epochs or a list of epochs (got %s)",
    check.show(freq))
end

-- Splits validation data as a person gives them.
local function validation_triple(v)
  if adapter.is_stream(v) then
    return { x = v }
  elseif not check.is_list(v) or #v < 1 or #v > 3 then
    errors.raise(
      "fit",
      "validation_data must be { x, y } or { x, y, sample_weight }, or a data source (got %s)",
      check.show(v))
  end
  return { x = v[1], y = v[2], sample_weight = v[3] }
end

-- ---- the epochs ----
--
-- A run is what one fit needs, and all it needs to go on: options `o`, `source`, `validation`,
-- `callbacks`, and where it is: `epoch`, `seen` batches of it, `used` batches of the data's round,
-- `stage`. Stages: "epoch" (between two epochs), "batches", "validation" (the batches are done,
-- their logs are in `logs`).

local function begin_epoch(self, run, cb)
  local o, source = run.o, run.source
  run.epoch, run.seen, run.own, run.logs = run.epoch + 1, 0, nil, nil
  steps.reset_metrics(self)
  cb:run("on_epoch_begin", run.epoch, {})
  -- with steps_per_epoch the data go on where the last epoch ended
  if not o.steps_per_epoch or not run.started
    or (source.batches and run.used >= source.batches) then
    source.more = run.epoch < o.epochs
    source:begin(run.epoch)
    run.started, run.used = true, 0
  end
  run.stage = "batches"
end

-- Offers the state after a whole batch to the callbacks that save it. `moment`: "batch", "epoch" or
-- "stop".
local function offer(self, run, cb, history, moment, logs)
  for _, c in ipairs(cb.savers) do
    c:_offer({ moment = moment, epoch = run.epoch, batch = run.seen, logs = logs }, function(path)
      checkpoint.save(path, self, run, history)
    end)
  end
end

-- Says that the data ended for good, which ends the training in order.
local function say_ended(run, where)
  errors.warn("fit: the data ended %s; training ends there (%d epochs were asked for). A function "
    .. "or coroutine that gives data for another epoch goes on after the nil that ends one", where,
    run.o.epochs)
end

local function batches(self, run, step, cb, history)
  local limit, source = run.o.steps_per_epoch, run.source
  local before, first = run.seen, run.used - run.seen
  local each = #cb.savers > 0 and function(now, own)
    run.seen, run.used, run.own = now, now + first, own or run.own
    offer(self, run, cb, history, "batch")
  end or nil
  local own, seen, stopped = nil, before, nil
  if not source.batches or run.used < source.batches then -- a file may say: all are done
    own, seen, stopped = pass.run_batches(self, source, limit, step, "train", cb, before, each)
  end
  run.own, run.seen, run.used = own or run.own, seen, seen + first
  while limit and seen < limit and not stopped and source:again(run.epoch) do -- round again
    before, first = seen, -seen
    own, seen, stopped = pass.run_batches(self, source, limit, step, "train", cb, before, each)
    run.own, run.seen, run.used = own or run.own, seen, seen - before
  end
  if seen == 0 then
    errors.raise("fit", "the data gave no batch in epoch %d", run.epoch)
  elseif limit and seen < limit and not stopped then
    run.ended = true
    say_ended(run, ("after %d of %d steps of epoch %d"):format(seen, limit, run.epoch))
  end
  if stopped ~= "interrupt" then
    source:finish()
  end
  run.logs = pass.epoch_logs(self, run.own)
  if stopped ~= "interrupt" then
    run.stage = "validation"
  end
  return stopped
end

local function validation_values(self, T, run, cb)
  local _ <close> = core.recording(false)
  return pass.evaluate(self, T, run.validation, run.o.validation_steps, cb)
end

-- Adds the values of a validation to the logs; of one that Ctrl-C cut short, none: it is made anew.
local function validate(self, T, run, cb, stopped)
  local source = run.validation
  if source and source.once and run.validated and validates(run.epoch, run.o.validation_freq)
    and not source:again(run.epoch) then
    errors.warn("fit: the validation data ended before epoch %d; there are no more validations",
      run.epoch)
    run.validation = nil
  end
  if run.validation and validates(run.epoch, run.o.validation_freq) then
    run.validated = true
    run.validation_place = #cb.savers > 0 and checkpoint.place_of(source) or nil
    local values, why = validation_values(self, T, run, cb)
    if why == "interrupt" and not stopped then
      return why
    end
    for k, v in pairs(values) do
      run.logs["val_" .. k] = v
    end
  end
  run.stage = "epoch"
  return stopped
end

-- Returns why it ended early, and what it takes to go on from an interrupt.
local function epochs(self, T, run, cb, history)
  local step = pass.stepper(self, T, "train_step")
  local stopped, state
  local function stop()
    steps.settle(T)
    state = pause.take(self, pass.named_metrics(self), run.callbacks)
    state.history = history:rows()
    offer(self, run, cb, history, "stop")
  end
  while not stopped and (run.stage ~= "epoch" or run.epoch < run.o.epochs) do
    if run.stage == "epoch" and run.started and run.source.once
      and not run.source:again(run.epoch + 1) then
      say_ended(run, ("with epoch %d"):format(run.epoch))
      stopped = "data"
      break
    end
    if run.stage == "epoch" then
      begin_epoch(self, run, cb)
    end
    if run.stage == "batches" then
      stopped = batches(self, run, step, cb, history)
    end
    if run.stage == "validation" then
      stopped = validate(self, T, run, cb, stopped)
    end
    local logs = {}
    for k, v in pairs(run.logs) do
      logs[k] = v
    end
    if stopped == "interrupt" then
      stop()
    end
    cb:end_epoch(run.epoch, logs, run.stage == "epoch")
    run.last_logs = logs
    if run.stage == "epoch" and not stopped then
      offer(self, run, cb, history, "epoch", logs)
    end
    if not stopped and core.interrupted() then
      stopped = "interrupt"
      stop()
    elseif not stopped and self.stop_training then
      stopped = "callback"
    elseif not stopped and run.ended then
      stopped = "data"
    end
  end
  return stopped, state
end

-- Whether a callback asks that SIGTERM ends training in order.
local function terminable(callbacks)
  for _, c in ipairs(callbacks) do
    if c._offer and c.on_sigterm then
      return true
    end
  end
  return false
end

-- Runs the epochs that are left. `hook` opens: "on_train_begin" or "on_train_resume".
local function train(self, T, run, hook)
  local o = run.o
  local tracer <close> = o.profile and require("tide.profiler").tracer(o.profile)
  local all = table.move(run.callbacks, 1, #run.callbacks, 1, {})
  all[#all + 1] = tracer
  local cb, history = pass.make_callbacks(self, all, { epochs = o.epochs,
    steps = o.steps_per_epoch or run.source.batches, verbose = pass.resolve_verbose(o.verbose),
      plot = o.plot, validation = run.validation ~= nil,
    history = true, force_bar = o.verbose == 1 and os.getenv "TIDE_BAR" ~= nil })
  self.stop_training = false
  self.stop_evaluating = false
  T.paused = nil
  local _ <close> = core.scope_pause()
  local _ <close> = core.recording(true)
  local _ <close> = pass.guard(T, pass.inner(self, T))
  local _ <close> = adapter.closing(run.source, run.validation)
  local _ <close> = core.watch_interrupts()
  local _ <close> = terminable(run.callbacks) and core.watch_termination() or nil
  if run.path then
    local found = checkpoint.restore(run.path, self, run)
    run.path, hook = nil, "on_train_resume"
    if found.rows then
      history:go_on(found.rows)
    else -- a file without one
      history:on_train_begin()
    end
    for _, c in ipairs(found.fresh) do
      if c.on_train_begin then
        c:on_train_begin {}
      end
    end
  end
  if run.state then
    pause.restore(run.state)
    history:go_on(run.state.history)
    run.state = nil
  end
  cb:run(hook, hook == "on_train_resume"
    and { epoch = run.stage == "epoch" and run.epoch + 1 or run.epoch,
      batch = run.stage == "epoch" and 0 or run.seen } or {})
  local stopped, state = epochs(self, T, run, cb, history)
  history.stopped = stopped == "interrupt" and select(3, core.interrupted()) and "termination"
    or stopped
  steps.settle(T)
  if T.optimizer then -- also where a checkpoint had left no step to do
    T.optimizer:finalize_variable_values()
  end
  cb:run("on_train_end", run.last_logs or {})
  if state then
    pause.keep(state)
    run.state, T.paused = state, run
    pause.remember(self)
  end
  return history
end

-- ---- going on ----

local may_change = { resume = true, epochs = true, verbose = true, plot = true, profile = true }

local function resume(self, T, given)
  local run = T.paused
  if not run then
    errors.raise(
      "fit", "there is nothing to resume: the last fit of %s was not ended by Ctrl-C after a batch",
      self:_label())
  end
  for _, k in ipairs(check.sorted_keys(given)) do
    if not may_change[k] then
      errors.raise(
        "fit",
        "resume = true goes on with the data and options of the interrupted fit; leave out %s \z
        (epochs, "
        .. "verbose, plot and profile may be given)",
          type(k) == "string" and "'" .. k .. "'" or "the data")
    end
  end
  local o = fit_args:complete(given)
  for k in pairs(may_change) do
    if given[k] ~= nil or k == "profile" then
      run.o[k] = o[k]
    end
  end
  pass.refresh(self, T, "fit")
  return train(self, T, run, "on_train_resume")
end

-- The checkpoint to begin with; nil where there is none.
local function found_path(given, callbacks)
  if given then
    if not core.file_exists(given) then
      errors.raise("fit", "resume: there is no checkpoint %s", given)
    end
    return given
  end
  for _, c in ipairs(callbacks) do
    local path = c._found and c:_found()
    if path then
      return path
    end
  end
end

--- Trains the model.
---
--- A step whose loss is NaN or infinite is not applied: the weights stay as they are, and that is
--- said once.
---
--- `profile = path` writes what ran when (epochs, batches, layers, ops) as JSON that
--- https://ui.perfetto.dev and chrome://tracing open: the first 200,000 launches, after which
--- training goes on without. Steps run eagerly meanwhile. See `tide.profile` for sums.
---
--- On a terminal `plot = true` draws the learning curves above the progress bar while it trains.
---
--- Ctrl-C ends it after the batch that runs: the closing callbacks run, and the history comes back
--- with `stopped = "interrupt"`. `model:fit { resume = true }` then goes on from the next batch and
--- ends as if it had never been interrupted; `epochs`, `verbose`, `plot` and `profile` may be given
--- anew.
--- Callbacks that judge epochs (EarlyStopping, ReduceLROnPlateau, a ModelCheckpoint of the best) do
--- not see the half epoch.
---
--- `resume = path` goes on from a checkpoint that `BackupAndRestore` has written, perhaps in
--- another process, from the batch that followed: given the same model, data and options it ends
--- bit for bit as if it had never been interrupted; in deterministic mode a checkpoint of another
--- version, CPU level or choice of engines is refused, for it could not. A data source says where
--- it is by `state()` and is put there by `restore(s)`. Of callbacks the plain fields and tensors
--- come back, not what their functions hold.
---
---     local history = model:fit(x, y, { epochs = 10, batch_size = 32, validation_split = 0.1 })
---     print(history.loss[-1])
--- @return table history `history.loss` and so on are lists with one value per epoch;
---   `history.stopped` says why it ended early: "interrupt", "termination" (SIGTERM, where
---   BackupAndRestore listens to it), "callback", or "data" where a function or coroutine had no
---   more
function fit.fit(self, ...)
  local n = select("#", ...)
  local last = n > 0 and select(n, ...)
  if check.is_plain(last) and last.resume == true then
    local given = { table.unpack({ ... }, 1, n - 1) }
    for k, v in pairs(last) do
      given[k] = v
    end
    return resume(self, steps.of(self, "fit"), given)
  end
  local o = fit_args:call(...)
  if type(o.shuffle) ~= "boolean" and o.shuffle ~= "batch" then
    errors.raise("fit", 'shuffle must be true, false or "batch" (got %s)', check.show(o.shuffle))
  end
  local T = steps.of(self, "fit")
  pass.refresh(self, T, "fit")
  local x, y, w = pass.as_leaf(o.x), pass.as_leaf(o.y), pass.as_leaf(o.sample_weight)
  local weights = pass.class_weights(T, o.class_weight, y)
  local val
  if o.validation_data ~= nil then
    val = validation_triple(o.validation_data)
  elseif o.validation_split > 0 then
    if adapter.is_stream(x) then
      errors.raise("fit", "validation_split needs tensors, not a data source")
    end
    local first, rest = adapter.split(x, y, w, o.validation_split, pass.input_names(self), T.names)
    x, y, w = first[1], first[2] or nil, first[3] or nil
    val = { x = rest[1], y = rest[2] or nil, sample_weight = rest[3] or nil }
  end
  local source = adapter.new {
    x = x, y = y, sample_weight = w, batch_size = o.batch_size, shuffle = o.shuffle,
      class_weight = weights,
    input_names = pass.input_names(self), output_names = T.names }
  if source.batches == 0 then
    errors.raise("fit", "there are no samples")
  end
  local validation
  if val then
    val.batch_size = o.validation_batch_size or o.batch_size
    val.input_names, val.output_names = pass.input_names(self), T.names
    validation = adapter.new(val)
  end
  adapter.check_end(source, o.steps_per_epoch, "fit", "steps_per_epoch")
  adapter.check_end(validation, o.validation_steps, "fit", "validation_steps")
  local callbacks = callbacks_base.collect(o.callbacks)
  return train(self, T, { o = o, source = source, validation = validation, callbacks = callbacks,
    path = found_path(o.resume, callbacks), stage = "epoch", epoch = o.initial_epoch, seen = 0,
      used = 0, started = false }, "on_train_begin")
end

return fit

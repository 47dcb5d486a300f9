--- The callbacks that stop, save, schedule and log (Keras' keras/src/callbacks). Epochs and batches
--- count from 1.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local object = require "tide.object"
local printable = require "tide.printable"
local tensors = require "tide.training.tensors"

local base = require "tide.callbacks.base"
local Callback, Monitor = base.Callback, base.Monitor
local classes = {}

local function say(...)
  local _ <close> = core.decimal_point()
  io.stdout:write(printable.text(string.format(...)), "\n")
end

local VERBOSE = { "verbose", { "int", "bool" }, 0, "1: say what happens" }

local function loud(self)
  return self.verbose == true or (type(self.verbose) == "number" and self.verbose > 0)
end

-- ---- History ----

--- What fit returns: `history.loss` is the list of losses per epoch, `history.history` all lists by
--- name, `history.epoch` the epochs, `history.stopped` why training ended early (nil, "interrupt",
--- "callback", "data").
--     local c = tide.callbacks.History()
local History = object.class("History", Callback, { rows = {} })
classes.History = History
History._keeps = { epoch = "numbers", history = "curves", stopped = "string?" }

local history_fields = {}
local plain_index = History.__index
function History.__index(self, key)
  local h = rawget(self, "history")
  local v = h and h[key]
  if v == nil then
    v = plain_index(self, key)
  end
  return v
end

function History:set_model(model)
  if type(model) ~= "table" or model == none then
    errors.raise("History", "set_model takes a model (got %s)", check.show(model))
  end
  self.model = nil -- a history outlives its model cheaply
  model.history = self
end

function History:on_train_begin()
  self.epoch, self.history, self.stopped = list.new {}, {}, nil
end

function History:on_epoch_end(epoch, logs)
  self.epoch[#self.epoch + 1] = epoch
  for name, v in pairs(logs or history_fields) do
    local l = self.history[name]
    if not l then
      l = list.new {}
      self.history[name] = l
    end
    l[#l + 1] = v
  end
end

--- A copy of the rows so far, as `go_on` takes them.
function History:rows()
  local out = { epoch = list.copy(self.epoch or {}), history = {} }
  for name, l in pairs(self.history or {}) do
    out.history[name] = list.copy(l)
  end
  return out
end

--- Begins with the rows of an interrupted fit.
function History:go_on(rows)
  if type(rows) ~= "table" or type(rows.epoch) ~= "table" or type(rows.history) ~= "table" then
    errors.raise("History", "go_on takes what rows() gave (got %s)", check.show(rows))
  end
  self.epoch, self.history, self.stopped = rows.epoch, rows.history, nil
end

function History:__tostring()
  local _ <close> = core.decimal_point()
  local names, out = {}, {}
  for name in pairs(self.history or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local l = self.history[name]
    out[i] = ("%s %s -> %s"):format(name, tostring(l[1]), tostring(l[#l]))
  end
  return ("History: %d epochs%s"):format(
    #(self.epoch or {}), #out > 0 and ", " .. table.concat(out, ", ") or "")
end

-- ---- LambdaCallback ----

local hook_rows = {}
for _, hook in ipairs { "on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end",
  "on_train_batch_begin", "on_train_batch_end" } do
  hook_rows[#hook_rows + 1] = { hook, "function", nil, "called without self" }
end
local other_rows = {}
for _, hook in ipairs(base.HOOKS) do
  local known = false
  for _, row in ipairs(hook_rows) do
    known = known or row[1] == hook
  end
  if not known then
    other_rows[#other_rows + 1] = { hook, "function", nil, "called without self" }
  end
end

--- Functions as hooks: `LambdaCallback { on_epoch_end = function(epoch, logs) ... end }`.
--     local c = tide.callbacks.LambdaCallback {
--       on_epoch_end = function(epoch, logs) print(epoch) end }
classes.LambdaCallback = object.class("LambdaCallback", Callback, {
  rows = hook_rows,
  named = other_rows,
  init = function(self)
    for _, hook in ipairs(base.HOOKS) do
      local f = rawget(self, hook)
      if f then
        self[hook] = function(_, ...)
          return f(...)
        end
      end
    end
  end,
})

classes.LambdaCallback._keeps_all = true -- its functions keep what they like

-- ---- EarlyStopping ----

--- Stops when the watched value has not improved for `patience` epochs.
--     local c = tide.callbacks.EarlyStopping { patience = 3, restore_best_weights = true }
local EarlyStopping = object.class("EarlyStopping", Monitor, {
  rows = {
    base.MONITOR,
    { "min_delta", "number", 0, "what counts as an improvement" },
    { "patience", "int", 0, "epochs without improvement that are tolerated", min = 0 },
    VERBOSE,
    base.MODE,
    { "baseline", "number", nil, "value that must be beaten" },
    { "restore_best_weights", "bool", false, "end with the weights of the best epoch" },
    { "start_from_epoch", "int", 0, "epochs before watching begins", min = 0 },
  },
})
classes.EarlyStopping = EarlyStopping
EarlyStopping._whole_epochs = true
EarlyStopping._keeps = { wait = "count", stopped_epoch = "count", best_epoch = "count",
  best_weights = { "tensors?", like = function(self) return self.model:get_weights() end } }

function EarlyStopping:on_train_begin()
  self.wait, self.stopped_epoch, self.best, self.best_weights, self.best_epoch = 0, 0, nil, nil, 0
end

function EarlyStopping:on_epoch_end(epoch, logs)
  self:_decide(logs)
  local value = self:_watched(logs or {})
  if value == nil or epoch <= self.start_from_epoch then
    return
  end
  if self.restore_best_weights and self.best_weights == nil and value == value then
    self.best_weights, self.best_epoch = self.model:get_weights(), epoch
  end
  self.wait = self.wait + 1
  if self:_improved(value, self.best) then
    self.best, self.best_epoch = value, epoch
    if self.restore_best_weights then
      self.best_weights = self.model:get_weights()
    end
    if self.baseline == nil or self:_improved(value, self.baseline) then
      self.wait = 0
    end
    return
  end
  if self.wait >= self.patience and epoch > 1 then
    self.stopped_epoch = epoch
    self.model.stop_training = true
  end
end

function EarlyStopping:on_train_end()
  if self.stopped_epoch > 0 and loud(self) then
    say("Epoch %d: early stopping", self.stopped_epoch)
  end
  if self.restore_best_weights and self.best_weights then
    if loud(self) then
      say("Restoring model weights from the end of the best epoch: %d.", self.best_epoch)
    end
    self.model:set_weights(self.best_weights)
  end
end

-- ---- ModelCheckpoint ----

-- A logged value by one format of a path.
local function formatted(v, spec, pattern)
  v = tensors.number(v)
  if spec == "" then
    return tostring(v)
  end
  local flags, kind = spec:match "^([%d%.]*)([dfeg]?)$"
  if not flags then
    errors.raise("ModelCheckpoint", "cannot read the format '%s' in %s", spec, check.show(pattern))
  end
  if kind == "" then
    kind = math.type(v) == "integer" and "d" or "f"
  end
  local whole = kind == "d" and math.tointeger(math.floor(v))
  if kind == "d" and not whole then
    kind = "f" -- no integer stands for NaN and infinity
  end
  local ok, text = pcall(string.format, "%" .. flags .. kind, whole or v)
  if not ok then
    errors.raise("ModelCheckpoint", "cannot read the format '%s' in %s (expected at most two \z
      digits of width and of precision)", spec, check.show(pattern))
  end
  return text
end

--- Saves the model, or its weights, during training. The path may hold `{epoch:02d}`, `{batch}` and
--- any logged name with a format (`{val_loss:.2f}`). Files are written atomically; a model whose
--- watched value is NaN never replaces the best one.
--     local c = tide.callbacks.ModelCheckpoint { "best.safetensors", save_best_only = true }
local ModelCheckpoint = object.class("ModelCheckpoint", Monitor, {
  rows = {
    { "filepath", "string", check.required, "where to save" },
    base.MONITOR,
    VERBOSE,
    { "save_best_only", "bool", false, "only when the watched value improved" },
    { "save_weights_only", "bool", false, "weights without architecture" },
    base.MODE,
    { "save_freq", { "int", "string" }, "epoch", "'epoch', or a number of batches" },
    { "initial_value_threshold", "number", nil, "best value so far" },
  },
  init = function(self)
    base.check_freq(self)
    require("tide.saving").check_path(self.filepath, self.save_weights_only)
    for spec in self.filepath:gmatch "{[^{}]*:([%d%.]*[dfeg])}" do
      formatted(1, spec, self.filepath)
    end
    self.best = self.initial_value_threshold
    self._batches, self._whole_epochs = 0, self.save_best_only
  end,
})
classes.ModelCheckpoint = ModelCheckpoint
ModelCheckpoint._keeps = { _batches = "count", _epoch = "count?" }

-- "{epoch:02d}" and "{val_loss:.2f}" filled in. A name may hold any character, so the names that
-- are logged are looked for, the longest first. Returns nil and the first name that is not logged.
local function fill_path(pattern, values)
  local names = {}
  for k in pairs(values) do
    names[#names + 1] = k
  end
  table.sort(names, function(a, b)
    return #a > #b or (#a == #b and a < b)
  end)
  local out, at = {}, 1
  while true do
    local open = pattern:find("{", at, true)
    if not open then
      out[#out + 1] = pattern:sub(at)
      return table.concat(out)
    end
    out[#out + 1] = pattern:sub(at, open - 1)
    local close, text
    for _, name in ipairs(names) do
      local behind = open + 1 + #name
      if pattern:sub(open + 1, behind - 1) == name then
        local spec, last = pattern:match("^:?([^}]*)}()", behind)
        if spec and (spec == "" or pattern:sub(behind, behind) == ":") then
          close, text = last, formatted(values[name], spec, pattern)
          break
        end
      end
    end
    if not close then
      local name = pattern:match("^([^}:]+):?[^}]*}", open + 1)
      if name then
        return nil, name
      end
      close, text = open + 1, "{"
    end
    out[#out + 1], at = text, close
  end
end

-- The path; nil where it names a value of a validation that this epoch has not.
function ModelCheckpoint:_path(epoch, batch, logs)
  local values = {}
  for k, v in pairs(logs) do
    values[k] = v
  end
  values.epoch, values.batch = epoch, values.batch or batch
  local path, missing = fill_path(self.filepath, values)
  if path or (missing:sub(1, 4) == "val_" and self:_not_validated(logs)) then
    return path
  end
  local names = {}
  for k in pairs(values) do
    names[#names + 1] = k
  end
  table.sort(names)
  errors.raise("ModelCheckpoint", "the path %s names '%s', which is not logged%s",
    check.show(self.filepath), missing, check.did_you_mean(missing, names))
end

function ModelCheckpoint:_wanted(epoch, logs, path)
  if not self.save_best_only then
    return true
  end
  local value = self:_watched(logs)
  if value == nil then
    return false
  elseif not self:_improved(value, self.best) then
    if loud(self) then
      say("\nEpoch %d: %s did not improve from %s", epoch, self:_watches(),
        self.best and ("%.5f"):format(self.best) or "none")
    end
    return false
  end
  if loud(self) then
    say("\nEpoch %d: %s improved from %s to %.5f, saving model to %s", epoch, self:_watches(),
      self.best and ("%.5f"):format(self.best) or "none", value, path)
  end
  self.best = value
  return true
end

function ModelCheckpoint:_save(epoch, batch, logs)
  logs = logs or {}
  local point <close> = core.decimal_point() -- luacheck: ignore
  local path = self:_path(epoch, batch, logs)
  if not path or not self:_wanted(epoch, logs, path) then
    return
  end
  local folder = path:match "^(.*)/[^/]*$"
  if folder and folder ~= "" then
    core.mkdirs(folder)
  end
  if self.save_weights_only then
    self.model:save_weights(path)
  else
    self.model:save(path)
  end
  if loud(self) then
    say("\nEpoch %d: finished saving model to %s", epoch, path)
  end
end

function ModelCheckpoint:on_epoch_begin(epoch)
  self._epoch = epoch
end

function ModelCheckpoint:on_train_batch_end(batch, logs)
  if self.save_freq == "epoch" then
    return
  end
  self._batches = self._batches + 1
  if self._batches >= self.save_freq then
    self._batches = 0
    if self.save_best_only then
      self:_decide(logs)
    end
    self:_save(self._epoch or 1, batch, logs)
  end
end

function ModelCheckpoint:on_epoch_end(epoch, logs)
  if self.save_best_only then
    self:_decide(logs)
  end
  if self.save_freq == "epoch" then
    self:_save(epoch, nil, logs)
  end
end

-- ---- learning rates ----

--- Multiplies the learning rate by `factor` when the watched value has not improved for `patience`
--- epochs.
--     local c = tide.callbacks.ReduceLROnPlateau { factor = 0.5, patience = 2 }
local Reduce = object.class("ReduceLROnPlateau", Monitor, {
  rows = {
    base.MONITOR,
    { "factor", "number", 0.1, "new rate / old rate", above = 0, below = 1 },
    { "patience", "int", 10, "epochs without improvement that are tolerated", min = 0 },
    VERBOSE,
    base.MODE,
    { "min_delta", "number", 1e-4, "what counts as an improvement" },
    { "cooldown", "int", 0, "epochs to wait after a change", min = 0 },
    { "min_lr", "number", 0.0, "lower limit of the rate", min = 0 },
  },
})
classes.ReduceLROnPlateau = Reduce
Reduce._whole_epochs = true
Reduce._keeps = { cooldown_counter = "count", wait = "count" }

function Reduce:on_train_begin()
  self.best, self.cooldown_counter, self.wait = nil, 0, 0
end

function Reduce:on_epoch_end(epoch, logs)
  self:_decide(logs)
  logs = logs or {}
  local optimizer = self.model.optimizer
  logs.learning_rate = optimizer.learning_rate
  local value = self:_watched(logs)
  if value == nil then
    return
  end
  if self.cooldown_counter > 0 then
    self.cooldown_counter = self.cooldown_counter - 1
    self.wait = 0
  end
  if self:_improved(value, self.best) then
    self.best, self.wait = value, 0
  elseif self.cooldown_counter == 0 then
    self.wait = self.wait + 1
    if self.wait >= self.patience then
      local old = optimizer.learning_rate
      if old > self.min_lr then
        local new = math.max(old * self.factor, self.min_lr)
        optimizer.learning_rate = new
        if loud(self) then
          say("\nEpoch %d: ReduceLROnPlateau reducing learning rate to %s.", epoch, new)
        end
        self.cooldown_counter, self.wait = self.cooldown, 0
      end
    end
  end
end

--- Sets the learning rate at the start of each epoch: `schedule(epoch, rate) -> rate`, epochs from
--- 1.
--     local c = tide.callbacks.LearningRateScheduler {
--       function(epoch, rate) return rate * 0.9 end }
local Scheduler = object.class("LearningRateScheduler", Callback, {
  rows = { { "schedule", "callable", check.required, "function of (epoch, rate)" }, VERBOSE },
})
classes.LearningRateScheduler = Scheduler

function Scheduler:on_epoch_begin(epoch)
  local optimizer = self.model.optimizer
  local rate = tensors.number(self.schedule(epoch, optimizer.learning_rate))
  if type(rate) ~= "number" then
    errors.raise("LearningRateScheduler", "schedule must return a number (got %s)",
      check.show(rate))
  end
  optimizer.learning_rate = rate
  if loud(self) then
    say("\nEpoch %d: LearningRateScheduler setting learning rate to %s.", epoch, rate)
  end
end

function Scheduler:on_epoch_end(_, logs)
  if logs then
    logs.learning_rate = self.model.optimizer.learning_rate
  end
end

-- ---- guards and logs ----

--- Stops training, or raises, when the loss of a batch is NaN or infinite.
--     local c = tide.callbacks.TerminateOnNaN()
local Terminate = object.class(
  "TerminateOnNaN", Callback,
    { rows = { { "raise_error", "bool", false, "raise instead of stopping" } } })
classes.TerminateOnNaN = Terminate
Terminate.lazy_logs = true

function Terminate:on_train_batch_end(batch, logs)
  local loss = logs and logs.loss
  if loss == nil then
    return
  end
  loss = tensors.number(loss)
  if loss ~= loss or loss == math.huge or loss == -math.huge then
    if self.raise_error then
      errors.raise("TerminateOnNaN", "the loss of batch %d is %s", batch, loss)
    end
    say("Batch %d: invalid loss, terminating training", batch)
    self.model.stop_training = true
  end
end

--- Writes a line per epoch: `epoch` (from 1), then the logged values by name; what is missing is
--- NA. Columns of a validation stand there where there is one. A file that cannot be made is an
--- error when training begins. Rows that cannot be written later (a full disk) end no training:
--- that is said at once, they are kept and written when there is room, and what is missing in the
--- end is said again.
--     local c = tide.callbacks.CSVLogger { "log.csv" }
local CSV = object.class("CSVLogger", Callback, {
  rows = {
    { "filename", "string", check.required, "the file" },
    { "separator", "string", ",", "between the values" },
    { "append", "bool", false, "go on with an existing file" },
  },
})
classes.CSVLogger = CSV
CSV._keeps = { _header = "flag", _keys = "names?", _size = "count?", _late = "string",
  _rows = "count", _told = "flag" }

function CSV:on_train_begin()
  local size = core.append_file(self.filename, "", not self.append and 0 or nil)
  self._header = not self.append or size == 0
  self._keys, self._size = nil, size -- _size: bytes that hold whole rows, nil for a pipe
  self._late, self._rows, self._told = "", 0, false
end

-- The row of the half epoch goes; its epoch writes it whole.
function CSV:on_train_resume()
  if self._size then
    core.append_file(self.filename, "", self._size)
  end
end

-- Adds text to the file, behind what could not be added before.
local function add(self, text)
  self._late, self._rows = self._late .. text, self._rows + 1
  local ok, size = pcall(core.append_file, self.filename, self._late)
  if ok then
    self._size, self._late, self._rows = size, "", 0
  elseif not errors.is(size) then -- Ctrl-C
    error(size, 0)
  elseif not self._told then
    self._told = true
    errors.warn("CSVLogger: %s: %s; training goes on, the rows are kept until there is room",
      self.filename, size.message:match "cannot write: .*" or size.message)
  end
end

local function cell(self, v)
  if type(v) == "userdata" then
    v = v.size == 1 and v:item() or v:tolist()
  end
  if type(v) == "table" then
    local parts = {}
    for i, x in ipairs(v) do
      parts[i] = tostring(x)
    end
    return '"[' .. table.concat(parts, ", ") .. ']"'
  end
  local s = tostring(v)
  if s:find('[\n"]') or s:find(self.separator, 1, true) then
    s = '"' .. s:gsub('"', '""') .. '"'
  end
  return s
end

function CSV:on_epoch_end(epoch, logs)
  local _ <close> = core.decimal_point()
  logs = logs or {}
  if not self._keys then
    local keys, validated = {}, false
    for k in pairs(logs) do
      keys[#keys + 1] = k
      validated = validated or k:sub(1, 4) == "val_"
    end
    table.sort(keys)
    if not validated and self.params and self.params.validation then
      for i = 1, #keys do
        keys[#keys + 1] = "val_" .. keys[i]
      end
    end
    self._keys = keys
    if self._header then
      self._late = self._late .. "epoch" .. (#keys > 0 and self.separator or "")
        .. table.concat(keys, self.separator) .. "\n"
    end
  end
  local row = { tostring(epoch) }
  for _, k in ipairs(self._keys) do
    local v = logs[k]
    row[#row + 1] = v == nil and "NA" or cell(self, v)
  end
  add(self, table.concat(row, self.separator) .. "\n")
end

function CSV:on_train_end()
  if self._rows and self._rows > 0 then
    local rows = self._rows
    self._told, self._rows = true, rows - 1
    add(self, "")
    if self._rows > 0 then
      errors.warn("CSVLogger: %s lacks its last %d row%s, which could not be written",
        self.filename, rows, rows == 1 and "" or "s")
    end
  end
end

return classes

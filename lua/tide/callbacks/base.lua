--- The base of all callbacks, the list that runs them, and the base of those that watch a value.
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"
local tensors = require "tide.training.tensors"

local base = {}

--- The base class of callbacks. Own ones define any of the hooks
--- `on_train_begin(self, logs)`, `on_train_end`, `on_epoch_begin(self, epoch, logs)`,
--- `on_epoch_end`, `on_train_batch_begin(self, batch, logs)`, `on_train_batch_end`, and the same of
--- `test` and `predict`; `on_batch_begin` and `on_batch_end` are those of training;
--- `on_train_resume(self, { epoch, batch })` stands for `on_train_begin` when a fit that Ctrl-C
--- ended goes on, the callback's fields being again what they were after that batch. Epochs and
--- batches count from 1. `self.model` is the model, `self.params` holds `epochs`, `steps` and
--- `verbose`; `self.model.stop_training = true` ends training.
---
--- The logs of a batch are read from the device for a callback with `on_train_batch_end` or
--- `on_test_batch_end`. One that looks at them now and then says `lazy_logs = true` in its class:
--- then they are read when it does, inside of the hook.
---
---     local Stop = tide.callbacks.Callback:extend("Stop", {
---       on_epoch_end = function(self, epoch, logs)
---         if logs.loss < 0.1 then self.model.stop_training = true end
---       end,
---     })
--- @class tide.Callback
local Callback = object.class("Callback", nil, { kind = "callback",
  methods = { best_path = {}, latest = {}, rows = {} } })
base.Callback = Callback
Callback.lazy_logs = false
Callback._fields = { "model", "params" } -- set by the loop
-- What a checkpoint keeps of a callback's fields, by kinds (training/kept.lua); of a person's class
-- it keeps all that are plain.
Callback._keeps = {}

base.HOOKS = {}
for _, phase in ipairs { "train", "test", "predict" } do
  for _, what in ipairs { "begin", "end", "batch_begin", "batch_end" } do
    base.HOOKS[#base.HOOKS + 1] = "on_" .. phase .. "_" .. what
  end
end
for _, hook in ipairs { "on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end",
  "on_train_resume" } do
  base.HOOKS[#base.HOOKS + 1] = hook
end
for _, hook in ipairs(base.HOOKS) do
  base.HOOKS[hook] = true
end

--- Called with `{ epochs, steps, verbose, validation }` before the first hook; `validation` tells
--- whether some epochs are validated.
function Callback:set_params(params)
  self.params = params
end

--- Called with the model before the first hook.
function Callback:set_model(model)
  self.model = model
end

-- ---- the list ----

local CallbackList = {}
CallbackList.__index = CallbackList
base.CallbackList = CallbackList

--- Runs hooks. `list[hook]` is nil for hooks that nobody defines, so they cost one table read.
--- @param callbacks table list of callbacks
--- @param model table
--- @param params table
function CallbackList.new(callbacks, model, params)
  local self = setmetatable({ callbacks = callbacks, params = params, active = {},
    savers = {}, takers = {} }, CallbackList)
  for _, c in ipairs(callbacks) do
    c:set_params(params)
    c:set_model(model)
    self.savers[#self.savers + 1] = c._offer and c or nil
    self.takers[#self.takers + 1] = c._take_batch and c or nil
  end
  for _, hook in ipairs(base.HOOKS) do
    local users = {}
    -- on_batch_* are other names of on_train_batch_*
    local old = hook:match "^on_train_(batch_.*)$"
    old = old and "on_" .. old
    for _, c in ipairs(callbacks) do
      if c[hook] then
        users[#users + 1] = c
      end
      if old and c[old] then
        users[#users + 1] = setmetatable({ [hook] = function(_, ...)
          return c[old](c, ...)
        end }, { __index = c })
      end
    end
    if #users > 0 then
      self.active[hook] = users
    end
  end
  return self
end

--- Whether anyone defines a hook.
function CallbackList:uses(hook)
  return self.active[hook] ~= nil
end

--- Runs a hook of all callbacks, in their order.
function CallbackList:run(hook, ...)
  local users = self.active[hook]
  if users then
    for i = 1, #users do
      local c = users[i]
      c[hook](c, ...)
    end
  end
end

--- Runs on_epoch_end. Callbacks that judge epochs (field `_whole_epochs`) are left out where the
--- epoch is not `whole`.
function CallbackList:end_epoch(epoch, logs, whole)
  for _, c in ipairs(self.active.on_epoch_end or {}) do
    if whole or not c._whole_epochs then
      c:on_epoch_end(epoch, logs)
    end
  end
end

-- Refuses methods of a person's own class that are nearly hooks: nobody would call them.
local function check_hooks(c)
  local class = getmetatable(c)
  while class and rawget(class, "_custom") do
    for name, v in next, class do
      if type(v) == "function" and name:find "^on_" and not base.HOOKS[name] then
        local near = require("tide.names").suggest(name, base.HOOKS)
        if near then
          errors.raise(class.__name, "no hook is named '%s'; did you mean '%s'?", name, near)
        end
      end
    end
    class = rawget(class, "super")
  end
end

--- Adds what a person gave: a list, one callback, functions and tables of hooks among them.
--- @return table list of callback objects
function base.collect(given)
  if given == nil or given == false then
    return {}
  end
  if not check.is_list(given) or check.has_string_key(given) then
    given = { given }
  end
  local hole = check.hole(given)
  if hole then
    errors.raise("callbacks", "entry %d of the list is nil; leave out what is not there", hole)
  end
  local out = {}
  for i, c in ipairs(given) do
    out[i] = require("tide.callbacks").get(c)
    check_hooks(out[i])
  end
  return out
end

--- Refuses what `save_freq` may not be.
function base.check_freq(self)
  local freq = self.save_freq
  if freq ~= "epoch" and (math.type(freq) ~= "integer" or freq < 1) then
    errors.raise(self:_class_name(), "save_freq must be 'epoch' or a number of batches (got %s)",
      check.show(freq))
  end
end

-- ---- watching a value ----

--- Monitor: what EarlyStopping, ModelCheckpoint and ReduceLROnPlateau share.
local Monitor = object.class("MonitorCallback", Callback, {})
base.Monitor = Monitor
Monitor._keeps = { best = "number?", _warned = "flag?" }

base.MONITOR = { "monitor", { "string", "function" }, "val_loss",
  "the logged value that is watched, or a function of the logs" }
base.MODE = { "mode", "enum", "auto", "whether less or more is better", of = "auto|min|max" }

-- Decides the direction, once metrics are built.
function Monitor:_decide(logs)
  if self._better then
    return
  end
  local mode = self.mode
  if mode == "auto" and type(self.monitor) == "function" then
    errors.raise(self:_class_name(), "cannot tell whether more or less of what the function gives \z
      is better; say mode = 'max' or mode = 'min'")
  elseif mode == "auto" then
    local name = self.monitor:gsub("^val_", "")
    if name == "loss" then
      mode = "min"
    else
      for _, m in ipairs(require("tide.training.loop").named_metrics(self.model)) do
        if m.name == name or m.metric.name == name then
          local direction = m.metric.direction
          mode = direction and (direction == "up" and "max" or "min") or mode
        end
      end
    end
  end
  if mode == "auto" then
    local names = {}
    for k in pairs(logs or {}) do
      names[#names + 1] = k
    end
    errors.raise(self:_class_name(),
      "cannot tell whether more or less of '%s' is better; say mode = 'max' or mode = 'min'%s",
      self.monitor, (logs or {})[self.monitor] == nil and check.did_you_mean(self.monitor,
        names) or "")
  end
  local delta = math.abs(self.min_delta or 0)
  if mode == "min" then
    self._better = function(value, reference)
      return value + delta < reference
    end
  else
    self._better = function(value, reference)
      return value - delta > reference
    end
  end
end

-- NaN is never better, not even than nothing.
function Monitor:_improved(value, reference)
  return value == value and (reference == nil or self._better(value, reference))
end

-- Whether the epoch of `logs` was not validated though others are.
function Monitor:_not_validated(logs)
  if not (self.params and self.params.validation) then
    return false
  end
  for k in pairs(logs) do
    if k:sub(1, 4) == "val_" then
      return false
    end
  end
  return true
end

-- What texts call the watched value.
function Monitor:_watches()
  return type(self.monitor) == "string" and self.monitor or "the monitored value"
end

-- What a person's function of the logs gives.
local function computed(self, logs)
  local v = self.monitor(logs)
  if v ~= nil and type(v) ~= "number" and not (type(v) == "userdata" and v.size == 1) then
    errors.raise(self:_class_name(), "monitor must return a number, or nil where there is none \z
      (got %s)", check.show(v))
  end
  return v ~= nil and tensors.number(v) or nil
end

--- The watched value in `logs`; nil where it is absent, after a warning unless it is one of a
--- validation that this epoch has not.
function Monitor:_watched(logs)
  if type(self.monitor) == "function" then
    return computed(self, logs)
  end
  local v = logs[self.monitor]
  if v == nil then
    local absent = self.monitor:sub(1, 4) == "val_" and self:_not_validated(logs)
    if not absent and not self._warned then
      self._warned = true
      local names = {}
      for k in pairs(logs) do
        names[#names + 1] = k
      end
      table.sort(names)
      errors.warn("%s: '%s' is not logged; there are %s%s", self:_class_name(), self.monitor,
        table.concat(names, ", "), check.did_you_mean(self.monitor, names))
    end
    return nil
  end
  return tensors.number(v)
end

return base

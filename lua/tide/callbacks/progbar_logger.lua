--- The callback behind `verbose`: a progress bar on a terminal, one line per epoch elsewhere.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"

local Progbar = require "tide.training.progbar"
local base = require "tide.callbacks.base"

--- Prints the progress; fit, evaluate and predict add it themselves when verbose.
---
---     model:fit(x, y, { callbacks = { tide.callbacks.ProgbarLogger() } })
local Logger = object.class("ProgbarLogger", base.Callback, { rows = {} })
Logger.lazy_logs = true -- reads logs only when it draws

function Logger:set_params(params)
  if type(params) ~= "table" then
    errors.raise("ProgbarLogger", "set_params takes a table (got %s)", check.show(params))
  end
  self.params = params
  local verbose = params.verbose
  self._terminal = core.terminal(1)
  if verbose == "auto" or verbose == true or verbose == nil then
    verbose = 1
  end
  if verbose == 1 and not self._terminal and not params.force_bar then
    verbose = 2
  end
  self._verbose = verbose
end

function Logger:_begin(delay, from)
  self._bar = Progbar.new {
    target = self._steps or self.params.steps,
    verbose = self._verbose,
    terminal = self._terminal,
    delay = delay,
    from = from,
    columns = self._terminal and select(2, core.terminal(1)) or nil,
    one_line = self._one_line,
  }
end

function Logger:on_train_begin()
  self._in_fit = true
end

function Logger:on_train_resume(place)
  self._in_fit = true
  if place.batch > 0 then -- in the middle of an epoch
    self:on_epoch_begin(place.epoch, nil, place.batch)
  end
end

function Logger:on_epoch_begin(epoch, _, from)
  self._epoch = epoch
  if self.params.epochs and self.params.epochs > 1
    and (self._verbose == 1 or self._verbose == 2) then
    io.stdout:write(("Epoch %d/%d\n"):format(epoch, self.params.epochs))
    io.stdout:flush()
  end
  self:_begin(nil, from)
  self._bar.seen = from or 0
end

local function hint(self)
  return self._epoch == 1 and "   ^C to stop" or nil
end

function Logger:on_train_batch_end(batch, logs)
  if self._bar and self._bar:due(batch) then
    self._bar:update(logs, hint(self))
  end
end

function Logger:on_epoch_end(_, logs)
  self._steps = self._steps or self._bar.seen
  self._bar.target = self._bar.target or self._bar.seen
  self._bar:finish(logs)
end

function Logger:on_test_begin()
  if not self._in_fit then
    self:_begin(self.params.delay)
  end
end

function Logger:on_test_batch_end(batch, logs)
  if not self._in_fit and self._bar:due(batch) then
    self._bar:update(logs)
  end
end

function Logger:on_test_end(logs)
  if not self._in_fit then
    self._bar.target = self._bar.target or self._bar.seen
    self._bar:finish(logs)
  end
end

function Logger:on_predict_begin()
  self:_begin(self.params.delay)
end

function Logger:on_predict_batch_end(batch)
  if self._bar:due(batch) then
    self._bar:update(nil)
  end
end

function Logger:on_predict_end()
  self._bar.target = self._bar.target or self._bar.seen
  self._bar:finish(nil)
end

return { ProgbarLogger = Logger }

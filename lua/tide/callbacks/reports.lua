--- Callbacks that tell others where training is: pictures of the learning curves, a file for other
--- programs.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local json = require "tide.utils.json"
local object = require "tide.object"
local tensors = require "tide.training.tensors"

local base = require "tide.callbacks.base"

-- Writes by f; what cannot be written ends no training, and is said once.
local function attempt(self, f, ...)
  local ok, e = pcall(f, ...)
  if ok then
    self._told = nil
  elseif not errors.is(e) then -- Ctrl-C
    error(e, 0)
  elseif not self._told then
    self._told = true
    errors.warn("%s: %s; training goes on", self:_class_name(), tostring(e.message or e))
  end
end

-- Numbers of logs by name.
local function numbers(logs)
  local out = {}
  for k, v in pairs(logs or {}) do
    if type(v) == "number" or type(v) == "userdata" and v.size == 1 then
      out[k] = tensors.number(v)
    end
  end
  return out
end

-- ---- PlotHistory ----

--- Draws the learning curves into a file, .png or .svg, every `freq` epochs and at the end.
--     local c = tide.callbacks.PlotHistory { "curves.svg" }
local Plot = object.class("PlotHistory", base.Callback, {
  rows = {
    { "filename", "string", check.required, "the picture, .png or .svg" },
    { "freq", "int", 1, "epochs from drawing to drawing", min = 1 },
  },
  init = function(self)
    local extension = (self.filename:match "%.(%w+)$" or ""):lower()
    if extension ~= "png" and extension ~= "svg" then
      errors.raise("PlotHistory", "cannot write %s (expected a name that ends in .svg or .png)",
        check.show(self.filename))
    end
  end,
})
Plot._whole_epochs = true
Plot._keeps = { _rows = "curves", _epochs = "count" }

function Plot:on_train_begin()
  self._rows, self._epochs = {}, 0
end

local function draw(self)
  require("tide.plot").history(self._rows, { file = self.filename })
end

function Plot:on_epoch_end(_, logs)
  for k, v in pairs(numbers(logs)) do
    self._rows[k] = self._rows[k] or {}
    table.insert(self._rows[k], v)
  end
  self._epochs = self._epochs + 1
  if self._epochs % self.freq == 0 then
    attempt(self, draw, self)
  end
end

function Plot:on_train_end()
  if self._epochs % self.freq ~= 0 then
    attempt(self, draw, self)
  end
end

-- ---- ProgressFile ----

--- Keeps a JSON file for other programs: `state` ("training", "finished", "interrupted"), `epoch`,
--- `epochs`, `batch`, `batches` where that is known, `logs`, `seconds` since training began, and
--- `remaining`, an estimate. It is replaced atomically at the end of each epoch and every `freq`
--- batches; numbers that are not finite stand there as null.
--     local c = tide.callbacks.ProgressFile { "progress.json", freq = 100 }
local Progress = object.class("ProgressFile", base.Callback, {
  rows = {
    { "filename", "string", check.required, "the file" },
    { "freq", "int", nil, "batches from writing to writing; epochs alone when left out", min = 1 },
  },
})
Progress.lazy_logs = true
Progress._keeps = { _epoch = "count", _batch = "count", _logs = "values" }

local function start(self)
  self._began, self._first = core.now(), nil
end

function Progress:on_train_begin()
  self._epoch, self._batch, self._logs = 0, 0, {}
  start(self)
end

function Progress:on_train_resume()
  start(self)
end

function Progress:on_epoch_begin(epoch)
  self._epoch, self._batch = epoch, 0
  self._first = self._first or { epoch - 1, core.now() }
end

local function write(self, state)
  local now, epochs = core.now(), self.params.epochs
  local out = { state = state, epoch = self._epoch, epochs = epochs, batch = self._batch,
    batches = self.params.steps, seconds = now - self._began, logs = {} }
  for k, v in pairs(self._logs) do
    out.logs[k] = v - v == 0 and v or require "tide.none"
  end
  local share = self.params.steps and self._batch / self.params.steps or 0
  local done = self._first and self._epoch - 1 + math.min(share, 1) - self._first[1] or 0
  if state == "finished" then
    out.remaining = 0
  elseif done > 0 and epochs then
    local left = epochs - self._first[1] - done
    out.remaining = (now - self._first[2]) / done * math.max(left, 0)
  end
  core.write_file(self.filename, json.encode(out) .. "\n")
end

function Progress:on_train_batch_end(batch, logs)
  self._batch = batch
  if self.freq and batch % self.freq == 0 then
    self._logs = numbers(logs)
    attempt(self, write, self, "training")
  end
end

function Progress:on_epoch_end(_, logs)
  self._logs = numbers(logs)
  attempt(self, write, self, "training")
end

function Progress:on_train_end()
  attempt(self, write, self, core.interrupted() and "interrupted" or "finished")
end

return { PlotHistory = Plot, ProgressFile = Progress }

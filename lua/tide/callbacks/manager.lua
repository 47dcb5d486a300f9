--- CheckpointManager: the last few checkpoints of a training, and the best one.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local printable = require "tide.printable"

local base = require "tide.callbacks.base"
local checkpoint = require "tide.training.checkpoint"

local ENDING = ".safetensors"
local BEST = "best" .. ENDING

--- Saves where training is (see `BackupAndRestore`) as `epoch-0003.safetensors` or, every so many
--- batches, `epoch-0003-batch-000100.safetensors` in a folder, and keeps the last `max_to_keep`;
--- the one with the best watched value stands in `best.safetensors` beside them.
--- `manager:latest()` and `manager:best_path()` are the paths, nil where there is none:
--- `fit { resume = manager:latest() }` goes on, `model:load_weights(manager:best_path())` takes the
--- weights alone. Files are written atomically with checksums; one that is damaged is passed over.
--- Where the watched value is not logged, there is no best one. Keras: OrbaxCheckpoint.
--     local c = tide.callbacks.CheckpointManager { "runs/a", max_to_keep = 3 }
local Manager = object.class("CheckpointManager", base.Monitor, {
  rows = {
    { "directory", "string", check.required, "where to save" },
    base.MONITOR,
    { "verbose", { "int", "bool" }, 0, "1: say what happens" },
    { "save_best_only", "bool", false, "only when the watched value improved" },
    base.MODE,
    { "save_freq", { "int", "string" }, "epoch", "'epoch', or a number of batches" },
    { "initial_value_threshold", "number", nil, "best value so far" },
    { "max_to_keep", "int", 1, "how many stay beside the best one", min = 1 },
    { "save_on_background", "bool", true, "accepted; a save ends before the next batch" },
    { "save_weights_only", "bool", false, "weights without the rest, not to be resumed" },
  },
  methods = { wait_until_finished = {} },
  named = {
    { "on_sigterm", "bool", false, "SIGTERM saves and ends training, as Ctrl-C does" },
  },
  init = function(self)
    if self.directory == "" then
      errors.raise("CheckpointManager", "directory must be the name of a folder (got '')")
    end
    base.check_freq(self)
    self.best, self._batches = self.initial_value_threshold, 0
  end,
})

Manager._keeps = { _batches = "count" }

-- The checkpoints in the folder, oldest first.
local function kept(self)
  local out = {}
  for _, name in ipairs(core.file_exists(self.directory) and core.listdir(self.directory) or {}) do
    local epoch, batch = name:match "^epoch%-(%d+)%-batch%-(%d+)%.safetensors$"
    epoch = epoch or name:match "^epoch%-(%d+)%.safetensors$"
    if epoch then -- the end of an epoch comes behind its batches
      out[#out + 1] = { name = name, epoch = tonumber(epoch), batch = tonumber(batch) or math.huge }
    end
  end
  table.sort(out, function(a, b)
    return a.epoch < b.epoch or (a.epoch == b.epoch and a.batch < b.batch)
  end)
  return out
end

--- The path of the last checkpoint that is whole; nil where there is none.
---
---     tide.callbacks.CheckpointManager("/no/such/folder"):latest()   --> nil
function Manager:latest()
  local all = kept(self)
  for i = #all, 1, -1 do
    local path = self.directory .. "/" .. all[i].name
    local ok, e = checkpoint.whole(path)
    if ok then
      return path
    end
    errors.warn("CheckpointManager: %s; the checkpoint before is taken", tostring(e))
  end
end

--- The path of the checkpoint with the best watched value; nil where there is none.
function Manager:best_path()
  local path = self.directory .. "/" .. BEST
  return core.file_exists(path) and path or nil
end

--- Nothing waits: a checkpoint is whole when training goes on. Keras' name.
function Manager:wait_until_finished() end -- luacheck: ignore self

local function write(self, name, save)
  core.mkdirs(self.directory)
  local path = self.directory .. "/" .. name
  if self.save_weights_only then
    self.model:save_weights(path)
  else
    save(path)
  end
  if self.verbose == true or self.verbose ~= false and self.verbose > 0 then
    io.stdout:write(printable.text("\nCheckpointManager: saved " .. path), "\n")
  end
end

-- Whether the watched value is the best so far, which is noted.
local function best(self, logs)
  if type(self.monitor) == "string" and logs[self.monitor] == nil and not self.save_best_only then
    return false
  end
  self:_decide(logs)
  local value = self:_watched(logs)
  if value == nil or not self:_improved(value, self.best) then
    return false
  end
  self.best = value
  return true
end

function Manager:_offer(at, save)
  local by_batch = self.save_freq ~= "epoch"
  local due = at.moment == "stop"
  if at.moment == "batch" and by_batch then
    self._batches = self._batches + 1
    due = self._batches >= self.save_freq
    self._batches = due and 0 or self._batches
  elseif at.moment == "epoch" then
    due = not by_batch
  end
  local better = at.moment == "epoch" and best(self, at.logs)
  if better then
    write(self, BEST, save)
  end
  if not due or self.save_best_only and not better and at.moment ~= "stop" then
    return
  end
  write(self, at.moment == "epoch" and ("epoch-%04d%s"):format(at.epoch, ENDING)
    or ("epoch-%04d-batch-%06d%s"):format(at.epoch, at.batch, ENDING), save)
  local all = kept(self)
  for i = 1, #all - self.max_to_keep do
    os.remove(self.directory .. "/" .. all[i].name)
  end
end

return { CheckpointManager = Manager }

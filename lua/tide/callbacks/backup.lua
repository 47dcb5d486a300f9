--- BackupAndRestore: training that a crash ended goes on where it was.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"

local base = require "tide.callbacks.base"
local checkpoint = require "tide.training.checkpoint"

--- Saves where training is, and goes on from there in the next run of the same script: weights,
--- optimizer, random generators, the place in the data, callbacks and history, so that the end is
--- bit for bit that of a run without a crash. The file, `latest.safetensors` in `backup_dir`, is
--- written atomically with checksums; it can be given to `fit` as `resume` too. It goes when
--- training ends in order, and stays after Ctrl-C and SIGTERM, behind which it is written once
--- more. With `double_checkpoint` the file before stays as `latest.bkp.safetensors` and takes the
--- place of one that is damaged.
--     local c = tide.callbacks.BackupAndRestore { "backup", save_freq = 100 }
local Backup = object.class("BackupAndRestore", base.Callback, {
  rows = {
    { "backup_dir", "string", check.required, "folder of the backup" },
    { "save_freq", { "int", "string" }, "epoch", "'epoch', or a number of batches" },
    { "double_checkpoint", "bool", false, "keep the backup before, too" },
    { "delete_checkpoint", "bool", true, "remove the backup when training has ended" },
  },
  named = {
    { "on_sigterm", "bool", true,
      "SIGTERM ends training after the batch that runs, as Ctrl-C does" },
  },
  init = function(self)
    if self.backup_dir == "" then
      errors.raise("BackupAndRestore", "backup_dir must be the name of a folder (got '')")
    end
    base.check_freq(self)
    self._batches = 0
  end,
})

Backup._keeps = { _batches = "count" }

local function latest(self)
  return self.backup_dir .. "/latest.safetensors"
end

local function before(self)
  return self.backup_dir .. "/latest.bkp.safetensors"
end

-- The file to begin with, nil where there is none.
function Backup:_found()
  for _, path in ipairs { latest(self), before(self) } do
    if core.file_exists(path) then
      local ok, e = checkpoint.whole(path)
      if ok then
        return path
      elseif path == before(self) or not core.file_exists(before(self)) then
        error(e, 0)
      end
      errors.warn("BackupAndRestore: %s; the backup before is taken", tostring(e))
    end
  end
end

function Backup:_offer(at, save)
  if at.moment == "batch" and self.save_freq ~= "epoch" then
    self._batches = self._batches + 1
    if self._batches < self.save_freq then
      return
    end
    self._batches = 0
  elseif not (at.moment == "stop" or at.moment == "epoch" and self.save_freq == "epoch") then
    return
  end
  if self.double_checkpoint and core.file_exists(latest(self)) then
    os.rename(latest(self), before(self))
  end
  save(latest(self))
end

function Backup:on_train_end()
  if self.delete_checkpoint and not core.interrupted() then
    os.remove(latest(self))
    os.remove(before(self))
  end
end

return { BackupAndRestore = Backup }

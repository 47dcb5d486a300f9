--- Data sets of the sounds below a folder: Keras' audio_dataset_from_directory. Worker threads
--- read and resample the files ahead of the step.
local ahead = require "tide.ahead"
local check = require "tide.check"
local core = require "tide.core"
local elements = require "tide.data.elements"
local errors = require "tide.errors"
local files = require "tide.audio.files"
local folders = require "tide.utils.folders"
local stage = require "tide.data.stage"
local texts = require "tide.data.texts"

local sounds = {}

local sound_args
do
  local rows = { table.unpack(folders.label_rows) }
  for _, row in ipairs {
    { "batch_size", "int", 32, "sounds per batch; none: single sounds", min = 1, none = true },
    { "sampling_rate", "int", nil, "samples per second; as stored by default", min = 1 },
    { "output_sequence_length", "int", nil,
      "samples of each, as stored: more are cut, fewer filled with zeros", min = 1 },
    { "ragged", "bool", false, "batches are { values, lengths }" },
  } do
    rows[#rows + 1] = row
  end
  table.move(folders.split_rows, 1, #folders.split_rows, #rows + 1, rows)
  rows[#rows + 1] = { "follow_links", "bool", false, "enter folders that are links" }
  rows[#rows + 1] = { "verbose", "bool", true, "say how many files were found" }
  sound_args = check.args("audio_dataset_from_directory", rows, { named = {
    { "formats", "list", nil, "endings of the files' names; .wav by default", own = true },
    { "on_error", "enum", "raise", "what a file that cannot be read does", of = "raise|skip" },
  } })
end

-- ---- the stage: paths, and what goes with them, become sounds ----

local sound = core.sound
local MOST = 64 -- files under way

local Sounds = stage.iterator "sounds"

function Sounds:start()
  self.input = stage.open(self.node._inputs[1], self.pass)
  self.inputs = { self.input }
  self.share, self.waiting = ahead.take(), {}
end

local function packed(first, ...)
  if first ~= nil then
    return elements.pack(first, ...)
  end
end

local function begin(self, v)
  local o, path = self.o, (elements.parts(v))
  self.waiting[#self.waiting + 1] = { v = v, path = path,
    job = sound.begin(self.share:workers(), path, o.length, o.rate, files.qualities.best) }
end

local function fill(self)
  while not self.over and #self.waiting < self.o.ahead do
    local v = packed(self.input:next())
    self.over = v == nil
    if v ~= nil then
      begin(self, v)
    end
  end
end

local function followed(x, _, ...)
  return x, ...
end

function Sounds:next()
  local o = self.o
  while true do
    fill(self)
    local first = self.waiting[1]
    if not first then
      return nil
    end
    local x, why = sound.finish(first.job)
    table.remove(self.waiting, 1)
    if x then
      self.n = self.n + 1
      return followed(x, elements.parts(first.v))
    elseif o.on_error == "raise" then
      errors.raise(o.where, "%s; on_error = \"skip\" leaves such files out and counts them", why)
    end
    o.bad(first.path, why)
  end
end

Sounds.start_ahead = fill

function Sounds:dtype(k)
  return k > 1 and self.input:dtype(k) or nil
end

function Sounds:save()
  local values = {}
  for i, e in ipairs(self.waiting) do
    values[i] = e.v
  end
  return { over = self.over or false, waiting = elements.freeze(values, #values) }
end

function Sounds:load(s)
  self.over = s.over
  for _, v in ipairs(elements.thaw(s.waiting)) do
    begin(self, v)
  end
end

function Sounds:close()
  for _, e in ipairs(self.waiting) do
    sound.forget(e.job)
  end
  self.waiting, self.over = {}, true
  self.share:close()
  stage.Iterator.close(self)
end

stage.define("sounds", { open = Sounds, spec = function() end,
  cardinality = function(node)
    return node._o.on_error == "skip" and stage.UNKNOWN or stage.cardinality(node._inputs[1])
  end })

-- The endings that are looked for.
local function endings_of(where, formats)
  local out = {}
  for i, ending in ipairs(formats or { ".wav" }) do
    if type(ending) ~= "string" or not ending:find "^%.%w+$" then
      errors.raise(where, "formats must hold endings of names (expected as '.wav', got %s)",
        check.show(ending))
    end
    out[i] = ending:lower()
  end
  return out
end

--- Batches of the sounds below a folder, with labels from the names of its folders: x is (batch,
--- samples, channels), filled with zeros to the longest of the batch, y by label_mode: "int" labels
--- from 1 (batch), "categorical" one-hot rows, "binary" 0 or 1 (batch, 1). Files are `.wav`, or of
--- the `formats` that libsndfile reads. With `ragged` x is { values, lengths }. A
--- `sampling_rate` is made behind the cut to `output_sequence_length`, as Keras makes it.
---
--- The result is a Dataset with the fields class_names and file_paths; subset = "both" gives two.
--- Files that cannot be read end the pass, or, with `on_error = "skip"`, are left out and counted:
--- fields skipped, bad_files (path -> what is wrong).
--- Keras: keras.utils.audio_dataset_from_directory.
---
---     local train, val = tide.utils.audio_dataset_from_directory("words", {
---       output_sequence_length = 16000, validation_split = 0.2, subset = "both", seed = 1 })
--- @return Dataset
function sounds.audio_dataset_from_directory(...)
  local where = "audio_dataset_from_directory"
  local o = sound_args:call(...)
  local length, rate = o.output_sequence_length, o.sampling_rate
  if o.ragged and length then
    errors.raise(where, "ragged and output_sequence_length exclude each other")
  end
  local function read(ds, bad)
    return ds:_with("sounds", { where = where, length = length, rate = rate, bad = bad,
      on_error = o.on_error, ahead = math.min(MOST, 2 * (o.batch_size or 16)) })
  end
  return texts.of_folders(o, endings_of(where, o.formats), read, function(ds)
    if not o.ragged then
      return ds:padded_batch(o.batch_size)
    end
    return ds:ragged_batch(o.batch_size):map(function(x, y)
      return x, type(y) == "table" and y.values or y -- rows of labels are of one length
    end)
  end, "sounds", where)
end

return sounds

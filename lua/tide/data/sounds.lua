--- Data sets of the sounds below a folder: Keras' audio_dataset_from_directory.
local check = require "tide.check"
local errors = require "tide.errors"
local files = require "tide.audio.files"
local folders = require "tide.utils.folders"
local ops = require "tide.ops"
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
  } })
end

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
  local reading = { dtype = "float32", offset = 0, quality = "best" }
  local function read(path)
    local x, from = files.read(where, path, reading, false, length)
    if length and x.shape[1] < length then
      x = ops.pad(x, { { 0, length - x.shape[1] }, { 0, 0 } })
    end
    return files.at_rate(where .. ": " .. path, x, from, rate or from, "best")
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

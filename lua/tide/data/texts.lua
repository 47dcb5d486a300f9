--- Data sets of the texts below a folder: Keras' text_dataset_from_directory.
local check = require "tide.check"
local core = require "tide.core"
local Dataset = require "tide.data.whole"
local folders = require "tide.utils.folders"
local list = require "tide.list"
local listing = require "tide.utils.listing"

local texts = {}

-- Targets of labels by label_mode, as rows.
local function targets(labels, mode, classes)
  if mode == "int" then
    return core.tensor(labels, { dtype = "int64" })
  end
  local rows = {}
  for i, label in ipairs(labels) do
    local row = {}
    for c = 1, classes do
      row[c] = c == label and 1 or 0
    end
    rows[i] = mode == "binary" and { label - 1 } or row
  end
  return core.tensor(rows)
end

--- The elements of files below a folder: `read(ds, bad)` makes them of a Dataset of paths, and of
--- targets where there are labels, and calls `bad(path, why)` where it leaves a file out;
--- `batch(ds)` makes batches of them.
--- @param o table checked arguments with those of tide.utils.folders
--- @param endings table of the files' names
--- @return Dataset, Dataset|nil two for subset = "both"
function texts.of_folders(o, endings, read, batch, what, where)
  folders.check(o, where)
  local paths, labels, names = folders.index(o, function(folder)
    return listing.below(folder, endings, o.follow_links, where)
  end, where)
  return folders.parts(o, paths, labels, function(files, own, shuffle)
    local full = list.new {}
    for i, path in ipairs(files) do
      full[i] = o.directory .. "/" .. path
    end
    local ds
    if o.label_mode then
      ds = Dataset.from_tensor_slices(table.move(full, 1, #full, 1, {}),
        targets(own, o.label_mode, #names))
    else
      ds = Dataset.from_tensor_slices(table.move(full, 1, #full, 1, {}))
    end
    if shuffle then
      ds = ds:shuffle(o.batch_size and #full or 1024, { seed = o.seed })
    end
    local made
    ds = read(ds, function(file, why)
      made.skipped, made.bad_files[file] = made.skipped + 1, why
    end)
    ds = o.batch_size and batch(ds) or ds
    made, ds.skipped, ds.bad_files = ds, 0, {}
    ds.class_names, ds.file_paths = names, full
    return ds
  end, ("%s found in %s (%s)"):format(what, o.directory, table.concat(endings, ", ")), where)
end

-- ---- texts ----

local text_args
do
  local rows = { table.unpack(folders.label_rows) }
  rows[#rows + 1] = { "batch_size", "int", 32, "texts per batch; none: single texts", min = 1,
    none = true }
  rows[#rows + 1] = { "max_length", "int", nil, "bytes that are kept of a text", min = 1 }
  table.move(folders.split_rows, 1, #folders.split_rows, #rows + 1, rows)
  rows[#rows + 1] = { "follow_links", "bool", false, "enter folders that are links" }
  rows[#rows + 1] = { "format", "enum", "tf", "not used", of = "tf|grain" }
  rows[#rows + 1] = { "verbose", "bool", true, "say how many files were found" }
  text_args = check.args("text_dataset_from_directory", rows)
end

local MOST = 1 << 30 -- bytes of a text file

--- Batches of the texts below a folder, with labels from the names of its folders: x is a list of
--- strings, y by label_mode: "int" labels from 1 (batch), "categorical" one-hot rows, "binary" 0 or
--- 1 (batch, 1). Files are `.txt`. The result is a Dataset with the fields class_names and
--- file_paths; subset = "both" gives two. Keras: keras.utils.text_dataset_from_directory.
---
---     local train, val = tide.utils.text_dataset_from_directory("data", {
---       validation_split = 0.2, subset = "both", seed = 1 })
--- @return Dataset
function texts.text_dataset_from_directory(...)
  local where = "text_dataset_from_directory"
  local o = text_args:call(...)
  local most = o.max_length
  return texts.of_folders(o, { ".txt" }, function(ds)
    return ds:map(function(path, ...)
      return most and core.read_file(path, math.maxinteger, most) or core.read_file(path, MOST), ...
    end)
  end, function(ds)
    return ds:batch(o.batch_size)
  end, "texts", where)
end

return texts

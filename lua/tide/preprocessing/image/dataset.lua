--- image_dataset_from_directory: pictures of a folder in batches, resized as TensorFlow, for fit.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.preprocessing.image.files"
local generator = require "tide.preprocessing.image.generator"
local iterators = require "tide.preprocessing.image.iterators"
local list = require "tide.list"
local listing = require "tide.preprocessing.image.listing"

local M = {}
local image = core.image
local where = "image_dataset_from_directory"

local args = check.args(where, {
  { "directory", "string", check.required, "holds one folder per class" },
  { "labels", { "string", "list" }, "inferred",
    "from the folders; a list of labels from 1, one per file; or none", none = true },
  { "label_mode", "enum", "int", "kind of y; none: no y", of = "int|categorical|binary",
    none = true },
  { "class_names", "list", nil, "the folders, in order; sorted by default" },
  { "color_mode", "enum", "rgb", "channels", of = "grayscale|rgb|rgba" },
  { "batch_size", "int", 32, "pictures per batch; none: single pictures", min = 1, none = true },
  files.size_row("image_size", { 256, 256 }, "{ height, width }"),
  { "shuffle", "bool", true, "another order in every pass; else by path" },
  { "seed", "int", nil, "repeats the order; needed to shuffle what validation_split divides" },
  { "validation_split", "number", nil, "share of the files kept for validation, from the end",
    above = 0, max = 1 },
  { "subset", "enum", nil, "which part; both: two results", of = "training|validation|both" },
  { "interpolation", "enum", "bilinear", "TensorFlow's methods", of = files.methods },
  { "follow_links", "bool", false, "enter folders that are links" },
  { "crop_to_aspect_ratio", "bool", false,
    "cut the largest centred part of the target's aspect ratio first" },
  { "pad_to_aspect_ratio", "bool", false, "keep the whole picture and put black around it" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
  { "verbose", "bool", true, "say how many pictures were found" },
}, { named = {
  { "on_error", "enum", "raise", "what a file that cannot be read does", of = "raise|skip" },
  { "upright", "bool", false, "turn pictures as their EXIF orientation says" },
  { "max_pixels", "int", nil, "largest area of a file", min = 1 },
  { "workers", "int", nil, "threads that decode and resize; as many as Tide uses", min = 1,
    max = 64 },
  { "prefetch", "int", nil, "batches made ahead", min = 0, max = 64 },
} })

local ImageDataset = class.new("ImageDataset", iterators.Iterator)
ImageDataset._where = where

-- The files with their labels and the names of the classes (nil: no labels).
local function index(o)
  local paths, labels, names = {}, {}, nil
  if o.labels == "inferred" then
    local folders, known = {}, {}
    for _, name in ipairs(listing.folders(o.directory, where)) do
      folders[#folders + 1], known[name] = name, true
    end
    names = list.copy(o.class_names or folders)
    for _, name in ipairs(names) do
      if not known[name] then
        errors.raise(where, "class_names holds '%s', but the folders of %s are %s", tostring(name),
          o.directory, table.concat(folders, ", "))
      end
    end
    for label, name in ipairs(names) do
      for _, found in ipairs(listing.pictures(o.directory .. "/" .. name, listing.dataset,
        o.follow_links, where)) do
        paths[#paths + 1], labels[#labels + 1] = name .. found, label
      end
    end
  else
    if o.class_names then
      errors.raise(where, "class_names needs labels = \"inferred\"")
    end
    for _, found in ipairs(listing.pictures(o.directory, listing.dataset, o.follow_links, where)) do
      paths[#paths + 1] = found:sub(2)
    end
    if o.labels then
      if #o.labels ~= #paths then
        errors.raise(where, "labels holds %d labels for %d files in %s", #o.labels, #paths,
          o.directory)
      end
      local seen = {}
      names = list.new {}
      for i, label in ipairs(o.labels) do
        local whole = type(label) == "number" and math.tointeger(label)
        if not whole or whole < 1 then
          errors.raise(where, "labels must hold whole numbers from 1, the %dth is %s", i,
            check.show(label))
        end
        label, labels[i] = whole, whole
        if not seen[label] then
          seen[label] = true
          names[#names + 1] = label
        end
      end
      table.sort(names)
      for i, label in ipairs(names) do
        names[i] = tostring(label)
      end
    end
  end
  return paths, labels, names
end

function ImageDataset:_init(o, paths, labels, names, shuffle)
  self.class_names, self.num_classes = names, names and #names or 0
  self.file_paths, self.classes = list.new {}, list.new(labels)
  for i, path in ipairs(paths) do
    self.file_paths[i] = o.directory .. "/" .. path
  end
  self.class_mode = o.label_mode == "int" and "sparse" or o.label_mode
  self:_start(generator.ImageDataGenerator { data_format = o.data_format }, {
    batch_size = o.batch_size or 1, shuffle = shuffle, seed = o.seed, on_error = o.on_error,
    workers = o.workers, prefetch = o.prefetch or not o.batch_size and 32 or nil,
  }, #paths, {
    paths = self.file_paths, height = o.image_size[1], width = o.image_size[2],
      channels = files.channels_of[o.color_mode],
    method = o.interpolation, crop = o.crop_to_aspect_ratio, pad = o.pad_to_aspect_ratio,
      upright = o.upright,
    max_pixels = o.max_pixels,
  })
  self._single = not o.batch_size
end

function ImageDataset:_batch(x, ids)
  local x1, y = iterators.Iterator._batch(self, x, ids)
  if self.class_mode == "binary" then
    y = y:reshape { -1, 1 }
  end
  if self._single then
    return x1[1], y and y[1]
  end
  return x1, y
end

--- Batches of the pictures below a folder for fit, evaluate, predict: x is float32 (batch, height,
--- width, channels) of values 0 to 255, y by label_mode: "int" labels from 1 (batch), "categorical"
--- one-hot rows, "binary" 0 or 1 (batch, 1). Resized as tf.image.resize, grey values as
--- tf.image.decode_image makes them. `batch_size = tide.none`: x and y of one picture each.
--- Files are decoded and resized by worker threads, ahead of the training. Fields: class_names,
--- file_paths, classes (label of
--- each file), skipped, bad_files. subset = "both" gives two results. Keras:
--- keras.utils.image_dataset_from_directory.
--- @return ImageDataset
---     local train, val = tide.utils.image_dataset_from_directory("data", {
---       image_size = { 180, 180 }, validation_split = 0.2, subset = "both", seed = 1 })
function M.image_dataset_from_directory(...)
  local o = args:call(...)
  if type(o.labels) == "string" and o.labels ~= "inferred" then
    errors.raise(where, "labels must be \"inferred\", a list or none (got %s)",
      check.show(o.labels))
  end
  if o.crop_to_aspect_ratio and o.pad_to_aspect_ratio then
    errors.raise(where, "crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other")
  end
  if (o.validation_split == nil) ~= (o.subset == nil) then
    errors.raise(where, "validation_split and subset need each other")
  end
  if o.validation_split and o.validation_split >= 1 then
    errors.raise(where, "validation_split must lie between 0 and 1 (got %s)", o.validation_split)
  end
  if o.validation_split and o.shuffle and not o.seed then
    errors.raise(
      where, "shuffling before validation_split needs a seed, so that the parts do not overlap")
  end
  if o.labels == nil or o.label_mode == nil then
    o.labels, o.label_mode = nil, nil
  end
  local paths, labels, names = index(o)
  if o.label_mode == "binary" and #names ~= 2 then
    errors.raise(where, "label_mode = \"binary\" needs two classes, found %d (%s)", #names,
      table.concat(names, ", "))
  end
  if o.verbose then
    print(("Found %d files%s."):format(#paths,
      names and (" belonging to %d classes"):format(#names) or ""))
  end
  if o.shuffle and o.seed then -- once, before the parts are cut
    local p, l = {}, {}
    for k, i in ipairs(image.permutation(#paths, image.sample_seed(o.seed, 0, 1 << 40), 0)) do
      p[k], l[k] = paths[i], labels[i]
    end
    paths, labels = p, l
  end
  local function part(kind, shuffle)
    local first, last = 1, #paths
    local held = math.floor((o.validation_split or 0) * #paths)
    if kind == "training" then
      last = last - held
    elseif kind == "validation" then
      first = last - held + 1
    end
    if first > last then
      errors.raise(where, "no %spictures found in %s (%s)", kind and kind .. " " or "", o.directory,
        table.concat(listing.dataset, ", "))
    end
    if kind and o.verbose then
      print(("Using %d files for %s."):format(last - first + 1, kind))
    end
    return ImageDataset(o, table.move(paths, first, last, 1, {}),
      table.move(labels, first, last, 1, {}), names, shuffle)
  end
  if o.subset == "both" then
    return part("training", o.shuffle), part("validation", false)
  end
  return part(o.subset, o.shuffle)
end

return M

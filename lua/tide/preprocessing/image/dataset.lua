--- image_dataset_from_directory: pictures of a folder in batches, resized as TensorFlow, for fit.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local folders = require "tide.utils.folders"
local files = require "tide.preprocessing.image.files"
local generator = require "tide.preprocessing.image.generator"
local iterators = require "tide.preprocessing.image.iterators"
local list = require "tide.list"
local listing = require "tide.preprocessing.image.listing"

local M = {}
local where = "image_dataset_from_directory"

local of_labels, split = folders.label_rows, folders.split_rows

local args = check.args(where, {
  of_labels[1], of_labels[2], of_labels[3], of_labels[4],
  { "color_mode", "enum", "rgb", "channels", of = "grayscale|rgb|rgba" },
  { "batch_size", "int", 32, "pictures per batch; none: single pictures", min = 1, none = true },
  files.size_row("image_size", { 256, 256 }, "{ height, width }"),
  split[1], split[2], split[3], split[4],
  { "interpolation", "enum", "bilinear", "TensorFlow's methods", of = files.methods },
  { "follow_links", "bool", false, "enter folders that are links" },
  { "crop_to_aspect_ratio", "bool", false,
    "cut the largest centred part of the target's aspect ratio first" },
  { "pad_to_aspect_ratio", "bool", false, "keep the whole picture and put black around it" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
  { "format", "enum", "tf", "not used", of = "tf|grain" },
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
  if o.crop_to_aspect_ratio and o.pad_to_aspect_ratio then
    errors.raise(where, "crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other")
  end
  folders.check(o, where)
  local paths, labels, names = folders.index(o, function(folder)
    return listing.pictures(folder, listing.dataset, o.follow_links, where)
  end, where)
  return folders.parts(o, paths, labels, function(files_of_part, own, shuffle)
    return ImageDataset(o, files_of_part, own, names, shuffle)
  end, ("pictures found in %s (%s)"):format(o.directory, table.concat(listing.dataset, ", ")),
    where)
end

return M

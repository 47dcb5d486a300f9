--- The iterators behind ImageDataGenerator's flow functions (see iterator.lua).
---
---     local gen = tide.preprocessing.image.ImageDataGenerator { rescale = 1 / 255 }
---     local it = gen:flow(tide.ones { 4, 8, 8, 3 }, { batch_size = 2 })
---     #it   --> 2
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.preprocessing.image.files"
local Iterator = require "tide.preprocessing.image.iterator"
local list = require "tide.list"
local listing = require "tide.preprocessing.image.listing"
local ops = require "tide.ops"

local picked = Iterator._picked
local M = { Iterator = Iterator }

-- ---- rows that several functions share ----

local shared = {
  batch_size = { "batch_size", "int", 32, "pictures per batch", min = 1 },
  shuffle = { "shuffle", "bool", true, "another order in every pass" },
  seed = { "seed", "int", nil, "repeats order and transformations" },
  save_to_dir = { "save_to_dir", "string", nil, "folder that gets the transformed pictures" },
  save_prefix = { "save_prefix", "string", "", "of their names" },
  save_format = { "save_format", "enum", "png", "of the files", of = "png|jpeg|jpg|bmp" },
  subset = { "subset", "enum", nil, "part by validation_split", of = "training|validation" },
  target_size = files.size_row("target_size", { 256, 256 }, "{ height, width }"),
  color_mode = { "color_mode", "enum", "rgb", "channels", of = "rgb|grayscale|rgba" },
  classes = {
    "classes", "list", nil, "names of the classes, in order; the folders, sorted, by default" },
  interpolation = { "interpolation", "enum", "nearest", "how Pillow resizes",
    of = files.interpolations },
  keep_aspect_ratio = { "keep_aspect_ratio", "bool", false, "cut the middle out first" },
}
local threads = {
  { "workers", "int", nil, "threads that decode and transform; as many as Tide uses", min = 1,
    max = 64 },
  { "prefetch", "int", nil, "batches made ahead", min = 0, max = 64 },
}
local reading = {
  { "on_error", "enum", "raise", "what a file that cannot be read does", of = "raise|skip" },
  { "upright", "bool", false, "turn pictures as their EXIF orientation says" },
  { "max_pixels", "int", nil, "largest area of a file", min = 1 },
  { "verbose", "bool", true, "say how many pictures were found" },
  threads[1], threads[2],
}

local function rows(...)
  local out = {}
  for i, r in ipairs { ... } do
    out[i] = type(r) == "string" and shared[r] or r
  end
  return out
end

local function file_source(o, paths)
  return { paths = paths, height = o.target_size[1], width = o.target_size[2],
    channels = files.channels_of[o.color_mode], filter = o.interpolation,
      keep_aspect_ratio = o.keep_aspect_ratio, upright = o.upright, max_pixels = o.max_pixels }
end

-- First and last row of a subset of n rows: validation takes the first part.
local function part(generator, subset, n)
  if not subset then
    return 1, n
  end
  local at = math.floor(generator.validation_split * n)
  if subset == "validation" then
    return 1, at
  end
  return at + 1, n
end

-- ---- folders ----

local directory_args = check.args(
  "flow_from_directory", rows({ "directory", "string", check.required,
    "holds one folder per class" },
  "target_size", "color_mode", "classes",
    { "class_mode", "enum", "categorical", "kind of y; none: no y",
      of = "categorical|binary|sparse|input", none = true }, "batch_size", "shuffle", "seed",
      "save_to_dir", "save_prefix", "save_format",
  { "follow_links", "bool", false, "enter folders that are links" }, "subset", "interpolation",
    "keep_aspect_ratio"), { named = reading })

local DirectoryIterator = class.new("DirectoryIterator", Iterator)
M.DirectoryIterator = DirectoryIterator
DirectoryIterator._where = "flow_from_directory"

-- Labels by name, and a check of what binary targets need.
local function set_classes(self, names, where)
  self.class_names, self.num_classes = list.copy(names), #names
  self.class_indices = {}
  for i, name in ipairs(names) do
    if self.class_indices[name] then
      errors.raise(where, "classes names '%s' twice", name)
    end
    self.class_indices[name] = i
  end
  if self.class_mode == "binary" and #names ~= 2 then
    errors.raise(where, "class_mode = \"binary\" needs two classes, found %d (%s)", #names,
      table.concat(names, ", "))
  end
end

--- See ImageDataGenerator:flow_from_directory. Fields: samples, n, batch_size, class_indices (label
--- by name, from 1), class_names, classes (label of each file), filenames, filepaths, image_shape,
--- skipped, bad_files, waited (seconds).
function DirectoryIterator:_init(generator, ...)
  local o = directory_args:call(...)
  self.directory, self.class_mode = o.directory, o.class_mode
  self.target_size, self.color_mode, self.subset = o.target_size, o.color_mode, o.subset
  local names = o.classes
  if not names then
    names = listing.folders(o.directory, self._where)
  end
  set_classes(self, names, self._where)
  self.filenames, self.filepaths, self.classes = list.new {}, list.new {}, list.new {}
  for label, name in ipairs(names) do
    local found = listing.pictures(
      o.directory .. "/" .. name, listing.generator, o.follow_links, self._where)
    local first, last = part(generator, o.subset, #found)
    for i = first, last do
      local n = #self.filenames + 1
      self.filenames[n] = name .. found[i]
      self.filepaths[n] = o.directory .. "/" .. name .. found[i]
      self.classes[n] = label
    end
  end
  if o.verbose then
    print(("Found %d images belonging to %d classes."):format(#self.filenames, #names))
  end
  self:_start(generator, o, #self.filenames, file_source(o, self.filepaths))
end

-- ---- tables ----

local frame_args = check.args("flow_from_dataframe", rows({ "dataframe", "table", check.required,
  "columns by name, or a list of rows" },
  { "directory", "string", nil, "what the names are relative to" },
    { "x_col", "string", "filename", "column of the files" },
  { "y_col", { "string", "list" }, "class", "column of the targets; a list for multi_output" },
    { "weight_col", "string", nil, "column of weights" },
  "target_size", "color_mode", "classes",
    { "class_mode", "enum", "categorical", "kind of y; none: no y",
      of = "categorical|binary|sparse|input|raw|multi_output", none = true }, "batch_size",
      "shuffle", "seed", "save_to_dir", "save_prefix",
  "save_format", "subset", "interpolation",
    { "validate_filenames", "bool", true, "leave out names that are no picture files" },
  "keep_aspect_ratio"), { named = reading })
frame_args.rows[1].dict = true

local DataFrameIterator = class.new("DataFrameIterator", Iterator)
M.DataFrameIterator = DataFrameIterator
DataFrameIterator._where = "flow_from_dataframe"

local function column(frame, name)
  local c = frame[name]
  if c == nil and frame[1] ~= nil then
    c = {}
    for i, row in ipairs(frame) do
      c[i] = row[name]
      if c[i] == nil then
        errors.raise("flow_from_dataframe", "row %d has no '%s'", i, name)
      end
    end
  end
  if core.is_tensor(c) then
    c = c:tolist()
  end
  if type(c) ~= "table" then
    errors.raise("flow_from_dataframe", "there is no column '%s'", name)
  end
  return c
end

local function sorted_classes(labels)
  local seen, out = {}, {}
  for _, v in ipairs(labels) do
    for _, name in ipairs(type(v) == "table" and v or { v }) do
      if not seen[name] then
        seen[name] = true
        out[#out + 1] = name
      end
    end
  end
  table.sort(out)
  return out
end

local function select_rows(c, keep)
  local out = {}
  for i, k in ipairs(keep) do
    out[i] = c[k]
  end
  return out
end

--- See ImageDataGenerator:flow_from_dataframe.
function DataFrameIterator:_init(generator, ...)
  local o = frame_args:call(...)
  local where, mode = self._where, o.class_mode
  self.directory, self.class_mode = o.directory or "", mode
  self.target_size, self.color_mode, self.subset = o.target_size, o.color_mode, o.subset
  local names = column(o.dataframe, o.x_col)
  local prefix = o.directory and o.directory .. "/" or ""
  local keep, invalid = {}, 0
  for i, name in ipairs(names) do
    if type(name) ~= "string" then
      errors.raise(where, "column '%s' must hold names of files, row %d is %s", o.x_col, i,
        check.show(name))
    end
    local full = name:sub(1, 1) == "/" and name or prefix .. name
    if not o.validate_filenames
      or (listing.ends(name, listing.generator) and listing.is_file(full)) then
      keep[#keep + 1] = i
    else
      invalid = invalid + 1
    end
  end
  if invalid > 0 then
    errors.warn("flow_from_dataframe: %d names in column '%s' are no picture files; they are left \z
      out", invalid, o.x_col)
  end
  local by_class = mode == "categorical" or mode == "binary" or mode == "sparse"
  local labels
  if by_class then
    if type(o.y_col) ~= "string" then
      errors.raise(where, "y_col must be one name with class_mode = \"%s\"", mode)
    end
    labels = column(o.dataframe, o.y_col)
    local classes = o.classes or sorted_classes(select_rows(labels, keep))
    set_classes(self, classes, where)
    local kept = {}
    self.classes = list.new {}
    for _, i in ipairs(keep) do
      local v, label = labels[i], nil
      if type(v) == "string" then
        label = self.class_indices[v]
      elseif type(v) == "table" and mode == "categorical" then
        label = {}
        for _, name in ipairs(v) do
          label[#label + 1] = self.class_indices[name]
        end
        label = #label > 0 and label or nil
      else
        errors.raise(where, "column '%s' must hold names of classes%s, row %d is %s", o.y_col,
          mode == "categorical"
          and " or lists of them" or "",
          i, check.show(v))
      end
      if label then
        kept[#kept + 1] = i
        self.classes[#kept] = label
      end
    end
    keep = kept
  end
  local first, last = part(generator, o.subset, #keep)
  keep = table.move(keep, first, last, 1, {})
  if by_class then
    self.classes = list.new(table.move(self.classes, first, last, 1, {}))
  end
  self.filenames, self.filepaths = list.new(select_rows(names, keep)), list.new {}
  for i, name in ipairs(self.filenames) do
    self.filepaths[i] = name:sub(1, 1) == "/" and name or prefix .. name
  end
  if mode == "raw" or mode == "multi_output" then
    local columns = type(o.y_col) == "table" and o.y_col or { o.y_col }
    if mode == "multi_output" and type(o.y_col) ~= "table" then
      errors.raise(
        where, "y_col must be a list of names with class_mode = \"multi_output\" (got %s)",
        check.show(o.y_col))
    end
    self._targets = {}
    for k, name in ipairs(columns) do
      self._targets[k] = core.tensor(select_rows(column(o.dataframe, name), keep))
    end
    if mode == "raw" then
      self._targets = #columns == 1 and self._targets[1] or ops.stack(self._targets, { axis = 2 })
    end
  end
  if o.weight_col then
    self._weights = core.tensor(
      select_rows(column(o.dataframe, o.weight_col), keep), { dtype = "float32" })
  end
  if o.verbose then
    print(("Found %d %svalidated image filenames%s."):format(#keep,
      o.validate_filenames and "" or "non-",
        by_class and (" belonging to %d classes"):format(self.num_classes) or ""))
  end
  self:_start(generator, o, #keep, file_source(o, self.filepaths))
end

-- ---- memory ----

local flow_args = check.args("flow", rows({ "x", "any", check.required,
  "pictures, 4 axes; { x, others } carries further inputs along" },
  { "y", "any", nil, "targets" }, "batch_size", "shuffle",
    { "sample_weight", "any", nil, "weights" }, "seed", "save_to_dir", "save_prefix",
  "save_format", { "ignore_class_split", "bool", false, "subsets may differ in their classes" },
    "subset"), { named = threads })

local ArrayIterator = class.new("ArrayIterator", Iterator)
M.ArrayIterator = ArrayIterator
ArrayIterator._where = "flow"

local function distinct(t)
  local seen, n, v = {}, 0, t:tolist()
  for _, x in ipairs(v) do
    x = type(x) == "table" and list.format(x) or x
    if not seen[x] then
      seen[x], n = true, n + 1
    end
  end
  return seen, n
end

--- See ImageDataGenerator:flow.
function ArrayIterator:_init(generator, ...)
  local o = flow_args:call(...)
  local x, extra = o.x, {}
  if type(x) == "table" and core.is_tensor(x[1]) then
    local others = core.is_tensor(x[2]) and { table.unpack(x, 2) } or x[2] or {}
    extra = table.move(others, 1, #others, 1, {}) -- a person's list stays as it is
    x = x[1]
  end
  if not core.is_tensor(x) then
    x = core.tensor(x)
  end
  if x.ndim ~= 4 then
    errors.raise("flow", "x needs 4 axes, pictures first (got %s)", tostring(x.shape))
  end
  local function beside(t, what)
    if t == nil then
      return nil
    end
    t = core.is_tensor(t) and t or core.tensor(t)
    if t.ndim == 0 or t.shape[1] ~= x.shape[1] then
      errors.raise("flow", "x and %s must have the same length (x %s, %s %s)", what,
        tostring(x.shape), what, tostring(t.shape))
    end
    return t
  end
  local y, w = beside(o.y, "y"), beside(o.sample_weight, "sample_weight")
  for i, t in ipairs(extra) do
    extra[i] = beside(t, "a further input")
  end
  if o.subset then
    local n = x.shape[1]
    local at = math.floor(generator.validation_split * n)
    if y and not o.ignore_class_split and at > 0 and at < n then
      local a, na = distinct(y[{ { 1, at } }])
      local b, nb = distinct(y[{ { at + 1, n } }])
      for k in pairs(a) do
        if not b[k] then
          nb = -1
        end
      end
      if na ~= nb then
        errors.raise("flow",
          "the training and the validation part hold different classes; shuffle the data, or \z
            ignore_class_split = true")
      end
    end
    local first, last = part(generator, o.subset, n)
    if first > last then
      errors.raise("flow", "validation_split = %s of %d pictures leaves the %s part empty",
        generator.validation_split, n, o.subset)
    end
    local function cut(t)
      return t and t[{ { first, last } }]
    end
    x, y, w = cut(x), cut(y), cut(w)
    for i, t in ipairs(extra) do
      extra[i] = cut(t)
    end
  end
  x = files.floats(x)
  if generator.data_format == "channels_first" then
    x = files.to_last(x)
  end
  local c = x.shape[4]
  if c ~= 1 and c ~= 3 and c ~= 4 then
    errors.warn("flow: pictures have 1, 3 or 4 channels as a rule (%s says %d)",
      generator.data_format, c)
  end
  self.x, self.y, self._weights, self._extra = x, y, w, extra
  self:_start(generator, o, x.shape[1], { data = x, height = x.shape[2], width = x.shape[3],
    channels = c })
end

function ArrayIterator:_batch(x, ids)
  if #self._extra > 0 then
    x = { x }
    for i, t in ipairs(self._extra) do
      x[i + 1] = picked(t, ids)
    end
  end
  local y = self.y and picked(self.y, ids)
  if y and self._weights then
    return x, y, picked(self._weights, ids)
  end
  return x, y
end

return M

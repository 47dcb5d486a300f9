--- The iterators behind ImageDataGenerator's flow functions.
--
-- A batch is made by the core's worker threads while the step before it runs. `iter()` is one pass
-- over the data (what fit takes), and so is `for x, y in it do`; `next()` goes round and round,
-- `get(i)` is the i-th batch of this pass. Passes are numbered; the order of a pass and the
-- transformations in it depend on (seed, pass, sample) only, not on the number of workers.
---
---     local gen = tide.preprocessing.image.ImageDataGenerator { rescale = 1 / 255 }
---     local it = gen:flow(tide.ones { 4, 8, 8, 3 }, { batch_size = 2 })
---     #it   --> 2
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.preprocessing.image.files"
local list = require "tide.list"
local listing = require "tide.preprocessing.image.listing"
local ops = require "tide.ops"
local transforms = require "tide.preprocessing.image.transforms"

local image = core.image
local M = {}

local PREFETCH_BYTES = 256 << 20 -- of batches made ahead

local Iterator = class.new("Iterator")
M.Iterator = Iterator
Iterator._closes = true -- fit closes it when it ends

-- tf.data's transformations, which give a Dataset of the batches.
local changed = {}
for name in ([[map flat_map interleave filter take_while scan reduce apply shuffle rep repeat take
  skip shard enumerate unique ignore_errors prefetch cache snapshot batch unbatch rebatch window
  concatenate with_options save as_list]]):gmatch "%S+" do
  changed[name] = function(self, ...)
    local ds = require("tide").data.Dataset.from_generator(self)
    return ds[name](ds, ...)
  end
end
Iterator._foreign = changed
class.properties(Iterator, {})

-- What every iterator shares. `o`: checked arguments, `source`: paths or data with height, width,
-- channels, as the loader takes them.
function Iterator:_start(generator, o, n, source)
  self.image_data_generator = generator
  self.n, self.samples = n, n
  self.batch_size, self.shuffle, self.seed = o.batch_size, o.shuffle, o.seed
  self.data_format, self.dtype = generator.data_format, generator.dtype
  self.save_to_dir, self.save_prefix, self.save_format = o.save_to_dir, o.save_prefix or "",
    o.save_format
  self.on_error = o.on_error or "raise"
  self.total_batches_seen, self.batch_index = 0, 0
  self.skipped, self.bad_files, self.waited = 0, {}, 0
  self._seed = transforms.draw_seed(o.seed)
  self._epoch = 0
  self._touched = false
  self._source = source
  self._pending = {}
  local h, w, c = source.height, source.width, source.channels
  self.image_shape = list.new(self.data_format == "channels_first" and { c, h, w } or { h, w, c })
  self._workers = o.workers or math.max(1, math.min(16, core.get_threads()))
  self._ahead = o.prefetch
    or math.max(1, math.min(4, PREFETCH_BYTES // math.max(1, h * w * c * 4 * o.batch_size)))
end

--- Number of batches of a pass; the last may be smaller.
function Iterator:__len()
  return (self.n + self.batch_size - 1) // self.batch_size
end

function Iterator:__tostring()
  return ("%s: %d pictures %s, %d batches of %d"):format(
    self.__name, self.n, tostring(self.image_shape), #self, self.batch_size)
end

-- `it()` is the next batch; the calls of a generic for, which bring the batch before, are one pass.
function Iterator:__call(...)
  if select("#", ...) == 0 then
    return self:next()
  end
  if select(2, ...) == nil then
    self._walk = self:iter()
  end
  return self._walk()
end

-- The loader, made anew when the generator was fitted since.
function Iterator:_loader()
  local g = self.image_data_generator
  if not self._load or self._load_of ~= g._fitted then
    self._pending = {}
    local in_c = not g.preprocessing_function and not g.zca_whitening
    local s = { workers = self._workers, standardize = in_c,
      channels_first = in_c and self.data_format == "channels_first" }
    for k, v in pairs(self._source) do -- the core reads the table itself, no metatable
      s[k] = v
    end
    self._load, self._load_of, self._in_c = image.loader(in_c and g:_stats() or g, s), g._fitted,
      in_c
  end
  return self._load
end

function Iterator:_order()
  if self._order_of ~= self._epoch then
    self._order_of = self._epoch
    if self.shuffle then
      self._indices = image.permutation(self.n, self._seed, self._epoch)
    elseif not self._indices then
      self._indices = {}
      for i = 1, self.n do
        self._indices[i] = i
      end
    end
  end
  return self._indices
end

-- Starts batch i of this pass, unless it runs already.
function Iterator:_submit(i)
  local key, loader = self._epoch << 32 | i, self:_loader()
  if not self._pending[key] then
    local order, ids = self:_order(), {}
    for k = (i - 1) * self.batch_size + 1, math.min(i * self.batch_size, self.n) do
      ids[#ids + 1] = order[k]
    end
    self._pending[key] = { batch = loader:submit(ids, self._seed, self._epoch), ids = ids }
  end
  return key
end

-- Takes bad samples out of a batch, or raises.
function Iterator:_without(x, ids, bad)
  local paths = self._source.paths
  local name = function(k)
    return paths and paths[ids[k]] or ("sample " .. ids[k])
  end
  if self.on_error == "raise" then
    errors.raise(self._where, "%s: %s%s", name(bad[1][1]), bad[1][2],
      paths and "; on_error = \"skip\" leaves such files out and counts them" or "")
  end
  local out = {}
  for _, b in ipairs(bad) do
    out[b[1]] = true
    self.skipped = self.skipped + 1
    self.bad_files[name(b[1])] = b[2]
  end
  local keep, kept = {}, {}
  for k = 1, #ids do
    if not out[k] then
      keep[#keep + 1], kept[#kept + 1] = k, ids[k]
    end
  end
  if #keep == 0 then
    errors.raise(self._where, "no picture of a batch of %d could be read; the first was %s: %s",
      #ids, name(bad[1][1]), bad[1][2])
  end
  return ops.take(x, core.tensor(keep, { dtype = "int64" }), { axis = 1 }), kept
end

local function save(self, x, ids)
  for k = 1, #ids do
    local hash = image.sample_seed(self._seed, self._epoch, ids[k] + (1 << 40)) % 10000000
    files.save_img(("%s/%s_%d_%d.%s"):format(self.save_to_dir, self.save_prefix, ids[k], hash,
      self.save_format), x[k], { data_format = self.data_format })
  end
end

--- Batch i (from 1) of this pass: x, y, sample_weight, as far as there are any.
--- @usage local x, y = it:get(1)
function Iterator:get(i)
  local at, n = math.tointeger(i), #self
  if not at or at < 1 or at > n then
    errors.raise(self._where, "there is no batch %s (1 to %d)", tostring(i), n)
  end
  self._touched = true
  local key = self:_submit(at)
  for ahead = at + 1, math.min(at + self._ahead, n) do
    self:_submit(ahead)
  end
  local job = self._pending[key]
  self._pending[key] = nil
  for k in pairs(self._pending) do -- what nobody asked for any more
    if k < key or k > key + self._ahead then
      self._pending[k] = nil
    end
  end
  local start = core.now()
  local x, bad = job.batch:wait()
  self.waited = self.waited + core.now() - start
  local ids = job.ids
  if bad then
    x, ids = self:_without(x, ids, bad)
  end
  if not self._in_c then
    x = self.image_data_generator:_finish(x)
  end
  if self.dtype ~= "float32" then
    x = ops.cast(x, self.dtype)
  end
  self.total_batches_seen = self.total_batches_seen + 1
  if self.save_to_dir then
    save(self, x, ids)
  end
  return self:_batch(x, ids)
end

--- The next batch, for ever; a new pass begins after the last.
function Iterator:next()
  local i = self.batch_index + 1
  self._restored = nil
  if i == 1 and self._touched then
    self:on_epoch_end()
  end
  self.batch_index = i == #self and 0 or i
  return self:get(i)
end

--- Ends this pass: the next one has another order and other transformations.
function Iterator:on_epoch_end()
  self._epoch = self._epoch + 1
  self._touched = false
  self._pending = {}
end

--- Back to the first batch, of a new pass if this one has begun.
function Iterator:reset()
  self.batch_index = 0
  if self._touched then
    self:on_epoch_end()
  end
end

--- Where the iterator is, as plain data: seed, pass and the batches of it that are done.
function Iterator:state()
  return { seed = self._seed, pass = self._epoch, batch = self.batch_index,
    touched = self._touched }
end

--- Goes where `state` said: `next()` and `iter()` go on with the batch that followed.
function Iterator:restore(s)
  if type(s) ~= "table" or math.type(s.pass) ~= "integer" or math.type(s.batch) ~= "integer"
    or math.type(s.seed) ~= "integer" then
    errors.raise(self._where, "restore takes what state() gave (got %s)", check.show(s))
  end
  self._seed, self._epoch, self.batch_index, self._touched = s.seed, s.pass, s.batch, s.touched
  self._pending, self._order_of = {}, nil
  self._restored = s.batch > 0
end

--- One pass: `for x, y in it:iter() do ... end`. After `restore` what is left of the pass.
function Iterator:iter()
  local i = self._restored and self.batch_index or 0
  if not self._restored then
    self:reset()
  end
  self._restored = nil
  return function()
    if i >= #self then
      return nil
    end
    i = i + 1
    self.batch_index = i == #self and 0 or i
    return self:get(i)
  end
end

--- Stops the worker threads; the iterator can be used again.
function Iterator:close()
  if self._load then
    self._load:close()
    self._load, self._pending = nil, {}
  end
end

Iterator.__close = Iterator.close

local function picked(t, ids)
  return ops.take(t, core.tensor(ids, { dtype = "int64" }), { axis = 1 })
end

-- y of a batch by class_mode; `classes` are labels from 1, or lists of them.
local function targets(self, x, ids)
  local mode = self.class_mode
  if mode == "input" then
    return ops.copy(x)
  elseif mode == "binary" or mode == "sparse" then
    local out = {}
    for k, i in ipairs(ids) do
      out[k] = mode == "binary" and self.classes[i] - 1 or self.classes[i]
    end
    return core.tensor(out, { dtype = mode == "binary" and "float32" or "int64" })
  elseif mode == "categorical" then
    local out = {}
    for k, i in ipairs(ids) do
      local row = {}
      for c = 1, self.num_classes do
        row[c] = 0
      end
      local label = self.classes[i]
      for _, c in ipairs(type(label) == "table" and label or { label }) do
        row[c] = 1
      end
      out[k] = row
    end
    return core.tensor(out, { dtype = "float32" })
  elseif mode == "raw" then
    return picked(self._targets, ids)
  elseif mode == "multi_output" then
    local out = {}
    for k, t in ipairs(self._targets) do
      out[k] = picked(t, ids)
    end
    return out
  end
end

function Iterator:_batch(x, ids)
  local y = targets(self, x, ids)
  if y ~= nil and self._weights then
    return x, y, picked(self._weights, ids)
  end
  return x, y
end

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

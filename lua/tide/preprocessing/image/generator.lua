--- ImageDataGenerator: draws transformations of pictures and standardizes them, batch by batch,
--- ahead of the training step.
---
---     local gen = tide.preprocessing.image.ImageDataGenerator {
---       rescale = 1 / 255, zoom_range = 0.2, horizontal_flip = true }
---     #gen:flow(tide.ones { 4, 8, 8, 3 }, { batch_size = 2 })   --> 2
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.preprocessing.image.files"
local ops = require "tide.ops"
local transforms = require "tide.preprocessing.image.transforms"

local image = core.image
local M = {}

local args = check.args("ImageDataGenerator", {
  { "featurewise_center", "bool", false, "subtract the data's mean per channel (needs fit)" },
  { "samplewise_center", "bool", false, "subtract each picture's mean" },
  { "featurewise_std_normalization", "bool", false,
    "divide by the data's deviation per channel (needs fit)" },
  { "samplewise_std_normalization", "bool", false, "divide by each picture's deviation" },
  { "zca_whitening", "bool", false, "whiten (needs fit)" },
  { "zca_epsilon", "number", 1e-6, "added to the singular values" },
  { "rotation_range", "number", 0, "degrees, either way" },
  { "width_shift_range", { "number", "list" }, 0.0,
    "below 1 a fraction; a float a range of pixels; an integer or list a choice" },
  { "height_shift_range", { "number", "list" }, 0.0, "as width_shift_range" },
  { "brightness_range", "list", nil, "{ low, high }" },
  { "shear_range", "number", 0.0, "degrees, either way" },
  { "zoom_range", { "number", "list" }, 0.0, "z for { 1 - z, 1 + z }, or { low, high }" },
  { "channel_shift_range", "number", 0.0, "either way" },
  { "fill_mode", "enum", "nearest", "what lies outside", of = "nearest|constant|reflect|wrap" },
  { "cval", "number", 0.0, "value outside with fill_mode = \"constant\"" },
  { "horizontal_flip", "bool", false, "mirror half of the pictures" },
  { "vertical_flip", "bool", false, "turn half of the pictures upside down" },
  { "rescale", "number", nil, "factor of all values" },
  { "preprocessing_function", "function", nil,
    "of one picture, after the transformation, before rescale" },
  { "data_format", "enum", "channels_last", "order of the axes",
    of = "channels_last|channels_first" },
  { "validation_split", "number", 0.0, "share of each class kept for subset = \"validation\"",
    min = 0, max = 1 },
  { "interpolation_order", "int", 1, "of the spline: 0 nearest, 1 linear, to 5", min = 0, max = 5 },
  { "dtype", "dtype", "float32", "of the batches" },
})
M.args = args

local Generator = class.new("ImageDataGenerator")
M.ImageDataGenerator = Generator

local function pair(owner, name, v)
  if #v ~= 2 or type(v[1]) ~= "number" or type(v[2]) ~= "number" then
    errors.raise(owner, "%s must be two numbers { low, high } (got %s)", name, check.show(v))
  end
  return { v[1], v[2] }
end

local function warn(fmt, ...)
  errors.warn("ImageDataGenerator: " .. fmt, ...)
end

--- Random transformations and standardization of pictures. Takes Keras' 23 arguments.
---
--- Each picture is transformed by one affine map (rotation, shift, shear, zoom about the centre;
--- one resample), shifted in its channels, flipped, brightened; then preprocessing_function,
--- rescale, samplewise and featurewise standardization, ZCA. What a picture gets depends on the
--- seed, the epoch and its number only. Keras: ImageDataGenerator.
--- @usage local gen = tide.preprocessing.image.ImageDataGenerator { rescale = 1 / 255, zoom_range =
---   0.2, horizontal_flip = true }
function Generator:_init(...)
  local o = args:construct(...)
  for k, v in pairs(o) do
    self[k] = v
  end
  for _, name in ipairs { "width_shift_range", "height_shift_range" } do
    local v = o[name]
    for _, x in ipairs(type(v) == "table" and v or {}) do
      if type(x) ~= "number" then
        errors.raise("ImageDataGenerator", "%s must hold numbers (got %s)", name, check.show(x))
      end
    end
    if type(v) == "number" and v < 0 then
      errors.raise("ImageDataGenerator", "%s must not be negative (got %s)", name, v)
    end
  end
  if type(o.zoom_range) == "number" then
    self.zoom_range = { 1 - o.zoom_range, 1 + o.zoom_range }
  else
    self.zoom_range = pair("ImageDataGenerator", "zoom_range", o.zoom_range)
  end
  if o.brightness_range then
    self.brightness_range = pair("ImageDataGenerator", "brightness_range", o.brightness_range)
  end
  if o.validation_split >= 1 then
    errors.raise("ImageDataGenerator", "validation_split must lie between 0 and 1 (got %s)",
      o.validation_split)
  end
  if self.zca_whitening then
    if not self.featurewise_center then
      self.featurewise_center = true
      warn "zca_whitening sets featurewise_center"
    end
    if self.featurewise_std_normalization then
      self.featurewise_std_normalization = false
      warn "zca_whitening unsets featurewise_std_normalization"
    end
  end
  if self.featurewise_std_normalization and not self.featurewise_center then
    self.featurewise_center = true
    warn "featurewise_std_normalization sets featurewise_center"
  end
  if self.samplewise_std_normalization and not self.samplewise_center then
    self.samplewise_center = true
    warn "samplewise_std_normalization sets samplewise_center"
  end
  self._fitted = 0
end

function Generator:__tostring()
  local out = {}
  for _, row in ipairs(args.rows) do
    local name, v = row[1], self[row[1]]
    local default = row[3]
    if name == "zoom_range" then
      default = nil
      v = (v[1] ~= 1 or v[2] ~= 1) and v or nil
    end
    if v ~= nil and v ~= default
      and not (type(v) == "number" and type(default) == "number" and v == default) then
      out[#out + 1] = name .. " = " .. check.show(v)
    end
  end
  return "ImageDataGenerator { " .. table.concat(out, ", ") .. " }"
end

local function as_last(self, x)
  x = files.floats(x)
  return self.data_format == "channels_first" and files.to_last(x) or x
end

local function as_given(self, x)
  return self.data_format == "channels_first" and files.to_first(x) or x
end

--- Draws the parameters of a transformation: theta, tx, ty, shear, zx, zy, flip_horizontal,
--- flip_vertical, channel_shift_intensity, brightness (the last two only if their ranges are set).
--- @param img_shape table shape of the picture, in the generator's data_format
--- @param seed integer|nil repeats a draw; else from Tide's generator
--- @usage local p = gen:get_random_transform({ 32, 32, 3 }, 7)
function Generator:get_random_transform(img_shape, seed)
  if type(seed) == "table" then
    seed = seed.seed
  end
  local first = self.data_format == "channels_first"
  local h, w = img_shape[first and 2 or 1], img_shape[first and 3 or 2]
  return image.draw(self, h, w, transforms.draw_seed(seed))
end

--- Applies a drawn or hand-made transformation to one picture; parameters that are left out change
--- nothing.
--- @param x userdata one picture, three axes, in the generator's data_format
--- @param transform_parameters table as get_random_transform gives it
--- @return userdata float32, of the same shape
--- @usage local y = gen:apply_transform(x, { theta = 30, flip_horizontal = true })
function Generator:apply_transform(x, transform_parameters)
  x = as_last(self, x)
  if x.ndim ~= 3 then
    errors.raise("apply_transform", "x is one picture with 3 axes (got %s)", tostring(x.shape))
  end
  check.refuse_unknown("apply_transform", transform_parameters, {
    "theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical",
    "channel_shift_intensity", "brightness" }, "parameter")
  return as_given(self, image.transform(self, transform_parameters, x))
end

--- Transforms one picture at random.
--- @usage local y = gen:random_transform(x, 7)
function Generator:random_transform(x, seed)
  x = core.is_tensor(x) and x or core.tensor(x)
  return self:apply_transform(x, self:get_random_transform(x.shape, seed))
end

-- Statistics that a standardization needs and that fit has not made: said once, then left out, as
-- in Keras.
function Generator:_stats()
  local out = {}
  for k, v in pairs(self) do -- the core reads the table itself, no metatable
    out[k] = v
  end
  local function want(wanted, name)
    if not wanted then
      out[name] = false
    elseif not self[name] and not self._warned then
      warn("%s is set, but fit was not called; it is left out",
        name == "mean" and "featurewise_center"
        or "featurewise_std_normalization")
      self._warned = true
    end
  end
  want(self.featurewise_center, "mean")
  want(self.featurewise_std_normalization, "std")
  return out
end

-- preprocessing_function and all after it, on a batch (n, h, w, c) that is owned; the result is in
-- the data_format.
function Generator:_finish(x)
  local f, first = self.preprocessing_function, self.data_format == "channels_first"
  if f then
    for i = 1, #x do
      local sample = x[i]
      local y = f(first and files.to_first(sample) or sample)
      if not core.is_tensor(y) then
        errors.raise("preprocessing_function", "must return a picture (got %s)", check.show(y))
      end
      x[i] = first and files.to_last(y) or y
    end
  end
  image.standardize(self:_stats(), x)
  if first then
    x = files.to_first(x)
  end
  if self.zca_whitening then
    if self.zca_whitening_matrix then
      local shape = x.shape
      x = ops.reshape(ops.matmul(ops.reshape(x, { shape[1], -1 }), self.zca_whitening_matrix),
        shape)
    elseif not self._warned then
      warn "zca_whitening is set, but fit was not called; it is left out"
      self._warned = true
    end
  end
  return x
end

--- Standardizes a picture or a batch: preprocessing_function, rescale, samplewise, featurewise,
--- ZCA. Returns a new tensor (Keras changes its argument). Samplewise means are those of the whole
--- argument if it is one picture, else of each.
--- @usage local y = gen:standardize(x)
function Generator:standardize(x)
  x = files.floats(x)
  local single = x.ndim == 3
  if not single and x.ndim ~= 4 then
    errors.raise("standardize", "a picture has 3 axes, a batch 4 (got %s)", tostring(x.shape))
  end
  if single then
    x = ops.reshape(x, { 1, x.shape[1], x.shape[2], x.shape[3] })
  end
  x = self.data_format == "channels_first" and files.to_last(x) or ops.copy(x)
  local y = self:_finish(x)
  return single and y[1] or y
end

local fit_args = check.args("ImageDataGenerator.fit", {
  { "x", "tensor", check.required, "pictures, 4 axes" },
  { "augment", "bool", false, "on randomly transformed pictures" },
  { "rounds", "int", 1, "passes over the data with augment", min = 1 },
  { "seed", "int", nil, "repeats the draws" },
})

-- U diag(sqrt(n) / (s + epsilon)) U' of the singular values s and vectors U of x' (x is (n, d)), by
-- way of the eigenvalues of the smaller of x'x and xx'. Directions without any variance are left
-- out; where Keras has them, they are rounding errors.
local function whitening(x, epsilon)
  local n, d = x.shape[1], x.shape[2]
  x = ops.cast(x, "float64")
  local turned = ops.transpose(x)
  local tall = n >= d
  local values, u = ops.eigh(tall and ops.matmul(turned, x) or ops.matmul(x, turned))
  local s = ops.sqrt(ops.maximum(values, 0))
  local w = ops.sqrt(n ^ 0.5 / (s + epsilon))
  if not tall then
    u, w = ops.matmul(turned, u), w / s
  end
  u = u * ops.where(ops.greater(s, ops.max(s) * 1e-6), w, 0)
  return ops.cast(ops.matmul(u, ops.transpose(u)), "float32")
end

--- Computes what featurewise_center, featurewise_std_normalization and zca_whitening need: fields
--- mean, std and zca_whitening_matrix. rescale is applied first.
--- @usage gen:fit(x_train)
function Generator:fit(...)
  local o = fit_args:call(...)
  local x = core.is_tensor(o.x) and o.x or core.tensor(o.x)
  if x.ndim ~= 4 then
    errors.raise("ImageDataGenerator.fit", "x needs 4 axes, pictures first (got %s)",
      tostring(x.shape))
  end
  x = as_last(self, x)
  if self.rescale then
    x = x * self.rescale
  end
  if o.augment then
    local all = {}
    local seed = transforms.draw_seed(o.seed)
    for r = 1, o.rounds do
      for i = 1, #x do
        local p = image.draw(self, x.shape[2], x.shape[3], image.sample_seed(seed, r - 1, i - 1))
        all[#all + 1] = image.transform(self, p, ops.copy(x[i]))
      end
    end
    x = ops.stack(all, { axis = 1 })
  end
  local n, c = x.size // x.shape[4], x.shape[4]
  local first = self.data_format == "channels_first"
  local shape = first and { c, 1, 1 } or { 1, 1, c }
  if self.featurewise_center then
    local centre = ops.sum(x, { axis = { 1, 2, 3 } }) / n
    self.mean = ops.reshape(centre, shape)
    x = x - centre
  end
  if self.featurewise_std_normalization then
    local m = ops.sum(x, { axis = { 1, 2, 3 } }) / n
    local d = x - m
    local std = ops.sqrt(ops.sum(d * d, { axis = { 1, 2, 3 } }) / n)
    self.std = ops.reshape(std, shape)
    x = x / (std + 1e-6)
  end
  if self.zca_whitening then
    if first then
      x = files.to_first(x)
    end
    self.zca_whitening_matrix = whitening(ops.reshape(x, { x.shape[1], -1 }), self.zca_epsilon)
  end
  self._fitted, self._warned = self._fitted + 1, nil
  return self
end

local function iterator(name, class_name)
  Generator[name] = function(self, ...)
    return require("tide.preprocessing.image.iterators")[class_name](self, ...)
  end
end

--- Batches of pictures in memory: x, then y and sample_weight where given.
--- Arguments: x, y, batch_size = 32, shuffle = true, sample_weight, seed, save_to_dir, save_prefix,
--- save_format = "png", ignore_class_split = false, subset; and Tide's workers, prefetch.
--- @usage for x, y in gen:flow(x_train, y_train, { batch_size = 64 }):iter() do print(x.shape,
---   y.shape) end
iterator("flow", "ArrayIterator")

--- Batches of the pictures in the folders of a folder, one folder per class.
--- Arguments: directory, target_size = { 256, 256 }, color_mode = "rgb", classes, class_mode =
--- "categorical" ("binary", "sparse", "input", none), batch_size = 32, shuffle = true, seed,
--- save_to_dir, save_prefix, save_format = "png", follow_links = false, subset, interpolation =
--- "nearest", keep_aspect_ratio = false; and Tide's on_error = "raise" or "skip", workers,
--- prefetch, upright, max_pixels, verbose. Sparse labels count from 1; binary targets are 0 and 1.
--- @usage local train = gen:flow_from_directory("data/train", { target_size = { 150, 150 },
---   class_mode = "binary" })
iterator("flow_from_directory", "DirectoryIterator")

--- Batches of pictures named by a table: columns ({ filename = {...}, class = {...} }) or rows ({ {
--- filename = ..., class = ... } }).
--- Arguments: dataframe, directory, x_col = "filename", y_col = "class", weight_col, target_size =
--- { 256, 256 }, color_mode, classes, class_mode ("raw" and "multi_output" too), batch_size,
--- shuffle, seed, save_to_dir, save_prefix, save_format, subset, interpolation, validate_filenames
--- = true; and Tide's as in flow_from_directory.
--- @usage local it = gen:flow_from_dataframe({ filename = { "a.png" }, class = { "cat" } }, "data")
iterator("flow_from_dataframe", "DataFrameIterator")

return M

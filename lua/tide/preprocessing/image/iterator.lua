--- What the iterators of pictures share: passes over samples, batches that worker threads make
--- ahead of the step, a place that can be kept.
--
-- `iter()` is one pass over the data (what fit takes), and so is `for x, y in it do`; `next()` goes
-- round and round, `get(i)` is the i-th batch of this pass. Passes are numbered; the order of a
-- pass and the transformations in it depend on (seed, pass, sample) only, not on the number of
-- workers.
---
---     local gen = tide.preprocessing.image.ImageDataGenerator { rescale = 1 / 255 }
---     local it = gen:flow(tide.ones { 4, 8, 8, 3 }, { batch_size = 2 })
---     #it   --> 2
local ahead = require "tide.ahead"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.preprocessing.image.files"
local list = require "tide.list"
local ops = require "tide.ops"
local transforms = require "tide.preprocessing.image.transforms"

local image = core.image

local PREFETCH_BYTES = 256 << 20 -- of batches made ahead

local Iterator = class.new("Iterator")
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
  self._pending, self._orders = {}, {}
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

-- The samples of a pass in their order; those of this pass and of the next one are kept.
function Iterator:_order(epoch)
  local orders = self._orders
  if not orders[epoch] then
    for e in pairs(orders) do
      orders[e] = e == self._epoch and orders[e] or nil
    end
    local order = self._unmixed
    if self.shuffle then
      order = image.permutation(self.n, self._seed, epoch)
    elseif not order then
      order = {}
      for i = 1, self.n do
        order[i] = i
      end
      self._unmixed = order
    end
    orders[epoch] = order
  end
  return orders[epoch]
end

-- Starts batch i of this pass, unless it runs already; beyond the last those of the next one.
function Iterator:_submit(i)
  local epoch, n = self._epoch, #self
  if i > n then
    epoch, i = epoch + 1, i - n
  end
  local key, loader = epoch << 32 | i, self:_loader()
  if not self._pending[key] then
    local order, ids = self:_order(epoch), {}
    for k = (i - 1) * self.batch_size + 1, math.min(i * self.batch_size, self.n) do
      ids[#ids + 1] = order[k]
    end
    self._pending[key] = { batch = loader:submit(ids, self._seed, epoch), ids = ids }
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
  local key, wanted = self:_submit(at), {}
  for follows = at + 1, math.min(at + self._ahead, self._another and at + n or n) do
    wanted[self:_submit(follows)] = true
  end
  local job = self._pending[key]
  for k in pairs(self._pending) do -- what nobody asked for any more
    self._pending[k] = wanted[k] and self._pending[k] or nil
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
  self._touched, self._another = false, false
  for k in pairs(self._pending) do -- this pass may have begun already
    self._pending[k] = k >> 32 == self._epoch and self._pending[k] or nil
  end
end

--- Says that another pass will follow this one: its first batches are begun behind the last ones of
--- this pass.
function Iterator:another()
  self._another = true
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
  self._pending, self._orders = {}, {}
  self._another, self._restored = false, s.batch > 0
end

--- One pass: `for x, y in it:iter() do ... end`. After `restore` what is left of the pass.
function Iterator:iter()
  local i = self._restored and self.batch_index or 0
  if not self._restored then
    self:reset()
  end
  self._restored = nil
  local function step()
    if i >= #self then
      return nil
    end
    i = i + 1
    self.batch_index = i == #self and 0 or i
    return self:get(i)
  end
  return step, nil, nil, ahead.closing(self, function()
    return i >= #self
  end)
end

--- Stops the worker threads; the iterator can be used again.
function Iterator:close()
  if self._load then
    self._load:close()
    self._load, self._pending = nil, {}
  end
  self._another = false
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

Iterator._picked = picked

return Iterator

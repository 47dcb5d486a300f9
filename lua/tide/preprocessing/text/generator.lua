--- TextGenerator: batches of text for fit, from folders, files, tables and lists. Texts become ids
--- by any tokenizer; what comes out are padded rows with their classes, or windows of running text
--- with the same text one step further, for models that say the next word.
---
---     local g = tide.preprocessing.text.TextGenerator { maxlen = 4 }
---     local it = g:flow({ "a b", "b c" }, { 1, 2 }, { batch_size = 2, shuffle = false })
---     local x, y = it:get(1)
---     x:tolist()   --> { { 2, 1, 0, 0 }, { 1, 3, 0, 0 } }
local Batches = require "tide.preprocessing.batches"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local listing = require "tide.preprocessing.image.listing"
local numbers = require "tide.preprocessing.text.numbers"
local ops = require "tide.ops"
local pairs_of = require "tide.preprocessing.sequence.pairs"
local text = require "tide.preprocessing.text"

local M = {}

local method, encoder, read, ids_of = numbers.method, numbers.encoder, numbers.read, numbers.ids_of

-- Each word goes, or becomes another, with a probability that depends on the pass and its place.
local function dropped(self, ids, i)
  local g, out = self.text_generator, {}
  for k, id in ipairs(ids) do
    if self:_chance(i, (1 << 19) + k) >= g.word_dropout then
      out[#out + 1] = id
    elseif g.word_dropout_id then
      out[#out + 1] = g.word_dropout_id
    end
  end
  return out
end

-- ---- rows with classes ----

local Iterator = class.new("TextIterator", Batches)
M.TextIterator = Iterator
Iterator._closes = true -- fit closes it when it ends

local BATCHES = 2 -- whose ids are made ahead
local TOGETHER, SMALL = 16, 1 << 18 -- batches whose rows are made at a time, and their bytes

-- Where batches begin and end when texts of like length stand together.
local function bucketed(self)
  local order, buckets, batches = Batches._arrange(self), {}, {}
  for _, i in ipairs(order) do
    local b = self._bucket[i]
    local open = buckets[b] or {}
    buckets[b] = open
    open[#open + 1] = i
    if #open == self.batch_size then
      batches[#batches + 1], buckets[b] = open, nil
    end
  end
  for b = 1, self._bucket_count do
    batches[#batches + 1] = buckets[b]
  end
  if self.shuffle then -- the last ones are not always the short ones
    local mixed = {}
    for k, at in ipairs(core.image.permutation(#batches, self._seed, self._pass + (1 << 40))) do
      mixed[k] = batches[at]
    end
    batches = mixed
  end
  return batches
end

function Iterator:_arrange()
  return self._bucket and bucketed(self) or Batches._arrange(self)
end

function Iterator:__len()
  return self._bucket and self._batches or Batches.__len(self)
end

function Iterator:_ids(i)
  return self._bucket and self:_order()[i] or Batches._ids(self, i)
end

-- Puts each text into the bucket of its length.
local function sort_into(self, limits)
  self._bucket, self._bucket_count = {}, #limits + 1
  local counts = {}
  for i = 1, self.n do
    numbers.walk(self, i, self.n)
    local n, b = #ids_of(self, i), 1
    while limits[b] and n > limits[b] do
      b = b + 1
    end
    self._bucket[i], counts[b] = b, (counts[b] or 0) + 1
  end
  self._batches = 0
  for _, n in pairs(counts) do
    self._batches = self._batches + (n + self.batch_size - 1) // self.batch_size
  end
end

--- Ends what workers make for it; it can be used again.
function Iterator:close()
  numbers.close(self)
end

Iterator.__close = Iterator.close

local function one_hot(labels, n)
  local out = {}
  for k, label in ipairs(labels) do
    local row = {}
    for c = 1, n do
      row[c] = c == label and 1 or 0
    end
    out[k] = row
  end
  return core.tensor(out, { dtype = "float32" })
end

-- The targets of all texts, nil where there are none.
local function targets(self)
  local mode, labels = self.class_mode, {}
  if self._targets or not mode then
    return self._targets
  end
  for i = 1, self._texts_n do
    labels[i] = mode == "binary" and self.classes[i] - 1 or self.classes[i]
  end
  self._targets = mode == "categorical" and one_hot(labels, self.num_classes)
    or core.tensor(labels, { dtype = mode == "binary" and "float32" or "int64" })
  return self._targets
end

local function integers(values)
  return core.tensor(values, { dtype = "int64" })
end

local DROPS = Batches._draw_number(0, 1 << 19) -- the draw before a text's first word
local QUICK = { int32 = 1 << 31, int64 = 1 << 53, float32 = 1 << 24, float64 = 1 << 53 }

-- All texts' ids as one tensor, where each begins, how many they are, and how rows are made of
-- them; false where not all are kept, or some are larger than the dtype holds.
local function joined(self)
  if self._joined == nil and self._kept_n == self._texts_n then
    local flat, from, count = {}, {}, {}
    for i, ids in ipairs(self._kept) do
      from[i], count[i] = #flat + 1, #ids
      table.move(ids, 1, #ids, #flat + 1, flat)
    end
    local g = self.text_generator
    local most, drops = QUICK[g.dtype] or 0, self._train and g.word_dropout or 0
    local by_batch = self._bucket or g.pad_by_batch or not g.maxlen
    local fits = drops == 0 or not by_batch -- else the longest is known when words are dropped
    for _, id in ipairs(flat) do
      fits = fits and math.type(id) == "integer" and id < most and id > -most
    end
    self._joined = fits and { ids = integers(flat), from = integers(from), count = integers(count),
      length = not by_batch and g.maxlen or nil, options = { pad_first = g.padding == "pre",
        cut_first = g.truncating == "pre", value = g.value, dtype = g.dtype, most = g.maxlen,
        share = drops, other = g.word_dropout_id } } or false
  end
  return self._joined
end

-- The rows of texts in one call; nil: one by one.
local function rows_of(self, ids)
  local all = joined(self)
  if all then
    all.options.seed = self._seed -- a restored pass brings its own
    return core.fill_rows(nil, all.ids, all.from, all.count, ids, all.length, all.options,
      self._pass, DROPS, targets(self))
  end
end

-- The same from ids as they are read.
local function read_rows(self, ids)
  local g, rows, longest = self.text_generator, {}, 1
  for k, i in ipairs(ids) do
    local row = ids_of(self, i)
    if g.word_dropout > 0 and self._train then
      row = dropped(self, row, i)
    end
    rows[k], longest = row, math.max(longest, #row)
  end
  local length = g.maxlen and (self._bucket or g.pad_by_batch) and math.min(longest, g.maxlen)
    or g.maxlen or longest
  return pairs_of.pad_sequences(rows, { maxlen = length, padding = g.padding,
    truncating = g.truncating, value = g.value, dtype = g.dtype })
end

local function rows_at(t, ids)
  return t and ops.take(t, integers(ids), { axis = 1 })
end

function Iterator:_batch(ids)
  local job = rows_of(self, ids)
  local x, y
  if job then
    x, y = core.gather_wait(job)
  else
    x, y = read_rows(self, ids), rows_at(targets(self), ids)
  end
  if y ~= nil and self._weights then
    return x, y, rows_at(self._weights, ids)
  end
  return x, y
end

-- Rows of several batches from number `at` on, where all are of one length and small: behind a step
-- nothing of what makes them is in the caches, so that the first takes several times as long as
-- those behind it. nil: batches are made one by one.
local function made_together(self, at)
  local length = self._joined.length
  local n = length and math.min(TOGETHER, #self - at + 1,
    SMALL // (8 * length * self.batch_size + 1)) or 0
  if n < 2 then
    return nil
  end
  local ids = {}
  for k = at, at + n - 1 do
    local own = self:_ids(k)
    table.move(own, 1, #own, #ids + 1, ids)
  end
  return { first = at, last = at + n - 1, order = self:_order(), seed = self._seed, given = {},
    rows = #ids, self:_batch(ids) }
end

-- Batch `at` of those, each once: a person may write into it.
local function taken_of(self, at)
  local ready = self._ready
  if not ready or at < ready.first or at > ready.last or ready.given[at]
    or ready.order ~= self:_order() or ready.seed ~= self._seed then
    ready = made_together(self, at)
    self._ready = ready
    if not ready then
      return nil
    end
  end
  ready.given[at], self._touched = true, true
  local before = (at - ready.first) * self.batch_size
  local range = { { before + 1, math.min(before + self.batch_size, ready.rows) } }
  local x, y, w = ready[1], ready[2], ready[3]
  return x[range], y and y[range], w and w[range]
end

--- Batch i (from 1) of this pass; workers make the ids of the texts of the next ones meanwhile.
function Iterator:get(i)
  local at = math.tointeger(i)
  if self._joined and at and at >= 1 and at <= #self then
    local x, y, w = taken_of(self, at)
    if x then
      return x, y, w
    end
  end
  for ahead = math.max(at or 1, 1), numbers.begins(self) and at and math.min(at + BATCHES, #self)
    or 0 do
    numbers.begin(self, self:_ids(ahead))
  end
  local x, y, w = Batches.get(self, i)
  if at == #self then
    numbers.close(self)
  end
  return x, y, w
end

function Iterator:__tostring()
  return ("%s: %d texts, %d batches of %d"):format(self.__name, self.n, #self, self.batch_size)
end

-- ---- running text ----

local Running = class.new("RunningTextIterator", Iterator)
Running.get = Batches.get -- all ids are there

-- All documents as one stream of ids or as one each, and where windows begin.
function Running:_documents(n)
  local g, stream, starts, at = self.text_generator, {}, {}, 0
  local length, stride = g.length, g.stride or g.length
  local function windows(first, last, whole)
    local s = first
    while s + 1 <= last and (s + length <= last or not whole) do
      starts[#starts + 1] = s
      self._ends[#starts] = last
      if s + length >= last then
        break
      end
      s = s + stride
    end
  end
  self._ends = {}
  for i = 1, n do
    numbers.walk(self, i, n)
    local ids = ids_of(self, i)
    table.move(ids, 1, #ids, at + 1, stream)
    if not g.join then
      windows(at + 1, at + #ids, false)
    end
    at = at + #ids
    if g.join and g.separator then
      at = at + 1
      stream[at] = g.separator
    end
  end
  if g.join then
    windows(1, at, true)
  end
  self._kept = {}
  numbers.close(self)
  if #starts == 0 then
    errors.raise(self._where, "no window of %d tokens and a next one fits (got %d tokens of %d \z
      texts)", length, at, n)
  end
  for _ = 1, length do -- windows may look behind the end, at padding
    at = at + 1
    stream[at] = g.value
  end
  self._stream = core.tensor(stream, { dtype = g.dtype })
  self._starts = starts
  self._steps, self._next = {}, {}
  for k = 1, length do
    self._steps[k], self._next[k] = k - 1, k
  end
end

function Running:_batch(ids)
  local g, firsts, lasts = self.text_generator, {}, {}
  for k, id in ipairs(ids) do
    firsts[k], lasts[k] = self._starts[id], self._ends[id]
  end
  local x = core.text.windows(self._stream, firsts, self._steps)
  local y = core.text.windows(self._stream, firsts, self._next)
  if g.join then
    return x, y
  end
  local at = ops.add(ops.reshape(core.tensor(firsts, { dtype = "int64" }), { #ids, 1 }),
    ops.reshape(core.tensor(self._steps, { dtype = "int64" }), { 1, #self._steps }))
  local last = ops.reshape(core.tensor(lasts, { dtype = "int64" }), { #ids, 1 })
  local inside, there = ops.less_equal(at, last), ops.less(at, last)
  return ops.where(inside, x, ops.full_like(x, g.value)),
    ops.where(there, y, ops.full_like(y, g.value)), ops.cast(there, "float32")
end

-- ---- the generator ----

local Generator = class.strict(class.new "TextGenerator")
M.TextGenerator = Generator
Generator.args = check.args("TextGenerator", {
  { "tokenizer", "any", nil, "of tide.tokenizers, a Tokenizer, a layer of text, or a function of \z
    a text that gives ids; by default a Tokenizer. One without words learns the first flow's" },
}, { named = {
  { "mode", "enum", "classes", "rows with classes, or windows with the next word",
    of = "classes|language_model" },
  { "num_words", "int", nil, "of the default tokenizer", min = 2 },
  { "oov_token", "string", nil, "of the default tokenizer" },
  { "maxlen", "int", nil, "tokens of a row at most; rows are as long without pad_by_batch",
    min = 1 },
  { "pad_by_batch", "bool", false, "as long as the longest of the batch, also with maxlen" },
  { "buckets", { "ints", "int" }, nil, "texts of like length in a batch: limits of their lengths, \z
    or how many groups", min = 1 },
  { "padding", "enum", "post", "before or behind", of = "pre|post" },
  { "truncating", "enum", "post", "what is cut away", of = "pre|post" },
  { "value", "int", 0, "that fills", min = 0 },
  { "length", "int", 32, "language_model: tokens of a window", min = 1 },
  { "stride", "int", nil, "language_model: from window to window; length by default", min = 1 },
  { "join", "bool", true, "language_model: documents one behind the other; false: windows end \z
    with their document, and sample_weight is 0 where there is padding" },
  { "separator", "int", nil, "language_model: a token behind each document that is joined" },
  { "validation_split", "number", 0, "share of each class, or of all, for subset = \z
    \"validation\"", min = 0, below = 1 },
  { "word_dropout", "number", 0, "share of words that are left out in training", min = 0,
    below = 1 },
  { "word_dropout_id", "int", nil, "the word that stands for them instead" },
  { "augment", "callable", nil, "function of a text and of a function that draws numbers 0 to 1, \z
    which gives the text to learn from" },
  { "max_bytes", "int", 64 << 20, "of a file", min = 1 },
  { "dtype", "dtype", "int32", "of the ids" },
} })
-- What the prompt shows of it stands in the file's head.

function Generator:_init(...)
  for k, v in pairs(self.args:construct(...)) do
    self[k] = v
  end
  if not self.tokenizer then
    self.tokenizer = text.Tokenizer { num_words = self.num_words, oov_token = self.oov_token }
  end
  encoder(self.tokenizer, "TextGenerator")
end

function Generator:__tostring()
  return ("TextGenerator: %s, %s"):format(self.mode, tostring(self.tokenizer))
end

--- Lets the tokenizer learn the words of texts: a list, or an iterator.
--- @param texts table|function
function Generator:fit(texts)
  local f = method(self.tokenizer, "fit_on_texts") or method(self.tokenizer, "adapt")
    or method(self.tokenizer, "train")
  if not f then
    errors.raise("fit", "this tokenizer does not learn (got %s)", check.show(self.tokenizer))
  end
  f(self.tokenizer, texts)
  return self
end

-- A Tokenizer or a layer without words learns those of the first flow; returns whether it did.
local function learn(self, it, n)
  local index = method(self.tokenizer, "fit_on_texts") and self.tokenizer.index_word
  local size = method(self.tokenizer, "adapt") and method(self.tokenizer, "vocabulary_size")
  if index and #index == 0 then
    local i = 0
    self.tokenizer:fit_on_texts(function()
      i = i + 1
      return i <= n and read(it, i) or nil
    end)
    return true
  elseif size and size(self.tokenizer) <= 2 then -- padding and [UNK]
    local texts = {}
    for i = 1, n do
      texts[i] = read(it, i)
    end
    self.tokenizer:adapt(texts)
    return true
  end
end

local function finish(self, it, n, o, where)
  it._most, it._kept, it._kept_tokens, it._kept_n = self.max_bytes, {}, 0, 0
  it._where, it._train, it._texts_n = where, o.subset ~= "validation", n
  it._seed, it._pass = 0, 0
  it.text_generator, it.subset = self, o.subset
  if n == 0 then
    errors.raise(where, "there is no text%s", o.subset and " in this subset" or "")
  end
  local learned = learn(self, it, n)
  it._encode, it._by_workers = encoder(self.tokenizer, where)
  if learned and self.mode == "classes" and not (self.augment and it._train) then
    for i = 1, n do -- they were read just now: the first pass should not wait for them again
      numbers.walk(it, i, n)
      ids_of(it, i)
    end
  end
  if self.mode == "language_model" then
    it:_documents(n)
    n = #it._starts
  end
  it:_start { n = n, batch_size = o.batch_size, shuffle = o.shuffle, seed = o.seed, where = where,
    random = self.augment ~= nil or self.word_dropout > 0 }
  if self.buckets and self.mode == "classes" then
    local limits = self.buckets
    if type(limits) == "number" then
      local lengths = {}
      for i = 1, n do
        numbers.walk(it, i, n)
        lengths[i] = #ids_of(it, i)
      end
      table.sort(lengths)
      local groups = limits
      limits = {}
      for b = 1, groups - 1 do
        limits[b] = lengths[math.max(1, n * b // groups)]
      end
    end
    table.sort(limits)
    sort_into(it, limits)
  end
  if not numbers.begins(it) then
    numbers.close(it)
  end
  return it
end

local function new(self, name)
  local c = self.mode == "language_model" and Running or Iterator
  local it = setmetatable({}, c)
  rawset(it, "__name", name)
  return it
end

-- First and last of a subset of n: validation takes the first part.
local function part(self, subset, n)
  if not subset then
    return 1, n
  end
  local at = math.floor(self.validation_split * n)
  if subset == "validation" then
    return 1, at
  end
  return at + 1, n
end

local shared = {
  { "batch_size", "int", 32, "texts, or windows, per batch", min = 1 },
  { "shuffle", "bool", true, "another order in every pass" },
  { "seed", "int", nil, "repeats the order and what is drawn" },
  { "subset", "enum", nil, "part by validation_split", of = "training|validation" },
}

local function with_shared(rows, ...)
  table.move(shared, 1, #shared, #rows + 1, rows)
  return table.move({ ... }, 1, select("#", ...), #rows + 1, rows)
end

local MODE = { "class_mode", "enum", "sparse", "kind of y; none: no y",
  of = "categorical|binary|sparse", none = true }

-- Classes by name, from 1.
local function set_classes(it, names, mode, where)
  it.class_names, it.num_classes, it.class_mode = list.copy(names), #names, mode
  it.class_indices = {}
  for i, name in ipairs(names) do
    it.class_indices[name] = i
  end
  if mode == "binary" and #names ~= 2 then
    errors.raise(where, "class_mode = \"binary\" needs two classes (got %d: %s)", #names,
      table.concat(names, ", "))
  end
end

-- ---- folders ----

local directory_args = check.args("flow_from_directory", with_shared({
  { "directory", "string", check.required, "holds one folder per class" },
  { "classes", "list", nil, "names of the classes; the folders, sorted, by default" },
  MODE,
}, { "extensions", "list", { ".txt" }, "endings of the files" },
  { "follow_links", "bool", false, "enter folders that are links" },
  { "verbose", "bool", true, "say how many texts were found" }))

--- Batches of the files below a folder: each folder in it is a class, labelled from 1 in the order
--- of their names. In language_model mode all files below it are documents. Fields of what it
--- gives: classes (label of each file), class_names, class_indices, filenames, filepaths, n.
--- @usage local it = g:flow_from_directory("reviews", { subset = "training" })
function Generator:flow_from_directory(...)
  local o, where = directory_args:call(...), "flow_from_directory"
  local it = new(self, "DirectoryTextIterator")
  it.directory = o.directory
  it.filenames, it.filepaths, it.classes = list.new {}, list.new {}, list.new {}
  local running = self.mode == "language_model"
  local names = running and { "" } or o.classes or listing.folders(o.directory, where)
  if not running then
    set_classes(it, names, o.class_mode, where)
  end
  for label, name in ipairs(names) do
    local root = running and o.directory or o.directory .. "/" .. name
    local found = listing.pictures(root, o.extensions, o.follow_links, where)
    local first, last = part(self, o.subset, #found)
    for i = first, last do
      local n = #it.filepaths + 1
      it.filenames[n], it.filepaths[n] = (name .. found[i]):gsub("^/", ""), root .. found[i]
      it.classes[n] = label
    end
  end
  if o.verbose then
    print(running and ("Found %d texts."):format(#it.filepaths)
      or ("Found %d texts belonging to %d classes."):format(#it.filepaths, #names))
  end
  return finish(self, it, #it.filepaths, o, where)
end

-- ---- files ----

local function picked(v, first, last)
  if core.is_tensor(v) then
    return v[{ { first, last } }]
  end
  return table.move(v, first, last, 1, {})
end

-- y as a person gives it: numbers and tensors as they are, names as classes.
local function set_targets(it, y, w, n, o, where)
  for what, v in pairs { y = y, sample_weight = w } do
    local got = v ~= nil and (core.is_tensor(v) and v.shape[1] or #v)
    if got and got ~= n then
      errors.raise(where, "%s must be as many as the texts (expected %d, got %d)", what, n, got)
    end
  end
  local first, last = part(it._generator, o.subset, n)
  if y ~= nil and not core.is_tensor(y) and type(y[1]) == "string" then
    local seen, names = {}, o.classes or {}
    for _, name in ipairs(o.classes and {} or y) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
    if not o.classes then
      table.sort(names)
    end
    set_classes(it, names, o.class_mode or "sparse", where)
    it.classes = list.new {}
    for k, name in ipairs(picked(y, first, last)) do
      it.classes[k] = it.class_indices[name] or errors.raise(where,
        "the class of text %d is none of the classes (got '%s')", first + k - 1, name)
    end
  elseif y ~= nil and first <= last then
    y = core.is_tensor(y) and y or core.tensor(y, math.type(y[1]) == "integer"
      and { dtype = "int64" } or {})
    it._targets = picked(y, first, last)
  end
  if w ~= nil and first <= last then
    it._weights = picked(core.is_tensor(w) and w or core.tensor(w), first, last)
  end
  return first, last
end

local files_args = check.args("flow_from_files", with_shared({
  { "paths", "list", check.required, "of the files" },
  { "y", { "list", "tensor" }, nil, "names of classes, numbers, or a tensor" },
}, MODE, { "classes", "list", nil, "names of the classes, in order" },
  { "sample_weight", { "list", "tensor" }, nil, "weights" }))

--- Batches of the texts in files.
--- @usage local it = g:flow_from_files({ "a.txt", "b.txt" }, { "good", "bad" })
function Generator:flow_from_files(...)
  local o, where = files_args:call(...), "flow_from_files"
  local it = new(self, "FileTextIterator")
  it._generator = self
  local first, last = set_targets(it, o.y, o.sample_weight, #o.paths, o, where)
  it.filepaths = list.new(picked(o.paths, first, last))
  for i, path in ipairs(it.filepaths) do
    if type(path) ~= "string" then
      errors.raise(where, "path %d must be a string (got %s)", i, check.show(path))
    end
  end
  it.filenames = it.filepaths
  return finish(self, it, #it.filepaths, o, where)
end

-- ---- memory and tables ----

local function flow_texts(self, it, texts, y, w, o, where)
  for i, s in ipairs(texts) do
    if type(s) ~= "string" then
      errors.raise(where, "text %d must be a string (got %s)", i, check.show(s))
    end
  end
  it._generator = self
  local first, last = set_targets(it, y, w, #texts, o, where)
  it._texts = picked(texts, first, last)
  return finish(self, it, #it._texts, o, where)
end

local flow_args = check.args("flow", with_shared({
  { "texts", "list", check.required, "strings" },
  { "y", { "list", "tensor" }, nil, "names of classes, numbers, or a tensor" },
}, MODE, { "classes", "list", nil, "names of the classes, in order" },
  { "sample_weight", { "list", "tensor" }, nil, "weights" }))

--- Batches of texts in memory.
--- @usage local it = g:flow({ "good film", "bad film" }, { "good", "bad" })
function Generator:flow(...)
  local o = flow_args:call(...)
  return flow_texts(self, new(self, "TextIterator"), o.texts, o.y, o.sample_weight, o, "flow")
end

local table_args = check.args("flow_from_table", with_shared({
  { "table", "table", check.required, "columns by name, or a list of rows" },
  { "x_col", "string", "text", "column of the texts" },
  { "y_col", "string", "class", "column of names of classes, or of numbers" },
  { "weight_col", "string", nil, "column of weights" },
}, MODE, { "classes", "list", nil, "names of the classes, in order" }))
table_args.rows[1].dict = true

local function column(frame, name, where, due)
  local c
  local ok = pcall(function()
    c = frame[name]
  end)
  if (not ok or c == nil) and frame[1] ~= nil then
    c = {}
    for i, row in ipairs(frame) do
      c[i] = row[name]
      if c[i] == nil and due then
        errors.raise(where, "row %d has no '%s'", i, name)
      end
    end
    c = #c > 0 and c or nil
  end
  if c == nil and due then
    errors.raise(where, "there is no column '%s' (got a table without it)", name)
  end
  return c
end

--- Batches of the rows of a table: columns by name, or rows with fields.
--- @usage local it = g:flow_from_table({ text = { "a", "b" }, class = { "x", "y" } })
function Generator:flow_from_table(...)
  local o, where = table_args:call(...), "flow_from_table"
  local mode = self.mode == "language_model"
  local y = o.class_mode and not mode and column(o.table, o.y_col, where, true) or nil
  local w = o.weight_col and column(o.table, o.weight_col, where, true) or nil
  return flow_texts(self, new(self, "TableTextIterator"), column(o.table, o.x_col, where, true), y,
    w, o, where)
end

return M

--- StringLookup and IntegerLookup: values by their number in a vocabulary, and back, as Keras'.
--
-- Numbers count from 1, so that `vocabulary[number]` is the value: first those of unknown values,
-- then the terms. With a mask token 0 is the mask, and the numbers are Keras'; without one they are
-- Keras' + 1, or Keras' with `zero_based = true`, which layers from Keras' files have.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local encode = require "tide.layers.encode"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local sources = require "tide.layers.sources"
local strings = require "tide.strings"
local Vocabulary = require "tide.layers.vocabulary"

local lookup = {}

-- ---- what both are ----

local function plain_list(v)
  if core.is_tensor(v) then
    return v:tolist()
  end
  return list.is(v) and v:totable() or v
end

-- The weights of all numbers of so many terms from those that were given: the unknown ones have the
-- mean of all.
local function weights_of(self, given, terms, special)
  local unknown = self[S].known.unknown
  local weights = plain_list(given)
  local out, sum = {}, 0
  if not check.is_list(weights) then
    errors.raise(self:_label(), "idf_weights must be a list of numbers (got %s)",
      check.show(given))
  end
  for i, w in ipairs(weights) do
    if type(w) ~= "number" then
      errors.raise(self:_label(), "idf_weights must be numbers (got %s at position %d)",
        check.show(w), i)
    end
    sum = sum + w
  end
  for i = 1, special and 0 or unknown do
    out[i] = sum / #weights
  end
  table.move(weights, 1, #weights, #out + 1, out)
  if #out ~= unknown + terms then
    errors.raise(self:_label(), "idf_weights must be as many as the vocabulary's terms (expected \z
      %d, got %d)", terms + (special and unknown or 0), #weights)
  end
  return out
end

-- The weights as a tensor; what is padded up to max_tokens has 0.
local function weights_tensor(self, dtype)
  local weights = core.tensor(self[S].weights_of_terms, { dtype = dtype })
  local more = self.pad_to_max_tokens and self.max_tokens - weights.size or 0
  return more > 0 and ops.pad(weights, { { 0, more } }) or weights
end

-- How many places the rows have; nil while that is not known.
local function depth(self)
  if self.pad_to_max_tokens then
    return self.max_tokens
  end
  local known = self[S].known
  return not known:is_empty() and known:size() or self[S].to_come
end

local IndexLookup = base.derive(base, "IndexLookup", {
  args = {},
  keeps_dtype = true, opaque = true,
  compute_output_shape = function(self, shape)
    return encode.shape(self.output_mode, shape, depth(self))
  end,
})

--- Checks the options and takes the vocabulary.
function lookup.init(self)
  encode.init(self)
  local own, label = self[S], getmetatable(self).__name
  if self.max_tokens ~= nil and self.max_tokens <= 1 then
    errors.raise(label, "max_tokens must be at least 2 (got %d)", self.max_tokens)
  elseif self.pad_to_max_tokens and self.max_tokens == nil then
    errors.raise(label, "pad_to_max_tokens needs max_tokens")
  elseif self.invert and self.output_mode ~= "int" then
    errors.raise(label, "invert goes with output_mode = 'int' alone (got '%s')", self.output_mode)
  elseif self.idf_weights ~= nil and self.output_mode ~= "tf_idf" then
    errors.raise(label, "idf_weights go with output_mode = 'tf_idf' alone (got '%s')",
      self.output_mode)
  end
  own.key = encode.salt(self)
  own.known = Vocabulary.new { owner = label, unknown = self.num_oov_indices,
    mask = self.mask_token, oov = self.oov_token, max = self.max_tokens, whole = self.whole,
    masks = self.mask_token ~= nil and self.output_mode == "int" and 1 or 0 }
  local given = self.vocabulary
  if type(given) == "table" and given[S] then -- of a file whose vocabulary is read later
    own.to_come = given[S] - own.known.masks
  elseif given ~= nil then
    self:set_vocabulary(given, self.idf_weights)
    own.fixed, own.in_config = not self.learnt, type(given) ~= "string" and not self.learnt
  end
  self.vocabulary, self.idf_weights = nil, nil
end

--- What was looked up, in this layer's numbers and form.
function lookup.numbered(self, ids, shape)
  local known, own = self[S].known, self[S]
  ids = ops.reshape(ids, shape)
  local mode = self.output_mode
  if mode == "int" then
    return self.zero_based and self.mask_token == nil and ids - 1 or ids
  end
  local n = depth(self)
  if known:is_empty() and not self.pad_to_max_tokens then
    errors.raise(self:_label(), "it has no vocabulary yet: give one, or call adapt")
  end
  local out = encode.ids(ids, mode == "tf_idf" and "count" or mode, n, lookup.dtype(self))
  if mode == "tf_idf" then
    if not own.weights_of_terms then
      errors.raise(self:_label(), "it has no idf_weights yet: give them with the vocabulary, or \z
        call adapt")
    end
    out = out * weights_tensor(self, self.compute_dtype)
  end
  return out
end

--- The dtype of what a layer gives: whole numbers but for weights, as Keras' lookups.
function lookup.dtype(self)
  return self.output_mode == "tf_idf" and self.compute_dtype or "int64"
end

-- The table that the core looks values up in: the terms', and the mask's.
function lookup.table_of(self)
  local own = self[S]
  if not own.table then
    own.table = own.known.index
    if self.mask_token ~= nil then
      own.table = { [self.mask_token] = 0 }
      for k, v in pairs(own.known.index) do
        own.table[k] = v
      end
    end
  end
  return own.table
end

--- The numbers of values in one row; the mask's is 0.
function lookup.look_up(self, flat)
  local known, key = self[S].known, self[S].key or {}
  local ids, bad = core.vocabulary_ids(flat, lookup.table_of(self), 1, known.unknown,
    self.oov_method == "floormod", key[1], key[2])
  if bad then
    local v = flat[bad]
    errors.raise(self:_label(), "%s at position %d is not in the vocabulary, and num_oov_indices \z
      is 0; with 1 it gets a number of its own", type(v) == "string"
        and ("'%s'"):format(v:sub(1, 100))
        or tostring(v), bad)
  end
  return ids
end

-- The values of numbers, in lists of the shape of the tensor.
local function values_of(self, x)
  local known = self[S].known
  local shift = self.zero_based and self.mask_token == nil and 1 or 0
  local function value(v)
    if type(v) == "table" then
      local out = {}
      for i, e in ipairs(v) do
        out[i] = value(e)
      end
      return out
    end
    return known:value(v + shift)
  end
  local v = value(encode.whole(x):tolist())
  if not self.whole then
    return v
  end
  return x.size > 0 and core.tensor(v, { dtype = "int64" }) or encode.whole(x)
end

function IndexLookup:call(x)
  if self.invert then
    return values_of(self, x)
  end
  local flat, shape = encode.flat(x, strings)
  return lookup.numbered(self, lookup.look_up(self, flat), shape)
end

function IndexLookup.compute_output_dtype(self)
  if self.invert then
    return self.whole and "int64" or "string"
  end
  return lookup.dtype(self)
end

--- Sets the vocabulary: a list (or tensor) of terms, or the path of a file with one in each line.
--- What is special may stand first, as get_vocabulary gives it. `idf_weights`: as many numbers, for
--- output_mode "tf_idf".
function IndexLookup:set_vocabulary(vocabulary, idf_weights)
  local known = self[S].known
  if (self.output_mode == "tf_idf") ~= (idf_weights ~= nil) then
    errors.raise(self:_label(), self.output_mode == "tf_idf"
      and "idf_weights must be given with the vocabulary where output_mode is 'tf_idf'"
      or "idf_weights go with output_mode = 'tf_idf' alone (got '%s')", self.output_mode)
  end
  local terms
  if type(vocabulary) == "string" then
    terms = known:read(vocabulary)
  else
    terms = plain_list(vocabulary)
    if not check.is_list(terms) then
      errors.raise(self:_label(), "the vocabulary must be a list or the path of a file (got %s)",
        check.show(vocabulary))
    end
  end
  local special, masks
  terms, special, masks = known:checked(terms, self.invert) -- nothing changes before all is right
  local weights = idf_weights ~= nil and weights_of(self, idf_weights, #terms, special > masks)
    or nil
  known:set(terms)
  self[S].table, self[S].in_config, self[S].weights_of_terms = nil, false, weights
end

--- The values by number from 1, `list[number]`: unknown ones first.
--- @param include_special_tokens boolean|nil false: only the terms
function IndexLookup:get_vocabulary(include_special_tokens)
  return list.new(self[S].known:list(include_special_tokens ~= false))
end

--- How many numbers there are, that of the mask included.
function IndexLookup:vocabulary_size()
  return self[S].known:size() + self[S].known.masks
end

--- Counts the values of a batch towards the vocabulary: rows are documents. `adapt` does it for all
--- batches, `finalize_state` then makes the vocabulary.
function IndexLookup:update_state(batch)
  local own = self[S]
  if own.fixed then
    errors.raise("adapt", "%s has its vocabulary from its options", self:_label())
  end
  local rows = sources.batch_of(batch, self.whole and "whole" or "text")
  if core.is_tensor(rows) then
    rows = encode.whole(rows):tolist()
  end
  if type(rows) ~= "table" then
    rows = { rows }
  end
  if type(rows[1]) ~= "table" then -- single values: a document each for tables, as Keras counts
    rows = { rows }
  end
  while type(rows[1] and rows[1][1]) == "table" do
    local joined = {}
    for _, r in ipairs(rows) do
      table.move(r, 1, #r, #joined + 1, joined)
    end
    rows = joined
  end
  own.known:count(rows)
end

--- Makes the vocabulary of what was counted.
function IndexLookup:finalize_state()
  local own = self[S]
  if next(own.known.counts) == nil then
    return
  end
  local found, total = own.known:learn()
  own.table, own.weights_of_terms = nil, nil
  if self.output_mode == "tf_idf" then
    local weights = {}
    for i, n in ipairs(found) do
      weights[i] = math.log(1 + total / (1 + n))
    end
    if #weights > 0 then
      own.weights_of_terms = weights_of(self, weights, #weights, false)
    end
  end
end

--- Values that stand in one row, each in a row of its own.
function lookup.apart(values)
  local rows = {}
  for i, v in ipairs(values) do
    rows[i] = { v }
  end
  return rows
end

--- Forgets what was counted.
function IndexLookup:reset_state()
  self[S].known:reset()
end

--- Learns the vocabulary of data: the most frequent values first, equally frequent ones from high
--- to low, and forgets the one before.
--- @param data any text or whole numbers, a list of batches, a data set, or a function that gives
---   batches
--- @param o table|nil steps: most batches to look at
function IndexLookup:adapt(data, o)
  self:reset_state()
  local batches, streams = sources.batches(data, o, self.whole and "whole" or "text")
  for x in batches do
    -- what streams in one row is one document, as Keras counts
    if core.is_tensor(x) and x.ndim == 1 and not streams then
      x = ops.expand_dims(x, -1)
    elseif type(x) == "table" and type(x[1]) ~= "table" and not streams then
      x = lookup.apart(x)
    end
    self:update_state(x)
  end
  self:finalize_state()
end

--- The options, with the vocabulary as it is.
function IndexLookup:get_config()
  local out, own = base.get_config(self), self[S]
  if not own.known:is_empty() then
    out.vocabulary, out.learnt = own.known:list(false), not own.fixed
    if own.weights_of_terms then
      out.vocabulary = own.known:list(true)
      out.idf_weights = table.move(own.weights_of_terms, 1, own.known:size(), 1, {})
    end
  end
  return out
end

function IndexLookup:_brief()
  local known = self[S].known -- not yet there while options are checked
  return known and not known:is_empty() and tostring(known:size()) or ""
end

lookup.IndexLookup = IndexLookup

-- ---- in Keras' files ----

local may_lack = { "ngrams", "max_tokens", "output_sequence_length", "vocabulary", "idf_weights",
  "mask_token" }

-- Whether a vocabulary stands in a file of the archive: what was learnt does, if lines can hold it.
local function in_file(own)
  return not own.in_config and own.known:fits_lines()
end

--- What archives hold beside the configuration: the vocabulary as a text file and the weights of
--- its terms as a data set, both in the folders `folders` below the layer's.
function lookup.keras(folders)
  return {
    -- an archive keeps what was learnt in a file of its own
    config = function(self, config, in_archive)
      local own = self[S]
      config.vocabulary_size = not own.known:is_empty() and self:vocabulary_size() or none
      config.salt = self.args.index.salt and (own.key or none) or nil
      if own.known.masks > 0 and type(config.vocabulary) == "table" and config.vocabulary ~= none
        and own.weights_of_terms then
        table.insert(config.vocabulary, 1, self.mask_token)
      end
      if in_archive and in_file(own) then
        config.vocabulary, config.idf_weights = none, none
      end
      for _, key in ipairs(may_lack) do -- Keras reads some by name
        if config[key] == nil and self.args.index[key] then
          config[key] = none
        end
      end
      return config
    end,
    options = function(options, config)
      if options.vocabulary == nil and math.tointeger(config.vocabulary_size) then
        options.vocabulary = { [S] = math.tointeger(config.vocabulary_size) }
      end
      return options
    end,
    folders = folders,
    extra = function(self)
      local own = self[S]
      local lines = own.known:list(true)
      if own.known.masks > 0 then
        table.insert(lines, 1, self.mask_token)
      end
      for i, v in ipairs(lines) do
        lines[i] = tostring(v)
      end
      return { ["vocabulary.txt"] = in_file(own) and table.concat(lines, "\n") or nil },
        { idf_weights = own.weights_of_terms and weights_tensor(self, "float32") or nil }
    end,
    load_extra = function(self, files, data)
      local own, text = self[S], files "vocabulary.txt"
      local terms = text and own.known:parse(text, "vocabulary.txt") or nil
      if not terms or #terms <= own.known.unknown + own.known.masks then
        return
      end
      local weights
      if self.output_mode == "tf_idf" then
        local n = self.pad_to_max_tokens and self.max_tokens or #terms
        weights = data("idf_weights", n) or errors.raise("load_model",
          "%s has a vocabulary in the file, but not as many idf_weights (expected %d)",
          self:_label(), n)
        weights = table.move(weights:tolist(), 1, #terms, 1, {})
      end
      self:set_vocabulary(terms, weights)
    end,
  }
end

-- ---- the two ----

local rows = {
  max_tokens = { "max_tokens", "int", nil, "most numbers, those of what is special included" },
  unknown = { "num_oov_indices", "int", 1,
    "numbers of unknown values, by their hash; 0: they raise",
    min = 0 },
  mask = { "mask_token", "any", nil, "the value that stands for nothing: its number is 0" },
  vocabulary = { "vocabulary", "any", nil,
    "a list of terms, or the path of a file with one in each line" },
  weights = { "idf_weights", "any", nil, "the weight of each term, for tf_idf" },
  invert = { "invert", "bool", false, "numbers become values" },
  pad = { "pad_to_max_tokens", "bool", false, "rows have max_tokens places in any case" },
  mode = encode.mode_row("int", "int|one_hot|multi_hot|count|tf_idf|binary|tf-idf"),
  salt = { "salt", "any", nil, "key of the hash (SipHash): a whole number, or a list of two" },
  learnt = { "learnt", "bool", false, "the vocabulary was learnt: adapt may learn another",
    own = true },
  encoding = { "encoding", "enum", "utf-8", "of the text", of = "utf-8" },
}
lookup.rows = rows
local sparse, zero_based = encode.last_rows()

--- Strings by their number in a vocabulary, which is given or learnt by `layer:adapt(data)`.
--
-- Text (...) becomes int64 (...), or rows with a place for each term: `output_mode` "one_hot",
-- "multi_hot", "count", "tf_idf". `invert`: numbers become strings. Unknown strings have number 1,
-- or numbers 1..num_oov_indices by their hash (FarmHash; SipHash with `salt`). As Keras.
--     tide.layers.StringLookup { vocabulary = { "a", "b" } }({ "b", "z" })   --> { 3, 1 }
lookup.StringLookup = base.derive(IndexLookup, "StringLookup", {
  takes = "strings", whole = false,
  args = { rows.max_tokens, rows.unknown, rows.mask,
    { "oov_token", "string", "[UNK]", "the value of unknown numbers on the way back" },
    rows.vocabulary, rows.weights, rows.invert, rows.mode, rows.pad, sparse, rows.encoding,
    rows.salt, zero_based, rows.learnt },
  init = function(self)
    if self.invert then
      rawset(self, "takes", "whole")
    end
    if self.mask_token ~= nil and type(self.mask_token) ~= "string" then
      errors.raise("StringLookup", "mask_token must be a string (got %s)",
        check.show(self.mask_token))
    end
    lookup.init(self)
  end,
  keras = lookup.keras { "" },
})

--- Whole numbers by their number in a vocabulary, which is given or learnt by `layer:adapt(data)`.
--
-- As StringLookup. Unknown values share number 1, or have numbers 1..num_oov_indices: by their
-- remainder (`oov_method` "floormod") or by the hash of how they are written ("farmhash"). As
-- Keras.
--     tide.layers.IntegerLookup { vocabulary = { 12, 36 } }({ 36, 7 })   --> { 3, 1 }
lookup.IntegerLookup = base.derive(IndexLookup, "IntegerLookup", {
  takes = "whole", whole = true,
  args = { rows.max_tokens, rows.unknown,
    { "mask_token", "int", nil, "the value that stands for nothing: its number is 0" },
    { "oov_token", "int", -1, "the value of unknown numbers on the way back" },
    rows.vocabulary, { "vocabulary_dtype", "enum", "int64", "dtype of the terms", of = "int64" },
    rows.weights, rows.invert, rows.mode, sparse, rows.pad,
    { "oov_method", "enum", "floormod", "how unknown values are shared out",
      of = "floormod|farmhash" },
    rows.salt, zero_based, rows.learnt },
  init = function(self)
    if self.salt ~= nil and self.oov_method ~= "farmhash" then
      errors.raise("IntegerLookup", "salt goes with oov_method = 'farmhash' alone (got '%s')",
        self.oov_method)
    end
    lookup.init(self)
  end,
  keras = lookup.keras { "" },
})

return lookup

--- TextVectorization: text by the numbers of its words, as Keras'.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local encode = require "tide.layers.encode"
local errors = require "tide.errors"
local list = require "tide.list"
local lookup = require "tide.layers.lookup"
local none = require "tide.none"
local object = require "tide.object"
local ops = require "tide.ops"
local shapes = require "tide.layers.shapes"
local sources = require "tide.layers.sources"
local strings = require "tide.strings"

local text = {}

local IndexLookup = lookup.IndexLookup
local rows = lookup.rows
local sparse, zero_based = encode.last_rows()

local standards = { lower_and_strip_punctuation = { true, true }, lower = { true, false },
  strip_punctuation = { false, true }, none = { false, false } }
local splits = { whitespace = true, character = true, none = true }

-- An option that is a name of `known`, tide.none, or a function; by the function's name too.
local function option(self, key, known)
  local v = self[key]
  if v == none or v == nil then
    self[key] = none
    return "none"
  end
  local f = type(v) == "string" and not known[v] and object.function_named(v) or v
  if type(f) ~= "function" and not (type(f) == "string" and known[f]) then
    local names = {}
    for name in pairs(known) do
      names[#names + 1] = name
    end
    table.sort(names)
    errors.raise("TextVectorization", "%s must be one of %s, or a function (got %s)", key,
      table.concat(names, ", "), check.show(v))
  end
  self[key] = f
  return f
end

-- The lengths of n-grams: n means 1..n.
local function lengths_of(n)
  if n == nil then
    return nil
  end
  local out = {}
  if math.type(n) == "integer" and n >= 1 then
    for i = 1, n do
      out[i] = i
    end
    return out
  elseif check.is_list(n) and #n > 0 then
    for i, v in ipairs(n) do
      out[i] = math.tointeger(v)
      if not out[i] or out[i] < 1 then
        errors.raise("TextVectorization", "ngrams must be whole numbers from 1 (got %s at \z
          position %d)", check.show(v), i)
      end
    end
    return out
  end
  errors.raise("TextVectorization", "ngrams must be a whole number from 1, or a list of them (got \z
    %s)", check.show(n))
end

-- The n-grams of a row of words, those of one length after the other.
local function ngrams(words, lengths)
  local out = {}
  for _, n in ipairs(lengths) do
    for i = 1, #words - n + 1 do
      out[#out + 1] = table.concat(words, " ", i, i + n - 1)
    end
  end
  return out
end

local function check_rows(self, v, what, n)
  if not check.is_list(v) or #v ~= n then
    errors.raise(self:_label(), "%s must give a list with a result for each text (expected %d, \z
      got %s)", what, n, check.is_list(v) and tostring(#v) or check.show(v))
  end
  return v
end

-- The texts in one row: (batch) or (batch, 1) where they are split.
local function flatten(self, x)
  local flat, shape = encode.flat(x, strings)
  local splitting = self[S].split ~= "none"
  if splitting and #shape > 1 and shape[#shape] ~= 1 then
    errors.raise(self:_label(), "takes texts in one row, to split each (expected the shape \z
      (batch) or (batch, 1), got %s)", list.format(shape))
  elseif splitting and #shape > 1 then
    shape[#shape] = nil
  end
  return flat, shape
end

-- The words of each text, by what the options say: a list of lists.
local function words_of(self, flat)
  local own = self[S]
  local how, split = own.standard, own.split
  if type(how) == "function" then
    flat = check_rows(self, how(flat), "standardize", #flat)
    how = standards.none
  end
  local out
  if type(split) == "function" then
    local whole = core.text_words(flat, how[1], how[2], "none")
    for i, v in ipairs(whole) do
      whole[i] = v[1]
    end
    out = check_rows(self, split(whole), "split", #flat)
    for i, row in ipairs(out) do
      local good = check.is_list(row)
      for k = 1, good and #row or 0 do
        good = good and type(row[k]) == "string"
      end
      if not good then
        errors.raise(self:_label(), "split must give a list of words for each text (got %s for \z
          text %d)", check.show(row), i)
      end
    end
  else
    out = core.text_words(flat, how[1], how[2], split)
  end
  return out
end

-- The documents of text: a list of lists of terms, as they are looked up.
local function documents(self, x)
  local flat, shape = flatten(self, x)
  local out = words_of(self, flat)
  if self[S].split == "none" then -- rows of words that came as such
    local width = #shape > 0 and shape[#shape] or 1
    local joined = {}
    for _ = 1, width == 0 and encode.rows(shape) or 0 do
      joined[#joined + 1] = {}
    end
    for i = 1, #out, math.max(width, 1) do
      local row = {}
      for k = i, i + width - 1 do
        row[#row + 1] = out[k][1]
      end
      joined[#joined + 1] = row
    end
    out = joined
  end
  local lengths = self[S].lengths
  for i = 1, lengths and #out or 0 do
    out[i] = ngrams(out[i], lengths)
  end
  return out, shape
end

-- Numbers in rows, ended by 0, of what `documents` gives, and the shape of the texts.
local function numbers_of(self, x)
  local own = self[S]
  local length = self.output_mode == "int" and self.output_sequence_length or nil
  if type(own.standard) == "table" and type(own.split) == "string"
    and own.split ~= "none" then -- the core does it at once
    local flat, shape = flatten(self, x)
    local index = lookup.table_of(self)
    if own.numbers_of ~= index then -- as threads read them
      own.numbers, own.numbers_of = core.word_numbers(index), index
    end
    return core.text_ids(flat, own.standard[1], own.standard[2], own.split, length, own.numbers, 1,
      own.lengths), shape
  end
  local rows_, shape = documents(self, x)
  local flat, longest = {}, 0
  for _, row in ipairs(rows_) do
    longest = math.max(longest, #row)
  end
  local width = math.min(longest, length or longest)
  for _, row in ipairs(rows_) do
    for i = 1, width do
      flat[#flat + 1] = row[i] or "" -- the mask
    end
  end
  local ids = ops.reshape(lookup.look_up(self, flat), { #rows_, width })
  return (length or 0) > width and ops.pad(ids, { { 0, 0 }, { 0, length - width } }) or ids, shape
end

--- Text by the numbers of its words in a vocabulary, which is given or learnt by
--- `layer:adapt(texts)`: (batch) or (batch, 1) of strings becomes int64 (batch, length).
--
-- Texts are standardized (`standardize`: "lower_and_strip_punctuation" of ASCII, "lower",
-- "strip_punctuation", tide.none, or a function of the list of texts), split ("whitespace",
-- "character", tide.none, or a function that gives a list of words for each text), and joined to
-- n-grams. Numbers are Keras': 0 ends rows, 1 is unknown. `output_mode` "multi_hot", "count",
-- "tf_idf" give rows (batch, vocabulary).
--     tide.layers.TextVectorization { vocabulary = { "the", "cat" } } { "The cat sat!" }
--     --> { { 2, 3, 1 } }
text.TextVectorization = base.derive(IndexLookup, "TextVectorization", {
  takes = "strings", whole = false,
  num_oov_indices = 1, mask_token = "", oov_token = "[UNK]", invert = false,
  args = { rows.max_tokens,
    { "standardize", "any", "lower_and_strip_punctuation", "how texts are made alike",
      none = true },
    { "split", "any", "whitespace", "how texts become words", none = true },
    { "ngrams", "any", nil, "lengths of the n-grams: 1..n, or those of a list" }, rows.mode,
    { "output_sequence_length", "int", nil, "length of all rows of numbers", min = 0 }, rows.pad,
    rows.vocabulary, rows.weights, sparse,
    { "ragged", "bool", false, "kept for Keras: must be false" }, rows.encoding, zero_based,
    rows.learnt },
  init = function(self)
    local own = self[S]
    own.standard = option(self, "standardize", standards)
    own.standard = standards[own.standard] or own.standard
    own.split, own.lengths = option(self, "split", splits), lengths_of(self.ngrams)
    if self.ragged then
      errors.raise("TextVectorization", "ragged must be false (got true): rows are ended by 0 here")
    elseif self.output_sequence_length and self.output_mode ~= "int" then
      errors.raise("TextVectorization", "output_sequence_length goes with output_mode = 'int' \z
        alone (got '%s')", self.output_mode)
    end
    lookup.init(self)
  end,
  keras = lookup.keras { "", "/_lookup_layer" },
})
local TextVectorization = text.TextVectorization

function TextVectorization:call(x)
  local ids, shape = numbers_of(self, x)
  -- one text gives one row without an axis for the batch; rows that came as such keep their axes
  local axes = self[S].split == "none" and math.max(#shape - 1, 0) or #shape
  ids = ops.reshape(ids, table.move({ ids.shape[2] }, 1, 1, axes + 1, table.move(shape, 1, axes, 1,
    {})))
  return self.output_mode == "int" and ids or lookup.numbered(self, ids, ids.shape)
end

TextVectorization.compute_output_shape = shapes.checked(function(self, shape)
  local out = list.copy(shape)
  if self[S].split == "none" then -- rows of words that came as such
    out[math.max(#out, 1)] = not self[S].lengths and shape[#shape] or none
  else
    out[#out > 1 and #out or #out + 1] = none
  end
  if self.output_mode == "int" then
    out[#out] = self.output_sequence_length or out[#out]
    return out
  end
  return IndexLookup.compute_output_shape(self, out)
end)

function TextVectorization:update_state(batch)
  if self[S].fixed then
    errors.raise("adapt", "%s has its vocabulary from its options", self:_label())
  end
  self[S].known:count((documents(self, sources.batch_of(batch, "text"))))
end

--- Learns the vocabulary of texts: the most frequent words first, equally frequent ones from high
--- to low, and forgets the one before.
--- @param data any a list of texts, a list of batches, a data set, or a function that gives batches
--- @param o table|nil steps: most batches to look at
function TextVectorization:adapt(data, o)
  self:reset_state()
  local splits_them = self[S].split ~= "none"
  local batches, streams = sources.batches(data, o, splits_them and "lines" or "text")
  for x in batches do
    if not splits_them and not streams and type(x) == "table" and type(x[1]) ~= "table" then
      x = lookup.apart(x)
    end
    self:update_state(x)
  end
  self:finalize_state()
end

return text

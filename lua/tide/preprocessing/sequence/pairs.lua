--- Lists of numbers: padding to one length, and the pairs of words of word2vec.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local M = {}

local pad_args = check.args("pad_sequences", {
  { "sequences", "list", check.required, "lists of numbers, or of vectors; tensors too" },
  { "maxlen", "int", nil, "length of all; the longest one's by default", min = 0 },
  { "dtype", { "dtype", "string" }, "int32", "of the result; \"string\" for text: nested lists" },
  { "padding", "enum", "pre", "before or behind", of = "pre|post" },
  { "truncating", "enum", "pre", "what is cut away", of = "pre|post" },
  { "value", { "number", "string" }, 0.0, "that fills" },
})

local function item_shape(sequence)
  local v, shape = sequence[1], {}
  while type(v) == "table" do
    shape[#shape + 1], v = #v, v[1]
  end
  return shape
end

local function filled(shape, value, depth)
  if depth > #shape then
    return value
  end
  local out = {}
  for i = 1, shape[depth] do
    out[i] = filled(shape, value, depth + 1)
  end
  return out
end

local function same(a, b)
  return table.concat(a, " ") == table.concat(b, " ")
end

-- The shape that the elements of all lists have.
local function common_shape(lists)
  local shape
  for i, s in ipairs(lists) do
    if #s > 0 then
      local own = item_shape(s)
      shape = shape or own
      if not same(own, shape) then
        errors.raise("pad_sequences",
          "the elements of sequence %d have another shape than those before (expected [%s], got \z
            [%s])", i, table.concat(shape, ", "), table.concat(own, ", "))
      end
    end
  end
  return shape or {}
end

--- Sequences as rows of one length: shorter ones are filled, longer ones cut, as a rule at the
--- beginning. Elements may be vectors of one size. Keras: utils.pad_sequences.
---
---     local pad = tide.preprocessing.sequence.pad_sequences
---     pad({ { 1, 2, 3 }, { 4 } }, { maxlen = 2, padding = "post" }):tolist()
---     --> { { 2, 3 }, { 4, 0 } }
--- @return userdata (sequences, maxlen, …)
function M.pad_sequences(...)
  local o = pad_args:call(...)
  local lists, longest = {}, 0
  for i, s in ipairs(o.sequences) do
    s = core.is_tensor(s) and s:tolist() or s
    if type(s) ~= "table" then
      errors.raise("pad_sequences", "sequence %d must be a list (got %s)", i, check.show(s))
    end
    lists[i] = s
    longest = math.max(longest, #s)
  end
  local text, length = o.dtype == "string" or o.dtype == "str", o.maxlen or longest
  local value = o.value
  local number = type(value) == "number"
  if not text and number and not tostring(o.dtype):find "float" then
    value = math.tointeger(value) or value
  end
  if not text and number and #lists > 0 and length > 0 then -- nil: not numbers alone
    local fast = core.text.rows(lists, length, o.padding == "pre", o.truncating == "pre", value,
      o.dtype)
    if fast then
      return fast
    end
  end
  local shape = common_shape(lists)
  if not text and not number then
    errors.raise("pad_sequences", "value must be a number unless dtype is \"string\" (got %s)",
      check.show(value))
  end
  local rows = {}
  for i, s in ipairs(lists) do
    local n, row = #s, {}
    local first = n > length and o.truncating == "pre" and n - length + 1 or 1
    local kept = math.min(n, length)
    local at = o.padding == "pre" and length - kept or 0
    for k = 1, length do
      row[k] = k > at and k <= at + kept and s[first + k - at - 1] or filled(shape, value, 1)
    end
    rows[i] = row
  end
  if text then
    return rows
  elseif #rows == 0 or length == 0 then
    return core.zeros({ #rows, length, table.unpack(shape) }, { dtype = o.dtype })
  end
  return core.tensor(rows, { dtype = o.dtype })
end

local table_args = check.args("make_sampling_table", {
  { "size", "int", check.required, "numbers of words, 0 with them", min = 1 },
  { "sampling_factor", "number", 1e-5, "the smaller, the fewer frequent words", above = 0 },
})

--- The probability to keep a word by its rank, for words that follow Zipf's law (word2vec, Mikolov
--- and others 2013). Entry k + 1 is that of word k. Keras: preprocessing.sequence.
--- @usage tide.preprocessing.sequence.make_sampling_table(10)   -- ten numbers
--- @return userdata (size) float64
function M.make_sampling_table(...)
  local o = table_args:call(...)
  local out = {}
  for i = 0, o.size - 1 do
    local rank = math.max(i, 1)
    local inverse = rank * (math.log(rank) + 0.577) + 0.5 - 1 / (12 * rank)
    local f = o.sampling_factor * inverse
    out[i + 1] = math.min(1, f / math.sqrt(f))
  end
  return core.tensor(out, { dtype = "float64" })
end

local skip_args = check.args("skipgrams", {
  { "sequence", { "list", "tensor" }, check.required, "numbers of words; 0 is none" },
  { "vocabulary_size", "int", check.required, "the largest number + 1", min = 1 },
  { "window_size", "int", 4, "words on either side", min = 0 },
  { "negative_samples", "number", 1.0, "pairs of chance per pair of the text", min = 0 },
  { "shuffle", "bool", true, "the pairs in another order" },
  { "categorical", "bool", false, "labels { 0, 1 } and { 1, 0 } in place of 1 and 0" },
  { "sampling_table", { "list", "tensor" }, nil, "of make_sampling_table" },
  { "seed", "int", nil, "repeats all that is drawn" },
})

--- Pairs { word, word near it } with label 1, and { word, any word } with label 0: what word2vec
--- learns from. Keras: preprocessing.sequence.skipgrams; a seed repeats the whole result here.
---
---     local couples, labels = tide.preprocessing.sequence.skipgrams({ 1, 2 }, 3,
---       { negative_samples = 0, shuffle = false })
---     couples   --> { { 1, 2 }, { 2, 1 } }
--- @return table couples
--- @return table labels
function M.skipgrams(...)
  local o = skip_args:call(...)
  local words = core.is_tensor(o.sequence) and o.sequence:tolist() or o.sequence
  local keep = core.is_tensor(o.sampling_table) and o.sampling_table:tolist() or o.sampling_table
  local seed = o.seed and core.image.sample_seed(o.seed, 0, 0) or core.draw_seed "skipgrams"
  local drawn = 0
  local function chance()
    drawn = drawn + 1
    return (core.image.sample_seed(seed, 1, drawn) >> 11) * 0x1p-53
  end
  local couples, labels = {}, {}
  for i, word in ipairs(words) do
    if word ~= 0 and keep and not keep[word + 1] then
      errors.raise("skipgrams", "sampling_table has no entry of word %s (expected %s or more \z
        entries, got %d)", tostring(word), tostring(word + 1), #keep)
    end
    if word ~= 0 and not (keep and keep[word + 1] < chance()) then
      for j = math.max(1, i - o.window_size), math.min(#words, i + o.window_size) do
        if j ~= i and words[j] ~= 0 then
          couples[#couples + 1] = { word, words[j] }
          labels[#labels + 1] = o.categorical and { 0, 1 } or 1
        end
      end
    end
  end
  local negative = math.floor(#labels * o.negative_samples)
  if negative > 0 then
    if o.vocabulary_size < 2 then
      errors.raise("skipgrams", "vocabulary_size must be 2 or more for negative samples (got %d)",
        o.vocabulary_size)
    end
    local n, order = #couples, core.image.permutation(#couples, seed, 2)
    for i = 0, negative - 1 do
      couples[n + i + 1] = { couples[order[i % n + 1]][1],
        1 + math.floor(chance() * (o.vocabulary_size - 1)) }
      labels[n + i + 1] = o.categorical and { 1, 0 } or 0
    end
  end
  if o.shuffle then
    local order, c, l = core.image.permutation(#couples, seed, 3), {}, {}
    for i, k in ipairs(order) do
      c[i], l[i] = couples[k], labels[k]
    end
    couples, labels = c, l
  end
  return couples, labels
end

return M

--- Text as lists of word numbers: Keras' Tokenizer, text_to_word_sequence, one_hot, hashing_trick,
--- tokenizer_from_json (keras.preprocessing.text of TensorFlow 2).
---
--- Words count from 1, which is what Keras does; 0 is padding. Text is UTF-8; lower case is
--- Python's, broken bytes count as U+FFFD. Tokenizers that cut words into pieces are in
--- `tide.tokenizers`.
---
---     local text = tide.preprocessing.text
---     local t = text.Tokenizer { num_words = 100 }
---     t:fit_on_texts { "the cat sat", "the dog" }
---     t:texts_to_sequences { "the cat" }   --> { { 1, 2 } }
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local md5 = require "tide.preprocessing.md5"

local M = {}

local FILTERS = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n"

-- ---- words ----

local function split_plain(s, split)
  local out, at = {}, 1
  while true do
    local from, to = s:find(split, at, true)
    local word = s:sub(at, (from or #s + 1) - 1)
    if word ~= "" then
      out[#out + 1] = word
    end
    if not from then
      return out
    end
    at = to + 1
  end
end

local magic = "[%^%$%(%)%%%.%[%]%*%+%-%?]"
local patterns = setmetatable({}, { __mode = "k" })

-- Gives every filtered character as the separator; what a set of ASCII does is done at once.
local function filtered(s, filters, split)
  local p = patterns[filters]
  if not p then
    local ascii, others = {}, {}
    for _, c in ipairs(core.text.chars(filters)) do
      if #c == 1 then
        ascii[#ascii + 1] = c:find(magic) and "%" .. c or c
      else
        others[#others + 1] = c
      end
    end
    p = { #ascii > 0 and "[" .. table.concat(ascii) .. "]", others }
    patterns[filters] = p
  end
  local with = split:gsub("%%", "%%%%")
  if p[1] then
    s = s:gsub(p[1], with)
  end
  for _, c in ipairs(p[2]) do
    s = s:gsub(c, with)
  end
  return s
end

local function words_of(s, filters, lower, split)
  s = lower and core.text.lower(s) or core.text.mend(s)
  if #split == 1 and not (filters .. split):find "[\128-\255]" then
    return core.text.words(s, filters .. split) -- each is one byte
  end
  return split_plain(filtered(s, filters, split), split)
end

local word_rows = {
  { "filters", "string", FILTERS, "characters that separate as split does" },
  { "lower", "bool", true, "in lower case" },
  { "split", "string", " ", "between words" },
}

local function with_words(first, ...)
  local rows = table.move(first, 1, #first, 1, {})
  table.move(word_rows, 1, #word_rows, #rows + 1, rows)
  return table.move({ ... }, 1, select("#", ...), #rows + 1, rows)
end

local function check_split(o, where)
  if o.split == "" then
    errors.raise(where, "split must not be empty (got '')")
  end
  return o
end

local sequence_args = check.args("text_to_word_sequence",
  with_words { { "input_text", "string", check.required, "one text" } })

--- The words of a text, in order. Keras: preprocessing.text.text_to_word_sequence.
---
---     tide.preprocessing.text.text_to_word_sequence "Don't stop!"   --> { "don't", "stop" }
--- @return table list of strings
function M.text_to_word_sequence(...)
  local o = check_split(sequence_args:call(...), "text_to_word_sequence")
  return words_of(o.input_text, o.filters, o.lower, o.split)
end

-- ---- hashes ----

-- The 128 bits of MD5 as one number, modulo n, as Python's int(hexdigest, 16) % n.
local function md5_modulo(word, n)
  local out = 0
  for _, w in ipairs { md5(word) } do
    for byte = 0, 3 do
      out = (out << 8 | w >> (8 * byte) & 255) % n
    end
  end
  return out
end

local hash_rows = with_words({ { "input_text", "string", check.required, "one text" },
  { "n", "int", check.required, "numbers are 1 to n - 1", min = 2, max = 1 << 48 } },
  { "analyzer", "callable", nil, "function of the text that gives its words" })
local trick_rows = table.move(hash_rows, 3, #hash_rows, 4,
  { { "text", "string", check.required, "one text" }, hash_rows[2], { "hash_function",
    { "enum", "callable" }, "md5", "md5, or a function of a word that gives a whole number",
    of = "md5" } })
local one_hot_args = check.args("one_hot", hash_rows)
local trick_args = check.args("hashing_trick", trick_rows)

local function hashed(o, where, text)
  local words = o.analyzer and o.analyzer(text)
    or words_of(text, o.filters, o.lower, check_split(o, where).split)
  local hash, out = o.hash_function, {}
  for i, w in ipairs(words) do
    if type(hash) == "function" then
      local h = math.tointeger(hash(w))
      if not h then
        errors.raise(where, "hash_function must give a whole number (got %s for '%s')",
          check.show(hash(w)), w)
      end
      out[i] = h % (o.n - 1) + 1
    else
      out[i] = md5_modulo(w, o.n - 1) + 1
    end
  end
  return out
end

--- The words of a text as numbers 1 to n - 1 by a hash (MD5); several words may have one number.
--- Keras' one_hot has Python's own hash, which is another in each process. Keras:
--- preprocessing.text.one_hot.
--- @usage local ids = tide.preprocessing.text.one_hot("a b a", 50)   -- a's number twice
--- @return table list of integers
function M.one_hot(...)
  local o = one_hot_args:call(...)
  return hashed(o, "one_hot", o.input_text)
end

--- The words of a text as numbers 1 to n - 1 by a hash. Keras: preprocessing.text.hashing_trick;
--- with "md5" the numbers are the same there.
--- @usage tide.preprocessing.text.hashing_trick("the cat", 100)   --> { 51, 3 }
--- @return table list of integers
function M.hashing_trick(...)
  local o = trick_args:call(...)
  return hashed(o, "hashing_trick", o.text)
end

-- ---- Tokenizer ----

local Tokenizer = class.strict(class.new "Tokenizer")
M.Tokenizer = Tokenizer

Tokenizer.args = check.args("Tokenizer", with_words(
  { { "num_words", "int", nil, "words with a smaller number are kept", min = 1 } },
  { "char_level", "bool", false, "every character is a word" },
  { "oov_token", "string", nil, "word 1, for words that are not known" },
  { "analyzer", "callable", nil, "function of a text that gives its words" }),
  { named = { { "document_count", "int", 0, "texts seen so far", min = 0 } } })
-- Keras: num_words, filters, lower, split, char_level, oov_token, analyzer

--- Words by number, the most frequent first. Fields: word_index (word -> number), index_word,
--- word_counts, word_docs, index_docs, document_count, and the options. Keras:
--- preprocessing.text.Tokenizer.
function Tokenizer:_init(...)
  local o = check_split(self.args:construct(...), "Tokenizer")
  for k, v in pairs(o) do
    self[k] = v
  end
  self.word_counts, self.word_docs, self.index_docs = {}, {}, {}
  self.word_index, self.index_word = {}, list.new {}
  self._order, self._docs_order = {}, {} -- of word_counts and word_docs: words as they came
end

function Tokenizer:__tostring()
  return ("Tokenizer: %d words of %d texts"):format(#self.index_word, self.document_count)
end

-- The texts as a list or an iterator.
local function each(texts, where)
  if type(texts) == "function" then
    local i = 0
    return function()
      local t = texts()
      if t ~= nil then
        i = i + 1
        return i, t
      end
    end
  elseif type(texts) ~= "table" then
    errors.raise(where, "takes a list of texts (got %s)", check.show(texts))
  end
  return ipairs(texts)
end

function Tokenizer:_words(text, where, i)
  if type(text) == "table" then
    if not self.lower then
      return text
    end
    local out = {}
    for k, w in ipairs(text) do
      out[k] = core.text.lower(w)
    end
    return out
  elseif type(text) ~= "string" then
    errors.raise(where, "text %d must be a string or a list of words (got %s)", i,
      check.show(text))
  elseif self.char_level then
    return core.text.chars(self.lower and core.text.lower(text) or text)
  elseif self.analyzer then
    return self.analyzer(text)
  end
  return words_of(text, self.filters, self.lower, self.split)
end

--- Counts the words of texts (strings, or lists of words) and numbers them: the most frequent is 1,
--- or 2 behind an oov_token; of equals the one that came first.
--- @param texts table|function a list, or an iterator
function Tokenizer:fit_on_texts(texts)
  local counts, docs, order = self.word_counts, self.word_docs, self._order
  for i, text in each(texts, "fit_on_texts") do
    self.document_count = self.document_count + 1
    local seen = {}
    for _, w in ipairs(self:_words(text, "fit_on_texts", i)) do
      if not counts[w] then
        order[#order + 1] = w
      end
      counts[w] = (counts[w] or 0) + 1
      if not seen[w] then
        seen[w] = true
        docs[w] = (docs[w] or 0) + 1
      end
    end
  end
  self:_number()
end

function Tokenizer:_number()
  local counts, place, sorted = self.word_counts, {}, {}
  for i, w in ipairs(self._order) do
    place[w], sorted[i] = i, w
  end
  table.sort(sorted, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return place[a] < place[b]
  end)
  if self.oov_token then
    table.insert(sorted, 1, self.oov_token)
  end
  self.word_index = {}
  for i, w in ipairs(sorted) do
    self.word_index[w] = i -- a word that is the oov_token has the number of its own place
  end
  self.index_word = list.new(sorted)
  for w, n in pairs(self.word_docs) do
    self.index_docs[self.word_index[w]] = n
  end
end

local function as_list(sequence)
  return core.is_tensor(sequence) and sequence:tolist() or sequence
end

--- Counts in how many sequences of numbers each number stands.
--- @param sequences table list of lists of integers
function Tokenizer:fit_on_sequences(sequences)
  for _, sequence in each(sequences, "fit_on_sequences") do
    self.document_count = self.document_count + 1
    local seen = {}
    for _, i in ipairs(as_list(sequence)) do
      if not seen[i] then
        seen[i] = true
        self.index_docs[i] = (self.index_docs[i] or 0) + 1
      end
    end
  end
end

--- An iterator over the sequences of texts.
--- @return function
function Tokenizer:texts_to_sequences_generator(texts)
  local index, top = self.word_index, self.num_words
  local oov = self.oov_token and index[self.oov_token]
  local next_text, state, i = each(texts, "texts_to_sequences")
  return function()
    local text
    i, text = next_text(state, i)
    if i == nil then
      return nil
    end
    local out = {}
    for _, w in ipairs(self:_words(text, "texts_to_sequences", i)) do
      local k = index[w]
      if k == nil or top and k >= top then
        k = oov
      end
      out[#out + 1] = k
    end
    return out
  end
end

--- The numbers of the words of texts. Unknown words, and those from num_words on, are left out, or
--- are the oov_token.
---
---     local t = tide.preprocessing.text.Tokenizer { oov_token = "?" }
---     t:fit_on_texts { "a b a" }
---     t:texts_to_sequences { "b c a" }   --> { { 3, 1, 2 } }
--- @return table list of lists of integers
function Tokenizer:texts_to_sequences(texts)
  local out = {}
  for sequence in self:texts_to_sequences_generator(texts) do
    out[#out + 1] = sequence
  end
  return out
end

--- An iterator over the texts of sequences.
--- @return function
function Tokenizer:sequences_to_texts_generator(sequences)
  local words, top = self.index_word, self.num_words
  local oov = self.oov_token and words[self.word_index[self.oov_token]]
  local next_sequence, state, i = each(sequences, "sequences_to_texts")
  return function()
    local sequence
    i, sequence = next_sequence(state, i)
    if i == nil then
      return nil
    end
    local out = {}
    for _, k in ipairs(as_list(sequence)) do
      local w = k > 0 and words[k] or nil
      if w == nil or top and k >= top then
        w = oov
      end
      out[#out + 1] = w
    end
    return table.concat(out, " ")
  end
end

--- The texts of sequences of numbers, words with a space between them.
--- @return table list of strings
function Tokenizer:sequences_to_texts(sequences)
  local out = {}
  for text in self:sequences_to_texts_generator(sequences) do
    out[#out + 1] = text
  end
  return out
end

local matrix_args = check.args("sequences_to_matrix", {
  { "sequences", "table", check.required, "lists of numbers" },
  { "mode", "enum", "binary", "what an entry is", of = "binary|count|freq|tfidf" },
})
local texts_matrix_args = check.args("texts_to_matrix", {
  { "texts", { "table", "callable" }, check.required, "strings, or lists of words" },
  matrix_args.rows[2],
})

--- A row per sequence with a column per number, of Keras' width and order: number k stands in
--- column k + 1, the first is for 0. Entries: binary 1 where the word is there, count, freq (count
--- by length), tfidf.
--- @return userdata (sequences, num_words) float32
function Tokenizer:sequences_to_matrix(...)
  local o = matrix_args:call(...)
  local width = self.num_words or next(self.word_index) and 1
  for _ in pairs(self.num_words and {} or self.word_index) do
    width = width + 1
  end
  if not width then
    errors.raise("sequences_to_matrix", "the width is not known; give num_words, or fit on texts")
  elseif o.mode == "tfidf" and self.document_count == 0 then
    errors.raise("sequences_to_matrix", "tfidf needs counts of documents; fit on texts first")
  end
  local rows = {}
  for r, sequence in ipairs(o.sequences) do
    local row, counts, length = {}, {}, 0
    for c = 1, width do
      row[c] = 0
    end
    for _, k in ipairs(as_list(sequence)) do
      length = length + 1
      if k >= 0 and k < width then
        counts[k] = (counts[k] or 0) + 1
      end
    end
    for k, n in pairs(counts) do
      row[k + 1] = o.mode == "count" and n or o.mode == "freq" and n / length
        or o.mode == "binary" and 1
        or (1 + math.log(n))
          * math.log(1 + self.document_count / (1 + (self.index_docs[k] or 0)))
    end
    rows[r] = row
  end
  if #rows == 0 then
    return core.zeros { 0, width }
  end
  return core.tensor(rows, { dtype = "float32" })
end

--- As sequences_to_matrix, for texts.
---
---     local t = tide.preprocessing.text.Tokenizer()
---     t:fit_on_texts { "a b a" }
---     t:texts_to_matrix({ "a a" }, { mode = "count" }):tolist()   --> { { 0, 2, 0 } }
function Tokenizer:texts_to_matrix(...)
  local o = texts_matrix_args:call(...)
  return self:sequences_to_matrix(self:texts_to_sequences(o.texts), { mode = o.mode })
end

-- ---- JSON, as Python's json.dumps writes it ----

local short = { ["\""] = "\\\"", ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(s)
  s = core.text.mend(s):gsub("[%z\1-\31\"\\\127]", function(c)
    return short[c] or c ~= "\127" and ("\\u%04x"):format(c:byte()) or c
  end)
  s = s:gsub(utf8.charpattern, function(c)
    if #c == 1 then
      return c
    end
    local v = utf8.codepoint(c)
    if v < 0x10000 then
      return ("\\u%04x"):format(v)
    end
    v = v - 0x10000
    return ("\\u%04x\\u%04x"):format(0xd800 + (v >> 10), 0xdc00 + (v & 0x3ff))
  end)
  return "\"" .. s .. "\""
end

local function plain(v)
  return v == nil and "null" or type(v) == "string" and quoted(v) or tostring(v)
end

-- An object of key and value lists, in their order.
local function ordered(keys, value)
  local out = {}
  for i, k in ipairs(keys) do
    out[i] = quoted(tostring(k)) .. ": " .. plain(value(k))
  end
  return "{" .. table.concat(out, ", ") .. "}"
end

local function sorted_numbers(t)
  local out = {}
  for k in pairs(t) do
    out[#out + 1] = k
  end
  table.sort(out)
  return out
end

local KEYS = { "num_words", "filters", "lower", "split", "char_level", "oov_token",
  "document_count", "word_counts", "word_docs", "index_docs", "index_word", "word_index" }

--- The options and all counts by name, the tables as JSON texts, as Keras has them.
--- @return table
function Tokenizer:get_config()
  local function of(t)
    return function(k)
      return t[k]
    end
  end
  local words, numbers, there = {}, {}, {} -- an oov_token that is a word too has one entry
  for _, w in ipairs(self.index_word) do
    if not there[w] then
      there[w] = true
      words[#words + 1], numbers[#numbers + 1] = w, self.word_index[w]
    end
  end
  local known = {}
  for _, w in ipairs(self._order) do
    if self.word_docs[w] then
      known[#known + 1] = w
    end
  end
  return { num_words = self.num_words, filters = self.filters, lower = self.lower,
    split = self.split, char_level = self.char_level, oov_token = self.oov_token,
    document_count = self.document_count,
    word_counts = ordered(self._order, of(self.word_counts)),
    word_docs = ordered(known, of(self.word_docs)),
    index_docs = ordered(sorted_numbers(self.index_docs), of(self.index_docs)),
    index_word = ordered(numbers, of(self.index_word)),
    word_index = ordered(words, of(self.word_index)) }
end

--- All of it as JSON, which Keras reads too.
--- @return string
function Tokenizer:to_json()
  local config = self:get_config()
  return "{\"class_name\": \"Tokenizer\", \"config\": " .. ordered(KEYS, function(k)
    return config[k]
  end) .. "}"
end

-- The keys of a JSON object of numbers, in the order of the text.
local function keys_in_order(text)
  local out, at = {}, 1
  while true do
    local from = text:find("\"", at, true)
    if not from then
      return out
    end
    local to = from + 1
    while text:sub(to, to) ~= "\"" do
      to = to + (text:sub(to, to) == "\\" and 2 or 1)
    end
    out[#out + 1] = core.json_decode(text:sub(from, to))
    at = to + 1
  end
end

local json_args = check.args("tokenizer_from_json", {
  { "json_string", "string", check.required, "what to_json gave, here or in Keras" } })

--- The tokenizer that a text of to_json holds. Keras: preprocessing.text.tokenizer_from_json.
---
---     local text = tide.preprocessing.text
---     local t = text.tokenizer_from_json(text.Tokenizer { num_words = 9 }:to_json())
---     t.num_words   --> 9
function M.tokenizer_from_json(...)
  local where = "tokenizer_from_json"
  local c = core.json_decode(json_args:call(...).json_string, nil, where)
  c = type(c) == "table" and c.config
  if type(c) ~= "table" then
    errors.raise(where, "the text is no tokenizer; it must hold a config (got %s)", check.show(c))
  end
  local function counts(name, by_number, value_type)
    local text = c[name]
    local t = type(text) == "string" and core.json_decode(text, nil, where .. ": " .. name)
    if type(t) ~= "table" then
      errors.raise(where, "%s must be JSON in a string (got %s)", name, check.show(text))
    end
    local out = {}
    for k, v in pairs(t) do
      local key = by_number and math.tointeger(tonumber(k)) or not by_number and k
      if not key or math.type(v) ~= value_type and type(v) ~= value_type then
        errors.raise(where, "%s holds the entry %s = %s (expected a %s)", name, check.show(k),
          check.show(v), value_type)
      end
      out[key] = v
    end
    return out
  end
  local o = {}
  for i = 1, 7 do
    local v = c[KEYS[i]]
    if v then -- null is false here
      o[KEYS[i]] = v
    elseif KEYS[i] == "lower" then
      o.lower = false
    end
  end
  local t = Tokenizer(o)
  t.word_counts, t.word_docs = counts("word_counts", false, "integer"),
    counts("word_docs", false, "integer")
  t.index_docs, t.word_index = counts("index_docs", true, "integer"),
    counts("word_index", false, "integer")
  t._order = keys_in_order(c.word_counts)
  local words, top = counts("index_word", true, "string"), 0
  for i in pairs(words) do
    top = math.max(top, i)
  end
  if top > 1 << 24 then
    errors.raise(where, "index_word holds the number %d (expected %d at most)", top, 1 << 24)
  end
  t.index_word = list.new {}
  for i = 1, top do
    t.index_word[i] = words[i] or t.oov_token or ""
  end
  return t
end

return require("tide.namespace").new("tide.preprocessing.text", M, { members = M,
  modules = { TextGenerator = "tide.preprocessing.text.generator" } })

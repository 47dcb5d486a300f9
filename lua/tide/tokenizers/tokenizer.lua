--- The tokenizer itself: a normalizer, a pre-tokenizer, a model, a post-processor and a decoder, in
--- the form that Hugging Face's `tokenizer.json` has.
---
---     local t = tide.tokenizers.Tokenizer { model = { type = "WordLevel", vocab = { hi = 0 } } }
---     t:encode("hi").ids   --> { 1 }
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local Encoding = require("tide.tokenizers.encoding").Encoding
local list = require "tide.list"
local none = require "tide.none"

local text = core.text
local M = {}
local MOST_FILE = 256 << 20 -- bytes of a tokenizer.json

local Tokenizer = class.strict(class.new "Tokenizer")
M.Tokenizer = Tokenizer
M.MOST_FILE = MOST_FILE

-- The object of a checked core tokenizer.
function Tokenizer:_set(json, what, zero_based)
  self._core = text.tokenizer(json, what)
  self.kind = text.info(self._core)
  local first = text.token(self._core, 0)
  local pads = first == "[PAD]" or first == "<pad>"
  self.zero_based = zero_based
  self._base = (zero_based or pads) and 0 or 1
  return self
end

local args = check.args("tokenizers.Tokenizer", {
  { "model", "table", check.required, "{ type = \"BPE\", vocab = …, merges = … } or another" },
}, { named = {
  { "normalizer", "table", nil, "{ type = \"NFC\" } and its like" },
  { "pre_tokenizer", "table", nil, "{ type = \"ByteLevel\" } and its like" },
  { "post_processor", "table", nil, "{ type = \"TemplateProcessing\" } and its like" },
  { "decoder", "table", nil, "{ type = \"ByteLevel\" } and its like" },
  { "added_tokens", "list", nil, "{ { id = 0, content = \"[PAD]\", special = true }, … }" },
  { "truncation", "table", nil, "as in tokenizer.json" },
  { "padding", "table", nil, "as in tokenizer.json" },
  { "zero_based", "bool", false, "ids from 0, as in the file" },
} })
args.rows[1].dict = true
Tokenizer.args = args

--- A tokenizer of parts, each a table as `tokenizer.json` writes it. See tokenizers.ByteLevelBPE
--- and its neighbours for the usual ones.
function Tokenizer:_init(...)
  local o = args:construct(...)
  local zero_based = o.zero_based
  o.zero_based = nil
  self:_set(core.json_encode(o, none), "tokenizers.Tokenizer", zero_based)
end

function Tokenizer:__tostring()
  return ("Tokenizer (%s, %d tokens)"):format(self.kind, self:vocab_size())
end

-- The token of an id of the file.
function Tokenizer:_token(id)
  local kept = self._tokens
  if not kept then
    kept = {}
    rawset(self, "_tokens", kept)
  end
  local v = kept[id]
  if v == nil then
    v = text.token(self._core, id) or false
    kept[id] = v
  end
  return v or nil
end

-- ---- encoding ----

local encode_rows = {
  { "pair", "string", nil, "a second text" },
  { "add_special_tokens", "bool", true, "what the post-processor adds" },
  { "encode_special_tokens", "bool", false, "special tokens in the text are text" },
}
local encode_args = check.args("encode", { { "text", "string", check.required, "UTF-8" },
  encode_rows[1] }, { named = { encode_rows[2], encode_rows[3] } })
local batch_args = check.args("encode_batch", {
  { "texts", "list", check.required, "strings" },
  { "pairs", "list", nil, "as many second texts" },
}, { named = { encode_rows[2], encode_rows[3] } })

local function flags(o)
  return (o.add_special_tokens and 1 or 0) + (o.encode_special_tokens and 2 or 0)
end

-- Pads encodings as enable_padding asks.
function Tokenizer:_pad(raws)
  local p = self.padding
  if not p then
    return
  end
  local longest = p.length or 0
  if not p.length then
    for _, raw in ipairs(raws) do
      for _, n in ipairs(text.lengths(raw)) do
        longest = math.max(longest, n)
      end
    end
  end
  local multiple = p.pad_to_multiple_of
  if multiple and longest > 0 then
    longest = (longest + multiple - 1) // multiple * multiple
  end
  for _, raw in ipairs(raws) do
    text.pad(raw, longest, p.pad_id, p.pad_type_id, p.direction == "left")
  end
end

--- A text, or two, as tokens.
---
---     local t = tide.tokenizers.WordPiece { vocab = { "[UNK]", "to", "be" } }
---     t:encode("To be!").ids   --> { 2, 3, 1 }
--- @return table an Encoding
function Tokenizer:encode(...)
  local o = encode_args:call(...)
  local raw = text.encode(self._core, o.text, o.pair, flags(o))
  self:_pad { raw }
  return Encoding(self, raw)
end

function Tokenizer:_raws(...)
  local o = batch_args:call(...)
  local raws, f, pairs_of = {}, flags(o), o.pairs
  if pairs_of and #pairs_of ~= #o.texts then
    errors.raise("encode_batch", "pairs must be as many as texts (expected %d, got %d)", #o.texts,
      #pairs_of)
  end
  for i, s in ipairs(o.texts) do
    local second = pairs_of and pairs_of[i]
    if type(s) ~= "string" or pairs_of and type(second) ~= "string" then
      errors.raise("encode_batch", "text %d must be a string (got %s)", i,
        check.show(type(s) ~= "string" and s or second))
    end
    raws[i] = text.encode(self._core, s, second, f)
  end
  self:_pad(raws)
  return raws
end

--- Texts as tokens, padded to one length if padding is on.
--- @usage local e = tide.tokenizers.WordLevel({ vocab = { "a" } }):encode_batch { "a", "a a" }
--- @return table list of Encodings
function Tokenizer:encode_batch(...)
  local raws = self:_raws(...)
  for i, raw in ipairs(raws) do
    raws[i] = Encoding(self, raw)
  end
  return raws
end

local ids_args = check.args("ids", { batch_args.rows[1] }, { named = { encode_rows[2],
  encode_rows[3] } })

--- The ids of texts, each as long as it is.
---
---     tide.tokenizers.WordLevel({ vocab = { "a", "b" } }):ids { "a b", "b" }
---     --> { { 1, 2 }, { 2 } }
--- @return table list of lists of integers
function Tokenizer:ids(...)
  local o = ids_args:call(...)
  return text.ids(self._core, o.texts, flags(o), self._base)
end

-- The same by worker threads: what begins it, and what waits for it.
function Tokenizer:_begin_ids(workers, texts)
  return text.ids_begin(workers, self._core, texts, flags(ids_args:call { texts = texts }))
end

function Tokenizer:_take_ids(job)
  return text.ids_take(job, self._base)
end

--- Texts as tensors (texts, tokens) int32: ids, the attention mask, the type ids. Texts of several
--- lengths need padding; without enable_padding the id 0 pads to the longest.
---
---     local t = tide.tokenizers.WordLevel { vocab = { "a", "b" } }
---     t:tensors({ "a b", "b" }):tolist()   --> { { 1, 2 }, { 2, 0 } }
--- @return userdata ids
--- @return userdata attention_mask
--- @return userdata type_ids
function Tokenizer:tensors(...)
  local raws = self:_raws(...)
  if not self.padding then
    local longest = 0
    for _, raw in ipairs(raws) do
      longest = math.max(longest, text.lengths(raw)[1] or 0)
    end
    for _, raw in ipairs(raws) do
      text.pad(raw, longest, 0, 0, false)
    end
  end
  local function of(what)
    return text.tensor(raws, what, self._base)
  end
  return of "ids", of "attention_mask", of "type_ids"
end

local decode_args = check.args("decode", {
  { "ids", { "list", "tensor" }, check.required, "of one text" },
  { "skip_special_tokens", "bool", true, "leave them out" },
})

local function as_list(ids)
  ids = core.is_tensor(ids) and ids:tolist() or ids
  return type(ids) == "table" and ids or { ids }
end

function Tokenizer:_decode(ids, skip)
  local plain = {}
  for i, id in ipairs(as_list(ids)) do
    if self._base == 1 and id == 0 then
      id = false -- padding
    end
    plain[#plain + 1] = id or nil
    if id and math.type(id) ~= "integer" then
      errors.raise("decode", "id %d must be a whole number (got %s)", i, check.show(id))
    end
  end
  return text.decode(self._core, plain, skip, self._base)
end

--- The text of ids; ids that have no token are left out.
--- @return string
function Tokenizer:decode(...)
  local o = decode_args:call(...)
  return self:_decode(o.ids, o.skip_special_tokens)
end

local decode_batch_args = check.args("decode_batch", {
  { "sequences", { "list", "tensor" }, check.required,
    "lists of ids, or a tensor (texts, tokens)" },
  decode_args.rows[2],
})

--- The texts of lists of ids, or of the rows of a tensor.
--- @return table list of strings
function Tokenizer:decode_batch(...)
  local o, out = decode_batch_args:call(...), {}
  for i, ids in ipairs(as_list(o.sequences)) do
    out[i] = self:_decode(ids, o.skip_special_tokens)
  end
  return out
end

--- The pieces that the model sees of a text: normalized and cut.
---
---     local t = tide.tokenizers.WordPiece { vocab = { "[UNK]" } }
---     t:pieces "Ça va?"   --> { "ca", "va", "?" }
--- @return table list of strings
function Tokenizer:pieces(s)
  if type(s) ~= "string" then
    errors.raise("pieces", "takes a text (got %s)", check.show(s))
  end
  return text.pieces(self._core, s)
end

-- ---- vocabulary ----

--- The number of tokens, those added to the model's with them.
--- @return integer
function Tokenizer:vocab_size()
  local _, largest = text.info(self._core)
  return largest
end

--- The id of a token, or nil.
function Tokenizer:token_to_id(token)
  if type(token) ~= "string" then
    errors.raise("token_to_id", "takes a string (got %s)", check.show(token))
  end
  local id = text.id(self._core, token)
  return id and id + self._base
end

--- The token of an id, or nil.
function Tokenizer:id_to_token(id)
  local at = math.tointeger(id)
  if not at then
    errors.raise("id_to_token", "takes a whole number (got %s)", check.show(id))
  end
  return self:_token(at - self._base)
end

--- All tokens: token -> id.
--- @return table
function Tokenizer:get_vocab()
  local out = {}
  for id = 0, self:vocab_size() - 1 do
    local token = text.token(self._core, id)
    if token then
      out[token] = id + self._base
    end
  end
  return out
end

-- ---- added tokens ----

-- The same with another value of a key of the JSON.
function Tokenizer:_change(key, value, what)
  local json = text.to_json(self._core)
  local from, to = text.value(json, key)
  self:_set(json:sub(1, from - 1) .. value .. json:sub(to + 1), what, self.zero_based)
  rawset(self, "_tokens", nil)
end

local added_rows = {
  { "tokens", "list", check.required, "strings, or { content = …, single_word = …, \z
    lstrip = …, rstrip = …, normalized = … }" },
}
local add_args = check.args("add_tokens", added_rows)
local special_args = check.args("add_special_tokens", added_rows)
local token_rows = {
  { "content", "string", check.required, "as it stands in the text" },
  { "single_word", "bool", false, "not within a word" },
  { "lstrip", "bool", false, "takes the spaces before it" },
  { "rstrip", "bool", false, "takes the spaces behind it" },
  { "normalized", "bool", nil, "is looked for in normalized text" },
  { "special", "bool", nil, "decode may leave it out" },
}

function Tokenizer:_add(tokens, special, where)
  local from, to = text.value(text.to_json(self._core), "added_tokens")
  local list_of = core.json_decode(text.to_json(self._core):sub(from, to))
  local known, next_id, n = {}, self:vocab_size(), 0
  for _, t in ipairs(list_of) do
    known[t.content] = true
  end
  for _, t in ipairs(tokens) do
    local o = check.options(where, type(t) == "string" and { content = t } or t, token_rows)
    if not known[o.content] and o.content ~= "" then
      known[o.content] = true
      local id = text.id(self._core, o.content)
      if not id then
        id, next_id = next_id, next_id + 1
        n = n + 1
      end
      if o.special == nil then
        o.special = special
      end
      if o.normalized == nil then
        o.normalized = not o.special
      end
      o.id = id
      list_of[#list_of + 1] = o
    end
  end
  table.sort(list_of, function(a, b)
    return a.id < b.id
  end)
  if #list_of > 0 then
    self:_change("added_tokens", core.json_encode(list_of), where)
  end
  return n
end

--- Adds tokens that are found in a text as they are, before it is cut.
---
---     local t = tide.tokenizers.WordPiece { vocab = { "[UNK]", "a" } }
---     t:add_tokens { "<new>" }   --> 1
---     t:encode("a <new>a").tokens   --> { "a", "<new>", "a" }
--- @return integer how many are new
function Tokenizer:add_tokens(...)
  return self:_add(add_args:call(...).tokens, false, "add_tokens")
end

--- Likewise, and decode leaves them out.
--- @return integer
function Tokenizer:add_special_tokens(...)
  return self:_add(special_args:call(...).tokens, true, "add_special_tokens")
end

-- ---- truncation and padding ----

local truncation_args = check.args("enable_truncation", {
  { "max_length", "int", check.required, "tokens, added ones with them", min = 0, max = 1 << 30 },
  { "stride", "int", 0, "tokens that what is left over shares with what is before", min = 0,
    max = 1 << 30 },
  { "strategy", "enum", "longest_first", "which of two texts is cut",
    of = "longest_first|only_first|only_second" },
  { "direction", "enum", "right", "the end that is cut", of = "right|left" },
})
local strategies = { longest_first = 0, only_first = 1, only_second = 2 }

--- Cuts encodings to a length; what is left over is their `overflowing`.
function Tokenizer:enable_truncation(...)
  local o = truncation_args:call(...)
  text.truncate(self._core, o.max_length, o.stride, strategies[o.strategy], o.direction == "left")
  self.truncation = o
  return self
end

--- Ends truncation.
function Tokenizer:no_truncation()
  text.truncate(self._core)
  self.truncation = nil
  return self
end

local padding_args = check.args("enable_padding", {
  { "direction", "enum", "right", "where padding goes", of = "right|left" },
  { "pad_id", "int", nil, "its id; 0, or that of pad_token, by default", min = 0,
    max = (1 << 24) - 1 },
  { "pad_type_id", "int", 0, "its type", min = 0, max = 255 },
  { "pad_token", "string", "[PAD]", "its name" },
  { "length", "int", nil, "of all; the longest of a batch by default", min = 0, max = 1 << 24 },
  { "pad_to_multiple_of", "int", nil, "lengths that are multiples of it", min = 1, max = 1 << 20 },
})

--- Fills the encodings of a batch to one length.
function Tokenizer:enable_padding(...)
  local o = padding_args:call(...)
  o.pad_id = o.pad_id or self:token_to_id(o.pad_token) or 0
  text.padding(self._core, o.pad_token, math.max(0, o.pad_id - self._base), o.pad_type_id, o.length,
    o.pad_to_multiple_of, o.direction == "left")
  self.padding = o
  return self
end

--- Ends padding.
function Tokenizer:no_padding()
  text.padding(self._core)
  self.padding = nil
  return self
end

-- Truncation and padding as a file had them.
function Tokenizer:_read_settings()
  local json = text.to_json(self._core)
  local function part(key)
    local from, to = text.value(json, key)
    return core.json_decode(json:sub(from, to)) or nil
  end
  local p = part "padding"
  if p then
    self.padding = { direction = p.direction:lower(), pad_id = p.pad_id,
      pad_type_id = p.pad_type_id, pad_token = p.pad_token,
      pad_to_multiple_of = p.pad_to_multiple_of or nil,
      length = type(p.strategy) == "table" and p.strategy.Fixed or nil }
  end
  local u = part "truncation"
  if u then
    self.truncation = { max_length = u.max_length, stride = u.stride,
      direction = u.direction:lower(), strategy = u.strategy:gsub("(%l)(%u)", "%1_%2"):lower() }
  end
  return self
end

-- ---- training ----

local train_rows = {
  { "vocab_size", "int", 30000, "tokens, special ones with them", min = 1, max = (1 << 24) - 1 },
  { "min_frequency", "int", 0, "of pairs that become tokens, or of whole words", min = 0 },
  { "special_tokens", "list", {}, "they stand first and are found as they are" },
}
local train_named = {
  { "limit_alphabet", "int", nil, "characters that are kept, the most frequent", min = 0 },
  { "initial_alphabet", "list", nil, "characters that are kept; all bytes for ByteLevel" },
  { "max_token_length", "int", nil, "characters of a token", min = 1 },
  { "unk_token", "string", nil, "Unigram: for what is unknown; the model's own by default" },
  { "shrinking_factor", "number", 0.75, "Unigram: share that stays in each round", above = 0,
    below = 1 },
  { "max_piece_length", "int", 16, "Unigram: characters of a piece", min = 1, max = 256 },
  { "n_sub_iterations", "int", 2, "Unigram: estimates per round", min = 1, max = 1000 },
}
local train_args = check.args("train", { { "texts", { "list", "callable" }, check.required,
  "strings, or an iterator" }, table.unpack(train_rows) }, { named = train_named })

-- The special tokens as added ones, and what stands around texts where BERT's are among them.
function Tokenizer:_trained(model, specials)
  local added = list.new {}
  for i, content in ipairs(specials) do
    added[i] = { id = i - 1, content = content, special = true, normalized = false,
      single_word = false, lstrip = false, rstrip = false }
  end
  local json = text.to_json(self._core)
  local function put(key, value)
    local from, to = text.value(json, key)
    json = json:sub(1, from - 1) .. value .. json:sub(to + 1)
  end
  put("model", model)
  put("added_tokens", core.json_encode(added))
  local at = {}
  for i, content in ipairs(specials) do
    at[content] = i - 1
  end
  if self.kind == "WordPiece" and at["[CLS]"] and at["[SEP]"] then
    put("post_processor", core.json_encode { type = "BertProcessing",
      cls = { "[CLS]", at["[CLS]"] }, sep = { "[SEP]", at["[SEP]"] } })
  end
  self:_set(json, "train", self.zero_based)
  rawset(self, "_tokens", nil)
end

--- Learns a vocabulary from texts, in place of the one that there was: pairs of BPE and WordPiece
--- by how often they come up, whole words likewise, pieces of Unigram by expectation and
--- maximization. The same texts give the same tokens in any order.
---
---     local t = tide.tokenizers.BPE()
---     t:train({ "low low lower" }, { vocab_size = 8 })
---     t:encode("lower").tokens   --> { "low", "er" }
--- @return table the tokenizer
function Tokenizer:train(...)
  local o = train_args:call(...)
  local counts, texts, i = text.counts(), o.texts, 0
  local function following()
    i = i + 1
    if type(texts) == "function" then
      return texts()
    end
    return texts[i]
  end
  for s in following do
    if type(s) ~= "string" then
      errors.raise("train", "text %d must be a string (got %s)", i, check.show(s))
    end
    text.count(counts, self._core, s)
  end
  for k, s in ipairs(o.special_tokens) do
    if type(s) ~= "string" or s == "" then
      errors.raise("train", "special token %d must be a string with characters (got %s)", k,
        check.show(s))
    end
  end
  if self.kind == "WordPiece" and #o.special_tokens == 0 then
    o.special_tokens = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" }
  elseif self.kind == "WordLevel" and #o.special_tokens == 0 then
    o.special_tokens = { "[UNK]" }
  elseif self.kind == "Unigram" and #o.special_tokens == 0 then
    o.special_tokens, o.unk_token = { "<unk>" }, o.unk_token or "<unk>"
  end
  if not o.initial_alphabet and text.sees_bytes(self._core) then
    o.initial_alphabet = {}
    for b = 0, 255 do
      o.initial_alphabet[b + 1] = M.byte_character(b)
    end
  end
  self:_trained(text.train(counts, self._core, o), o.special_tokens)
  return self
end

local files_args = check.args("train_from_files", { { "paths", "list", check.required,
  "of text files; each line is a text" }, table.unpack(train_rows) }, { named = train_named })

--- As train, with the lines of files.
--- @return table the tokenizer
function Tokenizer:train_from_files(...)
  local o = files_args:call(...)
  local paths = o.paths
  o.paths = nil
  for i, path in ipairs(paths) do
    if type(path) ~= "string" then
      errors.raise("train_from_files", "path %d must be a string (got %s)", i, check.show(path))
    end
  end
  return self:train(coroutine.wrap(function()
    for _, path in ipairs(paths) do
      for line in core.read_file(path, 1 << 30):gmatch "[^\n]*\n?" do
        if line ~= "" then
          coroutine.yield(line)
        end
      end
    end
  end), o)
end

--- The character by which GPT-2 writes a byte.
function M.byte_character(b)
  local c = b < 33 and 256 + b or b >= 127 and b <= 160 and 162 + b or b == 173 and 323 or b
  return utf8.char(c)
end

-- ---- files ----

--- All of it as the text of a `tokenizer.json`, in which ids count from 0.
--- @return string
function Tokenizer:to_json()
  return text.to_json(self._core)
end

--- Writes a `tokenizer.json`.
--- @param path string
function Tokenizer:save(path)
  core.write_file(path, self:to_json())
end

--- Writes the model's own files into a folder: vocab.txt for WordPiece, vocab.json and merges.txt
--- for BPE, vocab.json for whole words.
--- @param folder string
--- @return table list of paths
function Tokenizer:save_model(folder)
  core.mkdirs(folder)
  local json = text.to_json(self._core)
  local model = json:sub(text.value(json, "model"))
  local _, _, n = text.info(self._core)
  local tokens = {}
  for id = 0, n - 1 do
    tokens[id + 1] = text.token(self._core, id) or ""
  end
  local out = {}
  local function put(name, content)
    out[#out + 1] = folder .. "/" .. name
    core.write_file(out[#out], content)
  end
  if self.kind == "WordPiece" then
    put("vocab.txt", table.concat(tokens, "\n") .. "\n")
    return out
  elseif self.kind == "Unigram" then
    put("unigram.json", model)
    return out
  end
  put("vocab.json", model:sub(text.value(model, "vocab")))
  if self.kind == "BPE" then
    local lines = { "#version: 0.2" }
    local merges = text.merges(self._core)
    table.move(merges, 1, #merges, 2, lines)
    put("merges.txt", table.concat(lines, "\n") .. "\n")
  end
  return out
end

return M

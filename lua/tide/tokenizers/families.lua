--- The usual tokenizers by their names, and their files.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local kit = require "tide.tokenizers.tokenizer"

local Tokenizer = kit.Tokenizer
local M = {}

-- ---- vocabularies: a list (v[1] is the first), a table of ids, or a file ----

local function read(path)
  return core.read_file(path, kit.MOST_FILE)
end

local function lines_of(path)
  local out = {}
  for line in (read(path):gsub("\r\n", "\n") .. "\n"):gmatch "(.-)\n" do
    out[#out + 1] = line
  end
  while #out > 0 and out[#out] == "" do
    out[#out] = nil
  end
  return out
end

-- token -> id from 0, as JSON text.
local function vocab_json(v, where)
  if type(v) == "string" then
    if v:find "%.json$" then
      return read(v)
    end
    v = lines_of(v)
  end
  if v[1] == nil then
    for token, id in pairs(v) do
      if type(token) ~= "string" or math.type(id) ~= "integer" then
        errors.raise(where,
          "vocab must be a list of tokens, or ids by token (got the entry %s = %s)",
          check.show(token), check.show(id))
      end
    end
    return next(v) == nil and "{}" or core.json_encode(v)
  end
  local out = {}
  for i, token in ipairs(v) do
    if type(token) ~= "string" then
      errors.raise(where, "vocab must be a list of tokens (got %s at position %d)",
        check.show(token), i)
    end
    out[core.text.mend(token)] = i - 1
  end
  return core.json_encode(out)
end

local function merges_list(v, where)
  local out = list.new {}
  if type(v) == "string" then
    for i, line in ipairs(lines_of(v)) do
      if not (i == 1 and line:find "^#version") and line ~= "" then
        out[#out + 1] = line
      end
    end
    return out
  end
  for i, m in ipairs(v) do
    if type(m) ~= "string" and type(m) ~= "table" then
      errors.raise(where, "merges must be \"a b\" or { \"a\", \"b\" } (got %s at position %d)",
        check.show(m), i)
    end
    out[i] = m
  end
  return out
end

-- ---- making one ----

-- Special tokens that the vocabulary has, as added tokens.
local function specials(vocab, names)
  local out, ids = list.new {}, core.json_decode(vocab)
  for _, name in ipairs(names) do
    if type(ids) == "table" and ids[name] then
      out[#out + 1] = { id = ids[name], content = name, special = true, normalized = false,
        single_word = false, lstrip = false, rstrip = false }
    end
  end
  table.sort(out, function(a, b)
    return a.id < b.id
  end)
  return out, ids
end

-- A tokenizer of parts; the vocabulary is put in as text, for it may be large.
local function made(o, where, parts, vocab)
  parts.model.vocab = "*"
  local json = core.json_encode(parts, none)
  json = json:gsub("\"vocab\":\"%*\"", function()
    return "\"vocab\":" .. vocab
  end, 1)
  local t = setmetatable({}, Tokenizer)
  return t:_set(json, where, o.zero_based)
end

local rows = {
  zero = { "zero_based", "bool", false, "ids from 0, as files have them" },
  vocab = { "vocab", { "list", "table", "string" }, {},
    "a list of tokens, ids by token, or a file" },
  merges = { "merges", { "list", "string" }, {}, "pairs in order, or merges.txt" },
  special = { "special_tokens", "list", nil,
    "tokens of the vocabulary that are found as they are" },
  unk = { "unk_token", "string", nil, "for what has no token" },
  dropout = { "dropout", "number", nil, "share of merges that are left out", min = 0, max = 1 },
}

-- "NFC", a list of such, or a table as tokenizer.json writes it.
local function normalizers(v, lowercase)
  local out = list.new {}
  local function add(n)
    if type(n) == "string" then
      out[#out + 1] = { type = n }
    elseif n[1] ~= nil then
      for _, one in ipairs(n) do
        add(one)
      end
    else
      out[#out + 1] = n
    end
  end
  if v then
    add(v)
  end
  if lowercase then
    out[#out + 1] = { type = "Lowercase" }
  end
  return #out == 0 and none or #out == 1 and out[1] or { type = "Sequence", normalizers = out }
end

local normalizer_row = { "normalizer", { "string", "table" }, nil,
  "NFC, NFD, NFKC, NFKD, a list of them, or a table as in tokenizer.json" }

local byte_args = check.args("ByteLevelBPE", { rows.vocab, rows.merges }, { named = {
  { "add_prefix_space", "bool", false, "a space before a text that has none" },
  { "trim_offsets", "bool", true, "offsets without the spaces before words" },
  { "lowercase", "bool", false, "in lower case" }, normalizer_row, rows.dropout, rows.special,
  rows.zero,
} })

-- The characters by which GPT-2 writes the bytes, in Unicode's order: a vocabulary for every text.
local function alphabet()
  local out = {}
  for b = 0, 255 do
    out[b + 1] = kit.byte_character(b)
  end
  table.sort(out, function(x, y)
    return utf8.codepoint(x) < utf8.codepoint(y)
  end)
  return out
end

--- Byte-pair encoding of bytes, as GPT-2 has it: every text has tokens, and decode gives it back.
--- Without a vocabulary the tokens are the 256 bytes; `train` learns more.
---
---     local t = tide.tokenizers.ByteLevelBPE()
---     t:decode(t:encode("a new ☃").ids)   --> "a new ☃"
function M.ByteLevelBPE(...)
  local o, where = byte_args:construct(...), "ByteLevelBPE"
  local vocab = vocab_json(type(o.vocab) == "table" and next(o.vocab) == nil and alphabet()
    or o.vocab, where)
  local bytes = { type = "ByteLevel", add_prefix_space = o.add_prefix_space,
    trim_offsets = o.trim_offsets, use_regex = true }
  return made(o, where, { normalizer = normalizers(o.normalizer, o.lowercase),
    pre_tokenizer = bytes, post_processor = bytes, decoder = bytes,
    added_tokens = (specials(vocab, o.special_tokens or { "<|endoftext|>" })),
    model = { type = "BPE", merges = merges_list(o.merges, where), dropout = o.dropout } }, vocab)
end

local bpe_args = check.args("BPE", { rows.vocab, rows.merges }, { named = {
  rows.unk, { "end_of_word_suffix", "string", nil, "behind the last piece of a word, \"</w>\"" },
  { "continuing_subword_prefix", "string", nil, "before all but the first" },
  { "fuse_unk", "bool", false, "unknown characters that stand together are one" },
  { "byte_fallback", "bool", false, "unknown characters as the tokens <0x00> to <0xFF>" },
  { "lowercase", "bool", false, "in lower case" }, normalizer_row,
  { "pre_tokenizer", "table", { type = "Whitespace" }, "as in tokenizer.json" },
  rows.dropout, rows.special, rows.zero,
} })

--- Byte-pair encoding of characters (Sennrich, Haddow and Birch 2016).
--- @usage local t = tide.tokenizers.BPE { { "a", "b", "ab" }, { "a b" } }
function M.BPE(...)
  local o, where = bpe_args:construct(...), "BPE"
  local vocab = vocab_json(o.vocab, where)
  return made(o, where, { normalizer = normalizers(o.normalizer, o.lowercase),
    pre_tokenizer = o.pre_tokenizer,
    decoder = o.end_of_word_suffix and { type = "BPEDecoder", suffix = o.end_of_word_suffix }
      or o.continuing_subword_prefix and { type = "WordPiece", cleanup = false,
        prefix = o.continuing_subword_prefix } or none,
    added_tokens = (specials(vocab, o.special_tokens or { o.unk_token })),
    model = { type = "BPE", merges = merges_list(o.merges, where), dropout = o.dropout,
      unk_token = o.unk_token, end_of_word_suffix = o.end_of_word_suffix,
      continuing_subword_prefix = o.continuing_subword_prefix, fuse_unk = o.fuse_unk,
      byte_fallback = o.byte_fallback } }, vocab)
end

local piece_args = check.args("WordPiece", { rows.vocab }, { named = {
  { "unk_token", "string", "[UNK]", "for words that have no tokens" },
  { "prefix", "string", "##", "of pieces within words" },
  { "max_input_chars_per_word", "int", 100, "longer words are unknown", min = 0 },
  { "clean_text", "bool", true, "without control characters, spaces as spaces" },
  { "handle_chinese_chars", "bool", true, "each Chinese character by itself" },
  { "strip_accents", "bool", nil, "as lowercase by default" },
  { "lowercase", "bool", true, "in lower case" }, rows.special, rows.zero,
} })

--- BERT's WordPiece: words cut into the longest pieces that are known. [CLS] and [SEP] stand around
--- texts where the vocabulary has them.
--- @usage local t = tide.tokenizers.WordPiece { vocab = { "[UNK]", "un", "##do" } }
function M.WordPiece(...)
  local o, where = piece_args:construct(...), "WordPiece"
  local vocab = vocab_json(o.vocab, where)
  local added, ids = specials(vocab, o.special_tokens
    or { "[PAD]", o.unk_token, "[CLS]", "[SEP]", "[MASK]" })
  local both = type(ids) == "table" and ids["[CLS]"] and ids["[SEP]"]
  local accents = o.strip_accents
  if accents == nil then
    accents = none
  end
  return made(o, where, {
    normalizer = { type = "BertNormalizer", clean_text = o.clean_text,
      handle_chinese_chars = o.handle_chinese_chars, strip_accents = accents,
      lowercase = o.lowercase },
    pre_tokenizer = { type = "BertPreTokenizer" },
    post_processor = both and { type = "BertProcessing", cls = { "[CLS]", ids["[CLS]"] },
      sep = { "[SEP]", ids["[SEP]"] } } or none,
    decoder = { type = "WordPiece", prefix = o.prefix, cleanup = true }, added_tokens = added,
    model = { type = "WordPiece", unk_token = o.unk_token, continuing_subword_prefix = o.prefix,
      max_input_chars_per_word = o.max_input_chars_per_word } }, vocab)
end

local word_args = check.args("WordLevel", { rows.vocab }, { named = {
  { "unk_token", "string", "[UNK]", "for words that are not known" },
  { "lowercase", "bool", false, "in lower case" }, normalizer_row,
  { "pre_tokenizer", "table", { type = "Whitespace" }, "as in tokenizer.json" },
  rows.special, rows.zero,
} })

--- Whole words, each with a number.
--- @usage local t = tide.tokenizers.WordLevel { vocab = { "[UNK]", "hello", "world" } }
function M.WordLevel(...)
  local o, where = word_args:construct(...), "WordLevel"
  local vocab = vocab_json(o.vocab, where)
  return made(o, where, { normalizer = normalizers(o.normalizer, o.lowercase),
    pre_tokenizer = o.pre_tokenizer,
    added_tokens = (specials(vocab, o.special_tokens or { o.unk_token })),
    model = { type = "WordLevel", unk_token = o.unk_token } }, vocab)
end

local unigram_args = check.args("Unigram", {
  { "vocab", "list", {}, "{ token, score } each, the score a logarithm" },
}, { named = {
  { "unk_id", "int", nil, "position of the token for what is unknown", min = 1, counts = true },
  { "byte_fallback", "bool", false, "unknown characters as the tokens <0x00> to <0xFF>" },
  { "lowercase", "bool", false, "in lower case" }, normalizer_row,
  { "pre_tokenizer", "table",
    { type = "Metaspace", replacement = "▁", prepend_scheme = "always" }, "as in tokenizer.json" },
  rows.special, rows.zero,
} })

--- The most likely way to cut a text into tokens that each have a probability (Kudo 2018), as
--- SentencePiece has it.
--- @usage local t = tide.tokenizers.Unigram { { { "<unk>", 0 }, { "▁a", -1.5 } }, unk_id = 1 }
function M.Unigram(...)
  local o, where = unigram_args:construct(...), "Unigram"
  local vocab, ids = list.new {}, {}
  for i, entry in ipairs(o.vocab) do
    if type(entry) ~= "table" or type(entry[1]) ~= "string" or type(entry[2]) ~= "number" then
      errors.raise(where, "vocab must hold { token, score } (got %s at position %d)",
        check.show(entry), i)
    end
    vocab[i], ids[entry[1]] = { entry[1], entry[2] }, i - 1
  end
  local names = o.special_tokens or { o.unk_id and o.vocab[o.unk_id] and o.vocab[o.unk_id][1] }
  return made(o, where, { normalizer = normalizers(o.normalizer, o.lowercase),
    pre_tokenizer = o.pre_tokenizer, decoder = o.pre_tokenizer.type == "Metaspace"
      and o.pre_tokenizer or none,
    added_tokens = (specials(next(ids) and core.json_encode(ids) or "{}", names)),
    model = { type = "Unigram", unk_id = o.unk_id and o.unk_id - 1 or none,
      byte_fallback = o.byte_fallback } }, core.json_encode(vocab))
end

-- ---- files ----

local json_args = check.args("tokenizers.from_json", {
  { "json", "string", check.required, "the text of a tokenizer.json" },
}, { named = { { "zero_based", "bool", true, "ids as in the file; false: from 1" } } })

local function from_text(json, what, zero_based)
  local t = setmetatable({}, Tokenizer)
  return t:_set(json, what, zero_based):_read_settings()
end

--- The tokenizer of the text of a tokenizer.json.
---
---     local t = tide.tokenizers.WordLevel { vocab = { "a", "b" } }
---     tide.tokenizers.from_json(t:to_json()):encode("b").ids   --> { 1 }
function M.from_json(...)
  local o = json_args:call(...)
  return from_text(o.json, "tokenizers.from_json", o.zero_based)
end

local load_args = check.args("tokenizers.load", {
  { "path", "string", check.required, "a tokenizer.json, a vocab.txt, or a folder with them" },
}, { named = { { "zero_based", "bool", true, "ids as in the file; false: from 1" },
  { "lowercase", "bool", nil, "of a vocab.txt: true by default" } } })

--- The tokenizer of a file or folder of Hugging Face's: tokenizer.json, vocab.txt (BERT's), or
--- vocab.json with merges.txt (GPT-2's).
--- @usage local t = tide.tokenizers.load "bert-base-uncased"
function M.load(...)
  local o = load_args:call(...)
  local function there(name)
    local path = o.path .. "/" .. name
    return pcall(core.read_file, path, math.maxinteger, 0) and path
  end
  local lowercase = o.lowercase == nil or o.lowercase
  local file = there "tokenizer.json"
  if file then
    return from_text(read(file), file, o.zero_based)
  elseif there "vocab.txt" then
    return M.WordPiece { vocab = there "vocab.txt", lowercase = lowercase,
      zero_based = o.zero_based }
  elseif there "vocab.json" and there "merges.txt" then
    return M.ByteLevelBPE { there "vocab.json", there "merges.txt", zero_based = o.zero_based }
  elseif o.path:find "%.txt$" then
    return M.WordPiece { vocab = o.path, lowercase = lowercase, zero_based = o.zero_based }
  end
  return from_text(read(o.path), o.path, o.zero_based)
end

return M

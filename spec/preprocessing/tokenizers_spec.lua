-- Tokenizers beside Hugging Face's on 2,400 strings in 14 scripts (spec/ref/tokenizers_files.py):
-- ids, offsets, words and decoded text by digests; then what they refuse, and files that they
-- write.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local tokenizers = tide.tokenizers
local DIR = "spec/ref/tokenizers/"
local message = expect.message

local function unzipped(name)
  local p = assert(io.popen("gzip -dc " .. DIR .. name))
  local s = p:read "a"
  p:close()
  return s
end

local texts = core.json_decode(unzipped "texts.json.gz")

local function digest(...)
  local parts = {}
  for i, x in ipairs { ... } do
    parts[i] = table.concat(x, ",")
  end
  return ("%08x"):format(core.crc32c(table.concat(parts, "|")))
end

local function flat(e)
  local offsets, words = {}, {}
  for _, o in ipairs(e.offsets) do
    offsets[#offsets + 1] = math.max(o[1] - 1, 0)
    offsets[#offsets + 1] = o[2]
  end
  for i, w in ipairs(e.word_ids) do
    words[i] = w and w - 1 or -1
  end
  return e.ids, offsets, words
end

local FAMILIES = { "gpt2", "roberta", "llama3", "o200k", "falcon", "clip", "bert", "bert_cased",
  "t5", "xlmr", "unigram_bytes", "llama2", "words", "fallbacks" }

describe("a tokenizer.json of Hugging Face's", function()
  for _, name in ipairs(FAMILIES) do
    it("gives the same tokens: " .. name, function()
      local json = unzipped(name .. ".json.gz")
      local t = tokenizers.from_json(json)
      local again = tokenizers.from_json(t:to_json())
      local i, wrong = 0, {}
      for line in unzipped(name .. ".txt.gz"):gmatch "[^\n]+" do
        i = i + 1
        local got
        if i <= #texts then
          local e = t:encode(texts[i])
          local ids, offsets, words = flat(e)
          got = table.concat({ digest(ids), digest(offsets), digest(words),
            ("%08x"):format(core.crc32c(t:decode(ids))) }, " ")
          if i % 7 == 0 then
            assert.equal(digest(ids), digest(again:encode(texts[i]).ids))
          end
        else
          local k = i - #texts
          local e = t:encode(texts[k], texts[k + 100])
          local ids, offsets, words = flat(e)
          got = digest(ids) .. " " .. digest(offsets, e.type_ids, words)
        end
        -- their offsets are those of the characters before where the first of all is taken away
        if got ~= line and not (name == "xlmr" and (i == 11 or i == #texts + 11)) then
          wrong[#wrong + 1] = i
        end
      end
      assert.equal(#texts + 100, i)
      assert.same({}, wrong)
    end)
  end
end)

describe("tokenizers", function()
  local words = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##ed", "," }

  it("count from 1, but for those that begin with padding and those of files", function()
    assert.same({ 2, 1 }, tokenizers.WordLevel({ vocab = { "[UNK]", "a" } }):encode("a b").ids)
    assert.same({ 1, 0 }, tokenizers.WordLevel({ vocab = { "[UNK]", "a" }, zero_based = true })
      :encode("a b").ids)
    assert.same({ 2, 4, 5, 7, 3 }, tokenizers.WordPiece({ vocab = words }):encode("Playing,").ids)
  end)

  it("cut, pad and say where tokens stand", function()
    local t = tokenizers.WordPiece { vocab = words }
    local s = "Played, playing"
    local e = t:encode(s)
    assert.same({ "[CLS]", "play", "##ed", ",", "play", "##ing", "[SEP]" }, e.tokens)
    local cut = {}
    for i, o in ipairs(e.offsets) do
      cut[i] = s:sub(o[1], o[2])
    end
    assert.same({ "", "Play", "ed", ",", "play", "ing", "" }, cut)
    assert.same({ 1, 0, 0, 0, 0, 0, 1 }, e.special_tokens_mask)
    assert.same({ false, 1, 1, 2, 3, 3, false }, e.word_ids)
    t:enable_truncation(5, { stride = 1 })
    e = t:encode(s)
    assert.same({ "[CLS]", "play", "##ed", ",", "[SEP]" }, e.tokens)
    assert.equal(1, #e.overflowing)
    assert.same({ "[CLS]", ",", "play", "##ing", "[SEP]" }, e.overflowing[1].tokens)
    t:no_truncation():enable_padding { pad_to_multiple_of = 4 }
    local ids, mask = t:tensors { s, "play" }
    assert.same({ { 2, 4, 6, 7, 4, 5, 3, 0 }, { 2, 4, 3, 0, 0, 0, 0, 0 } }, ids:tolist())
    assert.same({ { 1, 1, 1, 1, 1, 1, 1, 0 }, { 1, 1, 1, 0, 0, 0, 0, 0 } }, mask:tolist())
    assert.equal("played, playing", t:decode(ids[1]))
    assert.same({ "played, playing", "play" }, t:decode_batch(ids))
  end)

  it("replace broken UTF-8 and never hang", function()
    local t = tokenizers.ByteLevelBPE { vocab = { "ï", "¿", "½", "a" } }
    assert.same({ 4, 1, 2, 3, 4 }, t:encode("a\xe2\x82a").ids)
    assert.equal("a\u{FFFD}a", t:decode(t:encode("a\xe2\x82a").ids))
    for i = 0, 255 do
      t:encode(("x" .. string.char(i)):rep(20))
    end
  end)

  it("write files that read as the same tokenizer", function()
    local folder = expect.name()
    local t = tokenizers.WordPiece { vocab = words, lowercase = false }
    t:add_tokens { "<new>", { content = "NASA", single_word = true } }
    core.mkdirs(folder)
    t:save(folder .. "/tokenizer.json")
    local again = tokenizers.load(folder)
    assert.same(t:encode("play <new>ing NASA").ids, again:encode("play <new>ing NASA").ids)
    assert.same({ folder .. "/vocab.txt" }, t:save_model(folder))
    os.remove(folder .. "/tokenizer.json")
    assert.same({ 2, 4, 5, 3 }, tokenizers.load(folder):encode("Playing").ids)
    local b = tokenizers.ByteLevelBPE { { "a", "b", "ab" }, { "a b" } }
    b:save_model(folder)
    os.remove(folder .. "/vocab.txt")
    assert.same({ 2, 1 }, tokenizers.load(folder):encode("abb").ids)
    os.execute("rm -rf " .. folder)
  end)

  it("refuse damaged files with one message", function()
    local function bad(json)
      return message(tokenizers.from_json, json)
    end
    local base = "{\"model\": {\"type\": \"BPE\", \"vocab\": %s, \"merges\": %s}%s}"
    assert.matches("a tokenizer must be a JSON object", bad "[]", 1, true)
    assert.matches("model is missing", bad "{}", 1, true)
    assert.matches("model.vocab must be an object of ids by token (got a list)",
      bad(base:format("[]", "[]", "")), 1, true)
    assert.matches("the id of 'a' must be a whole number",
      bad(base:format("{\"a\": \"b\"}", "[]", "")), 1, true)
    assert.matches("the id of 'a' must be from 0 to 16777215 (got 4294967296)",
      bad(base:format("{\"a\": 4294967296}", "[]", "")), 1, true)
    assert.matches("entry 1 joins 'b', which is not in the vocabulary",
      bad(base:format("{\"a\": 0}", "[\"a b\"]", "")), 1, true)
    assert.matches("entry 1 makes 'ab', which is not in the vocabulary",
      bad(base:format("{\"a\": 0, \"b\": 1}", "[[\"a\", \"b\"]]", "")), 1, true)
    assert.matches("entry 1 must be two tokens", bad(base:format("{\"a\": 0}", "[7]", "")), 1, true)
    assert.matches("normalizer.type must be one of", bad(base:format("{}", "[]",
      ", \"normalizer\": {\"type\": \"X\"}")), 1, true)
    assert.matches("normalizer must be an object (got a list)", bad(base:format("{}", "[]",
      ", \"normalizer\": []")), 1, true)
    assert.matches("the pattern '(a' is not understood", bad(base:format("{}", "[]",
      ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}}")), 1, true)
    assert.matches("is too large for 1 tokens", bad(base:format("{\"a\": 16000000}", "[]", "")), 1,
      true)
    assert.matches("not valid JSON at byte", bad "{\"model\": \0}", 1, true)
  end)

  it("end patterns that take too long", function()
    local t = tokenizers.Tokenizer { model = { type = "WordLevel", vocab = { a = 0 },
      unk_token = "a" }, pre_tokenizer = { type = "Split", behavior = "Isolated",
        pattern = { Regex = "(?:a|a|aa)+b" } } }
    assert.matches("takes too long", message(t.encode, t, ("a"):rep(60)), 1, true)
  end)
end)

-- The texts that the reference tokenizers learned from are those of another seed, which no digest
-- keeps: here all are trained on the texts that they are compared on.
describe("training", function()
  local function trained(t, o)
    return t:train(texts, o)
  end

  it("gives tokens that cut what was learned into less, and files that read as the same", function()
    local makers = {
      { tokenizers.ByteLevelBPE, 400, 300 }, { tokenizers.BPE, 900, 600, { unk_token = "[UNK]" } },
      { tokenizers.WordPiece, 900, 700 }, { tokenizers.WordLevel, 400, 200 },
      { tokenizers.Unigram, 900, 700 },
    }
    for _, row in ipairs(makers) do
      local t = trained(row[1](row[4] or {}), { vocab_size = row[2],
        special_tokens = row[4] and { "[UNK]" } or nil })
      assert.is_true(t:vocab_size() <= row[2] and t:vocab_size() >= row[3], tostring(t))
      local again = tokenizers.from_json(t:to_json(), { zero_based = t._base == 0 })
      for i = 1, #texts, 50 do
        assert.same(t:encode(texts[i]).ids, again:encode(texts[i]).ids)
      end
    end
  end)

  it("of bytes gives every text back", function()
    local t = trained(tokenizers.ByteLevelBPE(), { vocab_size = 500 })
    for i = 1, #texts, 20 do
      assert.equal(texts[i], t:decode(t:encode(texts[i]).ids))
    end
  end)

  it("does not depend on the order of the texts", function()
    local back = {}
    for i, s in ipairs(texts) do
      back[#texts - i + 1] = s
    end
    for _, make in ipairs { tokenizers.BPE, tokenizers.WordPiece, tokenizers.Unigram } do
      local o = { vocab_size = 900 }
      assert.equal(trained(make(), o):to_json(), make():train(back, o):to_json())
    end
  end)

  it("learns the pairs of a small text one by one", function()
    local t = tokenizers.BPE():train({ "aaab aab ab", "b" }, { vocab_size = 4 })
    assert.same({ a = 1, b = 2, aa = 3, ab = 4 }, t:get_vocab())
    t = tokenizers.WordPiece():train({ "un undo do" }, { vocab_size = 11, special_tokens =
      { "[UNK]" } })
    assert.same({ "un", "##do" }, { table.unpack(t:encode("undo").tokens) })
    t = tokenizers.WordLevel():train({ "b a b c" }, { vocab_size = 3 })
    assert.same({ ["[UNK]"] = 1, b = 2, a = 3 }, t:get_vocab())
  end)

  it("says what it cannot do", function()
    local t = tokenizers.Unigram()
    assert.matches("vocab_size must hold the 4 characters", message(t.train, t, { "ab c" },
      { vocab_size = 2 }), 1, true)
    assert.matches("text 2 must be a string (got 7)", message(t.train, t, { "a", 7 }), 1, true)
    assert.matches("special token 1 must be", message(t.train, t, { "a" },
      { special_tokens = { "" } }), 1, true)
  end)
end)

describe("training beside Hugging Face's", function()
  local makers = { ByteLevelBPE = tokenizers.ByteLevelBPE, BPE = tokenizers.BPE,
    WordLevel = tokenizers.WordLevel }
  function makers.llama3()
    return tokenizers.from_json(unzipped "llama3.json.gz")
  end
  for i, row in ipairs(require "spec.ref.tokenizers_train") do
    it(("learns the same tokens in the same order: %s, %d"):format(row[1], i), function()
      local t = makers[row[1]]():train(texts, row[2])
      local vocab, base = {}, t._base
      for id = 0, t:vocab_size() - 1 do
        vocab[id + 1] = t:id_to_token(id + base) .. " " .. id
      end
      assert.equal(row[3], #vocab)
      assert.equal(row[4], ("%08x"):format(core.crc32c(table.concat(vocab, "\n"))))
      assert.equal(row[5],
        ("%08x"):format(core.crc32c(table.concat(core.text.merges(t._core), "\n"))))
    end)
  end
end)

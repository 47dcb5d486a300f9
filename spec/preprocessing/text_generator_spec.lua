-- TextGenerator: folders, files, tables and lists as batches; windows of running text; order, seeds
-- and places that are gone back to.
local expect = require "spec.support.expect"
local tide = require "tide"

local TextGenerator = tide.preprocessing.text.TextGenerator
local message = expect.message

local function write(path, s)
  local f = assert(io.open(path, "wb"))
  f:write(s)
  f:close()
end

-- The texts of one pass, as their first ids.
local function firsts(it)
  local out = {}
  for x in it:iter() do
    for k = 1, x.shape[1] do
      out[#out + 1] = x[{ k, 1 }]
    end
  end
  return out
end

local function letters(s)
  local out = {}
  for c in s:gmatch "%l" do
    out[#out + 1] = c:byte() - 96
  end
  return out
end

describe("texts that workers make into ids", function()
  local texts = {}
  for i = 1, 300 do
    texts[i] = ("Text %d says é %s\n"):format(i, ("and "):rep(i % 9))
  end
  local tokenizer = tide.tokenizers.ByteLevelBPE():train(texts, { vocab_size = 300 })

  local function flow(o, flow_options)
    o.tokenizer = o.tokenizer or tokenizer
    o.maxlen = o.maxlen or 20
    flow_options = flow_options or {}
    flow_options.batch_size, flow_options.seed = 16, 3
    return TextGenerator(o):flow(texts, nil, flow_options)
  end

  local function passes(it, n)
    local out = {}
    for _ = 1, n do
      for x in it:iter() do
        out[#out + 1] = x:tobytes()
      end
    end
    return out
  end

  local others -- threads of what ran before in this process
  before_each(function()
    collectgarbage()
    collectgarbage()
    others = tide.data.threads()
  end)

  it("are what the main thread makes, for any number of threads, and leave no thread", function()
    local before = tide.get_threads()
    for _, o in ipairs { {}, { word_dropout = 0.2 }, { buckets = 3 }, { pad_by_batch = true },
      { mode = "language_model", length = 12 } } do
      local plain = { tokenizer = function(s) return tokenizer:ids({ s })[1] end }
      for k, v in pairs(o) do
        plain[k] = v
      end
      local want = passes(flow(plain), 2)
      for _, n in ipairs { 1, 4 } do
        tide.set_threads(n)
        local mine = {}
        for k, v in pairs(o) do
          mine[k] = v
        end
        assert.same(want, passes(flow(mine), 2))
        assert.is_true(tide.data.threads() <= others)
      end
      tide.set_threads(before)
    end
  end)

  it("go on from every batch, and end with a loop that is left", function()
    local want = passes(flow {}, 1)
    for at = 0, #want - 1, 3 do
      local one, other = flow {}, flow {}
      for _ = 1, at do
        one:next()
      end
      other:restore(one:state())
      assert.same(table.move(want, at + 1, #want, 1, {}), passes(other, 1), at)
      one:close()
    end
    local it = flow {}
    for _ in it:iter() do -- luacheck: ignore 512
      assert.is_true(tide.data.threads() > others)
      break
    end
    assert.is_true(tide.data.threads() <= others)
    assert.same(want, passes(flow {}, 1))
  end)

  it("say what is wrong with a file when its turn comes", function()
    local folder = expect.folder()
    local names = {}
    for i = 1, 64 do
      names[i] = ("%s/%02d.txt"):format(folder, i)
      write(names[i], texts[i])
    end
    local it = TextGenerator { tokenizer = tokenizer, maxlen = 8 }:flow_from_files(names, nil,
      { batch_size = 8, shuffle = false })
    os.remove(names[30])
    local n = 0
    expect.raises(names[30], function()
      for _ in it:iter() do
        n = n + 1
      end
    end)
    assert.equal(3, n)
    assert.is_true(tide.data.threads() <= others)
  end)

  it("take part in fit", function()
    local model = tide.Sequential {
      tide.layers.Embedding { 301, 4, zero_row = true, input_shape = { 20 } },
      tide.layers.Flatten(), tide.layers.Dense { 1 },
    }
    model:compile { loss = "mse", optimizer = "sgd" }
    local y, most = {}, 0
    for i = 1, #texts do
      y[i] = i % 2
    end
    local it = TextGenerator { tokenizer = tokenizer, maxlen = 20 }:flow(texts, tide.tensor(y),
      { batch_size = 16 })
    model:fit(it, { epochs = 2, verbose = 0, callbacks = { { on_train_batch_end = function()
      most = math.max(most, tide.data.threads())
    end } } })
    assert.is_true(most > 0)
    assert.is_true(tide.data.threads() <= others)
  end)
end)

describe("TextGenerator", function()
  local root
  setup(function()
    root = expect.name()
    assert(os.execute(("mkdir -p %s/pos/more %s/neg"):format(root, root)))
    for i = 1, 5 do
      write(("%s/pos/%d.txt"):format(root, i), ("good film "):rep(i))
      write(("%s/neg/%d.txt"):format(root, i), ("bad film "):rep(i))
    end
    write(root .. "/pos/more/z.txt", "\xef\xbb\xbfgood \xff end\0x")
    write(root .. "/neg/notes.md", "no")
  end)
  teardown(function()
    os.execute("rm -rf " .. root)
  end)

  it("labels the files of folders from 1, and splits each class", function()
    local g = TextGenerator { validation_split = 0.4 }
    local it = g:flow_from_directory(root, { shuffle = false, batch_size = 20, verbose = false })
    assert.same({ "neg", "pos" }, it.class_names)
    assert.equal(11, it.n)
    assert.equal("pos/more/z.txt", it.filenames[11])
    local x, y = it:get(1)
    assert.equal("[11, 10]", tostring(x.shape))
    assert.same({ 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2 }, y:tolist())
    local part = { subset = "validation", shuffle = false, verbose = false,
      class_mode = "categorical" }
    x, y = g:flow_from_directory(root, part):get(1)
    assert.same({ { 1, 0 }, { 1, 0 }, { 0, 1 }, { 0, 1 } }, y:tolist())
    assert.equal(4, x.shape[1])
    part.subset, part.class_mode = "training", "binary"
    y = select(2, g:flow_from_directory(root, part):get(1))
    assert.same({ 0, 0, 0, 1, 1, 1, 1 }, y:tolist())
    assert.equal("float32", y.dtype)
    part.class_mode = tide.none
    assert.is_nil(select(2, g:flow_from_directory(root, part):get(1)))
  end)

  it("takes every kind of tokenizer", function()
    local made = { tide.tokenizers.WordLevel { vocab = { "a", "b", "[UNK]" }, special_tokens = {} },
      letters, tide.preprocessing.text.Tokenizer { char_level = true } }
    made[3]:fit_on_texts { "aab" }
    for _, t in ipairs(made) do
      local x = TextGenerator({ t }):flow({ "a" }, { shuffle = false }):get(1)
      assert.same({ { 1 } }, x:tolist())
    end
    local layer = setmetatable({ adapt = print }, { __call = function(_, texts)
      return tide.tensor({ { #texts, 7, 0, 0 } }, { dtype = "int64" })
    end })
    local x = TextGenerator({ layer }):flow({ "a" }, { shuffle = false }):get(1)
    assert.same({ { 1, 7 } }, x:tolist())
    local vectorize = tide.layers.TextVectorization { max_tokens = 9 }
    x = TextGenerator({ vectorize }):flow({ "b a a", "a" }, { shuffle = false }):get(1)
    assert.same({ { 3, 2, 2 }, { 2, 0, 0 } }, x:tolist())
    assert.matches("tokenizer must be a tokenizer", message(TextGenerator, { 3 }), 1, true)
  end)

  it("pads, cuts and puts texts of like length together", function()
    local texts = { "a", "ab", "abc", "abcd", "abcde", "abcdef" }
    local function batch(o)
      o[1] = letters
      return TextGenerator(o):flow(texts, { shuffle = false, batch_size = 6 }):get(1)
    end
    assert.equal("[6, 6]", tostring(batch({}).shape))
    local x = batch { maxlen = 3, padding = "pre", truncating = "pre" }
    assert.same({ 0, 0, 1 }, x[1]:tolist())
    assert.same({ 4, 5, 6 }, x[6]:tolist())
    assert.equal("[6, 9]", tostring(batch({ maxlen = 9 }).shape))
    assert.equal("[6, 6]", tostring(batch({ maxlen = 9, pad_by_batch = true }).shape))
    local it = TextGenerator({ letters, buckets = { 2, 4 } }):flow(texts, { seed = 3,
      batch_size = 2 })
    assert.equal(3, #it)
    local widths = {}
    for b in it:iter() do
      widths[#widths + 1] = b.shape[2]
    end
    table.sort(widths)
    assert.same({ 2, 4, 6 }, widths)
  end)

  it("makes windows of running text with the next tokens", function()
    local g = TextGenerator { letters, mode = "language_model", length = 3, stride = 2,
      separator = 9 }
    local it = g:flow({ "abcd", "ef" }, { shuffle = false })
    local x, y = it:get(1)
    assert.same({ { 1, 2, 3 }, { 3, 4, 9 }, { 9, 5, 6 } }, x:tolist())
    assert.same({ { 2, 3, 4 }, { 4, 9, 5 }, { 5, 6, 9 } }, y:tolist())
    g = TextGenerator { letters, mode = "language_model", length = 3, join = false }
    local w
    x, y, w = g:flow({ "abcde", "fg", "h" }, { shuffle = false }):get(1)
    assert.same({ { 1, 2, 3 }, { 4, 5, 0 }, { 6, 7, 0 } }, x:tolist())
    assert.same({ { 2, 3, 4 }, { 5, 0, 0 }, { 7, 0, 0 } }, y:tolist())
    assert.same({ { 1, 1, 1 }, { 1, 0, 0 }, { 1, 0, 0 } }, w:tolist())
    assert.matches("no window of 3 tokens", message(g.flow, TextGenerator { letters, length = 3,
      mode = "language_model" }, { "ab" }), 1, true)
    assert.is_true(g:flow_from_directory(root, { verbose = false }).n > 3)
  end)

  it("takes files and tables, names of classes, numbers and weights", function()
    local g = TextGenerator { letters }
    local one = { batch_size = 9, shuffle = false }
    local x, y, w = g:flow_from_table({ text = { "a", "b" }, class = { "x", "y" }, w = { 1, 2 } },
      { weight_col = "w", shuffle = false }):get(1)
    assert.same({ { 1 }, { 2 } }, x:tolist())
    assert.same({ 1, 2 }, y:tolist())
    assert.same({ 1, 2 }, w:tolist())
    x, y = g:flow_from_table({ { t = "a", v = 0.5 }, { t = "b", v = 2 } }, "t", "v", one):get(1)
    assert.same({ 0.5, 2 }, y:tolist())
    assert.equal(2, x.shape[1])
    local it = g:flow_from_files({ root .. "/pos/1.txt", root .. "/neg/1.txt" }, { "p", "n" }, one)
    assert.same({ n = 1, p = 2 }, it.class_indices)
    assert.same({ 2, 1 }, select(2, it:get(1)):tolist())
    assert.matches("cannot open", message(it.get, g:flow_from_files({ root .. "/no" }, one), 1), 1,
      true)
    assert.matches("y must be as many as the texts (expected 2, got 1)",
      message(g.flow, g, { "a", "b" }, { 1 }), 1, true)
    assert.matches("row 1 has no 'class'", message(g.flow_from_table, g, { { a = 1 } }), 1, true)
  end)

  it("changes texts by seed, pass and place only, and goes on anywhere", function()
    local function make()
      return TextGenerator({ letters, word_dropout = 0.5, augment = function(s, draw)
        return draw() < 0.5 and s or s .. s
      end }):flow({ "abcdef", "ghijkl", "mnopqr", "stuvwx", "yz" }, { seed = 4, batch_size = 2 })
    end
    assert.same(firsts(make()), firsts(make()))
    local it = make()
    assert.not_same(firsts(it), firsts(it))
    for stop = 0, 7 do
      local a, b = make(), make()
      for _ = 1, stop do
        a:next()
      end
      b:restore(a:state())
      for _ = 1, 5 do
        assert.same(a:next():tolist(), b:next():tolist())
      end
    end
  end)

  it("feeds fit", function()
    tide.seed(1)
    local g = TextGenerator { maxlen = 6 }
    local it = g:flow_from_directory(root, { batch_size = 4, seed = 1, verbose = false })
    local model = tide.Sequential {
      tide.layers.Embedding { 20, 4, mask_zero = true, input_shape = { 6 } },
      tide.layers.GlobalAveragePooling1D(), tide.layers.Dense { 2, activation = "softmax" } }
    model:compile { optimizer = { "adam", learning_rate = 0.1 },
      loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
    local history = model:fit(it, { epochs = 8, verbose = 0 })
    assert.equal(1, history.accuracy[8])
  end)

  it("makes rows in one call as it makes them text by text", function()
    local texts = {}
    for i = 1, 23 do
      texts[i] = ("w%d "):format(i % 5):rep(i % 9) .. "end"
    end
    for _, o in ipairs { {}, { maxlen = 4 }, { maxlen = 4, padding = "pre", truncating = "pre" },
      { maxlen = 6, pad_by_batch = true, value = 7, dtype = "int64" },
      { maxlen = 5, word_dropout = 0.4 }, { maxlen = 5, word_dropout = 0.4, truncating = "pre" },
      { maxlen = 5, word_dropout = 0.4, word_dropout_id = 9, padding = "pre", dtype = "float32" },
      { maxlen = 8, buckets = 3 }, { word_dropout = 0.2 } } do
      local quick = TextGenerator(o):flow(texts, { batch_size = 5, seed = 2 })
      local slow = TextGenerator(o):flow(texts, { batch_size = 5, seed = 2 })
      rawset(slow, "_joined", false)
      local other = TextGenerator(o):flow(texts, { batch_size = 5, seed = 77 })
      for i = 1, 2 * #quick do
        if i == #quick then -- a pass of another seed
          quick:restore(other:state())
          slow:restore(other:state())
        end
        local a, b = quick:next(), slow:next()
        assert.equal(b.dtype, a.dtype)
        assert.same(b:tolist(), a:tolist(), i)
      end
    end
  end)
end)

describe("small batches of texts, which are made several at a time", function()
  it("are those that are made one by one, whatever is written into them", function()
    local texts, labels = {}, {}
    for i = 1, 83 do
      texts[i] = ("w%d x%d y "):format(i % 9, i % 5):rep(i % 4 + 1)
      labels[i] = i % 3 + 1
    end
    for _, weights in ipairs { false, true } do
      for _, shuffle in ipairs { false, true } do
        local function flow()
          return tide.preprocessing.text.TextGenerator { maxlen = 7, word_dropout = 0.3 }
            :flow(texts, labels, { batch_size = 4, shuffle = shuffle, seed = 3,
              sample_weight = weights and tide.arange(83) or nil })
        end
        local function plain(...)
          local out = { ... }
          for k, t in ipairs(out) do
            out[k] = t:tolist()
            t:fill_(0)
          end
          return out
        end
        local it, other = flow(), flow()
        for pass = 1, 3 do
          local backwards = {}
          for i = 21, 1, -1 do
            other._ready = nil
            backwards[i] = plain(other:get(i))
          end
          for i = 1, 21 do
            assert.same(backwards[i], plain(it:get(i)), ("batch %d of pass %d"):format(i, pass))
          end
          local drawn = pass * 5
          assert.same(backwards[drawn], plain(it:get(drawn)))
          it:restore(it:state())
          assert.same(backwards[drawn + 1], plain(it:get(drawn + 1)))
          it:on_epoch_end()
          other:on_epoch_end()
        end
      end
    end
  end)
end)

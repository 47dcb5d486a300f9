-- Keras' preprocessing.text and preprocessing.sequence: its own values (spec/ref/keras_text.py),
-- and what is Tide's beside: numbers from 1, seeds, messages.
local core = require "tide.core"
local expect = require "spec.support.expect"
local ref = require "spec.ref.keras_text"
local tide = require "tide"

local text, sequence = tide.preprocessing.text, tide.preprocessing.sequence
local message = expect.message

local function joined(a, b)
  return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {}))
end

describe("preprocessing.text", function()
  it("Tokenizer counts, numbers and writes as Keras'", function()
    for _, row in ipairs(ref.tokenizers) do
      local t = text.Tokenizer(row.options)
      t:fit_on_texts(ref.texts)
      t:fit_on_sequences { { 1, 2, 2 }, { 3 } }
      local all = joined(ref.texts, ref.other)
      local again = text.tokenizer_from_json(t:to_json())
      for _, one in ipairs { t, again } do
        assert.same(row.sequences, one:texts_to_sequences(all))
        assert.same(row.word_index, one.word_index)
        assert.same(row.word_counts, one.word_counts)
        assert.same(row.word_docs, one.word_docs)
        for _, p in ipairs(row.index_docs) do
          assert.equal(p[2], one.index_docs[p[1]])
        end
        assert.same(row.back, one:sequences_to_texts { { 1, 2, 99 }, { 3 }, {} })
        assert.equal(row.document_count, one.document_count)
        for _, key in ipairs { "word_counts", "index_word", "word_index" } do
          assert.equal(row.config[key], one:get_config()[key])
        end
        for _, mode in ipairs { "binary", "count", "freq", "tfidf" } do
          local want = row[mode]
          local got = one:texts_to_matrix(joined({ ref.texts[1], ref.texts[2] }, ref.other),
            { mode = mode })
          assert.is_true(tide.ops.allclose(got, tide.tensor(want)))
        end
      end
      assert.equal(t:to_json(), again:to_json())
    end
  end)

  it("text_to_word_sequence and hashing_trick give Keras' words and numbers", function()
    for _, row in ipairs(ref.words) do
      assert.same(row[3], text.text_to_word_sequence(row[1], row[2]))
    end
    for _, row in ipairs(ref.hashes) do
      assert.same(row[3], text.hashing_trick(row[1], row[2], { hash_function = "md5" }))
      assert.same(row[3], text.one_hot(row[1], row[2]))
    end
    assert.same({ 3, 3 }, text.hashing_trick("a b", 9, function()
      return 10
    end))
  end)

  it("takes lists of words, iterators, an analyzer, and broken UTF-8", function()
    local t = text.Tokenizer { analyzer = function(s)
      return { s:sub(1, 1), s:sub(2) }
    end }
    local given = { "ab", "ac" }
    local i = 0
    t:fit_on_texts(function()
      i = i + 1
      return given[i]
    end)
    assert.same({ { 1, 3 } }, t:texts_to_sequences { "ac" })
    assert.same({ { 1 } }, t:texts_to_sequences { { "A", "z" } })
    t = text.Tokenizer { char_level = true }
    t:fit_on_texts { "\xff\xffa" }
    assert.equal(1, t.word_index["\u{FFFD}"])
  end)

  it("says what is wrong", function()
    assert.matches("fit_on_texts: text 2 must be a string or a list of words (got 3)",
      message(text.Tokenizer().fit_on_texts, text.Tokenizer(), { "a", 3 }), 1, true)
    assert.matches("split must not be empty", message(text.Tokenizer, { split = "" }), 1, true)
    assert.matches("the width is not known", message(text.Tokenizer().sequences_to_matrix,
      text.Tokenizer(), { { 1 } }), 1, true)
    assert.matches("word_counts must be JSON in a string (got nil)",
      message(text.tokenizer_from_json, "{\"config\": {}}"), 1, true)
    assert.matches("mode must be 'binary', 'count'", message(text.Tokenizer().texts_to_matrix,
      text.Tokenizer(), {}, "tf"), 1, true)
  end)
end)

describe("preprocessing.sequence", function()
  it("pads as Keras", function()
    for _, row in ipairs(ref.pads) do
      assert.same(row[3], sequence.pad_sequences(row[1], row[2]):tolist())
    end
    assert.same({ { "-", "a" }, { "b", "c" } },
      sequence.pad_sequences({ { "a" }, { "b", "c" } }, { dtype = "string", value = "-" }))
    assert.equal(sequence.pad_sequences, tide.utils.pad_sequences)
    assert.matches("the elements of sequence 2 have another shape",
      message(sequence.pad_sequences, { { 1 }, { { 2 } } }), 1, true)
  end)

  it("make_sampling_table and skipgrams give Keras' numbers; a seed repeats all", function()
    assert.is_true(tide.ops.allclose(sequence.make_sampling_table(12),
      tide.tensor(ref.table, { dtype = "float64" })))
    assert.is_true(tide.ops.allclose(sequence.make_sampling_table(5, { sampling_factor = 1e-3 }),
      tide.tensor(ref.table2, { dtype = "float64" })))
    for _, row in ipairs(ref.grams) do
      local o = { negative_samples = 0, shuffle = false }
      for k, v in pairs(row[2]) do
        o[k] = v
      end
      local couples, labels = sequence.skipgrams(row[1], 10, o)
      assert.same(row[3], couples)
      assert.same(row[4], labels)
    end
    local a, b = sequence.skipgrams({ 1, 2, 3, 4 }, 10, { seed = 3 })
    local c, d = sequence.skipgrams({ 1, 2, 3, 4 }, 10, { seed = 3 })
    assert.same(a, c)
    assert.same(b, d)
    assert.equal(24, #a)
  end)

  it("TimeseriesGenerator gives Keras' batches, its rows one more", function()
    local data = tide.arange(40):reshape { 20, 2 }
    for _, row in ipairs(ref.series) do
      local o = {}
      for k, v in pairs(row.options) do
        o[k] = (k == "start_index" or k == "end_index") and v + 1 or v
      end
      local g = sequence.TimeseriesGenerator { data, tide.arange(20) * 10, table.unpack({}, 1, 0),
        length = o.length, sampling_rate = o.sampling_rate, stride = o.stride,
        start_index = o.start_index, end_index = o.end_index, reverse = o.reverse,
        batch_size = o.batch_size }
      assert.equal(row.length, #g)
      for i, want in ipairs(row.batches) do
        local x, y = g:get(i)
        assert.same(want[1], x:tolist())
        assert.same(want[2], y:tolist())
      end
    end
    assert.matches("no window of 20 rows", message(sequence.TimeseriesGenerator, data, data, 20), 1,
      true)
  end)

  it("SequenceGenerator looks several steps ahead, keeps series apart and goes on where it was",
    function()
      local groups = {}
      for i = 1, 20 do
        groups[i] = i % 2 == 0 and "even" or "odd"
      end
      local function make()
        return sequence.SequenceGenerator { tide.arange(20), length = 3, horizon = { 1, 4 },
          groups = groups, shuffle = true, seed = 5, batch_size = 2 }
      end
      local g, seen = make(), 0
      for x, y in g do
        for k = 1, x.shape[1] do
          seen = seen + 1
          local first = x[{ k, 1 }]
          assert.same({ first, first + 2, first + 4 }, x[k]:tolist())
          assert.same({ first + 6, first + 12 }, y[k]:tolist())
        end
      end
      assert.equal(8, seen)
      for stop = 0, 9 do
        local a, b = make(), make()
        for _ = 1, stop do
          a:next()
        end
        b:restore(a:state())
        for _ = 1, 6 do
          assert.same(a:next():tolist(), b:next():tolist())
        end
      end
    end)

  it("SequenceGenerator takes several arrays, none to forecast, and a person's batches", function()
    local g = sequence.SequenceGenerator { { a = tide.arange(6), b = tide.arange(12):reshape { 6,
      2 } }, tide.arange(6), length = 2, batch_size = 8 }
    local x, y = g:get(1)
    assert.same({ 4, 2 }, { x.a.shape[1], x.a.shape[2] })
    assert.equal("[4, 2, 2]", tostring(x.b.shape))
    assert.same({ 2, 3, 4, 5 }, y:tolist())
    x, y = sequence.SequenceGenerator({ tide.arange(6), targets = false, length = 2 }):get(1)
    assert.equal(5, x.shape[1])
    assert.is_nil(y)
    local ends = 0
    g = sequence.SequenceGenerator { get = function(i)
      return tide.ones { 1, i }, tide.ones { 1 }
    end, size = 3, on_epoch_end = function()
      ends = ends + 1
    end }
    local widths = {}
    for _ = 1, 2 do
      for v in g:iter() do
        widths[#widths + 1] = v.shape[2]
      end
    end
    assert.same({ 1, 2, 3, 1, 2, 3 }, widths)
    assert.equal(1, ends)
    assert.matches("no window fits: it needs 21 rows", message(sequence.SequenceGenerator,
      { tide.arange(20), length = 20 }), 1, true)
  end)

  it("feeds fit, which goes on exactly where it stopped", function()
    tide.seed(1)
    local model = tide.Sequential { tide.layers.Dense { 1, input_shape = { 4 } } }
    model:compile { optimizer = "sgd", loss = "mse" }
    local wave = tide.ops.sin(tide.arange(60):cast "float32" * 0.3)
    local g = sequence.SequenceGenerator { wave, length = 4, batch_size = 8, shuffle = true,
      seed = 2 }
    local history = model:fit(g, { epochs = 3, verbose = 0 })
    assert.is_true(history.loss[3] < history.loss[1])
    assert.equal(0, core.memory and 0 or 1)
  end)
end)

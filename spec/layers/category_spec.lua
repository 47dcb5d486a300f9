-- Layers of categories and text beside Keras: spec/ref/category.py writes what they give.
local tide = require "tide"
local L, none = tide.layers, tide.none

local cases = require "spec.ref.category"(function(v)
  return tide.tensor(v, { dtype = "int64" })
end, function(v)
  return tide.tensor(v)
end, none)

local function plain(v)
  if type(v) == "userdata" then
    v = v:tolist()
  end
  return v
end

local function near(expected, got, at)
  if type(expected) == "table" then
    assert.equal(#expected, #got, at .. ": length")
    for i, v in ipairs(expected) do
      near(v, got[i], at .. "[" .. i .. "]")
    end
  elseif type(expected) == "number" then
    assert.is_true(math.abs(expected - got) <= 1e-5 * (1 + math.abs(expected)),
      ("%s: %s for %s"):format(at, got, expected))
  else
    assert.equal(expected, got, at)
  end
end

-- Numbers of a case in Tide's counting, from those of Keras; nil where the form has no numbers.
local function counted(layer, class, v)
  if type(v) == "table" then
    local out = {}
    for i, x in ipairs(v) do
      out[i] = counted(layer, class, x)
    end
    return out
  end
  local masks = class == "TextVectorization" or layer.mask_token ~= nil or layer.mask_value ~= nil
  return masks and v or v + 1
end

local function copy(t)
  local out = {}
  for k, v in pairs(t) do
    out[k] = v
  end
  return out
end

local function made(class, options, data)
  local layer = L[class](options)
  if data then
    local i = 0
    layer:adapt(#data == 1 and data[1] or function()
      i = i + 1
      return data[i]
    end)
  end
  return layer
end

describe("layers of categories and text", function()
  for i, c in ipairs(cases) do
    local class, options, data, x, y, learnt = table.unpack(c, 1, 6)
    local title = ("%d %s %s"):format(i, class, options.output_mode or "int")
    it("give Keras' numbers and columns with zero_based: " .. title, function()
      local o = copy(options)
      o.zero_based = true
      local layer = made(class, o, data)
      local input = x
      if options.invert then
        input = x
      end
      near(y, plain(layer(input)), class)
      if class == "Discretization" and learnt then
        near(learnt, layer.bin_boundaries, "boundaries")
      elseif learnt then
        local special = layer.mask_token ~= nil and layer.output_mode == "int" and 1 or 0
        assert.same(table.move(learnt, 1 + special, #learnt, 1, {}),
          layer:get_vocabulary():totable())
      end
    end)

    if (options.output_mode or "int") == "int" and not options.invert
      and class ~= "CategoryEncoding" then
      it("count from 1 otherwise, vocabulary[number] being the value: " .. title, function()
        local layer = made(class, copy(options), data)
        near(counted(layer, class, y), plain(layer(x)), class)
      end)
    end

    it("are the same again by their configuration: " .. title, function()
      local o = copy(options)
      o.zero_based = true
      local layer = made(class, o, data)
      near(y, plain(L[class].from_config(layer:get_config())(x)), class)
    end)
  end
end)

describe("layers of categories and text", function()
  local D = tide.data.Dataset

  it("take single values, and elements of data sets without a batch", function()
    assert.equal(2, tide.tensor(L.IntegerLookup { vocabulary = { 1 } }(1)):item())
    assert.same({ 1, 0, 0 }, L.CategoryEncoding { 3 }(1):tolist())
    assert.equal(2, tide.tensor(L.Discretization { { 0, 1 } }(0.5)):item())
    local seen = {}
    local look = L.IntegerLookup()
    look:adapt(D.range(1, 5))
    for v in D.range(1, 4):map(function(x) return look(x) end):iter() do
      seen[#seen + 1] = type(v) == "number" and v or v:item()
    end
    assert.equal(3, #seen)
    local vectorize = L.TextVectorization { vocabulary = { "a" }, output_sequence_length = 3 }
    local ds = D.from_tensor_slices { "a b", "c" }:map(function(s) return vectorize(s) end):batch(2)
    for x in ds:iter() do
      assert.same({ 2, 3 }, x.shape:totable())
    end
  end)

  it("keep all digits of whole numbers", function()
    local one = L.IntegerLookup { vocabulary = { 9007199254740993 } }
    assert.same({ 2 }, one({ 9007199254740993 }):tolist())
    local look = L.IntegerLookup()
    look:adapt { 9007199254740993 }
    assert.equal(9007199254740993, look:get_vocabulary()[2])
  end)

  it("may adapt again as copies and from files, where they learnt", function()
    local look = L.StringLookup()
    look:adapt { "a" }
    local again = L.StringLookup.from_config(look:get_config())
    assert.same({ "[UNK]", "a" }, again:get_vocabulary():totable())
    again:adapt { "b" }
    assert.same({ "[UNK]", "b" }, again:get_vocabulary():totable())
  end)

  it("count a batch of a data set as one document, as Keras' update_state", function()
    local look = L.StringLookup { output_mode = "tf_idf" }
    look:adapt(D.from_tensor_slices { "a", "b", "a" }:batch(3))
    local y = look { "a", "b" }
    assert.is_true(math.abs(y[2] - math.log(1.5)) < 1e-6 and math.abs(y[3] - y[2]) < 1e-6)
  end)
end)

describe("layers of text", function()
  local expect = require "spec.support.expect"

  it("keep the vocabulary that they have when another is refused", function()
    local layer = L.StringLookup { vocabulary = { "a", "b" }, idf_weights = { 1, 2 },
      output_mode = "tf_idf" }
    local before = layer { "a", "b", "c" }:tolist()
    for _, bad in ipairs { { { "x", "y", "z" }, { 1, 2 } }, { { "x" }, { "1" } }, { { "x" }, 3 },
      { { "x", 3 }, { 1, 2 } }, { { "x", "x" }, { 1, 2 } } } do
      assert.is_false((pcall(layer.set_vocabulary, layer, bad[1], bad[2])))
      assert.same(before, layer { "a", "b", "c" }:tolist())
      assert.same({ "[UNK]", "a", "b" }, layer:get_vocabulary():totable())
    end
  end)

  it("learn from lists of batches", function()
    for _, batches in ipairs { { { "b a b", "c" }, { "b c" } }, { { "b a b", "c" }, { "b c", "" } },
      { { { "b a b" }, { "c" } }, { { "b c" } } }, { { "b a b" }, { "c" }, { "b c" } } } do
      local layer = L.TextVectorization()
      layer:adapt(batches)
      assert.same({ "[UNK]", "b", "c", "a" }, layer:get_vocabulary():totable())
    end
  end)

  it("take batches without a text, as Keras", function()
    local function shape(layer, x)
      return layer(x or {}).shape:totable()
    end
    assert.same({ 0 }, shape(L.StringLookup { vocabulary = { "a" } }))
    assert.same({ 0 }, shape(L.Hashing { 3 }))
    assert.same({ 2, 0 }, shape(L.Hashing { 3 }, { {}, {} }))
    assert.same({ 0, 0 }, shape(L.TextVectorization { vocabulary = { "a" } }))
    assert.same({ 0, 4 }, shape(L.TextVectorization { vocabulary = { "a" },
      output_sequence_length = 4 }))
    assert.same({ 0, 2 }, shape(L.TextVectorization { vocabulary = { "a" },
      output_mode = "multi_hot" }))
    assert.same({ 0, 0 }, L.StringLookup { vocabulary = { "a" }, output_mode = "multi_hot" } {}
      :tolist())
    assert.same({ 2, 0 }, shape(L.TextVectorization { vocabulary = { "a" } }, { "", "" }))
  end)

  it("number many texts as they number each, for any number of threads", function()
    local pieces = { "The", "cat", " ", "  ", "\t", "sat.", "--", "\xc3\x84h", "a", "\xe2\x82",
      "!?", "x\0y", "\xff", "\xef\xbf\xbd", "MAT" }
    local texts, at = {}, 7
    for i = 1, 200 do
      local text = {}
      for k = 1, i == 99 and 2000 or i * 13 % 190 do
        at = (at * 48271 + i) % 2147483647
        text[k] = pieces[at % #pieces + 1]
      end
      texts[i] = table.concat(text)
    end
    local threads = tide.get_threads()
    local function check(o)
      o.vocabulary = { "the", "cat", "cat sat", "\xc3\x84h", "\xef\xbf\xbd", "a", "x\0y", "catsat" }
      local layer = L.TextVectorization(o)
      tide.set_threads(1)
      local whole = layer(texts)
      tide.set_threads(4)
      assert.equal(whole:tobytes(), layer(texts):tobytes())
      o.split = o.split == "character" and function(list)
        for i, text in ipairs(list) do
          list[i] = require("tide.core").text.chars(text)
        end
        return list
      end or function(list)
        for i, text in ipairs(list) do
          list[i] = {}
          for word in text:gmatch "[^ \t]+" do
            table.insert(list[i], word)
          end
        end
        return list
      end
      assert.equal(whole:tobytes(), L.TextVectorization(o)(texts):tobytes()) -- by other ways
    end
    for _, standardize in ipairs { "lower_and_strip_punctuation", "lower", "strip_punctuation",
      tide.none } do
      for _, split in ipairs { "whitespace", "character" } do
        check { standardize = standardize, split = split }
        check { standardize = standardize, split = split, output_sequence_length = 50 }
        check { standardize = standardize, split = split, ngrams = { 2, 1, 3 },
          output_sequence_length = 250 }
      end
    end
    tide.set_threads(threads)
  end)

  it("read files of terms with a mark of UTF-8 in front", function()
    local path = expect.name()
    expect.write(path, "\xef\xbb\xbf12\r\n36\r\n")
    assert.same({ "[UNK]", "12", "36" }, L.StringLookup { vocabulary = path }:get_vocabulary()
      :totable())
    assert.same({ -1, 12, 36 }, L.IntegerLookup { vocabulary = path }:get_vocabulary():totable())
    local fc = tide.feature_column
    assert.same({ "12", "36" },
      fc.categorical_column_with_vocabulary_file("x", path).vocabulary_list)
  end)

  it("keep boundaries that were learnt in their options, and may learn others", function()
    local layer = L.Discretization { num_bins = 3 }
    layer:adapt(tide.tensor { 1, 2, 3, 4, 5 })
    local again = layer:clone()
    assert.same(layer.bin_boundaries, again.bin_boundaries)
    again:adapt(tide.tensor { 10, 20, 30 })
    assert.same({ 10, 20 }, again.bin_boundaries)
    local config = layer:get_config() -- as files of before have it
    config.learnt = nil
    assert.same(layer.bin_boundaries, L.Discretization.from_config(config).bin_boundaries)
  end)
end)

describe("bad input to layers of categories and text", function()
  local expect = require "spec.support.expect"
  local function raises(what, f)
    it("raises: " .. what, function()
      expect.raises(what, f)
    end)
  end
  local ints = tide.tensor({ { 1, 9 } }, { dtype = "int32" })

  raises("element 2 is out of range (expected 0..4, got 9)", function()
    L.CategoryEncoding { 4 }(ints)
  end)
  raises("element 1 is out of range (expected 1..4, got 0); numbers count from 1", function()
    L.CategoryEncoding { 4, "one_hot" }({ 0 })
  end)
  raises("count_weights go with output_mode = 'count' alone", function()
    L.CategoryEncoding { 4 }({ { 1 } }, { count_weights = tide.ones { 1, 1 } })
  end)
  raises("takes a list of at least two columns", function()
    L.HashedCrossing { 4 }(ints)
  end)
  raises("column 2 must have the shape of the first (expected [2], got [3])", function()
    L.HashedCrossing { 4 }({ { "a", "b" }, { "a", "b", "c" } })
  end)
  raises("salt must be a whole number or a list of two (got 0.5)", function()
    L.Hashing { 4, salt = 0.5 }
  end)
  raises("bin_boundaries must rise (got 1 after 2)", function()
    L.Discretization { { 2, 1 } }
  end)
  raises("it has no boundaries yet", function()
    L.Discretization { num_bins = 3 }(tide.ones { 2 })
  end)
  raises("the vocabulary holds 'a' twice (positions 1 and 3)", function()
    L.StringLookup { vocabulary = { "a", "b", "a" } }
  end)
  raises("expected at most max_tokens = 2", function()
    L.StringLookup { max_tokens = 2, vocabulary = { "a", "b" } }
  end)
  raises("'z' at position 2 is not in the vocabulary, and num_oov_indices is 0", function()
    L.StringLookup { vocabulary = { "a" }, num_oov_indices = 0 }({ "a", "z" })
  end)
  raises("it has no vocabulary yet", function()
    L.StringLookup { output_mode = "count" }({ { "a" } })
  end)
  raises("has its vocabulary from its options", function()
    L.StringLookup { vocabulary = { "a" } }:adapt { "b" }
  end)
  raises("expected the shape (batch) or (batch, 1), got [1, 2]", function()
    L.TextVectorization()({ { "a", "b" } })
  end)
  raises("split must give a list of words for each text (got 3 for text 1)", function()
    L.TextVectorization { split = function() return { 3 } end }({ "a" })
  end)
  raises("ngrams must be a whole number from 1, or a list of them (got 0)", function()
    L.TextVectorization { ngrams = 0 }
  end)
  raises("takes a string or a list of strings", function()
    L.TextVectorization()(ints)
  end)

  raises("bin_boundaries and num_bins exclude each other", function()
    L.Discretization { { 1, 2 }, num_bins = 3 }
  end)
  raises("hold NaN for more than one bin", function()
    L.Discretization { num_bins = 3 }:adapt(tide.tensor { 0 / 0, 0 / 0, 0 / 0 })
  end)
  raises("mask_value must be text or a whole number (got 1.5)", function()
    L.Hashing { 4, mask_value = 1.5 }
  end)
  raises("mask_value must be of the values' kind (expected text, got 3)", function()
    L.Hashing { 4, mask_value = 3 } { "a" }
  end)
  raises("mask_value must be of the values' kind (expected a whole number, got 'a')", function()
    L.Hashing { 4, mask_value = "a" }(ints)
  end)
  raises("text", function() L.StringLookup():adapt { 1, 2 } end)
  raises("whole numbers", function() L.IntegerLookup():adapt { "a" } end)
  raises("int64 cannot hold 1.5", function() L.IntegerLookup { vocabulary = { 1 } } { 1.5 } end)
end)

--- Text as leaves of data and of graphs: a layer that takes strings, in models of every kind, with
--- data of every kind, saved and loaded.
local expect = require "spec.support.expect"
local strings = require "tide.strings"
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

-- Ids of words: their number in the list, 1 for those that are not in it.
local Ids = tide.Layer:extend("StringsSpecIds", {
  takes = "strings",
  args = { { "words", "list" } },
  keeps_dtype = true,
  init = function(self)
    self.id_of = {}
    for i, w in ipairs(self.words) do
      self.id_of[w] = i + 1
    end
  end,
  call = function(self, words)
    local function ids(v)
      if type(v) == "string" then
        return self.id_of[v] or 1
      end
      local out = {}
      for i, x in ipairs(v) do
        out[i] = ids(x)
      end
      return out
    end
    return tide.tensor(ids(words), { dtype = "int32" })
  end,
})

-- Text to text.
local Lower = tide.Layer:extend("StringsSpecLower", {
  takes = "strings",
  call = function(_, words)
    local out = {}
    for i, w in ipairs(words) do
      out[i] = w:lower()
    end
    return out
  end,
})

local WORDS = { "to", "be", "or", "not" }
local TABLE = { { 0, 0 }, { 1, 10 }, { 2, 20 }, { 3, 30 }, { 4, 40 } }

local function fails(text, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  expect.has(tostring(e), text)
end

local function sequential(...)
  local m = tide.Sequential { Ids { WORDS }, layers.Embedding { 5, 2 }, ... }
  m { "to" }
  m.layers[2]:set_weights { TABLE }
  return m
end

local function functional()
  local words, numbers = tide.Input { dtype = "string", name = "words" },
    tide.Input { 2, name = "numbers" }
  local h = layers.Embedding { 5, 2, name = "table" }(Ids { WORDS }(Lower()(words)))
  local m = tide.Model { inputs = { words, numbers }, outputs = layers.Add() { h, numbers } }
  m:get_layer("table"):set_weights { TABLE }
  return m
end

local X = { "not", "be", "to", "question", "or" }
local Y = { { 4, 40 }, { 2, 20 }, { 1, 10 }, { 0, 0 }, { 3, 30 } }

describe("text", function()
  it("has shapes, rows and ranks", function()
    assert.is_true(strings.is "a" and strings.is { "a" } and strings.is { { "a" } })
    assert.is_false(strings.is {} or strings.is { 1 } or strings.is(nil) or strings.is { {} })
    local own = {}
    own[1] = own
    assert.is_false(strings.is(own))
    assert.same({ 2, 1 }, { table.unpack(strings.shape { { "a" }, { "b" } }) })
    assert.same({}, { table.unpack(strings.shape "a") })
    assert.same({ "b", "c" }, strings.rows({ "a", "b", "c" }, 2, 2))
    assert.same({ "a", "c" }, strings.rows({ "a", "b", "c" }, 2, 2, { 2, 1, 3 }))
    assert.same({ "a", "b", "c" }, strings.join { { "a", "b" }, { "c" } })
    assert.same({ { "a" }, { "b" } }, strings.in_rank({ "a", "b" }, { tide.none, 1 }))
    assert.same({ "a", "b" }, strings.in_rank({ { "a" }, { "b" } }, { tide.none }))
    assert.same({ "a", "b" }, strings.in_rank({ { "a", "b" } }, { tide.none }))
    assert.is_nil(strings.in_rank({ "a", "b" }, { tide.none, 2 }))
    fails("x: text must be strings in lists of one length (expected a string, got 1 at position 2)",
      strings.check, { "a", 1 }, "x")
    fails("(expected a list of 1, got a list of 2 at position 2)", strings.check,
      { { "a" }, { "b", "c" } }, "x")
  end)

  it("declares an input", function()
    local x = tide.Input { dtype = "string" }
    assert.equal("string", x.dtype)
    assert.same({ tide.none }, { table.unpack(x.shape) })
    assert.same({ tide.none, 3 }, { table.unpack(tide.Input({ 3, dtype = "string" }).shape) })
    local ids = Ids { WORDS }(x)
    assert.equal("int32", ids.dtype)
    assert.same({ tide.none }, { table.unpack(ids.shape) })
    assert.same({ tide.none, 3 },
      { table.unpack(Ids { WORDS }(tide.Input { 3, dtype = "string" }).shape) })
    local low = Lower()(x)
    assert.equal("string", low.dtype)
    assert.same({ tide.none }, { table.unpack(low.shape) })
    assert.same({ tide.none }, { table.unpack(Ids { WORDS }:compute_output_shape { tide.none }) })
    fails("takes a tensor (got symbolic", layers.Dense { 1 }, x)
    fails("takes a string or a list of strings (got symbolic", Ids { WORDS }, tide.Input { 3 })
    fails("dtype", tide.Input, { 3, dtype = "strin" })
    fails("a dtype", layers.Dense, { 3, dtype = "string" })
  end)
end)

describe("models of text", function()
  it("run on lists of strings", function()
    local m = sequential()
    assert.same(Y, m(X):tolist())
    assert.same({ { 1, 10 } }, m({ "to" }):tolist())
    assert.equal("string", m.input.dtype)
    assert.same(Y, m:predict(X):tolist())
    assert.same(Y, m:predict(X, { batch_size = 2 }):tolist())
    assert.same(Y, m:predict_on_batch(X):tolist())
    assert.same({ { 1, 10 } }, m:predict({ "to" }):tolist())
    fails("input 'sequential", m, tide.ones { 2 })
    fails("takes a list of strings (got a tensor", m, tide.ones { 2 })
    fails("a single sample needs a batch axis: { x }", m, "to")
    fails("text must be strings in lists of one length (expected a string, got 3 at position 2)", m,
      { "to", 3 })
    local f = functional()
    local more = tide.zeros { 5, 2 }
    assert.same(Y, f({ X, more }):tolist())
    assert.same(Y, f({ words = { "NOT", "Be", "to", "?", "OR" }, numbers = more }):tolist())
    assert.same(Y, f:predict({ X, more }, { batch_size = 2 }):tolist())
    assert.same(Y, f:predict({ words = X, numbers = more }):tolist())
    fails("takes a list of strings (got a tensor", f, { more, more })
    local plain = tide.Sequential { tide.Input { 2 }, layers.Dense { 1 } }
    fails("takes", plain, { "a", "b" })
    local text = tide.Model { inputs = f.inputs[1], outputs = Lower()(f.inputs[1]) }
    assert.same({ "a", "b", "c" }, text:predict({ "A", "b", "C" }, { batch_size = 2 }))
  end)

  it("take declared inputs, other ranks and several texts", function()
    local column = tide.Sequential { tide.Input { 1, dtype = "string" }, Ids { WORDS } }
    assert.same({ { 2 }, { 5 } }, column({ { "to" }, { "not" } }):tolist())
    assert.same({ { 2 }, { 5 } }, column({ "to", "not" }):tolist())
    local flat = tide.Sequential { tide.Input { dtype = "string" }, Ids { WORDS } }
    assert.same({ 2, 5 }, flat({ { "to" }, { "not" } }):tolist())
    fails("has the wrong shape (expected [none], got [2, 2])", flat,
      { { "to", "be" }, { "or", "be" } })
    local a, b = tide.Input { dtype = "string" }, tide.Input { dtype = "string" }
    local ids = Ids { WORDS }
    local two = tide.Model { inputs = { a, b }, outputs = ids(a) * 10 + ids(b) }
    assert.same({ 23, 55 }, two({ { "to", "not" }, { "be", "not" } }):tolist())
    assert.same({ 23, 55 }, two:predict({ { "to", "not" }, { "be", "not" } }):tolist())
    assert.same({ 23, 55, 42 },
      two:predict({ { "to", "not", "or" }, { "be", "not", "to" } }, { batch_size = 2 }):tolist())
    local nested = tide.Sequential { sequential(), layers.Dense { 1, kernel_initializer = "ones" } }
    assert.same({ { 44 }, { 11 } }, nested({ "not", "to" }):tolist())
    assert.equal("string", nested.input.dtype)
    local x = tide.Input { dtype = "string" }
    local outer = tide.Model { inputs = x, outputs = sequential()(x) * 2 }
    assert.same({ { 8, 80 } }, outer({ "not" }):tolist())
  end)

  it("of one's own hand text to their layers", function()
    local Net = tide.Model:extend("StringsSpecNet", {
      init = function(self)
        self.ids, self.table = Ids { WORDS }, layers.Embedding { 5, 2 }
      end,
      call = function(self, words) return self.table(self.ids(words)) end,
    })
    local m = Net()
    m { "to" }
    m.table:set_weights { TABLE }
    assert.same(Y, m:predict(X, { batch_size = 3 }):tolist())
  end)

  it("learn, with batches, shuffles and a part for validation", function()
    tide.seed(1)
    local m = sequential(layers.Dense { 1 })
    m:compile { loss = "mse", optimizer = tide.optimizers.Adam { 0.1 } }
    local words, y = {}, {}
    for i = 1, 60 do
      words[i] = WORDS[i % 4 + 1]
      y[i] = { i % 4 }
    end
    y = tide.tensor(y)
    local seen = {}
    local history = m:fit(words, y, { epochs = 40, batch_size = 8, verbose = 0,
      validation_split = 0.2, sample_weight = tide.ones { 60 }, callbacks = {
        { on_epoch_end = function(_, epoch) seen[#seen + 1] = epoch end } } })
    assert.equal(40, #history.val_loss)
    assert(history.loss[40] < 0.05 and history.val_loss[40] < 0.05)
    assert(m:evaluate(words, y, { verbose = 0 }) < 0.05)
    assert(m:train_on_batch({ "to", "be" }, { { 0 }, { 1 } }) < 0.1)
    assert(m:test_on_batch({ "to", "be" }, { { 0 }, { 1 } }) < 0.1)
    expect.close(m:predict { "to", "be", "or", "not" }, { { 0 }, { 1 }, { 2 }, { 3 } }, 0.6)
    fails("must have the same number of samples", function()
      m:fit(words, tide.ones { 59, 1 }, { verbose = 0 })
    end)
    fails("y: takes a tensor", function()
      m:fit(words, words, { verbose = 0 })
    end)
    -- shuffled, a word keeps its target; epochs have each sample once
    local count, pairs_fit = {}, true
    local Sees = tide.Model:extend("StringsSpecSees", {
      call = function(_, x) return x end,
      train_step = function(_, x, t)
        local targets, numbers = t:tolist(), x.numbers:tolist()
        for i, w in ipairs(x.words) do
          count[w] = (count[w] or 0) + 1
          pairs_fit = pairs_fit and tonumber(w) == targets[i] and numbers[i] == targets[i]
        end
        return { loss = 0 }
      end,
    })
    local numbered = {}
    for i = 1, 50 do
      numbered[i] = tostring(i)
    end
    local sees = Sees()
    sees:compile { loss = "mse" }
    sees:fit({ words = numbered, numbers = ops.arange(1, 51) }, ops.arange(1, 51),
      { epochs = 2, batch_size = 7, verbose = 0 })
    assert.is_true(pairs_fit)
    for i = 1, 50 do
      assert.equal(2, count[tostring(i)])
    end
  end)

  it("take text from generators, coroutines, sequences and iterators", function()
    local m = sequential(layers.Dense { 1 })
    m:compile { loss = "mse" }
    local y = tide.zeros { 2, 1 }
    local function steps(n)
      local i = 0
      return function()
        i = i + 1
        if i <= n then
          return { "to", WORDS[i] }, y
        end
      end
    end
    assert.same({ 6, 1 }, { table.unpack(m:predict(steps(3)).shape) })
    assert.equal(2, #m:fit(steps(6), { epochs = 2, steps_per_epoch = 2, verbose = 0 }).loss)
    m:fit(coroutine.create(function()
      for _ = 1, 2 do
        coroutine.yield({ "to", "be" }, y)
      end
    end), { verbose = 0 })
    local sequence = setmetatable({ get = function() return { "to", "or" }, y end },
      { __len = function() return 3 end })
    assert.same({ 6, 1 }, { table.unpack(m:predict(sequence).shape) })
    m:fit(sequence, { epochs = 2, verbose = 0 })
    m:evaluate({ iter = function() return steps(2) end }, { verbose = 0 })
    fails("text must be strings", m.predict, m, function() return { "to", 1 } end)
  end)

  it("are described", function()
    local f = functional()
    local g = f:graph()
    assert.equal("string", g.nodes[1].outputs[1].dtype)
    local opened = tostring(f:graph { ops = true })
    expect.has(opened, "(StringsSpecIds)")
    expect.has(opened, "(add)")
  end)
end)

describe("files of models of text", function()
  for _, ext in ipairs { "safetensors", "keras", "h5" } do
    it("." .. ext .. " hold them", function()
      local path = os.tmpname() .. "." .. ext
      local objects = { custom_objects = { StringsSpecIds = Ids, StringsSpecLower = Lower } }
      local m = sequential()
      m:save(path)
      local back = tide.load_model(path, objects)
      assert.same(Y, back:predict(X):tolist())
      assert.equal("string", back.input.dtype)
      local f, more = functional(), tide.ones { 5, 2 }
      f:save(path, { overwrite = true })
      back = tide.load_model(path, objects)
      assert.same((tide.tensor(Y) + 1):tolist(), back:predict({ X, more }):tolist())
      assert.same((tide.tensor(Y) + 1):tolist(),
        back:predict({ words = X, numbers = more }):tolist())
      os.remove(path)
    end)
  end
  it("are cloned", function()
    local back = functional():clone()
    assert.same({ 1, 2 }, { table.unpack(back({ { "to" }, tide.ones { 1, 2 } }).shape) })
  end)
end)

-- Vocabularies in files: as Keras keeps them beside the configuration (spec/ref/keras_vocabulary.py
-- writes the fixture and opens what Tide wrote), and in Tide's own.
local tide = require "tide"
local expect = require "spec.support.expect"
local expected = require "spec.ref.keras_vocabulary"
local fixture = "spec/fixtures/keras/vocabulary.keras"

local function close_to(want, got, at)
  for i, row in ipairs(want) do
    for k, v in ipairs(row) do
      local x = got[i]
      x = type(x) == "table" and x[k] or x
      assert.is_true(math.abs(x - v) < 1e-5, ("%s: %s for %s"):format(at, x, v))
    end
  end
end

local function check(model)
  local out = model({ { "The cat sat!", "the bird" }, { { "a", "b" }, { "z", "c" } },
    tide.tensor({ { 7 }, { 3 } }, { dtype = "int64" }) })
  assert.equal(#expected, #out)
  for i, y in ipairs(out) do
    close_to(expected[i], y:tolist(), "output " .. i)
  end
end

describe("a vocabulary", function()
  local folder
  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    require("tide.core").mkdirs(folder)
  end)
  after_each(function()
    os.execute("rm -r '" .. folder .. "'")
  end)

  it("is read from Keras' archives", function()
    check(tide.load_model(fixture))
  end)

  it("goes through Tide's archives, folders and own files", function()
    local model = tide.load_model(fixture)
    for _, name in ipairs { "a.keras", "b.safetensors" } do
      model:save(folder .. "/" .. name)
      check(tide.load_model(folder .. "/" .. name))
    end
    model:save(folder .. "/c", { zipped = false })
    check(tide.load_model(folder .. "/c"))
  end)

  it("stands in a text file of the archive where it was learnt, in the configuration otherwise",
    function()
      local core = require "tide.core"
      tide.load_model(fixture):save(folder .. "/a.keras")
      local z, members = core.zip_open(folder .. "/a.keras")
      local assets = {}
      for _, m in ipairs(members) do
        assets[#assets + 1] = m.name:match "^assets/layers/(.*)$"
      end
      table.sort(assets)
      assert.same({ "integer_lookup/vocabulary.txt", "string_lookup/vocabulary.txt",
        "text_vectorization/_lookup_layer/vocabulary.txt", "text_vectorization/vocabulary.txt",
        "text_vectorization_1/_lookup_layer/vocabulary.txt",
        "text_vectorization_1/vocabulary.txt" }, assets)
      assert.equal("\n[UNK]\nthe\nsat\ndog\ncat",
        (core.zip_read(z, "assets/layers/text_vectorization/vocabulary.txt")))
    end)

  it("keeps terms that lines cannot hold", function()
    for _, terms in ipairs { { "a", "a", "" }, { "a\nb", "a\nb", "c" }, { "a\r", "b" } } do
      local look = tide.layers.StringLookup()
      look:adapt(terms)
      local x = tide.Input { 1, dtype = "string" }
      tide.Model { inputs = x, outputs = look(x) }:save(folder .. "/a.keras")
      local again = tide.load_model(folder .. "/a.keras").layers[2]
      assert.same(look:get_vocabulary():totable(), again:get_vocabulary():totable())
    end
  end)

  it("is read from a file with a term in each line, whose faults are named", function()
    local path = folder .. "/terms.txt"
    local file <close> = io.open(path, "w")
    file:write "one\ntwo\r\n\nthree\n"
    file:flush()
    local look = tide.layers.StringLookup { vocabulary = path }
    assert.same({ "[UNK]", "one", "two", "", "three" }, look:get_vocabulary():totable())
    expect.raises("terms.txt: line 1 is no whole number (got 'one')", function()
      tide.layers.IntegerLookup { vocabulary = path }
    end)
    expect.raises("nowhere.txt", function()
      tide.layers.StringLookup { vocabulary = folder .. "/nowhere.txt" }
    end)
  end)
end)

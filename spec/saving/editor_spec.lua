-- KerasFileEditor and the commands of `tide inspect` that rest on it, beside real Keras' editor
-- (spec/ref/editor.py, which also has Keras open what Tide wrote: spec/ref/editor.txt).
local expect = require "spec.support.expect"
local edits = require "spec.support.editor_edits"
local reference = require "spec.ref.editor"
local tide = require "tide"
local core = require "tide.core"
local keras = require "tide.saving.keras"

local Editor = tide.saving.KerasFileEditor
local folder = "spec/fixtures/keras/"
local L = tide.layers

local made = {}

local function temporary(extension)
  made[#made + 1] = expect.name(extension)
  return made[#made]
end

-- An editor and the list that gets what it prints.
local function open(path)
  local lines = {}
  return Editor { path, print_fn = function(s) lines[#lines + 1] = s end }, lines
end

-- A model with a nested one; `last`: its last layer.
local function model(last)
  return tide.Sequential { tide.Input { 4 }, L.Dense { 3 },
    tide.Sequential { tide.Input { 3 }, L.Dense { 2 } }, last or L.Dense { 2 } }
end

local function values(path, member)
  local out = {}
  for _, e in ipairs((keras.read_hdf5(path, member))) do
    out[e.name] = { dtype = e.dtype, values = e.tensor:tolist() }
  end
  return out
end

local x = tide.tensor { { 0.5, -1, 2, 0.25 }, { 1, 0, -0.5, 3 } }

describe("tide.saving.KerasFileEditor", function()
  after_each(function()
    for i, path in ipairs(made) do
      os.remove(path)
      made[i] = nil
    end
  end)

  it("makes of a file what Keras' editor makes of it", function()
    local editor = open(folder .. "cnn.weights.h5")
    edits(editor)
    local path = temporary ".weights.h5"
    editor:save(path)
    local seen = 0
    for _, e in ipairs((keras.read_hdf5(path))) do
      local object, name = e.name:match "^/(.*)/vars/(.*)$"
      local want = reference[object .. "/" .. name]
      assert.is_truthy(want, e.name)
      assert.same(want.shape, e.tensor.shape:totable())
      expect.close(e.tensor:reshape { -1 }, want.values, 0, 1e-8, e.name)
      seen = seen + 1
    end
    assert.equal(8, seen)
    local _, attributes = keras.read_hdf5(path)
    assert.equal("dense_1", attributes["/layers/head/vars"].name)
  end)

  for _, name in ipairs { "cnn.weights.h5", "fn.weights.h5", "ema.weights.h5", "lora_conv.keras",
    "spectral.keras", "q_int8.keras", "transformer.keras" } do
    it("writes " .. name .. " again with every weight and attribute", function()
      local path = temporary ".weights.h5"
      open(folder .. name):resave_weights(path)
      local source, member = folder .. name, nil
      if name:find "%.keras$" then
        source, member = core.zip_open(source), "model.weights.h5"
      end
      assert.same(values(source, member), values(path))
      local _, before = keras.read_hdf5(source, member)
      local _, after = keras.read_hdf5(path)
      assert.same(before, after)
    end)
  end

  it("writes weights that another model loads, nested ones and bfloat16 too", function()
    for _, dtype in ipairs { "float32", "bfloat16", "float64" } do
      local before = tide.config.dtype_policy()
      tide.config.set_dtype_policy(dtype)
      local first, second = model(), model(L.EinsumDense { "ab,bc->ac", output_shape = 2,
        bias_axes = "c" })
      tide.config.set_dtype_policy(before)
      local path, edited = temporary ".keras", temporary ".weights.h5"
      first:save(path)
      local editor = open(path)
      editor:rename_object("layers/dense_1", "einsum_dense")
      editor:save(edited)
      second:load_weights(edited)
      assert.same(first(x):tolist(), second(x):tolist())
      assert.equal(dtype, tostring(second.weights[1].dtype))
    end
  end)

  it("takes a list of weights, from '0', and values in place of those there", function()
    local path, edited = temporary ".weights.h5", temporary ".weights.h5"
    model():save_weights(path)
    local editor = open(path)
    editor:delete_object "/layers/dense_1/vars"
    editor:add_object("layers/dense_1", { tide.ones { 2, 2 }, { 3, 4 } })
    editor:add_weights("layers/dense", { ["1"] = tide.zeros { 3 } })
    editor:rename_weight("layers/sequential/layers/dense", "1", "bias")
    editor:rename_weight("/layers/sequential/layers/dense/vars", "bias", "1")
    editor:save(edited)
    local again = model()
    again:load_weights(edited)
    assert.same({ { 1, 1 }, { 1, 1 } }, again.layers[3].weights[1]:tolist())
    assert.same({ 3, 4 }, again.layers[3].weights[2]:tolist())
    assert.same({ 0, 0, 0 }, again.layers[1].weights[2]:tolist())
  end)

  it("writes over the file that it read, and leaves no other", function()
    local path = temporary ".weights.h5"
    model():save_weights(path)
    local editor = open(path)
    editor:delete_object "sequential"
    editor:save(path)
    expect.raises("layers/sequential", function() model():load_weights(path) end)
    assert.same({ "layers" }, { next(open(path)._file.root.at), nil })
    local left = io.popen("ls " .. path .. "* | wc -l")
    assert.equal("1", left:read "a":match "%d+")
    left:close()
  end)

  it("shows the tree with the layers' names", function()
    local editor, lines = open(folder .. "fn.keras")
    editor:summary()
    local text = table.concat(lines, "\n")
    for _, words in ipairs { "Keras model file 'spec/fixtures/keras/fn.keras'",
      "Saved with Keras 3.", "├─ layers", "bidirectional ('bi')", "0: float32 [8, 12]",
      "dense ('inner_dense')", "└─ optimizer ('sgd')" } do
      expect.has(text, words)
    end
    assert.is_nil(text:find "dropout")
  end)

  it("prints values", function()
    local path = temporary ".weights.h5"
    local m = model()
    m.layers[3].weights[2]:assign(tide.tensor { 7, 8 })
    m:save_weights(path)
    local editor, lines = open(path)
    editor:dump "layers/dense_1/1"
    expect.has(table.concat(lines, "\n"), "layers/dense_1/1: float32 [2]\n[7., 8.]")
    editor, lines = open(path)
    editor:dump()
    assert.equal(12, #lines)
  end)

  it("shows no control characters of a file", function()
    local path = temporary ".weights.h5"
    core.blob_write(path, core.hdf5_encode({ { "/a\27[2J/vars/0", tide.ones { 1 } } },
      '{"/a\\u001b[2J/vars": {"name": "\\u001b[31m"}}', "HDF5"))
    local editor, lines = open(path)
    editor:summary()
    editor:dump()
    assert.is_nil(table.concat(lines):find "\27")
  end)
end)

describe("KerasFileEditor:compare", function()
  it("finds that a file fits its model", function()
    local path = temporary ".weights.h5"
    local m = model()
    m:save_weights(path)
    local editor, lines = open(path)
    assert.same({ status = "success", error_count = 0, match_count = 6 }, editor:compare(m))
    assert.same({ "0 mismatches, 6 matching weights: the saved file fits the reference model" },
      lines)
  end)

  it("lists what is missing on either side once, and other shapes", function()
    local path = temporary ".weights.h5"
    model():save_weights(path)
    local other = tide.Sequential { tide.Input { 4 }, L.Dense { 5 }, L.BatchNormalization() }
    local editor, lines = open(path)
    local result = editor:compare(other)
    -- the kernel and bias of dense; batch_normalization; sequential and dense_1
    assert.same({ status = "error", error_count = 5, match_count = 0 }, result)
    local text = table.concat(lines, "\n")
    expect.has(text, "weight /layers/dense/0: shape [4, 5] in the reference model, [4, 3] in \z
      the saved file")
    expect.has(text, "object /layers/batch_normalization: in the reference model, not in the \z
      saved file (holds 0, 1, 2, 3)")
    expect.has(text, "object /layers/dense_1: in the saved file, not in the reference model")
  end)

  it("counts the optimizer of a file, as Keras does, where the model has none", function()
    local editor, lines = open(folder .. "cnn.keras")
    local m = tide.load_model(folder .. "cnn.keras")
    assert.same({ status = "success", error_count = 0, match_count = 28 }, editor:compare(m))
    m = tide.load_model { folder .. "cnn.keras", compile = false }
    assert.same({ status = "error", error_count = 1, match_count = 10 }, editor:compare(m))
    expect.has(table.concat(lines, "\n"), "object /optimizer: in the saved file")
  end)

  it("leaves out the seed generators of Keras' files", function()
    local path = temporary ".weights.h5"
    local m = tide.Sequential { tide.Input { 4 }, L.Dense { 3 }, L.Dropout { 0.5 } }
    m:save_weights(path)
    local editor = open(path)
    editor:add_object("layers/dropout/seed_generator", { tide.zeros({ 2 }, { dtype = "int64" }) })
    assert.equal("success", editor:compare(m).status)
  end)

  it("compares values with another file", function()
    local path, other = temporary ".weights.h5", temporary ".weights.h5"
    local m = model()
    m:save_weights(path)
    m.layers[1].weights[2]:assign(tide.tensor { 0, 0.25, 0 })
    m:save_weights(other)
    local editor, lines = open(path)
    assert.same({ status = "success", error_count = 0, match_count = 6, equal_count = 5,
      max_difference = 0.25 }, editor:compare(other))
    expect.has(table.concat(lines, "\n"),
      "5 of them have equal values; the largest difference is 0.25, in /layers/dense/1")
    assert.equal(6, editor:compare(editor).equal_count)
  end)
end)

describe("KerasFileEditor of safetensors", function()
  it("renames weights of Tide's files, which another model then loads", function()
    local path, edited = temporary ".safetensors", temporary ".safetensors"
    local function named(name)
      return tide.Sequential { tide.Input { 4 }, L.Dense { 3, name = "a" },
        L.Dense { 2, name = name } }
    end
    local m, n = named "b", named "c"
    m:compile { optimizer = "adam", loss = "mse" }
    m:train_on_batch(x, tide.ones { 2, 2 })
    m:save(path)
    local editor = open(path)
    assert.equal("success", editor:compare(m).status)
    assert.equal("error", editor:compare(n).status)
    editor:rename_object("b", "c")
    assert.equal("success", editor:compare(n).status)
    editor:save(edited)
    n:load_weights(edited)
    assert.same(m(x):tolist(), n(x):tolist())
  end)

  it("keeps the order, by which layers with other automatic numbers are found", function()
    local path, edited = temporary ".safetensors", temporary ".safetensors"
    local function plain()
      return tide.Sequential { tide.Input { 4 }, L.Dense { 4 }, L.Dense { 4 },
        L.BatchNormalization() }
    end
    local m, n = plain(), plain()
    m:save_weights(path)
    open(path):save(edited)
    n:load_weights(edited)
    assert.same(m(x):tolist(), n(x):tolist())
  end)

  it("takes the points of PyTorch's names for paths, and keeps metadata", function()
    local path, edited = temporary ".safetensors", temporary ".safetensors"
    core.safetensors_write(path, { { "h.0.attn.weight", tide.ones { 2 } },
      { "h.0.attn.bias", tide.zeros { 2 } }, { "head.weight", tide.ones { 3 } } },
      { format = "pt" })
    local editor = open(path)
    editor:rename_object("h.0", "1")
    editor:delete_object "head"
    editor:add_weights("attn", { scale = 2 })
    editor:save(edited)
    local file <close>, entries, metadata = core.safetensors_open(edited)
    assert.is_truthy(file)
    local names = {}
    for i, e in ipairs(entries) do
      names[i] = e.name
    end
    table.sort(names)
    assert.same({ "h.1.attn.bias", "h.1.attn.scale", "h.1.attn.weight" }, names)
    assert.equal("pt", metadata.format)
  end)
end)

describe("KerasFileEditor refuses", function()
  local path = expect.name ".weights.h5"
  model():save_weights(path)
  local before = expect.read(path)
  teardown(function() os.remove(path) end)

  local cases = {
    { "KerasFileEditor: filepath is no file of weights (expected a name that ends in .keras",
      function() Editor "model.h5" end },
    { "KerasFileEditor", function() Editor() end },
    { "/no/such.keras", function() Editor "/no/such.keras" end },
    { "rename_object: no 'nothing' in", function(e) e:rename_object("nothing", "x") end },
    { "rename_object: no 'layers/dens' in", function(e) e:rename_object("layers/dens", "x") end },
    { "did you mean 'dense'?", function(e) e:rename_object("layers/dens", "x") end },
    { "no object 'leyers' in", function(e) e:delete_object "leyers/dense" end },
    { "'dense' stands 2 times", function(e) e:delete_object "dense" end },
    { "layers/dense, layers/sequential/layers/dense); give a whole path", function(e)
      e:delete_object "dense" end },
    { "expected a string, got nil", function(e) e:delete_object() end },
    { "'dense_1' is in " .. path .. " already; delete that one first", function(e)
      e:rename_object("layers/dense", "dense_1") end },
    { "new_name cannot be a name in the file (expected a word without '/', got", function(e)
      e:rename_object("layers/dense", "layers/x") end },
    { "new_name cannot be", function(e) e:rename_object("layers/dense", "vars") end },
    { "new_name cannot be", function(e) e:rename_object("layers/dense", "a\n") end },
    { "new_name cannot be", function(e) e:rename_object("layers/dense") end },
    { "delete_weight: no weight '2' in 'layers/dense' (expected one of 0, 1)", function(e)
      e:delete_weight("layers/dense", "2") end },
    { "no weight 1", function(e) e:delete_weight("layers/dense", 1) end },
    { "'layers/dense/0' is a weight (expected an object)", function(e)
      e:delete_weight("layers/dense/0", "0") end },
    { "add_object: 'dense' is in", function(e)
      e:add_object("layers/dense", { tide.ones { 1 } }) end },
    { "add_object: no object 'levels'", function(e)
      e:add_object("levels/dense", { tide.ones { 1 } }) end },
    { "weights must hold tensors by name", function(e) e:add_object("a", {}) end },
    { "weights must hold tensors by name", function(e) e:add_object("a", tide.ones { 1 }) end },
    { "weight '0' has no values (expected a tensor, got", function(e)
      e:add_object("a", { "kernel" }) end },
    { "weight '0' is given twice", function(e) e:add_object("a", { 1, ["0"] = 2 }) end },
    { "add_weights: 'layers' of 'layers/sequential' is an object", function(e)
      e:add_weights("layers/sequential", { layers = 1 }) end },
    { "save: filepath does not fit what " .. path .. " holds (expected a name that ends in \z
      .weights.h5", function(e) e:save "x.keras" end },
    { "save: filepath does not fit", function(e) e:save() end },
    { "/no/such/folder", function(e) e:save "/no/such/folder/x.weights.h5" end },
    { "compare: reference_model is nothing to compare with", function(e) e:compare(3) end },
    { "has no weights yet; build it", function(e)
      e:compare(tide.Sequential { L.Dense { 2 } }) end },
  }
  for i, case in ipairs(cases) do
    it(("%d: %s"):format(i, case[1]:gsub("/tmp[^ ]*", "FILE")), function()
      local editor = open(path)
      expect.raises(case[1], case[2], editor)
      assert.equal("success", editor:compare(path).status)
      assert.equal(6, editor:compare(path).equal_count)
      assert.equal(before, expect.read(path))
    end)
  end

  it("a file of Keras 2's layout, damaged files, and names that stand for two things", function()
    local copy = temporary ".weights.h5"
    expect.write(copy, expect.read(folder .. "min_legacy_weights_fixedstr.h5"))
    expect.raises("expected OBJECT/vars/NAME", Editor, copy)
    expect.write(copy, before:sub(1, #before // 2))
    expect.raises(copy, Editor, copy)
    core.blob_write(copy, core.hdf5_encode({ { "/a/vars/b", tide.ones { 1 } },
      { "/a/b/vars/0", tide.ones { 1 } } }, "{}", "HDF5"))
    expect.raises("'b'", Editor, copy)
    local safe = temporary ".safetensors"
    core.safetensors_write(safe, { { ("a/"):rep(1000) .. "b", tide.ones { 1 } } })
    expect.raises("objects are nested too deep (expected at most 64", Editor, safe)
    tide.save({ a = tide.ones { 1 } }, safe)
    expect.raises("tide.load reads it", Editor, safe)
  end)
end)

describe("tide inspect", function()
  local function run(words)
    local pipe = io.popen(expect.command .. " inspect " .. words .. " 2>&1")
    local text = pipe:read "a"
    return pipe:close() or false, text
  end

  it("compares, renames, deletes, dumps and shows", function()
    local file, out = folder .. "cnn.keras", temporary ".weights.h5"
    local ok, text = run(("compare %s %scnn.weights.h5"):format(file, folder))
    assert.is_true(ok)
    expect.has(text, "0 mismatches, 28 matching weights")
    assert.is_true(run(("rename %s layers/dense_1 head %s"):format(file, out)))
    ok, text = run(("compare %s %s"):format(file, out))
    assert.is_false(ok)
    expect.has(text, "object /layers/head: in the reference file, not in the saved file")
    assert.is_true(run(("delete %s optimizer %s"):format(out, out)))
    ok, text = run("summary " .. out)
    assert.is_true(ok)
    expect.has(text, "head ('dense_1')")
    assert.is_nil(text:find("optimizer", 1, true))
    ok, text = run(("dump %s head"):format(out))
    assert.is_true(ok)
    expect.has(text, "layers/head/1: float32 [2]")
  end)

  it("ends with one error", function()
    local ok, text = run "dump"
    assert.is_false(ok)
    expect.has(text, "tide inspect dump: wrong number of words (expected 1 or 2, got 0)")
    ok, text = run "compare /no/such.keras /no/such.keras"
    assert.is_false(ok)
    expect.has(text, "/no/such.keras")
    ok, text = run(("delete %scnn.keras nothing /tmp/never.weights.h5"):format(folder))
    assert.is_false(ok)
    expect.has(text, "delete_object: no 'nothing' in")
    assert.is_nil(io.open "/tmp/never.weights.h5")
    ok, text = run "--help"
    assert.is_true(ok)
    expect.has(text, "tide inspect rename FILE NAME NEW OUT")
  end)
end)

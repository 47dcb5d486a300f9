-- Plain tensors in files: tide.save and tide.load. The files of spec/fixtures/numpy were written by
-- NumPy (spec/ref/make_numpy.py).
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local numpy = "spec/fixtures/numpy/"

describe("tide.save and tide.load", function()
  local folder
  before_each(function()
    folder = expect.folder()
  end)
  after_each(function()
    os.execute("rm -r " .. folder)
  end)

  it("keep nested tables, lists and every dtype in .safetensors", function()
    local path = folder .. "/state.safetensors"
    local state = { deep = { a = { tide.tensor(3), tide.tensor { 4, 5 } } } }
    for _, dtype in ipairs { "float32", "float64", "float16", "bfloat16", "int64", "int32", "int8",
      "uint8", "bool" } do
      state[dtype] = tide.ops.cast(tide.tensor { { 1, 0 } }, dtype)
    end
    tide.save(state, path)
    local again = tide.load(path)
    assert.equal(3, again.deep.a[1]:item())
    assert.same({ 4, 5 }, again.deep.a[2]:tolist())
    for _, dtype in ipairs { "float32", "bfloat16", "int64", "uint8" } do
      assert.equal(dtype, again[dtype].dtype)
      assert.same({ { 1, 0 } }, again[dtype]:tolist())
    end
    assert.same({ { true, false } }, again.bool:tolist())
    local _ <close>, entries = core.safetensors_open(path)
    local names = {}
    for i, e in ipairs(entries) do
      names[i] = e.name
    end
    table.sort(names)
    assert.equal("bfloat16 bool deep/a/1 deep/a/2 float16 float32 float64 int32 int64 int8 uint8",
      table.concat(names, " "))
  end)

  it("keep one tensor, a list, and a table by name", function()
    local x = tide.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    for _, name in ipairs { "/x.npy", "/x.safetensors" } do
      tide.save(x, folder .. name)
      assert.same(x:tolist(), tide.load(folder .. name):tolist())
    end
    for _, name in ipairs { "/t.npz", "/t.safetensors" } do
      tide.save({ x, tide.tensor { true } }, folder .. name)
      local list = tide.load(folder .. name)
      assert.same({ x:tolist(), { true } }, { list[1]:tolist(), list[2]:tolist() })
      tide.save({ x = x, y = tide.tensor(2) }, folder .. name)
      local by_name = tide.load(folder .. name)
      assert.same(x:tolist(), by_name.x:tolist())
      assert.equal(2, by_name.y:item())
    end
  end)

  it("keep several tensors without elements, whatever their dtypes and names", function()
    local path = folder .. "/empty.safetensors"
    tide.save({ z = tide.zeros({ 0, 3 }, { dtype = "float64" }), m = tide.tensor { 7 },
      a = tide.zeros { 2, 0 }, b = tide.zeros({ 0 }, { dtype = "bool" }) }, path)
    local again = tide.load(path)
    assert.same({ 0, 3 }, again.z.shape)
    assert.same({ 2, 0 }, again.a.shape)
    assert.equal("float64 float32 bool", again.z.dtype .. " " .. again.a.dtype .. " "
      .. again.b.dtype)
    assert.same({ 7 }, again.m:tolist())
  end)

  it("read what NumPy writes: orders, other dtypes, scalars, nothing, compressed", function()
    local big = tide.load(numpy .. "fortran_big.npy")
    assert.equal("float64", big.dtype)
    assert.same(tide.ops.reshape(tide.arange(24), { 2, 3, 4 }):tolist(), big:tolist())
    for name, want in pairs {
      ["int16.npy"] = { "int32", { { -300, 5 }, { 32767, -32768 } } },
      ["uint16_big.npy"] = { "int32", { 65535, 1 } },
      ["uint32.npy"] = { "int64", { 4294967295, 7 } },
      ["half.npy"] = { "float16", { 1.5, -2 } },
      ["scalar.npy"] = { "int64", 5 },
    } do
      local t = tide.load(numpy .. name)
      assert.equal(want[1], t.dtype, name)
      assert.same(want[2], t:tolist(), name)
    end
    assert.same({ 0, 3 }, tide.load(numpy .. "empty.npy").shape:totable())
    local names, list = tide.load(numpy .. "names.npz"), tide.load(numpy .. "list.npz")
    assert.same({ { 1, 1 }, { 1, 1 }, { 1, 1 } }, names.x:tolist())
    assert.is_true(names.y:tolist())
    assert.same({ { 1, 1 }, { 0, 1, 2 } }, { list[1]:tolist(), list[2]:tolist() })
  end)

  it("never load pickled objects or structures, and say so", function()
    expect.raises("pickled objects are never loaded", tide.load, numpy .. "object.npy")
    expect.raises("holds numbers from 2^63 on, which no dtype holds", tide.load,
      numpy .. "huge.npy")
    expect.raises("only arrays of numbers are read", tide.load, numpy .. "structured.npy")
  end)

  it("read every kind in both orders of bytes and axes, and map what can be mapped", function()
    local dtypes = { i1 = "int8", u1 = "uint8", i2 = "int32", u2 = "int32", i4 = "int32",
      u4 = "int64", i8 = "int64", u8 = "int64", f2 = "float16", f4 = "float32", f8 = "float64",
      b1 = "bool" }
    local numbers, bools = { { 0, 1, 2 }, { 3, 4, 5 } }, { { false, true, false },
      { true, false, true } }
    local texts = { U3 = { { "a", "süß", "" }, { "猫", "x y", "😀" } },
      S4 = { { "0", "1", "2" }, { "3", "4", "5" } } }
    assert.same({ "ab" }, tide.load(numpy .. "text.npy"))
    for _, order in ipairs { "", "big_" } do
      for _, turned in ipairs { "", "_fortran" } do
        for kind, dtype in pairs(dtypes) do
          local path = ("%skinds/%s%s%s.npy"):format(numpy, order, kind, turned)
          local want = kind == "b1" and bools or numbers
          local t = tide.load(path)
          assert.equal(dtype, t.dtype, path)
          assert.same(want, t:tolist(), path)
          if not ("i2 u2 u4 u8"):find(kind) and (order == "" or kind:find "1$") then
            t = tide.load(path, { mmap = true })
            assert.equal(dtype, t.dtype, path)
            assert.same(want, t:tolist(), path)
          else
            expect.raises("cannot be mapped", tide.load, path, { mmap = true })
          end
        end
        for kind, want in pairs(texts) do
          assert.same(want, tide.load(("%skinds/%s%s%s.npy"):format(numpy, order, kind, turned)))
        end
      end
    end
  end)

  it("are mapped without being read, and are not changed", function()
    local path = folder .. "/mapped.npy"
    tide.save(tide.arange(1000000), path)
    local before = tide.memory().live_bytes
    local t = tide.load(path, { mmap = true })
    assert.is_true(tide.memory().live_bytes - before < 1000000)
    assert.equal(999999, t[-1])
    t[1] = 7
    assert.equal(7, t[1])
    assert.equal(0, tide.load(path)[1])
    assert.same({ 0, 3 }, tide.load(numpy .. "empty.npy", { mmap = true }).shape:totable())
    expect.raises("only .npy files are mapped", tide.load, numpy .. "list.npz", { mmap = true })
    expect.raises("is no .npy file", tide.load, expect.write(folder .. "/no.npy", "x"),
      { mmap = true })
  end)

  it("say so where a file is cut while it is mapped, whoever reads its end", function()
    local path = folder .. "/shorter.npy"
    local readers = {
      function(t) return t:sum() end, function(t) return t:tolist() end,
      function(t) return t[900][5] end, function(t) return t:matmul(t) end,
      function(t) return tide.ops.exp(t) end, function(t) return t:tobytes() end,
      function(t) return tostring(t) end, function(t) return tide.ops.det(t) end,
      function(t)
        local ds = tide.data.Dataset.from_tensor_slices(t):shuffle(500, { seed = 1 })
        for x in ds:batch(100):prefetch(2):iter() do
          x:sum():item()
        end
      end,
    }
    for _, read in ipairs(readers) do
      tide.save(tide.ones { 1000, 1000 }, path)
      local t, other = tide.load(path, { mmap = true }), tide.ones { 3 }
      os.execute(("truncate -s 5000 %s"):format(path))
      expect.raises("a file was cut while it was mapped", read, t)
      assert.equal(3, other:sum():item()) -- what has nothing to do with the file goes on
      assert.equal(1, t[1][1])
    end
  end)

  it("refuse files that are cut or made up, at every length", function()
    local whole = expect.read(numpy .. "int16.npy")
    local path = folder .. "/cut.npy"
    for n = 0, #whole - 1 do
      expect.write(path, whole:sub(1, n))
      assert.is_false(pcall(tide.load, path), n)
      assert.is_false(pcall(tide.load, path, { mmap = true }), n)
    end
    expect.write(path, (whole:gsub("%(2, 2%)", "(9999999999, 9999999999)")))
    expect.raises("is larger than any file", tide.load, path)
    expect.write(path, (whole:gsub("%(2, 2%)", "(2, 3)")))
    expect.raises("holds 8 bytes of elements (expected 12)", tide.load, path)
  end)

  it("say what cannot be saved, and leave no file", function()
    local path = folder .. "/no.npz"
    local holding = {}
    holding.itself = holding
    for says, value in pairs {
      ["the table is empty"] = {}, ["'1' must be a tensor"] = { 1 },
      ["lists have no holes"] = { tide.ones { 1 }, nil, tide.ones { 1 } },
      ["name the file .safetensors"] = { a = { tide.ones { 1 } } },
      ["or holds itself"] = holding, ["is no name for a file"] = { ["a/b"] = tide.ones { 1 } },
      ["which .npy files do not have"] = { tide.tensor({ 1 }, { dtype = "bfloat16" }) },
      ["a table is one or the other"] = { tide.ones { 1 }, x = tide.ones { 1 } },
    } do
      expect.raises(says, tide.save, value, path)
    end
    assert.is_false(core.file_exists(path))
    expect.raises("an .npy file holds one tensor", tide.save, { tide.ones { 1 } },
      folder .. "/x.npy")
    expect.raises("must end in .safetensors, .npy or .npz", tide.save, tide.ones { 1 }, "x.txt")
    expect.raises("models are written by model:save", tide.load, "x.keras")
    tide.save(tide.ones { 1 }, folder .. "/x.npy")
    expect.raises("overwrite is false", tide.save, tide.ones { 1 }, folder .. "/x.npy",
      { overwrite = false })
  end)

  it("take a model too, and name tide.load_model for reading it", function()
    local path = folder .. "/m.safetensors"
    tide.save(tide.Sequential { tide.layers.Dense { 1, input_shape = { 2 } } }, path)
    assert.equal(3, tide.load_model(path):count_params())
    expect.raises("holds a model or its weights; tide.load_model reads the one", tide.load, path)
    local model = tide.load_model(path)
    tide.save(model:get_weights(), path) -- a list of Tide's own
    local weights = tide.load(path)
    assert.same({ 2, 1 }, weights[1].shape:totable())
    expect.close(model.weights[1]:tolist(), weights[1])
    expect.raises("must be a tensor or a table of tensors", tide.save, tide.none, path)
  end)
end)

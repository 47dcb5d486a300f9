-- ImageDataGenerator's iterators: files, labels, order, threads, errors.
local expect = require "spec.support.expect"
local core = require "tide.core"
local tide = require "tide"
local ops = require "tide.ops"

local pictures = tide.preprocessing.image
local Generator = pictures.ImageDataGenerator

local message = expect.message

-- A picture of one grey value, so that a sample tells which file it was.
local function flat(v, h, w)
  return ops.full({ h or 6, w or 8, 3 }, v, { dtype = "uint8" })
end

describe("flow_from_directory", function()
  local root
  setup(function()
    root = expect.name()
    assert(os.execute(("mkdir -p %s/cats/old %s/dogs %s/ants"):format(root, root, root)))
    for i = 1, 5 do
      pictures.save_img(("%s/cats/%d.png"):format(root, i), flat(i * 10, 6 + i, 8),
        { scale = false })
      pictures.save_img(("%s/dogs/%d.bmp"):format(root, i), flat(100 + i * 10), { scale = false })
    end
    pictures.save_img(root .. "/cats/old/a.ppm", flat(7), { scale = false })
    pictures.save_img(root .. "/ants/x.png", flat(200), { scale = false })
    local f = assert(io.open(root .. "/cats/notes.txt", "w"))
    f:write "no picture"
    f:close()
  end)
  teardown(function()
    os.execute("rm -rf " .. root)
  end)

  local two = { "cats", "dogs" }
  local function flow(options, generator)
    local o = { target_size = { 6, 8 }, shuffle = false, batch_size = 4, verbose = false }
    for k, v in pairs(options or {}) do
      o[k] = v
    end
    return (generator or Generator {}):flow_from_directory(root, o)
  end

  it("lists folders and files in order and labels from 1", function()
    local it = flow()
    assert.equal("[\"ants\", \"cats\", \"dogs\"]", tostring(it.class_names))
    assert.same({ ants = 1, cats = 2, dogs = 3 }, it.class_indices)
    assert.equal(12, it.samples)
    assert.equal(3, #it)
    assert.equal("ants/x.png", it.filenames[1])
    assert.equal("cats/old/a.ppm", it.filenames[7])
    assert.equal(root .. "/dogs/5.bmp", it.filepaths[-1])
    assert.equal("[1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]", tostring(it.classes))
    assert.equal("[6, 8, 3]", tostring(it.image_shape))
  end)

  it("gives y by class_mode", function()
    local x, y = flow():get(1)
    assert.equal("[4, 6, 8, 3]", tostring(x.shape))
    assert.same({ { 1, 0, 0 }, { 0, 1, 0 }, { 0, 1, 0 }, { 0, 1, 0 } }, y:tolist())
    y = select(2, flow({ class_mode = "sparse" }):get(1))
    assert.same({ 1, 2, 2, 2 }, y:tolist())
    assert.equal("int64", y.dtype)
    y = select(2, flow({ class_mode = "binary", classes = two }):get(2))
    assert.same({ 0, 0, 1, 1 }, y:tolist())
    assert.equal("float32", y.dtype)
    x, y = flow({ class_mode = "input" }):get(3)
    assert.is_true(x:tobytes() == y:tobytes())
    x, y = flow({ class_mode = tide.none }):get(3)
    assert.is_nil(y)
    assert.equal("[4, 6, 8, 3]", tostring(x.shape))
  end)

  it("refuses binary targets of three classes", function()
    assert.truthy(
      message(flow, { class_mode = "binary" }):find(
      "needs two classes, found 3 (ants, cats, dogs)", 1, true))
  end)

  it("decodes, resizes and rescales", function()
    local x = flow({ classes = two, color_mode = "grayscale" }, Generator { rescale = 0.5 }):get(1)
    assert.equal("[4, 6, 8, 1]", tostring(x.shape))
    assert.same({ 5, 10, 15, 20 }, ops.mean(x, { axis = { 2, 3, 4 } }):tolist())
  end)

  it("takes the first part of each class for validation", function()
    local g = Generator { validation_split = 0.4 }
    local v, t = flow({ subset = "validation" }, g), flow({ subset = "training" }, g)
    assert.equal(4, v.samples)
    assert.equal(8, t.samples)
    assert.equal("[\"cats/1.png\", \"cats/2.png\", \"dogs/1.bmp\", \"dogs/2.bmp\"]",
      tostring(v.filenames))
    assert.equal("ants/x.png", t.filenames[1])
  end)

  it("shuffles anew in each pass and shows every picture once in each", function()
    local it = flow({ shuffle = true, seed = 3, batch_size = 5 })
    local orders = {}
    for pass = 1, 3 do
      local seen = {}
      for x in it:iter() do
        for k = 1, #x do
          seen[#seen + 1] = string.format("%d", x[{ k, 1, 1, 1 }])
        end
      end
      assert.equal(12, #seen)
      orders[pass] = table.concat(seen, " ")
      table.sort(seen)
      orders[pass + 3] = table.concat(seen, " ")
    end
    assert.not_equal(orders[1], orders[2])
    assert.not_equal(orders[2], orders[3])
    assert.equal(orders[4], orders[5])
    assert.equal(orders[5], orders[6])
  end)

  it("gives the same batches whatever the number of threads and of batches made ahead", function()
    local function all(workers, prefetch)
      local g = Generator { rotation_range = 40, zoom_range = 0.3, width_shift_range = 0.2,
        horizontal_flip = true, brightness_range = { 0.5, 1.5 },
        channel_shift_range = 20, samplewise_center = true }
      local it = flow({ shuffle = true, seed = 11, workers = workers, prefetch = prefetch }, g)
      local out = {}
      for _ = 1, 2 * #it do
        local x, y = it:next()
        out[#out + 1] = x:tobytes() .. y:tobytes()
      end
      return table.concat(out)
    end
    local one = all(1, 0)
    assert.is_true(one == all(4, 3))
    assert.is_true(one == all(2, 1))
  end)

  it("repeats under tide.seed when no seed is given", function()
    local function first()
      tide.seed(5)
      return flow({ shuffle = true }):get(1):tobytes()
    end
    assert.is_true(first() == first())
  end)

  it("goes round by next() and is called like a function", function()
    local it = flow { batch_size = 7 }
    assert.equal(7, #it:next())
    assert.equal(5, #it())
    assert.equal(7, #(it()))
    it:reset()
    assert.equal(7, #it:next())
  end)

  it("ends with the pass in a generic for, each time anew", function()
    local it = flow { shuffle = true, seed = 3 }
    local passes = {}
    for p = 1, 2 do
      passes[p] = {}
      for x, y in it do
        assert.equal(#x, #y)
        passes[p][#passes[p] + 1] = x:tolist()
      end
      assert.equal(3, #passes[p])
    end
    assert.are_not.same(passes[1], passes[2])
    local n = 0
    for _ in it do -- one that is left early begins again
      n = n + 1
      if n == 2 then
        break
      end
    end
    n = 0
    for _ in it do
      n = n + 1
    end
    assert.equal(3, n)
  end)

  it("says as plain data where it is, and goes back there", function()
    local it = flow { shuffle = true, seed = 3, batch_size = 2 }
    it:next()
    for _ in it do end -- luacheck: ignore
    it:next()
    it:next()
    local state = it:state()
    for _, v in pairs(state) do
      assert.truthy(type(v) == "number" or type(v) == "boolean")
    end
    local want = {}
    for i = 1, 6 do
      want[i] = it:next():tolist()
    end
    local other = flow { shuffle = true, seed = 99, batch_size = 2 }
    other:restore(state)
    for i = 1, 6 do
      assert.same(want[i], other:next():tolist())
    end
    other:restore(state)
    local rest = {}
    for x in other:iter() do
      rest[#rest + 1] = x:tolist()
    end
    assert.same({ table.unpack(want, 1, 4) }, rest)
    assert.truthy(message(it.restore, it, { 1 }):find("takes what state() gave", 1, true))
  end)

  it("takes no hidden folders for classes, and says what it leaves out", function()
    local dir = expect.name()
    assert(os.execute(("mkdir -p %s/a %s/.b %s/a/.c"):format(dir, dir, dir)))
    for _, name in ipairs { "a/1.png", ".b/1.png", "a/.c/1.png" } do
      pictures.save_img(dir .. "/" .. name, flat(1), { scale = false })
    end
    for _, name in ipairs { "a/2.tif", "a/3.webp" } do
      expect.write(dir .. "/" .. name, "II*\0")
    end
    local said, old = {}, io.stderr
    io.stderr = { write = function(_, text) said[#said + 1] = text end } -- luacheck: ignore
    local ok, it = pcall(function()
      return Generator {}:flow_from_directory(dir, { verbose = false })
    end)
    local fine, set = pcall(tide.utils.image_dataset_from_directory, dir, { verbose = false })
    io.stderr = old -- luacheck: ignore
    assert(ok, it)
    assert(fine, set)
    assert.equal('["a"]', tostring(it.class_names))
    assert.equal('["a/1.png"]', tostring(it.filenames))
    assert.equal(1, set.n)
    assert.equal(2, #said)
    expect.has(said[1], "flow_from_directory: 2 TIFF or WebP pictures of " .. dir .. "/a are left")
    expect.has(said[2], "2.tif is the first")
    os.execute("rm -r " .. dir)
  end)

  it("says which batches there are", function()
    assert.truthy(message(function()
      return flow():get(4)
    end):find("there is no batch 4 (1 to 3)", 1, true))
  end)

  it("names a bad file, or skips and counts it", function()
    local bad = root .. "/dogs/0.png"
    local f = assert(io.open(bad, "wb"))
    f:write "\x89PNG\r\n\x1a\n and then nothing"
    f:close()
    local e = message(function() return flow({ classes = two }):get(2) end)
    assert.truthy(e:find("flow_from_directory: " .. bad .. ": is not a valid PNG", 1, true))
    assert.truthy(e:find('on_error = "skip"', 1, true))
    local it = flow { classes = two, on_error = "skip", class_mode = "sparse" }
    local x, y = it:get(2)
    assert.equal("[3, 6, 8, 3]", tostring(x.shape))
    assert.same({ 1, 1, 2 }, y:tolist())
    assert.equal(1, it.skipped)
    assert.truthy(it.bad_files[bad]:find("not a valid PNG", 1, true))
    assert.truthy(message(function() return flow({ classes = two, on_error = "skip",
      batch_size = 1 }):get(7) end):find("no picture of a batch", 1, true))
    os.remove(bad)
    assert.truthy(message(flow, { classes = { "cats", "cows" } }):find("cows: cannot be listed", 1,
      true))
  end)

  it("hands pictures to preprocessing_function after the transformation and before rescale",
    function()
    local g = Generator { rescale = 2, preprocessing_function = function(x)
      assert(x.ndim == 3)
      return x + 1
    end }
    local x = flow({ classes = two }, g):get(1)
    assert.same({ 22, 42, 62, 82 }, ops.mean(x, { axis = { 2, 3, 4 } }):tolist())
  end)

  it("puts channels first", function()
    local a = flow({ classes = two, seed = 1 }, Generator { rotation_range = 20 }):get(1)
    local b = flow({ classes = two, seed = 1 },
      Generator { rotation_range = 20, data_format = "channels_first" }):get(1)
    local c = flow({ classes = two, seed = 1 },
      Generator { rotation_range = 20, data_format = "channels_first",
        preprocessing_function = function(x) return x end }):get(1)
    assert.equal("[4, 3, 6, 8]", tostring(b.shape))
    assert.is_true(ops.copy(ops.transpose(a, { 1, 4, 2, 3 })):tobytes() == b:tobytes())
    assert.is_true(b:tobytes() == c:tobytes())
  end)

  it("saves what it gives", function()
    local out = root .. "/saved"
    assert(os.execute("mkdir " .. out))
    flow({ classes = two, save_to_dir = out, save_prefix = "p", save_format = "bmp" }):get(1)
    local names = core.listdir(out)
    assert.equal(4, #names)
    assert.truthy(names[1]:find "^p_1_%d+%.bmp$")
    assert.equal("[6, 8, 3]", tostring(pictures.load_img(out .. "/" .. names[1]).shape))
    os.execute("rm -rf " .. out)
  end)

  it("can be closed and dropped with batches under way", function()
    collectgarbage()
    collectgarbage()
    local before = core.memory().live_tensors
    for _ = 1, 20 do
      local it <close> = flow { prefetch = 3, batch_size = 2 }
      it:get(1)
    end
    local it = flow { prefetch = 3, batch_size = 2 }
    it:get(1)
    it = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(before, core.memory().live_tensors)
  end)

  it("reads tables of names", function()
    local g = Generator { validation_split = 0.5 }
    local frame = { filename = { "cats/1.png", "dogs/2.bmp", "nothing.png", "dogs/1.bmp" },
      class = { "c", "d", "c", "d" }, w = { 1, 2, 3, 4 },
      a = { 0.5, 1.5, 2.5, 3.5 } }
    local o = { target_size = { 6, 8 }, shuffle = false, class_mode = "sparse", verbose = false,
      weight_col = "w" }
    local it = g:flow_from_dataframe(frame, root, o)
    local x, y, w = it:get(1)
    assert.same({ 10, 120, 110 }, ops.mean(x, { axis = { 2, 3, 4 } }):tolist())
    assert.same({ 1, 2, 2 }, y:tolist())
    assert.same({ 1, 2, 4 }, w:tolist())
    o.weight_col, o.class_mode, o.y_col = nil, "raw", "a"
    local rows = {}
    for i = 1, 4 do
      rows[i] = { filename = frame.filename[i], a = frame.a[i] }
    end
    y = select(2, g:flow_from_dataframe(rows, root, o):get(1))
    assert.same({ 0.5, 1.5, 3.5 }, y:tolist())
    o.class_mode, o.y_col = "multi_output", { "a", "w" }
    y = select(2, g:flow_from_dataframe(frame, root, o):get(1))
    assert.same({ 1, 2, 4 }, y[2]:tolist())
    o.class_mode, o.y_col, o.subset = "categorical", "class", "training"
    it = g:flow_from_dataframe(frame, root, o)
    y = select(2, it:get(1))
    assert.same({ { 0, 1 }, { 0, 1 } }, y:tolist())
    assert.truthy(message(g.flow_from_dataframe, g, frame, root,
      { x_col = "name", verbose = false }):find("no column 'name'", 1, true))
  end)
end)

local function range(n)
  local out = {}
  for i = 1, n do
    out[i] = i - 1
  end
  return core.tensor(out)
end

describe("flow", function()
  local x = ops.reshape(range(10 * 4 * 4), { 10, 4, 4, 1 })
  local y = core.tensor({ 1, 2, 1, 2, 1, 2, 1, 2, 1, 2 }, { dtype = "int64" })

  it("gives pictures, targets and weights of the same rows", function()
    local w = range(10)
    local seen = 0
    for a, b, c in Generator {}:flow(x, y,
      { batch_size = 4, sample_weight = w, seed = 2 }):iter() do
      for k = 1, #a do
        local row = math.tointeger(a[{ k, 1, 1, 1 }] // 16)
        assert.equal(y[row + 1], b[k])
        assert.equal(row, c[k])
        seen = seen + 1
      end
    end
    assert.equal(10, seen)
  end)

  it("carries further inputs along and splits", function()
    local g = Generator { validation_split = 0.2 }
    local a, b = g:flow({ x, range(10) }, y, { shuffle = false, subset = "training" }):get(1)
    assert.equal("[8, 4, 4, 1]", tostring(a[1].shape))
    assert.equal(2, a[2][1])
    assert.equal(8, #b)
    local others = { range(10) }
    g:flow({ x, others }, nil, { subset = "validation" })
    assert.equal("[10]", tostring(others[1].shape)) -- a person's list stays as it is
    assert.equal(2, #g:flow(x, y, { subset = "validation" }):get(1))
    local sorted = core.tensor({ 1, 1, 2, 2, 2, 2, 2, 2, 2, 2 }, { dtype = "int64" })
    assert.truthy(message(g.flow, g, x, sorted,
      { subset = "training" }):find("hold different classes", 1, true))
    assert.equal(8, #g:flow(x, sorted, { subset = "training", ignore_class_split = true }):get(1))
    assert.truthy(message(g.flow, g, x, core.tensor { 1, 2 }):find("same length", 1, true))
    assert.truthy(message(g.flow, g, y):find("needs 4 axes", 1, true))
  end)

  it("uses what fit found, also when fit comes after", function()
    local g = Generator { featurewise_center = true, featurewise_std_normalization = true }
    local it = g:flow(x, { shuffle = false, batch_size = 10 })
    g:fit(x)
    local a = it:get(1)
    assert.is_true(math.abs(ops.mean(a):item()) < 1e-5)
    assert.is_true(math.abs(ops.mean(a * a):item() - 1) < 1e-4)
    g:fit(x * 2)
    assert.is_true(math.abs(ops.mean(it:get(1)):item()) > 0.1)
  end)
end)

-- IDX files and the data sets made of them.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"

local dir
local function path(name)
  return dir .. "/" .. name
end
local function write(name, s)
  return expect.write(path(name), s)
end
local raises = expect.raises

setup(function()
  dir = expect.folder()
end)
teardown(function()
  os.execute("rm -r " .. dir)
end)

local function idx(code, dims, data)
  local s = string.pack(">BBBB", 0, 0, code, #dims)
  for _, d in ipairs(dims) do
    s = s .. string.pack(">I4", d)
  end
  return s .. data
end

describe("the IDX reader", function()
  it("reads every element type, big-endian", function()
    assert.same({ { 1, 2, 255 } }, core.idx_read(write("a", idx(8, { 1, 3 }, "\1\2\255"))):tolist())
    assert.same({ -1, 3 }, core.idx_read(write("a", idx(9, { 2 }, "\255\3"))):tolist())
    local t = core.idx_read(write("a", idx(11, { 3 }, string.pack(">i2i2i2", -300, 5, 32767))))
    assert.same({ -300, 5, 32767 }, t:tolist())
    assert.equal("int32", t.dtype)
    assert.same({ -70000 }, core.idx_read(write("a",
      idx(12, { 1 }, string.pack(">i4", -70000)))):tolist())
    assert.same({ 1.5 }, core.idx_read(write("a", idx(13, { 1 }, string.pack(">f", 1.5)))):tolist())
    assert.same({ 0.1 }, core.idx_read(write("a", idx(14, { 1 }, string.pack(">d", 0.1)))):tolist())
  end)

  it("reads gzipped files", function()
    write("g", idx(8, { 2 }, "\7\9"))
    os.execute("gzip -f " .. path "g")
    assert.same({ 7, 9 }, core.idx_read(path "g.gz"):tolist())
  end)

  it("refuses what is not whole", function()
    raises("the file ends inside the header", core.idx_read, write("a", "\0\0"))
    raises("not an IDX file", core.idx_read, write("a", "PK\3\4xxxx"))
    raises("not an IDX file", core.idx_read, write("a", idx(7, { 1 }, "a")))
    raises("rank 0", core.idx_read, write("a", idx(8, {}, "")))
    raises("rank 9", core.idx_read, write("a", idx(8, { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, "a")))
    raises("overflow", core.idx_read, write("a",
      idx(8, { 4294967295, 4294967295, 4294967295 }, "a")))
    raises("the file can hold at most 1", core.idx_read, write("a", idx(8, { 4294967295 }, "a")))
    raises("bytes follow the last element", core.idx_read, write("a", idx(8, { 1 }, "ab")))
    raises("cannot open", core.idx_read, path "none")
    raises("not a regular file", core.idx_read, dir)
    write("g", idx(8, { 200 }, ("ab"):rep(100)))
    os.execute("gzip -f " .. path "g")
    local s = expect.read(path "g.gz")
    for cut = 3, #s - 1 do
      assert.is_false((pcall(core.idx_read, write("h.gz", s:sub(1, cut)))), "cut at " .. cut)
    end
    for i = #s - 7, #s - 4 do
      assert.is_false((pcall(core.idx_read,
        write("h.gz", s:sub(1, i - 1) .. string.char(s:byte(i) ~ 1) .. s:sub(i + 1)))))
    end
  end)
end)

describe("tide.datasets", function()
  it("reads Fashion-MNIST from its package, labels from 1", function()
    if not core.file_exists "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz" then
      raises("apt install dataset-fashion-mnist", tide.datasets.fashion_mnist)
      return
    end
    local x_train, y_train, x_test, y_test, names = tide.datasets.fashion_mnist {}
    assert.same({ 60000, 28, 28 }, x_train.shape:totable())
    assert.same({ 10000, 28, 28 }, x_test.shape:totable())
    assert.equal("uint8", x_train.dtype)
    assert.equal(1, y_train:min())
    assert.equal(10, y_test:max())
    assert.equal("Ankle boot", names[y_train[1]])
    assert.equal(10, #names)
  end)

  it("reads a folder, and says what is missing or does not fit", function()
    local function put(n_images, n_labels, label)
      for _, part in ipairs { "train", "t10k" } do
        write(part .. "-images-idx3-ubyte", idx(8, { n_images, 2, 2 }, ("\5"):rep(4 * n_images)))
        write(part .. "-labels-idx1-ubyte", idx(8, { n_labels }, string.char(label):rep(n_labels)))
      end
    end
    put(3, 3, 9)
    local x, y, _, _, names = tide.datasets.mnist { dir }
    assert.same({ 3, 2, 2 }, x.shape:totable())
    assert.equal("9", names[y[1]])
    put(3, 2, 1)
    raises("pictures and labels do not fit", tide.datasets.mnist, { dir })
    put(2, 2, 10)
    raises("label out of range (expected 0 to 9, got 10)", tide.datasets.mnist, { dir })
    os.remove(path "train-images-idx3-ubyte")
    raises("the files are not there (looked in " .. dir .. ")", tide.datasets.mnist, { dir })
    raises("unknown option 'path'", tide.datasets.mnist, { path = dir })
  end)
end)

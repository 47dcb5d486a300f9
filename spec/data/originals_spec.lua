-- Data sets of files: what Keras' loaders, NumPy and pandas find in the same small files
-- (spec/ref/datasets.py), and what damaged and missing files say.
local core = require "tide.core"
local expect = require "spec.support.expect"
local numpy = require "tide.datasets.numpy"
local tide = require "tide"
local reference = require "spec.ref.datasets"
local datasets = tide.datasets

local FOLDER = "spec/ref/datasets"

local function options(given, more)
  local o = { folder = FOLDER }
  for _, t in ipairs { given, more or {} } do
    for k, v in pairs(t) do
      o[k] = v
    end
  end
  return o
end

describe("texts", function()
  for _, case in ipairs(reference.texts) do
    it("are Keras': " .. case.name .. " " .. (next(case.options) or ""), function()
      local x_train, y_train, x_test, y_test = datasets[case.name](options(case.options))
      assert.same(case.x_train, x_train)
      assert.same(case.y_train, y_train:tolist())
      assert.same(case.x_test, x_test)
      assert.same(case.y_test, y_test:tolist())
    end)
  end

  it("are the same in files of NumPy 1 and 2, and by the file's own path", function()
    local a = table.pack(datasets.imdb(options {}))
    local b = table.pack(datasets.imdb { FOLDER .. "/new/imdb.npz" })
    assert.same(a[1], b[1])
    assert.same(a[3], b[3])
    assert.same(a[4]:tolist(), b[4]:tolist())
  end)

  it("have words and names", function()
    assert.same({ the = 1, ["and"] = 2, ["fürth"] = 88583 }, datasets.imdb.get_word_index(FOLDER))
    local names = datasets.reuters.get_label_names()
    assert.equal(46, #names)
    assert.equal("cocoa", names[1])
    assert.equal("lead", names[46])
    expect.has(expect.message(function() return datasets.imdb.get_word_indx end),
      "did you mean 'get_word_index'")
  end)

  it("of which none is short enough say so", function()
    expect.has(expect.message(datasets.imdb, options { maxlen = 1 }),
      "no sequence is shorter than maxlen (got 1)")
  end)
end)

describe("houses", function()
  for _, case in ipairs(reference.arrays) do
    it("are Keras': " .. case.name .. " " .. (next(case.options) or ""), function()
      local parts = { datasets[case.name](options(case.options)) }
      for i, t in ipairs(parts) do
        assert.same(case.shapes[i], table.move(t.shape, 1, #t.shape, 1, {}))
        assert.equal(case.dtype, t.dtype)
      end
      expect.close(parts[1][{ { 1, 2 } }], case.rows[1], 0, 1e-7)
      expect.close(parts[2][{ { 1, 5 } }], case.rows[2], 0, 1e-7)
      expect.close(parts[3][{ { -2, -1 } }], case.rows[3], 0, 1e-7)
      expect.close(parts[4][{ { -5, -1 } }], case.rows[4], 0, 1e-7)
    end)
  end

  it("refuse a share for testing that leaves nothing", function()
    expect.has(expect.message(datasets.boston_housing, options { test_split = 1 }),
      "boston_housing: test_split must be below 1 (got 1)")
  end)
end)

describe("numpy.shuffler", function()
  it("shuffles as RandomState does", function()
    for _, case in ipairs(reference.orders) do
      local shuffle = numpy.shuffler(case.seed)
      for _, order in ipairs(case.orders) do
        assert.same(order, shuffle(#order))
      end
    end
  end)
end)

describe("pictures", function()
  local function seen(x)
    local out = {}
    for i = 1, #x do
      for _, at in ipairs { { 1, 1 }, { 6, 18 }, { 32, 32 } } do
        out[#out + 1] = x[{ i, at[1], at[2] }]:tolist()
      end
    end
    return out
  end

  it("of cifar10 are those of its archives", function()
    local want = reference.pictures.cifar10
    for _, file in ipairs { "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz" } do
      local x_train, y_train, x_test, y_test, names = datasets.cifar10 { FOLDER .. "/" .. file }
      assert.same({ 10, 32, 32, 3 }, table.move(x_train.shape, 1, 4, 1, {}))
      assert.equal("uint8", x_train.dtype)
      assert.same(want.x_train, seen(x_train))
      assert.same(want.y_train, y_train:tolist())
      assert.same(want.x_test, seen(x_test))
      assert.same(want.y_test, y_test:tolist())
      assert.equal("truck", names[10])
    end
  end)

  it("of cifar100 have fine and coarse labels, from a folder or an archive", function()
    local want = reference.pictures.cifar100
    for _, place in ipairs { FOLDER, FOLDER .. "/cifar-100-binary.tar.gz" } do
      for _, mode in ipairs { "fine", "coarse" } do
        local x_train, y_train, x_test, _, names = datasets.cifar100 { mode, place }
        assert.same(want.x_train, seen(x_train))
        assert.same(want[mode], y_train:tolist())
        assert.same(want.x_test, seen(x_test))
        assert.equal(mode == "fine" and 100 or 20, #names)
      end
    end
  end)

  it("have their channels where it is said", function()
    local x = datasets.cifar10 { FOLDER, data_format = "channels_first" }
    assert.same({ 10, 3, 32, 32 }, table.move(x.shape, 1, 4, 1, {}))
  end)

  it("of mnist are in Keras' file, too", function()
    local x_train, y_train, x_test, y_test = datasets.mnist { FOLDER }
    local d = tide.load(FOLDER .. "/mnist.npz")
    assert.same(d.x_train:tolist(), x_train:tolist())
    assert.same((d.y_train + 1):tolist(), y_train:tolist())
    assert.same({ 2, 28, 28 }, table.move(x_test.shape, 1, 3, 1, {}))
    assert.equal(2, y_test.size)
  end)
end)

describe("movielens", function()
  it("gives tables of ratings, users and films", function()
    local ratings, users, movies = datasets.movielens { "1m", FOLDER }
    for name, t in pairs { ratings = ratings, users = users, movies = movies } do
      for column, values in pairs(reference.films[name]) do
        local v = t:column(column)
        assert.same(values, core.is_tensor(v) and v:tolist() or v)
      end
    end
    ratings, users, movies = datasets.movielens { folder = FOLDER }
    assert.equal(9, #ratings)
    assert.same({ "85711", "T8H1N", "32067" }, users.zip_code)
    assert.same({ "Animation|Children's|Comedy", "Drama" }, movies.genres)
    assert.equal("Misérables, Les (1995)", movies.title[2])
  end)
end)

describe("files of data sets", function()
  local function file(name, text)
    local folder = expect.folder()
    expect.write(folder .. "/" .. name, text)
    return folder
  end

  it("that are missing are named, with where they come from", function()
    for name, part in pairs { imdb = "put imdb.npz into a folder (from https://storage.", cifar10 =
      "put cifar-10-python.tar.gz into a folder (from https://www.cs.toronto.edu", movielens =
      "put ml-100k.zip into a folder (from https://files.grouplens.org" } do
      local message = expect.message(datasets[name], { folder = "/no/folder" })
      expect.has(message, name .. ": the files are not there (looked in /no/folder)")
      expect.has(message, part)
      expect.has(message, "or set TIDE_DATA")
    end
  end)

  it("are the original ones, if that is asked for", function()
    expect.has(expect.message(datasets.imdb, options { verify = true }),
      "imdb.npz is not the original (expected 17464789 bytes, got ")
    -- one of the right length must have the right digest
    local folder = file("ml-100k.zip", ("x"):rep(4924029))
    expect.has(expect.message(datasets.movielens, { folder = folder }),
      "ml-100k.zip is damaged (expected the md5 0e33842e24a9c977be4e0107933c0723, got ")
  end)

  it("have digests", function()
    local path = expect.name()
    expect.write(path, "abc")
    assert.equal("900150983cd24fb0d6963f7d28e17f72", core.file_digest(path, "md5"))
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      core.file_digest(path, "sha256"))
    expect.write(path, ("a"):rep(1000000))
    assert.equal("7707d6ae4e027c70eea2a935c2296f21", core.file_digest(path, "md5"))
    assert.equal("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
      core.file_digest(path, "sha256"))
  end)

  it("that are damaged or hostile are refused by one error", function()
    local function says(f, o, ...)
      local message = expect.message(f, o)
      for _, part in ipairs { ... } do
        expect.has(message, part)
      end
    end
    -- a pickle that would run a program
    local header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    local npy = "\x93NUMPY\1\0" .. ("<s2"):pack(header)
    local evil = npy .. "\x80\2cos\nsystem\nU\4true\x85R."
    local folder = expect.folder()
    core.zip_write(folder .. "/reuters.npz", { { "x.npy", evil }, { "y.npy", evil } })
    says(datasets.reuters, { folder }, "reuters.npz: x asks for os.system, which would run code")
    core.zip_write(folder .. "/reuters.npz", { { "x.npy", npy .. "\x80\2]q" }, { "y.npy", npy } })
    says(datasets.reuters, { folder }, "is damaged: its pickle ends early")
    core.zip_write(folder .. "/reuters.npz", { { "x.npy", npy .. "\x80\2]." } })
    says(datasets.reuters, { folder }, "has no array 'y' (expected x, y)")
    -- a short pickle of many values
    local bomb = npy .. "\x80\2]q\0(" .. ("h\0"):rep(64) .. "e."
    core.zip_write(folder .. "/reuters.npz", { { "x.npy", bomb }, { "y.npy", bomb } })
    says(datasets.reuters, { folder }, "does not hold sequences")
    local bytes = expect.read(FOLDER .. "/cifar-10-python.tar.gz")
    says(datasets.cifar10, { file("cifar-10-python.tar.gz", bytes:sub(1, 1500)) },
      "cifar-10-python.tar.gz")
    says(datasets.cifar10, { file("cifar-10-binary.tar.gz", expect.read(FOLDER
      .. "/cifar-100-binary.tar.gz")) }, "data_batch_1.bin is not in the archive")
    says(datasets.cifar100, { folder = file("train", "\x80\2}q\0.") },
      "does not hold pictures of 3072 bytes")
    local films = file("u.data", "1\t2\t3\t4\n1\t2\tx\t4\n")
    says(datasets.movielens, { folder = films }, "u.data: line 2: rating is no whole number")
    says(datasets.movielens, { folder = file("u.data", "1\t2\n") },
      "u.data: line 1: the row has 2 fields (expected 4)")
  end)
end)

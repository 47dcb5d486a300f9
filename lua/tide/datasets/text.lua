--- Texts as word numbers: imdb and reuters, from Keras' .npz files.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.datasets.files"
local json = require "tide.utils.json"
local numpy = require "tide.datasets.numpy"

local STORAGE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
local SOURCES = {
  imdb = {
    { "imdb.npz", bytes = 17464789, url = STORAGE .. "imdb.npz",
      sha256 = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f" },
    { "imdb_word_index.json", bytes = 1641221, url = STORAGE .. "imdb_word_index.json",
      md5 = "bfafd718b763782e994055a2d397834f" },
  },
  reuters = {
    { "reuters.npz", bytes = 2110848, url = STORAGE .. "reuters.npz",
      sha256 = "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916" },
    { "reuters_word_index.json", bytes = 550378, url = STORAGE .. "reuters_word_index.json",
      md5 = "4d44cc38712099c9e383dc6e5f11a921" },
  },
}

local TOPICS = {}
for topic in ([[cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade
  reserves ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold
  tin strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem
  dlr gas silver wpi hog lead]]):gmatch "%S+" do
  TOPICS[#TOPICS + 1] = topic
end

local function find(name, k, o)
  local row = SOURCES[name][k]
  return files.find { name = name, folder = o.folder, verify = o.verify, files = { row },
    needs = row[1], url = row.url }
end

local numbers = {
  { "num_words", "int", nil, "words with higher numbers are left out; all stay when left out",
    min = 1 },
  { "skip_top", "int", 0, "the most frequent words that are left out", min = 0 },
  { "maxlen", "int", nil, "only sequences that are shorter stay", min = 1 },
}
local marks = {
  { "seed", "int", 113, "of the order", min = 0, max = 0xffffffff },
  { "start_char", "int", 1, "the number before every sequence; false: none", none = true },
  { "oov_char", "int", 2, "what stands for words that are left out; false: nothing", none = true },
  { "index_from", "int", 3, "is added to the numbers of words" },
}

local function rows_of(...)
  local out = { files.FOLDER }
  for _, rows in ipairs { ... } do
    table.move(rows, 1, #rows, #out + 1, out)
  end
  return out
end

-- Raises unless there are lists of whole numbers and as many labels.
local function check_sequences(xs, ys, path, name)
  if type(xs) ~= "table" or not core.is_tensor(ys) or #xs ~= ys.size then
    errors.raise(name, "%s does not hold sequences and as many labels", path)
  end
  local kind = math.type
  for i = 1, #xs do
    local x = xs[i]
    if type(x) ~= "table" then
      errors.raise(name, "%s: sequence %d is no list (got %s)", path, i, check.show(x))
    end
    for k = 1, #x do
      if kind(x[k]) ~= "integer" then
        errors.raise(name, "%s: sequence %d holds no whole numbers (got %s)", path, i,
          check.show(x[k]))
      end
    end
  end
end

-- Those that are shorter than maxlen with their start.
local function shorter(xs, ys, o)
  local out, labels, more = {}, {}, o.start_char and 1 or 0
  for i = 1, #xs do
    if #xs[i] + more < o.maxlen then
      out[#out + 1], labels[#labels + 1] = xs[i], ys[i]
    end
  end
  return out, labels
end

-- The largest number with index_from, or the start.
local function largest(xs, o)
  local most, from = 0, o.index_from or 0
  for i = 1, #xs do
    for k = 1, #xs[i] do
      most = math.max(most, xs[i][k] + from)
    end
  end
  return math.max(most, o.start_char or 0)
end

-- Changes the sequences, which nobody else has: a start in front, numbers counted on from
-- index_from, and words beyond num_words and up to skip_top become oov_char, or go.
local function finish(xs, o)
  local most, least, from, oov = o.num_words or largest(xs, o), o.skip_top, o.index_from or 0,
    o.oov_char
  local start = o.start_char
  if start and (start < least or start >= most) then
    start = oov
  end
  for i = 1, #xs do
    local x, n, at = xs[i], #xs[i], 0
    if start then
      table.move(x, 1, n, 2)
      x[1], at = start, 1
    end
    local first = at
    for k = first + 1, first + n do
      local w = x[k] + from
      if w < least or w >= most then
        w = oov
      end
      if w then
        at = at + 1
        x[at] = w
      end
    end
    for k = first + n, at + 1, -1 do
      x[k] = nil
    end
  end
  return xs
end

local function labels_of(list)
  return #list > 0 and core.tensor(list, { dtype = "int64" }) or core.zeros({ 0 },
    { dtype = "int64" })
end

local imdb_args = check.args("imdb", rows_of(numbers, marks), { named = { files.VERIFY } })

--- Film reviews as lists of word numbers, the most frequent word having the least (Maas et al.
--- 2011): 25,000 for training and 25,000 for testing, from Keras' imdb.npz (in the folder,
--- `$TIDE_DATA` or `~/.keras/datasets`). Arguments, order and numbers are Keras': 1 begins a
--- review, 2 stands for words that are left out, word w is w + 3. Labels are 0 (negative) and 1.
--- `imdb.get_word_index()` gives the numbers of the words.
---
---     local x_train, y_train, x_test, y_test = tide.datasets.imdb { "folder", num_words = 10000 }
---     local x = tide.utils.pad_sequences(x_train, { maxlen = 200 })
--- @return table x_train lists of whole numbers
--- @return userdata y_train int64
--- @return table x_test
--- @return userdata y_test
local function imdb(...)
  local o = imdb_args:construct(...)
  local path = find("imdb", 1, o)
  local d = numpy.load(path, { "x_train", "y_train", "x_test", "y_test" }, "imdb")
  check_sequences(d.x_train, d.y_train, path, "imdb")
  check_sequences(d.x_test, d.y_test, path, "imdb")
  local shuffle = numpy.shuffler(o.seed)
  local x, y = {}, {}
  for _, part in ipairs { "train", "test" } do
    local order = shuffle(#d["x_" .. part])
    x[part] = numpy.take(d["x_" .. part], order)
    y[part] = numpy.take(d["y_" .. part], order):tolist()
    if o.maxlen then
      x[part], y[part] = shorter(x[part], y[part], o)
      if #x[part] == 0 then
        errors.raise("imdb", "no sequence is shorter than maxlen (got %d)", o.maxlen)
      end
    end
  end
  local n = #x.train
  local all = finish(table.move(x.test, 1, #x.test, n + 1, x.train), o)
  return table.move(all, 1, n, 1, {}), labels_of(y.train), table.move(all, n + 1, #all, 1, {}),
    labels_of(y.test)
end

local reuters_args = check.args("reuters", rows_of(numbers,
  { { "test_split", "number", 0.2, "share of the rows that are for testing", min = 0, max = 1 } },
  marks), { named = { files.VERIFY } })

--- News of Reuters as lists of word numbers, and their topic, one of 46, from Keras' reuters.npz;
--- arguments, order and numbers are Keras', labels count from 1: `reuters.get_label_names()[y[i]]`.
---
---     local x_train, y_train = tide.datasets.reuters { "folder", num_words = 10000 }
--- @return table x_train lists of whole numbers
--- @return userdata y_train int64, from 1
--- @return table x_test
--- @return userdata y_test
local function reuters(...)
  local o = reuters_args:construct(...)
  local path = find("reuters", 1, o)
  local d = numpy.load(path, { "x", "y" }, "reuters")
  check_sequences(d.x, d.y, path, "reuters")
  local order = numpy.shuffler(o.seed)(#d.x)
  local xs, ys = numpy.take(d.x, order), (numpy.take(d.y, order) + 1):tolist()
  if o.maxlen then
    xs, ys = shorter(xs, ys, o)
  end
  finish(xs, o)
  local n = math.floor(#xs * (1 - o.test_split))
  return table.move(xs, 1, n, 1, {}), labels_of(table.move(ys, 1, n, 1, {})),
    table.move(xs, n + 1, #xs, 1, {}), labels_of(table.move(ys, n + 1, #ys, 1, {}))
end

local function word_index(name)
  local args = check.args(name .. ".get_word_index", { files.FOLDER },
    { named = { files.VERIFY } })
  --- The number of each word, from Keras' JSON file; sequences have them with index_from.
  ---
  ---     local number = tide.datasets.imdb.get_word_index "folder"
  --- @return table whole numbers by word
  return function(...)
    local path = find(name, 2, args:construct(...))
    local out = json.decode(files.read(path), path)
    for word, number in pairs(type(out) == "table" and out or { none = 0.5 }) do
      if type(word) ~= "string" or math.type(number) ~= "integer" then
        errors.raise(name, "%s holds no numbers by word", path)
      end
    end
    return out
  end
end

--- The topics of Reuters' news, by label.
---
---     tide.datasets.reuters.get_label_names()[1]   --> "cocoa"
--- @return table 46 names
local function label_names()
  return table.move(TOPICS, 1, #TOPICS, 1, {})
end

return {
  imdb = files.callable("imdb", imdb, { get_word_index = word_index "imdb" }),
  reuters = files.callable("reuters", reuters, { get_word_index = word_index "reuters",
    get_label_names = label_names }),
}

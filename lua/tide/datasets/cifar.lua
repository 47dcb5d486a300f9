--- Small colour pictures: cifar10 and cifar100, from the archives of their authors (Python's or the
--- binary version), packed or unpacked.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.datasets.files"
local list = require "tide.list"
local numpy = require "tide.datasets.numpy"
local ops = require "tide.ops"

local SITE = "https://www.cs.toronto.edu/~kriz/"
local PIXELS = 3 * 32 * 32

local function words(text)
  local out = {}
  for word in text:gmatch "%S+" do
    out[#out + 1] = word
  end
  return out
end

local NAMES = {
  labels = words "airplane automobile bird cat deer dog frog horse ship truck",
  coarse_labels = words [[aquatic_mammals fish flowers food_containers fruit_and_vegetables
    household_electrical_devices household_furniture insects large_carnivores
    large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
    medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1
    vehicles_2]],
  fine_labels = words [[apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy
    bridge bus butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach
    couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
    kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm]],
}

-- Parts of a data set: its files in training and for testing. `before`: labels in front of a
-- picture of the binary version.
local SETS = {
  cifar10 = { folder = "cifar-10-batches", train = words "data_batch_1 data_batch_2 data_batch_3 \z
    data_batch_4 data_batch_5", test = { "test_batch" }, before = { labels = 1 }, width = 1,
    python = { "cifar-10-python.tar.gz", bytes = 170498071, url = SITE .. "cifar-10-python.tar.gz",
      md5 = "c58f30108f718f92721af3b95e74349a" },
    binary = { "cifar-10-binary.tar.gz", bytes = 170052171, url = SITE .. "cifar-10-binary.tar.gz",
      md5 = "c32a1d4ab5d03f1284b67883e8d87530" } },
  cifar100 = { folder = "cifar-100", train = { "train" }, test = { "test" },
    before = { coarse_labels = 1, fine_labels = 2 }, width = 2,
    python = { "cifar-100-python.tar.gz", bytes = 169001437,
      url = SITE .. "cifar-100-python.tar.gz", md5 = "eb9058c3a382ffc7106e4002c42a8d85" },
    binary = { "cifar-100-binary.tar.gz", bytes = 168513733,
      url = SITE .. "cifar-100-binary.tar.gz", md5 = "03b5dce01913d631647c71ecec9e9cb8" } },
}

-- A function that gives the text of a part and where it stands, and whether it is of the binary
-- version.
local function open(set, o, name)
  local first = set.train[1]
  local rows = {}
  for _, base in ipairs { set.folder .. "-py/", set.folder .. "-python/", "",
    set.python[1]:gsub("%.tar%.gz$", "") .. "/" .. set.folder .. "-py/",
    set.folder .. "-py-target/" .. set.folder .. "-py/" } do
    rows[#rows + 1] = { base .. first }
  end
  rows[#rows + 1] = set.python
  rows[#rows + 1] = { set.folder .. "-bin/" .. first .. ".bin", binary = true }
  rows[#rows + 1] = { set.folder .. "-binary/" .. first .. ".bin", binary = true }
  rows[#rows + 1] = set.binary
  local path, row = files.find { name = name, folder = o.folder, verify = o.verify, files = rows,
    needs = set.python[1], url = set.python.url }
  local binary = row.binary or row == set.binary
  local ending = binary and ".bin" or ""
  if path:find "%.tar%.gz$" then
    local wanted = {}
    for _, part in ipairs { "train", "test" } do
      for _, base in ipairs(set[part]) do
        wanted[base .. ending] = true
      end
    end
    local members = files.tar(path, wanted)
    return function(base)
      local at = path .. ": " .. base .. ending
      return members[base .. ending]
        or errors.raise(name, "%s is not in the archive", at), at
    end, binary
  end
  local folder = path:match "^(.*/)" or ""
  return function(base)
    local at = folder .. base .. ending
    return files.read(at), at
  end, binary
end

-- Pictures (n, 3, 32, 32) and labels of a part of the Python version.
local function of_python(text, path, key, name)
  local d = numpy.unpickle(text, path, name)
  local x, y = type(d) == "table" and d.data, type(d) == "table" and d[key]
  if not core.is_tensor(x) or x.dtype ~= "uint8" or x.size % PIXELS ~= 0 or type(y) ~= "table"
    or #y * PIXELS ~= x.size or #y == 0 then
    errors.raise(name, "%s does not hold pictures of 3072 bytes ('data') and as many '%s'", path,
      key)
  end
  return x:reshape { #y, 3, 32, 32 }, core.tensor(y, { dtype = "int64" }):cast "uint8"
end

local function of_binary(text, path, at, width, name)
  local row = width + PIXELS
  if #text == 0 or #text % row ~= 0 then
    errors.raise(name, "%s does not hold rows of %d bytes (got %d bytes)", path, row, #text)
  end
  local t = core.from_bytes("uint8", { #text // row, row }, text)
  return t[{ {}, { width + 1, row } }]:reshape { #text // row, 3, 32, 32 }, t[{ {}, at }]
end

local function part_of(set, read, binary, part, key, name, o)
  local xs, ys = {}, {}
  for i, base in ipairs(set[part]) do
    local text, path = read(base)
    if binary then
      xs[i], ys[i] = of_binary(text, path, set.before[key], set.width, name)
    else
      xs[i], ys[i] = of_python(text, path, key, name)
    end
    local most = ops.max(ys[i])
    if most >= #NAMES[key] then
      errors.raise(name, "%s holds a label out of range (expected 0 to %d, got %d)", path,
        #NAMES[key] - 1, most)
    end
  end
  local x = #xs == 1 and xs[1] or ops.concatenate(xs, { axis = 1 })
  local y = #ys == 1 and ys[1] or ops.concatenate(ys, { axis = 1 })
  if o.data_format == "channels_last" then
    x = ops.copy(ops.transpose(x, { 1, 3, 4, 2 }))
  end
  return x, y + 1 -- the file counts from 0
end

local function load(name, o, key)
  local set = SETS[name]
  local read, binary = open(set, o, name)
  local x_train, y_train = part_of(set, read, binary, "train", key, name, o)
  local x_test, y_test = part_of(set, read, binary, "test", key, name, o)
  return x_train, y_train, x_test, y_test, list.copy(NAMES[key])
end

local FORMAT = { "data_format", "enum", "channels_last", "where the colours stand",
  of = "channels_last|channels_first" }

local cifar10_args = check.args("cifar10", { files.FOLDER }, { named = { FORMAT, files.VERIFY } })

--- CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 colour pictures of ten things, 32 x 32, from
--- cifar-10-python.tar.gz or cifar-10-binary.tar.gz, packed or unpacked.
---
---     local x_train, y_train, x_test, y_test, names = tide.datasets.cifar10 { "folder" }
---     print(names[y_train[1]])
--- @return userdata x_train (50000, 32, 32, 3) uint8
--- @return userdata y_train (50000) uint8, labels from 1
--- @return userdata x_test (10000, 32, 32, 3) uint8
--- @return userdata y_test (10000) uint8
--- @return table class_names
local function cifar10(...)
  return load("cifar10", cifar10_args:construct(...), "labels")
end

local cifar100_args = check.args("cifar100", {
  { "label_mode", "enum", "fine", "100 classes, or the 20 they belong to", of = "fine|coarse" },
  files.FOLDER }, { named = { FORMAT, files.VERIFY } })

--- CIFAR-100 (Krizhevsky 2009): as cifar10, of 100 things in 20 groups, from
--- cifar-100-python.tar.gz or cifar-100-binary.tar.gz.
---
---     local x_train, y_train, x_test, y_test, names =
---       tide.datasets.cifar100 { label_mode = "coarse", folder = "folder" }
--- @return userdata x_train (50000, 32, 32, 3) uint8
--- @return userdata y_train (50000) uint8, labels from 1
--- @return userdata x_test (10000, 32, 32, 3) uint8
--- @return userdata y_test (10000) uint8
--- @return table class_names
local function cifar100(...)
  local o = cifar100_args:construct(...)
  return load("cifar100", o, o.label_mode .. "_labels")
end

return {
  cifar10 = files.callable("cifar10", cifar10),
  cifar100 = files.callable("cifar100", cifar100),
}

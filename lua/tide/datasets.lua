--- Data sets: fashion_mnist and mnist, read from IDX files (gzipped or not) or Keras' mnist.npz;
--- others stand in tide.datasets.*.
---
--- Looked for in this order: the folder given, `$TIDE_DATA/<name>`, `$TIDE_DATA`, the Debian
--- package's folder, Keras' cache (`~/.keras/datasets`).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.datasets.files"
local list = require "tide.list"

local datasets = {}

local FILES = {
  x_train = "train-images-idx3-ubyte", y_train = "train-labels-idx1-ubyte",
  x_test = "t10k-images-idx3-ubyte", y_test = "t10k-labels-idx1-ubyte",
}

local function find(folder, name)
  for _, path in ipairs { folder .. "/" .. name .. ".gz", folder .. "/" .. name } do
    if core.file_exists(path) then
      return path
    end
  end
end

-- The folder that has all four files, or an error that says how to get them.
local function locate(given, name, package_folder, help)
  local tried = {}
  local folders = files.folders(given, name, package_folder)
  for _, folder in ipairs(folders) do
    local paths, complete = {}, true
    for key, file in pairs(FILES) do
      paths[key] = find(folder, file)
      complete = complete and paths[key] ~= nil
    end
    if complete then
      return paths
    end
    local npz = name == "mnist" and (folder:find "mnist%.npz$" and folder or folder .. "/mnist.npz")
    if npz and core.file_size(npz) then
      return { npz = npz }
    end
    tried[#tried + 1] = folder
  end
  errors.raise(name, "the files are not there (looked in %s)%s", table.concat(tried, ", "), help)
end

local function load(paths, name, classes)
  local out, all = {}, nil
  if paths.npz then
    all = require("tide.datasets.numpy").load(paths.npz, { "x_train", "y_train", "x_test",
      "y_test" }, name)
    for key in pairs(FILES) do
      paths[key] = paths.npz .. ": " .. key
    end
    paths.npz = nil
  end
  for key, path in pairs(paths) do
    local t = all and all[key] or core.idx_read(path)
    if t.dtype ~= "uint8" then
      errors.raise(name, "%s has another dtype (expected uint8, got %s)", path, t.dtype)
    end
    out[key] = t
  end
  for _, part in ipairs { "train", "test" } do
    local x, y = out["x_" .. part], out["y_" .. part]
    if x.ndim ~= 3 or y.ndim ~= 1 or x.shape[1] ~= y.shape[1] then
      errors.raise(name, "pictures and labels do not fit (%s has %s, %s has %s)",
        paths["x_" .. part], tostring(x.shape), paths["y_" .. part], tostring(y.shape))
    end
    if y.size > 0 and y:max() >= classes then
      errors.raise(name, "%s holds a label out of range (expected 0 to %d, got %d)",
        paths["y_" .. part], classes - 1, y:max())
    end
    out["y_" .. part] = y + 1 -- the file counts from 0
  end
  return out
end

local rows = { { "folder", "string", nil, "where the files are" } }

local function dataset(name, o, package_folder, help, class_names)
  local data = load(locate(o.folder, name, package_folder, help), name, #class_names)
  return data.x_train, data.y_train, data.x_test, data.y_test, list.copy(class_names)
end

local fashion_args = check.args("fashion_mnist", rows)
local FASHION = { "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
  "Sneaker", "Bag", "Ankle boot" }

--- Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60,000 and 10,000 pictures of clothes, 28 x 28
--- grey values 0 to 255.
---
---     local x_train, y_train, x_test, y_test, names = tide.datasets.fashion_mnist {}
---     print(names[y_train[1]])
--- @return userdata x_train (60000, 28, 28) uint8
--- @return userdata y_train (60000) uint8, labels from 1
--- @return userdata x_test (10000, 28, 28) uint8
--- @return userdata y_test (10000) uint8
--- @return table class_names
function datasets.fashion_mnist(...)
  return dataset("fashion_mnist", fashion_args:construct(...), "/usr/share/datasets/fashion-mnist",
    "; install them with `apt install dataset-fashion-mnist`, or give a folder: fashion_mnist { \z
      \"DIR\" }, or set TIDE_DATA",
      FASHION)
end

local mnist_args = check.args("mnist", rows)

--- MNIST (LeCun, Cortes and Burges 1998): 60,000 and 10,000 handwritten digits, 28 x 28 grey
--- values. Label 1 is the digit 0.
---
---     local x_train, y_train, x_test, y_test = tide.datasets.mnist { "folder" }
--- @return userdata x_train, userdata y_train, userdata x_test, userdata y_test, table class_names
function datasets.mnist(...)
  return dataset("mnist", mnist_args:construct(...), "/usr/share/datasets/mnist",
    "; put train-images-idx3-ubyte and its siblings (gzipped or not) into a folder: mnist { \z
      \"DIR\" }, or set TIDE_DATA",
    { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" })
end

-- keras.datasets.mnist.load_data() is written so, too.
for name, load_data in pairs { fashion_mnist = datasets.fashion_mnist, mnist = datasets.mnist } do
  datasets[name] = files.callable(name, load_data)
end

return require("tide.namespace").new("tide.datasets", datasets, { modules = {
  cifar10 = "tide.datasets.cifar", cifar100 = "tide.datasets.cifar",
  imdb = "tide.datasets.text", reuters = "tide.datasets.text",
  boston_housing = "tide.datasets.housing", california_housing = "tide.datasets.housing",
  movielens = "tide.datasets.movielens", iris = "tide.datasets.iris",
  moons = "tide.datasets.points", circles = "tide.datasets.points",
  spirals = "tide.datasets.points", blobs = "tide.datasets.points",
  ratings = "tide.datasets.points", digits = "tide.datasets.drawn",
  shapes = "tide.datasets.drawn", tones = "tide.datasets.drawn",
  sentiment = "tide.datasets.language", translation = "tide.datasets.language",
} })

--- Prices of houses: boston_housing and california_housing, from Keras' .npz files.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local files = require "tide.datasets.files"
local numpy = require "tide.datasets.numpy"

local STORAGE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

local SPLIT = { "test_split", "number", 0.2, "share of the rows that are for testing", min = 0 }
local SEED = { "seed", "int", 113, "of the order", min = 0, max = 0xffffffff }

-- Training and test rows in the order of Keras.
local function load(row, o, name, width, rows)
  if o.test_split >= 1 then
    errors.raise(name, "test_split must be below 1 (got %g)", o.test_split)
  end
  local path = files.find { name = name, folder = o.folder, verify = o.verify, files = { row },
    needs = row[1], url = row.url }
  local d = numpy.load(path, { "x", "y" }, name)
  if not core.is_tensor(d.x) or not core.is_tensor(d.y) or d.x.ndim ~= 2 or d.y.ndim ~= 1
    or d.x.shape[2] ~= width or d.x.shape[1] ~= d.y.shape[1] then
    errors.raise(name, "%s holds arrays of other shapes (expected (n, %d) and (n))", path, width)
  end
  local n = math.min(rows or math.maxinteger, d.x.shape[1])
  local order = numpy.shuffler(o.seed)(n)
  local x, y = numpy.take(d.x, order), numpy.take(d.y, order)
  local cut = math.floor(n * (1 - o.test_split))
  return files.cut(x, 1, cut), files.cut(y, 1, cut), files.cut(x, cut + 1, n),
    files.cut(y, cut + 1, n)
end

local boston_args = check.args("boston_housing", { files.FOLDER, SPLIT, SEED },
  { named = { files.VERIFY } })

--- 506 districts of Boston in the 1970s: 13 numbers of each, and the median price of a house in
--- thousands of dollars, from Keras' boston_housing.npz, with Keras' arguments and order. Its
--- column "B" is built on an assumption about race; california_housing is the better example.
---
---     local x_train, y_train, x_test, y_test = tide.datasets.boston_housing { "folder" }
--- @return userdata x_train (404, 13) float64
--- @return userdata y_train (404) float64
--- @return userdata x_test (102, 13)
--- @return userdata y_test (102)
local function boston(...)
  return load({ "boston_housing.npz", bytes = 57026, url = STORAGE .. "boston_housing.npz",
    sha256 = "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5" },
    boston_args:construct(...), "boston_housing", 13)
end

local california_args = check.args("california_housing", {
  { "version", "enum", "large", "all 20,640 rows or the first 600", of = "large|small" },
  files.FOLDER, SPLIT, SEED }, { named = { files.VERIFY } })

--- 20,640 districts of California in 1990: MedInc, HouseAge, AveRooms, AveBedrms, Population,
--- AveOccup, Latitude, Longitude, and the median price of a house in dollars, from Keras'
--- california_housing.npz, with Keras' arguments and order.
---
---     local x_train, y_train, x_test, y_test =
---       tide.datasets.california_housing { version = "small", folder = "folder" }
--- @return userdata x_train (16512, 8) float32
--- @return userdata y_train (16512) float32
--- @return userdata x_test (4128, 8)
--- @return userdata y_test (4128)
local function california(...)
  local o = california_args:construct(...)
  return load({ "california_housing.npz", bytes = 743530, url = STORAGE .. "california_housing.npz",
    sha256 = "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f" },
    o, "california_housing", 8, o.version == "small" and 600 or nil)
end

return {
  boston_housing = files.callable("boston_housing", boston),
  california_housing = files.callable("california_housing", california),
}

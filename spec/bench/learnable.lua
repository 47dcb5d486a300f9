--- The speed rows on data that can be learnt, from weights drawn as PyTorch draws them: what
--- spec/ref/rows.py trains in PyTorch, with the same numbers (there is said what they are).
local tide = require "tide"
local reference = require "spec.ref.rows"
local rows = require "spec.bench.rows"
local ops = tide.ops

local learnable = {}

local WINDOW = 20 -- steps

-- splitmix64's mixing of a counter
local function hashed(stream, counter)
  local z = stream * 0x9E3779B97F4A7C15 + counter * 0xD1B54A32D192ED03
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

-- A tensor of f(hash, i) for the counters i from `first` on, row by row.
local function drawn(stream, first, shape, dtype, f)
  local n, list = 1, {}
  for _, d in ipairs(shape) do
    n = n * d
  end
  for i = 1, n do
    local counter = first + i - 1
    list[i] = f(hashed(stream, counter), counter)
  end
  return tide.tensor(list, { dtype = dtype }):reshape(shape)
end

-- ---- weights ----

local function normal(h)
  local sum = (h & 0xffff) + (h >> 16 & 0xffff) + (h >> 32 & 0xffff) + (h >> 48)
  return (sum - 131070) * (3 ^ 0.5 / 65536)
end

--- A weight as it begins. `init`: the bound of a uniform distribution, "normal", or "0" or "1".
function learnable.weight(stream, shape, init)
  if init == "0" or init == "1" then
    return tide.full(shape, tonumber(init))
  end
  return drawn(stream, 0, shape, "float32", init == "normal" and normal or function(h)
    return ((h >> 40) * 2.0 ^ -23 - 1) * init
  end)
end

-- ---- data ----

local function tenth_anew(h, label, classes)
  return (h & 0xffff) % 10 == 0 and (h >> 16 & 0xffff) % classes + 1 or label
end

local function classes_of(strengths, stream, first)
  local list = ops.argmax(strengths[{ {}, { 1, 10 } }], -1):tolist()
  for i, label in ipairs(list) do
    list[i] = tenth_anew(hashed(stream + 1, first + i - 1), label, 10)
  end
  return tide.tensor(list, { dtype = "int32" })
end

local function textures(side, channels, k)
  local list = {}
  for y = 0, side - 1 do
    for x = 0, side - 1 do
      for c = 0, channels - 1 do
        local h = hashed(99, (y % 8 * 8 + x % 8) * 8 + c + 512 * k)
        list[#list + 1] = (h >> 40 & 1) * 2 - 1
      end
    end
  end
  return list
end

local function images(side, channels)
  local all = {}
  for k = 0, 15 do
    all[k + 1] = textures(side, channels, k)
  end
  all = tide.tensor(all, { dtype = "float32" })
  return function(stream, first, n, row)
    local strengths = drawn(stream, first * 16, { n, 16 }, "float32", function(h)
      return h >> 40 & 31
    end)
    local shape = { n, side, side, channels }
    local v = ops.matmul(strengths, all):reshape(shape)
    if row == "autoencoder" then
      v = v / 1024 + 0.5
      return v, v
    elseif row == "unet" then
      local part = ops.matmul(strengths[{ {}, { 1, 4 } }], all[{ { 1, 4 } }]):reshape(shape)
      local above = ops.cast(part:greater(0), "int32")
      return v / 256, above[{ {}, {}, {}, 1 }] * 2 + above[{ {}, {}, {}, 2 }] + 1
    end
    v = v / 256
    return row:find "^mlp" and v:reshape { n, side * side } or v,
      classes_of(strengths, stream, first)
  end
end

local function id(h, few, step, all)
  return h & 3 > 0 and (h >> 2 & 0xffff) % few * step or (h >> 18 & 0xffffff) % all
end

local function words(stream, first, n)
  local x = drawn(stream, first * 64, { n, 64 }, "int32", function(h)
    return id(h, 100, 97, 10000) + 1
  end)
  local labels = {}
  for i, text in ipairs(x[{ {}, { 49, 64 } }]:tolist()) do
    local good = 0
    for _, word in ipairs(text) do
      good = good + (hashed(98, word - 1) >> 40 & 1)
    end
    labels[i] = tenth_anew(hashed(stream + 1, first + i - 1), good > 8 and 2 or 1, 2)
  end
  return x, tide.tensor(labels, { dtype = "int32" })
end

local function text(stream, first, n)
  local shape = { n, 128 }
  local x = drawn(stream, first * 128, shape, "int32", function(h)
    return (h & 255) + 1
  end)
  local y = drawn(stream, first * 128, shape, "int32", function(h, i)
    if h >> 8 & 3 > 0 then
      return ((h & 255) * 5 + 17) % 256 + 1
    end
    local before = i % 128 == 0 and h or hashed(stream, i - 1)
    return ((before & 255) * 3 + 1) % 256 + 1
  end)
  return x, y
end

local function ratings(stream, first, n)
  local x, y = {}, {}
  for i = first, first + n - 1 do
    local h = hashed(stream, i)
    local user, item = id(h, 100, 997, 100000), id(hashed(stream + 1, i), 50, 997, 50000)
    local likes = ((hashed(97, user) >> 40 & 7) - 3) * ((hashed(96, item) >> 40 & 7) - 3)
    x[#x + 1] = { user + 1, item + 1 }
    y[#y + 1] = { likes / 8 + ((h >> 42 & 15) - 7) / 16 }
  end
  return tide.tensor(x, { dtype = "int32" }), tide.tensor(y, { dtype = "float32" })
end

local data = { lstm = words, gru = words, encoder = words, gpt = text, recsys = ratings }
local function data_of(row)
  local sides = { resnet20 = { 32, 3 }, mobilenet = { 96, 3 }, unet = { 64, 3 } }
  data[row] = data[row] or images(table.unpack(sides[row] or { 28, 1 }))
  return data[row]
end

-- ---- training ----

--- The rows, in order.
learnable.names = {}
for name in pairs(reference) do
  table.insert(learnable.names, name)
end
table.sort(learnable.names, function(a, b)
  return reference[a].number < reference[b].number
end)

--- PyTorch's losses of a row: means of 20 steps each.
function learnable.wanted(name)
  return reference[name].losses
end

--- Trains a row as PyTorch did. `o.windows`: how many times 20 steps; `o.run_eagerly`: without
--- plans. Returns the losses, means of 20 steps each, and the model.
function learnable.train(name, o)
  local want = reference[name]
  local model = rows.build[name](0)
  local start = {}
  assert(#want.inits == #model.trainable_weights, name .. ": other weights than in PyTorch's model")
  for i, w in ipairs(model.trainable_weights) do
    start[w] = learnable.weight(want.number * 1000 + i - 1, w.shape, want.inits[i])
  end
  for w, value in pairs(start) do
    w:assign(value)
  end
  rows.compile(name, model, { run_eagerly = o and o.run_eagerly,
    optimizer = tide.optimizers.Adam { want.rate } })
  local losses, make = {}, data_of(name)
  for window = 1, o and o.windows or #want.losses do
    local n = WINDOW * want.batch
    local x, y = make(want.number * 1000 + 500, (window - 1) * n, n, name)
    local history = model:fit(x, y, { batch_size = want.batch, shuffle = false, verbose = 0 })
    losses[window] = history.history.loss[1]
  end
  return losses, model
end

--- The greatest difference of losses from PyTorch's, as a share of these, and its window.
function learnable.far(name, losses)
  local far, at = 0, 1
  for i, loss in ipairs(losses) do
    local share = math.abs(loss / reference[name].losses[i] - 1)
    if share > far or share ~= share then
      far, at = share, i
    end
  end
  return far, at
end

return learnable

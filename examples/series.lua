-- Several series in one table, told apart by a column: SequenceGenerator cuts windows that stay
-- within their series, and a GRU forecasts the next four steps of each.
-- `build/tide examples/series.lua [epochs [steps per series]]`; a few seconds to an error of 0.1,
-- where the last value alone is off by 0.5.
local tide = require "tide"
local layers, ops = tide.layers, tide.ops

local epochs, steps = tonumber(arg and arg[1]) or 6, tonumber(arg and arg[2]) or 240
tide.seed(1)

-- Four stations, their rows mixed as they come in: a wave of its own length each, and noise.
local rows, station = {}, {}
for t = 1, steps do
  for s = 1, 4 do
    local noise = 0.05 * (tide.random.uniform({ 1 })[1] - 0.5)
    rows[#rows + 1] = { math.sin(2 * math.pi * t / (10 + 3 * s)) + noise,
      math.cos(2 * math.pi * t / (10 + 3 * s)) }
    station[#station + 1] = s
  end
end
local data = tide.tensor(rows)
local level = data[{ {}, 1 }]
local cut = math.floor(0.8 * #rows)

local function windows(first, last, shuffle)
  return tide.preprocessing.sequence.SequenceGenerator { data, level, length = 16, horizon = 4,
    groups = station, start_index = first, end_index = last, shuffle = shuffle, batch_size = 32,
    seed = 1 }
end
local train, test = windows(1, cut, true), windows(cut + 1, #rows, false)
print(train)

local model = tide.Sequential {
  layers.GRU { 32, input_shape = { 16, 2 } },
  layers.Dense { 4 },
}
model:compile { optimizer = { "adam", learning_rate = 0.01 }, loss = "mse", metrics = { "mae" } }
model:fit(train, { epochs = epochs, validation_data = test })

local x, y = test:get(1)
local last = x[{ {}, { -1 }, 1 }]
print(("four steps ahead: off by %.2f, by %.2f as the last value"):format(
  ops.mean(ops.abs(model:predict(x, { verbose = 0 }) - y)):item(),
  ops.mean(ops.abs(last - y)):item()))

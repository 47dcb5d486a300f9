-- What each of the two states of states.c does: it trains, is interrupted, and trains on.
-- luacheck: globals over flag number
local tide, core = require "tide", require "tide.core"
local L = tide.layers

tide.seed(number)
local model = tide.Sequential {
  L.Conv2D { 8, 3, activation = "relu", input_shape = { 10, 10, 3 } },
  L.MaxPooling2D { 2 }, L.BatchNormalization {}, L.Flatten {}, L.Dropout { 0.2 },
  L.Dense { 40, activation = "tanh" }, L.Dense { 5 },
}
model:compile { optimizer = "adam", loss = "mse" }
local x, y = tide.random.normal { 64, 10, 10, 3 }, tide.random.normal { 64, 5 }
local table_ = tide.random.normal { 50, 8 }
local image, kernel = tide.random.normal { 8, 20, 20, 16 }, tide.random.normal { 3, 3, 16, 24 }
local wide = tide.random.normal { 300, 200 }
flag(core.cancel_flag()) -- from here on it is interrupted

while not over() do
  local ok, e = pcall(function()
    model:fit(x, y, { epochs = 2, batch_size = 16, verbose = 0 })
    model:predict(x)
    tide.ops.sort(tide.random.uniform { 20000 })
    tide.ops.take(table_, tide.tensor({ 1, 50, 7 }, { dtype = "int32" }), { axis = 1 })
    tide.ops.matmul(wide, tide.ops.transpose(wide))
    tide.ops.conv(image, kernel, { padding = "same" })
    for _, device in ipairs { "test", "cpu" } do
      local there = wide:to(device)
      tide.ops.matmul(tide.ops.transpose(there), there):to "cpu"
      core.memory_trim()
    end
    core.engine_stats()
    core.memory()
  end)
  assert(ok or tostring(e):find "interrupted", e)
end

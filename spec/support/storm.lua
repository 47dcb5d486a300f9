--- Trains a network of every family of layers while signals arrive: `storm.lua SIGNALS`. Each
-- must end with the bits that it ends with in peace. Run by spec/signals_spec.lua as a process of
-- its own, which a handler's frame in the wrong place kills.
local open = assert(package.loadlib(os.getenv "STORM" .. "/storm.so", "luaopen_storm"))
local storm = open()
local tide = require "tide"
local L = tide.layers

-- Input shape and layers.
local families = {
  dense = function()
    return { 200 }, {
      L.Dense { 130, activation = "relu" }, L.Dense { 96, activation = "tanh" }, L.Dense { 10 },
    }
  end,
  ["2-D"] = function()
    return { 12, 12, 10 }, {
      L.Conv2D { 24, 3, activation = "relu" }, L.MaxPooling2D { 2 }, L.BatchNormalization {},
      L.Conv2D { 16, 1, strides = 2 }, L.SeparableConv2D { 20, 3, padding = "same" },
      L.Flatten {}, L.Dense { 10 },
    }
  end,
  ["1-D"] = function()
    return { 60, 30 }, {
      L.Conv1D { 32, 5, padding = "causal", activation = "gelu" }, L.AveragePooling1D { 2 },
      L.LayerNormalization {}, L.Conv1DTranspose { 8, 3, strides = 2 },
      L.GlobalAveragePooling1D {}, L.Dense { 10 },
    }
  end,
  ["3-D"] = function()
    return { 6, 6, 6, 5 }, {
      L.Conv3D { 12, 3, activation = "relu" }, L.Dropout { 0.3 }, L.Flatten {}, L.Dense { 10 },
    }
  end,
  transposed = function()
    return { 5, 5, 20 }, {
      L.Conv2DTranspose { 16, 3, strides = 2 }, L.DepthwiseConv2D { 3 }, L.UpSampling2D { 2 },
      L.Flatten {}, L.Dense { 10 },
    }
  end,
  rows = function()
    return { 40, 100 }, {
      L.Dense { 120, activation = "relu" }, L.LayerNormalization {}, L.Dense { 100 },
      L.GlobalMaxPooling1D {}, L.Dense { 10 },
    }
  end,
}

-- The bytes of the weights after some training.
local function trained(make)
  tide.seed(3)
  local shape, layers = make()
  local model = tide.Sequential(layers)
  model:build { 32, table.unpack(shape) }
  model:compile { optimizer = "adam", loss = "mse" }
  local x, y = tide.random.normal { 96, table.unpack(shape) }, tide.random.normal { 96, 10 }
  model:fit(x, y, { epochs = 4, batch_size = 32, verbose = 0 })
  local bytes = {}
  for i, w in ipairs(model:get_weights()) do
    bytes[i] = w:tobytes()
  end
  return table.concat(bytes)
end

local each, told = tonumber(arg[1]) / 6, 0
for name, make in pairs(families) do
  local want = trained(make)
  storm.start(500)
  repeat
    assert(trained(make) == want, name .. ": other bits")
  until storm.count() >= each
  storm.stop()
  told = told + storm.count()
end
print("survived", told >= 6 * each)

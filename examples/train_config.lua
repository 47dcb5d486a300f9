-- What `tide train examples/train_config.lua` trains: a small network that tells whether points lie
-- inside a circle. Settings on the command line change it: `tide train examples/train_config.lua
-- fit.epochs=3 width=16 save=small.keras`.
local tide = require "tide"
local layers = tide.layers

-- Points in a square and whether each lies inside the unit circle (1) or not (0).
local function points(n)
  local x = tide.random.uniform({ n, 2 }, { minval = -1.5, maxval = 1.5 })
  return { x, x:square():sum({ axis = 2, keepdims = true }):less(1):cast "float32" }
end

--- @param settings table what the command line sets that `tide train` does not know itself
return function(settings)
  return {
    seed = 1,
    model = function()
      return tide.Sequential {
        tide.Input { 2 },
        layers.Dense { settings.width or 32, activation = "relu" },
        layers.Dense { 1, activation = "sigmoid" },
      }
    end,
    data = function()
      return { train = points(2000), validation = points(500), test = points(500) }
    end,
    compile = { optimizer = { "adam", learning_rate = 0.01 }, loss = "binary_crossentropy",
      metrics = { "accuracy" } },
    fit = { epochs = 20, batch_size = 32,
      callbacks = { tide.callbacks.EarlyStopping { patience = 5 } } },
    save = "circle.keras",
  }
end

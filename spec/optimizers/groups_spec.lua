-- Parameter groups by layer, path and function, layer-wise rates and schedules of groups: a network
-- trained beside PyTorch's parameter groups (spec/ref/torch_groups.py).
local expect = require "spec.support.expect"
local tide = require "tide"
local layers, optimizers = tide.layers, tide.optimizers
local schedules = optimizers.schedules
local rows = require "spec.ref.torch_groups"
local given = table.remove(rows, 1)

local x = tide.tensor(given.x, { dtype = "float64" })
local y = tide.tensor(given.y, { dtype = "float64" })

local function dense(units, name, activation)
  return layers.Dense { units, name = name, activation = activation, dtype = "float64" }
end

local function net()
  local m = tide.Sequential { tide.Input { 4, dtype = "float64" }, dense(5, "first", "tanh"),
    dense(3, "second", "tanh"), dense(2, "third") }
  local start = {}
  for i, t in ipairs(given.start) do
    start[i] = tide.tensor(t, { dtype = "float64" })
  end
  m:set_weights(start)
  return m
end

-- The groups of a row in Tide.
local ways = {
  bias = function() return { { "bias$", weight_decay = 0 } } end,
  layerwise = function(m) return optimizers.layerwise_groups(m, 0.6) end,
  layers = function(m)
    return { { m.layers[1], learning_rate = 0 }, { layer = "second", rate_factor = 0.3 } }
  end,
  paths = function()
    return { { "^second/ker(nel)?$", rate_factor = 0.1 }, { "/bias", rate_factor = 2 } }
  end,
  ["function"] = function()
    return { { function(_, t) return t.ndim == 1 end, rate_factor = 0.5 } }
  end,
  schedules = function(_, rate)
    return { { "first", learning_rate = schedules.StepDecay { rate, 4, 0.5 } },
      { "second", learning_rate = schedules.LinearRamp { rate, 5, 1 / 6 } } }
  end,
}

describe("parameter groups", function()
  for _, row in ipairs(rows) do
    it(("equal PyTorch's: %s, %s"):format(row.optimizer, row.name), function()
      local m, args = net(), {}
      for k, v in pairs(row.args) do
        args[k] = v
      end
      args.groups = ways[row.how](m, args.learning_rate)
      m:compile { optimizer = optimizers[row.optimizer](args), loss = "mse" }
      local at = { 1, 5, 12 }
      for k = 1, 12 do
        local from = (k - 1) % 3 * 8 + 1
        m:train_on_batch(x[{ { from, from + 7 } }], y[{ { from, from + 7 } }])
        if k == at[1] then
          table.remove(at, 1)
          for i, w in ipairs(m.weights) do
            expect.close(w, row.values[3 - #at][i], 1e-8, 1e-6, ("step %d, %s"):format(k, w.path))
          end
        end
      end
    end)
  end

  it("move what the optimizer alone would not", function()
    assert.is_true(#rows > 30)
    local m = net()
    m:compile { optimizer = optimizers.SGD { 0.1, groups = ways.layers(m) }, loss = "mse" }
    m:train_on_batch(x, y)
    local start = net():get_weights()
    expect.close(m.weights[1], start[1]:tolist(), 0, 0)
    assert.is_true(tide.ops.any(tide.ops.not_equal(m.weights[3], start[3])))
  end)
end)

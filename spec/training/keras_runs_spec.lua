-- Whole training runs of real Keras (spec/ref/keras_runs.py): histories and the weights after.
local errors = require "tide.errors"
local tide = require "tide"
local zoo = require "spec.support.keras_zoo"

describe("training a model of real Keras", function()
  for _, name in ipairs(zoo.names "spec/fixtures/runs/") do
    it(("gives Keras' history and weights: %s"):format(name), function()
      local want = zoo.expected(name, "spec/fixtures/runs/")
      local warn, said = errors.warn, nil
      errors.warn = function(...)
        said = string.format(...)
      end
      local ok, model = pcall(tide.load_model, "spec/fixtures/runs/" .. name .. ".keras")
      errors.warn = warn
      assert.is_true(ok, tostring(model))
      assert.is_nil(said) -- an optimizer without slots is no damage
      local history = model:fit(want.x, want.y, { batch_size = 4, epochs = 2, shuffle = false,
        verbose = 0 }).history
      for k, values in pairs(want.history) do
        for i, v in ipairs(values) do
          assert.near(v, history[k][i], 2e-5 * math.max(1, math.abs(v)), k)
        end
      end
      local far = zoo.far(model.weights, want.after)
      -- rules that divide by a gradient's size (Adamax) enlarge roundings of small gradients
      assert.is_true(far < 1e-4, "weights differ by " .. far)
    end)
  end
end)

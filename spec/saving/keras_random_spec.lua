-- Models of real Keras under random options (spec/ref/keras_random.py): outputs, gradients, and
-- losses over some steps of training.
local errors = require "tide.errors"
local random = require "spec.support.keras_random"
local tide = require "tide"

describe("random models of real Keras", function()
  local warn = errors.warn
  before_each(function()
    errors.warn = function() end -- masks that a layer destroys, as in Keras
    tide.seed(1)
  end)
  after_each(function()
    errors.warn = warn
  end)
  local parts = random.parts()
  for i, part in ipairs(parts) do
    it(("give Keras' numbers, part %d"):format(i), function()
      for _, case in ipairs(part()) do
        local ok, message = pcall(random.check, case)
        assert.is_true(ok, case.id .. ": " .. tostring(message))
      end
    end)
  end
end)

-- The first steps of some of the speed rows, from PyTorch's weights and on its data, have its
-- losses (spec/ref/rows.py): with plans and without, by the engine chosen and by Tide's own
-- kernels. `make bench ROWS=truth` trains all rows, and longer.
local core = require "tide.core"
local learnable = require "spec.bench.learnable"

-- row: how many times 20 steps
local windows = { mlp_small = 10, autoencoder = 2, cnn = 2, lstm = 1 }
local engines = table.concat(core.engines(), " ")

local function learns(name, run_eagerly)
  local o = { windows = windows[name], run_eagerly = run_eagerly }
  local losses = learnable.train(name, o)
  local far, at = learnable.far(name, losses)
  assert.are.equal(windows[name], #losses)
  assert.is_true(far < 1e-4, ("%s: the loss of window %d is %g (expected %g)"):format(name, at,
    losses[at], learnable.wanted(name)[at]))
end

describe("training from PyTorch's weights has PyTorch's losses", function()
  after_each(function()
    core.engines(engines)
  end)
  for _, name in ipairs { "mlp_small", "autoencoder", "cnn", "lstm" } do
    it(name, function()
      learns(name)
    end)
    it(name .. " without plans", function()
      learns(name, true)
    end)
    if name ~= "lstm" then
      it(name .. " by Tide's own kernels", function()
        core.engines "plain"
        learns(name)
      end)
    end
  end
end)

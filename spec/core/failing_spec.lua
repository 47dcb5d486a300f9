--- Allocations that fail one by one under training and files, in the build that can make them fail
--- (make hard).
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"

if core.hard_fail then
  -- What training turns on and off: every allocation on the way may fail, those of putting it back
  -- too.
  describe("when the k-th allocation fails, training and files", function()
    local folder = expect.folder()
    teardown(function() os.execute("rm -r " .. folder) end)
    local layers = tide.layers
    local x, y = tide.ones { 4, 2 }, tide.ones { 4, 1 }
    local model = tide.Sequential { tide.Input { 2 }, layers.Dense { 2, activation = "relu" },
      layers.Dropout { 0.5 }, layers.Dense { 1 } }
    model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
    local path = folder .. "/w.weights.safetensors"
    local programs = {
      fit = function()
        model:fit(x, y, { verbose = 0, batch_size = 2, validation_data = { x, y } })
      end,
      evaluate = function() model:evaluate(x, y, { verbose = 0 }) end,
      predict = function() model:predict(x) end,
      train_on_batch = function() model:train_on_batch(x, y) end,
      load_weights = function() model:load_weights(path) end,
      scopes = function()
        local _ <close> = tide.device "cpu"
        tide.no_grad(function()
          return tide.value_and_grad(function(v) return (v * v):sum() end)(tide.ones { 2 })
        end)
        model(x, { training = true })
      end,
    }
    for _, name in ipairs { "fit", "evaluate", "predict", "train_on_batch", "load_weights",
      "scopes" } do
      for _, of_lua in ipairs { false, true } do
        it(("leave no mode on: %s (%s)"):format(name, of_lua and "Lua" or "Tide"), function()
          local f = programs[name]
          programs.fit()
          model:save_weights(path)
          f()
          local device = core.default_device()
          local k, failures, fired = 0, 0
          repeat
            k = k + 1
            local ok, e
            fired, ok, e = core.hard_fail(k, of_lua, f)
            if not ok then
              failures = failures + 1
              assert.is_true(fired, tostring(e))
            end
            assert.is_true(core.grad_mode(), k)
            assert.is_false(tide.Layer.is_calling(), k)
            assert.equal(device, core.default_device())
            assert.is_false(core.differentiating())
            assert.is_false((select(2, core.interrupted())), k)
          until not fired or k > 20000
          assert.is_true(k <= 20000)
          -- an op that is refused memory collects and tries again: those may all come through
          assert.is_true(k > 1 and (of_lua == false or failures > 0))
          f() -- goes on as if nothing had been
        end)
      end
    end
  end)
else
  describe("failing allocations", function()
    it("are a matter of the hostile build: this one cannot be told to fail", function()
      assert.is_nil(core.hard_fail)
    end)
  end)
end

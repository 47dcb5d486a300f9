local expect = require "spec.support.expect"
local tide = require "tide"
local metrics = tide.metrics

local rows = require "spec.ref.metrics"

local function feed(m, u)
  if u.values then
    m:update_state(u.values, u.weight or nil)
  else
    m:update_state(u.y_true, u.y_pred, u.weight or nil)
  end
end

describe("tide.metrics", function()
  for i, r in ipairs(rows) do
    it(("%s equals Keras after each update, row %d"):format(r.metric, i), function()
      local m = metrics[r.metric](r.args)
      for pass = 1, 2 do
        for k, u in ipairs(r.updates) do
          feed(m, u)
          expect.close(m:result(), r.values[k], 3e-6, 1.5e-5,
            ("pass %d, update %d"):format(pass, k))
        end
        m:reset_state()
      end
    end)
  end

  it("has a row for every class", function()
    local seen = { Metric = true, MeanMetricWrapper = true }
    for _, r in ipairs(rows) do
      seen[r.metric] = true
    end
    for _, name in ipairs(metrics.class_names) do
      assert(seen[name], name .. " has no row in spec/ref/metrics.py")
    end
  end)

  it("wraps a function of (y_true, y_pred)", function()
    local m = metrics.MeanMetricWrapper { function(a, b)
      return (a - b):abs()
    end, name = "distance" }
    m:update_state(tide.tensor { 1, 2 }, tide.tensor { 2, 4 })
    expect.close(m:result(), 1.5)
    assert.equal("distance", m.name)
  end)

  it("takes metrics of one's own, whose variables are set back to zero", function()
    local Total = metrics.Metric:extend("Total", {
      init = function(self)
        self.total = self:add_variable { shape = {}, name = "total" }
      end,
      update_state = function(self, y_true, y_pred)
        self.total:copy_(self.total + (y_true - y_pred):sum())
      end,
      result = function(self)
        return self.total:item()
      end,
    })
    local m = Total()
    m:update_state(tide.tensor { 3.0 }, tide.tensor { 1.0 })
    m:update_state(tide.tensor { 3.0 }, tide.tensor { 1.0 })
    expect.close(m:result(), 4)
    assert.equal(1, #m.variables)
    m:reset_state()
    expect.close(m:result(), 0)
  end)

  it("keeps no gradient history alive", function()
    collectgarbage()
    local nodes = tide.memory().live_nodes
    local m = metrics.MeanSquaredError()
    local p = tide.tensor({ { 1.0, 2.0 } }, { requires_grad = true })
    m:update_state({ { 0.0, 0.0 } }, p * 2)
    expect.close(m:result(), 10)
    collectgarbage()
    assert.equal(nodes, tide.memory().live_nodes)
  end)

  it("refuses labels out of range, thresholds out of range and shapes that do not fit", function()
    assert.error_matches(function()
      metrics.MeanIoU { num_classes = 3 }:update_state({ 0, 1 }, { 1, 2 })
    end, "label 0, out of range %(expected 1 to 3%); labels count from 1")
    assert.error_matches(function()
      metrics.Precision { thresholds = { 0.5, 2 } }
    end, "thresholds must be numbers from 0 to 1")
    assert.error_matches(function() metrics.IoU { 3, { 4 } } end, "target_class_ids must be 1 to 3")
    assert.error_matches(function() metrics.IoU { 3, { 1.5 } } end, "1 to 3 %(got 1.5%)")
    -- class 2 alone, by a whole float: 1 of 2
    local half = tide.metrics.IoU({ 2.0, { 2.0 } })({ 1, 1, 2, 2 }, { 1, 1, 1, 2 })
    assert(math.abs(half - 0.5) < 1e-6)
    assert.error_matches(function()
      metrics.SparseCategoricalAccuracy():update_state(
        tide.tensor { { 1, 2 } }, tide.tensor { { 0.5, 0.5 } })
    end, "labels need one axis less")
    assert.error_matches(function()
      metrics.sparse_top_k_categorical_accuracy(tide.ones { 3, 2 }, tide.tensor(1), nil, true)
    end, "labels need one axis less")
    assert.error_matches(function() metrics.get "acuracy" end, "did you mean 'accuracy'")
    assert.error_matches(function() metrics.get "Acuracy" end, "did you mean 'Accuracy'")
  end)

  it("finds metrics and losses by name", function()
    assert.equal("MeanSquaredError", getmetatable(metrics.get "mse").__name)
    assert.equal("AUC", getmetatable(metrics.get { "AUC", curve = "PR" }).__name)
    assert.equal("categorical_crossentropy", metrics.get("categorical_crossentropy").name)
  end)
end)

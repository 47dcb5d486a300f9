local expect = require "spec.support.expect"
local tide = require "tide"
local ops = tide.ops
local losses = tide.losses

local rows = require "spec.ref.losses"

describe("tide.losses", function()
  for i, r in ipairs(rows) do
    it(("%s equals Keras, %s, row %d"):format(r.loss, r.reduction, i), function()
      local args = {}
      for k, v in pairs(r.args) do
        args[k] = v
      end
      args.reduction = r.reduction
      expect.close(losses[r.loss](args)(r.y_true, r.y_pred, r.weight or nil), r.value, 3e-6, 1e-5)
    end)
  end

  it("has a row for every class", function()
    local seen = {}
    for _, r in ipairs(rows) do
      seen[r.loss] = true
    end
    for _, name in ipairs(losses.class_names) do
      assert(seen[name], name .. " has no row in spec/ref/losses.py")
    end
    assert.equal(22, #losses.class_names)
  end)

  -- Central differences in float64 along a random direction, for every row that is not a sum of
  -- others.
  for _, name in ipairs(losses.class_names) do
    it(name .. " has the gradient of its formula", function()
      local row
      for _, r in ipairs(rows) do
        row = row or (r.loss == name and r.reduction == "sum_over_batch_size" and not r.weight
          and r)
      end
      local loss = losses[name](row.args)
      local y_pred = tide.tensor(row.y_pred, { dtype = "float64", requires_grad = true })
      local y_true = tide.tensor(row.y_true)
      local value = loss(y_true, y_pred)
      value:backward()
      local grad = y_pred.grad
      local n = y_pred.size
      local direction = {}
      for k = 1, n do
        direction[k] = math.sin(k * 1.7)
      end
      local d = tide.tensor(direction, { dtype = "float64" }):reshape(y_pred.shape)
      local eps = 1e-6
      local base = y_pred:detach()
      local up, down = loss(y_true, base + d * eps):item(), loss(y_true, base - d * eps):item()
      expect.close(ops.sum(grad * d), (up - down) / (2 * eps), 1e-6, 1e-4)
    end)
  end

  it("offers every loss as a function, with Keras' aliases", function()
    expect.close(losses.mean_squared_error({ { 1, 2 } }, { { 2, 4 } }), { 2.5 })
    expect.close(losses.huber({ { 0, 0 } }, { { 3, 0.1 } }, { delta = 0.5 }),
      { (0.5 * 3 - 0.125 + 0.005) / 2 })
    for alias, name in pairs { mse = "MeanSquaredError", MAE = "MeanAbsoluteError",
      mape = "MeanAbsolutePercentageError", msle = "MeanSquaredLogarithmicError",
        kld = "KLDivergence", bce = "BinaryCrossentropy", Huber = "Huber",
      categorical_hinge = "CategoricalHinge" } do
      assert.equal(name, getmetatable(losses.get(alias)).__name)
    end
  end)

  it("refuses unknown names and options, and suggests", function()
    assert.error_matches(function() losses.get "mean_squard_error" end,
      "unknown loss 'mean_squard_error'; did you mean 'mean_squared_error'%?")
    assert.error_matches(function()
      losses.Huber { dleta = 1 }
    end, "unknown option 'dleta'; did you mean 'delta'%?")
    assert.error_matches(function() losses.get(3) end, "a loss is a name")
    assert.error_matches(function()
      losses.Huber { reduction = "average" }
    end, "reduction must be 'sum_over_batch_size'")
  end)

  it("counts labels from 1 and names the first that is out of range", function()
    local p = tide.tensor { { 0.2, 0.8 }, { 0.6, 0.4 }, { 0.5, 0.5 } }
    local loss = losses.SparseCategoricalCrossentropy()
    expect.close(loss({ 2, 1, 2 }, p), -(math.log(0.8) + math.log(0.6) + math.log(0.5)) / 3)
    assert.error_matches(function()
      loss({ 1, 3, 2 }, p)
    end, "label 3 at position 2 is out of range %(expected 1 to 2%)")
    assert.error_matches(function() loss({ 1, 0, 1 }, p) end,
      "label 0 at position 2 .* the labels look 0%-based: Tide counts classes from 1, \z
        so use y %+ 1")
    assert.error_matches(function() loss({ 2, 0, 1 }, p) end, "0 means 'none'")
    expect.close(losses.SparseCategoricalCrossentropy { zero_based = true }({ 1, 0, 1 }, p),
      loss({ 2, 1, 2 }, p))
  end)

  it("takes the label 0 where a weight, a mask or ignore_class hides it", function()
    local p = tide.tensor { { 0.2, 0.8 }, { 0.6, 0.4 } }
    local want = -math.log(0.8)
    expect.close(losses.SparseCategoricalCrossentropy { reduction = "sum" }({ 2, 0 }, p, { 1, 0 }),
      want)
    expect.close(losses.SparseCategoricalCrossentropy()({ 2, 0 }, p, nil,
      tide.tensor { true, false }), want)
    expect.close(losses.SparseCategoricalCrossentropy { ignore_class = 0 }({ 2, 0 }, p), want)
    assert.error_matches(function()
      losses.SparseCategoricalCrossentropy { ignore_class = 0 }({ 2, 3 }, p)
    end,
      "label 3 at position 2")
  end)

  it("averages over the entries of a mask only", function()
    local mask = tide.tensor { true, false, true }
    expect.close(losses.MeanSquaredError()({ { 0 }, { 0 }, { 0 } }, { { 1 }, { 5 }, { 3 } }, nil,
      mask), (1 + 9) / 2)
  end)

  it("takes losses of one's own", function()
    local Power = losses.Loss:extend("Power", {
      args = { "exponent" },
      call = function(self, y_true, y_pred)
        return ((y_pred - y_true):abs() ^ self.exponent):mean(2)
      end,
    })
    local loss = Power { 4 }
    expect.close(loss({ { 0, 0 } }, { { 2, 1 } }), 8.5)
    assert.equal(4, loss:get_config().exponent)
    expect.close(losses.get { "Power", exponent = 2 }({ { 0, 0 } }, { { 2, 1 } }), 2.5)
    expect.close(losses.get(function(a, b)
      return ops.abs(a - b):sum(2)
    end)({ { 1, 1 } }, { { 2, 3 } }), 3)
  end)

  it("names losses of one class apart, and casts to their dtype", function()
    local Named = losses.Loss:extend("SpecNamed", { call = function(_, a, b)
      return ops.abs(a - b)
    end })
    assert.equal("spec_named", Named().name)
    assert.equal("spec_named_1", Named().name)
    for _, name in ipairs(losses.class_names) do
      assert.equal("float64", losses[name]({ dtype = "float64" }):get_config().dtype, name)
    end
    local loss = losses.MeanSquaredError { dtype = "float64" }
    assert.equal("float64", loss({ { 1 } }, { { 3 } }).dtype)
  end)

  it("gives every loss back from its configuration", function()
    for _, name in ipairs(losses.class_names) do
      local made = losses[name] {}
      local again = losses.get { class_name = name, config = made:get_config() }
      assert.same(made:get_config(), again:get_config())
    end
  end)
end)

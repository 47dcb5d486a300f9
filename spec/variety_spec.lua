-- Configurations of layers, losses, metrics and optimizers drawn at random, against the real Keras'
-- numbers (spec/ref/variety.py).
local formula = require "spec.support.formula"
local tide = require "tide"
local core = require "tide.core"
local expect = require "spec.support.expect"
local list = require "tide.list"
local ops = require "tide.ops"

local input, weight = formula.input, formula.weight

local near = expect.elements

local function shown(row)
  local names, out = {}, {}
  for name in pairs(row.args) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local v = row.args[name]
    out[#out + 1] = ("%s = %s"):format(name, type(v) == "table" and list.format(v) or tostring(v))
  end
  return ("%s { %s }"):format(row.class, table.concat(out, ", "))
end

local run = {}

function run.layer(row)
  local layer = tide.layers[row.class](row.args)
  local xs = {}
  for i, shape in ipairs(row.shapes) do
    xs[i] = input("real", shape, i - 1)
    xs[i].requires_grad = true
  end
  layer:build(#xs == 1 and xs[1].shape or { table.unpack(row.shapes) })
  local start, weights = {}, layer.weights
  for i, w in ipairs(weights) do
    start[i] = weight(w, row.class == "BatchNormalization" and i == #weights, i - 1)
  end
  layer:set_weights(start)
  local y = layer(#xs == 1 and xs[1] or xs,
    row.training ~= nil and { training = row.training } or nil)
  assert.are.same(row.shape, y.shape:totable())
  near("y", y, row.y, 1e-5, 2e-5)
  local wrt = table.move(xs, 1, #xs, 1, {})
  for _, w in ipairs(layer.trainable_weights) do
    wrt[#wrt + 1] = w
  end
  local grads = core.gradients(ops.sum(y * input("real", row.shape, 5)), wrt)
  for i, want in ipairs(row.dx) do
    near("dx" .. i, grads[i] or ops.zeros(xs[i].shape), want, 2e-5, 1e-4)
  end
  for i, want in ipairs(row.dw) do
    near("dw" .. i, grads[#xs + i], want, 2e-5, 2e-4)
  end
  for i, w in ipairs(layer.non_trainable_weights) do
    near("state" .. i, w, row.state[i], 1e-5, 1e-6)
  end
end

local function arguments(row, k, squeeze_t, squeeze_p)
  local t, p = input(row.target, row.shape, k), input(row.pred, row.shape, k + 1)
  if squeeze_t and row.target == "labels" then
    t = ops.squeeze(t, -1)
  end
  p = squeeze_p and ops.squeeze(p, -1) or p
  return t, p, row.weight and input("weight", row.weight, k + 2) or nil
end

function run.loss(row)
  local args = { reduction = row.reduction }
  for k, v in pairs(row.args) do
    args[k] = v
  end
  local t, p, w = arguments(row, 1, row.squeeze)
  p.requires_grad = true
  local axes = row.weight and #row.weight or 0
  local reduced = type(row.args.axis) == "table" and #row.args.axis
  if reduced and axes > #row.shape - reduced and row.weight[2] ~= 1 then
    -- Keras repeats the values for weights of more axes than they have; Tide refuses such weights
    expect.raises("the weights do not fit the values", tide.losses[row.class](args), t, p, w)
    return
  elseif #row.shape == 4 and axes == 2 then
    -- NumPy's rule, and so Keras', lines fewer axes up with the last ones; Tide with the first: one
    -- weight per sample
    w = ops.reshape(w, { 1, row.weight[1], row.weight[2] })
  end
  local v = tide.losses[row.class](args)(t, p, w)
  near("loss", v, row.v, 1e-5, 1e-5)
  near("gradient", core.gradients(ops.sum(v), { p })[1], row.g, 2e-5, 1e-5)
end

function run.metric(row)
  local m = tide.metrics[row.class](row.args)
  for i, k in ipairs { 1, 4 } do
    m:update_state(arguments(row, k, row.squeeze_t, row.squeeze_p))
    near("result " .. i, m:result(), row.v[i], 1e-5, 2e-6)
  end
end

function run.optimizer(row)
  local optimizer = tide.optimizers[row.class](row.args)
  local vs = {}
  for i, shape in ipairs { { 2, 3 }, { 3 } } do
    vs[i] = input("real", shape, i - 1)
    vs[i].requires_grad = true
  end
  optimizer:build(vs)
  for step = 0, 19 do
    local grads = {}
    for i, v in ipairs(vs) do
      grads[i] = input("real", v.shape:totable(), i - 1 + 3 * step)
    end
    optimizer:apply(grads, vs)
  end
  for i, v in ipairs(vs) do
    near("variable " .. i, v, row.w[i], 2e-5, 2e-6)
  end
  optimizer:finalize_variable_values(vs)
  for i, v in ipairs(vs) do
    near("final variable " .. i, v, row.last[i], 2e-5, 2e-6)
  end
end

local kinds = { "layer", "loss", "metric", "optimizer" }
local rows = require "spec.ref.variety"
for _, kind in ipairs(kinds) do
  describe(("a %s of any options equals Keras':"):format(kind), function()
    for i, row in ipairs(rows) do
      if row.kind == kind then
        it(("%d, %s"):format(i, shown(row)), function()
          run[kind](row)
        end)
      end
    end
  end)
end

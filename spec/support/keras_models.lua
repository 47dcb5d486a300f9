-- What the specs of Keras' files share: values by formula (the same as in
-- spec/ref/keras_models.py), inputs of a model, comparing structures, and the models that Tide
-- writes for real Keras to open.
--
--   lua5.4 -e 'require("spec.support.keras_models").write()'     writes spec/fixtures/tide anew
local tide = require "tide"
local layers = tide.layers

local models = {}

--- sin(0.7 i + k), i counted from 0, in float32.
function models.wave(shape, k)
  local n = 1
  for _, d in ipairs(shape) do
    n = n * d
  end
  local values = {}
  for i = 0, n - 1 do
    values[i + 1] = math.sin(0.7 * i + k)
  end
  return tide.tensor(values):reshape(table.move(shape, 1, #shape, 1, {}))
end

--- The inputs of the reference script for this model: list of tensors.
function models.inputs(model)
  local out = {}
  for k, x in ipairs(model.inputs) do
    local shape = { 2 }
    for i = 2, #x.shape do
      shape[i] = x.shape[i]
    end
    if x.dtype:find "int" then
      local n, values = 1, {}
      for _, d in ipairs(shape) do
        n = n * d
      end
      for i = 0, n - 1 do
        values[i + 1] = (i * 7 + 3) % 20
      end
      out[k] = tide.tensor(values, { dtype = "int32" }):reshape(shape)
    else
      out[k] = models.wave(shape, 9 + k) * 2
    end
  end
  return out
end

--- Runs a model on its inputs of the reference script.
function models.run(model)
  local x = models.inputs(model)
  return model(#x > 1 and x or x[1], { training = false })
end

--- The largest difference between tensors (or tables of them) and nested tables of numbers of the
--- same structure.
function models.difference(got, want)
  if type(got) == "userdata" then
    local w = tide.tensor(want)
    assert(tostring(w.shape) == tostring(got.shape),
      "shapes differ: " .. tostring(got.shape) .. ", expected " .. tostring(w.shape))
    local far = tide.ops.max(tide.ops.abs(got - w)):item()
    return far == far and far or math.huge -- math.max would drop a NaN
  end
  local most, n = 0, 0
  for k, v in pairs(want) do
    most = math.max(most, models.difference(got[k], v))
    n = n + 1
  end
  assert(n > 0)
  return most
end

-- Weights by formula; statistics stay positive.
local function fill(model)
  for k, r in ipairs(model:_records()) do
    local v = models.wave(r.tensor.shape:totable(), k - 1) * 0.4
    if r.name == "moving_variance" then
      v = tide.ops.abs(v) + 0.5
    end
    r.tensor:assign(v)
  end
end

--- The models that Tide writes, by name; compiled and trained for two steps where `steps` says on
--- what.
models.builders = {
  tide_cnn = function()
    local m = tide.Sequential {
      tide.Input { 8, 8, 3, name = "x" }, layers.Rescaling { 0.1, offset = 0.5, name = "rescale" },
        layers.Conv2D { 4, 3, padding = "same", activation = "relu", name = "conv" },
      layers.BatchNormalization { axis = 4, name = "bn" }, layers.MaxPooling2D { 2, name = "pool" },
      layers.Dropout { 0.5, name = "drop" }, layers.DepthwiseConv2D { 3, name = "dw" },
        layers.Flatten { name = "flat" },
      layers.Dense { 5, activation = "relu", kernel_regularizer = { "l2", l2 = 0.001 },
        kernel_constraint = "max_norm", name = "d1" },
      layers.Dense { 2, activation = "softmax", name = "d2" }, name = "tide_cnn" }
    fill(m)
    m:compile { optimizer = { "adam", name = "adam", learning_rate = 0.01, amsgrad = true },
      loss = "categorical_crossentropy", metrics = { "accuracy" } }
    return m, { models.wave({ 4, 8, 8, 3 }, 3),
      tide.tensor { { 1, 0 }, { 0, 1 }, { 1, 0 }, { 0, 1 } } }
  end,
  tide_text = function()
    local m = tide.Sequential { tide.Input { 12, dtype = "int32", name = "x" },
      layers.Embedding { 21, 5, zero_row = true, name = "emb" },
        layers.Conv1D { 6, 3, padding = "causal", name = "c1" },
      layers.LayerNormalization { axis = { 2, 3 }, name = "ln" },
        layers.PReLU { shared_axes = { 2 }, name = "prelu" },
      layers.Permute { 2, 1, name = "turn" }, layers.GlobalMaxPooling1D { name = "gp" },
        layers.Softmax { axis = 2, name = "sm" },
      layers.Dense { 2, name = "out" }, name = "tide_text" }
    fill(m)
    m:compile { optimizer = { "sgd", name = "sgd", momentum = 0.9,
      learning_rate = tide.optimizers.schedules.ExponentialDecay {
        0.05, decay_steps = 2, decay_rate = 0.5 } }, loss = "mse" }
    return m, { tide.ops.ones({ 4, 12 }, { dtype = "int32" }), models.wave({ 4, 2 }, 5) }
  end,
  tide_graph = function()
    local a, b = tide.Input { 6, name = "a" }, tide.Input { 4, name = "b" }
    local shared = layers.Dense { 5, name = "shared" }
    local inner_in = tide.Input { 5, name = "inner_in" }
    local inner = tide.Model { inputs = inner_in, name = "inner",
      outputs = layers.Dense { 5, activation = "relu", name = "inner_dense" }(inner_in) }
    local row = tide.Sequential {
      tide.Input { 6, name = "x" }, layers.Dense { 5, name = "row_dense" }, name = "row" }
    local x = shared(layers.Dense { 3, name = "from_a" }(a))
    local y = shared(layers.Dense { 3, name = "from_b" }(b))
    local u = layers.Add { name = "sum" } { inner(x), y }
    local v = layers.Multiply { name = "product" } { u, row(a) }
    local w = layers.Concatenate { axis = 2, name = "joined" } { u, v, inner(y) }
    local p = layers.Dense { 2, name = "p" }(w) * 2
    local q = layers.Dot { axes = 2, normalize = true, name = "dot" } { u, v }
    local m = tide.Model { inputs = { a, b }, name = "tide_graph",
      outputs = { p, tide.ops.mean(x - y, { axis = 2, keepdims = true }), q } }
    fill(m)
    return m
  end,
  tide_nested_end = function()
    local a = tide.Input { 3, name = "a" }
    local i = tide.Input { 3, name = "i" }
    local inner = tide.Model {
      inputs = i, outputs = layers.Dense { 2, name = "deep" }(i), name = "inner_end" }
    local m = tide.Model { inputs = a, outputs = inner(layers.Dense { 3, name = "first" }(a)),
      name = "tide_nested_end" }
    fill(m)
    m:compile { optimizer = { "rmsprop", name = "rmsprop", momentum = 0.5, centered = true },
      loss = "mse" }
    return m, { models.wave({ 4, 3 }, 1), models.wave({ 4, 2 }, 2) }
  end,
}

--- A model as it is written: built, filled, trained for two steps.
function models.trained(name)
  tide.seed(7)
  local model, data = models.builders[name]()
  if data then
    for _ = 1, 2 do
      model:train_on_batch(data[1], data[2])
    end
  end
  return model, data
end

models.folder = "spec/fixtures/tide/"

--- Writes all of them for real Keras to open.
function models.write()
  local keras = require "tide.saving.keras"
  require("tide.core").mkdirs(models.folder)
  for name in pairs(models.builders) do
    local model = models.trained(name)
    local stem = models.folder .. name
    keras.save_model(model, stem .. ".keras")
    keras.save_model(model, stem .. ".h5")
    keras.save_weights(model, stem .. ".weights.h5")
    keras.save_weights(model, stem .. "_weights.h5")
  end
end

return models

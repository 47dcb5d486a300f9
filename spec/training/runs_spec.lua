-- Whole runs of fit against the real Keras': the same weights, data and batches give the same
-- history, weights, evaluation and predictions (spec/ref/runs.py).
local expect = require "spec.support.expect"
local formula = require "spec.support.formula"
local tide = require "tide"
local ops = require "tide.ops"

local L, O = tide.layers, tide.optimizers
local make = formula.input
local N = 20

local ref = {}
for _, row in ipairs(require "spec.ref.runs") do
  ref[row.name] = row
end

local function labels(shape, k)
  return ops.squeeze(make("labels", shape, k), -1)
end

local function flat(t)
  return ops.ravel(t):tolist()
end

-- `loose`: tolerance of weights and predictions where Adam magnifies the rounding of gradients near
-- 0 (Keras' own backends differ by 1e-4 there).
local function run(name, model, compile, x, y, options, evaluate, loose)
  local want = ref[name]
  local start, moving = {}, {}
  for _, layer in ipairs(model.layers) do
    if layer.moving_variance then
      moving[layer.moving_variance] = true
    end
  end
  for i, w in ipairs(model.weights) do
    start[i] = formula.weight(w, moving[w], i - 1)
  end
  model:set_weights(start)
  model:compile(compile)
  options.batch_size, options.shuffle, options.verbose = options.batch_size or 8, false, 0
  local history = model:fit(x, y, options)
  for key, values in pairs(want.history) do
    assert(history[key], "the history lacks " .. key)
    expect.close(history[key], values, 2e-5, 2e-5, key)
  end
  for i, w in ipairs(model:get_weights()) do
    expect.close(flat(w), want.weights[i], loose or 3e-5, 2e-5, "weight " .. i)
  end
  evaluate = evaluate or {}
  evaluate.batch_size, evaluate.verbose, evaluate.return_dict = 8, 0, true
  local results = model:evaluate(x, y, evaluate)
  for key, value in pairs(want.evaluate) do
    expect.close(results[key], value, 2e-5, 2e-5, "evaluate " .. key)
  end
  local p = model:predict(x, { verbose = 0 })
  if type(p) == "userdata" then
    p = { p }
  elseif p.kind then
    p = { p.kind, p.place }
  end
  for i, values in ipairs(want.predictions) do
    expect.close(flat(p[i]), values, loose or 3e-5, 2e-5, "prediction " .. i)
  end
end

describe("a run of fit equals Keras'", function()
  it("with convolutions, batch statistics and validation every second epoch", function()
    local images, vx = make("real", { N, 6, 6, 2 }, 1), make("real", { 8, 6, 6, 2 }, 7)
    local model = tide.Sequential {
      tide.Input { 6, 6, 2 },
      L.Conv2D { 4, 3, padding = "same", activation = "relu" }, L.BatchNormalization {},
        L.MaxPooling2D { 2 },
      L.Conv2D { 3, 2, use_bias = false, kernel_regularizer = "l2" },
        L.BatchNormalization { momentum = 0.8, epsilon = 0.01 },
      L.ReLU { 0.9, 0.1 }, L.GlobalAveragePooling2D {}, L.Dense { 3 },
    }
    run("images", model, {
      optimizer = O.Adam { 0.02, clipnorm = 1.0 },
      loss = tide.losses.SparseCategoricalCrossentropy { from_logits = true },
      metrics = { "accuracy", tide.metrics.SparseTopKCategoricalAccuracy { 2, name = "top2" } },
    }, images, labels({ N, 3 }, 2),
      { epochs = 3, validation_data = { vx, labels({ 8, 3 }, 4) }, validation_freq = 2 }, nil, 5e-4)
  end)

  it("with masked ids, class weights and a validation split", function()
    local model = tide.Sequential {
      tide.Input { 6, dtype = "int32" }, L.Embedding { 12, 4, mask_zero = true },
        L.Dense { 5, activation = "tanh" },
      L.GlobalAveragePooling1D {}, L.Dense { 1, activation = "sigmoid", bias_initializer = "ones" },
    }
    run("masked text", model, {
      optimizer = O.RMSprop { 0.02, momentum = 0.5, centered = true },
      loss = "binary_crossentropy",
      metrics = { "accuracy", tide.metrics.AUC { num_thresholds = 20, name = "auc" },
        tide.metrics.Precision { 0.4, name = "precision" } },
    }, labels({ N, 6, 12 }, 3) - 1, make("bits", { N, 1 }, 5),
      { epochs = 3, validation_split = 0.25, class_weight = { [0] = 1.0, [1] = 3.0 } })
  end)

  it("with inputs, outputs, losses, metrics and sample weights by name", function()
    local a, b = tide.Input { 5, name = "a" }, tide.Input { 3, name = "b" }
    local h = L.Concatenate {} { L.Dense { 4, activation = "gelu" }(a), L.LayerNormalization {}(b) }
    h = L.Dropout { 0.0 }(L.GroupNormalization { 1 }(h))
    local model = tide.Model {
      inputs = { a = a, b = b },
      outputs = { kind = L.Dense { 3, activation = "softmax", name = "kind" }(h),
        place = L.Dense { 2, name = "place" }(h) },
    }
    local xs = { a = make("real", { N, 5 }, 1), b = make("real", { N, 3 }, 2) }
    local ys = { kind = labels({ N, 3 }, 3), place = make("real", { N, 2 }, 4) }
    local ws = { kind = make("weight", { N }, 5), place = make("weight", { N }, 6) }
    run("two outputs by name", model, {
      optimizer = O.SGD { 0.05, momentum = 0.9, nesterov = true, weight_decay = 0.01 },
      loss = { kind = "sparse_categorical_crossentropy", place = tide.losses.Huber { 0.5 } },
      loss_weights = { kind = 1.0, place = 0.3 },
      metrics = { kind = { "accuracy" }, place = { "mae" } },
      weighted_metrics = { place = { "mse" } },
    }, xs, ys, { epochs = 3, sample_weight = ws, validation_data = { xs, ys, ws } },
      { sample_weight = ws })
  end)

  it("with a weight per step, a penalty on outputs and a schedule with warm-up", function()
    local i = tide.Input { 7, 3 }
    local h = L.Conv1D { 6, 3, padding = "causal", dilation_rate = 2, activation = "swish" }(i)
    h = L.Add {} { h, L.SeparableConv1D { 6, 2, padding = "same" }(i) }
    h = L.PReLU { shared_axes = { 2 } }(h)
    local model = tide.Model { inputs = i, outputs = L.Dense { 4, activation = "softmax",
      activity_regularizer = tide.regularizers.L1 { 0.01 } }(h) }
    run("steps with weights of their own", model, {
      optimizer = O.AdamW { O.schedules.CosineDecay { 0.0, 6, 0.1, warmup_target = 0.03,
        warmup_steps = 3 }, global_clipnorm = 0.5 },
      loss = "sparse_categorical_crossentropy",
      weighted_metrics = { "accuracy" },
    }, make("real", { N, 7, 3 }, 1), labels({ N, 7, 4 }, 2),
      { epochs = 3, sample_weight = make("weight", { N, 7 }, 3), batch_size = 6 })
  end)

  it("with a frozen layer, class weights of one-hot targets and a focal loss", function()
    local model = tide.Sequential {
      tide.Input { 4 }, L.Dense { 6, activation = "selu" }, L.BatchNormalization {},
        L.Dense { 3, activation = "softmax" },
    }
    model.layers[1].trainable = false
    run("a frozen layer", model, {
      optimizer = O.Nadam { 0.03 },
      loss = tide.losses.CategoricalFocalCrossentropy { label_smoothing = 0.1 },
      metrics = { "categorical_accuracy", tide.metrics.F1Score { average = "macro", name = "f1" } },
    }, make("real", { N, 4 }, 1), make("onehot", { N, 3 }, 4),
      { epochs = 3, class_weight = { [1] = 0.5, [2] = 1.0, [3] = 2.0 } })
  end)
end)

-- Weights of samples and of classes, masks, and the shapes that losses and metrics refuse. Numbers
-- are Keras' (JAX), given the weights at the full shape of the values.
local expect = require "spec.support.expect"
local tide = require "tide"
local losses, metrics, layers, ops = tide.losses, tide.metrics, tide.layers, tide.ops
local close = expect.close

local function has(text, ...)
  for _, part in ipairs { ... } do
    expect.has(text, part)
  end
end

local function message(f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  return tostring(e)
end

local pictures = ((tide.arange(48):cast "float32") / 50 + 0.01):reshape { 3, 4, 4, 1 }
local thirds = ops.equal(tide.arange(48) % 3, 0):cast("float32"):reshape { 3, 4, 4, 1 }

describe("one weight per sample", function()
  local zeros, p = tide.zeros { 2, 2, 1 }, tide.tensor { { { 1 }, { 2 } }, { { 3 }, { 4 } } }

  it("weighs all of a sample's values, with every reduction", function()
    for reduction, want in pairs { sum = 5, sum_over_batch_size = 1.25, mean = 1.25,
      mean_with_sample_weight = 2.5, none = { { 1, 4 }, { 0, 0 } } } do
      local loss = losses.MeanSquaredError { reduction = reduction }
      close(loss(zeros, p, { 1, 0 }), want)
      close(loss(zeros, p, { { 1 }, { 0 } }), want)
      close(loss(zeros, p, { { 1, 1 }, { 0, 0 } }), want)
    end
  end)

  it("weighs pictures, as many as their side and fewer", function()
    for reduction, want in pairs { sum = 57.03412, sum_over_batch_size = 1.1882108,
      mean_with_sample_weight = 1.1882108 } do
      close(losses.BinaryCrossentropy { reduction = reduction }(thirds, pictures, { 1, 0, 2 }),
        want, 1e-5, 1e-5)
    end
    local four = tide.ones { 4, 4, 4, 1 }
    close(losses.MeanSquaredError()(four, four * 3, { 1, 0, 0, 0 }), 1)
    close(losses.MeanSquaredError { reduction = "none" }(four, four * 3, { 1, 0, 0, 0 })[1],
      tide.full({ 4, 4 }, 4))
  end)

  it("weighs with masks: a mean is one over what the mask leaves", function()
    local mask = tide.tensor { { true, false }, { true, true } }
    close(losses.MeanSquaredError()(zeros, p, { 1, 2 }, mask), (1 + 2 * 9 + 2 * 16) / 3)
    close(losses.MeanSquaredError { reduction = "sum" }(zeros, p, { 1, 2 }, mask), 51)
    local mean = metrics.MeanSquaredError()
    mean:update_state(zeros, p, { 1, 2 }, mask)
    close(mean:result(), 51 / 5)
  end)

  it("weighs the numbers of a vector, one per sample", function()
    close(losses.MeanSquaredError()({ 0, 0 }, { 1, 2 }, { 1, 0 }), 0.5)
    close(losses.MeanSquaredError { reduction = "none" }({ 0, 0 }, { 1, 2 }, { 1, 0 }), { 1, 0 })
    close(losses.MeanSquaredError()({ 0, 0 }, { 1, 2 }), 2.5)
  end)

  it("weighs in metrics", function()
    for name, want in pairs { BinaryAccuracy = 0.41666666, MeanSquaredError = 0.40786663,
      AUC = 0.44921875, Precision = 0.3125, Recall = 0.625, BinaryIoU = 0.26315788,
      TruePositives = 10 } do
      close(metrics[name]()(thirds, pictures, { 1, 0, 2 }), want, 1e-5, 1e-5, name)
    end
    close(metrics.R2Score()({ { 1 }, { 4 }, { 3 } }, { { 2 }, { 4 }, { 4 } }, { { 1 }, { 0 },
      { 2 } }), metrics.R2Score()({ { 1 }, { 4 }, { 3 } }, { { 2 }, { 4 }, { 4 } }, { 1, 0, 2 }))
    close(metrics.F1Score { average = "micro" }({ { 0, 1 }, { 1, 0 } }, { { 0.2, 0.7 },
      { 0.1, 0.6 } }, { { 3 }, { 1 } }), 0.75, 1e-5, 1e-5)
  end)

  it("weighs in fit: the loss of four pictures is that of the one that counts", function()
    local model = tide.Sequential { tide.Input { 4, 4, 1 }, layers.Rescaling { 2 },
      layers.Conv2D { 1, 1, kernel_initializer = "ones" } }
    model:compile { optimizer = { "sgd", learning_rate = 0 }, loss = "mse",
      weighted_metrics = { "mae" } }
    local x = tide.ones { 4, 4, 4, 1 }
    local h = model:fit(x, x * 0, { sample_weight = { 1, 0, 0, 0 }, verbose = 0 })
    close(h.loss[1], 1)
    close(h.mae[1], 2)
  end)

  it("is refused where its shape is another, naming both", function()
    for _, shape in ipairs { { 3, 3 }, { 2 }, { 3, 2 } } do
      local m = message(losses.MeanSquaredError(), tide.zeros { 3, 1 }, tide.zeros { 3, 1 },
        tide.ones(shape))
      has(m, "expected one per sample, or the shape [3]",
        "got " .. tostring(tide.ones(shape).shape))
    end
    has(message(losses.MeanSquaredError(), tide.zeros { 4, 3, 1 }, tide.zeros { 4, 3, 1 },
      tide.ones { 3 }), "[4, 3]", "got [3]")
    for _, name in ipairs { "MeanSquaredError", "Precision", "BinaryIoU", "AUC" } do
      has(message(metrics[name](), tide.zeros { 3, 1 }, tide.zeros { 3, 1 }, tide.ones { 3, 3 }),
        "got [3, 3]")
    end
  end)
end)

describe("targets and predictions", function()
  it("of different rank are refused, naming both shapes", function()
    local y, p = tide.zeros { 3 }, tide.zeros { 3, 3 }
    for _, name in ipairs(losses.class_names) do
      if losses[name].targets and losses[name].targets ~= "labels" then
        has(message(losses[name](), y, p), "[3]", "[3, 3]")
        has(message(losses[tide.losses[name].fn and require("tide.class").snake(name)], y, p),
          "[3]", "[3, 3]")
      end
    end
    for _, name in ipairs { "Accuracy", "BinaryAccuracy", "MeanSquaredError", "Precision", "AUC",
      "RootMeanSquaredError" } do
      has(message(metrics[name](), y, p), "[3]", "[3, 3]")
    end
    close(losses.MeanSquaredError()(tide.zeros { 3 }, tide.ones { 3, 1 }), 1)
    close(losses.MeanSquaredError()(0, tide.ones { 3, 3 }), 1)
  end)

  local function fit(units, loss, y, ...)
    local model = tide.Sequential { layers.Dense { units, input_shape = { ... }, name = "out" } }
    model:compile { loss = loss }
    return message(model.fit, model, tide.zeros { 8, ... }, y, { verbose = 0 })
  end

  it("that do not meet name the loss, the output, both shapes, and a Flatten that is missing",
    function()
      has(fit(10, "sparse_categorical_crossentropy", tide.ones { 8 }, 28, 4), "fit: ",
        "output 'out'", "[8, 28, 10]", "sparse_categorical_crossentropy",
        "expected [8, 28], got [8]", "is a Flatten or a pooling layer missing")
      has(fit(1, "mse", tide.ones { 8, 1 }, 28, 4), "expected [8, 28, 1], got [8, 1]",
        "is a Flatten")
      has(fit(10, "mse", tide.ones { 8, 9 }, 4), "output 'out'", "loss mse",
        "expected [8, 10], got [8, 9]")
      has(fit(10, "categorical_crossentropy", tide.ones { 8 }, 4), "expected [8, 10], got [8]",
        "sparse_categorical_crossentropy")
      has(fit(1, "mse", nil, 4), "fit: there is a loss for output 1 (out), but no targets")
    end)

  it("are named by evaluate too, and after the first batch", function()
    local model = tide.Sequential { layers.Dense { 2, input_shape = { 4 }, name = "out" } }
    model:compile { loss = "mse", metrics = { "mae" } }
    model:fit(tide.zeros { 8, 4 }, tide.zeros { 8, 2 }, { verbose = 0 })
    has(message(model.evaluate, model, tide.zeros { 8, 4 }), "output 1 (out)", "no targets")
    has(message(model.evaluate, model, tide.zeros { 8, 4 }, { other = tide.zeros { 8, 2 } }),
      "evaluate: y names the output 'other'")
    has(message(model.evaluate, model, tide.zeros { 8, 4 }, tide.zeros { 8, 3 }), "evaluate:",
      "output 'out'", "under the loss mse (expected [8, 2], got [8, 3])")
  end)

  it("hold labels whose positions are those of a person's own data", function()
    local y = tide.ones { 40 }
    y[17] = 5
    local model = tide.Sequential { layers.Dense { 3, input_shape = { 2 } } }
    model:compile { loss = "sparse_categorical_crossentropy" }
    has(message(model.fit, model, tide.zeros { 40, 2 }, y, { batch_size = 4, verbose = 0 }),
      "label 5 at position 17", "expected 1 to 3")
    has(message(model.evaluate, model, tide.zeros { 40, 2 }, y, { batch_size = 4 }),
      "label 5 at position 17")
    y[17] = 0
    local w = tide.ones { 40 }
    w[17] = 0
    model:fit(tide.zeros { 40, 2 }, y, { sample_weight = w, batch_size = 4, verbose = 0 })
    has(message(losses.SparseCategoricalCrossentropy(), { { 1, 2 }, { 2, 3 } },
      tide.full({ 2, 2, 2 }, 0.5)), "label 3 at position [2, 2]")
    has(message(losses.CategoricalGeneralizedCrossEntropy(), { 1, 3 }, tide.full({ 2, 2 }, 0.5)),
      "label 3 at position 2")
  end)
end)

describe("class_weight", function()
  -- A model that predicts 1/2 everywhere: each place has the loss log 2 times its class' weight.
  local function loss_of(loss, y, shape, weights, activation)
    local model = tide.Sequential { tide.Input(shape), layers.Dense { 2,
      kernel_initializer = "zeros", activation = activation or "softmax" } }
    model:compile { optimizer = { "sgd", learning_rate = 0 }, loss = loss }
    local x = tide.zeros { #y, table.unpack(shape) }
    return model:fit(x, y, { class_weight = weights, verbose = 0 }).loss[1] / math.log(2)
  end
  local weights = { [1] = 2, [2] = 5 }

  it("weighs each place of sequences and maps of labels", function()
    close(loss_of("sparse_categorical_crossentropy", tide.tensor { { 1, 2, 2 }, { 1, 1, 2 } },
      { 3, 4 }, weights), (3 * 2 + 3 * 5) / 6)
    close(loss_of("sparse_categorical_crossentropy", tide.tensor { { { 1 }, { 2 }, { 2 } } },
      { 3, 4 }, weights), (2 + 5 + 5) / 3)
    close(loss_of("sparse_categorical_crossentropy", tide.tensor { { { 1, 2 }, { 1, 1 } } },
      { 2, 2, 1 }, weights), (2 + 5 + 2 + 2) / 4)
  end)

  it("weighs one-hot sequences and maps by the axis of the classes", function()
    close(loss_of("categorical_crossentropy", tide.tensor { { { 1, 0 }, { 0, 1 }, { 0, 1 } } },
      { 3, 4 }, weights), 12 / 3)
    local adapter = require "tide.data.adapter"
    close(adapter.class_weight(weights, "one_hot", 2):of(tide.tensor { { { 1, 0, 0 },
      { 0, 1, 1 } } }), { { 2, 5, 5 } })
    close(adapter.class_weight(weights):of(tide.tensor { { { 1, 0 }, { 0, 1 } } }), { { 2, 5 } })
    close(adapter.class_weight(weights):of(tide.tensor { { 1, 2 }, { 2, 2 } }),
      { { 2, 5 }, { 5, 5 } })
  end)

  it("is refused for targets that are neither labels nor one-hot", function()
    has(message(loss_of, "mse", tide.tensor { { { 0.5, 0.2 } } }, { 1, 3 }, weights),
      "class_weight", "neither labels nor one-hot", "[1, 1, 2]")
    has(message(loss_of, "binary_crossentropy", tide.tensor { { 0, 1 } }, { 3 },
      { [0] = 1, [1] = 2 }, "sigmoid"), "weights do not fit", "got [1, 2]")
  end)

  it("keeps the weights of 0 and 1", function()
    local model = tide.Sequential { tide.Input { 3, 1 }, layers.Dense { 1,
      kernel_initializer = "zeros", activation = "sigmoid" } }
    model:compile { optimizer = { "sgd", learning_rate = 0 }, loss = "binary_crossentropy" }
    local h = model:fit(tide.zeros { 1, 3, 1 }, tide.tensor { { 0, 1, 1 } },
      { class_weight = { [0] = 1, [1] = 4 }, verbose = 0 })
    close(h.loss[1] / math.log(2), 3)
  end)
end)

describe("label smoothing", function()
  it("counts the classes of the axis it is told", function()
    -- two classes along axis 2: targets { 1, 0 } become { 0.85, 0.15 }
    local y = tide.tensor { { { 1, 1, 1 }, { 0, 0, 0 } } }
    local p = tide.tensor { { { 0.8, 0.8, 0.8 }, { 0.2, 0.2, 0.2 } } }
    local want = -(0.85 * math.log(0.8) + 0.15 * math.log(0.2))
    close(losses.CategoricalCrossentropy { label_smoothing = 0.3, axis = 2 }(y, p), want)
    local alone = losses.CategoricalFocalCrossentropy { label_smoothing = 0.3 }(
      { { 1, 0 } }, { { 0.8, 0.2 } })
    close(losses.CategoricalFocalCrossentropy { label_smoothing = 0.3, axis = 2 }(y, p), alone)
  end)
end)

describe("scores that are NaN", function()
  it("do not count in metrics with thresholds", function()
    local nan = 0 / 0
    close(metrics.AUC()({ 0, 0, 1, 1, 1 }, { 0, 0.5, 0.3, 0.9, nan }), 0.75)
    close(metrics.Recall()({ 1, 1, 1 }, { 0.7, 0.2, nan }), 0.5)
    close(metrics.Recall()({ 1, 1, 1 }, { 0.7, 0.2, nan }, { 1, 3, 5 }), 0.25)
  end)
end)

describe("many thresholds", function()
  it("are no limit of Lua's stack", function()
    close(metrics.AUC { num_thresholds = 200000 }({ 0, 0, 1, 1 }, { 0, 0.5, 0.3, 0.9 }), 0.75)
  end)
end)

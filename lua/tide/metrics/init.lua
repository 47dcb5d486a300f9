--- Metrics under Keras' names: 45 classes, their functions, and the choice of accuracy by shapes.
---
---     local m = tide.metrics.SparseCategoricalAccuracy()
---     m:update_state({ 1, 2 }, { { 0.9, 0.1 }, { 0.8, 0.2 } })
---     print(m:result()) --> 0.5
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"
local registry = require "tide.registry"
local tensors = require "tide.training.tensors"

local base = require "tide.metrics.base"
local confusion = require "tide.metrics.confusion"
local naming = require "tide.metrics.naming"
local scores = require "tide.metrics.scores"
local F = require "tide.metrics.functions"
local L = require "tide.losses.functions"
local losses = require "tide.losses"
local loss_base = require "tide.losses.base"

local classes, functions = {}, {}

local DTYPE = { "dtype", "dtype", nil, "dtype of the state" }
local K = { "k", "int", 5, "how many of the largest predictions count", min = 1 }

-- A mean of a formula. `rows`: its options; `direction`: what is better. Keras puts name and dtype
-- before all of them but `k`.
local function mean_of(name, default_name, formula, direction, rows)
  local all = {}
  if rows and rows[1] == K then
    all[1] = K
  end
  all[#all + 1] = { "name", "string", default_name or class.snake(name), "shown in logs" }
  all[#all + 1] = DTYPE
  table.move(rows or {}, #all - 1, #(rows or {}), #all + 1, all)
  local c = object.class(name, base.Mean, { rows = all, methods = base.PAIRS })
  c.update_state = base.MeanMetricWrapper.update_state
  c._formula = formula
  c.direction = direction
  classes[name] = c
  return c
end

local AXIS, LOGITS, SMOOTHING, ZERO_BASED = loss_base.AXIS, loss_base.LOGITS, loss_base.SMOOTHING,
  loss_base.ZERO_BASED

-- accuracy
--- How often predictions equal targets.
--     tide.metrics.Accuracy()({ 1, 2, 3 }, { 1, 2, 1 })   --> 0.66667
mean_of("Accuracy", nil, F.accuracy, "up")
--- How often predictions on the right side of `threshold` match targets 0 and 1.
--     tide.metrics.BinaryAccuracy()({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 0.66667
mean_of("BinaryAccuracy", nil, F.binary_accuracy, "up",
  { { "threshold", "number", 0.5, "above it is class 1" } })
--- How often the largest prediction is that of the one-hot target.
--     tide.metrics.CategoricalAccuracy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 1
mean_of("CategoricalAccuracy", nil, F.categorical_accuracy, "up")
--- How often the largest prediction is that of the label; labels count from 1.
--     tide.metrics.SparseCategoricalAccuracy()({ 1, 2 }, { { 0.9, 0.1 }, { 0.8, 0.2 } })   --> 0.5
mean_of("SparseCategoricalAccuracy", nil, F.sparse_categorical_accuracy, "up", { ZERO_BASED })
--- How often the one-hot target is among the k largest predictions.
--     tide.metrics.TopKCategoricalAccuracy { k = 2 }({ { 0, 0, 1 } }, { { 0.5, 0.2, 0.3 } })
--     --> 1
mean_of("TopKCategoricalAccuracy", "top_k_categorical_accuracy", F.top_k_categorical_accuracy, "up",
  { K })
--- How often the label, counted from 1, is among the k largest predictions.
--     tide.metrics.SparseTopKCategoricalAccuracy { k = 2 }({ 3 }, { { 0.5, 0.2, 0.3 } })   --> 1
mean_of("SparseTopKCategoricalAccuracy", "sparse_top_k_categorical_accuracy",
  F.sparse_top_k_categorical_accuracy, "up",
    { K, { "from_sorted_ids", "bool", false, "predictions are labels, best first" }, ZERO_BASED })

-- regression
--- Mean of squared differences.
--     tide.metrics.MeanSquaredError()({ { 1, 2 } }, { { 1, 4 } })   --> 2
mean_of("MeanSquaredError", nil, L.mean_squared_error, "down")
--- Mean of absolute differences.
--     tide.metrics.MeanAbsoluteError()({ { 1, 2 } }, { { 1, 4 } })   --> 1
mean_of("MeanAbsoluteError", nil, L.mean_absolute_error, "down")
--- Mean of 100 |y_true - y_pred| / |y_true|.
--     tide.metrics.MeanAbsolutePercentageError()({ { 1, 2 } }, { { 1, 4 } })   --> 50
mean_of("MeanAbsolutePercentageError", nil, L.mean_absolute_percentage_error, "down")
--- Mean of (log(y_true + 1) - log(y_pred + 1))^2.
--     tide.metrics.MeanSquaredLogarithmicError()({ { 1, 2 } }, { { 1, 4 } })   --> 0.13047
mean_of("MeanSquaredLogarithmicError", nil, L.mean_squared_logarithmic_error, "down")
--- Mean cosine of the angle between targets and predictions.
--     tide.metrics.CosineSimilarity()({ { 1, 2 } }, { { 1, 4 } })   --> 0.97619
mean_of("CosineSimilarity", nil, L.cosine, "up", { AXIS })
--- Mean of log(cosh(y_pred - y_true)).
--     tide.metrics.LogCoshError()({ { 1, 2 } }, { { 1, 4 } })   --> 0.6625
mean_of("LogCoshError", "logcosh", L.log_cosh, "down")
--- Square root of the mean of squared differences.
--     tide.metrics.RootMeanSquaredError()({ { 1, 2 } }, { { 1, 4 } })   --> 1.4142
local rmse = mean_of("RootMeanSquaredError", nil, F.root_mean_squared_error, "down")
function rmse:result()
  return math.sqrt(base.Mean.result(self))
end
--- Pearson's correlation of targets and predictions along an axis (Pearson 1896).
--     tide.metrics.PearsonCorrelation()({ { 1, 2, 3 } }, { { 1, 2, 4 } })   --> 0.98198
mean_of("PearsonCorrelation", nil, F.pearson_correlation, "up", { AXIS })
--- Concordance correlation along an axis (Lin 1989).
--     tide.metrics.ConcordanceCorrelation()({ { 1, 2, 3 } }, { { 1, 2, 4 } })   --> 0.85714
mean_of("ConcordanceCorrelation", nil, F.concordance_correlation, "up", { AXIS })

-- probabilities and margins
--- Mean cross-entropy of independent probabilities.
--     tide.metrics.BinaryCrossentropy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.28991
mean_of("BinaryCrossentropy", nil, L.binary_crossentropy, "down", { LOGITS, SMOOTHING })
--- Mean cross-entropy of one-hot targets.
--     tide.metrics.CategoricalCrossentropy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.25131
mean_of("CategoricalCrossentropy", nil, L.categorical_crossentropy, "down",
  { LOGITS, SMOOTHING, AXIS })
--- Mean cross-entropy of labels, counted from 1.
--     tide.metrics.SparseCategoricalCrossentropy()({ 2 }, { { 0.2, 0.8 } })   --> 0.22314
mean_of("SparseCategoricalCrossentropy", nil, L.sparse_categorical_crossentropy, "down",
  { LOGITS, loss_base.IGNORE_CLASS, AXIS, ZERO_BASED })
--- Mean of y_true log(y_true / y_pred).
--     tide.metrics.KLDivergence()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.35667
mean_of("KLDivergence", nil, L.kl_divergence, "down")
--- Mean of y_pred - y_true log(y_pred).
--     tide.metrics.Poisson()({ { 1, 2 } }, { { 1, 4 } })   --> 1.1137
mean_of("Poisson", nil, L.poisson, "down")
--- Mean of max(1 - y_true y_pred, 0).
--     tide.metrics.Hinge()({ { -1, 1 } }, { { -0.5, 0.5 } })   --> 0.5
mean_of("Hinge", nil, L.hinge, "down")
--- Mean of the squared hinge.
--     tide.metrics.SquaredHinge()({ { -1, 1 } }, { { -0.5, 0.5 } })   --> 0.25
mean_of("SquaredHinge", nil, L.squared_hinge, "down")
--- Mean of max(best wrong - right + 1, 0).
--     tide.metrics.CategoricalHinge()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.5
mean_of("CategoricalHinge", nil, L.categorical_hinge, "down")

for name, c in pairs(classes) do
  local loss = rawget(losses, name == "LogCoshError" and "LogCosh" or name)
  c.targets = loss and loss.targets
end

for _, group in ipairs { confusion, scores } do
  for name, c in pairs(group) do
    classes[name] = c
  end
end
for _, name in ipairs { "Metric", "Sum", "Mean", "MeanMetricWrapper" } do
  classes[name] = base[name]
end

--- The value of each sample, by the formula of the class of that name and with its options.
--     tide.metrics.binary_accuracy({ { 0 }, { 1 } }, { { 0.2 }, { 0.4 } })   --> { { 1 }, { 0 } }
for name, formula in pairs(F) do
  if name ~= "root_mean_squared_error" then
    local args = check.args(name, {
      { "y_true", "tensor", check.required, "targets" },
      { "y_pred", "tensor", check.required, "predictions" },
      name:find "top_k" and { "k", "int", 5, "how many of the best count" }
        or name == "binary_accuracy" and { "threshold", "number", 0.5, "above it is a yes" }
        or { "axis", "axis", -1, "along which values belong together" },
      { "from_sorted_ids", "bool", false, "predictions are labels, best first" },
      ZERO_BASED,
    })
    functions[name] = object.name_function(function(...)
      local o = args:call(...)
      return formula(tensors.of(o.y_true), tensors.of(o.y_pred), o)
    end, name, args)
  end
end
for name in ([[mean_squared_error mean_absolute_error mean_absolute_percentage_error
  mean_squared_logarithmic_error huber log_cosh kl_divergence poisson hinge squared_hinge
  categorical_hinge binary_crossentropy binary_focal_crossentropy categorical_crossentropy
  categorical_focal_crossentropy sparse_categorical_crossentropy]]):gmatch "%S+" do
  functions[name] = losses[name]
end

-- Functions by name become the class of the same name, where there is one.
local class_of_function = {}
for name, c in pairs(classes) do
  local f = functions[class.snake(name)]
  if f then
    class_of_function[f] = c
  end
end
class_of_function[functions.log_cosh] = classes.LogCoshError
class_of_function[functions.top_k_categorical_accuracy] = classes.TopKCategoricalAccuracy
class_of_function[functions.sparse_top_k_categorical_accuracy] =
  classes.SparseTopKCategoricalAccuracy

--- A metric object from a name, `{ "name", option = ... }`, an object, a class, a configuration, or
--- a function of (y_true, y_pred).
--- @param v any
--- @return table metric
local function get(v)
  local found = registry.resolve("metric", v, "metric")
  if type(found) == "function" then
    local c = class_of_function[found]
    local name = type(v) == "string" and v or object.name_of(found) or naming.of(found)
      or "metric"
    return c and c { name = name } or base.MeanMetricWrapper { found, name = name }
  elseif type(found) == "table" and found.kind == "loss" then
    return base.MeanMetricWrapper { found, name = found.name, direction = "down" }
  elseif type(found) ~= "table" or not found.update_state then
    errors.raise("metric", "takes a metric (got %s)", check.show(v))
  end
  if type(v) == "string" then
    found.name = v
  end
  return found
end

--- Keras' choice between binary, sparse and categorical by the shapes of targets and predictions.
--- @return string "binary", "sparse" or "categorical"
local function kind_of(y_true, y_pred)
  local t, p = y_true.shape, y_pred.shape
  if p[-1] == 1 then
    return "binary"
  elseif #t < #p or (t[-1] == 1 and p[-1] > 1) then
    return "sparse"
  end
  return "categorical"
end

local members = {}
for _, group in ipairs { functions, classes } do
  for name, v in pairs(group) do
    members[name] = v
  end
end

return object.namespace("tide.metrics", "metric", { members = members, get = get,
  extra = { kind_of = kind_of }, aliases = {
  mse = "MeanSquaredError", MSE = "MeanSquaredError", mae = "MeanAbsoluteError",
    MAE = "MeanAbsoluteError",
  mape = "MeanAbsolutePercentageError", MAPE = "MeanAbsolutePercentageError",
    msle = "MeanSquaredLogarithmicError",
  MSLE = "MeanSquaredLogarithmicError", bce = "BinaryCrossentropy", BCE = "BinaryCrossentropy",
    kld = "KLDivergence",
  KLD = "KLDivergence", logcosh = "LogCoshError", cosine_similarity = "CosineSimilarity",
    cosine_proximity = "CosineSimilarity",
  root_mean_squared_error = "RootMeanSquaredError", rmse = "RootMeanSquaredError",
} })

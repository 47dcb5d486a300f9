--- Losses: 22 classes and their functions, under Keras' names.
---
---     local loss = tide.losses.Huber { delta = 0.5 }
---     print(loss({ { 1, 2 } }, { { 1, 4 } }))
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"
local registry = require "tide.registry"
local tensors = require "tide.training.tensors"

local loss_base = require "tide.losses.base"
local F = require "tide.losses.functions"
local Loss = loss_base.Loss

local classes, functions = {}, {}

local AXIS, LOGITS, SMOOTHING, ZERO_BASED = loss_base.AXIS, loss_base.LOGITS, loss_base.SMOOTHING,
  loss_base.ZERO_BASED

-- Rows in the order of names, then the others.
local function ordered(rows, order)
  local place, out, at = {}, {}, 0
  for name in order:gmatch "%S+" do
    at = at + 1
    place[name] = at
  end
  for i, row in ipairs(rows) do
    out[i] = row
    place[row] = place[row[1]] or at + i
  end
  table.sort(out, function(a, b)
    return place[a] < place[b]
  end)
  return out
end

-- The options of the function after `all`: as in the class, without what only objects have.
local function function_rows(all, rows, order)
  for _, row in ipairs(order and ordered(rows, order) or rows) do
    all[#all + 1] = row
  end
  return all
end

-- Defines the class and its function (y_true, y_pred, options). `rows` are the options of both;
-- `order`: the class' positions where Keras does not append reduction, name and dtype; `first`:
-- options that only the function has, before the others; `targets`: see Loss.targets.
local function define(name, targets, rows, formula, default_name, order, first)
  local own = table.move(rows, 1, #rows, 1, {})
  own[#own + 1] = loss_base.REDUCTION
  own[#own + 1] = { "name", "string", default_name or class.snake(name), "shown in logs" }
  own[#own + 1] = loss_base.DTYPE
  own = order and ordered(own, order) or own
  local c = object.class(name, Loss, { rows = own })
  c.targets = targets
  function c:call(y_true, y_pred, weight, mask)
    return formula(y_true, y_pred, self, weight, mask)
  end
  classes[name] = c
  local snake = class.snake(name)
  local all = { { "y_true", "tensor", check.required, "targets" },
    { "y_pred", "tensor", check.required, "predictions" } }
  table.move(first or {}, 1, #(first or {}), 3, all)
  -- the function with options of its own has the others in the order of `rows`
  local args = check.args(snake, function_rows(all, rows, not first and order))
  local function fn(...)
    local o = args:call(...)
    return (formula(tensors.of(o.y_true), tensors.floating(o.y_pred), o))
  end
  functions[snake] = object.name_function(fn, snake, args)
  c.fn = fn
  return c
end

--- Mean of squared differences. Aliases "mse", "MSE".
--     tide.losses.MeanSquaredError()({ { 1, 2 } }, { { 1, 4 } })   --> 2
define("MeanSquaredError", "values", {}, F.mean_squared_error)
--- Mean of absolute differences. Aliases "mae", "MAE".
--     tide.losses.MeanAbsoluteError()({ { 1, 2 } }, { { 1, 4 } })   --> 1
define("MeanAbsoluteError", "values", {}, F.mean_absolute_error)
--- 100 |y_true - y_pred| / |y_true|. Aliases "mape", "MAPE".
--     tide.losses.MeanAbsolutePercentageError()({ { 1, 2 } }, { { 1, 4 } })   --> 50
define("MeanAbsolutePercentageError", "values", {}, F.mean_absolute_percentage_error)
--- Mean of (log(y_true + 1) - log(y_pred + 1))^2. Aliases "msle", "MSLE".
--     tide.losses.MeanSquaredLogarithmicError()({ { 1, 2 } }, { { 1, 4 } })   --> 0.13047
define("MeanSquaredLogarithmicError", "values", {}, F.mean_squared_logarithmic_error)
--- Quadratic within `delta`, linear outside (Huber 1964).
--     tide.losses.Huber()({ { 1, 2 } }, { { 1, 4 } })   --> 0.75
define("Huber", "values", { { "delta", "number", 1.0, "where the quadratic part ends" } }, F.huber,
  "huber_loss")
--- log(cosh(y_pred - y_true)).
--     tide.losses.LogCosh()({ { 1, 2 } }, { { 1, 4 } })   --> 0.6625
define("LogCosh", "values", {}, F.log_cosh)
--- y_true log(y_true / y_pred). Aliases "kld", "KLD".
--     tide.losses.KLDivergence()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.35667
define("KLDivergence", "one_hot", {}, F.kl_divergence)
--- y_pred - y_true log(y_pred).
--     tide.losses.Poisson()({ { 1, 2 } }, { { 1, 4 } })   --> 1.1137
define("Poisson", "values", {}, F.poisson)
--- -cos of the angle between targets and predictions.
--     tide.losses.CosineSimilarity()({ { 1, 2 } }, { { 1, 4 } })   --> -0.97619
define("CosineSimilarity", "vectors", { AXIS }, F.cosine_similarity)
--- max(1 - y_true y_pred, 0); targets -1 and 1, or 0 and 1.
--     tide.losses.Hinge()({ { -1, 1 } }, { { -0.5, 0.5 } })   --> 0.5
define("Hinge", "margins", {}, F.hinge)
--- The square of the hinge.
--     tide.losses.SquaredHinge()({ { -1, 1 } }, { { -0.5, 0.5 } })   --> 0.25
define("SquaredHinge", "margins", {}, F.squared_hinge)
--- max(best wrong - right + 1, 0); one-hot targets.
--     tide.losses.CategoricalHinge()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.5
define("CategoricalHinge", "one_hot", {}, F.categorical_hinge)
--- Cross-entropy of independent probabilities; targets 0 and 1. Aliases "bce", "BCE".
--     tide.losses.BinaryCrossentropy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.28991
define("BinaryCrossentropy", "binary", { LOGITS, SMOOTHING, AXIS }, F.binary_crossentropy)
--- Focal loss of independent probabilities (Lin et al. 2017).
--     tide.losses.BinaryFocalCrossentropy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.020513
define("BinaryFocalCrossentropy", "binary", {
  { "apply_class_balancing", "bool", false, "weigh the classes by alpha and 1 - alpha" },
  { "alpha", "number", 0.25, "weight of class 1" },
  { "gamma", "number", 2.0, "how much easy samples are discounted" },
  LOGITS, SMOOTHING, AXIS,
}, F.binary_focal_crossentropy)
--- Cross-entropy of one-hot targets, or of distributions.
--     tide.losses.CategoricalCrossentropy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.25131
define("CategoricalCrossentropy", "one_hot", { LOGITS, SMOOTHING, AXIS },
  F.categorical_crossentropy)
--- Focal loss of one-hot targets (Lin et al. 2017).
--     tide.losses.CategoricalFocalCrossentropy()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.0031026
define("CategoricalFocalCrossentropy", "one_hot", {
  { "alpha", "number", 0.25, "weight" },
  { "gamma", "number", 2.0, "how much easy samples are discounted" },
  LOGITS, SMOOTHING, AXIS,
}, F.categorical_focal_crossentropy)
--- (1 - p^q) / q with labels from 1 (Zhang and Sabuncu 2018).
--     tide.losses.CategoricalGeneralizedCrossEntropy()({ 2 }, { { 0.2, 0.8 } })   --> 0.21115
define("CategoricalGeneralizedCrossEntropy", "labels",
  { { "q", "number", 0.5, "0: cross-entropy, 1: mean absolute error", above = 0, max = 1 },
    ZERO_BASED },
  F.categorical_generalized_cross_entropy, nil, "q reduction name dtype zero_based")
--- Cross-entropy of labels from 1. A label out of range is an error; 0 is allowed under a mask, a
--- zero weight or `ignore_class`.
--     tide.losses.SparseCategoricalCrossentropy()({ 2 }, { { 0.2, 0.8 } })   --> 0.22314
define("SparseCategoricalCrossentropy", "labels", {
  LOGITS,
  loss_base.IGNORE_CLASS,
  AXIS,
  ZERO_BASED,
}, F.sparse_categorical_crossentropy, nil,
  "from_logits ignore_class reduction axis name dtype zero_based")
--- 1 - 2 |A n B| / (|A| + |B|) (Dice 1945). `axis`: axes that are summed over, all by default.
--     tide.losses.Dice()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.26316
define("Dice", false, { { "axis", "axes", nil, "axes to sum over" } }, F.dice, nil,
  "reduction name axis dtype")
--- 1 - overlap with false positives and negatives weighed by alpha and beta (Salehi et al. 2017).
--     tide.losses.Tversky()({ { 0, 1 } }, { { 0.2, 0.7 } })   --> 0.26316
define("Tversky", false, {
  { "alpha", "number", 0.5, "weight of false positives" },
  { "beta", "number", 0.5, "weight of false negatives" },
  { "axis", "axes", nil, "axes to sum over" },
}, F.tversky, nil, "alpha beta reduction name axis dtype")
--- Circle loss (Sun et al. 2020): labels of any numbering, predictions of unit length.
--     tide.losses.Circle()({ 1, 1 }, { { 1, 0 }, { 0.6, 0.8 } })   --> 0
define("Circle", false, {
  { "remove_diagonal", "bool", true, "a sample is no pair with itself" },
  { "gamma", "number", 80.0, "scale" },
  { "margin", "number", 0.4, "relaxation" },
}, F.circle, nil, "gamma margin remove_diagonal reduction name dtype",
  { { "ref_labels", "tensor", nil, "labels of the other sides of the pairs" },
    { "ref_embeddings", "tensor", nil, "their vectors" } })
--- Connectionist temporal classification (Graves et al. 2006): logits (batch, frames, channels),
--- labels (batch, length).
--     tide.losses.CTC()({ { 1 } }, { { { 0, 1 }, { 1, 0 } } })   --> 0.21892
define("CTC", false, {}, F.ctc)

local aliases = {
  mse = "mean_squared_error", MSE = "mean_squared_error", mae = "mean_absolute_error",
    MAE = "mean_absolute_error",
  mape = "mean_absolute_percentage_error", MAPE = "mean_absolute_percentage_error",
  msle = "mean_squared_logarithmic_error", MSLE = "mean_squared_logarithmic_error",
  kld = "kl_divergence", KLD = "kl_divergence", kullback_leibler_divergence = "kl_divergence",
  bce = "binary_crossentropy", BCE = "binary_crossentropy", logcosh = "log_cosh",
    cosine_proximity = "cosine_similarity",
}

local class_of = {}
for _, c in pairs(classes) do
  class_of[c.fn] = c
end

--- The class whose formula a function of this namespace is, or nil.
local function class_behind(f)
  return class_of[f]
end

--- A loss object from a name, `{ "name", option = ... }`, an object, a class, a configuration, or a
--- function of (y_true, y_pred).
--- @param v any
--- @return table loss
local function get(v)
  local found = registry.resolve("loss", v, "loss")
  if type(found) == "function" then
    local c = class_of[found]
    local name = type(v) == "string" and v or nil
    if c then
      return c(name and { name = name } or {})
    end
    return loss_base.LossFunctionWrapper { found,
      name = name or object.name_of(found) or "function" }
  elseif type(found) ~= "table" or not getmetatable(found) or not getmetatable(found).__call then
    errors.raise("loss", "takes a loss (got %s)", check.show(v))
  end
  return found
end

local members = { Loss = Loss }
for _, group in ipairs { classes, functions } do
  for name, v in pairs(group) do
    members[name] = v
  end
end

return object.namespace("tide.losses", "loss", { members = members, aliases = aliases, get = get,
  bases = { Loss = true },
  extra = { class_of = class_behind, LossFunctionWrapper = loss_base.LossFunctionWrapper } })

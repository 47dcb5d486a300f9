--- Formulas of the accuracy and correlation metrics: (y_true, y_pred, o) -> one value per sample
--- (Keras' accuracy_metrics.py, correlation_metrics.py). Labels count from 1 unless `o.zero_based`.
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"

local F = {}
local pair = tensors.pair
local LAST = { axis = -1 }

local function matches(a, b)
  return ops.cast(ops.equal(a, b), "float32")
end

function F.accuracy(y_true, y_pred)
  y_true, y_pred = pair(tensors.of(y_true, y_pred.dtype), y_pred, "accuracy")
  return matches(y_true, y_pred)
end

function F.binary_accuracy(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "binary_accuracy")
  return matches(y_true, ops.cast(ops.greater(y_pred, o.threshold or 0.5), y_true.dtype))
end

function F.categorical_accuracy(y_true, y_pred)
  return core.ops.categorical_accuracy_(y_pred, y_true)
end

-- Labels with one axis less than the predictions.
local function flat_labels(y_true, y_pred, owner)
  if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 then
    y_true = tensors.hold(ops.squeeze(y_true, LAST), y_true.dtype)
  end
  if y_true.ndim ~= y_pred.ndim - 1 then
    errors.raise(owner, "labels need one axis less than predictions (y_true %s, y_pred %s)",
      tostring(y_true.shape), tostring(y_pred.shape))
  end
  if tensors.is_float(y_true.dtype) then
    y_true = tensors.hold(ops.cast(y_true, "int64"), "int64")
  end
  return y_true
end

local FROM_0, FROM_1 = { base = 0 }, { base = 1 }

function F.sparse_categorical_accuracy(y_true, y_pred, o)
  y_true = flat_labels(y_true, y_pred, "sparse_categorical_accuracy")
  local values = core.ops.sparse_accuracy_(y_pred, y_true, o and o.zero_based and FROM_0 or FROM_1)
  if values.ndim > 1 and values.shape[-1] == 1 then
    values = ops.squeeze(values, LAST)
  end
  return values
end

function F.top_k_categorical_accuracy(y_true, y_pred, o)
  local labels = tensors.hold(ops.argmax(y_true, LAST), "int64")
  return core.ops.top_k_accuracy_(y_pred, tensors.of(labels, "int64"), { k = o.k or 5 })
end

function F.sparse_top_k_categorical_accuracy(y_true, y_pred, o)
  y_true = flat_labels(y_true, y_pred, "sparse_top_k_categorical_accuracy")
  if o.from_sorted_ids then
    local k = math.min(o.k or 5, y_pred.shape[-1])
    local first = y_pred[{ "...", { 1, k } }]
    local hit = ops.equal(ops.expand_dims(ops.cast(y_true, first.dtype), LAST), first)
    return ops.max(ops.cast(hit, "float32"), LAST)
  end
  return core.ops.top_k_accuracy_(y_pred, y_true, { k = o.k or 5, base = o.zero_based and 0 or 1 })
end

local function float_pair(y_true, y_pred, owner)
  y_pred = tensors.floating(y_pred)
  return pair(tensors.of(y_true, y_pred.dtype), y_pred, owner)
end

function F.pearson_correlation(y_true, y_pred, o)
  y_true, y_pred = float_pair(y_true, y_pred, "pearson_correlation")
  local axis = o.axis or -1
  local keep = { axis = axis, keepdims = true }
  local a, b = ops.subtract(y_true, ops.mean(y_true, keep)),
    ops.subtract(y_pred, ops.mean(y_pred, keep))
  a, b = ops.divide(a, ops.std(a, keep)), ops.divide(b, ops.std(b, keep))
  return ops.mean(ops.multiply(a, b), { axis = axis })
end

-- Lin 1989, as Keras computes it.
function F.concordance_correlation(y_true, y_pred, o)
  y_true, y_pred = float_pair(y_true, y_pred, "concordance_correlation")
  local axis = o.axis or -1
  local keep = { axis = axis, keepdims = true }
  local mean_true, mean_pred = ops.mean(y_true, keep), ops.mean(y_pred, keep)
  local var_true = ops.var(ops.subtract(y_true, mean_true), keep)
  local var_pred = ops.var(ops.subtract(y_pred, mean_pred), keep)
  local covar = ops.multiply(ops.subtract(y_true, mean_pred), ops.subtract(y_pred, mean_pred))
  local norm = ops.add(ops.add(var_true, var_pred), ops.square(ops.subtract(mean_true, mean_pred)))
  return ops.mean(ops.divide(ops.multiply(covar, 2.0), ops.add(norm, 1e-7)), { axis = axis })
end

function F.root_mean_squared_error(y_true, y_pred)
  y_true, y_pred = float_pair(y_true, y_pred, "root_mean_squared_error")
  return ops.square(ops.subtract(y_pred, y_true))
end

return F

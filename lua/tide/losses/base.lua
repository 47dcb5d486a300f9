--- The base of all losses: conversion, masks, sample weights, reduction (Keras'
--- keras/src/losses/loss.py).
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local origin = require "tide.origin"
local tensors = require "tide.training.tensors"

local ops = require "tide.ops"
local divide_no_nan, fit_weight = tensors.divide_no_nan, tensors.fit_weight

local base = {}

base.REDUCTION = { "reduction", "enum", "sum_over_batch_size", "how values become one number",
  of = "sum_over_batch_size|sum|mean|mean_with_sample_weight|none", none = true }
-- Options that losses and metrics share.
base.AXIS = { "axis", "axis", -1, "axis of the classes or features" }
base.LOGITS = { "from_logits", "bool", false, "predictions are before the softmax or sigmoid" }
base.SMOOTHING = { "label_smoothing", "number", 0.0, "how far targets move toward the uniform",
  min = 0, max = 1 }
base.ZERO_BASED = { "zero_based", "bool", false, "labels count from 0", own = true }
base.IGNORE_CLASS = { "ignore_class", "int", nil, "label that does not count" }
base.DTYPE = { "dtype", "dtype", nil, "dtype that predictions are cast to" }

--- The base class of losses. Own ones define `call(self, y_true, y_pred)`, which returns one value
--- per sample and, if it likes, a mask as second result; `targets` says what `y_true` is: "values",
--- "binary", "margins", "one_hot" or "labels".
---
---     local Abs = tide.losses.Loss:extend("Abs", {
---       call = function(self, y_true, y_pred) return (y_pred - y_true):abs() end,
---     })
--- @class tide.Loss
local Loss = object.class("Loss", nil, {
  kind = "loss",
  rows = {},
  named = { base.REDUCTION, { "name", "string", nil, "shown in logs" }, base.DTYPE },
  init = function(self)
    self.name = self.name or object.auto_name(class.snake(self:_class_name()))
    self.reduction = self.reduction or "none"
  end,
  methods = { __call = {
    { "y_true", "data", check.required, "targets" },
    { "y_pred", "data", check.required, "predictions" },
    { "sample_weight", "any", nil, "one weight per sample, or per value" },
    { "mask", "any", nil, "what is false does not count" },
  } },
})
base.Loss = Loss

--- What the targets are: numbers of the predictions' shape ("values"), probabilities 0 to 1
--- ("binary"), -1 and 1 or 0 and 1 ("margins"), directions ("vectors"), one number per class
--- ("one_hot"), or class numbers ("labels"); false: anything. Targets are checked by it, and
--- class_weight finds the classes by it.
Loss.targets = false

-- A mask's weights: valid entries get total/valid, so that a mean over the batch is a mean over the
-- valid ones.
local function mask_weights(mask, dtype, reduction)
  local m = ops.cast(mask, dtype)
  if reduction == "mean" or reduction == "sum_over_batch_size" then
    local valid = ops.sum(m)
    return ops.multiply(m, divide_no_nan(ops.cast(core.tensor(mask.size), dtype), valid))
  end
  return m
end

--- Folds a mask into sample weights (Keras' apply_mask). Either may be nil.
function base.apply_mask(sample_weight, mask, dtype, reduction)
  if mask == nil then
    return sample_weight
  end
  local m = mask_weights(mask, dtype, reduction)
  if sample_weight == nil then
    return m
  end
  local w = tensors.of(sample_weight, dtype, "sample_weight")
  if w.ndim < m.ndim then
    w = fit_weight(w, m.shape)
  else
    m = fit_weight(m, w.shape, "mask")
  end
  return ops.multiply(w, m)
end

--- Values per sample to the loss (Keras' reduce_weighted_values).
function base.reduce(values, sample_weight, mask, reduction)
  if mask ~= nil or sample_weight ~= nil then
    local dtype = values.dtype
    sample_weight = base.apply_mask(sample_weight, mask, dtype, reduction)
    sample_weight = fit_weight(tensors.of(sample_weight, dtype, "sample_weight"), values.shape)
    values = ops.multiply(values, sample_weight)
  end
  if reduction == "none" or values.ndim == 0 then
    return values
  elseif reduction == "sum" then
    return ops.sum(values)
  elseif reduction == "mean_with_sample_weight" and sample_weight ~= nil then
    return divide_no_nan(ops.sum(values), ops.sum(ops.broadcast_to(sample_weight, values.shape)))
  elseif values.size == 0 then
    return ops.sum(values)
  end
  return ops.mean(values)
end

local HALF = { float16 = true, bfloat16 = true }

--- The loss of a batch. That of predictions in a half is computed in float32.
--- @param y_true any targets
--- @param y_pred any predictions
--- @param sample_weight any|nil one weight per sample, or of the values' shape or its first axes
--- @param mask any|nil bool per value; what is false does not count
function Loss:__call(y_true, y_pred, sample_weight, mask)
  if not core.is_tensor(y_pred) or self.dtype or HALF[y_pred.dtype] then
    y_pred = tensors.of(y_pred, self.dtype or core.is_tensor(y_pred) and "float32" or nil, "y_pred")
    if core.is_tensor(y_true) and HALF[y_true.dtype] and not HALF[y_pred.dtype] then
      y_true = ops.cast(y_true, y_pred.dtype)
    end
  end
  if not core.is_tensor(y_true) then
    y_true = tensors.of(y_true, nil, "y_true")
  end
  if (sample_weight ~= nil or mask ~= nil) and tensors.numbers[self.targets] then
    y_true, y_pred = tensors.per_place(y_true, y_pred)
  end
  local values, own = self:call(y_true, y_pred, sample_weight, mask)
  if not core.is_tensor(values) then
    values = self:_as_tensor(values)
  end
  if own ~= nil then
    mask = mask ~= nil and ops.logical_and(mask, own) or own
  end
  return base.reduce(values, sample_weight, mask, self.reduction)
end

-- What errors call the loss: its name, and the shapes that it was given where the call stands at
-- `level` of the stack.
function Loss:_label(level)
  return self.name .. (level and tensors.frame_shapes(level + 1) or "")
end
errors.layer_frames[origin.of(Loss.__call)] = true

function Loss:_as_tensor(values)
  if type(values) ~= "number" then
    errors.raise(
      self.name, "a loss must return a tensor with one value per sample (got %s)",
        check.show(values))
  end
  return core.tensor(values)
end

--- One value per sample; losses define it.
function Loss:call()
  errors.raise(self:_class_name(), "a loss defines call(self, y_true, y_pred)")
end

--- A loss around a plain function of (y_true, y_pred).
local Wrapper = object.class(
  "LossFunctionWrapper", Loss,
    { rows = { { "fn", "callable", check.required,
    "function of (y_true, y_pred)" } } })
base.LossFunctionWrapper = Wrapper

function Wrapper:call(y_true, y_pred)
  return self.fn(y_true, y_pred)
end

return base

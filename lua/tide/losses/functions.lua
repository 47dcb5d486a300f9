--- The formulas of all losses but CTC, one value per sample. Each takes (y_true, y_pred, o),
--- tensors and a table of options
-- that is the loss object itself or the checked options of the function. Sources: Keras'
-- keras/src/losses/losses.py, whose JAX backend decides; papers are named where a formula is one.
local core = require "tide.core"
local errors = require "tide.errors"
local tensors = require "tide.training.tensors"

local ops = require "tide.ops"
local F = {}

local EPSILON = 1e-7
local LAST = { axis = -1 }
local LAST_KEEP = { axis = -1, keepdims = true }

-- Targets in the predictions' dtype, both of one rank; `owner` names the loss in errors.
local function pair(y_true, y_pred, owner)
  if not tensors.is_float(y_pred.dtype) then
    y_pred = ops.cast(y_pred, "float32")
  end
  if y_true.dtype ~= y_pred.dtype then
    y_true = tensors.hold(ops.cast(y_true, y_pred.dtype), y_pred.dtype)
  end
  if y_true.ndim ~= y_pred.ndim then
    y_true, y_pred = tensors.pair(y_true, y_pred, owner)
  end
  return y_true, y_pred
end

local function axis_of(o)
  local a = o.axis or -1
  return a == -1 and LAST or { axis = a }
end

-- ---- regression ----

function F.mean_squared_error(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "mean_squared_error")
  if y_pred.ndim > 0 and y_pred.size > 0 and y_pred.shape == y_true.shape then
    return core.ops.squared_error_(y_pred, y_true)
  end
  return ops.mean(ops.square(ops.subtract(y_pred, y_true)), LAST)
end

function F.mean_absolute_error(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "mean_absolute_error")
  return ops.mean(ops.abs(ops.subtract(y_true, y_pred)), LAST)
end

function F.mean_absolute_percentage_error(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "mean_absolute_percentage_error")
  local scale = ops.maximum(ops.abs(y_true), EPSILON)
  return ops.multiply(ops.mean(ops.abs(ops.divide(ops.subtract(y_true, y_pred), scale)), LAST),
    100.0)
end

function F.mean_squared_logarithmic_error(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "mean_squared_logarithmic_error")
  local a = ops.log(ops.add(ops.maximum(y_pred, EPSILON), 1.0))
  local b = ops.log(ops.add(ops.maximum(y_true, EPSILON), 1.0))
  return ops.mean(ops.square(ops.subtract(a, b)), LAST)
end

-- Huber 1964.
function F.huber(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "huber")
  local delta = o.delta
  local e = ops.subtract(y_pred, y_true)
  local a = ops.abs(e)
  local inside = ops.multiply(ops.square(e), 0.5)
  local outside = ops.subtract(ops.multiply(a, delta), 0.5 * delta * delta)
  return ops.mean(ops.where(ops.less_equal(a, delta), inside, outside), LAST)
end

-- log(cosh(x)) = x + softplus(-2x) - log 2
function F.log_cosh(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "log_cosh")
  local x = ops.subtract(y_pred, y_true)
  return ops.mean(ops.subtract(ops.add(x, ops.softplus(ops.multiply(x, -2.0))), math.log(2)), LAST)
end

function F.kl_divergence(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "kl_divergence")
  y_true = ops.clip(y_true, EPSILON, 1.0)
  y_pred = ops.clip(y_pred, EPSILON, 1.0)
  return ops.sum(ops.multiply(y_true, ops.log(ops.divide(y_true, y_pred))), LAST)
end

function F.poisson(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "poisson")
  return ops.mean(ops.subtract(y_pred, ops.multiply(y_true, ops.log(ops.add(y_pred, EPSILON)))),
    LAST)
end

-- x / |x|, 0 where |x| is below epsilon (Keras' nn.normalize)
local function unit(x, o)
  return ops.normalize(x, { axis = axis_of(o).axis, order = 2, epsilon = EPSILON })
end

--- Cosine of the angle, +1 for equal directions; the loss is its negative.
function F.cosine(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "cosine_similarity")
  if y_pred.ndim == 0 then
    errors.raise("cosine_similarity", "targets and predictions must be vectors (got two numbers)")
  end
  return ops.sum(ops.multiply(unit(y_true, o), unit(y_pred, o)), axis_of(o))
end

function F.cosine_similarity(y_true, y_pred, o)
  return ops.negative(F.cosine(y_true, y_pred, o))
end

-- ---- hinge ----

-- Targets 0 and 1 become -1 and 1; others stay.
local function hinge_targets(y_true)
  local binary = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)),
    { keepdims = true })
  return ops.where(binary, ops.subtract(ops.multiply(y_true, 2.0), 1.0), y_true)
end

local function margins(y_true, y_pred, owner)
  y_true, y_pred = pair(y_true, y_pred, owner)
  return ops.maximum(ops.subtract(1.0, ops.multiply(hinge_targets(y_true), y_pred)), 0.0)
end

function F.hinge(y_true, y_pred)
  return ops.mean(margins(y_true, y_pred, "hinge"), LAST)
end

function F.squared_hinge(y_true, y_pred)
  return ops.mean(ops.square(margins(y_true, y_pred, "squared_hinge")), LAST)
end

function F.categorical_hinge(y_true, y_pred)
  y_true, y_pred = pair(y_true, y_pred, "categorical_hinge")
  local pos = ops.sum(ops.multiply(y_true, y_pred), LAST)
  local neg = ops.max(ops.multiply(ops.subtract(1.0, y_true), y_pred), LAST)
  return ops.maximum(ops.add(ops.subtract(neg, pos), 1.0), 0.0)
end

-- ---- cross-entropies ----

local function smooth(y_true, amount, share)
  if amount and amount > 0 then
    return ops.add(ops.multiply(y_true, 1.0 - amount), amount * share)
  end
  return y_true
end

local LOGITS = { from_logits = true }

function F.binary_crossentropy(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "binary_crossentropy")
  y_true = smooth(y_true, o.label_smoothing, 0.5)
  local values
  if o.from_logits then
    values = ops.binary_crossentropy(y_true, y_pred, LOGITS)
  else
    values = ops.binary_crossentropy(y_true, y_pred)
  end
  return ops.mean(values, axis_of(o))
end

-- Lin et al. 2017 (focal loss), for independent probabilities.
function F.binary_focal_crossentropy(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "binary_focal_crossentropy")
  y_true = smooth(y_true, o.label_smoothing, 0.5)
  if o.from_logits then
    y_pred = ops.sigmoid(y_pred)
  end
  local bce = ops.binary_crossentropy(y_true, y_pred)
  local not_true = ops.subtract(1.0, y_true)
  local p_t = ops.add(ops.multiply(y_true, y_pred),
    ops.multiply(not_true, ops.subtract(1.0, y_pred)))
  local values = ops.multiply(ops.power(ops.subtract(1.0, p_t), o.gamma), bce)
  if o.apply_class_balancing then
    values = ops.multiply(ops.add(ops.multiply(y_true, o.alpha),
      ops.multiply(not_true, 1 - o.alpha)), values)
  end
  return ops.mean(values, axis_of(o))
end

local function check_classes(y_true, y_pred, owner)
  local a, b = y_true.shape, y_pred.shape
  local same = #a == #b
  for i = 1, #a do
    same = same and a[i] == b[i]
  end
  if not same then
    errors.raise(owner, "targets and predictions have different shapes (y_true %s, y_pred %s)%s",
      tostring(a), tostring(b),
        #a == #b - 1 and "; labels that are numbers need sparse_categorical_crossentropy" or "")
  end
end

function F.categorical_crossentropy(y_true, y_pred, o)
  check_classes(y_true, y_pred, "categorical_crossentropy")
  y_true, y_pred = pair(y_true, y_pred, "categorical_crossentropy")
  if o.label_smoothing and o.label_smoothing > 0 then
    y_true = smooth(y_true, o.label_smoothing, 1.0 / y_true.shape[o.axis or -1])
  end
  local axis = o.axis or -1
  if axis == -1 then
    if o.from_logits then
      return ops.categorical_crossentropy(y_true, y_pred, LOGITS)
    end
    return ops.categorical_crossentropy(y_true, y_pred)
  end
  return ops.categorical_crossentropy(
    y_true, y_pred, { from_logits = o.from_logits or false, axis = axis })
end

-- Lin et al. 2017, for classes that exclude each other.
function F.categorical_focal_crossentropy(y_true, y_pred, o)
  check_classes(y_true, y_pred, "categorical_focal_crossentropy")
  y_true, y_pred = pair(y_true, y_pred, "categorical_focal_crossentropy")
  if o.label_smoothing and o.label_smoothing > 0 then
    y_true = smooth(y_true, o.label_smoothing, 1.0 / y_true.shape[o.axis or -1])
  end
  local axis = o.axis or -1
  if o.from_logits then
    y_pred = ops.softmax(y_pred, { axis = axis })
  end
  local total = ops.sum(y_pred, axis == -1 and LAST_KEEP or { axis = axis, keepdims = true })
  local p = ops.clip(ops.divide(y_pred, total), EPSILON, 1.0 - EPSILON)
  local cce = ops.negative(ops.multiply(y_true, ops.log(p)))
  local weight = ops.multiply(ops.power(ops.subtract(1.0, p), o.gamma), o.alpha)
  return ops.sum(ops.multiply(weight, cce), { axis = axis })
end

--- Labels as integers, a trailing axis of length 1 removed.
function F.labels(y_true, y_pred)
  if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 then
    y_true = tensors.hold(ops.squeeze(y_true, LAST), y_true.dtype)
  end
  if tensors.is_float(y_true.dtype) then
    y_true = tensors.hold(ops.cast(y_true, "int64"), "int64")
  end
  return y_true
end

local function first_bad(y_true, low, high, hide, ignore)
  local bad = ops.logical_or(ops.less(y_true, low), ops.greater(y_true, high))
  if hide ~= nil then
    bad = ops.logical_and(bad, ops.not_equal(hide, 0))
  end
  if ignore ~= nil then
    bad = ops.logical_and(bad, ops.not_equal(y_true, ignore))
  end
  local flat = ops.reshape(ops.cast(bad, "int32"), { -1 })
  if flat.size == 0 or tensors.number(ops.max(flat)) == 0 then
    return nil
  end
  local at = tensors.number(ops.argmax(flat))
  return at, ops.reshape(y_true, { -1 })[at]
end

-- The error of a label out of range: first position, range, and how to shift labels that look
-- 0-based.
local function refuse_labels(y_true, classes, base, hide, ignore, owner)
  local low, high = base, base + classes - 1
  if y_true.dtype == "bool" then
    errors.raise(owner, "labels are numbers of classes (got bool)")
  end
  local at, value = first_bad(y_true, low, high, hide, ignore)
  if not at then
    return
  end
  local hint = ""
  if base == 0 and value == classes and tensors.number(ops.min(y_true)) > 0 then
    hint = "; this loss counts classes from 0 (zero_based = true, as in models that Keras saved): \z
      use y - 1"
  elseif base == 1 and tensors.number(ops.min(y_true)) == 0 then
    if tensors.number(ops.max(y_true)) < classes then
      hint =
        "; the labels look 0-based: Tide counts classes from 1, so use y + 1, or zero_based = \z
        true in the loss"
    else
      hint = "; 0 means 'none' and needs a mask, a zero weight or ignore_class = 0"
    end
  end
  local place, rest = {}, at - 1
  for i = y_true.ndim, 1, -1 do
    place[i], rest = rest % y_true.shape[i] + 1, rest // y_true.shape[i]
  end
  errors.raise(owner, "label %d at position %s is out of range (expected %d to %d)%s", value,
    #place > 1 and "[" .. table.concat(place, ", ") .. "]" or at, low, high, hint)
end

-- Labels have one axis less than the predictions: refuses one-hot rows, and predictions that stand
-- where the labels should.
local function refuse_rows(y_true, y_pred, owner)
  if y_true.ndim == y_pred.ndim and y_true.ndim > 0 then
    errors.raise(owner, "takes one label per sample (got y_true %s for y_pred %s); one-hot rows \z
      go with categorical_crossentropy, or become labels by y:argmax(-1)", tostring(y_true.shape),
      tostring(y_pred.shape))
  elseif y_true.ndim > y_pred.ndim then
    errors.raise(owner, "y_true has more axes than y_pred (got %s and %s); the true labels come \z
      first, then the predictions", tostring(y_true.shape), tostring(y_pred.shape))
  end
end

local function check_range(y_true, classes, o, hide, owner)
  local base = o.zero_based and 0 or 1
  if not classes then
    errors.raise(owner, "y_pred has no axis of classes")
  elseif y_true.dtype == "bool" then
    errors.raise(owner, "labels are numbers of classes (got bool)")
  end
  if y_true.size > 0 and (tensors.number(ops.min(y_true)) < base
    or tensors.number(ops.max(y_true)) > base + classes - 1) then
    refuse_labels(y_true, classes, base, hide, o.ignore_class, owner)
  end
end

-- Zhang and Sabuncu 2018.
function F.categorical_generalized_cross_entropy(y_true, y_pred, o)
  y_true = F.labels(y_true, y_pred)
  check_range(y_true, y_pred.shape[-1], o, nil, "categorical_generalized_cross_entropy")
  local hot = ops.one_hot(
    y_true, y_pred.shape[-1], { base = o.zero_based and 0 or 1, dtype = y_pred.dtype })
  local p = ops.sum(ops.multiply(y_pred, hot), LAST)
  return ops.divide(ops.subtract(1.0, ops.power(p, o.q)), o.q)
end

-- What hides labels: sample weights and masks folded into one weight per label, or nil where the
-- shapes do not allow it.
local function hiding(y_true, weight, mask)
  local w = weight ~= nil
    and require("tide.losses.base").apply_mask(weight, mask, "float32", "sum") or mask
  if w == nil then
    return nil
  end
  w = tensors.of(w, "float32", "sample_weight")
  if w.ndim == y_true.ndim + 1 and w.shape[-1] == 1 then
    w = ops.squeeze(w, LAST)
  end
  if w.ndim > y_true.ndim then
    return nil
  end
  while w.ndim < y_true.ndim do
    w = ops.expand_dims(w, LAST)
  end
  return ops.broadcast_to(ops.cast(ops.not_equal(w, 0), "float32"), y_true.shape)
end

--- Keras' sparse_categorical_crossentropy. `weight`, `mask`: what hides labels that are 0.
function F.sparse_categorical_crossentropy(y_true, y_pred, o, weight, mask)
  y_true = F.labels(y_true, y_pred)
  local options = { from_logits = o.from_logits or false, axis = o.axis or -1,
    base = o.zero_based and 0 or 1, ignore_class = o.ignore_class }
  local hide
  if weight ~= nil or mask ~= nil then
    hide = hiding(y_true, weight, mask)
  end
  local ok, values = pcall(core.ops.sparse_cross_entropy_, y_pred, y_true, hide, options)
  if not ok then
    if y_true.ndim == y_pred.ndim - 1 then
      refuse_labels(y_true, y_pred.shape[options.axis], options.base, hide, o.ignore_class,
        "sparse_categorical_crossentropy")
    end
    if not y_pred.shape[options.axis] then
      errors.raise("sparse_categorical_crossentropy", "y_pred has no axis of classes (shape %s)",
        tostring(y_pred.shape))
    end
    refuse_rows(y_true, y_pred, "sparse_categorical_crossentropy")
    error(values, 0)
  end
  if o.ignore_class ~= nil then
    return values, ops.not_equal(y_true, o.ignore_class)
  end
  return values
end

--- Refuses labels out of range in all targets of a fit, so that positions are those of a person's
--- own data. `y_pred`: predictions of any batch; `weight`: sample weights, which may hide labels.
function F.check_labels(y_true, y_pred, o, weight)
  y_true = F.labels(y_true, y_pred)
  check_range(y_true, y_pred.shape[o.axis or -1], o,
    weight ~= nil and hiding(y_true, weight) or nil, o.name)
end

--- Connectionist temporal classification (Graves et al. 2006). Labels count the channels that are
--- not the blank (the first channel), from 1; 0 is padding.
function F.ctc(y_true, y_pred)
  if y_true.ndim ~= 2 then
    errors.raise("ctc",
      "y_true has the wrong shape (expected [batch, length], got %s)", tostring(y_true.shape))
  elseif y_pred.ndim ~= 3 then
    errors.raise("ctc", "y_pred has the wrong shape (expected [batch, frames, channels], got %s)",
      tostring(y_pred.shape))
  end
  local labels = ops.cast(y_true, "int64")
  local batch, frames = y_pred.shape[1], y_pred.shape[2]
  local lengths = ops.sum(ops.cast(ops.not_equal(labels, 0), "int64"), { axis = 2 })
  return ops.ctc_loss(labels, y_pred, lengths, ops.full({ batch }, frames, { dtype = "int64" }))
end

-- ---- overlaps ----

local function overlap_axes(o)
  if o.axis == nil then
    return nil
  end
  return { axis = o.axis }
end

-- Dice 1945; 1 - 2|A n B| / (|A| + |B|)
function F.dice(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "dice")
  local a = overlap_axes(o)
  local both = ops.multiply(ops.sum(ops.multiply(y_true, y_pred), a), 2.0)
  local total = ops.add(ops.add(ops.sum(y_true, a), ops.sum(y_pred, a)), EPSILON)
  return ops.subtract(1.0, ops.divide(both, total))
end

-- Salehi et al. 2017.
function F.tversky(y_true, y_pred, o)
  y_true, y_pred = pair(y_true, y_pred, "tversky")
  local a = overlap_axes(o)
  local both = ops.sum(ops.multiply(y_true, y_pred), a)
  local fp = ops.sum(ops.multiply(ops.subtract(1.0, y_pred), y_true), a)
  local fn = ops.sum(ops.multiply(y_pred, ops.subtract(1.0, y_true)), a)
  local total = ops.add(ops.add(both, ops.multiply(fp, o.alpha)),
    ops.add(ops.multiply(fn, o.beta), EPSILON))
  return ops.subtract(1.0, ops.divide(both, total))
end

-- ---- metric learning ----

local NEVER = -1e30 -- instead of -inf: exp() of it is 0 and its gradient is 0, not NaN

-- Sun et al. 2020: y_pred are unit vectors, y_true group numbers. Samples without a pair are
-- masked.
function F.circle(y_true, y_pred, o)
  local labels = ops.reshape(y_true, { -1, 1 })
  local others = o.ref_labels and ops.reshape(tensors.of(o.ref_labels), { 1, -1 })
    or ops.transpose(labels)
  local n, m = labels.shape[1], others.shape[2]
  local vectors = o.ref_embeddings and tensors.floating(o.ref_embeddings) or y_pred
  if y_pred.ndim ~= 2 or vectors.ndim ~= 2 then
    errors.raise("circle",
      "y_pred and ref_embeddings have wrong shapes (expected [batch, features], got %s and %s)",
      tostring(y_pred.shape), tostring(vectors.shape))
  end
  if vectors.shape[1] ~= m then
    errors.raise("circle", "needs as many ref_labels as ref_embeddings (got %d and %d)", m,
      vectors.shape[1])
  end
  local distance = ops.maximum(ops.subtract(1.0, ops.matmul(y_pred, ops.transpose(vectors))), 0.0)
  local same = ops.equal(labels, others)
  local positive, negative = same, ops.logical_not(same)
  if o.remove_diagonal then
    local i, j = ops.reshape(ops.arange(n), { -1, 1 }), ops.reshape(ops.arange(m), { 1, -1 })
    positive = ops.logical_and(positive, ops.not_equal(i, j))
  end
  m = o.margin
  local zero, never = core.tensor(0.0, { dtype = distance.dtype }),
    core.tensor(NEVER, { dtype = distance.dtype })
  local weight_p = ops.maximum(ops.where(positive, ops.add(distance, m), zero), 0.0)
  local weight_n = ops.maximum(ops.where(negative, ops.subtract(1 + m, distance), zero), 0.0)
  local p = ops.multiply(ops.multiply(weight_p, -o.gamma), ops.subtract(m, distance))
  local q = ops.multiply(ops.multiply(weight_n, o.gamma), ops.subtract(1 - m, distance))
  local loss = ops.softplus(ops.add(ops.logsumexp(ops.where(positive, p, never), { axis = 2 }),
    ops.logsumexp(ops.where(negative, q, never), { axis = 2 })))
  return loss, ops.greater(loss, 0)
end

return F

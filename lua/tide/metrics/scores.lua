--- F-scores, R2 and intersection over union (Keras' f_score_metrics.py, regression_metrics.py,
--- iou_metrics.py).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"

local base = require "tide.metrics.base"
local loss_base = require "tide.losses.base"
local Metric = base.Metric
local scores = {}

local EPSILON = 1e-7
local DTYPE = base.NAMES[2]

-- Rows with name and dtype, which stand after the first `before` of them (all by default).
local function with_names(rows, name, before)
  before = before or #rows
  local all = table.move(rows, 1, before, 1, {})
  all[#all + 1] = { "name", "string", name, "shown in logs" }
  all[#all + 1] = DTYPE
  return table.move(rows, before + 1, #rows, #all + 1, all)
end

local function add(state, key, v)
  state[key] = state[key] and ops.add(state[key], v) or v
end

-- State in named tensors of `_state`.
local Stateful = object.class("StatefulMetric", Metric, {
  init = function(self)
    self._state = {}
  end,
})

function Stateful:reset_state()
  self._state = {}
end

function Stateful:_all_variables()
  local names, out = {}, {}
  for k in pairs(self._state) do
    names[#names + 1] = k
  end
  table.sort(names)
  for i, k in ipairs(names) do
    out[i] = self._state[k]
  end
  return out
end

-- ---- F-scores ----

local function need_matrix(self, y_true, y_pred)
  if y_true.ndim ~= 2 or y_pred.ndim ~= 2 then
    errors.raise(self:_class_name(), "needs shapes (samples, outputs) (y_true %s, y_pred %s)",
      tostring(y_true.shape), tostring(y_pred.shape))
  end
end

local AVERAGE = { "average", "enum", nil,
  "how classes are joined; one value per class when left out", of = "micro|macro|weighted" }
local THRESHOLD = { "threshold", "number", nil, "above it is positive; when left out, the largest",
  above = 0, max = 1 }

--- F-beta: (1 + beta^2) precision recall / (beta^2 precision + recall).
--     tide.metrics.FBetaScore { threshold = 0.5 }(
--       { { 0, 1 }, { 1, 0 } }, { { 0.2, 0.7 }, { 0.9, 0.6 } })
--     --> { 1, 0.66667 }
local FBeta = object.class("FBetaScore", Stateful, {
  rows = with_names({ AVERAGE, { "beta", "number", 1.0, "weight of recall", above = 0 },
    THRESHOLD }, "fbeta_score"),
  init = function(self)
    self.beta = self.beta or 1.0
  end,
})
FBeta.direction = "up"
scores.FBetaScore = FBeta

function FBeta:update_state(y_true, y_pred, sample_weight)
  y_true = tensors.of(base.plain(y_true, "y_true"), self.dtype)
  y_pred = tensors.of(base.plain(y_pred, "y_pred"), self.dtype)
  need_matrix(self, y_true, y_pred)
  if self.threshold then
    y_pred = ops.greater(y_pred, self.threshold)
  else
    local top = ops.max(y_pred, { axis = -1, keepdims = true })
    y_pred = ops.logical_and(ops.greater_equal(y_pred, top), ops.greater(ops.abs(y_pred), 1e-9))
  end
  y_pred = ops.cast(y_pred, self.dtype)
  local w = sample_weight ~= nil
    and tensors.fit_weight(tensors.of(sample_weight, self.dtype, "sample_weight"), y_pred.shape)
    or nil
  local function weighted(v)
    v = w and ops.multiply(v, w) or v
    return self.average == "micro" and ops.sum(v) or ops.sum(v, { axis = 1 })
  end
  add(self._state, "tp", weighted(ops.multiply(y_pred, y_true)))
  add(self._state, "fp", weighted(ops.multiply(y_pred, ops.subtract(1, y_true))))
  add(self._state, "fn", weighted(ops.multiply(ops.subtract(1, y_pred), y_true)))
  add(self._state, "weights", weighted(y_true))
end

function FBeta:result()
  local s = self._state
  if not s.tp then
    return 0.0
  end
  local function numbers(t)
    return t.ndim == 0 and { t:item() } or t:tolist()
  end
  local tp, fp, fn, weights = numbers(s.tp), numbers(s.fp), numbers(s.fn), numbers(s.weights)
  local b2, f, sum, total = self.beta ^ 2, {}, 0.0, 0.0
  for i = 1, #tp do
    local p, r = tp[i] / (tp[i] + fp[i] + EPSILON), tp[i] / (tp[i] + fn[i] + EPSILON)
    f[i] = p * r / (b2 * p + r + EPSILON) * (1 + b2)
    total = total + weights[i]
  end
  if self.average == nil then
    return core.tensor(f, { dtype = self.dtype })
  end
  for i = 1, #f do
    sum = sum + f[i] * (self.average == "weighted" and weights[i] / (total + EPSILON) or 1 / #f)
  end
  return sum
end

--- F-beta with beta = 1.
--     tide.metrics.F1Score { threshold = 0.5 }(
--       { { 0, 1 }, { 1, 0 } }, { { 0.2, 0.7 }, { 0.9, 0.6 } })
--     --> { 1, 0.66667 }
local F1 = object.class("F1Score", FBeta, { rows = with_names({ AVERAGE, THRESHOLD }, "f1_score") })
scores.F1Score = F1

-- ---- R2 ----

--- 1 - residual / total sum of squares.
--     tide.metrics.R2Score()({ { 1 }, { 4 }, { 3 } }, { { 2 }, { 4 }, { 4 } })   --> 0.57143
local R2 = object.class("R2Score", Stateful, {
  rows = with_names({
    { "class_aggregation", "enum", "uniform_average", "how outputs are joined",
      of = "uniform_average|variance_weighted_average", none = true },
    { "num_regressors", "int", 0, "for the adjusted score", min = 0 },
  }, "r2_score"),
  init = function(self)
    self._samples = 0
  end,
})
R2.direction = "up"
scores.R2Score = R2

function R2:update_state(y_true, y_pred, sample_weight)
  y_true = tensors.of(base.plain(y_true, "y_true"), self.dtype)
  y_pred = tensors.of(base.plain(y_pred, "y_pred"), self.dtype)
  y_true, y_pred = tensors.same_rank(y_true, y_pred)
  need_matrix(self, y_true, y_pred)
  local w = tensors.of(sample_weight == nil and 1 or sample_weight, self.dtype, "sample_weight")
  w = ops.broadcast_to(tensors.fit_weight(w, y_true.shape), y_true.shape)
  -- Per output the weights, the mean and the squares about it, joined batch by batch (Chan et al.
  -- 1983) in float64: squares of targets far from 0 would lose their digits.
  local FIRST, s, exact = { axis = 1 }, self._state, y_true:cast "float64"
  local w64 = w:cast "float64"
  local n = ops.sum(w64, FIRST)
  local mean = ops.divide_no_nan(ops.sum(ops.multiply(exact, w64), FIRST), n)
  local squares = ops.sum(ops.multiply(ops.square(ops.subtract(exact, mean)), w64), FIRST)
  if s.count then
    local all, step = ops.add(s.count, n), ops.subtract(mean, s.mean)
    local share = ops.divide_no_nan(n, all)
    s.squares = s.squares + squares + ops.square(step) * s.count * share
    s.mean, s.count = s.mean + step * share, all
  else
    s.count, s.mean, s.squares = n, mean, squares
  end
  add(s, "residual", ops.sum(ops.multiply(ops.square(ops.subtract(y_true, y_pred)), w), FIRST))
  self._samples = self._samples + y_true.size
end

function R2:reset_state()
  self._state, self._samples = {}, 0
end

function R2:result()
  local s = self._state
  if not s.count then
    return 0.0
  end
  local total, residual = s.squares:tolist(), s.residual:tolist()
  local raw, mean, weighted, weights = {}, 0.0, 0.0, 0.0
  for i = 1, #total do
    raw[i] = 1 - residual[i] / total[i]
    if raw[i] == math.huge or raw[i] == -math.huge then
      raw[i] = 0.0
    end
    mean = mean + raw[i] / #total
    weighted, weights = weighted + total[i] * raw[i], weights + total[i]
  end
  local function adjust(r2)
    if self.num_regressors ~= 0 and self.num_regressors < self._samples - 1 then
      return 1 - (1 - r2) * (self._samples - 1) / (self._samples - self.num_regressors - 1)
    end
    return r2
  end
  if self.class_aggregation == "uniform_average" then
    return adjust(mean)
  elseif self.class_aggregation == "variance_weighted_average" then
    return adjust(weighted / weights)
  end
  for i = 1, #raw do
    raw[i] = adjust(raw[i])
  end
  return core.tensor(raw, { dtype = self.dtype })
end

-- ---- intersection over union ----

local CLASSES = { "num_classes", "int", check.required, "number of classes", min = 2, max = 46340 }
local TARGETS = { "target_class_ids", "list", check.required, "the classes that count, from 1",
  counts = true }
local IGNORE, ZERO_BASED = loss_base.IGNORE_CLASS, loss_base.ZERO_BASED
local SPARSE_TRUE = { "sparse_y_true", "bool", true, "targets are labels, not one-hot" }
local SPARSE_PRED = { "sparse_y_pred", "bool", true, "predictions are labels, not scores" }
local ONE_HOT_PRED = { "sparse_y_pred", "bool", false, "predictions are labels, not scores" }
local AXIS = { "axis", "axis", -1, "axis of the classes" }

-- Labels, the number of the first class, and the shape that the labels had.
local function take_labels(self, v, sparse, what)
  v = base.plain(v, what)
  local first = sparse and self.zero_based and 0 or 1
  v = tensors.hold(ops.cast(sparse and v or ops.argmax(v, { axis = self.axis }), "int64"), "int64")
  return ops.reshape(v, { -1 }), first, v.shape
end

--- Intersection over union of the classes `target_class_ids`, from labels that count from 1: mean
--- over these classes.
--     tide.metrics.IoU { num_classes = 2, target_class_ids = { 1 } }(
--       { 1, 1, 2, 2 }, { 1, 2, 1, 2 })
--     --> 0.33333
local IoU = object.class("IoU", Stateful, {
  rows = with_names({ CLASSES, TARGETS, IGNORE, SPARSE_TRUE, SPARSE_PRED, AXIS, ZERO_BASED }, nil,
    2),
  init = function(self)
    self.axis = self.axis or -1
    if self.target_class_ids then
      for _, id in ipairs(self.target_class_ids) do
        if type(id) ~= "number" or not math.tointeger(id) or id < 1 or id > self.num_classes then
          errors.raise(self:_class_name(), "target_class_ids must be 1 to %d (got %s)",
            self.num_classes, check.show(id))
        end
      end
    end
  end,
})
IoU.direction = "up"
scores.IoU = IoU

function IoU:update_state(y_true, y_pred, sample_weight)
  local n = self.num_classes
  local t, t_base, shape = take_labels(self, y_true, self.sparse_y_true ~= false, "y_true")
  local p, p_base = take_labels(self, y_pred, self.sparse_y_pred ~= false, "y_pred")
  local keep
  if self.ignore_class then
    keep = ops.not_equal(t, self.ignore_class)
    t = ops.where(keep, t, t_base)
  end
  if t.size == 0 then
    return
  end
  for _, pair in ipairs { { t, t_base, "y_true" }, { p, p_base, "y_pred" } } do
    local what = pair[3]
    local low, high = tensors.number(ops.min(pair[1])), tensors.number(ops.max(pair[1]))
    if low < pair[2] or high > n - 1 + pair[2] then
      errors.raise(self:_class_name(), "%s holds label %d, out of range (expected %d to %d)%s",
        what, low < pair[2] and low
        or high, pair[2],
        n - 1 + pair[2], low == 0 and pair[2] == 1
          and "; labels count from 1: use y + 1, or zero_based = true" or "")
    end
  end
  local w
  if sample_weight ~= nil then
    w = tensors.fit_weight(tensors.of(sample_weight, "float32", "sample_weight"), shape)
    w = ops.reshape(ops.broadcast_to(w, shape), { -1 })
  end
  if keep then
    local k = ops.cast(keep, "float32")
    w = w and ops.multiply(w, k) or k
  end
  local rows = ops.one_hot(t, n, { base = t_base, dtype = "float32" })
  local cols = ops.one_hot(p, n, { base = p_base, dtype = "float32" })
  if w then
    cols = ops.multiply(cols, ops.reshape(w, { -1, 1 }))
  end
  add(self._state, "confusion", ops.matmul(ops.transpose(rows), cols))
end

function IoU:result()
  if not self._state.confusion then
    return 0.0
  end
  local cm, sum, valid = self._state.confusion:tolist(), 0.0, 0
  for _, id in ipairs(self.target_class_ids) do
    local row, col = 0.0, 0.0
    for k = 1, self.num_classes do
      row, col = row + cm[id][k], col + cm[k][id]
    end
    local union = row + col - cm[id][id]
    if union > 1e-9 then
      valid = valid + 1
      sum = sum + cm[id][id] / (union + EPSILON)
    end
  end
  return sum / (valid + EPSILON)
end

--- IoU of probabilities against targets 0 and 1; class 1 is the negative one, class 2 the positive
--- one.
--     tide.metrics.BinaryIoU()({ 0, 1, 0, 1 }, { 0.1, 0.2, 0.4, 0.7 })   --> 0.58333
local BinaryIoU = object.class("BinaryIoU", IoU, {
  rows = with_names {
    { "target_class_ids", "list", { 1, 2 }, "the classes that count, from 1", counts = true },
    { "threshold", "number", 0.5, "at or above it is positive" } },
})
scores.BinaryIoU = BinaryIoU
BinaryIoU.num_classes = 2

function BinaryIoU:update_state(y_true, y_pred, sample_weight)
  y_true = ops.add(ops.cast(base.plain(y_true, "y_true"), "int64"), 1)
  y_pred = ops.add(ops.cast(ops.greater_equal(base.plain(y_pred, "y_pred"), self.threshold),
    "int64"), 1)
  IoU.update_state(self, y_true, y_pred, sample_weight)
end

local function all_classes(self)
  self.target_class_ids = {}
  for i = 1, self.num_classes do
    self.target_class_ids[i] = i
  end
end

--- Intersection over union, mean over all classes.
--     tide.metrics.MeanIoU { num_classes = 2 }({ 1, 1, 2, 2 }, { 1, 2, 1, 2 })   --> 0.33333
scores.MeanIoU = object.class("MeanIoU", IoU, {
  rows = with_names({ CLASSES, IGNORE, SPARSE_TRUE, SPARSE_PRED, AXIS, ZERO_BASED }, nil, 1),
  init = all_classes,
})
--- IoU of one-hot targets against probabilities.
--     tide.metrics.OneHotIoU { 2, { 2 } }({ { 0, 1 }, { 1, 0 } }, { { 0.2, 0.7 }, { 0.4, 0.6 } })
--     --> 0.5
scores.OneHotIoU = object.class(
  "OneHotIoU", IoU, { rows = with_names({ CLASSES, TARGETS, IGNORE, ONE_HOT_PRED, AXIS }, nil, 2) })
scores.OneHotIoU.sparse_y_true = false
--- Mean IoU over all classes of one-hot targets against probabilities.
--     tide.metrics.OneHotMeanIoU { num_classes = 2 }(
--       { { 0, 1 }, { 1, 0 } }, { { 0.2, 0.7 }, { 0.4, 0.6 } })
--     --> 0.25
scores.OneHotMeanIoU = object.class(
  "OneHotMeanIoU", IoU, { rows = with_names({ CLASSES, IGNORE, ONE_HOT_PRED, AXIS }, nil, 1),
    init = all_classes })
scores.OneHotMeanIoU.sparse_y_true = false

return scores

--- Metrics made of true and false positives and negatives at thresholds (Keras'
--- confusion_metrics.py). One fused op counts a batch for all thresholds; the state is its sum,
--- shape (4, thresholds, labels).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"

local base = require "tide.metrics.base"
local Metric = base.Metric
local confusion = {}

local NEG_INF = -1e10
local EPSILON = 1e-7
local TP, FP, TN, FN = 1, 2, 3, 4

-- ---- thresholds ----

local function evenly_spaced(t)
  local n = #t
  if n < 3 then
    return false
  end
  for i = 1, n do
    local want = (i - 1) / (n - 1)
    if math.abs(t[i] - want) > EPSILON + 1e-5 * want then
      return false
    end
  end
  return true
end

-- Sets `_thresholds` (ascending), `_order` (place of each given threshold in it), `_even`.
local function set_thresholds(self, given, name)
  local t = {}
  for i, v in ipairs(given) do
    if type(v) ~= "number" then
      errors.raise(name, "thresholds must be numbers (got %s)", check.show(v))
    end
    t[i] = { v, i }
  end
  table.sort(t, function(a, b)
    return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
  end)
  self._thresholds, self._order = {}, {}
  for i, pair in ipairs(t) do
    self._thresholds[i] = pair[1]
    self._order[pair[2]] = i
  end
  self._even = evenly_spaced(given)
end

local function parse_thresholds(self, name, default)
  local t = self.thresholds
  if t == nil then
    t = default
  elseif type(t) == "number" then
    t = { t }
  end
  if type(t) == "number" then
    t = { t }
  else
    for _, v in ipairs(t) do
      if type(v) ~= "number" or v < 0 or v > 1 then
        errors.raise(name, "thresholds must be numbers from 0 to 1 (got %s)", check.show(v))
      end
    end
  end
  set_thresholds(self, t, name)
end

-- ---- one batch ----

local function only_top_k(y_pred, k)
  local _, at = ops.top_k(y_pred, k)
  local mask = ops.sum(ops.one_hot(at, y_pred.shape[-1], { dtype = y_pred.dtype }), { axis = -2 })
  return ops.add(ops.multiply(y_pred, mask), ops.multiply(ops.subtract(1, mask), NEG_INF))
end

-- Scores that are no number are neither above a threshold nor below: the op leaves them out. How
-- many they are is counted where they are, and said once per metric when it is read.
local function note_nan(self, y_pred)
  local nans = self._nans
  if not nans then
    nans = ops.zeros({ 2 }, { dtype = "float64", device = y_pred.device })
    core.scope_leave(nans)
    self._nans, self._scores = nans, 0
  end
  core.ops.tally_(nans, ops.isnan(y_pred))
  self._scores = self._scores + y_pred.size
end

local function say_nan(self)
  local n = self._nans and not self._said and self._nans[1] or 0
  if n > 0 then
    self._said = true
    errors.warn("%s: %d of %d scores are NaN; they do not count", self.name, n, self._scores)
  end
end

local function count(self, y_true, y_pred, weight, o)
  y_pred = tensors.floating(base.plain(y_pred, "y_pred"))
  y_true = tensors.of(base.plain(y_true, "y_true"), y_pred.dtype)
  y_true, y_pred = tensors.pair(y_true, y_pred, self:_class_name())
  if weight ~= nil then
    weight = tensors.fit_weight(tensors.of(weight, y_pred.dtype, "sample_weight"), y_pred.shape)
  end
  if self.top_k then
    y_pred = only_top_k(y_pred, self.top_k)
  end
  if self.class_id then
    if y_pred.ndim < 2 then
      errors.raise(
        self:_class_name(),
        "class_id needs predictions by class (expected [samples, classes], got %s)",
        tostring(y_pred.shape))
    elseif self.class_id < 1 or self.class_id > y_pred.shape[-1] then
      errors.raise(self:_class_name(), "class_id must be 1 to %d (got %d)", y_pred.shape[-1],
        self.class_id)
    end
    y_true = y_true[{ "...", { self.class_id } }]
    y_pred = y_pred[{ "...", { self.class_id } }]
  end
  if weight ~= nil then
    weight = ops.broadcast_to(weight, y_pred.shape)
  end
  if o and o.label_weights then
    local w = ops.broadcast_to(o.label_weights, y_pred.shape)
    weight = weight and ops.multiply(weight, w) or w
  end
  note_nan(self, y_pred)
  if self._even then
    y_pred = ops.clip(y_pred, 0.0, 1.0)
  end
  if not (o and o.multi_label) then
    local flat = { -1, 1 }
    y_true, y_pred = ops.reshape(y_true, flat), ops.reshape(y_pred, flat)
    weight = weight and ops.reshape(weight, flat)
  end
  if not self._limits then
    self._limits = core.tensor(self._thresholds)
  end
  local counts = ops.threshold_counts(y_true, y_pred, ops.cast(self._limits, y_pred.dtype), weight)
  self._counts = self._counts and ops.add(self._counts, counts) or counts
end

-- Counts as Lua numbers: [kind][threshold][label], thresholds in the order they were given.
local function read(self)
  say_nan(self)
  local out = { {}, {}, {}, {} }
  local got = self._counts and self._counts:tolist()
  for kind = 1, 4 do
    for i, at in ipairs(self._order) do
      out[kind][i] = got and got[kind][at] or { 0.0 }
    end
  end
  return out
end

local function ratio(a, b)
  return b == 0 and 0.0 or a / b
end

local Counter = object.class("ConfusionMetric", Metric, {})

function Counter:update_state(y_true, y_pred, sample_weight)
  count(self, y_true, y_pred, sample_weight)
end

function Counter:reset_state()
  self._counts, self._nans = nil, nil
end

function Counter:_all_variables()
  local out = {}
  local counts = self._counts
  for kind = 1, 4 do
    local v = counts and counts[kind] or ops.zeros { #self._order, 1 }
    out[#out + 1] = v
  end
  return out
end

-- One number, or a tensor with one per threshold.
local function per_threshold(self, f)
  local c, out = read(self), {}
  for i = 1, #self._order do
    out[i] = f(c[TP][i][1], c[FP][i][1], c[TN][i][1], c[FN][i][1])
  end
  return #out == 1 and out[1] or core.tensor(out)
end

local THRESHOLDS = { "thresholds", { "number", "list" }, nil,
  "a prediction above it is positive; 0.5 by default" }
local NAMES = base.NAMES
local CLASS_ID = { "class_id", "int", nil, "only this class, from 1", counts = true }

local function define(name, rows, init, result, up, named)
  local all = table.move(rows, 1, #rows, 1, {})
  table.move(NAMES, 1, 2, #all + 1, all)
  local c = object.class(name, Counter, { rows = all, named = named, init = init })
  c.result = result
  c.direction = up and "up" or false
  confusion[name] = c
  return c
end

--- Counts of true or false positives or negatives at thresholds, weighed by the samples' weights.
--     tide.metrics.FalseNegatives()({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 1
for name, kind in pairs { TruePositives = TP, FalsePositives = FP, TrueNegatives = TN,
  FalseNegatives = FN } do
  define(name, { THRESHOLDS }, function(self)
    parse_thresholds(self, name, 0.5)
  end, function(self)
    return per_threshold(self, function(...)
      return (select(kind, ...))
    end)
  end)
end

local rows = { THRESHOLDS, { "top_k", "int", nil, "only the k largest predictions count", min = 1 },
  CLASS_ID }
--- Precision, true positives / predicted positives; Recall, true positives / positives; both at
--- `thresholds`, 0.5 by default.
--     tide.metrics.Precision()({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 1
for name, other in pairs { Precision = FP, Recall = FN } do
  define(name, rows, function(self)
    parse_thresholds(self, name, self.top_k and NEG_INF or 0.5)
  end, function(self)
    return per_threshold(self, function(tp, fp, _, fn)
      return ratio(tp, tp + (other == FP and fp or fn))
    end)
  end, true)
end

-- ---- one quantity at a level of another ----

local function pairwise(self, constrained, dependent)
  local c = read(self)
  local top = 0.0
  for i = 1, #self._order do
    local tp, fp, tn, fn = c[TP][i][1], c[FP][i][1], c[TN][i][1], c[FN][i][1]
    if constrained(tp, fp, tn, fn) >= self._value then
      top = math.max(top, dependent(tp, fp, tn, fn))
    end
  end
  return top
end

local function sensitivity(tp, _, _, fn)
  return ratio(tp, tp + fn)
end
local function specificity(_, fp, tn)
  return ratio(tn, tn + fp)
end
local function precision(tp, fp)
  return ratio(tp, tp + fp)
end

local function at_level(name, key, constrained, dependent)
  define(name, {
    { key, "number", check.required, "the level to keep", min = 0, max = 1 },
    { "num_thresholds", "int", 200, "number of thresholds tried", min = 1, max = 1000000 },
    CLASS_ID,
  }, function(self)
    self._value = self[key]
    local t, n = { 0.5 }, self.num_thresholds
    if n > 1 then
      for i = 1, n do
        t[i] = (i - 1) / (n - 1)
      end
    end
    set_thresholds(self, t, name)
    self._even = n > 1
  end, function(self)
    return pairwise(self, constrained, dependent)
  end, true)
end

--- The best sensitivity among thresholds whose specificity is at least the given one.
--     tide.metrics.SensitivityAtSpecificity { 0.5 }({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 1
at_level("SensitivityAtSpecificity", "specificity", specificity, sensitivity)
--- The best specificity among thresholds whose sensitivity is at least the given one.
--     tide.metrics.SpecificityAtSensitivity { 0.5 }({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 1
at_level("SpecificityAtSensitivity", "sensitivity", sensitivity, specificity)
--- The best precision among thresholds whose recall is at least the given one.
--     tide.metrics.PrecisionAtRecall { 0.5 }({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 1
at_level("PrecisionAtRecall", "recall", sensitivity, precision)
--- The best recall among thresholds whose precision is at least the given one.
--     tide.metrics.RecallAtPrecision { 0.5 }({ 0, 1, 1 }, { 0.2, 0.7, 0.4 })   --> 1
at_level("RecallAtPrecision", "precision", precision, sensitivity)

-- ---- area under a curve ----

--- Area under the ROC or PR curve, by a Riemann sum over thresholds. PR with interpolation follows
--- Davis and Goadrich 2006, PRGAIN Flach and Kull 2015.
--     tide.metrics.AUC()({ 0, 0, 1, 1 }, { 0, 0.5, 0.3, 0.9 })   --> 0.75
local AUC = define("AUC", {
  { "num_thresholds", "int", 200, "number of thresholds", min = 2, max = 1000000 },
  { "curve", "enum", "ROC", "the curve", of = "ROC|PR|PRGAIN|roc|pr|prgain" },
  { "summation_method", "enum", "interpolation", "heights of the rectangles",
    of = "interpolation|majoring|minoring|Interpolation|Majoring|Minoring" },
}, function(self)
  self.curve, self.summation_method = self.curve:upper(), self.summation_method:lower()
  local t = {}
  if self.thresholds then
    for i, v in ipairs(self.thresholds) do
      if type(v) ~= "number" or v < 0 or v > 1 then
        errors.raise("AUC", "thresholds must be numbers from 0 to 1 (got %s)", check.show(v))
      end
      t[i] = v
    end
    table.sort(t)
    self.num_thresholds = #t + 2
  else
    for i = 1, self.num_thresholds - 2 do
      t[i] = i / (self.num_thresholds - 1)
    end
  end
  local even = table.move(t, 1, #t, 2, { 0.0 })
  even[#even + 1] = 1.0
  table.insert(t, 1, 0.0 - EPSILON)
  t[#t + 1] = 1.0 + EPSILON
  set_thresholds(self, t, "AUC")
  self._even = evenly_spaced(even)
  if self.num_labels and not self.multi_label then
    errors.raise("AUC", "num_labels is needed only with multi_label = true")
  end
  if self.label_weights then
    self._label_weights = tensors.of(self.label_weights, "float32", "label_weights")
  end
end, nil, true, {
  { "thresholds", "list", nil, "thresholds of one's own" },
  { "multi_label", "bool", false, "one curve per label, averaged" },
  { "num_labels", "int", nil, "number of labels" },
  { "label_weights", "any", nil, "weight of each label" },
  { "from_logits", "bool", false, "predictions are before the sigmoid" },
})

function AUC:update_state(y_true, y_pred, sample_weight)
  if self.from_logits then
    y_pred = ops.sigmoid(tensors.floating(base.plain(y_pred, "y_pred")))
  end
  if self.multi_label then
    y_pred = tensors.of(y_pred)
    if y_pred.ndim ~= 2 or (self.num_labels and y_pred.shape[2] ~= self.num_labels) then
      errors.raise("AUC",
        "with multi_label y_pred has the wrong shape (expected [samples, %s], got %s)",
        self.num_labels or "labels", tostring(y_pred.shape))
    end
    return count(self, y_true, y_pred, sample_weight, { multi_label = true })
  end
  count(self, y_true, y_pred, sample_weight, { label_weights = self._label_weights })
end

-- Area of label l from counts c.
local function area(self, c, l)
  local n = #self._order
  local x, y, sum = {}, {}, 0.0
  if self.curve == "PR" and self.summation_method == "interpolation" then
    for i = 1, n - 1 do
      local tp1, tp2 = c[TP][i][l], c[TP][i + 1][l]
      local p1, p2 = tp1 + c[FP][i][l], tp2 + c[FP][i + 1][l]
      local dtp = tp1 - tp2
      local slope = ratio(dtp, math.max(p1 - p2, 0))
      local intercept = tp2 - slope * p2
      local safe = (p1 > 0 and p2 > 0) and ratio(p1, math.max(p2, 0)) or 1.0
      sum = sum + ratio(slope * (dtp + intercept * math.log(safe)),
        math.max(tp2 + c[FN][i + 1][l], 0))
    end
    return sum
  end
  for i = 1, n do
    local tp, fp, tn, fn = c[TP][i][l], c[FP][i][l], c[TN][i][l], c[FN][i][l]
    if self.curve == "ROC" then
      x[i], y[i] = ratio(fp, fp + tn), ratio(tp, tp + fn)
    elseif self.curve == "PR" then
      x[i], y[i] = ratio(tp, tp + fn), ratio(tp, tp + fp)
    else
      local scale = ratio(tp + fn, tn + fp)
      x[i] = tp == 0 and 0.0 or math.max(1.0 - scale * ratio(fn, tp), 0.0)
      y[i] = tp == 0 and 1.0 or 1.0 - scale * ratio(fp, tp)
    end
  end
  for i = 1, n - 1 do
    local h
    if self.summation_method == "interpolation" then
      h = (y[i] + y[i + 1]) / 2
    elseif self.summation_method == "minoring" then
      h = math.min(y[i], y[i + 1])
    else
      h = math.max(y[i], y[i + 1])
    end
    sum = sum + (x[i] - x[i + 1]) * h
  end
  return sum
end

function AUC:result()
  if not self._counts then
    return 0.0
  end
  local c = read(self)
  local labels = #c[1][1]
  local total, weights = 0.0, 0.0
  local given = self.multi_label and self._label_weights and self._label_weights:tolist()
  for l = 1, labels do
    local w = given and given[l] or 1.0
    total, weights = total + w * area(self, c, l), weights + w
  end
  return ratio(total, weights)
end

return confusion

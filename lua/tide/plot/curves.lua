--- Curves over all thresholds of a score: receiver operating characteristic, precision and recall.
--- As scikit-learn computes
-- them: one point per distinct score, from the largest; the average precision is a sum of steps,
-- not of trapezoids.
local core = require "tide.core"
local errors = require "tide.errors"

local curves = {}

local function rows(where, x, what)
  if core.is_tensor(x) then
    x = x:tolist()
  end
  if type(x) ~= "table" or #x == 0 then
    errors.raise(where, "%s must be a tensor or a list with at least one value (got %s)", what,
      type(x))
  end
  return x
end

-- Positives and scores as classes: a list of { name, truth (list of booleans), score }.
local function classes(where, y_true, y_score, names)
  y_true, y_score = rows(where, y_true, "y_true"), rows(where, y_score, "y_score")
  if #y_true ~= #y_score then
    errors.raise(where, "y_true and y_score must have the same length (got %d and %d)", #y_true,
      #y_score)
  end
  local width = type(y_score[1]) == "table" and #y_score[1] or 1
  local out = {}
  for c = 1, width do
    local truth, score = {}, {}
    for i, s in ipairs(y_score) do
      local y = y_true[i]
      if type(y) == "table" then
        y = width == 1 and y[1] or y[c]
        truth[i] = y == true or (type(y) == "number" and y > 0.5)
      elseif width > 1 then
        truth[i] = y == c
      else
        truth[i] = y == true or (type(y) == "number" and y > 0.5)
      end
      score[i] = type(s) == "table" and s[c] or s
      if type(score[i]) ~= "number" or score[i] ~= score[i] then
        errors.raise(where, "y_score must hold numbers, row %d is %s", i, tostring(score[i]))
      end
    end
    out[c] = { name = names and names[c] or width > 1 and tostring(c) or nil, truth = truth,
      score = score }
  end
  return out
end

-- True and false positives at each distinct score, from the largest.
local function counts(where, one)
  local order, positives = {}, 0
  for i = 1, #one.score do
    order[i] = i
    positives = positives + (one.truth[i] and 1 or 0)
  end
  if positives == 0 or positives == #order then
    errors.raise(where, "%sneeds positives and negatives (got %d positives of %d)",
      one.name and "class " .. one.name .. " " or "", positives, #order)
  end
  table.sort(order, function(a, b)
    return one.score[a] > one.score[b]
  end)
  local points, tp, fp = {}, 0, 0
  for k, i in ipairs(order) do
    if one.truth[i] then
      tp = tp + 1
    else
      fp = fp + 1
    end
    local following = order[k + 1]
    if not following or one.score[following] ~= one.score[i] then
      points[#points + 1] = { tp = tp, fp = fp, threshold = one.score[i] }
    end
  end
  return points, positives, #order - positives
end

--- ROC curves, one per class: lists of { false positive rate, true positive rate }, with fields
--- name, auc, thresholds.
--- @param y_true any labels 0 and 1 (one column of scores), labels from 1 or one-hot rows (several)
--- @param y_score any scores (n), (n, 1) or (n, classes)
function curves.roc(y_true, y_score, names)
  local out = {}
  for k, one in ipairs(classes("roc", y_true, y_score, names)) do
    local points, p, n = counts("roc", one)
    local line, area, before = { { 0, 0 } }, 0, { 0, 0 }
    line.thresholds = { math.huge }
    for i, q in ipairs(points) do
      local at = { q.fp / n, q.tp / p }
      area = area + (at[1] - before[1]) * (at[2] + before[2]) / 2
      line[i + 1], line.thresholds[i + 1], before = at, q.threshold, at
    end
    line.name, line.auc = one.name, area
    out[k] = line
  end
  return out
end

--- Precision over recall, one curve per class: lists of { recall, precision }, with fields name,
--- average_precision, thresholds.
function curves.precision_recall(y_true, y_score, names)
  local out = {}
  for k, one in ipairs(classes("precision_recall", y_true, y_score, names)) do
    local points, p = counts("precision_recall", one)
    local line, sum, before = { { 0, 1 } }, 0, 0
    line.thresholds = { math.huge }
    for i, q in ipairs(points) do
      local recall, precision = q.tp / p, q.tp / (q.tp + q.fp)
      sum, before = sum + (recall - before) * precision, recall
      line[i + 1], line.thresholds[i + 1] = { recall, precision }, q.threshold
    end
    line.name, line.average_precision = one.name, sum
    out[k] = line
  end
  return out
end

return curves

--- Inputs and weights from formulas, the same as those of spec/ref/formula.py.
local tide = require "tide"

local formula = {}

local sin = math.sin

local function numel(shape)
  local n = 1
  for _, d in ipairs(shape) do
    n = n * d
  end
  return n
end

-- Rows of (n / width) elements, each changed by f(row, width).
local function by_rows(flat, width, f)
  for i = 1, #flat, width do
    f(flat, i, width)
  end
  return flat
end

local make = {}
function make.real(s)
  return s * 1.5
end
function make.pos(s)
  return math.abs(s) + 0.1
end
function make.prob(s)
  return s * 0.45 + 0.5
end
function make.weight(s, i)
  return i % 4 ~= 3 and math.abs(s) * 2 or 0
end
function make.bits(_, i, k)
  return sin(i * 1.9 + k) > 0 and 1 or 0
end
function make.dist(s)
  return math.exp(2 * s)
end

local function label(i, k, classes)
  return math.floor((sin(i * 2.3 + k) + 1) * 0.4999 * classes)
end

--- A tensor of a kind from a formula; k tells arrays of one case apart. Labels count from 1; their
--- shape ends with the number of classes, which the result has as 1.
function formula.input(kind, shape, k)
  local n, flat = numel(shape), {}
  local classes = shape[#shape]
  local out = table.move(shape, 1, #shape, 1, {})
  if kind == "labels" then
    out[#out] = 1
    for i = 0, n // classes - 1 do
      flat[i + 1] = label(i, k, classes) + 1
    end
    return tide.tensor(flat, { dtype = "int32" }):reshape(out)
  end
  for i = 0, n - 1 do
    flat[i + 1] = kind == "onehot" and (label(i // classes, k, classes) == i % classes and 1 or 0)
      or kind ~= "onehot" and make[kind](sin(i * 0.7 + 0.3 + k * 1.7), i, k)
  end
  if kind == "dist" then
    by_rows(flat, classes, function(t, first, width)
      local sum = 0
      for i = first, first + width - 1 do
        sum = sum + t[i]
      end
      for i = first, first + width - 1 do
        t[i] = t[i] / sum
      end
    end)
  end
  return tide.tensor(flat):reshape(out)
end

--- Initial values of a weight; `positive` for variances.
function formula.weight(w, positive, k)
  local flat = {}
  for i = 0, w.size - 1 do
    local v = sin(i * 1.3 + k) * 0.5
    flat[i + 1] = positive and math.abs(v) + 0.5 or v
  end
  return tide.tensor(flat):reshape(w.shape)
end

return formula

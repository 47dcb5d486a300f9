--- Quantiles of data that come in batches, to within `epsilon`: a summary holds values in order and
--- how many numbers each stands for, and stays as small as 1 / epsilon allows.
--
-- The numbers are those of Keras' Discretization, float32 where it has them.
local ops = require "tide.ops"

local quantiles = {}

local function float32(x)
  return (string.unpack("f", string.pack("f", x)))
end

--- The summary of a tensor's elements: { values, weights }.
function quantiles.of(x, epsilon)
  local n = x.size
  local step = math.max(n * epsilon, 1)
  local sorted = ops.sort(ops.reshape(x, { -1 }))
  local first, stride = math.floor(step - 1), math.floor(step)
  local values, weights = {}, {}
  if first < n then
    values = sorted[{ { first + 1, -1, stride } }]:tolist()
  end
  for i = 1, #values do
    weights[i] = float32(step)
  end
  return { values, weights }
end

-- The value at x of the line through the points (xs, ys).
local function interpolate(x, xs, ys, from)
  local n = #xs
  if x <= xs[1] then
    return ys[1], 1
  elseif x >= xs[n] then
    return ys[n], from
  end
  local i = from
  while xs[i + 1] <= x do
    i = i + 1
  end
  return (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i]) * (x - xs[i]) + ys[i], i
end

-- A summary of at most 1 / epsilon values.
local function compress(summary, epsilon)
  local values, weights = summary[1], summary[2]
  if #values * epsilon < 1 then
    return summary
  end
  local sums, total = {}, 0
  for i, w in ipairs(weights) do
    total = float32(total + w)
    sums[i] = total
  end
  local shares = {}
  for i, s in ipairs(sums) do
    shares[i] = float32(s / total)
  end
  local out, counts, before, from, at = {}, {}, 0, 1, 1
  for i = 1, math.ceil(1 / epsilon) do
    local share, sum = epsilon + (i - 1) * epsilon
    out[i], from = interpolate(share, shares, values, from)
    out[i] = float32(out[i])
    sum, at = interpolate(share, shares, sums, at)
    counts[i] = float32(sum - before)
    before = sum
  end
  return { out, counts }
end

--- One summary of two; the second may be nil.
function quantiles.merge(a, b, epsilon)
  local order, values, weights = {}, {}, {}
  for _, s in ipairs { a, b } do
    for i, v in ipairs(s[1]) do
      order[#order + 1] = { v, s[2][i], #order }
    end
  end
  table.sort(order, function(p, q) -- NaN last, as NumPy has it
    local a_, b_ = p[1], q[1]
    if a_ < b_ or b_ < a_ then
      return a_ < b_
    elseif (a_ ~= a_) ~= (b_ ~= b_) then
      return b_ ~= b_
    end
    return p[3] < q[3]
  end)
  for i, p in ipairs(order) do
    values[i], weights[i] = p[1], p[2]
  end
  return compress({ values, weights }, epsilon)
end

--- The numbers between `bins` bins of the same weight.
function quantiles.boundaries(summary, bins)
  local out = compress(summary, 1 / bins)[1]
  return table.move(out, 1, #out - 1, 1, {})
end

return quantiles

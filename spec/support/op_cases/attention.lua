-- Attention against its definition written out number by number. What dropout leaves of the weights
-- is what it leaves of the matrix of scores.
local ops = require "tide.ops"

-- y, as a flat list: q (B, T, H, W), k (B, S, G, W), v (B, S, G, V); o: options of the op; `sizes`:
-- the extents of bias and mask.
local function attend(n, o, bias_shape, mask_shape)
  local function at(shape, flat, b, h, i, j)
    local place = 0
    for axis, p in ipairs { b, h, i, j } do
      place = place * shape[axis] + (shape[axis] == 1 and 0 or p)
    end
    return flat[place + 1]
  end
  return function(q, k, v, bias, mask)
    local y, each, offset = {}, n.H // n.G, o.offset or 0
    local keep = o.rate and ops.ravel(ops.dropout(ops.ones({ n.B, n.H, n.T, n.S },
      { dtype = "float64" }), o.rate, nil, o.seed)):tolist()
    for b = 0, n.B - 1 do
      for i = 0, n.T - 1 do
        for h = 0, n.H - 1 do
          local g, weights, total, seen = h // each, {}, 0, false
          for j = 0, n.S - 1 do
            local s = 0
            for w = 1, n.W do
              s = s + q[((b * n.T + i) * n.H + h) * n.W + w]
                * k[((b * n.S + j) * n.G + g) * n.W + w]
            end
            s = s * o.scale
            if o.cap then
              local e = math.exp(2 * s / o.cap)
              s = o.cap * (e - 1) / (e + 1)
            end
            s = s + (bias and at(bias_shape, bias, b, h, i, j) or 0)
            local there = (not mask or at(mask_shape, mask, b, h, i, j))
              and not (o.causal and j > i + offset)
              and not (o.window and math.abs(i + offset - j) >= o.window)
            weights[j] = there and math.exp(s) or 0
            seen = seen or there
            total = total + weights[j]
          end
          for c = 1, n.V do
            local sum = 0
            for j = 0, n.S - 1 do
              local weight = seen and weights[j] / total or o.rate and 0 or 1 / n.S
              local kept = keep and keep[((b * n.H + h) * n.T + i) * n.S + j + 1] or 1
              sum = sum + weight * kept
                * v[((b * n.S + j) * n.G + g) * n.V + c]
            end
            y[#y + 1] = sum
          end
        end
      end
    end
    return y, { n.B, n.T, n.H, n.V }
  end
end

local function row(label, n, o, more)
  local out = { op = "attention_", label = label, options = o, results = 1,
    inputs = { { shape = { n.B, n.T, n.H, n.W }, from = -1.3, to = 1.1 },
      { shape = { n.B, n.S, n.G, n.W }, from = -0.9, to = 1.4 },
      { shape = { n.B, n.S, n.G, n.V }, from = -1.1, to = 0.8 }, false, false },
    grad = { 1, 2, 3 }, gradgrad = true }
  for key, v in pairs(more or {}) do
    out[key] = v
  end
  out.expect_all = attend(n, o, out.bias, out.mask and out.mask.shape)
  if out.bias then
    out.inputs[4] = { shape = out.bias, from = -0.7, to = 0.9 }
    out.grad = { 1, 2, 3, 4 }
  end
  if out.mask then
    out.inputs[5] = { values = out.mask.values, dtype = "bool" }
  end
  out.bias, out.mask = nil, nil
  return out
end

local small = { B = 2, T = 3, S = 4, H = 2, G = 2, W = 3, V = 2 }
local same = { B = 1, T = 5, S = 5, H = 2, G = 1, W = 2, V = 3 }
local keys = { shape = { 2, 1, 1, 4 },
  values = { { { { true, false, true, true } } }, { { { false, false, false, false } } } } }
local each = { shape = { 1, 1, 3, 4 }, values = { { { { true, false, true, true },
  { false, false, false, false }, { false, true, false, false } } } } }
local q = { shape = { 2, 3, 2, 3 }, from = -1, to = 1 }
local k = { shape = { 2, 4, 2, 3 }, from = -1, to = 1 }
local function refused(says, status, inputs, options)
  return { inputs = inputs, options = options or { scale = 1 }, says = says, status = status }
end

return {
  row("attention", small, { scale = 0.7 }, { dtypes = { float32 = "float32", float64 = "float64" },
    errors = {
      refused("query, key and value have wrong shapes", "shape",
        { { shape = { 2, 3, 2 }, from = 0, to = 1 }, k, k }),
      refused("query, key and value do not fit together", "shape",
        { q, k, { shape = { 2, 3, 2, 3 }, from = 0, to = 1 } }),
      refused("query, key and value do not fit together", "shape",
        { q, { shape = { 2, 4, 3, 3 }, from = 0, to = 1 },
          { shape = { 2, 4, 3, 3 }, from = 0, to = 1 } }),
      refused("needs at least one key (got 0)", "shape",
        { q, { shape = { 2, 0, 2, 3 }, from = 0, to = 0 },
          { shape = { 2, 0, 2, 3 }, from = 0, to = 0 } }),
      refused("bias does not broadcast to the scores (expected [2, 2, 3, 4], got [2, 2, 3, 3])",
        "shape", { q, k, k, { shape = { 2, 2, 3, 3 }, from = 0, to = 1 } }),
      refused("mask has another dtype (expected bool, got float", "dtype",
        { q, k, k, false, { shape = { 1, 1, 1, 4 }, from = 0, to = 1 } }),
      refused("window cannot be negative (got -1)", "argument", { q, k, k },
        { scale = 1, window = -1 }),
      refused("rate is a probability (expected 0..1, got 1.5)", "argument", { q, k, k },
        { scale = 1, rate = 1.5 }),
    } }),
  row("attention, groups, causal", same, { scale = 1, causal = true }),
  row("attention, window", same, { scale = 1, window = 2 }),
  row("attention, causal window", same, { scale = -0.5, window = 2, causal = true }),
  row("attention, keys masked", small, { scale = 1 }, { mask = keys }),
  row("attention, mask and causal", small, { scale = 1, causal = true }, { mask = each }),
  row("attention, bias", small, { scale = 1 }, { bias = { 2, 2, 3, 4 } }),
  row("attention, bias of heads, mask", small, { scale = 1 },
    { bias = { 1, 2, 1, 4 }, mask = each }),
  row("attention, cap", small, { scale = 2, cap = 1.5 }, { bias = { 1, 1, 3, 4 } }),
  row("attention, queries of later places", small, { scale = 1, causal = true, offset = 1 }),
  row("attention, window of later places", small, { scale = 1, window = 2, offset = 2 }),
  row("attention, causal window of later places", small,
    { scale = 1, causal = true, window = 2, offset = 1 }),
  row("attention, dropout", small, { scale = 1, rate = 0.4, seed = 3 }),
  row("attention, dropout, groups, causal", same,
    { scale = 1, causal = true, rate = 0.5, seed = 5 }),
  row("attention, dropout, mask, bias, cap", small, { scale = 2, cap = 1.5, rate = 0.3, seed = 1 },
    { bias = { 1, 2, 1, 4 }, mask = each }),
  row("attention, all dropped", small, { scale = 1, rate = 1, seed = 1 }),
  row("attention, dropout, several tiles", { B = 1, T = 70, S = 150, H = 1, G = 1, W = 2, V = 1 },
    { scale = 1, rate = 0.6, seed = 2 }, { grad = { 3 }, gradgrad = false }),
  row("attention of several tiles", { B = 1, T = 70, S = 150, H = 1, G = 1, W = 2, V = 1 },
    { scale = 1, causal = true }, { grad = { 3 }, gradgrad = false }),
}

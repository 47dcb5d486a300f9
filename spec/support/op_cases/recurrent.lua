-- Recurrent cells over whole sequences, against the cells' equations written out number by number.

local exp = math.exp
local acts = {
  linear = function(x) return x end,
  relu = function(x) return math.max(x, 0) end,
  sigmoid = function(x) return 1 / (1 + exp(-x)) end,
  tanh = function(x) return (exp(x) - exp(-x)) / (exp(x) + exp(-x)) end,
  hard_sigmoid = function(x) return math.max(0, math.min(1, x / 6 + 0.5)) end,
}
local gates = { simple = 1, lstm = 4, gru = 3, gru_before = 3 }

-- y, as a flat list: z (B, T, gates U), h and c (B, U), kernel (U, gates U), bias, mask.
local function sequence(B, T, U, o)
  local G = gates[o.cell]
  local act, gate = acts[o.activation], acts[o.gate]
  return function(z, h0, c0, kernel, bias, mask)
    local y = {}
    for b = 0, B - 1 do
      local h, c, out = {}, {}, {}
      for u = 1, U do
        h[u], c[u], out[u] = h0[b * U + u], c0 and c0[b * U + u], 0
      end
      for k = 0, T - 1 do
        local t = o.backwards and T - 1 - k or k
        local function x(g, u) return z[(b * T + t) * G * U + (g - 1) * U + u] end
        local function dot(v, g, u)
          local sum = bias and bias[(g - 1) * U + u] or 0
          for i = 1, U do
            sum = sum + v[i] * kernel[(i - 1) * G * U + (g - 1) * U + u]
          end
          return sum
        end
        local new, cell, rh = {}, {}, {}
        for u = 1, U do
          rh[u] = G == 3 and gate(x(2, u) + dot(h, 2, u)) * h[u]
        end
        for u = 1, U do
          if o.cell == "simple" then
            new[u] = act(x(1, u) + dot(h, 1, u))
          elseif o.cell == "lstm" then
            cell[u] = gate(x(2, u) + dot(h, 2, u)) * c[u]
              + gate(x(1, u) + dot(h, 1, u)) * act(x(3, u) + dot(h, 3, u))
            new[u] = gate(x(4, u) + dot(h, 4, u)) * act(cell[u])
          else
            local update = gate(x(1, u) + dot(h, 1, u))
            local inner = o.cell == "gru" and gate(x(2, u) + dot(h, 2, u)) * dot(h, 3, u)
              or dot(rh, 3, u)
            new[u] = update * h[u] + (1 - update) * act(x(3, u) + inner)
          end
        end
        local keeps = not mask or mask[b * T + t + 1]
        if keeps then
          h, c = new, o.cell == "lstm" and cell or c
        end
        for u = 1, U do
          out[u] = keeps and new[u] or not o.zero and out[u] or 0
          y[#y + 1] = out[u]
        end
      end
    end
    return y, { B, T, U }
  end
end

local function row(label, B, T, U, o, more)
  local G = gates[o.cell]
  local out = { op = "recurrent_", label = label, options = o, results = 3,
    expect_all = sequence(B, T, U, o),
    inputs = { { shape = { B, T, G * U }, from = -1.3, to = 1.1 },
      { shape = { B, U }, from = -0.9, to = 0.7 },
      o.cell == "lstm" and { shape = { B, U }, from = -0.5, to = 0.8 } or false,
      { shape = { U, G * U }, from = -0.8, to = 0.9 },
      o.biased and { shape = { G * U }, from = -0.3, to = 0.4 } or false, false },
    grad = o.cell == "lstm" and { 1, 2, 3, 4 } or o.biased and { 1, 2, 4, 5 } or { 1, 2, 4 },
    gradgrad = true }
  o.biased = nil
  for key, v in pairs(more or {}) do
    out[key] = v
  end
  if out.mask then
    out.inputs[6] = { values = out.mask, dtype = "bool" }
    out.mask = nil
  end
  return out
end

local mask = { { true, false, true, true }, { false, true, true, false } }
local z = { shape = { 1, 2, 3 }, from = -1, to = 1 }
local h = { shape = { 1, 3 }, from = -1, to = 1 }
local kernel = { shape = { 3, 3 }, from = -1, to = 1 }
local simple = { cell = "simple", activation = "tanh", gate = "linear" }

return {
  row("simple", 2, 3, 2, { cell = "simple", activation = "tanh", gate = "linear" },
    { dtypes = { float32 = "float32", float64 = "float64" },
      errors = {
        { inputs = { z, { shape = { 1, 2 }, from = 0, to = 1 }, false, kernel },
          options = simple, says = "inputs and states do not fit (expected (B, T, 1 U) and (B, U)",
          status = "shape" },
        { inputs = { { shape = { 1, 0, 3 }, from = 0, to = 0 }, h, false, kernel },
          options = simple, says = "needs at least one step", status = "shape" },
        { inputs = { z, h, false, { shape = { 3, 4 }, from = 0, to = 1 } }, options = simple,
          says = "kernel has the wrong shape (expected [3, 3], got [3, 4])", status = "shape" },
        { inputs = { z, h, false, kernel, { shape = { 3 }, from = 0, to = 1 } }, options = simple,
          says = "only the cell 'gru' has a bias of its states", status = "argument" },
        { inputs = { { shape = { 1, 2, 12 }, from = 0, to = 1 }, h, false,
          { shape = { 3, 12 }, from = 0, to = 1 } },
          options = { cell = "lstm", activation = "tanh", gate = "sigmoid" },
          says = "needs c (expected a tensor, got none)", status = "argument" },
      } }),
  row("simple, backwards, masked", 2, 4, 3,
    { cell = "simple", activation = "sigmoid", gate = "linear", backwards = true },
    { mask = mask }),
  row("lstm", 2, 3, 2, { cell = "lstm", activation = "tanh", gate = "sigmoid" }),
  row("lstm, masked", 2, 4, 2, { cell = "lstm", activation = "tanh", gate = "hard_sigmoid" },
    { mask = mask }),
  row("lstm, masked, zero", 2, 4, 2,
    { cell = "lstm", activation = "linear", gate = "sigmoid", zero = true, backwards = true },
    { mask = mask }),
  row("lstm of many rows", 70, 2, 3, { cell = "lstm", activation = "tanh", gate = "sigmoid" },
    { grad = { 4 }, gradgrad = false }),
  row("gru", 2, 3, 2, { cell = "gru", activation = "tanh", gate = "sigmoid", biased = true }),
  row("gru, masked", 2, 4, 2, { cell = "gru", activation = "tanh", gate = "sigmoid" },
    { mask = mask }),
  row("gru, backwards, masked, zero", 2, 4, 2,
    { cell = "gru", activation = "linear", gate = "tanh", backwards = true, zero = true,
      biased = true }, { mask = mask }),
  row("gru_before", 2, 3, 3, { cell = "gru_before", activation = "tanh", gate = "sigmoid" }),
  row("gru_before, masked", 2, 4, 2,
    { cell = "gru_before", activation = "relu", gate = "sigmoid" }, { mask = mask }),
}

--- Windows of signals: the values of SciPy's scipy.signal.get_window for every name that needs no
--- parameter (Harris 1978, "On the use of windows for harmonic analysis").
local windows = {}

-- Sums of cosines: a0 - a1 cos + a2 cos 2 - ...
local terms = {
  boxcar = { 1 }, hann = { 0.5, 0.5 }, hamming = { 0.54, 0.46 }, blackman = { 0.42, 0.5, 0.08 },
  blackmanharris = { 0.35875, 0.48829, 0.14128, 0.01168 },
  nuttall = { 0.3635819, 0.4891775, 0.1365995, 0.0106411 },
  flattop = { 0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368 },
}

-- f(i, last): value i of 0..last, for last >= 1.
local formulas = {
  bartlett = function(i, last)
    return 1 - math.abs(2 * i / last - 1)
  end,
  triang = function(i, last)
    return 1 - math.abs(2 * i - last) / (last + 1 + (last + 1) % 2)
  end,
  cosine = function(i, last)
    return math.sin(math.pi / (last + 1) * (i + 0.5))
  end,
  exponential = function(i, last)
    return math.exp(-math.abs(i - last / 2))
  end,
  lanczos = function(i, last)
    local x = math.pi * (2 * i / last - 1)
    return x == 0 and 1 or math.sin(x) / x
  end,
  bohman = function(i, last)
    local x = math.abs(2 * i / last - 1)
    return (i == 0 or i == last) and 0
      or (1 - x) * math.cos(math.pi * x) + math.sin(math.pi * x) / math.pi
  end,
  barthann = function(i, last)
    local x = math.abs(i / last - 0.5)
    return 0.62 - 0.48 * x + 0.38 * math.cos(2 * math.pi * x)
  end,
  parzen = function(i, last)
    local n = last + 1
    local x = math.abs(i - last / 2) / (n / 2)
    return x <= (n - 1) / 4 / (n / 2) and 1 - 6 * x ^ 2 + 6 * x ^ 3 or 2 * (1 - x) ^ 3
  end,
  tukey = function(i, last)
    local x = math.min(i, last - i) / last
    return x < 0.25 and 0.5 * (1 - math.cos(4 * math.pi * x)) or 1
  end,
}
for name, a in pairs(terms) do
  formulas[name] = function(i, last)
    local v = 0
    for k, term in ipairs(a) do
      v = v + (k % 2 == 1 and term or -term) * math.cos(2 * math.pi * (k - 1) * i / last)
    end
    return v
  end
end

-- Taylor's window with 4 terms and side lobes at -30 dB, 1 in the middle.
do
  local n, B = 4, 10 ^ (30 / 20)
  local A = math.log(B + math.sqrt(B * B - 1)) / math.pi
  local s2 = n ^ 2 / (A ^ 2 + (n - 0.5) ^ 2)
  local F = {}
  for m = 1, n - 1 do
    local over, under = m % 2 == 1 and 1 or -1, 2
    for k = 1, n - 1 do
      over = over * (1 - m ^ 2 / s2 / (A ^ 2 + (k - 0.5) ^ 2))
      under = k == m and under or under * (1 - m ^ 2 / k ^ 2)
    end
    F[m] = over / under
  end
  local function value(x)
    local v = 1
    for m = 1, n - 1 do
      v = v + 2 * F[m] * math.cos(2 * math.pi * m * x)
    end
    return v
  end
  function formulas.taylor(i, last)
    return value((i - last / 2) / (last + 1)) / value(0)
  end
end

local names = {}
for name in pairs(formulas) do
  names[#names + 1] = name
end
table.sort(names)
--- The names, as an enum of tide.check lists them.
windows.names = table.concat(names, "|")

--- The n values of a window; a periodic one is the symmetric one of n + 1 without its last value.
--- @param name string
--- @param n integer
--- @param periodic boolean
--- @return table
function windows.values(name, n, periodic)
  local out, last = {}, periodic and n or n - 1
  for i = 0, n - 1 do
    out[i + 1] = n == 1 and 1 or formulas[name](i, last)
  end
  return out
end

return windows

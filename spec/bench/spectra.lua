-- Fourier transforms and mel spectra beside NumPy's and Keras', one thread, milliseconds of the
-- processor, the best of some rounds:
-- `build/tide spec/bench/spectra.lua [--python PY] [--backend jax|tensorflow]`, PY with both.
local tide = require "tide"
local ops = tide.ops

local o = {}
for i = 1, #arg, 2 do
  o[arg[i]:sub(3)] = arg[i + 1]
end
tide.set_threads(1)

local names, best = {}, {}
local function time(name, f)
  f()
  names[#names + 1], best[name] = name, math.huge
  for _ = 1, 15 do
    local start = os.clock()
    f()
    best[name] = math.min(best[name], (os.clock() - start) * 1e3)
  end
end

local x, layer = tide.random.normal { 64, 32000 }, tide.layers.MelSpectrogram()
time("mel", function() layer(x) end)
for _, row in ipairs { { "rows_256", 4096, 256 }, { "rows_2048", 512, 2048 },
  { "rows_1000", 1024, 1000 }, { "row_1M", 1, 1 << 20 }, { "rows_prime", 64, 1021 },
  { "rows_4099", 64, 4099 }, { "row_2310", 1, 2310 } } do
  local a = tide.random.normal { row[2], row[3] }
  local re, im = ops.rfft(a)
  time("fft_" .. row[1], function() ops.fft { a, a } end)
  time("rfft_" .. row[1], function() ops.rfft(a) end)
  time("irfft_" .. row[1], function() ops.irfft({ re, im }, row[3]) end)
end
local a = tide.random.normal { 16, 256, 256 }
time("fft2_256", function() ops.fft2 { a, a } end)

local peer = {}
if o.python then
  local p = assert(io.popen(("KERAS_BACKEND=%s %s spec/bench/spectra_peer.py"):format(
    o.backend or "tensorflow", o.python)))
  for line in p:lines() do
    local name, ms = line:match "^(%S+) ([%d.]+)$"
    peer[name or ""] = tonumber(ms)
  end
  p:close()
end
print(("%-18s %10s %10s %8s"):format("", "tide ms", "peer ms", "ratio"))
for _, name in ipairs(names) do
  local other = peer[name]
  print(("%-18s %10.3f %10s %8s"):format(name, best[name],
    other and ("%.3f"):format(other) or "", other and ("%.2f"):format(other / best[name]) or ""))
end

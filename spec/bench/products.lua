-- Products of matrices by each engine, GFLOP/s: squares of 16 to 2,048, and what the layers of the
-- speed rows multiply (forward, for the gradient of x, for that of the kernel).
--
--   make bench ROWS=products        products.lua [--threads N] [--seconds S] [--only NAME]
--
-- The last column is Tide's own beside the best library: below 1, a library is faster. Times are
-- the least of many: of the process where one thread works, else of the clock on the wall.
local core = require "tide.core"
local tide = require "tide"
local ops = tide.ops

local threads, seconds, only = 1, 0.1, nil
for i = 1, #arg do
  threads = arg[i] == "--threads" and tonumber(arg[i + 1]) or threads
  seconds = arg[i] == "--seconds" and tonumber(arg[i + 1]) or seconds
  only = arg[i] == "--only" and arg[i + 1] or only
end

local now = threads == 1 and os.clock or core.now

-- m, k, n of y = x w
local layers = {
  { "mlp_small 1", 32, 784, 64 }, { "mlp_small 2", 32, 64, 64 }, { "mlp_mid 1", 128, 784, 1024 },
  { "mlp_mid 2", 128, 1024, 1024 }, { "head of 10", 128, 1024, 10 },
  { "cnn dense", 128, 1600, 128 },
  { "lstm inputs", 4096, 128, 512 }, { "lstm step", 32, 128, 512 }, { "encoder", 2048, 128, 512 },
  { "encoder 2", 2048, 512, 128 }, { "gpt", 1024, 256, 1024 }, { "gpt 2", 1024, 1024, 256 },
  { "gpt_b1", 128, 256, 1024 }, { "gpt_b1 2", 128, 1024, 256 }, { "gpt_b1 3", 128, 256, 256 },
  { "scores", 64, 32, 128 }, { "row", 1, 1024, 1024 }, { "few rows", 4, 1024, 1024 },
  { "mobilenet", 9216, 16, 96 }, { "mobilenet 2", 9216, 96, 16 }, { "im2col", 3136, 288, 64 },
}

-- The least time of a call, after some to warm up.
local function least(call)
  local once = now()
  call()
  call()
  local per = math.max((now() - once) / 2, 1e-7)
  local some = math.max(1, math.floor(2e-4 / per))
  local best, begun = math.huge, now()
  repeat
    local t = now()
    for _ = 1, some do
      call()
    end
    best = math.min(best, (now() - t) / some)
  until now() - begun > seconds
  return best
end

local engines = { "plain", "onednn", "blas", "onednn blas" }
local worst, sum, count = math.huge, 0, 0
print(("%-14s %18s"):format("product", "m x k x n")
  .. ("%12s"):rep(#engines):format(table.unpack(engines)) .. "  plain/best")

local function row(name, m, k, n, a, b)
  if only and not name:find(only, 1, true) then
    return
  end
  local line, rate = {}, {}
  for i, names in ipairs(engines) do
    core.engines(names)
    rate[i] = 2e-9 * m * k * n / least(function() return ops.matmul(a, b) end)
    line[i] = ("%12.1f"):format(rate[i])
  end
  core.engines(false)
  local ratio = rate[1] / math.max(table.unpack(rate, 2))
  worst, sum, count = math.min(worst, ratio), sum + math.log(ratio), count + 1
  print(("%-14s %18s%s %11.2f"):format(name, ("%d x %d x %d"):format(m, k, n), table.concat(line),
    ratio))
end

local function turned(x)
  return ops.transpose(x)
end

tide.seed(0)
core.set_threads(threads)
local normal = tide.random.normal
tide.no_grad(function()
  for n = 4, 11 do
    local size = 2 ^ n // 1 | 0
    local a, b = normal { size, size }, normal { size, size }
    row("square", size, size, size, a, b)
    row("square nt", size, size, size, a, turned(b))
    row("square tn", size, size, size, turned(a), b)
    size = size // 2 * 3
    if n < 11 then
      a, b = normal { size, size }, normal { size, size }
      row("square", size, size, size, a, b)
    end
  end
  for _, of in ipairs(layers) do
    local name, m, k, n = table.unpack(of)
    local x, w, dy = normal { m, k }, normal { k, n }, normal { m, n }
    row(name, m, k, n, x, w)
    row(name .. " dx", m, n, k, dy, turned(w))
    row(name .. " dw", k, m, n, turned(x), dy)
  end
end)
print(("own / best library: geometric mean %.2f, least %.2f"):format(math.exp(sum / count), worst))

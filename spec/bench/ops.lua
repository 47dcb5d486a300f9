-- Single ops beside NumPy and torch, in one run: `make bench-ops PEER=python THREADS=2 ONLY=sum`,
-- where PEER is a Python that has both. Microseconds of a call, the best of many blocks; the
-- systems take turns (ROUNDS=2), each in a process of its own. The last column is the better
-- peer's time over Tide's: above 1, Tide is faster. Without PEER only Tide's times are printed.
-- ONLY may name several parts of names, "sum sort", and SIZES the sizes, "100 1000000".
local core = require "tide.core"
local tide = require "tide"

local ops, linalg = tide.ops, tide.ops.linalg
local o = { threads = "2", seconds = "0.2", rounds = "2", only = "",
  sizes = "100 10000 1000000 10000000" }
for i = 1, #arg, 2 do
  o[arg[i]:gsub("^%-%-", "")] = arg[i + 1]
end
local seconds = tonumber(o.seconds)
tide.set_threads(math.tointeger(tonumber(o.threads)))

local best, order = { tide = {}, numpy = {}, torch = {} }, {}

local function keep(who, name, us)
  best[who][name] = math.min(best[who][name] or math.huge, us)
end

local function wanted(name)
  for part in o.only:gmatch "%S+" do
    if name:find(part, 1, true) then
      return true
    end
  end
  return not o.only:find "%S"
end

local function report(name, f)
  if not wanted(name) then
    return
  end
  f()
  local n, t = 1, 0
  while t < seconds / 40 do
    local t0 = core.now()
    for _ = 1, n do
      f()
    end
    t = core.now() - t0
    n = n * 2
  end
  n = math.max(n // 2, 1)
  local least, stop = math.huge, core.now() + seconds
  repeat
    local t0 = core.now()
    for _ = 1, n do
      f()
    end
    local t1 = core.now()
    least = math.min(least, (t1 - t0) / n)
  until t1 > stop
  if not best.tide[name] then
    order[#order + 1] = name
  end
  keep("tide", name, least * 1e6)
end

local function uniform(...)
  return tide.random.uniform({ ... })
end

-- The cases whose cost grows with n: each name is ops_peer.py's.
local function grow(n)
  local a, b, m = uniform(n), uniform(n), uniform(n // 100, 100)
  local row, col = uniform(100), uniform(n // 100, 1)
  local i = tide.random.randint({ n }, 1, n + 1)
  local rows = tide.random.randint({ n // 100 }, 1, n // 100 + 1)
  local places, single = rows:reshape { -1, 1 }, i:reshape { -1, 1 }
  local along = tide.random.randint({ n // 100, 100 }, 1, 101)
  local whole, doubles = ops.cast(a * 1000, "int32"), ops.cast(a, "float64")
  local bytes = ops.cast(a * 200, "uint8")
  return {
    { "add", function() return a + b end },
    { "scale", function() return a * 1.5 end },
    { "exp", function() return ops.exp(a) end },
    { "tanh", function() return ops.tanh(a) end },
    { "sqrt", function() return ops.sqrt(a) end },
    { "relu", function() return ops.relu(a) end },
    { "gelu", function() return ops.gelu(a, { approximate = false }) end },
    { "chain", function() return ops.exp(-(a * b + a) ^ 2) end },
    { "greater", function() return ops.greater(a, b) end },
    { "to_int32", function() return ops.cast(a, "int32") end },
    { "from_int32", function() return ops.cast(whole, "float32") end },
    { "to_float64", function() return ops.cast(a, "float64") end },
    { "to_float16", function() return ops.cast(a, "float16") end },
    { "from_uint8", function() return ops.cast(bytes, "float32") end },
    { "add_int32", function() return whole + whole end },
    { "add_float64", function() return doubles + doubles end },
    { "sigmoid", function() return ops.sigmoid(a) end },
    { "log", function() return ops.log(a) end },
    { "pow", function() return a ^ b end },
    { "divide", function() return a / b end },
    { "add_row", function() return m + row end },
    { "add_col", function() return m + col end },
    { "sum", function() return ops.sum(a) end },
    { "sum_axis0", function() return ops.sum(m, { axis = 1 }) end },
    { "sum_axis1", function() return ops.sum(m, { axis = 2 }) end },
    { "max_axis0", function() return ops.max(m, { axis = 1 }) end },
    { "max_axis1", function() return ops.max(m, { axis = 2 }) end },
    { "mean_axis1", function() return ops.mean(m, { axis = 2 }) end },
    { "var_axis1", function() return ops.var(m, { axis = 2 }) end },
    { "argmax_axis1", function() return ops.argmax(m, { axis = 2 }) end },
    { "argmax_axis0", function() return ops.argmax(m, { axis = 1 }) end },
    { "cumsum", function() return ops.cumsum(a, { axis = 1 }) end },
    { "cumsum_axis0", function() return ops.cumsum(m, { axis = 1 }) end },
    { "cumsum_axis1", function() return ops.cumsum(m, { axis = 2 }) end },
    { "prod", function() return ops.prod(a) end },
    { "max", function() return ops.max(a) end },
    { "all", function() return ops.all(a) end },
    { "sort", function() return ops.sort(a) end },
    { "argsort", function() return ops.argsort(a) end },
    { "sort_axis1", function() return ops.sort(m, 2) end },
    { "sort_int64", function() return ops.sort(i) end },
    { "top_k", function() return ops.top_k(a, 10) end },
    { "top_k_axis1", function() return ops.top_k(m, 10) end },
    { "gather", function() return ops.take(a, i) end },
    { "gather_rows", function() return ops.take(m, rows, { axis = 1 }) end },
    { "take_along_axis1", function() return ops.take_along_axis(m, along, { axis = 2 }) end },
    { "scatter_add", function() return ops.scatter(single, a, { n }) end },
    { "scatter_add_rows", function() return ops.scatter(places, m, { n // 100, 100 }) end },
    { "where", function() return ops.where(ops.greater(a, b), a, b) end },
    { "transpose", function() return m:transpose():copy() end },
    { "concatenate", function() return ops.concatenate({ a, b }, { axis = 1 }) end },
    { "concatenate_axis1", function() return ops.concatenate({ m, m }, { axis = 2 }) end },
    { "stack", function() return ops.stack({ a, b }, { axis = 2 }) end },
    { "flip", function() return ops.flip(a):copy() end },
    { "clip", function() return ops.clip(a, 0.2, 0.8) end },
    { "softmax", function() return ops.softmax(m) end },
    { "log_softmax", function() return ops.log_softmax(m) end },
    { "normal", function() return tide.random.normal { n } end },
  }
end

local function all()
  for size in o.sizes:gmatch "%d+" do
    local n = math.tointeger(size)
    for _, case in ipairs(grow(n)) do
      report(("%s_%d"):format(case[1], n), case[2])
    end
    collectgarbage()
  end
  for _, n in ipairs { 16, 32, 64, 128, 256, 512, 1024 } do
    local a, b, v = uniform(n, n), uniform(n, n), uniform(n)
    local s = ops.matmul(a, a:transpose()) + ops.eye(n) * n
    local cases = {
      matmul = function() return ops.matmul(a, b) end,
      matmul_nt = function() return ops.matmul(a, b:transpose()) end,
      matvec = function() return ops.matmul(a, v) end,
      cholesky = function() return linalg.cholesky(s) end,
      solve = function() return linalg.solve(s, a) end,
      svd = n <= 512 and function() return linalg.svd(a) end or nil,
      qr = n <= 512 and function() return linalg.qr(a) end or nil,
      eigh = n <= 512 and function() return linalg.eigh(s) end or nil,
      inv = n <= 512 and function() return linalg.inv(s) end or nil,
    }
    for _, name in ipairs { "matmul", "matmul_nt", "matvec", "cholesky", "solve", "svd", "qr",
      "eigh", "inv" } do
      if cases[name] then
        report(("%s_%d"):format(name, n), cases[name])
      end
    end
  end
  local a, b = uniform(32, 64, 128), uniform(32, 128, 64)
  report("bmm_32x64x128x64", function() return ops.matmul(a, b) end)
  report("einsum_bij_bjk", function() return ops.einsum("bij,bjk->bik", a, b) end)
  for _, c in ipairs { { 1, 28, 1, 32, 3, 1 }, { 32, 28, 32, 64, 3, 1 }, { 8, 56, 64, 64, 3, 1 },
    { 8, 56, 64, 128, 1, 1 }, { 8, 112, 32, 64, 3, 2 }, { 1, 56, 64, 64, 3, 1 } } do
    local batch, size, channels, filters, k, stride = table.unpack(c)
    local x, w = uniform(batch, size, size, channels), uniform(k, k, channels, filters)
    local how = { strides = stride, padding = "same" }
    report(("conv_%dx%dx%d_%d_%d_%d"):format(table.unpack(c)),
      function() return ops.conv(x, w, how) end)
  end
  local x, w = uniform(8, 56, 56, 64), uniform(3, 3, 64, 1)
  report("depthwise_8x56x64_3",
    function() return ops.depthwise_conv(x, w, { padding = "same" }) end)
  report("max_pool_8x56x64_2", function() return ops.max_pool(x, 2) end)
  report("average_pool_8x56x64_2", function() return ops.average_pool(x, 2) end)
  local leaf = ops.ones { 100 }
  leaf:requires_grad_(true)
  report("autograd_100_small_ops", function()
    local y = leaf
    for _ = 1, 100 do
      y = y * 1.0001
    end
    ops.sum(y):backward()
  end)
end

for _ = 1, tonumber(o.rounds) do
  if o.python then
    local p = assert(io.popen(("%s spec/bench/ops_peer.py %s %s '%s' '%s'"):format(o.python,
      o.threads, o.seconds, o.only, o.sizes)))
    for line in p:lines() do
      local who, name, us = line:match "^(%S+) (%S+) (%S+)"
      if who then
        keep(who, name, tonumber(us))
      end
    end
    p:close()
  end
  all()
end

local function cell(v)
  return v and ("%12.5g"):format(v) or ("%12s"):format "-"
end

print(("%-26s%12s%12s%12s%10s   microseconds, %s threads, CPU level %s"):format("op", "tide",
  "torch", "numpy", "ratio", o.threads, core.cpu_level))
local ratios, behind = {}, 0
for _, name in ipairs(order) do
  local here, torch, numpy = best.tide[name], best.torch[name], best.numpy[name]
  local peer = math.min(torch or math.huge, numpy or math.huge)
  local ratio = peer < math.huge and peer / here
  if ratio then
    ratios[#ratios + 1] = ratio
    behind = behind + (ratio < 1 and 1 or 0)
  end
  print(("%-26s%s%s%s%s"):format(name, cell(here), cell(torch), cell(numpy),
    ratio and ("%10.2f"):format(ratio) or ""))
end
if #ratios > 0 then
  table.sort(ratios)
  print(("%d ops, %d slower than the better peer, median ratio %.2f"):format(#ratios, behind,
    ratios[(#ratios + 1) // 2]))
end

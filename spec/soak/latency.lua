--- How soon Ctrl-C is heard inside each op that may take long.
--
--   latency.lua [--runs N] [--step MS] [--task NAME,NAME] [--most MS] [--by cpu]
--
-- Each op runs over and over on large operands in a process of its own; the press comes after 100
-- ms and a little more (37 ms, or `step`) at each run (N of them, 3). Printed: how long each went
-- on, the median and the worst. A worst above `most` (200) is a failure: run it on a machine that
-- does nothing else, or `--by cpu`: on one thread, by the time of the processor that the process
-- had.
package.path = "./?.lua;" .. package.path
local common = require "spec.soak.common"
local core = require "tide.core"
local o = common.arguments()

-- ---- the ops, each a text that makes operands and returns what is called ----

local prelude = [[
  local tide = require "tide"
  local core, ops, la, random = require "tide.core", tide.ops, tide.ops.linalg, tide.random
  local function var(...) local t = ops.full({ ... }, 0.5) t.requires_grad = true return t end
  local function grad(y, ...) local g = core.gradients(ops.sum(y), { ... }) end
  local N = 1 << 27
  local function row() return ops.full({ 1, N }, 0.25) end
  local function ids(n, most) return random.randint({ n }, 1, most) end
]]

local list = {
  exp = "local x = row() return function() ops.exp(x) end",
  add = "local x = row() return function() return x + x end",
  cast = "local x = row() return function() ops.cast(x, 'float64') end",
  transpose = "local x = ops.zeros { 1 << 13, 1 << 14 } \z
    return function() ops.copy(x:transpose()) end",
  concatenate = "local x = row() return function() ops.concatenate { x, x } end",
  pad = "local x = row() return function() ops.pad(x, { { 0, 0 }, { 1, 1 } }) end",
  sum = "local x = row() return function() ops.sum(x) end",
  sum_columns = "local x = ops.zeros { 1 << 20, 128 } return function() ops.sum(x, 1) end",
  var = "local x = row() return function() ops.var(x) end",
  argmax = "local x = row() return function() ops.argmax(x) end",
  cumsum = "local x = row() return function() ops.cumsum(x, { axis = 2 }) end",
  logsumexp = "local x = row() return function() ops.logsumexp(x) end",
  norm = "local x = row() return function() ops.norm(x) end",
  sort = "local x = random.normal { 1 << 24 } return function() ops.sort(x) end",
  argsort = "local x = random.normal { 1 << 24 } return function() ops.argsort(x) end",
  top_k = "local x = random.normal { 1 << 26 } return function() ops.top_k(x, 100) end",
  unique = "local x = ids(1 << 24, 1 << 20) return function() ops.unique(x) end",
  median = "local x = random.normal { 1 << 24 } return function() ops.median(x) end",
  searchsorted = "local x = ops.linspace(0, 1, 1 << 20) local v = random.uniform { 1 << 24 } \z
    return function() ops.searchsorted(x, v) end",
  bincount = "local x = ids(1 << 26, 1000) return function() ops.bincount(x) end",
  bincount_wide = "local x = ids(1 << 26, 1 << 24) return function() ops.bincount(x) end",
  one_hot = "local x = ids(1 << 18, 500) return function() ops.one_hot(x, 500) end",
  nonzero = "local x = row() return function() ops.nonzero(x) end",
  mask = "local x = row() local m = x:greater(0) return function() return x[m] end",
  where = "local x = row() local m = x:greater(0) return function() ops.where(m, x, 0) end",
  take = "local x, i = ops.zeros { 1000, 64 }, ids(1 << 21, 1000) \z
    return function() ops.take(x, i, { axis = 1 }) end",
  take_grad = "local x, i = var(1000, 64), ids(1 << 21, 1000) \z
    return function() grad(ops.take(x, i, { axis = 1 }), x) end",
  embedding = "local x, i = ops.zeros { 50000, 64 }, ids(1 << 21, 50000) \z
    return function() ops.embedding(x, i) end",
  embedding_grad = "local x, i = var(50000, 64), ids(1 << 21, 50000) \z
    return function() grad(ops.embedding(x, i), x) end",
  embedding_grad_one = "local x, i = var(2, 1024), ids(1 << 17, 2) \z
    return function() grad(ops.embedding(x, i), x) end",
  segment_sum = "local x, i = ops.zeros { 1 << 21, 64 }, ids(1 << 21, 1000) \z
    return function() ops.segment_sum(x, i, { num_segments = 1000 }) end",
  repeats = "local x = ops.zeros { 1 << 24 } return function() ops.rep(x, 8) end",
  flip = "local x = row() return function() ops.flip(x) end",
  roll = "local x = row() return function() ops.roll(x, 5) end",
  tile = "local x = ops.zeros { 1 << 20 } return function() ops.tile(x, { 128 }) end",
  full = "return function() ops.full({ 1, N }, 1) end",
  assign = "local x, y = row(), row() return function() x:assign(y) end",
  softmax = "local x = row() return function() ops.softmax(x) end",
  softmax_rows = "local x = ops.zeros { 1 << 20, 128 } return function() ops.softmax(x) end",
  softmax_columns = "local x = ops.zeros { 1 << 20, 128 } \z
    return function() ops.softmax(x, { axis = 1 }) end",
  softmax_few = "local x = ops.zeros { 1 << 26, 2 } \z
    return function() ops.softmax(x, { axis = 1 }) end",
  softmax_grad = "local x = var(1, N // 2) return function() grad(ops.softmax(x), x) end",
  softmax_grad_few = "local x = var(N // 4, 2) \z
    return function() grad(ops.softmax(x, { axis = 1 }), x) end",
  log_softmax = "local x = row() return function() ops.log_softmax(x) end",
  log_softmax_few = "local x = ops.zeros { 1 << 26, 2 } \z
    return function() ops.log_softmax(x, { axis = 1 }) end",
  log_softmax_grad = "local x = var(1, N // 2) return function() grad(ops.log_softmax(x), x) end",
  log_softmax_grad_few = "local x = var(N // 4, 2) \z
    return function() grad(ops.log_softmax(x, { axis = 1 }), x) end",
  sparsemax = "local x = random.normal { 1, N // 4 } return function() ops.sparsemax(x) end",
  sparse_ce = "local x, t = row(), tide.tensor { 5 } return function() \z
    ops.sparse_categorical_crossentropy(t, x, { from_logits = true }) end",
  sparse_ce_grad = "local x, t = var(1, N // 2), tide.tensor { 5 } return function() \z
    grad(ops.sparse_categorical_crossentropy(t, x, { from_logits = true }), x) end",
  sparse_ce_grad_p = "local x, t = var(1, N // 2), tide.tensor { 5 } return function() \z
    grad(ops.sparse_categorical_crossentropy(t, x), x) end",
  ce = "local x, t = row(), row() return function() \z
    ops.categorical_crossentropy(t, x, { from_logits = true }) end",
  ce_p = "local x, t = row(), row() return function() ops.categorical_crossentropy(t, x) end",
  ce_grad = "local x, t = var(1, N // 2), ops.zeros { 1, N // 2 } return function() \z
    grad(ops.categorical_crossentropy(t, x, { from_logits = true }), x) end",
  ce_grad_p = "local x, t = var(1, N // 2), ops.zeros { 1, N // 2 } return function() \z
    grad(ops.categorical_crossentropy(t, x), x) end",
  bce = "local x, t = row(), row() return function() ops.binary_crossentropy(t, x) end",
  squared_error = "local x, t = row(), row() \z
    return function() tide.losses.mean_squared_error(t, x) end",
  ctc = "local x, t = ops.zeros { 32, 500, 200 }, ops.ones({ 32, 100 }, { dtype = 'int64' }) \z
    return function() ops.ctc_loss(t, x, ops.full({ 32 }, 100, { dtype = 'int64' }), \z
    ops.full({ 32 }, 500, { dtype = 'int64' })) end",
  ctc_decode = "local x = random.normal { 1, 200, 100 } return function() \z
    ops.ctc_decode(x, tide.tensor({ 200 }, { dtype = 'int32' }), \z
    { strategy = 'beam_search', beam_width = 20000 }) end",
  threshold_counts = "local t, x = ops.ones { N // 8, 1 }, random.uniform { N // 8, 1 } \z
    local at = ops.linspace(0, 1, 200) \z
    return function() core.ops.threshold_counts(t, x, at) end",
  layer_norm = "local x = row() return function() ops.layer_normalization(x) end",
  layer_norm_rows = "local x = ops.zeros { 1 << 20, 128 } \z
    return function() ops.layer_normalization(x) end",
  layer_norm_grad = "local x = var(1, N // 2) \z
    return function() grad(ops.layer_normalization(x), x) end",
  rms_norm = "local x = row() return function() ops.rms_normalization(x) end",
  rms_norm_grad = "local x = var(1, N // 2) \z
    return function() grad(ops.rms_normalization(x), x) end",
  group_norm = "local x = ops.zeros { 1, N // 4, 4 } return function() \z
    ops.group_normalization(x, { groups = 1 }) end",
  group_norm_grad = "local x = var(1, N // 8, 4) return function() \z
    grad(ops.group_normalization(x, { groups = 1 }), x) end",
  batch_norm = "local x = ops.zeros { 1 << 20, 128 } local l = tide.layers.BatchNormalization {} \z
    l(x) return function() l(x, { training = true }) end",
  batch_norm_grad = "local x = var(1 << 19, 128) local l = tide.layers.BatchNormalization {} \z
    l(x) return function() grad(l(x, { training = true }), x) end",
  cdist = "local x = ops.zeros { 4000, 32 } return function() ops.cdist(x, x) end",
  dropout = "local x = row() return function() random.dropout(x, 0.5) end",
  normal = "return function() random.normal { N } end",
  gamma = "return function() random.gamma({ N // 4 }, 2) end",
  shuffle = "local x = ops.zeros { N // 4 } return function() random.shuffle(x) end",
  categorical = "local x = ops.zeros { 1000, 10000 } \z
    return function() random.categorical(x, 10) end",
  matmul = "local x = ops.zeros { 6000, 6000 } return function() x:matmul(x) end",
  matmul_f64 = "local x = ops.zeros({ 4000, 4000 }, { dtype = 'float64' }) \z
    return function() x:matmul(x) end",
  matmul_long = "local x = ops.broadcast_to(ops.ones({ 1 }, { dtype = 'float64' }), { 1 << 31 }) \z
    return function() x:matmul(x) end",
  matmul_half = "local x = ops.zeros({ 4000, 4000 }, { dtype = 'bfloat16' }) \z
    return function() x:matmul(x) end",
  matmul_int = "local x = ops.zeros({ 1000, 1000 }, { dtype = 'int64' }) \z
    return function() x:matmul(x) end",
  matmul_batch = "local x = ops.zeros { 64, 1000, 1000 } return function() x:matmul(x) end",
  matvec = "local x, v = ops.zeros { 1 << 13, 1 << 14 }, ops.zeros { 1 << 14 } \z
    return function() x:matmul(v) end",
  linear_grad = "local x, w = var(4000, 4000), var(4000, 4000) \z
    return function() grad(x:matmul(w), x, w) end",
  einsum = "local x = ops.zeros { 3000, 3000 } return function() ops.einsum('ij,jk->ki', x, x) end",
  lstm = "local l, x = tide.layers.LSTM { 512 }, ops.zeros { 64, 200, 128 } l(x) \z
    return function() l(x) end",
  gru_grad = "local l, x = tide.layers.GRU { 256 }, var(64, 200, 128) l(x) \z
    return function() grad(l(x), x) end",
  attention = "local x = ops.zeros { 2, 2000, 8, 64 } \z
    return function() ops.dot_product_attention(x, x, x) end",
  max_pool = "local x = ops.zeros { 8, 512, 512, 32 } return function() ops.max_pool(x, 2) end",
  max_pool_grad = "local x = var(4, 512, 512, 32) \z
    return function() grad(ops.max_pool(x, 2), x) end",
  average_pool = "local x = ops.zeros { 8, 512, 512, 32 } \z
    return function() ops.average_pool(x, 7) end",
  depthwise = "local x, k = ops.zeros { 4, 256, 256, 64 }, ops.zeros { 7, 7, 64, 1 } \z
    return function() ops.depthwise_conv(x, k) end",
  depthwise_grad = "local x, k = var(4, 256, 256, 64), var(7, 7, 64, 1) \z
    return function() grad(ops.depthwise_conv(x, k), x, k) end",
  resize = "local x = ops.zeros { 1, 4000, 4000, 3 } return function() \z
    tide.image.resize(x, { 6000, 6000 }) end",
  adam = "local x = var(N // 4) local a = tide.optimizers.Adam {} a:build { x } \z
    local g = ops.ones { N // 4 } return function() a:apply({ g }, { x }) end",
  fft = "local x = ops.zeros { 1 << 22 } return function() ops.rfft(x) end",
  from_table = "local t = {} for i = 1, 1 << 22 do t[i] = i end \z
    return function() tide.tensor(t) end",
  tolist = "local x = ops.zeros { 1 << 22 } return function() x:tolist() end",
}

-- Convolutions and their gradients, by every engine, of both dtypes.
for name, shape in pairs {
  conv = "{ 1, 256, 256, 128 } { 7, 7, 128, 128 }",
  conv_thin = "{ 4, 512, 512, 1 } { 5, 5, 1, 64 }",
  conv_strided = "{ 4, 256, 256, 64 } { 5, 5, 64, 64 }",
  conv_3x3 = "{ 16, 128, 128, 64 } { 3, 3, 64, 64 }",
  conv_1x1 = "{ 4, 256, 256, 256 } { 1, 1, 256, 256 }",
  conv_1d = "{ 4, 65536, 64 } { 9, 64, 64 }",
  conv_1d_long = "{ 1, 1 << 20, 64 } { 9, 64, 64 }",
  conv_groups = "{ 4, 256, 256, 128 } { 5, 5, 32, 128 }",
} do
  local x, k = shape:match "(%b{}) (%b{})"
  for _, dtype in ipairs { "float32", "float64" } do
    for _, engine in ipairs(dtype == "float32" and { "plain", "" } or { "" }) do
      for _, of in ipairs { "", "_x", "_kernel" } do
        list[("%s%s_%s%s"):format(name, of, dtype, engine == "" and "" or "_" .. engine)] = (
          "--%s\nlocal x, k = ops.zeros(%s, { dtype = '%s' }), \z
          ops.zeros(%s, { dtype = '%s' }) \z
          local wanted = %s if wanted then wanted.requires_grad = true end \z
          local function f() return ops.conv(x, k, { padding = 'same', strides = %d }) end \z
          return wanted and function() grad(f(), wanted) end or f"):format(
          engine, x, dtype, k, dtype,
          of == "_x" and "x" or of == "_kernel" and "k" or "nil", name == "conv_strided" and 2 or 1)
      end
    end
  end
end
for _, name in ipairs { "eigh", "svd", "qr", "inv", "cholesky", "det", "lu_factor", "pinv" } do
  list["linalg_" .. name] = ("local x = random.normal { 2000, 2000 } %s \z
    return function() (la.%s or ops.%s)(x) end"):format(
    name == "cholesky" and "x = x:matmul(x:transpose())  + 2000 * ops.eye(2000)" or "", name, name)
end
for _, name in ipairs { "solve", "lstsq" } do
  list["linalg_" .. name] = ("local x = random.normal { 2000, 2000 } \z
    return function() (la.%s or ops.%s)(x, x) end"):format(name, name)
end
-- Of as many rows as fit: no call of the library may be long.
list.linalg_cholesky_large = "local x = ops.eye(9000) return function() ops.cholesky(x) end"
list.linalg_solve_large = "local x, b = ops.eye(9000), ops.zeros { 9000, 256 } \z
  return function() ops.solve(x, b) end"
list.linalg_solve_triangular = "local x = random.normal { 4000, 4000 } \z
  return function() ops.solve_triangular(x, x) end"

-- ---- one press ----

local by_cpu = o.by == "cpu"

-- Seconds of the processor that a process had.
local function spent(pid)
  local stat = assert(io.open(("/proc/%s/stat"):format(pid)))
  local user, system = stat:read "a":match("^.*%)" .. (" %S+"):rep(11) .. " (%d+) (%d+)")
  stat:close()
  return (user + system) / 100
end

local faults = assert(package.loadlib(os.getenv "TIDE_FAULTS", "luaopen_faults"))()

-- Milliseconds from the press to the error, or nil and what the process said.
local function press(code, after)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(prelude, "local f = (function() ", code, "\nend)()\n", [[
    local stat = io.open "/proc/self/stat"
    local pid = stat:read "n"
    stat:close()
    f()
    io.write("go ", pid, "\n")
    io.flush()
    local ok, e = pcall(function() while true do f() end end)
    print(core.now(), os.clock(), ok, e)
  ]])
  file:close()
  local engine = code:match "^%-%-(%w+)\n"
  local pipe = io.popen(("%s %s timeout 120 %s %s 2>&1"):format(
    engine and "TIDE_ENGINE=" .. engine or "", by_cpu and "TIDE_THREADS=1" or "",
    os.getenv "TIDE_PROGRAM", path))
  local first = pipe:read "l" or ""
  local pid = first:match "^go (%d+)"
  local at
  if pid then
    faults.sleep(after)
    at = by_cpu and spent(pid) or core.now()
    faults.kill(math.tointeger(tonumber(pid)), 2)
  end
  local said = first .. "\n" .. pipe:read "a"
  pipe:close()
  os.remove(path)
  local heard, clock, message = said:match "\n([%d.e+-]+)\t([%d.e+-]+)\tfalse\t([^\n]*)"
  if heard and message:find "interrupted" then
    return math.max(0, tonumber(by_cpu and clock or heard) - at) * 1000
  end
  return nil, (said:gsub("\n.*", ""))
end

-- ---- all ----

local names = {}
for name in pairs(list) do
  if not o.task or ("," .. o.task .. ","):find("," .. name .. ",", 1, true) then
    names[#names + 1] = name
  end
end
table.sort(names)
local runs, most = o.runs or 3, o.most or 200
local all = {}
print(("Ctrl-C in %d ops, milliseconds"):format(#names))
for _, name in ipairs(names) do
  local times, why = {}, nil
  for run = 1, runs do
    local ms, said = press(list[name], 0.1 + (o.step or 37) / 1000 * (run - 1))
    times[#times + 1], why = ms, why or said
    all[#all + 1] = ms
  end
  table.sort(times)
  if common.check(not why, ("%s: %s"):format(name, why)) then
    print(("%-28s median %6.1f  worst %6.1f"):format(name, times[(#times + 1) // 2], times[#times]))
    common.check(times[#times] <= most, ("%s goes on for %.0f ms"):format(name, times[#times]))
  end
end
table.sort(all)
if #all > 0 then
  print(("%-28s median %6.1f  worst %6.1f"):format("all", all[(#all + 1) // 2], all[#all]))
end
common.finish()

--- Every engine against Tide's own kernels in double precision, on random shapes: products,
-- convolutions, pooling, normalization, forward and gradients, with one thread and two, several
-- times each.
--
--   engines.lua [--seconds S] [--seed N] [--cases N] [--sweep] [--case 'TABLE']
--
-- --sweep runs itself once for each set of instructions that oneDNN, OpenBLAS and Tide are told to
-- keep to, S seconds in all, each in a process of its own that is ended when it hangs. What
-- fails is printed as the command that shows it again.
local fuzz = {}

local tide, core = require "tide", require "tide.core"
local ops = tide.ops
local engines = table.concat(core.engines(), " ")

local random = math.random

local function pick(list)
  return list[random(#list)]
end

-- ---- values ----

-- Whole numbers: sums of their products are exact in float32, whatever their order.
local function whole(shape, bound)
  local most = bound or 3
  return ops.round(tide.random.uniform(shape, { minval = -most - 0.4, maxval = most + 0.4 }))
end

local function in_double(x)
  return ops.cast(x, "float64")
end

-- ---- kinds of case: `make()` gives a table of numbers and words, `leaves(case)` the shapes of
-- what it takes, `run(case, ...)` its result ----

local kinds = {}

-- The bias keeps whole sums half a step off the corners of relu and relu6.
local smooth = { "linear", "sigmoid", "tanh", "elu", "gelu", "silu" }
local cornered = { "linear", "relu", "relu6", "sigmoid", "tanh", "elu", "gelu", "silu" }

local curved = { sigmoid = true, tanh = true, elu = true, gelu = true, silu = true }

local function extent(most)
  return random(4) == 1 and random(4) or random(most)
end

local function spatial(nd)
  return nd == 1 and random(60) or nd == 2 and random(24) or random(9)
end

kinds.conv = {
  make = function()
    local nd = random(3)
    local groups = random(4) == 1 and random(5) or 1
    local c, f = pick { random(12), extent(40), random(9) * 8 }, pick { extent(40), random(9) * 8 }
    if random(6) == 1 then
      groups, c, f = random(40), 1, random(2) -- depthwise
    end
    local case = { x = { random(6) }, k = {}, strides = {}, dilation_rate = {}, groups = groups }
    local pointwise = random(3) == 1
    local dilated = random(4) == 1
    for i = 1, nd do
      case.k[i] = pointwise and 1 or random(nd == 1 and 9 or nd == 2 and 5 or 3)
      case.dilation_rate[i] = dilated and random(3) or 1
      case.strides[i] = not dilated and random(2) == 1 and random(3) or 1
      case.x[1 + i] = (case.k[i] - 1) * case.dilation_rate[i] + spatial(nd)
    end
    case.x[nd + 2], case.k[nd + 1], case.k[nd + 2] = c * groups, c, f * groups
    case.padding = pick { "valid", "same" }
    case.bias = random(2) == 1
    case.activation = pick(case.bias and cornered or smooth)
    return case
  end,
  leaves = function(case)
    return { case.x, case.k, case.bias and { case.k[#case.k] } or nil }
  end,
  run = function(case, x, k, b)
    return ops.conv(x, k, { strides = case.strides, dilation_rate = case.dilation_rate,
      groups = case.groups, padding = case.padding, bias = b, activation = case.activation })
  end,
}

kinds.conv_transpose = {
  make = function()
    local nd = random(3)
    local case = { x = { random(4) }, k = {}, strides = {}, padding = pick { "valid", "same" } }
    for i = 1, nd do
      case.k[i] = random(nd == 3 and 3 or 5)
      case.strides[i] = random(3)
      case.x[1 + i] = nd == 1 and random(40) or nd == 2 and random(14) or random(6)
    end
    local c, f = pick { extent(40), random(8) * 8 }, pick { extent(40), random(8) * 8 }
    case.x[nd + 2], case.k[nd + 1], case.k[nd + 2] = c, f, c
    case.bias = random(2) == 1
    case.activation = pick(case.bias and cornered or smooth)
    return case
  end,
  leaves = function(case)
    return { case.x, case.k, case.bias and { case.k[#case.k - 1] } or nil }
  end,
  run = function(case, x, k, b)
    return ops.conv_transpose(x, k, { strides = case.strides, padding = case.padding, bias = b,
      activation = case.activation })
  end,
}

-- The last two axes exchanged: the same values, seen through a view.
local function exchanged(x)
  local axes = {}
  for i = 1, x.ndim do
    axes[i] = i
  end
  axes[x.ndim], axes[x.ndim - 1] = x.ndim - 1, x.ndim
  return ops.transpose(x, axes)
end

local function side()
  return pick { random(4), random(40), random(40), random(300), random(9) * 16 }
end

kinds.matmul = {
  make = function()
    local batch = random(3) == 1 and { random(5) } or {}
    if #batch > 0 and random(3) == 1 then
      batch[2] = random(3)
    end
    local m, k, n = side(), side(), side()
    local case = { left = random(2) == 1, right = random(2) == 1, a = { table.unpack(batch) },
      b = random(3) > 1 and { table.unpack(batch) } or {} }
    local function add(to, rows, columns, turned)
      to[#to + 1] = turned and columns or rows
      to[#to + 1] = turned and rows or columns
    end
    add(case.a, m, k, case.left)
    add(case.b, k, n, case.right)
    return case
  end,
  leaves = function(case)
    return { case.a, case.b }
  end,
  run = function(case, a, b)
    return ops.matmul(case.left and exchanged(a) or a, case.right and exchanged(b) or b)
  end,
}

kinds.linear = {
  make = function()
    local m, k, n = side(), side(), side()
    local case = { x = random(4) == 1 and { random(4), m, k } or { m, k }, bias = random(2) == 1 }
    case.turned = random(3) == 1
    case.w = case.turned and { n, k } or { k, n }
    case.n = n
    case.activation = pick(case.bias and cornered or smooth)
    return case
  end,
  leaves = function(case)
    return { case.x, case.w, case.bias and { case.n } or nil }
  end,
  run = function(case, x, w, b)
    w = case.turned and exchanged(w) or w
    return ops.linear(x, w, { bias = b, activation = case.activation })
  end,
}

kinds.pool = {
  make = function()
    local nd = random(3)
    local case = { x = { random(4) }, size = {}, strides = {}, padding = pick { "valid", "same" },
      op = pick { "max_pool", "average_pool" } }
    for i = 1, nd do
      case.size[i], case.strides[i] = random(4), random(3)
      case.x[1 + i] = case.size[i] + spatial(nd)
    end
    case.x[nd + 2] = extent(40)
    return case
  end,
  leaves = function(case)
    return { case.x }
  end,
  run = function(case, x)
    return ops[case.op](x, case.size, { strides = case.strides, padding = case.padding })
  end,
}

kinds.normalization = {
  make = function()
    local case = { x = { random(40), extent(70) } }
    case.op = pick { "layer_norm", "batch_norm", "softmax", "log_softmax" }
    if random(2) == 1 then
      table.insert(case.x, 2, random(12))
    end
    case.x[1] = case.x[1] + 1
    case.x[#case.x] = case.x[#case.x] + 1
    return case
  end,
  leaves = function(case)
    local c = { case.x[#case.x] }
    return case.op:find "softmax" and { case.x } or { case.x, c, c }
  end,
  run = function(case, x, scale, offset)
    if not scale then
      return ops[case.op](x)
    end
    local axes = { x.ndim }
    if case.op == "batch_norm" then
      for i = 1, x.ndim - 1 do
        axes[i] = i
      end
    end
    local mean, variance = ops.moments(x, axes, { keepdims = true })
    if case.op == "batch_norm" then
      local c = x.shape[x.ndim]
      mean, variance = ops.reshape(mean, { c }), ops.reshape(variance, { c })
      return ops.batch_normalization(x, mean, variance, -1, { offset = offset, scale = scale,
        epsilon = 0.1 })
    end
    return (x - mean) * ops.rsqrt(variance + 0.1) * scale + offset
  end,
}

-- ---- one case ----

local function results(case, leaves, seed)
  for i = 1, 3 do
    if leaves[i] then
      leaves[i]:requires_grad_(true)
    end
  end
  local y = kinds[case.kind].run(case, table.unpack(leaves, 1, 3))
  local out = { y }
  for i, g in ipairs(core.gradients((y * ops.cast(seed, y.dtype)):sum(), leaves)) do
    out[i + 1] = g
  end
  return out
end

-- How far `got` is from `want` beside the largest number of `want`; NaN counts as far. At the ends
-- of a curved activation both its value (gelu) and its slope (1 - y^2) are what is left of numbers
-- near 1: where nothing else is in the result, beside SMALL.
local SMALL = 0.05
local function distance(case, got, want)
  local off = ops.max(ops.abs(in_double(got) - want)):item()
  local scale = math.max(ops.max(ops.abs(want)):item(), curved[case.activation] and SMALL or 0)
  return off == off and off / (scale > 0 and scale or 1) or math.huge
end

local CLOSE = 2e-5

-- What is wrong with a case, or nil.
function fuzz.check(case)
  tide.seed(case.seed)
  local shapes = kinds[case.kind].leaves(case)
  local leaves, doubles = {}, {}
  for i = 1, #shapes do
    leaves[i] = whole(shapes[i], i == 3 and 2)
    if i == 3 then
      leaves[i] = leaves[i] + 0.5
    elseif i == 2 and curved[case.activation] then -- not all at their ends
      leaves[i] = leaves[i] * 2.0 ^ -math.ceil(math.log(ops.size(leaves[i]), 4) + 1)
    end
    doubles[i] = in_double(leaves[i])
  end
  core.set_threads(1)
  core.engines "plain"
  local ok, y = pcall(kinds[case.kind].run, case, table.unpack(doubles, 1, 3))
  if not ok or ops.size(y) == 0 then
    core.engines(false)
    return nil, not ok and tostring(y) or "empty"
  end
  local seed = whole(y.shape)
  local want = results(case, doubles, seed)
  for _, names in ipairs { "plain", "blas", "onednn", "onednn blas" } do
    local first
    core.engines(names)
    for threads = 1, 2 do
      core.set_threads(threads)
      for call = 1, 3 do
        local got = results(case, leaves, seed)
        for part, w in ipairs(want) do
          local off = distance(case, got[part], w)
          if off > CLOSE then
            core.engines(engines)
            return ("%s, %d threads, call %d: %s is off by %g"):format(names, threads, call,
              part == 1 and "the result" or "gradient " .. part - 1, off)
          end
          if first and first[part] ~= got[part]:tobytes() then
            core.engines(engines)
            return ("%s, %d threads, call %d: part %d has other bits"):format(names, threads, call,
              part)
          end
        end
        if not first then
          first = {}
          for part, g in ipairs(got) do
            first[part] = g:tobytes()
          end
        end
      end
    end
  end
  core.engines(engines)
end

-- ---- runs ----

local function written(v)
  if type(v) ~= "table" then
    return type(v) == "string" and ("%q"):format(v) or tostring(v)
  end
  local out, keys = {}, {}
  for i, item in ipairs(v) do
    out[i] = written(item)
  end
  for key in pairs(v) do
    if type(key) == "string" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    out[#out + 1] = key .. " = " .. written(v[key])
  end
  return "{ " .. table.concat(out, ", ") .. " }"
end

local names = {}
for name in pairs(kinds) do
  names[#names + 1] = name
end
table.sort(names)

-- Of the environment, what chooses the instructions.
local CHOICES = { "DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "TIDE_CPU" }

local function command(case)
  local set = {}
  for _, name in ipairs(CHOICES) do
    if os.getenv(name) then
      set[#set + 1] = name .. "=" .. os.getenv(name)
    end
  end
  set[#set + 1] = ("build/tide spec/fuzz/engines.lua --case '%s'"):format(written(case))
  return table.concat(set, " ")
end

--- Runs `cases` cases, or as many as `seconds` allow. Returns how many were compared, a list of
--- complaints, and how many were refused by every engine alike.
function fuzz.run(o)
  math.randomseed(o.seed or 1)
  local threads, begun = core.get_threads(), os.time()
  local compared, refused, complaints = 0, 0, {}
  local last = os.getenv "TIDE_FUZZ_LAST"
  while compared + refused < (o.cases or math.huge) and os.time() - begun < (o.seconds or 1e9) do
    local kind = random(3) == 1 and pick(names) or pick { "conv", "linear", "matmul" }
    local case = kinds[kind].make()
    case.kind, case.seed = kind, random(1 << 30)
    if last then -- for one that hangs or dies
      local f <close> = assert(io.open(last, "w"))
      f:write(command(case), "\n")
    end
    local wrong, why = fuzz.check(case)
    if wrong then
      complaints[#complaints + 1] = wrong .. "\n  " .. command(case)
    end
    if why then
      refused = refused + 1
    else
      compared = compared + 1
    end
  end
  core.set_threads(threads)
  return compared, complaints, refused
end

-- Sets of instructions, from the newest to the oldest; what the machine lacks is what it has.
local SETS = {
  "", "DNNL_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell TIDE_CPU=v3",
  "DNNL_MAX_CPU_ISA=AVX OPENBLAS_CORETYPE=Sandybridge TIDE_CPU=v2",
  "DNNL_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Prescott TIDE_CPU=c",
  "DNNL_MAX_CPU_ISA=AVX2 TIDE_CPU=v4", "DNNL_MAX_CPU_ISA=AVX512_CORE TIDE_CPU=v3",
}

local function sweep(o)
  local failed, last = 0, os.tmpname()
  local each = math.max(1, o.seconds // #SETS)
  for _, set in ipairs(SETS) do
    local run = ("env %s TIDE_FUZZ_LAST=%s timeout %d '%s' '%s' --seconds %d --seed %d"):format(set,
      last, each + 60, arg[-1], arg[0], each, o.seed)
    local ok, how, status = os.execute(run)
    if not ok then
      failed = failed + 1
      if how ~= "exit" or status > 1 then
        local f <close> = assert(io.open(last))
        print((status == 124 and "hung" or "died") .. " at\n  " .. f:read "a")
      end
    end
  end
  os.remove(last)
  return failed
end

if arg and arg[0] and arg[0]:find "fuzz/engines.lua$" then
  local o = {}
  for i = 1, #arg do
    local name = arg[i]:match "^%-%-(%w+)$"
    if name == "sweep" then
      o.sweep = true
    elseif name then
      o[name] = name == "case" and arg[i + 1] or math.tointeger(tonumber(arg[i + 1]))
    end
  end
  if o.case then
    local case = load("return " .. o.case)()
    local wrong, why = fuzz.check(case)
    print(wrong or why or "as it should be")
    os.exit(wrong and 1 or 0, true)
  end
  o.seed = o.seed or math.tointeger(tonumber(os.getenv "TIDE_FUZZ_SEED" or os.time()))
  print("seed " .. o.seed)
  o.seconds = o.seconds or not o.cases and 60 or nil
  if o.sweep then
    os.exit(sweep(o) == 0 and 0 or 1, true)
  end
  local compared, complaints, refused = fuzz.run(o)
  print(("%d cases compared, %d refused, %d complaints (%s)"):format(compared, refused,
    #complaints, core.cpu_level))
  for i = 1, math.min(#complaints, 20) do
    print(complaints[i])
  end
  os.exit(#complaints == 0 and 0 or 1, true)
end

return fuzz

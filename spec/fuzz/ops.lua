--- Random calls of every op against slow forms of the same call.
--
--   ops.lua [--seconds S] [--cases N] [--seed N] [--only PATTERN] [--case N]
--
-- A case is a case row of an op (spec/support/op_cases) whose extents, values, options and dtypes
-- are changed at random. It is computed in double precision by Tide's own kernels on one thread, on
-- contiguous copies; that is what all else is compared with:
--   * views of the same numbers with steps, negative steps, strides of 0 and other orders of axes;
--   * float32 and halves with every engine and with two threads, results and gradients;
--   * gradients with central differences along a random direction;
--   * an elementwise op with itself on one element alone;
--   * Tide's own kernels on two threads with the bits of one.
-- Where float32 is further off than it should be, the double precision is asked again beside the
-- same place: only what these neighbours do not explain is a complaint. Every case has a number:
-- `--seed S --case N` shows it again.
local fuzz = {}

local core = require "tide.core"
local runner = require "spec.support.op_runner"

local ops, random = core.ops, math.random
local engines = table.concat(core.engines(), " ")
local is_float = { float32 = true, float64 = true, float16 = true, bfloat16 = true }
local EPS = { float64 = 2.0 ^ -52, float32 = 2.0 ^ -23, float16 = 2.0 ^ -10, bfloat16 = 2.0 ^ -7 }

local function pick(list)
  return list[random(#list)]
end

-- ---- what is called ----

-- Not to be compared: decompositions are unique but for signs, in float32 not even that.
local only_double = {}
for op in ([[svd eigh qr lu_factor cholesky inv solve det slogdet logdet
  solve_triangular]]):gmatch "%S+" do
  only_double[op] = true
end

-- In float32, 1 - 1e-7, to which these clip, is 1 - 1.2e-7, whose logarithm is 1.1% less.
local clipped = { round = true, binary_crossentropy = true, categorical_crossentropy = true,
  sparse_categorical_crossentropy = true, categorical_focal_crossentropy = true,
  binary_focal_crossentropy = true }

local sources
local function rows(only)
  sources = {}
  for _, row in ipairs(runner.rows()) do
    local usable = row.op and ops[row.op] and (row.inputs or row.ref) and not row.random
      and not row.inout and not row.op:find "_$"
    if usable and (not only or row.op:find(only)) then
      sources[#sources + 1] = row
    end
  end
  assert(#sources > 0, "no op of that name")
end

-- A leaf of a case: the elements as doubles that float32 holds, and how it lies in memory.
local function leaf_of(t)
  local n = t.size
  local flat = n > 0 and ops.reshape(ops.cast(t, "float64"), { n }):tolist() or { 1 }
  return { shape = { table.unpack(t.shape) }, dtype = t.dtype, from = flat,
    float = is_float[t.dtype], low = t.dtype == "bool" }
end

-- Arguments of a row with leaves in the place of tensors, and the list of the leaves.
local function opened(row)
  local leaves, names, arguments = {}, {}, runner.arguments(row, "float64")
  for name in pairs(arguments) do
    names[#names + 1] = name
  end
  table.sort(names) -- so that a case's number means the same case in every run
  for _, name in ipairs(names) do
    local v = arguments[name]
    if core.is_tensor(v) then
      leaves[#leaves + 1] = leaf_of(v)
      arguments[name] = leaves[#leaves]
    elseif type(v) == "table" and core.is_tensor(v[1]) then
      local list = {}
      for i, t in ipairs(v) do
        leaves[#leaves + 1] = leaf_of(t)
        list[i] = leaves[#leaves]
      end
      arguments[name] = { list = list }
    end
  end
  return arguments, leaves
end

-- Every extent of one size becomes another, and at times the options that are that size.
local function resize(arguments, leaves, info)
  local leaf = pick(leaves)
  if #leaf.shape == 0 then
    return
  end
  local was = pick(leaf.shape)
  local now = random(12) == 1 and random(20, 70) or random(40) == 1 and 0 or random(9)
  for _, l in ipairs(leaves) do
    for i, d in ipairs(l.shape) do
      l.shape[i] = d == was and now or d
    end
  end
  if random(2) == 1 then
    for _, a in ipairs(info.args) do
      if arguments[a.name] == was then
        arguments[a.name] = now
      end
    end
  end
end

-- Another axis in front, or another rank: the first axis of the leaves twice.
local function deepen(leaves)
  local n = random(3)
  for _, l in ipairs(leaves) do
    if #l.shape > 0 and #l.shape < 6 then
      table.insert(l.shape, 1, n)
    end
  end
end

local function change(arguments, info)
  local a = pick(info.args)
  if a.kind == "enum" then
    local words = {}
    for w in a.default:gmatch "[^|]+" do
      words[#words + 1] = w
    end
    arguments[a.name] = pick(words)
  elseif a.kind == "bool" then
    arguments[a.name] = random(2) == 1
  elseif a.name == "axis" or a.name == "axes" then
    arguments[a.name] = random(-3, 3)
  elseif type(arguments[a.name]) == "number" and math.type(arguments[a.name]) == "integer" then
    arguments[a.name] = random(5)
  end
end

-- Elements from among the row's own and between two of them: what is a probability stays one.
local function fill(leaf)
  local n, from, out = 1, leaf.from, {}
  for _, d in ipairs(leaf.shape) do
    n = n * d
  end
  if n > 40000 then
    error("too large", 0)
  end
  for i = 1, n do
    local v = pick(from)
    if leaf.float and random(3) > 1 then
      local part = random(0, 16) / 16
      local w = v * part + pick(from) * (1 - part)
      v = w == w and w or v
    end
    v = type(v) == "boolean" and (v and 1 or 0) or v
    out[i] = leaf.float and string.unpack("<f", string.pack("<f", v)) or v
  end
  leaf.flat, leaf.size = out, n
  local thin = random(6) == 1 and #leaf.shape > 0 and n > 0 and random(#leaf.shape)
  if thin then -- equal along an axis, so that a stride of 0 can hold it
    leaf.thin = thin
    local inner = 1
    for i = thin + 1, #leaf.shape do
      inner = inner * leaf.shape[i]
    end
    local extent = leaf.shape[thin]
    for i = 0, n - 1 do
      out[i + 1] = out[i // (inner * extent) * inner * extent + i % inner + 1]
    end
  end
  -- a direction to differentiate along
  leaf.along = {}
  for i = 1, n do
    leaf.along[i] = random(-4, 4) / 4
  end
end

local function make(row)
  local arguments, leaves = opened(row)
  local info = core.op_info(row.op)
  for _ = 1, random(0, 3) do
    if #leaves > 0 then
      resize(arguments, leaves, info)
    end
  end
  if random(12) == 1 then
    deepen(leaves)
  end
  if random(3) == 1 and #info.args > 0 then
    change(arguments, info)
  end
  for _, l in ipairs(leaves) do
    fill(l)
  end
  return { op = row.op, info = info, arguments = arguments, leaves = leaves,
    pointwise = row.family == "pointwise", weight_seed = random(1 << 30),
    -- round to digits that no double has gives its argument
    differences = info.differentiable and row.grad ~= false and row.op ~= "round" }
end

-- ---- tensors of a leaf ----

local function contiguous(flat, shape, dtype)
  if #flat == 0 then
    return core.zeros(shape, { dtype = dtype })
  end
  local t = core.tensor(flat, { dtype = "float64" })
  return ops.copy(ops.cast(ops.reshape(t, shape), dtype))
end

-- The same elements through a view of other memory.
local function view(t, leaf)
  local nd = t.ndim
  if nd == 0 or t.size == 0 then
    return t
  end
  if leaf.thin and random(2) == 1 then
    local at = {}
    for i = 1, nd do
      at[i] = i == leaf.thin and { 1, 1 } or {}
    end
    return ops.broadcast_to(t[at], leaf.shape)
  end
  local order, back = {}, {}
  for i = 1, nd do
    table.insert(order, random(#order + 1), i)
  end
  for i, a in ipairs(order) do
    back[a] = i
  end
  local turned = ops.copy(ops.transpose(t, order))
  local shape, at = {}, {}
  for i, d in ipairs(turned.shape) do
    local step, before, after = random(3), random(0, 2), random(0, 2)
    step = step == 3 and 1 or step
    shape[i] = before + (d - 1) * step + 1 + after
    local first, last = before + 1, before + (d - 1) * step + 1
    at[i] = random(3) == 1 and { last, first, -step } or { first, last, step }
  end
  local wide = core.full(shape, 77, { dtype = t.dtype })
  wide[at] = turned
  return ops.transpose(wide[at], back)
end

-- ---- a run of a case ----

-- The case's results and gradients as doubles. o: dtype (of floats), views, shift (of the elements,
-- relative), move (a step along the direction), gradients.
local function run(case, o)
  local tensors, leaves = {}, {}
  for i, l in ipairs(case.leaves) do
    local flat = l.flat
    if l.float and (o.shift or o.move) then
      flat = {}
      for k, v in ipairs(l.flat) do
        flat[k] = v + (o.move or 0) * l.along[k]
          + (o.shift or 0) * math.max(math.abs(v), 1e-30) * (random(3) - 2)
      end
    end
    local dtype = l.float and o.dtype or l.dtype
    if l.float and o.round then -- the numbers that a half holds
      local n = contiguous(flat, l.shape, o.round)
      tensors[i] = ops.copy(ops.cast(n, o.dtype))
    else
      tensors[i] = contiguous(flat, l.shape, dtype)
    end
    if o.views then
      tensors[i] = view(tensors[i], l)
    end
    if o.gradients and l.float and case.info.differentiable then
      tensors[i].requires_grad = true
      leaves[#leaves + 1] = tensors[i]
    end
  end
  local at = {}
  for i, l in ipairs(case.leaves) do
    at[l] = tensors[i]
  end
  local arguments = {}
  for name, v in pairs(case.arguments) do
    if type(v) == "table" and v.list then
      local list = {}
      for i, l in ipairs(v.list) do
        list[i] = at[l]
      end
      arguments[name] = list
    else
      arguments[name] = at[v] or v
    end
  end
  local results = table.pack(ops[case.op](arguments))
  local out, total = { n = results.n }, nil
  for i = 1, results.n do
    local y = results[i]
    if core.is_tensor(y) and y.size > 1 << 20 then
      error("too large", 0)
    end
    if not core.is_tensor(y) then -- a whole number or a bool of rank 0 is one of Lua's
      y = core.full({ 1 }, type(y) == "boolean" and (y and 1 or 0) or y, { dtype = "float64" })
    end
    out[i] = y
    if #leaves > 0 and core.is_tensor(y) and y.requires_grad and is_float[y.dtype] then
      local weights = {}
      for k = 1, y.size do
        weights[k] = ((k * 7 + case.weight_seed % 11) % 17 - 8) / 8
      end
      local s = ops.sum(y * contiguous(weights, y.shape, y.dtype))
      total = total and total + s or s
    end
  end
  out.results = results.n
  if total and total.ndim == 0 then
    out.total = ops.cast(total, "float64"):item()
    local gradients = core.gradients(total, leaves)
    for i = 1, #leaves do
      local g = gradients[i]
      out.n = out.n + 1
      out[out.n] = g or core.zeros(leaves[i].shape, { dtype = "float64" })
      out.of_gradient = true
    end
  end
  return out
end

local function doubles(t)
  return ops.cast(ops.detach and ops.detach(t) or t:detach(), "float64")
end

-- How far `got` is from `want`, beside the largest of want or, where that is less, `floor`; NaN and
-- infinities must be the same.
local function distance(got, want, floor)
  if #got.shape ~= #want.shape then
    return math.huge
  end
  for i, d in ipairs(want.shape) do
    if got.shape[i] ~= d then
      return math.huge
    end
  end
  if want.size == 0 then
    return 0
  end
  local a, b = doubles(got), doubles(want)
  local same = ops.logical_or(ops.equal(a, b),
    ops.logical_and(ops.isnan(a), ops.isnan(b)))
  local finite = ops.isfinite(b)
  local zero = core.zeros({}, { dtype = "float64" })
  local off = ops.where(same, zero, ops.abs(a - b))
  local worst = ops.max(off):item()
  local scale = ops.max(ops.where(finite, ops.abs(b), zero)):item()
  if worst ~= worst then
    return math.huge
  end
  return worst == 0 and 0 or worst / math.max(scale, floor or 1e-3)
end

local function setting(names, threads)
  core.engines(names)
  core.set_threads(threads)
end

local function restored(threads)
  core.engines(engines)
  core.set_threads(threads)
end

-- Whether neighbours in double precision are as far from each other as `off` says, at part `p`.
local function explained(case, want, p, off, eps, floor)
  setting("plain", 1)
  local most = 0
  for _ = 1, 6 do
    local ok, near = pcall(run, case, { dtype = "float64", shift = eps,
      gradients = want.of_gradient })
    if not ok or not near[p] then
      return true
    end
    most = math.max(most, distance(near[p], want[p], floor))
  end
  return off <= 60 * most
end

local function label(want, p)
  return p <= want.results and "result " .. p or "gradient " .. p - want.results
end

local function compare(case, want, got, eps, how, o)
  if got.results ~= want.results then
    return ("%s: %d results, expected %d"):format(how, got.results, want.results)
  end
  for p = 1, want.n do
    -- a gradient that is nearly nothing is what large numbers have left
    local gradient = p > want.results
    local floor = gradient and eps > 1e-10 and 1 or 1e-3
    local off = got[p] and distance(got[p], want[p], floor) or math.huge
    local close = gradient and o.gradients_close or o.close
    close = clipped[case.op] and eps > 1e-10 and 0.02 or close
    if off > close and not explained(case, want, p, off, eps, floor) then
      return ("%s: %s is off by %g"):format(how, label(want, p), off)
    end
  end
end

-- The derivative along the direction, by differences; nil where there is a kink.
local function slope(case, h)
  local function f(x)
    local ok, y = pcall(run, case, { dtype = "float64", move = x, gradients = true })
    return ok and y.total
  end
  local up, down, here = f(h), f(-h), f(0)
  if not (up and down and here) then
    return nil
  end
  local right, left = (up - here) / h, (here - down) / h
  local both = (up - down) / (2 * h)
  local alike = math.abs(right - left) <= 1e-3 * math.max(1, math.abs(right), math.abs(left))
  return alike and both or nil
end

local function against_differences_at(case, want)
  local along, size = 0, 0
  local k = want.results
  for _, l in ipairs(case.leaves) do
    if l.float then
      k = k + 1
      local g = l.size > 0 and ops.reshape(doubles(want[k]), { l.size }):tolist() or {}
      for i, v in ipairs(g) do
        along = along + v * l.along[i]
        size = size + math.abs(v * l.along[i])
      end
    end
  end
  if along ~= along or size > 1e12 then
    return nil
  end
  local least
  for _, h in ipairs { 1e-5, 1e-4, 1e-6 } do
    local s = slope(case, h)
    if not s or s ~= s then
      return nil
    end
    local off = math.abs(s - along) / math.max(1, size, math.abs(want.total))
    least = math.min(least or off, off)
    if off < 2e-4 then
      return nil
    end
  end
  return ("the gradient along a direction is %g, by differences it is off by %g"):format(along,
    least)
end

-- Where equal elements meet, or a limit is just there, neither side's derivative is the gradient:
-- what is wrong is wrong at places beside it, too.
local function against_differences(case, want)
  local wrong = against_differences_at(case, want)
  for _ = 1, wrong and 3 or 0 do
    local beside = { leaves = {}, arguments = {} }
    local at = {}
    for i, l in ipairs(case.leaves) do
      local copy = {}
      for k, v in pairs(l) do
        copy[k] = v
      end
      copy.flat = {}
      for k, v in ipairs(l.flat) do
        copy.flat[k] = l.float and v + 1e-3 * math.max(math.abs(v), 0.1) * (2 * random() - 1) or v
      end
      beside.leaves[i], at[l] = copy, copy
    end
    for name, v in pairs(case.arguments) do
      if type(v) == "table" and v.list then
        local list = {}
        for i, l in ipairs(v.list) do
          list[i] = at[l]
        end
        v = { list = list }
      end
      beside.arguments[name] = at[v] or v
    end
    setmetatable(beside, { __index = case })
    local ok, moved = pcall(run, beside, { dtype = "float64", gradients = true })
    if not ok or not moved.total or not against_differences_at(beside, moved) then
      return nil
    end
  end
  return wrong
end

-- One element of an elementwise op computed alone.
local function alone(case, want)
  local y = want[1]
  if want.results ~= 1 or y.size == 0 then
    return
  end
  local at = {}
  for i, d in ipairs(y.shape) do
    at[i] = random(d)
  end
  local single = { op = case.op, info = case.info, arguments = {}, leaves = {},
    weight_seed = case.weight_seed }
  local of = {}
  for i, l in ipairs(case.leaves) do
    local index, lead = 0, #y.shape - #l.shape
    for k, d in ipairs(l.shape) do
      index = index * d + (d == 1 and 0 or at[k + lead] - 1)
    end
    of[l] = { shape = { 1 }, dtype = l.dtype, float = l.float, flat = { l.flat[index + 1] },
      size = 1, along = { 0 } }
    single.leaves[i] = of[l]
  end
  for name, v in pairs(case.arguments) do
    single.arguments[name] = of[v] or v
  end
  local got = run(single, { dtype = "float32" })[1]
  local whole = run(case, { dtype = "float32", views = true })[1]
  local position = {}
  for i, p in ipairs(at) do
    position[i] = { p, p }
  end
  local there = #at > 0 and whole[position] or whole
  local off = distance(ops.reshape(got, { 1 }), ops.reshape(there, { 1 }))
  if off > 3e-5 then -- the difference of x and tanh(x) keeps few digits of a small one
    return ("an element alone is off by %g"):format(off)
  end
end

local GRADIENT = 5e-4 -- of float32, beside the largest element

--- What is wrong with a case, or nil; and why it was refused, where it was.
function fuzz.check(case)
  local threads = core.get_threads()
  setting("plain", 1)
  local ok, want = pcall(run, case, { dtype = "float64", gradients = true })
  if not ok then
    restored(threads)
    want = tostring(want)
    assert(not want:find "attempt to ", want) -- a mistake of this file
    return nil, want
  end
  local wrong
  local function try(how, names, count, o, eps)
    if wrong then
      return
    end
    setting(names, count)
    local fine, got = pcall(run, case, o)
    if not fine then
      -- a dtype that an op does not take is refused clearly; views never are
      if o.views and o.dtype == "float64" then
        wrong = how .. ": " .. tostring(got)
      end
      return
    end
    local reference = want
    if o.round or not o.gradients then
      setting("plain", 1)
      reference = run(case, { dtype = "float64", gradients = o.gradients, round = o.round })
    end
    wrong = compare(case, reference, got, eps, how, o)
  end
  try("views", "plain", 1,
    { dtype = "float64", views = true, gradients = true, close = 1e-9 }, EPS.float64 * 4)
  if case.differences and not wrong and want.total then
    setting("plain", 1)
    wrong = against_differences(case, want)
  end
  if not only_double[case.op] then
    try("float32", engines, 2, { dtype = "float32", gradients = true, close = 2e-5,
      gradients_close = GRADIENT }, EPS.float32)
    try("views in float32", engines, 1, { dtype = "float32", views = true, gradients = true,
      close = 2e-5, gradients_close = GRADIENT }, EPS.float32)
    local half = pick { "float16", "bfloat16" }
    -- a product that passes the range of halves is infinite, though it would come back
    if random(3) == 1 and case.arguments.reduction ~= "mul" then
      try("views in " .. half, engines, 2, { dtype = half, round = half, views = true,
        close = 4 * EPS[half] }, EPS[half])
    end
    if not wrong and case.pointwise then
      setting("plain", 1)
      local fine, why = pcall(alone, case, want)
      wrong = fine and why or nil
    end
  end
  if not wrong then
    local bits = {}
    for n = 1, 2 do
      setting("plain", n)
      local fine, got = pcall(run, case, { dtype = "float32", gradients = true })
      bits[n] = fine and {} or "refused"
      for p = 1, fine and got.n or 0 do
        bits[n][p] = ops.copy(got[p]:detach()):tobytes()
      end
      bits[n] = fine and table.concat(bits[n], "|") or bits[n]
    end
    wrong = bits[1] ~= bits[2] and "one thread and two give different bits" or nil
  end
  restored(threads)
  return wrong
end

local function shown(case)
  local out, names = {}, {}
  for name in pairs(case.arguments) do
    names[#names + 1] = name
  end
  table.sort(names)
  local function leaf(l)
    return ("%s[%s]%s"):format(l.dtype, table.concat(l.shape, ", "),
      l.thin and " equal along " .. l.thin or "")
  end
  for _, name in ipairs(names) do
    local v = case.arguments[name]
    local text
    if type(v) == "table" and v.shape then
      text = leaf(v)
    elseif type(v) == "table" then
      local parts = {}
      for i, x in ipairs(v.list or v) do
        parts[i] = type(x) == "table" and x.shape and leaf(x) or tostring(x)
      end
      text = "{ " .. table.concat(parts, ", ") .. " }"
    else
      text = tostring(v)
    end
    out[#out + 1] = name .. " = " .. text
  end
  return case.op .. " { " .. table.concat(out, ", ") .. " }"
end

--- Runs cases until `cases` are compared or `seconds` are over.
---@param o { cases?: integer, seconds?: number, seed?: integer, only?: string, case?: integer }
---@return integer compared
---@return string[] complaints
---@return integer refused by every form alike
---@return table<string, integer> ops how often each was compared
function fuzz.run(o)
  rows(o.only)
  collectgarbage() -- what ran before in this process has no part in the limit
  core.memory_limit(512 << 20)
  local seed = o.seed or 1
  local finish = o.seconds and core.now() + o.seconds
  local compared, refused, complaints, counts = 0, 0, {}, {}
  local number = o.case or 1
  local last = os.getenv "TIDE_FUZZ_LAST"
  while compared < (o.cases or math.huge) and (not finish or core.now() < finish) do
    math.randomseed(seed, number)
    local row = pick(sources)
    local made, case = pcall(make, row)
    local again = ("build/tide spec/fuzz/ops.lua --seed %d --case %d%s"):format(seed, number,
      o.only and " --only '" .. o.only .. "'" or "")
    if last then -- for one that hangs or dies
      local f <close> = assert(io.open(last, "w"))
      f:write(again, "\n")
    end
    local wrong, why
    if made then
      wrong, why = fuzz.check(case)
    else
      why = case
    end
    if wrong then
      complaints[#complaints + 1] = ("%s\n  %s\n  %s"):format(wrong, shown(case), again)
    end
    if why then
      refused = refused + 1
    else
      compared = compared + 1
      counts[row.op] = (counts[row.op] or 0) + 1
    end
    if o.case then
      if made then
        print(shown(case), why or "")
      end
      break
    end
    number = number + 1
  end
  core.memory_limit(0)
  return compared, complaints, refused, counts
end

if arg and arg[0] and arg[0]:find "fuzz/ops.lua$" then
  local o = {}
  for i = 1, #arg - 1 do
    local name = arg[i]:match "^%-%-(%w+)$"
    if name then
      o[name] = name == "only" and arg[i + 1] or math.tointeger(tonumber(arg[i + 1]))
    end
  end
  o.seed = o.seed or math.tointeger(tonumber(os.getenv "TIDE_FUZZ_SEED" or os.time()))
  o.seconds = o.seconds or not (o.cases or o.case) and 60 or nil
  local compared, complaints, refused, counts = fuzz.run(o)
  local kinds = 0
  for _ in pairs(counts) do
    kinds = kinds + 1
  end
  print(("ops: %d cases of %d ops compared, %d refused, %d complaints, seed %d (%s)"):format(
    compared, kinds, refused, #complaints, o.seed, core.cpu_level))
  for i = 1, math.min(#complaints, 20) do
    print(complaints[i])
  end
  os.exit(#complaints == 0 and 0 or 1, true)
end

return fuzz

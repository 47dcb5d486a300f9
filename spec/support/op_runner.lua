-- Case rows of ops, and the checks derived from each row.
--
-- spec/support/op_cases/<family>.lua returns a list of rows. A row:
--
--   op       name in tide.core.ops
--   label    what tells this row from the op's others
--   ref      a key of spec/ref/<family>.lua, which its script <family>.py wrote: inputs and outputs
--            by another program
--   inputs   instead of `ref`: a list, in the order of the op's tensors. Each is
--              { shape = { 2, 3 }, from = -2, to = 2 }     numbers spread over the range, the same
--              at every run
--              { values = { { 1, 2 } }, dtype = "int32" }   or false where an optional tensor is
--              left out,
--              { list = { input, ... } }                    or several for a list of tensors
--   outputs  instead of `ref`: a list of { values = ... } (fewer than the op has: the others are
--            not compared)
--   by       beside `outputs`: the Python expression that gave them (spec/ref/row.py), x1, x2, ...
--            being the inputs
--   expect   instead of `ref`: a function of Lua numbers, applied element by element to inputs of
--            one shape
--   expect_all  instead of `ref`: a function of the inputs' elements, each a flat list; returns the
--               result's, and its shape
--   examples the number of examples (`name(2) = 4`) that the op's text must hold, where it holds
--            the
--            row's values
--   options  the op's other arguments by name
--   grad     numbers of the inputs whose gradient is checked against central differences (default:
--            every float input of a
--            differentiable op); false: none, with `why`
--   gradgrad true: second derivatives too
--   results  how many results are differentiated (default: all floats)
--   dtypes   dtype of the first input -> dtype of the first result; every op declares it in at
--            least one row
--   empty    { inputs = shapes, output = shape }: sizes of zero
--   errors   list of { inputs, options, says = "text", status = "shape" }: wrong calls and what
--            their message contains
--   inout    numbers of the inputs that the op writes: they stay contiguous
--   random   true: no values, gradients or engines to compare
--   length   of the sums that a result is made of: it scales the tolerance of float32
--   why      the reason for grad = false
--   rtol, atol, strided = false, engines = false, threads = false, f32 = false: exceptions
--   spec     instead of a check: the spec file that tests this op
local tally = require "spec.support.differences"
local core = require "tide.core"

local runner = {}

-- What a row may hold; another key would be a check that is never made.
local keys = {}
for key in ([[op label ref inputs outputs by expect expect_all examples options grad gradgrad
  results dtypes empty errors inout random length why rtol atol strided engines threads f32 spec
  family]]):gmatch "%S+" do
  keys[key] = true
end

-- -- inputs --

local refs = {}
local function reference(family, key)
  refs[family] = refs[family] or dofile("spec/ref/" .. family .. ".lua")
  return assert(refs[family][key], ("spec/ref/%s.lua has no entry '%s'"):format(family, key))
end

local function numel(shape)
  local n = 1
  for _, d in ipairs(shape) do
    n = n * d
  end
  return n
end

local is_float = { float32 = true, float64 = true, float16 = true, bfloat16 = true }
local formats = { float32 = "<f", float64 = "<d", int32 = "<i4", int64 = "<i8", uint8 = "<B",
  int8 = "<b", bool = "<B" }

local function from_flat(flat, shape, dtype)
  local parts, format = {}, formats[dtype]
  for i = 1, #flat do
    local v = flat[i]
    if v == true or v == false then
      v = v and 1 or 0
    end
    parts[i] = string.pack(format, is_float[dtype] and v or math.tointeger(v))
  end
  return core.from_bytes(dtype, shape, table.concat(parts))
end

--- Elements in row-major order, and the shape; Lua values (0-d integers and bools) count as tensors
--- of rank 0.
local function flat_of(t)
  if not core.is_tensor(t) then
    return { t }, {}
  end
  local format, bytes, out, at = formats[t.dtype], t:tobytes(), {}, 1
  for i = 1, numel(t.shape) do
    out[i], at = string.unpack(format, bytes, at)
    if t.dtype == "bool" then
      out[i] = out[i] ~= 0
    end
  end
  return out, t.shape
end
runner.flat_of = flat_of

-- Numbers spread over a range without a generator: the fractional parts of multiples of the golden
-- ratio.
local function spread(n, from, to, seed)
  local out = {}
  for i = 1, n do
    out[i] = from + (to - from) * (((i + 7.3 * seed) * 0.6180339887498949) % 1)
  end
  return out
end

local function flatten(v, out)
  if type(v) ~= "table" then
    out[#out + 1] = v
  else
    for _, e in ipairs(v) do
      flatten(e, out)
    end
  end
  return out
end

local function shape_of(v)
  local shape = {}
  while type(v) == "table" do
    shape[#shape + 1] = #v
    v = v[1]
  end
  return shape
end

-- One input of a row as { flat, shape, dtype }, or { list = {...} }, or false.
local function input_data(spec, i)
  if not spec then
    return false
  end
  if spec.list then
    local list = {}
    for k, s in ipairs(spec.list) do
      list[k] = input_data(s, i + k)
    end
    return { list = list }
  end
  if spec.data then
    return { flat = table.move(spec.data, 1, #spec.data, 1, {}), shape = spec.shape,
      dtype = spec.dtype }
  end
  if spec.values ~= nil then
    return { flat = flatten(spec.values, {}), shape = spec.shape or shape_of(spec.values),
      dtype = spec.dtype or "float64" }
  end
  local flat = spread(numel(spec.shape), spec.from or -1, spec.to or 1, i)
  if spec.dtype and not is_float[spec.dtype] then
    for k, v in ipairs(flat) do
      flat[k] = math.floor(v)
    end
  end
  return { flat = flat, shape = spec.shape, dtype = spec.dtype or "float64" }
end

local function inputs_of(row)
  local out, specs = {}, row.inputs
  if row.ref then
    specs = reference(row.family, row.ref).inputs
  end
  for i, spec in ipairs(specs or {}) do
    out[i] = input_data(spec, i)
  end
  return out
end

-- A tensor; `float` replaces the dtype of float inputs.
local function tensor_of(data, float)
  if not data then
    return false
  end
  if data.list then
    local out = {}
    for i, d in ipairs(data.list) do
      out[i] = tensor_of(d, float)
    end
    return out
  end
  return from_flat(data.flat, data.shape, is_float[data.dtype] and float or data.dtype)
end

local function tensors_of(all, float)
  local out = {}
  for i, data in ipairs(all) do
    out[i] = tensor_of(data, float)
  end
  return out
end

-- The arguments of the row's op by name, which also tries the names.
local function named(row, tensors, options)
  local info = core.op_info(row.op)
  local out, k = {}, 0
  for _, a in ipairs(info.args) do
    if a.kind == "tensor" or a.kind == "tensors" then
      k = k + 1
      if tensors[k] then
        out[a.name] = tensors[k]
      end
    end
  end
  for name, v in pairs(options or row.options or {}) do
    out[name] = v
  end
  return out
end

--- The row's arguments by name; float tensors in the dtype `float`.
function runner.arguments(row, float)
  return named(row, tensors_of(inputs_of(row), float))
end

-- Calls the row's op; returns its results as a list.
local function call(row, tensors, options)
  return table.pack(core.ops[row.op](named(row, tensors, options)))
end

-- -- comparison --

local function close(a, b, rtol, atol)
  if type(a) == "boolean" or type(b) == "boolean" then
    return a == b
  end
  if a ~= a or b ~= b then
    return a ~= a and b ~= b
  end
  return a == b or math.abs(a - b) <= atol + rtol * math.abs(b)
end

local function same_shape(a, b)
  if #a ~= #b then
    return false
  end
  for i = 1, #a do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end

local function check_close(what, got, want, rtol, atol)
  for i = 1, #want do
    if not close(got[i], want[i], rtol, atol) then
      error(("%s: element %d is %s, expected %s"):format(what, i, tostring(got[i]),
        tostring(want[i])), 0)
    end
    if tally.on and type(want[i]) == "number" then
      tally.note(got[i], want[i], rtol, atol, what)
    end
  end
  if #got ~= #want then
    error(("%s: %d elements, expected %d"):format(what, #got, #want), 0)
  end
end

local function shown(shape)
  return "[" .. table.concat(shape, ", ") .. "]"
end

local function bits(results)
  local out = {}
  for i = 1, results.n do
    out[i] = core.is_tensor(results[i]) and results[i]:tobytes() or tostring(results[i])
  end
  return table.concat(out, "|")
end

-- -- the checks --

-- Expected results as a list of { flat, shape }.
local function expected(row, data)
  if row.ref then
    local out = {}
    for i, o in ipairs(reference(row.family, row.ref).outputs) do
      out[i] = { flat = o.data, shape = o.shape }
    end
    return out
  end
  local out = {}
  if row.outputs then
    for i, o in ipairs(row.outputs) do
      out[i] = { flat = flatten(o.values, {}), shape = o.shape or shape_of(o.values) }
    end
    return out
  end
  if row.expect_all then
    local flats = {}
    for i, d in ipairs(data) do
      flats[i] = d and d.flat or nil
    end
    local flat, shape = row.expect_all(table.unpack(flats, 1, #data))
    return { { flat = flat, shape = shape or data[1].shape } }
  end
  for k = 1, #data[1].flat do
    local args = {}
    for i, d in ipairs(data) do
      args[i] = d.flat[k]
    end
    out[k] = row.expect(table.unpack(args))
  end
  return { { flat = out, shape = data[1].shape } }
end

local function check_values(row, float)
  local data = inputs_of(row)
  local results = call(row, tensors_of(data, float))
  local want = expected(row, data)
  local rtol = row.rtol or (float == "float64" and 1e-9 or 1.3e-6 * (row.length or 4))
  local atol = row.atol or (float == "float64" and 1e-9 or 1e-5)
  if float == "float32" then
    rtol, atol = math.max(rtol, 1.3e-6 * (row.length or 4)), math.max(atol, 1e-5)
  end
  for i, w in ipairs(want) do
    local flat, shape = flat_of(results[i])
    assert(same_shape(shape, w.shape), ("result %d has shape %s, expected %s"):format(i,
      shown(shape), shown(w.shape)))
    check_close(("result %d in %s"):format(i, float), flat, w.flat, rtol, atol)
  end
end

-- -- examples in the texts of ops: `name(0.5) = 0.479425`, after semicolons --

--- The examples in an op's text, as a list of { call, value }, both Lua expressions.
function runner.examples(name)
  local out = {}
  for part in (core.op_info(name).doc .. ";"):gmatch "([^;]+);" do
    local left, right = part:match "^%s*(.-) = (.-)%.?%s*$"
    if left and left:find("^" .. name .. "[%({]") then
      out[#out + 1] = { left, right }
    end
  end
  return out
end

-- Names of ops, and what stands for special values.
local words = setmetatable(
  { inf = math.huge, nan = 0 / 0, tensor = core.tensor }, { __index = core.ops })

local function value_of(expression)
  return assert(load("return " .. expression, "=" .. expression, "t", words))()
end

local function check_examples(row)
  local all = runner.examples(row.op)
  assert(#all >= (row.examples or 0), ("the text of %s has %d examples, expected %d"):format(row.op,
    #all, row.examples or 0))
  for _, example in ipairs(all) do
    local got, want = value_of(example[1]), value_of(example[2])
    local flat, shape = flat_of(got)
    assert(same_shape(shape, shape_of(want)), ("%s has shape %s"):format(example[1], shown(shape)))
    check_close(example[1], flat, flatten(want, {}), 1e-5, 1e-6)
  end
end

-- A fixed weight per element turns the results into one number.
local function weights_like(t, seed)
  return from_flat(spread(numel(t.shape), -1, 1, seed), t.shape, t.dtype)
end

local function scalar_of(results, n, bent)
  local total
  for i = 1, n or results.n do
    local r = results[i]
    if core.is_tensor(r) and is_float[r.dtype] then
      local s = (r * weights_like(r, i + 3)):sum()
      if bent then -- so that the gradient of a linear op depends on its inputs too
        s = s + (r * r * weights_like(r, i + 11)):sum()
      end
      total = total and total + s or s
    end
  end
  return total
end

local function grad_inputs(row, data)
  if row.grad == false then
    return {}
  end
  if row.grad then
    return row.grad
  end
  local out = {}
  if core.op_info(row.op).differentiable then
    for i, d in ipairs(data) do
      if d and (d.list or is_float[d.dtype]) then
        out[#out + 1] = i
      end
    end
  end
  return out
end

-- Every tensor that takes part, lists flattened, with its data.
local function leaves(data, tensors, which)
  local out = {}
  for _, i in ipairs(which) do
    if data[i].list then
      for k, d in ipairs(data[i].list) do
        out[#out + 1] = { data = d, tensor = tensors[i][k], name = ("input %d[%d]"):format(i, k) }
      end
    else
      out[#out + 1] = { data = data[i], tensor = tensors[i], name = "input " .. i }
    end
  end
  return out
end

local EPS, ATOL, RTOL = 1e-6, 1e-5, 1e-3

-- d f / d x at each element of x by central differences.
local function differences(d, f)
  local out = {}
  for k = 1, #d.flat do
    local v = d.flat[k]
    d.flat[k] = v + EPS
    local up = f()
    d.flat[k] = v - EPS
    local down = f()
    d.flat[k] = v
    out[k] = (up - down) / (2 * EPS)
  end
  return out
end

local function check_gradient(row)
  local data = inputs_of(row)
  local which = grad_inputs(row, data)
  local tensors = tensors_of(data, "float64")
  local parts = leaves(data, tensors, which)
  local vars = {}
  for i, p in ipairs(parts) do
    p.tensor:requires_grad_(true)
    vars[i] = p.tensor
  end
  local grads = core.gradients(scalar_of(call(row, tensors), row.results), vars)
  for i, p in ipairs(parts) do
    local want = differences(p.data, function()
      return scalar_of(call(row, tensors_of(data, "float64")), row.results):item()
    end)
    local got = grads[i] and flat_of(grads[i]) or spread(#want, 0, 0, 1)
    check_close("gradient of " .. p.name, got, want, RTOL, ATOL)
  end
end

-- The gradients' own gradient: g = sum of weighted first derivatives, differentiated by
-- differences.
local function check_second(row)
  local data = inputs_of(row)
  local which = grad_inputs(row, data)
  local function first(record)
    local tensors = tensors_of(data, "float64")
    local parts, vars = leaves(data, tensors, which), {}
    for i, p in ipairs(parts) do
      p.tensor:requires_grad_(true)
      vars[i] = p.tensor
    end
    local grads = core.gradients(
      scalar_of(call(row, tensors), row.results, true), vars, { create_graph = record })
    local packed = { n = 0 }
    for i = 1, #vars do
      if grads[i] then
        packed.n = packed.n + 1
        packed[packed.n] = grads[i]
      end
    end
    return scalar_of(packed), parts, vars
  end
  local g, parts, vars = first(true)
  local second = core.gradients(g, vars)
  for i, p in ipairs(parts) do
    local want = differences(p.data, function()
      return (first(false)):item()
    end)
    local got = second[i] and flat_of(second[i]) or spread(#want, 0, 0, 1)
    check_close("second derivative by " .. p.name, got, want, RTOL, ATOL)
  end
end

-- The same numbers behind other strides: every second element of a tensor twice as long, axes
-- reversed in memory.
local function strided(t)
  if not core.is_tensor(t) or t.ndim == 0 then
    return t
  end
  local axes, shape = {}, {}
  for i = 1, t.ndim do
    axes[i], shape[i] = t.ndim - i + 1, t.shape[t.ndim - i + 1]
  end
  local back = core.ops.copy(t:transpose(axes))
  shape[#shape] = shape[#shape] * 2
  local wide = core.zeros(shape, { dtype = t.dtype })
  local every = {}
  for i = 1, t.ndim do
    every[i] = i < t.ndim and {} or { 1, -1, 2 }
  end
  wide[every] = back
  local view = wide[every]:transpose(axes)
  return view
end

local function check_strided(row)
  local data = inputs_of(row)
  local plain, odd = tensors_of(data, "float32"), tensors_of(data, "float32")
  local written = {}
  for _, i in ipairs(row.inout or {}) do
    written[i] = true
  end
  for i, t in ipairs(odd) do
    if type(t) == "table" then
      for k, e in ipairs(t) do
        t[k] = strided(e)
      end
    elseif t and not written[i] then
      odd[i] = strided(t)
    end
  end
  local want, got = call(row, plain), call(row, odd)
  for i = 1, want.n do -- sums may be taken in another order
    check_close("strided inputs: result " .. i, flat_of(got[i]), flat_of(want[i]),
      1.3e-6 * (row.length or 4), 1e-6)
  end
end

-- Ops for which the rows' inputs, however often repeated, hold no work for two threads.
local one_thread = {}
for op in ([[batch_gather broadcast_to cholesky concatenate copy ctc_loss diag diagonal dot eigh
  embedding expand_dims fold gather_nd inner linear one_hot put_rows ravel reshape roll scatter
  scatter_update slice slice_update solve_triangular stack stop_gradient threshold_counts
  vdot]]):gmatch "%S+" do
  one_thread[op] = true
end

local shared, checked = {}, {} -- ops whose work two threads shared; ops looked at

--- Ops of which two threads shared the work in no row, though they should have; those not run
--- are not named.
function runner.unshared()
  local out = {}
  for op in pairs(checked) do
    if not shared[op] and not one_thread[op] then
      out[#out + 1] = op
    end
  end
  table.sort(out)
  return out
end

-- In these families, and in matmul and linear, the first input is data and the others are weights.
local weighted = { conv = true, norm = true, pool = true, embedding = true }

-- The first input repeated along its first axis until there is work for two threads, and with it
-- every input of the same first extent (those of a list, too). nil where that cannot be.
local function grown(row, tensors)
  local first = tensors[1]
  first = type(first) == "table" and first[1] or first
  if not core.is_tensor(first) or first.ndim == 0 or first.size == 0 then
    return nil
  end
  local extent, times = #first, math.max(1, 70000 // first.size)
  local function grow(t)
    if not core.is_tensor(t) or t.ndim == 0 or #t ~= extent then
      return t
    end
    local repeats = { times }
    for i = 2, t.ndim do
      repeats[i] = 1
    end
    return core.ops.tile(t, repeats)
  end
  for i, t in ipairs(tensors) do
    if type(t) == "table" then
      for k, e in ipairs(t) do
        t[k] = grow(e)
      end
    elseif i == 1 or not (weighted[row.family] or row.op == "matmul" or row.op == "linear") then
      tensors[i] = grow(t)
    end
  end
  return tensors
end

-- Tide's own kernels, on the row's inputs and, where they can be repeated, on so many that two
-- threads share the work.
local function check_threads(row)
  local was, engines = core.get_threads(), core.engines()
  core.engines "plain"
  core.memory_limit(256 << 20)
  local data = inputs_of(row)
  local function results(threads, large)
    core.set_threads(threads)
    local tensors = tensors_of(data, "float32")
    tensors = large and grown(row, tensors) or tensors
    return bits(call(row, tensors))
  end
  local small = { pcall(results, 1, false) }
  local small_two = { pcall(results, 2, false) }
  local can, large = pcall(results, 1, true)
  local before = core.engine_stats().parallel_regions
  local large_two = can and { pcall(results, 2, true) }
  checked[row.op] = true
  shared[row.op] = shared[row.op] or core.engine_stats().parallel_regions > before
  core.memory_limit(0)
  core.engines(table.concat(engines, " "))
  core.set_threads(was)
  assert(small[1], small[2])
  assert(small_two[1], small_two[2])
  assert(small[2] == small_two[2], "one thread and two give different bits")
  if can then
    assert(large_two[1], large_two[2])
    assert(large == large_two[2], "one thread and two give different bits on repeated inputs")
  end
end

local function check_dtypes(row)
  local names = {}
  for dtype in pairs(row.dtypes) do
    names[#names + 1] = dtype
  end
  table.sort(names)
  for _, dtype in ipairs(names) do
    local data = inputs_of(row)
    for _, d in ipairs(data) do
      if d and not d.list and is_float[d.dtype] then
        d.dtype = dtype
        if not is_float[dtype] then
          for k, v in ipairs(d.flat) do
            d.flat[k] = dtype == "bool" and v > 0 or math.floor(math.abs(v))
          end
        end
      end
    end
    local got = call(row, tensors_of(data))[1]
    local name = core.is_tensor(got) and got.dtype or math.type(got) and "integer" or type(got)
    assert(name == row.dtypes[dtype], ("%s gives %s, expected %s"):format(dtype, name,
      row.dtypes[dtype]))
  end
end

-- A result that is no view may be written: its elements stand at places of their own.
local function check_own(row)
  for _, y in ipairs(call(row, tensors_of(inputs_of(row)))) do
    if core.is_tensor(y) then
      y:copy_(y)
    end
  end
end

local function check_empty(row)
  local data = {}
  for i, shape in ipairs(row.empty.inputs) do
    local dtype = row.empty.dtypes and row.empty.dtypes[i] or "float32"
    data[i] = shape and { flat = spread(numel(shape), 0, 1, i), shape = shape, dtype = dtype }
  end
  local got = call(row, tensors_of(data), row.empty.options)[1]
  local _, shape = flat_of(got)
  assert(same_shape(shape, row.empty.output),
    ("shape %s, expected %s"):format(shown(shape), shown(row.empty.output)))
end

local function check_error(row, case)
  local specs = case.inputs or row.inputs or reference(row.family, row.ref).inputs
  local data = {}
  for i, spec in ipairs(specs) do
    data[i] = input_data(spec, i)
  end
  local ok, err = pcall(call, row, tensors_of(data), case.options)
  assert(not ok, "the wrong call went through")
  assert(tostring(err):find(case.says, 1, true),
    ("the message is %q, expected it to contain %q"):format(tostring(err), case.says))
end

-- Channels that stand first give the same numbers and gradients, moved.
local function check_channels(row)
  local options = { data_format = "channels_first" }
  for name, v in pairs(row.options or {}) do
    options[name] = v
  end
  local function run(first)
    local inputs = tensors_of(inputs_of(row), "float64")
    local leaf = inputs[1]:requires_grad_(true)
    inputs[1] = first and core.ops.moveaxis(leaf, -1, 2) or leaf
    local y = call(row, inputs, first and options)[1]
    y = first and core.ops.moveaxis(y, 2, -1) or y
    return y, row.grad ~= false and core.gradients((y * y):sum(), { leaf })[1]
  end
  local want, want_g = run(false)
  local got, got_g = run(true)
  assert(same_shape(got.shape, want.shape), "channels first: the shape differs")
  check_close("channels first: result", flat_of(got), flat_of(want), 1e-12, 1e-12)
  if want_g then
    check_close("channels first: gradient", flat_of(got_g), flat_of(want_g), 1e-12, 1e-12)
  end
end

-- Each engine that is there gives the plain kernels' numbers.
local function check_engines(row)
  local all = core.engines()
  local data = inputs_of(row)
  core.engines "plain"
  local ok, want = pcall(call, row, tensors_of(data, "float32"))
  for _, engine in ipairs(all) do
    if engine ~= "plain" and ok then
      core.engines(engine)
      local got
      ok, got = pcall(call, row, tensors_of(data, "float32"))
      for i = 1, ok and got.n or 0 do
        check_close(engine, flat_of(got[i]), flat_of(want[i]), 1e-4, 1e-5)
      end
    end
  end
  core.engines(table.concat(all, " "))
  assert(ok, want)
end

--- The checks of a row as a list of { name, function }.
function runner.checks(row)
  local out = {}
  for key in pairs(row) do
    assert(keys[key], ("row %s, %s: nothing reads '%s'"):format(row.op, row.label or "",
      tostring(key)))
  end
  local function add(name, f, ...)
    local args = table.pack(...)
    out[#out + 1] = {
      name,
      function()
        f(row, table.unpack(args, 1, args.n))
      end,
    }
  end
  if row.spec then
    return out
  end
  local info = assert(core.op_info(row.op), "no op " .. row.op)
  local random = row.random
  if row.examples then
    add("gives the values of its examples", check_examples)
  end
  if row.ref or row.expect or row.expect_all or row.outputs then
    add("gives the reference's numbers in float64", check_values, "float64")
    if row.f32 ~= false then
      add("gives the reference's numbers in float32", check_values, "float32")
    end
  end
  if #grad_inputs(row, inputs_of(row)) > 0 and not random then
    add("has the gradient of central differences", check_gradient)
    if row.gradgrad then
      add("has the second derivative of central differences", check_second)
    end
  end
  if row.strided ~= false and (row.inputs or row.ref) then
    add("does not depend on strides", check_strided)
  end
  if row.threads ~= false then
    add("gives the same bits on one and two threads", check_threads)
  end
  if row.engines ~= false and core.engines and #core.engines() > 1 and not random
    and info.kind ~= "view" then
    add("agrees with every engine", check_engines)
  end
  if info.kind ~= "view" and (row.ref or row.expect or row.expect_all or row.outputs) then
    add("gives elements of its own", check_own)
  end
  for _, a in ipairs(info.args) do
    if a.name == "data_format" and not (row.options or {}).data_format then
      add("takes channels that stand first", check_channels)
    end
  end
  if row.dtypes then
    add("keeps its dtypes", check_dtypes)
  end
  if row.empty then
    add("takes sizes of zero", check_empty)
  end
  for _, case in ipairs(row.errors or {}) do
    add(("refuses: %s"):format(case.says), check_error, case)
  end
  return out
end

--- All rows of spec/support/op_cases, each with its `family`, in the order of the files' names.
function runner.rows()
  local names = {}
  for name in io.popen("ls spec/support/op_cases"):lines() do
    names[#names + 1] = name:match "^(.+)%.lua$"
  end
  local out = {}
  for _, family in ipairs(names) do
    for _, row in ipairs(dofile("spec/support/op_cases/" .. family .. ".lua")) do
      row.family = row.family or family
      out[#out + 1] = row
    end
  end
  return out
end

return runner

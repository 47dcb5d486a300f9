--- Calls of ops that are nearly right: the arguments of a case row (spec/support/op_cases), of
--- which one to three are changed.
local rows = {}

local core = require "tide.core"
local runner = require "spec.support.op_runner"

local random = math.random

local function pick(list)
  return list[random(#list)]
end

local dtypes = { "float32", "float64", "int64", "int32", "uint8", "int8", "bool", "float16",
  "bfloat16" }
local numbers = { 0, 1, -1, 0.5, -0.5, 3, 100, 1e-30, 1e30, -1e30, 1 / 0, -1 / 0, 0 / 0, 1 << 31,
  math.maxinteger, math.mininteger }
local counts = { 0, 1, 2, 3, 4, 7, -1, -2, -3, 100, 1 << 16, 1 << 31, 1 << 40, math.maxinteger,
  math.mininteger }
local words = { "", "valid", "same", "causal", "none", "sum", "mean", "relu", "bilinear", "float16",
  "int64", "left", "reflect", "channels_first", "ij,jk->ik" }

--- A tensor of this shape and dtype whose elements are numbers of all kinds.
function rows.filled(shape, dtype)
  local n, floats = 1, dtype:find "float"
  for _, d in ipairs(shape) do
    n = n * d
  end
  if n == 0 or n > 4096 then
    return core.zeros(shape, { dtype = dtype })
  end
  local out = {}
  for i = 1, n do
    local v = random(4) == 1 and pick(numbers) or random(9) - 3
    out[i] = floats and v or v == v and math.tointeger(v) or random(4)
  end
  local wanted = floats and "float64" or "int64"
  return core.ops.cast(core.ops.reshape(core.tensor(out, { dtype = wanted }), shape), dtype)
end

-- ---- what may become of a tensor ----

local function other_shape(t)
  local shape = { table.unpack(t.shape) }
  local what = random(5)
  if what == 1 and #shape > 0 then
    table.remove(shape, random(#shape))
  elseif what == 2 and #shape < 7 then
    table.insert(shape, random(#shape + 1), random(3))
  elseif #shape > 0 then
    shape[random(#shape)] = pick { 0, 1, 2, 3, 5, 17 }
  end
  return rows.filled(shape, t.dtype)
end

local changes = {
  function(t) return core.ops.cast(t, pick(dtypes)) end,
  function(t) return core.ops.cast(t, pick(dtypes)) end,
  other_shape, other_shape, other_shape,
  function(t) return rows.filled(t.shape, t.dtype) end,
  function(t) return rows.filled(t.shape, t.dtype) end,
  function(t) return t:transpose() end,
  function(t)
    local shape = { table.unpack(t.shape) }
    if #shape > 0 then
      shape[random(#shape)] = 1
    end
    return core.ops.broadcast_to(rows.filled(shape, t.dtype), t.shape)
  end,
  function(t) return #t.shape > 0 and t[{ { 1, -1, 2 } }] or t end,
  function(t) return #t.shape > 0 and t[{ { -1, 1, -1 } }] or t end,
  function(t) return t:to "test" end,
  function(t)
    core.release(t)
    return t
  end,
  function() return nil end,
  function() return pick(numbers) end,
  function() return {} end,
}

local huge = {
  function(t)
    local shape = { table.unpack(t.shape) }
    if #shape == 0 then
      return core.ops.broadcast_to(t, { 1 << 31 })
    end
    local i = random(#shape)
    local at = {}
    for k = 1, #shape do
      at[k] = k == i and { 1, 1 } or {}
    end
    local thin = t[at]
    shape[i] = pick { 1 << 20, 1 << 31, 1 << 34 }
    return core.ops.broadcast_to(thin, shape)
  end,
}

local function another(v)
  if type(v) == "number" then
    return pick(random(3) == 1 and numbers or counts)
  elseif type(v) == "boolean" then
    return not v
  elseif type(v) == "string" then
    return pick(words)
  elseif type(v) == "table" and not core.is_tensor(v) then
    local out = {}
    for k, x in pairs(v) do
      out[k] = random(2) == 1 and another(x) or x
    end
    if random(4) == 1 then
      out[#out + 1] = pick(counts)
    end
    return out
  end
  return pick(counts)
end

-- ---- calls ----

local all
local function sources()
  if all then
    return all
  end
  all = {}
  for _, row in ipairs(runner.rows()) do
    if row.op and core.ops[row.op] and (row.inputs or row.ref) then
      all[#all + 1] = row
    end
  end
  return all
end

--- A name, the op, and its arguments as one table of names. `timed`: also with tensors of millions
--- of millions of elements, which only an interruption ends.
function rows.call(timed)
  local row = pick(sources())
  local arguments = runner.arguments(row, pick { "float32", "float32", "float64" })
  local tensors, keys = {}, {}
  for name, v in pairs(arguments) do
    keys[#keys + 1] = name
    if core.is_tensor(v) then
      tensors[#tensors + 1] = name
    end
  end
  table.sort(keys)
  table.sort(tensors)
  local info = core.op_info(row.op)
  for _ = 1, random(3) do
    local what, name = random(10), tensors[random(math.max(#tensors, 1))]
    local t = arguments[name]
    if what <= 6 and core.is_tensor(t) then
      local ok, changed = pcall(timed and random(12) == 1 and huge[1] or pick(changes), t)
      if ok then
        arguments[name] = changed
      end
    elseif what == 7 and #tensors > 1 then
      arguments[name] = arguments[pick(tensors)] -- the same twice
    elseif what == 8 and #info.args > 0 then
      local a = pick(info.args)
      arguments[a.name] = another(arguments[a.name])
    elseif #keys > 0 then
      name = pick(keys)
      if not core.is_tensor(arguments[name]) then
        arguments[name] = another(arguments[name])
      end
    end
  end
  for _, name in ipairs(tensors) do
    local t = arguments[name]
    if core.is_tensor(t) and random(2) == 1 then
      pcall(function()
        t.requires_grad = true
      end)
    end
  end
  return row.op, core.ops[row.op], arguments
end

--- Gradients of what a call gave, of both orders at times; errors are raised.
function rows.gradients(results, arguments)
  local total
  for i = 1, results.n do
    local y = results[i]
    if core.is_tensor(y) and y.requires_grad and y.size < 1 << 20 then
      local s = core.ops.sum(core.ops.cast(y, "float32"))
      total = total and total + s or s
    end
  end
  if not total then
    return
  end
  local leaves = {}
  for _, v in pairs(arguments) do
    if core.is_tensor(v) and v.requires_grad then
      leaves[#leaves + 1] = v
    end
  end
  if #leaves == 0 then
    return
  end
  local twice = random(3) == 1
  local gradients = core.gradients(total, leaves, { create_graph = twice })
  for _, g in ipairs(twice and gradients or {}) do
    if g and g.requires_grad then
      core.gradients(core.ops.sum(g), leaves)
      break
    end
  end
end

return rows

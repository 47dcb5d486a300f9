--- keras.ops' functions of control: conditions, loops, scans, conversions. Eager: the branches are
--- ordinary Lua functions.
local autograd = require "tide.tensor.autograd"
local check = require "tide.check"
local common = require "tide.ops.common"
local core = require "tide.core"
local errors = require "tide.errors"

local control = {}

local function truth(where, x)
  if type(x) == "boolean" then
    return x
  elseif core.is_tensor(x) and x.size == 1 then
    local v = x:item()
    return v ~= 0 and v ~= false
  elseif type(x) == "number" then
    return x ~= 0
  end
  errors.raise(where, "a condition must be a boolean or a tensor of one element (got %s)",
    check.show(x))
end

local function callable(where, name, f)
  local m = getmetatable(f)
  if type(f) ~= "function" and not (type(m) == "table" and m.__call) then
    errors.raise(where, "%s must be a function (got %s)", name, check.show(f))
  end
end

local function rows(where, xs)
  if check.is_list(xs) and type(xs[1]) ~= "userdata" then
    xs = core.tensor(xs)
  end
  if core.is_tensor(xs) then
    if xs.ndim == 0 then
      errors.raise(where, "needs a tensor with at least one axis (got a tensor without axes)")
    end
    return #xs, function(i)
      return xs[i]
    end
  elseif check.is_list(xs) and core.is_tensor(xs[1]) then
    local first = xs[1]
    for k, x in ipairs(xs) do
      if not core.is_tensor(x) or x.ndim == 0 or first.ndim == 0
        or x.shape[1] ~= first.shape[1] then
        errors.raise(
          where, "xs must be tensors with one length of the first axis (xs[1] is %s, xs[%d] %s)",
          check.show(first), k, check.show(x))
      end
    end
    return #first, function(i)
      local out = {}
      for k, x in ipairs(xs) do
        out[k] = x[i]
      end
      return out
    end
  end
  errors.raise(where, "xs must be a tensor or a list of tensors (got %s)", check.show(xs))
end

local as_tensor = common.tensor

-- Results of n steps as one tensor; nil where there are none.
local function stacked(where, list, n)
  if next(list) == nil then
    return nil
  end
  for i = 1, n do
    local x = list[i]
    if type(x) ~= "number" and type(x) ~= "boolean" and not core.is_tensor(x)
      and not check.is_list(x) then
      errors.raise(where, "the function must return a tensor at every step (got %s at step %d)",
        check.show(x), i)
    end
    list[i] = as_tensor(x)
  end
  return core.ops.stack(list, 1)
end

local cond_args = check.args("cond", {
  { "pred", "any", check.required },
  { "true_fn", "any", check.required },
  { "false_fn", "any", check.required },
})

--- `true_fn()` if pred holds, else `false_fn()`. Keras: ops.cond.
function control.cond(...)
  local o = cond_args:call(...)
  callable("cond", "true_fn", o.true_fn)
  callable("cond", "false_fn", o.false_fn)
  if truth("cond", o.pred) then
    return o.true_fn()
  end
  return o.false_fn()
end

--- The branch number `index` (from 1; clamped) called with the operands. Keras: ops.switch.
function control.switch(index, branches, ...)
  if not check.is_list(branches) or #branches == 0 then
    errors.raise("switch", "branches must be a list of functions (got %s)", check.show(branches))
  end
  local i = check.whole(core.is_tensor(index) and index.size == 1 and index:item() or index)
  if not i then
    errors.raise("switch", "index must be a whole number (got %s)", check.show(index))
  end
  i = math.max(1, math.min(#branches, i))
  callable("switch", "a branch", branches[i])
  return branches[i](...)
end

local while_args = check.args("while_loop", {
  { "cond", "any", check.required },
  { "body", "any", check.required },
  { "loop_vars", "any", check.required },
  { "maximum_iterations", "int", nil, "stops after so many", min = 0 },
})

--- Repeats `body(vars...)` while `cond(vars...)` holds. `loop_vars` is a list; the results are
--- several values. Keras: ops.while_loop.
function control.while_loop(...)
  local o = while_args:call(...)
  callable("while_loop", "cond", o.cond)
  callable("while_loop", "body", o.body)
  local vars = table.pack(
    table.unpack(type(o.loop_vars) == "table" and o.loop_vars or { o.loop_vars }))
  local left = o.maximum_iterations or math.huge
  while left > 0 and truth("while_loop", o.cond(table.unpack(vars, 1, vars.n))) do
    vars = table.pack(o.body(table.unpack(vars, 1, vars.n)))
    left = left - 1
  end
  return table.unpack(vars, 1, vars.n)
end

local function value(x)
  return core.is_tensor(x) and x.size == 1 and x:item() or x
end

--- `val = body_fun(i, val)` for i in lower..upper-1 (values, as in Keras).
function control.fori_loop(lower, upper, body_fun, init_val)
  local first, last = check.whole(value(lower)), check.whole(value(upper))
  if not first or not last then
    errors.raise("fori_loop", "lower and upper must be whole numbers (got %s and %s)",
      check.show(lower), check.show(upper))
  end
  callable("fori_loop", "body_fun", body_fun)
  local val = init_val
  for i = first, last - 1 do
    val = body_fun(i, val)
  end
  return val
end

local scan_args = check.args("scan", {
  { "f", "any", check.required },
  { "init", "any" },
  { "xs", "any" },
  { "length", "int", nil, "how often, without xs", min = 0 },
  { "reverse", "bool", false, "from the last slice to the first" },
  { "unroll", "any", 1, "kept for Keras" },
})

--- `carry, y = f(carry, x)` over the first axis; returns the last carry and the stacked ys.
function control.scan(...)
  local o = scan_args:call(...)
  callable("scan", "f", o.f)
  local n, row = o.length or 0, nil
  if o.xs ~= nil then
    n, row = rows("scan", o.xs)
    if o.length and o.length ~= n then
      errors.raise("scan", "length differs from the slices of xs (expected %d, got %d)", n,
        o.length)
    end
  end
  local carry, ys = o.init, {}
  for k = 1, n do
    local i = o.reverse and n + 1 - k or k
    local y
    carry, y = o.f(carry, row and row(i))
    if y ~= nil then
      ys[i] = y
    end
  end
  return carry, stacked("scan", ys, n)
end

--- `f` of each slice of the first axis, stacked; several results are several stacks.
function control.map(f, xs)
  callable("map", "f", f)
  local n, row = rows("map", xs)
  local out, count = {}, 0
  for i = 1, n do
    local r = table.pack(f(row(i)))
    count = math.max(count, r.n)
    for k = 1, r.n do
      out[k] = out[k] or {}
      out[k][i] = r[k]
    end
  end
  for k = 1, count do
    out[k] = stacked("map", out[k], n)
  end
  return table.unpack(out, 1, count)
end

local vectorized_args = check.args("vectorized_map", {
  { "function", "any", check.required },
  { "elements", "any", check.required },
})

--- As map. Keras: ops.vectorized_map.
control.vectorized_map = function(...)
  local o = vectorized_args:call(...)
  callable("vectorized_map", "function", o["function"])
  return control.map(o["function"], o.elements)
end

local associative_args = check.args("associative_scan", {
  { "f", "any", check.required },
  { "elems", "any", check.required },
  { "reverse", "bool", false },
  { "axis", "axis", 1 },
})

--- Prefix results of an associative function of two slices along `axis` (default 1), in order.
function control.associative_scan(...)
  local o = associative_args:call(...)
  callable("associative_scan", "f", o.f)
  local elems = as_tensor(o.elems)
  local axis = common.axis_of("associative_scan", o.axis, elems.ndim)
  local x = axis == 1 and elems or elems:moveaxis(axis, 1)
  local out, acc = {}, nil
  local n = #x
  for k = 1, n do
    local i = o.reverse and n + 1 - k or k
    local item = as_tensor(x[i], x.dtype)
    acc = acc == nil and item or o.f(acc, item)
    out[i] = acc
  end
  local y = stacked("associative_scan", out, n) or x
  return axis == 1 and y or y:moveaxis(1, axis)
end

control.custom_gradient = autograd.custom_gradient
control.jvp = autograd.jvp

local convert_args = check.args("convert_to_tensor", {
  { "x", "any", check.required },
  { "dtype", "dtype" },
  { "sparse", "bool", false, "kept for Keras: must be false" },
  { "ragged", "bool", false, "kept for Keras: must be false" },
})

--- A tensor of numbers, nested tables or a tensor, in `dtype` if given. Keras:
--- ops.convert_to_tensor.
function control.convert_to_tensor(...)
  local o = convert_args:call(...)
  if o.sparse or o.ragged then
    errors.raise("convert_to_tensor", "%s must be false (got true): Tide's tensors are dense",
      o.sparse and "sparse" or "ragged")
  end
  if core.is_tensor(o.x) then
    return o.dtype and o.x.dtype ~= o.dtype and o.x:cast(o.dtype) or o.x
  end
  return core.tensor(o.x, { dtype = o.dtype })
end

--- Nested Lua tables of a tensor. Keras: ops.convert_to_numpy.
function control.convert_to_numpy(x)
  return as_tensor(x):tolist()
end

--- Whether a value is a tensor. Keras: ops.is_tensor.
function control.is_tensor(x)
  return core.is_tensor(x)
end

--- The extents of a tensor, as a list. Keras: ops.shape.
function control.shape(x)
  return as_tensor(x).shape
end

--- The dtype of a tensor, as its name. Keras: ops.dtype.
function control.dtype(x)
  return as_tensor(x).dtype
end

return control

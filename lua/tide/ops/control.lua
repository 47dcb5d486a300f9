--- keras.ops' functions of control: conditions, loops, scans, conversions. Eager: the branches are ordinary Lua functions.
local autograd = require "tide.autograd"
local check = require "tide.check"
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
    core.is_tensor(x) and tostring(x.shape) or type(x))
end

local function callable(where, name, f)
  local m = getmetatable(f)
  if type(f) ~= "function" and not (type(m) == "table" and m.__call) then
    errors.raise(where, "%s must be a function (got %s)", name, check.show(f))
  end
end

local function rows(where, xs)
  if check.is_plain(xs) and type(xs[1]) ~= "userdata" then
    xs = core.tensor(xs)
  end
  if core.is_tensor(xs) then
    if xs.ndim == 0 then
      errors.raise(where, "needs a tensor with at least one axis")
    end
    return #xs, function(i)
      return xs[i]
    end
  elseif type(xs) == "table" and core.is_tensor(xs[1]) then
    return #xs[1], function(i)
      local out = {}
      for k, x in ipairs(xs) do
        out[k] = x[i]
      end
      return out
    end
  end
  errors.raise(where, "xs must be a tensor or a list of tensors (got %s)", type(xs))
end

local function as_tensor(x)
  return core.is_tensor(x) and x or core.tensor(x)
end

local function stacked(list)
  if #list == 0 then
    return nil
  end
  for i, x in ipairs(list) do
    list[i] = as_tensor(x)
  end
  return core.ops.stack(list, 1)
end

--- `true_fn()` if pred holds, else `false_fn()`. Keras: ops.cond.
function control.cond(pred, true_fn, false_fn)
  callable("cond", "true_fn", true_fn)
  callable("cond", "false_fn", false_fn)
  if truth("cond", pred) then
    return true_fn()
  end
  return false_fn()
end

--- The branch number `index` (from 1; clamped) called with the operands. Keras: ops.switch.
function control.switch(index, branches, ...)
  if type(branches) ~= "table" or #branches == 0 then
    errors.raise("switch", "branches must be a list of functions (got %s)", check.show(branches))
  end
  local i = core.is_tensor(index) and index:item() or index
  i = math.max(1, math.min(#branches, math.tointeger(i) or 1))
  callable("switch", "a branch", branches[i])
  return branches[i](...)
end

--- Repeats `body(vars...)` while `cond(vars...)` holds. `loop_vars` is a list; the results are several values.
function control.while_loop(cond, body, loop_vars, options)
  callable("while_loop", "cond", cond)
  callable("while_loop", "body", body)
  if type(loop_vars) ~= "table" then
    loop_vars = { loop_vars }
  end
  local vars = table.pack(table.unpack(loop_vars))
  local left = options and options.maximum_iterations or math.huge
  while left > 0 and truth("while_loop", cond(table.unpack(vars, 1, vars.n))) do
    vars = table.pack(body(table.unpack(vars, 1, vars.n)))
    left = left - 1
  end
  return table.unpack(vars, 1, vars.n)
end

--- `val = body_fun(i, val)` for i in lower..upper-1 (values, as in Keras).
function control.fori_loop(lower, upper, body_fun, init_val)
  lower = core.is_tensor(lower) and lower:item() or lower
  upper = core.is_tensor(upper) and upper:item() or upper
  if not math.tointeger(lower) or not math.tointeger(upper) then
    errors.raise("fori_loop", "lower and upper must be whole numbers (got %s and %s)", check.show(lower), check.show(upper))
  end
  callable("fori_loop", "body_fun", body_fun)
  local val = init_val
  for i = lower, upper - 1 do
    val = body_fun(i, val)
  end
  return val
end

--- `carry, y = f(carry, x)` over the first axis; returns the last carry and the stacked ys.
function control.scan(f, init, xs, options)
  callable("scan", "f", f)
  local n, row = options and options.length or 0, nil
  if xs ~= nil then
    n, row = rows("scan", xs)
  end
  local reverse = options and options.reverse
  local carry, ys = init, {}
  for k = 1, n do
    local i = reverse and n + 1 - k or k
    local y
    carry, y = f(carry, row and row(i))
    if y ~= nil then
      ys[i] = y
    end
  end
  return carry, stacked(ys)
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
    out[k] = stacked(out[k])
  end
  return table.unpack(out, 1, count)
end
control.vectorized_map = function(f, xs)
  return control.map(f, xs)
end

--- Prefix results of an associative function of two slices along `axis` (default 1), in order.
function control.associative_scan(f, elems, options)
  callable("associative_scan", "f", f)
  options = type(options) == "table" and options or {}
  local axis = options.axis or 1
  if not core.is_tensor(elems) then
    elems = core.tensor(elems)
  end
  local x = axis == 1 and elems or elems:moveaxis(axis, 1)
  local out, acc = {}, nil
  local n = #x
  local reverse = options.reverse
  for k = 1, n do
    local i = reverse and n + 1 - k or k
    acc = acc and f(acc, as_tensor(x[i])) or as_tensor(x[i])
    out[i] = acc
  end
  local y = stacked(out) or x
  return axis == 1 and y or y:moveaxis(1, axis)
end

control.custom_gradient = autograd.custom_gradient

--- The same values, without their history.
function control.stop_gradient(x)
  return as_tensor(x):detach()
end

--- A tensor of numbers, nested tables or a tensor, in `dtype` if given.
function control.convert_to_tensor(x, dtype)
  if type(dtype) == "table" then
    dtype = dtype.dtype
  end
  if core.is_tensor(x) then
    return dtype and x.dtype ~= dtype and x:cast(dtype) or x
  end
  return core.tensor(x, { dtype = dtype })
end

--- Nested Lua tables of a tensor.
function control.convert_to_numpy(x)
  return as_tensor(x):tolist()
end

control.is_tensor = core.is_tensor

function control.shape(x)
  return as_tensor(x).shape
end

function control.dtype(x)
  return as_tensor(x).dtype
end

return control

--- Functions of tensors, named as keras.ops names them: the C core's ops, and those that are written with them in Lua
-- (tide.ops.*). Positions and axes count from 1.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local ops = {}

-- Lua-written families; each returns a table of functions, loaded when one of its names is first asked for.
local families = {
  control = [[cond while_loop fori_loop scan map vectorized_map associative_scan switch custom_gradient stop_gradient
    convert_to_tensor convert_to_numpy is_tensor shape dtype]],
  creation = [[arange linspace logspace geomspace eye identity tri meshgrid]],
  linear = "einsum tensordot",
  arrays = [[split array_split vsplit hsplit dsplit unstack nonzero vstack hstack dstack column_stack append fliplr flipud rot90
    diagflat trace repeat select isin unique unravel_index multi_hot in_top_k saturate_cast allclose ndim size array get_item]],
  products = [[norm xlogy psnr corrcoef broadcast_shapes segment_sum segment_max segment_min segment_prod argpartition
    dot_product_attention]],
  statistics = [[quantile percentile median nansum nanprod nanmax nanmin nanargmax nanargmin nanmean nanvar nanstd nancumsum
    nancumprod nanquantile nanpercentile nanmedian average ptp diff trapezoid vander cross kron histogram bartlett blackman
    hamming hanning kaiser]],
}
local place = {}
for family, names in pairs(families) do
  for name in names:gmatch "%S+" do
    place[name] = "tide.ops." .. family
  end
end

for name, f in pairs(core.ops) do
  if name:sub(-1) ~= "_" then
    ops[name] = f
  end
end

-- Keras' and NumPy's other names of the same ops.
for name, of in
  pairs {
    absolute = "abs",
    amax = "max",
    amin = "min",
    bitwise_invert = "bitwise_not",
    bitwise_left_shift = "left_shift",
    bitwise_right_shift = "right_shift",
    exponential = "exp",
    fabs = "abs",
    hard_swish = "hard_silu",
    swish = "silu",
    true_divide = "divide",
  }
do
  ops[name] = core.ops[of]
end

--- Every public name, sorted.
function ops.names()
  local out = {}
  for name, f in pairs(ops) do
    if type(f) == "function" and name ~= "names" and name ~= "method" then
      out[#out + 1] = name
    end
  end
  for name in pairs(place) do
    if not rawget(ops, name) then
      out[#out + 1] = name
    end
  end
  table.sort(out)
  return out
end

-- Of a function written in Lua: symbolic tensors make it one node of the model, as they do the core's ops. Those of `control`
-- take functions and give Lua values, so they see the symbolic tensors themselves.
local function traced(name, f)
  return function(...)
    local symbolic = package.loaded["tide.models.symbolic"]
    if symbolic then
      for i = 1, select("#", ...) do
        local v = select(i, ...)
        if type(v) == "table" and symbolic.has(v) then
          return symbolic.op(name, ...)
        end
      end
    end
    return f(...)
  end
end

-- Functions of a family whose first argument is no single tensor.
local no_method = {}
for name in
  ([[broadcast_shapes einsum vstack hstack dstack column_stack array get_item bartlett blackman hamming hanning kaiser meshgrid
  cond while_loop fori_loop scan map vectorized_map associative_scan switch custom_gradient is_tensor shape dtype arange linspace
  logspace geomspace eye identity tri convert_to_tensor]]):gmatch "%S+"
do
  no_method[name] = true
end

-- A function of Lua parameters, called by their names too: `ops.cross { x1 = a, x2 = b }`; its first argument must be there.
-- Functions of `...` check theirs themselves.
local function named(name, f)
  local info = debug and debug.getinfo(f, "u")
  if not info or info.isvararg and info.nparams == 0 then
    return f
  end
  local position, names = {}, {}
  for i = 1, info.nparams do
    names[i] = debug.getlocal(f, i)
    position[names[i]] = i
  end
  local first = names[1]
  return function(x, ...)
    if x == nil then
      errors.raise(name, "%s is missing", first)
    elseif select("#", ...) == 0 and check.is_plain(x) and type(next(x)) == "string" then
      local args = {}
      for key, value in pairs(x) do
        if not position[key] then
          errors.raise(name, "unknown option '%s'%s", tostring(key), check.did_you_mean(tostring(key), names))
        end
        args[position[key]] = value
      end
      return f(table.unpack(args, 1, info.nparams))
    end
    return f(x, ...)
  end
end

--- The function that `x:name(...)` calls where the C core has no op of that name, or nil.
function ops.method(name)
  return place[name] and not no_method[name] and ops[name] or nil
end

-- `ops.nn`, `ops.numpy`, `ops.linalg`, `ops.math`, `ops.image` are the same functions under Keras' module names.
local modules = { nn = true, numpy = true, linalg = true, math = true, core = true }

return setmetatable(ops, {
  __name = "tide.ops",
  __index = function(_, name)
    if modules[name] then
      return ops
    end
    local from = place[name]
    if from then
      local f = named(name, require(from)[name])
      f = from ~= "tide.ops.control" and traced(name, f) or f
      rawset(ops, name, f)
      return f
    end
    errors.raise("ops", "unknown name '%s'%s", tostring(name), check.did_you_mean(tostring(name), ops.names()))
  end,
})

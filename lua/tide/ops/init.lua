--- Functions of tensors, named as keras.ops names them: the C core's ops, and those that are
--- written with them in Lua
-- (tide.ops.*). Positions and axes count from 1.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local namespace = require "tide.namespace"
local origin = require "tide.origin"

local ops = {}

-- Lua-written families; each returns a table of functions, loaded when one of its names is first
-- asked for.
local families = {
  control = [[cond while_loop fori_loop scan map vectorized_map associative_scan switch
    custom_gradient jvp convert_to_tensor convert_to_numpy is_tensor shape dtype]],
  creation = [[arange linspace logspace geomspace eye identity tri meshgrid]],
  linear = "einsum tensordot",
  arrays = [[split array_split vsplit hsplit dsplit unstack nonzero vstack hstack dstack
    column_stack append fliplr flipud rot90 diagflat trace repeat select isin unique
    unravel_index multi_hot in_top_k saturate_cast allclose ndim size array get_item]],
  products = [[norm xlogy psnr corrcoef broadcast_shapes segment_sum segment_max segment_min
    segment_prod argpartition dot_product_attention]],
  statistics = [[quantile percentile median nansum nanprod nanmax nanmin nanargmax nanargmin
    nanmean nanvar nanstd nancumsum nancumprod nanquantile nanpercentile nanmedian average ptp
    diff trapezoid vander cross kron histogram]],
  linalg = "svd logdet cholesky_inverse pinv lstsq matrix_rank matrix_power cdist",
  sequences = [[rearrange view angle real imag conj conjugate isreal extract_sequences correlate
    vectorize]],
  fourier = "fft fft2 ifft2 rfft irfft stft istft",
  special = "gammainc polar view_as_complex view_as_real",
  windows = "bartlett blackman hamming hanning kaiser i0",
  image = [[resize scale_and_translate pad_images crop_images affine_transform
    perspective_transform map_coordinates gaussian_blur elastic_transform sobel_edges ssim
    rgb_to_grayscale rgb_to_hsv hsv_to_rgb]],
  patches = "extract_patches extract_patches_3d reconstruct_patches",
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
local others = {
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
for name, of in pairs(others) do
  ops[name] = core.ops[of]
end

local own = { names = true, method = true, arguments = true }

--- Every public name, sorted.
function ops.names()
  local out = {}
  for name, f in next, ops do
    if type(f) == "function" and not own[name] then
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

-- Functions of a family whose first argument is no single tensor.
local no_method = {}
for name in
  ([[fft fft2 ifft2 irfft istft vectorize broadcast_shapes einsum vstack hstack dstack
    column_stack array get_item bartlett blackman hamming hanning kaiser meshgrid cond while_loop
    fori_loop scan map vectorized_map associative_scan switch custom_gradient jvp is_tensor shape
    dtype arange linspace logspace geomspace eye identity tri convert_to_tensor]]):gmatch "%S+"
do
  no_method[name] = true
end

-- What follows a call in a return statement keeps the caller's frame: errors find the function's
-- name by it.
local function results(...)
  return ...
end

-- The names of a function's Lua parameters; nil where it takes `...` alone and checks its arguments
-- itself.
local function parameters(f)
  local names = origin.parameters(f)
  if not debug then
    return nil
  elseif names[#names] == "..." then
    names[#names] = nil
    return #names > 0 and names or nil
  end
  return names
end

-- The table of named arguments as values in their order.
local function in_order(name, names, options)
  check.refuse_unknown(name, options, names)
  local args = { n = #names }
  for i, key in ipairs(names) do
    args[i] = options[key]
  end
  return args
end

-- A function of a family as it is called. Symbolic tensors make it one node of the model, as they
-- do the core's ops; those of `control` take functions and give Lua values, so they see the
-- symbolic tensors themselves.
local function public(name, f, control)
  local names = parameters(f)
  local function call(...)
    local n = select("#", ...)
    local symbolic = not control and package.loaded["tide.graph.symbolic"]
    for i = 1, symbolic and n or 0 do
      local v = select(i, ...)
      if type(v) == "table" and symbolic.has(v) then
        return symbolic.op(name, ...)
      end
    end
    local x = ...
    if names and x == nil then
      errors.raise(name, "%s is missing", names[1])
    elseif names and n == 1 and check.is_plain(x) and type(next(x)) == "string" then
      local args = in_order(name, names, x)
      return results(f(table.unpack(args, 1, args.n)))
    end
    return results(f(...))
  end
  errors.op_frames[call] = name
  return origin.wraps(call, f)
end

--- The names of an op's arguments in order, `...` for any number; nil for a name that is none.
function ops.arguments(name)
  if type(name) ~= "string" then
    return nil
  end
  local f = place[name] and origin.of(ops[name])
  if f then
    local out = {}
    local args = check.arguments(f, name)
    local names = parameters(f) or args and args.names
    for i, key in ipairs(names or { "..." }) do
      out[i] = key
    end
    return out
  end
  local info = core.op_info(others[name] or name)
  if not info then
    return nil
  end
  local out = {}
  for i, a in ipairs(info.args) do
    out[i] = a.name
  end
  return out
end

--- The function that `x:name(...)` calls where the C core has no op of that name, or nil.
function ops.method(name)
  return place[name] and not no_method[name] and ops[name] or nil
end

-- `ops.nn`, `ops.linalg` and so on are the same functions under Keras' module names.
local modules = { nn = true, numpy = true, linalg = true, math = true, core = true, image = true }

return namespace.new("tide.ops", ops, { members = {}, names = ops.names, load = function(name)
  if modules[name] then
    return ops
  end
  local from = place[name]
  return from and public(name, require(from)[name], from == "tide.ops.control")
end })

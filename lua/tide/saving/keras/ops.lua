--- Op nodes of functional models in Keras' files: which of Keras' operations have which options,
--- and an op of Tide from one
-- and back. Positions that Keras counts from 0 become Tide's; results that are positions (argmax,
-- take) stay Keras' by `base = 0`.
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"

local symbolic = require "tide.graph.symbolic"

local keras_ops = {}

-- Keras' operations by module, as NAME or NAME:OPTION,...: what each keeps in its configuration.
-- The rest of a call are its arguments.
local modules = {
  numpy = [[abs absolute add all:axis,keepdims any:axis,keepdims arccos arccosh arcsin arcsinh
    arctan arctan2 arctanh argmax:axis,keepdims argmin:axis,keepdims argsort:axis bitwise_and
    bitwise_not bitwise_or bitwise_xor broadcast_to:shape cbrt ceil clip:x_min,x_max
    concatenate:axis copy cos cosh count_nonzero:axis cumprod:axis cumsum:axis deg2rad diag:k
    diagonal:offset,axis1,axis2 divide divide_no_nan dot einsum:subscripts equal exp exp2
    expand_dims:axis expm1 flip:axis floor floor_divide full_like:dtype fmax fmin fmod gcd greater
    greater_equal heaviside hypot inner isclose:equal_nan isfinite isinf isnan isneginf isposinf lcm
    ldexp left_shift less less_equal log log10 log1p log2 logaddexp logaddexp2 logical_and
    logical_not logical_or logical_xor matmul max:axis,keepdims maximum mean:axis,keepdims
    min:axis,keepdims minimum mod moveaxis:source,destination multiply nan_to_num:nan,posinf,neginf
    negative nextafter not_equal ones_like:dtype outer pad:pad_width,mode power prod:axis,keepdims
    rad2deg ravel reciprocal rep:repeats,axis repeat:repeats,axis reshape:newshape right_shift
    roll:shift,axis round:decimals sign signbit sin sinc sinh sort:axis sqrt square squeeze:axis
    stack:axis std:axis,keepdims subtract sum:axis,keepdims swapaxes:axis1,axis2 take:axis
    take_along_axis:axis tan tanh tile:repeats transpose:axes tril:k triu:k trunc
    split:indices_or_sections,axis var:axis,keepdims vdot where zeros_like:dtype]],
  nn = [[celu:alpha elu:alpha gelu:approximate glu:axis hard_shrink:threshold hard_sigmoid
    hard_silu hard_tanh leaky_relu:negative_slope log_sigmoid log_softmax:axis
    normalize:axis,order,epsilon one_hot:num_classes,axis,dtype relu relu6 selu sigmoid silu
    soft_shrink:threshold softmax:axis softplus softsign sparse_plus sparse_sigmoid squareplus:b
    tanh_shrink threshold:threshold,default_value]],
  core = "cast:dtype stop_gradient",
  math = "erf erfc erfinv logsumexp:axis,keepdims rsqrt",
}

local known = {}
for module, text in pairs(modules) do
  for name, options in text:gmatch "([%w_]+):?([%w_,]*)" do
    local row = { module = "keras.src.ops." .. module }
    for option in options:gmatch "[^,]+" do
      row[option] = true
    end
    known[name] = row
  end
end

local is_axis = { axis = true, axes = true, axis1 = true, axis2 = true, source = true,
  destination = true }

--- Axes in Keras' counting.
function keras_ops.axes_out(v)
  if type(v) == "table" and v ~= none then
    local out = list.new {}
    for i = 1, #v do
      out[i] = keras_ops.axes_out(v[i])
    end
    return out
  elseif type(v) == "number" and v > 0 then
    return math.tointeger(v) - 1
  end
  return v
end

-- What is no op of the core and keeps its form in a file: the names of its arguments.
local X, AXIS = { name = "x", kind = "tensor" }, { name = "axis", kind = "axis" }
local DTYPE = { name = "dtype", kind = "dtype" }
local written = {
  full_like = { args = { X, { name = "fill_value", kind = "any" }, DTYPE } },
  ones_like = { args = { X, DTYPE } },
  zeros_like = { args = { X, DTYPE } },
  split = { args = { X, { name = "indices_or_sections", kind = "any" }, AXIS } },
  ["repeat"] = { args = { X, { name = "repeats", kind = "any" }, AXIS } },
}

local function info_of(name)
  local ok, info = pcall(core.op_info, name)
  return ok and info or nil
end

-- The core's name of an op, where it has it under another one.
local function core_name(f, name)
  for _, n in ipairs(core.ops[name] and {} or core.op_names()) do
    if core.ops[n] == f then
      return n
    end
  end
  return name
end

-- ---- reading ----

--- The function of Tide that an operation's class stands for, and its name; nil where there is
--- none.
function keras_ops.find(class_name)
  local ops = require "tide.ops"
  for _, name in ipairs { class.snake(class_name), class_name:lower() } do
    local ok, f = pcall(function() return ops[name] end)
    if ok and type(f) == "function" then
      return f, core_name(f, name)
    end
  end
end

-- Keras' slices in Tide's form: first and last, both included, from 1.
local function slice(v)
  if v == none then
    return "new"
  elseif type(v) == "table" and v.class_name == "__slice__" then
    local c = v.config
    local start, stop, step = c.start, c.stop, c.step
    step = (step ~= none and step ~= nil) and step or 1
    start = start ~= none and start or nil
    stop = stop ~= none and stop or nil
    if step < 0 then
      errors.raise("load_model", "a slice with a negative step is not read")
    end
    local first = start and (start >= 0 and start + 1 or start) or 1
    local last = stop and (stop >= 0 and stop or stop - 1) or -1
    if first == 1 and last == -1 and step == 1 then
      return {}
    end
    return step ~= 1 and { first, last, step } or { first, last }
  elseif type(v) == "table" and v.class_name == "__ellipsis__" then
    return "..."
  elseif type(v) == "number" then
    return v >= 0 and v + 1 or v
  end
  return v
end

local function get_item(x, key)
  local parts = type(key) == "table" and key ~= none and key.class_name == nil
    and not symbolic.is(key) and key or { key }
  local out = {}
  for i, part in ipairs(parts) do
    out[i] = slice(part)
  end
  return x[out]
end

-- Whether an option that this op does not have changes nothing.
local function says_nothing(name, v)
  return v == none or v == false or (name == "data_format" and v == "channels_last")
end

-- What makes a tensor of a tensor: itself, of another dtype where one is asked for. Keras writes it
-- where attention hands a mask on.
local function convert(dtype)
  return function(x)
    return dtype and require("tide.ops").cast(x, dtype) or x
  end
end

--- What an op node of a file calls: function(args...) of symbolic tensors, the call's own options
--- last under `__kwargs`.
--- @param import table tide.saving.keras.import
function keras_ops.import(import, ctx, entry)
  if entry.class_name == "GetItem" then
    return get_item
  elseif entry.class_name == "ConvertToTensor" then
    local dtype = type(entry.config) == "table" and entry.config.dtype or nil
    return convert(dtype and dtype ~= none and import.dtype(ctx, dtype, tostring(entry.name)))
  end
  local f, name = keras_ops.find(entry.class_name)
  if not f then
    errors.raise("load_model", "%s: unknown operation '%s' (node '%s')", ctx.where,
      entry.class_name, tostring(entry.name))
  end
  local info, has = info_of(name), {}
  for _, a in ipairs(info and info.args or {}) do
    has[a.name] = true
  end
  local stored = {}
  for k, v in pairs(type(entry.config) == "table" and entry.config ~= none and entry.config
    or {}) do
    if k ~= "name" and k ~= "trainable" and v ~= none
      and not (info and not has[k] and says_nothing(k, v)) then
      stored[k] = k == "dtype" and import.dtype(ctx, v, tostring(entry.name)) or is_axis[k]
        and import.axes(v) or v
    end
  end
  if has.base then
    stored.base = 0
  end
  return function(...)
    local args, options = table.pack(...), nil
    local last = args[args.n]
    local given = type(last) == "table" and not symbolic.is(last) and last.__kwargs
    if given then
      args[args.n] = nil
      args.n = args.n - 1
    end
    for _, from in ipairs { stored, given or {} } do
      for k, v in pairs(from) do
        if k ~= "subscripts" then
          options = options or {}
          options[k] = from ~= stored and is_axis[k] and import.axes(v) or v
        end
      end
    end
    if name == "einsum" then
      return f(stored.subscripts, table.unpack(args, 1, args.n))
    elseif options then
      args.n = args.n + 1
      args[args.n] = options
    end
    return f(table.unpack(args, 1, args.n))
  end
end

-- ---- writing ----

local function refuse(name, why)
  errors.raise("save", "the op '%s' in this model %s; save the model as .safetensors",
    tostring(name), why)
end

-- One entry of an index as Keras writes it.
local function slice_out(v)
  if v == "new" then
    return none
  elseif v == "..." then
    return { class_name = "__ellipsis__", config = {} }
  elseif type(v) == "number" then
    return v > 0 and v - 1 or v
  elseif type(v) ~= "table" or getmetatable(v) ~= nil then
    refuse("getitem", "is indexed by a tensor, which Keras' files do not hold")
  end
  local first, last, step = v[1], v[2], v[3]
  if first and not last then
    last = first
  end
  if step and step < 0 then
    refuse("getitem", "has a negative step, which Keras' files do not hold")
  end
  return { class_name = "__slice__", config = { start = first and first ~= 1
    and (first > 0 and first - 1 or first) or none,
      stop = last and last ~= -1 and (last > 0 and last or last + 1) or none,
      step = step or none } }
end

local function get_item_out(node, encode)
  local key = node.args[2]
  local index = list.new {}
  if type(key) == "table" and getmetatable(key) == nil then
    for i, v in ipairs(key) do
      index[i] = slice_out(v)
    end
  else
    index[1] = slice_out(key)
  end
  return list.new { encode(node.args[1]), index }
end

-- A table by name: the options of a call.
local function is_options(v)
  return type(v) == "table" and getmetatable(v) == nil and next(v) ~= nil and #v == 0
end
keras_ops.is_options = is_options

-- The arguments of a core op's node by name, as given.
local function by_name(node, info)
  local given, at = {}, 1
  for i = 1, node.args.n do
    local v = node.args[i]
    if i == node.args.n and is_options(v) and i > 1 then
      for k, x in pairs(v) do
        given[k] = x
      end
    else
      local a = info.args[at]
      given[a and a.name or at] = v
      at = at + 1
    end
  end
  return given
end

local irregular = { getitem = "GetItem", rep = "Repeat" }

--- The entry of an op node.
--- @param name string the node's name in the file
--- @param encode function any value -> what JSON holds
function keras_ops.export(node, name, encode)
  local op = node.op
  local camel = irregular[op] or op:gsub("_(%w)", string.upper):gsub("^%w", string.upper)
  local entry = { module = "keras.src.ops.numpy", class_name = camel, config = { name = name },
    registered_name = camel, name = name }
  local args, kwargs = list.new {}, {}
  entry.inbound_nodes = list.new { { args = args, kwargs = kwargs } }
  if op == "getitem" then
    entry.inbound_nodes[1].args = get_item_out(node, encode)
    return entry
  end
  local row, info = known[op], info_of(op) or written[op]
  if not row or not (info or op == "einsum") then
    refuse(op, "has no form in Keras' files")
  end
  entry.module = row.module
  if op == "einsum" then
    entry.config.subscripts = node.args[1]
    for i = 2, node.args.n do
      args[i - 1] = encode(node.args[i])
    end
    return entry
  end
  local given = by_name(node, info)
  for _, a in ipairs(info.args) do
    local v = given[a.name]
    if a.name == "base" then
      if v ~= 0 then
        refuse(op, "counts from 1, Keras' files count from 0 (give base = 0)")
      end
    elseif a.kind == "tensor" or a.kind == "tensors" then
      if v ~= nil then
        args[#args + 1] = encode(v)
      end
    elseif v ~= nil and symbolic.has(v) then
      refuse(op, ("has a tensor as '%s', which Keras' files do not hold"):format(a.name))
    elseif v ~= nil and v ~= none then
      v = (a.kind == "axis" or a.kind == "axes") and keras_ops.axes_out(v) or type(v) == "table"
        and list.copy(v) or v
      if row[a.name] then
        entry.config[a.name] = v
      else
        kwargs[a.name] = v
      end
    end
  end
  return entry
end

return keras_ops

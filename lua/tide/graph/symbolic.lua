--- Symbolic tensors of the functional API: a shape and a dtype, and the node that makes them.
--
-- A node is one call: of a layer or of an op, with its arguments as they were given, in which
-- symbolic tensors stand where tensors will stand. Ops reach here through the metatable field
-- `__tide_op`; shapes of results come from the layer's compute_output_shape, or from the call
-- itself (see tide.graph.infer).
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local infer = require "tide.graph.infer"
local layer_inputs = require "tide.layers.inputs"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local printable = require "tide.printable"
local strings = require "tide.strings"

local symbolic = {}

local meta = { __name = "tide.symbolic" }

local function is(v)
  return getmetatable(v) == meta
end
symbolic.is = is

local DEEPEST = 64 -- what is nested deeper is refused elsewhere

--- Whether a value is or holds a symbolic tensor (lists and tables by name, nested).
local function has(v, depth, seen)
  depth = depth or 1
  if type(v) ~= "table" or depth > DEEPEST then
    return false
  end
  local m = getmetatable(v)
  if m == meta then
    return true
  elseif m ~= nil and m ~= list.meta then
    return false
  end
  for _, x in pairs(v) do
    if type(x) == "table" then
      seen = seen or { [v] = true } -- a table may hold itself, or another many times
      if not seen[x] then
        seen[x] = true
        if has(x, depth + 1, seen) then
          return true
        end
      end
    end
  end
  return false
end
symbolic.has = function(v)
  return has(v)
end

local count = 0

--- Makes a symbolic tensor.
--- @param shape table batch first, tide.none where unknown
--- @param dtype string
--- @param name string|nil
function symbolic.new(shape, dtype, name)
  count = count + 1
  local s = list.copy(shape)
  return setmetatable({ shape = s, dtype = dtype, ndim = #s, name = name, _id = count,
    _node = nil, _position = nil }, meta)
end

--- What a message adds where a model of one input gets a list of two: targets may be meant.
function symbolic.pair_hint(x)
  return #x == 2 and "; a data source gives inputs and targets as two values: return x, y" or ""
end

--- Whether what comes for an input must be looked at (`as_declared`): where it is declared with an
--- integer dtype or as text.
function symbolic.is_declared(input)
  return input.dtype:find "^u?int" ~= nil or input.dtype == "string"
end

--- What came for an input that is declared with an integer dtype or as text: floating tensors as
--- whole numbers, as Keras casts to an input's dtype; text in the input's rank. Raises where text
--- is due and something else came.
--- @param model table whose input it is
--- @param key string name of the input
function symbolic.as_declared(model, key, x, input)
  if input.dtype ~= "string" then
    return type(x) == "userdata" and x.dtype:find("float", 1, true) and ops.cast(x, input.dtype)
      or x
  elseif is(x) then
    return x
  elseif not strings.is(x) then
    errors.raise(model:_label(), "input '%s' takes a list of strings (got %s)", key, check.show(x))
  end
  local text = strings.in_rank(x, input.shape)
  if not text then
    errors.raise(model:_label(), "input '%s' has the wrong shape (expected %s, got %s)%s", key,
      list.format(input.shape), tostring(strings.shape(x)),
      type(x) == "string" and #input.shape == 1 and "; a single sample needs a batch axis: { x }"
        or "")
  end
  return strings.check(text, model:_label())
end

--- A tensor in the rank of a model's input: a last axis of 1 is added or taken away, as Keras does;
--- other ranks raise.
--- @param owner string label of the model
--- @param key string name of the input
--- @param x userdata tensor of another rank
--- @param want table shape of the input
function symbolic.adjust_rank(owner, key, x, want)
  local shape, n = (core.is_tensor(x) or is(x)) and x.shape, #want
  if not shape then
    errors.raise(owner, "takes a tensor for its input '%s' (got %s)", key, check.show(x))
  end
  if #shape == n - 1 and want[n] == 1 then
    return ops.expand_dims(x, -1)
  elseif #shape == n + 1 and shape[#shape] == 1 then
    return ops.squeeze(x, { axis = -1 })
  end
  local sample = #shape == n - 1
  for i = 1, sample and #shape or 0 do
    sample = sample and (want[i + 1] == none or want[i + 1] == shape[i])
  end
  errors.raise(owner, "input '%s' has the wrong shape (expected %s, got %s)%s", key,
    list.format(want), tostring(shape),
      sample and "; a single sample needs a batch axis: x:expand_dims(1)" or "")
end

-- A copy of a value in which `f` replaced each symbolic tensor; other values are shared.
local function map(v, f)
  if type(v) ~= "table" then
    return v
  end
  local m = getmetatable(v)
  if m == meta then
    return f(v)
  elseif m ~= nil and m ~= list.meta then
    return v
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = map(x, f)
  end
  return out
end
symbolic.map = map

local function numbers_first(a, b)
  if type(a) == type(b) then
    return a < b
  end
  return type(a) == "number"
end

--- Symbolic tensors in a value: lists in order, tables by name in sorted order.
function symbolic.flatten(v, out)
  out = out or {}
  if is(v) then
    out[#out + 1] = v
  elseif type(v) == "table" and (getmetatable(v) == nil or list.is(v)) then
    local keys = {}
    for k in pairs(v) do
      keys[#keys + 1] = k
    end
    table.sort(keys, numbers_first)
    for _, k in ipairs(keys) do
      symbolic.flatten(v[k], out)
    end
  end
  return out
end

infer.new, infer.map = symbolic.new, map

-- ---- shapes of results ----

--- compute_output_shape of layers that do not say: calls the layer on tensors of these shapes.
function symbolic.traced_shapes(layer, ...)
  local args = table.pack(...)
  for i = 1, args.n do
    args[i] = symbolic.argument(layer, i, args[i])
  end
  local out = infer.results(layer, args)
  for i = 1, out.n do
    out[i] = map(out[i], function(s) return s.shape end)
  end
  return table.unpack(out, 1, out.n)
end

--- Symbolic tensors of a shape, or of a list or table of shapes.
function symbolic.of_shape(shape, dtype)
  if type(shape[1]) == "number" or shape[1] == none or (#shape == 0 and next(shape) == nil) then
    return symbolic.new(shape, dtype)
  end
  local out = {}
  for k, v in pairs(shape) do
    out[k] = symbolic.of_shape(v, dtype)
  end
  return out
end

-- Symbolic tensors of shapes in the structure of the symbolic tensors `spec`.
local function like(shape, spec)
  if is(spec) ~= list.is(shape) then
    errors.raise("compute_output_shape",
      "takes shapes in the structure of the model's inputs (got %s)", check.show(shape))
  elseif is(spec) then
    return symbolic.of_shape(shape, spec.dtype)
  end
  local out = {}
  for k, v in pairs(shape) do
    out[k] = like(v, spec[k] or symbolic.flatten(spec)[k])
  end
  return out
end

--- Symbolic tensors for input number `i` of a layer, of these shapes: in the dtype that the input
--- of a model is declared with, text where the layer takes strings.
--- @param dtype string|nil of other tensors; the layer's own when left out
function symbolic.argument(layer, i, shape, dtype)
  local g = layer[S].graph
  if g and not dtype then
    return like(shape, g.input)
  end
  return symbolic.of_shape(shape, layer:_takes(i) == "strings" and "string" or dtype
    or layer.dtype)
end

-- ---- nodes ----

-- While a model is traced: { ops: layers become their operators, within: names of the layers whose
-- calls are running }.
local tracing

local function hang(node, s)
  if not s._node then
    node.outputs[#node.outputs + 1] = s
    s._node, s._position = node, #node.outputs
  end
end

--- Makes a node of a call and hangs it on its results.
local function record(node)
  node.within = tracing and #tracing.within > 0 and table.concat(tracing.within, "/") or nil
  count = count + 1
  node.id = count
  local args, results = node.args, node.results
  node.inputs = args.n == 1 and is(args[1]) and { args[1] } or symbolic.flatten { args }
  node.outputs = {}
  for i = 1, results.n do
    local r = results[i]
    if not is(r) then
      for _, s in ipairs(symbolic.flatten(r)) do
        hang(node, s)
      end
    else
      hang(node, r)
    end
  end
  return table.unpack(results, 1, results.n)
end

--- The function of an op node, by its name in a configuration.
function symbolic.op_function(name)
  if name == "getitem" then
    return symbolic.index
  end
  return core.ops[name] or require("tide.ops")[name]
end

-- Whether a list of numbers among the arguments holds an unknown size.
local function has_none(v)
  if type(v) ~= "table" or (getmetatable(v) ~= nil and not list.is(v)) then
    return false
  end
  for k, x in pairs(v) do
    if x == none and type(k) == "number" or has_none(x) then
      return true
    end
  end
  return false
end

local function first_tensor(args)
  for i = 1, args.n do
    local v = args[i]
    v = check.is_plain(v) and v[1] or v
    if core.is_tensor(v) then
      return v
    end
  end
end

-- Lists of sizes with the sizes that are unknown until the call: those of the first tensor's axes.
local function filled(v, x, name)
  if not has_none(v) then
    return v
  end
  local out = {}
  for k, n in pairs(v) do
    if n == none and type(k) == "number" then
      n = x and x.shape[k]
      if not n then
        errors.raise(name, "size %d is unknown (expected a number, or -1)", k)
      end
    end
    out[k] = filled(n, x, name)
  end
  return out
end

-- The function of an op node in whose arguments sizes are unknown.
local function filling(name, fn)
  return function(...)
    local args = table.pack(...)
    local x = first_tensor(args)
    for i = 1, args.n do
      args[i] = filled(args[i], x, name)
    end
    return fn(table.unpack(args, 1, args.n))
  end
end

--- The call of an op, or of a function of tide.ops, on symbolic tensors: finds its results, records
--- the node. `tide.none` in a list of sizes is the size of that axis of the first tensor:
--- `x:reshape { x.shape[1], -1 }` works where x.shape[1] is unknown.
function symbolic.op(name, ...)
  local args = table.pack(...)
  local fn = symbolic.op_function(name)
  for i = 1, args.n do
    if has_none(args[i]) then
      fn = filling(name, fn)
      break
    end
  end
  return record { op = name, fn = fn, args = args, results = infer.results(fn, args) }
end
meta.__tide_op = symbolic.op

local function shape_struct(x)
  return map(x, function(s) return s.shape end)
end

local function shapes_to_symbols(shape, dtype)
  if type(shape) ~= "table" or (list.is(shape) and (type(shape[1]) ~= "table" or shape[1] == none))
    or #shape == 0
    or type(shape[1]) == "number" or shape[1] == none then
    return symbolic.new(shape, dtype)
  end
  local out = {}
  for k, v in pairs(shape) do
    out[k] = shapes_to_symbols(v, dtype)
  end
  return out
end

-- Constant tensors among symbolic inputs count as inputs of their shape.
local function as_symbols(v)
  if core.is_tensor(v) then
    return symbolic.new(v.shape, v.dtype)
  elseif type(v) == "table" and getmetatable(v) == nil then
    local out = {}
    for k, x in pairs(v) do
      out[k] = as_symbols(x)
    end
    return out
  end
  return v
end

-- The operators of a layer in the place of the layer. Masks are values of the graph like others:
-- what makes them and what reads them are its nodes.
local function through(layer, args, n, given)
  local o = given or {}
  o.training = o.training or false
  local mask = o.mask
  if mask == nil then
    mask = layer.input_mask(layer._input_names, args[1], { table.unpack(args, 2, n) })
  elseif mask == false then
    mask = nil
  end
  o.mask = mask
  local within = tracing.within
  within[#within + 1] = layer.name
  local given_to = table.move(args, 1, n, 1, {})
  given_to[n + 1] = o
  local out = table.pack(layer[S].call(layer, table.unpack(given_to, 1, n + 1)))
  layer:with_mask(args[1], mask, out[1])
  within[#within] = nil
  return table.unpack(out, 1, out.n)
end

--- What a model gives for symbolic tensors, recorded apart: its layers do not keep the calls.
--- @param model table
--- @param inputs table packed arguments of the call, symbolic tensors in structures
--- @param as_ops boolean|nil whether layers become the operators that they call
function symbolic.trace(model, inputs, as_ops)
  local before = tracing
  tracing = { ops = as_ops, within = {} }
  local args = table.move(inputs, 1, inputs.n, 1, {})
  args[inputs.n + 1] = { training = false }
  local out = table.pack(pcall(model.call, model, table.unpack(args, 1, inputs.n + 1)))
  tracing = before
  if not out[1] then
    error(out[2], 0)
  elseif out[2] == nil then
    errors.raise(model:_label(), "its call returned nothing (expected a tensor, or several)")
  end
  return out.n == 2 and out[2] or { table.unpack(out, 2, out.n) }
end

-- Whether a layer reads text. Layers that take strings get text, and others tensors; models see to
-- their inputs themselves.
local function reads_text(layer, args, n)
  local any = false
  for i = 1, layer.is_model and 0 or n do
    local what = layer:_takes(i)
    local takes, either = what == "strings", layer_inputs.reads_text[what]
    any = any or takes
    for _, s in ipairs(symbolic.flatten(args[i])) do
      local text = s.dtype == "string"
      any = any or either and text
      if text ~= takes and not either then
        errors.raise(layer:_label(), takes and "takes a string or a list of strings (got %s)"
          or "takes a tensor (got %s)", tostring(s))
      end
    end
  end
  return any
end

--- The call of a layer on symbolic tensors: builds it, finds its results, records the node.
--- @param layer table
--- @param x any first input
--- @param rest table further inputs
--- @param options table|nil options of the call
--- @param training boolean|nil as given by the caller
function symbolic.call(layer, x, rest, options, training)
  local names = layer._input_names
  local n = names and #names or 1
  local args = { x, n = n }
  for i = 2, n do
    args[i] = rest[i - 1]
  end
  local given
  if options then
    given = {}
    for k, v in pairs(options) do
      given[k] = v
    end
    for i = 1, n do
      if names then
        given[names[i]] = nil
      end
    end
  end
  if training ~= nil then
    given = given or {}
    given.training = training
  end
  if given and next(given) == nil then
    given = nil
  end
  local text = reads_text(layer, args, n)
  local symbols = n == 1 and is(x) and args or as_symbols(args)
  if not layer.built then
    local shapes = {}
    for i = 1, n do
      shapes[i] = symbols[i] and shape_struct(symbols[i]) or nil
    end
    layer:build(table.unpack(shapes, 1, n))
  end
  if tracing and tracing.ops and not text and not layer.opaque then -- no op reads text
    return through(layer, args, n, given)
  end
  local results
  if layer._custom_shape and not (options and has(options)) then
    local shapes = {}
    for i = 1, n do
      shapes[i] = symbols[i] and shape_struct(symbols[i]) or nil
    end
    local out = table.pack(layer:compute_output_shape(table.unpack(shapes, 1, n)))
    local first = is(symbols[1]) and symbols[1] or symbolic.flatten(symbols[1])[1]
    local dtype = layer:compute_output_dtype(first and first.dtype or layer.dtype)
    for i = 1, out.n do
      out[i] = shapes_to_symbols(out[i], dtype)
    end
    results = out
  else
    local options_of_call = given or layer.acts_alone and { training = false } or nil
    symbols[n + 1] = options_of_call
    symbols.n = options_of_call and n + 1 or n
    results = infer.results(layer, symbols)
  end
  if results[1] == nil then
    errors.raise(layer:_label(), "its call returned nothing (expected a tensor, or several)")
  end
  args[n + 1] = given
  args.n = given and n + 1 or n
  local node = { layer = layer, fn = layer, args = args, results = results, input = x,
    output = results.n == 1 and results[1] or results, id = nil, within = nil, inputs = nil,
    outputs = nil } -- of `record`
  if not tracing then
    layer[S].nodes = layer[S].nodes or {}
    table.insert(layer[S].nodes, node)
  end
  return record(node)
end

-- ---- operators, fields, text ----

local operators = { __add = "add", __sub = "subtract", __mul = "multiply", __div = "divide",
  __idiv = "floor_divide", __mod = "mod", __pow = "power", __band = "bitwise_and",
    __bor = "bitwise_or", __bxor = "bitwise_xor",
  __shl = "left_shift", __shr = "right_shift" }
for event, op in pairs(operators) do
  meta[event] = function(a, b)
    return meta.__tide_op(op, a, b)
  end
end
function meta.__unm(a)
  return meta.__tide_op("negative", a)
end
function meta.__bnot(a)
  return meta.__tide_op("bitwise_not", a)
end

-- Indexing a symbolic tensor is an op like any other, named in the node so that it can be written
-- to a file.
local function index(x, key)
  return x[key]
end
symbolic.index = index

function meta.__index(self, key)
  local t = type(key)
  if t == "string" then
    if core.ops[key] then
      return function(...)
        return ops[key](...)
      end
    elseif key == "name" then
      return "tensor_" .. self._id
    elseif key == "size" then
      local n = 1
      for i = 1, #self.shape do
        if self.shape[i] == none then
          return none
        end
        n = n * self.shape[i]
      end
      return n
    elseif key:sub(1, 1) ~= "_" then
      local ok, fn = pcall(function() return ops[key] end)
      if ok and type(fn) == "function" then
        return fn
      end
      errors.raise("symbolic tensor", "has no field or op '%s'%s", key,
        check.did_you_mean(key, core.op_names()))
    end
    return nil
  end
  local args = { self, key, n = 2 }
  return (record { op = "getitem", fn = index, args = args, results = infer.results(index, args) })
end

function meta.__len()
  errors.raise("symbolic tensor", "has no length until it is computed; its shape is a field")
end

local function refuse_truth()
  errors.raise("symbolic tensor", "has no values to compare; use ops.less(x, y) and ops.where")
end
meta.__lt, meta.__le = refuse_truth, refuse_truth

function meta.__tostring(self)
  return ("symbolic %s %s %s"):format(printable.name(self.name), self.dtype,
    list.format(self.shape))
end

--- A symbolic input that a layer stands for.
function symbolic.input(layer, dtype)
  local x = symbolic.new(layer.batch_shape, dtype, layer.name)
  local node = { layer = layer, fn = layer, args = { n = 0 }, results = { x, n = 1 }, inputs = {},
    outputs = { x }, id = count }
  x._node, x._position = node, 1
  layer[S].nodes = { node }
  node.input, node.output = x, x
  return x
end

return symbolic

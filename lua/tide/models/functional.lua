--- Functional models: a graph of layers between symbolic inputs and outputs, run by a flat program.
---
---     local x = tide.Input { 4 }
---     local model = tide.models.Functional { inputs = x, outputs = tide.layers.Dense(3)(x) }
---     model(tide.ones { 2, 4 }).shape   --> { 2, 3 }
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local form = require "tide.graph.form"
local fuse = require "tide.graph.fuse"
local list = require "tide.list"
local Model = require "tide.models.model"
local names = require "tide.graph.names"
local none = require "tide.none"
local object = require "tide.object"
local order = require "tide.graph.order"
local program = require "tide.graph.program"
local registry = require "tide.registry"
local shapes = require "tide.layers.shapes"
local shared = require "tide.shared"
local strings = require "tide.strings"
local symbolic = require "tide.graph.symbolic"

local functional = {}

local function check_structure(v, what)
  if not symbolic.has(v) then
    errors.raise("Model", "%s must be symbolic tensors made by tide.Input and layers (got %s)",
      what, check.show(v))
  end
end

local map = symbolic.map

local function key_names(t)
  local out = {}
  for k in pairs(t) do
    out[#out + 1] = tostring(k)
  end
  table.sort(out)
  return table.concat(out, ", ")
end

-- Distributes what a person passes (a tensor, a list, a table by name) over the model's inputs.
local function distribute(self, x)
  local g = self[S].graph
  local spec = g.input
  if symbolic.is(spec) then
    if type(x) == "table" and getmetatable(x) == nil and not strings.is(x) then
      if #x == 1 then
        return { x[1] }
      elseif x[spec.name] ~= nil then
        return { x[spec.name] }
      end
      if next(x) ~= nil and #x == 0 then
        errors.raise(self:_label(), "the input '%s' is missing (got %s)", spec.name, key_names(x))
      end
      errors.raise(self:_label(), "takes one input (got a table of %d)%s", #x,
        symbolic.pair_hint(x))
    end
    return { x }
  end
  local flat = g.inputs
  local out = {}
  if type(x) ~= "table" or getmetatable(x) ~= nil then
    errors.raise(self:_label(), "takes %d inputs, as a list or by name (got %s)", #flat,
      check.show(x))
  end
  if #x == 0 and next(x) ~= nil then
    for i, s in ipairs(flat) do
      local key = g.keys[i]
      out[i] = x[key]
      if out[i] == nil then
        out[i] = x[s.name]
      end
      if out[i] == nil then
        errors.raise(self:_label(), "the input '%s' is missing (got %s)", key, key_names(x))
      end
    end
    return out
  end
  if #x ~= #flat then
    errors.raise(self:_label(), "takes %d inputs (got %d)", #flat, #x)
  end
  return x
end

-- Names by which inputs are given: the keys of the declared table, or the names of the Input
-- layers.
local function input_keys(spec, flat)
  local keys = {}
  for i, s in ipairs(flat) do
    keys[i] = s.name
  end
  if not symbolic.is(spec) then
    for k, v in pairs(spec) do
      if type(k) == "string" and symbolic.is(v) then
        for i, s in ipairs(flat) do
          if s == v then
            keys[i] = k
          end
        end
      end
    end
  end
  return keys
end

-- What came for input i, with the rank that it declares.
local function ranked(self, i, x)
  if self[S].whole[i] then
    x = symbolic.as_declared(self, self[S].graph.keys[i], x, self[S].graph.inputs[i])
  end
  if type(x) == "userdata" and x.ndim ~= self[S].ranks[i] then
    local g = self[S].graph
    return symbolic.adjust_rank(self:_label(), g.keys[i], x, g.inputs[i].shape)
  end
  return x
end

-- One tensor in, one tensor out, every step of one input: the tight loop.
local function run_chain(self, x)
  local own = self[S]
  if type(x) == "table" then
    x = distribute(self, x)[1]
  end
  if x.ndim ~= own.ranks[1] or own.whole[1] then
    x = ranked(self, 1, x)
  end
  local fns = own.chain
  for i = 1, #fns do
    x = fns[i](x)
  end
  return x
end

local function run_program(self, x)
  local own = self[S]
  local slots, p = {}, own.program
  local values = distribute(self, x)
  for i, slot in ipairs(p.from) do
    slots[slot] = ranked(self, i, values[i])
  end
  program.run(p.steps, slots)
  local output, slot_of = own.graph.output, p.slot_of
  if symbolic.is(output) then
    return slots[slot_of[output]]
  end
  return map(output, function(s) return slots[slot_of[s]] end)
end

local Functional = base.derive(Model, "Functional", {
  args = {
    { "inputs", "any", check.required, "symbolic inputs: one, a list or a table by name" },
    { "outputs", "any", check.required, "symbolic outputs: one, a list or a table by name" },
  },
  supports_masking = true,
  init = function(self, o)
    check_structure(o.inputs, "inputs")
    check_structure(o.outputs, "outputs")
    self:_connect(o.inputs, o.outputs)
  end,
  call = run_program,
})
Functional.args.owner = "Model"
Functional.graph_kind = "functional"
functional.Functional = Functional

-- A list of one symbolic tensor means that tensor, as in Keras.
local function only(v)
  return check.is_plain(v) and #v == 1 and not check.has_string_key(v) and v[1] or v
end

-- Sets the graph of the model: `graph` holds inputs and outputs as they were declared and flat,
-- the names of the inputs, and the nodes in order.
function Functional:_connect(inputs, outputs)
  if list.is(inputs) then
    inputs = inputs:totable()
  end
  if list.is(outputs) then
    outputs = outputs:totable()
  end
  inputs, outputs = only(inputs), only(outputs)
  local flat_in, flat_out = symbolic.flatten(inputs), symbolic.flatten(outputs)
  local nodes = order.between(flat_in, flat_out, self:_label())
  local seen, taken, ranks, whole = {}, {}, {}, {}
  local function add(layer)
    if layer and not seen[layer] then
      seen[layer] = true
      names.take(taken, layer, self:_label())
    end
  end
  for i, x in ipairs(flat_in) do
    ranks[i], whole[i] = #x.shape, symbolic.is_declared(x)
    add(x._node and #x._node.inputs == 0 and x._node.layer or nil)
  end
  for _, node in ipairs(nodes) do
    add(node.layer)
  end
  local p = program.make(flat_in, flat_out, fuse.calls(nodes, flat_out))
  local chain = symbolic.is(inputs) and symbolic.is(outputs) and p.chain or false
  if #flat_in > 0 and flat_in[1].dtype:find("float", 1, true) then
    self[S].compute = nil
    self.dtype = flat_in[1].dtype -- what comes in is cast to the declared dtype
  end
  local own = self[S]
  own.graph = { input = inputs, output = outputs, inputs = flat_in, outputs = flat_out,
    keys = input_keys(inputs, flat_in), nodes = nodes }
  own.layers = order.layers(flat_in, flat_out)
  own.ranks, own.whole, own.program, own.chain = ranks, whole, p, chain
  self.built = true
  if getmetatable(self).call == Functional.call then -- not in a class with a call of its own
    self.call = chain and run_chain or run_program
  end
  self:_settle()
  own.plain = own.plain and chain ~= false
end

-- Layers in Keras' order, with their names as components of weight paths. Input layers are among
-- them, as in Keras.
function Functional:_parts()
  return names.parts(self[S].layers)
end

function Functional:build()
  self.built = true
end

Functional.compute_output_shape = shapes.checked(function(self, ...)
  return require("tide.graph.symbolic").traced_shapes(self, ...)
end)

Functional.compute_mask = function()
  return nil
end

local get = Functional._get
get.inputs = function(self) return list.copy(self[S].graph.inputs) end
get.outputs = function(self) return list.copy(self[S].graph.outputs) end
get.input = function(self) return self[S].graph.input end
get.output = function(self) return self[S].graph.output end
get.input_names = function(self) return list.copy(self[S].graph.keys) end
get.output_names = function(self)
  local out = {}
  local g = self[S].graph
  for i, s in ipairs(g.outputs) do
    out[i] = s._node and s._node.layer and s._node.layer.name or s.name
  end
  if not symbolic.is(g.output) then
    for k, v in pairs(g.output) do
      if type(k) == "string" then
        for i, s in ipairs(g.outputs) do
          out[i] = s == v and k or out[i]
        end
      end
    end
  end
  return list.new(out)
end

-- ---- configuration, in the form of Keras 3 ----

local function structure(v, f)
  local out = {}
  for k, x in pairs(v) do
    out[k] = f(x)
  end
  return out
end

-- Values that are no symbolic tensors; tensors are constants with their dtype.
local function value(v)
  if core.is_tensor(v) then
    return form.constant(v)
  elseif type(v) == "table" and getmetatable(v) == nil then
    return structure(v, value)
  end
  return object.serialize(v)
end

local function call(args, encode)
  local out = {}
  for i = 1, args.n do
    out[i] = args[i] == nil and none or encode(args[i])
  end
  return { args = out }
end

local writer = {
  structure = structure,
  value = value,
  call = call,
  input = function(x, name)
    local layer = #x._node.inputs == 0 and x._node.layer
    return { class_name = "InputLayer", name = name, inbound_nodes = {},
      config = layer and layer:get_config()
        or { batch_shape = x.shape:totable(), dtype = x.dtype, name = name } }
  end,
  layer = function(layer)
    local entry = object.serialize(layer)
    entry.name, entry.inbound_nodes = layer.name, {}
    return entry
  end,
  op = function(node, name, encode)
    return { class_name = "Op", name = name, config = { op = node.op },
      inbound_nodes = { call(node.args, encode) } }
  end,
  reference = function(x, place)
    return { class_name = "__keras_tensor__", config = { shape = x.shape:totable(),
      dtype = x.dtype, keras_history = place } }
  end,
}

function Functional:get_config()
  local _ <close> = shared.writing()
  local g = self[S].graph
  local entries, ends = form.write(g, writer)
  local function place(_, at)
    return at
  end
  return { name = self.name, trainable = self[S].trainable, layers = entries,
    input_layers = ends(g.input, place), output_layers = ends(g.output, place) }
end

-- How a configuration is read.
local reader = {
  refuse = function(fmt, ...)
    errors.raise("from_config", fmt, ...)
  end,
  make = function(entry)
    if entry.class_name == "Op" then
      local op = type(entry.config) == "table" and entry.config.op
      local fn = op and symbolic.op_function(op)
      if not fn then
        errors.raise("from_config", "unknown op '%s'", tostring(op))
      end
      return entry.name, { fn = fn }
    end
    local layer = registry.resolve("layer", form.waiting(entry), "from_config")
    return entry.name, { fn = layer, layer = layer }
  end,
  calls = function(entry)
    return entry.inbound_nodes or {}
  end,
  reference = function(v)
    local at = v.class_name == "__keras_tensor__" and v.config.keras_history or v
    if type(at[1]) == "string" and math.tointeger(at[2]) and math.tointeger(at[3]) then
      return { at[1], math.tointeger(at[2]), math.tointeger(at[3]) }
    end
  end,
  value = function(v)
    return v.class_name == "__tensor__" and form.tensor(v) or getmetatable(v) ~= nil and v or nil
  end,
}

function Functional._from_config(c, config)
  config = shared.link(config)
  local r = setmetatable({ name = tostring(config.name) }, { __index = reader })
  if type(config.input_layers) ~= "table" or next(config.input_layers) == nil then
    errors.raise("from_config", "the configuration of '%s' names no inputs", r.name)
  end
  local find = form.read(config.layers, r)
  return c { inputs = form.ends(config.input_layers, r, find),
    outputs = form.ends(config.output_layers, r, find), name = config.name,
    trainable = config.trainable }
end

local input_args = check.args("Input", {
  { "shape", "shape", nil, "shape without the batch" },
  { "batch_size", "int", nil, "fixed batch size", min = 1 },
  { "dtype", "input_dtype", "float32", "of tensors, or string" },
  { "sparse", "bool", false },
  { "ragged", "bool", false },
  { "batch_shape", "shape", nil, "shape with the batch" },
  { "name", "string" },
  { "optional", "bool", false },
}, { list_first = true })

--- A symbolic input of a functional model: `tide.Input { 28, 28, 1 }`, shape without the batch.
--- With `dtype = "string"` it stands for a list of strings, which layers that take strings read.
---
---     #tide.Input({ 28, 28, 1 }).shape   --> 4
---     #tide.Input({ dtype = "string" }).shape   --> 1
--- @return table symbolic tensor with fields shape, dtype, ndim, name
function functional.Input(...)
  local o = input_args:construct(...)
  local InputLayer = require("tide.layers.core").InputLayer
  local layer = InputLayer {
    shape = o.shape, batch_size = o.batch_size, batch_shape = o.batch_shape, dtype = o.dtype,
      name = o.name }
  return symbolic.input(layer, o.dtype)
end

return functional

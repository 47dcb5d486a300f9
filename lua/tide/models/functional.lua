--- Functional models: a graph of layers between symbolic inputs and outputs, run from a flat plan.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local fuse = require "tide.graph.fuse"
local list = require "tide.list"
local Model = require "tide.models.model"
local names = require "tide.graph.names"
local none = require "tide.none"
local object = require "tide.object"
local order = require "tide.graph.order"
local plan = require "tide.graph.plan"
local registry = require "tide.registry"
local symbolic = require "tide.graph.symbolic"

local functional = {}

local function check_structure(v, what)
  if not symbolic.has(v) then
    errors.raise("Model", "%s must be symbolic tensors made by tide.Input and layers, got %s", what,
      check.show(v))
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
    if type(x) == "table" and getmetatable(x) == nil then
      if #x == 1 then
        return { x[1] }
      elseif x[spec.name] ~= nil then
        return { x[spec.name] }
      end
      if next(x) ~= nil and #x == 0 then
        errors.raise(self:_label(), "the input '%s' is missing (got %s)", spec.name, key_names(x))
      end
      errors.raise(self:_label(), "takes one input, got a table of %d%s", #x, symbolic.pair_hint(x))
    end
    return { x }
  end
  local flat = g.inputs
  local out = {}
  if type(x) ~= "table" or getmetatable(x) ~= nil then
    errors.raise(self:_label(), "takes %d inputs, as a list or by name, got %s", #flat,
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
    errors.raise(self:_label(), "takes %d inputs, got %d", #flat, #x)
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

local function check_input(self, i, x)
  local want = self[S].graph.inputs[i].shape
  local got = x.shape
  local fits = #got == #want
  for k = 1, fits and #want or 0 do
    fits = fits and (want[k] == none or got[k] == none or want[k] == got[k])
  end
  if not fits then
    errors.raise(self:_label(), "input %s has the wrong shape (expected %s, got %s)",
      self[S].graph.keys[i], list.format(want), list.format(got))
  end
end

-- What came for input i, with the rank that it declares.
local function ranked(self, i, x)
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
  if x.ndim ~= own.ranks[1] then
    x = ranked(self, 1, x)
  end
  local fns = own.chain
  for i = 1, #fns do
    x = fns[i](x)
  end
  return x
end

local function run_plan(self, x)
  local own = self[S]
  local slots, p = {}, own.plan
  local values = distribute(self, x)
  for i, slot in ipairs(p.from) do
    slots[slot] = ranked(self, i, values[i])
  end
  plan.run(p.steps, slots)
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
  call = run_plan,
})
Functional.args.owner = "Model"
Functional.graph_kind = "functional"
functional.Functional = Functional

-- Sets the graph of the model: `graph` holds inputs and outputs as they were declared and flat,
-- the names of the inputs, and the nodes in order.
function Functional:_connect(inputs, outputs)
  if list.is(inputs) then
    inputs = inputs:totable()
  end
  if list.is(outputs) then
    outputs = outputs:totable()
  end
  if check.is_plain(inputs) and #inputs == 1 and not check.has_string_key(inputs) then
    inputs = inputs[1]
  end
  local flat_in, flat_out = symbolic.flatten(inputs), symbolic.flatten(outputs)
  local nodes = order.between(flat_in, flat_out, self:_label())
  local layers, seen, taken, ranks = {}, {}, {}, {}
  local function add(layer)
    if layer and not seen[layer] then
      seen[layer] = true
      names.take(taken, layer, self:_label())
      layers[#layers + 1] = layer
    end
  end
  for i, x in ipairs(flat_in) do
    ranks[i] = #x.shape
    add(x._node and x._node.layer or nil)
  end
  for _, node in ipairs(nodes) do
    add(node.layer)
  end
  local p = plan.make(flat_in, flat_out, fuse.calls(nodes, flat_out))
  local chain = symbolic.is(inputs) and symbolic.is(outputs) and p.chain or false
  if #flat_in > 0 and flat_in[1].dtype:find("float", 1, true) then
    self.dtype = flat_in[1].dtype -- what comes in is cast to the declared dtype
  end
  local own = self[S]
  own.graph = { input = inputs, output = outputs, inputs = flat_in, outputs = flat_out,
    keys = input_keys(inputs, flat_in), nodes = nodes }
  own.layers, own.ranks, own.plan, own.chain = layers, ranks, p, chain
  self.built = true
  if getmetatable(self).call == Functional.call then -- not in a class with a call of its own
    self.call = chain and run_chain or run_plan
  end
  self:_settle()
  own.plain = own.plain and chain ~= false
end

-- Layers in order, with their names as components of weight paths. Input layers are among them, as
-- in Keras.
function Functional:_parts()
  local out = {}
  for i, layer in ipairs(self[S].layers or {}) do
    out[i] = { key = layer.name, layer = layer }
  end
  return out
end

function Functional:build()
  self.built = true
end

function Functional:compute_output_shape(...)
  return require("tide.graph.symbolic").traced_shapes(self, ...)
end

Functional.compute_mask = function()
  return nil
end

-- The declared shapes, before anything runs: what the person's first batch must look like.
function Functional:_check_inputs(x)
  for i, v in ipairs(distribute(self, x)) do
    check_input(self, i, v)
  end
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

-- Names of the nodes' makers: layers by name, op nodes numbered.
local function name_nodes(nodes, inputs)
  local label, index, ops_seen = {}, {}, 0
  local per_layer = {}
  for _, x in ipairs(inputs) do
    if x._node and x._node.layer then
      label[x._node], index[x._node] = x._node.layer.name, 0
      per_layer[x._node.layer] = 1
    end
  end
  for _, node in ipairs(nodes) do
    if node.layer then
      label[node], index[node] = node.layer.name, per_layer[node.layer] or 0
      per_layer[node.layer] = index[node] + 1
    else
      ops_seen = ops_seen + 1
      label[node], index[node] = "op_" .. ops_seen .. "_" .. node.op, 0
    end
  end
  return label, index
end

local function has_keys(t)
  return next(t) ~= nil and #t == 0
end

function Functional:get_config()
  local label, index = name_nodes(self[S].graph.nodes, self[S].graph.inputs)
  local function reference(s)
    return { class_name = "__keras_tensor__", config = { shape = s.shape:totable(), dtype = s.dtype,
      keras_history = { label[s._node], index[s._node], s._position - 1 } } }
  end
  local function encode(v)
    if symbolic.is(v) then
      return reference(v)
    elseif type(v) == "table" and getmetatable(v) == nil then
      local out = {}
      for k, x in pairs(v) do
        out[k] = encode(x)
      end
      return out
    end
    return object.serialize(v)
  end
  local function encode_args(args)
    local out = {}
    for i = 1, args.n do
      out[i] = args[i] == nil and none or encode(args[i])
    end
    return out
  end
  local layers, entry_of = {}, {}
  for _, layer in ipairs(self[S].layers) do
    local entry = { class_name = getmetatable(layer).__name, name = layer.name,
      config = layer:get_config(), inbound_nodes = {} }
    entry_of[layer] = entry
    layers[#layers + 1] = entry
  end
  for _, node in ipairs(self[S].graph.nodes) do
    if node.layer then
      local nodes = entry_of[node.layer].inbound_nodes
      nodes[#nodes + 1] = { args = encode_args(node.args) }
    else
      layers[#layers + 1] = { class_name = "Op", name = label[node], config = { op = node.op },
        inbound_nodes = { { args = encode_args(node.args) } } }
    end
  end
  local function ends(spec)
    return map(spec, function(s) return { label[s._node], index[s._node], s._position - 1 } end)
  end
  return { name = self.name, trainable = self[S].trainable, layers = layers,
    input_layers = ends(self[S].graph.input), output_layers = ends(self[S].graph.output) }
end

local function is_reference(v)
  return type(v) == "table" and v.class_name == "__keras_tensor__"
end

-- Rebuilds the graph: calls each layer's nodes as soon as what they need is there.
function Functional._from_config(c, config)
  local made, results, pending = {}, {}, {}
  for _, entry in ipairs(config.layers) do
    if entry.class_name == "InputLayer" then
      local layer = registry.find("layer", "InputLayer").from_config(entry.config)
      made[entry.name] = layer
      results[entry.name] = { [0] = { symbolic.input(layer, layer.dtype) } }
    elseif entry.class_name ~= "Op" then
      made[entry.name] = registry.resolve(
        "layer", { class_name = entry.class_name, config = entry.config }, "from_config")
      if #(entry.inbound_nodes or {}) == 0 and made[entry.name][S].graph then
        results[entry.name] = {}
      end
    end
    results[entry.name] = results[entry.name] or {}
    if entry.class_name ~= "InputLayer" then
      for i, node in ipairs(entry.inbound_nodes or {}) do
        pending[#pending + 1] = { entry = entry, node = node, index = i - 1 }
      end
    end
  end
  local missing = {}
  local function decode(v)
    if is_reference(v) then
      local h = v.config.keras_history
      local found = results[h[1]] and results[h[1]][h[2]]
      if not found then
        return missing
      end
      return found[h[3] + 1]
    elseif type(v) == "table" and getmetatable(v) == nil then
      local out = {}
      for k, x in pairs(v) do
        local d = decode(x)
        if d == missing then
          return missing
        end
        out[k] = d
      end
      return out
    end
    return v
  end
  while #pending > 0 do
    local later = {}
    for _, p in ipairs(pending) do
      local args = { n = #p.node.args }
      -- a layer's nodes run in order, so that shared layers keep their numbers
      local ready = p.index == 0 or results[p.entry.name][p.index - 1] ~= nil
      for i = 1, ready and args.n or 0 do
        args[i] = decode(p.node.args[i])
        ready = ready and args[i] ~= missing
        if args[i] == none then
          args[i] = nil
        end
      end
      if ready then
        local fn = made[p.entry.name] or symbolic.op_function(p.entry.config.op)
        if not fn then
          errors.raise("from_config", "unknown op '%s'", tostring(p.entry.config.op))
        end
        local out = table.pack(fn(table.unpack(args, 1, args.n)))
        local first = symbolic.flatten(out)[1]
        results[p.entry.name][p.index] = first and first._node and first._node.outputs or {}
      else
        later[#later + 1] = p
      end
    end
    if #later == #pending then
      errors.raise("from_config", "the graph of '%s' is not connected at '%s'",
        tostring(config.name), later[1].entry.name)
    end
    pending = later
  end
  local function ends(v)
    if type(v[1]) == "string" and type(v[2]) == "number" then
      return results[v[1]][math.tointeger(v[2])][math.tointeger(v[3]) + 1]
    end
    local out = {}
    for k, x in pairs(v) do
      out[k] = ends(x)
    end
    return out
  end
  if type(config.input_layers) ~= "table"
    or not (has_keys(config.input_layers) or #config.input_layers > 0) then
    errors.raise("from_config", "the configuration of '%s' names no inputs", tostring(config.name))
  end
  return c { inputs = ends(config.input_layers), outputs = ends(config.output_layers),
    name = config.name, trainable = config.trainable }
end

local input_args = check.args("Input", {
  { "shape", "shape", nil, "shape without the batch" },
  { "batch_size", "int", nil, "fixed batch size", min = 1 },
  { "dtype", "dtype", "float32" },
  { "sparse", "bool", false },
  { "ragged", "bool", false },
  { "batch_shape", "shape", nil, "shape with the batch" },
  { "name", "string" },
  { "optional", "bool", false },
}, { list_first = true })

--- A symbolic input of a functional model: `tide.Input { 28, 28, 1 }`, shape without the batch.
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

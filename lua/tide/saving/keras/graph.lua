--- Keras' functional graphs: reading both forms of inbound_nodes, and writing models in Keras'
--- order of layers.
--
-- The order matters: weight groups are numbered in it, and Keras computes it anew when it loads a
-- file.
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local form = require "tide.graph.form"
local list = require "tide.list"
local none = require "tide.none"

local import = require "tide.saving.keras.import"
local keras_ops = require "tide.saving.keras.ops"
local class = require "tide.class"
local kind_of = require("tide.graph").kind
local of = require("tide.graph").of
local symbolic = require "tide.graph.symbolic"

local graph = {}

local function refuse(ctx, fmt, ...)
  errors.raise("load_model", "%s: " .. fmt, ctx.where, ...)
end

-- ---- op nodes ----

-- Whether a layer of this class would take these options.
local function takes(c, config)
  local args = class.is_class(c) and c.args
  for k in pairs(args and config or {}) do
    if k ~= "name" and k ~= "dtype" and not args.index[k] then
      return false
    end
  end
  return true
end

-- Operations by their module, or, in .h5 files, which leave it out, by a name that no layer has, by
-- being called with several arguments, or by options that the layer of that name does not have.
local function is_op(ctx, entry)
  if type(entry.module) == "string" then
    return entry.module:find "^keras%.src%.ops" ~= nil
  end
  local name, config = entry.class_name, type(entry.config) == "table" and entry.config or {}
  local node = type(entry.inbound_nodes) == "table" and entry.inbound_nodes[1]
  if entry.module ~= nil or type(name) ~= "string" or type(node) ~= "table" or not node.args
    or config.trainable ~= nil then
    return false
  end
  local known = name == "GetItem" or keras_ops.find(name) ~= nil
  local c = known and import.find(ctx, "layer", entry)
  return known and (#node.args > 1 or not c or not takes(c, config))
end

-- ---- reading ----

-- A reference in either form: { name, node, tensor }, or nil.
local function reference(v)
  if type(v) ~= "table" or v == none then
    return nil
  end
  if v.class_name == "__keras_tensor__" then
    return v.config and v.config.keras_history
  elseif type(v[1]) == "string" and math.type(v[2]) == "integer"
    and math.type(v[3]) == "integer" then
    return v
  end
end

-- Keras 1 and 2: a node is a list of { name, node, tensor, kwargs }; Keras 3: { args, kwargs }.
local function normalize(node)
  if node.args or node.kwargs then
    return { args = node.args or {}, kwargs = node.kwargs or {} }
  end
  local tensors, kwargs = {}, {}
  for i, r in ipairs(node) do
    tensors[i] = r
    if type(r[4]) == "table" and r[4] ~= none then
      kwargs = r[4]
    end
  end
  return { args = { #tensors == 1 and tensors[1] or tensors }, kwargs = kwargs, old = true }
end

--- A functional model from its entry; `make`: what makes it in place of Functional.
function graph.import(ctx, entry, make)
  local config = entry.config
  local seen = {}
  local r = { name = tostring(config.name), reference = reference }
  function r.refuse(fmt, ...)
    refuse(ctx, fmt, ...)
  end
  function r.make(e)
    local name = e.name or (type(e.config) == "table" and e.config.name)
    if type(name) ~= "string" or seen[name] then
      refuse(ctx, "%s in the model '%s'",
        seen[name or 0] and "two layers named '" .. name .. "'" or "a layer without a name", r.name)
    end
    seen[name] = true
    if is_op(ctx, e) then
      return name, { fn = keras_ops.import(import, ctx, e) }
    end
    local layer = import.layer(ctx, e)
    return name, { fn = layer, layer = layer, functional = kind_of(layer) == "functional",
      model = layer.is_model }
  end
  function r.calls(e)
    local out = {}
    for i, node in ipairs(e.inbound_nodes or {}) do
      out[i] = normalize(node)
    end
    return out
  end
  -- the call that made a nested model itself counts in old files
  function r.shift(what, number, call)
    return call and call.old and what.model and number > 0 and number - 1 or number
  end
  function r.value(v)
    if v.class_name == "__tensor__" then
      return form.tensor(v)
    elseif type(v.class_name) == "string" and v.class_name:sub(1, 2) ~= "__" then
      return import.object(ctx, v)
    end
  end
  function r.options(call, what, decode)
    local options
    for k, v in pairs(call.kwargs) do
      local d = decode(v)
      if d ~= none then
        options = options or {}
        options[k] = d
      end
    end
    return options and not what.layer and { __kwargs = options } or options
  end
  local find, made, results = form.read(config.layers, r)
  -- so it does in the ends of functional models
  local function find_end(ref)
    local what, at = made[ref[1]], ref[2]
    if what and at > 0 and (what.functional or what.model and results[ref[1]][at] == nil) then
      at = at - 1
    end
    return (find { ref[1], at, ref[3] })
  end
  local function ends(v)
    local out = form.ends(v, r, find_end)
    return not symbolic.is(out) and out[2] == nil and #out == 1 and out[1] or out
  end
  local model = (make or require("tide.models.functional").Functional) {
    inputs = ends(config.input_layers), outputs = ends(config.output_layers),
      name = type(config.name) == "string" and config.name or nil }
  if config.trainable == false then
    model.trainable = false
  end
  return model
end

-- ---- Keras' order ----

-- What an entry is made of: a layer, an op node, or an input that no InputLayer stands for.
local function maker(node)
  return symbolic.is(node) and node or node.layer or node
end

--- Layers and op nodes of a functional model in the order that Keras gives them: by depth from the
--- outputs, then by when a depth-first walk first met them.
--- @param g table as tide.graph.of gives it
--- @return table list of layers, op nodes and inputs
function graph.order(g)
  local index, met, done, nodes = {}, 0, {}, {}
  local given = {}
  for _, x in ipairs(g.inputs) do
    given[x] = #x._node.inputs == 0 and x._node or x
  end
  for _, output in ipairs(g.outputs) do
    local stack = { { output } }
    while #stack > 0 do
      local top = stack[#stack]
      local node = given[top[1]] or top[1]._node
      if not top[2] then
        if done[node] then
          stack[#stack] = nil
          goto continue
        end
        if not index[maker(node)] then
          index[maker(node)] = met
          met = met + 1
        end
        top[2] = 0
      end
      top[2] = top[2] + 1
      do
        local need = not given[top[1]] and node.inputs[top[2]]
        if need then
          stack[#stack + 1] = { need }
        else
          if not done[node] then
            done[node] = true
            nodes[#nodes + 1] = node
          end
          stack[#stack] = nil
        end
      end
      ::continue::
    end
  end
  local depth, own = {}, {}
  for i = #nodes, 1, -1 do
    local node = nodes[i]
    local d = math.max(depth[node] or 0, own[maker(node)] or 0)
    own[maker(node)], depth[node] = d, d
    for _, x in ipairs(symbolic.is(node) and {} or node.inputs) do
      local from = given[x] or x._node
      depth[from] = math.max(d + 1, depth[from] or 0)
    end
  end
  local out = {}
  for m in pairs(own) do
    out[#out + 1] = m
  end
  for _, x in ipairs(g.inputs) do
    local m = maker(given[x])
    if not own[m] then
      own[m], index[m] = 0, -1
      out[#out + 1] = m
    end
  end
  table.sort(out, function(a, b)
    if own[a] ~= own[b] then
      return own[a] > own[b]
    end
    return index[a] < index[b]
  end)
  return out
end

--- The layers of any model in the order of Keras' `model.layers`.
function graph.layers(model)
  local out, kind = {}, kind_of(model)
  if kind == "sequential" then
    for i, child in ipairs(model:_parts()) do
      out[i] = child.layer
    end
  elseif kind == "functional" then
    for _, m in ipairs(graph.order(of(model))) do
      if rawget(m, S) then
        out[#out + 1] = m
      end
    end
  end
  return out
end

-- ---- writing ----

local function structure(v, f)
  local out = #v > 0 and list.new {} or {}
  for k, x in pairs(v) do
    out[k] = f(x)
  end
  return out
end

-- A layer's call: its options are named.
local function call(args, encode)
  local positional, kwargs = list.new {}, {}
  for i = 1, args.n do
    local v = args[i]
    if i == args.n and keras_ops.is_options(v) then
      for k, x in pairs(v) do
        kwargs[k] = encode(x)
      end
    else
      positional[#positional + 1] = v == nil and none or encode(v)
    end
  end
  return { args = positional, kwargs = kwargs }
end

--- The configuration of a functional model.
--- @param model table
--- @param export_layer function layer -> entry
--- @param export_input function (shape, dtype, name) -> entry
--- @param export_value function any value -> what JSON holds
function graph.export(model, export_layer, export_input, export_value)
  local g = of(model)
  local entries, ends = form.write(g, {
    order = graph.order,
    structure = structure,
    call = call,
    op = keras_ops.export,
    value = function(v)
      return core.is_tensor(v) and form.constant(v) or export_value(v)
    end,
    layer = function(layer)
      local e = export_layer(layer)
      e.name, e.inbound_nodes = layer.name, list.new {}
      return e
    end,
    input = function(x, name)
      local e = export_input(x.shape, x.dtype, name)
      e.name, e.inbound_nodes = name, list.new {}
      return e
    end,
    reference = function(x, place)
      return { class_name = "__keras_tensor__",
        config = { shape = list.copy(x.shape), dtype = x.dtype, keras_history = list.new(place) } }
    end,
  })
  -- the call that made a nested functional model itself counts among its calls
  local function output(node, at)
    local nested = node.layer and kind_of(node.layer) == "functional"
    return list.new { at[1], at[2] + (nested and 1 or 0), at[3] }
  end
  local function input(_, at)
    return list.new { at[1], at[2], at[3] }
  end
  return { name = model.name, trainable = model[S].trainable, layers = list.new(entries),
    input_layers = ends(g.input, input), output_layers = ends(g.output, output) }
end

return graph

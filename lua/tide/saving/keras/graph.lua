--- Keras' functional graphs: reading both forms of inbound_nodes, and writing models.
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
local order = require "tide.graph.order"
local symbolic = require "tide.graph.symbolic"

local graph = {}

local function refuse(ctx, fmt, ...)
  errors.raise("load_model", "%s: " .. fmt, ctx.where, ...)
end

-- Whether an option of a layer's call names positions, which count from 1 here.
local function counts(layer, name)
  local names = layer.keras.call_counts
  return names and names[name] or false
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
        options[k] = what.layer and counts(what.layer, k) and d + 1 or d
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

-- ---- writing ----

local function structure(v, f)
  local out = #v > 0 and list.new {} or {}
  for k, x in pairs(v) do
    out[k] = f(x)
  end
  return out
end

-- A layer's call: its options are named, and its further inputs where Keras wants them so.
local function call(args, encode, layer)
  local positional, kwargs = list.new {}, {}
  for i = 1, args.n do
    local v = args[i]
    if i == args.n and keras_ops.is_options(v) then
      for k, x in pairs(v) do
        if layer and counts(layer, k) then
          if symbolic.is(x) then
            errors.raise("save", "%s: the option '%s' of its call is made in the model, where \z
              Keras counts from 0; give it as numbers", layer:_label(), k)
          end
          x = (type(x) == "table" and core.tensor(x) or x) - 1
        end
        kwargs[k] = encode(x)
      end
    elseif i > 1 and layer and layer.keras.names_inputs then
      kwargs[layer._input_names[i]] = v ~= nil and encode(v) or nil
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
    order = order.makers,
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

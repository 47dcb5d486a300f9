--- Keras' functional graphs: reading both forms of inbound_nodes, and writing models in Keras'
--- order of layers.
--
-- The order matters: weight groups are numbered in it, and Keras computes it anew when it loads a
-- file.
local S = require "tide.private"
local errors = require "tide.errors"
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

--- A functional model from its entry.
function graph.import(ctx, entry)
  local config = entry.config
  local made, results, pending = {}, {}, {}
  for _, e in ipairs(config.layers) do
    local name = e.name or (type(e.config) == "table" and e.config.name)
    if type(name) ~= "string" or made[name] then
      refuse(ctx, "%s in the model '%s'",
        made[name or 0] and "two layers named '" .. name .. "'" or "a layer without a name",
          tostring(config.name))
    end
    if is_op(ctx, e) then
      made[name] = { fn = keras_ops.import(import, ctx, e) }
    else
      local layer = import.layer(ctx, e)
      made[name] = { fn = layer, layer = layer, functional = kind_of(layer) == "functional",
        model = layer.is_model }
    end
    results[name] = {}
    if made[name].layer and getmetatable(made[name].layer).__name == "InputLayer" then
      results[name][0] = { symbolic.input(made[name].layer, made[name].layer.dtype) }
    else
      for i, node in ipairs(e.inbound_nodes or {}) do
        pending[#pending + 1] = { name = name, node = normalize(node), index = i - 1 }
      end
    end
  end

  local missing = {}
  local function look_up(r, old)
    local from = made[r[1]]
    if not from then
      refuse(ctx, "the graph of '%s' refers to '%s', which it does not have", tostring(config.name),
        tostring(r[1]))
    end
    local at = r[2]
    if old and from.model and at > 0 then -- the node that made the nested model itself counts there
      at = at - 1
    end
    local found = results[r[1]][at]
    if not found then
      return missing
    end
    local x = found[r[3] + 1]
    if x == nil then
      refuse(ctx, "the graph of '%s' refers to output %d of '%s', which it does not have",
        tostring(config.name), r[3] + 1, r[1])
    end
    return x
  end
  local function decode(v, old)
    local r = reference(v)
    if r then
      return look_up(r, old)
    elseif v == none or type(v) ~= "table" then
      return v
    elseif v.class_name ~= nil and v.class_name:sub(1, 2) ~= "__" then
      return import.object(ctx, v)
    end
    local out = {}
    for k, x in pairs(v) do
      local d = decode(x, old)
      if d == missing then
        return missing
      end
      out[k] = d
    end
    return out
  end

  -- Calls one node if all that it needs is there.
  local function run(p)
    if p.index > 0 and results[p.name][p.index - 1] == nil then
      return false -- a layer's nodes run in order, so that they keep their numbers
    end
    local args, n = {}, #p.node.args
    for i = 1, n do
      args[i] = decode(p.node.args[i], p.node.old)
      if args[i] == missing then
        return false
      elseif args[i] == none then
        args[i] = nil
      end
    end
    local options
    for k, v in pairs(p.node.kwargs) do
      local d = decode(v, p.node.old)
      if d == missing then
        return false
      elseif d ~= none then
        options = options or {}
        options[k] = d
      end
    end
    local what = made[p.name]
    if options and not what.layer then
      options = { __kwargs = options }
    end
    if options then
      n = n + 1
      args[n] = options
    end
    local out = table.pack(what.fn(table.unpack(args, 1, n)))
    results[p.name][p.index] = symbolic.flatten({ table.unpack(out, 1, out.n) })
    return true
  end
  while #pending > 0 do
    local later = {}
    for _, p in ipairs(pending) do
      if not run(p) then
        later[#later + 1] = p
      end
    end
    if #later == #pending then
      refuse(ctx, "the graph of '%s' is not connected at '%s'", tostring(config.name),
        later[1].name)
    end
    pending = later
  end

  local function ends(v)
    local r = reference(v)
    if r then
      local at = r[2]
      if made[r[1]] and made[r[1]].functional and at > 0 then
        at = at - 1
      elseif made[r[1]] and made[r[1]].model and at > 0 and results[r[1]][at] == nil then
        at = at - 1
      end
      local x = look_up({ r[1], at, r[3] })
      if x == missing then
        refuse(ctx, "the end '%s' of the model '%s' is never computed", r[1], tostring(config.name))
      end
      return x
    elseif type(v) ~= "table" or v == none then
      refuse(ctx, "the model '%s' names no inputs or outputs", tostring(config.name))
    end
    local out = {}
    for k, x in pairs(v) do
      out[k] = ends(x)
    end
    return out[2] == nil and #out == 1 and out[1] or out
  end
  local Functional = require("tide.models.functional").Functional
  local model = Functional {
    inputs = ends(config.input_layers), outputs = ends(config.output_layers),
      name = type(config.name) == "string" and config.name or nil }
  if config.trainable == false then
    model.trainable = false
  end
  return model
end

-- ---- Keras' order ----

local function maker(node)
  return node.layer or node
end

--- Layers and op nodes of a functional model in the order that Keras gives them: by depth from the
--- outputs, then by when a depth-first walk first met them.
--- @return table list of layers and nodes, table the graph's nodes, each after those it needs
function graph.order(model)
  local index, met, done, nodes = {}, 0, {}, {}
  local given, g = {}, of(model)
  for _, x in ipairs(g.inputs) do
    given[x] = true
  end
  for _, output in ipairs(g.outputs) do
    local stack = { { output } }
    while #stack > 0 do
      local top = stack[#stack]
      local node = top[1]._node
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
    for _, x in ipairs(given[node.results[1]] and {} or node.inputs) do
      depth[x._node] = math.max(d + 1, depth[x._node] or 0)
    end
  end
  local out = {}
  for m in pairs(own) do
    out[#out + 1] = m
  end
  for _, x in ipairs(g.inputs) do
    local m = maker(x._node)
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
  return out, nodes
end

--- The layers of any model in the order of Keras' `model.layers`.
function graph.layers(model)
  local out, kind = {}, kind_of(model)
  if kind == "sequential" then
    for i, child in ipairs(model:_parts()) do
      out[i] = child.layer
    end
  elseif kind == "functional" then
    for _, m in ipairs((graph.order(model))) do
      if m[S] and m.kind == "layer" then
        out[#out + 1] = m
      end
    end
  end
  return out
end

-- ---- writing ----

--- The configuration of a functional model.
--- @param model table
--- @param export_layer function layer -> entry
--- @param export_value function any value -> what JSON holds
function graph.export(model, export_layer, export_value)
  local order, nodes = graph.order(model)
  local inside = {}
  for _, node in ipairs(nodes) do
    inside[node] = true
  end
  local label, index, names = {}, {}, {}
  for _, m in ipairs(order) do
    if m.kind == "layer" and m[S] then
      names[m.name] = true
      local n = 0
      for _, node in ipairs(m[S].nodes or {}) do
        if inside[node] then
          label[node], index[node] = m.name, n
          n = n + 1
        end
      end
    end
  end
  for _, m in ipairs(order) do
    if not (m.kind == "layer" and m[S]) then
      local name, k = m.op, 0
      while names[name] do
        k = k + 1
        name = m.op .. "_" .. k
      end
      names[name] = true
      label[m], index[m] = name, 0
    end
  end
  local g = of(model)
  for _, x in ipairs(g.inputs) do
    label[x._node], index[x._node] = x._node.layer.name, 0
  end
  local function encode(v)
    if symbolic.is(v) then
      return { class_name = "__keras_tensor__",
        config = { shape = list.copy(v.shape), dtype = v.dtype,
          keras_history = list.new { label[v._node], index[v._node], v._position - 1 } } }
    elseif type(v) == "table" and symbolic.has(v) then
      local out = #v > 0 and list.new {} or {}
      for k, x in pairs(v) do
        out[k] = encode(x)
      end
      return out
    end
    return export_value(v)
  end
  local entries = list.new {}
  for _, m in ipairs(order) do
    if m.kind == "layer" and m[S] then
      local e = export_layer(m)
      e.name, e.inbound_nodes = m.name, list.new {}
      for _, node in ipairs(m[S].nodes or {}) do
        if inside[node] and #node.inputs > 0 then
          local args, kwargs = list.new {}, {}
          for i = 1, node.args.n do
            local v = node.args[i]
            if i == node.args.n and keras_ops.is_options(v) then
              for k, x in pairs(v) do
                kwargs[k] = encode(x)
              end
            else
              args[#args + 1] = v == nil and none or encode(v)
            end
          end
          e.inbound_nodes[#e.inbound_nodes + 1] = { args = args, kwargs = kwargs }
        end
      end
      entries[#entries + 1] = e
    else
      entries[#entries + 1] = keras_ops.export(m, label[m], encode)
    end
  end
  local function ends(spec, output)
    if symbolic.is(spec) then
      local nested = output and spec._node.layer
        and kind_of(spec._node.layer) == "functional"
      return list.new { label[spec._node], index[spec._node] + (nested and 1 or 0),
        spec._position - 1 }
    end
    local out = #spec > 0 and list.new {} or {}
    for k, x in pairs(spec) do
      out[k] = ends(x, output)
    end
    return out
  end
  return { name = model.name, trainable = model[S].trainable, layers = entries,
    input_layers = ends(g.input), output_layers = ends(g.output, true) }
end

return graph

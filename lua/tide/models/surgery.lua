--- Changing models that are there: other names, another layer in a layer's place, a part of a model
--- as a model, freezing. Methods of Model.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local find = require "tide.models.find"
local functional = require "tide.models.functional"
local graph = require "tide.graph"
local infer = require "tide.graph.infer"
local list = require "tide.list"
local order = require "tide.graph.order"
local rebuild = require "tide.graph.rebuild"
local registry = require "tide.registry"
local symbolic = require "tide.graph.symbolic"
local tracking = require "tide.layers.tracking"

local surgery = {}

-- ---- names ----

local function check_name(name)
  if type(name) ~= "string" or name == "" or name:find "[/\\0]" then
    errors.raise("rename", "a name must be a text without '/', which joins the names of layers \z
      and weights (got %s)", check.show(name))
  end
end

-- The layers of `owner` with their names after the change; raises where two would be equal.
local function check_unique(owner, names)
  local taken = {}
  for _, child in ipairs(owner:_children()) do
    local layer = child.layer
    local name = names[layer] or layer.name
    if taken[name] and graph.kind(owner) then
      errors.raise("rename", "two layers of %s would be named '%s'; names must be unique in a \z
        model", owner:_label(), name)
    end
    taken[name] = layer
  end
  return taken
end

local function give_name(layer, name)
  local own = layer[S]
  own.numbered = false
  layer.name = name
  local node = own.nodes and own.nodes[1]
  if node and #node.inputs == 0 then -- the tensor that an InputLayer stands for has its name
    rawset(node.outputs[1], "name", name)
  end
end

-- What a model keeps by the names of its layers.
local function names_changed(owner, taken)
  local own = owner[S]
  if own.names then
    own.names = taken
  end
  local g = own.graph
  if g and g.keys then
    for i, x in ipairs(g.inputs) do
      local declared = false
      for k, v in pairs(symbolic.is(g.input) and {} or g.input) do
        declared = declared or type(k) == "string" and v == x
      end
      g.keys[i] = declared and g.keys[i] or x.name
    end
  end
  tracking.changed(owner)
end

--- Gives layers other names, which are also those of their weights in files:
--- `model:rename("dense", "head")`, or several at once, which may exchange names:
--- `model:rename { dense = "head", dense_1 = "logits" }`. A layer of a model inside is named by its
--- path, "encoder/dense". A single name is the model's own. Raises where a model would have a name
--- twice.
---
---     local m = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 }, name = "old" } }
---     m:rename("old", "head")
---     m:get_layer("head").units   --> 2
--- @param which any a layer, or its name, path or number; or a table of new names
--- @param name string|nil the new name
--- @return table model
function surgery.rename(self, which, name)
  local model = self
  if name == nil and type(which) == "string" then
    check_name(which)
    give_name(model, which)
    return model
  end
  local pairs_ = {}
  if check.is_plain(which) and name == nil then
    for _, key in ipairs(check.sorted_keys(which)) do
      pairs_[#pairs_ + 1] = { key, which[key] }
    end
  else
    pairs_[1] = { which, name }
  end
  local owners, names = {}, {}
  for _, pair in ipairs(pairs_) do
    check_name(pair[2])
    local layer, owner = find.one("rename", model, pair[1])
    names[layer] = pair[2]
    owners[#owners + 1] = owner
  end
  local taken = {}
  for _, owner in ipairs(owners) do
    taken[owner] = check_unique(owner, names)
  end
  for layer, new in pairs(names) do
    give_name(layer, new)
  end
  for owner, t in pairs(taken) do
    names_changed(owner, t)
  end
  tracking.changed(model)
  return model
end

-- ---- another layer in a layer's place ----

-- Raises where a layer that has its weights cannot take what comes to it now.
local function check_fits(nodes, replaced)
  for _, node in ipairs(nodes) do
    local layer = node.layer
    if layer and layer.built and layer ~= replaced then
      local ok, e = pcall(infer.results, layer, node.args)
      if not ok then
        local shapes = {}
        for i, x in ipairs(node.inputs) do
          shapes[i] = list.format(x.shape)
        end
        local why = errors.is(e) and e.message or tostring(e)
        errors.raise("replace", "%s, which has its weights, cannot take what comes to it then \z
          (got %s; %s); replace it too, behind this one first", layer:_label(),
          table.concat(shapes, ", "), why)
      end
    end
  end
end

-- Raises where the model itself is called in other graphs and would give them another shape.
local function check_outside(model, outputs)
  local nodes = model[S].nodes
  local was, now = symbolic.flatten(graph.of(model).output), symbolic.flatten(outputs)
  for i, x in ipairs(nodes and #nodes > 0 and was or {}) do
    if list.format(x.shape) ~= list.format(now[i].shape) or x.dtype ~= now[i].dtype then
      errors.raise("replace", "%s stands in another model, to which it would give another shape \z
        (expected %s, got %s); clone it and replace it there", model:_label(),
        list.format(x.shape), list.format(now[i].shape))
    end
  end
end

-- The graph of a functional or Sequential model with `new` in the place of `old`; nothing is
-- changed but the calls that layers know.
local function regrown(model, old, new)
  local g = graph.of(model)
  local outputs, nodes
  local count = #(new[S].nodes or {})
  local ok, e = pcall(function()
    outputs, nodes = rebuild.outputs(g, g.inputs, function(layer)
      return rawequal(layer, old) and new or layer
    end)
    check_fits(nodes, new)
    check_outside(model, outputs)
  end)
  if not ok then
    local late = {}
    for _, node in ipairs(g.nodes) do
      local own = node.layer and node.layer[S].nodes
      for _, one in ipairs(own or {}) do
        late[#late + 1] = one.id > g.nodes[#g.nodes].id and one or nil
      end
    end
    for i = count + 1, #(new[S].nodes or {}) do
      late[#late + 1] = new[S].nodes[i]
    end
    rebuild.forget(late)
    error(e, 0)
  end
  return outputs, nodes
end

local function take_name(old, new)
  if new[S].numbered then
    give_name(new, old.name)
  end
end

-- Raises unless the name of `new` is free among the layers of the model.
local function check_free(model, old, new)
  for _, child in ipairs(model:_children()) do
    if rawequal(child.layer, new) then
      errors.raise("replace", "%s is in %s already", new:_label(), model:_label())
    elseif child.layer ~= old and child.layer.name == new.name and not new[S].numbered then
      errors.raise("replace", "two layers of %s would be named '%s'; names must be unique in a \z
        model", model:_label(), new.name)
    end
  end
end

local function replace_in_list(model, old, new)
  local own = model[S]
  for i, layer in ipairs(own.list) do
    if rawequal(layer, old) then
      own.list[i] = new
    end
  end
  own.names[old.name], own.names[new.name] = nil, new
end

-- In a class of one's own: every field, and every place in a list, that holds the layer.
local function replace_in_fields(owner, old, new)
  local found, seen = false, {}
  local function visit(t, set)
    seen[t] = true
    for k, v in next, t do
      if rawequal(v, old) then
        set(t, k)
        found = true
      elseif k ~= S and type(v) == "table" and not seen[v]
        and (check.is_plain(v) or list.is(v)) then
        visit(v, set)
      end
    end
  end
  visit(owner, function(t, k)
    if t == owner then
      t[k] = new
    else
      rawset(t, k, new)
    end
  end)
  return found
end

--- Puts another layer in a layer's place, with its inputs, arguments and readers. The others keep
--- their weights; the new layer is built, and takes the old one's name unless it was given one.
--- Optimizers that were built for the old weights do not know the new ones: compile again. Raises,
--- and changes nothing, where a layer behind it has weights that do not fit what it gets then.
---
---     local L = tide.layers
---     local m = tide.Sequential { L.Dense { 4, input_shape = { 3 } },
---       L.Dense { 2, name = "head" } }
---     m:replace("head", L.Dense { 5 })
---     m.output_shape   --> { none, 5 }
--- @param which any a layer, or its name, path or number
--- @param new table a layer
--- @return table the layer that stood there
function surgery.replace(self, which, new)
  local model = self
  if class.is_class(new) or not base.is_layer(new) then
    errors.raise("replace", "takes a layer to put there (got %s)", check.show(new))
  end
  local old, owner = find.one("replace", model, which)
  check_free(owner, old, new)
  local InputLayer = registry.find("layer", "InputLayer")
  if class.is(old, InputLayer) or class.is(new, InputLayer) then
    errors.raise("replace", "an input cannot be replaced, nor be put in a layer's place; \z
      clone_model with input_tensors gives a model on another input")
  end
  local g = graph.of(owner)
  if not g then
    local name = old.name
    if graph.kind(owner) == "sequential" then
      replace_in_list(owner, old, new)
    elseif not replace_in_fields(owner, old, new) then
      errors.raise("replace", "%s holds %s in no field; assign the new layer where it stands",
        owner:_label(), old:_label())
    end
    if new[S].numbered then
      give_name(new, name)
    end
    tracking.changed(owner)
    return old
  end
  local outputs, nodes = regrown(owner, old, new)
  local gone = g.nodes
  take_name(old, new)
  if owner[S].list then
    replace_in_list(owner, old, new)
    g.nodes, g.output, g.outputs = nodes, outputs, { outputs }
    owner[S].fns = false
    owner:_refresh()
  else
    owner:_connect(g.input, outputs)
  end
  rebuild.forget(gone)
  tracking.changed(owner)
  tracking.changed(model)
  return old
end

-- ---- a part of a model ----

-- The first or last call of a layer in a model's graph.
local function node_of(model, g, which, last)
  local layer = find.one("sub_model", model, which)
  local found
  for _, node in ipairs(g.nodes) do
    found = node.layer == layer and (last or not found) and node or found
  end
  for _, x in ipairs(not found and g.inputs or {}) do
    found = x._node and x._node.layer == layer and x._node or found
  end
  if not found then
    errors.raise("sub_model", "%s stands inside a layer of %s; take the part of that model",
      layer:_label(), model:_label())
  end
  return found
end

local function each(v)
  return (check.is_plain(v) or list.is(v)) and v or { v }
end

local function only(t)
  return #t == 1 and t[1] or t
end

-- Of the model's outputs those that the inputs of a part lead to.
local function reached(inputs, outputs, model)
  local flat, out = symbolic.flatten(outputs), {}
  for _, x in ipairs(flat) do
    out[#out + 1] = pcall(order.between, inputs, { x }, "") and x or nil
  end
  if #out == 0 then
    errors.raise("sub_model", "no output of %s is made of these inputs alone; give to, a layer \z
      that is, or more layers in from", model:_label())
  end
  return #out == #flat and outputs or only(out)
end

local sub_args = check.args("sub_model", {
  { "from", "any", nil, "the first layer of the part, or a list; the model's inputs by default" },
  { "to", "any", nil, "the last layer, or a list of them, whose results it gives; the model's \z
    outputs by default" },
  { "name", "string" },
})

--- A part of a model as a functional model, which shares its layers and weights: from the inputs of
--- the layer `from` to the results of the layer `to`, without it to the model's outputs that these
--- inputs lead to. Of a list of `to` it gives several results.
--- Of a layer that is called several times, `from` is the first call and `to` the last.
---
---     local L = tide.layers
---     local m = tide.Sequential { L.Dense { 4, input_shape = { 3 }, name = "a" },
---       L.Dense { 5, name = "b" }, L.Dense { 2, name = "c" } }
---     m:sub_model({ to = "b" }).output_shape   --> { none, 5 }
---     m:sub_model({ from = "b" }).input_shape   --> { none, 4 }
--- @param o table|nil from, to: names or numbers of layers, or layers; name
--- @return table model
function surgery.sub_model(self, ...)
  local model = self
  local o = sub_args:call(...)
  local g = graph.of(model)
  if not g then
    errors.raise("sub_model", "%s has no graph%s; a functional model over its layers does what \z
      sub_model would", model:_label(), graph.kind(model) and " yet: it is not built" or "")
  end
  local inputs, outputs = g.input, g.output
  if o.from ~= nil then
    local flat, seen = {}, {}
    for _, which in ipairs(each(o.from)) do
      local node = node_of(model, g, which, false)
      for _, x in ipairs(#node.inputs > 0 and node.inputs or node.outputs) do
        if not seen[x] then
          seen[x] = true
          flat[#flat + 1] = x
        end
      end
    end
    inputs = only(flat)
    outputs = o.to == nil and reached(flat, outputs, model) or outputs
  end
  if o.to ~= nil then
    local flat = {}
    for i, which in ipairs(each(o.to)) do
      flat[i] = node_of(model, g, which, true).output
    end
    outputs = only(flat)
  end
  return functional.Functional { inputs = inputs, outputs = outputs, name = o.name }
end

-- ---- freezing ----

local function set_trainable(who, value, model, which, more)
  if more ~= nil then
    errors.raise(who, "takes one argument (got another, %s); give several patterns as a list",
      check.show(more))
  end
  local layers = find.matching(who, model, which)
  for _, layer in ipairs(layers) do
    layer.trainable = value
  end
  if which == nil then
    model.trainable = value
  end
  return layers
end

--- Freezes the layers that a pattern chooses, at any depth: their weights are not trained, and
--- BatchNormalization among them computes as in prediction. A pattern is a shell's: `*` is any
--- text, `?` one character; with a `/` it means paths ("encoder/*"). Without one, all. Raises where
--- a pattern fits nothing. Optimizers need no new compile.
---
---     local L = tide.layers
---     local m = tide.Sequential { L.Dense { 4, input_shape = { 3 }, name = "stem_1" },
---       L.Dense { 5, name = "stem_2" }, L.Dense { 2, name = "head" } }
---     #m:freeze "stem*"   --> 2
---     #m.trainable_weights   --> 2
--- @param which any a pattern, a layer, a number, `function(layer, path)`, or a list of these
--- @return table list of the layers
function surgery.freeze(self, which, ...)
  local model = self
  return set_trainable("freeze", false, model, which, (...))
end

--- The reverse of `freeze`: the layers train again.
---
---     #model:unfreeze()   --> 2
--- @param which any a pattern, a layer, a number, `function(layer, path)`, or a list of these
--- @return table list of the layers
function surgery.unfreeze(self, which, ...)
  local model = self
  return set_trainable("unfreeze", true, model, which, (...))
end

return surgery

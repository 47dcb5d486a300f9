--- The weights of layers: making, finding, reading and setting them, and what depends on them
--- (losses, trainable).
--
-- A weight is a plain tensor; its facts stand in a record of the layer that made it. Nothing
-- follows `pairs`: records keep their order, sub-layers the order of their creation. What hangs on
-- a layer is found in tide.layers.tracking; the flat lists made of it are kept as long as that
-- holds. `tide.layers.base` installs all this in Layer.
local check = require "tide.check"
local class = require "tide.class"
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local ops = require "tide.ops"
local names = require "tide.tensor.names"
local paths = require "tide.layers.paths"
local tracking = require "tide.layers.tracking"

return function(Layer)

-- ---- weights ----

local weight_args = check.args("add_weight", {
  { "shape", "shape", nil, "shape of the weight; a scalar without it" },
  { "initializer", "initializer", nil, "glorot_uniform for floats, zeros for others" },
  { "dtype", "dtype", nil, "the layer's by default" },
  { "trainable", "bool", true },
  { "autocast", "bool", true, "under a mixed policy `call` gets it in the compute dtype" },
  { "regularizer", "regularizer" },
  { "constraint", "constraint" },
  { "aggregation", "string", "none" },
  { "name", "string", nil, "weight by default" },
})

--- Makes a weight of this layer: a tensor that requires a gradient if it is trainable.
--- @return userdata tensor
function Layer:add_weight(...)
  return self:_make_weight(weight_args:construct(...))
end

-- An option, which files may give as null.
local function option(v)
  if v ~= none then
    return v
  end
end

-- What an initializer gives, checked.
local function initial(where, o, initializer, shape, dtype)
  local tensor = initializer(table.move(shape, 1, #shape, 1, {}), dtype)
  local made = core.is_tensor(tensor) and tensor.shape
  local fits = made and #made == #shape
  for i = 1, fits and #shape or 0 do
    fits = fits and made[i] == shape[i]
  end
  if not fits then
    errors.raise(where, "the initializer of '%s' must return a tensor of shape %s (got %s)",
      o.name or "weight", list.format(shape), check.show(tensor))
  end
  return tensor
end

-- As add_weight, with options that were checked, or are a layer's own.
function Layer:_make_weight(o)
  local dtype = o.dtype or self.dtype
  local initializer = option(o.initializer)
    or require("tide.initializers").get(
      dtype:find("float", 1, true) and "glorot_uniform" or "zeros")
  local shape = o.shape or {}
  for i = 1, #shape do
    if shape[i] == none or shape[i] < 0 then
      errors.raise("add_weight", "every size of the weight '%s' must be known (got %s)",
        o.name or "weight", list.format(shape))
    end
  end
  local tensor = initial("add_weight", o, initializer, shape, dtype)
  self:_track(tensor, o)
  return tensor
end

-- The path of what stands around the layer; `build` found it already.
local function place(self)
  local own = self[S]
  return not self.built and own.around or paths.around(self)
end

-- Records a tensor as a weight of this layer.
function Layer:_track(tensor, o)
  core.scope_leave(tensor)
  local records = self[S].weights
  records[#records + 1] = {
    tensor = tensor, name = o.name or "weight", trainable = o.trainable ~= false,
      regularizer = option(o.regularizer), constraint = option(o.constraint),
      autocast = o.autocast }
  names.give(tensor, o.name or "weight", self, place(self))
  if o.trainable ~= false then
    tensor:requires_grad_(self[S].trainable)
  end
  tracking.changed(self)
  return tensor
end

-- Forgets all weights and states but the first ones.
function Layer:_forget(weights, states)
  local own = self[S]
  for i = #own.weights, weights + 1, -1 do
    own.weights[i] = nil
  end
  for i = own.states and #own.states or 0, states + 1, -1 do
    own.states[i] = nil
  end
  tracking.changed(self)
end

local state_args = check.args("add_state", {
  { "shape", "shape", nil, "shape of the state; a scalar without it" },
  { "initializer", "initializer", "zeros" },
  { "dtype", "dtype", nil, "the layer's by default" },
  { "name", "string", "state" },
})

--- Makes a tensor that the layer keeps from call to call: no weight, without a gradient, but in
--- files beside the weights (in Keras' files as a variable that is not trained, behind the layer's
--- weights), and in `layer.states`. `call` writes into it by
--- `self.count:assign(value)`.
---
--- Example:
---     local Counts = tide.Layer:extend("Counts", {
---       init = function(self) self.count = self:add_state { {}, name = "count" } end,
---       call = function(self, x)
---         self.count:assign(self.count + 1)
---         return x
---       end,
---     })
---     local layer = Counts()
---     layer(tide.ones { 2 })
---     print(layer.states[1]:item(), #layer.weights)   --> 1.0  0
--- @return userdata tensor
function Layer:add_state(...)
  local o = state_args:construct(...)
  local own = self[S]
  own.states = own.states or {}
  for _, group in ipairs { own.weights, own.states } do
    for _, r in ipairs(group) do
      if r.name == o.name then
        errors.raise("add_state", "%s has a tensor named '%s' already", self:_label(), o.name)
      end
    end
  end
  local shape = o.shape or {}
  local initializer = option(o.initializer) or require("tide.initializers").get "zeros"
  local tensor = initial("add_state", o, initializer, shape, o.dtype or self.dtype)
  core.scope_leave(tensor)
  own.states[#own.states + 1] = { tensor = tensor, name = o.name }
  names.give(tensor, o.name, self, place(self))
  tracking.changed(self)
  return tensor
end

local fact_args = check.args("replace_weight", {}, { named = { { "trainable", "bool" },
  { "regularizer", "regularizer" }, { "constraint", "constraint" } } })

--- Puts another tensor in the place of a weight of this layer, of any shape and dtype that its
--- `call` can use, in the fields that held the old one too. Optimizers that were built for the old
--- one do not know it: compile again, or train with a new one.
---
---     local dense = tide.layers.Dense { 2 }
---     dense:build { tide.none, 3 }
---     dense:replace_weight("bias", tide.ones { 2 }, { trainable = false })
---     print(#dense.trainable_weights)   --> 1
--- @param name string as add_weight was given it
--- @param tensor userdata
--- @param facts table|nil `trainable`, `regularizer`, `constraint`: what changes of the old ones
--- @return userdata tensor
function Layer:replace_weight(name, tensor, facts)
  local known = {}
  for i, r in ipairs(self[S].weights) do
    known[i] = r.name
    if r.name == name then
      if not core.is_tensor(tensor) then
        errors.raise("replace_weight", "the weight '%s' must be a tensor (got %s)", name,
          check.show(tensor))
      end
      local o = facts and fact_args:construct(facts) or {}
      if o.trainable or o.trainable == nil and r.trainable then
        tensor:requires_grad_(self[S].trainable)
      end
      for key, v in pairs(o) do
        r[key] = v
      end
      for key, v in next, self do
        if rawequal(v, r.tensor) then
          self[key] = tensor
        end
      end
      if r.owner and rawequal(rawget(r.owner, r.key), r.tensor) then
        r.owner[r.key] = tensor
      end
      names.give(tensor, name, self, names.around(r.tensor))
      r.tensor = tensor
      tracking.changed(self)
      return tensor
    end
  end
  errors.raise("replace_weight", "%s has no weight '%s'%s", self:_label(), tostring(name),
    check.did_you_mean(name, known))
end

-- Sub-layers as { key, layer }: the key is the component of weight paths, stable from process to
-- process. Models that are graphs name their layers themselves (`_parts`).
function Layer:_children()
  return tracking.of(self).children
end

-- A record whose weight keeps its place among those that train, but is frozen itself.
local function frozen(r)
  return setmetatable({ trainable = false }, { __index = r })
end

-- Weight records of this layer alone, as Keras: trainable ones, others, then variables found in
-- fields.
function Layer:_own_records()
  local out = {}
  for _, want in ipairs { true, false } do
    for _, r in ipairs(self[S].weights) do
      if r.trainable == want then
        out[#out + 1] = r.frozen and frozen(r) or r
      end
    end
  end
  for _, e in ipairs(tracking.of(self).tensors) do
    out[#out + 1] = { tensor = e.tensor, name = e.key, trainable = e.trainable }
  end
  return out
end

local function flatten(self, kept, seen)
  seen[self] = true
  local found = tracking.of(self)
  kept.layers[#kept.layers + 1], kept.found[#kept.found + 1] = self, found
  for _, child in ipairs(found.children) do
    if not seen[child.layer] then
      flatten(child.layer, kept, seen)
    end
  end
end

local function collect(self, prefix, kept, seen)
  local trains = self[S].trainable
  for _, r in ipairs(self:_own_records()) do
    if not seen[r.tensor] then
      seen[r.tensor] = true
      local record = { tensor = r.tensor, name = r.name, path = prefix .. r.name,
        trainable = r.trainable and trains, regularizer = r.regularizer,
        constraint = r.constraint, layer = self }
      kept.records[#kept.records + 1] = record
      local group = record.trainable and kept.trainable or kept.frozen
      kept.weights[#kept.weights + 1], group[#group + 1] = r.tensor, r.tensor
    end
  end
  for _, s in ipairs(self[S].states or {}) do
    kept.states[#kept.states + 1] = { tensor = s.tensor, path = prefix .. s.name }
  end
  for _, child in ipairs(self:_children()) do
    if not seen[child.layer] then
      seen[child.layer] = true
      collect(child.layer, prefix .. child.key .. "/", kept, seen)
    end
  end
end

-- What is kept of this layer and all below it: `layers`, parents first; weight `records` in Keras'
-- order; `states`; the tensors of `weights`, of those that are `trainable` and of the `frozen`
-- others; the `metrics` in fields. Not to be changed by who reads it.
local function keep(self)
  local kept = self[S].kept
  if kept then
    local layers, found = kept.layers, kept.found
    for i = 1, #layers do
      if tracking.of(layers[i]) ~= found[i] then
        kept = nil
        break
      end
    end
  end
  if not kept then
    kept = { layers = {}, found = {}, records = {}, weights = {}, trainable = {}, frozen = {},
      metrics = {}, states = {} }
    flatten(self, kept, {})
    local seen = {}
    for _, found in ipairs(kept.found) do
      for _, e in ipairs(found.metrics) do
        if not seen[e.metric] then
          seen[e.metric] = true
          kept.metrics[#kept.metrics + 1] = e.metric
        end
      end
    end
    collect(self, "", kept, { [self] = true })
    self[S].kept = kept
  end
  return kept
end

Layer._kept = keep

-- This layer and all below it, each once, parents first.
function Layer:_flat()
  return keep(self).layers
end

--- All weights with their facts, in Keras' order, each once:
--- `{ tensor, name, path, trainable, regularizer, constraint, layer }`.
function Layer:_records()
  return keep(self).records
end

-- What an optimizer is built with for these records: tensors, and of each its `path`, as Keras has
-- it, the path `inside` of the model, without the model's own name, and its constraint.
function Layer._parameters_of(records)
  local params, info = {}, {}
  for i, r in ipairs(records) do
    params[i] = r.tensor
    info[i] = { path = r.tensor.path or r.path, inside = r.path, constraint = r.constraint }
  end
  return params, info
end

-- The records of weights that are trained.
function Layer:_trained()
  local out = {}
  for _, r in ipairs(self:_records()) do
    out[#out + 1] = r.trainable and r or nil
  end
  return out
end

-- What a file holds: { path, tensor } of weights, then of states.
function Layer:_saved()
  local kept = keep(self)
  local out = table.move(kept.records, 1, #kept.records, 1, {})
  return table.move(kept.states, 1, #kept.states, #out + 1, out)
end

-- The metrics in the fields of this layer and of all below it.
function Layer:_metrics()
  return keep(self).metrics
end

local function copy(t)
  return list.new(table.move(t, 1, #t, 1, {}))
end

local function get_trainable(self)
  return copy(keep(self).trainable)
end
local function get_non_trainable(self)
  return copy(keep(self).frozen)
end
local function get_weights(self)
  return copy(keep(self).weights)
end

-- What layers added in the last call (`losses_of` is its number), then the penalties of weights.
local function get_losses(self)
  local out, layers = {}, self:_flat()
  local last = self[S].called or 0
  for _, layer in ipairs(layers) do
    if layer[S].losses then
      last = math.max(last, layer[S].losses_of)
    end
  end
  for _, layer in ipairs(layers) do
    local own = layer[S]
    if own.losses and own.losses_of == last then
      table.move(own.losses, 1, #own.losses, #out + 1, out)
    end
  end
  for _, r in ipairs(self:_records()) do
    if r.regularizer and r.trainable then
      out[#out + 1] = r.regularizer(r.tensor)
    end
  end
  return list.new(out)
end

local function set_trainable(self, value)
  if type(value) ~= "boolean" then
    errors.raise(getmetatable(self).__name, "trainable must be true or false (got %s)",
      check.show(value))
  end
  for _, layer in ipairs(self:_flat()) do
    layer[S].trainable = value
    for _, r in ipairs(layer:_own_records()) do
      if r.trainable then
        r.tensor:requires_grad_(value)
      end
    end
    tracking.changed(layer)
  end
end

local function first_node(self, side)
  local node = self[S].nodes and self[S].nodes[1]
  if not node then
    errors.raise(self:_label(), "has no %s yet: it was never called on a symbolic tensor", side)
  end
  return node[side]
end

class.properties(Layer, {
  weights = get_weights, variables = get_weights,
  trainable_weights = get_trainable, trainable_variables = get_trainable,
  non_trainable_weights = get_non_trainable, non_trainable_variables = get_non_trainable,
  losses = get_losses,
  trainable = function(self) return self[S].trainable end,
  path = function(self) return paths.join(self[S].around or "", self.name) end,
  compute_dtype = function(self) return self[S].compute or self.dtype end,
  variable_dtype = function(self) return self.dtype end,
  dtype_policy = function(self)
    return self[S].policies or self[S].compute and "mixed_" .. self[S].compute or self.dtype
  end,
  input = function(self) return first_node(self, "input") end,
  output = function(self) return first_node(self, "output") end,
  metrics = function(self) return copy(self:_metrics()) end,
  states = function(self)
    local out = {}
    for i, s in ipairs(keep(self).states) do
      out[i] = s.tensor
    end
    return list.new(out)
  end,
}, { trainable = set_trainable })

--- The values of all weights, in Keras' order.
--- @return table list of tensors, copies
function Layer:get_weights()
  local out = {}
  for i, w in ipairs(self.weights) do
    out[i] = ops.copy(w:detach())
  end
  return list.new(out)
end

--- Sets all weights; numbers and shapes must agree.
--- @param values table list of tensors or nested tables of numbers, in Keras' order
function Layer:set_weights(values)
  local records = self:_records()
  if not check.is_list(values) then
    errors.raise("set_weights", "takes a list of tensors (got %s)", check.show(values))
  end
  if #values ~= #records then
    errors.raise("set_weights", "%s has %d weights (got %d values)%s", self:_label(), #records,
      #values, #records == 0 and not self.built and "; the layer is not built yet" or "")
  end
  local converted = {}
  for i, r in ipairs(records) do
    local v = ops.convert_to_tensor(values[i], { dtype = r.tensor.dtype })
    if v.shape ~= r.tensor.shape then
      errors.raise("set_weights", "weight %d (%s) has shape %s, the value has %s", i, r.path,
        tostring(r.tensor.shape), tostring(v.shape))
    end
    converted[i] = v
  end
  for i, r in ipairs(records) do
    r.tensor:assign(converted[i])
  end
end

--- The number of elements of all weights.
function Layer:count_params()
  local n = 0
  for _, w in ipairs(self.weights) do
    n = n + w.size
  end
  return n
end

local noting = nil -- where losses are noted as they are added

--- Adds a penalty (0-d tensor, or a list of them) to `losses`, until the next call.
function Layer:add_loss(loss)
  local own = self[S]
  local losses = type(loss) == "table" and loss or { loss }
  local call = core.call_number() or own.losses_of or own.called or 0
  Layer.last_penalized = math.max(Layer.last_penalized, call)
  if noting and not noting.stored then
    for _, l in ipairs(losses) do
      Layer._note_loss { loss = l }
    end
    return
  end
  if own.losses_of ~= call then
    own.losses, own.losses_of = {}, call
  end
  for _, l in ipairs(losses) do
    own.losses[#own.losses + 1] = l
    Layer._note_loss { loss = l, list = own.losses, place = #own.losses }
  end
end

-- Notes a loss, and the place where it stands, for who asked.
function Layer._note_loss(e)
  if noting and core.is_tensor(e.loss) then
    noting[#noting + 1] = e
  end
end

local Noting = {}
function Noting.__close(self)
  noting = self.before
end

-- Until what is returned is closed, losses that are added stand in the list `noted` too, with their
-- places, or, where `noted.stored` is false, there alone.
function Layer._noting_losses(noted)
  noted.stored = noted.stored and not (noting and not noting.stored)
  noting, noted.before = noted, noting
  return setmetatable(noted, Noting)
end

-- The number of the newest call in which a penalty was added.
Layer.last_penalized = 0

end

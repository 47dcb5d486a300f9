--- Layers around a layer: Wrapper, TimeDistributed and Bidirectional, by Keras' names and options.
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local object = require "tide.object"
local ops = require "tide.ops"

local wrap = {}

-- The layer that an option holds: a layer, its name or its configuration.
local function layer_of(where, v)
  local layer = require("tide.layers").get(v)
  if not base.is_layer(layer) then
    errors.raise(where, "takes a layer (got %s)", check.show(v))
  end
  return layer
end

--- The base of layers around one layer, `self.layer`, which is built for the same input.
---
--- A class of one's own inherits from it and says what it does with the layer:
--- `call = function(self, x) return self.layer(x) * 2 end`.
---
---     tide.layers.Wrapper { tide.layers.Dense { 3 } }.layer.units   --> 3
wrap.Wrapper = base.derive(base, "Wrapper", {
  args = { { "layer", "any", check.required, "the layer inside" } },
  init = function(self)
    self.layer = layer_of(getmetatable(self).__name, self.layer)
  end,
  build = function(self, shape)
    self.layer:build(self:_inside(shape))
  end,
  -- The shape that the layer inside gets.
  _inside = function(_, shape)
    return shape
  end,
})

-- ---- TimeDistributed ----

-- Whether steps may be computed as one batch: nothing in the layer looks beyond a sample, or goes
-- on from the call before.
local function samplewise(layer, training)
  for _, one in ipairs(layer:_flat()) do
    if rawget(one, "stateful") or training and (#one[S].weights > 0
      and #one.non_trainable_weights > 0 and one[S].trainable
      or one[S].states and #one[S].states > 0) then
      return false
    end
  end
  return true
end

-- (batch, steps, ...) as (batch * steps, ...).
local function fold(x)
  local shape = x.shape:totable()
  shape[1] = shape[1] * table.remove(shape, 2)
  return ops.reshape(x, shape)
end

local function unfold(x, batch, steps)
  local shape = x.shape:totable()
  shape[1] = batch
  table.insert(shape, 2, steps)
  return ops.reshape(x, shape)
end

local function check_time(self, shape)
  if #shape < 3 then
    errors.raise(self:_label(), "the input has the wrong axes (expected (batch, steps, ...), got \z
      the shape %s)", list.format(shape))
  end
end

--- A layer applied to every step of (batch, steps, ...), with the same weights.
--
-- All steps are one batch to the layer; one that keeps statistics of its batches (as
-- BatchNormalization in training) sees them one after the other, as in Keras.
--     tide.layers.TimeDistributed { tide.layers.Dense { 4 } }(tide.ones { 2, 5, 3 }).shape
--     --> { 2, 5, 4 }
wrap.TimeDistributed = base.derive(wrap.Wrapper, "TimeDistributed", {
  args = { { "layer", "any", check.required, "the layer of each step" } },
  supports_masking = true,
  takes = "tensor",
  _inside = function(self, shape)
    check_time(self, shape)
    return table.move(shape, 3, #shape, 2, list.new { shape[1] })
  end,
  call = function(self, x, o)
    check_time(self, x.shape)
    local batch, steps = x.shape[1], x.shape[2]
    local mask = o.mask
    if mask and (mask.ndim < 2 or mask.shape[1] ~= batch or mask.shape[2] ~= steps) then
      errors.raise(self:_label(), "the mask must begin with the batch and the steps (expected \z
        [%d, %d, ...], got %s)", batch, steps, list.format(mask.shape))
    end
    local layer = self.layer
    if samplewise(layer, o.training) then
      local y = layer(fold(x), { training = o.training, mask = mask and fold(mask) or false })
      return unfold(y, batch, steps)
    end
    if steps == 0 then
      errors.raise(self:_label(), "needs at least one step (got the shape %s)",
        list.format(x.shape))
    end
    local out = {}
    for t = 1, steps do
      out[t] = layer(x[{ {}, t }], { training = o.training, mask = mask and mask[{ {}, t }]
        or false })
    end
    return ops.stack(out, 2)
  end,
  compute_output_shape = function(self, shape)
    local step = self.layer:compute_output_shape(self:_inside(shape))
    local out = list.new { shape[1], shape[2] }
    return table.move(step, 2, #step, 3, out)
  end,
  torch = { whole = true, links = function(self, ...)
    local inside = self.layer.torch
    return inside.links and inside.links(self.layer, ...)
  end },
})

-- ---- Bidirectional ----

-- A layer of the same options with the name of its direction.
local function directed(layer, direction, backwards)
  local name = layer.name:gsub("^" .. direction .. "_", "")
  local options = { name = direction .. "_" .. name }
  if backwards then
    options.go_backwards = not layer.go_backwards
  end
  return layer:clone(options)
end

local merges = {
  concat = function(a, b) return ops.concatenate({ a, b }, -1) end,
  sum = function(a, b) return a + b end,
  ave = function(a, b) return (a + b) / 2 end,
  mul = function(a, b) return a * b end,
}

--- A recurrent layer run in both directions, the results merged.
--
-- The given layer serves as a model for two of its kind with weights of their own, unless
-- `backward_layer` gives the second. `merge_mode`: "concat", "sum", "mul", "ave", or none for two
-- results. `initial_state`: the forward states, then the backward ones; `return_state` gives them
-- in that order. As Keras' Bidirectional.
--     tide.layers.Bidirectional { tide.layers.LSTM { 4 } }(tide.ones { 2, 5, 3 }).shape
--     --> { 2, 8 }
wrap.Bidirectional = base.derive(base, "Bidirectional", {
  args = {
    { "layer", "any", check.required, "a recurrent layer" },
    { "merge_mode", "enum", "concat", "how two results become one; none: they do not",
      of = "concat|sum|mul|ave", none = true },
    { "weights", "any", nil, "initial weights, forward ones first" },
    { "backward_layer", "any", nil, "a layer with the other direction; the same by default" },
  },
  inputs = { "sequences", "initial_state" },
  takes = { sequences = "tensor" },
  supports_masking = true,
  init = function(self, o)
    local layer = layer_of("Bidirectional", self.layer)
    rawset(self, "layer", nil)
    rawset(self, "weights", nil)
    if layer.args.index.go_backwards == nil then
      errors.raise("Bidirectional", "takes a recurrent layer, which has go_backwards (got %s)",
        layer:_label())
    end
    -- fields of the class' own, whatever option their names are near
    rawset(self, "forward_layer", directed(layer, "forward"))
    local backward = self.backward_layer and layer_of("Bidirectional", self.backward_layer)
      or directed(layer, "backward", true)
    rawset(self, "backward_layer", backward)
    if layer.go_backwards == backward.go_backwards then
      errors.raise("Bidirectional", "the layers must run in different directions (both have \z
        go_backwards = %s)", tostring(layer.go_backwards))
    end
    for _, key in ipairs { "stateful", "return_sequences", "return_state" } do
      if layer[key] ~= backward[key] then
        errors.raise("Bidirectional", "the layers differ in %s (forward has %s, backward %s)", key,
          tostring(layer[key]), tostring(backward[key]))
      end
      self[key] = layer[key]
    end
    for _, one in ipairs { self.forward_layer, backward } do
      one.zero_output_for_mask = one.return_sequences
    end
    self[S].initial = o.weights
  end,
  build = function(self, shape)
    self.forward_layer:build(shape)
    self.backward_layer:build(shape)
    local initial = self[S].initial
    if initial then
      self:set_weights(initial)
      self[S].initial = nil
    end
  end,
  call = function(self, x, states, o)
    local half = states and #states // 2
    if states and (#states % 2 ~= 0 or half == 0) then
      errors.raise(self:_label(), "initial_state must hold the states of both directions (got %d)",
        #states)
    end
    local mask = o.mask
    if type(mask) == "table" then -- one that x brings does not count where states are given
      mask = mask[1] or not states and mask.sequences
    end
    mask = mask or false
    local function run(layer, from)
      return table.pack(layer(x, { training = o.training, mask = mask,
        initial_state = states and table.move(states, from, from + half - 1, 1, {}) or nil }))
    end
    local a, b = run(self.forward_layer, 1), run(self.backward_layer, half and half + 1)
    if a[1].dtype ~= b[1].dtype then -- directions with policies of their own
      a[1], b[1] = ops.cast(a[1], self.compute_dtype), ops.cast(b[1], self.compute_dtype)
    end
    local last = self.return_sequences and ops.flip(b[1], 2) or b[1]
    local out = { n = 0 }
    if self.merge_mode then
      out[1] = merges[self.merge_mode](a[1], last)
    else
      out[1], out[2] = a[1], last
    end
    table.move(a, 2, a.n, #out + 1, out)
    table.move(b, 2, b.n, #out + 1, out)
    return table.unpack(out)
  end,
  compute_output_shape = function(self, shape)
    local one = table.pack(self.forward_layer:compute_output_shape(shape))
    local out = { one[1] }
    if self.merge_mode == "concat" then
      local merged = list.copy(one[1])
      merged[#merged] = merged[#merged] == none and none or merged[#merged] * 2
      out[1] = merged
    elseif not self.merge_mode then
      out[2] = list.copy(one[1])
    end
    for _ = 1, 2 do
      table.move(one, 2, one.n, #out + 1, out)
    end
    return table.unpack(out)
  end,
  compute_mask = function(self, _, mask)
    if not self.return_sequences then
      return nil
    end
    return type(mask) == "table" and (mask.sequences or mask[1]) or mask
  end,
  torch = { whole = true, links = function(self, level)
    local out = {}
    for i, one in ipairs { self.forward_layer, self.backward_layer } do
      local there = one.torch.links and one.torch.links(one, level, i == 2)
      if not there then
        return nil
      end
      table.move(there, 1, #there, #out + 1, out)
    end
    return out
  end },
  -- Forward weights come first, whichever layer was made first.
  _children = function(self)
    return { { key = "forward_layer", layer = self.forward_layer },
      { key = "backward_layer", layer = self.backward_layer } }
  end,
  get_config = function(self)
    local out = base.get_config(self)
    out.layer = object.serialize(self.forward_layer)
    return out
  end,
})

--- Sets the states of both directions to zero.
function wrap.Bidirectional:reset_state()
  if not self.stateful then
    errors.raise(self:_label(), "keeps no states to reset; give its layer stateful = true")
  end
  self.forward_layer:reset_state()
  self.backward_layer:reset_state()
end

--- As reset_state: Keras' older name.
function wrap.Bidirectional:reset_states()
  self:reset_state()
end

return wrap

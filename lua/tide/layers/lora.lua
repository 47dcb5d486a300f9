--- LoRA (Hu et al. 2021): a weight that stays as it is, and beside it two small factors that are
--- trained. As Keras' `enable_lora`.
--
-- The layer's `call` gets, in the layer's place, a stand-in whose weight is
-- `weight + lora_alpha / lora_rank * a @ b`; `layer.kernel` itself stays the frozen weight. `b` is
-- zero at first, so that enabling changes no result. Keras' `.keras` and `.weights.h5` files hold
-- the sum; reading one makes it the weight and `b` zero. `.safetensors` and `.h5` hold the parts.
local ends = require "tide.ends"
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local tracking = require "tide.layers.tracking"

local lora = {}

local enable_args = check.args("enable_lora", {
  { "rank", "int", check.required, "width of the factors", min = 1 },
  { "lora_alpha", "number", nil, "the product counts lora_alpha / rank; rank by default" },
  { "a_initializer", "initializer", "he_uniform" },
  { "b_initializer", "initializer", "zeros" },
})

-- ---- the weight of a call ----

-- The frozen weight and the product of the factors, in float32 as these are, or in float64 where
-- the weight is.
local function merged(layer)
  local own = layer[S].lora
  local dtype = own.weight.dtype == "float64" and "float64" or "float32"
  return ops.cast(own.weight, dtype)
    + ops.cast(ops.linear(own.a, own.b) * (layer.lora_alpha / layer.lora_rank), dtype)
end

-- The sum in the dtype of the computation. Outside of recording it is kept until a part changes.
local function current(layer)
  local own = layer[S].lora
  local dtype = layer.compute_dtype
  if core.grad_mode() and (own.a.requires_grad or own.b.requires_grad) then
    return ops.cast(merged(layer), dtype)
  end
  local a, b, w = own.a:version(), own.b:version(), own.weight:version()
  local kept = own.kept
  if not kept or kept.a ~= a or kept.b ~= b or kept.w ~= w then
    kept = { a = a, b = b, w = w, tensor = ops.cast(merged(layer), dtype) }
    core.scope_leave(kept.tensor)
    own.kept = kept
  end
  return kept.tensor
end

-- What stands for `layer` in its `call`; `below` is the layer, or what stands for it already.
local function stand_in(layer, below)
  local class, field = getmetatable(layer), layer.lora_field
  return setmetatable({}, setmetatable({
    super = class, __name = class.__name, __call = class.__call, __tostring = class.__tostring,
    __index = function(_, key)
      if key == field then
        return current(layer)
      end
      return below[key]
    end,
    __newindex = function(_, key, value) layer[key] = value end,
    __pairs = function() return pairs(layer) end,
  }, { __index = class }))
end

--- The call of a layer that has LoRA. A class may say of its call how the factors serve without
--- the sum: `lora_calls = { [call] = function(self, x, a, product) ... end }`, where `product` of a
--- part of `a` is that part's scaled product with `b`.
function lora.call(layer, below)
  local call = layer.call
  local apart = layer.lora_calls and layer.lora_calls[call]
  if apart then
    return function(_, x)
      local own = layer[S].lora
      return apart(below, x, own.a, function(part)
        return ops.linear(part, own.b) * (layer.lora_alpha / layer.lora_rank)
      end)
    end
  end
  local instead = stand_in(layer, below)
  return function(_, ...) return call(instead, ...) end
end

-- ---- enabling ----

-- Makes the factors of a layer that has its weight.
local function attach(self, o)
  local own, field = self[S], self.lora_field
  local weight = rawget(self, field)
  local shape = weight.shape:totable()
  local width = table.remove(shape)
  shape[#shape + 1] = o.rank
  local regularizer = self[field .. "_regularizer"]
  local a = self:add_weight { shape, name = "lora_" .. field .. "_a", dtype = "float32",
    initializer = o.a_initializer, regularizer = regularizer, autocast = false }
  local b = self:add_weight { { o.rank, width }, name = "lora_" .. field .. "_b", dtype = "float32",
    initializer = o.b_initializer, regularizer = regularizer, autocast = false }
  rawset(self, "lora_" .. field .. "_a", a)
  rawset(self, "lora_" .. field .. "_b", b)
  own.lora = { weight = weight, a = a, b = b }
  for _, r in ipairs(own.weights) do
    if rawequal(r.tensor, weight) then
      r.frozen = true
      weight:requires_grad_(false)
    end
  end
  rawset(self, "lora_enabled", true)
  rawset(self, "lora_rank", o.rank)
  rawset(self, "lora_alpha", o.lora_alpha or o.rank)
  tracking.changed(self)
end

-- Refuses what cannot have factors.
local function check_constraint(self)
  local field = self.lora_field
  if self[field .. "_constraint"] then
    errors.raise("enable_lora", "%s has a %s_constraint, which would not hold for the sum; leave \z
      one of them out", self:_label(), field)
  end
end

--- Freezes the layer's weight and trains two factors beside it, `a` (..., in, rank) and `b` (rank,
--- out): the layer computes with `weight + lora_alpha / rank * a @ b`. Optimizers that know the
--- model already do not know the factors: compile again. `trainable = false` freezes the factors
--- too, as in Keras; `trainable = true` trains them again, while the weight stays frozen. Raises
--- for a layer that is not built, has LoRA already, or has a constraint of the weight.
---
---     local dense = tide.layers.Dense { 4 }
---     dense:build { tide.none, 16 }
---     dense:enable_lora(2, { lora_alpha = 4 })
---     print(#dense.trainable_weights)   --> 3
--- @param rank integer
--- @param o table|nil lora_alpha, a_initializer ("he_uniform"), b_initializer ("zeros")
local function enable(self, ...)
  local o = enable_args:call(...)
  check_constraint(self)
  if not self.built then
    errors.raise("enable_lora", "%s has no weights yet; build it or call it first", self:_label())
  elseif self.lora_enabled then
    errors.raise("enable_lora", "%s has LoRA already (of rank %d); it can have it once",
      self:_label(), self.lora_rank)
  end
  attach(self, o)
  self:_settle()
end

-- ---- files ----

-- What Keras' files of weights hold: the sum in the weight's place, and no factors.
local function file_records(layer, records)
  local own = layer[S].lora
  if not own then
    return records
  end
  local out = {}
  for _, r in ipairs(records) do
    if rawequal(r.tensor, own.weight) then
      out[#out + 1] = { tensor = r.tensor, name = r.name, trainable = r.trainable,
        value = function()
          local _ <close> = core.recording(false)
          return ops.cast(merged(layer), own.weight.dtype)
        end,
        loaded = function() own.b:assign(ops.zeros_like(own.b)) end }
    elseif not rawequal(r.tensor, own.a) and not rawequal(r.tensor, own.b) then
      out[#out + 1] = r
    end
  end
  return out
end

--- The layers that can have LoRA in the model's order: list of { path, layer }.
function lora.able(model)
  local out = {}
  for _, r in ipairs(model:_records()) do
    local layer = r.layer
    if layer.lora_field == r.name then
      local _, at = ends.behind(r.path, "/")
      out[#out + 1] = { path = r.path:sub(1, math.max(at - 1, 0)), layer = layer }
    end
  end
  return out
end

--- What a file says of the layers with LoRA: path -> { rank, alpha }; nil where there are none.
function lora.described(model)
  local out
  for _, e in ipairs(lora.able(model)) do
    if e.layer.lora_enabled then
      out = out or {}
      out[e.path] = { rank = e.layer.lora_rank, alpha = e.layer.lora_alpha }
    end
  end
  return out
end

--- Whether this is what `described` says of a layer.
function lora.is_description(v)
  return type(v) == "table" and math.type(v.rank) == "integer" and v.rank > 0
    and type(v.alpha) == "number"
end

--- Gives the layers of a model that is built what `described` said of them, where their own options
--- did not.
function lora.restore(model, described)
  for _, e in ipairs(type(described) == "table" and lora.able(model) or {}) do
    local one = described[e.path]
    if lora.is_description(one) and not e.layer.lora_enabled then
      e.layer:enable_lora(one.rank, { lora_alpha = one.alpha })
    end
  end
end

-- ---- classes ----

--- Gives the definition of a layer's class LoRA on its weight `field`: the options `lora_rank` and
--- `lora_alpha` (at the place `at` of its rows, last by default) and the method `enable_lora`.
--- @return table def
function lora.extend(def, field, at)
  at = at or #def.args + 1
  table.insert(def.args, at, { "lora_rank", "int", nil,
    "the " .. field .. " stays; two factors of this rank are trained", min = 1 })
  table.insert(def.args, at + 1, { "lora_alpha", "number", nil,
    "the factors' product counts lora_alpha / lora_rank; lora_rank by default" })
  def.lora_field, def.lora_enabled = field, false
  def.enable_lora = enable
  def.keras = def.keras or {}
  def.keras.records = file_records
  local build = def.build
  function def.build(self, ...)
    build(self, ...)
    if self.lora_rank then
      check_constraint(self)
      attach(self, enable_args:call(self.lora_rank, { lora_alpha = self.lora_alpha }))
    end
  end
  return def
end

return lora

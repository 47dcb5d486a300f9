--- Activations by Keras' names, as functions of a tensor (and their extra arguments), and what
--- `activation =` accepts: a name, `{ "name", option = ... }`, a function, a callable object, a
--- configuration.
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local registry = require "tide.registry"

-- Names whose op has Keras' activation arguments already.
local direct = {}
for name in ([[relu leaky_relu relu6 elu celu selu silu hard_silu sigmoid hard_sigmoid
  log_sigmoid tanh hard_tanh tanh_shrink soft_shrink hard_shrink threshold softplus softsign
  softmax log_softmax glu squareplus sparse_plus sparse_sigmoid sparsemax mish]]):gmatch "%S+" do
  direct[name] = name
end
direct.exponential = "exp"

local functions = {}

--- The tensor itself: no activation.
---
---     tide.activations.linear(tide.ones { 2 })   --> { 1, 1 }
functions.linear = function(x)
  return x
end

--- Gaussian error linear unit, exact unless `approximate` (the op's own default is the
--- approximation, as in Keras).
---
---     tide.activations.gelu(tide.ones { 2 })   --> { 0.84134, 0.84134 }
functions.gelu = function(x, o)
  local approximate = o
  if type(o) == "table" then
    approximate = o.approximate
  end
  return ops.gelu(x, { approximate = approximate == true })
end

local aliases = { swish = "silu", hard_swish = "hard_silu" }
local all = { "gelu", "linear" }
for name in pairs(direct) do
  all[#all + 1] = name
end
table.sort(all)

local named = {}

-- The function of a name, which it has from then on; nil for a name that is none.
local function function_of(name)
  local fn = functions[name] or (direct[name] and ops[direct[name]])
  if fn and not named[name] then
    named[name], functions[name] = true, object.name_function(fn, name)
  end
  return fn
end

-- A function is named whoever got it first: `ops.mish` is "mish".
object.name_later(function()
  for _, name in ipairs(all) do
    function_of(name)
  end
end)

-- ---- an activation with options ----

--- An activation with options, as `{ "leaky_relu", negative_slope = 0.1 }` makes it.
local Activation = object.class("Activation", nil, { kind = "activation",
  methods = { __call = { { "x", "data", check.required, "a tensor" } } } })
Activation.__eq = function(a, b)
  return a.name == b.name and object.same(a.options, b.options)
end

function Activation:_init(name, fn, options)
  self.name, self.fn, self.options = name, fn, options
end

function Activation:__call(x)
  return self.fn(x, self.options)
end

function Activation:_class_name()
  return self.name
end

function Activation:get_config()
  return object.serialize(self.options)
end

-- The names of an activation's options, without the tensor.
local function options_of(name)
  local out = {}
  for _, arg in ipairs(name == "gelu" and { "approximate" }
    or ops.arguments(direct[name] or "") or {}) do
    if arg ~= "x" and arg ~= "out" then
      out[#out + 1] = arg
    end
  end
  return out
end

local function with_options(name, fn, given)
  name = aliases[name] or name
  local options, known = {}, options_of(name)
  for k, v in pairs(given) do
    local key = math.type(k) == "integer" and known[k] or k
    options[key] = object.revive(v)
  end
  if next(options) == nil then
    return fn
  end
  check.refuse_unknown(name, options, known)
  return Activation(name, fn, options)
end

--- A function from a name, a function, a callable object, `{ "name", option = ... }` or a
--- configuration; none is `linear`.
local function get(v)
  if v == nil or v == check.none then
    return function_of "linear"
  elseif type(v) == "string" then
    local fn = function_of(aliases[v] or v) or registry.custom("activation")[v]
    if not fn then
      local known = table.move(all, 1, #all, 3, { "swish", "hard_swish" })
      for name in pairs(registry.custom "activation") do
        known[#known + 1] = name
      end
      errors.raise("activation", "unknown activation '%s'%s", v, check.did_you_mean(v, known))
    end
    return fn
  end
  local m = getmetatable(v)
  if type(v) == "function" or (type(m) == "table" and m.__call and m.__name ~= "class") then
    return v
  elseif check.is_plain(v) and type(v.class_name) == "string" and not function_of(v.class_name)
    and registry.lookup("layer", v.class_name) then
    return registry.resolve("layer", v, "activation") -- Keras writes some of them as layers
  end
  return registry.resolve("activation", v, "activation")
end

-- What the fused ops apply themselves: op -> activation -> value of its `activation` argument.
local fused = {}

--- The word by which an op applies this activation itself, or nil. Filled from the op's own
--- argument table.
--- @param op string|nil "linear", whose words conv has too
local function fused_word(fn, op)
  local name = object.name_of(fn)
  if not name then
    return nil
  end
  op = op or "linear"
  local words = fused[op]
  if not words then
    words = {}
    for _, a in ipairs(require("tide.core").op_info(op).args) do
      if a.name == "activation" then
        for word in (a.default or a.def):gmatch "[^|]+" do
          words[word] = word
        end
      end
    end
    fused[op] = words
  end
  return words[name]
end

-- They are reached through the namespace as fields, as in Keras: activations.relu(x).
return object.namespace("tide.activations", "activation", { get = get, load = function_of,
  aliases = aliases, names = function() return table.move(all, 1, #all, 1, {}) end,
  extra = { names = all, fused = fused_word, name_of = object.name_of,
    with_options = with_options } })

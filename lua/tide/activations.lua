--- Activations by Keras' names, as functions of a tensor (and their extra arguments), and what
--- `activation =` accepts.
local check = require "tide.check"
local errors = require "tide.errors"
local ops = require "tide.ops"
local registry = require "tide.registry"

local functions = {}

-- Names whose op has Keras' activation arguments already.
local direct = {}
for name in ([[relu leaky_relu relu6 elu celu selu silu hard_silu sigmoid hard_sigmoid
  log_sigmoid tanh hard_tanh tanh_shrink soft_shrink hard_shrink threshold softplus softsign
  softmax log_softmax glu squareplus sparse_plus sparse_sigmoid sparsemax mish]]):gmatch "%S+" do
  direct[name] = name
end
direct.exponential = "exp"

-- What the fused ops (linear, conv) apply themselves: activation -> value of their `activation`
-- argument.
local fused = {}

functions.linear = function(x)
  return x
end

--- Gaussian error linear unit, exact unless `approximate` (the op's own default is the
--- approximation, as in Keras).
functions.gelu = function(x, o)
  local approximate = o
  if type(o) == "table" then
    approximate = o.approximate
  end
  return ops.gelu(x, { approximate = approximate == true })
end

local activations = {}
local names = {}

local function function_of(name)
  local fn = functions[name]
  if not fn and direct[name] then
    fn = ops[direct[name]]
    functions[name] = fn
  end
  if fn then
    names[fn] = name
  end
  return fn
end

local aliases = { swish = "silu", hard_swish = "hard_silu" }
local all = { "gelu", "linear" }
for name in pairs(direct) do
  all[#all + 1] = name
end
table.sort(all)

--- The 30 names, sorted.
activations.names = all

--- The Keras name of an activation function, or nil.
function activations.name_of(fn)
  return names[fn]
end

--- A function from a name, a function, a callable object or a configuration; none is `linear`.
function activations.get(v)
  if v == nil or v == check.none then
    return function_of "linear"
  elseif type(v) == "string" then
    local custom = registry.custom("activation")[v]
    local fn = custom or function_of(aliases[v] or v)
    if not fn then
      local known = table.move(all, 1, #all, 3, { "swish", "hard_swish" })
      errors.raise("activation", "unknown activation '%s'%s", v, check.did_you_mean(v, known))
    end
    return fn
  end
  local m = getmetatable(v)
  if type(v) == "function" or (type(m) == "table" and m.__call and m.__name ~= "class") then
    return v
  end
  return registry.resolve("activation", v, "activation")
end

--- The word by which the fused ops apply this activation themselves, or nil. Filled from `linear`'s
--- own argument table.
function activations.fused(fn)
  local name = names[fn]
  if not name then
    return nil
  end
  if next(fused) == nil then
    for _, a in ipairs(require("tide.core").op_info("linear").args) do
      if a.name == "activation" then
        for word in (a.default or a.def):gmatch "[^|]+" do
          fused[word] = word
        end
      end
    end
  end
  return fused[name]
end

-- Numbers are reached through the namespace as fields, as in Keras: activations.relu(x).
local ns = registry.namespace("tide.activations", "activation", {}, aliases)
for key, value in pairs(activations) do
  rawset(ns, key, value)
end
rawset(ns, "serialize", require("tide.object").serialize)
rawset(ns, "deserialize", activations.get)
local meta = getmetatable(ns)
setmetatable(ns, {
  __name = meta.__name,
  __tostring = function()
    return "tide.activations: " .. table.concat(all, ", ")
  end,
  __index = function(_, key)
    local fn = function_of(aliases[key] or key)
    if not fn then
      errors.raise("tide.activations", "unknown name '%s'%s", tostring(key),
        check.did_you_mean(key, all))
    end
    rawset(ns, key, fn)
    return fn
  end,
})
return ns

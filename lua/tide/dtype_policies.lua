--- Policies of dtypes: which dtype a layer's weights have and in which it computes. A name serves
--- wherever a policy is asked for; DTypePolicyMap gives the layers that share it policies by path.
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local path_map = require "tide.path_map"
local registry = require "tide.registry"

local function global()
  return require("tide.layers.base")._policy()
end

--- The policy of a name: a dtype, or "mixed_bfloat16" or "mixed_float16", which keep weights in
--- float32. Without one, that of `tide.config.dtype_policy()`.
---
---     tide.dtype_policies.DTypePolicy("mixed_bfloat16").compute_dtype   --> "bfloat16"
local DTypePolicy = object.class("DTypePolicy", nil, { kind = "dtype_policy", rows = {
  { "name", "policy", nil, "a dtype or a mixed policy" },
}, init = function(self)
  rawset(self, "name", self.name or global())
end })
class.properties(DTypePolicy, {
  --- The dtype that layers compute in.
  compute_dtype = function(self) return check.mixed[self.name] or self.name end,
  --- The dtype of weights.
  variable_dtype = function(self) return check.mixed[self.name] and "float32" or self.name end,
})
DTypePolicy.__eq = object.equal

function DTypePolicy:__tostring()
  return ('DTypePolicy "%s"'):format(self.name)
end

--- A tensor of floats in `dtype` if `autocast` says so; others as they are.
---
---     local policy = tide.dtype_policies.DTypePolicy "float16"
---     policy:convert_input(tide.ones { 2 }, true, "float16").dtype   --> "float16"
--- @param x userdata
--- @param autocast boolean
--- @param dtype string
function DTypePolicy:convert_input(x, autocast, dtype) -- luacheck: ignore self
  x = ops.convert_to_tensor(x)
  return autocast and x.dtype:find "float" and ops.cast(x, dtype) or x
end

--- Policies by pattern of paths, for layers that are all given this one map as their `dtype`: a
--- layer has the policy of its path when it is built, of the one pattern that fits all of the path
--- (regular expressions; those with a `%` are Lua patterns), or the default one. The parts of a
--- layer, such as attention's projections, ask the map too.
---
---     local map = tide.dtype_policies.DTypePolicyMap { "float32", {
---       ["heads/query"] = "bfloat16" } }
---     map["heads/query"], map["heads/key"]   --> "bfloat16", "float32"
local DTypePolicyMap = object.class("DTypePolicyMap", nil, { kind = "dtype_policy", rows = {
  { "default_policy", "policy", nil, "policy of all other layers; the global one without it" },
  { "policy_map", "any", nil, "policies by pattern", dict = true },
}, init = function(self)
  if type(self.default_policy) == "table" then
    errors.raise("DTypePolicyMap", "default_policy cannot be a DTypePolicyMap")
  end
  path_map.begin(self, "policy_map")
end })

class.properties(DTypePolicyMap, {
  name = function(self) return "map_" .. (rawget(self, "default_policy") or global()) end,
  compute_dtype = function(self)
    return DTypePolicy(rawget(self, "default_policy")).compute_dtype
  end,
  variable_dtype = function(self)
    return DTypePolicy(rawget(self, "default_policy")).variable_dtype
  end,
})

path_map.install(DTypePolicyMap, "policy_map", "a policy", function(_, value)
  local name, expected, near = check.types.policy(value)
  if type(name) ~= "string" then
    errors.raise("DTypePolicyMap", "takes policies (expected %s, got %s)%s",
      expected or "a name", check.show(value), near or "")
  end
  return name
end, function(self) return rawget(self, "default_policy") or global() end)

function DTypePolicyMap:__tostring()
  return ("DTypePolicyMap %s, %d pattern%s"):format(self.name, #self, #self == 1 and "" or "s")
end

--- A policy's name, or a DTypePolicyMap as it is, from a name, an object or a configuration.
---
---     tide.dtype_policies.get "float16"   --> "float16"
local function get(v)
  if check.is_plain(v) then
    v = registry.resolve("dtype_policy", v, "dtype_policies.get")
  end
  local found, expected, near = check.types.policy(v)
  if not found then
    errors.raise("dtype_policies.get", "takes a policy (expected %s, got %s)%s", expected,
      check.show(v), near or "")
  end
  return found
end

return object.namespace("tide.dtype_policies", "dtype_policy", { members = {
  DTypePolicy = DTypePolicy, DTypePolicyMap = DTypePolicyMap, FloatDTypePolicy = DTypePolicy },
  bases = { FloatDTypePolicy = true }, aliases = {}, get = get })

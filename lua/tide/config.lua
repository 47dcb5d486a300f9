--- What holds for all that is made from now on; called, it tells what runs.
local check = require "tide.check"
local errors = require "tide.errors"
local namespace = require "tide.namespace"

--- The policy of layers that are made without `dtype`.
---     tide.config.dtype_policy() == "float32"   --> true
--- @return string
local function dtype_policy()
  return require("tide.layers.base")._policy()
end

--- Sets the policy of layers that are made without `dtype` from now on, and returns the one before.
--- "mixed_bfloat16" and "mixed_float16": weights are float32, layers compute in the half. A dtype:
--- both are of it. Models and Inputs that are there already stay as they are.
---
--- In float16 gradients below 6e-8 are lost; bfloat16 has the range of float32.
---     tide.config.set_dtype_policy "float32"
--- @param policy string
--- @return string before
local function set_dtype_policy(policy)
  local name, _, near = check.types.policy(policy)
  if not name or not (check.mixed[name] or name:find("float", 1, true)) then
    errors.raise("set_dtype_policy", "takes a policy (expected %s, got %s)%s",
      "mixed_bfloat16, mixed_float16 or a floating dtype", check.show(policy), near or "")
  end
  return require("tide.layers.base")._policy(name)
end

local config = namespace.new("tide.config", {}, { members = { dtype_policy = dtype_policy,
  set_dtype_policy = set_dtype_policy } })
getmetatable(config).__call = function()
  return require("tide.runtime").report()
end

return config

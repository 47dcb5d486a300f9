--- What holds for all that is made from now on; called, it tells what runs.
local check = require "tide.check"
local core = require "tide.core"
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
---
--- What computes: where `tide.config().bfloat16` is "AVX-512 BF16", products of dense layers, of
--- the projections of attention and of the inputs of recurrent layers, and convolutions, multiply
--- bfloat16 by the CPU's own instructions and add up in float32. Elsewhere ("as float32") that is
--- emulated: numbers are rounded to bfloat16 and multiplied as float32, which saves half the memory
--- of what layers keep and costs about a fifth more time than float32. What attention does between
--- its projections, the recurrent products and float16 are multiplied as float32 on every CPU.
---
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

--- Deterministic mode, in all coroutines: from now on what draws random numbers raises unless
--- `tide.seed` was called before or it has a seed of its own (initial weights, dropout, shuffles,
--- random ops and pictures), so that no result depends on what the process drew earlier. Nothing
--- else needs refusing: equal seeds give equal bits, for any number of threads and of workers that
--- read pictures. `tide.deterministic` is the same for a block.
---
---     tide.seed(1)
---     local before = tide.config.enable_op_determinism()
---     tide.config.enable_op_determinism(before)
--- @param on boolean|nil true when left out
--- @return boolean before
local function enable_op_determinism(on)
  if on ~= nil and type(on) ~= "boolean" then
    errors.raise("enable_op_determinism", "on must be a boolean (got %s)", check.show(on))
  end
  return core.determined(on ~= false)
end

--- Whether the coroutine that asks is in deterministic mode, by `enable_op_determinism` or by
--- `tide.deterministic`.
---     tide.config.is_op_determinism_enabled()   --> false
--- @return boolean
local function is_op_determinism_enabled()
  return core.determined()
end

local config = namespace.new("tide.config", {}, { members = { dtype_policy = dtype_policy,
  set_dtype_policy = set_dtype_policy, enable_op_determinism = enable_op_determinism,
  is_op_determinism_enabled = is_op_determinism_enabled } })
getmetatable(config).__call = function()
  return require("tide.runtime").report()
end

return config

--- Constraints: objects called with a weight after each update that return its projection, a new
--- tensor.
local check = require "tide.check"
local core = require "tide.core"
local object = require "tide.object"
local ops = require "tide.ops"
local registry = require "tide.registry"

local EPSILON = 1e-7

--- The base class of constraints. Own ones define `call(self, w)`, which returns the projection.
---
---     local Halving = tide.constraints.Constraint:extend("Halving", {
---       call = function(self, w) return w * 0.5 end })
---     Halving()(tide.ones { 2 })   --> { 0.5, 0.5 }
local Constraint = object.class("Constraint", nil, { kind = "constraint",
  methods = { __call = { { "w", "data", check.required, "a weight" } } } })
Constraint.__eq = object.equal

function Constraint:__call(w)
  return self:call(w)
end

local members, aliases = { Constraint = Constraint }, {}
local define = object.family(Constraint, members, aliases)

local axis = { "axis", "axes", 1, "axes of the norm; 1 for the inputs of a Dense kernel" }

local function norms(self, w)
  return core.ops.vector_norm_(w, { axis = self.axis, keepdims = true })
end

--     tide.constraints.MaxNorm { 1 }(tide.tensor { { 3 }, { -4 } })   --> { { 0.6 }, { -0.8 } }
define("MaxNorm", { { "max_value", "number", 2, "largest norm", min = 0 }, axis }, function(self, w)
  local n = norms(self, w)
  return w * (ops.clip(n, 0, self.max_value) / (n + EPSILON))
end)

--     tide.constraints.NonNeg()(tide.tensor { { 3 }, { -4 } })   --> { { 3 }, { 0 } }
define("NonNeg", {}, function(_, w)
  return ops.maximum(w, 0)
end)

--     tide.constraints.UnitNorm()(tide.tensor { { 3 }, { -4 } })   --> { { 0.6 }, { -0.8 } }
define("UnitNorm", { axis }, function(self, w)
  return w / (norms(self, w) + EPSILON)
end)

--     tide.constraints.MinMaxNorm { 0.5, 1 }(tide.tensor { { 3 }, { -4 } })
--     --> { { 0.6 }, { -0.8 } }
define("MinMaxNorm", {
  { "min_value", "number", 0, nil, min = 0 },
  { "max_value", "number", 1, nil, min = 0 },
  { "rate", "number", 1, "share of the correction applied", min = 0, max = 1 },
  axis,
}, function(self, w)
  local n = norms(self, w)
  local desired = ops.clip(n, self.min_value, self.max_value) * self.rate + n * (1 - self.rate)
  return w * (desired / (n + EPSILON))
end)

--- A constraint from a name, a configuration, an object or a function of a tensor.
local function get(v)
  return registry.resolve("constraint", v, "constraint")
end

return object.namespace("tide.constraints", "constraint", { members = members, aliases = aliases,
  bases = { Constraint = true }, get = get })

--- Regularizers: objects called with a weight (or an activation) that return a penalty, a 0-d
--- tensor.
local check = require "tide.check"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"
local registry = require "tide.registry"

--- The base class of regularizers. Own ones define `call(self, x)`, which returns the penalty.
---
---     local Sizes = tide.regularizers.Regularizer:extend("Sizes", {
---       call = function(self, x) return x:abs():sum() end })
---     Sizes()(tide.ones { 2 })   --> 2
local Regularizer = object.class("Regularizer", nil, { kind = "regularizer",
  methods = { __call = { { "x", "data", check.required, "a weight or an activation" } } } })
Regularizer.__eq = object.equal

function Regularizer:__call(x)
  return self:call(x)
end

local members, aliases = { Regularizer = Regularizer }, {}
local define = object.family(Regularizer, members, aliases)

local abs, sum, square = ops.abs, ops.sum, ops.square

-- A penalty of zero leaves its ops out.
local function l1l2(self, x)
  local total
  if self.l1 and self.l1 ~= 0 then
    total = sum(abs(x)) * self.l1
  end
  if self.l2 and self.l2 ~= 0 then
    local part = sum(square(x)) * self.l2
    total = total and total + part or part
  end
  return total or ops.zeros({}, { dtype = x.dtype })
end

--- l1 times the sum of absolute values.
--     tide.regularizers.L1 { 0.1 }(tide.tensor { 1, -2 })   --> 0.3
define("L1", { { "l1", "number", 0.01, "factor of the sum of absolute values", min = 0 } }, l1l2)
--- l2 times the sum of squares.
--     tide.regularizers.L2 { 0.1 }(tide.tensor { 1, -2 })   --> 0.5
define("L2", { { "l2", "number", 0.01, "factor of the sum of squares", min = 0 } }, l1l2)
--- l1 times the absolute values plus l2 times the squares.
--     tide.regularizers.L1L2 { 0.1, 0.01 }(tide.tensor { 1, -2 })   --> 0.35
define("L1L2", { { "l1", "number", 0, nil, min = 0 }, { "l2", "number", 0, nil, min = 0 } }, l1l2)
aliases.l1_l2, aliases.l1l2 = "L1L2", "L1L2"

--- A penalty on rows (or columns) of a matrix that are not orthogonal.
--     tide.regularizers.OrthogonalRegularizer()(tide.ops.eye(2))   --> 0
define("OrthogonalRegularizer", {
  { "factor", "number", 0.01, nil, min = 0 },
  { "mode", "enum", "rows", "what becomes orthogonal", of = "rows|columns" },
}, function(self, x)
  if x.ndim ~= 2 then
    errors.raise("OrthogonalRegularizer", "takes matrices (got the shape %s)", tostring(x.shape))
  end
  if self.mode == "columns" then
    x = ops.transpose(x)
  end
  local norm = ops.sqrt(ops.maximum(sum(square(x), { axis = 2, keepdims = true }), 1e-12))
  local unit = x / norm
  local size = x.shape[1]
  local product = ops.matmul(unit, ops.transpose(unit)) * (
    1 - ops.eye(size, size, { dtype = x.dtype }))
  return sum(abs(product)) * (self.factor * 0.5 / (size * (size - 1) / 2))
end)

--- A regularizer from a name, a configuration, an object or a function of a tensor.
local function get(v)
  if type(v) == "userdata" then
    errors.raise("regularizer", "takes no tensor (got %s)", check.show(v))
  end
  return registry.resolve("regularizer", v, "regularizer")
end

return object.namespace("tide.regularizers", "regularizer", { members = members, aliases = aliases,
  bases = { Regularizer = true }, get = get })

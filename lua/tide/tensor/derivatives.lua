--- Whole tables of derivatives: Jacobians and Hessians of functions of tensors.
local core = require "tide.core"
local errors = require "tide.errors"
local check = require "tide.check"
local ops = require "tide.ops"

local derivatives = {}

local options_args = check.args("jacobian", {
  { "create_graph", "bool", false, "the result can be differentiated again" },
})

-- The argument of f as a leaf of its own, unless it carries gradients already and the outer ones
-- are wanted.
local function leaf_of(where, f, x, create)
  if type(f) ~= "function" and not (type(f) == "table" and (getmetatable(f) or {}).__call) then
    errors.raise(where, "takes a function of a tensor (got %s)", check.show(f))
  end
  if not core.is_tensor(x) then
    if type(x) ~= "number" and not check.is_list(x) then
      errors.raise(where, "the argument must be a tensor (got %s)", check.show(x))
    end
    x = core.tensor(x)
  end
  if create and x.requires_grad then
    return x
  end
  x = x:detach()
  x.requires_grad = true
  return x
end

-- Gradients of every element of y, one after the other, as rows of (elements of y, shape of x).
local function rows_of(y, x, create)
  local shape, n = x.shape:totable(), y.size
  local flat = ops.reshape(y, { n })
  local rows = {}
  for i = 1, n do
    local seed = ops.reshape(ops.one_hot(core.tensor({ i }, { dtype = "int32" }), n,
      { dtype = y.dtype }), { n })
    local g = core.gradients(flat, { x }, { gradient = seed, retain_graph = true,
      create_graph = create })[1]
    rows[i] = g or ops.zeros(shape, { dtype = x.dtype })
  end
  return rows
end

local function jacobian(where, f, x, create)
  local y = core.enable_grad(f, x)
  if not core.is_tensor(y) then
    errors.raise(where, "the function must return a tensor (got %s)", check.show(y))
  end
  local shape = y.shape:totable()
  for _, n in ipairs(x.shape) do
    shape[#shape + 1] = n
  end
  if y.size == 0 or not y.requires_grad then
    return ops.zeros(shape, { dtype = x.dtype })
  end
  return ops.reshape(ops.stack(rows_of(y, x, create)), shape)
end

--- The derivative of every element of f(x) with respect to every element of x: a tensor of the
--- shape of f(x), then that of x. One backward walk per element of f(x). PyTorch's
--- torch.autograd.functional.jacobian, JAX's jacrev.
---
---     tide.jacobian(function(x) return x * x end, tide.tensor { 1, 2 })
---       --> { { 2, 0 }, { 0, 4 } }
--- @param f function from a tensor to a tensor
--- @param x userdata
--- @param options table|nil { create_graph = false }
--- @return userdata
function derivatives.jacobian(f, x, options)
  local create = options_args:call(options or {}).create_graph
  local y = jacobian("jacobian", f, leaf_of("jacobian", f, x, create), create)
  return create and y or y:detach()
end

--- The second derivatives of a function that returns one number: a tensor of the shape of x twice.
--- PyTorch's torch.autograd.functional.hessian, JAX's hessian.
---
---     tide.hessian(function(x) return (x ^ 3):sum() end, tide.tensor { 1, 2 })
---       --> { { 6, 0 }, { 0, 12 } }
--- @param f function from a tensor to a tensor of one element
--- @param x userdata
--- @param options table|nil { create_graph = false }
--- @return userdata
function derivatives.hessian(f, x, options)
  local create = options_args:call(options or {}).create_graph
  local leaf = leaf_of("hessian", f, x, create)
  local h = jacobian("hessian", function(v)
    local y = f(v)
    if not core.is_tensor(y) or y.size ~= 1 then
      errors.raise("hessian", "the function must return one number (got %s)",
        core.is_tensor(y) and "shape " .. tostring(y.shape) or check.show(y))
    end
    if not y.requires_grad then
      return ops.zeros(v.shape:totable(), { dtype = v.dtype })
    end
    return core.gradients(y, { v }, { create_graph = true })[1] or ops.zeros_like(v)
  end, leaf, create)
  return create and h or h:detach()
end

return derivatives

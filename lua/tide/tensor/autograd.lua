--- Gradients of functions, custom gradients, scopes. The tape itself is in C.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local autograd = {}

-- Runs f(...) for its loss; the other results come back too.
local function loss_of(where, results)
  local loss = results[1]
  if not core.is_tensor(loss) then
    errors.raise(where, "the function must return a tensor first (got %s)", type(loss))
  end
  return loss
end

-- Leaves that stand for the given tensors inside one call.
-- Also whether one of them already carries gradients: then the result must too, for the gradient
-- outside.
local function leaves_of(where, n, ...)
  local leaves, nested = { ... }, false
  for i = 1, n do
    local x = leaves[i]
    if not core.is_tensor(x) then
      if type(x) ~= "number" and type(x) ~= "table" then
        errors.raise(where, "argument %d must be a tensor (got %s)", i, type(x))
      end
      x = core.tensor(x)
    end
    if not x.requires_grad then -- inside of another gradient the outer graph stays attached
      x = x:detach()
      x.requires_grad = true
    end
    nested = nested or leaves[i] == x
    leaves[i] = x
  end
  return leaves, nested
end

local function run(where, f, vars, options, ...)
  if type(f) ~= "function"
    and not (type(f) == "table" and getmetatable(f) and getmetatable(f).__call) then
    errors.raise(where, "takes a function that returns a loss (got %s)", type(f))
  end
  local results = table.pack(core.differentiate(f, ...))
  return results, core.gradients(loss_of(where, results), vars, options)
end

local known = { "create_graph", "retain_graph" }

-- Inside a function whose own gradient is asked for, gradients keep their graph.
local function creates_graph(options, nested)
  if options and options.create_graph ~= nil then
    return options.create_graph
  end
  return nested or core.differentiating()
end

local function options_of(where, options, nested)
  if options ~= nil then
    check.refuse_unknown(where, options, known)
  end
  return { create_graph = creates_graph(options, nested),
    retain_graph = options and options.retain_graph }
end

--- `local loss, grads = tide.value_and_grad(f, vars)` calls `f()` and returns its results, then the
--- gradients of the first one
-- with respect to the list `vars` (false where nothing depends on it).
-- Without `vars` it returns a function: `tide.value_and_grad(f)(x, y)` gives the results of `f(x,
-- y)`, then the gradient with respect to each argument (JAX's value_and_grad).
--- @param f function returns a one-element tensor first
--- @param vars table|nil list of tensors that require gradients
--- @param options table|nil { create_graph = true }: the gradients can be differentiated again, the
---   default inside a function whose own gradient is asked for
--- @usage local loss, grads = tide.value_and_grad(function() return (w * w):sum() end, { w })
function autograd.value_and_grad(f, vars, options)
  if vars == nil or (type(vars) == "table" and #vars == 0 and next(vars)) then
    options = vars or options
    return function(...)
      local n = select("#", ...)
      local leaves, nested = leaves_of("value_and_grad", n, ...)
      local results, grads = run("value_and_grad", f, leaves,
        options_of("value_and_grad", options, nested), table.unpack(leaves, 1, n))
      for i = 1, n do
        results[results.n + i] = grads[i]
      end
      return table.unpack(results, 1, results.n + n)
    end
  end
  local results, grads = run("value_and_grad", f, vars, options_of("value_and_grad", options))
  results[results.n + 1] = grads
  return table.unpack(results, 1, results.n + 1)
end

--- Gradients alone. `tide.grad(f, vars)` calls `f()`; `tide.grad(f)` is the function of the
--- tensors' gradients (JAX's grad);
-- `tide.grad(loss, vars, { create_graph = true })` differentiates a tensor that is already there
-- (torch.autograd.grad).
--- @usage local dw = tide.grad(function() return (w * w):sum() end, { w })[1]
function autograd.grad(f, vars, options)
  if core.is_tensor(f) then
    local list = core.is_tensor(vars) and { vars } or vars
    if type(list) ~= "table" then
      errors.raise("grad", "needs the tensors to differentiate by, as a list (got %s)", type(vars))
    end
    if options ~= nil then
      check.refuse_unknown("grad", options,
        { "create_graph", "retain_graph", "gradient", "sparse" })
    end
    local o = options or {}
    return core.gradients(f, list, { create_graph = creates_graph(options),
      retain_graph = o.retain_graph, gradient = o.gradient, sparse = o.sparse })
  end
  if vars == nil or (type(vars) == "table" and #vars == 0 and next(vars)) then
    options = vars or options
    return function(...)
      local n = select("#", ...)
      local leaves, nested = leaves_of("grad", n, ...)
      local _, grads = run("grad", f, leaves, options_of("grad", options, nested),
        table.unpack(leaves, 1, n))
      return table.unpack(grads, 1, n)
    end
  end
  local _, grads = run("grad", f, vars, options_of("grad", options))
  return grads
end

--- Calls `f(...)` without recording; the mode comes back however `f` ends. `f` may yield: the mode
--- is that of its coroutine.
autograd.no_grad = core.no_grad
--- Calls `f(...)` while recording.
autograd.enable_grad = core.enable_grad

--- A function with a gradient of its own: `f(x, ...)` returns its results and a function from their
--- gradients to the inputs'.
-- The forward runs unrecorded. Keras: keras.ops.custom_gradient.
--     tide.custom_gradient(function(x)
--       local e = x:exp()
--       return (e + 1):log(), function(dy) return dy * (1 - 1 / (1 + e)) end end)(tide.zeros { 1 })
--       --> { 0.693147 }
function autograd.custom_gradient(f)
  if type(f) ~= "function" then
    errors.raise("custom_gradient", "takes a function (got %s)", type(f))
  end
  return function(...)
    local args = table.pack(...)
    local inputs, plain = {}, table.pack(...)
    for i = 1, args.n do
      if core.is_tensor(args[i]) then
        inputs[#inputs + 1] = args[i]
        plain[i] = args[i]:detach()
      end
    end
    local results = table.pack(core.no_grad(f, table.unpack(plain, 1, args.n)))
    local rule = results[results.n]
    if type(rule) ~= "function" or results.n < 2 then
      errors.raise(
        "custom_gradient",
        "the function must return its results and then the gradient function (got %s last)",
          type(rule))
    end
    results[results.n] = nil
    return core.record_custom(inputs, results, rule)
  end
end

local jvp_args = check.args("jvp", {
  { "fun", "callable", check.required, "a function of tensors that returns one, or a list" },
  { "primals", "any", check.required, "the arguments: a list of tensors" },
  { "tangents", "any", check.required, "the direction: a tensor of the same shape for each" },
  { "has_aux", "bool", false, "the function returns something else behind its result" },
})

local function tensors_of(name, v)
  if not check.is_list(v) then
    errors.raise("jvp", "%s must be a list of tensors (got %s)", name, check.show(v))
  end
  local out = {}
  for i, x in ipairs(v) do
    if not core.is_tensor(x) and type(x) ~= "number" and not check.is_list(x) then
      errors.raise("jvp", "%s[%d] must be a tensor (got %s)", name, i, check.show(x))
    end
    out[i] = core.is_tensor(x) and x or core.tensor(x)
  end
  return out
end

-- The argument of the function, and its tangent in its dtype.
local function checked_pair(i, x, tangent, n, m)
  if n ~= m then
    errors.raise("jvp", "primals and tangents must be equally many (got %d and %d)", n, m)
  elseif x.shape ~= tangent.shape then
    errors.raise("jvp", "tangents[%d] has another shape than its primal (expected %s, got %s)", i,
      tostring(x.shape), tostring(tangent.shape))
  elseif not x.requires_grad then
    x = x:detach()
    x.requires_grad = true
  end
  return x, tangent.dtype == x.dtype and tangent or tangent:cast(x.dtype)
end

--- The result of a function of tensors, and how it changes where its arguments move in a direction:
--- the Jacobian times the tangents, exact, by two walks backward (the second derivatives' way,
--- which every op on the way must have). Keras: ops.jvp, JAX: jax.jvp.
---
---     tide.jvp(tide.ops.sin, { 0.1 }, { 0.2 })   --> 0.099833
--- @param fun function from tensors to a tensor or a list of them
--- @param primals table list of tensors
--- @param tangents table list of tensors
--- @param has_aux boolean|nil the function returns (result, aux); aux comes back third
--- @return any result, any tangents of the result, any aux
function autograd.jvp(...)
  local o = jvp_args:call(...)
  local x, t = tensors_of("primals", o.primals), tensors_of("tangents", o.tangents)
  local outer = false
  for i = 1, math.max(#x, #t) do
    outer = outer or x[i] ~= nil and x[i].requires_grad or t[i] ~= nil and t[i].requires_grad
    x[i], t[i] = checked_pair(i, x[i], t[i], #x, #t)
  end
  local y, aux = core.enable_grad(o.fun, table.unpack(x))
  local one = core.is_tensor(y)
  local results = one and { y } or y
  if not one and not check.is_list(y) then
    errors.raise("jvp", "the function must return a tensor or a list of them (got %s)",
      check.show(y))
  end
  local out, values = {}, {}
  core.enable_grad(function()
    local sum, seeds = 0, {}
    for k, v in ipairs(results) do
      if not core.is_tensor(v) then
        errors.raise("jvp", "result %d of the function must be a tensor (got %s)", k, check.show(v))
      end
      seeds[k] = core.zeros(v.shape:totable(), { dtype = v.dtype })
      seeds[k].requires_grad = true
      sum = v.requires_grad and (v * seeds[k]):sum() + sum or sum
    end
    local along = 0
    for i, g in pairs(core.is_tensor(sum)
      and core.gradients(sum, x, { create_graph = true }) or {}) do
      along = (g * t[i]):sum() + along
    end
    local moved = core.is_tensor(along) and along.requires_grad
      and core.gradients(along, seeds, { create_graph = outer }) or {}
    for k, v in ipairs(results) do
      local d = moved[k] or core.zeros(v.shape:totable(), { dtype = v.dtype })
      out[k], values[k] = outer and d or d:detach(), outer and v or v:detach()
    end
  end)
  local result, tangent = one and values[1] or values, one and out[1] or out
  if o.has_aux then
    return result, tangent, aux
  end
  return result, tangent
end

-- Scopes
-- ---------------------------------------------------------------------------------------------

local Scope = { __name = "tide.scope" }
Scope.__index = Scope

--- `local s <close> = tide.scope()`: when the block ends, every tensor made inside is released,
--- except what `s:keep(...)` named and what outlives a call by itself: weights, states and slots
--- of layers, metrics and optimizers, and what `fit`, `evaluate` and passes over data sets make
--- (the collector takes that). For loops written by hand that want memory back at once; nothing
--- else needs it.
---
---     do local s <close> = tide.scope() s:keep(tide.ones { 2 } * 2) end
function autograd.scope(...)
  if select("#", ...) > 0 then
    errors.raise("scope", "takes no argument (got %s); it ends with its block: local s <close> = \z
      tide.scope()", type((...)))
  end
  return setmetatable({ mark = core.scope_begin() }, Scope)
end

local function keep(self, x, seen)
  if core.is_tensor(x) then
    core.scope_keep(self.mark, x)
  elseif type(x) == "table" and not seen[x] then
    seen[x] = true
    for _, y in next, x do
      keep(self, y, seen)
    end
  end
end

--- Keeps tensors, and those in tables, models and whatever these refer to, beyond the scope;
--- returns them.
function Scope:keep(...)
  local seen = {}
  for i = 1, select("#", ...) do
    keep(self, (select(i, ...)), seen)
  end
  return ...
end

function Scope:__close()
  core.scope_end(self.mark)
  self.ended = true
end

-- One that was dropped before it ended lets go of what it noted, and notes nothing more.
function Scope:__gc()
  local mark = self.mark
  if not self.ended then
    mark.pause = true
    for i = #mark, 1, -1 do
      mark[i] = nil
    end
  end
end

return autograd

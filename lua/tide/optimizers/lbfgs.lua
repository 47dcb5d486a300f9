--- L-BFGS, as PyTorch has it: steps along directions that the last changes of the gradient give,
--- with a line search by the strong Wolfe conditions (Nocedal and Wright 2006, chapters 3 and 7).
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local object = require "tide.object"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"

local Optimizer = require("tide.optimizers.base").Optimizer

local C1, C2 = 1e-4, 0.9 -- sufficient decrease, curvature

local function dot(a, b)
  return tensors.number(ops.sum(ops.multiply(a, b)))
end

local function largest(x)
  return tensors.number(ops.max(ops.abs(x)))
end

-- Where the cubic through two points with slopes is lowest, within limits.
local function cubic(a, b, least, most)
  least, most = least or math.min(a.t, b.t), most or math.max(a.t, b.t)
  local d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
  local square = d1 * d1 - a.slope * b.slope
  if square < 0 or square ~= square then
    return (least + most) / 2
  end
  local d2 = math.sqrt(square)
  if a.t > b.t then
    a, b = b, a
  end
  local t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
  return math.min(math.max(t, least), most)
end

-- Two points between which a good one lies, or one that is good; then how many were looked at.
local function bracket(at, t, origin, limit)
  local before, now, n = origin, at(t), 0
  while n < limit do
    if now.loss > origin.loss + C1 * now.t * origin.slope
      or (n > 1 and now.loss >= before.loss) then
      return { before, now }, n
    elseif math.abs(now.slope) <= -C2 * origin.slope then
      return { now }, n
    elseif now.slope >= 0 then
      return { before, now }, n
    end
    local next_t = cubic(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10)
    before, now, n = now, at(next_t), n + 1
  end
  return { origin, now }, n
end

-- The point that a line search takes, after at most `limit` points beyond the first.
local function search(at, t, origin, size, tolerance, limit)
  local ends, n = bracket(at, t, origin, limit)
  if not ends[2] then
    return ends[1]
  end
  local slow = false
  local low, high = 1, 2
  if ends[1].loss > ends[2].loss then
    low, high = 2, 1
  end
  while n < limit and math.abs(ends[2].t - ends[1].t) * size >= tolerance do
    t = cubic(ends[1], ends[2])
    local least, most = math.min(ends[1].t, ends[2].t), math.max(ends[1].t, ends[2].t)
    local margin = 0.1 * (most - least)
    if math.min(most - t, t - least) < margin then
      if slow or t >= most or t <= least then
        t = math.abs(t - most) < math.abs(t - least) and most - margin or least + margin
        slow = false
      else
        slow = true
      end
    else
      slow = false
    end
    local now = at(t)
    n = n + 1
    if now.loss > origin.loss + C1 * t * origin.slope or now.loss >= ends[low].loss then
      ends[high] = now
      low, high = 1, 2
      if ends[1].loss > ends[2].loss then
        low, high = 2, 1
      end
    else
      if math.abs(now.slope) <= -C2 * origin.slope then
        return now
      elseif now.slope * (ends[high].t - ends[low].t) >= 0 then
        ends[high] = ends[low]
      end
      ends[low] = now
    end
  end
  return ends[low]
end

--- L-BFGS (Liu and Nocedal 1989), for functions whose loss and gradients are exact: whole data sets
--- and small models. A step evaluates the loss several times, so it takes the function:
--- `optimizer:step(f, variables)`. `fit` runs each batch as often as it asks, dropout drawing the
--- same each time; logs are those of the first.
---     tide.optimizers.LBFGS { line_search_fn = "strong_wolfe" }.max_iter   --> 20
local LBFGS = object.class("LBFGS", Optimizer, { rows = {
  { "learning_rate", "any", 1.0, "length of a step, the first one of a line search" },
  { "max_iter", "int", 20, "directions per step", min = 1 },
  { "max_eval", "int", nil, "evaluations per step (1.25 max_iter)", min = 1 },
  { "tolerance_grad", "number", 1e-7, "largest gradient of a solution", min = 0 },
  { "tolerance_change", "number", 1e-9, "smallest change of loss and parameters", min = 0 },
  { "history_size", "int", 100, "changes that are kept", min = 1 },
  { "line_search_fn", "string", nil, "how the length is found (as the rate says)",
    enum = { "strong_wolfe" } },
  { "name", "string", nil, "shown in messages" },
}, init = function(self)
  self._past = { changes = {}, steps = {} }
end, methods = { step = { { "f", "any", nil, "function without arguments that gives the loss" },
  { "variables", "any", nil, "tensors to change" } } } })

function LBFGS._apply()
  errors.raise("LBFGS", "a step evaluates the loss several times; use optimizer:step(f, \z
    variables), f giving the loss, in place of apply")
end
LBFGS._evaluates = true -- training/steps.lua gives it the loss as a function

-- The dtype of directions and gradients: halves are too coarse for their products.
local function wide(variables)
  for _, v in ipairs(variables) do
    if v.dtype == "float64" then
      return "float64"
    end
  end
  return "float32"
end

local function flat(all, dtype)
  local out = {}
  for i, t in ipairs(all) do
    out[i] = ops.reshape(t.dtype == dtype and t or ops.cast(t, dtype), { -1 })
  end
  return #out == 1 and out[1] or ops.concatenate(out, { axis = 1 })
end

-- Loss and flat gradient where the variables are.
local function evaluate(f, variables)
  if not check.types.callable(f) then
    errors.raise("LBFGS", "takes a function that gives the loss (got %s)", check.show(f))
  end
  local loss = f()
  if core.is_tensor(loss) and loss.ndim > 0 and loss.size ~= 1 then
    errors.raise("LBFGS", "the function must return one number (expected shape (), got %s)",
      tostring(loss.shape))
  elseif not core.is_tensor(loss) or not loss.requires_grad then
    errors.raise("LBFGS", "the function must return a loss that depends on the variables")
  end
  local free, given = {}, {}
  for _, v in ipairs(variables) do
    free[#free + 1] = v.requires_grad and v or nil
  end
  local of_free = core.gradients(loss, free)
  for i, v in ipairs(free) do
    given[v] = of_free[i] or nil
  end
  local _ <close> = core.recording(false)
  local grads = {}
  for i, v in ipairs(variables) do -- a frozen one stays: its gradient is 0, and so are its steps
    grads[i] = given[v] or ops.zeros_like(v)
  end
  return loss:item(), flat(grads, wide(variables))
end

-- What is known of the curvature belongs to the variables that were free then: with others it
-- starts anew. A state out of a file knows them by the gradients that are 0.
local function settle_frozen(self, variables)
  local past, at, same, key = self._past, 0, true, {}
  for i, v in ipairs(variables) do
    key[i] = v.requires_grad and "1" or "0"
    if not v.requires_grad and past.gradient and not self._free then
      same = same and largest(ops.slice(past.gradient, { at + 1 }, { v.size })) == 0
    end
    at = at + v.size
  end
  key = table.concat(key)
  if not same or self._free and self._free ~= key then
    self._past = { changes = {}, steps = {} }
  end
  self._free = key
end

local function write(variables, values)
  local at = 0
  for _, v in ipairs(variables) do
    local n = v.size
    local part = ops.reshape(ops.slice(values, { at + 1 }, { n }), v.shape)
    v:assign(v.dtype == values.dtype and part or ops.cast(part, v.dtype))
    at = at + n
  end
end

-- The direction that the kept changes give.
local function direction(past, gradient)
  local d, share = ops.negative(gradient), {}
  for i = #past.changes, 1, -1 do
    local y, s = past.changes[i], past.steps[i]
    share[i] = dot(s, d) / dot(y, s)
    d = ops.subtract(d, ops.multiply(y, share[i]))
  end
  d = ops.multiply(d, past.scale)
  for i = 1, #past.changes do
    local y, s = past.changes[i], past.steps[i]
    d = ops.add(d, ops.multiply(s, share[i] - dot(y, d) / dot(y, s)))
  end
  return d
end

local function remember(self, gradient)
  local past = self._past
  local y, s = ops.subtract(gradient, past.gradient), ops.multiply(past.direction, past.t)
  local product = dot(y, s)
  if product > 1e-10 then
    if #past.changes == self.history_size then
      table.remove(past.changes, 1)
      table.remove(past.steps, 1)
    end
    table.insert(past.changes, y)
    table.insert(past.steps, s)
    past.scale = product / dot(y, y)
  end
end

--- Lowers the loss by up to `max_iter` directions.
---
---     local w = tide.tensor({ 3.0 }, { requires_grad = true })
---     local o = tide.optimizers.LBFGS { line_search_fn = "strong_wolfe" }
---     o:step(function() return tide.ops.sum((w - 1) ^ 2) end, { w })
---     w:item()   --> 1.0
---
--- @param f function gives the loss; called several times
--- @param variables table|nil tensors to change (those of the first step)
--- @return number loss before the step
function LBFGS:step(f, variables)
  if not self.built then
    if not variables then
      errors.raise("LBFGS", "the first step needs the variables (optimizer:step(f, variables))")
    end
    self:build(variables)
  end
  variables = self._params
  settle_frozen(self, variables)
  local past, rate = self._past, self:_current_rate()
  local loss, gradient = evaluate(f, variables)
  local first, evaluations, most = loss, 1, self.max_eval or self.max_iter * 5 // 4
  for k = 1, largest(gradient) <= self.tolerance_grad and 0 or self.max_iter do
    local _ <close> = core.recording(false)
    self._iterations = self._iterations + 1
    local t = rate
    if not past.gradient then
      past.direction, past.scale = ops.negative(gradient), 1
      t = math.min(1, 1 / tensors.number(ops.sum(ops.abs(gradient)))) * rate
    else
      remember(self, gradient)
      past.direction = direction(past, gradient)
    end
    past.gradient, past.t = gradient, t
    local d, before = past.direction, loss
    local slope = dot(gradient, d)
    if slope > -self.tolerance_change then
      break
    end
    local start = ops.copy(flat(variables, d.dtype):detach()) -- one variable alone would be a view
    local function go(length)
      write(variables, ops.add(start, ops.multiply(d, length)))
    end
    local function at(length)
      go(length)
      local _ <close> = core.recording(true)
      local l, g = evaluate(f, variables)
      evaluations = evaluations + 1
      return { t = length, loss = l, gradient = g, slope = dot(g, d) }
    end
    if self.line_search_fn then
      local point = search(at, t, { t = 0, loss = loss, gradient = gradient, slope = slope },
        largest(d), self.tolerance_change, most - evaluations)
      loss, gradient, t = point.loss, point.gradient, point.t
      go(t)
    elseif k < self.max_iter then
      local point = at(t)
      loss, gradient = point.loss, point.gradient
    else
      go(t)
    end
    past.t = t
    if evaluations >= most or largest(gradient) <= self.tolerance_grad
      or largest(d) * t <= self.tolerance_change
      or math.abs(loss - before) < self.tolerance_change then
      break
    end
  end
  return first
end

-- ---- files ----

--- Makes room for the state of these parameters.
function LBFGS:build(variables, info)
  if not self.built then
    self:_take(variables, info)
    self.built = true
  end
end

--- The state that belongs to all parameters together, in files behind the numbers: what the
--- directions are made of, the last step's length and the scale.
LBFGS.extras = { "changes", "steps", "direction", "gradient", "lengths" }

local function stacked(vectors, like)
  return #vectors > 0 and ops.stack(vectors, { axis = 1 })
    or ops.zeros({ 0, like.size }, { dtype = like.dtype })
end

function LBFGS:_numbers()
  local out, past = Optimizer._numbers(self), self._past
  if past.gradient then
    local _ <close> = core.recording(false)
    out.extras = { changes = stacked(past.changes, past.gradient),
      steps = stacked(past.steps, past.gradient), direction = past.direction:detach(),
      gradient = past.gradient:detach(),
      lengths = core.tensor({ past.t, past.scale }, { dtype = "float64" }) }
  end
  return out
end

-- Raises unless the tensors of a file are those of a state of these parameters.
local function check_extras(self, t)
  local n = 0
  for _, v in ipairs(self._params or {}) do
    n = n + v.size
  end
  local rows = core.is_tensor(t.changes) and t.changes.ndim == 2 and t.changes.shape[1] or 0
  local want = { changes = { rows, n }, steps = { rows, n }, direction = { n }, gradient = { n },
    lengths = { 2 } }
  for _, name in ipairs(LBFGS.extras) do
    local v = t[name]
    if not core.is_tensor(v) or not list.equal(v.shape, want[name]) then
      errors.raise("LBFGS", "the state in the file does not fit (expected %s of shape %s, got %s)",
        name, list.format(want[name]), core.is_tensor(v) and tostring(v.shape) or check.show(v))
    end
  end
end

function LBFGS:_set_numbers(t)
  Optimizer._set_numbers(self, t)
  self._past = { changes = {}, steps = {} }
  if not t.extras then
    return
  end
  check_extras(self, t.extras)
  local _ <close> = core.recording(false)
  local past, from = self._past, t.extras
  local dtype = wide(self._params or {})
  local function taken(v)
    return ops.copy(ops.cast(v, dtype))
  end
  local rows = from.changes.shape[1]
  for i = math.max(1, rows - self.history_size + 1), rows do
    table.insert(past.changes, taken(from.changes[i]))
    table.insert(past.steps, taken(from.steps[i]))
  end
  past.direction, past.gradient = taken(from.direction), taken(from.gradient)
  local lengths = from.lengths:tolist()
  past.t, past.scale = lengths[1], lengths[2]
end

function LBFGS:_all_variables()
  local out, extras = Optimizer._all_variables(self), self:_numbers().extras
  for _, name in ipairs(extras and LBFGS.extras or {}) do
    out[#out + 1] = extras[name]
  end
  return out
end

--- Sets all state tensors, in the order of `variables`; those of an optimizer that made no step yet
--- are fewer.
function LBFGS:set_weights(weights)
  local head = #Optimizer._all_variables(self)
  if not self.built then
    errors.raise("LBFGS", "set_weights needs an optimizer that was built")
  elseif #weights ~= head and #weights ~= head + #LBFGS.extras then
    errors.raise("LBFGS", "set_weights takes another number of tensors (expected %d or %d, got %d)",
      head, head + #LBFGS.extras, #weights)
  end
  local numbers = { iterations = math.tointeger(tensors.number(weights[1])),
    learning_rate = head > 1 and tensors.number(weights[2]) or nil }
  if #weights > head then
    numbers.extras = {}
    for i, name in ipairs(LBFGS.extras) do
      numbers.extras[name] = weights[head + i]
    end
  end
  self:_set_numbers(numbers)
end

return { LBFGS = LBFGS }

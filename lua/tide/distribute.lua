--- Training by several processes: what stands between the gradients of this one and the step that
--- all make.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"
local object = require "tide.object"
local namespace = require "tide.namespace"

--- The base class of strategies, and the one that does nothing. The optimizer asks it where
--- gradients meet the weights: in `fit`, `train_on_batch` and `optimizer:apply` alike. Own ones
--- define
---
--- * `reduce_gradients(self, gradients, variables)`: returns the gradients to apply, one per
---   variable and each on its device; false where there is none, which has to stay.
---   With `gradient_accumulation_steps` the sums are asked about, once per step that is made.
--- * `agree(self, guard)`: before a step of `fit` or `train_on_batch`. The second element of
---   `guard` is 1 where the loss of the batch is NaN or infinite, so that the step will not be
---   made, and the first counts those steps; where one process has a bad loss, both must grow in
---   all.
---
--- Gradients are dense unless the class says `takes_rows = true`: then those of embedding tables
--- may be tensors of rows.
---
---     local Halves = tide.distribute.Strategy:extend("Halves", {
---       reduce_gradients = function(self, gradients)
---         local out = {}
---         for i, g in ipairs(gradients) do out[i] = g and g * 0.5 end
---         return out
---       end })
---     local optimizer = tide.optimizers.SGD { 1.0 }
---     optimizer.strategy = Halves()
---     local w = tide.zeros { 2 }
---     optimizer:apply({ tide.ones { 2 } }, { w })
---     w   --> { -0.5, -0.5 }
local Strategy = object.class("Strategy", nil, { kind = "strategy", rows = {} })
Strategy.takes_rows = false

--- The gradients to apply, from those of this process: here the same.
--- @param gradients table list of tensors; false where there is none
--- @param variables table their parameters, in the same order
--- @return table gradients
function Strategy:reduce_gradients(gradients, variables) -- luacheck: ignore self variables
  return gradients
end

--- Lets all processes leave out a step that one of them must leave out: here nothing.
--- @param guard userdata tensor of three elements; the second is 1 where the loss is bad
function Strategy:agree(guard) end -- luacheck: ignore self guard

local current, active = Strategy(), false -- active: the same, false where it does nothing

local function checked(v, where)
  if type(v) ~= "table" or type(v.reduce_gradients) ~= "function" then
    errors.raise(where, "takes a strategy (expected an object with reduce_gradients, got %s)",
      check.show(v))
  end
  return v
end

--- The strategy of optimizers that have none of their own (their field `strategy`).
---     tostring(tide.distribute.get_strategy()) == "Strategy"   --> true
local function get_strategy()
  return current
end

--- Sets the strategy of optimizers that have none of their own, and returns the one before.
---     tide.distribute.set_strategy(tide.distribute.Strategy())
--- @param strategy table
--- @return table before
local function set_strategy(strategy)
  local was = current
  current = checked(strategy, "set_strategy")
  active = getmetatable(current) ~= Strategy and current
  return was
end

-- The strategy that an optimizer asks, or false where there is nothing to ask.
local function of(optimizer)
  local s = optimizer.strategy
  return s and checked(s, optimizer.name) or active
end

-- What a strategy makes of gradients, looked at.
local function reduce(strategy, grads, variables, owner)
  local out = strategy:reduce_gradients(grads, variables)
  if type(out) ~= "table" or #out ~= #grads then
    errors.raise(owner, "reduce_gradients must return one gradient per variable (expected a list "
      .. "of %d, got %s)", #grads, type(out) == "table" and "one of " .. #out or check.show(out))
  end
  for i, g in ipairs(out) do
    local missing = not g or g == none
    if missing ~= (not grads[i] or grads[i] == none) or not missing and not core.is_tensor(g) then
      errors.raise(owner, "reduce_gradients must return a tensor where it was given one, and false "
        .. "where not (entry %d: got %s)", i, check.show(g))
    end
  end
  return out
end

return namespace.new("tide.distribute", { of = of, reduce = reduce },
  { members = { Strategy = Strategy, get_strategy = get_strategy, set_strategy = set_strategy } })

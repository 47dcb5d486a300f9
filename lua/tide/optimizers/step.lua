--- A step of an optimizer: from gradients to one call of its op for all parameters, with clipping,
--- decay, accumulation and moving averages. `tide.optimizers.base` installs all this in Optimizer.
local check = require "tide.check"
local core = require "tide.core"
local distribute = require "tide.distribute"
local errors = require "tide.errors"
local groups = require "tide.optimizers.groups"
local masters = require "tide.optimizers.masters"
local none = require "tide.none"
local object = require "tide.object"
local ops = require "tide.ops"
local tensors = require "tide.training.tensors"
local parts = require "tide.parts"

return function(Optimizer, like_all)

-- Says of what should be a list of tensors that it is none.
function Optimizer:_refuse_list(what, v)
  errors.raise(self:_class_name(), "%s must be a list of tensors (got %s)", what, check.show(v))
end

-- A step was left out for its loss; wrappers that count such steps take note.
function Optimizer._left_out()
end

--- Applies gradients to the parameters, in the order of `build`, or of `variables` when given.
--- @param grads table list of tensors; false where there is none
--- @param variables table|nil list of parameters
function Optimizer:apply(grads, variables)
  if type(grads) ~= "table" then
    self:_refuse_list("gradients", grads)
  elseif #grads == 0 then
    return
  end
  if variables == nil then
    if not self.built then
      errors.raise(
        self:_class_name(),
        "apply needs the variables, or an optimizer that was built (optimizer:build(variables))")
    elseif #grads ~= #self._params then
      errors.raise(self:_class_name(),
        "there must be one gradient per parameter (expected %d, got %d)",
        #self._params, #grads)
    end
    return self:_apply(grads, nil)
  end
  self:_apply(grads, self:_places(grads, variables))
end

-- The places of these variables among the parameters.
function Optimizer:_places(grads, variables)
  if type(variables) ~= "table" then
    self:_refuse_list("variables", variables)
  elseif #variables ~= #grads then
    errors.raise(self:_class_name(),
      "there must be one gradient per variable (expected %d, got %d)",
      #variables, #grads)
  end
  if not self.built then
    self:build(variables)
  end
  local places = {}
  for i = 1, #variables do
    places[i] = self._index[variables[i]]
    if not places[i] then
      errors.raise(self:_class_name(),
        "variable %d is not one of those that the optimizer was built with; compile the \z
          model again, or make a new optimizer for it", i)
    end
  end
  return places
end

--- As apply, for a list of { gradient, variable }.
--- @return integer iterations
function Optimizer:apply_gradients(pairs_)
  local grads, variables = {}, {}
  if type(pairs_) ~= "table" then
    errors.raise("apply_gradients", "takes a list of { gradient, variable } (got %s)",
      check.show(pairs_))
  end
  for i, p in ipairs(pairs_) do
    if type(p) ~= "table" then
      errors.raise("apply_gradients",
        "entry %d must be { gradient, variable } (got %s); a list of gradients \z
        and one of variables go to optimizer:apply(grads, variables)", i, check.show(p))
    end
    grads[i], variables[i] = p[1] or false, p[2]
  end
  self:apply(grads, variables)
  self:_settled()
  return self._iterations
end

local function pick(all, places)
  local out = {}
  for i = 1, #places do
    out[i] = all[places[i]]
  end
  return out
end

-- The dtypes of the parameters that are stepped; nil where there is one. Ops step one dtype.
local function dtypes_of(self)
  if self._dtypes == nil then
    local found, seen = {}, {}
    for _, t in ipairs(self._stepped) do
      if not seen[t.dtype] then
        seen[t.dtype], found[#found + 1] = true, t.dtype
      end
    end
    self._dtypes = #found > 1 and found or false
  end
  return self._dtypes
end

-- f(tensors, places) for the parameters of each dtype; `all`: a tensor for each place.
local function by_dtype(self, all, places, f)
  if not dtypes_of(self) then
    return f(all, places)
  end
  for _, dtype in ipairs(self._dtypes) do
    local some, at = {}, {}
    for i = 1, #all do
      local place = places and places[i] or i
      if self._stepped[place].dtype == dtype then
        some[#some + 1], at[#at + 1] = all[i], place
      end
    end
    if #some > 0 then
      f(some, at)
    end
  end
end

-- The norm over all gradients.
local function norm_of(self, grads, places)
  local squares = 0
  by_dtype(self, grads, places, function(some)
    squares = squares + tensors.number(core.ops.global_norm_(some)) ^ 2
  end)
  return math.sqrt(squares)
end

-- Gradients and places without the missing ones; places nil: all parameters in order.
local function present(self, grads, places)
  local missing
  for i = 1, #grads do
    if not grads[i] or grads[i] == none then
      missing = missing or {}
      missing[#missing + 1] = i
    end
  end
  if not missing then
    return grads, places
  end
  if #missing == #grads then
    errors.raise(
      self:_class_name(), "no gradient for any parameter: the loss depends on none of them")
  end
  local g, p = {}, {}
  for i = 1, #grads do
    if grads[i] and grads[i] ~= none then
      g[#g + 1] = grads[i]
      p[#p + 1] = places and places[i] or i
    end
  end
  return g, p
end

-- What a strategy makes of gradients. Its own work is not accumulated, nor recorded.
local function reduced(self, strategy, grads, places)
  return distribute.reduce(strategy, grads, places and pick(self._params, places) or self._params,
    self:_class_name())
end

-- What gradients are multiplied with.
local function scale_of(self)
  local factor = self._factor or self.loss_scale_factor
  return factor and 1 / factor or 1
end

local function update(self, grads, places, strategy)
  local scale = scale_of(self)
  local steps = self.gradient_accumulation_steps
  if steps then
    self._sums = self._sums or like_all(self)
    local sums = places and pick(self._sums, places) or self._sums
    by_dtype(self, grads, places, function(some, at)
      core.ops.accumulate_step_(at and pick(self._sums, at) or self._sums, some, scale)
    end)
    if (self._iterations + 1) % steps ~= 0 then
      return
    end
    grads = strategy and reduced(self, strategy, sums, places) or sums
    self:_run(grads, places, 1 / steps)
    for i = 1, #self._sums do
      self._sums[i]:assign(ops.zeros_like(self._sums[i]))
    end
  else
    self:_run(grads, places, scale)
  end
end

-- What tells of a bad loss, in the dtype of the op.
local function guard_for(guard, dtype)
  return guard and guard.dtype ~= dtype and ops.cast(guard, dtype) or guard
end

-- Notes a call of an op whose numbers change from step to step, where the step is recorded.
local function note_call(self)
  local calls = self._noted
  if calls then
    calls[#calls + 1] = self._part
  end
end

local function moving_average(self, guard)
  if not self.use_ema then
    return
  end
  local n = self:_number()
  if not self._average then -- switched on between two steps: begins with the weights as they are
    self._average, n = like_all(self), 0
  end
  self._part = false
  by_dtype(self, self._average, nil, function(some, at)
    note_call(self)
    core.ops.ema_step_(some, at and pick(self._stepped, at) or self._stepped,
      { momentum = self.ema_momentum, step = n + 1, guard = guard_for(guard, some[1].dtype) })
  end)
  local every = self.ema_overwrite_frequency
  if every and (n + 1) % every == 0 then
    self:_overwrite_with_average()
  end
end

local function step(self, grads, places, guard)
  local strategy = distribute.of(self)
  if strategy and not self.gradient_accumulation_steps then
    grads = reduced(self, strategy, grads, places)
  end
  grads, places = present(self, grads, places)
  self._options.guard = guard
  update(self, grads, places, strategy)
  moving_average(self, guard)
  if self._constraints == nil then
    local found = false
    for i = 1, #self._params do
      if self._info[i] and self._info[i].constraint then
        found = true
      end
    end
    self._constraints = found
  end
  if self._constraints then
    for i = 1, #self._params do
      local constraint = self._info[i] and self._info[i].constraint
      if constraint then
        self._stepped[i]:assign(constraint(self._stepped[i]))
      end
    end
  end
  if self._halved then
    masters.narrow(self._halved)
  end
end

-- What Lua does around a step, whether its ops are called or replayed: before it,
function Optimizer:_begin()
  self._noted = false
  if self._halved then
    local _ <close> = core.recording(false)
    masters.follow(self._halved)
  end
end

-- and behind it.
function Optimizer:_end()
  if self._halved then
    masters.note(self._halved)
  end
  self._iterations = self._iterations + 1
end

-- The numbers that the op's calls get at the next step, in the order of LIVE (src/ops/optim.c),
-- behind what `out` holds. `calls`: the part of the groups that each was for, or false.
function Optimizer:_dials(calls, out)
  local number, rate, scale, n = self:_number() + 1, self:_current_rate(), scale_of(self), #out
  for i = 1, #calls do
    local part = calls[i]
    out[n + 1], out[n + 2] = number, part and groups.rate(self, part, rate) or rate
    out[n + 3], out[n + 4], out[n + 5] = scale, 0, 0
    n = n + 5
  end
end

-- `guard`: what tells the op that the loss is bad (training/steps.lua).
function Optimizer:_apply(grads, places, guard)
  self:_begin()
  self:_step(grads, places, guard)
  self:_end()
end

-- The calls of ops alone.
function Optimizer:_step(grads, places, guard)
  local _ <close> = parts.enter "optimizer"
  local _ <close> = core.recording(false)
  local ok, e = pcall(step, self, grads, places, guard)
  if not ok then
    if errors.is(e) and e.op and e.op:find "_step_$" then -- the op's name says nothing
      e.op = self:_class_name()
    end
    error(e, 0)
  end
end

-- One call of the op, or one for each group of parameters.
function Optimizer:_run(grads, places, scale)
  local o = self._options
  -- what a person sets between two steps holds from the next one on
  o.clipnorm, o.clipvalue = rawget(self, "clipnorm"), rawget(self, "clipvalue")
  o.global_clipnorm, o.weight_decay = rawget(self, "global_clipnorm"), rawget(self, "weight_decay")
  o.learning_rate, o.grad_scale = self:_current_rate(), scale
  local split = self._split
  self._part = false
  split = split and (split.given or o.weight_decay or self.adam_weight_decay)
  if not split and not dtypes_of(self) then
    note_call(self)
    return self:_call(grads, places, o)
  end
  if self.global_clipnorm then -- the norm is over all gradients, not over those of one call
    local norm = norm_of(self, grads, places) * scale
    o.grad_scale = scale * self.global_clipnorm / math.max(norm, self.global_clipnorm)
    o.global_clipnorm = nil
  end
  if split then
    return groups.each(self, grads, places, o)
  end
  self:_calls(grads, places, o)
end

--- The step of some parameters: a call for each dtype.
function Optimizer:_calls(grads, places, o)
  local guard = o.guard
  by_dtype(self, grads, places, function(some, at)
    o.guard = guard_for(guard, at and self._stepped[at[1]].dtype or guard and guard.dtype)
    note_call(self)
    self:_call(some, at, o)
  end)
  o.guard = guard
end

-- A slot that an option switched on between two steps.
local function late_slot(self, name)
  for _, slot in ipairs(self:_slot_list()) do
    if slot[1] == name then
      self._slots[name] = like_all(self, slot[2])
      return self._slots[name]
    end
  end
  return self._empty
end

--- Lists for the op: parameters and slots, narrowed to `places`; false names a slot that is not
--- used.
function Optimizer:_lists(places, ...)
  local out = { places and pick(self._stepped, places) or self._stepped }
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    local all = name == "touched" and self._touched or not name and self._empty
      or self._slots[name] or late_slot(self, name)
    out[#out + 1] = places and pick(all, places) or all
  end
  return table.unpack(out)
end

--- Makes an optimizer of one's own; an `update_step` takes the place of the base's step.
function Optimizer:extend(name, spec)
  local c = object.Object.extend(self, name, spec)
  if spec and spec.update_step then
    c._call = Optimizer._call
  end
  return c
end

--- Whether gradients of embedding tables may come as rows: not where update_step or a strategy, who
--- know tensors only, take them.
function Optimizer:_takes_rows()
  local strategy = distribute.of(self)
  return self._call ~= Optimizer._call and (not strategy or strategy.takes_rows)
end

--- The decay of a parameter, `decay` being that of its group; nil: none.
function Optimizer._decay_of(_, _, decay)
  return decay
end

-- Optimizers written in Lua: update_step per parameter. A class with `decays_itself` takes the
-- decay as its last argument; the others find it done.
function Optimizer:_call(grads, places, o)
  if not self.update_step then
    errors.raise(
      self:_class_name(),
      "an optimizer defines update_step(self, gradient, variable, learning_rate, slots)")
  end
  local clip
  if o.global_clipnorm then
    local norm = tensors.number(core.ops.global_norm_(grads)) * o.grad_scale
    clip = o.global_clipnorm / math.max(norm, o.global_clipnorm)
  end
  for i = 1, #grads do
    local place = places and places[i] or i
    local g, v = grads[i], self._stepped[place]
    if g.dtype ~= v.dtype then
      g = ops.cast(g, v.dtype)
    end
    if o.grad_scale ~= 1 then
      g = ops.multiply(g, o.grad_scale)
    end
    if clip then
      g = ops.multiply(g, clip)
    elseif o.clipnorm then
      local norm = math.sqrt(tensors.number(ops.sum(ops.square(g))))
      g = ops.multiply(g, o.clipnorm / math.max(norm, o.clipnorm))
    elseif o.clipvalue then
      g = ops.clip(g, -o.clipvalue, o.clipvalue)
    end
    local decay = self:_decay_of(place, o.weight_decay)
    if decay and not self.decays_itself then
      v:assign(ops.multiply(v, 1 - decay * o.learning_rate))
    end
    local slots = {}
    for name, all in pairs(self._slots) do
      slots[name] = all[place]
    end
    self:update_step(g, v, o.learning_rate, slots, place, decay)
  end
end

end

--- model:find_lr: a range test of learning rates (Smith 2017, arXiv:1506.01186). The rate grows
--- from batch to batch; where the loss falls fastest stands a good one.
local adapter = require "tide.data.adapter"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local pass = require "tide.training.pass"
local photo = require "tide.training.photo"
local Progbar = require "tide.training.progbar"
local steps = require "tide.training.steps"

local args = check.args("find_lr", {
  pass.data_rows[1], pass.data_rows[2],
  { "min_lr", "number", 1e-7, "the first rate", above = 0 },
  { "max_lr", "number", 10.0, "the last rate", above = 0 },
  { "steps", "int", 100, "rates, of equal ratios; one batch each", min = 3 },
  { "batch_size", "int", nil, "samples per step, 32 by default", min = 1 },
  { "sample_weight", "any", nil, "weight of each sample", dict = true },
  { "class_weight", "any", nil, "weights by label", dict = true },
}, { named = {
  { "shuffle", "bool", true, "new order in every round through the data" },
  { "monitor", "string", "loss", "what is looked at, by its name in the logs; it should fall" },
  { "smoothing", "number", 0.98, "share of the moving average that stays", min = 0, below = 1 },
  { "stop_factor", "number", 4.0, "ends where the smoothed loss is so many times the best",
    above = 1, none = true },
  { "skip_begin", "int", 10, "first rates that are not suggested", min = 0 },
  { "skip_end", "int", 1, "last rates that are not suggested", min = 0 },
  { "verbose", "any", "auto", "0: silent, 1: progress bar" },
} })

-- ---- what comes of it ----

local Finding = { __name = "find_lr" }
Finding.__index = Finding

function Finding:__tostring()
  local _ <close> = core.decimal_point()
  if not self.suggestion then
    return ("find_lr: no suggestion after %d rates: the loss fell nowhere"):format(#self.lr)
  end
  return ("find_lr: %.3g, where the loss falls fastest (%d rates from %.3g to %.3g, %s)"):format(
    self.suggestion, #self.lr, self.lr[1], self.lr[#self.lr], self.stopped or "all tried")
end

--- The losses over the rates: printed in the terminal, or `{ file = "lr.svg" }`.
--- @param o table|nil options of tide.plot.lines
function Finding:plot(o)
  local exponents, options = {}, { title = tostring(self),
    xlabel = "logarithm of the learning rate, base 10" }
  for i, rate in ipairs(self.lr) do
    exponents[i] = math.log(rate, 10)
  end
  for k, v in pairs(o or {}) do
    options[k] = v
  end
  return require("tide.plot").lines({ { "loss", self.loss, exponents },
    { "smoothed", self.smoothed, exponents } }, options)
end

-- The number of the rate at which the smoothed loss falls fastest, by central differences between
-- neighbours; nil where it falls nowhere.
local function steepest(smoothed, skip_begin, skip_end)
  local first, last = 1 + skip_begin, #smoothed - skip_end
  while first > 1 and last - first < 1 do -- few rates: fewer are left out
    first = first - 1
  end
  last = math.max(last, math.min(#smoothed, first + 1))
  local best, at
  for i = first, last do
    local a, b = math.max(first, i - 1), math.min(last, i + 1)
    local slope = b > a and (smoothed[b] - smoothed[a]) / (b - a) or 0
    if slope < 0 and (not best or slope < best) then
      best, at = slope, i
    end
  end
  return at
end

-- ---- the test ----

-- Sets the rate of an optimizer, whatever it followed before, and of those inside.
local function set_rate(optimizer, rate)
  for _, inner in ipairs(rawget(optimizer, "_inners") or {}) do
    set_rate(inner, rate)
  end
  rawset(optimizer, "_rate", rate)
end

local function next_batch(source, round)
  local x, y, w = source:next()
  if x == nil then
    round = round + 1
    if source:again(round) then
      x, y, w = source:next()
    end
  end
  return round, x, y, w
end

local function value_of(logs, name)
  local v = logs[name]
  if type(v) ~= "number" then
    errors.raise("find_lr", "the logs have no number '%s' (they have %s)", name,
      table.concat(check.sorted_keys(logs), ", "))
  end
  return v
end

local function finite(v)
  return v - v == 0
end

local function sweep(self, T, source, o, bar)
  local step = pass.stepper(self, T, "train_step")
  local out = { lr = {}, loss = {}, smoothed = {} }
  local average, best, round, stopped = 0, nil, 1, nil
  source:begin(1)
  for i = 1, o.steps do
    local x, y, w
    round, x, y, w = next_batch(source, round)
    if x == nil then
      stopped = "the data ended"
      break
    end
    local rate = o.min_lr * (o.max_lr / o.min_lr) ^ ((i - 1) / (o.steps - 1))
    set_rate(self.optimizer, rate)
    steps.reset_metrics(self)
    T.bad = true -- a loss that is not finite ends the test, and is no news
    local value = value_of(pass.epoch_logs(self, step(x, y, w)), o.monitor)
    average = o.smoothing * average + (1 - o.smoothing) * value
    local smoothed = average / (1 - o.smoothing ^ i)
    if not finite(smoothed) then
      stopped = "the loss is not finite any more"
      break
    end
    out.lr[i], out.loss[i], out.smoothed[i] = rate, value, smoothed
    core.step_end()
    if bar and bar:due(i) then
      bar:update { lr = rate, loss = smoothed }
    end
    if o.stop_factor and best and smoothed > o.stop_factor * best and best > 0 then
      stopped = "the loss grew"
      break
    end
    best = (not best or smoothed < best) and smoothed or best
    if core.interrupted() then
      stopped = "interrupted"
      break
    end
  end
  out.stopped = stopped
  return out
end

--- Finds a learning rate: trains on one batch after the other while the rate grows from `min_lr` to
--- `max_lr`, smooths the losses, and suggests the rate at which they fall fastest. Ends early where
--- the loss grows. Afterwards the model, its optimizer and the random generator are as before, bit
--- for bit; only a data source has gone on.
---
--- The optimizer that is compiled is tried; parameter groups with rates of their own, and other
--- optimizers in fields, keep theirs.
---
---     local found = model:find_lr(x, y, { steps = 20, batch_size = 2, verbose = 0 })
---     print(#found.lr <= 20)   --> true
--- @return table finding `suggestion` (nil where the loss fell nowhere), lists `lr`, `loss` and
---   `smoothed`, `stopped` (why it ended early, or nil), and `plot(self, { file = })`
return function(self, ...)
  local o = args:call(...)
  if o.max_lr <= o.min_lr then
    errors.raise("find_lr", "max_lr must be larger than min_lr (got %s and %s)", o.max_lr, o.min_lr)
  end
  local T = steps.of(self, "find_lr")
  if T.running and T.running[1] and coroutine.status(T.running[1]) ~= "dead" then
    errors.raise("find_lr", "%s is being trained; call it before or after fit", self:_label())
  end
  local x, y, w = pass.as_leaf(o.x), pass.as_leaf(o.y), pass.as_leaf(o.sample_weight)
  steps.settle(T)
  local kept <close> = photo.take(self) -- luacheck: ignore
  pass.refresh(self, T, "find_lr")
  local source = adapter.new { x = x, y = y, sample_weight = w, batch_size = o.batch_size,
    shuffle = o.shuffle, class_weight = pass.class_weights(T, o.class_weight, y),
    input_names = pass.input_names(self), output_names = T.names, owner = "find_lr" }
  if source.batches == 0 then
    errors.raise("find_lr", "there are no samples")
  end
  local verbose = pass.resolve_verbose(o.verbose)
  local bar = Progbar.new { target = o.steps, verbose = verbose, terminal = core.terminal(1),
    delay = 2, unit = "rate" }
  local _ <close> = core.scope_pause()
  local _ <close> = core.recording(true)
  local _ <close> = pass.guard(T, nil)
  local _ <close> = core.watch_interrupts()
  local found = sweep(self, T, source, o, verbose == 1 and bar or nil)
  if verbose == 1 and #found.lr > 0 then
    bar:finish { lr = found.lr[#found.lr], loss = found.smoothed[#found.smoothed] }
  end
  local at = steepest(found.smoothed, o.skip_begin, o.skip_end)
  for _, name in ipairs { "lr", "loss", "smoothed" } do
    found[name] = list.new(found[name])
  end
  found.suggestion = at and found.lr[at] or nil
  return setmetatable(found, Finding)
end

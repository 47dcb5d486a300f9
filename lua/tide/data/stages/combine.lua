--- Stages that read several data sets: concatenate, zip, sample_from_datasets,
--- choose_from_datasets, rejection_resample.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local stage = require "tide.data.stage"
local transform = require "tide.data.stages.transform"

local INFINITE, UNKNOWN = stage.INFINITE, stage.UNKNOWN
local counted = transform.counted

-- An iterator class that opens all inputs.
local function iterator(name)
  local c = stage.iterator(name)
  function c:start()
    for i, node in ipairs(self.node._inputs) do
      self.inputs[i] = stage.open(node, i == 1 and self.pass or stage.mix(self.pass, -i))
    end
    self.input = self.inputs[1]
    if self.begin then
      self:begin()
    end
  end
  return c
end

-- ---- concatenate ----

local Concatenate = iterator "concatenate"

function Concatenate:begin()
  self.at = 1
end

local function next_of(self, first, ...)
  if first ~= nil then
    self.n = self.n + 1
    return first, ...
  elseif self.at >= #self.inputs then
    return nil
  end
  self.at = self.at + 1
  return self:next()
end

function Concatenate:next()
  return next_of(self, self.inputs[self.at]:next())
end

function Concatenate:dtype(k)
  return self.inputs[self.at]:dtype(k)
end

function Concatenate:save()
  return self.at
end

function Concatenate:load(s)
  self.at = s
end

stage.define("concatenate", { open = Concatenate,
  cardinality = function(node)
    local sum, unknown = 0, false
    for _, input in ipairs(node._inputs) do
      local n = stage.cardinality(input)
      if n == INFINITE then
        return INFINITE
      end
      unknown = unknown or n == UNKNOWN
      sum = sum + n
    end
    return unknown and UNKNOWN or sum
  end })

-- ---- zip ----

local Zip = iterator "zip"

local function gather(out, count, first, ...)
  if first == nil then
    return nil
  end
  local n = 1 + select("#", ...)
  out[count + 1] = first
  for k = 2, n do
    out[count + k] = (select(k - 1, ...))
  end
  return count + n
end

function Zip:begin()
  self.counts = {}
end

function Zip:next()
  local out, count, inputs = {}, 0, self.inputs
  for i = 1, #inputs do
    count = gather(out, count, inputs[i]:next())
    if not count then
      return nil
    end
    self.counts[i] = count
  end
  self.n = self.n + 1
  return table.unpack(out, 1, count)
end

function Zip:dtype(k)
  local before = 0
  for i, count in ipairs(self.counts) do
    if k <= count then
      return self.inputs[i]:dtype(k - before)
    end
    before = count
  end
end

stage.define("zip", { open = Zip,
  cardinality = function(node)
    local least = INFINITE
    for _, input in ipairs(node._inputs) do
      local n = stage.cardinality(input)
      if n == UNKNOWN then
        return UNKNOWN
      elseif n ~= INFINITE and (least == INFINITE or n < least) then
        least = n
      end
    end
    return least
  end,
  spec = function(node)
    local out = {}
    for _, input in ipairs(node._inputs) do
      local inner = stage.spec(input)
      if not inner then
        return nil
      end
      table.move(inner, 1, #inner, #out + 1, out)
    end
    return out
  end })

-- ---- sample_from_datasets, choose_from_datasets ----

local function unknown()
  return UNKNOWN
end

-- Draws which input is next among those that have elements.
local Sample = iterator "sample_from_datasets"

function Sample:begin()
  self.live, self.drawn = {}, 0
  for i = 1, #self.inputs do
    self.live[i] = self.o.weights[i] > 0
  end
end

local function choose(self)
  local total, last = 0, nil
  for i, w in ipairs(self.o.weights) do
    if self.live[i] then
      total = total + w
      last = i
    end
  end
  if not last then
    return nil
  end
  local pass = self.o.rerandomize_each_iteration ~= false and self.pass or 0
  local at = stage.uniform(self.node.seed, pass, self.drawn) * total
  self.drawn = self.drawn + 1
  for i, w in ipairs(self.o.weights) do
    if self.live[i] then
      at = at - w
      if at < 0 then
        return i
      end
    end
  end
  return last
end

local function sampled(self, i, first, ...)
  if first ~= nil then
    self.last = self.inputs[i]
    return counted(self, first, ...)
  end
  self.live[i] = false
  if self.o.stop_on_empty_dataset then
    self.over = true
    return nil
  end
  return self:next()
end

function Sample:next()
  local i = not self.over and choose(self)
  if not i then
    return nil
  end
  return sampled(self, i, self.inputs[i]:next())
end

function Sample:dtype(k)
  return (self.last or self.input):dtype(k)
end

function Sample:save()
  return { live = table.move(self.live, 1, #self.live, 1, {}), drawn = self.drawn,
    over = self.over or false }
end

function Sample:load(s)
  self.live, self.drawn, self.over = table.move(s.live, 1, #s.live, 1, {}), s.drawn, s.over
end

stage.define("sample_from_datasets", { open = Sample, draws = true, cardinality = unknown })

-- The last input says whose turn it is, from 1.
local Choose = iterator "choose_from_datasets"

function Choose:begin()
  self.choice = self.inputs[#self.inputs]
  self.ended = {}
end

local function chosen(self, i, first, ...)
  if first ~= nil then
    self.last = self.inputs[i]
    return counted(self, first, ...)
  end
  self.ended[i] = true
  if self.o.stop_on_empty_dataset then
    self.over = true
    return nil
  end
  return self:next()
end

function Choose:next()
  while not self.over do
    local v = self.choice:next()
    if v == nil then
      return nil
    end
    local i = math.tointeger(core.is_tensor(v) and v:item() or v)
    if not i or i < 1 or i >= #self.inputs then
      errors.raise(nil, "choice_dataset must give whole numbers from 1 to %d (got %s)",
        #self.inputs - 1, check.show(v))
    elseif not self.ended[i] then
      return chosen(self, i, self.inputs[i]:next())
    end
  end
end

function Choose:dtype(k)
  return (self.last or self.input):dtype(k)
end

function Choose:save()
  local ended = {}
  for i = 1, #self.inputs do
    ended[i] = self.ended[i] or false
  end
  return { ended = ended, over = self.over or false }
end

function Choose:load(s)
  self.ended, self.over = table.move(s.ended, 1, #s.ended, 1, {}), s.over
end

stage.define("choose_from_datasets", { open = Choose, cardinality = unknown })

-- ---- rejection_resample ----

-- Elements are kept with a probability that brings their classes to the target distribution. The
-- distribution that comes is the one that is given, or what was seen so far.
local Reject = transform.iterator "rejection_resample"

function Reject:begin()
  self.counts, self.read = {}, 0
  for i = 1, #self.o.target_dist do
    self.counts[i] = 0
  end
end

local function acceptance(self, class)
  local target, initial, counts = self.o.target_dist, self.o.initial_dist, self.counts
  local most, own = 0, 0
  for i = 1, #target do
    local share = initial and initial[i] or (counts[i] + 1e-9) / (self.read + 1e-9 * #target)
    local ratio = target[i] / math.max(share, 1e-12)
    if initial and initial[i] > 0 or not initial and counts[i] > 0 then
      most = math.max(most, ratio)
    end
    own = i == class and ratio or own
  end
  return most > 0 and own / most or 0
end

local function considered(self, first, ...)
  if first == nil then
    return nil
  end
  local class = self.o.class_func(first, ...)
  class = math.tointeger(core.is_tensor(class) and class:item() or class)
  if not class or class < 1 or class > #self.o.target_dist then
    errors.raise(nil, "class_func must give a label from 1 to %d (got %s)", #self.o.target_dist,
      check.show(class))
  end
  self.read = self.read + 1
  self.counts[class] = self.counts[class] + 1
  if stage.uniform(self.node.seed, self.pass, self.read) < acceptance(self, class) then
    return counted(self, class, first, ...)
  end
  return self:next()
end

function Reject:next()
  return considered(self, self.input:next())
end

function Reject:dtype(k)
  return k == 1 and "int64" or self.input:dtype(k - 1)
end

function Reject:save()
  return { counts = table.move(self.counts, 1, #self.counts, 1, {}), read = self.read }
end

function Reject:load(s)
  self.counts, self.read = table.move(s.counts, 1, #s.counts, 1, {}), s.read
end

stage.define("rejection_resample", { open = Reject, draws = true, cardinality = unknown,
  spec = transform.nothing })

return true

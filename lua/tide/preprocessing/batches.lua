--- What data generators share: passes over samples in the order of a seed, batches by number, and a
--- position that can be kept and gone back to.
--
-- A class that inherits sets itself up by `_start` and defines `_batch(ids)`, the batch of some
-- samples. `iter()` is one pass (what fit takes), and so is `for x, y in it do`; `next()` goes
-- round and round, `get(i)` is the i-th batch of this pass. The order of a pass depends on the
-- seed, its number and nothing else.
local ahead = require "tide.ahead"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"

local image = core.image
local Batches = class.strict(class.new "Batches")
Batches._closes = false -- nothing runs for it; classes that set it have `close`

--- @param o table n (samples), batch_size, shuffle, seed, where (its name in messages)
function Batches:_start(o)
  self._where = o.where
  self.n, self.batch_size, self.shuffle, self.seed = o.n, o.batch_size, o.shuffle or false, o.seed
  self.batch_index = 0
  self._seed = o.seed and image.sample_seed(o.seed, 0, 0)
    or (o.shuffle or o.random) and core.draw_seed(o.where) or 0
  self._pass, self._touched = 0, false
end

--- Number of batches of a pass; the last may be smaller.
function Batches:__len()
  return (self.n + self.batch_size - 1) // self.batch_size
end

-- `it()` is the next batch; the calls of a generic for, which bring the batch before, are one pass.
function Batches:__call(...)
  if select("#", ...) == 0 then
    return self:next()
  end
  if select(2, ...) == nil then
    self._walk = self:iter()
  end
  return self._walk()
end

-- The samples of this pass in their order; classes that arrange them otherwise replace it.
function Batches:_arrange()
  if self.shuffle then
    return image.permutation(self.n, self._seed, self._pass)
  end
  local out = {}
  for i = 1, self.n do
    out[i] = i
  end
  return out
end

function Batches:_order()
  if self._order_of ~= self._pass then
    self._order_of, self._indices = self._pass, self:_arrange()
  end
  return self._indices
end

-- The samples of batch i.
function Batches:_ids(i)
  local order, first = self:_order(), (i - 1) * self.batch_size + 1
  return table.move(order, first, math.min(first + self.batch_size - 1, self.n), 1, {})
end

-- The number of a draw for sample i.
local function draw_number(i, draw)
  return (i << 20) + draw + (1 << 50)
end
Batches._draw_number = draw_number

--- A number from 0 to 1 for sample i of this pass: the same whenever the pass is gone through.
function Batches:_chance(i, draw)
  local bits = image.sample_seed(self._seed, self._pass, draw_number(i, draw))
  return (bits >> 11) * 0x1p-53
end

--- Batch i (from 1) of this pass: x, y, sample_weight, as far as there are any.
function Batches:get(i)
  local at, n = math.tointeger(i), #self
  if not at or at < 1 or at > n then
    errors.raise(self._where, "there is no batch %s (1 to %d)", tostring(i), n)
  end
  self._touched = true
  return self:_batch(self:_ids(at))
end

--- The next batch, for ever; a new pass begins after the last.
function Batches:next()
  local i = self.batch_index + 1
  self._restored = nil
  if i == 1 and self._touched then
    self:on_epoch_end()
  end
  self.batch_index = i >= #self and 0 or i
  return self:get(i)
end

--- Ends this pass: the next one has an order of its own.
function Batches:on_epoch_end()
  self._pass = self._pass + 1
  self._touched = false
end

--- Back to the first batch, of a new pass if this one has begun.
function Batches:reset()
  self.batch_index = 0
  if self._touched then
    self:on_epoch_end()
  end
end

--- Where it is, as plain data: seed, pass and the batches of it that are done.
function Batches:state()
  return { seed = self._seed, pass = self._pass, batch = self.batch_index,
    touched = self._touched }
end

--- Goes where `state` said: `next()` and `iter()` go on with the batch that followed.
function Batches:restore(s)
  if type(s) ~= "table" or math.type(s.pass) ~= "integer" or math.type(s.batch) ~= "integer"
    or math.type(s.seed) ~= "integer" or s.batch < 0 then
    errors.raise(self._where, "restore takes what state() gave (got %s)", check.show(s))
  end
  self._seed, self._pass, self.batch_index, self._touched = s.seed, s.pass, s.batch, s.touched
  self._order_of = nil
  self._restored = s.batch > 0
end

--- One pass: `for x, y in it:iter() do ... end`. After `restore` what is left of the pass.
function Batches:iter()
  local i = self._restored and self.batch_index or 0
  if not self._restored then
    self:reset()
  end
  self._restored = nil
  local function step()
    if i >= #self then
      return nil
    end
    i = i + 1
    self.batch_index = i == #self and 0 or i
    return self:get(i)
  end
  return step, nil, nil, self._closes and ahead.closing(self, function()
    return i >= #self
  end) or nil
end

return Batches

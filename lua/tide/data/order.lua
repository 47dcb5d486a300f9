--- Orders: passes over the rows of one store (tensors in memory, a range, a sequence) that only say
--- which rows come, so that shuffling, repeating and batching cost no call per element.
---
--- A store has `n`, `parts(i)`, which gives the parts of row i, `dtype(k)`, `spec()`, and may have
--- `gather(order)` (an int64 tensor of numbers from 1) and `span(first, count)`, which give the
--- parts of a batch, `begin(order, workers)`, which begins such a batch in worker threads and
--- gives what `gather(order, it)` takes, nil where they cannot, and, where rows are single Lua
--- values, `values(count, first, order)`, which gives a list of so many.
---
--- An order is an object with `pull(n)`, which gives how many numbers come (up to n, fewer at the
--- end only), and either the first of so many in a row, or false and a tensor; `state()` and
--- `restore(s)`.
local ahead = require "tide.ahead"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local stage = require "tide.data.stage"

local order = {}

local function kind(name)
  local c = { name = name }
  c.__index = c
  return c
end

--- The store that an ordered node reads.
function order.store(node)
  while node._inputs[1] do
    node = node._inputs[1]
  end
  return node._store
end

--- A node's order in a pass.
function order.open(node, pass)
  return node._stage.order(node, pass)
end

local function damaged(what)
  errors.raise("restore", "the state does not fit: %s is no place in the data", what)
end

local function check_count(v)
  if math.type(v) ~= "integer" or v < 0 then
    damaged(tostring(v))
  end
  return v
end

-- ---- all rows ----

local All = kind "all"

--- Numbers 1..n, one after the other.
function order.all(n)
  return setmetatable({ n = n, at = 0 }, All)
end

function All:pull(n)
  local at = self.at
  local count = self.n - at
  if count > n then
    count = n
  end
  self.at = at + count
  return count, at + 1
end

function All:state()
  return self.at
end

function All:restore(s)
  self.at = check_count(s)
end

-- ---- shuffled ----

local Shuffled = kind "shuffled"

--- Numbers of an order through a buffer: each draw is uniform among those in it, and is replaced by
--- the next that comes. Its place is how many were drawn: it is drawn anew from the beginning.
--- @param open function that gives the order beneath, from its beginning
function order.shuffled(open, size, seed, pass)
  return setmetatable({ open = open, size = size, seed = seed, pass = pass, drawn = 0 }, Shuffled)
end

local function feed(self)
  self.from = self.open()
  self.buffer = core.data_shuffler(self.seed, self.pass)
  local left = self.size
  while left > 0 do
    local asked = math.min(left, 1 << 20)
    local count, first, numbers = self.from:pull(asked)
    if count > 0 then
      core.data_feed(self.buffer, first or numbers, first and count or nil)
    end
    left = left - count
    if count < asked then
      return
    end
  end
end

function Shuffled:pull(n)
  if not self.buffer then
    feed(self)
  end
  local count, first, numbers = self.from:pull(n)
  local out
  if count > 0 then
    out = core.data_draw(self.buffer, n, first or numbers, first and count or nil)
  else
    out = core.data_draw(self.buffer, n)
  end
  count = out and #out or 0
  self.drawn = self.drawn + count
  return count, false, out
end

function Shuffled:state()
  return self.drawn
end

function Shuffled:restore(s)
  local left = check_count(s)
  while left > 0 do
    local count = self:pull(math.min(left, 65536))
    if count == 0 then
      damaged(tostring(s))
    end
    left = left - count
  end
end

-- ---- parts of an order ----

local Cut = kind "cut"

--- An order without its first `skip` numbers, and no more than `take` of the rest (nil: all).
function order.cut(from, skip, take)
  return setmetatable({ from = from, skip = skip, left = take or math.huge, at = 0 }, Cut)
end

local function pass_over(self)
  while self.skip > 0 do
    local asked = math.min(self.skip, 65536)
    local count = self.from:pull(asked)
    self.skip = count < asked and 0 or self.skip - count
  end
end

function Cut:pull(n)
  if self.skip > 0 then
    pass_over(self)
  end
  if n > self.left then
    n = self.left
  end
  if n == 0 then
    return 0, 1
  end
  local count, first, numbers = self.from:pull(n)
  self.left = self.left - count
  return count, first, numbers
end

function Cut:state()
  return { skip = self.skip, left = self.left, from = self.from:state() }
end

function Cut:restore(s)
  self.skip, self.left = s.skip, s.left
  self.from:restore(s.from)
end

-- ---- every n-th ----

local Sharded = kind "sharded"

--- Numbers i, i + n, i + 2n, ... of an order (i from 1).
function order.sharded(from, n, i)
  return setmetatable({ from = from, n = n, i = i }, Sharded)
end

function Sharded:pull(n)
  local asked = n * self.n
  local count, first, numbers = self.from:pull(asked)
  local out = count < self.i and 0 or (count - self.i) // self.n + 1
  if out == 0 then
    return 0, 1
  elseif self.n == 1 then
    return count, first, numbers
  elseif first then
    numbers = ops.arange(first, first + count, 1, { dtype = "int64" })
  end
  return out, false, numbers[{ { self.i, count, self.n } }]
end

function Sharded:state()
  return self.from:state()
end

function Sharded:restore(s)
  self.from:restore(s)
end

-- ---- again and again ----

local Repeated = kind "repeated"

--- Rounds of an order, one after the other.
--- @param open function of the round's number (from 0) that gives its order
--- @param rounds integer|nil nil: no end
function order.repeated(open, rounds)
  return setmetatable({ open = open, rounds = rounds or math.huge, round = 0 }, Repeated)
end

local function join(parts, first, numbers, count)
  parts[#parts + 1] = first and ops.arange(first, first + count, 1, { dtype = "int64" }) or numbers
end

function Repeated:pull(n)
  local parts, total = nil, 0
  while true do
    if not self.from then
      if self.round >= self.rounds then
        break
      end
      self.from = self.open(self.round)
      self.given = 0
    end
    local asked = n - total
    local count, first, numbers = self.from:pull(asked)
    self.given = self.given + count
    if count == n then
      return count, first, numbers
    elseif count > 0 then
      parts = parts or {}
      join(parts, first, numbers, count)
      total = total + count
    end
    if count < asked then
      if self.given == 0 and self.rounds == math.huge then
        break -- nothing to repeat
      end
      self.from, self.round = nil, self.round + 1
    end
    if total == n then
      break
    end
  end
  if not parts then
    return 0, 1
  end
  return total, false, #parts == 1 and parts[1] or ops.concatenate(parts, { axis = 1 })
end

function Repeated:state()
  return { round = self.round, given = self.given, from = self.from and self.from:state() }
end

function Repeated:restore(s)
  self.round = check_count(s.round)
  if s.from then
    self.from, self.given = self.open(self.round), s.given
    self.from:restore(s.from)
  end
end

-- ---- elements and batches ----

local Elements = stage.iterator("Elements", stage.Blocks)

local CHUNK = 256 -- numbers that are pulled at a time

function Elements:start()
  self.order, self.store = order.open(self.node, self.pass), order.store(self.node)
  self.count, self.at = 0, 0
  if not self.store.values then
    self.collect = stage.Iterator.collect
  end
end

function Elements:dtype(k)
  return self.store:dtype(k)
end

-- A few numbers first: who takes one element should not pay for many.
function Elements:refill()
  if self.over then
    return false
  end
  self.before = self.order:state()
  local asked = self.count == 0 and 8 or CHUNK
  local count, first, numbers = self.order:pull(asked)
  self.over = count < asked
  self.asked, self.count, self.at, self.first = asked, count, 0, first
  if self.store.values then
    self.values = self.store:values(count, first, numbers)
  else
    self.numbers = numbers and numbers:tolist()
  end
  return count > 0
end

function Elements:next()
  if self.at >= self.count and not self:refill() then
    return nil
  end
  local at, values, numbers = self.at + 1, self.values, self.numbers
  self.at = at
  self.n = self.n + 1
  if values then
    return values[at]
  end
  return self.store:parts(numbers and numbers[at] or self.first + at - 1)
end

function Elements:save()
  return { before = self.before, at = self.at, asked = self.asked }
end

function Elements:load(s)
  if s.before then
    self.order:restore(s.before)
    self.count = s.asked == 8 and 0 or CHUNK
    self:refill()
    self.at = check_count(s.at)
  end
end

--- An iterator of the elements of an ordered node.
function order.elements(node, pass)
  return Elements(node, pass)
end

local Batches = stage.iterator "OrderedBatches"

function Batches:start()
  local input = self.node._inputs[1]
  self.order, self.store = order.open(input, self.pass), order.store(input)
end

function Batches.dtype() end

--- Keeps n batches under way in worker threads.
function Batches:ahead(n)
  self.depth = math.max(n, self.depth or 0)
end

-- The next batch, begun: `at` is the place of the order before it; nil: there is none.
local function begun(self)
  local size, at = self.o.batch_size, self.order:state()
  local count, first, numbers = self.order:pull(size)
  if count == 0 or count < size and self.o.drop_remainder then
    return nil
  end
  local batch = { at = at, first = first, count = count, numbers = numbers }
  if not first and self.store.begin then
    self.share = self.share or ahead.take()
    batch.job = self.store:begin(numbers, self.share:workers())
  end
  return batch
end

-- Fills the queue up to so many.
local function fill(self, most)
  local queue = self.queue or {}
  self.queue = queue
  while not self.over and #queue < most do
    local batch = begun(self)
    queue[#queue + 1] = batch
    self.over = not batch or batch.count < self.o.batch_size
  end
  return queue
end

local function under_way(self)
  return table.remove(fill(self, self.depth + 1), 1)
end

function Batches:draining()
  return self.over and self.depth ~= nil
end

function Batches:start_ahead()
  if self.depth then
    fill(self, self.depth)
  end
end

function Batches:next()
  local size = self.o.batch_size
  if self.depth then
    local batch = under_way(self)
    if not batch then
      return nil
    end
    self.n = self.n + 1
    if batch.first then
      return self.store:span(batch.first, batch.count)
    end
    return self.store:gather(batch.numbers, batch.job)
  end
  local count, first, numbers = self.order:pull(size)
  if count == 0 or count < size and self.o.drop_remainder then
    return nil
  end
  self.n = self.n + 1
  if first then
    return self.store:span(first, count)
  end
  return self.store:gather(numbers)
end

function Batches:save()
  local batch = self.queue and self.queue[1]
  if batch then
    return batch.at
  end
  return self.order:state()
end

function Batches:load(s)
  self.queue, self.over = nil, nil
  self.order:restore(s)
end

function Batches:close()
  self.queue, self.over = nil, true
  if self.share then
    self.share:close()
    self.share = nil
  end
end

--- An iterator of batches that are gathered from the store.
function order.batches(node, pass)
  return Batches(node, pass)
end

return order

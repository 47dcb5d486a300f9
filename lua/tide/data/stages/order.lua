--- Stages that choose which elements come and in what order: shuffle, take, skip, shard, rep. Over
--- rows of a store they only change the order of the numbers (see tide.data.order).
local elements = require "tide.data.elements"
local order = require "tide.data.order"
local stage = require "tide.data.stage"

local INFINITE, UNKNOWN = stage.INFINITE, stage.UNKNOWN

-- ---- shuffle ----

local Shuffle = stage.iterator "shuffle"

-- The pass that decides: always the first where passes share their order.
local function shuffle_pass(node, pass)
  return node._o.reshuffle_each_iteration and pass or 0
end

function Shuffle:start()
  self.input = stage.open(self.node._inputs[1], self.pass)
  self.inputs = { self.input }
  self.buffer, self.count, self.drawn = {}, 0, 0
  self.draw_pass = shuffle_pass(self.node, self.pass)
  self.size = self.o.buffer_size
end

local function packed(first, ...)
  if first ~= nil then
    return elements.pack(first, ...)
  end
end

function Shuffle:next()
  local buffer, size = self.buffer, self.size
  while not self.over and self.count < size do
    local v = packed(self.input:next())
    if v == nil then
      self.over = true
    else
      self.count = self.count + 1
      buffer[self.count] = v
    end
  end
  local count = self.count
  if count == 0 then
    return nil
  end
  local k = stage.below(count, self.node.seed, self.draw_pass, self.drawn) + 1
  local v
  if not self.over then -- what comes next takes the place of what is drawn
    v = packed(self.input:next())
    self.over = v == nil
  end
  local out = buffer[k]
  if v == nil then -- else the last
    v, buffer[count] = buffer[count], nil
    self.count = count - 1
  end
  if k <= self.count then
    buffer[k] = v
  end
  self.drawn = self.drawn + 1
  self.n = self.n + 1
  return elements.parts(out)
end

function Shuffle:save()
  return { buffer = elements.freeze(self.buffer, self.count), drawn = self.drawn, over = self.over }
end

function Shuffle:load(s)
  self.buffer = elements.thaw(s.buffer)
  self.count, self.drawn, self.over = #self.buffer, s.drawn, s.over
end

stage.define("shuffle", { open = Shuffle, draws = true,
  order = function(node, pass)
    local input = node._inputs[1]
    return order.shuffled(function()
      return order.open(input, pass)
    end, node._o.buffer_size, node.seed, shuffle_pass(node, pass))
  end })

-- ---- take, skip ----

local Take = stage.iterator "take"

function Take:start()
  self.input = stage.open(self.node._inputs[1], self.pass)
  self.inputs = { self.input }
  self.most = self.o.count < 0 and math.huge or self.o.count
end

local function counted(self, first, ...)
  if first == nil then
    return nil
  end
  self.n = self.n + 1
  return first, ...
end

function Take:next()
  if self.n >= self.most then
    return nil
  end
  return counted(self, self.input:next())
end

stage.define("take", { open = Take,
  order = function(node, pass)
    local n = node._o.count
    return order.cut(order.open(node._inputs[1], pass), 0, n >= 0 and n or nil)
  end,
  cardinality = function(node)
    local n, most = stage.cardinality(node._inputs[1]), node._o.count
    if most < 0 then
      return n
    elseif n == INFINITE then
      return most
    end
    return n == UNKNOWN and UNKNOWN or math.min(n, most)
  end })

local Skip = stage.iterator "skip"

function Skip:start()
  self.input = stage.open(self.node._inputs[1], self.pass)
  self.inputs = { self.input }
  self.left = self.o.count < 0 and math.huge or self.o.count
end

function Skip:next()
  while self.left > 0 do
    if self.input:next() == nil then
      self.left = 0
      return nil
    end
    self.left = self.left - 1
  end
  return counted(self, self.input:next())
end

function Skip:save()
  return self.left
end

function Skip:load(s)
  self.left = s
end

stage.define("skip", { open = Skip,
  order = function(node, pass)
    local n = node._o.count
    return order.cut(order.open(node._inputs[1], pass), n >= 0 and n or math.maxinteger)
  end,
  cardinality = function(node)
    local n, skipped = stage.cardinality(node._inputs[1]), node._o.count
    if n == INFINITE and skipped >= 0 then
      return INFINITE
    elseif skipped < 0 then
      return 0
    end
    return n == UNKNOWN and UNKNOWN or math.max(0, n - skipped)
  end })

-- ---- shard ----

local Shard = stage.iterator "shard"

function Shard:start()
  self.input = stage.open(self.node._inputs[1], self.pass)
  self.inputs = { self.input }
  self.left = self.o.index - 1
end

function Shard:next()
  while self.left > 0 do
    if self.input:next() == nil then
      return nil
    end
    self.left = self.left - 1
  end
  self.left = self.o.num_shards - 1
  return counted(self, self.input:next())
end

function Shard:save()
  return self.left
end

function Shard:load(s)
  self.left = s
end

stage.define("shard", { open = Shard,
  order = function(node, pass)
    return order.sharded(order.open(node._inputs[1], pass), node._o.num_shards, node._o.index)
  end,
  cardinality = stage.counted(function(n, o)
    return n < o.index and 0 or (n - o.index) // o.num_shards + 1
  end) })

-- ---- repeat ----

local Repeat = stage.iterator "rep"

local function round_pass(pass, round)
  return round == 0 and pass or stage.mix(pass, round)
end

local function begin(self)
  self.input = stage.open(self.node._inputs[1], round_pass(self.pass, self.round))
  self.inputs = { self.input }
  self.given = false
  if self.depth then
    self.input:ahead(self.depth)
  end
end

function Repeat:ahead(n)
  self.depth = n
  self.input:ahead(n)
end

function Repeat:start()
  self.rounds = self.o.count and self.o.count >= 0 and self.o.count or math.huge
  self.round = 0
  begin(self)
end

function Repeat:next()
  if self.round >= self.rounds then
    return nil
  end
  return self:_round(self.input:next())
end

function Repeat:_round(first, ...)
  if first ~= nil then
    self.given = true
    self.n = self.n + 1
    return first, ...
  end
  self.round = self.round + 1
  if self.round >= self.rounds or not self.given then
    self.round = self.rounds
    return nil
  end
  self.input:close()
  begin(self)
  return self:_round(self.input:next())
end

function Repeat:save()
  return { round = self.round < math.huge and self.round or -1, given = self.given }
end

function Repeat:load(s)
  if s.round < 0 then
    self.round = math.huge
    return
  end
  self.round = s.round
  begin(self)
  self.given = s.given
end

stage.define("rep", { open = Repeat,
  order = function(node, pass)
    local input, n = node._inputs[1], node._o.count
    return order.repeated(function(round)
      return order.open(input, round_pass(pass, round))
    end, n and n >= 0 and n or nil)
  end,
  cardinality = function(node)
    local n, rounds = stage.cardinality(node._inputs[1]), node._o.count
    if rounds == 0 or n == 0 then
      return 0
    elseif not rounds or rounds < 0 then
      return n == UNKNOWN and UNKNOWN or INFINITE
    end
    return n < 0 and n or n * rounds
  end })

return true

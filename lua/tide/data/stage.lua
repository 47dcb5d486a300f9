--- What a stage of a data set is: a definition in one table, and the machinery that all share.
---
--- A definition has `open(node, pass)`, which gives an iterator of the node's elements, and may
--- have `cardinality(node)` (a number, INFINITE or UNKNOWN; that of the first input by default),
--- `spec(node)` (a list of specs by part, nil: not known before an element is), `order(node, pass)`
--- (see order.lua) and `draws` (it draws random numbers by node.seed).
---
--- A node is a data set: `_stage` its definition, `_inputs`, `_o` its options, `seed`. A pass is a
--- number: that of the round over the data, mixed with the rounds inside of it; whatever is random
--- depends on a node's seed, the pass and the number of the draw.
---
--- An iterator is an instance of a subclass of `Iterator`: `next()` gives the parts of the next
--- element, or nil at the end, again and again. What it needs to go on in another process are its
--- fields by `save`, and the states of its inputs.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"

local stage = {}

stage.INFINITE, stage.UNKNOWN = -1, -2 -- TensorFlow's numbers

--- Definitions by name.
stage.defined = {}

--- Adds a definition to the table.
--- @param name string that of the method or function that makes such a node
function stage.define(name, definition)
  definition.name = name
  stage.defined[name] = definition
end

--- The pass of round j (from 0) within a pass.
function stage.mix(pass, j)
  return core.image.sample_seed(pass, j, 0x7469646564617461)
end

--- A whole number below n (from 0): draw `i` of a pass.
function stage.below(n, seed, pass, i)
  return (core.image.sample_seed(seed, pass, i) >> 1) % n
end

--- A number from 0 up to 1: draw `i` of a pass.
function stage.uniform(seed, pass, i)
  return (core.image.sample_seed(seed, pass, i) >> 11) * 0x1p-53
end

-- ---- iterators ----

local Iterator = class.new("DataIterator")
stage.Iterator = Iterator

--- @param node table the data set
--- @param pass integer
--- @param inputs table|nil iterators that it reads
function Iterator:_init(node, pass, inputs)
  self.node, self.o, self.pass, self.inputs = node, node._o, pass, inputs or {}
  self.input = self.inputs[1]
  self.n = 0 -- elements given
  self:start()
end

function Iterator.start() end

--- Appends elements of one part to a list that has `count`, up to `size` of them. Returns how many
--- there are then: fewer only at the end.
function Iterator:collect(column, count, size)
  while count < size do
    local x, more = self:next()
    if x == nil then
      break
    elseif more ~= nil then
      errors.raise(nil, "the elements of a batch differ in their parts (expected 1, got more)")
    end
    count = count + 1
    column[count] = x
  end
  return count
end

--- The dtype of numbers in part k, where it is known.
function Iterator:dtype(k)
  return self.input and self.input:dtype(k)
end

function Iterator.save() end
function Iterator.load() end

--- Where the iterator stands, as plain data and tensors.
function Iterator:state()
  local out = { n = self.n, own = self:save() }
  if #self.inputs > 0 then
    out.inputs = {}
    for i, input in ipairs(self.inputs) do
      out.inputs[i] = input:state()
    end
  end
  return out
end

--- Goes there; the iterator is fresh.
function Iterator:restore(s)
  self.n = s.n
  self:load(s.own)
  for i, input in ipairs(self.inputs) do
    if type(s.inputs) ~= "table" or type(s.inputs[i]) ~= "table" then
      errors.raise("restore", "the state does not fit: %s has no input number %d in it",
        self.node._stage.name, i)
    end
    input:restore(s.inputs[i])
  end
end

--- Stops what runs for it.
function Iterator:close()
  for _, input in ipairs(self.inputs) do
    input:close()
  end
end

--- From now on n elements are to be under way before they are asked for, as far as threads can make
--- them: batches of rows. Others hand the wish down.
function Iterator:ahead(n)
  for _, input in ipairs(self.inputs) do
    input:ahead(n)
  end
end

--- Whether all that threads make for this pass is under way already, and nothing but threads works
--- for it: another pass may begin behind it.
function Iterator.draining()
  return false
end

--- Begins what threads make before anything is asked for.
function Iterator:start_ahead()
  for _, input in ipairs(self.inputs) do
    input:start_ahead()
  end
end

--- What names it in errors.
function Iterator:_label()
  return ("%s, element %d"):format(self.node._stage.name, self.n + 1)
end

--- A class of iterators for the stage of a name.
--- @param base table|nil
function stage.iterator(name, base)
  return class.new(name, base or Iterator)
end

-- ---- elements that come in blocks ----

--- Iterators that hold some elements of one part at once: `values`, of which those behind `at` up
--- to `count` come next. `refill()` brings others and tells whether there are any.
local Blocks = class.new("DataBlocks", Iterator)
stage.Blocks = Blocks

function Blocks:collect(column, count, size)
  while count < size and (self.at < self.count or self:refill()) do
    local at, n = self.at, math.min(self.count - self.at, size - count)
    table.move(self.values, at + 1, at + n, count + 1, column)
    self.at, self.n, count = at + n, self.n + n, count + n
  end
  return count
end

-- ---- errors ----

local DEEPEST = 1000 -- calls that are looked at: finding the n-th takes n steps

-- Stages whose `next` is on the way to an error, innermost first.
local function trail(level)
  local out = {}
  for at = level, level + DEEPEST do
    local info = debug.getinfo(at, "f")
    if not info then
      break
    end
    if info.func then
      local _, self = debug.getlocal(at, 1)
      if type(self) == "table" and class.is(self, Iterator) then
        out[#out + 1] = self
      end
    end
  end
  return out
end

--- The message handler of a pass: names the innermost stage and its element.
function stage.explain_error(e)
  if type(e) == "table" and e.stage or tostring(e):find("interrupted", 1, true) then
    return e
  end
  local at = trail(3)[1]
  if not at then
    return e
  end
  local label = at:_label()
  if errors.is(e) then
    e.path = e.path and e.path ~= "" and label .. ": " .. e.path or label
    e.stage = label
    return e
  end
  local out = errors.new(nil, tostring(e))
  out.path, out.stage, out.at = label, label, nil
  return out
end

-- ---- opening ----

--- An iterator of the elements of a node.
function stage.open(node, pass)
  local definition = node._stage
  if definition.order and stage.ordered(node) then
    return require("tide.data.order").elements(node, pass)
  end
  return definition.open(node, pass)
end

--- Whether the elements of a node are rows of one store in some order: batches are gathered.
function stage.ordered(node)
  if node._ordered == nil then
    local definition, input = node._stage, node._inputs[1]
    node._ordered = definition.order ~= nil and (input == nil or stage.ordered(input))
      and (definition.ordered == nil or definition.ordered(node))
  end
  return node._ordered
end

--- How many elements a pass over a node gives: a number, INFINITE or UNKNOWN.
function stage.cardinality(node)
  local f = node._stage.cardinality
  if f then
    return f(node)
  end
  return stage.cardinality(node._inputs[1])
end

--- A count of a node's first input, changed by f where it is a number.
function stage.counted(f)
  return function(node)
    local n = stage.cardinality(node._inputs[1])
    if n < 0 then
      return n
    end
    return f(n, node._o)
  end
end

--- Specs by part, or nil where nothing but an element tells.
function stage.spec(node)
  local f = node._stage.spec
  if f then
    return f(node)
  end
  return node._inputs[1] and stage.spec(node._inputs[1])
end

-- ---- data sets made inside of a stage ----

local deriving -- what seeds come from while a stage calls a function that makes a data set

--- The seed of a node that was given none: drawn from Tide's generator, or, inside of a stage's
--- function, from the stage's seed and the element's number, so that it is the same elsewhere.
function stage.new_seed(name)
  local d = deriving
  if d then
    d.n = d.n + 1
    return core.image.sample_seed(d.seed, d.pass, d.n)
  end
  return core.draw_seed(name)
end

local Derived = {}

function Derived.__close(d)
  deriving = d.before
end

local function need_node(v)
  if type(v) ~= "table" or not v._stage then
    errors.raise(nil, "the function must give a data set (got %s)", check.show(v))
  end
  return v
end

--- The data set that a function gives for element `number` of an iterator.
function stage.inner(iterator, number, f, ...)
  local pass = stage.mix(iterator.pass, number)
  deriving = setmetatable({ before = deriving, seed = iterator.node.seed, pass = pass, n = 0 },
    Derived)
  local _ <close> = deriving
  return need_node((f(...)))
end

-- ---- states of whole pipelines ----

--- The stages of a pipeline in one line, by which states are told apart.
function stage.signature(node)
  local inputs = {}
  for i, input in ipairs(node._inputs) do
    inputs[i] = stage.signature(input)
  end
  return node._stage.name .. (#inputs > 0 and "(" .. table.concat(inputs, ", ") .. ")" or "")
end

-- Nodes that draw, in order.
local function drawing(node, out)
  if node.seed then
    out[#out + 1] = node
  end
  for _, input in ipairs(node._inputs) do
    drawing(input, out)
  end
  return out
end

--- The seeds of a pipeline.
function stage.seeds(node)
  local out = {}
  for i, n in ipairs(drawing(node, {})) do
    out[i] = n.seed
  end
  return out
end

--- Sets them.
function stage.set_seeds(node, seeds)
  local nodes = drawing(node, {})
  if type(seeds) ~= "table" or #seeds ~= #nodes then
    errors.raise("restore", "the state does not fit: it has other random stages (expected %d, got \z
      %s)", #nodes, type(seeds) == "table" and tostring(#seeds) or "none")
  end
  for i, n in ipairs(nodes) do
    n.seed = seeds[i]
  end
end

--- What a data set made inside of a stage needs to go on: seeds and the place of its iterator.
function stage.freeze(node, iterator)
  return { signature = stage.signature(node), seeds = stage.seeds(node), at = iterator:state() }
end

--- An iterator of such a data set, where `s` says.
function stage.thaw(node, pass, s)
  local now = stage.signature(node)
  if now ~= s.signature then
    errors.raise("restore", "the function gave another data set than before (expected %s, got %s)",
      tostring(s.signature), now)
  end
  stage.set_seeds(node, s.seeds)
  local iterator = stage.open(node, pass)
  iterator:restore(s.at)
  return iterator
end

return stage

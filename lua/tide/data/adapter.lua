--- Turns what a person gives fit, evaluate or predict into batches: tensors and text (single, in
--- lists, by name), nested tables of numbers, functions, coroutines, iterators, data sets and
--- sequences.
---
--- An adapter has `batches` (number per epoch, nil: unknown), `begin(epoch)`, which starts a round,
--- `next()`, which returns x, y, sample_weight of the next batch, or nil, `again(epoch)`, which
--- starts another round and tells whether there is one, and `finish()` for the end of an epoch.
--- Where `more` is set another round is to follow, which may begin early. `close()` ends what runs
--- for it. `state()` says as plain data where it is, `restore(s)` goes
--- there: the next batch is the one that followed, in the same order.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local ops = require "tide.ops"
local strings = require "tide.strings"
local structure = require "tide.data.structure"
local tensors = require "tide.training.tensors"

local adapter = {}

-- ---- class weights ----

-- Weights of targets by label. Labels count from 1; for 0/1 targets the keys are 0 and 1.
local ClassWeight = {}
ClassWeight.__index = ClassWeight

--- @param given table weights by label
--- @param targets string|nil what the loss takes: "labels", "one_hot" (along `axis`), "binary" or
--- "margins"; left out, the targets themselves tell whether they are labels or one-hot
--- @param axis integer|nil axis of the classes of one-hot targets, -1 when left out
--- @param y any targets from which the number of classes can be read, if there are any
function adapter.class_weight(given, targets, axis, y)
  local binary = targets == "binary" or targets == "margins"
  local self = setmetatable({ binary = binary, targets = targets, axis = axis or -1 }, ClassWeight)
  local high, base = 0, binary and 0 or 1
  for k, v in pairs(given) do
    if math.type(k) ~= "integer" or type(v) ~= "number" then
      errors.raise("class_weight", "must be numbers by label (got the entry [%s] = %s)",
        check.show(k), check.show(v))
    end
    if k == 0 then
      self.binary, base = true, 0
    end
    high = math.max(high, k)
  end
  local classes
  if self.binary then
    classes = 2
  elseif type(y) == "userdata" and y.size > 0 then
    local labels
    labels, classes = self:labels(y)
    classes = classes or math.floor(tensors.number(ops.max(labels)))
  end
  for k in pairs(given) do
    if k < base or (classes and k > classes - 1 + base) then
      errors.raise("class_weight", "has the key %d, which is no label (%s)", k,
        self.binary and "0/1 targets have the keys 0 and 1; class labels count from 1"
          or ("labels are 1 to %s"):format(classes or "n"))
    end
  end
  local values = {}
  for i = 0, math.max(high, classes or 0) do
    values[i + 1] = given[i] or 1.0
  end
  self.values = core.tensor(values)
  return self
end

-- Whether every row along the last axis is zeros and a single 1.
local function is_one_hot(y)
  local last = { axis = -1 }
  return y.ndim > 1 and y.shape[-1] > 1
    and ops.all(ops.logical_or(ops.equal(y, 0), ops.equal(y, 1)))
    and ops.all(ops.equal(ops.sum(ops.cast(y, "float32"), last), 1))
end

--- The labels of targets, of their shape without the axis of classes, and the number of classes
--- where that axis tells it.
function ClassWeight:labels(y)
  if self.targets == "one_hot" or (not self.binary and self.targets ~= "labels"
    and is_one_hot(y)) then
    local axis = self.targets == "one_hot" and self.axis or -1
    if y.ndim < 2 then
      errors.raise("class_weight", "one-hot targets have an axis of classes (got shape %s)",
        tostring(y.shape))
    end
    return ops.argmax(y, { axis = axis }), y.shape[axis]
  elseif not self.binary and y.size > 0 and tensors.is_float(y.dtype)
    and not ops.all(ops.equal(y, ops.floor(y))) then
    errors.raise("class_weight",
      "the targets are neither labels nor one-hot (shape %s, values from %g to %g); give \z
      sample_weight", tostring(y.shape), tensors.number(ops.min(y)), tensors.number(ops.max(y)))
  elseif y.ndim > 1 and y.shape[-1] == 1 then
    return tensors.hold(ops.squeeze(y, { axis = -1 }), y.dtype)
  end
  return y
end

--- One weight per label. `w`: sample weights given beside, which Keras refuses too.
function ClassWeight:of(y, w)
  if w ~= nil then
    errors.raise("class_weight",
      "sample_weight and class_weight cannot both be given; multiply the sample weights instead")
  end
  if type(y) == "table" and structure.kind(y) ~= "leaf" then
    local parts = structure.flatten(y, "y")
    if #parts ~= 1 then
      errors.raise("class_weight",
        "needs a model with one output, y has %d parts; give sample_weight", #parts)
    end
    y = parts[1]
  end
  y = tensors.of(y, nil, "y")
  y = self:labels(y)
  if y.size > 0 then
    local low, high = tensors.number(ops.min(y)), tensors.number(ops.max(y))
    if low < 0 or high >= self.values.shape[1] + 1 then
      errors.raise("class_weight", "the targets hold %s, which is no label",
        tostring(low < 0 and low or high))
    elseif high >= self.values.shape[1] then
      local more = self.values:tolist()
      for i = #more + 1, math.floor(high) + 1 do
        more[i] = 1.0
      end
      self.values = core.tensor(more)
    end
  end
  return ops.take(self.values, ops.add(ops.cast(y, "int64"), 1), { axis = 1 })
end

-- ---- arrays ----

local Arrays = {}
Arrays.__index = Arrays

-- All leaves must have the same number of rows.
local function count_rows(groups, owner)
  local n
  for _, g in ipairs(groups) do
    for i, t in ipairs(g.leaves) do
      local rows = t and structure.samples(t) or n
      if t and not structure.samples(t) then
        errors.raise(owner, "%s has no axis of samples (%s)", g.what,
          type(t) == "string" and "it is a string" or "shape " .. tostring(t.shape))
      end
      if n and rows ~= n then
        errors.raise(owner,
          "x, y and sample_weight must have the same number of samples (x has %d, %s%s has %d)", n,
          g.what, #g.leaves > 1 and (" number " .. i) or "", rows)
      end
      n = rows
    end
  end
  return n or 0
end

local function group(v, what, order)
  local leaves, plan = structure.flatten(v, what, order)
  return { leaves = leaves, plan = plan, what = what }
end

local TOGETHER, MOST = 1 << 18, 64 -- bytes of batches that are made at a time, batches

-- How many batches are made at a time: behind a step nothing of what makes them is in the caches,
-- so that the first of small ones takes several times as long as those behind it.
local function at_a_time(self)
  local bytes = 0
  for _, t in ipairs(self.all) do
    bytes = bytes + (type(t) == "userdata" and t.nbytes / math.max(self.n, 1) or t and 16 or 0)
  end
  return math.max(1, math.min(MOST, TOGETHER // (bytes * self.size + 1)))
end

--- @param o table x, y, sample_weight, batch_size, shuffle, class_weight, input_names,
--- output_names, owner
function adapter.arrays(o)
  local self = setmetatable({}, Arrays)
  self.groups = { group(o.x, "x", o.input_names), group(o.y, "y", o.output_names),
    group(o.sample_weight, "sample_weight", o.output_names) }
  self.n = count_rows(self.groups, o.owner or "fit")
  self.size = o.batch_size or 32
  self.shuffle = o.shuffle or false
  self.batches = (self.n + self.size - 1) // self.size
  self.class_weight = o.class_weight
  local x, y, w = self.groups[1], self.groups[2], self.groups[3]
  -- the everyday case: one x, one y or none, no weights
  self.simple = x.plan == "leaf" and (y.plan == "leaf" or y.plan == nil) and w.plan == nil
    and not o.class_weight
  self.x, self.y = x.leaves[1], y.leaves[1]
  self.range = { { 1, 1 } }
  self.gather = { first = 1, count = self.size }
  self.all = {}
  for _, g in ipairs(self.groups) do
    table.move(g.leaves, 1, #g.leaves, #self.all + 1, self.all)
  end
  self.together = at_a_time(self)
  return self
end

function Arrays:begin()
  self.at, self.ready = 0, {}
  self.order, self.numbers = nil, nil
  self.drawn = self.shuffle and { core.generator() } or nil
  if self.shuffle == "batch" then
    local starts = core.ops.random_permutation_(self.batches):tolist()
    self.starts = type(starts) == "table" and starts or { starts }
  elseif self.shuffle and self.n > 1 then
    self.order, self.numbers = core.ops.random_permutation_(self.n), nil
  end
end

function Arrays:again(epoch)
  self:begin(epoch)
  return self.batches > 0
end

function Arrays.finish() end
function Arrays.close() end

function Arrays:state()
  return { batch = self.at or 0, generator = self.drawn and { table.unpack(self.drawn) } }
end

-- Raises where a state is not what this module's sources give.
local function check_place(s)
  local g = s.generator
  if math.type(s.batch) ~= "integer" or s.batch < 0 or g ~= nil and type(g) ~= "table" then
    errors.raise("restore", "the place in the data is damaged (expected a batch and a generator, \z
      got %s and %s)", check.show(s.batch), check.show(g))
  end
end

function Arrays:restore(s)
  check_place(s)
  local now = { core.generator() }
  if s.generator then
    core.generator(table.unpack(s.generator))
  end
  self:begin()
  core.generator(table.unpack(now))
  self.at = s.batch
end

-- Rows first..first + count - 1 of a leaf, in this epoch's order.
local function rows(self, t, first, count)
  if type(t) == "table" then -- text
    self.numbers = self.numbers or self.order and self.order:tolist()
    return strings.rows(t, first, count, self.numbers)
  elseif self.order then
    local g = self.gather
    g.first, g.count = first, count
    return ops.batch_gather(t, self.order, g)
  elseif first == 1 and count == self.n then
    return t
  end
  local r = self.range
  r[1][1], r[1][2] = first, first + count - 1
  return t[r]
end

-- Batch number `at`, from 0.
function Arrays:_make(at)
  if self.starts then
    at = self.starts[at + 1] - 1
  end
  local first = at * self.size + 1
  local count = self.n - first + 1
  if count > self.size then
    count = self.size
  end
  if self.simple and self.together == 1 then
    local y = self.y
    return rows(self, self.x, first, count), y and rows(self, y, first, count) or nil
  elseif self.order and #self.all < 200 then -- all in one call, if they lie in the host's memory
    local x, y, w = core.take(self.order, first, count, self.groups)
    if x ~= nil then
      return x, y, w
    end
  end
  local out = {}
  for k, g in ipairs(self.groups) do
    local leaves = {}
    for i, t in ipairs(g.leaves) do
      leaves[i] = t and rows(self, t, first, count)
    end
    out[k] = structure.pack(leaves, g.plan)
  end
  return out[1], out[2], out[3]
end

-- Makes the batches behind number `at`; written: how often the data were written in place.
local function make_ready(self, at, written)
  local _ <close> = core.scope_pause() -- they outlive the step
  self.written = written
  for k = at + 1, math.min(at + self.together, self.batches) - 1 do
    self.ready[k] = { self:_make(k) }
  end
end

function Arrays:next()
  local at, ready = self.at, self.ready
  if at >= self.batches then
    return nil
  end
  self.at = at + 1
  local x, y, w
  if self.together > 1 then
    local batch, written = ready[at], core.written(self.all)
    if batch and written == self.written then
      ready[at], x, y, w = nil, batch[1], batch[2], batch[3]
    else
      make_ready(self, at, written)
    end
  end
  if x == nil then
    x, y, w = self:_make(at)
  end
  if self.class_weight then
    w = self.class_weight:of(y, w)
  end
  return x, y, w
end

--- The first rows, and the last `share` of them, as two triples { x, y, sample_weight } (Keras'
--- validation_split).
function adapter.split(x, y, sample_weight, share, input_names, output_names)
  local groups = { group(x, "x", input_names), group(y, "y", output_names),
    group(sample_weight, "sample_weight", output_names) }
  local n = count_rows(groups, "fit")
  local at = math.floor(n * (1 - share))
  if at == 0 or at == n then
    errors.raise(
      "fit",
      "validation_split = %s of %d samples leaves %s set empty; give more data or another share",
      share, n, at == 0 and "the training" or "the validation")
  end
  local first, last = {}, {}
  for k, g in ipairs(groups) do
    local a, b = {}, {}
    for i, t in ipairs(g.leaves) do
      a[i], b[i] = t and structure.slice(t, 1, at), t and structure.slice(t, at + 1, n)
    end
    first[k], last[k] = structure.pack(a, g.plan) or false, structure.pack(b, g.plan) or false
  end
  return first, last
end

-- ---- streams ----

local Stream = {}
Stream.__index = Stream

local function as_batch(v, what)
  if v == nil or v == false then
    return nil
  elseif type(v) == "userdata" then
    return v
  end
  local leaves, plan = structure.flatten(v, what)
  return structure.pack(leaves, plan)
end

function Stream:begin(epoch)
  -- a source that was put where a round had ended may begin the next one itself, or not
  if self.restart and (not self.resumed or self:ended()) then
    self.step, self.held, self.closed = self.restart(epoch), nil, nil
  end
  self.resumed = nil
  if self.more and self.another then
    self.another()
  end
end

-- Whether there is no further batch; one that there is stays for `next`.
function Stream:ended()
  if not self.held then
    local batch = table.pack(self.step())
    self.held = batch[1] ~= nil and batch or nil
  end
  return self.held == nil
end

-- A function that gave nil may have ended a round only: it is asked once more.
function Stream:again(epoch)
  self:begin(epoch)
  return not self:ended() or (self.once and not self:ended())
end

function Stream:finish()
  if self.on_epoch_end then
    self.on_epoch_end()
  end
end

function Stream:state()
  if not self.where then
    errors.raise("state", "a function or coroutine cannot say where it is; give a data source \z
      with state() and restore(s)")
  end
  return self.closed or self.where()
end

function Stream:restore(s)
  if not self.go then
    errors.raise("restore", "a function or coroutine cannot go to a place; give a data source \z
      with state() and restore(s)")
  end
  self.step, self.held, self.resumed, self.closed = self.go(s), nil, true, nil
end

-- A pass of Tide's own data that was ended with the run goes on where it was.
local function reopen(self)
  local at = self.closed
  self.closed = nil
  self.step = self.go(at)
end

--- Ends what runs for a source when nothing takes batches for now: worker threads and processes.
function Stream:close()
  if self.stop and self.step and not self.closed then
    self.closed = self.where()
    self.stop()
  end
end

function Stream:next()
  self.resumed = nil
  if self.closed then
    reopen(self)
  end
  local x, y, w
  local held = self.held
  if held then
    x, y, w, self.held = held[1], held[2], held[3], nil
  else
    x, y, w = self.step()
  end
  if x == nil then
    return nil
  end
  x, y, w = as_batch(x, "x"), as_batch(y, "y"), as_batch(w, "sample_weight")
  if self.class_weight then
    w = self.class_weight:of(y, w)
  end
  return x, y, w
end

local function method(v, name)
  local ok, f = pcall(function()
    return v[name]
  end)
  return ok and type(f) == "function" and f or nil
end

local function length(v)
  local m = getmetatable(v)
  if type(m) == "table" and m.__len then
    return #v
  end
end

-- A Sequence: `#` batches, `get(i)` (or `seq[i]`) from 1, perhaps `on_epoch_end`.
local function sequence(seq, shuffle)
  local n = length(seq) or #seq
  local get = method(seq, "get")
  local ended = method(seq, "on_epoch_end")
  local state, restore = method(seq, "state"), method(seq, "restore")
  local i, drawn = 0, nil
  local function from(at)
    local order
    if shuffle and n > 1 then
      drawn = { core.generator() }
      order = core.ops.random_permutation_(n):tolist()
    end
    i = at
    return function()
      i = i + 1
      if i > n then
        return nil
      end
      return get(seq, order and order[i] or i)
    end
  end
  return setmetatable({
    batches = n,
    restart = function()
      return from(0)
    end,
    on_epoch_end = ended and function()
      ended(seq)
    end,
    where = function()
      return { batch = math.min(i, n), generator = drawn and { table.unpack(drawn) },
        own = state and state(seq) or nil }
    end,
    go = function(s)
      check_place(s)
      if restore and s.own ~= nil then
        restore(seq, s.own)
      end
      local now = { core.generator() }
      if s.generator then
        core.generator(table.unpack(s.generator))
      end
      local step = from(s.batch)
      core.generator(table.unpack(now))
      return step
    end,
  }, Stream)
end

-- A coroutine.wrap that has ended is a function that raises when it is called again.
local function of_function(f)
  local ended = false
  local function after(ok, ...)
    if not ok and not tostring((...)):find("cannot resume dead coroutine", 1, true) then
      error((...), 0)
    elseif not ok then
      return nil
    end
    ended = (...) == nil
    return ...
  end
  return setmetatable({ once = true, step = function()
    if ended then
      return after(pcall(f))
    end
    return after(true, f())
  end }, Stream)
end

local function of_thread(co)
  return of_function(function()
    if coroutine.status(co) == "dead" then
      return nil
    end
    local function check_result(ok, ...)
      if not ok then
        error((...), 0)
      end
      return ...
    end
    return check_result(coroutine.resume(co))
  end)
end

local Closing = {}

function Closing.__close(c)
  for i = 1, c.n do
    if c[i] then
      c[i]:close()
    end
  end
end

--- Something to be closed that ends what runs for these sources.
function adapter.closing(...)
  return setmetatable({ n = select("#", ...), ... }, Closing)
end

--- Raises where a source has no end and nothing says how many batches are meant.
--- @param option string name of the option that says it
function adapter.check_end(source, steps, owner, option)
  if source and source.endless and not steps then
    errors.raise(owner, "the data have no end; give %s, the number of batches", option)
  end
end

--- Whether `v` is something that gives batches itself.
function adapter.is_stream(v)
  local t = type(v)
  if t == "function" or t == "thread" then
    return true
  elseif t == "table" then
    return method(v, "iter") ~= nil or (method(v, "get") ~= nil and (length(v) ~= nil or #v > 0))
      or method(v, "next") ~= nil
  end
  return false
end

--- An adapter for anything.
--- @param o table x, y, sample_weight, batch_size, shuffle, class_weight, input_names,
--- output_names, owner (for errors)
function adapter.new(o)
  local x, owner = o.x, o.owner or "fit"
  if not adapter.is_stream(x) then
    if structure.kind(x) == nil then
      errors.raise(owner, "x is missing (expected tensors, a data set, a sequence or a function)")
    end
    return adapter.arrays(o)
  end
  if o.y ~= nil or o.sample_weight ~= nil then
    errors.raise(owner, "y and sample_weight come from the data source itself when x is %s",
      check.show(x))
  end
  local out
  if type(x) == "function" then
    out = of_function(x)
  elseif type(x) == "thread" then
    out = of_thread(x)
  elseif method(x, "iter") then
    local where, go = method(x, "state"), method(x, "restore")
    local function own() -- the pass that batches come from: others may walk over x meanwhile
      local step = out and out.step
      return x._closes and type(step) == "table" and method(step, "state")
        and method(step, "close") and step or x
    end
    local function begun(step) -- the next batch is made during the step before
      if x._closes and type(step) == "table" and method(step, "ahead") then
        step:ahead(1)
      end
      return step
    end
    out = setmetatable({
      batches = length(x),
      endless = x._closes and x.cardinality and x:cardinality() == -1,
      stop = x._closes and function()
        own():close()
      end or nil,
      another = x._closes and function()
        local pass = own()
        if method(pass, "another") then
          pass:another()
        end
      end or nil,
      restart = function()
        local before = own()
        if before ~= x and not before.over then
          before:close()
        end
        local step = x:iter()
        if before ~= x then
          before:close() -- what it has begun for another one
        end
        return begun(step)
      end,
      where = where and function()
        return own():state()
      end,
      go = go and function(s)
        go(x, s)
        return begun((x:iter()))
      end,
    }, Stream)
  elseif method(x, "get") then
    out = sequence(x, o.shuffle)
  else
    local next_batch = method(x, "next")
    out = of_function(function()
      return next_batch(x)
    end)
    out.batches = length(x)
  end
  out.class_weight = o.class_weight
  return out
end

return adapter

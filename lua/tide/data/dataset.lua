--- The class Dataset: what passes over data share whatever the stages are. Sources and
--- transformations are added by tide.data.sources and tide.data.methods.
---
---     local ds = tide.data.Dataset.range(10):shuffle(10, { seed = 1 }):batch(4)
---     #ds   --> 3
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local elements = require "tide.data.elements"
local errors = require "tide.errors"
local guard = require "tide.saving.guard"
local json = require "tide.utils.json"
local list = require "tide.list"
local plain = require "tide.training.plain"
local stage = require "tide.data.stage"

local Dataset = class.strict(class.new "Dataset")
Dataset._closes = true -- fit closes it when it ends

local INFINITE, UNKNOWN = stage.INFINITE, stage.UNKNOWN

--- @param name string of the stage
--- @param inputs table data sets
--- @param o table|nil checked options
--- @param fields table|nil further fields of the node
function Dataset:_init(name, inputs, o, fields)
  if not stage.defined[name] then
    errors.raise("Dataset", "is made by its functions: Dataset.from_tensor_slices, range, \z
      from_generator, ... (got the call Dataset(%s))", name ~= nil and check.show(name) or "")
  end
  self._stage, self._inputs, self._o = stage.defined[name], inputs or {}, o or {}
  for k, v in pairs(fields or {}) do
    self[k] = v
  end
  if self._stage.draws then
    self.seed = self._o.seed or stage.new_seed(name)
  end
  self._epoch = -1 -- the number of the last pass that was begun
end

--- A data set that reads this one.
function Dataset:_with(name, o, fields)
  if type(self) ~= "table" or not rawget(self, "_stage") then
    errors.raise(name, "is a method: write dataset:%s (got %s)", name, check.show(self))
  end
  return Dataset(name, { self }, o, fields)
end

-- Elements that a stage has collected, as a data set.
function elements.collected(values, dtypes)
  return Dataset("memory", {}, nil, { _elements = values, _dtypes = dtypes })
end

-- The elements in a file that encode.lua wrote.
function elements.stored(path, packed, count)
  return Dataset("load", {}, nil, { _path = path, _packed = packed, _count = count })
end

-- ---- passes ----

local Pass = class.new "DatasetIterator"
Dataset.Pass = Pass

function Pass:_init(dataset, epoch)
  self.dataset, self.epoch = dataset, epoch
  local _ <close> = core.scope_pause()
  self.iterator = stage.open(dataset, epoch)
  self.given, self.seconds = 0, 0
end

-- Ends what runs for it, but not the pass that has been begun behind it.
local function let_go(self)
  if self.iterator then
    self.over = true
    local iterator = self.iterator
    self.iterator = nil
    iterator:close()
  end
end

-- Begins the pass behind this one, as far as threads make it.
local function follow(self)
  self.followed = false
  local pass = Pass(self.dataset, self.epoch + 1)
  self.follower = pass
  pass:ahead(self.depth or 1)
  pass.iterator:start_ahead()
end

local function delivered(self, ok, first, ...)
  if not ok then
    self:close()
    error(first, 0)
  elseif first == nil then
    let_go(self)
    return nil
  end
  self.given = self.given + 1
  if self.followed and self.iterator:draining() then
    follow(self)
  end
  return first, ...
end

--- The parts of the next element; nil at the end.
function Pass:next()
  local iterator = self.iterator
  if not iterator then
    return nil
  end
  local _ <close> = core.scope_pause() -- stages keep elements
  return delivered(self, xpcall(iterator.next, stage.explain_error, iterator))
end

Pass.__call = Pass.next

--- Keeps n elements under way in worker threads, as far as they can be made there: what `prefetch`
--- does, and fit with every data set.
function Pass:ahead(n)
  if self.iterator then
    self.depth = n
    self.iterator:ahead(n)
  end
end

--- Says that another pass will follow this one: threads begin it while the last elements of this
--- one are used. It is what it would be anyway; closing this pass, or the data set, ends it, too.
function Pass:another()
  self.followed = true
end

--- Where the pass is, as plain data and tensors: what `dataset:restore` takes, perhaps in another
--- process.
function Pass:state()
  local ds = self.dataset
  return { kind = "tide.data", signature = stage.signature(ds), seeds = stage.seeds(ds),
    epoch = self.epoch, given = self.given, over = self.over or false,
    at = self.iterator and self.iterator:state() or nil }
end

--- Ends the pass and what runs for it.
function Pass:close()
  local follower = self.follower
  self.followed, self.follower = false, nil
  let_go(self)
  if follower then
    follower:close()
  end
end

Pass.__close, Pass.__gc = Pass.close, nil

function Pass:__tostring()
  return ("iterator over %s, %d elements given"):format(tostring(self.dataset), self.given)
end

-- Begins a pass, or gives the one that `restore` has put somewhere.
local function begin(self)
  local pass, before = self._restored, self._pass
  self._restored = nil
  if not pass then
    self._epoch = self._epoch + 1
    local ready = before and before.follower
    if ready and ready.epoch == self._epoch then
      pass, before.follower = ready, nil
    end
    pass = pass or Pass(self, self._epoch)
  end
  self._pass = pass
  return pass
end

--- One pass over the elements: `for x, y in ds:iter() do ... end`, which also ends what runs for it
--- when the loop is left early. The result can be called, has `next()`, `state()` and `close()`.
--- After `restore` it is the rest of the pass.
---
---     local sum = 0
---     for x in tide.data.Dataset.range(5):iter() do sum = sum + x end
--- @return DatasetIterator
function Dataset:iter()
  local pass = begin(self)
  return pass, nil, nil, pass
end

Dataset.as_numpy_iterator = Dataset.iter

--- The parts of the next element of the current pass; nil at its end, then the next pass begins.
---
---     tide.data.Dataset.range(5, 8):next()   --> 5
function Dataset:next()
  local pass = self._pass
  if self._restored or not pass or pass.ended then
    pass = begin(self)
  end
  local function ended(first, ...)
    pass.ended = first == nil
    return first, ...
  end
  return ended(pass:next())
end

local function remember(walk, first, ...)
  walk.last = first
  return first, ...
end

-- `for x, y in ds do`: the first call of a generic for brings no element.
function Dataset:__call(...)
  if select("#", ...) == 0 then
    return self:next()
  end
  local last, walk = select(2, ...), self._walk
  if last == nil then
    if walk then
      walk:close() -- of a loop that was left
    end
    walk = self:iter()
    self._walk = walk
  elseif not walk or walk.over or walk.last ~= last and last == last then
    errors.raise("Dataset", "a loop within a loop over the same data set needs passes of their \z
      own; write for ... in dataset:iter() do")
  end
  return remember(walk, walk())
end

--- Where the current pass is, as plain data and tensors, shuffle buffers and seeds included. Before
--- the first pass: its beginning.
---
---     local ds = tide.data.Dataset.range(5)
---     ds:next()
---     local again = tide.data.Dataset.range(5)
---     again:restore(ds:state())
---     again:next()   --> 1
function Dataset:state()
  local pass = self._restored or self._pass
  if not pass then
    pass = Pass(self, self._epoch + 1)
    local out = pass:state()
    pass:close()
    return out
  end
  return pass:state()
end

--- Puts the data set where `state` said, perhaps in another process: the next pass gives what was
--- left, in the same order. The data set is made by the same calls.
---
---     local ds = tide.data.Dataset.range(5)
---     ds:restore(ds:state())
---     ds:next()   --> 0
--- @param state table what `state()` gave
function Dataset:restore(state)
  if type(state) ~= "table" or state.kind ~= "tide.data" then
    errors.raise("Dataset.restore", "takes what state() gave (got %s)", check.show(state))
  end
  local now = stage.signature(self)
  if state.signature ~= now then
    errors.raise("Dataset.restore", "the state is of another data set (expected %s, got %s)", now,
      tostring(state.signature))
  elseif math.type(state.epoch) ~= "integer" or state.at ~= nil and type(state.at) ~= "table" then
    errors.raise("Dataset.restore", "the state is damaged (got epoch %s)", check.show(state.epoch))
  end
  local _ <close> = core.scope_pause()
  stage.set_seeds(self, state.seeds)
  if self._pass then
    self._pass:close()
  end
  local pass = Pass(self, state.epoch)
  if state.at and not state.over then
    local ok, e = pcall(pass.iterator.restore, pass.iterator, state.at)
    if not ok then
      pass:close()
      if errors.is(e) or tostring(e):find("interrupted", 1, true) then
        error(e, 0)
      end
      errors.raise("Dataset.restore", "the state is damaged (%s)", tostring(e))
    end
  else
    pass:close()
  end
  pass.given = state.given
  self._epoch, self._restored, self._pass = state.epoch, pass, nil
end

local function check_path(where, path)
  if type(path) ~= "string" then
    errors.raise(where, "path must be a string (got %s)", check.show(path))
  end
end

--- Writes where the current pass is into a file (safetensors, atomically).
---
---     local path = os.tmpname()
---     tide.data.Dataset.range(5):save_position(path)
--- @param path string
function Dataset:save_position(path)
  check_path("Dataset.save_position", path)
  local entries = {}
  local writer = plain.writer(entries)
  local header = { format = 1, kind = "position", place = writer:value(self:state()) }
  core.safetensors_write(path, entries, { format = "tide", tide = json.written(header, path) })
end

--- Puts the data set where a file says that `save_position` wrote, perhaps in another process.
---
---     local path = os.tmpname()
---     tide.data.Dataset.range(5):save_position(path)
---     tide.data.Dataset.range(5):load_position(path)
--- @param path string
function Dataset:load_position(path)
  check_path("Dataset.load_position", path)
  local file <close>, found, metadata = core.safetensors_open(path)
  local header = metadata.tide and json.decode(metadata.tide, path)
  if type(header) ~= "table" or header.kind ~= "position" or header.format ~= 1 then
    errors.raise("Dataset.load_position",
      "%s holds no position of a data set; save_position writes them", path)
  end
  local by_name = {}
  for i, e in ipairs(found) do
    by_name[e.name] = i
  end
  guard.read("Dataset.load_position", path, "the position is damaged", function()
    local reader = plain.reader(function(name)
      return core.safetensors_read(file, by_name[name])
    end)
    self:restore(reader:value(header.place))
  end)
end

--- Ends the current pass and what runs for it.
---
---     tide.data.Dataset.range(5):close()
function Dataset:close()
  if self._pass then
    self._pass:close()
  end
end

Dataset.__close = Dataset.close

-- ---- what it is ----

--- How many elements a pass gives: a number, tide.data.INFINITE_CARDINALITY or
--- UNKNOWN_CARDINALITY.
---
---     tide.data.Dataset.range(7):batch(2):cardinality()   --> 4
function Dataset:cardinality()
  return self._cardinality or stage.cardinality(self)
end

--- `#ds`: the same number, nil where it is not known or without end.
function Dataset:__len()
  local n = self:cardinality()
  return n >= 0 and n or nil
end

-- The first element's specs, of a pass of its own that draws as the next one would.
local function look(self)
  local now = { core.generator() }
  local pass = Pass(self, self._epoch + 1)
  local parts = table.pack(pass:next())
  local out = {}
  for k = 1, parts.n do
    if parts[k] == nil then
      break
    end
    out[k] = elements.spec(parts[k], pass.iterator and pass.iterator:dtype(k))
  end
  pass:close()
  core.generator(table.unpack(now))
  return out
end

-- A spec that prints: `float32 [28, 28]`.
local Spec = {}
Spec.__index = Spec

function Spec:__tostring()
  if self.shape then
    return ("%s %s"):format(self.dtype, tostring(self.shape))
  elseif type(self.dtype) == "string" then
    return self.dtype
  end
  local out = {}
  for _, k in ipairs(check.sorted_keys(self)) do
    out[#out + 1] = (type(k) == "string" and k .. " = " or "") .. tostring(self[k])
  end
  return "{ " .. table.concat(out, ", ") .. " }"
end

local function dressed(spec)
  if type(spec.dtype) ~= "string" then
    for k, v in next, spec do
      spec[k] = dressed(v)
    end
  end
  return setmetatable(spec, Spec)
end

class.properties(Dataset, {
  --- A list of specs by part, each with shape and dtype. Where functions make the elements the
  --- first one is looked at.
  element_spec = function(self)
    local out = stage.spec(self) or self._looked
    if not out then
      out = look(self)
      self._looked = out
    end
    local list_of = {}
    for k, v in ipairs(out) do
      list_of[k] = dressed(v)
    end
    return list.new(list_of)
  end,
})

local function size_text(n)
  return n == INFINITE and "without end" or n == UNKNOWN and "size unknown"
    or ("%d element%s"):format(n, n == 1 and "" or "s")
end

function Dataset:__tostring()
  return ("Dataset %s, %s"):format(self._stage.name, size_text(self:cardinality()))
end

-- ---- explain ----

-- Iterators of a pipeline that are measured: `next` counts and takes the time.
local function measure(iterator, out, depth)
  local entry = { name = iterator.node._stage.name, depth = depth, n = 0, seconds = 0, inner = 0 }
  out[#out + 1] = entry
  local own = iterator.next
  local function finish(start, first, ...)
    entry.seconds = entry.seconds + core.now() - start
    entry.n = entry.n + (first ~= nil and 1 or 0)
    return first, ...
  end
  iterator.next = function(self)
    return finish(core.now(), own(self))
  end
  iterator.collect = stage.Iterator.collect -- one by one, by `next`
  for _, input in ipairs(iterator.inputs) do
    measure(input, out, depth + 1)
  end
end

local explain_args = check.args("Dataset.explain", {
  { "elements", "int", 100, "that are drawn and measured at most", min = 1 },
})

--- Prints each stage, the last first: the elements that it gave, the time spent in it alone, and
--- the time it waited for the stages below, measured over a few elements of a pass of its own.
--- Returns the same as a list of { name, n, seconds, waited }.
---
---     local rows = tide.data.Dataset.range(10):batch(2):explain { elements = 3 }
--- @return table list
function Dataset:explain(...)
  local o = explain_args:call(...)
  local pass = Pass(self, self._epoch + 1)
  local rows = {}
  measure(pass.iterator, rows, 0)
  local most = o.elements
  while most > 0 and pass:next() ~= nil do
    most = most - 1
  end
  pass:close()
  for i, row in ipairs(rows) do
    local k = i + 1
    while rows[k] and rows[k].depth > row.depth do
      if rows[k].depth == row.depth + 1 then
        row.inner = row.inner + rows[k].seconds
      end
      k = k + 1
    end
  end
  local out = {}
  print(("%-32s %10s %12s %12s"):format("stage", "elements", "ms", "waited ms"))
  for i, row in ipairs(rows) do
    out[i] = { name = row.name, n = row.n, seconds = math.max(0, row.seconds - row.inner),
      waited = row.inner }
    print(("%-32s %10d %12.3f %12.3f"):format(("  "):rep(row.depth) .. row.name, row.n,
      out[i].seconds * 1e3, row.inner * 1e3))
  end
  return out
end

return Dataset

--- Windows of series as batches: Keras' TimeseriesGenerator, and SequenceGenerator, which has it
--- and keras.utils.Sequence in one. Rows count from 1.
---
---     local sequence = tide.preprocessing.sequence
---     local g = sequence.SequenceGenerator { tide.arange(10), length = 3, batch_size = 2 }
---     local x, y = g:get(1)
---     x:tolist()   --> { { 0, 1, 2 }, { 1, 2, 3 } }
---     y:tolist()   --> { 3, 4 }
local Batches = require "tide.preprocessing.batches"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local ops = require "tide.ops"

local M = {}
local windows = core.text.windows

local function integers(values)
  return core.tensor(values, { dtype = "int64" })
end

-- ---- windows ----

local Windows = class.new("Windows", Batches)

-- The windows of batch i: a list, or a run of `n` behind so many.
function Windows:_ids(i)
  if self.shuffle or self._starts or self._get then
    return Batches._ids(self, i)
  end
  local before = (i - 1) * self.batch_size
  return { before = before, n = math.min(self.batch_size, self.n - before) }
end

-- Where windows begin: places in their series' list of rows.
function Windows:_firsts(ids)
  local starts, from, stride, out = self._starts, self._from, self.stride, {}
  for k, id in ipairs(ids) do
    out[k] = starts and starts[id] or from + (id - 1) * stride
  end
  return out
end

-- What f makes of an array, or of each of several, as they were given.
local function each(given, f)
  if core.is_tensor(given) then
    return f(given)
  end
  local out = {}
  for k, t in pairs(given) do
    out[k] = f(t)
  end
  return out
end

function Windows:_batch(ids)
  local step, n = self.stride, ids.n
  local firsts = n and self._from + ids.before * step or self:_firsts(ids)
  local x = each(self._x, function(t)
    return windows(t, firsts, self._steps, false, step, n)
  end)
  if not self._y then
    return x
  end
  return x, each(self._y, function(t)
    return windows(t, firsts, self._ahead, not self._several, step, n)
  end)
end

-- Arrays of one length, as tensors, and how they were given.
local function arrays(v, what, where, n)
  local one = core.is_tensor(v) or type(v) ~= "table" or type(v[1]) == "number"
    or type(v[1]) == "table" and not core.is_tensor(v[1])
  local out = {}
  for _, k in ipairs(one and { 1 } or check.sorted_keys(v)) do
    local t = one and v or v[k]
    t = core.is_tensor(t) and t or core.tensor(t)
    if t.ndim == 0 then
      errors.raise(where, "%s needs an axis of rows (got a single number)", what)
    elseif n and t.shape[1] ~= n then
      errors.raise(where, "all of data and targets must have the same number of rows \z
        (expected %d, got %d in %s)", n, t.shape[1], what)
    end
    n, out[k] = t.shape[1], t
  end
  if not n then
    errors.raise(where, "%s holds no array (got {})", what)
  end
  return one and out[1] or out, n
end

-- Prepares windows of `o`; `steps` ahead: a list, `several`: whether they make an axis of y.
function Windows:_windows(o, ahead, several, where)
  local n
  self._x, n = arrays(o.data, "data", where)
  if o.targets ~= nil then
    self._y = arrays(o.targets, "targets", where, n)
  end
  for _, name in ipairs { "data", "targets", "length", "sampling_rate", "stride", "reverse" } do
    self[name] = o[name]
  end
  if o.start_index > math.max(n, 1) then
    errors.raise(where, "start_index must be a row of the data (expected 1 to %d, got %d)", n,
      o.start_index)
  end
  local last = o.end_index or n
  if last > n then
    errors.raise(where, "end_index must be a row of the data (expected %d at most, got %d)", n,
      last)
  end
  local offsets = {}
  for k = 0, o.length - 1, o.sampling_rate do
    offsets[#offsets + 1] = k
  end
  if o.reverse then
    table.sort(offsets, function(a, b)
      return a > b
    end)
  end
  self._steps = offsets
  local farthest = 0
  for k, h in ipairs(ahead) do
    ahead[k] = o.length + h - 1
    farthest = math.max(farthest, h)
  end
  self._ahead, self._several = ahead, several
  if o.targets == nil then
    farthest = 0
  end
  self.start_index, self.end_index = o.start_index, last
  return n, o.length + farthest
end

-- ---- TimeseriesGenerator ----

local rows = {
  data = { "data", "any", check.required, "rows of the series: a tensor, or numbers" },
  length = { "length", "int", check.required, "rows that a window covers", min = 1 },
  sampling_rate = { "sampling_rate", "int", 1, "every so many of them are taken", min = 1 },
  stride = { "stride", "int", 1, "rows from one window to the next", min = 1 },
  start_index = { "start_index", "int", 1, "the first row", min = 1, counts = true },
  end_index = { "end_index", "int", nil, "the last row, included; all by default", min = 1,
    counts = true },
  reverse = { "reverse", "bool", false, "windows backward in time" },
  batch_size = { "batch_size", "int", 128, "windows per batch", min = 1 },
}

local Timeseries = class.new("TimeseriesGenerator", Windows)
M.TimeseriesGenerator = Timeseries
Timeseries.args = check.args("TimeseriesGenerator", {
  rows.data, { "targets", "any", check.required, "what follows: as many rows as data" },
  rows.length, rows.sampling_rate, rows.stride, rows.start_index, rows.end_index,
  { "shuffle", "bool", false, "each batch is rows of chance, with repetitions" }, rows.reverse,
  rows.batch_size,
}, { named = { { "seed", "int", nil, "repeats what is drawn" } } })

--- Batches of windows of a series, with the target of the row behind each. Row r has the sample
--- data[r - length] … data[r - 1] and the target targets[r]. Keras:
--- preprocessing.sequence.TimeseriesGenerator, whose numbers of rows are one less.
function Timeseries:_init(...)
  local o, where = self.args:construct(...), "TimeseriesGenerator"
  self:_windows(o, { 1 }, false, where)
  if o.start_index + o.length > self.end_index then
    errors.raise(where, "no window of %d rows with a row behind it fits between start_index \z
      %d and end_index %d", o.length, o.start_index, self.end_index)
  end
  self._from = o.start_index
  self:_start { n = (self.end_index - o.start_index - o.length) // o.stride + 1,
    batch_size = o.batch_size, shuffle = o.shuffle, seed = o.seed, where = where }
end

-- Keras draws rows with repetitions, as many for the last batch, too, and without the stride.
function Timeseries:_ids(i)
  return self.shuffle and { drawn = i } or Windows._ids(self, i)
end

function Timeseries:_firsts(ids)
  if not self.shuffle then
    return Windows._firsts(self, ids)
  end
  local size, number = self.batch_size, Batches._draw_number
  return core.text.drawn(self._seed, self._pass, number((ids.drawn - 1) * size + 1, 0),
    number(1, 0) - number(0, 0), size, self._from,
    self.end_index - self.start_index - self.length + 1)
end

function Timeseries:__tostring()
  return ("TimeseriesGenerator: %d windows of %d rows, %d batches"):format(self.n, self.length,
    #self)
end

-- ---- SequenceGenerator ----

local SequenceGenerator = class.new("SequenceGenerator", Windows)
M.SequenceGenerator = SequenceGenerator
SequenceGenerator.args = check.args("SequenceGenerator", {
  { "data", "any", nil, "rows of the series: a tensor, or several, in a list or by name" },
  { "targets", "any", nil, "what to forecast, row by row; data itself by default, false: nothing" },
  { "length", "int", nil, "rows that a window covers", min = 1 },
  rows.sampling_rate, rows.stride, rows.start_index, rows.end_index,
  { "shuffle", "bool", false, "windows in another order in every pass" }, rows.reverse,
  rows.batch_size,
}, { named = {
  { "horizon", { "int", "ints" }, 1, "steps ahead: 1 is the row behind the window; n: the n rows \z
    behind it, a list: these", min = 0 },
  { "groups", "any", nil, "a number or name per row: windows stay within one series" },
  { "seed", "int", nil, "repeats the order" },
  { "get", "callable", nil, "function of i that gives batch i, in place of data" },
  { "size", "int", nil, "number of batches of get", min = 0 },
  { "on_epoch_end", "callable", nil, "called behind every pass" },
} })

-- The list of rows, series by series, and the places where each begins.
local function series_of(groups, first, last, where, n)
  groups = core.is_tensor(groups) and groups:tolist() or groups
  if type(groups) ~= "table" or #groups ~= n then
    errors.raise(where, "groups needs one entry per row (expected %d, got %s)", n,
      type(groups) == "table" and #groups or check.show(groups))
  end
  local order, of = {}, {}
  for row = first, last do
    local g = groups[row]
    if not of[g] then
      of[g] = {}
      order[#order + 1] = of[g]
    end
    of[g][#of[g] + 1] = row
  end
  return order
end

--- Windows of one or many series, in batches, with what follows each, one or several steps ahead:
--- a data generator for fit. x is (batch, length / sampling_rate, …); y is (batch, …) for horizon
--- 1, (batch, steps, …) for several. With `groups` no window spans two series, whose rows may
--- stand mixed. A person's own batches come from `get` and `size`, or from an object with `get(i)`
--- and `#`, which is given in place of data (keras.utils.Sequence).
function SequenceGenerator:_init(...)
  local o, where = self.args:construct(...), "SequenceGenerator"
  local object = o.data
  if type(object) == "table" and not core.is_tensor(object) and getmetatable(object)
    and not list.is(object) and type(object.get) == "function" then
    o.size, o.get, o.data = #object, function(i)
      return object:get(i)
    end, nil
    o.on_epoch_end = o.on_epoch_end or type(object.on_epoch_end) == "function" and function()
      object:on_epoch_end()
    end
  end
  self._ended = o.on_epoch_end
  if o.get then
    if o.data ~= nil or not o.size then
      errors.raise(where, "get needs size, the number of its batches, and no data (got size %s)",
        check.show(o.size))
    end
    self._get = o.get
    self:_start { n = o.size, batch_size = 1, shuffle = o.shuffle, seed = o.seed, where = where }
    return
  elseif o.data == nil then
    errors.raise(where, "data is missing (a tensor, or a function as get with size)")
  elseif not o.length then
    errors.raise(where, "length is missing (rows that a window covers)")
  end
  local given = ...
  local off = check.is_plain(given) and given.targets == false
  if o.targets == nil and not off then
    o.targets = o.data
  end
  local horizon, ahead = o.horizon, {}
  if type(horizon) == "table" then
    for i, h in ipairs(horizon) do
      if h < 0 then
        errors.raise(where, "horizon must be 0 or more steps ahead (got %d)", h)
      end
      ahead[i] = h
    end
  else
    for h = math.min(1, horizon), horizon do
      ahead[#ahead + 1] = h
    end
  end
  if #ahead == 0 then
    errors.raise(where, "horizon must name at least one step (got {})")
  end
  local several = type(horizon) == "table" or horizon > 1
  local total, span = self:_windows(o, ahead, several, where)
  self.horizon = o.horizon
  local count
  if o.groups ~= nil then
    local series_list = series_of(o.groups, o.start_index, self.end_index, where, total)
    local flat, starts = {}, {}
    for _, series in ipairs(series_list) do
      for k = 1, #series - span + 1, o.stride do
        starts[#starts + 1] = #flat + k
      end
      table.move(series, 1, #series, #flat + 1, flat)
    end
    self._starts, count = starts, #starts
    if count > 0 then -- the rows of a series one behind the other
      local order = integers(flat)
      local function arranged(t)
        return ops.take(t, order, { axis = 1 })
      end
      self._x, self._y = each(self._x, arranged), self._y and each(self._y, arranged)
    end
  else
    self._from = o.start_index
    count = (self.end_index - o.start_index + 1 - span) // o.stride + 1
  end
  if count < 1 then
    errors.raise(where, "no window fits: it needs %d rows%s (got %d)", span,
      o.groups ~= nil and " of one series" or "", self.end_index - o.start_index + 1)
  end
  self:_start { n = count, batch_size = o.batch_size, shuffle = o.shuffle, seed = o.seed,
    where = where }
end

function SequenceGenerator:_batch(ids)
  if self._get then
    return self._get(ids[1])
  end
  return Windows._batch(self, ids)
end

function SequenceGenerator:on_epoch_end()
  Batches.on_epoch_end(self)
  if self._ended then
    self._ended()
  end
end

function SequenceGenerator:__tostring()
  if self._get then
    return ("SequenceGenerator: %d batches"):format(#self)
  end
  return ("SequenceGenerator: %d windows of %d rows, %d batches"):format(self.n, self.length, #self)
end

return M

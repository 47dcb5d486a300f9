--- What a recorded step hangs on besides its launches: the fields of layers, losses and metrics
--- that its Lua code reads, as lists of owners and keys for `core.plans_watch`; and the reasons why
--- a step cannot be known by them.
--
-- Only code of Tide's own is known to read nothing else. A function or a class that a person wrote
-- may look at anything, so whatever holds one is refused.
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"

local watch = {}

-- Fields of layers that no call reads: names, and how weights are made. What training reads of
-- regularizers stands in the weights' records; the one of the layer's output is the call's.
local unread = { name = true, built = true, trainable = true, input_shape = true,
  batch_size = true, batch_input_shape = true }
local unread_types = { initializer = true, constraint = true, regularizer = true }
local read_on_call = { activity_regularizer = true }
-- What Tide keeps of a layer that decides what its call runs.
local private_keys = { "call", "apply", "fused", "fns", "chain", "program", "plan", "cast",
  "generator", "trainable", "losses_of", "lora", "stand_in", "remat" }
-- What Tide keeps of an optimizer that decides which calls its step makes.
local optimizer_keys = { "_params", "_stepped", "_halved", "_average", "_sums", "_slots", "_split",
  "_dtypes", "_factor", "strategy" }
-- Sums and counts of metrics, and the source of the labels that are looked at once: the step moves
-- them, and replay.lua answers for them.
local moved = { _count = true, _total = true, _sums = true, source = true, asks = true,
  given = true, name = true, args = true }

-- Methods that no step calls.
local bystanders = { from_config = true, get_config = true, extend = true, result = true,
  reset_state = true, add_weight = true, add_variable = true }

local MANY = 64 -- entries of a table that is watched
local DEEP = 6

-- Whether a function is Tide's or Lua's own.
local function is_tides(f)
  local info = debug and debug.getinfo(f, "S")
  return info and (info.what == "C" or errors.is_own_source(info.source))
end

local Watch = {}
Watch.__index = Watch

--- @return table `owners`, `keys`, `tensors` (all that were found), `generators` of seeds, which no
---   step that is replayed may ask; `why`: nil, or why no step that reads these can be replayed
function watch.new()
  return setmetatable({ owners = {}, keys = {}, tensors = {}, generators = {}, seen = {},
    classes = {} }, Watch)
end

function Watch:refuse(fmt, ...)
  self.why = self.why or fmt:format(...)
end

function Watch:field(owner, key)
  local n = #self.keys + 1
  self.owners[n], self.keys[n] = owner, key
end

-- All functions of a class and of those above it must be Tide's.
function Watch:class(c, what)
  while type(c) == "table" and not self.classes[c] do
    self.classes[c] = true
    for k, v in next, c do
      if type(v) == "function" and not is_tides(v) then
        self:refuse("%s has a function of your own (%s)", what, tostring(k))
      end
    end
    c = rawget(c, "super")
  end
end

-- Watches what an object does not have and may get: options that nobody gave, and functions in the
-- place of its class's.
function Watch:absent(v, c)
  local args = c.args
  for _, k in ipairs(args and args.names or {}) do
    if rawget(v, k) == nil and not moved[k] then
      self:field(v, k)
    end
  end
  local seen = {}
  while type(c) == "table" do
    for k, f in next, c do
      if type(f) == "function" and type(k) == "string" and not bystanders[k] and not seen[k]
        and k:sub(1, 1) ~= "_" and rawget(v, k) == nil then
        seen[k] = true
        self:field(v, k)
      end
    end
    c = rawget(c, "super")
  end
end

-- Watches what a value holds.
function Watch:value(v, what, depth)
  local t = type(v)
  if t == "function" then
    if not is_tides(v) then
      self:refuse("%s is a function of your own", what)
    end
  elseif t == "userdata" and core.is_tensor(v) then
    self.tensors[#self.tensors + 1] = v
  elseif t == "thread" or t == "userdata" and not core.is_tensor(v) then
    self:refuse("%s is a %s", what, t)
  elseif t == "table" and v ~= none and not self.seen[v] and rawget(v, S) == nil then
    self.seen[v] = true
    local meta = getmetatable(v)
    if meta ~= nil and meta ~= list.meta then
      if type(meta) ~= "table" or meta.__name == "class" then
        return
      end
      self:class(meta, what)
      self:absent(v, meta)
    end
    if depth > DEEP then
      return self:refuse("%s is nested too deep to be watched", what)
    end
    local n = 0
    for k, x in next, v do
      n = n + 1
      if n > MANY then
        return self:refuse("%s is a large table", what)
      elseif not moved[k] and (type(k) == "string" or type(k) == "number") then
        self:field(v, k)
        self:value(x, what, depth + 1)
      end
    end
    if rawlen(v) > 0 then
      self:field(v, false)
    end
  end
end

--- Watches a layer's options and fields, not those of layers inside.
function Watch:layer(layer)
  local own, label = layer[S], layer:_label()
  self:class(getmetatable(layer), label)
  self.seen[layer] = true
  local seen = {}
  local function field(k, v)
    if seen[k] or unread[k] then
      return
    end
    seen[k] = true
    self:field(layer, k)
    if v ~= nil then
      self:value(v, ("%s: %s"):format(label, k), 1)
    end
  end
  local args = layer.args
  for _, name in ipairs(args.names) do
    local row = args.index[name]
    if row and unread_types[row[2]] and not read_on_call[name] then
      seen[name] = true
    else
      field(name, rawget(layer, name))
    end
  end
  for k, v in next, layer do
    -- a model of Tide's classes reads no other fields than its options
    if type(k) == "string" and (not layer.is_model or k == "call") then
      field(k, v)
    end
  end
  for _, k in ipairs(private_keys) do
    if own[k] ~= nil then
      self:field(own, k)
    end
  end
  if own.generator then
    self.generators[#self.generators + 1] = own.generator
  end
  if own.remat then
    self:refuse("%s is computed again for its gradient (checkpointing)", label)
  end
end

--- Watches a model, its layers and their weights.
function Watch:model(model)
  self:field(model, "run_eagerly")
  for _, layer in ipairs(model:_flat()) do
    self:layer(layer)
  end
  for _, r in ipairs(model:_saved()) do
    self.tensors[#self.tensors + 1] = r.tensor
  end
end

--- Watches an object: a loss, a metric, a regularizer.
function Watch:object(v, what)
  self:value(v, what, 1)
end

--- Watches an optimizer whose step is recorded, and its state. What changes from step to step,
--- rates among it, is no part of what is recorded.
function Watch:optimizer(o)
  local c = getmetatable(o)
  self:class(c, "the optimizer")
  self:absent(o, c)
  for _, k in ipairs(c.args.names) do
    if k ~= "learning_rate" and k ~= "name" and rawget(o, k) ~= nil then
      self:field(o, k)
    end
  end
  for _, k in ipairs(optimizer_keys) do
    self:field(o, k)
  end
  for _, group in ipairs(o.groups or {}) do
    self:field(group, "weight_decay")
  end
  for _, info in ipairs(o._info) do
    if info.constraint then
      self:object(info.constraint, "a constraint")
    end
  end
  local lists = { o._stepped, o._touched, o._average, o._sums }
  for _, slot in next, o._slots do
    lists[#lists + 1] = slot
  end
  for _, all in next, lists do
    for _, t in ipairs(all) do
      self.tensors[#self.tensors + 1] = t or nil
    end
  end
end

--- Watches fields of a table by their names alone.
function Watch:fields(owner, names)
  for _, k in ipairs(names) do
    self:field(owner, k)
  end
end

return watch

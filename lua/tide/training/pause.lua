--- What a fit that Ctrl-C ended needs to go on as if it had not ended: the state that its closing
--- callbacks, and a person at the prompt, may change before it goes on.
---
--- The random generator and the metrics go back to what they were. Weights, the optimizer's
--- settings and the fields of callbacks go back only where the closing callbacks changed them: what
--- a person changes afterwards is meant.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local list = require "tide.list"
local ops = require "tide.ops"
local plain = require "tide.training.plain"

local pause = {}

local paused = setmetatable({}, { __mode = "v" }) -- the model whose fit was interrupted last

--- The model whose fit was interrupted last and can go on; nil if there is none.
function pause.last()
  local model = paused[1]
  local T = model and model[S].training
  return T and T.paused and model or nil
end

--- Makes `model` the one that `pause.last` returns.
function pause.remember(model)
  paused[1] = model
end

local function same(a, b)
  return a == b or (a ~= a and b ~= b)
end

-- A copy of plain tables and lists; of metrics too if `deep`, where tensors are noted with a copy
-- of what they hold.
local function copy(v, deep, seen)
  if type(v) == "userdata" and deep and core.is_tensor(v) and not seen[v] then
    seen[v] = v
    deep[#deep + 1] = { v, v:detach():copy() }
  elseif type(v) == "table" and (check.is_plain(v) or list.is(v)) then
    if not seen[v] then
      local out = setmetatable({}, getmetatable(v))
      seen[v] = out
      for k, x in next, v do
        rawset(out, k, copy(x, deep, seen))
      end
    end
    return seen[v]
  elseif deep and type(v) == "table" and plain.is_metric(v) and not seen[v] then
    seen[v] = v
    local out = {}
    for k, x in next, v do
      out[k] = copy(x, deep, seen)
    end
    deep.objects[#deep.objects + 1] = { v, out }
  end
  return v
end

local function fields(object)
  local out = {}
  for k, v in next, object do
    out[k] = copy(v, nil, {})
  end
  return out
end

local function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" or not (check.is_plain(a) or list.is(a)) then
    return rawequal(a, b) or (type(a) ~= "table" and same(a, b))
  end
  for k, v in next, a do
    if not equal(v, rawget(b, k)) then
      return false
    end
  end
  for k in next, b do
    if rawget(a, k) == nil then
      return false
    end
  end
  return true
end

-- Tensors of an optimizer, and of those inside, that callbacks may write to.
local function slots_of(optimizer, out)
  local masters = optimizer._halved and optimizer._halved.masters or {}
  for _, group in ipairs { optimizer._average or {}, optimizer._sums or {}, masters } do
    table.move(group, 1, #group, #out + 1, out)
  end
  for _, group in pairs(optimizer._slots or {}) do
    for _, t in ipairs(group) do
      out[#out + 1] = t or nil
    end
  end
  for _, inner in ipairs(optimizer._inners or {}) do
    slots_of(inner, out)
  end
end

-- Tensors of the model and its optimizer that callbacks may write to.
local function writable(model, optimizer)
  local out = {}
  for _, r in ipairs(model:_records()) do
    out[#out + 1] = r.tensor
  end
  slots_of(optimizer, out)
  return out
end

-- Numbers of an optimizer, and of those inside.
local function numbers_of(optimizer, objects)
  local numbers = {}
  for k, v in next, optimizer do
    if type(v) == "number" then
      numbers[k] = v
    end
  end
  objects[#objects + 1] = { optimizer, numbers, true }
  for _, inner in ipairs(optimizer._inners or {}) do
    numbers_of(inner, objects)
  end
end

--- What metrics hold, for `put_metrics`.
--- @param metrics table list of { metric = }, as model:named_metrics() gives
function pause.take_metrics(metrics)
  local kept, seen = { objects = {} }, {}
  for _, m in ipairs(metrics) do
    copy(m.metric, kept, seen)
  end
  return kept
end

--- Metrics as they were when `take_metrics` looked at them.
function pause.put_metrics(kept)
  for _, entry in ipairs(kept.objects) do
    local metric, was = entry[1], entry[2]
    for k in next, metric do
      if was[k] == nil then
        rawset(metric, k, nil)
      end
    end
    for k, v in next, was do
      rawset(metric, k, v)
    end
  end
  for _, entry in ipairs(kept) do
    entry[1]:assign(entry[2])
  end
end

--- The state after the last whole batch, taken before the closing callbacks run.
--- @param model table
--- @param metrics table list of { metric = }, as model:named_metrics() gives
--- @param callbacks table list of a person's callbacks
function pause.take(model, metrics, callbacks)
  local optimizer = model[S].training.optimizer
  local self = { model = model, generator = { core.generator() },
    metrics = pause.take_metrics(metrics), objects = {}, tensors = {} }
  for _, c in ipairs(callbacks) do
    self.objects[#self.objects + 1] = { c, fields(c) }
  end
  numbers_of(optimizer, self.objects)
  for _, t in ipairs(writable(model, optimizer)) do
    if core.is_tensor(t) then
      self.tensors[#self.tensors + 1] = { t, t:detach():copy() }
    end
  end
  return self
end

local function unchanged(t, kept)
  return ops.all(ops.equal(t:detach(), kept))
end

--- After the closing callbacks: keeps of the state only what they changed.
function pause.keep(self)
  local changes, changed = {}, {}
  for _, entry in ipairs(self.objects) do
    local object, before, only = entry[1], entry[2], entry[3]
    local now = fields(object)
    for k, v in next, before do
      if not equal(v, now[k]) then
        changes[#changes + 1] = { object, k, v, now[k] }
      end
    end
    for k, v in next, now do
      if before[k] == nil and not only then
        changes[#changes + 1] = { object, k, nil, v }
      end
    end
  end
  for _, entry in ipairs(self.tensors) do
    if not unchanged(entry[1], entry[2]) then
      changed[#changed + 1] = { entry[1], entry[2], entry[1]:detach():copy() }
    end
  end
  self.objects, self.tensors, self.changes, self.changed = nil, nil, changes, changed
end

--- Puts the state back.
function pause.restore(self)
  core.generator(table.unpack(self.generator))
  pause.put_metrics(self.metrics)
  for _, c in ipairs(self.changes) do
    local object, k, was, became = c[1], c[2], c[3], c[4]
    local now = rawget(object, k)
    if equal(became, copy(now, nil, {})) then
      rawset(object, k, was)
    end
  end
  for _, entry in ipairs(self.changed) do
    if unchanged(entry[1], entry[3]) then
      entry[1]:assign(entry[2])
    end
  end
end

return pause

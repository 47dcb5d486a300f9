--- KeyValueCache: what attention has made of earlier steps, for models that write step by step.
--
-- A cache is handed to a call (of a layer, or of any model) and serves all layers that run in it:
-- attention with a causal mask adds its keys and values to those it has, other attention keeps the
-- first ones, and layers that count places (PositionEmbedding, RotaryEmbedding) go on counting.
--
-- Invariant: a store keeps `count` steps that whole calls have taken, and `pending` ones of the
-- call that is running, which count when it has succeeded; what a call that failed has written
-- lies behind `count` and is written over. `active` names the cache by the number of
-- the outermost call, which no other coroutine shares.
local S = require "tide.private"
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local object = require "tide.object"
local ops = require "tide.ops"

local cache = {}

local active = {} -- number of an outermost call -> the cache that serves it

--- Keys and values of earlier steps, for attention layers whose model is called step by step: a
--- step costs what the steps before it are long, not their square, and gives the numbers that a
--- call with all steps gives.
---
--- `length`: how many steps there is room for; the room is made at the first call. Hand it to the
--- calls of a layer or of a model, whichever way that was made: first with what there is (a
--- prompt), then with each new step. `position` is the number of steps taken. Attention that is
--- called with `use_causal_mask` adds to what it holds; attention to something else (an encoder's
--- output) keeps the keys and values of its first call. PositionEmbedding, SinePositionEncoding
--- and RotaryEmbedding count on from `position`. A layer that is called several times in a call
--- keeps each apart. Other layers see the steps of the call alone: convolutions and pooling over
--- steps do not fit, recurrent layers do with `stateful = true`. Nothing is learned through a
--- cache: call it in `tide.no_grad`, which is faster.
---
---     local attention = tide.layers.MultiHeadAttention { 2, 4 }
---     local x, whole = tide.ones { 1, 3, 8 }, { use_causal_mask = true }
---     local all = attention(x, x, whole)
---     local cache = tide.KeyValueCache { 16 }
---     local step = { use_causal_mask = true, cache = cache }
---     attention(x[{ {}, { 1, 2 } }], x[{ {}, { 1, 2 } }], step)
---     local last = attention(x[{ {}, { 3 } }], x[{ {}, { 3 } }], step)
---     tide.ops.allclose(last, all[{ {}, { 3 } }])   --> true
---     cache.position   --> 3
local KeyValueCache = object.class("KeyValueCache", nil, { kind = "cache", rows = {
  { "length", "int", check.required, "steps that there is room for", min = 1 },
}, init = function(self)
  self:reset()
end })
cache.KeyValueCache = KeyValueCache

class.properties(KeyValueCache, {
  position = function(self)
    local most = 0
    for _, store in ipairs(self[S].stores) do
      most = math.max(most, store.count)
    end
    return most
  end,
})

function KeyValueCache:__tostring()
  return ("KeyValueCache (%d of %d steps)"):format(self.position, self.length)
end

--- Forgets everything, as if it were new.
---     local cache = tide.KeyValueCache { 8 }
---     cache:reset()
---     cache.position   --> 0
function KeyValueCache:reset()
  rawset(self, S, { stores = {}, of = setmetatable({}, { __mode = "k" }), used = {} })
end

--- Goes back to the first `steps` steps; what comes next takes the place of the others.
---     local cache = tide.KeyValueCache { 8 }
---     cache:truncate(0)
--- @param steps integer 0 to `position`
function KeyValueCache:truncate(steps)
  local n = type(steps) == "number" and math.tointeger(steps)
  if not n or n < 0 or n > self.position then
    errors.raise("truncate", "steps must be an integer from 0 to %d, the steps taken (got %s)",
      self.position, check.show(steps))
  end
  for _, store in ipairs(self[S].stores) do
    store.count = math.min(store.count, n)
  end
end

-- The rows to select as a tensor; `held`: how many there are, where anything is held.
local function rows_of(self, rows)
  local held
  for _, store in ipairs(self[S].stores) do
    held = held or store.key and store.key.shape[1]
  end
  local list = core.is_tensor(rows) and rows.ndim == 1 and rows:tolist() or rows
  local good = check.is_list(list) and #list > 0
  for _, row in ipairs(good and list or {}) do
    local n = type(row) == "number" and math.tointeger(row)
    good = good and n and n >= 1 and (not held or n <= held)
  end
  if not good then
    errors.raise("select", "rows must be a list of whole numbers from 1%s (got %s)",
      held and (" to %d, the rows held"):format(held) or "", check.show(rows))
  end
  return ops.convert_to_tensor(list, { dtype = "int32" })
end

--- Keeps these rows of the batch, in this order, some perhaps several times: what a beam search
--- does between steps.
---     local cache = tide.KeyValueCache { 8 }
---     cache:select { 1, 1 }
--- @param rows table|userdata numbers of rows, from 1; at least one
function KeyValueCache:select(rows)
  local _ <close> = core.scope_pause()
  rows = rows_of(self, rows)
  for _, store in ipairs(self[S].stores) do
    for _, name in ipairs { "key", "value", "mask" } do
      local x = store[name]
      store[name] = x and ops.take(x, rows, 1) or x
    end
  end
end

-- ---- calls ----

local Entered = {}

local function settle(self, good)
  local steps, first
  for _, store in ipairs(self[S].stores) do
    if good and store.pending > 0 then
      first, steps = first or store, steps or store.pending
      local own = store.pending
      if own ~= steps then
        settle(self, false)
        errors.raise("KeyValueCache", "layers of one call took different numbers of steps (%s %d, \z
          %s %d); what an encoder does belongs in a call without the cache", first.layer.name,
          steps, store.layer.name, own)
      end
    end
  end
  for _, store in ipairs(self[S].stores) do
    store.count = store.count + (good and store.pending or 0)
    store.pending = 0
  end
end

function Entered.__close(entered, fault)
  active[entered.number] = entered.before
  settle(entered.cache, fault == nil)
end

--- Whether `v` is a cache.
function cache.is(v)
  return type(v) == "table" and class.is(v, KeyValueCache)
end

--- Lets a cache serve the layers of the call that is running; to be closed with that.
function cache.enter(v)
  local number = core.call_number()
  local before = active[number]
  if before == v then
    return nil
  end
  active[number] = v
  settle(v, false)
  v[S].used = {}
  return setmetatable({ number = number, before = before, cache = v }, Entered)
end

--- The cache that serves the call that is running; nil where there is none.
function cache.current()
  if next(active) == nil then
    return nil
  end
  return active[core.call_number()]
end

-- What the cache holds of a layer, of the nth of its calls in this one.
local function store_of(self, layer)
  local own = self[S]
  local n = (own.used[layer] or 0) + 1
  own.used[layer] = n
  local stores = own.of[layer] or {}
  own.of[layer] = stores
  if not stores[n] then
    stores[n] = { layer = layer, count = 0, pending = 0 }
    own.stores[#own.stores + 1] = stores[n]
  end
  return stores[n]
end

-- Room for more steps of a layer.
local function take(self, layer, steps)
  local store = store_of(self, layer)
  if store.count + steps > self.length then
    errors.raise(layer:_label(), "the cache is too short (expected a length of at least %d, got \z
      %d)", store.count + steps, self.length)
  end
  store.pending = steps
  return store
end

--- How many steps a layer that counts places has seen before these; 0 where no cache serves.
function cache.start(layer, steps)
  local self = cache.current()
  return self and take(self, layer, steps).count or 0
end

local function room(x, shape, dtype)
  return core.zeros(shape, { dtype = dtype or x.dtype, device = x.device })
end

local function check_batch(layer, store, x)
  if store.key.shape[1] ~= x.shape[1] then
    errors.raise(layer:_label(), "the cache holds another batch (expected %d rows, got %d); reset \z
      it, or select rows", store.key.shape[1], x.shape[1])
  end
end

-- Writes x behind the steps that `into` (batch, length, ...) holds.
local function put(into, store, x)
  into[{ {}, { store.count + 1, store.count + x.shape[2] } }] = x
end

--- Adds keys and values (batch, steps, heads, width) to those of earlier steps.
--- @param mask userdata|nil (batch, steps), which of the new ones may be seen
--- @return userdata keys (batch, length, heads, width), as far as they are known
--- @return userdata values
--- @return userdata|nil mask (batch, length)
--- @return integer steps before these
function cache.add(self, layer, key, value, mask)
  local steps = key.shape[2]
  local store = take(self, layer, steps)
  local _ <close> = core.scope_pause()
  key, value = key:detach(), value:detach()
  if not store.key then
    local k, v = key.shape, value.shape
    store.key = room(key, { k[1], self.length, k[3], k[4] })
    store.value = room(value, { v[1], self.length, v[3], v[4] })
  end
  check_batch(layer, store, key)
  if mask and not store.mask then
    store.mask = ops.logical_not(room(key, { key.shape[1], self.length }, "bool"))
  end
  put(store.key, store, key)
  put(store.value, store, value)
  if store.mask then
    put(store.mask, store, mask or ops.ones({ key.shape[1], steps }, { dtype = "bool" }))
  end
  return store.key, store.value, store.mask, store.count
end

--- Keys and values of what stays the same, made by `make(x)` for key and value at the first call.
function cache.keep(self, layer, key, value, make_key, make_value)
  local store = store_of(self, layer)
  if not store.key then
    local _ <close> = core.scope_pause()
    store.key, store.value = make_key(key):detach(), make_value(value):detach()
  end
  check_batch(layer, store, key)
  if store.key.shape[2] ~= value.shape[2] then
    errors.raise(layer:_label(), "the cache holds another value (expected %d steps, got %d); \z
      attention to earlier steps needs use_causal_mask", store.key.shape[2], value.shape[2])
  end
  return store.key, store.value
end

return cache

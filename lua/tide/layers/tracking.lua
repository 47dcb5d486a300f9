--- What hangs on a layer: the layers, variables and metrics in its fields, found once, kept, and
--- verified whenever they are asked for.
--
-- All fields count, whatever their names: layers, leaves of the tape that require gradients, and
-- metrics, also in lists and in tables by name, nested. What `add_weight` made stands in records of
-- its own. Tables by name go in sorted order; a list with a hole that holds any of these is
-- refused, for `ipairs` would not reach what stands behind.
--
-- Sub-layers stand in the order in which Keras takes note of them: of the assignment of the fields,
-- layers that were put into a table later where they were made. A table by name, which keeps no
-- order, has that of creation.
--
-- Lua tells nobody that a field was assigned anew or that a table grew. So a walk keeps what it saw
-- (owner, key, value) and is verified by comparing: some comparisons per layer in place of a walk.
-- Fields that are new are reported by Layer.__newindex.
local S = require "tide.private"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local weight_names = require "tide.tensor.names"
local none = require "tide.none"

local tracking = {}

local is_tensor = core.is_tensor
local MANY = 256 -- a table of more entries, with nothing to track in it, is taken for data

-- What a value is to a walk: "tensor" (a variable), "layer", "metric", "table" (to be walked), or
-- nil. `variables`: the tensors that were found before; frozen, they stay weights.
local function kind_of(v, variables)
  local t = type(v)
  if t == "userdata" then
    return is_tensor(v) and (variables and variables[v] or v.requires_grad and v.is_leaf)
      and "tensor" or nil
  elseif t ~= "table" or v == none then
    return nil
  end
  local meta = getmetatable(v)
  if meta == nil or meta == list.meta then
    return "table"
  elseif type(meta) ~= "table" or meta.__name == "class" then
    return nil
  end
  return rawget(v, S) and "layer" or meta.kind == "metric" and "metric" or nil
end

local quiet = { string = true, number = true, boolean = true, ["function"] = true }

-- Keys in order: numbers, then names; others hold nothing, and `declared` names of plain values
-- neither.
local function sorted_keys(t, declared)
  local numbers, names = {}, {}
  for k, v in next, t do
    if type(k) == "number" then
      numbers[#numbers + 1] = k
    elseif type(k) == "string"
      and not (declared and quiet[type(v)] and (declared[k] or k == "built")) then
      names[#names + 1] = k
    end
  end
  table.sort(numbers)
  table.sort(names)
  local n = #numbers
  return table.move(names, 1, #names, n + 1, numbers), n
end

-- The number of the first layer in a value, by creation.
local function first_made(v, depth)
  local kind = kind_of(v)
  if kind == "layer" then
    return v[S].id
  end
  local least = math.huge
  local n = 0
  for _, x in next, kind == "table" and depth < 8 and v or {} do
    n = n + 1
    if n > MANY then
      break
    end
    if type(x) == "table" then
      least = math.min(least, first_made(x, depth + 1))
    end
  end
  return least
end

-- Brings the names among the keys of a table, those behind the first `numbers`, into the order in
-- which their layers were made.
local function order_names(t, keys, numbers)
  local made, any = {}, false
  for i = numbers + 1, #keys do
    local v = rawget(t, keys[i])
    made[keys[i]] = type(v) == "table" and first_made(v, 0) or math.huge
    any = any or made[keys[i]] < math.huge
  end
  if any then
    local names = table.move(keys, numbers + 1, #keys, 1, {})
    table.sort(names, function(a, b)
      return made[a] < made[b] or made[a] == made[b] and a < b
    end)
    table.move(names, 1, #names, numbers + 1, keys)
  end
end

-- Tensors that are no weights are not kept: they may become some, and would live too long.
local function watch(walk, owner, key, value)
  local n = walk.n + 1
  walk.n, walk.keys[n] = n, key
  if owner ~= walk.layer then
    walk.owners = walk.owners or {}
  end
  if walk.owners then
    walk.owners[n] = owner ~= walk.layer and owner or nil
  end
  local record = walk.records and type(value) == "userdata" and walk.records[value]
  if record then
    record.owner, record.key = owner, key
  end
  walk.values[n] = (type(value) ~= "userdata" or record or kind_of(value, walk.variables))
    and value or nil
  return n
end

local visit

-- Walks a table in the field `path`.
local function visit_table(walk, t, path)
  local keys, numbers = sorted_keys(t)
  walk.sizes = walk.sizes or {}
  local before, at, sizes = #walk.found, walk.n, #walk.sizes
  if #keys > numbers and #keys <= MANY then
    order_names(t, keys, numbers)
  end
  for _, k in ipairs(keys) do
    local v = rawget(t, k)
    watch(walk, t, k, v)
    visit(walk, v, path .. "." .. tostring(k))
  end
  local data = #keys > MANY and #walk.found == before
  if data then
    walk.n = at
    for i = sizes + 1, #walk.sizes do
      walk.sizes[i] = nil
    end
  end
  walk.sizes[#walk.sizes + 1] = { t, data and rawlen(t) or #keys, data }
  local hole = #walk.found > before and numbers > 0 and check.hole(t)
  if hole then
    errors.raise(walk.layer:_label(),
      "the list in the field '%s' has a hole at %d; leave out what is not there", path, hole)
  end
end

function visit(walk, v, path)
  local kind = kind_of(v, walk.variables)
  if not kind or v == walk.layer or walk.records[v] or walk.seen and walk.seen[v] then
    return
  end
  walk.seen = walk.seen or {}
  walk.seen[v] = true
  if kind == "table" then
    return visit_table(walk, v, path)
  elseif kind == "tensor" then
    walk.tensors, walk.grads = walk.tensors or {}, walk.grads or {}
    walk.tensors[#walk.tensors + 1] = v
    walk.grads[#walk.tensors] = v.requires_grad
  end
  walk.found[#walk.found + 1] = { kind = kind, key = path, value = v, field = walk.field,
    trainable = kind == "tensor" and (v.requires_grad or not walk.trains) or nil }
end

local places_of = setmetatable({}, { __mode = "k" }) -- Args -> name -> its place among the options

local function places_among(args)
  local places = places_of[args]
  if not places then
    places = {}
    for i, name in ipairs(args.names) do
      places[name] = i - #args.names
    end
    places_of[args] = places
  end
  return places
end

-- Brings { layer, field, at } into the order of assignment: by the number of layers that there were
-- at that moment and the number of the assignment, `at` being the place in the walk. Options that
-- the constructor set come first, in their order.
local function by_assignment(self, layers)
  if #layers < 2 then
    return
  end
  local own, places = self[S], places_among(self.args)
  for _, e in ipairs(layers) do
    local note = own.assigned and own.assigned[e.field]
    e.made, e.turn = note and note[1] or own.id, note and note[2] or places[e.field] or 0
    if e.layer[S].id > e.made then -- it was not there when the field was assigned
      e.made, e.turn = e.layer[S].id, 0
    end
  end
  table.sort(layers, function(a, b)
    if a.made ~= b.made then
      return a.made < b.made
    elseif a.turn ~= b.turn then
      return a.turn < b.turn
    end
    return a.at < b.at
  end)
end

local NOTHING = {} -- in most layers

-- What was found, as lists that nobody changes; equal findings of two walks are one table.
local function sort_out(self, walk)
  local own = self[S]
  local out = { layers = NOTHING, tensors = NOTHING, metrics = NOTHING, all = NOTHING }
  if #walk.found > 0 then
    out.layers, out.tensors, out.metrics, out.all = {}, {}, {}, walk.found
  end
  for at, e in ipairs(walk.found) do
    if e.kind == "layer" then
      out.layers[#out.layers + 1] = { key = e.key, layer = e.value, field = e.field, at = at }
    elseif e.kind == "tensor" then
      out.tensors[#out.tensors + 1] = { key = e.key, tensor = e.value, trainable = e.trainable }
      own.variables = own.variables or setmetatable({}, { __mode = "k" })
      own.variables[e.value] = true
      if not weight_names.has(e.value) then
        weight_names.give(e.value, e.key, self)
      end
    else
      out.metrics[#out.metrics + 1] = { key = e.key, metric = e.value }
    end
  end
  by_assignment(self, out.layers)
  if self._parts then
    local seen = {}
    out.children = {}
    for i, child in ipairs(self:_parts()) do
      out.children[i], seen[child.layer] = child, true
    end
    for _, child in ipairs(out.layers) do
      if not seen[child.layer] then
        out.children[#out.children + 1] = child
      end
    end
  else
    out.children = out.layers
  end
  local before = own.found
  local same = before and #before.all == #walk.found
  for i = 1, same and #walk.found or 0 do
    local a, b = before.all[i], walk.found[i]
    same = same and a.value == b.value and a.key == b.key and a.trainable == b.trainable
  end
  return same and before or out
end

-- The records of a layer's weights and states by tensor. One whose field was given another tensor
-- is refused: calls would use that one, while training, saving and counting went on with the old.
local function records_of(self)
  local records, own = {}, self[S]
  for _, group in ipairs { own.weights, own.states or {} } do
    for _, r in ipairs(group) do
      records[r.tensor] = r
    end
  end
  for _, r in next, records do
    local v = r.owner and rawget(r.owner, r.key)
    if v and not rawequal(v, r.tensor) and not records[v] then
      local state = r.trainable == nil
      errors.raise(self:_label(), "the field '%s' holds %s in place of the %s '%s'; \z
        field:assign(value) sets its values%s", r.key, check.show(v), state and "state" or "weight",
        r.name, state and "" or (", layer:replace_weight(\"%s\", tensor) puts another tensor in \z
        its place"):format(r.name))
    end
  end
  return records
end

local function scan(self)
  local own = self[S]
  -- owners (those that are not the layer), sizes, tensors and grads, seen: where there are any
  local walk = { layer = self, n = 0, keys = {}, values = {}, found = {}, seen = nil, owners = nil,
    sizes = nil, tensors = nil, grads = nil, variables = own.variables, trains = own.trainable,
    records = records_of(self) }
  for _, k in ipairs((sorted_keys(self, self.args.index))) do
    local v = rawget(self, k)
    watch(walk, self, k, v)
    walk.field = k
    visit(walk, v, tostring(k))
  end
  own.found = sort_out(self, walk)
  walk.seen, walk.found, walk.records, walk.variables = nil, nil, nil, own.variables
  own.walk = walk
  return own.found
end

-- The number of the first field that holds something else; n + 1: none does.
local function first_other(layer, keys, values, n)
  for i = 1, n do
    if layer[keys[i]] ~= values[i] then
      return i
    end
  end
  return n + 1
end

-- Whether the fields still hold what the walk saw. Values that are nothing to a walk, before and
-- now, such as a result that a layer keeps of each call, change nothing.
local function holds(walk)
  local owners, keys, values, layer = walk.owners, walk.keys, walk.values, walk.layer
  for i = owners and 1 or first_other(layer, keys, values, walk.n), walk.n do
    local owner = owners and owners[i] or layer
    local v, was = owner[keys[i]], values[i]
    if v ~= was then
      v = rawget(owner, keys[i])
      if type(was) == "userdata" or kind_of(v, walk.variables) or kind_of(was, walk.variables) then
        return false
      end
      values[i] = type(v) ~= "userdata" and v or nil
    end
  end
  local sizes = walk.sizes
  for i = 1, sizes and #sizes or 0 do
    local t, count = sizes[i][1], sizes[i][2]
    if sizes[i][3] then
      count = count - rawlen(t)
    else
      for _ in next, t do
        count = count - 1
      end
    end
    if count ~= 0 then
      return false
    end
  end
  local tensors, grads = walk.tensors, walk.grads
  for i = 1, tensors and #tensors or 0 do
    if tensors[i].requires_grad ~= grads[i] then
      return false
    end
  end
  return true
end

--- What the fields of a layer hold: { layers, tensors, metrics, children }, lists of { key, layer }
--- and so on. The same table as long as it is the same.
function tracking.of(self)
  local own = self[S]
  if own.walk and holds(own.walk) then
    return own.found
  end
  return scan(self)
end

-- Notes in the record of a tensor the field that holds it.
local function note_field(records, owner, key, tensor)
  for i = #records, 1, -1 do
    if rawequal(records[i].tensor, tensor) then
      records[i].owner, records[i].key = owner, key
      return
    end
  end
end

-- The place of a field of the layer itself; found when the first new one comes.
local function place_of(walk, key)
  if not walk.places then
    walk.places = {}
    for i = 1, walk.n do
      if not (walk.owners and walk.owners[i]) then
        walk.places[walk.keys[i]] = i
      end
    end
  end
  return walk.places[key]
end

--- A field of the layer is new.
function tracking.added(self, key, value)
  local own = self[S]
  local walk = own.walk
  if type(value) == "table" then
    own.assigned = own.assigned or {}
    own.turns = (own.turns or 0) + 1
    own.assigned[key] = { getmetatable(self).created, own.turns }
  end
  if type(value) == "userdata" then
    note_field(own.weights, self, key, value)
    if own.states then
      note_field(own.states, self, key, value)
    end
  end
  if walk and kind_of(value, walk.variables) then
    own.walk = nil
  elseif walk and not place_of(walk, key) then
    walk.places[key] = watch(walk, self, key, value)
  end
end

--- The records of a layer, its parts or whether it trains have changed.
function tracking.changed(self)
  local own = self[S]
  own.walk, own.found = nil, nil
end

return tracking

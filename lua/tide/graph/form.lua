--- Graphs as configurations: the one writer and the one reader, for Tide's files and Keras'.
--
-- A configuration is a list of entries, one per layer or operator, each with the calls that were
-- made of it; a call's arguments refer to the results of others by { entry, call, result }, counted
-- from 0. What the two forms have of their own comes as functions.
local S = require "tide.private"
local check = require "tide.check"
local errors = require "tide.errors"
local free = require("tide.graph.names").free
local none = require "tide.none"
local symbolic = require "tide.graph.symbolic"

local form = {}

local DEEPEST = 500 -- tables in tables

-- As `waiting`, of any value of a configuration; the value itself where nothing in it changes.
local function waits(v, inside)
  local out
  if not check.is_plain(v) then
    return v
  elseif inside > DEEPEST then
    errors.raise("from_config", "the configuration holds itself, or tables too deep in one another")
  elseif v.shared_object then
    return v
  end
  for k, x in next, v do
    local y = waits(x, inside + 1)
    if y ~= x then
      out = out or table.move(v, 1, #v, 1, {})
      out[k] = y
    end
  end
  local late = v.built_inside and v.build_input_shape
  if not out and not late then
    return v
  end
  out = out or {}
  for k, x in next, v do
    out[k] = out[k] == nil and x or out[k]
  end
  out.build_input_shape = not late and out.build_input_shape or nil
  return out
end

--- The entry of a layer in a model that is about to be built. Sequential models in it, also among
--- the options of layers around layers, that were built with what stands around them wait for that:
--- their layers get the same paths.
--- @param entry any
--- @return any entry
function form.waiting(entry)
  return waits(entry, 1)
end

local function is_layer(maker)
  return rawget(maker, S) ~= nil
end

--- Writes a graph.
--- @param g table as tide.graph.of gives it
--- @param w table functions: `order(g)`, the layers and op nodes in the order of the entries, by
---   default that of the graph; `layer(layer)` and `input(x, name)`, their entries;
---   `op(node, name, encode)`, an operator's entry with its call; `call(args, encode, layer)`, a
---   layer's call; `reference(x, place)`, a symbolic tensor; `structure(v, f)`, a list or table by
---   name of what f makes of its parts; `value(v)`, any other value
--- @return table entries, function ends(spec, f): places of inputs or outputs, f(node, place) each
function form.write(g, w)
  local makers, seen, calls, taken, place = {}, {}, {}, {}, {}
  for _, node in ipairs(g.nodes) do
    local maker = node.layer or node
    if not seen[maker] then
      seen[maker], calls[maker] = true, {}
      makers[#makers + 1] = maker
    end
    calls[maker][#calls[maker] + 1] = node
    taken[node.layer and node.layer.name or 0] = true
  end
  local entries, names = {}, {}
  for _, x in ipairs(g.inputs) do
    local layer = x._node and #x._node.inputs == 0 and x._node.layer
    names[x] = layer and layer.name or free(taken, x.name)
    taken[names[x]] = true
    place[x] = { names[x], 0, 0 }
  end
  local inputs = {}
  for _, x in ipairs(g.inputs) do
    inputs[x._node and #x._node.inputs == 0 and x._node.layer or x] = x
  end
  local order = w.order and w.order(g) or nil
  if not order then
    order = {}
    for _, x in ipairs(g.inputs) do
      order[#order + 1] = x
    end
    table.move(makers, 1, #makers, #order + 1, order)
  end
  local index, label = {}, {}
  for _, maker in ipairs(order) do
    -- calls in the order in which they were made, so that shared layers keep their numbers
    local own = calls[maker] or {}
    table.sort(own, function(a, b) return a.id < b.id end)
    local name = is_layer(maker) and maker.name or not symbolic.is(maker) and free(taken, maker.op)
    for i, node in ipairs(own) do
      label[node], index[node] = name, i - 1
    end
  end
  local function place_of(x)
    return place[x] or { label[x._node], index[x._node], x._position - 1 }
  end
  local function encode(v)
    if symbolic.is(v) then
      return w.reference(v, place_of(v))
    elseif type(v) == "table" and v ~= none and symbolic.has(v) then
      return w.structure(v, encode)
    end
    return w.value(v)
  end
  for _, maker in ipairs(order) do
    local x = symbolic.is(maker) and maker or inputs[maker]
    local entry
    if x then
      entry = w.input(x, names[x])
    elseif is_layer(maker) then
      entry = w.layer(maker)
      for i, node in ipairs(calls[maker]) do
        entry.inbound_nodes[i] = w.call(node.args, encode, node.layer)
      end
    else
      entry = w.op(maker, label[maker], encode)
    end
    entries[#entries + 1] = entry
  end
  local function ends(spec, f)
    if symbolic.is(spec) then
      return f(spec._node, place_of(spec))
    end
    return w.structure(spec, function(x) return ends(x, f) end)
  end
  return entries, ends
end

--- Reads a graph: makes all entries, then each call as soon as what it needs is there.
--- @param entries table
--- @param r table `name` of the graph, for messages; `refuse(fmt, ...)`, which raises; functions:
---   `make(entry)` gives its name and { fn, layer, ... }, where layer is nil for operators;
---   `calls(entry)`, a list of { args, ... }; `reference(v)`, { entry, call, result } or nil;
---   `value(v)`, what another value means, or nil if its parts are to be read;
---   `options(call, made, decode)`, a table given last, or nil; `shift(made, number, call)`, the
---   number of a call as it is counted here
--- @return function look_up(reference), table what make gave by name, table results by name and
---   number of the call
function form.read(entries, r)
  local made, results, queue = {}, {}, {}
  for _, entry in ipairs(entries) do
    local name, what = r.make(entry)
    made[name], results[name] = what, {}
    if what.layer and getmetatable(what.layer).__name == "InputLayer" then
      local nodes = what.layer[S].nodes
      results[name][0] = { nodes and nodes[1].output or symbolic.input(what.layer,
        what.layer.dtype) }
    else
      for i, call in ipairs(r.calls(entry)) do
        queue[#queue + 1] = { name = name, call = call, index = i - 1 }
      end
    end
  end

  -- The result of a call, or nil and the key of the call that is not made yet.
  local function look_up(ref, call)
    local what = made[ref[1]]
    if not what then
      r.refuse("the graph of '%s' refers to '%s', which it does not have", r.name, tostring(ref[1]))
    end
    local at = r.shift and r.shift(what, ref[2], call) or ref[2]
    local found = results[ref[1]][at]
    if not found then
      return nil, ref[1] .. "/" .. at
    end
    local x = found[ref[3] + 1]
    if x == nil then
      r.refuse("the graph of '%s' refers to output %d of '%s', which it does not have", r.name,
        ref[3] + 1, ref[1])
    end
    return x
  end

  local missing -- key of a call that the one being read waits for
  local function decoder(call)
    local function decode(v)
      if type(v) ~= "table" or v == none or missing then
        return v
      end
      local ref = r.reference(v)
      if ref then
        local x, key = look_up(ref, call)
        missing = key
        return x
      end
      local value = r.value(v)
      if value ~= nil then
        return value
      end
      local out = {}
      for k, x in pairs(v) do
        out[k] = decode(x)
      end
      return out
    end
    return decode
  end

  -- Makes a call if all that it needs is there; else returns the key of what is not.
  local function run(p)
    if p.index > 0 and results[p.name][p.index - 1] == nil then
      return p.name .. "/" .. p.index - 1 -- in order, so that calls keep their numbers
    end
    local decode, given, args = decoder(p.call), p.call.args, {}
    local n = #given
    missing = nil
    for i = 1, n do
      args[i] = decode(given[i])
      if args[i] == none then
        args[i] = nil
      end
    end
    local options = r.options and r.options(p.call, made[p.name], decode)
    if missing then
      return missing
    elseif options then
      n = n + 1
      args[n] = options
    end
    local out = table.pack(made[p.name].fn(table.unpack(args, 1, n)))
    results[p.name][p.index] = symbolic.flatten { table.unpack(out, 1, out.n) }
  end

  local waiting, at, left = {}, 1, #queue
  while at <= #queue do
    local p = queue[at]
    at = at + 1
    local key = run(p)
    if key then
      waiting[key] = waiting[key] or {}
      table.insert(waiting[key], p)
    else
      left = left - 1
      local done = p.name .. "/" .. p.index
      for _, next_one in ipairs(waiting[done] or {}) do
        queue[#queue + 1] = next_one
      end
      waiting[done] = nil
    end
  end
  if left > 0 then
    local stuck = {}
    for _, list_of in pairs(waiting) do
      for _, p in ipairs(list_of) do
        stuck[#stuck + 1] = p.name
      end
    end
    table.sort(stuck)
    r.refuse("the graph of '%s' is not connected at '%s'", r.name, stuck[1])
  end
  return look_up, made, results
end

--- Symbolic tensors in the places of a structure of references.
--- @param v table a reference, or a list or table by name of them
--- @param r table as for read
--- @param find function reference -> symbolic tensor or nil
function form.ends(v, r, find)
  if type(v) ~= "table" or v == none then
    r.refuse("the model '%s' names no inputs or outputs", r.name)
  end
  local ref = r.reference(v)
  if ref then
    local x = find(ref)
    if not x then
      r.refuse("the end '%s' of the model '%s' is never computed", tostring(ref[1]), r.name)
    end
    return x
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = form.ends(x, r, find)
  end
  return out
end

--- A tensor among the arguments of an operator, as Keras writes it too; with its shape, since a
--- list of nothing has none.
function form.constant(t)
  return { class_name = "__tensor__",
    config = { value = t:tolist(), dtype = t.dtype, shape = t.shape:totable() } }
end

--- The tensor of such a constant.
function form.tensor(v)
  local c = v.config
  if type(c) ~= "table" or c.value == nil then
    errors.raise("from_config", "a constant tensor without a value")
  end
  local ops = require "tide.ops"
  local t = ops.convert_to_tensor(c.value, { dtype = c.dtype })
  return type(c.shape) == "table" and t.size == 0 and ops.zeros(c.shape, { dtype = c.dtype }) or t
end

return form

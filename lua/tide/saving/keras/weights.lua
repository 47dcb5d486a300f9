--- Weights in Keras' HDF5 files: where each of a model's weights stands (`/layers/dense/vars/0`),
--- the optimizer's slots, and moving values in and out, all checked before the first is written.
local S = require "tide.private"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"

local graph = require "tide.graph"
local h5 = require "tide.saving.keras.h5"

local weights = {}

-- ---- where weights stand ----

-- The path that an object of this class has among its siblings.
local function snake(layer)
  return layer.keras.path or class.snake(getmetatable(layer).__name)
end

-- Names for a list of objects as Keras gives them: by class, numbered from the second on.
local function segments(objects)
  local counts, out = {}, {}
  for i, o in ipairs(objects) do
    local name = snake(o)
    local n = counts[name]
    counts[name] = (n or 0) + 1
    out[i] = n and name .. "_" .. n or name
  end
  return out
end

local function put(out, path, records, layer)
  out[#out + 1] = { path = path, records = records, layer = layer }
end

-- The weights of a layer by the folders that its class keeps them in, those in its own first, the
-- folders in the order of the weights.
local function put_groups(layer, path, records, out)
  local group = layer.keras.group
  local rest, groups, order = {}, {}, {}
  for _, r in ipairs(records) do
    local name = group(r.name)
    if not name then
      rest[#rest + 1] = r
    else
      if not groups[name] then
        groups[name], order[#order + 1] = {}, name
      end
      table.insert(groups[name], r)
    end
  end
  put(out, path, rest, layer)
  for _, name in ipairs(order) do
    put(out, path .. "/" .. name, groups[name], layer)
  end
end

-- The tensors of a layer itself: its weights, then what it keeps from call to call, which Keras
-- holds as variables that are not trained.
local function own_records(layer)
  local records, states = layer:_own_records(), layer[S].states
  if not states or #states == 0 or layer.keras.states == false then
    return records
  end
  local out = table.move(records, 1, #records, 1, {})
  for _, s in ipairs(states) do
    out[#out + 1] = { tensor = s.tensor, name = s.name, trainable = false }
  end
  return out
end

local function visit(layer, path, out, seen)
  if seen[layer] then
    return
  end
  seen[layer] = true
  local records = own_records(layer)
  if layer.keras.records then
    records = layer.keras.records(layer, records)
  end
  if layer.keras.group and #records > 0 then
    return put_groups(layer, path, records, out)
  end
  put(out, path, records, layer)
  if graph.kind(layer) then
    local inside = graph.layers(layer)
    for i, segment in ipairs(segments(inside)) do
      visit(inside[i], path .. "/layers/" .. segment, out, seen)
    end
    return
  end
  -- fields by name, members of lists and tables by class; in models of one's own, what sorts after
  -- "layers" stands in the list of all layers, which Keras visits under that name
  local children, members = layer:_children(), {}
  local names = layer.keras.fields or {}
  for _, child in ipairs(children) do
    local field = child.key:match "^[^.]+"
    field = names[field] or field
    members[field] = members[field] or {}
    table.insert(members[field], child)
  end
  local fields = layer.is_model and { "layers" } or {}
  for field in pairs(members) do
    fields[#fields + 1] = field
  end
  table.sort(fields)
  for _, field in ipairs(fields) do
    local inside = {}
    if field == "layers" and layer.is_model then
      for i, child in ipairs(children) do
        inside[i] = child.layer
      end
    elseif #members[field] == 1 and not members[field][1].key:find(".", 1, true) then
      visit(members[field][1].layer, path .. "/" .. field, out, seen)
    else
      for i, child in ipairs(members[field]) do
        inside[i] = child.layer
      end
    end
    for i, segment in ipairs(segments(inside)) do
      visit(inside[i], path .. "/" .. field .. "/" .. segment, out, seen)
    end
  end
end

--- All places of a model's weights: list of { path, records, layer }, paths beginning with "/", the
--- model's own "".
function weights.places(model)
  local out = {}
  visit(model, "", out, {})
  return out
end

-- Weight records of a layer and all below it in Keras' order: own ones, then those of the layers in
-- it.
local function flat(layer)
  local out, paths, seen = {}, {}, {}
  for _, place in ipairs(weights.places(layer)) do
    for _, r in ipairs(place.records) do
      paths[r.tensor] = paths[r.tensor] or place.path
    end
    for _, r in ipairs(own_records(place.layer)) do
      paths[r.tensor] = paths[r.tensor] or place.path
    end
  end
  local function collect(one)
    if seen[one] then
      return
    end
    seen[one] = true
    for _, r in ipairs(own_records(one)) do
      if not seen[r.tensor] then
        seen[r.tensor] = true
        out[#out + 1] = { tensor = r.tensor, name = r.name, trainable = r.trainable,
          path = paths[r.tensor], layer = one }
      end
    end
    for _, child in ipairs(one:_children()) do
      collect(child.layer)
    end
  end
  collect(layer)
  return out
end

--- Weight records of one layer of a legacy file: the trainable ones of all parts, then the others.
function weights.of_layer(layer)
  local out = {}
  local all = flat(layer)
  for _, want in ipairs { true, false } do
    for _, r in ipairs(all) do
      if (r.trainable and r.layer[S].trainable) == want then
        out[#out + 1] = r
      end
    end
  end
  return out
end

--- The trainable weights of a model in Keras' order.
function weights.trainable(model)
  local out = {}
  for _, r in ipairs(flat(model)) do
    if r.trainable and r.layer[S].trainable then
      out[#out + 1] = r
    end
  end
  return out
end

-- ---- moving values ----

local function shape_text(shape)
  return list.format(shape)
end

--- Whether a value may go into a weight; else why not.
function weights.fits(record, value, what)
  if not list.equal(record.tensor.shape, value.shape) then
    return false, ("%s: the file has shape %s, the model %s"):format(what, shape_text(value.shape),
      shape_text(record.tensor.shape))
  end
  return true
end

--- The tensor of a value that has been fetched.
function weights.tensor(value)
  return core.is_tensor(value) and value or value.tensor or value.make()
end

--- Reads what values of a file need that was not read yet. A value is a tensor, an entry of a file
--- (see tide.saving.keras.h5), or { shape, of = entries, make = function } where it is made of
--- several.
function weights.fetch(values)
  local entries = {}
  for _, v in ipairs(values) do
    if not core.is_tensor(v) then
      local of = v.of or { v }
      table.move(of, 1, #of, #entries + 1, entries)
    end
  end
  h5.fetch(entries)
end

--- Writes checked pairs { record, value }, all of them or none.
function weights.assign(pairs_)
  local values = {}
  for i, p in ipairs(pairs_) do
    values[i] = p[2]
  end
  weights.fetch(values)
  for _, p in ipairs(pairs_) do
    p[1].tensor:assign(weights.tensor(p[2]))
    if p[1].loaded then
      p[1].loaded()
    end
  end
end

--- Raises one error that names everything that does not fit, or warns where skip_mismatch allows
--- it. `quiet`: warns of nothing.
function weights.complain(where, problems, skip, quiet)
  if #problems == 0 or skip and quiet then
    return
  end
  local shown = {}
  for i = 1, math.min(#problems, 10) do
    shown[i] = problems[i]
  end
  if #problems > 10 then
    shown[11] = ("and %d more"):format(#problems - 10)
  end
  local text = table.concat(shown, "; ")
  if skip then
    errors.warn("%s: left out: %s", where, text)
    return
  end
  errors.raise("load_weights", "%s: the weights do not fit the model: %s", where, text)
end

-- ---- the tree of a file ----

--- Groups of variables: path of the group -> { n = count, [0] = entry, ..., named = by name, those
--- that a layer keeps beside its weights }. Names of early Keras 3 files are brought up to date.
function weights.groups(entries)
  local out = {}
  for _, e in ipairs(entries) do
    local group, n = e.name:match "^(.*)/vars/([^/]+)$"
    if group then
      group = group:gsub("/_layer_checkpoint_dependencies/", "/layers/")
      local t = out[group] or { n = 0, named = {} }
      out[group] = t
      if n:find "^%d+$" then
        t[tonumber(n)] = e
        t.n = t.n + 1
      else
        t.named[n] = e
      end
    end
  end
  return out
end

--- Whether a group holds no weights of the model: states of random generators, metrics, and what
--- belongs to the optimizer.
function weights.is_aside(path)
  return path:find "seed_generator" or path:find "random_generator" or path:find "^/optimizer"
    or path:find "^/_?metrics"
    or path:find "_metrics" or path:find "^/_?loss_tracker" or path:find "^/_compile"
end

local function label(place)
  return ("%s (%s)"):format(place.layer.name, place.path == "" and "/" or place.path)
end

local function describe(records)
  local out = {}
  for i, r in ipairs(records) do
    out[i] = r.name .. " " .. shape_text(r.tensor.shape)
  end
  return table.concat(out, ", ")
end

--- What the groups of a .weights.h5 file have for a model's weights: list of { record, value }.
--- Raises where they do not fit.
--- @param o table where, skip_mismatch, quiet
function weights.matches(model, groups, o)
  local problems, moves, used = {}, {}, {}
  for _, place in ipairs(weights.places(model)) do
    local found, need = groups[place.path], place.records
    used[place.path] = true
    if #need > 0 then
      if not found then
        problems[#problems + 1] = ("%s is missing in the file (it needs %s)"):format(
          label(place), describe(need))
      elseif found.n ~= #need then
        local has = {}
        for i = 0, found.n - 1 do
          has[#has + 1] = found[i] and shape_text(found[i].shape) or "?"
        end
        problems[#problems + 1] = ("%s: the file has %d weights (%s), the model %d (%s)"):format(
          label(place), found.n, table.concat(has, ", "), #need, describe(need))
      else
        for i, r in ipairs(need) do
          local value = found[i - 1]
          local ok, why = value ~= nil,
            ("%s: the file has no variable %d"):format(label(place), i - 1)
          if ok then
            ok, why = weights.fits(r, value, label(place) .. " " .. r.name)
          end
          if ok then
            moves[#moves + 1] = { r, value }
          else
            problems[#problems + 1] = why
          end
        end
      end
    elseif found and found.n > 0 and not weights.is_aside(place.path) then
      problems[#problems + 1] = ("%s: the file has %d weights, the model none"):format(
        label(place), found.n)
    end
  end
  local surplus = {}
  for path, g in pairs(groups) do
    if not used[path] and g.n > 0 and not weights.is_aside(path) then
      surplus[#surplus + 1] = ("the file has %d weights at %s, which the model does not have \z
          (the first of shape %s)"):format(
        g.n, path, g[0] and shape_text(g[0].shape) or "?")
    end
  end
  table.sort(surplus)
  table.move(surplus, 1, #surplus, #problems + 1, problems)
  weights.complain(o.where, problems, o.skip_mismatch, o.quiet)
  return moves
end

--- The datasets and attributes of a .weights.h5 file: list of { path, tensor }, table path ->
--- attributes.
function weights.save(model)
  local data, attributes = list.new {}, { ["/"] = {} }
  for _, place in ipairs(weights.places(model)) do
    local vars = place.path .. "/vars"
    attributes[vars] = { name = place.layer.name }
    for i, r in ipairs(place.records) do
      data[#data + 1] = { vars .. "/" .. i - 1, r.value and r.value() or r.tensor:detach() }
    end
    weights.each_extra(place, function(folder, _, named)
      for name, tensor in pairs(named) do
        data[#data + 1] = { folder .. "/vars/" .. name, tensor }
      end
    end)
  end
  return data, attributes
end

--- Calls f(folder, files, data) for each folder in which a layer keeps something beside its weights
--- (see Layer.keras).
function weights.each_extra(place, f)
  local k = place.layer.keras
  if k.extra then
    local files, named = k.extra(place.layer)
    for _, below in ipairs(k.folders) do
      f(place.path .. below, files, named)
    end
  end
end

-- ---- the optimizer ----

-- Slots that come in one block over all parameters instead of parameter by parameter.
local function blocks(optimizer)
  local mixed, apart, whole = {}, {}, optimizer.keras.blocks
  for _, slot in ipairs(optimizer:_slot_list()) do
    local to = (whole == true or whole and whole[slot[1]]) and apart or mixed
    to[#to + 1] = slot[1]
  end
  return mixed, apart
end

--- The optimizer's tensors in Keras' order after the iteration and the learning rate: list of {
--- slot, tensor, record }.
local function slot_list(model, optimizer)
  local out, order = {}, {}
  for _, r in ipairs(weights.trainable(model)) do
    local i = optimizer._index[r.tensor]
    if i then
      order[#order + 1] = { i, r }
    end
  end
  local function block(slot, tensors)
    for _, p in ipairs(order) do
      local tensor = tensors[p[1]]
      out[#out + 1] = tensor and { slot = slot, tensor = tensor, record = p[2] } or nil
    end
  end
  if optimizer._average then
    block("average", optimizer._average)
  end
  if optimizer._sums then
    block("gradient_accumulator", optimizer._sums)
  end
  local mixed, apart = blocks(optimizer)
  for _, p in ipairs(order) do
    for _, slot in ipairs(mixed) do
      local tensor = optimizer._slots[slot][p[1]]
      out[#out + 1] = tensor and { slot = slot, tensor = tensor, record = p[2] } or nil
    end
  end
  for _, slot in ipairs(apart) do
    block(slot, optimizer._slots[slot])
  end
  return out
end

local function build(model, optimizer)
  if not optimizer.built then
    optimizer:build(model._parameters_of(model:_trained()))
  end
end

-- The numbers that stand before the slots, and after them (Nadam).
local function numbers(optimizer)
  local out = {}
  if optimizer._inners then
    for i, n in ipairs(optimizer:_own_numbers()) do
      out[i] = { n[1], core.tensor(n[2], { dtype = n[3] }) }
    end
    return out
  end
  local n = optimizer:_numbers()
  out[1] = { "iteration", core.tensor(n.iterations, { dtype = "int32" }) }
  if n.learning_rate then
    out[2] = { "learning_rate", core.tensor(n.learning_rate, { dtype = "float32" }) }
  end
  local last = n.u_product and { "u_product", core.tensor(n.u_product, { dtype = "float32" }) }
    or nil
  return out, last
end

-- The optimizer's variables in Keras' order, then those of the optimizers inside: list of { name,
-- tensor, record }.
local function variables_of(model, optimizer)
  local out, last = numbers(optimizer)
  for _, s in ipairs(optimizer.built and slot_list(model, optimizer) or {}) do
    out[#out + 1] = { s.slot, s.tensor, s.record }
  end
  out[#out + 1] = last
  local extras = optimizer.extras and optimizer:_numbers().extras
  for _, name in ipairs(extras and optimizer.extras or {}) do
    out[#out + 1] = { name, extras[name] }
  end
  for _, inner in ipairs(optimizer._inners or {}) do
    local own = variables_of(model, inner)
    table.move(own, 1, #own, #out + 1, out)
  end
  return out
end

--- All of the optimizer's variables in Keras' order: list of { name, tensor, record }; nil where
--- there is nothing to write.
function weights.optimizer_variables(model)
  local optimizer = rawget(model, "optimizer")
  return optimizer and optimizer.built and variables_of(model, optimizer) or nil
end

--- The optimizer's variables as .weights.h5 holds them, those of optimizers inside once more in
--- their own folders: list of { path, name, variables }.
function weights.optimizer_groups(model)
  local out = {}
  local function walk(optimizer, path)
    out[#out + 1] = { path = path, name = optimizer.name,
      variables = variables_of(model, optimizer) }
    local inside = optimizer._inners or {}
    if optimizer.inner_optimizer then
      walk(inside[1], path .. "/inner_optimizer")
    else
      local counts = {}
      for _, inner in ipairs(inside) do
        local name = class.snake(inner:_class_name())
        local n = counts[name] or 0
        counts[name] = n + 1
        walk(inner, path .. "/optimizers/" .. name .. (n > 0 and "_" .. n or ""))
      end
    end
  end
  local optimizer = rawget(model, "optimizer")
  if optimizer and optimizer.built then
    walk(optimizer, "/optimizer")
  end
  return out
end

local function number(value)
  local t = weights.tensor(value)
  return (t.ndim == 0 and t or t:reshape { -1 }[1]):tolist()
end

-- What a file's numbers mean to an optimizer; `own`: its numbers in order.
local function numbers_read(optimizer, own, head, last)
  if optimizer._inners then
    local out = { own = {}, inner = {} }
    for i, h in ipairs(head) do
      out.own[h[1]] = number(own[i])
    end
    return out
  end
  local n = { iterations = math.tointeger(number(own[1])),
    learning_rate = head[2] and number(own[2]), u_product = last and number(own[#own]) }
  -- files hold it in float32; where that is the given rate rounded, the given one stays
  local given = optimizer:_numbers().learning_rate
  if given and n.learning_rate
    and string.unpack("f", string.pack("f", given)) == n.learning_rate then
    n.learning_rate = given
  end
  return n
end

-- Checks the variables of an optimizer and of those inside, beginning behind `at`: values of slots
-- join `moves`, those that hold numbers `plain`. A function that gives the numbers when these were
-- fetched; false and why not where something does not fit.
local function take(model, optimizer, found, at, moves, plain)
  local head, last = numbers(optimizer)
  local slots = optimizer.built and slot_list(model, optimizer) or {}
  if #found == #head and not optimizer._inners then -- of one without slots yet
    slots, last = {}, nil
  end
  for i, s in ipairs(slots) do
    local value = found[at + #head + i]
    if not list.equal(s.tensor.shape, value.shape) then
      return false, ("slot %s of %s: the file has shape %s, the optimizer %s"):format(s.slot,
        s.record.name, shape_text(value.shape), shape_text(s.tensor.shape))
    end
    moves[#moves + 1] = { s, value }
  end
  local n = #head + #slots + (last and 1 or 0)
  local own = table.move(found, at + 1, at + n, 1, {})
  for i = 1, #head + (last and 1 or 0) do
    local value = own[i <= #head and i or n]
    if h5.size(value) ~= 1 then
      return false, ("%s: the file has shape %s (expected one number)"):format(
        (head[i] or last)[1], shape_text(value.shape))
    end
    plain[#plain + 1] = value
  end
  at = at + n
  local inside = {}
  for k, inner in ipairs(optimizer._inners or {}) do
    local read, why = take(model, inner, found, at, moves, plain)
    if not read then
      return false, why
    end
    inside[k] = read
    at = at + #variables_of(model, inner)
  end
  return function()
    local out = numbers_read(optimizer, own, head, last)
    for k, read in ipairs(inside) do
      out.inner[k] = read()
    end
    return out
  end
end

-- The state of LBFGS: numbers, and tensors whose shapes it checks itself. No more are read than
-- four times what its history of these weights may have.
local function load_extras(optimizer, found, head)
  local most = 0
  for _, v in ipairs(optimizer._params or {}) do
    most = most + 4 * v.size * (optimizer.history_size + 1)
  end
  for i = #head + 1, #found do
    if h5.size(found[i]) > most + 2 then
      return nil, ("%s: the file has shape %s, more than the history of these weights"):format(
        optimizer.extras[i - #head], shape_text(found[i].shape))
    end
  end
  weights.fetch(found)
  local n = numbers_read(optimizer, found, head)
  n.extras = {}
  for i, name in ipairs(optimizer.extras) do
    n.extras[name] = weights.tensor(found[#head + i])
  end
  optimizer:_set_numbers(n)
  return true
end

--- Puts the variables of a file (a list in Keras' order) into the optimizer.
--- @return boolean|nil, string why not
function weights.load_optimizer(model, found)
  local optimizer = rawget(model, "optimizer")
  if not optimizer then
    return nil, "the model is not compiled"
  end
  build(model, optimizer)
  local want, head = #variables_of(model, optimizer), numbers(optimizer)
  local least = #head
  if optimizer.extras and #found == least + #optimizer.extras then
    return load_extras(optimizer, found, head)
  end
  if #found ~= want and (#found ~= least or #found > want or optimizer._inners) then
    return nil, ("the file has %d variables of the optimizer, %s needs %d"):format(#found,
      optimizer:_class_name(), want)
  end
  local moves, plain = {}, {}
  local read, why = take(model, optimizer, found, 0, moves, plain)
  if not read then
    return nil, why
  end
  for _, m in ipairs(moves) do
    plain[#plain + 1] = m[2]
  end
  weights.fetch(plain)
  local n = read()
  weights.assign(moves)
  optimizer:_set_numbers(n)
  return true
end

return weights

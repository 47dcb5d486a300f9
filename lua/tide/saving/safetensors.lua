--- Tide's own format: a safetensors file whose tensors are the weights by path and the optimizer's
--- slots, and whose `__metadata__` holds, as JSON under the key "tide", architecture, compile state
--- and the optimizer's numbers. Any safetensors reader can read the weights.
local S = require "tide.private"
local core = require "tide.core"
local errors = require "tide.errors"
local guard = require "tide.saving.guard"
local lora = require "tide.layers.lora"
local none = require "tide.none"
local object = require "tide.object"
local ops = require "tide.ops"
local paths = require "tide.layers.paths"
local registry = require "tide.registry"
local seeds = require "tide.layers.seeds"
local shared = require "tide.shared"

local json = require "tide.utils.json"

local safetensors = {}

local FORMAT = 1
local OPTIMIZER = "@optimizer/"

-- ---- writing ----

local function need_built(model, owner)
  if not model.built then
    errors.raise(owner, "%s has no weights yet: build it, or call it on a batch first",
      model:_label())
  end
end

local function weight_entries(model)
  local out = {}
  for i, r in ipairs(model:_saved()) do
    out[i] = { r.path, r.tensor:detach() }
  end
  return out
end

-- Paths in the model's order: another instance of the same model may number its layers otherwise.
local function order_of(entries)
  local out = {}
  for i, e in ipairs(entries) do
    out[i] = e[1]
  end
  return out
end

--- Writes tensors, { name, tensor }, and a description of them.
function safetensors.write(path, entries, header)
  header.format, header.version = FORMAT, core.version
  local folder = path:match "^(.*)/[^/]*$"
  if folder and folder ~= "" and not core.file_exists(folder) then
    errors.raise("save", "%s: there is no folder %s", path, folder)
  end
  core.safetensors_write(path, entries, { format = "tide", tide = json.written(header, path) })
end

--- Writes the weights alone, by path.
function safetensors.save_weights(model, path)
  need_built(model, "save_weights")
  local entries = weight_entries(model)
  safetensors.write(path, entries, { kind = "weights",
    order = order_of(entries), seeds = seeds.counts_of(model) })
end

-- The compile state as data; nil and a warning where it holds a function.
local function compile_state(model)
  local state = model:get_compile_config()
  if state then
    local at, what = json.unwritable(state)
    if at then
      errors.warn("save: %s is %s, which a file cannot hold; the model is saved without its "
        .. "compile state", at, what)
      return nil
    end
  end
  return state
end

-- Whether the optimizer has a state for all that is trained now: LoRA may have come behind it, or a
-- layer may have been freed. Without one, whoever loads the file begins with a new state.
local function knows_all(model, optimizer)
  local known = {}
  for _, p in ipairs(optimizer._params) do
    known[p] = true
  end
  for _, w in ipairs(model.trainable_weights) do
    if not known[w] then
      errors.warn("save: the optimizer's state was left out: it was made before '%s' was trained; "
        .. "compile the model again", w.path)
      return false
    end
  end
  return true
end

--- Writes the whole model.
--- @param o table|nil include_optimizer
function safetensors.save_model(model, path, o)
  need_built(model, "save")
  local sharing <close> = shared.writing() -- luacheck: ignore sharing
  local description = object.serialize(model)
  json.check(description, model:_label())
  local entries = weight_entries(model)
  local header = { kind = "model", model = description, build_shape = model[S].build_shape,
    order = order_of(entries), seeds = seeds.counts_of(model),
    lora = lora.described(model), around = paths.kept(model) }
  local ok, compiled = pcall(function()
    return rawget(model, "compiled")
  end)
  if ok and compiled then
    header.compile = compile_state(model)
    local optimizer = model.optimizer
    if header.compile and optimizer and optimizer.built
      and not (o and o.include_optimizer == false) and knows_all(model, optimizer) then
      header.optimizer = optimizer:_numbers()
      local extras = header.optimizer.extras
      for _, name in ipairs(extras and optimizer.extras or {}) do
        entries[#entries + 1] = { OPTIMIZER .. name, extras[name] }
      end
      header.optimizer.extras = nil
      local inside = {}
      for _, r in ipairs(model:_records()) do
        inside[r.tensor] = r.path
      end
      for _, s in ipairs(optimizer:_state()) do
        local name = inside[optimizer._params[s.index]]
        if name then
          entries[#entries + 1] = { OPTIMIZER .. s.slot .. "/" .. name, s.tensor }
        end
      end
    end
  end
  safetensors.write(path, entries, header)
end

-- ---- reading ----

--- The description in a file's metadata; nil where it has none of Tide's.
function safetensors.read_header(path, metadata)
  if not metadata.tide then
    return nil
  end
  local header = json.decode(metadata.tide, path .. ": __metadata__.tide")
  if type(header) ~= "table" or math.type(header.format) ~= "integer" then
    errors.raise("load", "%s: the description in __metadata__ is not one of Tide's", path)
  elseif header.format > FORMAT then
    errors.raise(
      "load", "%s: format %d was written by a later version of Tide (%s); this one reads up to %d",
      path, header.format,
      tostring(header.version), FORMAT)
  end
  return header
end

local function shape_text(shape)
  return "[" .. table.concat(shape, ", ") .. "]"
end

local function same_shape(shape, tensor)
  if #shape ~= tensor.ndim then
    return false
  end
  for axis, n in ipairs(shape) do
    if n ~= tensor.shape[axis] then
      return false
    end
  end
  return true
end

-- Some of many names, for a message.
local function some(names)
  table.sort(names)
  local n = #names
  if n > 3 then
    return table.concat(names, ", ", 1, 3) .. (" and %d more"):format(n - 3)
  end
  return table.concat(names, ", ")
end

-- Reads what `wanted` (name -> tensor) asks for by `read`, a function of the place among the
-- entries; returns list of { tensor, value }. Nothing is written here.
local function match(path, read, entries, wanted, o)
  local by_name, unknown, missing, found, out, skipped = {}, {}, {}, {}, {}, {}
  for i, e in ipairs(entries) do
    by_name[e.name] = i
    if not wanted[e.name] and e.name:sub(1, 1) ~= "@" then -- not of an optimizer or a training
      unknown[#unknown + 1] = e.name
    end
  end
  local names = {}
  for name in pairs(wanted) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local i = by_name[name]
    if not i then
      missing[#missing + 1] = name
    elseif same_shape(entries[i].shape, wanted[name]) then
      found[#found + 1] = name
    else
      local what = ("%s has shape %s, the model has %s"):format(
        name, shape_text(entries[i].shape), tostring(wanted[name].shape))
      if not o.skip_mismatch then
        errors.raise("load_weights", "%s: %s; skip_mismatch = true leaves it out", path, what)
      end
      skipped[#skipped + 1] = what
    end
  end
  if not o.by_name and not o.skip_mismatch and (#missing > 0 or #unknown > 0) then
    errors.raise("load_weights", "%s does not fit the model: %s%s%s", path,
      #missing > 0 and "missing " .. some(missing) or "",
        #missing > 0 and #unknown > 0 and "; " or "",
        #unknown > 0 and "not in the model " .. some(unknown) or "")
  end
  for _, name in ipairs(found) do
    local tensor, value = wanted[name], read(by_name[name])
    out[#out + 1] = { tensor, value.dtype == tensor.dtype and value
      or ops.cast(value, tensor.dtype) }
  end
  for _, what in ipairs(skipped) do
    errors.warn("load_weights: left out: %s", what)
  end
  if o.skip_mismatch and not o.by_name and #missing > 0 then
    errors.warn("load_weights: not in the file: %s", some(missing))
  end
  return out
end

local function assign(values)
  for _, pair in ipairs(values) do
    pair[1]:assign(pair[2])
  end
end

--- A path without the numbers that layers get by order of creation.
function safetensors.unnumbered(path)
  return ((path .. "/"):gsub("_%d+/", "/"))
end

local unnumbered = safetensors.unnumbered

-- Names in the file -> the model's tensors. Where paths differ by the automatic numbers of layers
-- only, order decides.
local function weights_wanted(model, order)
  local records, wanted = model:_saved(), {}
  for _, r in ipairs(records) do
    wanted[r.path] = r.tensor
  end
  if type(order) ~= "table" or #order ~= #records then
    return wanted
  end
  local by_order, equal = {}, true
  for i, r in ipairs(records) do
    if type(order[i]) ~= "string" or unnumbered(order[i]) ~= unnumbered(r.path) then
      return wanted
    end
    by_order[order[i]] = r.tensor
    equal = equal and wanted[order[i]] ~= nil
  end
  return equal and wanted or by_order
end

--- Sets the weights of a built model from entries of any file.
--- @param entries table list of { name, shape }
--- @param order table|nil the names in the order of the model that wrote them
--- @param read function of the place of an entry
--- @param o table skip_mismatch, by_name
function safetensors.load_entries(model, path, entries, order, read, o)
  assign(match(path, read, entries, weights_wanted(model, not o.by_name and order or nil), o))
end

local function reader(file)
  return function(i)
    return core.safetensors_read(file, i)
  end
end

--- Loads weights by path into a built model.
--- @param o table skip_mismatch, by_name
function safetensors.load_weights(model, path, o)
  need_built(model, "load_weights")
  local file <close>, entries, metadata = core.safetensors_open(path)
  local header = safetensors.read_header(path, metadata)
  safetensors.load_entries(model, path, entries, header and header.order, reader(file), o)
  seeds.set_counts(model, header and header.seeds)
end

-- A shape (or shapes by position or name) as ones, to build a model that was never told its input's
-- shape.
local function sample(shape)
  if type(shape) ~= "table" or shape == none then
    errors.raise("load_model", "the file's build shape is not a shape")
  end
  if shape[1] == nil or type(shape[1]) == "table" and shape[1] ~= none then
    local out = {}
    for k, v in pairs(shape) do
      out[k] = sample(v)
    end
    return out
  end
  local sizes = {}
  for i, n in ipairs(shape) do
    sizes[i] = math.type(n) == "integer" and n >= 0 and n < 2 ^ 31 and n or 1
  end
  sizes[1] = 1
  return ops.ones(sizes)
end

local function build(model, header, path)
  if model.built and #model:_records() > 0 then
    return
  end
  if header.build_shape == nil or header.build_shape == none then
    return
  end
  local x = sample(header.build_shape)
  local ok, e = pcall(core.no_grad, model, x)
  if not ok then
    errors.raise("load_model", "%s: the model cannot be built again: %s", path, tostring(e))
  end
end

-- `weights`: the names that the file has for the model's tensors.
local function restore_optimizer(model, header, file, entries, weights)
  local T = model[S].training
  if not header.optimizer or header.optimizer == none then
    return {}
  end
  local steps = require "tide.training.steps"
  steps.find_parameters(model, T)
  local optimizer = T.optimizer
  if #T.params == 0 then
    return {}
  end
  local wanted = {}
  local inside = {}
  for name, tensor in pairs(weights) do
    inside[tensor] = name
  end
  for _, s in ipairs(optimizer:_state()) do
    wanted[OPTIMIZER .. s.slot .. "/" .. inside[optimizer._params[s.index]]] = s.tensor
  end
  local out, by_name = {}, {}
  for i, e in ipairs(entries) do
    by_name[e.name] = i
  end
  for name, tensor in pairs(wanted) do
    local i = by_name[name]
    if not i or not same_shape(entries[i].shape, tensor) then
      errors.raise("load_model", "the file's optimizer state lacks %s %s", name,
        tostring(tensor.shape))
    end
    out[#out + 1] = { tensor, core.safetensors_read(file, i) }
  end
  for _, name in ipairs(optimizer.extras or {}) do
    local i = by_name[OPTIMIZER .. name]
    if i then
      header.optimizer.extras = header.optimizer.extras or {}
      header.optimizer.extras[name] = core.safetensors_read(file, i)
    end
  end
  return out, function()
    optimizer:_set_numbers(header.optimizer)
  end
end

local function bytes_of(entries)
  local n = 0
  for _, e in ipairs(entries) do
    local size = 8
    for _, k in ipairs(e.shape) do
      size = size * k
    end
    n = n + size
  end
  return n
end

--- Makes the model that a file describes.
--- @param o table compile
function safetensors.load_model(path, o)
  local file <close>, entries, metadata = core.safetensors_open(path)
  local header = safetensors.read_header(path, metadata)
  if not header or header.kind ~= "model" then
    errors.raise(
      "load_model", "%s holds tensors but no model; make the model and use model:load_weights",
      path)
  elseif type(header.model) ~= "table" or type(header.model.class_name) ~= "string" then
    errors.raise("load_model", "%s: the description of the model is damaged", path)
  end
  local bytes, damaged = bytes_of(entries), "the description of the model is damaged"
  local model = guard.run(path, bytes, damaged, nil, function()
    local made = registry.resolve("layer", shared.link(header.model), "load_model")
    if type(made) ~= "table" or not made.is_model then
      errors.raise("load_model", "%s describes %s, which is no model", path,
        tostring(header.model.class_name))
    end
    return made
  end)
  guard.run(path, bytes, damaged, guard.CALLED, build, model, header, path)
  paths.restore(model, header.around)
  lora.restore(model, header.lora)
  local weights = weights_wanted(model, header.order)
  local values = match(path, reader(file), entries, weights, {})
  local finish
  if o.compile ~= false and type(header.compile) == "table" and header.compile ~= none then
    model:compile_from_config(header.compile)
    local slots
    slots, finish = restore_optimizer(model, header, file, entries, weights)
    table.move(slots, 1, #slots, #values + 1, values)
  end
  assign(values)
  if finish then
    finish()
  end
  seeds.set_counts(model, header.seeds)
  return model
end

return safetensors

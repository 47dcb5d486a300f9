--- PyTorch's state dicts into models of Tide, and back: `.safetensors` files (also several with an
--- index), torch.save's archives (`.pt`, `.pth`, `.bin`), or tables of tensors by name.
---
--- Layouts are the classes' own (`torch` of a layer's class): a Linear is transposed, kernels of
--- convolutions are turned, gates and the two biases of recurrent layers are brought into Keras'
--- form, in_proj of MultiheadAttention is cut.
local check = require "tide.check"
local core = require "tide.core"
local ends = require "tide.ends"
local errors = require "tide.errors"
local list = require "tide.list"
local maps = require "tide.saving.torch.maps"
local ops = require "tide.ops"
local plan = require "tide.saving.torch.plan"
local state = require "tide.saving.torch.state"

local torch = {}

local function need_built(model, owner)
  if type(model) ~= "table" or model.kind ~= "layer" then
    errors.raise(owner, "takes a model or layer (got %s)", check.show(model))
  elseif not model.built then
    errors.raise(owner, "%s has no weights yet: build it, or call it on a batch first",
      model:_label())
  end
end

local function text(names)
  local shown = table.concat(names, ", ", 1, math.min(#names, 8))
  return #names > 8 and ("%s and %d more"):format(shown, #names - 8) or shown
end

-- Whether a name is one of those to be left alone.
local function is_ignored(name, ignore)
  if ends.behind(name, ".") == "num_batches_tracked" then -- a count that nothing is computed from
    return true
  end
  for i, pattern in ipairs(ignore) do
    local good, found = pcall(string.find, name, pattern)
    if name == pattern or good and found then
      return true
    elseif not good then
      errors.raise("load_torch", "ignore[%d] is no pattern (got %s: %s)", i, check.show(pattern),
        (tostring(found):gsub("^.-:%d+: ", "")))
    end
  end
  return false
end

local function check_ignore(ignore)
  for i, pattern in ipairs(ignore) do
    if type(pattern) ~= "string" then
      errors.raise("load_torch", "ignore[%d] must be a string (got %s)", i, check.show(pattern))
    end
  end
end

-- The values for a link's weights, from the state.
local function values_of(link, from)
  local there = {}
  for i, name in ipairs(link.names) do
    local t = from.read(name)
    local dtype = link.tensors[1].dtype
    there[i] = t.dtype == dtype and t or ops.cast(t, dtype)
  end
  local out = table.pack(link.read(table.unpack(there)))
  for i, weight in ipairs(link.tensors) do
    local v = out[i]
    if not core.is_tensor(v) or v.size ~= weight.size then
      errors.raise("load_torch", "what the map reads from %s does not fit weight %d (expected the \z
        shape %s, got %s)", text(link.names), i, list.format(weight.shape),
        core.is_tensor(v) and list.format(v.shape) or check.show(v))
    end
    out[i] = ops.reshape(v, weight.shape)
  end
  return out
end

local function complain(where, found)
  local parts = {}
  for _, kind in ipairs { { "missing", "missing" }, { "mismatched", "of the wrong shape" },
    { "unexpected", "not used" } } do
    local names = found[kind[1]]
    if #names > 0 then
      parts[#parts + 1] = ("%s: %s"):format(kind[2], text(names))
    end
  end
  return #parts > 0 and where .. " does not fit the model: " .. table.concat(parts, "; ") or nil
end

local load_args = check.args("load_torch", {
  { "model", "any", check.required, "a built model or layer" },
  { "filepath", { "string", "table" }, check.required, "the file, or tensors by name",
    dict = true },
  { "map", { "table", "callable", "string" }, nil, "modules' names by layers' paths, or \"gpt2\", \z
    \"bert\", \"vit\"; found by names and shapes by default" },
  { "strict", "bool", true, "raise unless all tensors and all weights are met" },
  { "ignore", "list", {}, "names, or Lua patterns of names, that may be left over" },
  { "prefix", "string", "", "what stands before all names of the file, as \"module.\"" },
})

--- Loads a state dict of PyTorch into a built model. Nothing changes unless all fits.
---
--- Without `map` layers and modules are matched by their names, else by the names and shapes of
--- their tensors, in the order of their numbers; where several ways fit, the call raises and asks
--- for a map. `map` is a table: the path of a layer ("block/dense") and the name of its module
--- ("encoder.0.fc"); that of a layer that holds others stands for all in it. `{ "lstm", level = 1
--- }` is the second layer of an `nn.LSTM`. The path of a single weight and the name of its tensor
--- go as well, and links of one's own: `{ names = { "qkv.weight" }, weights = { "query/kernel",
--- "key/kernel" }, read = f, write = g }`, where `f` makes the weights of the tensors (shapes up to
--- reshape) and `g` the reverse. A function gets the path and the layer and returns one of these,
--- or nil for the path itself.
---
--- "gpt2", "bert" and "vit" are ready maps for checkpoints of Hugging Face's transformers: for the
--- models that tide.models.GPT2Backbone, BertBackbone and ViTBackbone make, and for models that
--- have such a model's layers, or it as a layer. Heads of the file that the model does not have are
--- left alone and listed in `ignored`; a layer of a head is met where its path is the head's name
--- ("classifier").
---
---     local net = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 }, name = "fc" } }
---     local state = { ["fc.weight"] = tide.ones { 2, 3 }, ["fc.bias"] = tide.zeros { 2 } }
---     tide.saving.load_torch(net, state)
---     net(tide.ones { 1, 3 })   --> { { 3, 3 } }
--- @return table missing, unexpected and mismatched names, each a list; all empty where `strict`;
--- `ignored`: names of a ready map's file that no layer of the model has
function torch.load_torch(...)
  local o = load_args:call(...)
  need_built(o.model, "load_torch")
  check_ignore(o.ignore)
  local from = state.open(o.filepath)
  local where = type(o.filepath) == "string" and o.filepath or "the state dict"
  from.where = where
  if o.prefix ~= "" then
    from = state.below(from, o.prefix)
  end
  local map, may_stay = o.map, nil
  if type(map) == "string" then
    from, may_stay = maps.state(map, from, "load_torch")
    map = maps.expand(map, o.model, "load_torch")
  end
  local units = plan.units(o.model, map, "load_torch")
  local all = map and plan.by_map(units, map)
    or not o.strict and plan.by_map(units, nil) or plan.automatic(units, from)
  local used, moves = {}, {}
  local found = { missing = list.new {}, unexpected = list.new {}, mismatched = list.new {},
    ignored = list.new {} }
  for _, link in ipairs(all) do
    local shapes, fits = plan.shapes(link), true
    for i, name in ipairs(link.names) do
      local at = from.index[name]
      used[name] = true
      if not at then
        fits = false
        table.insert(found.missing, ("%s (for %s)"):format(name,
          units.paths[link.tensors[1]] or link.unit.path))
      elseif shapes and not list.equal(from.entries[at].shape, shapes[i]) then
        fits = false
        table.insert(found.mismatched, ("%s (expected %s, got %s)"):format(name,
          plan.shape_text(shapes[i]), plan.shape_text(from.entries[at].shape)))
      end
    end
    if fits then
      moves[#moves + 1] = link
    end
  end
  for _, e in ipairs(from.entries) do
    if not used[e.name] and not is_ignored(e.name, o.ignore) then
      table.insert(may_stay and may_stay(e.name) and found.ignored or found.unexpected, e.name)
    end
  end
  local problem = o.strict and complain(where, found)
  if problem then
    errors.raise("load_torch", "%s", problem)
  end
  local values = {}
  for i, link in ipairs(moves) do
    values[i] = values_of(link, from)
  end
  for i, link in ipairs(moves) do
    for k, weight in ipairs(link.tensors) do
      weight:assign(values[i][k])
    end
  end
  return found
end

local save_args = check.args("save_torch", {
  { "model", "any", check.required, "a built model or layer" },
  { "filepath", "string", nil, "a .safetensors file; none: only the table is made" },
  { "map", { "table", "callable", "string" }, nil, "as load_torch takes it; layers' paths by \z
    default" },
  { "overwrite", "bool", true, "replace an existing file" },
})

--- The weights of a model as a state dict of PyTorch, in its names and layouts: written to a
--- `.safetensors` file, which `safetensors.torch.load_file` reads, and returned.
---
---     local net = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 }, name = "fc" } }
---     tide.saving.save_torch(net)["fc.weight"].shape   --> { 2, 3 }
--- @return table tensors by name
function torch.save_torch(...)
  local o = save_args:call(...)
  need_built(o.model, "save_torch")
  if o.filepath and not o.filepath:find ".%.safetensors$" then
    errors.raise("save_torch", "%s: the name must end in .safetensors", check.show(o.filepath))
  elseif o.filepath and not o.overwrite and core.file_exists(o.filepath) then
    errors.raise("save_torch", "%s exists already and overwrite is false", o.filepath)
  end
  local map = o.map
  if type(map) == "string" then
    map = maps.expand(map, o.model, "save_torch")
  end
  local units = plan.units(o.model, map, "save_torch")
  local out, entries = {}, {}
  for _, link in ipairs(plan.by_map(units, map)) do
    if not link.write then
      errors.raise("save_torch", "the map's '%s' has read but no write, so %s cannot be made",
        link.unit.path, text(link.names))
    end
    local tensors = {}
    for i, t in ipairs(link.tensors) do
      tensors[i] = t:detach()
    end
    tensors = table.pack(link.write(table.unpack(tensors)))
    for i, name in ipairs(link.names) do
      if out[name] then
        errors.raise("save_torch", "two weights would be the tensor '%s'", name)
      end
      out[name] = ops.copy(tensors[i])
      entries[#entries + 1] = { name, out[name] }
    end
  end
  if o.filepath then
    core.safetensors_write(o.filepath, entries, { format = "pt" })
  end
  return out
end

return torch

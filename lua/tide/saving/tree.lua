--- The weights of a file as a tree: objects (layers, lists of layers, the optimizer) that hold
--- weights and other objects by name. What KerasFileEditor edits.
--
-- An object is { at = { name = child } }, a weight { tensor = t }. In Keras' HDF5 files the weights
-- of an object stand in its group `vars`, which the tree leaves out: "/layers/dense/vars/0" is the
-- weight "0" of the object "layers/dense". Attributes of groups and datasets stay with what they
-- belong to: `attributes`, and `of_vars` those of the group `vars`.
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"

local keras = require "tide.saving.keras"
local h5 = require "tide.saving.keras.h5"
local safetensors = require "tide.saving.safetensors"
local weights = require "tide.saving.keras.weights"
local json = require "tide.utils.json"

local tree = {}

local NESTED = 64 -- objects in objects, as HDF5 files may have

--- Names with numbers in them as a person sorts them.
function tree.natural(name)
  return (name:gsub("%d+", function(d)
    return ("0"):rep(20 - #d) .. d
  end))
end

--- The names in an object, sorted.
function tree.names(object)
  local out = {}
  for name in pairs(object.at) do
    out[#out + 1] = name
  end
  table.sort(out, function(a, b)
    return tree.natural(a) < tree.natural(b)
  end)
  return out
end

--- Whether an object holds no weight, and no object that does.
function tree.empty(node)
  for _, child in pairs(node.at or {}) do
    if not tree.empty(child) then
      return false
    end
  end
  return node.tensor == nil
end

--- An object without anything in it.
function tree.object()
  return { at = {} }
end

--- The parts of a path.
--- @param separator string "/" or "."
function tree.split(path, separator)
  local out = {}
  for part in (path .. separator):gmatch("(.-)%" .. separator) do
    out[#out + 1] = part
  end
  return out
end

-- The object at these parts of a path, made where it is not.
local function reach(root, parts, where)
  if #parts > NESTED then
    errors.raise("KerasFileEditor", "%s: objects are nested too deep (expected at most %d, got %d)",
      where, NESTED, #parts)
  end
  local object = root
  for _, name in ipairs(parts) do
    local child = object.at[name] or tree.object()
    if not child.at then
      errors.raise("KerasFileEditor", "%s: '%s' is a weight and an object (expected one of them)",
        where, name)
    end
    object.at[name] = child
    object = child
  end
  return object
end

local function put(root, parts, weight, where)
  local name = table.remove(parts)
  local object = reach(root, parts, where)
  if object.at[name] then
    errors.raise("KerasFileEditor", "%s: the name '%s' stands for two things (expected one)", where,
      name)
  end
  object.at[name] = weight
end

-- ---- Keras' HDF5 files ----

-- The parts of an HDF5 path: "/" has none.
local function parts_of(path)
  return path == "/" and {} or tree.split(path:sub(2), "/")
end

--- The tree of datasets, list of { name, tensor }, and of attributes by path.
function tree.of_hdf5(entries, attributes, where)
  local root = tree.object()
  for _, e in ipairs(entries) do
    local parts = parts_of(e.name)
    if parts[#parts - 1] ~= "vars" then
      errors.raise("KerasFileEditor", "%s: a weight has the path %s (expected OBJECT/vars/NAME, \z
        as Keras 3 writes); load older files into their model and save it again", where, e.name)
    end
    table.remove(parts, #parts - 1)
    put(root, parts, { tensor = e.tensor, attributes = attributes[e.name] }, where)
  end
  for path, of in pairs(attributes) do
    local parts = parts_of(path)
    if parts[#parts] == "vars" then
      table.remove(parts)
      reach(root, parts, where).of_vars = of
    elseif parts[#parts - 1] ~= "vars" then
      reach(root, parts, where).attributes = of
    end
  end
  return root
end

--- The datasets and attributes of a tree, as core.hdf5_encode takes them.
function tree.to_hdf5(root)
  local data, attributes = list.new {}, { ["/"] = root.attributes or {} }
  local function visit(object, path)
    attributes[path .. "/vars"] = object.of_vars
    for _, name in ipairs(tree.names(object)) do
      local child = object.at[name]
      if child.tensor then
        local place = path .. "/vars/" .. name
        data[#data + 1] = { place, child.tensor }
        attributes[place] = child.attributes
      else
        attributes[path .. "/" .. name] = child.attributes
        visit(child, path .. "/" .. name)
      end
    end
  end
  visit(root, "")
  return data, attributes
end

--- The tree of a model's weights as its file in Keras' format would hold them.
function tree.of_model(model, where)
  local entries = {}
  for i, e in ipairs((weights.save(model))) do
    entries[i] = { name = e[1], tensor = e[2] }
  end
  for _, group in ipairs(weights.optimizer_groups(model)) do
    for i, v in ipairs(group.variables) do
      entries[#entries + 1] = { name = group.path .. "/vars/" .. i - 1, tensor = v[2] }
    end
  end
  return tree.of_hdf5(entries, {}, where)
end

-- ---- safetensors ----

local function of_entries(entries, separator, where)
  local root = tree.object()
  for i, e in ipairs(entries) do
    put(root, tree.split(e.name, separator), { tensor = e.tensor, rank = e.rank or i }, where)
  end
  return root
end

--- The same of what Tide's own format holds.
function tree.of_saved(model, where)
  local entries = {}
  for i, r in ipairs(model:_saved()) do
    entries[i] = { name = r.path, tensor = r.tensor:detach() }
  end
  return of_entries(entries, "/", where)
end

--- The tree of a safetensors file, its metadata, and what separates names: "/" in files of Tide,
--- "." in those that know no "/" (PyTorch's). Of a whole model the weights alone are taken.
function tree.of_safetensors(path)
  local file <close>, all, metadata = core.safetensors_open(path)
  if metadata.tide_tensors then
    errors.raise("KerasFileEditor", "%s: holds a table of tensors (expected a model's weights, \z
      got what tide.save wrote); tide.load reads it", path)
  end
  local header = safetensors.read_header(path, metadata)
  local ranks = {}
  for i, name in ipairs(header and type(header.order) == "table" and header.order or {}) do
    ranks[name] = i
  end
  local entries, slashes = {}, header ~= nil
  for i, e in ipairs(all) do
    slashes = slashes or e.name:find("/", 1, true) ~= nil
    if not header or e.name:sub(1, 1) ~= "@" then -- of an optimizer or a training
      entries[#entries + 1] = { name = e.name, tensor = core.safetensors_read(file, i),
        rank = ranks[e.name] }
    end
  end
  local separator = slashes and "/" or "."
  return of_entries(entries, separator, path), metadata, separator, header
end

--- Writes a tree as a safetensors file of weights.
--- @param metadata table those of the file that was read
--- @param header table|nil Tide's description in it
function tree.to_safetensors(path, root, metadata, separator, header)
  local entries = {}
  local function visit(object, prefix)
    for _, name in ipairs(tree.names(object)) do
      local child = object.at[name]
      if child.tensor then
        entries[#entries + 1] = { prefix .. name, child.tensor, child.rank or math.huge }
      else
        visit(child, prefix .. name .. separator)
      end
    end
  end
  visit(root, "")
  table.sort(entries, function(a, b)
    if a[3] ~= b[3] then
      return a[3] < b[3]
    end
    return tree.natural(a[1]) < tree.natural(b[1])
  end)
  local order = {}
  for i, e in ipairs(entries) do
    order[i] = e[1]
  end
  if header then
    return safetensors.write(path, entries, { kind = "weights", order = order,
      seeds = header.seeds })
  end
  local kept = {}
  for k, v in pairs(metadata) do
    if not k:find "^crc32" then -- the writer adds its own
      kept[k] = v
    end
  end
  core.safetensors_write(path, entries, kept)
end

-- ---- files ----

--- Reads a file: a table with `root`, `separator`, `extension` of the files that its weights go
--- into, and what writing asks for besides.
function tree.read(path)
  if path:find "%.safetensors$" then
    local root, metadata, separator, header = tree.of_safetensors(path)
    return { root = root, separator = separator, extension = ".safetensors", metadata = metadata,
      header = header }
  end
  local z, metadata
  if path:find "%.keras$" then
    local members
    z, members = core.zip_open(path)
    local has = {}
    for _, m in ipairs(members) do
      has[m.name] = true
    end
    if not has["model.weights.h5"] then
      errors.raise("KerasFileEditor", "%s: the archive has no model.weights.h5", path)
    end
    metadata = has["metadata.json"] and keras.member(z, "metadata.json") or nil
  end
  local entries, attributes = h5.open(z or path, z and "model.weights.h5")
  tree.of_hdf5(entries, attributes, path) -- refused before its data are read
  h5.fetch(entries)
  return { root = tree.of_hdf5(entries, attributes, path), separator = "/",
    extension = ".weights.h5", metadata = metadata or {} }
end

--- Writes what was read, and edited, to a file.
function tree.write(path, file)
  if file.extension == ".safetensors" then
    return tree.to_safetensors(path, file.root, file.metadata, file.separator, file.header)
  end
  local data, attributes = tree.to_hdf5(file.root)
  core.blob_write(path, core.hdf5_encode(data, json.encode(attributes), path))
end

return tree

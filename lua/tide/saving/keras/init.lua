--- Keras' files: `.keras` archives, `.weights.h5` (in one file or sharded), and through
--- tide.saving.keras.legacy the `.h5`
-- files of Keras 1, 2 and 3. HDF5 is read and written by a program of its own (src/hdf5); see
-- tide.saving for the functions that a person calls.
local check = require "tide.check"
local core = require "tide.core"
local ends = require "tide.ends"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"
local paths = require "tide.layers.paths"
local shared = require "tide.shared"
local json = require "tide.utils.json"

local export = require "tide.saving.keras.export"
local h5 = require "tide.saving.keras.h5"
local import = require "tide.saving.keras.import"
local weights = require "tide.saving.keras.weights"

local keras = {}

--- JSON of a file as Lua values; null is tide.none.
--- @param stored integer|nil bytes of the file that make the text, where it was compressed
function keras.decode(text, what, stored)
  local v = core.json_decode(text, none, what, stored)
  if type(v) ~= "table" then
    errors.raise("load_model", "%s: not a JSON object", what)
  end
  return v
end

--- The JSON of an archive's member as Lua values.
function keras.member(archive, name, what)
  local text, stored = core.zip_read(archive, name)
  return keras.decode(text, what or name, stored)
end

--- Lua values as JSON; tide.none is null.
function keras.encode(v)
  return core.json_encode(v, none)
end

-- ---- the HDF5 part ----

--- All datasets, with their tensors, and the attributes of an HDF5 file or of an archive's member.
function keras.read_hdf5(source, member)
  local entries, attributes = h5.open(source, member)
  h5.fetch(entries)
  return entries, attributes
end

-- The datasets and attributes of a model's weights, and of its optimizer's state if it has one.
local function datasets(model, with_optimizer)
  local data, attributes = weights.save(model)
  for _, group in ipairs(with_optimizer and weights.optimizer_groups(model) or {}) do
    local vars = group.path .. "/vars"
    attributes[vars] = { name = group.name }
    for i, v in ipairs(group.variables) do
      data[#data + 1] = { vars .. "/" .. i - 1, v[2]:detach() }
    end
  end
  return data, attributes
end

-- The same as a file: blob.
local function encode_weights(model, with_optimizer, what)
  local data, attributes = datasets(model, with_optimizer)
  return core.hdf5_encode(data, keras.encode(attributes), what)
end

-- The optimizer's variables of a file in order.
local function optimizer_of(groups, optimizer)
  -- what a LossScaleOptimizer wrapped may go to a model without one
  local wrapped = not (optimizer and optimizer._inners) and groups["/optimizer/inner_optimizer"]
  local g, out = wrapped or groups["/optimizer"], {}
  for i = 1, g and g.n or 0 do
    out[i] = g[i - 1]
    if out[i] == nil then
      return {}
    end
  end
  return out
end

-- The variables of a MultiOptimizer, whose file holds those inside in Keras' order, in Tide's, by
-- the names that their folders have; as they came where names do not tell.
local function by_names(groups, attributes, optimizer, found)
  local folders = {}
  for path, own in pairs(attributes or {}) do
    local folder = path:match "^(/optimizer/optimizers/[^/]+)/vars$"
    if folder and groups[folder] and type(own) == "table" and type(own.name) == "string" then
      if folders[own.name] then
        return found
      end
      folders[own.name] = groups[folder]
    end
  end
  local out = table.move(found, 1, #optimizer:_own_numbers(), 1, {})
  for _, inner in ipairs(optimizer:optimizers()) do
    local group = folders[inner.name]
    if not group then
      return found
    end
    folders[inner.name] = nil
    for i = 0, group.n - 1 do
      out[#out + 1] = group[i]
    end
  end
  return #out == #found and out or found
end

local function load_groups(model, groups, o)
  weights.assign(weights.matches(model, groups, o))
  local optimizer = rawget(model, "optimizer")
  local found = optimizer_of(groups, optimizer)
  if #found > 0 and optimizer and optimizer.optimizers then
    found = by_names(groups, o.attributes, optimizer, found)
  end
  if #found > 0 and rawget(model, "optimizer") and o.optimizer ~= false then
    local ok, why = weights.load_optimizer(model, found)
    if not ok then
      errors.warn("%s: the optimizer's state was left out: %s", o.where, why)
    end
  end
end

-- ---- what kind of file ----

--- The kind of a file by its first bytes: "zip", "hdf5", "json", or nil. Raises for what is no
--- regular file.
function keras.sniff(path)
  local head = core.read_file(path, math.maxinteger, 8)
  if head:sub(1, 4) == "PK\3\4" or head:sub(1, 4) == "PK\5\6" then
    return "zip"
  elseif head == "\137HDF\r\n\26\n" then
    return "hdf5"
  elseif head:match "^%s*{" and not head:find "\0" then -- the length of a header may look so
    return "json"
  end
end

-- ---- models ----

-- Compiles a model with what a file says, where it says anything.
function keras.compile(ctx, model, config, o)
  if o.compile == false then
    return
  end
  local options = import.compile(ctx, config)
  if options then
    model:compile(options)
  end
end

-- Gives layers what they keep beside their weights.
local function load_extra(model, groups, read)
  for _, place in ipairs(weights.places(model)) do
    local load = place.layer.keras.load_extra
    if load then
      local named = groups[place.path] and groups[place.path].named or {}
      load(place.layer, function(name)
        return read("assets" .. place.path .. "/" .. name)
      end, function(name, ...)
        local entry = named[name]
        if entry and list.equal(entry.shape, { ... }) then
          weights.fetch { entry }
          return weights.tensor(entry)
        end
      end)
    end
  end
end

-- The model of a configuration and the datasets of its weights, which `source` holds;
-- `read(name)`: the text of a member, nil where there is none.
local function made(path, o, has, metadata, entry, source, read)
  local entries, attributes, stored
  if has["model.weights.h5"] then
    entries, attributes, stored = h5.open(table.unpack(source))
  end
  if not entries and has["model.weights.npz"] then
    errors.raise(
      "load_model",
      "%s: the weights are in NumPy's format (model.weights.npz), which is not read here; save the "
      .. "model again from Keras", path)
  end
  local ctx = import.context(
    path, { custom_objects = o.custom_objects, own = type(metadata.tide_version) == "string",
      bytes = entries and import.bytes(entries) })
  local groups = entries and weights.groups(entries)
  if entries then
    import.explain(ctx, stored, entry, function(model)
      return weights.matches(model, groups, { where = path, skip_mismatch = o.skip_mismatch,
        quiet = true })
    end)
  end
  local model = import.guarded(ctx, import.model, ctx, entry)
  paths.restore(model, metadata.tide_around)
  import.guarded(ctx, keras.compile, ctx, model, entry.compile_config, o)
  if entries then
    load_groups(model, groups, { where = path, skip_mismatch = o.skip_mismatch,
      attributes = attributes })
    load_extra(model, groups, read)
  elseif #model.weights > 0 then
    errors.raise("load_model", "%s: the archive has no model.weights.h5", path)
  end
  return model
end

--- Reads a whole model.
--- @param path string a .keras archive, or an .h5 file of Keras 1, 2 or 3
--- @param o table|nil custom_objects, compile (default true), skip_mismatch
--- @return table model
function keras.load_model(path, o)
  o = o or {}
  local kind = keras.sniff(path)
  if kind == "hdf5" then
    return require("tide.saving.keras.legacy").load_model(path, o)
  end
  local z, members = core.zip_open(path)
  local has = {}
  for _, m in ipairs(members) do
    has[m.name] = true
  end
  if not has["config.json"] then
    errors.raise("load_model", "%s: the archive has no config.json; is it a Keras model?", path)
  end
  local metadata = has["metadata.json"]
    and keras.member(z, "metadata.json", path .. ": metadata.json") or {}
  local entry = keras.member(z, "config.json", path .. ": config.json")
  return made(path, o, has, metadata, entry, { z, "model.weights.h5" }, function(name)
    return has[name] and core.zip_read(z, name) or nil
  end)
end

--- Reads the files of an archive that lie in a folder, as `save(path, { zipped = false })` and
--- Keras make it.
function keras.load_folder(path, o)
  local function read(name)
    local file = path .. "/" .. name
    return core.file_exists(file) and keras.decode(core.read_file(file, 100000000), file) or nil
  end
  local has = {}
  for _, name in ipairs { "model.weights.h5", "model.weights.npz" } do
    has[name] = core.file_exists(path .. "/" .. name)
  end
  return made(path, o or {}, has, read "metadata.json" or {}, read "config.json",
    { path .. "/model.weights.h5" }, function(name)
    local file = path .. "/" .. name
    return core.file_exists(file) and core.read_file(file, 100000000) or nil
  end)
end

-- What is exported until this is closed goes into an archive.
local function archive()
  export.in_archive = true
  return setmetatable({}, { __close = function()
    export.in_archive = false
  end })
end

-- The files of an archive: list of { name, text or blob }.
local function members_of(model, path, o)
  if not model.built then
    errors.raise("save", "%s has no weights yet: build it or call it first", model:_label())
  end
  local sharing <close> = shared.writing() -- luacheck: ignore sharing
  local into <close> = archive() -- luacheck: ignore into
  local entry = export.model(model)
  json.check(entry, model:_label())
  if o.include_optimizer ~= false then
    entry.compile_config = export.compile(model)
  end
  local metadata = { keras_version = export.keras_version,
    date_saved = os.date "!%Y-%m-%d@%H:%M:%S", tide_version = require("tide").version,
    tide_around = paths.kept(model) }
  local out = {
    { "metadata.json", keras.encode(metadata) },
    { "config.json", json.written(entry, path) },
    { "model.weights.h5", encode_weights(model, o.include_optimizer ~= false, path) },
  }
  for _, place in ipairs(weights.places(model)) do
    weights.each_extra(place, function(folder, files)
      for name, text in pairs(files) do
        out[#out + 1] = { "assets" .. folder .. "/" .. name, text }
      end
    end)
  end
  return out
end

--- Writes a whole model: `.keras`, or `.h5` as Keras 2 laid it out.
--- @param o table|nil include_optimizer (default true)
function keras.save_model(model, path, o)
  o = o or {}
  if not path:find "%.keras$" then
    return require("tide.saving.keras.legacy").save_model(model, path, o)
  end
  core.zip_write(path, members_of(model, path, o))
end

--- Writes the same files into a folder, which is made where it is not; the configuration comes
--- last.
function keras.save_folder(model, path, o)
  local members = members_of(model, path, o or {})
  core.mkdirs(path)
  core.blob_write(path .. "/" .. members[3][1], members[3][2])
  for i = #members, 1, -1 do
    local name, text = table.unpack(members[i])
    if i ~= 3 then
      core.mkdirs((path .. "/" .. name):match "^(.*)/")
      core.write_file(path .. "/" .. name, text)
    end
  end
end

-- ---- weights alone ----

-- "NAME.weights.json": the stem and the folder of its shards.
local function shard_name(path, i)
  return ("%s_%05d.weights.h5"):format(path:gsub("%.weights%.json$", ""), i)
end

-- Raises unless a part's name is that of a file beside the index.
local function check_part(path, file, owner)
  if type(file) ~= "string" or file:find "[/%c]" or file:find "^%.*$" then
    errors.raise(owner, "%s: '%s' is no file name beside it; names have no '/' and no control "
      .. "character", path, tostring(file))
  end
end

local width = { float64 = 8, int64 = 8, float16 = 2, bfloat16 = 2, int8 = 1, uint8 = 1, bool = 1 }

local function save_shards(model, path, limit)
  local data, attributes = datasets(model, true)
  local shards, size, total, map = { list.new {} }, 0, 0, {}
  for _, d in ipairs(data) do
    local bytes = d[2].size * (width[d[2].dtype] or 4)
    if size > 0 and size + bytes > limit then
      shards[#shards + 1], size = list.new {}, 0
    end
    size, total = size + bytes, total + bytes
    table.insert(shards[#shards], d)
    local group = d[1]:match "^(.*)/%d+$"
    local file = ends.behind(shard_name(path, #shards - 1), "/")
    local files = map[group] or list.new {}
    if files[#files] ~= file then
      files[#files + 1] = file
    end
    map[group] = files
  end
  for group, files in pairs(map) do
    map[group] = #files == 1 and files[1] or files
  end
  check_part(path, (ends.behind(shard_name(path, 0), "/")), "save_weights")
  for i, shard in ipairs(shards) do
    local own = i == 1 and attributes or {}
    core.blob_write(shard_name(path, i - 1), core.hdf5_encode(shard, keras.encode(own), path))
  end
  core.write_file(path, json.written({ metadata = { total_size = total }, weight_map = map }, path))
end

local function read_shards(path)
  local index = keras.decode(core.read_file(path, 100000000), path)
  if type(index.weight_map) ~= "table" then
    errors.raise("load_weights", "%s: no weight_map in it", path)
  end
  local folder, files, seen = path:match "^(.*/)" or "", {}, {}
  for _, v in pairs(index.weight_map) do
    for _, file in ipairs(type(v) == "table" and v or { v }) do
      check_part(path, file, "load_weights")
      if not seen[file] then
        seen[file] = true
        files[#files + 1] = file
      end
    end
  end
  table.sort(files)
  local all = {}
  for _, file in ipairs(files) do
    local entries = h5.open(folder .. file)
    table.move(entries, 1, #entries, #all + 1, all)
  end
  return weights.groups(all)
end

--- Writes the weights alone: `.weights.h5`, `.weights.json` (sharded by `max_shard_size`, in GB),
--- or `.h5` as Keras 2.
function keras.save_weights(model, path, o)
  o = o or {}
  if not model.built then
    errors.raise("save_weights", "%s has no weights yet: build it or call it first", model:_label())
  end
  if path:find "%.weights%.json$" or o.max_shard_size then
    path = path:gsub("%.weights%.h5$", ".weights.json")
    if not path:find "%.weights%.json$" then
      errors.raise("save_weights",
        "a sharded file has another name (expected NAME.weights.json, got '%s')", path)
    end
    save_shards(model, path, (o.max_shard_size or 10) * 1e9)
  elseif path:find "%.weights%.h5$" then
    core.blob_write(path, encode_weights(model, true, path))
  else
    require("tide.saving.keras.legacy").save_weights(model, path)
  end
end

--- Loads weights into a built model, from any of Keras' files. Nothing is changed unless all fits.
--- @param o table|nil skip_mismatch: leave out what does not fit; by_name: match layers of legacy
---   files by name
function keras.load_weights(model, path, o)
  o = check.options("load_weights", o, {
    { "skip_mismatch", "bool", false, "leave out what does not fit" },
    { "by_name", "bool", false, "match layers by name (legacy .h5 files)" },
  })
  if not model.built then
    errors.raise("load_weights", "%s has no weights yet: build it or call it first", model:_label())
  end
  o.where = path
  local kind = keras.sniff(path)
  local groups
  if kind == "json" then
    groups = read_shards(path)
  else
    local entries
    if kind == "zip" then
      entries, o.attributes = h5.open((core.zip_open(path)), "model.weights.h5")
    else
      entries, o.attributes = h5.open(path)
      local legacy = require "tide.saving.keras.legacy"
      if legacy.root(o.attributes) then
        return legacy.load_weights(model, entries, o.attributes, o)
      end
    end
    groups = weights.groups(entries)
  end
  if o.by_name then
    errors.raise("load_weights", "by_name is for legacy .h5 files; %s names its groups by class",
      path)
  end
  load_groups(model, groups, o)
end

return keras

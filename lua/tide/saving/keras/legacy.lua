--- Keras' legacy HDF5 files: whole models and weights, as Keras 1, 2 and 3 write them. Layers are
--- matched in order (names
-- are only labels) or by name.
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local namespace = require "tide.namespace"
local none = require "tide.none"
local paths = require "tide.layers.paths"
local shared = require "tide.shared"
local json = require "tide.utils.json"

local export = require "tide.saving.keras.export"
local h5 = require "tide.saving.keras.h5"
local import = require "tide.saving.keras.import"
local weights = require "tide.saving.keras.weights"

local graph = require "tide.graph"

local legacy = {}

local function keras()
  return require "tide.saving.keras"
end

-- HDF5 keeps attributes of more than 64 KiB out of a group: long lists are cut into NAME0, NAME1,
-- ...
local ATTRIBUTE_LIMIT = 64512

local function get_list(attributes, name)
  local v = attributes[name]
  if v == nil and attributes[name .. "0"] then
    v = {}
    local i = 0
    while attributes[name .. i] do
      local part = attributes[name .. i]
      table.move(part, 1, #part, #v + 1, v)
      i = i + 1
    end
  end
  return type(v) == "table" and v or nil
end

local function set_list(attributes, name, values)
  local longest = 1
  for _, v in ipairs(values) do
    longest = math.max(longest, #v, 16)
  end
  local per = math.max(1, ATTRIBUTE_LIMIT // longest)
  if #values <= per then
    attributes[name] = list.copy(values)
    return
  end
  for i = 0, (#values - 1) // per do
    attributes[name .. i] = list.new(
      table.move(values, i * per + 1, math.min(#values, (i + 1) * per), 1, {}))
  end
end

--- The group that holds the layers: "/model_weights" or "" for a file of weights; nil: not a legacy
--- file.
function legacy.root(attributes)
  if attributes["/model_weights"] and get_list(attributes["/model_weights"], "layer_names") then
    return "/model_weights"
  elseif get_list(attributes["/"] or {}, "layer_names") then
    return ""
  end
end

local function major(attributes, root)
  for _, path in ipairs { root == "" and "/" or root, "/" } do
    local v = attributes[path] and attributes[path].keras_version
    if type(v) == "string" then
      return tonumber(v:match "^(%d+)") or 1
    end
  end
  return 1
end

-- ---- Keras 1 ----

-- Options of Keras 1 by Keras 2's names.
local renamed = { output_dim = "units", nb_filter = "filters", subsample = "strides",
  border_mode = "padding", p = "rate", init = "kernel_initializer",
    inner_init = "recurrent_initializer", inner_activation = "recurrent_activation",
  W_regularizer = "kernel_regularizer", U_regularizer = "recurrent_regularizer",
    b_regularizer = "bias_regularizer",
  W_constraint = "kernel_constraint", U_constraint = "recurrent_constraint",
    b_constraint = "bias_constraint",
  bias = "use_bias", dropout_W = "dropout", dropout_U = "recurrent_dropout", length = "size",
    pool_length = "pool_size",
  stride = "strides", subsample_length = "strides", filter_length = "kernel_size",
    atrous_rate = "dilation_rate",
  sigma = "stddev", n = "n", gamma_init = "gamma_initializer", beta_init = "beta_initializer" }
local same_in_both = { Embedding = { output_dim = "output_dim", init = "embeddings_initializer",
  W_regularizer = "embeddings_regularizer", W_constraint = "embeddings_constraint" },
    RepeatVector = { n = "n" } }
local data_formats = { th = "channels_first", tf = "channels_last" }

-- A layer's entry of Keras 1 in the form of Keras 2.
local function upgrade(entry)
  local config, out = entry.config, {}
  if type(config) ~= "table" or config == none then
    return entry
  end
  if entry.class_name == "Sequential" or config.layers then
    local layers = {}
    for i, e in ipairs(config.layers or config) do
      layers[i] = upgrade(e)
    end
    for k, v in pairs(config) do
      if type(k) == "string" then
        out[k] = v
      end
    end
    out.layers = layers
  else
    local special = same_in_both[entry.class_name] or {}
    for k, v in pairs(config) do
      if k == "dim_ordering" then
        out.data_format = data_formats[v]
      elseif k == "nb_row" then
        out.kernel_size = { v, config.nb_col }
      elseif k == "kernel_dim1" then
        out.kernel_size = { v, config.kernel_dim2, config.kernel_dim3 }
      elseif k ~= "nb_col" and k ~= "kernel_dim2" and k ~= "kernel_dim3" and k ~= "mode"
        and k ~= "input_dim_" then
        out[special[k] or renamed[k] or k] = v
      end
    end
    for _, k in ipairs { "kernel_regularizer", "bias_regularizer", "recurrent_regularizer",
      "embeddings_regularizer" } do
      local r = out[k]
      if type(r) == "table" and r.name and not r.class_name then
        out[k] = { class_name = "L1L2", config = { l1 = r.l1 or 0, l2 = r.l2 or 0 } }
      end
    end
  end
  local copy = {}
  for k, v in pairs(entry) do
    copy[k] = v
  end
  copy.config = out
  return copy
end

-- ---- reading weights ----

-- Datasets of a group by its weight_names: list of { name, value }, entries of the file.
local function group_values(datasets, attributes, path)
  local out = {}
  for _, name in ipairs(get_list(attributes[path] or {}, "weight_names") or {}) do
    local value = datasets[path .. "/" .. name]
    if not value then
      errors.raise("load_weights", "%s names the weight '%s', which is not there",
        path == "" and "/" or path, tostring(name))
    end
    out[#out + 1] = { name = name, value = value }
  end
  return out
end

-- What the layer makes of the values of older files: its shapes from tensors without elements, the
-- tensors when they are asked for.
local function made_of(layer, entries, version, backend)
  local older, shapes, real = layer.keras.older, {}, nil -- real: the tensors
  for i, e in ipairs(entries) do
    shapes[i] = core.empty(e.shape, { dtype = e.dtype, device = "meta" })
  end
  local out = {}
  for i, stand_in in ipairs(older(layer, shapes, version, backend)) do
    out[i] = { shape = stand_in.shape, of = entries, make = function()
      if not real then
        local tensors = {}
        for k, e in ipairs(entries) do
          tensors[k] = weights.tensor(e)
        end
        real = older(layer, tensors, version, backend)
      end
      return real[i]
    end }
  end
  return out
end

local function pair_up(layer, found, version, backend, problems, moves)
  local records = weights.of_layer(layer)
  local values = {}
  for i, f in ipairs(found) do
    values[i] = f.value
  end
  if layer.keras.older then
    values = made_of(layer, values, version, backend)
  end
  if #records ~= #values then
    local has, need = {}, {}
    for i, f in ipairs(found) do
      has[i] = f.name .. " " .. list.format(f.value.shape)
    end
    for i, r in ipairs(records) do
      need[i] = r.name .. " " .. list.format(r.tensor.shape)
    end
    problems[#problems + 1] = ("%s: the file has %d weights (%s), the model %d (%s)"):format(
      layer.name, #has, table.concat(has, ", "), #need, table.concat(need, ", "))
    return
  end
  for i, r in ipairs(records) do
    local ok, why = weights.fits(r, values[i], layer.name .. " " .. r.name)
    if ok then
      moves[#moves + 1] = { r, values[i] }
    else
      problems[#problems + 1] = why
    end
  end
end

--- What a legacy file has for a model's weights: list of { record, value }.
--- @param o table where, skip_mismatch, by_name, quiet
function legacy.matches(model, entries, attributes, o)
  local root = legacy.root(attributes)
  local datasets = {}
  for _, e in ipairs(entries) do
    datasets[e.name] = e
  end
  local top = attributes[root == "" and "/" or root]
  local version, backend = major(attributes, root), top.backend
  local stored, by_name = {}, {}
  for _, name in ipairs(get_list(top, "layer_names")) do
    local found = group_values(datasets, attributes, root .. "/" .. name)
    if #found > 0 then
      stored[#stored + 1] = { name = name, found = found }
      by_name[name] = found
    end
  end
  local layers = {}
  for _, layer in ipairs(graph.layers(model)) do
    if #weights.of_layer(layer) > 0 then
      layers[#layers + 1] = layer
    end
  end
  local problems, moves = {}, {}
  if o.by_name then
    for _, layer in ipairs(layers) do
      if by_name[layer.name] then
        pair_up(layer, by_name[layer.name], version, backend, problems, moves)
      end
    end
  else
    for i = 1, math.max(#layers, #stored) do
      local layer, file = layers[i], stored[i]
      if layer and file then
        pair_up(layer, file.found, version, backend, problems, moves)
      elseif layer then
        problems[#problems + 1] = ("%s is missing in the file"):format(layer.name)
      else
        problems[#problems + 1] = (
          "the file has the layer '%s' (%s %s), which the model does not have"):format(
            file.name, file.found[1].name, list.format(file.found[1].value.shape))
      end
    end
  end
  weights.complain(o.where, problems, o.skip_mismatch, o.quiet)
  return moves
end

--- Loads the weights of a legacy file whose tree was read.
--- @param o table where, skip_mismatch, by_name
function legacy.load_weights(model, entries, attributes, o)
  weights.assign(legacy.matches(model, entries, attributes, o))
end

-- ---- reading models ----

-- Optimizer variables in Keras 3's order. Optimizers before tf-keras 2.11 stored no learning rate
-- and grouped their slots.
local function optimizer_values(model, found)
  local values, names = {}, {}
  for i, f in ipairs(found) do
    values[i], names[i] = f.value, f.name
  end
  local first = names[1] or ""
  if not (first:find "iter:0$" or first:find "iterations:0$" or first:find "iter$")
    or #values < 1 then
    return values
  end
  local optimizer = model.optimizer
  local numbers = optimizer:_numbers()
  local n = #weights.trainable(model)
  local rest = table.move(values, 2, #values, 1, {})
  if optimizer.keras.blocks ~= true and n > 0 and #rest % n == 0 then
    local slots, mixed = #rest // n, {}
    for i = 1, n do
      for k = 0, slots - 1 do
        mixed[#mixed + 1] = rest[k * n + i]
      end
    end
    rest = mixed
  end
  local out = { values[1] }
  if numbers.learning_rate then
    out[2] = core.tensor(numbers.learning_rate)
  end
  table.move(rest, 1, #rest, #out + 1, out)
  return out
end

--- Reads a whole model from an .h5 file.
function legacy.load_model(path, o)
  local entries, attributes, stored = h5.open(path)
  local top = attributes["/"] or {}
  if type(top.model_config) ~= "string" then
    errors.raise("load_model", "%s: the file holds no model%s", path,
      legacy.root(attributes) and ", only weights; build the model and use load_weights" or "")
  end
  local entry = keras().decode(top.model_config, path .. ": model_config")
  local ctx = import.context(
    path, { custom_objects = o.custom_objects, own = type(top.tide_version) == "string",
      bytes = import.bytes(entries) })
  if major(attributes, legacy.root(attributes) or "") == 1 then
    entry = import.guarded(ctx, upgrade, entry)
  end
  if legacy.root(attributes) then
    import.explain(ctx, stored, entry, function(model)
      return legacy.matches(model, entries, attributes, { where = path,
        skip_mismatch = o.skip_mismatch, quiet = true })
    end)
  end
  local model = import.guarded(ctx, import.model, ctx, entry)
  if type(top.tide_around) == "string" then
    paths.restore(model, keras().decode(top.tide_around, path .. ": tide_around"))
  end
  if legacy.root(attributes) then
    legacy.load_weights(model, entries, attributes,
      { where = path, skip_mismatch = o.skip_mismatch })
  end
  if type(top.training_config) == "string" then
    local config = keras().decode(top.training_config, path .. ": training_config")
    import.guarded(ctx, keras().compile, ctx, model, config, o)
    local datasets = {}
    for _, e in ipairs(entries) do
      datasets[e.name] = e
    end
    local found = group_values(datasets, attributes, "/optimizer_weights")
    if #found > 0 and rawget(model, "optimizer") then
      local ok, why = weights.load_optimizer(model, optimizer_values(model, found))
      if not ok then
        import.warn(ctx, "the optimizer's state was left out: %s", why)
      end
    end
  end
  return model
end

-- ---- writing ----

-- The layers' groups under `root`, into data and attributes.
local function put_layers(model, root, data, attributes)
  local names = {}
  for _, layer in ipairs(graph.layers(model)) do
    names[#names + 1] = layer.name
    local path = root .. "/" .. layer.name
    local weight_names, seen = {}, {}
    for _, r in ipairs(weights.of_layer(layer)) do
      local name = layer.name .. r.path .. "/" .. r.name
      local unique, k = name, 1
      while seen[unique] do
        unique = name .. "_" .. k
        k = k + 1
      end
      seen[unique] = true
      weight_names[#weight_names + 1] = unique
      data[#data + 1] = { path .. "/" .. unique, r.tensor:detach() }
    end
    attributes[path] = {}
    set_list(attributes[path], "weight_names", weight_names)
  end
  local top = attributes[root == "" and "/" or root] or {}
  attributes[root == "" and "/" or root] = top
  set_list(top, "layer_names", names)
  top.backend, top.keras_version = "tensorflow", export.keras_version
  attributes[root .. "/top_level_model_weights"] = { weight_names = list.new {} }
end

local function check_kind(model, what)
  if not graph.kind(model) then
    errors.raise(
      what,
      "%s is a class of its own; legacy .h5 files hold only Sequential and functional models (use \z
      .keras)",
      model:_label())
  end
end

--- Writes the weights alone, as Keras 2 does.
function legacy.save_weights(model, path)
  check_kind(model, "save_weights")
  local data, attributes = list.new {}, {}
  put_layers(model, "", data, attributes)
  core.blob_write(path, core.hdf5_encode(data, keras().encode(attributes), path))
end

-- Keras cannot read the short names of some losses from .h5 files; the long ones it can.
local function long_losses(v)
  if type(v) == "string" then
    local aliases = namespace.aliases(require "tide.losses")
    return aliases[v] or aliases[v:lower()] or v
  elseif type(v) == "table" and v ~= none and v.class_name == nil then
    local out = #v > 0 and list.new {} or {}
    for k, x in pairs(v) do
      out[k] = long_losses(x)
    end
    return out
  end
  return v
end

--- Writes a whole model with its compilation and the optimizer's state.
function legacy.save_model(model, path, o)
  check_kind(model, "save")
  if not model.built then
    errors.raise("save", "%s has no weights yet: build it or call it first", model:_label())
  end
  local sharing <close> = shared.writing() -- luacheck: ignore sharing
  local entry = export.model(model)
  json.check(entry, model:_label())
  local data, attributes = list.new {}, {}
  attributes["/"] = { keras_version = export.keras_version, backend = "tensorflow",
    tide_version = require("tide").version,
    tide_around = { ascii = keras().encode(paths.kept(model)) },
    model_config = { ascii = json.written({ class_name = entry.class_name,
      config = entry.config }, path) } }
  put_layers(model, "/model_weights", data, attributes)
  local compiled = o.include_optimizer ~= false and export.compile(model)
  if compiled then
    local optimizer = compiled.optimizer
    compiled.optimizer_config = { class_name = optimizer.class_name, config = optimizer.config,
      module = optimizer.module, registered_name = optimizer.registered_name }
    compiled.optimizer, compiled.loss = nil, long_losses(compiled.loss)
    attributes["/"].training_config = { ascii = keras().encode(compiled) }
    local variables = weights.optimizer_variables(model)
    if variables then
      local names, prefix, taken = {}, model.optimizer.name .. "/", {}
      for i, v in ipairs(variables) do
        names[i] = prefix .. (v[3] and (v[3].path:gsub("^/", ""):gsub("/",
          "_") .. "_" .. v[3].name .. "_") or "") .. v[1]
        if taken[names[i]] then -- of an optimizer inside
          names[i] = names[i] .. "_" .. i
        end
        taken[names[i]] = true
        data[#data + 1] = { "/optimizer_weights/" .. names[i], v[2]:detach() }
      end
      attributes["/optimizer_weights"] = {}
      set_list(attributes["/optimizer_weights"], "weight_names", names)
    end
  end
  core.blob_write(path, core.hdf5_encode(data, keras().encode(attributes), path))
end

return legacy

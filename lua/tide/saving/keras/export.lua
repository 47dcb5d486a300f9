--- Tide's models as Keras 3 writes their configurations.
--
-- Options that only Tide has (counting from 1, a row for id 0) stand beside a configuration under
-- "tide", where Keras does not look; Tide's own reader takes them from there.
local S = require "tide.private"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local list = require "tide.list"
local namespace = require "tide.namespace"
local none = require "tide.none"
local object = require "tide.object"
local registry = require "tide.registry"
local shared = require "tide.shared"

local graph = require "tide.saving.keras.graph"
local kind_of = require("tide.graph").kind
local of = require("tide.graph").of
local axes_out = require("tide.saving.keras.ops").axes_out
local is_tensor = require("tide.core").is_tensor

local export = {}

--- The release of Keras whose formats are written.
export.keras_version = "3.16.0"

local module_of = { layer = "keras.layers", initializer = "keras.initializers",
  regularizer = "keras.regularizers", constraint = "keras.constraints",
    schedule = "keras.optimizers.schedules", optimizer = "keras.optimizers",
  loss = "keras.losses", metric = "keras.metrics" }

--- Whether what is exported goes into an archive, which holds files beside the configuration.
export.in_archive = false

-- Options that Keras' classes do not take.
local dropped = { batch_input_shape = true, input_shape = true, batch_size = true, weights = true,
  touched = true }

local export_value

-- An object of a class with options: { module, class_name, config, registered_name }.
local function object_out(v)
  local c = getmetatable(v)
  local kind, name = v.kind or c.kind, c.__name
  local args = c.args
  local config, notes = {}, nil
  for k, x in pairs(v:get_config()) do
    local row = args.index[k]
    if row and row.own then
      notes = notes or {}
      notes[k] = x
    elseif row and check.counts(row) then
      config[k] = axes_out(x)
    elseif row and row[2] == "callable" and type(x) == "string" then
      config[k] = { module = "builtins", class_name = "function", config = x,
        registered_name = "function" }
    elseif k == "ignore_class" and type(x) == "number" and args.index.zero_based
      and not v.zero_based then
      config[k] = x - 1
    elseif type(x) == "table" and x.class_name == "__weight__"
      or type(rawget(v, k)) == "table" and getmetatable(rawget(v, k)) ~= nil then
      config[k] = export_value(rawget(v, k))
    else
      config[k] = export_value(x, row and row[2])
    end
  end
  local custom = kind and registry.custom(kind)[name] == c
  return { module = not custom and module_of[kind] or none, class_name = name, config = config,
    registered_name = custom and "Custom>" .. name or kind == "layer" and c.keras.package
      and c.keras.package .. ">" .. name or none, tide = notes }
end

-- An activation with options: Keras has no more than the layer of that name, and KerasHub a
-- function for one.
local function activation_out(v)
  if v.name == "gelu" and v.options.approximate then
    return { module = "builtins", class_name = "function", config = "keras_hub>gelu_approximate",
      registered_name = "function" }
  end
  local layers, c = registry.namespace "layer", nil
  for _, name in ipairs(namespace.names(layers)) do
    if name:lower() == v.name:gsub("_", "") then
      c = layers[name]
    end
  end
  for k in pairs(v.options) do
    if not c or not c.args.index[k] then
      errors.raise("save",
        "Keras' files cannot hold the activation '%s' with the option '%s'; make it a layer of \z
        your own", v.name, k)
    end
  end
  return { module = module_of.layer, class_name = c.__name, config = export_value(v.options),
    registered_name = none }
end

--- Any value as JSON holds it: objects by class and configuration, functions by name.
function export_value(v, kind)
  local t = type(v)
  if v == nil or v == none then
    return none
  elseif t == "function" then
    return object.name_of(v) or v -- json.check names what a file cannot hold
  elseif is_tensor(v) then
    return object.serialize(v, export.layer)
  elseif t == "table" then
    if class.is_class(v) then
      return v.__name
    elseif v.kind == "layer" and v[S] then
      return export.layer(v)
    elseif v.kind == "activation" and getmetatable(v) ~= nil then
      return activation_out(v)
    elseif getmetatable(v) ~= nil and not list.is(v) and v.get_config then
      return object_out(v)
    elseif type(v.class_name) == "string" and getmetatable(v) == nil then
      local k = v.kind or (type(kind) == "string" and module_of[kind] and kind)
      k = k or registry.kind_of(v.class_name)
      if v.class_name == "function" then
        return v.config and (v.config.name or v.config)
      end
      return { module = k and module_of[k] or none, class_name = v.class_name,
        config = export_value(v.config or {}), registered_name = none }
    end
    local out = (#v > 0 or list.is(v)) and list.new {} or {}
    for k, x in pairs(v) do
      out[k] = export_value(x)
    end
    return out
  end
  return v
end
export.value = export_value

local function shapes_out(shape)
  if type(shape) ~= "table" or shape == none then
    return none
  end
  local out = list.new {}
  for i = 1, #shape do
    out[i] = type(shape[i]) == "table" and shape[i] ~= none and shapes_out(shape[i]) or shape[i]
  end
  return out
end

local function input_layer(batch_shape, dtype, name)
  return { module = "keras.layers", class_name = "InputLayer", registered_name = none,
    config = { batch_shape = shapes_out(batch_shape), dtype = dtype, sparse = false, ragged = false,
      name = name, optional = false } }
end

-- A policy: its name; a map as Keras' DTypePolicyMap.
local function policy_out(policy)
  if type(policy) == "string" then
    return policy
  end
  local map = {}
  for pattern, name in pairs(policy) do
    map[pattern] = { module = "keras", class_name = "DTypePolicy", config = { name = name },
      registered_name = none }
  end
  return { module = "keras.dtype_policies", class_name = "DTypePolicyMap", registered_name = none,
    config = { default_policy = rawget(policy, "default_policy") or none, policy_map = map } }
end

--- A layer or a model as { module, class_name, config, registered_name, build_config }.
function export.layer(layer)
  local c = getmetatable(layer)
  if kind_of(layer) then
    return export.model(layer)
  end
  local entry = object_out(layer)
  local config = entry.config
  for k in pairs(dropped) do
    config[k] = nil
  end
  config.name, config.trainable = layer.name, layer[S].trainable
  config.dtype = policy_out(layer.dtype_policy)
  if c.args.index.autocast then
    config.autocast = nil
  end
  if c.keras.config then
    entry.config = c.keras.config(layer, config, export.in_archive)
  end
  local shape, all = layer[S].build_shape, layer[S].build_shapes or { n = 0 }
  local several
  for i = 2, all.n do
    local name = layer._input_names and layer._input_names[i]
    if name and list.is(all[i]) then
      several = several or { [layer._input_names[1] .. "_shape"] = shapes_out(shape) }
      several[name .. "_shape"] = shapes_out(all[i])
    end
  end
  shared.note(layer, entry)
  if several then
    entry.build_config = { shapes_dict = several }
  elseif type(shape) == "table" and type(shape[1]) ~= "table" or (shape and shape[1] == none) then
    entry.build_config = { input_shape = shapes_out(shape) }
  end
  return entry
end

--- A model as { module, class_name, config, registered_name, build_config }.
function export.model(model)
  local kind = kind_of(model)
  if kind == "functional" then
    local entry = { module = "keras.src.models.functional", class_name = "Functional",
      registered_name = "Functional", config = graph.export(model, export.layer, input_layer,
        export_value),
        build_config = { input_shape = none } }
    local c = getmetatable(model)
    if c._of_graph then -- a class of one's own
      entry.module, entry.class_name = none, c.__name
      entry.registered_name = "Custom>" .. c.__name
      for _, k in ipairs(c._of_graph) do
        entry.config[k] = export_value(model[k])
      end
    end
    return shared.note(model, entry)
  elseif kind == "sequential" then
    local layers, shape = list.new {}, nil
    local x = of(model) and model.input
    if x then
      shape = shapes_out(x.shape)
      layers[1] = input_layer(x.shape, x.dtype, x.name)
    end
    for _, child in ipairs(model:_parts()) do
      layers[#layers + 1] = export.layer(child.layer)
    end
    return shared.note(model, { module = "keras", class_name = "Sequential",
      registered_name = none, config = { name = model.name, trainable = model[S].trainable,
        dtype = model.dtype, layers = layers, build_input_shape = shape },
      build_config = shape and { input_shape = shape } or nil })
  end
  return export.layer(model)
end

-- Strings stay, objects are written out; lists and tables by name keep their form.
local function per_output(v)
  if v == nil or v == false or v == none then
    return none
  elseif type(v) == "table" and getmetatable(v) == nil and v.class_name == nil then
    local out = #v > 0 and list.new {} or {}
    for k, x in pairs(v) do
      out[k] = per_output(x)
    end
    return out
  end
  return export_value(v)
end

-- Where a Lua function without a name stands in what compile was given, or nil.
local function find_function(v, at)
  if type(v) == "function" then
    return at
  elseif type(v) == "table" and getmetatable(v) == nil then
    for k, x in pairs(v) do
      local found = find_function(x, at)
      if found then
        return type(k) == "string" and at .. "." .. k or found
      end
    end
  elseif type(v) == "table" and type(rawget(v, "fn")) == "function"
    and not object.name_of(v.fn) then
    return at
  end
end

--- What Keras' compile_from_config takes; nil for a model that was not compiled.
function export.compile(model)
  local o = model[S].compile_options
  if not o or not rawget(model, "optimizer") then
    return nil
  end
  local given = { loss = object.declared("loss", o.loss), metrics = object.declared("metric",
    o.metrics),
    weighted_metrics = object.declared("metric", o.weighted_metrics) }
  for _, k in ipairs { "loss", "metrics", "weighted_metrics" } do
    local at = find_function(given[k], k)
    if at then
      errors.warn("save: %s is a Lua function, which a file cannot hold; the model is saved "
        .. "without its compile state", at)
      return nil
    end
  end
  local given_optimizer = model.optimizer
  if given_optimizer._automatic then
    given_optimizer = given_optimizer.inner_optimizer
  end
  local optimizer = export_value(given_optimizer)
  optimizer.config.name = given_optimizer.name
  return { optimizer = optimizer, loss = per_output(given.loss),
    loss_weights = export_value(o.loss_weights), metrics = per_output(given.metrics),
    weighted_metrics = per_output(given.weighted_metrics), run_eagerly = o.run_eagerly or false,
    steps_per_execution = o.steps_per_execution or 1, jit_compile = "auto" }
end

return export

--- Keras' configurations as Tide's objects: layers, models, optimizers, losses, metrics,
--- initializers and the rest, in the
-- forms that Keras 1, 2 and 3 write.
--
-- Nothing in a file chooses code: class names are looked up in Tide's namespaces, in what the
-- person registered with `extend`, and in `custom_objects`; a Lambda's code is refused; options
-- that a class does not declare are left out with a warning. What Keras counts from 0 (axes,
-- labels, ids) becomes Tide's counting, or `zero_based = true` where it is data.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local none = require "tide.none"
local guard = require "tide.saving.guard"
local object = require "tide.object"
local registry = require "tide.registry"
local h5 = require "tide.saving.keras.h5"

local import = {}

--- What an import knows.
--- @param where string the file, for messages
--- @param o table|nil custom_objects; own = true: Tide wrote the file; bytes: of its tensors
function import.context(where, o)
  o = o or {}
  return { where = where, custom = o.custom_objects or {}, own = o.own or false, bytes = o.bytes,
    warned = {}, shared = {} }
end

--- Says once what had to be left out.
function import.warn(ctx, fmt, ...)
  local text = fmt:format(...)
  if not ctx.warned[text] then
    ctx.warned[text] = true
    ctx.warned[#ctx.warned + 1] = text
    if not ctx.quiet then
      errors.warn("%s: %s", ctx.where, text)
    end
  end
end
local warn = import.warn

local function refuse(ctx, fmt, ...)
  errors.raise("load_model", "%s: " .. fmt, ctx.where, ...)
end

--- Bytes of a file's tensors.
--- @param entries table as tide.saving.keras.h5 gives them
function import.bytes(entries)
  local n = 0
  for _, e in ipairs(entries) do
    n = n + h5.size(e) * 8
  end
  return n
end

-- What a file may declare beside twice its bytes before it is looked at twice.
local PLENTY = 16 << 20

--- A file of few bytes may declare data of many (zeros, compressed), which would explain a model of
--- any size. Of such a file only what fits the model counts: it is made without elements first, and
--- `matches` gives what the file has for it, or raises.
--- @param stored integer bytes of the file that hold the tensors
--- @param entry table the model's configuration
--- @param matches function (model): list of { record, value }
function import.explain(ctx, stored, entry, matches)
  if ctx.bytes <= 2 * stored + PLENTY then
    return
  end
  ctx.bytes = stored
  local device = core.default_device()
  core.default_device "meta"
  local ok, moves = pcall(function()
    return matches(import.guarded(ctx, import.model, ctx, entry))
  end)
  core.default_device(device)
  ctx.shared = {}
  if not ok then
    error(moves, 0)
  end
  local values = {}
  for i, m in ipairs(moves) do
    values[i] = m[2]
  end
  ctx.bytes = stored + import.bytes(values)
end

--- Runs `f` on a configuration of the file; see tide.saving.guard.
function import.guarded(ctx, f, ...)
  return guard.run(ctx.where, ctx.bytes or 0, "the configuration is not one that Keras writes",
    nil, f, ...)
end

-- ---- kinds ----

local is_kind = {}
for _, kind in ipairs(registry.configurable) do
  is_kind[kind] = true
end

-- The component of a module's name that says what it holds.
local component = { layers = "layer", initializers = "initializer", regularizers = "regularizer",
  constraints = "constraint", schedules = "schedule", learning_rate_schedule = "schedule",
    optimizers = "optimizer", losses = "loss", metrics = "metric",
  activations = "activation", models = "layer" }

local function row_types(row)
  return type(row[2]) == "table" and row[2] or { row[2] }
end

local function row_kind(row)
  for _, t in ipairs(row and row_types(row) or {}) do
    if is_kind[t] then
      return t
    end
  end
end

local function kind_of(entry, row)
  local kind = row_kind(row)
  if kind then
    return kind
  end
  local config = entry.config
  if entry.module == "keras" or type(config) == "table" and config ~= none and config.layers then
    return "layer" -- a model: Sequential is a schedule's name too
  elseif type(entry.module) == "string" then
    for part in entry.module:gmatch "[^.]+" do
      kind = component[part] or kind
    end
    if kind then
      return kind
    end
  end
  return registry.kind_of(entry.class_name)
end

-- ---- values ----

--- Keras' axes in Tide's counting: from 1, negative ones as they are.
function import.axes(v)
  if type(v) == "table" and v ~= none then
    local out = {}
    for i, x in ipairs(v) do
      out[i] = import.axes(x)
    end
    return out
  elseif type(v) == "number" and v >= 0 then
    return math.tointeger(v) + 1
  end
  return v
end

-- A DTypePolicyMap: each layer that has it asks it for its policy when it is built.
local function policy_map(ctx, config, label, mixed)
  config = type(config) == "table" and config ~= none and config or {}
  local function named(policy)
    return policy ~= none and import.dtype(ctx, policy, label, mixed) or nil
  end
  local map = {}
  for pattern, policy in pairs(type(config.policy_map) == "table" and config.policy_map or {}) do
    map[pattern] = named(policy) or "float32"
  end
  return require("tide.dtype_policies").DTypePolicyMap { named(config.default_policy), map }
end

--- The name of a dtype from a string or a policy, or a DTypePolicyMap. `mixed`: whether it may be a
--- mixed one.
function import.dtype(ctx, v, label, mixed)
  if type(v) == "table" and v ~= none then
    local name = v.class_name
    if name == "DTypePolicy" or name == "Policy" or name == "FloatDTypePolicy" then
      v = v.config and v.config.name
    elseif name == "DTypePolicyMap" then
      return policy_map(ctx, v.config, label, mixed)
    else
      refuse(
        ctx, "%s is quantized (%s), which Tide does not read; load it in Keras and dequantize it",
        label, tostring(name))
    end
  end
  if type(v) ~= "string" then
    return nil
  end
  if v:find("^int[48]_from_") or v:find("^float8_from_") then
    refuse(ctx, "%s is quantized (%s), which Tide does not read", label, v)
  elseif v:find "^mixed_" and not (mixed and check.mixed[v]) then
    warn(ctx, "%s computes in %s; Tide computes it in float32", label, v)
    return "float32"
  end
  return v
end

-- Options of Keras that carry nothing that Tide needs.
local silent = { quantization_config = true, vocabulary_size = true, vocabulary_dtype = true,
  oov_method = true, has_input_vocabulary = true, shared_object_id = true, batch_input_shape = true,
  sparse = true, ragged = true, optional = true, synchronized = true, autocast = true,
    build_input_shape = true, jit_compile = true, is_legacy_optimizer = true,
  implementation = true, time_major = true, input_dtype = true, fn = true,
    ["function"] = true,
    groups = true, seed = true,
  input_length = true, rms_scaling = true, input_spec = true, dtype = true,
  decoder_sequence_shape = true, encoder_sequence_shape = true,
  vectorized = true, node_index = true, fused = true, unroll = true, input_shape = true }

local import_value

--- The options of a class from a configuration.
--- @param ctx table
--- @param c table class with an argument table
--- @param config table
--- @param label string for messages
--- @param notes table|nil what Tide noted beside the configuration
function import.options(ctx, c, config, label, notes)
  local args = c.args
  local out, keys = {}, {}
  for k in pairs(config) do
    keys[#keys + 1] = k
  end
  table.sort(keys)
  for _, k in ipairs(keys) do
    local v, row = config[k], args.index[k]
    if not row then
      if args.rest then
        out[k] = v ~= none and import_value(ctx, v) or nil
      elseif v ~= none and v ~= false and not silent[k] then
        warn(ctx, "%s: the option '%s' is not known here and was left out", label, k)
      end
    elseif v == none then
      if row[3] ~= nil and (row.none or row[3] == none) then
        out[k] = none
      end
    elseif k == "dtype" then
      out.dtype = import.dtype(ctx, v, label, row and row[2] == "policy")
    elseif check.counts(row) then
      out[k] = import.axes(v)
    else
      local value = import_value(ctx, v, row, k)
      if row[2] == "callable" and type(value) == "string" then
        value = object.function_named(value) or value
      end
      out[k] = value
    end
  end
  if args.index.zero_based then
    local noted = notes and notes.zero_based
    if noted ~= nil then
      out.zero_based = noted
    elseif not ctx.own then
      out.zero_based = true
    end
    if out.ignore_class and not out.zero_based then
      out.ignore_class = out.ignore_class + 1
    end
  end
  for k, v in pairs(notes or {}) do
    if args.index[k] and k ~= "zero_based" then
      out[k] = v
    end
  end
  return out
end

local function find(ctx, kind, entry)
  local name = entry.class_name
  local registered = type(entry.registered_name) == "string" and entry.registered_name or nil
  local custom = ctx.custom[name]
    or (registered and (ctx.custom[registered] or ctx.custom[registered:match ">(.*)$"]))
  local own = kind and registered and registry.custom(kind)[registered:match ">(.*)$"]
  return custom or own or (kind and registry.lookup(kind, name))
end

import.find = find

--- Any serialized object but a layer.
--- @return any an object, or the name of a function
function import.object(ctx, entry, row, what)
  local name = entry.class_name
  if name == "function" then
    local named = type(entry.config) == "table" and entry.config.name or entry.config
    return ctx.custom[named] or named == "keras_hub>gelu_approximate"
      and { "gelu", approximate = true } or named
  elseif name == "__tuple__" then
    return import_value(ctx, entry.items or {})
  elseif name == "__tensor__" or name == "__numpy__" then
    return core.tensor(entry.config.value, { dtype = entry.config.dtype })
  elseif name == "__weight__" and type(entry.config) == "table"
    and type(entry.config.layer) == "table" then
    return object.weight(entry.config, import.layer(ctx, entry.config.layer))
  elseif name == "__lambda__" then
    refuse(ctx, "it holds Python code (%s); Tide never runs code from a file", what or "a lambda")
  elseif name == "DTypePolicy" then
    return import.dtype(ctx, entry, what or "an object")
  end
  local kind = kind_of(entry, row)
  if kind == "layer" then
    return import.layer(ctx, entry)
  elseif kind == "activation" then
    local found = find(ctx, nil, entry)
    return found or import_value(ctx, entry.config and entry.config.name or name)
  end
  local config = type(entry.config) == "table" and entry.config ~= none and entry.config or {}
  local c = find(ctx, kind, entry)
  if not c then
    refuse(ctx, "unknown %s '%s'%s; give it in custom_objects%s", kind or "class", tostring(name),
      what and what ~= kind and " (" .. what .. ")" or "",
      (kind == "optimizer" or kind == "loss" or kind == "metric")
        and ", or load the model with compile = false" or "")
  end
  if not class.is_class(c) then
    return c
  end
  if kind == "optimizer" then
    config = import.old_optimizer(ctx, config)
  elseif kind == "loss" and config.reduction == "auto" then
    config.reduction = "sum_over_batch_size"
  end
  return c(import.options(ctx, c, config, name, entry.tide))
end

function import_value(ctx, v, row, what)
  if type(v) ~= "table" or v == none then
    return v
  elseif v.class_name ~= nil then
    return import.object(ctx, v, row, what)
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = import_value(ctx, x, row, what)
  end
  return out
end

--- Keras 1's and 2's options of optimizers: `lr`, and `decay`, which was a schedule.
function import.old_optimizer(ctx, config)
  local out = {}
  for k, v in pairs(config) do
    out[k] = v
  end
  if out.lr ~= nil then
    out.learning_rate = out.learning_rate or out.lr
    out.lr = nil
  end
  if type(out.decay) == "number" and out.decay > 0 and type(out.learning_rate) == "number" then
    out.learning_rate = { class_name = "InverseTimeDecay", module = "keras.optimizers.schedules",
      config = { initial_learning_rate = out.learning_rate, decay_steps = 1,
        decay_rate = out.decay } }
  end
  out.decay = nil
  if out.epsilon == none then
    out.epsilon = nil
  end
  -- the old schedules of momentum and the experimental switches change nothing in what follows
  out.schedule_decay = nil
  out.weight_decay = out.weight_decay ~= none and out.weight_decay or nil
  if ctx.own then
    return out
  end
  return out
end

-- ---- compile ----

local function is_plain(v)
  return type(v) == "table" and v ~= none and getmetatable(v) == nil
end

-- Names that stand for one of several classes, by the shapes of the first batch.
local by_shape = { accuracy = true, acc = true, crossentropy = true, ce = true }

-- Losses and metrics as a file names them: those of labels count from 0 in Keras' files. `labels`:
-- whether the losses take labels.
local function named(ctx, v, kind, labels)
  if type(v) == "string" and not ctx.own then
    local low = v:lower()
    if labels and kind == "metric" and (low == "accuracy" or low == "acc") then
      return registry.find(kind, "SparseCategoricalAccuracy") { name = v, zero_based = true }
    elseif by_shape[low] then
      return v
    elseif not registry.lookup(kind, v) then
      return ctx.custom[v] or v
    end
    local c = getmetatable(registry.namespace(kind).get(v))
    return c.args.index.zero_based and c { name = v, zero_based = true } or v
  elseif is_plain(v) then
    if v.class_name ~= nil then
      local x = import.object(ctx, v, { kind, kind }, kind)
      return type(x) == "string" and named(ctx, x, kind, labels) or x
    end
    local out = {}
    for k, x in pairs(v) do
      local one = named(ctx, x, kind, labels)
      out[k] = one == none and false or one
    end
    return out
  end
  return v
end

-- Whether a loss among those made takes labels.
local function any_labels(v)
  if type(v) == "string" then
    local ok, loss = pcall(registry.namespace("loss").get, v)
    return ok and loss.targets == "labels"
  elseif is_plain(v) then
    for _, x in pairs(v) do
      if any_labels(x) then
        return true
      end
    end
    return false
  end
  return type(v) == "table" and v ~= none and v.targets == "labels"
end

--- The arguments of `compile` from Keras' compile_config or training_config; nil where there is
--- nothing to compile with.
function import.compile(ctx, config)
  if not is_plain(config) then
    return nil
  end
  local optimizer = config.optimizer or config.optimizer_config
  if not optimizer or optimizer == none then
    return nil
  end
  local out = {}
  if is_plain(optimizer) and optimizer.class_name then
    out.optimizer = import.object(ctx, optimizer, { "optimizer", "optimizer" }, "optimizer")
  else
    out.optimizer = optimizer
  end
  if config.loss and config.loss ~= none then
    out.loss = named(ctx, config.loss, "loss")
  end
  local labels = any_labels(out.loss)
  for _, k in ipairs { "metrics", "weighted_metrics" } do
    local v = config[k]
    if v and v ~= none and next(v) ~= nil then
      out[k] = named(ctx, v, "metric", labels)
    end
  end
  if is_plain(config.loss_weights) and next(config.loss_weights) ~= nil then
    out.loss_weights = config.loss_weights
  end
  if math.type(config.steps_per_execution) == "integer" then
    out.steps_per_execution = config.steps_per_execution
  end
  if config.run_eagerly == true then
    out.run_eagerly = true
  end
  return out
end

-- ---- layers ----

local function shape_of(v)
  if type(v) ~= "table" or v == none then
    return nil
  end
  local out = {}
  for i, n in ipairs(v) do
    out[i] = n
  end
  return out
end

-- Layers among the options of a person's layer are built for the shapes that the file tells, as in
-- Keras: their owner may use the weights at once.
local function built_options(c, config, options)
  for k, row in pairs(c.args.index) do
    local layer, build = options[k], type(config[k]) == "table" and config[k].build_config
    local shape = type(build) == "table" and shape_of(build.input_shape)
    if row_kind(row) == "layer" and shape and type(layer) == "table" and not layer.built then
      layer:build(shape)
    end
  end
end

local function make_layer(ctx, entry)
  local name = entry.class_name
  if type(name) ~= "string" then
    refuse(ctx, "a layer without a class name")
  end
  local config = type(entry.config) == "table" and entry.config or {}
  if name == "Sequential" or ((name == "Functional" or name == "Model") and config.layers)
    or config.input_layers and config.layers then
    return import.model(ctx, entry)
  end
  local layer_name = type(config.name) == "string" and config.name or entry.name
  local label = layer_name and ("%s '%s'"):format(name, tostring(layer_name)) or name
  local c = find(ctx, "layer", entry)
  if not c then
    refuse(
      ctx,
      "unknown layer class '%s'%s; define it with tide.Layer:extend or give it in custom_objects",
      name, layer_name and (" (layer '%s')"):format(layer_name) or "")
  end
  if not class.is_class(c) then
    refuse(ctx, "custom_objects['%s'] is not a class of layers", name)
  end
  local options = import.options(ctx, c, config, label, entry.tide)
  options.batch_input_shape = c.args.index.batch_input_shape and shape_of(config.batch_input_shape)
    or nil
  options.name = layer_name
  if c.keras and c.keras.options then
    options = c.keras.options(options, config, function(...) refuse(ctx, ...) end, ctx.custom)
  end
  if registry.custom("layer")[c.__name] == c then
    built_options(c, config, options)
    if rawget(c, "_from_config") then
      return c.from_config(options)
    end
  end
  return c(options)
end

--- A layer from { class_name, config, ... }; the same one for all entries of one shared_object_id.
function import.layer(ctx, entry)
  local id = entry.shared_object_id
  if math.type(id) ~= "integer" then
    return make_layer(ctx, entry)
  end
  ctx.shared[id] = ctx.shared[id] or make_layer(ctx, entry)
  return ctx.shared[id]
end

--- A model from { class_name, config, ... }: Sequential, functional, or a class of one's own.
function import.model(ctx, entry)
  if type(entry) ~= "table" or type(entry.class_name) ~= "string" then
    refuse(ctx, "the configuration names no model")
  end
  local name, config = entry.class_name, entry.config
  if name == "Sequential" then
    return import.sequential(ctx, entry)
  elseif (name == "Functional" or name == "Model") and type(config) == "table"
    and config.layers then
    return require("tide.saving.keras.graph").import(ctx, entry)
  elseif type(config) == "table" and config.input_layers and config.layers then
    local c = find(ctx, "layer", entry)
    if not (class.is_class(c) and c.is_model) then
      refuse(ctx, "unknown model class '%s'; define it with tide.Model:extend or give it in \z
        custom_objects", name)
    end
    return require("tide.saving.keras.graph").import(ctx, entry, function(o)
      for k in pairs(c.args.index) do
        if o[k] == nil and k ~= "dtype" and config[k] ~= nil and config[k] ~= none then
          o[k] = import_value(ctx, config[k], c.args.index[k], k)
        end
      end
      return c(o)
    end)
  end
  local model = make_layer(ctx, entry)
  local build = entry.build_config
  if not model.built and type(build) == "table" and type(build.input_shape) == "table" then
    model:build(require("tide.list").new(build.input_shape))
  end
  return model
end

--- A Sequential model; before Keras 2.2.3 its configuration was the bare list of layers.
function import.sequential(ctx, entry)
  local config = entry.config
  if type(config) ~= "table" then
    refuse(ctx, "the Sequential model has no configuration")
  end
  local entries = config.layers or config
  local layers = {}
  for i, e in ipairs(entries) do
    layers[i] = import.layer(ctx, e)
  end
  local Sequential = require("tide.models").Sequential
  local model = Sequential { layers, name = type(config.name) == "string" and config.name or nil }
  local build = config.build_input_shape
    or (type(entry.build_config) == "table" and entry.build_config.input_shape)
  if not model.built and #layers > 0 and type(build) == "table" and build ~= none then
    model:build(require("tide.list").new(shape_of(build)))
  end
  if config.trainable == false then
    model.trainable = false
  end
  return model
end

return import

--- Model: a layer that can be compiled, fitted, evaluated, saved and printed.
--
-- `tide.Model { inputs = x, outputs = y }` makes a functional model, `tide.Model:extend(name, def)`
-- a class of your own.
---
---     local x = tide.Input { 4 }
---     local model = tide.Model { inputs = x, outputs = tide.layers.Dense(3)(x) }
---     model(tide.ones { 2, 4 }).shape   --> { 2, 3 }
local S = require "tide.private"
local base = require "tide.layers.base"
local check = require "tide.check"
local class = require "tide.class"
local errors = require "tide.errors"
local foreign = require "tide.foreign"
local list = require "tide.list"
local none = require "tide.none"
local object = require "tide.object"
local origin = require "tide.origin"
local printable = require "tide.printable"

local Model = base.derive(base, "Model", {
  args = {},
  keeps_dtype = false,
})
object.declare(Model, "Model", {
  get_layer = { { "name", "any", nil, "the layer's name, or its number" },
    { "index", "int", nil, "the layer's number, from 1" } },
  make_train_function = { { "force", "bool", false, "recorded" } },
  to_json = {}, reset_metrics = {}, get_metrics_result = {}, get_compile_config = {},
  explain_plan = {},
})
Model.is_model = true
Model._foreign = foreign.model

-- What `tide.training` and `tide.saving` do; loaded when first used.
local delegated = {
  ["tide.training.loop"] = [[compile fit evaluate predict train_on_batch test_on_batch
    predict_on_batch train_step test_step predict_step compute_loss compute_metrics reset_metrics
    get_metrics_result get_compile_config compile_from_config make_train_function]],
  ["tide.saving"] = "save save_weights load_weights",
  ["tide.saving.lora"] = "save_lora_weights load_lora_weights",
  ["tide.training.explain"] = "explain_plan",
  ["tide.training.tools"] = "find_lr find_batch_size",
  ["tide.models.surgery"] = "rename replace sub_model freeze unfreeze",
}

local function must_be_model(self, method)
  if type(self) ~= "table" or not self[S] then
    errors.raise(method, "is a method: write model:%s(...) with a colon", method)
  end
end

for module, names in pairs(delegated) do
  for name in names:gmatch "%S+" do
    local fn
    Model[name] = origin.wraps(function(self, ...)
      must_be_model(self, name)
      fn = fn or require(module)[name]
      return fn(self, ...)
    end, { module, name })
  end
end

-- ---- layers and text ----

local function layer_list(self)
  local out = {}
  for _, child in ipairs(self:_children()) do
    out[#out + 1] = child.layer
  end
  return list.new(out)
end

-- One field of what the training loop knows of each metric, in the order of evaluate.
local function of_metrics(field)
  return function(self)
    local out = {}
    for i, m in ipairs(require("tide.training.pass").named_metrics(self)) do
      out[i] = m[field]
    end
    return list.new(out)
  end
end

class.properties(Model, {
  layers = layer_list,
  metrics = of_metrics "metric",
  metrics_names = of_metrics "name",
  input_shape = function(self)
    return base.shape_of(self.input)
  end,
  output_shape = function(self)
    return base.shape_of(self.output)
  end,
}, {})

--- Makes the weights for inputs of this shape. A model of your own runs once on samples, so that
--- its layers are built too.
function Model:build(...)
  local was = self.built
  base.build(self, ...)
  if not was and not base.is_calling() and not self[S].graph then
    require("tide.graph.symbolic").traced_shapes(self, ...)
  end
end

--- A layer by name, or by its place counted from 1: `model:get_layer "dense"`, `model:get_layer {
--- index = 2 }`.
--- @param name string|table
--- @return table layer
function Model:get_layer(name, index)
  must_be_model(self, "get_layer")
  if math.type(name) == "integer" then
    name, index = nil, name
  end
  local layers = self.layers
  if index then
    if not layers[index] then
      errors.raise("get_layer",
        "the model has no layer of that index (expected 1 to %d, got %s)", #layers,
        tostring(index))
    end
    return layers[index]
  end
  local names = {}
  for i, layer in ipairs(layers) do
    if layer.name == name then
      return layer
    end
    names[i] = layer.name
  end
  errors.raise("get_layer", "no layer is named '%s'%s (the layers are %s)", tostring(name),
    check.did_you_mean(name, names), table.concat(names, ", "))
end

--- The graph of the model: its nodes in order of execution, each
--- `{ name, class, layer | op, inputs, outputs, args, weights }`. Inputs and outputs are values
--- `{ node: name of the node that makes it, output: which of its results, shape, dtype }`; unknown
--- sizes are `tide.none`. `weights` are `{ name, tensor, trainable }`. `args` are the call's
--- arguments with values where tensors will stand. The result has `nodes`, `inputs`, `outputs` and
--- `name`, and prints a line per node.
---
--- Sequential and functional models have their graph; one of a class of your own is called once on
--- symbolic tensors, computing nothing, with the layers that it calls as nodes. Raises where a call
--- needs the numbers themselves.
---
---     local m = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 } } }
---     print(#m:graph().nodes)   --> 2
---     print(m:graph({ ops = true }).nodes[2].op)   --> linear
--- @param o table|nil ops: layers become the operators that they call (false); shape: of the input
---   with the batch, for a model of your own that is not built (a list of shapes where `inputs`
---   names several); dtype: of its inputs (the model's)
--- @return table graph
function Model:graph(o)
  must_be_model(self, "graph")
  o = check.options("graph", o, { { "ops", "bool", false }, { "shape", "any" },
    { "dtype", "dtype" } })
  return require("tide.graph").describe(self, o)
end

function Model:_label()
  return ("model \"%s\""):format(printable.name(self.name))
end

local summary_args = check.args("summary", {
  { "line_length", "int", nil, "characters of a line" },
  { "positions", "list", nil, "recorded" },
  { "print_fn", "callable", nil, "gets each line; print by default" },
  { "expand_nested", "bool", false, "rows of layers inside layers too" },
  { "show_trainable", "bool", false, "whether layers train" },
  { "layer_range", "list", nil, "{ first, last }: patterns of names" },
}, { named = {
  { "batch", "int", nil, "what so many samples cost, too", min = 1 },
  { "shape", "shape", nil, "of the input with the batch, where the model does not say it" },
} })

--- The summary table, printed or handed line by line to `print_fn`.
---
--- With `batch` it also says what so many samples cost, without computing: of each layer the
--- multiply-accumulates of its matrix products, the bytes that it keeps for the gradient, and the
--- most that tensors of the step take by then; of the model the peak of a step of training
--- (weights, gradients, the optimizer's state and the batch among it) and of a prediction.
---
---     local cost = model:summary { batch = 32, print_fn = function() end }
---     cost.training > cost.prediction   --> true
--- @return table|nil with `batch`: `macs`, `activations`, `training`, `prediction`, `weights`,
---   `optimizer` (bytes), and `layers`: layer -> { macs, activations, peak }
function Model:summary(...)
  must_be_model(self, "summary")
  local o = summary_args:call(...)
  local costs = o.batch and require("tide.models.cost").of(self, o.batch, o.shape) or nil
  local text = require("tide.models.summary").text(self, o, costs)
  local out = o.print_fn or print
  for line in (text .. "\n"):gmatch "(.-)\n" do
    out(line)
  end
  return costs
end

function Model:__tostring()
  return require("tide.models.summary").text(self, {})
end

--- The architecture as JSON text; `tide.models.model_from_json` reads it.
function Model:to_json()
  must_be_model(self, "to_json")
  return require("tide.core").json_encode(object.serialize(self), none)
end

local function functional()
  return require("tide.models.functional").Functional
end

-- The class that a model of one's own is where it is made of inputs and outputs: its methods, and
-- what a functional model does.
local function functional_kind(c)
  if c == Model then
    return functional()
  end
  local kind = rawget(c, "_functional")
  if not kind then
    local def, args = {}, { "inputs", "outputs" }
    for k, v in pairs(c._def) do
      def[k] = v
    end
    local above, options = functional_kind(c.super), {}
    def.args = table.move(def.args or {}, 1, #(def.args or {}), 3, args)
    for i = 3, #args do
      options[i - 2] = type(args[i]) == "table" and args[i][1] or args[i]
    end
    if #options > 0 and not def.get_config then
      function def.get_config(self)
        local out = above.get_config(self)
        for _, name in ipairs(options) do
          out[name] = object.serialize(self[name])
        end
        return out
      end
    end
    kind = base.derive(above, c.__name, def)
    kind._custom, kind._of_graph = true, options -- options of the class itself, by name
    c._functional = kind
  end
  return kind
end

-- Whether the arguments of a class without a call of its own are inputs and outputs.
local function is_graph(c, first, second)
  if not c._custom or c.call ~= Model.call then
    return false
  end
  local symbolic = require "tide.graph.symbolic"
  if check.is_plain(first) and first.outputs ~= nil or second == nil and check.is_plain(first)
    and first[2] ~= nil then
    first, second = first.inputs or first[1], first.outputs or first[2]
  end
  return symbolic.has(first) and symbolic.has(second)
end

--- Model for a person: a functional model from inputs and outputs, also for classes of one's own
--- that define no call.
Model._new = function(c, ...)
  if c == Model then
    return functional()(...)
  elseif is_graph(c, ...) then
    return functional_kind(c)(...)
  end
  return base._new(c, ...)
end

-- Of the configuration of a functional or Sequential model, given to Model or to a class that was
-- made of inputs and outputs, becomes such a model.
function Model._from_config(c, config)
  if type(config) == "table" and config.input_layers ~= nil and (c == Model or c._custom) then
    local kind = functional_kind(c)
    return functional()._from_config(function(o)
      for name in pairs(kind.args.index) do -- options of the class itself
        if o[name] == nil and config[name] ~= nil and not Model.args.index[name] then
          o[name] = object.revive(config[name])
        end
      end
      return kind(o)
    end, config)
  elseif c == Model and type(config) == "table" and config.layers ~= nil then
    return require("tide.models.sequential").from_config(config)
  end
  return base._from_config(c, config)
end

return Model

--- Names that Keras, TensorFlow and torch have and Tide spells otherwise or has not: methods that
--- raise and name Tide's way, and what a namespace or tensor says to such a name.
local check = require "tide.check"
local errors = require "tide.errors"

local foreign = {}

local function table_of(kind, says)
  local out = {}
  for name, text in pairs(says) do
    out[name] = function(self)
      local ok, label = pcall(function()
        return self:_label()
      end)
      errors.raise(ok and label or kind, "there is no method '%s'; %s", name, text)
    end
  end
  return out
end

local layer = {
  parameters = "the weights are fields: trainable_weights, non_trainable_weights, weights",
  named_parameters =
    "the weights are a field of each layer: for _, layer in ipairs(model.layers) do ... \z
    layer.weights ... end",
  state_dict = "get_weights() gives the values in order, save_weights(path) writes them by name, \z
    tide.saving.save_torch(model, path) as PyTorch's",
  load_state_dict = "set_weights(values) sets them in order, load_weights(path) reads them by \z
    name, tide.saving.load_torch(model, path) PyTorch's",
  zero_grad = "value_and_grad and fit begin with no gradients; after backward() set each \z
    weight's grad to nil",
  train = "fit trains; a call trains if told so: model(x, { training = true })",
  eval =
    "a call does not train unless told so: model(x); the loss and metrics of data are \z
    model:evaluate(x, y)",
  forward = "the model itself is called: model(x)",
  modules = "the layers are a field: layers",
  children = "the layers are a field: layers",
  requires_grad_ = "set the field: trainable = false",
  to = "weights are where tide.device or tide.set_default_device said when they were made, and \z
    stay of the option dtype",
  cuda = "this version computes on the CPU",
  cpu = "this version computes on the CPU, where the weights are",
  register_buffer = "self:add_state { shape, name = name } makes a tensor that is saved and not \z
    trained",
  register_parameter = "self:add_weight { shape, name = name } makes a weight",
  named_modules = "the layers are a field, each with its name: layers",
  named_children = "the layers are a field, each with its name: layers",
  buffers = "tensors that are kept and not trained are a field: states",
}
for _, name in ipairs { "half", "float", "double", "bfloat16" } do
  layer[name] = "the dtype is an option of each layer, or of all made later: \z
    tide.config.set_dtype_policy"
end

local model = {
  fit_generator = "fit takes generators: model:fit(generator, { epochs = 3 })",
  evaluate_generator = "evaluate takes generators",
  predict_generator = "predict takes generators",
  predict_classes = "the labels are model:predict(x):argmax(-1)",
  predict_proba = "predict gives what the last layer gives",
}
for name, text in pairs(layer) do
  model[name] = text
end

--- What layers, models, optimizers and metrics answer to such names: name -> function that raises.
foreign.layer = table_of("layer", layer)
foreign.model = table_of("model", model)
foreign.optimizer = table_of("optimizer", {
  step =
    "gradients are applied by optimizer:apply(grads, variables), grads from tide.value_and_grad \z
    or tide.grad",
  zero_grad =
    "value_and_grad and fit begin with no gradients; after backward() set each variable's grad to \z
    nil",
  minimize =
    "local loss, grads = tide.value_and_grad(f, variables), then optimizer:apply(grads, variables)",
  state_dict = "the state is the field variables",
  load_state_dict = "set_weights(values) sets what variables lists",
})

foreign.metric = table_of("metric", { reset_states = "did you mean 'reset_state'?" })

local LATER = "Tide does not have it yet"

-- Namespace, or "tensor" -> name -> what stands for it.
local names = {
  tide = {
    GradientTape = "tide.value_and_grad(f, vars) gives the loss and its gradients",
    Variable = "a tensor is one: tide.tensor(v, { requires_grad = true })",
    ["function"] = "functions run as they are; nothing needs to be compiled",
    Module = "a class of your own is tide.Layer:extend(name, { ... })",
    keras = "Keras' namespaces stand on tide itself: tide.layers, tide.losses",
    cuda = "this version computes on the CPU",
    manual_seed = "tide.seed(n) seeds all random numbers",
    Tensor = "tide.tensor(v) makes a tensor of numbers, tide.zeros(shape) one of zeros",
    from_numpy = "tide.load reads .npy and .npz files",
    mixed_precision = "tide.config.set_dtype_policy \"mixed_bfloat16\"",
    autograd = "tide.grad and tide.value_and_grad give gradients",
    Function = "tide.custom_gradient(f) gives a function a gradient of its own",
    cat = "tide.ops.concatenate joins along an axis, tide.ops.stack along a new one",
    optim = "tide.optimizers", randn = "tide.random.normal(shape)",
    rand = "tide.random.uniform(shape)", randperm = "tide.random.shuffle(tide.arange(1, n + 1))",
    applications = LATER .. "; tide.load_model reads models that Keras saved",
    export = LATER, compress = LATER,
  },
  ["tide.ops"] = {
    concat = "concatenate joins along an axis, stack along a new one",
    view_as = "reshape", asarray = "convert_to_tensor",
    reduce_sum = "sum", reduce_mean = "mean", reduce_max = "max", reduce_min = "min",
    matrix_transpose = "transpose, or swapaxes(x, -2, -1)",
  },
  ["tide.layers"] = {
    Module = "a class of your own is tide.Layer:extend(name, { ... })",
    TFSMLayer = "layers run in Tide alone, none wraps a TensorFlow SavedModel; save the model as \z
      .keras and open it with tide.load_model",
    JaxLayer = "layers run in Tide alone, none wraps a function of JAX; write it with tide.ops in \z
      a class of your own: tide.Layer:extend(name, { ... })",
    FlaxLayer = "layers run in Tide alone, none wraps a module of Flax; write it with tide.layers \z
      and set its weights: layer:set_weights(values)",
    TorchModuleWrapper = "layers run in Tide alone, none wraps a module of PyTorch; write it with \z
      tide.layers and set its weights: layer:set_weights(values)",
  },
  ["tide.losses"] = { SmoothL1Loss = "Huber", KLDivLoss = "KLDivergence", CTCLoss = "CTC" },
  ["tide.utils"] = {
    DataLoader = "fit takes tensors and batch_size, and shuffles them; a source of your own is an \z
      object with __len and get(i)",
    TensorDataset = "fit takes tensors as they are: model:fit(x, y)",
    Sequence = "an object with __len and get(i) is one, wherever data are taken",
    PyDataset = "an object with __len and get(i) is one, wherever data are taken",
    get_file = LATER,
  },
  tensor = {
    assign_add = "x:add_(y)", assign_sub = "x:subtract_(y)",
    chunk = "x:split(n, { axis = 1 })", masked_fill = "tide.ops.where(mask, value, x)",
    masked_fill_ = "x[mask] = value", detach_ = "x:detach(), which gives another tensor",
    cpu = "x:to \"cpu\"", cuda = "this version computes on the CPU",
    retain_grad = "x:register_hook(function(g) … end)", T = "x:transpose()",
    uniform_ = "x:copy_(tide.random.uniform(x.shape))",
    normal_ = "x:copy_(tide.random.normal(x.shape))",
  },
}
-- Keras' layers that are not there yet.
for name in ("RandomHeight RandomWidth"):gmatch "%w+" do
  names["tide.layers"][name] = names["tide.layers"][name] or LATER
end
foreign.names = names

--- What a message adds to an unknown name: what stands for it here, or the nearest name.
--- @param space string "tide", "tide.layers", "tensor"
--- @param key any
--- @param known table the names that there are
--- @return string begins with "; ", or ""
function foreign.hint(space, key, known)
  local says = names[space] and names[space][key]
  if says then
    return (says == LATER or says:find(LATER, 1, true) == 1) and "; " .. says
      or "; in Tide: " .. says
  end
  return check.did_you_mean(key, known)
end

return foreign

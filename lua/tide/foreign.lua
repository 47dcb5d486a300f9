--- Methods that torch and older Keras have and Tide has not: called, they raise and name Tide's
--- way.
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
  state_dict = "get_weights() gives the values in order, save_weights(path) writes them by name",
  load_state_dict = "set_weights(values) sets them in order, load_weights(path) reads them by name",
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
}

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

--- What layers, models and optimizers answer to such names: name -> function that raises.
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

return foreign

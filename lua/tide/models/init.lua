--- tide.models: Sequential, Model, Input, and making models from configurations.
local errors = require "tide.errors"
local functional = require "tide.models.functional"
local namespace = require "tide.namespace"
local none = require "tide.none"
local registry = require "tide.registry"
local Model = require "tide.models.model"
local Sequential = require "tide.models.sequential"

local backbones = require "tide.models.backbones"

local models = {
  Model = Model,
  Sequential = Sequential,
  Functional = functional.Functional,
  Input = functional.Input,
  GPT2Backbone = backbones.GPT2Backbone,
  BertBackbone = backbones.BertBackbone,
  ViTBackbone = backbones.ViTBackbone,
}

--- A model from the JSON text that `model:to_json()` gave. Weights are new.
---
---     tide.models.model_from_json(model:to_json())(x).shape   --> { 6, 3 }
function models.model_from_json(text)
  if type(text) ~= "string" then
    errors.raise("model_from_json", "takes the text of to_json (got %s)", type(text))
  end
  return models.model_from_config(require("tide.core").json_decode(text, none, "model_from_json"))
end

--- A model from { class_name, config }. Weights are new.
---
---     local config = { class_name = "Sequential", config = model:get_config() }
---     tide.models.model_from_config(config)(x).shape   --> { 6, 3 }
function models.model_from_config(config)
  if type(config) ~= "table" or type(config.class_name) ~= "string" then
    errors.raise("model_from_config", "takes { class_name = ..., config = ... }")
  end
  return registry.resolve("layer", config, "model_from_config")
end

models.clone_model = require "tide.models.clone"

--- Loads a model from a file; see tide.saving.
---
---     local model = tide.models.load_model "model.keras"
function models.load_model(...)
  return require("tide.saving").load_model(...)
end

--- Saves a model to a file; see tide.saving.
---
---     tide.models.save_model(model, "model.keras")
function models.save_model(...)
  return require("tide.saving").save_model(...)
end

return namespace.new("tide.models", models)

--- Preparing data, as Keras' keras.preprocessing: `tide.preprocessing.image` and its neighbours,
--- loaded when first used.
local registry = require "tide.registry"

return registry.namespace("tide.preprocessing", nil, {
  image = "tide.preprocessing.image",
}, nil, { image = true })

--- Preparing data, as Keras' keras.preprocessing: `tide.preprocessing.image` and its neighbours,
--- loaded when first used.
return require("tide.namespace").new("tide.preprocessing", {},
  { modules = { image = { "tide.preprocessing.image" } } })

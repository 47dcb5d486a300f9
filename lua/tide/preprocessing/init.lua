--- Preparing data, as Keras' keras.preprocessing: `tide.preprocessing.image`, `text` and
--- `sequence`, loaded when first used.
return require("tide.namespace").new("tide.preprocessing", {}, { modules = {
  image = { "tide.preprocessing.image" }, text = { "tide.preprocessing.text" },
  sequence = { "tide.preprocessing.sequence" },
} })

--- What once made all later calls slower, made before anything else: masks, integer inputs,
--- penalties, a layer of another dtype, a call in training mode. Nothing of it may be seen
--- afterwards, neither in values (`make specs-modes`) nor in speed (`make bench ROWS="mlp_small
--- mlp_small_after"`).
local tide = require "tide"
local layers = tide.layers

local ids = tide.Input { 3, dtype = "int32" }
local model = tide.Model { ids, layers.Dense {
  2, activity_regularizer = "l2" }(layers.GlobalAveragePooling1D()(layers.Embedding {
  5, 4, mask_zero = true }(ids))) }
model(tide.tensor({ { 1, 2, 0 }, { 3, 0, 0 } }, { dtype = "int32" }), { training = true })
layers.Masking()(tide.ones { 1, 2, 2 })
layers.Dense { 2, dtype = "float64" }(tide.ones { 1, 2 })
tide.Layer.reset_names()

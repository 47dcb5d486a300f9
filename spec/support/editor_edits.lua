-- Edits of a file's weights: what spec/ref/editor.py asks real Keras' editor to do too.
return function(editor)
  local tide = require "tide"
  editor:rename_object("layers/dense_1", "head")
  editor:delete_object "layers/batch_normalization"
  editor:delete_object "optimizer"
  editor:delete_weight("layers/dense", "1")
  editor:add_weights("layers/dense", { ["1"] = tide.tensor { 0.5, -0.5, 0.25, 1, 2 } })
  editor:add_object("layers/extra", { ["0"] = tide.ones { 2, 3 }, ["1"] = tide.zeros { 3 } })
end

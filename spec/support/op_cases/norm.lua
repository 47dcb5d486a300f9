local floats = { float32 = "float32", float64 = "float64" }
local eps = { epsilon = 1e-3 }

local function train(key, axis, more)
  local row = { op = "batch_norm_train_", label = key, ref = "train, " .. key,
    options = { axis = axis, momentum = 0.9, epsilon = 1e-3 }, grad = { 1, 2, 3 }, inout = { 4, 5 },
      gradgrad = true, length = 16 }
  for k, v in pairs(more or {}) do
    row[k] = v
  end
  return row
end

-- Offsets beside both ends of relu6.
local function clipped_train(activation)
  return { op = "batch_norm_train_", label = activation,
    options = { activation = activation, axis = 2 }, grad = { 1, 2, 3 }, inout = { 4, 5 },
    gradgrad = true,
    inputs = { { shape = { 9, 3 } }, { shape = { 3 }, from = 2, to = 3 },
      { shape = { 3 }, from = 1, to = 5 }, { shape = { 3 } },
      { shape = { 3 }, from = 0.5, to = 1 } },
    errors = { { inputs = { { shape = { 5, 3 } }, { shape = { 3 } }, { shape = { 3 } },
      { shape = { 3 } }, { shape = { 3 } } }, options = { activation = "tanh" },
        says = "activation must be linear, relu or relu6" } } }
end

return {
  { op = "batch_normalization", label = "last axis", ref = "given, last axis",
    options = { axis = -1 }, gradgrad = true, length = 8, dtypes = floats,
      empty = { inputs = { { 0, 3 }, { 3 }, { 3 } }, output = { 0, 3 } },
    errors = {
      { inputs = { { shape = { 2, 3 } }, { shape = { 2 } }, { shape = { 3 } } },
        says =
        "batch_normalization: mean does not fit axis 2 of the input (expected [3], got [2])" },
      { inputs = { { shape = { 2, 3 } }, { shape = { 3 } }, { shape = { 3 } } },
        options = { axis = 3 }, says = "no axis 3" },
    } },
  { op = "batch_normalization", label = "middle axis, plain", ref = "given, middle axis, plain",
    options = { axis = 2 }, length = 8 },
  { op = "batch_normalization", label = "relu", options = { relu = true }, gradgrad = true,
    inputs = { { shape = { 5, 3 } }, { shape = { 3 } }, { shape = { 3 }, from = 0.5, to = 2 },
      { shape = { 3 } }, { shape = { 3 } } } },
  train("last axis", -1),
  train("channels first", 2),
  train("matrix", -1),
  train("wide", -1, { gradgrad = false }),
  clipped_train "relu",
  clipped_train "relu6",
  { op = "layer_normalization", label = "last axis", ref = "layer, last axis", options = eps,
    gradgrad = true, length = 16, dtypes = floats,
      empty = { inputs = { { 0, 3 } }, output = { 0, 3 } },
    errors = {
      { inputs = { { shape = { 2, 3 } }, { shape = { 2 } } },
        says = "gamma does not fit the normalized axes (expected [3], got [2])" },
      { inputs = { { shape = { 2, 3 } } }, options = { axis = { 1, 1 } },
        says = "axis 1 is named twice" },
    } },
  { op = "layer_normalization", label = "two axes", ref = "layer, two axes",
    options = { axis = { 2, 3 }, epsilon = 1e-3 }, length = 16 },
  { op = "layer_normalization", label = "middle axis", ref = "layer, middle axis",
    options = { axis = 2, epsilon = 1e-3 }, length = 16 },
  { op = "rms_normalization", label = "last axis", ref = "rms", options = { epsilon = 1e-6 },
    gradgrad = true, length = 16, dtypes = floats },
  { op = "rms_normalization", label = "first axis, plain", ref = "rms, first axis, plain",
    options = { axis = 1, epsilon = 1e-6 }, length = 16 },
  { op = "group_normalization", label = "channels last", ref = "group, channels last",
    options = { groups = 3 }, gradgrad = true, length = 16, dtypes = floats, errors = {
      { inputs = { { shape = { 2, 3, 4 } } }, options = { groups = 3 },
        says = "groups must divide the channels (got 3 groups and 4 channels)" },
      { inputs = { { shape = { 2, 4 } } }, options = { groups = 2, axis = 1 },
        says = "the channel axis cannot be the batch axis 1" },
    } },
  { op = "group_normalization", label = "channels first", ref = "group, channels first",
    options = { groups = 2, axis = 2 }, length = 16 },
  { op = "moments", label = "two axes", ref = "moments", options = { axes = { 1, 3 } },
    gradgrad = true, length = 16,
      dtypes = { float32 = "float32", float64 = "float64", int32 = "float32" } },
  { op = "moments", label = "kept", ref = "moments, kept", options = { axes = 2, keepdims = true },
    length = 16 },
  { op = "normalize", label = "order 2", ref = "normalize", gradgrad = true, length = 16,
    dtypes = floats, errors = { { inputs = { { shape = { 2, 3 } } }, options = { order = 0.5 },
      says = "order must be at least 1 (got 0.5)" } } },
  { op = "normalize", label = "order 1", ref = "normalize, order 1",
    options = { order = 1, axis = 1 }, length = 16 },
  { op = "normalize", label = "order 3", ref = "normalize, order 3", options = { order = 3 },
    length = 16 },
}

-- One row per layer (or variant): how it is made, the shape of its input, what is known about it.
-- The runner in layers_spec.lua derives: value against Keras, output shape, parameters, gradients,
-- round trip. Rows of layers that Keras lacks stand in torch_layer_cases.lua.
--
--   { id, class, make, input shape or list of shapes, options }
-- options:
--   keras      the same layer in Python. `python spec/ref/make_layers.py ID` prints what it gives:
--   gives      { shape, params, values } of Keras; rows without it have theirs in
--              spec/ref/layers.lua
--   ids        n: the input is integers 1..n
--   training   the layer is called with training = true
--   no_config  it cannot go through a configuration
--   no_grad    its gradient is not that of central differences
local cases = {
  { "dense", "Dense", function(L) return L.Dense { 4 } end, { 2, 5 }, { keras = "L.Dense(4)" } },
  { "dense_relu", "Dense", function(L) return L.Dense { 4, activation = "relu" } end, { 2, 5 },
    { keras = 'L.Dense(4, activation="relu")' } },
  { "dense_softmax", "Dense", function(L)
    return L.Dense { 3, activation = "softmax", use_bias = false }
  end, { 2, 3, 5 },
    { keras = 'L.Dense(3, activation="softmax", use_bias=False)' } },
  { "dense_gelu", "Dense", function(L) return L.Dense { 3, "gelu" } end, { 2, 4 },
    { keras = 'L.Dense(3, activation="gelu")' } },
  { "embedding", "Embedding", function(L) return L.Embedding { 7, 3 } end, { 2, 4 },
    { ids = 7, keras = "L.Embedding(7, 3)" } },
  { "reversible_embedding", "ReversibleEmbedding", function(L)
    return L.ReversibleEmbedding { 7, 3, tie_weights = false }
  end, { 2, 4 },
    { ids = 7, keras = "L.ReversibleEmbedding(7, 3, tie_weights=False)",
      gives = { shape = { 2, 4, 3 }, params = 42, values = { 0, 0.4817791, 0.2577507, -0.34388307,
        -0.44172734, 0.107559994, 0.49927166, 0.15954918, -0.41391322, -0.3809918, 0.21008351,
        0.49338597, 0.053876825, -0.464562, -0.3024164, 0.30276993, 0.4643976, -0.054318298,
        -0.49345776, -0.20968045, 0.38127923, 0, 0.4817791, 0.2577507 } } } },
  { "identity", "Identity", function(L) return L.Identity() end, { 2, 3 },
    { keras = "L.Identity()" } },
  { "lambda", "Lambda", function(L) return L.Lambda { function(x) return x * x end } end, { 2, 3 },
    { no_config = true, keras = "L.Lambda(lambda x: x * x)" } },
  { "lambda_arguments", "Lambda", function(L)
    return L.Lambda { function(x, o) return x * o.by - o.less end,
      arguments = { by = 3, less = 1 } }
  end, { 2, 3 }, { no_config = true,
    keras = "L.Lambda(lambda x, by, less: x * by - less, arguments=dict(by=3.0, less=1.0))",
    gives = { shape = { 2, 3 }, params = 0, values = { -0.11343932, 1.5244129, 1.9749944, 1.0263896,
      -0.875258, -2.8355737 } } } },
  { "lambda_shape", "Lambda", function(L)
    return L.Lambda { function(x) return x:sum(-1) end,
      output_shape = function(shape) return { shape[1], shape[2] } end }
  end, { 2, 3, 4 }, { no_config = true,
    keras = "L.Lambda(lambda x: keras.ops.sum(x, -1), output_shape=lambda s: s[:-1])",
    gives = { shape = { 2, 3 }, params = 0, values = { 2.804119, -2.431262, 1.7774596, -0.9182622,
      -0.04704517, 1.0069163 } } } },
  { "lambda_wide", "Lambda", function(L)
    return L.Lambda { function(x) return x[{ {}, {}, 1 }] * 2 end, output_shape = { 3 },
      dtype = "float64" }
  end, { 2, 3, 2 }, { no_config = true,
    keras = "L.Lambda(lambda x: x[:, :, 0] * 2, output_shape=(3,))",
    gives = { shape = { 2, 3 }, params = 0, values = { 0.59104043, 1.9833297, 0.083161324,
      -1.9550602, -0.7477533, 1.7008733 } } } },
  { "masking", "Masking", function(L) return L.Masking() end, { 2, 3, 2 },
    { keras = "L.Masking(0.0)" } },
  { "rescaling", "Rescaling", function(L) return L.Rescaling { 0.5, offset = -1 } end, { 2, 3 },
    { keras = "L.Rescaling(0.5, offset=-1.0)" } },
  { "random_flip", "RandomFlip", function(L) return L.RandomFlip() end, { 2, 2, 2, 1 },
    { keras = "L.RandomFlip()", gives = { shape = { 2, 2, 2, 1 }, params = 0, values = {
      0.29552022, 0.84147096, 0.9916648, 0.6754632, 0.041580662, -0.6118579, -0.9775301,
      -0.8834547 } } } },
  { "resizing", "Resizing", function(L)
    return L.Resizing { 3, 2 }
  end, { 1, 2, 3, 1 },
    { keras = "L.Resizing(3, 2)", gives = { shape = { 1, 3, 2, 1 }, params = 0, values = {
      0.43200791, 0.95411634, 0.47450021, 0.25280905, 0.51699257, -0.44849825 } } } },
  { "center_crop", "CenterCrop", function(L)
    return L.CenterCrop { 2, 1 }
  end, { 1, 4, 3, 1 },
    { keras = "L.CenterCrop(2, 1)", gives = { shape = { 1, 2, 1, 1 }, params = 0, values = {
      0.041580662, -0.88345468 } } } },
  { "center_crop_grows", "CenterCrop", function(L)
    return L.CenterCrop { 3, 2, data_format = "channels_first" }
  end, { 1, 1, 2, 4 },
    { keras = 'L.CenterCrop(3, 2, data_format="channels_first")',
      gives = { shape = { 1, 1, 3, 2 }, params = 0, values = {
      0.84147096, 0.84147096, 0.11480653, 0.11480653, -0.6118579, -0.6118579 } } } },
  { "random_crop", "RandomCrop", function(L)
    return L.RandomCrop { 4, 2 }
  end, { 1, 4, 4, 1 },
    { training = true, keras = "L.RandomCrop(4, 2)",
      gives = { shape = { 1, 4, 2, 1 }, params = 0, values = {
        0.84147096, 0.99166483, -0.61185789, -0.97753012,
        0.31154135, 0.85043663, 0.024775425, -0.62507063 } } } },
  { "random_rotation", "RandomRotation", function(L)
    return L.RandomRotation { 0.1 }
  end, { 1, 2, 2, 1 },
    { keras = "L.RandomRotation(0.1)", gives = { shape = { 1, 2, 2, 1 }, params = 0, values = {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "random_translation", "RandomTranslation", function(L)
    return L.RandomTranslation { 0.1, 0.2 }
  end, { 1, 2, 2, 1 },
    { keras = "L.RandomTranslation(0.1, 0.2)", gives = { shape = { 1, 2, 2, 1 }, params = 0,
      values = {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "random_zoom", "RandomZoom", function(L)
    return L.RandomZoom { 0.1 }
  end, { 1, 2, 2, 1 },
    { keras = "L.RandomZoom(0.1)", gives = { shape = { 1, 2, 2, 1 }, params = 0, values = {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "random_shear", "RandomShear", function(L)
    return L.RandomShear { 0.1 }
  end, { 1, 2, 2, 1 },
    { keras = "L.RandomShear(0.1)", gives = { shape = { 1, 2, 2, 1 }, params = 0, values = {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "random_perspective", "RandomPerspective", function(L)
    return L.RandomPerspective()
  end, { 1, 2, 2, 1 },
    { keras = "L.RandomPerspective()", gives = { shape = { 1, 2, 2, 1 }, params = 0, values = {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "random_elastic_transform", "RandomElasticTransform", function(L)
    return L.RandomElasticTransform()
  end, { 1, 2, 2, 1 },
    { keras = "L.RandomElasticTransform()", gives = { shape = { 1, 2, 2, 1 }, params = 0, values =
      {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "max_num_bounding_boxes", "MaxNumBoundingBoxes", function(L)
    return L.MaxNumBoundingBoxes { 2 }
  end, { 1, 2, 2, 1 },
    { keras = "L.MaxNumBoundingBoxes(2)", gives = { shape = { 1, 2, 2, 1 }, params = 0, values = {
      0.29552022, 0.84147096, 0.99166483, 0.6754632 } } } },
  { "max_num_bounding_boxes_fill", "MaxNumBoundingBoxes", function(L)
    return L.MaxNumBoundingBoxes { 3, fill_value = -2 }
  end, { 1, 2, 1, 1 },
    { keras = "L.MaxNumBoundingBoxes(3, fill_value=-2)",
      gives = { shape = { 1, 2, 1, 1 }, params = 0, values = { 0.29552022, 0.84147096 } } } },
  { "max_num_bounding_boxes_first", "MaxNumBoundingBoxes", function(L)
    return L.MaxNumBoundingBoxes { 1, data_format = "channels_first" }
  end, { 1, 1, 2, 1 },
    { keras = 'L.MaxNumBoundingBoxes(1, data_format="channels_first")',
      gives = { shape = { 1, 1, 2, 1 }, params = 0, values = { 0.29552022, 0.84147096 } } } },
  { "pipeline", "Pipeline", function(L)
    return L.Pipeline { { L.RandomFlip(), L.Rescaling { 2 } } }
  end, { 1, 2, 2, 1 },
    { keras = "L.Pipeline([L.RandomFlip(), L.Rescaling(2)])", gives = { shape = { 1, 2, 2, 1 },
      params = 0, values = {
      0.59104043, 1.6829419, 1.9833297, 1.3509264 } } } },
  { "random_brightness", "RandomBrightness", function(L)
    return L.RandomBrightness { { 0.25, 0.25 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomBrightness((0.25, 0.25), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.7955202, 1, 1, 1, 0.5415807,
        -0.11185789, -0.47753012, -0.38345468, 0.12612334, 0.8115413, 1, 1, 1, 0.52477545,
        -0.12507063, -0.48093623, -0.37545216, 0.14177072, 0.8274745, 1, 1, 1, 0.5079632,
        -0.1381067, -0.484065, -0.36720216, 0.15751937, 0.8433149, 1, 1, 1, 0.49114868,
        -0.1509623, -0.48691553, -0.358707, 0.17336488 } } } },
  { "random_contrast", "RandomContrast", function(L)
    return L.RandomContrast { { 0, 0 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomContrast((0.0, 0.0), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.29552022, 0.84147096,
        0.9916648, 0.6754632, 0.041580662, -0.6118579, -0.9775301, -0.8834547, -0.37387666,
        0.31154135, 0.8504366, 0.98935825, 0.66296923, 0.024775425, -0.62507063, -0.9809362,
        -0.87545216, -0.35822928, 0.32747445, 0.8591618, 0.98677194, 0.65028787, 0.007963183,
        -0.6381067, -0.984065, -0.86720216, -0.34248063, 0.34331492, 0.8676441, 0.9839067,
        0.6374226, -0.008851309, -0.6509623, -0.9869155, -0.858707, -0.32663512 } } } },
  { "random_hue", "RandomHue", function(L)
    return L.RandomHue { { 0, 0 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomHue((0, 0), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.2955202, 0.84147084, 0.9916649,
        0.6754632, 0.041580677, -0.6118579, -0.9775301, -0.8834548, -0.3738767, 0.31154132,
        0.8504367, 0.9893582, 0.66296923, 0.024775386, -0.6250707, -0.9809362, -0.8754522,
        -0.35822928, 0.32747447, 0.85916185, 0.98677194, 0.65028787, 0.007963181, -0.6381067,
        -0.984065, -0.86720216, -0.34248066, 0.343315, 0.8676442, 0.98390675, 0.63742256,
        -0.008851349, -0.65096235, -0.9869155, -0.858707, -0.32663512 } } } },
  { "random_saturation", "RandomSaturation", function(L)
    return L.RandomSaturation { { 0.5, 0.5 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { no_grad = true, training = true,
      keras = "L.RandomSaturation((0.5, 0.5), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.29552042, 0.84147084,
        0.9916648, 0.6754632, 0.3428622, 0, -0.37387666, -0.37387666, -0.37387666, 0.3115416,
        0.8504366, 0.98935825, 0.66296923, 0.3344834, 0, -0.35822928, -0.35822928, -0.35822928,
        0.32747468, 0.8591619, 0.98677194, 0.65028787, 0.32608905, 0, -0.34248063, -0.34248063,
        -0.34248063, 0.34331515, 0.8676441, 0.9839067, 0.6374226, 0.31768155, 0, -0.32663512,
        -0.32663512, -0.32663512 } } } },
  { "random_color_degeneration", "RandomColorDegeneration", function(L)
    return L.RandomColorDegeneration { { 0.5, 0.5 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomColorDegeneration((0.5, 0.5), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.49542224, 0.76839757,
        0.84349453, 0.4160076, 0.09906633, -0.22765294, -0.91546184, -0.8684241, -0.6136351,
        0.5083271, 0.77777475, 0.84723556, 0.40220794, 0.08311103, -0.24181199, -0.9144333,
        -0.86169124, -0.6030798, 0.5210883, 0.786932, 0.85073704, 0.38829458, 0.06713223,
        -0.2559027, -0.91314626, -0.8547148, -0.59235406, 0.53370214, 0.7958667, 0.853998,
        0.3742714, 0.051134445, -0.26992106, -0.911601, -0.84749675, -0.58146083 } } } },
  { "random_sharpness", "RandomSharpness", function(L)
    return L.RandomSharpness { { 0.25, 0.25 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomSharpness((0.25, 0.25), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.26805145, 0.61781806,
        0.67701524, 0.4411501, 0.027162619, -0.39959982, -0.6630018, -0.64274156, -0.3201899,
        0.2785268, 0.62368023, 0.67550707, 0.43298095, 0.016174577, -0.40823892, -0.66522884,
        -0.63750917, -0.30995893, 0.2894448, 0.6281411, 0.6714128, 0.4247082, 0.005207022,
        -0.4167431, -0.6697067, -0.6334321, -0.29924446, 0.29980206, 0.6336872, 0.66953933,
        0.4162963, -0.0057870694, -0.42514867, -0.67157054, -0.6278776, -0.28888392 } } } },
  { "random_grayscale", "RandomGrayscale", function(L)
    return L.RandomGrayscale { 1 }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomGrayscale(1.0)",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.69532424, 0.69532424,
        0.69532424, 0.156552, 0.156552, 0.156552, -0.85339355, -0.85339355, -0.85339355,
        0.7051129, 0.7051129, 0.7051129, 0.14144664, 0.14144664, 0.14144664, -0.8479304,
        -0.8479304, -0.8479304, 0.7147021, 0.7147021, 0.7147021, 0.12630127, 0.12630127,
        0.12630127, -0.84222746, -0.84222746, -0.84222746, 0.7240893, 0.7240893, 0.7240893,
        0.111120194, 0.111120194, 0.111120194, -0.8362865, -0.8362865, -0.8362865 } } } },
  { "random_invert", "RandomInvert", function(L)
    return L.RandomInvert { { 1, 1 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomInvert((1, 1), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.7044798, 0.15852904,
        0.008335173, 0.3245368, 0.9584193, 1.6118579, 1.9775301, 1.8834547, 1.3738767,
        0.6884587, 0.14956337, 0.010641754, 0.33703077, 0.97522455, 1.6250706, 1.9809363,
        1.8754522, 1.3582293, 0.6725255, 0.1408382, 0.013228059, 0.34971213, 0.9920368,
        1.6381067, 1.984065, 1.8672022, 1.3424807, 0.6566851, 0.13235593, 0.016093314,
        0.36257738, 1.0088513, 1.6509624, 1.9869156, 1.858707, 1.3266351 } } } },
  { "random_posterization", "RandomPosterization", function(L)
    return L.RandomPosterization { { 3, 3 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { no_grad = true, training = true, keras = "L.RandomPosterization((3, 3), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.254902, 0.7568629, 0.7568629,
        0.5058825, 0.003921628, -0.7490196, -1, -1, -0.4980392, 0.254902, 0.7568629, 0.7568629,
        0.5058825, 0.003921628, -0.7490196, -1, -1, -0.4980392, 0.254902, 0.7568629, 0.7568629,
        0.5058825, 0.003921628, -0.7490196, -1, -1, -0.4980392, 0.254902, 0.7568629, 0.7568629,
        0.5058825, -0.24705875, -0.7490196, -1, -1, -0.4980392 } } } },
  { "solarization", "Solarization", function(L)
    return L.Solarization { value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { no_grad = true, training = true, keras = "L.Solarization(value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { -0.29552013, -0.84147096,
        -0.9916649, -0.67546314, -0.041580558, 0.611858, 0.97753024, 0.8834548, 0.3738768,
        -0.3115412, -0.8504367, -0.98935825, -0.66296923, -0.024775326, 0.6250707, 0.9809363,
        0.8754523, 0.35822928, -0.32747442, -0.85916185, -0.9867719, -0.6502878, -0.007963121,
        0.6381068, 0.9840652, 0.86720216, 0.34248078, -0.34331483, -0.8676441, -0.9839067,
        -0.63742256, 0.008851409, 0.6509625, 0.9869156, 0.8587071, 0.32663524 } } } },
  { "auto_contrast", "AutoContrast", function(L)
    return L.AutoContrast { value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { no_grad = true, keras = "L.AutoContrast(value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.54124236, 0.9896585, 1, 1,
        0.06700492, -0.98365504, -0.99588734, -1, -0.6892578, 0.5605869, 1, 0.9971467,
        0.98491454, 0.047620535, -1, -1, -0.99076927, -0.669901, 0.6056529, 0.9902216, 1, 1,
        0.008925676, -0.9843008, -0.9965178, -1, -0.6232824, 0.62500346, 1, 0.9965012,
        0.98428404, -0.010458767, -1, -1, -0.9902064, -0.60393184 } } } },
  { "equalization", "Equalization", function(L)
    return L.Equalization { value_range = { -1, 1 }, bins = 16 }
  end, { 2, 2, 3, 3 },
    { no_grad = true, training = true, keras = "L.Equalization(value_range=(-1, 1), bins=16)",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { -0.24705875, 0.7803923, 1, 1,
        0.11372554, -1, -1, -1, -0.24705875, -0.24705875, 0.7803923, 1, 1, 0.11372554, -1, -1,
        -1, -0.24705875, -0.24705875, 0.7803923, 1, 1, 0.11372554, -1, -1, -1, -0.24705875,
        0.003921628, 1, 1, 1, 0.11372554, -1, -1, -0.78039217, 0.003921628 } } } },
  { "clahe", "ContrastLimitedAdaptiveHistogramEqualization", function(L)
    return L.ContrastLimitedAdaptiveHistogramEqualization {
      value_range = { -1, 1 }, tile_grid_size = { 2, 2 } }
  end, { 2, 4, 5, 3 },
    { no_grad = true,
      keras = "L.ContrastLimitedAdaptiveHistogramEqualization(value_range=(-1, 1), \z
        tile_grid_size=(2, 2))",
      gives = { shape = { 2, 4, 5, 3 }, params = 0, values = { 0.2553754, 0.8194293, 0.98554385,
        0.69641674, 0.063334584, -0.58309335, -0.9541394, -0.87381876, -0.34372008, 0.28010094,
        0.82407343, 0.9854208, 0.6795552, 0.01827538, -0.6240951, -0.9541807, -0.8306995,
        -0.28906584, 0.31565094, 0.87210596, 0.98554385, 0.64244676, -0.0016542673, -0.6404253,
        -0.9540568, -0.83730555, -0.30086756, 0.3476342, 0.87572753, 0.9466436, 0.6289128,
        -0.010657787, -0.6505972, -0.97709036, -0.8250643, -0.27583456, 0.32981467, 0.86997986,
        0.9625726, 0.61873305, -0.03313887, -0.6703111, -0.97698706, -0.82712936, -0.27859527,
        0.35902, 0.89342165, 0.9783156, 0.6072283, -0.039078712, -0.67228174, -0.96138805,
        -0.79957986, -0.23464262, 0.36867905, 0.8988055, 0.95516014, 0.58221483, -0.06736308,
        -0.6879674, -1, -0.81942916, -0.25934088, 0.34631908, 0.8762711, 0.9715792, 0.6012113,
        -0.043673515, -0.6709479, -1, -0.809617, -0.24214417, 0.39869797, 0.9122782, 0.9582224,
        0.56425416, -0.08881533, -0.71285063, -1, -0.77385765, -0.19245374, 0.40986633,
        0.9142455, 0.9381348, 0.5424464, -0.10480672, -0.73133105, -1, -0.7545177, -0.18428528,
        0.40631044, 0.906162, 0.92600775, 0.5348809, -0.11723626, -0.7341663, -1, -0.76976967,
        -0.1834538, 0.42311776, 0.9120368, 0.91804075, 0.5212873, -0.13785118, -0.7503929, -1,
        -0.74543667, -0.1498223, 0.44427168, 0.93605304, 0.91890264, 0.5115597, -0.15172487,
        -0.75947934, -1, -0.7433392, -0.15418184, 0.47874188, 0.9415189, 0.90492785 } } } },
  { "random_color_jitter", "RandomColorJitter", function(L)
    return L.RandomColorJitter { value_range = { -1, 1 }, brightness_factor = { -0.1, -0.1 } }
  end, { 2, 2, 3, 3 },
    { training = true,
      keras = "L.RandomColorJitter(value_range=(-1, 1), brightness_factor=(-0.1, -0.1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.09552021, 0.64147097,
        0.79166484, 0.4754632, -0.15841934, -0.8118579, -1, -1, -0.5738767, 0.111541346,
        0.65043664, 0.78935826, 0.46296924, -0.17522457, -0.8250706, -1, -1, -0.55822927,
        0.12747444, 0.6591618, 0.78677195, 0.45028788, -0.19203682, -0.8381067, -1, -1,
        -0.54248065, 0.14331491, 0.6676441, 0.7839067, 0.43742263, -0.20885131, -0.8509623, -1,
        -1, -0.5266351 } } } },
  { "random_erasing", "RandomErasing", function(L)
    return L.RandomErasing { { 1, 1 }, scale = { 1, 1 }, fill_value = 7 }
  end, { 2, 2, 3, 3 },
    { training = true, keras = "L.RandomErasing((1, 1), scale=(1, 1), fill_value=7)",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 } } } },
  { "cut_mix", "CutMix", function(L)
    return L.CutMix()
  end, { 1, 2, 3, 3 },
    { training = true, keras = "L.CutMix()",
      gives = { shape = { 1, 2, 3, 3 }, params = 0, values = { 0.29552022, 0.84147096,
        0.9916648, 0.6754632, 0.041580662, -0.6118579, -0.9775301, -0.8834547, -0.37387666,
        0.31154135, 0.8504366, 0.98935825, 0.66296923, 0.024775425, -0.62507063, -0.9809362,
        -0.87545216, -0.35822928 } } } },
  { "mix_up", "MixUp", function(L)
    return L.MixUp { seed = 1 }
  end, { 1, 2, 3, 3 },
    { training = true, keras = "L.MixUp(seed=1)",
      gives = { shape = { 1, 2, 3, 3 }, params = 0, values = { 0.29552022, 0.84147096,
        0.9916648, 0.6754632, 0.041580662, -0.6118579, -0.9775301, -0.8834547, -0.37387666,
        0.31154135, 0.8504366, 0.98935825, 0.66296923, 0.024775425, -0.6250706, -0.9809362,
        -0.87545216, -0.35822928 } } } },
  { "random_gaussian_blur", "RandomGaussianBlur", function(L)
    return L.RandomGaussianBlur { { 1, 1 }, sigma = { 0.8, 0.8 }, value_range = { -1, 1 } }
  end, { 2, 2, 3, 3 },
    { training = true,
      keras = "L.RandomGaussianBlur((1, 1), sigma=(0.8, 0.8), value_range=(-1, 1))",
      gives = { shape = { 2, 2, 3, 3 }, params = 0, values = { 0.24153213, 0.34199825,
        0.28161728, 0.14345044, 0.007754836, -0.131588, -0.26661494, -0.34335423, -0.25860864,
        0.24305396, 0.3421861, 0.2803828, 0.14245789, 0.0064197853, -0.13263765, -0.26796323,
        -0.34330863, -0.2571906, 0.2496035, 0.34285092, 0.2748502, 0.13804772, 0.00057303533,
        -0.13717115, -0.2737416, -0.34295112, -0.25086537, 0.25107354, 0.34296677, 0.27355736,
        0.1370257, -0.0007627569, -0.13819245, -0.27503297, -0.3428334, -0.24939393 } } } },
  { "rand_augment", "RandAugment", function(L)
    return L.RandAugment { value_range = { -1, 1 }, num_ops = 0 }
  end, { 2, 4, 4, 3 },
    { training = true, keras = "L.RandAugment(value_range=(-1, 1), num_ops=0)",
      gives = { shape = { 2, 4, 4, 3 }, params = 0, values = { 0.29552022, 0.84147096,
        0.9916648, 0.6754632, 0.041580662, -0.6118579, -0.9775301, -0.8834547, -0.37387666,
        0.31154135, 0.8504366, 0.98935825, 0.66296923, 0.024775425, -0.62507063, -0.9809362,
        -0.87545216, -0.35822928, 0.32747445, 0.8591618, 0.98677194, 0.65028787, 0.007963183,
        -0.6381067, -0.984065, -0.86720216, -0.34248063, 0.34331492, 0.8676441, 0.9839067,
        0.6374226, -0.008851309, -0.6509623, -0.9869155, -0.858707, -0.32663512, 0.35905835,
        0.8758811, 0.98076326, 0.62437713, -0.0256633, -0.6636339, -0.9894871, -0.849969,
        -0.3106973, 0.37470028, 0.8838704, 0.9773425, 0.61115515, -0.042468034, -0.67611784,
        -0.99177885, -0.8409908, -0.2946716, 0.39023623, 0.89160985, 0.97364545, 0.5977604,
        -0.059260763, -0.68841064, -0.9937902, -0.8317748, -0.2785626, 0.40566188, 0.89909726,
        0.9696731, 0.58419657, -0.07603674, -0.7005088, -0.9955206, -0.82232356, -0.26237485,
        0.42097282, 0.9063304, 0.9654266, 0.57046765, -0.092791215, -0.7124089, -0.9969696,
        -0.81263983, -0.24611293, 0.43616477, 0.9133073, 0.9609072, 0.5565774, -0.10951945,
        -0.72410756, -0.99813664, -0.8027264, -0.2297814, 0.45123336, 0.92002606, 0.9561161,
        0.5425298, -0.12621672, -0.73560154 } } } },
  { "aug_mix", "AugMix", function(L)
    return L.AugMix { value_range = { -1, 1 }, chain_depth = 0, seed = 1 }
  end, { 2, 4, 4, 3 },
    { no_grad = true, training = true,
      keras = "L.AugMix(value_range=(-1, 1), chain_depth=0, seed=1)",
      gives = { shape = { 2, 4, 4, 3 }, params = 0, values = { 0.29552025, 0.84147096,
        0.9916649, 0.67546326, 0.041580666, -0.6118579, -0.9775301, -0.8834547, -0.3738767,
        0.31154138, 0.8504367, 0.9893583, 0.66296923, 0.024775425, -0.62507063, -0.9809363,
        -0.87545216, -0.3582293, 0.32747447, 0.85916185, 0.98677206, 0.65028787, 0.007963184,
        -0.63810676, -0.98406506, -0.8672022, -0.34248063, 0.34331495, 0.86764413, 0.98390675,
        0.6374227, -0.008851309, -0.6509623, -0.9869156, -0.8587071, -0.32663515, 0.35905838,
        0.8758812, 0.9807633, 0.62437713, -0.025663301, -0.66363394, -0.9894872, -0.8499691,
        -0.3106973, 0.3747003, 0.8838704, 0.9773426, 0.61115515, -0.042468037, -0.6761179,
        -0.99177885, -0.84099084, -0.2946716, 0.39023626, 0.89160985, 0.97364557, 0.5977604,
        -0.059260767, -0.68841064, -0.99379027, -0.83177483, -0.2785626, 0.4056619, 0.8990973,
        0.96967316, 0.5841966, -0.076036744, -0.7005088, -0.9955207, -0.82232356, -0.26237488,
        0.42097282, 0.90633047, 0.9654267, 0.5704677, -0.09279122, -0.712409, -0.99696964,
        -0.81263983, -0.24611294, 0.4361648, 0.9133073, 0.9609072, 0.5565774, -0.10951945,
        -0.7241076, -0.99813664, -0.80272645, -0.22978142, 0.45123336, 0.92002606, 0.9561162,
        0.5425298, -0.12621672, -0.73560154 } } } },
  { "activation", "Activation", function(L) return L.Activation { "tanh" } end, { 2, 3 },
    { keras = 'L.Activation("tanh")' } },
  { "relu", "ReLU", function(L)
    return L.ReLU { max_value = 0.6, negative_slope = 0.1, threshold = 0.1 }
  end, { 3, 4 },
    { keras = "L.ReLU(max_value=0.6, negative_slope=0.1, threshold=0.1)" } },
  { "leaky_relu", "LeakyReLU", function(L) return L.LeakyReLU() end, { 3, 4 },
    { keras = "L.LeakyReLU()" } },
  { "prelu", "PReLU", function(L) return L.PReLU { shared_axes = { 2 } } end, { 2, 3, 4 },
    { keras = "L.PReLU(shared_axes=[1])" } },
  { "elu", "ELU", function(L) return L.ELU { 0.7 } end, { 3, 4 }, { keras = "L.ELU(alpha=0.7)" } },
  { "softmax", "Softmax", function(L) return L.Softmax() end, { 3, 4 }, { keras = "L.Softmax()" } },
  { "softmax_two_axes", "Softmax", function(L)
    return L.Softmax { axis = { 2, 3 } }
  end, { 2, 3, 4 },
    { keras = "L.Softmax(axis=[1, 2])" } },
  { "conv1d", "Conv1D", function(L) return L.Conv1D { 3, 2 } end, { 2, 6, 2 },
    { keras = "L.Conv1D(3, 2)" } },
  { "conv1d_causal", "Conv1D", function(L)
    return L.Conv1D { 3, 3, padding = "causal", dilation_rate = 2, activation = "relu" }
  end, { 2, 7, 2 },
    { keras = 'L.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu")' } },
  { "conv2d", "Conv2D", function(L)
    return L.Conv2D { 3, 3, activation = "relu" }
  end, { 2, 5, 6, 2 },
    { keras = 'L.Conv2D(3, 3, activation="relu")' } },
  { "conv2d_same", "Conv2D", function(L)
    return L.Conv2D { 4, { 3, 2 }, strides = 2, padding = "same", groups = 2 }
  end, { 2, 5, 6, 4 }, { keras = 'L.Conv2D(4, (3, 2), strides=2, padding="same", groups=2)' } },
  { "conv2d_tanh", "Conv2D", function(L)
    return L.Conv2D { 2, 2, dilation_rate = 2, activation = "softplus" }
  end, { 1, 5, 5, 2 }, { keras = 'L.Conv2D(2, 2, dilation_rate=2, activation="softplus")' } },
  { "conv2d_first", "Conv2D", function(L)
    return L.Conv2D { 3, 2, data_format = "channels_first" }
  end, { 1, 2, 4, 3 },
    { keras = 'L.Conv2D(3, 2, data_format="channels_first")' } },
  { "conv3d", "Conv3D", function(L)
    return L.Conv3D { 2, 2, padding = "same" }
  end, { 1, 3, 4, 3, 2 },
    { keras = 'L.Conv3D(2, 2, padding="same")' } },
  { "conv1d_transpose", "Conv1DTranspose", function(L)
    return L.Conv1DTranspose { 3, 3, strides = 2 }
  end, { 2, 4, 2 },
    { keras = "L.Conv1DTranspose(3, 3, strides=2)" } },
  { "conv2d_transpose", "Conv2DTranspose", function(L)
    return L.Conv2DTranspose { 2, 3, strides = 2, padding = "same", activation = "relu" }
  end, { 2, 3, 3, 2 },
    { keras = 'L.Conv2DTranspose(2, 3, strides=2, padding="same", activation="relu")' } },
  { "conv2d_transpose_output_padding", "Conv2DTranspose", function(L)
    return L.Conv2DTranspose { 2, 3, strides = 2, padding = "same", output_padding = 1 }
  end, { 1, 3, 3, 2 },
    { keras = 'L.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1)' } },
  { "conv3d_transpose", "Conv3DTranspose", function(L)
    return L.Conv3DTranspose { 2, 2, strides = 2 }
  end, { 1, 2, 2, 2, 2 },
    { keras = "L.Conv3DTranspose(2, 2, strides=2)" } },
  { "depthwise_conv1d", "DepthwiseConv1D", function(L)
    return L.DepthwiseConv1D { 3, depth_multiplier = 2 }
  end, { 2, 6, 2 },
    { keras = "L.DepthwiseConv1D(3, depth_multiplier=2)" } },
  { "depthwise_conv2d", "DepthwiseConv2D", function(L)
    return L.DepthwiseConv2D { 3, strides = 2, padding = "same", activation = "relu" }
  end, { 2, 5, 5, 3 },
    { keras = 'L.DepthwiseConv2D(3, strides=2, padding="same", activation="relu")' } },
  { "separable_conv1d", "SeparableConv1D", function(L)
    return L.SeparableConv1D { 4, 3, padding = "same" }
  end, { 2, 5, 2 },
    { keras = 'L.SeparableConv1D(4, 3, padding="same")' } },
  { "separable_conv2d", "SeparableConv2D", function(L)
    return L.SeparableConv2D { 4, 2, depth_multiplier = 2 }
  end, { 2, 4, 4, 2 }, { keras = "L.SeparableConv2D(4, 2, depth_multiplier=2)" } },
  { "max_pooling1d", "MaxPooling1D", function(L) return L.MaxPooling1D { 2 } end, { 2, 5, 2 },
    { keras = "L.MaxPooling1D(2)" } },
  { "max_pooling2d", "MaxPooling2D", function(L)
    return L.MaxPooling2D { 3, strides = 2, padding = "same" }
  end, { 2, 5, 5, 2 },
    { keras = 'L.MaxPooling2D(3, strides=2, padding="same")' } },
  { "max_pooling2d_first", "MaxPooling2D", function(L)
    return L.MaxPooling2D { 2, data_format = "channels_first" }
  end, { 1, 2, 4, 4 }, { keras = 'L.MaxPooling2D(2, data_format="channels_first")' } },
  { "max_pooling3d", "MaxPooling3D", function(L) return L.MaxPooling3D { 2 } end, { 1, 4, 4, 4, 2 },
    { keras = "L.MaxPooling3D(2)" } },
  { "average_pooling1d", "AveragePooling1D", function(L)
    return L.AveragePooling1D { 2, strides = 1, padding = "same" }
  end, { 2, 5, 2 }, { keras = 'L.AveragePooling1D(2, strides=1, padding="same")' } },
  { "average_pooling2d", "AveragePooling2D", function(L)
    return L.AveragePooling2D { { 2, 3 } }
  end, { 2, 5, 6, 2 },
    { keras = "L.AveragePooling2D((2, 3))" } },
  { "average_pooling3d", "AveragePooling3D", function(L)
    return L.AveragePooling3D { 2 }
  end, { 1, 4, 4, 4, 2 },
    { keras = "L.AveragePooling3D(2)" } },
  { "global_max_pooling1d", "GlobalMaxPooling1D", function(L)
    return L.GlobalMaxPooling1D()
  end, { 2, 5, 3 },
    { keras = "L.GlobalMaxPooling1D()" } },
  { "global_max_pooling2d", "GlobalMaxPooling2D", function(L)
    return L.GlobalMaxPooling2D { keepdims = true }
  end, { 2, 3, 3, 3 }, { keras = "L.GlobalMaxPooling2D(keepdims=True)" } },
  { "global_max_pooling3d", "GlobalMaxPooling3D", function(L)
    return L.GlobalMaxPooling3D()
  end, { 2, 2, 2, 2, 3 },
    { keras = "L.GlobalMaxPooling3D()" } },
  { "global_average_pooling1d", "GlobalAveragePooling1D", function(L)
    return L.GlobalAveragePooling1D()
  end, { 2, 5, 3 },
    { keras = "L.GlobalAveragePooling1D()" } },
  { "global_average_pooling2d", "GlobalAveragePooling2D", function(L)
    return L.GlobalAveragePooling2D { data_format = "channels_first" }
  end, { 2, 3, 4, 2 }, { keras = 'L.GlobalAveragePooling2D(data_format="channels_first")' } },
  { "global_average_pooling3d", "GlobalAveragePooling3D", function(L)
    return L.GlobalAveragePooling3D()
  end, { 2, 2, 2, 2, 3 },
    { keras = "L.GlobalAveragePooling3D()" } },
  { "adaptive_average_pooling1d", "AdaptiveAveragePooling1D", function(L)
    return L.AdaptiveAveragePooling1D { 3 }
  end, { 2, 7, 2 }, { keras = "L.AdaptiveAveragePooling1D(3)" } },
  { "adaptive_average_pooling2d", "AdaptiveAveragePooling2D", function(L)
    return L.AdaptiveAveragePooling2D { { 2, 3 } }
  end, { 2, 5, 7, 2 }, { keras = "L.AdaptiveAveragePooling2D((2, 3))" } },
  { "adaptive_average_pooling3d", "AdaptiveAveragePooling3D", function(L)
    return L.AdaptiveAveragePooling3D { 2 }
  end, { 1, 5, 4, 3, 2 }, { keras = "L.AdaptiveAveragePooling3D(2)" } },
  { "adaptive_average_pooling3d_first", "AdaptiveAveragePooling3D", function(L)
    return L.AdaptiveAveragePooling3D { { 2, 1, 3 }, data_format = "channels_first" }
  end, { 1, 1, 3, 2, 4 },
    { keras = 'L.AdaptiveAveragePooling3D((2, 1, 3), data_format="channels_first")',
      gives = { shape = { 1, 1, 2, 1, 3 }, params = 0, values = { 0.14901541, 0.10067881,
        0.0049913973, 0.12859847, 0.14864737, 0.098785095 } } } },
  { "adaptive_max_pooling1d_first", "AdaptiveMaxPooling1D", function(L)
    return L.AdaptiveMaxPooling1D { 2, data_format = "channels_first" }
  end, { 2, 2, 5 },
    { keras = 'L.AdaptiveMaxPooling1D(2, data_format="channels_first")',
      gives = { shape = { 2, 2, 2 }, params = 0, values = { 0.9916648, 0.9916648, -0.6118579,
        0.31154135, 0.98935825, 0.66296923, -0.35822928, 0.8591618 } } } },
  { "adaptive_max_pooling3d_sizes", "AdaptiveMaxPooling3D", function(L)
    return L.AdaptiveMaxPooling3D { { 1, 2, 3 } }
  end, { 1, 3, 3, 4, 1 },
    { keras = "L.AdaptiveMaxPooling3D((1, 2, 3))",
      gives = { shape = { 1, 1, 2, 3, 1 }, params = 0, values = { 0.9839067, 0.9916648,
        0.9916648, 0.98677194, 0.9839067, 0.98935825 } } } },
  { "adaptive_max_pooling1d", "AdaptiveMaxPooling1D", function(L)
    return L.AdaptiveMaxPooling1D { 3 }
  end, { 2, 7, 2 },
    { keras = "L.AdaptiveMaxPooling1D(3)" } },
  { "adaptive_max_pooling2d", "AdaptiveMaxPooling2D", function(L)
    return L.AdaptiveMaxPooling2D { { 2, 3 } }
  end, { 2, 5, 7, 2 }, { keras = "L.AdaptiveMaxPooling2D((2, 3))" } },
  { "adaptive_max_pooling3d", "AdaptiveMaxPooling3D", function(L)
    return L.AdaptiveMaxPooling3D { 2 }
  end, { 1, 5, 4, 3, 2 },
    { keras = "L.AdaptiveMaxPooling3D(2)" } },
  { "batch_normalization", "BatchNormalization", function(L)
    return L.BatchNormalization()
  end, { 3, 4 },
    { keras = "L.BatchNormalization()" } },
  { "batch_normalization_train", "BatchNormalization", function(L)
    return L.BatchNormalization { momentum = 0.8 }
  end, { 4, 2, 2, 3 }, { training = true, keras = "L.BatchNormalization(momentum=0.8)" } },
  { "batch_normalization_axis", "BatchNormalization", function(L)
    return L.BatchNormalization { axis = 2, scale = false }
  end, { 4, 2, 3 }, { training = true, keras = "L.BatchNormalization(axis=1, scale=False)" } },
  -- the corrections depend on the running statistics, which change from call to call
  { "batch_normalization_renorm", "BatchNormalization", function(L)
    return L.BatchNormalization {
      renorm = true, renorm_clipping = { rmax = 1.2, rmin = 0.5, dmax = 0.3 } }
  end, { 4, 3 },
    { training = true, no_grad = true,
      keras =
        'L.BatchNormalization(renorm=True, renorm_clipping=dict(rmax=1.2, rmin=0.5, dmax=0.3))' } },
  { "layer_normalization", "LayerNormalization", function(L)
    return L.LayerNormalization()
  end, { 2, 3, 4 },
    { keras = "L.LayerNormalization()" } },
  { "layer_normalization_axes", "LayerNormalization", function(L)
    return L.LayerNormalization { axis = { 2, 3 }, center = false }
  end, { 2, 3, 4 }, { keras = "L.LayerNormalization(axis=[1, 2], center=False)" } },
  { "group_normalization", "GroupNormalization", function(L)
    return L.GroupNormalization { 2 }
  end, { 2, 3, 3, 4 },
    { keras = "L.GroupNormalization(2)" } },
  { "rms_normalization", "RMSNormalization", function(L)
    return L.RMSNormalization()
  end, { 2, 3, 4 },
    { keras = "L.RMSNormalization()" } },
  { "unit_normalization", "UnitNormalization", function(L)
    return L.UnitNormalization()
  end, { 2, 3, 4 },
    { keras = "L.UnitNormalization()" } },
  { "normalization", "Normalization", function(L) return L.Normalization() end, { 2, 3, 4 },
    { keras = "L.Normalization()" } },
  { "normalization_axes", "Normalization", function(L)
    return L.Normalization { { 2, 3 }, invert = true }
  end, { 2, 3, 4 },
    { keras = "L.Normalization(axis=[1, 2], invert=True)" } },
  { "normalization_given", "Normalization", function(L)
    return L.Normalization { mean = 1.5, variance = 2.0 }
  end, { 2, 3 },
    { keras = "L.Normalization(mean=1.5, variance=2.0)" } },
  { "normalization_none", "Normalization", function(L)
    return L.Normalization { axis = require "tide.none" }
  end, { 2, 3 },
    { keras = "L.Normalization(axis=None)" } },
  { "dropout", "Dropout", function(L) return L.Dropout { 0.5 } end, { 2, 3 },
    { keras = "L.Dropout(0.5)" } },
  { "spatial_dropout1d", "SpatialDropout1D", function(L)
    return L.SpatialDropout1D { 0.5 }
  end, { 2, 3, 2 },
    { keras = "L.SpatialDropout1D(0.5)" } },
  { "spatial_dropout2d", "SpatialDropout2D", function(L)
    return L.SpatialDropout2D { 0.5 }
  end, { 2, 3, 2, 2 },
    { keras = "L.SpatialDropout2D(0.5)" } },
  { "spatial_dropout3d", "SpatialDropout3D", function(L)
    return L.SpatialDropout3D { 0.5 }
  end, { 2, 2, 2, 2, 2 },
    { keras = "L.SpatialDropout3D(0.5)" } },
  { "alpha_dropout", "AlphaDropout", function(L) return L.AlphaDropout { 0.5 } end, { 2, 3 },
    { keras = "L.AlphaDropout(0.5)" } },
  { "gaussian_dropout", "GaussianDropout", function(L)
    return L.GaussianDropout { 0.5 }
  end, { 2, 3 },
    { keras = "L.GaussianDropout(0.5)" } },
  { "gaussian_noise", "GaussianNoise", function(L) return L.GaussianNoise { 0.5 } end, { 2, 3 },
    { keras = "L.GaussianNoise(0.5)" } },
  { "activity_regularization", "ActivityRegularization", function(L)
    return L.ActivityRegularization { l1 = 0.1, l2 = 0.2 }
  end, { 2, 3 }, { keras = "L.ActivityRegularization(l1=0.1, l2=0.2)" } },
  { "reshape", "Reshape", function(L) return L.Reshape { 2, -1 } end, { 2, 3, 4 },
    { keras = "L.Reshape((2, -1))" } },
  { "flatten", "Flatten", function(L) return L.Flatten() end, { 2, 3, 4 },
    { keras = "L.Flatten()" } },
  { "flatten_first", "Flatten", function(L)
    return L.Flatten { data_format = "channels_first" }
  end, { 2, 3, 4 },
    { keras = 'L.Flatten(data_format="channels_first")' } },
  { "permute", "Permute", function(L) return L.Permute { 2, 1 } end, { 2, 3, 4 },
    { keras = "L.Permute((2, 1))" } },
  { "repeat_vector", "RepeatVector", function(L) return L.RepeatVector { 3 } end, { 2, 4 },
    { keras = "L.RepeatVector(3)" } },
  { "zero_padding1d", "ZeroPadding1D", function(L)
    return L.ZeroPadding1D { { 1, 2 } }
  end, { 2, 3, 2 },
    { keras = "L.ZeroPadding1D((1, 2))" } },
  { "zero_padding2d", "ZeroPadding2D", function(L)
    return L.ZeroPadding2D { { { 1, 0 }, { 0, 2 } } }
  end, { 2, 3, 2, 2 },
    { keras = "L.ZeroPadding2D(((1, 0), (0, 2)))" } },
  { "zero_padding3d", "ZeroPadding3D", function(L)
    return L.ZeroPadding3D { 1 }
  end, { 1, 2, 2, 2, 2 },
    { keras = "L.ZeroPadding3D(1)" } },
  { "cropping1d", "Cropping1D", function(L) return L.Cropping1D { { 1, 2 } } end, { 2, 5, 2 },
    { keras = "L.Cropping1D((1, 2))" } },
  { "cropping2d", "Cropping2D", function(L)
    return L.Cropping2D { { { 1, 0 }, { 0, 2 } } }
  end, { 2, 3, 4, 2 },
    { keras = "L.Cropping2D(((1, 0), (0, 2)))" } },
  { "cropping3d_sides", "Cropping3D", function(L)
    return L.Cropping3D { { { 0, 1 }, { 1, 0 }, { 0, 2 } } }
  end, { 1, 3, 2, 4, 1 }, { keras = "L.Cropping3D(((0, 1), (1, 0), (0, 2)))",
      gives = { shape = { 1, 2, 1, 2, 1 }, params = 0, values = { 0.041580662,
      -0.6118579, 0.66296923, 0.024775425 } } } },
  { "cropping3d", "Cropping3D", function(L) return L.Cropping3D() end, { 1, 3, 3, 4, 2 },
    { keras = "L.Cropping3D(1)" } },
  { "up_sampling1d", "UpSampling1D", function(L) return L.UpSampling1D { 3 } end, { 2, 3, 2 },
    { keras = "L.UpSampling1D(3)" } },
  { "up_sampling2d", "UpSampling2D", function(L)
    return L.UpSampling2D { { 2, 3 } }
  end, { 2, 2, 3, 2 },
    { keras = "L.UpSampling2D((2, 3))" } },
  { "up_sampling2d_bilinear", "UpSampling2D", function(L)
    return L.UpSampling2D { 2, interpolation = "bilinear" }
  end, { 1, 3, 4, 2 }, { keras = 'L.UpSampling2D(2, interpolation="bilinear")' } },
  { "up_sampling2d_bicubic", "UpSampling2D", function(L)
    return L.UpSampling2D { 2, interpolation = "bicubic" }
  end, { 1, 4, 4, 1 }, { keras = 'L.UpSampling2D(2, interpolation="bicubic")' } },
  { "up_sampling2d_lanczos3", "UpSampling2D", function(L)
    return L.UpSampling2D { 2, interpolation = "lanczos3" }
  end, { 1, 4, 4, 1 }, { keras = 'L.UpSampling2D(2, interpolation="lanczos3")' } },
  { "up_sampling3d", "UpSampling3D", function(L) return L.UpSampling3D { 2 } end, { 1, 2, 2, 1, 2 },
    { keras = "L.UpSampling3D(2)" } },
  { "add", "Add", function(L) return L.Add() end, { { 2, 3 }, { 2, 3 }, { 2, 3 } },
    { keras = "L.Add()" } },
  { "subtract", "Subtract", function(L) return L.Subtract() end, { { 2, 3 }, { 2, 3 } },
    { keras = "L.Subtract()" } },
  { "multiply", "Multiply", function(L) return L.Multiply() end, { { 2, 3 }, { 2, 3 } },
    { keras = "L.Multiply()" } },
  { "multiply_broadcast", "Multiply", function(L)
    return L.Multiply()
  end, { { 2, 4, 3 }, { 2, 3 } },
    { keras = "L.Multiply()" } },
  { "average", "Average", function(L) return L.Average() end, { { 2, 3 }, { 2, 3 } },
    { keras = "L.Average()" } },
  { "maximum", "Maximum", function(L) return L.Maximum() end, { { 2, 3 }, { 2, 3 } },
    { keras = "L.Maximum()" } },
  { "minimum", "Minimum", function(L) return L.Minimum() end, { { 2, 3 }, { 2, 3 } },
    { keras = "L.Minimum()" } },
  { "concatenate", "Concatenate", function(L)
    return L.Concatenate { axis = 2 }
  end, { { 2, 3, 2 }, { 2, 1, 2 } },
    { keras = "L.Concatenate(axis=1)" } },
  { "dot", "Dot", function(L) return L.Dot { axes = { 3, 2 } } end, { { 2, 3, 4 }, { 2, 4, 5 } },
    { keras = "L.Dot(axes=(2, 1))" } },
  { "dot_cosine", "Dot", function(L)
    return L.Dot { axes = 2, normalize = true }
  end, { { 2, 4 }, { 2, 4 } },
    { keras = "L.Dot(axes=1, normalize=True)" } },
  { "einsum_dense", "EinsumDense", function(L)
    return L.EinsumDense { "abc,cde->abde", { 3, 2, 3 }, "tanh", "de" }
  end, { 2, 3, 4 },
    { keras = 'L.EinsumDense("abc,cde->abde", (3, 2, 3), "tanh", "de")' } },
  { "einsum_dense_dots", "EinsumDense", function(L)
    return L.EinsumDense { "...bc,cd->...db", { 5, 3 }, bias_axes = "d" }
  end, { 2, 2, 3, 4 },
    { keras = 'L.EinsumDense("...bc,cd->...db", (5, 3), bias_axes="d")' } },
  { "attention", "Attention", function(L) return L.Attention() end, { { 2, 3, 4 }, { 2, 5, 4 } },
    { keras = "L.Attention()" } },
  { "attention_concat", "Attention", function(L)
    return L.Attention { use_scale = true, score_mode = "concat" }
  end, { { 2, 3, 4 }, { 2, 5, 4 }, { 2, 5, 4 } },
    { keras = 'L.Attention(use_scale=True, score_mode="concat")' } },
  { "spectral_normalization", "SpectralNormalization", function(L)
    return L.SpectralNormalization { L.Dense { 3 } }
  end, { 2, 4 },
    { keras = "L.SpectralNormalization(L.Dense(3))" } },
  -- the kernel is written anew in each call
  { "spectral_normalization_train", "SpectralNormalization", function(L)
    return L.SpectralNormalization { L.Dense { 3, "relu" } }
  end, { 2, 3, 4 },
    { training = true, no_grad = true,
      keras = 'L.SpectralNormalization(L.Dense(3, "relu"))' } },
  { "spectral_normalization_conv", "SpectralNormalization", function(L)
    return L.SpectralNormalization { L.Conv2D { 3, 2, use_bias = false }, power_iterations = 3 }
  end, { 1, 4, 4, 2 },
    { training = true, no_grad = true,
      keras = "L.SpectralNormalization(L.Conv2D(3, 2, use_bias=False), power_iterations=3)" } },
  { "spectral_normalization_steps", "SpectralNormalization", function(L)
    return L.SpectralNormalization { L.Conv1D { 3, 2 }, 4 }
  end, { 2, 4, 3 },
    { training = true, no_grad = true, keras = "L.SpectralNormalization(L.Conv1D(3, 2), 4)" } },
  { "additive_attention", "AdditiveAttention", function(L) return L.AdditiveAttention() end,
    { { 2, 3, 4 }, { 2, 5, 4 } },
    { keras = "L.AdditiveAttention()" } },
  { "simple_rnn", "SimpleRNN", function(L) return L.SimpleRNN { 3 } end, { 2, 4, 2 },
    { keras = "L.SimpleRNN(3)" } },
  { "lstm", "LSTM", function(L) return L.LSTM { 3, return_sequences = true } end, { 2, 4, 2 },
    { keras = "L.LSTM(3, return_sequences=True)" } },
  { "lstm_options", "LSTM", function(L)
    return L.LSTM { 2, activation = "softsign", recurrent_activation = "hard_sigmoid",
      unit_forget_bias = false, go_backwards = true }
  end, { 2, 3, 2 },
    { keras = 'L.LSTM(2, activation="softsign", recurrent_activation="hard_sigmoid", '
      .. 'unit_forget_bias=False, go_backwards=True)' } },
  { "gru", "GRU", function(L) return L.GRU { 3, return_sequences = true } end, { 2, 4, 2 },
    { keras = "L.GRU(3, return_sequences=True)" } },
  { "gru_reset_before", "GRU", function(L) return L.GRU { 3, reset_after = false } end, { 2, 4, 2 },
    { keras = "L.GRU(3, reset_after=False)" } },
  { "rnn", "RNN", function(L)
    return L.RNN { { L.LSTMCell { 3 }, L.GRUCell { 2 }, L.SimpleRNNCell { 2 } } }
  end, { 2, 3, 2 },
    { keras = "L.RNN([L.LSTMCell(3), L.GRUCell(2), L.SimpleRNNCell(2)])" } },
  { "rnn_stacked", "RNN", function(L)
    return L.RNN { L.StackedRNNCells { { L.GRUCell { 2 }, L.GRUCell { 3 } } } }
  end, { 2, 3, 2 },
    { keras = "L.RNN(L.StackedRNNCells([L.GRUCell(2), L.GRUCell(3)]))" } },
  { "bidirectional", "Bidirectional", function(L)
    return L.Bidirectional { L.LSTM { 2, return_sequences = true } }
  end, { 2, 3, 2 },
    { keras = "L.Bidirectional(L.LSTM(2, return_sequences=True))" } },
  { "time_distributed", "TimeDistributed", function(L)
    return L.TimeDistributed { L.Dense { 3 } }
  end, { 2, 3, 2 },
    { keras = "L.TimeDistributed(L.Dense(3))" } },
  { "conv_lstm1d", "ConvLSTM1D", function(L)
    return L.ConvLSTM1D { 2, 3, padding = "same" }
  end, { 1, 2, 5, 2 },
    { keras = 'L.ConvLSTM1D(2, 3, padding="same")' } },
  { "conv_lstm2d", "ConvLSTM2D", function(L)
    return L.ConvLSTM2D { 2, 2, strides = 2, return_sequences = true }
  end, { 1, 2, 4, 5, 2 },
    { keras = "L.ConvLSTM2D(2, 2, strides=2, return_sequences=True)" } },
  { "conv_lstm3d", "ConvLSTM3D", function(L)
    return L.ConvLSTM3D { 1, 2 }
  end, { 1, 2, 3, 3, 3, 1 },
    { keras = "L.ConvLSTM3D(1, 2)" } },
}
for _, case in ipairs(dofile "spec/support/torch_layer_cases.lua") do
  cases[#cases + 1] = case
end
return cases

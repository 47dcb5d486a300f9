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
  { "pipeline", "Pipeline", function(L)
    return L.Pipeline { { L.RandomFlip(), L.Rescaling { 2 } } }
  end, { 1, 2, 2, 1 },
    { keras = "L.Pipeline([L.RandomFlip(), L.Rescaling(2)])", gives = { shape = { 1, 2, 2, 1 },
      params = 0, values = {
      0.59104043, 1.6829419, 1.9833297, 1.3509264 } } } },
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

-- One row per layer (or variant): how it is made, the shape of its input, what is known about it. The runner in
-- layers_spec.lua derives: value against Keras (spec/ref/layers.lua), output shape, parameters, gradients, round trip.
--
--   { id, class, make, input shape or list of shapes, options }
-- options: ids = n (integer input 1..n), training, no_config (cannot go through a configuration), no_grad, kinks (the
-- function has corners: gradients are compared where the samples keep away from them by themselves).
return {
  { "dense", "Dense", function(L) return L.Dense { 4 } end, { 2, 5 } },
  { "dense_relu", "Dense", function(L) return L.Dense { 4, activation = "relu" } end, { 2, 5 } },
  { "dense_softmax", "Dense", function(L) return L.Dense { 3, activation = "softmax", use_bias = false } end, { 2, 3, 5 } },
  { "dense_gelu", "Dense", function(L) return L.Dense { 3, "gelu" } end, { 2, 4 } },
  { "embedding", "Embedding", function(L) return L.Embedding { 7, 3 } end, { 2, 4 }, { ids = 7 } },
  { "identity", "Identity", function(L) return L.Identity() end, { 2, 3 } },
  { "lambda", "Lambda", function(L) return L.Lambda { function(x) return x * x end } end, { 2, 3 }, { no_config = true } },
  { "masking", "Masking", function(L) return L.Masking() end, { 2, 3, 2 } },
  { "rescaling", "Rescaling", function(L) return L.Rescaling { 0.5, offset = -1 } end, { 2, 3 } },
  { "activation", "Activation", function(L) return L.Activation { "tanh" } end, { 2, 3 } },
  { "relu", "ReLU", function(L) return L.ReLU { max_value = 0.6, negative_slope = 0.1, threshold = 0.1 } end, { 3, 4 } },
  { "leaky_relu", "LeakyReLU", function(L) return L.LeakyReLU() end, { 3, 4 } },
  { "prelu", "PReLU", function(L) return L.PReLU { shared_axes = { 2 } } end, { 2, 3, 4 } },
  { "elu", "ELU", function(L) return L.ELU { 0.7 } end, { 3, 4 } },
  { "softmax", "Softmax", function(L) return L.Softmax() end, { 3, 4 } },
  { "softmax_two_axes", "Softmax", function(L) return L.Softmax { axis = { 2, 3 } } end, { 2, 3, 4 } },
  { "conv1d", "Conv1D", function(L) return L.Conv1D { 3, 2 } end, { 2, 6, 2 } },
  { "conv1d_causal", "Conv1D", function(L)
    return L.Conv1D { 3, 3, padding = "causal", dilation_rate = 2, activation = "relu" }
  end, { 2, 7, 2 } },
  { "conv2d", "Conv2D", function(L) return L.Conv2D { 3, 3, activation = "relu" } end, { 2, 5, 6, 2 } },
  { "conv2d_same", "Conv2D", function(L)
    return L.Conv2D { 4, { 3, 2 }, strides = 2, padding = "same", groups = 2 }
  end, { 2, 5, 6, 4 } },
  { "conv2d_tanh", "Conv2D", function(L)
    return L.Conv2D { 2, 2, dilation_rate = 2, activation = "softplus" }
  end, { 1, 5, 5, 2 } },
  { "conv2d_first", "Conv2D", function(L) return L.Conv2D { 3, 2, data_format = "channels_first" } end, { 1, 2, 4, 3 } },
  { "conv3d", "Conv3D", function(L) return L.Conv3D { 2, 2, padding = "same" } end, { 1, 3, 4, 3, 2 } },
  { "conv1d_transpose", "Conv1DTranspose", function(L) return L.Conv1DTranspose { 3, 3, strides = 2 } end, { 2, 4, 2 } },
  { "conv2d_transpose", "Conv2DTranspose", function(L)
    return L.Conv2DTranspose { 2, 3, strides = 2, padding = "same", activation = "relu" }
  end, { 2, 3, 3, 2 } },
  { "conv2d_transpose_output_padding", "Conv2DTranspose", function(L)
    return L.Conv2DTranspose { 2, 3, strides = 2, padding = "same", output_padding = 1 }
  end, { 1, 3, 3, 2 } },
  { "conv3d_transpose", "Conv3DTranspose", function(L) return L.Conv3DTranspose { 2, 2, strides = 2 } end, { 1, 2, 2, 2, 2 } },
  { "depthwise_conv1d", "DepthwiseConv1D", function(L) return L.DepthwiseConv1D { 3, depth_multiplier = 2 } end, { 2, 6, 2 } },
  { "depthwise_conv2d", "DepthwiseConv2D", function(L)
    return L.DepthwiseConv2D { 3, strides = 2, padding = "same", activation = "relu" }
  end, { 2, 5, 5, 3 } },
  { "separable_conv1d", "SeparableConv1D", function(L) return L.SeparableConv1D { 4, 3, padding = "same" } end, { 2, 5, 2 } },
  { "separable_conv2d", "SeparableConv2D", function(L)
    return L.SeparableConv2D { 4, 2, depth_multiplier = 2 }
  end, { 2, 4, 4, 2 } },
  { "max_pooling1d", "MaxPooling1D", function(L) return L.MaxPooling1D { 2 } end, { 2, 5, 2 } },
  { "max_pooling2d", "MaxPooling2D", function(L) return L.MaxPooling2D { 3, strides = 2, padding = "same" } end, { 2, 5, 5, 2 } },
  { "max_pooling2d_first", "MaxPooling2D", function(L)
    return L.MaxPooling2D { 2, data_format = "channels_first" }
  end, { 1, 2, 4, 4 } },
  { "max_pooling3d", "MaxPooling3D", function(L) return L.MaxPooling3D { 2 } end, { 1, 4, 4, 4, 2 } },
  { "average_pooling1d", "AveragePooling1D", function(L)
    return L.AveragePooling1D { 2, strides = 1, padding = "same" }
  end, { 2, 5, 2 } },
  { "average_pooling2d", "AveragePooling2D", function(L) return L.AveragePooling2D { { 2, 3 } } end, { 2, 5, 6, 2 } },
  { "average_pooling3d", "AveragePooling3D", function(L) return L.AveragePooling3D { 2 } end, { 1, 4, 4, 4, 2 } },
  { "global_max_pooling1d", "GlobalMaxPooling1D", function(L) return L.GlobalMaxPooling1D() end, { 2, 5, 3 } },
  { "global_max_pooling2d", "GlobalMaxPooling2D", function(L)
    return L.GlobalMaxPooling2D { keepdims = true }
  end, { 2, 3, 3, 3 } },
  { "global_max_pooling3d", "GlobalMaxPooling3D", function(L) return L.GlobalMaxPooling3D() end, { 2, 2, 2, 2, 3 } },
  { "global_average_pooling1d", "GlobalAveragePooling1D", function(L) return L.GlobalAveragePooling1D() end, { 2, 5, 3 } },
  { "global_average_pooling2d", "GlobalAveragePooling2D", function(L)
    return L.GlobalAveragePooling2D { data_format = "channels_first" }
  end, { 2, 3, 4, 2 } },
  { "global_average_pooling3d", "GlobalAveragePooling3D", function(L) return L.GlobalAveragePooling3D() end, { 2, 2, 2, 2, 3 } },
  { "adaptive_average_pooling1d", "AdaptiveAveragePooling1D", function(L)
    return L.AdaptiveAveragePooling1D { 3 }
  end, { 2, 7, 2 } },
  { "adaptive_average_pooling2d", "AdaptiveAveragePooling2D", function(L)
    return L.AdaptiveAveragePooling2D { { 2, 3 } }
  end, { 2, 5, 7, 2 } },
  { "adaptive_average_pooling3d", "AdaptiveAveragePooling3D", function(L)
    return L.AdaptiveAveragePooling3D { 2 }
  end, { 1, 5, 4, 3, 2 } },
  { "adaptive_max_pooling1d", "AdaptiveMaxPooling1D", function(L) return L.AdaptiveMaxPooling1D { 3 } end, { 2, 7, 2 } },
  { "adaptive_max_pooling2d", "AdaptiveMaxPooling2D", function(L)
    return L.AdaptiveMaxPooling2D { { 2, 3 } }
  end, { 2, 5, 7, 2 } },
  { "adaptive_max_pooling3d", "AdaptiveMaxPooling3D", function(L) return L.AdaptiveMaxPooling3D { 2 } end, { 1, 5, 4, 3, 2 } },
  { "batch_normalization", "BatchNormalization", function(L) return L.BatchNormalization() end, { 3, 4 } },
  { "batch_normalization_train", "BatchNormalization", function(L)
    return L.BatchNormalization { momentum = 0.8 }
  end, { 4, 2, 2, 3 }, { training = true } },
  { "batch_normalization_axis", "BatchNormalization", function(L)
    return L.BatchNormalization { axis = 2, scale = false }
  end, { 4, 2, 3 }, { training = true } },
  -- the corrections depend on the running statistics, which change from call to call
  { "batch_normalization_renorm", "BatchNormalization", function(L)
    return L.BatchNormalization { renorm = true, renorm_clipping = { rmax = 1.2, rmin = 0.5, dmax = 0.3 } }
  end, { 4, 3 }, { training = true, no_grad = true } },
  { "layer_normalization", "LayerNormalization", function(L) return L.LayerNormalization() end, { 2, 3, 4 } },
  { "layer_normalization_axes", "LayerNormalization", function(L)
    return L.LayerNormalization { axis = { 2, 3 }, center = false }
  end, { 2, 3, 4 } },
  { "group_normalization", "GroupNormalization", function(L) return L.GroupNormalization { 2 } end, { 2, 3, 3, 4 } },
  { "rms_normalization", "RMSNormalization", function(L) return L.RMSNormalization() end, { 2, 3, 4 } },
  { "unit_normalization", "UnitNormalization", function(L) return L.UnitNormalization() end, { 2, 3, 4 } },
  { "dropout", "Dropout", function(L) return L.Dropout { 0.5 } end, { 2, 3 } },
  { "spatial_dropout1d", "SpatialDropout1D", function(L) return L.SpatialDropout1D { 0.5 } end, { 2, 3, 2 } },
  { "spatial_dropout2d", "SpatialDropout2D", function(L) return L.SpatialDropout2D { 0.5 } end, { 2, 3, 2, 2 } },
  { "spatial_dropout3d", "SpatialDropout3D", function(L) return L.SpatialDropout3D { 0.5 } end, { 2, 2, 2, 2, 2 } },
  { "alpha_dropout", "AlphaDropout", function(L) return L.AlphaDropout { 0.5 } end, { 2, 3 } },
  { "gaussian_dropout", "GaussianDropout", function(L) return L.GaussianDropout { 0.5 } end, { 2, 3 } },
  { "gaussian_noise", "GaussianNoise", function(L) return L.GaussianNoise { 0.5 } end, { 2, 3 } },
  { "activity_regularization", "ActivityRegularization", function(L)
    return L.ActivityRegularization { l1 = 0.1, l2 = 0.2 }
  end, { 2, 3 } },
  { "reshape", "Reshape", function(L) return L.Reshape { 2, -1 } end, { 2, 3, 4 } },
  { "flatten", "Flatten", function(L) return L.Flatten() end, { 2, 3, 4 } },
  { "flatten_first", "Flatten", function(L) return L.Flatten { data_format = "channels_first" } end, { 2, 3, 4 } },
  { "permute", "Permute", function(L) return L.Permute { 2, 1 } end, { 2, 3, 4 } },
  { "repeat_vector", "RepeatVector", function(L) return L.RepeatVector { 3 } end, { 2, 4 } },
  { "zero_padding1d", "ZeroPadding1D", function(L) return L.ZeroPadding1D { { 1, 2 } } end, { 2, 3, 2 } },
  { "zero_padding2d", "ZeroPadding2D", function(L) return L.ZeroPadding2D { { { 1, 0 }, { 0, 2 } } } end, { 2, 3, 2, 2 } },
  { "zero_padding3d", "ZeroPadding3D", function(L) return L.ZeroPadding3D { 1 } end, { 1, 2, 2, 2, 2 } },
  { "cropping1d", "Cropping1D", function(L) return L.Cropping1D { { 1, 2 } } end, { 2, 5, 2 } },
  { "cropping2d", "Cropping2D", function(L) return L.Cropping2D { { { 1, 0 }, { 0, 2 } } } end, { 2, 3, 4, 2 } },
  { "cropping3d", "Cropping3D", function(L) return L.Cropping3D() end, { 1, 3, 3, 4, 2 } },
  { "up_sampling1d", "UpSampling1D", function(L) return L.UpSampling1D { 3 } end, { 2, 3, 2 } },
  { "up_sampling2d", "UpSampling2D", function(L) return L.UpSampling2D { { 2, 3 } } end, { 2, 2, 3, 2 } },
  { "up_sampling2d_bilinear", "UpSampling2D", function(L)
    return L.UpSampling2D { 2, interpolation = "bilinear" }
  end, { 1, 3, 4, 2 } },
  { "up_sampling2d_bicubic", "UpSampling2D", function(L)
    return L.UpSampling2D { 2, interpolation = "bicubic" }
  end, { 1, 4, 4, 1 } },
  { "up_sampling2d_lanczos3", "UpSampling2D", function(L)
    return L.UpSampling2D { 2, interpolation = "lanczos3" }
  end, { 1, 4, 4, 1 } },
  { "up_sampling3d", "UpSampling3D", function(L) return L.UpSampling3D { 2 } end, { 1, 2, 2, 1, 2 } },
  { "add", "Add", function(L) return L.Add() end, { { 2, 3 }, { 2, 3 }, { 2, 3 } } },
  { "subtract", "Subtract", function(L) return L.Subtract() end, { { 2, 3 }, { 2, 3 } } },
  { "multiply", "Multiply", function(L) return L.Multiply() end, { { 2, 3 }, { 2, 3 } } },
  { "multiply_broadcast", "Multiply", function(L) return L.Multiply() end, { { 2, 4, 3 }, { 2, 3 } } },
  { "average", "Average", function(L) return L.Average() end, { { 2, 3 }, { 2, 3 } } },
  { "maximum", "Maximum", function(L) return L.Maximum() end, { { 2, 3 }, { 2, 3 } } },
  { "minimum", "Minimum", function(L) return L.Minimum() end, { { 2, 3 }, { 2, 3 } } },
  { "concatenate", "Concatenate", function(L) return L.Concatenate { axis = 2 } end, { { 2, 3, 2 }, { 2, 1, 2 } } },
  { "dot", "Dot", function(L) return L.Dot { axes = { 3, 2 } } end, { { 2, 3, 4 }, { 2, 4, 5 } } },
  { "dot_cosine", "Dot", function(L) return L.Dot { axes = 2, normalize = true } end, { { 2, 4 }, { 2, 4 } } },
}

-- Rows of layers that Keras lacks (or has since a later version than the one at hand), and of some
-- that it has, as those of layer_cases.lua, which adds them to its own.
--
--   torch      what the layer computes of x (its input, or a list of them) and w (its weights), in
--              Python: `python spec/ref/make_torch_layers.py` writes spec/ref/torch_layers.lua
--   weights    shapes of the weights
return {
  { "stft_spectrogram", "STFTSpectrogram", function(L)
    return L.STFTSpectrogram { "psd", 4, frame_step = 2 }
  end, { 1, 8, 2 },
    { keras = 'L.STFTSpectrogram("psd", 4, frame_step=2)', gives = { shape = { 1, 3, 6 },
      params = 24, values = { 0.175574, 0.855541, 0.13513258, 0.08693906, 0.06517847, 0.0674132,
        0.2284751, 1.3578494, 0.24647856, 0.118057884, 0.3302371, 0.06236561, 0.25532886,
        1.6323204, 0.34819135, 0.17269213, 0.8287208, 0.13032728 } } } },
  { "mel_spectrogram", "MelSpectrogram", function(L)
    return L.MelSpectrogram { 16, 8, num_mel_bins = 3, power_to_db = false }
  end, { 2, 20 },
    { keras = "L.MelSpectrogram(16, 8, num_mel_bins=3, power_to_db=False)", gives = {
      shape = { 2, 3, 3 }, params = 0, values = { 8.753291, 4.461355, 2.8484697, 7.1900516,
        16.5693, 14.616964, 3.3004704, 3.0161514, 3.9611976, 2.650744, 4.289521, 8.277544,
        15.886339, 16.585777, 14.191747, 3.6533418, 3.0182528, 2.5729825 } } } },
  { "softmin", "Softmin", function(L)
    return L.Softmin()
  end, { 3, 4 },
    { torch = 'F.softmin(x, -1)' } },
  { "softmin_axis", "Softmin", function(L)
    return L.Softmin { axis = 2 }
  end, { 2, 3, 4 },
    { torch = 'F.softmin(x, 1)' } },
  { "softmin_axes", "Softmin", function(L)
    return L.Softmin { axis = { 2, 3 } }
  end, { 2, 3, 4 },
    { torch = 'F.softmin(x.flatten(1), 1).reshape(x.shape)' } },
  { "softmin_far", "Softmin", function(L)
    return L.Softmin { -2 }
  end, { 2, 3, 2, 2 },
    { torch = 'F.softmin(x, -2)' } },
  { "crelu", "CReLU", function(L)
    return L.CReLU()
  end, { 2, 3 },
    { torch = 'torch.cat([F.relu(x), F.relu(-x)], -1)' } },
  { "crelu_axis", "CReLU", function(L)
    return L.CReLU { axis = 2 }
  end, { 2, 3, 4 },
    { torch = 'torch.cat([F.relu(x), F.relu(-x)], 1)' } },
  { "crelu_last", "CReLU", function(L)
    return L.CReLU { 3 }
  end, { 2, 3, 4 },
    { torch = 'torch.cat([F.relu(x), F.relu(-x)], 2)' } },
  { "crelu_four", "CReLU", function(L)
    return L.CReLU { -2 }
  end, { 1, 2, 3, 2 },
    { torch = 'torch.cat([F.relu(x), F.relu(-x)], -2)' } },
  { "rrelu", "RReLU", function(L)
    return L.RReLU()
  end, { 2, 3 },
    { torch = 'F.rrelu(x, 1 / 8, 1 / 3)' } },
  { "rrelu_given", "RReLU", function(L)
    return L.RReLU { 0.1, 0.5 }
  end, { 2, 3, 4 },
    { torch = 'F.rrelu(x, 0.1, 0.5)' } },
  { "rrelu_one", "RReLU", function(L)
    return L.RReLU { upper = 0.125 }
  end, { 4, 3 },
    { torch = 'F.rrelu(x, 1 / 8, 0.125)' } },
  { "rrelu_seed", "RReLU", function(L)
    return L.RReLU { lower = 0, upper = 1, seed = 3 }
  end, { 2, 5 },
    { torch = 'F.rrelu(x, 0.0, 1.0)' } },
  { "gated_linear_unit", "GatedLinearUnit", function(L)
    return L.GatedLinearUnit()
  end, { 2, 4 },
    { torch = 'F.glu(x, -1)' } },
  { "gated_linear_unit_axis", "GatedLinearUnit", function(L)
    return L.GatedLinearUnit { axis = 2 }
  end, { 2, 6, 3 },
    { torch = 'F.glu(x, 1)' } },
  { "gated_linear_unit_last", "GatedLinearUnit", function(L)
    return L.GatedLinearUnit { 3 }
  end, { 2, 3, 4 },
    { torch = 'F.glu(x, 2)' } },
  { "gated_linear_unit_four", "GatedLinearUnit", function(L)
    return L.GatedLinearUnit { -2 }
  end, { 1, 2, 4, 2 },
    { torch = 'F.glu(x, -2)' } },
  { "instance_normalization", "InstanceNormalization", function(L)
    return L.InstanceNormalization()
  end, { 2, 5, 3 },
    { torch = 'last(lambda x: F.instance_norm(x, weight=w[0], bias=w[1], eps=1e-3))(x)',
      weights = { { 3 }, { 3 } } } },
  { "instance_normalization_images", "InstanceNormalization", function(L)
    return L.InstanceNormalization { epsilon = 1e-5 }
  end, { 2, 3, 4, 2 },
    { torch = 'last(lambda x: F.instance_norm(x, weight=w[0], bias=w[1], eps=1e-5))(x)',
      weights = { { 2 }, { 2 } } } },
  { "instance_normalization_first", "InstanceNormalization", function(L)
    return L.InstanceNormalization { axis = 2, center = false }
  end, { 2, 3, 4 },
    { torch = 'F.instance_norm(x, weight=w[0], eps=1e-3)', weights = { { 3 } } } },
  { "instance_normalization_plain", "InstanceNormalization", function(L)
    return L.InstanceNormalization { center = false, scale = false }
  end, { 2, 2, 3, 2, 2 },
    { torch = 'last(lambda x: F.instance_norm(x, eps=1e-3))(x)' } },
  { "local_response_normalization", "LocalResponseNormalization", function(L)
    return L.LocalResponseNormalization { 3 }
  end, { 2, 3, 5 },
    { torch = 'last(lambda x: F.local_response_norm(x, 3))(x)' } },
  { "local_response_normalization_even", "LocalResponseNormalization", function(L)
    return L.LocalResponseNormalization { 2, alpha = 0.5, beta = 0.5, k = 2 }
  end, { 2, 2, 2, 6 },
    { torch = 'last(lambda x: F.local_response_norm(x, 2, 0.5, 0.5, 2.0))(x)' } },
  { "local_response_normalization_first", "LocalResponseNormalization", function(L)
    return L.LocalResponseNormalization { 5, alpha = 1, data_format = "channels_first" }
  end, { 2, 4, 3, 2 },
    { torch = 'F.local_response_norm(x, 5, 1.0)' } },
  { "local_response_normalization_wide", "LocalResponseNormalization", function(L)
    return L.LocalResponseNormalization { 9, alpha = 2 }
  end, { 1, 4, 3 },
    { torch = 'last(lambda x: F.local_response_norm(x, 9, 2.0))(x)' } },
  { "class_token", "ClassToken", function(L)
    return L.ClassToken()
  end, { 2, 5, 3 },
    { torch = 'torch.cat([w[0].expand(2, 1, 3), x], 1)', weights = { { 1, 1, 3 } } } },
  { "class_token_initializer", "ClassToken", function(L)
    return L.ClassToken { "ones" }
  end, { 1, 1, 4 },
    { torch = 'torch.cat([w[0], x], 1)', weights = { { 1, 1, 4 } } } },
  { "maxout", "Maxout", function(L)
    return L.Maxout { 3 }
  end, { 2, 5 },
    { torch = '(x @ w[0] + w[1]).reshape(2, 4, 3).amax(1)', weights = { { 5, 12 }, { 12 } } } },
  { "maxout_pieces", "Maxout", function(L)
    return L.Maxout { 2, pieces = 3 }
  end, { 2, 3, 4 },
    { torch = '(x @ w[0] + w[1]).reshape(2, 3, 3, 2).amax(2)', weights = { { 4, 6 }, { 6 } } } },
  { "maxout_no_bias", "Maxout", function(L)
    return L.Maxout { 2, 2, use_bias = false }
  end, { 3, 4 },
    { torch = '(x @ w[0]).reshape(3, 2, 2).amax(1)', weights = { { 4, 4 } } } },
  { "maxout_one", "Maxout", function(L)
    return L.Maxout { units = 3, pieces = 1 }
  end, { 2, 2 },
    { torch = 'x @ w[0] + w[1]', weights = { { 2, 3 }, { 3 } } } },
  { "ternary_dense", "TernaryDense", function(L)
    return L.TernaryDense { 3 }
  end, { 2, 5 },
    { torch = 'ternary(x, w)', weights = { { 5, 3 }, { 3 } }, no_grad = true } },
  { "ternary_dense_relu", "TernaryDense", function(L)
    return L.TernaryDense { 4, activation = "relu" }
  end, { 2, 3, 4 },
    { torch = 'F.relu(ternary(x, w))', weights = { { 4, 4 }, { 4 } }, no_grad = true } },
  { "ternary_dense_threshold", "TernaryDense", function(L)
    return L.TernaryDense { 3, threshold = 0.3, use_bias = false }
  end, { 3, 4 },
    { torch = 'ternary(x, w, 0.3)', weights = { { 4, 3 } }, no_grad = true } },
  { "ternary_dense_zero", "TernaryDense", function(L)
    return L.TernaryDense { 2, 0, "tanh" }
  end, { 2, 3 },
    { torch = 'torch.tanh(ternary(x, w, 0.0))', weights = { { 3, 2 }, { 2 } }, no_grad = true } },
  { "weight_normalization", "WeightNormalization", function(L)
    return L.WeightNormalization { L.Dense { 3 } }
  end, { 2, 4 },
    { torch = 'x @ normed(w[1], w[0]) + w[2]', weights = { { 3 }, { 4, 3 }, { 3 } } } },
  { "weight_normalization_tanh", "WeightNormalization", function(L)
    return L.WeightNormalization { L.Dense { 3, "tanh", use_bias = false } }
  end, { 2, 3, 4 },
    { torch = 'torch.tanh(x @ normed(w[1], w[0]))', weights = { { 3 }, { 4, 3 } } } },
  { "weight_normalization_conv", "WeightNormalization", function(L)
    return L.WeightNormalization { L.Conv2D { 3, 2 } }
  end, { 1, 3, 4, 2 },
    { torch = 'last(lambda x: F.conv2d(x, normed(w[1], w[0]).permute(3, 2, 0, 1), w[2]))(x)',
      weights = { { 3 }, { 2, 2, 2, 3 }, { 3 } } } },
  { "weight_normalization_embedding", "WeightNormalization", function(L)
    return L.WeightNormalization { L.Embedding { 5, 3 } }
  end, { 2, 4 },
    { torch = 'F.embedding(x, normed(w[1], w[0]))', weights = { { 3 }, { 5, 3 } }, ids = 5 } },
  { "pixel_shuffle", "PixelShuffle", function(L)
    return L.PixelShuffle { 2 }
  end, { 2, 2, 3, 8 },
    { torch = 'last(lambda x: F.pixel_shuffle(x, 2))(x)' } },
  { "pixel_shuffle_first", "PixelShuffle", function(L)
    return L.PixelShuffle { 3, data_format = "channels_first" }
  end, { 1, 18, 2, 2 },
    { torch = 'F.pixel_shuffle(x, 3)' } },
  { "pixel_shuffle_one", "PixelShuffle", function(L)
    return L.PixelShuffle { 1 }
  end, { 1, 2, 2, 3 },
    { torch = 'last(lambda x: F.pixel_shuffle(x, 1))(x)' } },
  { "pixel_shuffle_gray", "PixelShuffle", function(L)
    return L.PixelShuffle { upscale_factor = 2 }
  end, { 2, 3, 2, 4 },
    { torch = 'last(lambda x: F.pixel_shuffle(x, 2))(x)' } },
  { "pixel_unshuffle", "PixelUnshuffle", function(L)
    return L.PixelUnshuffle { 2 }
  end, { 2, 4, 6, 3 },
    { torch = 'last(lambda x: F.pixel_unshuffle(x, 2))(x)' } },
  { "pixel_unshuffle_first", "PixelUnshuffle", function(L)
    return L.PixelUnshuffle { 3, data_format = "channels_first" }
  end, { 1, 2, 3, 6 },
    { torch = 'F.pixel_unshuffle(x, 3)' } },
  { "pixel_unshuffle_one", "PixelUnshuffle", function(L)
    return L.PixelUnshuffle { 1 }
  end, { 1, 2, 2, 3 },
    { torch = 'last(lambda x: F.pixel_unshuffle(x, 1))(x)' } },
  { "pixel_unshuffle_gray", "PixelUnshuffle", function(L)
    return L.PixelUnshuffle { downscale_factor = 2 }
  end, { 2, 2, 4, 1 },
    { torch = 'last(lambda x: F.pixel_unshuffle(x, 2))(x)' } },
  { "unfold", "Unfold", function(L)
    return L.Unfold { 2 }
  end, { 2, 3, 4, 2 },
    { torch = 'F.unfold(chw(x), 2).transpose(1, 2)' } },
  { "unfold_stride", "Unfold", function(L)
    return L.Unfold { { 3, 2 }, stride = 2, padding = 1 }
  end, { 1, 5, 4, 2 },
    { torch = 'F.unfold(chw(x), (3, 2), stride=2, padding=1).transpose(1, 2)' } },
  { "unfold_first", "Unfold", function(L)
    return L.Unfold { 2, dilation = { 1, 2 }, data_format = "channels_first" }
  end, { 2, 2, 3, 4 },
    { torch = 'F.unfold(x, 2, dilation=(1, 2))' } },
  { "unfold_all", "Unfold", function(L)
    return L.Unfold { { 2, 3 }, 2, { 1, 2 }, { 1, 2 } }
  end, { 1, 4, 5, 1 },
    { torch = 'F.unfold(chw(x), (2, 3), 2, (1, 2), (1, 2)).transpose(1, 2)' } },
  { "fold", "Fold", function(L)
    return L.Fold { { 3, 4 }, 2 }
  end, { 2, 6, 8 },
    { torch = 'hwc(F.fold(x.transpose(1, 2), (3, 4), 2))' } },
  { "fold_stride", "Fold", function(L)
    return L.Fold { { 5, 4 }, { 3, 2 }, stride = 2, padding = 1 }
  end, { 1, 9, 12 },
    { torch = 'hwc(F.fold(x.transpose(1, 2), (5, 4), (3, 2), stride=2, padding=1))' } },
  { "fold_first", "Fold", function(L)
    return L.Fold { { 3, 4 }, 2, dilation = { 1, 2 }, data_format = "channels_first" }
  end, { 2, 8, 4 },
    { torch = 'F.fold(x, (3, 4), 2, dilation=(1, 2))' } },
  { "fold_square", "Fold", function(L)
    return L.Fold { 4, 2, stride = 2 }
  end, { 2, 4, 4 },
    { torch = 'hwc(F.fold(x.transpose(1, 2), (4, 4), 2, stride=2))' } },
  { "embedding_bag", "EmbeddingBag", function(L)
    return L.EmbeddingBag { 5, 3 }
  end, { 2, 4 },
    { torch = 'F.embedding_bag(x, w[0], mode="mean")', weights = { { 5, 3 } }, ids = 5 } },
  { "embedding_bag_sum", "EmbeddingBag", function(L)
    return L.EmbeddingBag { 5, 3, "sum" }
  end, { 3, 4 },
    { torch = 'F.embedding_bag(x, w[0], mode="sum")', weights = { { 5, 3 } }, ids = 5 } },
  { "embedding_bag_max", "EmbeddingBag", function(L)
    return L.EmbeddingBag { 7, 2, mode = "max" }
  end, { 2, 3 },
    { torch = 'F.embedding_bag(x, w[0], mode="max")', weights = { { 7, 2 } }, ids = 7 } },
  { "embedding_bag_one", "EmbeddingBag", function(L)
    return L.EmbeddingBag { 4, 3, mode = "max" }
  end, { 4, 1 },
    { torch = 'F.embedding_bag(x, w[0], mode="max")', weights = { { 4, 3 } }, ids = 4 } },
  { "cosine_similarity", "CosineSimilarity", function(L)
    return L.CosineSimilarity()
  end, { { 2, 3 }, { 2, 3 } },
    { torch = 'F.cosine_similarity(x[0], x[1], -1)' } },
  { "cosine_similarity_axis", "CosineSimilarity", function(L)
    return L.CosineSimilarity { axis = 2 }
  end, { { 2, 3, 4 }, { 2, 3, 4 } },
    { torch = 'F.cosine_similarity(x[0], x[1], 1)' } },
  { "cosine_similarity_broadcast", "CosineSimilarity", function(L)
    return L.CosineSimilarity { -1 }
  end, { { 2, 3, 4 }, { 2, 1, 4 } },
    { torch = 'F.cosine_similarity(x[0], x[1], -1)' } },
  { "cosine_similarity_epsilon", "CosineSimilarity", function(L)
    return L.CosineSimilarity { epsilon = 0.5 }
  end, { { 2, 3 }, { 2, 3 } },
    { torch = 'F.cosine_similarity(x[0], x[1], -1, 0.5)' } },
  { "reflection_padding1d", "ReflectionPadding1D", function(L)
    return L.ReflectionPadding1D()
  end, { 2, 3, 2 },
    { torch = 'last(lambda x: F.pad(x, (1, 1), "reflect"))(x)' } },
  { "reflection_padding1d_sides", "ReflectionPadding1D", function(L)
    return L.ReflectionPadding1D { { 2, 1 } }
  end, { 2, 4, 2 },
    { torch = 'last(lambda x: F.pad(x, (2, 1), "reflect"))(x)' } },
  { "reflection_padding1d_first", "ReflectionPadding1D", function(L)
    return L.ReflectionPadding1D { 2, data_format = "channels_first" }
  end, { 1, 2, 4 },
    { torch = 'F.pad(x, (2, 2), "reflect")' } },
  { "reflection_padding1d_before", "ReflectionPadding1D", function(L)
    return L.ReflectionPadding1D { { 1, 0 } }
  end, { 1, 3, 1 },
    { torch = 'last(lambda x: F.pad(x, (1, 0), "reflect"))(x)' } },
  { "reflection_padding2d", "ReflectionPadding2D", function(L)
    return L.ReflectionPadding2D()
  end, { 2, 3, 3, 2 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 1, 1), "reflect"))(x)' } },
  { "reflection_padding2d_sides", "ReflectionPadding2D", function(L)
    return L.ReflectionPadding2D { { { 2, 1 }, { 0, 1 } } }
  end, { 1, 4, 3, 2 },
    { torch = 'last(lambda x: F.pad(x, (0, 1, 2, 1), "reflect"))(x)' } },
  { "reflection_padding2d_first", "ReflectionPadding2D", function(L)
    return L.ReflectionPadding2D { { 2, 1 }, data_format = "channels_first" }
  end, { 1, 2, 4, 3 },
    { torch = 'F.pad(x, (1, 1, 2, 2), "reflect")' } },
  { "reflection_padding2d_wide", "ReflectionPadding2D", function(L)
    return L.ReflectionPadding2D { 2 }
  end, { 1, 3, 4, 1 },
    { torch = 'last(lambda x: F.pad(x, (2, 2, 2, 2), "reflect"))(x)' } },
  { "reflection_padding3d", "ReflectionPadding3D", function(L)
    return L.ReflectionPadding3D()
  end, { 1, 2, 3, 2, 2 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), "reflect"))(x)' } },
  { "reflection_padding3d_sides", "ReflectionPadding3D", function(L)
    return L.ReflectionPadding3D { { { 1, 0 }, { 0, 2 }, { 1, 1 } } }
  end, { 1, 2, 3, 3, 1 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 0, 2, 1, 0), "reflect"))(x)' } },
  { "reflection_padding3d_first", "ReflectionPadding3D", function(L)
    return L.ReflectionPadding3D { { 1, 2, 1 }, data_format = "channels_first" }
  end, { 1, 2, 2, 3, 2 },
    { torch = 'F.pad(x, (1, 1, 2, 2, 1, 1), "reflect")' } },
  { "reflection_padding3d_one", "ReflectionPadding3D", function(L)
    return L.ReflectionPadding3D { 1 }
  end, { 2, 2, 2, 2, 1 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), "reflect"))(x)' } },
  { "replication_padding1d", "ReplicationPadding1D", function(L)
    return L.ReplicationPadding1D()
  end, { 2, 3, 2 },
    { torch = 'last(lambda x: F.pad(x, (1, 1), "replicate"))(x)' } },
  { "replication_padding1d_sides", "ReplicationPadding1D", function(L)
    return L.ReplicationPadding1D { { 2, 1 } }
  end, { 2, 4, 2 },
    { torch = 'last(lambda x: F.pad(x, (2, 1), "replicate"))(x)' } },
  { "replication_padding1d_first", "ReplicationPadding1D", function(L)
    return L.ReplicationPadding1D { 2, data_format = "channels_first" }
  end, { 1, 2, 4 },
    { torch = 'F.pad(x, (2, 2), "replicate")' } },
  { "replication_padding1d_before", "ReplicationPadding1D", function(L)
    return L.ReplicationPadding1D { { 1, 0 } }
  end, { 1, 3, 1 },
    { torch = 'last(lambda x: F.pad(x, (1, 0), "replicate"))(x)' } },
  { "replication_padding2d", "ReplicationPadding2D", function(L)
    return L.ReplicationPadding2D()
  end, { 2, 3, 3, 2 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 1, 1), "replicate"))(x)' } },
  { "replication_padding2d_sides", "ReplicationPadding2D", function(L)
    return L.ReplicationPadding2D { { { 2, 1 }, { 0, 1 } } }
  end, { 1, 4, 3, 2 },
    { torch = 'last(lambda x: F.pad(x, (0, 1, 2, 1), "replicate"))(x)' } },
  { "replication_padding2d_first", "ReplicationPadding2D", function(L)
    return L.ReplicationPadding2D { { 2, 1 }, data_format = "channels_first" }
  end, { 1, 2, 4, 3 },
    { torch = 'F.pad(x, (1, 1, 2, 2), "replicate")' } },
  { "replication_padding2d_wide", "ReplicationPadding2D", function(L)
    return L.ReplicationPadding2D { 2 }
  end, { 1, 3, 4, 1 },
    { torch = 'last(lambda x: F.pad(x, (2, 2, 2, 2), "replicate"))(x)' } },
  { "replication_padding3d", "ReplicationPadding3D", function(L)
    return L.ReplicationPadding3D()
  end, { 1, 2, 3, 2, 2 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), "replicate"))(x)' } },
  { "replication_padding3d_sides", "ReplicationPadding3D", function(L)
    return L.ReplicationPadding3D { { { 1, 0 }, { 0, 2 }, { 1, 1 } } }
  end, { 1, 2, 3, 3, 1 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 0, 2, 1, 0), "replicate"))(x)' } },
  { "replication_padding3d_first", "ReplicationPadding3D", function(L)
    return L.ReplicationPadding3D { { 1, 2, 1 }, data_format = "channels_first" }
  end, { 1, 2, 2, 3, 2 },
    { torch = 'F.pad(x, (1, 1, 2, 2, 1, 1), "replicate")' } },
  { "replication_padding3d_one", "ReplicationPadding3D", function(L)
    return L.ReplicationPadding3D { 1 }
  end, { 2, 2, 2, 2, 1 },
    { torch = 'last(lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), "replicate"))(x)' } },
  { "stochastic_depth", "StochasticDepth", function(L)
    return L.StochasticDepth { 0.5 }
  end, { 2, 3 },
    { torch = 'x * 1' } },
  { "stochastic_depth_none", "StochasticDepth", function(L)
    return L.StochasticDepth { 0, mode = "batch" }
  end, { 2, 3 },
    { torch = 'x * 1', training = true } },
  { "stochastic_depth_all", "StochasticDepth", function(L)
    return L.StochasticDepth { 1 }
  end, { 2, 3, 2 },
    { torch = 'x * 0', training = true } },
  { "stochastic_depth_batch", "StochasticDepth", function(L)
    return L.StochasticDepth { 1, "batch", seed = 2 }
  end, { 2, 3 },
    { torch = 'x * 0', training = true } },
  { "gradient_reversal", "GradientReversal", function(L)
    return L.GradientReversal()
  end, { 2, 3 },
    { torch = 'reverse(x, 1.0)', no_grad = true } },
  { "gradient_reversal_factor", "GradientReversal", function(L)
    return L.GradientReversal { 0.3 }
  end, { 2, 3, 2 },
    { torch = 'reverse(x, 0.3)', no_grad = true } },
  { "gradient_reversal_zero", "GradientReversal", function(L)
    return L.GradientReversal { factor = 0 }
  end, { 2, 2 },
    { torch = 'reverse(x, 0.0)', no_grad = true } },
  { "gradient_reversal_negative", "GradientReversal", function(L)
    return L.GradientReversal { -2 }
  end, { 4, 1 },
    { torch = 'reverse(x, -2.0)', no_grad = true } },
}

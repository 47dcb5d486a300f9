"""Reference values of spec/support/layer_cases.lua, computed by Keras: writes spec/ref/layers.lua.

Run: KERAS_BACKEND=jax python spec/ref/make_layers.py   (Keras 3)
Inputs and weights follow the formulas in `ramp` and `weight`, which layer_cases.lua repeats; only results are stored.
"""
import os
import numpy as np
import keras
from keras import layers as L


def ramp(shape, k=0):
    n = int(np.prod(shape))
    return np.sin(np.arange(n) * 0.7 + 0.3 + k).reshape(shape).astype("float32")


def weight(name, shape, k):
    n = int(np.prod(shape))
    v = np.sin(np.arange(n) * 1.3 + k) * 0.5
    if "variance" in name or "stddev" in name:
        v = np.abs(v) + 0.5
    return v.reshape(shape).astype("float32")


X = {  # id: (layer, input shape or list of shapes, options)
    "dense": (L.Dense(4), (2, 5)),
    "dense_relu": (L.Dense(4, activation="relu"), (2, 5)),
    "dense_softmax": (L.Dense(3, activation="softmax", use_bias=False), (2, 3, 5)),
    "dense_gelu": (L.Dense(3, activation="gelu"), (2, 4)),
    "embedding": (L.Embedding(7, 3), ("ids", (2, 4), 7)),
    "identity": (L.Identity(), (2, 3)),
    "lambda": (L.Lambda(lambda x: x * x), (2, 3)),
    "masking": (L.Masking(0.0), (2, 3, 2)),
    "rescaling": (L.Rescaling(0.5, offset=-1.0), (2, 3)),
    "activation": (L.Activation("tanh"), (2, 3)),
    "relu": (L.ReLU(max_value=0.6, negative_slope=0.1, threshold=0.1), (3, 4)),
    "leaky_relu": (L.LeakyReLU(), (3, 4)),
    "prelu": (L.PReLU(shared_axes=[1]), (2, 3, 4)),
    "elu": (L.ELU(alpha=0.7), (3, 4)),
    "softmax": (L.Softmax(), (3, 4)),
    "softmax_two_axes": (L.Softmax(axis=[1, 2]), (2, 3, 4)),
    "conv1d": (L.Conv1D(3, 2), (2, 6, 2)),
    "conv1d_causal": (L.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu"), (2, 7, 2)),
    "conv2d": (L.Conv2D(3, 3, activation="relu"), (2, 5, 6, 2)),
    "conv2d_same": (L.Conv2D(4, (3, 2), strides=2, padding="same", groups=2), (2, 5, 6, 4)),
    "conv2d_tanh": (L.Conv2D(2, 2, dilation_rate=2, activation="softplus"), (1, 5, 5, 2)),
    "conv3d": (L.Conv3D(2, 2, padding="same"), (1, 3, 4, 3, 2)),
    "conv1d_transpose": (L.Conv1DTranspose(3, 3, strides=2), (2, 4, 2)),
    "conv2d_transpose": (L.Conv2DTranspose(2, 3, strides=2, padding="same", activation="relu"), (2, 3, 3, 2)),
    "conv2d_transpose_output_padding": (L.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1), (1, 3, 3, 2)),
    "conv3d_transpose": (L.Conv3DTranspose(2, 2, strides=2), (1, 2, 2, 2, 2)),
    "depthwise_conv1d": (L.DepthwiseConv1D(3, depth_multiplier=2), (2, 6, 2)),
    "depthwise_conv2d": (L.DepthwiseConv2D(3, strides=2, padding="same", activation="relu"), (2, 5, 5, 3)),
    "separable_conv1d": (L.SeparableConv1D(4, 3, padding="same"), (2, 5, 2)),
    "separable_conv2d": (L.SeparableConv2D(4, 2, depth_multiplier=2), (2, 4, 4, 2)),
    "max_pooling1d": (L.MaxPooling1D(2), (2, 5, 2)),
    "max_pooling2d": (L.MaxPooling2D(3, strides=2, padding="same"), (2, 5, 5, 2)),
    "max_pooling3d": (L.MaxPooling3D(2), (1, 4, 4, 4, 2)),
    "average_pooling1d": (L.AveragePooling1D(2, strides=1, padding="same"), (2, 5, 2)),
    "average_pooling2d": (L.AveragePooling2D((2, 3)), (2, 5, 6, 2)),
    "average_pooling3d": (L.AveragePooling3D(2), (1, 4, 4, 4, 2)),
    "global_max_pooling1d": (L.GlobalMaxPooling1D(), (2, 5, 3)),
    "global_max_pooling2d": (L.GlobalMaxPooling2D(keepdims=True), (2, 3, 3, 3)),
    "global_max_pooling3d": (L.GlobalMaxPooling3D(), (2, 2, 2, 2, 3)),
    "global_average_pooling1d": (L.GlobalAveragePooling1D(), (2, 5, 3)),
    "global_average_pooling2d": (L.GlobalAveragePooling2D(data_format="channels_first"), (2, 3, 4, 2)),
    "global_average_pooling3d": (L.GlobalAveragePooling3D(), (2, 2, 2, 2, 3)),
    "adaptive_average_pooling1d": (L.AdaptiveAveragePooling1D(3), (2, 7, 2)),
    "adaptive_average_pooling2d": (L.AdaptiveAveragePooling2D((2, 3)), (2, 5, 7, 2)),
    "adaptive_average_pooling3d": (L.AdaptiveAveragePooling3D(2), (1, 5, 4, 3, 2)),
    "adaptive_max_pooling1d": (L.AdaptiveMaxPooling1D(3), (2, 7, 2)),
    "adaptive_max_pooling2d": (L.AdaptiveMaxPooling2D((2, 3)), (2, 5, 7, 2)),
    "adaptive_max_pooling3d": (L.AdaptiveMaxPooling3D(2), (1, 5, 4, 3, 2)),
    "batch_normalization": (L.BatchNormalization(), (3, 4)),
    "batch_normalization_train": (L.BatchNormalization(momentum=0.8), (4, 2, 2, 3), {"training": True}),
    "batch_normalization_axis": (L.BatchNormalization(axis=1, scale=False), (4, 2, 3), {"training": True}),
    "batch_normalization_renorm": (
        L.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1.2, "rmin": 0.5, "dmax": 0.3}), (4, 3), {"training": True}),
    "layer_normalization": (L.LayerNormalization(), (2, 3, 4)),
    "layer_normalization_axes": (L.LayerNormalization(axis=[1, 2], center=False), (2, 3, 4)),
    "group_normalization": (L.GroupNormalization(2), (2, 3, 3, 4)),
    "rms_normalization": (L.RMSNormalization(), (2, 3, 4)),
    "unit_normalization": (L.UnitNormalization(), (2, 3, 4)),
    "dropout": (L.Dropout(0.5), (2, 3)),
    "spatial_dropout1d": (L.SpatialDropout1D(0.5), (2, 3, 2)),
    "spatial_dropout2d": (L.SpatialDropout2D(0.5), (2, 3, 2, 2)),
    "spatial_dropout3d": (L.SpatialDropout3D(0.5), (2, 2, 2, 2, 2)),
    "alpha_dropout": (L.AlphaDropout(0.5), (2, 3)),
    "gaussian_dropout": (L.GaussianDropout(0.5), (2, 3)),
    "gaussian_noise": (L.GaussianNoise(0.5), (2, 3)),
    "activity_regularization": (L.ActivityRegularization(l1=0.1, l2=0.2), (2, 3)),
    "reshape": (L.Reshape((2, -1)), (2, 3, 4)),
    "flatten": (L.Flatten(), (2, 3, 4)),
    "flatten_first": (L.Flatten(data_format="channels_first"), (2, 3, 4)),
    "permute": (L.Permute((2, 1)), (2, 3, 4)),
    "repeat_vector": (L.RepeatVector(3), (2, 4)),
    "zero_padding1d": (L.ZeroPadding1D((1, 2)), (2, 3, 2)),
    "zero_padding2d": (L.ZeroPadding2D(((1, 0), (0, 2))), (2, 3, 2, 2)),
    "zero_padding3d": (L.ZeroPadding3D(1), (1, 2, 2, 2, 2)),
    "cropping1d": (L.Cropping1D((1, 2)), (2, 5, 2)),
    "cropping2d": (L.Cropping2D(((1, 0), (0, 2))), (2, 3, 4, 2)),
    "cropping3d": (L.Cropping3D(1), (1, 3, 3, 4, 2)),
    "up_sampling1d": (L.UpSampling1D(3), (2, 3, 2)),
    "up_sampling2d": (L.UpSampling2D((2, 3)), (2, 2, 3, 2)),
    "up_sampling2d_bilinear": (L.UpSampling2D(2, interpolation="bilinear"), (1, 3, 4, 2)),
    "up_sampling2d_bicubic": (L.UpSampling2D(2, interpolation="bicubic"), (1, 4, 4, 1)),
    "up_sampling2d_lanczos3": (L.UpSampling2D(2, interpolation="lanczos3"), (1, 4, 4, 1)),
    "up_sampling3d": (L.UpSampling3D(2), (1, 2, 2, 1, 2)),
    "add": (L.Add(), [(2, 3), (2, 3), (2, 3)]),
    "subtract": (L.Subtract(), [(2, 3), (2, 3)]),
    "multiply": (L.Multiply(), [(2, 3), (2, 3)]),
    "multiply_broadcast": (L.Multiply(), [(2, 4, 3), (2, 3)]),
    "average": (L.Average(), [(2, 3), (2, 3)]),
    "maximum": (L.Maximum(), [(2, 3), (2, 3)]),
    "minimum": (L.Minimum(), [(2, 3), (2, 3)]),
    "concatenate": (L.Concatenate(axis=1), [(2, 3, 2), (2, 1, 2)]),
    "dot": (L.Dot(axes=(2, 1)), [(2, 3, 4), (2, 4, 5)]),
    "dot_cosine": (L.Dot(axes=1, normalize=True), [(2, 4), (2, 4)]),
    "conv2d_first": (L.Conv2D(3, 2, data_format="channels_first"), (1, 2, 4, 3)),
    "max_pooling2d_first": (L.MaxPooling2D(2, data_format="channels_first"), (1, 2, 4, 4)),
}


def lua(v):
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    return np.format_float_positional(np.float32(v), trim="-", unique=True)


lines = ["-- Made by make_layers.py with Keras %s: result shape, number of parameters, result." % keras.__version__, "return {"]
for name, case in X.items():
    layer, shape = case[0], case[1]
    options = case[2] if len(case) > 2 else {}
    if isinstance(shape, list):
        x = [ramp(s, k) for k, s in enumerate(shape)]
    elif shape[0] == "ids":
        x = (np.arange(int(np.prod(shape[1]))) % shape[2]).reshape(shape[1]).astype("int32")
    else:
        x = ramp(shape)
    layer(x)
    if layer.weights:
        layer.set_weights([weight(w.name, w.shape, k) for k, w in enumerate(layer.weights)])
    y = np.array(layer(x, **options))
    lines.append("  %s = { shape = %s, params = %d, values = %s }," % (name, lua(y.shape), layer.count_params(), lua(y.ravel().tolist())))
lines.append("}")
with open(os.path.join(os.path.dirname(__file__), "layers.lua"), "w") as f:
    f.write("\n".join(lines) + "\n")

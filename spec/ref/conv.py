"""Convolutions in float64, by Keras on JAX; transposed ones by tf.nn.conv_transpose with Keras' extents.
Run: KERAS_BACKEND=jax JAX_ENABLE_X64=1 python conv.py"""
import jax
import keras
import numpy as np
import tensorflow as tf
from common import rng, write

jax.config.update("jax_enable_x64", True)
r = rng(12)
out = {}


def normal(*shape):
    return r.normal(0, 1, shape).round(3).round(3)


FUNCTIONS = {"relu": jax.nn.relu, "relu6": jax.nn.relu6, "sigmoid": jax.nn.sigmoid, "tanh": np.tanh, "elu": jax.nn.elu, "silu": jax.nn.silu}


def act(name, z):
    if name == "gelu":
        return np.asarray(jax.nn.gelu(z, approximate=False))
    return np.asarray(FUNCTIONS[name](z)) if name else np.asarray(z)


def conv(key, x, k, strides=1, padding="valid", dilation=1, groups=1, bias=True, activation=None):
    nd = len(x) - 2
    x, w = normal(*x), normal(*k)
    b = normal(k[-1]) if bias else None
    spread = lambda v: (v,) * nd if isinstance(v, int) else tuple(v)
    dims = ("NWC", "WIO", "NWC") if nd == 1 else ("NHWC", "HWIO", "NHWC") if nd == 2 else ("NDHWC", "DHWIO", "NDHWC")
    if padding == "causal":
        padding = [((k[0] - 1) * dilation, 0)]
    y = jax.lax.conv_general_dilated(x, w, spread(strides), padding.upper() if isinstance(padding, str) else padding,
                                     rhs_dilation=spread(dilation), dimension_numbers=dims, feature_group_count=groups)
    out[key] = ([x, w, b], [act(activation, np.asarray(y) + (b if bias else 0))])


conv("1-D", (2, 9, 3), (4, 3, 5))
conv("1-D, causal", (2, 7, 3), (3, 3, 4), padding="causal", dilation=2)
conv("1-D, same, stride 3", (2, 10, 2), (4, 2, 3), strides=3, padding="same")
conv("2-D", (2, 6, 5, 3), (3, 2, 3, 4))
conv("2-D, no bias", (1, 5, 5, 2), (3, 3, 2, 3), bias=False)
conv("2-D, same", (2, 5, 4, 3), (3, 3, 3, 4), padding="same")
conv("2-D, same, even kernel", (1, 5, 6, 2), (2, 4, 2, 3), padding="same")
conv("2-D, same, stride 2", (2, 6, 7, 2), (3, 3, 2, 4), strides=2, padding="same")
conv("2-D, strides", (2, 9, 8, 2), (3, 2, 2, 3), strides=(2, 3))
conv("2-D, dilation", (1, 8, 9, 2), (3, 2, 2, 3), dilation=(2, 3))
conv("2-D, stride and dilation", (1, 9, 9, 2), (3, 3, 2, 3), strides=2, dilation=2)
conv("2-D, groups", (2, 5, 5, 4), (3, 3, 2, 6), groups=2)
conv("2-D, explicit", (1, 4, 5, 2), (2, 3, 2, 2), padding=[(1, 0), (0, 2)], strides=(1, 2))
conv("2-D, 1x1", (2, 3, 4, 5), (1, 1, 5, 3))
conv("2-D, 1x1, stride 2", (2, 5, 5, 3), (1, 1, 3, 4), strides=2)
conv("2-D, one channel", (2, 8, 8, 1), (3, 3, 1, 8), activation="relu")
conv("2-D, wide", (1, 4, 4, 16), (3, 3, 16, 16), padding="same", activation="relu")
conv("3-D", (1, 4, 5, 4, 2), (2, 3, 2, 2, 3), padding="same", strides=(1, 2, 1))
for name in ["relu", "relu6", "sigmoid", "tanh", "elu", "gelu", "silu"]:
    conv("activation " + name, (1, 4, 4, 2), (3, 3, 2, 3), padding="same", activation=name)


def transposed(key, x, k, strides=1, padding="valid", output_padding=None, dilation=1, activation=None):
    nd = len(x) - 2
    x, w, b = normal(*x), normal(*k), normal(k[-2])
    spread = lambda v: (v,) * nd if isinstance(v, int) else tuple(v)
    s, d, op = spread(strides), spread(dilation), None if output_padding is None else spread(output_padding)
    shape = [x.shape[0]]
    for i in range(nd):
        span = (k[i] - 1) * d[i] + 1
        if padding == "same":
            shape.append(x.shape[1 + i] * s[i] if op is None else (x.shape[1 + i] - 1) * s[i] + span % 2 + op[i])
        else:
            shape.append((x.shape[1 + i] - 1) * s[i] + span + (max(span, s[i]) - span if op is None else op[i]))
    shape.append(k[-2])
    y = tf.nn.conv_transpose(x, w, shape, list(s), padding.upper(), dilations=list(d)).numpy()
    mine = np.asarray(keras.ops.conv_transpose(x, w, s, padding, op, dilation_rate=d))
    assert mine.shape == y.shape
    out[key] = ([x, w, b], [act(activation, y + b)])


transposed("transposed, 1-D", (2, 5, 3), (4, 2, 3), strides=2)
transposed("transposed, 2x2 stride 2", (2, 3, 3, 4), (2, 2, 3, 4), strides=2)
transposed("transposed, 3x3 stride 2, same", (2, 4, 3, 2), (3, 3, 4, 2), strides=2, padding="same", activation="relu")
transposed("transposed, stride over kernel", (1, 3, 3, 2), (2, 2, 3, 2), strides=3)
transposed("transposed, stride 1", (1, 4, 4, 2), (3, 2, 3, 2))
transposed("transposed, stride 1, same", (1, 4, 4, 2), (3, 3, 1, 2), padding="same", activation="sigmoid")
transposed("transposed, output padding", (1, 3, 4, 2), (3, 3, 2, 2), strides=2, output_padding=1)
transposed("transposed, output padding, same", (1, 3, 4, 2), (3, 3, 2, 2), strides=2, padding="same", output_padding=1)
transposed("transposed, 3-D", (1, 2, 3, 2, 2), (2, 2, 2, 3, 2), strides=2)


def depthwise(x, w, strides, padding, dilation):
    """One channel at a time, so that nothing of the grouped form is assumed."""
    dims = ("NWC", "WIO", "NWC") if x.ndim == 3 else ("NHWC", "HWIO", "NHWC")
    parts = [jax.lax.conv_general_dilated(x[..., c : c + 1], w[..., c : c + 1, :], (strides,) * (x.ndim - 2), padding.upper(),
                                          rhs_dilation=(dilation,) * (x.ndim - 2), dimension_numbers=dims) for c in range(x.shape[-1])]
    return np.concatenate([np.asarray(p) for p in parts], -1)


for key, xs, ks, s, p, d in [("depthwise, 2-D", (2, 5, 5, 3), (3, 3, 3, 1), 1, "valid", 1), ("depthwise, multiplier", (2, 6, 5, 3), (3, 2, 3, 2), 2, "same", 1),
                             ("depthwise, dilation", (1, 6, 6, 4), (2, 2, 4, 2), 1, "same", 2), ("depthwise, 1-D", (2, 7, 3), (3, 3, 2), 2, "same", 1)]:
    x, w = normal(*xs), normal(*ks)
    b = normal(ks[-1] * ks[-2])
    out[key] = ([x, w, b], [depthwise(x, w, s, p, d) + b])
x, w, q, b = normal(2, 5, 5, 3), normal(3, 3, 3, 2), normal(1, 1, 6, 4), normal(4)
out["separable, 2-D"] = ([x, w, q, b], [np.tanh(depthwise(x, w, 2, "same", 1) @ q[0, 0] + b)])
x, w, q = normal(2, 7, 3), normal(3, 3, 1), normal(1, 3, 2)
out["separable, 1-D"] = ([x, w, q, None], [depthwise(x, w, 1, "valid", 1) @ q[0]])


def columns(x, k, d, p, s):
    """Patches by their definition: (N, C kh kw, positions)."""
    x = np.pad(x, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    h, w = [(x.shape[2 + i] - (k[i] - 1) * d[i] - 1) // s[i] + 1 for i in range(2)]
    parts = [[x[:, c, i * d[0] : i * d[0] + h * s[0] : s[0], j * d[1] : j * d[1] + w * s[1] : s[1]][:, :h, :w].reshape(x.shape[0], -1)]
             for c in range(x.shape[1]) for i in range(k[0]) for j in range(k[1])]
    return np.stack([q[0] for q in parts], 1)


for key, shape, k, d, p, s in [("", (2, 2, 4, 5), (2, 2), (1, 1), (0, 0), (1, 1)), (", every option", (1, 2, 5, 7), (2, 3), (1, 2), (1, 0), (2, 1))]:
    x = normal(*shape)
    y = columns(x, k, d, p, s)
    np.testing.assert_allclose(y, keras.ops.unfold(x, k, d, p, s), rtol=1e-6)
    out["unfold" + key] = ([x], [y])
    g = normal(*y.shape)
    size = int(np.prod(shape))
    unit = np.stack([columns(e.reshape(shape), k, d, p, s).ravel() for e in np.eye(size)])  # unfold as a matrix; fold is its transpose
    out["fold" + key] = ([g], [(unit @ g.ravel()).reshape(shape)])
write(out)

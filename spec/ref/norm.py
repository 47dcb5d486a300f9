"""Normalization by its definitions in NumPy, each compared with Keras (whose float64 goes through float32 in places). Run: KERAS_BACKEND=jax JAX_ENABLE_X64=1 python norm.py"""
import keras
import numpy as np
from common import rng, write

keras.config.set_floatx("float64")
r = rng(1)
out = {}


def normal(*shape, loc=0.0, scale=1.0):
    return r.normal(loc, scale, shape)


def positive(*shape):
    return r.uniform(0.3, 2.0, shape)


def call(f, *args, **kw):
    return np.asarray(f(*args, **kw))


def agrees(mine, keras_value):
    np.testing.assert_allclose(mine, np.asarray(keras_value), rtol=1e-5, atol=1e-6)
    return mine


def layer(x, gamma, beta, axes, epsilon, rms=False):
    axes = tuple(a % x.ndim for a in axes)
    mean = 0 if rms else x.mean(axes, keepdims=True)
    y = (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + epsilon)
    shape = [x.shape[i] if i in axes else 1 for i in range(x.ndim)]
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


x, mean, var, offset, scale = normal(3, 4, 5), normal(5), positive(5), normal(5), normal(5)
out["given, last axis"] = ([x, mean, var, offset, scale], [call(keras.ops.batch_normalization, x, mean, var, -1, offset, scale, 1e-3)])
x, mean, var = normal(3, 4, 5), normal(4), positive(4)
out["given, middle axis, plain"] = ([x, mean, var, None, None], [call(keras.ops.batch_normalization, x, mean, var, 1, None, None, 1e-3)])


def train(x, axis, momentum, epsilon, moving_mean, moving_var, scale, offset):
    axes = [i for i in range(x.ndim) if i != axis % x.ndim]
    m, v = keras.ops.moments(x, axes)
    y = keras.ops.batch_normalization(x, m, v, axis, offset, scale, epsilon)
    m, v = np.asarray(m), np.asarray(v)
    return [np.asarray(y), m, v, moving_mean * momentum + m * (1 - momentum), moving_var * momentum + v * (1 - momentum)]


for key, shape, axis in [("train, last axis", (3, 4, 5), -1), ("train, channels first", (3, 4, 5), 1), ("train, matrix", (7, 3), -1), ("train, wide", (5, 70), -1)]:
    c = shape[axis]
    x, scale, offset, mm, mv = normal(*shape, loc=3), normal(c), normal(c), normal(c), positive(c)
    out[key] = ([x, scale, offset, mm, mv], train(x, axis, 0.9, 1e-3, mm, mv, scale, offset)[:3])
    out[key + ", moved"] = ([], train(x, axis, 0.9, 1e-3, mm, mv, scale, offset)[3:])

x, g, b = normal(4, 3, 6), normal(6), normal(6)
out["layer, last axis"] = ([x, g, b], [agrees(layer(x, g, b, [-1], 1e-3), keras.ops.layer_normalization(x, g, b, axis=-1, epsilon=1e-3))])
x, g, b = normal(4, 3, 6), normal(3, 6), normal(3, 6)
out["layer, two axes"] = ([x, g, b], [agrees(layer(x, g, b, [1, 2], 1e-3), keras.ops.layer_normalization(x, g, b, axis=[1, 2], epsilon=1e-3))])
x, g = normal(4, 3, 6), normal(3)
out["layer, middle axis"] = ([x, g, None], [agrees(layer(x, g, None, [1], 1e-3), keras.ops.layer_normalization(x, g, None, axis=1, epsilon=1e-3))])
x, g = normal(4, 6), normal(6)
out["rms"] = ([x, g], [agrees(layer(x, g, None, [-1], 1e-6, True), keras.ops.rms_normalization(x, g, axis=-1, epsilon=1e-6))])
x = normal(4, 6)
out["rms, first axis, plain"] = ([x, None], [agrees(layer(x, None, None, [0], 1e-6, True), keras.ops.rms_normalization(x, None, axis=0, epsilon=1e-6))])


def group(x, groups, axis, gamma, beta):
    norm = keras.layers.GroupNormalization(groups=groups, axis=axis, epsilon=1e-3)
    norm.build(x.shape)
    norm.set_weights([gamma, beta])
    return agrees(group_by_hand(x, groups, axis, gamma, beta), norm(x))


def group_by_hand(x, groups, axis, gamma, beta):
    first = np.moveaxis(x, axis, 1)
    y = layer(first.reshape(x.shape[0], groups, -1), None, None, [2], 1e-3).reshape(first.shape)
    shape = [1, -1] + [1] * (x.ndim - 2)
    return np.moveaxis(y * gamma.reshape(shape) + beta.reshape(shape), 1, axis)


x, g, b = normal(2, 3, 3, 6), normal(6), normal(6)
out["group, channels last"] = ([x, g, b], [group(x, 3, -1, g, b)])
x, g, b = normal(2, 6, 5), normal(6), normal(6)
out["group, channels first"] = ([x, g, b], [group(x, 2, 1, g, b)])

x = normal(3, 4, 5)
out["moments"] = ([x], [np.asarray(v) for v in keras.ops.moments(x, [0, 2])])
out["moments, kept"] = ([x], [np.asarray(v) for v in keras.ops.moments(x, [1], keepdims=True)])
x = normal(4, 5)
out["normalize"] = ([x], [call(keras.ops.normalize, x, axis=-1, order=2)])
out["normalize, order 1"] = ([x], [agrees(x / np.abs(x).sum(0, keepdims=True), keras.ops.normalize(x, axis=0, order=1))])
out["normalize, order 3"] = ([x], [agrees(x / (np.abs(x) ** 3).sum(-1, keepdims=True) ** (1 / 3), keras.ops.normalize(x, axis=-1, order=3))])
write(out)

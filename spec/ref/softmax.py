"""Softmax family, by Keras on JAX in float64, sparsemax by its definition. Run: KERAS_BACKEND=jax JAX_ENABLE_X64=1 python softmax.py"""
import keras
import numpy as np
from common import rng, write

r = rng(2)
out = {}
x = r.normal(0, 2, (3, 4, 5))
big = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1000.0, -1e9]])
wide = r.normal(0, 3, (3, 37))


def sparsemax(x, axis):
    """Martins and Astudillo (2016), algorithm 1. (Keras' on JAX does not add up to one.)"""
    z = -np.sort(-x, axis)
    n = x.shape[axis]
    k = np.arange(1, n + 1).reshape([n if i == axis % x.ndim else 1 for i in range(x.ndim)])
    size = (1 + k * z > np.cumsum(z, axis)).sum(axis, keepdims=True)
    tau = (np.take_along_axis(np.cumsum(z, axis), size - 1, axis) - 1) / size
    return np.maximum(x - tau, 0)


for name in ["softmax", "log_softmax", "sparsemax"]:
    f = sparsemax if name == "sparsemax" else getattr(keras.ops, name)
    out[name + ", last axis"] = ([x], [np.asarray(f(x, axis=-1))])
    out[name + ", first axis"] = ([x], [np.asarray(f(x, axis=0))])
    out[name + ", middle axis"] = ([x], [np.asarray(f(x, axis=1))])
    out[name + ", large values"] = ([big], [np.asarray(f(big, axis=-1))])
    out[name + ", wide"] = ([wide], [np.asarray(f(wide, axis=-1))])
write(out)

"""Inputs and weights from formulas, for the reference scripts beside this file; spec/support/formula.lua has the same."""
import numpy as np


def make(kind, shape, k):
    """An array of a kind from a formula; k tells arrays of one row apart."""
    n = int(np.prod(shape))
    s = np.sin(np.arange(n) * 0.7 + 0.3 + k * 1.7)
    if kind == "real":
        v = s * 1.5
    elif kind == "pos":
        v = np.abs(s) + 0.1
    elif kind == "prob":
        v = s * 0.45 + 0.5
    elif kind == "weight":
        v = np.abs(s) * (np.arange(n) % 4 != 3) * 2
    elif kind == "bits":
        v = (np.sin(np.arange(n) * 1.9 + k) > 0) * 1.0
    elif kind == "dist":
        e = np.exp(2 * s.reshape(shape))
        v = e / e.sum(-1, keepdims=True)
    elif kind == "onehot":
        v = np.eye(shape[-1])[make("labels", shape[:-1] + (shape[-1],), k)[..., 0]]
    elif kind == "labels":  # shape ends with the number of classes, which the result has as 1
        m = n // shape[-1]
        v = np.floor((np.sin(np.arange(m) * 2.3 + k) + 1) * 0.4999 * shape[-1])
        return v.reshape(shape[:-1] + (1,)).astype("int32")
    return np.asarray(v).reshape(shape).astype("float32")


def weight(name, shape, k):
    v = np.sin(np.arange(int(np.prod(shape))) * 1.3 + k) * 0.5
    if "variance" in name:
        v = np.abs(v) + 0.5
    return v.reshape(shape).astype("float32")

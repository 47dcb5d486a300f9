"""Pooling in float64, by Keras on JAX. Run: KERAS_BACKEND=jax JAX_ENABLE_X64=1 python pool.py"""
import jax
import keras
import numpy as np
from common import rng, write

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")
r = rng(13)
out = {}


def windows(x, size, strides, padding):
    """Every window by its definition, TensorFlow's rule for "same"."""
    nd = x.ndim - 2
    spread = lambda v: (v,) * nd if isinstance(v, int) else tuple(v)
    size, strides = spread(size), spread(strides or size)
    ranges = []
    for i in range(nd):
        n = x.shape[1 + i]
        if padding == "same":
            m = -(-n // strides[i])
            lo = max((m - 1) * strides[i] + size[i] - n, 0) // 2
        else:
            m, lo = (n - size[i]) // strides[i] + 1, 0
        ranges.append([slice(max(j * strides[i] - lo, 0), min(j * strides[i] - lo + size[i], n)) for j in range(m)])
    return ranges


def pooled(x, ranges, f):
    y = np.empty([x.shape[0], *map(len, ranges), x.shape[-1]])
    for at in np.ndindex(*map(len, ranges)):
        part = x[(slice(None), *[ranges[i][a] for i, a in enumerate(at)])]
        y[(slice(None), *at)] = f(part, tuple(range(1, x.ndim - 1)))
    return y


for key, shape, size, strides, padding in [
    ("1-D", (2, 7, 3), 2, None, "valid"), ("2-D", (2, 4, 6, 3), 2, None, "valid"), ("2-D, rest", (1, 5, 7, 2), (2, 3), None, "valid"),
    ("2-D, overlapping", (2, 6, 5, 2), 3, 1, "valid"), ("2-D, same", (2, 5, 6, 3), 2, None, "same"),
    ("2-D, same, overlapping", (1, 6, 7, 2), 3, 2, "same"), ("2-D, stride over window", (1, 7, 7, 2), 2, 3, "valid"),
    ("2-D, many channels", (1, 2, 4, 260), 2, None, "valid"), ("3-D", (1, 4, 3, 5, 2), (2, 1, 2), None, "same"),
]:
    x = r.normal(0, 1, shape).round(6)
    ranges = windows(x, size, strides, padding)
    big, mean = pooled(x, ranges, np.max), pooled(x, ranges, np.mean)
    np.testing.assert_allclose(big, keras.ops.max_pool(x, size, strides or size, padding))
    np.testing.assert_allclose(mean, keras.ops.average_pool(x, size, strides or size, padding), rtol=1e-6)
    out["max, " + key] = ([x], [big])
    out["average, " + key] = ([x], [mean])
for key, shape, size in [("1-D", (2, 7, 3), (3,)), ("2-D", (2, 5, 4, 3), (3, 2)), ("3-D", (1, 4, 3, 5, 2), (2, 3, 2)), ("larger", (1, 2, 3, 2), (4, 4))]:
    x = r.normal(0, 1, shape).round(6)
    ranges = [[slice(j * n // m, -(-(j + 1) * n // m)) for j in range(m)] for n, m in zip(shape[1:-1], size)]
    out["adaptive max, " + key] = ([x], [pooled(x, ranges, np.max)])
    out["adaptive average, " + key] = ([x], [pooled(x, ranges, np.mean)])
    if key != "larger":
        np.testing.assert_allclose(out["adaptive max, " + key][1][0], keras.ops.adaptive_max_pool(x, size), rtol=1e-6)
        np.testing.assert_allclose(out["adaptive average, " + key][1][0], keras.ops.adaptive_average_pool(x, size), rtol=1e-6)
x = r.normal(0, 1, (2, 2, 3, 8)).round(6)
out["depth_to_space"] = ([x], [np.asarray(keras.ops.depth_to_space(x, 2))])
x = r.normal(0, 1, (1, 4, 6, 3)).round(6)
out["space_to_depth"] = ([x], [np.asarray(keras.ops.space_to_depth(x, 2))])
write(out)

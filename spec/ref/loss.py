"""Cross-entropies by Keras on JAX in float64. Labels are written from 1.
Run: KERAS_BACKEND=jax JAX_ENABLE_X64=1 python loss.py."""
import keras
import numpy as np
from common import rng, write

r = rng(3)
out = {}


def probabilities(*shape, axis=-1):
    p = r.uniform(0.05, 1, shape)
    return p / p.sum(axis, keepdims=True)


x, t = r.normal(0, 2, (6, 5)), r.integers(0, 5, 6)
f = keras.ops.sparse_categorical_crossentropy
out["sparse, logits"] = ([(t + 1).astype("int32"), x], [np.asarray(f(t, x, from_logits=True))])
p = probabilities(6, 5)
out["sparse, probabilities"] = ([(t + 1).astype("int32"), p], [np.asarray(f(t, p))])
q = r.uniform(0.05, 1, (6, 5))
out["sparse, not normalized"] = ([(t + 1).astype("int64"), q], [np.asarray(f(t, q))])
x, t = r.normal(0, 2, (2, 3, 4)), r.integers(0, 4, (2, 3))
out["sparse, sequences"] = ([(t + 1).astype("int32"), x], [np.asarray(f(t, x, from_logits=True))])
first = np.moveaxis(x, -1, 1)
out["sparse, channels first"] = ([(t + 1).astype("int32"), first], [np.asarray(f(t, x, from_logits=True))])
wide, t = r.normal(0, 3, (3, 40)), r.integers(0, 40, 3)
out["sparse, wide"] = ([(t + 1).astype("int32"), wide], [np.asarray(f(t, wide, from_logits=True))])

f = keras.ops.categorical_crossentropy
x, d = r.normal(0, 2, (6, 5)), probabilities(6, 5)
out["categorical, logits"] = ([d, x], [np.asarray(f(d, x, from_logits=True))])
out["categorical, probabilities"] = ([d, p], [np.asarray(f(d, p))])
out["categorical, not normalized"] = ([d, q], [np.asarray(f(d, q))])
out["categorical, first axis"] = ([d, x], [np.asarray(f(d, x, from_logits=True, axis=0))])
smooth = keras.losses.categorical_crossentropy(d, x, from_logits=True, label_smoothing=0.2)
out["categorical, smoothed"] = ([x, d], [np.asarray(smooth)])

f = keras.ops.binary_crossentropy
t, x, p = r.uniform(0, 1, (3, 4)), r.normal(0, 3, (3, 4)), r.uniform(0.02, 0.98, (3, 4))
out["binary, logits"] = ([t, x], [np.asarray(f(t, x, from_logits=True))])
out["binary, probabilities"] = ([t, p], [np.asarray(f(t, p))])
t, p = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0, 1.0])
out["binary, at the limits"] = ([t, p], [np.asarray(f(t, p))])
x = np.array([800.0, -800.0, 800.0, -800.0])
out["binary, large logits"] = ([t, x], [np.asarray(f(t, x, from_logits=True))])

write(out)

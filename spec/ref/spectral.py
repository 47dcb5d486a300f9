"""SpectralNormalization over three steps of training, computed by the real Keras: writes spec/ref/spectral.lua and
spec/fixtures/keras/spectral.keras and .h5, which spec/layers/peers_spec.lua reads.

Run: KERAS_BACKEND=tensorflow python spec/ref/spectral.py   (Keras 3.15)
Rows hold options, the result of the third call, the weights after it (kernel, vector_u, then the layer's others), and the
gradients of sum(result * formula.make) in it for the input and the trainable weights.
"""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np
import keras
import tensorflow as tf
from keras import layers as L
from formula import make, weight
from luawrite import lua

HERE = os.path.dirname(os.path.abspath(__file__))
rows = []


def values(v):
    return [float("%.7g" % x) for x in np.asarray(v, "float64").ravel()]


def row(cls, args, shape, zero=False, **more):
    m = L.SpectralNormalization(getattr(L, cls)(**args), **more)
    x = tf.constant(make("real", tuple(shape), 0))
    m(x)
    start = [weight(w.name, tuple(w.shape), i) for i, w in enumerate(m.weights)]
    if zero:
        start[0] = start[0] * 0
    m.set_weights(start)
    for _ in range(2):
        m(x, training=True)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = m(x, training=True)
        loss = tf.reduce_sum(y * make("real", tuple(y.shape), 5))
    g = tape.gradient(loss, [x] + [v.value for v in m.trainable_variables])
    rows.append({"class": cls, "args": args, "shape": list(shape), "more": more, "zero": zero or None, "y": values(y),
                 "weights": [values(w) for w in m.get_weights()], "g": [values(v) for v in g]})


row("Dense", dict(units=3), (2, 4))
row("Dense", dict(units=5, use_bias=False, activation="tanh"), (3, 4), power_iterations=2)
row("Conv1D", dict(filters=4, kernel_size=2), (1, 5, 2), power_iterations=3)
row("Conv2D", dict(filters=2, kernel_size=3, padding="same", activation="relu"), (1, 4, 4, 2))
row("Conv2DTranspose", dict(filters=3, kernel_size=2), (1, 2, 2, 2), power_iterations=5)
row("Dense", dict(units=3), (2, 4), zero=True)

keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((6, 6, 2)), L.SpectralNormalization(L.Conv2D(3, 2, activation="relu")), L.Flatten(),
                          L.SpectralNormalization(L.Dense(4), power_iterations=2)])
model(make("real", (2, 6, 6, 2), 0), training=True)
for name in ("spectral.keras", "spectral.h5"):
    model.save(os.path.join(HERE, "..", "fixtures", "keras", name))

with open(os.path.join(HERE, "spectral.lua"), "w") as f:
    f.write("-- Made by spectral.py with Keras %s.\nreturn {\n" % keras.__version__)
    for r in rows:
        f.write("  %s,\n" % lua({k: v for k, v in r.items() if v is not None}))
    f.write("  model = %s,\n}\n" % lua(values(model(make("real", (2, 6, 6, 2), 0)))))

"""gammainc by SciPy and its slope by TensorFlow, eigenvalues by NumPy, jvp by JAX: writes spec/ref/special.lua, which
spec/ops/decoding_spec.lua reads.

Run: python spec/ref/special.py
"""
import os
os.environ["KERAS_BACKEND"] = "jax"
import numpy as np
import scipy.special
import tensorflow as tf
import jax
import jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
from luawrite import lua

pairs = [(a, x) for a in (1e-3, 0.3, 1.0, 2.5, 7.0, 19.5, 21.0, 150.0, 1e4) for x in (1e-6, 0.1, 0.9, 2.5, 8.0, 21.0, 140.0, 10050.0)]
a, x = (np.array(v) for v in zip(*pairs))
tx = tf.constant(x)
with tf.GradientTape() as tape:
    tape.watch(tx)
    y = tf.math.igamma(tf.constant(a), tx)
slope = tape.gradient(y, tx).numpy()

matrices = []
for n, k in ((1, 0), (2, 0), (2, 1), (3, 0), (4, 1), (6, 2), (9, 3), (16, 4), (30, 5)):
    m = (np.sin(np.arange(n * n) ** 1.4 * 0.7 + k) * 2).reshape(n, n)
    w = np.linalg.eigvals(m)
    w = sorted(w, key=lambda v: (round(v.real, 9), v.imag))
    matrices.append({"n": n, "k": k, "re": [float(v.real) for v in w], "im": [float(v.imag) for v in w]})

p, t = jnp.array([0.3, -1.2, 2.0]), jnp.array([1.0, 0.5, -0.25])
q, u = jnp.array([0.7]), jnp.array([2.0])
m = jnp.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
cases = [lambda v, w: jnp.sin(v) * w, lambda v, w: jnp.exp(m @ v) * w, lambda v, w: jnp.sum(v ** 2) / w, lambda v, w: v * 3]
jvps = []
for f in cases:
    y, dy = jax.jvp(f, (p, q), (t, u))
    jvps.append({"y": y.ravel().tolist(), "dy": dy.ravel().tolist()})
with open(__file__.replace(".py", ".lua"), "w") as f:
    f.write("-- Made by special.py with SciPy %s, TensorFlow %s, NumPy %s and JAX %s.\nreturn {\n" % (
        __import__("scipy").__version__, tf.__version__, np.__version__, jax.__version__))
    for name, v in (("a", a.tolist()), ("x", x.tolist()), ("gammainc", scipy.special.gammainc(a, x).tolist()),
                    ("slope", slope.tolist()), ("matrices", matrices), ("jvps", jvps)):
        f.write("  %s = %s,\n" % (name, lua(v, 17)))
    f.write("}\n")

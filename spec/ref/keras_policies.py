"""Models of the real Keras whose layers share a DTypePolicyMap with several policies, and what they predict:

    python spec/ref/keras_policies.py

spec/fixtures/keras/policies.keras (read), policies_inside.keras (refused: a projection inside of attention has its own)."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
from luawrite import write

L, D = keras.layers, keras.dtype_policies
HERE = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(HERE, "..", "fixtures", "keras")


def fill(model):
    for k, w in enumerate(model.weights):
        w.assign(np.random.default_rng(k).normal(size=w.shape) * 0.4)


def policies():
    return D.DTypePolicyMap("float32", {
        "a": D.DTypePolicy("mixed_bfloat16"), "inner/.*": D.DTypePolicy("float64"),
        "(lstm|both/forward_gru)/\\w+_cell": D.DTypePolicy("mixed_bfloat16"), "out": D.DTypePolicy("float64"),
        "times/wrapped": D.DTypePolicy("bfloat16")})


def model():
    m = policies()
    x = keras.Input((4, 3), name="x")
    h = L.Dense(5, name="a", dtype=m)(x)
    h = keras.Sequential([L.Dense(4, name="first", dtype=m), L.Dense(3, name="second", dtype=m)], name="inner")(h)
    h = L.Dense(4, name="plain", dtype=m)(h)
    h = L.TimeDistributed(L.Dense(4, name="wrapped", dtype=m), name="times")(h)
    h = L.LSTM(3, name="lstm", dtype=m, return_sequences=True)(h)
    h = L.Bidirectional(L.GRU(2, name="gru", dtype=m), name="both")(h)
    return keras.Model(x, L.Dense(2, name="out", dtype=m)(h), name="policies")


def inside():
    m = D.DTypePolicyMap("float32", {"heads/query": D.DTypePolicy("bfloat16")})
    x = keras.Input((4, 3), name="x")
    return keras.Model(x, L.MultiHeadAttention(2, 3, name="heads", dtype=m)(x, x), name="inside")


net = model()
fill(net)
net.save(os.path.join(out, "policies.keras"))
keras.saving.load_model(os.path.join(out, "policies.keras"))
inside().save(os.path.join(out, "policies_inside.keras"))
x = np.sin(np.arange(24)).reshape(2, 4, 3).astype("float32")
dtypes = {l.path: [l.compute_dtype, l.variable_dtype] for l in net._flatten_layers() if l.weights and l.path and not
          isinstance(l, keras.Model)}
write(os.path.join(HERE, "keras_policies.lua"), "keras_policies.py", [dict(
    x=x, y=np.array(net(x)), dtypes=dtypes, weights=[str(w.dtype) for w in net.weights])])

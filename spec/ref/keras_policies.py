"""Models of the real Keras whose layers share a DTypePolicyMap with several policies, and what they predict:

    python spec/ref/keras_policies.py

spec/fixtures/keras/policies.keras, and policies_inside.keras, where parts of attention, of a wrapper and of a layer around others have
their own."""
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
    m = D.DTypePolicyMap("float32", {
        "heads/(query|attention_output)": D.DTypePolicy("mixed_bfloat16"), "heads/key": D.DTypePolicy("bfloat16"),
        "grouped/value": D.DTypePolicy("float64"), "grouped": D.DTypePolicy("mixed_float16"),
        "times/.*": D.DTypePolicy("bfloat16"), "both/backward_lstm/.*": D.DTypePolicy("mixed_bfloat16")})
    x = keras.Input((4, 3), name="x")
    h = L.MultiHeadAttention(2, 3, name="heads", dtype=m)(x, x)
    h = L.GroupQueryAttention(2, 4, 2, name="grouped", dtype=m)(h, h)
    h = L.TimeDistributed(L.Dense(4, name="wrapped", dtype=m), name="times", dtype=m)(h)
    h = L.Bidirectional(L.LSTM(2, name="lstm", dtype=m), name="both", dtype=m)(h)
    return keras.Model(x, L.Dense(2, name="out", dtype=m)(h), name="inside")


def sequential():
    m = D.DTypePolicyMap("mixed_bfloat16", {"chain/a": D.DTypePolicy("float64"), "a": D.DTypePolicy("float16")})
    return keras.Sequential([keras.Input((3,)), L.Dense(4, name="a", dtype=m), L.Dense(2, name="b", dtype=m)], name="chain")


def facts(net):
    return {l.path: [l.compute_dtype, l.variable_dtype] for l in net._flatten_layers() if l.weights and l.path and not
            isinstance(l, keras.Model)}


net = model()
fill(net)
net.save(os.path.join(out, "policies.keras"))
keras.saving.load_model(os.path.join(out, "policies.keras"))
x = np.sin(np.arange(24)).reshape(2, 4, 3).astype("float32")
rows = [dict(x=x, y=np.array(net(x)), dtypes=facts(net), weights=[str(w.dtype) for w in net.weights])]
for name, made, data in [("policies_inside", inside(), x), ("policies_sequential", sequential(), x[0])]:
    fill(made)
    made.save(os.path.join(out, name + ".keras"))
    rows.append(dict(name=name, x=data, y=np.array(made(data)).astype("float32"), dtypes=facts(made),
                     weights=[str(w.dtype) for w in made.weights], paths=[w.path for w in made.weights]))
write(os.path.join(HERE, "keras_policies.lua"), "keras_policies.py", rows)

"""Recurrent layers and their wrappers, computed by the real Keras: writes spec/ref/recurrent.lua, which
spec/layers/recurrent_spec.lua reads.

Run: KERAS_BACKEND=tensorflow python spec/ref/recurrent.py   (Keras 3.15)
Inputs and weights follow formula.py; rows hold options and results. A layer inside another is { class, args }.
"""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import random
import numpy as np
import keras
import tensorflow as tf
from keras import layers as L
from formula import make, weight
from luawrite import lua

rnd = random.Random(7)
rows = []


def pick(*values):
    return rnd.choice(values)


def values(v):
    return [float("%.6g" % x) for x in np.asarray(v, "float64").ravel()]


def build(spec):
    cls, args = spec
    args = dict(args)
    for k in ("layer", "backward_layer", "cell"):
        if k in args:
            args[k] = [build(c) for c in args[k]] if isinstance(args[k], list) else build(args[k])
    if "cells" in args:
        args["cells"] = [build(c) for c in args["cells"]]
    return getattr(L, cls)(**args)


def written(spec):
    cls, args = spec
    out = {}
    for k, v in args.items():
        if k in ("layer", "backward_layer", "cell"):
            v = [written(c) for c in v] if isinstance(v, list) else written(v)
        elif k == "cells":
            v = [written(c) for c in v]
        elif k == "axis" and v > 0:
            v = v + 1
        elif v is None:
            v = "none"
        out[k] = v
    return {"class": cls, "args": out}


MASKS = {
    "right": lambda b, t: [[s < t - i % t for s in range(t)] for i in range(b)],
    "left": lambda b, t: [[s >= i % t for s in range(t)] for i in range(b)],
    "middle": lambda b, t: [[(s + i) % 3 != 1 for s in range(t)] for i in range(b)],
    "all": lambda b, t: [[i > 0 for s in range(t)] for i in range(b)],
}


def row(spec, shape, mask=None, states=None, calls=1, training=None):
    shape = tuple(shape)
    m = build(spec)
    x = tf.Variable(make("real", shape, 0))
    given = [tf.Variable(make("real", tuple(s), i + 1)) for i, s in enumerate(states)] if states else []
    kw = {}
    if mask:
        kw["mask"] = tf.constant(MASKS[mask](shape[0], shape[1]))
    if given:
        kw["initial_state"] = list(given)
    if training is not None:
        kw["training"] = training
    m(x, **kw)
    m.set_weights([weight(w.name, tuple(w.shape), i) for i, w in enumerate(m.weights)])
    if hasattr(m, "reset_state") and getattr(m, "stateful", False):
        m.reset_state()
    for _ in range(calls - 1):
        m(x, **kw)
    with tf.GradientTape() as tape:
        out = m(x, **kw)
        flat = keras.tree.flatten(out)
        loss = sum(tf.reduce_sum(y * make("real", tuple(y.shape), 5 + i)) for i, y in enumerate(flat))
    variables = [x] + given + [v.value for v in m.trainable_variables]
    grads = [g if g is not None else tf.zeros_like(v) for g, v in zip(tape.gradient(loss, variables), variables)]
    rows.append(dict(layer=written(spec), shape=list(shape), mask=mask, states=states, calls=calls, training=training,
                     shapes=[list(y.shape) for y in flat], y=[values(y) for y in flat],
                     g=[values(tf.convert_to_tensor(g)) for g in grads]))


def options(cls):
    out = dict(units=pick(2, 3, 5))
    out.update(pick({}, {}, dict(activation=pick("relu", "sigmoid", "linear", "softsign"))))
    if cls != "SimpleRNN":
        out.update(pick({}, {}, dict(recurrent_activation=pick("hard_sigmoid", "tanh", "relu"))))
    out.update(pick({}, {}, dict(use_bias=False)))
    if cls == "GRU":
        out.update(pick({}, dict(reset_after=False)))
    if cls == "LSTM":
        out.update(pick({}, {}, dict(unit_forget_bias=False)))
    return out


def directions():
    # unrolled and backwards, Keras lines the mask of zero_output_for_mask up with the wrong steps
    return {k: True for k in ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask") if rnd.random() < 0.4}


for cls in ("SimpleRNN", "LSTM", "GRU"):
    for i in range(16):
        args = dict(options(cls), **directions())
        n = args["units"]
        shape = (pick(1, 3), pick(1, 4, 7), pick(1, 3))
        states = [[shape[0], n]] * (2 if cls == "LSTM" else 1) if rnd.random() < 0.3 else None
        row((cls, args), shape, pick(None, None, "right", "left", "middle", "all"), states)
    row((cls, dict(units=3, stateful=True, return_sequences=True)), (2, 3, 2), calls=3)
    row((cls, dict(units=3, return_sequences=True)), (3, 6, 2), "middle")
    row((cls, dict(units=3, return_sequences=True, zero_output_for_mask=True)), (3, 6, 2), "left")
    row((cls, dict(units=16)), (2, 5, 24), "right")

for i in range(6):
    cells = [(c + "Cell", options(c)) for c in rnd.sample(["SimpleRNN", "LSTM", "GRU"], pick(2, 3))]
    row(("RNN", dict(cell=cells, **directions())), (2, 4, 3), pick(None, "right", "middle"))
row(("RNN", dict(cell=("LSTMCell", dict(units=4)), return_state=True)), (2, 4, 3))
row(("RNN", dict(cell=("StackedRNNCells", dict(cells=[("GRUCell", dict(units=4)), ("LSTMCell", dict(units=2))])))), (2, 4, 3))

for i in range(16):
    cls = pick("SimpleRNN", "LSTM", "GRU")
    inside = dict(options(cls), **{k: v for k, v in directions().items() if k in ("return_sequences", "return_state")})
    args = dict(layer=(cls, inside), merge_mode=pick("concat", "concat", "sum", "mul", "ave", None))
    states = None
    if rnd.random() < 0.25:
        states = [[2, inside["units"]]] * (4 if cls == "LSTM" else 2)
    if args["merge_mode"] is None and inside.get("return_state"):
        args["merge_mode"] = "concat"  # Keras cannot tell its two results and states apart everywhere
    row(("Bidirectional", args), (2, pick(1, 4), 3), pick(None, None, "right", "left", "middle"), states)
row(("Bidirectional", dict(layer=("LSTM", dict(units=2, return_sequences=True)),
                           backward_layer=("GRU", dict(units=3, return_sequences=True, go_backwards=True)))), (2, 3, 2))

for inside, shape in ((("Dense", dict(units=4, activation="tanh")), (2, 3, 5)), (("Conv2D", dict(filters=2, kernel_size=3)), (2, 3, 5, 6, 2)),
                      (("LSTM", dict(units=3)), (2, 3, 4, 2)), (("Flatten", {}), (2, 3, 2, 2)), (("MaxPooling1D", {}), (2, 3, 4, 2))):
    row(("TimeDistributed", dict(layer=inside)), shape)
row(("TimeDistributed", dict(layer=("BatchNormalization", {}))), (4, 3, 2), training=True)
row(("TimeDistributed", dict(layer=("BatchNormalization", {}))), (4, 3, 2), training=False)

for rank in (1, 2, 3):
    for i in range(6):
        args = dict(filters=pick(1, 2, 3), kernel_size=pick(1, 2, 3), padding=pick("same", "valid"))
        args.update(pick({}, {}, dict(strides=2), dict(dilation_rate=2)))
        args.update(pick({}, {}, dict(use_bias=False), dict(unit_forget_bias=False), dict(recurrent_activation="hard_sigmoid")))
        args.update({k: True for k in ("return_sequences", "return_state", "go_backwards") if rnd.random() < 0.4})
        row(("ConvLSTM%dD" % rank, args), (2, pick(2, 3)) + (6, 7, 6)[:rank] + (2,), pick(None, None, "middle") if rank > 9 else None)

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "recurrent.lua"), "w") as f:
    f.write("-- Made by spec/ref/recurrent.py from the real Keras; do not edit.\nreturn {\n")
    for r in rows:
        f.write("  " + lua({k: v for k, v in r.items() if v is not None}, 6).replace('["', "").replace('"] = ', "=") + ",\n")
    f.write("}\n")
print(len(rows))

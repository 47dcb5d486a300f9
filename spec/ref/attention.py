"""Attention layers and EinsumDense, computed by the real Keras: writes spec/ref/attention.lua and
spec/fixtures/keras/attention.keras and .h5, which spec/layers/attention_spec.lua reads.

Run: KERAS_BACKEND=tensorflow python spec/ref/attention.py   (Keras 3.15)
Inputs, masks and weights follow formulas that the spec repeats; rows hold options and results.
"""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import random
import numpy as np
import keras
import tensorflow as tf
from keras import layers as L
from keras.src.backend import set_keras_mask
from formula import make, weight
from luawrite import lua

rnd = random.Random(11)
rows = []


def pick(*values):
    return rnd.choice(values)


def values(v):
    return [float("%.6g" % x) for x in np.asarray(v, "float64").ravel()]


def mask(kind, shape):
    """Masks of steps (batch, length), and of scores, by the position of each element."""
    i = np.arange(int(np.prod(shape))).reshape(shape)
    if kind == "right":
        return np.array([[s < shape[1] - b % shape[1] for s in range(shape[1])] for b in range(shape[0])])
    if kind == "left":
        return np.array([[s >= (b + 1) % shape[1] for s in range(shape[1])] for b in range(shape[0])])
    if kind == "all":  # nothing is left of the first sample
        return np.array([[b > 0 for s in range(shape[1])] for b in range(shape[0])])
    return (i * i + i // 3) % 4 != 1  # "some"


def written(args):
    out = {}
    for k, v in args.items():
        if k == "attention_axes":
            v = v + 1 if isinstance(v, int) and v > 0 else [a + 1 if a > 0 else a for a in v] if not isinstance(v, int) else v
        elif k == "output_shape" and isinstance(v, (list, tuple)):
            v = ["none" if n is None else n for n in v]
        out[k] = v
    return out


def row(cls, args, shapes, masks=(None, None, None), attention=None, causal=False, scores=False):
    m = getattr(L, cls)(**args)
    x = [tf.constant(make("real", tuple(s), i)) for i, s in enumerate(shapes)]
    kw = {}
    if cls in ("MultiHeadAttention", "GroupQueryAttention"):
        given = list(x)  # MultiHeadAttention reads the query's mask from the tensor alone
        if attention:
            kw["attention_mask"] = tf.constant(mask("some", tuple(attention)))
    elif cls == "EinsumDense":
        given = x
    else:
        given = [list(x)]
        if any(masks):
            kw["mask"] = [tf.constant(mask(kind, t.shape[:2])) if kind else None for kind, t in zip(masks, x)]
    if causal:
        kw["use_causal_mask"] = True
    if scores:
        kw["return_attention_scores"] = True
    def call():
        for kind, t in zip(masks, x):
            if kind and given is not x and not isinstance(given[0], list):
                set_keras_mask(t, tf.constant(mask(kind, t.shape[:2])))
        return m(*given, **kw)

    call()
    m.set_weights([weight(w.name, tuple(w.shape), i) for i, w in enumerate(m.weights)])
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = call()
        flat = keras.tree.flatten(out)
        loss = sum(tf.reduce_sum(y * make("real", tuple(y.shape), 5 + i)) for i, y in enumerate(flat))
        loss += sum(m.losses)
    variables = x + [v.value for v in m.trainable_variables]
    grads = [g if g is not None else tf.zeros_like(v) for g, v in zip(tape.gradient(loss, variables), variables)]
    rows.append({"class": cls, "args": written(args), "inputs": [list(s) for s in shapes],
                 "masks": [k or False for k in masks] if any(masks) else None, "attention": attention,
                 "causal": causal or None, "scores": scores or None,
                 "losses": values([float(v) for v in m.losses]) or None,
                 "weights": [list(w.shape) for w in m.weights],
                 "shapes": [list(y.shape) for y in flat], "y": [values(y) for y in flat],
                 "g": [values(tf.convert_to_tensor(g)) for g in grads]})


def inputs(width, keys, widths=None):
    b, t, s = pick(1, 2, 3), pick(1, 3, 5), pick(2, 4)
    w = widths or [width] * 3
    out = [[b, t, w[0]], [b, s, w[1]]]
    return out + [[b, s, w[2]]] if keys else out


def masks_of(keys):
    k = [pick(None, "right", "left", "all"), pick(None, None, "right", "left", "all"), pick(None, "left") if keys else None]
    return k if rnd.random() < 0.6 else [None, None, None]


# ---- several heads ----

for i in range(24):
    # on TensorFlow, Keras adds a bias (heads, 1) to the wrong axis where there are as many steps as heads
    args = dict(num_heads=pick(1, 2, 3), key_dim=pick(2, 3, 4))
    args.update(pick({}, {}, dict(value_dim=pick(2, 3))))
    args.update(pick({}, {}, dict(use_bias=False)))
    args.update(pick({}, {}, dict(output_shape=pick(3, [5], [2, 3]))))
    args.update(pick({}, {}, dict(sliding_window=pick(1, 2, 3))))
    args.update(pick({}, {}, dict(use_gate=True)))
    keys = rnd.random() < 0.4
    shapes = inputs(3, keys, [3, pick(2, 3), pick(3, 4)])
    b, t, s, n = shapes[0][0], shapes[0][1], shapes[1][1], args["num_heads"]
    attention = pick(None, None, [b, t, s], [1, t, s], [t, s])
    row("MultiHeadAttention", args, shapes, masks_of(keys), attention, rnd.random() < 0.4, rnd.random() < 0.4)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3), [[2, 3, 4], [2, 5, 4]], attention=[2, 2, 3, 5])
row("MultiHeadAttention", dict(num_heads=2, key_dim=3), [[2, 3, 4], [2, 5, 4]], attention=[2, 1, 3, 5], scores=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3), [[2, 9, 4], [2, 9, 4]], causal=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3, sliding_window=3), [[2, 9, 4], [2, 9, 4]], ("right", "right", None), causal=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3, activity_regularizer="l2", kernel_regularizer="l1"), [[2, 3, 4], [2, 3, 4]])
# several axes, and axes that are not attended
two = [[2, 3, 2, 4], [2, 2, 2, 4]]
row("MultiHeadAttention", dict(num_heads=2, key_dim=3), two)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3), two, scores=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3, attention_axes=[1]), two, scores=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=3, attention_axes=1), two)
row("MultiHeadAttention", dict(num_heads=3, key_dim=2, attention_axes=[2]), [[2, 3, 4, 2], [2, 3, 5, 2]], attention=[2, 4, 5])
row("MultiHeadAttention", dict(num_heads=3, key_dim=2, attention_axes=[-2], use_gate=True), [[2, 3, 4, 2], [2, 3, 5, 2]], attention=[2, 3, 4, 5], scores=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=2, attention_axes=[2, 1]), [[2, 3, 2, 3], [2, 3, 2, 3]], scores=True)
row("MultiHeadAttention", dict(num_heads=2, key_dim=2, attention_axes=[1, 3], output_shape=[2]), [[1, 2, 3, 2, 3], [1, 2, 3, 2, 3]],
    attention=[1, 3, 2, 2, 2, 2])

for i in range(16):
    groups, each = pick(1, 2, 3), pick(1, 2)
    args = dict(head_dim=pick(2, 3, 4), num_query_heads=groups * each, num_key_value_heads=groups)
    args.update(pick({}, {}, dict(use_bias=False)))
    args.update(pick({}, {}, dict(sliding_window=pick(1, 2, 3))))
    args.update(pick({}, {}, dict(use_gate=True)))
    keys = rnd.random() < 0.4
    shapes = inputs(3, keys)
    b, t, s = shapes[0][0], shapes[0][1], shapes[1][1]
    attention = pick(None, None, [b, t, s], [1, t, s])
    row("GroupQueryAttention", args, shapes, masks_of(keys), attention, rnd.random() < 0.4, rnd.random() < 0.4)

# ---- one head ----

for cls in ("Attention", "AdditiveAttention"):
    for i in range(12):
        args = pick({}, dict(use_scale=cls == "Attention"))
        if cls == "Attention":
            args = dict(args, **pick({}, dict(score_mode="concat")))
        keys = rnd.random() < 0.4
        # where all is masked, what is left of the scores is rounding
        masks = [pick(None, "right", "left", "all"), pick(None, "right", "left"), None]
        row(cls, args, inputs(3, keys), masks if rnd.random() < 0.6 else [None] * 3, None, rnd.random() < 0.4, rnd.random() < 0.4)

# ---- EinsumDense ----

for equation, out, bias, shape, more in (
        ("ab,bc->ac", 4, None, [3, 5], {}),
        ("ab,bc->ac", 4, "c", [3, 5], dict(activation="relu")),
        ("abc,cd->abd", [None, 4], "d", [2, 3, 5], dict(activation="softmax")),
        ("...x,xy->...y", 4, "y", [2, 3, 2, 5], {}),
        ("...x,xy->...y", 4, "y", [2, 5], dict(activation="gelu")),
        ("abc,cde->abde", [None, 2, 3], "de", [2, 3, 5], dict(activation="tanh")),
        ("abcd,cde->abe", [None, 4], "e", [2, 3, 2, 3], {}),
        ("abcd,cdef->abef", [None, 2, 3], None, [2, 3, 2, 3], {}),
        ("abc,cde->abde", [None, 2, 3], "e", [2, 3, 5], {}),
        ("abc,cde->abde", [None, 2, 3], "d", [2, 3, 5], dict(activation="sigmoid")),
        ("abc,cde->abed", [None, 3, 2], "ed", [2, 3, 5], {}),
        ("abc,bcd->abd", [3, 4], "bd", [2, 3, 5], {}),
        ("abc,bd->adc", [4, 5], "d", [2, 3, 5], dict(activation="elu")),
        ("ab...,bc->ac...", 4, "c", [2, 5, 3, 2], {}),
        ("ab...,bc->ac...", 4, "c", [2, 5], {}),
        ("...abc,cd->...abd", [2, None, 4], "d", [2, 2, 3, 5], {}),
        ("abc,cd->adb", [4, None], "d", [2, 3, 5], {})):
    row("EinsumDense", dict(equation=equation, output_shape=out, **(dict(bias_axes=bias) if bias else {}), **more), [shape])

# ---- files: spec/fixtures/keras/attention.keras and .h5 ----

HERE = os.path.dirname(os.path.abspath(__file__))
tokens, other = keras.Input((6,), dtype="int32", name="tokens"), keras.Input((4, 5), name="other")
x = L.Embedding(9, 6, mask_zero=True)(tokens)
x = L.GroupQueryAttention(3, 4, 2, use_gate=True)(x, x, use_causal_mask=True)
y = L.EinsumDense("abc,cd->abd", (4, 6), bias_axes="d", activation="tanh")(other)
x = x + L.MultiHeadAttention(2, 3, value_dim=4, use_gate=True, sliding_window=3)(query=x, value=y, key=other)
x, scores = L.MultiHeadAttention(3, 2, output_shape=(6,))(x, y, return_attention_scores=True)
x = L.AdditiveAttention()([x, y])
x = L.Attention(use_scale=True, score_mode="concat")([x, y, y], use_causal_mask=True)
model = keras.Model([tokens, other], [x, scores])
model.set_weights([weight(w.name, tuple(w.shape), i) for i, w in enumerate(model.weights)])
for ending in (".keras", ".h5"):
    model.save(os.path.join(HERE, "..", "fixtures", "keras", "attention" + ending))
ids = np.array([[1, 5, 3, 0, 0, 0], [8, 2, 2, 4, 7, 0]], "int32")
files = [values(v) for v in model([ids, make("real", (2, 4, 5), 3)])]

with open(os.path.join(HERE, "attention.lua"), "w") as f:
    f.write("-- Made by spec/ref/attention.py from the real Keras; do not edit.\nreturn { files = %s, rows = {\n" % lua(files, 6))
    for r in rows:
        f.write("  " + lua({k: v for k, v in r.items() if v is not None}, 6).replace('["', "").replace('"] = ', "=") + ",\n")
    f.write("} }\n")
print(len(rows))

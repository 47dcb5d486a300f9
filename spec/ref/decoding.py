"""ctc_decode, computed by the real Keras on JAX; TensorFlow, which leaves other beams out, must agree where they are many: writes spec/ref/decoding.lua, which
spec/ops/decoding_spec.lua reads.

Run: python spec/ref/decoding.py   (Keras 3.15)
Logits follow a formula that the spec repeats. Rows hold the options as Tide takes them (mask_index from 1), the labels as Tide
counts them (the channels that are not the blank, in order, from 1; 0 fills up) and the scores.
"""
import os
os.environ["KERAS_BACKEND"] = "jax"
import numpy as np
import jax
jax.config.update("jax_enable_x64", True)
from keras import ops
from keras.src.backend.tensorflow import nn as tf_nn
from luawrite import lua

rows = []


def row(n, t, c, lengths, scale=2.0, **o):
    x = (np.sin(np.arange(n * t * c) ** 1.5 * 0.37 + 0.3) * scale).reshape(n, t, c)
    mask = o.get("mask_index", 0)
    labels, scores = ops.ctc_decode(x, np.array(lengths, "int32"), **o)
    again, other = tf_nn.ctc_decode(x.astype("float64"), np.array(lengths, "int32"), **o)
    labels = np.array(labels)
    if o.get("beam_width", 100) >= 100:
        assert (np.array(labels) == np.array(again)).all(), (labels, again)
        np.testing.assert_allclose(np.array(scores), np.array(other), rtol=1e-4)
    labels = np.where(labels < 0, 0, np.where(labels < mask, labels + 1, labels))
    rows.append({"shape": [n, t, c], "lengths": lengths, "scale": scale,
                 "options": dict(o, mask_index=mask + 1), "labels": labels.tolist(),
                 "scores": [[float("%.7g" % s) for s in r] for r in np.array(scores)]})


for merge in (True, False):
    for mask in (0, 2, 4):
        row(3, 8, 5, [8, 5, 1], merge_repeated=merge, mask_index=mask)
for width, top in ((1, 1), (3, 2), (10, 5), (100, 3)):
    for mask in (0, 2, 4):
        row(2, 7, 5, [7, 4], strategy="beam_search", beam_width=width, top_paths=top, mask_index=mask)
row(2, 12, 3, [12, 9], strategy="beam_search", beam_width=20, top_paths=4, scale=1.0)
row(1, 20, 9, [20], strategy="beam_search", beam_width=8, top_paths=8, scale=3.0)
row(1, 6, 2, [6], strategy="beam_search", beam_width=4, top_paths=2, scale=0.5)
with open(__file__.replace(".py", ".lua"), "w") as f:
    f.write("-- Made by decoding.py with Keras 3.15 on JAX and TensorFlow.\nreturn {\n")
    for r in rows:
        f.write("  %s,\n" % lua(r))
    f.write("}\n")
print(len(rows))

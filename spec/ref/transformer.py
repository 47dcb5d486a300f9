"""Layers of positions and transformer blocks, computed by the real KerasHub and Keras: writes spec/ref/transformer.lua and
spec/fixtures/keras/transformer.keras, which spec/layers/transformer_spec.lua reads.

Run: KERAS_BACKEND=tensorflow python spec/ref/transformer.py   (Keras 3.15, keras-hub 0.32)
Inputs, masks and weights follow formulas that the spec repeats; rows hold options as Tide writes them, and results.
"""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import importlib.util
import sys
import types

# the layers alone: the whole package asks for tokenizers
root = importlib.util.find_spec("keras_hub").submodule_search_locations[0]
for name in ("keras_hub", "keras_hub.src", "keras_hub.src.layers", "keras_hub.src.layers.modeling", "keras_hub.src.utils",
             "keras_hub.src.vllm"):
    module = types.ModuleType(name)
    module.__path__ = [os.path.join(root, *name.split(".")[1:])]
    sys.modules[name] = module

import numpy as np
import keras
import tensorflow as tf
from keras.src.backend import set_keras_mask
from keras_hub.src.layers.modeling.position_embedding import PositionEmbedding
from keras_hub.src.layers.modeling.rotary_embedding import RotaryEmbedding
from keras_hub.src.layers.modeling.sine_position_encoding import SinePositionEncoding
from keras_hub.src.layers.modeling.token_and_position_embedding import TokenAndPositionEmbedding
from keras_hub.src.layers.modeling.transformer_decoder import TransformerDecoder
from keras_hub.src.layers.modeling.transformer_encoder import TransformerEncoder
from keras.layers import ReversibleEmbedding
from formula import make, weight
from luawrite import lua

rows = []


def values(v):
    return [float("%.6g" % x) for x in np.asarray(v, "float64").ravel()]


def mask(kind, shape):
    if kind == "right":
        return np.array([[s < shape[1] - b % shape[1] for s in range(shape[1])] for b in range(shape[0])])
    if kind == "left":
        return np.array([[s >= (b + 1) % shape[1] for s in range(shape[1])] for b in range(shape[0])])
    i = np.arange(int(np.prod(shape))).reshape(shape)
    return (i * i + i // 3) % 4 != 1  # "some"


def row(cls, args, shapes, call=None, implicit=None, ids=None, masks=None):
    """masks: option -> (kind, shape); implicit: kinds of the masks that inputs bring; ids: inputs are ids below it."""
    layer, call = globals()[cls](**args), dict(call or {})
    written = {k: v + 1 if k in ("sequence_axis", "feature_axis") and v > 0 else v for k, v in args.items()}
    own = {k: v + 1 if k == "start_index" else (np.asarray(v) + 1).tolist() if k == "positions" else v for k, v in call.items()}
    for k, (kind, shape) in (masks or {}).items():
        call[k] = tf.constant(mask(kind, tuple(shape)))
    if "positions" in call:
        call["positions"] = tf.constant(call["positions"])
    if ids:
        x = [tf.constant(make("labels", tuple(s) + (ids,), i)[..., 0]) for i, s in enumerate(shapes)]
    else:
        x = [tf.constant(make("real", tuple(s), i)) for i, s in enumerate(shapes)]

    def run():
        for kind, t in zip(implicit or (), x):
            if kind:
                set_keras_mask(t, tf.constant(mask(kind, tuple(t.shape[:2]))))
        return layer(*x, **call)

    if call.get("reverse"):
        layer.build((1, 1))
    run()
    layer.set_weights([weight(w.name, tuple(w.shape), i) for i, w in enumerate(layer.weights)])
    with tf.GradientTape() as tape:
        floats = [] if ids else x
        for t in floats:
            tape.watch(t)
        flat = keras.tree.flatten(run())
        loss = sum(tf.reduce_sum(y * make("real", tuple(y.shape), 5 + i)) for i, y in enumerate(flat))
    variables = floats + [v.value for v in layer.trainable_weights]
    grads = [g if g is not None else tf.zeros_like(v) for g, v in zip(tape.gradient(loss, variables), variables)]
    rows.append({"class": cls, "args": written, "inputs": [list(s) for s in shapes], "call": own or None, "ids": ids,
                 "masks": {k: [kind, list(s)] for k, (kind, s) in (masks or {}).items()} or None,
                 "implicit": [k or False for k in implicit] if implicit else None,
                 "weights": [list(w.shape) for w in layer.weights], "shapes": [list(y.shape) for y in flat],
                 "y": [values(y) for y in flat], "g": [values(tf.convert_to_tensor(g)) for g in grads]})


# ---- embeddings and positions ----

row("ReversibleEmbedding", dict(input_dim=7, output_dim=4), [[2, 3]], ids=7)
row("ReversibleEmbedding", dict(input_dim=7, output_dim=4), [[2, 3, 4]], dict(reverse=True))
row("ReversibleEmbedding", dict(input_dim=7, output_dim=4, tie_weights=False), [[2, 3, 4]], dict(reverse=True))
row("ReversibleEmbedding", dict(input_dim=5, output_dim=3, tie_weights=False, logit_soft_cap=0.7), [[2, 3]], dict(reverse=True))
row("ReversibleEmbedding", dict(input_dim=5, output_dim=3, logit_soft_cap=2.5, mask_zero=True), [[1, 2, 3]], dict(reverse=True))

row("PositionEmbedding", dict(sequence_length=6), [[2, 4, 3]])
row("PositionEmbedding", dict(sequence_length=6), [[2, 3, 4, 3]])
row("PositionEmbedding", dict(sequence_length=6, initializer="zeros"), [[2, 4, 3]], dict(start_index=2))
row("PositionEmbedding", dict(sequence_length=6), [[2, 3, 3]], dict(positions=[4, 0, 4]))
row("PositionEmbedding", dict(sequence_length=6), [[2, 3, 3]], dict(positions=[[4, 0, 1], [5, 2, 2]]))

row("SinePositionEncoding", {}, [[2, 4, 6]])
row("SinePositionEncoding", dict(max_wavelength=50), [[2, 4, 5]])
row("SinePositionEncoding", {}, [[1, 3, 6]], dict(start_index=7))
row("SinePositionEncoding", {}, [[2, 3, 4]], dict(positions=[[4.0, 0.0, 1.0], [5.0, 12.0, 2.0]]))

row("RotaryEmbedding", {}, [[2, 4, 6]])
row("RotaryEmbedding", {}, [[2, 4, 2, 6]], dict(start_index=3))
row("RotaryEmbedding", dict(max_wavelength=100, scaling_factor=2.0), [[2, 4, 3, 4]])
row("RotaryEmbedding", dict(sequence_axis=2, feature_axis=1), [[2, 4, 5]])
row("RotaryEmbedding", dict(sequence_axis=-2), [[2, 3, 4, 6]])
row("RotaryEmbedding", dict(rope_type="dynamic", scaling_factor=3.0), [[2, 4, 6]])
row("RotaryEmbedding", dict(rope_type="yarn", scaling_factor=4.0), [[2, 4, 32]])
row("RotaryEmbedding", dict(rope_type="yarn", scaling_factor=4.0, truncate=False, beta_fast=16.0, beta_slow=2.0,
                            original_max_position_embeddings=1024), [[1, 3, 2, 16]])
row("RotaryEmbedding", dict(denominator_dim=12), [[1, 3, 8]], dict(positions=[5, 1, 2]))
row("RotaryEmbedding", {}, [[2, 3, 4]], dict(positions=[[5, 1, 2], [0, 3, 100]]))

row("TokenAndPositionEmbedding", dict(vocabulary_size=7, sequence_length=5, embedding_dim=4), [[2, 3]], ids=7)
row("TokenAndPositionEmbedding", dict(vocabulary_size=7, sequence_length=5, embedding_dim=4, tie_weights=False), [[2, 5]], ids=7)
row("TokenAndPositionEmbedding", dict(vocabulary_size=7, sequence_length=5, embedding_dim=4, mask_zero=True), [[2, 3]], dict(start_index=2),
    ids=7)
row("TokenAndPositionEmbedding", dict(vocabulary_size=7, sequence_length=5, embedding_dim=4, embeddings_initializer="ones"), [[2, 3]],
    dict(positions=[2, 1, 0]), ids=7)

# ---- blocks ----

D = dict(intermediate_dim=5, num_heads=2)
row("TransformerEncoder", D, [[2, 3, 4]])
row("TransformerEncoder", dict(D, normalize_first=True, activation="gelu"), [[2, 3, 6]])
row("TransformerEncoder", dict(D, num_heads=3, layer_norm_epsilon=1e-3, activation="tanh", bias_initializer="ones"), [[2, 4, 7]])
row("TransformerEncoder", D, [[3, 4, 4]], masks=dict(padding_mask=("left", [3, 4])))
row("TransformerEncoder", D, [[3, 4, 4]], masks=dict(padding_mask=("right", [3, 4]), attention_mask=("some", [3, 4, 4])))
row("TransformerEncoder", D, [[3, 4, 4]], dict(return_attention_scores=True), masks=dict(attention_mask=("some", [3, 4, 4])))
row("TransformerEncoder", D, [[3, 4, 4]], implicit=["right"])
row("TransformerEncoder", dict(D, normalize_first=True), [[3, 4, 4]], implicit=["left"], masks=dict(attention_mask=("some", [3, 4, 4])))
row("TransformerEncoder", D, [[3, 4, 4]], implicit=["left"], masks=dict(padding_mask=("right", [3, 4])))

row("TransformerDecoder", D, [[2, 3, 4]])
row("TransformerDecoder", dict(D, normalize_first=True, activation="gelu"), [[2, 3, 6]], dict(use_causal_mask=False))
row("TransformerDecoder", dict(D, num_heads=3, layer_norm_epsilon=1e-3), [[2, 4, 7], [2, 3, 5]])
row("TransformerDecoder", dict(D, normalize_first=True), [[3, 4, 4], [3, 5, 4]],
    masks=dict(decoder_padding_mask=("right", [3, 4]), encoder_padding_mask=("left", [3, 5])))
row("TransformerDecoder", D, [[3, 4, 4], [3, 5, 4]],
    masks=dict(decoder_attention_mask=("some", [3, 4, 4]), encoder_attention_mask=("some", [3, 4, 5])))
row("TransformerDecoder", D, [[3, 4, 4], [3, 5, 4]], implicit=["right", "left"])
row("TransformerDecoder", D, [[3, 4, 4], [3, 5, 4]], dict(use_causal_mask=False), implicit=["right", None],
    masks=dict(encoder_padding_mask=("right", [3, 5]), encoder_attention_mask=("some", [3, 4, 5])))
row("TransformerDecoder", D, [[3, 4, 4]], implicit=["left"], masks=dict(decoder_padding_mask=("right", [3, 4])))

# ---- a file ----

HERE = os.path.dirname(os.path.abspath(__file__))
ids, more = keras.Input((6,), dtype="int32", name="ids"), keras.Input((4, 5), name="more")
embed = TokenAndPositionEmbedding(9, 6, 4, mask_zero=True)
x = embed(ids)
e = TransformerEncoder(7, 2, normalize_first=True, dropout=0.1)(more + SinePositionEncoding(max_wavelength=100)(more))
x = x + PositionEmbedding(8)(x, start_index=2)
x = TransformerDecoder(6, 2, activation="gelu")(x, e)
x = RotaryEmbedding(scaling_factor=2.0)(x)
x = TransformerDecoder(6, 4)(x)
out = ReversibleEmbedding(9, 4, tie_weights=False, logit_soft_cap=3.0, name="way_back")(x, reverse=True)
model = keras.Model([ids, more], out)
model.set_weights([weight(w.name, tuple(w.shape), i) for i, w in enumerate(model.weights)])
model.save(os.path.join(HERE, "..", "fixtures", "keras", "transformer.keras"))
tokens = np.array([[1, 5, 3, 0, 0, 0], [8, 2, 2, 4, 7, 0]], "int32")
files = values(model([tokens, make("real", (2, 4, 5), 3)]))

with open(os.path.join(HERE, "transformer.lua"), "w") as f:
    f.write("-- Made by spec/ref/transformer.py from the real Keras and KerasHub; do not edit.\nreturn { files = %s, rows = {\n" % lua(files, 6))
    for r in rows:
        f.write("  " + lua({k: v for k, v in r.items() if v is not None}, 6).replace('["', "").replace('"] = ', "=") + ",\n")
    f.write("} }\n")
print(len(rows))

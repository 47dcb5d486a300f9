"""Random recurrent and attention models of real Keras of the kinds that keras_random_sequences.py does not draw: states that stay from call
to call, backwards and unrolled; stacked cells in both directions at each step of an outer time; attention over several axes, causal
between sequences of two lengths, with masks of both; nested models without inputs of their own; halves.

    python spec/ref/keras_random_variants.py [COUNT [SEED [FILE]]]      as keras_random.py; spec/fixtures/random/variants_SEED.zip.
Stored are 60 of seed 1."""
import os
import sys

import keras_random as base
import keras_random_sequences as seq
import keras
from keras import layers as L, ops

N = base.N


def half(d):
    if d.some(0.15):
        d.half = True
        return dict(dtype=d.one("mixed_bfloat16", "mixed_float16"))
    return {}


def cells(d, **how):
    out = []
    for _ in range(d.int(1, 3)):
        kind, kw = seq.cells_of(d)
        if d.some(0.2):
            kw["kernel_constraint"] = "max_norm"
        out.append(getattr(L, kind + "Cell")(**kw))
    return L.RNN(L.StackedRNNCells(out) if d.some(0.7) else out, **how)


def stateful(d):
    t, f = d.one((4, 3), (5, 2), (3, 4))
    x = L.Input(batch_shape=(N, t, f))
    d.inputs, d.kinds = [x], [d.one("real", "steps")]
    y = L.Masking()(x) if d.some(0.5) else x
    for i in range(d.int(1, 2)):
        kind, kw = seq.cells_of(d)
        how = dict(return_sequences=i == 0 or d.some(0.5), go_backwards=d.some(0.5), stateful=d.some(0.8), unroll=d.some(0.4),
                   zero_output_for_mask=d.some(0.4))
        layer = cells(d, **how) if d.some(0.3) else getattr(L, kind)(**kw, **how)
        if d.some(0.25):
            how.pop("go_backwards")
            layer = L.Bidirectional(getattr(L, kind)(**kw, **how), merge_mode=d.one("concat", "sum", "mul", "ave"))
        if len(y.shape) < 3:
            break
        y = layer(y)
    return keras.Model(x, L.Dense(2)(y))


def nested(d):
    t, s, f = d.one((2, 4, 3), (3, 3, 2), (2, 5, 2))
    x = L.Input((t, s, f))
    d.inputs, d.kinds = [x], ["real"]
    how = dict(return_sequences=d.some(0.5))
    inner = cells(d, **how, **half(d)) if d.some(0.7) else seq.layer(d, **how)
    if d.some(0.7):
        inner = L.Bidirectional(inner, merge_mode=d.one("concat", "sum", "mul", "ave"))
    if d.some(0.4):
        inner = keras.Sequential([inner, L.Dense(3, activation="tanh")])
    y = L.TimeDistributed(inner)(x)
    if len(y.shape) == 4:
        y = L.Reshape((t, -1))(y)
    y = L.Bidirectional(seq.layer(d, return_sequences=True, go_backwards=False))(y) if d.some(0.6) else y
    return keras.Model(x, L.Dense(2)(y))


def axes(d):
    rank = d.int(2, 3)
    sizes = [d.int(2, 4) for _ in range(rank)]
    x = L.Input((*sizes, 4))
    d.inputs, d.kinds = [x], ["real"]
    at = [i + 1 for i in range(rank) if d.some(0.6)] or [d.int(1, rank)]
    other = x
    if d.some(0.4):
        kept = [i for i in range(rank) if i + 1 not in at]
        value = L.Input((*[sizes[i] if i in kept else d.int(1, 4) for i in range(rank)], 4))
        d.inputs.append(value)
        d.kinds.append("real")
        other = value
    kw = dict(num_heads=d.int(1, 3), key_dim=d.int(1, 4), attention_axes=tuple(at), use_bias=d.some(0.7), **half(d))
    if d.some(0.4):
        kw["value_dim"] = d.int(1, 3)
    if d.some(0.4):
        kw["output_shape"] = d.one(3, (2, 3), (5,))
    how = dict(use_causal_mask=True) if len(at) == 1 and d.some(0.3) else {}
    y = L.MultiHeadAttention(**kw)(x, other, **how)
    return keras.Model(d.inputs if len(d.inputs) > 1 else x, L.Dense(2)(y))


def crossing(d):
    a, b = d.int(2, 6), d.int(2, 6)
    q, v = L.Input((a, 4)), L.Input((b, 4))
    d.inputs, d.kinds = [q, v], [d.one("real", "steps"), d.one("real", "steps")]
    y, z = (L.Masking()(x) if d.some(0.5) else x for x in (q, v))
    k = L.Masking()(L.Dense(4, activation="tanh")(z)) if d.some(0.3) else None
    how = dict(use_causal_mask=d.some(0.6))
    form = d.int(0, 3)
    if form == 0:
        kw = dict(num_heads=d.int(1, 3), key_dim=d.int(1, 3), use_gate=d.some(0.2), sliding_window=d.one(None, None, 1, 2), **half(d))
        y = L.MultiHeadAttention(**kw)(y, z, k, **how)
    elif form == 1:
        g = d.int(1, 3)
        y = L.GroupQueryAttention(head_dim=d.int(1, 3), num_query_heads=g * d.int(1, 2), num_key_value_heads=g, **half(d))(y, z, k, **how)
    elif form == 2:
        y = L.Attention(use_scale=d.some(0.5), score_mode=d.one("dot", "concat"))([y, z] + ([k] if k is not None else []), **how)
    else:
        y = L.AdditiveAttention(use_scale=d.some(0.5))([y, z] + ([k] if k is not None else []), **how)
    y = seq.layer(d, return_sequences=d.some(0.5))(y) if d.some(0.5) else y
    return keras.Model([q, v], L.Dense(2)(y))


def tokens(d):
    x = L.Input((d.int(3, 7),), dtype="int32")
    d.inputs, d.kinds = [x], ["ids"]
    y = L.Embedding(base.IDS + 1, d.int(2, 4), mask_zero=True)(x)
    for _ in range(d.int(1, 3)):
        y = d.one(lambda: L.Bidirectional(seq.layer(d, return_sequences=True, go_backwards=False, **half(d)))(y),
                  lambda: L.TimeDistributed(L.Dense(3, activation="tanh"))(y), lambda: L.MultiHeadAttention(2, 2)(y, y, use_causal_mask=d.some(0.5)),
                  lambda: L.Add()([y, L.Dense(y.shape[-1])(y)]), lambda: L.LayerNormalization()(y),
                  lambda: L.Attention()([y, y], use_causal_mask=d.some(0.5)))()
    y = d.one(lambda: seq.layer(d)(y), lambda: L.GlobalAveragePooling1D()(y), lambda: L.Dense(2)(y), lambda: L.GlobalMaxPooling1D()(y))()
    return keras.Model(x, L.Dense(2)(y))


def build(d):
    return d.one(stateful, nested, axes, crossing, tokens)(d)


base.build = build

if __name__ == "__main__":
    sys.argv[1:] = [*sys.argv[1:], *["60", "1", ""][len(sys.argv) - 1:]]
    sys.argv[3] = sys.argv[3] or os.path.join(base.HERE, "..", "fixtures", "random", "variants_%s.zip" % sys.argv[2])
    base.main()

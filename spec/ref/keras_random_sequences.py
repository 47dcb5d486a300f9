"""Random recurrent and attention models of real Keras under options that keras_random.py does not draw: masks of ids and of given steps
in the middle, both directions by layers of their own, states passed on as outputs and inputs, stacked and nested cells, attention over
several axes, with masks given as inputs, with scores; each trained for 20 steps by optimizers and schedules of every family.

    python spec/ref/keras_random_sequences.py [COUNT [SEED [FILE]]]      as keras_random.py; spec/fixtures/random/sequences_SEED.zip.
Stored are 12 of seed 1 and 30 of seed 2."""
import os
import sys

import keras_random as base
import numpy as np
from keras import layers as L, ops, optimizers as O
import keras

S = O.schedules
base.STEPS = 20
SHAPES = [(5, 3), (7, 2), (4, 4)]


def activation(d):
    return d.one("tanh", "relu", "gelu", "elu", "softsign", "sigmoid", "silu")


def cell_options(d):
    kw = dict(units=d.int(2, 4))
    if d.some(0.4):
        kw["activation"] = activation(d)
    if d.some(0.25):
        kw["use_bias"] = False
    if d.some(0.3):
        kw["recurrent_initializer"] = d.one("glorot_uniform", "identity", "he_normal")
    if d.some(0.2):
        kw["bias_regularizer"] = "l1"
    if d.some(0.2):
        kw["recurrent_constraint"] = "unit_norm"
    return kw


def cells_of(d, depth=1):
    kind = d.one("LSTM", "GRU", "SimpleRNN")
    kw = cell_options(d)
    if kind != "SimpleRNN" and d.some(0.3):
        kw["recurrent_activation"] = d.one("hard_sigmoid", "softsign", "tanh")
    if kind == "GRU":
        kw["reset_after"] = d.some(0.5)
    if kind == "LSTM":
        kw["unit_forget_bias"] = d.some(0.5)
    return kind, kw


def masked(d, x):
    form = d.int(0, 3)
    if form == 0:
        return L.Masking(mask_value=0.0)(x)
    if form == 1:
        ids = L.Input((x.shape[1],), dtype="int32", batch_size=None)
        d.inputs.append(ids)
        d.kinds.append("ids")
        return L.Concatenate()([L.Embedding(base.IDS + 1, 3, mask_zero=True)(ids), x])
    return x


def layer(d, **how):
    how["go_backwards"] = how.get("go_backwards", d.some(0.3))
    how["zero_output_for_mask"] = d.some(0.3)
    form = d.int(0, 5)
    if form < 4:
        kind, kw = cells_of(d)
        if d.some(0.2):
            how["unroll"] = True
        return getattr(L, kind)(**kw, **how)
    cells = []
    for _ in range(d.int(1, 3)):
        kind, kw = cells_of(d)
        cells.append(getattr(L, kind + "Cell")(**kw))
    return L.RNN(cells if form == 4 else L.StackedRNNCells(cells) if len(cells) > 1 else cells[0], **how)


def flat(states):
    out = []
    for s in states:
        out += flat(s) if isinstance(s, (list, tuple)) else [s]
    return out


def recurrent(d, x):
    form = d.int(0, 4)
    if form == 0:   # the states go on as tensors
        y, *states = layer(d, return_state=True, return_sequences=True)(x)
        state = L.Concatenate()(flat(states)) if len(flat(states)) > 1 else flat(states)[0]
        return L.Concatenate()([y, L.RepeatVector(y.shape[1])(state)])
    if form == 1:   # an initial state from a layer
        kind, kw = cells_of(d)
        how = dict(return_sequences=True, go_backwards=d.some(0.3))
        first = L.Dense(kw["units"], activation="tanh")(L.GlobalAveragePooling1D()(x))
        return getattr(L, kind)(**kw, **how)(x, initial_state=[first, first * 0.5] if kind == "LSTM" else first)
    if form == 2:   # directions of their own
        a, b = cells_of(d), cells_of(d)
        b[1]["units"] = a[1]["units"]
        state = d.some(0.3) and a[0] == b[0]
        how = dict(return_sequences=True, return_state=state)
        y = L.Bidirectional(getattr(L, a[0])(**a[1], **how), merge_mode=d.one("concat", "sum", "mul", "ave"),
                            backward_layer=getattr(L, b[0])(**b[1], go_backwards=True, **how))(x)
        if state:
            y, *states = y
            return L.Concatenate()([y, L.RepeatVector(y.shape[1])(L.Concatenate()(flat(states)))])
        return y
    if form == 3:
        return L.TimeDistributed(layer(d))(L.Reshape((x.shape[1], x.shape[2], 1))(x)) if x.shape[2] < 9 else x
    return layer(d, return_sequences=True)(x)


def attention(d, x):
    form = d.int(0, 6)
    other = x
    if d.some(0.4):
        other = L.Conv1D(x.shape[-1], 2, padding="same", name="other_%d" % len(d.pool))(x)
    how = {}
    if d.some(0.4):
        how["use_causal_mask"] = True
    if form <= 2:
        kw = dict(num_heads=d.int(1, 3), key_dim=d.int(1, 4), use_bias=d.some(0.7))
        if d.some(0.4):
            kw["value_dim"] = d.int(1, 4)
        if d.some(0.2):
            kw["use_gate"] = True
        if form == 1:
            kw["sliding_window"] = d.int(1, 3)
        if form == 2:   # a mask as an input of the model's own making
            mask = ops.matmul(x, ops.transpose(other, (0, 2, 1))) > -0.2
            how["attention_mask"] = mask
        if d.some(0.3):
            y, scores = L.MultiHeadAttention(**kw)(x, other, return_attention_scores=True, **how)
            return L.Concatenate()([y, ops.mean(scores, axis=1)])
        return L.MultiHeadAttention(**kw)(x, other, **how)
    if form == 3:   # over two axes of pictures
        y = L.Reshape((x.shape[1], x.shape[2], 1))(x)
        y = L.Dense(3)(y)
        y = L.MultiHeadAttention(2, 2, attention_axes=d.one((1, 2), (1,), (2,)))(y, y)
        return L.Reshape((x.shape[1], -1))(y)
    if form == 4:
        groups = d.int(1, 3)
        kw = dict(head_dim=d.int(1, 3), num_query_heads=groups * d.int(1, 3), num_key_value_heads=groups, use_bias=d.some(0.7),
                  use_gate=d.some(0.3))
        return L.GroupQueryAttention(**kw)(x, other, **how)
    cls = L.Attention if form == 5 else L.AdditiveAttention
    kw = dict(use_scale=d.some(0.5))
    if form == 5:
        kw["score_mode"] = d.one("dot", "concat")
    if d.some(0.5):
        key = L.Dense(x.shape[-1], activation="tanh")(other)
        y, scores = cls(**kw)([x, other, key], return_attention_scores=True, **how)
        return L.Concatenate()([y, scores])
    return cls(**kw)([x, other], **how)


def build(d):
    d.inputs, d.kinds = [L.Input(d.one(*SHAPES))], [d.one("real", "steps", "steps")]
    d.pool = list(d.inputs)
    x = masked(d, d.inputs[0])
    for _ in range(d.int(1, 3)):
        x = recurrent(d, x) if d.some(0.55) else attention(d, x)
        if len(x.shape) != 3:
            x = L.Reshape((-1, x.shape[-1]))(x)
        if d.some(0.3):
            x = L.LayerNormalization()(x)
        d.pool.append(x)
    if d.some(0.5):
        x = layer(d)(x)
    else:
        x = L.Dense(2)(x)
    return keras.Model(d.inputs if len(d.inputs) > 1 else d.inputs[0], x)


def schedule(d):
    return d.one(
        lambda: S.ExponentialDecay(0.02, 5, 0.7, staircase=d.some(0.5)), lambda: S.CosineDecay(0.02, 15, alpha=0.1),
        lambda: S.CosineDecay(0.001, 10, warmup_target=0.02, warmup_steps=5), lambda: S.CosineDecayRestarts(0.02, 4, t_mul=1.5, m_mul=0.8),
        lambda: S.PolynomialDecay(0.02, 7, 0.002, power=1.5, cycle=d.some(0.5)), lambda: S.InverseTimeDecay(0.02, 3, 0.5, staircase=d.some(0.5)),
        lambda: S.PiecewiseConstantDecay([4, 11], [0.02, 0.01, 0.002]), lambda: 0.01)()


def optimizer(d):
    rate = schedule(d)
    kw = {}
    if d.some(0.25):
        kw[d.one("clipnorm", "clipvalue", "global_clipnorm")] = 0.3
    if d.some(0.2):
        kw.update(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=d.one(None, 6))
    elif d.some(0.2):
        kw["gradient_accumulation_steps"] = d.int(2, 4)
    if d.some(0.3):
        kw["weight_decay"] = 0.02
    return d.one(
        lambda: O.SGD(rate, momentum=d.one(0.0, 0.8), nesterov=d.some(0.5), **kw), lambda: O.Adam(rate, amsgrad=d.some(0.5), epsilon=1e-3, **kw),
        lambda: O.Adamax(rate, epsilon=1e-3, **kw), lambda: O.Nadam(rate, epsilon=1e-3, **kw),
        lambda: O.RMSprop(rate, centered=d.some(0.5), momentum=d.one(0.0, 0.5), epsilon=1e-3, **kw), lambda: O.Adagrad(rate, **kw),
        lambda: O.Adadelta(rate, epsilon=1e-3, **kw), lambda: O.Ftrl(rate, l1_regularization_strength=d.one(0.0, 0.01), beta=d.one(0.0, 0.1), **kw),
        lambda: O.Lion(rate, **kw), lambda: O.Lamb(rate, epsilon=1e-3, **kw), lambda: O.Adafactor(rate, **kw),
        lambda: O.ScheduleFreeAdamW(0.01, warmup_steps=d.one(0, 5), epsilon=1e-3), lambda: O.Muon(0.01),
        lambda: O.LossScaleOptimizer(O.Adam(rate, epsilon=1e-3), initial_scale=64.0, dynamic_growth_steps=3))()


def agreed(c, all_agree=base.agreed):
    """ScheduleFreeAdamW under TensorFlow is not the published formula, which the JAX backend computes."""
    c = all_agree(c)
    if c and c.get("optimizer", {}).get("class_name") == "ScheduleFreeAdamW" and keras.backend.backend() == "tensorflow":
        c = {k: v for k, v in c.items() if k not in ("optimizer", "losses", "after")}
    return c


base.build, base.optimizer, base.agreed = build, optimizer, agreed

if __name__ == "__main__":
    sys.argv[1:] = [*sys.argv[1:], *["60", "1", ""][len(sys.argv) - 1:]]
    sys.argv[3] = sys.argv[3] or os.path.join(base.HERE, "..", "fixtures", "random", "sequences_%s.zip" % sys.argv[2])
    base.main()

"""Whole training runs of real Keras: models with recurrent, attention, Einsum and wrapper layers, two epochs without shuffling.

    python spec/ref/keras_runs.py [NAME...]      writes spec/fixtures/runs/NAME.keras (compiled, before training; deflated) and NAME.json with
                                       data, histories and the weights after; spec/training/keras_runs_spec.lua trains the same
Needs keras >= 3.15 with the JAX backend, numpy."""
import os
import sys

import keras_zoo as zoo
import keras
import numpy as np
from keras import layers as L, losses, optimizers as O, regularizers

from keras_models import fill, wave
from keras_zoo_sequences import block

zoo.FOLDER = os.path.join(zoo.FOLDER, "..", "runs")
N = 12
S = (5, 3)


def ids(length, k=0):
    return (np.arange(N * length) * 7 + 3 * k + np.arange(N * length) // 5).reshape(N, length) % 20


def real(shape, k):
    return wave((N,) + shape, k)


def seq(*layers, shape=S, out=2, optimizer=None, loss="mse", metrics=None, y=None, dtype=None, x=None):
    def build():
        m = keras.Sequential([L.Input(shape, dtype=dtype)] + [f() for f in layers] + [L.Dense(out, activation=None if loss == "mse" else "softmax")])
        m.compile(optimizer(), loss, metrics=metrics or [])
        return m, x if x is not None else real(shape, 1), y if y is not None else real((out,), 2)
    return build


def model(f, optimizer, loss="mse", metrics=None):
    def build():
        ins, out, xs, y = f()
        m = keras.Model(ins, out)
        m.compile(optimizer(), loss, metrics=metrics or [])
        return m, xs, y
    return build


def encoder_decoder():
    e, d = L.Input((4, 3)), L.Input((5, 2))
    _, h, c = L.LSTM(4, return_state=True)(e)
    return [e, d], L.Dense(2)(L.LSTM(4, return_sequences=True)(d, initial_state=[h, c])), [real((4, 3), 1), real((5, 2), 2)], real((5, 2), 3)


def additive():
    e, d = L.Input((5, 3)), L.Input((4, 3))
    keys = L.Bidirectional(L.GRU(3, return_sequences=True))(e)
    q = L.GRU(6, return_sequences=True)(d)
    return [e, d], L.Dense(2)(L.AdditiveAttention()([q, keys])), [real((5, 3), 1), real((4, 3), 2)], real((4, 2), 3)


def luong():
    e, d = L.Input((5, 4)), L.Input((4, 4))
    return [e, d], L.Dense(2)(L.Attention(use_scale=True)([L.LSTM(4, return_sequences=True)(d), e])), [real((5, 4), 1), real((4, 4), 2)], real((4, 2), 3)


def encoder():
    x = L.Input((5, 8))
    return [x], L.Dense(2)(L.GlobalAveragePooling1D()(block(block(x, 2, 8, 12, rate=0.0), 4, 8, 12, first=True, rate=0.0))), real((5, 8), 1), real((2,), 2)


def gpt():
    i = L.Input((5,), dtype="int32")
    y = block(L.Embedding(20, 8)(i), 2, 8, 16, causal=True, first=True, rate=0.0)
    return [i], L.Dense(20, activation="softmax")(y), ids(5).astype("int32"), ids(5, 1).astype("int32")


def cross():
    q, v = L.Input((4, 6)), L.Input((5, 6))
    return [q, v], L.Dense(2)(L.MultiHeadAttention(2, 3)(q, v)), [real((4, 6), 1), real((5, 6), 2)], real((4, 2), 3)


def grouped():
    x = L.Input((5, 8))
    return [x], L.Dense(2)(L.GroupQueryAttention(2, 4, 2)(x, x, use_causal_mask=True)), real((5, 8), 1), real((5, 2), 3)


def shared():
    a, b = L.Input(S), L.Input(S)
    tower = keras.Sequential([L.Input(S), L.GRU(4, return_sequences=True), L.LSTM(3)])
    return [a, b], L.Dense(2)(L.Concatenate()([tower(a), tower(b)])), [real(S, 1), real(S, 4)], real((2,), 3)


def frozen():
    x = L.Input(S)
    below = L.LSTM(3, return_sequences=True)
    y = below(x)
    below.trainable = False
    return [x], L.Dense(2)(L.GRU(3)(y)), real(S, 1), real((2,), 2)


kinds = (np.arange(N) * 5 % 3).reshape(N, 1).astype("int32")
text = ids(6).astype("int32")
RUNS = {
    "lstm_adam": seq(lambda: L.LSTM(4), optimizer=lambda: O.Adam(0.01), metrics=["mae"]),
    "gru_rmsprop": seq(lambda: L.GRU(4), optimizer=lambda: O.RMSprop(0.01, momentum=0.5, centered=True)),
    "gru_before_sgd": seq(lambda: L.GRU(4, reset_after=False, go_backwards=True), optimizer=lambda: O.SGD(0.05, momentum=0.9, nesterov=True)),
    "simple_adagrad": seq(lambda: L.SimpleRNN(4, recurrent_regularizer="l2"), optimizer=lambda: O.Adagrad(0.05)),
    "stack_nadam": seq(lambda: L.LSTM(4, return_sequences=True), lambda: L.GRU(3, return_sequences=True), lambda: L.SimpleRNN(3), optimizer=lambda: O.Nadam(0.01)),
    "both_adamw": seq(lambda: L.Bidirectional(L.LSTM(3, return_sequences=True)), lambda: L.Bidirectional(L.GRU(2), merge_mode="sum"),
                      optimizer=lambda: O.AdamW(0.01, weight_decay=0.05, global_clipnorm=0.5)),
    "cells_lion": seq(lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)]), optimizer=lambda: O.Lion(0.003)),
    "text_lstm": seq(lambda: L.Embedding(20, 4, mask_zero=True), lambda: L.LSTM(4), shape=(6,), dtype="int32", out=3, x=text, y=kinds,
                     optimizer=lambda: O.Adam(0.02), loss="sparse_categorical_crossentropy", metrics=["accuracy"]),
    "text_both": seq(lambda: L.Embedding(20, 4, mask_zero=True), lambda: L.Bidirectional(L.GRU(3, return_sequences=True)), lambda: L.GlobalAveragePooling1D(),
                     shape=(6,), dtype="int32", out=3, x=text, y=kinds, optimizer=lambda: O.Adamax(0.02), loss="sparse_categorical_crossentropy"),
    "conv_lstm": seq(lambda: L.ConvLSTM2D(2, 2), lambda: L.Flatten(), shape=(3, 4, 4, 2), optimizer=lambda: O.Adam(0.01)),
    "video": seq(lambda: L.TimeDistributed(L.Conv2D(2, 2, activation="relu")), lambda: L.TimeDistributed(L.Flatten()), lambda: L.LSTM(3), shape=(3, 4, 4, 2),
                 optimizer=lambda: O.Adam(0.01, amsgrad=True)),
    "steps": seq(lambda: L.LSTM(4, return_sequences=True), lambda: L.TimeDistributed(L.Dense(3, activation="tanh")), lambda: L.LayerNormalization(),
                 lambda: L.GlobalMaxPooling1D(), optimizer=lambda: O.Adadelta(0.5)),
    "penalized": seq(lambda: L.LSTM(4, activity_regularizer=regularizers.L2(0.01), kernel_constraint="max_norm"), optimizer=lambda: O.SGD(0.1)),
    "einsum": seq(lambda: L.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="de", activation="relu"), lambda: L.Flatten(), optimizer=lambda: O.Lamb(0.01)),
    "schedule": seq(lambda: L.GRU(4), optimizer=lambda: O.Adam(O.schedules.CosineDecay(0.02, 6, 0.1, warmup_target=0.03, warmup_steps=2))),
    "encoder_decoder": model(encoder_decoder, lambda: O.Adam(0.01), losses.Huber()),
    "additive": model(additive, lambda: O.RMSprop(0.01)),
    "luong": model(luong, lambda: O.Adam(0.01)),
    "encoder": model(encoder, lambda: O.AdamW(0.005)),
    "gpt": model(gpt, lambda: O.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"]),
    "cross": model(cross, lambda: O.SGD(0.1, momentum=0.5)),
    "grouped": model(grouped, lambda: O.Adam(0.01)),
    "shared": model(shared, lambda: O.Ftrl(0.05)),
    "frozen": model(frozen, lambda: O.Adam(0.01)),
}

os.makedirs(zoo.FOLDER, exist_ok=True)
for name, build in RUNS.items():
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    m, x, y = build()
    fill(m)
    zoo.save(m, name)
    history = m.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    zoo.dump(name, {"x": zoo.js(x), "y": zoo.js(y), "history": {k: [float(a) for a in v] for k, v in history.items()},
                    "after": [zoo.js(w) for w in m.weights]})
    print(name, history, flush=True)

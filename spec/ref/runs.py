"""Whole runs of fit, without shuffling, by the real Keras: writes spec/ref/runs.lua, which spec/training/runs_spec.lua reads.

Run: KERAS_BACKEND=jax python spec/ref/runs.py   (Keras 3.15)
Data and initial weights follow the formulas of spec/support/formula.lua; the models stand in the spec once more, in Tide.
"""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np
import keras
from keras import layers as L, optimizers as O, losses, metrics, regularizers
from luawrite import lua
from formula import make, weight

N = 20
rows = []


def values(v):
    return [float("%.7g" % x) for x in np.asarray(v, "float64").ravel()]


def run(name, model, compile_args, x, y, evaluate=None, **fit):
    model.set_weights([weight(w.path, tuple(w.shape), i) for i, w in enumerate(model.weights)])
    model.compile(**compile_args)
    h = model.fit(x, y, batch_size=fit.pop("batch_size", 8), shuffle=False, verbose=0, **fit).history
    e = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True, **(evaluate or {}))
    p = model.predict(x, verbose=0)
    p = list(p.values()) if isinstance(p, dict) else p if isinstance(p, list) else [p]
    rows.append(dict(name=name, history={k: values(v) for k, v in h.items()}, evaluate={k: float(v) for k, v in e.items()},
                     weights=[values(w) for w in model.get_weights()], predictions=[values(v) for v in p]))
    print(name, {k: v[-1] for k, v in h.items()}, flush=True)


def labels(shape, k):
    return make("labels", shape, k)[..., 0]


images, vx = make("real", (N, 6, 6, 2), 1), make("real", (8, 6, 6, 2), 7)
kinds = labels((N, 3), 2)
m = keras.Sequential([
    keras.Input((6, 6, 2)), L.Conv2D(4, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling2D(2),
    L.Conv2D(3, 2, use_bias=False, kernel_regularizer="l2"), L.BatchNormalization(momentum=0.8, epsilon=0.01), L.ReLU(0.9, 0.1),
    L.GlobalAveragePooling2D(), L.Dense(3)])
run("images", m, dict(optimizer=O.Adam(0.02, clipnorm=1.0), loss=losses.SparseCategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy", metrics.SparseTopKCategoricalAccuracy(2, name="top2")]), images, kinds, epochs=3,
    validation_data=(vx, labels((8, 3), 4)), validation_freq=2)

ids = labels((N, 6, 12), 3)
bits = make("bits", (N, 1), 5)
m = keras.Sequential([keras.Input((6,), dtype="int32"), L.Embedding(12, 4, mask_zero=True), L.Dense(5, activation="tanh"),
                      L.GlobalAveragePooling1D(), L.Dense(1, activation="sigmoid", bias_initializer="ones")])
run("masked text", m, dict(optimizer=O.RMSprop(0.02, momentum=0.5, centered=True), loss="binary_crossentropy",
                           metrics=["accuracy", metrics.AUC(num_thresholds=20, name="auc"), metrics.Precision(0.4, name="precision")]),
    ids, bits, epochs=3, validation_split=0.25, class_weight={0: 1.0, 1: 3.0})

a, b = keras.Input((5,), name="a"), keras.Input((3,), name="b")
h = L.Concatenate()([L.Dense(4, activation="gelu")(a), L.LayerNormalization()(b)])
h = L.Dropout(0.0)(L.GroupNormalization(1)(h))
m = keras.Model({"a": a, "b": b}, {"kind": L.Dense(3, activation="softmax", name="kind")(h), "place": L.Dense(2, name="place")(h)})
xs = {"a": make("real", (N, 5), 1), "b": make("real", (N, 3), 2)}
ys = {"kind": labels((N, 3), 3), "place": make("real", (N, 2), 4)}
ws = {"kind": make("weight", (N,), 5), "place": make("weight", (N,), 6)}
run("two outputs by name", m, dict(optimizer=O.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
                                   loss={"kind": "sparse_categorical_crossentropy", "place": losses.Huber(0.5)},
                                   loss_weights={"kind": 1.0, "place": 0.3}, metrics={"kind": ["accuracy"], "place": ["mae"]},
                                   weighted_metrics={"place": ["mse"]}), xs, ys, epochs=3, sample_weight=ws,
    validation_data=(xs, ys, ws), evaluate=dict(sample_weight=ws))

steps, tags = make("real", (N, 7, 3), 1), labels((N, 7, 4), 2)
i = keras.Input((7, 3))
h = L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="swish")(i)
h = L.Add()([h, L.SeparableConv1D(6, 2, padding="same")(i)])
m = keras.Model(i, L.Dense(4, activation="softmax", activity_regularizer=regularizers.L1(0.01))(L.PReLU(shared_axes=[1])(h)))
run("steps with weights of their own", m, dict(optimizer=O.AdamW(O.schedules.CosineDecay(0.0, 6, 0.1, warmup_target=0.03, warmup_steps=3),
                                                                 global_clipnorm=0.5),
                                               loss="sparse_categorical_crossentropy", weighted_metrics=["accuracy"]), steps, tags,
    epochs=3, sample_weight=make("weight", (N, 7), 3), batch_size=6)

flat = make("real", (N, 4), 1)
m = keras.Sequential([keras.Input((4,)), L.Dense(6, activation="selu"), L.BatchNormalization(renorm=False), L.Dense(3, activation="softmax")])
onehot = make("onehot", (N, 3), 4)
m.layers[0].trainable = False
run("a frozen layer", m, dict(optimizer=O.Nadam(0.03), loss=losses.CategoricalFocalCrossentropy(label_smoothing=0.1),
                              metrics=["categorical_accuracy", metrics.F1Score(average="macro", name="f1")]), flat, onehot, epochs=3,
    class_weight={0: 0.5, 1: 1.0, 2: 2.0})

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "runs.lua"), "w") as f:
    f.write("-- Made by spec/ref/runs.py from the real Keras; do not edit.\nreturn {\n")
    for r in rows:
        f.write("  " + lua(r, 7) + ",\n")
    f.write("}\n")

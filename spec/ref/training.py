"""Runs of fit with given initial weights: KERAS_BACKEND=jax python spec/ref/training.py (Keras 3.15). Labels from 1."""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np
import keras
from keras import layers
from luawrite import write

rng = np.random.default_rng(5)
N = 40
x = rng.normal(size=(N, 5)).round(3).astype("float32")
labels = rng.integers(0, 3, size=N)
bits = rng.integers(0, 2, size=(N, 1)).astype("float32")
target = rng.normal(size=(N, 2)).round(3).astype("float32")
w = np.abs(rng.normal(size=N)).round(3).astype("float32")
x2 = rng.normal(size=(N, 3)).round(3).astype("float32")
rows = [dict(x=x, x2=x2, labels=labels + 1, bits=bits, target=target, w=w)]


def weights_of(model):
    return [np.array(v) for v in model.get_weights()]


def random_weights(model):
    model.set_weights([(0.5 * rng.normal(size=v.shape)).round(3).astype("float32") for v in model.get_weights()])


def hist(h):
    return {k: [float(x) for x in v] for k, v in h.history.items()}


def classifier(**kw):
    m = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="relu", **kw), layers.Dense(3, activation="softmax")])
    random_weights(m)
    return m


def run(name, model, compile_args, x, y, **fit):
    start = weights_of(model)
    model.compile(**compile_args)
    h = model.fit(x, y, batch_size=8, shuffle=False, verbose=0, **fit)
    ev = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    rows.append(dict(name=name, start=start, history=hist(h), end_=weights_of(model), evaluate={k: float(v) for k, v in ev.items()}))


def opt():
    return keras.optimizers.Adam(0.01)


run("sparse", classifier(), dict(optimizer=opt(), loss="sparse_categorical_crossentropy", metrics=["accuracy"]), x, labels, epochs=4)
run("split", classifier(), dict(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="sparse_categorical_crossentropy",
                                metrics=["accuracy"]), x, labels, epochs=4, validation_split=0.25)
run("sample_weight", classifier(), dict(optimizer=opt(), loss="sparse_categorical_crossentropy", metrics=["accuracy"],
                                        weighted_metrics=["accuracy"]), x, labels, epochs=3, sample_weight=w)
run("class_weight", classifier(), dict(optimizer=opt(), loss="sparse_categorical_crossentropy"), x, labels, epochs=3,
    class_weight={0: 1.0, 1: 2.0, 2: 0.5})
run("regularized", classifier(kernel_regularizer=keras.regularizers.L2(0.01), activity_regularizer=keras.regularizers.L1(0.01)),
    dict(optimizer=opt(), loss="sparse_categorical_crossentropy"), x, labels, epochs=3)
m = keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="tanh"), layers.Dense(1, activation="sigmoid")])
random_weights(m)
run("binary", m, dict(optimizer=keras.optimizers.RMSprop(0.01), loss="binary_crossentropy", metrics=["accuracy", "mae"]), x, bits, epochs=3)
a, b = keras.Input((5,), name="a"), keras.Input((3,), name="b")
h = layers.Dense(6, activation="relu")(layers.Concatenate()([a, b]))
m = keras.Model([a, b], [layers.Dense(3, activation="softmax", name="kind")(h), layers.Dense(2, name="place")(h)])
random_weights(m)
run("two_outputs", m, dict(optimizer=opt(), loss=["sparse_categorical_crossentropy", "mse"], loss_weights=[1.0, 0.5],
                           metrics=[["accuracy"], ["mae"]]), [x, x2], [labels, target], epochs=3)
run("accumulate", classifier(), dict(optimizer=keras.optimizers.SGD(0.2, gradient_accumulation_steps=2),
                                     loss="sparse_categorical_crossentropy"), x, labels, epochs=3)
run("schedule", classifier(), dict(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 3, 0.5)),
                                   loss="sparse_categorical_crossentropy"), x, labels, epochs=3)
m = classifier()
m.compile(optimizer=opt(), loss="sparse_categorical_crossentropy")
start, losses = weights_of(m), []
for i in range(20):
    k = (i % 5) * 8
    losses.append(float(m.train_on_batch(x[k:k + 8], labels[k:k + 8])))
rows.append(dict(name="train_on_batch", start=start, losses=losses, end_=weights_of(m)))
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "training.lua"), "training.py", rows)

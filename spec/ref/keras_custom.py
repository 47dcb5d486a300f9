"""Custom training with real Keras: train_step of one's own, several optimizers, losses added by layers, clipping, accumulation of
gradients, moving averages, loops by hand, loss scaling.

    python spec/ref/keras_custom.py       writes spec/ref/keras_custom.lua; spec/training/custom_spec.lua does the same with Tide
Data and weights come from formulas (spec/ref/formula.py). Needs keras >= 3.15 on TensorFlow, numpy."""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf
from keras import layers as L, losses, metrics, ops, optimizers as O

from formula import make, weight
from luawrite import write

rows = []
X, Y = make("real", (12, 4), 1), make("real", (12, 2), 2)
LABELS = (make("labels", (12, 3), 3) % 3).reshape(12)


def fill(*models):
    k = 0
    for m in models:
        for w in m.weights:
            w.assign(weight(w.name, tuple(w.shape), k))
            k += 1


def values(model):
    return [np.asarray(w.value).astype("float64").reshape(-1).tolist() for w in model.weights]


def plain(outputs=2, activation=None, dtype=None):
    m = keras.Sequential([L.Input((4,)), L.Dense(5, activation="tanh", dtype=dtype), L.Dense(outputs, activation=activation, dtype=dtype)])
    fill(m)
    return m


def numbers(history):
    return {k: [float(v) for v in vs] for k, vs in history.items()}


# ---- a GAN: two optimizers in one train_step ----

class GAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([L.Input((3,)), L.Dense(6, activation="leaky_relu"), L.Dense(4)])
        self.critic = keras.Sequential([L.Input((4,)), L.Dense(6, activation="leaky_relu"), L.Dense(1)])
        self.drawing, self.judging = O.Adam(0.01, beta_1=0.5), O.RMSprop(0.005)
        self.bce = losses.BinaryCrossentropy(from_logits=True)
        self.d_loss, self.g_loss = metrics.Mean(name="d_loss"), metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss, self.g_loss]

    def call(self, x):
        return self.generator(x)

    def train_step(self, data):
        real, noise = data
        n = ops.shape(real)[0]
        fake = self.generator(noise)
        labels = ops.concatenate([ops.ones((n, 1)), ops.zeros((n, 1))], axis=0)
        with tf.GradientTape() as tape:
            d = self.bce(labels, self.critic(ops.concatenate([real, fake], axis=0)))
        self.judging.apply(tape.gradient(d, self.critic.trainable_weights), self.critic.trainable_weights)
        with tf.GradientTape() as tape:
            g = self.bce(ops.ones((n, 1)), self.critic(self.generator(noise)))
        self.drawing.apply(tape.gradient(g, self.generator.trainable_weights), self.generator.trainable_weights)
        self.d_loss.update_state(d)
        self.g_loss.update_state(g)
        return {m.name: m.result() for m in self.metrics}


gan = GAN()
fill(gan.generator, gan.critic)
gan.compile()
h = gan.fit(X, make("real", (12, 3), 4), batch_size=4, epochs=3, shuffle=False, verbose=0)
rows.append({"name": "gan", "history": numbers(h.history), "after": values(gan.generator) + values(gan.critic)})


# ---- compute_loss, sample weights, add_loss, metrics in layers ----

class Weighted(keras.Model):
    def __init__(self):
        super().__init__()
        self.net = plain()
        self.far = metrics.MeanAbsoluteError(name="far")

    def call(self, x):
        return self.net(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = ops.mean(ops.square(y - y_pred) * sample_weight[:, None]) + 0.1 * ops.mean(ops.abs(y_pred))
        self.far.update_state(y, y_pred)
        return loss


m = Weighted()
m(X)
fill(m)
m.compile(O.SGD(0.1, momentum=0.8))
w = np.abs(make("real", (12,), 6)) + 0.2
h = m.fit(X, Y, sample_weight=w, batch_size=5, epochs=3, shuffle=False, verbose=0)
rows.append({"name": "compute_loss", "history": numbers(h.history), "after": values(m)})


class Penalty(L.Layer):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.size = metrics.Mean(name="size")

    def call(self, x):
        self.add_loss(self.rate * ops.mean(ops.square(x)))
        self.size.update_state(ops.mean(ops.abs(x)))
        return x


i = L.Input((4,))
m = keras.Model(i, L.Dense(2)(Penalty(0.05)(L.Dense(5, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01))(i))))
fill(m)
m.compile(O.Adam(0.02), "mse", metrics=["mae"])
h = m.fit(X, Y, batch_size=5, epochs=3, shuffle=False, verbose=0)
rows.append({"name": "add_loss", "history": numbers(h.history), "after": values(m), "evaluate": [float(v) for v in m.evaluate(X, Y, batch_size=5, verbose=0)]})


# a train_step of one's own that calls the compiled loss and metrics
class Own(keras.Model):
    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        for m in self.metrics:
            if m.name == "loss":
                m.update_state(loss)
            else:
                m.update_state(y, y_pred, sample_weight=sample_weight)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        for m in self.metrics:
            m.update_state(loss) if m.name == "loss" else m.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


i = L.Input((4,))
m = Own(i, L.Dense(3, activation="softmax")(L.BatchNormalization()(L.Dense(5, activation="relu")(i))))
fill(m)
m.compile(O.SGD(0.1), "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
h = m.fit(X, LABELS, sample_weight=w, batch_size=4, epochs=3, shuffle=False, verbose=0, validation_data=(X[:7], LABELS[:7]))
rows.append({"name": "train_step", "history": numbers(h.history), "after": values(m)})


# ---- options of optimizers, step by step ----

OPTIONS = {
    "clipnorm": lambda: O.Adam(0.05, clipnorm=0.1), "global_clipnorm": lambda: O.SGD(0.3, momentum=0.9, global_clipnorm=0.4),
    "clipvalue": lambda: O.RMSprop(0.02, clipvalue=0.05), "accumulate_sgd": lambda: O.SGD(0.2, momentum=0.9, gradient_accumulation_steps=3),
    "accumulate_adam": lambda: O.Adam(0.05, gradient_accumulation_steps=2, clipnorm=0.2, weight_decay=0.1),
    "accumulate_adagrad": lambda: O.Adagrad(0.1, gradient_accumulation_steps=4),
    "ema": lambda: O.SGD(0.2, use_ema=True, ema_momentum=0.8), "ema_often": lambda: O.Adam(0.05, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3),
    "ema_accumulate": lambda: O.SGD(0.2, momentum=0.5, use_ema=True, ema_momentum=0.6, ema_overwrite_frequency=2, gradient_accumulation_steps=2),
    "ema_decay": lambda: O.AdamW(0.05, weight_decay=0.2, use_ema=True, ema_momentum=0.9, global_clipnorm=0.5),
    "factor": lambda: O.Adam(0.05, loss_scale_factor=64.0, clipnorm=0.1),
    "schedule_accumulate": lambda: O.SGD(O.schedules.ExponentialDecay(0.3, 2, 0.5), gradient_accumulation_steps=2),
}
for name, make_optimizer in OPTIONS.items():
    m = plain()
    m.compile(make_optimizer(), "mse")
    steps, found = [], []
    for s in range(7):
        at = (s * 4) % 12
        found.append(float(m.train_on_batch(X[at:at + 4], Y[at:at + 4])))
        steps.append(values(m)[0])
    m.optimizer.finalize_variable_values(m.trainable_variables)
    m2 = plain()
    m2.compile(make_optimizer(), "mse")
    h = m2.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    rows.append({"name": name, "losses": found, "steps": steps, "finalized": values(m), "iterations": int(m.optimizer.iterations.numpy()),
                 "history": numbers(h.history), "after": values(m2)})


# ---- a loop by hand ----

m = plain(3)
optimizer, loss_fn = O.Adam(0.03), losses.SparseCategoricalCrossentropy(from_logits=True)
accuracy, mean, auc = metrics.SparseCategoricalAccuracy(), metrics.Mean(), metrics.SparseTopKCategoricalAccuracy(k=2)
seen = []
for epoch in range(3):
    for at in range(0, 12, 4):
        with tf.GradientTape() as tape:
            logits = m(X[at:at + 4], training=True)
            loss = loss_fn(LABELS[at:at + 4], logits) + 0.01 * ops.sum(ops.square(m.trainable_weights[0]))
        optimizer.apply(tape.gradient(loss, m.trainable_weights), m.trainable_weights)
        mean.update_state(loss, sample_weight=4)
        accuracy.update_state(LABELS[at:at + 4], logits)
        auc.update_state(LABELS[at:at + 4], logits)
    seen.append([float(v.result()) for v in (mean, accuracy, auc)])
    for v in (mean, accuracy, auc):
        v.reset_state()
rows.append({"name": "loop", "seen": seen, "after": values(m)})

# gradients of gradients: a penalty on the slope (WGAN-GP)
m = plain(1)
optimizer, seen = O.SGD(0.1), []
for s in range(4):
    with tf.GradientTape() as outer:
        x = tf.convert_to_tensor(X)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = m(x)
        slope = inner.gradient(y, x)
        loss = ops.mean(y) + 2.0 * ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(slope), axis=1)) - 1.0))
    optimizer.apply([0.0 * w if g is None else g for g, w in zip(outer.gradient(loss, m.trainable_weights), m.trainable_weights)], m.trainable_weights)
    seen.append(float(loss))
rows.append({"name": "slope", "seen": seen, "after": values(m)})

# ---- loss scaling ----

# the optimizer alone: scales, steps taken, and what an overflow does
for name, inner in {"scale_sgd": lambda: O.SGD(0.1, momentum=0.9), "scale_adam": lambda: O.Adam(0.05, clipnorm=0.3),
                    "scale_accumulate": lambda: O.SGD(0.1, gradient_accumulation_steps=2)}.items():
    v = keras.Variable(np.array([0.5, -1.0, 2.0], "float32"))
    o = O.LossScaleOptimizer(inner(), initial_scale=16.0, dynamic_growth_steps=3)
    o.build([v])
    trace = []
    for s in range(12):
        g = np.array([0.3, -0.2 * s, 0.1 * s * s], "float32") * float(o.scale_loss(1.0))
        if s in (4, 8, 9):
            g[s % 3] = np.inf if s != 9 else np.nan
        o.apply([ops.convert_to_tensor(g)], [v])
        trace.append([float(o.dynamic_scale.numpy()), float(o.step_counter.numpy()), float(o.inner_optimizer.iterations.numpy())] + v.numpy().tolist())
    rows.append({"name": name, "trace": trace})

# whole models: the policy wraps the optimizer; a large initial scale overflows first
for policy in "mixed_float16", "mixed_bfloat16":
    keras.config.set_dtype_policy(policy)
    for name, optimizer in {"sgd": lambda: O.SGD(0.1), "adam": lambda: O.Adam(0.02)}.items():
        i = L.Input((4,))
        m = keras.Model(i, L.Dense(2, dtype="float32")(L.LayerNormalization()(L.Dense(8, activation="tanh")(i))))
        fill(m)
        o = optimizer()
        if policy == "mixed_float16" and name == "adam":
            o = O.LossScaleOptimizer(o, initial_scale=2.0 ** 20, dynamic_growth_steps=4)
        m.compile(o, "mse")
        scales = []
        history = []
        for s in range(12):
            at = (s * 4) % 12
            history.append(float(m.train_on_batch(X[at:at + 4], Y[at:at + 4])))
            scales.append(float(m.optimizer.dynamic_scale.numpy()) if hasattr(m.optimizer, "dynamic_scale") else 0.0)
        rows.append({"name": policy + "_" + name, "losses": history, "scales": scales, "after": values(m), "wrapped": type(m.optimizer).__name__})
    keras.config.set_dtype_policy("float32")

write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "keras_custom.lua"), "keras_custom.py", rows)
for r in rows:
    print(r["name"], r.get("history") or r.get("losses") or r.get("seen") or r.get("trace", [])[-1:], flush=True)

"""LoRA of every layer that has it: KERAS_BACKEND=jax python spec/ref/lora.py (Keras 3.15).

Writes lora.lua (weights, results, trained weights) and the files that Keras makes of the models
(../fixtures/keras/lora_*.keras, .weights.h5, .h5)."""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np
import keras
from keras import layers
from luawrite import write

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(11)
rows = []


def numbers(*shape):
    return rng.normal(size=shape).round(3).astype("float32")


def values(model):
    return [np.array(v) for v in model.get_weights()]


def run(name, model, pick, x, alpha, file=None):
    lora = pick(model)
    lora.enable_lora(2, lora_alpha=alpha)
    model.set_weights([0.5 * numbers(*v.shape) for v in model.get_weights()])
    y = numbers(*model(x).shape)
    row = dict(name=name, x=x, y=y, alpha=alpha, names=[v.name for v in lora.weights],
               trainable=[v.name for v in lora.trainable_weights], start=values(model), out=np.array(model(x)))
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    h = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    row.update(losses=h.history["loss"], end_=values(model), after=np.array(model(x)))
    if file:
        base = os.path.join(here, "..", "fixtures", "keras", file)
        model.save(base + ".keras")
        model.save(base + ".h5")
        model.save_weights(base + ".weights.h5")
        again = keras.models.load_model(base + ".keras")
        row["loaded"] = np.array(again(x))
        row["config"] = {k: again.get_layer(lora.name).get_config().get(k) for k in ("lora_rank", "lora_alpha")}
    rows.append(row)


def sequential(shape, *inside, **kw):
    return keras.Sequential([keras.Input(shape, **kw), *inside])


first = lambda m: m.layers[0]
run("dense", sequential((5,), layers.Dense(4, activation="tanh", kernel_regularizer="l2"), layers.Dense(3)), first,
    numbers(8, 5), 3.0, "lora_dense")
run("einsum_dense", sequential((4, 3), layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 5), bias_axes="de")), first,
    numbers(8, 4, 3), 1.0)
run("embedding", sequential((6,), layers.Embedding(9, 4, mask_zero=True), layers.Dense(2), dtype="int32"), first,
    rng.integers(0, 9, size=(8, 6)).astype("int32"), 2.0)
run("conv1d", sequential((7, 4), layers.Conv1D(6, 3, groups=2, padding="causal", activation="relu")), first,
    numbers(8, 7, 4), 4.0)
run("conv2d", sequential((6, 6, 3), layers.Conv2D(4, 3, strides=2), layers.Flatten(), layers.Dense(2)), first,
    numbers(8, 6, 6, 3), 0.5, "lora_conv")
run("conv3d", sequential((4, 4, 4, 2), layers.Conv3D(3, 2)), first, numbers(4, 4, 4, 4, 2), 2.0)
x = keras.Input((5, 4))
m = keras.Model(x, layers.MultiHeadAttention(2, 3, name="attention")(x, x))
run("attention", m, lambda m: m.get_layer("attention").query_dense, numbers(8, 5, 4), 2.0)
write(os.path.join(here, "lora.lua"), "lora.py", rows)

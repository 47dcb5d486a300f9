"""Models in which layers are options of others, written and run by the real Keras: spec/fixtures/keras/shared*.{keras,h5} and
spec/ref/keras_shared.lua, which spec/saving/shared_spec.lua reads.

    python spec/ref/keras_shared.py                 writes them   (Keras 3.15, JAX backend)
    python spec/ref/keras_shared.py FILE...         opens files that Tide wrote: outputs, and which layers are one
"""
import os
import sys
os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
import keras
import numpy as np
from keras import layers, ops
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "fixtures", "keras")


@keras.saving.register_keras_serializable(name="TransposedOf")
class TransposedOf(layers.Layer):
    """x multiplied by the transposed kernel of another layer."""

    def __init__(self, to, **kw):
        super().__init__(**kw)
        self.to = to

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.to.kernel))

    def get_config(self):
        return {**super().get_config(), "to": keras.saving.serialize_keras_object(self.to)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["to"] = keras.saving.deserialize_keras_object(config["to"])
        return cls(**config)


def graph():  # an autoencoder whose decoder has the encoder's kernels
    x = keras.Input((4,), name="x")
    a, b = layers.Dense(3, name="a", activation="tanh"), layers.Dense(2, name="b")
    h = b(a(x))
    return keras.Model(x, TransposedOf(a, name="ta")(TransposedOf(b, name="tb")(h)), name="graph")


def row():  # one Dense by itself and within TimeDistributed
    d = layers.Dense(4, name="d")
    return keras.Sequential([keras.Input((3, 4), name="x"), layers.TimeDistributed(d, name="steps"), d], name="row")


def run(model):
    shape = [2] + list(model.inputs[0].shape[1:])
    x = np.sin(0.7 * np.arange(np.prod(shape))).reshape(shape).astype("float32")
    return np.asarray(model(x)).tolist()


def main():
    rows = []
    for make in graph, row:
        keras.utils.clear_session()
        model = make()
        for k, w in enumerate(model.weights):
            w.assign(0.4 * np.sin(0.7 * np.arange(np.prod(w.shape)) + k).reshape(w.shape))
        stem = os.path.join(FIXTURES, "shared_" + model.name)
        model.save(stem + ".keras")
        model.save(stem + ".h5")
        model.save_weights(stem + ".weights.h5")
        if make is row:  # Keras forgets the number of the layer within TimeDistributed and cannot load what it wrote
            os.remove(stem + ".keras")
        # .h5 files do not say that layers are one: Keras makes two, of equal weights
        apart = keras.models.load_model(stem + ".h5")
        rows.append({"name": model.name, "y": run(model), "weights": [list(w.shape) for w in model.weights],
                     "apart": [list(w.shape) for w in apart.weights]})
    write(os.path.join(HERE, "keras_shared.lua"), "keras_shared.py", rows)


if len(sys.argv) > 1:
    for path in sys.argv[1:]:
        model = keras.models.load_model(path)
        print(path, [list(w.shape) for w in model.weights], np.round(run(model), 5).tolist())
else:
    main()

"""Weights of the real Keras as NumPy's archives, and what a model with them predicts: spec/fixtures/npz/.

    python spec/ref/keras_npz.py

by_order.npz: numpy.savez(path, *model.get_weights()); by_path.npz: numpy.savez_compressed by the paths of the variables."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(HERE, "..", "fixtures", "npz")
os.makedirs(out, exist_ok=True)
keras.utils.set_random_seed(3)
inputs = keras.Input((6, 4), name="x")
h = keras.layers.Conv1D(5, 3, activation="relu", name="conv")(inputs)
h = keras.layers.BatchNormalization(name="norm")(h)
h = keras.layers.LSTM(4, name="lstm")(h)
model = keras.Model(inputs, keras.layers.Dense(2, name="out")(h))
x = np.random.default_rng(1).normal(size=(3, 6, 4)).round(3).astype("float32")
model.compile("adam", "mse")
model.fit(x, np.ones((3, 2), "float32"), epochs=2, verbose=0)
np.savez(os.path.join(out, "by_order.npz"), *model.get_weights())
np.savez_compressed(os.path.join(out, "by_path.npz"), **{w.path: w.numpy() for w in model.weights})
write(os.path.join(HERE, "keras_npz.lua"), "keras_npz.py", [dict(x=x, y=model.predict(x, verbose=0))])
print([w.path for w in model.weights])

"""Weights of a trained model in shards, written by the real Keras: spec/fixtures/shards/, and what it predicts and how it trains on.

    python spec/ref/keras_shards.py"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(HERE, "..", "fixtures", "shards")
os.makedirs(out, exist_ok=True)
keras.utils.set_random_seed(3)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="tanh"), keras.layers.BatchNormalization(),
                          keras.layers.Dense(5), keras.layers.Dense(2)])
model.compile(keras.optimizers.Adam(0.05), "mse")
rng = np.random.default_rng(1)
x, y = rng.normal(size=(8, 4)).round(3).astype("float32"), rng.normal(size=(8, 2)).round(3).astype("float32")
model.fit(x, y, batch_size=8, epochs=3, verbose=0)
model.save_weights(os.path.join(out, "keras.weights.json"), max_shard_size=3e-7)
before = model.predict(x, verbose=0)
losses = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
write(os.path.join(HERE, "keras_shards.lua"), "keras_shards.py", [dict(x=x, y=y, predicted=before, losses=losses)])

"""Trained models of the real Keras whose optimizers choose weights by regular expressions, and how they train on:

    python spec/ref/keras_maps.py

spec/fixtures/maps/NAME.keras, each saved after 3 epochs; keras_maps.lua holds the losses and weights of 3 more."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(HERE, "..", "fixtures", "maps")
os.makedirs(out, exist_ok=True)
O = keras.optimizers
rng = np.random.default_rng(1)
x, y = rng.normal(size=(12, 4)).round(3).astype("float32"), rng.normal(size=(12, 2)).round(3).astype("float32")


def multi():
    m = O.OptimizerMap(O.SGD(0.05, momentum=0.5), {
        r"hidden_\d+/kernel": O.Adam(0.02), "(norm|out)/.*": O.RMSprop(0.01), "hidden_1/bias": O.Adam(0.03)})
    return O.MultiOptimizer(m)


def scaled():
    return O.LossScaleOptimizer(O.AdamW(0.02, weight_decay=0.1), initial_scale=256, dynamic_growth_steps=2)


CASES = {
    "multi": multi,
    "scaled": scaled,
    "muon": lambda: O.Muon(0.02, exclude_layers=[r"hidden_[2-9]", "^out/"]),
    "muon_lookahead": lambda: O.Muon(0.02, exclude_layers=[r"^(?!hidden_1).*$"]),
    "muon_all": lambda: O.Muon(0.02),
    "sequential": lambda: O.MultiOptimizer(O.OptimizerMap(O.SGD(0.05, momentum=0.5), {
        r"net/hidden_\d+/kernel": O.Adam(0.02), "(norm|hidden_1|out)/.*": O.RMSprop(0.01), "net/norm/.*": O.RMSprop(0.02)})),
}
rows = []
for name, make in CASES.items():
    keras.utils.set_random_seed(5)
    # a functional model but for the last: names of others stand before Keras' paths, but for models that were loaded
    hidden = [keras.layers.Dense(6, activation="tanh", name="hidden_1"), keras.layers.Dense(5, activation="tanh", name="hidden_2"),
              keras.layers.LayerNormalization(name="norm"), keras.layers.Dense(2, name="out")]
    if name == "sequential":
        m = keras.Sequential([keras.Input((4,))] + hidden, name="net")
    else:
        i = h = keras.Input((4,))
        for layer in hidden:
            h = layer(h)
        m = keras.Model(i, h, name="net")
    m.compile(make(), "mse")
    m.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    m.save(os.path.join(out, name + ".keras"))
    losses = m.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
    rows.append(dict(name=name, losses=losses, weights=m.get_weights()))
write(os.path.join(HERE, "keras_maps.lua"), "keras_maps.py", [dict(x=x, y=y)] + rows)

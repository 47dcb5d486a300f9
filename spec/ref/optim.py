"""Five steps of each optimizer on two parameters, by Keras on JAX in float64.
Run: KERAS_BACKEND=jax JAX_ENABLE_X64=1 python optim.py"""
import keras
import numpy as np
from common import rng, write

keras.config.set_floatx("float64")
O = keras.optimizers
STEPS = 5
r = rng(5)
start = [r.normal(0, 1, (4, 3)), r.normal(0, 1, (5,))]
grads = [r.normal(0, 1, (STEPS, 4, 3)), r.normal(0, 1, (STEPS, 5))]
cases = {
    "sgd": O.SGD(0.1),
    "sgd, momentum": O.SGD(0.1, momentum=0.9),
    "sgd, nesterov, decay": O.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
    "sgd, clipvalue": O.SGD(0.1, clipvalue=0.5),
    "sgd, clipnorm": O.SGD(0.1, clipnorm=1.0),
    "sgd, global_clipnorm": O.SGD(0.1, global_clipnorm=1.5),
    "adam": O.Adam(0.01),
    "adam, amsgrad, decay": O.Adam(0.01, amsgrad=True, weight_decay=0.1),
    "adam, global_clipnorm": O.Adam(0.01, global_clipnorm=1.5),
    "rmsprop": O.RMSprop(0.01),
    "rmsprop, momentum, centered": O.RMSprop(0.01, momentum=0.8, centered=True, weight_decay=0.1),
    "adagrad": O.Adagrad(0.1),
    "adamax": O.Adamax(0.01),
    "nadam": O.Nadam(0.01),
    "adadelta": O.Adadelta(0.5),
    "lion": O.Lion(0.01),
}
out = {}
for key, optimizer in cases.items():
    variables = [keras.Variable(p, dtype="float64") for p in start]
    for s in range(STEPS):
        optimizer.apply([keras.ops.convert_to_tensor(g[s]) for g in grads], variables)
    out[key] = (start + grads, [np.asarray(v.value) for v in variables])
write(out)

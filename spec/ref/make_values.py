"""Reference values of activations, constraints, regularizers and the STFT initializer, by Keras: writes spec/ref/values.lua.

Run: KERAS_BACKEND=jax python spec/ref/make_values.py   (Keras 3)
"""
import os
import numpy as np
import keras

x = np.linspace(-3.4, 3.3, 24).reshape(4, 6).astype("float32")
w = (np.sin(np.arange(12) * 1.3) * 2).reshape(4, 3).astype("float32")

activations = """relu leaky_relu relu6 elu celu selu gelu silu hard_silu mish sigmoid hard_sigmoid log_sigmoid tanh hard_tanh
tanh_shrink soft_shrink hard_shrink softplus softsign softmax log_softmax glu exponential linear squareplus sparse_plus
sparse_sigmoid""".split()
C, R = keras.constraints, keras.regularizers
constraints = {
    "MaxNorm": C.MaxNorm(1.5), "NonNeg": C.NonNeg(), "UnitNorm": C.UnitNorm(axis=1),
    "MinMaxNorm": C.MinMaxNorm(0.5, 1.0, rate=0.7),
}
regularizers = {
    "L1": R.L1(), "L2": R.L2(0.1), "L1L2": R.L1L2(0.1, 0.2), "OrthogonalRegularizer": R.OrthogonalRegularizer(0.05, mode="columns"),
}
stft = {
    "real": keras.initializers.STFT("real", "hann", "density", False)((6, 1, 4)),
    "imag": keras.initializers.STFT("imag", "hamming", "spectrum", True)((5, 1, 3)),
}


def flat(v):
    return "{ " + ", ".join(np.format_float_positional(np.float32(e), trim="-", unique=True) for e in np.asarray(v).ravel()) + " }"


lines = ["-- Made by make_values.py with Keras %s." % keras.__version__, "return {", "  activations = {"]
for name in activations:
    lines.append("    %s = %s," % (name, flat(getattr(keras.activations, name)(x))))
lines.append("    threshold = %s," % flat(keras.activations.threshold(x, 0.5, -0.25)))
lines.append("  },\n  constraints = {")
lines += ["    %s = %s," % (k, flat(c(keras.ops.convert_to_tensor(w)))) for k, c in constraints.items()]
lines.append("  },\n  regularizers = {")
lines += ["    %s = %s," % (k, flat(r(keras.ops.convert_to_tensor(w)))) for k, r in regularizers.items()]
lines.append("  },\n  stft = {")
lines += ["    %s = %s," % (k, flat(v)) for k, v in stft.items()]
lines.append("  },\n}")
with open(os.path.join(os.path.dirname(__file__), "values.lua"), "w") as f:
    f.write("\n".join(lines) + "\n")

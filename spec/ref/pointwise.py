"""Writes pointwise.lua: values of the elementwise ops, from NumPy, SciPy and Keras in float64.

An entry per op over a few numbers of its domain, <op>_special over 0, -0, inf, -inf and NaN, <op>_int over int32.
Run with an environment that holds numpy, scipy and keras: python pointwise.py > pointwise.lua
"""
import math
import os

import numpy as np
from scipy import special

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import jax

jax.config.update("jax_enable_x64", True)
import keras

keras.config.set_floatx("float64")
A = keras.activations
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan]


def grid(lo, hi, n=9):
    return list(np.linspace(lo, hi, n) + 0.0137)


def k(f):
    return lambda *x: np.asarray(f(*[keras.ops.convert_to_tensor(v, dtype="float64") for v in x]))


unary = {
    # name: (function, lo, hi, special values?)
    "negative": (np.negative, -3, 3, True), "abs": (np.abs, -3, 3, True), "sign": (np.sign, -3, 3, True),
    "square": (np.square, -3, 3, True), "sqrt": (np.sqrt, 0.1, 4, True), "rsqrt": (lambda x: 1 / np.sqrt(x), 0.2, 4, True),
    "cbrt": (np.cbrt, -4, 4, True), "reciprocal": (lambda x: 1 / x, 0.3, 3, True), "floor": (np.floor, -3, 3, True),
    "ceil": (np.ceil, -3, 3, True), "rint": (np.rint, -3, 3, True), "trunc": (np.trunc, -3, 3, True),
    "nan_to_num": (np.nan_to_num, -3, 3, True), "deg2rad": (np.deg2rad, -180, 180, True), "rad2deg": (np.rad2deg, -3, 3, True),
    "exp": (np.exp, -2, 2, True), "exp2": (np.exp2, -2, 2, True), "expm1": (np.expm1, -2, 2, True),
    "log": (np.log, 0.1, 4, True), "log2": (np.log2, 0.1, 4, True), "log10": (np.log10, 0.1, 4, True), "log1p": (np.log1p, -0.8, 4, True),
    "sin": (np.sin, -3, 3, True), "cos": (np.cos, -3, 3, True), "tan": (np.tan, -1.2, 1.2, True),
    "arcsin": (np.arcsin, -0.9, 0.9, True), "arccos": (np.arccos, -0.9, 0.9, True), "arctan": (np.arctan, -3, 3, True),
    "sinh": (np.sinh, -3, 3, True), "cosh": (np.cosh, -3, 3, True), "tanh": (np.tanh, -3, 3, True),
    "arcsinh": (np.arcsinh, -3, 3, True), "arccosh": (np.arccosh, 1.2, 4, True), "arctanh": (np.arctanh, -0.8, 0.8, True),
    "erf": (special.erf, -2, 2, True), "erfc": (special.erfc, -2, 2, True), "erfinv": (special.erfinv, -0.95, 0.93, True),
    "relu": (k(A.relu), -2, 2, True), "leaky_relu": (k(A.leaky_relu), -2, 2, True), "relu6": (k(A.relu6), -8, 8, True),
    "elu": (k(A.elu), -3, 3, True), "celu": (k(A.celu), -3, 3, True), "selu": (k(A.selu), -3, 3, True),
    "gelu_erf": (k(lambda x: A.gelu(x, approximate=False)), -3, 3, False),
    "gelu_tanh": (k(lambda x: A.gelu(x, approximate=True)), -3, 3, False),
    "silu": (k(A.silu), -4, 4, False), "hard_silu": (k(A.hard_silu), -5, 5, False), "mish": (k(A.mish), -4, 4, False),
    "sigmoid": (special.expit, -4, 4, True), "hard_sigmoid": (k(A.hard_sigmoid), -5, 5, True),
    "log_sigmoid": (k(A.log_sigmoid), -4, 4, False), "hard_tanh": (k(A.hard_tanh), -2, 2, True),
    "tanh_shrink": (k(A.tanh_shrink), -3, 3, False), "soft_shrink": (k(A.soft_shrink), -2, 2, False),
    "hard_shrink": (k(A.hard_shrink), -2, 2, False), "softplus": (k(A.softplus), -4, 4, False),
    "softsign": (k(A.softsign), -3, 3, False), "squareplus": (k(A.squareplus), -3, 3, False),
    "sparse_plus": (k(A.sparse_plus), -2, 2, False), "sparse_sigmoid": (k(A.sparse_sigmoid), -2, 2, False),
    "sinc": (np.sinc, -2, 2, False),
    "logical_not": (np.logical_not, -2, 2, True), "isnan": (np.isnan, -2, 2, True), "isinf": (np.isinf, -2, 2, True),
    "isposinf": (np.isposinf, -2, 2, True), "isneginf": (np.isneginf, -2, 2, True), "isfinite": (np.isfinite, -2, 2, True),
    "signbit": (np.signbit, -2, 2, False),
}
with_options = {
    # name of the entry: (op, options as Lua, function, lo, hi)
    "relu_options": ("relu", "{ negative_slope = 0.1, max_value = 1.5, threshold = 0.5 }",
                     k(lambda x: A.relu(x, negative_slope=0.1, max_value=1.5, threshold=0.5)), -2, 2),
    "leaky_relu_slope": ("leaky_relu", "{ negative_slope = 0.05 }", k(lambda x: A.leaky_relu(x, negative_slope=0.05)), -2, 2),
    "elu_alpha": ("elu", "{ alpha = 0.5 }", k(lambda x: A.elu(x, alpha=0.5)), -3, 3),
    "celu_alpha": ("celu", "{ alpha = 0.5 }", k(lambda x: A.celu(x, alpha=0.5)), -3, 3),
    "soft_shrink_wide": ("soft_shrink", "{ threshold = 1 }", k(lambda x: A.soft_shrink(x, threshold=1.0)), -2, 2),
    "hard_shrink_wide": ("hard_shrink", "{ threshold = 1 }", k(lambda x: A.hard_shrink(x, threshold=1.0)), -2, 2),
    "threshold": ("threshold", "{ threshold = 0.3, default_value = -7 }", k(lambda x: A.threshold(x, 0.3, -7.0)), -2, 2),
    "squareplus_b": ("squareplus", "{ b = 1 }", k(lambda x: A.squareplus(x, b=1)), -3, 3),
    "clip": ("clip", "{ x_min = -1, x_max = 1.5 }", lambda x: np.clip(x, -1, 1.5), -3, 3),
    "round_2": ("round", "{ decimals = 2 }", lambda x: np.round(x, 2), -3, 3),
    "round_tens": ("round", "{ decimals = -1 }", lambda x: np.round(x, -1), -60, 60),
    "gelu": ("gelu", "{ approximate = false }", k(lambda x: A.gelu(x, approximate=False)), -3, 3),
    "nan_to_num_options": ("nan_to_num", "{ nan = 1, posinf = 2, neginf = -3 }",
                           lambda x: np.nan_to_num(x, nan=1, posinf=2, neginf=-3), -3, 3),
}
PAIRS = [(a, b) for a in [-2.3, -1.1, 0.7, 1.9] for b in [-1.5, 0.5, 2.0]]
EXTRA = [(0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.inf), (-math.inf, 2.0), (math.nan, 1.0), (1.0, math.nan), (0.0, 0.0), (math.inf, math.inf)]
POSITIVE = [(abs(a), b) for a, b in PAIRS]


def divide_no_nan(a, b):
    return np.where(b == 0, 0.0, a / np.where(b == 0, 1.0, b))


binary = {
    "add": (np.add, PAIRS + EXTRA), "subtract": (np.subtract, PAIRS + EXTRA), "multiply": (np.multiply, PAIRS + EXTRA),
    "divide": (np.divide, PAIRS + EXTRA), "divide_no_nan": (divide_no_nan, PAIRS + EXTRA), "floor_divide": (np.floor_divide, PAIRS + EXTRA),
    "mod": (np.mod, PAIRS + EXTRA), "fmod": (np.fmod, PAIRS + EXTRA), "power": (np.power, POSITIVE + EXTRA),
    "maximum": (np.maximum, PAIRS + EXTRA), "minimum": (np.minimum, PAIRS + EXTRA), "fmax": (np.fmax, PAIRS + EXTRA),
    "fmin": (np.fmin, PAIRS + EXTRA), "squared_difference": (lambda a, b: (a - b) ** 2, PAIRS + EXTRA),
    "arctan2": (np.arctan2, PAIRS + EXTRA), "hypot": (np.hypot, PAIRS + EXTRA), "logaddexp": (np.logaddexp, PAIRS + EXTRA),
    "logaddexp2": (np.logaddexp2, PAIRS + EXTRA), "heaviside": (np.heaviside, PAIRS + EXTRA), "copysign": (np.copysign, PAIRS),
    "nextafter": (np.nextafter, PAIRS + EXTRA), "ldexp": (lambda a, b: np.ldexp(a, b.astype(int)), [(1.5, 3.0), (-0.7, -2.0), (3.0, 0.0)]),
    "equal": (np.equal, PAIRS + EXTRA), "not_equal": (np.not_equal, PAIRS + EXTRA), "less": (np.less, PAIRS + EXTRA),
    "less_equal": (np.less_equal, PAIRS + EXTRA), "greater": (np.greater, PAIRS + EXTRA), "greater_equal": (np.greater_equal, PAIRS + EXTRA),
    "logical_and": (np.logical_and, PAIRS + EXTRA), "logical_or": (np.logical_or, PAIRS + EXTRA), "logical_xor": (np.logical_xor, PAIRS + EXTRA),
    "isclose": (np.isclose, [(1.0, 1.0 + 2e-5), (1.0, 1.0 + 1e-6), (1.0, 1.001), (math.inf, math.inf), (math.inf, -math.inf), (math.nan, math.nan)]),
}
WHOLE = [(a, b) for a in [-7, -1, 0, 5, 100] for b in [-3, -1, 0, 2, 7]]
SHIFT = [(a, b) for a in [-7, -1, 0, 5, 100] for b in [0, 1, 5, 31]]
whole = {
    "add": (np.add, WHOLE), "subtract": (np.subtract, WHOLE), "multiply": (np.multiply, WHOLE), "floor_divide": (np.floor_divide, WHOLE),
    "mod": (np.mod, WHOLE), "fmod": (np.fmod, WHOLE), "maximum": (np.maximum, WHOLE), "minimum": (np.minimum, WHOLE),
    "power": (np.power, [(a, b) for a, b in WHOLE if b >= 0]), "squared_difference": (lambda a, b: (a - b) ** 2, WHOLE),
    "bitwise_and": (np.bitwise_and, WHOLE), "bitwise_or": (np.bitwise_or, WHOLE), "bitwise_xor": (np.bitwise_xor, WHOLE),
    "left_shift": (np.left_shift, SHIFT), "right_shift": (np.right_shift, SHIFT), "gcd": (np.gcd, WHOLE), "lcm": (np.lcm, WHOLE),
    "equal": (np.equal, WHOLE), "less": (np.less, WHOLE), "greater_equal": (np.greater_equal, WHOLE),
}


def lua(v):
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    if math.isnan(v):
        return "nan"
    if math.isinf(v):
        return "inf" if v > 0 else "-inf"
    return repr(float(v))


def row(values):
    return "{ " + ", ".join(lua(v) for v in np.asarray(values).tolist()) + " }"


def tensor(values, dtype="float64"):
    return f"{{ data = {row(values)}, shape = {{ {len(values)} }}, dtype = \"{dtype}\" }}"


def entry(key, inputs, result, dtype="float64", extra=""):
    out = row(result)
    print(f"  {key} = {{")
    print("    inputs = { " + ",\n      ".join(tensor(x, dtype) for x in inputs) + " },")
    print(f"    outputs = {{ {{ data = {out}, shape = {{ {len(result)} }} }} }},{extra}\n  }},")


print("-- Values of the elementwise ops, written by pointwise.py. Do not edit.")
print("local inf, nan = math.huge, 0 / 0")
print("return {")
np.seterr(all="ignore")
for name, (f, lo, hi, special_values) in unary.items():
    x = np.array(grid(lo, hi))
    entry(name, [x], f(x))
    if special_values:
        x = np.array(SPECIAL)
        entry(name + "_special", [x], f(x))
for name, (op, options, f, lo, hi) in with_options.items():
    x = np.array(SPECIAL if op == "nan_to_num" else grid(lo, hi, 13))
    key = name if name != op else name + "_options"
    entry(key, [x], f(x), extra=f"\n    op = \"{op}\", options = {options},")
for name, (f, pairs) in binary.items():
    for key, chosen in [(name, [p for p in pairs if p not in EXTRA]), (name + "_special", [p for p in pairs if p in EXTRA])]:
        if chosen:
            a, b = np.array([p[0] for p in chosen]), np.array([p[1] for p in chosen])
            entry(key, [a, b], f(a, b))
for name, (f, pairs) in whole.items():
    a, b = np.array([p[0] for p in pairs], dtype=np.int32), np.array([p[1] for p in pairs], dtype=np.int32)
    entry(name + "_int", [a, b], f(a, b), dtype="int32")
print("}")

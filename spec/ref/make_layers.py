"""Reference values of spec/support/layer_cases.lua, computed by Keras from the `keras` expression of each row.

Run in the root of the tree, with Keras 3: KERAS_BACKEND=jax python spec/ref/make_layers.py [ID ...]
With names of rows it prints their `gives`, to be put into the row; without, it writes spec/ref/layers.lua, which holds the
results of all rows that have no `gives`. Inputs and weights follow the formulas in `ramp` and `weight`, which
layers_spec.lua repeats; only results are stored.
"""
import os
import subprocess
import sys
import keras
import numpy as np
from keras import layers as L  # noqa: F401  (the rows' expressions name it)

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = r"""
local function python(v)
  if type(v) ~= "table" then return tostring(v) end
  local out = {}
  for i, e in ipairs(v) do out[i] = python(e) end
  return "[" .. table.concat(out, ", ") .. "]"
end
for _, case in ipairs(dofile(arg[1])) do
  local o = case[5]
  if o.keras then print(table.concat({ case[1], o.keras, python(case[4]), o.ids or 0, o.training and 1 or 0, o.gives and 1 or 0 }, "\t")) end
end
"""


def rows():
    cases = os.path.join(HERE, "..", "support", "layer_cases.lua")
    text = subprocess.run(["lua5.4", "-", cases], input=ROWS, capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        name, expression, shape, ids, training, inline = line.split("\t")
        yield name, expression, eval(shape), int(ids), training == "1", inline == "1"


def ramp(shape, k=0):
    n = int(np.prod(shape))
    return np.sin(np.arange(n) * 0.7 + 0.3 + k).reshape(shape).astype("float32")


def weight(name, shape, k):
    n = int(np.prod(shape))
    v = np.sin(np.arange(n) * 1.3 + k) * 0.5
    if "variance" in name or "stddev" in name:
        v = np.abs(v) + 0.5
    return v.reshape(shape).astype("float32")


def lua(v):
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    return np.format_float_positional(np.float32(v), trim="-", unique=True)


def gives(expression, shape, ids, training):
    layer = eval(expression)
    if isinstance(shape[0], list):
        x = [ramp(s, k) for k, s in enumerate(shape)]
    elif ids:
        x = (np.arange(int(np.prod(shape))) % ids).reshape(shape).astype("int32")
    else:
        x = ramp(shape)
    layer(x)
    if layer.weights:
        layer.set_weights([weight(w.name, w.shape, k).astype(w.dtype) for k, w in enumerate(layer.weights)])
        if isinstance(layer, L.Normalization):
            layer.finalize_state()
    y = np.array(layer(x, training=True) if training else layer(x))
    return "{ shape = %s, params = %d, values = %s }" % (lua(y.shape), layer.count_params(), lua(y.ravel().tolist()))


wanted = sys.argv[1:]
lines = ["-- Made by make_layers.py with Keras %s: result shape, number of parameters, result." % keras.__version__, "return {"]
for name, expression, shape, ids, training, inline in rows():
    if name in wanted:
        print("%s: gives = %s" % (name, gives(expression, shape, ids, training)))
    elif not wanted and not inline:
        lines.append("  %s = %s," % (name, gives(expression, shape, ids, training)))
if not wanted:
    with open(os.path.join(HERE, "layers.lua"), "w") as f:
        f.write("\n".join(lines + ["}"]) + "\n")

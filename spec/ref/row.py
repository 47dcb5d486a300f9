"""Prints the values of a case row for spec/support/op_cases, from an expression of NumPy, SciPy, Keras or torch.

    python spec/ref/row.py "np.roll(x1, 1, axis=0)" "[[1, 2], [3, 4]]"

gives a row's `inputs`, `outputs` and `by`. Inputs are x1, x2, ... in the order given, float64 unless they say otherwise
("np.int32([1, 2])"); the expression gives an array or a tuple of them. Positions in outputs are the expression's: write
+ 1 where Tide counts from 1.
"""
import importlib
import sys

import numpy as np


def lua(v):
    if isinstance(v, list):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, bool):
        return "true" if v else "false"
    if v != v:
        return "0 / 0"
    if v in (float("inf"), float("-inf")):
        return "math.huge" if v > 0 else "-math.huge"
    return repr(v)


def tensor(x):
    dtype = "" if x.dtype == np.float64 else ', dtype = "%s"' % x.dtype
    return "{ values = %s%s }" % (lua(x.tolist()), dtype)


names = {"np": np}
expression = sys.argv[1]
for module in ("scipy", "keras", "torch"):
    if module in expression:
        names[module] = importlib.import_module(module)
inputs = []
for i, text in enumerate(sys.argv[2:]):
    value = eval(text, names)
    inputs.append(value if isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float64))
    names["x%d" % (i + 1)] = inputs[-1]
result = eval(expression, names)
results = [np.asarray(y) for y in (result if isinstance(result, tuple) else (result,))]
print("inputs = { %s }," % ", ".join(tensor(x) for x in inputs))
print("outputs = { %s }," % ", ".join(tensor(y) for y in results))
print("by = [[%s]]," % expression)

"""Writes reference values as a Lua file beside the script that computed them: {key = {inputs = {...}, outputs = {...}}}."""
import os
import sys

import numpy as np

NAMES = {"float64": "float64", "float32": "float32", "int64": "int64", "int32": "int32", "uint8": "uint8", "bool": "bool"}


def number(v):
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    v = float(v)
    if v != v:
        return "0/0"
    if v in (float("inf"), float("-inf")):
        return "math.huge" if v > 0 else "-math.huge"
    return repr(v)


def array(a):
    if a is None or a is False:
        return "false"
    a = np.asarray(a)
    shape = ", ".join(str(d) for d in a.shape)
    data = ", ".join(number(v) for v in a.reshape(-1))
    return "{ dtype = \"%s\", shape = { %s }, data = { %s } }" % (NAMES[str(a.dtype)], shape, data)


def write(entries):
    """entries: key -> (list of inputs, list of outputs); the file is named after the running script."""
    script = os.path.abspath(sys.argv[0])
    with open(script[:-3] + ".lua", "w") as f:
        f.write("-- Written by %s; do not edit.\nreturn {\n" % os.path.basename(script))
        for key, (inputs, outputs) in entries.items():
            f.write("  [\"%s\"] = {\n    inputs = {\n" % key)
            for a in inputs:
                f.write("      %s,\n" % array(a))
            f.write("    },\n    outputs = {\n")
            for a in outputs:
                f.write("      %s,\n" % array(a))
            f.write("    },\n  },\n")
        f.write("}\n")


def rng(seed=0):
    return np.random.default_rng(seed)

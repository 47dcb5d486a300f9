"""Writes Python values as a Lua module, for the reference scripts beside this file."""
import math
import numpy as np


def lua(v, digits=9):
    if v is None:
        return "false"
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    if isinstance(v, (float, np.floating)):
        v = float(v)
        if math.isnan(v):
            return "0/0"
        if math.isinf(v):
            return "math.huge" if v > 0 else "-math.huge"
        s = "%.*g" % (digits, v)
        return s if any(c in s for c in ".en") else s + ".0"
    if isinstance(v, str):
        return '"' + v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(v, dict):
        return "{" + ", ".join("[%s] = %s" % (lua(k), lua(x, digits)) for k, x in v.items()) + "}"
    if isinstance(v, (list, tuple)):
        return "{" + ", ".join(lua(x, digits) for x in v) + "}"
    return lua(np.asarray(v).tolist(), digits)


def write(path, script, rows):
    """rows: list of dicts, one line each."""
    with open(path, "w") as f:
        f.write("-- Made by spec/ref/%s from the real Keras; do not edit.\nreturn {\n" % script)
        for r in rows:
            f.write("  " + lua(r) + ",\n")
        f.write("}\n")

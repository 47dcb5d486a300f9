"""Writes keras_ops.lua: every function of keras.ops with the names of its arguments and their defaults, from the real Keras.

Run: KERAS_BACKEND=jax python spec/ref/keras_ops.py   (Keras 3)
"""
import inspect
import os

import keras

lines = ["-- Made by keras_ops.py with Keras %s; do not edit." % keras.__version__, "return {"]
for name in sorted(dir(keras.ops)):
    f = getattr(keras.ops, name)
    if name.startswith("_") or not callable(f):
        continue
    arguments = []
    for p in inspect.signature(f).parameters.values():
        star = "*" if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) else ""
        default = "" if p.default is p.empty else " = %s" % (p.default,)
        arguments.append('"%s%s%s"' % (star, p.name, default.replace('"', "'")))
    lines.append("  [\"%s\"] = { %s }," % (name, ", ".join(arguments)) if arguments else "  [\"%s\"] = {}," % name)
lines.append("}")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "keras_ops.lua"), "w") as out:
    out.write("\n".join(lines) + "\n")

"""Writes what tf.data offers as api_tf.lua, in the form of api.lua: read from the real TensorFlow by inspect.signature.

    python spec/ref/api_tf.py
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf  # noqa: E402

import api  # noqa: E402

literal = api.literal
api.literal = lambda v: '"%s"' % v.name if isinstance(v, tf.DType) else literal(v)
HERE = os.path.dirname(os.path.abspath(__file__))


def lines():
    out = []
    for name, kind, args in api.members(tf.data.Dataset):
        out.append(api.entry("Dataset:" + name, kind, args))
    for c in (tf.data.TFRecordDataset, tf.data.TextLineDataset, tf.data.FixedLengthRecordDataset, tf.data.experimental.CsvDataset):
        name = c.__name__.replace("V2", "")
        out.append(api.entry(name, "class", [p for p in api.parameters(c.__init__)[0] if p[0] != "self"]))
    for name in ("AUTOTUNE", "INFINITE_CARDINALITY", "UNKNOWN_CARDINALITY", "Dataset"):
        out.append('{ "%s", "name" }' % name)
    return sorted(out)


with open(os.path.join(HERE, "api_tf.lua"), "w") as f:
    f.write("-- Written by api_tf.py from TensorFlow %s; do not edit. Rows as in api.lua.\n" % tf.__version__)
    f.write('local N = require "tide.none"\nreturn {\n  { "data",\n')
    for line in lines():
        f.write("    %s,\n" % line)
    f.write("  },\n}\n")

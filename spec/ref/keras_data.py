"""Writes keras_data.lua: windows of keras.utils.timeseries_dataset_from_array and parts of split_dataset.

Numbers of steps count from 1 in Lua, and end_index is included there: Keras' start_index + 1 and end_index.
Run with an environment that holds tensorflow and keras: python spec/ref/keras_data.py
"""
import os

import keras
import numpy as np
import tensorflow as tf

from luawrite import write

here = os.path.dirname(os.path.abspath(__file__))
x = np.arange(20, dtype="int64")
m = np.stack([x, x * 10], 1)
out = []
for o in [dict(sequence_length=4), dict(sequence_length=4, sequence_stride=3), dict(sequence_length=3, sampling_rate=4),
          dict(sequence_length=5, sequence_stride=2, sampling_rate=2, batch_size=3), dict(sequence_length=2, start_index=5, end_index=12),
          dict(sequence_length=3, sequence_stride=4, sampling_rate=2, start_index=1, end_index=19), dict(sequence_length=20),
          dict(sequence_length=3, batch_size=None, sequence_stride=6)]:
    for data in (x, m):
        for targets in (None, x * 100, x[:10] * 100):
            ds = keras.utils.timeseries_dataset_from_array(data, targets, **o)
            try:
                rows = [[p.numpy().tolist() for p in (e if isinstance(e, tuple) else (e,))] for e in ds]
            except tf.errors.InvalidArgumentError:  # Keras counts windows that have no target
                continue
            lua = dict(o)
            lua["start_index"] = o["start_index"] + 1 if "start_index" in o else None
            lua["batch_size"] = o.get("batch_size", 128) or "none"
            out.append({"series": {k: v for k, v in lua.items() if v is not None}, "columns": data.ndim,
                        "targets": 0 if targets is None else len(targets), "elements": rows})
for o in [dict(left_size=0.8), dict(left_size=3), dict(right_size=0.25), dict(right_size=2), dict(left_size=0.5, right_size=0.2), dict(left_size=4, right_size=3),
          dict(left_size=0.33, right_size=0.33), dict(left_size=0.05), dict(left_size=0.95)]:
    left, right = keras.utils.split_dataset(np.arange(11, dtype="int64"), **o)
    out.append({"split": o, "left": [int(v) for v in left], "right": [int(v) for v in right]})
write(os.path.join(here, "keras_data.lua"), "keras_data.py", out)

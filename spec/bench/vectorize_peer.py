"""Keras' TextVectorization on a file of texts, for spec/bench/vectorize.lua: prints lines `case seconds sum`, the best of some rounds over
batches that are tensors already, and the sum of the last batch's numbers. python spec/bench/vectorize_peer.py FILE"""
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

lines = open(sys.argv[1], "rb").read().split(b"\n")[:-1]
batches = [tf.constant(lines[i:i + 256]) for i in range(0, len(lines), 256)]
cases = {
    "int": dict(max_tokens=20000, output_sequence_length=200),
    "longest": dict(max_tokens=20000),
    "bigrams": dict(max_tokens=20000, ngrams=2, output_sequence_length=200),
    "multi_hot": dict(max_tokens=2000, output_mode="multi_hot", pad_to_max_tokens=True),
    "character": dict(split="character", output_sequence_length=500),
}
for name, options in cases.items():
    layer = keras.layers.TextVectorization(**options)
    layer.adapt(tf.data.Dataset.from_tensor_slices(lines).batch(256))
    call = tf.function(lambda x: layer(x))
    best = 1e9
    for f in (layer, call):
        for _ in range(3):
            start = time.perf_counter()
            for b in batches:
                out = f(b)
            best = min(best, time.perf_counter() - start)
    print(name, best, np.asarray(out, "float64").sum(), flush=True)

"""What a no-op element of tf.data and a record of its TFRecordDataset cost: nanoseconds of wall time, the best of three.

Prints lines `name nanoseconds`; spec/bench/data.lua prints the same of Tide. python spec/bench/tf_data.py RECORDS_FILE BIG_FILE
"""
import sys
import time

import tensorflow as tf

D = tf.data.Dataset
N = 30000


def best(name, n, f):
    t = 1e9
    for _ in range(3):
        s = time.perf_counter()
        f()
        t = min(t, time.perf_counter() - s)
    print(f"{name} {t / n * 1e9:.1f}")


def run(make):
    ds = make()

    def f():
        for _ in ds:
            pass
    return f


best("range", N, run(lambda: D.range(N)))
best("map", N, run(lambda: D.range(N).map(lambda x: x)))
best("map_x10", N, run(lambda: __import__("functools").reduce(lambda d, _: d.map(lambda x: x), range(10), D.range(N))))
best("map_batch", N, run(lambda: D.range(N).map(lambda x: x).batch(100)))
best("batch", N, run(lambda: D.range(N).batch(100)))
best("shuffle_batch", N, run(lambda: D.range(N).shuffle(1000).batch(100)))
x, y = tf.ones([N, 10]), tf.ones([N])
best("slices_shuffle_batch", N, run(lambda: D.from_tensor_slices((x, y)).shuffle(N).batch(100)))
best("record_100B", N, run(lambda: tf.data.TFRecordDataset(sys.argv[1])))
best("record_100B_batch", N, run(lambda: tf.data.TFRecordDataset(sys.argv[1]).batch(100)))
best("record_50kB", 2000, run(lambda: tf.data.TFRecordDataset(sys.argv[2])))
best("record_50kB_batch", 2000, run(lambda: tf.data.TFRecordDataset(sys.argv[2]).batch(10)))

# Keras' TimeseriesGenerator stands for both generators of windows.
import numpy as np
from keras.src.legacy.preprocessing.sequence import TimeseriesGenerator

series, targets = np.random.randn(100000, 8).astype("float32"), np.random.randn(100000).astype("float32")


def windows(name, **options):
    g = TimeseriesGenerator(series, targets, batch_size=128, **options)
    best(name, len(g), lambda: [g[i] for i in range(len(g))] and None)


windows("timeseries", length=24)
windows("timeseries_drawn", length=48, sampling_rate=2, shuffle=True)
windows("sequence", length=24)

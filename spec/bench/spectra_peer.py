"""Fourier transforms by NumPy, and Keras' MelSpectrogram in a compiled function, for spec/bench/spectra.lua: lines `name milliseconds`, of the processor,
one thread, the best of some rounds. Run: KERAS_BACKEND=tensorflow or jax python spec/bench/spectra_peer.py"""
import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import numpy as np
import keras


def best(name, f, rounds=15):
    f()
    t = 1e9
    for _ in range(rounds):
        s = time.process_time()
        f()
        t = min(t, time.process_time() - s)
    print(name, "%.3f" % (t * 1e3), flush=True)


x = np.random.randn(64, 32000).astype("float32")
layer = keras.layers.MelSpectrogram()
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    run, given = tf.function(layer), tf.constant(x)
    best("mel", lambda: run(given).numpy())
else:
    import jax

    run, given = jax.jit(layer), jax.numpy.asarray(x)
    best("mel", lambda: run(given).block_until_ready())
for name, shape in [("rows_256", (4096, 256)), ("rows_2048", (512, 2048)), ("rows_1000", (1024, 1000)), ("row_1M", (1, 1 << 20)), ("rows_prime", (64, 1021)),
                    ("rows_4099", (64, 4099)), ("row_2310", (1, 2310))]:
    a = np.random.randn(*shape).astype("float32")
    z = a + 1j * a
    r = np.fft.rfft(a)
    best("fft_" + name, lambda: np.fft.fft(z))
    best("rfft_" + name, lambda: np.fft.rfft(a))
    best("irfft_" + name, lambda: np.fft.irfft(r, shape[1]))
z = np.random.randn(16, 256, 256).astype("float32") * (1 + 1j)
best("fft2_256", lambda: np.fft.fft2(z))

"""Reference values of spectra: writes spec/ref/spectra.lua.

Windows by scipy.signal, layers by Keras on JAX, mel matrices and cosine transforms by tf.signal, MFCC of Keras' mel
spectrograms by scipy.fft.dct and tf.signal.
Run: KERAS_BACKEND=jax python spec/ref/spectra.py   (Keras 3, TensorFlow 2, SciPy)
"""
import os
import keras
import numpy as np
import scipy.fft
import tensorflow as tf
from scipy.signal import get_window

L = keras.layers


def numbers(v, digits=9):
    return "{ " + ", ".join(("%.*g" % (digits, float(e))) for e in np.asarray(v).ravel()) + " }"


def wrap(line, indent="    "):
    out, row = [], ""
    for word in line.split(" "):
        if len(row) + len(word) > 80:
            out.append(row.rstrip())
            row = indent
        row += word + " "
    return "\n".join(out + [row.rstrip()])


def signal(*shape):  # the formula that the spec repeats
    n = int(np.prod(shape))
    t = np.arange(n, dtype=np.float64)
    return (np.sin(0.3 * t) + 0.5 * np.cos(0.0071 * t * (t % 97)) + 0.1 * np.sin(1.7 * t)).reshape(shape).astype(np.float32)


def lua(v):
    if v is None:
        return "tide.none"
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, str):
        return '"%s"' % v
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(map(lua, v)) + " }"
    return repr(v)


def options(o):
    return "{ " + ", ".join("%s = %s" % (k, lua(v)) for k, v in o.items()) + " }"


def case(shape, o, y):
    y = np.asarray(y)
    return wrap("  { shape = %s, options = %s, out = %s, values = %s }," % (lua(shape), options(o), lua(list(y.shape)), numbers(y)))


lines = ["-- Made by spectra.py with Keras %s and TensorFlow %s." % (keras.__version__, tf.__version__),
         'local tide = require "tide"', "return {", "  windows = {"]
for name in """barthann bartlett blackman blackmanharris bohman boxcar cosine exponential flattop hamming hann lanczos nuttall
    parzen taylor triang tukey""".split():
    for n, periodic in ((1, False), (7, False), (8, False), (8, True), (9, True)):
        lines.append(wrap("  { name = \"%s\", periodic = %s, values = %s }," % (name, lua(periodic), numbers(get_window(name, n, periodic), 15))))

lines += ["  },", "  stft = {"]
odd = [0.1, 0.4, 0.9, 1.0, 0.8, 0.3, 0.2, 0.05]
for shape, o in [((2, 40, 2), dict(mode=m, frame_length=8, frame_step=3, data_format="channels_last")) for m in
                 ("log", "magnitude", "psd", "real", "imag", "angle", "stft")] + [
    ((2, 2, 20), dict(mode="stft", frame_length=8, data_format="channels_first")),
    ((2, 2, 20), dict(mode="log", frame_length=8, data_format="channels_first", expand_dims=True)),
    ((1, 20, 2), dict(mode="stft", frame_length=8, data_format="channels_last", expand_dims=True, padding="same")),
    ((1, 21, 1), dict(mode="psd", frame_length=6, frame_step=4, fft_length=16, window="hamming", periodic=True, scaling="spectrum")),
    ((1, 21, 1), dict(mode="magnitude", frame_length=5, window=None, padding="same")),
    ((1, 21, 1), dict(mode="real", frame_length=8, window="blackmanharris", scaling=None)),
    ((1, 21, 1), dict(mode="imag", frame_length=8, window=odd, scaling="density")),
    ((1, 21, 1), dict(mode="psd", frame_length=8, window="flattop", scaling="spectrum", fft_length=9)),
    ((1, 8, 1), dict(mode="log", frame_length=2, frame_step=1, window="boxcar")),
    ((1, 600, 1), dict(mode="magnitude", frame_length=256, frame_step=200)),
]:
    k = dict(o)
    if isinstance(k.get("window"), list):
        k["window"] = np.array(k["window"], np.float32)
    lines.append(case(shape, o, L.STFTSpectrogram(**k)(signal(*shape))))

lines += ["  },", "  mel = {"]
for shape, o in [
    ((400,), dict(fft_length=64, sequence_stride=50, num_mel_bins=6, sampling_rate=8000)),
    ((2, 400), dict(fft_length=64, sequence_stride=64, num_mel_bins=5, sampling_rate=8000, min_freq=100.0, max_freq=3000.0)),
    ((2, 300), dict(fft_length=64, sequence_stride=40, sequence_length=48, window="hamming", num_mel_bins=4, power_to_db=False)),
    ((2, 300), dict(fft_length=64, sequence_stride=70, window=None, num_mel_bins=4, mag_exp=1.0, power_to_db=False, min_freq=0.0)),
    ((2, 300), dict(fft_length=64, sequence_stride=70, num_mel_bins=4, mag_exp=1.5, top_db=12.0, ref_power=3.5, min_power=1e-2)),
    ((1, 5000), dict(num_mel_bins=12)),
]:
    lines.append(case(shape, o, L.MelSpectrogram(**o)(signal(*shape))))

lines += ["  },", "  matrix = {"]
for args in ((20, 129, 8000, 125.0, 3800.0), (5, 17, 16000, 0.0, 8000.0), (40, 33, 8000, 20.0, 4000.0)):
    m = tf.signal.linear_to_mel_weight_matrix(*args, dtype=tf.float64)
    lines.append(wrap("  { args = %s, values = %s }," % (lua(list(args)), numbers(m, 12))))

lines += ["  },", "  dct = {"]
x = signal(2, 6).astype(np.float64)
for kind in (1, 2, 3, 4):
    for norm in (None, "ortho") if kind > 1 else (None,):
        for n in (None, 4, 9) if kind != 4 else (None,):
            values, inverse = tf.signal.dct(x, kind, n, -1, norm), tf.signal.idct(x, kind, n, -1, norm)
            lines.append(wrap("  { type = %d, norm = %s, n = %s, values = %s, inverse = %s }," %
                              (kind, lua(norm), lua(n), numbers(values), numbers(inverse))))

lines += ["  },", "  mfcc = {"]
for shape, o, norm, count in [
    ((2, 400), dict(fft_length=64, sequence_stride=100, num_mel_bins=8, sampling_rate=8000), "ortho", 5),
    ((400,), dict(fft_length=64, sequence_stride=100, num_mel_bins=8, sampling_rate=8000, top_db=30.0), None, 8),
    ((2, 400), dict(fft_length=64, sequence_stride=100, num_mel_bins=8, sampling_rate=8000, power_to_db=False), "htk", 5),
]:
    mel = np.asarray(L.MelSpectrogram(**o)(signal(*shape)))
    if norm == "htk":
        y = tf.signal.mfccs_from_log_mel_spectrograms(np.swapaxes(np.log(np.maximum(mel, 1e-10)), -1, -2)).numpy()
        y = np.swapaxes(y, -1, -2)
    else:
        y = scipy.fft.dct(mel, 2, axis=-2, norm=norm)
    lines.append(case(shape, dict(o, num_mfcc=count, norm=norm), y[..., :count, :]))
lines += ["  },", "}"]
open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "spectra.lua"), "w").write("\n".join(lines) + "\n")

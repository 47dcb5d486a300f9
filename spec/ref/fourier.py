"""Fourier transforms by NumPy and SciPy for spec/ops/fourier_spec.lua: python spec/ref/fourier.py writes spec/ref/fourier.lua.

The numbers that are transformed come from a formula that is exact in float64: element i of part p is ((i * 7919 + p * 104729) mod 1009) / 1009 - 0.5. Of long
results some elements are kept.
"""
import os

import numpy as np
import scipy.signal

LENGTHS = list(range(1, 41)) + [45, 49, 62, 64, 77, 81, 100, 121, 125, 128, 210, 243, 256, 331, 360, 509, 1000, 1021, 1024, 2047, 2048, 2310, 4096, 4099,
                                6561, 10007, 16384, 30030, 65536, 65537, 131072, 300000]


def numbers(n, p):
    return (np.arange(n, dtype=np.int64) * 7919 + p * 104729) % 1009 / 1009 - 0.5


def places(n):
    return sorted({0, 1, n // 7, n // 3, n // 2, 2 * n // 3, n - 2, n - 1} & set(range(n)))


def text(values):
    return "{" + ", ".join("%.16g" % v for v in values) + "}"


def row(name, n, y, extra=""):
    at = places(len(y))
    im = "" if not np.iscomplexobj(y) else ", im = " + text(y.imag[at])
    return "  { op = %r, n = %d%s, at = {%s}, re = %s%s },\n" % (name, n, extra, ", ".join(str(i + 1) for i in at), text(np.real(y)[at]), im)


out = ["-- Made by spec/ref/fourier.py.\nreturn {\n"]
for n in LENGTHS:
    x, z = numbers(n, 0), numbers(n, 0) + 1j * numbers(n, 1)
    half = (numbers(n // 2 + 1, 0) + 1j * numbers(n // 2 + 1, 1))
    out += [row("fft", n, np.fft.fft(z)), row("rfft", n, np.fft.rfft(x)), row("irfft", n, np.fft.irfft(half, n))]
for h, w in [(1, 1), (3, 5), (8, 16), (7, 31), (37, 12), (64, 100)]:
    z = (numbers(h * w, 0) + 1j * numbers(h * w, 1)).reshape(h, w)
    out += [row("fft2", w, np.fft.fft2(z).ravel(), ", rows = %d" % h), row("ifft2", w, np.fft.ifft2(z).ravel(), ", rows = %d" % h)]
for n, length, step in [(40, 8, 4), (100, 16, 5), (257, 30, 10), (400, 64, 48), (90, 9, 1)]:
    x = numbers(n, 0)
    window = scipy.signal.get_window("hann", length)
    padded = np.pad(x, length // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::step]
    y = np.fft.rfft(frames * window)
    out.append(row("stft", n, y.ravel(), ", length = %d, step = %d" % (length, step)))
out.append("}\n")
with open(os.path.join(os.path.dirname(__file__), "fourier.lua"), "w") as f:
    f.write("".join(out).replace("'", '"'))

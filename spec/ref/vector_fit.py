"""The coefficients of kernels/cpu/vector.h: `python vector_fit.py` prints them, and the errors of the fits.

Each is the fit whose largest relative error is least, by least squares that are weighted anew until the errors are level
(Lawson 1961; for quotients linearized by the denominator before). Needs NumPy and SciPy.
"""
import numpy as np
from scipy.special import erfcx


def places(low, high, n=3001):
    """Chebyshev's, closer at the ends."""
    return low + (high - low) * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, n)))


def level(columns, wanted, scale, rounds):
    """c such that the largest |scale (columns c - wanted)| is least: that error, c."""
    weight, best = np.ones(len(wanted)), (np.inf, None)
    for _ in range(rounds):
        s = np.sqrt(weight) * scale
        c = np.linalg.lstsq(columns * s[:, None], wanted * s, rcond=None)[0]
        error = np.abs(scale * (columns @ c - wanted))
        if error.max() < best[0]:
            best = error.max(), c
        weight = weight * (error / error.max() + 1e-3)
        weight /= weight.sum()
    return best


def powers(x, ks):
    return np.stack([x ** k for k in ks], 1)


def show(name, error, *lists):
    print(f"{name}: {error:.2e}")
    for c in lists:
        print("   ", ", ".join(f"{np.float32(v):.9g}f" for v in c))


# exp(r) = 1 + r + r^2 p(r), |r| at most log(2) / 2
half = np.log(2) / 2 * 1.0005
r = places(-half, half)
error, c = level(powers(r, range(2, 7)), np.expm1(r) - r, np.exp(-r), 200)
show("exp", error, c)

# tanh(x) = x p(x^2) / q(x^2), q(0) = 1, up to where it is 1 in float32
DEGREES, FAR = (5, 3), 81.0
x = places(1e-4, 9.02)
t, y = np.tanh(x) / x, x * x / FAR
n, m = DEGREES
q, weight, best = np.ones_like(x), np.ones_like(x), (np.inf, None)
for turn in range(300):
    columns = np.concatenate([powers(y, range(n + 1)), -powers(y, range(1, m + 1)) * t[:, None]], 1)
    s = np.sqrt(weight) / (np.abs(q) * t)
    c = np.linalg.lstsq(columns * s[:, None], t * s, rcond=None)[0]
    q = 1 + powers(y, range(1, m + 1)) @ c[n + 1:]
    error = np.abs(powers(y, range(n + 1)) @ c[:n + 1] / q / t - 1)
    if error.max() < best[0]:
        best = error.max(), c
    if turn > 5:
        weight = weight * (error / error.max() + 1e-2)
        weight /= weight.sum()
error, c = best
show("tanh", error, [c[k] / FAR ** k for k in range(n + 1)],
     [1] + [c[n + k] / FAR ** k for k in range(1, m + 1)])

# the normal distribution beyond a: exp(-a^2 / 2) p(t), t = 1 / (1 + 0.35 a)
a = places(0, 14)
wanted = 0.5 * erfcx(a / np.sqrt(2))
error, c = level(powers(1 / (1 + 0.35 * a), range(1, 10)), wanted, 1 / wanted, 400)
show("normal", error, c)

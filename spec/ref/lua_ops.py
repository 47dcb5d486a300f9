"""Writes lua_ops.lua: calls of the functions of tide.ops that are written in Lua, and their results by NumPy and torch in float64.

An entry: the function, the call as Lua, the Python expression of its results, and a reason where gradients are not compared.
Inputs stand below by name; positions and axes count from 1 in the calls and from 0 in the expressions.
Run with an environment that holds numpy and torch: python spec/ref/lua_ops.py
"""
import os

import numpy as np
import torch

nan = float("nan")
inputs = {
    "x": np.array([[3.0, 1.0, 2.0], [6.0, 5.0, 4.5]]),
    "y": np.array([[0.5, 2.5, -1.0], [1.5, -0.7, 3.2]]),
    "m": np.array([[0.3, 1.2], [-0.8, 2.0], [1.1, -0.4]]),
    "v": np.array([0.5, -1.2, 3.0, 2.1, 0.7]),
    "u": np.array([1.5, -0.3, 0.9]),
    "w": np.array([1.0, 2.0, 0.5]),
    "n": np.array([[1.0, nan, 3.0], [2.0, 2.5, 5.0]]),
    "z": np.arange(8.0).reshape(1, 2, 4) / 3,
    "s": np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]]),
    "l": np.array([[2.0, 0.0], [0.7, 1.5]]),
    "rank1": np.array([[1.0, 2.0], [2.0, 4.0]]),
    "holes": np.array([[0.0, 1.0], [2.0, 0.0]]),
    "doubled": np.array([3.0, 1.0, 3.0, 2.0, 1.0]),
    "rows": np.array([[1.0, 2.0], [0.0, 3.0], [1.0, 2.0]]),
    "far": np.array([300.0, -5.0, 7.6]),
    "f": np.array([1.0, -2.5], dtype=np.float32),
    "ids": np.array([2, 1, 2], dtype=np.int32),
    "q": np.sin(np.arange(24.0)).reshape(1, 3, 4, 2),
    "k": np.cos(np.arange(12.0)).reshape(1, 3, 2, 2),
    "long": np.sin(np.arange(66.0) ** 1.3),
    "c": np.array([[0.2, 0.7, 0.1], [0.5, 0.2, 0.3]]),
}
trapezoid = getattr(np, "trapezoid", None) or np.trapz
whole, truth, made, same = "whole numbers", "truths", "made of Lua numbers", "a piecewise constant"


def t(a):
    return torch.tensor(a)


def attention(q, k, v):
    q, k, v = (t(a).transpose(1, 2) for a in (q, np.repeat(k, 2, 2), np.repeat(v, 2, 2)))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).numpy()


def pair(z):
    return z.real, z.imag


def short(a, length, stride, n):
    w = torch.hann_window(length, dtype=torch.float64)
    return torch.stft(t(a), n, stride, length, w, return_complex=True).T.numpy()


def counted(*results):
    return tuple(r + 1 for r in results)


cases = [
    ("allclose", "ops.allclose(x, x + 1e-9)", "np.allclose(x, x + 1e-9)", truth),
    ("angle", "ops.angle(v)", "np.angle(v)"),
    ("append", "ops.append(x, y, 1)", "np.append(x, y, 0)"),
    ("arange", "ops.arange(1, 7, 2)", "np.arange(1, 7, 2)", made),
    ("argpartition", "ops.argpartition(v, 2)", "counted(np.argsort(v))", whole),
    ("array", "ops.array(x)", "x"),
    ("array_split", "ops.array_split(v, 3)", "np.array_split(v, 3)"),
    ("associative_scan", "ops.associative_scan(function(a, b) return a * b end, v)", "np.cumprod(v)"),
    ("average", "ops.average(x, 2, { weights = w })", "np.average(x, 1, weights=w)"),
    ("bartlett", "ops.bartlett(6)", "np.bartlett(6)", made),
    ("blackman", "ops.blackman(6)", "np.blackman(6)", made),
    ("broadcast_shapes", "ops.broadcast_shapes({ 5, 1 }, { 2, 1, 3 })", "np.array(np.broadcast_shapes((5, 1), (2, 1, 3)))", whole),
    ("cdist", "ops.cdist(x, y)", "torch.cdist(t(x), t(y)).numpy()"),
    ("cholesky_inverse", "ops.cholesky_inverse(l)", "np.linalg.inv(l @ l.T)"),
    ("column_stack", "ops.column_stack { u, w }", "np.column_stack((u, w))"),
    ("cond", "ops.cond(x[{ 1, 1 }] > 2, function() return x end, function() return y end)", "x"),
    ("conj", "ops.conj(x)", "np.conj(x)"),
    ("conjugate", "ops.conjugate(x)", "np.conj(x)"),
    ("convert_to_numpy", "ops.convert_to_numpy(x)", "x", made),
    ("convert_to_tensor", "ops.convert_to_tensor(x)", "x"),
    ("corrcoef", "ops.corrcoef(x)", "np.corrcoef(x)"),
    ("correlate", "ops.correlate(v, u)", "np.correlate(v, u)"),
    ("correlate", 'ops.correlate(v, u, "same")', "np.correlate(v, u, 'same')"),
    ("correlate", 'ops.correlate(u, v, "full")', "np.correlate(u, v, 'full')"),
    ("correlate", 'ops.correlate(u, v, "same")', "np.correlate(u, v, 'same')"),
    ("cross", "ops.cross(x, y)", "np.cross(x, y)"),
    ("custom_gradient", "ops.custom_gradient(function(a) return a * a, function(dy) return dy * a * 2 end end)(x)", "x * x"),
    ("diagflat", "ops.diagflat(u, 1)", "np.diagflat(u, 1)"),
    ("diff", "ops.diff(x, 1, 2)", "np.diff(x, 1, 1)"),
    ("dot_product_attention", "ops.dot_product_attention(q, k, k)", "attention(q, k, k)"),
    ("dsplit", "ops.dsplit(z, 2)", "np.dsplit(z, 2)"),
    ("dstack", "ops.dstack { x, y }", "np.dstack((x, y))"),
    ("dtype", 'ops.dtype(x) == "float64"', "x.dtype == np.float64", truth),
    ("einsum", 'ops.einsum("ij,jk->ik", x, m)', "x @ m"),
    ("extract_sequences", "ops.extract_sequences(v, 3, 2)", "np.lib.stride_tricks.sliding_window_view(v, 3)[::2]"),
    ("eye", "ops.eye(3, 4, 1)", "np.eye(3, 4, 1)", made),
    ("fft", "ops.fft { x, y }", "pair(np.fft.fft(x + 1j * y))"),
    ("fft", "ops.fft { long, long * 0.5 }", "pair(np.fft.fft(long * (1 + 0.5j)))"),
    ("fft2", "ops.fft2 { x, y }", "pair(np.fft.fft2(x + 1j * y))"),
    ("ifft2", "ops.ifft2 { x, y }", "pair(np.fft.ifft2(x + 1j * y))"),
    ("irfft", "ops.irfft { x, y }", "np.fft.irfft(x + 1j * y)"),
    ("irfft", "ops.irfft({ x, y }, 5)", "np.fft.irfft(x + 1j * y, 5)"),
    ("istft", "ops.istft({ ops.stft(long, 8, 4, 8) }, 8, 4, 8)", "long[:64]"),
    ("rfft", "ops.rfft(v)", "pair(np.fft.rfft(v))"),
    ("rfft", "ops.rfft(x, 8)", "pair(np.fft.rfft(x, 8))"),
    ("rfft", "ops.rfft(long)", "pair(np.fft.rfft(long))"),
    ("stft", "ops.stft(long, 8, 4, 10)", "pair(short(long, 8, 4, 10))"),
    ("fliplr", "ops.fliplr(x)", "np.fliplr(x)"),
    ("flipud", "ops.flipud(x)", "np.flipud(x)"),
    ("fori_loop", "ops.fori_loop(0, 3, function(i, a) return a * 2 + i end, x)", "((x * 2) * 2 + 1) * 2 + 2"),
    ("geomspace", "ops.geomspace(1, 16, 5)", "np.geomspace(1, 16, 5)", made),
    ("get_item", "ops.get_item(x, 2)", "x[1]"),
    ("hamming", "ops.hamming(6)", "np.hamming(6)", made),
    ("hanning", "ops.hanning(6)", "np.hanning(6)", made),
    ("histogram", "ops.histogram(v, 3)", "np.histogram(v, 3)", whole),
    ("hsplit", "ops.hsplit(x, 3)", "np.hsplit(x, 3)"),
    ("hstack", "ops.hstack { x, y }", "np.hstack((x, y))"),
    ("i0", "ops.i0(v)", "torch.special.i0(t(v)).numpy()"),
    ("identity", "ops.identity(3)", "np.identity(3)", made),
    ("imag", "ops.imag(x)", "np.imag(x)"),
    ("in_top_k", "ops.in_top_k({ 1, 2 }, c, 2)", "np.sum(c > c[[0, 1], [0, 1]][:, None], 1) < 2", truth),
    ("is_tensor", "ops.is_tensor(x)", "True", truth),
    ("isin", "ops.isin(doubled, ops.array(u + 1.5))", "np.isin(doubled, u + 1.5)", truth),
    ("isreal", "ops.isreal(x)", "np.isreal(x)", truth),
    ("kaiser", "ops.kaiser(6, 4.5)", "np.kaiser(6, 4.5)", made),
    ("kron", "ops.kron(x, u)", "np.kron(x, u)"),
    ("linspace", "ops.linspace(u, w, 4)", "np.linspace(u, w, 4)"),
    ("logdet", "ops.logdet(s)", "np.linalg.slogdet(s)[1]"),
    ("logspace", "ops.logspace(0, 2, 5)", "np.logspace(0, 2, 5)", made),
    ("lstsq", "ops.lstsq(m, u)", "np.linalg.lstsq(m, u, rcond=None)[0]"),
    ("map", "ops.map(function(r) return r * r end, x)", "x * x"),
    ("matrix_power", "ops.matrix_power(s, 3)", "np.linalg.matrix_power(s, 3)"),
    ("matrix_power", "ops.matrix_power(s, -2)", "np.linalg.matrix_power(s, -2)"),
    ("matrix_rank", "ops.matrix_rank(rank1)", "np.linalg.matrix_rank(rank1)", whole),
    ("median", "ops.median(x, 2)", "np.median(x, 1)"),
    ("meshgrid", "ops.meshgrid(u, v)", "tuple(np.meshgrid(u, v))"),
    ("multi_hot", "ops.multi_hot({ { 1, 3 }, { 2, 2 } }, 3)", "np.array([[1.0, 0, 1], [0, 1, 0]])", made),
    ("nanargmax", "ops.nanargmax(n, 2)", "counted(np.nanargmax(n, 1))", whole),
    ("nanargmin", "ops.nanargmin(n, 2)", "counted(np.nanargmin(n, 1))", whole),
    ("nancumprod", "ops.nancumprod(n, 2)", "np.nancumprod(n, 1)"),
    ("nancumsum", "ops.nancumsum(n, 2)", "np.nancumsum(n, 1)"),
    ("nanmax", "ops.nanmax(n, 2)", "np.nanmax(n, 1)"),
    ("nanmean", "ops.nanmean(n, 2)", "np.nanmean(n, 1)"),
    ("nanmedian", "ops.nanmedian(n, 2)", "np.nanmedian(n, 1)"),
    ("nanmin", "ops.nanmin(n, 2)", "np.nanmin(n, 1)"),
    ("nanpercentile", "ops.nanpercentile(n, { 20, 70 }, 2)", "np.nanpercentile(n, [20, 70], 1)"),
    ("nanprod", "ops.nanprod(n, 2)", "np.nanprod(n, 1)"),
    ("nanquantile", "ops.nanquantile(n, 0.3, 2)", "np.nanquantile(n, 0.3, 1)"),
    ("nanstd", "ops.nanstd(n, 2)", "np.nanstd(n, 1)"),
    ("nansum", "ops.nansum(n, 2)", "np.nansum(n, 1)"),
    ("nanvar", "ops.nanvar(n, 2)", "np.nanvar(n, 1)"),
    ("ndim", "ops.ndim(x)", "np.ndim(x)", whole),
    ("nonzero", "ops.nonzero(holes)", "counted(*np.nonzero(holes))", whole),
    ("norm", "ops.norm(x)", "np.linalg.norm(x)"),
    ("norm", "ops.norm(x, 3, 2)", "np.linalg.norm(x, 3, 1)"),
    ("norm", "ops.norm(x, 2)", "np.linalg.norm(x, 2)"),
    ("norm", 'ops.norm(x, "nuc")', "np.linalg.norm(x, 'nuc')"),
    ("percentile", "ops.percentile(x, 30, 2)", "np.percentile(x, 30, 1)"),
    ("pinv", "ops.pinv(m)", "np.linalg.pinv(m)"),
    ("psnr", "ops.psnr(x, y, 5)", "20 * np.log10(5) - 10 * np.log10(np.mean((x - y) ** 2))"),
    ("ptp", "ops.ptp(x, 2)", "np.ptp(x, 1)"),
    ("quantile", "ops.quantile(x, { 0.2, 0.9 }, 2)", "np.quantile(x, [0.2, 0.9], 1)"),
    ("real", "ops.real(x)", "np.real(x)"),
    ("rearrange", 'ops.rearrange(z, "a b (c d) -> d (b a) c", { c = 2 })', "z.reshape(1, 2, 2, 2).transpose(3, 1, 0, 2).reshape(2, 2, 2)"),
    ("repeat", 'ops["repeat"](x, { 2, 1, 3 }, 2)', "np.repeat(x, [2, 1, 3], 1)"),
    ("rot90", "ops.rot90(x, -1)", "np.rot90(x, -1)"),
    ("saturate_cast", 'ops.saturate_cast(far, "uint8")', "np.clip(far, 0, 255).astype(np.uint8)", whole),
    ("scan", "ops.scan(function(sum, r) return sum + r, sum * r end, w, x)", "(w + x.sum(0), np.stack([w * x[0], (w + x[0]) * x[1]]))"),
    ("segment_max", "ops.segment_max(u, ids, 2)", "np.array([u[1], max(u[0], u[2])])"),
    ("segment_min", "ops.segment_min(u, ids, 2)", "np.array([u[1], min(u[0], u[2])])"),
    ("segment_prod", "ops.segment_prod(u, ids, 2)", "np.array([u[1], u[0] * u[2]])"),
    ("segment_sum", "ops.segment_sum(u, ids, 2)", "np.array([u[1], u[0] + u[2]])"),
    ("select", "ops.select({ x:greater(4), x:less(2.5) }, { x, y }, 0)", "np.select([x > 4, x < 2.5], [x, y], 0)"),
    ("shape", "ops.shape(x)", "np.array(np.shape(x))", whole),
    ("size", "ops.size(x)", "np.size(x)", whole),
    ("split", "ops.split(v, { 2, 3 })", "np.split(v, [2, 3])"),
    ("svd", "ops.svd(m, true, false)", "np.linalg.svd(m, compute_uv=False)"),
    ("svd", "(function() local a, b, d = ops.svd(m, false) return ops.matmul(a * b, d) end)()", "m"),
    ("svd", "(function() local a, _, d = ops.svd(m, false) return ops.matmul(a, d) end)()", "np.linalg.svd(m, False)[0] @ np.linalg.svd(m, False)[2]"),
    ("svd", "(function() local a, b, d = ops.svd(x, false) return ops.matmul(a * b, d) end)()", "x"),
    ("switch", "ops.switch(2, { function(a) return a end, function(a) return a * a end }, x)", "x * x"),
    ("tensordot", "ops.tensordot(x, m, { { 2 }, { 1 } })", "np.tensordot(x, m, ([1], [0]))"),
    ("trace", "ops.trace(x, 1)", "np.trace(x, 1)"),
    ("trapezoid", "ops.trapezoid(x, nil, 0.5)", "trapezoid(x, dx=0.5)"),
    ("trapezoid", "ops.trapezoid(x, u)", "trapezoid(x, u)"),
    ("tri", "ops.tri(3, 4, -1)", "np.tri(3, 4, -1)", made),
    ("unique", "ops.unique(doubled)", "np.unique(doubled)", "ties"),
    ("unique", "(function() local _, i, j = ops.unique(doubled, true, true, true) return i, j end)()",
     "counted(*np.unique(doubled, return_index=True, return_inverse=True)[1:])", whole),
    ("unique", "ops.unique(rows, { axis = 1, return_counts = true })", "np.unique(rows, axis=0, return_counts=True)", "ties"),
    ("unravel_index", "ops.unravel_index({ 5, 1 }, { 2, 3 })", "counted(*np.unravel_index([4, 0], (2, 3)))", whole),
    ("unstack", "ops.unstack(x, nil, 2)", "[x[:, 0], x[:, 1], x[:, 2]]"),
    ("vander", "ops.vander(v, 3)", "np.vander(v, 3)"),
    ("vectorize", "ops.vectorize(function(a, b) return a * b end)(x, w)", "x * w"),
    ("vectorized_map", "ops.vectorized_map(function(r) return r * r end, x)", "x * x"),
    ("view", 'ops.view(f, "int32")', "f.view(np.int32)", whole),
    ("vsplit", "ops.vsplit(x, 2)", "np.vsplit(x, 2)"),
    ("vstack", "ops.vstack { u, w }", "np.vstack((u, w))"),
    ("while_loop", "ops.while_loop(function(i) return i < 3 end, function(i, a) return i + 1, a * 2 end, { 0, x })", "(3, x * 8)"),
    ("gammainc", "ops.gammainc(w, u * u)", "torch.special.gammainc(t(w), t(u * u)).numpy()", "a has no gradient"),
    ("jvp", "ops.jvp(function(a) return a * a end, { x }, { y })", "(x * x, 2 * x * y)"),
    ("polar", "ops.polar(w, u)", "(w * np.cos(u), w * np.sin(u))"),
    ("view_as_complex", "ops.view_as_complex(m)", "(m[:, 0], m[:, 1])"),
    ("view_as_real", "ops.view_as_real { x, y }", "np.stack((x, y), -1)"),
    ("xlogy", "ops.xlogy(w, w + 1)", "w * np.log(w + 1)"),
]


def number(v):
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    return "0 / 0" if v != v else repr(float(v))


def array(a):
    a = np.asarray(a)
    dtype = {"bool": "bool", "int32": "int32", "float32": "float32"}.get(str(a.dtype), "float64")
    return "{ dtype = \"%s\", shape = { %s }, data = { %s } }" % (
        dtype, ", ".join(str(d) for d in a.shape), ", ".join(number(v) for v in a.reshape(-1)))


names = dict(globals(), **inputs)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lua_ops.lua"), "w") as out:
    out.write("-- Made by lua_ops.py with NumPy %s and torch %s; do not edit.\nreturn {\n  inputs = {\n" % (np.__version__, torch.__version__))
    for name, value in inputs.items():
        out.write("    %s = %s,\n" % (name, array(value)))
    out.write("  },\n")
    for case in cases:
        results = eval(case[2], names)
        results = results if isinstance(results, (list, tuple)) else [results]
        why = "\n    why = \"%s\"," % case[3] if len(case) > 3 else ""
        out.write("  {\n    op = \"%s\",\n    call = [==[%s]==],\n    by = [==[%s]==],%s\n    results = { %s },\n  },\n" % (
            case[0], case[1], case[2], why, ", ".join(array(r) for r in results)))
    out.write("}\n")

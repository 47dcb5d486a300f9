"""NumPy's and torch's times for spec/bench/ops.lua: `ops_peer.py THREADS SECONDS PARTS SIZES` prints a line "numpy|torch CASE MICROSECONDS" for every
case whose name holds one of PARTS. The cases and their names are those of ops.lua; each time is the best of many blocks of calls within SECONDS."""
import os
import sys
import time

threads, seconds, only = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split() if len(sys.argv) > 3 else []
sizes = [int(n) for n in (sys.argv[4] if len(sys.argv) > 4 else "100 10000 1000000 10000000").split()]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(threads)
rng = np.random.default_rng(0)


def uniform(*shape):
    return rng.random(shape, dtype=np.float32)


def report(peer, name, f):
    if only and not any(part in name for part in only):
        return
    f()
    n, t = 1, 0.0
    while t < seconds / 40:
        t0 = time.perf_counter()
        for _ in range(n):
            f()
        t = time.perf_counter() - t0
        n *= 2
    n = max(n // 2, 1)
    best, end = 1e9, time.perf_counter() + seconds
    while True:
        t0 = time.perf_counter()
        for _ in range(n):
            f()
        t1 = time.perf_counter()
        best = min(best, (t1 - t0) / n)
        if t1 > end:
            break
    print(peer, name, f"{best * 1e6:.4g}", flush=True)


def grow(n):
    a, b = uniform(n), uniform(n)
    m, row, col = uniform(n // 100, 100) if n >= 100 else None, uniform(100), uniform(n // 100, 1)
    i = rng.integers(0, n, n)
    rows = rng.integers(0, n // 100, n // 100)
    along = rng.integers(0, 100, (n // 100, 100))
    whole, doubles, small = (a * 1000).astype(np.int32), a.astype(np.float64), (a * 200).astype(np.uint8)
    T = torch.from_numpy
    talong, twhole, tdoubles, tsmall = T(along), T(whole), T(doubles), T(small)
    ta, tb, tm, trow, tcol, ti, trows = T(a), T(b), T(m), T(row), T(col), T(i), T(rows)
    return {
        "add": (lambda: a + b, lambda: ta + tb),
        "scale": (lambda: a * np.float32(1.5), lambda: ta * 1.5),
        "exp": (lambda: np.exp(a), lambda: torch.exp(ta)),
        "tanh": (lambda: np.tanh(a), lambda: torch.tanh(ta)),
        "sqrt": (lambda: np.sqrt(a), lambda: torch.sqrt(ta)),
        "relu": (lambda: np.maximum(a, 0), lambda: torch.relu(ta)),
        "gelu": (None, lambda: F.gelu(ta)),
        "chain": (lambda: np.exp(-((a * b + a) ** 2)), lambda: torch.exp(-((ta * tb + ta) ** 2))),
        "greater": (lambda: a > b, lambda: ta > tb),
        "to_int32": (lambda: a.astype(np.int32), lambda: ta.to(torch.int32)),
        "from_int32": (lambda: whole.astype(np.float32), lambda: twhole.to(torch.float32)),
        "to_float64": (lambda: a.astype(np.float64), lambda: ta.to(torch.float64)),
        "to_float16": (lambda: a.astype(np.float16), lambda: ta.to(torch.float16)),
        "from_uint8": (lambda: small.astype(np.float32), lambda: tsmall.to(torch.float32)),
        "add_int32": (lambda: whole + whole, lambda: twhole + twhole),
        "add_float64": (lambda: doubles + doubles, lambda: tdoubles + tdoubles),
        "sigmoid": (None, lambda: torch.sigmoid(ta)),
        "log": (lambda: np.log(a), lambda: torch.log(ta)),
        "pow": (lambda: a**b, lambda: ta**tb),
        "divide": (lambda: a / b, lambda: ta / tb),
        "add_row": (lambda: m + row, lambda: tm + trow),
        "add_col": (lambda: m + col, lambda: tm + tcol),
        "sum": (lambda: a.sum(), lambda: ta.sum()),
        "sum_axis0": (lambda: m.sum(0), lambda: tm.sum(0)),
        "sum_axis1": (lambda: m.sum(1), lambda: tm.sum(1)),
        "max_axis0": (lambda: m.max(0), lambda: tm.amax(0)),
        "max_axis1": (lambda: m.max(1), lambda: tm.amax(1)),
        "mean_axis1": (lambda: m.mean(1), lambda: tm.mean(1)),
        "var_axis1": (lambda: m.var(1), lambda: tm.var(1, correction=0)),
        "argmax_axis1": (lambda: m.argmax(1), lambda: tm.argmax(1)),
        "argmax_axis0": (lambda: m.argmax(0), lambda: tm.argmax(0)),
        "cumsum": (lambda: np.cumsum(a), lambda: torch.cumsum(ta, 0)),
        "cumsum_axis0": (lambda: np.cumsum(m, 0), lambda: torch.cumsum(tm, 0)),
        "cumsum_axis1": (lambda: np.cumsum(m, 1), lambda: torch.cumsum(tm, 1)),
        "prod": (lambda: a.prod(), lambda: ta.prod()),
        "max": (lambda: a.max(), lambda: ta.max()),
        "all": (lambda: a.all(), lambda: ta.all()),
        "sort": (lambda: np.sort(a), lambda: torch.sort(ta)),
        "argsort": (lambda: np.argsort(a), lambda: torch.argsort(ta)),
        "sort_axis1": (lambda: np.sort(m, 1), lambda: torch.sort(tm, 1)),
        "sort_int64": (lambda: np.sort(i), lambda: torch.sort(ti)),
        "top_k": (None, lambda: torch.topk(ta, 10)),
        "top_k_axis1": (None, lambda: torch.topk(tm, 10)),
        "gather": (lambda: a[i], lambda: ta[ti]),
        "gather_rows": (lambda: m[rows], lambda: tm[trows]),
        "take_along_axis1": (lambda: np.take_along_axis(m, along, 1), lambda: torch.take_along_dim(tm, talong, 1)),
        "scatter_add": (None, lambda: torch.zeros_like(ta).index_add_(0, ti, ta)),
        "scatter_add_rows": (None, lambda: torch.zeros_like(tm).index_add_(0, trows, tm)),
        "where": (lambda: np.where(a > b, a, b), lambda: torch.where(ta > tb, ta, tb)),
        "transpose": (lambda: np.ascontiguousarray(m.T), lambda: tm.T.contiguous()),
        "concatenate": (lambda: np.concatenate([a, b]), lambda: torch.cat([ta, tb])),
        "concatenate_axis1": (lambda: np.concatenate([m, m], 1), lambda: torch.cat([tm, tm], 1)),
        "stack": (lambda: np.stack([a, b], 1), lambda: torch.stack([ta, tb], 1)),
        "flip": (lambda: np.flip(a).copy(), lambda: torch.flip(ta, [0])),
        "clip": (lambda: np.clip(a, 0.2, 0.8), lambda: torch.clip(ta, 0.2, 0.8)),
        "softmax": (None, lambda: torch.softmax(tm, 1)),
        "log_softmax": (None, lambda: torch.log_softmax(tm, 1)),
        "normal": (lambda: rng.standard_normal(n, dtype=np.float32), lambda: torch.randn(n)),
    }


with torch.no_grad():
    for n in sizes:
        for name, (f, g) in grow(n).items():
            if f:
                report("numpy", f"{name}_{n}", f)
            report("torch", f"{name}_{n}", g)
    for n in (16, 32, 64, 128, 256, 512, 1024):
        a, b, v = uniform(n, n), uniform(n, n), uniform(n)
        s = a @ a.T + n * np.eye(n, dtype=np.float32)
        ta, tb, tv, ts = (torch.from_numpy(x) for x in (a, b, v, s))
        report("numpy", f"matmul_{n}", lambda: a @ b)
        report("torch", f"matmul_{n}", lambda: ta @ tb)
        report("numpy", f"matmul_nt_{n}", lambda: a @ b.T)
        report("torch", f"matmul_nt_{n}", lambda: ta @ tb.T)
        report("numpy", f"matvec_{n}", lambda: a @ v)
        report("torch", f"matvec_{n}", lambda: ta @ tv)
        report("numpy", f"cholesky_{n}", lambda: np.linalg.cholesky(s))
        report("torch", f"cholesky_{n}", lambda: torch.linalg.cholesky(ts))
        report("numpy", f"solve_{n}", lambda: np.linalg.solve(s, a))
        report("torch", f"solve_{n}", lambda: torch.linalg.solve(ts, ta))
        if n <= 512:
            for case, f, g in (("svd", lambda: np.linalg.svd(a), lambda: torch.linalg.svd(ta)), ("qr", lambda: np.linalg.qr(a), lambda: torch.linalg.qr(ta)),
                               ("eigh", lambda: np.linalg.eigh(s), lambda: torch.linalg.eigh(ts)), ("inv", lambda: np.linalg.inv(s), lambda: torch.linalg.inv(ts))):
                report("numpy", f"{case}_{n}", f)
                report("torch", f"{case}_{n}", g)
    a, b = uniform(32, 64, 128), uniform(32, 128, 64)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    report("numpy", "bmm_32x64x128x64", lambda: a @ b)
    report("torch", "bmm_32x64x128x64", lambda: ta @ tb)
    report("numpy", "einsum_bij_bjk", lambda: np.einsum("bij,bjk->bik", a, b))
    report("torch", "einsum_bij_bjk", lambda: torch.einsum("bij,bjk->bik", ta, tb))
    # pictures as each library's users keep them: torch's channels first
    for batch, size, c, f, k, stride in ((1, 28, 1, 32, 3, 1), (32, 28, 32, 64, 3, 1), (8, 56, 64, 64, 3, 1), (8, 56, 64, 128, 1, 1), (8, 112, 32, 64, 3, 2), (1, 56, 64, 64, 3, 1)):
        x, w = torch.from_numpy(uniform(batch, c, size, size)), torch.from_numpy(uniform(f, c, k, k))
        report("torch", f"conv_{batch}x{size}x{c}_{f}_{k}_{stride}", lambda: F.conv2d(x, w, stride=stride, padding=k // 2))
    x, w = torch.from_numpy(uniform(8, 64, 56, 56)), torch.from_numpy(uniform(64, 1, 3, 3))
    report("torch", "depthwise_8x56x64_3", lambda: F.conv2d(x, w, padding=1, groups=64))
    report("torch", "max_pool_8x56x64_2", lambda: F.max_pool2d(x, 2))
    report("torch", "average_pool_8x56x64_2", lambda: F.avg_pool2d(x, 2))

w = torch.ones(100, requires_grad=True)


def chain():
    y = w
    for _ in range(100):
        y = y * 1.0001
    y.sum().backward()


report("torch", "autograd_100_small_ops", chain)

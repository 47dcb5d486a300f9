"""Writes arrays.lua: values of reductions, layout, indexing and sorting ops, from NumPy in float64.

An entry per call: op, options as Tide takes them (positions and axes from 1), inputs, outputs.
Run with an environment that holds numpy and scipy: python arrays.py > arrays.lua
"""
import math

import numpy as np
from scipy import special

rng = np.random.default_rng(7)


def lua(v):
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    if math.isnan(v):
        return "nan"
    if math.isinf(v):
        return "inf" if v > 0 else "-inf"
    return repr(float(v))


NAMES = {"float64": "float64", "int64": "int64", "int32": "int32", "bool": "bool", "uint8": "uint8", "int8": "int8"}


def tensor(x):
    x = np.asarray(x)
    data = ", ".join(lua(v) for v in x.ravel().tolist())
    shape = ", ".join(str(d) for d in x.shape)
    return f"{{ data = {{ {data} }}, shape = {{ {shape} }}, dtype = \"{NAMES[str(x.dtype)]}\" }}"


count = {}


def entry(op, options, inputs, *outputs):
    count[op] = count.get(op, 0) + 1
    shown = ", ".join(("{ list = { " + ", ".join(tensor(e) for e in x) + " } }") if isinstance(x, list) else tensor(x) for x in inputs)
    print(f"  {op}_{count[op]} = {{ op = \"{op}\", options = {{ {options} }},")
    print(f"    inputs = {{ {shown} }},")
    print("    outputs = { " + ", ".join(tensor(y) for y in outputs) + " } },")


print("-- Values of reductions, layout, indexing and sorting ops, written by arrays.py. Do not edit.")
print("local inf, nan = math.huge, 0 / 0")
print("return {")

x = np.round(rng.uniform(0.3, 2, (3, 2, 4)) * rng.choice([-1, 1], (3, 2, 4)), 3)
v = np.round(rng.uniform(-2, 2, 6), 3)
i32 = rng.integers(-9, 9, (3, 4)).astype(np.int32)

# reductions
for name, f in {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean, "var": np.var, "std": np.std}.items():
    entry(name, "", [x], f(x))
    entry(name, "axis = 2", [x], f(x, axis=1))
    entry(name, "axis = { 1, -1 }, keepdims = true", [x], f(x, axis=(0, 2), keepdims=True))
    entry(name, "axis = 1", [x], f(x, axis=0))
    entry(name, "axis = -1", [x], f(x, axis=-1))
for name, f in {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}.items():
    entry(name, "axis = 1", [i32], f(i32, axis=0).astype(np.int32))
    entry(name, "axis = 2, keepdims = true", [i32], f(i32, axis=1, keepdims=True).astype(np.int32))
entry("sum", "", [np.array([True, False, True])], np.int32(2))
entry("prod", "axis = 1", [np.array([[0.0, 2.0], [3.0, 0.0], [4.0, 5.0]])], np.array([0.0, 0.0]))
entry("max", "", [np.array([1.0, math.nan, 2.0])], np.float64(math.nan))
entry("min", "", [np.array([1.0, math.inf, -math.inf])], np.float64(-math.inf))
long = np.round(rng.uniform(-1, 1, (70, 3)), 2)
entry("sum", "axis = 1", [long], long.sum(0))
entry("mean", "", [long], long.mean())
entry("max", "axis = 1", [long], long.max(0))
entry("logsumexp", "", [x], special.logsumexp(x))
entry("logsumexp", "axis = 3, keepdims = true", [x], special.logsumexp(x, axis=2, keepdims=True))
entry("logsumexp", "", [np.array([1000.0, 1001.0])], special.logsumexp([1000.0, 1001.0]))
entry("logsumexp", "", [np.array([-math.inf, -math.inf])], np.float64(-math.inf))
mask = x > 0
for name, f in {"any": np.any, "all": np.all}.items():
    entry(name, "axis = 3", [mask], f(mask, axis=2))
    entry(name, "axis = { 1, 2 }, keepdims = true", [mask], f(mask, axis=(0, 1), keepdims=True))
    entry(name, "", [x], f(x))
z = np.where(mask, x, 0.0)
entry("count_nonzero", "axis = 1", [z], np.count_nonzero(z, axis=0).astype(np.int32))
for name, f in {"argmax": np.argmax, "argmin": np.argmin}.items():
    entry(name, "", [x], np.int64(f(x) + 1))
    entry(name, "axis = 2", [x], f(x, axis=1) + 1)
    entry(name, "axis = -1, keepdims = true", [x], f(x, axis=-1, keepdims=True) + 1)
    entry(name, "base = 0", [np.array([2.0, math.nan, 9.0])], np.int64(1))
    entry(name, "axis = 1", [i32], f(i32, axis=0) + 1)
for name, f in {"cumsum": np.cumsum, "cumprod": np.cumprod}.items():
    entry(name, "", [x], f(x))
    entry(name, "axis = 2", [x], f(x, axis=1))
    entry(name, "axis = -1", [i32], f(i32, axis=1).astype(np.int32))

# layout
entry("copy", "", [x], x)
entry("cast", "dtype = \"int32\"", [v], v.astype(np.int32))
entry("cast", "dtype = \"float64\"", [i32], i32.astype(np.float64))
entry("cast", "dtype = \"bool\"", [np.array([0.0, -0.0, 2.0, math.nan])], np.array([False, False, True, True]))
entry("broadcast_to", "shape = { 2, 3, 6 }", [v], np.broadcast_to(v, (2, 3, 6)))
entry("transpose", "", [x], x.T)
entry("transpose", "axes = { 2, 1, 3 }", [x], x.transpose(1, 0, 2))
entry("reshape", "newshape = { 4, -1 }", [x], x.reshape(4, -1))
entry("ravel", "", [x], x.ravel())
entry("expand_dims", "axis = 1", [v], v[None])
entry("expand_dims", "axis = { 1, -1 }", [v], v[None, :, None])
entry("squeeze", "", [v[None, :, None]], v)
entry("squeeze", "axis = 1", [v[None, :, None]], v[:, None])
entry("swapaxes", "axis1 = 1, axis2 = -1", [x], x.swapaxes(0, 2))
entry("moveaxis", "source = 1, destination = -1", [x], np.moveaxis(x, 0, -1))
entry("moveaxis", "source = { 1, 2 }, destination = { 3, 1 }", [x], np.moveaxis(x, (0, 1), (2, 0)))
square = x.reshape(4, 6)
for k in [0, 1, -2, 9]:
    entry("diagonal", f"offset = {k}", [square], np.diagonal(square, offset=k))
entry("diagonal", "offset = 1, axis1 = 3, axis2 = 1", [x], np.diagonal(x, 1, 2, 0))
entry("diag", "k = 1", [v], np.diag(v, 1))
entry("diag", "k = -1", [square], np.diag(square, -1))
for k in [0, 1, -2, 40]:
    entry("tril", f"k = {k}", [x], np.tril(x, k))
    entry("triu", f"k = {k}", [x], np.triu(x, k))
entry("stop_gradient", "", [v], v)
entry("concatenate", "axis = 2", [[x, x[:, :1], 2 * x]], np.concatenate([x, x[:, :1], 2 * x], 1))
entry("concatenate", "axis = 1", [[i32, i32]], np.concatenate([i32, i32], 0))
entry("stack", "axis = 2", [[x, -x]], np.stack([x, -x], 1))
entry("stack", "axis = -1", [[v, v + 1, v]], np.stack([v, v + 1, v], -1))
for mode in ["constant", "reflect", "symmetric", "edge"]:
    entry("pad", f"pad_width = {{ {{ 1, 2 }}, {{ 0, 1 }}, {{ 2, 0 }} }}, mode = \"{mode}\"", [x], np.pad(x, ((1, 2), (0, 1), (2, 0)), mode=mode))
entry("pad", "pad_width = 2, constant_values = 7", [square], np.pad(square, 2, constant_values=7))
entry("pad", "pad_width = { { 9, 8 } }, mode = \"reflect\"", [v], np.pad(v, (9, 8), mode="reflect"))
entry("pad", "pad_width = { { 9, 8 } }, mode = \"symmetric\"", [v], np.pad(v, (9, 8), mode="symmetric"))
entry("tile", "repeats = { 2, 1, 3 }", [x], np.tile(x, (2, 1, 3)))
entry("tile", "repeats = { 2, 2 }", [v], np.tile(v, (2, 2)))
entry("rep", "repeats = 3", [square], np.repeat(square, 3))
entry("rep", "repeats = 2, axis = 2", [x], np.repeat(x, 2, axis=1))
entry("flip", "", [x], np.flip(x))
entry("flip", "axis = { 1, 3 }", [x], np.flip(x, (0, 2)))
entry("roll", "shift = 2", [x], np.roll(x, 2))
entry("roll", "shift = { 1, -3 }, axis = { 1, 3 }", [x], np.roll(x, (1, -3), (0, 2)))

# indexing
at = np.array([[1, 3], [-1, 2]])
entry("take", "axis = 1", [x, at], np.take(x, np.where(at > 0, at - 1, at), axis=0))
entry("take", "axis = -1", [x, np.array([4, 1, 4], np.int32)], np.take(x, [3, 0, 3], axis=2))
entry("take", "", [x, np.array([24, 1])], np.take(x, [23, 0]))
entry("take", "base = 0, axis = 2", [x, np.int64(1)], np.take(x, 1, axis=1))
along = rng.integers(0, 4, (3, 2, 5))
entry("take_along_axis", "axis = 3", [x, along + 1], np.take_along_axis(x, along, 2))
entry("take_along_axis", "axis = 3, base = 0", [x, along[:, :1]], np.take_along_axis(x, along[:, :1], 2))
entry("take_along_axis", "", [x, np.array([3, 1])], np.take_along_axis(x.ravel(), np.array([2, 0]), 0))
rows = np.array([[1, 2], [3, 1], [1, 2]])
entry("gather_nd", "", [x, rows], x[[0, 2, 0], [1, 0, 1]])
entry("gather_nd", "base = 0", [x, np.array([[2]])], x[[2]])
values = np.round(rng.uniform(-1, 1, (3, 2)), 3)
full = np.zeros((4, 3, 2))
np.add.at(full, ([0, 2, 0], [1, 0, 1]), values)
entry("scatter", "shape = { 4, 3, 2 }", [rows, values], full)
updated = x.copy()
updates = np.round(rng.uniform(-1, 1, (3, 4)), 3)
for r, (a, b) in enumerate(rows):
    updated[a - 1, b - 1] = updates[r]
entry("scatter_update", "", [x, rows, updates], updated)
put = square.copy()
put[[3, 0]] = updates.reshape(2, 6)
entry("put_rows", "", [square, np.array([4, 1]), updates.reshape(2, 6)], put)
entry("slice", "start_indices = { 2, 1, 3 }, shape = { 2, -1, 1 }", [x], x[1:3, :, 2:3])
block = x.copy()
block[1:3, 1:2, 1:3] = 9.5
entry("slice_update", "start_indices = { 2, 2, 2 }", [x, np.full((2, 1, 2), 9.5)], block)
entry("boolean_mask", "", [x, mask], x[mask])
entry("boolean_mask", "", [x, np.array([True, False, True])], x[[0, 2]])
labels = np.array([[1, 3], [0, 2]])
hot = np.zeros((2, 2, 3))
for a in range(2):
    for b in range(2):
        if labels[a, b] > 0:
            hot[a, b, labels[a, b] - 1] = 1
entry("one_hot", "num_classes = 3, dtype = \"float64\"", [labels], hot)
entry("one_hot", "num_classes = 3, axis = 1, dtype = \"float64\"", [labels], np.moveaxis(hot, 2, 0))
entry("flatnonzero", "", [z], np.flatnonzero(z) + 1)
entry("bincount", "", [np.array([1, 3, 3, 1, 5])], np.array([2, 0, 2, 0, 1], np.int32))
entry("bincount", "minlength = 7, base = 0", [np.array([1, 3, 3]), np.array([0.5, 1.0, 2.0])], np.bincount([1, 3, 3], [0.5, 1, 2], 7))

# order
many = np.round(rng.uniform(-5, 5, (2, 90)), 2)
special_order = np.array([1.0, math.nan, -math.inf, 0.0, -0.0, math.inf, -2.0])
for a in [x, many, special_order]:
    entry("sort", "", [a], np.sort(a))
    entry("argsort", "", [a], np.argsort(a, kind="stable") + 1)
entry("sort", "axis = 1", [x], np.sort(x, axis=0))
entry("argsort", "axis = 2, base = 0", [x], np.argsort(x, axis=1, kind="stable"))
entry("sort", "axis = 1", [i32], np.sort(i32, axis=0))
for a, k in [(x, 3), (many, 60), (many, 5)]:
    order = np.argsort(-a, kind="stable")[..., :k]
    entry("top_k", f"k = {k}", [a], np.take_along_axis(a, order, -1), order + 1)
edges = np.array([-1.0, 0.0, 0.0, 1.5])
entry("searchsorted", "", [edges, v], np.searchsorted(edges, v) + 1)
entry("searchsorted", "side = \"right\"", [edges, np.array([0.0, -1.0, 5.0])], np.searchsorted(edges, [0.0, -1.0, 5.0], "right") + 1)
entry("digitize", "", [v, edges], np.digitize(v, edges) + 1)
print("}")

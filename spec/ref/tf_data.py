"""Writes tf_data.lua: data sets of tf.data without randomness, and the elements that they give, in order.

A case: the data set as Lua (tide.data.Dataset is D), the same in Python, and what differs in counting. Elements are lists of
parts; tensors are nested lists, text is a string. Run with an environment that holds tensorflow: python spec/ref/tf_data.py
"""
import os

import numpy as np
import tensorflow as tf

from luawrite import write

D = tf.data.Dataset
r = D.range


def ragged():
    return r(1, 8).map(lambda n: tf.range(n))


def pairs():
    return D.from_tensor_slices((tf.constant([[1, 2], [3, 4], [5, 6]]), tf.constant([7, 8, 9])))


texts = D.from_tensor_slices(["b", "a", "c", "a"])

R = "D.range"
RAGGED = "D.range(1, 8):map(function(n) return tide.arange(0, n, 1, { dtype = 'int64' }) end)"
PAIRS = "D.from_tensor_slices(tide.tensor({{1, 2}, {3, 4}, {5, 6}}, {dtype = 'int32'}), {7, 8, 9})"
TEXTS = "D.from_tensor_slices {'b', 'a', 'c', 'a'}"

cases = [
    (f"{R}(5)", r(5)),
    (f"{R}(2, 11, 3)", r(2, 11, 3)),
    (f"{R}(5, 0, -2)", r(5, 0, -2)),
    (f"{R}(3, 3)", r(3, 3)),
    ("D.counter(3, 4):take(4)", D.counter(3, 4).take(4)),
    ("D.from_tensors({1, 2})", D.from_tensors([1, 2])),
    (PAIRS, pairs()),
    (TEXTS, texts),
    (f"{PAIRS}:batch(2)", pairs().batch(2)),
    (f"{PAIRS}:batch(2, {{drop_remainder = true}})", pairs().batch(2, drop_remainder=True)),
    (f"{TEXTS}:batch(3)", texts.batch(3)),
    (f"{R}(10):batch(4)", r(10).batch(4)),
    (f"{R}(10):batch(4):batch(2)", r(10).batch(4, drop_remainder=True).batch(2), f"{R}(10):batch(4, {{drop_remainder = true}}):batch(2)"),
    (f"{R}(10):map(function(x) return x * x end)", r(10).map(lambda x: x * x)),
    (f"{PAIRS}:map(function(x, y) return y, x end)", pairs().map(lambda x, y: (y, x))),
    (f"{R}(10):filter(function(x) return x % 3 == 1 end)", r(10).filter(lambda x: x % 3 == 1)),
    (f"{R}(10):take_while(function(x) return x < 4 end)", r(10).take_while(lambda x: x < 4)),
    (f"{R}(10):take(3)", r(10).take(3)),
    (f"{R}(4):take(-1)", r(4).take(-1)),
    (f"{R}(10):skip(7)", r(10).skip(7)),
    (f"{R}(10):skip(-1)", r(10).skip(-1)),
    (f"{R}(10):skip(20)", r(10).skip(20)),
    (f"{R}(10):shard(3, 2)", r(10).shard(3, 1)),
    (f"{R}(3):rep(2)", r(3).repeat(2)),
    (f"{R}(3):rep():take(7)", r(3).repeat().take(7)),
    (f"{R}(3):rep(0)", r(3).repeat(0)),
    (f"{R}(0):rep()", r(0).repeat()),
    (f"{R}(3):concatenate(D.range(7, 9))", r(3).concatenate(r(7, 9))),
    (f"D.zip(D.range(3), D.range(10, 20))", D.zip((r(3), r(10, 20)))),
    (f"{R}(4):scan(1, function(s, x) return s + x, s * x end)", r(4).scan(np.int64(1), lambda s, x: (s + x, s * x))),
    (f"{R}(3):flat_map(function(n) return D.range(n + 1) end)", r(3).flat_map(lambda n: D.range(n + 1))),
    (f"{R}(3):unique()", r(3).unique()),
    (f"{TEXTS}:unique()", texts.unique()),
    (f"{R}(7):batch(3):unbatch()", r(7).batch(3).unbatch()),
    (f"{PAIRS}:batch(2):unbatch()", pairs().batch(2).unbatch()),
    (f"{R}(10):batch(3):rebatch(4)", r(10).batch(3).rebatch(4)),
    (f"{R}(10):batch(3):rebatch(4, {{drop_remainder = true}})", r(10).batch(3).rebatch(4, drop_remainder=True)),
    (f"{R}(12):batch(5):rebatch({{3, 1}})", r(12).batch(5).rebatch([3, 1])),
    (f"{RAGGED}:padded_batch(3)", ragged().padded_batch(3)),
    (f"{RAGGED}:padded_batch{{3, padded_shapes = {{9}}, padding_values = -1, drop_remainder = true}}",
     ragged().padded_batch(3, padded_shapes=[9], padding_values=np.int64(-1), drop_remainder=True)),
    (f"{R}(1, 6):map(function(n) return n, tide.full({{n, 2}}, n, {{dtype = 'int64'}}) end):padded_batch(2)",
     r(1, 6).map(lambda n: (n, tf.fill([n, 2], n))).padded_batch(2)),
    (f"{R}(10):cache():rep(2)", r(10).cache().repeat(2)),
    (f"{R}(10):prefetch(3)", r(10).prefetch(3)),
    (f"D.choose_from_datasets({{D.range(3), D.range(10, 12), D.range(20, 29)}}, D.from_tensor_slices{{1, 2, 3, 1, 3, 3}})",
     D.choose_from_datasets([r(3), r(10, 12), r(20, 29)], D.from_tensor_slices(np.array([0, 1, 2, 0, 2, 2], "int64")))),
    (f"D.choose_from_datasets({{D.range(1), D.range(10, 20)}}, D.from_tensor_slices{{1, 1, 2, 2}}, {{stop_on_empty_dataset = false}})",
     D.choose_from_datasets([r(1), r(10, 20)], D.from_tensor_slices(np.array([0, 0, 1, 1], "int64")), stop_on_empty_dataset=False)),
    (f"D.choose_from_datasets({{D.range(1), D.range(10, 20)}}, D.from_tensor_slices{{1, 1, 2, 2}})",
     D.choose_from_datasets([r(1), r(10, 20)], D.from_tensor_slices(np.array([0, 0, 1, 1], "int64")))),
]
for size, shift, stride, drop in [(3, None, 1, False), (3, 1, 1, False), (3, 1, 1, True), (3, 1, 2, False), (2, 4, 1, False),
                                  (2, 5, 2, True), (4, 2, 3, False), (3, 3, 2, True), (20, None, 1, False), (20, 3, 1, True)]:
    s = f", shift = {shift}" if shift else ""
    cases.append((f"{R}(10):window{{{size}{s}, stride = {stride}, drop_remainder = {str(drop).lower()}}}"
                  f":flat_map(function(w) return w:batch({size}) end)",
                  r(10).window(size, shift, stride, drop).flat_map(lambda w, size=size: w.batch(size))))
for cycle, block in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 3), (7, 1)]:
    cases.append((f"{R}(6):interleave(function(n) return D.range(n * 10, n * 10 + n) end, {{cycle_length = {cycle}, block_length = {block}}})",
                  r(6).interleave(lambda n: D.range(n * 10, n * 10 + n), cycle_length=cycle, block_length=block)))
for size in [1, 2, 3, 5]:
    cases.append((f"{R}(11):group_by_window(function(x) return x % 3 end, function(_, g) return g:batch({size}) end, {size})",
                  r(11).group_by_window(key_func=lambda x: x % 3, reduce_func=lambda _, g, size=size: g.batch(size), window_size=size)))
cases.append((f"{R}(11):group_by_window{{function(x) return x % 3 - 1 end, function(k, g) return g:map(function(x) return k * 100 + x end) end, "
              f"window_size_func = function(k) return k + 2 end}}",
              r(11).group_by_window(key_func=lambda x: x % 3 - 1, reduce_func=lambda k, g: g.map(lambda x: k * 100 + x),
                                    window_size_func=lambda k: k + 2)))
for extra, python in [("", {}), (", drop_remainder = true", {"drop_remainder": True}),
                      (", pad_to_bucket_boundary = true", {"pad_to_bucket_boundary": True}),
                      (", padding_values = -1", {"padding_values": np.int64(-1)})]:
    cases.append((f"{RAGGED}:bucket_by_sequence_length({{function(x) return #x end, {{3, 5, 9}}, {{2, 2, 2, 1}}{extra or ', name = false'}}})",
                  ragged().bucket_by_sequence_length(lambda x: tf.shape(x)[0], [3, 5, 9], [2, 2, 2, 1], **python)))


def value(v):
    v = v.numpy() if hasattr(v, "numpy") else v
    if isinstance(v, bytes):
        return v.decode()
    if isinstance(v, np.ndarray) and v.dtype == object:
        return [value(x) for x in v]
    return v.tolist() if hasattr(v, "tolist") else v


def parts(e):
    return [value(x) for x in (e if isinstance(e, tuple) else (e,))]


out = []
for case in cases:
    ds = case[1]
    out.append({"lua": case[2] if len(case) > 2 else case[0], "elements": [parts(e) for e in ds],
                "cardinality": int(ds.cardinality())})
here = os.path.dirname(os.path.abspath(__file__))
write(os.path.join(here, "tf_data.lua"), "tf_data.py", out)

"""Writes tf_data_chains.lua: chains of up to five transforms of tf.data, drawn at random, and the elements that they give.

Rows are those of tf_data.lua. Where TensorFlow does not know how many elements there are (-2) Tide may know that there are
none. Run with an environment that holds tensorflow: python spec/ref/tf_data_chains.py [how many] [seed]
"""
import os
import random
import sys

import numpy as np
import tensorflow as tf

from luawrite import lua, write

D = tf.data.Dataset
count = int(sys.argv[1]) if len(sys.argv) > 1 else 240
draw = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)

# What an element is: a whole number, a row of fixed width, a row of any length, two numbers, a batch of numbers, of rows, of
# padded rows.
NUMBER, ROW, RAGGED, PAIR, BATCH, ROWS, PADDED = "number", "row", "ragged", "pair", "batch", "rows", "padded"


def source():
    kind = draw.choice([NUMBER, NUMBER, NUMBER, ROW, RAGGED])
    n = draw.randrange(1, 10)
    if kind == NUMBER:
        first, by = draw.randrange(-3, 5), draw.choice([1, 1, 2, 3, -1])
        return f"D.range({first}, {first + n * by}, {by})", D.range(first, first + n * by, by), kind
    if kind == ROW:
        rows = [[draw.randrange(-9, 10) for _ in range(3)] for _ in range(n)]
        return f"D.from_tensor_slices(tide.tensor({lua(rows)}, 'int64'))", D.from_tensor_slices(np.array(rows, "int64")), kind
    return (f"D.range({n}):map(function(n) return tide.arange(0, n * 7 % 5, 1, {{ dtype = 'int64' }}) end)",
            D.range(n).map(lambda n: tf.range(n * 7 % 5)), kind)


def steps(ds, kind):
    """The transforms that such elements allow: as Lua, as a function that makes the data set, kind of the results."""
    n, m, k, drop = draw.randrange(7), draw.randrange(1, 6), draw.randrange(1, 4), draw.random() < 0.5
    dropped = f"{{ drop_remainder = {str(drop).lower()} }}"
    place = draw.randrange(m)
    out = [(f":take({n})", lambda: ds.take(n), kind), (f":skip({n})", lambda: ds.skip(n), kind),
           (f":rep({k})", lambda: ds.repeat(k), kind), (f":shard({m}, {place + 1})", lambda: ds.shard(m, place), kind),
           (":prefetch(2)", lambda: ds.prefetch(2), kind), (":cache()", lambda: ds.cache(), kind)]
    if kind == NUMBER:
        shift, stride, block = draw.choice([None, 1, 2, 3]), draw.randrange(1, 3), draw.randrange(1, 4)
        moved = f", shift = {shift}" if shift else ""
        out += [
            (f":map(function(x) return x * x - {n} end)", lambda: ds.map(lambda x: x * x - n), NUMBER),
            (f":filter(function(x) return x % {m + 1} ~= 1 end)", lambda: ds.filter(lambda x: x % (m + 1) != 1), NUMBER),
            (f":take_while(function(x) return x < {n * 3} end)", lambda: ds.take_while(lambda x: x < n * 3), NUMBER),
            (":unique()", lambda: ds.unique(), NUMBER),
            (":scan(2, function(s, x) return s + x, s * 2 - x end)",
             lambda: ds.scan(np.int64(2), lambda s, x: (s + x, s * 2 - x)), NUMBER),
            (":concatenate(D.range(40, 43))", lambda: ds.concatenate(D.range(40, 43)), NUMBER),
            (":flat_map(function(x) return D.range(x % 4) end)", lambda: ds.flat_map(lambda x: D.range(x % 4)), NUMBER),
            (f":interleave(function(x) return D.range(x, x + 3) end, {{ cycle_length = {k}, block_length = {block} }})",
             lambda: ds.interleave(lambda x: D.range(x, x + 3), cycle_length=k, block_length=block), NUMBER),
            (":apply(function(ds) return D.zip(ds, D.range(5, 30)) end)", lambda: D.zip((ds, D.range(5, 30))), PAIR),
            (f":batch({m}, {dropped})", lambda: ds.batch(m, drop_remainder=drop), BATCH),
            (f":window({{ {m}{moved}, stride = {stride}, drop_remainder = {str(drop).lower()} }})"
             f":flat_map(function(w) return w:batch({k}) end)",
             lambda: ds.window(m, shift, stride, drop).flat_map(lambda w: w.batch(k)), BATCH),
            (f":group_by_window(function(x) return x % 3 end, function(_, w) return w:batch({m}) end, {m})",
             lambda: ds.group_by_window(lambda x: x % 3, lambda _, w: w.batch(m), window_size=m), BATCH),
        ]
    elif kind == BATCH:
        out += [
            (":unbatch()", lambda: ds.unbatch(), NUMBER),
            (f":rebatch({m}, {dropped})", lambda: ds.rebatch(m, drop_remainder=drop), BATCH),
            (":map(function(x) return tide.ops.sum(x) end)", lambda: ds.map(tf.reduce_sum), NUMBER),
            (f":padded_batch({m}, {{ padding_values = -7 }})",
             lambda: ds.padded_batch(m, padded_shapes=[None], padding_values=np.int64(-7)), PADDED),
        ]
    elif kind == ROW:
        out += [
            (f":batch({m})", lambda: ds.batch(m), ROWS), (":unbatch()", lambda: ds.unbatch(), NUMBER),
            (":map(function(x) return tide.ops.max(x) end)", lambda: ds.map(tf.reduce_max), NUMBER),
        ]
    elif kind == ROWS:
        out += [(":unbatch()", lambda: ds.unbatch(), ROW), (f":rebatch({m})", lambda: ds.rebatch(m), ROWS)]
    elif kind == RAGGED:
        out += [
            (f":padded_batch({m})", lambda: ds.padded_batch(m, padded_shapes=[None]), PADDED),
            (":flat_map(function(x) return D.from_tensor_slices(x) end)", lambda: ds.flat_map(D.from_tensor_slices), NUMBER),
            (f":bucket_by_sequence_length(function(x) return #x end, {{ 2, 4 }}, {{ 2, {m}, 1 }})",
             lambda: ds.bucket_by_sequence_length(lambda x: tf.shape(x)[0], [2, 4], [2, m, 1], padded_shapes=[None]), PADDED),
        ]
    elif kind == PAIR:
        out += [
            (":map(function(x, y) return y - x end)", lambda: ds.map(lambda x, y: y - x), NUMBER),
            (f":batch({m}):map(function(x, y) return x + y end)", lambda: ds.batch(m).map(lambda x, y: x + y), BATCH),
            (":filter(function(x, y) return (x + y) % 2 == 0 end)", lambda: ds.filter(lambda x, y: (x + y) % 2 == 0), PAIR),
        ]
    return out


def parts(e):
    return [np.asarray(x).tolist() for x in (e if isinstance(e, tuple) else (e,))]


rows, seen = [], set()
while len(rows) < count:
    text, ds, kind = source()
    for _ in range(draw.randrange(1, 6)):
        more, make, kind = draw.choice(steps(ds, kind))
        text, ds = text + more, make()
    try:
        elements = [parts(e) for e in ds.take(61).as_numpy_iterator()]
    except tf.errors.InvalidArgumentError:  # rows of several widths in one batch
        continue
    if 0 < len(elements) < 61 and text not in seen:
        seen.add(text)
        rows.append({"lua": text, "elements": elements, "cardinality": int(ds.cardinality())})
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tf_data_chains.lua"), "tf_data_chains.py", rows)

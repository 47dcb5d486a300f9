"""Writes csv_dataset.lua: the batches that tf.data.experimental.make_csv_dataset makes of small files.

Run with an environment that holds tensorflow: python spec/ref/csv_dataset.py
"""
import os
import tempfile

import tensorflow as tf

from luawrite import lua

here = os.path.dirname(os.path.abspath(__file__))
FILES = {
    "plain": ["i,f,s,big,d\n" + "".join("%d,%s,%s,%d,%s\n" % (k, k / 8, "w%d" % (k % 3), k * 10**10, "1e%d" % (40 + k)) for k in range(7))],
    "missing": ["a,b,c\n1,,x\n,2.5,\n-,-,-\n4,5,y\n"],
    "quotes": ['a,b\n1,"x,""y"""\n2,"two\nlines"\n'],
    "late": ["a\n1\n2\n3.5\n"],
    "two": ["a,b\n1,x\n2,y\n3,z\n", "a,b\n10,u\n20,v\n30,w\n40,q\n"],
    "bare": ["1;2\n3;4\n5;6\n"],
    "texts": ["a,b,c\nnan,inf,0x1\n1,2,3\n"],
    "bad": ["a,b\n1,2\n3\nx,4\n5,6\n"],
}
CASES = [
    ("plain", 3, {"num_epochs": 1, "label_name": "i"}, {}),
    ("plain", 3, {"num_epochs": 2}, {}),
    ("plain", 2, {"num_epochs": 1, "select_columns": ["s", "i"]}, {}),
    ("plain", 7, {"num_epochs": 1, "select_columns": [3, 1], "label_name": "f"}, {"select_columns": [4, 2]}),
    ("missing", 4, {"num_epochs": 1, "na_value": "-"}, {}),
    ("missing", 4, {"num_epochs": 1}, {}),
    ("quotes", 2, {"num_epochs": 1}, {}),
    ("quotes", 9, {"num_epochs": 1, "column_names": ["p", "q"], "column_defaults": ["float64", ""]}, {}),
    ("late", 3, {"num_epochs": 1}, {}),
    ("two", 2, {"num_epochs": 1}, {}),
    ("two", 3, {"num_epochs": 1, "num_parallel_reads": 2}, {}),
    ("two", 4, {"take": 3}, {}),
    ("bare", 2, {"num_epochs": 1, "header": False, "field_delim": ";", "column_names": ["x", "y"], "label_name": "y"}, {}),
    ("texts", 2, {"num_epochs": 1}, {}),
    ("bad", 4, {"num_epochs": 1, "ignore_errors": True, "column_defaults": ["int64", "int64"]}, {}),
]


def values(v):
    a = v.numpy()
    return {"dtype": "string" if a.dtype == object else str(a.dtype), "values": [x.decode() if isinstance(x, bytes) else x for x in a.tolist()]}


rows = []
for name, batch, options, ours in CASES:
    folder = tempfile.mkdtemp()
    paths = []
    for i, text in enumerate(FILES[name]):
        paths.append(os.path.join(folder, "%d.csv" % i))
        with open(paths[-1], "w", newline="") as f:
            f.write(text)
    theirs = dict(options)
    take = theirs.pop("take", None)
    if "column_defaults" in theirs:
        theirs["column_defaults"] = [getattr(tf, d) if d else d for d in theirs["column_defaults"]]
        theirs["column_defaults"] = [d if d else [""] for d in theirs["column_defaults"]]
    ds = tf.data.experimental.make_csv_dataset(paths, batch, shuffle=False, **theirs)
    ds = ds.take(take) if take else ds
    batches = []
    for e in ds:
        x, y = e if isinstance(e, tuple) else (e, None)
        batches.append({"x": {k: values(v) for k, v in x.items()}, **({"y": values(y)} if y is not None else {})})
    given = {k: v for k, v in options.items() if k != "take"} | ours
    rows.append({"name": name, "files": FILES[name], "batch": batch, "options": given, **({"take": take} if take else {}), "batches": batches})

with open(os.path.join(here, "csv_dataset.lua"), "w") as f:
    f.write("-- Made by spec/ref/csv_dataset.py from tensorflow %s; do not edit.\nreturn {\n" % tf.__version__)
    for r in rows:
        f.write("  " + lua(r, 17) + ",\n")
    f.write("}\n")

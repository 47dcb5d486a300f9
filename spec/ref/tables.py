"""Writes tables.lua: what pandas reads in small CSV files, and what it computes of a table.

Run with an environment that holds pandas: python spec/ref/tables.py
"""
import io
import os

import numpy as np
import pandas as pd

from luawrite import lua

here = os.path.dirname(os.path.abspath(__file__))

# name, bytes, pandas' options, Tide's options
FILES = [
    ("plain", b"a,b\n1,2.5\n3,4\n", {}, {}),
    ("quotes", b'a,b\n"x,1","say ""hi"""\n"two\nlines",\n"",""""\n', {}, {}),
    ("line ends", b"a,b\r\n1,x\r\n\r\n2,y\r3,z\n", {}, {}),
    ("no last line end", b"a\n1\n2", {}, {}),
    ("mark", b"\xef\xbb\xbfa,b\n1,2\n", {}, {}),
    ("missing", b"a,b,c,d\n1,NA,x,\n,2.5,null,\nNaN,n/a,None,\n", {}, {}),
    ("no defaults", b"a,b\nNA,1\nx,-\n", {"keep_default_na": False, "na_values": ["-"]}, {"keep_default_na": False, "na_values": ["-"]}),
    ("own missing", b"a,b\n-999,?\n1,x\n", {"na_values": ["-999", "?"]}, {"na_values": ["-999", "?"]}),
    ("kinds", b"i,f,b,s\n1,1,True,1\n-2,1e3,FALSE,x\n+3,.5,true,\n", {}, {}),
    ("kinds with gaps", b"t,u,v,w\nTrue,,1,True\n,False,,\nFalse,true,2,1\n", {}, {}),
    ("behind quotes", b'a,b\n"x"y,"p,q" \n"x""y"z"w,"1" \n', {}, {}),
    ("names with numbers", b"a,a,a.1,a,b.1,b,b\n1,2,3,4,5,6,7\n", {}, {}),
    ("late text", b"a,b\n1,1\n2,2\nx,2.5\n", {}, {}),
    ("late float", b"a\n1\n2\n3.25\n9007199254740993\n", {}, {}),
    ("quoted numbers", b'a,b\n"1","2.5"\n"3","x"\n', {}, {}),
    ("short rows", b"a,b,c\n1\n2,3\n4,5,6\n", {}, {}),
    ("same names", b"a,a,,b,a\n1,2,3,4,5\n", {}, {}),
    ("blanks", b"a,b\n 1 , x\n\t2,y \n", {}, {}),
    ("blank lines", b"a\n \nx\n\n\ty\n", {}, {}),
    ("numbers", b"a\n1.7976931348623157e308\n5e-324\n2.2250738585072011e-308\n0.1\n123456789012345678\n1e400\n-0.0\n6.02214076e23\n"
                b"9007199254740993\n8.41e21\n0.30000000000000004\n3.0000000000000000000000000001\n", {}, {}),
    ("infinite", b"a\ninf\n-Infinity\n+inf\nnan\n", {}, {}),
    ("no numbers", b"a,b,c,d\n0x10,1_0,1e,1 2\n1,1,1,1\n", {}, {}),
    ("long whole numbers", b"a,b\n9223372036854775807,99999999999999999999999\n-9223372036854775808,1\n", {}, {}),
    ("tabs", b'a\tb\n1\t"x\ty"\n', {"sep": "\t"}, {"delimiter": "\t"}),
    ("semicolons, no header", b"1;x\n2;y\n", {"sep": ";", "header": None, "names": ["p", "q"]}, {"delimiter": ";", "header": False, "columns": ["p", "q"]}),
    ("comments", b"#one\na,b\n1,2\n#3,4\n5,6\n", {"comment": "#"}, {"comment": "#"}),
    ("selected", b"a,b,c\n1,2,x\n3,4,y\n", {"usecols": ["c", "a"]}, {"select": ["c", "a"]}),
    ("types", b"a,b,c,d\n1,2,3,4\n5,6,7,8\n", {"dtype": {"a": "float32", "b": "int8", "c": str}}, {"dtypes": {"a": "float32", "b": "int8", "c": "string"}}),
    ("rows", b"a\n1\n2\n3\n", {"nrows": 2}, {"rows": 2}),
    ("skipped rows", b"made by x\n\na\n1\n2\n", {"skiprows": 1}, {"skip_rows": 1}),
    ("no quotes", b'a,b\n"x,1\n', {"quoting": 3}, {"quote": ""}),
    ("latin-1", "a,b\nsüß,é\n".encode("latin-1"), {"encoding": "latin-1"}, {"encoding": "latin-1"}),
    ("utf-16 with its mark", "a,b\nsüß 猫,😀\n1,\n".encode("utf-16"), {"encoding": "utf-16"}, {}),
    ("utf-16, little-endian", "a,b\nsüß 猫,😀\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, {"encoding": "utf-16-le"}),
    ("utf-16, big-endian with its mark", b"\xfe\xff" + "a,b\n猫,\"\n😀\"\n".encode("utf-16-be"), {"encoding": "utf-16"}, {"encoding": "utf-16"}),
    ("damaged rows", b"a,b\n1,2\n3,4,5\n6,7\n", {"on_bad_lines": "skip"}, {"on_error": "skip"}),
    ("all that is missing by default", ("a,b\n" + "".join("%s,x\n" % v for v in ["#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
                                       "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "text", "Null", "none", "NAN", "#na", "-"])).encode(), {}, {}),
    ("header alone", b"a,b\n", {}, {}),
]


def column(s):
    values = s.tolist()
    kinds = {type(v) for v in values if not (isinstance(v, float) and v != v) and v is not None and v is not pd.NA}
    if s.dtype == object and kinds == {bool}:  # bools with missing values: Tide has numbers
        return {"dtype": "float64", "values": [float("nan") if v is not True and v is not False else float(v) for v in values]}
    if s.dtype.kind in "ifb":
        return {"dtype": str(s.dtype), "values": values}
    if not kinds and len(values) == 0:
        return {"dtype": "float64", "values": []}
    return {"dtype": "string", "values": [None if v is None or v is pd.NA or v != v else str(v) for v in values]}


def text(b):
    return '"' + "".join("\\x%02x" % c if c < 32 or c > 126 or c in b'"\\' else chr(c) for c in b) + '"'


rows = []
for name, data, theirs, ours in FILES:
    df = pd.read_csv(io.BytesIO(data), float_precision="round_trip", **theirs)
    if "usecols" in theirs:
        df = df[theirs["usecols"]]
    names = [("unnamed_%d" % (int(n.split(": ")[1]) + 1) if n.startswith("Unnamed: ") else n) for n in df.columns]
    rows.append("{ name = %s, data = %s, options = %s, names = %s, columns = {%s} }" % (
        lua(name), text(data), lua(ours), lua(names),
        ", ".join("{ dtype = %s, values = %s }" % (lua(c["dtype"]), lua(c["values"], 17)) for c in (column(df[n]) for n in df.columns))))

# what is computed of a table
rng = np.random.RandomState(7)
n = 60
t = pd.DataFrame({
    "k": rng.choice(["b", "a", "c", None], n, p=[.4, .3, .2, .1]),
    "g": rng.randint(1, 4, n),
    "x": np.where(rng.rand(n) < .15, np.nan, rng.randn(n).round(3)),
    "i": rng.randint(-50, 50, n),
    "f": rng.rand(n) < .5,
})
t.loc[t.k == "c", "x"] = np.nan  # a group without numbers
results = {}


def keep(name, df):
    df = df.reset_index(drop=df.index.names == [None])
    results[name] = {str(c): column(df[c]) for c in df.columns}


for what in ["sum", "mean", "count", "min", "max", "std", "var", "median"]:
    keep("k " + what, getattr(t.groupby("k")[["x", "i"]], what)())
    keep("k,g " + what, getattr(t.groupby(["k", "g"])[["x", "i"]], what)())
keep("g first", t.groupby("g").nth(0).sort_values("g")[["g", "i"]].reset_index(drop=True))
keep("g last", t.groupby("g").nth(-1).sort_values("g")[["g", "i"]].reset_index(drop=True))
keep("k size", t.groupby("k").size().reset_index(name="size"))
keep("counts of k", t.k.value_counts().reset_index())
keep("counts of i", t.i.value_counts().reset_index())
keep("describe", t[["x", "i"]].describe().reset_index(names="statistic"))
keep("sort k x", t.sort_values(["k", "x"], kind="stable").reset_index(drop=True))
keep("sort x down", t.sort_values("x", ascending=False, kind="stable").reset_index(drop=True))
keep("sort f down, i", t.sort_values(["f", "i"], ascending=[False, True], kind="stable").reset_index(drop=True))
keep("sort k down, g", t.sort_values(["k", "g"], ascending=[False, True], kind="stable").reset_index(drop=True))
keep("filter", t[(t.x > 0) & (t.i < 10)].reset_index(drop=True))
keep("drop_missing", t.dropna().reset_index(drop=True))
keep("fill", t.fillna({"x": -1, "k": "none"}))

with open(os.path.join(here, "tables.lua"), "w") as f:
    f.write("-- Made by spec/ref/tables.py from pandas %s; do not edit.\nreturn {\n  files = {\n" % pd.__version__)
    for r in rows:
        f.write("    " + r + ",\n")
    f.write("  },\n  csv = %s,\n  results = {\n" % text(t.to_csv(index=False).encode()))
    for name, cols in results.items():
        f.write("    [%s] = {%s},\n" % (lua(name), ", ".join("[%s] = { dtype = %s, values = %s }" % (lua(c), lua(v["dtype"]), lua(v["values"], 17)) for c, v in cols.items())))
    f.write("  },\n}\n")

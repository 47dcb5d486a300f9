"""What TensorFlow's parse_example finds in Examples: python tf_examples.py writes tf_examples.lua.

Needs tensorflow. A case is serialized Examples (hex), what is asked for, and the values, nested lists;
without a shape those of each Example.
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from luawrite import lua

F, T = tf.train.Feature, tf.train
texts = lambda *v: F(bytes_list=T.BytesList(value=v))
floats = lambda *v: F(float_list=T.FloatList(value=v))
whole = lambda *v: F(int64_list=T.Int64List(value=v))
ROWS = [
    dict(label=whole(3), name=texts(b"cat"), x=floats(1.5, -2.25, 3e38, 0), ids=whole(1, -5, 2**62), words=texts(b"a", b"\xff\x00b")),
    dict(label=whole(-(2**63)), name=texts(b""), x=floats(0.1, 1e-40, float("inf"), 7), ids=whole(), words=texts(), extra=floats(1)),
    dict(label=whole(2**63 - 1), name=texts("größer".encode()), x=floats(*[0.5] * 4), ids=whole(127, 128)),
]
SERIALIZED = [tf.train.Example(features=T.Features(feature=r)).SerializeToString() for r in ROWS]
SPECS = [dict(label=("int64", []), name=("string", []), x=("float32", [4])), dict(x=("float32", [2, 2])), dict(ids=("int64", None), words=("string", None)),
         dict(extra=("float32", [1], 2.5), missing=("int64", [2], 9), word=("string", [], "none"))]


def text(v):
    if isinstance(v, list):
        return [text(x) for x in v]
    return v.hex() if isinstance(v, bytes) else v


cases = []
for spec in SPECS:
    asked = {k: tf.io.VarLenFeature(getattr(tf, s[0])) if s[1] is None else tf.io.FixedLenFeature(
        s[1], getattr(tf, s[0]), default_value=(s[2] if s[1] == [] else [s[2]] * s[1][0]) if len(s) > 2 else None) for k, s in spec.items()}
    out = tf.io.parse_example(SERIALIZED, asked)
    values = {}
    for k, v in out.items():
        v = tf.RaggedTensor.from_sparse(v).to_list() if isinstance(v, tf.SparseTensor) else v.numpy().tolist()
        values[k] = text(v)
    cases.append(dict(spec={k: dict(dtype=s[0], shape=s[1] if s[1] is not None else False, default=s[2] if len(s) > 2 else False) for k, s in spec.items()},
                      values=values))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tf_examples.lua"), "w") as f:
    f.write("-- Made by spec/ref/tf_examples.py from the real TensorFlow; do not edit.\nreturn "
            + lua(dict(serialized=[s.hex() for s in SERIALIZED], cases=cases)).replace("-9223372036854775808", "math.mininteger") + "\n")

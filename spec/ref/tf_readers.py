"""Writes small files for the readers of records into records/, and records.lua: what tf.data's readers find in them.

Run with an environment that holds tensorflow: python spec/ref/tf_readers.py
"""
import os

import tensorflow as tf

from luawrite import write

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "records")
os.makedirs(folder, exist_ok=True)
records = [b"", b"a", b"\x00\xff\r\n", "süß 猫".encode(), b"0123456789" * 40]
texts = {
    "lines.txt": b"one\ntwo\r\n\nfo\rur\r\r\nlast",
    "ends.txt": b"a\nb\n",
    "empty.txt": b"",
    "blank.txt": b"\n\n",
}
csv = {
    "plain.csv": b"1,2.5,x\n-3,1e3,y z\r\n4,.5,\n",
    "quotes.csv": b'1,1,"a,b"\n2,2,"say ""hi"""\n3,3,"two\nlines"\n4,4,""\n5,5,"\r\n"\n',
    "header.csv": b"n,x,s\n7,8.25,last",
    "missing.csv": b"1,,a\n,2,b\n3,4,\n",
    "unicode.csv": "1,2,äöü\n2,3,猫\n".encode(),
}


def save(name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)
    return name


def elements(ds):
    out = []
    for e in ds:
        e = e if isinstance(e, tuple) else (e,)
        out.append([v.decode("latin1") if isinstance(v, bytes) else v.item() if hasattr(v, "item") else v for v in (x.numpy() for x in e)])
    return out


def hexed(rows):
    return [[v.encode("latin1").hex() if isinstance(v, str) else v for v in r] for r in rows]


out = []


def case(lua, ds):
    out.append({"lua": lua, "elements": hexed(elements(ds))})


def path(name):
    return os.path.join(folder, name)


for kind in ["", "GZIP", "ZLIB"]:
    name = "some%s.tfrecord" % kind.lower()
    with tf.io.TFRecordWriter(path(name), options=kind or None) as w:
        for r in records:
            w.write(r)
    case("data.TFRecordDataset(F '%s', { compression_type = '%s' })" % (name, kind), tf.data.TFRecordDataset(path(name), kind))
case("data.TFRecordDataset({ F 'some.tfrecord', F 'some.tfrecord' })", tf.data.TFRecordDataset([path("some.tfrecord")] * 2))
for name, data in texts.items():
    save(name, data)
    case("data.TextLineDataset(F '%s')" % name, tf.data.TextLineDataset(path(name)))
import gzip
import zlib
save("lines.txt.gz", gzip.compress(texts["lines.txt"][:9]) + gzip.compress(texts["lines.txt"][9:]))
save("lines.txt.z", zlib.compress(texts["lines.txt"]))
case("data.TextLineDataset(F 'lines.txt.gz', { compression_type = 'GZIP' })", tf.data.TextLineDataset(path("lines.txt.gz"), "GZIP"))
case("data.TextLineDataset(F 'lines.txt.z', { compression_type = 'ZLIB' })", tf.data.TextLineDataset(path("lines.txt.z"), "ZLIB"))
save("fixed.bin", b"HEADabcdefghijFO")
save("fixed.bin.gz", gzip.compress(b"HEADabcdefghijFO"))
case("data.FixedLengthRecordDataset(F 'fixed.bin', 5, 4, 2)", tf.data.FixedLengthRecordDataset(path("fixed.bin"), 5, 4, 2))
case("data.FixedLengthRecordDataset(F 'fixed.bin.gz', { 5, 4, 2, compression_type = 'GZIP' })",
     tf.data.FixedLengthRecordDataset(path("fixed.bin.gz"), 5, 4, 2, compression_type="GZIP"))
case("data.FixedLengthRecordDataset(F 'fixed.bin', 4)", tf.data.FixedLengthRecordDataset(path("fixed.bin"), 4))
C = tf.data.experimental.CsvDataset
for name, data in csv.items():
    save(name, data)
    header = name == "header.csv"
    defaults = [tf.constant([9], tf.int64), tf.constant([0.25]), tf.constant([""])] if name == "missing.csv" else [tf.int64, tf.float32, tf.constant([""])]
    lua = "{ 9, 0.25, '' }" if name == "missing.csv" else "{ 'int64', 'float32', '' }"
    case("data.CsvDataset(F '%s', %s, { header = %s })" % (name, lua, str(header).lower()), C(path(name), defaults, header=header))
save("semi.csv", b"1;a,\"b\n2;c\n")
case("data.CsvDataset{ F 'semi.csv', { 'int64', 'string' }, field_delim = ';', use_quote_delim = false }",
     C(path("semi.csv"), [tf.int64, tf.string], field_delim=";", use_quote_delim=False))
case("data.CsvDataset{ F 'plain.csv', { 'string', 'int64' }, select_cols = { 2, 1 } }" if False else
     "data.CsvDataset{ F 'plain.csv', { 'int64', '' }, select_cols = { 1, 3 } }", C(path("plain.csv"), [tf.int64, tf.constant([""])], select_cols=[0, 2]))
write(os.path.join(here, "records.lua"), "tf_readers.py", out)

"""Writes small files in the formats of Keras' data sets, CIFAR and MovieLens into datasets/, and datasets.lua: what the real
loaders (keras.datasets, numpy, pandas) find in them.

Run with an environment that holds keras, numpy and pandas: python spec/ref/datasets.py
"""
import io
import json
import os
import pickle
import struct
import sys
import tarfile
import zipfile

os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np

from luawrite import lua

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "datasets")
os.makedirs(folder, exist_ok=True)
rng = np.random.RandomState(3)


def at(name):
    return os.path.join(folder, name)


class Old(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which CIFAR's files hold."""
    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj):
        n = len(obj)
        self.write(b"U" + bytes([n]) + obj if n < 256 else b"T" + struct.pack("<i", n) + obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes


def old(obj):
    f = io.BytesIO()
    Old(f, protocol=2).dump(obj)
    return f.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def objects(lists):
    a = np.empty(len(lists), dtype=object)
    for i, v in enumerate(lists):
        a[i] = v
    return a


def sequences(n):
    return objects([[int(w) for w in rng.zipf(1.3, rng.randint(1, 12)) % 400 + 1] for _ in range(n)])


def save_old_npz(path, **arrays):
    """As numpy of Python 2 or of before version 2 wrote arrays of objects: pickles of protocol 2, other names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, a in arrays.items():
            f = io.BytesIO()
            if a.dtype == object:
                np.lib.format.write_array_header_1_0(f, np.lib.format.header_data_from_array_1_0(a))
                f.write(old(a))
            else:
                np.lib.format.write_array(f, a)
            z.writestr(name + ".npy", f.getvalue())


imdb = dict(x_train=sequences(23), y_train=rng.randint(0, 2, 23), x_test=sequences(17), y_test=rng.randint(0, 2, 17))
save_old_npz(at("imdb.npz"), **imdb)
os.makedirs(at("new"), exist_ok=True)
np.savez_compressed(at("new/imdb.npz"), **imdb)
save_old_npz(at("reuters.npz"), x=sequences(31), y=rng.randint(0, 46, 31))
json.dump({"the": 1, "and": 2, "fürth": 88583}, open(at("imdb_word_index.json"), "w"))
np.savez(at("boston_housing.npz"), x=rng.randn(21, 13).round(3), y=rng.rand(21).round(2))
np.savez(at("california_housing.npz"), x=rng.randn(640, 8).astype("f4"), y=rng.rand(640).astype("f4"))
np.savez_compressed(at("mnist.npz"), x_train=rng.randint(0, 256, (5, 28, 28)).astype("u1"), y_train=rng.randint(0, 10, 5).astype("u1"),
                    x_test=rng.randint(0, 256, (2, 28, 28)).astype("u1"), y_test=rng.randint(0, 10, 2).astype("u1"))


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def pictures(n):  # packs well
    return np.repeat(rng.randint(0, 256, (n, 96)).astype("u1"), 32, axis=1)


cifar10 = {}
with tarfile.open(at("cifar-10-python.tar.gz"), "w:gz") as py, tarfile.open(at("cifar-10-binary.tar.gz"), "w:gz") as binary:
    for name in ["data_batch_%d" % i for i in range(1, 6)] + ["test_batch"]:
        x, y = pictures(2), [int(v) for v in rng.randint(0, 10, 2)]
        cifar10[name] = x, y
        d = {b"batch_label": b"a part", b"labels": y, b"data": x, b"filenames": [b"a.png", b"b.png"]}
        add(py, "cifar-10-batches-py/" + name, old(d))
        add(binary, "cifar-10-batches-bin/" + name + ".bin", b"".join(bytes([l]) + p.tobytes() for l, p in zip(y, x)))
    add(py, "cifar-10-batches-py/readme.html", b"x" * 700)
os.makedirs(at("cifar-100-python"), exist_ok=True)
cifar100 = {}
with tarfile.open(at("cifar-100-binary.tar.gz"), "w:gz") as binary:
    for name, n in ("train", 3), ("test", 2):
        x, fine, coarse = pictures(n), [int(v) for v in rng.randint(0, 100, n)], [int(v) for v in rng.randint(0, 20, n)]
        cifar100[name] = x, fine, coarse
        with open(at("cifar-100-python/" + name), "wb") as f:
            f.write(old({b"fine_labels": fine, b"coarse_labels": coarse, b"data": x}))
        add(binary, "cifar-100-binary/" + name + ".bin", b"".join(bytes([c, l]) + p.tobytes() for c, l, p in zip(coarse, fine, x)))

ratings = "\n".join("%d\t%d\t%d\t%d" % (rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 6), 881250949 + i) for i in range(9)) + "\n"
with zipfile.ZipFile(at("ml-100k.zip"), "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("ml-100k/u.data", ratings)
    z.writestr("ml-100k/u.user", "1|24|M|technician|85711\n2|53|F|other|T8H1N\n3|23|M|writer|32067\n")
    z.writestr("ml-100k/u.item", ("1|Toy Story (1995)|01-Jan-1995||http://x/?a|" + "|".join("0001110000000000000") + "\n2|Misérables, Les (1995)|01-Jan-1995||http://y|"
                                  + "|".join("0000000010000000000") + "\n").encode("latin-1"))
with zipfile.ZipFile(at("ml-1m.zip"), "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("ml-1m/ratings.dat", ratings.replace("\t", "::"))
    z.writestr("ml-1m/users.dat", "1::F::1::10::48067\n2::M::56::16::70072-1234\n")
    z.writestr("ml-1m/movies.dat", "1::Toy Story (1995)::Animation|Children's|Comedy\n2::Misérables, Les (1995)::Drama\n".encode("latin-1"))

# what the real loaders find
import keras
from keras.src.datasets import boston_housing, california_housing, cifar as cifar_module, imdb as imdb_module, reuters as reuters_module
import pandas as pd

local = lambda *args, **kwargs: at(os.path.basename(kwargs.get("fname") or args[0]))
for m in boston_housing, california_housing, imdb_module, reuters_module:
    m.get_file = local

cases = []


def texts(name, load, lua_options, shift=0, **options):
    (x_train, y_train), (x_test, y_test) = load(**options)
    cases.append({"name": name, "options": lua_options, "x_train": [list(map(int, v)) for v in x_train], "y_train": [int(v) + shift for v in y_train],
                  "x_test": [list(map(int, v)) for v in x_test], "y_test": [int(v) + shift for v in y_test]})


for o in {}, {"num_words": 50}, {"skip_top": 5, "num_words": 100, "seed": 7}, {"maxlen": 7}, {"start_char": None}, {"start_char": None, "index_from": 0}, \
        {"oov_char": None, "num_words": 20, "skip_top": 4}, {"start_char": 9, "index_from": 20, "oov_char": 3, "num_words": 60}:
    lua_o = {k: False if v is None else v for k, v in o.items()}
    texts("imdb", imdb_module.load_data, lua_o, **o)
    texts("reuters", reuters_module.load_data, lua_o, shift=1, **o)
texts("reuters", reuters_module.load_data, {"test_split": 0.35, "seed": 1}, shift=1, test_split=.35, seed=1)

arrays = []
for name, module, options in ("boston_housing", boston_housing, {}), ("boston_housing", boston_housing, {"seed": 5, "test_split": .3}), \
        ("california_housing", california_housing, {"version": "small"}), ("california_housing", california_housing, {"test_split": 0.01}):
    (a, b), (c, d) = module.load_data(**options)
    arrays.append({"name": name, "options": options, "dtype": str(a.dtype), "shapes": [list(v.shape) for v in (a, b, c, d)],
                   "rows": [a[:2].tolist(), b[:5].tolist(), c[-2:].tolist(), d[-5:].tolist()]})

orders = [{"seed": s, "orders": [[int(i) + 1 for i in p] for p in shuffled]} for s, shuffled in
          ((s, (lambda r: [(lambda v: (r.shuffle(v), v)[1])(np.arange(n)) for n in (1, 2, 7, 40)])(np.random.RandomState(s))) for s in (0, 113, 2**32 - 1))]

# Keras' reader of a batch takes the same files (it wants 10,000 pictures of a batch, so it is asked alone)
with tarfile.open(at("cifar-10-python.tar.gz")) as t:
    t.extractall("/tmp/cifar_check", filter="data")
for name, (x, y) in cifar10.items():
    data, labels = cifar_module.load_batch("/tmp/cifar_check/cifar-10-batches-py/" + name)
    assert (data.reshape(2, -1) == x).all() and labels == y
data, labels = cifar_module.load_batch(at("cifar-100-python/train"), label_key="coarse_labels")
assert (data.reshape(3, -1) == cifar100["train"][0]).all() and labels == cifar100["train"][2]


def seen(x):  # some places of each picture, as Keras has them: (n, 32, 32, 3)
    x = x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return [[int(v) for v in p[r, c]] for p in x for r, c in ((0, 0), (5, 17), (31, 31))]


names = ["data_batch_%d" % i for i in range(1, 6)]
pics = {"cifar10": {"x_train": seen(np.concatenate([cifar10[n][0] for n in names])), "y_train": [v + 1 for n in names for v in cifar10[n][1]],
                    "x_test": seen(cifar10["test_batch"][0]), "y_test": [v + 1 for v in cifar10["test_batch"][1]]},
        "cifar100": {"x_train": seen(cifar100["train"][0]), "fine": [v + 1 for v in cifar100["train"][1]], "coarse": [v + 1 for v in cifar100["train"][2]],
                     "x_test": seen(cifar100["test"][0])}}

films = {}
with zipfile.ZipFile(at("ml-1m.zip")) as z:
    for name, columns in ("ratings", ["user", "movie", "rating", "timestamp"]), ("users", ["user", "gender", "age", "occupation", "zip_code"]), \
            ("movies", ["movie", "title", "genres"]):
        df = pd.read_csv(z.open("ml-1m/%s.dat" % name), sep="::", engine="python", header=None, names=columns, encoding="latin-1",
                         dtype={"zip_code": str})
        films[name] = {c: df[c].tolist() for c in columns}

with open(os.path.join(here, "datasets.lua"), "w") as f:
    f.write("-- Made by spec/ref/datasets.py from keras %s, numpy %s; do not edit.\nreturn {\n  texts = {\n" % (keras.__version__, np.__version__))
    for c in cases:
        f.write("    " + lua(c) + ",\n")
    f.write("  },\n  arrays = {\n")
    for c in arrays:
        f.write("    " + lua(c, 17) + ",\n")
    f.write("  },\n  orders = %s,\n  pictures = %s,\n  films = %s,\n}\n" % (lua(orders), lua(pics), lua(films)))

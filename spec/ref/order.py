"""The order of layers and weights in models as the real Keras gives it: writes spec/ref/order.lua, which
spec/models/order_spec.lua reads, where the same models stand in Lua.

Run: KERAS_BACKEND=jax python spec/ref/order.py   (Keras 3.15)
"""
import os
import tempfile
os.environ.setdefault("KERAS_BACKEND", "jax")
import h5py
import keras
from keras import layers as L, ops
from luawrite import write


def dense(name, units=2):
    return L.Dense(units, name=name)


def inp(name, size=4):
    return keras.Input((size,), name=name)


def depths():  # the second output ends two layers earlier
    x = inp("x")
    a = dense("a")(x)
    b = dense("b")(a)
    return keras.Model(x, [dense("c")(b), dense("d")(a)])


def shallow_first():
    x = inp("x")
    a = dense("a")(x)
    d = dense("d")(x)
    return keras.Model(x, [d, dense("c")(dense("b")(a))])


def side():  # an output in the middle of the trunk, and a branch from the input
    x = inp("x")
    e = dense("e")(x)
    a = L.BatchNormalization(name="a")(dense("b")(x))
    return keras.Model(x, {"late": dense("f")(a), "branch": e, "mid": a})


def shared():
    x, y = inp("x"), inp("y")
    s, t = dense("s", 4), dense("t", 4)
    return keras.Model([x, y], [dense("o")(s(t(s(x)))), dense("p")(t(y))])


def skip():
    x = inp("x")
    a = dense("a", 4)(x)
    b = dense("b", 4)(a)
    c = L.Add(name="add")([b, dense("short", 4)(x)])
    return keras.Model(x, L.Concatenate(name="cat")([c, dense("e")(x), a]))


def operators():
    x, y = inp("x"), inp("y")
    a = dense("a", 4)(x)
    z = ops.concatenate([a * 2.0, dense("b", 4)(y)])
    return keras.Model([y, x], [dense("c")(z), dense("d")(a + x)])


def nested():
    i = inp("i")
    u = dense("u")(i)
    inner = keras.Model(i, [dense("v")(u), L.BatchNormalization(name="w")(dense("z")(dense("y")(u)))],
                        name="inner")
    seq = keras.Sequential([keras.Input((4,)), dense("q", 4), L.BatchNormalization(name="r")], name="seq")
    x = inp("x")
    first, second = inner(seq(x))
    again, _ = inner(x)
    return keras.Model(x, [dense("last")(second), dense("early")(first), again])


def unused():
    x, y, n = inp("x"), inp("y"), inp("n")
    return keras.Model([n, x, y], [dense("a")(y), dense("b")(dense("c")(x))])


def cut():  # from the middle of another model
    x = inp("x")
    a = dense("a", 4)(x)
    b = dense("b", 4)(a)
    c = dense("c")(b)
    d = dense("d")(a)
    return keras.Model(a, [d, c])


def diamond():
    x = inp("x")
    left = dense("l2", 3)(dense("l1", 3)(x))
    right = dense("r3", 3)(dense("r2", 3)(dense("r1", 3)(x)))
    m = L.Multiply(name="m")([left, right])
    return keras.Model(x, [m, dense("tail")(left)])


def groups(model):
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/m.weights.h5"
        model.save_weights(path)
        out = []
        with h5py.File(path, "r") as f:
            f.visititems(lambda name, o: out.append([name, list(o.shape)])
                         if isinstance(o, h5py.Dataset) and not name.startswith("optimizer") else None)
    return sorted(out)


rows = []
for make in [depths, shallow_first, side, shared, skip, operators, nested, unused, cut, diamond]:
    keras.utils.clear_session()
    model = make()
    def paths(ws):
        return ["/".join(w.path.split("/")[-2:]) for w in ws]
    rows.append({"model": make.__name__, "layers": [l.name for l in model.layers if not l.name.startswith("keras_tensor")], "weights": paths(model.weights),
                 "trainable": paths(model.trainable_weights), "frozen": paths(model.non_trainable_weights),
                 "file": groups(model)})
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "order.lua"), "order.py", rows)

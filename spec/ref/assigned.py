"""The order in which the real Keras takes note of layers in fields: python spec/ref/assigned.py"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))


def D(name):
    return keras.layers.Dense(1, name=name)


def other_order(s):
    x, y = D("x"), D("y")
    s.y = y
    s.x = x


def grown_list(s):
    s.items = []
    s.head = D("head")
    s.items.append(D("i1"))
    s.items.append(D("i2"))
    s.tail = D("tail")


def shared(s):
    x = D("x")
    s.list = [D("l1"), x]
    s.x = x
    s.dict = {"q": D("q"), "b": D("b")}


def inserted(s):
    s.list = [D("1"), D("2")]
    s.head = D("h")
    s.list.insert(0, D("0"))


def grown_dict(s):
    s.dict = {}
    s.head = D("h")
    s.dict["z"] = D("z")
    s.dict["a"] = D("a")


def nested(s):
    s.n = [[D("n1")], {"k": D("k"), "a": [D("ka")]}]
    s.o = D("o")


def options(s):
    second, first = D("second"), D("first")
    s.first = first
    s.second = second
    s.third = D("third")


rows = []
for f in (other_order, grown_list, shared, inserted, grown_dict, nested, options):
    class M(keras.Model):
        def __init__(self):
            super().__init__()
            f(self)
    m = M()
    for l in m.layers:
        l.build((None, 2))
    rows.append(dict(name=f.__name__, layers=[l.name for l in m.layers],
                     weights=[w.path for w in m.weights]))
write(os.path.join(HERE, "assigned.lua"), "assigned.py", rows)

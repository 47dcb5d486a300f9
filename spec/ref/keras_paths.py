"""Paths of weights and layers in models of the real Keras, made in several ways:

    python spec/ref/keras_paths.py

keras_paths.lua holds for each model of spec/layers/paths_spec.lua the paths of its weights, in order."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
from luawrite import write

L = keras.layers
HERE = os.path.dirname(os.path.abspath(__file__))
rows = {}


def note(name, model):
    rows[name] = [w.path for w in model.weights]
    keras.utils.clear_session()


class Own(keras.Model):
    def __init__(self, **o):
        super().__init__(**o)
        self.a = L.Dense(3)
        self.b = keras.Sequential([L.Dense(2)])
        self.c = L.LSTM(2)

    def call(self, x):
        return self.c(keras.ops.expand_dims(self.b(self.a(x)), 1))


class Around(keras.Model):
    def __init__(self, **o):
        super().__init__(**o)
        self.m = Own()
        self.w = self.add_weight(shape=(2,), name="w")

    def call(self, x):
        return self.m(x)


class Block(L.Layer):
    def __init__(self, **o):
        super().__init__(**o)
        self.d = L.Dense(2)
        self.w = self.add_weight(shape=(2,), name="w")

    def build(self, shape):
        self.v = self.add_weight(shape=(3,), name="v")
        self.d.build(shape)

    def call(self, x):
        return self.d(x)


def called(model):
    model(np.ones((1, 4)))
    return model


def functional(f, shape=(4,), **o):
    x = keras.Input(shape)
    return keras.Model(x, f(x), **o)


def composite(x):
    return [L.Bidirectional(L.GRU(2), name="bi")(x), L.TimeDistributed(L.Dense(2), name="td")(x),
            L.MultiHeadAttention(2, 3, name="mha")(x, x), L.RNN([L.LSTMCell(2), L.GRUCell(3)], name="rnn")(x), L.SimpleRNN(2)(x)]


def built(layer):
    layer.build((None, 4))
    return layer


def chain():
    return keras.Sequential([L.Dense(2), L.Dense(1)], name="in")


note("sequential", keras.Sequential([keras.Input((4,)), L.Dense(3), L.Dense(2)]))
note("built", built(keras.Sequential([L.Dense(3), L.Dense(2)], name="s")))
note("called", called(keras.Sequential([L.Dense(3), L.Dense(2)], name="s")))
note("functional", functional(lambda x: L.Dense(1, name="out")(L.BatchNormalization()(L.Dense(3)(x)))))
note("in functional", functional(lambda x: L.Dense(1)(keras.Sequential([keras.Input((4,)), L.Dense(3)], name="inner")(x)), name="outer"))
note("late in functional", functional(lambda x: L.Dense(1)(keras.Sequential([L.Dense(3)], name="inner")(x)), name="outer"))
note("functional in functional", functional(lambda x: functional(lambda z: L.Dense(3)(z), name="inner")(x), name="outer"))
note("own", called(Own()))
note("own in own", called(Around(name="nn")))
note("own layer", keras.Sequential([keras.Input((4,)), Block(name="blk"), L.Dense(1)]))
note("own layer in functional", functional(lambda x: Block(name="q")(x)))
note("own layer late", functional(lambda x: keras.Sequential([L.Dense(2), Block(name="z")], name="zz")(x)))
note("composite", functional(composite, (5, 4)))
note("sequential in sequential", keras.Sequential([keras.Input((4,)), L.Dense(3), chain()]))
note("late in sequential", built(keras.Sequential([L.Dense(3), chain()], name="ss")))
note("built before", built(keras.Sequential([built(L.Dense(3, name="sh"))], name="pre")))
write(os.path.join(HERE, "keras_paths.lua"), "keras_paths.py", [rows])

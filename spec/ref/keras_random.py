"""Random models of real Keras: layers of all families under random options, with branches, masks, nested and shared models, ops and
dtypes; what they give, their gradients, and their losses over some steps of training.

    python spec/ref/keras_random.py [COUNT [SEED [FILE]]]      draws COUNT (300) models and writes them to FILE
                                     (spec/fixtures/random/keras_SEED.zip); spec/saving/keras_random_spec.lua reads all there
Weights and inputs come from formulas; of tensors that are stored, three sums against waves tell them apart. Needs keras >= 3.15 on
TensorFlow (or KERAS_BACKEND=jax), numpy."""
import json
import os
import sys
import zipfile

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import keras
from keras import constraints, initializers, layers as L, losses, ops, optimizers as O, regularizers

from formula import make, weight

HERE = os.path.dirname(os.path.abspath(__file__))
N = 3            # batch
IDS = 9          # ids run from 0 to IDS - 1
PART = 30        # models in a member of the archive
STEPS = 4

ACTIVATIONS = ("relu tanh sigmoid elu selu gelu softplus softsign silu mish hard_sigmoid hard_silu leaky_relu relu6 exponential linear "
               "log_sigmoid celu tanh_shrink squareplus softmax hard_tanh sparse_plus").split()


class Draw:
    """A random model in the making: tensors that may be used, and what was drawn."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.random = False   # holds layers that draw numbers while training
        self.half = False
        self.pool, self.inputs, self.kinds = [], [], []

    def some(self, p):
        return self.rng.random() < p

    def one(self, *values):
        return values[self.rng.integers(len(values))]

    def int(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def activation(self):
        return self.one(*ACTIVATIONS) if self.some(0.7) else None

    def options(self, **kw):
        """Options of a layer with weights."""
        if self.some(0.25):
            kw["use_bias"] = False
        if self.some(0.15):
            kw["kernel_regularizer"] = self.one("l1", "l2", regularizers.L1L2(0.01, 0.02))
        if self.some(0.1):
            kw["activity_regularizer"] = regularizers.L2(0.01)
        if self.some(0.1):
            kw["kernel_constraint"] = self.one("non_neg", "unit_norm", constraints.MaxNorm(1.0))
        if self.some(0.05):
            kw["kernel_initializer"] = self.one("he_normal", "orthogonal", initializers.VarianceScaling(2.0, "fan_avg", "uniform", seed=3))
        return self.general(**kw)

    def general(self, **kw):
        """Options of every layer."""
        if self.some(0.08):
            kw["trainable"] = False
        if self.some(0.06):
            kw["dtype"] = self.one("float64", "mixed_bfloat16", "mixed_float16", "float32")
            self.half = self.half or "mixed" in kw["dtype"]
        return kw


# ---- layers by the rank of what they take; each gives a tensor ----

def pointwise(d, x):
    return d.one(
        lambda: L.Activation(d.one(*ACTIVATIONS)),
        lambda: L.ReLU(**d.one({}, dict(max_value=1.5), dict(negative_slope=0.2, threshold=0.1), dict(max_value=2.0, negative_slope=0.1))),
        lambda: L.LeakyReLU(negative_slope=d.one(0.1, 0.3)),
        lambda: L.ELU(alpha=d.one(0.5, 1.0)),
        lambda: L.PReLU(**({} if len(x.shape) == 2 or d.some(0.5) else dict(shared_axes=[1]))),
        lambda: L.Softmax(axis=d.one(-1, len(x.shape) - 1)),
        lambda: L.Rescaling(d.one(0.5, 2.0), offset=d.one(0.0, -1.0)),
        lambda: L.Identity(),
        lambda: L.ActivityRegularization(l1=0.01, l2=0.02),
    )()(x)


def normalize(d, x):
    rank = len(x.shape)
    axis = d.one(-1, -1, d.int(1, rank - 1))
    eps = d.one({}, dict(epsilon=0.01))
    width = x.shape[axis]
    return d.one(
        lambda: L.BatchNormalization(axis=axis, momentum=d.one(0.99, 0.8), center=d.some(0.8), scale=d.some(0.8), **d.general(**eps)),
        lambda: L.LayerNormalization(axis=d.one(-1, axis, list(range(1, rank))), center=d.some(0.8), scale=d.some(0.8), **d.general(**eps)),
        lambda: L.RMSNormalization(axis=d.one(-1, axis), **d.general(**eps)),
        lambda: L.GroupNormalization(groups=d.one(*[g for g in (-1, 1, 2, 3, 4) if g < 0 or width % g == 0]), axis=axis, **d.general(**eps)),
        lambda: L.UnitNormalization(axis=d.one(-1, axis, list(range(1, rank)))),
    )()(x)


def dropped(d, x):
    d.random = True
    rank = len(x.shape)
    kinds = [lambda: L.Dropout(0.4), lambda: L.GaussianDropout(0.3), lambda: L.GaussianNoise(0.2), lambda: L.AlphaDropout(0.3)]
    if rank > 2:
        kinds.append(lambda: getattr(L, "SpatialDropout%dD" % (rank - 2))(0.4))
    return d.one(*kinds)()(x)


def dense(d, x):
    if d.some(0.2):
        ins, n, m = "abcde"[:len(x.shape)], d.int(2, 5), d.int(2, 3)
        equation, shape, bias = d.one(
            ("%s,%sz->%sz" % (ins, ins[-1], ins[:-1]), x.shape[1:-1] + (n,), "z"),
            ("%s,%szy->%szy" % (ins, ins[-1], ins[:-1]), x.shape[1:-1] + (n, m), d.one("z", "zy")),
            ("...x,xy->...y", (n,), "y"))
        return L.EinsumDense(equation, shape, bias_axes=bias if d.some(0.7) else None, activation=d.activation(), **d.general())(x)
    return L.Dense(d.int(2, 6), activation=d.activation(), **d.options())(x)


def ops_node(d, x):
    return d.one(
        lambda: x * 2.0 + 1.0, lambda: 1.0 - x, lambda: ops.tanh(x) * x, lambda: ops.relu(x), lambda: x / 3.0, lambda: ops.square(x),
        lambda: ops.concatenate([x, -x], axis=-1), lambda: ops.mean(x, axis=-1, keepdims=True) + x, lambda: ops.flip(x, axis=1),
        lambda: ops.maximum(x, 0.1), lambda: ops.exp(-ops.abs(x)), lambda: ops.softmax(x, axis=-1))()


def vector(d, x):
    n = x.shape[-1]
    return d.one(
        lambda: dense(d, x), lambda: dense(d, x), lambda: pointwise(d, x), lambda: normalize(d, x), lambda: dropped(d, x),
        lambda: ops_node(d, x), lambda: L.RepeatVector(d.int(2, 4))(x),
        lambda: L.Reshape(d.one((n, 1), (-1, 1), (1, n), (n // 2, 2) if n % 2 == 0 else (n, 1)))(x),
    )()


def cell(d, units, drop=True):
    kw = {}
    if d.some(0.25):
        kw["activation"] = d.one("relu", "sigmoid", "softsign", "tanh")
    if d.some(0.2):
        kw["use_bias"] = False
    if d.some(0.1):
        kw["recurrent_regularizer"] = "l2"
    if d.some(0.1):
        kw["kernel_constraint"] = "max_norm"
    if drop and d.some(0.12):
        d.random = True
        kw[d.one("dropout", "recurrent_dropout")] = 0.3
    kind = d.one("LSTM", "GRU", "SimpleRNN")
    if kind != "SimpleRNN" and d.some(0.2):
        kw["recurrent_activation"] = d.one("hard_sigmoid", "tanh")
    if kind == "LSTM" and d.some(0.2):
        kw["unit_forget_bias"] = False
    if kind == "GRU" and d.some(0.4):
        kw["reset_after"] = False
    return kind, dict(units=units, **kw)


def recurrent_layer(d, units, **how):
    form = d.int(0, 9)
    if d.some(0.25):
        how["go_backwards"] = True
    if d.some(0.2):
        how["unroll"] = True
    if d.some(0.2):
        how["zero_output_for_mask"] = True
    how = d.general(**how)
    if form < 7:
        kind, kw = cell(d, units)
        if d.some(0.05):
            kw["activity_regularizer"] = "l2"
        return getattr(L, kind)(**kw, **how)
    cells = []
    for i in range(1 if form == 7 else 2):
        kind, kw = cell(d, units, drop=False)
        cells.append(getattr(L, kind + "Cell")(**kw))
    return L.RNN(cells[0] if form == 7 else cells, **how)


def recurrent(d, x):
    units, seq = d.int(2, 4), d.some(0.5)
    if d.some(0.35):
        layer = recurrent_layer(d, units, return_sequences=seq)
        try:
            return L.Bidirectional(layer, merge_mode=d.one("concat", "sum", "mul", "ave"))(x)
        except ValueError:
            return L.Bidirectional(L.GRU(units, return_sequences=seq))(x)
    if d.some(0.2):
        layer = recurrent_layer(d, units, return_sequences=seq, return_state=True)
        y, *states = layer(x)
        if d.some(0.5):
            d.pool.append(states[0] if not isinstance(states[0], (list, tuple)) else states[0][0])
        return y
    return recurrent_layer(d, units, return_sequences=seq)(x)


def lstm_pair(d, x):
    """An encoder whose states begin a decoder."""
    units = d.int(2, 4)
    kind = d.one("LSTM", "GRU", "SimpleRNN")
    _, *states = getattr(L, kind)(units, return_state=True)(x)
    return getattr(L, kind)(units, return_sequences=d.some(0.6))(x, initial_state=states)


def attention(d, x):
    width = x.shape[-1]
    other = d.one(x, *[t for t in d.pool if len(t.shape) == 3 and t.shape[0] == x.shape[0]])
    form = d.int(0, 4)
    causal = d.some(0.4)
    if form <= 1:
        kw = dict(num_heads=d.int(1, 3), key_dim=d.int(2, 3))
        if d.some(0.3):
            kw["value_dim"] = d.int(2, 4)
        if d.some(0.2):
            kw["output_shape"] = d.int(2, 5)
        if d.some(0.2):
            kw["use_gate"] = True
        if d.some(0.2):
            kw["use_bias"] = False
        if d.some(0.1):
            kw["dropout"] = 0.2
            d.random = True
        key = () if d.some(0.7) else (other,)
        return L.MultiHeadAttention(**d.general(**kw))(x, other, *key, use_causal_mask=causal)
    if form == 2:
        groups = d.int(1, 2)
        kw = dict(head_dim=d.int(2, 3), num_query_heads=groups * d.int(1, 2), num_key_value_heads=groups)
        if d.some(0.2):
            kw["use_bias"] = False
        if d.some(0.2):
            kw["use_gate"] = True
        return L.GroupQueryAttention(**d.general(**kw))(x, other, use_causal_mask=causal)
    if other.shape[-1] != width:
        other = x
    if form == 3:
        return L.Attention(use_scale=d.some(0.5), score_mode=d.one("dot", "concat"))([x, other], use_causal_mask=causal)
    return L.AdditiveAttention(use_scale=d.some(0.5))([x, other], use_causal_mask=causal)


def distributed(d, x):
    rank = len(x.shape)
    inner = [lambda: L.Dense(d.int(2, 4), activation=d.activation()), lambda: L.LayerNormalization(), lambda: L.Activation("tanh")]
    if rank == 4:
        inner += [lambda: L.Conv1D(d.int(2, 3), 2, padding="same"), lambda: L.GlobalAveragePooling1D(), lambda: L.LSTM(3)]
    if rank == 5:
        inner += [lambda: L.Conv2D(d.int(2, 3), 2, padding="same"), lambda: L.GlobalMaxPooling2D(), lambda: L.Flatten()]
    return L.TimeDistributed(d.one(*inner)())(x)


def sizes(d, x, rank, least=1, most=3):
    """A size per axis, or one for all, at most what x has."""
    spatial = x.shape[1:1 + rank]
    out = [min(d.int(least, most), s) for s in spatial]
    return out[0] if rank == 1 or (d.some(0.5) and all(out[0] <= s for s in spatial)) else tuple(out)


def conv(d, x):
    rank = len(x.shape) - 2
    channels = x.shape[-1]
    form = d.int(0, 5)
    kernel = sizes(d, x, rank)
    kw = dict(padding=d.one("valid", "same"), activation=d.activation())
    strided = d.some(0.4)
    if form <= 2:
        if rank == 1 and d.some(0.25):
            kw["padding"] = "causal"
        if strided:
            kw["strides"] = d.int(2, 3) if rank == 1 or d.some(0.5) else tuple(d.int(1, 2) for _ in range(rank))
        elif d.some(0.3):
            kw["dilation_rate"] = 2
        groups = d.one(1, 1, 1, 1, *[g for g in (2, 3) if channels % g == 0])
        return getattr(L, "Conv%dD" % rank)(groups * d.int(1, 3), kernel, groups=groups, **d.options(**kw))(x)
    if form == 3:
        if strided:
            kw["strides"] = 2
        return getattr(L, "Conv%dDTranspose" % rank)(d.int(1, 3), kernel, **d.options(**kw))(x)
    if rank == 3:
        return L.Conv3D(d.int(1, 3), kernel, **d.options(**kw))(x)
    if strided:
        kw["strides"] = 2
    elif d.some(0.2) and form == 4:
        kw["dilation_rate"] = 2
    if d.some(0.4):
        kw["depth_multiplier"] = 2
    if form == 4:
        drawn = d.options(**kw)
        for k in list(drawn):
            if k.startswith("kernel_"):
                drawn["depthwise_" + k[7:]] = drawn.pop(k)
        return getattr(L, "DepthwiseConv%dD" % rank)(kernel, **drawn)(x)
    drawn = d.options(**kw)
    for k in list(drawn):
        if k.startswith("kernel_"):
            drawn[d.one("depthwise_", "pointwise_") + k[7:]] = drawn.pop(k)
    return getattr(L, "SeparableConv%dD" % rank)(d.int(1, 3), kernel, **drawn)(x)


def pool(d, x):
    rank = len(x.shape) - 2
    form = d.int(0, 3)
    if form == 0:
        return getattr(L, "Global%sPooling%dD" % (d.one("Max", "Average"), rank))(keepdims=d.some(0.3))(x)
    if form == 1 and d.some(0.4):
        return getattr(L, "Adaptive%sPooling%dD" % (d.one("Max", "Average"), rank))(sizes(d, x, rank))(x)
    kw = dict(padding=d.one("valid", "same"))
    if d.some(0.5):
        kw["strides"] = d.int(1, 2)
    return getattr(L, "%sPooling%dD" % (d.one("Max", "Average"), rank))(sizes(d, x, rank), **kw)(x)


def shape_of(d, x):
    rank = len(x.shape) - 2
    pad = d.one(1, tuple(d.one((1, 0), (0, 2), (1, 1)) for _ in range(rank)))
    if rank == 1 and pad != 1:
        pad = pad[0]
    crop = d.one(1, tuple((0, 1) for _ in range(rank)))
    if rank == 1 and crop != 1:
        crop = crop[0]
    forms = [
        lambda: getattr(L, "ZeroPadding%dD" % rank)(pad)(x), lambda: getattr(L, "UpSampling%dD" % rank)(d.int(1, 2))(x),
        lambda: L.Flatten()(x), lambda: L.Permute(tuple(int(i) + 1 for i in d.rng.permutation(rank + 1)))(x),
        lambda: L.Reshape((-1, x.shape[-1]) if d.some(0.5) else (x.shape[1], -1))(x)]
    if all(s > 2 for s in x.shape[1:1 + rank]):
        forms.append(lambda: getattr(L, "Cropping%dD" % rank)(crop)(x))
    if rank == 2:
        forms.append(lambda: L.UpSampling2D((2, d.int(1, 2)), interpolation=d.one("nearest", "bilinear"))(x))
    return d.one(*forms)()


def sequence(d, x):
    return d.one(
        lambda: recurrent(d, x), lambda: recurrent(d, x), lambda: recurrent(d, x), lambda: lstm_pair(d, x), lambda: attention(d, x),
        lambda: attention(d, x), lambda: conv(d, x), lambda: conv(d, x), lambda: pool(d, x), lambda: shape_of(d, x), lambda: dense(d, x),
        lambda: distributed(d, x), lambda: pointwise(d, x), lambda: normalize(d, x), lambda: dropped(d, x), lambda: ops_node(d, x))()


def conv_lstm(d, x):
    rank = len(x.shape) - 3
    kw = dict(filters=d.int(1, 2), kernel_size=min(2, *x.shape[2:2 + rank]), padding=d.one("valid", "same"), return_sequences=d.some(0.5))
    if d.some(0.3):
        kw["go_backwards"] = True
    if d.some(0.3):
        kw["recurrent_activation"] = d.one("sigmoid", "hard_sigmoid")
    if d.some(0.2):
        kw["use_bias"] = False
    return getattr(L, "ConvLSTM%dD" % rank)(**kw)(x)


def picture(d, x):
    return d.one(
        lambda: conv(d, x), lambda: conv(d, x), lambda: conv(d, x), lambda: pool(d, x), lambda: pool(d, x), lambda: shape_of(d, x),
        lambda: dense(d, x), lambda: pointwise(d, x), lambda: normalize(d, x), lambda: normalize(d, x), lambda: dropped(d, x),
        lambda: ops_node(d, x), lambda: distributed(d, x), lambda: conv_lstm(d, x))()


def video(d, x):
    return d.one(
        lambda: conv(d, x), lambda: conv(d, x), lambda: pool(d, x), lambda: shape_of(d, x), lambda: dense(d, x), lambda: pointwise(d, x),
        lambda: normalize(d, x), lambda: dropped(d, x), lambda: distributed(d, x), lambda: conv_lstm(d, x), lambda: conv_lstm(d, x))()


BY_RANK = {2: vector, 3: sequence, 4: picture, 5: video}


def merged(d, x):
    same = [t for t in d.pool if tuple(t.shape) == tuple(x.shape)]
    alike = [t for t in d.pool if len(t.shape) == len(x.shape) and tuple(t.shape[:-1]) == tuple(x.shape[:-1])]
    form = d.int(0, 3)
    if form == 3 and len(x.shape) == 3:
        return L.Dot(axes=d.one(1, 2, -1), normalize=d.some(0.4))([x, d.one(*same)])
    if form == 2:
        return L.Concatenate(axis=d.one(-1, len(x.shape) - 1))([x] + [d.one(*alike) for _ in range(d.int(1, 2))])
    kind = d.one("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    others = [d.one(*same) for _ in range(1 if kind == "Subtract" else d.int(1, 2))]
    return getattr(L, kind)()([x] + others)


def new_input(d):
    form = d.one("vector", "sequence", "sequence", "steps", "ids", "ids", "picture", "picture", "video")
    shape = {"vector": (d.int(2, 6),), "sequence": (d.int(2, 6), d.int(1, 4)), "steps": (d.int(3, 6), d.int(2, 4)), "ids": (d.int(2, 6),),
             "picture": (d.int(3, 7), d.int(3, 7), d.int(1, 4)), "video": (d.int(2, 4), d.int(2, 5), d.int(2, 5), d.int(1, 3))}[form]
    x = L.Input(shape, dtype="int32" if form == "ids" else None)
    d.inputs.append(x)
    d.kinds.append(form if form in ("ids", "steps") else "real")
    if form == "steps":
        return L.Masking(0.0)(x)
    if form == "ids":
        kw = dict(mask_zero=True) if d.some(0.6) else {}
        if d.some(0.2):
            kw["embeddings_regularizer"] = "l2"
        return L.Embedding(IDS, d.int(2, 4), **d.general(**kw))(x)
    return x


def data(d):
    out = []
    for k, (kind, x) in enumerate(zip(d.kinds, d.inputs)):
        shape = (N,) + tuple(x.shape[1:])
        if kind == "ids":
            a = np.floor((np.sin(np.arange(np.prod(shape)) * 2.3 + k) + 1) * 0.4999 * IDS).reshape(shape).astype("int32")
        else:
            a = make("real", shape, k)
            if kind == "steps":   # some steps are all zeros
                a = a * (np.sin(np.arange(np.prod(shape[:2])) * 1.9 + k) < 0.6).reshape(shape[:2] + (1,))
        out.append(a.astype("int32" if kind == "ids" else "float32"))
    return out


def build(d):
    d.pool = [new_input(d) for _ in range(d.one(1, 1, 1, 2))]
    x = d.pool[-1]
    for _ in range(d.int(1, 5)):
        if d.some(0.2):
            x = d.one(*d.pool)
        if d.some(0.15):
            y = merged(d, x)
        elif d.some(0.08) and len(x.shape) <= 4:   # a model within the model
            inner = Draw(d.rng.integers(1 << 30))
            i = L.Input(x.shape[1:])
            inner.pool = [i]
            j = BY_RANK[len(i.shape)](inner, i)
            j = L.Dense(3)(j)
            d.random, d.half = d.random or inner.random, d.half or inner.half
            nested = keras.Model(i, j)
            y = nested(x)
            if d.some(0.3):
                y = L.Add()([y, nested(x * 0.5)])
        elif len(x.shape) in BY_RANK:
            y = BY_RANK[len(x.shape)](d, x)
        else:
            y = L.Flatten()(x)
        if np.prod(y.shape[1:]) > 400:
            y = L.GlobalAveragePooling1D()(L.Reshape((-1, y.shape[-1]))(y))
        d.pool.append(y)
        x = y
    outputs = [x] if d.some(0.8) else [x, d.one(*d.pool[len(d.inputs) - 1:])]
    if len(outputs) == 2 and outputs[0] is outputs[1]:
        outputs = outputs[:1]
    return keras.Model(d.inputs if len(d.inputs) > 1 else d.inputs[0], outputs if len(outputs) > 1 else outputs[0])


# ---- what is stored ----

def sums(a):
    """Three sums that tell arrays apart, each about as large as an element."""
    a = np.asarray(a).astype("float64").reshape(-1)
    if a.size == 0:
        return [0, 0, 0]
    i = np.arange(a.size)
    n = a.size
    return [float("%.7g" % v) for v in (np.sum(a * np.sin(i * 0.7 + 0.3)) / n, np.sum(a * np.cos(i * 1.9 + 1)) / n, np.sum(np.abs(a)) / n)]


def described(a):
    a = np.asarray(a)
    return [list(a.shape)] + sums(a)


def as_list(y):
    return list(y) if isinstance(y, (list, tuple)) else [y]


def objective(outputs):
    total = 0.0
    for k, y in enumerate(outputs):
        y = ops.cast(y, "float32")
        wave = make("real", (int(np.prod(y.shape)),), k + 5).reshape(tuple(y.shape))
        total = total + ops.sum(y * wave) / float(np.sqrt(np.prod(y.shape)))
    return total


def gradients(model, xs, training):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape() as tape:
            loss = objective(as_list(model(xs if len(xs) > 1 else xs[0], training=training)))
        g = tape.gradient(loss, model.trainable_variables)
        return [None if v is None else np.asarray(tf.convert_to_tensor(v)) for v in g]
    import jax

    def f(t):
        ys, _ = model.stateless_call(t, [v.value for v in model.non_trainable_variables], xs if len(xs) > 1 else xs[0], training=training)
        return objective(as_list(ys))
    return [np.asarray(v) for v in jax.grad(f)([v.value for v in model.trainable_variables])]


def fill(model):
    start = [weight(w.name, tuple(w.shape), k + 0.5) for k, w in enumerate(model.weights)]
    for w, v in zip(model.weights, start):
        w.assign(v)


def finite(*arrays):
    return all(np.all(np.isfinite(np.asarray(a).astype("float64"))) and np.max(np.abs(np.asarray(a).astype("float64")), initial=0) < 1e4
               for a in arrays)


def optimizer(d):
    return d.one(
        lambda: O.SGD(0.05), lambda: O.SGD(0.05, momentum=0.9, nesterov=d.some(0.5)), lambda: O.Adam(0.01), lambda: O.AdamW(0.01, weight_decay=0.02),
        lambda: O.RMSprop(0.01, momentum=d.one(0.0, 0.5)), lambda: O.Adagrad(0.05), lambda: O.Adadelta(0.5), lambda: O.Nadam(0.01),
        lambda: O.Adam(0.01, clipnorm=0.5), lambda: O.SGD(0.1, global_clipnorm=1.0), lambda: O.Adamax(0.01), lambda: O.SGD(0.1, clipvalue=0.1))()


def case(seed):
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    d = Draw(seed)
    model = build(d)
    if len(model.weights) > 40 or len(model.layers) < 2:
        raise ValueError("too large or too small")
    fill(model)
    xs = data(d)
    given = xs if len(xs) > 1 else xs[0]
    ys = as_list(model(given, training=False))
    if not finite(*ys) or not any(np.any(np.asarray(y) != 0) for y in ys):
        raise ValueError("not finite, or nothing but zeros")
    out = {"model": json.loads(model.to_json()), "kinds": d.kinds, "shapes": [list(x.shape) for x in xs], "half": d.half,
           "outputs": [described(y) for y in ys], "random": d.random, "weights": [list(w.shape) for w in model.weights]}
    if d.half:
        return out
    training = not d.random
    if training:
        ys = as_list(model(given, training=True))
        if not finite(*ys):
            raise ValueError("not finite")
        out["trained"] = [described(y) for y in ys]
        fill(model)
    g = gradients(model, xs, training)
    if not finite(*[v for v in g if v is not None]):
        raise ValueError("not finite")
    out["gradients"] = [None if v is None else sums(v) for v in g]
    fill(model)
    if training and model.trainable_variables:
        o = optimizer(d)
        out["optimizer"] = json.loads(json.dumps(O.serialize(o), default=float))
        model.compile(o, "mse", run_eagerly=True)
        targets = [make("real", tuple(y.shape), 7 + k) for k, y in enumerate(ys)]
        found = []
        for _ in range(STEPS):
            v = model.train_on_batch(given, targets if len(targets) > 1 else targets[0])
            found.append(float("%.7g" % float(as_list(v)[0])))
        if not finite(found):
            raise ValueError("not finite")
        out["losses"] = found
        if isinstance(o, O.SGD):
            out["after"] = [sums(w.value) for w in model.weights]
    return out


def agreed(c):
    """The case without what one backend of Keras alone gives, or None."""
    def layers(config):
        for l in config["layers"]:
            if "layers" in l["config"]:
                yield from layers(l["config"])
            else:
                yield l["class_name"], l["config"]
    o = c.get("optimizer", {"config": {}})["config"]
    for name, config in layers(c["model"]["config"]):
        # TensorFlow adds a bias of shape (n, 1) to the last axis, or the second, where that has n
        if name == "EinsumDense" and config["bias_axes"] == "z" and config["equation"].endswith("zy"):
            sizes = config["output_shape"]
            if sizes[-2] in (sizes[-1], sizes[0]):
                return None
        # layers that make their parts when they are built are frozen only once they are
        if name in ("MultiHeadAttention", "GroupQueryAttention") and not config["trainable"]:
            c = {k: v for k, v in c.items() if k not in ("gradients", "trained", "optimizer", "losses", "after")}
        # TensorFlow's gradients of embeddings are rows; what squares or clips them sees those of one id apart
        if name == "Embedding" and (o.get("name") != "sgd" or any(o.get(k) for k in ("clipnorm", "clipvalue", "global_clipnorm"))):
            c = {k: v for k, v in c.items() if k not in ("optimizer", "losses", "after")}
    return c


def write(path, found):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for i in range(0, len(found), PART):
            text = json.dumps(found[i:i + PART], separators=(",", ":"))
            z.writestr(zipfile.ZipInfo("part%02d.json" % (i // PART + 1), (2020, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    path = sys.argv[3] if len(sys.argv) > 3 else os.path.join(HERE, "..", "fixtures", "random", "keras_%d.zip" % seed)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    found, tried, why = [], 0, {}
    while len(found) < count:
        tried += 1
        try:
            c = case([seed, tried])
        except Exception as e:   # Keras refuses it, or the numbers are of no use: another one
            text = "%s: %s" % (type(e).__name__, str(e).split("\n")[0][:90])
            why[text] = why.get(text, 0) + 1
            continue
        c["id"] = "%d.%d" % (seed, tried)
        c = agreed(c)
        if not c:
            continue
        found.append(c)
        if len(found) % PART == 0:
            print(len(found), "of", tried, flush=True)
            write(path, found)
    for text, n in sorted(why.items(), key=lambda kv: -kv[1])[:12]:
        print(n, text)
    write(path, found)
    print(os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()

"""Models of real Keras with every layer that Tide has under unusual options, op nodes, nested and shared models, and all
optimizers, losses and metrics after some steps of training. Tide must read them, compute and train as Keras does, and write
them back so that Keras reads them again.

    python spec/ref/keras_zoo.py make [PREFIX]      writes spec/fixtures/zoo/NAME.keras (deflated) and NAME.json with what is
                                           expected, of all names or of those that begin so
    lua5.4 -e 'require("spec.support.keras_zoo").write "FOLDER"'      reads them with Tide and writes them again
    python spec/ref/keras_zoo.py open FOLDER > spec/ref/keras_zoo.txt      opens those in Keras: the largest difference of
                                           outputs, or of weights after one more step, and a checksum of each configuration
Needs keras >= 3.15 with the JAX backend, numpy."""
import json
import os
import sys
import zipfile
import zlib

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
import keras
import numpy as np
from keras import constraints, initializers, layers as L, losses, metrics, ops, optimizers, regularizers

import keras_zoo_sequences
from keras_models import fill, inputs, wave

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "zoo")

# (class, options, shape without the batch, dtype)
ROWS = {
 "core": [
  ("Dense", dict(units=3, activation="swish", use_bias=False, kernel_initializer="he_normal", kernel_regularizer="l1", activity_regularizer="l2"), (4,), None),
  ("Dense", dict(units=2, activation="log_softmax", bias_initializer=initializers.Constant(0.3), bias_constraint="non_neg"), (2, 4), None),
  ("Dense", dict(units=2, kernel_initializer=initializers.VarianceScaling(2.0, "fan_avg", "uniform", seed=3), kernel_constraint=constraints.MinMaxNorm(0.1, 2.0, 0.5, axis=1), trainable=False), (4,), None),
  ("Embedding", dict(input_dim=20, output_dim=3, embeddings_regularizer=regularizers.L1(0.1), embeddings_constraint="unit_norm"), (5,), "int32"),
  ("Embedding", dict(input_dim=20, output_dim=3, mask_zero=True, embeddings_initializer="ones"), (2, 3), "int32"),
  ("Identity", dict(), (3,), None),
  ("Masking", dict(mask_value=0.25), (4, 3), None),
  ("Rescaling", dict(scale=0.5, offset=-1.0), (4, 3), None),
  ("Rescaling", dict(scale=[0.5, 1.0, 2.0], offset=[1.0, 2.0, 3.0]), (4, 3), None),
  ("Activation", dict(activation="hard_silu"), (4, 3), None),
  ("Activation", dict(activation="softmax"), (4, 3), None),
  ("ReLU", dict(max_value=1.5, negative_slope=0.1, threshold=0.2), (7,), None),
  ("LeakyReLU", dict(negative_slope=0.05), (7,), None),
  ("PReLU", dict(alpha_initializer="ones", shared_axes=[1]), (4, 3), None),
  ("ELU", dict(alpha=0.3), (7,), None),
  ("Softmax", dict(axis=1), (4, 3), None),
  ("Softmax", dict(axis=[1, 2]), (4, 3), None),
  ("Flatten", dict(data_format="channels_first"), (4, 3, 2), None),
  ("Reshape", dict(target_shape=(-1, 2)), (4, 3), None),
  ("Permute", dict(dims=(3, 1, 2)), (4, 3, 2), None),
  ("RepeatVector", dict(n=3), (4,), None),
  ("Dropout", dict(rate=0.4, noise_shape=[None, 1, 3], seed=5), (4, 3), None),
  ("SpatialDropout1D", dict(rate=0.4), (4, 3), None),
  ("SpatialDropout2D", dict(rate=0.4, data_format="channels_first"), (4, 3, 2), None),
  ("SpatialDropout3D", dict(rate=0.4), (4, 3, 2, 2), None),
  ("AlphaDropout", dict(rate=0.4), (4, 3), None),
  ("GaussianDropout", dict(rate=0.4), (4, 3), None),
  ("GaussianNoise", dict(stddev=0.4), (4, 3), None),
  ("ActivityRegularization", dict(l1=0.1, l2=0.2), (4, 3), None),
 ] + [("Activation", dict(activation=a), (5,), None) for a in
   "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus sparse_sigmoid squareplus swish tanh tanh_shrink".split()]
 + [("Activation", dict(activation="glu"), (6,), None)],
 "conv": [
  ("Conv1D", dict(filters=4, kernel_size=3, strides=2, padding="causal", groups=2), (9, 4), None),
  ("Conv1D", dict(filters=4, kernel_size=[2], dilation_rate=2, data_format="channels_first", use_bias=False), (3, 9), None),
  ("Conv2D", dict(filters=4, kernel_size=(3, 2), strides=(2, 1), padding="same", activation="relu6", kernel_initializer="orthogonal"), (7, 6, 3), None),
  ("Conv2D", dict(filters=2, kernel_size=3, data_format="channels_first", dilation_rate=(1, 2)), (3, 7, 8), None),
  ("Conv3D", dict(filters=2, kernel_size=(2, 1, 3), padding="same", strides=(1, 2, 1)), (4, 5, 3, 2), None),
  ("Conv1DTranspose", dict(filters=2, kernel_size=3, strides=3, padding="same"), (5, 3), None),
  ("Conv1DTranspose", dict(filters=2, kernel_size=2, strides=2, output_padding=1, data_format="channels_first"), (3, 5), None),
  ("Conv2DTranspose", dict(filters=2, kernel_size=(2, 3), strides=(2, 2), padding="valid", output_padding=(1, 1)), (4, 3, 2), None),
  ("Conv2DTranspose", dict(filters=2, kernel_size=3, dilation_rate=2, data_format="channels_first"), (2, 4, 3), None),
  ("Conv3DTranspose", dict(filters=2, kernel_size=2, strides=2, padding="same", use_bias=False), (3, 2, 2, 2), None),
  ("DepthwiseConv1D", dict(kernel_size=3, strides=2, depth_multiplier=2, padding="same"), (7, 3), None),
  ("DepthwiseConv2D", dict(kernel_size=(3, 2), depth_multiplier=2, data_format="channels_first", dilation_rate=(1, 2), activation="tanh"), (3, 6, 7), None),
  ("SeparableConv1D", dict(filters=4, kernel_size=3, depth_multiplier=2, padding="same", dilation_rate=2), (7, 3), None),
  ("SeparableConv2D", dict(filters=4, kernel_size=(2, 3), depth_multiplier=2, strides=2, data_format="channels_first", use_bias=False), (3, 6, 7), None),
 ],
 "pool": [
  ("MaxPooling1D", dict(pool_size=3, strides=2, padding="same", data_format="channels_first"), (3, 8), None),
  ("MaxPooling2D", dict(pool_size=(3, 2), strides=(1, 2), padding="same"), (7, 6, 2), None),
  ("MaxPooling2D", dict(data_format="channels_first"), (2, 7, 6), None),
  ("MaxPooling3D", dict(pool_size=(1, 2, 2)), (3, 4, 4, 2), None),
  ("AveragePooling1D", dict(pool_size=3, strides=2, padding="same"), (8, 3), None),
  ("AveragePooling2D", dict(pool_size=3, strides=2, padding="same", data_format="channels_first"), (2, 7, 6), None),
  ("AveragePooling3D", dict(pool_size=2, padding="same"), (3, 4, 3, 2), None),
  ("GlobalMaxPooling1D", dict(keepdims=True), (4, 3), None),
  ("GlobalMaxPooling2D", dict(data_format="channels_first"), (3, 4, 2), None),
  ("GlobalMaxPooling3D", dict(keepdims=True), (3, 4, 2, 2), None),
  ("GlobalAveragePooling1D", dict(data_format="channels_first", keepdims=True), (4, 3), None),
  ("GlobalAveragePooling2D", dict(keepdims=True), (4, 3, 2), None),
  ("GlobalAveragePooling3D", dict(data_format="channels_first"), (2, 4, 3, 2), None),
  ("AdaptiveAveragePooling1D", dict(output_size=3), (7, 2), None),
  ("AdaptiveAveragePooling2D", dict(output_size=(3, 2)), (7, 5, 2), None),
  ("AdaptiveAveragePooling3D", dict(output_size=2), (5, 4, 3, 2), None),
  ("AdaptiveMaxPooling1D", dict(output_size=3, data_format="channels_first"), (2, 7), None),
  ("AdaptiveMaxPooling2D", dict(output_size=(3, 2)), (7, 5, 2), None),
  ("AdaptiveMaxPooling3D", dict(output_size=(2, 3, 1)), (5, 4, 3, 2), None),
  ("ZeroPadding1D", dict(padding=(1, 2)), (4, 3), None),
  ("ZeroPadding2D", dict(padding=((1, 0), (2, 1)), data_format="channels_first"), (2, 3, 4), None),
  ("ZeroPadding3D", dict(padding=(1, 0, 2)), (2, 3, 2, 2), None),
  ("Cropping1D", dict(cropping=(1, 0)), (4, 3), None),
  ("Cropping2D", dict(cropping=((1, 0), (0, 1))), (4, 3, 2), None),
  ("Cropping3D", dict(cropping=1), (4, 3, 4, 2), None),
  ("UpSampling1D", dict(size=3), (4, 3), None),
  ("UpSampling2D", dict(size=(2, 3), interpolation="bilinear"), (4, 3, 2), None),
  ("UpSampling2D", dict(size=2, data_format="channels_first"), (2, 4, 3), None),
  ("UpSampling3D", dict(size=(1, 2, 2)), (2, 3, 2, 2), None),
 ],
 "norm": [
  ("BatchNormalization", dict(axis=1, momentum=0.7, epsilon=0.01), (4, 3), None),
  ("BatchNormalization", dict(center=False, scale=False), (4, 3, 2), None),
  ("BatchNormalization", dict(center=False, gamma_regularizer="l2"), (3,), None),
  ("LayerNormalization", dict(axis=[1, 2], epsilon=0.01), (4, 3), None),
  ("LayerNormalization", dict(scale=False), (4, 3), None),
  ("LayerNormalization", dict(center=False, axis=1), (4, 3), None),
  ("GroupNormalization", dict(groups=2, axis=-1, epsilon=0.01), (5, 4), None),
  ("GroupNormalization", dict(groups=-1, axis=1), (4, 5, 2), None),
  ("RMSNormalization", dict(axis=-1, epsilon=0.01), (4, 3), None),
  ("UnitNormalization", dict(axis=[1, 2]), (4, 3), None),
  ("UnitNormalization", dict(axis=-1), (4, 3), None),
  ("Normalization", dict(axis=-1), (4, 3), None),
  ("Normalization", dict(axis=None), (4, 3), None),
  ("Normalization", dict(axis=[1, 2], invert=True), (4, 3), None),
  ("Normalization", dict(mean=1.5, variance=2.0), (4, 3), None),
  ("Normalization", dict(axis=2, mean=[1.5, 2.0, 3.0], variance=[2.0, 1.0, 0.5], invert=True), (4, 3), None),
 ],
}

def rows_model(name):
    ins, outs = [], []
    for i, (cls, kw, shape, dtype) in enumerate(ROWS[name]):
        x = L.Input(shape, dtype=dtype, name="in%d" % i)
        layer = getattr(L, cls)(name="l%d_%s" % (i, cls.lower()), **kw)
        if cls == "Normalization" and "mean" not in kw:
            layer.adapt(wave((6,) + shape, i) * 3)
        ins.append(x); outs.append(layer(x))
    return keras.Model(ins, outs, name="rows_" + name)

def merge():
    a, b, c = (L.Input((3, 4), name=n) for n in "abc")
    row = [L.Add()([a, b, c]), L.Subtract()([a, b]), L.Multiply()([a, b, c]), L.Average()([a, b]), L.Maximum()([a, b, c]), L.Minimum()([a, b]),
           L.Concatenate(axis=1)([a, b]), L.Concatenate(axis=-1)([a, b, c]), L.Dot(axes=(1, 1))([a, b]), L.Dot(axes=2, normalize=True)([a, b]), L.Dot(axes=-1)([a, b])]
    return keras.Model([a, b, c], row, name="merge")

def graph_ops():
    a = L.Input((6, 4), name="a"); b = L.Input((6, 4), name="b")
    x = L.Dense(4, name="d")(a)
    y = 1.0 - x * 2 + b / 3.0
    z = ops.concatenate([y, x[:, :, 1:3]], axis=-1)
    w = x[:, 0] + y[:, -1]
    v = ops.expand_dims(w, 1) * ops.softmax(y, axis=1)
    u = ops.reshape(v, (-1, 24))
    t = ops.transpose(y, (0, 2, 1)) @ x
    s = ops.stack([w, w * 2], axis=1)
    r = ops.where(x > 0, x, ops.exp(y))
    q = -x ** 2
    p = ops.clip(x, -0.5, 0.5)
    o = ops.sum(ops.abs(y), axis=[1, 2])
    n = ops.max(y, axis=-1, keepdims=True)
    m = ops.matmul(x, ops.transpose(b, (0, 2, 1)))
    l = ops.squeeze(ops.mean(x, axis=1, keepdims=True), axis=1)
    k = ops.einsum("bij,bkj->bik", x, y)
    j = ops.cast(x > 0.1, "float32")
    i = ops.tile(w, (1, 2)); h = ops.repeat(w, 2, axis=1); g = ops.pad(w, ((0, 0), (1, 2))); f = ops.flip(x, axis=1)
    e = ops.square(ops.sqrt(ops.abs(x) + 1.0)) // 0.5
    sp = ops.split(x, 2, axis=1)
    mm = ops.minimum(x, ops.maximum(y, 0.0))
    xs = ops.argmax(x, axis=-1)
    return keras.Model({"a": a, "b": b}, {"z": z, "v": v, "u": u, "t": t, "s": s, "r": r, "q": q, "p": p, "o": o, "n": n, "m": m, "l": l, "k": k, "j": j,
       "i": i, "h": h, "g": g, "f": f, "e": e, "sp": sp[1], "mm": mm}, name="graph_ops")

def nested():
    i1 = L.Input((4,), name="i1")
    core = keras.Sequential([L.Dense(4, activation="tanh"), L.Dense(4)], name="core")   # deferred build
    sub_in = [L.Input((4,), name="s1"), L.Input((4,), name="s2")]
    h = L.Add()([core(sub_in[0]), sub_in[1]])
    sub = keras.Model(sub_in, [h, L.Dense(2, name="sd")(h)], name="sub")
    deep = keras.Sequential([L.Input((4,)), keras.Sequential([L.Input((4,)), L.Dense(3, name="dd"), L.BatchNormalization(name="dbn")], name="deep_in"), L.Dense(4, name="de")], name="deep")
    x, y = sub([i1, deep(i1)])
    z, t = sub([x, i1])
    shared = L.Dense(4, name="shared")
    u = shared(shared(z) + deep(z))
    return keras.Model(i1, [u, y, t], name="nested")

def sequential_deferred():
    m = keras.Sequential([L.Conv1D(3, 2), L.GlobalMaxPooling1D(), L.Dense(2, "softplus")], name="deferred")
    m.build((None, 5, 2))
    return m

def dict_in():
    a = L.Input((3,), name="left"); b = L.Input((2,), name="right")
    x = L.Concatenate()([L.Dense(4, name="la")(a), L.Dense(4, name="lb")(b)])
    return keras.Model({"left": a, "right": b}, {"one": L.Dense(2, name="one_d")(x), "two": [L.Dense(1, name="two_a")(x), L.Dense(1, name="two_b")(x)]}, name="dict_in")

def masks():
    i = L.Input((6,), dtype="int32", name="tok")
    x = L.Embedding(20, 4, mask_zero=True)(i)
    x = L.Dense(3)(x)
    y = L.GlobalAveragePooling1D()(x)
    return keras.Model(i, y, name="masks")

def frozen():
    base = keras.Sequential([L.Input((4,)), L.Dense(3, name="fa"), L.BatchNormalization(name="fb")], name="base")
    base.trainable = False
    d = L.Dense(3, name="half"); 
    x = L.Input((4,)); y = d(base(x)); y = L.Dense(2, name="free")(y)
    d.trainable = False
    return keras.Model(x, y, name="frozen")

MODELS = {**{"rows_" + n: (lambda n=n: rows_model(n)) for n in ROWS}, "merge": merge, "graph_ops": graph_ops, "nested": nested, "deferred": sequential_deferred,
          "dict_in": dict_in, "masks": masks, "frozen": frozen, **keras_zoo_sequences.MODELS}

S = optimizers.schedules
OPT = {
 "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
 "sgd_plain": lambda: optimizers.SGD(0.05, clipvalue=0.1),
 "sgd_ema": lambda: optimizers.SGD(0.05, momentum=0.5, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2),
 "adam": lambda: optimizers.Adam(S.CosineDecay(0.02, 10, alpha=0.1, warmup_target=0.05, warmup_steps=3), amsgrad=True, beta_1=0.8),
 "adam_accum": lambda: optimizers.Adam(0.02, gradient_accumulation_steps=2),
 "adam_global": lambda: optimizers.Adam(0.02, global_clipnorm=0.3, epsilon=1e-4, loss_scale_factor=4.0),
 "adamw": lambda: optimizers.AdamW(S.PiecewiseConstantDecay([1, 2], [0.05, 0.02, 0.01]), weight_decay=0.1, clipnorm=0.5),
 "rmsprop": lambda: optimizers.RMSprop(S.PolynomialDecay(0.01, 5, 0.001, power=2.0, cycle=True), momentum=0.5, centered=True, rho=0.8),
 "nadam": lambda: optimizers.Nadam(S.InverseTimeDecay(0.02, 2, 0.5, staircase=True)),
 "adagrad": lambda: optimizers.Adagrad(0.05, initial_accumulator_value=0.2),
 "adamax": lambda: optimizers.Adamax(S.CosineDecayRestarts(0.02, 2, t_mul=1.5, m_mul=0.9, alpha=0.1)),
 "adadelta": lambda: optimizers.Adadelta(0.9, rho=0.9),
 "lion": lambda: optimizers.Lion(0.01, beta_1=0.8, weight_decay=0.1),
 "ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=0.001, l2_shrinkage_regularization_strength=0.01, beta=0.1),
 "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.02), initial_scale=8.0),
 "loss_scale_grown": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.02, momentum=0.5), initial_scale=1024.0, dynamic_growth_steps=2),
 "multi": lambda: optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD(0.05, momentum=0.9), {".*/kernel": optimizers.Adam(0.02)})),
 "adafactor": lambda: optimizers.Adafactor(0.05),
 "lamb": lambda: optimizers.Lamb(S.ExponentialDecay(0.02, 2, 0.9), weight_decay=0.01),
 "muon": lambda: optimizers.Muon(0.02, exclude_layers=["dense_[0-9]+/"], rms_rate=None),
 "schedule_free": lambda: optimizers.ScheduleFreeAdamW(0.02, warmup_steps=2),
}

def optimizer_model(name):
    m = keras.Sequential([L.Input((4,)), L.Dense(3, activation="tanh"), L.BatchNormalization(), L.Dense(2)], name="opt_" + name)
    fill(m)
    m.compile(OPT[name](), "mse")
    return m, wave((6, 4), 1), wave((6, 2), 2)

onehot = np.eye(3, dtype="float32")[[0, 2, 1, 1, 0, 2]]
sparse = np.array([[0], [2], [1], [1], [0], [2]], dtype="int32")
binary = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [1, 1], [0, 1]], dtype="float32")

def cm(name, out, act, loss, ms, y, **kw):
    m = keras.Sequential([L.Input((4,)), L.Dense(5, activation="tanh"), L.Dense(out, activation=act)], name="loss_" + name)
    fill(m)
    m.compile(optimizers.SGD(0.05), loss, metrics=ms, **kw)
    return m, wave((6, 4), 1), y

LOSS = {
 "cce": lambda: cm("cce", 3, "softmax", losses.CategoricalCrossentropy(label_smoothing=0.1), ["accuracy", "categorical_accuracy", metrics.AUC(curve="PR", num_thresholds=50), metrics.TopKCategoricalAccuracy(2), metrics.F1Score(average="macro"), metrics.Precision(top_k=1, class_id=1), "categorical_crossentropy"], onehot),
 "cce_logits": lambda: cm("cce_logits", 3, None, losses.CategoricalCrossentropy(from_logits=True, axis=-1, reduction="sum"), ["acc", "kl_divergence", "categorical_hinge"], onehot),
 "scce": lambda: cm("scce", 3, "softmax", "sparse_categorical_crossentropy", ["accuracy", metrics.SparseTopKCategoricalAccuracy(2, name="top"), "sparse_categorical_crossentropy"], sparse),
 "scce_obj": lambda: cm("scce_obj", 3, None, losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), [metrics.SparseCategoricalAccuracy(), "sparse_categorical_accuracy", metrics.MeanIoU(num_classes=3, sparse_y_pred=False)], sparse),
 "bce": lambda: cm("bce", 2, "sigmoid", "binary_crossentropy", ["accuracy", "binary_accuracy", metrics.AUC(multi_label=True, num_labels=2), metrics.Precision(0.4), metrics.Recall(), metrics.TruePositives(), metrics.FalseNegatives([0.3, 0.6]), metrics.SensitivityAtSpecificity(0.5), metrics.PrecisionAtRecall(0.5), metrics.FBetaScore(beta=2.0, threshold=0.5), metrics.BinaryIoU(target_class_ids=[0, 1], threshold=0.4)], binary),
 "bce_focal": lambda: cm("bce_focal", 2, None, losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=1.5, from_logits=True), [metrics.BinaryAccuracy(threshold=0.2)], binary),
 "cfocal": lambda: cm("cfocal", 3, "softmax", losses.CategoricalFocalCrossentropy(alpha=0.3), [metrics.OneHotMeanIoU(num_classes=3)], onehot),
 "mse": lambda: cm("mse", 2, None, "mse", ["mae", "mse", "mape", "msle", "cosine_similarity", metrics.LogCoshError(), metrics.RootMeanSquaredError(), metrics.R2Score(class_aggregation="variance_weighted_average"), "poisson"], np.abs(wave((6, 2), 2)) + 0.5),
 "huber": lambda: cm("huber", 2, None, losses.Huber(), ["mean_absolute_error"], wave((6, 2), 2)),
 "weighted": lambda: cm("weighted", 2, None, losses.MeanAbsoluteError(reduction="mean"), ["mse"], wave((6, 2), 2), weighted_metrics=["mae"]),
 "cosine": lambda: cm("cosine", 2, None, losses.CosineSimilarity(axis=-1), [metrics.CosineSimilarity(axis=-1)], wave((6, 2), 2)),
 "misc": lambda: cm("misc", 2, "softplus", [losses.Poisson()], [["poisson", "mae"]], np.abs(wave((6, 2), 2))),
 "tversky": lambda: cm("tversky", 2, "sigmoid", losses.Tversky(alpha=0.3, beta=0.7), [], binary),
 "dice": lambda: cm("dice", 2, "sigmoid", "dice", [], binary),
 "hinge": lambda: cm("hinge", 2, None, "squared_hinge", ["hinge", "squared_hinge"], binary),
 "gce": lambda: cm("gce", 3, "softmax", losses.CategoricalGeneralizedCrossEntropy(q=0.6), [], sparse[:, 0]),
}

def multi():
    a = L.Input((4,), name="a")
    h = L.Dense(4, activation="tanh", name="h")(a)
    m = keras.Model(a, {"p": L.Dense(3, activation="softmax", name="p")(h), "q": L.Dense(2, name="q")(h)}, name="loss_multi")
    fill(m)
    m.compile(optimizers.Adam(0.01), {"p": "sparse_categorical_crossentropy", "q": losses.Huber()}, loss_weights={"p": 1.0, "q": 0.3},
              metrics={"p": ["accuracy"], "q": [metrics.MeanAbsoluteError(name="err")]}, weighted_metrics={"q": ["mse"]})
    return m, wave((6, 4), 1), {"p": sparse, "q": wave((6, 2), 2)}

def multi_list():
    a = L.Input((4,), name="a"); b = L.Input((4,), name="b")
    h = L.Add()([a, L.Dense(4, activation="tanh", name="h", activity_regularizer="l2", kernel_regularizer=regularizers.OrthogonalRegularizer(0.01))(b)])
    m = keras.Model([a, b], [L.Dense(3, activation="softmax", name="p")(h), L.Dense(2, name="q")(h)], name="loss_multi_list")
    fill(m)
    m.compile("rmsprop", ["categorical_crossentropy", "mse"], loss_weights=[1.0, 0.3], metrics=[["accuracy"], ["mae", "mse"]])
    return m, [wave((6, 4), 1), wave((6, 4), 3)], [onehot, wave((6, 2), 2)]

LOSS["multi"] = multi
LOSS["multi_list"] = multi_list

def js(v):
    if isinstance(v, dict): return {k: js(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [js(x) for x in v]
    v = np.asarray(v, dtype="float32" if str(getattr(v, "dtype", "")) == "bfloat16" else None)
    return {"shape": list(v.shape), "dtype": "float32" if v.dtype.kind == "f" else "int32" if v.dtype.kind in "iu" else str(v.dtype), "data": [bool(x) if v.dtype.kind == "b" else float("%.9g" % x) if v.dtype.kind == "f" else int(x) for x in v.reshape(-1)]}

def dump(name, d):
    with open(os.path.join(FOLDER, name + ".json"), "w") as f:
        json.dump(d, f, separators=(",", ":"))


def save(model, name):
    """Keras stores the members of its archives as they are; deflated they take a tenth."""
    path = os.path.join(FOLDER, name + ".keras")
    model.save(path)
    with zipfile.ZipFile(path) as z:
        members = [(n, z.read(n)) for n in z.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name, data in members:
            z.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


def fill_some(model):
    """Values by formula for all but what adapt() and random generators hold."""
    k = 0
    for w in model.weights:
        name = w.path.split("/")[-1]
        if "normalization/" in w.path and name in ("mean", "variance") or name in ("count", "seed_generator_state"):
            continue
        v = 0.4 * wave(w.shape, k)
        w.assign(np.abs(v) + 0.5 if name.startswith("moving_variance") else v)
        k += 1


def run(model, xs):
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
    return model(xs if len(xs) > 1 else xs[0], training=False)


def make(prefix=""):
    os.makedirs(FOLDER, exist_ok=True)
    for name, build in MODELS.items():
        if not name.startswith(prefix):
            continue
        m = build()
        fill_some(m)
        save(m, name)
        xs = inputs(m)
        dump(name, {"inputs": js(xs), "outputs": js(run(m, xs))})
    trained = [("opt_" + name, lambda name=name: optimizer_model(name)) for name in OPT]
    trained += [("loss_" + name, build) for name, build in LOSS.items()] + list(keras_zoo_sequences.TRAINED.items())
    for name, build in trained:
        if not name.startswith(prefix):
            continue
        m, x, y = build()
        for _ in range(3 if name == "opt_adam_accum" else 2):
            m.train_on_batch(x, y)
        save(m, name)
        logs = {k: np.nan_to_num(np.asarray(v)).tolist() for k, v in m.evaluate(x, y, verbose=0, return_dict=True).items()}
        m.reset_metrics()
        m.train_on_batch(x, y)
        dump(name, {"x": js(x), "y": js(y), "evaluate": logs, "after": [js(w) for w in m.weights],
                    "iterations": int(m.optimizer.iterations)})


def unjs(v):
    if isinstance(v, dict) and "data" in v and "shape" in v and "dtype" in v:
        return np.array(v["data"], dtype=v["dtype"]).reshape(v["shape"])
    if isinstance(v, dict):
        return {k: unjs(x) for k, x in v.items()}
    return [unjs(x) for x in v]


def far(a, b):
    """The largest difference of two structures of arrays."""
    if isinstance(b, dict):
        return max([far(a[k], v) for k, v in b.items()] + [0.0])
    if isinstance(b, (list, tuple)):
        return max([far(x, y) for x, y in zip(a, b)] + [0.0 if len(a) == len(b) else np.inf])
    a = np.asarray(a)
    return float(np.max(np.abs(a.astype("float64") - b))) if a.shape == b.shape else np.inf


def open_one(path, name):
    with open(os.path.join(FOLDER, name + ".json")) as f:
        want = json.load(f)
    m = keras.models.load_model(path)
    if "inputs" in want:
        outputs = far(run(m, unjs(want["inputs"])), unjs(want["outputs"]))
        m.load_weights(path.replace(".keras", ".weights.h5"))
        again = far(run(m, unjs(want["inputs"])), unjs(want["outputs"]))
        legacy = keras.models.load_model(path.replace(".keras", ".h5"))
        h5 = far(run(legacy, unjs(want["inputs"])), unjs(want["outputs"]))
        return "outputs differ by %.2g, after .weights.h5 by %.2g, of .h5 by %.2g" % (outputs, again, h5)
    x, y = unjs(want["x"]), unjs(want["y"])
    logs = m.evaluate(x, y, verbose=0, return_dict=True)
    loss = max(far(np.nan_to_num(logs[k]), np.asarray(v)) for k, v in want["evaluate"].items())
    m.reset_metrics()
    m.train_on_batch(x, y)
    step = far([np.asarray(w) for w in m.weights], unjs(want["after"]))
    return "%s at %d, loss and metrics differ by %.2g, weights after a step by %.2g" % (
        m.optimizer.name, int(m.optimizer.iterations) - 1, loss, step)


def open_(folder):
    print("Keras %s (jax backend) on what Tide read from spec/fixtures/zoo and wrote again" % keras.__version__)
    for f in sorted(os.listdir(folder)):
        name, extension = os.path.splitext(f)
        if extension == ".keras":
            path = os.path.join(folder, f)
            with zipfile.ZipFile(path) as z:
                checksum = zlib.crc32(z.read("config.json"))
            print("%s: %s; config %08x" % (name, open_one(path, name), checksum), flush=True)


if __name__ == "__main__":
    {"make": make, "open": open_}[sys.argv[1]](*sys.argv[2:])

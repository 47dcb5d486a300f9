"""Configurations drawn at random, computed by the real Keras: writes spec/ref/variety.lua, which spec/variety_spec.lua reads.

Run: KERAS_BACKEND=tensorflow python spec/ref/variety.py   (Keras 3.15)
Inputs and weights follow formula.py; rows hold options and results. Options are written as Tide takes them: axes, labels and
classes count from 1.
"""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import random
import numpy as np
import keras
import tensorflow as tf
from keras import layers as L, losses, metrics, optimizers
from formula import make, weight
from formula import make, weight
from luawrite import lua

rnd = random.Random(20)
rows = []


def pick(*values):
    return rnd.choice(values)


def values(v):
    return [float("%.6g" % x) for x in np.asarray(v, "float64").ravel()]


# ---- layers ----

AXES = {"axis", "axes"}


def up(v):
    return [up(x) for x in v] if isinstance(v, (list, tuple)) else v + 1 if v >= 0 else v


def layer(cls, shapes, args, training=None, tide=None):
    shapes = shapes if isinstance(shapes[0], tuple) else [shapes]
    one = len(shapes) == 1
    x = [tf.Variable(make("real", s, i)) for i, s in enumerate(shapes)]
    if "softmax" in str(args.get("activation")) and args.pop("data_format", None):  # Keras' softmax is of the last axis
        shapes = [s[:1] + s[2:] + s[1:2] for s in shapes]
    first = args.get("data_format") == "channels_first" and cls != "Flatten"  # TensorFlow on a CPU has channels last only
    try:
        m = getattr(L, cls)(**{k: v for k, v in args.items() if not (first and k == "data_format")})

        def run():
            if not first:
                return m(x[0] if one else list(x), **({} if training is None else {"training": training}))
            n = len(shapes[0])
            y = m(tf.transpose(x[0], [0, *range(2, n), 1]))
            return tf.transpose(y, [0, n - 1, *range(1, n - 1)]) if len(y.shape) > 2 else y
        run()
        m.set_weights([weight(w.name, tuple(w.shape), i) for i, w in enumerate(m.weights)])
        with tf.GradientTape() as tape:
            y = run()
            loss = tf.reduce_sum(y * make("real", tuple(y.shape), 5))
        variables = [v.value for v in m.trainable_variables]
        grads = [tf.convert_to_tensor(g) if g is not None else tf.zeros_like(v)
                 for g, v in zip(tape.gradient(loss, x + variables), x + variables)]
    except Exception as e:
        print("left out:", cls, args, str(e)[:90].replace("\n", " "), flush=True)
        return
    given = {k: (up(v) if k in AXES else v) for k, v in args.items() if v is not None}
    given.update(tide or {})
    rows.append(dict(kind="layer", class_=cls, shapes=shapes, args=given, training=training, shape=list(y.shape), y=values(y),
                     dx=[values(g) for g in grads[:len(x)]], dw=[values(g) for g in grads[len(x):]],
                     state=[values(v) for v in m.non_trainable_variables]))


ACT = [None, "relu", "tanh", "gelu", "swish", "softplus", "elu", "selu", "hard_sigmoid", "relu6", "leaky_relu", "exponential",
       "mish", "softsign", "log_softmax", "softmax", "hard_silu", "celu", "hard_tanh", "squareplus", "soft_shrink"]


def data_format(shape, args):
    if rnd.random() < 0.3:
        args["data_format"] = "channels_first"
        return (shape[0], shape[-1]) + shape[1:-1]
    return shape


def sizes(rank, low=1, high=3):
    return pick(rnd.randint(low, high), tuple(rnd.randint(low, high) for _ in range(rank)))


for _ in range(14):
    layer("Dense", (2,) + pick((), (3,), (2, 2)) + (5,), dict(units=rnd.randint(1, 4), activation=pick(*ACT), use_bias=pick(True, False)))
for _ in range(26):
    rank = pick(1, 1, 2, 2, 3)
    groups = pick(1, 1, 2)
    args = dict(filters=2 * rnd.randint(1, 2), kernel_size=sizes(rank), padding=pick("valid", "same", *(["causal"] if rank == 1 else [])),
                groups=groups, activation=pick(None, *ACT), use_bias=pick(True, False))
    args[pick("strides", "dilation_rate")] = sizes(rank, 1, 2)
    shape = (2,) + tuple(rnd.randint(5, 6) for _ in range(rank)) + (2 * groups,)
    if args["padding"] != "causal":
        shape = data_format(shape, args)
    layer("Conv%dD" % rank, shape, args)
for _ in range(14):
    rank = pick(1, 2, 2, 3)
    args = dict(filters=rnd.randint(1, 3), kernel_size=sizes(rank), strides=sizes(rank, 1, 3), padding=pick("valid", "same"),
                activation=pick(None, *ACT), use_bias=pick(True, False))
    layer("Conv%dDTranspose" % rank, data_format((1,) + (3,) * rank + (2,), args), args)
for _ in range(12):
    rank = pick(1, 2)
    stride = pick(1, 2)
    args = dict(kernel_size=sizes(rank), strides=stride, padding=pick("valid", "same"), depth_multiplier=pick(1, 2),
                activation=pick(None, *ACT), use_bias=pick(True, False), dilation_rate=1 if stride > 1 else pick(1, 2))
    kind = pick("Depthwise", "Separable")
    if kind == "Separable":
        args["filters"] = rnd.randint(1, 3)
    layer("%sConv%dD" % (kind, rank), data_format((2,) + (6,) * rank + (2,), args), args)
for _ in range(18):
    rank = pick(1, 2, 3)
    args = dict(pool_size=sizes(rank, 1, 3), strides=pick(None, sizes(rank, 1, 3)), padding=pick("valid", "same"))
    layer("%sPooling%dD" % (pick("Max", "Average"), rank), data_format((2,) + tuple(rnd.randint(4, 5) for _ in range(rank)) + (2,), args), args)
for _ in range(8):
    rank = pick(1, 2, 3)
    args = dict(keepdims=pick(True, False))
    layer("Global%sPooling%dD" % (pick("Max", "Average"), rank), data_format((2,) + (3,) * rank + (2,), args), args)
for _ in range(5):
    rank = pick(1, 2)
    args = dict(output_size=sizes(rank, 2, 4))
    layer("Adaptive%sPooling%dD" % (pick("Max", "Average"), rank), data_format((1,) + (7,) * rank + (2,), args), args)
for _ in range(16):
    shape = pick((4, 3), (3, 4, 3), (2, 3, 4, 3))
    args = dict(axis=pick(-1, 1), momentum=pick(0.99, 0.6), epsilon=pick(1e-3, 0.1), center=pick(True, False), scale=pick(True, False))
    layer("BatchNormalization", shape, args, training=pick(True, False))
for _ in range(8):
    layer("LayerNormalization", (2, 3, 4), dict(axis=pick(-1, 1, [1, 2], [-2, -1]), epsilon=pick(1e-3, 0.1), center=pick(True, False),
                                                scale=pick(True, False)))
for _ in range(8):
    groups = pick(1, 2, 4, -1)
    layer("GroupNormalization", pick((2, 3, 4), (2, 2, 3, 4)), dict(groups=groups, axis=-1, epsilon=pick(1e-3, 0.1), center=pick(True, False),
                                                                    scale=pick(True, False)))
for _ in range(4):
    layer("RMSNormalization", (2, 3, 4), dict(axis=pick(-1, [1, 2]), epsilon=pick(1e-6, 0.1)))
    layer("UnitNormalization", (2, 3, 4), dict(axis=pick(-1, 1, [1, 2])))
for axis in (-1, 1, 2, [1, 2]):
    layer("Softmax", (2, 3, 4), dict(axis=axis))
for shared in (None, [0], [0, 1]):  # axes without the batch in Keras: [1], [1, 2]
    layer("PReLU", (2, 3, 4), dict(shared_axes=None if shared is None else [a + 1 for a in shared]),
          tide=None if shared is None else dict(shared_axes=[a + 2 for a in shared]))
layer("ELU", (2, 6), dict(alpha=0.4))
layer("LeakyReLU", (2, 6), dict(negative_slope=0.1))
layer("ReLU", (2, 6), dict(max_value=1.0, negative_slope=0.2, threshold=0.3))
for name in ACT[1:]:
    layer("Activation", (2, 3, 4), dict(activation=name))
for cls in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"):
    layer(cls, [(2, 3, 4), pick((2, 3, 4), (2, 1, 4), (2, 4))], {})
for _ in range(4):
    layer("Concatenate", [(2, 3, 4)] * 3, dict(axis=pick(-1, 1, 2)))
for axes in (1, 2, [1, 2], [2, 1], -1):
    layer("Dot", [(2, 3, 3), (2, 3, 3)], dict(axes=axes, normalize=pick(True, False)))
for args in (dict(cropping=1), dict(cropping=(1, 2)), dict(cropping=((1, 0), (0, 2)))):
    args = dict(args)
    layer("Cropping2D", data_format((1, 5, 6, 2), args), args)
for args in (dict(padding=1), dict(padding=(2, 1)), dict(padding=((1, 0), (0, 2)))):
    args = dict(args)
    layer("ZeroPadding2D", data_format((1, 3, 2, 2), args), args)
layer("ZeroPadding1D", (2, 3, 2), dict(padding=(2, 1)))
layer("ZeroPadding3D", (1, 2, 2, 2, 1), dict(padding=((0, 1), (1, 0), (2, 0))))
layer("Cropping1D", (2, 5, 2), dict(cropping=(2, 1)))
for how in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
    args = dict(size=pick(2, (3, 2)), interpolation=how)
    layer("UpSampling2D", data_format((1, 3, 4, 2), args), args)
layer("UpSampling1D", (2, 3, 2), dict(size=3))
layer("UpSampling3D", (1, 2, 2, 2, 1), dict(size=(1, 2, 3)))
layer("Flatten", (2, 3, 4, 2), dict(data_format="channels_first"))
layer("RepeatVector", (2, 3), dict(n=4))
layer("Permute", (2, 3, 4, 5), dict(dims=(3, 1, 2)))
layer("Reshape", (2, 3, 4), dict(target_shape=(2, -1)))
layer("Rescaling", (2, 3), dict(scale=0.5, offset=0.1))

# ---- losses ----


def loss(cls, t, pred, shape, args=None, tide=None, squeeze=False):
    args = dict(args or {})
    kind = make(t, shape, 1)
    y_true = kind[..., 0] if squeeze and t == "labels" else kind
    y_pred = make(pred, shape, 2)
    for _ in range(3):
        red = pick("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none")
        batch = shape[:-1]
        ws = pick(None, (shape[0],), (shape[0], 1), batch, batch + (1,))
        w = None if ws is None else make("weight", ws, 3)
        try:
            f = getattr(losses, cls)(reduction=red, **args)
            p = tf.Variable(y_pred)
            with tf.GradientTape() as tape:
                v = f(y_true, tf.convert_to_tensor(p), sample_weight=w)
            g = tape.gradient(v, p)
        except Exception as e:
            print("left out:", cls, args, str(e)[:90].replace("\n", " "), flush=True)
            continue
        given = {k: (up(v) if k in AXES else v) for k, v in args.items() if v is not None}
        given.update(tide or {})
        rows.append(dict(kind="loss", class_=cls, args=given, reduction=red, target=t, pred=pred, shape=shape, squeeze=squeeze,
                         weight=ws, v=values(v), g=values(g)))


SHAPES = [(6, 4), (3, 5, 4), (2, 2, 3, 4)]
for cls, t, p in [("MeanSquaredError", "real", "real"), ("MeanAbsoluteError", "real", "real"), ("MeanAbsolutePercentageError", "real", "real"),
                  ("MeanSquaredLogarithmicError", "pos", "pos"), ("Huber", "real", "real"), ("LogCosh", "real", "real"),
                  ("KLDivergence", "dist", "dist"), ("Poisson", "pos", "pos"), ("CosineSimilarity", "real", "real"),
                  ("Hinge", "bits", "real"), ("SquaredHinge", "bits", "real"), ("CategoricalHinge", "onehot", "real")]:
    loss(cls, t, p, pick(*SHAPES), {"delta": pick(0.3, 2.0)} if cls == "Huber" else {})
for _ in range(4):
    raw, shape = pick(True, False), pick(*SHAPES)
    loss("BinaryCrossentropy", "bits", "real" if raw else "prob", shape, dict(from_logits=raw, label_smoothing=pick(0.0, 0.2)))
    loss("BinaryFocalCrossentropy", "bits", "real" if raw else "prob", shape,
         dict(from_logits=raw, label_smoothing=pick(0.0, 0.2), gamma=pick(2.0, 1.0), apply_class_balancing=pick(True, False)))
    loss("CategoricalCrossentropy", "onehot", "real" if raw else "dist", shape, dict(from_logits=raw, label_smoothing=pick(0.0, 0.2)))
    loss("CategoricalFocalCrossentropy", "onehot", "real" if raw else "dist", shape,
         dict(from_logits=raw, label_smoothing=pick(0.0, 0.2), alpha=pick(0.25, 0.8), gamma=pick(2.0, 0.5)))
    loss("SparseCategoricalCrossentropy", "labels", "real" if raw else "dist", shape, dict(from_logits=raw), squeeze=pick(True, False))
    ignored = rnd.randint(0, 3)
    loss("SparseCategoricalCrossentropy", "labels", "real", shape, dict(from_logits=True, ignore_class=ignored),
         dict(ignore_class=ignored + 1), squeeze=True)
loss("CategoricalGeneralizedCrossEntropy", "labels", "dist", (6, 4), dict(q=0.3), squeeze=True)
for axis in (None, (1,), (1, 2), (-1,)):
    loss("Dice", "bits", "prob", (3, 4, 2), {} if axis is None else dict(axis=axis))
    loss("Tversky", "bits", "prob", (3, 4, 2), dict(alpha=0.3, beta=0.6, **({} if axis is None else dict(axis=axis))))

# ---- metrics ----


def metric(cls, t, p, shape, args=None, tide=None, squeeze_t=False, squeeze_p=False, weights=True):
    args = dict(args or {})
    ws = pick(None, (shape[0],), shape[:-1], (shape[0], 1)) if weights else None
    m = getattr(metrics, cls)(**args)
    out = []
    for k in (1, 4):
        y_true, y_pred = make(t, shape, k), make(p, shape, k + 1)
        y_true = y_true[..., 0] if squeeze_t else y_true
        y_pred = y_pred[..., 0] if squeeze_p else y_pred
        try:
            m.update_state(y_true, y_pred, **({} if ws is None else dict(sample_weight=make("weight", ws, k + 2))))
            out.append(values(m.result()))
        except Exception as e:
            print("left out:", cls, args, ws, str(e)[:90].replace("\n", " "))
            return
    given = {k: (up(v) if k in AXES or k == "class_id" else v) for k, v in args.items() if v is not None}
    given.update(tide or {})
    rows.append(dict(kind="metric", class_=cls, args=given, target=t, pred=p, shape=shape, squeeze_t=squeeze_t, squeeze_p=squeeze_p,
                     weight=ws, v=out))


for _ in range(2):
    for cls, t, p in [("MeanSquaredError", "real", "real"), ("RootMeanSquaredError", "real", "real"), ("MeanAbsoluteError", "real", "real"),
                      ("MeanAbsolutePercentageError", "real", "real"), ("MeanSquaredLogarithmicError", "pos", "pos"),
                      ("CosineSimilarity", "real", "real"), ("LogCoshError", "real", "real"), ("Poisson", "pos", "pos"),
                      ("KLDivergence", "dist", "dist"), ("Hinge", "bits", "real"), ("SquaredHinge", "bits", "real"),
                      ("CategoricalHinge", "onehot", "real"), ("BinaryAccuracy", "bits", "prob"), ("CategoricalAccuracy", "onehot", "dist"),
                      ("Accuracy", "bits", "bits")]:
        metric(cls, t, p, pick(*SHAPES), {"threshold": pick(0.3, 0.7)} if cls == "BinaryAccuracy" else {})
    metric("R2Score", "real", "real", (8, 3), dict(class_aggregation=pick("uniform_average", "variance_weighted_average")), weights=False)
for _ in range(3):
    shape = pick(*SHAPES)
    metric("SparseCategoricalAccuracy", "labels", "dist", shape, squeeze_t=pick(True, False))
    metric("TopKCategoricalAccuracy", "onehot", "dist", shape, dict(k=rnd.randint(1, 3)))
    metric("SparseTopKCategoricalAccuracy", "labels", "dist", shape, dict(k=rnd.randint(1, 3)), squeeze_t=True)
    metric("BinaryCrossentropy", "bits", "prob", shape, dict(label_smoothing=pick(0.0, 0.1)))
    metric("CategoricalCrossentropy", "onehot", "real", shape, dict(from_logits=True, label_smoothing=pick(0.0, 0.1)))
    metric("SparseCategoricalCrossentropy", "labels", "dist", shape, squeeze_t=True)
for _ in range(4):
    shape = pick((8, 4), (3, 5, 4))
    thresholds = pick(None, 0.4, [0.2, 0.5, 0.8])
    for cls in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives"):
        metric(cls, "bits", "prob", shape, dict(thresholds=thresholds))
    for cls in ("Precision", "Recall"):
        metric(cls, "bits", "prob", shape, dict(thresholds=thresholds, class_id=pick(None, 2)) if rnd.random() < 0.6 else dict(top_k=2))
    metric("AUC", "bits", "prob", shape, dict(num_thresholds=pick(200, 30), curve=pick("ROC", "PR"),
                                              summation_method=pick("interpolation", "minoring", "majoring")))
    metric("AUC", "bits", "prob", (8, 4), dict(multi_label=True, num_labels=4, curve=pick("ROC", "PR")), weights=False)
    metric("PrecisionAtRecall", "bits", "prob", (8, 1), dict(recall=pick(0.3, 0.7), num_thresholds=pick(200, 40)))
    metric("RecallAtPrecision", "bits", "prob", (8, 1), dict(precision=pick(0.3, 0.7), num_thresholds=pick(200, 40)))
    metric("SensitivityAtSpecificity", "bits", "prob", (8, 1), dict(specificity=pick(0.3, 0.7)))
    metric("SpecificityAtSensitivity", "bits", "prob", (8, 1), dict(sensitivity=pick(0.3, 0.7)))
    metric("F1Score", "onehot", "dist", (8, 4), dict(average=pick("micro", "macro", "weighted"), threshold=pick(None, 0.3)), weights=False)
    metric("FBetaScore", "bits", "prob", (8, 4), dict(average=pick("micro", "macro", "weighted"), beta=pick(0.5, 2.0), threshold=0.5),
           weights=False)
for _ in range(3):
    ignored = pick(None, 1)
    metric("MeanIoU", "labels", "labels", (6, 4), dict(num_classes=4, ignore_class=ignored),
           {} if ignored is None else dict(ignore_class=ignored + 1), squeeze_t=True, squeeze_p=True, weights=False)
    metric("IoU", "labels", "labels", (6, 4), dict(num_classes=4, target_class_ids=[0, 3]), dict(target_class_ids=[1, 4]), True, True, False)
    metric("OneHotMeanIoU", "onehot", "dist", (6, 4), dict(num_classes=4), weights=False)
    metric("BinaryIoU", "bits", "prob", (6, 1), dict(target_class_ids=[1], threshold=pick(0.3, 0.6)), dict(target_class_ids=[2]), weights=False)

# ---- optimizers: 20 steps ----

RATES = {"SGD": 0.1, "Adagrad": 0.1, "Adadelta": 1.0, "Ftrl": 0.1}
OWN = {
    "SGD": lambda: dict(momentum=pick(0.0, 0.9), nesterov=pick(True, False)),
    "Adam": lambda: dict(beta_1=pick(0.9, 0.5), beta_2=pick(0.999, 0.9), epsilon=pick(1e-7, 1e-3), amsgrad=pick(True, False)),
    "AdamW": lambda: dict(weight_decay=pick(0.004, 0.1), amsgrad=pick(True, False)),
    "Adamax": lambda: dict(beta_1=pick(0.9, 0.5)),
    "Nadam": lambda: dict(beta_1=pick(0.9, 0.5), beta_2=pick(0.999, 0.9)),
    "RMSprop": lambda: dict(rho=pick(0.9, 0.5), momentum=pick(0.0, 0.8), centered=pick(True, False)),
    "Adagrad": lambda: dict(initial_accumulator_value=pick(0.1, 0.5)),
    "Adadelta": lambda: dict(rho=pick(0.95, 0.5)),
    "Lion": lambda: dict(beta_1=pick(0.9, 0.5)),
    "Ftrl": lambda: dict(l1_regularization_strength=pick(0.0, 0.02), l2_regularization_strength=pick(0.0, 0.1), beta=pick(0.0, 0.2)),
}
for cls, own in OWN.items():
    for _ in range(5):
        args = dict(learning_rate=RATES.get(cls, 0.01), **own())
        args.update(pick({}, {"clipnorm": 0.7}, {"global_clipnorm": 0.9}, {"clipvalue": 0.4}))
        args.update(pick({}, {}, {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": pick(3, None)}))
        args.update(pick({}, {}, {"gradient_accumulation_steps": pick(2, 3)}))
        if "weight_decay" not in args:
            args.update(pick({}, {"weight_decay": 0.05}))
        opt = getattr(optimizers, cls)(**args)
        vs = [keras.Variable(make("real", s, i)) for i, s in enumerate([(2, 3), (3,)])]
        opt.build(vs)
        for step in range(20):
            opt.apply([tf.convert_to_tensor(make("real", tuple(v.shape), i + 3 * step)) for i, v in enumerate(vs)], vs)
        after = [values(v) for v in vs]
        opt.finalize_variable_values(vs)
        rows.append(dict(kind="optimizer", class_=cls, args=args, w=after, last=[values(v) for v in vs]))

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "variety.lua"), "w") as f:
    f.write("-- Made by spec/ref/variety.py from the real Keras; do not edit.\nreturn {\n")
    for r in rows:
        f.write("  " + lua({k.rstrip("_"): v for k, v in r.items() if v is not None}, 6).replace('["', "").replace('"] = ', "=") + ",\n")
    f.write("}\n")
print(len(rows))

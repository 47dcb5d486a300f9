"""Reference values of all losses: KERAS_BACKEND=jax python spec/ref/losses.py (Keras 3.15). Labels are written from 1."""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np
import keras
from keras import losses
from luawrite import write

rng = np.random.default_rng(7)
N, C = 6, 4
real_t = rng.normal(size=(N, C)).round(3).astype("float32")
real_p = rng.normal(size=(N, C)).round(3).astype("float32")
pos_t = (np.abs(real_t) + 0.1).round(3)
pos_p = (np.abs(real_p) + 0.1).round(3)
logits = (2 * rng.normal(size=(N, C))).round(3).astype("float32")
prob = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
prob = prob.astype("float32")
sig = (1 / (1 + np.exp(-logits))).astype("float32")
labels = rng.integers(0, C, size=N)
onehot = np.eye(C, dtype="float32")[labels]
bits = rng.integers(0, 2, size=(N, C)).astype("float32")
signs = 2 * bits - 1
dist = rng.random((N, C)).astype("float32")
dist = (dist / dist.sum(-1, keepdims=True)).round(4).astype("float32")
weights = np.array([1, 0.5, 2, 0, 1, 3], "float32")
seq_logits = rng.normal(size=(3, 5, C)).round(3).astype("float32")
seq_labels = rng.integers(0, C, size=(3, 5))
emb = rng.normal(size=(N, C)).astype("float32")
emb = (emb / np.linalg.norm(emb, axis=-1, keepdims=True)).astype("float32")
groups = np.array([0, 1, 0, 1, 2, 2])
ctc_y = np.array([[1, 2, 2, 0], [3, 1, 0, 0], [2, 3, 1, 2]])
ctc_p = rng.normal(size=(3, 9, 5)).round(3).astype("float32")

rows = []


def case(cls, y_true, y_pred, args=None, base=0, weight=None, reductions=("sum_over_batch_size", "sum", "none"), mixed=None):
    args = args or {}
    for red in reductions:
        for w in ([None, weight] if weight is not None else [None]):
            obj = getattr(losses, cls)(reduction=red, **args)
            v = obj(y_true, y_pred, sample_weight=w) if w is not None else obj(y_true, y_pred)
            largs = dict(args)
            if "ignore_class" in largs:
                largs["ignore_class"] += base
            rows.append(dict(loss=cls, args=largs, reduction=red, y_true=np.asarray(y_true) + base, y_pred=y_pred, weight=w,
                             value=np.asarray(v, "float32")))


W = weights
case("MeanSquaredError", real_t, real_p, weight=W, reductions=("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"))
case("MeanAbsoluteError", real_t, real_p, weight=W)
case("MeanAbsolutePercentageError", real_t, real_p, weight=W)
case("MeanSquaredLogarithmicError", pos_t, pos_p, weight=W)
case("Huber", real_t, real_p, weight=W)
case("Huber", real_t, real_p, {"delta": 0.4})
case("LogCosh", real_t, real_p, weight=W)
case("KLDivergence", dist, prob, weight=W)
case("Poisson", pos_t, pos_p, weight=W)
case("CosineSimilarity", real_t, real_p, weight=W)
case("CosineSimilarity", real_t, real_p, {"axis": 0}, reductions=("sum_over_batch_size",))
rows[-1]["args"]["axis"] = 1
case("Hinge", bits, real_p, weight=W)
case("Hinge", signs, real_p)
case("SquaredHinge", bits, real_p, weight=W)
case("CategoricalHinge", onehot, real_p, weight=W)
case("BinaryCrossentropy", bits, sig, weight=W)
case("BinaryCrossentropy", bits, logits, {"from_logits": True, "label_smoothing": 0.1}, weight=W)
case("BinaryCrossentropy", bits, np.round(sig), reductions=("none",))
case("BinaryFocalCrossentropy", bits, sig, weight=W)
case("BinaryFocalCrossentropy", bits, logits, {"from_logits": True, "apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5,
                                               "label_smoothing": 0.1})
case("CategoricalCrossentropy", onehot, prob, weight=W)
case("CategoricalCrossentropy", onehot, pos_p, weight=W)
case("CategoricalCrossentropy", onehot, logits, {"from_logits": True, "label_smoothing": 0.2}, weight=W)
case("CategoricalCrossentropy", dist, logits, {"from_logits": True})
case("CategoricalFocalCrossentropy", onehot, prob, weight=W)
case("CategoricalFocalCrossentropy", onehot, logits, {"from_logits": True, "alpha": 0.4, "gamma": 1.0, "label_smoothing": 0.1})
case("CategoricalGeneralizedCrossEntropy", labels, prob, {"q": 0.7}, base=1, weight=W)
case("SparseCategoricalCrossentropy", labels, prob, base=1, weight=W)
case("SparseCategoricalCrossentropy", labels[:, None], prob, base=1)
case("SparseCategoricalCrossentropy", labels, logits, {"from_logits": True}, base=1, weight=W)
case("SparseCategoricalCrossentropy", seq_labels, seq_logits, {"from_logits": True, "ignore_class": 2}, base=1)
case("SparseCategoricalCrossentropy", labels, onehot, base=1)
case("Dice", bits, sig, reductions=("sum_over_batch_size",))
case("Dice", bits, sig, {"axis": (1,)})
rows[-1]["args"] = rows[-2]["args"] = rows[-3]["args"] = {"axis": [2]}
case("Tversky", bits, sig, {"alpha": 0.3, "beta": 0.7}, reductions=("sum_over_batch_size",))
case("Circle", groups, emb, {"gamma": 8.0, "margin": 0.3})
case("Circle", groups, emb, {"remove_diagonal": False, "gamma": 8.0})
case("CTC", ctc_y, ctc_p)
write(os.path.join(os.path.dirname(__file__), "losses.lua"), "losses.py", rows)

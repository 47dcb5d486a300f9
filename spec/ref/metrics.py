"""Reference values of all metrics, after one and two updates: KERAS_BACKEND=jax python spec/ref/metrics.py (Keras 3.15).
Labels and class numbers are written from 1."""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np
from keras import metrics
from luawrite import write

rng = np.random.default_rng(11)
N, C = 8, 4


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype("float32")


def batch():
    logits = (2 * rng.normal(size=(N, C))).round(3).astype("float32")
    b = dict(logits=logits, prob=softmax(logits), sig=(1 / (1 + np.exp(-logits))).astype("float32").round(3),
             labels=rng.integers(0, C, size=N), bits=rng.integers(0, 2, size=(N, C)).astype("float32"),
             real=rng.normal(size=(N, C)).round(3).astype("float32"), real2=rng.normal(size=(N, C)).round(3).astype("float32"),
             bit=rng.integers(0, 2, size=N).astype("float32"), p=rng.random(N).astype("float32").round(3),
             pred=rng.integers(0, C, size=N), w=np.array([1, 0.5, 2, 0, 1, 3, 1, 1], "float32"))
    b["onehot"] = np.eye(C, dtype="float32")[b["labels"]]
    b["pos"] = np.abs(b["real"]) + np.float32(0.1)
    b["pos2"] = np.abs(b["real2"]) + np.float32(0.1)
    b["dist"] = softmax(b["real"])
    b["ids"] = np.argsort(-logits, axis=-1)
    return b


batches = [batch(), batch()]
rows = []


def case(cls, t, p, args=None, tide=None, base_t=0, base_p=0, weighted=True, iw=False):
    args = args or {}
    for use_w in ([False, True] if weighted else [False]):
        m = getattr(metrics, cls)(**args)
        values, updates = [], []
        for b in batches:
            yt, yp, w = b[t], b[p], b["w"] if use_w else None
            if iw and use_w:
                w = w.astype("int32")
            m.update_state(yt, yp, sample_weight=w) if use_w else m.update_state(yt, yp)
            values.append(np.asarray(m.result(), "float32"))
            updates.append(dict(y_true=np.asarray(yt) + base_t, y_pred=np.asarray(yp) + base_p, weight=w))
        rows.append(dict(metric=cls, args=tide if tide is not None else args, updates=updates, values=values))


for cls in ["MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "CosineSimilarity",
            "LogCoshError", "R2Score"]:
    case(cls, "real", "real2")
case("R2Score", "real", "real2", {"class_aggregation": None}, {"class_aggregation": False})
case("R2Score", "real", "real2", {"class_aggregation": "variance_weighted_average", "num_regressors": 2})
case("PearsonCorrelation", "real", "real2", weighted=False)
case("ConcordanceCorrelation", "real", "real2", weighted=False)
case("MeanSquaredLogarithmicError", "pos", "pos2")
case("Poisson", "pos", "pos2")
case("KLDivergence", "dist", "prob")
case("Hinge", "bits", "real")
case("SquaredHinge", "bits", "real")
case("CategoricalHinge", "onehot", "real")
case("BinaryCrossentropy", "bits", "sig")
case("BinaryCrossentropy", "bits", "logits", {"from_logits": True, "label_smoothing": 0.1})
case("CategoricalCrossentropy", "onehot", "prob")
case("CategoricalCrossentropy", "onehot", "logits", {"from_logits": True})
case("SparseCategoricalCrossentropy", "labels", "prob", base_t=1)
case("SparseCategoricalCrossentropy", "labels", "logits", {"from_logits": True}, base_t=1)
case("Accuracy", "labels", "pred", base_t=1, base_p=1)
case("BinaryAccuracy", "bits", "sig")
case("BinaryAccuracy", "bit", "p", {"threshold": 0.3})
case("CategoricalAccuracy", "onehot", "prob")
case("SparseCategoricalAccuracy", "labels", "prob", base_t=1)
case("TopKCategoricalAccuracy", "onehot", "prob", {"k": 2})
case("SparseTopKCategoricalAccuracy", "labels", "prob", {"k": 2}, base_t=1)
case("SparseTopKCategoricalAccuracy", "labels", "ids", {"k": 3, "from_sorted_ids": True}, base_t=1, base_p=1)
for cls in ["TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives"]:
    case(cls, "bit", "p")
    case(cls, "bits", "sig", {"thresholds": [0.7, 0.2]})
for cls in ["Precision", "Recall"]:
    case(cls, "bit", "p")
    case(cls, "bits", "sig", {"thresholds": [0.0, 0.5, 1.0]})
    case(cls, "bits", "sig", {"class_id": 1}, {"class_id": 2})
    case(cls, "onehot", "prob", {"top_k": 2})
case("PrecisionAtRecall", "bit", "p", {"recall": 0.6})
case("RecallAtPrecision", "bit", "p", {"precision": 0.6})
case("SensitivityAtSpecificity", "bit", "p", {"specificity": 0.4, "num_thresholds": 50})
case("SpecificityAtSensitivity", "bit", "p", {"sensitivity": 0.7})
for curve in ["ROC", "PR", "PRGAIN"]:
    for how in ["interpolation", "majoring", "minoring"]:
        case("AUC", "bit", "p", {"curve": curve, "summation_method": how}, weighted=how == "interpolation")
case("AUC", "bits", "sig", {"multi_label": True, "label_weights": [0.1, 0.2, 0.3, 0.4]}, weighted=False)
case("AUC", "bits", "sig", {"label_weights": [0.1, 0.2, 0.3, 0.4]}, weighted=False)
case("AUC", "bit", "p", {"thresholds": [0.2, 0.5, 0.9]})
case("AUC", "bits", "logits", {"from_logits": True, "num_thresholds": 20})
for avg in [None, "micro", "macro", "weighted"]:
    case("F1Score", "onehot", "prob", {"average": avg}, {"average": avg or False})
case("FBetaScore", "bits", "sig", {"beta": 2.0, "threshold": 0.4, "average": "macro"})
case("IoU", "labels", "pred", {"num_classes": C, "target_class_ids": [0, 2]}, {"num_classes": C, "target_class_ids": [1, 3]}, 1, 1, iw=True)
case("MeanIoU", "labels", "pred", {"num_classes": C}, None, 1, 1, iw=True)
case("MeanIoU", "labels", "pred", {"num_classes": C, "ignore_class": 1}, {"num_classes": C, "ignore_class": 2}, 1, 1, iw=True)
case("OneHotIoU", "onehot", "prob", {"num_classes": C, "target_class_ids": [1]}, {"num_classes": C, "target_class_ids": [2]}, iw=True)
case("OneHotMeanIoU", "onehot", "prob", {"num_classes": C}, iw=True)
case("BinaryIoU", "bit", "p", {"target_class_ids": [0, 1]}, {"target_class_ids": [1, 2]}, iw=True)

for cls in ["Mean", "Sum"]:
    for use_w in [False, True]:
        m = getattr(metrics, cls)()
        values, updates = [], []
        for b in batches:
            w = b["w"] if use_w else None
            m.update_state(b["real"], sample_weight=w)
            values.append(np.asarray(m.result(), "float32"))
            updates.append(dict(values=b["real"], weight=w))
        rows.append(dict(metric=cls, args={}, updates=updates, values=values))
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.lua"), "metrics.py", rows)

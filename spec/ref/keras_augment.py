"""What Keras' RandAugment and AugMix give for the transformations that they drew: python keras_augment.py writes keras_augment.lua.

Needs keras and tensorflow. A case is a class, its options, the transformation and the result; all have the same pictures.
"""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import random

import keras
import numpy as np
from luawrite import lua

rng = np.random.default_rng(5)
x = (rng.uniform(0, 255, (2, 9, 7, 3)) * 0.5 + np.linspace(0, 127, 7)[:, None]).round(2).astype("float32")
CASES = [("RandAugment", dict(num_ops=n, factor=f, interpolation=i), s) for n, f, i, s in
         [(1, 0.5, "bilinear", 1), (2, 0.5, "bilinear", 2), (3, 0.3, "nearest", 3), (4, 0.7, "bilinear", 4), (3, 0.2, "bilinear", 5),
          (11, 0.4, "bilinear", 6), (6, 0.9, "bilinear", 8)]]
CASES += [("AugMix", dict(num_chains=n, chain_depth=d, factor=f, all_ops=a), s) for n, d, f, a, s in
          [(3, 3, 0.3, True, 1), (2, 1, 0.5, False, 2), (1, 4, 0.4, True, 3), (4, 2, 0.8, True, 4)]]


def plain(v):
    """Numbers, lists of them, and tables by name; layers are counted from 1."""
    if isinstance(v, dict):
        return {k: (np.array(w) + 1).tolist() if k == "layer_idxes" else plain(w) for k, w in v.items() if w is not None}
    if isinstance(v, (list, tuple)):
        return [plain(w) for w in v]
    if isinstance(v, str) or v is None:
        return v
    a = np.array(v)
    return a.tolist() if a.dtype == bool else a.astype("float64").tolist() if a.dtype.kind == "f" else a.tolist()


cases = []
for name, options, seed in CASES:
    keras.utils.set_random_seed(seed)
    random.seed(seed)
    layer = getattr(keras.layers, name)(seed=seed, **options)
    t = layer.get_random_transformation(x)
    cases.append(dict(name=name, options=options, t=plain(t), y=np.array(layer.transform_images(x, t)).round(4).tolist()))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "keras_augment.lua"), "w") as f:
    f.write("-- Made by spec/ref/keras_augment.py from the real Keras; do not edit.\nreturn " + lua(dict(x=x.tolist(), cases=cases)) + "\n")

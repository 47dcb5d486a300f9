"""What Keras' FeatureSpace gives: python feature_space.py writes feature_space.lua. Needs keras and tensorflow."""
import os
import random

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np

FS = keras.utils.FeatureSpace
rng = random.Random(3)
n = 40
data = {
    "age": [round(rng.uniform(18, 80), 2) for _ in range(n)],
    "height": [round(rng.gauss(170, 12), 2) for _ in range(n)],
    "job": [rng.choice(["smith", "cook", "clerk", "Bäcker", ""]) for _ in range(n)],
    "code": [rng.choice([3, 7, 12, -5, 400]) for _ in range(n)],
    "note": [rng.choice(["good and cheap", "bad", "cheap, cheap!", ""]) for _ in range(n)],
}
new = {"age": [20.0, 99.0, 41.5], "height": [150.0, 170.0, 201.0], "job": ["cook", "king", ""], "code": [7, 8, 400],
       "note": ["cheap", "good", "so so"]}
SPACES = [
    ("all kinds by name", lambda: FS(
        {"age": "float_normalized", "height": "float_discretized", "job": "string_categorical", "code": "integer_categorical"},
        crosses=[("job", "code")], crossing_dim=16, num_discretization_bins=5)),
    ("hashes and scales", lambda: FS(
        {"age": FS.float_rescaled(scale=0.01, offset=-0.5), "height": "float", "job": "string_hashed", "code": "integer_hashed"},
        crosses=[("job", "code"), ("code", "job")], crossing_dim=6, hashing_dim=7)),
    ("options", lambda: FS(
        {"job": FS.string_categorical(max_tokens=3, num_oov_indices=1), "code": FS.integer_categorical(num_oov_indices=2),
         "height": FS.float_discretized(num_bins=3)},
        crosses=[FS.cross(("job", "height"), crossing_dim=9)])),
    ("a layer of one's own", lambda: FS(
        {"height": FS.feature(preprocessor=keras.layers.Rescaling(0.5, 1.0), dtype="float32", output_mode="float"),
         "age": "float"})),
    ("by name", lambda: FS(
        {"age": "float_normalized", "job": FS.string_categorical(output_mode="int"), "code": FS.integer_hashed(5, output_mode="int")},
        crosses=[FS.cross(("job", "code"), crossing_dim=11, output_mode="int")], output_mode="dict")),
]


def lua(v):
    if isinstance(v, dict):
        return "{ " + ", ".join("%s = %s" % (k, lua(x)) for k, x in sorted(v.items())) + " }"
    if isinstance(v, list):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, str):
        return '"%s"' % v
    return repr(round(v, 6)) if isinstance(v, float) else repr(v)


def plain(y):
    return {k: np.array(v).tolist() for k, v in y.items()} if isinstance(y, dict) else np.array(y).tolist()


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "feature_space.lua"), "w") as f:
    f.write("-- Written by spec/ref/feature_space.py.\n-- luacheck: ignore 631\nreturn {\n  data = %s,\n  new = %s,\n" % (lua(data), lua(new)))
    for name, make in SPACES:
        space = make()
        space.adapt({k: v for k, v in data.items() if k in space.features})
        f.write('  ["%s"] = %s,\n' % (name, lua(plain(space({k: v for k, v in new.items() if k in space.features})))))
    f.write("}\n")

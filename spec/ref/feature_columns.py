"""What TensorFlow's feature columns give: python feature_columns.py writes feature_columns.lua.

Needs tensorflow and tf_keras, whose DenseFeatures and SequenceFeatures read columns.
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
import tf_keras

from tf_keras.src.feature_column import dense_features, sequence_feature_column

fc = tf.feature_column
data = {
    "age": [[31.0], [17.5], [64.0], [90.0]],
    "pair": [[1.0, -2.0], [3.0, 4.5], [0.0, 0.5], [9.0, 9.0]],
    "job": ["cook", "smith", "", "king"],
    "words": [["a", "b", "a"], ["c", "", ""], ["", "", ""], ["b", "zz", "q"]],
    "weight": [[1.0, 2.0, 0.5], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.5, 1.0, 2.0]],
    "code": [[7, -1], [3, 7], [-1, -1], [12, 5]],
    "day": [[0], [3], [6], [2]],
}


def constant(v):
    return tf.constant(v, dtype=tf.int64 if isinstance(v[0], list) and isinstance(v[0][0], int) else None)


def table(size, dim):
    n = np.arange(size * dim, dtype=np.float32).reshape(size, dim)
    return np.sin(n * 0.7).astype(np.float32)


def fixed(shape, dtype=None, **_):
    return tf.constant(table(*shape))


age, pair = fc.numeric_column("age"), fc.numeric_column("pair", shape=(2,))
job = fc.categorical_column_with_hash_bucket("job", 7)
words = fc.categorical_column_with_vocabulary_list("words", ["a", "b", "c"])
words_oov = fc.categorical_column_with_vocabulary_list("words", ["a", "b", "c"], num_oov_buckets=3)
words_default = fc.categorical_column_with_vocabulary_list("words", ["a", "b"], default_value=1)
codes = fc.categorical_column_with_hash_bucket("code", 9, dtype=tf.int64)
listed = fc.categorical_column_with_vocabulary_list("code", [7, 12, 3], dtype=tf.int64)
day = fc.categorical_column_with_identity("day", 7)
ages = fc.bucketized_column(age, [18.0, 31.0, 65.0])
pairs = fc.bucketized_column(pair, [0.0, 3.0])
weighted = fc.weighted_categorical_column(words, "weight")
shared = fc.shared_embeddings  # needs a graph; the layers below share by hand


def embedded(column, dim, combiner="mean", max_norm=None):
    return fc.embedding_column(column, dim, combiner=combiner, initializer=fixed, max_norm=max_norm)


CASES = [
    ("numeric", [age, pair]),
    ("bucketized", [ages, pairs]),
    ("hash", [fc.indicator_column(job), fc.indicator_column(codes)]),
    ("vocabulary", [fc.indicator_column(words)]),
    ("vocabulary, unknown hashed", [fc.indicator_column(words_oov)]),
    ("vocabulary, unknown given", [fc.indicator_column(words_default)]),
    ("vocabulary of numbers", [fc.indicator_column(listed)]),
    ("identity", [fc.indicator_column(day)]),
    ("weighted", [fc.indicator_column(weighted)]),
    ("crossed", [fc.indicator_column(fc.crossed_column(["job", "words"], 11))]),
    ("crossed numbers", [fc.indicator_column(fc.crossed_column(["code", "job"], 13))]),
    ("crossed columns", [fc.indicator_column(fc.crossed_column([ages, "job", day], 17))]),
    ("crossed crosses", [fc.indicator_column(fc.crossed_column([fc.crossed_column(["job", "words"], 5), ages], 19))]),
    ("crossed key", [fc.indicator_column(fc.crossed_column(["job", "words"], 11, hash_key=99))]),
    ("embedding mean", [embedded(words, 3)]),
    ("embedding sum", [embedded(words, 3, "sum")]),
    ("embedding sqrtn", [embedded(words, 3, "sqrtn")]),
    ("embedding weighted", [embedded(weighted, 2)]),
    ("embedding weighted sqrtn", [embedded(weighted, 2, "sqrtn")]),
    ("embedding norm", [embedded(words, 3, "sum", 0.5)]),
    ("embedding of bins", [embedded(pairs, 2)]),
    ("all", [age, ages, fc.indicator_column(day), embedded(job, 2), fc.indicator_column(fc.crossed_column(["job", "words"], 4))]),
]
steps = fc.sequence_categorical_column_with_vocabulary_list("words", ["a", "b", "c"])
hashed = fc.sequence_categorical_column_with_hash_bucket("words", 5)
numbered = fc.sequence_categorical_column_with_identity("code", 13)
SEQUENCES = [
    ("sequence indicator", [fc.indicator_column(steps)]), ("sequence embedding", [embedded(steps, 2)]),
    ("sequence hash", [fc.indicator_column(hashed)]), ("sequence identity", [embedded(numbered, 3)]),
    ("sequence numeric", [fc.sequence_numeric_column("weight")]), ("sequence rows", [fc.sequence_numeric_column("weight", shape=(3,))]),
    ("sequence together", [fc.indicator_column(steps), embedded(hashed, 2)]),
]


def lua(v):
    if isinstance(v, dict):
        return "{ " + ", ".join("%s = %s" % (k, lua(x)) for k, x in sorted(v.items())) + " }"
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, str):
        return '"%s"' % v
    return repr(round(v, 6)) if isinstance(v, float) else repr(v)


def sparse(v):
    t = tf.constant(v)
    missing = "" if t.dtype == tf.string else -1
    at = tf.where(tf.not_equal(t, missing))
    return tf.SparseTensor(at, tf.gather_nd(t, at), tf.shape(t, out_type=tf.int64))


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "feature_columns.lua"), "w") as f:
    f.write("-- Written by spec/ref/feature_columns.py.\n-- luacheck: ignore 631\nreturn {\n  data = %s,\n" % lua(data))
    for name, columns in CASES:
        y = dense_features.DenseFeatures(columns)({k: constant(v) for k, v in data.items()})
        f.write('  ["%s"] = %s,\n' % (name, lua(np.array(y).tolist())))
    for name, columns in SEQUENCES:
        y, n = sequence_feature_column.SequenceFeatures(columns)({k: sparse(data[k]) for k in ("words", "code", "weight")})
        f.write('  ["%s"] = { %s, %s },\n' % (name, lua(np.array(y).tolist()), lua(np.array(n).tolist())))
    f.write("}\n")

"""What Keras' layers of categories and text give: python category.py writes category.lua.

Needs keras and tensorflow. Each case is a class, its options, perhaps data to adapt to, and inputs;
stored are the outputs and the vocabulary or the boundaries that were learnt.
"""
import os
import random

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

L = keras.layers
rng = random.Random(14)

LETTERS = "abcxyzABC0189 -_.,!?'\"\t" + "äßéñ" + "жЯш" + "αΩ" + "漢字かな" + "한글" + "שלום" + "مرحبا" + "🙂"


def text(n):
    return "".join(rng.choice(LETTERS) for _ in range(n))


def lua(v):
    if v is None:
        return "nil"
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    if isinstance(v, (float, np.floating)) and v != v:
        return "0 / 0"
    if isinstance(v, (float, np.floating)):
        return repr(round(float(v), 7))
    if isinstance(v, bytes):
        v = v.decode()
    if isinstance(v, str):
        return '"%s"' % "".join(
            "\\%03d" % b if b < 32 or b in b'"\\' else chr(b) if b < 127 else "\\%03d" % b for b in v.encode())
    if isinstance(v, dict):
        return "{ " + ", ".join("%s = %s" % (k, lua(x)) for k, x in v.items() if x is not None) + " }"
    if isinstance(v, np.ndarray):
        return lua(v.tolist())
    return "{ " + ", ".join(lua(x) for x in v) + " }"


long = [text(n) for n in list(range(0, 70)) + [80, 95, 96, 127, 128, 129, 200, 500]]
numbers = [0, 1, -1, 7, 12, 123456789, -987654321, 2**40, 2**31 - 1, 2**52]
words = ["the", "cat", "sat", "on", "mat", "dog", "the", "the", "cat", "a"]
texts = ["The cat sat on the mat.", "A dog -- the DOG! -- sat", "", "  spaced\tout \n words ", "Ünïcode Straße ÀÉ, it's",
         "under_score and-hyphen", "漢字 かな", "cat"]
docs = [["a", "b", "b"], ["a", "c", ""], ["d", "a", "[UNK]"]]
whole = [[3, 5, 5], [9, 3, -1], [3, 12, 9]]
floats = [round(rng.gauss(0, 2), 3) for _ in range(400)]

CASES = [
    ("Hashing", dict(num_bins=10), None, long),
    ("Hashing", dict(num_bins=7, salt=133), None, long),
    ("Hashing", dict(num_bins=9007199254740993, salt=[12, -5]), None, long),
    ("Hashing", dict(num_bins=9007199254740993), None, long),
    ("Hashing", dict(num_bins=13), None, np.array(numbers)),
    ("Hashing", dict(num_bins=4, mask_value=""), None, [["a", ""], ["b", "c"]]),
    ("Hashing", dict(num_bins=4, mask_value=7), None, np.array([[7, 1], [12, 3]])),
    ("Hashing", dict(num_bins=4, mask_value="", output_mode="multi_hot"), None, [["a", ""], ["b", "c"]]),
    ("Hashing", dict(num_bins=4, output_mode="one_hot"), None, [["a"], ["b"]]),
    ("Hashing", dict(num_bins=4, output_mode="count"), None, [["a", "a", "q"], ["b", "c", "d"]]),
    ("HashedCrossing", dict(num_bins=1000), None, [["a", "b", "c"], ["x", "y", "z"]]),
    ("HashedCrossing", dict(num_bins=1000), None, [["a", "b", "c"], np.array([1, 2, -3])]),
    ("HashedCrossing", dict(num_bins=1000), None, [np.array([[5], [6]]), np.array([[1], [2]]), [["p"], ["q"]]]),
    ("HashedCrossing", dict(num_bins=6, output_mode="one_hot"), None, [[["a"], ["b"]], [["x"], ["y"]]]),
    ("CategoryEncoding", dict(num_tokens=5), None, np.array([[1, 3], [0, 4]])),
    ("CategoryEncoding", dict(num_tokens=5, output_mode="count"), None, np.array([[1, 1, 3], [0, 4, 4]])),
    ("CategoryEncoding", dict(num_tokens=5, output_mode="one_hot"), None, np.array([[1], [4]])),
    ("CategoryEncoding", dict(num_tokens=5, output_mode="one_hot"), None, np.array([[1, 2], [4, 0]])),
    ("CategoryEncoding", dict(num_tokens=4), None, np.array([1, 2])),
    ("Discretization", dict(bin_boundaries=[0.0, 1.0, 2.5]), None, np.array([-1.0, 0.0, 0.5, 1.0, 2.4, 2.5, 9.0])),
    ("Discretization", dict(bin_boundaries=[0.0, 1.0], output_mode="one_hot"), None, np.array([[-1.0], [3.0]])),
    ("Discretization", dict(bin_boundaries=[0.0, 1.0], output_mode="multi_hot"), None, np.array([[-1.0, 3.0], [0.5, 0.6]])),
    ("Discretization", dict(bin_boundaries=[0.0, 1.0], output_mode="count"), None, np.array([[-1.0, 3.0], [0.5, 0.6]])),
    ("Discretization", dict(num_bins=4), [np.array(floats)], np.array(floats[:20])),
    ("Discretization", dict(num_bins=5, epsilon=0.05), [np.array(floats[:90]), np.array(floats[90:333])], np.array(floats[:20])),
    ("Discretization", dict(num_bins=3), [np.array(floats[:7])], np.array(floats[:20])),
    ("StringLookup", dict(vocabulary=["a", "b", "c"]), None, docs),
    ("StringLookup", dict(vocabulary=["a", "b", "c"], mask_token=""), None, docs),
    ("StringLookup", dict(vocabulary=["", "[UNK]", "a", "b"], mask_token=""), None, docs),
    ("StringLookup", dict(vocabulary=["a", "b"], num_oov_indices=3), None, [long[:40]]),
    ("StringLookup", dict(vocabulary=["a", "b"], num_oov_indices=3, salt=[1, 2], mask_token="d"), None, docs),
    ("StringLookup", dict(output_mode="multi_hot", mask_token=""), [docs], docs),
    ("StringLookup", dict(output_mode="count"), [docs], docs),
    ("StringLookup", dict(output_mode="count", max_tokens=3), [docs], docs),
    ("StringLookup", dict(output_mode="count", max_tokens=9, pad_to_max_tokens=True), [docs], docs),
    ("StringLookup", dict(output_mode="one_hot"), [docs], [["a"], ["z"]]),
    ("StringLookup", dict(output_mode="one_hot"), [docs], docs),
    ("StringLookup", dict(output_mode="tf_idf"), [docs, docs[:1]], docs),
    ("StringLookup", dict(output_mode="tf_idf", max_tokens=8, pad_to_max_tokens=True), [docs], docs),
    ("StringLookup", dict(vocabulary=["a", "b"], idf_weights=[0.25, 0.75], output_mode="tf_idf"), None, docs),
    ("StringLookup", dict(), [words], words + ["zebra"]),
    ("StringLookup", dict(vocabulary=["a", "b"], invert=True), None, np.array([[0, 1], [2, 9]])),
    ("StringLookup", dict(vocabulary=["a", "b"], invert=True, mask_token="-", oov_token="?"), None, np.array([[0, 1], [2, 3]])),
    ("IntegerLookup", dict(vocabulary=[12, 36, -5]), None, np.array(whole)),
    ("IntegerLookup", dict(vocabulary=[3, 5], mask_token=9), None, np.array(whole)),
    ("IntegerLookup", dict(vocabulary=[3, 5], num_oov_indices=4), None, np.array([[3, -7, 13, 8, 0, 2**40]])),
    ("IntegerLookup", dict(vocabulary=[3, 5], num_oov_indices=4, oov_method="farmhash"), None, np.array([[3, -7, 13, 8, 0, 2**40]])),
    ("IntegerLookup", dict(vocabulary=[3, 5], num_oov_indices=4, oov_method="farmhash", salt=9), None, np.array([[3, -7, 13, 8, 0]])),
    ("IntegerLookup", dict(), [np.array(whole)], np.array(whole)),
    ("IntegerLookup", dict(output_mode="multi_hot", mask_token=9), [np.array(whole)], np.array(whole)),
    ("IntegerLookup", dict(output_mode="tf_idf"), [np.array(whole)], np.array(whole)),
    ("IntegerLookup", dict(vocabulary=[3, 5], invert=True), None, np.array([[0, 1], [2, 0]])),
    ("TextVectorization", dict(), [texts], texts),
    ("TextVectorization", dict(output_sequence_length=3), [texts], texts),
    ("TextVectorization", dict(output_sequence_length=9, max_tokens=6), [texts], texts),
    ("TextVectorization", dict(standardize="lower"), [texts], texts),
    ("TextVectorization", dict(standardize="strip_punctuation"), [texts], texts),
    ("TextVectorization", dict(standardize=None), [texts], texts),
    ("TextVectorization", dict(split="character"), [texts], texts),
    ("TextVectorization", dict(split=None, standardize="lower"), [[["A", "b"], ["a", ""]]], [["A", "z"], ["", "B"]]),
    ("TextVectorization", dict(ngrams=2), [texts], texts),
    ("TextVectorization", dict(ngrams=(1, 3), output_mode="count"), [texts], texts),
    ("TextVectorization", dict(output_mode="multi_hot"), [texts], texts),
    ("TextVectorization", dict(output_mode="tf_idf"), [texts[:4], texts[4:]], texts),
    ("TextVectorization", dict(output_mode="multi_hot", max_tokens=30, pad_to_max_tokens=True), [texts], texts),
    ("TextVectorization", dict(vocabulary=["cat", "the", "sat"]), None, [[t] for t in texts]),
    ("TextVectorization", dict(vocabulary=["cat", "the"], idf_weights=[0.5, 1.5], output_mode="tf_idf"), None, texts),
    ("TextVectorization", dict(split=None, vocabulary=["a", "b", "a b"]), None, ["a", "b", "c"]),
    ("TextVectorization", dict(split=None, vocabulary=["a", "b"], output_sequence_length=4), None, ["a", "b", "c"]),
    ("TextVectorization", dict(split=None, vocabulary=["a", "b", "a b"], ngrams=2), None, ["a", "b", "c"]),
    ("TextVectorization", dict(split=None, vocabulary=["a", "b"], output_mode="multi_hot"), None, ["a", "b", "c"]),
    ("TextVectorization", dict(split=None, output_mode="tf_idf"), [["a", "b", "a"]], ["a", "b", "c"]),
    ("TextVectorization", dict(split=None, output_mode="tf_idf"), [["a", "b", "a"], ["c", "a"]], ["a", "b", "c"]),
    ("Discretization", dict(num_bins=3), [np.array([1, np.nan, 2, np.nan, 3, 4]), np.array([np.nan, 5, np.nan, np.nan, 6, 2]),
                                          np.array([np.nan, 5, 1, 2, 3, 4, 5, 6, 7, 8, np.nan, np.nan, 6, 2])], np.array([1.0, 4, 9])),
]


def given(x, whole_):
    if isinstance(x, np.ndarray):
        return "T(%s)" % lua(x) if whole_ else "F(%s)" % lua(x)
    if isinstance(x, list) and any(isinstance(v, np.ndarray) for v in x):
        return "{ " + ", ".join(given(v, whole_) for v in x) + " }"
    return lua(x)


def tensors(x):
    if isinstance(x, list) and any(isinstance(v, np.ndarray) for v in x):
        return [tensors(v) for v in x]
    return tf.constant(x)


def main():
    out = ["-- Written by spec/ref/category.py: what Keras' layers of categories and text give.",
           "-- Rows: class, options, batches to adapt to, input, output, vocabulary or boundaries.",
           "-- luacheck: ignore 631", "return function(T, F, NONE)", "return {"]
    for cls, options, data, x in CASES:
        layer = getattr(L, cls)(**options)
        integers = cls != "Discretization"
        if data is not None:
            layer.adapt(np.array(data[0]) if len(data) == 1 else (np.array(b) for b in data))
        columns = cls == "HashedCrossing"
        y = layer([tf.constant(c) for c in x] if columns else tensors(x))
        y = y if isinstance(y, list) else np.array(y)
        learnt = None
        if hasattr(layer, "get_vocabulary"):
            learnt = list(layer.get_vocabulary())
        elif cls == "Discretization" and data is not None:
            learnt = layer.bin_boundaries
        if columns:
            xs = "{ " + ", ".join(given(c, True) for c in x) + " }"
        else:
            xs = given(x, integers)
        adapted = "nil" if data is None else "{ " + ", ".join(given(b, integers) for b in data) + " }"
        text_options = {k: (list(v) if isinstance(v, tuple) else v) for k, v in options.items()}
        nones = ", ".join("%s = NONE" % k for k, v in options.items() if v is None)
        lit = lua(text_options)
        if nones:
            lit = lit.replace("{ ", "{ %s%s" % (nones, ", " if len(lit) > 4 else " "), 1)
        out.append('{ "%s", %s, %s, %s, %s, %s },' % (cls, lit, adapted, xs, lua(y), lua(learnt)))
    out.append("}\nend")
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "category.lua")
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")


main()

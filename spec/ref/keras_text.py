"""Values of Keras' legacy preprocessing.text and preprocessing.sequence, as keras_text.lua. Run with a Python that has Keras 3."""
import json
import os
import random

import numpy as np
from keras.src.legacy.preprocessing import sequence, text
from keras.utils import pad_sequences

from luawrite import lua

TEXTS = ["The cat sat on the mat.", "the DOG, the cat & the ΟΔΥΣΣΕΥΣ!", "Ünï-cödé\tİs\nfine; a-b", "", "cat cat\u00a0cat dog"]
OPTIONS = [{}, {"num_words": 4}, {"num_words": 4, "oov_token": "<oov>"}, {"char_level": True, "lower": False}, {"lower": False, "filters": "aÜ%]", "split": "t"},
           {"oov_token": "cat"}, {"filters": ""}]
OTHER = ["the cat flew", "ünï dog dog", ""]


def tokenizer(o):
    t = text.Tokenizer(**o)
    t.fit_on_texts(TEXTS)
    t.fit_on_sequences([[1, 2, 2], [3]])
    row = {"options": o, "sequences": t.texts_to_sequences(TEXTS + OTHER), "word_index": t.word_index, "word_counts": dict(t.word_counts), "word_docs": dict(t.word_docs),
           "index_docs": list(t.index_docs.items()), "back": t.sequences_to_texts([[1, 2, 99], [3], []]), "document_count": t.document_count}
    config = t.get_config()
    row["config"] = {k: config[k] for k in ("word_counts", "index_word", "word_index")}
    row["json"] = json.loads(t.to_json())["config"]["word_counts"]
    for mode in ("binary", "count", "freq", "tfidf"):
        row[mode] = t.texts_to_matrix(TEXTS[:2] + OTHER, mode=mode).tolist()
    return row


def series(o):
    d = np.arange(40).reshape(20, 2)
    g = sequence.TimeseriesGenerator(d, np.arange(20) * 10, **o)
    return {"options": o, "length": len(g), "batches": [[x.tolist(), y.tolist()] for x, y in (g[i] for i in range(len(g)))]}


PAD = [[[1, 2, 3], [4], []], {}], [[[1, 2, 3], [4], []], {"maxlen": 2}], [[[1, 2, 3], [4]], {"maxlen": 2, "padding": "post", "truncating": "post", "value": 9}], \
    [[[1.5, 2.5], [4.5]], {"dtype": "float32", "value": -1.5}], [[[[1, 2], [3, 4]], [[5, 6]]], {"padding": "post"}], [[[1], [2, 3]], {"maxlen": 4}]
random.seed(0)
out = {
    "texts": TEXTS, "other": OTHER, "tokenizers": [tokenizer(o) for o in OPTIONS],
    "words": [[s, o, text.text_to_word_sequence(s, **o)] for s in TEXTS for o in ({}, {"lower": False}, {"split": "-"}, {"filters": "c"})],
    "hashes": [[s, n, text.hashing_trick(s, n, hash_function="md5")] for s in TEXTS for n in (2, 50, 1000003)],
    "pads": [[s, o, pad_sequences(s, **o).tolist()] for s, o in PAD],
    "table": sequence.make_sampling_table(12).tolist(), "table2": sequence.make_sampling_table(5, sampling_factor=1e-3).tolist(),
    "grams": [[s, o, *sequence.skipgrams(s, 10, negative_samples=0, shuffle=False, **o)] for s in ([1, 2, 3, 4], [1, 0, 2], []) for o in ({}, {"window_size": 1}, {"categorical": True})],
    "series": [series(o) for o in ({"length": 5}, {"length": 4, "sampling_rate": 2, "stride": 3, "batch_size": 2}, {"length": 3, "start_index": 4, "end_index": 12, "batch_size": 3},
                                   {"length": 6, "reverse": True, "batch_size": 7, "sampling_rate": 4})],
}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "keras_text.lua"), "w") as f:
    f.write("-- Made by spec/ref/keras_text.py from the real Keras; do not edit.\nreturn {\n")
    for k, v in out.items():
        f.write("  %s = %s,\n" % (k, lua(v)))
    f.write("}\n")

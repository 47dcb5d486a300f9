"""A model of text and categories as Keras saves it: python keras_vocabulary.py writes the fixture
spec/fixtures/keras/vocabulary.keras and keras_vocabulary.lua, what the model gives. With a path as
argument it opens that file instead, as Tide wrote it, and prints what the model gives.
"""
import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

L = keras.layers
here = os.path.dirname(os.path.abspath(__file__))
texts = ["The cat sat!", "the bird"]
tags = [["a", "b"], ["z", "c"]]
codes = [[7], [3]]
inputs = [tf.constant(texts), tf.constant(tags), tf.constant(codes, dtype="int64")]


def outputs(model):
    return [np.array(y) for y in model(inputs)]


def lua(v):
    return "{ " + ", ".join(lua(x) for x in v) + " }" if isinstance(v, list) else repr(round(v, 6))


if len(sys.argv) > 1:
    for y in outputs(keras.saving.load_model(sys.argv[1])):
        print(lua(y.tolist()))
    sys.exit()

words = L.TextVectorization(output_mode="int", output_sequence_length=5)
words.adapt(["the cat sat", "the dog"])
weighed = L.TextVectorization(output_mode="tf_idf", name="weighed")
weighed.adapt(["the cat sat", "the dog"])
letters = L.StringLookup(output_mode="multi_hot", name="letters")
letters.adapt(np.array([["a", "b"], ["a", "c"]]))
given = L.StringLookup(vocabulary=["b", "a"], mask_token="z", name="given")
numbers = L.IntegerLookup(name="numbers")
numbers.adapt(np.array([[3], [3], [9]]))
a, b, c = keras.Input((1,), dtype="string"), keras.Input((2,), dtype="string"), keras.Input((1,), dtype="int64")
model = keras.Model([a, b, c], [
    words(a), weighed(a), letters(b), given(b), numbers(c), L.Hashing(9)(b), L.Hashing(5, salt=3, output_mode="multi_hot")(b),
    L.CategoryEncoding(8)(c), L.HashedCrossing(12)([a, c]), L.Discretization([4.0, 5.0])(c)])
os.makedirs(os.path.join(here, "../fixtures/keras"), exist_ok=True)
model.save(os.path.join(here, "../fixtures/keras/vocabulary.keras"))
with open(os.path.join(here, "keras_vocabulary.lua"), "w") as f:
    f.write("-- Written by spec/ref/keras_vocabulary.py.\nreturn {\n")
    for y in outputs(model):
        f.write("  %s,\n" % lua([[float(v) for v in row] for row in y.reshape(2, -1).tolist()]))
    f.write("}\n")

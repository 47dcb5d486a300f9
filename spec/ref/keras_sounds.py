"""What Keras' audio_dataset_from_directory gives of a small folder: writes spec/ref/sounds/ and spec/ref/keras_sounds.lua.

Run: KERAS_BACKEND=tensorflow python spec/ref/keras_sounds.py   (Keras 3, TensorFlow 2)
"""
import os
import shutil
import keras
import numpy as np
import tensorflow as tf

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "sounds")
shutil.rmtree(root, ignore_errors=True)
rng = np.random.default_rng(3)
for path, n, channels in (("cat/one", 5, 1), ("cat/two", 8, 1), ("cat/deep/three", 3, 1), ("dog/one", 6, 1), ("dog/two", 7, 2)):
    full = os.path.join(root, path + ".wav")
    os.makedirs(os.path.dirname(full), exist_ok=True)
    tf.io.write_file(full, tf.audio.encode_wav(rng.uniform(-1, 1, (n, channels)).astype(np.float32), 8000))
open(os.path.join(root, "dog", "notes.txt"), "w").write("no sound\n")


def lua(v):
    if v is None:
        return "tide.none"
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, str):
        return '"%s"' % v
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(map(lua, v)) + " }"
    return "%.9g" % v


cases = [
    dict(), dict(batch_size=2), dict(batch_size=None, label_mode="categorical"), dict(labels=None, batch_size=3),
    dict(output_sequence_length=6, label_mode="binary", class_names=["dog", "cat"], labels="inferred", directory="first"),
    dict(label_mode="categorical", batch_size=3, directory="mono"),
    dict(ragged=True, batch_size=4, directory="mono"), dict(ragged=True, batch_size=4, label_mode="categorical", directory="mono"),
    dict(labels=[1, 0, 2, 1, 0], batch_size=4), dict(validation_split=0.4, subset="training", batch_size=9),
    dict(validation_split=0.4, subset="validation", batch_size=9), dict(label_mode=None, output_sequence_length=4, directory="mono"),
]
lines = ["-- Made by keras_sounds.py with Keras %s." % keras.__version__, 'local tide = require "tide"', "return {"]
for o in cases:
    k = dict(o)
    folder = k.pop("directory", "")
    mono = root
    if folder:  # those of one channel alone
        mono = os.path.join(root, "..", "sounds_mono")
        shutil.rmtree(mono, ignore_errors=True)
        shutil.copytree(root, mono)
        os.remove(os.path.join(mono, "dog", "two.wav"))
    ds = keras.utils.audio_dataset_from_directory(mono, shuffle=False, verbose=False, **k)
    batches = []
    for e in ds:
        x, y = e if isinstance(e, tuple) else (e, None)
        lengths = None
        if isinstance(x, tf.RaggedTensor):
            lengths = x.row_lengths().numpy().tolist()
            x = x.to_tensor()
        batches.append("{ shape = %s, x = %s, y = %s, lengths = %s }" % (
            lua(list(x.shape)), lua(x.numpy().ravel().tolist()), lua(y.numpy().tolist()) if y is not None else "nil",
            lua(lengths) if lengths else "nil"))
    if folder:
        shutil.rmtree(mono)
    k["labels"] = [v + 1 for v in k["labels"]] if isinstance(k.get("labels"), list) else k.get("labels", "inferred")
    lines.append("  { mono = %s, options = { %s },\n    names = %s,\n    batches = {\n      %s } }," % (
        lua(bool(folder)), ", ".join("%s = %s" % (a, lua(b)) for a, b in k.items()), lua(ds.class_names), ",\n      ".join(batches)))
open(os.path.join(here, "keras_sounds.lua"), "w").write("\n".join(lines + ["}"]) + "\n")

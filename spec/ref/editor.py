"""What real Keras' KerasFileEditor makes of a file, and what real Keras makes of files that Tide's editor wrote.

Run: KERAS_BACKEND=jax python spec/ref/editor.py [build/tide]   (Keras 3)

Writes spec/ref/editor.lua: the weights after the edits of spec/support/editor_edits.lua, by Keras. With a program of Tide it
has Tide do the same edits, opens the results in Keras, and writes the transcript spec/ref/editor.txt.
"""
import os
import subprocess
import sys
import tempfile

import keras
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURE = os.path.join(HERE, "../fixtures/keras/cnn.weights.h5")
L = keras.layers


def edit(editor):
    editor.rename_object("layers/dense_1", "head")
    editor.delete_object("layers/batch_normalization")
    editor.delete_object("optimizer")
    editor.delete_weight("layers/dense", "1")
    editor.add_weights("layers/dense", {"1": np.array([0.5, -0.5, 0.25, 1, 2], "float32")})
    editor.add_object("layers/extra", {"0": np.ones((2, 3), "float32"), "1": np.zeros(3, "float32")})


def flat(tree, path=""):
    out = {}
    for k, v in tree.items():
        out.update(flat(v, path + k + "/") if isinstance(v, dict) else {path + k: np.asarray(v)})
    return out


def lua(v):
    v = np.asarray(v)
    numbers = ", ".join(repr(float("%.9g" % e)) for e in v.ravel())
    return "{ shape = { %s }, values = { %s } }" % (", ".join(map(str, v.shape)), numbers)


folder = tempfile.mkdtemp()
editor = keras.saving.KerasFileEditor(FIXTURE)
edit(editor)
editor.save(folder + "/keras.weights.h5")
reference = flat(keras.saving.KerasFileEditor(folder + "/keras.weights.h5").weights_dict)
with open(os.path.join(HERE, "editor.lua"), "w") as f:
    f.write("-- Written by editor.py with Keras %s; do not edit.\nreturn {\n" % keras.__version__)
    for k in sorted(reference):
        f.write('  ["%s"] = %s,\n' % (k, lua(reference[k])))
    f.write("}\n")

if len(sys.argv) > 1:
    lines = ["Keras %s on files that Tide's KerasFileEditor and tide inspect wrote" % keras.__version__]

    def tide(code):
        subprocess.run([sys.argv[1], "-e", code], check=True)

    def inspect(*words):
        subprocess.run([sys.argv[1], "inspect", *words], check=True)

    tide("local e = tide.saving.KerasFileEditor '%s' dofile '%s' (e) e:save '%s/tide.weights.h5'"
         % (FIXTURE, os.path.join(HERE, "../support/editor_edits.lua"), folder))
    found = flat(keras.saving.KerasFileEditor(folder + "/tide.weights.h5").weights_dict)
    same = found.keys() == reference.keys() and all(
        v.dtype == found[k].dtype and np.array_equal(v, found[k]) for k, v in reference.items())
    lines.append("the edits of editor_edits.lua: %d weights, %s" % (len(found), "equal to Keras' own" if same else "OTHERWISE"))

    # a trained model with a nested one; then one with another layer in place of its last, and one that lost its last and
    # got a layer before it. Other seeds: weights that were not read would differ.
    def model(seed, batch_norm, last):
        keras.utils.set_random_seed(seed)
        x = keras.Input((4,))
        inner = keras.Sequential([keras.Input((3,)), L.Dense(3, name="inside"), L.Dropout(0.5)], name="inner")
        y = inner(L.Dense(3, activation="relu")(x))
        y = L.BatchNormalization()(y) if batch_norm else y
        y = L.Dense(2)(y)
        if last == "einsum":
            y = L.EinsumDense("ab,bc->ac", output_shape=2, bias_axes="c")(y)
        elif last:
            y = L.Dense(2)(y)
        return keras.Model(x, y)

    def largest(a, b):
        return np.abs(np.asarray(a, "float32") - np.asarray(b, "float32")).max()

    x = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)
    for dtype in ("float32", "bfloat16", "float16"):
        keras.config.set_dtype_policy(dtype)
        first = model(1, False, "dense")
        first.compile("adam", "mse")
        first.fit(x, np.ones((5, 2)), verbose=0)
        first.save(folder + "/first.keras")
        out = folder + "/renamed.weights.h5"
        inspect("rename", folder + "/first.keras", "layers/dense_2", "einsum_dense", out)
        inspect("delete", out, "optimizer", out)
        second = model(2, False, "einsum")
        before = largest(second(x), first(x))
        second.load_weights(out)
        lines.append("%s: a layer renamed, the optimizer deleted: outputs differ by %g, once loaded by %g"
                     % (dtype, before, largest(second(x), first(x))))

        third = model(3, True, None)
        tide("local e = tide.saving.KerasFileEditor '%s/first.keras' e:delete_object 'dense_2' e:delete_object 'optimizer' "
             "local one, none = tide.ones { 3 }, tide.zeros { 3 } "
             "e:add_object('layers/batch_normalization', { one, none, none, one }) e:save '%s/third.weights.h5'"
             % (folder, folder))
        pairs = list(zip(third.layers[1:3], first.layers[1:3]))

        def differ():
            return max(largest(a, b) for t, f in pairs for a, b in zip(t.get_weights(), f.get_weights()))

        before = differ()
        third.load_weights(folder + "/third.weights.h5")
        lines.append("%s: a layer deleted, one added: other layers' weights differ by %g, once loaded by %g"
                     % (dtype, before, differ()))
    with open(os.path.join(HERE, "editor.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    print("\n".join(lines))

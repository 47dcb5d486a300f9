"""Models that real Keras builds, fills by a formula, runs and saves; Tide must read them and give the same outputs.

    python spec/ref/keras_models.py       writes spec/fixtures/keras/zoo_*.{keras,h5} and spec/ref/keras_models.lua
    python spec/ref/keras_models.py open  runs Keras on the files that Tide wrote (spec/support/keras_models.lua makes them in
                                          spec/fixtures/tide) and writes spec/ref/keras_open.lua and its transcript
Needs keras >= 3.10 with the JAX backend, h5py, numpy."""
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
import keras
import numpy as np
from keras import layers

from luawrite import lua

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "fixtures", "keras")
WRITTEN = os.path.join(HERE, "..", "fixtures", "tide")


def wave(shape, k):
    """The values that spec/support/keras_models.lua makes too: sin(0.7 i + k), i counted from 0."""
    n = int(np.prod(shape)) if len(shape) else 1
    return np.sin(0.7 * np.arange(n) + k).astype("float32").reshape(shape)


def fill(model):
    k = 0
    for w in model.weights:
        v = 0.4 * wave(w.shape, k)
        name = w.path.split("/")[-1]
        if name.startswith("moving_variance"):
            v = np.abs(v) + 0.5
        w.assign(v)
        k += 1


def inputs(model):
    out = []
    for k, t in enumerate(model.inputs):
        shape = [2] + [4 if d is None else int(d) for d in t.shape[1:]]
        if t.dtype == "bool":
            out.append(wave(shape, 10 + k) > -0.5)
        elif "int" in t.dtype:
            n = int(np.prod(shape))
            out.append(((np.arange(n) * 7 + 3) % 20).reshape(shape).astype("int32"))
        else:
            out.append(2 * wave(shape, 10 + k))
    return out


def run(model, xs):
    y = model(xs if len(xs) > 1 else xs[0], training=False)
    if isinstance(y, dict):
        return {k: np.asarray(v) for k, v in y.items()}
    if isinstance(y, (list, tuple)):
        return [np.asarray(v) for v in y]
    return np.asarray(y)


def zoo_2d():
    return keras.Sequential([
        layers.Input((9, 8, 3)), layers.ZeroPadding2D(((1, 0), (2, 1))), layers.Conv2D(4, 3, strides=2, activation="elu"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), layers.BatchNormalization(axis=3), layers.PReLU(shared_axes=[1, 2]),
        layers.SeparableConv2D(6, 2, padding="same", activation="tanh"), layers.GroupNormalization(groups=3),
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"), layers.LeakyReLU(negative_slope=0.2), layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Cropping2D(((1, 2), (0, 1))), layers.AveragePooling2D(2, padding="same"), layers.LayerNormalization(axis=[1, 3]),
        layers.Conv2D(4, 3, groups=2, dilation_rate=2, padding="same", use_bias=False), layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.05),
        layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")], name="zoo_2d")


def zoo_1d():
    return keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(20, 5), layers.SpatialDropout1D(0.3), layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="gelu"),
        layers.SeparableConv1D(4, 3, activation="selu"), layers.MaxPooling1D(2), layers.RMSNormalization(), layers.Permute((2, 1)),
        layers.UnitNormalization(), layers.DepthwiseConv1D(2, activation="softplus"), layers.Conv1DTranspose(3, 2, strides=2), layers.GlobalMaxPooling1D(),
        layers.RepeatVector(3), layers.Reshape((9,)), layers.Activation("swish"), layers.GaussianNoise(0.1), layers.AlphaDropout(0.1),
        layers.Dense(4, activation="hard_sigmoid", kernel_constraint="max_norm", bias_regularizer=keras.regularizers.L1L2(0.01, 0.02)), layers.Softmax()], name="zoo_1d")


def zoo_3d():
    return keras.Sequential([
        layers.Input((6, 5, 4, 2)), layers.Conv3D(3, 2, padding="same", activation="relu"), layers.MaxPooling3D(2, padding="same"),
        layers.Conv3DTranspose(2, 2, strides=2), layers.AveragePooling3D(2), layers.Flatten(), layers.ELU(0.7), layers.Dense(2)], name="zoo_3d")


def zoo_graph():
    a = layers.Input((6,), name="a")
    b = layers.Input((4,), name="b")
    shared = layers.Dense(5, name="shared")
    inner_in = layers.Input((5,))
    inner = keras.Model(inner_in, layers.Dense(5, activation="relu", name="inner_dense")(inner_in), name="inner")
    row = keras.Sequential([layers.Input((6,)), layers.Dense(5, name="row_dense")], name="row")
    x = shared(layers.Dense(3, name="from_a")(a))
    z = layers.Dense(3, name="from_b")(b)
    y = shared(z)
    u = layers.Add()([inner(x), y])
    v = layers.Multiply()([u, row(a)])
    w = layers.Concatenate(axis=1)([u, v, inner(y)])
    p = layers.Dense(2, name="p")(w) * 2.0
    q = layers.Dot(axes=1, normalize=True)([u, v])
    r = layers.Subtract()([x, y])
    r = keras.ops.mean(keras.ops.relu(r), axis=1, keepdims=True)
    return keras.Model([a, b], {"p": p, "q": q, "r": layers.Maximum()([r, q])}, name="zoo_graph")


def zoo_recurrent():
    """Layers of two directions, whose files order by name what lists order as made, and masks that ops carry on."""
    ids = layers.Input((5,), dtype="int32", name="ids")
    x = layers.Embedding(20, 4, mask_zero=True)(ids)
    y = layers.LSTM(4, return_sequences=True)(x)
    z = layers.Concatenate()([layers.Add()([x, y]), x])
    z = layers.Bidirectional(layers.GRU(2, return_sequences=True))(z)
    z = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="ave",
                             backward_layer=layers.GRU(3, go_backwards=True, return_sequences=True))(z)
    return keras.Model(ids, layers.Dense(2)(layers.SimpleRNN(3)(z)), name="zoo_recurrent")


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.02, 2, 0.5), amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.02, weight_decay=0.1, clipnorm=0.5),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "nadam": lambda: keras.optimizers.Nadam(0.02),
    "adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "adamax": lambda: keras.optimizers.Adamax(0.02),
    "adadelta": lambda: keras.optimizers.Adadelta(0.9),
    "lion": lambda: keras.optimizers.Lion(0.01),
    "ftrl": lambda: keras.optimizers.Ftrl(0.05, l1_regularization_strength=0.001),
    "directions": lambda: keras.optimizers.Adam(0.02),
}


def optimizer_case(name):
    """Two steps, saved; the weights after a third."""
    inside = [layers.Dense(3, activation="tanh"), layers.Dense(2)]
    if name == "directions":
        inside = [layers.Reshape((2, 2)), layers.Bidirectional(layers.SimpleRNN(1))]
    model = keras.Sequential([layers.Input((4,))] + inside, name="opt_" + name)
    fill(model)
    model.compile(OPTIMIZERS[name](), "mse")
    x, y = wave((6, 4), 1), wave((6, 2), 2)
    for _ in range(2):
        model.train_on_batch(x, y)
    path = os.path.join(FIXTURES, "opt_%s.keras" % name)
    model.save(path)
    model.train_on_batch(x, y)
    return [np.asarray(w) for w in model.weights]


def make():
    out = {"models": {}, "optimizers": {}, "fixtures": {}}
    for build in (zoo_2d, zoo_1d, zoo_3d, zoo_graph, zoo_recurrent):
        model = build()
        fill(model)
        model.save(os.path.join(FIXTURES, model.name + ".keras"))
        model.save(os.path.join(FIXTURES, model.name + ".h5"))
        out["models"][model.name] = run(model, inputs(model))
    for name in OPTIMIZERS:
        out["optimizers"][name] = optimizer_case(name)
    for name in ("cnn", "fn", "norm", "min_sequential"):
        model = keras.models.load_model(os.path.join(FIXTURES, name + ".keras"), compile=False)
        out["fixtures"][name] = run(model, inputs(model))
    with open(os.path.join(HERE, "keras_models.lua"), "w") as f:
        f.write("-- Written by keras_models.py with Keras %s; do not edit.\nreturn {\n" % keras.__version__)
        for part, rows in out.items():
            f.write("  %s = {\n" % part)
            for key, v in rows.items():
                f.write("    %s = %s,\n" % (key, lua(v, 8)))
            f.write("  },\n")
        f.write("}\n")


# What the models that Tide compiled were trained on; Keras goes on with a third step from the state in the file.
STEPS = {"tide_text.keras": lambda: (np.ones((4, 12), "int32"), wave((4, 2), 5)),
         "tide_nested_end.keras": lambda: (wave((4, 3), 1), wave((4, 2), 2))}


def open_written():
    rows, third, text = {}, {}, []
    for name in sorted(os.listdir(WRITTEN)):
        path = os.path.join(WRITTEN, name)
        stem = name.split(".")[0]
        if name.endswith(".weights.h5") or name.endswith("_weights.h5") or not name.endswith((".keras", ".h5")):
            continue
        model = keras.models.load_model(path)
        y = run(model, inputs(model))
        optimizer = getattr(model, "optimizer", None)
        text.append("%s: %s, %d weights, %s" % (name, type(model).__name__, len(model.weights), "optimizer %s with %d variables, iteration %d" % (
            optimizer.name, len(optimizer.variables), int(optimizer.iterations)) if optimizer else "not compiled"))
        rows[name] = y
        if name in STEPS:
            model.train_on_batch(*STEPS[name]())
            third[name] = [np.asarray(w) for w in model.weights]
        for weights in (stem + ".weights.h5", stem + "_weights.h5"):
            other = os.path.join(WRITTEN, weights)
            if os.path.exists(other):
                for w in model.weights:
                    w.assign(0 * w)
                model.load_weights(other)
                again = run(model, inputs(model))
                first = lambda v: v if isinstance(v, np.ndarray) else list(v.values())[0] if isinstance(v, dict) else v[0]
                text.append("%s: loaded, outputs differ by %g" % (weights, abs(first(again) - first(y)).max()))
    with open(os.path.join(HERE, "keras_open.lua"), "w") as f:
        f.write("-- Written by keras_models.py open with Keras %s; do not edit.\nreturn {\n" % keras.__version__)
        for key, v in rows.items():
            f.write("  [\"%s\"] = %s,\n" % (key, lua(v, 8)))
        f.write("  third_step = %s,\n}\n" % lua(third, 8))
    with open(os.path.join(HERE, "keras_open.txt"), "w") as f:
        f.write("Keras %s (%s backend) on the files that Tide wrote\n%s\n" % (keras.__version__, keras.backend.backend(), "\n".join(text)))
    print("\n".join(text))


if __name__ == "__main__":
    (open_written if sys.argv[1:] == ["open"] else make)()

"""What clone_model, pop, add, LoRA under `trainable`, clear_session and names of metrics give:
KERAS_BACKEND=tensorflow python spec/ref/surgery.py (Keras 3.15). And a learning-rate range test by
hand: one step of Keras per rate, the loss before it, the steepest descent of the smoothed losses by
numpy.gradient. Writes surgery.lua."""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import keras
from keras import layers as L
from luawrite import write

rng = np.random.default_rng(5)
rows = []


def numbers(*shape):
    return rng.normal(size=shape).round(3).astype("float32")


def add(name, **row):
    rows.append(dict(name=name, **row))


def fill(model):
    model.set_weights([0.4 * numbers(*v.shape) for v in model.get_weights()])
    return [np.array(v) for v in model.get_weights()]


def sequential():
    return keras.Sequential([keras.Input((3,), name="in"), L.Dense(4, activation="relu", name="a"),
                             L.Dense(2, name="b")], name="row")


def functional(inner):
    x = keras.Input((3,), name="in")
    h = L.Dense(4, activation="tanh", name="a")(x)
    h = L.Add(name="sum")([h, inner(h)])
    return keras.Model(x, L.Dense(2, name="b")(h), name="graph")


def block():
    return keras.Sequential([keras.Input((4,)), L.Dense(5, name="wide"), L.Dense(4, name="back")], name="block")


def visits(model, **kw):
    seen = []

    def clone(layer):
        seen.append(layer.name)
        return layer.__class__.from_config(layer.get_config())
    return seen, keras.models.clone_model(model, clone_function=clone, **kw)


seen, clone = visits(sequential())
add("visits sequential", seen=seen, names=[l.name for l in clone.layers], model=clone.name)
seen, clone = visits(functional(block()))
add("visits functional", seen=sorted(seen), names=[l.name for l in clone.layers], model=clone.name)
seen, clone = visits(functional(block()), recursive=True)
add("visits recursive", seen=sorted(seen), names=[l.name for l in clone.get_layer("block").layers])

# other options by clone_function
model = functional(block())
wide = keras.models.clone_model(model, recursive=True, clone_function=lambda l: l.__class__.from_config(
    dict(l.get_config(), activation="relu") if isinstance(l, L.Dense) else l.get_config()))
x = numbers(2, 3)
add("clone_function", weights=fill(wide), x=x, out=np.array(wide(x)))

# layers put between by call_function, the layers themselves shared
model = functional(block())
w = fill(model)


def call(layer, *args, **kwargs):
    out = layer(*args, **kwargs)
    return L.Rescaling(0.5)(out) if isinstance(layer, L.Dense) else out


halved = keras.models.clone_model(model, clone_function=lambda l: l, call_function=call)
add("call_function", weights=w, x=x, out=np.array(halved(x)), names=[l.name for l in halved.layers],
    shared=halved.get_layer("a") is model.get_layer("a"))

# on other inputs
model = functional(block())
other = keras.Input((3,), name="other")
whole = keras.models.clone_model(model, input_tensors=other)
w = fill(whole)
add("input_tensors", weights=w, x=x, out=np.array(whole(x)), names=[l.name for l in whole.layers])

model = sequential()
model.compile(keras.optimizers.SGD(0.1, momentum=0.5), loss="mse", metrics=["mae"])
clone = keras.models.clone_model(model)
add("compiled", compiled=clone.compiled, rate=float(clone.optimizer.learning_rate.numpy()),
    momentum=clone.optimizer.momentum, same=clone.optimizer is model.optimizer)

# pop and add
model = sequential()
model.pop()
add("pop", built=model.built, shape=[0, model.output_shape[1]], n=len(model.layers))
model = sequential()
model.add(L.Dense(3), rebuild=False)
add("add without rebuild", built=model.built, n=len(model.layers))

# LoRA and trainable
model = sequential()
a = model.layers[0]
a.enable_lora(2)
names = lambda: [v.name for v in model.trainable_variables]
row = dict(on=names())
a.trainable = False
row["frozen"] = names()
add("lora", **row)

# names
keras.utils.clear_session()
first = [L.Dense(1).name, L.Dense(1).name]
keras.config.set_dtype_policy("mixed_bfloat16")
keras.utils.clear_session()
add("clear_session", first=first, again=L.Dense(1).name, policy=keras.config.dtype_policy().name)


def nearness(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), -1)


model = sequential()
model.compile("sgd", "mse", metrics=[nearness])
h = model.fit(numbers(4, 3), numbers(4, 2), verbose=0)
add("metric", names=sorted(h.history))

# ---- the range test ----


def sweep(name, model, x, y, batch, optimizer, loss, lo, hi, steps, beta=0.98, stop=4.0, skip=(10, 1)):
    start = fill(model)
    model.compile(optimizer, loss)
    losses, smoothed, rates, avg, best = [], [], [], 0.0, 0.0
    at = 0
    for i in range(steps):
        rate = lo * (hi / lo) ** (i / (steps - 1))
        model.optimizer.learning_rate.assign(rate)
        if at >= len(x):
            at = 0
        value = float(model.train_on_batch(x[at:at + batch], y[at:at + batch]))
        at += batch
        avg = beta * avg + (1 - beta) * value
        s = avg / (1 - beta ** (i + 1))
        losses.append(value), smoothed.append(s), rates.append(rate)
        if not np.isfinite(s) or (i > 0 and s > stop * best):
            break
        best = s if i == 0 else min(best, s)
    cut = np.array(smoothed[skip[0]:len(smoothed) - skip[1]])
    k = int(np.argmin(np.gradient(cut))) + skip[0]
    add(name, weights=start, x=x, y=y, losses=losses, smoothed=smoothed, rates=rates, suggestion=rates[k], at=k + 1)


x = numbers(24, 3)
y = np.stack([x[:, 0] - x[:, 1], np.abs(x[:, 2])], 1).astype("float32")
sweep("sgd", sequential(), x, y, 6, keras.optimizers.SGD(), "mse", 1e-4, 10, 60)
sweep("adam", functional(block()), x, y, 8, keras.optimizers.Adam(), "mae", 1e-6, 1, 40, beta=0.9)
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "surgery.lua"), "surgery.py", rows)
print([r["name"] for r in rows])
print([(r["name"], r["at"], len(r["losses"]), r["suggestion"]) for r in rows if "at" in r])

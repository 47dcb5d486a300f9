"""Writes what Keras offers as api.lua: every public class, function, method and option with its default, read from the real
Keras by inspect.signature, and what stands in BESIDE: names of later versions and of other libraries that Tide has too.

    python spec/ref/api.py
"""
import inspect
import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras  # noqa: E402
from keras.src.layers.preprocessing.data_layer import DataLayer as TFDataLayer  # noqa: E402
from keras.src.layers.preprocessing.image_preprocessing.base_image_preprocessing_layer import (  # noqa: E402
    BaseImagePreprocessingLayer)
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))

# Namespaces in the order of the report.
SPACES = ["", "layers", "activations", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers",
          "optimizers.schedules", "callbacks", "models", "ops", "ops.image", "ops.linalg", "ops.nn", "ops.numpy", "random", "utils",
          "utils.bounding_boxes", "saving", "config", "dtype_policies", "backend", "mixed_precision", "tree", "datasets",
          "preprocessing", "preprocessing.image", "preprocessing.sequence", "applications", "visualization", "distillation",
          "wrappers", "export", "quantizers", "distribution"]

# Not in the installed Keras: from its next version, and the layers, schedules, optimizers and callbacks of other libraries under
# which users look for them. None: only the name is compared.
KB = ("kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None, bias_regularizer=None, "
      "activity_regularizer=None, kernel_constraint=None, bias_constraint=None")
TRANSFORMER = ("intermediate_dim, num_heads, dropout=0, activation='relu', layer_norm_epsilon=1e-05, "
               "kernel_initializer='glorot_uniform', bias_initializer='zeros', normalize_first=False")
BESIDE = {
    "layers": {
        "TernaryDense": "units, threshold=None, activation=None, use_bias=True, " + KB,
        # keras_hub.layers
        "TransformerEncoder": TRANSFORMER, "TransformerDecoder": TRANSFORMER,
        "RotaryEmbedding": "max_wavelength=10000, scaling_factor=1.0, sequence_axis=1, feature_axis=-1",
        "SinePositionEncoding": "max_wavelength=10000",
        "PositionEmbedding": "sequence_length, initializer='glorot_uniform'",
        "TokenAndPositionEmbedding": "vocabulary_size, sequence_length, embedding_dim, embeddings_initializer='uniform', "
                                     "mask_zero=False",
        # torch.nn and others
        "WeightNormalization": None, "InstanceNormalization": None, "PixelShuffle": None, "Maxout": None, "GatedLinearUnit": None,
        "EmbeddingBag": None, "Fold": None, "Unfold": None, "CosineSimilarity": None, "LocalResponseNormalization": None,
        "ReflectionPadding1D": None, "ReflectionPadding2D": None, "StochasticDepth": None, "GradientReversal": None,
    },
    "optimizers": {n: None for n in ("LBFGS", "RAdam", "Rprop", "Yogi", "AdaBelief", "LARS", "Lookahead")},
    "optimizers.schedules": {n: None for n in ("Warmup", "OneCycle", "Cyclic", "LinearRamp", "StepDecay", "MultiStepDecay",
                                               "Chained", "Sequential")},
    "callbacks": {n: None for n in ("CheckpointManager", "NaNGuard", "StochasticWeightAveraging", "PlotHistory", "ProgressFile")},
    "models": {"Model:find_lr": None, "Model:find_batch_size": None, "Model:rename": None},
}

# The classes whose methods the others inherit: what these have is asked for once, and not at all where Keras hides them.
BASES = [keras.layers.Layer, keras.Model, keras.Initializer, keras.Regularizer, keras.constraints.Constraint, keras.Loss,
         keras.Metric, keras.Optimizer, keras.callbacks.Callback, keras.optimizers.schedules.LearningRateSchedule,
         keras.DTypePolicy, keras.Quantizer, keras.layers.RNN, DropoutRNNCell, TFDataLayer, BaseImagePreprocessingLayer]
NAMES = {}  # identity -> the name under which a value was met first, in its namespace


def literal(v):
    if v is None:
        return "N"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return repr(v)
    if isinstance(v, str):
        return '"%s"' % v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    if isinstance(v, (tuple, list)):
        return "{ %s }" % ", ".join(literal(x) for x in v)
    return '"%s"' % getattr(v, "__name__", type(v).__name__)


def parameters(f):
    """[(name, default or EMPTY, by name only)], and whether others are taken by name."""
    found, more = [], False
    for p in inspect.signature(f).parameters.values():
        if p.kind == p.VAR_KEYWORD:
            more = True
        elif p.kind != p.VAR_POSITIONAL:
            found.append((p.name, p.default, p.kind == p.KEYWORD_ONLY))
    return found, more


def constructor(c):
    """Options of a class; where it passes others on, those of the class above it too."""
    found, seen = [], {"self", "args", "kwargs"}
    for k in inspect.getmro(c):
        if k is object or "__init__" not in vars(k):
            continue
        mine, more = parameters(k.__init__)
        for name, default, named in mine:
            if name not in seen and (k is c or default is not inspect.Parameter.empty):
                seen.add(name)
                found.append((name, default, named or k is not c))
        if not more:
            break
    return found


def written(found):
    return ", ".join('{ "%s" }' % n if d is inspect.Parameter.empty else '{ "%s", %s%s }' % (n, literal(d), ', "named"' if k else "")
                     for n, d, k in found)


def entry(name, kind, found):
    return '{ "%s", "%s", %s }' % (name, kind, written(found)) if found else '{ "%s", "%s" }' % (name, kind)


def members(c):
    """Public methods and computed fields of a class that Python's object does not have."""
    for name, v in inspect.getmembers(c):
        if name.startswith("_") or name in dir(object):
            continue
        if getattr(v, "__module__", None) == "collections.abc":  # what makes a class a dictionary in Python
            continue
        if inspect.isfunction(v) or inspect.ismethod(v):
            yield name, "method", [p for p in parameters(v)[0] if p[0] not in ("self", "cls")]
        elif isinstance(v, property):
            yield name, "field", []


def lines_of(space):
    module = keras
    for part in filter(None, space.split(".")):
        module = getattr(module, part)
    extra = dict(BESIDE.get(space, {}))
    out, local = [], {}
    # names that are written as their own come before those that are other names of them
    order = sorted((n for n in dir(module) if not n.startswith("_")),
                   key=lambda n: (getattr(getattr(module, n), "__name__", None) != n, n))
    for name in order:
        v = getattr(module, name)
        if inspect.ismodule(v):
            continue
        if id(v) in local:
            out.append((name, '{ "%s", "alias", "%s" }' % (name, local[id(v)])))
            continue
        local[id(v)] = name
        if id(v) in NAMES:
            out.append((name, '{ "%s", "alias", "%s" }' % (name, NAMES[id(v)])))
            continue
        NAMES[id(v)] = (space + "." if space else "") + name
        if inspect.isclass(v):
            found = constructor(v)
            out.append((name, entry(name, "class", found)))
            above = {m for b in BASES if v is not b and issubclass(v, b) for m, _, _ in members(b)}
            for m, kind, args in members(v):
                if m not in above and m not in [option[0] for option in found]:
                    out.append((name + ":" + m, entry(name + ":" + m, kind, args)))
        elif callable(v):
            out.append((name, entry(name, "function", parameters(v)[0])))
    for name, signature in extra.items():
        if name in dict(out):
            raise SystemExit("api.py: Keras has %s.%s by now" % (space, name))
        kind = "method" if ":" in name else "class"
        found = parameters(eval("lambda %s: 0" % signature))[0] if signature else []
        out.append((name, entry(name, kind if signature else "name", found)))
    return [line for _, line in sorted(out)]


def main():
    with open(os.path.join(HERE, "api.lua"), "w") as f:
        f.write("-- Written by api.py from Keras %s; do not edit. A row is { name, kind, { option, default, \"named\" }, ... }: an\n"
                "-- option without a default must be given, what is \"named\" has no place in the order.\n" % keras.__version__)
        f.write('local N = require "tide.none"\nreturn {\n')
        # the namespaces of whole families first: the names on keras itself are other names of theirs
        for space in [s for s in SPACES if s] + [""]:
            f.write('  { "%s",\n' % space)
            for line in lines_of(space):
                f.write("    %s,\n" % line)
            f.write("  },\n")
        f.write("}\n")


if __name__ == "__main__":
    sys.exit(main())

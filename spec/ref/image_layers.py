"""Writes image_layers.lua: what Keras' layers of pictures make of images, masks, boxes and labels, by choices that are stored too.

Run: KERAS_BACKEND=tensorflow python spec/ref/image_layers.py, with Keras 3 and TensorFlow.
"""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np

L = keras.layers
images = (np.sin(np.arange(2 * 7 * 9 * 2) * 0.7) * 100 + 100).reshape(2, 7, 9, 2).astype(np.float32)
masks = (np.arange(2 * 7 * 9) * 5 % 7).reshape(2, 7, 9, 1).astype(np.int32)
boxes = np.array([[[1, 1, 6, 5], [0, 2, 9, 7], [6, 4, 8, 6]], [[2, 0, 4, 3], [0, 0, 1, 1], [3, 2, 8, 6]]], np.float32)
labels = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
convert = keras.utils.bounding_boxes.convert_format

cases = [
    ("Resizing", dict(height=5, width=12)),
    ("Resizing", dict(height=5, width=5, interpolation="nearest", crop_to_aspect_ratio=True)),
    ("Resizing", dict(height=9, width=5, pad_to_aspect_ratio=True, fill_value=7)),
    ("Resizing", dict(height=4, width=4, interpolation="lanczos3", antialias=True, data_format="channels_first")),
    ("CenterCrop", dict(height=4, width=5)),
    ("CenterCrop", dict(height=9, width=5)),
    ("CenterCrop", dict(height=5, width=3, data_format="channels_first")),
    ("RandomFlip", dict(mode="horizontal", seed=3)),
    ("RandomFlip", dict(mode="vertical", seed=4)),
    ("RandomFlip", dict(seed=4)),
    ("RandomFlip", dict(seed=5, data_format="channels_first")),
    ("RandomRotation", dict(factor=0.2, seed=1)),
    ("RandomRotation", dict(factor=[0.1, 0.3], fill_mode="constant", fill_value=9, interpolation="nearest", seed=2)),
    ("RandomRotation", dict(factor=0.5, fill_mode="wrap", seed=3, data_format="channels_first")),
    ("RandomTranslation", dict(height_factor=0.4, width_factor=[-0.5, 0.2], seed=1)),
    ("RandomTranslation", dict(height_factor=[0.3, 0.4], width_factor=0.3, fill_mode="nearest", seed=2)),
    ("RandomZoom", dict(height_factor=0.5, seed=1)),
    ("RandomZoom", dict(height_factor=[-0.6, -0.2], width_factor=[0.1, 0.5], fill_mode="constant", seed=2)),
    ("RandomZoom", dict(height_factor=[-0.6, -0.2], width_factor=0.5, seed=7, data_format="channels_first")),
    ("RandomShear", dict(x_factor=0.4, y_factor=0.3, seed=1)),
    ("RandomShear", dict(x_factor=[0.2, 0.3], y_factor=[0, 0.1], fill_mode="wrap", seed=2)),
    ("RandomPerspective", dict(scale=0.6, seed=1)),
    ("RandomPerspective", dict(factor=[1, 1], scale=0.4, interpolation="nearest", fill_value=3, seed=2)),
    ("MaxNumBoundingBoxes", dict(max_number=2)),
    ("MaxNumBoundingBoxes", dict(max_number=5, fill_value=-2)),
    ("MaxNumBoundingBoxes", dict(max_number=1, fill_value=0)),
    ("MaxNumBoundingBoxes", dict(max_number=3, data_format="channels_first")),
]
# Formats in which Keras' own layer is right: those of RandomRotation and RandomPerspective take xyxy for granted.
only_corners = ("RandomRotation", "RandomPerspective")


def number(v):
    if isinstance(v, (bool, np.bool_)):
        return "true" if v else "false"
    return str(int(v)) if isinstance(v, (int, np.integer)) else "%.9g" % v


def lua(v):
    if isinstance(v, (list, tuple)):
        return "{ %s }" % ", ".join(lua(x) for x in v)
    if isinstance(v, dict):
        return "{ %s }" % ", ".join("%s = %s" % (k, lua(x)) for k, x in v.items())
    return '"%s"' % v if isinstance(v, str) else number(v)


def array(a):
    a = np.asarray(a)
    return "{ dtype = \"%s\", shape = { %s }, data = { %s } }" % (
        a.dtype, ", ".join(str(d) for d in a.shape), ", ".join(number(v) for v in a.reshape(-1)))


def chosen(name, t):
    if name == "Resizing":
        return lua({"height": int(t[0]), "width": int(t[1])})
    parts = []
    for k, v in (t or {}).items():
        plain = isinstance(v, (int, tuple, list)) or k == "input_shape"
        parts.append("%s = %s" % (k, lua([int(x) for x in v]) if k == "input_shape" else lua(v) if plain else array(v)))
    return "{ %s }" % ", ".join(parts)


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "image_layers.lua"), "w") as out:
    out.write("-- Made by image_layers.py with Keras %s; do not edit.\nreturn {\n" % keras.__version__)
    for key, value in (("images", images), ("masks", masks), ("boxes", boxes), ("labels", labels)):
        out.write("  %s = %s,\n" % (key, array(value)))
    for name, options in cases:
        first = options.get("data_format") == "channels_first"
        x, m = (np.moveaxis(a, -1, 1) if first else a for a in (images, masks))
        size = dict(height=7, width=9)
        for form in ("xyxy",) if name in only_corners else ("xyxy", "rel_center_xywh"):
            layer = getattr(L, name)(bounding_box_format=form, **options)
            data = {"images": x, "labels": labels}
            t = layer.get_random_transformation(data, training=True)
            given = {"boxes": convert(boxes, "xyxy", form, **size), "labels": keras.ops.convert_to_tensor(labels)}
            done = layer.transform_bounding_boxes(given, t, training=True)
            out.write("  {\n    class = \"%s\", options = %s, format = \"%s\",\n    chosen = %s,\n" % (name, lua(options), form, chosen(name, t)))
            if form == "xyxy":
                out.write("    images = %s,\n    masks = %s,\n" % (
                    array(layer.transform_images(keras.ops.convert_to_tensor(x), t, training=True)),
                    array(layer.transform_segmentation_masks(keras.ops.convert_to_tensor(m), t, training=True))))
            out.write("    boxes = %s,\n    labels = %s,\n  },\n" % (array(done["boxes"]), array(done["labels"])))
    out.write("}\n")

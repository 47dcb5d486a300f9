"""Writes image_ops.lua: calls of tide.ops.image and their results by Keras, in the form of lua_ops.lua.

JAX computes in float64 where its backend and TensorFlow's agree, or where it alone follows the documentation (the modes of
map_coordinates). TensorFlow's functions, in float32, give what JAX does otherwise: projections (coordinates are mirrored, not
positions), Gaussian blurs, Sobel's borders, areas. Run: KERAS_BACKEND=jax python spec/ref/image_ops.py, with Keras 3 and TensorFlow.
"""
import os

os.environ["KERAS_BACKEND"] = "jax"
import jax

jax.config.update("jax_enable_x64", True)
import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import image as in_tf

I = keras.ops.image
inputs = {
    "pic": np.cos(np.arange(40.0) * 1.7).reshape(1, 5, 4, 2),
    "one": np.sin(np.arange(30.0) * 2.3).reshape(5, 6, 1),
    "rgb": (np.sin(np.arange(36.0) * 3.1 + 0.2) * 0.4 + 0.5).reshape(1, 3, 4, 3),
    "vol": np.sin(np.arange(48.0)).reshape(1, 3, 4, 4, 1),
    "board": (np.arange(60) * 47 % 256).reshape(1, 5, 4, 3).astype(np.uint8),
    "field": np.cos(np.arange(20.0) * 1.1).reshape(4, 5),
    "places": np.array([[-1.3, 0.2, 3.7, 4.4, -2.4, 9.7], [0.6, 1.4, 2.3, -0.7, 5.2, -7.1]]),
}
matrix = np.array([1.25, 0.125, -1.25, 0.0625, 0.875, 1.5, 0.0, 0.03125])
matrices = "{ 1.25, 0.125, -1.25, 0.0625, 0.875, 1.5, 0, 0.03125 }"
start, end = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 4.0]]), np.array([[0.25, 0.0], [2.5, 0.5], [0.0, 3.0], [3.5, 4.0]])
starts, ends = "{ { 0, 0 }, { 3, 0 }, { 0, 4 }, { 3, 4 } }", "{ { 0.25, 0 }, { 2.5, 0.5 }, { 0, 3 }, { 3.5, 4 } }"
whole, coordinates = "whole numbers", "the transforms have none"


def first(x):
    return np.moveaxis(x, -1, -3)


def f(x):
    return np.asarray(x, np.float32)


cases = []
for method in ("bilinear", "bicubic", "lanczos3", "lanczos5"):
    for size in ((3, 6), (9, 2)):
        for antialias in (False, True):
            cases.append(("resize", "ops.resize(pic, { %d, %d }, \"%s\", %s)" % (*size, method, str(antialias).lower()),
                          "I.resize(pic, %r, %r, antialias=%r)" % (size, method, antialias)))
cases += [
    ("resize", 'ops.resize(one, { 3, 4 }, "nearest")', 'I.resize(one, (3, 4), "nearest")'),
    ("resize", 'ops.resize(pic, { 7, 9 }, "nearest")', 'I.resize(pic, (7, 9), "nearest")'),
    ("resize", 'ops.resize(pic, { 2, 3 }, "area")', 'in_tf.resize(f(pic), (2, 3), "area")'),
    ("resize", 'ops.resize(board, { 3, 3 })', "I.resize(board, (3, 3))", whole),
    ("resize", 'ops.resize(board, { 9, 7 }, "lanczos3")', 'I.resize(board, (9, 7), "lanczos3")', whole),
    ("resize", "ops.resize(pic, { 4, 4 }, { crop_to_aspect_ratio = true })", "I.resize(pic, (4, 4), crop_to_aspect_ratio=True)"),
    ("resize", "ops.resize(one, { 6, 2 }, { crop_to_aspect_ratio = true })", "I.resize(one, (6, 2), crop_to_aspect_ratio=True)"),
    ("resize", "ops.resize(one, { 6, 2 }, { pad_to_aspect_ratio = true, fill_value = 2 })",
     "I.resize(one, (6, 2), pad_to_aspect_ratio=True, fill_value=2.0)"),
    ("resize", "ops.resize(pic, { 3, 8 }, { pad_to_aspect_ratio = true })", "I.resize(pic, (3, 8), pad_to_aspect_ratio=True)"),
    ("resize", 'ops.resize(ops.moveaxis(pic, -1, -3), { 3, 8 }, { data_format = "channels_first" })',
     'I.resize(first(pic), (3, 8), data_format="channels_first")'),
    ("scale_and_translate", 'ops.scale_and_translate(pic, { 1, 7, 6, 2 }, { 1.5, 1.2 }, { 0.3, -0.4 }, { 2, 3 }, "linear")',
     'I.scale_and_translate(pic, (1, 7, 6, 2), np.array([1.5, 1.2]), np.array([0.3, -0.4]), (1, 2), "linear")'),
    ("scale_and_translate", 'ops.scale_and_translate(field, { 3, 5 }, { 0.6 }, { 0.5 }, { 1 }, "lanczos3")',
     'I.scale_and_translate(field, (3, 5), np.array([0.6]), np.array([0.5]), (0,), "lanczos3")'),
    ("scale_and_translate", 'ops.scale_and_translate(field, { 3, 9 }, { 0.6, 2 }, { 0.5, -1 }, { 1, -1 }, "cubic", false)',
     'I.scale_and_translate(field, (3, 9), np.array([0.6, 2.0]), np.array([0.5, -1.0]), (0, 1), "cubic", False)'),
    ("scale_and_translate", 'ops.scale_and_translate(board, { 1, 3, 4, 3 }, { 0.7 }, { 0.1 }, { 2 }, "lanczos5")',
     'np.clip(np.round(I.scale_and_translate(board, (1, 3, 4, 3), np.array([0.7]), np.array([0.1]), (1,), "lanczos5")),'
     ' board.min(), board.max()).astype(np.uint8)', whole),
    ("pad_images", "ops.pad_images(pic, 1, 2, { target_height = 7, right_padding = 0 })",
     "I.pad_images(pic, 1, 2, target_height=7, right_padding=0)"),
    ("pad_images", 'ops.pad_images(ops.moveaxis(one, -1, -3), 1, 2, 3, 0, { data_format = "channels_first" })',
     'I.pad_images(first(one), 1, 2, 3, 0, data_format="channels_first")'),
    ("crop_images", "ops.crop_images(pic, 1, 0, { target_height = 3, right_cropping = 2 })",
     "I.crop_images(pic, 1, 0, target_height=3, right_cropping=2)"),
    ("crop_images", "ops.crop_images(one, { bottom_cropping = 1, target_height = 2, right_cropping = 1, target_width = 3 })",
     "I.crop_images(one, bottom_cropping=1, target_height=2, right_cropping=1, target_width=3)"),
]
for mode in ("constant", "nearest", "wrap", "reflect"):
    for way in ("bilinear", "nearest"):
        cases.append(("affine_transform", 'ops.affine_transform(pic, %s, "%s", "%s", 0.5)' % (matrices, way, mode),
                      'in_tf.affine_transform(f(pic), f(matrix)[None], "%s", "%s", 0.5)' % (way, mode)))
cases += [
    ("affine_transform", 'ops.affine_transform(ops.moveaxis(one, -1, -3), %s, { data_format = "channels_first" })' % matrices,
     'in_tf.affine_transform(f(first(one)), f(matrix), data_format="channels_first")'),
    ("perspective_transform", "ops.perspective_transform(pic, %s, %s)" % (starts, ends),
     "in_tf.perspective_transform(f(pic), f(start), f(end))"),
    ("perspective_transform", 'ops.perspective_transform(one, %s, %s, "nearest", 2)' % (ends, starts),
     'in_tf.perspective_transform(f(one), f(end), f(start), "nearest", 2.0)'),
]
for mode in ("constant", "nearest", "wrap", "mirror", "reflect"):
    for order in (0, 1):
        cases.append(("map_coordinates", 'ops.map_coordinates(field, places, %d, "%s", 0.5)' % (order, mode),
                      'I.map_coordinates(field, places, %d, "%s", 0.5)' % (order, mode)))
cases += [
    ("map_coordinates", "ops.map_coordinates(vol[{ 1, {}, {}, {}, 1 }], { { 0.25, 1.125 }, { 2.625, -0.5 }, { 1, 3.375 } }, 1)",
     "I.map_coordinates(vol[0, ..., 0], np.array([[0.25, 1.125], [2.625, -0.5], [1, 3.375]]), 1)"),
    ("gaussian_blur", "ops.gaussian_blur(pic, { 3, 3 }, { 1, 2 })", "in_tf.gaussian_blur(f(pic), (3, 3), (1.0, 2.0))"),
    ("gaussian_blur", "ops.gaussian_blur(one, 5, 1.5)", "in_tf.gaussian_blur(f(one), (5, 5), (1.5, 1.5))"),
    ("gaussian_blur", "ops.gaussian_blur(pic, 4, 0.8)", "in_tf.gaussian_blur(f(pic), (4, 4), (0.8, 0.8))"),
    ("elastic_transform", "ops.elastic_transform(pic, { alpha = 0 })", "pic"),
    ("sobel_edges", "ops.sobel_edges(pic)", "in_tf.sobel_edges(f(pic))"),
    ("ssim", "ops.ssim(rgb, rgb * rgb, { filter_size = 3 })", "f(I.ssim(rgb, rgb * rgb, filter_size=3))"),
    ("ssim", "ops.ssim(pic[1], pic[1] * 0.5 + 0.1, 2, 4, 1, 0.02, 0.01)",
     "f(I.ssim(pic[0], pic[0] * 0.5 + 0.1, 2.0, 4, 1.0, 0.02, 0.01))"),
    ("rgb_to_grayscale", "ops.rgb_to_grayscale(rgb)", "f(I.rgb_to_grayscale(rgb))"),
    ("rgb_to_grayscale", "ops.rgb_to_grayscale(board)", "I.rgb_to_grayscale(board)", whole),
    ("rgb_to_hsv", "ops.rgb_to_hsv(rgb)", "I.rgb_to_hsv(rgb)"),
    ("rgb_to_hsv", 'ops.rgb_to_hsv(ops.moveaxis(rgb, -1, -3), "channels_first")', 'I.rgb_to_hsv(first(rgb), "channels_first")'),
    ("hsv_to_rgb", "ops.hsv_to_rgb(rgb)", "I.hsv_to_rgb(rgb)"),
    ("hsv_to_rgb", "ops.hsv_to_rgb(rgb * 2 - 0.5)", "I.hsv_to_rgb(rgb * 2 - 0.5)"),
    ("extract_patches", "ops.extract_patches(pic, 2)", "I.extract_patches(pic, 2)"),
    ("extract_patches", "ops.extract_patches(pic, { 3, 2 }, 1)", "I.extract_patches(pic, (3, 2), 1)"),
    ("extract_patches", 'ops.extract_patches(one, { 3, 2 }, 2, 1, "same")', 'I.extract_patches(one, (3, 2), 2, 1, "same")'),
    ("extract_patches", 'ops.extract_patches(pic, 2, 1, 2, "same")', 'I.extract_patches(pic, 2, 1, 2, "same")'),
    ("extract_patches", 'ops.extract_patches(ops.moveaxis(pic, -1, -3), 2, { data_format = "channels_first" })',
     'I.extract_patches(first(pic), 2, data_format="channels_first")'),
    ("extract_patches", "ops.extract_patches(vol, { 2, 2, 3 }, 1)", "I.extract_patches(vol, (2, 2, 3), (1, 1, 1))"),
    ("extract_patches_3d", "ops.extract_patches_3d(vol, 2)", "I.extract_patches_3d(vol, 2)"),
    ("extract_patches_3d", 'ops.extract_patches_3d(vol[1], { 1, 3, 2 }, { 2, 1, 1 }, 1, "same")',
     'I.extract_patches_3d(vol[0], (1, 3, 2), (2, 1, 1), 1, "same")'),
    ("reconstruct_patches", "ops.reconstruct_patches(ops.extract_patches(pic, 2), 2)", "pic[:, :4]"),
    ("reconstruct_patches", 'ops.reconstruct_patches(ops.extract_patches(pic, 3, { padding = "same" }), 3, { 5, 4 }, { padding = "same" })',
     "pic"),
]


def number(v):
    if isinstance(v, (int, np.integer)):
        return str(int(v))
    return repr(float(v))


def array(a):
    a = np.asarray(a)
    dtype = {"uint8": "uint8", "float32": "float32"}.get(str(a.dtype), "float64")
    values = ["%.9g" % v for v in a.reshape(-1)] if dtype == "float32" else [number(v) for v in a.reshape(-1)]
    return "{ dtype = \"%s\", shape = { %s }, data = { %s } }" % (dtype, ", ".join(str(d) for d in a.shape), ", ".join(values))


names = dict(globals(), **inputs)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "image_ops.lua"), "w") as out:
    out.write("-- Made by image_ops.py with Keras %s; do not edit.\nreturn {\n  inputs = {\n" % keras.__version__)
    for name, value in inputs.items():
        out.write("    %s = %s,\n" % (name, array(value)))
    out.write("  },\n")
    for case in cases:
        result = np.asarray(eval(case[2], names))
        why = "\n    why = \"%s\"," % case[3] if len(case) > 3 else ""
        out.write("  {\n    op = \"%s\",\n    call = [==[%s]==],\n    by = [==[%s]==],%s\n    results = { %s },\n  },\n" % (
            case[0], case[1], case[2], why, array(result)))
    out.write("}\n")

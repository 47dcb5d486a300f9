"""Writes bounding_boxes.lua: what Keras' utils.bounding_boxes give. Run: python spec/ref/bounding_boxes.py, with Keras 3."""
import os

import keras
import numpy as np

B = keras.utils.bounding_boxes
formats = ["xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh"]
boxes = np.array([[[1, 2, 6, 5], [-3, 0, 9, 12], [4, 4, 4, 6]], [[0.5, 1, 2, 3], [7, 1, 8, 2], [-5, -5, -2, -1]]], np.float32)
others = np.array([[0, 0, 5, 5], [3, 1, 9, 7], [-4, -4, -1, -1], [1, 2, 6, 5]], np.float32)
labels = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
angles = np.array([10.0, -35.0], np.float32)
zeros, ones = np.zeros(2, np.float32), np.ones(2, np.float32)


def lua(v):
    if isinstance(v, str):
        return '"%s"' % v
    if isinstance(v, (bool, int)):
        return str(v).lower()
    a = np.asarray(v)
    return "{ dtype = \"%s\", shape = { %s }, data = { %s } }" % (
        a.dtype, ", ".join(map(str, a.shape)), ", ".join("%.9g" % x for x in a.reshape(-1)))


rows = []


def row(call, value):
    rows.append("  { [==[%s]==], %s },\n" % (call, lua(value)))


size = dict(height=8, width=10)
for target in formats:
    row('B.convert_format(boxes, "xyxy", "%s", 8, 10)' % target, B.convert_format(boxes, "xyxy", target, **size))
    row('B.convert_format(boxes, "%s", "xyxy", 8, 10)' % target, B.convert_format(boxes, target, "xyxy", **size))
row('B.convert_format(boxes, "rel_xywh", "rel_yxyx", 8, 10)', B.convert_format(boxes, "rel_xywh", "rel_yxyx", **size))
row('B.convert_format(others, "xyWH", "center_yxhw")', B.convert_format(others, "xyWH", "center_yxhw"))
for form, scale in (("xyxy", 1), ("rel_xyxy", 10)):
    for key in ("boxes", "labels"):
        row('B.clip_to_image_size({ boxes = boxes / %d, labels = labels }, 8, 9, "%s").%s' % (scale, form, key),
            B.clip_to_image_size({"boxes": boxes / np.float32(scale), "labels": labels}, 8, 9, form)[key])
row("B.crop(boxes, 1, 2, 4, 5)", B.crop(boxes, 1, 2, 4, 5))
row("B.pad(others, 3, 4)", B.pad(others, 3, 4))
c = keras.ops.convert_to_tensor
row("B.affine_transform(boxes, angles, 0, 0, 1, 0, 0, 8, 10)",
    B.affine_transform(boxes, c(angles), c(zeros), c(zeros), c(ones), c(zeros), c(zeros), 8, 10))
row("B.affine_transform(boxes, angles, 0.1, -0.2, 1.5, 12, -7, 8, 10, 0.3, 0.6)",
    B.affine_transform(boxes, c(angles), c(zeros + 0.1), c(zeros - 0.2), c(ones * 1.5), c(zeros + 12), c(zeros - 7), 8, 10, 0.3, 0.6))
for one, two in (("boxes", "others"), ("others", "boxes"), ("others", "others"), ("boxes", "boxes")):
    row('B.compute_iou(%s, %s, "xyxy")' % (one, two), B.compute_iou(globals()[one], globals()[two], "xyxy"))
row('B.compute_iou(others, others, "center_xywh")', B.compute_iou(others, others, "center_xywh"))
row('B.compute_iou(others / 10, others / 10, "rel_xyxy", { image_shape = { 8, 10, 3 } })',
    B.compute_iou(others / 10, others / 10, "rel_xyxy", image_shape=(8, 10, 3)))
row('B.compute_iou(others, others, "xyxy", true, -2)', B.compute_iou(others, others, "xyxy", True, -2))
row('B.compute_ciou(others, others * 1.5 + 1, "xyxy")', B.compute_ciou(others, others * np.float32(1.5) + 1, "xyxy"))
row('B.compute_ciou(boxes, boxes + 2, "xywh")', B.compute_ciou(boxes, boxes + 2, "xywh"))
anchors = others[[0, 1, 3]]
for encoding in ("center_yxhw", "center_xywh"):
    row('B.encode_box_to_deltas(anchors, boxes, "xyxy", "yxyx", "%s", { 0.1, 0.1, 0.2, 0.2 })' % encoding,
        B.encode_box_to_deltas(anchors, boxes, "xyxy", "yxyx", encoding, [0.1, 0.1, 0.2, 0.2]))
    row('B.decode_deltas_to_boxes(anchors, boxes / 10, "xywh", "xyxy", "%s", { 0.1, 0.1, 0.2, 0.2 })' % encoding,
        B.decode_deltas_to_boxes(anchors, boxes / np.float32(10), "xywh", "xyxy", encoding, [0.1, 0.1, 0.2, 0.2]))
row('B.decode_deltas_to_boxes(anchors, boxes / 10, "xyxy", "rel_xywh", { image_shape = { 8, 10, 3 } })',
    B.decode_deltas_to_boxes(anchors, boxes / np.float32(10), "xyxy", "rel_xywh", image_shape=(8, 10, 3)))
row('B.decode_deltas_to_boxes({ p3 = anchors }, { p3 = boxes / 10 }, "xyxy", "xyxy").p3',
    B.decode_deltas_to_boxes({"p3": anchors}, {"p3": boxes / np.float32(10)}, "xyxy", "xyxy")["p3"])

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bounding_boxes.lua"), "w") as out:
    out.write("-- Made by bounding_boxes.py with Keras %s; do not edit.\nreturn {\n" % keras.__version__)
    for name in ("boxes", "others", "labels", "angles", "anchors"):
        out.write("  %s = %s,\n" % (name, lua(globals()[name])))
    out.write("".join(rows) + "}\n")

"""Event messages and records as TensorFlow writes them: spec/ref/events.lua.

    python spec/ref/events.py >spec/ref/events.lua
"""
import os
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorflow.tsl.profiler.protobuf import xplane_pb2


def value(tag, plugin, data_class, tensor):
    meta = summary_pb2.SummaryMetadata(data_class=data_class)
    meta.plugin_data.plugin_name = plugin
    v = summary_pb2.Summary.Value(tag=tag, metadata=meta, tensor=tensor)
    return summary_pb2.Summary(value=[v]).SerializeToString()


def shape(*sizes):
    return tf.TensorShape(sizes).as_proto()


def graph():
    g = graph_pb2.GraphDef()
    a = g.node.add(name="in", op="InputLayer")
    a.attr["_output_shapes"].list.shape.append(shape(None, 3))
    b = g.node.add(name="dense", op="Dense", input=["in", "in:1"])
    b.attr["_output_shapes"].list.shape.append(shape(None, 300))
    g.versions.producer = 1087
    return g.SerializeToString()


def trace():
    """Two lines of spans, as spec/callbacks/tensorboard_spec.lua has them."""
    space = xplane_pb2.XSpace(hostnames=["here"])
    plane = space.planes.add(id=1, name="/host:CPU")
    names = ["batch 1", "matmul", "relu"]
    for line_id, (name, spans) in enumerate([
            ("batches", [(1, 0.0, 0.5, None)]),
            ("ops", [(2, 0.001, 0.25, 4096), (3, 0.3, 0.125, 7), (2, 0.45, 0.0078125, 300)])]):
        line = plane.lines.add(id=line_id + 1, name=name, timestamp_ns=1700000000000000000)
        for metadata, start, seconds, count in spans:
            e = line.events.add(metadata_id=metadata, offset_ps=round(start * 1e12),
                                duration_ps=round(seconds * 1e12))
            if count:
                e.stats.add(metadata_id=1, uint64_value=count)
    for i, name in enumerate(names):
        plane.event_metadata[i + 1].CopyFrom(xplane_pb2.XEventMetadata(id=i + 1, name=name))
    plane.stat_metadata[1].CopyFrom(xplane_pb2.XStatMetadata(id=1, name="bytes_accessed"))
    return space.SerializeToString(deterministic=True)


def record(data):
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/r"
        with tf.io.TFRecordWriter(path) as w:
            w.write(data)
        with open(path, "rb") as f:
            return f.read()


out = {
    "scalar": value("epoch_loss", "scalars", 1, tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, tensor_shape=shape(), float_val=[0.375])),
    "histogram": value("w/histogram", "histograms", 2, tensor_pb2.TensorProto(
        dtype=types_pb2.DT_DOUBLE, tensor_shape=shape(2, 3),
        double_val=[-1, 0, 4, 0, 1, 200])),
    "images": value("w/image", "images", 3, tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=shape(3), string_val=[b"5", b"7", b"png"])),
    "graph": graph(),
    "trace": trace(),
    "record": record(b"some data of a record"),
}
print("-- Made by spec/ref/events.py: bytes in hexadecimal.")
print("return {")
for name, data in out.items():
    h = data.hex()
    print(f"  {name} = \"" + "\\z\n    ".join(h[i:i + 88] for i in range(0, len(h), 88)) + "\",")
print("}")

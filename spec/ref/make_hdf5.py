"""HDF5 files and archives for spec/saving/containers_spec.lua, in spec/fixtures/hdf5: what must be read and what must be refused.
Needs h5py and numpy."""
import json
import os
import stat
import zipfile

import h5py
import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "hdf5")
os.makedirs(FOLDER, exist_ok=True)


def h5(name):
    return h5py.File(os.path.join(FOLDER, name + ".h5"), "w")


with h5("types") as f:
    f["f16"] = np.array([1.5, -2], "f2")
    f["f32"] = np.array([[1.5, -2]], "f4")
    f["f64_big_endian"] = np.array([1.5, -2], ">f8")
    f["i8"], f["u8"] = np.array([-3], "i1"), np.array([200], "u1")
    f["i16"], f["u16"] = np.array([-300], "i2"), np.array([60000], "u2")
    f["i32"], f["u32"] = np.array([-70000], "i4"), np.array([4000000000], "u4")
    f["i64"] = np.array([-5000000000], "i8")
    f["bool"] = np.array([True, False, True])
    f["scalar"] = np.int32(7)
    f["empty"] = np.zeros((0, 3), "f4")
    bf = f.create_dataset("bf16", (2,), np.dtype("V2"))
    bf[...] = np.array([0x3FC0, 0xC000], "u2").view("V2")
    bf.attrs["dtype"] = "bfloat16"
    f["text"] = "not a tensor"
    f.create_dataset("squeezed", data=np.tile(np.arange(64, dtype="f4"), 50), chunks=(400,), compression="gzip", shuffle=True, fletcher32=True)
    f.attrs["utf8"] = "größer"
    f.attrs["fixed"] = np.bytes_("fixed")
    f.attrs["list"] = [b"a", b"bc"]
    f.attrs["fixed_list"] = np.array([b"a", b"bc"])
    f.attrs["none"] = []
    f.attrs["number"], f.attrs["whole"], f.attrs["numbers"] = 1.5, 3, [1.0, 2.0]

with h5("soft_link") as f:
    f["a"] = np.zeros(3, "f4")
    f["b"] = h5py.SoftLink("/a")
with h5("external_link") as f:
    f["b"] = h5py.ExternalLink("/etc/hostname", "/")
with h5("external_data") as f:
    f.create_dataset("b", (8,), "u1", external=[("/etc/hostname", 0, 8)])
with h5("virtual") as f:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("types.h5", "x", (4,))
    f.create_virtual_dataset("b", layout)
with h5("filter") as f:
    f.create_dataset("b", data=np.zeros(100, "f4"), compression="lzf")
with h5("huge") as f:  # declares 4 TiB, stores nothing
    f.create_dataset("b", (1 << 20, 1 << 20), "f4", chunks=(16, 16), compression="gzip")
with h5("bomb") as f:  # more than the 1032 bytes per stored byte that deflate can make: the other chunks are not there
    d = f.create_dataset("b", (1 << 16, 64), "f4", chunks=(1 << 12, 64), compression="gzip", compression_opts=9)
    d[:1] = 1
with h5("cycle") as f:
    g = f.create_group("g")
    g["again"] = f["/"]
with h5("twice") as f:
    f["a"] = np.zeros(3, "f4")
    f["b"] = f["a"]
with h5("deep") as f:
    g = f
    for i in range(70):
        g = g.create_group("g")
whole = open(os.path.join(FOLDER, "types.h5"), "rb").read()
open(os.path.join(FOLDER, "cut.h5"), "wb").write(whole[: len(whole) // 2])


def archive(name, members):
    with zipfile.ZipFile(os.path.join(FOLDER, name + ".keras"), "w") as z:
        for info, data in members:
            info = info if isinstance(info, zipfile.ZipInfo) else zipfile.ZipInfo(info)
            z.writestr(info, data)


link = zipfile.ZipInfo("config.json")
link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
squeezed = zipfile.ZipInfo("config.json")
squeezed.compress_type = zipfile.ZIP_DEFLATED
archive("dots", [("../config.json", "{}")])
archive("absolute", [("/config.json", "{}")])
archive("backslash", [("a\\..\\b", "{}")])
archive("zip_link", [(link, "/etc/hostname")])
archive("no_config", [("metadata.json", "{}")])
archive("deflated", [(squeezed, '{"class_name": "Sequential", "config": {"layers": []}}' + " " * 100000)])
archive("long_name", [("x" * 300, "{}")])
import warnings

warnings.simplefilter("ignore")
archive("doubled", [("config.json", "{}"), ("config.json", "{}")])
data = bytearray(open(os.path.join(FOLDER, "no_config.keras"), "rb").read())
at = data.rfind(b"PK\1\2")
data[at + 24:at + 28] = (1 << 30).to_bytes(4, "little")  # the directory claims a gigabyte
open(os.path.join(FOLDER, "claims.keras"), "wb").write(data)

# A model whose weights are one data set of zeros, compressed twice: 1.5 kB declare 160 MB.
dense = {"class_name": "Dense", "config": {"name": "d", "units": 4, "batch_input_shape": [None, 3]}}
with h5("zeros") as f:
    f.create_dataset("layers/d/vars/0", (40_000_000,), "f4", chunks=(4_000_000,), compression="gzip", compression_opts=9)[...] = 0
zeros = os.path.join(FOLDER, "zeros.h5")
with zipfile.ZipFile(os.path.join(FOLDER, "zeros.keras"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
    z.writestr(zipfile.ZipInfo("config.json"), json.dumps({"class_name": "Sequential", "config": {"layers": [dense]}}))
    weights = zipfile.ZipInfo("model.weights.h5")
    weights.compress_type = zipfile.ZIP_DEFLATED
    z.writestr(weights, open(zeros, "rb").read())
os.remove(zeros)

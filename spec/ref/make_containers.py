"""Small files of tensors for the fuzzers: python3 spec/ref/make_containers.py FOLDER

Written by hand after the formats' descriptions: safetensors with and without metadata, IDX files
of every element type that Tide reads, compressed ones, and archives with stored and deflated members.
"""
import gzip
import json
import os
import struct
import sys
import zipfile

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)


def put(name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def safetensors(entries, metadata=None):
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, shape, part in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


plain = safetensors([("w", "F32", [2, 2], struct.pack("<4f", 1, 2, 3, 4)),
                     ("e", "F64", [0, 3], b""), ("b", "BOOL", [3], b"\1\0\1"),
                     ("h", "F16", [1], b"\0\x3c"), ("i", "I64", [], struct.pack("<q", -5))])
put("plain.safetensors", plain)
put("noted.safetensors", safetensors([("x", "U8", [4], b"abcd"), ("q", "F8_E4M3", [2], b"ab")],
                                     {"format": "pt", "note": "gr\u00fc\u00dfe"}))
put("none.safetensors", safetensors([], {}))
for code, width in ((8, 1), (9, 1), (11, 2), (12, 4), (13, 4), (14, 8)):
    idx = struct.pack(">BBBBII", 0, 0, code, 2, 2, 3) + bytes(range(6 * width))
    put("matrix%d.idx" % code, idx)
    if code in (8, 13):
        put("matrix%d.idx.gz" % code, gzip.compress(idx, mtime=0))
with zipfile.ZipFile(os.path.join(folder, "members.zip"), "w") as z:
    for name, how in (("stored.bin", zipfile.ZIP_STORED), ("deflated.bin", zipfile.ZIP_DEFLATED),
                      ("folder/config.json", zipfile.ZIP_DEFLATED)):
        z.writestr(zipfile.ZipInfo(name), bytes(range(64)) * 4, how)

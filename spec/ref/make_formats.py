"""Makes spec/ref/formats/: TGA, PSD and HDR pictures of every kind that is read, written by hand from the formats' descriptions,
and their pixels (values.bin, values.lua): Pillow's, where it reads them; else the samples that went in.

Needs numpy and pillow. Run from anywhere: python make_formats.py
"""
import os, struct
import numpy as np
from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "formats")
os.makedirs(HERE, exist_ok=True)
rng = np.random.RandomState(5)
blob, index = bytearray(), []
H, W = 7, 13


def samples(c):
    a = rng.randint(0, 256, (H, W, c)).astype("uint8")
    a[2:5, 3:9] = a[2, 3]  # runs
    return a


def write(name, data, pixels=None):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)
    if pixels is None:
        im = Image.open(os.path.join(HERE, name))
        if im.mode == "P":
            im = im.convert(im.palette.mode)
        pixels = np.asarray(im)
    pixels = np.ascontiguousarray(pixels.reshape(pixels.shape[0], pixels.shape[1], -1))
    index.append((name, pixels.shape, len(blob)))
    blob.extend(pixels.tobytes())


# -- TGA: pixels are bytes objects, row by row
def tga_runs(pixels):
    out, i = b"", 0
    while i < len(pixels):
        n = 1
        while i + n < len(pixels) and n < 128 and pixels[i + n] == pixels[i]:
            n += 1
        if n > 1:
            out += bytes([127 + n]) + pixels[i]
        else:
            while i + n < len(pixels) and n < 128 and (i + n + 1 == len(pixels) or pixels[i + n] != pixels[i + n + 1]):
                n += 1
            out += bytes([n - 1]) + b"".join(pixels[i : i + n])
        i += n
    return out


def tga(kind, bits, pixels, rle=False, flags=0x20, palette=b"", first=0, colors=0, entry=0, note=b"", tail=b""):
    head = struct.pack("<BBBHHBHHHHBB", len(note), 1 if palette else 0, kind + 8 * rle, first, colors, entry, 0, 0, W, H, bits, flags)
    return head + note + palette + (tga_runs(pixels) if rle else b"".join(pixels)) + tail


def pixels_of(a):
    return [bytes(p) for p in a.reshape(-1, a.shape[2])]


for rle in (False, True):
    r = "_rle" if rle else ""
    write(f"grey{r}.tga", tga(3, 8, pixels_of(samples(1)), rle))
    write(f"grey_alpha{r}.tga", tga(3, 16, pixels_of(samples(2)), rle))
    write(f"rgb16{r}.tga", tga(2, 16, pixels_of(samples(2)), rle))
    write(f"rgb24{r}.tga", tga(2, 24, pixels_of(samples(3)), rle, note=b"a note"))
    write(f"rgba32{r}.tga", tga(2, 32, pixels_of(samples(4)), rle))
    index_of = samples(1) % 20 + 3
    for entry in (16, 24, 32):
        palette = rng.bytes(20 * (entry // 8))
        write(f"palette{entry}{r}.tga", tga(1, 8, pixels_of(index_of), rle, 0x20, palette, 3, 20, entry))
for flags in (0, 0x10, 0x20, 0x30):
    write(f"corner{flags >> 4}.tga", tga(2, 24, pixels_of(samples(3)), True, flags))
four = pixels_of(samples(4))
extension = bytearray(495)
extension[0:2] = struct.pack("<H", 495)
for kind, name in ((0, "unused"), (3, "used")):
    extension[494] = kind
    tail = bytes(extension) + struct.pack("<II", 18 + 4 * H * W, 0) + b"TRUEVISION-XFILE.\0"
    write(f"alpha_{name}.tga", tga(2, 32, four, tail=tail))
a = samples(2)
v = a[..., 0].astype(int) | a[..., 1].astype(int) << 8
five = lambda n: ((v >> n & 31) * 255 // 31).astype("uint8")
write("rgb15.tga", tga(2, 15, pixels_of(a)), np.stack([five(10), five(5), five(0)], -1))


# -- PSD
def packbits(row):
    out, i = b"", 0
    while i < len(row):
        n = 1
        while i + n < len(row) and n < 128 and row[i + n] == row[i]:
            n += 1
        if n > 2:
            out += bytes([257 - n, row[i]])
        else:
            n = 1
            while i + n < len(row) and n < 128 and row[i + n - 1] != row[i + n]:
                n += 1
            out += bytes([n - 1]) + row[i : i + n]
        i += n
    return out


def psd(mode, a, packed, sections=(b"", b"", b"")):
    c, bits = a.shape[2], 8 * a.itemsize
    out = b"8BPS" + struct.pack(">H6xHIIHH", 1, c, H, W, bits, mode)
    out += b"".join(struct.pack(">I", len(s)) + s for s in sections) + struct.pack(">H", packed)
    rows = [a[i, :, k].astype(">u%d" % a.itemsize).tobytes() for k in range(c) for i in range(H)]
    if packed:
        rows = [packbits(r) for r in rows]
        out += struct.pack(">%dH" % len(rows), *map(len, rows))
    return out + b"".join(rows)


resources = b"8BIM" + struct.pack(">H2xI", 1005, 4) + b"abcd"
for packed in (0, 1):
    r = "_packed" if packed else ""
    write(f"grey{r}.psd", psd(1, samples(1), packed))
    write(f"rgb{r}.psd", psd(3, samples(3), packed, (b"", resources, b"")))
    write(f"rgba{r}.psd", psd(3, samples(4), packed))  # alpha 0 to 255 everywhere
    five_of = samples(5)  # Pillow takes the lengths of the unread channels' rows for the picture
    write(f"five{r}.psd", psd(3, five_of, packed), five_of[..., :3])
    wide = samples(3).astype("uint16") * 257
    wide[0] ^= 0xFF
    write(f"wide{r}.psd", psd(3, wide, packed), (wide >> 8).astype("uint8"))


# -- HDR: 255 v^(1/2.2), rounded; v = m 2^(e - 136)
def hdr(a, rle, head=b"#?RADIANCE\n# made by hand\nEXPOSURE=1\nFORMAT=32-bit_rle_rgbe\n\n"):
    h, w = a.shape[:2]
    out = head + b"-Y %d +X %d\n" % (h, w)
    if not rle:
        return out + a.tobytes()
    for row in a:
        out += bytes([2, 2, w >> 8, w & 255])
        for k in range(4):
            line, i = row[:, k].tobytes(), 0
            while i < w:
                n = 1
                while i + n < w and n < 127 and line[i + n] == line[i]:
                    n += 1
                if n > 2:
                    out += bytes([128 + n, line[i]])
                else:
                    n = 1
                    while i + n < w and n < 128 and line[i + n - 1] != line[i + n]:
                        n += 1
                    out += bytes([n]) + line[i : i + n]
                i += n
    return out


def bright(a):
    scale = np.where(a[..., 3:] == 0, 0.0, np.ldexp(1.0, a[..., 3:].astype(int) - 136))
    return np.minimum(255, np.floor(255 * np.power(a[..., :3] * scale, 1 / 2.2) + 0.5)).astype("uint8")


for name, rle, w in (("rle.hdr", True, W), ("flat.hdr", False, W), ("narrow.hdr", False, 5)):
    a = samples(4)[:, :w].copy()
    a[..., 3] = rng.randint(122, 133, (H, w))
    a[3, :, 3] = 0
    a[0, 0] = 200  # no marker of runs
    write(name, hdr(a, rle), bright(a))

with open(os.path.join(HERE, "values.bin"), "wb") as f:
    f.write(bytes(blob))
with open(os.path.join(HERE, "values.lua"), "w") as f:
    f.write("-- Made by spec/ref/make_formats.py: file, shape, place in values.bin.\nreturn {\n")
    for name, shape, at in index:
        f.write('  { "%s", { %s }, %d },\n' % (name, ", ".join(map(str, shape)), at))
    f.write("}\n")
print(len(blob), len(index))

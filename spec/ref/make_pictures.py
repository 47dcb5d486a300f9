"""Makes spec/ref/pictures/: files in every layout of their formats, and what Pillow, SciPy and Keras make of them.

Beside make_images.py, whose files are the common ones. Needs keras, tensorflow-cpu, pillow, scipy: python make_pictures.py
spec/ref/pictures.lua compares Tide with what is written here and prints the largest differences (pictures.txt).
"""
import os, shutil, struct, tempfile, zlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
import numpy as np
import PIL
import scipy
import tensorflow as tf
import keras
from PIL import Image, ImageOps, ImageSequence
from keras.src.legacy.preprocessing import image as legacy
from keras.utils import load_img, img_to_array

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pictures")
os.makedirs(HERE, exist_ok=True)
rng = np.random.RandomState(11)
blob, index, lua = bytearray(), [], []
I = Image.fromarray


def keep(name, a):
    a = np.ascontiguousarray(a)
    index.append((name, str(a.dtype), a.shape, len(blob)))
    blob.extend(a.tobytes())


def path(name):
    return os.path.join(HERE, name)


def literal(v):
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{k} = {literal(x)}" for k, x in v.items()) + " }"
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(literal(x) for x in v) + " }"
    if isinstance(v, bool):
        return str(v).lower()
    return '"%s"' % v if isinstance(v, str) else repr(v)


def picture(h, w, c):
    y, x = np.mgrid[0:h, 0:w]
    out = np.stack([127 + 90 * np.sin(x / (3.0 + k) + k) * np.cos(y / (4.0 - k / 2)) for k in range(c)], -1)
    return np.clip(out + rng.uniform(-20, 20, (h, w, c)), 0, 255).astype("uint8")


files = []

# -- PNG: every colour type and depth, straight and interlaced (Adam7), with and without a transparent colour
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def png(name, a, color, depth, interlaced=False, chunks=()):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def rows(p):
        out = b""
        for r in p:
            if depth == 16:
                line = r.astype(">u2").tobytes()
            else:
                bits = ((r.reshape(-1)[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype("uint8")
                line = np.packbits(bits.reshape(-1)).tobytes()
            out += b"\0" + line
        return out

    h, w = a.shape[:2]
    data = b"".join(rows(a[y::sy, x::sx]) for y, x, sy, sx in PASSES if h > y and w > x) if interlaced else rows(a)
    with open(path(name), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlaced))
                + b"".join(chunk(k, d) for k, d in chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
    files.append(name)


H, W = 11, 13
for color, depths, c in ((0, (1, 2, 4, 8), 1), (2, (8,), 3), (3, (1, 2, 4, 8), 1), (4, (8,), 2), (6, (8,), 4)):
    for depth in depths:
        for interlaced in (False, True):
            a = rng.randint(0, 1 << depth, (H, W, c)).astype("uint16")
            chunks = []
            if color == 3:
                chunks.append((b"PLTE", rng.randint(0, 256, (1 << depth) * 3).astype("uint8").tobytes()))
            name = f"png_{color}_{depth}{'_i' if interlaced else ''}"
            png(name + ".png", a, color, depth, interlaced, chunks)
            if color == 3 or (color in (0, 2) and not interlaced and depth in (1, 8)):  # Pillow compares other depths unscaled
                t = bytes([0, 128, 255][: 1 << depth]) if color == 3 else a[2, 3].astype(">u2").tobytes()
                png(name + "_t.png", a, color, depth, interlaced, chunks + [(b"tRNS", t)])
for color, c in ((2, 3), (4, 2), (6, 4)):  # 16 bits: Pillow keeps the high byte of these, too
    a = rng.randint(0, 65536, (H, W, c)).astype("uint16")
    png(f"png_{color}_16_i.png", a, color, 16, True)

# -- JPEG: sizes that fill no block, every subsampling that Pillow writes, restarts, optimized, progressive, grey, CMYK
for h, w in ((8, 8), (17, 31), (1, 1), (50, 33)):
    for sub in (0, 1, 2):
        name = f"jpeg_{h}x{w}_{sub}.jpg"
        I(picture(h, w, 3)).save(path(name), quality=85, subsampling=sub)
        files.append(name)
a = picture(45, 61, 3)
for name, options in (("restart", dict(restart_marker_blocks=3)), ("optimize", dict(optimize=True)), ("q100", dict(quality=100)),
                      ("q5", dict(quality=5)), ("progressive_0", dict(progressive=True, subsampling=0)),
                      ("progressive_1", dict(progressive=True, subsampling=1)), ("rgb", dict(keep_rgb=True))):
    I(a).save(path(f"jpeg_{name}.jpg"), **options)
    files.append(f"jpeg_{name}.jpg")
I(a[..., 0]).save(path("jpeg_grey_progressive.jpg"), progressive=True)
I(a).convert("CMYK").save(path("jpeg_cmyk_progressive.jpg"), progressive=True, quality=60)
files += ["jpeg_grey_progressive.jpg", "jpeg_cmyk_progressive.jpg"]


# -- BMP: palettes, 16 and 32 bits, from the top, run lengths
def bmp(name, w, h, bits, rows, palette=b"", masks=b"", compression=0, size=None):
    offset = 54 + len(palette) + len(masks)
    with open(path(name), "wb") as f:
        f.write(b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
                + struct.pack("<IiiHHIIiiII", 40, w, h, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0)
                + masks + palette + rows)
    files.append(name)


w, h = 13, 7
pad = lambda line: line + b"\0" * (-len(line) % 4)
colors = lambda n: b"".join(bytes(rng.randint(0, 256, 3).astype("uint8")) + b"\0" for _ in range(n))
bits = rng.randint(0, 2, (h, w)).astype("uint8")
bmp("bmp_1.bmp", w, h, 1, b"".join(pad(np.packbits(r).tobytes()) for r in bits), colors(2))
four = rng.randint(0, 16, (h, w + 1)).astype("uint8")
bmp("bmp_4.bmp", w, h, 4, b"".join(pad((r[0::2] << 4 | r[1::2]).astype("uint8").tobytes()) for r in four), colors(16))
eight = rng.randint(0, 200, (h, w)).astype("uint8")
bmp("bmp_8.bmp", w, h, 8, b"".join(pad(r.tobytes()) for r in eight), colors(200))
bmp("bmp_8_top.bmp", w, -h, 8, b"".join(pad(r.tobytes()) for r in eight), colors(200))
sixteen = rng.randint(0, 65536, (h, w)).astype("<u2")
bmp("bmp_555.bmp", w, h, 16, b"".join(pad(r.tobytes()) for r in sixteen))
bmp("bmp_565.bmp", w, h, 16, b"".join(pad(r.tobytes()) for r in sixteen), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F), compression=3)
bmp("bmp_24_top.bmp", w, -h, 24, b"".join(pad(r.tobytes()) for r in picture(h, w, 3)))
bmp("bmp_32.bmp", w, h, 32, picture(h, w, 4).tobytes())
bmp("bmp_32_masks.bmp", w, h, 32, picture(h, w, 4).tobytes(), masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF), compression=3)
rle = b""
for r in eight:
    rle += b"".join(bytes([1, v]) for v in r[:3]) + bytes([0, 7]) + r[3:10].tobytes() + b"\0" + bytes([3, r[10]]) + b"\0\0"
bmp("bmp_rle8.bmp", w, h, 8, rle[:-2] + b"\0\1", colors(200), compression=1)

# -- PNM: text, bits, other depths
grey = picture(5, 9, 1)[..., 0]
for name, data in (("pnm_p2.pgm", b"P2\n# text\n9 5\n255\n" + b"\n".join(b" ".join(b"%d" % v for v in r) for r in grey) + b"\n"),
                   ("pnm_p3.ppm", b"P3 3 2 255\n" + b" ".join(b"%d" % v for v in picture(2, 3, 3).reshape(-1)) + b"\n"),
                   ("pnm_p1.pbm", b"P1\n9 5\n" + b"\n".join(b" ".join(b"%d" % (v & 1) for v in r) for r in grey) + b"\n"),
                   ("pnm_p4.pbm", b"P4\n9 5\n" + b"".join(np.packbits(r & 1).tobytes() for r in grey)),
                   ("pnm_p5_100.pgm", b"P5 9 5 100\n" + (grey % 101).astype("uint8").tobytes())):
    with open(path(name), "wb") as f:
        f.write(data)
    files.append(name)

# -- GIF: first frame by Keras' load_img, animations as Pillow composes them
a = picture(29, 37, 3)
gifs = []
for name, im, options in (("plain", I(a).quantize(64), {}), ("interlaced", I(a).quantize(200), dict(interlace=1)),
                          ("straight", I(a).quantize(200), dict(interlace=0)), ("grey", I(a[..., 0]), {}),
                          ("key", I(a).quantize(17), dict(transparency=5)), ("grey_key", I(a[..., 0]), dict(transparency=int(a[3, 4, 0])))):
    im.save(path(f"gif_{name}.gif"), **options)
    gifs.append(f"gif_{name}.gif")
frames = [I(picture(15, 21, 3)).quantize(60) for _ in range(3)]
sprites = []
for k in range(4):
    m = np.zeros((15, 21, 4), "uint8")
    m[2 + k : 8 + k, 3 + 3 * k : 9 + 3 * k] = (255, 40 * k, 30, 255)
    sprites.append(I(m))
for d in (0, 1, 2, 3):
    frames[0].save(path(f"gif_frames_{d}.gif"), save_all=True, append_images=frames[1:], disposal=d, duration=50)
    sprites[0].save(path(f"gif_sprite_{d}.gif"), save_all=True, append_images=sprites[1:], disposal=d)
    gifs += [f"gif_frames_{d}.gif", f"gif_sprite_{d}.gif"]
files += gifs
for f in gifs:
    keep(f"frames {f}", np.stack([np.asarray(p.convert("RGBA")) for p in ImageSequence.Iterator(Image.open(path(f)))]))

for f in files:
    for mode in ("grayscale", "rgb", "rgba"):
        keep(f"decode {f} {mode}", img_to_array(load_img(path(f), color_mode=mode)).astype("uint8"))

# -- EXIF orientation in PNG
for k in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = k
    I(a[:6, :9]).save(path(f"turn{k}.png"), exif=exif)
    keep(f"upright {k}", np.asarray(ImageOps.exif_transpose(Image.open(path(f"turn{k}.png")))))

# -- tf.image.resize, further sizes
x = rng.uniform(-1, 255, (1, 12, 20, 2)).astype("float32")
keep("tf input", x)
for method in ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"):
    for antialias in (False, True):
        for size in ((12, 20), (1, 1), (5, 40), (37, 3), (24, 10)):
            keep(f"tf {method} {str(antialias).lower()} {size[0]}x{size[1]}",
                 tf.image.resize(x, size, method=method, antialias=antialias).numpy().astype("float32"))

# -- apply_transform: every order and fill mode
G = legacy.ImageDataGenerator
params = [dict(theta=30), dict(tx=9.3, ty=-40.2, theta=-77.5, zx=1.3, zy=0.8), dict(zx=3, zy=0.4, shear=20), dict(tx=0.5, ty=-0.25),
          dict(theta=180), dict(tx=500, ty=-300), dict(shear=-35, flip_horizontal=True, channel_shift_intensity=20.0, brightness=0.8)]
transforms = []
for c, size in ((3, (9, 14)), (1, (3, 2))):
    base = picture(*size, c).astype("float32")
    keep(f"transform input {c}", base)
    for order in range(6):
        for fill in ("nearest", "constant", "reflect", "wrap"):
            for p in params:
                o = dict(interpolation_order=order, fill_mode=fill, cval=7.5)
                transforms.append((c, o, p))
                keep(f"transform {len(transforms)}", G(**o).apply_transform(base, p).astype("float32"))

# -- standardize in all combinations, brightness and channel shift over their ranges
batch = rng.uniform(-20, 300, (5, 4, 3, 3)).astype("float32")
keep("batch", batch)
standards = []
for k in range(16):
    o = dict(samplewise_center=bool(k & 1), samplewise_std_normalization=bool(k & 2), featurewise_center=bool(k & 4),
             featurewise_std_normalization=bool(k & 8), rescale=1 / 127.5)
    g = G(**o)
    g.fit(batch)
    standards.append(o)
    keep(f"standard {k + 1}", g.standardize(batch[1].copy()).astype("float32"))
shifts = [dict(brightness=b) for b in (0.0, 0.2, 0.99, 1.0, 1.01, 3.0)] + [dict(channel_shift_intensity=s) for s in (-400.0, -17.3, 0.0, 55.5, 999.0)]
for k, p in enumerate(shifts):
    keep(f"shift {k + 1}", G().apply_transform(batch[0].copy(), p).astype("float32"))
    keep(f"shift bytes {k + 1}", G().apply_transform(picture(4, 3, 3).astype("float32") * 0 + 77, p).astype("float32"))

# -- which files an iterator finds, in which order
root = tempfile.mkdtemp()
tree = ["b/2.png", "b/10.png", "b/1.JPG", "b/sub/z.png", "b/sub/a.jpeg", "b/sub.x/q.bmp", "b/.hidden.png", "b/notes.txt", "b/no_ending",
        "a/y.ppm", "a/x.tif", "a/x.TIFF", "a/w.gif", "a/Z.png", "A/one.png", "A/two.png", "A/three.png", "A/four.png", "A/five.png", "c/only.txt"]
for f in tree:
    os.makedirs(os.path.join(root, os.path.dirname(f)), exist_ok=True)
    open(os.path.join(root, f), "w").close()
listings = []
for split, subset, classes in ((0.0, None, None), (0.4, "training", None), (0.4, "validation", None), (0.0, None, ["c", "b", "A"]), (0.25, "validation", ["b"])):
    it = G(validation_split=split).flow_from_directory(root, subset=subset, classes=classes, batch_size=3, shuffle=False)
    listings.append(dict(split=split, subset=subset or "none", classes=classes or "none", filenames=it.filenames, labels=[int(v) for v in it.classes],
                         batches=len(it), names=list(it.class_indices)))
datasets = []
for subset, split in ((None, None), ("training", 0.3), ("validation", 0.3)):
    for k in ("int", "categorical"):
        paths, labels, names = keras.src.utils.dataset_utils.index_directory(root, "inferred", formats=(".bmp", ".gif", ".jpeg", ".jpg", ".png"),
                                                                            shuffle=False, verbose=False)
        if split:
            paths, labels = keras.src.utils.dataset_utils.get_training_or_validation_split(paths, labels, split, subset)
    datasets.append(dict(split=split or 0.0, subset=subset or "none", filenames=[os.path.relpath(p, root) for p in paths], labels=[int(v) for v in labels], names=names))
shutil.rmtree(root)

# -- image_dataset_from_directory: the pictures themselves
root = tempfile.mkdtemp()
for k, (h, w) in enumerate(((20, 30), (31, 17), (12, 12))):
    os.makedirs(os.path.join(root, f"k{k}"))
    p = picture(h, w, 3)
    I(p).save(path(f"set_{k}.png"))
    shutil.copy(path(f"set_{k}.png"), os.path.join(root, f"k{k}", "x.png"))
sets = []
for o in [dict(interpolation=i) for i in ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")] + [
        dict(crop_to_aspect_ratio=True), dict(pad_to_aspect_ratio=True), dict(color_mode="grayscale"), dict(color_mode="rgba"),
        dict(label_mode="categorical"), dict(interpolation="nearest", crop_to_aspect_ratio=True)]:
    ds = keras.utils.image_dataset_from_directory(root, image_size=(14, 19), shuffle=False, batch_size=3, verbose=False, **o)
    bx, by = next(iter(ds))
    sets.append(o)
    keep(f"set {len(sets)} x", bx.numpy().astype("float32"))
    keep(f"set {len(sets)} y", by.numpy().astype("float32"))
shutil.rmtree(root)

with open(path("values.bin"), "wb") as f:
    f.write(bytes(blob))
with open(path("values.lua"), "w") as f:
    f.write("-- Made by spec/ref/make_pictures.py: name -> dtype, shape, place in values.bin. Keras %s, TensorFlow %s, Pillow %s, SciPy %s.\n"
            % (keras.__version__, tf.__version__, PIL.__version__, scipy.__version__))
    f.write("return {\n  values = {\n")
    for name, dtype, shape, at in index:
        f.write('    ["%s"] = { "%s", { %s }, %d },\n' % (name, dtype, ", ".join(map(str, shape)), at))
    f.write("  },\n")
    for name, rows in (("files", files), ("gifs", gifs), ("transforms", transforms), ("standards", standards), ("shifts", shifts), ("tree", tree),
                       ("listings", listings), ("datasets", datasets), ("sets", sets)):
        f.write("  %s = {\n%s  },\n" % (name, "".join("    %s,\n" % literal(r) for r in rows)))
    f.write("}\n")
print(len(blob), len(index))

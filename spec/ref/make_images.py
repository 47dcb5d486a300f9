"""Makes spec/ref/images/: small pictures, and what Pillow, TensorFlow, SciPy and Keras make of them (values.bin, values.lua).

Needs keras, tensorflow-cpu, pillow, scipy. Run from anywhere: python make_images.py
"""
import os, struct, zlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
import numpy as np
import tensorflow as tf
import keras
from PIL import Image, ImageOps
from keras.src.legacy.preprocessing import image as legacy
from keras.utils import load_img, img_to_array, array_to_img

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
os.makedirs(HERE, exist_ok=True)
rng = np.random.RandomState(7)
blob, index = bytearray(), []


def keep(name, a):
    a = np.ascontiguousarray(a)
    index.append((name, str(a.dtype), a.shape, len(blob)))
    blob.extend(a.tobytes())


def path(name):
    return os.path.join(HERE, name)


def picture(h, w, c):
    y, x = np.mgrid[0:h, 0:w]
    out = np.zeros((h, w, c))
    for k in range(c):
        out[..., k] = 127 + 90 * np.sin(x / (3.0 + k) + k) * np.cos(y / (4.0 - k / 2)) + rng.uniform(-30, 30, (h, w))
    out[h // 4 : h // 2, w // 4 : w // 2, 0] = 250
    return np.clip(out, 0, 255).astype("uint8")


# -- files and their decoding in each colour mode
H, W = 29, 37
rgb, rgba, grey = picture(H, W, 3), picture(H, W, 4), picture(H, W, 1)[..., 0]
I = Image.fromarray
I(rgb).save(path("rgb.png"))
I(rgba).save(path("rgba.png"))
I(grey).save(path("grey.png"))
I(np.stack([grey, rgba[..., 3]], -1)).save(path("la.png"))
I(rgb).quantize(17).save(path("palette.png"))
I(rgb).quantize(12).save(path("palette4.png"), bits=4)
I(rgb).quantize(9).save(path("palette_alpha.png"), transparency=3)
I(grey).convert("1").save(path("bits.png"))
I(rgb).save(path("rgb_key.png"), transparency=tuple(int(v) for v in rgb[0, 0]))
I(rgb).save(path("q90.jpg"), quality=90, subsampling=0)
I(rgb).save(path("q75.jpg"))
I(rgb).save(path("q60_422.jpg"), quality=60, subsampling=1)
I(rgb).save(path("progressive.jpg"), progressive=True, quality=80)
I(grey).save(path("grey.jpg"))
I(rgb).convert("CMYK").save(path("cmyk.jpg"))
I(rgb).save(path("rgb.bmp"))
I(grey).save(path("grey.bmp"))
I(rgb).save(path("rgb.tga"))
I(rgba).save(path("rle.tga"), compression="tga_rle")
I(rgb).save(path("rgb.ppm"))
I(grey).save(path("grey.pgm"))
files = ["rgb.png", "rgba.png", "grey.png", "la.png", "palette.png", "palette4.png", "palette_alpha.png", "bits.png",
         "rgb_key.png", "q90.jpg", "q75.jpg", "q60_422.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgb.bmp", "grey.bmp",
         "rgb.tga", "rle.tga", "rgb.ppm", "grey.pgm"]
for f in files:
    for mode in ("grayscale", "rgb", "rgba"):
        keep(f"decode {f} {mode}", img_to_array(load_img(path(f), color_mode=mode)).astype("uint8"))


# -- 16-bit samples: the high byte
def png16(name, a):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + r.astype(">u2").tobytes() for r in a)
    colour = {1: 0, 3: 2, 4: 6}[a.shape[2]]
    with open(path(name), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", a.shape[1], a.shape[0], 16, colour, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


for name, c in (("grey16.png", 1), ("rgb16.png", 3)):
    a = rng.randint(0, 65536, (9, 11, c)).astype("uint16")
    png16(name, a)
    keep(f"high byte {name}", (a >> 8).astype("uint8"))

for name, top in (("low.pgm", 31), ("wide.ppm", 65535), ("odd.pgm", 1000)):
    c = 3 if name.endswith("ppm") else 1
    a = rng.randint(0, top + 1, (5, 7, c)).astype("uint16")
    with open(path(name), "wb") as f:
        f.write(b"P%d # a comment\n7 5\n%d\n" % (6 if c == 3 else 5, top) + (a.astype(">u2") if top > 255 else a.astype("u1")).tobytes())
    if top < 256:
        keep(f"pnm {name}", np.asarray(Image.open(path(name)))[..., None].astype("uint8"))
    else:
        keep(f"pnm {name}", (np.minimum(65535, np.round(a / top * 65535)).astype("uint16") >> 8).astype("uint8"))

# -- orientation
for k in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = k
    I(rgb[:12, :17]).save(path(f"turn{k}.jpg"), exif=exif, quality=95, subsampling=0)
    keep(f"upright {k}", np.asarray(ImageOps.exif_transpose(Image.open(path(f"turn{k}.jpg")))))

# -- load_img's resizing (Pillow)
for filt in ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"):
    for size in ((13, 11), (41, 80), (29, 12), (60, 37)):
        for mode in ("rgb", "grayscale", "rgba"):
            if mode != "rgb" and size != (13, 11):
                continue
            keep(f"pillow {filt} {size[0]}x{size[1]} {mode}",
                 img_to_array(load_img(path("rgba.png"), color_mode=mode, target_size=size, interpolation=filt)).astype("uint8"))
    keep(f"pillow {filt} keep", img_to_array(load_img(path("rgb.png"), target_size=(20, 11), interpolation=filt, keep_aspect_ratio=True)).astype("uint8"))

# -- tf.image.resize
x = rng.uniform(-1, 255, (2, 17, 23, 3)).astype("float32")
keep("tf input", x)
for method in ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"):
    for antialias in (False, True):
        for size in ((6, 9), (31, 40), (17, 5)):
            keep(f"tf {method} {str(antialias).lower()} {size[0]}x{size[1]}",
                 tf.image.resize(x, size, method=method, antialias=antialias).numpy().astype("float32"))
for size in ((10, 10), (8, 21)):
    keep(f"smart {size[0]}x{size[1]}", np.asarray(keras.preprocessing.image.smart_resize(x, size)).astype("float32"))

# -- arrays and pictures
a = rng.uniform(-3, 5, (7, 9, 3)).astype("float32")
keep("array", a)
keep("array_to_img scaled", np.asarray(array_to_img(a)))
keep("array_to_img plain", np.asarray(array_to_img(rgb.astype("float32"), scale=False)))

# -- twenty fixed transforms of ImageDataGenerator
base = picture(19, 26, 3).astype("float32")
keep("transform input", base)
square = picture(16, 16, 1).astype("float32") / 255
keep("transform grey", square)
G = legacy.ImageDataGenerator
cases = [
    (dict(), dict(theta=30)), (dict(), dict(theta=-77.5, zx=1.3, zy=0.8)), (dict(), dict(tx=3, ty=-5.25)),
    (dict(), dict(shear=20)), (dict(), dict(zx=0.5, zy=0.6)), (dict(), dict(theta=10, tx=2, ty=1, shear=-15, zx=1.2, zy=0.9)),
    (dict(fill_mode="constant", cval=7.5), dict(theta=45, tx=1.5)), (dict(fill_mode="constant"), dict(zx=2, zy=2)),
    (dict(fill_mode="reflect"), dict(theta=120, tx=30, ty=-70)), (dict(fill_mode="reflect"), dict(zx=4, zy=5)),
    (dict(fill_mode="wrap"), dict(theta=33, tx=-9, ty=40)), (dict(fill_mode="wrap"), dict(zx=3, zy=3)),
    (dict(interpolation_order=0), dict(theta=25, zx=1.4, zy=1.4)), (dict(interpolation_order=0, fill_mode="reflect"), dict(shear=40, tx=8)),
    (dict(interpolation_order=0, fill_mode="wrap"), dict(theta=-50, ty=31)), (dict(), dict(flip_horizontal=True)),
    (dict(), dict(flip_vertical=True, channel_shift_intensity=31.5)), (dict(), dict(theta=5, flip_horizontal=True, flip_vertical=True, brightness=1.7)),
    (dict(), dict(brightness=0.37)), (dict(), dict(theta=12, tx=1, ty=2, shear=3, zx=0.9, zy=1.1, flip_horizontal=True,
                                            channel_shift_intensity=-60.25, brightness=1.25)),
]
lua = []
for i, (options, params) in enumerate(cases, 1):
    keep(f"transform {i}", G(**options).apply_transform(base, params).astype("float32"))
    keep(f"transform grey {i}", G(**options).apply_transform(square, params).astype("float32"))
    table = lambda d: "{ " + ", ".join(f"{k} = {str(v).lower() if isinstance(v, bool) else repr(v)}" for k, v in d.items()) + " }"
    lua.append(f"    {{ {table(options)}, {table(params)} }},".replace("'", '"'))
first = G(data_format="channels_first").apply_transform(base.transpose(2, 0, 1), cases[5][1])
keep("transform channels_first", first.astype("float32"))

# -- standardize and fit
batch = rng.uniform(0, 255, (6, 5, 4, 3)).astype("float32")
keep("batch", batch)
g = G(rescale=1 / 255.0, samplewise_center=True, samplewise_std_normalization=True)
keep("standardize samplewise", g.standardize(batch[1].copy()))
g = G(featurewise_center=True, featurewise_std_normalization=True, rescale=1 / 255.0)
g.fit(batch)
keep("fit mean", g.mean.astype("float32"))
keep("fit std", g.std.astype("float32"))
keep("standardize featurewise", g.standardize(batch[2].copy()))
small = rng.normal(100, 40, (40, 3, 2, 3)).astype("float32")
keep("zca input", small)
g = G(zca_whitening=True, zca_epsilon=1e-2)
g.fit(small)
keep("zca matrix", g.zca_whitening_matrix.astype("float32"))
keep("standardize zca", g.standardize(small[3].copy()).astype("float32"))

with open(path("values.bin"), "wb") as f:
    f.write(bytes(blob))
with open(path("values.lua"), "w") as f:
    f.write("-- Made by spec/ref/make_images.py: name -> dtype, shape, place in values.bin. Keras %s, TensorFlow %s.\n" % (keras.__version__, tf.__version__))
    f.write("return {\n  values = {\n")
    for name, dtype, shape, at in index:
        f.write('    ["%s"] = { "%s", { %s }, %d },\n' % (name, dtype, ", ".join(map(str, shape)), at))
    f.write("  },\n  files = { %s },\n  transforms = {\n%s\n  },\n}\n" % (", ".join('"%s"' % f for f in files), "\n".join(lua)))
print(len(blob), len(index))

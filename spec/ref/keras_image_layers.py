"""What Keras' layers of colours and mixtures give: python keras_image_layers.py writes
keras_image_layers.lua, and the files of models of them in spec/fixtures/keras.

Needs keras and tensorflow. A case is a class, its options, the transformation that the pictures get
(none where the layer draws nothing, or what it draws is one number) and pictures; stored is the result.
"""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
from luawrite import lua

L = keras.layers
rng = np.random.default_rng(14)


def pictures(*shape, low=0.0, high=255.0, whole=False):
    x = rng.uniform(low, high, shape).astype("float32")
    # a smooth ramp under the noise, one picture of one colour, some pixels grey
    x = x * 0.6 + np.linspace(low, high, shape[-2], dtype="float32")[:, None] * 0.4
    x = np.round(x) if whole else x.round(4)
    if len(shape) == 4:
        x[-1, : shape[1] // 2] = np.round((low + high) / 2, 2)
    return x.astype("float32")


N, H, W = 3, 9, 7
rgb = pictures(N, H, W, 3)
bytes_ = pictures(N, H, W, 3, whole=True)
unit = pictures(N, H, W, 3, low=0.0, high=1.0)
signed = pictures(N, H, W, 3, low=-1.0, high=1.0)
grey = pictures(N, H, W, 1)
five = pictures(N, H, W, 5)
one = pictures(H, W, 3)
first = np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))
flat = np.full((2, 4, 4, 3), 17.0, "float32")
big = pictures(2, 19, 23, 3)


def col(*v):
    return np.array(v, "float32").reshape(-1, 1, 1, 1)


def vec(*v, dtype="float32"):
    return np.array(v, dtype)


CASES = []


def case(name, options, x, t=None, keys=None, **more):
    CASES.append(dict(name=name, options=options, x=x, t=t, keys=keys, **more))


for x in (rgb, grey, five):
    case("RandomBrightness", dict(factor=0.5), x, dict(rgb_delta=col(-90, 0, 61.5)))
case("RandomBrightness", dict(factor=(0.3, 0.3)), one)
case("RandomBrightness", dict(factor=(-0.25, -0.25), value_range=(0, 1)), unit)
case("RandomBrightness", dict(factor=(0.25, 0.25), value_range=(-1, 1), data_format="channels_first"), first / 255)
for x in (rgb, grey, five):
    case("RandomContrast", dict(factor=0.9), x, dict(contrast_factor=col(0.2, 1, 1.9)))
case("RandomContrast", dict(factor=0.9, data_format="channels_first"), first, dict(contrast_factor=col(0.2, 1, 1.9)))
case("RandomContrast", dict(factor=0.9, value_range=(-1, 1)), signed, dict(contrast_factor=col(0.3, 2.5, 1.5)))
for v, x in (((0, 255), rgb), ((0, 1), unit), ((-1, 1), signed), ((0, 255), bytes_)):
    case("RandomHue", dict(factor=0.9, value_range=v), x, dict(factor=vec(-0.4, 0.1, 0.45)))
    case("RandomColorDegeneration", dict(factor=0.9, value_range=v), x, dict(factor=col(1, 0.25, -0.5)))
    case("RandomSharpness", dict(factor=0.9, value_range=v), x, dict(factor=vec(0, 0.3, 1)))
    case("RandomPosterization", dict(factor=3, value_range=v), x, dict(shift_factor=vec(0, 4, 7, dtype="uint8")))
    case("Solarization", dict(value_range=v), x, dict(additions=col(0, 40, 100), thresholds=col(128, 77.5, 0)))
    case("AutoContrast", dict(value_range=v), x)
    case("Equalization", dict(value_range=v), x)
    case("Equalization", dict(value_range=v, bins=16), x)
    case("ContrastLimitedAdaptiveHistogramEqualization", dict(value_range=v, tile_grid_size=(3, 2)), x)
    case("RandomInvert", dict(value_range=v), x, dict(apply_inversion=vec(1, 0, 1, dtype="bool")))
case("RandomHue", dict(factor=0.9, data_format="channels_first"), first, dict(factor=vec(-0.4, 0.1, 0.45)))
for v, x in (((0, 255), rgb), ((0, 1), unit)):
    case("RandomSaturation", dict(factor=0.9, value_range=v), x, dict(factor=vec(0, 0.5, 1.5)))
case("RandomSaturation", dict(factor=0.9), rgb, dict(factor=vec(4, 300, 0.1)))
case("RandomSaturation", dict(factor=(0.8, 0.8)), rgb)
case("RandomSaturation", dict(factor=(0.3, 0.3), data_format="channels_first"), first)
case("RandomColorDegeneration", dict(factor=(0.5, 0.5)), one)
case("RandomColorDegeneration", dict(factor=(0.5, 0.5), data_format="channels_first"), first)
case("RandomSharpness", dict(factor=(0.8, 0.8)), grey)
case("RandomSharpness", dict(factor=(0.8, 0.8)), five)
case("RandomSharpness", dict(factor=(0.1, 0.1)), pictures(1, 1, 1, 3))
case("RandomSharpness", dict(factor=(0.1, 0.1)), pictures(1, 2, 1, 3))
case("RandomSharpness", dict(factor=(0.9, 0.9), data_format="channels_first"), first)
case("RandomGrayscale", dict(), rgb, vec(1, 0, 1, dtype="bool").reshape(-1, 1, 1, 1), "should_apply")
case("RandomGrayscale", dict(factor=1.0), one)
case("RandomGrayscale", dict(factor=1.0, data_format="channels_first"), first)
case("RandomGrayscale", dict(factor=0.0), rgb)
case("RandomInvert", dict(factor=(1.0, 1.0)), one)
case("RandomPosterization", dict(factor=(2, 2)), bytes_)
case("RandomPosterization", dict(factor=(5, 5)), grey)
case("Solarization", dict(), one)
case("Solarization", dict(), rgb, training=False)
case("AutoContrast", dict(), one)
case("AutoContrast", dict(), flat)
case("AutoContrast", dict(), grey, training=False)
for x in (one, grey, five, flat, big):
    case("Equalization", dict(), x)
case("Equalization", dict(data_format="channels_first"), first)
case("Equalization", dict(), rgb, training=False)
C = "ContrastLimitedAdaptiveHistogramEqualization"
case(C, dict(), big)
case(C, dict(clip_limit=0), big)
case(C, dict(clip_limit=1.5, tile_grid_size=(4, 5)), big)
case(C, dict(clip_limit=100.0, tile_grid_size=(1, 1)), five)
case(C, dict(tile_grid_size=(2, 3)), one)
case(C, dict(tile_grid_size=(2, 3)), grey, training=False)
case(C, dict(tile_grid_size=(3, 3), data_format="channels_first"), first)
case(C, dict(tile_grid_size=(2, 2)), flat)
blur = dict(should_apply_blur=vec(1, 0, 1, dtype="bool"), blur_factor=vec(0.8, 0.8))
case("RandomGaussianBlur", dict(), rgb, blur)
case("RandomGaussianBlur", dict(kernel_size=5), five, dict(blur, blur_factor=vec(1.0, 0.3)))
case("RandomGaussianBlur", dict(kernel_size=3, data_format="channels_first"), first, blur)
case("RandomGaussianBlur", dict(factor=(1, 1), sigma=(0.5, 0.5)), one)
case("RandomColorJitter", dict(brightness_factor=(0.2, 0.2), contrast_factor=(0, 0)), rgb)
case("RandomColorJitter", dict(saturation_factor=(0.7, 0.7), value_range=(0, 1)), unit)
case("RandomColorJitter", dict(brightness_factor=(-0.3, -0.3), saturation_factor=(0.6, 0.6)), rgb)
case("RandomErasing", dict(factor=(1, 1), scale=(1, 1), fill_value=[1, 2, 3]), rgb)
case("RandomErasing", dict(factor=(1, 1), scale=(1, 1), fill_value=400), five)
case("RandomErasing", dict(factor=(0, 0)), rgb)
order = vec(2, 0, 1, dtype="int64")
weights = vec(0.25, 1, 0.6)
case("MixUp", dict(), rgb, dict(permutation_order=order, mix_weight=weights), labels=np.eye(4, dtype="float32")[:3])
case("MixUp", dict(data_format="channels_first"), first, dict(permutation_order=order, mix_weight=weights))


def boxes_of(layer, shape, corners):
    return layer._generate_batch_mask(shape, [np.array(c, "float32") for c in corners])


corners = ([1, 0, 2.5], [4.2, 0, 7], [2, 3, 0.5], [8, 4, 8.9])  # left, right, top, bottom
layer = L.CutMix()
masks, share = boxes_of(layer, rgb.shape, corners)
mine = np.stack([corners[0], corners[2], corners[1], corners[3]], 1).astype("float32")
case("CutMix", dict(), rgb, dict(permutation_order=order, batch_masks=masks, mix_weight=share),
     labels=np.eye(4, dtype="float32")[:3], boxes=mine)
erase = boxes_of(L.RandomErasing(), rgb.shape, corners)
case("RandomErasing", dict(fill_value=3.0), rgb,
     dict(apply_erasing=vec(1, 1, 0, dtype="bool"), batch_masks=erase, fill_value=np.float32(3.0)), boxes=mine)


def listed(v):
    v = np.asarray(v)
    return dict(shape=list(v.shape), dtype=str(v.dtype), data=[float(x) if v.dtype.kind == "f" else int(x) for x in v.reshape(-1)])


# Two models in files: one that changes pictures in training by fixed amounts, one of what draws.
# (Keras cannot put Equalization into a model: its spec is its input)
FIXED = [L.RandomBrightness((0.1, 0.1)), L.RandomContrast((0, 0)), L.RandomHue((0, 0)), L.RandomSaturation((0.6, 0.6)),
         L.RandomColorDegeneration((0.3, 0.3)), L.RandomSharpness((0.7, 0.7)), L.RandomGrayscale(0.0),
         L.RandomInvert((1, 1)), L.RandomGaussianBlur((1, 1), 5, (0.5, 0.5)), L.RandomColorJitter(brightness_factor=(0.1, 0.1)),
         L.RandomErasing((0, 0), fill_value=[1, 2, 3]), L.AutoContrast(), L.RandomPosterization((6, 6)), L.Solarization(),
         L.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 3))]
DRAWN = [L.MixUp(0.3, seed=3), L.CutMix(0.5), L.RandomErasing(scale=0.5), L.RandAugment(num_ops=3, factor=0.4, seed=1),
         L.AugMix(num_chains=2, all_ops=False, interpolation="nearest"), L.RandomColorJitter(hue_factor=0.4, contrast_factor=(0.1, 0.2)),
         L.Solarization((0.1, 0.5), 0.5), L.RandomHue((0.1, 0.7), value_range=(0, 1), seed=2), L.AutoContrast()]


def files():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "keras")
    out = {}
    for name, layers in (("image_layers", FIXED), ("image_mixes", DRAWN)):
        model = keras.Sequential([keras.Input((9, 7, 3))] + layers)
        model.save(os.path.join(folder, name + ".keras"))
        out[name] = model.predict(bytes_, verbose=0).reshape(-1).round(4)
        if name == "image_layers":
            out["trained"] = np.asarray(model(bytes_, training=True)).reshape(-1).round(4)
    return out


def main():
    stored, out = [], []

    def place(x):
        for i, s in enumerate(stored):
            if s.shape == x.shape and (s == x).all():
                return i + 1
        stored.append(x)
        return len(stored)

    for c in CASES:
        layer = getattr(L, c["name"])(**c["options"])
        x, t, training = c["x"], c["t"], c.get("training", True)
        if t is not None:
            kt = {k: keras.ops.convert_to_tensor(v) for k, v in t.items()} if isinstance(t, dict) else t
            if len(x.shape) == 3:
                y = layer.transform_single_image(keras.ops.convert_to_tensor(x), kt)
            else:
                y = layer.transform_images(keras.ops.convert_to_tensor(x), kt)
        else:
            y = layer(keras.ops.convert_to_tensor(x), training=training)
        row = dict(name=c["name"], options=c["options"], x=place(x), training=training, y=np.asarray(y, "float32").reshape(-1).round(5))
        if t is not None:
            t = t if isinstance(t, dict) else {c["keys"]: t}
            t = {k: np.asarray(v) for k, v in t.items() if k != "batch_masks" or "boxes" not in c}
            if "boxes" in c:
                t["boxes"] = c["boxes"]
            if "permutation_order" in t:
                t["permutation_order"] = t["permutation_order"] + 1
            row["t"] = {k: listed(v) for k, v in t.items()}
        if "labels" in c:
            row["labels"] = listed(c["labels"])
            row["mixed"] = np.asarray(layer.transform_labels(keras.ops.convert_to_tensor(c["labels"]), kt)).reshape(-1)
        out.append(row)
    with open(os.path.splitext(os.path.abspath(__file__))[0] + ".lua", "w") as f:
        f.write("-- Made by spec/ref/keras_image_layers.py from the real Keras; do not edit.\nlocal pictures = {\n")
        for s in stored:
            f.write("  " + lua(listed(s), 7) + ",\n")
        f.write("}\nlocal x = %d\nreturn { x = pictures[x], pictures = pictures, cases = {\n" % place(bytes_))
        for r in out:
            f.write("  " + lua(r, 7) + ",\n")
        f.write("}, files = %s }\n" % lua(files(), 7))


main()

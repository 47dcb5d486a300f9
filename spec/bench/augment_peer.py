"""What Keras' layers that change pictures cost, as spec/bench/augment.lua measures Tide's: python
augment_peer.py prints lines `name milliseconds` of processor time on one thread, in a graph as in
tf.data's map.
"""
import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras

L = keras.layers
x = tf.random.uniform((32, 224, 224, 3), maxval=255.0)
ROWS = [
    ("RandomBrightness", dict(factor=0.5)), ("RandomContrast", dict(factor=0.5)), ("RandomHue", dict(factor=0.5)),
    ("RandomSaturation", dict(factor=0.5)), ("RandomColorDegeneration", dict(factor=0.5)),
    ("RandomSharpness", dict(factor=0.5)), ("RandomGrayscale", {}), ("RandomInvert", {}),
    ("RandomPosterization", dict(factor=(2, 6))), ("Solarization", dict(addition_factor=0.5, threshold_factor=0.5)),
    ("AutoContrast", {}), ("Equalization", {}), ("ContrastLimitedAdaptiveHistogramEqualization", {}),
    ("RandomGaussianBlur", {}),
    ("RandomColorJitter", dict(brightness_factor=0.5, contrast_factor=0.5, saturation_factor=0.5, hue_factor=0.5)),
    ("RandomErasing", {}), ("CutMix", {}), ("MixUp", {}), ("RandAugment", {}), ("AugMix", {}),
]
for name, options in ROWS:
    layer = getattr(L, name)(**options)
    try:
        run = tf.function(lambda v: layer(v, training=True))
        run(x)
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            run(x).numpy()
            best = min(best, time.process_time() - start)
        print(name, round(best * 1000, 1), flush=True)
    except Exception as e:
        print(name, "-", type(e).__name__, flush=True)

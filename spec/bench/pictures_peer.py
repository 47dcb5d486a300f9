"""Pictures per second of other programs on the folder of spec/bench/pictures.lua: python pictures_peer.py PROGRAM FOLDER SECONDS WORKERS prints
`pictures-per-second milliseconds-of-CPU-each`, processes that it started included. PROGRAM: keras (ImageDataGenerator), tf (Keras' folder and layers in
tf.data), torch (torchvision in DataLoader)."""
import os
import resource
import sys
import time

os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
program, folder, seconds, workers = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])


def cpu():
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def keras():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    g = ImageDataGenerator(rescale=1 / 255.0, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
    it = g.flow_from_directory(folder, target_size=(150, 150), class_mode="binary", batch_size=32)
    while True:
        yield next(it)[0]


def tf():
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(workers)
    tf.config.threading.set_inter_op_parallelism_threads(workers)
    ds = keras.utils.image_dataset_from_directory(folder, label_mode="binary", image_size=(150, 150), batch_size=32, verbose=False)
    change = [keras.layers.RandomFlip("horizontal"), keras.layers.RandomShear(0.2, 0.2), keras.layers.RandomZoom(0.2), keras.layers.Rescaling(1 / 255.0)]

    def run(x, y):
        for layer in change:
            x = layer(x, training=True)
        return x, y

    ds = ds.map(run, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    while True:
        for x, _ in ds:
            yield x


def torch():
    import torch
    from torchvision import datasets, transforms as t

    torch.set_num_threads(1)
    change = t.Compose([t.Resize((150, 150)), t.RandomAffine(0, shear=0.2, scale=(0.8, 1.2), interpolation=t.InterpolationMode.BILINEAR),
                        t.RandomHorizontalFlip(), t.ToTensor()])
    loader = torch.utils.data.DataLoader(datasets.ImageFolder(folder, change), batch_size=32, shuffle=True, num_workers=workers, persistent_workers=True)
    while True:
        for x, _ in loader:
            yield x


batches = globals()[program]()
next(batches)
next(batches)
wall, used, n = time.time(), cpu(), 0
while time.time() - wall < seconds:
    n += len(next(batches))
wall = time.time() - wall
if program == "torch":  # its workers are counted when they are gone
    batches.close()
    print("%.1f -" % (n / wall))
else:
    print("%.1f %.2f" % (n / wall, (cpu() - used) / n * 1000))

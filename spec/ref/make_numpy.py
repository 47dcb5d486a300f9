"""Writes the .npy and .npz files of spec/fixtures/numpy, which spec/saving/tensors_spec.lua reads.

    python spec/ref/make_numpy.py
"""
import numpy as np

folder = "spec/fixtures/numpy/"
np.save(folder + "fortran_big.npy", np.asfortranarray(np.arange(24).reshape(2, 3, 4).astype(">f8")))
np.save(folder + "int16.npy", np.array([[-300, 5], [32767, -32768]], dtype="int16"))
np.save(folder + "uint16_big.npy", np.array([65535, 1], dtype=">u2"))
np.save(folder + "uint32.npy", np.array([4294967295, 7], dtype="uint32"))
np.save(folder + "half.npy", np.array([1.5, -2.0], dtype="float16"))
np.save(folder + "empty.npy", np.zeros((0, 3), dtype="float32"))
np.save(folder + "scalar.npy", np.array(5, dtype="int64"))
np.savez_compressed(folder + "names.npz", x=np.ones((3, 2), dtype="float32"), y=np.array(True))
np.savez(folder + "list.npz", np.ones(2, dtype="float32"), np.arange(3))
np.save(folder + "object.npy", np.array([{}], dtype=object), allow_pickle=True)
np.save(folder + "text.npy", np.array(["ab"]))
np.save(folder + "structured.npy", np.zeros(2, dtype=[("a", "f4")]))

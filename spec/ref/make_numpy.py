"""Writes the .npy and .npz files of spec/fixtures/numpy, which spec/saving/tensors_spec.lua reads.

    python spec/ref/make_numpy.py
"""
import numpy as np

import os

folder = "spec/fixtures/numpy/"
os.makedirs(folder + "kinds", exist_ok=True)
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
for order in "<", ">":
    for kind in "i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 b1 U3 S4".split():
        a = np.arange(6).reshape(2, 3) if kind[0] != "b" else np.arange(6).reshape(2, 3) % 2
        a = a.astype(order + kind)
        if kind[0] == "U":
            a = np.array([["a", "süß", ""], ["猫", "x y", "😀"]]).astype(order + kind)
        name = folder + "kinds/" + ("big_" if order == ">" else "") + kind
        np.save(name + ".npy", a)
        np.save(name + "_fortran.npy", np.asfortranarray(a))
np.save(folder + "huge.npy", np.array([2**63], dtype="uint64"))
np.save(folder + "structured.npy", np.zeros(2, dtype=[("a", "f4")]))

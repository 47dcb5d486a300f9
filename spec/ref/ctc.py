"""CTC loss by torch in float64, labels from 1 and the blank first. Run with an environment that holds torch: python ctc.py"""
import numpy as np
import torch
from common import rng, write

r = rng(4)
x = r.normal(0, 1, (4, 6, 5))
labels = np.array([[1, 2, 2], [3, 1, 0], [4, 0, 0], [2, 4, 1]], dtype="int32")
label_length, length = np.array([3, 2, 1, 3], dtype="int32"), np.array([6, 5, 2, 6], dtype="int32")
loss = torch.nn.functional.ctc_loss(
    torch.log_softmax(torch.tensor(x), -1).transpose(0, 1), torch.tensor(labels), torch.tensor(length), torch.tensor(label_length), reduction="none"
)
write({"ctc": ([labels, x, label_length, length], [loss.numpy()])})

"""Multiply-accumulates of matrix products, forward, as PyTorch counts them (FlopCounterMode; two
operations are one): /opt python with torch spec/ref/macs.py. Writes macs.lua."""
import os
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from luawrite import write


def count(model, *shape):
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(*shape))
    return counter.get_total_flops() // 2


class Attention(nn.Module):
    """4 heads of width 8 on 24 features, projections as MultiHeadAttention(4, 8) has them."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(24, 32), nn.Linear(24, 32), nn.Linear(24, 32), nn.Linear(32, 24)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 4, 8).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.o(y.transpose(1, 2).reshape(b, t, 32))


rows = [
    dict(name="mlp", batch=16, macs=count(nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 7)), 16, 30)),
    dict(name="cnn", batch=4, macs=count(nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10)), 4, 3, 16, 16)),
    dict(name="attention", batch=2, macs=count(Attention(), 2, 12, 24)),
]
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "macs.lua"), "macs.py", rows)
print(rows)

"""Small modules of real PyTorch: their state dicts as safetensors and as torch.save writes them, with inputs and outputs.

    python spec/ref/torch_models.py      writes spec/fixtures/torch/NAME.safetensors (names beginning with "@" are inputs and
                                         outputs) and, for some, NAME.pt; spec/saving/torch_spec.lua reads them
Pictures and sequences are stored channels last, as Tide has them. Needs torch, safetensors, numpy."""
import os
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "torch")
os.makedirs(FOLDER, exist_ok=True)
torch.manual_seed(7)


def fill(module):
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            t.copy_(torch.rand(t.shape) * 0.5 + 0.5 if name.endswith("running_var") else torch.randn(t.shape) * 0.4)
    return module.eval()


def first(t):
    """Channels first, for the module."""
    return t.movedim(-1, 1)


def last(t):
    return t.movedim(1, -1)


def write(name, module, inputs, f, pt=False):
    fill(module)
    with torch.no_grad():
        outputs = f(module, *inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    tensors = {k: v.contiguous() for k, v in module.state_dict().items()}
    for i, v in enumerate(inputs):
        tensors["@x%d" % (i + 1)] = v.contiguous()
    for i, v in enumerate(outputs):
        tensors["@y%d" % (i + 1)] = v.contiguous()
    save_file(tensors, os.path.join(FOLDER, name + ".safetensors"))
    if pt:
        path = os.path.join(FOLDER, name + ".pt")
        torch.save(module.state_dict(), path)
        with zipfile.ZipFile(path) as z:
            members = [(n, z.read(n)) for n in z.namelist()]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:   # smaller; the same members
            for n, data in members:
                z.writestr(zipfile.ZipInfo(n, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


write("mlp", nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, eps=0.001), nn.PReLU(5), nn.Linear(5, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)),
      [torch.randn(6, 4)], lambda m, x: m(x), pt=True)

write("cnn", nn.Sequential(nn.Conv2d(4, 6, (3, 2), groups=2), nn.BatchNorm2d(6, eps=0.001), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=6),
                           nn.GroupNorm(3, 12, eps=0.001), nn.ConvTranspose2d(12, 4, (2, 3), stride=2), nn.Conv2d(4, 3, 1)),
      [torch.randn(2, 7, 8, 4)], lambda m, x: last(m(first(x))), pt=True)

write("conv1", nn.Sequential(nn.Conv1d(3, 4, 3), nn.ConvTranspose1d(4, 5, 2, stride=2), nn.Conv1d(5, 10, 3, groups=5, bias=False)),
      [torch.randn(2, 9, 3)], lambda m, x: last(m(first(x))))
write("conv3", nn.Sequential(nn.Conv3d(2, 3, (2, 1, 3)), nn.ConvTranspose3d(3, 2, (1, 2, 2), stride=1)),
      [torch.randn(1, 4, 3, 5, 2)], lambda m, x: last(m(first(x))))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.lstm = nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(6, 5, num_layers=2, batch_first=True)
        self.rnn = nn.RNN(5, 4, batch_first=True, bias=False)
        self.norm = nn.LayerNorm(4, eps=0.001)

    def forward(self, ids):
        x, _ = self.lstm(self.table(ids))
        x, _ = self.gru(x)
        x, h = self.rnn(x)
        return self.norm(x), h[-1]


write("text", Text(), [torch.randint(0, 11, (3, 7))], lambda m, x: m(x), pt=True)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.LSTMCell(3, 4), nn.GRUCell(3, 4), nn.RNNCell(3, 4)

    def forward(self, x, h, c):
        a, b = self.a(x, (h, c))
        return a, b, self.b(x, h), self.c(x, h)


write("cells", Cells(), [torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)], lambda m, *x: m(*x))


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.MultiheadAttention(8, 2, batch_first=True)
        self.cross = nn.MultiheadAttention(8, 4, batch_first=True, kdim=6, vdim=5, bias=False)

    def forward(self, x, k, v):
        y, _ = self.own(x, x, x)
        z, w = self.cross(y, k, v, average_attn_weights=False)
        return y, z, w


write("heads", Heads(), [torch.randn(2, 5, 8), torch.randn(2, 7, 6), torch.randn(2, 7, 5)], lambda m, *x: m(*x))

write("encoder", nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", batch_first=True, layer_norm_eps=0.001), 2,
                                       enable_nested_tensor=False),
      [torch.randn(2, 5, 8)], lambda m, x: m(x))

# what torch.save writes beside plain state dicts
view = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
torch.save({"epoch": 3, "rate": 0.5, "names": ["a", "b"], "state_dict": {
    "turned": view.permute(2, 0, 1), "part": view[1], "half": view[0, 0].half(), "brain": view[0, 1].bfloat16(), "double": view[0, 2].double(),
    "whole": torch.tensor([1, -2, 3]), "small": torch.tensor([1, 2], dtype=torch.uint8), "yes": torch.tensor([True, False]),
    "number": torch.tensor(2.5), "nothing": torch.zeros(0, 3), "parameter": nn.Parameter(view[1, 1].clone())}},
    os.path.join(FOLDER, "checkpoint.pt"))
torch.save(view[:, ::2], os.path.join(FOLDER, "bare.pt"))
torch.save({"w": view[:, ::2]}, os.path.join(FOLDER, "spread.pt"))
torch.save(nn.Linear(2, 2), os.path.join(FOLDER, "module.pt"))
torch.save({"w": view[0]}, os.path.join(FOLDER, "old.pt"), _use_new_zipfile_serialization=False)
for name in sorted(os.listdir(FOLDER)):
    print(name, os.path.getsize(os.path.join(FOLDER, name)))

"""EmbeddingBag with offsets, padding and weights per id, computed by PyTorch: writes spec/ref/embedding_bag.lua, which
spec/layers/peers_spec.lua reads.

Run: python spec/ref/embedding_bag.py
The table is formula.weight of (7, 3); `y` are the results, `g` the gradients of sum(y * formula.make) for the table and for the
weights of the ids. Ids and offsets are written as Tide counts them, ids of rows with padding from 0.
"""
import torch
import torch.nn.functional as F
from formula import make, weight
from luawrite import lua

IDS = [3, 0, 6, 2, 2, 5, 0, 1, 4, 3, 6, 0]
FACTORS = [0.5, -1.0, 2.0, 0.25, 1.5, 3.0, -0.5, 1.0, 0.75, 2.5, -2.0, 1.25]
rows = []


def row(mode, ids, offsets=None, padding=False, factors=False):
    table = torch.tensor(weight("", (7, 3), 0), dtype=torch.float64, requires_grad=True)
    x = torch.tensor(ids)
    f = torch.tensor(FACTORS, dtype=torch.float64).reshape(x.shape).requires_grad_() if factors else None
    y = F.embedding_bag(x, table, None if offsets is None else torch.tensor(offsets), mode=mode, per_sample_weights=f,
                        padding_idx=0 if padding else None)
    wrt = [table] + ([f] if factors else [])
    g = torch.autograd.grad((y * torch.tensor(make("real", tuple(y.shape), 5), dtype=torch.float64)).sum(), wrt)
    first = 0 if padding else 1
    rows.append({"mode": mode, "ids": (x + first).tolist(), "offsets": None if offsets is None else [o + 1 for o in offsets],
                 "padding": padding or None, "factors": f.tolist() if factors else None,
                 "y": y.tolist(), "g": [v.tolist() for v in g]})


square = [IDS[0:4], IDS[4:8], IDS[8:12]]
empty = [[0, 0, 0, 0], IDS[4:8], IDS[8:12]]  # nothing but padding
for mode in ("sum", "mean", "max"):
    row(mode, square, padding=True)
    row(mode, empty, padding=True)
    row(mode, IDS, offsets=[0, 4, 4, 9])
    row(mode, IDS, offsets=[0, 1, 6, 6, 12], padding=True)
row("sum", square, factors=True)
row("sum", square, factors=True, padding=True)
row("sum", IDS, offsets=[0, 5, 7], factors=True)
row("sum", IDS, offsets=[0, 2, 2, 8], factors=True, padding=True)

with open(__file__.replace(".py", ".lua"), "w") as f:
    f.write("-- Made by embedding_bag.py with PyTorch %s.\nreturn {\n" % torch.__version__.split("+")[0])
    for r in rows:
        f.write("  %s,\n" % lua({k: v for k, v in r.items() if v is not None}))
    f.write("}\n")

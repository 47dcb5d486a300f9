"""Products by NumPy and torch in float64. Run with an environment that holds numpy and torch: python linear.py"""
import numpy as np
import torch
from common import rng, write

r = rng(11)
out = {}


def normal(*shape):
    return r.normal(0, 1, shape).round(3).round(3)


for name, a, b in [
    ("square", (3, 3), (3, 3)), ("tall", (7, 2), (2, 5)), ("batch", (2, 3, 4), (2, 4, 5)), ("one matrix for a batch", (2, 3, 4), (4, 5)),
    ("broadcast batches", (2, 1, 3, 4), (3, 4, 2)), ("vector left", (4,), (4, 3)), ("vector right", (2, 3, 4), (4,)), ("vectors", (5,), (5,)),
    ("vector and batch", (4,), (2, 4, 3)), ("wide", (9, 34), (34, 19)),
]:
    x, y = normal(*a), normal(*b)
    out["matmul, " + name] = ([x, y], [np.asarray(np.matmul(x, y))])

acts = {
    "linear": lambda z: z, "relu": torch.relu, "relu6": torch.nn.functional.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "elu": torch.nn.functional.elu, "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu,
}
for name, f in acts.items():
    x, w, b = normal(2, 3, 4), 2 * normal(4, 5), normal(5)
    z = torch.nn.functional.linear(torch.tensor(x), torch.tensor(w).T, torch.tensor(b))
    out["linear, " + name] = ([x, w, b], [f(z).numpy()])
x, w = normal(3, 4), normal(4, 2)
out["linear, no bias"] = ([x, w, None], [x @ w])

x, y = normal(2, 3, 4), normal(3, 4, 2)
out["dot"] = ([x, y], [np.dot(x, y)])
x, y = normal(2, 3), normal(3, 4)
out["dot, matrices"] = ([x, y], [np.dot(x, y)])
x, y = normal(2, 3, 4), normal(5, 4)
out["inner"] = ([x, y], [np.inner(x, y)])
x, y = normal(2, 3), normal(4)
out["outer"] = ([x, y], [np.outer(x, y)])
x, y = normal(2, 3), normal(3, 2)
out["vdot"] = ([x, y], [np.asarray(np.vdot(x, y))])
x, y = normal(2, 3, 4), normal(2, 1, 4)
out["vecdot"] = ([x, y], [(x * y).sum(-1)])
x, y = normal(2, 3, 4), normal(2, 3, 4)
out["vecdot, middle axis"] = ([x, y], [(x * y).sum(1)])

for name, a, b, axes in [("two axes", (2, 3, 4), (3, 4, 5), 2), ("one axis", (2, 3), (3, 4), 1), ("no axis", (2,), (3, 2), 0),
                         ("named", (2, 3, 4), (4, 5, 2), ([0, 2], [2, 0]))]:
    x, y = normal(*a), normal(*b)
    out["tensordot, " + name] = ([x, y], [np.tensordot(x, y, axes)])

for eq, *shapes in [
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("ij,jk", (3, 4), (4, 2)), ("...ij,...jk->...ik", (2, 1, 3, 4), (3, 4, 2)), ("i,j->ij", (3,), (2,)),
    ("ij,ij->i", (2, 3), (2, 3)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), ("abc,cd->abd", (2, 3, 4), (4, 2)), ("ij,ij->", (2, 3), (2, 3)),
    ("ii->", (4, 4)), ("ii->i", (4, 4)), ("iij->ji", (3, 3, 2)), ("ijk->j", (2, 3, 4)), ("ij->ji", (2, 3)), ("ba", (2, 3)),
    ("ij,jk,kl->il", (3, 2), (2, 4), (4, 3)), ("i,i,i->i", (3,), (3,), (3,)), ("b...i,i->b...", (2, 3, 2, 4), (4,)), ("ab,cd->acbd", (2, 3), (4, 2)),
    ("ij,kj->ik", (3, 4), (5, 4)), ("ji,jk->ik", (4, 3), (4, 2)), ("i...->...", (3, 2, 2)), ("aab,bc->ac", (3, 3, 2), (2, 4)), ("abij,ab->ij", (2, 3, 2, 2), (2, 3)),
]:
    xs = [normal(*s) for s in shapes]
    out["einsum, " + eq] = (xs, [np.asarray(np.einsum(eq, *xs))])
write(out)

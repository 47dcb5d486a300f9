"""A network of three layers after 1, 5 and 12 steps with PyTorch's parameter groups: python spec/ref/torch_groups.py

Each row: the optimizer, its options in Tide, the rate and decay of every parameter's group (PyTorch's own form), and the
parameters then. Rates of groups may follow a schedule (LambdaLR by group). Float64; epsilon is 0 where Keras
adds it elsewhere than PyTorch."""
import os
import numpy as np
import torch
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(12)
SIZES = [(4, 5), (5, 3), (3, 2)]
start = []
for a, b in SIZES:
    start += [rng.normal(size=(a, b)).round(3), rng.normal(size=(b,)).round(3)]
x, y = rng.normal(size=(24, 4)).round(3), rng.normal(size=(24, 2)).round(3)
NAMES = ["first/kernel", "first/bias", "second/kernel", "second/bias", "third/kernel", "third/bias"]
rows = []


def run(name, how, optimizer, args, cls, group, schedule=None, **kw):
    """group(i): the options of parameter i's group; schedule(i): factor of its rate at a step."""
    ps = [torch.nn.Parameter(torch.tensor(s, dtype=torch.float64)) for s in start]
    o = cls([dict(params=[p], **group(i)) for i, p in enumerate(ps)], **kw)
    s = schedule and torch.optim.lr_scheduler.LambdaLR(o, [schedule(i) for i in range(len(ps))])
    out = []
    for k in range(12):
        at = k % 3 * 8
        h = torch.tensor(x[at:at + 8])
        for i in range(0, 6, 2):
            h = h @ ps[i] + ps[i + 1]
            h = torch.tanh(h) if i < 4 else h
        o.zero_grad()
        ((h - torch.tensor(y[at:at + 8])) ** 2).mean().backward()
        o.step()
        if s:
            s.step()
        if k + 1 in (1, 5, 12):
            out.append([p.detach().numpy().copy() for p in ps])
    rows.append(dict(name=name, how=how, optimizer=optimizer, args=args, values=out))


def bias(i):
    return i % 2 == 1


def depth(decay):
    return lambda i: decay ** (2 - i // 2)


T = torch.optim
run("biases without decay", "bias", "AdamW", dict(learning_rate=0.05, weight_decay=0.2, epsilon=0), T.AdamW,
    lambda i: dict(weight_decay=0.0 if bias(i) else 0.2), lr=0.05, eps=0)
for name, args, cls, kw in [
        ("SGD", dict(learning_rate=0.1, momentum=0.9, nesterov=True), T.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)),
        ("Adam", dict(learning_rate=0.05, epsilon=0), T.Adam, dict(lr=0.05, eps=0)),
        ("AdamW", dict(learning_rate=0.05, weight_decay=0.1, epsilon=0), T.AdamW,
         dict(lr=0.05, weight_decay=0.1, eps=0)),
        ("RMSprop", dict(learning_rate=0.02, rho=0.9, epsilon=0), T.RMSprop, dict(lr=0.02, alpha=0.9, eps=0)),
        ("Adagrad", dict(learning_rate=0.1, epsilon=0), T.Adagrad, dict(lr=0.1, initial_accumulator_value=0.1, eps=0)),
        ("RAdam", dict(learning_rate=0.05, epsilon=0), T.RAdam, dict(lr=0.05, eps=0)),
        ("Adamax", dict(learning_rate=0.05, epsilon=0), T.Adamax, dict(lr=0.05, eps=0)),
]:
    lr = kw["lr"]
    run("layer-wise decay", "layerwise", name, args, cls, lambda i: dict(lr=lr * depth(0.6)(i)), **kw)
    run("layers", "layers", name, args, cls,
        lambda i: dict(lr=[0.0, 0.3 * lr, lr][i // 2]), **kw)
    run("paths", "paths", name, args, cls,
        lambda i: dict(lr=0.1 * lr if NAMES[i] == "second/kernel" else 2 * lr if bias(i) else lr), **kw)
    run("a function", "function", name, args, cls,
        lambda i: dict(lr=0.5 * lr if start[i].ndim == 1 else lr), **kw)
    if name != "SGD":  # whose momentum Keras multiplies by the rate, PyTorch not
        run("schedules", "schedules", name, args, cls, lambda i: dict(lr=lr),
            lambda i: (lambda step: 0.5 ** (step // 4)) if i < 2 else
            (lambda step: min((step + 1) / 6, 1.0)) if i < 4 else (lambda step: 1.0), **kw)

write(os.path.join(HERE, "torch_groups.lua"), "torch_groups.py", [dict(start=start, x=x, y=y)] + rows)
with open(os.path.join(HERE, "torch_groups.lua")) as f:
    text = f.read().replace("from the real Keras", "from PyTorch")
with open(os.path.join(HERE, "torch_groups.lua"), "w") as f:
    f.write(text)

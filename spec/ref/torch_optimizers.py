"""Parameters after each of 20 steps of optimizers that Keras lacks, and 100 steps of schedules: python spec/ref/torch_optimizers.py

RAdam, Rprop and LBFGS are PyTorch's; Yogi, AdaBelief, LARS and Lookahead follow their papers in float64 NumPy. Schedules are
PyTorch's lr_scheduler. Start and gradients are those of optimizers.py."""
import os
import numpy as np
import torch
from torch.optim import lr_scheduler as L
from luawrite import write

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(3)
start = [rng.normal(size=(3, 2)).round(3).astype("float32"), rng.normal(size=(4,)).round(3).astype("float32")]
grads = [[rng.normal(size=(3, 2)).round(3).astype("float32"), rng.normal(size=(4,)).round(3).astype("float32")] for _ in range(20)]
rows = []


def peer(name, args, cls, **kw):
    ps = [torch.nn.Parameter(torch.tensor(s, dtype=torch.float64)) for s in start]
    o = cls(ps, **kw)
    out = []
    for g in grads:
        for p, x in zip(ps, g):
            p.grad = torch.tensor(x, dtype=torch.float64)
        o.step()
        out.append([p.detach().numpy().copy() for p in ps])
    rows.append(dict(optimizer=name, args=args, values=out))


def paper(name, args, rule):
    """rule(t, w, g, state) -> w, one parameter at a time."""
    ps, states, out = [s.astype("float64") for s in start], [{}, {}], []
    for t, g in enumerate(grads, 1):
        ps = [rule(t, w, x.astype("float64"), s) for w, x, s in zip(ps, g, states)]
        out.append([p.copy() for p in ps])
    rows.append(dict(optimizer=name, args=args, values=out))


peer("RAdam", {}, torch.optim.RAdam, lr=1e-3)
peer("RAdam", dict(learning_rate=0.05, beta_1=0.8, beta_2=0.9), torch.optim.RAdam, lr=0.05, betas=(0.8, 0.9))
peer("Rprop", {}, torch.optim.Rprop)
peer("Rprop", dict(learning_rate=0.1, eta_minus=0.4, eta_plus=1.5, min_step=0.05, max_step=0.3), torch.optim.Rprop, lr=0.1,
     etas=(0.4, 1.5), step_sizes=(0.05, 0.3))


def yogi(rate=0.01, b1=0.9, b2=0.999, eps=1e-3, first=1e-6):
    def rule(t, w, g, s):
        m = s["m"] = b1 * s.get("m", first) + (1 - b1) * g
        v = s.get("v", first)
        v = s["v"] = v - (1 - b2) * np.sign(v - g * g) * g * g
        return w - rate * (m / (1 - b1 ** t)) / (np.sqrt(v / (1 - b2 ** t)) + eps)
    return rule


paper("Yogi", {}, yogi())
paper("Yogi", dict(learning_rate=0.05, beta_1=0.8, beta_2=0.9, epsilon=1e-4), yogi(0.05, 0.8, 0.9, 1e-4))


def adabelief(rate=1e-3, b1=0.9, b2=0.999, eps=1e-16):
    def rule(t, w, g, s):
        m = s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        v = s["v"] = b2 * s.get("v", 0) + (1 - b2) * (g - m) ** 2 + eps
        return w - rate * (m / (1 - b1 ** t)) / (np.sqrt(v / (1 - b2 ** t)) + eps)
    return rule


paper("AdaBelief", {}, adabelief())
paper("AdaBelief", dict(learning_rate=0.05, beta_1=0.8, beta_2=0.9, epsilon=1e-4), adabelief(0.05, 0.8, 0.9, 1e-4))


def lars(rate=0.01, momentum=0.9, trust=0.001, decay=0.0, eps=1e-8, nesterov=False):
    def rule(t, w, g, s):
        n = np.linalg.norm(w)
        step = rate * trust * n / (np.linalg.norm(g) + decay * n + eps) * (g + decay * w)
        m = s["m"] = momentum * s.get("m", 0) + step
        return w - (momentum * m + step if nesterov else m)
    return rule


paper("LARS", {}, lars())
paper("LARS", dict(learning_rate=0.5, momentum=0.8, trust_coefficient=0.1, weight_decay=0.05, nesterov=True),
      lars(0.5, 0.8, 0.1, 0.05, nesterov=True))


# Two groups of parameters with rates and decay of their own
ps = [torch.nn.Parameter(torch.tensor(s, dtype=torch.float64)) for s in start]
o = torch.optim.AdamW([dict(params=[ps[0]], lr=0.02, weight_decay=0.1), dict(params=[ps[1]], weight_decay=0.0)], lr=0.05, eps=1e-7)
out = []
for g in grads:
    for p, x in zip(ps, g):
        p.grad = torch.tensor(x, dtype=torch.float64)
    o.step()
    out.append([p.detach().numpy().copy() for p in ps])
grouped = dict(values=out)


# Lookahead (Zhang et al. 2019) around SGD with momentum: every 5 steps slow += 0.5 (fast - slow)
ps = [torch.nn.Parameter(torch.tensor(s, dtype=torch.float64)) for s in start]
slow = [p.detach().clone() for p in ps]
o = torch.optim.SGD(ps, lr=0.1, momentum=0.9)
out = []
for t, g in enumerate(grads, 1):
    for p, x in zip(ps, g):
        p.grad = torch.tensor(x, dtype=torch.float64)
    o.step()
    if t % 5 == 0:
        with torch.no_grad():
            for p, s in zip(ps, slow):
                s += 0.5 * (p - s)
                p.copy_(s)
    out.append([p.detach().numpy().copy() for p in ps])
lookahead = dict(values=out)


def lbfgs(name, dtype=torch.float64, steps=20, **kw):
    """Rosenbrock's function in four variables, the sum over neighbours."""
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0, -0.5, 0.8], dtype=dtype))
    o = torch.optim.LBFGS([x], **kw)
    losses, points, calls = [], [], 0

    def closure():
        nonlocal calls
        calls += 1
        o.zero_grad()
        loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        loss.backward()
        return loss

    evaluations = []
    for _ in range(steps):
        losses.append(float(o.step(closure).detach()))
        points.append(x.detach().numpy().copy())
        evaluations.append(calls)
    return dict(name=name, losses=losses, points=points, evaluations=evaluations)


minima = [lbfgs("wolfe", line_search_fn="strong_wolfe", max_iter=4), lbfgs("short history", line_search_fn="strong_wolfe", max_iter=3, history_size=2),
          lbfgs("fixed rate", lr=0.002, max_iter=5), lbfgs("whole", line_search_fn="strong_wolfe", max_iter=20, steps=6)]


def schedule(name, args, make, rate=0.1):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    s = make(o)
    out = []
    for _ in range(100):
        out.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
    return dict(schedule=name, args=args, values=[float(v) for v in out])


schedules = [
    schedule("OneCycle", dict(max_learning_rate=0.1, total_steps=101), lambda o: L.OneCycleLR(o, 0.1, total_steps=101)),
    schedule("OneCycle", dict(max_learning_rate=0.1, total_steps=120, pct_start=0.4, anneal_strategy="linear", div_factor=10.0,
                              final_div_factor=100.0, three_phase=True),
             lambda o: L.OneCycleLR(o, 0.1, total_steps=120, pct_start=0.4, anneal_strategy="linear", div_factor=10.0, final_div_factor=100.0,
                                    three_phase=True)),
    schedule("Cyclic", dict(base_learning_rate=0.01, max_learning_rate=0.1, step_size_up=7),
             lambda o: L.CyclicLR(o, 0.01, 0.1, step_size_up=7, cycle_momentum=False)),
    schedule("Cyclic", dict(base_learning_rate=0.01, max_learning_rate=0.1, step_size_up=7, step_size_down=12, mode="triangular2"),
             lambda o: L.CyclicLR(o, 0.01, 0.1, step_size_up=7, step_size_down=12, mode="triangular2", cycle_momentum=False)),
    schedule("Cyclic", dict(base_learning_rate=0.01, max_learning_rate=0.1, step_size_up=9, mode="exp_range", gamma=0.97),
             lambda o: L.CyclicLR(o, 0.01, 0.1, step_size_up=9, mode="exp_range", gamma=0.97, cycle_momentum=False)),
    schedule("LinearRamp", dict(initial_learning_rate=0.1), lambda o: L.LinearLR(o)),
    schedule("LinearRamp", dict(initial_learning_rate=0.1, total_steps=40, start_factor=0.2, end_factor=0.6),
             lambda o: L.LinearLR(o, 0.2, 0.6, 40)),
    schedule("ConstantStart", dict(initial_learning_rate=0.1), lambda o: L.ConstantLR(o)),
    schedule("StepDecay", dict(initial_learning_rate=0.1, step_size=15, gamma=0.5), lambda o: L.StepLR(o, 15, 0.5)),
    schedule("MultiStepDecay", dict(initial_learning_rate=0.1, milestones=[10, 45, 80]), lambda o: L.MultiStepLR(o, [10, 45, 80])),
    schedule("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=1, decay_rate=0.95), lambda o: L.ExponentialLR(o, 0.95)),
    schedule("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=110), lambda o: L.CosineAnnealingLR(o, 110)),
]
warm = schedule("Warmup", {}, lambda o: L.SequentialLR(o, [L.LinearLR(o, 1e-12, 1.0, 20), L.CosineAnnealingLR(o, 100)], [20]))
sequence = schedule("Sequential", {}, lambda o: L.SequentialLR(
    o, [L.ConstantLR(o, 0.1, 1000), L.ExponentialLR(o, 0.9), L.StepLR(o, 10, 0.5)], [12, 50]))
chain = schedule("Chained", {}, lambda o: L.ChainedScheduler([L.StepLR(o, 30, 0.5), L.ExponentialLR(o, 0.97), L.LinearLR(o, 0.25, 1.0, 10)]))

write(os.path.join(HERE, "torch_optimizers.lua"), "torch_optimizers.py",
      [dict(start=start, grads=grads, rows=rows, grouped=grouped, lookahead=lookahead, minima=minima, schedules=schedules, warm=warm,
           sequence=sequence, chain=chain)])

"""Values and gradients of ops on float16 and bfloat16, by PyTorch (CPU): what float64 gives for the same halves, and
what PyTorch gives in the dtype itself. Run: python half.py

Inputs are halves as float64; outputs are the result and the gradients for the inputs, twice: exact, and PyTorch's."""
import numpy as np
import torch
import torch.nn.functional as F
from common import rng, write

r = rng(21)
out = {}
FORMATS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def wide(t):
    return t.detach().to(torch.float64).numpy()


def rounded(t):
    return np.vectorize(lambda v: float("%.7g" % v))(wide(t))


def entry(key, f, *inputs):
    """inputs: arrays; f's result is multiplied with numbers of its own, which come last among the inputs."""
    for name, dtype in FORMATS.items():
        halves = [torch.tensor(x).to(dtype) for x in inputs]
        shape = f(*[h.double() for h in halves]).shape
        dy = torch.tensor(r.normal(0, 1, tuple(shape))).to(dtype)
        results = []
        for kind in (torch.float64, dtype):
            leaves = [h.to(kind).requires_grad_() for h in halves]
            y = f(*leaves)
            y.backward(dy.to(kind))
            results += [rounded(y)] + [rounded(x.grad) for x in leaves]
        out[key + " " + name] = ([wide(h) for h in halves] + [wide(dy)], results)


def normal(*shape, scale=1.0):
    return r.normal(0, scale, shape)


x, y = normal(5, 7), normal(7, 4)
entry("matmul", torch.matmul, x, y)
entry("matmul batched", torch.matmul, normal(3, 4, 6), normal(3, 6, 5))
entry("matmul broadcast", torch.matmul, normal(2, 3, 4, 5), normal(5, 3))
entry("matmul long", torch.matmul, normal(2, 150), normal(150, 3))
entry("matmul vector", torch.matmul, normal(6), normal(6, 3))
entry("linear", lambda a, w, b: F.linear(a, w.T, b), normal(4, 9), normal(9, 5), normal(5))
for name, f in {
    "sum": lambda v: v.sum(-1),
    "mean": lambda v: v.mean(0),
    "max": lambda v: v.amax(-1),
    "min": lambda v: v.amin(-1),
    "prod": lambda v: v.prod(-1),
    "logsumexp": lambda v: v.logsumexp(-1),
    "var": lambda v: v.var(-1, correction=0),
    "std": lambda v: v.std(-1, correction=0),
    "norm": lambda v: torch.linalg.vector_norm(v, dim=-1),
    "softmax": lambda v: v.softmax(-1),
    "log_softmax": lambda v: v.log_softmax(-1),
    "softmax first": lambda v: v.softmax(0),
    "cumsum": lambda v: v.cumsum(-1),
}.items():
    entry(name, f, normal(4, 6))
entry("mean long", lambda v: v.mean(), normal(200))
C = 6
entry("layer", lambda v, g, b: F.layer_norm(v, (C,), g, b, 1e-3), normal(5, C), normal(C), normal(C))
entry("rms", lambda v, g: F.rms_norm(v, (C,), g, 1e-3), normal(5, C), normal(C))
entry("batch", lambda v, g, b: F.batch_norm(v, None, None, g, b, True, 0.1, 1e-3), normal(8, C), normal(C), normal(C))
entry("group", lambda v, g, b: F.group_norm(v, 2, g, b, 1e-3), normal(8, C), normal(C), normal(C))
labels = torch.tensor([0, 2, 1, 3, 2])
entry("sparse", lambda v: F.cross_entropy(v, labels, reduction="none"), normal(5, 4))
target = torch.tensor(r.dirichlet(np.ones(4), 5))
entry("categorical", lambda v, t: -(t * v.log_softmax(-1)).sum(-1), normal(5, 4), target.numpy())
entry("binary", lambda v, t: F.binary_cross_entropy_with_logits(v, t, reduction="none"), normal(5, 4), r.uniform(0, 1, (5, 4)))
entry("squared", lambda v, t: ((v - t) ** 2).mean(-1), normal(5, 4), normal(5, 4))
entry("max_pool", lambda v: F.max_pool2d(v.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1), normal(1, 4, 6, 2))
entry("average_pool", lambda v: F.avg_pool2d(v.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1), normal(1, 4, 6, 2))
entry(
    "conv",
    lambda v, w, b: F.conv2d(v.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b).permute(0, 2, 3, 1),
    normal(1, 5, 5, 3),
    normal(3, 3, 3, 2),
    normal(2),
)
entry(
    "conv_transpose",
    lambda v, w: F.conv_transpose2d(v.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), stride=2).permute(0, 2, 3, 1),
    normal(2, 4, 4, 3),
    normal(3, 3, 2, 3),
)
entry(
    "depthwise",
    lambda v, w: F.conv2d(v.permute(0, 3, 1, 2), w.permute(2, 3, 0, 1), groups=3).permute(0, 2, 3, 1),
    normal(2, 5, 5, 3),
    normal(3, 3, 3, 1),
)
entry("cumprod", lambda v: v.cumprod(-1), normal(4, 6))
entry("sort", lambda v: v.sort(-1)[0], normal(4, 6))
entry("top_k", lambda v: v.topk(2, -1)[0], normal(4, 6))
places = torch.tensor([0, 2, 1, 2, 2, 0, 1])
entry("take", lambda v: v[places], normal(4, 3))
entry("scatter", lambda v: torch.zeros(4, 3, dtype=v.dtype).index_add(0, places, v), normal(7, 3))
entry("scatter_update", lambda v, u: v.index_add(0, places, u), normal(4, 3), normal(7, 3))
entry("divide", torch.div, normal(4, 6), r.uniform(0.5, 2, (4, 6)))
entry("arctan2", torch.atan2, normal(4, 6), r.uniform(0.5, 2, (4, 6)))
entry("normalize", lambda v: F.normalize(v, dim=-1), normal(4, 6))
entry("tanh", torch.tanh, normal(9))
entry("gelu", F.gelu, normal(9))
entry("embedding", lambda v: F.embedding(torch.tensor([1, 0, 1, 3]), v), normal(4, 3))
for name, f in {
    "elu": F.elu,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}.items():
    entry(
        "conv " + name,
        lambda v, w, b: f(F.conv2d(v.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b)).permute(0, 2, 3, 1),
        normal(2, 5, 5, 3),
        normal(3, 3, 3, 4, scale=0.3),
        normal(4),
    )
for name, f in {
    "var all": lambda v: v.var(correction=0),
    "std all": lambda v: v.std(correction=0),
    "logsumexp all": lambda v: v.logsumexp((0, 1, 2)),
    "norm 1 all": lambda v: torch.linalg.vector_norm(v, 1),
    "norm 2 all": torch.linalg.vector_norm,
    "norm 3 all": lambda v: torch.linalg.vector_norm(v, 3),
    "norm inf all": lambda v: torch.linalg.vector_norm(v, float("inf")),
    "var middle": lambda v: v.var(1, correction=0),
    "norm 3 middle": lambda v: torch.linalg.vector_norm(v, 3, dim=1),
    "moments": lambda v: v.mean((0, 2)) + v.var((0, 2), correction=0),
}.items():
    entry(name, f, normal(3, 11, 8) + 0.5)
for mode in ("reflect", "symmetric", "edge"):
    rows, columns = (np.pad(np.arange(n), width, mode=mode) for n, width in ((5, (7, 2)), (6, (3, 8))))
    entry("pad " + mode, lambda v: v[rows][:, columns], normal(5, 6))


# (batch, steps, heads, width), as Tide has them
def attention(q, k, v, **kw):
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **kw).transpose(1, 2)


seen = torch.tensor(np.sin(np.arange(2 * 5 * 6) * 1.9).reshape(2, 1, 5, 6) > -0.4)
entry("attention", attention, normal(2, 5, 2, 4), normal(2, 6, 2, 4), normal(2, 6, 2, 3))
entry("attention causal", lambda q, k, v: attention(q, k, v, is_causal=True), normal(1, 70, 1, 8), normal(1, 70, 1, 8), normal(1, 70, 1, 8))
entry("attention masked", lambda q, k, v: attention(q, k, v, attn_mask=seen), normal(2, 5, 2, 4), normal(2, 6, 2, 4), normal(2, 6, 2, 3))
entry("conv one", lambda v, w, b: F.conv2d(v.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b).permute(0, 2, 3, 1), normal(2, 3, 4, 6), normal(1, 1, 6, 5), normal(5))


def recurrent(kind, gates):
    def run(x, w, u, b):
        h = torch.zeros(1, x.shape[0], u.shape[0], dtype=x.dtype)
        if kind == "gru":   # Tide's gates are z, r, h
            w, u, b = (torch.cat([p[..., 5:10], p[..., :5], p[..., 10:]], -1) for p in (w, u, b))
        parts = [w.T, u.T, b, torch.zeros_like(b)]
        if kind == "lstm":
            return torch._VF.lstm(x, (h, h.clone()), parts, True, 1, 0.0, True, False, True)[0]
        if kind == "gru":
            return torch._VF.gru(x, h, parts, True, 1, 0.0, True, False, True)[0]
        return torch._VF.rnn_tanh(x, h, parts, True, 1, 0.0, True, False, True)[0]
    entry(kind, run, normal(2, 4, 3), normal(3, 5 * gates, scale=0.5), normal(5, 5 * gates, scale=0.5), normal(5 * gates))


recurrent("lstm", 4)
recurrent("simple", 1)
recurrent("gru", 3)

write(out)
